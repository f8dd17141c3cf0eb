//! The language's own functions.

use crate::EvalError;
use crate::functions::{Context, Library, Run};
use crate::libraries::regex::with_pattern;
use crate::libraries::{Answer, failed, no_overload};
use crate::value::{
    BadTimestamp, Duration, Key, List, Opaque, Timestamp, Value, compare, equal, go_float,
    parse_duration, parse_timestamp,
};

/// Declarations and code.
pub(crate) const LIBRARY: Library = Library {
    declarations: include_str!("standard.decl"),
    functions: &[
        // Operators the planner knows by name; only their declarations count.
        ("_?_:_", |_, _| no_overload()),
        ("_&&_", |_, _| no_overload()),
        ("_||_", |_, _| no_overload()),
        ("@not_strictly_false", |_, _| no_overload()),
        ("_==_", |_, _| no_overload()),
        ("_!=_", |_, _| no_overload()),
        ("_[_]", |_, _| no_overload()),
        ("!_", |_, args| match args {
            [Value::Bool(value)] => Ok(Value::Bool(!value)),
            _ => no_overload(),
        }),
        ("-_", |_, args| match args {
            [Value::Int(value)] => value.checked_neg().map(Value::Int).ok_or_else(overflow),
            [Value::Double(value)] => Ok(Value::Double(-value)),
            _ => no_overload(),
        }),
        ("_+_", ADD),
        ("_-_", subtract),
        ("_*_", |_, args| match args {
            [Value::Int(a), Value::Int(b)] => {
                a.checked_mul(*b).map(Value::Int).ok_or_else(overflow)
            }
            [Value::Uint(a), Value::Uint(b)] => a
                .checked_mul(*b)
                .map(Value::Uint)
                .ok_or_else(unsigned_overflow),
            [Value::Double(a), Value::Double(b)] => Ok(Value::Double(a * b)),
            _ => no_overload(),
        }),
        ("_/_", |_, args| match args {
            [Value::Int(_), Value::Int(0)] | [Value::Uint(_), Value::Uint(0)] => {
                Err(failed("division by zero"))
            }
            [Value::Int(a), Value::Int(b)] => {
                a.checked_div(*b).map(Value::Int).ok_or_else(overflow)
            }
            [Value::Uint(a), Value::Uint(b)] => Ok(Value::Uint(a / b)),
            [Value::Double(a), Value::Double(b)] => Ok(Value::Double(a / b)),
            _ => no_overload(),
        }),
        ("_%_", |_, args| match args {
            [Value::Int(_), Value::Int(0)] | [Value::Uint(_), Value::Uint(0)] => {
                Err(failed("modulus by zero"))
            }
            [Value::Int(a), Value::Int(b)] => {
                a.checked_rem(*b).map(Value::Int).ok_or_else(overflow)
            }
            [Value::Uint(a), Value::Uint(b)] => Ok(Value::Uint(a % b)),
            _ => no_overload(),
        }),
        ("_<_", |_, args| ordered(args, std::cmp::Ordering::is_lt)),
        ("_<=_", |_, args| ordered(args, std::cmp::Ordering::is_le)),
        ("_>_", |_, args| ordered(args, std::cmp::Ordering::is_gt)),
        ("_>=_", |_, args| ordered(args, std::cmp::Ordering::is_ge)),
        ("@in", contained),
        ("size", |_, args| match args {
            [Value::String(_) | Value::Bytes(_) | Value::List(_) | Value::Map(_)] => {
                Ok(Value::Int(args[0].cost_size() as i64))
            }
            _ => no_overload(),
        }),
        ("type", |_, args| match args {
            [value] => Ok(Value::Type(value.type_name().into())),
            _ => no_overload(),
        }),
        ("dyn", |_, args| match args {
            [value] => Ok(value.clone()),
            _ => no_overload(),
        }),
        ("bool", |_, args| match args {
            [Value::Bool(value)] => Ok(Value::Bool(*value)),
            [Value::String(text)] => match &**text {
                "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(Value::Bool(true)),
                "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(Value::Bool(false)),
                _ => conversion("string", "bool"),
            },
            _ => no_overload(),
        }),
        ("bytes", |_, args| match args {
            [Value::Bytes(bytes)] => Ok(Value::Bytes(bytes.clone())),
            [Value::String(text)] => Ok(Value::Bytes(text.as_bytes().into())),
            _ => no_overload(),
        }),
        ("double", |_, args| match args {
            [Value::Double(value)] => Ok(Value::Double(*value)),
            [Value::Int(value)] => Ok(Value::Double(*value as f64)),
            [Value::Uint(value)] => Ok(Value::Double(*value as f64)),
            [Value::String(text)] => go_parse_float(text)
                .map_or_else(|| conversion("string", "double"), |v| Ok(Value::Double(v))),
            _ => no_overload(),
        }),
        ("int", to_int),
        ("uint", to_uint),
        ("string", to_string),
        ("duration", |_, args| match args {
            [Value::Duration(value)] => Ok(Value::Duration(*value)),
            [Value::String(text)] => parse_duration(text, false).map_or_else(
                || conversion("string", "google.protobuf.Duration"),
                |value| Ok(Value::Duration(value)),
            ),
            _ => no_overload(),
        }),
        ("timestamp", |_, args| match args {
            [Value::Timestamp(value)] => Ok(Value::Timestamp(*value)),
            [Value::Int(seconds)] => Timestamp::from_seconds(*seconds)
                .map(Value::Timestamp)
                .ok_or_else(time_overflow),
            [Value::String(text)] => match parse_timestamp(text) {
                Ok(value) => Ok(Value::Timestamp(value)),
                Err(BadTimestamp::Range) => Err(time_overflow()),
                Err(BadTimestamp::Syntax) => conversion("string", "google.protobuf.Timestamp"),
            },
            _ => no_overload(),
        }),
        ("contains", |_, args| {
            texts(args, |text, part| text.contains(part))
        }),
        ("startsWith", |_, args| {
            texts(args, |text, part| text.starts_with(part))
        }),
        ("endsWith", |_, args| {
            texts(args, |text, part| text.ends_with(part))
        }),
        ("matches", |context, args| match args {
            [Value::String(text), Value::String(pattern)] => {
                with_pattern(context, pattern, |pattern| {
                    Ok(Value::Bool(pattern.is_match(text)))
                })
            }
            _ => no_overload(),
        }),
        ("getFullYear", |_, args| {
            calendar(args, |at| i64::from(at.year()))
        }),
        ("getMonth", |_, args| {
            calendar(args, |at| i64::from(at.month()) - 1)
        }),
        ("getDayOfYear", |_, args| {
            calendar(args, |at| i64::from(at.date().day_of_year()) - 1)
        }),
        ("getDayOfMonth", |_, args| {
            calendar(args, |at| i64::from(at.day()) - 1)
        }),
        ("getDate", |_, args| {
            calendar(args, |at| i64::from(at.day()))
        }),
        ("getDayOfWeek", |_, args| {
            calendar(args, |at| i64::from(at.weekday().to_sunday_zero_offset()))
        }),
        ("getHours", |_, args| match args {
            [Value::Duration(span)] => Ok(Value::Int(span.0 / 3_600_000_000_000)),
            _ => calendar(args, |at| i64::from(at.hour())),
        }),
        ("getMinutes", |_, args| match args {
            [Value::Duration(span)] => Ok(Value::Int(span.0 / 60_000_000_000)),
            _ => calendar(args, |at| i64::from(at.minute())),
        }),
        ("getSeconds", |_, args| match args {
            [Value::Duration(span)] => Ok(Value::Int(span.0 / 1_000_000_000)),
            _ => calendar(args, |at| i64::from(at.second())),
        }),
        ("getMilliseconds", |_, args| match args {
            [Value::Duration(span)] => Ok(Value::Int(span.0 / 1_000_000)),
            _ => calendar(args, |at| i64::from(at.millisecond())),
        }),
    ],
};

/// The code of `+`, by which the planner knows additions to a comprehension's list.
pub(crate) const ADD: Run = add;

/// The code of `string(..)`, which knows addresses and networks too.
pub(crate) const TO_STRING: Run = to_string;

/// The longest text or bytes an expression may build.
pub(crate) const MAX_TEXT: usize = 32 << 20;

fn overflow() -> EvalError {
    failed("integer overflow")
}

fn unsigned_overflow() -> EvalError {
    failed("unsigned integer overflow")
}

fn time_overflow() -> EvalError {
    failed("timestamp overflow")
}

fn conversion<'a>(from: &str, to: &str) -> Answer<'a> {
    Err(failed(format!(
        "type conversion error from '{from}' to '{to}'"
    )))
}

fn add<'a>(context: &mut Context<'_>, args: &[Value<'a>]) -> Answer<'a> {
    Ok(match args {
        [Value::Int(a), Value::Int(b)] => Value::Int(a.checked_add(*b).ok_or_else(overflow)?),
        [Value::Uint(a), Value::Uint(b)] => {
            Value::Uint(a.checked_add(*b).ok_or_else(unsigned_overflow)?)
        }
        [Value::Double(a), Value::Double(b)] => Value::Double(a + b),
        [Value::String(a), Value::String(b)] => {
            if a.len() + b.len() > MAX_TEXT {
                return Err(failed("text too large"));
            }
            let mut text = String::with_capacity(a.len() + b.len());
            text.push_str(a);
            text.push_str(b);
            Value::owned_text(text)
        }
        [Value::Bytes(a), Value::Bytes(b)] => {
            if a.len() + b.len() > MAX_TEXT {
                return Err(failed("bytes too large"));
            }
            Value::Bytes([&**a, &**b].concat().into())
        }
        [Value::List(a), Value::List(b)] => Value::List(a.clone().concat(b, context.work)?),
        [Value::Duration(a), Value::Duration(b)] => Value::Duration(Duration(
            a.0.checked_add(b.0)
                .ok_or_else(|| failed("duration overflow"))?,
        )),
        [Value::Timestamp(at), Value::Duration(span)]
        | [Value::Duration(span), Value::Timestamp(at)] => {
            Value::Timestamp(at.plus(i128::from(span.0)).ok_or_else(time_overflow)?)
        }
        _ => return no_overload(),
    })
}

fn subtract<'a>(_: &mut Context<'_>, args: &[Value<'a>]) -> Answer<'a> {
    Ok(match args {
        [Value::Int(a), Value::Int(b)] => Value::Int(a.checked_sub(*b).ok_or_else(overflow)?),
        [Value::Uint(a), Value::Uint(b)] => {
            Value::Uint(a.checked_sub(*b).ok_or_else(unsigned_overflow)?)
        }
        [Value::Double(a), Value::Double(b)] => Value::Double(a - b),
        [Value::Duration(a), Value::Duration(b)] => Value::Duration(Duration(
            a.0.checked_sub(b.0)
                .ok_or_else(|| failed("duration overflow"))?,
        )),
        [Value::Timestamp(at), Value::Duration(span)] => {
            Value::Timestamp(at.plus(-i128::from(span.0)).ok_or_else(time_overflow)?)
        }
        [Value::Timestamp(a), Value::Timestamp(b)] => {
            Value::Duration(a.minus(*b).ok_or_else(|| failed("duration overflow"))?)
        }
        _ => return no_overload(),
    })
}

fn ordered<'a>(args: &[Value<'a>], wanted: fn(std::cmp::Ordering) -> bool) -> Answer<'a> {
    match args {
        [Value::Opaque(_), _] => no_overload(),
        [a, b] => Ok(Value::Bool(wanted(compare(a, b)?))),
        _ => no_overload(),
    }
}

fn contained<'a>(context: &mut Context<'_>, args: &[Value<'a>]) -> Answer<'a> {
    match args {
        [value, Value::List(list)] => within(context, list, value),
        [key, Value::Map(map)] => match key {
            Value::Bool(_)
            | Value::Int(_)
            | Value::Uint(_)
            | Value::Double(_)
            | Value::String(_) => Ok(Value::Bool(map.find(key)?.is_some())),
            _ => Ok(Value::Bool(false)),
        },
        [Value::String(name), Value::Object(object)] => {
            Ok(Value::Bool(object.fields.contains_key(&**name)))
        }
        _ => no_overload(),
    }
}

/// Whether a list has an equal item; an item that cannot be compared is an error only if no other is equal.
fn within<'a>(context: &mut Context<'_>, list: &List<'a>, value: &Value<'a>) -> Answer<'a> {
    context.work.spend(list.len())?;
    let key = Key::of(value);
    let mut failure = None;
    for item in list.iter() {
        let same = item.and_then(|item| match (&key, &item) {
            // The common case without going through general equality.
            (Some(Key::String(a)), Value::String(b)) => Ok(a == b),
            _ => equal(&item, value, context.work),
        });
        match same {
            Ok(true) => return Ok(Value::Bool(true)),
            Ok(false) => {}
            Err(error) if error.is_cost() => return Err(error),
            Err(error) => failure = Some(error),
        }
    }
    failure.map_or(Ok(Value::Bool(false)), Err)
}

fn to_int<'a>(_: &mut Context<'_>, args: &[Value<'a>]) -> Answer<'a> {
    Ok(Value::Int(match args {
        [Value::Int(value)] => *value,
        [Value::Uint(value)] => i64::try_from(*value).map_err(|_| overflow())?,
        [Value::Double(value)] => {
            if !value.is_finite() || *value <= -(2f64.powi(63)) || *value >= 2f64.powi(63) {
                return Err(overflow());
            }
            *value as i64
        }
        [Value::String(text)] => {
            return integer(text)
                .map_or_else(|| conversion("string", "int"), |v| Ok(Value::Int(v)));
        }
        [Value::Timestamp(at)] => at.seconds(),
        [Value::Duration(span)] => span.0,
        _ => return no_overload(),
    }))
}

fn integer(text: &str) -> Option<i64> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    (!digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()))
        .then(|| text.parse().ok())?
}

fn to_uint<'a>(_: &mut Context<'_>, args: &[Value<'a>]) -> Answer<'a> {
    Ok(Value::Uint(match args {
        [Value::Uint(value)] => *value,
        [Value::Int(value)] => u64::try_from(*value).map_err(|_| unsigned_overflow())?,
        [Value::Double(value)] => {
            if !value.is_finite() || *value < 0.0 || *value >= 2f64.powi(64) {
                return Err(unsigned_overflow());
            }
            *value as u64
        }
        [Value::String(text)] => {
            let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            let parsed = if plain { text.parse().ok() } else { None };
            return parsed.map_or_else(
                || conversion("string", "uint"),
                |value| Ok(Value::Uint(value)),
            );
        }
        _ => return no_overload(),
    }))
}

fn to_string<'a>(_: &mut Context<'_>, args: &[Value<'a>]) -> Answer<'a> {
    Ok(match args {
        [Value::String(text)] => Value::String(text.clone()),
        [Value::Bool(value)] => Value::owned_text(value.to_string()),
        [Value::Int(value)] => Value::owned_text(value.to_string()),
        [Value::Uint(value)] => Value::owned_text(value.to_string()),
        [Value::Double(value)] => Value::owned_text(go_float(*value)),
        [Value::Bytes(bytes)] => match std::str::from_utf8(bytes) {
            Ok(text) => Value::owned_text(text),
            Err(_) => return Err(failed("invalid UTF-8 in bytes, cannot convert to string")),
        },
        [Value::Timestamp(at)] => Value::owned_text(at.to_string()),
        [Value::Duration(span)] => Value::owned_text(span.to_string()),
        [Value::Opaque(Opaque::Ip(ip))] => Value::owned_text(ip.to_string()),
        [Value::Opaque(Opaque::Cidr(cidr))] => Value::owned_text(cidr.to_string()),
        _ => return no_overload(),
    })
}

/// A number as Go reads floats: without blanks, with the usual names of the special ones.
fn go_parse_float(text: &str) -> Option<f64> {
    let bare = text.strip_prefix(['+', '-']).unwrap_or(text);
    let named = matches!(
        bare.to_ascii_lowercase().as_str(),
        "inf" | "infinity" | "nan"
    );
    let numeric = bare
        .bytes()
        .all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'E' | b'+' | b'-'));
    if !named && !numeric {
        return None;
    }
    let value: f64 = text.parse().ok()?;
    // What is too large for a double is an error, not infinity.
    (named || value.is_finite()).then_some(value)
}

fn texts<'a>(args: &[Value<'a>], test: fn(&str, &str) -> bool) -> Answer<'a> {
    match args {
        [Value::String(text), Value::String(part)] => Ok(Value::Bool(test(text, part))),
        _ => no_overload(),
    }
}

fn calendar<'a>(args: &[Value<'a>], part: fn(&jiff::civil::DateTime) -> i64) -> Answer<'a> {
    let at = match args {
        [Value::Timestamp(at)] => at.local(None),
        [Value::Timestamp(at), Value::String(zone)] => at.local(Some(zone)),
        _ => return no_overload(),
    };
    at.map(|at| Value::Int(part(&at))).map_err(failed)
}
