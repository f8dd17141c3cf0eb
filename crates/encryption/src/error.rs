//! What can go wrong before anything is sealed.

use std::io;
use std::path::PathBuf;

/// Why encryption could not be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file could not be read or written.
    #[error("{doing} {path}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// The file of local keys is not what it should be.
    #[error("{path} is no file of encryption keys: {detail}")]
    Keys {
        /// The file.
        path: PathBuf,
        /// What was found.
        detail: String,
    },
    /// The file of local keys can be read by others.
    #[error("{path} can be read by others than its owner (mode {mode:o})")]
    Open {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// The configuration is wrong.
    #[error("{path}: {detail}")]
    Config {
        /// The file.
        path: PathBuf,
        /// The field, and what was expected.
        detail: String,
    },
    /// The system has no randomness to give.
    #[error("the system gives no random bytes")]
    Random,
}

impl Error {
    pub(crate) fn io(doing: &'static str, path: impl Into<PathBuf>, source: io::Error) -> Self {
        Self::Io {
            doing,
            path: path.into(),
            source,
        }
    }
}
