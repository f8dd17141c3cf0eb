//! Asks repositories whether they have moved: once per repository and interval, however many scores follow it.

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use consort_reconcile::Key;
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::git::{Credentials, Error, Reference, Remote, Repositories, Resolved};

/// So many repositories are asked at once.
const AT_ONCE: usize = 4;
/// A repository is not asked again sooner, whatever calls come.
const SOONEST: Duration = Duration::from_secs(1);
/// A repository that cannot be asked is tried again after its interval, doubled up to this.
const LONGEST: Duration = Duration::from_secs(600);

/// Where a repository is, and how it is logged in to: scores that agree in both are asked for together.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(crate) struct Place {
    /// The repository.
    pub(crate) remote: Remote,
    /// The namespace whose Secrets count.
    pub(crate) namespace: String,
    /// The Secret that is named, if one is.
    pub(crate) secret: Option<String>,
}

/// What is known of what a score follows.
#[derive(Clone, Debug)]
pub(crate) enum Seen {
    /// Its repository was not asked yet.
    NotYet,
    /// It points to this commit.
    At(Resolved),
    /// It cannot be told.
    Unknown(Arc<Error>),
}

/// Gives the credentials for a repository.
pub(crate) type Opens = Arc<
    dyn Fn(Place) -> Pin<Box<dyn Future<Output = Result<Credentials, Error>> + Send>> + Send + Sync,
>;

/// Asks repositories for all scores.
pub(crate) struct Poller {
    repositories: Arc<Repositories>,
    opens: Opens,
    state: Mutex<State>,
    wake: Notify,
}

#[derive(Default)]
struct State {
    places: HashMap<Place, Group>,
    scores: HashMap<Key, Followed>,
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

struct Group {
    scores: Vec<Key>,
    /// Its entry in `due`; none while it is being asked.
    slot: Option<(Instant, u64)>,
    asked: Option<Instant>,
    /// Somebody wants it asked again although it is being asked.
    again: bool,
    failures: u32,
}

impl Poller {
    pub(crate) fn new(repositories: Arc<Repositories>, opens: Opens) -> Self {
        Self {
            repositories,
            opens,
            state: Mutex::default(),
            wake: Notify::new(),
        }
    }

    /// What gives credentials.
    pub(crate) fn opens(&self) -> &Opens {
        &self.opens
    }

    /// Follows a reference for a score from now on, and tells what is known of it.
    pub(crate) fn follow(
        &self,
        key: &Key,
        place: &Place,
        reference: &Reference,
        interval: Duration,
    ) -> Seen {
        let mut state = self.state.lock();
        if let Some(known) = state.scores.get_mut(key)
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
            .then(|| reference.resolve(&crate::git::Advertised::default()))
            .flatten();
        let seen = fixed.clone().map_or(Seen::NotYet, Seen::At);
        state.scores.insert(
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

    /// Follows nothing for a score any more.
    pub(crate) fn forget(&self, key: &Key) {
        self.state.lock().forget(key);
    }

    /// Asks a score's repository as soon as can be. With `awaited`, the answer is told even if it is no news.
    pub(crate) fn look(&self, key: &Key, awaited: bool) {
        let mut state = self.state.lock();
        let Some(score) = state.scores.get_mut(key) else {
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

    /// Whether an answer is awaited for a score.
    pub(crate) fn is_awaited(&self, key: &Key) -> bool {
        let state = self.state.lock();
        state.scores.get(key).is_some_and(|score| score.awaited)
    }

    /// Asks again and again until `shutdown`; tells of each score whose reference has moved, or of which something
    /// else is known than before.
    pub(crate) async fn run(&self, moved: impl Fn(Key), shutdown: CancellationToken) {
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

impl State {
    fn join(&mut self, place: &Place, key: Key) {
        if let Some(group) = self.places.get_mut(place) {
            group.scores.push(key);
            // Its reference may not have been asked for.
            self.hasten(place);
            return;
        }
        self.places.insert(
            place.clone(),
            Group {
                scores: vec![key],
                slot: None,
                asked: None,
                again: false,
                failures: 0,
            },
        );
        self.schedule(place, Instant::now());
    }

    fn forget(&mut self, key: &Key) {
        let Some(known) = self.scores.remove(key) else {
            return;
        };
        let Some(group) = self.places.get_mut(&known.place) else {
            return;
        };
        group.scores.retain(|other| other != key);
        if group.scores.is_empty() {
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
                .scores
                .iter()
                .filter_map(|key| Some(self.scores.get(key)?.reference.clone()))
                .collect();
            references.sort_unstable();
            references.dedup();
        }
        (Some((place, references)), None)
    }

    /// Takes an answer in; gives the scores for which it is news.
    fn answered(&mut self, place: &Place, answer: &Answer) -> Vec<Key> {
        let mut news = Vec::new();
        let mut interval = LONGEST;
        let Some(group) = self.places.get_mut(place) else {
            return news;
        };
        let mut missed = group.again;
        for key in &group.scores {
            let Some(score) = self.scores.get_mut(key) else {
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
