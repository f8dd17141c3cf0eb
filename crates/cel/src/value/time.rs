//! Points and spans of time, with Go's ranges and spellings.

use std::cmp::Ordering;
use std::fmt;

use jiff::civil;
use jiff::tz::TimeZone;

const MIN_SECONDS: i64 = -62_135_596_800;
const MAX_SECONDS: i64 = 253_402_300_799;
const NANOS: i128 = 1_000_000_000;

/// A span of time in nanoseconds (about 292 years either way).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Duration(pub i64);

impl Duration {
    /// The span in seconds.
    pub(crate) fn seconds(self) -> f64 {
        let (whole, rest) = (self.0 / 1_000_000_000, self.0 % 1_000_000_000);
        whole as f64 + rest as f64 / 1e9
    }
}

/// As upstream spells durations as texts: `90s`, `0.5s`.
impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}s", self.seconds())
    }
}

/// A point in time between the years 1 and 9999, and the offset it was written with.
#[derive(Clone, Copy, Debug)]
pub struct Timestamp {
    seconds: i64,
    nanos: u32,
    offset: i32,
}

impl PartialEq for Timestamp {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Timestamp {}

impl PartialOrd for Timestamp {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Timestamp {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.seconds, self.nanos).cmp(&(other.seconds, other.nanos))
    }
}

impl Timestamp {
    /// The point so many seconds after 1970; none outside the range.
    pub(crate) fn from_seconds(seconds: i64) -> Option<Self> {
        (MIN_SECONDS..=MAX_SECONDS)
            .contains(&seconds)
            .then_some(Timestamp {
                seconds,
                nanos: 0,
                offset: 0,
            })
    }

    pub(crate) fn seconds(self) -> i64 {
        self.seconds
    }

    /// Whether it is the first one there is, which Go takes for none.
    pub(crate) fn is_zero(self) -> bool {
        self.seconds == MIN_SECONDS && self.nanos == 0
    }

    fn total(self) -> i128 {
        i128::from(self.seconds) * NANOS + i128::from(self.nanos)
    }

    pub(crate) fn plus(self, nanoseconds: i128) -> Option<Self> {
        let total = self.total() + nanoseconds;
        let seconds = i64::try_from(total.div_euclid(NANOS)).ok()?;
        let inside = (MIN_SECONDS..=MAX_SECONDS).contains(&seconds);
        inside.then_some(Timestamp {
            seconds,
            nanos: total.rem_euclid(NANOS) as u32,
            offset: self.offset,
        })
    }

    pub(crate) fn minus(self, other: Self) -> Option<Duration> {
        i64::try_from(self.total() - other.total())
            .ok()
            .map(Duration)
    }

    /// Date and time of day at an offset (seconds east of UTC).
    fn civil(self, offset: i64) -> Option<civil::DateTime> {
        let local = self.seconds + offset;
        let days = local.div_euclid(86_400);
        let of_day = local.rem_euclid(86_400);
        let epoch = civil::date(1970, 1, 1);
        let date = epoch
            .checked_add(jiff::Span::new().try_days(days).ok()?)
            .ok()?;
        Some(date.at(
            (of_day / 3600) as i8,
            (of_day / 60 % 60) as i8,
            (of_day % 60) as i8,
            self.nanos as i32,
        ))
    }

    /// Date and time of day in a zone: an IANA name or `[+-]hh:mm`; UTC without one.
    pub(crate) fn local(self, zone: Option<&str>) -> Result<civil::DateTime, String> {
        let offset = match zone {
            None | Some("" | "UTC") => 0,
            Some(zone) => self.offset_in(zone)?,
        };
        self.civil(offset)
            .ok_or_else(|| "timestamp overflow".to_owned())
    }

    fn offset_in(self, zone: &str) -> Result<i64, String> {
        if let Some((hours, minutes)) = zone.split_once(':') {
            let number = |text: &str| {
                let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
                if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
                    return Err(format!("strconv.Atoi: parsing \"{text}\": invalid syntax"));
                }
                text.parse::<i32>()
                    .map(i64::from)
                    .map_err(|_| format!("strconv.Atoi: parsing \"{text}\": value out of range"))
            };
            let (h, m) = (number(hours)?, number(minutes)?);
            if !(0..=59).contains(&m) {
                return Err(format!(
                    "timezone offset minutes out of range [0, 59]: {zone}"
                ));
            }
            let minutes = if zone.starts_with('-') {
                h * 60 - m
            } else {
                h * 60 + m
            };
            if minutes.abs() > 24 * 60 * 366 {
                return Err(format!("unknown time zone {zone}"));
            }
            return Ok(minutes * 60);
        }
        let unknown = || format!("unknown time zone {zone}");
        let tz = TimeZone::get(zone).map_err(|_| unknown())?;
        // The very first and last days are beyond the zone tables; the nearest day they know has the same offset.
        let known = self.seconds.clamp(
            jiff::Timestamp::MIN.as_second(),
            jiff::Timestamp::MAX.as_second(),
        );
        let point = jiff::Timestamp::from_second(known).map_err(|_| unknown())?;
        Ok(i64::from(tz.to_offset(point).seconds()))
    }
}

/// As Go's RFC 3339 with nanoseconds: `2009-02-13T23:31:30.5Z`.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(at) = self.civil(i64::from(self.offset)) else {
            return f.write_str("invalid");
        };
        write!(
            f,
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}",
            at.year(),
            at.month(),
            at.day(),
            at.hour(),
            at.minute(),
            at.second()
        )?;
        if self.nanos > 0 {
            let digits = format!("{:09}", self.nanos);
            write!(f, ".{}", digits.trim_end_matches('0'))?;
        }
        if self.offset == 0 {
            return f.write_str("Z");
        }
        let minutes = self.offset.abs() / 60;
        write!(
            f,
            "{}{:02}:{:02}",
            if self.offset < 0 { '-' } else { '+' },
            minutes / 60,
            minutes % 60
        )
    }
}

/// What kept a text from being a point in time.
pub(crate) enum BadTimestamp {
    /// It is not spelled as one.
    Syntax,
    /// It is outside the years 1 to 9999.
    Range,
}

/// Reads RFC 3339 as Go does: `2009-02-13T23:31:30.5+01:00`.
pub(crate) fn parse_timestamp(text: &str) -> Result<Timestamp, BadTimestamp> {
    fn number(text: &str, from: usize, length: usize) -> Option<i64> {
        let digits = text.get(from..from + length)?;
        digits
            .bytes()
            .all(|byte| byte.is_ascii_digit())
            .then(|| digits.parse().ok())?
    }
    let parse = || -> Option<(civil::DateTime, i32, u32)> {
        let bytes = text.as_bytes();
        let separators = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')];
        if separators
            .iter()
            .any(|(at, wanted)| bytes.get(*at) != Some(wanted))
        {
            return None;
        }
        let (year, month, day) = (
            number(text, 0, 4)?,
            number(text, 5, 2)?,
            number(text, 8, 2)?,
        );
        let (hour, minute, second) = (
            number(text, 11, 2)?,
            number(text, 14, 2)?,
            number(text, 17, 2)?,
        );
        let mut at = 19;
        let mut nanos = 0u32;
        if matches!(bytes.get(at), Some(b'.' | b',')) {
            let digits = bytes[at + 1..]
                .iter()
                .take_while(|byte| byte.is_ascii_digit())
                .count();
            if digits == 0 {
                return None;
            }
            let fraction: String = text[at + 1..at + 1 + digits]
                .chars()
                .chain("000000000".chars())
                .take(9)
                .collect();
            nanos = fraction.parse().ok()?;
            at += 1 + digits;
        }
        let offset = match bytes.get(at)? {
            b'Z' if bytes.len() == at + 1 => 0,
            sign @ (b'+' | b'-') if bytes.len() == at + 6 && bytes[at + 3] == b':' => {
                let (hours, minutes) = (number(text, at + 1, 2)?, number(text, at + 4, 2)?);
                if hours > 24 || minutes > 60 {
                    return None;
                }
                let seconds = (hours * 60 + minutes) * 60;
                (if *sign == b'-' { -seconds } else { seconds }) as i32
            }
            _ => return None,
        };
        let date = civil::Date::new(year as i16, month as i8, day as i8).ok()?;
        if hour > 23 || minute > 59 || second > 59 {
            return None;
        }
        Some((
            date.at(hour as i8, minute as i8, second as i8, 0),
            offset,
            nanos,
        ))
    };
    let (at, offset, nanos) = parse().ok_or(BadTimestamp::Syntax)?;
    let days = at
        .date()
        .since(civil::date(1970, 1, 1))
        .map_err(|_| BadTimestamp::Range)?
        .get_days();
    let of_day = i64::from(at.hour()) * 3600 + i64::from(at.minute()) * 60 + i64::from(at.second());
    let seconds = i64::from(days) * 86_400 + of_day - i64::from(offset);
    if !(MIN_SECONDS..=MAX_SECONDS).contains(&seconds) {
        return Err(BadTimestamp::Range);
    }
    Ok(Timestamp {
        seconds,
        nanos,
        offset,
    })
}

/// Reads a date: midnight UTC of it.
pub(crate) fn parse_date(text: &str) -> Option<Timestamp> {
    if text.len() != 10 {
        return None;
    }
    parse_timestamp(&format!("{text}T00:00:00Z")).ok()
}

/// Reads a duration as Go spells them: `1h2m3.5s`, `-300ms`, `0`. With `days`, also the units `d` and `w` of
/// OpenAPI's duration format.
pub(crate) fn parse_duration(text: &str, days: bool) -> Option<Duration> {
    let (negative, mut rest) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Some(Duration(0));
    }
    if rest.is_empty() {
        return None;
    }
    let mut total: i128 = 0;
    while !rest.is_empty() {
        let whole = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (digits, after) = rest.split_at(whole);
        let mut fraction = "";
        let mut tail = after;
        if let Some(after) = after.strip_prefix('.') {
            let length = after.bytes().take_while(u8::is_ascii_digit).count();
            (fraction, tail) = after.split_at(length);
        }
        if digits.is_empty() && fraction.is_empty() {
            return None;
        }
        let length = tail
            .find(|c: char| c == '.' || c.is_ascii_digit())
            .unwrap_or(tail.len());
        let (unit, next) = tail.split_at(length);
        let scale: i128 = match unit {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => NANOS,
            "m" => 60 * NANOS,
            "h" => 3600 * NANOS,
            "d" if days => 86_400 * NANOS,
            "w" if days => 7 * 86_400 * NANOS,
            _ => return None,
        };
        if digits.len() > 19 {
            return None;
        }
        let amount: i128 = if digits.is_empty() {
            0
        } else {
            digits.parse().ok()?
        };
        total += amount * scale;
        if !fraction.is_empty() {
            let kept = &fraction[..fraction.len().min(15)];
            total += kept.parse::<i128>().ok()? * scale / 10i128.pow(kept.len() as u32);
        }
        if total > 1 << 63 {
            return None;
        }
        rest = next;
    }
    i64::try_from(if negative { -total } else { total })
        .ok()
        .map(Duration)
}
