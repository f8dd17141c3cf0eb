//! The one thread that writes. It takes all commits that wait, checks each against the state the
//! ones before it leave, writes them as one frame, makes that durable, and only then shows it.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use consort_object::{Object, Revision};
use tokio::sync::oneshot;

use crate::frame::Frame;
use crate::history::Bucket;
use crate::log::Log;
use crate::queue::{Command, Pending, Queue};
use crate::record::{self, Kind};
use crate::seal::{self, AtRest};
use crate::segment::Place;
use crate::store::{Index, Shared, State};
use crate::version::Version;
use crate::{Committed, Error, Expect, Key, Write};

/// A frame is closed when it has this size, so that the first waiters of a flood are not kept
/// waiting for its last.
const FRAME_BYTES: usize = 4 << 20;

pub(crate) struct Writer {
    shared: Arc<Shared>,
    queue: Arc<Queue>,
    log: Log,
}

/// What one frame will have done.
struct Work {
    index: Index,
    revision: u64,
    frame: Frame,
    segment: u32,
    base: u64,
    created: Vec<Arc<Version>>,
    carried: Vec<(Arc<Version>, Place)>,
    compact: u64,
    outcomes: Vec<Outcome>,
}

/// A bucket's name, the bucket, and the events a frame adds to it.
type Touched<'a> = (&'a str, Arc<Bucket>, Vec<Arc<Version>>);

/// An answer that waits for the frame to be durable.
enum Outcome {
    Committed(u64, Vec<Arc<Version>>, Pending),
    Conflict(Key, Expect, Option<Arc<Version>>, Pending),
    Refused(Error, Pending),
    Done(oneshot::Sender<Result<(), Error>>),
}

impl Writer {
    pub(crate) fn new(shared: Arc<Shared>, queue: Arc<Queue>, log: Log) -> Self {
        Self { shared, queue, log }
    }

    /// Works until the queue is closed and empty.
    pub(crate) fn run(mut self) {
        let _closing = CloseOnDrop(Arc::clone(&self.queue));
        while let Some(mut commands) = self.queue.take() {
            while !commands.is_empty() {
                self.write(&mut commands);
            }
        }
        if let Err(error) = self.log.close() {
            tracing::warn!(error = %error, "closing the log");
        }
    }

    /// Carries out as many commands as fit one frame.
    fn write(&mut self, commands: &mut VecDeque<Command>) {
        if let Some(Command::Roll(_)) = commands.front()
            && let Some(Command::Roll(reply)) = commands.pop_front()
        {
            let state = self.shared.state.load_full();
            self.log.roll();
            let rolled = self.log.ready(state.revision, self.shared.compacted().0);
            let (segment, offset) = self.log.position();
            // A checkpoint from now on needs nothing before.
            self.shared.state.store(Arc::new(State {
                index: state.index.clone(),
                revision: state.revision,
                compacted: state.compacted,
                segment,
                offset,
            }));
            drop(reply.send(rolled.map(|()| segment)));
            return;
        }
        let state = self.shared.state.load_full();
        let floor = self.shared.compacted().0;
        let ready = self.log.ready(state.revision, floor);
        let (segment, base) = self.log.position();
        let mut work = Work {
            index: state.index.clone(),
            revision: state.revision,
            frame: Frame::new(),
            segment,
            base,
            created: Vec::new(),
            carried: Vec::new(),
            compact: floor,
            outcomes: Vec::with_capacity(commands.len()),
        };
        while work.frame.len() < FRAME_BYTES {
            if matches!(commands.front(), None | Some(Command::Roll(_))) {
                break;
            }
            let Some(command) = commands.pop_front() else {
                break;
            };
            work.stage(command, &self.shared);
        }
        let written = ready.and_then(|()| {
            if work.frame.is_empty() {
                return Ok(());
            }
            work.frame
                .finish(self.log.nonce(), state.revision + 1, work.revision);
            self.log.append(&work.frame)
        });
        match written {
            Ok(()) => self.publish(work, floor),
            Err(error) => {
                tracing::error!(error = %error, "a commit failed");
                for outcome in work.outcomes {
                    outcome.fail(&error);
                }
            }
        }
    }

    /// Shows what has become durable, then answers.
    fn publish(&self, mut work: Work, floor: u64) {
        let shared = &self.shared;
        let len = work.frame.len() as u64;
        shared.written.fetch_add(len, Ordering::Relaxed);
        for (version, place) in work.carried {
            let old = version.place();
            version.set_place(place);
            shared.source.segments.keep(place);
            shared.source.segments.release(old);
        }
        let buckets = self.record(&work.created);
        let (segment, offset) = self.log.position();
        let revision = work.revision;
        let compacted = work.compact;
        let state = |index| {
            Arc::new(State {
                index,
                revision,
                compacted,
                segment,
                offset,
            })
        };
        shared.state.store(state(work.index.clone()));
        for bucket in &buckets {
            bucket.announce(revision);
        }
        if !buckets.is_empty() {
            shared.history.broad().send_replace(revision);
        }
        // Commits are answered before history they may still need is dropped.
        let mut done = Vec::new();
        for outcome in work.outcomes {
            match outcome {
                Outcome::Done(reply) => done.push(reply),
                commit => commit.answer(shared),
            }
        }
        if compacted > floor {
            self.compact(compacted, &mut work.index);
            shared.state.store(state(work.index));
        }
        for reply in done {
            drop(reply.send(Ok(())));
        }
    }

    /// Enters new versions into history, cache and counts. Returns the buckets they belong to.
    fn record(&self, created: &[Arc<Version>]) -> Vec<Arc<Bucket>> {
        let source = &self.shared.source;
        let mut buckets: Vec<Touched<'_>> = Vec::new();
        for version in created {
            source.segments.keep(version.place());
            version.enter(source);
            if let Some(previous) = version.previous() {
                previous.supersede(source);
            }
            let name = version.key.bucket();
            let at = buckets
                .iter()
                .position(|(have, ..)| *have == name)
                .unwrap_or_else(|| {
                    buckets.push((name, self.shared.history.bucket(name), Vec::new()));
                    buckets.len() - 1
                });
            let (_, bucket, events) = &mut buckets[at];
            match version.kind {
                Kind::Created => bucket.appeared(&version.key),
                Kind::Deleted => bucket.disappeared(&version.key),
                Kind::Updated | Kind::Compacted => {}
            }
            events.push(Arc::clone(version));
        }
        buckets
            .into_iter()
            .map(|(_, bucket, events)| {
                self.shared.history.push(&bucket, events.into_iter());
                bucket
            })
            .collect()
    }

    /// Drops history up to `upto`; what it costs follows the number of events dropped.
    fn compact(&self, upto: u64, index: &mut Index) {
        self.shared.compact_to(upto);
        drop_events(self.shared.history.drain(upto), index, |place| {
            self.shared.source.segments.release(place);
        });
    }
}

/// Should the writer ever panic, nobody is left waiting for it.
struct CloseOnDrop(Arc<Queue>);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        self.0.close();
        self.0.clear();
    }
}

/// Takes events that are no longer kept out of the versions' chains and the index.
pub(crate) fn drop_events(
    mut events: Vec<Arc<Version>>,
    index: &mut Index,
    release: impl Fn(Place),
) {
    events.sort_by_key(|event| event.revision);
    for event in events {
        if let Some(previous) = event.cut() {
            release(previous.place());
        }
        if event.is_deleted()
            && index
                .get(event.key.as_str())
                .is_some_and(|newest| Arc::ptr_eq(newest, &event))
        {
            index.remove(event.key.as_str());
            release(event.place());
        }
    }
}

impl Work {
    fn stage(&mut self, command: Command, shared: &Shared) {
        match command {
            Command::Commit(mut pending) => {
                let writes = std::mem::take(&mut pending.writes);
                let outcome = self.commit(writes, shared);
                self.outcomes.push(match outcome {
                    Ok((revision, versions)) => Outcome::Committed(revision, versions, pending),
                    Err(Refusal::Conflict(key, expect, found)) => {
                        Outcome::Conflict(key, expect, found, pending)
                    }
                    Err(Refusal::Transform(error)) => Outcome::Refused(error, pending),
                });
            }
            Command::Compact(upto, reply) => {
                let upto = upto.min(self.revision);
                // The same again is noted too: the end of a rewritten log is marked by it.
                if upto >= self.compact {
                    self.compact = upto;
                    let kind = (Kind::Compacted, false, 0);
                    self.frame.push(kind, upto, 0, "", |_| {}, Bytes::new());
                }
                self.outcomes.push(Outcome::Done(reply));
            }
            // Carried out before anything is staged.
            Command::Roll(reply) => drop(reply.send(Err(Error::Closed))),
            Command::Carry(carry, reply) => {
                let carried = carry
                    .versions
                    .iter()
                    .try_for_each(|version| self.carry(version, carry.reseal, shared));
                match carried {
                    Ok(()) => self.outcomes.push(Outcome::Done(reply)),
                    Err(error) => drop(reply.send(Err(error))),
                }
            }
        }
    }

    fn commit(
        &mut self,
        writes: Vec<Write>,
        shared: &Shared,
    ) -> Result<(u64, Vec<Arc<Version>>), Refusal> {
        for write in &writes {
            let key = write.key();
            let found = self
                .index
                .get(key.as_str())
                .filter(|version| !version.is_deleted());
            let holds = match (write.expect(), found) {
                (Expect::Any, None) => matches!(write, Write::Put { .. }),
                (Expect::Any, Some(_)) => true,
                (Expect::Absent, found) => found.is_none() && matches!(write, Write::Put { .. }),
                (Expect::At(revision), found) => found.is_some_and(|v| v.revision == revision.0),
            };
            if !holds {
                return Err(Refusal::Conflict(
                    key.clone(),
                    write.expect(),
                    found.cloned(),
                ));
            }
        }
        let revision = self.revision + 1;
        let transform = shared.source.transform.as_deref();
        let mut staged = Vec::with_capacity(writes.len());
        for write in writes {
            staged.push(match write {
                Write::Put { key, draft, .. } => {
                    let revision_at = draft.revision_at() as u32;
                    let object = draft.into_sealed(Revision(revision));
                    let mut head = Vec::with_capacity(256);
                    object.head.encode(&mut head);
                    let at_rest = seal::sealed(&key, head, &object.json, transform)
                        .map_err(Refusal::Transform)?;
                    (key, Some((object, revision_at, at_rest)))
                }
                Write::Delete { key, .. } => (key, None),
            });
        }
        self.revision = revision;
        let versions = staged
            .into_iter()
            .map(|(key, put)| self.add(revision, key, put))
            .collect();
        Ok((revision, versions))
    }

    fn add(&mut self, revision: u64, key: Key, put: Option<(Object, u32, AtRest)>) -> Arc<Version> {
        let previous = self.index.get(key.as_str()).cloned();
        // One text for all versions of a key.
        let key = previous
            .as_ref()
            .map_or(key, |previous| previous.key.clone());
        let exists = previous
            .as_ref()
            .is_some_and(|previous| !previous.is_deleted());
        let (kind, revision_at, object, (offset, len)) = if let Some((object, at, at_rest)) = put {
            let kind = if exists { Kind::Updated } else { Kind::Created };
            let spot = self.frame.push(
                (kind, false, at_rest.flags),
                revision,
                at,
                key.as_str(),
                |out| out.extend_from_slice(&at_rest.head),
                at_rest.value,
            );
            (kind, at, Some(object), spot)
        } else {
            let kind = (Kind::Deleted, false, 0);
            let spot = self
                .frame
                .push(kind, revision, 0, key.as_str(), |_| {}, Bytes::new());
            (Kind::Deleted, 0, None, spot)
        };
        let place = self.place(offset, len);
        let version = Version::new(
            key.clone(),
            revision,
            kind,
            revision_at,
            place,
            previous,
            object,
        );
        self.index.insert(key, Arc::clone(&version));
        self.created.push(Arc::clone(&version));
        version
    }

    fn carry(
        &mut self,
        version: &Arc<Version>,
        reseal: bool,
        shared: &Shared,
    ) -> Result<(), Error> {
        let newest = self.index.get(version.key.as_str());
        if !newest.is_some_and(|newest| Arc::ptr_eq(newest, version)) {
            return Ok(());
        }
        let place = version.place();
        let Some(segment) = shared.source.segments.get(place.segment) else {
            return Ok(());
        };
        let bytes = Bytes::from(segment.read(place)?);
        let old = record::decode(&bytes)
            .map_err(|detail| segment.corrupt(u64::from(place.offset), detail))?;
        let transform = shared.source.transform.as_deref();
        let sealed = (old.flags & record::SEALED != 0).then_some(old.value);
        let at_rest = match transform {
            Some(transform) if reseal && transform.stale(&version.key, sealed) => {
                let (head, json) = seal::opened(&old, &bytes, &version.key, Some(transform))?;
                seal::sealed(&version.key, head.to_vec(), &json, Some(transform))?
            }
            _ => AtRest {
                flags: old.flags,
                head: old.head.to_vec(),
                value: bytes.slice_ref(old.value),
            },
        };
        let (offset, len) = self.frame.push(
            (old.kind, true, at_rest.flags),
            old.revision,
            old.revision_at,
            old.key,
            |out| out.extend_from_slice(&at_rest.head),
            at_rest.value,
        );
        self.carried
            .push((Arc::clone(version), self.place(offset, len)));
        Ok(())
    }

    fn place(&self, offset: u64, len: u32) -> Place {
        Place {
            segment: self.segment,
            offset: (self.base + offset) as u32,
            len,
        }
    }
}

/// Why a commit does not happen.
enum Refusal {
    Conflict(Key, Expect, Option<Arc<Version>>),
    Transform(Error),
}

impl Outcome {
    fn answer(self, shared: &Shared) {
        // Whoever asked may have gone; that changes nothing.
        match self {
            Self::Committed(revision, versions, pending) => {
                let objects = versions
                    .iter()
                    .map(|version| version.object(&shared.source).ok())
                    .collect();
                let committed = Committed {
                    revision: Revision(revision),
                    objects,
                };
                drop(pending.reply.send(Ok(committed)));
            }
            Self::Conflict(key, expected, found, pending) => {
                let found = found
                    .map(|version| version.object(&shared.source))
                    .transpose();
                drop(pending.reply.send(Err(match found {
                    Ok(found) => Error::Conflict {
                        key,
                        expected,
                        found: found.map(Box::new),
                    },
                    Err(error) => error,
                })));
            }
            Self::Refused(error, pending) => drop(pending.reply.send(Err(error))),
            Self::Done(reply) => drop(reply.send(Ok(()))),
        }
    }

    fn fail(self, error: &Error) {
        match self {
            Self::Committed(_, _, pending)
            | Self::Conflict(_, _, _, pending)
            | Self::Refused(_, pending) => drop(pending.reply.send(Err(again(error)))),
            Self::Done(reply) => drop(reply.send(Err(again(error)))),
        }
    }
}

/// The same failure of the log for another waiter.
fn again(error: &Error) -> Error {
    match error {
        Error::Full { path } => Error::Full { path: path.clone() },
        Error::Io {
            doing,
            path,
            source,
        } => Error::Io {
            doing,
            path: path.clone(),
            source: source
                .raw_os_error()
                .map_or_else(|| source.kind().into(), io::Error::from_raw_os_error),
        },
        other => Error::Failed {
            detail: other.to_string(),
        },
    }
}
