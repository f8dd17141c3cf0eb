//! What the controller remembers of a score between two looks. All of it can be lost: then it looks once more.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use consort_reconcile::Key;
use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::object::{Score, Status};

/// Heals longer ago do not count.
const QUIET: SignedDuration = SignedDuration::from_mins(10);
/// So many heals follow each other at once.
const AT_ONCE: usize = 3;
/// The longest pause between heals that do not last.
const LONGEST: i64 = 300;

/// What may have drifted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Dirt {
    /// Anything.
    pub(super) all: bool,
    /// These parts.
    pub(super) parts: BTreeSet<String>,
}

impl Dirt {
    pub(super) fn is_none(&self) -> bool {
        !self.all && self.parts.is_empty()
    }

    /// The parts to look at; all of them for none.
    pub(super) fn only(&self) -> Option<BTreeSet<String>> {
        (!self.all).then(|| self.parts.clone())
    }
}

#[derive(Debug, Default)]
struct Memory {
    dirt: Dirt,
    /// Something was seen since the last comparison, and not only put back by it.
    fresh: bool,
    /// The first look at it was made.
    known: bool,
    /// When it was healed of late.
    heals: VecDeque<Timestamp>,
    /// When all is compared with the world again, for what cannot be watched.
    compare: Option<Instant>,
    /// The request for a sync that was seen last.
    request: Option<String>,
    /// The status that was written last.
    written: Option<Written>,
}

/// A status as the server took it.
#[derive(Debug)]
struct Written {
    uid: Option<String>,
    revision: u64,
    status: Status,
}

fn revision(score: &Score) -> Option<u64> {
    score.metadata.resource_version.as_deref()?.parse().ok()
}

/// What is remembered of all scores.
#[derive(Debug, Default)]
pub(super) struct Memories(Mutex<HashMap<Key, Memory>>);

impl Memories {
    /// Forgets a score.
    pub(super) fn forget(&self, key: &Key) {
        self.0.lock().remove(key);
    }

    /// Something of a score was changed or deleted.
    pub(super) fn touch(&self, key: &Key, part: Option<String>) {
        let mut all = self.0.lock();
        let memory = all.entry(key.clone()).or_default();
        memory.fresh = true;
        let dirt = &mut memory.dirt;
        match part {
            Some(part) => {
                dirt.parts.insert(part);
            }
            None => dirt.all = true,
        }
    }

    /// Whether a score has to be compared with the world. The first time it does: nobody knows what happened before.
    pub(super) fn is_dirty(&self, key: &Key) -> bool {
        let mut all = self.0.lock();
        let memory = all.entry(key.clone()).or_default();
        if !memory.known {
            memory.known = true;
            memory.dirt.all = true;
        }
        if memory.compare.is_some_and(|at| at <= Instant::now()) {
            memory.compare = None;
            memory.dirt.all = true;
        }
        !memory.dirt.is_none()
    }

    /// Whether something was seen since the last comparison.
    pub(super) fn is_fresh(&self, key: &Key) -> bool {
        self.0.lock().get(key).is_some_and(|memory| memory.fresh)
    }

    /// Whether a request for a sync is seen the first time.
    pub(super) fn is_first(&self, key: &Key, request: &str) -> bool {
        let mut all = self.0.lock();
        let memory = all.entry(key.clone()).or_default();
        let first = memory.request.as_deref() != Some(request);
        if first {
            memory.request = Some(request.to_owned());
        }
        first
    }

    /// Takes note of a score whose status was just written.
    pub(super) fn wrote(&self, key: &Key, score: Score) {
        let Some(revision) = revision(&score) else {
            return;
        };
        let mut all = self.0.lock();
        all.entry(key.clone()).or_default().written = Some(Written {
            uid: score.metadata.uid,
            revision,
            status: score.status.unwrap_or_default(),
        });
    }

    /// The status that was written to a score after it was read: what is watched comes a moment late, and what was done
    /// already must not be done again for that.
    pub(super) fn written_since(&self, key: &Key, score: &Score) -> Option<Status> {
        let all = self.0.lock();
        let written = all.get(key)?.written.as_ref()?;
        (written.uid == score.metadata.uid && written.revision > revision(score)?)
            .then(|| written.status.clone())
    }

    /// Takes what is dirty; what gets dirty from now on counts anew.
    pub(super) fn take(&self, key: &Key) -> Dirt {
        let mut all = self.0.lock();
        let memory = all.entry(key.clone()).or_default();
        memory.fresh = false;
        std::mem::take(&mut memory.dirt)
    }

    /// All has to be compared again, although nothing new was seen.
    pub(super) fn doubt(&self, key: &Key) {
        self.put_back(
            key,
            Dirt {
                all: true,
                parts: BTreeSet::new(),
            },
        );
    }

    /// Puts back what could not be looked at.
    pub(super) fn put_back(&self, key: &Key, dirt: Dirt) {
        let mut all = self.0.lock();
        let own = &mut all.entry(key.clone()).or_default().dirt;
        own.all |= dirt.all;
        own.parts.extend(dirt.parts);
    }

    /// All is to be compared again after this time.
    pub(super) fn compare_in(&self, key: &Key, time: Duration) {
        let mut all = self.0.lock();
        all.entry(key.clone()).or_default().compare = Some(Instant::now() + time);
    }

    /// How long it is until all is compared again.
    pub(super) fn until_compare(&self, key: &Key) -> Option<Duration> {
        let all = self.0.lock();
        let at = all.get(key)?.compare?;
        Some(at.saturating_duration_since(Instant::now()))
    }

    /// It was healed.
    pub(super) fn healed(&self, key: &Key, now: Timestamp) {
        let mut all = self.0.lock();
        let heals = &mut all.entry(key.clone()).or_default().heals;
        heals.push_back(now);
        if heals.len() > 32 {
            heals.pop_front();
        }
    }

    /// When it may be healed again; none if at once.
    pub(super) fn heal_after(&self, key: &Key, now: Timestamp) -> Option<Timestamp> {
        let mut all = self.0.lock();
        let heals = &mut all.get_mut(key)?.heals;
        let since = now.checked_sub(QUIET).ok()?;
        while heals.front().is_some_and(|time| *time < since) {
            heals.pop_front();
        }
        let surplus = (heals.len() + 1).checked_sub(AT_ONCE)?;
        let pause = (1_i64 << surplus.min(9)).min(LONGEST);
        heals
            .back()?
            .checked_add(SignedDuration::from_secs(pause))
            .ok()
            .filter(|_| surplus > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heals_that_do_not_last_come_slower_and_slower() {
        let memories = Memories::default();
        let key = Key::namespaced("a", "b");
        let mut now: Timestamp = "2024-01-01T00:00:00Z".parse().unwrap();
        let mut pauses = Vec::new();
        for _ in 0..7 {
            let after = memories.heal_after(&key, now).unwrap_or(now);
            pauses.push(after.duration_since(now).as_secs());
            now = after;
            memories.healed(&key, now);
        }
        assert_eq!(pauses, [0, 0, 0, 2, 4, 8, 16]);
        let later = now + SignedDuration::from_mins(11);
        assert_eq!(memories.heal_after(&key, later), None);
    }

    #[test]
    fn a_status_counts_from_when_it_was_written_and_not_from_when_that_was_seen() {
        let score = |revision: &str, handled: Option<&str>| -> Score {
            serde_json::from_value(serde_json::json!({
                "apiVersion": "consort.dev/v1", "kind": "Score",
                "metadata": {"name": "b", "namespace": "a", "uid": "u", "resourceVersion": revision},
                "spec": {}, "status": {"handled": handled},
            }))
            .unwrap()
        };
        let memories = Memories::default();
        let key = Key::namespaced("a", "b");
        assert_eq!(memories.written_since(&key, &score("9", None)), None);
        memories.wrote(&key, score("10", Some("1")));
        let since = memories.written_since(&key, &score("9", None)).unwrap();
        assert_eq!(since.handled.as_deref(), Some("1"));
        assert_eq!(memories.written_since(&key, &score("10", None)), None);
        let mut another = score("9", None);
        another.metadata.uid = Some("v".to_owned());
        assert_eq!(memories.written_since(&key, &another), None);
    }

    #[test]
    fn what_gets_dirty_while_it_is_looked_at_stays_dirty() {
        let memories = Memories::default();
        let key = Key::namespaced("a", "b");
        assert!(memories.is_dirty(&key));
        assert_eq!(memories.take(&key).only(), None);
        assert!(!memories.is_dirty(&key));
        memories.touch(&key, Some("app".to_owned()));
        let dirt = memories.take(&key);
        assert_eq!(dirt.only(), Some(BTreeSet::from(["app".to_owned()])));
        memories.touch(&key, None);
        memories.put_back(&key, dirt);
        assert_eq!(memories.take(&key).only(), None);
    }
}
