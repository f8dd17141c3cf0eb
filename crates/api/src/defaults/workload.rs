//! Defaults of what makes pods: deployments, replica sets, jobs.

use super::pod_template;
use crate::values::{at, ensure, field_mut, fill, fill_text, members, set, text};
use serde_json::{Value, json};

/// Fill in a deployment.
pub(crate) fn deployment(object: &mut Value) {
    let spec = ensure(object, "spec");
    fill(spec, "replicas", 1);
    pod_template(ensure(spec, "template"));
    let strategy = ensure(spec, "strategy");
    fill_text(strategy, "type", "RollingUpdate");
    if text(strategy, &["type"]) == "RollingUpdate" {
        let rolling = ensure(strategy, "rollingUpdate");
        fill(rolling, "maxUnavailable", "25%");
        fill(rolling, "maxSurge", "25%");
    }
    fill(spec, "revisionHistoryLimit", 10);
    fill(spec, "progressDeadlineSeconds", 600);
}

/// Fill in a replica set.
pub(crate) fn replica_set(object: &mut Value) {
    let spec = ensure(object, "spec");
    fill(spec, "replicas", 1);
    if let Some(template) = field_mut(spec, "template") {
        pod_template(template);
    }
}

/// Fill in a job.
pub(crate) fn job(object: &mut Value) {
    let labels = at(object, &["spec", "template", "metadata", "labels"]).cloned();
    if let Some(labels) = labels
        && members(object, &["metadata", "labels"]).next().is_none()
    {
        set(ensure(object, "metadata"), "labels", labels);
    }
    let spec = ensure(object, "spec");
    let missing = |spec: &Value, field: &str| at(spec, &[field]).is_none();
    if missing(spec, "completions") && missing(spec, "parallelism") {
        set(spec, "completions", 1);
    }
    fill(spec, "parallelism", 1);
    let limit = if missing(spec, "backoffLimitPerIndex") {
        6
    } else {
        i64::from(i32::MAX)
    };
    fill(spec, "backoffLimit", limit);
    fill(spec, "completionMode", "NonIndexed");
    fill(spec, "suspend", false);
    fill(spec, "manualSelector", json!(false));
    let replace = if missing(spec, "podFailurePolicy") {
        "TerminatingOrFailed"
    } else {
        "Failed"
    };
    fill(spec, "podReplacementPolicy", replace);
    pod_template(ensure(spec, "template"));
}
