//! A pod's status, made whole from what is known: a pure function, so that what is written never
//! depends on what was written before except for the times of transitions.
//!
//! Phases, conditions, reasons and messages are those of the Kubernetes API's pod life cycle.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{
    Container, ContainerState, ContainerStateRunning, ContainerStateTerminated,
    ContainerStateWaiting, ContainerStatus, HostIP, Pod, PodCondition, PodIP, PodSpec, PodStatus,
    VolumeMountStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::decide::{Outcome, outcome, restarts};
use super::resources::Qos;
use super::state::{self, End, Ended, Failure, Known, Phase, Role, Situation, Stage};

/// What the status is made from.
pub(crate) struct Inputs<'a> {
    pub(crate) pod: &'a Pod,
    pub(crate) situation: &'a Situation,
    pub(crate) host_ips: &'a [String],
    pub(crate) pod_ips: &'a [String],
    /// When this node first saw the pod.
    pub(crate) started_at: Timestamp,
    pub(crate) now: Timestamp,
}

/// The prefix of container ids in the API.
pub(crate) const ID_SCHEME: &str = "consort://";

/// How long the error of a failed pull is shown before the back-off that follows it is.
const ERROR_SHOWN_FOR: SignedDuration = SignedDuration::from_secs(2);

/// When a failure's reason turns from the error into the back-off.
pub(crate) fn backoff_shown_at(failure: &Failure) -> Timestamp {
    (failure.at + ERROR_SHOWN_FOR).min(failure.retry_at)
}

/// Whether a failure is shown as a back-off now.
pub(crate) fn shows_pull_backoff(failure: &Failure, now: Timestamp) -> bool {
    failure.reason == "ErrImagePull" && now >= backoff_shown_at(failure)
}

/// Makes the status.
pub(crate) fn status(inputs: &Inputs<'_>) -> PodStatus {
    let Inputs { pod, situation, .. } = *inputs;
    let empty = PodSpec::default();
    let spec = pod.spec.as_ref().unwrap_or(&empty);
    let prior = pod.status.clone().unwrap_or_default();
    let mut init = Vec::new();
    let mut main = Vec::new();
    let mut ephemeral = Vec::new();
    for (role, container) in state::containers(spec) {
        let known = situation.container(&container.name);
        let status = container_status(inputs, spec, role, &container, &known);
        match role {
            Role::Init | Role::Sidecar => init.push(status),
            Role::Main => main.push(status),
            Role::Ephemeral => ephemeral.push(status),
        }
    }
    let (phase, reason, message) = phase(spec, situation);
    let conditions = conditions(inputs, spec, &prior, &main, phase);
    let some = |list: Vec<ContainerStatus>| (!list.is_empty()).then_some(list);
    PodStatus {
        phase: Some(phase.to_owned()),
        reason,
        message,
        conditions: Some(conditions),
        host_ip: inputs.host_ips.first().cloned(),
        host_ips: Some(
            inputs
                .host_ips
                .iter()
                .map(|ip| HostIP { ip: ip.clone() })
                .collect(),
        ),
        pod_ip: inputs.pod_ips.first().cloned(),
        pod_ips: (!inputs.pod_ips.is_empty()).then(|| {
            inputs
                .pod_ips
                .iter()
                .map(|ip| PodIP { ip: ip.clone() })
                .collect()
        }),
        start_time: prior.start_time.clone().or(Some(Time(inputs.started_at))),
        init_container_statuses: some(init),
        container_statuses: some(main),
        ephemeral_container_statuses: some(ephemeral),
        qos_class: prior
            .qos_class
            .clone()
            .or_else(|| Some(Qos::of(spec).as_str().to_owned())),
        observed_generation: pod.metadata.generation,
        // What others own stays as it is.
        nominated_node_name: prior.nominated_node_name,
        resize: prior.resize,
        resource_claim_statuses: prior.resource_claim_statuses,
        ..PodStatus::default()
    }
}

/// Whether nothing of the pod runs or is being started.
pub(crate) fn still(situation: &Situation) -> bool {
    !situation
        .containers
        .values()
        .any(|k| matches!(k.phase, Phase::Running(_) | Phase::Starting(_)))
}

/// Whether the pod is over because the node has stopped, which is not what its containers made of it:
/// a program that ends well when it is asked to has not done its work. Pods that are to be restarted are
/// not over.
fn terminated_by_node(spec: &PodSpec, situation: &Situation) -> bool {
    situation.end == Some(End::NodeStops)
        && situation.cut_short
        && still(situation)
        && outcome(spec, situation) != Outcome::Open
}

/// Phase with reason and message.
fn phase(spec: &PodSpec, situation: &Situation) -> (&'static str, Option<String>, Option<String>) {
    if let Some(End::Failed { reason, message }) = &situation.end
        && still(situation)
    {
        return ("Failed", Some(reason.clone()), Some(message.clone()));
    }
    if terminated_by_node(spec, situation) {
        let (reason, message) = ("Terminated".to_owned(), NODE_SHUTDOWN.to_owned());
        return ("Failed", Some(reason), Some(message));
    }
    // The outcome is told once everything has ended: a pod does not go back from it.
    if still(situation) {
        match outcome(spec, situation) {
            Outcome::Succeeded => return ("Succeeded", None, None),
            Outcome::Failed => return ("Failed", None, None),
            Outcome::Open => {}
        }
    }
    let mut waiting = 0;
    let mut running = 0;
    let mut stopped = 0;
    let mut good = 0;
    for container in &spec.containers {
        let known = situation.container(&container.name);
        match &known.phase {
            Phase::Running(_) => running += 1,
            Phase::Ended(ended) | Phase::Starting(Some(ended)) => {
                stopped += 1;
                good += usize::from(ended.code == 0);
            }
            Phase::Waiting if known.last.is_some() => stopped += 1,
            Phase::Waiting | Phase::Starting(None) => waiting += 1,
        }
    }
    let phase = if !situation.initialised || waiting > 0 {
        "Pending"
    } else if matches!(situation.end, Some(End::Deleted)) && running == 0 && still(situation) {
        if stopped == good {
            "Succeeded"
        } else {
            "Failed"
        }
    } else {
        "Running"
    };
    (phase, None, None)
}

fn time(at: Timestamp) -> Time {
    // The API keeps whole seconds.
    Time(Timestamp::from_second(at.as_second()).unwrap_or(at))
}

fn terminated(ended: &Ended) -> ContainerStateTerminated {
    ContainerStateTerminated {
        container_id: (!ended.id.is_empty()).then(|| format!("{ID_SCHEME}{}", ended.id)),
        exit_code: ended.code,
        signal: ended.signal,
        reason: Some(ended.reason.clone()),
        message: ended.message.clone().filter(|m| !m.is_empty()),
        started_at: ended.started_at.map(time),
        finished_at: Some(time(ended.finished_at)),
    }
}

/// A container's status.
fn container_status(
    inputs: &Inputs<'_>,
    spec: &PodSpec,
    role: Role,
    container: &Container,
    known: &Known,
) -> ContainerStatus {
    let situation = inputs.situation;
    let mut id = None;
    let mut last = known.last.clone();
    let state = match &known.phase {
        Phase::Running(running) => {
            id = Some(running.id.clone());
            ContainerState {
                running: Some(ContainerStateRunning {
                    started_at: Some(time(running.started_at)),
                }),
                ..ContainerState::default()
            }
        }
        Phase::Starting(Some(ended)) => {
            id = Some(ended.id.clone());
            ContainerState {
                terminated: Some(terminated(ended)),
                ..ContainerState::default()
            }
        }
        Phase::Ended(ended) => {
            id = Some(ended.id.clone());
            let open = situation.end.is_none() && outcome(spec, situation) == Outcome::Open;
            let again = open && restarts(spec, role, container, ended);
            let backing_off = again && known.backoff.ready_at(ended.finished_at) > inputs.now;
            let failing = known.failure.as_ref().filter(|_| again);
            if failing.is_some() || backing_off {
                last = Some(ended.clone());
                let waiting = match failing {
                    Some(failure) => waiting_for(container, failure, inputs.now),
                    None => ContainerStateWaiting {
                        reason: Some("CrashLoopBackOff".to_owned()),
                        message: Some(format!(
                            "back-off {} restarting failed container={} pod={}",
                            go_duration(known.backoff.delay()),
                            container.name,
                            state::full_name(inputs.pod)
                        )),
                    },
                };
                ContainerState {
                    waiting: Some(waiting),
                    ..ContainerState::default()
                }
            } else {
                ContainerState {
                    terminated: Some(terminated(ended)),
                    ..ContainerState::default()
                }
            }
        }
        Phase::Waiting | Phase::Starting(None) => {
            let waiting = match &known.failure {
                Some(failure) => waiting_for(container, failure, inputs.now),
                None => ContainerStateWaiting {
                    reason: Some(
                        if spec.init_containers.as_ref().is_some_and(|i| !i.is_empty())
                            && !situation.initialised
                        {
                            "PodInitializing"
                        } else {
                            "ContainerCreating"
                        }
                        .to_owned(),
                    ),
                    message: None,
                },
            };
            ContainerState {
                waiting: Some(waiting),
                ..ContainerState::default()
            }
        }
    };
    let running = known.running();
    let up = running.is_some_and(|r| r.post_started && r.started);
    let ready = match role {
        // A finished init container is ready in the sense that it no longer holds anything up.
        Role::Init => known.ended().is_some_and(|e| e.code == 0),
        Role::Ephemeral => false,
        Role::Main | Role::Sidecar => up && running.is_some_and(|r| r.ready),
    };
    let mounts: Vec<VolumeMountStatus> = container
        .volume_mounts
        .iter()
        .flatten()
        .map(|m| VolumeMountStatus {
            name: m.name.clone(),
            mount_path: m.mount_path.clone(),
            read_only: m.read_only.filter(|ro| *ro),
            recursive_read_only: m.read_only.filter(|ro| *ro).map(|_| "Disabled".to_owned()),
            ..VolumeMountStatus::default()
        })
        .collect();
    ContainerStatus {
        name: container.name.clone(),
        image: if known.image.is_empty() {
            container.image.clone().unwrap_or_default()
        } else {
            known.image.clone()
        },
        image_id: known.image_id.clone(),
        container_id: id
            .filter(|id| !id.is_empty())
            .map(|id| format!("{ID_SCHEME}{id}")),
        state: Some(state),
        last_state: Some(ContainerState {
            terminated: last.as_ref().map(terminated),
            ..ContainerState::default()
        }),
        ready,
        restart_count: i32::try_from(known.restarts).unwrap_or(i32::MAX),
        started: match role {
            Role::Ephemeral => None,
            _ => Some(up),
        },
        allocated_resources: container
            .resources
            .as_ref()
            .and_then(|r| r.requests.clone()),
        resources: container
            .resources
            .clone()
            .filter(|r| r.requests.is_some() || r.limits.is_some()),
        volume_mounts: (!mounts.is_empty()).then_some(mounts),
        ..ContainerStatus::default()
    }
}

fn waiting_for(container: &Container, failure: &Failure, now: Timestamp) -> ContainerStateWaiting {
    let (reason, message) = if shows_pull_backoff(failure, now) {
        let image = container.image.as_deref().unwrap_or_default();
        (
            "ImagePullBackOff".to_owned(),
            format!(
                "Back-off pulling image \"{image}\": {}: {}",
                failure.reason, failure.message
            ),
        )
    } else {
        (failure.reason.clone(), failure.message.clone())
    };
    ContainerStateWaiting {
        reason: Some(reason),
        message: Some(message).filter(|m| !m.is_empty()),
    }
}

/// `10s`, `1m20s`, `5m0s`: durations as messages write them.
fn go_duration(duration: SignedDuration) -> String {
    let seconds = duration.as_secs();
    if seconds < 60 {
        format!("{seconds}s")
    } else {
        format!("{}m{}s", seconds / 60, seconds % 60)
    }
}

struct Verdict {
    kind: &'static str,
    status: bool,
    reason: Option<&'static str>,
    message: Option<String>,
}

fn conditions(
    inputs: &Inputs<'_>,
    spec: &PodSpec,
    prior: &PodStatus,
    main: &[ContainerStatus],
    phase: &str,
) -> Vec<PodCondition> {
    let situation = inputs.situation;
    let sandbox_up =
        situation.sandbox == Stage::Ready && !situation.sandbox_dead && !situation.torn_down;
    let completed = phase == "Succeeded";
    let failed = phase == "Failed";

    let unfinished: Vec<&str> = spec
        .init_containers
        .iter()
        .flatten()
        .filter(|c| {
            let known = situation.container(&c.name);
            match state::init_role(c) {
                Role::Sidecar => !known.running().is_some_and(|r| r.started && r.post_started),
                _ => known.ended().is_none_or(|e| e.code != 0),
            }
        })
        .map(|c| c.name.as_str())
        .collect();
    let initialized = if completed {
        Verdict {
            kind: "Initialized",
            status: true,
            reason: Some("PodCompleted"),
            message: None,
        }
    } else if unfinished.is_empty() || situation.initialised {
        Verdict {
            kind: "Initialized",
            status: true,
            reason: None,
            message: None,
        }
    } else {
        Verdict {
            kind: "Initialized",
            status: false,
            reason: Some("ContainersNotInitialized"),
            message: Some(format!(
                "containers with incomplete status: [{}]",
                unfinished.join(" ")
            )),
        }
    };

    let mut unready: Vec<&str> = spec
        .init_containers
        .iter()
        .flatten()
        .filter(|c| state::init_role(c) == Role::Sidecar)
        .filter(|c| {
            !situation
                .container(&c.name)
                .running()
                .is_some_and(|r| r.started && r.ready)
        })
        .map(|c| c.name.as_str())
        .collect();
    unready.extend(main.iter().filter(|s| !s.ready).map(|s| s.name.as_str()));
    let not_ready = |kind| {
        if completed {
            Some(Verdict {
                kind,
                status: false,
                reason: Some("PodCompleted"),
                message: None,
            })
        } else if failed {
            Some(Verdict {
                kind,
                status: false,
                reason: Some("PodFailed"),
                message: None,
            })
        } else if unready.is_empty() {
            None
        } else {
            Some(Verdict {
                kind,
                status: false,
                reason: Some("ContainersNotReady"),
                message: Some(format!(
                    "containers with unready status: [{}]",
                    unready.join(" ")
                )),
            })
        }
    };
    let yes = |kind| Verdict {
        kind,
        status: true,
        reason: None,
        message: None,
    };
    let containers_ready = not_ready("ContainersReady").unwrap_or_else(|| yes("ContainersReady"));
    let ready = not_ready("Ready").unwrap_or_else(|| {
        let mut missing = Vec::new();
        for gate in spec.readiness_gates.iter().flatten() {
            let found = prior
                .conditions
                .iter()
                .flatten()
                .find(|c| c.type_ == gate.condition_type);
            match found {
                None => missing.push(format!(
                    "corresponding condition of pod readiness gate \"{}\" does not exist.",
                    gate.condition_type
                )),
                Some(c) if c.status != "True" => missing.push(format!(
                    "the status of pod readiness gate \"{}\" is not \"True\", but {}",
                    gate.condition_type, c.status
                )),
                Some(_) => {}
            }
        }
        if missing.is_empty() {
            yes("Ready")
        } else {
            Verdict {
                kind: "Ready",
                status: false,
                reason: Some("ReadinessGatesNotReady"),
                message: Some(missing.join(", ")),
            }
        }
    });

    let mut out = Vec::new();
    let verdicts = [
        Verdict {
            kind: "PodReadyToStartContainers",
            status: sandbox_up,
            reason: None,
            message: None,
        },
        initialized,
        ready,
        containers_ready,
        yes("PodScheduled"),
    ];
    for verdict in verdicts {
        let before = prior
            .conditions
            .iter()
            .flatten()
            .find(|c| c.type_ == verdict.kind);
        let status = if verdict.status { "True" } else { "False" };
        let since = before
            .filter(|c| c.status == status)
            .and_then(|c| c.last_transition_time.clone())
            .unwrap_or_else(|| time(inputs.now));
        out.push(PodCondition {
            type_: verdict.kind.to_owned(),
            status: status.to_owned(),
            reason: verdict.reason.map(str::to_owned),
            message: verdict.message,
            last_transition_time: Some(since),
            last_probe_time: None,
            observed_generation: inputs.pod.metadata.generation,
        });
    }
    // Conditions of others (readiness gates, disruption) are theirs to change.
    out.extend(
        prior
            .conditions
            .iter()
            .flatten()
            .filter(|c| !OWN_CONDITIONS.contains(&c.type_.as_str()))
            .cloned(),
    );
    let disrupted = |c: &PodCondition| c.type_ == DISRUPTION_TARGET && c.status == "True";
    if terminated_by_node(spec, situation) && !out.iter().any(disrupted) {
        out.retain(|c| c.type_ != DISRUPTION_TARGET);
        out.push(PodCondition {
            type_: DISRUPTION_TARGET.to_owned(),
            status: "True".to_owned(),
            reason: Some("TerminationByKubelet".to_owned()),
            message: Some(NODE_SHUTDOWN.to_owned()),
            last_transition_time: Some(time(inputs.now)),
            last_probe_time: None,
            observed_generation: inputs.pod.metadata.generation,
        });
    }
    out
}

/// What a pod that ends with its node says, as the kubelet's graceful shutdown has it.
const NODE_SHUTDOWN: &str = "Pod was terminated in response to imminent node shutdown.";

/// The condition of pods that end for reasons outside of them. Written by those who end them.
pub(crate) const DISRUPTION_TARGET: &str = "DisruptionTarget";

/// The conditions that the node writes.
pub(crate) const OWN_CONDITIONS: [&str; 5] = [
    "PodReadyToStartContainers",
    "Initialized",
    "Ready",
    "ContainersReady",
    "PodScheduled",
];

#[cfg(test)]
#[path = "status_tests.rs"]
mod tests;
