//! Directories that the node makes for volumes: plain, in memory, owned by a group, and gone again.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, lchown};
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};

/// Makes a directory with exactly these permission bits if it is missing.
pub(crate) fn make(path: &Path, mode: u32) -> io::Result<()> {
    match fs::create_dir(path) {
        Ok(()) => fs::set_permissions(path, fs::Permissions::from_mode(mode)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent)?;
            }
            fs::create_dir(path)?;
            fs::set_permissions(path, fs::Permissions::from_mode(mode))
        }
        Err(error) => Err(error),
    }
}

/// Mounts memory on a directory unless something is mounted there already.
pub(crate) fn make_in_memory(path: &Path, mode: u32, size: Option<u64>) -> io::Result<()> {
    make(path, mode)?;
    if is_mount_point(path)? {
        return Ok(());
    }
    let mut options = format!("mode={mode:o}");
    if let Some(size) = size {
        options = format!("{options},size={size}");
    }
    mount(
        Some("tmpfs"),
        path,
        Some("tmpfs"),
        MsFlags::MS_NOSUID | MsFlags::MS_NODEV,
        Some(options.as_str()),
    )
    .map_err(io::Error::from)
}

/// Whether something is mounted on this directory itself.
fn is_mount_point(path: &Path) -> io::Result<bool> {
    let Some(parent) = path.parent() else {
        return Ok(true);
    };
    Ok(fs::symlink_metadata(path)?.dev() != fs::symlink_metadata(parent)?.dev())
}

/// Gives a tree to the pod's group, as `fsGroup` asks: group ownership, access for the group,
/// and directories whose new files belong to it too.
pub(crate) fn own_by_group(path: &Path, group: u32) -> io::Result<()> {
    let meta = fs::symlink_metadata(path)?;
    if meta.file_type().is_symlink() {
        return lchown(path, None, Some(group));
    }
    let mut mode = meta.mode() & 0o7777 | 0o660;
    if meta.is_dir() {
        mode |= 0o2110;
    }
    if meta.gid() != group {
        lchown(path, None, Some(group))?;
    }
    if meta.gid() != group || meta.mode() & 0o7777 != mode {
        fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    }
    if meta.is_dir() {
        for entry in fs::read_dir(path)? {
            own_by_group(&entry?.path(), group)?;
        }
    }
    Ok(())
}

/// Everything mounted below a directory (or on it), deepest first.
pub(crate) fn mounts_below(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let table = fs::read_to_string("/proc/thread-self/mountinfo")?;
    let mut found: Vec<PathBuf> = table
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .map(|field| PathBuf::from(unescape(field)))
        .filter(|path| path.starts_with(dir))
        .collect();
    found.reverse();
    Ok(found)
}

/// The table writes spaces and the like as `\040`.
fn unescape(field: &str) -> String {
    let mut out = Vec::with_capacity(field.len());
    let bytes = field.as_bytes();
    let mut i = 0;
    while i < bytes.len() {
        let octal = (bytes[i] == b'\\' && i + 3 < bytes.len())
            .then(|| {
                std::str::from_utf8(&bytes[i + 1..i + 4])
                    .ok()
                    .and_then(|t| u8::from_str_radix(t, 8).ok())
            })
            .flatten();
        if let Some(byte) = octal {
            out.push(byte);
            i += 4;
        } else {
            out.push(bytes[i]);
            i += 1;
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Unmounts everything below a directory and removes it. What was mounted keeps its content.
pub(crate) fn remove(dir: &Path) -> io::Result<()> {
    if !dir.exists() {
        return Ok(());
    }
    let real = dir.canonicalize()?;
    for mounted in mounts_below(&real)? {
        umount2(&mounted, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW)
            .map_err(io::Error::from)?;
    }
    // Nothing of another file system may be deleted from here: better an error than someone's files.
    if let Some(left) = mounts_below(&real)?.first() {
        return Err(io::Error::other(format!(
            "{} is still mounted",
            left.display()
        )));
    }
    fs::remove_dir_all(&real)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_mounted_once_and_unmounted_before_the_tree_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("pod");
        let volume = root.join("volumes/with space");
        make_in_memory(&volume, 0o755, Some(1 << 20)).unwrap();
        make_in_memory(&volume, 0o755, Some(1 << 20)).unwrap();
        fs::write(volume.join("f"), "x").unwrap();
        assert_eq!(
            mounts_below(&root.canonicalize().unwrap()).unwrap().len(),
            1
        );
        assert!(
            fs::write(volume.join("big"), vec![0_u8; 2 << 20]).is_err(),
            "the size is a limit"
        );
        remove(&root).unwrap();
        assert!(!root.exists());
        assert!(mounts_below(dir.path()).unwrap().is_empty());
        remove(&root).unwrap();
    }

    #[test]
    fn a_group_gets_the_whole_tree() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("v");
        make(&root, 0o777).unwrap();
        fs::create_dir(root.join("d")).unwrap();
        fs::write(root.join("d/f"), "x").unwrap();
        std::os::unix::fs::symlink("/etc/passwd", root.join("link")).unwrap();
        let passwd = fs::metadata("/etc/passwd").unwrap().gid();
        own_by_group(&root, 4321).unwrap();
        let file = fs::metadata(root.join("d/f")).unwrap();
        assert_eq!((file.gid(), file.mode() & 0o060), (4321, 0o060));
        let sub = fs::metadata(root.join("d")).unwrap();
        assert_eq!((sub.gid(), sub.mode() & 0o2070), (4321, 0o2070));
        assert_eq!(
            fs::metadata("/etc/passwd").unwrap().gid(),
            passwd,
            "links are not followed"
        );
    }
}
