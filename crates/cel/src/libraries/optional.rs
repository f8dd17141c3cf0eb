//! Optional values.

use crate::functions::{Context, Library};
use crate::libraries::{Answer, failed, no_overload};
use crate::value::{List, Value, display};

/// Declarations and code.
pub(crate) const LIBRARY: Library = Library {
    declarations: "
        optional_of: optional.of(V) -> optional(V)
        optional_ofNonZeroValue: optional.ofNonZeroValue(V) -> optional(V)
        optional_none: optional.none() -> optional(V)
        optional_value: optional(V)::value() -> V
        optional_hasValue: optional(V)::hasValue() -> bool
        optional_or_optional: optional(V)::or(optional(V)) -> optional(V)
        optional_orValue_value: optional(V)::orValue(V) -> V
        optional_unwrap: optional.unwrap(list(optional(V))) -> list(V)
        optional_unwrapOpt: list(optional(V))::unwrapOpt() -> list(V)
        list_last: list(V)::last() -> optional(V)
        list_first: list(V)::first() -> optional(V)
        select_optional_field: _?._(dyn, string) -> optional(V)
        list_optindex_optional_int: _[?_](list(V), int) -> optional(V)
        optional_list_optindex_optional_int: _[?_](optional(list(V)), int) -> optional(V)
        map_optindex_optional_value: _[?_](map(K, V), K) -> optional(V)
        optional_map_optindex_optional_value: _[?_](optional(map(K, V)), K) -> optional(V)
        optional_list_index_int: _[_](optional(list(V)), int) -> optional(V)
        optional_map_index_value: _[_](optional(map(K, V)), K) -> optional(V)
    ",
    functions: &[
        ("optional.of", |_, args| match args {
            [value] => Ok(Value::optional(Some(value.clone()))),
            _ => no_overload(),
        }),
        ("optional.ofNonZeroValue", |_, args| match args {
            [value] => Ok(Value::optional((!is_zero(value)).then(|| value.clone()))),
            _ => no_overload(),
        }),
        ("optional.none", |_, _| Ok(Value::Optional(None))),
        ("value", |_, args| match args {
            [Value::Optional(Some(value))] => Ok((**value).clone()),
            [Value::Optional(None)] => Err(failed("optional.none() dereference")),
            _ => no_overload(),
        }),
        ("hasValue", |_, args| match args {
            [Value::Optional(value)] => Ok(Value::Bool(value.is_some())),
            _ => no_overload(),
        }),
        ("or", |_, args| match args {
            [Value::Optional(None), other] => Ok(other.clone()),
            [found @ Value::Optional(Some(_)), _] => Ok(found.clone()),
            _ => no_overload(),
        }),
        ("orValue", |_, args| match args {
            [Value::Optional(None), other] => Ok(other.clone()),
            [Value::Optional(Some(found)), _] => Ok((**found).clone()),
            _ => no_overload(),
        }),
        ("optional.unwrap", unwrap),
        ("unwrapOpt", unwrap),
        ("first", |_, args| end(args, |_| 0)),
        ("last", |_, args| end(args, |list| list.len() - 1)),
        // The planner turns these three into ways through values.
        ("_?._", |_, _| no_overload()),
        ("_[?_]", |_, _| no_overload()),
        ("_[_]", |_, _| no_overload()),
    ],
};

fn unwrap<'a>(context: &mut Context<'_>, args: &[Value<'a>]) -> Answer<'a> {
    let [Value::List(list)] = args else {
        return no_overload();
    };
    context.work.spend(list.len())?;
    let mut values = Vec::new();
    for item in list.iter() {
        match item? {
            Value::Optional(Some(value)) => values.push((*value).clone()),
            Value::Optional(None) => {}
            other => return Err(failed(format!("value {} is not optional", display(&other)))),
        }
    }
    Ok(Value::list(values))
}

fn end<'a>(args: &[Value<'a>], index: fn(&List<'a>) -> usize) -> Answer<'a> {
    let [Value::List(list)] = args else {
        return no_overload();
    };
    if list.is_empty() {
        return Ok(Value::Optional(None));
    }
    Ok(Value::optional(list.get(index(list)).transpose()?))
}

/// Whether a value is what its type starts from: zero, empty, null.
fn is_zero(value: &Value<'_>) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(value) => !value,
        Value::Int(value) => *value == 0,
        Value::Uint(value) => *value == 0,
        Value::Double(value) => *value == 0.0,
        Value::String(text) => text.is_empty(),
        Value::Bytes(bytes) => bytes.is_empty(),
        Value::Duration(value) => value.0 == 0,
        Value::Timestamp(at) => at.is_zero(),
        Value::List(list) => list.is_empty(),
        Value::Map(map) => map.is_empty(),
        Value::Object(object) => object.fields.is_empty(),
        Value::Optional(inner) => inner.as_ref().is_none_or(|inner| is_zero(inner)),
        _ => false,
    }
}
