//! The store of a data directory: how it is opened, and work on it that is done by the server that runs
//! there, or else here.

use std::fs::File;
use std::io::BufWriter;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use consort_encryption::{Encryption, LocalKeys};
use consort_store::{Backup, Options, Store};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::net::UnixListener;
use tokio_util::sync::CancellationToken;

use crate::admin;
use crate::error::{Failure, Kind, Result, chain};

/// The store's directory within a data directory.
pub(crate) fn dir(data_dir: &Path) -> PathBuf {
    data_dir.join("store")
}

/// The keys that seal secrets.
pub(crate) fn keys_path(data_dir: &Path) -> PathBuf {
    data_dir.join("pki").join("encryption-keys.json")
}

/// The store of a data directory, open, with what seals its secrets.
#[derive(Clone)]
pub(crate) struct Opened {
    /// The store.
    pub(crate) store: Store,
    /// What seals.
    pub(crate) encryption: Encryption,
    keys: Arc<Mutex<LocalKeys>>,
}

/// What seals the objects of a data directory; makes a key if there is none.
pub(crate) fn encryption(
    data_dir: &Path,
    configuration: Option<&Path>,
) -> Result<(Encryption, LocalKeys)> {
    let failed = |error: consort_encryption::Error| {
        let kind = match error {
            consort_encryption::Error::Config { .. } => Kind::Usage,
            _ => Kind::Failed,
        };
        Failure::new(kind, format!("encryption at rest: {}", chain(&error)))
    };
    let path = keys_path(data_dir);
    if let Some(above) = path.parent() {
        use std::os::unix::fs::DirBuilderExt as _;
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(above)
            .map_err(anyhow::Error::from)?;
    }
    let keys = LocalKeys::open(&path).map_err(failed)?;
    let encryption = match configuration {
        Some(configuration) => Encryption::configured(configuration, keys.clone()),
        None => Ok(Encryption::local(keys.clone())),
    };
    Ok((encryption.map_err(failed)?, keys))
}

impl Opened {
    /// Opens the store; blocks while it reads.
    pub(crate) fn open(data_dir: &Path, configuration: Option<&Path>) -> Result<Self> {
        let (encryption, keys) = encryption(data_dir, configuration)?;
        let mut options = Options::new(dir(data_dir));
        options.transform = Some(Arc::new(encryption.clone()));
        let store = Store::open(options).map_err(|error| {
            Failure::new(
                Kind::Failed,
                format!("opening the store: {}", chain(&error)),
            )
        })?;
        Ok(Self {
            store,
            encryption,
            keys: Arc::new(Mutex::new(keys)),
        })
    }

    /// Does what is asked.
    pub(crate) async fn perform(&self, request: Request) -> anyhow::Result<Done> {
        match request {
            Request::Backup { path } => {
                let store = self.store.clone();
                let written = tokio::task::spawn_blocking(move || backup(&store, &path));
                Ok(Done::Backup(written.await??.into()))
            }
            Request::Compact => {
                self.store.shrink().await.context("compacting the store")?;
                Ok(Done::Compacted {
                    revision: self.store.revision().0,
                })
            }
            Request::Reseal { new_key } => self.reseal(new_key).await,
        }
    }

    async fn reseal(&self, new_key: bool) -> anyhow::Result<Done> {
        if new_key {
            if !self.encryption.is_local() {
                anyhow::bail!(
                    "the keys are those of the encryption configuration: put a new one first there"
                );
            }
            let mut keys = self.keys.lock();
            keys.rotate().context("making a new key")?;
            self.encryption.reload(&keys);
        }
        let objects = self.store.reseal().await.context("sealing objects anew")?;
        // What older keys sealed, and what was not sealed, goes from the disk with the old log.
        self.store.shrink().await.context("compacting the store")?;
        if new_key {
            let mut keys = self.keys.lock();
            keys.forget().context("dropping old keys")?;
            self.encryption.reload(&keys);
        }
        let key = self.keys.lock().names().next().map(str::to_owned);
        Ok(Done::Resealed {
            objects,
            key: key.filter(|_| self.encryption.is_local()),
        })
    }
}

/// Writes a backup to a file, which appears whole or not at all.
fn backup(store: &Store, path: &Path) -> anyhow::Result<Backup> {
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    let partial = PathBuf::from(partial);
    let writing = || format!("writing {}", partial.display());
    let file = File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&partial)
        .with_context(writing)?;
    let written = || -> anyhow::Result<Backup> {
        let mut out = BufWriter::with_capacity(1 << 20, file);
        let written = store.backup(&mut out).with_context(writing)?;
        let file = out
            .into_inner()
            .map_err(std::io::IntoInnerError::into_error);
        file.and_then(|file| file.sync_all())
            .with_context(writing)?;
        std::fs::rename(&partial, path)
            .with_context(|| format!("renaming to {}", path.display()))?;
        let above = path.parent().filter(|above| !above.as_os_str().is_empty());
        File::open(above.unwrap_or_else(|| Path::new(".")))
            .and_then(|above| above.sync_all())
            .with_context(writing)?;
        Ok(written)
    };
    let written = written();
    if written.is_err() {
        let _ = std::fs::remove_file(&partial);
    }
    written
}

/// What is asked of a store.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub(crate) enum Request {
    /// Write the present state to a file.
    Backup {
        /// Its path, absolute.
        path: PathBuf,
    },
    /// Drop history and rewrite the log.
    Compact,
    /// Seal with the present key what another one, or none, has sealed; leave nothing else on disk.
    Reseal {
        /// Make a new local key first, and drop the others at the end.
        new_key: bool,
    },
}

/// What was done.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Done {
    /// A backup was written.
    Backup(Written),
    /// The store is compacted.
    Compacted {
        /// The oldest revision that is kept now.
        revision: u64,
    },
    /// Objects were sealed anew.
    Resealed {
        /// How many.
        objects: u64,
        /// The local key that seals now, if one does.
        key: Option<String>,
    },
}

/// What a backup holds.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Written {
    /// Its revision.
    pub(crate) revision: u64,
    /// Number of objects.
    pub(crate) objects: u64,
    /// Length in bytes.
    pub(crate) bytes: u64,
}

impl From<Backup> for Written {
    fn from(backup: Backup) -> Self {
        Self {
            revision: backup.revision.0,
            objects: backup.objects,
            bytes: backup.bytes,
        }
    }
}

type Answer = std::result::Result<Done, String>;

fn socket(data_dir: &Path) -> PathBuf {
    data_dir.join("store.sock")
}

/// Opens the socket that requests come in by.
pub(crate) fn listen(data_dir: &Path) -> std::io::Result<UnixListener> {
    admin::listen(&socket(data_dir))
}

/// Answers requests until `shutdown`.
pub(crate) async fn serve(listener: UnixListener, opened: Opened, shutdown: CancellationToken) {
    let answer = move |request: Request| {
        let opened = opened.clone();
        async move {
            let done: Answer = opened
                .perform(request)
                .await
                .map_err(|error| format!("{error:#}"));
            done
        }
    };
    admin::serve(listener, answer, shutdown).await;
}

/// Asks the server that runs on a data directory.
pub(crate) async fn ask(data_dir: &Path, request: &Request) -> Result<Done> {
    let answer: Answer = admin::ask(&socket(data_dir), request).await?;
    answer.map_err(|message| Failure::new(Kind::Failed, message))
}
