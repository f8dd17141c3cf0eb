//! Which part of the old object a part of the new one was.

use super::schema::{ListType, Structural};
use serde_json::Value;

/// A part of an object beside what it was before (upstream's `CorrelatedObject`).
#[derive(Clone, Copy)]
pub struct Correlated<'a> {
    /// What is there now.
    pub new: &'a Value,
    /// What was there before.
    pub old: &'a Value,
    /// The schema of both.
    pub schema: &'a Structural,
}

impl Correlated<'_> {
    /// Nothing changed. Null is equal to nothing but null.
    pub fn unchanged(&self) -> bool {
        self.new == self.old
    }

    /// The same for a member; none if it is new or its schema is not known.
    pub fn member(&self, name: &str) -> Option<Self> {
        Some(Self {
            new: self.new.as_object()?.get(name)?,
            old: self.old.as_object()?.get(name)?,
            schema: self.schema.member(name)?,
        })
    }

    /// The same for an item; none unless the list tells its items apart by keys and had the item.
    pub fn item(&self, index: usize) -> Option<Self> {
        if self.schema.list_type != Some(ListType::Map) {
            return None;
        }
        let new = self.new.as_array()?.get(index)?;
        let keys = &self.schema.list_keys;
        let old = self.old.as_array()?.iter().find(|old| {
            keys.iter()
                .all(|key| new.get(key.as_str()) == old.get(key.as_str()))
        })?;
        Some(Self {
            new,
            old,
            schema: self.schema.items.as_deref()?,
        })
    }
}
