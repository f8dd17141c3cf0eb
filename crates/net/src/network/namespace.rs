//! Network namespaces, pinned by a bind mount so that they outlive every process in them.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::Path;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::statfs::statfs;

use super::link::Links;

/// Magic number of the file system that namespaces live in (`NSFS_MAGIC`).
const NSFS: i64 = 0x6e73_6673;

/// Makes a namespace, pins it at `path`, and opens rtnetlink in it. The loopback is up.
pub(crate) fn create(path: &Path) -> io::Result<Links> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)?;
    let outcome = inside(|| {
        unshare(CloneFlags::CLONE_NEWNET)?;
        mount(
            Some("/proc/thread-self/ns/net"),
            path,
            None::<&str>,
            MsFlags::MS_BIND,
            None::<&str>,
        )?;
        let mut links = Links::open()?;
        loopback_up(&mut links)?;
        Ok(links)
    });
    if outcome.is_err() {
        remove(path)?;
    }
    outcome
}

/// Opens rtnetlink in a pinned namespace.
pub(crate) fn enter(path: &Path) -> io::Result<Links> {
    let namespace = File::open(path)?;
    inside(|| {
        setns(namespace, CloneFlags::CLONE_NEWNET)?;
        let mut links = Links::open()?;
        loopback_up(&mut links)?;
        Ok(links)
    })
}

/// Whether a namespace is pinned at `path`.
pub(crate) fn is_pinned(path: &Path) -> bool {
    statfs(path).is_ok_and(|found| found.filesystem_type().0 == NSFS)
}

/// Lets the namespace go. It ends with its last process.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    // A crash between two mounts can have stacked them.
    while is_pinned(path) {
        umount2(path, MntFlags::MNT_DETACH)?;
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn loopback_up(links: &mut Links) -> io::Result<()> {
    match links.find("lo")? {
        Some(loopback) => links.set_up(loopback.index),
        None => Err(io::ErrorKind::NotFound.into()),
    }
}

/// Works on a thread of its own, for a thread that changed its namespace is of no use afterwards.
fn inside<T: Send>(work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    std::thread::scope(|scope| {
        std::thread::Builder::new()
            .name("netns".into())
            .spawn_scoped(scope, work)?
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("the namespace thread panicked")))
    })
}
