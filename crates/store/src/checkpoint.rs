//! The index as it was at one point of the log, so that opening reads the log from there on only.
//! It can be lost: the log alone has everything, and opening then reads all of it.
//!
//! A header of 64 bytes (magic, revision, compacted revision, segment and offset of the point,
//! crc32), then blocks (length, crc32, entries in key order with shared prefixes left out), then an
//! empty block whose checksum field holds the number of keys.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use crate::format::{Input, put_varint, u32_at, u64_at};
use crate::record::Kind;
use crate::segment::{Place, sync_dir};
use crate::store::{Index, State};
use crate::version::Version;
use crate::{Error, Key};

pub(crate) const NAME: &str = "index";
const HEADER: usize = 64;
const MAGIC: &[u8; 8] = b"cnsrtix1";
const BLOCK: usize = 256 << 10;

/// What a checkpoint holds.
pub(crate) struct Checkpoint {
    pub(crate) revision: u64,
    pub(crate) compacted: u64,
    pub(crate) segment: u32,
    pub(crate) offset: u64,
    pub(crate) index: Index,
    /// Versions that history keeps beside the newest ones before the compacted revision.
    pub(crate) history: Vec<Arc<Version>>,
}

/// Writes a checkpoint in place of the last one. Returns its size in bytes.
pub(crate) fn write(dir: &Path, state: &State) -> Result<u64, Error> {
    let path = dir.join(NAME);
    let temporary = dir.join("index.tmp");
    let written = write_file(&temporary, state);
    let size = match written {
        Ok(size) => size,
        Err(e) => {
            let _ = std::fs::remove_file(&temporary);
            return Err(Error::io("writing", temporary, e));
        }
    };
    std::fs::rename(&temporary, &path).map_err(|e| Error::io("renaming to", &path, e))?;
    sync_dir(dir)?;
    Ok(size)
}

fn write_file(path: &Path, state: &State) -> io::Result<u64> {
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    let mut out = BufWriter::with_capacity(1 << 20, file);
    let mut header = [0; HEADER];
    header[..8].copy_from_slice(MAGIC);
    header[8..16].copy_from_slice(&state.revision.to_le_bytes());
    header[16..24].copy_from_slice(&state.compacted.to_le_bytes());
    header[24..28].copy_from_slice(&state.segment.to_le_bytes());
    header[32..40].copy_from_slice(&state.offset.to_le_bytes());
    let crc = crc32fast::hash(&header[..56]);
    header[56..60].copy_from_slice(&crc.to_le_bytes());
    out.write_all(&header)?;
    let mut size = HEADER as u64;
    let mut block = Vec::with_capacity(BLOCK + 4096);
    let mut last = "";
    let mut count: u32 = 0;
    for (key, newest) in &state.index {
        put_entry(&mut block, last, key, newest);
        last = key.as_str();
        count += 1;
        if block.len() >= BLOCK {
            size += put_block(&mut out, &block, crc32fast::hash(&block))?;
            block.clear();
            last = "";
        }
    }
    if !block.is_empty() {
        size += put_block(&mut out, &block, crc32fast::hash(&block))?;
    }
    size += put_block(&mut out, &[], count)?;
    let file: File = out.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.sync_all()?;
    Ok(size)
}

fn put_block(out: &mut impl Write, block: &[u8], crc: u32) -> io::Result<u64> {
    out.write_all(&(block.len() as u32).to_le_bytes())?;
    out.write_all(&crc.to_le_bytes())?;
    out.write_all(block)?;
    Ok(block.len() as u64 + 8)
}

fn put_entry(block: &mut Vec<u8>, last: &str, key: &Key, newest: &Arc<Version>) {
    let key = key.as_str();
    let shared = last
        .bytes()
        .zip(key.bytes())
        .take_while(|(a, b)| a == b)
        .count();
    put_varint(block, shared as u64);
    put_varint(block, (key.len() - shared) as u64);
    block.extend_from_slice(&key.as_bytes()[shared..]);
    let mut version = Some(Arc::clone(newest));
    while let Some(this) = version {
        version = this.previous();
        let place = this.place();
        block.push(this.kind as u8 | if version.is_some() { MORE } else { 0 });
        put_varint(block, this.revision);
        put_varint(block, u64::from(place.segment));
        put_varint(block, u64::from(place.offset));
        put_varint(block, u64::from(place.len));
        put_varint(block, u64::from(this.revision_at));
    }
}

/// Another, older version of the same key follows.
const MORE: u8 = 0x80;

/// Reads the checkpoint. `None` when there is none or it is damaged; the reason is logged.
pub(crate) fn read(dir: &Path) -> Option<Checkpoint> {
    let path = dir.join(NAME);
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return None,
        Err(e) => {
            tracing::warn!(path = %path.display(), error = %e, "cannot read the index, reading the whole log");
            return None;
        }
    };
    let checkpoint = parse(&bytes);
    if checkpoint.is_none() {
        tracing::warn!(path = %path.display(), "the index is damaged, reading the whole log");
    }
    checkpoint
}

fn parse(bytes: &[u8]) -> Option<Checkpoint> {
    let header = bytes.get(..HEADER)?;
    if &header[..8] != MAGIC || crc32fast::hash(&header[..56]) != u32_at(header, 56) {
        return None;
    }
    let mut checkpoint = Checkpoint {
        revision: u64_at(header, 8),
        compacted: u64_at(header, 16),
        segment: u32_at(header, 24),
        offset: u64_at(header, 32),
        index: Index::new(),
        history: Vec::new(),
    };
    let mut entries = Vec::new();
    let mut count: u32 = 0;
    let mut rest = &bytes[HEADER..];
    loop {
        let frame = rest.get(..8)?;
        let (len, crc) = (u32_at(frame, 0) as usize, u32_at(frame, 4));
        rest = &rest[8..];
        if len == 0 {
            return (rest.is_empty() && count == crc).then(|| {
                checkpoint.index = entries.into_iter().collect();
                checkpoint
            });
        }
        let block = rest.get(..len)?;
        if crc32fast::hash(block) != crc {
            return None;
        }
        rest = &rest[len..];
        let mut input = Input(block);
        let mut last = Vec::new();
        while !input.0.is_empty() {
            let newest = entry(
                &mut input,
                &mut last,
                checkpoint.compacted,
                &mut checkpoint.history,
            )?;
            count += 1;
            // Written between a compaction and its effect.
            if !newest.is_deleted() || newest.revision > checkpoint.compacted {
                entries.push((newest.key.clone(), newest));
            }
        }
    }
}

fn entry(
    input: &mut Input<'_>,
    last: &mut Vec<u8>,
    compacted: u64,
    history: &mut Vec<Arc<Version>>,
) -> Option<Arc<Version>> {
    let shared = input.small()? as usize;
    let len = input.small()? as usize;
    if shared > last.len() {
        return None;
    }
    last.truncate(shared);
    last.extend_from_slice(input.take(len)?);
    let key = Key::parse(std::str::from_utf8(last).ok()?).ok()?;
    let mut newest: Option<Arc<Version>> = None;
    let mut newer: Option<Arc<Version>> = None;
    loop {
        let byte = input.byte()?;
        let kind = Kind::from_byte(byte & !MORE)?;
        let revision = input.varint()?;
        let place = Place {
            segment: input.small()?,
            offset: input.small()?,
            len: input.small()?,
        };
        let revision_at = input.small()?;
        // Before the newest state at the compacted revision nothing is needed.
        if newer
            .as_ref()
            .is_none_or(|newer| newer.revision > compacted)
        {
            let version = Version::new(key.clone(), revision, kind, revision_at, place, None, None);
            if revision > compacted {
                history.push(Arc::clone(&version));
            }
            if let Some(newer) = newer {
                newer.set_previous(Some(Arc::clone(&version)));
            }
            newest.get_or_insert_with(|| Arc::clone(&version));
            newer = Some(version);
        }
        if byte & MORE == 0 {
            return newest;
        }
    }
}
