//! A container's root file system, in the mount namespace of the process that makes the container. The container's own
//! namespace is a copy of it; when both are gone, so are the mounts.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};

use super::mounts::CGROUPS;
use crate::sys;

pub(super) fn doing(what: impl std::fmt::Display) -> impl FnOnce(io::Error) -> String {
    move |error| format!("{what}: {error}")
}

/// Mounts the layers at `<scratch>/rootfs`, with what is written kept in `dir`, or for good in `writes`.
///
/// Everything is named by short links in a directory of their own, so that any number of layers with any path
/// fits into the one page that mount options have. `volatile` spares syncs of a file system that nobody
/// uses again after a crash: a container is made anew then.
pub(super) fn mount_overlay(
    dir: &Path,
    scratch: &Path,
    lower_dirs: &[PathBuf],
    writes: Option<&Path>,
) -> Result<(), String> {
    let kept = writes.is_some();
    let dir = writes.unwrap_or(dir);
    if lower_dirs.is_empty() {
        return Err("a container needs at least one layer".to_owned());
    }
    let links = scratch.join("l");
    for path in [
        dir.join("upper"),
        dir.join("work"),
        scratch.join("rootfs"),
        links.clone(),
    ] {
        fs::DirBuilder::new()
            .mode(0o755)
            .recursive(true)
            .create(&path)
            .map_err(doing(format_args!("mkdir {}", path.display())))?;
    }
    for name in ["upper", "work"] {
        symlink(dir.join(name), links.join(name)).map_err(doing(format_args!("naming {name}")))?;
    }
    let mut names = Vec::with_capacity(lower_dirs.len());
    for (number, lower) in lower_dirs.iter().enumerate() {
        if !lower.is_dir() {
            return Err(format!("layer {} is not a directory", lower.display()));
        }
        let name = number.to_string();
        symlink(lower, links.join(&name))
            .map_err(doing(format_args!("naming layer {}", lower.display())))?;
        names.push(name);
    }
    let before = std::env::current_dir().map_err(doing("getting the working directory"))?;
    std::env::set_current_dir(&links).map_err(doing(format_args!("chdir {}", links.display())))?;
    let options = format!("lowerdir={},upperdir=upper,workdir=work", names.join(":"));
    let attempt = |options: &str| {
        mount(
            Some("overlay"),
            "../rootfs",
            Some("overlay"),
            MsFlags::empty(),
            Some(options),
        )
    };
    let result = if kept {
        attempt(&options)
    } else {
        attempt(&format!("{options},volatile")).or_else(|_| attempt(&options))
    };
    std::env::set_current_dir(&before).map_err(doing("going back to the working directory"))?;
    result.map_err(|error| {
        format!(
            "mounting overlay of {} layers at {}: {error}",
            lower_dirs.len(),
            dir.display()
        )
    })
}

/// Takes the cgroup mounts away from this process's own mount namespace. libcontainer then takes the machine for one
/// without controllers, and leaves the cgroup alone that the process is already in: it would move it there again, and
/// read the mount table two dozen times on the way.
pub(super) fn hide_cgroups() -> Result<(), String> {
    umount2(CGROUPS, MntFlags::MNT_DETACH)
        .map_err(|error| format!("detaching {CGROUPS}: {error}"))?;
    mount(
        Some("tmpfs"),
        CGROUPS,
        Some("tmpfs"),
        MsFlags::MS_RDONLY,
        Some("size=4k"),
    )
    .map_err(|error| format!("covering {CGROUPS}: {error}"))
}

/// A path of the host, or one below it that cannot lead out of it, as a mount of its own; and whether it is a directory.
pub(super) fn clone_source(source: &Path, sub_path: Option<&Path>) -> io::Result<(OwnedFd, bool)> {
    let open = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_PATH)
        .open(source)?;
    let fd = match sub_path {
        None => OwnedFd::from(open),
        Some(path) => match sys::open_in_root(open.as_fd(), path, libc::O_PATH) {
            // The kubelet makes a missing sub-path a directory.
            Err(error) if error.kind() == io::ErrorKind::NotFound && plain(path) => {
                make_dirs(open.as_fd(), path)?;
                sys::open_in_root(open.as_fd(), path, libc::O_PATH)?
            }
            result => result?,
        },
    };
    let is_dir = nix::sys::stat::fstat(&fd)?.st_mode & libc::S_IFMT == libc::S_IFDIR;
    Ok((sys::clone_tree(fd.as_fd())?, is_dir))
}

fn plain(path: &Path) -> bool {
    path.components().all(|part| {
        matches!(
            part,
            std::path::Component::Normal(_) | std::path::Component::CurDir
        )
    })
}

fn make_dirs(root: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
    let mut done = PathBuf::new();
    for part in path.components() {
        let parent = if done.as_os_str().is_empty() {
            root.try_clone_to_owned()?
        } else {
            sys::open_in_root(root, &done, libc::O_PATH | libc::O_DIRECTORY)?
        };
        match nix::sys::stat::mkdirat(
            &parent,
            part.as_os_str(),
            nix::sys::stat::Mode::from_bits_truncate(0o750),
        ) {
            Err(nix::errno::Errno::EEXIST) | Ok(()) => done.push(part),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
