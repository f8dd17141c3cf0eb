//! What is asked of a commit, and what came of it.

use consort_object::{Draft, Object, Revision};

use crate::Key;

/// One write of a commit.
#[expect(
    clippy::large_enum_variant,
    reason = "nearly all writes are the large one"
)]
#[derive(Clone, Debug)]
pub enum Write {
    /// Creates or replaces an object.
    Put {
        /// Its key.
        key: Key,
        /// Its new state.
        draft: Draft,
        /// What must hold before.
        expect: Expect,
    },
    /// Removes an object. It must exist, whatever is expected.
    Delete {
        /// Its key.
        key: Key,
        /// What must hold before.
        expect: Expect,
    },
}

impl Write {
    /// The key it writes.
    pub fn key(&self) -> &Key {
        match self {
            Self::Put { key, .. } | Self::Delete { key, .. } => key,
        }
    }

    /// What must hold before.
    pub fn expect(&self) -> Expect {
        match self {
            Self::Put { expect, .. } | Self::Delete { expect, .. } => *expect,
        }
    }
}

/// What must hold for a write's key when it is carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// Nothing.
    Any,
    /// The object does not exist.
    Absent,
    /// The object's last write was at this revision.
    At(Revision),
}

/// A commit that is durable.
#[derive(Clone, Debug)]
pub struct Committed {
    /// The revision of all its writes.
    pub revision: Revision,
    /// For each write, in order: the object as stored, or for a deletion its last state with the
    /// deletion's revision. `None` only when a deleted object's last state cannot be read.
    pub objects: Vec<Option<Object>>,
}
