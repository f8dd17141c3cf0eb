//! Values as expressions.

use std::fmt::Write as _;
use std::sync::Arc;

use consort_hcl::{Kind, Marks, Type, Value};

use super::text::quoted;

/// A value as an expression, as `console` and `output` print it; `level` is the depth of its first line.
pub fn expression(value: &Value, level: usize) -> String {
    let mut out = String::new();
    write_expression(&mut out, value, level);
    out
}

fn write_expression(out: &mut String, value: &Value, level: usize) {
    let pad = |out: &mut String, level: usize| out.extend(std::iter::repeat_n(' ', 2 * level));
    if value.marks().intersects(Marks::EPHEMERAL) {
        out.push_str("(ephemeral value)");
        return;
    }
    if value.marks().intersects(Marks::SENSITIVE) {
        out.push_str("(sensitive value)");
        return;
    }
    if value.is_null() {
        let name = match value.ty() {
            Type::Dynamic => {
                out.push_str("null");
                return;
            }
            Type::Bool => "tobool",
            Type::Number => "tonumber",
            Type::String => "tostring",
            ty => {
                let _ = write!(out, "null /* {} */", ty.friendly_name());
                return;
            }
        };
        let _ = write!(out, "{name}(null)");
        return;
    }
    let sequence = |out: &mut String, parts: &[Value], function: Option<&str>| {
        let (open, close) = match function {
            Some(function) => (format!("{function}(["), "])"),
            None => ("[".to_owned(), "]"),
        };
        out.push_str(&open);
        for part in parts {
            out.push('\n');
            pad(out, level + 1);
            write_expression(out, part, level + 1);
            out.push(',');
        }
        if !parts.is_empty() {
            out.push('\n');
            pad(out, level);
        }
        out.push_str(close);
    };
    let keyed = |out: &mut String,
                 parts: &std::collections::BTreeMap<Arc<str>, Value>,
                 function: Option<&str>| {
        let (open, close) = match function {
            Some(function) => (format!("{function}({{"), "})"),
            None => ("{".to_owned(), "}"),
        };
        out.push_str(&open);
        for (name, part) in parts {
            out.push('\n');
            pad(out, level + 1);
            let _ = write!(out, "{} = ", quoted(name));
            write_expression(out, part, level + 1);
        }
        if !parts.is_empty() {
            out.push('\n');
            pad(out, level);
        }
        out.push_str(close);
    };
    match value.kind() {
        Kind::Null => out.push_str("null"),
        Kind::Unknown(_) => out.push_str("(known after apply)"),
        Kind::Bool(value) => out.push_str(if value { "true" } else { "false" }),
        Kind::Number(number) => {
            let _ = write!(out, "{number}");
        }
        Kind::String(text) if text.contains('\n') => heredoc(out, text, level),
        Kind::String(text) => out.push_str(&quoted(text)),
        Kind::List(parts) => sequence(out, parts, Some("tolist")),
        Kind::Set(parts) => sequence(out, parts, Some("toset")),
        Kind::Tuple(parts) => sequence(out, parts, None),
        Kind::Map(parts) => keyed(out, parts, Some("tomap")),
        Kind::Object(parts) => keyed(out, parts, None),
    }
}

fn heredoc(out: &mut String, text: &str, level: usize) {
    let mut delimiter = "EOT".to_owned();
    while text.lines().any(|line| line.trim() == delimiter) {
        delimiter.push('_');
    }
    let pad = " ".repeat(2 * level);
    if level == 0 {
        let _ = write!(out, "<<{delimiter}\n{text}\n{delimiter}");
        return;
    }
    let _ = write!(out, "<<-{delimiter}");
    for line in text.split('\n') {
        let _ = write!(out, "\n{pad}{line}");
    }
    let _ = write!(out, "\n{pad}{delimiter}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_as_expressions() {
        let value = Value::tuple(vec![
            Value::string("a\nb"),
            Value::object([("x", Value::number(1))]),
            Value::null(Type::String),
            Value::set(Type::Number, vec![Value::number(2), Value::number(1)]),
        ]);
        assert_eq!(
            expression(&value, 0),
            "[\n  <<-EOT\n  a\n  b\n  EOT,\n  {\n    \"x\" = 1\n  },\n  tostring(null),\n  toset([\n    1,\n    2,\n  ]),\n]"
        );
    }
}
