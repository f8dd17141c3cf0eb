//! The API over its store, and nothing else, as a server of its own: what reconcilers and scheduler do is
//! not in its figures.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Result;
use consort_api::identity::User;
use consort_api::identity::pki::Pki;
use consort_api::identity::tokens::Signer;
use consort_api::{Api, Options};
use consort_store::Store;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// As those of `consort server`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[arg(long)]
    data_dir: PathBuf,
    #[arg(long)]
    listen: SocketAddr,
    /// There never is one
    #[arg(long)]
    no_node: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    crate::executor()?.block_on(serve(arguments))
}

/// The API over a store in a directory, with the certificates it serves with.
pub(crate) async fn open(dir: &Path, address: IpAddr) -> Result<(Store, Api, Pki)> {
    let names = ["localhost".to_owned()];
    let pki = Pki::open(&dir.join("pki"), &names, &[address])?;
    let store = Store::open(consort_store::Options::new(dir.join("store")))?;
    let signer = Signer::new(
        pki.service_account_key(),
        "https://kubernetes.default.svc.cluster.local",
    )?;
    let api = Api::new(Options::new(store.clone(), Arc::new(signer))).await?;
    Ok((store, api, pki))
}

async fn serve(arguments: &Arguments) -> Result<()> {
    let dir = &arguments.data_dir;
    let listener = TcpListener::bind(arguments.listen).await?;
    let (store, api, pki) = open(dir, arguments.listen.ip()).await?;
    let shutdown = CancellationToken::new();
    let serving = tokio::spawn({
        let (api, tls, shutdown) = (api.clone(), pki.server_config()?, shutdown.clone());
        async move { api.serve(listener, Some(tls), shutdown).await }
    });
    let kubeconfig = pki.kubeconfig(&User::admin(), &format!("https://{}", arguments.listen))?;
    let partial = dir.join("admin.kubeconfig.partial");
    std::fs::write(&partial, kubeconfig)?;
    std::fs::rename(partial, dir.join("admin.kubeconfig"))?;
    signal(SignalKind::terminate())?.recv().await;
    shutdown.cancel();
    serving.await?;
    api.close().await;
    store.close().await;
    Ok(())
}
