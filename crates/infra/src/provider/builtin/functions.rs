//! Functions that write and read variables files and expressions.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

use consort_hcl::{Kind, Sources, Type, Value, is_identifier, parse};

use crate::provider::FunctionError;
use crate::provider::schema::{Described, Function, Parameter};

pub(super) fn all() -> BTreeMap<Arc<str>, Function> {
    let function = |parameter: (&str, Type, &str), returns: Type, summary: &str| Function {
        parameters: vec![Parameter {
            name: parameter.0.into(),
            ty: parameter.1,
            allow_null: false,
            allow_unknown: false,
            description: Described {
                text: parameter.2.into(),
                markdown: false,
            },
        }],
        variadic: None,
        returns,
        summary: summary.into(),
        description: Described {
            text: summary.into(),
            markdown: false,
        },
        deprecation_message: "".into(),
    };
    let expr = function(
        ("value", Type::Dynamic, "The value to write"),
        Type::String,
        "Writes a value as an expression that gives it",
    );
    BTreeMap::from([
        (
            "decode_tfvars".into(),
            function(
                ("src", Type::String, "The content of a variables file"),
                Type::Dynamic,
                "Reads the content of a variables file as an object",
            ),
        ),
        (
            "encode_tfvars".into(),
            function(
                (
                    "value",
                    Type::Dynamic,
                    "An object whose attributes are names of variables",
                ),
                Type::String,
                "Writes an object as the content of a variables file",
            ),
        ),
        ("encode_expr".into(), expr),
    ])
}

pub(super) fn call(name: &str, arguments: &[Value]) -> Result<Value, FunctionError> {
    let fail = |message: String, argument| Err(FunctionError { message, argument });
    let [argument] = arguments else {
        return fail(
            format!("{name} takes one argument, not {}", arguments.len()),
            None,
        );
    };
    let known = argument.is_wholly_known();
    match name {
        "decode_tfvars" if !known => Ok(Value::DYNAMIC),
        "encode_tfvars" | "encode_expr" if !known => Ok(Value::unknown_not_null(Type::String)),
        "decode_tfvars" => match argument.as_str() {
            Some(text) => decode_tfvars(text).or_else(|message| fail(message, Some(0))),
            None => fail(
                "Cannot decode tfvars from a null value.".to_owned(),
                Some(0),
            ),
        },
        "encode_tfvars" => encode_tfvars(argument).or_else(|message| fail(message, Some(0))),
        "encode_expr" => {
            let mut text = String::new();
            write_value(&mut text, argument);
            Ok(Value::string(consort_hcl::format::format(&text)))
        }
        other => fail(format!("provider function {other:?} not found"), None),
    }
}

fn decode_tfvars(text: &str) -> Result<Value, String> {
    let mut sources = Sources::new();
    let failed = |diagnostics: &consort_hcl::Diagnostics, sources: &Sources| {
        let first = diagnostics.iter().next();
        let place = first
            .and_then(|d| d.subject)
            .and_then(|range| sources.start(range));
        let line = place.map_or_else(String::new, |p| format!(" on line {}", p.line));
        let what = first.map_or_else(String::new, |d| format!("{}; {}", d.summary, d.detail));
        format!("Failed to decode tfvars content{line}: {what}")
    };
    let (body, diagnostics) = parse(&mut sources, "<decode_tfvars argument>", text);
    if diagnostics.has_errors() {
        return Err(failed(&diagnostics, &sources));
    }
    let (attributes, diagnostics) = body.just_attributes();
    if diagnostics.has_errors() {
        return Err(failed(&diagnostics, &sources));
    }
    let mut values = BTreeMap::new();
    for (name, attribute) in attributes {
        let (value, diagnostics) = attribute.expr.evaluate_constant();
        if diagnostics.has_errors() {
            return Err(failed(&diagnostics, &sources));
        }
        values.insert(name, value);
    }
    Ok(Value::object(values))
}

fn encode_tfvars(value: &Value) -> Result<Value, String> {
    if value.is_null() {
        return Err("Cannot encode a null value in tfvars syntax.".to_owned());
    }
    let (Kind::Object(values) | Kind::Map(values)) = value.kind() else {
        return Err("Invalid value to encode: must be an object whose attribute names will become the encoded variable \
                    names."
            .to_owned());
    };
    let mut text = String::new();
    for (name, value) in values {
        if !is_identifier(name) {
            return Err(format!(
                "Invalid variable name {name:?}: must be a valid identifier, per Terraform's rules for \
                                input variable declarations."
            ));
        }
        let _ = write!(text, "{name} = ");
        write_value(&mut text, value);
        text.push('\n');
    }
    Ok(Value::string(consort_hcl::format::format(&text)))
}

/// Writes a wholly known value as an expression; spacing is left to the formatter.
pub(crate) fn write_value(out: &mut String, value: &Value) {
    match value.kind() {
        Kind::Null | Kind::Unknown(_) => out.push_str("null"),
        Kind::Bool(b) => {
            let _ = write!(out, "{b}");
        }
        Kind::Number(n) => {
            let _ = write!(out, "{n}");
        }
        Kind::String(text) => write_string(out, text),
        Kind::List(values) | Kind::Set(values) | Kind::Tuple(values) => {
            out.push('[');
            for (i, value) in values.iter().enumerate() {
                if i > 0 {
                    out.push_str(", ");
                }
                write_value(out, value);
            }
            out.push(']');
        }
        Kind::Map(values) | Kind::Object(values) => {
            out.push('{');
            if !values.is_empty() {
                out.push('\n');
            }
            for (name, value) in values {
                if is_identifier(name) {
                    out.push_str(name);
                } else {
                    write_string(out, name);
                }
                out.push_str(" = ");
                write_value(out, value);
                out.push('\n');
            }
            out.push('}');
        }
    }
}

/// Writes a text as a quoted string.
pub(crate) fn write_string(out: &mut String, text: &str) {
    out.push('"');
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '$' | '%' if rest.peek() == Some(&'{') => {
                out.push(c);
                out.push(c);
            }
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}
