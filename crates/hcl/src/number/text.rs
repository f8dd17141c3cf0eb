//! Numbers to decimal text and back.

use num_bigint::BigUint;
use num_traits::{One, Zero};

use super::float::Float;
use super::{Number, PRECISION};

/// Decimal exponents beyond this are refused or become zero; far beyond what anything measures.
const EXPONENT_LIMIT: i64 = 300_000;
/// More digits than this are refused.
const DIGIT_LIMIT: usize = 1_000_000;

pub(super) fn parse(text: &str) -> Option<Number> {
    let (negative, rest) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    if matches!(rest, "Inf" | "inf") {
        return Some(if negative {
            Number::NEGATIVE_INFINITY
        } else {
            Number::INFINITY
        });
    }
    // Almost all numbers are small integers.
    if rest.len() <= 18 && !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit()) {
        let value: i64 = rest.parse().ok()?;
        if value != 0 || !negative {
            return Some(super::small(
                if negative { -value } else { value },
                PRECISION,
            ));
        }
    }
    let (body, exponent) = match rest.find(['e', 'E']) {
        None => (rest, 0),
        Some(at) => (&rest[..at], parse_exponent(&rest[at + 1..])?),
    };
    let (whole, fraction) = body.split_once('.').unwrap_or((body, ""));
    if whole.is_empty() && fraction.is_empty() || whole.len() + fraction.len() > DIGIT_LIMIT {
        return None;
    }
    if !whole
        .bytes()
        .chain(fraction.bytes())
        .all(|b| b.is_ascii_digit())
    {
        return None;
    }
    let digits = format!("{whole}{fraction}");
    let mantissa = BigUint::parse_bytes(digits.as_bytes(), 10)?;
    let exponent = exponent.saturating_sub(fraction.len() as i64);
    if mantissa.is_zero() {
        return Some(
            Float {
                negative,
                mantissa,
                exponent: 0,
                precision: PRECISION,
            }
            .into_number(),
        );
    }
    let magnitude = exponent + digits.len() as i64;
    if magnitude > EXPONENT_LIMIT {
        return None;
    }
    if magnitude < -EXPONENT_LIMIT {
        return Some(super::small(0, PRECISION));
    }
    let float = if exponent >= 0 {
        let five = BigUint::from(5u32).pow(exponent as u32);
        Float {
            negative,
            mantissa: mantissa * five,
            exponent,
            precision: PRECISION,
        }
    } else {
        let power = exponent.unsigned_abs() as u32;
        let five = BigUint::from(5u32).pow(power);
        let shift = (i64::from(PRECISION) + 2 + five.bits() as i64 - mantissa.bits() as i64).max(0)
            as usize;
        let numerator = mantissa << shift;
        let quotient = &numerator / &five;
        let inexact = &quotient * &five != numerator;
        let mut mantissa = quotient << 1usize;
        if inexact {
            mantissa += BigUint::one();
        }
        Float {
            negative,
            mantissa,
            exponent: -(shift as i64) - 1 + exponent,
            precision: PRECISION,
        }
    };
    Some(float.into_number())
}

fn parse_exponent(text: &str) -> Option<i64> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let trimmed = digits.trim_start_matches('0');
    let value: i64 = if trimmed.len() > 12 {
        1_000_000_000_000
    } else {
        trimmed.parse().unwrap_or(0)
    };
    Some(if negative { -value } else { value })
}

/// The digits of `mantissa · 2^exponent` without zeros at the ends, and how many of them stand before the point.
pub(super) fn exact_digits(mantissa: &BigUint, exponent: i64) -> (String, i64) {
    let (text, point) = if exponent >= 0 {
        let text = (mantissa << exponent as usize).to_string();
        let point = text.len() as i64;
        (text, point)
    } else {
        let power = exponent.unsigned_abs();
        let text = (mantissa * BigUint::from(5u32).pow(power as u32)).to_string();
        let point = text.len() as i64 - power as i64;
        (text, point)
    };
    (text.trim_end_matches('0').to_owned(), point)
}

/// The fewest digits between the two halfway points to the neighbours at this precision.
pub(super) fn shortest_digits(float: &Float) -> (String, i64) {
    let (digits, point) = exact_digits(&float.mantissa, float.exponent);
    // A mantissa of precision + 1 bits makes its lowest bit half a unit in the last place.
    let shift = i64::from(float.precision) + 1 - float.mantissa.bits() as i64;
    if shift < 0 {
        return (digits, point);
    }
    let scaled = &float.mantissa << shift as usize;
    let exponent = float.exponent - shift;
    let (lower, _) = exact_digits(&(&scaled - BigUint::one()), exponent);
    let (upper, _) = exact_digits(&(&scaled + BigUint::one()), exponent);
    // The halfway points themselves round to an even mantissa.
    let inclusive = !scaled.bit(1);
    let (lower, upper) = (lower.as_bytes(), upper.as_bytes());
    for (i, digit) in digits.bytes().enumerate() {
        let l = lower.get(i).copied().unwrap_or(b'0');
        let u = upper.get(i).copied().unwrap_or(b'0');
        let down = l != digit || inclusive && i + 1 == lower.len();
        let up = digit != u && (inclusive || digit + 1 < u || i + 1 < upper.len());
        match (down, up) {
            (true, true) => return round_half_even(&digits, point, i + 1),
            (true, false) => return round_down(&digits, point, i + 1),
            (false, true) => return round_up(&digits, point, i + 1),
            (false, false) => {}
        }
    }
    (digits, point)
}

fn round_down(digits: &str, point: i64, keep: usize) -> (String, i64) {
    (
        digits[..keep.min(digits.len())]
            .trim_end_matches('0')
            .to_owned(),
        point,
    )
}

fn round_up(digits: &str, point: i64, keep: usize) -> (String, i64) {
    if keep >= digits.len() {
        return (digits.to_owned(), point);
    }
    let kept = digits[..keep].trim_end_matches('9');
    if kept.is_empty() {
        return ("1".to_owned(), point + 1);
    }
    let mut out = kept.as_bytes().to_vec();
    if let Some(last) = out.last_mut() {
        *last += 1;
    }
    (String::from_utf8(out).unwrap_or_default(), point)
}

/// Rounds to `keep` digits, a half to the even digit.
pub(super) fn round_half_even(digits: &str, point: i64, keep: usize) -> (String, i64) {
    let bytes = digits.as_bytes();
    if keep >= bytes.len() {
        return (digits.to_owned(), point);
    }
    let up = match bytes[keep] {
        b'5' if keep + 1 == bytes.len() => keep > 0 && (bytes[keep - 1] - b'0') % 2 == 1,
        digit => digit >= b'5',
    };
    if up {
        round_up(digits, point, keep)
    } else {
        round_down(digits, point, keep)
    }
}

/// Without exponent, as few digits as give the number back.
pub(super) fn plain(float: &Float) -> String {
    let sign = if float.negative { "-" } else { "" };
    if float.mantissa.is_zero() {
        return format!("{sign}0");
    }
    let (digits, point) = shortest_digits(float);
    format!("{sign}{}", place_point(&digits, point))
}

/// Digits with the point after the first `point` of them, filled up with zeros.
pub(super) fn place_point(digits: &str, point: i64) -> String {
    if digits.is_empty() {
        return "0".to_owned();
    }
    if point <= 0 {
        return format!("0.{}{digits}", "0".repeat(point.unsigned_abs() as usize));
    }
    let point = point as usize;
    if point >= digits.len() {
        return format!("{digits}{}", "0".repeat(point - digits.len()));
    }
    format!("{}.{}", &digits[..point], &digits[point..])
}

pub(super) fn ten_digits(number: &Number) -> String {
    const DIGITS: usize = 10;
    let sign = if number.prints_minus() { "-" } else { "" };
    if number.is_infinite() {
        return if number.prints_minus() {
            "-Inf"
        } else {
            "+Inf"
        }
        .to_owned();
    }
    if let Some(value) = number.to_i64()
        && value != 0
        && value.unsigned_abs() < 10_000_000_000
    {
        return value.to_string();
    }
    let Some((digits, point)) = number.exact_digits() else {
        return format!("{sign}0");
    };
    let (digits, point) = round_half_even(&digits, point, DIGITS);
    let exponent = point - 1;
    let mut threshold = DIGITS as i64;
    if threshold > digits.len() as i64 && digits.len() as i64 >= point {
        threshold = digits.len() as i64;
    }
    if exponent < -4 || exponent >= threshold {
        let (first, rest) = digits.split_at(1);
        let dot = if rest.is_empty() { "" } else { "." };
        let e = if exponent < 0 { '-' } else { '+' };
        return format!("{sign}{first}{dot}{rest}e{e}{:02}", exponent.unsigned_abs());
    }
    format!("{sign}{}", place_point(&digits, point))
}
