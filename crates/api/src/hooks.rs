//! Calls from outside that bring no credentials of this server: webhooks of other systems.
//!
//! They prove themselves by what a receiver knows (a signature over the body, a token), so they are answered before
//! anyone asks who is calling.

use crate::api::Inner;
use crate::body::{self, Body, ReadError, full};
use bytes::Bytes;
use futures::future::BoxFuture;
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode, header::CONTENT_TYPE};
use std::sync::Arc;
use std::time::Duration;

/// Paths below this belong to receivers.
pub const PREFIX: &str = "/hooks/";

/// The largest body: GitHub sends up to 25 MiB, of which a push of any sense is a small part.
const MOST: usize = 4 << 20;
/// How long a call may take.
const LIMIT: Duration = Duration::from_secs(10);

/// An answer of a receiver: a status and a line for whoever looks at the sender's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The status.
    pub status: StatusCode,
    /// The line.
    pub text: String,
}

/// Takes the calls to paths below [`PREFIX`].
pub trait Receiver: Send + Sync {
    /// Answers a `POST`, whose head and whole body these are.
    fn receive(&self, head: Parts, body: Bytes) -> BoxFuture<'static, Reply>;
}

/// Answers a call if it is one to a receiver; gives it back otherwise.
pub(crate) async fn answer(
    inner: &Arc<Inner>,
    request: Request<Body>,
) -> Result<Response<Body>, Request<Body>> {
    if !request.uri().path().starts_with(PREFIX) {
        return Err(request);
    }
    let Some(receiver) = inner.receiver() else {
        return Err(request);
    };
    if request.method() != Method::POST {
        return Ok(reply(
            StatusCode::METHOD_NOT_ALLOWED,
            "only POST is taken here",
        ));
    }
    // Whoever has no credentials may not take the place of those who have.
    let Ok(_place) = inner.hooks.clone().try_acquire_owned() else {
        return Ok(reply(
            StatusCode::TOO_MANY_REQUESTS,
            "too many calls at once; try again",
        ));
    };
    let work = async {
        let (head, body) = request.into_parts();
        match body::read(body, MOST).await {
            Ok(bytes) => {
                let said = receiver.receive(head, bytes).await;
                reply(said.status, &said.text)
            }
            Err(ReadError::TooLarge { .. }) => {
                reply(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large")
            }
            Err(ReadError::Broken(_)) => reply(StatusCode::BAD_REQUEST, "the body cannot be read"),
        }
    };
    Ok(tokio::time::timeout(LIMIT, work)
        .await
        .unwrap_or_else(|_| reply(StatusCode::REQUEST_TIMEOUT, "it took too long")))
}

fn reply(status: StatusCode, text: &str) -> Response<Body> {
    let mut response = Response::new(full(format!("{text}\n")));
    *response.status_mut() = status;
    response.headers_mut().insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    response
}
