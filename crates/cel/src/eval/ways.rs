//! Ways through values: from a variable, a local or what an operation gave, step by step to what is asked for.

use super::{Local, Result, Run};
use crate::code::{Attribute, Code, Qualifier, Root, Step};
use crate::error::EvalError;
use crate::value::{Opaque, Value, display};

impl<'a> Run<'_, 'a> {
    pub(super) fn attribute(&mut self, attribute: &'a Attribute) -> Result<Value<'a>> {
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
    pub(super) fn resolve(&mut self, attribute: &'a Attribute) -> Result<Value<'a>> {
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

    pub(super) fn local(&mut self, slot: usize) -> Result<Value<'a>> {
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
