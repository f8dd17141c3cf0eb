//! The events kept, by resource: what watches read, and what compaction takes away.
//!
//! A bucket holds the events of one `/{group}/{plural}/` in order. Watchers keep a place in it and
//! read on when the bucket says that it changed, so a write costs nothing to watchers of other
//! buckets, and a slow watcher holds no buffer of its own.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;
use tokio::sync::watch;

use crate::Key;
use crate::key::bucket_of;
use crate::version::Version;

/// All buckets.
pub(crate) struct History {
    buckets: RwLock<HashMap<Box<str>, Arc<Bucket>>>,
    /// For watchers of more than one bucket: the last revision.
    broad: watch::Sender<u64>,
    /// Bytes on disk of the events kept.
    bytes: AtomicU64,
}

/// The events of one resource.
pub(crate) struct Bucket {
    name: Box<str>,
    kept: RwLock<Kept>,
    changed: watch::Sender<u64>,
    /// Numbers of objects that exist now.
    live: RwLock<Live>,
}

#[derive(Default)]
struct Live {
    all: usize,
    /// Of those in namespaces, by namespace.
    namespaces: HashMap<Box<str>, usize>,
}

#[derive(Default)]
struct Kept {
    events: VecDeque<Arc<Version>>,
    /// Revision of the newest event taken away by compaction. A watcher that has seen it has missed
    /// nothing, however far compaction has gone on beyond.
    dropped: u64,
}

impl History {
    pub(crate) fn new() -> Self {
        Self {
            buckets: RwLock::default(),
            broad: watch::Sender::new(0),
            bytes: AtomicU64::new(0),
        }
    }

    /// The bucket of that name, made when absent.
    pub(crate) fn bucket(&self, name: &str) -> Arc<Bucket> {
        if let Some(bucket) = self.buckets.read().get(name) {
            return Arc::clone(bucket);
        }
        let mut buckets = self.buckets.write();
        let bucket = buckets.entry(name.into()).or_insert_with(|| {
            Arc::new(Bucket {
                name: name.into(),
                kept: RwLock::default(),
                changed: watch::Sender::new(0),
                live: RwLock::default(),
            })
        });
        Arc::clone(bucket)
    }

    /// The bucket of that name, if there is one.
    pub(crate) fn existing(&self, name: &str) -> Option<Arc<Bucket>> {
        self.buckets.read().get(name).cloned()
    }

    /// The buckets with keys under a prefix.
    pub(crate) fn under(&self, prefix: &str) -> Vec<Arc<Bucket>> {
        match bucket_of(prefix) {
            Some(name) => self.existing(name).into_iter().collect(),
            None => self
                .buckets
                .read()
                .values()
                .filter(|bucket| bucket.name.starts_with(prefix))
                .cloned()
                .collect(),
        }
    }

    pub(crate) fn broad(&self) -> &watch::Sender<u64> {
        &self.broad
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Adds events of one bucket, newer than all in it.
    pub(crate) fn push(&self, bucket: &Bucket, events: impl Iterator<Item = Arc<Version>>) {
        let mut kept = bucket.kept.write();
        for event in events {
            let len = u64::from(event.place().len);
            self.bytes.fetch_add(len, Ordering::Relaxed);
            kept.events.push_back(event);
        }
    }

    /// Takes away all events up to a revision, in no particular order across buckets.
    pub(crate) fn drain(&self, upto: u64) -> Vec<Arc<Version>> {
        let mut drained = Vec::new();
        for bucket in self.under("/") {
            let mut kept = bucket.kept.write();
            let count = kept.events.partition_point(|event| event.revision <= upto);
            if let Some(last) = count.checked_sub(1) {
                kept.dropped = kept.events[last].revision;
            }
            drained.extend(kept.events.drain(..count));
            if kept.events.capacity() > 1024 && kept.events.len() * 4 < kept.events.capacity() {
                kept.events.shrink_to_fit();
            }
        }
        let bytes = drained
            .iter()
            .map(|event| u64::from(event.place().len))
            .sum();
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        drained
    }
}

impl Bucket {
    /// Number of objects that exist now, in all or in one namespace.
    pub(crate) fn live(&self, namespace: Option<&str>) -> usize {
        let live = self.live.read();
        match namespace {
            Some(namespace) => live.namespaces.get(namespace).copied().unwrap_or(0),
            None => live.all,
        }
    }

    /// Counts an object that came to exist.
    pub(crate) fn appeared(&self, key: &Key) {
        let mut live = self.live.write();
        live.all += 1;
        if let Some(namespace) = key.namespace() {
            match live.namespaces.get_mut(namespace) {
                Some(count) => *count += 1,
                None => {
                    live.namespaces.insert(namespace.into(), 1);
                }
            }
        }
    }

    /// Counts an object that was deleted.
    pub(crate) fn disappeared(&self, key: &Key) {
        let mut live = self.live.write();
        live.all = live.all.saturating_sub(1);
        if let Some(namespace) = key.namespace()
            && let Some(count) = live.namespaces.get_mut(namespace)
        {
            *count = count.saturating_sub(1);
            if *count == 0 {
                live.namespaces.remove(namespace);
            }
        }
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    pub(crate) fn announce(&self, revision: u64) {
        self.changed.send_replace(revision);
    }

    /// Appends to `out` the events after one revision and up to another with keys under a prefix:
    /// at most `limit`, but never a part of a revision. Returns how far it has looked, or `None` when
    /// compaction has taken away events after `after`.
    pub(crate) fn collect(
        &self,
        prefix: &str,
        after: u64,
        upto: u64,
        limit: usize,
        out: &mut Vec<Arc<Version>>,
    ) -> Option<u64> {
        let kept = self.kept.read();
        if kept.dropped > after {
            return None;
        }
        let from = kept.events.partition_point(|event| event.revision <= after);
        let mut taken = 0;
        let mut seen = after;
        for event in kept.events.range(from..) {
            if event.revision > upto {
                break;
            }
            if taken >= limit && event.revision != seen {
                return Some(seen);
            }
            seen = event.revision;
            if event.key.as_str().starts_with(prefix) {
                out.push(Arc::clone(event));
                taken += 1;
            }
        }
        Some(upto)
    }

    /// Whether compaction has taken away events after `after`.
    pub(crate) fn dropped_after(&self, after: u64) -> bool {
        self.kept.read().dropped > after
    }
}
