//! Lists whose items are told apart: no item may stand in them twice.

use super::place::Place;
use super::schema::{ListType, Structural};
use crate::field_error::FieldError;
use serde_json::{Map, Value};
use std::collections::HashMap;

/// Find the items that are in a set or a list map more than once.
pub fn unique(value: &Value, schema: &Structural) -> Vec<FieldError> {
    let mut errors = Vec::new();
    walk(value, schema, &Place::Base(""), &mut errors);
    errors
}

fn walk(value: &Value, schema: &Structural, at: &Place<'_>, errors: &mut Vec<FieldError>) {
    if !schema.lists_within {
        return;
    }
    match value {
        Value::Object(map) => {
            for (name, member) in map {
                if let Some(additional) = schema.additional_schema() {
                    walk(member, additional, &at.key(name), errors);
                }
                if let Some(property) = schema.property(name) {
                    walk(member, property, &at.field(name), errors);
                }
            }
        }
        Value::Array(list) => {
            match schema.list_type {
                Some(ListType::Set) => {
                    for index in repeated(list.iter()) {
                        errors.push(FieldError::duplicate(
                            at.index(index).to_string(),
                            list[index].clone(),
                        ));
                    }
                }
                Some(ListType::Map) => keyed(list, schema, at, errors),
                _ => {}
            }
            if let Some(items) = schema.items.as_deref() {
                for (index, item) in list.iter().enumerate() {
                    walk(item, items, &at.index(index), errors);
                }
            }
        }
        _ => {}
    }
}

fn keyed(list: &[Value], schema: &Structural, at: &Place<'_>, errors: &mut Vec<FieldError>) {
    for (index, item) in list.iter().enumerate() {
        if !item.is_object() && !item.is_null() {
            errors.push(FieldError::invalid(
                at.index(index).to_string(),
                item.clone(),
                "must be an object for an array of list-type map",
            ));
            return;
        }
    }
    if list.len() <= 1 {
        return;
    }
    let keys: Vec<Value> = list
        .iter()
        .map(|item| {
            let mut key = Map::new();
            for name in &schema.list_keys {
                if let Some(value) = item.get(name.as_str()) {
                    key.insert(name.clone(), value.clone());
                }
            }
            Value::Object(key)
        })
        .collect();
    for index in repeated(keys.iter()) {
        errors.push(FieldError::duplicate(
            at.index(index).to_string(),
            keys[index].clone(),
        ));
    }
}

/// The places at which a value stands for the second time.
fn repeated<'a>(values: impl ExactSizeIterator<Item = &'a Value>) -> Vec<usize> {
    if values.len() <= 1 {
        return Vec::new();
    }
    let mut seen: HashMap<String, u32> = HashMap::with_capacity(values.len());
    let mut found = Vec::new();
    for (index, value) in values.enumerate() {
        let times = seen.entry(canonical(value)).or_default();
        *times += 1;
        if *times == 2 {
            found.push(index);
        }
    }
    found
}

/// A text that is the same for the same value, whatever the order of its members.
fn canonical(value: &Value) -> String {
    fn write(value: &Value, out: &mut String) {
        match value {
            Value::Object(map) => {
                let mut names: Vec<&String> = map.keys().collect();
                names.sort_unstable();
                out.push('{');
                for name in names {
                    out.push_str(&Value::from(name.as_str()).to_string());
                    out.push(':');
                    write(&map[name], out);
                    out.push(',');
                }
                out.push('}');
            }
            Value::Array(list) => {
                out.push('[');
                for item in list {
                    write(item, out);
                    out.push(',');
                }
                out.push(']');
            }
            scalar => out.push_str(&scalar.to_string()),
        }
    }
    let mut out = String::new();
    write(value, &mut out);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn items_are_told_apart_by_value_or_keys() {
        let schema = Structural::parse(&json!({"type": "object", "properties": {
            "set": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
            "map": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["a", "b"],
                "items": {"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "integer"}}}},
        }}))
        .unwrap();
        let object = json!({
            "set": ["x", "y", "x", "x"],
            "map": [{"a": "1", "b": 2, "v": 1}, {"a": "1"}, {"b": 2, "a": "1", "v": 2}],
        });
        let errors: Vec<String> = unique(&object, &schema)
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(
            errors,
            [
                r#"set[2]: Duplicate value: "x""#,
                r#"map[2]: Duplicate value: {"a":"1","b":2}"#,
            ]
        );
    }
}
