//! Whether values are equal, by Python's rules.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::sync::Arc;

use super::{Number, Value};

/// What lies deeper is compared apart from the stack.
const DEPTH: u32 = 32;

/// Whether two values are equal. Values that hold themselves are if no difference between them can be found.
pub(super) fn equal(one: &Value, two: &Value) -> bool {
    let mut deeper = Vec::new();
    if !compare(one, two, 0, &mut deeper) {
        return false;
    }
    let mut met = HashSet::new();
    while let Some((one, two)) = deeper.pop() {
        if !met.insert((place(&one), place(&two))) {
            continue;
        }
        if !compare(&one, &two, 0, &mut deeper) {
            return false;
        }
    }
    true
}

/// Where a value that holds others is.
fn place(value: &Value) -> usize {
    match value {
        Value::List(list) => list.place(),
        Value::Tuple(tuple) => tuple.place(),
        Value::Dict(dict) => dict.place(),
        _ => 0,
    }
}

/// Compares two values as far as the stack is to be used for it; what is left is put to the rest.
fn compare(one: &Value, two: &Value, depth: u32, deeper: &mut Vec<(Value, Value)>) -> bool {
    if let (Some(one), Some(two)) = (Number::of(one), Number::of(two)) {
        return one.compare(&two) == Some(Ordering::Equal);
    }
    let too_deep = depth >= DEPTH;
    let mut items = |one: &[Value], two: &[Value]| {
        one.len() == two.len()
            && one
                .iter()
                .zip(two)
                .all(|(one, two)| compare(one, two, depth + 1, deeper))
    };
    match (one, two) {
        (Value::None, Value::None) => true,
        (Value::Str(one), Value::Str(two)) => **one == **two,
        (Value::Bytes(one), Value::Bytes(two)) => one == two,
        (Value::List(list), Value::List(other)) if list.is(other) => true,
        (Value::Dict(dict), Value::Dict(other)) if dict.is(other) => true,
        (Value::List(_), Value::List(_))
        | (Value::Tuple(_), Value::Tuple(_))
        | (Value::Dict(_), Value::Dict(_))
            if too_deep =>
        {
            deeper.push((one.clone(), two.clone()));
            true
        }
        (Value::List(one), Value::List(two)) => items(&one.read(), &two.read()),
        (Value::Tuple(one), Value::Tuple(two)) => items(one, two),
        (Value::Dict(one), Value::Dict(two)) => {
            let (one, two) = (one.read(), two.read());
            one.len() == two.len()
                && one.iter().all(|(key, value)| {
                    two.get(key)
                        .is_some_and(|other| compare(value, other, depth + 1, deeper))
                })
        }
        (Value::Object(one), Value::Object(two)) => {
            Arc::ptr_eq(one, two) || one.equals(two.as_ref())
        }
        _ => false,
    }
}
