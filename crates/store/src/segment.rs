//! One file of the log. It is written at its end only, and removed whole.
//!
//! Header, little endian, padded to 64 bytes: magic, number, nonce, the revision reached before it,
//! the revision up to which history was compacted before it, end of the segment before it, crc32.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::Write as _;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;

use crate::Error;
use crate::format::{u32_at, u64_at};

/// Bytes before the first frame.
pub(crate) const HEADER: usize = 64;
const MAGIC: &[u8; 8] = b"cnsrtlg1";

/// Where a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) segment: u32,
    pub(crate) offset: u32,
    pub(crate) len: u32,
}

/// What a segment's header says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Start {
    pub(crate) id: u32,
    pub(crate) nonce: u64,
    pub(crate) revision: u64,
    pub(crate) compacted: u64,
    /// 0 for the first segment of all.
    pub(crate) previous_end: u64,
}

/// A segment open for reading.
pub(crate) struct Segment {
    pub(crate) start: Start,
    pub(crate) path: PathBuf,
    file: File,
    /// Bytes of records that are still needed.
    kept: AtomicU64,
    /// Bytes written, headers included.
    pub(crate) size: AtomicU64,
}

impl Segment {
    pub(crate) fn path(dir: &Path, id: u32) -> PathBuf {
        dir.join(Self::name(id))
    }

    pub(crate) fn name(id: u32) -> String {
        format!("{id:010}.log")
    }

    /// The number in a segment's file name.
    pub(crate) fn id_of(name: &str) -> Option<u32> {
        name.strip_suffix(".log")
            .filter(|id| id.len() == 10)?
            .parse()
            .ok()
    }

    /// Makes the next segment and makes its existence durable. Returns it with the file to write.
    pub(crate) fn create(
        dir: &Path,
        id: u32,
        revision: u64,
        compacted: u64,
        previous_end: u64,
    ) -> Result<(Arc<Self>, File), Error> {
        let path = Self::path(dir, id);
        let nonce = RandomState::new().build_hasher().finish();
        let start = Start {
            id,
            nonce,
            revision,
            compacted,
            previous_end,
        };
        // Made under another name first: a segment in the log always has its header.
        let temporary = path.with_extension("tmp");
        let made = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&temporary)
            .and_then(|mut file| {
                file.write_all(&encode(&start))?;
                file.sync_all()?;
                std::fs::rename(&temporary, &path)?;
                Ok((File::open(&path)?, file))
            });
        match made {
            Ok((read, write)) => {
                sync_dir(dir)?;
                Ok((Arc::new(Self::new(start, path, read, HEADER as u64)), write))
            }
            Err(error) => {
                let _ = std::fs::remove_file(&temporary);
                Err(Error::io("creating", &path, error))
            }
        }
    }

    /// Opens a segment for reading.
    pub(crate) fn open(dir: &Path, id: u32) -> Result<Self, Error> {
        let path = Self::path(dir, id);
        let read = || -> std::io::Result<(File, u64, [u8; HEADER])> {
            let file = File::open(&path)?;
            let len = file.metadata()?.len();
            let mut header = [0; HEADER];
            let there = (len as usize).min(HEADER);
            file.read_exact_at(&mut header[..there], 0)?;
            Ok((file, len, header))
        };
        let (file, len, header) = read().map_err(|e| Error::io("reading", &path, e))?;
        match decode(&header).filter(|start| start.id == id) {
            Some(start) => Ok(Self::new(start, path, file, len)),
            None => Err(Error::Corrupt {
                path,
                offset: 0,
                detail: "the segment's header does not match its checksum".to_owned(),
            }),
        }
    }

    fn new(start: Start, path: PathBuf, file: File, size: u64) -> Self {
        Self {
            start,
            path,
            file,
            kept: AtomicU64::new(0),
            size: AtomicU64::new(size),
        }
    }

    /// Reads one record's bytes.
    pub(crate) fn read(&self, place: Place) -> Result<Vec<u8>, Error> {
        let mut bytes = vec![0; place.len as usize];
        self.file
            .read_exact_at(&mut bytes, u64::from(place.offset))
            .map_err(|e| Error::io("reading", &self.path, e))?;
        Ok(bytes)
    }

    /// Reads the file from an offset to its end.
    pub(crate) fn read_from(&self, offset: u64) -> Result<Vec<u8>, Error> {
        let read = || -> std::io::Result<Vec<u8>> {
            let len = self.file.metadata()?.len().saturating_sub(offset);
            let mut bytes = vec![0; len as usize];
            self.file.read_exact_at(&mut bytes, offset)?;
            Ok(bytes)
        };
        read().map_err(|e| Error::io("reading", &self.path, e))
    }

    /// Counts so many bytes as needed.
    pub(crate) fn keep(&self, bytes: u64) {
        self.kept.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Bytes of records that are still needed.
    pub(crate) fn needed(&self) -> u64 {
        self.kept.load(Ordering::Relaxed)
    }

    pub(crate) fn corrupt(&self, offset: u64, detail: impl Into<String>) -> Error {
        Error::Corrupt {
            path: self.path.clone(),
            offset,
            detail: detail.into(),
        }
    }
}

/// Segments that stay readable, removed or not, for whoever holds this.
pub(crate) struct Pinned(BTreeMap<u32, Arc<Segment>>);

impl Pinned {
    pub(crate) fn get(&self, id: u32) -> Option<Arc<Segment>> {
        self.0.get(&id).cloned()
    }
}

/// All segments, by number.
#[derive(Default)]
pub(crate) struct Segments(RwLock<BTreeMap<u32, Arc<Segment>>>);

impl Segments {
    pub(crate) fn insert(&self, segment: Arc<Segment>) {
        self.0.write().insert(segment.start.id, segment);
    }

    pub(crate) fn remove(&self, id: u32) {
        self.0.write().remove(&id);
    }

    pub(crate) fn get(&self, id: u32) -> Option<Arc<Segment>> {
        self.0.read().get(&id).cloned()
    }

    /// The oldest, unless it is the only one.
    pub(crate) fn oldest_finished(&self) -> Option<Arc<Segment>> {
        let segments = self.0.read();
        if segments.len() < 2 {
            None
        } else {
            segments.values().next().cloned()
        }
    }

    pub(crate) fn pin(&self) -> Pinned {
        Pinned(self.0.read().clone())
    }

    pub(crate) fn all(&self) -> Vec<Arc<Segment>> {
        self.0.read().values().cloned().collect()
    }

    /// Counts a record as needed.
    pub(crate) fn keep(&self, place: Place) {
        if let Some(segment) = self.0.read().get(&place.segment) {
            segment
                .kept
                .fetch_add(u64::from(place.len), Ordering::Relaxed);
        }
    }

    /// Counts a record as no longer needed.
    pub(crate) fn release(&self, place: Place) {
        if let Some(segment) = self.0.read().get(&place.segment) {
            segment
                .kept
                .fetch_sub(u64::from(place.len), Ordering::Relaxed);
        }
    }

    /// Bytes on disk, and bytes of them that are needed.
    pub(crate) fn sizes(&self) -> (u64, u64) {
        self.0
            .read()
            .values()
            .fold((0, 0), |(size, kept), segment| {
                (
                    size + segment.size.load(Ordering::Relaxed),
                    kept + segment.kept.load(Ordering::Relaxed),
                )
            })
    }
}

/// Makes the names in a directory durable.
pub(crate) fn sync_dir(dir: &Path) -> Result<(), Error> {
    File::open(dir)
        .and_then(|file| file.sync_all())
        .map_err(|e| Error::io("syncing the directory", dir, e))
}

fn encode(start: &Start) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    header[..8].copy_from_slice(MAGIC);
    header[8..12].copy_from_slice(&start.id.to_le_bytes());
    header[16..24].copy_from_slice(&start.nonce.to_le_bytes());
    header[24..32].copy_from_slice(&start.revision.to_le_bytes());
    header[32..40].copy_from_slice(&start.compacted.to_le_bytes());
    header[40..48].copy_from_slice(&start.previous_end.to_le_bytes());
    let crc = crc32fast::hash(&header[..48]);
    header[48..52].copy_from_slice(&crc.to_le_bytes());
    header
}

fn decode(header: &[u8; HEADER]) -> Option<Start> {
    if &header[..8] != MAGIC || crc32fast::hash(&header[..48]) != u32_at(header, 48) {
        return None;
    }
    Some(Start {
        id: u32_at(header, 8),
        nonce: u64_at(header, 16),
        revision: u64_at(header, 24),
        compacted: u64_at(header, 32),
        previous_end: u64_at(header, 40),
    })
}
