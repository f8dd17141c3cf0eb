//! One state of one object: where it is on disk, its value while it is in memory, and the state
//! before it while history keeps that.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use consort_object::{Draft, Encodings, Head, HeadView, Object, Revision, Selectable};
use parking_lot::Mutex;

use crate::cache::{Cache, Heads};
use crate::record::{self, Kind};
use crate::seal::{self, Transform};
use crate::segment::{Pinned, Place, Segment, Segments};
use crate::watch::{Change, Event};
use crate::{Error, Key};

/// Reads that are remembered, at most.
const WARMEST: u8 = 3;

/// A state of an object, or its absence after a deletion.
pub(crate) struct Version {
    pub(crate) key: Key,
    pub(crate) revision: u64,
    /// Offset of the revision's digits in the value.
    pub(crate) revision_at: u32,
    /// When the cache dropped it for want of reads; 0 for never.
    evicted_at: AtomicU32,
    pub(crate) kind: Kind,
    /// Reads since the cache last looked at it.
    reads: AtomicU8,
    /// The cache has an entry of it.
    queued: AtomicBool,
    /// There is a newer version: only watchers that are behind still read this one.
    superseded: AtomicBool,
    inner: Mutex<Inner>,
}

struct Inner {
    place: Place,
    previous: Option<Arc<Version>>,
    /// The encoded head, while there is room for it and the value is not in memory.
    head: Option<Box<[u8]>>,
    value: Option<Arc<Value>>,
    event: Option<Arc<Event>>,
}

/// The value of a version, shared by all who read it.
pub(crate) struct Value {
    pub(crate) json: Bytes,
    /// The encoded head; empty when `head` is there from the beginning.
    encoded: Bytes,
    head: OnceLock<Arc<Head>>,
    encodings: Encodings,
}

impl Value {
    fn of(object: Object) -> Self {
        Self {
            json: object.json,
            encoded: Bytes::new(),
            head: OnceLock::from(object.head),
            encodings: object.encodings,
        }
    }

    fn head(&self) -> Result<&Arc<Head>, consort_object::model::Error> {
        if let Some(head) = self.head.get() {
            return Ok(head);
        }
        let head = Arc::new(Head::decode(&self.encoded)?);
        Ok(self.head.get_or_init(|| head))
    }

    fn encoded(&self) -> Vec<u8> {
        match self.head.get() {
            Some(head) if self.encoded.is_empty() => {
                let mut out = Vec::with_capacity(256);
                head.encode(&mut out);
                out
            }
            _ => self.encoded.to_vec(),
        }
    }

    fn matches(
        &self,
        filter: &mut dyn FnMut(&dyn Selectable) -> bool,
    ) -> Result<bool, consort_object::model::Error> {
        Ok(match self.head.get() {
            Some(head) => filter(&**head),
            None => filter(&HeadView::new(&self.encoded)?),
        })
    }
}

/// Where versions read from.
pub(crate) struct Source {
    pub(crate) segments: Arc<Segments>,
    pub(crate) cache: Cache,
    pub(crate) transform: Option<Arc<dyn Transform>>,
}

impl Version {
    pub(crate) fn new(
        key: Key,
        revision: u64,
        kind: Kind,
        revision_at: u32,
        place: Place,
        previous: Option<Arc<Self>>,
        object: Option<Object>,
    ) -> Arc<Self> {
        Arc::new(Self {
            key,
            revision,
            kind,
            revision_at,
            evicted_at: AtomicU32::new(0),
            reads: AtomicU8::new(0),
            queued: AtomicBool::new(false),
            superseded: AtomicBool::new(false),
            inner: Mutex::new(Inner {
                place,
                previous,
                head: None,
                value: object.map(|object| Arc::new(Value::of(object))),
                event: None,
            }),
        })
    }

    pub(crate) fn is_deleted(&self) -> bool {
        self.kind == Kind::Deleted
    }

    pub(crate) fn place(&self) -> Place {
        self.inner.lock().place
    }

    pub(crate) fn set_place(&self, place: Place) {
        self.inner.lock().place = place;
    }

    pub(crate) fn previous(&self) -> Option<Arc<Self>> {
        self.inner.lock().previous.clone()
    }

    pub(crate) fn set_previous(&self, previous: Option<Arc<Self>>) {
        self.inner.lock().previous = previous;
    }

    /// Drops what came before, and returns it.
    pub(crate) fn cut(&self) -> Option<Arc<Self>> {
        let mut inner = self.inner.lock();
        inner.event = None;
        inner.previous.take()
    }

    /// The newest version at or before a revision, if it is kept.
    pub(crate) fn at(self: &Arc<Self>, revision: u64) -> Option<Arc<Self>> {
        let mut version = Arc::clone(self);
        while version.revision > revision {
            let previous = version.previous()?;
            version = previous;
        }
        Some(version)
    }

    /// Notes that a newer version is there for readers.
    pub(crate) fn supersede(&self, source: &Source) {
        self.superseded.store(true, Ordering::Relaxed);
        let head = self.inner.lock().head.take();
        if let Some(head) = head {
            source.cache.heads().give_back(head.len());
        }
    }

    /// Whether the cache has an entry of it already; if not, it has one now. Called by the cache only.
    pub(crate) fn enqueue(&self) -> bool {
        self.queued.swap(true, Ordering::Relaxed)
    }

    /// The cache's entry is gone; `at` when it was for want of reads. Called by the cache only.
    pub(crate) fn dequeue(&self, at: Option<u32>) {
        self.queued.store(false, Ordering::Relaxed);
        self.evicted_at.store(at.unwrap_or(0), Ordering::Relaxed);
    }

    pub(crate) fn evicted_at(&self) -> Option<u32> {
        Some(self.evicted_at.load(Ordering::Relaxed)).filter(|at| *at != 0)
    }

    /// Whether it was read since it was last looked at and is still the present one. History must not
    /// push present values out of memory.
    pub(crate) fn cool(&self) -> bool {
        let reads = self.reads.load(Ordering::Relaxed);
        if reads > 0 {
            self.reads.store(reads - 1, Ordering::Relaxed);
        }
        reads > 0 && !self.superseded.load(Ordering::Relaxed)
    }

    /// Forgets earlier reads.
    pub(crate) fn chill(&self) {
        self.reads.store(0, Ordering::Relaxed);
    }

    fn warm(&self) {
        let reads = self.reads.load(Ordering::Relaxed);
        if reads < WARMEST {
            self.reads.store(reads + 1, Ordering::Relaxed);
        }
    }

    /// Drops what can be read again, but for the head if there is room.
    pub(crate) fn evict(&self, heads: &Heads) {
        let superseded = self.superseded.load(Ordering::Relaxed);
        let mut inner = self.inner.lock();
        let dropped = (inner.value.take(), inner.event.take());
        if let Some(value) = &dropped.0
            && inner.head.is_none()
            && !superseded
            && !self.is_deleted()
        {
            let encoded = value.encoded();
            if heads.take(encoded.len()) {
                inner.head = Some(encoded.into());
            }
        }
        drop(inner);
        drop(dropped);
    }

    /// Whether its value can be had without reading the disk.
    pub(crate) fn resident(&self) -> bool {
        self.inner.lock().value.is_some()
    }

    /// Whether a filter selects it, by its head.
    pub(crate) fn selected(
        self: &Arc<Self>,
        source: &Source,
        filter: &mut dyn FnMut(&dyn Selectable) -> bool,
    ) -> Result<bool, Error> {
        let corrupt =
            |e: consort_object::model::Error| self.corrupt(self.place(), source, &e.to_string());
        {
            let inner = self.inner.lock();
            if let Some(value) = inner.value.clone() {
                drop(inner);
                return value.matches(filter).map_err(corrupt);
            }
            if let Some(head) = &inner.head {
                let view = HeadView::new(head);
                return match view {
                    Ok(view) => Ok(filter(&view)),
                    Err(e) => {
                        drop(inner);
                        Err(corrupt(e))
                    }
                };
            }
        }
        let value = self.load(source, None)?;
        let selected = value.matches(filter).map_err(corrupt)?;
        if selected {
            // It is about to be asked for.
            self.remember(Arc::new(value), source);
        } else if source.cache.heads().take(value.encoded.len()) {
            let mut inner = self.inner.lock();
            let spare = if inner.head.is_none() && !self.superseded.load(Ordering::Relaxed) {
                inner.head = Some(value.encoded.to_vec().into());
                0
            } else {
                value.encoded.len()
            };
            drop(inner);
            source.cache.heads().give_back(spare);
        }
        Ok(selected)
    }

    /// The value of a version that is no deletion.
    pub(crate) fn value(
        self: &Arc<Self>,
        source: &Source,
        pinned: Option<&Pinned>,
    ) -> Result<Arc<Value>, Error> {
        if let Some(value) = &self.inner.lock().value {
            self.warm();
            return Ok(Arc::clone(value));
        }
        let value = Arc::new(self.load(source, pinned)?);
        self.remember(Arc::clone(&value), source);
        Ok(value)
    }

    /// The object; for a deletion its last state with the deletion's revision.
    pub(crate) fn object(self: &Arc<Self>, source: &Source) -> Result<Object, Error> {
        self.object_from(source, None)
    }

    pub(crate) fn object_from(
        self: &Arc<Self>,
        source: &Source,
        pinned: Option<&Pinned>,
    ) -> Result<Object, Error> {
        let value = if self.is_deleted() {
            let (value, previous) = {
                let inner = self.inner.lock();
                (inner.value.clone(), inner.previous.clone())
            };
            match value {
                Some(value) => value,
                None => {
                    let value = Arc::new(Value::of(self.last_state(previous, source)?));
                    self.remember(Arc::clone(&value), source);
                    value
                }
            }
        } else {
            self.value(source, pinned)?
        };
        let head = value
            .head()
            .map_err(|e| self.corrupt(self.place(), source, &e.to_string()))?;
        Ok(Object {
            head: Arc::clone(head),
            revision: Revision(self.revision),
            json: value.json.clone(),
            encodings: value.encodings.clone(),
        })
    }

    /// Notes a value as the one in memory.
    fn remember(self: &Arc<Self>, value: Arc<Value>, source: &Source) {
        let cost = value.json.len();
        let head = {
            let mut inner = self.inner.lock();
            inner.value = Some(value);
            inner.head.take()
        };
        if let Some(head) = head {
            source.cache.heads().give_back(head.len());
        }
        source.cache.insert(self, cost);
    }

    /// Enters an object that was put in at creation into the cache's account.
    pub(crate) fn enter(self: &Arc<Self>, source: &Source) {
        let cost = self.inner.lock().value.as_ref().map(|v| v.json.len());
        if let Some(cost) = cost {
            source.cache.insert(self, cost);
        }
    }

    /// The event of this write, shared by all who ask while it is in memory.
    pub(crate) fn event(self: &Arc<Self>, source: &Source) -> Result<Arc<Event>, Error> {
        let previous = {
            let inner = self.inner.lock();
            if let Some(event) = &inner.event {
                return Ok(Arc::clone(event));
            }
            inner.previous.clone()
        };
        let object = self.object(source)?;
        let (change, previous) = match self.kind {
            Kind::Created | Kind::Compacted => (Change::Created, None),
            Kind::Updated => (Change::Updated, previous),
            Kind::Deleted => (Change::Deleted, previous),
        };
        let previous = match previous.filter(|p| !p.is_deleted()) {
            Some(previous) => Some(previous.object(source)?),
            None => None,
        };
        let cost = object.json.len();
        let event = Arc::new(Event {
            revision: Revision(self.revision),
            key: self.key.clone(),
            object,
            previous,
            kind: change,
            lines: Encodings::default(),
        });
        let mut inner = self.inner.lock();
        if let Some(event) = &inner.event {
            return Ok(Arc::clone(event));
        }
        inner.event = Some(Arc::clone(&event));
        drop(inner);
        source.cache.insert(self, cost);
        Ok(event)
    }

    fn last_state(&self, previous: Option<Arc<Self>>, source: &Source) -> Result<Object, Error> {
        let gone = || Error::Compacted {
            asked: Revision(self.revision),
            oldest: Revision(self.revision),
        };
        let previous = previous.ok_or_else(gone)?;
        let object = previous.object(source)?;
        Draft::reopen(&object, previous.revision_at as usize)
            .map(|draft| draft.into_sealed(Revision(self.revision)))
            .map_err(|e| self.corrupt(previous.place(), source, &e.to_string()))
    }

    /// Reads the value from the disk.
    fn load(&self, source: &Source, pinned: Option<&Pinned>) -> Result<Value, Error> {
        let (_, bytes) = self.record(source, pinned)?;
        let record =
            record::decode(&bytes).map_err(|why| self.corrupt(self.place(), source, why))?;
        let (encoded, json) =
            seal::opened(&record, &bytes, &self.key, source.transform.as_deref())?;
        Ok(Value {
            json,
            encoded,
            head: OnceLock::new(),
            encodings: Encodings::default(),
        })
    }

    /// Reads the record from the disk, and where it is.
    pub(crate) fn record(
        &self,
        source: &Source,
        pinned: Option<&Pinned>,
    ) -> Result<(Place, Bytes), Error> {
        let mut place = self.place();
        let segment = loop {
            let segment = pinned.and_then(|pinned| pinned.get(place.segment));
            if let Some(segment) = segment.or_else(|| source.segments.get(place.segment)) {
                break segment;
            }
            // The record may have been carried to another segment meanwhile.
            let now = self.place();
            if now == place {
                return Err(self.corrupt(place, source, "its segment is missing"));
            }
            place = now;
        };
        let bytes = Bytes::from(segment.read(place)?);
        let fault = |detail: &str| segment.corrupt(u64::from(place.offset), detail);
        let record = record::decode(&bytes).map_err(fault)?;
        if record.key != self.key.as_str() || record.revision != self.revision {
            return Err(fault("the record is another object's"));
        }
        Ok((place, bytes))
    }

    fn corrupt(&self, place: Place, source: &Source, detail: &str) -> Error {
        let path = source.segments.get(place.segment).map_or_else(
            || Segment::name(place.segment).into(),
            |segment| segment.path.clone(),
        );
        Error::Corrupt {
            path,
            offset: u64::from(place.offset),
            detail: format!("reading {}: {detail}", self.key),
        }
    }
}

/// Long histories are taken apart one by one, not by recursion.
impl Drop for Version {
    fn drop(&mut self) {
        let mut next = self.inner.get_mut().previous.take();
        while let Some(version) = next {
            next = match Arc::try_unwrap(version) {
                Ok(mut version) => version.inner.get_mut().previous.take(),
                Err(_) => None,
            };
        }
    }
}
