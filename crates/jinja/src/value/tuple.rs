//! Tuples, which are shared and cannot be changed.

use std::ops::Deref;
use std::sync::Arc;

use super::Value;
use super::release::release;

/// A tuple: items that stay as they are.
#[derive(Clone)]
pub struct Tuple(Arc<Inner>);

struct Inner {
    items: Vec<Value>,
    /// How many tuples stand within each other here, this one among them.
    depth: u16,
}

/// Tuples that are deeper are not looked into.
const DEPTH: u16 = 64;

impl Drop for Inner {
    fn drop(&mut self) {
        release(std::mem::take(&mut self.items));
    }
}

impl Tuple {
    /// Whether so many tuples stand within each other that what looks into all of them would need too much of the stack.
    pub(crate) fn is_deep(&self) -> bool {
        self.0.depth > DEPTH
    }

    /// Whether some text in it may be a template.
    pub(super) fn may_hold_templates(&self) -> bool {
        self.is_deep() || self.iter().any(Value::may_hold_templates)
    }

    /// A number that is the same for the very same tuple only, as long as it is held.
    pub(super) fn place(&self) -> usize {
        Arc::as_ptr(&self.0) as usize
    }

    /// The items, if nobody else holds them.
    pub(super) fn into_items(self) -> Option<Vec<Value>> {
        Arc::into_inner(self.0).map(|mut inner| std::mem::take(&mut inner.items))
    }
}

impl From<Vec<Value>> for Tuple {
    fn from(items: Vec<Value>) -> Self {
        let below = items
            .iter()
            .map(|item| match item {
                Value::Tuple(tuple) => tuple.0.depth,
                _ => 0,
            })
            .max();
        Tuple(Arc::new(Inner {
            items,
            depth: below.unwrap_or(0).saturating_add(1),
        }))
    }
}

impl Deref for Tuple {
    type Target = [Value];

    fn deref(&self) -> &[Value] {
        &self.0.items
    }
}
