//! Calls over a unix socket: gRPC without streams is one HTTP/2 request with a length in front of the
//! message, and a status after it.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use http::{Method, Request};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::UnixStream;

/// The longest answer taken.
const LARGEST: usize = 1 << 20;

/// Calls a method; everything together takes no longer than `timeout`.
pub(crate) async fn call(
    socket: &str,
    method: &str,
    message: &[u8],
    timeout: Duration,
) -> Result<Bytes, String> {
    match tokio::time::timeout(timeout, call_now(socket, method, message)).await {
        Ok(answer) => answer,
        Err(_) => Err(format!("no answer within {timeout:?}")),
    }
}

async fn connect(socket: &str) -> std::io::Result<UnixStream> {
    use std::os::linux::net::SocketAddrExt as _;

    let Some(name) = socket.strip_prefix('@') else {
        return UnixStream::connect(socket).await;
    };
    let address = std::os::unix::net::SocketAddr::from_abstract_name(name)?;
    let stream = std::os::unix::net::UnixStream::connect_addr(&address)?;
    stream.set_nonblocking(true)?;
    UnixStream::from_std(stream)
}

async fn call_now(socket: &str, method: &str, message: &[u8]) -> Result<Bytes, String> {
    let stream = connect(socket)
        .await
        .map_err(|e| format!("connecting to {socket}: {e}"))?;
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .map_err(|e| format!("speaking HTTP/2 with {socket}: {e}"))?;
    let mut body = BytesMut::with_capacity(message.len() + 5);
    body.put_u8(0);
    body.put_u32(message.len() as u32);
    body.put_slice(message);
    let request = Request::builder()
        .method(Method::POST)
        .uri(format!("http://localhost/v2.KeyManagementService/{method}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Full::new(body.freeze()))
        .map_err(|e| e.to_string())?;
    let answer = async move {
        let response = sender
            .send_request(request)
            .await
            .map_err(|e| format!("calling {method}: {e}"))?;
        let (parts, body) = response.into_parts();
        if !parts.status.is_success() {
            return Err(format!("{method} answered {}", parts.status));
        }
        // An answer that is nothing but a failure has its status at the top.
        grpc_status(method, &parts.headers)?;
        let body = Limited::new(body, LARGEST)
            .collect()
            .await
            .map_err(|e| format!("reading the answer to {method}: {e}"))?;
        if let Some(trailers) = body.trailers() {
            grpc_status(method, trailers)?;
        }
        let body = body.to_bytes();
        let message = body.split_first_chunk::<5>().and_then(|(head, rest)| {
            let [compressed, len @ ..] = *head;
            let len = u32::from_be_bytes(len) as usize;
            (compressed == 0 && rest.len() == len).then_some(rest)
        });
        match message {
            Some(message) => Ok(body.slice_ref(message)),
            None => Err(format!("the answer to {method} is no gRPC message")),
        }
    };
    // The connection lives as long as its one call.
    let mut connection = std::pin::pin!(connection);
    let mut answer = std::pin::pin!(answer);
    tokio::select! {
        answer = &mut answer => answer,
        ended = &mut connection => match ended {
            Ok(()) => answer.await,
            Err(e) => Err(format!("the connection to {socket} broke: {e}")),
        },
    }
}

fn grpc_status(method: &str, headers: &http::HeaderMap) -> Result<(), String> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    match text("grpc-status") {
        None | Some("0") => Ok(()),
        Some(code) => Err(format!(
            "{method} failed with code {code}: {}",
            text("grpc-message").unwrap_or("no reason given")
        )),
    }
}
