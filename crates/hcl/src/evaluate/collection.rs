//! Elements and attributes of values, and object constructors.

use super::{Frame, evaluate};
use crate::convert::convert;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::marks::Marks;
use crate::source::Range;
use crate::syntax::{Expr, Kind};
use crate::text::quote;
use crate::types::Type;
use crate::value::Value;

type Step = Result<Value, Box<Diagnostic>>;

fn fail(summary: &str, detail: impl Into<String>, range: Range) -> Step {
    Err(Box::new(Diagnostic::error(summary, detail).at(range)))
}

const INVALID_INDEX: &str = "Invalid index";
const NO_ELEMENT: &str = "The given key does not identify an element in this collection value";

/// `collection[key]`, with HCL's rules and messages.
pub fn index(collection: &Value, key: &Value, range: Range) -> Step {
    if collection.is_null() {
        return fail(
            "Attempt to index null value",
            "This value is null, so it does not have any indices.",
            range,
        );
    }
    if key.is_null() {
        return fail(
            INVALID_INDEX,
            "Can't use a null value as an indexing key.",
            range,
        );
    }
    let ty = collection.ty();
    if matches!(ty, Type::Dynamic) || matches!(key.ty(), Type::Dynamic) {
        return Ok(Value::DYNAMIC.with_marks(collection.marks()));
    }
    match ty {
        Type::List(_) | Type::Tuple(_) => element(collection, key, &Type::Number, range),
        Type::Map(_) => element(collection, key, &Type::String, range),
        Type::Object(object) => {
            let was_number = matches!(key.ty(), Type::Number);
            let key = match convert(key, &Type::String) {
                Ok(key) => key,
                Err(error) => return fail(INVALID_INDEX, format!("{NO_ELEMENT}: {error}."), range),
            };
            let Some(name) = key.as_str() else {
                return Ok(Value::DYNAMIC.with_marks(collection.marks()));
            };
            if !object.attributes.contains_key(name) {
                let hint = if was_number {
                    " An object only supports looking up attributes by name, not by numeric index."
                } else {
                    ""
                };
                return fail(INVALID_INDEX, format!("{NO_ELEMENT}.{hint}"), range);
            }
            collection
                .attribute(name)
                .or_else(|error| fail(INVALID_INDEX, format!("{NO_ELEMENT}: {error}."), range))
        }
        Type::Set(_) => fail(
            INVALID_INDEX,
            "Elements of a set are identified only by their value and don't have any separate index or key to select with, so it's only possible to perform operations across all elements of the set.",
            range,
        ),
        _ => fail(
            INVALID_INDEX,
            "This value does not have any indices.",
            range,
        ),
    }
}

/// An element of a list, tuple or map.
fn element(collection: &Value, key: &Value, wanted: &Type, range: Range) -> Step {
    let key = match convert(key, wanted) {
        Ok(key) => key,
        Err(error) => return fail(INVALID_INDEX, format!("{NO_ELEMENT}: {error}."), range),
    };
    match collection.has_index(&key).as_bool() {
        None => {
            let ty = match collection.ty() {
                Type::Tuple(_) => Type::Dynamic,
                ty => ty.element().cloned().unwrap_or(Type::Dynamic),
            };
            Ok(Value::unknown(ty).with_marks(collection.marks()))
        }
        Some(true) => collection
            .index(&key)
            .or_else(|error| fail(INVALID_INDEX, format!("{NO_ELEMENT}: {error}."), range)),
        Some(false) => {
            // The key itself is never shown: it might be sensitive.
            let why = key.as_number().and_then(|number| {
                if !number.is_integer() {
                    return Some(": indexing a sequence requires a whole number, but the given index has a fractional part");
                }
                if number.signum() < 0 {
                    return Some(": a negative number is not a valid index for a sequence");
                }
                let length = collection.length_range();
                if collection.is_marked() || length.0 != length.1 || number.to_usize() != Some(length.0) {
                    return None;
                }
                Some(if length.0 == 0 {
                    ": the collection has no elements"
                } else {
                    ": the given index is greater than or equal to the length of the collection"
                })
            });
            fail(
                INVALID_INDEX,
                format!("{NO_ELEMENT}{}.", why.unwrap_or("")),
                range,
            )
        }
    }
}

const UNSUPPORTED: &str = "Unsupported attribute";

/// `object.name`, with HCL's rules and messages.
pub fn attribute(object: &Value, name: &str, range: Range) -> Step {
    if object.is_null() {
        return fail(
            "Attempt to get attribute from null value",
            "This value is null, so it does not have any attributes.",
            range,
        );
    }
    match object.ty() {
        Type::Object(_) => object.attribute(name).or_else(|_| {
            let detail = format!(
                "This object does not have an attribute named {}.",
                quote(name)
            );
            fail(UNSUPPORTED, detail, range)
        }),
        Type::Map(element) => {
            if !object.is_known() {
                return Ok(Value::unknown(Type::clone(element)).with_marks(object.marks()));
            }
            object.index(&Value::string(name)).or_else(|_| {
                let detail = format!(
                    "This map does not have an element with the key {}.",
                    quote(name)
                );
                fail("Missing map element", detail, range)
            })
        }
        Type::Dynamic => Ok(Value::DYNAMIC.with_marks(object.marks())),
        Type::List(element) if matches!(**element, Type::Object(_)) => {
            let detail = if element.attribute(name).is_some() {
                format!(
                    "Can't access attributes on a list of objects. Did you mean to access attribute {} for a specific element of the list, or across all elements of the list?",
                    quote(name)
                )
            } else {
                "Can't access attributes on a list of objects. Did you mean to access an attribute for a specific element of the list, or across all elements of the list?".to_owned()
            };
            fail(UNSUPPORTED, detail, range)
        }
        Type::Set(element) if matches!(**element, Type::Object(_)) => fail(
            UNSUPPORTED,
            "Can't access attributes on a set of objects. Did you mean to access an attribute across all elements of the set?",
            range,
        ),
        ty if ty.is_primitive() => {
            let detail = format!(
                "Can't access attributes on a primitive-typed value ({}).",
                ty.friendly_name()
            );
            fail(UNSUPPORTED, detail, range)
        }
        _ => fail(
            UNSUPPORTED,
            "This value does not have any attributes.",
            range,
        ),
    }
}

pub(super) fn index_expr(
    expr: &Expr,
    (collection, key, bracket): (&Expr, &Expr, Range),
    frame: &Frame<'_>,
    out: &mut Diagnostics,
) -> Value {
    let collection = evaluate(collection, frame, out);
    let key = evaluate(key, frame, out);
    index(&collection, &key, bracket).unwrap_or_else(|diagnostic| {
        out.push(frame.about(*diagnostic, expr));
        Value::DYNAMIC
    })
}

pub(super) fn object(items: &[(Expr, Expr)], frame: &Frame<'_>, out: &mut Diagnostics) -> Value {
    let mut attributes = Vec::with_capacity(items.len());
    let mut marks = Marks::default();
    // Without all keys not even the type is known; the rest is evaluated for its diagnostics.
    let mut known = true;
    for (key_expr, value_expr) in items {
        let mut wrong = Diagnostics::new();
        let key = evaluate(key_expr, frame, &mut wrong);
        let failed = wrong.has_errors();
        out.append(wrong);
        let value = evaluate(value_expr, frame, out);
        if failed {
            known = false;
            continue;
        }
        if key.is_null() {
            let diagnostic =
                Diagnostic::error("Null value as key", "Can't use a null value as a key.");
            out.push(frame.about(diagnostic.at(value_expr.range()), key_expr));
            known = false;
            continue;
        }
        let (key, key_marks) = key.unmark();
        marks |= key_marks;
        match convert(&key, &Type::String) {
            Ok(key) => match key.as_shared_str() {
                Some(name) => attributes.push((name, value)),
                None => known = false,
            },
            Err(error) => {
                let detail = format!("Can't use this value as a key: {error}.");
                let diagnostic =
                    Diagnostic::error("Incorrect key type", detail).at(key_expr.range());
                out.push(frame.about(diagnostic, key_expr));
                known = false;
            }
        }
    }
    if known {
        Value::object(attributes).with_marks(marks)
    } else {
        Value::DYNAMIC
    }
}

pub(super) fn object_key(
    wrapped: &Expr,
    parenthesised: bool,
    frame: &Frame<'_>,
    out: &mut Diagnostics,
) -> Value {
    if !parenthesised {
        if let Kind::Traversal(traversal) = wrapped.kind()
            && !traversal.steps.is_empty()
        {
            out.push(
                Diagnostic::error(
                    "Ambiguous attribute key",
                    "If this expression is intended to be a reference, wrap it in parentheses. If it's instead intended as a literal name containing periods, wrap it in quotes to create a string literal.",
                )
                .at(wrapped.range()),
            );
            return Value::DYNAMIC;
        }
        if let Some(name) = wrapped.as_keyword() {
            return Value::string(name);
        }
    }
    evaluate(wrapped, frame, out)
}
