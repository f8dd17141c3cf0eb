//! What objects count for in resource quotas: which names of a quota a kind is measured by, what one
//! object uses of each, and whether a quota's scopes take an object in.
//!
//! The names and numbers are those of upstream's quota evaluators. Both sides use them: admission, when
//! something new is to be charged, and the controller that counts anew what is there.

mod pods;
mod scopes;

use crate::Quantity;
use crate::quantity::Format;
use jiff::Timestamp;
use serde_json::Value;
use std::collections::BTreeMap;

pub use pods::{resources as pod_resources, unspecified};

/// Amounts by the name a quota has for them (`pods`, `requests.cpu`, `count/deployments.apps`, ...).
pub type Amounts = BTreeMap<String, Quantity>;

/// Amounts of storage by class, and claims by class.
const BY_CLASS: &str = ".storageclass.storage.k8s.io/";

const SERVICES: [&str; 3] = ["services", "services.nodeports", "services.loadbalancers"];

/// `count/{plural}.{group}`, by which a quota counts objects of any kind.
pub fn count_name(group: &str, plural: &str) -> String {
    if group.is_empty() {
        format!("count/{plural}")
    } else {
        format!("count/{plural}.{group}")
    }
}

/// The group and plural that a `count/...` name is about.
pub fn counted_kind(name: &str) -> Option<(&str, &str)> {
    let kind = name.strip_prefix("count/")?;
    Some(match kind.split_once('.') {
        Some((plural, group)) => (group, plural),
        None => ("", kind),
    })
}

/// Is what a quota calls `name` used by objects of this kind?
pub fn measures(name: &str, group: &str, plural: &str) -> bool {
    if counted_kind(name) == Some((group, plural)) {
        return true;
    }
    match (group, plural) {
        ("", "pods") => pods::measures(name),
        ("", "services") => SERVICES.contains(&name),
        ("", "persistentvolumeclaims") => {
            matches!(name, "persistentvolumeclaims" | "requests.storage")
                || name.split_once(BY_CLASS).is_some_and(|(_, rest)| {
                    matches!(rest, "persistentvolumeclaims" | "requests.storage")
                })
        }
        ("", "configmaps" | "replicationcontrollers" | "resourcequotas" | "secrets") => {
            name == plural
        }
        _ => false,
    }
}

/// What one object uses. A pod that has ended uses nothing but its place among the stored ones.
pub fn usage(group: &str, plural: &str, object: &Value, now: Timestamp) -> Amounts {
    let mut used = Amounts::from([(count_name(group, plural), one())]);
    match (group, plural) {
        ("", "pods") => pods::usage(object, now, &mut used),
        ("", "services") => service(object, &mut used),
        ("", "persistentvolumeclaims") => claim(object, &mut used),
        ("", "configmaps" | "replicationcontrollers" | "resourcequotas" | "secrets") => {
            used.insert(plural.to_owned(), one());
        }
        _ => {}
    }
    used
}

/// Do the scopes of a quota (its `spec`) take this object in? Without scopes they take in all.
pub fn in_scope(spec: &Value, group: &str, plural: &str, object: &Value) -> bool {
    let plain = items(&spec["scopes"]).iter().filter_map(Value::as_str);
    let plain = plain.map(|scope| (scope, "Exists", &[] as &[Value]));
    let selected = items(&spec["scopeSelector"]["matchExpressions"]);
    let selected = selected.iter().map(|term| {
        let values = items(&term["values"]);
        (text(&term["scopeName"]), text(&term["operator"]), values)
    });
    plain
        .chain(selected)
        .all(|(scope, operator, values)| match (group, plural) {
            ("", "pods") => scopes::takes_pod(scope, operator, values, object),
            ("", "persistentvolumeclaims") => scopes::takes_claim(scope, operator, values, object),
            _ => false,
        })
}

/// Add amounts to others. What goes beyond all measure is left at what it was.
pub fn add(to: &mut Amounts, more: &Amounts) {
    for (name, amount) in more {
        let sum = match to.get(name) {
            Some(own) => own.checked_add(amount).unwrap_or(*own),
            None => *amount,
        };
        to.insert(name.clone(), sum);
    }
}

/// What `new` uses more than `old`; what it uses less is nothing.
pub fn grown(new: &Amounts, old: &Amounts) -> Amounts {
    let more = new.iter().filter_map(|(name, amount)| {
        let more = match old.get(name) {
            Some(before) => amount.checked_sub(before)?,
            None => *amount,
        };
        (more.signum() > 0).then(|| (name.clone(), more))
    });
    more.collect()
}

/// The amounts of a map in an object (`spec.hard`, `resources.requests`, ...). What is no quantity was
/// refused when the object was written and is passed over.
pub fn amounts(map: &Value) -> Amounts {
    let Some(map) = map.as_object() else {
        return Amounts::new();
    };
    map.iter()
        .filter_map(|(name, value)| Some((name.clone(), quantity(value)?)))
        .collect()
}

/// A quantity as JSON holds it: text, or a bare number.
fn quantity(value: &Value) -> Option<Quantity> {
    match value {
        Value::String(text) => text.parse().ok(),
        Value::Number(number) => number.to_string().parse().ok(),
        _ => None,
    }
}

fn service(service: &Value, used: &mut Amounts) {
    let spec = &service["spec"];
    let ports = items(&spec["ports"]);
    let (mut node_ports, mut balancers) = (0, 0);
    match text(&spec["type"]) {
        "NodePort" => node_ports = ports.len(),
        "LoadBalancer" => {
            balancers = 1;
            let allocates = spec["allocateLoadBalancerNodePorts"] != false;
            let taken = |port: &&Value| allocates || port["nodePort"].as_i64().unwrap_or(0) != 0;
            node_ports = ports.iter().filter(taken).count();
        }
        _ => {}
    }
    used.insert("services".into(), one());
    used.insert("services.nodeports".into(), number(node_ports));
    used.insert("services.loadbalancers".into(), number(balancers));
}

fn claim(claim: &Value, used: &mut Amounts) {
    const BETA: &str = "volume.beta.kubernetes.io/storage-class";
    let class = match claim["metadata"]["annotations"].get(BETA) {
        Some(class) => text(class),
        None => text(&claim["spec"]["storageClassName"]),
    };
    let mut put = |name: &str, amount: Quantity| {
        used.insert(name.to_owned(), amount);
        if !class.is_empty() {
            used.insert(format!("{class}{BY_CLASS}{name}"), amount);
        }
    };
    put("persistentvolumeclaims", one());
    let asked = quantity(&claim["spec"]["resources"]["requests"]["storage"]);
    // A claim that was asked to be smaller again keeps what was already allocated.
    let allocated = quantity(&claim["status"]["allocatedResources"]["storage"]);
    if let Some(storage) = asked.map(|asked| allocated.map_or(asked, |own| own.max(asked))) {
        let whole = Quantity::new(storage.value(), storage.format());
        let storage = if whole == storage { storage } else { whole };
        put("requests.storage", storage);
    }
}

fn one() -> Quantity {
    Quantity::new(1, Format::DecimalSi)
}

fn number(count: usize) -> Quantity {
    Quantity::new(i64::try_from(count).unwrap_or(i64::MAX), Format::DecimalSi)
}

fn items(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn shown(group: &str, plural: &str, object: &Value) -> Value {
        let used = usage(group, plural, object, Timestamp::UNIX_EPOCH);
        let shown = used
            .iter()
            .map(|(name, own)| (name.clone(), own.to_string().into()));
        Value::Object(shown.collect())
    }

    #[test]
    fn services_claims_and_everything_else_use_what_upstream_says() {
        let cases = [
            (
                ("", "services"),
                json!({"spec": {"type": "NodePort", "ports": [{"port": 1}, {"port": 2}]}}),
                json!({"count/services": "1", "services": "1", "services.nodeports": "2",
                    "services.loadbalancers": "0"}),
            ),
            (
                ("", "services"),
                json!({"spec": {"type": "LoadBalancer", "allocateLoadBalancerNodePorts": false,
                    "ports": [{"port": 1}, {"port": 2, "nodePort": 30000}]}}),
                json!({"count/services": "1", "services": "1", "services.nodeports": "1",
                    "services.loadbalancers": "1"}),
            ),
            (
                ("", "persistentvolumeclaims"),
                json!({"spec": {"storageClassName": "gold", "resources": {"requests": {"storage": "10Gi"}}}}),
                json!({"count/persistentvolumeclaims": "1", "persistentvolumeclaims": "1",
                    "requests.storage": "10Gi",
                    "gold.storageclass.storage.k8s.io/persistentvolumeclaims": "1",
                    "gold.storageclass.storage.k8s.io/requests.storage": "10Gi"}),
            ),
            (
                ("", "secrets"),
                json!({}),
                json!({"count/secrets": "1", "secrets": "1"}),
            ),
            (
                ("example.com", "widgets"),
                json!({}),
                json!({"count/widgets.example.com": "1"}),
            ),
        ];
        for ((group, plural), object, expected) in cases {
            assert_eq!(shown(group, plural, &object), expected);
            for name in expected.as_object().unwrap().keys() {
                assert!(measures(name, group, plural), "{name}");
            }
        }
        assert!(!measures(
            "count/widgets.example.com",
            "example.org",
            "widgets"
        ));
        assert!(!measures("pods", "", "services"));
    }

    #[test]
    fn scopes_take_in_the_pods_they_name_and_nothing_but_pods() {
        let pod = |spec: Value| json!({"spec": spec});
        let plain = pod(json!({"containers": [{"name": "a"}]}));
        let sized =
            pod(json!({"containers": [{"name": "a", "resources": {"limits": {"cpu": "1"}}}]}));
        let ending = pod(json!({"activeDeadlineSeconds": 5, "containers": []}));
        let urgent = pod(json!({"priorityClassName": "high", "containers": []}));
        let far = pod(json!({"affinity": {"podAffinity": {
            "preferredDuringSchedulingIgnoredDuringExecution":
                [{"weight": 1, "podAffinityTerm": {"namespaceSelector": {}}}]}}}));
        let scope = |name: &str| json!({"scopes": [name]});
        let class = |operator: &str, values: &[&str]| {
            json!({"scopeSelector": {"matchExpressions": [
                {"scopeName": "PriorityClass", "operator": operator, "values": values}]}})
        };
        let cases = [
            (scope("BestEffort"), &plain, true),
            (scope("BestEffort"), &sized, false),
            (scope("NotBestEffort"), &sized, true),
            (scope("Terminating"), &ending, true),
            (scope("Terminating"), &plain, false),
            (scope("NotTerminating"), &plain, true),
            (scope("PriorityClass"), &urgent, true),
            (scope("PriorityClass"), &plain, false),
            (class("In", &["high"]), &urgent, true),
            (class("In", &["low"]), &urgent, false),
            (class("NotIn", &["high"]), &urgent, false),
            (class("NotIn", &["low"]), &plain, true),
            (class("DoesNotExist", &[]), &plain, true),
            (scope("CrossNamespacePodAffinity"), &far, true),
            (scope("CrossNamespacePodAffinity"), &plain, false),
            (json!({}), &plain, true),
        ];
        for (spec, pod, expected) in cases {
            assert_eq!(in_scope(&spec, "", "pods", pod), expected, "{spec} {pod}");
        }
        assert!(!in_scope(
            &scope("NotTerminating"),
            "",
            "services",
            &json!({})
        ));
    }
}
