//! Images for machines, from the store of a data directory: through the server that has it open, or else opened here.

use std::any::Any;
use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use consort_image::{ErrorKind, Images as ImageStore, Reference, Registries};
use consort_machine::{Images, Resolved};
use futures::future::BoxFuture;
use tokio::sync::Mutex;

use crate::images::{Request, options, prepare, resolve_by_server};
use crate::server::running_pid;

type Failed = Box<dyn std::error::Error + Send + Sync>;

/// How long another command may have the store to itself.
const PATIENCE: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(100);

/// The image store of a data directory.
pub(crate) struct Store {
    data_dir: PathBuf,
    registries: Registries,
    /// While somebody here uses it: it belongs to one process at a time, and to none longer than needed.
    opened: Mutex<Weak<ImageStore>>,
}

impl Store {
    /// Opens nothing yet.
    pub(crate) fn new(data_dir: PathBuf, registries: Registries) -> Self {
        Self {
            data_dir,
            registries,
            opened: Mutex::new(Weak::new()),
        }
    }

    /// The store, if no server has it.
    async fn open(&self) -> Result<Option<Arc<ImageStore>>, Failed> {
        let mut opened = self.opened.lock().await;
        if let Some(store) = opened.upgrade() {
            return Ok(Some(store));
        }
        let start = Instant::now();
        loop {
            let served = running_pid(&self.data_dir).map_err(|failure| format!("{failure:?}"))?;
            // A server that runs no pods leaves the images alone.
            if served.is_some() && crate::images::is_served(&self.data_dir) {
                return Ok(None);
            }
            let options = options(&self.data_dir, self.registries.clone());
            let found = tokio::task::spawn_blocking(move || ImageStore::open(options)).await?;
            match found {
                Ok(store) => {
                    let store = Arc::new(store);
                    *opened = Arc::downgrade(&store);
                    return Ok(Some(store));
                }
                Err(error) if error.kind() == ErrorKind::Locked && start.elapsed() < PATIENCE => {
                    tokio::time::sleep(POLL).await;
                }
                Err(error) => return Err(Box::new(error)),
            }
        }
    }
}

impl Images for Store {
    fn resolve<'a>(
        &'a self,
        name: &'a str,
    ) -> BoxFuture<'a, Result<(Resolved, Box<dyn Any + Send>), Failed>> {
        Box::pin(async move {
            let reference: Reference = name.parse()?;
            match self.open().await? {
                Some(store) => {
                    let (resolved, hold) = prepare(&store, &reference).await?;
                    Ok((resolved, Box::new((store, hold)) as Box<dyn Any + Send>))
                }
                None => {
                    let request = Request::Prepare {
                        name: reference.to_string(),
                    };
                    let resolved = resolve_by_server(&self.data_dir, &request).await;
                    let resolved = resolved.map_err(|failure| format!("{failure:?}"))?;
                    Ok((resolved, Box::new(()) as Box<dyn Any + Send>))
                }
            }
        })
    }
}
