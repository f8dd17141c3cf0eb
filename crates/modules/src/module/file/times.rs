//! The times a file is to have.

use serde_json::{Map, Value};

use crate::arguments::Arguments;
use crate::attributes::note;
use crate::context::Context;
use crate::invocation::Failure;
use crate::python;
use crate::times;

/// What a time is to be.
#[derive(Clone, Copy)]
pub(super) enum Time {
    Preserved,
    Now,
    At(f64),
}

pub(super) fn wanted_times(
    context: &Context<'_>,
    arguments: &Arguments,
) -> Result<(Time, Time), Failure> {
    let usual = if arguments.text("state") == Some("touch") {
        "now"
    } else {
        "preserve"
    };
    let of = |name: &str, format: &str| -> Result<Time, Failure> {
        let wanted = arguments.text(name).unwrap_or(usual);
        match wanted {
            "preserve" => Ok(Time::Preserved),
            "now" => Ok(Time::Now),
            _ => seconds_of(wanted, arguments.required(format), times::zone(context))
                .map(Time::At)
                .ok_or_else(|| {
                    let format = arguments.required(format);
                    Failure::new(format!(
                        "Error while obtaining timestamp for time {wanted} using format {format}: time data {} does not match format {}",
                        python::repr(wanted),
                        python::repr(format)
                    ))
                }),
        }
    };
    Ok((
        of("modification_time", "modification_time_format")?,
        of("access_time", "access_time_format")?,
    ))
}

/// The time a text means in the local time zone.
fn seconds_of(text: &str, format: &str, zone: jiff::tz::TimeZone) -> Option<f64> {
    use jiff::civil::{Date, DateTime, Time};
    let parsed = jiff::fmt::strtime::parse(format, text).ok()?;
    if let Ok(zoned) = parsed.to_zoned() {
        return Some(zoned.timestamp().as_second() as f64);
    }
    let date = parsed.to_date().ok().or_else(|| {
        Date::new(
            parsed.year().unwrap_or(1900),
            parsed.month().unwrap_or(1),
            parsed.day().unwrap_or(1),
        )
        .ok()
    })?;
    let time = Time::new(
        parsed.hour().unwrap_or(0),
        parsed.minute().unwrap_or(0),
        parsed.second().unwrap_or(0),
        0,
    )
    .ok()?;
    let zoned = DateTime::from_parts(date, time).to_zoned(zone).ok()?;
    Some(zoned.timestamp().as_second() as f64)
}

/// Brings the times of a file to what they are to be: whether they were not.
pub(super) fn update_times(
    context: &Context<'_>,
    shown: &str,
    (modified, accessed): (Time, Time),
    diff: Option<&mut Map<String, Value>>,
) -> Result<bool, Failure> {
    if let (Time::Preserved, Time::Preserved) = (modified, accessed) {
        return Ok(false);
    }
    let path = context.path(shown);
    let failed = |error: std::io::Error| {
        Failure::new(format!(
            "Error while updating modification or access time: {}",
            python::os_error_at(&error, &path)
        ))
        .with("path", shown)
    };
    let meta = std::fs::metadata(&path).map_err(failed)?;
    let before = (times::modified(&meta), times::accessed(&meta));
    let both_now = matches!((modified, accessed), (Time::Now, Time::Now));
    let now = times::now();
    let value = |time: Time, before: f64| match time {
        Time::Preserved => before,
        Time::Now => now,
        Time::At(seconds) => seconds,
    };
    let after = (value(modified, before.0), value(accessed, before.1));
    let differs = |one: f64, other: f64| one.to_bits() != other.to_bits();
    if !both_now && !differs(after.0, before.0) && !differs(after.1, before.1) {
        return Ok(false);
    }
    if !context.settings.check {
        times::set(&path, (!both_now).then_some((after.1, after.0))).map_err(failed)?;
    }
    if let Some(diff) = diff {
        if differs(after.0, before.0) {
            note(Some(diff), "mtime", before.0.into(), after.0.into());
        }
        if differs(after.1, before.1) {
            note(Some(diff), "atime", before.1.into(), after.1.into());
        }
    }
    Ok(true)
}
