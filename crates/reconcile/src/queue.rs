//! A work queue that deduplicates, delays and backs off.
//!
//! Semantics follow the client-go work queue: a key that is added while it waits is one entry; a
//! key that is added while it is being processed is handed out again once processing is done, and
//! never to two workers at a time. The queue's size is bounded by the number of distinct keys.

use crate::Backoff;
use parking_lot::Mutex;
use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    hash::Hash,
    sync::Arc,
    time::Duration,
};
use tokio::{sync::Notify, time::Instant};

/// A cloneable handle to one work queue.
pub struct Queue<T>(Arc<Shared<T>>);

struct Shared<T> {
    state: Mutex<State<T>>,
    wake: Notify,
    backoff: Backoff,
}

struct State<T> {
    ready: VecDeque<T>,
    /// Keys that need processing: all of `ready`, and those re-added while in `processing`.
    dirty: HashSet<T>,
    processing: HashSet<T>,
    delayed: BTreeMap<(Instant, u64), T>,
    delayed_at: HashMap<T, (Instant, u64)>,
    failures: HashMap<T, u32>,
    sequence: u64,
    closed: bool,
}

impl<T> Clone for Queue<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: Hash + Eq + Clone> Default for Queue<T> {
    fn default() -> Self {
        Self::new(Backoff::new(
            Duration::from_millis(5),
            Duration::from_secs(60),
        ))
    }
}

impl<T: Hash + Eq + Clone> Queue<T> {
    /// An empty queue whose [`add_backoff`](Self::add_backoff) delays follow `backoff`.
    pub fn new(backoff: Backoff) -> Self {
        Self(Arc::new(Shared {
            state: Mutex::new(State {
                ready: VecDeque::new(),
                dirty: HashSet::new(),
                processing: HashSet::new(),
                delayed: BTreeMap::new(),
                delayed_at: HashMap::new(),
                failures: HashMap::new(),
                sequence: 0,
                closed: false,
            }),
            wake: Notify::new(),
            backoff,
        }))
    }

    /// Queues `key` now, unless it waits already.
    pub fn add(&self, key: T) {
        let added = self.0.state.lock().add(key);
        if added {
            self.0.wake.notify_one();
        }
    }

    /// Queues `key` once `delay` has passed. Of several delays of one key, the earliest counts.
    pub fn add_after(&self, key: T, delay: Duration) {
        if delay.is_zero() {
            return self.add(key);
        }
        let at = Instant::now() + delay;
        {
            let mut state = self.0.state.lock();
            if state.closed {
                return;
            }
            if let Some(existing) = state.delayed_at.get(&key).copied() {
                if existing.0 <= at {
                    return;
                }
                state.delayed.remove(&existing);
            }
            state.sequence += 1;
            let slot = (at, state.sequence);
            state.delayed.insert(slot, key.clone());
            state.delayed_at.insert(key, slot);
        }
        self.0.wake.notify_one();
    }

    /// Queues `key` after a delay that doubles with every call since the last
    /// [`forget`](Self::forget). Returns the number of failures so far.
    pub fn add_backoff(&self, key: T) -> u32 {
        let failures = {
            let mut state = self.0.state.lock();
            let failures = state.failures.entry(key.clone()).or_default();
            *failures += 1;
            *failures
        };
        self.add_after(key, self.0.backoff.delay(failures - 1));
        failures
    }

    /// Resets the back-off of `key`.
    pub fn forget(&self, key: &T) {
        self.0.state.lock().failures.remove(key);
    }

    /// The next key to process, waiting for one; `None` once the queue is closed. Call
    /// [`done`](Self::done) with it when processing has ended, whatever the outcome.
    pub async fn next(&self) -> Option<T> {
        loop {
            let notified = self.0.wake.notified();
            let wait_until = {
                let mut state = self.0.state.lock();
                if state.closed {
                    self.0.wake.notify_one();
                    return None;
                }
                state.promote_due(Instant::now());
                if let Some(key) = state.ready.pop_front() {
                    state.dirty.remove(&key);
                    state.processing.insert(key.clone());
                    if !state.ready.is_empty() || !state.delayed.is_empty() {
                        self.0.wake.notify_one();
                    }
                    return Some(key);
                }
                state.delayed.keys().next().map(|slot| slot.0)
            };
            match wait_until {
                Some(at) => {
                    let _ = tokio::time::timeout_at(at, notified).await;
                }
                None => notified.await,
            }
        }
    }

    /// Ends the processing of `key`; if it was added meanwhile, it is queued again.
    pub fn done(&self, key: &T) {
        let again = {
            let mut state = self.0.state.lock();
            state.processing.remove(key);
            let again = state.dirty.contains(key);
            if again {
                state.ready.push_back(key.clone());
            }
            again
        };
        if again {
            self.0.wake.notify_one();
        }
    }

    /// Wakes every waiter and refuses further keys.
    pub fn close(&self) {
        self.0.state.lock().closed = true;
        self.0.wake.notify_waiters();
        self.0.wake.notify_one();
    }

    /// How many keys wait to be processed now, delayed ones not counted.
    pub fn len(&self) -> usize {
        self.0.state.lock().ready.len()
    }

    /// Whether no key waits to be processed now.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<T: Hash + Eq + Clone> State<T> {
    fn add(&mut self, key: T) -> bool {
        if self.closed || !self.dirty.insert(key.clone()) || self.processing.contains(&key) {
            return false;
        }
        self.ready.push_back(key);
        true
    }

    fn promote_due(&mut self, now: Instant) {
        while let Some(entry) = self.delayed.first_entry() {
            if entry.key().0 > now {
                break;
            }
            let key = entry.remove();
            self.delayed_at.remove(&key);
            self.add(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn soon<T>(future: impl Future<Output = T>) -> T {
        tokio::time::timeout(Duration::from_secs(5), future)
            .await
            .expect("within the deadline")
    }

    #[tokio::test]
    async fn a_key_added_twice_is_handed_out_once() {
        let queue = Queue::default();
        queue.add("a");
        queue.add("a");
        queue.add("b");
        assert_eq!(soon(queue.next()).await, Some("a"));
        assert_eq!(soon(queue.next()).await, Some("b"));
        assert!(queue.is_empty());
    }

    #[tokio::test]
    async fn a_key_added_while_processed_comes_back_after_done_and_not_before() {
        let queue = Queue::default();
        queue.add("a");
        assert_eq!(soon(queue.next()).await, Some("a"));
        queue.add("a");
        assert!(queue.is_empty());
        queue.done(&"a");
        assert_eq!(soon(queue.next()).await, Some("a"));
        queue.done(&"a");
        assert!(queue.is_empty());
    }

    #[tokio::test]
    async fn the_earliest_of_several_delays_counts() {
        let queue = Queue::default();
        let start = Instant::now();
        queue.add_after("a", Duration::from_secs(50));
        queue.add_after("a", Duration::from_millis(30));
        queue.add_after("a", Duration::from_secs(20));
        assert_eq!(soon(queue.next()).await, Some("a"));
        assert!(start.elapsed() >= Duration::from_millis(30));
        queue.done(&"a");
        assert!(queue.0.state.lock().delayed.is_empty());
    }

    #[tokio::test]
    async fn back_off_grows_until_forgotten() {
        let queue = Queue::new(Backoff::new(
            Duration::from_millis(20),
            Duration::from_secs(60),
        ));
        for least in [20, 40, 80] {
            let start = Instant::now();
            queue.add_backoff("a");
            let key = soon(queue.next()).await.unwrap();
            assert!(start.elapsed() >= Duration::from_millis(least));
            queue.done(&key);
        }
        queue.forget(&"a");
        assert_eq!(queue.add_backoff("a"), 1);
    }

    #[tokio::test]
    async fn closing_wakes_every_waiter() {
        let queue = Queue::<u32>::default();
        let mut waiters = tokio::task::JoinSet::new();
        for _ in 0..4 {
            let queue = queue.clone();
            waiters.spawn(async move { queue.next().await });
        }
        tokio::task::yield_now().await;
        queue.close();
        while let Some(result) = soon(waiters.join_next()).await {
            assert_eq!(result.unwrap(), None);
        }
    }

    #[tokio::test]
    async fn many_workers_see_every_key_and_no_key_twice_at_a_time() {
        let queue = Queue::default();
        for key in 0..2_000_u32 {
            queue.add(key);
        }
        let seen = Arc::new(Mutex::new((HashSet::new(), 0_usize)));
        let mut workers = tokio::task::JoinSet::new();
        for _ in 0..8 {
            let (queue, seen) = (queue.clone(), seen.clone());
            workers.spawn(async move {
                while let Some(key) = queue.next().await {
                    {
                        let mut seen = seen.lock();
                        assert!(seen.0.insert(key), "{key} is processed twice at once");
                        seen.1 += 1;
                    }
                    tokio::task::yield_now().await;
                    seen.lock().0.remove(&key);
                    queue.done(&key);
                    if seen.lock().1 == 2_000 {
                        queue.close();
                    }
                }
            });
        }
        while let Some(result) = soon(workers.join_next()).await {
            result.unwrap();
        }
        assert_eq!(seen.lock().1, 2_000);
    }
}
