//! Paths: where within a value something is.

use std::fmt;
use std::sync::Arc;

use crate::value::{Kind, Value};

/// One step into a value.
#[derive(Clone, PartialEq, Debug)]
pub enum Step {
    /// An attribute of an object.
    Attribute(Arc<str>),
    /// An element: a number for lists and tuples, a string for maps, the element itself for sets.
    Index(Value),
}

/// Steps from a value to one within it. The empty path is the value itself.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Path(pub Vec<Step>);

/// Why a path leads nowhere.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0}")]
pub struct PathError(pub String);

impl Path {
    /// The value itself.
    pub fn root() -> Path {
        Path(Vec::new())
    }

    /// This path and then the attribute `name`.
    #[must_use]
    pub fn attribute(mut self, name: impl Into<Arc<str>>) -> Path {
        self.0.push(Step::Attribute(name.into()));
        self
    }

    /// This path and then the element `key`.
    #[must_use]
    pub fn index(mut self, key: Value) -> Path {
        self.0.push(Step::Index(key));
        self
    }

    /// The steps.
    pub fn steps(&self) -> &[Step] {
        &self.0
    }

    /// True for the path to the value itself.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// True where this path goes through `prefix` or ends there.
    pub fn starts_with(&self, prefix: &Path) -> bool {
        self.0.starts_with(&prefix.0)
    }

    /// The value this path leads to from `value`.
    ///
    /// # Errors
    /// Where a step does not exist.
    pub fn apply(&self, value: &Value) -> Result<Value, PathError> {
        let mut at = value.clone();
        for (i, step) in self.0.iter().enumerate() {
            at = step
                .apply(&at)
                .map_err(|e| PathError(format!("at step {i}: {e}")))?;
        }
        Ok(at)
    }
}

impl Step {
    /// The value one step into `value`.
    ///
    /// # Errors
    /// Where there is no such attribute or element.
    pub fn apply(&self, value: &Value) -> Result<Value, PathError> {
        match self {
            Step::Attribute(name) => value.attribute(name),
            Step::Index(key) => value.index(key),
        }
    }
}

/// As messages show paths: `.name[0]["key"]`.
impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in &self.0 {
            match step {
                Step::Attribute(name) => write!(f, ".{name}")?,
                Step::Index(key) => match key.kind() {
                    Kind::Number(number) => write!(f, "[{number}]")?,
                    Kind::String(text) => write!(f, "[{}]", crate::text::quote(text))?,
                    _ => f.write_str("[...]")?,
                },
            }
        }
        Ok(())
    }
}
