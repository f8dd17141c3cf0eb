//! Checks of pods, pod templates, and changes of pods.

use super::container::{Role, Surroundings, container, identity, resources, without_image};
use super::{Errors, Path, label_selector, labels};
use crate::values::{at, flag, int, items, items_mut, members, take, text};
use consort_object::names;
use serde_json::Value;
use std::collections::HashSet;

const RESTART_POLICIES: &[&str] = &["Always", "OnFailure", "Never"];
const DNS_POLICIES: &[&str] = &["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"];
const EFFECTS: &[&str] = &["NoSchedule", "PreferNoSchedule", "NoExecute"];
const NODE_OPERATORS: &[&str] = &["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"];
const CHANGEABLE: &str = "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

/// Check a pod.
pub(crate) fn pod(pod: &Value, here: &Path<'_>, errors: &mut Errors) {
    pod_spec(&pod["spec"], &here.field("spec"), errors);
}

/// Check a pod template.
pub(crate) fn pod_template(template: &Value, here: &Path<'_>, errors: &mut Errors) {
    super::metadata::template(template, here, errors);
    let spec = here.field("spec");
    pod_spec(&template["spec"], &spec, errors);
    if !items(template, &["spec", "ephemeralContainers"]).is_empty() {
        errors.forbidden(
            &spec.field("ephemeralContainers"),
            "ephemeral containers not allowed in pod template",
        );
    }
}

/// Check a pod's spec.
pub(super) fn pod_spec(spec: &Value, here: &Path<'_>, errors: &mut Errors) {
    let volumes = super::volume::volumes(spec, &here.field("volumes"), errors);
    let mut around = Surroundings {
        volumes,
        names: HashSet::new(),
        host_ports: HashSet::new(),
    };
    if items(spec, &["containers"]).is_empty() {
        errors.required(&here.field("containers"), "");
    }
    for (list, role) in [
        ("containers", Role::Main),
        ("initContainers", Role::Init),
        ("ephemeralContainers", Role::Ephemeral),
    ] {
        let place = here.field(list);
        if role == Role::Init {
            // Init containers run one after the other: they may use the ports of later ones.
            around.host_ports.clear();
        }
        for (index, value) in items(spec, &[list]).iter().enumerate() {
            container(value, role, &mut around, &place.index(index), errors);
        }
    }
    host_network_ports(spec, here, errors);
    let policy = text(spec, &["restartPolicy"]);
    errors.one_of(&here.field("restartPolicy"), policy, RESTART_POLICIES);
    dns(spec, here, errors);
    if let Some(context) = at(spec, &["securityContext"]) {
        identity(context, &here.field("securityContext"), errors);
        let list = here.field("securityContext");
        let list = list.field("sysctls");
        for (index, sysctl) in items(context, &["sysctls"]).iter().enumerate() {
            if text(sysctl, &["name"]).is_empty() {
                errors.required(&list.index(index).field("name"), "");
            }
        }
    }
    if let Some(value) = at(spec, &["resources"]) {
        resources(value, &here.field("resources"), errors);
    }
    simple_fields(spec, here, errors);
    scheduling(spec, here, errors);
}

fn host_network_ports(spec: &Value, here: &Path<'_>, errors: &mut Errors) {
    if !flag(spec, &["hostNetwork"]) {
        return;
    }
    let list = here.field("containers");
    for (index, container) in items(spec, &["containers"]).iter().enumerate() {
        let place = list.index(index);
        let place = place.field("ports");
        for (index, port) in items(container, &["ports"]).iter().enumerate() {
            let (host, own) = (int(port, &["hostPort"]), int(port, &["containerPort"]));
            if host != 0 && host != own {
                errors.invalid(
                    &place.index(index).field("containerPort"),
                    own,
                    "must match `hostPort` when `hostNetwork` is true",
                );
            }
        }
    }
}

fn dns(spec: &Value, here: &Path<'_>, errors: &mut Errors) {
    let policy = text(spec, &["dnsPolicy"]);
    errors.one_of(&here.field("dnsPolicy"), policy, DNS_POLICIES);
    let config = here.field("dnsConfig");
    let servers = items(spec, &["dnsConfig", "nameservers"]);
    if policy == "None" && servers.is_empty() {
        errors.required(
            &config.field("nameservers"),
            "must provide at least one DNS nameserver when `dnsPolicy` is None",
        );
    }
    if servers.len() > 3 {
        errors.invalid(
            &config.field("nameservers"),
            Value::Array(servers.to_vec()),
            "must not have more than 3 nameservers",
        );
    }
    let list = config.field("nameservers");
    for (index, server) in servers.iter().enumerate() {
        let server = server.as_str().unwrap_or_default();
        if server.parse::<std::net::IpAddr>().is_err() {
            errors.invalid(
                &list.index(index),
                server,
                "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
            );
        }
    }
}

fn simple_fields(spec: &Value, here: &Path<'_>, errors: &mut Errors) {
    let account = text(spec, &["serviceAccountName"]);
    if !account.is_empty() {
        errors.check(
            &here.field("serviceAccountName"),
            account,
            names::dns1123_subdomain(account),
        );
    }
    let node = text(spec, &["nodeName"]);
    if !node.is_empty() {
        errors.check(
            &here.field("nodeName"),
            node,
            names::dns1123_subdomain(node),
        );
    }
    for field in ["hostname", "subdomain"] {
        let value = text(spec, &[field]);
        if !value.is_empty() {
            errors.check(&here.field(field), value, names::dns1123_label(value));
        }
    }
    let class = text(spec, &["priorityClassName"]);
    if !class.is_empty() {
        errors.check(
            &here.field("priorityClassName"),
            class,
            names::dns1123_subdomain(class),
        );
    }
    if let Some(seconds) = at(spec, &["activeDeadlineSeconds"]).and_then(Value::as_i64) {
        errors.between(
            &here.field("activeDeadlineSeconds"),
            seconds,
            1,
            i64::from(i32::MAX),
        );
    }
    let list = here.field("imagePullSecrets");
    for (index, secret) in items(spec, &["imagePullSecrets"]).iter().enumerate() {
        if text(secret, &["name"]).is_empty() {
            errors.required(&list.index(index).field("name"), "");
        }
    }
    let list = here.field("hostAliases");
    for (index, alias) in items(spec, &["hostAliases"]).iter().enumerate() {
        let place = list.index(index);
        let ip = text(alias, &["ip"]);
        if ip.parse::<std::net::IpAddr>().is_err() {
            errors.invalid(
                &place.field("ip"),
                ip,
                "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
            );
        }
        let names_list = place.field("hostnames");
        for (index, name) in items(alias, &["hostnames"]).iter().enumerate() {
            let name = name.as_str().unwrap_or_default();
            errors.check(
                &names_list.index(index),
                name,
                names::dns1123_subdomain(name),
            );
        }
    }
    let gates = here.field("schedulingGates");
    let mut seen = HashSet::new();
    for (index, gate) in items(spec, &["schedulingGates"]).iter().enumerate() {
        let name = text(gate, &["name"]);
        errors.check(&gates.index(index), name, names::qualified_name(name));
        if !seen.insert(name) {
            errors.duplicate(&gates.index(index), name);
        }
    }
}

fn scheduling(spec: &Value, here: &Path<'_>, errors: &mut Errors) {
    if let Some(selector) = at(spec, &["nodeSelector"]) {
        labels(selector, &here.field("nodeSelector"), errors);
    }
    tolerations(spec, &here.field("tolerations"), errors);
    if let Some(affinity) = at(spec, &["affinity"]) {
        self::affinity(affinity, &here.field("affinity"), errors);
    }
    let list = here.field("topologySpreadConstraints");
    for (index, constraint) in items(spec, &["topologySpreadConstraints"])
        .iter()
        .enumerate()
    {
        let place = list.index(index);
        if int(constraint, &["maxSkew"]) <= 0 {
            errors.invalid(
                &place.field("maxSkew"),
                int(constraint, &["maxSkew"]),
                "must be greater than zero",
            );
        }
        if text(constraint, &["topologyKey"]).is_empty() {
            errors.required(&place.field("topologyKey"), "can not be empty");
        }
        let action = text(constraint, &["whenUnsatisfiable"]);
        let known = ["DoNotSchedule", "ScheduleAnyway"];
        if !known.contains(&action) {
            errors.not_supported(&place.field("whenUnsatisfiable"), action, &known);
        }
        if let Some(selector) = at(constraint, &["labelSelector"]) {
            label_selector(selector, &place.field("labelSelector"), errors);
        }
    }
}

/// Check the list `tolerations`.
pub(crate) fn tolerations(spec: &Value, here: &Path<'_>, errors: &mut Errors) {
    for (index, toleration) in items(spec, &["tolerations"]).iter().enumerate() {
        self::toleration(toleration, &here.index(index), errors);
    }
}

fn toleration(toleration: &Value, here: &Path<'_>, errors: &mut Errors) {
    let (key, operator) = (text(toleration, &["key"]), text(toleration, &["operator"]));
    if key.is_empty() {
        if operator != "Exists" {
            errors.invalid(
                &here.field("operator"),
                operator,
                "operator must be Exists when `key` is empty, which means \"match all values and all keys\"",
            );
        }
    } else {
        errors.check(&here.field("key"), key, names::qualified_name(key));
    }
    let effect = text(toleration, &["effect"]);
    if at(toleration, &["tolerationSeconds"]).is_some() && effect != "NoExecute" {
        errors.invalid(
            &here.field("effect"),
            effect,
            "effect must be 'NoExecute' when `tolerationSeconds` is set",
        );
    }
    let value = text(toleration, &["value"]);
    match operator {
        "Exists" => {
            if !value.is_empty() {
                errors.invalid(
                    &here.field("operator"),
                    value,
                    "value must be empty when `operator` is 'Exists'",
                );
            }
        }
        "" | "Equal" => errors.check(&here.field("operator"), value, names::label_value(value)),
        _ => errors.not_supported(&here.field("operator"), operator, &["Equal", "Exists"]),
    }
    if !effect.is_empty() && !EFFECTS.contains(&effect) {
        errors.not_supported(&here.field("effect"), effect, EFFECTS);
    }
}

fn affinity(affinity: &Value, here: &Path<'_>, errors: &mut Errors) {
    if let Some(node) = at(affinity, &["nodeAffinity"]) {
        let here = here.field("nodeAffinity");
        let required = "requiredDuringSchedulingIgnoredDuringExecution";
        if let Some(selector) = at(node, &[required]) {
            node_selector(selector, &here.field(required), errors);
        }
        let list = here.field("preferredDuringSchedulingIgnoredDuringExecution");
        let preferred = items(node, &["preferredDuringSchedulingIgnoredDuringExecution"]);
        for (index, weighted) in preferred.iter().enumerate() {
            let place = list.index(index);
            weight(weighted, &place, errors);
            node_term(&weighted["preference"], &place.field("preference"), errors);
        }
    }
    for kind in ["podAffinity", "podAntiAffinity"] {
        let Some(value) = at(affinity, &[kind]) else {
            continue;
        };
        let here = here.field(kind);
        let list = here.field("requiredDuringSchedulingIgnoredDuringExecution");
        let required = items(value, &["requiredDuringSchedulingIgnoredDuringExecution"]);
        for (index, term) in required.iter().enumerate() {
            pod_term(term, &list.index(index), errors);
        }
        let list = here.field("preferredDuringSchedulingIgnoredDuringExecution");
        let preferred = items(value, &["preferredDuringSchedulingIgnoredDuringExecution"]);
        for (index, weighted) in preferred.iter().enumerate() {
            let place = list.index(index);
            weight(weighted, &place, errors);
            pod_term(
                &weighted["podAffinityTerm"],
                &place.field("podAffinityTerm"),
                errors,
            );
        }
    }
}

/// Check which nodes are meant.
pub(crate) fn node_selector(selector: &Value, here: &Path<'_>, errors: &mut Errors) {
    let place = here.field("nodeSelectorTerms");
    let terms = items(selector, &["nodeSelectorTerms"]);
    if terms.is_empty() {
        errors.required(&place, "must have at least one node selector term");
    }
    for (index, term) in terms.iter().enumerate() {
        node_term(term, &place.index(index), errors);
    }
}

fn weight(weighted: &Value, here: &Path<'_>, errors: &mut Errors) {
    let number = int(weighted, &["weight"]);
    if !(1..=100).contains(&number) {
        errors.invalid(&here.field("weight"), number, "must be in the range 1-100");
    }
}

fn node_term(term: &Value, here: &Path<'_>, errors: &mut Errors) {
    for list in ["matchExpressions", "matchFields"] {
        let place = here.field(list);
        for (index, expression) in items(term, &[list]).iter().enumerate() {
            let place = place.index(index);
            let operator = text(expression, &["operator"]);
            let values = items(expression, &["values"]).len();
            match operator {
                "In" | "NotIn" if values == 0 => errors.required(
                    &place.field("values"),
                    "must be specified when `operator` is 'In' or 'NotIn'",
                ),
                "Exists" | "DoesNotExist" if values > 0 => errors.forbidden(
                    &place.field("values"),
                    "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
                ),
                "Gt" | "Lt" if values != 1 => errors.required(
                    &place.field("values"),
                    "must be specified single value when `operator` is 'Lt' or 'Gt'",
                ),
                _ if !NODE_OPERATORS.contains(&operator) => errors.invalid(
                    &place.field("operator"),
                    operator,
                    "not a valid selector operator",
                ),
                _ => {}
            }
            let key = text(expression, &["key"]);
            if list == "matchExpressions" {
                errors.check(&place.field("key"), key, names::qualified_name(key));
            } else if key != "metadata.name" {
                errors.invalid(&place.field("key"), key, "not a valid field selector key");
            }
        }
    }
}

fn pod_term(term: &Value, here: &Path<'_>, errors: &mut Errors) {
    if let Some(selector) = at(term, &["labelSelector"]) {
        label_selector(selector, &here.field("labelSelector"), errors);
    }
    let key = text(term, &["topologyKey"]);
    if key.is_empty() {
        errors.required(&here.field("topologyKey"), "can not be empty");
    } else {
        errors.check(&here.field("topologyKey"), key, names::qualified_name(key));
    }
}

/// Check a change of a pod: only a few fields of its spec may change.
pub(crate) fn pod_update(new: &Value, old: &Value, here: &Path<'_>, errors: &mut Errors) {
    let here = here.field("spec");
    let (mut new_spec, mut old_spec) = (new["spec"].clone(), old["spec"].clone());
    for list in ["containers", "initContainers"] {
        let place = here.field(list);
        if items(&new_spec, &[list]).len() != items(&old_spec, &[list]).len() {
            errors.forbidden(&place, "pod updates may not add or remove containers");
            return;
        }
        for (index, container) in items(&new_spec, &[list]).iter().enumerate() {
            if text(container, &["image"]).is_empty() {
                errors.required(&place.index(index).field("image"), "");
            }
        }
    }
    deadline(&new_spec, &old_spec, &here, errors);
    tolerations_only_grow(&new_spec, &old_spec, &here.field("tolerations"), errors);
    gates_only_shrink(&new_spec, &old_spec, &here.field("schedulingGates"), errors);
    if !errors.0.is_empty() {
        return;
    }
    let gated = !items(&old_spec, &["schedulingGates"]).is_empty();
    for spec in [&mut new_spec, &mut old_spec] {
        for list in ["containers", "initContainers"] {
            items_mut(spec, list).for_each(without_image);
        }
        for field in ["activeDeadlineSeconds", "tolerations", "schedulingGates"] {
            take(spec, field);
        }
        if gated {
            // A gated pod may still be told where it can run.
            take(spec, "nodeSelector");
            take(spec, "affinity");
        }
    }
    if int(&old_spec, &["terminationGracePeriodSeconds"]) < 0
        && int(&new_spec, &["terminationGracePeriodSeconds"]) == 1
    {
        take(&mut new_spec, "terminationGracePeriodSeconds");
        take(&mut old_spec, "terminationGracePeriodSeconds");
    }
    if new_spec != old_spec {
        errors.forbidden(&here, CHANGEABLE);
    }
}

fn deadline(new: &Value, old: &Value, here: &Path<'_>, errors: &mut Errors) {
    let seconds = |spec| at(spec, &["activeDeadlineSeconds"]).and_then(Value::as_i64);
    let place = here.field("activeDeadlineSeconds");
    match (seconds(new), seconds(old)) {
        (Some(new), _) if new < 0 || new > i64::from(i32::MAX) => {
            errors.between(&place, new, 0, i64::from(i32::MAX));
        }
        (Some(new), Some(old)) if new > old => {
            errors.invalid(&place, new, "must be less than or equal to previous value");
        }
        (None, Some(_)) => errors.invalid(
            &place,
            Value::Null,
            "must not update from a positive integer to nil value",
        ),
        _ => {}
    }
}

fn tolerations_only_grow(new: &Value, old: &Value, here: &Path<'_>, errors: &mut Errors) {
    let key = |toleration: &Value| {
        let mut rest = toleration.clone();
        take(&mut rest, "tolerationSeconds");
        rest
    };
    let have: Vec<Value> = items(new, &["tolerations"]).iter().map(key).collect();
    for toleration in items(old, &["tolerations"]) {
        if !have.contains(&key(toleration)) {
            errors.forbidden(
                here,
                "existing toleration can not be modified except its tolerationSeconds",
            );
            return;
        }
    }
    for (index, value) in items(new, &["tolerations"]).iter().enumerate() {
        toleration(value, &here.index(index), errors);
    }
}

fn gates_only_shrink(new: &Value, old: &Value, here: &Path<'_>, errors: &mut Errors) {
    let before = items(old, &["schedulingGates"]);
    for gate in items(new, &["schedulingGates"]) {
        if !before.contains(gate) {
            errors.forbidden(
                here,
                "only deletion is allowed, but found new scheduling gate",
            );
            return;
        }
    }
}

/// Check a change through the `ephemeralcontainers` subresource: they may only be added.
pub(crate) fn ephemeral_containers_update(
    new: &Value,
    old: &Value,
    here: &Path<'_>,
    errors: &mut Errors,
) {
    let here = here.field("spec");
    pod_spec(&new["spec"], &here, errors);
    let place = here.field("ephemeralContainers");
    let have = items(new, &["spec", "ephemeralContainers"]);
    for container in items(old, &["spec", "ephemeralContainers"]) {
        let name = text(container, &["name"]);
        match have.iter().find(|other| text(other, &["name"]) == name) {
            None => errors.forbidden(
                &place,
                format!("existing ephemeral containers \"{name}\" may not be removed\n"),
            ),
            Some(other) if other != container => errors.forbidden(
                &place,
                format!("existing ephemeral containers \"{name}\" may not be changed\n"),
            ),
            Some(_) => {}
        }
    }
}

/// Check a change through the `resize` subresource: only what containers ask for and may use.
pub(crate) fn resize(new: &Value, old: &Value, here: &Path<'_>, errors: &mut Errors) {
    let here = here.field("spec");
    pod_spec(&new["spec"], &here, errors);
    if crate::defaults::qos_class(new) != text(old, &["status", "qosClass"]) {
        errors.invalid(
            &here,
            crate::defaults::qos_class(new),
            "Pod QOS Class may not change as a result of resizing",
        );
    }
    for list in ["containers", "initContainers"] {
        let place = here.field(list);
        let before = items(old, &["spec", list]);
        for (index, (after, before)) in items(new, &["spec", list]).iter().zip(before).enumerate() {
            let place = place.index(index);
            let restartable = list == "containers" || text(after, &["restartPolicy"]) == "Always";
            let changed = at(after, &["resources"]) != at(before, &["resources"]);
            if changed && !restartable {
                errors.forbidden(
                    &place.field("resources"),
                    "only cpu and memory resources of containers and sidecars are mutable",
                );
            }
            resized(after, before, &place.field("resources"), errors);
        }
    }
}

/// Only processor and memory may change, and what is there may not be taken away.
fn resized(after: &Value, before: &Value, here: &Path<'_>, errors: &mut Errors) {
    for list in ["limits", "requests"] {
        let place = here.field(list);
        for (name, amount) in members(before, &["resources", list]) {
            let now = at(after, &["resources", list, name]);
            let fixed = !matches!(name, "cpu" | "memory");
            if now.is_none() {
                errors.forbidden(&place, format!("resource {list} cannot be removed"));
            } else if fixed && now != Some(amount) {
                errors.forbidden(&place, "only cpu and memory resources are mutable");
            }
        }
        for (name, _) in members(after, &["resources", list]) {
            if !matches!(name, "cpu" | "memory") && at(before, &["resources", list, name]).is_none()
            {
                errors.forbidden(&place, "only cpu and memory resources are mutable");
            }
        }
    }
}
