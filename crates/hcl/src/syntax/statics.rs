//! What can be said of an expression without evaluating it.

use std::sync::Arc;

use super::expr::{Call, Expr, JsonString, Kind};
use super::parse::{Place, expression_at, template_at, traversal_at};
use crate::diagnostic::Diagnostics;
use crate::source::{Range, Sources};
use crate::traversal::{Step, Traversal};

/// A call as it is written.
#[derive(Clone, Debug)]
pub struct StaticCall {
    /// The name of the function.
    pub name: Arc<str>,
    /// Where the name is written.
    pub name_range: Range,
    /// The arguments.
    pub args: Vec<Expr>,
    /// The parentheses and what is in them.
    pub args_range: Range,
}

impl From<&Call> for StaticCall {
    fn from(call: &Call) -> Self {
        Self {
            name: call.name.clone(),
            name_range: call.name_range,
            args: call.args.clone(),
            args_range: call.open.to(call.close),
        }
    }
}

impl Expr {
    /// The references in the expression, in the order they are written, without those to names it defines itself.
    pub fn references(&self) -> Vec<Traversal> {
        let mut found = Vec::new();
        collect(self, &mut Vec::new(), &mut |traversal| {
            found.push(traversal.clone());
        });
        found
    }

    /// Whether the expression has a reference that a scope would have to resolve.
    pub fn has_references(&self) -> bool {
        let mut found = false;
        collect(self, &mut Vec::new(), &mut |_| found = true);
        found
    }

    /// The names of the functions the expression calls, with their places.
    pub fn calls(&self) -> Vec<(Arc<str>, Range)> {
        let mut found = Vec::new();
        self.visit(&mut |expr| {
            if let Kind::Call(call) = expr.kind() {
                found.push((call.name.clone(), call.name_range));
            }
        });
        found
    }

    /// The expression as a reference, if it is nothing else. `true`, `false` and `null` count as names. A string
    /// of the JSON syntax is read as a reference.
    pub fn as_traversal(&self) -> Option<Traversal> {
        match self.kind() {
            Kind::Traversal(traversal) => Some(traversal.clone()),
            Kind::Literal(value) => {
                let root = match (value.is_null(), value.as_bool()) {
                    (true, _) => "null",
                    (_, Some(true)) => "true",
                    (_, Some(false)) => "false",
                    _ => return None,
                };
                Some(Traversal {
                    root: Arc::from(root),
                    root_range: self.range(),
                    steps: Vec::new(),
                })
            }
            Kind::Relative { source, steps } => {
                let mut traversal = source.as_traversal()?;
                traversal.steps.extend(steps.iter().cloned());
                Some(traversal)
            }
            Kind::ObjectKey {
                wrapped,
                parenthesised: false,
            } => wrapped.as_traversal(),
            Kind::Bound { expr: inner, .. } => inner.as_traversal(),
            Kind::JsonString(string) => {
                let (traversal, diagnostics) = traversal_at(
                    &string.source,
                    &string.text,
                    string.place(self.range()),
                    false,
                );
                traversal.filter(|_| !diagnostics.has_errors())
            }
            _ => None,
        }
    }

    /// The expression as one name.
    pub fn as_keyword(&self) -> Option<Arc<str>> {
        match self.kind() {
            Kind::Traversal(_)
            | Kind::Literal(_)
            | Kind::ObjectKey { .. }
            | Kind::JsonString(_)
            | Kind::Bound { .. } => self
                .as_traversal()
                .filter(|traversal| traversal.steps.is_empty())
                .map(|traversal| traversal.root),
            _ => None,
        }
    }

    /// The items of a tuple constructor.
    pub fn as_list(&self) -> Option<Vec<Expr>> {
        match self.kind() {
            Kind::Tuple { items, .. } => Some(items.clone()),
            Kind::JsonArray(values) => Some(values.clone()),
            Kind::Bound { expr, bindings } => Some(
                expr.as_list()?
                    .iter()
                    .map(|item| item.bound(bindings.clone()))
                    .collect(),
            ),
            _ => None,
        }
    }

    /// The keys and values of an object constructor.
    pub fn as_map(&self) -> Option<Vec<(Expr, Expr)>> {
        match self.kind() {
            Kind::Object { items, .. } => Some(items.clone()),
            Kind::JsonObject { properties, .. } => Some(
                properties
                    .iter()
                    .map(|property| (property.name_expr.clone(), property.value.clone()))
                    .collect(),
            ),
            Kind::Bound { expr, bindings } => Some(
                expr.as_map()?
                    .iter()
                    .map(|(key, value)| {
                        (key.bound(bindings.clone()), value.bound(bindings.clone()))
                    })
                    .collect(),
            ),
            _ => None,
        }
    }

    /// The expression as a call. A string of the JSON syntax is read as one.
    pub fn as_call(&self) -> Option<StaticCall> {
        match self.kind() {
            Kind::Call(call) => Some(call.into()),
            Kind::Bound { expr: inner, .. } => inner.as_call(),
            Kind::JsonString(string) => {
                let (expr, diagnostics) =
                    expression_at(&string.source, &string.text, string.place(self.range()));
                if diagnostics.has_errors() {
                    None
                } else {
                    expr.as_call()
                }
            }
            _ => None,
        }
    }

    /// The verbatim text of a string of the JSON syntax.
    pub fn as_json_string(&self) -> Option<&Arc<str>> {
        match self.kind() {
            Kind::JsonString(string) => Some(&string.text),
            _ => None,
        }
    }

    /// Calls `visit` for the expression and every one in it.
    #[allow(clippy::needless_for_each, clippy::semicolon_if_nothing_returned)] // One line for each kind.
    pub(crate) fn visit(&self, visit: &mut dyn FnMut(&Expr)) {
        visit(self);
        match self.kind() {
            Kind::Relative { source: inner, .. }
            | Kind::ObjectKey { wrapped: inner, .. }
            | Kind::Wrap(inner)
            | Kind::Join(inner)
            | Kind::Parens(inner)
            | Kind::Unary { operand: inner, .. }
            | Kind::Bound { expr: inner, .. } => inner.visit(visit),
            Kind::Call(call) => call.args.iter().for_each(|arg| arg.visit(visit)),
            Kind::Conditional { condition, yes, no } => {
                [condition, yes, no]
                    .into_iter()
                    .for_each(|part| part.visit(visit));
            }
            Kind::Index {
                collection, key, ..
            } => {
                collection.visit(visit);
                key.visit(visit);
            }
            Kind::Tuple { items, .. } => items.iter().for_each(|item| item.visit(visit)),
            Kind::Template { parts } | Kind::JsonArray(parts) => {
                parts.iter().for_each(|part| part.visit(visit))
            }
            Kind::Object { items, .. } => items.iter().for_each(|(key, value)| {
                key.visit(visit);
                value.visit(visit);
            }),
            Kind::For(f) => {
                f.collection.visit(visit);
                f.key.iter().for_each(|key| key.visit(visit));
                f.value.visit(visit);
                f.condition
                    .iter()
                    .for_each(|condition| condition.visit(visit));
            }
            Kind::Splat(splat) => {
                splat.source.visit(visit);
                splat.each.visit(visit);
            }
            Kind::Binary { first, rest } => {
                first.visit(visit);
                rest.iter().for_each(|(_, operand)| operand.visit(visit));
            }
            Kind::JsonString(string) => {
                let (template, diagnostics) = string.template();
                if !diagnostics.has_errors() {
                    template.visit(visit);
                }
            }
            Kind::JsonObject { properties, .. } => properties.iter().for_each(|property| {
                property.name_expr.visit(visit);
                property.value.visit(visit);
            }),
            Kind::Literal(_)
            | Kind::Invalid
            | Kind::Broken(_)
            | Kind::Traversal(_)
            | Kind::SplatItem => {}
        }
    }
}

/// Collects free references; `local` holds the names that `for` expressions around this one define.
#[allow(clippy::needless_for_each, clippy::semicolon_if_nothing_returned)] // One line for each kind.
fn collect<'e>(expr: &'e Expr, local: &mut Vec<&'e str>, found: &mut dyn FnMut(&Traversal)) {
    match expr.kind() {
        Kind::Traversal(traversal) => {
            if !local.contains(&&*traversal.root) {
                found(traversal);
            }
        }
        // A bare name as a key is a string, not a reference.
        Kind::ObjectKey { wrapped, .. } if wrapped.as_keyword().is_some() => {}
        Kind::Relative { source: inner, .. }
        | Kind::ObjectKey { wrapped: inner, .. }
        | Kind::Wrap(inner)
        | Kind::Join(inner)
        | Kind::Parens(inner)
        | Kind::Unary { operand: inner, .. } => collect(inner, local, found),
        Kind::Call(call) => call.args.iter().for_each(|arg| collect(arg, local, found)),
        Kind::Conditional { condition, yes, no } => {
            [condition, yes, no]
                .into_iter()
                .for_each(|part| collect(part, local, found));
        }
        Kind::Index {
            collection, key, ..
        } => {
            collect(collection, local, found);
            collect(key, local, found);
        }
        Kind::Tuple { items, .. } => items.iter().for_each(|item| collect(item, local, found)),
        Kind::Template { parts } | Kind::JsonArray(parts) => {
            parts.iter().for_each(|part| collect(part, local, found));
        }
        Kind::Object { items, .. } => items.iter().for_each(|(key, value)| {
            collect(key, local, found);
            collect(value, local, found);
        }),
        Kind::For(f) => {
            collect(&f.collection, local, found);
            let before = local.len();
            local.extend(f.key_name.as_deref());
            local.push(&f.value_name);
            f.key.iter().for_each(|key| collect(key, local, found));
            collect(&f.value, local, found);
            f.condition
                .iter()
                .for_each(|condition| collect(condition, local, found));
            local.truncate(before);
        }
        Kind::Splat(splat) => {
            collect(&splat.source, local, found);
            collect(&splat.each, local, found);
        }
        Kind::Binary { first, rest } => {
            collect(first, local, found);
            rest.iter()
                .for_each(|(_, operand)| collect(operand, local, found));
        }
        Kind::JsonString(string) => {
            let (template, diagnostics) = string.template();
            if !diagnostics.has_errors() {
                // A template of the JSON syntax is a part of its own: names of a `for` around it cannot reach it.
                collect(template, &mut Vec::new(), found);
            }
        }
        Kind::JsonObject { properties, .. } => properties.iter().for_each(|property| {
            collect(&property.name_expr, local, found);
            collect(&property.value, local, found);
        }),
        Kind::Bound { expr, bindings } => {
            let before = local.len();
            local.extend(bindings.keys().map(|name| &**name));
            collect(expr, local, found);
            local.truncate(before);
        }
        Kind::Literal(_) | Kind::Invalid | Kind::Broken(_) | Kind::SplatItem => {}
    }
}

impl JsonString {
    /// Where the text of the string lies; `range` is the string with its quotes.
    pub(crate) fn place(&self, range: Range) -> Place<'_> {
        Place::within((range.start + 1).min(range.end), &self.offsets, range.end)
    }

    /// The string as a template.
    pub(crate) fn template(&self) -> &(Expr, Diagnostics) {
        self.template
            .get_or_init(|| template_at(&self.source, &self.text, self.place(self.range)))
    }
}

/// The outermost part of an expression that picks something out of another one.
#[derive(Clone, Debug)]
pub enum Selection {
    /// A reference with constant keys only.
    Reference(Traversal),
    /// Steps from an expression that is no reference.
    Steps {
        /// Where they start.
        source: Expr,
        /// The steps.
        steps: Vec<Step>,
    },
    /// An index whose key is calculated.
    Index {
        /// What is indexed.
        collection: Expr,
        /// The key.
        key: Expr,
    },
}

impl Expr {
    /// The expression as a selection of something, with keys that may be calculated: `a.b[each.key].c` is steps from
    /// an index of a reference.
    pub fn as_selection(&self) -> Option<Selection> {
        match self.kind() {
            Kind::Traversal(traversal) => Some(Selection::Reference(traversal.clone())),
            Kind::Relative { source, steps } => Some(Selection::Steps {
                source: source.clone(),
                steps: steps.clone(),
            }),
            Kind::Index {
                collection, key, ..
            } => Some(Selection::Index {
                collection: collection.clone(),
                key: key.clone(),
            }),
            _ => None,
        }
    }

    /// The text of a quoted string of the native syntax without interpolations.
    pub fn as_quoted_string(&self) -> Option<&str> {
        match self.kind() {
            Kind::Template { parts } if self.is_string_literal() => {
                parts.first()?.as_literal()?.as_str()
            }
            _ => None,
        }
    }

    /// The reference in a quoted string of the native syntax, as earlier versions of Terraform had them; `None` if it is
    /// no such string.
    pub fn quoted_traversal(&self, sources: &Sources) -> Option<(Option<Traversal>, Diagnostics)> {
        let text = self.as_quoted_string()?;
        let source = sources.get(self.range().source)?;
        let place = Place::within(
            (self.range().start + 1).min(self.range().end),
            &[],
            self.range().end,
        );
        Some(traversal_at(source, text, place, false))
    }

    /// The key of an object constructor as it is written, without the rule that a bare name is a string; any other
    /// expression as it is.
    #[must_use]
    pub fn unwrapped_key(&self) -> Expr {
        match self.kind() {
            Kind::ObjectKey { wrapped, .. } => wrapped.clone(),
            Kind::Bound { expr, bindings } => expr.unwrapped_key().bound(bindings.clone()),
            _ => self.clone(),
        }
    }

    /// Whether it was written in the JSON syntax.
    pub fn is_json(&self) -> bool {
        match self.kind() {
            Kind::JsonString(_) | Kind::JsonArray(_) | Kind::JsonObject { .. } => true,
            Kind::Bound { expr, .. } => expr.is_json(),
            _ => false,
        }
    }

    /// A string of the JSON syntax as an expression of the native syntax: for arguments that take a reference or a
    /// call rather than a value. `None` if it is no such string.
    pub fn json_as_native(&self) -> Option<(Expr, Diagnostics)> {
        match self.kind() {
            Kind::JsonString(string) => Some(expression_at(
                &string.source,
                &string.text,
                string.place(self.range()),
            )),
            _ => None,
        }
    }
}
