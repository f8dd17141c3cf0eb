//! The function libraries.

mod address;
pub mod authorizer;
pub(crate) mod comprehensions;
pub mod format;
pub(crate) mod formatting;
pub mod ip;
pub(crate) mod jsonpatch;
pub(crate) mod lists;
pub(crate) mod optional;
pub mod quantity;
pub(crate) mod regex;
pub mod semver;
pub(crate) mod sets;
pub(crate) mod standard;
pub(crate) mod strings;
pub mod url;

use crate::EvalError;
use crate::value::Value;

/// The result of a function.
pub(crate) type Answer<'a> = Result<Value<'a>, EvalError>;

/// The failure of a function.
pub(crate) fn failed(message: impl Into<String>) -> EvalError {
    EvalError::Failed(message.into())
}

/// The failure of a call whose arguments fit no declaration.
pub(crate) fn no_overload<'a>() -> Answer<'a> {
    Err(EvalError::no_overload())
}
