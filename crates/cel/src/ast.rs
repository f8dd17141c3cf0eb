//! The syntax tree: nodes in one table, referred to by their index.

use std::sync::Arc;

use crate::value::Value;

/// The index of a node.
pub(crate) type Id = usize;

/// How deep a tree may be, macros expanded. Everything that walks trees recurses no deeper.
pub(crate) const MAX_HEIGHT: u16 = 320;

/// An expression.
#[derive(Clone, Debug)]
pub(crate) enum Expr {
    Literal(Value<'static>),
    Ident(Arc<str>),
    Select {
        operand: Id,
        field: Arc<str>,
        test: bool,
    },
    Call {
        function: Arc<str>,
        target: Option<Id>,
        args: Vec<Id>,
    },
    List {
        items: Vec<Id>,
        optional: Vec<bool>,
    },
    Map(Vec<Entry>),
    Struct {
        name: Arc<str>,
        fields: Vec<Field>,
    },
    Fold(Box<Fold>),
}

/// An entry of a map under construction.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) key: Id,
    pub(crate) value: Id,
    pub(crate) optional: bool,
}

/// A field of an object under construction.
#[derive(Clone, Debug)]
pub(crate) struct Field {
    pub(crate) name: Arc<str>,
    pub(crate) place: u32,
    pub(crate) value: Id,
    pub(crate) optional: bool,
}

/// A comprehension, which all iterating macros become.
#[derive(Clone, Debug)]
pub(crate) struct Fold {
    pub(crate) range: Id,
    pub(crate) variable: Arc<str>,
    pub(crate) second: Option<Arc<str>>,
    pub(crate) accumulator: Arc<str>,
    pub(crate) init: Id,
    pub(crate) condition: Id,
    pub(crate) step: Id,
    pub(crate) result: Id,
}

/// A node: an expression and where it stands in the text (a code point offset).
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) expr: Expr,
    pub(crate) place: u32,
    pub(crate) height: u16,
}

/// A whole expression.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ast {
    pub(crate) nodes: Vec<Node>,
}

/// The name of the accumulator that macros use; no identifier can be written so.
pub(crate) const ACCUMULATOR: &str = "@result";

impl Ast {
    pub(crate) fn expr(&self, id: Id) -> &Expr {
        &self.nodes[id].expr
    }

    pub(crate) fn place(&self, id: Id) -> u32 {
        self.nodes[id].place
    }

    /// Adds a node; its height follows from its children's.
    pub(crate) fn add(&mut self, place: u32, expr: Expr) -> Id {
        let mut height = 0;
        self.children(&expr, |child, nodes| {
            height = height.max(nodes[child].height);
        });
        self.nodes.push(Node {
            expr,
            place,
            height: height.saturating_add(1),
        });
        self.nodes.len() - 1
    }

    fn children(&self, expr: &Expr, mut visit: impl FnMut(Id, &[Node])) {
        for_each_child(expr, &mut |child| visit(child, &self.nodes));
    }

    /// A copy of the tree below `id`, with nodes of its own.
    pub(crate) fn copy(&mut self, id: Id) -> Id {
        let Node {
            mut expr, place, ..
        } = self.nodes[id].clone();
        match &mut expr {
            Expr::Literal(_) | Expr::Ident(_) => {}
            Expr::Select { operand, .. } => *operand = self.copy(*operand),
            Expr::Call { target, args, .. } => {
                *target = target.map(|target| self.copy(target));
                for arg in args {
                    *arg = self.copy(*arg);
                }
            }
            Expr::List { items, .. } => {
                for item in items {
                    *item = self.copy(*item);
                }
            }
            Expr::Map(entries) => {
                for entry in entries {
                    entry.key = self.copy(entry.key);
                    entry.value = self.copy(entry.value);
                }
            }
            Expr::Struct { fields, .. } => {
                for field in fields {
                    field.value = self.copy(field.value);
                }
            }
            Expr::Fold(fold) => {
                for part in [
                    &mut fold.range,
                    &mut fold.init,
                    &mut fold.condition,
                    &mut fold.step,
                    &mut fold.result,
                ] {
                    *part = self.copy(*part);
                }
            }
        }
        self.add(place, expr)
    }
}

/// Calls `visit` with each direct child.
pub(crate) fn for_each_child(expr: &Expr, visit: &mut dyn FnMut(Id)) {
    match expr {
        Expr::Literal(_) | Expr::Ident(_) => {}
        Expr::Select { operand, .. } => visit(*operand),
        Expr::Call { target, args, .. } => {
            target.iter().copied().for_each(&mut *visit);
            args.iter().copied().for_each(visit);
        }
        Expr::List { items, .. } => items.iter().copied().for_each(visit),
        Expr::Map(entries) => {
            for entry in entries {
                visit(entry.key);
                visit(entry.value);
            }
        }
        Expr::Struct { fields, .. } => fields.iter().for_each(|field| visit(field.value)),
        Expr::Fold(fold) => {
            [
                fold.range,
                fold.init,
                fold.condition,
                fold.step,
                fold.result,
            ]
            .into_iter()
            .for_each(visit);
        }
    }
}
