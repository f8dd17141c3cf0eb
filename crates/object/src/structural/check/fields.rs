//! Paths to fields of a schema, as `selectableFields` and the rules' `fieldPath` have them.

use super::super::Place;
use super::super::schema::{Additional, Structural, Type};
use crate::field_error::FieldError;
use serde_json::Value;

/// As many fields may be selectable.
const MOST_SELECTABLE: usize = 8;

/// Follow a path such as `.spec.color` or `.spec['a.b']` through a schema: the steps it takes and the schema
/// it leads to. `brackets`: the notation with brackets is allowed.
///
/// # Errors
/// Why it leads nowhere.
pub fn at_path<'s>(
    schema: &'s Structural,
    path: &str,
    brackets: bool,
) -> Result<(Vec<String>, &'s Structural), String> {
    let mut here = schema;
    let mut steps = Vec::new();
    let mut rest = path;
    while !rest.is_empty() {
        let name;
        if let Some(after) = rest.strip_prefix('.') {
            let end = after.find(['.', '[', ']']).unwrap_or(after.len());
            if after.is_empty() {
                return Err("unexpected end of JSON path".into());
            }
            let end = if end == 0 { 1 } else { end };
            name = after[..end].to_owned();
            rest = &after[end..];
        } else if let Some(after) = rest.strip_prefix('[') {
            if !brackets {
                return Err("array notation is not allowed".into());
            }
            let (text, after) = quoted(after)?;
            name = text;
            rest = match after.strip_prefix(']') {
                Some(rest) => rest,
                None if after.is_empty() => return Err("unexpected end of JSON path".into()),
                None => {
                    let end = after.find(['.', '[', ']']).unwrap_or(after.len()).max(1);
                    return Err(format!("expected ] but got {}", &after[..end]));
                }
            };
        } else {
            let end = rest.find(['.', '[', ']']).unwrap_or(rest.len()).max(1);
            return Err(format!("expected [ or . but got: {}", &rest[..end]));
        }
        here = if here.properties.is_empty() {
            match &here.additional {
                Additional::Schema(schema) => schema,
                _ => return Err("does not refer to a valid field".into()),
            }
        } else {
            here.property(&name)
                .ok_or("does not refer to a valid field")?
        };
        steps.push(name);
    }
    Ok((steps, here))
}

/// A text in single quotes, and what follows it.
fn quoted(text: &str) -> Result<(String, &str), String> {
    let Some(inside) = text.strip_prefix('\'') else {
        if text.is_empty() {
            return Err("unexpected end of JSON path".into());
        }
        let end = text.find(['.', '[', ']']).unwrap_or(text.len()).max(1);
        return Err(format!(
            "expected single quoted string but got {}",
            &text[..end]
        ));
    };
    let mut out = String::new();
    let mut chars = inside.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\'' => return Ok((out, &inside[at + 1..])),
            '\\' => match chars.next() {
                Some((_, c @ ('\'' | '\\'))) => out.push(c),
                Some((_, 'n')) => out.push('\n'),
                Some((_, 't')) => out.push('\t'),
                Some((_, 'r')) => out.push('\r'),
                _ => return Err("invalid string literal: invalid syntax".into()),
            },
            c => out.push(c),
        }
    }
    Err(format!("expected single quoted string but got '{inside}"))
}

/// Check `selectableFields`: each leads to a scalar outside of `metadata`.
pub fn selectable(fields: &[Value], schema: &Structural, at: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let mut seen: Vec<Vec<String>> = Vec::new();
    let base = Place::Base(at);
    for (index, field) in fields.iter().enumerate() {
        let place = base.index(index);
        let place = place.field("jsonPath").to_string();
        let path = field.get("jsonPath").and_then(Value::as_str).unwrap_or("");
        if path.is_empty() {
            errors.push(FieldError::required(place, ""));
            continue;
        }
        let (steps, found) = match at_path(schema, path, false) {
            Ok(found) => found,
            Err(why) => {
                let detail = format!("is an invalid path: {why}");
                errors.push(FieldError::invalid(place, path, detail));
                continue;
            }
        };
        if steps.first().is_some_and(|first| first == "metadata") {
            errors.push(FieldError::invalid(
                place.as_str(),
                path,
                "must not point to fields in metadata",
            ));
        }
        if !matches!(
            found.kind,
            Some(Type::String | Type::Boolean | Type::Integer)
        ) {
            errors.push(FieldError::invalid(
                place.as_str(),
                path,
                "must point to a field of type string, boolean or integer. Enum string fields and strings with formats are allowed.",
            ));
        }
        if seen.contains(&steps) {
            errors.push(FieldError::duplicate(place, path));
        } else {
            seen.push(steps);
        }
    }
    if seen.len() > MOST_SELECTABLE {
        errors.push(FieldError::too_many(at, seen.len(), MOST_SELECTABLE));
    }
    errors
}
