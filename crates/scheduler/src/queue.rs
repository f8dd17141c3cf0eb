//! Pods that wait for a place.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::pod::Claim;

const FIRST_BACKOFF: Duration = Duration::from_secs(1);
const LONGEST_BACKOFF: Duration = Duration::from_secs(10);
/// A pod nothing has changed for is tried again this often all the same.
const RETRY: Duration = Duration::from_secs(60);

/// Where a waiting pod stands.
#[derive(Debug)]
struct Waiting {
    claim: Arc<Claim>,
    attempts: u32,
    order: u64,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// In the heap.
    Active,
    /// Not before this time.
    Later(Instant),
    /// No node took it; something has to change first.
    Stuck { since: Instant },
    /// Being bound.
    Out,
}

#[derive(Debug, PartialEq, Eq)]
struct Turn {
    priority: i32,
    order: u64,
    uid: String,
}

impl Ord for Turn {
    fn cmp(&self, other: &Self) -> Ordering {
        // Highest priority first, then first come.
        self.priority
            .cmp(&other.priority)
            .then(other.order.cmp(&self.order))
    }
}

impl PartialOrd for Turn {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Waiting pods, the most urgent first.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    pods: HashMap<String, Waiting>,
    heap: BinaryHeap<Turn>,
    /// Those that wait for a time.
    later: BTreeMap<(Instant, u64), String>,
    /// Those that wait for a change, the longest waiting first.
    stuck: BTreeMap<(Instant, u64), String>,
    next_order: u64,
}

impl Queue {
    /// Puts a new or changed pod in; a changed one gets its turn at once.
    pub(crate) fn put(&mut self, claim: Arc<Claim>) {
        let uid = claim.uid.clone();
        if let Some(waiting) = self.pods.get_mut(&uid) {
            waiting.claim = claim;
            if matches!(waiting.state, State::Stuck { .. }) {
                self.activate(&uid);
            }
            return;
        }
        let order = self.next_order;
        self.next_order += 1;
        let waiting = Waiting {
            claim,
            attempts: 0,
            order,
            state: State::Out,
        };
        self.pods.insert(uid.clone(), waiting);
        self.activate(&uid);
    }

    /// Forgets a pod: it was bound or deleted.
    pub(crate) fn remove(&mut self, uid: &str) {
        if let Some(waiting) = self.pods.remove(uid) {
            self.unlist(waiting.state, waiting.order);
        }
    }

    fn unlist(&mut self, state: State, order: u64) {
        match state {
            State::Later(time) => self.later.remove(&(time, order)),
            State::Stuck { since } => self.stuck.remove(&(since, order)),
            State::Active | State::Out => None,
        };
    }

    fn activate(&mut self, uid: &str) {
        let Some(waiting) = self.pods.get_mut(uid) else {
            return;
        };
        if waiting.state == State::Active {
            return;
        }
        let (state, order) = (waiting.state, waiting.order);
        waiting.state = State::Active;
        self.heap.push(Turn {
            priority: waiting.claim.priority,
            order,
            uid: uid.to_owned(),
        });
        self.unlist(state, order);
    }

    /// The next pod to place; it counts as out until told otherwise.
    pub(crate) fn pop(&mut self) -> Option<Arc<Claim>> {
        while let Some(turn) = self.heap.pop() {
            if let Some(waiting) = self.pods.get_mut(&turn.uid)
                && waiting.state == State::Active
            {
                waiting.state = State::Out;
                waiting.attempts += 1;
                return Some(waiting.claim.clone());
            }
        }
        None
    }

    /// No node took the pod.
    pub(crate) fn stuck(&mut self, uid: &str, now: Instant) {
        if let Some(waiting) = self.pods.get_mut(uid) {
            waiting.state = State::Stuck { since: now };
            self.stuck.insert((now, waiting.order), uid.to_owned());
        }
    }

    /// Binding the pod failed: it comes back after its back-off.
    pub(crate) fn back_off(&mut self, uid: &str, now: Instant) {
        if let Some(waiting) = self.pods.get_mut(uid) {
            let time = now + backoff(waiting.attempts);
            waiting.state = State::Later(time);
            self.later.insert((time, waiting.order), uid.to_owned());
        }
    }

    /// Something changed that may give stuck pods a place: each of the chosen comes back after its
    /// back-off.
    pub(crate) fn wake(&mut self, now: Instant, chosen: &dyn Fn(&Claim) -> bool) {
        let mut woken = Vec::new();
        for ((since, order), uid) in &self.stuck {
            if let Some(waiting) = self.pods.get(uid)
                && chosen(&waiting.claim)
            {
                woken.push((
                    *since,
                    *order,
                    uid.clone(),
                    *since + backoff(waiting.attempts),
                ));
            }
        }
        for (since, order, uid, time) in woken {
            if time <= now {
                self.activate(&uid);
            } else if let Some(waiting) = self.pods.get_mut(&uid) {
                waiting.state = State::Later(time);
                self.stuck.remove(&(since, order));
                self.later.insert((time, order), uid);
            }
        }
    }

    /// Lets in those whose time has come.
    pub(crate) fn tick(&mut self, now: Instant) {
        while let Some(entry) = self.later.first_entry() {
            if entry.key().0 > now {
                break;
            }
            let uid = entry.remove();
            self.activate(&uid);
        }
        while let Some(entry) = self.stuck.first_entry() {
            if now.duration_since(entry.key().0) < RETRY {
                break;
            }
            let uid = entry.remove();
            self.activate(&uid);
        }
    }

    /// When [`Queue::tick`] has something to do next.
    pub(crate) fn next_tick(&self) -> Option<Instant> {
        let later = self.later.keys().next().map(|(time, _)| *time);
        let stuck = self.stuck.keys().next().map(|(since, _)| *since + RETRY);
        later.into_iter().chain(stuck).min()
    }
}

fn backoff(attempts: u32) -> Duration {
    let doublings = attempts.saturating_sub(1).min(10);
    (FIRST_BACKOFF * 2_u32.pow(doublings)).min(LONGEST_BACKOFF)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn claim(uid: &str, priority: i32) -> Arc<Claim> {
        let pod = json!({"metadata": {"name": uid, "uid": uid}, "spec": {"containers": [], "priority": priority}});
        Arc::new(Claim::new(&serde_json::from_value(pod).unwrap()).unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn the_most_urgent_goes_first_then_the_first_come() {
        let mut queue = Queue::default();
        for (uid, priority) in [("a", 0), ("b", 5), ("c", 0)] {
            queue.put(claim(uid, priority));
        }
        let order: Vec<String> = std::iter::from_fn(|| queue.pop())
            .map(|claim| claim.uid.clone())
            .collect();
        assert_eq!(order, ["b", "a", "c"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stuck_pod_comes_back_after_a_change_and_its_back_off() {
        let mut queue = Queue::default();
        queue.put(claim("a", 0));
        queue.pop().unwrap();
        let now = Instant::now();
        queue.stuck("a", now);
        queue.wake(now, &|_| true);
        assert!(queue.pop().is_none());
        assert_eq!(queue.next_tick(), Some(now + FIRST_BACKOFF));
        queue.tick(now + FIRST_BACKOFF);
        assert_eq!(queue.pop().unwrap().uid, "a");
    }

    #[tokio::test(start_paused = true)]
    async fn a_removed_pod_never_comes_back() {
        let mut queue = Queue::default();
        queue.put(claim("a", 0));
        queue.pop().unwrap();
        queue.back_off("a", Instant::now());
        queue.remove("a");
        queue.tick(Instant::now() + LONGEST_BACKOFF);
        assert!(queue.pop().is_none());
        assert_eq!(queue.next_tick(), None);
    }
}
