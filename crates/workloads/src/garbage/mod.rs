//! Deletes objects whose owners are gone, and lets owners go once their dependents are.
//!
//! Follows the Garbage Collection documentation: background, foreground (`foregroundDeletion`
//! finalizer, `blockOwnerDeletion`) and orphaning deletion. Owners are followed over every kind the
//! server offers, by watches of metadata alone. The graph only says where to look: before anything
//! is deleted, the object and the absence of its owners are checked with the server.

mod collect;
mod graph;

use crate::{
    discovery::{self, Served},
    error::{Chain, text},
    options::Options,
};
use collect::Collector;
use consort_reconcile::{Backoff, Controller, Event, Hub, Informer, PartialObject, Queue};
use graph::{Graph, Life, Node, Place, Uid};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    sync::oneshot,
    task::{AbortHandle, JoinSet},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

/// Kinds without owners that change too often to be worth watching.
const IGNORED: [(&str, &str); 2] = [("", "events"), ("events.k8s.io", "events")];
const DISCOVERY: Backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(30));
/// A kind that cannot be listed holds up the start for this long; owners that are not in the graph
/// are looked up anyway.
const SYNC_LIMIT: Duration = Duration::from_secs(30);

/// The graph, shared between the watches that fill it and the workers that read it.
#[derive(Clone, Default)]
struct Shared(Arc<Mutex<World>>);

#[derive(Default)]
struct World {
    graph: Graph,
    kinds: Vec<Arc<Served>>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(crate) async fn run(hub: Hub, options: Arc<Options>, shutdown: CancellationToken) {
    let shared = Shared::default();
    let controller = Controller::<Uid>::new("garbage-collection");
    let queue = controller.queue();
    let mut watches = Watches {
        hub: hub.clone(),
        shared: shared.clone(),
        queue,
        tasks: JoinSet::new(),
        running: HashMap::new(),
    };
    if shutdown
        .run_until_cancelled(watches.start())
        .await
        .is_none()
    {
        return;
    }
    let collector = Arc::new(Collector {
        client: hub.client(),
        shared: shared.clone(),
        queue: controller.queue(),
    });
    let reconcile = move |uid: Uid| {
        let collector = collector.clone();
        async move { collector.look_at(&uid).await.map_err(text) }
    };
    let follow = shutdown.run_until_cancelled(watches.follow(options.discovery_interval));
    tokio::join!(
        controller.run(options.workers, reconcile, shutdown.clone()),
        follow
    );
}

/// One watch for each kind the server offers.
struct Watches {
    hub: Hub,
    shared: Shared,
    queue: Queue<Uid>,
    tasks: JoinSet<()>,
    running: HashMap<Arc<Served>, AbortHandle>,
}

impl Watches {
    /// Starts the watches and waits until the graph is complete.
    async fn start(&mut self) {
        let mut failures = 0;
        loop {
            match discovery::served(&self.hub.client()).await {
                Ok(served) => {
                    let ready = self.update(served);
                    let complete = futures::future::join_all(ready);
                    if tokio::time::timeout(SYNC_LIMIT, complete).await.is_err() {
                        warn!(
                            "some kinds could not be listed yet; garbage collection starts without them"
                        );
                    }
                    for uid in self.shared.lock().graph.all_that_need_a_look() {
                        self.queue.add(uid);
                    }
                    return;
                }
                Err(error) => {
                    debug!(error = %Chain(&error), "kinds could not be discovered; trying again");
                    tokio::time::sleep(DISCOVERY.delay(failures)).await;
                    failures += 1;
                }
            }
        }
    }

    /// Keeps up with the kinds the server offers.
    async fn follow(mut self, interval: Duration) {
        loop {
            tokio::time::sleep(interval).await;
            while self.tasks.try_join_next().is_some() {}
            match discovery::served(&self.hub.client()).await {
                Ok(served) => drop(self.update(served)),
                Err(error) => debug!(error = %Chain(&error), "kinds could not be discovered"),
            }
        }
    }

    /// Starts watches of new kinds and ends those of kinds that are gone. The receivers resolve as
    /// the new watches have delivered everything that was there.
    fn update(&mut self, served: Vec<Served>) -> Vec<oneshot::Receiver<()>> {
        let wanted: Vec<Arc<Served>> = served
            .into_iter()
            .filter(|served| {
                let resource = &served.resource;
                served.watchable
                    && !IGNORED.contains(&(resource.group.as_str(), resource.plural.as_str()))
            })
            .map(Arc::new)
            .collect();
        let mut world = self.shared.lock();
        let graph = &mut world.graph;
        self.running.retain(|served, task| {
            let keep = wanted.contains(served);
            if !keep {
                task.abort();
                for uid in graph.of_kind(served) {
                    graph.forget(&uid);
                }
            }
            keep
        });
        world.kinds.clone_from(&wanted);
        drop(world);
        let mut ready = Vec::new();
        for served in wanted {
            if self.running.contains_key(&served) {
                continue;
            }
            let informer = self.hub.metadata(&served.resource);
            let (sender, receiver) = oneshot::channel();
            ready.push(receiver);
            let watch = follow_kind(
                informer,
                served.clone(),
                self.shared.clone(),
                self.queue.clone(),
                sender,
            );
            self.running.insert(served, self.tasks.spawn(watch));
        }
        ready
    }
}

async fn follow_kind(
    informer: Informer<PartialObject>,
    served: Arc<Served>,
    shared: Shared,
    queue: Queue<Uid>,
    ready: oneshot::Sender<()>,
) {
    let mut ready = Some(ready);
    let mut changes = informer.subscribe();
    while let Some(event) = changes.next().await {
        let look = match event {
            Event::Synced => {
                if let Some(ready) = ready.take() {
                    // Nobody waits any more if the start took too long.
                    let _ = ready.send(());
                }
                Vec::new()
            }
            Event::Applied { new, .. } => {
                let meta = &new.metadata;
                let Some(uid) = meta.uid.as_deref() else {
                    continue;
                };
                let node = Node {
                    place: Place {
                        served: served.clone(),
                        namespace: meta.namespace.clone(),
                        name: meta.name.clone().unwrap_or_default(),
                    },
                    owners: meta.owner_references.clone().unwrap_or_default(),
                    life: Life::of(meta),
                };
                shared.lock().graph.apply(uid.into(), node)
            }
            Event::Deleted(last) => match last.metadata.uid.as_deref() {
                Some(uid) => shared.lock().graph.remove(uid),
                None => Vec::new(),
            },
        };
        for uid in look {
            queue.add(uid);
        }
    }
}
