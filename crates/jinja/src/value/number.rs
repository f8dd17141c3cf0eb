//! Numbers of any kind, compared with each other.

use std::cmp::Ordering;
use std::sync::Arc;

use num_bigint::BigInt;
use num_traits::{FromPrimitive as _, ToPrimitive as _};

use super::Value;

/// A number of any kind.
pub(crate) enum Number {
    Int(i64),
    Big(Arc<BigInt>),
    Float(f64),
}

impl Number {
    pub(crate) fn of(value: &Value) -> Option<Number> {
        match value {
            Value::Int(value) => Some(Number::Int(*value)),
            Value::Bool(value) => Some(Number::Int(i64::from(*value))),
            Value::Big(value) => Some(Number::Big(Arc::clone(value))),
            Value::Float(value) => Some(Number::Float(*value)),
            _ => None,
        }
    }

    pub(crate) fn float(&self) -> f64 {
        match self {
            Number::Int(value) => *value as f64,
            Number::Big(value) => value.to_f64().unwrap_or(f64::INFINITY),
            Number::Float(value) => *value,
        }
    }

    pub(crate) fn big(&self) -> Option<BigInt> {
        match self {
            Number::Int(value) => Some(BigInt::from(*value)),
            Number::Big(value) => Some((**value).clone()),
            Number::Float(_) => None,
        }
    }

    pub(crate) fn is_float(&self) -> bool {
        matches!(self, Number::Float(_))
    }

    pub(super) fn compare(&self, other: &Number) -> Option<Ordering> {
        match (self, other) {
            (Number::Int(one), Number::Int(two)) => Some(one.cmp(two)),
            (Number::Float(one), Number::Float(two)) => one.partial_cmp(two),
            (Number::Float(one), two) => compare_float(*one, &two.big()?),
            (one, Number::Float(two)) => compare_float(*two, &one.big()?).map(Ordering::reverse),
            (one, two) => Some(one.big()?.cmp(&two.big()?)),
        }
    }
}

fn compare_float(float: f64, integer: &BigInt) -> Option<Ordering> {
    if float.is_nan() {
        return None;
    }
    if float.is_infinite() {
        return Some(if float > 0.0 {
            Ordering::Greater
        } else {
            Ordering::Less
        });
    }
    let whole = BigInt::from_f64(float.trunc())?;
    Some(
        whole
            .cmp(integer)
            .then_with(|| float.fract().partial_cmp(&0.0).unwrap_or(Ordering::Equal)),
    )
}
