//! Nodes.

use crate::kind::{Kind, STATUS, proxy};
use crate::print;
use crate::strategy::{AGE, Column, NAME, Strategy, column, wide};
use crate::validation::{self, Errors, Path};
use crate::values::{at, ensure, flag, items, members, set, text};
use consort_object::names;
use jiff::Timestamp;
use serde_json::{Value, json};

/// The kind `Node`.
pub(super) fn node() -> Kind {
    Kind::new("", "v1", "Node", "nodes")
        .cluster()
        .short(&["no"])
        .sub(proxy("NodeProxyOptions"))
        .sub(STATUS)
        .strategy(Node)
}

struct Node;

const EFFECTS: &[&str] = &["NoSchedule", "PreferNoSchedule", "NoExecute"];

impl Strategy for Node {
    fn default(&self, object: &mut Value) {
        // What a node has it may give away, unless it says otherwise.
        if let Some(capacity) = at(object, &["status", "capacity"]).cloned() {
            let status = ensure(object, "status");
            let allocatable = ensure(status, "allocatable");
            for (name, amount) in members(&capacity, &[]) {
                crate::values::fill(allocatable, name, amount.clone());
            }
        }
        ensure(object, "spec");
        ensure(object, "status");
    }

    fn validate(&self, object: &Value, here: &Path<'_>, errors: &mut Errors) {
        let place = here.field("spec");
        let place = place.field("taints");
        let mut seen = std::collections::HashSet::new();
        for (index, taint) in items(object, &["spec", "taints"]).iter().enumerate() {
            let place = place.index(index);
            let key = text(taint, &["key"]);
            errors.check(&place.field("key"), key, names::qualified_name(key));
            let value = text(taint, &["value"]);
            errors.check(&place.field("value"), value, names::label_value(value));
            let effect = text(taint, &["effect"]);
            errors.one_of(&place.field("effect"), effect, EFFECTS);
            if !seen.insert((key, effect)) {
                errors.duplicate(&place, taint.clone());
            }
        }
        let place = here.field("spec");
        let list = place.field("podCIDRs");
        let cidrs = items(object, &["spec", "podCIDRs"]);
        for (index, cidr) in cidrs.iter().enumerate() {
            let cidr = cidr.as_str().unwrap_or_default();
            errors.check(&list.index(index), cidr, validation::cidr(cidr));
        }
        if cidrs.len() > 2 {
            errors.invalid(
                &list,
                cidrs.to_vec(),
                "may specify no more than one CIDR for each IP family",
            );
        }
        status_amounts(object, here, errors);
    }

    fn validate_update(&self, new: &Value, old: &Value, here: &Path<'_>, errors: &mut Errors) {
        self.validate(new, here, errors);
        let kept = at(old, &["spec", "podCIDRs"]);
        if kept.is_some() && at(new, &["spec", "podCIDRs"]) != kept {
            errors.forbidden(
                &here.field("spec").field("podCIDRs"),
                "node updates may not change podCIDR except from \"\" to valid",
            );
        }
        for field in ["podCIDR", "providerID"] {
            if !text(old, &["spec", field]).is_empty() {
                let place = here.field("spec");
                if at(new, &["spec", field]) != at(old, &["spec", field]) {
                    errors.forbidden(
                        &place.field(field),
                        "node updates may not change it once it is set",
                    );
                }
            }
        }
    }

    fn validate_status(&self, new: &Value, _old: &Value, here: &Path<'_>, errors: &mut Errors) {
        status_amounts(new, here, errors);
    }

    fn prepare_create(&self, object: &mut Value) {
        if !object["status"].is_object() {
            set(object, "status", json!({}));
        }
    }

    fn selectable(&self) -> &'static [&'static str] {
        &["spec.unschedulable"]
    }

    fn fields(&self, object: &Value) -> Vec<(String, String)> {
        let value = flag(object, &["spec", "unschedulable"]);
        vec![("spec.unschedulable".into(), value.to_string())]
    }

    fn columns(&self) -> &'static [Column] {
        const COLUMNS: &[Column] = &[
            NAME,
            column("Status", "string", "The status of the node"),
            column("Roles", "string", "The roles of the node"),
            AGE,
            column("Version", "string", "The version of the node's agent"),
            wide(
                "Internal-IP",
                "string",
                "The node's address inside the cluster",
            ),
            wide(
                "External-IP",
                "string",
                "The node's address outside the cluster",
            ),
            wide("OS-Image", "string", "The node's operating system"),
            wide("Kernel-Version", "string", "The node's kernel"),
            wide(
                "Container-Runtime",
                "string",
                "What runs the node's containers",
            ),
        ];
        COLUMNS
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let report = &object["status"]["nodeInfo"];
        let known = |field: &str| Value::from(print::or(text(report, &[field]), "<unknown>"));
        vec![
            print::name(object),
            status(object).into(),
            roles(object).into(),
            print::age(object, now),
            text(report, &["kubeletVersion"]).into(),
            address(object, "InternalIP").into(),
            address(object, "ExternalIP").into(),
            known("osImage"),
            known("kernelVersion"),
            known("containerRuntimeVersion"),
        ]
    }
}

/// What a node has and gives away is not negative; it has each address once.
fn status_amounts(object: &Value, here: &Path<'_>, errors: &mut Errors) {
    let here = here.field("status");
    for field in ["capacity", "allocatable"] {
        let place = here.field(field);
        for (name, amount) in members(object, &["status", field]) {
            if amount.as_str().is_some_and(|text| text.starts_with('-')) {
                errors.invalid(
                    &place.key(name),
                    amount.clone(),
                    "must be greater than or equal to 0",
                );
            }
        }
    }
    let list = here.field("addresses");
    let mut seen = Vec::new();
    for (index, address) in items(object, &["status", "addresses"]).iter().enumerate() {
        if seen.contains(&address) {
            errors.duplicate(&list.index(index), address.clone());
        }
        seen.push(address);
    }
}

fn status(node: &Value) -> String {
    let ready = items(node, &["status", "conditions"])
        .iter()
        .find(|condition| text(condition, &["type"]) == "Ready");
    let mut words = vec![match ready {
        Some(condition) if text(condition, &["status"]) == "True" => "Ready",
        Some(_) => "NotReady",
        None => "Unknown",
    }];
    if flag(node, &["spec", "unschedulable"]) {
        words.push("SchedulingDisabled");
    }
    words.join(",")
}

fn roles(node: &Value) -> String {
    let mut roles: Vec<&str> = members(node, &["metadata", "labels"])
        .filter_map(
            |(key, value)| match key.strip_prefix("node-role.kubernetes.io/") {
                Some(role) if !role.is_empty() => Some(role),
                _ if key == "kubernetes.io/role" => value.as_str().filter(|role| !role.is_empty()),
                _ => None,
            },
        )
        .collect();
    roles.sort_unstable();
    roles.dedup();
    if roles.is_empty() {
        "<none>".into()
    } else {
        roles.join(",")
    }
}

fn address(node: &Value, kind: &str) -> String {
    items(node, &["status", "addresses"])
        .iter()
        .find(|address| text(address, &["type"]) == kind)
        .map_or("<none>", |address| text(address, &["address"]))
        .to_owned()
}
