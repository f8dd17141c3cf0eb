//! `subPath`: a place inside a volume, made when it is missing, that can never lie outside of it.
//!
//! The volume's content belongs to the containers: they may put symbolic links anywhere at any time.
//! Every step is therefore resolved by the kernel with the volume as its root.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Component, Path};

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, open, openat2};
use nix::sys::stat::{Mode, mkdirat};

/// Checks that a sub-path is relative and does not climb.
pub(crate) fn check(path: &str) -> Result<(), String> {
    let plain = Path::new(path)
        .components()
        .all(|c| matches!(c, Component::Normal(_) | Component::CurDir));
    if plain {
        Ok(())
    } else {
        Err(format!(
            "subPath \"{path}\" must be relative and may not contain \"..\""
        ))
    }
}

/// Makes every missing directory of `path` inside `root`, with the permissions of the root.
pub(crate) fn make(root: &Path, path: &str) -> io::Result<()> {
    let mode = Mode::from_bits_truncate(
        std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(root)?) & 0o777,
    );
    let base = open(
        root,
        OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC,
        Mode::empty(),
    )?;
    let inside = |path: &Path| -> Result<OwnedFd, Errno> {
        let how = OpenHow::new()
            .flags(OFlag::O_PATH | OFlag::O_CLOEXEC)
            .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
        openat2(&base, path, how)
    };
    let mut done = std::path::PathBuf::from(".");
    for part in Path::new(path).components() {
        let Component::Normal(name) = part else {
            continue;
        };
        let next = done.join(name);
        match inside(&next) {
            Ok(_) => {}
            Err(Errno::ENOENT) => {
                let parent = inside(&done)?;
                match mkdirat(&parent, name, mode) {
                    Ok(()) | Err(Errno::EEXIST) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            Err(error) => return Err(error.into()),
        }
        done = next;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn missing_directories_are_made_inside_only() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("volume");
        let outside = dir.path().join("outside");
        fs::create_dir(&root).unwrap();
        fs::create_dir(&outside).unwrap();
        symlink(&outside, root.join("escape")).unwrap();
        symlink("../outside", root.join("climb")).unwrap();
        make(&root, "a/b/c").unwrap();
        assert!(root.join("a/b/c").is_dir());
        make(&root, "a/b/c").unwrap();
        let _ = make(&root, "escape/x");
        let _ = make(&root, "climb/y");
        assert_eq!(
            fs::read_dir(&outside).unwrap().count(),
            0,
            "nothing was made outside"
        );
        fs::write(root.join("file"), "x").unwrap();
        make(&root, "file").unwrap();
    }

    #[test]
    fn climbing_paths_are_refused() {
        assert!(check("a/b").is_ok());
        assert!(check("").is_ok());
        assert!(check("../a").is_err());
        assert!(check("/a").is_err());
        assert!(check("a/../../b").is_err());
    }
}
