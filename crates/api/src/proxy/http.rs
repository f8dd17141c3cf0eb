//! `proxy`: plain HTTP to a pod, a service or a node, with any method and any path below.
//!
//! The name may say more than a name: `[https:]NAME[:PORT]`. One connection is made for each request;
//! what is upgraded (a WebSocket) is passed on both ways until either side ends it. Certificates of what
//! is behind `https:` are not checked, as upstream does not either: there is nothing to check them against.

use super::insecure;
use crate::admission;
use crate::body::{Body, BodyError};
use crate::call::Call;
use crate::error::{Failure, Outcome, bad_request, fail, internal};
use crate::handlers::read::{self, store_failure};
use crate::kind::Kind;
use crate::request::Target;
use crate::values::{at, int, items, text};
use consort_object::LabelSelector;
use consort_object::status::Status;
use consort_store::Key;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Response, StatusCode, Uri};
use http_body_util::BodyExt;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(30);

/// What belongs to one connection and is not passed on.
const HOP_BY_HOP: [HeaderName; 6] = [
    header::CONNECTION,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
];

/// A name taken apart: `[https:]NAME[:PORT]`.
#[derive(Debug, PartialEq, Eq)]
struct Named<'a> {
    secure: bool,
    name: &'a str,
    port: &'a str,
}

impl<'a> Named<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let parts: Vec<&str> = text.split(':').collect();
        let (scheme, name, port) = match parts.as_slice() {
            [name] => ("", *name, ""),
            [name, port] => ("", *name, *port),
            [scheme, name, port] => (*scheme, *name, *port),
            _ => return None,
        };
        let known = matches!(scheme, "" | "http" | "https");
        (known && !name.is_empty()).then_some(Self {
            secure: scheme == "https",
            name,
            port,
        })
    }
}

/// Serve `proxy` of a pod, a service or a node.
pub(crate) async fn serve(
    call: &Call,
    kind: &Kind,
    target: &Target,
    body: Body,
) -> Outcome<Response<Body>> {
    let own = target.name.as_deref().unwrap_or_default();
    let Some(named) = Named::parse(own) else {
        return Err(bad_request(format!(
            "invalid {} request {own:?}",
            kind.kind.to_lowercase()
        )));
    };
    let (prefix, path) = split(call.parts.uri.path(), target);
    let upgrade = call.parts.headers.contains_key(header::UPGRADE);
    if path.is_empty() && !upgrade && matches!(call.parts.method, Method::GET | Method::HEAD) {
        return moved(call);
    }
    let path = if path.is_empty() { "/" } else { path };
    let namespace = target.namespace.as_deref();
    admission::connect(call, kind, "proxy", namespace, named.name, path).await?;
    let query = call.parts.uri.query().map(|query| format!("?{query}"));
    let uri: Uri = format!("{path}{}", query.unwrap_or_default())
        .parse()
        .map_err(|_| bad_request("the path to be proxied is malformed"))?;
    if kind.plural == "nodes" && matches!(named.port, "" | "10250") {
        read::find(&call.inner.store, kind, None, named.name)?;
        let request = super::to_node(call, uri, body);
        return super::ask_node(call, named.name, request).await;
    }
    let address = match kind.plural.as_str() {
        "pods" => pod(call, kind, target, &named)?,
        "services" => service(call, kind, target, &named)?,
        _ => node(call, kind, &named)?,
    };
    let unreachable = |why: String| {
        Box::new(Status::service_unavailable(format!(
            "error trying to reach service: {why}"
        )))
    };
    let stream = tokio::time::timeout(CONNECT, TcpStream::connect(address))
        .await
        .map_err(|_| unreachable(format!("dial tcp {address}: i/o timeout")))?
        .map_err(|why| unreachable(format!("dial tcp {address}: {why}")))?;
    let request = outgoing(call, uri, body, prefix, path, upgrade)?;
    let mut response = if named.secure {
        let stream = insecure::connect(stream, address.ip())
            .await
            .map_err(|why| unreachable(why.to_string()))?;
        exchange(call, stream, request).await
    } else {
        exchange(call, stream, request).await
    }
    .map_err(unreachable)?;
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return Ok(switched(call, response));
    }
    for name in HOP_BY_HOP {
        response.headers_mut().remove(name);
    }
    relocate(response.headers_mut(), prefix, call);
    Ok(response.map(incoming))
}

fn incoming(body: hyper::body::Incoming) -> Body {
    body.map_err(|error| Box::new(error) as BodyError)
        .boxed_unsync()
}

/// The request's path up to and with `proxy`, and what follows, as it was sent.
fn split<'a>(path: &'a str, target: &Target) -> (&'a str, &'a str) {
    // `/api/v1/[namespaces/NAMESPACE/]RESOURCE/NAME/proxy`
    let segments = if target.namespace.is_some() { 7 } else { 5 };
    let end = path
        .match_indices('/')
        .map(|(at, _)| at)
        .nth(segments)
        .unwrap_or(path.len());
    path.split_at(end)
}

/// Relative links of a page only lead to the right place if its path ends in a slash.
fn moved(call: &Call) -> Outcome<Response<Body>> {
    let uri = &call.parts.uri;
    let query = uri.query().map(|query| format!("?{query}"));
    Response::builder()
        .status(StatusCode::MOVED_PERMANENTLY)
        .header(
            header::LOCATION,
            format!("{}/{}", uri.path(), query.unwrap_or_default()),
        )
        .body(crate::body::empty())
        .map_err(internal)
}

/// Pods may not be used to reach what only the server's own host can.
fn allowed(address: &str) -> Outcome<IpAddr> {
    let refused = || bad_request("address not allowed");
    let ip: IpAddr = address.parse().map_err(|_| refused())?;
    let local = match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    if ip.is_loopback() || ip.is_unspecified() || ip.is_multicast() || local {
        return Err(refused());
    }
    Ok(ip)
}

fn port_number(port: &str) -> Outcome<u16> {
    port.parse()
        .map_err(|_| bad_request(format!("invalid port {port:?}")))
}

fn pod(call: &Call, kind: &Kind, target: &Target, named: &Named<'_>) -> Outcome<SocketAddr> {
    let namespace = target.namespace.as_deref();
    let pod = read::find(&call.inner.store, kind, namespace, named.name)?
        .value()
        .map_err(internal)?;
    let port = if named.port.is_empty() {
        // The first port any container names.
        items(&pod, &["spec", "containers"])
            .iter()
            .find_map(|container| items(container, &["ports"]).first())
            .map(|port| int(port, &["containerPort"]))
            .and_then(|port| u16::try_from(port).ok())
            .unwrap_or(if named.secure { 443 } else { 80 })
    } else {
        port_number(named.port)?
    };
    Ok(SocketAddr::new(
        allowed(text(&pod, &["status", "podIP"]))?,
        port,
    ))
}

fn node(call: &Call, kind: &Kind, named: &Named<'_>) -> Outcome<SocketAddr> {
    let node = read::find(&call.inner.store, kind, None, named.name)?
        .value()
        .map_err(internal)?;
    let address = items(&node, &["status", "addresses"])
        .iter()
        .find(|address| text(address, &["type"]) == "InternalIP")
        .map_or("", |address| text(address, &["address"]));
    Ok(SocketAddr::new(allowed(address)?, port_number(named.port)?))
}

/// One of the ready endpoints of a service's port.
fn service(call: &Call, kind: &Kind, target: &Target, named: &Named<'_>) -> Outcome<SocketAddr> {
    let namespace = target.namespace.as_deref();
    let store = &call.inner.store;
    let service = read::find(store, kind, namespace, named.name)?
        .value()
        .map_err(internal)?;
    let unavailable = |why: String| -> Failure { Box::new(Status::service_unavailable(why)) };
    let mut port = named.port;
    if let Ok(number) = port.parse::<i64>() {
        // A number means the service's port of that number, whose name the endpoints know.
        let own = items(&service, &["spec", "ports"])
            .iter()
            .find(|own| int(own, &["port"]) == number);
        port = match own {
            Some(own) => text(own, &["name"]),
            None => {
                return Err(unavailable(format!(
                    "no service port {number} found for service {:?}",
                    named.name
                )));
            }
        };
    }
    let selector = LabelSelector::from_labels([("kubernetes.io/service-name", named.name)]);
    let prefix = Key::prefix("discovery.k8s.io", "endpointslices", namespace);
    let page = store
        .range(&prefix, None, None, None, |head| selector.matches(head))
        .map_err(store_failure)?;
    let mut found = Vec::new();
    for slice in page.objects {
        let slice = slice.value().map_err(internal)?;
        let number = items(&slice, &["ports"])
            .iter()
            .find(|own| text(own, &["name"]) == port)
            .and_then(|own| u16::try_from(int(own, &["port"])).ok());
        let Some(number) = number else { continue };
        for endpoint in items(&slice, &["endpoints"]) {
            let ready = at(endpoint, &["conditions", "ready"]).and_then(Value::as_bool);
            if ready == Some(false) {
                continue;
            }
            let address = items(endpoint, &["addresses"])
                .first()
                .and_then(Value::as_str);
            if let Some(address) = address {
                found.push((address.to_owned(), number));
            }
        }
    }
    if found.is_empty() {
        return fail(Status::service_unavailable(format!(
            "no endpoints available for service {:?}",
            named.name
        )));
    }
    let (address, number) = found.swap_remove(rand::random_range(0..found.len()));
    Ok(SocketAddr::new(allowed(&address)?, number))
}

/// The request as what is behind the proxy sees it.
fn outgoing(
    call: &Call,
    uri: Uri,
    body: Body,
    prefix: &str,
    path: &str,
    upgrade: bool,
) -> Outcome<Request<Body>> {
    let mut headers = call.parts.headers.clone();
    // The caller's credentials are the server's business alone.
    headers.remove(header::AUTHORIZATION);
    let protocol = headers.get(header::UPGRADE).cloned();
    for name in HOP_BY_HOP {
        headers.remove(name);
    }
    headers.remove("keep-alive");
    headers.remove(header::UPGRADE);
    if upgrade && let Some(protocol) = protocol {
        headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(header::UPGRADE, protocol);
    }
    let host = call
        .parts
        .uri
        .authority()
        .and_then(|authority| HeaderValue::from_str(authority.as_str()).ok())
        .or_else(|| headers.get(header::HOST).cloned())
        .unwrap_or_else(|| HeaderValue::from_static("kubernetes"));
    let forwarded = HeaderValue::from_str(&format!("{prefix}{path}")).map_err(internal)?;
    headers.insert("x-forwarded-uri", forwarded);
    headers.insert("x-forwarded-host", host.clone());
    headers.insert("x-forwarded-proto", HeaderValue::from_static("https"));
    headers.insert(header::HOST, host);
    let mut request = Request::new(body);
    *request.method_mut() = call.parts.method.clone();
    *request.uri_mut() = uri;
    *request.headers_mut() = headers;
    Ok(request)
}

/// Send a request over a fresh connection, which lives as long as the answer's body or what it was
/// upgraded to.
async fn exchange<S>(
    call: &Call,
    stream: S,
    request: Request<Body>,
) -> Result<Response<hyper::body::Incoming>, String>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|why| why.to_string())?;
    let stop = call.inner.stop.clone();
    call.inner.tasks.spawn(async move {
        tokio::select! {
            () = stop.cancelled() => {}
            result = connection.with_upgrades() => {
                if let Err(error) = result {
                    tracing::debug!(%error, "a proxied connection broke");
                }
            }
        }
    });
    sender
        .send_request(request)
        .await
        .map_err(|why| why.to_string())
}

/// Join the caller's connection to the one behind the proxy.
fn switched(call: &Call, mut response: Response<hyper::body::Incoming>) -> Response<Body> {
    let theirs = hyper::upgrade::on(&mut response);
    let ours = call.parts.extensions.get::<OnUpgrade>().cloned();
    let stop = call.inner.stop.clone();
    call.inner.tasks.spawn(join(ours, theirs, stop));
    response.map(|_| crate::body::empty())
}

async fn join(ours: Option<OnUpgrade>, theirs: OnUpgrade, stop: CancellationToken) {
    let work = async {
        let Some(ours) = ours else {
            // The caller is in this process: there is no connection to hand over.
            return;
        };
        match futures::try_join!(ours, theirs) {
            Ok((ours, theirs)) => {
                let (mut ours, mut theirs) = (TokioIo::new(ours), TokioIo::new(theirs));
                // Either side may end it, in whatever way.
                let _ = tokio::io::copy_bidirectional(&mut ours, &mut theirs).await;
            }
            Err(error) => tracing::debug!(%error, "a proxied connection was not upgraded"),
        }
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = work => {}
    }
}

/// A redirect within what is behind the proxy has to lead through the proxy again.
fn relocate(headers: &mut HeaderMap, prefix: &str, call: &Call) {
    let Some(location) = headers
        .get(header::LOCATION)
        .and_then(|value| value.to_str().ok())
    else {
        return;
    };
    let Ok(uri) = location.parse::<Uri>() else {
        return;
    };
    let own = call
        .parts
        .headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    let elsewhere = uri
        .authority()
        .is_some_and(|authority| Some(authority.as_str()) != own);
    if elsewhere || !location_path(location).starts_with('/') || uri.path().starts_with(prefix) {
        return;
    }
    let query = uri.query().map(|query| format!("?{query}"));
    let through = format!("{prefix}{}{}", uri.path(), query.unwrap_or_default());
    if let Ok(value) = HeaderValue::from_str(&through) {
        headers.insert(header::LOCATION, value);
    }
}

fn location_path(location: &str) -> &str {
    match location.split_once("://") {
        Some((_, rest)) => rest.find('/').map_or("/", |at| &rest[at..]),
        None => location,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_may_carry_a_scheme_and_a_port() {
        let named = |text| Named::parse(text).map(|named| (named.secure, named.name, named.port));
        assert_eq!(named("web"), Some((false, "web", "")));
        assert_eq!(named("web:80"), Some((false, "web", "80")));
        assert_eq!(named("https:web:"), Some((true, "web", "")));
        assert_eq!(named("http:web:named"), Some((false, "web", "named")));
        for wrong in ["", ":80", "ftp:web:1", "a:b:c:d"] {
            assert_eq!(named(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn the_path_behind_the_proxy_is_passed_on_as_it_was_sent() {
        let inside = Target {
            namespace: Some("n".into()),
            ..Target::default()
        };
        let whole = "/api/v1/namespaces/n/pods/p/proxy/a%2Fb//c/";
        assert_eq!(
            split(whole, &inside),
            ("/api/v1/namespaces/n/pods/p/proxy", "/a%2Fb//c/")
        );
        assert_eq!(
            split("/api/v1/nodes/n/proxy", &Target::default()),
            ("/api/v1/nodes/n/proxy", "")
        );
    }

    #[test]
    fn only_what_pods_can_be_is_reached() {
        assert!(allowed("10.1.2.3").is_ok());
        for address in [
            "",
            "127.0.0.1",
            "169.254.1.1",
            "::1",
            "0.0.0.0",
            "224.0.0.1",
        ] {
            assert!(allowed(address).is_err(), "{address}");
        }
    }
}
