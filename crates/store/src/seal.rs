//! Values at rest: what the hook that transforms them is asked, and how its results lie in records.
//!
//! A sealed record has no head of its own: head and value go through the hook as one, so that nothing
//! of a sealed object but its key is readable on disk.

use std::sync::Arc;

use bytes::Bytes;

use crate::format::{Input, put_varint};
use crate::record::{self, Record};
use crate::{Error, Key};

/// A reversible change of objects at the border to the disk, such as encryption.
pub trait Transform: Send + Sync {
    /// What is written for these bytes; `None` leaves the object as it is. Called by the one thread
    /// that writes: it must not take long.
    ///
    /// # Errors
    ///
    /// The reason, for people; the commit fails with it.
    fn seal(&self, key: &Key, plain: &[u8]) -> Result<Option<Vec<u8>>, String>;

    /// The bytes that [`seal`](Self::seal) was given.
    ///
    /// # Errors
    ///
    /// The reason, for people; the read fails with it.
    fn open(&self, key: &Key, sealed: &[u8]) -> Result<Vec<u8>, String>;

    /// Whether an object would be sealed in another way now: `sealed` is what is on disk, `None` when
    /// it was left as it is. [`Store::reseal`](crate::Store::reseal) writes such objects anew.
    fn stale(&self, _key: &Key, _sealed: Option<&[u8]>) -> bool {
        false
    }

    /// The name of the key that sealed these bytes, for people.
    fn describe(&self, _key: &Key, _sealed: &[u8]) -> String {
        "sealed".to_owned()
    }
}

impl<T: Transform + ?Sized> Transform for Arc<T> {
    fn seal(&self, key: &Key, plain: &[u8]) -> Result<Option<Vec<u8>>, String> {
        (**self).seal(key, plain)
    }

    fn open(&self, key: &Key, sealed: &[u8]) -> Result<Vec<u8>, String> {
        (**self).open(key, sealed)
    }

    fn stale(&self, key: &Key, sealed: Option<&[u8]>) -> bool {
        (**self).stale(key, sealed)
    }

    fn describe(&self, key: &Key, sealed: &[u8]) -> String {
        (**self).describe(key, sealed)
    }
}

/// Head and value of a record to be written: flags, head, value.
pub(crate) struct AtRest {
    pub(crate) flags: u8,
    pub(crate) head: Vec<u8>,
    pub(crate) value: Bytes,
}

/// Passes an object through the hook on its way to the disk.
pub(crate) fn sealed(
    key: &Key,
    head: Vec<u8>,
    json: &Bytes,
    transform: Option<&dyn Transform>,
) -> Result<AtRest, Error> {
    if let Some(transform) = transform {
        let plain = join(&head, json);
        let sealed = transform
            .seal(key, &plain)
            .map_err(|detail| refused(key, detail))?;
        if let Some(sealed) = sealed {
            return Ok(AtRest {
                flags: record::SEALED,
                head: Vec::new(),
                value: sealed.into(),
            });
        }
    }
    Ok(AtRest {
        flags: 0,
        head,
        value: json.clone(),
    })
}

/// Head and value of a record that was read; `bytes` is what it borrows from.
pub(crate) fn opened(
    record: &Record<'_>,
    bytes: &Bytes,
    key: &Key,
    transform: Option<&dyn Transform>,
) -> Result<(Bytes, Bytes), Error> {
    if record.flags & record::SEALED == 0 {
        return Ok((bytes.slice_ref(record.head), bytes.slice_ref(record.value)));
    }
    let transform = transform
        .ok_or_else(|| refused(key, "it was written sealed, and no key is set".to_owned()))?;
    let plain = transform
        .open(key, record.value)
        .map_err(|detail| refused(key, detail))?;
    let plain = Bytes::from(plain);
    let mut input = Input(&plain);
    let parts = input.varint().and_then(|len| {
        let head = input.take(usize::try_from(len).ok()?)?;
        Some((plain.slice_ref(head), plain.slice_ref(input.0)))
    });
    parts.ok_or_else(|| refused(key, "what was sealed is no object".to_owned()))
}

fn join(head: &[u8], json: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(head.len() + json.len() + 4);
    put_varint(&mut plain, head.len() as u64);
    plain.extend_from_slice(head);
    plain.extend_from_slice(json);
    plain
}

fn refused(key: &Key, detail: String) -> Error {
    Error::Transform {
        key: key.clone(),
        detail,
    }
}
