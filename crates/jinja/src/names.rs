//! The filters and tests that a template must have to be compiled at all.
//!
//! As in Jinja, a name that stands in an `if`, or in a conditional expression, need not be known until it is reached; any
//! other must be, reached or not. What has a body of its own within an `if` (a loop, a macro) begins anew.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::ast::{Call, Expr, Kind, Macro, Node, NodeKind};
use crate::error::{Error, Result};

/// A filter or a test.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Sort {
    Filter,
    Test,
}

/// A name that must be known, and the line it is first used on.
#[derive(Debug)]
struct Needed {
    sort: Sort,
    name: Arc<str>,
    line: u32,
}

/// What a template needs, in the order it is met.
#[derive(Default, Debug)]
pub(crate) struct Needs {
    needed: Vec<Needed>,
    seen: HashSet<(Sort, Arc<str>)>,
    /// All were known when somebody looked: they stay so.
    met: AtomicBool,
}

impl Needs {
    /// Those of a template.
    pub(crate) fn of_template(body: &[Node]) -> Self {
        let mut needs = Needs::default();
        needs.body(body, false);
        needs
    }

    /// Those of an expression.
    pub(crate) fn of_expression(expression: &Expr) -> Self {
        let mut needs = Needs::default();
        needs.expression(expression, false);
        needs
    }

    /// # Errors
    /// A name is not known.
    pub(crate) fn check(&self, known: impl Fn(Sort, &str) -> bool) -> Result<()> {
        if self.met.load(Ordering::Relaxed) {
            return Ok(());
        }
        if let Some(unknown) = self
            .needed
            .iter()
            .find(|needed| !known(needed.sort, &needed.name))
        {
            let sort = match unknown.sort {
                Sort::Filter => "filter",
                Sort::Test => "test",
            };
            let message = format!("No {sort} named '{}'.", unknown.name);
            return Err(Error::syntax(message, unknown.line));
        }
        self.met.store(true, Ordering::Relaxed);
        Ok(())
    }

    fn name(&mut self, sort: Sort, name: &Arc<str>, line: u32, soft: bool) {
        if !soft && self.seen.insert((sort, Arc::clone(name))) {
            self.needed.push(Needed {
                sort,
                name: Arc::clone(name),
                line,
            });
        }
    }

    fn body(&mut self, body: &[Node], soft: bool) {
        for node in body {
            self.node(node, soft);
        }
    }

    fn node(&mut self, node: &Node, soft: bool) {
        match &node.kind {
            NodeKind::Text(_) | NodeKind::Break | NodeKind::Continue => {}
            NodeKind::Print(value)
            | NodeKind::Set(_, value)
            | NodeKind::Do(value)
            | NodeKind::Extends(value)
            | NodeKind::Include { name: value, .. }
            | NodeKind::Import { name: value, .. }
            | NodeKind::FromImport { name: value, .. } => self.expression(value, soft),
            NodeKind::For {
                iter,
                filter,
                body,
                otherwise,
                ..
            } => {
                self.expression(iter, soft);
                self.expressions(filter.as_ref(), false);
                self.body(body, false);
                self.body(otherwise, false);
            }
            NodeKind::If {
                branches,
                otherwise,
            } => {
                for (test, body) in branches {
                    self.expression(test, true);
                    self.body(body, true);
                }
                self.body(otherwise, true);
            }
            NodeKind::SetBlock { filter, body, .. } => {
                self.body(body, false);
                self.expressions(filter.as_ref(), false);
            }
            NodeKind::With(values, body) => {
                self.expressions(values.iter().map(|(_, value)| value), soft);
                self.body(body, false);
            }
            NodeKind::FilterBlock(filter, body) => {
                self.body(body, false);
                self.expression(filter, false);
            }
            NodeKind::Macro(definition) => self.definition(definition),
            NodeKind::CallBlock { call, body } => {
                self.definition(body);
                self.expression(call, soft);
            }
            NodeKind::Block { body, .. } | NodeKind::Autoescape(body) => self.body(body, false),
        }
    }

    fn definition(&mut self, definition: &Macro) {
        let defaults = definition.parameters.iter();
        self.expressions(defaults.filter_map(|(_, default)| default.as_ref()), false);
        self.body(&definition.body, false);
    }

    fn expressions<'a>(&mut self, all: impl IntoIterator<Item = &'a Expr>, soft: bool) {
        for expression in all {
            self.expression(expression, soft);
        }
    }

    fn call(&mut self, call: &Call, soft: bool) {
        self.expressions(&call.positional, soft);
        self.expressions(call.named.iter().map(|(_, value)| value), soft);
        self.expressions(call.star.iter().chain(&call.double_star), soft);
    }

    fn expression(&mut self, expression: &Expr, soft: bool) {
        match &*expression.kind {
            Kind::Const(_) | Kind::Name(_) => {}
            Kind::List(items) | Kind::Tuple(items) | Kind::Concat(items) => {
                self.expressions(items, soft);
            }
            Kind::Dict(entries) => {
                for (key, value) in entries {
                    self.expressions([key, value], soft);
                }
            }
            Kind::Attribute(value, _)
            | Kind::Not(value)
            | Kind::Negative(value)
            | Kind::Positive(value) => self.expression(value, soft),
            Kind::Item(one, other)
            | Kind::Binary(_, one, other)
            | Kind::And(one, other)
            | Kind::Or(one, other) => self.expressions([one, other], soft),
            Kind::Slice(value, bounds) => {
                self.expression(value, soft);
                self.expressions(bounds.iter().flatten(), soft);
            }
            Kind::Compare(value, others) => {
                self.expression(value, soft);
                self.expressions(others.iter().map(|(_, other)| other), soft);
            }
            Kind::Condition {
                test,
                then,
                otherwise,
            } => {
                self.expressions([test, then].into_iter().chain(otherwise), true);
            }
            Kind::Call(value, call) => {
                self.expression(value, soft);
                self.call(call, soft);
            }
            Kind::Filter(value, name, call) => {
                self.name(Sort::Filter, name, expression.line, soft);
                self.expressions(value, soft);
                self.call(call, soft);
            }
            Kind::Test { value, name, call } => {
                self.name(Sort::Test, name, expression.line, soft);
                self.expression(value, soft);
                self.call(call, soft);
            }
        }
    }
}
