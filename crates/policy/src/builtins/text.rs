//! Strings, and text that holds documents.

use regorus::Value;

use super::{Failure, Function, Outcome, operand, string, text_at};

pub(super) const FUNCTIONS: &[Function] = &[
    ("strings.count", 2, count),
    ("json.is_valid", 1, |operands| {
        Ok(Value::from(text_at(operands, 0).is_ok_and(|text| {
            serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
        })))
    }),
    ("yaml.is_valid", 1, |operands| {
        Ok(Value::from(
            text_at(operands, 0).is_ok_and(|text| Value::from_yaml_str(text).is_ok()),
        ))
    }),
    ("internal.template_string", 1, template_string),
];

fn count(operands: &[Value]) -> Outcome {
    let (text, part) = (text_at(operands, 0)?, text_at(operands, 1)?);
    let count = if part.is_empty() {
        text.chars().count() + 1
    } else {
        text.matches(part).count()
    };
    Ok(Value::from(count as u64))
}

/// Joins the parts of `$"..."`: strings, and sets that hold the one value of an expression or nothing.
fn template_string(operands: &[Value]) -> Outcome {
    let Value::Array(parts) = operand(operands, 0) else {
        return Err("template parts must be an array".into());
    };
    let mut text = String::new();
    for part in parts.iter() {
        match part {
            Value::Set(values) if values.is_empty() => text.push_str("<undefined>"),
            Value::Set(values) if values.len() == 1 => {
                values.iter().for_each(|value| text.push_str(&shown(value)));
            }
            Value::Set(_) => {
                return Err(Failure::Other(
                    "template-strings must not produce multiple outputs".to_owned(),
                ));
            }
            other => text.push_str(&shown(other)),
        }
    }
    Ok(string(text))
}

/// A string as it is, anything else as Rego writes it.
pub(super) fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.to_string(),
        other => written(other),
    }
}

fn written(value: &Value) -> String {
    fn list<'a>(open: &str, close: &str, items: impl Iterator<Item = &'a Value>) -> String {
        format!(
            "{open}{}{close}",
            items.map(written).collect::<Vec<_>>().join(", ")
        )
    }
    match value {
        Value::Array(items) => list("[", "]", items.iter()),
        Value::Set(items) if items.is_empty() => "set()".to_owned(),
        Value::Set(items) => list("{", "}", items.iter_sorted()),
        Value::Object(fields) => {
            let fields = fields
                .iter_sorted()
                .map(|(key, value)| format!("{}: {}", written(key), written(value)));
            format!("{{{}}}", fields.collect::<Vec<_>>().join(", "))
        }
        Value::Undefined => "<undefined>".to_owned(),
        other => serde_json::to_string(other).unwrap_or_default(),
    }
}
