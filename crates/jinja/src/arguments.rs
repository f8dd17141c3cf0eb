//! What a filter, test, method or function is called with.

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::value::{Str, Value};

/// What a filter, test, method or function is called with, beside the value it works on.
#[derive(Clone, Debug, Default)]
pub struct Arguments {
    /// Those without a name.
    pub positional: Vec<Value>,
    /// Those with one, in their order.
    pub named: Vec<(Arc<str>, Value)>,
}

impl Arguments {
    /// Puts the arguments into the places of a signature.
    ///
    /// # Errors
    /// There are too many, one has a name the signature does not know, or one is given twice.
    pub fn bind<const N: usize>(
        &self,
        function: &str,
        names: [&str; N],
    ) -> Result<[Option<Value>; N]> {
        let mut bound: [Option<Value>; N] = std::array::from_fn(|_| None);
        if self.positional.len() > N {
            return Err(Error::failed(format!(
                "{function}() takes {N} positional arguments but {} were given",
                self.positional.len()
            )));
        }
        for (place, value) in bound.iter_mut().zip(&self.positional) {
            *place = Some(value.clone());
        }
        for (name, value) in &self.named {
            let Some(at) = names.iter().position(|known| **known == **name) else {
                return Err(Error::failed(format!(
                    "{function}() got an unexpected keyword argument '{name}'"
                )));
            };
            if bound[at].is_some() {
                return Err(Error::failed(format!(
                    "{function}() got multiple values for argument '{name}'"
                )));
            }
            bound[at] = Some(value.clone());
        }
        Ok(bound)
    }

    /// The named argument, taken out.
    pub fn take(&mut self, name: &str) -> Option<Value> {
        let at = self.named.iter().position(|(known, _)| **known == *name)?;
        Some(self.named.remove(at).1)
    }

    /// The named argument.
    pub fn named(&self, name: &str) -> Option<&Value> {
        self.named
            .iter()
            .find(|(known, _)| **known == *name)
            .map(|(_, value)| value)
    }

    /// Whether nothing was given.
    pub fn is_empty(&self) -> bool {
        self.positional.is_empty() && self.named.is_empty()
    }

    /// The first that is undefined.
    pub fn first_undefined(&self) -> Option<&Value> {
        self.positional
            .iter()
            .chain(self.named.iter().map(|(_, value)| value))
            .find(|value| value.is_undefined())
    }
}

/// Reads an argument as text.
///
/// # Errors
/// It is none.
pub fn text(function: &str, name: &str, value: &Value) -> Result<Str> {
    match value {
        Value::Str(text) => Ok(text.clone()),
        Value::Undefined(undefined) => Err(undefined.as_error()),
        other => Err(Error::failed(format!(
            "{function}() argument '{name}' must be str, not {}",
            other.type_name()
        ))),
    }
}

/// Reads an argument as an integer.
///
/// # Errors
/// It is none.
pub fn integer(value: &Value) -> Result<i64> {
    match value {
        Value::Undefined(undefined) => Err(undefined.as_error()),
        value => value.as_int().ok_or_else(|| {
            Error::failed(format!(
                "'{}' object cannot be interpreted as an integer",
                value.type_name()
            ))
        }),
    }
}
