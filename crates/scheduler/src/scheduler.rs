//! The loop: what changed, who waits, where to, bind.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use consort_reconcile::{Event, Hub, Informer, ObjectRef, Recorder};
use futures::FutureExt as _;
use k8s_openapi::api::core::v1::{Binding, Node, ObjectReference, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::json;
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::cluster::Cluster;
use crate::error::Error;
use crate::place::place;
use crate::pod::Claim;
use crate::queue::Queue;

/// The name pods ask for in `spec.schedulerName` if they ask for none.
const NAME: &str = "default-scheduler";
/// How long one write to the API may take.
const WRITE_LIMIT: Duration = Duration::from_secs(15);

/// What a [`Scheduler`] is made from.
#[derive(Clone)]
pub struct Options {
    /// The name in `spec.schedulerName` of the pods to place.
    pub name: String,
    /// The client bindings are written with; the hub's own if there is none.
    pub client: Option<Client>,
    /// Writes to the API at the same time.
    pub writes: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            name: NAME.to_owned(),
            client: None,
            writes: 64,
        }
    }
}

/// Places pods on nodes until it is told to stop.
pub struct Scheduler {
    pods: Informer<Pod>,
    nodes: Informer<Node>,
    client: Client,
    recorder: Recorder,
    name: String,
    writes: usize,
}

/// How a write ended.
enum Written {
    Bound {
        claim: Arc<Claim>,
        node: String,
        result: Result<(), kube::Error>,
    },
    Told(Result<(), Error>),
}

/// What the loop works on.
struct State {
    cluster: Cluster,
    queue: Queue,
    /// What was last written about a pod that is not placed, by uid.
    told: HashMap<String, String>,
    writing: JoinSet<Written>,
    /// Grows with every attempt, so that the search starts at another node each time.
    turn: usize,
}

impl Scheduler {
    /// A scheduler over the hub's informers; nothing runs yet.
    pub fn new(hub: &Hub, options: Options) -> Self {
        Self {
            pods: hub.informer(),
            nodes: hub.informer(),
            client: options.client.unwrap_or_else(|| hub.client()),
            recorder: hub.recorder(options.name.clone()),
            name: options.name,
            writes: options.writes.max(1),
        }
    }

    /// Places pods until `shutdown`; writes under way are waited for, each for a bounded time.
    pub async fn run(self, shutdown: CancellationToken) {
        let mut pods = self.pods.subscribe();
        let mut nodes = self.nodes.subscribe();
        let mut state = State {
            cluster: Cluster::new(),
            queue: Queue::default(),
            told: HashMap::new(),
            writing: JoinSet::new(),
            turn: 0,
        };
        // Nothing is placed before all of the cluster is known: a node that is not seen yet would
        // make a pod look stuck, a pod that is not seen yet a node look free.
        let (mut pods_known, mut nodes_known) = (false, false);
        loop {
            // Everything that has happened so far, before the next decision.
            while let Some(Some(event)) = nodes.next().now_or_never() {
                nodes_known |= matches!(event, Event::Synced);
                state.see_node(&event);
            }
            while let Some(Some(event)) = pods.next().now_or_never() {
                pods_known |= matches!(event, Event::Synced);
                state.see_pod(&event, &self.name);
            }
            while let Some(done) = state.writing.try_join_next() {
                state.finish(done, &self.recorder);
            }
            state.queue.tick(Instant::now());
            let may_place = pods_known && nodes_known && state.writing.len() < self.writes;
            if may_place
                && !shutdown.is_cancelled()
                && let Some(claim) = state.queue.pop()
            {
                self.decide(&mut state, &claim);
                // One decision at a time keeps the runtime's other tasks going.
                tokio::task::yield_now().await;
                continue;
            }
            let tick = state.queue.next_tick();
            tokio::select! {
                () = shutdown.cancelled() => break,
                Some(event) = nodes.next() => {
                    nodes_known |= matches!(event, Event::Synced);
                    state.see_node(&event);
                }
                Some(event) = pods.next() => {
                    pods_known |= matches!(event, Event::Synced);
                    state.see_pod(&event, &self.name);
                }
                Some(done) = state.writing.join_next() => state.finish(done, &self.recorder),
                () = sleep_until(tick) => {}
            }
        }
        while state.writing.join_next().await.is_some() {}
    }

    /// Places one pod, or says why it can't be.
    fn decide(&self, state: &mut State, claim: &Arc<Claim>) {
        state.turn = state.turn.wrapping_add(1);
        match place(&state.cluster, claim, state.turn) {
            Ok(node) => {
                tracing::debug!(pod = claim.key(), node, "placed");
                state.cluster.put_pod(&node, claim.clone());
                state
                    .writing
                    .spawn(bind(self.client.clone(), claim.clone(), node));
            }
            Err(unplaced) => {
                let now = Instant::now();
                state.queue.stuck(&claim.uid, now);
                let message = unplaced.to_string();
                self.recorder
                    .warning(&reference(claim), "FailedScheduling", message.clone());
                if state.told.get(&claim.uid) != Some(&message) {
                    state.told.insert(claim.uid.clone(), message.clone());
                    state
                        .writing
                        .spawn(tell(self.client.clone(), claim.clone(), message));
                }
            }
        }
    }
}

async fn sleep_until(tick: Option<Instant>) {
    match tick {
        Some(tick) => tokio::time::sleep_until(tick).await,
        None => std::future::pending().await,
    }
}

impl State {
    fn see_node(&mut self, event: &Event<Node>) {
        match event {
            Event::Applied { new, .. } => {
                if self.cluster.put_node(new) {
                    self.queue.wake(Instant::now(), &|_| true);
                }
            }
            Event::Deleted(node) => {
                self.cluster
                    .remove_node(node.metadata.name.as_deref().unwrap_or_default());
            }
            Event::Synced => {}
        }
    }

    fn see_pod(&mut self, event: &Event<Pod>, name: &str) {
        match event {
            Event::Synced => {}
            Event::Deleted(pod) => self.forget(pod.metadata.uid.as_deref().unwrap_or_default()),
            Event::Applied { old, new } => {
                let uid = new.metadata.uid.as_deref().unwrap_or_default();
                if let Some(old) = old
                    && old.metadata.uid != new.metadata.uid
                {
                    self.forget(old.metadata.uid.as_deref().unwrap_or_default());
                }
                let phase = new
                    .status
                    .as_ref()
                    .and_then(|status| status.phase.as_deref());
                if matches!(phase, Some("Succeeded" | "Failed")) {
                    self.forget(uid);
                    return;
                }
                let Some(spec) = &new.spec else {
                    return;
                };
                if let Some(node) = spec.node_name.as_deref().filter(|node| !node.is_empty()) {
                    self.queue.remove(uid);
                    self.told.remove(uid);
                    // Most changes of a running pod are of its status.
                    let same = old.as_ref().is_some_and(|old| {
                        old.spec == new.spec && old.metadata.labels == new.metadata.labels
                    });
                    if same && self.cluster.home(uid) == Some(node) {
                        return;
                    }
                    if let Some(claim) = Claim::new(new) {
                        self.cluster.put_pod(node, Arc::new(claim));
                        // Another pod may have waited for this one's company.
                        self.queue
                            .wake(Instant::now(), &|waiting| waiting.wants_company());
                    }
                    return;
                }
                let gated = spec
                    .scheduling_gates
                    .as_ref()
                    .is_some_and(|gates| !gates.is_empty());
                let ours = spec.scheduler_name.as_deref().unwrap_or(NAME) == name;
                if gated || !ours || new.metadata.deletion_timestamp.is_some() {
                    return;
                }
                // What we write about a pod that is not placed is no reason to look again.
                let only_status = old.as_ref().is_some_and(|old| {
                    old.spec == new.spec && old.metadata.labels == new.metadata.labels
                });
                if !only_status && let Some(claim) = Claim::new(new) {
                    self.queue.put(Arc::new(claim));
                }
            }
        }
    }

    fn forget(&mut self, uid: &str) {
        self.queue.remove(uid);
        self.told.remove(uid);
        if self.cluster.remove_pod(uid) {
            self.queue.wake(Instant::now(), &|_| true);
        }
    }

    fn finish(&mut self, done: Result<Written, JoinError>, recorder: &Recorder) {
        match done {
            Ok(Written::Bound {
                claim,
                node,
                result: Ok(()),
            }) => {
                let message = format!("Successfully assigned {} to {node}", claim.key());
                recorder.normal(&reference(&claim), "Scheduled", message);
                self.queue.remove(&claim.uid);
                self.told.remove(&claim.uid);
            }
            Ok(Written::Bound {
                claim,
                node,
                result: Err(source),
            }) => {
                self.cluster.remove_pod(&claim.uid);
                let gone = matches!(&source, kube::Error::Api(status) if status.code == 404);
                if gone {
                    self.queue.remove(&claim.uid);
                } else {
                    self.queue.back_off(&claim.uid, Instant::now());
                }
                let error = Error::Bind {
                    pod: claim.key(),
                    node,
                    source,
                };
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "a pod was not bound"
                );
            }
            Ok(Written::Told(Ok(()))) => {}
            Ok(Written::Told(Err(error))) => {
                tracing::debug!(
                    error = &error as &dyn std::error::Error,
                    "a condition was not written"
                );
            }
            Err(error) => tracing::error!(%error, "a write failed"),
        }
    }
}

fn reference(claim: &Claim) -> ObjectRef {
    ObjectRef {
        api_version: "v1".to_owned(),
        kind: "Pod".to_owned(),
        namespace: Some(claim.namespace.clone()),
        name: claim.name.clone(),
        uid: claim.uid.clone(),
        field_path: None,
    }
}

async fn limited<T>(write: impl Future<Output = kube::Result<T>>) -> kube::Result<T> {
    match tokio::time::timeout(WRITE_LIMIT, write).await {
        Ok(result) => result,
        Err(elapsed) => Err(kube::Error::Service(elapsed.into())),
    }
}

/// Binds a pod through `pods/binding`. The uid keeps a pod of the same name that came later from
/// being bound in its place.
async fn bind(client: Client, claim: Arc<Claim>, node: String) -> Written {
    let api: Api<Pod> = Api::namespaced(client, &claim.namespace);
    let binding = Binding {
        metadata: ObjectMeta {
            name: Some(claim.name.clone()),
            namespace: Some(claim.namespace.clone()),
            uid: Some(claim.uid.clone()),
            ..ObjectMeta::default()
        },
        target: ObjectReference {
            kind: Some("Node".to_owned()),
            name: Some(node.clone()),
            ..ObjectReference::default()
        },
    };
    let params = PostParams::default();
    let write = api.create_subresource::<Binding, serde_json::Value>(
        "binding",
        &claim.name,
        &params,
        &binding,
    );
    let result = limited(write).await.map(drop);
    Written::Bound {
        claim,
        node,
        result,
    }
}

/// Writes why a pod is not placed into its condition `PodScheduled`.
async fn tell(client: Client, claim: Arc<Claim>, message: String) -> Written {
    let api: Api<Pod> = Api::namespaced(client, &claim.namespace);
    let now = jiff::Timestamp::now()
        .strftime("%Y-%m-%dT%H:%M:%SZ")
        .to_string();
    let patch = json!({"metadata": {"uid": claim.uid}, "status": {"conditions": [{
        "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message,
        "lastProbeTime": null, "lastTransitionTime": now,
    }]}});
    let (params, patch) = (PatchParams::default(), Patch::Strategic(&patch));
    let write = api.patch_status(&claim.name, &params, &patch);
    let result = limited(write).await.map(drop);
    Written::Told(result.map_err(|source| Error::Condition {
        pod: claim.key(),
        source,
    }))
}
