//! What one fsync makes durable: all records of a group of commits, behind a header whose checksum
//! covers them.
//!
//! A frame is written only after the one before it is durable. So an invalid frame with a valid one
//! after it is damage, and an invalid frame with nothing after it was never acknowledged: the tail
//! that a crash tore.
//!
//! Header, little endian: magic, crc32 of the rest of the header and the segment's nonce, length of
//! the body, first and last revision, number of records, crc32 of the records' checksums, time in
//! milliseconds since 1970. Frames begin at multiples of 16 bytes.

use std::io::IoSlice;
use std::time::SystemTime;

use bytes::Bytes;

use crate::format::{u32_at, u64_at};
use crate::record::{self, Kind, Record};

/// Bytes before the first record.
pub(crate) const HEADER: usize = 48;
const ALIGN: usize = 16;
const MAGIC: u32 = 0x6d72_6643;

/// A frame being made. The values are not copied into it.
pub(crate) struct Frame {
    /// The header, and each record's part before its value.
    meta: Vec<u8>,
    /// Where in `meta` each value belongs, and the value.
    values: Vec<(usize, Bytes)>,
    values_len: usize,
    crcs: crc32fast::Hasher,
    count: u32,
}

impl Frame {
    pub(crate) fn new() -> Self {
        let mut meta = Vec::with_capacity(16 << 10);
        meta.resize(HEADER, 0);
        Self {
            meta,
            values: Vec::new(),
            values_len: 0,
            crcs: crc32fast::Hasher::new(),
            count: 0,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Bytes it takes on disk so far.
    pub(crate) fn len(&self) -> usize {
        (self.meta.len() + self.values_len).next_multiple_of(ALIGN)
    }

    /// Adds a record. Returns its offset from the frame's start and its length.
    pub(crate) fn push(
        &mut self,
        kind: (Kind, bool, u8),
        revision: u64,
        revision_at: u32,
        key: &str,
        head: impl FnOnce(&mut Vec<u8>),
        value: Bytes,
    ) -> (u64, u32) {
        let offset = self.meta.len() + self.values_len;
        let (len, crc) = record::encode(
            &mut self.meta,
            kind,
            revision,
            revision_at,
            key,
            head,
            &value,
        );
        self.crcs.update(&crc.to_le_bytes());
        self.count += 1;
        if !value.is_empty() {
            self.values_len += value.len();
            self.values.push((self.meta.len(), value));
        }
        (offset as u64, len)
    }

    /// Fills in the header. Nothing is added after this.
    pub(crate) fn finish(&mut self, nonce: u64, first: u64, last: u64) {
        let body = self.meta.len() + self.values_len - HEADER;
        let millis = SystemTime::UNIX_EPOCH
            .elapsed()
            .map_or(0, |t| t.as_millis() as u64);
        let crcs = self.crcs.clone().finalize();
        let padding = self.len() - (self.meta.len() + self.values_len);
        let header = &mut self.meta[..HEADER];
        header[0..4].copy_from_slice(&MAGIC.to_le_bytes());
        header[8..16].copy_from_slice(&(body as u64).to_le_bytes());
        header[16..24].copy_from_slice(&first.to_le_bytes());
        header[24..32].copy_from_slice(&last.to_le_bytes());
        header[32..36].copy_from_slice(&self.count.to_le_bytes());
        header[36..40].copy_from_slice(&crcs.to_le_bytes());
        header[40..48].copy_from_slice(&millis.to_le_bytes());
        let crc = header_crc(header, nonce);
        header[4..8].copy_from_slice(&crc.to_le_bytes());
        self.meta.resize(self.meta.len() + padding, 0);
    }

    /// The bytes in order.
    pub(crate) fn slices(&self) -> Vec<IoSlice<'_>> {
        let mut slices = Vec::with_capacity(self.values.len() * 2 + 1);
        let mut from = 0;
        for (at, value) in &self.values {
            slices.push(IoSlice::new(&self.meta[from..*at]));
            slices.push(IoSlice::new(value));
            from = *at;
        }
        if from < self.meta.len() {
            slices.push(IoSlice::new(&self.meta[from..]));
        }
        slices
    }
}

/// A valid frame read back.
pub(crate) struct Parsed<'a> {
    pub(crate) first: u64,
    pub(crate) last: u64,
    /// Records with their offsets in the input.
    pub(crate) records: Vec<(usize, Record<'a>)>,
    /// Where the next frame begins.
    pub(crate) end: usize,
}

/// What stands at some offset.
pub(crate) enum Found<'a> {
    Frame(Parsed<'a>),
    /// Nothing was ever written here: the end of the input, or zeros.
    Nothing,
    /// Something that is no valid frame, and why.
    Invalid(&'static str),
}

/// Reads the frame at `at`.
pub(crate) fn read(bytes: &[u8], at: usize, nonce: u64) -> Found<'_> {
    let Some(header) = bytes.get(at..at + HEADER) else {
        let rest = bytes.get(at..).unwrap_or_default();
        let blank = rest.iter().all(|b| *b == 0);
        return if blank {
            Found::Nothing
        } else {
            Found::Invalid("a frame's header is cut short")
        };
    };
    if header.iter().all(|b| *b == 0) {
        return Found::Nothing;
    }
    if !header_valid(header, nonce) {
        return Found::Invalid("a frame's header does not match its checksum");
    }
    let body = u64_at(header, 8);
    let start = at + HEADER;
    let Some(end) = usize::try_from(body)
        .ok()
        .and_then(|body| start.checked_add(body))
    else {
        return Found::Invalid("a frame's length is impossible");
    };
    let next = end.next_multiple_of(ALIGN);
    if next > bytes.len() {
        return Found::Invalid("a frame is cut short");
    }
    let count = u32_at(header, 32) as usize;
    let mut records = Vec::with_capacity(count.min(1 << 16));
    let mut crcs = crc32fast::Hasher::new();
    let mut at = start;
    while at < end {
        match record::decode(&bytes[at..end]) {
            Ok(record) => {
                crcs.update(&record.crc.to_le_bytes());
                let len = record.len as usize;
                records.push((at, record));
                at += len;
            }
            Err(why) => return Found::Invalid(why),
        }
    }
    if records.len() != count || crcs.finalize() != u32_at(header, 36) {
        return Found::Invalid("a frame's records are not those its header counts");
    }
    Found::Frame(Parsed {
        first: u64_at(header, 16),
        last: u64_at(header, 24),
        records,
        end: next,
    })
}

/// What can still be read of a frame that is damaged, but for its header: records with their offsets in the
/// input, or why one is none; and where the next frame begins. `None` when even the header is damaged.
pub(crate) fn salvage(bytes: &[u8], at: usize, nonce: u64) -> Option<Salvage<'_>> {
    let header = bytes.get(at..at + HEADER)?;
    if !header_valid(header, nonce) {
        return None;
    }
    let start = at + HEADER;
    let end = start.checked_add(usize::try_from(u64_at(header, 8)).ok()?)?;
    let whole = end <= bytes.len();
    let body = end.min(bytes.len());
    let mut records = Vec::new();
    let mut at = start;
    while at < body {
        let record = record::decode(&bytes[at..body]);
        let len = match &record {
            Ok(record) => record.len as usize,
            Err(_) => record::length(&bytes[at..body]).unwrap_or(body - at),
        };
        records.push((at, record));
        at += len;
    }
    Some(Salvage {
        last: u64_at(header, 24),
        records,
        next: end.next_multiple_of(ALIGN),
        whole,
    })
}

/// What is left of a damaged frame.
pub(crate) struct Salvage<'a> {
    pub(crate) last: u64,
    pub(crate) records: Vec<(usize, Result<Record<'a>, &'static str>)>,
    pub(crate) next: usize,
    /// All of its bytes are there.
    pub(crate) whole: bool,
}

/// Whether a frame was begun anywhere from `from` on; its header is enough to tell.
pub(crate) fn any_after(bytes: &[u8], from: usize, nonce: u64) -> bool {
    next_after(bytes, from, nonce).is_some()
}

/// Where the first frame from `from` on was begun.
pub(crate) fn next_after(bytes: &[u8], from: usize, nonce: u64) -> Option<usize> {
    let magic = MAGIC.to_le_bytes();
    let mut at = from.next_multiple_of(ALIGN);
    while at + HEADER <= bytes.len() {
        if bytes[at..at + 4] == magic && header_valid(&bytes[at..at + HEADER], nonce) {
            return Some(at);
        }
        at += ALIGN;
    }
    None
}

fn header_valid(header: &[u8], nonce: u64) -> bool {
    u32_at(header, 0) == MAGIC && u32_at(header, 4) == header_crc(header, nonce)
}

/// The nonce is mixed in so that no value a client stores can pass for a frame.
fn header_crc(header: &[u8], nonce: u64) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&nonce.to_le_bytes());
    hasher.update(&header[8..HEADER]);
    hasher.finalize()
}
