//! Files in a machine's root, written from outside.
//!
//! The root belongs to the machine: links in it may lead anywhere. Every path is resolved as if the root were
//! `/`, and nothing is followed out of it.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::symlink;
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2, renameat};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::stat::{Mode, fchmod, mkdirat};
use nix::unistd::{UnlinkatFlags, unlinkat};

/// Largest file that is read back.
const READ_MAX: u64 = 4 << 20;

/// A root file system by descriptor.
pub(crate) struct Root(OwnedFd);

fn relative(path: &Path) -> PathBuf {
    let path: PathBuf = path
        .components()
        .filter(|part| matches!(part, Component::Normal(_)))
        .collect();
    if path.as_os_str().is_empty() {
        PathBuf::from(".")
    } else {
        path
    }
}

impl Root {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        Ok(Self(nix::fcntl::open(path, flags, Mode::empty())?))
    }

    fn look(&self, path: &Path, flags: OFlag) -> io::Result<OwnedFd> {
        let how = OpenHow::new()
            .flags(flags | OFlag::O_CLOEXEC)
            .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
        loop {
            match openat2(&self.0, &relative(path), how) {
                // Something was renamed on the way.
                Err(Errno::EAGAIN | Errno::EINTR) => {}
                result => return Ok(result?),
            }
        }
    }

    /// Whether there is something at the path, links followed.
    pub(crate) fn exists(&self, path: &Path) -> bool {
        self.look(path, OFlag::O_PATH).is_ok()
    }

    /// Whether there is a program at the path.
    pub(crate) fn is_executable(&self, path: &Path) -> bool {
        self.look(path, OFlag::O_PATH)
            .and_then(|found| Ok(nix::sys::stat::fstat(&found)?))
            .is_ok_and(|stat| {
                stat.st_mode & libc::S_IFMT == libc::S_IFREG && stat.st_mode & 0o111 != 0
            })
    }

    /// The content of a regular file; `None` where there is none.
    pub(crate) fn read(&self, path: &Path) -> io::Result<Option<Vec<u8>>> {
        let file = match self.look(path, OFlag::O_RDONLY | OFlag::O_NONBLOCK) {
            Err(error)
                if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) =>
            {
                return Ok(None);
            }
            file => File::from(file?),
        };
        if !file.metadata()?.is_file() {
            return Err(ErrorKind::InvalidInput.into());
        }
        let mut content = Vec::new();
        file.take(READ_MAX).read_to_end(&mut content)?;
        Ok(Some(content))
    }

    /// Opens a directory, and makes it and all above it where they are missing.
    fn directory(&self, path: &Path, mode: u32) -> io::Result<OwnedFd> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY;
        match self.look(path, flags) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            found => return found,
        }
        let mut done = PathBuf::from(".");
        for part in relative(path).components() {
            let parent = self.look(&done, flags)?;
            match mkdirat(&parent, part.as_os_str(), Mode::from_bits_truncate(mode)) {
                Ok(()) | Err(Errno::EEXIST) => done.push(part),
                Err(error) => return Err(error.into()),
            }
        }
        self.look(path, flags)
    }

    /// Writes a file whole or not at all, owned by root. A link in its place is replaced.
    pub(crate) fn write(&self, path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
        self.write_below(path, content, mode, 0o755)
    }

    /// As [`Root::write`], with the mode of directories that have to be made.
    pub(crate) fn write_below(
        &self,
        path: &Path,
        content: &[u8],
        mode: u32,
        directories: u32,
    ) -> io::Result<()> {
        let name = path.file_name().ok_or(ErrorKind::InvalidInput)?;
        let parent = self.directory(path.parent().unwrap_or("/".as_ref()), directories)?;
        let mut draft = b".consort-".to_vec();
        draft.extend_from_slice(&name.as_bytes()[..name.len().min(200)]);
        let draft = OsStr::from_bytes(&draft);
        let create = || {
            let flags = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_WRONLY | OFlag::O_CLOEXEC;
            nix::fcntl::openat(&parent, draft, flags, Mode::from_bits_truncate(0o600))
        };
        let file = match create() {
            Err(Errno::EEXIST) => {
                unlinkat(&parent, draft, UnlinkatFlags::NoRemoveDir)?;
                create()?
            }
            file => file?,
        };
        let written = (|| {
            let mut file = File::from(file);
            file.write_all(content)?;
            fchmod(&file, Mode::from_bits_truncate(mode))?;
            renameat(&parent, draft, &parent, name)?;
            Ok(())
        })();
        if written.is_err() {
            let _ = unlinkat(&parent, draft, UnlinkatFlags::NoRemoveDir);
        }
        written
    }

    /// Puts a part of a text file between two lines of our own, and leaves the rest as it is.
    pub(crate) fn write_part(
        &self,
        path: &Path,
        part: &str,
        default: &str,
        mode: u32,
        directories: u32,
    ) -> io::Result<()> {
        let before = self.read(path)?.map_or_else(
            || default.to_owned(),
            |text| String::from_utf8_lossy(&text).into_owned(),
        );
        let after = merge(&before, part);
        if after == before {
            return Ok(());
        }
        self.write_below(path, after.as_bytes(), mode, directories)
    }
}

const BEGIN: &str = "# BEGIN consort (what stands here is written by the machine's host)";
const END: &str = "# END consort";

/// The text with our part exchanged, at its end if it had none.
fn merge(text: &str, part: &str) -> String {
    let mut kept = String::new();
    let mut ours = false;
    for line in text.split_inclusive('\n') {
        match line.trim_end() {
            BEGIN => ours = true,
            END if ours => ours = false,
            _ if !ours => kept.push_str(line),
            _ => {}
        }
    }
    if part.is_empty() {
        return kept;
    }
    if !kept.is_empty() && !kept.ends_with('\n') {
        kept.push('\n');
    }
    format!("{kept}{BEGIN}\n{}\n{END}\n", part.trim_end())
}

/// How long what is left of a machine that was killed may hold its root.
const DYING: Duration = Duration::from_secs(5);

/// Tries again while something is still in use, for a while.
fn unless_busy(work: impl Fn() -> nix::Result<()>) -> nix::Result<()> {
    let deadline = Instant::now() + DYING;
    loop {
        match work() {
            Err(Errno::EBUSY) if Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(20));
            }
            done => return done,
        }
    }
}

/// Works on the root of a machine that does not run: mounted for the time being, where nobody else sees it.
///
/// `home` is where what it writes is kept (`root/`).
pub(crate) fn offline<T: Send>(
    home: &Path,
    layers: &[PathBuf],
    work: impl FnOnce(&Root) -> io::Result<T> + Send,
) -> io::Result<T> {
    let writes = home.join("root");
    let scratch = home.join("mnt");
    for dir in [writes.join("upper"), writes.join("work"), scratch.clone()] {
        fs::create_dir_all(dir)?;
    }
    let inside = || {
        // A mount namespace of this thread alone.
        unshare(CloneFlags::CLONE_NEWNS)?;
        mount(
            None::<&str>,
            "/",
            None::<&str>,
            MsFlags::MS_REC | MsFlags::MS_SLAVE,
            None::<&str>,
        )?;
        mount(
            Some("scratch"),
            &scratch,
            Some("tmpfs"),
            MsFlags::empty(),
            Some("mode=700,size=1m"),
        )?;
        // Short names: the options of a mount have one page.
        for name in ["upper", "work"] {
            symlink(writes.join(name), scratch.join(name))?;
        }
        let mut names = Vec::new();
        for (number, layer) in layers.iter().enumerate() {
            symlink(layer, scratch.join(number.to_string()))?;
            names.push(number.to_string());
        }
        fs::create_dir(scratch.join("root"))?;
        std::env::set_current_dir(&scratch)?;
        let options = format!("lowerdir={},upperdir=upper,workdir=work", names.join(":"));
        // A machine that was killed has its own mount until the last of it is gone.
        unless_busy(|| {
            mount(
                Some("overlay"),
                "root",
                Some("overlay"),
                MsFlags::empty(),
                Some(options.as_str()),
            )
        })?;
        let done = Root::open("root".as_ref()).and_then(|root| work(&root));
        std::env::set_current_dir("/")?;
        // Gone before the machine's own mount of it is made. A process that another thread starts just now has what is open
        // here, until it runs a program of its own.
        unless_busy(|| umount2(&scratch.join("root"), MntFlags::empty()))?;
        unless_busy(|| umount2(&scratch, MntFlags::empty()))?;
        done
    };
    let done = std::thread::scope(|scope| {
        std::thread::Builder::new()
            .name("root".into())
            .spawn_scoped(scope, inside)?
            .join()
            .unwrap_or_else(|_| {
                Err(io::Error::other(
                    "the thread that works on the root panicked",
                ))
            })
    });
    let _ = fs::remove_dir(&scratch);
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_part_of_a_file_is_exchanged_and_the_rest_stays() {
        let once = merge("127.0.0.1 localhost", "10.0.0.2 a\n");
        assert_eq!(
            once,
            format!("127.0.0.1 localhost\n{BEGIN}\n10.0.0.2 a\n{END}\n")
        );
        let edited = format!("{once}192.0.2.1 other\n");
        let again = merge(&edited, "10.0.0.3 b");
        assert_eq!(
            again,
            format!("127.0.0.1 localhost\n192.0.2.1 other\n{BEGIN}\n10.0.0.3 b\n{END}\n")
        );
        assert_eq!(merge(&again, ""), "127.0.0.1 localhost\n192.0.2.1 other\n");
    }

    #[test]
    fn nothing_is_written_outside_the_root_whatever_links_say() {
        let dir = tempfile::tempdir().unwrap();
        let outside = dir.path().join("outside");
        let inside = dir.path().join("root");
        fs::create_dir(&outside).unwrap();
        fs::create_dir(&inside).unwrap();
        symlink(&outside, inside.join("etc")).unwrap();
        symlink("../../../../../../outside", inside.join("up")).unwrap();
        fs::create_dir(inside.join("run")).unwrap();
        symlink("/run/target", inside.join("link")).unwrap();
        let root = Root::open(&inside).unwrap();
        assert!(root.write("/etc/x".as_ref(), b"x", 0o644).is_err());
        assert!(root.write("/up/x".as_ref(), b"x", 0o644).is_err());
        root.write("/link".as_ref(), b"file", 0o600).unwrap();
        assert!(!inside.join("link").is_symlink());
        root.write("/a/b/c".as_ref(), b"c", 0o755).unwrap();
        assert_eq!(fs::read(inside.join("a/b/c")).unwrap(), b"c");
        assert!(root.is_executable("/a/b/c".as_ref()) && !root.is_executable("/a/b".as_ref()));
        assert_eq!(root.read("/a/nothing".as_ref()).unwrap(), None);
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
    }
}
