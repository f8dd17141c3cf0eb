//! The status of a deployment and the conditions Available, Progressing and ReplicaFailure.

use super::{decide::Draft, sizes};
use crate::{conditions, pods, write};
use k8s_openapi::{
    api::apps::v1::{Deployment, DeploymentCondition, DeploymentStatus},
    apimachinery::pkg::apis::meta::v1::Time,
    jiff::Timestamp,
};
use std::time::Duration;

pub(crate) const PROGRESSING: &str = "Progressing";
const AVAILABLE: &str = "Available";
const REPLICA_FAILURE: &str = "ReplicaFailure";
pub(crate) const COMPLETE: &str = "NewReplicaSetAvailable";
const TIMED_OUT: &str = "ProgressDeadlineExceeded";

pub(crate) fn condition(
    kind: &str,
    status: &str,
    reason: &str,
    message: impl Into<String>,
    now: Timestamp,
) -> DeploymentCondition {
    DeploymentCondition {
        type_: Some(kind.to_owned()),
        status: Some(status.to_owned()),
        reason: Some(reason.to_owned()),
        message: Some(message.into()),
        last_update_time: Some(Time(now)),
        last_transition_time: Some(Time(now)),
    }
}

/// Sets a condition unless one of the same status and reason stands.
pub(crate) fn set(status: &mut DeploymentStatus, condition: DeploymentCondition) {
    let kind = condition.type_.as_deref().unwrap_or_default();
    let current = conditions::find(status.conditions.as_ref(), kind);
    if current.is_some_and(|current| {
        current.status == condition.status && current.reason == condition.reason
    }) {
        return;
    }
    conditions::set(&mut status.conditions, condition);
}

/// The deadline for progress; none if it is off (upstream takes the largest number for that).
pub(crate) fn deadline(deployment: &Deployment) -> Option<Duration> {
    let seconds = deployment.spec.progress_deadline_seconds?;
    (seconds != i32::MAX).then(|| pods::seconds(Some(seconds)))
}

fn some(count: i32) -> Option<i32> {
    (count != 0).then_some(count)
}

/// Counts and the Available condition.
pub(crate) fn counted(draft: &Draft<'_>) -> DeploymentStatus {
    let old = draft.deployment.status.clone().unwrap_or_default();
    let sum = |count: &dyn Fn(&k8s_openapi::api::apps::v1::ReplicaSet) -> i32| {
        draft.sets.iter().map(count).sum::<i32>()
    };
    let available = sum(&sizes::available);
    let ready = sum(&|set| {
        set.status
            .as_ref()
            .and_then(|status| status.ready_replicas)
            .unwrap_or_default()
    });
    let terminating = sum(&|set| {
        set.status
            .as_ref()
            .and_then(|status| status.terminating_replicas)
            .unwrap_or_default()
    });
    let mut status = DeploymentStatus {
        observed_generation: draft.deployment.metadata.generation,
        replicas: some(sum(&sizes::actual)),
        updated_replicas: some(draft.new.map_or(0, |at| sizes::actual(&draft.sets[at]))),
        ready_replicas: some(ready),
        available_replicas: some(available),
        unavailable_replicas: some((draft.total() - available).max(0)),
        terminating_replicas: Some(terminating),
        collision_count: old.collision_count,
        conditions: old.conditions,
    };
    let verdict = if available >= draft.wanted() - draft.bounds.unavailable {
        condition(
            AVAILABLE,
            "True",
            "MinimumReplicasAvailable",
            "Deployment has minimum availability.",
            draft.now,
        )
    } else {
        let text = "Deployment does not have minimum availability.";
        condition(
            AVAILABLE,
            "False",
            "MinimumReplicasUnavailable",
            text,
            draft.now,
        )
    };
    set(&mut status, verdict);
    status
}

/// Whether all desired replicas are of the new set, available, and no other is left.
pub(crate) fn is_complete(deployment: &Deployment, status: &DeploymentStatus) -> bool {
    let wanted = sizes::wanted(deployment);
    [
        status.updated_replicas,
        status.replicas,
        status.available_replicas,
    ]
    .iter()
    .all(|count| count.unwrap_or_default() == wanted)
        && status.observed_generation >= deployment.metadata.generation
}

/// Whether counts have moved towards the goal since the last status.
fn has_progressed(old: &DeploymentStatus, new: &DeploymentStatus) -> bool {
    let grown =
        |old: Option<i32>, new: Option<i32>| new.unwrap_or_default() > old.unwrap_or_default();
    let outdated = |status: &DeploymentStatus| {
        status.replicas.unwrap_or_default() - status.updated_replicas.unwrap_or_default()
    };
    grown(old.updated_replicas, new.updated_replicas)
        || outdated(new) < outdated(old)
        || grown(old.ready_replicas, new.ready_replicas)
        || grown(old.available_replicas, new.available_replicas)
}

/// Brings Progressing and ReplicaFailure up to date.
pub(crate) fn judge(draft: &Draft<'_>, status: &mut DeploymentStatus) {
    let deployment = draft.deployment;
    let old = deployment.status.clone().unwrap_or_default();
    let subject = match draft.new {
        Some(at) => format!(
            "ReplicaSet \"{}\"",
            write::name_of(&draft.sets[at].metadata)
        ),
        None => format!("Deployment \"{}\"", write::name_of(&deployment.metadata)),
    };
    let current = conditions::find(status.conditions.as_ref(), PROGRESSING).cloned();
    let was_complete = status.replicas == status.updated_replicas
        && current
            .as_ref()
            .is_some_and(|current| current.reason.as_deref() == Some(COMPLETE));
    match deadline(deployment) {
        None => conditions::remove(&mut status.conditions, PROGRESSING),
        Some(_) if was_complete => {}
        Some(limit) => {
            if is_complete(deployment, status) {
                let text = format!("{subject} has successfully progressed.");
                set(
                    status,
                    condition(PROGRESSING, "True", COMPLETE, text, draft.now),
                );
            } else if has_progressed(&old, status) {
                let text = format!("{subject} is progressing.");
                let mut progressing =
                    condition(PROGRESSING, "True", "ReplicaSetUpdated", text, draft.now);
                // Its update time is what the deadline counts from, so it is always renewed.
                if let Some(current) =
                    current.filter(|current| current.status.as_deref() == Some("True"))
                {
                    progressing.last_transition_time = current.last_transition_time;
                }
                conditions::remove(&mut status.conditions, PROGRESSING);
                set(status, progressing);
            } else if current
                .as_ref()
                .is_some_and(|current| has_timed_out(current, limit, draft.now))
            {
                let text = format!("{subject} has timed out progressing.");
                set(
                    status,
                    condition(PROGRESSING, "False", TIMED_OUT, text, draft.now),
                );
            }
        }
    }
    let failing = |at: usize| {
        let conditions = draft.sets[at]
            .status
            .as_ref()
            .and_then(|status| status.conditions.as_ref());
        conditions::find(conditions, REPLICA_FAILURE)
            .filter(|condition| condition.status.as_deref() == Some("True"))
    };
    match draft
        .new
        .into_iter()
        .chain(draft.old_by_age())
        .find_map(failing)
    {
        Some(failure) => {
            let (reason, text) = (
                failure.reason.clone().unwrap_or_default(),
                failure.message.clone(),
            );
            set(
                status,
                condition(
                    REPLICA_FAILURE,
                    "True",
                    &reason,
                    text.unwrap_or_default(),
                    draft.now,
                ),
            );
        }
        None => conditions::remove(&mut status.conditions, REPLICA_FAILURE),
    }
}

fn has_timed_out(current: &DeploymentCondition, limit: Duration, now: Timestamp) -> bool {
    match current.reason.as_deref() {
        Some(COMPLETE | "DeploymentPaused") => false,
        Some(TIMED_OUT) => true,
        _ => current
            .last_update_time
            .as_ref()
            .is_some_and(|since| pods::until(since.0, limit, now).is_none()),
    }
}

/// When the deadline will have passed if nothing moves until then.
pub(crate) fn next_look(
    deployment: &Deployment,
    status: &DeploymentStatus,
    now: Timestamp,
) -> Option<Duration> {
    let limit = deadline(deployment)?;
    let current = conditions::find(status.conditions.as_ref(), PROGRESSING)?;
    if matches!(
        current.reason.as_deref(),
        Some(COMPLETE | TIMED_OUT | "DeploymentPaused")
    ) {
        return None;
    }
    let since = current.last_update_time.as_ref()?.0;
    // Times are kept in whole seconds: a second more makes sure that it has passed.
    Some(pods::until(since, limit, now).unwrap_or_default() + Duration::from_secs(1))
}
