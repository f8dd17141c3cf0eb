//! Macros: calls that stand for a comprehension or a presence test.

use std::sync::Arc;

use crate::ast::{ACCUMULATOR, Ast, Expr, Fold, Id};
use crate::source::Fault;
use crate::value::Value;

/// Which syntax and macros an environment has beyond the language's own.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Macros {
    /// `a.?b`, `a[?b]`, `optMap`, `optFlatMap`.
    pub(crate) optional: bool,
    /// Comprehensions over index and item, or key and value; `sortBy`.
    pub(crate) two_variables: bool,
}

/// The variable of a comprehension that does not iterate.
const UNUSED: &str = "#unused";

/// Expands a call if it is a macro's.
pub(crate) fn expand(
    ast: &mut Ast,
    macros: Macros,
    place: u32,
    function: &str,
    target: Option<Id>,
    args: &[Id],
) -> Result<Option<Id>, Fault> {
    let mut build = Builder { ast, place };
    let Some(target) = target else {
        return match (function, args) {
            ("has", [arg]) => build.has(*arg).map(Some),
            _ => Ok(None),
        };
    };
    match (function, args) {
        ("all" | "exists" | "exists_one" | "existsOne", [variable, predicate]) => {
            let variable = build.variable(*variable, "argument must be a simple name")?;
            Ok(Some(
                build.quantifier(function, target, variable, None, *predicate),
            ))
        }
        ("map", [variable, transform]) => {
            let variable = build.variable(*variable, "argument is not an identifier")?;
            Ok(Some(
                build.collect(target, variable, None, None, *transform),
            ))
        }
        ("map", [variable, filter, transform]) => {
            let variable = build.variable(*variable, "argument is not an identifier")?;
            Ok(Some(build.collect(
                target,
                variable,
                None,
                Some(*filter),
                *transform,
            )))
        }
        ("filter", [item, filter]) => {
            let variable = build.variable(*item, "argument is not an identifier")?;
            Ok(Some(build.collect(
                target,
                variable,
                None,
                Some(*filter),
                *item,
            )))
        }
        ("optMap", [variable, transform]) if macros.optional => build
            .optional_map(target, *variable, *transform, true)
            .map(Some),
        ("optFlatMap", [variable, transform]) if macros.optional => build
            .optional_map(target, *variable, *transform, false)
            .map(Some),
        ("sortBy", [variable, key]) if macros.two_variables => {
            if matches!(
                build.ast.expr(target),
                Expr::Literal(_) | Expr::Map(_) | Expr::Struct { .. }
            ) {
                return Err(build.fault(
                    target,
                    "sortBy can only be applied to a list, identifier, comprehension, call or select expression",
                ));
            }
            let variable = build.variable(*variable, "argument is not an identifier")?;
            Ok(Some(build.sort_by(target, variable, *key)))
        }
        (_, [first, second, rest @ ..]) if macros.two_variables => {
            build.two_variables(function, target, *first, *second, rest)
        }
        _ => Ok(None),
    }
}

struct Builder<'a> {
    ast: &'a mut Ast,
    place: u32,
}

impl Builder<'_> {
    fn fault(&self, id: Id, message: impl Into<String>) -> Fault {
        Fault {
            place: self.ast.place(id),
            message: message.into(),
        }
    }

    fn variable(&self, id: Id, otherwise: &str) -> Result<Arc<str>, Fault> {
        match self.ast.expr(id) {
            Expr::Ident(name) if &**name == "__result__" => {
                Err(self.fault(id, "iteration variable overwrites accumulator variable"))
            }
            Expr::Ident(name) => Ok(name.clone()),
            _ => Err(self.fault(id, otherwise)),
        }
    }

    fn add(&mut self, expr: Expr) -> Id {
        self.ast.add(self.place, expr)
    }

    fn literal(&mut self, value: Value<'static>) -> Id {
        self.add(Expr::Literal(value))
    }

    fn ident(&mut self, name: &str) -> Id {
        self.add(Expr::Ident(name.into()))
    }

    fn accumulator(&mut self) -> Id {
        self.ident(ACCUMULATOR)
    }

    fn call(&mut self, function: &str, args: Vec<Id>) -> Id {
        self.add(Expr::Call {
            function: function.into(),
            target: None,
            args,
        })
    }

    fn list(&mut self, items: Vec<Id>) -> Id {
        let optional = vec![false; items.len()];
        self.add(Expr::List { items, optional })
    }

    fn has(&mut self, arg: Id) -> Result<Id, Fault> {
        match self.ast.expr(arg) {
            Expr::Select { operand, field, .. } => {
                let (operand, field) = (*operand, field.clone());
                Ok(self.add(Expr::Select {
                    operand,
                    field,
                    test: true,
                }))
            }
            _ => Err(self.fault(arg, "invalid argument to has() macro")),
        }
    }

    fn fold(
        &mut self,
        (range, variable, second): (Id, Arc<str>, Option<Arc<str>>),
        init: Id,
        condition: Id,
        step: Id,
        result: Id,
    ) -> Id {
        let accumulator = ACCUMULATOR.into();
        self.add(Expr::Fold(Box::new(Fold {
            range,
            variable,
            second,
            accumulator,
            init,
            condition,
            step,
            result,
        })))
    }

    fn quantifier(
        &mut self,
        kind: &str,
        range: Id,
        variable: Arc<str>,
        second: Option<Arc<str>>,
        predicate: Id,
    ) -> Id {
        let (init, condition, step, result);
        match kind {
            "all" => {
                init = self.literal(Value::Bool(true));
                let so_far = self.accumulator();
                condition = self.call("@not_strictly_false", vec![so_far]);
                let so_far = self.accumulator();
                step = self.call("_&&_", vec![so_far, predicate]);
                result = self.accumulator();
            }
            "exists" => {
                init = self.literal(Value::Bool(false));
                let so_far = self.accumulator();
                let not = self.call("!_", vec![so_far]);
                condition = self.call("@not_strictly_false", vec![not]);
                let so_far = self.accumulator();
                step = self.call("_||_", vec![so_far, predicate]);
                result = self.accumulator();
            }
            _ => {
                init = self.literal(Value::Int(0));
                condition = self.literal(Value::Bool(true));
                let (count, one) = (self.accumulator(), self.literal(Value::Int(1)));
                let more = self.call("_+_", vec![count, one]);
                let same = self.accumulator();
                step = self.call("_?_:_", vec![predicate, more, same]);
                let (count, one) = (self.accumulator(), self.literal(Value::Int(1)));
                result = self.call("_==_", vec![count, one]);
            }
        }
        self.fold((range, variable, second), init, condition, step, result)
    }

    /// `map` and `filter`: appends `item` for what `filter` lets pass.
    fn collect(
        &mut self,
        range: Id,
        variable: Arc<str>,
        second: Option<Arc<str>>,
        filter: Option<Id>,
        item: Id,
    ) -> Id {
        let init = self.list(Vec::new());
        let so_far = self.accumulator();
        let item = self.list(vec![item]);
        let step = self.call("_+_", vec![so_far, item]);
        self.guarded((range, variable, second), init, filter, step)
    }

    fn guarded(
        &mut self,
        over: (Id, Arc<str>, Option<Arc<str>>),
        init: Id,
        filter: Option<Id>,
        mut step: Id,
    ) -> Id {
        let condition = self.literal(Value::Bool(true));
        if let Some(filter) = filter {
            let same = self.accumulator();
            step = self.call("_?_:_", vec![filter, step, same]);
        }
        let result = self.accumulator();
        self.fold(over, init, condition, step, result)
    }

    /// Sorts by what an expression says of each item: the list is bound to a name, so that it is worked out once.
    fn sort_by(&mut self, target: Id, variable: Arc<str>, key: Id) -> Id {
        const INPUT: &str = "@__sortBy_input__";
        let over = self.ident(INPUT);
        let keys = self.collect(over, variable, None, None, key);
        let list = self.ident(INPUT);
        let function = "@sortByAssociatedKeys".into();
        let sorted = self.add(Expr::Call {
            function,
            target: Some(list),
            args: vec![keys],
        });
        self.bind(INPUT.into(), target, sorted)
    }

    fn bind(&mut self, variable: Arc<str>, init: Id, result: Id) -> Id {
        let range = self.list(Vec::new());
        let condition = self.literal(Value::Bool(false));
        let step = self.ident(&variable);
        let fold = Fold {
            range,
            variable: UNUSED.into(),
            second: None,
            accumulator: variable,
            init,
            condition,
            step,
            result,
        };
        self.add(Expr::Fold(Box::new(fold)))
    }

    fn optional_map(
        &mut self,
        target: Id,
        variable: Id,
        transform: Id,
        wrap: bool,
    ) -> Result<Id, Fault> {
        let Expr::Ident(name) = self.ast.expr(variable) else {
            let name = if wrap { "optMap" } else { "optFlatMap" };
            return Err(self.fault(
                variable,
                format!("{name}() variable name must be a simple identifier"),
            ));
        };
        let name = name.clone();
        let present = self.add(Expr::Call {
            function: "hasValue".into(),
            target: Some(target),
            args: Vec::new(),
        });
        let again = self.ast.copy(target);
        let value = self.add(Expr::Call {
            function: "value".into(),
            target: Some(again),
            args: Vec::new(),
        });
        let mut mapped = self.bind(name, value, transform);
        if wrap {
            mapped = self.call("optional.of", vec![mapped]);
        }
        let none = self.call("optional.none", Vec::new());
        Ok(self.call("_?_:_", vec![present, mapped, none]))
    }

    fn two_variables(
        &mut self,
        function: &str,
        range: Id,
        first: Id,
        second: Id,
        rest: &[Id],
    ) -> Result<Option<Id>, Fault> {
        match (function, rest.len()) {
            ("all" | "exists" | "exists_one" | "existsOne", 1)
            | ("transformList" | "transformMap" | "transformMapEntry", 1 | 2) => {}
            _ => return Ok(None),
        }
        let key = self.variable(first, "argument must be a simple name")?;
        let value = self.variable(second, "argument must be a simple name")?;
        if key == value {
            return Err(self.fault(second, format!("duplicate variable name: {key}")));
        }
        let over = (range, key.clone(), Some(value));
        let (filter, transform) = match rest {
            [filter, transform] => (Some(*filter), *transform),
            _ => (None, rest[0]),
        };
        Ok(Some(match function {
            "transformList" => self.collect(over.0, over.1, over.2, filter, transform),
            "transformMap" | "transformMapEntry" => {
                let init = self.add(Expr::Map(Vec::new()));
                let so_far = self.accumulator();
                let args = if function == "transformMap" {
                    let key = self.ident(&key);
                    vec![so_far, key, transform]
                } else {
                    vec![so_far, transform]
                };
                let step = self.call("cel.@mapInsert", args);
                self.guarded(over, init, filter, step)
            }
            _ => self.quantifier(function, over.0, over.1, over.2, transform),
        }))
    }
}
