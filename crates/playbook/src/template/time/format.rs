//! Points in time written and read by formats: `strftime` and `strptime`.

use std::fmt::Write as _;

use consort_jinja::repr;
use jiff::civil;

use super::Moment;
use crate::source::Timestamp;

const DAYS: [&str; 7] = [
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
    "Sunday",
];

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

/// `strftime`: unknown letters stay as they are.
pub(crate) fn format(moment: &Moment, written: &str) -> String {
    let mut out = String::with_capacity(written.len() + 16);
    write_format(moment, written, &mut out, 0);
    out
}

fn write_format(moment: &Moment, written: &str, out: &mut String, depth: u8) {
    let at = &moment.at;
    let date = at.date();
    let hour12 = match at.hour() % 12 {
        0 => 12,
        hour => hour,
    };
    let day_of_year = i32::from(date.day_of_year());
    let from_monday = i32::from(date.weekday().to_monday_zero_offset());
    let from_sunday = i32::from(date.weekday().to_sunday_zero_offset());
    let iso = date.iso_week_date();
    let month = MONTHS[(at.month() as usize).saturating_sub(1) % 12];
    let day = DAYS[from_monday as usize % 7];
    let mut chars = written.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let mut flag = None;
        while let Some(sign) = chars.next_if(|c| matches!(c, '-' | '_' | '0' | '^' | '#')) {
            flag = Some(sign);
        }
        let Some(mut letter) = chars.next() else {
            out.push('%');
            break;
        };
        let colon = letter == ':' && chars.peek() == Some(&'z');
        if colon {
            chars.next();
            letter = 'z';
        }
        let number = |out: &mut String, value: i64, width: usize, pad: char| {
            let pad = match flag {
                Some('-') => None,
                Some('_') => Some(' '),
                Some('0') => Some('0'),
                _ => Some(pad),
            };
            let digits = value.to_string();
            if let Some(pad) = pad {
                out.extend(std::iter::repeat_n(pad, width.saturating_sub(digits.len())));
            }
            out.push_str(&digits);
        };
        let word = |out: &mut String, text: &str| match flag {
            Some('^') => out.push_str(&text.to_uppercase()),
            _ => out.push_str(text),
        };
        match letter {
            'a' => word(out, &day[..3]),
            'A' => word(out, day),
            'b' | 'h' => word(out, &month[..3]),
            'B' => word(out, month),
            'c' if depth < 3 => write_format(moment, "%a %b %e %H:%M:%S %Y", out, depth + 1),
            'C' => number(out, i64::from(at.year()) / 100, 2, '0'),
            'd' => number(out, at.day().into(), 2, '0'),
            'D' | 'x' if depth < 3 => write_format(moment, "%m/%d/%y", out, depth + 1),
            'e' => number(out, at.day().into(), 2, ' '),
            'f' => number(out, i64::from(at.subsec_nanosecond() / 1000), 6, '0'),
            'F' if depth < 3 => write_format(moment, "%Y-%m-%d", out, depth + 1),
            'g' => number(out, i64::from(iso.year()).rem_euclid(100), 2, '0'),
            'G' => number(out, iso.year().into(), 4, '0'),
            'H' => number(out, at.hour().into(), 2, '0'),
            'I' => number(out, hour12.into(), 2, '0'),
            'j' => number(out, day_of_year.into(), 3, '0'),
            'k' => number(out, at.hour().into(), 2, ' '),
            'l' => number(out, hour12.into(), 2, ' '),
            'm' => number(out, at.month().into(), 2, '0'),
            'M' => number(out, at.minute().into(), 2, '0'),
            'n' => out.push('\n'),
            'p' => match flag {
                Some('#') => out.push_str(if at.hour() < 12 { "am" } else { "pm" }),
                _ => out.push_str(if at.hour() < 12 { "AM" } else { "PM" }),
            },
            'P' => out.push_str(if at.hour() < 12 { "am" } else { "pm" }),
            'r' if depth < 3 => write_format(moment, "%I:%M:%S %p", out, depth + 1),
            'R' if depth < 3 => write_format(moment, "%H:%M", out, depth + 1),
            's' => number(out, moment.second, 1, '0'),
            'S' => number(out, at.second().into(), 2, '0'),
            't' => out.push('\t'),
            'T' | 'X' if depth < 3 => write_format(moment, "%H:%M:%S", out, depth + 1),
            'u' => number(out, i64::from(from_monday) + 1, 1, '0'),
            'U' => number(out, i64::from((day_of_year + 6 - from_sunday) / 7), 2, '0'),
            'V' => number(out, iso.week().into(), 2, '0'),
            'w' => number(out, from_sunday.into(), 1, '0'),
            'W' => number(out, i64::from((day_of_year + 6 - from_monday) / 7), 2, '0'),
            'y' => number(out, i64::from(at.year()).rem_euclid(100), 2, '0'),
            'Y' => number(out, at.year().into(), 4, '0'),
            'z' => {
                if let Some((offset, _)) = &moment.zone {
                    let minutes = offset.abs() / 60;
                    let sign = if *offset < 0 { '-' } else { '+' };
                    let between = if colon { ":" } else { "" };
                    let _ = write!(out, "{sign}{:02}{between}{:02}", minutes / 60, minutes % 60);
                }
            }
            'Z' => {
                if let Some((_, name)) = &moment.zone {
                    out.push_str(name);
                }
            }
            '%' => out.push('%'),
            other => {
                out.push('%');
                out.push(other);
            }
        }
    }
}

#[derive(Default)]
struct Parsed {
    year: Option<i32>,
    month: Option<i32>,
    day: Option<i32>,
    hour: i32,
    hour12: Option<i32>,
    afternoon: Option<bool>,
    minute: i32,
    second: i32,
    micros: i32,
    day_of_year: Option<i32>,
    offset: Option<i32>,
}

/// `datetime.strptime`.
pub(crate) fn parse(text: &str, written: &str) -> Result<Timestamp, String> {
    let mismatch = || {
        format!(
            "time data {} does not match format {}",
            repr::string(text),
            repr::string(written)
        )
    };
    let mut parsed = Parsed::default();
    let rest = read(text, written, &mut parsed, 0)?.ok_or_else(mismatch)?;
    if !rest.is_empty() {
        return Err(format!("unconverted data remains: {rest}"));
    }
    if let Some(hour) = parsed.hour12 {
        parsed.hour = match (hour % 12, parsed.afternoon) {
            (hour, Some(true)) => hour + 12,
            (hour, _) => hour,
        };
    }
    let year = parsed.year.unwrap_or(1900);
    let mut date = civil::Date::new(
        i16::try_from(year).map_err(|_| mismatch())?,
        parsed.month.unwrap_or(1) as i8,
        parsed.day.unwrap_or(1) as i8,
    )
    .map_err(|_| "day is out of range for month".to_owned())?;
    if let (Some(day), None, None) = (parsed.day_of_year, parsed.month, parsed.day) {
        date = date
            .first_of_year()
            .checked_add(jiff::Span::new().days(i64::from(day) - 1))
            .map_err(|_| mismatch())?;
    }
    // A leap second is taken for the last one.
    let second = parsed.second.min(59);
    let time = civil::Time::new(
        parsed.hour as i8,
        parsed.minute as i8,
        second as i8,
        parsed.micros * 1000,
    )
    .map_err(|_| mismatch())?;
    Ok(Timestamp {
        at: date.to_datetime(time),
        timed: true,
        offset: parsed.offset,
    })
}

/// Reads what a format says, and gives what is left; none if it does not match.
fn read<'t>(
    text: &'t str,
    written: &str,
    parsed: &mut Parsed,
    depth: u8,
) -> Result<Option<&'t str>, String> {
    let mut rest = text;
    let mut format = written.chars();
    while let Some(c) = format.next() {
        if c.is_whitespace() {
            // Any blanks of the format stand for any blanks of the text, but at least one.
            let trimmed = rest.trim_start();
            if trimmed.len() == rest.len() {
                return Ok(None);
            }
            rest = trimmed;
            while format.clone().next().is_some_and(char::is_whitespace) {
                format.next();
            }
            continue;
        }
        if c != '%' {
            let same = rest
                .chars()
                .next()
                .is_some_and(|next| next.to_lowercase().eq(c.to_lowercase()));
            if !same {
                return Ok(None);
            }
            rest = &rest[rest.chars().next().map_or(0, char::len_utf8)..];
            continue;
        }
        let Some(letter) = format.next() else {
            return Err(format!("stray % in format {}", repr::string(written)));
        };
        let number = |rest: &mut &'t str, width: usize, least: i32, most: i32| -> Option<i32> {
            // The longest run of digits that is in the range.
            let digits = rest
                .bytes()
                .take(width)
                .take_while(u8::is_ascii_digit)
                .count();
            for length in (1..=digits).rev() {
                if let Ok(value) = rest[..length].parse::<i32>()
                    && (least..=most).contains(&value)
                {
                    *rest = &rest[length..];
                    return Some(value);
                }
            }
            None
        };
        let name = |rest: &mut &'t str, names: &[&str], short: bool| -> Option<i32> {
            let at = names.iter().position(|name| {
                let name = if short { &name[..3] } else { name };
                rest.get(..name.len())
                    .is_some_and(|begin| begin.eq_ignore_ascii_case(name))
            })?;
            *rest = &rest[if short { 3 } else { names[at].len() }..];
            i32::try_from(at).ok()
        };
        let done = match letter {
            'Y' => {
                let four = rest.len() >= 4 && rest.bytes().take(4).all(|b| b.is_ascii_digit());
                if four {
                    parsed.year = rest[..4].parse().ok();
                    rest = &rest[4..];
                }
                four
            }
            'y' => match number(&mut rest, 2, 0, 99) {
                Some(year) => {
                    parsed.year = Some(if year <= 68 { 2000 + year } else { 1900 + year });
                    true
                }
                None => false,
            },
            'm' => {
                parsed.month = number(&mut rest, 2, 1, 12);
                parsed.month.is_some()
            }
            'd' => {
                if rest.starts_with(' ') {
                    rest = &rest[1..];
                }
                parsed.day = number(&mut rest, 2, 1, 31);
                parsed.day.is_some()
            }
            'H' => number(&mut rest, 2, 0, 23)
                .map(|hour| parsed.hour = hour)
                .is_some(),
            'I' => {
                parsed.hour12 = number(&mut rest, 2, 1, 12);
                parsed.hour12.is_some()
            }
            'M' => number(&mut rest, 2, 0, 59)
                .map(|minute| parsed.minute = minute)
                .is_some(),
            'S' => number(&mut rest, 2, 0, 61)
                .map(|second| parsed.second = second)
                .is_some(),
            'f' => {
                let digits = rest.bytes().take(6).take_while(u8::is_ascii_digit).count();
                let padded = format!("{:0<6}", &rest[..digits]);
                rest = &rest[digits..];
                parsed.micros = padded.parse().unwrap_or(0);
                digits > 0
            }
            'j' => {
                parsed.day_of_year = number(&mut rest, 3, 1, 366);
                parsed.day_of_year.is_some()
            }
            'w' => number(&mut rest, 1, 0, 6).is_some(),
            'u' => number(&mut rest, 1, 1, 7).is_some(),
            'U' | 'W' | 'V' => number(&mut rest, 2, 0, 53).is_some(),
            'p' => {
                let half = rest.get(..2).map(str::to_ascii_lowercase);
                match half.as_deref() {
                    Some("am") => parsed.afternoon = Some(false),
                    Some("pm") => parsed.afternoon = Some(true),
                    _ => return Ok(None),
                }
                rest = &rest[2..];
                true
            }
            'a' => name(&mut rest, &DAYS, true).is_some(),
            'A' => name(&mut rest, &DAYS, false).is_some(),
            'b' | 'B' => {
                parsed.month = name(&mut rest, &MONTHS, letter == 'b').map(|at| at + 1);
                parsed.month.is_some()
            }
            'z' => match offset(&mut rest) {
                Some(offset) => {
                    parsed.offset = Some(offset);
                    true
                }
                None => false,
            },
            'Z' => {
                let length = rest.bytes().take_while(u8::is_ascii_alphabetic).count();
                let known = matches!(rest[..length].to_ascii_lowercase().as_str(), "utc" | "gmt");
                rest = &rest[length..];
                known
            }
            'c' | 'x' | 'X' if depth < 3 => {
                let inner = match letter {
                    'c' => "%a %b %d %H:%M:%S %Y",
                    'x' => "%m/%d/%y",
                    _ => "%H:%M:%S",
                };
                match read(rest, inner, parsed, depth + 1)? {
                    Some(left) => {
                        rest = left;
                        true
                    }
                    None => false,
                }
            }
            '%' => match rest.strip_prefix('%') {
                Some(left) => {
                    rest = left;
                    true
                }
                None => false,
            },
            other => {
                return Err(format!(
                    "'{other}' is a bad directive in format {}",
                    repr::string(written)
                ));
            }
        };
        if !done {
            return Ok(None);
        }
    }
    Ok(Some(rest))
}

/// `+0200`, `+02:00`, `Z`.
fn offset(rest: &mut &str) -> Option<i32> {
    if let Some(left) = rest.strip_prefix('Z') {
        *rest = left;
        return Some(0);
    }
    let sign = match rest.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let digits = rest.get(1..3)?;
    let hours: i32 = digits.parse().ok()?;
    let after = rest.get(3..)?;
    let after = after.strip_prefix(':').unwrap_or(after);
    let minutes: i32 = after.get(..2)?.parse().ok()?;
    *rest = &after[2..];
    Some(sign * (hours * 3600 + minutes * 60))
}
