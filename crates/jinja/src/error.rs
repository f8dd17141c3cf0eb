//! What goes wrong in a template.

use std::sync::Arc;

use crate::value::{Str, Undefined};

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
    #[error("{0}")]
    Undefined(Arc<Undefined>),
    /// An operation, filter, test or function refused what it was given.
    #[error("{0}")]
    Failed(Arc<str>),
    /// Templates of variables that use each other in a circle, or nest too deeply.
    #[error("Recursive loop detected in template: maximum recursion depth exceeded")]
    Recursion,
    /// An error with what it happened to, and what caused it.
    #[error("{0}")]
    Explained(Arc<Explained>),
}

/// An error with what it happened to, and what caused it.
#[derive(Clone, Debug, Default)]
pub struct Explained {
    /// What went wrong: `Error rendering template.`
    pub message: String,
    /// The text it went wrong in; that may say where it was written.
    pub template: Option<Str>,
    /// What may help.
    pub help: Option<String>,
    /// Why.
    pub cause: Option<Error>,
}

impl std::fmt::Display for Explained {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.cause {
            None => f.write_str(&self.message),
            Some(cause) => write!(f, "{}: {cause}", self.message.trim_end_matches(['.', ' '])),
        }
    }
}

impl std::fmt::Display for Undefined {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.error {
            None => f.write_str(&self.message),
            Some(error) => write!(f, "{error}"),
        }
    }
}

impl Error {
    pub(crate) fn syntax(message: impl Into<String>, line: u32) -> Self {
        Error::Syntax {
            message: message.into(),
            line,
        }
    }

    /// The error as one of the syntax.
    pub(crate) fn in_syntax(self) -> Self {
        Error::syntax(self.to_string(), 1)
    }

    /// An error of a message, with its cause.
    pub fn caused(message: impl Into<String>, cause: Error) -> Self {
        Error::Explained(Arc::new(Explained {
            message: message.into(),
            cause: Some(cause),
            ..Explained::default()
        }))
    }

    /// The error that something undefined stands for, if it stands for one.
    #[must_use]
    pub fn resolved(self) -> Self {
        match self {
            Error::Undefined(undefined) => match &undefined.error {
                Some(error) => (**error).clone().resolved(),
                None => Error::Undefined(undefined),
            },
            error => error,
        }
    }

    /// The error as one of a whole template: what an operation refused is the cause, told with the template.
    #[must_use]
    pub fn in_template(self, kind: &str, template: Option<&Str>) -> Self {
        let message = match &self {
            Error::Undefined(_) => return self,
            Error::Explained(explained) => {
                if explained.template.is_some() || template.is_none() {
                    return self;
                }
                let mut explained = (**explained).clone();
                explained.template = template.cloned();
                return Error::Explained(Arc::new(explained));
            }
            Error::Syntax { .. } => {
                let delimiters = kind == "expression"
                    && template.is_some_and(|text| {
                        ["{{", "{%", "{#"].iter().any(|start| text.contains(start))
                    });
                format!(
                    "Syntax error in {kind}.{}",
                    if delimiters {
                        " Template delimiters are not supported in expressions."
                    } else {
                        ""
                    }
                )
            }
            Error::Failed(_) => format!("Error rendering {kind}."),
            Error::Recursion => {
                return Error::Explained(Arc::new(Explained {
                    message: format!("Recursive loop detected in {kind}."),
                    template: template.cloned(),
                    help: None,
                    cause: Some(Error::failed("maximum recursion depth exceeded")),
                }));
            }
        };
        // Of a whole file the line is known here only.
        let template = match (&self, template.and_then(Str::origin)) {
            (Error::Syntax { line, .. }, Some(origin)) if origin.line == 0 && *line > 0 => template
                .map(|text| {
                    text.clone().written_at(Arc::new(crate::value::Origin {
                        file: Arc::clone(&origin.file),
                        line: *line,
                        column: 0,
                    }))
                }),
            _ => template.cloned(),
        };
        Error::Explained(Arc::new(Explained {
            message,
            template,
            help: None,
            cause: Some(self),
        }))
    }

    /// An operation that refused what it was given.
    pub fn failed(message: impl AsRef<str>) -> Self {
        Error::Failed(message.as_ref().into())
    }
}

/// What comes of evaluating.
pub type Result<T, E = Error> = std::result::Result<T, E>;
