//! One kind's objects in memory: the map, its indexes, and who is told about changes.

use crate::{
    Key,
    subscription::{Mailbox, Subscription},
};
use kube::Resource;
use parking_lot::RwLock;
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
};
use tokio::sync::watch;

type IndexFn<K> = Arc<dyn Fn(&K) -> Vec<String> + Send + Sync>;

/// How far a cache has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// The first list is not complete.
    Listing,
    /// The cache has been complete at least once.
    Synced,
    /// The informer has ended; nothing changes any more.
    Closed,
}

/// The cache of one kind (and selector).
pub(crate) struct Cache<K> {
    state: RwLock<State<K>>,
    progress: watch::Sender<Progress>,
    /// The highest resource version seen in a list, an event or a bookmark.
    revision: AtomicU64,
}

struct State<K> {
    /// namespace ("" for cluster-scoped) -> name -> object
    objects: BTreeMap<String, BTreeMap<String, Arc<K>>>,
    count: usize,
    indexes: HashMap<&'static str, Index<K>>,
    mailboxes: Vec<Weak<Mailbox<K>>>,
}

struct Index<K> {
    values_of: IndexFn<K>,
    entries: HashMap<String, BTreeMap<Key, Arc<K>>>,
}

impl<K> Index<K> {
    fn insert(&mut self, key: &Key, object: &Arc<K>) {
        for value in (self.values_of)(object) {
            self.entries
                .entry(value)
                .or_default()
                .insert(key.clone(), object.clone());
        }
    }

    fn remove(&mut self, key: &Key, object: &K) {
        for value in (self.values_of)(object) {
            if let Some(entries) = self.entries.get_mut(&value) {
                entries.remove(key);
                if entries.is_empty() {
                    self.entries.remove(&value);
                }
            }
        }
    }
}

impl<K> State<K> {
    fn get(&self, namespace: &str, name: &str) -> Option<&Arc<K>> {
        self.objects.get(namespace)?.get(name)
    }

    fn tell(&mut self, deliver: impl Fn(&Mailbox<K>)) {
        self.mailboxes.retain(|mailbox| match mailbox.upgrade() {
            Some(mailbox) => {
                deliver(&mailbox);
                true
            }
            None => false,
        });
    }
}

impl<K: Resource> Cache<K> {
    pub(crate) fn new() -> Self {
        Self {
            state: RwLock::new(State {
                objects: BTreeMap::new(),
                count: 0,
                indexes: HashMap::new(),
                mailboxes: Vec::new(),
            }),
            progress: watch::Sender::new(Progress::Listing),
            revision: AtomicU64::new(0),
        }
    }

    // ---- written by the reflector ----

    /// Stores `object` and tells subscribers. An object of the same name and another uid is a
    /// deletion followed by a creation.
    pub(crate) fn apply(&self, object: K) {
        if let Some(revision) = object.meta().resource_version.as_deref() {
            self.advance(revision);
        }
        let key = Key::of(&object);
        let object = Arc::new(object);
        let mut state = self.state.write();
        let previous = state
            .objects
            .entry(key.namespace().to_owned())
            .or_default()
            .insert(key.name.clone(), object.clone());
        let mut replaced = None;
        let mut old = None;
        match previous {
            None => state.count += 1,
            Some(previous) => {
                for index in state.indexes.values_mut() {
                    index.remove(&key, &previous);
                }
                let (was, is) = (previous.meta(), object.meta());
                if was.uid != is.uid {
                    replaced = Some(previous);
                } else if was.resource_version.is_some()
                    && was.resource_version == is.resource_version
                {
                    // A relist brings back what is known already: nothing to tell anyone.
                    for index in state.indexes.values_mut() {
                        index.insert(&key, &object);
                    }
                    return;
                } else {
                    old = Some(previous);
                }
            }
        }
        for index in state.indexes.values_mut() {
            index.insert(&key, &object);
        }
        let key = Arc::new(key);
        state.tell(|mailbox| {
            if let Some(replaced) = &replaced {
                mailbox.deleted(&key, replaced);
            }
            mailbox.applied(&key, old.as_ref(), &object);
        });
    }

    /// Removes the object of this name. Subscribers are handed `last` if the server sent the last
    /// state, else what the cache held.
    pub(crate) fn delete(&self, key: &Key, last: Option<K>) {
        if let Some(revision) = last
            .as_ref()
            .and_then(|last| last.meta().resource_version.as_deref())
        {
            self.advance(revision);
        }
        let mut state = self.state.write();
        let Some(names) = state.objects.get_mut(key.namespace()) else {
            return;
        };
        let Some(previous) = names.remove(&key.name) else {
            return;
        };
        if names.is_empty() {
            state.objects.remove(key.namespace());
        }
        state.count -= 1;
        for index in state.indexes.values_mut() {
            index.remove(key, &previous);
        }
        let last = match last {
            Some(last) if last.meta().uid == previous.meta().uid => Arc::new(last),
            _ => previous,
        };
        let key = Arc::new(key.clone());
        state.tell(|mailbox| mailbox.deleted(&key, &last));
    }

    /// Ends a list: deletes all that was not in it, and declares the cache complete.
    pub(crate) fn retain(&self, listed: &HashSet<Key>) {
        let gone: Vec<Key> = {
            let state = self.state.read();
            state
                .objects
                .values()
                .flat_map(BTreeMap::values)
                .map(|object| Key::of(&**object))
                .filter(|key| !listed.contains(key))
                .collect()
        };
        for key in gone {
            self.delete(&key, None);
        }
        let mut state = self.state.write();
        if *self.progress.borrow() == Progress::Listing {
            self.progress.send_replace(Progress::Synced);
            state.tell(Mailbox::synced);
        }
    }

    /// Notes that everything up to this resource version has been seen.
    pub(crate) fn advance(&self, resource_version: &str) {
        if let Ok(revision) = resource_version.parse() {
            self.revision.fetch_max(revision, Ordering::AcqRel);
        }
    }

    /// Ends all subscriptions.
    pub(crate) fn close(&self) {
        self.progress.send_replace(Progress::Closed);
        self.state.write().tell(Mailbox::close);
    }

    // ---- read by informers ----

    pub(crate) fn revision(&self) -> u64 {
        self.revision.load(Ordering::Acquire)
    }

    pub(crate) fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    pub(crate) fn get(&self, namespace: &str, name: &str) -> Option<Arc<K>> {
        self.state.read().get(namespace, name).cloned()
    }

    pub(crate) fn len(&self) -> usize {
        self.state.read().count
    }

    pub(crate) fn list(&self) -> Vec<Arc<K>> {
        let state = self.state.read();
        let mut all = Vec::with_capacity(state.count);
        all.extend(state.objects.values().flat_map(BTreeMap::values).cloned());
        all
    }

    pub(crate) fn list_in(&self, namespace: &str) -> Vec<Arc<K>> {
        let state = self.state.read();
        state
            .objects
            .get(namespace)
            .map(|names| names.values().cloned().collect())
            .unwrap_or_default()
    }

    pub(crate) fn add_index(&self, name: &'static str, values_of: IndexFn<K>) {
        let mut state = self.state.write();
        if state.indexes.contains_key(name) {
            return;
        }
        let mut index = Index {
            values_of,
            entries: HashMap::new(),
        };
        for object in state.objects.values().flat_map(BTreeMap::values) {
            index.insert(&Key::of(&**object), object);
        }
        state.indexes.insert(name, index);
    }

    pub(crate) fn by_index(&self, name: &str, value: &str) -> Option<Vec<Arc<K>>> {
        let state = self.state.read();
        let index = state.indexes.get(name)?;
        Some(
            index
                .entries
                .get(value)
                .map(|found| found.values().cloned().collect())
                .unwrap_or_default(),
        )
    }

    /// A mailbox that starts with all present objects, then `Synced` once the cache is complete.
    pub(crate) fn subscribe(&self) -> Arc<Mailbox<K>> {
        let mailbox = Arc::new(Mailbox::new());
        let mut state = self.state.write();
        for object in state.objects.values().flat_map(BTreeMap::values) {
            mailbox.applied(&Arc::new(Key::of(&**object)), None, object);
        }
        match *self.progress.borrow() {
            Progress::Listing => {}
            Progress::Synced => mailbox.synced(),
            Progress::Closed => mailbox.close(),
        }
        state.mailboxes.push(Arc::downgrade(&mailbox));
        mailbox
    }
}

/// Keeps the cache alive for as long as the subscription is.
pub(crate) fn subscription<K: Resource>(
    cache: &Cache<K>,
    keep: Arc<dyn Send + Sync>,
) -> Subscription<K> {
    Subscription::new(cache.subscribe(), keep)
}
