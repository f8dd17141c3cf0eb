//! Filters over numbers.

use consort_jinja::{Arguments, Environment, Error, Result, State, Value};
use num_bigint::BigInt;
use num_traits::{FromPrimitive as _, ToPrimitive as _};

use super::{add_all, flag, given, needed};
use crate::template::context::{lazy_name, refused};

/// The letters of multiples of bytes, the largest first, with the powers of two they stand for.
const SIZES: [(char, u32); 9] = [
    ('Y', 80),
    ('Z', 70),
    ('E', 60),
    ('P', 50),
    ('T', 40),
    ('G', 30),
    ('M', 20),
    ('K', 10),
    ('B', 0),
];

pub(super) fn add(environment: &mut Environment) {
    add_all(
        environment,
        &[
            ("log", log),
            ("pow", |_, value, arguments| {
                let [y] = arguments.bind("pow", ["y"])?;
                let y = needed("pow", "y", y)?;
                let (Some(x), Some(y)) = (real(&value), real(&y)) else {
                    let wrong = if real(&value).is_none() { &value } else { &y };
                    return because(
                        "pow() can only be used on numbers",
                        &format!("must be real number, not {}", wrong.type_name()),
                    );
                };
                if x == 0.0 && y < 0.0 {
                    return refused("math domain error");
                }
                let power = x.powf(y);
                if power.is_infinite() && x.is_finite() && y.is_finite() {
                    return refused("math range error");
                }
                Ok(Value::Float(power))
            }),
            ("root", |_, value, arguments| {
                let [base] = arguments.bind("root", ["base"])?;
                let base = base.unwrap_or(Value::Int(2));
                let only = "root() can only be used on numbers";
                let (Some(x), Some(base)) = (real(&value), real(&base)) else {
                    let wrong = if real(&value).is_none() {
                        &value
                    } else {
                        &base
                    };
                    return because(
                        only,
                        &format!("must be real number, not {}", wrong.type_name()),
                    );
                };
                if x < 0.0 {
                    return because(only, "math domain error");
                }
                #[allow(clippy::float_cmp)]
                Ok(Value::Float(if base == 2.0 {
                    x.sqrt()
                } else {
                    x.powf(1.0 / base)
                }))
            }),
            ("human_readable", human_readable),
            ("human_to_bytes", human_to_bytes),
        ],
    );
}

fn because<T>(message: &str, cause: &str) -> Result<T> {
    Err(Error::caused(message, Error::failed(cause)))
}

fn real(value: &Value) -> Option<f64> {
    match value {
        Value::Int(number) => Some(*number as f64),
        Value::Bool(value) => Some(f64::from(u8::from(*value))),
        Value::Big(number) => number.to_f64(),
        Value::Float(number) => Some(*number),
        _ => None,
    }
}

fn log(_: &mut State<'_, '_>, value: Value, arguments: &Arguments) -> Result<Value> {
    let [base] = arguments.bind("log", ["base"])?;
    let base = base.unwrap_or(Value::Float(std::f64::consts::E));
    let (Some(x), Some(base)) = (real(&value), real(&base)) else {
        return because(
            "log() can only be used on numbers",
            &format!("must be real number, not {}", value.type_name()),
        );
    };
    if x <= 0.0 || base <= 0.0 {
        return refused("math domain error");
    }
    #[allow(clippy::float_cmp)]
    Ok(Value::Float(if base == 10.0 {
        x.log10()
    } else {
        x.ln() / base.ln()
    }))
}

fn human_readable(_: &mut State<'_, '_>, value: Value, arguments: &Arguments) -> Result<Value> {
    let [bits, unit] = arguments.bind("human_readable", ["isbits", "unit"])?;
    let base = if flag(bits)? { "bits" } else { "Bytes" };
    let unit = given(unit).map(|unit| unit.text()).transpose()?;
    let Some(size) = real(&value) else {
        return because(
            "human_readable() failed on bad input",
            &format!(
                "'>=' not supported between instances of '{}' and 'int'",
                lazy_name(&value)
            ),
        );
    };
    let (letter, power) = SIZES
        .into_iter()
        .find(|(letter, power)| match &unit {
            None => size >= 2_f64.powi(*power as i32),
            Some(unit) => unit.to_uppercase() == letter.to_string(),
        })
        .unwrap_or(('B', 0));
    let limit = 2_f64.powi(power as i32);
    let suffix = if power == 0 {
        base.to_owned()
    } else {
        format!("{letter}{}", &base[..1])
    };
    Ok(Value::from(format!("{:.2} {suffix}", size / limit)))
}

fn human_to_bytes(_: &mut State<'_, '_>, value: Value, arguments: &Arguments) -> Result<Value> {
    let [default, bits] = arguments.bind("human_to_bytes", ["default_unit", "isbits"])?;
    let default = given(default).map(|unit| unit.text()).transpose()?;
    let written = value.text()?;
    match to_bytes(&written, default.as_deref(), flag(bits)?) {
        Ok(bytes) => Ok(Value::integer(bytes)),
        Err(cause) => because("human_to_bytes() can't interpret the input", &cause),
    }
}

/// What a size for people stands for.
pub(in crate::template) fn to_bytes(
    written: &str,
    default: Option<&str>,
    bits: bool,
) -> Result<BigInt, String> {
    let uninterpretable =
        || format!("human_to_bytes() can't interpret following string: {written}");
    let text = written.trim_end();
    let digits = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim_start();
    let shaped = number.matches('.').count() <= 1
        && number.ends_with(|c: char| c.is_ascii_digit())
        && unit.bytes().all(|byte| byte.is_ascii_alphabetic());
    if !shaped {
        return Err(uninterpretable());
    }
    let number: f64 = number.parse().map_err(|_| uninterpretable())?;
    let whole =
        |number: f64| BigInt::from_f64(number.round_ties_even()).ok_or_else(uninterpretable);
    let unit = if unit.is_empty() {
        default.unwrap_or("")
    } else {
        unit
    };
    let Some(first) = unit.chars().next() else {
        return whole(number);
    };
    let key = first.to_ascii_uppercase();
    let Some((_, power)) = SIZES.into_iter().find(|(letter, _)| *letter == key) else {
        let letters: Vec<String> = SIZES.iter().map(|(letter, _)| letter.to_string()).collect();
        return Err(format!(
            "human_to_bytes() failed to convert {written} (unit = {unit}). The suffix must be one of {}",
            letters.join(", ")
        ));
    };
    if unit.len() > 1 {
        let prefix = match key {
            'K' => "kilo",
            'M' => "mega",
            'G' => "giga",
            'T' => "tera",
            'P' => "peta",
            'E' => "exa",
            'Z' => "zeta",
            'Y' => "yotta",
            _ => "",
        };
        let (class, name) = if bits { ("b", "bit") } else { ("B", "byte") };
        let short = if key == 'B' {
            class.to_owned()
        } else {
            format!("{key}{class}")
        };
        if unit.to_lowercase() != format!("{prefix}{name}") && unit != short {
            let expected = if key == 'B' {
                format!("expect {class} or {name}")
            } else {
                format!("expect {key}{class} or {key}")
            };
            return Err(format!(
                "human_to_bytes() failed to convert {written}. Value is not a valid string ({expected})"
            ));
        }
    }
    whole(number * 2_f64.powi(power as i32))
}
