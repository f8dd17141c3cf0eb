//! Running a program. Costs are counted where upstream's interpreter counts them, so that the same expression over the
//! same values costs the same.

mod build;
mod folds;
mod ways;

use crate::budget::Budget;
use crate::code::{Call, Code};
use crate::error::EvalError;
use crate::functions::Context;
use crate::price::{self, LIST, MAP, OBJECT};
use crate::program::{Bindings, Memo, Program, Variables};
use crate::value::{Opaque, Value, Work, equal};

type Result<T> = std::result::Result<T, EvalError>;

/// One evaluation.
pub(crate) struct Run<'r, 'a> {
    bindings: &'r Bindings<'a>,
    slots: Vec<Option<Value<'a>>>,
    locals: Vec<Local<'a>>,
    variables: Option<(&'a Variables, &'r mut Memo<'a>)>,
    /// What the variables' own expressions cost.
    variables_cost: u64,
    cost: u64,
    limit: u64,
    budget: Budget,
    work: Work,
}

#[derive(Clone)]
enum Local<'a> {
    Ready(Result<Value<'a>>),
    /// Worked out when first asked for.
    Pending(&'a Code),
}

impl<'r, 'a> Run<'r, 'a> {
    pub(crate) fn new(
        program: &Program,
        bindings: &'r Bindings<'a>,
        variables: Option<(&'a Variables, &'r mut Memo<'a>)>,
        budget: &Budget,
    ) -> Self {
        Run {
            bindings,
            slots: program
                .slots
                .iter()
                .map(|name| match bindings.get(name) {
                    Some(value) => Some(value.clone()),
                    None if name == "variables" && variables.is_some() => Some(Value::Variables),
                    None => None,
                })
                .collect(),
            locals: vec![Local::Ready(Ok(Value::Null)); program.locals],
            variables,
            variables_cost: 0,
            cost: 0,
            limit: budget.call_limit().min(budget.remaining()),
            budget: *budget,
            work: Work::default(),
        }
    }

    pub(crate) fn evaluate(
        mut self,
        program: &'a Program,
        budget: &mut Budget,
    ) -> Result<Value<'a>> {
        let result = self.eval(&program.code);
        let total = self.cost.saturating_add(self.variables_cost);
        if !budget.spend(total) {
            return Err(EvalError::Budget);
        }
        match result {
            Ok(Value::Opaque(Opaque::Invalid(message))) => {
                Err(EvalError::Failed(message.to_string()))
            }
            result => result,
        }
    }

    fn charge(&mut self, cost: u64) -> Result<()> {
        self.cost = self.cost.saturating_add(cost);
        if self.cost <= self.limit {
            return Ok(());
        }
        Err(if self.cost > self.budget.call_limit() {
            EvalError::CallLimit
        } else {
            EvalError::Budget
        })
    }

    fn eval(&mut self, code: &'a Code) -> Result<Value<'a>> {
        match code {
            Code::Const(value) => Ok(value.clone()),
            Code::Attribute(attribute) => self.attribute(attribute),
            Code::And(sides) => self.logical(sides, false),
            Code::Or(sides) => self.logical(sides, true),
            Code::Equal(sides) => self.equality(sides, true),
            Code::Unequal(sides) => self.equality(sides, false),
            Code::Call(call) => self.call(call),
            Code::OneOf(test) => {
                let value = self.eval(&test.0)?;
                Ok(Value::Bool(test.1.has(&value)))
            }
            Code::List(items) => {
                let value = self.list(items);
                self.charge(LIST)?;
                value
            }
            Code::Map(entries) => {
                let value = self.map(entries);
                self.charge(MAP)?;
                value
            }
            Code::Object(name, fields) => {
                let value = self.object(name, fields);
                self.charge(OBJECT)?;
                value
            }
            Code::Fold(fold) => self.fold(fold),
            Code::Append(slot, item) => self.append(*slot, item),
            Code::Insert(slot, key, value) => self.insert(*slot, key.as_deref(), value),
            Code::OptionalOr(sides) => match self.eval(&sides.0)? {
                Value::Optional(None) => self.eval(&sides.1),
                found @ Value::Optional(Some(_)) => Ok(found),
                _ => Err(EvalError::no_overload()),
            },
            Code::OptionalOrValue(sides) => match self.eval(&sides.0)? {
                Value::Optional(None) => self.eval(&sides.1),
                Value::Optional(Some(found)) => Ok((*found).clone()),
                _ => Err(EvalError::no_overload()),
            },
            Code::NotFalse(inner) => {
                let value = self.eval(inner);
                if value.as_ref().is_err_and(EvalError::is_cost) {
                    return value;
                }
                self.charge(1)?;
                Ok(Value::Bool(!matches!(value, Ok(Value::Bool(false)))))
            }
        }
    }

    /// `&&` and `||`: the side that decides wins over an error of the other.
    fn logical(&mut self, sides: &'a (Code, Code), decides: bool) -> Result<Value<'a>> {
        let left = self.eval(&sides.0);
        match &left {
            Ok(Value::Bool(value)) if *value == decides => return left,
            Err(error) if error.is_cost() => return left,
            _ => {}
        }
        let right = self.eval(&sides.1);
        match &right {
            Ok(Value::Bool(value)) if *value == decides => return right,
            Err(error) if error.is_cost() => return right,
            _ => {}
        }
        for side in [left, right] {
            match side {
                Ok(Value::Bool(_)) => {}
                Ok(Value::Opaque(Opaque::Invalid(message))) => {
                    return Err(EvalError::Failed(message.to_string()));
                }
                Ok(_) => return Err(EvalError::no_overload()),
                error => return error,
            }
        }
        Ok(Value::Bool(!decides))
    }

    /// A side of a comparison: cost errors end everything, others are kept, for both sides are always evaluated.
    fn side(&mut self, code: &'a Code) -> Result<Result<Value<'a>>> {
        match self.eval(code) {
            Err(error) if error.is_cost() => Err(error),
            Ok(Value::Opaque(Opaque::Invalid(message))) => {
                Ok(Err(EvalError::Failed(message.to_string())))
            }
            result => Ok(result),
        }
    }

    fn equality(&mut self, sides: &'a (Code, Code), wanted: bool) -> Result<Value<'a>> {
        let left = self.side(&sides.0)?;
        let right = self.side(&sides.1)?;
        self.charge(price::equality(
            left.as_ref().ok(),
            right.as_ref().ok(),
            wanted,
        ))?;
        let (left, right) = (left?, right?);
        match equal(&left, &right, &mut self.work) {
            Ok(same) => Ok(Value::Bool(same == wanted)),
            // What cannot be compared is unequal.
            Err(EvalError::Failed(_)) if !wanted => Ok(Value::Bool(true)),
            Err(error) => Err(error),
        }
    }

    fn call(&mut self, call: &'a Call) -> Result<Value<'a>> {
        let mut values: [Value<'a>; 4] = Default::default();
        let mut failed = None;
        let count = call.args.len().min(values.len());
        for (index, (arg, value)) in call.args.iter().zip(&mut values).enumerate() {
            match self.side(arg)? {
                Ok(found) => *value = found,
                Err(error) => {
                    if call.stops && index + 1 < count {
                        return Err(error);
                    }
                    failed.get_or_insert(error);
                }
            }
        }
        let args = &values[..count];
        if let Some(cost) = call.price.before(args) {
            self.charge(cost)?;
        }
        if let Some(error) = failed {
            if call.price.before(args).is_none() {
                self.charge(1)?;
            }
            return Err(error);
        }
        let mut context = Context {
            work: &mut self.work,
            pattern: call.pattern.as_ref(),
        };
        let result = (call.run)(&mut context, args);
        if let Some(cost) = call.price.after(args, result.as_ref().ok()) {
            self.charge(cost)?;
        }
        result
    }
}
