//! Order of values, across number types.

use std::cmp::Ordering;

use super::{Opaque, Value};
use crate::EvalError;

fn int_double(a: i64, b: f64) -> Ordering {
    if b < -(2f64.powi(63)) {
        return Ordering::Greater;
    }
    if b > 2f64.powi(63) {
        return Ordering::Less;
    }
    (a as f64).partial_cmp(&b).unwrap_or(Ordering::Less)
}

fn uint_double(a: u64, b: f64) -> Ordering {
    if b < 0.0 {
        return Ordering::Greater;
    }
    if b > 2f64.powi(64) {
        return Ordering::Less;
    }
    (a as f64).partial_cmp(&b).unwrap_or(Ordering::Less)
}

fn int_uint(a: i64, b: u64) -> Ordering {
    u64::try_from(a).map_or(Ordering::Less, |a| a.cmp(&b))
}

/// The order of two numbers of any type; none if one is not a number (NaN).
#[expect(clippy::option_option, reason = "no numbers, no order, an order")]
pub(crate) fn numbers(a: &Value<'_>, b: &Value<'_>) -> Option<Option<Ordering>> {
    Some(match (a, b) {
        (Value::Int(a), Value::Int(b)) => Some(a.cmp(b)),
        (Value::Uint(a), Value::Uint(b)) => Some(a.cmp(b)),
        (Value::Double(a), Value::Double(b)) => a.partial_cmp(b),
        (Value::Int(_) | Value::Uint(_), Value::Double(b)) if b.is_nan() => None,
        (Value::Double(a), Value::Int(_) | Value::Uint(_)) if a.is_nan() => None,
        (Value::Int(a), Value::Uint(b)) => Some(int_uint(*a, *b)),
        (Value::Uint(a), Value::Int(b)) => Some(int_uint(*b, *a).reverse()),
        (Value::Int(a), Value::Double(b)) => Some(int_double(*a, *b)),
        (Value::Double(a), Value::Int(b)) => Some(int_double(*b, *a).reverse()),
        (Value::Uint(a), Value::Double(b)) => Some(uint_double(*a, *b)),
        (Value::Double(a), Value::Uint(b)) => Some(uint_double(*b, *a).reverse()),
        _ => return None,
    })
}

/// The order of two values of types that have one.
pub(crate) fn compare(a: &Value<'_>, b: &Value<'_>) -> Result<Ordering, EvalError> {
    if let Some(order) = numbers(a, b) {
        return order.ok_or_else(|| EvalError::Failed("NaN values cannot be ordered".to_owned()));
    }
    match (a, b) {
        (Value::Bool(a), Value::Bool(b)) => Ok(a.cmp(b)),
        (Value::String(a), Value::String(b)) => Ok((**a).cmp(b)),
        (Value::Bytes(a), Value::Bytes(b)) => Ok(a.cmp(b)),
        (Value::Timestamp(a), Value::Timestamp(b)) => Ok(a.cmp(b)),
        (Value::Duration(a), Value::Duration(b)) => Ok(a.cmp(b)),
        (Value::Opaque(Opaque::Quantity(a)), Value::Opaque(Opaque::Quantity(b))) => Ok(a.cmp(b)),
        _ => Err(EvalError::no_overload()),
    }
}
