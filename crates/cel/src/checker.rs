//! Types of expressions: finds out each node's, resolves names and overloads, and reports what does not fit in
//! cel-go's words.

use std::sync::Arc;

use crate::ast::{Ast, Expr, Fold, Id};
use crate::env::Env;
use crate::source::Fault;
use crate::types::{ObjectType, Type};
use crate::unify::{Known, most_general};
use crate::value::Value;

/// What a node's name refers to.
#[derive(Clone, Debug)]
pub(crate) enum Reference {
    /// Nothing that was resolved.
    None,
    /// A variable of the environment.
    Variable(usize),
    /// A variable of a comprehension.
    Local,
    /// A type by its name.
    Type(Arc<str>),
    /// A function's overloads that fit.
    Overloads(Vec<&'static str>),
}

/// What is known of every node after checking.
pub(crate) struct Checked {
    pub(crate) types: Vec<Type>,
    pub(crate) references: Vec<Reference>,
}

/// Checks a tree. Names that turn out to be one (`a.b.c`) become identifiers in place.
pub(crate) fn check(ast: &mut Ast, root: Id, env: &Env) -> Result<Checked, Vec<Fault>> {
    let count = ast.nodes.len();
    let mut checker = Checker {
        ast,
        env,
        known: Known::default(),
        types: vec![Type::Error; count],
        references: vec![Reference::None; count],
        locals: Vec::new(),
        faults: Vec::new(),
    };
    checker.check(root);
    let Checker {
        known,
        mut types,
        references,
        faults,
        ..
    } = checker;
    if !faults.is_empty() {
        return Err(faults);
    }
    for ty in &mut types {
        *ty = known.substitute(ty, true);
    }
    Ok(Checked { types, references })
}

struct Checker<'c> {
    ast: &'c mut Ast,
    env: &'c Env,
    known: Known,
    types: Vec<Type>,
    references: Vec<Reference>,
    locals: Vec<(Arc<str>, Type)>,
    faults: Vec<Fault>,
}

impl Checker<'_> {
    fn fault(&mut self, id: Id, message: String) {
        let place = self.ast.place(id);
        self.faults.push(Fault { place, message });
    }

    fn mismatch(&mut self, id: Id, expected: &Type, found: &Type) {
        let (expected, found) = (self.shown(expected), self.shown(found));
        self.fault(
            id,
            format!("expected type '{expected}' but found '{found}'"),
        );
    }

    fn shown(&self, ty: &Type) -> String {
        self.known.substitute(ty, false).to_string()
    }

    fn undeclared(&mut self, id: Id, name: &str) {
        self.fault(
            id,
            format!("undeclared reference to '{name}' (in container '')"),
        );
    }

    fn check(&mut self, id: Id) -> Type {
        let ty = match self.ast.expr(id).clone() {
            Expr::Literal(value) => literal_type(&value),
            Expr::Ident(name) => self.ident(id, &name),
            Expr::Select {
                operand,
                field,
                test,
            } => self.select(id, operand, &field, test),
            Expr::Call {
                function,
                target,
                args,
            } => self.call(id, &function, target, args),
            Expr::List { items, optional } => {
                let mut joined = None;
                for (item, optional) in items.into_iter().zip(optional) {
                    let ty = self.check(item);
                    let ty = if optional {
                        self.unwrapped(item, ty)
                    } else {
                        ty
                    };
                    joined = Some(self.join(joined, ty));
                }
                Type::list(joined.unwrap_or_else(|| self.known.fresh()))
            }
            Expr::Map(entries) => {
                let (mut keys, mut values) = (None, None);
                for entry in entries {
                    let ty = self.check(entry.key);
                    keys = Some(self.join(keys, ty));
                    let ty = self.check(entry.value);
                    let ty = if entry.optional {
                        self.unwrapped(entry.value, ty)
                    } else {
                        ty
                    };
                    values = Some(self.join(values, ty));
                }
                let key = keys.unwrap_or_else(|| self.known.fresh());
                let value = values.unwrap_or_else(|| self.known.fresh());
                Type::map(key, value)
            }
            Expr::Struct { name, fields } => self.object(id, &name, &fields),
            Expr::Fold(fold) => self.fold(&fold),
        };
        self.types[id] = ty.clone();
        ty
    }

    fn unwrapped(&mut self, id: Id, ty: Type) -> Type {
        match ty {
            Type::Optional(inner) => (*inner).clone(),
            Type::Dyn => Type::Dyn,
            other => {
                self.mismatch(id, &Type::optional(other.clone()), &other);
                other
            }
        }
    }

    /// The common type of an aggregate's parts.
    fn join(&mut self, previous: Option<Type>, current: Type) -> Type {
        let Some(previous) = previous else {
            return current;
        };
        if self.known.assignable(&previous, &current) {
            return most_general(&previous, &current);
        }
        // Kubernetes refuses mixed types too, but only later, and not inside what is formatted.
        Type::Dyn
    }

    fn local(&self, name: &str) -> Option<&Type> {
        self.locals
            .iter()
            .rev()
            .find(|(local, _)| &**local == name)
            .map(|(_, ty)| ty)
    }

    /// A variable or type of the environment.
    fn global(&self, name: &str) -> Option<(Reference, Type)> {
        let name = name.strip_prefix('.').unwrap_or(name);
        if let Some((index, variable)) = self.env.variable(name) {
            return Some((Reference::Variable(index), variable.ty.clone()));
        }
        let ty = self.env.type_named(name)?;
        Some((Reference::Type(name.into()), Type::Type(Some(Arc::new(ty)))))
    }

    fn ident(&mut self, id: Id, name: &str) -> Type {
        if let Some(ty) = self.local(name) {
            let ty = ty.clone();
            self.references[id] = Reference::Local;
            return ty;
        }
        match self.global(name) {
            Some((reference, ty)) => {
                self.references[id] = reference;
                ty
            }
            None => {
                self.undeclared(id, name.strip_prefix('.').unwrap_or(name));
                Type::Error
            }
        }
    }

    /// The dotted name a chain of selections spells, if it starts with an identifier.
    fn dotted(&self, id: Id) -> Option<String> {
        match self.ast.expr(id) {
            Expr::Ident(name) => Some(name.to_string()),
            Expr::Select {
                operand,
                field,
                test: false,
            } => {
                let mut name = self.dotted(*operand)?;
                name.push('.');
                name.push_str(field);
                Some(name)
            }
            _ => None,
        }
    }

    fn select(&mut self, id: Id, operand: Id, field: &Arc<str>, test: bool) -> Type {
        // Only a test on the chain's own end keeps it from being a name.
        if !test
            && let Some(name) = self.dotted(id)
            && self
                .local(name.split('.').next().unwrap_or_default())
                .is_none()
            && let Some((reference, ty)) = self.global(&name)
        {
            self.ast.nodes[id].expr = Expr::Ident(name.into());
            self.references[id] = reference;
            return ty;
        }
        let ty = self.field(id, operand, field, false);
        if test {
            Type::Bool
        } else {
            self.known.substitute(&ty, false)
        }
    }

    fn field(&mut self, id: Id, operand: Id, field: &str, optional: bool) -> Type {
        let ty = self.check(operand);
        let ty = self.known.substitute(&ty, false);
        let (target, wrapped) = match &ty {
            Type::Optional(inner) => ((**inner).clone(), true),
            other => (other.clone(), false),
        };
        let result = match &target {
            Type::Map(entry) => entry.1.clone(),
            Type::Object(object) => match self.env.field(object, field) {
                Some(ty) => ty,
                None => {
                    self.fault(id, format!("undefined field '{field}'"));
                    Type::Error
                }
            },
            Type::Opaque(name) => {
                // Values of libraries are objects without fields for the checker, except the networks' and addresses'.
                if name.starts_with("net.") {
                    self.fault(
                        id,
                        format!("type '{target}' does not support field selection"),
                    );
                    Type::Dyn
                } else {
                    self.fault(id, format!("undefined field '{field}'"));
                    Type::Error
                }
            }
            Type::Var(_) => {
                self.known.assignable(&Type::Dyn, &target);
                Type::Dyn
            }
            Type::Dyn | Type::Error => Type::Dyn,
            other => {
                let shown = self.shown(other);
                self.fault(
                    id,
                    format!("type '{shown}' does not support field selection"),
                );
                Type::Dyn
            }
        };
        if wrapped || optional {
            Type::optional(result)
        } else {
            result
        }
    }

    fn call(&mut self, id: Id, function: &Arc<str>, target: Option<Id>, args: Vec<Id>) -> Type {
        if &**function == "_?._" {
            let field = match self.ast.expr(args[1]) {
                Expr::Literal(Value::String(text)) => text.to_string(),
                _ => String::new(),
            };
            self.types[args[1]] = Type::String;
            let ty = self.field(id, args[0], &field, true);
            self.references[id] = Reference::Overloads(vec!["select_optional_field"]);
            return self.known.substitute(&ty, false);
        }
        let mut types: Vec<Type> = args.iter().map(|arg| self.check(*arg)).collect();
        let Some(target) = target else {
            let name = function.strip_prefix('.').unwrap_or(function);
            return self.overload(id, name, &types, false);
        };
        if let Some(prefix) = self.dotted(target) {
            let name = format!("{}.{function}", prefix.strip_prefix('.').unwrap_or(&prefix));
            if self.env.function(&name).is_some() {
                self.ast.nodes[id].expr = Expr::Call {
                    function: name.as_str().into(),
                    target: None,
                    args,
                };
                return self.overload(id, &name, &types, false);
            }
        }
        types.insert(0, self.check(target));
        self.overload(id, function, &types, true)
    }

    fn overload(&mut self, id: Id, name: &str, types: &[Type], member: bool) -> Type {
        let env = self.env;
        let Some(function) = env.function(name) else {
            self.undeclared(id, name);
            return Type::Error;
        };
        if matches!(name, "_&&_" | "_||_") {
            let Expr::Call { args, .. } = self.ast.expr(id).clone() else {
                return Type::Error;
            };
            let mut fits = true;
            for (arg, ty) in args.iter().zip(types) {
                if !self.known.assignable(ty, &Type::Bool) {
                    self.mismatch(*arg, &Type::Bool, ty);
                    fits = false;
                }
            }
            self.references[id] = Reference::Overloads(vec![function.overloads[0].id]);
            return if fits { Type::Bool } else { Type::Error };
        }
        let mut result: Option<Type> = None;
        let mut ids = Vec::new();
        for overload in function
            .overloads
            .iter()
            .filter(|overload| overload.member == member)
        {
            if overload.args.len() != types.len() || !env.enabled(overload.id) {
                continue;
            }
            let mut parameters: Vec<(&'static str, Type)> = Vec::new();
            let wanted: Vec<Type> = overload
                .args
                .iter()
                .map(|ty| instantiate(ty, &mut parameters, &mut self.known))
                .collect();
            let gives = instantiate(&overload.result, &mut parameters, &mut self.known);
            if !self.known.assignable_all(types, &wanted) {
                continue;
            }
            ids.push(overload.id);
            let gives = self.known.substitute(&gives, false);
            result = Some(match result {
                None => gives,
                Some(before) if before == Type::Dyn || before == gives => before,
                Some(_) => Type::Dyn,
            });
        }
        let Some(result) = result else {
            let shown: Vec<String> = types
                .iter()
                .map(|ty| self.known.substitute(ty, true).to_string())
                .collect();
            let signature = match (member, shown.split_first()) {
                (true, Some((receiver, rest))) => format!("{receiver}.({})", rest.join(", ")),
                _ => format!("({})", shown.join(", ")),
            };
            self.fault(
                id,
                format!("found no matching overload for '{name}' applied to '{signature}'"),
            );
            return Type::Error;
        };
        self.references[id] = Reference::Overloads(ids);
        result
    }

    fn object(&mut self, id: Id, name: &str, fields: &[crate::ast::Field]) -> Type {
        let plain = name.strip_prefix('.').unwrap_or(name);
        let object: Option<Arc<ObjectType>> = match self.env.type_named(plain) {
            Some(Type::Object(object)) => Some(object),
            Some(_) => {
                self.fault(id, format!("'{plain}' is not a message type"));
                None
            }
            None => {
                self.undeclared(id, plain);
                for field in fields {
                    self.check(field.value);
                }
                return Type::Error;
            }
        };
        for field in fields {
            let ty = self.check(field.value);
            let Some(object) = &object else { continue };
            let Some(wanted) = self.env.field(object, &field.name) else {
                self.faults.push(Fault {
                    place: field.place,
                    message: format!("undefined field '{}'", field.name),
                });
                continue;
            };
            let ty = if field.optional {
                self.unwrapped(field.value, ty)
            } else {
                ty
            };
            if !self.known.assignable(&wanted, &ty) {
                let message = format!(
                    "expected type of field '{}' is '{}' but provided type is '{}'",
                    field.name,
                    self.shown(&wanted),
                    self.shown(&ty)
                );
                self.faults.push(Fault {
                    place: field.place,
                    message,
                });
            }
        }
        object.map_or(Type::Error, Type::Object)
    }

    fn fold(&mut self, fold: &Fold) -> Type {
        let range = self.check(fold.range);
        let accumulated = self.check(fold.init);
        let range = self.known.substitute(&range, false);
        self.locals
            .push((fold.accumulator.clone(), accumulated.clone()));
        let (first, second) = match &range {
            Type::List(item) if fold.second.is_some() => (Type::Int, (**item).clone()),
            Type::List(item) => ((**item).clone(), Type::Dyn),
            Type::Map(entry) => (entry.0.clone(), entry.1.clone()),
            Type::Dyn | Type::Error | Type::Var(_) => {
                self.known.assignable(&Type::Dyn, &range);
                (Type::Dyn, Type::Dyn)
            }
            other => {
                let shown = self.shown(other);
                self.fault(
                    fold.range,
                    format!("expression of type '{shown}' cannot be range of a comprehension (must be list, map, or dynamic)"),
                );
                (Type::Error, Type::Error)
            }
        };
        let scope = self.locals.len();
        self.locals.push((fold.variable.clone(), first));
        if let Some(name) = &fold.second {
            self.locals.push((name.clone(), second));
        }
        let condition = self.check(fold.condition);
        if !self.known.assignable(&Type::Bool, &condition) {
            self.mismatch(fold.condition, &Type::Bool, &condition);
        }
        let step = self.check(fold.step);
        if !self.known.assignable(&accumulated, &step) {
            self.mismatch(fold.step, &accumulated, &step);
        }
        self.locals.truncate(scope);
        let result = self.check(fold.result);
        self.locals.truncate(scope - 1);
        self.known.substitute(&result, false)
    }
}

fn literal_type(value: &Value<'_>) -> Type {
    match value {
        Value::Null => Type::Null,
        Value::Bool(_) => Type::Bool,
        Value::Int(_) => Type::Int,
        Value::Uint(_) => Type::Uint,
        Value::Double(_) => Type::Double,
        Value::String(_) => Type::String,
        Value::Bytes(_) => Type::Bytes,
        _ => Type::Dyn,
    }
}

/// A declared type with its parameters replaced by fresh variables.
fn instantiate(ty: &Type, parameters: &mut Vec<(&'static str, Type)>, known: &mut Known) -> Type {
    match ty {
        Type::Param(name) => {
            if let Some((_, ty)) = parameters.iter().find(|(parameter, _)| parameter == name) {
                return ty.clone();
            }
            let fresh = known.fresh();
            parameters.push((name, fresh.clone()));
            fresh
        }
        Type::List(item) => Type::list(instantiate(item, parameters, known)),
        Type::Optional(inner) => Type::optional(instantiate(inner, parameters, known)),
        Type::Map(entry) => Type::map(
            instantiate(&entry.0, parameters, known),
            instantiate(&entry.1, parameters, known),
        ),
        Type::Type(Some(inner)) => Type::Type(Some(instantiate(inner, parameters, known).into())),
        other => other.clone(),
    }
}
