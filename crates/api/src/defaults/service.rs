//! Defaults of services. Addresses and ports are allocated elsewhere.

use crate::values::{at, ensure, fill, fill_text, items, items_mut, text};
use serde_json::{Value, json};

/// How long a client sticks to a backend, in seconds.
const AFFINITY_SECONDS: i64 = 10800;

/// Fill in a service.
pub(crate) fn service(object: &mut Value) {
    let spec = ensure(object, "spec");
    fill_text(spec, "sessionAffinity", "None");
    if text(spec, &["sessionAffinity"]) == "ClientIP" {
        let config = ensure(ensure(spec, "sessionAffinityConfig"), "clientIP");
        fill(config, "timeoutSeconds", AFFINITY_SECONDS);
    } else if let Some(map) = spec.as_object_mut() {
        map.shift_remove("sessionAffinityConfig");
    }
    fill_text(spec, "type", "ClusterIP");
    service_ports(spec);
    let kind = text(spec, &["type"]).to_owned();
    let external = matches!(kind.as_str(), "NodePort" | "LoadBalancer")
        || (kind == "ClusterIP" && !items(spec, &["externalIPs"]).is_empty());
    if external {
        fill_text(spec, "externalTrafficPolicy", "Cluster");
    }
    if kind != "ExternalName" {
        fill(spec, "internalTrafficPolicy", "Cluster");
    }
    if kind == "LoadBalancer" {
        fill(spec, "allocateLoadBalancerNodePorts", true);
    }
}

/// Fill in the ports of a service: the protocol, and a target port like the port itself.
fn service_ports(spec: &mut Value) {
    for port in items_mut(spec, "ports") {
        fill_text(port, "protocol", "TCP");
        let number = port.get("port").and_then(Value::as_i64).unwrap_or_default();
        let empty = match at(port, &["targetPort"]) {
            None => true,
            Some(target) => *target == json!(0) || *target == json!(""),
        };
        if empty {
            crate::values::set(port, "targetPort", number);
        }
    }
}
