//! Where the state of a configuration is kept: on this disk, behind HTTP, in an object store, in a database,
//! or in a cluster's objects.
//!
//! A backend moves whole snapshots as bytes and holds locks; what the bytes mean is the matter of
//! whoever holds the state. [`Kind`] names the backends and their arguments, [`open`] makes one of a checked
//! [`Settings`]; a [`Backend`] holds the workspaces of a configuration, and a [`Snapshots`] the state of one.

mod http;
mod kubernetes;
mod local;
mod lock;
mod pg;
mod pg_options;
mod pg_tls;
mod s3;
mod settings;

use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::future::BoxFuture;

pub use lock::{Holder, LockInfo, acquire};
pub use settings::{Argument, Kind, Settings, SettingsError, Takes};

/// The workspace every configuration has.
pub const DEFAULT_WORKSPACE: &str = "default";

/// Why state could not be read, written or locked. The state is as it was before, except where a variant
/// says otherwise.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Someone else holds the lock; taking it again later may succeed.
    #[error("{message}")]
    Held {
        /// What the backend said.
        message: String,
        /// Who holds it, where that can be told.
        holder: Option<Box<LockInfo>>,
    },
    /// The lock named is not the one that is held.
    #[error("lock ID {asked:?} does not match existing lock ID {held:?}")]
    OtherLock {
        /// The lock that was to be given up.
        asked: String,
        /// The one that is held.
        held: String,
    },
    /// There is no lock to give up.
    #[error("the state is not locked")]
    NotLocked,
    /// This backend has one workspace only.
    #[error("workspaces not supported")]
    OneWorkspace,
    /// The default workspace is never deleted.
    #[error("cannot delete default state")]
    DefaultWorkspace,
    /// A file could not be used.
    #[error("{action} {path}")]
    File {
        /// What was being done.
        action: &'static str,
        /// To what.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
    /// What is in a snapshot cannot be read, or must not be written as it is.
    #[error("{0}")]
    Contents(String),
    /// A server did not answer as it must. After a failed write it is not known whether it took the snapshot.
    #[error("{0}")]
    Remote(String),
}

/// Snapshots of one workspace's state.
pub trait Snapshots: Send + Sync {
    /// The newest snapshot; none if there is no state yet.
    fn read(&self) -> BoxFuture<'_, Result<Option<Vec<u8>>, Error>>;

    /// Makes `bytes` the newest snapshot; they are kept once this returns.
    fn write(&self, bytes: Vec<u8>) -> BoxFuture<'_, Result<(), Error>>;

    /// Takes the lock and gives its ID, or says who holds it.
    fn lock<'a>(&'a self, info: &'a LockInfo) -> BoxFuture<'a, Result<String, Error>>;

    /// Gives up the lock `id`, also one that another process took and left.
    fn unlock<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<(), Error>>;

    /// The file on this disk that holds the newest snapshot, where there is one: beside it what is not in a
    /// snapshot yet can be recorded cheaply.
    fn file(&self) -> Option<&Path> {
        None
    }
}

/// The workspaces of one configuration.
pub trait Backend: Send + Sync {
    /// The names of the workspaces that have state, the default one among them always, sorted.
    fn workspaces(&self) -> BoxFuture<'_, Result<Vec<String>, Error>>;

    /// Makes a workspace known that has no state yet, where the backend keeps a place for it.
    fn create<'a>(&'a self, workspace: &'a str) -> BoxFuture<'a, Result<(), Error>>;

    /// Deletes a workspace with its state.
    fn delete<'a>(&'a self, workspace: &'a str) -> BoxFuture<'a, Result<(), Error>>;

    /// The snapshots of one workspace.
    fn snapshots(&self, workspace: &str) -> Result<Box<dyn Snapshots>, Error>;
}

/// Paths that the command line gives in place of those the local backend uses.
#[derive(Clone, Debug, Default)]
pub struct LocalPaths {
    /// Where state is read, and written if nothing else is said (`-state`).
    pub state: Option<PathBuf>,
    /// Where state is written (`-state-out`).
    pub out: Option<PathBuf>,
    /// Where the state before the first write is kept (`-backup`); `-` keeps none.
    pub backup: Option<PathBuf>,
}

/// Opens the backend that `settings` describe, for a configuration in `directory`.
///
/// # Errors
/// Arguments that contradict each other, or a client that cannot be made of them. Nothing is contacted yet.
pub fn open(
    settings: &Settings,
    directory: &Path,
    paths: &LocalPaths,
) -> Result<Box<dyn Backend>, Error> {
    Ok(match settings.kind() {
        Kind::Local => Box::new(local::Local::new(settings, directory, paths)),
        Kind::Http => Box::new(http::Http::new(settings)?),
        Kind::S3 => Box::new(s3::S3::new(settings)?),
        Kind::Pg => Box::new(pg::Pg::new(settings)?),
        Kind::Kubernetes | Kind::Consort => Box::new(kubernetes::Kubernetes::new(settings)?),
    })
}

/// The states of a configuration as Secrets of a server that is reached through `client`, in the form of the
/// `kubernetes` backend with this `secret_suffix`.
pub fn in_cluster(client: kube::Client, namespace: &str, suffix: &str) -> Box<dyn Backend> {
    Box::new(kubernetes::Kubernetes::with_client(
        client, namespace, suffix,
    ))
}

/// Whether `name` can name a workspace: what can stand in a path and in a URL as it is.
pub fn valid_workspace(name: &str) -> bool {
    !name.is_empty()
        && name != "."
        && name != ".."
        && name.bytes().all(|b| {
            b.is_ascii_alphanumeric()
                || matches!(
                    b,
                    b'-' | b'_' | b'.' | b'~' | b'$' | b'&' | b'+' | b':' | b'=' | b'@'
                )
        })
}

/// How long one exchange with a server may take.
const EXCHANGE: Duration = Duration::from_secs(120);

/// The largest snapshot that is read: a bound against a server that never ends.
const LARGEST: usize = 1 << 30;

/// A client with the limits that all exchanges have.
fn client() -> reqwest::ClientBuilder {
    // The process's choice if it made one; reqwest has none of its own.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .timeout(EXCHANGE)
        .connect_timeout(Duration::from_secs(30))
}

/// Reads a body whole, up to [`LARGEST`].
async fn body(mut response: reqwest::Response, what: &str) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    while let Some(part) = response
        .chunk()
        .await
        .map_err(|error| Error::Remote(format!("{what}: {}", chain(&error))))?
    {
        if bytes.len() + part.len() > LARGEST {
            return Err(Error::Remote(format!(
                "{what}: the answer is larger than {} MiB",
                LARGEST >> 20
            )));
        }
        bytes.extend_from_slice(&part);
    }
    Ok(bytes)
}

/// An error with its causes, each said once.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let said = cause.to_string();
        if !text.contains(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        source = cause.source();
    }
    text
}
