//! `for` expressions and splats.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Frame, Locals, Names, evaluate};
use crate::convert::convert;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::marks::Marks;
use crate::syntax::{Expr, For, Splat};
use crate::text::quote;
use crate::types::Type;
use crate::value::{Kind as Shape, Value};

/// Goes over the elements of a known collection, tuple or object. Keys are made only if they are wanted.
fn each_element(collection: &Value, keys: bool, mut visit: impl FnMut(Option<Value>, &Value)) {
    match collection.kind() {
        Shape::List(values) | Shape::Tuple(values) => {
            for (at, value) in values.iter().enumerate() {
                visit(keys.then(|| Value::number(at)), value);
            }
        }
        Shape::Set(values) => {
            for value in values {
                visit(keys.then(|| value.clone()), value);
            }
        }
        Shape::Map(values) | Shape::Object(values) => {
            for (key, value) in values {
                visit(keys.then(|| Value::shared_string(key.clone())), value);
            }
        }
        _ => {}
    }
}

pub(super) fn for_expr(expr: &Expr, f: &For, frame: &Frame<'_>, out: &mut Diagnostics) -> Value {
    let collection = evaluate(&f.collection, frame, out);
    if collection.is_null() {
        let diagnostic = Diagnostic::error(
            "Iteration over null value",
            "A null value cannot be used as the collection in a 'for' expression.",
        );
        out.push(frame.about(
            diagnostic.at(f.collection.range()).within(expr.range()),
            &f.collection,
        ));
        return Value::DYNAMIC;
    }
    if matches!(collection.ty(), Type::Dynamic) {
        return Value::DYNAMIC;
    }
    let (collection, marks) = collection.unmark();
    let iterable = collection.ty().is_collection()
        || matches!(collection.ty(), Type::Tuple(_) | Type::Object(_));
    if !iterable {
        let detail = format!(
            "A value of type {} cannot be used as the collection in a 'for' expression.",
            collection.ty().friendly_name()
        );
        let diagnostic = Diagnostic::error("Iteration over non-iterable value", detail);
        out.push(frame.about(
            diagnostic.at(f.collection.range()).within(expr.range()),
            &f.collection,
        ));
        return Value::DYNAMIC;
    }
    let mut condition_marks = Marks::default();
    if let Some(condition) = &f.condition {
        match probe_condition(expr, f, condition, frame, out) {
            Some(marks) => condition_marks = marks,
            None => return Value::DYNAMIC,
        }
    }
    if !collection.is_known() {
        return Value::DYNAMIC.with_marks(marks | condition_marks);
    }
    let run = Run {
        expr,
        f,
        marks,
        known: true,
        out,
    };
    match &f.key {
        Some(key) => run.object(key, &collection, frame),
        None => run.tuple(&collection, frame),
    }
}

/// Evaluates the condition once with unknown elements, so that one that cannot be right is told once only.
fn probe_condition(
    expr: &Expr,
    f: &For,
    condition: &Expr,
    frame: &Frame<'_>,
    out: &mut Diagnostics,
) -> Option<Marks> {
    let locals = Locals {
        names: Names::For {
            key: f.key_name.as_deref().map(|name| (name, Value::DYNAMIC)),
            value: (&f.value_name, Value::DYNAMIC),
        },
        parent: frame.locals,
    };
    let inner = Frame {
        locals: Some(&locals),
        ..*frame
    };
    let mut found = Diagnostics::new();
    let result = evaluate(condition, &inner, &mut found);
    let failed = found.has_errors();
    out.append(found);
    if result.is_null() {
        let diagnostic = Diagnostic::error(
            "Condition is null",
            "The value of the 'if' clause must not be null.",
        );
        out.push(frame.about(
            diagnostic.at(condition.range()).within(expr.range()),
            condition,
        ));
        return None;
    }
    if let Err(error) = convert(&result, &Type::Bool) {
        let detail = format!("The 'if' clause value is invalid: {error}.");
        let diagnostic = Diagnostic::error("Invalid 'for' condition", detail);
        out.push(frame.about(
            diagnostic.at(condition.range()).within(expr.range()),
            condition,
        ));
        return None;
    }
    (!failed).then(|| result.marks())
}

/// A `for` expression on its way through a collection.
struct Run<'r> {
    expr: &'r Expr,
    f: &'r For,
    marks: Marks,
    /// Cleared once the result cannot be known; the rest is evaluated for its diagnostics.
    known: bool,
    out: &'r mut Diagnostics,
}

impl Run<'_> {
    fn each(
        &mut self,
        collection: &Value,
        frame: &Frame<'_>,
        mut visit: impl FnMut(&mut Self, &Frame<'_>),
    ) {
        let f = self.f;
        each_element(collection, f.key_name.is_some(), |key, value| {
            let locals = Locals {
                names: Names::For {
                    key: f.key_name.as_deref().zip(key),
                    value: (&f.value_name, value.clone()),
                },
                parent: frame.locals,
            };
            visit(
                self,
                &Frame {
                    locals: Some(&locals),
                    ..*frame
                },
            );
        });
    }

    /// Tells what is wrong at one element, unless something was wrong before.
    fn blame(&mut self, summary: &str, detail: impl Into<String>, at: &Expr, frame: &Frame<'_>) {
        if self.known {
            let diagnostic = Diagnostic::error(summary, detail)
                .at(at.range())
                .within(self.expr.range());
            self.out.push(frame.about(diagnostic, at));
        }
        self.known = false;
    }

    fn includes(&mut self, frame: &Frame<'_>) -> bool {
        const INVALID: &str = "Invalid 'for' condition";
        let f = self.f;
        let Some(condition) = &f.condition else {
            return true;
        };
        let result = evaluate(condition, frame, self.out);
        if result.is_null() {
            self.blame(
                INVALID,
                "The value of the 'if' clause must not be null.",
                condition,
                frame,
            );
            return false;
        }
        let (result, marks) = result.unmark();
        self.marks |= marks;
        if !result.is_known() {
            self.known = false;
            return false;
        }
        match convert(&result, &Type::Bool) {
            Ok(value) => value.as_bool().unwrap_or(false),
            Err(error) => {
                self.blame(
                    INVALID,
                    format!("The 'if' clause value is invalid: {error}."),
                    condition,
                    frame,
                );
                false
            }
        }
    }

    fn tuple(mut self, collection: &Value, frame: &Frame<'_>) -> Value {
        let mut values = Vec::new();
        self.each(collection, frame, |run, frame| {
            if run.includes(frame) {
                values.push(evaluate(&run.f.value, frame, run.out));
            }
        });
        let result = if self.known {
            Value::tuple(values)
        } else {
            Value::DYNAMIC
        };
        result.with_marks(self.marks)
    }

    fn object(mut self, key_expr: &Expr, collection: &Value, frame: &Frame<'_>) -> Value {
        let mut values: BTreeMap<Arc<str>, Value> = BTreeMap::new();
        let mut groups: BTreeMap<Arc<str>, Vec<Value>> = BTreeMap::new();
        self.each(collection, frame, |run, frame| {
            if !run.includes(frame) {
                return;
            }
            let Some(key) = run.key(key_expr, frame) else { return };
            let value = evaluate(&run.f.value, frame, run.out);
            if run.f.group {
                groups.entry(key).or_default().push(value);
                return;
            }
            if values.contains_key(&key) {
                let detail = format!(
                    "Two different items produced the key {} in this 'for' expression. If duplicates are expected, use the ellipsis (...) after the value expression to enable grouping by key.",
                    quote(&key)
                );
                let diagnostic = Diagnostic::error("Duplicate object key", detail)
                    .at(key_expr.range())
                    .within(run.expr.range());
                run.out.push(frame.about(diagnostic, key_expr));
                return;
            }
            values.insert(key, value);
        });
        if !self.known {
            return Value::DYNAMIC.with_marks(self.marks);
        }
        values.extend(
            groups
                .into_iter()
                .map(|(key, group)| (key, Value::tuple(group))),
        );
        Value::object(values).with_marks(self.marks)
    }

    fn key(&mut self, key_expr: &Expr, frame: &Frame<'_>) -> Option<Arc<str>> {
        const INVALID: &str = "Invalid object key";
        let key = evaluate(key_expr, frame, self.out);
        if key.is_null() {
            self.blame(
                INVALID,
                "Key expression in 'for' expression must not produce a null value.",
                key_expr,
                frame,
            );
            return None;
        }
        let (key, marks) = key.unmark();
        self.marks |= marks;
        if !key.is_known() {
            self.known = false;
            return None;
        }
        match convert(&key, &Type::String) {
            Ok(key) => key.as_shared_str(),
            Err(error) => {
                let detail = format!("The key expression produced an invalid result: {error}.");
                self.blame(INVALID, detail, key_expr, frame);
                None
            }
        }
    }
}

pub(super) fn splat(expr: &Expr, splat: &Splat, frame: &Frame<'_>, out: &mut Diagnostics) -> Value {
    let mut found = Diagnostics::new();
    let mut source = evaluate(&splat.source, frame, &mut found);
    let failed = found.has_errors();
    out.append(found);
    if failed {
        return Value::DYNAMIC;
    }
    let marks = source.marks();
    // Anything that is no sequence counts as one of itself alone, null as an empty one.
    let single = !matches!(source.ty(), Type::Tuple(_) | Type::List(_) | Type::Set(_));
    if source.is_null() {
        if single {
            return Value::tuple(Vec::new()).with_marks(marks);
        }
        let diagnostic = Diagnostic::error(
            "Splat of null value",
            "Splat expressions (with the * symbol) cannot be applied to null sequences.",
        );
        let place = splat.source.range();
        out.push(frame.about(
            diagnostic.at(place).within(place.to(splat.marker)),
            &splat.source,
        ));
        return Value::DYNAMIC;
    }
    if matches!(source.ty(), Type::Dynamic) {
        return Value::DYNAMIC.with_marks(marks);
    }
    let mut may_be_empty = false;
    if single {
        may_be_empty = !source.is_known() && !source.is_certainly_not_null();
        source = Value::tuple(vec![source]).with_marks(marks);
    }
    if !source.is_known() {
        let ty = result_type(splat, source.ty(), frame, out);
        let is_list = matches!(ty, Type::List(_));
        let collection = source.ty().is_collection();
        let (least, most) = source.length_range();
        let mut result = Value::unknown_not_null(ty);
        if is_list && collection {
            result = result.refined(|known| {
                let known = known.with_at_least(least);
                if most == usize::MAX {
                    known
                } else {
                    known.with_at_most(most)
                }
            });
        }
        return result.with_marks(marks);
    }
    let (source, marks) = source.unmark();
    let mut known = true;
    let mut values = Vec::new();
    each_element(&source, false, |_, element| {
        let mut found = Diagnostics::new();
        values.push(evaluate(
            &splat.each,
            &Frame {
                item: Some(element),
                ..*frame
            },
            &mut found,
        ));
        known &= !found.has_errors();
        out.append(found);
    });
    if may_be_empty {
        return Value::DYNAMIC.with_marks(marks);
    }
    if !known {
        // What is wrong was told above.
        let ty = result_type(splat, source.ty(), frame, &mut Diagnostics::new());
        return Value::unknown(ty).with_marks(marks);
    }
    if !matches!(source.ty(), Type::List(_) | Type::Set(_)) {
        return Value::tuple(values).with_marks(marks);
    }
    let element = match values.first() {
        Some(first) => first.ty().clone(),
        None => match result_type(splat, source.ty(), frame, out) {
            Type::List(element) => Type::clone(&element),
            _ => Type::Dynamic,
        },
    };
    if values.iter().any(|value| *value.ty() != element) {
        out.push(
            Diagnostic::error(
                "Invalid nested splat expressions",
                "The second level of splat expression produced elements of different types, so it isn't possible to construct a valid list to represent the top-level result.\n\nConsider using a for expression instead, to produce a tuple-typed result which can therefore have non-homogenous element types.",
            )
            .at(splat.each.range())
            .within(expr.range()),
        );
        return Value::DYNAMIC;
    }
    Value::list(element, values).with_marks(marks)
}

/// The type a splat over a sequence of this type gives.
fn result_type(splat: &Splat, source: &Type, frame: &Frame<'_>, out: &mut Diagnostics) -> Type {
    let mut of = |element: &Type| {
        let item = Value::unknown(element.clone());
        evaluate(
            &splat.each,
            &Frame {
                item: Some(&item),
                ..*frame
            },
            out,
        )
        .ty()
        .clone()
    };
    match source {
        Type::List(element) | Type::Set(element) => Type::list(of(element)),
        Type::Tuple(elements) => Type::tuple(elements.iter().map(of).collect::<Vec<_>>()),
        _ => Type::Dynamic,
    }
}
