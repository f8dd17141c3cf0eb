//! What goes wrong with repositories.

use std::path::PathBuf;
use std::time::Duration;

/// Why something could not be had from a repository.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address is not one that is supported.
    #[error("{url:?} is no address of a repository: {why}")]
    Url {
        /// The address, without what may be a password.
        url: String,
        /// What is wrong.
        why: String,
    },
    /// The reference is not a name.
    #[error("{reference:?} is no branch, tag or commit: {why}")]
    Reference {
        /// What was given.
        reference: String,
        /// What is wrong.
        why: String,
    },
    /// The path leads out of the repository, or names nothing in it.
    #[error("path {path:?} of the repository: {why}")]
    Path {
        /// The path.
        path: String,
        /// What is wrong.
        why: String,
    },
    /// The repository has no such branch, tag or commit.
    #[error("{url} has no branch, tag or commit {reference:?}")]
    NoReference {
        /// The repository.
        url: String,
        /// What it does not have.
        reference: String,
    },
    /// The repository wants other credentials, or some at all.
    #[error("{url} refuses the credentials: {said}")]
    Credentials {
        /// The repository.
        url: String,
        /// What was said.
        said: String,
    },
    /// The server is not the one it is expected to be: its host key or its certificate is not trusted.
    #[error("{url} cannot be trusted: {said}")]
    Identity {
        /// The repository.
        url: String,
        /// What was said.
        said: String,
    },
    /// There is no repository.
    #[error("{url} is no repository, or may not be seen: {said}")]
    NoRepository {
        /// The address.
        url: String,
        /// What was said.
        said: String,
    },
    /// The server could not be reached, or the connection broke. Trying again may help.
    #[error("{url} cannot be reached: {said}")]
    Unreachable {
        /// The repository.
        url: String,
        /// What was said.
        said: String,
    },
    /// It took too long. Trying again may help.
    #[error("{doing} took longer than {limit:?}")]
    TimedOut {
        /// What was being done.
        doing: String,
        /// How long it may take.
        limit: Duration,
    },
    /// A symbolic link of the commit leads out of the repository.
    #[error("{path} is a symbolic link that leads out of the repository, to {target}")]
    Link {
        /// The link, relative to the repository.
        path: String,
        /// Where it leads.
        target: String,
    },
    /// The commit holds more than is taken.
    #[error("the commit holds {what}, more than the {most} that are taken")]
    TooMuch {
        /// What it holds.
        what: String,
        /// The bound.
        most: String,
    },
    /// There is no `git` to run.
    #[error("the program git is not installed, or not on the PATH")]
    NoGit,
    /// `git` failed in a way that is not known.
    #[error("{doing}: {said}")]
    Failed {
        /// What was being done.
        doing: String,
        /// What was said.
        said: String,
    },
    /// A file or directory of the cache could not be read or written.
    #[error("{doing} {path}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// To what.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
    /// The work was ended early.
    #[error("{doing} was ended early")]
    Cancelled {
        /// What was being done.
        doing: String,
    },
}

impl Error {
    /// Whether the same may go well when it is tried again.
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Error::Unreachable { .. }
                | Error::TimedOut { .. }
                | Error::Io { .. }
                | Error::Cancelled { .. }
        )
    }

    /// One word for it, as conditions have it.
    pub fn reason(&self) -> &'static str {
        match self {
            Error::Url { .. } | Error::Reference { .. } | Error::Path { .. } => "InvalidSource",
            Error::NoReference { .. } => "ReferenceNotFound",
            Error::Credentials { .. } => "AuthenticationFailed",
            Error::Identity { .. } => "UntrustedServer",
            Error::NoRepository { .. } => "RepositoryNotFound",
            Error::Unreachable { .. } => "Unreachable",
            Error::TimedOut { .. } => "TimedOut",
            Error::Link { .. } | Error::TooMuch { .. } => "RefusedContent",
            Error::NoGit => "NoGit",
            Error::Failed { .. } | Error::Io { .. } | Error::Cancelled { .. } => "FetchFailed",
        }
    }

    pub(crate) fn io<'a>(
        doing: &'static str,
        path: &'a std::path::Path,
    ) -> impl FnOnce(std::io::Error) -> Error + 'a {
        move |source| Error::Io {
            doing,
            path: path.to_owned(),
            source,
        }
    }
}
