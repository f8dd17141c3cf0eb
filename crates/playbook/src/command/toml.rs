//! Values as TOML, in the form that Python's `tomli_w` gives them.

use std::fmt::Write as _;

use consort_jinja::{Key, Value};
use indexmap::IndexMap;

use crate::source::{Encrypted, Located};

/// The text of a dict.
pub(super) fn text(value: &Value) -> Result<String, Located> {
    let Value::Dict(entries) = value else {
        return Err(Located::new("only dictionaries can be written as TOML"));
    };
    let mut out = String::new();
    table(&entries.read(), &mut Vec::new(), false, &mut out)?;
    Ok(out)
}

fn table(
    entries: &IndexMap<Key, Value>,
    path: &mut Vec<String>,
    in_array: bool,
    out: &mut String,
) -> Result<(), Located> {
    if path.len() > 200 {
        return Err(Located::new("nested too deep to be written as TOML"));
    }
    let mut literals = Vec::new();
    let mut tables = Vec::new();
    for (name, value) in entries {
        let name = key(&consort_jinja::repr::text(name.value()));
        match value {
            Value::Dict(_) => tables.push((name, value, false)),
            Value::List(items)
                if !items.is_empty()
                    && items
                        .read()
                        .iter()
                        .all(|item| matches!(item, Value::Dict(_)))
                    && !items.read().iter().all(fits_inline) =>
            {
                tables.push((name, value, true));
            }
            value => literals.push((name, value)),
        }
    }
    let mut written = false;
    if in_array || (!path.is_empty() && (!literals.is_empty() || tables.is_empty())) {
        written = true;
        let name = path.join(".");
        if in_array {
            let _ = writeln!(out, "[[{name}]]");
        } else {
            let _ = writeln!(out, "[{name}]");
        }
    }
    for (name, value) in literals {
        written = true;
        let _ = writeln!(out, "{name} = {}", literal(value, 1)?);
    }
    for (name, value, is_array) in tables {
        if written {
            out.push('\n');
        }
        written = true;
        path.push(name);
        match value {
            Value::List(items) if is_array => {
                let items = items.read().clone();
                for (at, item) in items.iter().enumerate() {
                    if let Value::Dict(entries) = item {
                        if at > 0 {
                            out.push('\n');
                        }
                        table(&entries.read(), path, true, out)?;
                    }
                }
            }
            Value::Dict(entries) => table(&entries.read(), path, false, out)?,
            _ => {}
        }
        path.pop();
    }
    Ok(())
}

/// Whether a dict in a list is short enough to stand in one line.
fn fits_inline(value: &Value) -> bool {
    literal(value, 1).is_ok_and(|text| text.len() + 5 <= 100 && !text.contains('\n'))
}

fn key(name: &str) -> String {
    let bare = !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
    if bare { name.to_owned() } else { string(name) }
}

fn string(text: &str) -> String {
    let mut out = String::from("\"");
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\x08' => out.push_str("\\b"),
            '\t' => out.push_str("\\t"),
            '\n' => out.push_str("\\n"),
            '\x0c' => out.push_str("\\f"),
            '\r' => out.push_str("\\r"),
            control if control < ' ' || control == '\x7f' => {
                let _ = write!(out, "\\u{:04x}", control as u32);
            }
            other => out.push(other),
        }
    }
    out.push('"');
    out
}

fn literal(value: &Value, depth: usize) -> Result<String, Located> {
    if depth > 200 {
        return Err(Located::new("nested too deep to be written as TOML"));
    }
    Ok(match value {
        Value::Bool(yes) => yes.to_string(),
        Value::Int(number) => number.to_string(),
        Value::Big(number) => number.to_string(),
        Value::Float(number) => consort_jinja::repr::float(*number),
        Value::Str(text) => string(text),
        Value::List(items) if items.is_empty() => "[]".to_owned(),
        Value::List(items) => {
            let indent = "    ".repeat(depth);
            let close = "    ".repeat(depth - 1);
            let items = items
                .read()
                .iter()
                .map(|item| Ok(format!("{indent}{},\n", literal(item, depth + 1)?)))
                .collect::<Result<String, Located>>()?;
            format!("[\n{items}{close}]")
        }
        Value::Dict(entries) if entries.is_empty() => "{}".to_owned(),
        Value::Dict(entries) => {
            let entries = entries
                .read()
                .iter()
                .map(|(name, value)| {
                    Ok(format!(
                        "{} = {}",
                        key(&consort_jinja::repr::text(name.value())),
                        literal(value, depth)?
                    ))
                })
                .collect::<Result<Vec<String>, Located>>()?;
            format!("{{ {} }}", entries.join(", "))
        }
        Value::Object(object) => match object.any().downcast_ref::<Encrypted>() {
            Some(encrypted) => string(&encrypted.ciphertext),
            None => string(&consort_jinja::repr::text(value)),
        },
        other => {
            return Err(Located::new(format!(
                "Object of type '{}' is not TOML serializable",
                other.type_name()
            )));
        }
    })
}
