//! Checks of deployments and replica sets.

use super::{Errors, Path, label_selector, pod_template};
use crate::values::{at, int, members, text};
use consort_object::selector::LabelSelector;
use serde_json::Value;

/// Check a deployment.
pub(crate) fn deployment(object: &Value, here: &Path<'_>, errors: &mut Errors) {
    let here = here.field("spec");
    let spec = &object["spec"];
    errors.not_negative(&here.field("replicas"), spec.get("replicas"));
    selector_and_template(spec, &here, errors);
    strategy(&spec["strategy"], &here.field("strategy"), errors);
    errors.not_negative(&here.field("minReadySeconds"), spec.get("minReadySeconds"));
    errors.not_negative(
        &here.field("revisionHistoryLimit"),
        spec.get("revisionHistoryLimit"),
    );
    if let Some(deadline) = at(spec, &["progressDeadlineSeconds"]).and_then(Value::as_i64) {
        let place = here.field("progressDeadlineSeconds");
        errors.not_negative(&place, Some(&deadline.into()));
        if deadline <= int(spec, &["minReadySeconds"]) {
            errors.invalid(&place, deadline, "must be greater than minReadySeconds");
        }
    }
}

/// Check a change of a deployment.
pub(crate) fn deployment_update(new: &Value, old: &Value, here: &Path<'_>, errors: &mut Errors) {
    deployment(new, here, errors);
    selector_immutable(new, old, here, errors);
}

/// Check a replica set.
pub(crate) fn replica_set(object: &Value, here: &Path<'_>, errors: &mut Errors) {
    let here = here.field("spec");
    let spec = &object["spec"];
    errors.not_negative(&here.field("replicas"), spec.get("replicas"));
    errors.not_negative(&here.field("minReadySeconds"), spec.get("minReadySeconds"));
    selector_and_template(spec, &here, errors);
}

/// Check a change of a replica set.
pub(crate) fn replica_set_update(new: &Value, old: &Value, here: &Path<'_>, errors: &mut Errors) {
    replica_set(new, here, errors);
    selector_immutable(new, old, here, errors);
}

fn selector_immutable(new: &Value, old: &Value, here: &Path<'_>, errors: &mut Errors) {
    errors.immutable(
        &here.field("spec").field("selector"),
        at(new, &["spec", "selector"]),
        at(old, &["spec", "selector"]),
    );
}

/// The selector must be there, select something, and select what the template makes.
fn selector_and_template(spec: &Value, here: &Path<'_>, errors: &mut Errors) {
    let place = here.field("selector");
    let selector = at(spec, &["selector"]);
    match selector {
        None => errors.required(&place, ""),
        Some(selector) => {
            label_selector(selector, &place, errors);
            let empty = members(selector, &["matchLabels"]).next().is_none()
                && crate::values::items(selector, &["matchExpressions"]).is_empty();
            if empty {
                errors.invalid(
                    &place,
                    selector.clone(),
                    "empty selector is invalid for deployment",
                );
            }
        }
    }
    let place = here.field("template");
    let template = &spec["template"];
    if let Some(parsed) = selector.and_then(|selector| LabelSelector::from_json(selector).ok())
        && !parsed.is_empty()
    {
        let labels = at(template, &["metadata", "labels"]);
        let matches = parsed.matches_labels(|key| labels?.get(key)?.as_str());
        if !matches {
            errors.invalid(
                &place.field("metadata").field("labels"),
                labels.cloned().unwrap_or(Value::Null),
                "`selector` does not match template `labels`",
            );
        }
    }
    pod_template(template, &place, errors);
    let pod = place.field("spec");
    let policy = text(template, &["spec", "restartPolicy"]);
    if policy != "Always" {
        errors.not_supported(&pod.field("restartPolicy"), policy, &["Always"]);
    }
    if at(template, &["spec", "activeDeadlineSeconds"]).is_some() {
        errors.forbidden(
            &pod.field("activeDeadlineSeconds"),
            "activeDeadlineSeconds in ReplicaSet is not Supported",
        );
    }
}

fn strategy(strategy: &Value, here: &Path<'_>, errors: &mut Errors) {
    match text(strategy, &["type"]) {
        "Recreate" => {
            if at(strategy, &["rollingUpdate"]).is_some() {
                errors.forbidden(
                    &here.field("rollingUpdate"),
                    "may not be specified when strategy `type` is 'Recreate'",
                );
            }
        }
        "RollingUpdate" => {
            let place = here.field("rollingUpdate");
            let rolling = &strategy["rollingUpdate"];
            let unavailable = &rolling["maxUnavailable"];
            let surge = &rolling["maxSurge"];
            for (field, value) in [("maxUnavailable", unavailable), ("maxSurge", surge)] {
                int_or_percent(value, &place.field(field), errors);
            }
            if zero(unavailable) && zero(surge) {
                errors.invalid(
                    &place.field("maxUnavailable"),
                    unavailable.clone(),
                    "may not be 0 when `maxSurge` is 0",
                );
            }
            if let Some(percent) = percent(unavailable)
                && percent > 100
            {
                errors.invalid(
                    &place.field("maxUnavailable"),
                    unavailable.clone(),
                    "must not be greater than 100%",
                );
            }
        }
        "" => errors.required(&here.field("type"), ""),
        other => errors.not_supported(&here.field("type"), other, &["Recreate", "RollingUpdate"]),
    }
}

fn percent(value: &Value) -> Option<i64> {
    value.as_str()?.strip_suffix('%')?.parse().ok()
}

fn zero(value: &Value) -> bool {
    value.as_i64() == Some(0) || percent(value) == Some(0)
}

/// A number that is not negative, or a percentage.
pub(super) fn int_or_percent(value: &Value, here: &Path<'_>, errors: &mut Errors) {
    match value {
        Value::String(text) if percent(value).is_none_or(|percent| percent < 0) => errors.invalid(
            here,
            text.as_str(),
            "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')",
        ),
        Value::Number(_) => errors.not_negative(here, Some(value)),
        _ => {}
    }
}
