//! Checks of jobs.

use super::job_policy::{failure_policy, success_policy};
use super::workload::template_selected;
use super::{Errors, Path, label_selector, pod_template};
use crate::values::{at, flag, int, take, text};
use consort_object::names;
use serde_json::Value;

/// How many indexes a job may have when each may fail on its own.
const MOST_INDEXES: i64 = 100_000;
const MOST_PARALLEL_OF_MANY: i64 = 10_000;

/// Check a job.
pub(crate) fn job(object: &Value, here: &Path<'_>, errors: &mut Errors) {
    let name = text(object, &["metadata", "name"]);
    let here = here.field("spec");
    let spec = &object["spec"];
    if text(spec, &["completionMode"]) == "Indexed"
        && let Some(last) = at(spec, &["completions"]).and_then(Value::as_i64)
        && last > 0
    {
        // The pods' host names end in the index.
        let host = format!("{name}-{}", last - 1);
        if let Err(detail) = names::dns1123_label(&host) {
            let root = Path::Root;
            errors.invalid(
                &root.field("metadata").field("name"),
                name,
                format!("will not able to create pod with invalid DNS label: {host}: {detail}"),
            );
        }
    }
    match at(spec, &["selector"]) {
        None => errors.required(&here.field("selector"), ""),
        Some(selector) => label_selector(selector, &here.field("selector"), errors),
    }
    own_labels(object, &here, errors);
    let place = here.field("template");
    template_selected(spec, &place, errors);
    job_spec(spec, &here, errors);
}

/// The labels the server gives a job's pods must be its own.
fn own_labels(job: &Value, here: &Path<'_>, errors: &mut Errors) {
    let spec = &job["spec"];
    if flag(spec, &["manualSelector"]) {
        return;
    }
    let (uid, name) = (
        text(job, &["metadata", "uid"]),
        text(job, &["metadata", "name"]),
    );
    let labels = here.field("template");
    let labels = labels.field("metadata");
    let labels = labels.field("labels");
    for (label, wanted) in [
        ("batch.kubernetes.io/controller-uid", uid),
        ("controller-uid", uid),
        ("batch.kubernetes.io/job-name", name),
        ("job-name", name),
    ] {
        let own = text(spec, &["template", "metadata", "labels", label]);
        if own != wanted {
            errors.invalid(
                &labels,
                spec["template"]["metadata"]["labels"].clone(),
                format!("must be '{wanted}'"),
            );
        }
    }
}

/// What jobs and the templates of cron jobs have in common.
pub(super) fn job_spec(spec: &Value, here: &Path<'_>, errors: &mut Errors) {
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
    per_index(spec, here, errors);
    let manager = text(spec, &["managedBy"]);
    if !manager.is_empty() {
        let place = here.field("managedBy");
        errors.check(&place, manager, super::domain_path(manager));
        if manager.len() > 63 {
            errors.too_long(&place, 63);
        }
    }
    let mode = text(spec, &["completionMode"]);
    if !mode.is_empty() {
        errors.supported(
            &here.field("completionMode"),
            mode,
            &["Indexed", "NonIndexed"],
        );
    }
    let indexed = mode == "Indexed";
    if indexed {
        indexes(spec, here, errors);
    }
    let place = here.field("template");
    let template = &spec["template"];
    pod_template(template, &place, errors);
    let policy = text(template, &["spec", "restartPolicy"]);
    let field = place.field("spec");
    let field = field.field("restartPolicy");
    if matches!(policy, "" | "Always") {
        errors.required(&field, "valid values: \"OnFailure\", \"Never\"");
    } else {
        errors.supported(&field, policy, &["OnFailure", "Never"]);
    }
    let failure = at(spec, &["podFailurePolicy"]);
    if failure.is_some() && policy != "Never" {
        errors.invalid(
            &field,
            policy,
            "only \"Never\" is supported when podFailurePolicy is specified",
        );
    }
    if let Some(policy) = failure {
        failure_policy(spec, policy, &here.field("podFailurePolicy"), errors);
    }
    if let Some(policy) = at(spec, &["successPolicy"]) {
        let place = here.field("successPolicy");
        if indexed {
            success_policy(spec, policy, &place, errors);
        } else {
            errors.invalid(&place, policy.clone(), "requires indexed completion mode");
        }
    }
    replacement(
        spec,
        failure.is_some(),
        &here.field("podReplacementPolicy"),
        errors,
    );
}

fn per_index(spec: &Value, here: &Path<'_>, errors: &mut Errors) {
    let limited = at(spec, &["backoffLimitPerIndex"]).is_some();
    if limited && text(spec, &["completionMode"]) != "Indexed" {
        errors.invalid(
            &here.field("backoffLimitPerIndex"),
            spec["backoffLimitPerIndex"].clone(),
            "requires indexed completion mode",
        );
    }
    if at(spec, &["maxFailedIndexes"]).is_some() && !limited {
        errors.required(
            &here.field("backoffLimitPerIndex"),
            "when maxFailedIndexes is specified",
        );
    }
}

fn indexes(spec: &Value, here: &Path<'_>, errors: &mut Errors) {
    let Some(completions) = at(spec, &["completions"]).and_then(Value::as_i64) else {
        errors.required(
            &here.field("completions"),
            "when completion mode is Indexed",
        );
        return;
    };
    let parallelism = int(spec, &["parallelism"]);
    if parallelism > MOST_INDEXES {
        errors.invalid(
            &here.field("parallelism"),
            parallelism,
            format!("must be less than or equal to {MOST_INDEXES} when completion mode is Indexed"),
        );
    }
    let Some(failed) = at(spec, &["maxFailedIndexes"]).and_then(Value::as_i64) else {
        if at(spec, &["backoffLimitPerIndex"]).is_some() && completions > MOST_INDEXES {
            errors.required(
                &here.field("maxFailedIndexes"),
                "must be specified when completions is above 100000",
            );
        }
        return;
    };
    if failed > completions {
        errors.invalid(
            &here.field("maxFailedIndexes"),
            failed,
            "must be less than or equal to completions",
        );
    }
    if failed > MOST_INDEXES {
        errors.invalid(
            &here.field("maxFailedIndexes"),
            failed,
            format!("must be less than or equal to {MOST_INDEXES}"),
        );
    }
    if completions > MOST_INDEXES {
        if parallelism > MOST_PARALLEL_OF_MANY {
            errors.invalid(
                &here.field("parallelism"),
                parallelism,
                format!("must be less than or equal to {MOST_PARALLEL_OF_MANY} when completions are above {MOST_INDEXES} and used with backoff limit per index"),
            );
        }
        if failed > MOST_PARALLEL_OF_MANY {
            errors.invalid(
                &here.field("maxFailedIndexes"),
                failed,
                format!("must be less than or equal to {MOST_PARALLEL_OF_MANY} when completions are above {MOST_INDEXES} and used with backoff limit per index"),
            );
        }
    }
}

fn replacement(spec: &Value, with_policy: bool, here: &Path<'_>, errors: &mut Errors) {
    let policy = text(spec, &["podReplacementPolicy"]);
    if policy.is_empty() {
        return;
    }
    if with_policy {
        errors.supported(here, policy, &["Failed"]);
    } else {
        errors.supported(here, policy, &["Failed", "TerminatingOrFailed"]);
    }
}

/// Check a change of a job.
pub(crate) fn job_update(new: &Value, old: &Value, here: &Path<'_>, errors: &mut Errors) {
    let object = new;
    job(new, here, errors);
    let here = here.field("spec");
    let (new, old) = (&new["spec"], &old["spec"]);
    let indexed = text(new, &["completionMode"]) == "Indexed";
    let together = int(new, &["completions"]) == int(new, &["parallelism"])
        && at(new, &["completions"]).is_some();
    let moved = at(new, &["completions"]) != at(old, &["completions"]);
    if indexed && moved && at(old, &["completions"]).is_some() {
        // An indexed job may grow or shrink, if both numbers stay equal.
        if !together {
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
        "managedBy",
        "successPolicy",
    ] {
        errors.immutable(&here.field(field), at(new, &[field]), at(old, &[field]));
    }
    template_update(object, new, old, &here.field("template"), errors);
}

/// A job's template stays, but for what says where pods run while the job is suspended.
fn template_update(object: &Value, new: &Value, old: &Value, here: &Path<'_>, errors: &mut Errors) {
    let idle = flag(old, &["suspend"]) && int(object, &["status", "active"]) == 0;
    let fixed = |spec: &Value| {
        let mut template = spec["template"].clone();
        if idle {
            if let Some(meta) = template.get_mut("metadata") {
                take(meta, "annotations");
                take(meta, "labels");
            }
            if let Some(pod) = template.get_mut("spec") {
                for field in ["nodeSelector", "tolerations", "schedulingGates"] {
                    take(pod, field);
                }
                if let Some(affinity) = pod.get_mut("affinity") {
                    take(affinity, "nodeAffinity");
                    if affinity.as_object().is_some_and(serde_json::Map::is_empty) {
                        take(pod, "affinity");
                    }
                }
                for list in ["containers", "initContainers"] {
                    for container in crate::values::items_mut(pod, list) {
                        take(container, "resources");
                    }
                }
            }
        }
        template
    };
    if fixed(new) != fixed(old) {
        errors.invalid(here, new["template"].clone(), "field is immutable");
    }
}
