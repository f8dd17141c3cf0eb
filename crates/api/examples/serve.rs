//! A server on loopback with its certificates and a kubeconfig, to try clients against:
//!
//!     cargo run -p consort-api --example serve -- /tmp/consort 6443
//!     kubectl --kubeconfig /tmp/consort/admin.kubeconfig get namespaces

use consort_api::identity::{User, pki::Pki, tokens::Signer};
use consort_api::{Api, Options};
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let dir = PathBuf::from(arguments.next().ok_or("usage: serve DIR PORT")?);
    let port: u16 = arguments.next().ok_or("usage: serve DIR PORT")?.parse()?;
    let loopback = IpAddr::from(Ipv4Addr::LOCALHOST);

    let store = consort_store::Store::open(consort_store::Options::new(dir.join("store")))?;
    let pki = Pki::open(&dir.join("pki"), &["localhost".to_owned()], &[loopback])?;
    let signer = Signer::new(pki.service_account_key(), "https://kubernetes.default.svc")?;
    let api = Api::new(Options::new(store.clone(), Arc::new(signer))).await?;

    let listener = tokio::net::TcpListener::bind((loopback, port)).await?;
    let server = format!("https://{}", listener.local_addr()?);
    let kubeconfig = dir.join("admin.kubeconfig");
    std::fs::write(&kubeconfig, pki.kubeconfig(&User::admin(), &server)?)?;
    println!("export KUBECONFIG={}", kubeconfig.display());

    let shutdown = CancellationToken::new();
    let stop = shutdown.clone();
    let signal = async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            stop.cancel();
        }
    };
    tokio::join!(
        api.serve(listener, Some(pki.server_config()?), shutdown),
        signal
    );
    api.close().await;
    store.close().await;
    Ok(())
}
