//! Numeric functions.

use num_bigint::BigInt;
use num_traits::Zero;

use super::Table;
use super::arguments::{Result, hidden, integer, number, parameter, plain, text};
use crate::evaluate::{CallError, Function};
use crate::number::Number;
use crate::text::quote;
use crate::types::Type;
use crate::value::Value;

pub(super) fn add(table: &mut Table) {
    let one = |f: fn(&Number) -> Number| {
        plain(Type::Number, &[("num", Type::Number)], move |args| {
            Ok(Value::number(f(&number(args, 0))))
        })
    };
    table.add("abs", one(Number::absolute));
    table.add("ceil", one(Number::ceil));
    table.add("floor", one(Number::floor));
    table.add(
        "signum",
        plain(Type::Number, &[("num", Type::Number)], |args| {
            Ok(Value::number(integer(args, 0)?.signum()))
        }),
    );
    let floats = |names: [&str; 2], f: fn(f64, f64) -> f64| {
        plain(
            Type::Number,
            &names.map(|name| (name, Type::Number)),
            move |args| float(f(number(args, 0).to_f64(), number(args, 1).to_f64())),
        )
    };
    table.add(
        "log",
        floats(["num", "base"], |a, b| logarithm(a) / logarithm(b)),
    );
    table.add("pow", floats(["num", "power"], power));
    table.add("max", extreme(|a, b| a > b));
    table.add("min", extreme(|a, b| a < b));
    table.add("parseint", parse_int());
}

fn float(value: f64) -> Result {
    if value.is_nan() {
        return Err(CallError::new("the result is not a number"));
    }
    Ok(Value::number(value))
}

fn extreme(better: fn(&Number, &Number) -> bool) -> Function {
    let numbers = parameter("numbers", Type::Number);
    Function::returning(Type::Number, Vec::new(), Some(numbers), move |args| {
        let mut best: Option<&Number> = None;
        for number in args.iter().filter_map(Value::as_number) {
            if best.is_none_or(|best| better(number, best)) {
                best = Some(number);
            }
        }
        best.cloned()
            .map(Value::number)
            .ok_or_else(|| CallError::new("must pass at least one number"))
    })
    .never_null()
}

/// The natural logarithm by the method of Sun's fdlibm, which Go uses too: its last bit differs from other libraries'.
fn logarithm(x: f64) -> f64 {
    const LN2_HIGH: f64 = 6.931_471_803_691_238e-1;
    const LN2_LOW: f64 = 1.908_214_929_270_587_7e-10;
    const L: [f64; 7] = [
        6.666_666_666_666_735e-1,
        3.999_999_999_940_942e-1,
        2.857_142_874_366_239e-1,
        2.222_219_843_214_978_4e-1,
        1.818_357_216_161_805e-1,
        1.531_383_769_920_937_3e-1,
        1.479_819_860_511_658_6e-1,
    ];
    if x.is_nan() || x < 0.0 {
        return f64::NAN;
    }
    if x == 0.0 {
        return f64::NEG_INFINITY;
    }
    if x.is_infinite() {
        return x;
    }
    let (mut fraction, mut exponent) = split(x);
    if fraction < std::f64::consts::FRAC_1_SQRT_2 {
        fraction *= 2.0;
        exponent -= 1;
    }
    let f = fraction - 1.0;
    let k = exponent as f64;
    let s = f / (2.0 + f);
    let s2 = s * s;
    let s4 = s2 * s2;
    let t1 = s2 * (L[0] + s4 * (L[2] + s4 * (L[4] + s4 * L[6])));
    let t2 = s4 * (L[1] + s4 * (L[3] + s4 * L[5]));
    let half = 0.5 * f * f;
    k * LN2_HIGH - ((half - (s * (half + (t1 + t2)) + k * LN2_LOW)) - f)
}

/// A fraction from a half to one, and the power of two that goes with it.
fn split(x: f64) -> (f64, i64) {
    if x == 0.0 || !x.is_finite() {
        return (x, 0);
    }
    let (x, offset) = if x.abs() < f64::MIN_POSITIVE {
        (x * 2f64.powi(54), -54)
    } else {
        (x, 0)
    };
    let bits = x.to_bits();
    let exponent = ((bits >> 52) & 0x7ff) as i64 - 1022;
    let fraction = f64::from_bits((bits & !(0x7ff << 52)) | (1022 << 52));
    (fraction, exponent + offset)
}

/// Repeated squaring of the fraction for the whole part of the exponent, as Go does it.
#[allow(clippy::float_cmp, reason = "these exponents have exact results")]
fn power(x: f64, y: f64) -> f64 {
    if y == 0.0 || x == 1.0 {
        return 1.0;
    }
    if y == 1.0 {
        return x;
    }
    if y == 0.5 {
        return x.sqrt();
    }
    if y == -0.5 {
        return 1.0 / x.sqrt();
    }
    let usual = x != 0.0 && x.is_finite() && y.is_finite() && y.abs() < 9.0e18;
    if !usual || (x < 0.0 && y.fract() != 0.0) {
        return x.powf(y);
    }
    let (mut whole, mut rest) = (y.abs().trunc(), y.abs().fract());
    let mut result = 1.0;
    let mut exponent: i64 = 0;
    if rest != 0.0 {
        if rest > 0.5 {
            rest -= 1.0;
            whole += 1.0;
        }
        result = (rest * logarithm(x)).exp();
    }
    let (mut fraction, mut fraction_exponent) = split(x);
    let mut left = whole as i64;
    while left != 0 {
        if fraction_exponent.abs() > 1 << 12 {
            exponent += fraction_exponent;
            break;
        }
        if left & 1 == 1 {
            result *= fraction;
            exponent += fraction_exponent;
        }
        fraction *= fraction;
        fraction_exponent <<= 1;
        if fraction < 0.5 {
            fraction += fraction;
            fraction_exponent -= 1;
        }
        left >>= 1;
    }
    if y < 0.0 {
        result = 1.0 / result;
        exponent = -exponent;
    }
    scale(result, exponent)
}

fn scale(mut value: f64, exponent: i64) -> f64 {
    let mut left = exponent.clamp(-5000, 5000);
    while left != 0 && value != 0.0 && value.is_finite() {
        let step = left.clamp(-1000, 1000);
        value *= 2f64.powi(step as i32);
        left -= step;
    }
    value
}

fn parse_int() -> Function {
    let parameters = vec![
        parameter("number", Type::Dynamic).marked(),
        parameter("base", Type::Number).marked(),
    ];
    let ty = |args: &[Value]| {
        if matches!(args[0].ty(), Type::String) {
            return Ok(Type::Number);
        }
        let name = args[0].ty().friendly_name();
        Err(CallError::argument(
            0,
            format!("first argument must be a string, not {name}"),
        ))
    };
    Function::new(parameters, None, ty, |args, _| {
        let marks = args[0].marks() | args[1].marks();
        let base = integer(args, 1).map_err(|e| CallError::argument(1, e.message))?;
        if !(2..=62).contains(&base) {
            return Err(CallError::argument(
                1,
                "base must be a whole number between 2 and 62 inclusive",
            ));
        }
        let Some(value) = digits(text(args, 0), base as u32) else {
            let what = hidden(args[0].marks()).map_or_else(|| quote(text(args, 0)), str::to_owned);
            let base = hidden(args[1].marks()).map_or_else(|| base.to_string(), str::to_owned);
            let message = format!("cannot parse {what} as a base {base} integer");
            return Err(CallError::argument(0, message));
        };
        Ok(Value::number(Number::from_big(&value)).with_marks(marks))
    })
    .never_null()
}

/// Digits and, from ten on, letters of either case; above base 36 capital letters come after the small ones.
fn digits(text: &str, base: u32) -> Option<BigInt> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    if digits.is_empty() || digits.len() > 100_000 {
        return None;
    }
    let mut value = BigInt::zero();
    for byte in digits.bytes() {
        let digit = match byte {
            b'0'..=b'9' => u32::from(byte - b'0'),
            b'a'..=b'z' => u32::from(byte - b'a') + 10,
            b'A'..=b'Z' if base > 36 => u32::from(byte - b'A') + 36,
            b'A'..=b'Z' => u32::from(byte - b'A') + 10,
            _ => return None,
        };
        if digit >= base {
            return None;
        }
        value = value * base + digit;
    }
    Some(if negative { -value } else { value })
}
