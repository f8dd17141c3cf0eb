//! What an expression can cost, found out before it runs: cel-go's static cost model with Kubernetes' prices, and sizes
//! from the schemas of the variables. Which rules a custom resource may have follows from these numbers, so they are
//! upstream's to the unit.

mod calls;
mod range;

use std::collections::HashMap;
use std::sync::Arc;

use range::Range;

use crate::ast::{Ast, Expr, Fold, Id};
use crate::checker::{Checked, Reference};
use crate::decl::Decl;
use crate::env::Env;
use crate::price::{LIST, MAP, OBJECT};
use crate::program::Estimate;
use crate::types::Type;
use crate::value::Value;

/// The bounds of what running the tree costs.
pub(crate) fn estimate(ast: &Ast, root: Id, checked: &Checked, env: &Env) -> Estimate {
    let first = env
        .variables()
        .iter()
        .find_map(|variable| variable.decl.as_ref());
    let mut coster = Coster {
        ast,
        checked,
        env,
        first,
        paths: HashMap::new(),
        sizes: HashMap::new(),
        entries: HashMap::new(),
        locals: Vec::new(),
    };
    coster.cost(root).into()
}

/// Where in the schemas a value comes from; none inside when it is known to come from a way that the schemas do not
/// describe.
type Path<'e> = Option<Way<'e>>;

/// The end of a way through the schemas; none when they do not describe it.
type Way<'e> = Option<&'e Decl>;

/// The sizes of a list's or map's keys and values.
#[derive(Clone, Copy, Debug)]
struct Entries {
    is_list: bool,
    key: Range,
    value: Range,
}

impl Entries {
    fn union(one: Option<Entries>, other: Option<Entries>) -> Option<Entries> {
        let (one, other) = (one?, other?);
        Some(Entries {
            is_list: one.is_list,
            key: one.key.union(other.key),
            value: one.value.union(other.value),
        })
    }
}

struct Local<'e> {
    name: Arc<str>,
    path: Path<'e>,
    size: Option<Range>,
    entries: Option<Entries>,
}

struct Coster<'e> {
    ast: &'e Ast,
    checked: &'e Checked,
    env: &'e Env,
    /// The declaration that ways without a variable are taken to begin at: upstream has only the one of `self`.
    first: Option<&'e Decl>,
    paths: HashMap<Id, Path<'e>>,
    sizes: HashMap<Id, Range>,
    entries: HashMap<Id, Entries>,
    locals: Vec<Local<'e>>,
}

/// An argument of a call.
struct Arg<'e> {
    id: Id,
    path: Path<'e>,
    ty: &'e Type,
    size: Option<Range>,
}

impl<'e> Coster<'e> {
    fn ty(&self, id: Id) -> &'e Type {
        &self.checked.types[id]
    }

    fn cost(&mut self, id: Id) -> Range {
        let ast = self.ast;
        match ast.expr(id) {
            Expr::Literal(_) => Range::ZERO,
            // A type's name is a constant, but upstream counts it as a variable.
            Expr::Ident(name) => {
                let path = self.ident_path(id, name);
                self.paths.insert(id, path);
                Range::ONE
            }
            Expr::Select {
                operand,
                field,
                test,
            } => self.select(id, *operand, field, *test),
            Expr::Call {
                function,
                target,
                args,
            } => self.call(id, function, *target, args),
            Expr::List { items, .. } => {
                let mut sum = Range::ZERO;
                let mut size = Range {
                    min: if items.is_empty() { 0 } else { u64::MAX },
                    max: 0,
                };
                for item in items {
                    sum = sum.plus(self.cost(*item));
                    size = size.union(self.size_or_unknown(*item));
                }
                self.entries.insert(
                    id,
                    Entries {
                        is_list: true,
                        key: Range::ONE,
                        value: size,
                    },
                );
                sum.plus(Range::fixed(LIST))
            }
            Expr::Map(entries) => {
                let mut sum = Range::ZERO;
                let empty = Range {
                    min: if entries.is_empty() { 0 } else { u64::MAX },
                    max: 0,
                };
                let (mut keys, mut values) = (empty, empty);
                for entry in entries {
                    sum = sum.plus(self.cost(entry.key)).plus(self.cost(entry.value));
                    keys = keys.union(self.size_or_unknown(entry.key));
                    values = values.union(self.size_or_unknown(entry.value));
                }
                self.entries.insert(
                    id,
                    Entries {
                        is_list: false,
                        key: keys,
                        value: values,
                    },
                );
                sum.plus(Range::fixed(MAP))
            }
            Expr::Struct { fields, .. } => {
                let sum = fields
                    .iter()
                    .fold(Range::ZERO, |sum, field| sum.plus(self.cost(field.value)));
                sum.plus(Range::fixed(OBJECT))
            }
            Expr::Fold(fold) => self.fold(id, fold),
        }
    }

    fn local(&self, name: &str) -> Option<&Local<'e>> {
        self.locals.iter().rev().find(|local| &*local.name == name)
    }

    fn ident_path(&self, id: Id, name: &str) -> Path<'e> {
        if let Some(local) = self.local(name) {
            return local.path;
        }
        Some(match &self.checked.references[id] {
            Reference::Variable(index) => self.env.variables()[*index].decl.as_ref(),
            // Upstream takes any name for the root's, a type's too.
            _ => self.first,
        })
    }

    fn path(&self, id: Id) -> Path<'e> {
        if let Expr::Ident(name) = self.ast.expr(id)
            && let Some(local) = self.local(name)
        {
            return local.path;
        }
        self.paths.get(&id).copied().flatten()
    }

    /// A step further. From nowhere a step leads to the first declaration itself, as upstream resolves such paths.
    fn step(&self, path: Path<'e>, to: impl Fn(&'e Decl) -> Option<&'e Decl>) -> Way<'e> {
        match path {
            None => self.first,
            Some(way) => way.and_then(to),
        }
    }

    fn to_values(&self, path: Path<'e>) -> Way<'e> {
        self.step(path, |decl| decl.items().or(decl.values()))
    }

    fn to_keys(&self, path: Path<'e>) -> Way<'e> {
        // The declaration of a map's keys says nothing but that they are texts, of no known length.
        self.step(path, |decl| decl.values().map(|_| Decl::key()))
    }

    fn select(&mut self, id: Id, operand: Id, field: &str, test: bool) -> Range {
        let sum = self.cost(operand);
        if test {
            return sum;
        }
        let path = self.path(operand);
        let way = self.step(path, |decl| decl.field(field));
        self.paths.insert(id, Some(way));
        match self.ty(operand) {
            Type::Map(_) | Type::Object(_) => sum.plus(Range::ONE),
            Type::Opaque(name) if !name.starts_with("net.") => sum.plus(Range::ONE),
            _ => sum,
        }
    }

    fn call(&mut self, id: Id, function: &str, target: Option<Id>, ids: &'e [Id]) -> Range {
        let function = function.strip_prefix('.').unwrap_or(function);
        if function == "dyn"
            && let [arg] = ids
        {
            let cost = self.cost(*arg);
            if let Some(size) = self.size(*arg) {
                self.sizes.insert(id, size);
            }
            if let Some(entries) = self.entry_sizes(*arg) {
                self.entries.insert(id, entries);
            }
            return cost.plus(Range::ONE);
        }
        let mut costs = Vec::with_capacity(ids.len());
        let mut args = Vec::with_capacity(ids.len());
        for arg in ids {
            costs.push(self.cost(*arg));
            args.push(self.arg(*arg));
        }
        let checked = self.checked;
        let Reference::Overloads(overloads) = &checked.references[id] else {
            return Range::ZERO;
        };
        let mut sum = Range::ZERO;
        let target = target.map(|target| {
            sum = self.cost(target);
            self.arg(target)
        });
        let mut total = Range {
            min: u64::MAX,
            max: 0,
        };
        let mut result: Option<Range> = None;
        for overload in overloads {
            let (cost, size) =
                self.function(id, function, overload, target.as_ref(), &args, &costs);
            total = total.union(cost);
            if let Some(size) = size {
                result = Some(result.map_or(size, |result| result.union(size)));
            }
            if matches!(*overload, "index_list" | "index_map") && !args.is_empty() {
                result = self.entry_sizes(args[0].id).map(|entries| entries.value);
                let way = self.to_values(self.path(args[0].id));
                self.paths.insert(id, Some(way));
            }
            if result.is_none() {
                result = self.size(id);
            }
        }
        if let Some(result) = result {
            self.sizes.insert(id, result);
        }
        sum.plus(total)
    }

    fn arg(&mut self, id: Id) -> Arg<'e> {
        Arg {
            id,
            path: self.path(id),
            ty: self.ty(id),
            size: self.size(id),
        }
    }

    fn push(
        &mut self,
        name: &Arc<str>,
        path: Path<'e>,
        size: Option<Range>,
        entries: Option<Entries>,
    ) {
        self.locals.push(Local {
            name: name.clone(),
            path,
            size,
            entries,
        });
    }

    fn push_bound(&mut self, name: &Arc<str>, init: Id) {
        let (path, entries) = (self.path(init), self.entry_sizes(init));
        let size = self.size(init);
        self.push(name, path, size, entries);
    }

    fn fold(&mut self, id: Id, fold: &'e Fold) -> Range {
        if is_bind(self.ast, fold) {
            let sum = self.cost(fold.range).plus(self.cost(fold.init));
            self.push_bound(&fold.accumulator, fold.init);
            let sum = sum.plus(self.cost(fold.result));
            self.locals.pop();
            if let Some(size) = self.size(fold.result) {
                self.sizes.insert(id, size);
            }
            if let Some(entries) = self.entry_sizes(fold.result) {
                self.entries.insert(id, entries);
            }
            return sum;
        }
        let mut sum = self.cost(fold.range).plus(self.cost(fold.init));
        self.push_bound(&fold.accumulator, fold.init);
        let entries = self.entry_sizes(fold.range);
        let is_list = entries.map_or(matches!(self.ty(fold.range), Type::List(_)), |entries| {
            entries.is_list
        });
        let path = self.path(fold.range);
        let (keys, values) = (Some(self.to_keys(path)), Some(self.to_values(path)));
        let before = self.locals.len();
        match &fold.second {
            Some(second) => {
                // An index has no place in a schema; its type alone says its size.
                let key_path = if is_list {
                    Some(self.step(path, |_| None))
                } else {
                    keys
                };
                self.push(
                    &fold.variable,
                    key_path,
                    entries.map(|entries| entries.key),
                    None,
                );
                self.push(second, values, entries.map(|entries| entries.value), None);
            }
            None if is_list => self.push(
                &fold.variable,
                values,
                entries.map(|entries| entries.value),
                None,
            ),
            None => self.push(
                &fold.variable,
                keys,
                entries.map(|entries| entries.key),
                None,
            ),
        }
        let each = self.cost(fold.condition);
        let each = self.cost(fold.step).plus(each);
        self.locals.truncate(before);
        sum = sum.plus(self.cost(fold.result));
        self.locals.pop();
        let rounds = self.size_or_unknown(fold.range);
        sum = sum.plus(rounds.times(each));
        match self.ast.expr(fold.init) {
            Expr::Literal(_) => {
                if let Some(size) = self.size(fold.init) {
                    self.sizes.insert(id, size);
                }
            }
            Expr::List { .. } | Expr::Map(_) => {
                self.sizes.insert(id, rounds);
                if let Some(entries) = self.entry_sizes(fold.step) {
                    self.entries.insert(id, entries);
                }
            }
            _ => {}
        }
        sum
    }

    fn size_or_unknown(&mut self, id: Id) -> Range {
        self.size(id).unwrap_or(Range::UNKNOWN)
    }

    /// The size of a node's value, as far as it is known.
    fn size(&mut self, id: Id) -> Option<Range> {
        if let Some(size) = self.sizes.get(&id) {
            return Some(*size);
        }
        if let Some(size) = written_size(self.ast.expr(id)) {
            return Some(Range::fixed(size));
        }
        if let Some(size) = declared_size(self.path(id)) {
            self.sizes.insert(id, size);
            return Some(size);
        }
        if is_scalar(self.ty(id)) {
            return Some(Range::ONE);
        }
        match self.ast.expr(id) {
            Expr::Ident(name) => self.local(name)?.size,
            _ => None,
        }
    }

    fn entry_sizes(&self, id: Id) -> Option<Entries> {
        if let Some(entries) = self.entries.get(&id) {
            return Some(*entries);
        }
        match self.ast.expr(id) {
            Expr::Ident(name) => self.local(name)?.entries,
            _ => None,
        }
    }
}

/// What the schema says of the size.
fn declared_size(path: Path<'_>) -> Option<Range> {
    path.flatten().map(|decl| Range::up_to(decl.max_elements()))
}

/// `cel.bind` and its like: a comprehension over nothing.
fn is_bind(ast: &Ast, fold: &Fold) -> bool {
    matches!(ast.expr(fold.range), Expr::List { items, .. } if items.is_empty())
        && matches!(ast.expr(fold.condition), Expr::Literal(Value::Bool(false)))
}

/// The size of what is written out.
fn written_size(expr: &Expr) -> Option<u64> {
    match expr {
        Expr::Literal(Value::String(text)) => Some(text.code_points() as u64),
        Expr::Literal(Value::Bytes(bytes)) => Some(bytes.len() as u64),
        Expr::Literal(_) => Some(1),
        Expr::List { items, .. } => Some(items.len() as u64),
        Expr::Map(entries) => Some(entries.len() as u64),
        _ => None,
    }
}

fn is_scalar(ty: &Type) -> bool {
    match ty {
        Type::Bool | Type::Double | Type::Duration | Type::Int | Type::Timestamp | Type::Uint => {
            true
        }
        Type::Optional(inner) => is_scalar(inner),
        _ => false,
    }
}
