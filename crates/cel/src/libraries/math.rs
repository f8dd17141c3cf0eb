//! Numbers: cel-go's extension, which Kubernetes leaves off.

use std::cmp::Ordering;

use crate::functions::Library;
use crate::libraries::{Answer, failed, no_overload};
use crate::value::{List, Value, compare};

/// Declarations and code.
pub(crate) const LIBRARY: Library = Library {
    declarations: "
        math_@max_list: math.greatest(list(dyn)) -> dyn
        math_@max_one: math.greatest(dyn) -> dyn
        math_@max_two: math.greatest(dyn, dyn) -> dyn
        math_@max_three: math.greatest(dyn, dyn, dyn) -> dyn
        math_@min_list: math.least(list(dyn)) -> dyn
        math_@min_one: math.least(dyn) -> dyn
        math_@min_two: math.least(dyn, dyn) -> dyn
        math_@min_three: math.least(dyn, dyn, dyn) -> dyn
        math_ceil_double: math.ceil(double) -> double
        math_floor_double: math.floor(double) -> double
        math_round_double: math.round(double) -> double
        math_trunc_double: math.trunc(double) -> double
        math_sqrt_double: math.sqrt(double) -> double
        math_abs_double: math.abs(double) -> double
        math_abs_int: math.abs(int) -> int
        math_abs_uint: math.abs(uint) -> uint
        math_sign_double: math.sign(double) -> double
        math_sign_int: math.sign(int) -> int
        math_sign_uint: math.sign(uint) -> uint
        math_isInf_double: math.isInf(double) -> bool
        math_isNaN_double: math.isNaN(double) -> bool
        math_isFinite_double: math.isFinite(double) -> bool
    ",
    functions: &[
        ("math.greatest", |_, args| extreme(args, Ordering::Less)),
        ("math.least", |_, args| extreme(args, Ordering::Greater)),
        ("math.ceil", |_, args| {
            real(args, |value| Value::Double(value.ceil()))
        }),
        ("math.floor", |_, args| {
            real(args, |value| Value::Double(value.floor()))
        }),
        ("math.round", |_, args| {
            real(args, |value| Value::Double(value.round()))
        }),
        ("math.trunc", |_, args| {
            real(args, |value| Value::Double(value.trunc()))
        }),
        ("math.sqrt", |_, args| {
            real(args, |value| Value::Double(value.sqrt()))
        }),
        ("math.isInf", |_, args| {
            real(args, |value| Value::Bool(value.is_infinite()))
        }),
        ("math.isNaN", |_, args| {
            real(args, |value| Value::Bool(value.is_nan()))
        }),
        ("math.isFinite", |_, args| {
            real(args, |value| Value::Bool(value.is_finite()))
        }),
        ("math.abs", |_, args| match args {
            [Value::Int(value)] => value
                .checked_abs()
                .map(Value::Int)
                .ok_or_else(|| failed("integer overflow")),
            [Value::Uint(value)] => Ok(Value::Uint(*value)),
            _ => real(args, |value| Value::Double(value.abs())),
        }),
        ("math.sign", |_, args| match args {
            [Value::Int(value)] => Ok(Value::Int(value.signum())),
            [Value::Uint(value)] => Ok(Value::Uint(u64::from(*value > 0))),
            _ => real(args, |value| {
                Value::Double(if value == 0.0 { 0.0 } else { value.signum() })
            }),
        }),
    ],
};

fn real<'a>(args: &[Value<'a>], answer: fn(f64) -> Value<'a>) -> Answer<'a> {
    match args {
        [Value::Double(value)] => Ok(answer(*value)),
        _ => no_overload(),
    }
}

fn extreme<'a>(args: &[Value<'a>], replaces: Ordering) -> Answer<'a> {
    let listed: Vec<Value<'a>>;
    let values = match args {
        [Value::List(list)] => {
            listed = List::iter(list).collect::<Result<_, _>>()?;
            &listed
        }
        args => args,
    };
    let Some((first, rest)) = values.split_first() else {
        return Err(failed("math.@max(list) argument must not be empty"));
    };
    let mut best = first;
    for value in values {
        if !matches!(value, Value::Int(_) | Value::Uint(_) | Value::Double(_)) {
            return no_overload();
        }
    }
    for value in rest {
        if compare(best, value)? == replaces {
            best = value;
        }
    }
    Ok(best.clone())
}
