//! JSON read where it lies, and values written as JSON.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use serde_json::Value as Json;

use super::{
    List, Map, Opaque, Text, Timestamp, Value, Work, go_json_number, parse_date, parse_duration,
    parse_timestamp,
};
use crate::EvalError;
use crate::decl::{Decl, Reading, TextFormat};

/// JSON without a declaration.
pub(crate) fn untyped(value: &Json) -> Value<'_> {
    match value {
        Json::Null => Value::Null,
        Json::Bool(value) => Value::Bool(*value),
        Json::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(value), _) => Value::Int(value),
            (None, value) => Value::Double(value.unwrap_or(f64::NAN)),
        },
        Json::String(text) => Value::String(Text::Borrowed(text)),
        Json::Array(items) => Value::List(List::Json(items, None)),
        Json::Object(entries) => Value::Map(Map::Json(entries, None)),
    }
}

fn kind(value: &Json) -> &'static str {
    match value {
        Json::Null => "<nil>",
        Json::Bool(_) => "bool",
        Json::Number(number) if number.is_f64() => "float64",
        Json::Number(_) => "int64",
        Json::String(_) => "string",
        Json::Array(_) => "[]interface {}",
        Json::Object(_) => "map[string]interface {}",
    }
}

/// JSON by its declaration. The messages are upstream's.
pub(crate) fn read<'a>(value: &'a Json, decl: &'a Decl) -> Result<Value<'a>, EvalError> {
    let failed = |message: String| Err(EvalError::Failed(message));
    if value.is_null() {
        if decl.nullable() {
            return Ok(Value::Null);
        }
        return failed("invalid data, got null for schema with nullable=false".to_owned());
    }
    match (decl.reading(), value) {
        (Reading::IntOrString, Json::String(text)) => Ok(Value::text(text)),
        (Reading::IntOrString, Json::Number(number)) if number.as_i64().is_some() => {
            Ok(untyped(value))
        }
        (Reading::IntOrString, _) => failed(
            "invalid data, expected XIntOrString value to be either a string or integer".to_owned(),
        ),
        (Reading::Object, Json::Object(entries)) => Ok(Value::Map(Map::Json(entries, Some(decl)))),
        (Reading::Object, _) => failed(
            "invalid data, expected a map for the provided schema with type=object".to_owned(),
        ),
        (Reading::List, Json::Array(items)) => Ok(Value::List(List::Json(items, Some(decl)))),
        (Reading::List, _) => failed(
            "invalid data, expected an array for the provided schema with type=array".to_owned(),
        ),
        (Reading::Text(format), Json::String(text)) => formatted(text, format),
        (Reading::Text(_), other) => failed(format!(
            "invalid data, expected string, got {}",
            kind(other)
        )),
        (Reading::Double, Json::Number(number)) => {
            Ok(Value::Double(number.as_f64().unwrap_or(f64::NAN)))
        }
        (Reading::Double, other) => {
            failed(format!("invalid data, expected float, got {}", kind(other)))
        }
        (Reading::Int, Json::Number(number)) if number.as_i64().is_some() => {
            Ok(Value::Int(number.as_i64().unwrap_or_default()))
        }
        (Reading::Int, other) => failed(format!("invalid data, expected int, got {}", kind(other))),
        (Reading::Bool, Json::Bool(value)) => Ok(Value::Bool(*value)),
        (Reading::Bool, other) => {
            failed(format!("invalid data, expected bool, got {}", kind(other)))
        }
        (Reading::Preserved, value) => Ok(Value::Preserved(value)),
    }
}

fn formatted(text: &str, format: TextFormat) -> Result<Value<'_>, EvalError> {
    let failed = |what: &str| EvalError::Failed(format!("Invalid {what} {text}"));
    match format {
        TextFormat::Plain => Ok(Value::text(text)),
        TextFormat::Duration => parse_duration(text, true)
            .map(Value::Duration)
            .ok_or_else(|| failed("duration")),
        TextFormat::Date => parse_date(text)
            .map(Value::Timestamp)
            .ok_or_else(|| failed("date formatted string")),
        TextFormat::DateTime => date_time(text)
            .map(Value::Timestamp)
            .ok_or_else(|| failed("date-time formatted string")),
        TextFormat::Bytes => {
            let bytes = STANDARD
                .decode(text)
                .or_else(|_| URL_SAFE.decode(text))
                .map_err(|_| failed("byte formatted string"))?;
            Ok(Value::Bytes(bytes.into()))
        }
    }
}

/// OpenAPI's date-time: RFC 3339, the `T` in either case.
fn date_time(text: &str) -> Option<Timestamp> {
    match parse_timestamp(text) {
        Ok(value) => Some(value),
        Err(_) => parse_timestamp(&text.to_ascii_uppercase()).ok(),
    }
}

/// A value as JSON.
pub(crate) fn write(value: &Value<'_>, work: &mut Work) -> Result<Json, EvalError> {
    work.spend(1)?;
    Ok(match value {
        Value::Null => Json::Null,
        Value::Bool(value) => (*value).into(),
        Value::Int(value) => (*value).into(),
        Value::Uint(value) => (*value).into(),
        Value::Double(value) => go_json_number(*value),
        Value::String(text) => {
            work.spend(text.len() / 64)?;
            (**text).into()
        }
        Value::Bytes(bytes) => {
            work.spend(bytes.len() / 64)?;
            STANDARD.encode(bytes).into()
        }
        Value::Timestamp(value) => value.to_string().into(),
        Value::Duration(value) => value.to_string().into(),
        Value::List(List::Json(items, _)) => {
            work.spend(items.len())?;
            Json::Array(items.to_vec())
        }
        Value::List(list) => {
            let items: Result<Vec<Json>, EvalError> =
                list.iter().map(|item| write(&item?, work)).collect();
            Json::Array(items?)
        }
        Value::Map(Map::Json(entries, _)) => {
            work.spend(entries.len())?;
            Json::Object((*entries).clone())
        }
        Value::Map(map) => {
            let mut out = serde_json::Map::new();
            for entry in map.entries() {
                let (key, value) = entry?;
                let Value::String(key) = key else {
                    return Err(EvalError::Failed(format!(
                        "unsupported map key type: {}",
                        key.type_name()
                    )));
                };
                out.insert((*key).to_owned(), write(&value, work)?);
            }
            Json::Object(out)
        }
        Value::Object(object) => {
            let mut out = serde_json::Map::new();
            for (name, value) in &object.fields {
                out.insert(name.to_string(), write(value, work)?);
            }
            Json::Object(out)
        }
        Value::Preserved(value) => (*value).clone(),
        Value::Opaque(Opaque::Quantity(quantity)) => quantity.to_string().into(),
        other => {
            return Err(EvalError::Failed(format!(
                "unsupported conversion of '{}' to JSON",
                other.type_name()
            )));
        }
    })
}
