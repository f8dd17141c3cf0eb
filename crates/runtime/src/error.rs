//! Errors of this crate.

use std::io;
use std::path::PathBuf;

/// What can go wrong. Each says what was being done to what.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An operation on a path failed.
    #[error("{doing} {path}")]
    Path {
        /// What was being done, such as `reading`.
        doing: &'static str,
        /// To what.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// An id, a capability, a signal or another value cannot be used.
    #[error("{0}")]
    Invalid(String),
    /// There is already one with this id.
    #[error("{what} {id} already exists")]
    AlreadyExists {
        /// `sandbox` or `container`.
        what: &'static str,
        /// Its id.
        id: String,
    },
    /// There is none with this id.
    #[error("{what} {id} not found")]
    NotFound {
        /// `sandbox` or `container`.
        what: &'static str,
        /// Its id.
        id: String,
    },
    /// The container is not in a state that allows this.
    #[error("container {id} is {state}, cannot {operation}")]
    WrongState {
        /// Its id.
        id: String,
        /// `created`, `running` or `exited`.
        state: String,
        /// What was asked for.
        operation: String,
    },
    /// The container or process could not be made or started; the text is what a user should read.
    #[error("{0}")]
    Start(String),
    /// The shim of the sandbox is gone; its containers have been killed and recorded as exited.
    #[error("the shim of sandbox {0} is gone")]
    ShimGone(String),
    /// The shim answered what cannot be understood, or could not be started.
    #[error("shim of sandbox {sandbox}: {message}")]
    Shim {
        /// Id of the sandbox.
        sandbox: String,
        /// What happened.
        message: String,
    },
    /// A socket, pipe or process operation failed.
    #[error("{doing}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
}

impl Error {
    pub(crate) fn path(
        doing: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Path {
            doing,
            path,
            source,
        }
    }

    pub(crate) fn io(doing: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { doing, source }
    }
}
