//! Names and amounts of resources: in containers, limit ranges, quotas, nodes.

use super::{Errors, Path};
use crate::values::{at, items, members, same, text};
use consort_object::names;
use consort_object::quantity::Quantity;
use serde_json::Value;
use std::cmp::Ordering;

/// What containers may ask for without a domain.
const STANDARD: &[&str] = &["cpu", "ephemeral-storage", "memory"];

/// What a quota may bound besides the resources of containers.
const QUOTA: &[&str] = &[
    "cpu",
    "memory",
    "ephemeral-storage",
    "requests.cpu",
    "requests.memory",
    "requests.storage",
    "requests.ephemeral-storage",
    "limits.cpu",
    "limits.memory",
    "limits.ephemeral-storage",
    "pods",
    "resourcequotas",
    "services",
    "replicationcontrollers",
    "secrets",
    "persistentvolumeclaims",
    "configmaps",
    "services.nodeports",
    "services.loadbalancers",
];

const SCOPES: &[&str] = &[
    "BestEffort",
    "CrossNamespacePodAffinity",
    "NotBestEffort",
    "NotTerminating",
    "PriorityClass",
    "Terminating",
    "VolumeAttributesClass",
];

/// What a quota of these scopes may count.
const OF_PODS: &[&str] = &[
    "pods",
    "cpu",
    "memory",
    "ephemeral-storage",
    "requests.cpu",
    "requests.memory",
    "requests.ephemeral-storage",
    "limits.cpu",
    "limits.memory",
    "limits.ephemeral-storage",
];

/// An amount.
pub(super) fn amount(value: &Value) -> Option<Quantity> {
    value.as_str()?.parse().ok()
}

/// Is this one of the names that need no domain?
pub(super) fn standard(name: &str) -> bool {
    STANDARD.contains(&name) || name.starts_with("hugepages-")
}

/// Is this a resource that some device plug-in offers?
pub(super) fn extended(name: &str) -> bool {
    name.contains('/') && !native(name) && !name.starts_with("requests.")
}

/// Is this one of the system's own: without a domain or within `kubernetes.io`?
fn native(name: &str) -> bool {
    !name.contains('/') || name.contains("kubernetes.io/")
}

/// Resources that are whole or not at all.
pub(super) fn whole(name: &str) -> bool {
    extended(name)
        || matches!(
            name,
            "pods"
                | "services"
                | "replicationcontrollers"
                | "resourcequotas"
                | "secrets"
                | "configmaps"
                | "persistentvolumeclaims"
                | "services.nodeports"
                | "services.loadbalancers"
        )
        || name.starts_with("count/")
}

/// Check the amount of a resource.
pub(super) fn check_amount(name: &str, value: &Value, here: &Path<'_>, errors: &mut Errors) {
    let Some(amount) = amount(value) else { return };
    if amount.signum() < 0 {
        errors.invalid(here, value.clone(), "must be greater than or equal to 0");
    }
    if whole(name) && amount.milli_value() % 1000 != 0 {
        errors.invalid(here, value.clone(), "must be an integer");
    }
}

/// Check what a container may ask for under this name.
pub(super) fn container_name(name: &str, here: &Path<'_>, errors: &mut Errors) {
    errors.check(here, name, names::qualified_name(name));
    if !name.contains('/') {
        if !standard(name) {
            errors.invalid(here, name, "must be a standard resource for containers");
        }
    } else if !native(name) && name.starts_with("requests.") {
        errors.invalid(here, name, "doesn't follow extended resource name standard");
    }
}

/// Check amounts of what containers may ask for.
pub(crate) fn resource_list(list: &Value, here: &Path<'_>, errors: &mut Errors) {
    for (name, value) in members(list, &[]) {
        let place = here.key(name);
        container_name(name, &place, errors);
        check_amount(name, value, &place, errors);
    }
}

/// Check the names and amounts a node has or a quota bounds.
fn quota_list(list: &Value, here: &Path<'_>, errors: &mut Errors) {
    for (name, value) in members(list, &[]) {
        let place = here.key(name);
        errors.check(&place, name, names::qualified_name(name));
        let known = QUOTA.contains(&name)
            || name.contains('/')
            || name.contains("hugepages-")
            || name.starts_with("requests.hugepages-");
        if !known {
            errors.invalid(&place, name, "must be a standard resource for quota");
        }
        check_amount(name, value, &place, errors);
    }
}

/// Check a resource quota.
pub(crate) fn resource_quota(object: &Value, here: &Path<'_>, errors: &mut Errors) {
    let here = here.field("spec");
    let spec = &object["spec"];
    if let Some(hard) = at(spec, &["hard"]) {
        quota_list(hard, &here.field("hard"), errors);
    }
    let listed: Vec<&str> = items(spec, &["scopes"])
        .iter()
        .filter_map(Value::as_str)
        .collect();
    scopes(spec, &listed, &here.field("scopes"), errors);
    let place = here.field("scopeSelector");
    let place = place.field("matchExpressions");
    let mut selected = Vec::new();
    for (index, expression) in items(spec, &["scopeSelector", "matchExpressions"])
        .iter()
        .enumerate()
    {
        let place = place.index(index);
        scope_expression(expression, &place, errors);
        selected.push(text(expression, &["scopeName"]));
    }
    scopes(spec, &selected, &place, errors);
}

fn scopes(spec: &Value, scopes: &[&str], here: &Path<'_>, errors: &mut Errors) {
    for scope in scopes {
        // Each fault names all scopes.
        if errors.is_full() {
            return;
        }
        if !SCOPES.contains(scope) {
            errors.invalid(here, scopes.to_vec(), "unsupported scope");
        }
        let counts_pods = match *scope {
            "BestEffort" => &["pods"][..],
            "VolumeAttributesClass" => continue,
            _ => OF_PODS,
        };
        for (name, _) in members(spec, &["hard"]) {
            if !counts_pods.contains(&name) && QUOTA.contains(&name) {
                errors.invalid(
                    here,
                    scopes.to_vec(),
                    "unsupported scope applied to resource",
                );
            }
        }
    }
    for pair in [
        ["BestEffort", "NotBestEffort"],
        ["Terminating", "NotTerminating"],
    ] {
        if pair.iter().all(|scope| scopes.contains(scope)) {
            errors.invalid(here, scopes.to_vec(), "conflicting scopes");
        }
    }
}

fn scope_expression(expression: &Value, here: &Path<'_>, errors: &mut Errors) {
    let scope = text(expression, &["scopeName"]);
    if !SCOPES.contains(&scope) {
        errors.invalid(&here.field("scopeName"), scope, "unsupported scope");
    }
    let operator = text(expression, &["operator"]);
    let values = items(expression, &["values"]).len();
    if !["PriorityClass", "VolumeAttributesClass"].contains(&scope) && operator != "Exists" {
        errors.invalid(
            &here.field("operator"),
            operator,
            "must be 'Exist' when scope is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity",
        );
    }
    match operator {
        "In" | "NotIn" => {
            if values == 0 {
                errors.required(
                    &here.field("values"),
                    "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector",
                );
            }
        }
        "Exists" | "DoesNotExist" => {
            if values > 0 {
                errors.invalid(
                    &here.field("values"),
                    expression["values"].clone(),
                    "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector",
                );
            }
        }
        other => errors.invalid(
            &here.field("operator"),
            other,
            "not a valid selector operator",
        ),
    }
}

/// Check a change of a resource quota: its scopes stay.
pub(crate) fn resource_quota_update(
    new: &Value,
    old: &Value,
    here: &Path<'_>,
    errors: &mut Errors,
) {
    resource_quota(new, here, errors);
    let sorted = |object: &Value| {
        let mut scopes: Vec<String> = items(object, &["spec", "scopes"])
            .iter()
            .filter_map(|scope| scope.as_str().map(str::to_owned))
            .collect();
        scopes.sort();
        scopes
    };
    if sorted(new) != sorted(old) || !same(&new["spec"], &old["spec"], "scopeSelector") {
        errors.invalid(
            &here.field("spec").field("scopes"),
            new["spec"]["scopes"].clone(),
            "field is immutable",
        );
    }
}

/// Check the status of a resource quota.
pub(crate) fn resource_quota_status(object: &Value, here: &Path<'_>, errors: &mut Errors) {
    let here = here.field("status");
    for field in ["hard", "used"] {
        if let Some(list) = at(object, &["status", field]) {
            quota_list(list, &here.field(field), errors);
        }
    }
}

/// Check a limit range.
pub(crate) fn limit_range(object: &Value, here: &Path<'_>, errors: &mut Errors) {
    let list = here.field("spec");
    let list = list.field("limits");
    let mut kinds = std::collections::HashSet::new();
    for (index, limit) in items(object, &["spec", "limits"]).iter().enumerate() {
        let place = list.index(index);
        let kind = text(limit, &["type"]);
        errors.check(&place.field("type"), kind, names::qualified_name(kind));
        if !kind.contains('/') {
            errors.supported(
                &place.field("type"),
                kind,
                &["Container", "PersistentVolumeClaim", "Pod"],
            );
        }
        if !kinds.insert(kind) {
            errors.duplicate(&place.field("type"), kind);
        }
        one_limit(limit, &place, errors);
    }
}

fn one_limit(limit: &Value, here: &Path<'_>, errors: &mut Errors) {
    let kind = text(limit, &["type"]);
    let mut resources: Vec<&str> = Vec::new();
    for field in [
        "max",
        "min",
        "default",
        "defaultRequest",
        "maxLimitRequestRatio",
    ] {
        if kind == "Pod" && matches!(field, "default" | "defaultRequest") {
            if members(limit, &[field]).next().is_some() {
                errors.forbidden(
                    &here.field(field),
                    "may not be specified when `type` is 'Pod'",
                );
            }
            continue;
        }
        let place = here.field(field);
        for (name, _) in members(limit, &[field]) {
            let place = place.key(name);
            errors.check(&place, name, names::qualified_name(name));
            if !name.contains('/') && !standard(name) && name != "storage" {
                errors.invalid(
                    &place,
                    name,
                    "must be a standard limit type or fully qualified",
                );
            }
            if !resources.contains(&name) {
                resources.push(name);
            }
        }
    }
    if kind == "PersistentVolumeClaim" {
        let bounded = ["min", "max"]
            .iter()
            .any(|field| at(limit, &[field, "storage"]).is_some());
        if !bounded {
            errors.required(
                &here.field("limits"),
                "either minimum or maximum storage value is required, but neither was provided",
            );
        }
    }
    for name in resources {
        amounts(limit, name, here, errors);
    }
}

/// The least, the asked for, the granted and the most must come in this order.
fn amounts(limit: &Value, name: &str, here: &Path<'_>, errors: &mut Errors) {
    let value = |field: &str| -> Option<(&Value, Quantity)> {
        let value = at(limit, &[field, name])?;
        Some((value, amount(value)?))
    };
    let ordered = [
        ("min", "max", "min value {a} is greater than max value {b}"),
        (
            "min",
            "defaultRequest",
            "min value {a} is greater than default request value {b}",
        ),
        (
            "defaultRequest",
            "max",
            "default request value {a} is greater than max value {b}",
        ),
        (
            "defaultRequest",
            "default",
            "default request value {a} is greater than default limit value {b}",
        ),
        (
            "min",
            "default",
            "min value {a} is greater than default value {b}",
        ),
        (
            "default",
            "max",
            "default value {a} is greater than max value {b}",
        ),
    ];
    for (low, high, words) in ordered {
        let (Some((low_text, low_amount)), Some((high_text, high_amount))) =
            (value(low), value(high))
        else {
            continue;
        };
        if low_amount <= high_amount {
            continue;
        }
        let field = if low == "min" && high == "max" {
            "min"
        } else if low == "min" {
            high
        } else {
            low
        };
        let shown = if field == high { high_text } else { low_text };
        let words = words
            .replace("{a}", low_text.as_str().unwrap_or_default())
            .replace("{b}", high_text.as_str().unwrap_or_default());
        errors.invalid(&here.field(field).key(name), shown.clone(), words);
    }
    let Some((ratio_text, ratio)) = value("maxLimitRequestRatio") else {
        return;
    };
    let place = here.field("maxLimitRequestRatio");
    let place = place.key(name);
    if ratio.cmp(&Quantity::from_milli(
        1000,
        consort_object::quantity::Format::DecimalSi,
    )) == Ordering::Less
    {
        errors.invalid(
            &place,
            ratio_text.clone(),
            format!(
                "ratio {} is less than 1",
                ratio_text.as_str().unwrap_or_default()
            ),
        );
    }
}
