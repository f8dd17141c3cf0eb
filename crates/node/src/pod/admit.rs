//! Whether this node takes a pod at all: a last check against what the scheduler could not know.
//!
//! Reasons and messages are those that the node writes upstream (`OutOfcpu`, `NodeAffinity`, ...).

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Node, NodeSelectorRequirement, NodeSelectorTerm, PodSpec};

use super::resources::{Amounts, pod_requests};

/// Why a pod is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) reason: String,
    pub(crate) message: String,
}

/// Checks a pod against the node's labels and what is left of its resources and host ports.
///
/// `used` and `ports` are those of the pods that have been admitted already; `count` is their number.
pub(crate) fn admit(
    spec: &PodSpec,
    node: &Node,
    allocatable: &Amounts,
    used: &Amounts,
    ports: &[HostPort],
    count: usize,
) -> Result<(), Refusal> {
    let predicate = |name: &str| Refusal {
        reason: name.to_owned(),
        message: format!("Pod was rejected: Predicate {name} failed"),
    };
    if let Some(os) = spec
        .os
        .as_ref()
        .map(|os| os.name.as_str())
        .filter(|os| *os != "linux")
    {
        return Err(Refusal {
            reason: "PodOSNotSupported".to_owned(),
            message: format!(
                "Pod was rejected: Failed to admit pod as the OS field doesn't match node OS ({os})"
            ),
        });
    }
    if !fits_node(spec, node) {
        return Err(predicate("NodeAffinity"));
    }
    let wanted = host_ports(spec);
    if wanted
        .iter()
        .any(|port| ports.iter().any(|taken| taken.conflicts(port)))
    {
        return Err(predicate("NodePorts"));
    }
    let out_of = |name: &str, requested: i128, used: i128, capacity: i128| Refusal {
        reason: format!("OutOf{name}"),
        message: format!(
            "Pod was rejected: Node didn't have enough resource: {name}, requested: {requested}, used: {used}, \
             capacity: {capacity}"
        ),
    };
    if let Some(capacity) = allocatable.get("pods") {
        let capacity = capacity / 1000;
        if i128::try_from(count).unwrap_or(i128::MAX) >= capacity {
            return Err(out_of("pods", 1, count as i128, capacity));
        }
    }
    for (name, amount) in pod_requests(spec).iter().filter(|(_, amount)| *amount > 0) {
        let capacity = allocatable.get(name).unwrap_or(0);
        let taken = used.get(name).unwrap_or(0);
        if taken + amount > capacity {
            // CPU is told in thousandths, everything else in whole units.
            let unit = if name == "cpu" { 1 } else { 1000 };
            return Err(out_of(name, amount / unit, taken / unit, capacity / unit));
        }
    }
    Ok(())
}

/// A port of the node that a pod asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HostPort {
    pub(crate) ip: String,
    pub(crate) protocol: String,
    pub(crate) port: i32,
    pub(crate) container_port: i32,
}

impl HostPort {
    fn conflicts(&self, other: &Self) -> bool {
        let any = |ip: &str| ip.is_empty() || ip == "0.0.0.0" || ip == "::";
        self.port == other.port
            && self.protocol == other.protocol
            && (any(&self.ip) || any(&other.ip) || self.ip == other.ip)
    }
}

/// The host ports of a pod; on the host's network every container port is one.
pub(crate) fn host_ports(spec: &PodSpec) -> Vec<HostPort> {
    let host_network = spec.host_network == Some(true);
    spec.containers
        .iter()
        .chain(spec.init_containers.iter().flatten())
        .flat_map(|c| c.ports.iter().flatten())
        .filter_map(|port| {
            let host = port
                .host_port
                .filter(|p| *p > 0)
                .or(host_network.then_some(port.container_port))?;
            Some(HostPort {
                ip: port.host_ip.clone().unwrap_or_default(),
                protocol: port.protocol.clone().unwrap_or_else(|| "TCP".to_owned()),
                port: host,
                container_port: port.container_port,
            })
        })
        .collect()
}

/// Node selector and required node affinity.
fn fits_node(spec: &PodSpec, node: &Node) -> bool {
    let empty = BTreeMap::new();
    let labels = node.metadata.labels.as_ref().unwrap_or(&empty);
    let name = node.metadata.name.as_deref().unwrap_or_default();
    if !spec
        .node_selector
        .iter()
        .flatten()
        .all(|(key, value)| labels.get(key) == Some(value))
    {
        return false;
    }
    let required = spec
        .affinity
        .as_ref()
        .and_then(|a| a.node_affinity.as_ref())
        .and_then(|a| {
            a.required_during_scheduling_ignored_during_execution
                .as_ref()
        });
    match required {
        None => true,
        Some(selector) => selector
            .node_selector_terms
            .iter()
            .any(|term| term_matches(term, labels, name)),
    }
}

fn term_matches(term: &NodeSelectorTerm, labels: &BTreeMap<String, String>, name: &str) -> bool {
    let expressions = term.match_expressions.iter().flatten();
    let fields = term.match_fields.iter().flatten();
    // A term without any requirement matches nothing.
    if expressions.clone().next().is_none() && fields.clone().next().is_none() {
        return false;
    }
    expressions
        .into_iter()
        .all(|r| requirement_matches(r, labels.get(&r.key).map(String::as_str)))
        && fields
            .into_iter()
            .all(|r| requirement_matches(r, (r.key == "metadata.name").then_some(name)))
}

fn requirement_matches(requirement: &NodeSelectorRequirement, value: Option<&str>) -> bool {
    let values = requirement.values.as_deref().unwrap_or_default();
    let listed = value.is_some_and(|v| values.iter().any(|w| w == v));
    let number = |text: Option<&str>| text.and_then(|t| t.parse::<i64>().ok());
    let bound = number(values.first().map(String::as_str));
    match requirement.operator.as_str() {
        "In" => listed,
        "NotIn" => !listed,
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        "Gt" => matches!((number(value), bound), (Some(v), Some(b)) if v > b),
        "Lt" => matches!((number(value), bound), (Some(v), Some(b)) if v < b),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(spec: serde_json::Value) -> Result<(), Refusal> {
        let node: Node = serde_json::from_value(
            json!({"metadata": {"name": "n1", "labels": {"zone": "a", "size": "5"}}}),
        )
        .unwrap();
        let allocatable = Amounts::from_pairs([("cpu", "2"), ("memory", "1Gi"), ("pods", "10")]);
        let used = Amounts::from_pairs([("cpu", "1500m")]);
        let ports = host_ports(
            &serde_json::from_value(
                json!({"containers": [{"name": "x", "ports": [{"containerPort": 80, "hostPort": 8080}]}]}),
            )
            .unwrap(),
        );
        admit(
            &serde_json::from_value(spec).unwrap(),
            &node,
            &allocatable,
            &used,
            &ports,
            3,
        )
    }

    #[test]
    fn a_pod_that_does_not_fit_is_refused_with_the_usual_reason() {
        let container = |extra: serde_json::Value| {
            let mut c = json!({"name": "c"});
            c.as_object_mut()
                .unwrap()
                .extend(extra.as_object().unwrap().clone());
            json!([c])
        };
        for (spec, reason) in [
            (json!({"containers": container(json!({}))}), None),
            (
                json!({"containers": container(json!({"resources": {"requests": {"cpu": "500m"}}}))}),
                None,
            ),
            (
                json!({"containers": container(json!({"resources": {"requests": {"cpu": "501m"}}}))}),
                Some("OutOfcpu"),
            ),
            (
                json!({"containers": container(json!({"resources": {"limits": {"memory": "2Gi"}}}))}),
                Some("OutOfmemory"),
            ),
            (
                json!({"containers": container(json!({"resources": {"limits": {"x.com/gpu": "1"}}}))}),
                Some("OutOfx.com/gpu"),
            ),
            (
                json!({"containers": [], "nodeSelector": {"zone": "a"}}),
                None,
            ),
            (
                json!({"containers": [], "nodeSelector": {"zone": "b"}}),
                Some("NodeAffinity"),
            ),
            (
                json!({"containers": container(json!({"ports": [{"containerPort": 1, "hostPort": 8080}]}))}),
                Some("NodePorts"),
            ),
            (
                json!({"containers": container(json!({"ports": [{"containerPort": 1, "hostPort": 8080, "protocol": "UDP"}]}))}),
                None,
            ),
            (
                json!({"containers": [], "os": {"name": "windows"}}),
                Some("PodOSNotSupported"),
            ),
        ] {
            assert_eq!(
                check(spec.clone()).err().map(|r| r.reason).as_deref(),
                reason,
                "{spec}"
            );
        }
        let refusal = check(
            json!({"containers": container(json!({"resources": {"requests": {"cpu": "1"}}}))}),
        );
        assert_eq!(
            refusal.unwrap_err().message,
            "Pod was rejected: Node didn't have enough resource: cpu, requested: 1000, used: 1500, capacity: 2000"
        );
    }

    #[test]
    fn required_affinity_terms_are_alternatives() {
        let fits = |terms: serde_json::Value| {
            check(json!({"containers": [], "affinity": {"nodeAffinity":
                {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}}}))
            .is_ok()
        };
        let expression = |key: &str, operator: &str, values: &[&str]| json!({"matchExpressions": [{"key": key, "operator": operator, "values": values}]});
        assert!(fits(json!([
            expression("zone", "In", &["b"]),
            expression("zone", "In", &["a"])
        ])));
        assert!(!fits(json!([expression("zone", "NotIn", &["a"])])));
        assert!(fits(json!([expression("none", "DoesNotExist", &[])])));
        assert!(fits(json!([expression("size", "Gt", &["4"])])));
        assert!(!fits(json!([expression("size", "Lt", &["4"])])));
        assert!(fits(
            json!([{"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n1"]}]}])
        ));
        assert!(!fits(json!([{}])));
    }
}
