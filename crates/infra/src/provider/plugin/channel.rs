//! gRPC calls over one HTTP/2 connection to a plugin.
//!
//! A plugin is one peer on one socket, so there is no pool, no name resolution and no reconnect: when the
//! connection ends the plugin is gone, and every call says so. Messages may be of any size up to
//! [`MAX_MESSAGE`].

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::handshake::Address;

/// Largest message taken; the schema of the largest known provider has about 100 MiB.
pub(crate) const MAX_MESSAGE: usize = 512 << 20;

/// Go's servers hold pings more frequent than every five minutes for an attack.
const PING_EVERY: Duration = Duration::from_secs(330);
/// A plugin that does not answer a ping for this long is not running any more.
const PING_TIMEOUT: Duration = Duration::from_secs(60);

/// The outcome of a call that did not give a message.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{message} (gRPC status {code})")]
pub(crate) struct Status {
    /// As gRPC numbers them.
    pub(crate) code: u32,
    /// For people.
    pub(crate) message: String,
}

impl Status {
    pub(crate) const CANCELLED: u32 = 1;
    pub(crate) const UNKNOWN: u32 = 2;
    pub(crate) const RESOURCE_EXHAUSTED: u32 = 8;
    pub(crate) const UNIMPLEMENTED: u32 = 12;
    pub(crate) const INTERNAL: u32 = 13;
    pub(crate) const UNAVAILABLE: u32 = 14;

    pub(crate) fn new(code: u32, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }

    fn transport(error: &dyn std::error::Error) -> Self {
        let mut message = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            message = format!("{message}: {cause}");
            source = cause.source();
        }
        Self::new(Self::UNAVAILABLE, message)
    }
}

/// A connection that can be used by many calls at once.
#[derive(Clone)]
pub(crate) struct Channel {
    sender: SendRequest<Full<Bytes>>,
    scheme: &'static str,
    /// Cancelled when the plugin is being closed.
    closing: CancellationToken,
}

/// Spawns what the connection needs on a tracker, so that nothing outlives its owner unseen.
#[derive(Clone)]
struct Tracked(TaskTracker, CancellationToken);

impl<F> hyper::rt::Executor<F> for Tracked
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn execute(&self, future: F) {
        let end = self.1.clone();
        self.0.spawn(async move {
            tokio::select! {
                _ = future => {}
                () = end.cancelled() => {}
            }
        });
    }
}

impl Channel {
    /// Connects, with TLS if `tls` is given. Tasks run on `tasks` until the connection ends or `closing`.
    pub(crate) async fn connect(
        address: &Address,
        tls: Option<rustls::ClientConfig>,
        tasks: &TaskTracker,
        closing: CancellationToken,
        pings: bool,
    ) -> std::io::Result<Self> {
        match address {
            Address::Unix(path) => {
                Self::over(UnixStream::connect(path).await?, tls, tasks, closing, pings).await
            }
            Address::Tcp(address) => {
                let stream = TcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                Self::over(stream, tls, tasks, closing, pings).await
            }
        }
    }

    async fn over<S>(
        stream: S,
        tls: Option<rustls::ClientConfig>,
        tasks: &TaskTracker,
        closing: CancellationToken,
        pings: bool,
    ) -> std::io::Result<Self>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        match tls {
            None => Self::http2(stream, "http", tasks, closing, pings).await,
            Some(config) => {
                let name = ServerName::try_from("localhost").map_err(std::io::Error::other)?;
                let stream = tokio_rustls::TlsConnector::from(Arc::new(config))
                    .connect(name, stream)
                    .await?;
                Self::http2(stream, "https", tasks, closing, pings).await
            }
        }
    }

    async fn http2<S>(
        stream: S,
        scheme: &'static str,
        tasks: &TaskTracker,
        closing: CancellationToken,
        pings: bool,
    ) -> std::io::Result<Self>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let mut builder =
            hyper::client::conn::http2::Builder::new(Tracked(tasks.clone(), closing.clone()));
        builder
            .timer(TokioTimer::new())
            // Schemas are tens of megabytes: do not stop for a window update every 64 KB.
            .initial_stream_window_size(8 << 20)
            .initial_connection_window_size(16 << 20)
            .max_frame_size(1 << 20)
            .max_header_list_size(1 << 20);
        if pings {
            builder
                .keep_alive_interval(PING_EVERY)
                .keep_alive_timeout(PING_TIMEOUT)
                .keep_alive_while_idle(false);
        }
        let (sender, connection) = builder
            .handshake(TokioIo::new(stream))
            .await
            .map_err(std::io::Error::other)?;
        let end = closing.clone();
        tasks.spawn(async move {
            tokio::select! {
                outcome = connection => if let Err(error) = outcome {
                    tracing::debug!(%error, "the connection to a provider ended");
                },
                () = end.cancelled() => {}
            }
        });
        Ok(Self {
            sender,
            scheme,
            closing,
        })
    }

    async fn send(&self, path: &str, message: Bytes) -> Result<http::Response<Incoming>, Status> {
        let mut frame = BytesMut::with_capacity(message.len() + 5);
        frame.put_u8(0);
        let length = u32::try_from(message.len()).map_err(|_| {
            Status::new(
                Status::RESOURCE_EXHAUSTED,
                "the request is larger than 4 GiB",
            )
        })?;
        frame.put_u32(length);
        frame.extend_from_slice(&message);
        let request = http::Request::post(format!("{}://localhost{path}", self.scheme))
            .version(http::Version::HTTP_2)
            .header(http::header::CONTENT_TYPE, "application/grpc")
            .header(http::header::TE, "trailers")
            .header(
                http::header::USER_AGENT,
                concat!("consort/", env!("CARGO_PKG_VERSION")),
            )
            .body(Full::new(frame.freeze()))
            .map_err(|e| Status::new(Status::INTERNAL, e.to_string()))?;
        let mut sender = self.sender.clone();
        let sent = async {
            sender.ready().await?;
            sender.send_request(request).await
        };
        let response = tokio::select! {
            biased;
            response = sent => response.map_err(|e| self.lost(&e))?,
            () = self.closing.cancelled() => return Err(closed()),
        };
        if response.status() != http::StatusCode::OK {
            return Err(Status::new(
                Status::UNKNOWN,
                format!("unexpected HTTP status {}", response.status()),
            ));
        }
        // An answer of trailers only has its status in the headers.
        if let Some(status) = status_of(response.headers())
            && status.code != 0
        {
            return Err(status);
        }
        Ok(response)
    }

    fn lost(&self, error: &dyn std::error::Error) -> Status {
        if self.closing.is_cancelled() {
            closed()
        } else {
            Status::transport(error)
        }
    }

    /// One request, one answer.
    pub(crate) async fn unary(&self, path: &str, message: Bytes) -> Result<Bytes, Status> {
        let response = self.send(path, message).await?;
        let body = tokio::select! {
            biased;
            body = http_body_util::Limited::new(response.into_body(), MAX_MESSAGE + 5).collect() => body,
            () = self.closing.cancelled() => return Err(closed()),
        };
        let body = body.map_err(|e| {
            if e.downcast_ref::<http_body_util::LengthLimitError>()
                .is_some()
            {
                Status::new(
                    Status::RESOURCE_EXHAUSTED,
                    format!("the answer is larger than {} MiB", MAX_MESSAGE >> 20),
                )
            } else {
                self.lost(e.as_ref())
            }
        })?;
        match body.trailers().and_then(status_of) {
            None => {
                return Err(Status::new(
                    Status::UNAVAILABLE,
                    "the connection ended before the answer was complete",
                ));
            }
            Some(status) if status.code != 0 => return Err(status),
            Some(_) => {}
        }
        let mut body = body.to_bytes();
        if body.len() < 5 {
            return Err(Status::new(Status::INTERNAL, "the answer holds no message"));
        }
        let compressed = body.get_u8();
        let length = body.get_u32() as usize;
        if compressed != 0 {
            return Err(Status::new(
                Status::UNIMPLEMENTED,
                "the answer is compressed, which was not offered",
            ));
        }
        if body.len() != length {
            return Err(Status::new(
                Status::INTERNAL,
                "the answer is not exactly one message",
            ));
        }
        Ok(body)
    }

    /// One request, many answers: each is given to `each` until the plugin ends the stream.
    pub(crate) async fn stream(
        &self,
        path: &str,
        message: Bytes,
        mut each: impl FnMut(Bytes),
    ) -> Result<(), Status> {
        /// Such streams carry pieces of text.
        const MAX_PIECE: usize = 16 << 20;
        let mut body = self.send(path, message).await?.into_body();
        let mut pending = BytesMut::new();
        loop {
            let frame = tokio::select! {
                frame = body.frame() => frame,
                () = self.closing.cancelled() => return Err(closed()),
            };
            match frame {
                None => return Ok(()),
                Some(Err(error)) => return Err(self.lost(&error)),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        pending.extend_from_slice(&data);
                    }
                }
            }
            while pending.len() >= 5 {
                let length =
                    u32::from_be_bytes([pending[1], pending[2], pending[3], pending[4]]) as usize;
                if length > MAX_PIECE {
                    return Err(Status::new(
                        Status::RESOURCE_EXHAUSTED,
                        "a streamed message is too large",
                    ));
                }
                if pending.len() < 5 + length {
                    break;
                }
                pending.advance(5);
                each(pending.split_to(length).freeze());
            }
        }
    }
}

fn closed() -> Status {
    Status::new(Status::CANCELLED, "the provider is being closed")
}

fn status_of(headers: &http::HeaderMap) -> Option<Status> {
    let code = headers
        .get("grpc-status")?
        .to_str()
        .ok()?
        .parse()
        .unwrap_or(Status::UNKNOWN);
    let message = headers
        .get("grpc-message")
        .map(|m| percent_decode(m.as_bytes()))
        .unwrap_or_default();
    Some(Status { code, message })
}

/// Messages of a status are percent-encoded UTF-8.
fn percent_decode(text: &[u8]) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, tail)) = rest.split_first() {
        let hex = |b: u8| char::from(b).to_digit(16);
        match (byte, tail) {
            (b'%', [high, low, after @ ..]) if hex(*high).is_some() && hex(*low).is_some() => {
                let value = hex(*high).unwrap_or(0) * 16 + hex(*low).unwrap_or(0);
                bytes.push(value as u8);
                rest = after;
            }
            _ => {
                bytes.push(byte);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_messages_are_decoded() {
        assert_eq!(
            percent_decode(b"100%25 of %C3%A9l%C3%A9ments %zz %4"),
            "100% of éléments %zz %4"
        );
    }
}
