//! What one subscriber still has to be told.
//!
//! A mailbox holds at most one entry per object: changes that pile up while the subscriber is slow
//! coalesce into the difference between what it was told last and what is there now. Its size is
//! therefore bounded by the number of objects, however slow the subscriber is, and no deletion of
//! an object it knew is ever lost.

use crate::Key;
use kube::Resource;
use parking_lot::Mutex;
use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
};
use tokio::sync::Notify;

/// Deletions of objects that the subscriber was never told of are kept only while fewer entries
/// than this wait.
const TOMBSTONES: usize = 4096;
/// Of one name that is deleted and re-created again and again, at most this many past lives.
const LIVES: usize = 16;

/// A change as one subscriber sees it.
#[derive(Debug)]
pub enum Event<K> {
    /// The object is new, or differs from what this subscriber was told before.
    Applied {
        /// What this subscriber was told last; `None` if the object is new to it.
        old: Option<Arc<K>>,
        /// The present state.
        new: Arc<K>,
    },
    /// The object is gone; its last known state.
    Deleted(Arc<K>),
    /// All objects that existed when the informer started have been delivered. Sent once.
    Synced,
}

impl<K> Event<K> {
    /// The object the event is about: its new state, or the last one if it was deleted.
    pub fn object(&self) -> Option<&Arc<K>> {
        match self {
            Self::Applied { new, .. } => Some(new),
            Self::Deleted(last) => Some(last),
            Self::Synced => None,
        }
    }

    /// The states the event speaks of: the new or last one, and the one told before if there is.
    pub fn objects(&self) -> impl Iterator<Item = &Arc<K>> {
        let old = match self {
            Self::Applied { old, .. } => old.as_ref(),
            _ => None,
        };
        self.object().into_iter().chain(old)
    }
}

impl<K: Resource> Event<K> {
    /// The key of the object the event is about.
    pub fn key(&self) -> Option<Key> {
        self.object().map(|object| Key::of(&**object))
    }
}

impl<K> Clone for Event<K> {
    fn clone(&self) -> Self {
        match self {
            Self::Applied { old, new } => Self::Applied {
                old: old.clone(),
                new: new.clone(),
            },
            Self::Deleted(last) => Self::Deleted(last.clone()),
            Self::Synced => Self::Synced,
        }
    }
}

pub(crate) struct Mailbox<K> {
    state: Mutex<Waiting<K>>,
    wake: Notify,
}

struct Waiting<K> {
    /// What to tell, in order of arrival.
    order: BTreeMap<u64, Slot>,
    arrived: u64,
    changes: HashMap<Arc<Key>, Change<K>>,
    closed: bool,
}

enum Slot {
    Object(Arc<Key>),
    Synced,
}

struct Change<K> {
    /// Its place in the order.
    place: u64,
    /// Past objects of this name whose deletion is still to be told.
    gone: Vec<Arc<K>>,
    /// What the subscriber was told of the present object.
    old: Option<Arc<K>>,
    /// The present object.
    new: Option<Arc<K>>,
}

impl<K> Waiting<K> {
    fn enqueue(&mut self, slot: Slot) -> u64 {
        self.arrived += 1;
        self.order.insert(self.arrived, slot);
        self.arrived
    }
}

impl<K> Mailbox<K> {
    pub(crate) fn new() -> Self {
        Self {
            state: Mutex::new(Waiting {
                order: BTreeMap::new(),
                arrived: 0,
                changes: HashMap::new(),
                closed: false,
            }),
            wake: Notify::new(),
        }
    }

    pub(crate) fn applied(&self, key: &Arc<Key>, old: Option<&Arc<K>>, new: &Arc<K>) {
        let mut state = self.state.lock();
        if let Some(change) = state.changes.get_mut(&**key) {
            change.new = Some(new.clone());
        } else {
            let place = state.enqueue(Slot::Object(key.clone()));
            let change = Change {
                place,
                gone: Vec::new(),
                old: old.cloned(),
                new: Some(new.clone()),
            };
            state.changes.insert(key.clone(), change);
        }
        drop(state);
        self.wake.notify_one();
    }

    pub(crate) fn deleted(&self, key: &Arc<Key>, last: &Arc<K>) {
        let mut state = self.state.lock();
        let crowded = state.order.len() >= TOMBSTONES;
        if let Some(change) = state.changes.get_mut(&**key) {
            let known = change.old.take().is_some();
            change.new = None;
            if known || !crowded {
                if change.gone.len() >= LIVES {
                    change.gone.remove(1);
                }
                change.gone.push(last.clone());
            }
            if change.gone.is_empty() {
                let place = change.place;
                state.changes.remove(&**key);
                state.order.remove(&place);
            }
        } else {
            let place = state.enqueue(Slot::Object(key.clone()));
            let change = Change {
                place,
                gone: vec![last.clone()],
                old: None,
                new: None,
            };
            state.changes.insert(key.clone(), change);
        }
        drop(state);
        self.wake.notify_one();
    }

    pub(crate) fn synced(&self) {
        self.state.lock().enqueue(Slot::Synced);
        self.wake.notify_one();
    }

    pub(crate) fn close(&self) {
        self.state.lock().closed = true;
        self.wake.notify_one();
    }

    /// Moves the next events into `ready`; `None` if the mailbox is closed and empty.
    fn take(&self, ready: &mut VecDeque<Event<K>>) -> Option<()> {
        let mut state = self.state.lock();
        let Some((_, slot)) = state.order.pop_first() else {
            return if state.closed { None } else { Some(()) };
        };
        match slot {
            Slot::Synced => ready.push_back(Event::Synced),
            Slot::Object(key) => {
                if let Some(change) = state.changes.remove(&*key) {
                    ready.extend(change.gone.into_iter().map(Event::Deleted));
                    if let Some(new) = change.new {
                        ready.push_back(Event::Applied {
                            old: change.old,
                            new,
                        });
                    }
                }
            }
        }
        Some(())
    }

    #[cfg(test)]
    pub(crate) fn waiting(&self) -> usize {
        self.state.lock().order.len()
    }
}

/// One subscriber's ordered stream of changes. A late subscriber first receives all present
/// objects. Dropping it ends the subscription.
pub struct Subscription<K> {
    mailbox: Arc<Mailbox<K>>,
    ready: VecDeque<Event<K>>,
    _keep: Arc<dyn Send + Sync>,
}

impl<K> Subscription<K> {
    pub(crate) fn new(mailbox: Arc<Mailbox<K>>, keep: Arc<dyn Send + Sync>) -> Self {
        Self {
            mailbox,
            ready: VecDeque::new(),
            _keep: keep,
        }
    }

    /// The next change; `None` once the hub has shut down. Safe to cancel.
    pub async fn next(&mut self) -> Option<Event<K>> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            let notified = self.mailbox.wake.notified();
            self.mailbox.take(&mut self.ready)?;
            if self.ready.is_empty() {
                notified.await;
            }
        }
    }

    /// The subscription as a [`futures::Stream`], for use with combinators.
    pub fn into_stream(self) -> impl futures::Stream<Item = Event<K>> + Send
    where
        K: Send + Sync + 'static,
    {
        futures::stream::unfold(self, |mut subscription| async move {
            subscription.next().await.map(|event| (event, subscription))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> Arc<Key> {
        Arc::new(Key::cluster(name))
    }

    fn drain(mailbox: &Mailbox<&'static str>) -> Vec<String> {
        let mut told = Vec::new();
        loop {
            let mut ready = VecDeque::new();
            mailbox.take(&mut ready);
            if ready.is_empty() {
                return told;
            }
            told.extend(ready.into_iter().map(|event| match event {
                Event::Applied { old, new } => format!("{}->{new}", old.map_or("none", |old| *old)),
                Event::Deleted(last) => format!("-{last}"),
                Event::Synced => "synced".to_owned(),
            }));
        }
    }

    #[test]
    fn changes_of_one_object_coalesce_into_old_and_present() {
        let mailbox = Mailbox::new();
        let (a, b, c) = (Arc::new("1"), Arc::new("2"), Arc::new("3"));
        mailbox.applied(&key("x"), Some(&a), &b);
        mailbox.applied(&key("x"), Some(&b), &c);
        assert_eq!(drain(&mailbox), ["1->3"]);
    }

    #[test]
    fn a_deletion_and_a_new_object_of_the_same_name_are_both_told() {
        let mailbox = Mailbox::new();
        let (a, b) = (Arc::new("1"), Arc::new("2"));
        mailbox.deleted(&key("x"), &a);
        mailbox.applied(&key("x"), None, &b);
        assert_eq!(drain(&mailbox), ["-1", "none->2"]);
    }

    #[test]
    fn creation_and_deletion_before_the_subscriber_looked_is_told_as_a_deletion() {
        let mailbox = Mailbox::new();
        let a = Arc::new("1");
        mailbox.applied(&key("x"), None, &a);
        mailbox.deleted(&key("x"), &a);
        assert_eq!(drain(&mailbox), ["-1"]);
    }

    #[test]
    fn a_subscriber_that_never_looks_holds_a_bounded_number_of_entries() {
        let mailbox = Mailbox::new();
        let a = Arc::new("1");
        for round in 0..100_000 {
            let key = key(&format!("x{round}"));
            mailbox.applied(&key, None, &a);
            mailbox.deleted(&key, &a);
        }
        assert!(mailbox.waiting() <= TOMBSTONES + 1, "{}", mailbox.waiting());
        for _ in 0..1_000 {
            mailbox.applied(&key("y"), None, &a);
            mailbox.deleted(&key("y"), &a);
        }
        assert!(drain(&mailbox).len() <= TOMBSTONES + LIVES + 1);
    }
}
