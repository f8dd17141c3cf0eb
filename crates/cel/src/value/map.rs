//! Maps with keys of several types, and objects.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use indexmap::IndexMap;

use super::{Text, Value, json};
use crate::EvalError;
use crate::decl::{Decl, unescape_borrowed};

/// A key of a map. Whole numbers are one key whatever their type: `1`, `1u` and `1.0` find the same entry.
#[derive(Clone, Debug)]
pub enum Key<'a> {
    /// A truth value.
    Bool(bool),
    /// A signed number.
    Int(i64),
    /// An unsigned number.
    Uint(u64),
    /// A text.
    String(Text<'a>),
}

impl<'a> Key<'a> {
    /// The key a value is, if it can be one; whole doubles are the numbers they equal.
    pub(crate) fn of(value: &Value<'a>) -> Option<Key<'a>> {
        match value {
            Value::Bool(value) => Some(Key::Bool(*value)),
            Value::Int(value) => Some(Key::Int(*value)),
            Value::Uint(value) => Some(Key::Uint(*value)),
            Value::String(text) => Some(Key::String(text.clone())),
            #[expect(
                clippy::float_cmp,
                reason = "whether the number is whole is an exact question"
            )]
            Value::Double(value) if value.trunc() == *value => {
                if *value >= -(2f64.powi(63)) && *value < 2f64.powi(63) {
                    Some(Key::Int(*value as i64))
                } else if *value >= 0.0 && *value < 2f64.powi(64) {
                    Some(Key::Uint(*value as u64))
                } else {
                    None
                }
            }
            _ => None,
        }
    }

    pub(crate) fn value(&self) -> Value<'a> {
        match self {
            Key::Bool(value) => Value::Bool(*value),
            Key::Int(value) => Value::Int(*value),
            Key::Uint(value) => Value::Uint(*value),
            Key::String(text) => Value::String(text.clone()),
        }
    }
}

impl PartialEq for Key<'_> {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Key::Bool(a), Key::Bool(b)) => a == b,
            (Key::Int(a), Key::Int(b)) => a == b,
            (Key::Uint(a), Key::Uint(b)) => a == b,
            (Key::Int(a), Key::Uint(b)) | (Key::Uint(b), Key::Int(a)) => {
                u64::try_from(*a) == Ok(*b)
            }
            (Key::String(a), Key::String(b)) => a == b,
            _ => false,
        }
    }
}

impl Eq for Key<'_> {}

impl Hash for Key<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self {
            Key::Bool(value) => value.hash(state),
            Key::Int(value) => (*value as u64).hash(state),
            Key::Uint(value) => value.hash(state),
            Key::String(text) => (**text).hash(state),
        }
    }
}

/// A map.
#[derive(Clone, Debug)]
pub enum Map<'a> {
    /// A JSON object, and its declaration if there is one.
    Json(
        &'a serde_json::Map<String, serde_json::Value>,
        Option<&'a Decl>,
    ),
    /// Entries.
    Owned(Arc<IndexMap<Key<'a>, Value<'a>>>),
}

/// What looking a key up gave.
pub(crate) type Found<'a> = Result<Option<Value<'a>>, EvalError>;

/// An entry of a JSON object. Most objects are so small that looking at every key is quicker than hashing one.
fn entry<'a>(
    entries: &'a serde_json::Map<String, serde_json::Value>,
    name: &str,
) -> Option<&'a serde_json::Value> {
    if entries.len() > 8 {
        return entries.get(name);
    }
    entries
        .iter()
        .find(|(key, _)| *key == name)
        .map(|(_, value)| value)
}

impl<'a> Map<'a> {
    /// How many entries it has.
    pub fn len(&self) -> usize {
        match self {
            Map::Json(entries, _) => entries.len(),
            Map::Owned(entries) => entries.len(),
        }
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The value of a text key. For objects with declared fields the key is the escaped name, and a field that is
    /// null is as good as absent.
    pub(crate) fn field(&self, name: &str) -> Found<'a> {
        match self {
            Map::Json(entries, Some(decl)) if decl.values().is_none() => {
                match unescape_borrowed(name) {
                    Some(property) => property_of(entries, decl, &property),
                    None => Ok(None),
                }
            }
            _ => self.plain(name),
        }
    }

    /// The same for a name whose unescaped form is known beforehand (none: it is not one).
    pub(crate) fn known_field(&self, name: &str, property: Option<&str>) -> Found<'a> {
        match (self, property) {
            (Map::Json(entries, Some(decl)), Some(property)) if decl.values().is_none() => {
                property_of(entries, decl, property)
            }
            (Map::Json(_, Some(decl)), None) if decl.values().is_none() => Ok(None),
            _ => self.plain(name),
        }
    }

    fn plain(&self, name: &str) -> Found<'a> {
        match self {
            Map::Json(entries, None) => Ok(entry(entries, name).map(json::untyped)),
            Map::Json(entries, Some(decl)) => match (entry(entries, name), decl.values()) {
                (Some(value), Some(values)) => json::read(value, values).map(Some),
                _ => Ok(None),
            },
            Map::Owned(entries) => Ok(entries.get(&Key::String(Text::Borrowed(name))).cloned()),
        }
    }

    /// The value of any key.
    pub(crate) fn find(&self, key: &Value<'a>) -> Found<'a> {
        match (self, key) {
            (_, Value::String(text)) => self.field(text),
            (Map::Json(_, Some(_)), _) => Err(EvalError::Failed("no such overload".to_owned())),
            (Map::Json(..), _) => Ok(None),
            (Map::Owned(entries), key) => {
                Ok(Key::of(key).and_then(|key| entries.get(&key).cloned()))
            }
        }
    }

    /// The keys in order; of an object only the declared ones, escaped.
    pub(crate) fn keys(&self) -> Vec<Value<'a>> {
        match self {
            Map::Json(entries, None) => entries.keys().map(|key| Value::text(key)).collect(),
            Map::Json(entries, Some(decl)) if decl.values().is_some() => {
                entries.keys().map(|key| Value::text(key)).collect()
            }
            Map::Json(entries, Some(decl)) => entries
                .keys()
                .filter_map(|key| decl.field_name(key))
                .map(Value::text)
                .collect(),
            Map::Owned(entries) => entries.keys().map(Key::value).collect(),
        }
    }

    /// Keys with their values.
    pub(crate) fn entries(
        &self,
    ) -> impl Iterator<Item = Result<(Value<'a>, Value<'a>), EvalError>> + '_ {
        self.keys()
            .into_iter()
            .filter_map(|key| match self.find(&key) {
                Ok(Some(value)) => Some(Ok((key, value))),
                Ok(None) => None,
                Err(error) => Some(Err(error)),
            })
    }
}

fn property_of<'a>(
    entries: &'a serde_json::Map<String, serde_json::Value>,
    decl: &'a Decl,
    property: &str,
) -> Found<'a> {
    let (Some(value), Some(field)) = (entry(entries, property), decl.property(property)) else {
        return Ok(None);
    };
    if value.is_null() {
        return Ok(None);
    }
    json::read(value, field).map(Some)
}

/// An object an expression built (`Object.spec{replicas: 1}`, `JSONPatch{..}`).
#[derive(Clone, Debug)]
pub struct Object<'a> {
    /// The name of its type.
    pub name: Arc<str>,
    /// Its fields.
    pub fields: IndexMap<Arc<str>, Value<'a>>,
}
