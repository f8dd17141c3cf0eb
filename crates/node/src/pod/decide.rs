//! What to do next for a pod: a pure function from its spec and its situation.
//!
//! The rules are the documented life cycle of pods: init containers one after the other, sidecars
//! kept running from their place in that order on, main containers in order (each after the hook of
//! the one before), restarts by policy with back-off, and an end in which sidecars outlive the rest.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, PodSpec};

use super::state::{End, Ended, Known, Phase, Role, Situation, Stage, Unhealthy, init_role};

/// One thing to do. Each is safe to repeat, and is not given again while it is under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Remove what is left of a sandbox whose shim has died; the next decision makes a new one.
    DiscardSandbox,
    /// Make network and sandbox.
    CreateSandbox,
    /// Make the volumes.
    MountVolumes,
    /// Start a container, for the first time or again.
    Start { container: String, role: Role },
    /// Run the `postStart` hook of a container.
    PostStart { container: String },
    /// Stop a container.
    Stop {
        container: String,
        /// Seconds; `None` is what the pod's spec says.
        grace: Option<i64>,
        /// For the `Killing` event.
        message: String,
    },
    /// Give up starting a container.
    CancelStart { container: String },
    /// Remove sandbox, network and volumes.
    TearDown,
    /// Delete the pod's object.
    DeleteObject,
    /// Nothing is left to do, ever.
    Finish,
}

/// What to do now and when to look again at the latest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Decision {
    pub(crate) actions: Vec<Action>,
    pub(crate) wake_at: Option<Timestamp>,
}

impl Decision {
    fn wake(&mut self, at: Timestamp) {
        self.wake_at = Some(self.wake_at.map_or(at, |now| now.min(at)));
    }
}

/// Whether a container that ended is started again.
///
/// The pod's policy, or the container's own, or one of the container's rules on exit codes.
pub(crate) fn restarts(spec: &PodSpec, role: Role, container: &Container, ended: &Ended) -> bool {
    if role == Role::Ephemeral {
        return false;
    }
    if role == Role::Sidecar {
        return true;
    }
    for rule in container.restart_policy_rules.iter().flatten() {
        let Some(codes) = &rule.exit_codes else {
            continue;
        };
        let listed = codes.values.iter().flatten().any(|v| *v == ended.code);
        let matches = if codes.operator == "NotIn" {
            !listed
        } else {
            listed
        };
        if matches && rule.action.starts_with("Restart") {
            return true;
        }
    }
    let policy = container
        .restart_policy
        .as_deref()
        .or(spec.restart_policy.as_deref())
        .unwrap_or("Always");
    match policy {
        "Never" => false,
        "OnFailure" => ended.code != 0,
        // An init container that succeeded is done under every policy.
        _ => role != Role::Init || ended.code != 0,
    }
}

/// How a pod stands as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Something runs or is still to be run.
    Open,
    /// All main containers have ended for good, and well.
    Succeeded,
    /// An init container or a main container has ended badly for good.
    Failed,
}

/// Whether the pod's containers have done all they ever will.
pub(crate) fn outcome(spec: &PodSpec, situation: &Situation) -> Outcome {
    if !situation.initialised {
        for container in spec
            .init_containers
            .iter()
            .flatten()
            .filter(|c| init_role(c) == Role::Init)
        {
            if let Some(ended) = situation
                .containers
                .get(&container.name)
                .and_then(Known::ended)
                && ended.code != 0
                && !restarts(spec, Role::Init, container, ended)
            {
                return Outcome::Failed;
            }
        }
    }
    let mut failed = false;
    for container in &spec.containers {
        match situation
            .containers
            .get(&container.name)
            .and_then(Known::ended)
        {
            Some(ended) if !restarts(spec, Role::Main, container, ended) => {
                failed |= ended.code != 0;
            }
            _ => return Outcome::Open,
        }
    }
    if failed {
        Outcome::Failed
    } else {
        Outcome::Succeeded
    }
}

/// Decides what to do next.
pub(crate) fn decide(spec: &PodSpec, situation: &Situation, now: Timestamp) -> Decision {
    let mut decision = Decision::default();
    if let Some(end) = &situation.end {
        finish(spec, situation, end, &mut decision);
        return decision;
    }
    if outcome(spec, situation) != Outcome::Open {
        // The pod has run its course: sidecars and whatever else runs end too.
        if stop_all(spec, situation, &mut decision)
            && situation.final_status_stored
            && !situation.torn_down
        {
            tear_down(situation, &mut decision);
        }
        return decision;
    }
    if situation.sandbox_dead {
        decision.actions.push(Action::DiscardSandbox);
        return decision;
    }
    let due = |stage: &Stage, decision: &mut Decision| match stage {
        Stage::Pending => true,
        Stage::Failed { retry_at } if *retry_at <= now => true,
        Stage::Failed { retry_at } => {
            decision.wake(*retry_at);
            false
        }
        Stage::Busy | Stage::Ready => false,
    };
    if due(&situation.sandbox, &mut decision) {
        decision.actions.push(Action::CreateSandbox);
    }
    if due(&situation.volumes, &mut decision) {
        decision.actions.push(Action::MountVolumes);
    }
    if situation.sandbox != Stage::Ready || situation.volumes != Stage::Ready {
        return decision;
    }
    for container in spec.ephemeral_containers.iter().flatten() {
        let known = situation.container(&container.name);
        if known.phase == Phase::Waiting && !known.attempted {
            start(&container.name, Role::Ephemeral, &known, now, &mut decision);
        }
    }
    let may_go_on = init(spec, situation, now, &mut decision);
    if may_go_on {
        main(spec, situation, now, &mut decision);
    }
    decision
}

/// Init containers and sidecars, in order. True when the main containers may start.
fn init(spec: &PodSpec, situation: &Situation, now: Timestamp, decision: &mut Decision) -> bool {
    for container in spec.init_containers.iter().flatten() {
        let known = situation.container(&container.name);
        match init_role(container) {
            Role::Sidecar => {
                let up = keep_running(spec, Role::Sidecar, container, &known, now, decision);
                if !up && !situation.initialised {
                    return false;
                }
            }
            _ if situation.initialised => {}
            role => match &known.phase {
                Phase::Ended(ended) if ended.code == 0 => {}
                Phase::Ended(ended) => {
                    if restarts(spec, role, container, ended) {
                        restart(container, role, &known, ended, now, decision);
                    }
                    return false;
                }
                Phase::Waiting => {
                    start(&container.name, role, &known, now, decision);
                    return false;
                }
                Phase::Starting(_) => return false,
                Phase::Running(_) => {
                    keep_running(spec, role, container, &known, now, decision);
                    return false;
                }
            },
        }
    }
    true
}

/// Main containers: each starts after the start (and hook) of those before it is over.
fn main(spec: &PodSpec, situation: &Situation, now: Timestamp, decision: &mut Decision) {
    let mut busy = false;
    for container in &spec.containers {
        let known = situation.container(&container.name);
        let in_flight = match &known.phase {
            Phase::Starting(_) => true,
            Phase::Running(running) => !running.post_started && !running.stopping,
            _ => false,
        };
        if busy && matches!(known.phase, Phase::Waiting | Phase::Ended(_)) {
            continue;
        }
        let before = decision.actions.len();
        keep_running(spec, Role::Main, container, &known, now, decision);
        busy |= in_flight
            || decision.actions[before..]
                .iter()
                .any(|a| matches!(a, Action::Start { .. }));
    }
}

/// What one container needs in order to run. True once it runs, with its hook and startup probe done.
fn keep_running(
    spec: &PodSpec,
    role: Role,
    container: &Container,
    known: &Known,
    now: Timestamp,
    decision: &mut Decision,
) -> bool {
    match &known.phase {
        Phase::Waiting => start(&container.name, role, known, now, decision),
        Phase::Starting(_) => {}
        Phase::Ended(ended) => {
            if restarts(spec, role, container, ended) {
                restart(container, role, known, ended, now, decision);
            }
        }
        Phase::Running(running) => {
            if running.stopping {
                return false;
            }
            if let Some(Unhealthy { message, grace }) = &running.unhealthy {
                decision.actions.push(Action::Stop {
                    container: container.name.clone(),
                    grace: *grace,
                    message: message.clone(),
                });
                return false;
            }
            if !running.post_started {
                decision.actions.push(Action::PostStart {
                    container: container.name.clone(),
                });
            }
            return running.post_started && running.started;
        }
    }
    false
}

/// Starts a container unless a failure holds it back.
fn start(name: &str, role: Role, known: &Known, now: Timestamp, decision: &mut Decision) {
    match &known.failure {
        Some(failure) if failure.retry_at > now => {
            decision.wake(failure.retry_at);
            // The reason shown changes from the error itself to the back-off after a moment.
            let shown = super::status::backoff_shown_at(failure);
            if shown > now {
                decision.wake(shown);
            }
        }
        _ => decision.actions.push(Action::Start {
            container: name.to_owned(),
            role,
        }),
    }
}

/// Starts a container again after its back-off.
fn restart(
    container: &Container,
    role: Role,
    known: &Known,
    ended: &Ended,
    now: Timestamp,
    decision: &mut Decision,
) {
    let ready_at = known.backoff.ready_at(ended.finished_at);
    if ready_at > now {
        decision.wake(ready_at);
    } else {
        start(&container.name, role, known, now, decision);
    }
}

/// The end of a pod.
fn finish(spec: &PodSpec, situation: &Situation, end: &End, decision: &mut Decision) {
    if !stop_all(spec, situation, decision) {
        return;
    }
    let needs_status = matches!(end, End::Deleted | End::Failed { .. } | End::NodeStops);
    if needs_status && !situation.final_status_stored {
        return;
    }
    if !situation.torn_down {
        tear_down(situation, decision);
        return;
    }
    match end {
        End::Deleted => decision.actions.push(Action::DeleteObject),
        End::Gone | End::NodeStops => decision.actions.push(Action::Finish),
        // The object stays as the record of the failure until someone deletes it.
        End::Failed { .. } | End::Settled => {}
    }
}

fn tear_down(situation: &Situation, decision: &mut Decision) {
    let busy =
        situation.sandbox == Stage::Busy || situation.volumes == Stage::Busy || situation.mounting;
    if !situation.tearing_down && !busy {
        decision.actions.push(Action::TearDown);
    }
}

/// Stops everything: first what is not a sidecar, then sidecars in reverse order. True when all is still.
fn stop_all(spec: &PodSpec, situation: &Situation, decision: &mut Decision) -> bool {
    let mut still = true;
    let mut stop = |name: &str| {
        let known = situation.container(name);
        match &known.phase {
            Phase::Waiting | Phase::Ended(_) => true,
            Phase::Starting(_) => {
                decision.actions.push(Action::CancelStart {
                    container: name.to_owned(),
                });
                false
            }
            Phase::Running(running) => {
                if !running.stopping {
                    decision.actions.push(Action::Stop {
                        container: name.to_owned(),
                        grace: situation.end.is_some().then_some(situation.grace_seconds),
                        message: format!("Stopping container {name}"),
                    });
                }
                false
            }
        }
    };
    let others = spec
        .containers
        .iter()
        .map(|c| c.name.as_str())
        .chain(
            spec.ephemeral_containers
                .iter()
                .flatten()
                .map(|c| c.name.as_str()),
        )
        .chain(
            spec.init_containers
                .iter()
                .flatten()
                .filter(|c| init_role(c) == Role::Init)
                .map(|c| c.name.as_str()),
        );
    for name in others {
        still &= stop(name);
    }
    if still {
        let sidecars: Vec<&Container> = spec
            .init_containers
            .iter()
            .flatten()
            .filter(|c| init_role(c) == Role::Sidecar)
            .collect();
        for sidecar in sidecars.into_iter().rev() {
            if !stop(&sidecar.name) {
                return false;
            }
        }
    }
    still
}

#[cfg(test)]
#[path = "decide_tests.rs"]
mod tests;
