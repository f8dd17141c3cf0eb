//! Values as Python has them.

mod containers;
mod equality;
mod key;
mod number;
mod object;
mod release;
mod text;
mod tuple;

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use num_bigint::BigInt;
use num_traits::{ToPrimitive as _, Zero as _};

use crate::error::{Error, Result};
use crate::repr;

pub use containers::{Dict, List};
pub use key::Key;
pub use object::Object;
pub use text::{Origin, Str};
pub use tuple::Tuple;

pub(crate) use number::Number;

/// Values that are deeper have no order.
const DEPTH: u32 = 200;

/// A value.
///
/// Lists and dicts are shared and can be changed through any of their holders, as in Python.
#[derive(Clone, Default)]
pub enum Value {
    /// Nothing was found, or finding it failed: it may be passed on and tested, and fails when it is used.
    Undefined(Arc<Undefined>),
    /// `None`.
    #[default]
    None,
    /// `True` or `False`.
    Bool(bool),
    /// An integer that fits.
    Int(i64),
    /// One that does not.
    Big(Arc<BigInt>),
    /// A float.
    Float(f64),
    /// A text.
    Str(Str),
    /// Bytes.
    Bytes(Arc<[u8]>),
    /// A list.
    List(List),
    /// A tuple.
    Tuple(Tuple),
    /// A dict, in the order of insertion.
    Dict(Dict),
    /// Anything else.
    Object(Arc<dyn Object>),
}

/// Why something is undefined.
#[derive(Clone, Debug)]
pub struct Undefined {
    /// What is said when it is used: `'x' is undefined`.
    pub message: String,
    /// What went wrong when the value was computed, if that is why it is missing.
    pub error: Option<Box<Error>>,
    /// The name that is not known.
    pub name: Option<Arc<str>>,
    /// The template that asked for it.
    pub template: Option<Str>,
    /// Whether it is what an `if` without `else` leaves: that is nothing between other texts, and an error by itself.
    pub silent: bool,
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&repr::repr(self))
    }
}

impl Value {
    /// Something that is not there.
    pub fn undefined(message: impl Into<String>) -> Self {
        Value::Undefined(Arc::new(Undefined {
            message: message.into(),
            error: None,
            name: None,
            template: None,
            silent: false,
        }))
    }

    /// What an `if` without `else` leaves.
    pub(crate) fn left_out(message: String) -> Self {
        Value::Undefined(Arc::new(Undefined {
            message,
            error: None,
            name: None,
            template: None,
            silent: true,
        }))
    }

    /// Whether it is nothing between other texts.
    pub(crate) fn is_left_out(&self) -> bool {
        matches!(self, Value::Undefined(undefined) if undefined.silent)
    }

    /// Something that could not be computed.
    pub fn failed(error: Error) -> Self {
        if let Error::Undefined(undefined) = error {
            return Value::Undefined(undefined);
        }
        Value::Undefined(Arc::new(Undefined {
            message: error.to_string(),
            error: Some(Box::new(error)),
            name: None,
            template: None,
            silent: false,
        }))
    }

    /// A list.
    pub fn list(items: Vec<Value>) -> Self {
        Value::List(List::new(items))
    }

    /// A tuple.
    pub fn tuple(items: Vec<Value>) -> Self {
        Value::Tuple(items.into())
    }

    /// An integer of any size, in its smallest form.
    pub fn integer(value: BigInt) -> Self {
        match value.to_i64() {
            Some(small) => Value::Int(small),
            None => Value::Big(Arc::new(value)),
        }
    }

    /// The name of its Python type.
    pub fn type_name(&self) -> &str {
        match self {
            Value::Undefined(_) => "Undefined",
            Value::None => "NoneType",
            Value::Bool(_) => "bool",
            Value::Int(_) | Value::Big(_) => "int",
            Value::Float(_) => "float",
            Value::Str(_) => "str",
            Value::Bytes(_) => "bytes",
            Value::List(_) => "list",
            Value::Tuple(_) => "tuple",
            Value::Dict(_) => "dict",
            Value::Object(object) => object.type_name(),
        }
    }

    /// The text, if it is one.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::Str(text) => Some(text),
            _ => None,
        }
    }

    /// The integer, if it is one that fits (a bool is one too).
    pub fn as_int(&self) -> Option<i64> {
        match self {
            Value::Int(value) => Some(*value),
            Value::Bool(value) => Some(i64::from(*value)),
            _ => None,
        }
    }

    /// Whether nothing is there.
    pub fn is_undefined(&self) -> bool {
        matches!(self, Value::Undefined(_))
    }

    /// Whether it may be, or hold, a text that is a template.
    pub fn may_hold_templates(&self) -> bool {
        match self {
            Value::Str(text) => text.is_template(),
            Value::List(list) => list.may_hold_templates(),
            Value::Dict(dict) => dict.may_hold_templates(),
            Value::Tuple(items) => items.may_hold_templates(),
            _ => false,
        }
    }

    /// The value itself, unless nothing is there.
    ///
    /// # Errors
    /// It is undefined.
    pub fn defined(self) -> Result<Value> {
        match self {
            Value::Undefined(undefined) => Err(undefined.as_error()),
            value => Ok(value),
        }
    }

    /// Whether it counts as true.
    ///
    /// # Errors
    /// It is undefined.
    pub fn truth(&self) -> Result<bool> {
        Ok(match self {
            Value::Undefined(undefined) => return Err(undefined.as_error()),
            Value::None => false,
            Value::Bool(value) => *value,
            Value::Int(value) => *value != 0,
            Value::Big(value) => !value.is_zero(),
            Value::Float(value) => *value != 0.0,
            Value::Str(text) => !text.is_empty(),
            Value::Bytes(bytes) => !bytes.is_empty(),
            Value::List(list) => !list.is_empty(),
            Value::Tuple(items) => !items.is_empty(),
            Value::Dict(dict) => !dict.is_empty(),
            Value::Object(object) => match object.refusal() {
                Some(error) => return Err(error),
                None => object.truth(),
            },
        })
    }

    /// Whether two values are equal by Python's rules. What is undefined equals nothing.
    pub fn equals(&self, other: &Value) -> bool {
        equality::equal(self, other)
    }

    /// The order of two values.
    ///
    /// # Errors
    /// They have none.
    pub fn order(&self, other: &Value, operator: &str) -> Result<Ordering> {
        self.order_below(other, operator, 0)
    }

    fn order_below(&self, other: &Value, operator: &str, depth: u32) -> Result<Ordering> {
        if depth > DEPTH {
            return Err(Error::Recursion);
        }
        let none = || {
            Error::failed(format!(
                "'{operator}' not supported between instances of '{}' and '{}'",
                self.type_name(),
                other.type_name()
            ))
        };
        for value in [self, other] {
            if let Value::Undefined(undefined) = value {
                return Err(undefined.as_error());
            }
        }
        if let (Some(one), Some(two)) = (Number::of(self), Number::of(other)) {
            // Nothing is greater or smaller than what is not a number; sorting must end all the same.
            return Ok(one.compare(&two).unwrap_or(Ordering::Greater));
        }
        let sequences = |one: &[Value], two: &[Value]| {
            for (a, b) in one.iter().zip(two) {
                if !a.equals(b) {
                    return a.order_below(b, operator, depth + 1);
                }
            }
            Ok(one.len().cmp(&two.len()))
        };
        match (self, other) {
            (Value::Str(one), Value::Str(two)) => Ok((**one).cmp(&**two)),
            (Value::Bytes(one), Value::Bytes(two)) => Ok(one.cmp(two)),
            (Value::List(one), Value::List(two)) => sequences(&one.read(), &two.read()),
            (Value::Tuple(one), Value::Tuple(two)) => sequences(one, two),
            (Value::Object(one), Value::Object(two)) => one.order(two.as_ref()).ok_or_else(none),
            _ => Err(none()),
        }
    }

    /// The entries of a mapping: of a dict, or of an object that is one. None of anything else.
    pub fn entries(&self) -> Option<Vec<(Key, Value)>> {
        match self {
            Value::Dict(dict) => Some(
                dict.read()
                    .iter()
                    .map(|(key, value)| (key.clone(), value.clone()))
                    .collect(),
            ),
            Value::Object(object) if object.is_mapping() => Some(
                object
                    .items()?
                    .into_iter()
                    .filter_map(|key| {
                        let value = match &key {
                            Value::Str(name) => object.get(name),
                            key => object.item(key),
                        }?;
                        Some((Key::new(key).ok()?, value))
                    })
                    .collect(),
            ),
            _ => None,
        }
    }

    /// The items one gets by iterating over it: of a dict its keys, of a text its characters.
    ///
    /// # Errors
    /// One cannot.
    pub fn iterate(&self) -> Result<Vec<Value>> {
        Ok(match self {
            Value::Undefined(undefined) => return Err(undefined.as_error()),
            Value::List(list) => list.read().clone(),
            Value::Tuple(items) => items.to_vec(),
            Value::Dict(dict) => dict.read().keys().map(|key| key.0.clone()).collect(),
            Value::Str(text) => text
                .chars()
                .map(|c| Value::from(c.encode_utf8(&mut [0; 4]) as &str))
                .collect(),
            Value::Bytes(bytes) => bytes.iter().map(|b| Value::Int(i64::from(*b))).collect(),
            Value::Object(object) => match object.items() {
                Some(items) => items,
                None => return Err(not_iterable(self)),
            },
            _ => return Err(not_iterable(self)),
        })
    }

    /// How many items, characters or entries it has.
    ///
    /// # Errors
    /// It has no length.
    pub fn length(&self) -> Result<usize> {
        Ok(match self {
            Value::Undefined(undefined) => return Err(undefined.as_error()),
            Value::Str(text) => text.chars().count(),
            Value::Bytes(bytes) => bytes.len(),
            Value::List(list) => list.len(),
            Value::Tuple(items) => items.len(),
            Value::Dict(dict) => dict.len(),
            Value::Object(object) if object.count().is_some() => object.count().unwrap_or(0),
            _ => {
                return Err(Error::failed(format!(
                    "object of type '{}' has no len()",
                    self.type_name()
                )));
            }
        })
    }

    /// The value as text: what `str()` gives.
    ///
    /// # Errors
    /// It is undefined.
    pub fn text(&self) -> Result<Str> {
        match self {
            Value::Str(text) => Ok(Str::new(Arc::clone(text.shared()))),
            Value::Undefined(undefined) => Err(undefined.as_error()),
            Value::Object(object) => match object.refusal() {
                Some(error) => Err(error),
                None => Ok(Str::new(repr::text(self))),
            },
            value => Ok(Str::new(repr::text(value))),
        }
    }
}

impl Undefined {
    /// The error of using it.
    pub fn as_error(self: &Arc<Self>) -> Error {
        Error::Undefined(Arc::clone(self))
    }
}

fn not_iterable(value: &Value) -> Error {
    Error::failed(format!("'{}' object is not iterable", value.type_name()))
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Value::Str(Str::new(text))
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Value::Str(Str::new(text))
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Value::Bool(value)
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Value::Int(value)
    }
}

impl From<usize> for Value {
    fn from(value: usize) -> Self {
        Value::Int(value as i64)
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Value::Float(value)
    }
}

impl From<Vec<Value>> for Value {
    fn from(items: Vec<Value>) -> Self {
        Value::list(items)
    }
}
