//! One state of one object: where it is on disk, its value while it is in memory, and the state
//! before it while history keeps that.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use consort_object::{Draft, Head, Object, Revision};
use parking_lot::Mutex;

use crate::cache::Cache;
use crate::record::{self, Kind};
use crate::segment::{Place, Segment, Segments};
use crate::watch::{Change, Event};
use crate::{Error, Key, Transform};

/// A state of an object, or its absence after a deletion.
pub(crate) struct Version {
    pub(crate) key: Key,
    pub(crate) revision: u64,
    pub(crate) kind: Kind,
    /// Offset of the revision's digits in the value.
    pub(crate) revision_at: u32,
    /// Read since the cache last looked at it.
    warm: AtomicBool,
    /// There is a newer version: only watchers that are behind still read this one.
    superseded: AtomicBool,
    inner: Mutex<Inner>,
}

struct Inner {
    place: Place,
    previous: Option<Arc<Version>>,
    object: Option<Box<Object>>,
    event: Option<Arc<Event>>,
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
        if let Some(previous) = &previous {
            previous.superseded.store(true, Ordering::Relaxed);
        }
        let object = object.map(Box::new);
        Arc::new(Self {
            key,
            revision,
            kind,
            revision_at,
            warm: AtomicBool::new(false),
            superseded: AtomicBool::new(false),
            inner: Mutex::new(Inner {
                place,
                previous,
                object,
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

    /// Drops what can be read again.
    pub(crate) fn evict(&self) {
        let mut inner = self.inner.lock();
        let dropped = (inner.object.take(), inner.event.take());
        drop(inner);
        drop(dropped);
    }

    /// Whether it was read since the last call and is still the present one. Lists read present
    /// versions only: history must not push them out of memory.
    pub(crate) fn cool(&self) -> bool {
        self.warm.swap(false, Ordering::Relaxed) && !self.superseded.load(Ordering::Relaxed)
    }

    /// The object; for a deletion its last state with the deletion's revision.
    pub(crate) fn object(self: &Arc<Self>, source: &Source) -> Result<Object, Error> {
        let (place, previous) = {
            let inner = self.inner.lock();
            if let Some(object) = &inner.object {
                self.warm.store(true, Ordering::Relaxed);
                return Ok(object.as_ref().clone());
            }
            (inner.place, inner.previous.clone())
        };
        let object = if self.is_deleted() {
            self.last_state(previous, source)?
        } else {
            self.load(place, source)?
        };
        self.remember(&object, source);
        Ok(object)
    }

    /// Notes an object as the value in memory.
    pub(crate) fn remember(self: &Arc<Self>, object: &Object, source: &Source) {
        let cost = object.json.len();
        let old = self.inner.lock().object.replace(Box::new(object.clone()));
        if old.is_none() {
            source.cache.insert(self, cost);
        }
    }

    /// Enters an object that was put in at creation into the cache's account.
    pub(crate) fn enter(self: &Arc<Self>, source: &Source) {
        let cost = self.inner.lock().object.as_ref().map(|o| o.json.len());
        if let Some(cost) = cost {
            source.cache.insert(self, cost);
        }
    }

    /// The event of this write, shared by all who ask while it is in memory.
    pub(crate) fn event(self: &Arc<Self>, source: &Source) -> Result<Arc<Event>, Error> {
        let previous = {
            let inner = self.inner.lock();
            if let Some(event) = &inner.event {
                self.warm.store(true, Ordering::Relaxed);
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
            line: OnceLock::new(),
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

    fn load(&self, mut place: Place, source: &Source) -> Result<Object, Error> {
        let segment = loop {
            if let Some(segment) = source.segments.get(place.segment) {
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
        let head = Head::decode(record.head).map_err(|e| fault(&e.to_string()))?;
        let json = if record.flags & record::TRANSFORMED == 0 {
            bytes.slice_ref(record.value)
        } else {
            let refused = |detail| Error::Transform {
                key: self.key.clone(),
                detail,
            };
            let transform = source
                .transform
                .as_ref()
                .ok_or_else(|| refused("it was written through a transform, none is set".into()))?;
            transform
                .open(&self.key, record.value)
                .map_err(refused)?
                .into()
        };
        Ok(Object {
            head: Arc::new(head),
            revision: Revision(self.revision),
            json,
        })
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
