//! The server on a socket: TLS, HTTP/1.1 and HTTP/2, upgrades, limits, a clean end.

use crate::api::Api;
use crate::identity::{Peer, pki};
use http::Request;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

/// How long a client may take for the TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// How long open requests have to finish when the server stops.
const GRACE: Duration = Duration::from_secs(5);

/// After a failed accept (no descriptors left, mostly) the next is tried after this.
const PAUSE: Duration = Duration::from_millis(50);

impl Api {
    /// Serve on a listener until `shutdown`. Without `tls` plain text is spoken: for tests and behind
    /// a proxy on the same machine.
    ///
    /// At the end no connection is accepted any more, watches end, and requests that are being
    /// answered have a few seconds to finish.
    pub async fn serve(
        &self,
        listener: TcpListener,
        tls: Option<Arc<rustls::ServerConfig>>,
        shutdown: CancellationToken,
    ) {
        let acceptor = tls.map(TlsAcceptor::from);
        let connections = TaskTracker::new();
        let places = Arc::new(Semaphore::new(self.inner.limits.connections));
        loop {
            let place = tokio::select! {
                () = shutdown.cancelled() => break,
                place = places.clone().acquire_owned() => match place {
                    Ok(place) => place,
                    Err(_) => break,
                },
            };
            let accepted = tokio::select! {
                () = shutdown.cancelled() => break,
                accepted = listener.accept() => accepted,
            };
            let socket = match accepted {
                Ok((socket, _)) => socket,
                Err(error) => {
                    tracing::warn!(%error, "accepting a connection");
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            };
            let api = self.clone();
            let acceptor = acceptor.clone();
            let shutdown = shutdown.clone();
            connections.spawn(async move {
                api.connection(socket, acceptor, shutdown).await;
                drop(place);
            });
        }
        drop(listener);
        self.inner.stop.cancel();
        connections.close();
        if tokio::time::timeout(GRACE + Duration::from_secs(1), connections.wait())
            .await
            .is_err()
        {
            tracing::warn!("some connections did not end in time");
        }
    }

    async fn connection(
        &self,
        socket: TcpStream,
        acceptor: Option<TlsAcceptor>,
        shutdown: CancellationToken,
    ) {
        if let Err(error) = socket.set_nodelay(true) {
            tracing::debug!(%error, "setting up a connection");
        }
        let Some(acceptor) = acceptor else {
            return self.http(socket, None, shutdown).await;
        };
        let stream = match tokio::time::timeout(HANDSHAKE, acceptor.accept(socket)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                tracing::debug!(%error, "a TLS handshake failed");
                return;
            }
            Err(_) => return,
        };
        // The certificate is parsed once for all requests of the connection.
        let peer = stream
            .get_ref()
            .1
            .peer_certificates()
            .and_then(|chain| chain.first())
            .and_then(|certificate| pki::user_of_certificate(certificate))
            .map(|user| Peer(Arc::new(user)));
        self.http(stream, peer, shutdown).await;
    }

    async fn http(
        &self,
        io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        peer: Option<Peer>,
        shutdown: CancellationToken,
    ) {
        let service = self.service();
        let service = hyper::service::service_fn(move |mut request: Request<Incoming>| {
            if let Some(peer) = &peer {
                request.extensions_mut().insert(peer.clone());
            }
            service.clone().oneshot(request)
        });
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(self.inner.limits.header_timeout);
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(1000)
            .keep_alive_interval(Duration::from_secs(30))
            .keep_alive_timeout(Duration::from_secs(20));
        let connection = builder.serve_connection_with_upgrades(TokioIo::new(io), service);
        let mut connection = std::pin::pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = shutdown.cancelled() => {
                connection.as_mut().graceful_shutdown();
                match tokio::time::timeout(GRACE, connection.as_mut()).await {
                    Ok(ended) => ended,
                    Err(_) => return,
                }
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "a connection ended");
        }
    }
}
