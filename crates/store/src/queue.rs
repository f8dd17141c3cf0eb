//! What waits for the writer. Everything that waits is taken at once and shares one fsync.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::{Condvar, Mutex};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::version::Version;
use crate::{Committed, Error, Write};

/// What is asked of the writer.
pub(crate) enum Command {
    Commit(Pending),
    /// Drop history up to this revision.
    Compact(u64, oneshot::Sender<Result<(), Error>>),
    /// Have the next frame begin a new segment of the log, and begin it; gives the segment's number.
    Roll(oneshot::Sender<Result<u32, Error>>),
    /// Copy these versions to the end of the log, those that are still the newest of their keys.
    Carry(Carry, oneshot::Sender<Result<(), Error>>),
}

/// Versions to be copied.
pub(crate) struct Carry {
    pub(crate) versions: Vec<Arc<Version>>,
    /// Seal them as they would be sealed now; else they are copied as they are.
    pub(crate) reseal: bool,
}

/// A commit that waits.
pub(crate) struct Pending {
    pub(crate) writes: Vec<Write>,
    pub(crate) reply: oneshot::Sender<Result<Committed, Error>>,
    /// Its share of the room in the queue.
    pub(crate) _room: OwnedSemaphorePermit,
}

/// Bytes that one unit of the queue's room stands for.
const UNIT: usize = 1024;

pub(crate) struct Queue {
    inner: Mutex<Inner>,
    wake: Condvar,
    room: Arc<Semaphore>,
}

#[derive(Default)]
struct Inner {
    commands: VecDeque<Command>,
    closed: bool,
}

impl Queue {
    /// A queue for at most about `bytes` of commits.
    pub(crate) fn new(bytes: usize) -> Self {
        Self {
            inner: Mutex::default(),
            wake: Condvar::new(),
            room: Arc::new(Semaphore::new(bytes / UNIT)),
        }
    }

    /// Waits for room for a commit of so many bytes.
    pub(crate) async fn room(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Error> {
        let units = u32::try_from(bytes / UNIT + 1).unwrap_or(u32::MAX);
        Arc::clone(&self.room)
            .acquire_many_owned(units)
            .await
            .map_err(|_| Error::Closed)
    }

    pub(crate) fn push(&self, command: Command) -> Result<(), Error> {
        let mut inner = self.inner.lock();
        if inner.closed {
            return Err(Error::Closed);
        }
        inner.commands.push_back(command);
        drop(inner);
        self.wake.notify_one();
        Ok(())
    }

    /// Takes no more; what waits is still carried out.
    pub(crate) fn close(&self) {
        self.inner.lock().closed = true;
        self.room.close();
        self.wake.notify_one();
    }

    /// Drops what waits; whoever asked learns that the store is closed.
    pub(crate) fn clear(&self) {
        let dropped = std::mem::take(&mut self.inner.lock().commands);
        drop(dropped);
    }

    /// Everything that waits; blocks while nothing does. `None` when closed and empty.
    pub(crate) fn take(&self) -> Option<VecDeque<Command>> {
        let mut inner = self.inner.lock();
        while inner.commands.is_empty() {
            if inner.closed {
                return None;
            }
            self.wake.wait(&mut inner);
        }
        Some(std::mem::take(&mut inner.commands))
    }
}
