//! What is written down, and the locks that let several processes write.
//!
//! ```text
//! <dir>/
//!   lock                   held while addresses are given out and rules or names are written
//!   networks/NAME.json
//!   m/NAME.lock            held while something is done to the machine
//!   m/NAME/
//!     machine.json         what was asked for, and what it was given
//!     root/                what it has written (system containers)
//!     v/TARGET/            directories of its own (mounts without a source)
//!     console.log          what its program, or its console, has said
//!     user-data.log        what its first-boot script has said
//!     disk, seed/, qemu.pid, qmp.sock        (virtual machines)
//!   netns/NAME             its pinned network namespace
//!   runtime/               sandboxes of the container runtime
//! ```

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write as _};
use std::net::Ipv4Addr;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use nix::fcntl::{Flock, FlockArg};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::images::Resolved;
use crate::spec::{Base, MachineSpec, NetworkSpec};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NetworkRecord {
    pub(crate) spec: NetworkSpec,
    /// Tells its bridge from others.
    pub(crate) number: u32,
}

/// How far a machine has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Stage {
    /// It is being made, or was when its maker died.
    Making,
    /// It is there.
    Made,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MachineRecord {
    pub(crate) spec: MachineSpec,
    /// Tells its link from others.
    pub(crate) number: u32,
    pub(crate) address: Ipv4Addr,
    pub(crate) mac: String,
    pub(crate) image: Option<Resolved>,
    pub(crate) stage: Stage,
    pub(crate) created: Timestamp,
}

impl MachineRecord {
    pub(crate) fn is_virtual(&self) -> bool {
        matches!(self.spec.base, Base::Vm(_))
    }
}

/// A lock that is held until this is dropped, or its process ends.
pub(crate) struct Lock(#[expect(dead_code, reason = "held")] Flock<File>);

#[derive(Clone, Debug)]
pub(crate) struct Records {
    dir: PathBuf,
}

fn write_whole(path: &Path, value: &impl Serialize) -> Result<(), Error> {
    let failed = |error: io::Error| Error::io("writing", path)(error);
    let bytes = serde_json::to_vec_pretty(value).map_err(|error| failed(error.into()))?;
    let draft = path.with_extension("new");
    let write = || {
        // Keys and scripts are in it.
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&draft)?;
        file.write_all(&bytes)?;
        file.sync_data()?;
        fs::rename(&draft, path)
    };
    write().map_err(failed)
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, Error> {
    let bytes = match fs::read(path) {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        bytes => bytes.map_err(Error::io("reading", path))?,
    };
    serde_json::from_slice(&bytes)
        .map(Some)
        .map_err(|error| Error::Record {
            path: path.to_owned(),
            reason: error.to_string(),
        })
}

fn names(dir: &Path) -> Result<Vec<PathBuf>, Error> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(Error::io("reading", dir))?,
    };
    let mut found: Vec<PathBuf> = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<io::Result<_>>()
        .map_err(Error::io("reading", dir))?;
    found.sort();
    Ok(found)
}

impl Records {
    pub(crate) fn new(dir: PathBuf) -> Self {
        Self { dir }
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Makes the directories.
    pub(crate) fn prepare(&self) -> Result<(), Error> {
        for name in ["", "networks", "m", "netns"] {
            let dir = self.dir.join(name);
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&dir)
                .map_err(Error::io("making directory", &dir))?;
        }
        Ok(())
    }

    /// Waits for the lock of all records.
    pub(crate) fn lock(&self) -> Result<Lock, Error> {
        let path = self.dir.join("lock");
        take(&path, FlockArg::LockExclusive)
            .and_then(|lock| lock.ok_or_else(|| ErrorKind::WouldBlock.into()))
            .map_err(Error::io("locking", path))
    }

    fn lock_path(&self, name: &str) -> PathBuf {
        self.dir.join("m").join(format!("{name}.lock"))
    }

    /// Waits for the lock of one machine.
    pub(crate) fn lock_machine(&self, name: &str) -> Result<Lock, Error> {
        let path = self.lock_path(name);
        take(&path, FlockArg::LockExclusive)
            .and_then(|lock| lock.ok_or_else(|| ErrorKind::WouldBlock.into()))
            .map_err(Error::io("locking", path))
    }

    /// The lock of one machine, unless somebody is at work on it.
    pub(crate) fn try_lock_machine(&self, name: &str) -> Result<Option<Lock>, Error> {
        let path = self.lock_path(name);
        take(&path, FlockArg::LockExclusiveNonblock).map_err(Error::io("locking", path))
    }

    fn network_path(&self, name: &str) -> PathBuf {
        self.dir.join("networks").join(format!("{name}.json"))
    }

    pub(crate) fn network(&self, name: &str) -> Result<Option<NetworkRecord>, Error> {
        read(&self.network_path(name))
    }

    pub(crate) fn networks(&self) -> Result<Vec<NetworkRecord>, Error> {
        let mut found = Vec::new();
        for path in names(&self.dir.join("networks"))? {
            if path
                .extension()
                .is_some_and(|extension| extension == "json")
            {
                found.extend(read(&path)?);
            }
        }
        Ok(found)
    }

    pub(crate) fn write_network(&self, record: &NetworkRecord) -> Result<(), Error> {
        write_whole(&self.network_path(&record.spec.name), record)
    }

    pub(crate) fn remove_network(&self, name: &str) -> Result<(), Error> {
        remove_file(&self.network_path(name))
    }

    /// A machine's own directory.
    pub(crate) fn home(&self, name: &str) -> PathBuf {
        self.dir.join("m").join(name)
    }

    /// Where its network namespace is pinned.
    pub(crate) fn netns(&self, name: &str) -> PathBuf {
        self.dir.join("netns").join(name)
    }

    pub(crate) fn machine(&self, name: &str) -> Result<Option<MachineRecord>, Error> {
        read(&self.home(name).join("machine.json"))
    }

    pub(crate) fn machines(&self) -> Result<Vec<MachineRecord>, Error> {
        let mut found = Vec::new();
        for path in names(&self.dir.join("m"))? {
            found.extend(read(&path.join("machine.json"))?);
        }
        Ok(found)
    }

    pub(crate) fn write_machine(&self, record: &MachineRecord) -> Result<(), Error> {
        let home = self.home(&record.spec.name);
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o711)
            .create(&home)
            .map_err(Error::io("making directory", &home))?;
        write_whole(&home.join("machine.json"), record)
    }

    /// Removes everything of a machine. The record goes last, so that whatever a crash leaves has one. To be called with
    /// the machine's lock.
    pub(crate) fn remove_machine(&self, name: &str) -> Result<(), Error> {
        let home = self.home(name);
        for path in names(&home)? {
            if path.file_name().is_some_and(|name| name == "machine.json") {
                continue;
            }
            let removed = if path.is_dir() && !path.is_symlink() {
                fs::remove_dir_all(&path)
            } else {
                fs::remove_file(&path)
            };
            removed.map_err(Error::io("removing", &path))?;
        }
        match fs::remove_dir_all(&home) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(Error::io("removing", &home)(error));
            }
            _ => {}
        }
        remove_file(&self.lock_path(name))
    }
}

fn remove_file(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(Error::io("removing", path)(error))
        }
        _ => Ok(()),
    }
}

/// Takes the lock that is a file; none if it is held and not to be waited for.
fn take(path: &Path, how: FlockArg) -> io::Result<Option<Lock>> {
    loop {
        let file = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)?;
        let lock = match Flock::lock(file, how) {
            Ok(lock) => lock,
            Err((_, nix::errno::Errno::EINTR)) => continue,
            Err((_, nix::errno::Errno::EWOULDBLOCK)) => return Ok(None),
            Err((_, error)) => return Err(error.into()),
        };
        // Whoever held it before may have removed the file with what it stood for.
        let held = lock.metadata()?;
        if fs::metadata(path).is_ok_and(|now| (now.dev(), now.ino()) == (held.dev(), held.ino())) {
            return Ok(Some(Lock(lock)));
        }
    }
}

/// Which layers the machines below a directory are made from: the name of each, its image, and the layers, topmost
/// first. A missing directory holds no machines.
///
/// # Errors
/// When a record that is there cannot be read.
pub fn layers_in_use(dir: &Path) -> io::Result<Vec<(String, String, Vec<PathBuf>)>> {
    let machines = Records::new(dir.to_owned())
        .machines()
        .map_err(io::Error::other)?;
    Ok(machines
        .into_iter()
        .filter_map(|machine| {
            let Base::Image(image) = machine.spec.base else {
                return None;
            };
            Some((machine.spec.name, image, machine.image?.layers))
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_is_locked_by_one_at_a_time_and_its_lock_goes_with_it() {
        let dir = tempfile::tempdir().unwrap();
        let records = Records::new(dir.path().to_owned());
        records.prepare().unwrap();
        let lock = records.lock_machine("a").unwrap();
        assert!(records.try_lock_machine("a").unwrap().is_none());
        records.remove_machine("a").unwrap();
        // Another one of that name has nothing to do with this lock.
        assert!(records.try_lock_machine("a").unwrap().is_some());
        drop(lock);
    }

    #[test]
    fn a_damaged_record_is_reported_with_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let records = Records::new(dir.path().to_owned());
        records.prepare().unwrap();
        fs::write(dir.path().join("networks/lan.json"), "{").unwrap();
        let error = records.networks().unwrap_err().to_string();
        assert!(error.contains("lan.json"), "{error}");
        assert_eq!(records.machines().unwrap(), []);
    }
}
