//! What a set of pods needs: how many to make, which to delete, and its status.

use super::Set;
use crate::{
    conditions,
    pods::{self, Availability},
};
use k8s_openapi::{
    api::{
        apps::v1::{ReplicaSetCondition, ReplicaSetStatus},
        core::v1::Pod,
    },
    apimachinery::pkg::apis::meta::v1::Time,
    jiff::Timestamp,
};
use std::{collections::HashMap, sync::Arc, time::Duration};

pub(crate) const FAILED_CREATE: &str = "FailedCreate";
pub(crate) const FAILED_DELETE: &str = "FailedDelete";
const REPLICA_FAILURE: &str = "ReplicaFailure";

/// What to do about one set.
#[derive(Debug)]
pub(crate) struct Decision {
    /// So many pods are missing.
    pub(crate) create: usize,
    /// These pods are too many, the best to lose first.
    pub(crate) delete: Vec<Arc<Pod>>,
    /// The status but for the failure condition, see [`with_failure`].
    pub(crate) status: ReplicaSetStatus,
    /// When a ready pod becomes an available one.
    pub(crate) look_again: Option<Duration>,
}

/// Decides on a set and its pods; `on_node` says how many related pods each node has.
pub(crate) fn decide<S: Set>(
    set: &S,
    owned: &[Arc<Pod>],
    on_node: &HashMap<String, usize>,
    now: Timestamp,
) -> Decision {
    let wanted = usize::try_from(set.replicas().unwrap_or(1)).unwrap_or_default();
    let min_ready = pods::seconds(set.min_ready_seconds());
    let metadata = set
        .template()
        .and_then(|template| template.metadata.as_ref());
    let template_labels = metadata.and_then(|metadata| metadata.labels.as_ref());

    let active: Vec<_> = owned.iter().filter(|pod| pods::is_active(pod)).collect();
    let mut decision = Decision {
        create: 0,
        delete: Vec::new(),
        status: ReplicaSetStatus::default(),
        look_again: None,
    };
    if set.meta().deletion_timestamp.is_none() {
        decision.create = wanted.saturating_sub(active.len());
        let surplus = active.len().saturating_sub(wanted);
        if surplus > 0 {
            let mut ranked = active.clone();
            ranked.sort_by(|a, b| pods::deletion_order(a, b, on_node, now));
            decision.delete = ranked.into_iter().take(surplus).cloned().collect();
        }
    }

    let (mut labelled, mut ready, mut available) = (0, 0, 0);
    for pod in &active {
        let labels = pod.metadata.labels.as_ref();
        if template_labels
            .into_iter()
            .flatten()
            .all(|(key, value)| labels.and_then(|all| all.get(key)) == Some(value))
        {
            labelled += 1;
        }
        if pods::is_ready(pod) {
            ready += 1;
        }
        match pods::availability(pod, min_ready, now) {
            Availability::Yes => available += 1,
            Availability::In(rest) => {
                decision.look_again = Some(
                    decision
                        .look_again
                        .map_or(rest, |soonest| soonest.min(rest)),
                );
            }
            Availability::No => {}
        }
    }
    let terminating = owned
        .iter()
        .filter(|pod| pods::is_terminating(pod) && !pods::is_terminal(pod))
        .count() as i32;
    decision.status = ReplicaSetStatus {
        replicas: active.len() as i32,
        fully_labeled_replicas: some(labelled),
        ready_replicas: some(ready),
        available_replicas: some(available),
        terminating_replicas: Some(terminating),
        observed_generation: set.meta().generation,
        conditions: set.conditions(),
    };
    decision
}

/// Zero is left out on the wire.
fn some(count: i32) -> Option<i32> {
    (count != 0).then_some(count)
}

/// The status after acting: with the failure, or without one if there was none (any more).
pub(crate) fn with_failure(
    mut status: ReplicaSetStatus,
    failure: Option<(&str, String)>,
    now: Timestamp,
) -> ReplicaSetStatus {
    match failure {
        Some((reason, message)) => {
            // One failure is like the next: the condition keeps its first message.
            if conditions::find(status.conditions.as_ref(), REPLICA_FAILURE).is_none() {
                let condition = ReplicaSetCondition {
                    type_: Some(REPLICA_FAILURE.to_owned()),
                    status: Some("True".to_owned()),
                    reason: Some(reason.to_owned()),
                    message: Some(message),
                    last_transition_time: Some(Time(now)),
                };
                conditions::set(&mut status.conditions, condition);
            }
        }
        None => conditions::remove(&mut status.conditions, REPLICA_FAILURE),
    }
    status
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pods::tests::{at, pod, running};
    use k8s_openapi::api::apps::v1::ReplicaSet;
    use serde_json::{Value, json};

    fn set(spec: &Value) -> ReplicaSet {
        serde_json::from_value(
            json!({"metadata": {"name": "web", "uid": "u", "generation": 4}, "spec": spec}),
        )
        .unwrap()
    }

    fn three(replicas: i32) -> ReplicaSet {
        set(&json!({
            "replicas": replicas, "selector": {}, "minReadySeconds": 10,
            "template": {"metadata": {"labels": {"app": "web"}}},
        }))
    }

    fn decided(set: &ReplicaSet, pods: &[Pod], now: i64) -> Decision {
        let pods: Vec<_> = pods.iter().cloned().map(Arc::new).collect();
        decide(set, &pods, &HashMap::new(), at(now))
    }

    #[test]
    fn missing_pods_are_created_and_finished_or_terminating_ones_do_not_count() {
        let finished = pod(json!({"metadata": {"name": "f"}, "status": {"phase": "Failed"}}));
        let going = pod(
            json!({"metadata": {"name": "t", "deletionTimestamp": at(0).to_string()}, "status": {"phase": "Running"}}),
        );
        let decision = decided(
            &three(3),
            &[finished, going, running("a", "n", Some(0))],
            100,
        );
        assert_eq!((decision.create, decision.delete.len()), (2, 0));
        assert_eq!(
            (
                decision.status.replicas,
                decision.status.terminating_replicas
            ),
            (1, Some(1))
        );
        assert_eq!(decision.status.observed_generation, Some(4));
    }

    #[test]
    fn surplus_pods_are_deleted_worst_first() {
        let pods = [
            running("a", "n", Some(0)),
            running("b", "n", None),
            running("c", "n", Some(0)),
        ];
        let decision = decided(&three(1), &pods, 100_000);
        let names: Vec<_> = decision
            .delete
            .iter()
            .map(|pod| pod.metadata.name.as_deref().unwrap())
            .collect();
        assert_eq!(names, ["b", "a"]);
        assert_eq!(decision.create, 0);
    }

    #[test]
    fn a_pod_counts_as_available_after_min_ready_seconds_and_the_decision_says_when() {
        let mut labelled = running("a", "n", Some(95));
        labelled.metadata.labels = Some([("app".to_owned(), "web".to_owned())].into());
        let decision = decided(&three(2), &[labelled, running("b", "n", Some(10))], 100);
        let status = &decision.status;
        assert_eq!(
            (status.ready_replicas, status.available_replicas),
            (Some(2), Some(1))
        );
        assert_eq!(status.fully_labeled_replicas, Some(1));
        assert_eq!(decision.look_again, Some(Duration::from_secs(5)));
    }

    #[test]
    fn a_set_that_is_being_deleted_neither_makes_nor_deletes_pods() {
        let mut set = three(3);
        set.metadata.deletion_timestamp = Some(Time(at(0)));
        assert_eq!(decided(&set, &[], 1).create, 0);
        set.spec.replicas = Some(0);
        assert!(
            decided(&set, &[running("a", "n", Some(0))], 1)
                .delete
                .is_empty()
        );
    }

    #[test]
    fn a_failure_shows_as_a_condition_until_acting_succeeds() {
        let status = decided(&three(1), &[], 0).status;
        let failed = with_failure(status, Some((FAILED_CREATE, "quota".into())), at(1));
        let condition = &failed.conditions.as_ref().unwrap()[0];
        assert_eq!(condition.reason.as_deref(), Some(FAILED_CREATE));
        assert_eq!(condition.message.as_deref(), Some("quota"));
        assert_eq!(with_failure(failed, None, at(2)).conditions, None);
    }
}
