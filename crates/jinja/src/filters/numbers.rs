//! Filters over numbers.

use num_bigint::BigInt;

use crate::arguments::{Arguments, integer};
use crate::environment::{Environment, Takes};
use crate::error::{Error, Result};
use crate::eval::State;
use crate::value::{Number, Value};

type Run = fn(&mut State<'_, '_>, Value, &Arguments) -> Result<Value>;

pub(crate) fn add(environment: &mut Environment) {
    let mut filter = |name: &str, run: Run| environment.add_filter(name, Takes::Defined, run);
    filter("abs", |_, value, _| match Number::of(&value) {
        Some(Number::Float(number)) => Ok(Value::Float(number.abs())),
        Some(number) => Ok(Value::integer(
            number
                .big()
                .map(|big| big.magnitude().clone().into())
                .unwrap_or_default(),
        )),
        None => Err(Error::failed(format!(
            "bad operand type for abs(): '{}'",
            value.type_name()
        ))),
    });
    filter("int", |_, value, arguments| {
        let [default, base] = arguments.bind("int", ["default", "base"])?;
        let default = default.unwrap_or(Value::Int(0));
        let base = base.map_or(Ok(10), |base| integer(&base))?;
        Ok(to_int(&value, base).unwrap_or(default))
    });
    filter("float", |_, value, arguments| {
        let [default] = arguments.bind("float", ["default"])?;
        Ok(to_float(&value).map_or(default.unwrap_or(Value::Float(0.0)), Value::Float))
    });
    filter("round", |_, value, arguments| {
        let [precision, method] = arguments.bind("round", ["precision", "method"])?;
        let precision = precision.map_or(Ok(0), |precision| integer(&precision))?;
        // Beyond these bounds nothing changes any more.
        let precision = precision.clamp(-400, 400) as i32;
        let method = method.map_or(Ok("common".into()), |method| {
            method.text().map(|text| text.to_string())
        })?;
        let Some(number) = Number::of(&value) else {
            return Err(Error::failed(format!(
                "type {} doesn't define __round__ method",
                value.type_name()
            )));
        };
        match method.as_str() {
            "common" => {
                if !number.is_float() && precision >= 0 {
                    return Ok(value);
                }
                Ok(Value::Float(round_half_even(number.float(), precision)))
            }
            "ceil" | "floor" => {
                let scale = 10_f64.powi(precision);
                let scaled = number.float() * scale;
                let rounded = if method == "ceil" {
                    scaled.ceil()
                } else {
                    scaled.floor()
                };
                Ok(Value::Float(rounded / scale))
            }
            _ => Err(Error::failed("method must be common, ceil or floor")),
        }
    });
    filter("filesizeformat", |_, value, arguments| {
        let [binary] = arguments.bind("filesizeformat", ["binary"])?;
        let binary = binary.map_or(Ok(false), |binary| binary.truth())?;
        let Some(bytes) = to_float(&value) else {
            return Err(Error::failed("could not convert string to float"));
        };
        let (base, units): (f64, [&str; 8]) = if binary {
            (
                1024.0,
                ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB"],
            )
        } else {
            (1000.0, ["kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB"])
        };
        #[allow(clippy::float_cmp)]
        if bytes == 1.0 {
            return Ok(Value::from("1 Byte"));
        }
        if bytes < base {
            return Ok(Value::from(format!("{} Bytes", bytes as i64)));
        }
        let mut unit = base;
        for (at, name) in units.iter().enumerate() {
            unit *= base;
            if bytes < unit || at + 1 == units.len() {
                return Ok(Value::from(format!("{:.1} {name}", base * bytes / unit)));
            }
        }
        Ok(value)
    });
}

/// Rounds to so many decimals, halves to the even digit, as `round()` does: by the exact value.
fn round_half_even(value: f64, precision: i32) -> f64 {
    if !value.is_finite() {
        return value;
    }
    if precision >= 0 {
        // Formatting rounds the exact value, halves to even.
        let text = format!("{value:.*}", precision.min(300) as usize);
        text.parse().unwrap_or(value)
    } else {
        let scale = 10_f64.powi(-precision);
        (value / scale).round_ties_even() * scale
    }
}

pub(crate) fn to_float(value: &Value) -> Option<f64> {
    match value {
        Value::Str(text) => {
            let text = text.trim().replace('_', "");
            match text.to_ascii_lowercase().as_str() {
                "inf" | "+inf" | "infinity" | "+infinity" => Some(f64::INFINITY),
                "-inf" | "-infinity" => Some(f64::NEG_INFINITY),
                "nan" | "+nan" | "-nan" => Some(f64::NAN),
                plain if plain.bytes().any(|byte| byte.is_ascii_digit()) => plain.parse().ok(),
                _ => None,
            }
        }
        value => Number::of(value).map(|number| number.float()),
    }
}

fn to_int(value: &Value, base: i64) -> Option<Value> {
    match value {
        Value::Str(text) => {
            let text = text.trim().replace('_', "");
            let (negative, digits) = match text.strip_prefix('-') {
                Some(digits) => (true, digits),
                None => (false, text.strip_prefix('+').unwrap_or(&text)),
            };
            let lower = digits.to_ascii_lowercase();
            let (digits, base) = match (base, lower.get(..2)) {
                (16 | 0, Some("0x")) => (&lower[2..], 16),
                (8 | 0, Some("0o")) => (&lower[2..], 8),
                (2 | 0, Some("0b")) => (&lower[2..], 2),
                (0, _) => (lower.as_str(), 10),
                (base, _) => (lower.as_str(), u32::try_from(base).ok()?),
            };
            if !(2..=36).contains(&base) {
                return None;
            }
            if let Some(parsed) = BigInt::parse_bytes(digits.as_bytes(), base) {
                return Some(Value::integer(if negative { -parsed } else { parsed }));
            }
            to_int(&Value::Float(to_float(value)?), 10)
        }
        Value::Float(number) => {
            if !number.is_finite() {
                return None;
            }
            num_traits::FromPrimitive::from_f64(number.trunc()).map(Value::integer)
        }
        Value::Bool(value) => Some(Value::Int(i64::from(*value))),
        Value::Int(_) | Value::Big(_) => Some(value.clone()),
        _ => None,
    }
}
