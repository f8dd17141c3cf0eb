//! Where work that blocks is done.
//!
//! A task on this machine is a handful of short blocking steps (look, write, rename). Handing each of them to another thread
//! costs more than the steps. So a task that comes to its first such step moves as a whole to a thread that may block, and does
//! all its steps there:
//!
//! ```text
//! AtWork::begin   polls the task once; done already: its result
//!       | it came to `blocking`                      | it waits for something else (a machine, a process)
//! a thread that may block: polled there,        a task of the runtime
//! `blocking` is a plain call
//! ```
//!
//! A template cannot be left in the middle: where lookups that may take long are [written anywhere](heed), no task is polled
//! here first, so that hosts do not wait for each other's lookups.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

use consort_modules::Cancel;
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::language::BUILTIN_LOOKUPS;

/// How many threads do tasks as a whole. More tasks than these hand over their steps one by one, so that there is always a
/// thread for a step.
const MOST_THREADS: usize = 64;

static THREADS: AtomicUsize = AtomicUsize::new(0);

/// Whether a lookup that may take long was read anywhere. Once it was, it stays so: what is read may be used by any task.
static SLOW_LOOKUPS: AtomicBool = AtomicBool::new(false);

/// The lookups of ansible.builtin that run programs, ask other machines, or render a file that nobody has read yet. What
/// is not of ansible.builtin is asked of Python.
const SLOW: [&str; 4] = ["lines", "pipe", "template", "url"];

/// Takes note of a template that was read: it may ask lookups that take long.
pub(crate) fn heed(text: &str) {
    if !SLOW_LOOKUPS.load(Ordering::Relaxed)
        && ["lookup", "query", "q"]
            .iter()
            .any(|function| calls_slow(text, function))
    {
        SLOW_LOOKUPS.store(true, Ordering::Relaxed);
    }
}

/// Takes note of a lookup that a loop is made by.
pub(crate) fn heed_lookup(name: &str) {
    if !is_quick(name) {
        SLOW_LOOKUPS.store(true, Ordering::Relaxed);
    }
}

fn is_quick(name: &str) -> bool {
    let name = name.strip_prefix("ansible.builtin.").unwrap_or(name);
    BUILTIN_LOOKUPS.contains(&name) && !SLOW.contains(&name)
}

/// Whether a text calls one of the functions for lookups with a name that is not of a quick one, or is no plain name.
fn calls_slow(text: &str, function: &str) -> bool {
    let part_of_name = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(function).any(|(at, _)| {
        let Some(given) = text[at + function.len()..].trim_start().strip_prefix('(') else {
            return false;
        };
        if text[..at].ends_with(part_of_name) {
            return false;
        }
        let given = given.trim_start();
        let name = given.strip_prefix(['\'', '"']).unwrap_or(given);
        let end = name
            .find(|c| !part_of_name(c) && c != '.')
            .unwrap_or(name.len());
        !is_quick(&name[..end])
    })
}

/// What ends programs that are started on this thread, when the run is given up. None on threads that must not block.
pub(crate) fn cancel() -> Option<Cancel> {
    MAY_BLOCK.with_borrow(Clone::clone)
}

thread_local! {
    /// A task is polled to see whether it is done already.
    static FIRST: Cell<bool> = const { Cell::new(false) };
    /// It came to something that blocks.
    static WANTED: Cell<bool> = const { Cell::new(false) };
    /// This thread may block; with what ends programs it has started.
    static MAY_BLOCK: RefCell<Option<Cancel>> = const { RefCell::new(None) };
}

/// Why something that blocks gave no result.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Broken {
    /// It panicked, with these words.
    #[error("The module broke off: {0}")]
    Panicked(String),
    /// The runtime is ending.
    #[error("The run is ending.")]
    Ending,
}

/// Does something that blocks: here if this thread may, on another else. It is given what ends its programs when the run is
/// given up; nothing if that is up to the caller.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce(Option<Cancel>) -> T + Send + 'static,
) -> Result<T, Broken> {
    std::future::poll_fn(|_| {
        if FIRST.get() {
            WANTED.set(true);
            Poll::Pending
        } else {
            Poll::Ready(())
        }
    })
    .await;
    let said = |panic: Box<dyn std::any::Any + Send>| {
        let said = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or("it gave no reason");
        Broken::Panicked(said.to_owned())
    };
    if let Some(cancel) = cancel() {
        let here = move || tokio::task::block_in_place(|| work(Some(cancel)));
        return std::panic::catch_unwind(AssertUnwindSafe(here)).map_err(said);
    }
    tokio::task::spawn_blocking(move || work(None))
        .await
        .map_err(|error| match error.try_into_panic() {
            Ok(panic) => said(panic),
            Err(_) => Broken::Ending,
        })
}

/// Tasks at work at once. When this is dropped they are given up, and the programs they run are ended.
pub(crate) struct AtWork<T> {
    tasks: JoinSet<Option<T>>,
    stop: CancellationToken,
    given_up: GivenUp,
    _stops: DropGuard,
}

/// Ends programs when it is dropped.
struct GivenUp(Cancel);

impl Drop for GivenUp {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

impl<T: Send + 'static> AtWork<T> {
    /// Nothing yet.
    pub(crate) fn new() -> Self {
        let stop = CancellationToken::new();
        AtWork {
            tasks: JoinSet::new(),
            _stops: stop.clone().drop_guard(),
            stop,
            given_up: GivenUp(Cancel::new()),
        }
    }

    /// How many are at work.
    pub(crate) fn len(&self) -> usize {
        self.tasks.len()
    }

    /// Whether none is.
    pub(crate) fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }

    /// Begins a task. One that is done at once gives its result: nothing is handed to another thread then.
    pub(crate) fn begin(&mut self, task: impl Future<Output = T> + Send + 'static) -> Option<T> {
        let mut task: Pin<Box<dyn Future<Output = T> + Send>> = Box::pin(task);
        WANTED.set(SLOW_LOOKUPS.load(Ordering::Relaxed));
        if !WANTED.get() {
            let looking = Looking::begin();
            // Whoever polls it next is woken by it; this once nobody needs to be.
            if let Poll::Ready(done) = task.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                return Some(done);
            }
            drop(looking);
        }
        if WANTED.get() && THREADS.fetch_add(1, Ordering::Relaxed) < MOST_THREADS {
            let (stop, cancel) = (self.stop.clone(), self.given_up.0.clone());
            let handle = tokio::runtime::Handle::current();
            self.tasks.spawn_blocking(move || {
                let _thread = Thread::take(cancel);
                handle.block_on(stop.run_until_cancelled(task))
            });
        } else {
            if WANTED.get() {
                THREADS.fetch_sub(1, Ordering::Relaxed);
            }
            self.tasks.spawn(async { Some(task.await) });
        }
        None
    }

    /// Waits for one to end. None when none is at work.
    pub(crate) async fn join_next(&mut self) -> Option<Result<T, JoinError>> {
        loop {
            match self.tasks.join_next().await? {
                Ok(Some(done)) => return Some(Ok(done)),
                // Only what was given up ends without a result.
                Ok(None) => {}
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

/// A first look at a task, also when it breaks off.
struct Looking;

impl Looking {
    fn begin() -> Self {
        FIRST.set(true);
        Looking
    }
}

impl Drop for Looking {
    fn drop(&mut self) {
        FIRST.set(false);
    }
}

/// A thread that may block, while it does a task.
struct Thread;

impl Thread {
    fn take(cancel: Cancel) -> Self {
        MAY_BLOCK.set(Some(cancel));
        Thread
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        MAY_BLOCK.set(None);
        THREADS.fetch_sub(1, Ordering::Relaxed);
    }
}
