//! The controller put together and run.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use consort_reconcile::{Controller, Event, Hub, Informer, Key};
use kube::core::DynamicObject;
use tokio_util::sync::CancellationToken;

use super::controller::Shell;
use super::engine::Engine;
use super::hooks::Hooks;
use super::memory::Memories;
use super::object::Score;
use super::store;
use super::watch::{How, Touched, Watches};
use crate::deeds::SCORE;
use crate::git::{Error, Poller, Repositories};
use crate::records;

/// Several objects of a score are often changed at once: they are looked at together.
const GATHER: Duration = Duration::from_millis(150);
/// The same for objects that are gone: somebody misses them.
const GATHER_GONE: Duration = Duration::from_millis(50);
/// The same for what only tells how objects do.
const GATHER_STATUS: Duration = Duration::from_secs(1);
const BY_NAME: &str = "name";

/// How scores are followed.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where copies of repositories are kept.
    pub repositories: PathBuf,
    /// How many scores are synced or healed at once; a long walk takes one of these places.
    pub workers: usize,
}

/// Follows the scores of a server.
pub struct Follower {
    hub: Hub,
    engine: Arc<dyn Engine>,
    repositories: Arc<Repositories>,
    poller: Arc<Poller<Key>>,
    scores: Informer<Score>,
    workers: usize,
}

impl Follower {
    /// Gets ready. The kinds of [`records`] must be installed. Its client writes the status of scores.
    ///
    /// # Errors
    /// When the directory for repositories cannot be made.
    pub fn new(hub: Hub, engine: Arc<dyn Engine>, options: &Options) -> Result<Self, Error> {
        let repositories = Arc::new(Repositories::open(&options.repositories)?);
        let opens = store::secrets(&hub);
        let scores = hub.informer::<Score>();
        Ok(Self {
            poller: Arc::new(Poller::new(repositories.clone(), opens)),
            workers: options.workers,
            repositories,
            scores,
            engine,
            hub,
        })
    }

    /// What takes webhooks.
    pub fn hooks(&self) -> Hooks {
        Hooks {
            client: self.hub.client(),
            scores: self.scores.clone(),
            poller: self.poller.clone(),
        }
    }

    /// Follows until `shutdown` is cancelled.
    pub async fn run(self, shutdown: CancellationToken) {
        let Self {
            hub,
            engine,
            repositories,
            poller,
            scores,
            workers,
        } = self;
        scores.add_index(BY_NAME, |score| vec![score.name().to_owned()]);
        let operations: Informer<DynamicObject> = hub.dynamic(&records::Kind::Operation.resource());
        let approvals: Informer<DynamicObject> = hub.dynamic(&records::Kind::Approval.resource());
        let memories = Arc::new(Memories::default());
        let controller = Controller::<Key>::new("scores")
            .queue_on(&scores, |event| match event {
                // What the controller itself writes is the status.
                Event::Applied {
                    old: Some(old),
                    new,
                } if old.spec == new.spec
                    && old.metadata.annotations == new.metadata.annotations
                    && old.metadata.deletion_timestamp == new.metadata.deletion_timestamp =>
                {
                    None
                }
                event => event.key(),
            })
            .queue_on(&operations, of_score)
            .queue_on(&approvals, of_score);
        let queue = controller.queue();
        let tell = {
            let (queue, scores, memories) = (queue.clone(), scores.clone(), memories.clone());
            Arc::new(move |touched: Touched| {
                for score in scores.by_index(BY_NAME, &touched.score) {
                    let key = Key::of(&*score);
                    let gather = match touched.how {
                        How::Gone => GATHER_GONE,
                        How::Changed => GATHER,
                        How::Status => GATHER_STATUS,
                    };
                    if touched.how != How::Status {
                        memories.touch(&key, touched.part.clone());
                    }
                    queue.add_after(key, gather);
                }
            })
        };
        let watches = Arc::new(Watches::new(hub.clone(), tell, shutdown.clone()));
        let shell = Arc::new(Shell {
            client: hub.client(),
            engine,
            repositories,
            poller: poller.clone(),
            scores,
            watches: watches.clone(),
            memories,
            recorder: hub.recorder("score-controller"),
            plans: Shell::places(),
            cancel: shutdown.clone(),
        });
        watches.usual().await;
        let polls = queue.clone();
        tokio::join!(
            controller.run(
                workers,
                move |key: Key| {
                    let shell = shell.clone();
                    async move { shell.look(&key).await }
                },
                shutdown.clone(),
            ),
            poller.run(move |key| polls.add(key), shutdown.clone()),
        );
        watches.closed().await;
    }
}

/// The score an operation or an approval belongs to.
fn of_score(event: &Event<DynamicObject>) -> Option<Key> {
    let phase = |object: &DynamicObject| object.data.pointer("/status/phase").cloned();
    if let Event::Applied {
        old: Some(old),
        new,
    } = event
        && phase(old) == phase(new)
    {
        // Only how far it got.
        return None;
    }
    let object = event.object()?;
    let score = object.metadata.labels.as_ref()?.get(SCORE)?;
    let namespace = object.metadata.namespace.as_deref()?;
    Some(Key::namespaced(namespace, score.as_str()))
}
