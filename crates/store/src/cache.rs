//! Bounds the values held in memory, and keeps a list of everything from pushing out what is used.
//!
//! Two queues in the order things came (as in S3-FIFO): what is new goes through the small one, and into
//! the main one only if it was read again meanwhile, or comes back soon after it went. What is read
//! once, however much of it, passes through a tenth of the room. Each version has one entry at most.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use crate::version::Version;

/// What a value costs beside its bytes: its head, its event and the bookkeeping.
const OVERHEAD: usize = 768;

/// The small queue's share of the room: one in so many bytes.
const SMALL: usize = 10;

/// An account of the values in memory. It holds no value itself; it tells versions to drop theirs.
pub(crate) struct Cache {
    limit: usize,
    heads: Heads,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    small: Entries,
    main: Entries,
    /// Counts what went from the small queue.
    evicted: u32,
}

#[derive(Default)]
struct Entries {
    queue: VecDeque<(Weak<Version>, usize)>,
    bytes: usize,
}

impl Entries {
    fn push(&mut self, version: &Arc<Version>, cost: usize) {
        self.bytes += cost;
        self.queue.push_back((Arc::downgrade(version), cost));
    }

    fn pop(&mut self) -> Option<(Weak<Version>, usize)> {
        let (version, cost) = self.queue.pop_front()?;
        self.bytes -= cost;
        Some((version, cost))
    }
}

impl Cache {
    /// A cache for so many bytes of values, and for so many of heads alone.
    pub(crate) fn new(limit: usize, heads: usize) -> Self {
        Self {
            limit,
            heads: Heads {
                limit: heads,
                used: AtomicUsize::new(0),
            },
            inner: Mutex::default(),
        }
    }

    pub(crate) fn heads(&self) -> &Heads {
        &self.heads
    }

    /// Notes that a version holds a value of `bytes`, and makes room for it. Does nothing when that
    /// was noted already.
    pub(crate) fn insert(&self, version: &Arc<Version>, bytes: usize) {
        let cost = bytes + OVERHEAD;
        let mut inner = self.inner.lock();
        if version.enqueue() {
            return;
        }
        let back_soon = version
            .evicted_at()
            .is_some_and(|at| (inner.evicted.wrapping_sub(at) as usize) < inner.main.queue.len());
        if back_soon {
            inner.main.push(version, cost);
        } else {
            inner.small.push(version, cost);
        }
        let mut gone = Vec::new();
        while inner.small.bytes + inner.main.bytes > self.limit {
            match inner.evict(self.limit / SMALL) {
                Some(version) => gone.extend(version),
                None => break,
            }
        }
        drop(inner);
        for version in gone {
            version.evict(&self.heads);
        }
    }
}

impl Inner {
    /// Takes one step towards more room: the inner option is what has to drop its value. `None` when
    /// nothing is left.
    #[allow(clippy::option_option)] // two questions: is anything left, and has it a value to drop
    fn evict(&mut self, small: usize) -> Option<Option<Arc<Version>>> {
        if self.small.bytes > small || self.main.queue.is_empty() {
            let (version, cost) = self.small.pop()?;
            let Some(version) = version.upgrade() else {
                return Some(None);
            };
            if version.cool() {
                version.chill();
                self.main.push(&version, cost);
                return Some(None);
            }
            self.evicted = self.evicted.wrapping_add(1);
            version.dequeue(Some(self.evicted));
            return Some(Some(version));
        }
        let (version, cost) = self.main.pop()?;
        let Some(version) = version.upgrade() else {
            return Some(None);
        };
        if version.cool() {
            self.main.push(&version, cost);
            return Some(None);
        }
        version.dequeue(None);
        Some(Some(version))
    }
}

/// Room for heads of present objects whose values are not in memory, so that selecting among many
/// objects does not read them all.
pub(crate) struct Heads {
    limit: usize,
    used: AtomicUsize,
}

impl Heads {
    /// Takes room for a head, if there is any.
    pub(crate) fn take(&self, bytes: usize) -> bool {
        let used = self.used.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if used > self.limit {
            self.give_back(bytes);
        }
        used <= self.limit
    }

    pub(crate) fn give_back(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}
