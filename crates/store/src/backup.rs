//! The present state as one stream: taken while the store works, and made into a store again.
//!
//! A header (magic, revision, time in milliseconds since 1970, crc32), then blocks (length, crc32, records
//! as the log has them), then an empty block, whose checksum field is zero, followed by the number of
//! records and the SHA-256 of everything before. Sealed objects stay sealed: whoever restores them needs
//! the keys.

use std::fs::{DirBuilder, File};
use std::io::{Read, Write};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use consort_object::Revision;
use sha2::{Digest, Sha256};

use crate::format::{u32_at, u64_at};
use crate::frame::Frame;
use crate::log::write_all_vectored;
use crate::record;
use crate::segment::{HEADER as SEGMENT_HEADER, Segment, sync_dir};
use crate::store::Shared;
use crate::{Error, Key};

const MAGIC: &[u8; 8] = b"cnsrtbk1";
const HEADER: usize = 32;
const BLOCK: usize = 256 << 10;

/// No record is longer: commits are smaller.
const LARGEST: usize = 1 << 30;

/// Size of the segments made when restoring.
const SEGMENT: u64 = 64 << 20;

/// What a backup holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backup {
    /// The revision whose state it is.
    pub revision: Revision,
    /// Number of objects.
    pub objects: u64,
    /// Its length in bytes.
    pub bytes: u64,
}

/// Everything that goes through is counted and hashed.
struct Hashed<W> {
    inner: W,
    hash: Sha256,
    bytes: u64,
}

impl<W: Write> Hashed<W> {
    fn put(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.hash.update(bytes);
        self.bytes += bytes.len() as u64;
        self.inner.write_all(bytes)
    }
}

/// Writes the state of one revision.
pub(crate) fn write(shared: &Arc<Shared>, out: impl Write) -> Result<Backup, Error> {
    let source = &shared.source;
    // In this order: what the state points to is in the segments that are pinned, or in newer ones.
    let state = shared.state.load_full();
    let pinned = source.segments.pin();
    let failed = |e| Error::io("writing", "the backup", e);
    let mut out = Hashed {
        inner: out,
        hash: Sha256::new(),
        bytes: 0,
    };
    let mut header = [0; HEADER];
    let millis = SystemTime::UNIX_EPOCH
        .elapsed()
        .map_or(0, |since| since.as_millis() as u64);
    header[..8].copy_from_slice(MAGIC);
    header[8..16].copy_from_slice(&state.revision.to_le_bytes());
    header[16..24].copy_from_slice(&millis.to_le_bytes());
    let crc = crc32fast::hash(&header[..24]);
    header[24..28].copy_from_slice(&crc.to_le_bytes());
    out.put(&header).map_err(failed)?;
    let mut block = Vec::with_capacity(BLOCK + 16 * 1024);
    let mut objects = 0;
    for version in state.index.values().filter(|v| !v.is_deleted()) {
        let (_, bytes) = version.record(source, Some(&pinned))?;
        block.extend_from_slice(&bytes);
        objects += 1;
        if block.len() >= BLOCK {
            put_block(&mut out, &block).map_err(failed)?;
            block.clear();
        }
    }
    if !block.is_empty() {
        put_block(&mut out, &block).map_err(failed)?;
    }
    out.put(&[0; 8])
        .and_then(|()| out.put(&u64::to_le_bytes(objects)))
        .map_err(failed)?;
    let hash = out.hash.finalize();
    out.inner
        .write_all(&hash)
        .and_then(|()| out.inner.flush())
        .map_err(failed)?;
    Ok(Backup {
        revision: Revision(state.revision),
        objects,
        bytes: out.bytes + hash.len() as u64,
    })
}

fn put_block(out: &mut Hashed<impl Write>, block: &[u8]) -> std::io::Result<()> {
    out.put(&(block.len() as u32).to_le_bytes())?;
    out.put(&crc32fast::hash(block).to_le_bytes())?;
    out.put(block)
}

/// A backup being read.
struct Input<'p, R> {
    path: &'p Path,
    inner: R,
    hash: Sha256,
    at: u64,
}

impl<R: Read> Input<'_, R> {
    fn take(&mut self, len: usize) -> Result<Vec<u8>, Error> {
        let mut bytes = vec![0; len];
        self.inner
            .read_exact(&mut bytes)
            .map_err(|e| match e.kind() {
                std::io::ErrorKind::UnexpectedEof => self.corrupt("the backup is cut short"),
                _ => Error::io("reading", self.path, e),
            })?;
        self.at += len as u64;
        Ok(bytes)
    }

    fn hashed(&mut self, len: usize) -> Result<Vec<u8>, Error> {
        let bytes = self.take(len)?;
        self.hash.update(&bytes);
        Ok(bytes)
    }

    fn corrupt(&self, detail: impl Into<String>) -> Error {
        Error::Corrupt {
            path: self.path.to_owned(),
            offset: self.at,
            detail: detail.into(),
        }
    }
}

/// Reads a backup to its end, and gives every record to `take`. Checks everything there is to check.
fn read(
    path: &Path,
    mut take: impl FnMut(Revision, &Bytes, &record::Record<'_>) -> Result<(), Error>,
) -> Result<Backup, Error> {
    let file = File::open(path).map_err(|e| Error::io("opening", path, e))?;
    let mut input = Input {
        path,
        inner: std::io::BufReader::with_capacity(1 << 20, file),
        hash: Sha256::new(),
        at: 0,
    };
    let header = input.hashed(HEADER)?;
    if &header[..8] != MAGIC || crc32fast::hash(&header[..24]) != u32_at(&header, 24) {
        input.at = 0;
        return Err(input.corrupt("this is no backup of a store"));
    }
    let revision = Revision(u64_at(&header, 8));
    let mut objects = 0;
    let mut last = String::new();
    loop {
        let head = input.hashed(8)?;
        let (len, crc) = (u32_at(&head, 0) as usize, u32_at(&head, 4));
        if len == 0 {
            break;
        }
        if len > LARGEST {
            return Err(input.corrupt("a block's length is impossible"));
        }
        let start = input.at;
        let block = Bytes::from(input.hashed(len)?);
        let fault = |offset: usize, detail: &str| Error::Corrupt {
            path: path.to_owned(),
            offset: start + offset as u64,
            detail: detail.to_owned(),
        };
        if crc32fast::hash(&block) != crc {
            return Err(fault(0, "a block does not match its checksum"));
        }
        let mut at = 0;
        while at < block.len() {
            let record = record::decode(&block[at..]).map_err(|why| fault(at, why))?;
            if Key::parse(record.key).is_err() {
                return Err(fault(at, "a record's key is none"));
            }
            if record.key <= last.as_str() || record.revision > revision.0 {
                return Err(fault(at, "a record is not where it belongs"));
            }
            record.key.clone_into(&mut last);
            take(revision, &block, &record)?;
            objects += 1;
            at += record.len as usize;
        }
    }
    let count = input.hashed(8)?;
    if u64_at(&count, 0) != objects {
        return Err(input.corrupt("it does not hold as many objects as it counts"));
    }
    let hash = input.hash.clone().finalize();
    if input.take(32)? != hash.as_slice() {
        return Err(input.corrupt("it does not match its checksum"));
    }
    let bytes = input.at;
    let mut more = [0];
    if input.inner.read(&mut more).is_ok_and(|read| read > 0) {
        return Err(input.corrupt("something follows its end"));
    }
    Ok(Backup {
        revision,
        objects,
        bytes,
    })
}

/// Checks a backup without restoring it.
///
/// # Errors
///
/// [`Error::Corrupt`] with the place, [`Error::Io`].
pub fn check_backup(path: &Path) -> Result<Backup, Error> {
    read(path, |_, _, _| Ok(()))
}

/// Makes a store of a backup. The directory must be absent or empty; it appears whole or not at all.
///
/// The store continues at the backup's revision and `bump` more. Everything before counts as compacted, so
/// watchers that have seen later states are told to list again: choose `bump` larger than the number
/// of writes since the backup.
///
/// # Errors
///
/// [`Error::NotEmpty`], [`Error::Corrupt`] with the place in the backup, [`Error::Io`], [`Error::Full`].
pub fn restore(backup: &Path, dir: &Path, bump: u64) -> Result<Backup, Error> {
    match std::fs::read_dir(dir) {
        Ok(mut entries) => {
            if entries.next().is_some() {
                return Err(Error::NotEmpty {
                    dir: dir.to_owned(),
                });
            }
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
        Err(e) => return Err(Error::io("reading", dir, e)),
    }
    let partial = partial(dir);
    match std::fs::remove_dir_all(&partial) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            return Err(Error::io("removing", partial, e));
        }
        _ => {}
    }
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&partial)
        .map_err(|e| Error::io("creating", &partial, e))?;
    let restored = fill(backup, &partial, bump).and_then(|restored| {
        match std::fs::remove_dir(dir) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                return Err(Error::io("replacing", dir, e));
            }
            _ => {}
        }
        std::fs::rename(&partial, dir).map_err(|e| Error::io("renaming to", dir, e))?;
        if let Some(above) = dir.parent().filter(|above| !above.as_os_str().is_empty()) {
            sync_dir(above)?;
        }
        Ok(restored)
    });
    if restored.is_err() {
        let _ = std::fs::remove_dir_all(&partial);
    }
    restored
}

fn partial(dir: &Path) -> PathBuf {
    let mut name = dir.file_name().unwrap_or_default().to_owned();
    name.push(".restoring");
    dir.with_file_name(name)
}

/// Writes the segments of a store.
fn fill(backup: &Path, dir: &Path, bump: u64) -> Result<Backup, Error> {
    let mut log: Option<Segments> = None;
    let mut restored = read(backup, |revision, block, record| {
        let log = match &mut log {
            Some(log) => log,
            None => log.insert(Segments::begin(dir, revision.0.saturating_add(bump))?),
        };
        log.push(block, record)
    })?;
    restored.revision.0 = restored.revision.0.saturating_add(bump);
    match log {
        Some(log) => log.finish()?,
        None => Segments::begin(dir, restored.revision.0)?.finish()?,
    }
    Ok(restored)
}

struct Segments {
    dir: PathBuf,
    revision: u64,
    segment: Arc<Segment>,
    file: File,
    end: u64,
    frame: Frame,
}

impl Segments {
    fn begin(dir: &Path, revision: u64) -> Result<Self, Error> {
        let (segment, file) = Segment::create(dir, 1, revision, revision, 0)?;
        Ok(Self {
            dir: dir.to_owned(),
            revision,
            segment,
            file,
            end: SEGMENT_HEADER as u64,
            frame: Frame::new(),
        })
    }

    /// Adds a record as one that was carried over: it keeps its own revision.
    fn push(&mut self, block: &Bytes, record: &record::Record<'_>) -> Result<(), Error> {
        self.frame.push(
            (record.kind, true, record.flags),
            record.revision,
            record.revision_at,
            record.key,
            |out| out.extend_from_slice(record.head),
            block.slice_ref(record.value),
        );
        if self.frame.len() >= BLOCK * 4 {
            self.write()?;
        }
        Ok(())
    }

    fn write(&mut self) -> Result<(), Error> {
        if self.frame.is_empty() {
            return Ok(());
        }
        if self.end >= SEGMENT {
            self.file
                .sync_all()
                .map_err(|e| Error::io("writing", &self.segment.path, e))?;
            let id = self.segment.start.id + 1;
            let (segment, file) =
                Segment::create(&self.dir, id, self.revision, self.revision, self.end)?;
            (self.segment, self.file) = (segment, file);
            self.end = SEGMENT_HEADER as u64;
        }
        let mut frame = std::mem::replace(&mut self.frame, Frame::new());
        // It holds no revision of its own: the next one is yet to come.
        frame.finish(self.segment.start.nonce, self.revision + 1, self.revision);
        write_all_vectored(&mut self.file, self.end, &mut frame.slices())
            .map_err(|e| Error::io("writing", &self.segment.path, e))?;
        self.end += frame.len() as u64;
        Ok(())
    }

    fn finish(mut self) -> Result<(), Error> {
        self.write()?;
        // A frame that follows all others: damage to one of them cannot pass for a torn end.
        let kind = (record::Kind::Compacted, false, 0);
        self.frame
            .push(kind, self.revision, 0, "", |_| {}, Bytes::new());
        self.write()?;
        self.file
            .sync_all()
            .map_err(|e| Error::io("writing", &self.segment.path, e))?;
        sync_dir(&self.dir)
    }
}
