//! Objects within an object (`x-kubernetes-embedded-resource`): their `apiVersion`, `kind` and `metadata`.

use super::place::Place;
use super::schema::Structural;
use crate::field_error::FieldError;
use crate::names;
use crate::schema::{Message, Schema, coerce_and_check};
use serde_json::Value;

/// The message of every object's `metadata`.
fn object_meta() -> Option<&'static Message> {
    Schema::builtin().message("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta")
}

/// Bring the `metadata` of a whole object into canonical form; the answer names the unknown fields it had.
///
/// # Errors
/// A field of the wrong type.
pub fn metadata(object: &mut Value) -> Result<Vec<String>, Box<FieldError>> {
    meta(object, &Place::Base(""))
}

fn meta(object: &mut Value, at: &Place<'_>) -> Result<Vec<String>, Box<FieldError>> {
    for name in ["apiVersion", "kind"] {
        if let Some(value) = object.get(name)
            && !value.is_string()
        {
            let field = at.field(name).to_string();
            return Err(Box::new(FieldError::invalid(
                field,
                value.clone(),
                "must be a string",
            )));
        }
    }
    let (Some(metadata), Some(message)) = (object.get_mut("metadata"), object_meta()) else {
        return Ok(Vec::new());
    };
    if metadata.is_null() {
        *metadata = Value::Object(serde_json::Map::new());
    }
    let place = at.field("metadata").to_string();
    match coerce_and_check(Schema::builtin(), message, metadata) {
        Ok(unknown) => Ok(unknown
            .into_iter()
            .map(|one| unquoted(&one).map_or(one.clone(), |name| format!("{place}.{name}")))
            .collect()),
        Err(error) => Err(Box::new(FieldError::invalid(
            place,
            metadata.clone(),
            error.to_string(),
        ))),
    }
}

/// The name in `unknown field "name"`.
fn unquoted(text: &str) -> Option<&str> {
    text.strip_prefix("unknown field \"")?.strip_suffix('"')
}

/// Bring the `metadata` of the objects within an object into canonical form.
///
/// # Errors
/// A field of the wrong type.
pub fn coerce(value: &mut Value, schema: &Structural) -> Result<Vec<String>, Box<FieldError>> {
    let mut unknown = Vec::new();
    if schema.embedded_within {
        walk_mut(value, schema, &Place::Base(""), &mut unknown)?;
        unknown.sort_unstable();
    }
    Ok(unknown)
}

fn walk_mut(
    value: &mut Value,
    schema: &Structural,
    at: &Place<'_>,
    unknown: &mut Vec<String>,
) -> Result<(), Box<FieldError>> {
    if !schema.embedded_within {
        return Ok(());
    }
    if schema.embedded && value.is_object() {
        unknown.extend(meta(value, at)?);
    }
    match value {
        Value::Object(map) => {
            for (name, member) in map {
                if let Some(property) = schema.property(name) {
                    walk_mut(member, property, &at.field(name), unknown)?;
                } else if let Some(additional) = schema.additional_schema() {
                    walk_mut(member, additional, &at.key(name), unknown)?;
                }
            }
        }
        Value::Array(list) => {
            if let Some(items) = schema.items.as_deref() {
                for (index, item) in list.iter_mut().enumerate() {
                    walk_mut(item, items, &at.index(index), unknown)?;
                }
            }
        }
        _ => {}
    }
    Ok(())
}

/// Check the objects within an object. `metadata` checks what is in their metadata; its second argument is
/// where they are.
pub fn validate(
    value: &Value,
    schema: &Structural,
    metadata: &mut dyn FnMut(&Value, &str) -> Vec<FieldError>,
) -> Vec<FieldError> {
    let mut errors = Vec::new();
    walk(value, schema, &Place::Base(""), metadata, &mut errors);
    errors
}

fn walk(
    value: &Value,
    schema: &Structural,
    at: &Place<'_>,
    metadata: &mut dyn FnMut(&Value, &str) -> Vec<FieldError>,
    errors: &mut Vec<FieldError>,
) {
    if !schema.embedded_within {
        return;
    }
    match value {
        Value::Object(map) => {
            if schema.embedded {
                object(value, at, errors);
                if let Some(meta) = map.get("metadata") {
                    errors.extend(metadata(meta, &at.field("metadata").to_string()));
                }
            }
            for (name, member) in map {
                if let Some(property) = schema.property(name) {
                    walk(member, property, &at.field(name), metadata, errors);
                } else if let Some(additional) = schema.additional_schema() {
                    walk(member, additional, &at.key(name), metadata, errors);
                }
            }
        }
        Value::Array(list) => {
            if let Some(items) = schema.items.as_deref() {
                for (index, item) in list.iter().enumerate() {
                    walk(item, items, &at.index(index), metadata, errors);
                }
            }
        }
        _ => {}
    }
}

fn object(value: &Value, at: &Place<'_>, errors: &mut Vec<FieldError>) {
    for name in ["apiVersion", "kind"] {
        let place = at.field(name).to_string();
        let text = match value.get(name) {
            None => {
                errors.push(FieldError::required(place, ""));
                continue;
            }
            Some(Value::String(text)) => text,
            Some(other) => {
                errors.push(FieldError::invalid(
                    place,
                    other.clone(),
                    "must be a string",
                ));
                continue;
            }
        };
        if text.is_empty() {
            errors.push(FieldError::invalid(place, "", "must not be empty"));
        } else if name == "apiVersion" {
            if text.matches('/').count() > 1 {
                let detail = format!("unexpected GroupVersion string: {text}");
                errors.push(FieldError::invalid(place, text.as_str(), detail));
            }
        } else if let Err(why) = names::dns1035_label(&text.to_lowercase()) {
            let detail = format!("may have mixed case, but should otherwise match: {why}");
            errors.push(FieldError::invalid(place, text.as_str(), detail));
        }
    }
}
