//! What a part carries out: what its plan decided, in full.

use std::collections::BTreeMap;

use consort_plan::Planned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::identity::Key;
use crate::kinds::Kind;
use crate::objects::{Fill, Used};

/// All of it.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Payload {
    pub(crate) items: Vec<Item>,
    /// What waits for what, by places in `items`: the first for the second.
    pub(crate) waits: Vec<(u32, u32)>,
    pub(crate) outputs: BTreeMap<String, Given>,
    /// The digests of the configuration that stays as it is, by its name in the part.
    pub(crate) digests: BTreeMap<String, String>,
}

/// What is done to one object.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Item {
    /// The change, by its place in the plan.
    pub(crate) change: u32,
    pub(crate) work: Work,
    pub(crate) key: Key,
    pub(crate) kind: Kind,
    /// The identity of the object that is there, if it goes.
    pub(crate) uid: Option<String>,
    /// What is applied, without what is filled in.
    pub(crate) value: Value,
    pub(crate) fills: Vec<Fill>,
    /// The inputs it is made with.
    pub(crate) takes: Vec<String>,
    /// The configuration whose digest its pod template is to have, as far as that is not in the value.
    pub(crate) configuration: Vec<Used>,
}

/// What is done.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) enum Work {
    /// It is applied.
    Apply,
    /// What is there goes, then it is applied.
    Replace,
    /// It goes.
    Delete,
}

/// An output.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Given {
    /// Its value is known.
    Known(Planned),
    /// It is read from an object when that is ready.
    Read {
        /// The item, by its place.
        item: u32,
        field: String,
    },
    /// What was applied of an object that pods of other parts see is told by its digest.
    Digest {
        /// The item, by its place.
        item: u32,
        /// Whether what is there changes.
        changes: bool,
    },
}

impl Payload {
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        // Every key is a text: it cannot fail.
        serde_json::to_vec(self).unwrap_or_default()
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(bytes)
    }
}
