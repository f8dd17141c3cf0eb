//! Calling out: one HTTPS service that answers reviews, as a `clientConfig` names it.
//!
//! A `clientConfig` is a URL, or a service of the cluster that is resolved through its endpoint slices at
//! every new connection (so it works wherever pods can be reached, with no service address needed). The
//! certificate has to be signed by the configuration's `caBundle`, or by an authority of the host if there
//! is none; a self-signed certificate that *is* in the bundle is accepted too, as it is by Go's verifier,
//! for which most webhooks are set up.

use crate::values::{at, int, items, text};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use consort_object::LabelSelector;
use consort_store::{Key, Store};
use futures::future::BoxFuture;
use http::header::{ACCEPT, CONTENT_TYPE, HOST, HeaderValue};
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::Name;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
};
use serde_json::Value;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

/// The largest answer that is read.
const ANSWER_BYTES: usize = 3 * 1024 * 1024;
/// How long an unused connection is kept.
const IDLE: Duration = Duration::from_secs(90);

/// Why a webhook gave no answer. Its text begins as Go's HTTP client's does.
#[derive(Debug, thiserror::Error)]
#[error("Post {url:?}: {why}")]
pub(crate) struct CallError {
    url: String,
    why: String,
    /// It did not answer in time.
    pub timed_out: bool,
}

/// One service to call. Connections are kept and used again.
pub(crate) struct Endpoint {
    /// Scheme, host and path without a query.
    url: String,
    /// What is dialled: without a port where the resolver knows it.
    dial: String,
    host: HeaderValue,
    client: Client<HttpsConnector<HttpConnector<Resolver>>, Full<Bytes>>,
}

impl Endpoint {
    /// The service that a `clientConfig` (`url` or `service`, `caBundle`) names.
    ///
    /// # Errors
    /// In words, if there is neither, the URL is not an https one, or the bundle holds no certificate.
    pub(crate) fn new(config: &Value, store: &Store) -> Result<Self, String> {
        let (url, dial, resolver) = match (at(config, &["url"]), at(config, &["service"])) {
            (Some(Value::String(url)), None) => {
                let uri: Uri = url
                    .parse()
                    .map_err(|error| format!("url {url:?}: {error}"))?;
                if uri.scheme_str() != Some("https") || uri.host().is_none_or(str::is_empty) {
                    return Err(format!("url {url:?}: must be an https URL with a host"));
                }
                let plain = url.split(['?', '#']).next().unwrap_or(url).to_owned();
                (plain.clone(), plain, Resolver::Names)
            }
            (None, Some(service)) => {
                let (name, namespace) = (text(service, &["name"]), text(service, &["namespace"]));
                let port = match int(service, &["port"]) {
                    0 => 443,
                    port => {
                        u16::try_from(port).map_err(|_| format!("port {port}: out of range"))?
                    }
                };
                let path = text(service, &["path"]);
                let slash = if path.starts_with('/') || path.is_empty() {
                    ""
                } else {
                    "/"
                };
                let resolver = Resolver::Service {
                    store: store.clone(),
                    namespace: namespace.to_owned(),
                    name: name.to_owned(),
                    port,
                };
                (
                    format!("https://{name}.{namespace}.svc:{port}{slash}{path}"),
                    format!("https://{name}.{namespace}.svc{slash}{path}"),
                    resolver,
                )
            }
            _ => return Err("exactly one of url or service is required".into()),
        };
        let uri: Uri = url.parse().map_err(|error| format!("{url:?}: {error}"))?;
        let host = uri.authority().map_or("", |authority| authority.as_str());
        let host = HeaderValue::from_str(host).map_err(|error| format!("{url:?}: {error}"))?;
        let mut connector = HttpConnector::new_with_resolver(resolver);
        connector.enforce_http(false);
        connector.set_connect_timeout(Some(Duration::from_secs(30)));
        connector.set_nodelay(true);
        let connector = hyper_rustls::HttpsConnectorBuilder::new()
            .with_tls_config(tls(text(config, &["caBundle"]))?)
            .https_only()
            .enable_http1()
            .wrap_connector(connector);
        let client = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE)
            .pool_timer(TokioTimer::new())
            .build(connector);
        Ok(Self {
            url,
            dial,
            host,
            client,
        })
    }

    /// Send a review, take the answer's body. `timeout` bounds the whole call, and is told to the service.
    ///
    /// # Errors
    /// If it cannot be reached, does not answer in time, or answers with anything but 200.
    pub(crate) async fn post(&self, body: Bytes, timeout: Duration) -> Result<Bytes, CallError> {
        let query = format!("?timeout={}", go_duration(timeout));
        let failed = |why: String, timed_out: bool| CallError {
            url: format!("{}{query}", self.url),
            why,
            timed_out,
        };
        let work = async {
            let request = Request::post(format!("{}{query}", self.dial))
                .header(HOST, self.host.clone())
                .header(CONTENT_TYPE, "application/json")
                .header(ACCEPT, "application/json")
                .body(Full::new(body))
                .map_err(|error| failed(error.to_string(), false))?;
            let response = self
                .client
                .request(request)
                .await
                .map_err(|error| failed(causes(&error), false))?;
            let code = response.status();
            let read = Limited::new(response.into_body(), ANSWER_BYTES).collect();
            let body = read
                .await
                .map_err(|error| failed(error.to_string(), false))?;
            let body = body.to_bytes();
            if code != StatusCode::OK {
                let told: String = String::from_utf8_lossy(&body).chars().take(256).collect();
                return Err(failed(
                    format!("unexpected status {code}: {}", told.trim()),
                    false,
                ));
            }
            Ok(body)
        };
        match tokio::time::timeout(timeout, work).await {
            Ok(result) => result,
            Err(_) => Err(failed("context deadline exceeded".into(), true)),
        }
    }
}

/// Whole seconds as Go writes a duration.
fn go_duration(duration: Duration) -> String {
    if duration.subsec_millis() == 0 {
        format!("{}s", duration.as_secs())
    } else {
        format!("{}ms", duration.as_millis())
    }
}

/// The innermost causes of an error say what happened; the outer ones only where.
fn causes(error: &dyn std::error::Error) -> String {
    let mut parts = Vec::new();
    let mut next = error.source();
    while let Some(cause) = next {
        let text = cause.to_string();
        if parts
            .last()
            .is_none_or(|last: &String| !last.contains(&text))
        {
            parts.push(text);
        }
        next = cause.source();
    }
    if parts.is_empty() {
        error.to_string()
    } else {
        parts.join(": ")
    }
}

/// Finds the addresses of a webhook's host.
#[derive(Clone)]
enum Resolver {
    /// By the host's own name resolution.
    Names,
    /// The ready endpoints of a service.
    Service {
        store: Store,
        namespace: String,
        name: String,
        port: u16,
    },
}

impl tower::Service<Name> for Resolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = std::io::Error;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, host: Name) -> Self::Future {
        let found = match self {
            Self::Names => Ok(Found::Name(host.as_str().to_owned(), 0)),
            Self::Service {
                store,
                namespace,
                name,
                port,
            } => endpoints(store, namespace, name, *port),
        };
        Box::pin(async move {
            match found.map_err(std::io::Error::other)? {
                Found::Addresses(mut addresses) => {
                    // Whoever connects next should not always meet the same one.
                    let turn = rand::random_range(0..addresses.len().max(1));
                    addresses.rotate_left(turn);
                    Ok(addresses.into_iter())
                }
                Found::Name(name, port) => {
                    let all: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), port))
                        .await?
                        .collect();
                    Ok(all.into_iter())
                }
            }
        })
    }
}

enum Found {
    Addresses(Vec<SocketAddr>),
    Name(String, u16),
}

/// Where a port of a service is answered.
fn endpoints(store: &Store, namespace: &str, name: &str, port: u16) -> Result<Found, String> {
    let read = |error: consort_store::Error| error.to_string();
    let missing = || format!("service {name:?} not found");
    let key = Key::new("", "services", Some(namespace), name).map_err(|_| missing())?;
    let service = store.get(&key).map_err(read)?.ok_or_else(missing)?;
    let service = service.value().map_err(|error| error.to_string())?;
    if text(&service, &["spec", "type"]) == "ExternalName" {
        let target = text(&service, &["spec", "externalName"]).to_owned();
        return Ok(Found::Name(target, port));
    }
    let wanted = items(&service, &["spec", "ports"])
        .iter()
        .find(|entry| int(entry, &["port"]) == i64::from(port))
        .ok_or_else(|| format!("no service port {port} found for service {name:?}"))?;
    let port_name = text(wanted, &["name"]);
    let selector = LabelSelector::from_labels([("kubernetes.io/service-name", name)]);
    let prefix = Key::prefix("discovery.k8s.io", "endpointslices", Some(namespace));
    let page = store
        .range(&prefix, None, None, None, |head| selector.matches(head))
        .map_err(read)?;
    let mut addresses = Vec::new();
    for slice in page.objects {
        let slice = slice.value().map_err(|error| error.to_string())?;
        let Some(number) = items(&slice, &["ports"])
            .iter()
            .find(|entry| text(entry, &["name"]) == port_name)
            .and_then(|entry| u16::try_from(int(entry, &["port"])).ok())
        else {
            continue;
        };
        for endpoint in items(&slice, &["endpoints"]) {
            // An unknown readiness counts as ready.
            if at(endpoint, &["conditions", "ready"]).and_then(Value::as_bool) == Some(false) {
                continue;
            }
            for address in items(endpoint, &["addresses"]) {
                if let Some(ip) = address
                    .as_str()
                    .and_then(|text| text.parse::<IpAddr>().ok())
                {
                    addresses.push(SocketAddr::new(ip, number));
                }
            }
        }
    }
    if addresses.is_empty() {
        return Err(format!("no endpoints available for service {name:?}"));
    }
    Ok(Found::Addresses(addresses))
}

fn tls(bundle: &str) -> Result<ClientConfig, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    let mut own = Vec::new();
    if bundle.is_empty() {
        for certificate in rustls_native_certs::load_native_certs().certs {
            // What the host holds and rustls cannot read can sign nothing.
            let _ = roots.add(certificate);
        }
    } else {
        let wrong =
            |why: &dyn std::fmt::Display| format!("unable to load root certificates: {why}");
        let pem = STANDARD.decode(bundle).map_err(|error| wrong(&error))?;
        for certificate in CertificateDer::pem_slice_iter(&pem) {
            let certificate = certificate.map_err(|error| wrong(&error))?;
            roots
                .add(certificate.clone())
                .map_err(|error| wrong(&error))?;
            own.push(certificate);
        }
        if own.is_empty() {
            return Err(wrong(&"it holds no certificate"));
        }
    }
    if roots.is_empty() {
        return Err("there is no caBundle, and this host trusts no authority".into());
    }
    let inner = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .build()
        .map_err(|error| error.to_string())?;
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Verifier { inner, own }))
        .with_no_client_auth();
    Ok(config)
}

/// The usual verifier, which also takes a leaf that is itself one of the trusted certificates.
#[derive(Debug)]
struct Verifier {
    inner: Arc<WebPkiServerVerifier>,
    own: Vec<CertificateDer<'static>>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        stapled: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let result = self
            .inner
            .verify_server_cert(leaf, intermediates, name, stapled, now);
        let Err(error) = result else {
            return result;
        };
        if !self.own.iter().any(|trusted| trusted == leaf) {
            return Err(error);
        }
        // Trusted by itself: what is left to check is whose it is and when it holds.
        let parsed = ParsedCertificate::try_from(leaf)?;
        rustls::client::verify_server_name(&parsed, name)?;
        let (_, certificate) = x509_parser::parse_x509_certificate(leaf)
            .map_err(|_| rustls::Error::from(CertificateError::BadEncoding))?;
        let seconds = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        let validity = certificate.validity();
        if seconds < validity.not_before.timestamp() {
            return Err(CertificateError::NotValidYet.into());
        }
        if seconds > validity.not_after.timestamp() {
            return Err(CertificateError::Expired.into());
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner
            .verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner
            .verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn store() -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(consort_store::Options::new(dir.path().join("store"))).unwrap();
        (dir, store)
    }

    /// A server with a self-signed certificate for `name` that answers once with this body.
    async fn answering(name: &str, body: &'static str) -> (SocketAddr, String) {
        let pair = rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
        let bundle = STANDARD.encode(pair.cert.pem());
        let key = rustls::pki_types::PrivateKeyDer::try_from(pair.signing_key.serialize_der());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![pair.cert.der().clone()], key.unwrap())
            .unwrap();
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            use tokio::io::{AsyncReadExt, AsyncWriteExt};
            let (socket, _) = listener.accept().await.unwrap();
            let Ok(mut stream) = acceptor.accept(socket).await else {
                return;
            };
            let mut seen = vec![0; 64 * 1024];
            let length = stream.read(&mut seen).await.unwrap();
            let head = String::from_utf8_lossy(&seen[..length]).into_owned();
            let code = if head.starts_with("POST /review?timeout=5s ") {
                "200 OK"
            } else {
                "404 Not Found"
            };
            let answer = format!(
                "HTTP/1.1 {code}\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            );
            stream.write_all(answer.as_bytes()).await.unwrap();
            stream.shutdown().await.unwrap();
        });
        (address, bundle)
    }

    #[tokio::test]
    async fn a_self_signed_certificate_in_the_bundle_is_trusted_for_its_own_name_only() {
        let (_dir, store) = store();
        let (address, bundle) = answering("localhost", "yes").await;
        let url = format!("https://localhost:{}/review", address.port());
        let config = json!({"url": url, "caBundle": bundle});
        let endpoint = Endpoint::new(&config, &store).unwrap();
        let answer = endpoint
            .post(Bytes::from_static(b"{}"), Duration::from_secs(5))
            .await;
        assert_eq!(answer.unwrap(), "yes");

        let (address, bundle) = answering("elsewhere", "yes").await;
        let url = format!("https://localhost:{}/review", address.port());
        let endpoint = Endpoint::new(&json!({"url": url, "caBundle": bundle}), &store).unwrap();
        let error = endpoint
            .post(Bytes::from_static(b"{}"), Duration::from_secs(5))
            .await;
        let error = error.unwrap_err().to_string();
        assert!(error.contains("certificate"), "{error}");
    }

    #[tokio::test]
    async fn a_service_that_is_not_there_is_named() {
        let (_dir, store) = store();
        let (_, bundle) = answering("x", "").await;
        let config = json!({"service": {"name": "hook", "namespace": "ops", "path": "/review"}, "caBundle": bundle});
        let endpoint = Endpoint::new(&config, &store).unwrap();
        let error = endpoint
            .post(Bytes::new(), Duration::from_secs(5))
            .await
            .unwrap_err();
        let text = error.to_string();
        assert!(
            text.starts_with("Post \"https://hook.ops.svc:443/review?timeout=5s\""),
            "{text}"
        );
        assert!(text.contains("service \"hook\" not found"), "{text}");
    }

    #[test]
    fn what_is_not_https_or_has_no_certificate_is_refused() {
        let (_dir, store) = store();
        for config in [
            json!({}),
            json!({"url": "http://localhost/x", "caBundle": ""}),
            json!({"url": "https://localhost/x", "caBundle": "bm90aGluZw=="}),
            json!({"url": "https://localhost/x", "service": {"name": "a", "namespace": "b"}}),
        ] {
            assert!(Endpoint::new(&config, &store).is_err(), "{config}");
        }
    }
}
