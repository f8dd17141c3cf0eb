//! Which pods a `NoExecute` taint drives from a node, and when.

use crate::pods;
use k8s_openapi::{
    api::core::v1::{Node, Pod, PodCondition, Taint, Toleration},
    apimachinery::pkg::apis::meta::v1::Time,
    jiff::Timestamp,
};
use std::time::Duration;

/// What becomes of a pod.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Stays,
    GoesIn(Duration),
    Goes,
}

/// The taints that evict.
pub(crate) fn taints(node: &Node) -> Vec<Taint> {
    let taints = node.spec.as_ref().and_then(|spec| spec.taints.as_ref());
    taints
        .into_iter()
        .flatten()
        .filter(|taint| taint.effect == "NoExecute")
        .cloned()
        .collect()
}

fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let effect = toleration.effect.as_deref().unwrap_or_default();
    if !effect.is_empty() && effect != taint.effect {
        return false;
    }
    let key = toleration.key.as_deref().unwrap_or_default();
    if !key.is_empty() && key != taint.key {
        return false;
    }
    match toleration.operator.as_deref().unwrap_or("Equal") {
        "Exists" => true,
        "Equal" | "" => {
            !key.is_empty()
                && toleration.value.as_deref().unwrap_or_default()
                    == taint.value.as_deref().unwrap_or_default()
        }
        _ => false,
    }
}

/// Decides on a pod of a node with these evicting taints. A pod stays as long as every taint is
/// tolerated; the shortest time of any toleration in use counts, from when the taint was added.
pub(crate) fn decide(pod: &Pod, taints: &[Taint], now: Timestamp) -> Verdict {
    let tolerations = pod
        .spec
        .as_ref()
        .and_then(|spec| spec.tolerations.as_deref())
        .unwrap_or_default();
    let mut verdict = Verdict::Stays;
    for taint in taints {
        let mut tolerating = tolerations
            .iter()
            .filter(|toleration| tolerates(toleration, taint))
            .peekable();
        if tolerating.peek().is_none() {
            return Verdict::Goes;
        }
        let Some(seconds) = tolerating
            .filter_map(|toleration| toleration.toleration_seconds)
            .min()
        else {
            continue;
        };
        let span = Duration::from_secs(u64::try_from(seconds).unwrap_or_default());
        let since = taint.time_added.as_ref().map_or(now, |time| time.0);
        match pods::until(since, span, now) {
            None => return Verdict::Goes,
            Some(rest) => {
                verdict = match verdict {
                    Verdict::GoesIn(sooner) if sooner <= rest => Verdict::GoesIn(sooner),
                    _ => Verdict::GoesIn(rest),
                };
            }
        }
    }
    verdict
}

/// The pod's conditions with the one that tells why it is evicted.
pub(crate) fn disrupted(pod: &Pod, now: Timestamp) -> Vec<PodCondition> {
    let mut conditions = pod
        .status
        .as_ref()
        .and_then(|status| status.conditions.clone())
        .unwrap_or_default();
    conditions.retain(|condition| condition.type_ != "DisruptionTarget");
    conditions.push(PodCondition {
        type_: "DisruptionTarget".to_owned(),
        status: "True".to_owned(),
        reason: Some("DeletionByTaintManager".to_owned()),
        message: Some("Taint manager: deleting due to NoExecute taint".to_owned()),
        last_transition_time: Some(Time(now)),
        ..PodCondition::default()
    });
    conditions
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pods::tests::{at, pod};
    use serde_json::{Value, json};

    fn decided(tolerations: &Value, now: i64) -> Verdict {
        let pod =
            pod(json!({"metadata": {}, "spec": {"containers": [], "tolerations": tolerations}}));
        let taint = json!({"key": "node.kubernetes.io/unreachable", "effect": "NoExecute", "timeAdded": at(0).to_string()});
        decide(&pod, &[serde_json::from_value(taint).unwrap()], at(now))
    }

    #[test]
    fn tolerations_and_their_seconds_decide() {
        let exists = |seconds: Value| json!([{"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": seconds}]);
        assert_eq!(decided(&json!([]), 0), Verdict::Goes);
        assert_eq!(
            decided(&json!([{"operator": "Exists"}]), 1_000_000),
            Verdict::Stays
        );
        assert_eq!(decided(&exists(Value::Null), 1_000_000), Verdict::Stays);
        assert_eq!(
            decided(&exists(json!(300)), 100),
            Verdict::GoesIn(Duration::from_secs(200))
        );
        assert_eq!(decided(&exists(json!(300)), 300), Verdict::Goes);
        assert_eq!(decided(&exists(json!(0)), 0), Verdict::Goes);
        assert_eq!(
            decided(&json!([{"key": "other", "operator": "Exists"}]), 0),
            Verdict::Goes
        );
        let wrong_effect = json!([{"operator": "Exists", "effect": "NoSchedule"}]);
        assert_eq!(decided(&wrong_effect, 0), Verdict::Goes);
    }
}
