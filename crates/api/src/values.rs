//! Reading and filling JSON values.

use serde_json::{Map, Value};

/// The value at a path of field names; none where a step is missing or null.
pub(crate) fn at<'a>(value: &'a Value, path: &[&str]) -> Option<&'a Value> {
    path.iter()
        .try_fold(value, |value, name| value.get(*name))
        .filter(|value| !value.is_null())
}

/// The text at a path; empty where there is none.
pub(crate) fn text<'a>(value: &'a Value, path: &[&str]) -> &'a str {
    at(value, path).and_then(Value::as_str).unwrap_or_default()
}

/// The integer at a path; 0 where there is none.
pub(crate) fn int(value: &Value, path: &[&str]) -> i64 {
    at(value, path).and_then(Value::as_i64).unwrap_or_default()
}

/// The boolean at a path; false where there is none.
pub(crate) fn flag(value: &Value, path: &[&str]) -> bool {
    at(value, path).and_then(Value::as_bool).unwrap_or_default()
}

/// The items at a path; none where there is no list.
pub(crate) fn items<'a>(value: &'a Value, path: &[&str]) -> &'a [Value] {
    at(value, path)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

/// The items of a field, to change.
pub(crate) fn items_mut<'a>(
    value: &'a mut Value,
    field: &str,
) -> impl Iterator<Item = &'a mut Value> {
    value
        .get_mut(field)
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
}

/// The members of a map at a path.
pub(crate) fn members<'a>(
    value: &'a Value,
    path: &[&str],
) -> impl Iterator<Item = (&'a str, &'a Value)> {
    at(value, path)
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .map(|(key, value)| (key.as_str(), value))
}

/// Set a field unless it is there.
pub(crate) fn fill(object: &mut Value, field: &str, value: impl Into<Value>) {
    if let Value::Object(map) = object
        && map.get(field).is_none_or(Value::is_null)
    {
        map.insert(field.to_owned(), value.into());
    }
}

/// Set a text field unless it is there and not empty.
pub(crate) fn fill_text(object: &mut Value, field: &str, value: &str) {
    if let Value::Object(map) = object
        && map
            .get(field)
            .and_then(Value::as_str)
            .is_none_or(str::is_empty)
    {
        map.insert(field.to_owned(), value.into());
    }
}

/// Set a number field unless it is there and not zero.
pub(crate) fn fill_number(object: &mut Value, field: &str, value: i64) {
    if let Value::Object(map) = object
        && map
            .get(field)
            .and_then(Value::as_i64)
            .is_none_or(|number| number == 0)
    {
        map.insert(field.to_owned(), value.into());
    }
}

/// The object in a field, made if it is missing.
pub(crate) fn ensure<'a>(object: &'a mut Value, field: &str) -> &'a mut Value {
    if !object.is_object() {
        *object = Value::Object(Map::new());
    }
    let entry = &mut object[field];
    if !entry.is_object() {
        *entry = Value::Object(Map::new());
    }
    entry
}

/// The object in a field, if it is there.
pub(crate) fn field_mut<'a>(object: &'a mut Value, field: &str) -> Option<&'a mut Value> {
    object.get_mut(field).filter(|value| value.is_object())
}

/// Set a field.
pub(crate) fn set(object: &mut Value, field: &str, value: impl Into<Value>) {
    if let Value::Object(map) = object {
        map.insert(field.to_owned(), value.into());
    }
}

/// Take a field out; the others keep their order.
pub(crate) fn take(object: &mut Value, field: &str) -> Option<Value> {
    object.as_object_mut()?.shift_remove(field)
}

/// Make a field what another object has there (absent included).
pub(crate) fn copy(to: &mut Value, from: &Value, field: &str) {
    match from.get(field) {
        Some(value) => set(to, field, value.clone()),
        None => {
            take(to, field);
        }
    }
}

/// Do two objects agree in a field? Missing, null and empty are the same.
pub(crate) fn same(left: &Value, right: &Value, field: &str) -> bool {
    let present = |value: &Value| -> bool {
        match value {
            Value::Null => false,
            Value::Object(map) => !map.is_empty(),
            Value::Array(list) => !list.is_empty(),
            Value::String(text) => !text.is_empty(),
            Value::Bool(_) | Value::Number(_) => true,
        }
    };
    let left = left.get(field).filter(|value| present(value));
    let right = right.get(field).filter(|value| present(value));
    left == right
}

/// `metadata.name`
pub(crate) fn name(object: &Value) -> &str {
    text(object, &["metadata", "name"])
}

/// `metadata.namespace`
pub(crate) fn namespace(object: &Value) -> &str {
    text(object, &["metadata", "namespace"])
}
