//! Checked trees to code.

use std::sync::Arc;

use crate::EvalError;
use crate::ast::{Ast, Entry, Expr, Id};
use crate::checker::{Checked, Reference};
use crate::code::{Attribute, Call, Code, Fold, Grows, Item, OneOf, Qualifier, Root, Step};
use crate::env::Env;
use crate::functions::Context;
use crate::libraries::regex::compile;
use crate::price;
use crate::program::{Estimate, Program};
use crate::source::{Fault, NOWHERE};
use crate::value::{Key, Map, Value, Work};

/// Makes a program of a checked tree.
pub(crate) fn plan(
    ast: &Ast,
    root: Id,
    checked: &Checked,
    env: &Env,
    estimate: Estimate,
) -> Result<Program, Fault> {
    let mut planner = Planner {
        ast,
        checked,
        env,
        slots: Vec::new(),
        locals: Vec::new(),
        deepest: 0,
    };
    let code = planner.code(root)?;
    let Planner { slots, deepest, .. } = planner;
    Ok(Program {
        code,
        ty: checked.types[root].clone(),
        slots,
        locals: deepest,
        estimate,
    })
}

struct Planner<'p> {
    ast: &'p Ast,
    checked: &'p Checked,
    env: &'p Env,
    slots: Vec<String>,
    /// The variables of the comprehensions around, by slot; a slot without a name is out of scope.
    locals: Vec<Option<Arc<str>>>,
    deepest: usize,
}

type Planned<T> = Result<T, Fault>;

impl Planner<'_> {
    fn code(&mut self, id: Id) -> Planned<Code> {
        Ok(match self.ast.expr(id) {
            Expr::Literal(value) => Code::Const(value.clone()),
            Expr::Ident(name) => match &self.checked.references[id] {
                Reference::Type(name) => Code::Const(Value::Type(runtime_name(name))),
                Reference::Local => way(Root::Local(self.local(name))),
                _ => way(Root::Variable(
                    self.slot(name.strip_prefix('.').unwrap_or(name)),
                )),
            },
            Expr::Select {
                operand,
                field,
                test,
            } => {
                let operand = self.code(*operand)?;
                let step = Qualifier {
                    step: field_step(field.clone()),
                    optional: false,
                };
                extend(operand, step, *test)
            }
            Expr::Call {
                function,
                target,
                args,
            } => {
                let args: Vec<Id> = target.iter().chain(args).copied().collect();
                self.call(id, function, &args)?
            }
            Expr::List { items, optional } => {
                let mut parts = Vec::with_capacity(items.len());
                for (item, optional) in items.iter().zip(optional) {
                    parts.push(Item {
                        code: self.code(*item)?,
                        optional: *optional,
                    });
                }
                fold_list(parts)
            }
            Expr::Map(entries) => self.map(entries)?,
            Expr::Struct { name, fields } => {
                let mut parts = Vec::with_capacity(fields.len());
                for field in fields {
                    let item = Item {
                        code: self.code(field.value)?,
                        optional: field.optional,
                    };
                    parts.push((field.name.clone(), item));
                }
                Code::Object(name.strip_prefix('.').unwrap_or(name).into(), parts.into())
            }
            Expr::Fold(fold) => self.fold(fold)?,
        })
    }

    fn slot(&mut self, name: &str) -> usize {
        if let Some(slot) = self.slots.iter().position(|slot| slot == name) {
            return slot;
        }
        self.slots.push(name.to_owned());
        self.slots.len() - 1
    }

    fn local(&self, name: &str) -> usize {
        self.locals
            .iter()
            .rposition(|local| local.as_deref() == Some(name))
            .unwrap_or_default()
    }

    fn map(&mut self, entries: &[Entry]) -> Planned<Code> {
        let mut parts = Vec::with_capacity(entries.len());
        for entry in entries {
            let key = self.code(entry.key)?;
            parts.push((
                key,
                Item {
                    code: self.code(entry.value)?,
                    optional: entry.optional,
                },
            ));
        }
        let constant = parts.iter().all(|(key, item)| {
            matches!((key, &item.code), (Code::Const(key), Code::Const(_)) if Key::of(key).is_some()) && !item.optional
        });
        if !constant {
            return Ok(Code::Map(parts.into()));
        }
        let entries = parts
            .into_iter()
            .filter_map(|(key, item)| match (key, item.code) {
                (Code::Const(key), Code::Const(value)) => Some((Key::of(&key)?, value)),
                _ => None,
            });
        Ok(Code::Const(Value::Map(Map::Owned(Arc::new(
            entries.collect(),
        )))))
    }

    fn call(&mut self, id: Id, function: &Arc<str>, ids: &[Id]) -> Planned<Code> {
        let name = function.strip_prefix('.').unwrap_or(function);
        let overload = match &self.checked.references[id] {
            Reference::Overloads(ids) if ids.len() == 1 => ids[0],
            _ => "",
        };
        let mut args = Vec::with_capacity(ids.len());
        for arg in ids {
            args.push(self.code(*arg)?);
        }
        let function = self.env.function(name);
        let mut take = args.into_iter();
        let mut next = || take.next().unwrap_or(Code::Const(Value::Null));
        Ok(match name {
            "_&&_" => Code::And(Box::new((next(), next()))),
            "_||_" => Code::Or(Box::new((next(), next()))),
            "_==_" => Code::Equal(Box::new((next(), next()))),
            "_!=_" => Code::Unequal(Box::new((next(), next()))),
            "_?_:_" => way(Root::Conditional(next(), next(), next())),
            "_[_]" | "_[?_]" | "_?._" => {
                let (operand, index) = (next(), next());
                let step = match index {
                    Code::Const(Value::String(text)) => field_step((*text).into()),
                    Code::Const(value) => Step::Index(value),
                    other => Step::Dynamic(other),
                };
                extend(
                    operand,
                    Qualifier {
                        step,
                        optional: name != "_[_]",
                    },
                    false,
                )
            }
            "@not_strictly_false" => Code::NotFalse(Box::new(next())),
            "or" if overload == "optional_or_optional" => {
                Code::OptionalOr(Box::new((next(), next())))
            }
            "orValue" if overload == "optional_orValue_value" => {
                Code::OptionalOrValue(Box::new((next(), next())))
            }
            _ => {
                let args: Vec<Code> = take.collect();
                let Some(function) = function else {
                    return Err(unplaced(format!("no such overload: {name}")));
                };
                return ordinary(name, overload, function.run, args);
            }
        })
    }

    fn fold(&mut self, fold: &crate::ast::Fold) -> Planned<Code> {
        let range = self.code(fold.range)?;
        let init = self.code(fold.init)?;
        let accumulator = self.push(&fold.accumulator);
        let first = self.push(&fold.variable);
        let second = fold.second.as_ref().map(|name| self.push(name));
        let condition = self.code(fold.condition)?;
        let step = self.code(fold.step)?;
        let step = grows(step, accumulator);
        // The result sees the accumulator, not what was iterated over.
        for slot in [Some(first), second].into_iter().flatten() {
            self.locals[slot] = None;
        }
        let result = self.code(fold.result)?;
        self.locals.truncate(accumulator);
        Ok(Code::Fold(Box::new(Fold {
            range,
            accumulator,
            first,
            second,
            init,
            condition,
            step,
            result,
        })))
    }

    fn push(&mut self, name: &Arc<str>) -> usize {
        self.locals.push(Some(name.clone()));
        self.deepest = self.deepest.max(self.locals.len());
        self.locals.len() - 1
    }
}

/// The name `type(x)` compares with; the parts of a type's name that only the checker uses are left away.
fn runtime_name(name: &str) -> Arc<str> {
    name.into()
}

fn way(root: Root) -> Code {
    Code::Attribute(Box::new(Attribute {
        root,
        qualifiers: Vec::new(),
        test: false,
    }))
}

/// A call of a function that is nothing special to the planner, unless its constant arguments make it so.
fn ordinary(
    name: &str,
    overload: &str,
    run: crate::functions::Run,
    mut args: Vec<Code>,
) -> Planned<Code> {
    if overload == "in_list"
        && let [_, Code::Const(Value::List(list))] = args.as_slice()
    {
        if list.is_empty() {
            return Ok(Code::Const(Value::Bool(false)));
        }
        if let Some(set) = OneOf::new(list) {
            return Ok(Code::OneOf(Box::new((args.swap_remove(0), set))));
        }
    }
    let converts = matches!(
        name,
        "bool"
            | "bytes"
            | "double"
            | "duration"
            | "dyn"
            | "int"
            | "string"
            | "timestamp"
            | "type"
            | "uint"
    );
    if converts && let [Code::Const(value)] = args.as_slice() {
        let mut context = Context {
            work: &mut Work::default(),
            pattern: None,
        };
        let value = run(&mut context, std::slice::from_ref(value))
            .map_err(|error| unplaced(format!("program instantiation failed: {error}")))?;
        return Ok(Code::Const(value));
    }
    let mut pattern = None;
    if matches!(name, "matches" | "find" | "findAll")
        && let Some(Code::Const(Value::String(text))) = args.get(1)
    {
        let compiled = compile(text).map_err(|error: EvalError| {
            unplaced(format!("program instantiation failed: {error}"))
        })?;
        pattern = Some(compiled);
    }
    let stops = args.len() > 2 || pattern.is_some() || matches!(name, "format" | "findAll");
    // What an empty list sums up to depends on what it would hold.
    let run = match overload {
        "list_uint_sum_uint" => crate::libraries::lists::SUM_UINT,
        "list_double_sum_double" => crate::libraries::lists::SUM_DOUBLE,
        "list_duration_sum_duration" => crate::libraries::lists::SUM_DURATION,
        _ => run,
    };
    let grows = match name {
        "_+_" => Grows::List,
        "cel.@mapInsert" => Grows::Map,
        _ => Grows::No,
    };
    let price = price::of(name, overload);
    Ok(Code::Call(Box::new(Call {
        run,
        args: args.into(),
        price,
        pattern,
        grows,
        stops,
    })))
}

/// What upstream finds only when it makes a program; such faults have no place.
fn unplaced(message: String) -> Fault {
    Fault {
        place: NOWHERE,
        message,
    }
}

fn field_step(name: Arc<str>) -> Step {
    let property = crate::unescape(&name).map(|property| {
        if *property == *name {
            name.clone()
        } else {
            property.into()
        }
    });
    Step::Field(name, property)
}

/// A step further on a way, or the first one from another kind of value.
fn extend(operand: Code, step: Qualifier, test: bool) -> Code {
    let mut attribute = match operand {
        Code::Attribute(attribute) if !attribute.test => attribute,
        other => Box::new(Attribute {
            root: Root::Operand(other),
            qualifiers: Vec::new(),
            test: false,
        }),
    };
    attribute.qualifiers.push(step);
    attribute.test = test;
    Code::Attribute(attribute)
}

fn fold_list(parts: Vec<Item>) -> Code {
    if parts
        .iter()
        .any(|item| item.optional || !matches!(item.code, Code::Const(_)))
    {
        return Code::List(parts.into());
    }
    let values = parts.into_iter().filter_map(|item| match item.code {
        Code::Const(value) => Some(value),
        _ => None,
    });
    Code::Const(Value::list(values.collect()))
}

/// A comprehension's step with the growing of its accumulator made a thing of its own.
fn grows(step: Code, accumulator: usize) -> Code {
    let is_own = |code: &Code| match code {
        Code::Attribute(way) => {
            matches!(way.root, Root::Local(slot) if slot == accumulator)
                && way.qualifiers.is_empty()
                && !way.test
        }
        _ => false,
    };
    match step {
        Code::Call(call) if call.args.first().is_some_and(is_own) => {
            let appends = call.grows == Grows::List
                && matches!(call.args[1], Code::List(_) | Code::Const(Value::List(_)));
            let inserts = call.grows == Grows::Map;
            if !appends && !inserts {
                return Code::Call(call);
            }
            let mut args = call.args.into_vec().into_iter().skip(1);
            let mut next = || Box::new(args.next().unwrap_or(Code::Const(Value::Null)));
            if appends {
                return Code::Append(accumulator, next());
            }
            let first = next();
            match args.next() {
                Some(value) => Code::Insert(accumulator, Some(first), Box::new(value)),
                None => Code::Insert(accumulator, None, first),
            }
        }
        Code::Attribute(way) => match *way {
            Attribute {
                root: Root::Conditional(condition, truthy, falsy),
                qualifiers,
                test,
            } if qualifiers.is_empty() => {
                let root = Root::Conditional(
                    condition,
                    grows(truthy, accumulator),
                    grows(falsy, accumulator),
                );
                Code::Attribute(Box::new(Attribute {
                    root,
                    qualifiers,
                    test,
                }))
            }
            other => Code::Attribute(Box::new(other)),
        },
        other => other,
    }
}
