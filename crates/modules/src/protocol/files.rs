//! Files of a machine, written whole or not at all, and directories for a task's files.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rand::RngExt;

use crate::names;

/// How much is copied at a time.
const CHUNK: usize = 64 * 1024;

/// Letters for names that nobody can guess.
pub(crate) fn random(length: usize) -> String {
    let mut random = rand::rng();
    (0..length)
        .map(|_| char::from(b'a' + random.random_range(0..26_u8)))
        .collect()
}

/// A file that is being written beside the one it will replace. Dropped before [`Beside::keep`], it is gone.
#[derive(Debug)]
pub struct Beside {
    file: Option<File>,
    written: PathBuf,
    target: PathBuf,
}

impl Beside {
    /// Begins one for a path. A link is followed: what it points to is replaced.
    ///
    /// # Errors
    /// The directory is missing or cannot be written in, or a directory has the name.
    pub fn begin(path: &Path) -> io::Result<Self> {
        let found = fs::symlink_metadata(path).ok();
        let linked = found.as_ref().is_some_and(fs::Metadata::is_symlink);
        let target = linked
            .then(|| fs::canonicalize(path).ok())
            .flatten()
            .unwrap_or_else(|| path.to_owned());
        if found.is_some_and(|found| found.is_dir()) || (linked && target.is_dir()) {
            return Err(io::Error::from_raw_os_error(libc::EISDIR));
        }
        let name = target
            .file_name()
            .map(|name| name.to_string_lossy().into_owned());
        let name = name.ok_or_else(|| io::Error::from_raw_os_error(libc::EISDIR))?;
        let short: String = name.chars().take(60).collect();
        let beside = target.with_file_name(format!(".ansible_tmp{}{short}", random(10)));
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&beside)?;
        Ok(Beside {
            file: Some(file),
            written: beside,
            target,
        })
    }

    /// Puts it in the place of the target, with these permissions, when it is safely on disk.
    ///
    /// # Errors
    /// The disk is full, or the target cannot be replaced; nothing is left behind.
    pub fn keep(mut self, mode: u32) -> io::Result<()> {
        if let Some(file) = self.file.take() {
            file.set_permissions(Permissions::from_mode(mode))?;
            file.sync_data()?;
        }
        fs::rename(&self.written, &self.target)?;
        self.written = PathBuf::new();
        Ok(())
    }
}

impl Write for Beside {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.file {
            Some(file) => file.write(bytes),
            None => Err(io::Error::from_raw_os_error(libc::EBADF)),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        if !self.written.as_os_str().is_empty() {
            // nothing more can be done about a file that cannot be removed
            let _ = fs::remove_file(&self.written);
        }
    }
}

/// Writes a file whole or not at all.
///
/// # Errors
/// What was to be read cannot be, or what was to be written cannot be.
pub fn put(mut content: impl Read, path: &Path, mode: u32) -> io::Result<()> {
    let mut beside = Beside::begin(path)?;
    let mut chunk = vec![0; CHUNK];
    loop {
        let length = content.read(&mut chunk)?;
        if length == 0 {
            return beside.keep(mode);
        }
        beside.write_all(&chunk[..length])?;
    }
}

/// A path of the machine: `~` and `~NAME` stand for home directories, `$NAME` and `${NAME}` for variables.
pub fn expand(path: &str) -> PathBuf {
    let mut expanded = String::new();
    let mut rest = path;
    if let Some(after) = path.strip_prefix('~') {
        let (name, tail) = after.split_at(after.find('/').unwrap_or(after.len()));
        match home(name) {
            Some(home) => {
                expanded.push_str(home.to_string_lossy().trim_end_matches('/'));
                rest = tail;
            }
            None if name.is_empty() => {
                expanded.push_str("/tmp");
                rest = tail;
            }
            None => {}
        }
    }
    while let Some(place) = rest.find('$') {
        expanded.push_str(&rest[..place]);
        let after = &rest[place + 1..];
        let (name, tail) = if let Some(braced) = after.strip_prefix('{') {
            match braced.split_once('}') {
                Some((name, tail)) => (name, tail),
                None => ("", after),
            }
        } else {
            let end = after
                .find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_')
                .unwrap_or(after.len());
            after.split_at(end)
        };
        match std::env::var(name) {
            Ok(value) if !name.is_empty() => expanded.push_str(&value),
            _ => {
                expanded.push('$');
                rest = after;
                continue;
            }
        }
        rest = tail;
    }
    expanded.push_str(rest);
    PathBuf::from(expanded)
}

/// The home directory of a user; of who this process is, if the name is empty.
fn home(name: &str) -> Option<PathBuf> {
    if name.is_empty() {
        if let Some(home) = std::env::var_os("HOME").filter(|home| !home.is_empty()) {
            return Some(home.into());
        }
        let user = names::user_of(nix::unistd::geteuid())?;
        return Some(user.dir);
    }
    Some(names::user(name)?.dir)
}

/// Makes a directory, and those above it, that only this user can look into.
///
/// # Errors
/// It cannot be made.
pub fn private_directory(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Makes a new directory for the files of one task, below `base` where that can be had, else below the system's own
/// directories for such files.
///
/// # Errors
/// There is none of them in which one can be made.
pub fn temporary(base: &str) -> io::Result<PathBuf> {
    let base = expand(base);
    let mut refused = None;
    for (place, below) in [base.as_path(), Path::new("/var/tmp"), Path::new("/tmp")]
        .into_iter()
        .enumerate()
    {
        if place == 0
            && let Err(error) = private_directory(below)
        {
            refused = Some(error);
            continue;
        }
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap_or_default();
        let path = below.join(format!(
            "ansible-tmp-{}.{:06}-{}-{}",
            now.as_secs(),
            now.subsec_micros(),
            std::process::id(),
            random(12)
        ));
        match DirBuilder::new().mode(0o700).create(&path) {
            Ok(()) => return Ok(path),
            Err(error) => refused = refused.or(Some(error)),
        }
    }
    Err(refused.unwrap_or_else(|| io::Error::from_raw_os_error(libc::EACCES)))
}

/// Removes a file or a directory with all that is in it; what is not there is removed.
///
/// # Errors
/// It cannot be removed.
pub fn remove(path: &Path) -> io::Result<()> {
    // most are directories that are empty by now
    let removed = match fs::remove_dir(path) {
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists
            ) =>
        {
            fs::remove_dir_all(path)
        }
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => fs::remove_file(path),
        other => other,
    };
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Whether every user may run a file, as far as its own permissions and those of the directories above it tell.
pub(crate) fn runs_for_all(path: &Path) -> bool {
    let Ok(path) = fs::canonicalize(path) else {
        return false;
    };
    path.ancestors()
        .enumerate()
        .all(|(place, part)| match fs::metadata(part) {
            Ok(found) => {
                found.mode() & if place == 0 { 0o005 } else { 0o001 }
                    == if place == 0 { 0o005 } else { 0o001 }
            }
            Err(_) => false,
        })
}
