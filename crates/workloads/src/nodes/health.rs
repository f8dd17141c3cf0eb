//! Conditions and taints of a node, from its signs of life.

use super::LOOK;
use k8s_openapi::{
    api::core::v1::{Node, NodeCondition, Taint},
    apimachinery::pkg::apis::meta::v1::Time,
    jiff::Timestamp,
};
use std::time::Duration;

/// A node whose grace is all but over is looked at again after this.
const SOON: Duration = Duration::from_millis(100);

pub(crate) const NOT_READY: &str = "node.kubernetes.io/not-ready";
pub(crate) const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";
/// Conditions whose truth keeps new pods away.
const PRESSURES: [(&str, &str); 4] = [
    ("MemoryPressure", "node.kubernetes.io/memory-pressure"),
    ("DiskPressure", "node.kubernetes.io/disk-pressure"),
    ("PIDPressure", "node.kubernetes.io/pid-pressure"),
    (
        "NetworkUnavailable",
        "node.kubernetes.io/network-unavailable",
    ),
];
/// Conditions a silent node no longer vouches for.
const VOUCHED: [&str; 4] = ["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"];

/// How long nothing was heard of a node.
pub(crate) struct Silence {
    pub(crate) lasted: Duration,
    /// It never renewed a lease and never posted a status.
    pub(crate) never: bool,
}

/// What to do about a node.
#[derive(Debug)]
pub(crate) struct Verdict {
    /// New conditions.
    pub(crate) conditions: Option<Vec<NodeCondition>>,
    /// New taints.
    pub(crate) taints: Option<Vec<Taint>>,
    /// Its pods do not serve any more.
    pub(crate) pods_unready: bool,
    pub(crate) look_again: Duration,
}

fn condition<'a>(node: &'a Node, kind: &str) -> Option<&'a NodeCondition> {
    node.status
        .as_ref()?
        .conditions
        .as_ref()?
        .iter()
        .find(|condition| condition.type_ == kind)
}

fn status<'a>(node: &'a Node, kind: &str) -> &'a str {
    condition(node, kind).map_or("Unknown", |condition| condition.status.as_str())
}

pub(crate) fn is_ready(node: &Node) -> bool {
    status(node, "Ready") == "True"
}

pub(crate) fn is_unknown(node: &Node) -> bool {
    status(node, "Ready") == "Unknown"
}

/// The node's own last status update.
pub(crate) fn heartbeat(node: &Node) -> Option<Timestamp> {
    condition(node, "Ready")?
        .last_heartbeat_time
        .as_ref()
        .map(|time| time.0)
}

pub(crate) fn decide(
    node: &Node,
    silence: &Silence,
    grace: Duration,
    all_down: bool,
    now: Timestamp,
) -> Verdict {
    // What is left of the grace; nothing is once the node counts as silent.
    let left = grace
        .checked_sub(silence.lasted)
        .filter(|left| !left.is_zero());
    let silent = left.is_none();
    let conditions = silent.then(|| unknown(node, silence, now)).flatten();
    let ready = if silent {
        "Unknown"
    } else {
        status(node, "Ready")
    };
    let taints = wanted_taints(node, ready, all_down, now);
    Verdict {
        conditions,
        taints: (taints != present_taints(node)).then_some(taints),
        pods_unready: ready != "True",
        look_again: left.map_or(LOOK, |left| left.clamp(SOON, LOOK)),
    }
}

/// The conditions of a node that went silent, if they do not say so yet.
fn unknown(node: &Node, silence: &Silence, now: Timestamp) -> Option<Vec<NodeCondition>> {
    let mut all = node
        .status
        .as_ref()
        .and_then(|status| status.conditions.clone())
        .unwrap_or_default();
    let mut changed = false;
    for kind in VOUCHED {
        let (reason, message) = if silence.never {
            (
                "NodeStatusNeverUpdated",
                "Kubelet never posted node status.",
            )
        } else {
            ("NodeStatusUnknown", "Kubelet stopped posting node status.")
        };
        match all.iter_mut().find(|condition| condition.type_ == kind) {
            Some(condition) if condition.status == "Unknown" => {}
            Some(condition) => {
                "Unknown".clone_into(&mut condition.status);
                condition.reason = Some(reason.to_owned());
                condition.message = Some(message.to_owned());
                condition.last_transition_time = Some(Time(now));
                changed = true;
            }
            None => {
                all.push(NodeCondition {
                    type_: kind.to_owned(),
                    status: "Unknown".to_owned(),
                    reason: Some(reason.to_owned()),
                    message: Some(message.to_owned()),
                    last_heartbeat_time: node.metadata.creation_timestamp.clone(),
                    last_transition_time: Some(Time(now)),
                });
                changed = true;
            }
        }
    }
    changed.then_some(all)
}

fn present_taints(node: &Node) -> Vec<Taint> {
    node.spec
        .as_ref()
        .and_then(|spec| spec.taints.clone())
        .unwrap_or_default()
}

/// The taints the node should have: those of others as they are, and ours by its state.
fn wanted_taints(node: &Node, ready: &str, all_down: bool, now: Timestamp) -> Vec<Taint> {
    let mut wanted: Vec<(&str, &str)> = Vec::new();
    let health = match ready {
        "True" => None,
        "False" => Some(NOT_READY),
        _ => Some(UNREACHABLE),
    };
    if let Some(key) = health {
        wanted.push((key, "NoSchedule"));
        if !all_down {
            wanted.push((key, "NoExecute"));
        }
    }
    for (kind, key) in PRESSURES {
        if status(node, kind) == "True" {
            wanted.push((key, "NoSchedule"));
        }
    }
    if node.spec.as_ref().and_then(|spec| spec.unschedulable) == Some(true) {
        wanted.push((UNSCHEDULABLE, "NoSchedule"));
    }
    let ours = |taint: &Taint| {
        let key = taint.key.as_str();
        let health = matches!(key, NOT_READY | UNREACHABLE);
        let schedule =
            key == UNSCHEDULABLE || PRESSURES.iter().any(|(_, pressure)| *pressure == key);
        (health && matches!(taint.effect.as_str(), "NoSchedule" | "NoExecute"))
            || (schedule && taint.effect == "NoSchedule")
    };
    let mut taints: Vec<_> = present_taints(node)
        .into_iter()
        .filter(|taint| {
            !ours(taint) || wanted.contains(&(taint.key.as_str(), taint.effect.as_str()))
        })
        .collect();
    for (key, effect) in wanted {
        if !taints
            .iter()
            .any(|taint| taint.key == key && taint.effect == effect)
        {
            taints.push(Taint {
                key: key.to_owned(),
                effect: effect.to_owned(),
                value: None,
                time_added: Some(Time(now)),
            });
        }
    }
    taints
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pods::tests::at;
    use serde_json::{Value, json};

    const GRACE: Duration = Duration::from_secs(40);

    fn node(ready: &str, spec: &Value) -> Node {
        serde_json::from_value(json!({
            "metadata": {"name": "n1"}, "spec": spec,
            "status": {"conditions": [{"type": "Ready", "status": ready}, {"type": "DiskPressure", "status": "False"}]},
        }))
        .unwrap()
    }

    fn silent(seconds: u64) -> Silence {
        Silence {
            lasted: Duration::from_secs(seconds),
            never: false,
        }
    }

    fn tainted(verdict: &Verdict) -> Vec<String> {
        verdict
            .taints
            .iter()
            .flatten()
            .map(|taint| format!("{}:{}", taint.key, taint.effect))
            .collect()
    }

    #[test]
    fn a_node_that_was_heard_in_time_is_left_alone() {
        let verdict = decide(&node("True", &json!({})), &silent(39), GRACE, false, at(0));
        assert!(verdict.conditions.is_none() && verdict.taints.is_none() && !verdict.pods_unready);
        assert_eq!(verdict.look_again, Duration::from_secs(1));
    }

    #[test]
    fn a_silent_node_is_unknown_unreachable_and_its_pods_do_not_serve() {
        let verdict = decide(&node("True", &json!({})), &silent(40), GRACE, false, at(0));
        let conditions = verdict.conditions.as_ref().unwrap();
        assert_eq!(conditions.len(), 4);
        assert!(
            conditions
                .iter()
                .all(|condition| condition.status == "Unknown")
        );
        assert_eq!(conditions[0].reason.as_deref(), Some("NodeStatusUnknown"));
        assert_eq!(
            tainted(&verdict),
            [
                format!("{UNREACHABLE}:NoSchedule"),
                format!("{UNREACHABLE}:NoExecute")
            ]
        );
        assert!(verdict.pods_unready);
    }

    #[test]
    fn nothing_is_evicted_when_no_node_is_well() {
        let verdict = decide(&node("True", &json!({})), &silent(40), GRACE, true, at(0));
        assert_eq!(tainted(&verdict), [format!("{UNREACHABLE}:NoSchedule")]);
    }

    #[test]
    fn a_node_that_came_back_loses_our_taints_and_keeps_those_of_others() {
        let spec = json!({"taints": [
            {"key": UNREACHABLE, "effect": "NoSchedule"}, {"key": UNREACHABLE, "effect": "NoExecute"},
            {"key": "dedicated", "value": "db", "effect": "NoSchedule"},
        ]});
        let verdict = decide(&node("True", &spec), &silent(0), GRACE, false, at(0));
        assert_eq!(tainted(&verdict), ["dedicated:NoSchedule"]);
    }

    #[test]
    fn cordon_shows_as_a_taint() {
        let verdict = decide(
            &node("True", &json!({"unschedulable": true})),
            &silent(0),
            GRACE,
            false,
            at(0),
        );
        assert_eq!(tainted(&verdict), [format!("{UNSCHEDULABLE}:NoSchedule")]);
        let not_ready = decide(&node("False", &json!({})), &silent(0), GRACE, false, at(0));
        assert_eq!(
            tainted(&not_ready),
            [
                format!("{NOT_READY}:NoSchedule"),
                format!("{NOT_READY}:NoExecute")
            ]
        );
    }
}
