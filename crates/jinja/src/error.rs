//! What goes wrong in a template.

use std::sync::Arc;

use crate::value::Undefined;

/// What goes wrong in a template.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be parsed.
    #[error("{message}")]
    Syntax {
        /// What is wrong.
        message: String,
        /// The line in the template, counted from one.
        line: u32,
    },
    /// Something undefined was used.
    #[error("{}", .0.message)]
    Undefined(Arc<Undefined>),
    /// An operation, filter, test or function refused what it was given.
    #[error("{0}")]
    Failed(Arc<str>),
    /// Templates of variables that use each other in a circle, or nest too deeply.
    #[error("Recursive loop detected in template.")]
    Recursion,
}

impl Error {
    pub(crate) fn syntax(message: impl Into<String>, line: u32) -> Self {
        Error::Syntax {
            message: message.into(),
            line,
        }
    }

    /// An operation that refused what it was given.
    pub fn failed(message: impl AsRef<str>) -> Self {
        Error::Failed(message.as_ref().into())
    }
}

/// What comes of evaluating.
pub type Result<T, E = Error> = std::result::Result<T, E>;
