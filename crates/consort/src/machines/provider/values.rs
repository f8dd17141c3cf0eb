//! Attributes of objects, out and in.

use std::collections::BTreeMap;
use std::sync::Arc;

use consort_hcl::{Path, Type, Value, json};
use consort_infra::provider::schema::Block;
use serde_json::{Map, Value as Json};

/// An attribute; null where there is none.
pub(super) fn part(object: &Value, name: &str) -> Value {
    object
        .attribute(name)
        .unwrap_or_else(|_| Value::null(Type::Dynamic))
}

/// All attributes of an object.
pub(super) fn parts(object: &Value) -> BTreeMap<Arc<str>, Value> {
    object.as_keyed().cloned().unwrap_or_default()
}

/// A string that is known and not null.
pub(super) fn text(object: &Value, name: &str) -> Option<String> {
    part(object, name).as_str().map(str::to_owned)
}

/// A boolean that is known and not null.
pub(super) fn flag(object: &Value, name: &str) -> Option<bool> {
    part(object, name).as_bool()
}

/// A number that is known and not null; negative where it is no number of things.
pub(super) fn number(object: &Value, name: &str) -> Option<f64> {
    part(object, name)
        .as_number()
        .map(consort_hcl::Number::to_f64)
}

/// Elements that are known, if the collection is known and not null.
pub(super) fn elements(object: &Value, name: &str) -> Option<Vec<Value>> {
    let list = part(object, name);
    Some(list.as_sequence()?.to_vec())
}

/// The strings of a collection.
pub(super) fn texts(object: &Value, name: &str) -> Option<Vec<String>> {
    let all = elements(object, name)?;
    Some(
        all.iter()
            .filter_map(|one| one.as_str().map(str::to_owned))
            .collect(),
    )
}

/// The strings of a map.
pub(super) fn text_map(object: &Value, name: &str) -> BTreeMap<String, String> {
    let map = part(object, name);
    map.as_keyed()
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| Some((key.to_string(), value.as_str()?.to_owned())))
        .collect()
}

/// The object with some attributes made from JSON; the others stay.
pub(super) fn with(base: &Value, schema: &Block, changes: &Map<String, Json>) -> Value {
    let ty = schema.implied_type();
    let mut all = parts(base);
    let Type::Object(object) = &ty else {
        return base.clone();
    };
    for (name, change) in changes {
        if let Some(ty) = object.attributes.get(name.as_str()) {
            // What is written here fits the schema; a test goes over all of it.
            let value = json::decode(change.to_string().as_bytes(), ty)
                .unwrap_or_else(|_| Value::null(ty.clone()));
            all.insert(name.as_str().into(), value);
        }
    }
    Value::object(all)
}

/// The attributes of `now` that say something else than `prior` does, where both are in their plainest form.
pub(super) fn differences(prior: &Map<String, Json>, now: &Map<String, Json>) -> Map<String, Json> {
    now.iter()
        .filter(|(name, value)| prior.get(*name) != Some(value))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

/// Whether an attribute has other values in the two; unknown ones may.
pub(super) fn changed(prior: &Value, planned: &Value, name: &str) -> bool {
    !part(prior, name).raw_equals(&part(planned, name))
}

/// Those of the attributes that change and cannot without a new object.
pub(super) fn replaced(prior: &Value, planned: &Value, names: &[&str]) -> Vec<Path> {
    names
        .iter()
        .filter(|name| changed(prior, planned, name))
        .map(|name| Path::root().attribute(*name))
        .collect()
}

/// The value configured, else the default: what an older configuration said does not linger.
pub(super) fn default_to(
    values: &mut BTreeMap<Arc<str>, Value>,
    config: &Value,
    name: &str,
    default: Value,
) {
    let given = part(config, name);
    let value = if given.is_null() { default } else { given };
    values.insert(name.into(), value);
}

/// A stored object with all attributes of the type, null where an older version did not have them, and none else.
pub(super) fn complete(text: &[u8], ty: &Type) -> Result<Vec<u8>, String> {
    let stored: Map<String, Json> =
        serde_json::from_slice(text).map_err(|error| error.to_string())?;
    let Type::Object(object) = ty else {
        return Ok(text.to_vec());
    };
    let all: Map<String, Json> = object
        .attributes
        .iter()
        .map(|(name, ty)| {
            let missing = match ty {
                // Nested blocks are never null.
                Type::List(_) if matches!(ty, Type::List(element) if matches!(**element, Type::Object(_))) => {
                    Json::Array(Vec::new())
                }
                _ => Json::Null,
            };
            let value = stored.get(&**name).cloned().unwrap_or(missing);
            (name.to_string(), value)
        })
        .collect();
    serde_json::to_vec(&all).map_err(|error| error.to_string())
}
