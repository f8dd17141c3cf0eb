//! Making lists, maps and objects.

use std::sync::Arc;

use super::{Result, Run};
use crate::code::{Code, Item};
use crate::error::EvalError;
use crate::value::{Key, Map, Object, Value, display};

impl<'a> Run<'_, 'a> {
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

    pub(super) fn list(&mut self, items: &'a [Item]) -> Result<Value<'a>> {
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

    pub(super) fn map(&mut self, entries: &'a [(Code, Item)]) -> Result<Value<'a>> {
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

    pub(super) fn object(
        &mut self,
        name: &Arc<str>,
        fields: &'a [(Arc<str>, Item)],
    ) -> Result<Value<'a>> {
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
}
