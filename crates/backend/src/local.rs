//! State in files: `terraform.tfstate`, and one directory below `terraform.tfstate.d` for each further workspace.
//!
//! A snapshot is written beside the file and renamed over it, so that a reader sees one or the other whole.
//! The lock is Terraform's own: a record lock on the whole state file, with a file beside it that says who
//! holds it. A record lock belongs to the file and not to its name; the new file is therefore locked
//! before it takes the name. Locks of open file descriptions are used, which meet the others' record locks
//! but are not lost when another descriptor of the same file is closed.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use nix::fcntl::{FcntlArg, fcntl};
use parking_lot::Mutex;

use crate::{Backend, DEFAULT_WORKSPACE, Error, LocalPaths, LockInfo, Settings, Snapshots};

const STATE: &str = "terraform.tfstate";
const WORKSPACES: &str = "terraform.tfstate.d";

/// The local backend.
pub(super) struct Local {
    /// What relative paths start from.
    directory: PathBuf,
    /// The default workspace's file.
    path: PathBuf,
    /// Where further workspaces are.
    workspaces: PathBuf,
    paths: LocalPaths,
}

impl Local {
    pub(super) fn new(settings: &Settings, directory: &Path, paths: &LocalPaths) -> Local {
        Local {
            directory: directory.to_owned(),
            path: settings.text("path").unwrap_or(STATE).into(),
            workspaces: settings.text("workspace_dir").unwrap_or(WORKSPACES).into(),
            paths: paths.clone(),
        }
    }

    fn file(&self, workspace: &str) -> PathBuf {
        if workspace == DEFAULT_WORKSPACE {
            self.path.clone()
        } else {
            self.workspaces.join(workspace).join(STATE)
        }
    }
}

impl Backend for Local {
    fn workspaces(&self) -> BoxFuture<'_, Result<Vec<String>, Error>> {
        let directory = self.directory.join(&self.workspaces);
        async move {
            let mut names = vec![DEFAULT_WORKSPACE.to_owned()];
            let entries = match std::fs::read_dir(&directory) {
                Ok(entries) => entries,
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(names),
                Err(source) => return Err(file_error("listing", &directory)(source)),
            };
            for entry in entries {
                let entry = entry.map_err(file_error("listing", &directory))?;
                if entry.path().is_dir()
                    && let Some(name) = entry.file_name().to_str()
                {
                    names.push(name.to_owned());
                }
            }
            names[1..].sort();
            names.dedup();
            Ok(names)
        }
        .boxed()
    }

    fn create<'a>(&'a self, workspace: &'a str) -> BoxFuture<'a, Result<(), Error>> {
        async move {
            if workspace == DEFAULT_WORKSPACE {
                return Ok(());
            }
            let directory = self.directory.join(&self.workspaces).join(workspace);
            std::fs::create_dir_all(&directory).map_err(file_error("making", &directory))
        }
        .boxed()
    }

    fn delete<'a>(&'a self, workspace: &'a str) -> BoxFuture<'a, Result<(), Error>> {
        async move {
            if workspace == DEFAULT_WORKSPACE {
                return Err(Error::DefaultWorkspace);
            }
            let directory = self.directory.join(&self.workspaces).join(workspace);
            match std::fs::remove_dir_all(&directory) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    Err(file_error("deleting", &directory)(error))
                }
                _ => Ok(()),
            }
        }
        .boxed()
    }

    fn snapshots(&self, workspace: &str) -> Result<Box<dyn Snapshots>, Error> {
        // `-state` stands for the file of whichever workspace is selected.
        let read = self
            .paths
            .state
            .clone()
            .unwrap_or_else(|| self.file(workspace));
        let write = self.paths.out.clone().unwrap_or_else(|| read.clone());
        let backup = match &self.paths.backup {
            Some(path) if path.as_os_str() == "-" => None,
            Some(path) => Some(path.clone()),
            None => Some(with_suffix(&write, ".backup")),
        };
        Ok(Box::new(LocalSnapshots(Arc::new(StateFile {
            shown: write.clone(),
            read: self.directory.join(read),
            write: self.directory.join(write),
            backup: backup.map(|path| self.directory.join(path)),
            held: Mutex::new(Held::default()),
        }))))
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn file_error(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Error {
    move |source| Error::File {
        action,
        path: path.to_owned(),
        source,
    }
}

#[derive(Default)]
struct Held {
    /// The lock's ID and the file it is on.
    lock: Option<(String, File)>,
    /// Whether the state from before this process's writes is safe already.
    backed_up: bool,
    /// Whether anything was written through this handle, after which reads come from there.
    written: bool,
}

struct LocalSnapshots(Arc<StateFile>);

struct StateFile {
    /// The path as it was given.
    shown: PathBuf,
    read: PathBuf,
    write: PathBuf,
    backup: Option<PathBuf>,
    held: Mutex<Held>,
}

impl StateFile {
    fn read_now(&self) -> Result<Option<Vec<u8>>, Error> {
        read_file(if self.held.lock().written {
            &self.write
        } else {
            &self.read
        })
    }

    fn lock_file(&self) -> PathBuf {
        let mut name = std::ffi::OsString::from(".");
        name.push(self.write.file_name().unwrap_or_default());
        name.push(".lock.info");
        self.write.with_file_name(name)
    }

    fn make_directory(&self) -> Result<(), Error> {
        match self.write.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => {
                std::fs::create_dir_all(parent).map_err(file_error("making", parent))
            }
            _ => Ok(()),
        }
    }

    fn write_now(&self, bytes: &[u8]) -> Result<(), Error> {
        let mut held = self.held.lock();
        self.make_directory()?;
        if !held.backed_up {
            if let Some(backup) = &self.backup
                && let Some(before) = read_file(&self.read)?
                && before != bytes
            {
                replace(backup, &before, None)?;
            }
            held.backed_up = true;
        }
        let prepare: Option<fn(&File) -> std::io::Result<()>> = match &held.lock {
            Some(_) => Some(lock_whole),
            None => None,
        };
        let file = replace(&self.write, bytes, prepare)?;
        if let Some((_, locked)) = &mut held.lock {
            *locked = file;
        }
        held.written = true;
        Ok(())
    }

    fn lock_now(&self, info: &LockInfo) -> Result<String, Error> {
        let mut held = self.held.lock();
        if held.lock.is_some() {
            return Err(Error::Held {
                message: format!("state {} already locked", self.shown.display()),
                holder: None,
            });
        }
        self.make_directory()?;
        loop {
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(&self.write)
                .map_err(file_error("opening", &self.write))?;
            if let Err(error) = lock_whole(&file) {
                return Err(Error::Held {
                    message: error.to_string(),
                    holder: std::fs::read(self.lock_file())
                        .ok()
                        .and_then(|bytes| LockInfo::from_json(&bytes))
                        .map(Box::new),
                });
            }
            // The holder before may have put a new file in this one's place meanwhile.
            if !same_file(&file, &self.write) {
                continue;
            }
            let info = LockInfo {
                path: self.shown.display().to_string(),
                ..info.clone()
            };
            let lock_file = self.lock_file();
            std::fs::write(&lock_file, info.to_json())
                .map_err(file_error("writing", &lock_file))?;
            held.lock = Some((info.id.clone(), file));
            return Ok(info.id);
        }
    }

    fn unlock_now(&self, id: &str) -> Result<(), Error> {
        let mut held = self.held.lock();
        let Some((own, _)) = &held.lock else {
            return Err(Error::NotLocked);
        };
        if own != id {
            return Err(Error::OtherLock {
                asked: id.to_owned(),
                held: own.clone(),
            });
        }
        let lock_file = self.lock_file();
        let removed = match std::fs::remove_file(&lock_file) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(file_error("deleting", &lock_file)(error))
            }
            _ => Ok(()),
        };
        // Locking made the file; a state that was never written leaves none behind.
        if !held.written && std::fs::metadata(&self.write).is_ok_and(|found| found.len() == 0) {
            let _ = std::fs::remove_file(&self.write);
        }
        held.lock = None;
        removed
    }
}

impl Snapshots for LocalSnapshots {
    fn read(&self) -> BoxFuture<'_, Result<Option<Vec<u8>>, Error>> {
        let file = Arc::clone(&self.0);
        async move { off_reactor(move || file.read_now()).await }.boxed()
    }

    fn write(&self, bytes: Vec<u8>) -> BoxFuture<'_, Result<(), Error>> {
        let file = Arc::clone(&self.0);
        async move { off_reactor(move || file.write_now(&bytes)).await }.boxed()
    }

    fn lock<'a>(&'a self, info: &'a LockInfo) -> BoxFuture<'a, Result<String, Error>> {
        let file = Arc::clone(&self.0);
        let info = info.clone();
        async move { off_reactor(move || file.lock_now(&info)).await }.boxed()
    }

    fn unlock<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<(), Error>> {
        let file = Arc::clone(&self.0);
        let id = id.to_owned();
        async move { off_reactor(move || file.unlock_now(&id)).await }.boxed()
    }

    fn file(&self) -> Option<&Path> {
        Some(&self.0.write)
    }
}

async fn off_reactor<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| Error::Remote(format!("the state file: {error}")))?
}

/// The content, or none for a file that is missing or empty (a lock alone makes an empty one).
fn read_file(path: &Path) -> Result<Option<Vec<u8>>, Error> {
    let mut bytes = Vec::new();
    match File::open(path).and_then(|mut file| file.read_to_end(&mut bytes)) {
        Ok(0) => Ok(None),
        Ok(_) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(file_error("reading", path)(error)),
    }
}

/// Puts `bytes` in the place of `path`, durable before it takes the name; `prepare` sees the new file first.
fn replace(
    path: &Path,
    bytes: &[u8],
    prepare: Option<fn(&File) -> std::io::Result<()>>,
) -> Result<File, Error> {
    // Follow a link: the file is replaced where it is.
    let target = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let error = || file_error("writing", path);
    let directory = match target.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let mut builder = tempfile::Builder::new();
    builder.prefix(".terraform-state-");
    let mode = std::fs::metadata(&target).map(|found| found.permissions());
    let mut file = builder.tempfile_in(directory).map_err(error())?;
    let permissions = mode.unwrap_or_else(|_| {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::Permissions::from_mode(0o644)
    });
    file.as_file()
        .set_permissions(permissions)
        .map_err(error())?;
    file.write_all(bytes).map_err(error())?;
    file.as_file().sync_all().map_err(error())?;
    if let Some(prepare) = prepare {
        prepare(file.as_file()).map_err(error())?;
    }
    let file = file
        .persist(&target)
        .map_err(|failed| error()(failed.error))?;
    File::open(directory)
        .and_then(|directory| directory.sync_all())
        .map_err(error())?;
    Ok(file)
}

/// Locks all of `file` for this open file, or fails at once.
fn lock_whole(file: &File) -> std::io::Result<()> {
    let range = libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    fcntl(file, FcntlArg::F_OFD_SETLK(&range))
        .map(drop)
        .map_err(std::io::Error::from)
}

fn same_file(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let (Ok(open), Ok(named)) = (file.metadata(), std::fs::metadata(path)) else {
        return false;
    };
    (open.dev(), open.ino()) == (named.dev(), named.ino())
}
