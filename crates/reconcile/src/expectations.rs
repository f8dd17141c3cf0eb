//! Reads one's own writes: keeps a reconciler from acting twice on a cache that lags behind.
//!
//! A cache is always a little behind the server. A reconciler that creates two missing pods and
//! looks again before they show up in its cache would create two more. It therefore notes its
//! writes here, and does not act on a key again until the cache shows them.
//!
//! client-go counts creations and deletions seen in event handlers. Here each write is checked
//! against the cache itself, which needs no handler and cannot be thrown off by missed events: a
//! creation is visible once the cache holds the object or has passed the write's resource version
//! (it may have been deleted again since); a deletion once the cache has lost the object or shows
//! it as terminating.

use crate::Informer;
use kube::Resource;
use parking_lot::Mutex;
use std::{
    collections::HashMap,
    hash::Hash,
    time::{Duration, Instant},
};

/// A write that never becomes visible (the answer was lost, the clock of a foreign cluster's
/// resource versions is not numeric) is given up after this time, as client-go does.
const GIVE_UP: Duration = Duration::from_mins(5);

/// The writes of one reconciler that its cache may not show yet, by the key it reconciles.
pub struct Expectations<T>(Mutex<HashMap<T, Vec<Write>>>);

struct Write {
    namespace: Option<String>,
    name: String,
    uid: String,
    kind: Kind,
    since: Instant,
}

enum Kind {
    Applied { revision: Option<u64> },
    Deleted,
}

impl<T> Default for Expectations<T> {
    fn default() -> Self {
        Self(Mutex::new(HashMap::new()))
    }
}

impl<T: Hash + Eq> Expectations<T> {
    /// Notes that `object`, as the server returned it, was created or updated for `key`.
    pub fn applied<K: Resource>(&self, key: T, object: &K) {
        let revision = object
            .meta()
            .resource_version
            .as_ref()
            .and_then(|version| version.parse().ok());
        self.note(key, object, Kind::Applied { revision });
    }

    /// Notes that the deletion of `object` was accepted for `key`.
    pub fn deleted<K: Resource>(&self, key: T, object: &K) {
        self.note(key, object, Kind::Deleted);
    }

    fn note<K: Resource>(&self, key: T, object: &K, kind: Kind) {
        let meta = object.meta();
        self.0.lock().entry(key).or_default().push(Write {
            namespace: meta.namespace.clone(),
            name: meta.name.clone().unwrap_or_default(),
            uid: meta.uid.clone().unwrap_or_default(),
            kind,
            since: Instant::now(),
        });
    }

    /// Whether the cache shows all writes noted for `key`.
    pub fn met<K: Resource + Send + Sync + 'static>(&self, key: &T, cache: &Informer<K>) -> bool {
        let mut all = self.0.lock();
        let Some(writes) = all.get_mut(key) else {
            return true;
        };
        writes.retain(|write| !write.visible(cache) && write.since.elapsed() < GIVE_UP);
        let met = writes.is_empty();
        if met {
            all.remove(key);
        }
        met
    }

    /// Forgets all writes noted for `key`, which is gone.
    pub fn forget(&self, key: &T) {
        self.0.lock().remove(key);
    }
}

impl Write {
    fn visible<K: Resource + Send + Sync + 'static>(&self, cache: &Informer<K>) -> bool {
        let cached = cache.get(self.namespace.as_deref(), &self.name);
        let same = cached
            .as_ref()
            .filter(|object| object.meta().uid.as_deref() == Some(&*self.uid));
        match self.kind {
            Kind::Applied {
                revision: Some(revision),
            } => cache.revision() >= revision,
            Kind::Applied { revision: None } => same.is_some(),
            Kind::Deleted => same.is_none_or(|object| object.meta().deletion_timestamp.is_some()),
        }
    }
}
