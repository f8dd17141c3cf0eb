//! Quantities of resources: `1.5Gi`, `100m`, `1e3`.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use crate::functions::{Context, Library};
use crate::libraries::{Answer, failed, no_overload, semver};
use crate::value::{Opaque, Value};

/// A quantity in billionths. Finer ones are rounded up, as upstream does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Quantity {
    nanos: i128,
    notation: Notation,
}

/// How a quantity is spelled.
#[derive(Clone, Copy, Debug)]
enum Notation {
    /// `Ki`, `Mi`, ...
    Binary,
    /// `m`, `k`, `M`, ...
    Decimal,
    /// `e3`.
    Exponent,
}

// The spelling is no part of the amount.
impl PartialEq for Notation {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}
impl Eq for Notation {}
impl PartialOrd for Notation {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Notation {
    fn cmp(&self, _: &Self) -> Ordering {
        Ordering::Equal
    }
}

const NANO: i128 = 1_000_000_000;
/// The largest amount with a binary suffix; larger ones become it.
const MAX: i128 = (i64::MAX as i128) * NANO;

/// The largest amount otherwise, far beyond what fits a whole number of 64 bits. Larger ones become it, where upstream
/// goes on counting.
const HUGE: i128 = i128::MAX / 16;

const FORMAT_WRONG: &str =
    "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";

const SUFFIX_WRONG: &str = "unable to parse quantity's suffix";

impl Quantity {
    /// Reads a quantity; the message says what is wrong.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        if text.is_empty() {
            return Err(FORMAT_WRONG);
        }
        let (negative, rest) = match text.as_bytes()[0] {
            b'-' => (true, &text[1..]),
            b'+' => (false, &text[1..]),
            _ => (false, text),
        };
        let whole = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (digits, rest) = rest.split_at(whole);
        let (fraction, suffix) = match rest.strip_prefix('.') {
            Some(rest) => rest.split_at(rest.bytes().take_while(u8::is_ascii_digit).count()),
            None => ("", rest),
        };
        if digits.is_empty() && fraction.is_empty() {
            return Err(FORMAT_WRONG);
        }
        let (base, exponent, notation) = scale(suffix)?;
        let nanos = amount(digits, fraction, base, exponent);
        Ok(Quantity {
            nanos: if negative { -nanos } else { nanos },
            notation,
        })
    }

    fn of_int(value: i64) -> Self {
        Quantity {
            nanos: i128::from(value) * NANO,
            notation: Notation::Decimal,
        }
    }

    /// The whole number it is, if it is one of 64 bits.
    fn integer(self) -> Option<i64> {
        (self.nanos % NANO == 0).then(|| i64::try_from(self.nanos / NANO).ok())?
    }

    fn approximate(self) -> f64 {
        let (whole, rest) = (self.nanos / NANO, self.nanos % NANO);
        if rest == 0 {
            whole as f64
        } else {
            self.nanos as f64 / 1e9
        }
    }

    fn plus(self, other: i128) -> Self {
        Quantity {
            nanos: self.nanos.saturating_add(other),
            notation: self.notation,
        }
    }
}

/// What a suffix multiplies with: a base and a power of it.
fn scale(suffix: &str) -> Result<(u32, i32, Notation), &'static str> {
    Ok(match suffix {
        "Ki" => (2, 10, Notation::Binary),
        "Mi" => (2, 20, Notation::Binary),
        "Gi" => (2, 30, Notation::Binary),
        "Ti" => (2, 40, Notation::Binary),
        "Pi" => (2, 50, Notation::Binary),
        "Ei" => (2, 60, Notation::Binary),
        "n" => (10, -9, Notation::Decimal),
        "u" => (10, -6, Notation::Decimal),
        "m" => (10, -3, Notation::Decimal),
        "" => (10, 0, Notation::Decimal),
        "k" => (10, 3, Notation::Decimal),
        "M" => (10, 6, Notation::Decimal),
        "G" => (10, 9, Notation::Decimal),
        "T" => (10, 12, Notation::Decimal),
        "P" => (10, 15, Notation::Decimal),
        "E" => (10, 18, Notation::Decimal),
        _ => {
            let letters = suffix.trim_start_matches(|c| "eEinumkKMGTP".contains(c));
            let number = letters.strip_prefix(['+', '-']).unwrap_or(letters);
            if !number.bytes().all(|byte| byte.is_ascii_digit()) {
                return Err(FORMAT_WRONG);
            }
            let digits = suffix.strip_prefix(['e', 'E']).ok_or(SUFFIX_WRONG)?;
            let bare = digits.strip_prefix(['+', '-']).unwrap_or(digits);
            if bare.is_empty() || !bare.bytes().all(|byte| byte.is_ascii_digit()) {
                return Err(SUFFIX_WRONG);
            }
            // An exponent beyond these is beyond the largest or below the smallest amount anyhow.
            let exponent =
                digits
                    .parse::<i32>()
                    .unwrap_or(if digits.starts_with('-') { -999 } else { 999 });
            (10, exponent.clamp(-999, 999), Notation::Exponent)
        }
    })
}

/// `digits.fraction * base^exponent` in billionths, rounded up, at most the largest.
fn amount(digits: &str, fraction: &str, base: u32, exponent: i32) -> i128 {
    let digits = digits.trim_start_matches('0');
    let mut mantissa: i128 = 0;
    // How many decimal places the mantissa has; places beyond what counts only say that there is a rest.
    let mut places: i32 = 0;
    let mut rest = false;
    for (byte, fractional) in digits
        .bytes()
        .map(|b| (b, false))
        .chain(fraction.bytes().map(|b| (b, true)))
    {
        let digit = i128::from(byte - b'0');
        if mantissa < 10i128.pow(27) {
            mantissa = mantissa * 10 + digit;
            places += i32::from(fractional);
        } else {
            rest |= digit != 0;
            places -= i32::from(!fractional);
        }
    }
    if mantissa == 0 {
        return 0;
    }
    let cap = if base == 2 { MAX } else { HUGE };
    let mut value = mantissa;
    let mut decimal = 9 - places;
    if base == 2 {
        // Binary suffixes only enlarge.
        for _ in 0..exponent {
            value = value.saturating_mul(2);
            if value > i128::MAX / 4 {
                break;
            }
        }
        if value > i128::MAX / 4 {
            return MAX;
        }
    } else {
        decimal += exponent;
    }
    while decimal > 0 {
        value = value.saturating_mul(10);
        decimal -= 1;
        if value > cap {
            return cap;
        }
    }
    if decimal < -60 {
        return 1;
    }
    while decimal < 0 {
        rest |= value % 10 != 0;
        value /= 10;
        decimal += 1;
    }
    value.saturating_add(i128::from(rest)).min(cap)
}

/// The canonical spelling.
impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.nanos < 0 { "-" } else { "" };
        let nanos = self.nanos.unsigned_abs();
        if nanos == 0 {
            return f.write_str("0");
        }
        let one = NANO.unsigned_abs();
        if matches!(self.notation, Notation::Binary)
            && nanos >= 1024 * one
            && nanos.is_multiple_of(one)
        {
            let mut value = nanos / one;
            let mut index = 0;
            while value.is_multiple_of(1024) && index < 6 {
                value /= 1024;
                index += 1;
            }
            let suffix = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"][index];
            return write!(f, "{sign}{value}{suffix}");
        }
        let (mut value, mut exponent) = (nanos, -9i32);
        while value % 1000 == 0 && exponent < 18 {
            value /= 1000;
            exponent += 3;
        }
        if matches!(self.notation, Notation::Exponent) {
            return if exponent == 0 {
                write!(f, "{sign}{value}")
            } else {
                write!(f, "{sign}{value}e{exponent}")
            };
        }
        let suffix =
            ["n", "u", "m", "", "k", "M", "G", "T", "P", "E"][((exponent + 9) / 3) as usize];
        write!(f, "{sign}{value}{suffix}")
    }
}

/// Declarations and code.
pub(crate) const LIBRARY: Library = Library {
    declarations: "
        string_to_quantity: quantity(string) -> Quantity
        is_quantity_string: isQuantity(string) -> bool
        quantity_sign: Quantity::sign() -> int
        quantity_is_greater_than: Quantity::isGreaterThan(Quantity) -> bool
        quantity_is_less_than: Quantity::isLessThan(Quantity) -> bool
        quantity_compare_to: Quantity::compareTo(Quantity) -> int
        quantity_get_float: Quantity::asApproximateFloat() -> double
        quantity_get_int: Quantity::asInteger() -> int
        quantity_is_integer: Quantity::isInteger() -> bool
        quantity_add: Quantity::add(Quantity) -> Quantity
        quantity_add_int: Quantity::add(int) -> Quantity
        quantity_sub: Quantity::sub(Quantity) -> Quantity
        quantity_sub_int: Quantity::sub(int) -> Quantity
    ",
    functions: &[
        ("quantity", |_, args| match args {
            [Value::String(text)] => Quantity::parse(text).map(value).map_err(failed),
            _ => no_overload(),
        }),
        ("isQuantity", |_, args| match args {
            [Value::String(text)] => Ok(Value::Bool(Quantity::parse(text).is_ok())),
            _ => no_overload(),
        }),
        ("sign", |_, args| {
            one(args, |quantity| {
                Ok(Value::Int(quantity.nanos.signum() as i64))
            })
        }),
        ("isGreaterThan", is_greater),
        ("isLessThan", is_less),
        ("compareTo", compare_to),
        ("asApproximateFloat", |_, args| {
            one(args, |quantity| Ok(Value::Double(quantity.approximate())))
        }),
        ("asInteger", |_, args| {
            one(args, |quantity| {
                quantity
                    .integer()
                    .map(Value::Int)
                    .ok_or_else(|| failed("cannot convert value to integer"))
            })
        }),
        ("isInteger", |_, args| {
            one(args, |quantity| {
                Ok(Value::Bool(quantity.integer().is_some()))
            })
        }),
        ("add", |_, args| added(args, 1)),
        ("sub", |_, args| added(args, -1)),
    ],
};

fn value<'a>(quantity: Quantity) -> Value<'a> {
    Value::Opaque(Opaque::Quantity(Arc::new(quantity)))
}

fn one<'a>(args: &[Value<'a>], answer: fn(Quantity) -> Answer<'a>) -> Answer<'a> {
    match args {
        [Value::Opaque(Opaque::Quantity(quantity))] => answer(**quantity),
        _ => no_overload(),
    }
}

fn added<'a>(args: &[Value<'a>], sign: i128) -> Answer<'a> {
    let [Value::Opaque(Opaque::Quantity(quantity)), other] = args else {
        return no_overload();
    };
    let other = match other {
        Value::Opaque(Opaque::Quantity(other)) => **other,
        Value::Int(other) => Quantity::of_int(*other),
        _ => return no_overload(),
    };
    Ok(value(quantity.plus(other.nanos.saturating_mul(sign))))
}

pub(super) fn is_greater<'a>(context: &mut Context<'_>, args: &[Value<'a>]) -> Answer<'a> {
    semver::order(context, args).map_or_else(no_overload, |order| Ok(Value::Bool(order.is_gt())))
}

pub(super) fn is_less<'a>(context: &mut Context<'_>, args: &[Value<'a>]) -> Answer<'a> {
    semver::order(context, args).map_or_else(no_overload, |order| Ok(Value::Bool(order.is_lt())))
}

pub(super) fn compare_to<'a>(context: &mut Context<'_>, args: &[Value<'a>]) -> Answer<'a> {
    semver::order(context, args).map_or_else(no_overload, |order| Ok(Value::Int(order as i64)))
}
