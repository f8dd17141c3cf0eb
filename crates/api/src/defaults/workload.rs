//! Defaults of what makes pods.

use super::{persistent_volume_claim, pod_template};
use crate::values::{at, ensure, field_mut, fill, fill_text, items_mut, members, set, text};
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

/// Fill in a replication controller: its template's labels are its selector and its own labels.
pub(crate) fn replication_controller(object: &mut Value) {
    let labels = at(object, &["spec", "template", "metadata", "labels"]).cloned();
    if let Some(labels) = labels {
        if members(object, &["spec", "selector"]).next().is_none() {
            set(ensure(object, "spec"), "selector", labels.clone());
        }
        if members(object, &["metadata", "labels"]).next().is_none() {
            set(ensure(object, "metadata"), "labels", labels);
        }
    }
    replica_set(object);
}

/// Fill in a daemon set.
pub(crate) fn daemon_set(object: &mut Value) {
    let spec = ensure(object, "spec");
    pod_template(ensure(spec, "template"));
    let strategy = ensure(spec, "updateStrategy");
    fill_text(strategy, "type", "RollingUpdate");
    if text(strategy, &["type"]) == "RollingUpdate" {
        let rolling = ensure(strategy, "rollingUpdate");
        fill(rolling, "maxUnavailable", 1);
        fill(rolling, "maxSurge", 0);
    }
    fill(spec, "revisionHistoryLimit", 10);
}

/// Fill in a stateful set.
pub(crate) fn stateful_set(object: &mut Value) {
    let spec = ensure(object, "spec");
    fill_text(spec, "podManagementPolicy", "OrderedReady");
    pod_template(ensure(spec, "template"));
    let strategy = ensure(spec, "updateStrategy");
    if text(strategy, &["type"]).is_empty() {
        set(strategy, "type", "RollingUpdate");
        ensure(strategy, "rollingUpdate");
    }
    if text(strategy, &["type"]) == "RollingUpdate"
        && let Some(rolling) = field_mut(strategy, "rollingUpdate")
    {
        fill(rolling, "partition", 0);
    }
    let retention = ensure(spec, "persistentVolumeClaimRetentionPolicy");
    fill_text(retention, "whenDeleted", "Retain");
    fill_text(retention, "whenScaled", "Retain");
    fill(spec, "replicas", 1);
    fill(spec, "revisionHistoryLimit", 10);
    for claim in items_mut(spec, "volumeClaimTemplates") {
        set(claim, "apiVersion", "v1");
        set(claim, "kind", "PersistentVolumeClaim");
        persistent_volume_claim(claim);
    }
}

/// Fill in a cron job. The jobs it makes get their defaults when they are made.
pub(crate) fn cron_job(object: &mut Value) {
    let spec = ensure(object, "spec");
    fill_text(spec, "concurrencyPolicy", "Allow");
    fill(spec, "suspend", false);
    fill(spec, "successfulJobsHistoryLimit", 3);
    fill(spec, "failedJobsHistoryLimit", 1);
    let job = ensure(ensure(spec, "jobTemplate"), "spec");
    pod_template(ensure(job, "template"));
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
