//! Files that are either whole or not there.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use crate::Error;

/// Puts `content` at `path` by way of a synced temporary file beside it.
pub(crate) fn write_atomically(path: &Path, content: &[u8]) -> Result<(), Error> {
    let temporary = temporary_beside(path);
    let written = File::create(&temporary).and_then(|mut file| {
        file.write_all(content)?;
        file.sync_all()
    });
    if let Err(error) = written.and_then(|()| fs::rename(&temporary, path)) {
        let _ = fs::remove_file(&temporary);
        return Err(Error::io("writing", path)(error));
    }
    sync_parent(path)
}

/// Makes a rename or removal in the directory of `path` durable.
pub(crate) fn sync_parent(path: &Path) -> Result<(), Error> {
    let Some(parent) = path.parent() else {
        return Ok(());
    };
    File::open(parent)
        .and_then(|dir| dir.sync_all())
        .map_err(Error::io("syncing", parent))
}

/// Makes everything written below `dir` durable.
pub(crate) fn sync_file_system(dir: &Path) -> Result<(), Error> {
    let handle = File::open(dir).map_err(Error::io("opening", dir))?;
    nix::unistd::syncfs(&handle).map_err(|errno| Error::io("syncing", dir)(errno.into()))
}

/// A name in the same directory that no one else uses in this process.
pub(crate) fn temporary_beside(path: &Path) -> PathBuf {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let next = NEXT.fetch_add(1, Ordering::Relaxed);
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!("{TEMPORARY}{name}-{next}"))
}

/// Prefix of everything that a crash may leave and an open throws away.
pub(crate) const TEMPORARY: &str = "tmp-";

/// Removes a file or tree; what is not there is fine.
pub(crate) fn remove_all(path: &Path) -> Result<(), Error> {
    let removed = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::io("removing", path)(error))
        }
        _ => Ok(()),
    }
}

/// Removes a tree so that a crash in between cannot leave a part of it under its name.
pub(crate) fn remove_tree_whole(path: &Path) -> Result<(), Error> {
    let doomed = temporary_beside(path);
    match fs::rename(path, &doomed) {
        Ok(()) => remove_all(&doomed),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Error::io("removing", path)(error)),
    }
}

/// Throws away what an earlier process left half made in `dir`.
pub(crate) fn sweep_temporaries(dir: &Path) -> Result<(), Error> {
    for entry in fs::read_dir(dir).map_err(Error::io("reading", dir))? {
        let entry = entry.map_err(Error::io("reading", dir))?;
        if entry.file_name().to_string_lossy().starts_with(TEMPORARY) {
            remove_all(&entry.path())?;
        }
    }
    Ok(())
}

/// Holds a directory against other processes for as long as it lives.
#[derive(Debug)]
pub(crate) struct DirLock {
    _file: Flock<File>,
}

impl DirLock {
    pub(crate) fn take(dir: &Path) -> Result<Self, Error> {
        let path = dir.join("lock");
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(Error::io("opening", &path))?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(mut file) => {
                file.set_len(0)
                    .and_then(|()| writeln!(file, "{}", std::process::id()))
                    .map_err(Error::io("writing", &path))?;
                Ok(Self { _file: file })
            }
            Err((_, Errno::EWOULDBLOCK)) => Err(Error::Locked {
                dir: dir.to_owned(),
                pid: fs::read_to_string(&path)
                    .ok()
                    .and_then(|pid| pid.trim().parse().ok())
                    .unwrap_or(0),
            }),
            Err((_, errno)) => Err(Error::io("locking", &path)(errno.into())),
        }
    }
}
