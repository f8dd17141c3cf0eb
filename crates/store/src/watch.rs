//! Following what is written, from any revision that history still keeps.

use std::sync::Arc;

use consort_object::{Encodings, Object, Revision};
use tokio::sync::watch;

use crate::history::Bucket;
use crate::key::bucket_of;
use crate::store::Shared;
use crate::version::Version;
use crate::{Error, Key};

/// Most events of one batch, unless one commit has more.
const BATCH: usize = 256;

/// What happened to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Change {
    /// It did not exist before.
    Created,
    /// It was replaced.
    Updated,
    /// It was removed.
    Deleted,
}

/// One write to one object. All watchers share it.
#[derive(Debug)]
pub struct Event {
    /// Revision of the commit; several events have the same when they were one commit.
    pub revision: Revision,
    /// The object's key.
    pub key: Key,
    /// The state written; for a deletion the last state with the deletion's revision.
    pub object: Object,
    /// The state before, except for a creation.
    pub previous: Option<Object>,
    /// What happened.
    pub kind: Change,
    /// What a server sends for this event in its several forms, made once for all its watchers.
    pub lines: Encodings,
}

/// Events in order.
#[derive(Debug)]
pub struct Batch {
    /// The events; never a part of a commit's events under the watch's prefix.
    pub events: Vec<Arc<Event>>,
    /// All events under the prefix up to here have been given out: a watch can be taken up again
    /// from this revision.
    pub upto: Revision,
}

/// Follows the writes under a prefix. Dropping it ends it.
pub struct Watch {
    shared: Arc<Shared>,
    prefix: Box<str>,
    after: u64,
    changed: watch::Receiver<u64>,
    /// `None` for a prefix wider than one bucket.
    bucket: Option<Arc<Bucket>>,
}

impl Watch {
    pub(crate) fn new(shared: Arc<Shared>, prefix: &str, after: Revision) -> Result<Self, Error> {
        let bucket = bucket_of(prefix).map(|name| shared.history.bucket(name));
        let changed = match &bucket {
            Some(bucket) => bucket.subscribe(),
            None => shared.history.broad().subscribe(),
        };
        let watch = Self {
            prefix: prefix.into(),
            after: after.0,
            changed,
            bucket,
            shared,
        };
        let now = watch.shared.revision();
        if after > now {
            return Err(Error::Future { asked: after, now });
        }
        let oldest = watch.shared.compacted();
        if after < oldest {
            return Err(Error::Compacted {
                asked: after,
                oldest,
            });
        }
        Ok(watch)
    }

    /// Waits for the next events. Dropping the future loses nothing.
    ///
    /// # Errors
    ///
    /// [`Error::Lagged`] when compaction overtook this watcher, [`Error::Closed`] when the store was
    /// closed: the watch is over. An error in reading values ([`Error::Io`], [`Error::Corrupt`]) may
    /// pass; the next call tries again at the same place.
    pub async fn next(&mut self) -> Result<Batch, Error> {
        let closed = self.shared.closed.clone();
        loop {
            // Marked before looking, so that a write in between wakes the wait below.
            self.changed.borrow_and_update();
            let batch = self.take()?;
            if !batch.events.is_empty() {
                return Ok(batch);
            }
            tokio::select! {
                changed = self.changed.changed() => changed.map_err(|_| Error::Closed)?,
                () = closed.cancelled() => return Err(Error::Closed),
            }
        }
    }

    /// Events that are there already, perhaps none, without waiting.
    ///
    /// # Errors
    ///
    /// As [`next`](Self::next).
    pub fn take(&mut self) -> Result<Batch, Error> {
        let upto = self.shared.revision().0;
        let mut versions = Vec::new();
        let seen = self
            .collect(upto, BATCH, &mut versions)
            .ok_or_else(|| self.lagged())?;
        let events: Result<Vec<_>, _> = versions
            .iter()
            .map(|version| version.event(&self.shared.source))
            .collect();
        // Looked at again: had compaction come between, a previous state might be missing.
        let buckets = self.shared.history.under(&self.prefix);
        if buckets
            .iter()
            .any(|bucket| bucket.dropped_after(self.after))
        {
            return Err(self.lagged());
        }
        let events = events?;
        self.after = seen;
        Ok(Batch {
            events,
            upto: Revision(seen),
        })
    }

    /// The revision up to which all events have been given out. When none is waiting, that is the
    /// store's present revision: what a bookmark on a quiet watch carries.
    pub fn progress(&mut self) -> Revision {
        let upto = self.shared.revision().0;
        if self.after < upto {
            let mut waiting = Vec::new();
            let seen = self.collect(upto, 1, &mut waiting);
            if seen.is_some() && waiting.is_empty() {
                self.after = upto;
            }
        }
        Revision(self.after)
    }

    /// Appends waiting events; returns how far it has looked, or `None` when some are gone.
    fn collect(&self, upto: u64, limit: usize, out: &mut Vec<Arc<Version>>) -> Option<u64> {
        if let Some(bucket) = &self.bucket {
            return bucket.collect(&self.prefix, self.after, upto, limit, out);
        }
        let mut seen = upto;
        for bucket in self.shared.history.under(&self.prefix) {
            // What one bucket could not show in full bounds what the others need to show.
            seen = bucket.collect(&self.prefix, self.after, seen, limit, out)?;
        }
        out.retain(|version| version.revision <= seen);
        out.sort_by_key(|version| version.revision);
        Some(seen)
    }

    fn lagged(&self) -> Error {
        Error::Lagged {
            oldest: self.shared.compacted(),
        }
    }
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch")
            .field("prefix", &self.prefix)
            .field("after", &self.after)
            .finish_non_exhaustive()
    }
}
