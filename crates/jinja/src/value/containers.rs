//! Lists and dicts, which are shared and can be changed.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering as Atomic};

use indexmap::IndexMap;
use parking_lot::{RwLock, RwLockReadGuard};

use super::key::{KeyLike, KeyText};
use super::release::release;
use super::{Key, Value};
use crate::repr;

/// A list that is shared.
#[derive(Clone)]
pub struct List(Arc<ListInner>);

struct ListInner {
    items: RwLock<Vec<Value>>,
    templates: AtomicBool,
}

impl Drop for ListInner {
    fn drop(&mut self) {
        release(std::mem::take(self.items.get_mut()));
    }
}

impl List {
    /// A list of these.
    pub fn new(items: Vec<Value>) -> Self {
        let templates = items.iter().any(Value::may_hold_templates);
        List(Arc::new(ListInner {
            items: RwLock::new(items),
            templates: AtomicBool::new(templates),
        }))
    }

    /// The items, locked for reading: do nothing long meanwhile.
    pub fn read(&self) -> RwLockReadGuard<'_, Vec<Value>> {
        self.0.items.read_recursive()
    }

    /// Changes the items.
    pub fn change<T>(&self, change: impl FnOnce(&mut Vec<Value>) -> T) -> T {
        let mut items = self.0.items.write();
        let done = change(&mut items);
        if !self.may_hold_templates() && items.iter().any(Value::may_hold_templates) {
            self.0.templates.store(true, Atomic::Relaxed);
        }
        done
    }

    /// Adds an item at the end.
    pub fn push(&self, item: Value) {
        if item.may_hold_templates() {
            self.0.templates.store(true, Atomic::Relaxed);
        }
        self.0.items.write().push(item);
    }

    /// How many items.
    pub fn len(&self) -> usize {
        self.read().len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether some text in it may be a template.
    pub fn may_hold_templates(&self) -> bool {
        self.0.templates.load(Atomic::Relaxed)
    }

    /// A number that is the same for the very same list only, as long as it is held.
    pub fn place(&self) -> usize {
        Arc::as_ptr(&self.0) as usize
    }

    /// The items, if nobody else holds them.
    pub(super) fn into_items(self) -> Option<Vec<Value>> {
        Arc::into_inner(self.0).map(|mut inner| std::mem::take(inner.items.get_mut()))
    }

    /// Whether it is the very same list.
    pub fn is(&self, other: &List) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// A dict that is shared.
#[derive(Clone)]
pub struct Dict(Arc<DictInner>);

struct DictInner {
    entries: RwLock<IndexMap<Key, Value>>,
    templates: AtomicBool,
}

impl Drop for DictInner {
    fn drop(&mut self) {
        release(std::mem::take(self.entries.get_mut()).into_values());
    }
}

impl Dict {
    /// A dict of these.
    pub fn new(entries: IndexMap<Key, Value>) -> Self {
        let templates = entries.values().any(Value::may_hold_templates);
        Dict(Arc::new(DictInner {
            entries: RwLock::new(entries),
            templates: AtomicBool::new(templates),
        }))
    }

    /// The entries, locked for reading: do nothing long meanwhile.
    pub fn read(&self) -> RwLockReadGuard<'_, IndexMap<Key, Value>> {
        self.0.entries.read_recursive()
    }

    /// Changes the entries.
    pub fn change<T>(&self, change: impl FnOnce(&mut IndexMap<Key, Value>) -> T) -> T {
        let mut entries = self.0.entries.write();
        let done = change(&mut entries);
        if !self.may_hold_templates() && entries.values().any(Value::may_hold_templates) {
            self.0.templates.store(true, Atomic::Relaxed);
        }
        done
    }

    /// Sets the value of a key; that of before, if there was one.
    pub fn insert(&self, key: Key, value: Value) -> Option<Value> {
        if value.may_hold_templates() {
            self.0.templates.store(true, Atomic::Relaxed);
        }
        self.0.entries.write().insert(key, value)
    }

    /// The value of a text key.
    pub fn get(&self, key: &str) -> Option<Value> {
        self.read().get(&KeyText(key) as &dyn KeyLike).cloned()
    }

    /// How many entries.
    pub fn len(&self) -> usize {
        self.read().len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether some text in it may be a template.
    pub fn may_hold_templates(&self) -> bool {
        self.0.templates.load(Atomic::Relaxed)
    }

    /// A number that is the same for the very same dict only, as long as it is held.
    pub fn place(&self) -> usize {
        Arc::as_ptr(&self.0) as usize
    }

    /// The values, if nobody else holds them.
    pub(super) fn into_values(self) -> Option<impl Iterator<Item = Value>> {
        Arc::into_inner(self.0)
            .map(|mut inner| std::mem::take(inner.entries.get_mut()).into_values())
    }

    /// Whether it is the very same dict.
    pub fn is(&self, other: &Dict) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl<K: AsRef<str>, V: Into<Value>> FromIterator<(K, V)> for Dict {
    fn from_iter<T: IntoIterator<Item = (K, V)>>(entries: T) -> Self {
        Dict::new(
            entries
                .into_iter()
                .map(|(key, value)| (Key::from(key.as_ref()), value.into()))
                .collect(),
        )
    }
}

impl fmt::Debug for List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&repr::repr(&Value::List(self.clone())))
    }
}

impl fmt::Debug for Dict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&repr::repr(&Value::Dict(self.clone())))
    }
}

impl Default for Dict {
    /// A new one with nothing in it.
    fn default() -> Self {
        Dict::new(IndexMap::new())
    }
}

impl From<Dict> for Value {
    fn from(dict: Dict) -> Self {
        Value::Dict(dict)
    }
}
