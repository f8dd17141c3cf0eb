//! Taking over the pods that an earlier agent has left running.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use consort_runtime::{Container as Run, Sandbox, State};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::PodSpec;

use super::labels;
use super::operations;
use super::start::chain;
use super::state::{Known, Phase, Running, containers};

/// What is left of one pod on this machine.
#[derive(Default)]
pub(crate) struct Adopted {
    /// The sandbox to go on with: the one whose shim runs, or else the newest dead one.
    pub(crate) sandbox: Option<Sandbox>,
    pub(crate) ips: Vec<String>,
    pub(crate) netns: Option<PathBuf>,
    /// Further sandboxes of the same pod, to be removed.
    pub(crate) rest: Vec<Sandbox>,
}

/// Sandboxes by the uid of their pod.
pub(crate) fn group(
    sandboxes: Vec<Sandbox>,
    network: &consort_net::Network,
) -> HashMap<String, Adopted> {
    let attachments: HashMap<String, consort_net::Attachment> = network
        .attachments()
        .into_iter()
        .map(|a| (a.pod_id.clone(), a))
        .collect();
    let mut pods: HashMap<String, Adopted> = HashMap::new();
    for sandbox in sandboxes {
        let uid = sandbox
            .labels()
            .get(labels::POD_UID)
            .cloned()
            .unwrap_or_default();
        let adopted = pods.entry(uid).or_default();
        match &adopted.sandbox {
            Some(kept) if kept.alive() || !sandbox.alive() => adopted.rest.push(sandbox),
            _ => {
                let attachment = attachments.get(sandbox.id());
                adopted.ips = attachment.map(|a| a.ip.to_string()).into_iter().collect();
                adopted.netns = attachment.map(|a| a.netns.clone());
                adopted.rest.extend(adopted.sandbox.replace(sandbox));
            }
        }
    }
    pods
}

/// A container that runs on.
pub(crate) struct StillRunning {
    pub(crate) name: String,
    pub(crate) attempt: u32,
    pub(crate) container: Run,
}

/// What a sandbox's containers are, by name, and the handles of those that run.
///
/// `post_started` is assumed: whether a hook had returned is not recorded, and a hook must not run twice.
pub(crate) async fn read(
    sandbox: &Sandbox,
    spec: &PodSpec,
    dir: &Path,
    ready_before: &HashMap<String, bool>,
) -> (BTreeMap<String, Known>, Vec<StillRunning>, Vec<Run>) {
    let mut runs: HashMap<String, Vec<(u32, Run, State)>> = HashMap::new();
    let mut useless = Vec::new();
    for container in sandbox.containers().unwrap_or_default() {
        let found = &container.spec().labels;
        let name = found.get(labels::CONTAINER).cloned().unwrap_or_default();
        let attempt = found
            .get(labels::ATTEMPT)
            .and_then(|a| a.parse().ok())
            .unwrap_or(0);
        match container.state().await {
            // Made but never started: the agent died in between.
            Ok(State::Created) => useless.push(container),
            Ok(state) => runs
                .entry(name)
                .or_default()
                .push((attempt, container, state)),
            Err(error) => {
                tracing::warn!(
                    container = container.id(),
                    error = chain(&error),
                    "reading a container's state"
                );
                useless.push(container);
            }
        }
    }
    let mut known = BTreeMap::new();
    let mut running = Vec::new();
    for (_, container_spec) in containers(spec) {
        let Some(mut of_name) = runs.remove(&container_spec.name) else {
            continue;
        };
        of_name.sort_by_key(|(attempt, _, _)| *attempt);
        let mut entry = Known {
            attempted: true,
            ..Known::default()
        };
        for (attempt, container, state) in of_name {
            let found = &container.spec().labels;
            let id = container.id().to_owned();
            let text = |key: &str| found.get(key).cloned().unwrap_or_default();
            (entry.image, entry.image_id) = (text(labels::IMAGE), text(labels::IMAGE_ID));
            entry.restarts = attempt;
            if let Phase::Ended(before) = std::mem::take(&mut entry.phase) {
                entry.last = Some(before);
            }
            entry.phase = match state {
                State::Running { started_at, .. } => {
                    let was_ready = ready_before
                        .get(&container_spec.name)
                        .copied()
                        .unwrap_or(false);
                    running.push(StillRunning {
                        name: container_spec.name.clone(),
                        attempt,
                        container: container.clone(),
                    });
                    Phase::Running(Running {
                        id,
                        started_at,
                        post_started: true,
                        started: container_spec.startup_probe.is_none() || was_ready,
                        ready: container_spec.readiness_probe.is_none() || was_ready,
                        stopping: false,
                        unhealthy: None,
                    })
                }
                State::Exited(exit) => {
                    Phase::Ended(operations::ended(id, exit, &container_spec, dir, attempt).await)
                }
                State::Created => Phase::Waiting,
            };
        }
        known.insert(container_spec.name.clone(), entry);
    }
    useless.extend(
        runs.into_values()
            .flatten()
            .map(|(_, container, _)| container),
    );
    (known, running, useless)
}

/// Containers that the API remembers and this machine does not.
pub(crate) fn from_api(
    known: &mut BTreeMap<String, Known>,
    status: &k8s_openapi::api::core::v1::PodStatus,
    now: Timestamp,
) {
    let all = status
        .init_container_statuses
        .iter()
        .flatten()
        .chain(status.container_statuses.iter().flatten())
        .chain(status.ephemeral_container_statuses.iter().flatten());
    for status in all {
        let remembered = Known::from_api(status, now);
        match known.get_mut(&status.name) {
            None if remembered.attempted => {
                known.insert(status.name.clone(), remembered);
            }
            // A run in a later sandbox counts on from what the API has seen.
            Some(here) if here.last.is_none() && here.restarts == remembered.restarts => {
                here.last = remembered.last;
            }
            _ => {}
        }
    }
}
