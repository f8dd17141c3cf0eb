//! Checks of jobs and cron jobs.

use super::workload::template_selected;
use super::{Errors, Path, label_selector, metadata, pod_template};
use crate::values::{at, flag, int, items, members, take, text};
use consort_object::cron::Schedule;
use consort_object::names;
use serde_json::Value;
use std::collections::HashSet;

/// How many indexes a job may have when each may fail on its own.
const MOST_INDEXES: i64 = 100_000;
const MOST_PARALLEL_OF_MANY: i64 = 10_000;
const MOST_RULES: usize = 20;
const MOST_EXIT_CODES: usize = 255;
const MOST_CONDITIONS: usize = 20;

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
fn job_spec(spec: &Value, here: &Path<'_>, errors: &mut Errors) {
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

fn failure_policy(spec: &Value, policy: &Value, here: &Path<'_>, errors: &mut Errors) {
    let list = here.field("rules");
    let rules = items(policy, &["rules"]);
    if rules.len() > MOST_RULES {
        errors.too_many(&list, rules.len(), MOST_RULES);
    }
    let containers: HashSet<&str> = ["containers", "initContainers"]
        .iter()
        .flat_map(|list| items(spec, &["template", "spec", list]))
        .map(|container| text(container, &["name"]))
        .collect();
    for (index, rule) in rules.iter().enumerate() {
        failure_rule(spec, rule, &containers, &list.index(index), errors);
    }
}

fn failure_rule(
    spec: &Value,
    rule: &Value,
    containers: &HashSet<&str>,
    here: &Path<'_>,
    errors: &mut Errors,
) {
    let action = text(rule, &["action"]);
    let place = here.field("action");
    if action.is_empty() {
        errors.required(
            &place,
            "valid values: \"Count\", \"FailIndex\", \"FailJob\", \"Ignore\"",
        );
    } else if action == "FailIndex" && at(spec, &["backoffLimitPerIndex"]).is_none() {
        errors.invalid(
            &place,
            action,
            "requires the backoffLimitPerIndex to be set",
        );
    } else {
        errors.supported(&place, action, &["Count", "FailIndex", "FailJob", "Ignore"]);
    }
    let codes = at(rule, &["onExitCodes"]);
    let conditions = items(rule, &["onPodConditions"]);
    if let Some(codes) = codes {
        exit_codes(codes, containers, &here.field("onExitCodes"), errors);
    }
    let list = here.field("onPodConditions");
    if conditions.len() > MOST_CONDITIONS {
        errors.too_many(&list, conditions.len(), MOST_CONDITIONS);
    }
    for (index, condition) in conditions.iter().enumerate() {
        let place = list.index(index);
        let kind = text(condition, &["type"]);
        errors.named(&place.field("type"), kind, names::qualified_name);
        let status = text(condition, &["status"]);
        if status.is_empty() {
            errors.required(
                &place.field("status"),
                "valid values: \"False\", \"True\", \"Unknown\"",
            );
        } else {
            errors.supported(
                &place.field("status"),
                status,
                &["False", "True", "Unknown"],
            );
        }
    }
    if codes.is_some() && !conditions.is_empty() {
        errors.invalid(
            here,
            rule.clone(),
            "specifying both OnExitCodes and OnPodConditions is not supported",
        );
    } else if codes.is_none() && conditions.is_empty() {
        errors.invalid(
            here,
            rule.clone(),
            "specifying one of OnExitCodes and OnPodConditions is required",
        );
    }
}

fn exit_codes(codes: &Value, containers: &HashSet<&str>, here: &Path<'_>, errors: &mut Errors) {
    let operator = text(codes, &["operator"]);
    if operator.is_empty() {
        errors.required(&here.field("operator"), "valid values: \"In\", \"NotIn\"");
    } else {
        errors.supported(&here.field("operator"), operator, &["In", "NotIn"]);
    }
    let container = text(codes, &["containerName"]);
    if at(codes, &["containerName"]).is_some() && !containers.contains(container) {
        errors.invalid(
            &here.field("containerName"),
            container,
            "must be one of the container or initContainer names in the pod template",
        );
    }
    let list = here.field("values");
    let values = items(codes, &["values"]);
    if values.is_empty() {
        errors.invalid(
            &list,
            Value::Array(Vec::new()),
            "at least one value is required",
        );
    } else if values.len() > MOST_EXIT_CODES {
        errors.too_many(&list, values.len(), MOST_EXIT_CODES);
    }
    let mut seen = HashSet::new();
    for (index, value) in values.iter().enumerate() {
        let number = value.as_i64().unwrap_or_default();
        if operator == "In" && number == 0 {
            errors.invalid(
                &list.index(index),
                number,
                "must not be 0 for the In operator",
            );
        }
        if !seen.insert(number) {
            errors.duplicate(&list.index(index), number);
        }
    }
    let numbers = || values.iter().filter_map(Value::as_i64);
    if !numbers().is_sorted() {
        errors.invalid(&list, Value::Array(values.to_vec()), "must be ordered");
    }
}

fn success_policy(spec: &Value, policy: &Value, here: &Path<'_>, errors: &mut Errors) {
    let list = here.field("rules");
    let rules = items(policy, &["rules"]);
    if rules.is_empty() {
        errors.required(
            &list,
            "at least one rules must be specified when the successPolicy is specified",
        );
    }
    if rules.len() > MOST_RULES {
        errors.too_many(&list, rules.len(), MOST_RULES);
    }
    let completions = int(spec, &["completions"]);
    for (index, rule) in rules.iter().enumerate() {
        let place = list.index(index);
        let count = at(rule, &["succeededCount"]).and_then(Value::as_i64);
        let indexes = at(rule, &["succeededIndexes"]).and_then(Value::as_str);
        if count.is_none() && indexes.is_none() {
            errors.required(
                &place,
                "at least one of succeededCount or succeededIndexes must be specified",
            );
        }
        let mut total = completions;
        if let Some(indexes) = indexes {
            match index_count(indexes, completions) {
                Ok(number) => total = number,
                Err(why) => errors.invalid(
                    &place.field("succeededIndexes"),
                    indexes,
                    format!("error parsing succeededIndexes: {why}"),
                ),
            }
        }
        let Some(count) = count else { continue };
        let place = place.field("succeededCount");
        if count <= 0 {
            errors.invalid(&place, count, "must be greater than 0");
        } else if count > completions {
            errors.invalid(
                &place,
                count,
                format!("must be less than or equal to {completions} (the number of specified completions)"),
            );
        } else if count > total {
            errors.invalid(
                &place,
                count,
                format!("must be less than or equal to {total} (the number of indexes in the specified succeededIndexes field)"),
            );
        }
    }
}

/// How many indexes `1,3-5` names; each must be below `completions`, in order.
fn index_count(text: &str, completions: i64) -> Result<i64, String> {
    let mut total = 0;
    let mut last: Option<i64> = None;
    if text.is_empty() {
        return Ok(0);
    }
    for interval in text.split(',') {
        let number = |text: &str| -> Result<i64, String> {
            let number: i64 = text
                .parse()
                .map_err(|_| format!("cannot convert string to integer for index: {text:?}"))?;
            if number >= completions {
                return Err(format!("too large index: {text:?}"));
            }
            Ok(number)
        };
        let mut ends = interval.split('-');
        let first = number(ends.next().unwrap_or_default())?;
        let end = ends.next().map(number).transpose()?;
        if ends.next().is_some() {
            return Err(format!(
                "the fragment {interval:?} violates the requirement that an index interval can have at most two parts separated by '-'"
            ));
        }
        if let Some(last) = last
            && last >= first
        {
            return Err(format!(
                "non-increasing order, previous: {last}, current: {first}"
            ));
        }
        if let Some(end) = end
            && first >= end
        {
            return Err(format!(
                "non-increasing order, previous: {first}, current: {end}"
            ));
        }
        let end = end.unwrap_or(first);
        total += end - first + 1;
        last = Some(end);
    }
    Ok(total)
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

/// Check a cron job.
pub(crate) fn cron_job(object: &Value, here: &Path<'_>, errors: &mut Errors) {
    let name = text(object, &["metadata", "name"]);
    if name.len() > 52 {
        // The names of its jobs append eleven characters.
        let at = here.field("metadata");
        errors.invalid(
            &at.field("name"),
            name,
            "must be no more than 52 characters",
        );
    }
    let here = here.field("spec");
    let spec = &object["spec"];
    schedule(spec, &here, errors);
    errors.not_negative(
        &here.field("startingDeadlineSeconds"),
        spec.get("startingDeadlineSeconds"),
    );
    let policy = text(spec, &["concurrencyPolicy"]);
    if policy.is_empty() {
        errors.required(&here.field("concurrencyPolicy"), "");
    } else {
        errors.supported(
            &here.field("concurrencyPolicy"),
            policy,
            &["Allow", "Forbid", "Replace"],
        );
    }
    for field in ["successfulJobsHistoryLimit", "failedJobsHistoryLimit"] {
        errors.not_negative(&here.field(field), spec.get(field));
    }
    let place = here.field("jobTemplate");
    let template = &spec["jobTemplate"];
    metadata::template(template, &place, errors);
    let place = place.field("spec");
    let job = &template["spec"];
    // The selectors of the jobs are made with them.
    if members(job, &["selector"]).next().is_some() {
        errors.invalid(
            &place.field("selector"),
            job["selector"].clone(),
            "`selector` will be auto-generated",
        );
    }
    if flag(job, &["manualSelector"]) {
        errors.not_supported(&place.field("manualSelector"), true, &["nil", "false"]);
    }
    job_spec(job, &place, errors);
}

fn schedule(spec: &Value, here: &Path<'_>, errors: &mut Errors) {
    let place = here.field("schedule");
    let schedule = text(spec, &["schedule"]);
    let zone = at(spec, &["timeZone"]).and_then(Value::as_str);
    if schedule.is_empty() {
        errors.required(&place, "");
    } else if schedule.contains("TZ") {
        let why = if zone.is_some() {
            "cannot use both timeZone field and TZ or CRON_TZ in schedule"
        } else {
            "cannot use TZ or CRON_TZ in schedule, use timeZone field instead"
        };
        errors.invalid(&place, schedule, why);
    } else if let Err(why) = schedule.parse::<Schedule>() {
        errors.invalid(&place, schedule, why.to_string());
    }
    let Some(zone) = zone else { return };
    let place = here.field("timeZone");
    if zone.is_empty() {
        errors.invalid(&place, zone, "timeZone must be nil or non-empty string");
    } else if zone.eq_ignore_ascii_case("local") {
        errors.invalid(
            &place,
            zone,
            "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones",
        );
    } else if jiff::tz::TimeZone::get(zone).is_err() {
        errors.invalid(&place, zone, format!("unknown time zone {zone}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_of_indexes_are_counted_and_ordered() {
        assert_eq!(index_count("0,2-4", 5), Ok(4));
        assert!(
            index_count("2,1", 5)
                .unwrap_err()
                .contains("non-increasing")
        );
        assert!(index_count("5", 5).unwrap_err().contains("too large"));
        assert!(index_count("1-2-3", 5).unwrap_err().contains("two parts"));
        assert!(index_count("x", 5).is_err());
    }
}
