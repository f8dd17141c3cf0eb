//! Checks of where pods may run: node selectors, affinity, tolerations, spreading, gates.

use super::{Errors, Path, label_selector, labels};
use crate::values::{at, int, items, members, text};
use consort_object::names;
use serde_json::Value;
use std::collections::HashSet;

const EFFECTS: &[&str] = &["NoSchedule", "PreferNoSchedule", "NoExecute"];
const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";

/// Check all of a pod's spec that says where it may run.
pub(super) fn scheduling(spec: &Value, here: &Path<'_>, errors: &mut Errors) {
    if let Some(selector) = at(spec, &["nodeSelector"]) {
        labels(selector, &here.field("nodeSelector"), errors);
    }
    tolerations(spec, &here.field("tolerations"), errors);
    if let Some(affinity) = at(spec, &["affinity"]) {
        self::affinity(affinity, &here.field("affinity"), errors);
    }
    spread(spec, &here.field("topologySpreadConstraints"), errors);
    gates(spec, &here.field("schedulingGates"), errors);
}

fn gates(spec: &Value, list: &Path<'_>, errors: &mut Errors) {
    let mut seen = HashSet::new();
    for (index, gate) in items(spec, &["schedulingGates"]).iter().enumerate() {
        let name = text(gate, &["name"]);
        errors.check(&list.index(index), name, names::qualified_name(name));
        if !seen.insert(name) {
            errors.duplicate(&list.index(index), name);
        }
    }
}

/// Check the list `topologySpreadConstraints`.
fn spread(spec: &Value, list: &Path<'_>, errors: &mut Errors) {
    let mut seen = HashSet::new();
    for (index, constraint) in items(spec, &["topologySpreadConstraints"])
        .iter()
        .enumerate()
    {
        let place = list.index(index);
        let key = text(constraint, &["topologyKey"]);
        let action = text(constraint, &["whenUnsatisfiable"]);
        spread_basics(constraint, &place, errors);
        if !seen.insert((key, action)) {
            errors.duplicate(
                &place.field("{topologyKey, whenUnsatisfiable}"),
                format!("{{{key}, {action}}}"),
            );
        }
        for field in ["nodeAffinityPolicy", "nodeTaintsPolicy"] {
            if let Some(policy) = at(constraint, &[field]).and_then(Value::as_str) {
                errors.supported(&place.field(field), policy, &["Honor", "Ignore"]);
            }
        }
        label_keys(constraint, &place, errors);
        if let Some(selector) = at(constraint, &["labelSelector"]) {
            label_selector(selector, &place.field("labelSelector"), errors);
        }
    }
}

fn spread_basics(constraint: &Value, place: &Path<'_>, errors: &mut Errors) {
    const NOT_POSITIVE: &str = "must be greater than zero";
    let skew = int(constraint, &["maxSkew"]);
    if skew <= 0 {
        errors.invalid(&place.field("maxSkew"), skew, NOT_POSITIVE);
    }
    topology_key(text(constraint, &["topologyKey"]), place, errors);
    let action = text(constraint, &["whenUnsatisfiable"]);
    errors.supported(
        &place.field("whenUnsatisfiable"),
        action,
        &["DoNotSchedule", "ScheduleAnyway"],
    );
    if let Some(domains) = at(constraint, &["minDomains"]).and_then(Value::as_i64) {
        let place = place.field("minDomains");
        if domains <= 0 {
            errors.invalid(&place, domains, NOT_POSITIVE);
        }
        if action != "DoNotSchedule" {
            errors.invalid(
                &place,
                domains,
                format!("can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {action}"),
            );
        }
    }
}

/// Check the keys whose values a pod's own labels give.
fn label_keys(constraint: &Value, here: &Path<'_>, errors: &mut Errors) {
    let keys = items(constraint, &["matchLabelKeys"]);
    if keys.is_empty() {
        return;
    }
    let list = here.field("matchLabelKeys");
    let Some(selector) = at(constraint, &["labelSelector"]) else {
        errors.forbidden(&list, "must not be specified when labelSelector is not set");
        return;
    };
    let taken: HashSet<&str> = members(selector, &["matchLabels"])
        .map(|(key, _)| key)
        .chain(
            items(selector, &["matchExpressions"])
                .iter()
                .map(|expression| text(expression, &["key"])),
        )
        .collect();
    for (index, key) in keys.iter().enumerate() {
        let key = key.as_str().unwrap_or_default();
        errors.check(&list.index(index), key, names::qualified_name(key));
        if taken.contains(key) {
            errors.invalid(
                &list.index(index),
                key,
                "exists in both matchLabelKeys and labelSelector",
            );
        }
    }
}

fn topology_key(key: &str, here: &Path<'_>, errors: &mut Errors) {
    let place = here.field("topologyKey");
    if key.is_empty() {
        errors.required(&place, "can not be empty");
    } else {
        errors.check(&place, key, names::qualified_name(key));
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
    if !effect.is_empty() {
        errors.supported(&here.field("effect"), effect, EFFECTS);
    }
}

fn affinity(affinity: &Value, here: &Path<'_>, errors: &mut Errors) {
    if let Some(node) = at(affinity, &["nodeAffinity"]) {
        let here = here.field("nodeAffinity");
        if let Some(selector) = at(node, &[REQUIRED]) {
            node_selector(selector, &here.field(REQUIRED), errors);
        }
        let list = here.field(PREFERRED);
        for (index, weighted) in items(node, &[PREFERRED]).iter().enumerate() {
            let place = list.index(index);
            weight(weighted, &place, errors);
            node_term(
                &weighted["preference"],
                false,
                &place.field("preference"),
                errors,
            );
        }
    }
    for kind in ["podAffinity", "podAntiAffinity"] {
        let Some(value) = at(affinity, &[kind]) else {
            continue;
        };
        let here = here.field(kind);
        let list = here.field(REQUIRED);
        for (index, term) in items(value, &[REQUIRED]).iter().enumerate() {
            pod_term(term, &list.index(index), errors);
        }
        let list = here.field(PREFERRED);
        for (index, weighted) in items(value, &[PREFERRED]).iter().enumerate() {
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

fn weight(weighted: &Value, here: &Path<'_>, errors: &mut Errors) {
    let number = int(weighted, &["weight"]);
    if !(1..=100).contains(&number) {
        errors.invalid(&here.field("weight"), number, "must be in the range 1-100");
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
        node_term(term, true, &place.index(index), errors);
    }
}

fn node_term(term: &Value, strict: bool, here: &Path<'_>, errors: &mut Errors) {
    let list = here.field("matchExpressions");
    for (index, expression) in items(term, &["matchExpressions"]).iter().enumerate() {
        node_expression(expression, strict, &list.index(index), errors);
    }
    let list = here.field("matchFields");
    for (index, expression) in items(term, &["matchFields"]).iter().enumerate() {
        node_field(expression, &list.index(index), errors);
    }
}

fn node_expression(expression: &Value, strict: bool, here: &Path<'_>, errors: &mut Errors) {
    let operator = text(expression, &["operator"]);
    let values = items(expression, &["values"]);
    let place = here.field("values");
    match operator {
        "In" | "NotIn" => {
            if values.is_empty() {
                errors.required(
                    &place,
                    "must be specified when `operator` is 'In' or 'NotIn'",
                );
            }
        }
        "Exists" | "DoesNotExist" => {
            if !values.is_empty() {
                errors.forbidden(
                    &place,
                    "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
                );
            }
        }
        "Gt" | "Lt" => {
            if values.len() != 1 {
                errors.required(
                    &place,
                    "must be specified single value when `operator` is 'Lt' or 'Gt'",
                );
            }
        }
        other => errors.invalid(
            &here.field("operator"),
            other,
            "not a valid selector operator",
        ),
    }
    let key = text(expression, &["key"]);
    errors.check(&here.field("key"), key, names::qualified_name(key));
    if strict {
        for (index, value) in values.iter().enumerate() {
            let value = value.as_str().unwrap_or_default();
            errors.check(&place.index(index), value, names::label_value(value));
        }
    }
}

/// Nodes can be chosen by their name, the only field there is.
fn node_field(expression: &Value, here: &Path<'_>, errors: &mut Errors) {
    let operator = text(expression, &["operator"]);
    let values = items(expression, &["values"]);
    let place = here.field("values");
    match operator {
        "In" | "NotIn" => {
            if values.len() != 1 {
                errors.required(
                    &place,
                    "must be only one value when `operator` is 'In' or 'NotIn' for node field selector",
                );
            }
        }
        other => errors.invalid(
            &here.field("operator"),
            other,
            "not a valid selector operator",
        ),
    }
    let key = text(expression, &["key"]);
    if key != "metadata.name" {
        errors.invalid(&here.field("key"), key, "not a valid field selector key");
        return;
    }
    for (index, value) in values.iter().enumerate() {
        let value = value.as_str().unwrap_or_default();
        errors.check(&place.index(index), value, names::dns1123_subdomain(value));
    }
}

fn pod_term(term: &Value, here: &Path<'_>, errors: &mut Errors) {
    for field in ["labelSelector", "namespaceSelector"] {
        if let Some(selector) = at(term, &[field]) {
            label_selector(selector, &here.field(field), errors);
        }
    }
    for namespace in items(term, &["namespaces"]) {
        let namespace = namespace.as_str().unwrap_or_default();
        errors.check(
            &here.field("namespace"),
            namespace,
            names::dns1123_label(namespace),
        );
    }
    let keys = |field| -> Vec<&str> {
        items(term, &[field])
            .iter()
            .filter_map(Value::as_str)
            .collect()
    };
    let (with, without) = (keys("matchLabelKeys"), keys("mismatchLabelKeys"));
    for (field, all) in [("matchLabelKeys", &with), ("mismatchLabelKeys", &without)] {
        let list = here.field(field);
        if !all.is_empty() && at(term, &["labelSelector"]).is_none() {
            errors.forbidden(&list, "must not be specified when labelSelector is not set");
            continue;
        }
        for (index, key) in all.iter().enumerate() {
            errors.check(&list.index(index), key, names::qualified_name(key));
        }
    }
    let list = here.field("matchLabelKeys");
    for (index, key) in with.iter().enumerate() {
        if without.contains(key) {
            errors.invalid(
                &list.index(index),
                *key,
                "exists in both matchLabelKeys and mismatchLabelKeys",
            );
        }
    }
    topology_key(text(term, &["topologyKey"]), here, errors);
}
