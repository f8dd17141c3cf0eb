//! What the reconcilers ask about pods, and pods made from templates.

use k8s_openapi::{
    api::core::v1::{Pod, PodCondition, PodTemplateSpec},
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference},
    jiff::Timestamp,
};
use std::{cmp::Ordering, collections::HashMap, time::Duration};

/// Lower cost is deleted first; upstream's documented annotation.
const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

pub(crate) fn phase(pod: &Pod) -> &str {
    pod.status
        .as_ref()
        .and_then(|status| status.phase.as_deref())
        .unwrap_or_default()
}

/// Succeeded or Failed: its containers will never run again.
pub(crate) fn is_terminal(pod: &Pod) -> bool {
    matches!(phase(pod), "Succeeded" | "Failed")
}

pub(crate) fn is_terminating(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_some()
}

/// Neither finished nor being deleted.
pub(crate) fn is_active(pod: &Pod) -> bool {
    !is_terminal(pod) && !is_terminating(pod)
}

pub(crate) fn node_name(pod: &Pod) -> Option<&str> {
    pod.spec
        .as_ref()?
        .node_name
        .as_deref()
        .filter(|name| !name.is_empty())
}

pub(crate) fn condition<'a>(pod: &'a Pod, kind: &str) -> Option<&'a PodCondition> {
    pod.status
        .as_ref()?
        .conditions
        .as_ref()?
        .iter()
        .find(|condition| condition.type_ == kind)
}

pub(crate) fn is_ready(pod: &Pod) -> bool {
    condition(pod, "Ready").is_some_and(|condition| condition.status == "True")
}

/// Since when the pod is ready.
fn ready_since(pod: &Pod) -> Option<Timestamp> {
    condition(pod, "Ready")
        .filter(|condition| condition.status == "True")
        .and_then(|condition| condition.last_transition_time.as_ref())
        .map(|time| time.0)
}

/// Whether a pod counts as available.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Availability {
    /// Not ready.
    No,
    /// Ready, and will be available after this time if it stays so.
    In(Duration),
    /// Ready for long enough.
    Yes,
}

pub(crate) fn availability(pod: &Pod, min_ready: Duration, now: Timestamp) -> Availability {
    if !is_ready(pod) {
        return Availability::No;
    }
    if min_ready.is_zero() {
        return Availability::Yes;
    }
    let Some(since) = ready_since(pod) else {
        return Availability::No;
    };
    match until(since, min_ready, now) {
        None => Availability::Yes,
        Some(rest) => Availability::In(rest),
    }
}

/// What is left of `span` since `start`; `None` if it is over.
pub(crate) fn until(start: Timestamp, span: Duration, now: Timestamp) -> Option<Duration> {
    let passed = now.duration_since(start);
    let passed = Duration::try_from(passed).unwrap_or_default();
    span.checked_sub(passed).filter(|rest| !rest.is_zero())
}

/// Non-negative seconds of a spec field.
pub(crate) fn seconds(value: Option<i32>) -> Duration {
    Duration::from_secs(u64::try_from(value.unwrap_or_default()).unwrap_or_default())
}

/// Total restarts and the largest count of one container.
fn restarts(pod: &Pod) -> i32 {
    let statuses = pod
        .status
        .as_ref()
        .and_then(|status| status.container_statuses.as_ref());
    statuses
        .into_iter()
        .flatten()
        .map(|status| status.restart_count)
        .max()
        .unwrap_or_default()
}

fn deletion_cost(pod: &Pod) -> i32 {
    let annotations = pod.metadata.annotations.as_ref();
    annotations
        .and_then(|all| all.get(DELETION_COST)?.parse().ok())
        .unwrap_or_default()
}

/// Which of two pods is the better one to delete (`Less` goes first), by the rules of the
/// ReplicaSet documentation: unassigned, then pending, then not ready, then cheaper, then from the
/// node with more of its kind, then ready for less time, then more restarts, then younger. Times
/// compare by order of magnitude, so that long-lived pods share the risk.
pub(crate) fn deletion_order(
    a: &Pod,
    b: &Pod,
    on_node: &HashMap<String, usize>,
    now: Timestamp,
) -> Ordering {
    let phase_rank = |pod: &Pod| match phase(pod) {
        "Pending" | "" => 0,
        "Unknown" => 1,
        _ => 2,
    };
    let crowd = |pod: &Pod| {
        node_name(pod)
            .and_then(|node| on_node.get(node))
            .copied()
            .unwrap_or_default()
    };
    // A larger age is a smaller rank: the younger goes first.
    let magnitude = |since: Option<Timestamp>| {
        let age = since.map_or(0, |since| now.duration_since(since).as_secs().max(0));
        if age == 0 {
            0
        } else {
            64 - (age as u64).leading_zeros()
        }
    };
    node_name(a)
        .is_some()
        .cmp(&node_name(b).is_some())
        .then_with(|| phase_rank(a).cmp(&phase_rank(b)))
        .then_with(|| is_ready(a).cmp(&is_ready(b)))
        .then_with(|| deletion_cost(a).cmp(&deletion_cost(b)))
        .then_with(|| crowd(b).cmp(&crowd(a)))
        .then_with(|| match (is_ready(a), is_ready(b)) {
            (true, true) => magnitude(ready_since(a)).cmp(&magnitude(ready_since(b))),
            _ => Ordering::Equal,
        })
        .then_with(|| restarts(b).cmp(&restarts(a)))
        .then_with(|| {
            let created = |pod: &Pod| pod.metadata.creation_timestamp.as_ref().map(|time| time.0);
            magnitude(created(a)).cmp(&magnitude(created(b)))
        })
        .then_with(|| a.metadata.uid.cmp(&b.metadata.uid))
}

/// A new pod as a template describes it, controlled by `owner`, named by the server.
pub(crate) fn from_template(
    template: &PodTemplateSpec,
    owner: OwnerReference,
    name_prefix: &str,
) -> Pod {
    let meta = template.metadata.clone().unwrap_or_default();
    Pod {
        metadata: ObjectMeta {
            // The server cuts generated names to its own limit of 63 characters.
            generate_name: Some(name_prefix.to_owned()),
            labels: meta.labels,
            annotations: meta.annotations,
            finalizers: meta.finalizers,
            owner_references: Some(vec![owner]),
            ..ObjectMeta::default()
        },
        spec: template.spec.clone(),
        status: None,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use serde_json::{Value, json};

    pub(crate) fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + seconds).unwrap()
    }

    pub(crate) fn pod(value: Value) -> Pod {
        serde_json::from_value(value).unwrap()
    }

    /// A pod on a node, running, and ready since `ready`.
    pub(crate) fn running(name: &str, node: &str, ready: Option<i64>) -> Pod {
        let conditions: Vec<Value> = ready
            .map(|since| json!({"type": "Ready", "status": "True", "lastTransitionTime": at(since).to_string()}))
            .into_iter()
            .collect();
        pod(json!({
            "metadata": {"name": name, "uid": format!("uid-{name}"), "creationTimestamp": at(0).to_string()},
            "spec": {"nodeName": node, "containers": []},
            "status": {"phase": "Running", "conditions": conditions},
        }))
    }

    #[test]
    fn a_pod_is_available_once_it_was_ready_for_long_enough() {
        let pod = running("a", "n", Some(100));
        let ten = Duration::from_secs(10);
        assert_eq!(
            availability(&pod, ten, at(105)),
            Availability::In(Duration::from_secs(5))
        );
        assert_eq!(availability(&pod, ten, at(110)), Availability::Yes);
        assert_eq!(availability(&pod, Duration::ZERO, at(0)), Availability::Yes);
        assert_eq!(
            availability(&running("a", "n", None), Duration::ZERO, at(0)),
            Availability::No
        );
    }

    #[test]
    fn pods_are_deleted_in_the_documented_order() {
        let unassigned =
            pod(json!({"metadata": {"name": "unassigned"}, "status": {"phase": "Pending"}}));
        let mut pending = running("pending", "n1", None);
        pending.status.as_mut().unwrap().phase = Some("Pending".into());
        let unready = running("unready", "n1", None);
        let mut cheap = running("cheap", "n1", Some(10));
        cheap.metadata.annotations = Some([(DELETION_COST.to_owned(), "-5".to_owned())].into());
        let crowded = running("crowded", "crowd", Some(10));
        let fresh = running("fresh", "n1", Some(9_000));
        let old = running("old", "n1", Some(10));
        let mut pods = [
            &old,
            &fresh,
            &crowded,
            &cheap,
            &unready,
            &pending,
            &unassigned,
        ];
        let on_node = HashMap::from([("crowd".to_owned(), 3), ("n1".to_owned(), 1)]);
        pods.sort_by(|a, b| deletion_order(a, b, &on_node, at(10_000)));
        let names: Vec<_> = pods
            .iter()
            .map(|pod| pod.metadata.name.as_deref().unwrap())
            .collect();
        assert_eq!(
            names,
            [
                "unassigned",
                "pending",
                "unready",
                "cheap",
                "crowded",
                "fresh",
                "old"
            ]
        );
    }
}
