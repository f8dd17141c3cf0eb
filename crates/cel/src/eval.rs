//! Running a program. Costs are counted where upstream's interpreter counts them, so that the same expression over the
//! same values costs the same.

use std::sync::Arc;

use crate::budget::Budget;
use crate::code::{Attribute, Call, Code, Fold, Item, Qualifier, Root, Step};
use crate::error::EvalError;
use crate::functions::Context;
use crate::price::{self, LIST, MAP, OBJECT};
use crate::program::{Bindings, Memo, Program, Variables};
use crate::value::{Key, Map, Object, Opaque, Value, Work, display, equal};

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

    fn attribute(&mut self, attribute: &'a Attribute) -> Result<Value<'a>> {
        let resolved = self.resolve(attribute);
        if resolved.as_ref().is_err_and(EvalError::is_cost) {
            return resolved;
        }
        if !attribute.test && !matches!(attribute.root, Root::Conditional(..)) {
            self.charge(1)?;
        }
        let value = resolved?;
        if attribute.test {
            return Ok(match value {
                Value::Optional(found) => Value::Bool(found.is_some()),
                value => value,
            });
        }
        Ok(value)
    }

    /// The value at the end of a way, without the price of its beginning.
    fn resolve(&mut self, attribute: &'a Attribute) -> Result<Value<'a>> {
        let value = match &attribute.root {
            Root::Variable(slot) => match &self.slots[*slot] {
                Some(value) => value.clone(),
                None => return Err(EvalError::Failed("no such attribute(s)".to_owned())),
            },
            Root::Local(slot) => self.local(*slot)?,
            Root::Operand(code) => self.eval(code)?,
            Root::Conditional(condition, truthy, falsy) => {
                let branch = match self.eval(condition)? {
                    Value::Bool(true) => truthy,
                    Value::Bool(false) => falsy,
                    Value::Opaque(Opaque::Invalid(message)) => {
                        return Err(EvalError::Failed(message.to_string()));
                    }
                    _ => return Err(EvalError::no_overload()),
                };
                match branch {
                    Code::Attribute(attribute) if !attribute.test => self.resolve(attribute)?,
                    other => self.eval(other)?,
                }
            }
        };
        if let Value::Opaque(Opaque::Invalid(message)) = value {
            return Err(EvalError::Failed(message.to_string()));
        }
        if attribute.qualifiers.is_empty() {
            return Ok(value);
        }
        self.qualify(value, attribute)
    }

    fn local(&mut self, slot: usize) -> Result<Value<'a>> {
        match &self.locals[slot] {
            Local::Ready(value) => value.clone(),
            Local::Pending(code) => {
                let code = *code;
                let value = self.eval(code);
                self.locals[slot] = Local::Ready(value.clone());
                value
            }
        }
    }

    fn qualify(&mut self, value: Value<'a>, attribute: &'a Attribute) -> Result<Value<'a>> {
        let mut optional = false;
        let mut value = match value {
            Value::Optional(None) => return Ok(Value::Optional(None)),
            Value::Optional(Some(inner)) => {
                optional = true;
                (*inner).clone()
            }
            other => other,
        };
        let last = attribute.qualifiers.len() - 1;
        for (index, qualifier) in attribute.qualifiers.iter().enumerate() {
            optional |= qualifier.optional;
            let test = attribute.test && index == last;
            let found = self.step(&value, qualifier);
            if found.as_ref().is_err_and(EvalError::is_cost) {
                return found.map(|_| Value::Null);
            }
            if test {
                self.charge(1)?;
                let present = match found {
                    Ok(found) => found.is_some(),
                    Err(error) => return Err(error),
                };
                return Ok(Value::Bool(present));
            }
            match found {
                Ok(Some(next)) => {
                    self.charge(1)?;
                    value = next;
                }
                Ok(None) if optional => return Ok(Value::Optional(None)),
                Ok(None) => {
                    self.charge(1)?;
                    return Err(self.missing(&value, qualifier));
                }
                Err(error) => {
                    self.charge(1)?;
                    return Err(error);
                }
            }
        }
        Ok(if optional {
            Value::optional(Some(value))
        } else {
            value
        })
    }

    fn missing(&mut self, value: &Value<'a>, qualifier: &'a Qualifier) -> EvalError {
        let key = match &qualifier.step {
            Step::Field(name, _) => name.to_string(),
            Step::Index(key) => display(key),
            // The step was worked out a moment ago without failing; what it cost is not charged again.
            Step::Dynamic(code) => {
                let cost = self.cost;
                let key = self.eval(code).map(|key| display(&key)).unwrap_or_default();
                self.cost = cost;
                key
            }
        };
        EvalError::Failed(match value {
            Value::List(_) => format!("index out of bounds: {key}"),
            _ => format!("no such key: {key}"),
        })
    }

    /// One step; none when there is nothing.
    fn step(&mut self, value: &Value<'a>, qualifier: &'a Qualifier) -> Result<Option<Value<'a>>> {
        match &qualifier.step {
            Step::Field(name, property) => match value {
                Value::Map(map) => map.known_field(name, property.as_deref()),
                value => self.field(value, name),
            },
            Step::Index(key) => index(value, key),
            Step::Dynamic(code) => {
                let key = match code {
                    Code::Attribute(attribute) if !attribute.test => self.resolve(attribute)?,
                    other => self.eval(other)?,
                };
                if let Value::String(name) = &key {
                    return self.field(value, name);
                }
                index(value, &key)
            }
        }
    }

    fn field(&mut self, value: &Value<'a>, name: &str) -> Result<Option<Value<'a>>> {
        match value {
            Value::Map(map) => map.field(name),
            Value::Object(object) => Ok(object.fields.get(name).cloned()),
            Value::Variables => self.variable(name),
            Value::List(_) => Err(EvalError::Failed(
                "unsupported index type 'string' in list".to_owned(),
            )),
            _ => Ok(None),
        }
    }

    /// A field of `variables`: the result of another expression, worked out once.
    fn variable(&mut self, name: &str) -> Result<Option<Value<'a>>> {
        let Some((variables, memo)) = &mut self.variables else {
            return Ok(None);
        };
        let variables = *variables;
        let Some((index, program)) = variables.find(name) else {
            return Ok(None);
        };
        if memo.results.len() <= index {
            memo.results.resize(index + 1, None);
        }
        if let Some(result) = &memo.results[index] {
            return result.clone().map(Some);
        }
        let mut budget = self.budget;
        if !budget.spend(self.variables_cost.saturating_add(self.cost)) {
            return Err(EvalError::Budget);
        }
        let before = budget.used();
        let run = Run::new(program, self.bindings, Some((variables, memo)), &budget);
        let result = run.evaluate(program, &mut budget);
        self.variables_cost = self.variables_cost.saturating_add(budget.used() - before);
        self.limit = self
            .budget
            .call_limit()
            .min(self.budget.remaining().saturating_sub(self.variables_cost));
        if let Some((_, memo)) = &mut self.variables {
            memo.results[index] = Some(result.clone());
        }
        result.map(Some)
    }

    /// A part under construction; none for an optional without value.
    fn part(
        &mut self,
        item: &'a Item,
        what: impl Fn(&Value<'a>) -> String,
    ) -> Result<Option<Value<'a>>> {
        let value = self.side(&item.code)??;
        if !item.optional {
            return Ok(Some(value));
        }
        match value {
            Value::Optional(found) => Ok(found.map(|found| (*found).clone())),
            other => Err(EvalError::Failed(what(&other))),
        }
    }

    fn list(&mut self, items: &'a [Item]) -> Result<Value<'a>> {
        let mut values = Vec::with_capacity(items.len());
        for item in items {
            values.extend(self.part(item, |value| {
                format!(
                    "cannot initialize optional list element from non-optional value {}",
                    display(value)
                )
            })?);
        }
        Ok(Value::list(values))
    }

    fn map(&mut self, entries: &'a [(Code, Item)]) -> Result<Value<'a>> {
        let mut map = indexmap::IndexMap::with_capacity(entries.len());
        for (key, item) in entries {
            let key = self.side(key)??;
            let value = self.part(item, |value| {
                format!(
                    "cannot initialize optional entry '{}' from non-optional value {}",
                    display(&key),
                    display(value)
                )
            })?;
            let Some(found) = Key::of(&key) else {
                return Err(EvalError::Failed(format!(
                    "unsupported key type: {}",
                    key.type_name()
                )));
            };
            match value {
                Some(value) => map.insert(found, value),
                None => map.shift_remove(&found),
            };
        }
        Ok(Value::Map(Map::Owned(Arc::new(map))))
    }

    fn object(&mut self, name: &Arc<str>, fields: &'a [(Arc<str>, Item)]) -> Result<Value<'a>> {
        let mut built = indexmap::IndexMap::with_capacity(fields.len());
        for (field, item) in fields {
            let value = self.part(item, |value| {
                format!(
                    "cannot initialize optional entry '{field}' from non-optional value {}",
                    display(value)
                )
            })?;
            match value {
                Some(value) => built.insert(field.clone(), value),
                None => built.shift_remove(field),
            };
        }
        Ok(Value::Object(Arc::new(Object {
            name: name.clone(),
            fields: built,
        })))
    }

    fn fold(&mut self, fold: &'a Fold) -> Result<Value<'a>> {
        let range = self.eval(&fold.range)?;
        self.locals[fold.accumulator] = match &fold.init {
            Code::Const(value) => Local::Ready(Ok(value.clone())),
            code => Local::Pending(code),
        };
        match (&range, fold.second) {
            (Value::List(list), None) => {
                for item in list.iter() {
                    if !self.round(fold, item, None)? {
                        break;
                    }
                }
            }
            (Value::List(list), Some(_)) => {
                for (index, item) in list.iter().enumerate() {
                    if !self.round(fold, Ok(Value::Int(index as i64)), Some(item))? {
                        break;
                    }
                }
            }
            (Value::Map(map), None) => {
                self.work.spend(map.len())?;
                for key in map.keys() {
                    if !self.round(fold, Ok(key), None)? {
                        break;
                    }
                }
            }
            (Value::Map(map), Some(_)) => {
                self.work.spend(map.len())?;
                for entry in map.entries() {
                    let (key, value) = entry?;
                    if !self.round(fold, Ok(key), Some(Ok(value)))? {
                        break;
                    }
                }
            }
            (Value::Opaque(Opaque::Invalid(message)), _) => {
                return Err(EvalError::Failed(message.to_string()));
            }
            (other, None) => {
                return Err(EvalError::Failed(format!(
                    "got '{}', expected iterable type",
                    other.type_name()
                )));
            }
            (other, Some(_)) => {
                return Err(EvalError::Failed(format!(
                    "unsupported comprehension range type: {}",
                    other.type_name()
                )));
            }
        }
        let result = self.eval(&fold.result);
        self.locals[fold.accumulator] = Local::Ready(Ok(Value::Null));
        result
    }

    /// One item of a comprehension; false when it is the end.
    fn round(
        &mut self,
        fold: &'a Fold,
        first: Result<Value<'a>>,
        second: Option<Result<Value<'a>>>,
    ) -> Result<bool> {
        self.work.spend(1)?;
        self.locals[fold.first] = Local::Ready(first);
        if let (Some(slot), Some(value)) = (fold.second, second) {
            self.locals[slot] = Local::Ready(value);
        }
        match self.eval(&fold.condition) {
            Ok(Value::Bool(false)) => return Ok(false),
            Err(error) if error.is_cost() => return Err(error),
            _ => {}
        }
        let step = self.side(&fold.step)?;
        self.locals[fold.accumulator] = Local::Ready(step);
        Ok(true)
    }

    /// Takes a comprehension's own value out of its place, so that it can grow without a copy.
    fn take(&mut self, slot: usize) -> Result<Value<'a>> {
        let value = self.local(slot)?;
        self.locals[slot] = Local::Ready(Ok(Value::Null));
        Ok(value)
    }

    fn append(&mut self, slot: usize, item: &'a Code) -> Result<Value<'a>> {
        // The accumulator is read first, as upstream does: its price comes before the item's.
        let so_far = self.local(slot);
        self.charge(1)?;
        let item = self.side(item)?;
        self.charge(1)?;
        drop(so_far?);
        let item = item?;
        match (self.take(slot)?, item) {
            (Value::List(list), Value::List(item)) => {
                Ok(Value::List(list.concat(&item, &mut self.work)?))
            }
            _ => Err(EvalError::no_overload()),
        }
    }

    fn insert(&mut self, slot: usize, key: Option<&'a Code>, value: &'a Code) -> Result<Value<'a>> {
        let so_far = self.local(slot);
        self.charge(1)?;
        drop(so_far?);
        let key = match key {
            Some(key) => Some(self.side(key)??),
            None => None,
        };
        let value = self.side(value)?;
        self.charge(1)?;
        let value = value?;
        let Value::Map(Map::Owned(mut map)) = self.take(slot)? else {
            return Err(EvalError::no_overload());
        };
        let shared = Arc::get_mut(&mut map).is_none();
        if shared {
            self.work.spend(map.len())?;
        }
        let entries = Arc::make_mut(&mut map);
        let added: Vec<(Value<'a>, Value<'a>)> = match (key, value) {
            (Some(key), value) => vec![(key, value)],
            (None, Value::Map(map)) => {
                self.work.spend(map.len())?;
                map.entries().collect::<Result<_>>()?
            }
            _ => return Err(EvalError::no_overload()),
        };
        for (key, value) in added {
            let Some(found) = Key::of(&key) else {
                return Err(EvalError::Failed(format!(
                    "unsupported key type: {}",
                    key.type_name()
                )));
            };
            if entries.contains_key(&found) {
                return Err(EvalError::Failed(format!(
                    "insert failed: key {} already exists",
                    display(&key)
                )));
            }
            entries.insert(found, value);
        }
        Ok(Value::Map(Map::Owned(map)))
    }
}

/// An item by its index, or an entry by its key; none when there is none.
#[expect(
    clippy::float_cmp,
    reason = "whether the number is whole is an exact question"
)]
fn index<'a>(value: &Value<'a>, key: &Value<'a>) -> Result<Option<Value<'a>>> {
    match value {
        Value::List(list) => {
            let index = match key {
                Value::Int(index) => usize::try_from(*index).ok(),
                Value::Uint(index) => usize::try_from(*index).ok(),
                Value::Double(index) if index.trunc() == *index => {
                    (*index >= 0.0).then_some(*index as usize)
                }
                Value::Double(index) => {
                    return Err(EvalError::Failed(format!(
                        "unsupported index value {index} in list"
                    )));
                }
                other => {
                    return Err(EvalError::Failed(format!(
                        "unsupported index type '{}' in list",
                        other.type_name()
                    )));
                }
            };
            index.and_then(|index| list.get(index)).transpose()
        }
        Value::Map(map) => match key {
            Value::Bool(_)
            | Value::Int(_)
            | Value::Uint(_)
            | Value::Double(_)
            | Value::String(_) => map.find(key),
            other => Err(EvalError::Failed(format!(
                "unsupported key type: {}",
                other.type_name()
            ))),
        },
        _ => Ok(None),
    }
}
