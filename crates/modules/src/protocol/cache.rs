//! Packages of modules that are kept on the machine, by their digests.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::unistd::geteuid;

use super::files;

/// The directory of the packages: below the directory for temporary files, or below the system's own.
fn directories(remote_tmp: &str) -> [PathBuf; 2] {
    [
        files::expand(remote_tmp).join("consort"),
        PathBuf::from(format!("/var/tmp/consort-{}", geteuid())),
    ]
}

/// Whether a digest is one: it becomes a name of a file.
fn sound(digest: &str) -> bool {
    (1..=128).contains(&digest.len())
        && digest
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'))
        && !digest.starts_with('.')
}

/// Whether a directory is this user's, and nobody else writes in it.
fn ours(directory: &Path) -> bool {
    std::fs::symlink_metadata(directory).is_ok_and(|found| {
        found.is_dir() && found.uid() == geteuid().as_raw() && found.mode() & 0o022 == 0
    })
}

/// Where a package is kept, if it is.
pub(super) fn find(digest: &str, remote_tmp: &str) -> Option<PathBuf> {
    if !sound(digest) {
        return None;
    }
    directories(remote_tmp)
        .into_iter()
        .filter(|directory| ours(directory))
        .map(|directory| directory.join(digest))
        .find(|path| path.is_file())
}

/// Where a package is to be kept; the directory is made.
pub(super) fn place(digest: &str, remote_tmp: &str) -> io::Result<PathBuf> {
    if !sound(digest) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a digest"));
    }
    let mut refused = None;
    for directory in directories(remote_tmp) {
        match files::private_directory(&directory) {
            Ok(()) if ours(&directory) => return Ok(directory.join(digest)),
            Ok(()) => refused = Some(io::Error::from_raw_os_error(libc::EPERM)),
            Err(error) => refused = Some(error),
        }
    }
    Err(refused.unwrap_or_else(|| io::Error::from_raw_os_error(libc::EACCES)))
}
