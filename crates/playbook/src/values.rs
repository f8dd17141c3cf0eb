//! Values of templates and the JSON that modules speak.

use consort_jinja::{Dict, Key, Value, repr};
use indexmap::IndexMap;
use serde_json::{Map, Number};

/// A value of JSON as one of templates. Nothing in it is a template: it comes from a machine, which is not trusted.
pub fn from_json(value: serde_json::Value) -> Value {
    match value {
        serde_json::Value::Null => Value::None,
        serde_json::Value::Bool(value) => Value::Bool(value),
        serde_json::Value::Number(number) => from_number(&number),
        serde_json::Value::String(text) => Value::from(text),
        serde_json::Value::Array(items) => Value::list(items.into_iter().map(from_json).collect()),
        serde_json::Value::Object(entries) => Value::Dict(from_report(entries)),
    }
}

/// What a module reports, as a dict.
pub fn from_report(entries: Map<String, serde_json::Value>) -> Dict {
    let entries: IndexMap<Key, Value> = entries
        .into_iter()
        .map(|(name, value)| (Key::from(name.as_str()), from_json(value)))
        .collect();
    Dict::new(entries)
}

fn from_number(number: &Number) -> Value {
    if let Some(value) = number.as_i64() {
        return Value::Int(value);
    }
    if number.is_f64() {
        return Value::Float(number.as_f64().unwrap_or(f64::NAN));
    }
    match number.to_string().parse() {
        Ok(big) => Value::integer(big),
        Err(_) => Value::Float(number.as_f64().unwrap_or(f64::NAN)),
    }
}

/// A value of templates as JSON, as modules are given it: what JSON has no form for becomes text.
///
/// Values that hold themselves are cut off at a depth of 200.
pub fn to_json(value: &Value) -> serde_json::Value {
    json(value, 0)
}

/// A dict as the arguments of a module.
pub fn to_arguments(dict: &Dict) -> Map<String, serde_json::Value> {
    entries(dict, 0)
}

fn entries(dict: &Dict, depth: u32) -> Map<String, serde_json::Value> {
    dict.read()
        .iter()
        .map(|(key, value)| (key_text(key.value()), json(value, depth + 1)))
        .collect()
}

/// The key of a dict as JSON has it.
pub(crate) fn key_text(key: &Value) -> String {
    match key {
        Value::Str(text) => text.to_string(),
        Value::None => "null".to_owned(),
        Value::Bool(value) => value.to_string(),
        other => repr::text(other),
    }
}

fn json(value: &Value, depth: u32) -> serde_json::Value {
    if depth > 200 {
        return serde_json::Value::Null;
    }
    match value {
        Value::Undefined(_) | Value::None => serde_json::Value::Null,
        Value::Bool(value) => serde_json::Value::Bool(*value),
        Value::Int(value) => (*value).into(),
        Value::Big(value) => value
            .to_string()
            .parse::<Number>()
            .map_or(serde_json::Value::Null, serde_json::Value::Number),
        Value::Float(value) => Number::from_f64(*value)
            .map_or_else(|| repr::float(*value).into(), serde_json::Value::Number),
        Value::Str(text) => serde_json::Value::String(text.to_string()),
        Value::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned().into(),
        Value::List(list) => list
            .read()
            .iter()
            .map(|item| json(item, depth + 1))
            .collect(),
        Value::Tuple(items) => items.iter().map(|item| json(item, depth + 1)).collect(),
        Value::Dict(dict) => serde_json::Value::Object(entries(dict, depth)),
        Value::Object(object) if object.is_mapping() => serde_json::Value::Object(
            object
                .items()
                .unwrap_or_default()
                .iter()
                .filter_map(|key| {
                    let name = key.as_str()?;
                    Some((name.to_owned(), json(&object.get(name)?, depth + 1)))
                })
                .collect(),
        ),
        Value::Object(object) => match object.items() {
            Some(items) => items.iter().map(|item| json(item, depth + 1)).collect(),
            None => object.text().into(),
        },
    }
}
