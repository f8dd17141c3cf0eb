//! Removes pods nobody else will: finished ones beyond a number, those whose node is gone, and
//! those that were deleted before they ever had a node.

use crate::{
    error::{Doing, Error, if_found, text},
    options::Options,
    pods, write,
};
use consort_reconcile::{Action, Controller, Event, Hub, Informer, Key};
use k8s_openapi::{
    api::core::v1::{Node, Pod},
    jiff::Timestamp,
};
use kube::{Api, Client, api::Patch};
use serde_json::json;
use std::{sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;

const FINISHED: &str = "finished";
const BY_NODE: &str = "node";
const CROWDED: Duration = Duration::from_secs(20);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Subject {
    /// One pod: is its node there?
    Pod(Key),
    /// The number of finished pods.
    Finished,
}

struct Shell {
    client: Client,
    options: Arc<Options>,
    pods: Informer<Pod>,
    nodes: Informer<Node>,
}

pub(crate) async fn run(hub: Hub, options: Arc<Options>, shutdown: CancellationToken) {
    let (pods, nodes) = (hub.informer::<Pod>(), hub.informer::<Node>());
    pods.add_index(FINISHED, |pod| {
        if pods::is_terminal(pod) {
            vec!["yes".to_owned()]
        } else {
            Vec::new()
        }
    });
    pods.add_index(BY_NODE, |pod| {
        pods::node_name(pod)
            .map(str::to_owned)
            .into_iter()
            .collect()
    });
    let (known, on_node) = (nodes.clone(), pods.clone());
    let controller = Controller::new("pod-cleanup")
        .wait_for(&nodes)
        .queue_on(&pods, move |event| {
            let Event::Applied { old, new } = event else {
                return Vec::new();
            };
            let mut subjects = Vec::new();
            let lost = pods::node_name(new).is_some_and(|node| known.get(None, node).is_none());
            let never_placed = pods::is_terminating(new) && pods::node_name(new).is_none();
            if lost || never_placed {
                subjects.push(Subject::Pod(Key::of(&**new)));
            }
            if pods::is_terminal(new) && !old.as_ref().is_some_and(|old| pods::is_terminal(old)) {
                subjects.push(Subject::Finished);
            }
            subjects
        })
        .queue_on(&nodes, move |event| {
            let Event::Deleted(node) = event else {
                return Vec::new();
            };
            let pods = on_node.by_index(BY_NODE, write::name_of(&node.metadata));
            pods.iter()
                .map(|pod| Subject::Pod(Key::of(&**pod)))
                .collect()
        });
    let shell = Arc::new(Shell {
        client: hub.client(),
        options,
        pods,
        nodes,
    });
    let reconcile = move |subject: Subject| {
        let shell = shell.clone();
        async move {
            match subject {
                Subject::Pod(key) => shell.pod(&key).await,
                Subject::Finished => shell.finished().await,
            }
            .map_err(text)
        }
    };
    controller.run(1, reconcile, shutdown).await;
}

impl Shell {
    async fn pod(&self, key: &Key) -> Result<Action, Error> {
        let Some(pod) = self.pods.by_key(key) else {
            return Ok(Action::Done);
        };
        let api = Api::<Pod>::namespaced(self.client.clone(), key.namespace());
        let Some(node) = pods::node_name(&pod) else {
            if pods::is_terminating(&pod) {
                write::delete(&api, &pod.metadata, None, Some(0)).await?;
            }
            return Ok(Action::Done);
        };
        if self.nodes.get(None, node).is_some() {
            return Ok(Action::Done);
        }
        // Nodes that register late, or come back under their name, get some time.
        let young = pod.metadata.creation_timestamp.as_ref();
        let young = young
            .and_then(|time| pods::until(time.0, self.options.gone_node_grace, Timestamp::now()));
        if let Some(rest) = young {
            return Ok(Action::After(rest));
        }
        let nodes = Api::<Node>::all(self.client.clone());
        if if_found(
            nodes
                .get(node)
                .await
                .doing(|| format!("looking for node {node}")),
        )?
        .is_some()
        {
            return Ok(Action::Done);
        }
        if !pods::is_terminal(&pod) {
            let patch = json!({
                "metadata": { "uid": pod.metadata.uid },
                "status": {
                    "phase": "Failed",
                    "reason": "NodeLost",
                    "message": "PodGC: node no longer exists",
                    "conditions": lost_conditions(&pod, Timestamp::now()),
                },
            });
            let name = &key.name;
            let patched = api
                .patch_status(name, &write::patch_params(), &Patch::Merge(&patch))
                .await;
            match patched.doing(|| format!("failing pod {key} of a lost node")) {
                Ok(_) => {}
                Err(error) if error.is(404) || error.is(409) => return Ok(Action::Done),
                Err(error) => return Err(error),
            }
        }
        write::delete(&api, &pod.metadata, None, Some(0)).await?;
        Ok(Action::Done)
    }

    async fn finished(&self) -> Result<Action, Error> {
        let mut finished = self.pods.by_index(FINISHED, "yes");
        for pod in surplus(&mut finished, self.options.finished_pods) {
            let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
            let api = Api::<Pod>::namespaced(self.client.clone(), namespace);
            write::delete(&api, &pod.metadata, None, Some(0)).await?;
        }
        // Deletions come in while more pods finish: gather them.
        Ok(if finished.len() > self.options.finished_pods {
            Action::After(CROWDED)
        } else {
            Action::Done
        })
    }
}

/// The oldest finished pods beyond `limit`.
fn surplus(finished: &mut [Arc<Pod>], limit: usize) -> &[Arc<Pod>] {
    let count = finished.len().saturating_sub(limit);
    if count > 0 {
        let created = |pod: &Pod| pod.metadata.creation_timestamp.as_ref().map(|time| time.0);
        finished.sort_by(|a, b| {
            created(a)
                .cmp(&created(b))
                .then_with(|| a.metadata.name.cmp(&b.metadata.name))
        });
    }
    &finished[..count]
}

/// The pod's conditions, with the one that says why it was lost.
fn lost_conditions(pod: &Pod, now: Timestamp) -> Vec<serde_json::Value> {
    let conditions = pod
        .status
        .as_ref()
        .and_then(|status| status.conditions.clone())
        .unwrap_or_default();
    let mut all: Vec<_> = conditions
        .iter()
        .filter(|condition| condition.type_ != "DisruptionTarget")
        .map(|condition| json!(condition))
        .collect();
    all.push(json!({
        "type": "DisruptionTarget",
        "status": "True",
        "reason": "DeletionByPodGC",
        "message": "PodGC: node no longer exists",
        "lastTransitionTime": k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(now),
    }));
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pods::tests::{at, running};
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    #[test]
    fn the_oldest_finished_pods_beyond_the_limit_go() {
        let mut pods: Vec<_> = [("b", 20), ("a", 10), ("c", 30)]
            .map(|(name, created)| {
                let mut pod = running(name, "n", None);
                pod.metadata.creation_timestamp = Some(Time(at(created)));
                Arc::new(pod)
            })
            .into();
        let names = |pods: &[Arc<Pod>]| {
            pods.iter()
                .map(|pod| pod.metadata.name.clone().unwrap())
                .collect::<Vec<_>>()
        };
        assert_eq!(names(surplus(&mut pods, 1)), ["a", "b"]);
        assert!(surplus(&mut pods, 3).is_empty());
    }
}
