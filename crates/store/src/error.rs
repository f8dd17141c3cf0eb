//! What can go wrong with the store.

use std::io;
use std::path::PathBuf;

use consort_object::{Object, Revision};

use crate::{Expect, Key};

/// Why the store refused or failed. Unless a variant says otherwise the store goes on working.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Another process has the directory open. Opening fails.
    #[error("the data directory {dir} is in use by another process{}", pid_text(*.pid))]
    Locked {
        /// The directory.
        dir: PathBuf,
        /// The process that holds the lock, as it noted itself.
        pid: Option<u32>,
    },
    /// Bytes that were durable are not what was written. Opening fails; a read of a damaged object
    /// fails and others go on.
    #[error("{path} is damaged at byte {offset}: {detail}")]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// Where in it, in bytes.
        offset: u64,
        /// What was found.
        detail: String,
    },
    /// The disk is full. This commit did not happen; later ones succeed once there is space.
    #[error("no space left on the disk that holds {path}")]
    Full {
        /// The file that could not grow.
        path: PathBuf,
    },
    /// An operation on a file failed.
    #[error("{doing} {path}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// A write's expectation did not hold. Nothing of its commit happened.
    #[error("{key}: {}", conflict_text(*.expected, .found.as_deref()))]
    Conflict {
        /// The key of the first write that failed.
        key: Key,
        /// What the write expected.
        expected: Expect,
        /// What is there.
        found: Option<Box<Object>>,
    },
    /// One commit names a key twice.
    #[error("{key} is written twice in one commit")]
    Repeated {
        /// The key.
        key: Key,
    },
    /// A commit is larger than the store takes.
    #[error("a commit of {size} bytes is above the limit of {limit}")]
    TooLarge {
        /// Size of the commit in bytes.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// A text that is no key.
    #[error("{key:?} is no key of the form /group/plural/[namespace/]name")]
    Key {
        /// The text.
        key: String,
    },
    /// The revision asked for is older than the history that is kept.
    #[error("revision {asked} is too old: history before {oldest} has been compacted")]
    Compacted {
        /// The revision asked for.
        asked: Revision,
        /// The oldest revision that can still be read and watched from.
        oldest: Revision,
    },
    /// The revision asked for has not been reached.
    #[error("revision {asked} is in the future: the store is at {now}")]
    Future {
        /// The revision asked for.
        asked: Revision,
        /// The present revision.
        now: Revision,
    },
    /// A watcher was so slow that events it has not seen are no longer kept. The watch is over; the
    /// caller has to list again.
    #[error("the watcher is too far behind: history before {oldest} has been compacted")]
    Lagged {
        /// The oldest revision that can still be watched from.
        oldest: Revision,
    },
    /// The hook that transforms values at rest refused.
    #[error("transforming the value of {key}: {detail}")]
    Transform {
        /// The object.
        key: Key,
        /// The hook's reason.
        detail: String,
    },
    /// An earlier failure left the state of the log on disk unknown. Every later write fails with
    /// this; opening the store again recovers.
    #[error("the store stopped taking writes: {detail}")]
    Failed {
        /// The first failure.
        detail: String,
    },
    /// A store was to be made where something is.
    #[error("{dir} is not empty")]
    NotEmpty {
        /// The directory.
        dir: PathBuf,
    },
    /// Writes came faster than what is there could be rewritten.
    #[error("the store is written to faster than it can be compacted")]
    Busy,
    /// The store has been closed.
    #[error("the store is closed")]
    Closed,
}

impl Error {
    pub(crate) fn io(doing: &'static str, path: impl Into<PathBuf>, source: io::Error) -> Self {
        let path = path.into();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full { path },
            _ => Self::Io {
                doing,
                path,
                source,
            },
        }
    }
}

fn pid_text(pid: Option<u32>) -> String {
    pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default()
}

fn conflict_text(expected: Expect, found: Option<&Object>) -> String {
    let found = match found {
        None => "it does not exist".to_owned(),
        Some(object) => format!("it is at revision {}", object.revision),
    };
    match expected {
        Expect::Any => found,
        Expect::Absent => format!("expected not to exist, but {found}"),
        Expect::At(revision) => format!("expected at revision {revision}, but {found}"),
    }
}
