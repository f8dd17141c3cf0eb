//! From expressions to values, by the rules of HCL's native syntax.
//!
//! Evaluation never fails as a whole: it gives a value, unknown where there was an error, and diagnostics. The depth of
//! a tree is bounded when it is parsed, so that going through it cannot exhaust the stack.

mod call;
mod collection;
mod conditional;
mod function;
mod iterate;
mod json;
mod lazy;
mod operator;
mod scope;
mod template;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub use collection::{attribute, index};
pub use function::{Argument, CallError, Deferred, Function, Parameter};
pub use lazy::{can_function, try_function};
pub use scope::{Functions, Nothing, Resolution, Scope, Tables, unknown_provider_function};

use crate::diagnostic::{Diagnostic, Diagnostics, Observed};
use crate::suggest::did_you_mean;
use crate::syntax::{Expr, Kind};
use crate::text::quote;
use crate::traversal::{Step, Traversal};
use crate::value::Value;

impl Expr {
    /// The value in a scope, and what is wrong. With errors the value is a placeholder, as known as it can be.
    pub fn evaluate(&self, scope: &dyn Scope) -> (Value, Diagnostics) {
        let mut diagnostics = Diagnostics::new();
        let frame = Frame::new(scope);
        let value = evaluate(self, &frame, &mut diagnostics);
        (value, diagnostics)
    }

    /// The value of an expression that may use neither references nor functions. Strings of the JSON syntax are
    /// taken as they are: not as templates.
    pub fn evaluate_constant(&self) -> (Value, Diagnostics) {
        let mut diagnostics = Diagnostics::new();
        let frame = Frame {
            verbatim: true,
            ..Frame::new(&Nothing)
        };
        let value = evaluate(self, &frame, &mut diagnostics);
        (value, diagnostics)
    }
}

/// What is known at one place of an evaluation.
#[derive(Clone, Copy)]
pub(crate) struct Frame<'a> {
    pub(crate) scope: &'a dyn Scope,
    locals: Option<&'a Locals<'a>>,
    /// The element a splat is at.
    item: Option<&'a Value>,
    /// Diagnostics are likely to be dropped: they need not carry values.
    quiet: bool,
    /// Strings of the JSON syntax are not templates.
    verbatim: bool,
}

/// Names that have a meaning in a part of an expression only.
struct Locals<'a> {
    names: Names<'a>,
    parent: Option<&'a Locals<'a>>,
}

enum Names<'a> {
    For {
        key: Option<(&'a str, Value)>,
        value: (&'a str, Value),
    },
    Bound(&'a BTreeMap<Arc<str>, Value>),
}

impl Names<'_> {
    fn get(&self, name: &str) -> Option<&Value> {
        match self {
            // The value's name wins if both are the same.
            Names::For {
                value: (own, value),
                ..
            } if *own == name => Some(value),
            Names::For {
                key: Some((own, value)),
                ..
            } if *own == name => Some(value),
            Names::For { .. } => None,
            Names::Bound(bindings) => bindings.get(name),
        }
    }
}

impl<'a> Frame<'a> {
    pub(crate) fn new(scope: &'a dyn Scope) -> Self {
        Self {
            scope,
            locals: None,
            item: None,
            quiet: false,
            verbatim: false,
        }
    }

    fn local(&self, name: &str) -> Option<&'a Value> {
        let mut next = self.locals;
        while let Some(locals) = next {
            if let Some(value) = locals.names.get(name) {
                return Some(value);
            }
            next = locals.parent;
        }
        None
    }

    fn resolve(&self, traversal: &Traversal) -> Resolution {
        match self.local(&traversal.root) {
            Some(value) => Resolution::Found {
                value: value.clone(),
                steps: 0,
            },
            None => self.scope.resolve(traversal),
        }
    }

    /// The diagnostic with the values of the references in the expression it is about.
    fn about(&self, diagnostic: Diagnostic, expr: &Expr) -> Diagnostic {
        if self.quiet {
            return diagnostic;
        }
        Diagnostic {
            observed: observe_in(expr, self),
            ..diagnostic
        }
    }
}

/// The values of the references in an expression, for messages: of each the longest start that has one.
pub(crate) fn observe(expr: &Expr, scope: &dyn Scope) -> Vec<Observed> {
    observe_in(expr, &Frame::new(scope))
}

fn observe_in(expr: &Expr, frame: &Frame<'_>) -> Vec<Observed> {
    let mut seen = BTreeSet::new();
    let mut observed = Vec::new();
    for mut traversal in expr.references() {
        loop {
            let mut diagnostics = Diagnostics::new();
            let value = look_up(&traversal, frame, &mut diagnostics);
            if !diagnostics.has_errors() {
                let text: Arc<str> = Arc::from(traversal.text());
                if seen.insert(text.clone()) {
                    observed.push(Observed {
                        traversal: text,
                        value,
                    });
                }
                break;
            }
            if traversal.steps.pop().is_none() {
                break;
            }
        }
    }
    observed
}

/// Evaluates for the sake of the value: diagnostics carry no values of references.
fn evaluate_quietly(expr: &Expr, frame: &Frame<'_>) -> (Value, Diagnostics) {
    let mut diagnostics = Diagnostics::new();
    let value = evaluate(
        expr,
        &Frame {
            quiet: true,
            ..*frame
        },
        &mut diagnostics,
    );
    (value, diagnostics)
}

/// The value of an expression. Each kind has a function of its own, which keeps the stack small.
pub(crate) fn evaluate(expr: &Expr, frame: &Frame<'_>, out: &mut Diagnostics) -> Value {
    match expr.kind() {
        Kind::Literal(value) => value.clone(),
        Kind::Invalid => Value::DYNAMIC,
        Kind::Broken(diagnostics) => {
            out.append(diagnostics.clone());
            Value::DYNAMIC
        }
        Kind::Traversal(traversal) => reference(expr, traversal, frame, out),
        Kind::Relative { source, steps } => relative(expr, source, steps, frame, out),
        Kind::Call(call) => call::call(expr, call, frame, out),
        Kind::Conditional { condition, yes, no } => {
            conditional::conditional(expr, [condition, yes, no], frame, out)
        }
        Kind::Index {
            collection,
            key,
            bracket,
            ..
        } => collection::index_expr(expr, (collection, key, *bracket), frame, out),
        Kind::Tuple { items, .. } => Value::tuple(
            items
                .iter()
                .map(|item| evaluate(item, frame, out))
                .collect(),
        ),
        Kind::Object { items, .. } => collection::object(items, frame, out),
        Kind::ObjectKey {
            wrapped,
            parenthesised,
        } => collection::object_key(wrapped, *parenthesised, frame, out),
        Kind::For(f) => iterate::for_expr(expr, f, frame, out),
        Kind::Splat(splat) => iterate::splat(expr, splat, frame, out),
        Kind::SplatItem => frame.item.cloned().unwrap_or(Value::DYNAMIC),
        Kind::Template { parts } => template::template(expr, parts, frame, out),
        Kind::Join(inner) => template::join(expr, inner, frame, out),
        Kind::Wrap(inner) | Kind::Parens(inner) => evaluate(inner, frame, out),
        Kind::Unary {
            operator, operand, ..
        } => operator::unary(expr, *operator, operand, frame, out),
        Kind::Binary { first, rest } => operator::chain(first, rest, frame, out),
        Kind::JsonString(string) => json::string(string, frame, out),
        Kind::JsonArray(values) => Value::tuple(
            values
                .iter()
                .map(|value| evaluate(value, frame, out))
                .collect(),
        ),
        Kind::JsonObject { properties, .. } => json::object(expr, properties, frame, out),
        Kind::Bound { expr, bindings } => bound(expr, bindings, frame, out),
    }
}

fn bound(
    expr: &Expr,
    bindings: &BTreeMap<Arc<str>, Value>,
    frame: &Frame<'_>,
    out: &mut Diagnostics,
) -> Value {
    let locals = Locals {
        names: Names::Bound(bindings),
        parent: frame.locals,
    };
    evaluate(
        expr,
        &Frame {
            locals: Some(&locals),
            ..*frame
        },
        out,
    )
}

fn reference(
    expr: &Expr,
    traversal: &Traversal,
    frame: &Frame<'_>,
    out: &mut Diagnostics,
) -> Value {
    let mut found = Diagnostics::new();
    let value = look_up(traversal, frame, &mut found);
    out.extend(
        found
            .into_iter()
            .map(|diagnostic| frame.about(diagnostic, expr)),
    );
    value
}

/// The value of a reference.
fn look_up(traversal: &Traversal, frame: &Frame<'_>, out: &mut Diagnostics) -> Value {
    match frame.resolve(traversal) {
        Resolution::Found { value, steps } => {
            take_steps(value, traversal.steps.get(steps..).unwrap_or(&[]), out)
        }
        Resolution::Failed(diagnostics) => {
            out.append(diagnostics);
            Value::DYNAMIC
        }
        Resolution::Missing => {
            out.push(missing_variable(traversal, frame));
            Value::DYNAMIC
        }
    }
}

fn missing_variable(traversal: &Traversal, frame: &Frame<'_>) -> Diagnostic {
    let diagnostic = if frame.scope.allows_variables() || frame.locals.is_some() {
        let names = frame.scope.variable_names();
        let suggestion = did_you_mean(&traversal.root, names.iter().map(|name| &**name));
        let detail = format!(
            "There is no variable named {}.{suggestion}",
            quote(&traversal.root)
        );
        Diagnostic::error("Unknown variable", detail)
    } else {
        Diagnostic::error("Variables not allowed", "Variables may not be used here.")
    };
    diagnostic.at(traversal.root_range)
}

fn relative(
    expr: &Expr,
    source: &Expr,
    steps: &[Step],
    frame: &Frame<'_>,
    out: &mut Diagnostics,
) -> Value {
    let value = evaluate(source, frame, out);
    let mut found = Diagnostics::new();
    let value = take_steps(value, steps, &mut found);
    out.extend(
        found
            .into_iter()
            .map(|diagnostic| frame.about(diagnostic, expr)),
    );
    value
}

/// What steps lead to from a value, as [`attribute`] and [`index`] take them one by one.
pub fn take_steps(mut value: Value, steps: &[Step], out: &mut Diagnostics) -> Value {
    for step in steps {
        let next = match step {
            Step::Attribute { name, range } => attribute(&value, name, *range),
            Step::Index { key, range } => index(&value, key, *range),
            Step::Splat { range } => Err(Box::new(
                Diagnostic::error("Invalid expression", "A splat may not be used here.").at(*range),
            )),
        };
        match next {
            Ok(next) => value = next,
            Err(diagnostic) => {
                out.push(*diagnostic);
                return Value::DYNAMIC;
            }
        }
    }
    value
}
