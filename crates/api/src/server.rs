//! The server on a socket: TLS, HTTP/1.1 and HTTP/2, upgrades, limits, a clean end.

use crate::api::Api;
use crate::audit::Source;
use crate::identity::{Peer, pki};
use crate::pulse::{Cut, Near};
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

/// Fields of a request's head, at most.
const MAX_HEADERS: usize = 200;

/// The smallest buffer the HTTP implementation works with.
const LEAST_BUFFER: usize = 8192;

/// Requests at once on one HTTP/2 connection.
const STREAMS: u32 = 1000;

/// Bytes of an answer held for one HTTP/2 stream until the client takes them.
const SEND_BUFFER: usize = 256 * 1024;

/// Streams opened and reset by a client before the connection is ended.
const MAX_RESETS: usize = 200;

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
        let source = socket.peer_addr().ok().map(|address| Source(address.ip()));
        // What is on this host is not worth compressing: it costs more than it saves.
        let near = socket
            .peer_addr()
            .is_ok_and(|peer| peer.ip().to_canonical().is_loopback());
        let connection = Connection {
            peer: None,
            near,
            source,
            cut: CancellationToken::new(),
        };
        let Some(acceptor) = acceptor else {
            let limit = self.inner.limits.header_timeout;
            if let Ok(Some(protocol)) = tokio::time::timeout(limit, spoken(&socket)).await {
                self.http(socket, protocol, connection, shutdown).await;
            }
            return;
        };
        let stream = match tokio::time::timeout(HANDSHAKE, acceptor.accept(socket)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                tracing::debug!(%error, "a TLS handshake failed");
                return;
            }
            Err(_) => return,
        };
        let session = stream.get_ref().1;
        let protocol = if session.alpn_protocol() == Some(b"h2") {
            Protocol::Two
        } else {
            Protocol::One
        };
        // The certificate is parsed once for all requests of the connection.
        let peer = session
            .peer_certificates()
            .and_then(|chain| chain.first())
            .and_then(|certificate| pki::user_of_certificate(certificate))
            .map(|user| Peer(Arc::new(user)));
        let connection = Connection { peer, ..connection };
        self.http(stream, protocol, connection, shutdown).await;
    }

    /// Serves a connection.
    async fn http(
        &self,
        io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        protocol: Protocol,
        connection: Connection,
        shutdown: CancellationToken,
    ) {
        let service = self.service();
        let cut = connection.cut.clone();
        let service = hyper::service::service_fn(move |mut request: Request<Incoming>| {
            let extensions = request.extensions_mut();
            if let Some(peer) = &connection.peer {
                extensions.insert(peer.clone());
            }
            if connection.near {
                extensions.insert(Near);
            }
            extensions.insert(Cut(connection.cut.clone()));
            if let Some(source) = connection.source {
                extensions.insert(source);
            }
            service.clone().oneshot(request)
        });
        let builder = self.builder(protocol);
        let connection = builder.serve_connection_with_upgrades(TokioIo::new(io), service);
        let mut connection = std::pin::pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = cut.cancelled() => return,
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

    /// What a client may ask of a connection.
    fn builder(&self, protocol: Protocol) -> auto::Builder<TokioExecutor> {
        let limits = &self.inner.limits;
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            .max_headers(MAX_HEADERS)
            .max_buf_size(limits.header_bytes.max(LEAST_BUFFER))
            // Idle time counts too: a client that sends nothing holds no connection for ever.
            .header_read_timeout(limits.header_timeout);
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(STREAMS)
            .max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX))
            .max_send_buf_size(SEND_BUFFER)
            .max_pending_accept_reset_streams(Some(MAX_RESETS))
            .max_local_error_reset_streams(Some(MAX_RESETS))
            .keep_alive_interval(Duration::from_secs(30))
            .keep_alive_timeout(Duration::from_secs(20));
        match protocol {
            // Nothing to guess, so nobody can keep us guessing.
            Protocol::One => builder.http1_only(),
            Protocol::Two => builder.http2_only(),
        }
    }
}

/// What is known of a connection.
struct Connection {
    peer: Option<Peer>,
    source: Option<Source>,
    near: bool,
    cut: CancellationToken,
}

/// What TLS has agreed on, or the client began with.
#[derive(Clone, Copy)]
enum Protocol {
    One,
    Two,
}

/// Without TLS the client's first bytes say which protocol it speaks; `None` when it is gone.
async fn spoken(socket: &TcpStream) -> Option<Protocol> {
    /// How HTTP/2 begins; no method of HTTP/1.1 does.
    const PREFACE: &[u8; 3] = b"PRI";
    let mut begin = [0; PREFACE.len()];
    loop {
        let seen = socket.peek(&mut begin).await.ok()?;
        if seen == 0 {
            return None;
        }
        if begin[..seen] != PREFACE[..seen] {
            return Some(Protocol::One);
        }
        if seen == PREFACE.len() {
            return Some(Protocol::Two);
        }
        // The rest of these few bytes is on its way.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
