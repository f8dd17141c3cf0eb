//! What looks into pods: logs, exec, attach, port-forward, over the paths of the kubelet's server.
//!
//! | path | answered with |
//! |---|---|
//! | `/containerLogs/{ns}/{pod}/{container}` | the log as text, followed if asked |
//! | `/exec/{ns}/{pod}/{container}` | streams of a new process |
//! | `/attach/{ns}/{pod}/{container}` | streams of the container's own process |
//! | `/portForward/{ns}/{pod}` | connections to ports of the pod |
//! | `/stats/summary` | what the machine and its pods use |
//! | `/pods` | the pods of the node, as a list |
//! | `/healthz` | `ok` |
//!
//! Streams travel over WebSocket (`v5.channel.k8s.io` and before) or SPDY/3.1, as the client asks.
//! Whoever sends a request here has decided that its caller may make it.

mod channels;
mod logs;
mod port_forward;
mod process;
mod query;
mod remote;
mod spdy;
mod summary;
mod upgrade;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::agent::{Agent, LookupError};
use query::Query;

/// The body of requests and responses.
pub type Body = UnsyncBoxBody<Bytes, Box<dyn std::error::Error + Send + Sync>>;

/// Answers requests that look into the pods of a node. Cheap to clone.
#[derive(Clone)]
pub struct Streaming {
    agent: Agent,
    sessions: TaskTracker,
    shutdown: CancellationToken,
}

/// Why a request was not answered as asked; becomes a `Status`.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("{0}")]
    BadRequest(String),
    #[error("{0}")]
    NotFound(String),
    #[error("the server does not allow this method on the requested resource")]
    Method,
    #[error("{0}")]
    Internal(String),
}

impl Error {
    fn code(&self) -> (StatusCode, &'static str) {
        match self {
            Self::BadRequest(_) => (StatusCode::BAD_REQUEST, "BadRequest"),
            Self::NotFound(_) => (StatusCode::NOT_FOUND, "NotFound"),
            Self::Method => (StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed"),
            Self::Internal(_) => (StatusCode::INTERNAL_SERVER_ERROR, "InternalError"),
        }
    }

    fn response(&self) -> Response<Body> {
        let (code, reason) = self.code();
        let status = serde_json::json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.to_string(), "reason": reason, "code": code.as_u16(),
        });
        let mut response = json_text(&status);
        *response.status_mut() = code;
        response
    }
}

impl From<LookupError> for Error {
    fn from(error: LookupError) -> Self {
        match error {
            LookupError::Pod(_) => Self::NotFound(error.to_string()),
            LookupError::Container { .. } | LookupError::NotRunning(_) | LookupError::NoLog(_) => {
                Self::BadRequest(error.to_string())
            }
        }
    }
}

impl From<consort_runtime::Error> for Error {
    fn from(error: consort_runtime::Error) -> Self {
        Self::Internal(error.to_string())
    }
}

fn full(text: impl Into<Bytes>) -> Body {
    Full::new(text.into())
        .map_err(|never| match never {})
        .boxed_unsync()
}

fn empty() -> Body {
    full(Bytes::new())
}

fn only_get(method: &Method) -> Result<(), Error> {
    if method == Method::GET {
        Ok(())
    } else {
        Err(Error::Method)
    }
}

fn json_text(value: &serde_json::Value) -> Response<Body> {
    let mut response = Response::new(full(value.to_string()));
    let json = header::HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

impl Streaming {
    /// Answers for the pods that `agent` shows. Sessions end at `shutdown`.
    pub fn new(agent: Agent, shutdown: CancellationToken) -> Self {
        Self {
            agent,
            sessions: TaskTracker::new(),
            shutdown,
        }
    }

    /// Waits until every session has ended; call it after the shutdown.
    pub async fn closed(&self) {
        self.sessions.close();
        self.sessions.wait().await;
    }

    /// Answers one request. Upgraded connections are served by a session of their own.
    pub async fn handle(&self, request: Request<Body>) -> Response<Body> {
        match self.route(request).await {
            Ok(response) => response,
            Err(error) => error.response(),
        }
    }

    async fn route(&self, request: Request<Body>) -> Result<Response<Body>, Error> {
        let path = request.uri().path().to_owned();
        let query = Query::parse(request.uri().query().unwrap_or_default());
        let parts: Vec<String> = path
            .trim_matches('/')
            .split('/')
            .map(query::decode)
            .collect();
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        match parts.as_slice() {
            ["containerLogs", namespace, pod, container] => {
                only_get(request.method())?;
                self.logs(namespace, pod, container, &query).await
            }
            ["exec", namespace, pod, container] => {
                let command = query.all("command");
                if command.is_empty() {
                    return Err(Error::BadRequest(
                        "you must specify at least 1 command for the container".into(),
                    ));
                }
                let container = self.agent.pod(namespace, pod)?.container(container)?;
                let source = process::Source::Exec { container, command };
                self.remote(request, &query, source)
            }
            ["attach", namespace, pod, container] => {
                let container = self.agent.pod(namespace, pod)?.container(container)?;
                self.remote(request, &query, process::Source::Attach { container })
            }
            ["portForward", namespace, pod] => {
                let view = self.agent.pod(namespace, pod)?;
                if view.sandbox.is_none() {
                    return Err(Error::BadRequest(format!("pod {pod} is not running")));
                }
                self.port_forward(request, &query, view)
            }
            ["stats", "summary"] => {
                only_get(request.method())?;
                Ok(json_text(&summary::summary(&self.agent).await))
            }
            ["pods"] => {
                only_get(request.method())?;
                let pods: Vec<_> = self.agent.pods().into_iter().map(|view| view.pod).collect();
                let list = serde_json::json!({
                    "kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": pods,
                });
                Ok(json_text(&list))
            }
            ["healthz"] => {
                only_get(request.method())?;
                Ok(Response::new(full("ok")))
            }
            _ => Err(Error::NotFound(format!("no such path: {path}"))),
        }
    }
}
