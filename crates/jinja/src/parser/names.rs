//! Which names a macro's body reads.

use std::collections::HashSet;

use crate::ast::{Call, Expr, Kind, Node, NodeKind};

/// Looks for the names of a macro's surplus arguments.
#[derive(Default)]
pub(super) struct Names {
    pub(super) found: HashSet<&'static str>,
}

impl Names {
    pub(super) fn body(&mut self, body: &[Node]) {
        for node in body {
            match &node.kind {
                NodeKind::Text(_) | NodeKind::Break | NodeKind::Continue => {}
                NodeKind::Print(expr) | NodeKind::Do(expr) | NodeKind::Extends(expr) => {
                    self.expr(expr);
                }
                NodeKind::For {
                    iter,
                    filter,
                    body,
                    otherwise,
                    ..
                } => {
                    self.expr(iter);
                    if let Some(filter) = filter {
                        self.expr(filter);
                    }
                    self.body(body);
                    self.body(otherwise);
                }
                NodeKind::If {
                    branches,
                    otherwise,
                } => {
                    for (test, body) in branches {
                        self.expr(test);
                        self.body(body);
                    }
                    self.body(otherwise);
                }
                NodeKind::Set(_, value) => self.expr(value),
                NodeKind::SetBlock { filter, body, .. } => {
                    if let Some(filter) = filter {
                        self.expr(filter);
                    }
                    self.body(body);
                }
                NodeKind::With(values, body) => {
                    for (_, value) in values {
                        self.expr(value);
                    }
                    self.body(body);
                }
                NodeKind::FilterBlock(filter, body) => {
                    self.expr(filter);
                    self.body(body);
                }
                NodeKind::Macro(inner) => {
                    // What stands there is the inner macro's own.
                    for (_, default) in &inner.parameters {
                        if let Some(default) = default {
                            self.expr(default);
                        }
                    }
                }
                NodeKind::CallBlock { call, body } => {
                    self.expr(call);
                    self.body(&body.body);
                }
                NodeKind::Include { name, .. }
                | NodeKind::Import { name, .. }
                | NodeKind::FromImport { name, .. } => self.expr(name),
                NodeKind::Block { body, .. } | NodeKind::Autoescape(body) => self.body(body),
            }
        }
    }

    fn expr(&mut self, expr: &Expr) {
        match &*expr.kind {
            Kind::Name(name) => {
                for known in ["varargs", "kwargs", "caller"] {
                    if &**name == known {
                        self.found.insert(known);
                    }
                }
            }
            Kind::Const(_) => {}
            Kind::List(items) | Kind::Tuple(items) | Kind::Concat(items) => {
                for item in items {
                    self.expr(item);
                }
            }
            Kind::Dict(entries) => {
                for (key, value) in entries {
                    self.expr(key);
                    self.expr(value);
                }
            }
            Kind::Attribute(value, _)
            | Kind::Not(value)
            | Kind::Negative(value)
            | Kind::Positive(value) => self.expr(value),
            Kind::Item(one, two)
            | Kind::Binary(_, one, two)
            | Kind::And(one, two)
            | Kind::Or(one, two) => {
                self.expr(one);
                self.expr(two);
            }
            Kind::Slice(value, slice) => {
                self.expr(value);
                for part in slice.iter().flatten() {
                    self.expr(part);
                }
            }
            Kind::Compare(first, rest) => {
                self.expr(first);
                for (_, value) in rest {
                    self.expr(value);
                }
            }
            Kind::Condition {
                test,
                then,
                otherwise,
            } => {
                self.expr(test);
                self.expr(then);
                if let Some(value) = otherwise {
                    self.expr(value);
                }
            }
            Kind::Filter(value, _, call) => {
                if let Some(value) = value {
                    self.expr(value);
                }
                self.call(call);
            }
            Kind::Call(value, call) | Kind::Test { value, call, .. } => {
                self.expr(value);
                self.call(call);
            }
        }
    }

    fn call(&mut self, call: &Call) {
        call.positional
            .iter()
            .chain(call.named.iter().map(|(_, value)| value))
            .chain(&call.star)
            .chain(&call.double_star)
            .for_each(|value| self.expr(value));
    }
}
