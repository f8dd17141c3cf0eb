//! Checks of jobs.

use super::{Errors, Path, label_selector, pod_template};
use crate::values::{at, flag, int, text};
use consort_object::selector::LabelSelector;
use serde_json::Value;

/// Check a job.
pub(crate) fn job(object: &Value, here: &Path<'_>, errors: &mut Errors) {
    let here = here.field("spec");
    let spec = &object["spec"];
    for field in [
        "parallelism",
        "completions",
        "activeDeadlineSeconds",
        "backoffLimit",
        "ttlSecondsAfterFinished",
        "backoffLimitPerIndex",
        "maxFailedIndexes",
    ] {
        errors.not_negative(&here.field(field), spec.get(field));
    }
    let mode = text(spec, &["completionMode"]);
    if !["NonIndexed", "Indexed"].contains(&mode) {
        errors.not_supported(
            &here.field("completionMode"),
            mode,
            &["Indexed", "NonIndexed"],
        );
    }
    if mode == "Indexed" && at(spec, &["completions"]).is_none() {
        errors.required(
            &here.field("completions"),
            "when completion mode is Indexed",
        );
    }
    let selector = at(spec, &["selector"]);
    match selector {
        None => errors.required(&here.field("selector"), ""),
        Some(selector) => label_selector(selector, &here.field("selector"), errors),
    }
    let place = here.field("template");
    let template = &spec["template"];
    if let Some(parsed) = selector.and_then(|selector| LabelSelector::from_json(selector).ok()) {
        let labels = at(template, &["metadata", "labels"]);
        if !parsed.matches_labels(|key| labels?.get(key)?.as_str()) {
            errors.invalid(
                &place.field("metadata").field("labels"),
                labels.cloned().unwrap_or(Value::Null),
                "`selector` does not match template `labels`",
            );
        }
    }
    pod_template(template, &place, errors);
    let policy = text(template, &["spec", "restartPolicy"]);
    let field = place.field("spec");
    if policy == "Always" {
        errors.required(
            &field.field("restartPolicy"),
            "valid values: \"OnFailure\", \"Never\"",
        );
    } else if !["OnFailure", "Never"].contains(&policy) {
        errors.not_supported(
            &field.field("restartPolicy"),
            policy,
            &["OnFailure", "Never"],
        );
    }
}

/// Check a change of a job.
pub(crate) fn job_update(new: &Value, old: &Value, here: &Path<'_>, errors: &mut Errors) {
    job(new, here, errors);
    let here = here.field("spec");
    let (new, old) = (&new["spec"], &old["spec"]);
    let indexed = text(new, &["completionMode"]) == "Indexed";
    if indexed {
        // An indexed job may grow or shrink, if both numbers stay equal.
        let moved = at(new, &["completions"]) != at(old, &["completions"]);
        if moved && int(new, &["completions"]) != int(new, &["parallelism"]) {
            errors.invalid(
                &here.field("completions"),
                at(new, &["completions"]).cloned().unwrap_or(Value::Null),
                format!(
                    "can only be modified in tandem with {}",
                    here.field("parallelism")
                ),
            );
        }
    } else {
        errors.immutable(
            &here.field("completions"),
            at(new, &["completions"]),
            at(old, &["completions"]),
        );
    }
    for field in [
        "selector",
        "completionMode",
        "podFailurePolicy",
        "backoffLimitPerIndex",
    ] {
        errors.immutable(&here.field(field), at(new, &[field]), at(old, &[field]));
    }
    // What has not started may still be told where to run.
    if !flag(old, &["suspend"]) {
        errors.immutable(
            &here.field("template"),
            at(new, &["template"]),
            at(old, &["template"]),
        );
    }
}
