//! Times and durations as the API writes them: RFC 3339 in UTC, with seconds (`metav1.Time`) or
//! microseconds (`metav1.MicroTime`), and Go's durations.

use std::borrow::Cow;
use std::fmt::Write as _;

use jiff::Timestamp;

use crate::text::go_quote;

/// A text that is not a time, in the words of Go's `time.Parse`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("parsing time {} as \"{layout}\": cannot parse {} as {}", go_quote(.text), go_quote(.text), go_quote(.part))]
pub struct Error {
    text: String,
    layout: &'static str,
    part: &'static str,
}

const SECONDS_LAYOUT: &str = "2006-01-02T15:04:05Z07:00";
const MICROS_LAYOUT: &str = "2006-01-02T15:04:05.000000Z07:00";

/// The present with seconds, such as `2024-05-01T12:00:00Z`.
pub fn now() -> String {
    format(Timestamp::now())
}

/// The present with microseconds, such as `2024-05-01T12:00:00.123456Z`.
pub fn now_micros() -> String {
    format_micros(Timestamp::now())
}

/// A time with seconds; what is finer is cut off.
pub fn format(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// A time with microseconds; what is finer is cut off.
pub fn format_micros(time: Timestamp) -> String {
    let micros = time.subsec_nanosecond().rem_euclid(1_000_000_000) / 1000;
    let mut text = time.strftime("%Y-%m-%dT%H:%M:%S").to_string();
    // Writing to a String cannot fail.
    let _ = write!(text, ".{micros:06}Z");
    text
}

/// Reads an RFC 3339 time with any offset and any fraction of a second.
pub fn parse(text: &str) -> Result<Timestamp, Error> {
    read(text, SECONDS_LAYOUT)
}

fn read(text: &str, layout: &'static str) -> Result<Timestamp, Error> {
    let wrong = |part| Error {
        text: text.to_owned(),
        layout,
        part,
    };
    let bytes = text.as_bytes();
    for (at, part) in [
        (0..4, "2006"),
        (5..7, "01"),
        (8..10, "02"),
        (11..13, "15"),
        (14..16, "04"),
        (17..19, "05"),
    ] {
        if !bytes
            .get(at)
            .is_some_and(|digits| digits.iter().all(u8::is_ascii_digit))
        {
            return Err(wrong(part));
        }
    }
    for (at, mark, part) in [
        (4, b'-', "-"),
        (7, b'-', "-"),
        (10, b'T', "T"),
        (13, b':', ":"),
        (16, b':', ":"),
    ] {
        if bytes[at] != mark {
            return Err(wrong(part));
        }
    }
    // Go knows no leap seconds.
    if &bytes[17..19] == b"60" {
        return Err(wrong("05"));
    }
    let mut rest = &text[19..];
    if let Some(fraction) = rest.strip_prefix('.') {
        let digits = fraction.bytes().take_while(u8::is_ascii_digit).count();
        if digits == 0 {
            return Err(wrong("Z07:00"));
        }
        rest = &fraction[digits..];
    }
    let offset = rest.as_bytes();
    let numeric = offset.len() == 6
        && matches!(offset[0], b'+' | b'-')
        && offset[3] == b':'
        && [1, 2, 4, 5].iter().all(|at| offset[*at].is_ascii_digit());
    if rest != "Z" && !numeric {
        return Err(wrong("Z07:00"));
    }
    text.parse().map_err(|_| wrong("Z07:00"))
}

/// A `metav1.Time` in the form it is stored in. `None` for the zero time, which is no time.
pub(crate) fn canonical(text: &str) -> Result<Option<Cow<'_, str>>, Error> {
    let time = read(text, SECONDS_LAYOUT)?;
    if is_zero(time) {
        return Ok(None);
    }
    let stored = text.len() == 20 && text.ends_with('Z');
    Ok(Some(if stored {
        Cow::Borrowed(text)
    } else {
        Cow::Owned(format(time))
    }))
}

/// A `metav1.MicroTime` in the form it is stored in. `None` for the zero time, which is no time.
pub(crate) fn canonical_micros(text: &str) -> Result<Option<Cow<'_, str>>, Error> {
    let time = read(text, MICROS_LAYOUT)?;
    if is_zero(time) {
        return Ok(None);
    }
    let stored = text.len() == 27 && text.ends_with('Z');
    Ok(Some(if stored {
        Cow::Borrowed(text)
    } else {
        Cow::Owned(format_micros(time))
    }))
}

/// Go's zero time is the first second of year 1.
pub(crate) fn is_zero(time: Timestamp) -> bool {
    time.as_second() == -62_135_596_800 && time.subsec_nanosecond() == 0
}

/// Nanoseconds of a Go duration, such as `1m30s`. `None` if it is not one.
pub(crate) fn parse_duration(text: &str) -> Option<i64> {
    let (sign, mut rest) = match text.as_bytes().first()? {
        b'-' => (-1, &text[1..]),
        b'+' => (1, &text[1..]),
        _ => (1, text),
    };
    if rest == "0" {
        return Some(0);
    }
    let mut total: i128 = 0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at(end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') || number.len() > 30
        {
            return None;
        }
        let unit_end = after
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(after.len());
        let unit: i128 = match &after[..unit_end] {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return None,
        };
        let digits = |text: &str| {
            if text.is_empty() {
                Some(0)
            } else {
                text.parse::<i128>().ok()
            }
        };
        let scale = 10_i128.checked_pow(fraction.len() as u32)?;
        total = total.checked_add(digits(whole)?.checked_mul(unit)?)?;
        total = total.checked_add(digits(fraction)?.checked_mul(unit)? / scale)?;
        rest = &after[unit_end..];
    }
    i64::try_from(total * sign).ok()
}

/// Nanoseconds as Go writes a duration.
pub(crate) fn format_duration(nanos: i64) -> String {
    if nanos == 0 {
        return "0s".to_owned();
    }
    let mut out = String::new();
    if nanos < 0 {
        out.push('-');
    }
    let all = nanos.unsigned_abs();
    let fraction = |value: u64, unit: u64| {
        let text = format!("{:0width$}", value % unit, width = unit.ilog10() as usize);
        let text = text.trim_end_matches('0');
        let whole = value / unit;
        if text.is_empty() || unit == 1 {
            whole.to_string()
        } else {
            format!("{whole}.{text}")
        }
    };
    // Writing to a String cannot fail.
    let _ = match all {
        0..1_000 => write!(out, "{all}ns"),
        1_000..1_000_000 => write!(out, "{}µs", fraction(all, 1_000)),
        1_000_000..1_000_000_000 => write!(out, "{}ms", fraction(all, 1_000_000)),
        _ => {
            let minutes = all / 60_000_000_000;
            let seconds = fraction(all % 60_000_000_000, 1_000_000_000);
            match (minutes / 60, minutes % 60) {
                (0, 0) => write!(out, "{seconds}s"),
                (0, minutes) => write!(out, "{minutes}m{seconds}s"),
                (hours, minutes) => write!(out, "{hours}h{minutes}m{seconds}s"),
            }
        }
    };
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leap_second_is_no_time() {
        assert!(parse("2016-12-31T23:59:60Z").is_err());
        assert!(parse("2016-12-31T23:59:59Z").is_ok());
    }

    #[test]
    fn times_are_stored_in_utc_at_their_precision() {
        let stored = |text| canonical(text).unwrap().unwrap().into_owned();
        assert_eq!(stored("2024-05-01T12:00:00Z"), "2024-05-01T12:00:00Z");
        assert_eq!(
            stored("2024-05-01T12:00:00.987+02:00"),
            "2024-05-01T10:00:00Z"
        );
        let stored = |text| canonical_micros(text).unwrap().unwrap().into_owned();
        assert_eq!(
            stored("2024-05-01T12:00:00Z"),
            "2024-05-01T12:00:00.000000Z"
        );
        assert_eq!(
            stored("2024-05-01T12:00:00.1234567-01:00"),
            "2024-05-01T13:00:00.123456Z"
        );
        assert_eq!(canonical("0001-01-01T00:00:00Z").unwrap(), None);
    }

    #[test]
    fn what_is_no_time_is_refused_with_gos_words() {
        assert_eq!(
            parse("x").unwrap_err().to_string(),
            r#"parsing time "x" as "2006-01-02T15:04:05Z07:00": cannot parse "x" as "2006""#
        );
        for text in [
            "",
            "2024-05-01",
            "2024-05-01 12:00:00Z",
            "2024-05-01T12:00:00",
            "2024-13-01T12:00:00Z",
            "2024-05-01T12:00:00z",
            "2024-05-01T12:00:00.Z",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_present_reads_back() {
        assert_eq!(canonical(&now()).unwrap().unwrap(), now());
        assert_eq!(now_micros().len(), 27);
        assert!(parse(&now_micros()).is_ok());
    }

    #[test]
    fn durations_are_those_of_go() {
        for (text, nanos) in [
            ("0s", 0),
            ("1m30s", 90_000_000_000),
            ("1h0m0s", 3_600_000_000_000),
            ("1.5s", 1_500_000_000),
            ("-2ms", -2_000_000),
            ("1.5µs", 1_500),
            ("7ns", 7),
        ] {
            assert_eq!(parse_duration(text), Some(nanos), "{text}");
            assert_eq!(format_duration(nanos), text);
        }
        for text in ["", "1", "s", "1x", "1..5s", "99999999999999999999h"] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }
}
