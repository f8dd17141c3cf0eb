//! Probing and hooks by an HTTP GET.
//!
//! Any status from 200 to 399 is well. Redirects are followed on the same host; one that leads to
//! another host ends the probe as well, as that host says nothing about this container. Certificates
//! are not verified: a probe asks whether something answers, not who.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode, Uri, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::{Container, HTTPGetAction};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::{Answer, port, tcp};

/// Most bytes of an answer that are read.
const BODY_MAX: usize = 10 * 1024;
/// Most redirects that are followed.
const REDIRECTS_MAX: usize = 10;

/// What is asked for.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    tls: bool,
    host: String,
    port: u16,
    path: String,
    headers: Vec<(HeaderName, HeaderValue)>,
}

/// The request that an action of a pod's spec asks for.
///
/// # Errors
/// When a port, path or header is not one.
pub(crate) fn request_of(
    action: &HTTPGetAction,
    container: &Container,
    pod_ip: &str,
) -> Result<Request, String> {
    let mut headers = Vec::new();
    for given in action.http_headers.iter().flatten() {
        let name: HeaderName = given
            .name
            .parse()
            .map_err(|_| format!("invalid header name {:?}", given.name))?;
        let value: HeaderValue = given
            .value
            .parse()
            .map_err(|_| format!("invalid value of header {name}"))?;
        headers.push((name, value));
    }
    let path = action
        .path
        .as_deref()
        .filter(|p| !p.is_empty())
        .unwrap_or("/");
    let path = if path.starts_with('/') {
        path.to_owned()
    } else {
        format!("/{path}")
    };
    Ok(Request {
        tls: action
            .scheme
            .as_deref()
            .is_some_and(|s| s.eq_ignore_ascii_case("https")),
        host: action
            .host
            .clone()
            .filter(|h| !h.is_empty())
            .unwrap_or_else(|| pod_ip.to_owned()),
        port: port(&action.port, container)?,
        path,
        headers,
    })
}

pub(super) async fn ask(request: &Request, timeout: Duration) -> Answer {
    match tokio::time::timeout(timeout, get(request)).await {
        Ok(Ok(status)) if status.is_success() || status.is_redirection() => Answer::Success,
        Ok(Ok(status)) => Answer::Failure(format!(
            "HTTP probe failed with statuscode: {}",
            status.as_u16()
        )),
        Ok(Err(message)) => Answer::Failure(message),
        Err(_) => Answer::Failure(format!(
            "Get \"{}\": context deadline exceeded (Client.Timeout exceeded while awaiting headers)",
            url(request)
        )),
    }
}

fn url(request: &Request) -> String {
    let scheme = if request.tls { "https" } else { "http" };
    format!("{scheme}://{}{}", authority(request), request.path)
}

fn authority(request: &Request) -> String {
    if request.host.contains(':') {
        format!("[{}]:{}", request.host, request.port)
    } else {
        format!("{}:{}", request.host, request.port)
    }
}

/// Asks, following redirects, and gives the status of the last answer.
///
/// # Errors
/// When there is no answer.
pub(crate) async fn get(request: &Request) -> Result<StatusCode, String> {
    let mut request = request.clone();
    for _ in 0..=REDIRECTS_MAX {
        let (status, location) = one(&request)
            .await
            .map_err(|message| format!("Get \"{}\": {message}", url(&request)))?;
        let Some(location) = location.filter(|_| status.is_redirection()) else {
            return Ok(status);
        };
        let Ok(target) = location.parse::<Uri>() else {
            return Ok(status);
        };
        if target.host().is_some_and(|host| host != request.host) {
            return Ok(status);
        }
        if let Some(scheme) = target.scheme_str() {
            request.tls = scheme == "https";
            request.port = target
                .port_u16()
                .unwrap_or(if request.tls { 443 } else { 80 });
        }
        request.path = target
            .path_and_query()
            .map_or_else(|| "/".to_owned(), ToString::to_string);
    }
    Err(format!("stopped after {REDIRECTS_MAX} redirects"))
}

async fn one(request: &Request) -> Result<(StatusCode, Option<String>), String> {
    let stream = TcpStream::connect((request.host.as_str(), request.port))
        .await
        .map_err(|error| format!("dial tcp {}: {}", authority(request), tcp::reason(&error)))?;
    if request.tls {
        let name = ServerName::try_from(request.host.clone()).map_err(|error| error.to_string())?;
        let connector = tokio_rustls::TlsConnector::from(TLS.clone()?);
        let stream = connector
            .connect(name, stream)
            .await
            .map_err(|error| error.to_string())?;
        exchange(request, stream).await
    } else {
        exchange(request, stream).await
    }
}

async fn exchange(
    request: &Request,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) -> Result<(StatusCode, Option<String>), String> {
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake::<_, Empty<Bytes>>(TokioIo::new(stream))
            .await
            .map_err(|error| error.to_string())?;
    let mut builder = http::Request::get(&request.path);
    if let Some(headers) = builder.headers_mut() {
        for (name, value) in &request.headers {
            headers.append(name, value.clone());
        }
        let mut default = |name: HeaderName, value: &str| {
            if !headers.contains_key(&name)
                && let Ok(value) = HeaderValue::from_str(value)
            {
                headers.insert(name, value);
            }
        };
        default(header::HOST, &authority(request));
        default(
            header::USER_AGENT,
            concat!("kube-probe/consort-", env!("CARGO_PKG_VERSION")),
        );
        default(header::ACCEPT, "*/*");
        default(header::CONNECTION, "close");
    }
    let message = builder
        .body(Empty::new())
        .map_err(|error| error.to_string())?;
    let talk = async {
        let response = sender.send_request(message).await.map_err(|error| {
            let mut text = error.to_string();
            if let Some(cause) = std::error::Error::source(&error) {
                text = format!("{text}: {cause}");
            }
            text
        })?;
        let status = response.status();
        let location = response
            .headers()
            .get(header::LOCATION)
            .and_then(|v| v.to_str().ok())
            .map(str::to_owned);
        // The body is read so that the server does not see a broken connection; a large one is cut.
        let _ = Limited::new(response.into_body(), BODY_MAX).collect().await;
        Ok((status, location))
    };
    // The connection is driven only for as long as the answer is being read.
    let drive = async {
        let _ = connection.await;
        std::future::pending::<()>().await;
    };
    tokio::select! {
        result = talk => result,
        () = drive => Err("connection closed".to_owned()),
    }
}

type SharedTls = Result<Arc<rustls::ClientConfig>, String>;

static TLS: LazyLock<SharedTls> = LazyLock::new(|| {
    let config = consort_tls::unverified().map_err(|error| error.to_string())?;
    Ok(Arc::new(config))
});

#[cfg(test)]
mod tests {
    #![allow(
        clippy::needless_pass_by_value,
        reason = "literals read better at the call"
    )]

    use super::*;
    use serde_json::json;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    /// Answers each connection with the next text and gives back what was asked.
    async fn server(answers: Vec<String>) -> (u16, tokio::task::JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let task = tokio::spawn(async move {
            let mut asked = Vec::new();
            for answer in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(stream.read_u8().await.unwrap());
                }
                asked.push(String::from_utf8(head).unwrap());
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
            asked
        });
        (port, task)
    }

    fn request(port: u16, extra: serde_json::Value) -> Request {
        let mut action = json!({"port": port, "host": "127.0.0.1"});
        action
            .as_object_mut()
            .unwrap()
            .extend(extra.as_object().unwrap().clone());
        request_of(
            &serde_json::from_value(action).unwrap(),
            &Container::default(),
            "127.0.0.1",
        )
        .unwrap()
    }

    fn answer(status: &str, headers: &str) -> String {
        format!("HTTP/1.1 {status}\r\nContent-Length: 2\r\n{headers}\r\nok")
    }

    const SECOND: Duration = Duration::from_secs(2);

    #[tokio::test]
    async fn statuses_below_four_hundred_are_well() {
        for (status, expected) in [
            ("200 OK", Answer::Success),
            ("399 Odd", Answer::Success),
            (
                "404 Not Found",
                Answer::Failure("HTTP probe failed with statuscode: 404".into()),
            ),
            (
                "503 No",
                Answer::Failure("HTTP probe failed with statuscode: 503".into()),
            ),
        ] {
            let (port, task) = server(vec![answer(status, "")]).await;
            assert_eq!(ask(&request(port, json!({})), SECOND).await, expected);
            task.await.unwrap();
        }
    }

    #[tokio::test]
    async fn path_and_headers_are_sent_as_given() {
        let (port, task) = server(vec![answer("200 OK", "")]).await;
        let wanted = request(
            port,
            json!({"path": "healthz?a=b", "httpHeaders": [{"name": "Host", "value": "shop.example"}, {"name": "X-A", "value": "1"}]}),
        );
        assert_eq!(ask(&wanted, SECOND).await, Answer::Success);
        let asked = task.await.unwrap().remove(0).to_lowercase();
        assert!(
            asked.starts_with("get /healthz?a=b http/1.1\r\n"),
            "{asked}"
        );
        assert!(
            asked.contains("\r\nhost: shop.example\r\n") && asked.contains("\r\nx-a: 1\r\n"),
            "{asked}"
        );
        assert!(asked.contains("user-agent: kube-probe/"), "{asked}");
    }

    #[tokio::test]
    async fn redirects_are_followed_on_the_same_host_only() {
        let (port, task) = server(vec![
            answer("302 Found", "Location: /other\r\n"),
            answer("500 Broken", ""),
        ])
        .await;
        assert!(matches!(
            ask(&request(port, json!({})), SECOND).await,
            Answer::Failure(_)
        ));
        assert!(task.await.unwrap()[1].starts_with("GET /other "));
        let (port, task) = server(vec![answer(
            "302 Found",
            "Location: http://elsewhere.invalid/\r\n",
        )])
        .await;
        assert_eq!(
            ask(&request(port, json!({})), SECOND).await,
            Answer::Success
        );
        task.await.unwrap();
    }

    #[tokio::test]
    async fn silence_and_refusal_are_failures() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let silent = ask(&request(port, json!({})), Duration::from_millis(100)).await;
        assert!(
            matches!(&silent, Answer::Failure(m) if m.contains("deadline exceeded")),
            "{silent:?}"
        );
        drop(listener);
        let refused = ask(&request(port, json!({})), SECOND).await;
        assert!(
            matches!(&refused, Answer::Failure(m) if m.contains("connection refused")),
            "{refused:?}"
        );
    }
}
