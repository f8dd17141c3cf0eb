//! What goes wrong with a template, with every cause and place.

use std::sync::Arc;

use consort_jinja::{Error as JinjaError, Origin, Str};

/// An error of a template or condition.
#[derive(Clone, Debug)]
pub struct Error {
    /// What went wrong here; the causes come after it: `Error rendering template.`
    pub message: String,
    /// The text it went wrong in. That knows where it was written, or is shown itself.
    pub template: Option<Str>,
    /// What may help.
    pub help: Option<String>,
    /// Why.
    pub cause: Option<Box<Error>>,
    /// Whether something was not defined.
    pub undefined: bool,
}

impl Error {
    /// An error of a text.
    pub fn new(message: impl Into<String>, template: Option<&Str>) -> Self {
        Error {
            message: message.into(),
            template: template.cloned(),
            help: None,
            cause: None,
            undefined: false,
        }
    }

    /// The same with what may help.
    #[must_use]
    pub fn with_help(mut self, help: &str) -> Self {
        self.help = Some(help.to_owned());
        self
    }

    /// The error of the engine with all its causes.
    pub(crate) fn of(error: JinjaError) -> Self {
        match error.resolved() {
            JinjaError::Explained(explained) => {
                let cause = explained.cause.clone().map(Error::of);
                Error {
                    message: explained.message.clone(),
                    template: explained.template.clone(),
                    help: explained.help.clone(),
                    undefined: cause.as_ref().is_some_and(|cause| cause.undefined),
                    cause: cause.map(Box::new),
                }
            }
            JinjaError::Undefined(undefined) => Error {
                message: undefined.message.clone(),
                template: undefined.template.clone(),
                help: None,
                cause: None,
                undefined: true,
            },
            other => Error::new(other.to_string(), None),
        }
    }

    /// Where it went wrong, if that is known.
    pub fn origin(&self) -> Option<&Arc<Origin>> {
        self.template.as_ref()?.origin()
    }
}

/// The message with those of all causes: what results have as `msg`.
impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.cause {
            None => f.write_str(&self.message),
            Some(cause) => {
                let cause = cause.to_string();
                if self.message.ends_with(&cause) {
                    return f.write_str(&self.message);
                }
                write!(f, "{}: {cause}", self.message.trim_end_matches(['.', ' ']))
            }
        }
    }
}

impl std::error::Error for Error {}
