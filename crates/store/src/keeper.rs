//! The thread that keeps the store small and quick to open: drops old history, writes checkpoints,
//! and removes log segments after carrying over the little in them that is still needed.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::frame::{self, Found};
use crate::queue::{Carry, Command, Queue};
use crate::record::Kind;
use crate::segment::{HEADER, Place, Segment};
use crate::store::Shared;
use crate::version::Version;
use crate::{Error, Retention, checkpoint, recovery};

/// A checkpoint is due when so much log was written since the last, or as much as that one is large.
const CHECKPOINT: u64 = 32 << 20;

/// Revisions dropped at a time.
const STEP: u64 = 20_000;

/// Bytes carried over at a time, so that commits get between.
const CARRY: u64 = 1 << 20;

/// Handle of the thread.
pub(crate) struct Keeper {
    orders: mpsc::Sender<Order>,
    thread: JoinHandle<()>,
}

/// What is asked of the thread.
pub(crate) enum Order {
    /// Carry over all that is needed, and remove every segment there is now.
    Shrink(oneshot::Sender<Result<(), Error>>),
}

struct Work {
    shared: Arc<Shared>,
    queue: Arc<Queue>,
    retention: Retention,
    segment_bytes: u64,
    /// Revisions with the time they were reached, at intervals.
    reached: VecDeque<(Instant, u64)>,
    /// The newest revision known to be older than history may be.
    aged: u64,
    /// Of the last checkpoint: bytes written before it, its size, the segment it points to.
    checkpoint: (u64, u64, u32),
    upkeep: Duration,
    orders: mpsc::Receiver<Order>,
    waiting: VecDeque<Order>,
    stopping: bool,
}

impl Keeper {
    pub(crate) fn start(
        shared: Arc<Shared>,
        queue: Arc<Queue>,
        retention: Retention,
        segment_bytes: u64,
        upkeep: Duration,
    ) -> Result<Self, Error> {
        let (orders, received) = mpsc::channel();
        let dir = shared.dir.clone();
        let mut work = Work {
            shared,
            queue,
            retention,
            segment_bytes,
            reached: VecDeque::new(),
            aged: 0,
            checkpoint: (0, 0, 0),
            upkeep,
            orders: received,
            waiting: VecDeque::new(),
            stopping: false,
        };
        let thread = std::thread::Builder::new()
            .name("store-keeper".to_owned())
            .spawn(move || work.run())
            .map_err(|e| Error::io("starting a thread for", dir, e))?;
        Ok(Self { orders, thread })
    }

    /// Asks something of the thread.
    pub(crate) fn order(&self, order: Order) -> Result<(), Error> {
        self.orders.send(order).map_err(|_| Error::Closed)
    }

    /// Stops the thread; it finishes the step it is in.
    pub(crate) fn stop(self) {
        drop(self.orders);
        if self.thread.join().is_err() {
            tracing::error!("the store's keeper panicked");
        }
    }
}

impl Work {
    fn run(&mut self) {
        loop {
            let order = match self.waiting.pop_front() {
                Some(order) => Ok(order),
                None if self.stopping => return,
                None => self.orders.recv_timeout(self.upkeep),
            };
            match order {
                Ok(Order::Shrink(reply)) => drop(reply.send(self.shrink())),
                Err(RecvTimeoutError::Timeout) => {
                    // A full disk, say: what could not be done now is due again at the next tick.
                    if let Err(error) = self.tick() {
                        tracing::debug!(error = %error, "keeping the store small");
                    }
                }
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn stopping(&mut self) -> bool {
        match self.orders.try_recv() {
            Ok(order) => self.waiting.push_back(order),
            Err(mpsc::TryRecvError::Disconnected) => self.stopping = true,
            Err(mpsc::TryRecvError::Empty) => {}
        }
        self.stopping
    }

    /// Drops all history and rewrites what is left.
    fn shrink(&mut self) -> Result<(), Error> {
        /// What is replaced while it is carried over has to be compacted away again.
        const ATTEMPTS: usize = 10;
        let (reply, answer) = oneshot::channel();
        self.queue.push(Command::Roll(reply))?;
        let newest = answer.blocking_recv().map_err(|_| Error::Closed)??;
        for _ in 0..ATTEMPTS {
            self.compact_all()?;
            while let Some(segment) = self.shared.source.segments.oldest_finished()
                && segment.start.id < newest
                && self.carry_over(&segment)?
            {
                self.remove(&segment)?;
            }
            let oldest = self.shared.source.segments.oldest_finished();
            if oldest.is_none_or(|segment| segment.start.id >= newest) {
                // Something follows what was carried over: damage to it cannot pass for a torn end.
                let (reply, answer) = oneshot::channel();
                let done = self.shared.compacted().0;
                self.queue.push(Command::Compact(done, reply))?;
                return answer.blocking_recv().map_err(|_| Error::Closed)?;
            }
            if self.stopping() {
                return Err(Error::Closed);
            }
        }
        Err(Error::Busy)
    }

    fn compact_all(&mut self) -> Result<(), Error> {
        let target = self.shared.revision().0;
        while self.shared.compacted().0 < target {
            let step = (self.shared.compacted().0 + STEP).min(target);
            let (reply, answer) = oneshot::channel();
            self.queue.push(Command::Compact(step, reply))?;
            answer.blocking_recv().map_err(|_| Error::Closed)??;
            if self.stopping() {
                return Err(Error::Closed);
            }
        }
        Ok(())
    }

    /// Removes a segment that nothing needs.
    fn remove(&mut self, segment: &Segment) -> Result<(), Error> {
        // What follows in the log takes the place of what the segment says only for a reader
        // that starts behind it.
        if self.checkpoint.2 <= segment.start.id {
            self.checkpoint()?;
        }
        if self.checkpoint.2 <= segment.start.id {
            return Err(Error::Busy);
        }
        recovery::remove(
            &self.shared.dir,
            &self.shared.source.segments,
            segment.start.id,
        )
    }

    fn tick(&mut self) -> Result<(), Error> {
        self.note_time();
        while let Some(target) = self.target() {
            let (reply, answer) = oneshot::channel();
            self.queue.push(Command::Compact(target, reply))?;
            answer.blocking_recv().map_err(|_| Error::Closed)??;
            if self.stopping() {
                return Ok(());
            }
        }
        let written = self.shared.written.load(Ordering::Relaxed);
        if written - self.checkpoint.0 >= CHECKPOINT.max(self.checkpoint.1) {
            self.checkpoint()?;
        }
        self.reclaim()
    }

    fn note_time(&mut self) {
        let revision = self.shared.revision().0;
        let now = Instant::now();
        let interval = self.retention.age / 64;
        let due = self
            .reached
            .back()
            .is_none_or(|(at, last)| *last < revision && now.duration_since(*at) >= interval);
        if due {
            self.reached.push_back((now, revision));
        }
    }

    /// The revision to compact to next, if the history kept exceeds a bound.
    fn target(&mut self) -> Option<u64> {
        let revision = self.shared.revision().0;
        let compacted = self.shared.compacted().0;
        while let Some((at, reached)) = self.reached.front() {
            if at.elapsed() < self.retention.age {
                break;
            }
            self.aged = *reached;
            self.reached.pop_front();
        }
        let mut target = self
            .aged
            .max(revision.saturating_sub(self.retention.revisions));
        if self.shared.history.bytes() > self.retention.bytes {
            target = target.max(compacted + (revision - compacted) / 8 + 1);
        }
        let target = target.min(revision).min(compacted + STEP);
        (target > compacted).then_some(target)
    }

    fn checkpoint(&mut self) -> Result<(), Error> {
        let written = self.shared.written.load(Ordering::Relaxed);
        let state = self.shared.state.load_full();
        let size = checkpoint::write(&self.shared.dir, &state)?;
        self.checkpoint = (written, size, state.segment);
        Ok(())
    }

    /// Removes the oldest segments while more than half of the log is no longer needed.
    fn reclaim(&mut self) -> Result<(), Error> {
        loop {
            let (size, kept) = self.shared.source.segments.sizes();
            if size <= kept * 2 + self.segment_bytes * 2 || self.stopping() {
                return Ok(());
            }
            let Some(segment) = self.shared.source.segments.oldest_finished() else {
                return Ok(());
            };
            if !self.carry_over(&segment)? {
                return Ok(());
            }
            // What follows in the log takes the place of what the segment says only for a reader
            // that starts behind it.
            if self.checkpoint.2 <= segment.start.id {
                self.checkpoint()?;
            }
            if self.checkpoint.2 <= segment.start.id {
                return Ok(());
            }
            recovery::remove(
                &self.shared.dir,
                &self.shared.source.segments,
                segment.start.id,
            )?;
        }
    }

    /// Copies what a segment holds of the present to the end of the log. Returns whether nothing in
    /// it is needed any more: history that is still kept stays where it is.
    fn carry_over(&mut self, segment: &Segment) -> Result<bool, Error> {
        if segment.needed() == 0 {
            return Ok(true);
        }
        let bytes = segment.read_from(0)?;
        let mut at = HEADER;
        let mut versions = Vec::new();
        loop {
            match frame::read(&bytes, at, segment.start.nonce) {
                Found::Frame(parsed) => {
                    for (offset, record) in &parsed.records {
                        if record.kind == Kind::Compacted {
                            continue;
                        }
                        let place = Place {
                            segment: segment.start.id,
                            offset: *offset as u32,
                            len: record.len,
                        };
                        match self.standing(record.key, record.revision, place) {
                            Standing::Gone => {}
                            Standing::History => return Ok(false),
                            Standing::Newest(version) => versions.push(version),
                        }
                    }
                    at = parsed.end;
                }
                Found::Nothing => break,
                Found::Invalid(why) => return Err(segment.corrupt(at as u64, why)),
            }
        }
        let mut chunk = Vec::new();
        let mut size = 0;
        let mut versions = versions.into_iter().peekable();
        while let Some(version) = versions.next() {
            size += u64::from(version.place().len);
            chunk.push(version);
            if size >= CARRY || versions.peek().is_none() {
                let (reply, answer) = oneshot::channel();
                self.queue.push(Command::Carry(
                    Carry {
                        versions: std::mem::take(&mut chunk),
                        reseal: false,
                    },
                    reply,
                ))?;
                answer.blocking_recv().map_err(|_| Error::Closed)??;
                size = 0;
                if self.stopping() {
                    return Ok(false);
                }
            }
        }
        Ok(segment.needed() == 0)
    }

    /// Whether a record is still what readers use.
    fn standing(&self, key: &str, revision: u64, place: Place) -> Standing {
        let state = self.shared.state.load();
        let Some(newest) = state.index.get(key) else {
            return Standing::Gone;
        };
        let Some(version) = newest.at(revision) else {
            return Standing::Gone;
        };
        if version.revision != revision || version.place() != place {
            Standing::Gone
        } else if Arc::ptr_eq(&version, newest) && !version.is_deleted() {
            Standing::Newest(version)
        } else {
            Standing::History
        }
    }
}

/// What a record in the log means now.
enum Standing {
    Gone,
    /// Kept by history only.
    History,
    Newest(Arc<Version>),
}
