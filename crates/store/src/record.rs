//! One entry of the log: a version of one object, or a note that history was compacted.
//!
//! Little endian: crc32 of all that follows, length of the record, kind, flags, length of key, head
//! and value, where the revision's digits are in the value, revision; then key, head, value.

use crate::format::{u16_at, u32_at, u64_at};

/// Bytes before the key.
pub(crate) const HEADER: usize = 32;

/// Head and value went through the [`Transform`](crate::Transform) as one; the head is empty.
pub(crate) const SEALED: u8 = 2;

/// What a record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// The object was created.
    Created = 1,
    /// The object was replaced.
    Updated = 2,
    /// The object was removed; no head, no value.
    Deleted = 3,
    /// History up to the revision was dropped; no key.
    Compacted = 4,
}

impl Kind {
    pub(crate) fn from_byte(byte: u8) -> Option<Self> {
        [Self::Created, Self::Updated, Self::Deleted, Self::Compacted]
            .into_iter()
            .find(|kind| *kind as u8 == byte)
    }
}

/// A record's parts, borrowed from the log's bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Record<'a> {
    pub(crate) kind: Kind,
    /// A copy of an older record, made so that its segment could be removed.
    pub(crate) carried: bool,
    pub(crate) flags: u8,
    pub(crate) revision: u64,
    pub(crate) revision_at: u32,
    pub(crate) key: &'a str,
    pub(crate) head: &'a [u8],
    pub(crate) value: &'a [u8],
    /// Length of the whole record.
    pub(crate) len: u32,
    pub(crate) crc: u32,
}

const CARRIED: u8 = 0x80;

/// Appends a record's header and everything before the value to `out`; the value follows on disk.
/// Returns the whole record's length and its checksum.
pub(crate) fn encode(
    out: &mut Vec<u8>,
    (kind, carried, flags): (Kind, bool, u8),
    revision: u64,
    revision_at: u32,
    key: &str,
    head: impl FnOnce(&mut Vec<u8>),
    value: &[u8],
) -> (u32, u32) {
    let start = out.len();
    out.resize(start + HEADER, 0);
    out.extend_from_slice(key.as_bytes());
    let head_start = out.len();
    head(out);
    let head_len = out.len() - head_start;
    let len = (out.len() - start + value.len()) as u32;
    let kind = kind as u8 | if carried { CARRIED } else { 0 };
    let header = &mut out[start..start + HEADER];
    header[4..8].copy_from_slice(&len.to_le_bytes());
    header[8] = kind;
    header[9] = flags;
    header[10..12].copy_from_slice(&(key.len() as u16).to_le_bytes());
    header[12..16].copy_from_slice(&(head_len as u32).to_le_bytes());
    header[16..20].copy_from_slice(&(value.len() as u32).to_le_bytes());
    header[20..24].copy_from_slice(&revision_at.to_le_bytes());
    header[24..32].copy_from_slice(&revision.to_le_bytes());
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&out[start + 4..]);
    hasher.update(value);
    let crc = hasher.finalize();
    out[start..start + 4].copy_from_slice(&crc.to_le_bytes());
    (len, crc)
}

/// The length a record says it has, if that can be: where the one after it begins.
pub(crate) fn length(bytes: &[u8]) -> Option<usize> {
    let len = u32_at(bytes.get(..HEADER)?, 4) as usize;
    (HEADER..=bytes.len()).contains(&len).then_some(len)
}

/// Reads the record at the start of `bytes`, which may go on after it.
pub(crate) fn decode(bytes: &[u8]) -> Result<Record<'_>, &'static str> {
    if bytes.len() < HEADER {
        return Err("a record is cut short");
    }
    let crc = u32_at(bytes, 0);
    let len = u32_at(bytes, 4) as usize;
    let key_len = usize::from(u16_at(bytes, 10));
    let head_len = u32_at(bytes, 12) as usize;
    let value_len = u32_at(bytes, 16) as usize;
    if len > bytes.len() || Some(len) != (HEADER + key_len).checked_add(head_len + value_len) {
        return Err("a record's length is impossible");
    }
    if crc32fast::hash(&bytes[4..len]) != crc {
        return Err("a record's checksum does not match");
    }
    let (key, rest) = bytes[HEADER..len].split_at(key_len);
    let (head, value) = rest.split_at(head_len);
    Ok(Record {
        kind: Kind::from_byte(bytes[8] & !CARRIED).ok_or("a record's kind is unknown")?,
        carried: bytes[8] & CARRIED != 0,
        flags: bytes[9],
        revision: u64_at(bytes, 24),
        revision_at: u32_at(bytes, 20),
        key: std::str::from_utf8(key).map_err(|_| "a record's key is not UTF-8")?,
        head,
        value,
        len: len as u32,
        crc,
    })
}
