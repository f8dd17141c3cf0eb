//! The store as others see it.

use std::ops::Bound;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use consort_object::{Object, Revision, Selectable};
use imbl::OrdMap;
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::backup::{self, Backup};
use crate::cache::Cache;
use crate::history::{Bucket, History};
use crate::keeper::{Keeper, Order};
use crate::key::bucket_of;
use crate::lock::Lock;
use crate::log::Log;
use crate::queue::{Carry, Command, Pending, Queue};
use crate::record;
use crate::recovery::{self, Recovered};
use crate::scan::Scan;
use crate::version::{Source, Version};
use crate::watch::Watch;
use crate::writer::Writer;
use crate::{Committed, Error, Key, Options, Write, checkpoint};

/// Newest version of each key, deletions included while history keeps them.
pub(crate) type Index = OrdMap<Key, Arc<Version>>;

/// How many keys after a page are counted at most.
const COUNTED: usize = 10_000;

/// Revisions dropped at a time, so that a large compaction does not hold writes up.
const STEP: u64 = 20_000;

/// The durable state at one moment. Readers take it whole and keep it as long as they like.
pub(crate) struct State {
    pub(crate) index: Index,
    pub(crate) revision: u64,
    /// History is dropped up to here, or is about to be.
    pub(crate) compacted: u64,
    /// Where the log ends at this state.
    pub(crate) segment: u32,
    pub(crate) offset: u64,
}

/// What readers, watchers and the threads share.
pub(crate) struct Shared {
    pub(crate) dir: PathBuf,
    pub(crate) state: ArcSwap<State>,
    compacted: AtomicU64,
    pub(crate) history: History,
    pub(crate) source: Source,
    pub(crate) closed: CancellationToken,
    /// Bytes of log that opening would have to read without a newer checkpoint than the one it found.
    pub(crate) written: AtomicU64,
}

impl Shared {
    pub(crate) fn revision(&self) -> Revision {
        Revision(self.state.load().revision)
    }

    pub(crate) fn compacted(&self) -> Revision {
        Revision(self.compacted.load(Ordering::Acquire))
    }

    pub(crate) fn compact_to(&self, revision: u64) {
        self.compacted.store(revision, Ordering::Release);
    }
}

/// A revisioned object store in one directory. Cloning gives another handle; when the last is
/// dropped the store is closed.
///
/// Reads do not wait for writes, and see only what is durable. A read of a value that is not in
/// memory reads the disk, in the calling thread.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
    queue: Arc<Queue>,
    threads: Arc<Threads>,
    max_commit_bytes: usize,
}

/// The store's threads and what must outlive them.
struct Threads {
    running: Mutex<Option<Running>>,
    shared: Arc<Shared>,
    queue: Arc<Queue>,
}

struct Running {
    keeper: Keeper,
    writer: std::thread::JoinHandle<()>,
    lock: Lock,
}

/// What selects objects by their heads.
pub type Filter<'f> = &'f mut dyn FnMut(&dyn Selectable) -> bool;

/// A part of a list.
#[derive(Clone, Debug)]
pub struct Page {
    /// The objects, in order of their keys.
    pub objects: Vec<Object>,
    /// The revision at which all of them were read.
    pub revision: Revision,
    /// When there may be more: the key to go on after, at the same revision.
    pub next: Option<Key>,
    /// With `next`: how many objects under the prefix follow, whatever the filter says. `None` when
    /// they are more than ten thousand.
    pub remaining: Option<usize>,
}

impl Store {
    /// Opens the store in a directory, or makes one there, and recovers from a crash if there was
    /// one. Does its reading in the calling thread.
    ///
    /// # Errors
    ///
    /// [`Error::Locked`] when another process has it open, [`Error::Corrupt`] when durable data is
    /// damaged, [`Error::Full`] and [`Error::Io`].
    pub fn open(options: Options) -> Result<Self, Error> {
        let dir = options.dir;
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&dir)
            .map_err(|e| Error::io("creating", &dir, e))?;
        let lock = Lock::take(&dir)?;
        let recovered = recovery::recover(&dir)?;
        let Recovered {
            segments,
            active,
            end,
            prepared,
            revision,
            compacted,
            ..
        } = recovered;
        let segment = active.start.id;
        let log = Log::resume(
            dir.clone(),
            Arc::clone(&segments),
            active,
            end,
            prepared,
            options.segment_bytes.clamp(4096, 1 << 30),
        )?;
        let history = History::new();
        fill(&history, &recovered.index, recovered.history);
        let state = State {
            index: recovered.index,
            revision,
            compacted,
            segment,
            offset: end,
        };
        let shared = Arc::new(Shared {
            dir,
            state: ArcSwap::from_pointee(state),
            compacted: AtomicU64::new(compacted),
            history,
            source: Source {
                segments,
                cache: Cache::new(options.cache_bytes, options.head_bytes),
                transform: options.transform,
            },
            closed: CancellationToken::new(),
            written: AtomicU64::new(recovered.replayed),
        });
        // Twice the largest commit fits, and at least what a burst of writers has.
        let queue = Arc::new(Queue::new((options.max_commit_bytes * 2).max(64 << 20)));
        let writer = Writer::new(Arc::clone(&shared), Arc::clone(&queue), log);
        let spawn = |name: &str, run: Box<dyn FnOnce() + Send>| {
            std::thread::Builder::new()
                .name(name.to_owned())
                .spawn(run)
                .map_err(|e| Error::io("starting a thread for", &shared.dir, e))
        };
        let keeper = Keeper::start(
            Arc::clone(&shared),
            Arc::clone(&queue),
            options.retention,
            options.segment_bytes,
            options.upkeep,
        )?;
        let writer = spawn("store-writer", Box::new(move || writer.run()))?;
        let threads = Threads {
            running: Mutex::new(Some(Running {
                keeper,
                writer,
                lock,
            })),
            shared: Arc::clone(&shared),
            queue: Arc::clone(&queue),
        };
        let max_commit_bytes = options.max_commit_bytes;
        Ok(Self {
            shared,
            queue,
            threads: Arc::new(threads),
            max_commit_bytes,
        })
    }

    /// Carries out all writes as one revision, or none of them. Returns when they are durable.
    /// No writes at all give the present revision. Dropping the future does not take the commit
    /// back once it was queued.
    ///
    /// # Errors
    ///
    /// [`Error::Conflict`], [`Error::Repeated`], [`Error::TooLarge`] and [`Error::Transform`] for this
    /// commit alone; [`Error::Full`] and [`Error::Io`] when the disk refused; [`Error::Failed`] and
    /// [`Error::Closed`] when no commit will succeed any more.
    pub async fn commit(&self, writes: Vec<Write>) -> Result<Committed, Error> {
        let size = self.check(&writes)?;
        if writes.is_empty() {
            return Ok(Committed {
                revision: self.revision(),
                objects: Vec::new(),
            });
        }
        let room = self.queue.room(size).await?;
        let (reply, answer) = oneshot::channel();
        self.queue.push(Command::Commit(Pending {
            writes,
            reply,
            _room: room,
        }))?;
        answer.await.map_err(|_| Error::Closed)?
    }

    fn check(&self, writes: &[Write]) -> Result<usize, Error> {
        let mut size = 0;
        for write in writes {
            size += write.key().as_str().len() + 128;
            if let Write::Put { draft, .. } = write {
                size += draft.len();
            }
        }
        if size > self.max_commit_bytes {
            return Err(Error::TooLarge {
                size,
                limit: self.max_commit_bytes,
            });
        }
        if writes.len() > 1 {
            let mut keys: Vec<_> = writes.iter().map(Write::key).collect();
            keys.sort_unstable();
            if let Some(pair) = keys.windows(2).find(|pair| pair[0] == pair[1]) {
                return Err(Error::Repeated {
                    key: pair[0].clone(),
                });
            }
        }
        Ok(size)
    }

    /// The present state of an object.
    ///
    /// # Errors
    ///
    /// [`Error::Io`], [`Error::Corrupt`] and [`Error::Transform`] when its value cannot be read.
    pub fn get(&self, key: &Key) -> Result<Option<Object>, Error> {
        let state = self.shared.state.load();
        match state.index.get(key.as_str()) {
            Some(version) if !version.is_deleted() => {
                let version = Arc::clone(version);
                drop(state);
                version.object(&self.shared.source).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// The state of an object at a revision.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get), and [`Error::Future`], [`Error::Compacted`] when history does not have
    /// that revision.
    pub fn get_at(&self, key: &Key, at: Revision) -> Result<Option<Object>, Error> {
        let state = self.shared.state.load_full();
        self.kept(at, state.revision)?;
        let version = state
            .index
            .get(key.as_str())
            .and_then(|newest| newest.at(at.0));
        let object = match version.filter(|version| !version.is_deleted()) {
            Some(version) => Some(version.object(&self.shared.source)?),
            None => None,
        };
        self.kept(at, state.revision)?;
        Ok(object)
    }

    /// Lists the objects whose keys start with a prefix, in order of keys, as they all were at one
    /// revision: `at`, or the present one. `after` and `limit` make it a page; `filter` selects by
    /// head.
    ///
    /// # Errors
    ///
    /// As [`get_at`](Self::get_at).
    pub fn range(
        &self,
        prefix: &str,
        after: Option<&Key>,
        limit: Option<usize>,
        at: Option<Revision>,
        mut filter: impl FnMut(&dyn Selectable) -> bool,
    ) -> Result<Page, Error> {
        let scan = self.scan(prefix, after, limit, at, Some(&mut filter))?;
        Ok(Page {
            objects: (0..scan.len())
                .map(|at| scan.object(at))
                .collect::<Result<_, _>>()?,
            revision: scan.revision,
            remaining: match (&scan.next, scan.remaining) {
                (Some(next), None) => self.following(prefix, next, scan.revision)?,
                (_, remaining) => remaining,
            },
            next: scan.next,
        })
    }

    /// As [`range`](Self::range), without reading the objects yet: a list that is sent while it is
    /// read. Without a filter nothing but the index is looked at.
    ///
    /// # Errors
    ///
    /// As [`get_at`](Self::get_at).
    pub fn scan(
        &self,
        prefix: &str,
        after: Option<&Key>,
        limit: Option<usize>,
        at: Option<Revision>,
        mut filter: Option<Filter<'_>>,
    ) -> Result<Scan, Error> {
        let state = self.shared.state.load_full();
        let revision = at.unwrap_or(Revision(state.revision));
        self.kept(revision, state.revision)?;
        let limit = limit.unwrap_or(usize::MAX);
        let source = &self.shared.source;
        let mut chosen: Vec<Arc<Version>> = Vec::new();
        let mut more = None;
        let mut passed_over = None;
        let all = visible(&state.index, prefix, after, revision.0);
        for (looked_at, version) in all.enumerate() {
            if chosen.len() >= limit {
                // Of a first page, and of the present, the number is known without counting.
                let first = after.is_none() && revision.0 == state.revision;
                let remaining = first
                    .then(|| self.known(prefix))
                    .flatten()
                    .map(|known| known.saturating_sub(looked_at));
                let last = passed_over
                    .or_else(|| chosen.last().map(|version| version.key.clone()))
                    .or_else(|| after.cloned());
                more = last.map(|next| (next, remaining));
                break;
            }
            let wanted = match &mut filter {
                Some(filter) => version.selected(source, filter)?,
                None => true,
            };
            if wanted {
                chosen.push(version);
                passed_over = None;
            } else if limit < usize::MAX {
                passed_over = Some(version.key.clone());
            }
        }
        let pinned = source.segments.pin();
        // Looked at again: compaction may have taken older versions away meanwhile. What was read at
        // the newest revision of the snapshot does not depend on them.
        if revision.0 < state.revision {
            self.kept(revision, state.revision)?;
        }
        let mut scan = Scan::new(Arc::clone(&self.shared), pinned, chosen, revision);
        if let Some((next, remaining)) = more {
            scan.next = Some(next);
            scan.remaining = remaining;
        }
        Ok(scan)
    }

    /// How many objects under a prefix come after a key, as they were at one revision. `None` when
    /// they are more than ten thousand, for each is counted.
    ///
    /// # Errors
    ///
    /// As [`get_at`](Self::get_at).
    pub fn following(
        &self,
        prefix: &str,
        after: &Key,
        at: Revision,
    ) -> Result<Option<usize>, Error> {
        let state = self.shared.state.load_full();
        self.kept(at, state.revision)?;
        let count = visible(&state.index, prefix, Some(after), at.0)
            .take(COUNTED + 1)
            .count();
        Ok((count <= COUNTED).then_some(count))
    }

    /// Number of objects whose keys start with a prefix now. For a whole resource
    /// (`/{group}/{plural}/`) and for one of its namespaces it is known; otherwise it is counted.
    pub fn count(&self, prefix: &str) -> usize {
        self.known(prefix).unwrap_or_else(|| {
            let state = self.shared.state.load_full();
            visible(&state.index, prefix, None, state.revision).count()
        })
    }

    /// The number of objects under a prefix, where it is kept.
    fn known(&self, prefix: &str) -> Option<usize> {
        let bucket = bucket_of(prefix)?;
        let namespace = match &prefix[bucket.len()..] {
            "" => None,
            rest => Some(rest.strip_suffix('/').filter(|name| !name.contains('/'))?),
        };
        let count = |bucket: Arc<Bucket>| bucket.live(namespace);
        Some(self.shared.history.existing(bucket).map_or(0, count))
    }

    /// Follows the writes under a prefix after a revision. Prefixes of at least
    /// `/{group}/{plural}/` cost nothing while other resources are written.
    ///
    /// # Errors
    ///
    /// [`Error::Compacted`] when history does not go back that far, [`Error::Future`].
    pub fn watch(&self, prefix: &str, after: Revision) -> Result<Watch, Error> {
        Watch::new(Arc::clone(&self.shared), prefix, after)
    }

    /// The revision of the last commit; 0 for a new store.
    pub fn revision(&self) -> Revision {
        self.shared.revision()
    }

    /// Waits until a revision is there.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`] when the store is closed first.
    pub async fn reached(&self, revision: Revision) -> Result<(), Error> {
        let mut changed = self.shared.history.broad().subscribe();
        while self.revision() < revision {
            tokio::select! {
                changed = changed.changed() => changed.map_err(|_| Error::Closed)?,
                () = self.shared.closed.cancelled() => return Err(Error::Closed),
            }
        }
        Ok(())
    }

    /// The oldest revision that can be read at and watched from.
    pub fn compacted(&self) -> Revision {
        self.shared.compacted()
    }

    /// Drops the history before a revision. States at that revision and later stay readable.
    /// Returns when that is durable.
    ///
    /// # Errors
    ///
    /// [`Error::Future`]; otherwise as [`commit`](Self::commit).
    pub async fn compact(&self, revision: Revision) -> Result<(), Error> {
        let now = self.revision();
        if revision > now {
            return Err(Error::Future {
                asked: revision,
                now,
            });
        }
        while self.compacted() < revision {
            let step = (self.compacted().0 + STEP).min(revision.0);
            let (reply, answer) = oneshot::channel();
            self.queue.push(Command::Compact(step, reply))?;
            answer.await.map_err(|_| Error::Closed)??;
        }
        Ok(())
    }

    /// Drops all history, rewrites what is left and removes every file it was in: what remains on disk is
    /// the present state. Watchers that are behind have to list again. Returns when it is durable.
    ///
    /// # Errors
    ///
    /// As [`commit`](Self::commit), and [`Error::Busy`].
    pub async fn shrink(&self) -> Result<(), Error> {
        let (reply, answer) = oneshot::channel();
        match &*self.threads.running.lock() {
            Some(running) => running.keeper.order(Order::Shrink(reply))?,
            None => return Err(Error::Closed),
        }
        answer.await.map_err(|_| Error::Closed)?
    }

    /// Writes anew every object that the [`Transform`](crate::Transform) would seal in another way now;
    /// objects and revisions stay as they are. Returns how many there were. What was written before
    /// stays on disk until [`shrink`](Self::shrink) or time takes it away.
    ///
    /// # Errors
    ///
    /// As [`commit`](Self::commit), and [`Error::Corrupt`], [`Error::Transform`] for an object that cannot be
    /// read.
    pub async fn reseal(&self) -> Result<u64, Error> {
        /// Bytes rewritten at a time, so that commits get between.
        const CHUNK: u64 = 1 << 20;
        let Some(transform) = self.shared.source.transform.clone() else {
            return Ok(0);
        };
        let (shared, queue) = (Arc::clone(&self.shared), Arc::clone(&self.queue));
        let work = tokio::task::spawn_blocking(move || {
            let state = shared.state.load_full();
            let (mut chunk, mut size, mut count) = (Vec::new(), 0, 0);
            let mut rest = state.index.values().peekable();
            while let Some(version) = rest.next() {
                if !version.is_deleted() {
                    let (place, bytes) = version.record(&shared.source, None)?;
                    let record = record::decode(&bytes).ok();
                    let sealed = record.map(|r| (r.flags & record::SEALED != 0).then_some(r.value));
                    if sealed.is_some_and(|sealed| transform.stale(&version.key, sealed)) {
                        // What takes its time, an external key manager, does so here: the writer finds
                        // the key known.
                        if let Some(Some(sealed)) = sealed {
                            let refused = |detail| Error::Transform {
                                key: version.key.clone(),
                                detail,
                            };
                            transform.open(&version.key, sealed).map_err(refused)?;
                        }
                        chunk.push(Arc::clone(version));
                        size += u64::from(place.len);
                        count += 1;
                    }
                }
                if size >= CHUNK || (rest.peek().is_none() && !chunk.is_empty()) {
                    let (reply, answer) = oneshot::channel();
                    queue.push(Command::Carry(
                        Carry {
                            versions: std::mem::take(&mut chunk),
                            reseal: true,
                        },
                        reply,
                    ))?;
                    answer.blocking_recv().map_err(|_| Error::Closed)??;
                    size = 0;
                }
            }
            Ok(count)
        });
        work.await.map_err(|_| Error::Closed)?
    }

    /// Whether an object on disk would be sealed in another way now, so that writing it again is
    /// worth it even if nothing else changes.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] and [`Error::Corrupt`].
    pub fn stale(&self, key: &Key) -> Result<bool, Error> {
        let Some(transform) = &self.shared.source.transform else {
            return Ok(false);
        };
        let state = self.shared.state.load();
        let Some(version) = state.index.get(key.as_str()).filter(|v| !v.is_deleted()) else {
            return Ok(false);
        };
        let (_, bytes) = version.record(&self.shared.source, None)?;
        let record = record::decode(&bytes).ok();
        let sealed = record.map(|r| (r.flags & record::SEALED != 0).then_some(r.value));
        Ok(sealed.is_some_and(|sealed| transform.stale(key, sealed)))
    }

    /// Writes the state at the present revision to `out`, while the store goes on working. Reads the disk
    /// in the calling thread. [`restore`](crate::restore) makes a store of it again.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] when `out` refuses; [`Error::Corrupt`] when an object cannot be read.
    pub fn backup(&self, out: impl std::io::Write) -> Result<Backup, Error> {
        backup::write(&self.shared, out)
    }

    /// Ends all watches, carries out the commits that wait, and closes the files. Other handles get
    /// [`Error::Closed`] from then on for writes; reads go on working.
    pub async fn close(self) {
        let threads = Arc::clone(&self.threads);
        let closing = tokio::task::spawn_blocking(move || threads.stop());
        if let Err(error) = closing.await {
            tracing::error!(error = %error, "closing the store");
        }
    }

    /// An error unless history has the revision.
    fn kept(&self, asked: Revision, now: u64) -> Result<(), Error> {
        let oldest = self.compacted();
        if asked.0 > now {
            Err(Error::Future {
                asked,
                now: Revision(now),
            })
        } else if asked < oldest {
            Err(Error::Compacted { asked, oldest })
        } else {
            Ok(())
        }
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store")
            .field("dir", &self.shared.dir)
            .field("revision", &self.revision())
            .finish_non_exhaustive()
    }
}

impl Threads {
    fn stop(&self) {
        let Some(Running {
            keeper,
            writer,
            lock,
        }) = self.running.lock().take()
        else {
            return;
        };
        self.shared.closed.cancel();
        keeper.stop();
        self.queue.close();
        if writer.join().is_err() {
            tracing::error!("the store's writer panicked");
        } else {
            self.last_checkpoint();
        }
        drop(lock);
    }

    /// Makes the next opening short. Nothing is lost when it fails.
    fn last_checkpoint(&self) {
        const WORTH_IT: u64 = 256 << 10;
        if self.shared.written.load(Ordering::Relaxed) < WORTH_IT {
            return;
        }
        let state = self.shared.state.load_full();
        if let Err(error) = checkpoint::write(&self.shared.dir, &state) {
            tracing::warn!(error = %error, "writing the index");
        }
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The versions under a prefix that show at a revision, in order of keys.
fn visible<'a>(
    index: &'a Index,
    prefix: &'a str,
    after: Option<&'a Key>,
    at: u64,
) -> impl Iterator<Item = Arc<Version>> + 'a {
    let start = match after {
        Some(key) if key.as_str() >= prefix => Bound::Excluded(key.as_str()),
        _ => Bound::Included(prefix),
    };
    index
        .range::<_, str>((start, Bound::Unbounded))
        .take_while(move |(key, _)| key.as_str().starts_with(prefix))
        .filter_map(move |(_, newest)| newest.at(at))
        .filter(|version| !version.is_deleted())
}

/// Gives recovered events and counts to their buckets.
fn fill(history: &History, index: &Index, events: Vec<Arc<Version>>) {
    let mut last = None;
    for (key, version) in index {
        let name = key.bucket();
        let bucket = match last.take() {
            Some((have, bucket)) if have == name => bucket,
            _ => history.bucket(name),
        };
        if !version.is_deleted() {
            bucket.appeared(key);
        }
        last = Some((name, bucket));
    }
    let mut by_bucket = std::collections::BTreeMap::<_, Vec<_>>::new();
    for event in events {
        by_bucket
            .entry(event.key.bucket().to_owned())
            .or_default()
            .push(event);
    }
    for (name, events) in by_bucket {
        history.push(&history.bucket(&name), events.into_iter());
    }
}
