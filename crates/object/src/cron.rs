//! Schedules of cron jobs, in the standard five fields and the usual shorthands.

use std::time::Duration;

/// Why a text is no schedule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Nothing is there.
    #[error("empty spec string")]
    Empty,
    /// There are too few or too many fields.
    #[error("expected exactly 5 fields, found {found}: [{text}]")]
    Fields {
        /// How many there are.
        found: usize,
        /// The text.
        text: String,
    },
    /// A field is malformed.
    #[error("{0}")]
    Field(String),
    /// A shorthand that is not known.
    #[error("unrecognized descriptor: {0}")]
    Descriptor(String),
    /// The time after `@every` is malformed.
    #[error("failed to parse duration {0}")]
    Every(String),
}

/// When something is to happen: five sets of numbers, or an interval.
///
/// ```
/// use consort_object::cron::Schedule;
/// assert!("*/5 * * * *".parse::<Schedule>().is_ok());
/// assert!("@daily".parse::<Schedule>().is_ok());
/// assert!("61 * * * *".parse::<Schedule>().is_err());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Schedule {
    /// At the times whose fields are in these sets; bit n stands for the number n.
    Calendar(Calendar),
    /// Again and again, this far apart.
    Every(Duration),
}

/// The sets of a calendar schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Calendar {
    /// 0 to 59.
    pub minutes: u64,
    /// 0 to 23.
    pub hours: u64,
    /// 1 to 31.
    pub days: u64,
    /// 1 to 12.
    pub months: u64,
    /// 0 (Sunday) to 6.
    pub weekdays: u64,
    /// The days of the month are not restricted: then the weekday alone decides, else either does.
    pub any_day: bool,
    /// The weekdays are not restricted.
    pub any_weekday: bool,
}

struct Bounds {
    low: u64,
    high: u64,
    names: &'static [&'static str],
}

const MINUTES: Bounds = Bounds {
    low: 0,
    high: 59,
    names: &[],
};
const HOURS: Bounds = Bounds {
    low: 0,
    high: 23,
    names: &[],
};
const DAYS: Bounds = Bounds {
    low: 1,
    high: 31,
    names: &[],
};
const MONTHS: Bounds = Bounds {
    low: 1,
    high: 12,
    names: &[
        "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
    ],
};
const WEEKDAYS: Bounds = Bounds {
    low: 0,
    high: 6,
    names: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"],
};

impl std::str::FromStr for Schedule {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        if text.is_empty() {
            return Err(Error::Empty);
        }
        if let Some(shorthand) = text.strip_prefix('@') {
            return descriptor(text, shorthand);
        }
        let fields: Vec<&str> = text.split_whitespace().collect();
        let &[minutes, hours, days, months, weekdays] = fields.as_slice() else {
            return Err(Error::Fields {
                found: fields.len(),
                text: text.to_owned(),
            });
        };
        let (days, any_day) = field(days, &DAYS)?;
        let (weekdays, any_weekday) = field(weekdays, &WEEKDAYS)?;
        Ok(Self::Calendar(Calendar {
            minutes: field(minutes, &MINUTES)?.0,
            hours: field(hours, &HOURS)?.0,
            days,
            months: field(months, &MONTHS)?.0,
            weekdays,
            any_day,
            any_weekday,
        }))
    }
}

fn descriptor(whole: &str, shorthand: &str) -> Result<Schedule, Error> {
    let equal = match shorthand {
        "yearly" | "annually" => "0 0 1 1 *",
        "monthly" => "0 0 1 * *",
        "weekly" => "0 0 * * 0",
        "daily" | "midnight" => "0 0 * * *",
        "hourly" => "0 * * * *",
        other => {
            let Some(every) = other.strip_prefix("every ") else {
                return Err(Error::Descriptor(whole.to_owned()));
            };
            let nanos =
                crate::time::parse_duration(every).ok_or_else(|| Error::Every(whole.to_owned()))?;
            let interval = Duration::from_nanos(u64::try_from(nanos).unwrap_or_default());
            // Below a second there is no schedule.
            return Ok(Schedule::Every(interval.max(Duration::from_secs(1))));
        }
    };
    equal.parse()
}

/// The numbers of a comma-separated list of ranges, and whether one of them is `*`.
fn field(text: &str, bounds: &Bounds) -> Result<(u64, bool), Error> {
    let mut set = 0;
    let mut any = false;
    for part in text.split(',').filter(|part| !part.is_empty()) {
        let (bits, star) = range(part, bounds)?;
        set |= bits;
        any |= star;
    }
    Ok((set, any))
}

fn range(text: &str, bounds: &Bounds) -> Result<(u64, bool), Error> {
    let mut steps = text.split('/');
    let span = steps.next().unwrap_or_default();
    let step = steps.next();
    if steps.next().is_some() {
        return Err(Error::Field(format!("too many slashes: {text}")));
    }
    let mut ends = span.split('-');
    let first = ends.next().unwrap_or_default();
    let last = ends.next();
    if ends.next().is_some() {
        return Err(Error::Field(format!("too many hyphens: {text}")));
    }
    let star = matches!(first, "*" | "?");
    let (low, mut high) = if star {
        (bounds.low, bounds.high)
    } else {
        let low = number(first, bounds)?;
        (low, last.map_or(Ok(low), |last| number(last, bounds))?)
    };
    let mut any = star;
    let step = match step {
        None => 1,
        Some(step) => {
            let step = plain(step)?;
            if last.is_none() {
                high = bounds.high;
            }
            any &= step == 1;
            step
        }
    };
    if low < bounds.low {
        return Err(Error::Field(format!(
            "beginning of range ({low}) below minimum ({}): {text}",
            bounds.low
        )));
    }
    if high > bounds.high {
        return Err(Error::Field(format!(
            "end of range ({high}) above maximum ({}): {text}",
            bounds.high
        )));
    }
    if low > high {
        return Err(Error::Field(format!(
            "beginning of range ({low}) beyond end of range ({high}): {text}"
        )));
    }
    if step == 0 {
        return Err(Error::Field(format!(
            "step of range should be a positive number: {text}"
        )));
    }
    let stride = usize::try_from(step).unwrap_or(usize::MAX);
    let set = (low..=high)
        .step_by(stride)
        .fold(0, |set, number| set | 1 << number);
    Ok((set, any))
}

fn number(text: &str, bounds: &Bounds) -> Result<u64, Error> {
    let named = bounds
        .names
        .iter()
        .position(|name| text.eq_ignore_ascii_case(name));
    match named {
        Some(index) => Ok(bounds.low + index as u64),
        None => plain(text),
    }
}

fn plain(text: &str) -> Result<u64, Error> {
    text.parse()
        .map_err(|_| Error::Field(format!("failed to parse int from {text}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calendar(text: &str) -> Calendar {
        match text.parse() {
            Ok(Schedule::Calendar(calendar)) => calendar,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn fields_are_lists_of_ranges_with_steps_and_names() {
        let every = calendar("*/15 1-5/2 1,15 jan-MAR mon");
        assert_eq!(every.minutes, 1 | 1 << 15 | 1 << 30 | 1 << 45);
        assert_eq!(every.hours, 1 << 1 | 1 << 3 | 1 << 5);
        assert_eq!(every.days, 1 << 1 | 1 << 15);
        assert_eq!(every.months, 1 << 1 | 1 << 2 | 1 << 3);
        assert_eq!(every.weekdays, 1 << 1);
        assert!(!every.any_day && calendar("@hourly").any_day);
        assert_eq!(calendar("5/20 * * * *").minutes, 1 << 5 | 1 << 25 | 1 << 45);
    }

    #[test]
    fn what_is_no_schedule_is_refused_with_the_place() {
        for (text, why) in [
            ("", "empty spec string"),
            ("* * *", "expected exactly 5 fields, found 3: [* * *]"),
            ("60 * * * *", "end of range (60) above maximum (59): 60"),
            (
                "5-1 * * * *",
                "beginning of range (5) beyond end of range (1): 5-1",
            ),
            (
                "*/0 * * * *",
                "step of range should be a positive number: */0",
            ),
            ("a * * * *", "failed to parse int from a"),
            ("@sometimes", "unrecognized descriptor: @sometimes"),
            ("@every x", "failed to parse duration @every x"),
        ] {
            assert_eq!(text.parse::<Schedule>().unwrap_err().to_string(), why);
        }
        assert_eq!(
            "@every 1h30m".parse::<Schedule>(),
            Ok(Schedule::Every(Duration::from_secs(5400)))
        );
    }
}
