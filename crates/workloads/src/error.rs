//! What can go wrong while reconciling.

use std::fmt;

/// Why a reconcile did not get to its end. It is tried again with back-off in every case.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// A call to the API failed.
    #[error("{doing}")]
    Api {
        doing: String,
        #[source]
        source: Box<kube::Error>,
    },
    /// A selector in an object does not parse, which validation should have prevented.
    #[error("reading the selector of {of}: {problem}")]
    Selector { of: String, problem: String },
    /// An object could not be brought into JSON form.
    #[error("encoding {what}")]
    Encode {
        what: &'static str,
        #[source]
        source: serde_json::Error,
    },
}

impl Error {
    /// Whether the API answered with this HTTP status.
    pub(crate) fn is(&self, code: u16) -> bool {
        matches!(self, Self::Api { source, .. } if matches!(&**source, kube::Error::Api(status) if status.code == code))
    }
}

/// Says what a failed API call was for.
pub(crate) trait Doing<T> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, Error>;
}

impl<T> Doing<T> for Result<T, kube::Error> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, Error> {
        self.map_err(|source| Error::Api {
            doing: what(),
            source: Box::new(source),
        })
    }
}

/// Takes an answer "not found" (404) as `None`.
pub(crate) fn if_found<T>(result: Result<T, Error>) -> Result<Option<T>, Error> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.is(404) => Ok(None),
        Err(error) => Err(error),
    }
}

/// An error with its causes on one line, for logs and events.
pub(crate) struct Chain<'a>(pub(crate) &'a (dyn std::error::Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            match error.downcast_ref::<kube::Error>() {
                // Its own text repeats the status twice over.
                Some(kube::Error::Api(status)) => return write!(f, ": {}", status.message),
                _ => write!(f, ": {error}")?,
            }
            cause = error.source();
        }
        Ok(())
    }
}

/// The form in which reconcilers hand errors to their controller.
#[allow(clippy::needless_pass_by_value)] // the shape `map_err` wants
pub(crate) fn text(error: Error) -> String {
    Chain(&error).to_string()
}

/// The server's own message, for conditions and events that users read.
pub(crate) fn message(error: &Error) -> String {
    match error {
        Error::Api { source, .. } => match &**source {
            kube::Error::Api(status) => status.message.clone(),
            other => other.to_string(),
        },
        other => Chain(other).to_string(),
    }
}
