//! `condition ? yes : no`.

use super::{Frame, evaluate};
use crate::convert::{convert, unify_lossy};
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::number::Number;
use crate::refine::Refinement;
use crate::syntax::Expr;
use crate::text::quote;
use crate::types::Type;
use crate::value::Value;

const INCONSISTENT: &str = "Inconsistent conditional result types";

pub(super) fn conditional(
    expr: &Expr,
    [condition_expr, yes_expr, no_expr]: [&Expr; 3],
    frame: &Frame<'_>,
    out: &mut Diagnostics,
) -> Value {
    // Both results are evaluated, for their types; only the chosen one's diagnostics are kept.
    let (mut yes_found, mut no_found) = (Diagnostics::new(), Diagnostics::new());
    let yes = evaluate(yes_expr, frame, &mut yes_found);
    let no = evaluate(no_expr, frame, &mut no_found);
    let Some(result) = result_type(&yes, &no) else {
        let detail = format!(
            "The true and false result expressions must have consistent types. {}.",
            describe_mismatch(yes.ty(), no.ty())
        );
        let diagnostic = Diagnostic::error(INCONSISTENT, detail)
            .at(yes_expr.range().to(no_expr.range()))
            .within(expr.range());
        out.push(frame.about(diagnostic, expr));
        return Value::DYNAMIC;
    };
    let condition = evaluate(condition_expr, frame, out);
    if condition.is_null() {
        let diagnostic = Diagnostic::error(
            "Null condition",
            "The condition value is null. Conditions must either be true or false.",
        );
        out.push(frame.about(
            diagnostic.at(condition_expr.range()).within(expr.range()),
            condition_expr,
        ));
        return Value::unknown(result);
    }
    let (condition, mut marks) = condition.unmark();
    let (yes, yes_marks) = yes.unmark();
    let (no, no_marks) = no.unmark();
    marks |= yes_marks;
    marks |= no_marks;
    if !condition.is_known() {
        return either(&yes, &no, result).with_marks(marks);
    }
    let Some(chosen) = convert(&condition, &Type::Bool)
        .ok()
        .and_then(|value| value.as_bool())
    else {
        let diagnostic = Diagnostic::error(
            "Incorrect condition type",
            "The condition expression must be of type bool.",
        );
        out.push(frame.about(
            diagnostic.at(condition_expr.range()).within(expr.range()),
            condition_expr,
        ));
        return Value::unknown(result);
    };
    let (value, found, chosen_expr, which) = if chosen {
        (yes, yes_found, yes_expr, "true")
    } else {
        (no, no_found, no_expr, "false")
    };
    out.append(found);
    if matches!(result, Type::Dynamic) || *value.ty() == result {
        return value.with_marks(marks);
    }
    match convert(&value, &result) {
        Ok(value) => value.with_marks(marks),
        Err(error) => {
            let detail = format!("The {which} result value has the wrong type: {error}.");
            let diagnostic = Diagnostic::error(INCONSISTENT, detail)
                .at(chosen_expr.range())
                .within(expr.range());
            out.push(frame.about(diagnostic, chosen_expr));
            Value::unknown(result).with_marks(marks)
        }
    }
}

/// The type both results can be converted to. A null without a type takes the other's.
fn result_type(yes: &Value, no: &Value) -> Option<Type> {
    let untyped_null = |value: &Value| {
        value.is_null() && matches!(value.ty(), Type::Dynamic) && !value.is_marked()
    };
    if untyped_null(yes) {
        return Some(no.ty().clone());
    }
    if untyped_null(no) {
        return Some(yes.ty().clone());
    }
    if matches!(yes.ty(), Type::Dynamic) || matches!(no.ty(), Type::Dynamic) {
        return Some(Type::Dynamic);
    }
    if yes.ty() == no.ty() {
        return Some(yes.ty().clone());
    }
    unify_lossy(&[yes.ty().clone(), no.ty().clone()]).map(|unified| unified.ty)
}

/// What is known of the result while the condition is not.
fn either(yes: &Value, no: &Value, result: Type) -> Value {
    if yes.is_null() && no.is_null() {
        return Value::null(result);
    }
    let mut refinement = Refinement::NONE;
    if yes.is_certainly_not_null() && no.is_certainly_not_null() {
        refinement = refinement.not_null();
    }
    if matches!((yes.ty(), no.ty()), (Type::Number, Type::Number)) {
        if let (Some(a), Some(b)) = (lower_bound(yes), lower_bound(no)) {
            let (bound, inclusive) = match a.0.cmp(&b.0) {
                std::cmp::Ordering::Less => a,
                std::cmp::Ordering::Greater => b,
                std::cmp::Ordering::Equal => (a.0, a.1 || b.1),
            };
            refinement = refinement.at_least(bound, inclusive);
        }
        if let (Some(a), Some(b)) = (upper_bound(yes), upper_bound(no)) {
            let (bound, inclusive) = match a.0.cmp(&b.0) {
                std::cmp::Ordering::Greater => a,
                std::cmp::Ordering::Less => b,
                std::cmp::Ordering::Equal => (a.0, a.1 || b.1),
            };
            refinement = refinement.at_most(bound, inclusive);
        }
    } else if yes.ty().is_collection() && yes.ty() == no.ty() {
        let (a, b) = (yes.length_range(), no.length_range());
        refinement = refinement.with_at_least(a.0.min(b.0));
        let longest = a.1.max(b.1);
        if longest != usize::MAX {
            refinement = refinement.with_at_most(longest);
        }
    }
    Value::unknown_with(result, refinement)
}

fn lower_bound(value: &Value) -> Option<(Number, bool)> {
    match value.as_number() {
        Some(number) => Some((number.clone(), true)),
        None => value.refinement()?.minimum().cloned(),
    }
}

fn upper_bound(value: &Value) -> Option<(Number, bool)> {
    match value.as_number() {
        Some(number) => Some((number.clone(), true)),
        None => value.refinement()?.maximum().cloned(),
    }
}

/// Why two types that cannot be unified differ, for whoever has to find the place.
fn describe_mismatch(yes: &Type, no: &Type) -> String {
    match (yes, no) {
        (Type::Object(a), Type::Object(b)) => {
            for (name, ty) in &a.attributes {
                let Some(other) = b.attributes.get(name) else {
                    return format!(
                        "The 'true' value includes object attribute {}, which is absent in the 'false' value",
                        quote(name)
                    );
                };
                if ty != other {
                    return format!(
                        "Type mismatch for object attribute {}: {}",
                        quote(name),
                        describe_mismatch(ty, other)
                    );
                }
            }
            if let Some(name) = b
                .attributes
                .keys()
                .find(|name| !a.attributes.contains_key(*name))
            {
                return format!(
                    "The 'false' value includes object attribute {}, which is absent in the 'true' value",
                    quote(name)
                );
            }
        }
        (Type::Tuple(a), Type::Tuple(b)) => {
            if a.len() != b.len() {
                return format!(
                    "The 'true' tuple has length {}, but the 'false' tuple has length {}",
                    a.len(),
                    b.len()
                );
            }
            if let Some(at) = (0..a.len()).find(|at| a[*at] != b[*at]) {
                return format!(
                    "Type mismatch for tuple element {at}: {}",
                    describe_mismatch(&a[at], &b[at])
                );
            }
        }
        (Type::List(a), Type::List(b))
        | (Type::Set(a), Type::Set(b))
        | (Type::Map(a), Type::Map(b)) => {
            let structural = matches!(
                (&**a, &**b),
                (Type::Object(_), Type::Object(_)) | (Type::Tuple(_), Type::Tuple(_))
            );
            if structural {
                let noun = match yes {
                    Type::List(_) => "list",
                    Type::Set(_) => "set",
                    _ => "map",
                };
                return format!(
                    "Mismatched {noun} element types: {}",
                    describe_mismatch(a, b)
                );
            }
        }
        _ => {}
    }
    let (yes, no) = (yes.friendly_name(), no.friendly_name());
    if yes == no {
        return "At least one deeply-nested attribute or element is not compatible across both the 'true' and the 'false' value".to_owned();
    }
    format!("The 'true' value is {yes}, but the 'false' value is {no}")
}
