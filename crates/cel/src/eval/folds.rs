//! Comprehensions.

use std::sync::Arc;

use super::{Local, Result, Run};
use crate::code::{Code, Fold};
use crate::error::EvalError;
use crate::value::{Key, Map, Opaque, Value, display};

impl<'a> Run<'_, 'a> {
    pub(super) fn fold(&mut self, fold: &'a Fold) -> Result<Value<'a>> {
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

    pub(super) fn append(&mut self, slot: usize, item: &'a Code) -> Result<Value<'a>> {
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

    pub(super) fn insert(
        &mut self,
        slot: usize,
        key: Option<&'a Code>,
        value: &'a Code,
    ) -> Result<Value<'a>> {
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
