//! Templates: pieces of text put together.

use super::{Frame, evaluate};
use crate::convert::convert;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::marks::Marks;
use crate::refine::Refinement;
use crate::syntax::{Expr, Kind};
use crate::types::Type;
use crate::value::Value;

const INVALID: &str = "Invalid template interpolation value";

/// How much of the known start of an unknown string is kept.
const MAX_PREFIX: usize = 128;

pub(super) fn template(
    expr: &Expr,
    parts: &[Expr],
    frame: &Frame<'_>,
    out: &mut Diagnostics,
) -> Value {
    if let [part] = parts
        && let Kind::Literal(value) = part.kind()
        && value.as_str().is_some()
    {
        return value.clone();
    }
    let mut text = String::new();
    let mut known = true;
    let mut marks = Marks::default();
    let mut found = Diagnostics::new();
    for part in parts {
        let value = evaluate(part, frame, &mut found);
        if value.is_null() {
            let diagnostic = Diagnostic::error(
                INVALID,
                "The expression result is null. Cannot include a null value in a string template.",
            );
            found.push(frame.about(diagnostic.at(part.range()).within(expr.range()), part));
            continue;
        }
        let (value, own) = value.unmark();
        marks |= own;
        if !value.is_known() {
            known = false;
            continue;
        }
        if let Some(piece) = value.as_str() {
            if known {
                text.push_str(piece);
            }
            continue;
        }
        match convert(&value, &Type::String) {
            Ok(value) => {
                if known {
                    text.push_str(value.as_str().unwrap_or_default());
                }
            }
            Err(error) => {
                let detail =
                    format!("Cannot include the given value in a string template: {error}.");
                let diagnostic = Diagnostic::error(INVALID, detail)
                    .at(part.range())
                    .within(expr.range());
                found.push(frame.about(diagnostic, part));
            }
        }
    }
    let failed = found.has_errors();
    out.append(found);
    let value = if known {
        Value::string(text)
    } else {
        let mut refinement = Refinement::NONE.not_null();
        if !failed && !text.is_empty() {
            let mut end = text.len().min(MAX_PREFIX);
            while !text.is_char_boundary(end) {
                end -= 1;
            }
            refinement = refinement.starting_with(&text[..end]);
        }
        Value::unknown_with(Type::String, refinement)
    };
    value.with_marks(marks)
}

/// The results of a template's `for`, one after the other.
pub(super) fn join(expr: &Expr, inner: &Expr, frame: &Frame<'_>, out: &mut Diagnostics) -> Value {
    let unknown = || Value::unknown(Type::String);
    let tuple = evaluate(inner, frame, out);
    let (tuple, mut marks) = tuple.unmark();
    let Some(values) = tuple.as_sequence() else {
        return unknown().with_marks(marks);
    };
    let mut text = String::new();
    for value in values {
        if value.is_null() {
            let diagnostic = Diagnostic::error(
                INVALID,
                "An iteration result is null. Cannot include a null value in a string template.",
            );
            out.push(frame.about(diagnostic.at(expr.range()), expr));
            continue;
        }
        if !value.is_known() {
            return unknown().with_marks(marks | value.marks());
        }
        match convert(value, &Type::String) {
            Ok(value) => {
                marks |= value.marks();
                text.push_str(value.as_str().unwrap_or_default());
            }
            Err(error) => {
                let detail = format!(
                    "Cannot include one of the interpolation results into the string template: {error}."
                );
                out.push(frame.about(Diagnostic::error(INVALID, detail).at(expr.range()), expr));
            }
        }
    }
    Value::string(text).with_marks(marks)
}
