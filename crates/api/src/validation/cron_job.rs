//! Checks of cron jobs.

use super::job::job_spec;
use super::{Errors, Path, metadata};
use crate::values::{at, flag, members, text};
use consort_object::cron::Schedule;
use serde_json::Value;

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
    metadata::template(template, &place.field("metadata"), errors);
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
