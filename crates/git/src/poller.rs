//! Asks repositories whether they have moved: once per repository and interval, however many follow it.

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::hash::Hash;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{Credentials, Error, Reference, Remote, Repositories, Resolved};

/// So many repositories are asked at once.
const AT_ONCE: usize = 4;
/// A repository is not asked again sooner, whatever calls come.
const SOONEST: Duration = Duration::from_secs(1);
/// A repository that cannot be asked is tried again after its interval, doubled up to this.
const LONGEST: Duration = Duration::from_secs(600);

/// Where a repository is, and how it is logged in to: those who agree in both are asked for together.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Place {
    /// The repository.
    pub remote: Remote,
    /// The namespace whose Secrets count.
    pub namespace: String,
    /// The Secret that is named, if one is.
    pub secret: Option<String>,
}

/// What is known of what somebody follows.
#[derive(Clone, Debug)]
pub enum Seen {
    /// Its repository was not asked yet.
    NotYet,
    /// It points to this commit.
    At(Resolved),
    /// It cannot be told.
    Unknown(Arc<Error>),
}

/// Gives the credentials for a repository.
pub type Opens = Arc<
    dyn Fn(Place) -> Pin<Box<dyn Future<Output = Result<Credentials, Error>> + Send>> + Send + Sync,
>;

/// Asks repositories for all who follow them, each known by a key.
pub struct Poller<K> {
    repositories: Arc<Repositories>,
    opens: Opens,
    state: Mutex<State<K>>,
    wake: Notify,
}

struct State<K> {
    places: HashMap<Place, Group<K>>,
    followers: HashMap<K, Followed>,
    /// When the next question to each place is due; its place in the order keeps two apart.
    due: BTreeMap<(Instant, u64), Place>,
    order: u64,
}

struct Followed {
    place: Place,
    reference: Reference,
    interval: Duration,
    seen: Seen,
    /// Somebody waits for the next answer, whatever it is.
    awaited: bool,
}

struct Group<K> {
    followers: Vec<K>,
    /// Its entry in `due`; none while it is being asked.
    slot: Option<(Instant, u64)>,
    asked: Option<Instant>,
    /// Somebody wants it asked again although it is being asked.
    again: bool,
    failures: u32,
}

impl<K: Clone + Eq + Hash> Poller<K> {
    /// One that nobody follows anything with yet.
    pub fn new(repositories: Arc<Repositories>, opens: Opens) -> Self {
        Self {
            repositories,
            opens,
            state: Mutex::new(State {
                places: HashMap::new(),
                followers: HashMap::new(),
                due: BTreeMap::new(),
                order: 0,
            }),
            wake: Notify::new(),
        }
    }

    /// What gives credentials.
    pub fn opens(&self) -> &Opens {
        &self.opens
    }

    /// Follows a reference from now on, and tells what is known of it.
    pub fn follow(
        &self,
        key: &K,
        place: &Place,
        reference: &Reference,
        interval: Duration,
    ) -> Seen {
        let mut state = self.state.lock();
        if let Some(known) = state.followers.get_mut(key)
            && known.place == *place
            && known.reference == *reference
        {
            known.interval = interval;
            return known.seen.clone();
        }
        state.forget(key);
        // A whole commit's id means the same for ever: nobody is asked.
        let fixed = reference
            .is_commit()
            .then(|| reference.resolve(&crate::Advertised::default()))
            .flatten();
        let seen = fixed.clone().map_or(Seen::NotYet, Seen::At);
        state.followers.insert(
            key.clone(),
            Followed {
                place: place.clone(),
                reference: reference.clone(),
                interval,
                seen: seen.clone(),
                awaited: false,
            },
        );
        if fixed.is_none() {
            state.join(place, key.clone());
            drop(state);
            self.wake.notify_one();
        }
        seen
    }

    /// Follows nothing for a key any more.
    pub fn forget(&self, key: &K) {
        self.state.lock().forget(key);
    }

    /// Asks the repository of a key as soon as can be. With `awaited`, the answer is told even if it is no news.
    pub fn look(&self, key: &K, awaited: bool) {
        let mut state = self.state.lock();
        let Some(score) = state.followers.get_mut(key) else {
            return;
        };
        if score.reference.is_commit() {
            return;
        }
        score.awaited |= awaited;
        let place = score.place.clone();
        state.hasten(&place);
        drop(state);
        self.wake.notify_one();
    }

    /// Whether an answer is awaited for a key.
    pub fn is_awaited(&self, key: &K) -> bool {
        let state = self.state.lock();
        state
            .followers
            .get(key)
            .is_some_and(|follower| follower.awaited)
    }

    /// Asks again and again until `shutdown`; tells of each key whose reference has moved, or of which something
    /// else is known than before.
    pub async fn run(&self, moved: impl Fn(K), shutdown: CancellationToken) {
        let mut under_way = FuturesUnordered::new();
        loop {
            let next = loop {
                let woken = self.wake.notified();
                let (ready, at) = if under_way.len() < AT_ONCE {
                    self.state.lock().next(Instant::now())
                } else {
                    (None, None)
                };
                if let Some(ready) = ready {
                    break Some(ready);
                }
                tokio::select! {
                    () = shutdown.cancelled() => return,
                    Some((place, answer)) = under_way.next(), if !under_way.is_empty() => {
                        for key in self.state.lock().answered(&place, &answer) {
                            moved(key);
                        }
                    }
                    () = woken => {}
                    () = sleep_until(at) => {}
                }
            };
            if let Some((place, references)) = next {
                let shutdown = &shutdown;
                under_way.push(async move {
                    let answer = self.ask(&place, references, shutdown).await;
                    (place, answer)
                });
            }
        }
    }

    /// What each of the references means now.
    async fn ask(
        &self,
        place: &Place,
        references: Vec<Reference>,
        cancel: &CancellationToken,
    ) -> Answer {
        let answer = async {
            let credentials = (self.opens)(place.clone()).await?;
            let advertised = self
                .repositories
                .advertised(&place.remote, &credentials, &references, cancel)
                .await?;
            let mut found = HashMap::with_capacity(references.len());
            for reference in references {
                let resolved = match reference.resolve(&advertised) {
                    Some(resolved) => Ok(resolved),
                    // Perhaps the beginning of a commit's id.
                    None => self
                        .repositories
                        .resolve(&place.remote, &credentials, &reference, cancel)
                        .await
                        .map_err(Arc::new),
                };
                found.insert(reference, resolved);
            }
            Ok::<_, Error>(found)
        };
        answer.await.map_err(Arc::new)
    }
}

type Answer = Result<HashMap<Reference, Result<Resolved, Arc<Error>>>, Arc<Error>>;

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

impl<K: Clone + Eq + Hash> State<K> {
    fn join(&mut self, place: &Place, key: K) {
        if let Some(group) = self.places.get_mut(place) {
            group.followers.push(key);
            // Its reference may not have been asked for.
            self.hasten(place);
            return;
        }
        self.places.insert(
            place.clone(),
            Group {
                followers: vec![key],
                slot: None,
                asked: None,
                again: false,
                failures: 0,
            },
        );
        self.schedule(place, Instant::now());
    }

    fn forget(&mut self, key: &K) {
        let Some(known) = self.followers.remove(key) else {
            return;
        };
        let Some(group) = self.places.get_mut(&known.place) else {
            return;
        };
        group.followers.retain(|other| other != key);
        if group.followers.is_empty() {
            if let Some(slot) = group.slot {
                self.due.remove(&slot);
            }
            self.places.remove(&known.place);
        }
    }

    fn schedule(&mut self, place: &Place, at: Instant) {
        let Some(group) = self.places.get_mut(place) else {
            return;
        };
        if let Some(slot) = group.slot {
            self.due.remove(&slot);
        }
        self.order += 1;
        let slot = (at, self.order);
        group.slot = Some(slot);
        self.due.insert(slot, place.clone());
    }

    fn hasten(&mut self, place: &Place) {
        let now = Instant::now();
        let Some(group) = self.places.get_mut(place) else {
            return;
        };
        let Some((due, _)) = group.slot else {
            group.again = true;
            return;
        };
        let soonest = group.asked.map_or(now, |asked| now.max(asked + SOONEST));
        if soonest < due {
            self.schedule(place, soonest);
        }
    }

    /// The place to ask now with its references, or when there will be one.
    fn next(&mut self, now: Instant) -> (Option<(Place, Vec<Reference>)>, Option<Instant>) {
        let Some(entry) = self.due.first_entry() else {
            return (None, None);
        };
        if entry.key().0 > now {
            return (None, Some(entry.key().0));
        }
        let place = entry.remove();
        let mut references = Vec::new();
        if let Some(group) = self.places.get_mut(&place) {
            group.slot = None;
            group.again = false;
            group.asked = Some(now);
            references = group
                .followers
                .iter()
                .filter_map(|key| Some(self.followers.get(key)?.reference.clone()))
                .collect();
            references.sort_unstable();
            references.dedup();
        }
        (Some((place, references)), None)
    }

    /// Takes an answer in; gives the keys for which it is news.
    fn answered(&mut self, place: &Place, answer: &Answer) -> Vec<K> {
        let mut news = Vec::new();
        let mut interval = LONGEST;
        let Some(group) = self.places.get_mut(place) else {
            return news;
        };
        let mut missed = group.again;
        for key in &group.followers {
            let Some(score) = self.followers.get_mut(key) else {
                continue;
            };
            interval = interval.min(score.interval);
            let seen = match answer {
                Ok(found) => match found.get(&score.reference) {
                    Some(Ok(resolved)) => Seen::At(resolved.clone()),
                    Some(Err(error)) => Seen::Unknown(error.clone()),
                    // It joined while the question was under way.
                    None => {
                        missed = true;
                        continue;
                    }
                },
                Err(error) => Seen::Unknown(error.clone()),
            };
            // A question that was under way when somebody began to wait is no answer to them.
            let awaited = score.awaited && !group.again;
            if awaited || !seen.is_like(&score.seen) {
                news.push(key.clone());
            }
            score.awaited &= !awaited;
            score.seen = seen;
        }
        group.failures = match answer {
            Ok(_) => 0,
            Err(_) => group.failures + 1,
        };
        let wait = if missed {
            SOONEST
        } else {
            let backed_off = interval.saturating_mul(1 << group.failures.min(10));
            // Repositories that were first asked together drift apart.
            backed_off
                .min(LONGEST.max(interval))
                .mul_f64(1.0 + jitter() * 0.1)
        };
        self.schedule(place, Instant::now() + wait);
        news
    }
}

impl Seen {
    fn is_like(&self, other: &Seen) -> bool {
        match (self, other) {
            (Seen::NotYet, Seen::NotYet) => true,
            (Seen::At(one), Seen::At(other)) => one == other,
            (Seen::Unknown(one), Seen::Unknown(other)) => one.to_string() == other.to_string(),
            _ => false,
        }
    }
}

/// A number from zero to one, other each time.
fn jitter() -> f64 {
    f64::from(uuid::Uuid::new_v4().as_fields().0) / f64::from(u32::MAX)
}
