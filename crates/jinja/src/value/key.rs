//! The keys of dicts.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use num_bigint::BigInt;
use num_traits::FromPrimitive as _;

use super::Value;
use crate::error::{Error, Result};

/// A value that can be the key of a dict: all but lists and dicts.
#[derive(Clone)]
pub struct Key(pub(super) Value);

impl Key {
    /// A key of a value.
    ///
    /// # Errors
    /// It can be none.
    pub fn new(value: Value) -> Result<Key> {
        match &value {
            Value::List(_) | Value::Dict(_) => Err(Error::failed(format!(
                "unhashable type: '{}'",
                value.type_name()
            ))),
            Value::Undefined(undefined) => Err(Error::Undefined(Arc::clone(undefined))),
            Value::Tuple(items) if items.is_deep() => Err(Error::Recursion),
            Value::Tuple(items) => {
                for item in items.iter() {
                    Key::new(item.clone())?;
                }
                Ok(Key(value))
            }
            _ => Ok(Key(value)),
        }
    }

    /// The value.
    pub fn value(&self) -> &Value {
        &self.0
    }

    /// The key as text, if it is one.
    pub fn as_str(&self) -> Option<&str> {
        self.0.as_str()
    }
}

impl From<&str> for Key {
    fn from(text: &str) -> Self {
        Key(Value::from(text))
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.0.equals(&other.0)
    }
}

impl Eq for Key {}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        hash(&self.0, state);
    }
}

/// Lets a map be asked for a text without making a key.
pub(super) trait KeyLike {
    fn text(&self) -> Option<&str>;
    fn key(&self) -> Option<&Key>;
}

pub(super) struct KeyText<'t>(pub(super) &'t str);

impl KeyLike for KeyText<'_> {
    fn text(&self) -> Option<&str> {
        Some(self.0)
    }
    fn key(&self) -> Option<&Key> {
        None
    }
}

impl KeyLike for Key {
    fn text(&self) -> Option<&str> {
        self.as_str()
    }
    fn key(&self) -> Option<&Key> {
        Some(self)
    }
}

impl Hash for dyn KeyLike + '_ {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match (self.key(), self.text()) {
            (Some(key), _) => key.hash(state),
            (None, Some(text)) => hash_text(text, state),
            (None, None) => {}
        }
    }
}

impl indexmap::Equivalent<Key> for dyn KeyLike + '_ {
    fn equivalent(&self, other: &Key) -> bool {
        match (self.key(), self.text()) {
            (Some(key), _) => key == other,
            (None, Some(text)) => other.as_str() == Some(text),
            (None, None) => false,
        }
    }
}

fn hash_text<H: Hasher>(text: &str, state: &mut H) {
    state.write_u8(3);
    text.hash(state);
}

fn hash<H: Hasher>(value: &Value, state: &mut H) {
    match value {
        Value::None => state.write_u8(0),
        // Numbers that are equal have equal hashes: 1 == 1.0 == True.
        Value::Bool(value) => hash_int(i64::from(*value), state),
        Value::Int(value) => hash_int(*value, state),
        Value::Big(value) => {
            state.write_u8(2);
            value.hash(state);
        }
        Value::Float(value) =>
        {
            #[allow(clippy::float_cmp)]
            if value.trunc() == *value && value.abs() < 9e18 {
                hash_int(*value as i64, state);
            } else if let Some(big) = (value.trunc() == *value)
                .then(|| BigInt::from_f64(*value))
                .flatten()
            {
                hash(&Value::integer(big), state);
            } else {
                state.write_u8(4);
                value.to_bits().hash(state);
            }
        }
        Value::Str(text) => hash_text(text, state),
        Value::Bytes(bytes) => {
            state.write_u8(5);
            bytes.hash(state);
        }
        Value::Tuple(items) => {
            state.write_u8(6);
            for item in items.iter() {
                hash(item, state);
            }
        }
        Value::Object(object) => {
            state.write_u8(7);
            (Arc::as_ptr(object).cast::<()>() as usize).hash(state);
        }
        // Refused by `Key::new`.
        Value::Undefined(_) | Value::List(_) | Value::Dict(_) => state.write_u8(8),
    }
}

fn hash_int<H: Hasher>(value: i64, state: &mut H) {
    state.write_u8(1);
    value.hash(state);
}
