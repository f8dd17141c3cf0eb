//! A directory that is filled from untrusted names, without ever leaving it.
//!
//! Every parent is opened by `openat2` with `RESOLVE_IN_ROOT` below the directory's own
//! descriptor: absolute links and `..` lead back into it, whatever the archive put in their way
//! before. The last component is never followed.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, openat, openat2};
use nix::sys::stat::{
    FchmodatFlags, FileStat, Mode, SFlag, UtimensatFlags, fchmod, fchmodat, fstatat, futimens,
    mkdirat, mknodat, utimensat,
};
use nix::sys::time::TimeSpec;
use nix::unistd::{
    Gid, LinkatFlags, Uid, UnlinkatFlags, fchown, fchownat, linkat, symlinkat, unlinkat,
};

/// Deepest nesting of directories that is accepted in one name.
const DEPTH: usize = 256;
/// Longest name that is accepted: Linux's `PATH_MAX`.
const NAME: usize = 4096;

/// Ownership, permissions and time of an entry.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Meta {
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Seconds since the epoch and nanoseconds.
    pub(crate) mtime: (i64, u32),
}

impl Meta {
    /// Root's, at the epoch.
    pub(crate) fn plain(mode: u32) -> Self {
        Self {
            mode,
            uid: 0,
            gid: 0,
            mtime: (0, 0),
        }
    }

    /// Gives an open file owner, permissions and time. The owner first: changing it takes setuid
    /// bits away.
    pub(crate) fn apply(&self, file: &File) -> io::Result<()> {
        fchown(
            file,
            Some(Uid::from_raw(self.uid)),
            Some(Gid::from_raw(self.gid)),
        )?;
        fchmod(file, Mode::from_bits_truncate(self.mode & 0o7777))?;
        let time = TimeSpec::new(self.mtime.0, i64::from(self.mtime.1));
        futimens(file, &time, &time)?;
        Ok(())
    }
}

/// What lies at a name already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Existing {
    Nothing,
    Directory,
    Whiteout,
    Other,
}

/// The directory being filled.
pub(crate) struct Tree {
    root: OwnedFd,
    /// The parent used last: most entries follow a neighbour.
    last: Option<(PathBuf, OwnedFd)>,
    /// Times of directories, set at the end as creating entries changes them.
    times: Vec<(PathBuf, (i64, u32))>,
}

/// An entry's place: its parent's descriptor and its own name.
pub(crate) struct Place<'a> {
    pub(crate) parent: BorrowedFd<'a>,
    pub(crate) name: &'a OsStr,
}

/// The clean relative form of an archive's name: no `.`, no empty parts, `..` resolved by text.
/// Empty means the root itself. A name that climbs out is refused.
pub(crate) fn clean(name: &[u8]) -> io::Result<PathBuf> {
    let refuse = |reason: &str| Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
    if name.len() > NAME {
        return refuse("its name is longer than 4096 bytes");
    }
    if name.contains(&0) {
        return refuse("its name holds a NUL byte");
    }
    let mut path = PathBuf::new();
    let mut depth = 0;
    for component in Path::new(OsStr::from_bytes(name)).components() {
        match component {
            Component::Normal(part) if part.len() > 255 => {
                return refuse("a part of its name is longer than 255 bytes");
            }
            Component::Normal(part) => {
                path.push(part);
                depth += 1;
            }
            Component::ParentDir if depth == 0 => {
                return refuse("its name leads out of the layer");
            }
            Component::ParentDir => {
                path.pop();
                depth -= 1;
            }
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
        if depth > DEPTH {
            return refuse("its name is nested more than 256 deep");
        }
    }
    Ok(path)
}

impl Tree {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let root = nix::fcntl::open(
            path,
            OFlag::O_DIRECTORY | OFlag::O_RDONLY | OFlag::O_CLOEXEC,
            Mode::empty(),
        )?;
        Ok(Self {
            root,
            last: None,
            times: Vec::new(),
        })
    }

    fn resolve(&self, path: &Path) -> Result<OwnedFd, Errno> {
        if path.as_os_str().is_empty() {
            return self.root.try_clone().map_err(|error| {
                error
                    .raw_os_error()
                    .map_or(Errno::UnknownErrno, Errno::from_raw)
            });
        }
        let how = OpenHow::new()
            .flags(OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC)
            .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
        openat2(&self.root, path, how)
    }

    /// Opens a directory by its clean path; links on the way stay inside.
    fn directory(&mut self, path: &Path, create: bool) -> io::Result<BorrowedFd<'_>> {
        let cached = self.last.as_ref().is_some_and(|(last, _)| last == path);
        if !cached {
            let opened = match self.resolve(path) {
                Err(Errno::ENOENT) if create => self.create_path(path)?,
                other => other?,
            };
            self.last = Some((path.to_owned(), opened));
        }
        match &self.last {
            Some((_, opened)) => Ok(opened.as_fd()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// Makes the missing directories of a path, owned by root with mode 0755.
    fn create_path(&self, path: &Path) -> io::Result<OwnedFd> {
        let mut so_far = PathBuf::new();
        let mut current = self.resolve(&so_far)?;
        for part in path {
            so_far.push(part);
            current = match self.resolve(&so_far) {
                Ok(next) => next,
                Err(Errno::ENOENT) => {
                    mkdirat(&current, part, Mode::from_bits_truncate(0o700))?;
                    let mode = Mode::from_bits_truncate(0o755);
                    fchmodat(&current, part, mode, FchmodatFlags::FollowSymlink)?;
                    self.resolve(&so_far)?
                }
                Err(errno) => return Err(errno.into()),
            };
        }
        Ok(current)
    }

    /// The place of a clean, non-empty path, with its parents made where they are missing.
    pub(crate) fn place<'a>(&'a mut self, path: &'a Path) -> io::Result<Place<'a>> {
        self.place_in(path, true)
    }

    fn place_in<'a>(&'a mut self, path: &'a Path, create: bool) -> io::Result<Place<'a>> {
        let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        let parent = self.directory(path.parent().unwrap_or(Path::new("")), create)?;
        Ok(Place { parent, name })
    }

    /// What is at a path.
    pub(crate) fn existing(&mut self, path: &Path) -> io::Result<Existing> {
        let place = self.place(path)?;
        Ok(match place.stat() {
            Err(Errno::ENOENT) => Existing::Nothing,
            Err(errno) => return Err(errno.into()),
            Ok(stat) => match SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT {
                SFlag::S_IFDIR => Existing::Directory,
                SFlag::S_IFCHR if stat.st_rdev == 0 => Existing::Whiteout,
                _ => Existing::Other,
            },
        })
    }

    /// Takes away what is at a path, so that something of another kind can be put there.
    pub(crate) fn clear(&mut self, path: &Path, existing: Existing) -> io::Result<()> {
        match existing {
            Existing::Nothing => {}
            Existing::Directory => {
                let place = self.place(path)?;
                remove_directory(place.parent, place.name)?;
                self.last = None;
            }
            Existing::Whiteout | Existing::Other => {
                let place = self.place(path)?;
                unlinkat(place.parent, place.name, UnlinkatFlags::NoRemoveDir)?;
                // A link that is gone may have been on the way to the parent used last.
                self.last = None;
            }
        }
        Ok(())
    }

    /// A directory that is there or is made now. The empty path is the root.
    pub(crate) fn make_directory(&mut self, path: &Path, meta: &Meta) -> io::Result<()> {
        self.times.push((path.to_owned(), meta.mtime));
        if path.as_os_str().is_empty() {
            let root = Place {
                parent: self.root.as_fd(),
                name: OsStr::new("."),
            };
            return root.own_and_mode(meta);
        }
        let place = self.place(path)?;
        match mkdirat(place.parent, place.name, Mode::from_bits_truncate(0o700)) {
            Ok(()) | Err(Errno::EEXIST) => place.own_and_mode(meta),
            Err(errno) => Err(errno.into()),
        }
    }

    /// A new, empty file, open for writing.
    pub(crate) fn create_file(&mut self, path: &Path) -> io::Result<File> {
        let place = self.place(path)?;
        let flags =
            OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let file = openat(
            place.parent,
            place.name,
            flags,
            Mode::from_bits_truncate(0o600),
        )?;
        Ok(File::from(file))
    }

    /// A new symbolic link. Its target is only text here.
    pub(crate) fn symlink(&mut self, path: &Path, target: &OsStr, meta: &Meta) -> io::Result<()> {
        let place = self.place(path)?;
        symlinkat(target, place.parent, place.name)?;
        place.own(meta)?;
        place.time(meta.mtime)
    }

    /// A new name for a file that the layer already has.
    pub(crate) fn hard_link(&mut self, path: &Path, target: &Path) -> io::Result<()> {
        let (from, from_name) = {
            let place = self.place_in(target, false)?;
            (place.parent.try_clone_to_owned()?, place.name.to_owned())
        };
        let to = self.place(path)?;
        let from = Place {
            parent: from.as_fd(),
            name: &from_name,
        };
        linkat(
            from.parent,
            from.name,
            to.parent,
            to.name,
            LinkatFlags::empty(),
        )?;
        Ok(())
    }

    /// A new device, pipe or socket.
    pub(crate) fn node(
        &mut self,
        path: &Path,
        kind: SFlag,
        device: libc::dev_t,
        meta: &Meta,
    ) -> io::Result<()> {
        let place = self.place(path)?;
        mknodat(
            place.parent,
            place.name,
            kind,
            Mode::from_bits_truncate(0o600),
            device,
        )?;
        place.own_and_mode(meta)?;
        place.time(meta.mtime)
    }

    /// Overlayfs's mark for "deleted here": a character device 0/0.
    pub(crate) fn whiteout(&mut self, path: &Path) -> io::Result<()> {
        let place = self.place(path)?;
        mknodat(place.parent, place.name, SFlag::S_IFCHR, Mode::empty(), 0)?;
        Ok(())
    }

    /// Overlayfs's mark for "what lower layers have in this directory is deleted".
    pub(crate) fn make_opaque(&mut self, path: &Path) -> io::Result<()> {
        self.set_attribute(path, OsStr::new("trusted.overlay.opaque"), b"y")
    }

    /// Sets an extended attribute of the entry itself, links not followed.
    pub(crate) fn set_attribute(
        &mut self,
        path: &Path,
        key: &OsStr,
        value: &[u8],
    ) -> io::Result<()> {
        if path.as_os_str().is_empty() {
            let root = format!("/proc/self/fd/{}", self.root.as_raw_fd());
            return xattr::set_deref(root, key, value);
        }
        let place = self.place(path)?;
        let mut full = PathBuf::from(format!("/proc/self/fd/{}", place.parent.as_raw_fd()));
        full.push(place.name);
        xattr::set(full, key, value)
    }

    /// Sets the directories' times, deepest last made first, and ends.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        for (path, mtime) in std::mem::take(&mut self.times).into_iter().rev() {
            let timed = if path.as_os_str().is_empty() {
                let root = Place {
                    parent: self.root.as_fd(),
                    name: OsStr::new("."),
                };
                root.time(mtime)
            } else {
                self.place_in(&path, false)
                    .and_then(|place| place.time(mtime))
            };
            match timed {
                // A later entry of the archive put something else in its place.
                Err(error)
                    if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR)) => {}
                other => other?,
            }
        }
        Ok(())
    }
}

impl Place<'_> {
    fn stat(&self) -> Result<FileStat, Errno> {
        fstatat(self.parent, self.name, AtFlags::AT_SYMLINK_NOFOLLOW)
    }

    pub(crate) fn own(&self, meta: &Meta) -> io::Result<()> {
        fchownat(
            self.parent,
            self.name,
            Some(Uid::from_raw(meta.uid)),
            Some(Gid::from_raw(meta.gid)),
            AtFlags::AT_SYMLINK_NOFOLLOW,
        )?;
        Ok(())
    }

    /// Owner first: changing it takes setuid bits away. Not for links, whose mode means nothing.
    fn own_and_mode(&self, meta: &Meta) -> io::Result<()> {
        self.own(meta)?;
        let mode = Mode::from_bits_truncate(meta.mode & 0o7777);
        fchmodat(self.parent, self.name, mode, FchmodatFlags::FollowSymlink)?;
        Ok(())
    }

    fn time(&self, (seconds, nanoseconds): (i64, u32)) -> io::Result<()> {
        let time = TimeSpec::new(seconds, i64::from(nanoseconds));
        let flags = UtimensatFlags::NoFollowSymlink;
        utimensat(self.parent, self.name, &time, &time, flags)?;
        Ok(())
    }
}

/// Removes a directory with everything below it, by descriptors.
fn remove_directory(parent: BorrowedFd<'_>, name: &OsStr) -> io::Result<()> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let mut dir = Dir::openat(parent, name, flags, Mode::empty())?;
    let mut children = Vec::new();
    for child in dir.iter() {
        let child = child?;
        let name = child.file_name().to_bytes();
        if name != b"." && name != b".." {
            children.push(OsStr::from_bytes(name).to_owned());
        }
    }
    for child in children {
        match unlinkat(&dir, child.as_os_str(), UnlinkatFlags::NoRemoveDir) {
            Err(Errno::EISDIR | Errno::EPERM) => remove_directory(dir.as_fd(), &child)?,
            other => other?,
        }
    }
    unlinkat(parent, name, UnlinkatFlags::RemoveDir)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_cleaned_and_those_that_climb_out_refused() {
        for (name, path) in [
            ("./a/b", "a/b"),
            ("/a//b/", "a/b"),
            ("a/../b", "b"),
            ("./", ""),
            ("/", ""),
        ] {
            assert_eq!(clean(name.as_bytes()).unwrap(), Path::new(path), "{name}");
        }
        for name in ["..", "../a", "a/../../b", "/../a", "./../../etc/passwd"] {
            assert!(clean(name.as_bytes()).is_err(), "{name}");
        }
        assert!(clean(&b"x/".repeat(300)).is_err());
        assert!(clean(&b"x".repeat(256)).is_err());
        assert!(clean(b"a\0b").is_err());
    }
}
