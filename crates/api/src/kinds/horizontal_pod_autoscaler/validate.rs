//! Checks of autoscalers.

use crate::validation::{Errors, Path, label_selector};
use crate::values::{at, int, items, text};
use consort_object::names;
use consort_object::quantity::Quantity;
use serde_json::Value;

const LONGEST_WINDOW: i64 = 3600;
const LONGEST_PERIOD: i64 = 1800;
const TYPES: &[&str] = &[
    "ContainerResource",
    "External",
    "Object",
    "Pods",
    "Resource",
];

/// Check the spec.
pub(super) fn spec(spec: &Value, here: &Path<'_>, errors: &mut Errors) {
    let least = at(spec, &["minReplicas"]).and_then(Value::as_i64);
    let most = int(spec, &["maxReplicas"]);
    if let Some(least) = least
        && least < 1
    {
        errors.invalid(
            &here.field("minReplicas"),
            least,
            "must be greater than or equal to 1",
        );
    }
    if most < 1 {
        errors.invalid(&here.field("maxReplicas"), most, "must be greater than 0");
    }
    if least.is_some_and(|least| most < least) {
        errors.invalid(
            &here.field("maxReplicas"),
            most,
            "must be greater than or equal to `minReplicas`",
        );
    }
    reference(
        &spec["scaleTargetRef"],
        &here.field("scaleTargetRef"),
        errors,
    );
    let list = here.field("metrics");
    for (index, metric) in items(spec, &["metrics"]).iter().enumerate() {
        self::metric(metric, &list.index(index), errors);
    }
    let place = here.field("behavior");
    for field in ["scaleUp", "scaleDown"] {
        if let Some(rules) = at(spec, &["behavior", field]) {
            behavior(rules, &place.field(field), errors);
        }
    }
}

fn reference(target: &Value, here: &Path<'_>, errors: &mut Errors) {
    for field in ["kind", "name"] {
        errors.named(
            &here.field(field),
            text(target, &[field]),
            names::path_segment,
        );
    }
    let version = text(target, &["apiVersion"]);
    if version.matches('/').count() > 1 {
        errors.invalid(
            &here.field("apiVersion"),
            version,
            format!("unexpected GroupVersion string: {version}"),
        );
    }
}

fn metric(metric: &Value, here: &Path<'_>, errors: &mut Errors) {
    let kind = text(metric, &["type"]);
    if kind.is_empty() {
        errors.required(&here.field("type"), "must specify a metric source type");
        return;
    }
    if !TYPES.contains(&kind) {
        errors.not_supported(&here.field("type"), kind, TYPES);
        return;
    }
    let sources = [
        ("Object", "object"),
        ("Pods", "pods"),
        ("Resource", "resource"),
        ("ContainerResource", "containerResource"),
        ("External", "external"),
    ];
    let mut found = false;
    for (wanted, field) in sources {
        let Some(source) = at(metric, &[field]) else {
            continue;
        };
        let place = here.field(field);
        if found {
            errors.forbidden(&place, "must populate the given metric source only");
            continue;
        }
        found = true;
        if wanted != kind {
            errors.invalid(
                &here.field("type"),
                kind,
                "must populate the metric source of the given type",
            );
            continue;
        }
        self::source(source, field, &place, errors);
    }
    if !found {
        let field = sources
            .iter()
            .find(|(wanted, _)| *wanted == kind)
            .map_or("", |pair| pair.1);
        errors.required(
            &here.field(field),
            "must populate information for the given metric source",
        );
    }
}

fn source(source: &Value, field: &str, here: &Path<'_>, errors: &mut Errors) {
    let target = &source["target"];
    let goal = here.field("target");
    match field {
        "resource" | "containerResource" => {
            if text(source, &["name"]).is_empty() {
                errors.required(&here.field("name"), "must specify a resource name");
            }
            if field == "containerResource" && text(source, &["container"]).is_empty() {
                errors.required(&here.field("container"), "must specify a container name");
            }
        }
        _ => {
            let place = here.field("metric");
            errors.named(
                &place.field("name"),
                text(source, &["metric", "name"]),
                names::path_segment,
            );
            if let Some(selector) = at(source, &["metric", "selector"]) {
                label_selector(selector, &place.field("selector"), errors);
            }
        }
    }
    if field == "object" {
        reference(
            &source["describedObject"],
            &here.field("describedObject"),
            errors,
        );
    }
    self::target(target, &goal, errors);
    let has = |which: &str| at(target, &[which]).is_some();
    match field {
        "resource" | "containerResource" => {
            if has("averageUtilization") && has("averageValue") {
                errors.forbidden(
                    &goal.field("averageValue"),
                    "may not set both a target raw value and a target utilization",
                );
            } else if !has("averageUtilization") && !has("averageValue") {
                errors.required(
                    &goal.field("averageUtilization"),
                    "must set either a target raw value or a target utilization",
                );
            }
        }
        "pods" => {
            if !has("averageValue") {
                errors.required(
                    &goal.field("averageValue"),
                    "must specify a positive target averageValue",
                );
            }
        }
        _ => {
            if has("value") && has("averageValue") {
                errors.forbidden(
                    &goal.field("value"),
                    "may not set both a target value for metric and a per-pod target",
                );
            } else if !has("value") && !has("averageValue") {
                errors.required(
                    &goal.field("averageValue"),
                    "must set either a target value for metric or a per-pod target",
                );
            }
        }
    }
}

fn target(target: &Value, here: &Path<'_>, errors: &mut Errors) {
    let kind = text(target, &["type"]);
    if kind.is_empty() {
        errors.required(&here.field("type"), "must specify a metric target type");
    } else if !["Utilization", "Value", "AverageValue"].contains(&kind) {
        errors.invalid(
            &here.field("type"),
            kind,
            "must be either Utilization, Value, or AverageValue",
        );
    }
    for field in ["value", "averageValue"] {
        let Some(amount) = at(target, &[field]) else {
            continue;
        };
        let positive = amount
            .as_str()
            .and_then(|text| text.parse::<Quantity>().ok())
            .is_some_and(|amount| amount.signum() > 0);
        if !positive {
            errors.invalid(&here.field(field), amount.clone(), "must be positive");
        }
    }
    if let Some(percent) = at(target, &["averageUtilization"]).and_then(Value::as_i64)
        && percent < 1
    {
        errors.invalid(
            &here.field("averageUtilization"),
            percent,
            "must be greater than 0",
        );
    }
}

fn behavior(rules: &Value, here: &Path<'_>, errors: &mut Errors) {
    if let Some(window) = at(rules, &["stabilizationWindowSeconds"]).and_then(Value::as_i64) {
        let place = here.field("stabilizationWindowSeconds");
        if window < 0 {
            errors.invalid(&place, window, "must be greater than or equal to zero");
        }
        if window > LONGEST_WINDOW {
            errors.invalid(
                &place,
                window,
                format!("must be less than or equal to {LONGEST_WINDOW}"),
            );
        }
    }
    if let Some(policy) = at(rules, &["selectPolicy"]).and_then(Value::as_str) {
        errors.supported(
            &here.field("selectPolicy"),
            policy,
            &["Disabled", "Max", "Min"],
        );
    }
    let list = here.field("policies");
    let policies = items(rules, &["policies"]);
    if policies.is_empty() {
        errors.required(&list, "must specify at least one Policy");
    }
    for (index, policy) in policies.iter().enumerate() {
        let place = list.index(index);
        errors.supported(
            &place.field("type"),
            text(policy, &["type"]),
            &["Percent", "Pods"],
        );
        for field in ["value", "periodSeconds"] {
            let number = int(policy, &[field]);
            if number <= 0 {
                errors.invalid(&place.field(field), number, "must be greater than zero");
            }
        }
        let period = int(policy, &["periodSeconds"]);
        if period > LONGEST_PERIOD {
            errors.invalid(
                &place.field("periodSeconds"),
                period,
                format!("must be less than or equal to {LONGEST_PERIOD}"),
            );
        }
    }
    if let Some(tolerance) = at(rules, &["tolerance"])
        && tolerance.as_str().is_some_and(|text| text.starts_with('-'))
    {
        errors.invalid(
            &here.field("tolerance"),
            tolerance.clone(),
            "must be greater than or equal to 0",
        );
    }
}
