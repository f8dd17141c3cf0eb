//! Where a sandbox keeps its files, shared by the agent and the shim.
//!
//! ```text
//! <root>/<sandbox>/
//!   boot.json          what the sandbox was asked to be (written before the shim starts)
//!   lock               record-locked by the shim while it lives
//!   dead               put there by an agent that found no shim: a late one must not start
//!   shim.sock          shim.log
//!   shm/  t/           mount points of file systems in memory that only the shim sees
//!   c/<container>/
//!     spec.json        what the container was asked to be
//!     exit.json        how it ended (written once, whole)
//!     upper/ work/     what it has written to its root
//! ```

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::spec::SandboxSpec;
use crate::state::Exit;
use crate::sys;

pub(crate) const BOOT: &str = "boot.json";
pub(crate) const LOCK: &str = "lock";
pub(crate) const DEAD: &str = "dead";
pub(crate) const SOCKET: &str = "shim.sock";
pub(crate) const CONTAINERS: &str = "c";
pub(crate) const SCRATCH: &str = "t";

/// What a shim is told on its way.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Boot {
    pub(crate) spec: SandboxSpec,
    pub(crate) cgroup_parent: String,
}

/// Writes a file so that it is there whole or not at all, whatever happens.
pub(crate) fn write_whole(path: &Path, bytes: &[u8], sync: bool) -> io::Result<()> {
    let temporary = path.with_extension("tmp");
    let mut file = File::create(&temporary)?;
    file.write_all(bytes)?;
    if sync {
        file.sync_data()?;
    }
    fs::rename(&temporary, path)?;
    if sync && let Some(dir) = path.parent() {
        File::open(dir)?.sync_data()?;
    }
    Ok(())
}

pub(crate) fn write_exit(container: &Path, exit: &Exit) -> io::Result<()> {
    write_whole(
        &container.join("exit.json"),
        &serde_json::to_vec(exit)?,
        true,
    )
}

pub(crate) fn read_exit(container: &Path) -> Option<Exit> {
    serde_json::from_slice(&fs::read(container.join("exit.json")).ok()?).ok()
}

/// The process id of the shim, if it lives.
pub(crate) fn shim_pid(sandbox: &Path) -> Option<i32> {
    let file = File::options()
        .read(true)
        .write(true)
        .open(sandbox.join(LOCK))
        .ok()?;
    sys::lock_holder(file.as_fd()).ok().flatten()
}

/// Ids become file and cgroup names.
pub(crate) fn check_id(what: &'static str, id: &str) -> Result<(), Error> {
    let fine = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    if id.is_empty() || id.len() > 128 || id.starts_with('.') || !id.bytes().all(fine) {
        return Err(Error::Invalid(format!(
            "{what} id {id:?}: expected at most 128 letters, digits, '_', '-' or '.', not starting with '.'"
        )));
    }
    Ok(())
}

/// Removes a directory that may not be there.
pub(crate) fn remove_dir(path: &Path) -> Result<(), Error> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(Error::path("removing", path)(error))
        }
        _ => Ok(()),
    }
}

pub(crate) fn containers_in(sandbox: &Path) -> Vec<PathBuf> {
    let mut found: Vec<_> = fs::read_dir(sandbox.join(CONTAINERS))
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.join("spec.json").exists())
        .collect();
    found.sort();
    found
}
