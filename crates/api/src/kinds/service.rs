//! Services.

use crate::addresses::Addresses;
use crate::defaults;
use crate::error::Outcome;
use crate::kind::{Kind, NameRule, STATUS, proxy};
use crate::print;
use crate::strategy::{AGE, Claim, Column, NAME, Strategy, column, wide};
use crate::validation::{self, Errors, Path};
use crate::values::{at, copy, ensure, fill, int, items, members, set, take, text};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::sync::Arc;

/// The kind `Service`; its addresses and ports come from `addresses`.
pub(super) fn service(addresses: Arc<Addresses>) -> Kind {
    let mut kind = Kind::new("", "v1", "Service", "services")
        .short(&["svc"])
        .categories(&["all"])
        .sub(proxy("ServiceProxyOptions"))
        .sub(STATUS)
        .strategy(Service { addresses });
    kind.name_rule = NameRule::Label1035;
    kind.create_on_update = true;
    kind.returns_deleted = true;
    kind
}

/// Fill in what address families a service has, on a network of IPv4. An address of the other is left
/// without one, for validation to find.
fn families(spec: &mut Value) {
    let addresses = items(spec, &["clusterIPs"]);
    if addresses
        .iter()
        .all(|ip| !ip.as_str().is_some_and(|ip| ip.contains(':')))
    {
        fill(spec, "ipFamilies", json!(["IPv4"]));
    }
    fill(spec, "ipFamilyPolicy", "SingleStack");
    // Nobody but its user knows where a service without address and selector leads.
    let free =
        text(spec, &["clusterIP"]) == "None" && members(spec, &["selector"]).next().is_none();
    let only = match items(spec, &["ipFamilies"]) {
        [one] => one.as_str().unwrap_or_default().to_owned(),
        _ => return,
    };
    if free && text(spec, &["ipFamilyPolicy"]) != "SingleStack" {
        let other = if only == "IPv4" { "IPv6" } else { "IPv4" };
        set(spec, "ipFamilies", json!([only, other]));
    }
}

struct Service {
    addresses: Arc<Addresses>,
}

impl Strategy for Service {
    fn default(&self, object: &mut Value) {
        defaults::service(object);
        // The list and the single address are two spellings of one thing.
        let spec = ensure(object, "spec");
        let single = text(spec, &["clusterIP"]).to_owned();
        let listed = items(spec, &["clusterIPs"]).first().and_then(Value::as_str);
        match (single.is_empty(), listed) {
            (false, None) => set(spec, "clusterIPs", json!([single])),
            (true, Some(first)) => {
                let first = first.to_owned();
                set(spec, "clusterIP", first);
            }
            _ => {}
        }
        if text(spec, &["type"]) != "ExternalName" {
            families(spec);
        }
    }

    fn prepare_create(&self, object: &mut Value) {
        set(object, "status", json!({"loadBalancer": {}}));
    }

    fn prepare_update(&self, new: &mut Value, old: &Value) {
        let kind = text(new, &["spec", "type"]).to_owned();
        let before = text(old, &["spec", "type"]).to_owned();
        let spec = ensure(new, "spec");
        drop_kept(spec, &old["spec"]);
        if kind == "ExternalName" {
            if before != "ExternalName" {
                for field in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
                    take(spec, field);
                }
                drop_kept_node_ports(spec, &old["spec"]);
            }
            return;
        }
        // Who leaves the address out keeps it, and likewise the node ports.
        if text(spec, &["clusterIP"]).is_empty() && before != "ExternalName" {
            copy(spec, &old["spec"], "clusterIP");
            copy(spec, &old["spec"], "clusterIPs");
        }
        if matches!(kind.as_str(), "NodePort" | "LoadBalancer") {
            keep_node_ports(spec, &old["spec"]);
        } else if matches!(before.as_str(), "NodePort" | "LoadBalancer") {
            drop_kept_node_ports(spec, &old["spec"]);
        }
    }

    fn validate(&self, object: &Value, here: &Path<'_>, errors: &mut Errors) {
        validation::service(object, here, errors);
    }

    fn validate_update(&self, new: &Value, old: &Value, here: &Path<'_>, errors: &mut Errors) {
        validation::service_update(new, old, here, errors);
    }

    fn validate_status(&self, new: &Value, _old: &Value, here: &Path<'_>, errors: &mut Errors) {
        validation::service_status(new, here, errors);
    }

    fn warnings(&self, object: &Value) -> Vec<String> {
        validation::service_warnings(object)
    }

    fn claim(&self, object: &mut Value, before: Option<&Value>) -> Outcome<Option<Box<dyn Claim>>> {
        self.addresses.claim(object, before)
    }

    fn settled(&self, before: &Value, after: Option<&Value>) {
        self.addresses.settled(before, after);
    }

    fn selectable(&self) -> &'static [&'static str] {
        &["spec.clusterIP", "spec.type"]
    }

    fn fields(&self, object: &Value) -> Vec<(String, String)> {
        vec![
            (
                "spec.clusterIP".into(),
                text(object, &["spec", "clusterIP"]).into(),
            ),
            ("spec.type".into(), text(object, &["spec", "type"]).into()),
        ]
    }

    fn columns(&self) -> &'static [Column] {
        const COLUMNS: &[Column] = &[
            NAME,
            column("Type", "string", "How the service is exposed."),
            column(
                "Cluster-IP",
                "string",
                "The address of the service inside the cluster.",
            ),
            column(
                "External-IP",
                "string",
                "Addresses from outside the cluster.",
            ),
            column(
                "Port(s)",
                "string",
                "The list of ports that are exposed by this service.",
            ),
            AGE,
            wide(
                "Selector",
                "string",
                "The labels of the pods behind the service.",
            ),
        ];
        COLUMNS
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let spec = &object["spec"];
        let address = items(spec, &["clusterIPs"])
            .first()
            .and_then(Value::as_str)
            .unwrap_or_else(|| text(spec, &["clusterIP"]));
        vec![
            print::name(object),
            text(spec, &["type"]).into(),
            print::or(address, "<none>").into(),
            external(object).into(),
            ports(spec).into(),
            print::age(object, now),
            print::label_map(&spec["selector"]).into(),
        ]
    }
}

/// What only the former type of a service had, and the client sent back unchanged, is dropped: who
/// changes the type alone need not know of it.
fn drop_kept(spec: &mut Value, old: &Value) {
    let kind = |spec: &Value| text(spec, &["type"]).to_owned();
    let balanced = |spec: &Value| kind(spec) == "LoadBalancer";
    let reachable = |spec: &Value| {
        matches!(kind(spec).as_str(), "LoadBalancer" | "NodePort")
            || (kind(spec) == "ClusterIP" && !items(spec, &["externalIPs"]).is_empty())
    };
    let health = |spec: &Value| balanced(spec) && text(spec, &["externalTrafficPolicy"]) == "Local";
    let dropped: [(&str, bool); 4] = [
        (
            "allocateLoadBalancerNodePorts",
            balanced(old) && !balanced(spec),
        ),
        ("loadBalancerClass", balanced(old) && !balanced(spec)),
        ("healthCheckNodePort", health(old) && !health(spec)),
        ("externalTrafficPolicy", reachable(old) && !reachable(spec)),
    ];
    for (field, gone) in dropped {
        if gone && spec.get(field) == old.get(field) {
            take(spec, field);
        }
    }
}

fn same_port(left: &Value, right: &Value) -> bool {
    int(left, &["port"]) == int(right, &["port"])
        && text(left, &["protocol"]) == text(right, &["protocol"])
}

fn keep_node_ports(spec: &mut Value, old: &Value) {
    let taken: Vec<i64> = items(spec, &["ports"])
        .iter()
        .map(|port| int(port, &["nodePort"]))
        .collect();
    for port in crate::values::items_mut(spec, "ports") {
        if int(port, &["nodePort"]) != 0 {
            continue;
        }
        let kept = items(old, &["ports"])
            .iter()
            .find(|other| same_port(port, other))
            .map(|other| int(other, &["nodePort"]))
            .filter(|number| *number != 0 && !taken.contains(number));
        if let Some(number) = kept {
            set(port, "nodePort", number);
        }
    }
}

/// A service that no longer has node ports: those it sent back unchanged are dropped, as a client
/// that only changes the type does not know of them.
fn drop_kept_node_ports(spec: &mut Value, old: &Value) {
    let before: Vec<i64> = items(old, &["ports"])
        .iter()
        .map(|port| int(port, &["nodePort"]))
        .collect();
    for port in crate::values::items_mut(spec, "ports") {
        if before.contains(&int(port, &["nodePort"])) {
            take(port, "nodePort");
        }
    }
}

fn external(service: &Value) -> String {
    let spec = &service["spec"];
    let listed: Vec<&str> = items(spec, &["externalIPs"])
        .iter()
        .filter_map(Value::as_str)
        .collect();
    match text(spec, &["type"]) {
        "ExternalName" => text(spec, &["externalName"]).to_owned(),
        "LoadBalancer" => {
            let mut all: Vec<&str> = items(service, &["status", "loadBalancer", "ingress"])
                .iter()
                .map(|ingress| print::or(text(ingress, &["ip"]), text(ingress, &["hostname"])))
                .collect();
            all.extend(listed);
            if all.is_empty() {
                "<pending>".into()
            } else {
                all.join(",")
            }
        }
        _ if listed.is_empty() => "<none>".into(),
        _ => listed.join(","),
    }
}

fn ports(spec: &Value) -> String {
    let all: Vec<String> = items(spec, &["ports"])
        .iter()
        .map(|port| {
            let number = int(port, &["port"]);
            let protocol = text(port, &["protocol"]);
            match at(port, &["nodePort"]).and_then(Value::as_i64) {
                Some(node) if node != 0 => format!("{number}:{node}/{protocol}"),
                _ => format!("{number}/{protocol}"),
            }
        })
        .collect();
    print::or(&all.join(","), "<none>").to_owned()
}
