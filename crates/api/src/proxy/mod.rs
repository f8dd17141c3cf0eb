//! `log`, `exec`, `attach` and `portforward`: checked here, answered by the agent of the pod's node.

pub(crate) mod http;
mod insecure;

use crate::admission;
use crate::body::Body;
use crate::call::Call;
use crate::error::{Outcome, bad_request, fail, internal};
use crate::handlers::read;
use crate::kind::Kind;
use crate::request::{Query, encode};
use crate::values::{items, text};
use ::http::{Request, Response, Uri};
use consort_object::status::Status;
use futures::future::BoxFuture;
use serde_json::Value;

/// Why the agent of a node could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// No node of this name is connected.
    #[error("no agent is known for node {0:?}")]
    Unknown(String),
    /// The agent does not answer.
    #[error("dialing the agent of node {node:?}")]
    Unreachable {
        /// The node.
        node: String,
        /// The reason.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// The way to the agents of the nodes.
///
/// A request has the kubelet's path and query, and keeps the connection's upgrade handle among its
/// extensions: an agent that answers 101 takes over the caller's connection itself.
pub trait NodeConnector: Send + Sync {
    /// Ask the agent of a node.
    fn send(
        &self,
        node: &str,
        request: Request<Body>,
    ) -> BoxFuture<'static, Result<Response<Body>, ConnectError>>;
}

/// Serve a subresource that the node answers.
pub(crate) async fn forward(
    call: &Call,
    pods: &Kind,
    namespace: &str,
    name: &str,
    subresource: &str,
    body: Body,
) -> Outcome<Response<Body>> {
    let object = read::find(&call.inner.store, pods, Some(namespace), name)?;
    let pod = object.value().map_err(internal)?;
    if subresource != "log" {
        admission::connect(call, pods, subresource, Some(namespace), name, "").await?;
    }
    let node = text(&pod, &["spec", "nodeName"]);
    let path = match subresource {
        "portforward" => {
            ready(name, node)?;
            port_forward(namespace, name, &call.query)
        }
        "log" => {
            let container = container(&pod, name, &call.query, true)?;
            if node.is_empty() {
                // Nothing has run, so nothing was written.
                return Ok(crate::respond::text(::http::StatusCode::OK, ""));
            }
            logs(namespace, name, &container, &call.query)?
        }
        "exec" | "attach" => {
            let container = container(&pod, name, &call.query, false)?;
            if matches!(text(&pod, &["status", "phase"]), "Succeeded" | "Failed") {
                return Err(bad_request(format!(
                    "cannot exec into a container in a completed pod; current phase is {}",
                    text(&pod, &["status", "phase"])
                )));
            }
            ready(name, node)?;
            streams(subresource, namespace, name, &container, &call.query)?
        }
        other => return Err(internal(format!("{other} is not forwarded"))),
    };
    let uri: Uri = path.parse().map_err(internal)?;
    let request = to_node(call, uri, body);
    ask_node(call, node, request).await
}

/// The caller's request, aimed at an agent.
fn to_node(call: &Call, uri: Uri, body: Body) -> Request<Body> {
    let mut request = Request::new(body);
    *request.method_mut() = call.parts.method.clone();
    *request.uri_mut() = uri;
    *request.version_mut() = call.parts.version;
    *request.headers_mut() = call.parts.headers.clone();
    // The caller's credentials are not the node's business.
    request.headers_mut().remove(::http::header::AUTHORIZATION);
    *request.extensions_mut() = call.parts.extensions.clone();
    request
}

/// Ask the agent of a node.
async fn ask_node(call: &Call, node: &str, request: Request<Body>) -> Outcome<Response<Body>> {
    let Some(connector) = call.inner.connector() else {
        return fail(Status::service_unavailable(
            "this server is connected to no nodes",
        ));
    };
    connector.send(node, request).await.map_err(|error| {
        let mut text = error.to_string();
        if let Some(source) = std::error::Error::source(&error) {
            text = format!("{text}: {source}");
        }
        internal(text)
    })
}

/// A pod that has no node yet has nothing to connect to.
fn ready(name: &str, node: &str) -> Outcome<()> {
    if node.is_empty() {
        return Err(bad_request(format!(
            "pod {name} does not have a host assigned"
        )));
    }
    Ok(())
}

/// The container meant: the one named, or the only one.
fn container(pod: &Value, name: &str, query: &Query, log: bool) -> Outcome<String> {
    let names = |list: &str| -> Vec<&str> {
        items(pod, &["spec", list])
            .iter()
            .map(|container| text(container, &["name"]))
            .collect()
    };
    let main = names("containers");
    let init = names("initContainers");
    if let Some(wanted) = query.text("container") {
        let all = [main, init, names("ephemeralContainers")].concat();
        if all.contains(&wanted) {
            return Ok(wanted.to_owned());
        }
        return Err(bad_request(format!(
            "container {wanted} is not valid for pod {name}"
        )));
    }
    if let [only] = main.as_slice() {
        return Ok((*only).to_owned());
    }
    let mut message = format!(
        "a container name must be specified for pod {name}, choose one of: [{}]",
        main.join(" ")
    );
    if log && !init.is_empty() {
        message = format!(
            "{message} or one of the init containers: [{}]",
            init.join(" ")
        );
    }
    Err(bad_request(message))
}

fn logs(namespace: &str, pod: &str, container: &str, query: &Query) -> Outcome<String> {
    for field in ["tailLines", "limitBytes", "sinceSeconds"] {
        if let Some(text) = query.text(field)
            && text
                .parse::<i64>()
                .map_or(true, |number| number < i64::from(field != "tailLines"))
        {
            let detail = if field == "tailLines" {
                "must be greater than or equal to 0"
            } else {
                "must be greater than 0"
            };
            return fail(Status::failure(
                422,
                "Invalid",
                format!(
                    "PodLogOptions \"{pod}\" is invalid: {field}: Invalid value: {text}: {detail}"
                ),
            ));
        }
    }
    if query.text("sinceSeconds").is_some() && query.text("sinceTime").is_some() {
        return fail(Status::failure(
            422,
            "Invalid",
            format!(
                "PodLogOptions \"{pod}\" is invalid: sinceSeconds: Forbidden: at most one of `sinceTime` or `sinceSeconds` may be specified"
            ),
        ));
    }
    let mut pairs = Vec::new();
    for field in ["follow", "previous", "timestamps"] {
        if query.flag(field) {
            pairs.push(format!("{field}=true"));
        }
    }
    for field in [
        "sinceSeconds",
        "sinceTime",
        "tailLines",
        "limitBytes",
        "stream",
    ] {
        if let Some(value) = query.text(field) {
            pairs.push(format!("{field}={}", encode(value)));
        }
    }
    Ok(with_query(
        format!(
            "/containerLogs/{}/{}/{}",
            encode(namespace),
            encode(pod),
            encode(container)
        ),
        &pairs,
    ))
}

fn streams(
    subresource: &str,
    namespace: &str,
    pod: &str,
    container: &str,
    query: &Query,
) -> Outcome<String> {
    let mut pairs = Vec::new();
    for (from, to) in [
        ("stdin", "input"),
        ("stdout", "output"),
        ("stderr", "error"),
        ("tty", "tty"),
    ] {
        if query.flag(from) {
            pairs.push(format!("{to}=1"));
        }
    }
    if pairs.iter().all(|pair| pair == "tty=1") {
        return Err(bad_request(
            "you must specify at least 1 of stdin, stdout, stderr",
        ));
    }
    if subresource == "exec" {
        let mut commands = query.all("command").peekable();
        if commands.peek().is_none() {
            return Err(bad_request(
                "you must specify at least 1 command for the container",
            ));
        }
        pairs.extend(commands.map(|word| format!("command={}", encode(word))));
    }
    Ok(with_query(
        format!(
            "/{subresource}/{}/{}/{}",
            encode(namespace),
            encode(pod),
            encode(container)
        ),
        &pairs,
    ))
}

fn port_forward(namespace: &str, pod: &str, query: &Query) -> String {
    let ports: Vec<String> = query
        .all("ports")
        .flat_map(|ports| ports.split(','))
        .map(|port| format!("port={}", encode(port)))
        .collect();
    with_query(
        format!("/portForward/{}/{}", encode(namespace), encode(pod)),
        &ports,
    )
}

fn with_query(path: String, pairs: &[String]) -> String {
    if pairs.is_empty() {
        path
    } else {
        format!("{path}?{}", pairs.join("&"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_pod_of_several_containers_needs_the_name_of_one() {
        let pod = json!({"spec": {"containers": [{"name": "a"}, {"name": "b"}]}});
        let none = Query::default();
        let failure = container(&pod, "x", &none, false).unwrap_err();
        assert_eq!(
            failure.message,
            "a container name must be specified for pod x, choose one of: [a b]"
        );
        let named = Query::parse(Some("container=b"));
        assert_eq!(container(&pod, "x", &named, false).unwrap(), "b");
        let wrong = Query::parse(Some("container=c"));
        assert_eq!(
            container(&pod, "x", &wrong, false).unwrap_err().message,
            "container c is not valid for pod x"
        );
    }

    #[test]
    fn requests_are_put_in_the_kubelets_words() {
        let query = Query::parse(Some(
            "command=sh&command=-c&command=echo+hi&stdin=true&stdout=true&tty=true",
        ));
        assert_eq!(
            streams("exec", "ns", "p", "c", &query).unwrap(),
            "/exec/ns/p/c?input=1&output=1&tty=1&command=sh&command=-c&command=echo%20hi"
        );
        let query = Query::parse(Some("follow=true&tailLines=5"));
        assert_eq!(
            logs("ns", "p", "c", &query).unwrap(),
            "/containerLogs/ns/p/c?follow=true&tailLines=5"
        );
        assert!(logs("ns", "p", "c", &Query::parse(Some("tailLines=-1"))).is_err());
    }
}
