//! An API in this process, for plans where no server runs: on what a data directory holds, or on nothing.

use std::path::Path;
use std::sync::Arc;

use consort_api::identity::User;
use consort_api::identity::pki::Pki;
use consort_api::identity::tokens::Signer;
use consort_api::{Api, Options};
use consort_store::Store;
use kube::Client;

use crate::error::{Failure, Kind, Result, chain};
use crate::server::Lock;
use crate::settings::{Configuration, Server};
use crate::store::Opened;

/// An API without a socket, without reconcilers and without a node: it answers what would be, and does nothing by itself.
pub(crate) struct Offline {
    api: Api,
    store: Store,
    _lock: Option<Lock>,
    _dir: Option<tempfile::TempDir>,
}

impl Offline {
    /// Starts it on what the data directory holds; if there is none yet, on an empty one that is gone afterwards.
    pub(crate) async fn start(configuration: &Configuration, data_dir: &Path) -> Result<Self> {
        let kept = crate::store::dir(data_dir).is_dir();
        let (dir, lock) = if kept {
            (None, Some(Lock::take(data_dir)?))
        } else {
            (Some(tempfile::tempdir()?), None)
        };
        let place = dir
            .as_ref()
            .map_or(data_dir, tempfile::TempDir::path)
            .to_owned();
        let encryption = configuration.encryption_config(None).filter(|_| kept);
        let opened = tokio::task::spawn_blocking(move || {
            let opened = Opened::open(&place, encryption.as_deref())?;
            let pki = Pki::open(&place.join("pki"), &["localhost".to_owned()], &[]);
            pki.map(|pki| (opened, pki))
                .map_err(|error| failed("opening the certificates", &error))
        });
        let (opened, pki) = opened.await.map_err(anyhow::Error::from)??;
        let signer = Signer::new(pki.service_account_key(), Server::issuer("cluster.local"))
            .and_then(|signer| signer.with_keys(pki.verification_keys()))
            .map_err(|error| failed("starting the API", &error))?;
        let store = opened.store;
        let api = Api::new(Options::new(store.clone(), Arc::new(signer)))
            .await
            .map_err(|error| failed("starting the API", &error))?;
        Ok(Offline {
            api,
            store,
            _lock: lock,
            _dir: dir,
        })
    }

    /// Speaks to it as administrator.
    pub(crate) fn client(&self) -> Client {
        self.api.client(User::admin())
    }

    /// Ends it.
    pub(crate) async fn stop(self) {
        self.api.close().await;
        self.store.close().await;
    }
}

fn failed(doing: &str, error: &dyn std::error::Error) -> Failure {
    Failure::new(Kind::Failed, format!("{doing}: {}", chain(error)))
}
