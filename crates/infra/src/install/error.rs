//! Why an installation failed.

use std::path::{Path, PathBuf};

/// A failure while something was fetched, checked or written. The text is meant to stand in a sentence.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file could not be read or written.
    #[error("{doing} {}: {source}", path.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// To which file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A server could not be reached, or gave up.
    #[error("{url}: {reason}")]
    Http {
        /// What was asked for, without credentials.
        url: String,
        /// What went wrong.
        reason: String,
    },
    /// A server says no.
    #[error("{url} returned {status}")]
    Status {
        /// What was asked for, without credentials.
        url: String,
        /// The status line.
        status: reqwest::StatusCode,
    },
    /// The registry does not know a provider or module.
    #[error("{0}")]
    NotFound(String),
    /// The registry wants other credentials.
    #[error("{0}")]
    Unauthorized(String),
    /// What was fetched is not what was promised.
    #[error("{0}")]
    Mismatch(String),
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

impl Error {
    /// For `map_err` on a file operation.
    pub(crate) fn io(
        doing: &'static str,
        path: &Path,
    ) -> impl FnOnce(std::io::Error) -> Self + use<> {
        let path = path.to_path_buf();
        move |source| Self::Io {
            doing,
            path,
            source,
        }
    }

    pub(crate) fn other(text: impl Into<String>) -> Self {
        Self::Other(text.into())
    }
}
