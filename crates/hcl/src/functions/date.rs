//! Dates and times in RFC 3339.

use std::time::{SystemTime, UNIX_EPOCH};

use super::arguments::{of_text, plain, text};
use super::{Options, Table, duration};
use crate::evaluate::{CallError, Function};
use crate::text::quote;
use crate::types::Type;
use crate::value::Value;

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = [
    "Sunday",
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
];

pub(super) fn add(table: &mut Table, options: &Options) {
    table.add(
        "formatdate",
        of_text(["format", "time"], |[format, time]| {
            let time = Time::parse(time).map_err(|e| CallError::argument(1, e))?;
            formatted(format, &time).map_err(|e| CallError::argument(0, e))
        }),
    );
    table.add(
        "timeadd",
        of_text(["timestamp", "duration"], |[time, duration]| {
            let time = Time::parse(time).map_err(CallError::new)?;
            let duration = duration::parse(duration).map_err(CallError::new)?;
            Ok(time.plus(duration).to_string())
        }),
    );
    let parameters = [("timestamp_a", Type::String), ("timestamp_b", Type::String)];
    let compare = |args: &[Value]| {
        let time = |i: usize| {
            Time::parse(text(args, i))
                .map(|t| (t.seconds, t.nanoseconds))
                .map_err(|e| CallError::argument(i, e))
        };
        Ok(Value::number(time(0)?.cmp(&time(1)?) as i64))
    };
    table.add("timecmp", plain(Type::Number, &parameters, compare));
    let pure_only = options.pure_only;
    let now = Function::returning(Type::String, Vec::new(), None, move |_| {
        if pure_only {
            return Ok(Value::unknown(Type::String));
        }
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let seconds = since.map(|d| d.as_secs()).unwrap_or_default() as i64;
        let time = Time {
            seconds,
            nanoseconds: 0,
            offset: 0,
        };
        Ok(Value::string(time.to_string()))
    });
    table.add("timestamp", now.never_null());
    if !options.console {
        let planned = options
            .plan_timestamp
            .as_ref()
            .map_or_else(|| Value::unknown(Type::String), Value::string);
        let planned =
            Function::returning(Type::String, Vec::new(), None, move |_| Ok(planned.clone()));
        table.add("plantimestamp", planned);
    }
}

/// A point in time and the offset it is shown at.
#[derive(Debug, PartialEq)]
struct Time {
    /// Since 1970, in UTC.
    seconds: i64,
    nanoseconds: u32,
    /// Seconds east of UTC.
    offset: i64,
}

/// The parts a clock and a calendar show.
struct Parts {
    year: i64,
    month: usize,
    day: i64,
    weekday: usize,
    hour: i64,
    minute: i64,
    second: i64,
}

fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

fn days_in(month: i64, year: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

impl Time {
    fn plus(&self, nanoseconds: i64) -> Time {
        let total = i128::from(self.seconds) * 1_000_000_000
            + i128::from(self.nanoseconds)
            + i128::from(nanoseconds);
        Time {
            seconds: total.div_euclid(1_000_000_000) as i64,
            nanoseconds: total.rem_euclid(1_000_000_000) as u32,
            offset: self.offset,
        }
    }

    fn parts(&self) -> Parts {
        let local = self.seconds + self.offset;
        let (days, rest) = (local.div_euclid(86_400), local.rem_euclid(86_400));
        let shifted = days + 719_468;
        let era = shifted.div_euclid(146_097);
        let of_era = shifted.rem_euclid(146_097);
        let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted_month = (5 * of_year + 2) / 153;
        let month = if shifted_month < 10 {
            shifted_month + 3
        } else {
            shifted_month - 9
        };
        Parts {
            year: year_of_era + era * 400 + i64::from(month <= 2),
            month: month as usize,
            day: of_year - (153 * shifted_month + 2) / 5 + 1,
            weekday: (days + 4).rem_euclid(7) as usize,
            hour: rest / 3600,
            minute: rest / 60 % 60,
            second: rest % 60,
        }
    }

    fn zone(&self, separator: &str) -> String {
        let sign = if self.offset < 0 { '-' } else { '+' };
        let minutes = self.offset.abs() / 60;
        format!("{sign}{:02}{separator}{:02}", minutes / 60, minutes % 60)
    }

    /// The time that `text` writes in RFC 3339.
    fn parse(text: &str) -> Result<Time, String> {
        let mut reader = Reader { rest: text };
        let year = reader.digits("year", 4)?;
        reader.literal("-")?;
        let month = reader.number("month", true)?;
        reader.within("month", (1..=12).contains(&month))?;
        reader.literal("-")?;
        let day = reader.number("day of month", true)?;
        reader.literal("T")?;
        let before_hour = reader.rest;
        let hour = reader.number("hour", false)?;
        reader.within("hour", hour < 24)?;
        let short_hour = before_hour.len() - reader.rest.len() == 1;
        reader.literal(":")?;
        let minute = reader.number("minute", true)?;
        reader.within("minute", minute < 60)?;
        reader.literal(":")?;
        let second = reader.number("second", true)?;
        reader.within("second", second < 60)?;
        let (nanoseconds, comma) = reader.fraction();
        let offset = reader.offset()?;
        if day < 1 || day > days_in(month, year) {
            return Err("not a valid RFC3339 timestamp: day out of range".to_owned());
        }
        if !reader.rest.is_empty() {
            return Err(Reader::cannot(reader.rest, "timestamp segment"));
        }
        if short_hour {
            let message = "not a valid RFC3339 timestamp: hour must be between 0 and 23 inclusive";
            let digits = "not a valid RFC3339 timestamp: hour must have exactly two digits";
            return Err(if hour > 23 { message } else { digits }.to_owned());
        }
        if comma {
            return Err(Reader::cannot(",", "timestamp segment"));
        }
        let days = days_from_civil(year, month, day);
        Ok(Time {
            seconds: days * 86_400 + hour * 3600 + minute * 60 + second - offset,
            nanoseconds,
            offset,
        })
    }
}

/// RFC 3339 without fractions of a second.
impl std::fmt::Display for Time {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let p = self.parts();
        let zone = if self.offset == 0 {
            "Z".to_owned()
        } else {
            self.zone(":")
        };
        write!(
            f,
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}{zone}",
            p.year, p.month, p.day, p.hour, p.minute, p.second
        )
    }
}

struct Reader<'t> {
    rest: &'t str,
}

impl Reader<'_> {
    fn cannot(rest: &str, what: &str) -> String {
        let wrong = if rest.is_empty() {
            format!("end of string before {what}")
        } else {
            match what {
                "hour" if rest.contains(':') => {
                    "hour must be between 0 and 23 inclusive".to_owned()
                }
                "hour" if rest.len() != 2 => "hour must have exactly two digits".to_owned(),
                "minute" if rest.len() != 2 => "minute must have exactly two digits".to_owned(),
                _ => format!("cannot use {} as {what}", quote(rest)),
            }
        };
        format!("not a valid RFC3339 timestamp: {wrong}")
    }

    fn digits(&mut self, what: &str, count: usize) -> Result<i64, String> {
        let found = self
            .rest
            .get(..count)
            .filter(|s| s.bytes().all(|b| b.is_ascii_digit()));
        let Some(found) = found else {
            return Err(Self::cannot(self.rest, what));
        };
        self.rest = &self.rest[count..];
        Ok(found.parse().unwrap_or(0))
    }

    fn number(&mut self, what: &str, both: bool) -> Result<i64, String> {
        let second = self.rest.as_bytes().get(1).is_some_and(u8::is_ascii_digit);
        self.digits(what, if second || both { 2 } else { 1 })
    }

    fn within(&self, what: &str, fits: bool) -> Result<(), String> {
        if fits {
            Ok(())
        } else {
            Err(Self::cannot(self.rest, what))
        }
    }

    fn literal(&mut self, text: &str) -> Result<(), String> {
        if let Some(rest) = self.rest.strip_prefix(text) {
            self.rest = rest;
            return Ok(());
        }
        let wrong = match (text, self.rest) {
            ("T", _) => "missing required time introducer 'T'".to_owned(),
            (_, "") => format!("end of string where {} is expected", quote(text)),
            (_, rest) => format!("found {} where {} is expected", quote(rest), quote(text)),
        };
        Err(format!("not a valid RFC3339 timestamp: {wrong}"))
    }

    /// Nanoseconds, and whether a comma stood before them.
    fn fraction(&mut self) -> (u32, bool) {
        let Some(after) = self.rest.strip_prefix(['.', ',']) else {
            return (0, false);
        };
        let count = after.bytes().take_while(u8::is_ascii_digit).count();
        if count == 0 {
            return (0, false);
        }
        let comma = self.rest.starts_with(',');
        let digits = format!("{:0<9}", &after[..count.min(9)]);
        self.rest = &after[count..];
        (digits.parse().unwrap_or(0), comma)
    }

    fn offset(&mut self) -> Result<i64, String> {
        if let Some(rest) = self.rest.strip_prefix('Z') {
            self.rest = rest;
            return Ok(0);
        }
        let bytes = self.rest.as_bytes();
        let two = |i: usize| {
            let digits = bytes.get(i..i + 2)?;
            digits
                .iter()
                .all(u8::is_ascii_digit)
                .then(|| i64::from(digits[0] - b'0') * 10 + i64::from(digits[1] - b'0'))
        };
        let sign = match bytes.first() {
            Some(b'+') => 1,
            Some(b'-') => -1,
            _ => return Err(Self::cannot(self.rest, "UTC offset")),
        };
        let (Some(hours), Some(b':'), Some(minutes)) = (two(1), bytes.get(3), two(4)) else {
            return Err(Self::cannot(self.rest, "UTC offset"));
        };
        if hours > 24 || minutes > 60 {
            return Err(Self::cannot(&self.rest[6..], "UTC offset"));
        }
        if hours > 23 || minutes > 59 {
            return Err(Self::cannot(self.rest, "UTC offset"));
        }
        self.rest = &self.rest[6..];
        Ok(sign * (hours * 3600 + minutes * 60))
    }
}

fn formatted(format: &str, time: &Time) -> Result<String, String> {
    let parts = time.parts();
    let mut out = String::new();
    let mut rest = format;
    while let Some(first) = rest.chars().next() {
        if first == '\'' {
            rest = literal(rest, &mut out)?;
            continue;
        }
        if !first.is_ascii_alphabetic() {
            out.push(first);
            rest = &rest[first.len_utf8()..];
            continue;
        }
        let length = rest.chars().take_while(|c| *c == first).count();
        let (verb, after) = rest.split_at(length);
        rest = after;
        out.push_str(&verb_text(verb, first, time, &parts)?);
    }
    Ok(out)
}

/// Passes over text in single quotes, in which two of them are one.
fn literal<'t>(text: &'t str, out: &mut String) -> Result<&'t str, String> {
    if let Some(rest) = text.strip_prefix("''") {
        out.push('\'');
        return Ok(rest);
    }
    let mut rest = &text[1..];
    loop {
        let Some(end) = rest.find('\'') else {
            return Err("unterminated literal '".to_owned());
        };
        out.push_str(&rest[..end]);
        rest = &rest[end + 1..];
        match rest.strip_prefix('\'') {
            Some(after) => {
                out.push('\'');
                rest = after;
            }
            None => return Ok(rest),
        }
    }
}

fn verb_text(verb: &str, letter: char, time: &Time, parts: &Parts) -> Result<String, String> {
    let number = |value: i64, must: &str| match verb.len() {
        1 => Ok(value.to_string()),
        2 => Ok(format!("{value:02}")),
        _ => Err(must.to_owned()),
    };
    let either = |what: &str| format!("{what} must either be \"{letter}\" or \"{letter}{letter}\"");
    let month = MONTHS[(parts.month - 1).min(11)];
    let day = DAYS[parts.weekday];
    let half = |am: &str, pm: &str| {
        if verb.len() == 2 {
            Ok(if parts.hour < 12 { am } else { pm }.to_owned())
        } else {
            Err(format!("must be \"{letter}{letter}\""))
        }
    };
    let result = match (letter, verb.len()) {
        ('Y', 2) => Ok(format!("{:02}", parts.year % 100)),
        ('Y', 4) => Ok(format!("{:04}", parts.year)),
        ('Y', _) => Err("year must either be \"YY\" or \"YYYY\"".to_owned()),
        ('M', 3) => Ok(month[..3].to_owned()),
        ('M', 4) => Ok(month.to_owned()),
        ('M', _) => number(
            parts.month as i64,
            "month must be \"M\", \"MM\", \"MMM\", or \"MMMM\"",
        ),
        ('D', _) => number(parts.day, &either("day of month")),
        ('E', 3) => Ok(day[..3].to_owned()),
        ('E', 4) => Ok(day.to_owned()),
        ('E', _) => Err("day of week must either be \"EEE\" or \"EEEE\"".to_owned()),
        ('h', _) => number(parts.hour, &either("24-hour")),
        ('H', _) => number((parts.hour + 11) % 12 + 1, &either("12-hour")),
        ('A', _) => half("AM", "PM"),
        ('a', _) => half("am", "pm"),
        ('m', _) => number(parts.minute, &either("minute")),
        ('s', _) => number(parts.second, &either("second")),
        ('Z', 1) if time.offset == 0 => Ok("Z".to_owned()),
        ('Z', 3) if time.offset == 0 => Ok("UTC".to_owned()),
        ('Z', 1 | 5) => Ok(time.zone(":")),
        ('Z', 3 | 4) => Ok(time.zone("")),
        ('Z', _) => Err("timezone must be Z, ZZZZ, or ZZZZZ".to_owned()),
        _ => return Err(format!("invalid date format verb {}", quote(verb))),
    };
    result.map_err(|must| format!("invalid date format verb {}: {must}", quote(verb)))
}

/// The timestamps of YAML 1.1, in RFC 3339: a date, perhaps with a time and a zone.
pub(super) fn yaml_timestamp(text: &str) -> Option<String> {
    fn digits(text: &str, most: usize) -> Option<(i64, &str)> {
        let count = text.bytes().take_while(u8::is_ascii_digit).count();
        let value = text[..count].parse().unwrap_or(0);
        (1..=most).contains(&count).then(|| (value, &text[count..]))
    }
    if text.bytes().take_while(u8::is_ascii_digit).count() != 4 {
        return None;
    }
    let (year, rest) = digits(text, 4)?;
    let (month, rest) = digits(rest.strip_prefix('-')?, 2)?;
    let (day, rest) = digits(rest.strip_prefix('-')?, 2)?;
    if !(1..=12).contains(&month) || day < 1 || day > days_in(month, year) {
        return None;
    }
    let date = days_from_civil(year, month, day) * 86_400;
    let time = |seconds: i64, offset: i64| {
        let time = Time {
            seconds: date + seconds - offset,
            nanoseconds: 0,
            offset,
        };
        Some(time.to_string())
    };
    if rest.is_empty() {
        return time(0, 0);
    }
    let zoned = rest.starts_with(['T', 't']);
    let (hour, rest) = digits(rest.strip_prefix(['T', 't', ' '])?, 2)?;
    let (minute, rest) = digits(rest.strip_prefix(':')?, 2)?;
    let (second, rest) = digits(rest.strip_prefix(':')?, 2)?;
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let mut reader = Reader { rest };
    reader.fraction();
    let seconds = hour * 3600 + minute * 60 + second;
    let offset = if zoned { reader.offset().ok()? } else { 0 };
    if reader.rest.is_empty() {
        time(seconds, offset)
    } else {
        None
    }
}
