//! A layer's entries, one after the other, into a [`Tree`].

use std::cell::Cell;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::sync_channel;

use bytes::Bytes;
use nix::sys::stat::SFlag;
use tar::EntryType;

use super::archive::{Broken, Chunks, decoder, produce};
use super::tree::{Existing, Meta, Tree, clean};
use crate::digest::Hasher;
use crate::{Digest, Error, Limits};

/// Marks a deleted name (OCI image specification, "Whiteouts").
const WHITEOUT: &[u8] = b".wh.";
/// Marks a directory whose lower content is deleted.
const OPAQUE: &[u8] = b".wh..wh..opq";
/// Other marks of AUFS, which mean nothing to anyone else.
const AUFS: &[u8] = b".wh..wh.";

/// Bytes that one entry's headers may have, long names and attributes included.
const HEADER_BYTES: u64 = 4 << 20;

/// What is unpacked.
pub(crate) struct Unpack<'a> {
    /// For messages: the digest of the blob.
    pub(crate) blob: Digest,
    /// What the archive must hash to.
    pub(crate) diff_id: Digest,
    pub(crate) limits: &'a Limits,
    /// Ends the work early when it becomes true.
    pub(crate) cancelled: &'a AtomicBool,
}

/// Unpacks an archive, compressed or not, into the empty directory `into`, and checks that the
/// archive has the digest `diff_id`. After an error the directory holds rubbish.
pub(crate) fn unpack(archive: File, into: &Path, what: &Unpack<'_>) -> Result<(), Error> {
    let refused = |reason: String| Error::Layer {
        layer: what.blob,
        reason,
    };
    let too_large = |limit, unit| Error::TooLarge {
        what: format!("layer {}", what.blob),
        limit,
        unit,
    };
    let tree = Tree::open(into).map_err(Error::io("opening", into))?;
    let (to_hash, hash_from) = sync_channel::<Bytes>(8);
    let (to_tree, tree_from) = sync_channel::<Bytes>(8);
    let (produced, digest, filled) = std::thread::scope(|scope| {
        let hash = scope.spawn(move || {
            let mut hasher = Hasher::default();
            for chunk in hash_from {
                hasher.update(&chunk);
            }
            hasher.finish().0
        });
        let produce = scope.spawn(move || {
            let (_, reader) = decoder(archive).map_err(Broken::Read)?;
            let limit = what.limits.unpacked_bytes;
            produce(reader, limit, what.cancelled, &to_hash, &to_tree)
        });
        let filled = fill(tree, Chunks::new(tree_from), what.limits);
        (produce.join(), hash.join(), filled)
    });
    let (Ok(produced), Ok(digest)) = (produced, digest) else {
        return Err(refused("its unpacking ended abnormally".into()));
    };
    // The producer's error comes first: the other side only saw a truncated archive.
    match produced {
        Err(Broken::TooLarge) => return Err(too_large(what.limits.unpacked_bytes, "bytes")),
        Err(Broken::Read(error)) => return Err(refused(format!("reading its archive: {error}"))),
        Err(Broken::Cancelled) => return Err(refused("its unpacking was cancelled".into())),
        Ok(()) => {}
    }
    match filled {
        Ok(()) => {}
        Err(Failed::Entries) => return Err(too_large(what.limits.entries, "entries")),
        Err(Failed::Bytes) => return Err(too_large(what.limits.unpacked_bytes, "bytes")),
        Err(Failed::Archive(error)) => {
            return Err(refused(format!("its archive is malformed: {error}")));
        }
        Err(Failed::Entry(name, error)) => {
            let name = String::from_utf8_lossy(&name);
            return Err(match error.raw_os_error() {
                // The disk's trouble, not the layer's.
                Some(libc::ENOSPC | libc::EDQUOT | libc::EIO | libc::EROFS | libc::EMFILE) => {
                    Error::io("unpacking to", into.join(&*name))(error)
                }
                _ => refused(format!("entry {name:?}: {error}")),
            });
        }
    }
    if digest != what.diff_id {
        return Err(Error::DigestMismatch {
            what: format!("the content of layer {}", what.blob),
            expected: what.diff_id,
            actual: digest,
        });
    }
    Ok(())
}

enum Failed {
    Archive(io::Error),
    Entry(Vec<u8>, io::Error),
    Entries,
    Bytes,
}

/// Lets only so much through while headers are read, so that no long name fills the memory.
struct Budgeted<R> {
    inner: R,
    left: Rc<Cell<u64>>,
}

impl<R: Read> Read for Budgeted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        let left = self.left.get();
        if read as u64 > left {
            return Err(io::Error::other("an entry's headers are larger than 4 MiB"));
        }
        self.left.set(left - read as u64);
        Ok(read)
    }
}

fn fill(mut tree: Tree, reader: Chunks, limits: &Limits) -> Result<(), Failed> {
    let left = Rc::new(Cell::new(0));
    let mut archive = tar::Archive::new(Budgeted {
        inner: reader,
        left: left.clone(),
    });
    let mut entries = archive.entries().map_err(Failed::Archive)?;
    let mut count = 0;
    let mut written = 0;
    let mut buffer = vec![0; 128 * 1024];
    loop {
        left.set(HEADER_BYTES);
        let Some(entry) = entries.next() else { break };
        let mut entry = entry.map_err(Failed::Archive)?;
        left.set(u64::MAX);
        count += 1;
        if count > limits.entries {
            return Err(Failed::Entries);
        }
        let name = entry.path_bytes().into_owned();
        let mut content = Content {
            written: &mut written,
            limit: limits.unpacked_bytes,
            exceeded: false,
            buffer: &mut buffer,
        };
        let made = make(&mut tree, &name, &mut entry, &mut content);
        if content.exceeded {
            return Err(Failed::Bytes);
        }
        made.map_err(|error| Failed::Entry(name, error))?;
        // What the entry still has must not count as the next one's headers.
        io::copy(&mut entry, &mut io::sink()).map_err(Failed::Archive)?;
    }
    left.set(u64::MAX);
    // To the very end: the digest covers what follows the last entry, too.
    io::copy(&mut archive.into_inner(), &mut io::sink()).map_err(Failed::Archive)?;
    tree.finish()
        .map_err(|error| Failed::Entry(b".".to_vec(), error))
}

/// Copies files' content and counts it; a sparse file can be larger than its archive.
struct Content<'a> {
    written: &'a mut u64,
    limit: u64,
    exceeded: bool,
    buffer: &'a mut [u8],
}

impl Content<'_> {
    fn copy(&mut self, from: &mut impl Read, to: &mut File) -> io::Result<()> {
        use io::Write as _;
        loop {
            let read = match from.read(self.buffer) {
                Ok(0) => return Ok(()),
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            *self.written += read as u64;
            if *self.written > self.limit {
                self.exceeded = true;
                return Err(io::ErrorKind::FileTooLarge.into());
            }
            to.write_all(&self.buffer[..read])?;
        }
    }
}

fn make(
    tree: &mut Tree,
    name: &[u8],
    entry: &mut tar::Entry<'_, impl Read>,
    content: &mut Content<'_>,
) -> io::Result<()> {
    let kind = entry.header().entry_type();
    if kind.is_pax_global_extensions() {
        return Ok(());
    }
    let path = clean(name)?;
    if let Some(mark) = path.file_name().map(OsStr::as_bytes)
        && mark.starts_with(WHITEOUT)
    {
        return white_out(tree, &path, mark);
    }
    let invalid = |reason: &str| io::Error::new(io::ErrorKind::InvalidData, reason);
    let attributes = Attributes::read(entry)?;
    let meta = meta(entry, &attributes)?;
    let target = || {
        entry
            .link_name_bytes()
            .map(std::borrow::Cow::into_owned)
            .filter(|target| !target.is_empty() && !target.contains(&0))
            .ok_or_else(|| invalid("a link without a target"))
    };
    if path.as_os_str().is_empty() && !kind.is_dir() {
        return Err(invalid("the layer's root can only be a directory"));
    }
    if kind.is_dir() {
        return make_directory(tree, &path, &meta, &attributes);
    }
    let existing = tree.existing(&path)?;
    if kind.is_hard_link() {
        let target = clean(&target()?)?;
        if target == path {
            return Err(invalid("a hard link to itself"));
        }
        tree.clear(&path, existing)?;
        return tree.hard_link(&path, &target).map_err(|error| {
            let target = target.display();
            io::Error::new(error.kind(), format!("hard link to {target}: {error}"))
        });
    }
    tree.clear(&path, existing)?;
    match kind {
        EntryType::Symlink => {
            let target = target()?;
            tree.symlink(&path, OsStr::from_bytes(&target), &meta)?;
            attributes.apply(tree, &path)
        }
        EntryType::Char | EntryType::Block | EntryType::Fifo => {
            let header = entry.header();
            let device = match kind {
                EntryType::Fifo => 0,
                _ => libc::makedev(
                    header.device_major()?.unwrap_or(0),
                    header.device_minor()?.unwrap_or(0),
                ),
            };
            let node = match kind {
                EntryType::Char => SFlag::S_IFCHR,
                EntryType::Block => SFlag::S_IFBLK,
                _ => SFlag::S_IFIFO,
            };
            tree.node(&path, node, device, &meta)?;
            attributes.apply(tree, &path)
        }
        EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
            let mut file = tree.create_file(&path)?;
            content.copy(entry, &mut file)?;
            meta.apply(&file)?;
            drop(file);
            attributes.apply(tree, &path)
        }
        other => Err(invalid(&format!(
            "unknown entry type {:?}",
            other.as_byte() as char
        ))),
    }
}

/// A directory, new or once more. Over a whiteout of its own name it is one that replaces.
fn make_directory(
    tree: &mut Tree,
    path: &Path,
    meta: &Meta,
    attributes: &Attributes,
) -> io::Result<()> {
    let mut replaces = false;
    if !path.as_os_str().is_empty() {
        let existing = tree.existing(path)?;
        replaces = existing == Existing::Whiteout;
        if existing != Existing::Directory {
            tree.clear(path, existing)?;
        }
    }
    tree.make_directory(path, meta)?;
    if replaces {
        tree.make_opaque(path)?;
    }
    attributes.apply(tree, path)
}

/// A whiteout hides what lower layers have, never what this layer brings, whatever their order
/// in the archive.
fn white_out(tree: &mut Tree, path: &Path, mark: &[u8]) -> io::Result<()> {
    let parent = path.parent().unwrap_or(Path::new(""));
    if mark == OPAQUE {
        if !parent.as_os_str().is_empty() {
            match tree.existing(parent)? {
                Existing::Directory => {}
                Existing::Nothing => tree.make_directory(parent, &Meta::plain(0o755))?,
                _ => return Err(io::Error::other("an opaque mark in what is no directory")),
            }
        }
        return tree.make_opaque(parent);
    }
    if mark.starts_with(AUFS) {
        return Ok(());
    }
    let hidden = &mark[WHITEOUT.len()..];
    if hidden.is_empty() || hidden == b"." || hidden == b".." {
        return Err(io::Error::other("a whiteout of nothing"));
    }
    let hidden = parent.join(OsStr::from_bytes(hidden));
    match tree.existing(&hidden)? {
        Existing::Nothing => tree.whiteout(&hidden),
        Existing::Directory => tree.make_opaque(&hidden),
        Existing::Whiteout | Existing::Other => Ok(()),
    }
}

fn meta(entry: &tar::Entry<'_, impl Read>, attributes: &Attributes) -> io::Result<Meta> {
    let header = entry.header();
    let id = |id: u64| {
        u32::try_from(id)
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "an owner above 32 bits"))
    };
    Ok(Meta {
        mode: header.mode()?,
        uid: id(header.uid()?)?,
        gid: id(header.gid()?)?,
        mtime: match attributes.mtime {
            Some(mtime) => mtime,
            None => (i64::try_from(header.mtime()?).unwrap_or(0), 0),
        },
    })
}

/// What PAX records say beyond the header.
#[derive(Default)]
struct Attributes {
    mtime: Option<(i64, u32)>,
    extended: Vec<(PathBuf, Vec<u8>)>,
}

impl Attributes {
    fn read(entry: &mut tar::Entry<'_, impl Read>) -> io::Result<Self> {
        let mut found = Self::default();
        let Some(records) = entry.pax_extensions()? else {
            return Ok(found);
        };
        for record in records {
            let record = record?;
            let key = record.key_bytes();
            if key == b"mtime" {
                found.mtime = record.value().ok().and_then(parse_time);
            } else if let Some(name) = key.strip_prefix(b"SCHILY.xattr.")
                && is_kept(name)
            {
                let name = PathBuf::from(OsStr::from_bytes(name));
                found.extended.push((name, record.value_bytes().to_vec()));
            }
        }
        Ok(found)
    }

    fn apply(&self, tree: &mut Tree, path: &Path) -> io::Result<()> {
        for (name, value) in &self.extended {
            match tree.set_attribute(path, name.as_os_str(), value) {
                // A file system, or kind of file, without such attributes.
                Err(error) if error.raw_os_error() == Some(libc::ENOTSUP) => {}
                Err(error)
                    if name.starts_with("user.") && error.raw_os_error() == Some(libc::EPERM) => {}
                other => other?,
            }
        }
        Ok(())
    }
}

/// Attributes that an image may bring. `trusted.*` steers the overlay mount itself and labels of
/// security modules belong to the machine, so neither is taken from an archive.
fn is_kept(name: &[u8]) -> bool {
    name == b"security.capability"
        || name.starts_with(b"system.posix_acl_")
        || (name.starts_with(b"user.") && !name.starts_with(b"user.overlay."))
}

/// PAX time: decimal seconds with an optional fraction, possibly negative.
fn parse_time(text: &str) -> Option<(i64, u32)> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: i64 = whole.parse().ok()?;
    let digits: String = fraction
        .chars()
        .chain(std::iter::repeat('0'))
        .take(9)
        .collect();
    let nanoseconds: u32 = digits.parse().ok()?;
    Some(if text.starts_with('-') && nanoseconds > 0 {
        (seconds.checked_sub(1)?, 1_000_000_000 - nanoseconds)
    } else {
        (seconds, nanoseconds)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pax_times_have_fractions_and_may_be_before_the_epoch() {
        assert_eq!(parse_time("12.5"), Some((12, 500_000_000)));
        assert_eq!(parse_time("12"), Some((12, 0)));
        assert_eq!(parse_time("-1.25"), Some((-2, 750_000_000)));
        assert_eq!(parse_time("x"), None);
    }

    #[test]
    fn attributes_that_steer_the_overlay_are_not_taken_from_archives() {
        assert!(is_kept(b"security.capability") && is_kept(b"user.x"));
        for name in [
            "trusted.overlay.redirect",
            "trusted.x",
            "user.overlay.opaque",
            "security.selinux",
        ] {
            assert!(!is_kept(name.as_bytes()), "{name}");
        }
    }
}
