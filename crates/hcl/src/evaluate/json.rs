//! Expressions of the JSON syntax: strings are templates, names of properties too.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Frame, evaluate};
use crate::convert::convert;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::source::Range;
use crate::syntax::{Expr, JsonProperty, JsonString, Kind};
use crate::text::quote;
use crate::types::Type;
use crate::value::Value;

pub(super) fn string(string: &JsonString, frame: &Frame<'_>, out: &mut Diagnostics) -> Value {
    if frame.verbatim {
        return Value::string(&string.text);
    }
    let (template, diagnostics) = string.template();
    out.append(diagnostics.clone());
    if diagnostics.has_errors() {
        return Value::DYNAMIC;
    }
    evaluate(template, frame, out)
}

pub(super) fn object(
    expr: &Expr,
    properties: &[JsonProperty],
    frame: &Frame<'_>,
    out: &mut Diagnostics,
) -> Value {
    const INVALID: &str = "Invalid object key expression";
    let mut attributes: BTreeMap<Arc<str>, Value> = BTreeMap::new();
    let mut places: BTreeMap<Arc<str>, Range> = BTreeMap::new();
    let mut known = true;
    for property in properties {
        let name = evaluate(&property.name_expr, frame, out);
        let value = evaluate(&property.value, frame, out);
        let name = match convert(&name, &Type::String) {
            Ok(name) => name,
            Err(error) => {
                let detail = format!("Cannot use this expression as an object key: {error}.");
                let diagnostic = Diagnostic::error(INVALID, detail).at(property.name_range);
                out.push(frame.about(diagnostic, &property.value));
                continue;
            }
        };
        if name.is_null() {
            let diagnostic = Diagnostic::error(INVALID, "Cannot use null value as an object key.")
                .at(property.name_range);
            out.push(frame.about(diagnostic, &property.value));
            continue;
        }
        let Some(name) = name.as_shared_str() else {
            known = false;
            continue;
        };
        if let Some(first) = places.get(&name) {
            let place = match property.name_expr.kind() {
                Kind::JsonString(string) => string.source.describe(*first),
                _ => String::new(),
            };
            let detail = format!(
                "An attribute named {} was already defined at {place}.",
                quote(&name)
            );
            let diagnostic =
                Diagnostic::error("Duplicate object attribute", detail).at(property.name_range);
            out.push(frame.about(diagnostic, expr));
            continue;
        }
        places.insert(name.clone(), property.name_range);
        attributes.insert(name, value);
    }
    if known {
        Value::object(attributes)
    } else {
        Value::DYNAMIC
    }
}
