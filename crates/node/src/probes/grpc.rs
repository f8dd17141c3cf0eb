//! Probing by the gRPC health-checking protocol (`grpc.health.v1.Health/Check`).
//!
//! One unary call over HTTP/2 without TLS. The two messages have one field each and are written and
//! read here: request `{1: service (string)}`, response `{1: status (enum, 1 = SERVING)}`.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::Answer;

const SERVING: u64 = 1;
const UNIMPLEMENTED: &str = "12";

pub(super) async fn ask(host: &str, port: u16, service: &str, timeout: Duration) -> Answer {
    let shown = if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    };
    let connect = tokio::time::timeout(timeout, TcpStream::connect((host, port))).await;
    let Ok(Ok(stream)) = connect else {
        return Answer::Failure(format!(
            "timeout: failed to connect service \"{shown}\" within {}s",
            timeout.as_secs()
        ));
    };
    match tokio::time::timeout(timeout, call(stream, &shown, service)).await {
        Ok(Ok(SERVING)) => Answer::Success,
        Ok(Ok(status)) => Answer::Failure(format!(
            "service unhealthy (responded with \"{}\")",
            name(status)
        )),
        Ok(Err(message)) => Answer::Failure(message),
        Err(_) => Answer::Failure(format!(
            "timeout: health rpc did not complete within {}s",
            timeout.as_secs()
        )),
    }
}

fn name(status: u64) -> &'static str {
    match status {
        0 => "UNKNOWN",
        1 => "SERVING",
        2 => "NOT_SERVING",
        3 => "SERVICE_UNKNOWN",
        _ => "an unknown status",
    }
}

/// The tasks of one connection end with the call.
#[derive(Clone, Default)]
struct Owned(Arc<Mutex<JoinSet<()>>>);

impl<F: Future<Output = ()> + Send + 'static> hyper::rt::Executor<F> for Owned {
    fn execute(&self, task: F) {
        self.0.lock().spawn(task);
    }
}

async fn call(stream: TcpStream, authority: &str, service: &str) -> Result<u64, String> {
    let tasks = Owned::default();
    let (mut sender, connection) = hyper::client::conn::http2::Builder::new(tasks.clone())
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| format!("error: health rpc failed: {error}"))?;
    let request = http::Request::post(format!("http://{authority}/grpc.health.v1.Health/Check"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header(
            "user-agent",
            concat!("kube-probe/consort-", env!("CARGO_PKG_VERSION")),
        )
        .body(Full::new(frame(service)))
        .map_err(|error| error.to_string())?;
    let talk = async {
        let response = sender
            .send_request(request)
            .await
            .map_err(|error| format!("error: health rpc failed: {error}"))?;
        let mut status = grpc_status(response.headers());
        let body = response
            .into_body()
            .collect()
            .await
            .map_err(|error| format!("error: health rpc failed: {error}"))?;
        if let Some(trailers) = body.trailers() {
            status = grpc_status(trailers).or(status);
        }
        match status {
            Some((code, _)) if code == UNIMPLEMENTED => Err(
                "error: this server does not implement the grpc health protocol (grpc.health.v1.Health)".to_owned(),
            ),
            Some((code, message)) if code != "0" => {
                Err(format!("error: health rpc failed: code = {code}, message = {message}"))
            }
            _ => parse(&body.to_bytes()).ok_or_else(|| "error: health rpc failed: malformed response".to_owned()),
        }
    };
    let drive = async {
        let _ = connection.await;
        std::future::pending::<()>().await;
    };
    tokio::select! {
        result = talk => result,
        () = drive => Err("connection closed".to_owned()),
    }
}

fn grpc_status(headers: &http::HeaderMap) -> Option<(String, String)> {
    let text = |name: &str| {
        headers
            .get(name)
            .and_then(|v| v.to_str().ok())
            .map(str::to_owned)
    };
    Some((
        text("grpc-status")?,
        text("grpc-message").unwrap_or_default(),
    ))
}

/// The request with its five-byte prefix: not compressed, length.
fn frame(service: &str) -> Bytes {
    let mut message = Vec::new();
    if !service.is_empty() {
        message.push(0x0a);
        varint(&mut message, service.len() as u64);
        message.extend_from_slice(service.as_bytes());
    }
    let mut out = vec![0];
    out.extend_from_slice(
        &u32::try_from(message.len())
            .unwrap_or(u32::MAX)
            .to_be_bytes(),
    );
    out.extend_from_slice(&message);
    out.into()
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// The status in a response; absent means 0.
fn parse(bytes: &[u8]) -> Option<u64> {
    let (prefix, rest) = bytes.split_at_checked(5)?;
    if prefix[0] != 0 {
        return None;
    }
    let length = u32::from_be_bytes(prefix[1..5].try_into().ok()?) as usize;
    let mut message = rest.get(..length)?;
    let mut status = 0;
    while !message.is_empty() {
        let tag = read_varint(&mut message)?;
        match tag & 7 {
            0 => {
                let value = read_varint(&mut message)?;
                if tag >> 3 == 1 {
                    status = value;
                }
            }
            2 => {
                let length = usize::try_from(read_varint(&mut message)?).ok()?;
                message = message.get(length..)?;
            }
            1 => message = message.get(8..)?,
            5 => message = message.get(4..)?,
            _ => return None,
        }
    }
    Some(status)
}

fn read_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::StreamBody;
    use hyper::body::{Frame, Incoming};
    use tokio::net::TcpListener;

    /// A health server written against hyper, whose answer is `status` or a gRPC error code.
    async fn server(status: Result<u8, &'static str>) -> (u16, JoinSet<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let service =
                hyper::service::service_fn(move |request: http::Request<Incoming>| async move {
                    assert_eq!(request.uri().path(), "/grpc.health.v1.Health/Check");
                    let body = request.into_body().collect().await.unwrap().to_bytes();
                    assert_eq!(&body[..], b"\0\0\0\0\x05\x0a\x03svc");
                    let mut trailers = http::HeaderMap::new();
                    let data = match status {
                        Ok(status) => {
                            trailers.insert("grpc-status", "0".parse().unwrap());
                            Bytes::copy_from_slice(&[0, 0, 0, 0, 2, 0x08, status])
                        }
                        Err(code) => {
                            trailers.insert("grpc-status", code.parse().unwrap());
                            Bytes::new()
                        }
                    };
                    let frames = vec![
                        Ok::<_, std::convert::Infallible>(Frame::data(data)),
                        Ok(Frame::trailers(trailers)),
                    ];
                    http::Response::builder()
                        .header("content-type", "application/grpc")
                        .body(StreamBody::new(futures::stream::iter(frames)))
                });
            let _ = hyper::server::conn::http2::Builder::new(hyper_util::rt::TokioExecutor::new())
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
        (port, tasks)
    }

    #[tokio::test]
    async fn a_serving_service_is_well_and_all_else_is_told() {
        for (status, expected) in [
            (Ok(1), None),
            (
                Ok(2),
                Some("service unhealthy (responded with \"NOT_SERVING\")"),
            ),
            (
                Err("12"),
                Some("does not implement the grpc health protocol"),
            ),
            (Err("5"), Some("code = 5")),
        ] {
            let (port, _tasks) = server(status).await;
            let answer = ask("127.0.0.1", port, "svc", Duration::from_secs(2)).await;
            match expected {
                None => assert_eq!(answer, Answer::Success),
                Some(text) => assert!(
                    matches!(&answer, Answer::Failure(m) if m.contains(text)),
                    "{answer:?}"
                ),
            }
        }
        let closed = ask("127.0.0.1", 1, "svc", Duration::from_secs(1)).await;
        assert!(
            matches!(&closed, Answer::Failure(m) if m.contains("failed to connect")),
            "{closed:?}"
        );
    }

    #[test]
    fn messages_are_read_as_protobuf_says() {
        assert_eq!(parse(&[0, 0, 0, 0, 0]), Some(0));
        assert_eq!(parse(&[0, 0, 0, 0, 2, 8, 1]), Some(1));
        assert_eq!(parse(&[0, 0, 0, 0, 5, 0x12, 1, b'x', 8, 2]), Some(2));
        assert_eq!(parse(&[0, 0, 0, 0, 9, 8]), None);
        assert_eq!(parse(&[1, 0, 0, 0, 0]), None);
        assert_eq!(parse(&[]), None);
        assert_eq!(&frame("")[..], [0, 0, 0, 0, 0]);
    }
}
