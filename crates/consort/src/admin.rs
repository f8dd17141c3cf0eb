//! Requests to a server over a socket in its data directory, which only its owner can reach: one JSON
//! document each way.

use std::path::Path;

use anyhow::Context as _;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::error::{Failure, Kind, Result, chain};

/// The longest request and the longest answer.
const LARGEST: usize = 64 << 20;

/// Opens a socket. One that an earlier run left is replaced: the caller holds the data directory's lock.
pub(crate) fn listen(path: &Path) -> std::io::Result<UnixListener> {
    use std::os::unix::fs::PermissionsExt as _;
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    // The data directory itself is closed to others.
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Answers requests until `shutdown`.
pub(crate) async fn serve<Q, A, F>(
    listener: UnixListener,
    answer: impl Fn(Q) -> F + Clone + Send + 'static,
    shutdown: CancellationToken,
) where
    Q: DeserializeOwned + Send,
    A: Serialize,
    F: Future<Output = A> + Send,
{
    let mut connections = JoinSet::new();
    loop {
        let stream = tokio::select! {
            () = shutdown.cancelled() => break,
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "accepting on a socket of the data directory");
                    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                    continue;
                }
            },
        };
        let answer = answer.clone();
        connections.spawn(async move {
            let service = hyper::service::service_fn(move |request: http::Request<Incoming>| {
                let answer = answer.clone();
                async move {
                    let body = Limited::new(request.into_body(), LARGEST).collect().await;
                    let body = body.map_err(|error| anyhow::anyhow!("{error}"))?.to_bytes();
                    let request = serde_json::from_slice(&body)?;
                    let body = serde_json::to_vec(&answer(request).await)?;
                    anyhow::Ok(http::Response::new(Full::new(Bytes::from(body))))
                }
            });
            let connection = hyper::server::conn::http1::Builder::new();
            if let Err(error) = connection
                .serve_connection(TokioIo::new(stream), service)
                .await
            {
                tracing::debug!(%error, "a request broke off");
            }
        });
    }
    connections.shutdown().await;
}

/// Asks the server behind a socket.
pub(crate) async fn ask<A: DeserializeOwned>(path: &Path, request: &impl Serialize) -> Result<A> {
    let unreachable = |error: &dyn std::error::Error| {
        Failure::new(
            Kind::Unreachable,
            format!("asking the server at {}: {}", path.display(), chain(error)),
        )
    };
    let stream = UnixStream::connect(path)
        .await
        .map_err(|e| unreachable(&e))?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|e| unreachable(&e))?;
    let body = serde_json::to_vec(request).map_err(anyhow::Error::from)?;
    let request = http::Request::post("/")
        .header(http::header::HOST, "consort")
        .body(Full::new(Bytes::from(body)))
        .map_err(anyhow::Error::from)?;
    let exchange = async {
        let response = sender
            .send_request(request)
            .await
            .map_err(|e| unreachable(&e))?;
        let body = Limited::new(response.into_body(), LARGEST).collect().await;
        let body = body
            .map_err(|error| anyhow::anyhow!("reading the answer: {error}"))?
            .to_bytes();
        let answer = serde_json::from_slice(&body).context("reading the answer")?;
        Ok(answer)
    };
    tokio::select! {
        answer = exchange => answer,
        _ = connection => Err(Failure::new(Kind::Unreachable, "the server closed the connection")),
    }
}
