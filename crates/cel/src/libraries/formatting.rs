//! `"%s is %d".format([..])`, as the version of the library Kubernetes uses prints: numbers of `%f` and `%e` in the
//! American way.

use crate::EvalError;
use crate::functions::Context;
use crate::libraries::standard::MAX_TEXT;
use crate::libraries::{Answer, failed};
use crate::value::{Key, List, Map, Value, go_float};

/// The most digits after the point.
const MAX_PRECISION: usize = 1000;

/// Formats a text with the items of a list.
pub(crate) fn format<'a>(context: &mut Context<'_>, format: &str, args: &List<'a>) -> Answer<'a> {
    let mut out = String::with_capacity(format.len());
    let mut rest = format;
    let mut next = 0;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('%') {
            out.push('%');
            rest = after;
            continue;
        }
        let arg = args
            .get(next)
            .ok_or_else(|| failed(format!("index {next} out of range")))??;
        next += 1;
        let (clause, precision, length) = clause(rest)?;
        rest = &rest[length..];
        let text = one(context, clause, precision, &arg).map_err(|error| match error {
            EvalError::Failed(message) => failed(format!("error during formatting: {message}")),
            other => other,
        })?;
        out.push_str(&text);
        context.work.spend(1 + text.len() / 64)?;
        if out.len() > MAX_TEXT {
            return Err(EvalError::CallLimit);
        }
    }
    out.push_str(rest);
    Ok(Value::owned_text(out))
}

/// The letter of a clause, its precision and how long it is.
fn clause(text: &str) -> Result<(char, Option<usize>, usize), EvalError> {
    let wrong = |why: &str| failed(format!("could not parse formatting clause: {why}"));
    let mut precision = None;
    let mut at = 0;
    if let Some(after) = text.strip_prefix('.') {
        let digits = after.bytes().take_while(u8::is_ascii_digit).count();
        if digits == after.len() {
            return Err(wrong(
                "error while parsing precision: could not find end of precision specifier",
            ));
        }
        let number = after[..digits]
            .parse::<usize>()
            .ok()
            .filter(|number| *number <= MAX_PRECISION);
        precision = Some(number.ok_or_else(|| {
            wrong(&format!(
                "error while parsing precision: error while converting precision to integer: strconv.Atoi: parsing \"{}\": invalid syntax",
                &after[..digits]
            ))
        })?);
        at = 1 + digits;
    }
    match text[at..].chars().next() {
        Some(c @ ('s' | 'd' | 'f' | 'e' | 'b' | 'x' | 'X' | 'o')) => Ok((c, precision, at + 1)),
        Some(c) => Err(wrong(&format!("unrecognized formatting clause \"{c}\""))),
        None => Err(failed("unexpected end of string")),
    }
}

fn one(
    context: &mut Context<'_>,
    clause: char,
    precision: Option<usize>,
    arg: &Value<'_>,
) -> Result<String, EvalError> {
    let refused = |allowed: &str, what: &str| {
        Err(failed(format!(
            "{what} clause can only be used on {allowed}, was given {}",
            arg.type_name()
        )))
    };
    match clause {
        's' => text(context, arg),
        'd' => match arg {
            Value::Int(value) => Ok(value.to_string()),
            Value::Uint(value) => Ok(value.to_string()),
            _ => refused("integers", "decimal"),
        },
        'f' | 'e' => {
            let value = match arg {
                Value::Double(value) => *value,
                Value::String(text) if &**text == "NaN" => f64::NAN,
                Value::String(text) if &**text == "Infinity" => f64::INFINITY,
                Value::String(text) if &**text == "-Infinity" => f64::NEG_INFINITY,
                _ if clause == 'f' => return refused("doubles", "fixed-point"),
                _ => return refused("doubles", "scientific"),
            };
            Ok(american(value, precision.unwrap_or(6), clause == 'e'))
        }
        'b' => match arg {
            Value::Int(value) => Ok(signed(*value, |value| format!("{value:b}"))),
            Value::Uint(value) => Ok(format!("{value:b}")),
            Value::Bool(value) => Ok(u8::from(*value).to_string()),
            _ => refused("integers and bools", "only binary"),
        },
        'o' => match arg {
            Value::Int(value) => Ok(signed(*value, |value| format!("{value:o}"))),
            Value::Uint(value) => Ok(format!("{value:o}")),
            _ => refused("integers", "octal"),
        },
        _ => {
            let hex = |bytes: &[u8]| {
                bytes
                    .iter()
                    .map(|byte| format!("{byte:02x}"))
                    .collect::<String>()
            };
            let text = match arg {
                Value::String(text) => hex(text.as_bytes()),
                Value::Bytes(bytes) => hex(bytes),
                Value::Int(value) => signed(*value, |value| format!("{value:x}")),
                Value::Uint(value) => format!("{value:x}"),
                _ => return refused("integers, byte buffers, and strings", "only hex"),
            };
            Ok(if clause == 'X' {
                text.to_uppercase()
            } else {
                text
            })
        }
    }
}

fn signed(value: i64, show: impl Fn(u64) -> String) -> String {
    format!(
        "{}{}",
        if value < 0 { "-" } else { "" },
        show(value.unsigned_abs())
    )
}

/// A number with thousands separated, or with its exponent raised.
fn american(value: f64, precision: usize, scientific: bool) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "∞" } else { "-∞" }.to_owned();
    }
    if scientific {
        let text = format!("{value:.precision$e}");
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let number: i32 = exponent.parse().unwrap_or(0);
        let digits: String = format!("{:02}", number.abs())
            .chars()
            .map(|c| {
                ['⁰', '¹', '²', '³', '⁴', '⁵', '⁶', '⁷', '⁸', '⁹']
                    [c.to_digit(10).unwrap_or(0) as usize]
            })
            .collect();
        let sign = if number < 0 { "⁻" } else { "" };
        return format!("{mantissa}×10{sign}{digits}");
    }
    let text = format!("{value:.precision$}");
    let (sign, rest) = text
        .strip_prefix('-')
        .map_or(("", text.as_str()), |rest| ("-", rest));
    let (whole, fraction) = rest
        .split_once('.')
        .map_or((rest, None), |(whole, fraction)| (whole, Some(fraction)));
    let mut out = sign.to_owned();
    for (index, c) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    if let Some(fraction) = fraction {
        out.push('.');
        out.push_str(fraction);
    }
    out
}

/// A value as `%s` prints it.
fn text(context: &mut Context<'_>, value: &Value<'_>) -> Result<String, EvalError> {
    Ok(match value {
        Value::Null => "null".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Int(value) => value.to_string(),
        Value::Uint(value) => value.to_string(),
        Value::Double(value) => go_float(*value),
        Value::String(text) => (**text).to_owned(),
        Value::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Value::Timestamp(value) => value.to_string(),
        Value::Duration(value) => value.to_string(),
        Value::Type(name) => (**name).to_owned(),
        Value::List(_) | Value::Map(_) => nested(context, value)?,
        other => {
            return Err(failed(format!(
                "string clause can only be used on strings, bools, bytes, ints, doubles, maps, lists, types, durations, and timestamps, was given {}",
                other.type_name()
            )));
        }
    })
}

/// A value inside a list or map.
fn nested(context: &mut Context<'_>, value: &Value<'_>) -> Result<String, EvalError> {
    context.work.spend(1)?;
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    Ok(match value {
        Value::String(text) => {
            context.work.spend(text.len() / 16)?;
            quoted(text)
        }
        Value::Bytes(bytes) => format!("b{}", quoted(&String::from_utf8_lossy(bytes))),
        Value::Double(value) if value.is_finite() => format!("{value:.6}"),
        Value::Double(value) => quoted(&go_float(*value)),
        Value::Timestamp(value) => format!("timestamp(\"{value}\")"),
        Value::Duration(value) => format!("duration(\"{value}\")"),
        Value::List(list) => {
            let mut parts = Vec::with_capacity(list.len());
            for item in list.iter() {
                parts.push(nested(context, &item?)?);
            }
            bounded(context, format!("[{}]", parts.join(", ")))?
        }
        Value::Map(map) => map_text(context, map)?,
        other => text(context, other)?,
    })
}

fn bounded(context: &mut Context<'_>, text: String) -> Result<String, EvalError> {
    context.work.spend(text.len() / 16)?;
    if text.len() > MAX_TEXT {
        Err(EvalError::CallLimit)
    } else {
        Ok(text)
    }
}

fn map_text(context: &mut Context<'_>, map: &Map<'_>) -> Result<String, EvalError> {
    let mut parts = Vec::with_capacity(map.len());
    for entry in map.entries() {
        let (key, value) = entry?;
        if Key::of(&key).is_none() {
            return Err(failed(format!(
                "no formatting function for map key of type {}",
                key.type_name()
            )));
        }
        parts.push((nested(context, &key)?, nested(context, &value)?));
    }
    parts.sort_by(|a, b| a.0.cmp(&b.0));
    let parts: Vec<String> = parts
        .into_iter()
        .map(|(key, value)| format!("{key}:{value}"))
        .collect();
    bounded(context, format!("{{{}}}", parts.join(", ")))
}
