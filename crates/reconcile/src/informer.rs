//! The handle to one kind's cache.

use crate::{
    Key, Subscription,
    cache::{Cache, Progress, subscription},
};
use kube::Resource;
use std::sync::Arc;
use tokio_util::sync::DropGuard;

/// A cheap, cloneable handle to the cache of one kind. The watch behind it lives for as long as
/// any handle or subscription does.
pub struct Informer<K>(pub(crate) Arc<Inner<K>>);

pub(crate) struct Inner<K> {
    pub(crate) cache: Arc<Cache<K>>,
    /// Ends the reflector when the last handle is dropped.
    pub(crate) _guard: DropGuard,
}

impl<K> Clone for Informer<K> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<K: Resource + Send + Sync + 'static> Informer<K> {
    /// Waits until the cache has been complete once (or the hub has shut down).
    pub async fn synced(&self) {
        let mut progress = self.0.cache.progress();
        // An error means that the cache is gone, which ends the wait as well.
        let _ = progress
            .wait_for(|progress| *progress != Progress::Listing)
            .await;
    }

    /// Whether the cache has been complete once.
    pub fn is_synced(&self) -> bool {
        *self.0.cache.progress().borrow() == Progress::Synced
    }

    /// The object of this name; `namespace` is `None` for cluster-scoped kinds.
    pub fn get(&self, namespace: Option<&str>, name: &str) -> Option<Arc<K>> {
        self.0.cache.get(namespace.unwrap_or_default(), name)
    }

    /// The object of this key.
    pub fn by_key(&self, key: &Key) -> Option<Arc<K>> {
        self.get(key.namespace.as_deref(), &key.name)
    }

    /// All objects, ordered by namespace and name.
    pub fn list(&self) -> Vec<Arc<K>> {
        self.0.cache.list()
    }

    /// All objects of a namespace, ordered by name.
    pub fn list_in(&self, namespace: &str) -> Vec<Arc<K>> {
        self.0.cache.list_in(namespace)
    }

    /// How many objects there are.
    pub fn len(&self) -> usize {
        self.0.cache.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds a secondary index: `values_of` gives the values under which an object is found.
    /// Does nothing if an index of this name exists, so that several users can ask for the same.
    pub fn add_index(
        &self,
        name: &'static str,
        values_of: impl Fn(&K) -> Vec<String> + Send + Sync + 'static,
    ) {
        self.0.cache.add_index(name, Arc::new(values_of));
    }

    /// The objects under `value` in the index `name`, ordered by key; none if there is no such
    /// index.
    pub fn by_index(&self, name: &str, value: &str) -> Vec<Arc<K>> {
        let found = self.0.cache.by_index(name, value);
        debug_assert!(found.is_some(), "no index {name:?}");
        found.unwrap_or_default()
    }

    /// Adds the index that [`controlled_by`](Self::controlled_by) reads.
    pub fn index_by_controller(&self) {
        self.add_index("controller-uid", |object| {
            crate::controller_of(object)
                .map(|owner| owner.uid.clone())
                .into_iter()
                .collect()
        });
    }

    /// The objects whose controlling owner has this uid. Needs
    /// [`index_by_controller`](Self::index_by_controller).
    pub fn controlled_by(&self, uid: &str) -> Vec<Arc<K>> {
        self.by_index("controller-uid", uid)
    }

    /// The highest resource version this cache has seen, 0 if none could be read as a number.
    /// A write that returned a resource version no greater than this is visible here.
    pub fn revision(&self) -> u64 {
        self.0.cache.revision()
    }

    /// A stream of changes that starts with all present objects.
    pub fn subscribe(&self) -> Subscription<K> {
        subscription(&self.0.cache, self.0.clone())
    }
}
