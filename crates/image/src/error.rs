//! What can go wrong with images.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::{Digest, InvalidName};

/// An error of the image store. [`Error::kind`] is what a caller decides by.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The text is no image name.
    #[error(transparent)]
    InvalidName(#[from] InvalidName),
    /// Neither the store nor, where it was asked, the registry has the image.
    #[error("image {image} not found: {reason}")]
    NotFound {
        /// The image that was asked for.
        image: String,
        /// Who says so.
        reason: String,
    },
    /// The registry wants credentials, or refuses those it got.
    #[error("not allowed to pull {image}: {reason}")]
    Unauthorized {
        /// The image that was asked for.
        image: String,
        /// What the registry answered.
        reason: String,
    },
    /// The registry cannot be reached or stopped answering.
    #[error("cannot reach registry {registry}: {reason}")]
    Unreachable {
        /// Host and port of the registry.
        registry: String,
        /// The chain of causes, in one line.
        reason: String,
    },
    /// The registry answered with an error that is neither of the above.
    #[error("registry {registry} answered {status} for {what}: {reason}")]
    Registry {
        /// Host and port of the registry.
        registry: String,
        /// HTTP status.
        status: u16,
        /// The manifest or blob that was asked for.
        what: String,
        /// The registry's own words.
        reason: String,
    },
    /// Content is not what its digest says: corrupted, or tampered with. It was thrown away.
    #[error("content of {what} does not match its digest: expected {expected}, got {actual}")]
    DigestMismatch {
        /// The manifest, blob or layer.
        what: String,
        /// What the digest should be.
        expected: Digest,
        /// What it is.
        actual: Digest,
    },
    /// The image has no variant for this machine.
    #[error("image {image} is not available for {wanted}; it has {available}")]
    Platform {
        /// The image that was asked for.
        image: String,
        /// `os/architecture` of this machine.
        wanted: String,
        /// What there is, separated by commas.
        available: String,
    },
    /// A document of the image is malformed or of a kind that cannot be run.
    #[error("{what} is not usable: {reason}")]
    Malformed {
        /// The document.
        what: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A layer's archive is malformed or tries to reach outside of its directory.
    #[error("layer {layer} is refused: {reason}")]
    Layer {
        /// Digest of the layer's blob or of its content.
        layer: Digest,
        /// The entry and what is wrong with it.
        reason: String,
    },
    /// Something is larger than the configured limit.
    #[error("{what} is larger than the limit of {limit} {unit}")]
    TooLarge {
        /// What was being read.
        what: String,
        /// The limit.
        limit: u64,
        /// What the limit counts: `bytes`, `entries`, `layers`.
        unit: &'static str,
    },
    /// Another process has the store open.
    #[error("the image store {} is in use by process {pid}", dir.display())]
    Locked {
        /// The store's directory.
        dir: PathBuf,
        /// The holder, 0 when it cannot be told.
        pid: u32,
    },
    /// Containers were made from the image.
    #[error("image {image} is in use by {}", users.join(", "))]
    InUse {
        /// The name that was to be removed.
        image: String,
        /// Who uses it, sorted.
        users: Vec<String>,
    },
    /// A file or directory could not be read or written.
    #[error("{doing} {}", path.display())]
    Io {
        /// What was being done: `reading`, `creating`, ...
        doing: &'static str,
        /// To what.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// A built-in image could not be made.
    #[error("making the built-in image {name}")]
    Builtin {
        /// Its name.
        name: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The error of a pull that others waited for too.
    #[error(transparent)]
    Shared(Arc<Error>),
}

/// The kinds of errors a caller treats differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// Not an image name: `InvalidImageName`; trying again is of no use.
    InvalidName,
    /// No such image, or none for this platform.
    NotFound,
    /// Credentials are missing or refused.
    Unauthorized,
    /// Network, or a registry in trouble: worth trying again.
    Unreachable,
    /// Content that does not match its digest.
    DigestMismatch,
    /// Content that is malformed, hostile, unsupported or too large.
    Invalid,
    /// The store is held by another process.
    Locked,
    /// The image is used by a container.
    InUse,
    /// The local disk.
    Disk,
}

impl Error {
    /// What kind of error this is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::InvalidName(_) => ErrorKind::InvalidName,
            Self::NotFound { .. } | Self::Platform { .. } => ErrorKind::NotFound,
            Self::Unauthorized { .. } => ErrorKind::Unauthorized,
            Self::Unreachable { .. } | Self::Registry { .. } => ErrorKind::Unreachable,
            Self::DigestMismatch { .. } => ErrorKind::DigestMismatch,
            Self::Malformed { .. } | Self::Layer { .. } | Self::TooLarge { .. } => {
                ErrorKind::Invalid
            }
            Self::Locked { .. } => ErrorKind::Locked,
            Self::InUse { .. } => ErrorKind::InUse,
            Self::Io { .. } | Self::Builtin { .. } => ErrorKind::Disk,
            Self::Shared(error) => error.kind(),
        }
    }

    /// The error with its causes in one line, for a condition's or an event's message.
    pub fn message(&self) -> String {
        chain(self)
    }

    pub(crate) fn io(
        doing: &'static str,
        path: impl AsRef<Path>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.as_ref().to_owned();
        move |source| Self::Io {
            doing,
            path,
            source,
        }
    }

    #[allow(
        clippy::needless_pass_by_value,
        reason = "errors and texts come as they are"
    )]
    pub(crate) fn malformed(what: impl Into<String>, reason: impl ToString) -> Self {
        Self::Malformed {
            what: what.into(),
            reason: reason.to_string(),
        }
    }
}

/// An error and its causes joined by `: `, leaving out what a cause only repeats.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let own = error.to_string();
        if !text.ends_with(&own) {
            text.push_str(": ");
            text.push_str(&own);
        }
        cause = error.source();
    }
    text
}
