//! What a provider's objects must agree with.
//!
//! Before a plan, the prior state and the configuration become one proposal ([`proposed_new`]). After it,
//! the planned object must follow the configuration ([`plan_problems`]), and after the apply the result
//! must follow the plan ([`result_problems`]). A provider that breaks these rules has a bug: the messages
//! are meant to be passed on to its authors, and are worded as Terraform words them.
//!
//! Providers built with the old SDK could not follow the rules; they say so in each answer, and then the
//! problems are only logged and their objects are brought into shape by [`normalize_legacy`].

mod compatible;
mod legacy;
mod plan_valid;
mod proposed;
mod show;

#[cfg(test)]
mod tests;

use std::fmt;

use consort_hcl::{Kind, Path, Type, Value};

pub use compatible::{result_problems, value_problems};
pub use legacy::normalize_legacy;
pub use plan_valid::plan_problems;
pub use proposed::{planned_unknown, proposed_new};
pub use show::go_value;

/// One way in which an object is not what it must be.
#[derive(Clone, PartialEq, Debug)]
pub struct Problem {
    /// Where in the object.
    pub path: Path,
    /// For the provider's authors.
    pub message: String,
}

impl Problem {
    pub(super) fn new(path: &Path, message: impl Into<String>) -> Self {
        Self {
            path: path.clone(),
            message: message.into(),
        }
    }
}

/// `.path: message`; to be put right behind the resource's address.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.message)
    }
}

/// The attribute of an object that may be null or unknown; then it is null or unknown itself.
fn part(value: &Value, name: &str) -> Value {
    if value.is_null() {
        return Value::null(value.ty().attribute(name).cloned().unwrap_or(Type::Dynamic));
    }
    value
        .attribute(name)
        .unwrap_or_else(|_| Value::null(Type::Dynamic))
}

/// The element at a key of a collection, if it is known to be there.
fn element(collection: &Value, key: &Value) -> Option<Value> {
    let found = match (collection.kind(), key.kind()) {
        (Kind::List(values) | Kind::Tuple(values), Kind::Number(n)) => {
            n.to_usize().and_then(|i| values.get(i))
        }
        (Kind::Map(values) | Kind::Object(values), Kind::String(k)) => values.get(k),
        _ => None,
    };
    found.cloned()
}

/// Number of elements of a known collection.
fn length(collection: &Value) -> usize {
    match collection.kind() {
        Kind::List(v) | Kind::Set(v) | Kind::Tuple(v) => v.len(),
        Kind::Map(v) | Kind::Object(v) => v.len(),
        _ => 0,
    }
}

/// A value without what is known of its unknowns.
fn unrefined(value: &Value) -> Value {
    if value.is_wholly_known() {
        return value.clone();
    }
    let result = value.transform(&mut |_, v| {
        Ok::<_, std::convert::Infallible>(if v.is_known() {
            v
        } else {
            Value::unknown(v.ty().clone()).with_marks(v.marks())
        })
    });
    match result {
        Ok(value) => value,
        Err(never) => match never {},
    }
}

/// Whether two values are the same but for what is known of their unknowns.
fn same(a: &Value, b: &Value) -> bool {
    if a.is_wholly_known() || b.is_wholly_known() {
        a.raw_equals(b)
    } else {
        unrefined(a).raw_equals(&unrefined(b))
    }
}
