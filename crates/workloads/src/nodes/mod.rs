//! Notices nodes that went silent, says so, and moves their pods.
//!
//! Follows the Nodes documentation ("Node heartbeats", "Taint based evictions"): a node renews its
//! Lease; one that does not for the grace time gets condition Ready `Unknown` and taints, its pods
//! are marked not ready, and pods that do not tolerate the taints (or no longer) are deleted.

mod eviction;
mod health;

use crate::{
    error::{Doing, Error, text},
    options::Options,
    pods, write,
};
use consort_reconcile::{Action, Controller, Event, Hub, Informer, Key, ObjectRef, Recorder};
use health::Silence;
use k8s_openapi::{
    api::{
        coordination::v1::Lease,
        core::v1::{Node, Pod},
    },
    apimachinery::pkg::apis::meta::v1::Time,
    jiff::Timestamp,
};
use kube::{Api, Client, api::Patch};
use serde_json::json;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};
use tokio_util::sync::CancellationToken;

const LEASES: &str = "kube-node-lease";
const BY_NODE: &str = "node";

struct Shell {
    client: Client,
    options: Arc<Options>,
    nodes: Informer<Node>,
    leases: Informer<Lease>,
    pods: Informer<Pod>,
    recorder: Recorder,
    heard: Mutex<HashMap<String, Heard>>,
}

/// The last sign of life of a node, and when it was seen by our own clock: the node's may be off.
#[derive(Clone)]
struct Heard {
    sign: (Option<Timestamp>, Option<Timestamp>),
    at: Instant,
}

pub(crate) async fn run(hub: Hub, options: Arc<Options>, shutdown: CancellationToken) {
    let nodes = hub.informer::<Node>();
    // Leases of nodes are in one namespace, but others are few: one informer serves all users.
    let leases = hub.informer::<Lease>();
    let pods = hub.informer::<Pod>();
    pods.add_index(BY_NODE, |pod| {
        pods::node_name(pod)
            .map(str::to_owned)
            .into_iter()
            .collect()
    });
    let shell = Arc::new(Shell {
        client: hub.client(),
        options: options.clone(),
        nodes: nodes.clone(),
        leases: leases.clone(),
        pods: pods.clone(),
        recorder: hub.recorder("node-controller"),
        heard: Mutex::default(),
    });
    let known = nodes.clone();
    let watching = Controller::<String>::new("node-health")
        .wait_for(&pods)
        .queue_on(&nodes, |event| event.key().map(|key| key.name))
        .queue_on(&leases, move |event| {
            // A renewal of a node that is well needs no look: the timer does. One of a node that
            // was given up means that it is back.
            let lease = event.object()?;
            let name = lease.metadata.name.clone()?;
            let ours = lease.metadata.namespace.as_deref() == Some(LEASES);
            let unwell = known
                .get(None, &name)
                .is_some_and(|node| health::is_unknown(&node));
            (ours && unwell).then_some(name)
        });
    let by_node = nodes.clone();
    let on_node = pods.clone();
    let evicting = Controller::new("taint-eviction")
        .wait_for(&nodes)
        .queue_on(&pods, move |event| {
            let Event::Applied { new, .. } = event else {
                return None;
            };
            let node = by_node.get(None, pods::node_name(new)?)?;
            (!eviction::taints(&node).is_empty()).then(|| Key::of(&**new))
        })
        .queue_on(&nodes, move |event| {
            let Event::Applied { old, new } = event else {
                return Vec::new();
            };
            let before = old
                .as_ref()
                .map(|old| eviction::taints(old))
                .unwrap_or_default();
            if eviction::taints(new) == before {
                return Vec::new();
            }
            let pods = on_node.by_index(BY_NODE, write::name_of(&new.metadata));
            pods.iter().map(|pod| Key::of(&**pod)).collect()
        });
    let healing = shell.clone();
    tokio::join!(
        watching.run(
            1,
            move |name: String| {
                let shell = healing.clone();
                async move { shell.health(&name).await.map_err(text) }
            },
            shutdown.clone(),
        ),
        evicting.run(
            options.workers,
            move |key: Key| {
                let shell = shell.clone();
                async move { shell.evict(&key).await.map_err(text) }
            },
            shutdown,
        ),
    );
}

impl Shell {
    /// How long the node has been silent.
    fn silence(&self, name: &str, node: &Node) -> Silence {
        let lease = self.leases.get(Some(LEASES), name);
        let renewed =
            lease.and_then(|lease| lease.spec.as_ref()?.renew_time.as_ref().map(|time| time.0));
        let sign = (renewed, health::heartbeat(node));
        let mut all = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let heard = all
            .entry(name.to_owned())
            .or_insert_with(|| Heard { sign, at: now });
        if heard.sign != sign {
            *heard = Heard { sign, at: now };
        }
        Silence {
            lasted: now.duration_since(heard.at),
            never: sign == (None, None),
        }
    }

    async fn health(&self, name: &str) -> Result<Action, Error> {
        let Some(node) = self.nodes.get(None, name) else {
            self.heard
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .remove(name);
            return Ok(Action::Done);
        };
        let silence = self.silence(name, &node);
        // When no node at all is well, the fault is more likely on our side of the wire: then
        // nothing is evicted.
        let all_down = self.nodes.list().iter().all(|other| {
            if other.metadata.name == node.metadata.name {
                false
            } else {
                !health::is_ready(other)
            }
        }) && (silence.lasted >= self.options.node_grace
            || !health::is_ready(&node));
        let now = Timestamp::now();
        let verdict = health::decide(&node, &silence, self.options.node_grace, all_down, now);
        let api = Api::<Node>::all(self.client.clone());
        let mut meta = node.metadata.clone();
        if let Some(conditions) = &verdict.conditions {
            let patch = json!({
                "metadata": { "resourceVersion": meta.resource_version },
                "status": { "conditions": conditions },
            });
            let patched = api
                .patch_status(name, &write::patch_params(), &Patch::Merge(&patch))
                .await;
            meta = patched
                .doing(|| format!("updating the conditions of node {name}"))?
                .metadata;
            let about = ObjectRef::of(&*node);
            self.recorder.normal(
                &about,
                "NodeNotReady",
                format!("Node {name} status is now: NodeNotReady"),
            );
        }
        if let Some(taints) = &verdict.taints {
            let patch = json!({
                "metadata": { "resourceVersion": meta.resource_version },
                "spec": { "taints": taints },
            });
            let patched = api
                .patch(name, &write::patch_params(), &Patch::Merge(&patch))
                .await;
            patched.doing(|| format!("updating the taints of node {name}"))?;
        }
        if verdict.pods_unready {
            self.mark_pods_unready(name, now).await?;
        }
        Ok(Action::After(verdict.look_again))
    }

    async fn mark_pods_unready(&self, node: &str, now: Timestamp) -> Result<(), Error> {
        for pod in self
            .pods
            .by_index(BY_NODE, node)
            .iter()
            .filter(|pod| pods::is_ready(pod))
        {
            let mut conditions = pod
                .status
                .as_ref()
                .and_then(|status| status.conditions.clone())
                .unwrap_or_default();
            for condition in conditions
                .iter_mut()
                .filter(|condition| condition.type_ == "Ready")
            {
                "False".clone_into(&mut condition.status);
                condition.reason = Some("NodeNotReady".to_owned());
                condition.message = None;
                condition.last_transition_time = Some(Time(now));
            }
            let (namespace, name) = (
                pod.metadata.namespace.as_deref().unwrap_or_default(),
                write::name_of(&pod.metadata),
            );
            let patch = json!({
                "metadata": { "uid": pod.metadata.uid, "resourceVersion": pod.metadata.resource_version },
                "status": { "conditions": conditions },
            });
            let api = Api::<Pod>::namespaced(self.client.clone(), namespace);
            let patched = api
                .patch_status(name, &write::patch_params(), &Patch::Merge(&patch))
                .await;
            match patched.doing(|| format!("marking pod {namespace}/{name} not ready")) {
                Ok(_) => {
                    self.recorder.warning(
                        &ObjectRef::of(&**pod),
                        "NodeNotReady",
                        "Node is not ready",
                    );
                }
                Err(error) if error.is(404) || error.is(409) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn evict(&self, key: &Key) -> Result<Action, Error> {
        let Some(pod) = self.pods.by_key(key) else {
            return Ok(Action::Done);
        };
        if pods::is_terminating(&pod) {
            return Ok(Action::Done);
        }
        let Some(node) = pods::node_name(&pod).and_then(|name| self.nodes.get(None, name)) else {
            return Ok(Action::Done);
        };
        match eviction::decide(&pod, &eviction::taints(&node), Timestamp::now()) {
            eviction::Verdict::Stays => Ok(Action::Done),
            eviction::Verdict::GoesIn(rest) => Ok(Action::After(rest)),
            eviction::Verdict::Goes => {
                let text = format!("Marking for deletion Pod {key}");
                self.recorder
                    .normal(&ObjectRef::of(&*pod), "TaintManagerEviction", text);
                let api = Api::<Pod>::namespaced(self.client.clone(), key.namespace());
                let patch = json!({
                    "metadata": { "uid": pod.metadata.uid, "resourceVersion": pod.metadata.resource_version },
                    "status": { "conditions": eviction::disrupted(&pod, Timestamp::now()) },
                });
                let patched = api
                    .patch_status(&key.name, &write::patch_params(), &Patch::Merge(&patch))
                    .await;
                match patched.doing(|| format!("marking pod {key} for eviction")) {
                    Ok(_) => {}
                    Err(error) if error.is(404) => return Ok(Action::Done),
                    Err(error) => return Err(error),
                }
                write::delete(&api, &pod.metadata, None, None).await?;
                Ok(Action::Done)
            }
        }
    }
}

/// Looks at a healthy node this often at least.
const LOOK: Duration = Duration::from_secs(5);
