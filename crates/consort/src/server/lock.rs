//! Which process serves a data directory.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::unistd::Pid;

use crate::error::{Failure, Kind, Result};

/// How long the lock may be held by somebody who only asks.
const ASKED: Duration = Duration::from_millis(200);

fn path(data_dir: &Path) -> PathBuf {
    data_dir.join("server.pid")
}

/// Held for as long as the server runs; the kernel lets go of it when the process ends, however.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the data directory for this process.
    pub(crate) fn take(data_dir: &Path) -> Result<Self> {
        let path = path(data_dir);
        let failed = |error: std::io::Error| {
            Failure::new(Kind::Failed, format!("locking {}: {error}", path.display()))
        };
        let mut file = open(&path).map_err(failed)?;
        // Those who ask whether a server runs hold the lock for an instant.
        let start = Instant::now();
        let locked = loop {
            match file.try_lock() {
                Err(TryLockError::WouldBlock) if start.elapsed() < ASKED => {
                    std::thread::sleep(Duration::from_millis(5));
                }
                locked => break locked,
            }
        };
        match locked {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let pid = read_pid(&mut file).map_err(failed)?;
                let holder =
                    pid.map_or("another process".to_owned(), |pid| format!("process {pid}"));
                return Err(Failure::new(
                    Kind::Failed,
                    format!("{} is served by {holder} already", data_dir.display()),
                )
                .hint("stop it with `consort down`, or give this server another --data-dir"));
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        let write = |file: &mut File| {
            file.set_len(0)?;
            file.rewind()?;
            writeln!(file, "{}", std::process::id())
        };
        write(&mut file).map_err(failed)?;
        Ok(Self { _file: file })
    }
}

fn open(path: &Path) -> std::io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
}

fn read_pid(file: &mut File) -> std::io::Result<Option<Pid>> {
    let mut text = String::new();
    file.rewind()?;
    file.read_to_string(&mut text)?;
    Ok(text.trim().parse().ok().map(Pid::from_raw))
}

/// The process that serves a data directory now, if one does.
pub(crate) fn running_pid(data_dir: &Path) -> Result<Option<Pid>> {
    let path = path(data_dir);
    let failed = |error: std::io::Error| {
        let kind = match error.kind() {
            std::io::ErrorKind::PermissionDenied => Kind::Permission,
            _ => Kind::Failed,
        };
        Failure::new(kind, format!("reading {}: {error}", path.display()))
    };
    if !path.try_exists().map_err(failed)? {
        return Ok(None);
    }
    let mut file = open(&path).map_err(failed)?;
    match file.try_lock_shared() {
        Ok(()) => Ok(None),
        Err(TryLockError::WouldBlock) => read_pid(&mut file).map_err(failed),
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_data_directory_is_served_by_one_process() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(running_pid(dir.path()).unwrap(), None);
        let lock = Lock::take(dir.path()).unwrap();
        let own = Pid::from_raw(std::process::id().cast_signed());
        assert_eq!(running_pid(dir.path()).unwrap(), Some(own));
        let failure = Lock::take(dir.path()).unwrap_err();
        assert!(
            format!("{failure:?}").contains(&own.to_string()),
            "{failure:?}"
        );
        drop(lock);
        // Someone who asks at the same moment is not taken for a server.
        let asking = open(&path(dir.path())).unwrap();
        asking.try_lock_shared().unwrap();
        let answered = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(20));
            drop(asking);
        });
        drop(Lock::take(dir.path()).unwrap());
        answered.join().unwrap();
        assert_eq!(running_pid(dir.path()).unwrap(), None);
        Lock::take(dir.path()).unwrap();
    }
}
