//! Values as JSON, as Python's `json` writes it.

use std::fmt::Write as _;

use crate::error::{Error, Result};
use crate::repr;
use crate::value::Value;

/// How JSON is written.
#[derive(Clone, Debug)]
pub struct Style {
    /// This before each item, once for each level, each item on a line of its own; all on one line if there is none.
    pub indent: Option<String>,
    /// Whether keys come in their order.
    pub sort_keys: bool,
    /// Whether characters beyond ASCII are escaped.
    pub ascii: bool,
    /// Between items and between key and value; Python's defaults otherwise.
    pub separators: Option<(String, String)>,
}

impl Default for Style {
    fn default() -> Self {
        Style {
            indent: None,
            sort_keys: false,
            ascii: true,
            separators: None,
        }
    }
}

/// Writes a value.
///
/// # Errors
/// It holds what JSON has no form for, or is too deep.
pub fn write(value: &Value, style: &Style) -> Result<String> {
    let mut out = String::new();
    inner(value, style, 0, &mut out)?;
    Ok(out)
}

/// No text that is larger is written.
const LARGEST: usize = 1_000_000_000;

fn inner(value: &Value, style: &Style, depth: usize, out: &mut String) -> Result<()> {
    if depth > 200 {
        return Err(Error::failed("Circular reference detected"));
    }
    // What is shared is written out each time: a few lines may stand for more than any memory holds.
    if out.len() > LARGEST {
        return Err(Error::failed("the result would be too large"));
    }
    let (between, colon) = match &style.separators {
        Some((between, colon)) => (between.as_str(), colon.as_str()),
        None if style.indent.is_some() => (",", ": "),
        None => (", ", ": "),
    };
    let line = |out: &mut String, depth: usize| {
        if let Some(indent) = &style.indent {
            out.push('\n');
            out.extend(std::iter::repeat_n(indent.as_str(), depth));
        }
    };
    match value {
        Value::None => out.push_str("null"),
        Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Value::Int(_) | Value::Big(_) => out.push_str(&repr::repr(value)),
        Value::Float(number) => out.push_str(&match *number {
            number if number.is_nan() => "NaN".to_owned(),
            f64::INFINITY => "Infinity".to_owned(),
            f64::NEG_INFINITY => "-Infinity".to_owned(),
            number => repr::float(number),
        }),
        Value::Str(text) => string(text, style.ascii, out),
        Value::List(_) | Value::Tuple(_) => items(&value.iterate()?, style, depth, out)?,
        Value::Object(object) if !object.is_mapping() && object.items().is_some() => {
            items(&value.iterate()?, style, depth, out)?;
        }
        Value::Object(object) if !object.is_mapping() && object.may_be_stored() => {
            string(&object.stored(), style.ascii, out);
        }
        Value::Bytes(bytes) => string(&String::from_utf8_lossy(bytes), style.ascii, out),
        Value::Dict(_) | Value::Object(_) if value.entries().is_some() => {
            let mut entries: Vec<(String, Value)> = Vec::new();
            for (key, value) in value.entries().unwrap_or_default() {
                let name = match key.value() {
                    Value::Str(text) => text.to_string(),
                    Value::None => "null".into(),
                    Value::Bool(true) => "true".into(),
                    Value::Bool(false) => "false".into(),
                    number @ (Value::Int(_) | Value::Big(_) | Value::Float(_)) => {
                        repr::repr(number)
                    }
                    other => {
                        return Err(Error::failed(format!(
                            "keys must be str, int, float, bool or None, not {}",
                            other.type_name()
                        )));
                    }
                };
                entries.push((name, value.clone()));
            }
            if style.sort_keys {
                entries.sort_by(|one, two| one.0.cmp(&two.0));
            }
            if entries.is_empty() {
                out.push_str("{}");
                return Ok(());
            }
            out.push('{');
            for (at, (name, value)) in entries.iter().enumerate() {
                if at > 0 {
                    out.push_str(between);
                }
                line(out, depth + 1);
                string(name, style.ascii, out);
                out.push_str(colon);
                inner(value, style, depth + 1, out)?;
            }
            line(out, depth);
            out.push('}');
        }
        Value::Undefined(undefined) => return Err(undefined.as_error()),
        other => {
            return Err(Error::failed(format!(
                "Object of type {} is not JSON serializable",
                other.type_name()
            )));
        }
    }
    Ok(())
}

fn items(items: &[Value], style: &Style, depth: usize, out: &mut String) -> Result<()> {
    if items.is_empty() {
        out.push_str("[]");
        return Ok(());
    }
    let between = match &style.separators {
        Some((between, _)) => between.as_str(),
        None if style.indent.is_some() => ",",
        None => ", ",
    };
    out.push('[');
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            out.push_str(between);
        }
        if let Some(indent) = &style.indent {
            out.push('\n');
            out.extend(std::iter::repeat_n(indent.as_str(), depth + 1));
        }
        inner(item, style, depth + 1, out)?;
    }
    if let Some(indent) = &style.indent {
        out.push('\n');
        out.extend(std::iter::repeat_n(indent.as_str(), depth));
    }
    out.push(']');
    Ok(())
}

fn string(text: &str, ascii: bool, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            c if (c as u32) < 0x20 || ascii && !c.is_ascii() => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
            c => out.push(c),
        }
    }
    out.push('"');
}
