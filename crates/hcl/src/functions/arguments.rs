//! How functions take their arguments apart.

use crate::evaluate::{CallError, Function, Parameter};
use crate::marks::Marks;
use crate::number::Number;
use crate::text::quote;
use crate::types::Type;
use crate::value::Value;

pub(super) type Result<T = Value> = std::result::Result<T, CallError>;

/// A parameter that takes known values without marks.
pub(super) fn parameter(name: &str, ty: Type) -> Parameter {
    Parameter::new(name, ty)
}

/// A function of known values without marks, whose result is never null.
pub(super) fn plain(
    result: Type,
    parameters: &[(&str, Type)],
    call: impl Fn(&[Value]) -> Result + Send + Sync + 'static,
) -> Function {
    let parameters = parameters
        .iter()
        .map(|(name, ty)| parameter(name, ty.clone()))
        .collect();
    Function::returning(result, parameters, None, call).never_null()
}

/// A function of strings that gives a string.
pub(super) fn of_text<const N: usize>(
    names: [&str; N],
    call: impl Fn([&str; N]) -> Result<String> + Send + Sync + 'static,
) -> Function {
    let parameters = names.map(|name| (name, Type::String));
    plain(Type::String, &parameters, move |args| {
        call(std::array::from_fn(|i| text(args, i))).map(Value::string)
    })
}

/// The string at `index`; empty where it is none, which the checks before a call rule out.
pub(super) fn text(args: &[Value], index: usize) -> &str {
    args.get(index).and_then(Value::as_str).unwrap_or_default()
}

/// The number at `index`.
pub(super) fn number(args: &[Value], index: usize) -> Number {
    args.get(index)
        .and_then(Value::as_number)
        .cloned()
        .unwrap_or(Number::ZERO)
}

/// The number at `index` where it is whole and a machine integer.
pub(super) fn integer(args: &[Value], index: usize) -> Result<i64> {
    whole(&number(args, index)).map_err(CallError::new)
}

/// A whole number, or what to say.
pub(super) fn whole(number: &Number) -> std::result::Result<i64, String> {
    number.to_i64().ok_or_else(|| {
        format!(
            "value must be a whole number, between {} and {}",
            i64::MIN,
            i64::MAX
        )
    })
}

/// The elements of the list, set or tuple at `index`.
pub(super) fn elements(value: &Value) -> &[Value] {
    value.as_sequence().unwrap_or_default()
}

/// `text` in quotes, or what stands for it where it must not be shown.
pub(super) fn shown(text: &str, marks: Marks) -> String {
    hidden(marks).map_or_else(|| quote(text), str::to_owned)
}

/// What stands for a value with such marks.
pub(super) fn hidden(marks: Marks) -> Option<&'static str> {
    match (
        marks.contains(Marks::EPHEMERAL),
        marks.contains(Marks::SENSITIVE),
    ) {
        (true, true) => Some("(ephemeral sensitive value)"),
        (true, false) => Some("(ephemeral value)"),
        (false, true) => Some("(sensitive value)"),
        (false, false) => None,
    }
}
