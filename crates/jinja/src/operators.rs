//! Operators by Python's rules.

use std::cmp::Ordering;
use std::sync::Arc;

use num_bigint::BigInt;
use num_traits::{Signed as _, ToPrimitive as _, Zero as _};

use crate::ast::{Binary, Comparison};
use crate::error::{Error, Result};
use crate::format;
use crate::value::{Key, Number, Value};

/// A text or list that is put together, or a power, may not be larger than this: nobody means more, and it would fill the
/// memory.
const LARGEST: usize = 100_000_000;

/// How much an item of a list counts.
const ITEM: usize = 32;

/// How many bits an integer may have.
const BITS: u64 = 1 << 24;

fn too_large() -> Error {
    Error::failed("the result would be too large")
}

/// Refuses what would become too large.
pub(crate) fn fits(bytes: usize) -> Result<()> {
    if bytes > LARGEST {
        Err(too_large())
    } else {
        Ok(())
    }
}

fn unsupported(operator: &str, left: &Value, right: &Value) -> Error {
    Error::failed(format!(
        "unsupported operand type(s) for {operator}: '{}' and '{}'",
        left.type_name(),
        right.type_name()
    ))
}

pub(crate) fn negative(value: &Value) -> Result<Value> {
    match Number::of(value) {
        Some(Number::Int(number)) => Ok(match number.checked_neg() {
            Some(negated) => Value::Int(negated),
            None => Value::integer(-BigInt::from(number)),
        }),
        Some(Number::Big(number)) => Ok(Value::integer(-(*number).clone())),
        Some(Number::Float(number)) => Ok(Value::Float(-number)),
        None => Err(match value {
            Value::Undefined(undefined) => undefined.as_error(),
            _ => Error::failed(format!(
                "bad operand type for unary -: '{}'",
                value.type_name()
            )),
        }),
    }
}

pub(crate) fn positive(value: &Value) -> Result<Value> {
    match value {
        Value::Bool(value) => Ok(Value::Int(i64::from(*value))),
        Value::Int(_) | Value::Big(_) | Value::Float(_) => Ok(value.clone()),
        Value::Undefined(undefined) => Err(undefined.as_error()),
        _ => Err(Error::failed(format!(
            "bad operand type for unary +: '{}'",
            value.type_name()
        ))),
    }
}

pub(crate) fn binary(operator: Binary, left: &Value, right: &Value) -> Result<Value> {
    if let (Some(one), Some(two)) = (Number::of(left), Number::of(right)) {
        return numbers(operator, &one, &two);
    }
    match (operator, left, right) {
        (Binary::Modulo, Value::Str(template), _) => {
            format::percent(template, right).map(Value::from)
        }
        (Binary::Add, Value::Str(one), Value::Str(two)) => {
            fits(one.len().saturating_add(two.len()))?;
            Ok(Value::from([&**one, &**two].concat()))
        }
        (Binary::Add, Value::Bytes(one), Value::Bytes(two)) => {
            Ok(Value::Bytes([&**one, &**two].concat().into()))
        }
        (Binary::Add, Value::List(one), Value::List(two)) => {
            let (one, two) = (one.read(), two.read());
            fits((one.len() + two.len()).saturating_mul(ITEM))?;
            Ok(Value::list(one.iter().chain(two.iter()).cloned().collect()))
        }
        (Binary::Add, Value::Tuple(one), Value::Tuple(two)) => Ok(Value::tuple(
            one.iter().chain(two.iter()).cloned().collect(),
        )),
        (Binary::Add, Value::Str(_), _) => Err(Error::failed(format!(
            "can only concatenate str (not \"{}\") to str",
            right.type_name()
        ))),
        (Binary::Add, Value::List(_), _) => Err(Error::failed(format!(
            "can only concatenate list (not \"{}\") to list",
            right.type_name()
        ))),
        (Binary::Multiply, _, _) => multiply(left, right),
        _ => Err(unsupported(sign(operator), left, right)),
    }
}

fn multiply(left: &Value, right: &Value) -> Result<Value> {
    let (sequence, times) = match (left.as_int(), right.as_int()) {
        (None, Some(times)) => (left, times),
        (Some(times), None) => (right, times),
        _ => return Err(unsupported("*", left, right)),
    };
    let times = usize::try_from(times.max(0)).unwrap_or(usize::MAX);
    match sequence {
        Value::Str(text) => {
            fits(text.len().saturating_mul(times))?;
            Ok(Value::from(text.repeat(times)))
        }
        Value::Bytes(bytes) => {
            fits(bytes.len().saturating_mul(times))?;
            Ok(Value::Bytes(bytes.repeat(times).into()))
        }
        Value::List(list) => {
            let items = list.read();
            fits(items.len().saturating_mul(ITEM).saturating_mul(times))?;
            Ok(Value::list(repeated(&items, times)))
        }
        Value::Tuple(items) => {
            fits(items.len().saturating_mul(ITEM).saturating_mul(times))?;
            Ok(Value::tuple(repeated(items, times)))
        }
        _ => Err(unsupported("*", left, right)),
    }
}

fn repeated(items: &[Value], times: usize) -> Vec<Value> {
    std::iter::repeat_n(items, times)
        .flat_map(|items| items.iter().cloned())
        .collect()
}

pub(crate) fn sign(operator: Binary) -> &'static str {
    match operator {
        Binary::Add => "+",
        Binary::Subtract => "-",
        Binary::Multiply => "*",
        Binary::Divide => "/",
        Binary::FloorDivide => "//",
        Binary::Modulo => "%",
        Binary::Power => "** or pow()",
    }
}

fn numbers(operator: Binary, one: &Number, two: &Number) -> Result<Value> {
    if one.is_float() || two.is_float() || operator == Binary::Divide {
        return floats(operator, one.float(), two.float());
    }
    if let (Number::Int(one), Number::Int(two)) = (one, two) {
        let small = match operator {
            Binary::Add => one.checked_add(*two),
            Binary::Subtract => one.checked_sub(*two),
            Binary::Multiply => one.checked_mul(*two),
            Binary::FloorDivide if *two != 0 => {
                let quotient = one.checked_div(*two);
                quotient.map(|quotient| {
                    if one % two != 0 && (*one < 0) != (*two < 0) {
                        quotient - 1
                    } else {
                        quotient
                    }
                })
            }
            Binary::Modulo if *two != 0 => one.checked_rem(*two).map(|rest| {
                if rest != 0 && (rest < 0) != (*two < 0) {
                    rest + two
                } else {
                    rest
                }
            }),
            _ => None,
        };
        if let Some(small) = small {
            return Ok(Value::Int(small));
        }
    }
    let (Some(one), Some(two)) = (one.big(), two.big()) else {
        return Ok(Value::None);
    };
    Ok(match operator {
        Binary::Add => Value::integer(one + two),
        Binary::Subtract => Value::integer(one - two),
        Binary::Multiply => {
            if one.bits().saturating_add(two.bits()) >= BITS {
                return Err(too_large());
            }
            Value::integer(one * two)
        }
        Binary::FloorDivide | Binary::Modulo => {
            if two.is_zero() {
                return Err(Error::failed("integer division or modulo by zero"));
            }
            let mut quotient = &one / &two;
            let mut rest = &one % &two;
            if !rest.is_zero() && rest.is_negative() != two.is_negative() {
                quotient -= 1;
                rest += &two;
            }
            Value::integer(if operator == Binary::Modulo {
                rest
            } else {
                quotient
            })
        }
        Binary::Power => {
            if two.is_negative() {
                return floats(
                    operator,
                    one.to_f64().unwrap_or(f64::INFINITY),
                    two.to_f64().unwrap_or(f64::NEG_INFINITY),
                );
            }
            let exponent = two
                .to_u32()
                .filter(|exponent| one.bits().saturating_mul(u64::from(*exponent)) < BITS)
                .ok_or_else(too_large)?;
            Value::integer(one.pow(exponent))
        }
        Binary::Divide => Value::None,
    })
}

fn floats(operator: Binary, one: f64, two: f64) -> Result<Value> {
    let by_zero = |what: &str| {
        if two == 0.0 {
            Err(Error::failed(what))
        } else {
            Ok(())
        }
    };
    Ok(Value::Float(match operator {
        Binary::Add => one + two,
        Binary::Subtract => one - two,
        Binary::Multiply => one * two,
        Binary::Divide => {
            by_zero("division by zero")?;
            one / two
        }
        Binary::FloorDivide => {
            by_zero("float floor division by zero")?;
            (one / two).floor()
        }
        Binary::Modulo => {
            by_zero("float modulo by zero")?;
            let rest = one % two;
            if rest != 0.0 && (rest < 0.0) != (two < 0.0) {
                rest + two
            } else {
                rest
            }
        }
        Binary::Power => {
            if one == 0.0 && two < 0.0 {
                return Err(Error::failed("zero to a negative power"));
            }
            one.powf(two)
        }
    }))
}

pub(crate) fn compare(comparison: Comparison, left: &Value, right: &Value) -> Result<bool> {
    let order = |operator: &str, accept: fn(Ordering) -> bool| {
        if let (Some(one), Some(two)) = (Number::of(left), Number::of(right))
            && (one.float().is_nan() || two.float().is_nan())
        {
            return Ok(false);
        }
        left.order(right, operator).map(accept)
    };
    match comparison {
        Comparison::Equal => Ok(left.equals(right)),
        Comparison::NotEqual => Ok(!left.equals(right)),
        Comparison::Less => order("<", Ordering::is_lt),
        Comparison::LessEqual => order("<=", Ordering::is_le),
        Comparison::Greater => order(">", Ordering::is_gt),
        Comparison::GreaterEqual => order(">=", Ordering::is_ge),
        Comparison::In => contains(right, left),
        Comparison::NotIn => contains(right, left).map(|found| !found),
    }
}

/// Whether a value holds another.
pub(crate) fn contains(value: &Value, wanted: &Value) -> Result<bool> {
    Ok(match value {
        Value::Str(text) => match wanted {
            Value::Str(part) => text.contains(&**part),
            other => {
                return Err(Error::failed(format!(
                    "'in <string>' requires string as left operand, not {}",
                    other.type_name()
                )));
            }
        },
        Value::List(list) => list.read().iter().any(|item| item.equals(wanted)),
        Value::Tuple(items) => items.iter().any(|item| item.equals(wanted)),
        Value::Dict(dict) => dict.read().contains_key(&Key::new(wanted.clone())?),
        Value::Object(object) => match object.items() {
            Some(items) => items.iter().any(|item| item.equals(wanted)),
            None => {
                return Err(Error::failed(format!(
                    "argument of type '{}' is not iterable",
                    value.type_name()
                )));
            }
        },
        Value::Undefined(undefined) => return Err(undefined.as_error()),
        other => {
            return Err(Error::failed(format!(
                "argument of type '{}' is not iterable",
                other.type_name()
            )));
        }
    })
}

/// An item by its key or index; none if there is no such one.
pub(crate) fn item(value: &Value, key: &Value) -> Option<Value> {
    let at = |length: usize| -> Option<usize> {
        let index = key.as_int()?;
        let index = if index < 0 {
            index + length as i64
        } else {
            index
        };
        usize::try_from(index).ok().filter(|index| *index < length)
    };
    match value {
        Value::List(list) => {
            let items = list.read();
            at(items.len()).map(|at| items[at].clone())
        }
        Value::Tuple(items) => at(items.len()).map(|at| items[at].clone()),
        Value::Str(text) => {
            let length = text.chars().count();
            at(length)
                .and_then(|at| text.chars().nth(at))
                .map(|c| Value::from(c.to_string()))
        }
        Value::Bytes(bytes) => at(bytes.len()).map(|at| Value::Int(i64::from(bytes[at]))),
        Value::Dict(dict) => match key {
            Value::Str(name) => dict.get(name),
            key => match Key::new(key.clone()) {
                Ok(key) => dict.read().get(&key).cloned(),
                Err(_) => None,
            },
        },
        Value::Object(object) => match key {
            Value::Str(name) => object.get(name),
            key => object.item(key).or_else(|| {
                let items = object.items()?;
                if object.is_mapping() {
                    return None;
                }
                at(items.len()).map(|at| items[at].clone())
            }),
        },
        _ => None,
    }
}

pub(crate) fn slice(value: &Value, [start, stop, step]: [Option<i64>; 3]) -> Result<Value> {
    let step = step.unwrap_or(1);
    if step == 0 {
        return Err(Error::failed("slice step cannot be zero"));
    }
    let pick = |length: usize| -> Vec<usize> {
        let length = length as i64;
        let bound = |index: Option<i64>, default: i64| match index {
            None => default,
            Some(index) => {
                let index = if index < 0 { index + length } else { index };
                if step > 0 {
                    index.clamp(0, length)
                } else {
                    index.clamp(-1, length - 1)
                }
            }
        };
        let (from, to) = if step > 0 {
            (bound(start, 0), bound(stop, length))
        } else {
            (bound(start, length - 1), bound(stop, -1))
        };
        let mut picked = Vec::new();
        let mut at = from;
        while if step > 0 { at < to } else { at > to } {
            picked.push(at as usize);
            at = match at.checked_add(step) {
                Some(next) => next,
                None => break,
            };
        }
        picked
    };
    let of = |items: &[Value]| -> Vec<Value> {
        pick(items.len())
            .into_iter()
            .map(|at| items[at].clone())
            .collect()
    };
    Ok(match value {
        Value::List(list) => Value::list(of(&list.read())),
        Value::Tuple(items) => Value::tuple(of(items)),
        Value::Str(text) => {
            let chars: Vec<char> = text.chars().collect();
            Value::from(
                pick(chars.len())
                    .into_iter()
                    .map(|at| chars[at])
                    .collect::<String>(),
            )
        }
        Value::Bytes(bytes) => {
            let picked: Vec<u8> = pick(bytes.len()).into_iter().map(|at| bytes[at]).collect();
            Value::Bytes(Arc::from(picked))
        }
        Value::Object(object) if !object.is_mapping() => match object.items() {
            Some(items) => Value::list(of(&items)),
            None => Value::undefined(format!(
                "'{}' object is not subscriptable",
                value.type_name()
            )),
        },
        Value::Undefined(_) => value.clone(),
        _ => Value::undefined(format!(
            "'{}' object is not subscriptable",
            value.type_name()
        )),
    })
}
