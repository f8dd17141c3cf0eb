//! Runs a reconcile function over keys, level-triggered.

use crate::{Event, Informer, Queue};
use futures::{FutureExt, future::BoxFuture};
use kube::Resource;
use std::{
    fmt::{Debug, Display},
    hash::Hash,
    panic::AssertUnwindSafe,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, debug, error, info_span, warn};

/// What happens to a key after it was reconciled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Nothing until something changes.
    Done,
    /// Look again after this time, or earlier if something changes.
    After(Duration),
}

/// Counters of one controller since its start.
#[derive(Debug, Default)]
pub struct Stats {
    reconciled: AtomicU64,
    failed: AtomicU64,
    panicked: AtomicU64,
}

impl Stats {
    /// Reconciles that ended, successful or not.
    pub fn reconciled(&self) -> u64 {
        self.reconciled.load(Ordering::Relaxed)
    }

    /// Reconciles that returned an error.
    pub fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    /// Reconciles that panicked.
    pub fn panicked(&self) -> u64 {
        self.panicked.load(Ordering::Relaxed)
    }
}

type Pump<T> = Box<dyn FnOnce(Queue<T>) -> BoxFuture<'static, ()> + Send>;

/// A reconciler's frame: which changes lead to which keys, and how many workers look at them.
///
/// A key is never with two workers at a time. A failing key is retried with exponential back-off
/// (5 ms to 60 s); a panic is caught, counted, logged and treated as a failure of its key alone.
pub struct Controller<T> {
    name: &'static str,
    queue: Queue<T>,
    stats: Arc<Stats>,
    pumps: Vec<Pump<T>>,
    ready: Vec<BoxFuture<'static, ()>>,
}

impl<T> Controller<T>
where
    T: Hash + Eq + Clone + Debug + Send + Sync + 'static,
{
    /// A controller without sources. `name` appears in logs.
    pub fn new(name: &'static str) -> Self {
        Self {
            name,
            queue: Queue::default(),
            stats: Arc::default(),
            pumps: Vec::new(),
            ready: Vec::new(),
        }
    }

    /// The queue, for adding keys from elsewhere.
    pub fn queue(&self) -> Queue<T> {
        self.queue.clone()
    }

    /// The counters.
    pub fn stats(&self) -> Arc<Stats> {
        self.stats.clone()
    }

    /// Queues the keys that `keys_of` gives for each change (and, at first, for each present
    /// object) of `informer`. Workers start only once it is synced.
    #[must_use]
    pub fn queue_on<K, I>(
        mut self,
        informer: &Informer<K>,
        keys_of: impl Fn(&Event<K>) -> I + Send + 'static,
    ) -> Self
    where
        K: Resource + Send + Sync + 'static,
        I: IntoIterator<Item = T> + 'static,
    {
        let source = informer.clone();
        self.pumps.push(Box::new(move |queue| {
            async move {
                let mut changes = source.subscribe();
                while let Some(event) = changes.next().await {
                    if !matches!(event, Event::Synced) {
                        for key in keys_of(&event) {
                            queue.add(key);
                        }
                    }
                }
            }
            .boxed()
        }));
        self.wait_for(informer)
    }

    /// Lets workers start only once `informer` is synced.
    #[must_use]
    pub fn wait_for<K>(mut self, informer: &Informer<K>) -> Self
    where
        K: Resource + Send + Sync + 'static,
    {
        let informer = informer.clone();
        self.ready
            .push(async move { informer.synced().await }.boxed());
        self
    }

    /// Runs `workers` workers until `shutdown` is cancelled. A reconcile that is under way then is
    /// dropped at its next await.
    pub async fn run<F, E>(
        self,
        workers: usize,
        reconcile: impl Fn(T) -> F + Send + Sync + 'static,
        shutdown: CancellationToken,
    ) where
        F: Future<Output = Result<Action, E>> + Send + 'static,
        E: Display + Send + 'static,
    {
        let Self {
            name,
            queue,
            stats,
            pumps,
            ready,
        } = self;
        let mut tasks = JoinSet::new();
        for pump in pumps {
            tasks.spawn(pump(queue.clone()));
        }
        if shutdown
            .run_until_cancelled(futures::future::join_all(ready))
            .await
            .is_some()
        {
            debug!(controller = name, "caches are complete; starting workers");
            let reconcile = Arc::new(reconcile);
            for _ in 0..workers.max(1) {
                let (queue, stats, reconcile) = (queue.clone(), stats.clone(), reconcile.clone());
                tasks.spawn(async move {
                    while let Some(key) = queue.next().await {
                        let span = info_span!("reconcile", controller = name, ?key);
                        work(&*reconcile, key, &queue, &stats)
                            .instrument(span)
                            .await;
                    }
                });
            }
            loop {
                tokio::select! {
                    () = shutdown.cancelled() => break,
                    ended = tasks.join_next() => match ended {
                        // A source's key function panicked: without it the controller would be
                        // blind, so it dies as a whole and whoever runs it may start it again.
                        Some(Err(error)) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
                        Some(_) => {}
                        None => break,
                    }
                }
            }
        }
        queue.close();
        tasks.shutdown().await;
    }
}

async fn work<T, F, E>(reconcile: &impl Fn(T) -> F, key: T, queue: &Queue<T>, stats: &Stats)
where
    T: Hash + Eq + Clone + Debug,
    F: Future<Output = Result<Action, E>> + Send,
    E: Display,
{
    // The call itself is inside the caught future too: it may panic before its first await.
    let argument = key.clone();
    let outcome = AssertUnwindSafe(async { reconcile(argument).await })
        .catch_unwind()
        .await;
    stats.reconciled.fetch_add(1, Ordering::Relaxed);
    match outcome {
        Ok(Ok(action)) => {
            queue.forget(&key);
            if let Action::After(delay) = action {
                queue.add_after(key.clone(), delay);
            }
        }
        Ok(Err(problem)) => {
            stats.failed.fetch_add(1, Ordering::Relaxed);
            let failures = queue.add_backoff(key.clone());
            if failures > 3 {
                warn!(%problem, failures, "reconciling failed; trying again");
            } else {
                debug!(%problem, failures, "reconciling failed; trying again");
            }
        }
        Err(panic) => {
            stats.panicked.fetch_add(1, Ordering::Relaxed);
            let failures = queue.add_backoff(key.clone());
            let message = panic
                .downcast_ref::<&str>()
                .map(|text| (*text).to_owned())
                .or_else(|| panic.downcast_ref::<String>().cloned())
                .unwrap_or_default();
            error!(message, failures, "a reconcile panicked; trying again");
        }
    }
    queue.done(&key);
}

#[cfg(test)]
mod tests {
    use super::*;
    use parking_lot::Mutex;

    #[tokio::test]
    async fn a_panic_and_an_error_are_counted_and_retried_and_stop_no_other_key() {
        let controller = Controller::<&'static str>::new("test");
        let (queue, stats) = (controller.queue(), controller.stats());
        for key in ["bad", "worse", "good"] {
            queue.add(key);
        }
        let seen = Arc::new(Mutex::new(Vec::new()));
        let shutdown = CancellationToken::new();
        let (record, stop) = (seen.clone(), shutdown.clone());
        let reconcile = move |key: &'static str| {
            let tries = {
                let mut seen = record.lock();
                seen.push(key);
                seen.iter().filter(|k| **k == key).count()
            };
            if seen_all(&record.lock()) {
                stop.cancel();
            }
            assert!(!(key == "worse" && tries < 3), "worse than bad");
            async move {
                if key == "bad" && tries < 3 {
                    Err("not yet")
                } else {
                    Ok(Action::Done)
                }
            }
        };
        tokio::time::timeout(
            Duration::from_secs(60),
            controller.run(1, reconcile, shutdown),
        )
        .await
        .unwrap();
        assert_eq!(stats.panicked(), 2);
        assert_eq!(stats.failed(), 2);
        assert_eq!(seen.lock().iter().filter(|k| **k == "good").count(), 1);
    }

    fn seen_all(seen: &[&str]) -> bool {
        seen.len() == 7
    }
}
