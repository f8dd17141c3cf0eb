//! Bounds the values held in memory: second chance in the order they came.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use crate::version::Version;

/// What a value costs beside its bytes: its head and the bookkeeping.
const OVERHEAD: usize = 768;

/// An account of the values in memory. It holds no value itself; it tells versions to drop theirs.
pub(crate) struct Cache {
    limit: usize,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    queue: VecDeque<(Weak<Version>, usize)>,
    bytes: usize,
}

impl Cache {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit,
            inner: Mutex::default(),
        }
    }

    /// Notes that a version holds `bytes` more, and makes room for them.
    pub(crate) fn insert(&self, version: &Arc<Version>, bytes: usize) {
        let cost = bytes + OVERHEAD;
        let mut evicted = Vec::new();
        let mut inner = self.inner.lock();
        inner.queue.push_back((Arc::downgrade(version), cost));
        inner.bytes += cost;
        let mut chances = inner.queue.len();
        while inner.bytes > self.limit {
            let Some((version, cost)) = inner.queue.pop_front() else {
                break;
            };
            let Some(version) = version.upgrade() else {
                inner.bytes -= cost;
                continue;
            };
            if chances > 0 && version.cool() {
                chances -= 1;
                inner.queue.push_back((Arc::downgrade(&version), cost));
            } else {
                inner.bytes -= cost;
                evicted.push(version);
            }
        }
        drop(inner);
        for version in evicted {
            version.evict();
        }
    }
}
