//! Points in time as Python has them: written and read by formats, added and subtracted.

mod format;
mod span;

use consort_jinja::{Arguments, Error, Object, Result, Value};
use jiff::civil::{self, DateTime};
use jiff::{SignedDuration, Timestamp as Instant, tz};

use crate::source::Timestamp;

pub(crate) use format::{format, parse};

use span::Span;

/// A point in time in a zone.
pub(crate) struct Moment {
    pub(crate) at: DateTime,
    /// The seconds east of Greenwich and the name of the zone, where they are known.
    pub(crate) zone: Option<(i32, String)>,
    /// The seconds since 1970.
    pub(crate) second: i64,
}

impl Moment {
    /// A point given by the seconds since 1970, here or in Greenwich. `aware`: it says its zone when it is written.
    pub(crate) fn of_seconds(seconds: f64, utc: bool, aware: bool) -> Result<Self, String> {
        if !seconds.is_finite() {
            return Err("cannot convert float infinity to integer".to_owned());
        }
        let micros = (seconds * 1e6).round_ties_even();
        if micros.abs() > 2.5e17 {
            return Err(format!(
                "year {} is out of range",
                (seconds / 31_556_952.0) as i64 + 1970
            ));
        }
        let instant =
            Instant::from_microsecond(micros as i64).map_err(|error| error.to_string())?;
        Ok(Self::of(instant, utc, aware))
    }

    /// Now.
    pub(crate) fn now(utc: bool) -> Self {
        Self::of(Instant::now(), utc, false)
    }

    fn of(instant: Instant, utc: bool, aware: bool) -> Self {
        let zone = if utc {
            tz::TimeZone::UTC
        } else {
            tz::TimeZone::system()
        };
        let at = zone.to_datetime(instant);
        let about = zone.to_offset_info(instant);
        Moment {
            at,
            zone: aware.then(|| (about.offset().seconds(), about.abbreviation().to_owned())),
            second: instant.as_second(),
        }
    }
}

/// What an operator makes of a point in time and something else.
pub(crate) fn operate(
    one: &Timestamp,
    operator: &str,
    other: &Value,
    reflected: bool,
) -> Option<Result<Value>> {
    let Value::Object(object) = other else {
        return None;
    };
    if let Some(two) = object.any().downcast_ref::<Timestamp>() {
        if operator != "-" {
            return None;
        }
        if one.offset.is_some() != two.offset.is_some() {
            return Some(Err(Error::failed(
                "can't subtract offset-naive and offset-aware datetimes",
            )));
        }
        let (from, to) = if reflected { (one, two) } else { (two, one) };
        return Some(Ok(Span::value(micros(to) - micros(from))));
    }
    let span = object.any().downcast_ref::<Span>()?;
    let change = match (operator, reflected) {
        ("+", _) => span.micros,
        ("-", false) => span.micros.checked_neg()?,
        _ => return None,
    };
    let moved = one
        .at
        .checked_add(SignedDuration::from_micros(change))
        .map_err(|_| Error::failed("date value out of range"));
    Some(moved.map(|at| Timestamp { at, ..one.clone() }.into_value()))
}

/// The microseconds of a point in time since some other, of Greenwich where it knows its zone.
fn micros(point: &Timestamp) -> i64 {
    let since = point
        .at
        .duration_since(DateTime::constant(1970, 1, 1, 0, 0, 0, 0));
    let seconds = since.as_secs() - i64::from(point.offset.unwrap_or(0));
    seconds * 1_000_000 + i64::from(since.subsec_nanos() / 1000)
}

/// The order of two points in time.
pub(crate) fn order(one: &Timestamp, other: &dyn Object) -> Option<std::cmp::Ordering> {
    let two = other.any().downcast_ref::<Timestamp>()?;
    Some(micros(one).cmp(&micros(two)))
}

/// An attribute of a point in time.
pub(crate) fn attribute(point: &Timestamp, name: &str) -> Option<Value> {
    let at = &point.at;
    Some(Value::Int(match name {
        "year" => at.year().into(),
        "month" => at.month().into(),
        "day" => at.day().into(),
        "hour" if point.timed => at.hour().into(),
        "minute" if point.timed => at.minute().into(),
        "second" if point.timed => at.second().into(),
        "microsecond" if point.timed => i64::from(at.subsec_nanosecond() / 1000),
        _ => return None,
    }))
}

/// Calls a method of a point in time.
pub(crate) fn method(
    point: &Timestamp,
    name: &str,
    arguments: &Arguments,
) -> Option<Result<Value>> {
    let first = || {
        arguments
            .positional
            .first()
            .map(Value::text)
            .transpose()
            .map(|text| text.map(|text| text.to_string()))
    };
    let local = || {
        tz::TimeZone::system()
            .to_ambiguous_timestamp(point.at)
            .compatible()
            .map_or(micros(point) / 1_000_000, jiff::Timestamp::as_second)
    };
    let weekday = point.at.date().weekday();
    Some(match name {
        "strftime" => first().map(|format| {
            let moment = Moment {
                at: point.at,
                zone: point.offset.map(|offset| (offset, zone_name(offset))),
                second: local(),
            };
            Value::from(self::format(&moment, &format.unwrap_or_default()))
        }),
        "isoformat" => first().map(|between| {
            let between = between.and_then(|text| text.chars().next()).unwrap_or('T');
            Value::from(point.iso(between))
        }),
        "timestamp" if point.timed => Ok(Value::Float(match point.offset {
            Some(_) => micros(point) as f64 / 1e6,
            None => local() as f64 + f64::from(point.at.subsec_nanosecond() / 1000) / 1e6,
        })),
        "weekday" => Ok(Value::Int(weekday.to_monday_zero_offset().into())),
        "isoweekday" => Ok(Value::Int(weekday.to_monday_one_offset().into())),
        "date" if point.timed => Ok(Timestamp {
            at: point.at.date().to_datetime(civil::Time::midnight()),
            timed: false,
            offset: None,
        }
        .into_value()),
        "isocalendar" => {
            let iso = point.at.date().iso_week_date();
            Ok(Value::tuple(vec![
                Value::Int(iso.year().into()),
                Value::Int(iso.week().into()),
                Value::Int(weekday.to_monday_one_offset().into()),
            ]))
        }
        _ => return None,
    })
}

fn zone_name(offset: i32) -> String {
    if offset == 0 {
        return "UTC".to_owned();
    }
    let minutes = offset.abs() / 60;
    let sign = if offset < 0 { '-' } else { '+' };
    format!("UTC{sign}{:02}:{:02}", minutes / 60, minutes % 60)
}
