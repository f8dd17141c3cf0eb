//! What is mounted in a container's root, made in the mount namespace of the process that makes the container.
//!
//! libcontainer could do this too, with some seventy system calls for each mount: it looks every part of a
//! path up anew and reads the mount table each time. Here a target is opened once, below the root, and all that
//! follows goes by its descriptor.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat, readlinkat};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns};
use nix::sys::stat::{Mode, mkdirat};

use super::rootfs::{clone_source, doing};
use crate::cgroup::Cgroup;
use crate::spec::{ContainerSpec, Mount, MountKind, Propagation};
use crate::sys::{self, MountAttributes};

/// Where every known distribution mounts control groups.
pub(super) const CGROUPS: &str = "/sys/fs/cgroup";

/// Links on the way to a target, at most; as the kernel counts.
const LINKS: usize = 40;

/// What is mounted once the container's own root is the root: control groups, and what was asked for.
/// libcontainer takes control groups that it finds mounted earlier for the machine's, wherever they are.
pub(super) struct Later {
    mounts: Vec<(PathBuf, What)>,
    /// The root is closed for writing in the end.
    lock: bool,
}

enum What {
    /// A mount that is not attached anywhere yet, and whether it is a directory.
    Tree(OwnedFd, bool),
    /// A new file system.
    New(&'static str, MsFlags, String),
}

/// Makes the mounts that need nothing of the host, but that of `/proc`, which belongs to a PID namespace that is
/// not there yet; and gets the others ready. The calling process is in the IPC and network namespaces that the
/// container is to have, and `host` is the host's mount namespace.
pub(super) fn assemble(
    root: &Path,
    spec: &ContainerSpec,
    shm: &Path,
    cgroup: &Cgroup,
    host: BorrowedFd<'_>,
) -> Result<Later, String> {
    let root = Root::open(root).map_err(doing("opening the root of the container"))?;
    let quiet = MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC;
    let closed = quiet | MsFlags::MS_NODEV;
    let locked = if spec.privileged {
        MsFlags::empty()
    } else {
        MsFlags::MS_RDONLY
    };
    let dev = MsFlags::MS_NOSUID | MsFlags::MS_STRICTATIME;
    root.mount("/dev".as_ref(), "tmpfs", dev, "mode=755,size=65536k")?;
    let terminals = "newinstance,ptmxmode=0666,mode=0620,gid=5";
    root.mount("/dev/pts".as_ref(), "devpts", quiet, terminals)?;
    root.mount("/dev/mqueue".as_ref(), "mqueue", closed, "")?;
    root.mount("/sys".as_ref(), "sysfs", closed | locked, "")?;
    let (tree, is_dir) = plain(shm, closed)?;
    root.attach(&tree, "/dev/shm".as_ref(), is_dir)?;
    let mut later = Vec::new();
    if cgroup.is_v2() {
        let flags = closed | MsFlags::MS_RELATIME | locked;
        later.push((CGROUPS.into(), What::New("cgroup2", flags, String::new())));
    } else {
        // Its own part of each hierarchy, so that programs find their limits.
        root.mount(CGROUPS.as_ref(), "tmpfs", closed, "mode=755,size=64k")?;
        for controller in ["cpu", "cpuacct", "memory", "pids"] {
            if let Some(source) = cgroup.dir(controller) {
                let (tree, is_dir) = plain(&source, closed | locked)?;
                later.push((
                    Path::new(CGROUPS).join(controller),
                    What::Tree(tree, is_dir),
                ));
            }
        }
    }
    for wanted in &spec.mounts {
        later.push((wanted.target.clone(), asked_for(wanted, host)?));
    }
    Ok(Later {
        mounts: later,
        lock: spec.read_only_root,
    })
}

impl Later {
    /// Mounts it all below `/`.
    pub(super) fn attach(&self) -> Result<(), String> {
        let root = Root::open("/".as_ref()).map_err(doing("opening the container's root"))?;
        for (target, what) in &self.mounts {
            match what {
                What::Tree(tree, is_dir) => root.attach(tree, target, *is_dir)?,
                What::New(kind, flags, data) => root.mount(target, kind, *flags, data)?,
            }
        }
        if self.lock {
            let flags = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY;
            mount(None::<&str>, "/", None::<&str>, flags, None::<&str>)
                .map_err(|error| format!("closing the root for writing: {error}"))?;
        }
        Ok(())
    }
}

/// A directory of the host as a mount of its own.
fn plain(source: &Path, flags: MsFlags) -> Result<(OwnedFd, bool), String> {
    let what = || format!("preparing mount source {}", source.display());
    let (tree, is_dir) = clone_source(source, None).map_err(doing(what()))?;
    let attributes = MountAttributes {
        set: attributes(flags),
        ..MountAttributes::default()
    };
    sys::set_mount(tree.as_fd(), &attributes).map_err(doing(what()))?;
    Ok((tree, is_dir))
}

/// One of the mounts that a container's specification has.
fn asked_for(wanted: &Mount, host: BorrowedFd<'_>) -> Result<What, String> {
    let (flags, data) = options(&wanted.options);
    let access = if wanted.read_only {
        MsFlags::MS_RDONLY
    } else {
        MsFlags::empty()
    };
    if wanted.kind == MountKind::Tmpfs {
        let own = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
        return Ok(What::New("tmpfs", flags | own | access, data));
    }
    let what = || {
        let (source, target) = (shown(wanted), wanted.target.display());
        format!("error mounting \"{source}\" to rootfs at \"{target}\"")
    };
    let (tree, is_dir) = source(wanted, host).map_err(|error| format!("{}: {error}", what()))?;
    let private = wanted.propagation == Propagation::Private;
    let everywhere = MountAttributes {
        set: attributes(access),
        propagation: if private { libc::MS_PRIVATE } else { 0 },
        recursive: true,
    };
    let here = MountAttributes {
        set: attributes(flags),
        ..MountAttributes::default()
    };
    sys::set_mount(tree.as_fd(), &everywhere)
        .and_then(|()| sys::set_mount(tree.as_fd(), &here))
        .map_err(doing(what()))?;
    Ok(What::Tree(tree, is_dir))
}

/// The root of a container, by descriptor.
struct Root(OwnedFd);

impl Root {
    fn open(path: &Path) -> io::Result<Self> {
        let open = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_PATH | libc::O_DIRECTORY)
            .open(path)?;
        Ok(Self(open.into()))
    }

    /// Mounts a new file system.
    fn mount(&self, target: &Path, kind: &str, flags: MsFlags, data: &str) -> Result<(), String> {
        let what = || format!("mounting {kind} at {}", target.display());
        let place = self.place(target, true).map_err(doing(what()))?;
        mount(
            Some(kind),
            by_descriptor(&place).as_path(),
            Some(kind),
            flags,
            (!data.is_empty()).then_some(data),
        )
        .map_err(|error| format!("{}: {error}", what()))
    }

    /// Attaches a mount.
    fn attach(&self, tree: &OwnedFd, target: &Path, is_dir: bool) -> Result<(), String> {
        self.place(target, is_dir)
            .and_then(|place| sys::move_mount_onto(tree.as_fd(), place.as_fd()))
            .map_err(doing(format_args!(
                "error mounting to rootfs at \"{}\"",
                target.display()
            )))
    }

    fn look(&self, path: &Path) -> io::Result<OwnedFd> {
        let path = path.strip_prefix("/").unwrap_or(path);
        let path = if path.as_os_str().is_empty() {
            Path::new(".")
        } else {
            path
        };
        sys::open_in_root(self.0.as_fd(), path, libc::O_PATH)
    }

    /// Opens where something is to be mounted; makes it, and all above it, where it is missing. Links lead nowhere
    /// but below the root, and what a dangling one points to is made.
    fn place(&self, path: &Path, dir: bool) -> io::Result<OwnedFd> {
        match self.look(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            found => return found,
        }
        let parts = |path: &Path| -> Vec<OsString> {
            path.components()
                .filter(|part| !matches!(part, Component::RootDir | Component::CurDir))
                .map(|part| part.as_os_str().to_owned())
                .collect()
        };
        let mut left = VecDeque::from(parts(path));
        let mut done = PathBuf::new();
        let mut links = 0;
        while let Some(part) = left.pop_front() {
            let next = done.join(&part);
            match self.look(&next) {
                Ok(_) => {
                    done = next;
                    continue;
                }
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
            let parent = self.look(&done)?;
            let made = if left.is_empty() && !dir {
                let flags = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC | OFlag::O_WRONLY;
                openat(
                    &parent,
                    part.as_os_str(),
                    flags,
                    Mode::from_bits_truncate(0o644),
                )
                .map(drop)
            } else {
                mkdirat(&parent, part.as_os_str(), Mode::from_bits_truncate(0o755))
            };
            match made {
                Ok(()) => done = next,
                Err(Errno::EEXIST) => {
                    links += 1;
                    if links > LINKS {
                        return Err(Errno::ELOOP.into());
                    }
                    let to = PathBuf::from(readlinkat(&parent, part.as_os_str())?);
                    if to.is_absolute() {
                        done = PathBuf::new();
                    }
                    for part in parts(&to).into_iter().rev() {
                        left.push_front(part);
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
        self.look(&done)
    }
}

/// A path by which system calls that know none but paths reach what a descriptor is open on.
fn by_descriptor(fd: &OwnedFd) -> PathBuf {
    let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
    PathBuf::from(OsString::from_vec(path.into_bytes()))
}

fn shown(wanted: &Mount) -> String {
    let sub = wanted.sub_path.as_deref();
    let path = sub.map_or_else(|| wanted.source.clone(), |sub| wanted.source.join(sub));
    path.display().to_string()
}

/// What a bind mount shows, as a tree of its own, and whether it is a directory. A sub-path is resolved below its
/// source, so that nobody can exchange it for a link; what is to propagate both ways comes from the host's mount
/// namespace, where its peers are.
fn source(wanted: &Mount, host: BorrowedFd<'_>) -> Result<(OwnedFd, bool), String> {
    let shown = shown(wanted);
    let sub = wanted.sub_path.as_deref();
    if wanted.propagation != Propagation::Bidirectional {
        return clone_source(&wanted.source, sub).map_err(doing(format_args!("stat {shown}")));
    }
    let what = || format!("preparing mount source {shown}");
    let own = fs::File::open("/proc/self/ns/mnt").map_err(doing(what()))?;
    setns(host, CloneFlags::CLONE_NEWNS).map_err(|error| format!("{}: {error}", what()))?;
    let tree = clone_source(&wanted.source, sub);
    setns(&own, CloneFlags::CLONE_NEWNS).map_err(|error| format!("{}: {error}", what()))?;
    tree.map_err(doing(what()))
}

/// `mount(8)`'s words as flags; what is not one of them is for the file system.
fn options(words: &[String]) -> (MsFlags, String) {
    let mut flags = MsFlags::empty();
    let mut data = Vec::new();
    for word in words {
        match word.as_str() {
            "ro" => flags |= MsFlags::MS_RDONLY,
            "nosuid" => flags |= MsFlags::MS_NOSUID,
            "nodev" => flags |= MsFlags::MS_NODEV,
            "noexec" => flags |= MsFlags::MS_NOEXEC,
            "noatime" => flags |= MsFlags::MS_NOATIME,
            "nodiratime" => flags |= MsFlags::MS_NODIRATIME,
            "strictatime" => flags |= MsFlags::MS_STRICTATIME,
            // What holds anyway.
            "rw" | "suid" | "dev" | "exec" | "relatime" | "bind" | "rbind" => {}
            other => data.push(other),
        }
    }
    (flags, data.join(","))
}

/// The flags as `mount_setattr(2)` has them.
fn attributes(flags: MsFlags) -> u64 {
    [
        (MsFlags::MS_RDONLY, libc::MOUNT_ATTR_RDONLY),
        (MsFlags::MS_NOSUID, libc::MOUNT_ATTR_NOSUID),
        (MsFlags::MS_NODEV, libc::MOUNT_ATTR_NODEV),
        (MsFlags::MS_NOEXEC, libc::MOUNT_ATTR_NOEXEC),
        (MsFlags::MS_NOATIME, libc::MOUNT_ATTR_NOATIME),
        (MsFlags::MS_NODIRATIME, libc::MOUNT_ATTR_NODIRATIME),
        (MsFlags::MS_STRICTATIME, libc::MOUNT_ATTR_STRICTATIME),
    ]
    .into_iter()
    .filter(|(flag, _)| flags.contains(*flag))
    .fold(0, |set, (_, attribute)| set | attribute)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_made_below_the_root_whatever_links_say() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path();
        fs::create_dir(path.join("var")).unwrap();
        std::os::unix::fs::symlink("/run", path.join("var/run")).unwrap();
        std::os::unix::fs::symlink("../../../../outside", path.join("up")).unwrap();
        std::os::unix::fs::symlink("loop", path.join("loop")).unwrap();
        let root = Root::open(path).unwrap();
        root.place("/var/run/secrets/x".as_ref(), true).unwrap();
        assert!(path.join("run/secrets/x").is_dir());
        root.place("/up/file".as_ref(), false).unwrap();
        assert!(path.join("outside/file").is_file());
        root.place("/a/b/file".as_ref(), false).unwrap();
        root.place("/a/b".as_ref(), true).unwrap();
        assert!(path.join("a/b/file").is_file());
        assert!(root.place("/loop/x".as_ref(), true).is_err());
        assert!(root.place("/a/b/file/x".as_ref(), true).is_err());
    }
}
