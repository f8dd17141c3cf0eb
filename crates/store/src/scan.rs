//! A list before its values are read: which objects it has, at one revision.

use std::sync::Arc;

use bytes::Bytes;
use consort_object::{Object, Revision};

use crate::segment::Pinned;
use crate::store::Shared;
use crate::version::Version;
use crate::{Error, Key};

/// The objects of a part of a list, chosen and in order; their values are read when they are asked
/// for, so that a list of any length can be sent without being held. What it points to stays
/// readable for as long as it lives, whatever is written, compacted or removed meanwhile.
pub struct Scan {
    shared: Arc<Shared>,
    pinned: Pinned,
    versions: Vec<Arc<Version>>,
    /// The revision at which all of them were chosen.
    pub revision: Revision,
    /// When there may be more: the key to go on after, at the same revision.
    pub next: Option<Key>,
    /// With `next`: how many objects under the prefix follow, whatever the filter says, where that is
    /// known without counting them ([`Store::following`](crate::Store::following) counts).
    pub remaining: Option<usize>,
}

impl Scan {
    pub(crate) fn new(
        shared: Arc<Shared>,
        pinned: Pinned,
        versions: Vec<Arc<Version>>,
        revision: Revision,
    ) -> Self {
        Self {
            shared,
            pinned,
            versions,
            revision,
            next: None,
            remaining: None,
        }
    }

    /// Number of objects.
    pub fn len(&self) -> usize {
        self.versions.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.versions.is_empty()
    }

    /// Whether the values of these objects can be had without reading the disk.
    pub fn resident(&self, range: std::ops::Range<usize>) -> bool {
        self.versions
            .get(range)
            .is_some_and(|versions| versions.iter().all(|version| version.resident()))
    }

    /// The key of an object.
    ///
    /// # Panics
    ///
    /// When there are not so many; likewise below.
    pub fn key(&self, at: usize) -> &Key {
        &self.versions[at].key
    }

    /// The JSON of an object. Reads the disk if need be.
    ///
    /// # Errors
    ///
    /// [`Error::Io`], [`Error::Corrupt`] and [`Error::Transform`] when it cannot be read.
    pub fn json(&self, at: usize) -> Result<Bytes, Error> {
        let value = self.versions[at].value(&self.shared.source, Some(&self.pinned))?;
        Ok(value.json.clone())
    }

    /// An object. Reads the disk if need be.
    ///
    /// # Errors
    ///
    /// As [`json`](Self::json).
    pub fn object(&self, at: usize) -> Result<Object, Error> {
        self.versions[at].object_from(&self.shared.source, Some(&self.pinned))
    }
}

impl std::fmt::Debug for Scan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scan")
            .field("len", &self.len())
            .field("revision", &self.revision)
            .field("next", &self.next)
            .finish_non_exhaustive()
    }
}
