//! Work that is to happen once, and content that must not be collected meanwhile.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

use crate::Digest;

/// A lock for each key that someone is interested in, with a value beside it that those who
/// waited can read.
pub(crate) struct Keyed<K, V> {
    slots: Mutex<HashMap<K, Weak<AsyncMutex<V>>>>,
}

impl<K, V> Default for Keyed<K, V> {
    fn default() -> Self {
        Self {
            slots: Mutex::default(),
        }
    }
}

impl<K: Hash + Eq, V: Default> Keyed<K, V> {
    /// Waits for the key's lock. The value lives as long as someone holds or awaits it.
    pub(crate) async fn lock(&self, key: K) -> OwnedMutexGuard<V> {
        let slot = {
            let mut slots = self.slots.lock();
            let live = slots.get(&key).and_then(Weak::upgrade);
            live.unwrap_or_else(|| {
                slots.retain(|_, slot| slot.strong_count() > 0);
                let slot = Arc::default();
                slots.insert(key, Arc::downgrade(&slot));
                slot
            })
        };
        slot.lock_owned().await
    }
}

/// Digests that a running pull, import or unpacking needs, counted.
#[derive(Clone, Default)]
pub(crate) struct Pins {
    held: Arc<Mutex<Held>>,
}

#[derive(Default)]
struct Held {
    counts: HashMap<Digest, usize>,
    /// How often something was let go of.
    releases: u64,
}

/// A moment in the history of [`Pins`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moment(u64);

/// What came of an attempt to remove something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Attempt<T> {
    /// It was made.
    Made(T),
    /// Someone holds the digest.
    Held,
    /// Something was let go of since the moment that was given: it may have got a name or a user that
    /// was not there when one looked.
    Late,
}

impl Pins {
    /// Keeps these from being collected while the guard lives.
    pub(crate) fn hold(&self, digests: impl IntoIterator<Item = Digest>) -> Pinned {
        let digests: Vec<_> = digests.into_iter().collect();
        let mut held = self.held.lock();
        for digest in &digests {
            *held.counts.entry(*digest).or_default() += 1;
        }
        Pinned {
            pins: self.clone(),
            digests,
        }
    }

    /// The present. To be asked for before one looks at what is named and used.
    pub(crate) fn now(&self) -> Moment {
        Moment(self.held.lock().releases)
    }

    /// Runs `remove` unless the digest is held, or anything was let go of since `seen`; no one can begin
    /// to hold it meanwhile.
    pub(crate) fn unless_held<T>(
        &self,
        digest: Digest,
        seen: Moment,
        remove: impl FnOnce() -> T,
    ) -> Attempt<T> {
        let held = self.held.lock();
        if held.counts.contains_key(&digest) {
            Attempt::Held
        } else if held.releases == seen.0 {
            Attempt::Made(remove())
        } else {
            Attempt::Late
        }
    }
}

/// Holds digests against collection.
#[must_use]
pub(crate) struct Pinned {
    pins: Pins,
    digests: Vec<Digest>,
}

impl Drop for Pinned {
    fn drop(&mut self) {
        let mut held = self.pins.held.lock();
        held.releases += 1;
        for digest in &self.digests {
            if let Some(count) = held.counts.get_mut(digest) {
                *count -= 1;
                if *count == 0 {
                    held.counts.remove(digest);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_not_removed_until_the_last_holder_is_gone() {
        let pins = Pins::default();
        let digest = Digest::of(b"x");
        let first = pins.hold([digest]);
        let second = pins.hold([digest]);
        let attempt = |seen| pins.unless_held(digest, seen, || ());
        assert_eq!(attempt(pins.now()), Attempt::Held);
        drop(first);
        assert_eq!(attempt(pins.now()), Attempt::Held);
        let seen = pins.now();
        drop(second);
        assert_eq!(attempt(seen), Attempt::Late, "its holder may have used it");
        assert_eq!(attempt(pins.now()), Attempt::Made(()));
    }

    #[tokio::test]
    async fn a_key_is_held_by_one_at_a_time_and_others_do_not_wait() {
        let locks = Keyed::<u32, u32>::default();
        let held = locks.lock(1).await;
        let mut other = locks.lock(2).await;
        *other += 1;
        let soon = std::time::Duration::from_millis(20);
        assert!(tokio::time::timeout(soon, locks.lock(1)).await.is_err());
        drop(held);
        assert_eq!(*locks.lock(1).await, 0);
    }
}
