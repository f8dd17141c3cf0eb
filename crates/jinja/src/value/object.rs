//! What is none of Python's own types.

use std::cmp::Ordering;

use super::Value;
use crate::arguments::Arguments;
use crate::error::{Error, Result};
use crate::eval::State;

/// Something with a behaviour of its own: a loop, a macro, a function, a host's variables.
pub trait Object: Send + Sync {
    /// The name of its Python type.
    fn type_name(&self) -> &str;

    /// An attribute or item by name.
    fn get(&self, _name: &str) -> Option<Value> {
        None
    }

    /// An item by a key that is no text.
    fn item(&self, _key: &Value) -> Option<Value> {
        None
    }

    /// What comes of calling it.
    fn call(&self, _state: &mut State<'_, '_>, _arguments: Arguments) -> Result<Value> {
        Err(Error::failed(format!(
            "'{}' object is not callable",
            self.type_name()
        )))
    }

    /// Calls one of its methods; none if it has no such method.
    fn call_method(
        &self,
        _state: &mut State<'_, '_>,
        _name: &str,
        _arguments: &Arguments,
    ) -> Option<Result<Value>> {
        None
    }

    /// Whether it can be called.
    fn is_callable(&self) -> bool {
        false
    }

    /// Its items, if it is something one iterates over.
    fn items(&self) -> Option<Vec<Value>> {
        None
    }

    /// Whether its items are the keys of a mapping.
    fn is_mapping(&self) -> bool {
        false
    }

    /// How many items it has, if it can tell.
    fn count(&self) -> Option<usize> {
        self.items().map(|items| items.len())
    }

    /// Whether it counts as true.
    fn truth(&self) -> bool {
        self.count().is_none_or(|count| count > 0)
    }

    /// Whether it may be kept as the value of a variable; otherwise it lives within a template only.
    fn may_be_stored(&self) -> bool {
        false
    }

    /// What an operator (`+`, `-`, ...) makes of it and another value, which stands before it if `reflected`; none if it
    /// does not know that operator.
    fn operate(&self, _operator: &str, _other: &Value, _reflected: bool) -> Option<Result<Value>> {
        None
    }

    /// Its order beside another object, if there is one.
    fn order(&self, _other: &dyn Object) -> Option<Ordering> {
        None
    }

    /// Whether it is equal to another object.
    fn equals(&self, _other: &dyn Object) -> bool {
        false
    }

    /// How it is shown.
    fn repr(&self) -> String {
        format!("<{} object>", self.type_name())
    }

    /// How it is put out as text.
    fn text(&self) -> String {
        self.repr()
    }

    /// Why it cannot be used, if it cannot: a secret that nobody could open.
    fn refusal(&self) -> Option<Error> {
        None
    }

    /// How it is written as JSON: a text.
    fn stored(&self) -> String {
        self.text()
    }

    /// The object itself, for those who know its type.
    fn any(&self) -> &dyn std::any::Any;
}
