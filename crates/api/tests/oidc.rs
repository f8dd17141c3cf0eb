//! Tokens of an identity provider: a small one on loopback, over TLS.
#![allow(missing_docs)]

mod support;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use consort_api::identity::oidc::config;
use http::{Method, Response};
use http_body_util::Full;
use hyper_util::rt::{TokioExecutor, TokioIo};
use parking_lot::Mutex;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::{Value, json};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use support::{Server, request};
use tokio::task::JoinSet;

/// A key of the provider, and its name.
struct Key {
    pair: EcdsaKeyPair,
    id: String,
}

impl Key {
    fn new(id: &str) -> Self {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let random = ring::rand::SystemRandom::new();
        let der = key.serialize_der();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &der, &random);
        Self {
            pair: pair.unwrap(),
            id: id.to_owned(),
        }
    }

    fn published(&self) -> Value {
        let point = self.pair.public_key().as_ref();
        json!({"kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": self.id,
            "x": URL_SAFE_NO_PAD.encode(&point[1..33]), "y": URL_SAFE_NO_PAD.encode(&point[33..])})
    }

    fn sign(&self, claims: &Value) -> String {
        let header = json!({"alg": "ES256", "kid": self.id}).to_string();
        let mut token = URL_SAFE_NO_PAD.encode(header);
        token.push('.');
        token.push_str(&URL_SAFE_NO_PAD.encode(claims.to_string()));
        let random = ring::rand::SystemRandom::new();
        let signature = self.pair.sign(&random, token.as_bytes()).unwrap();
        format!("{token}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

/// The provider.
struct Provider {
    url: String,
    authority: String,
    keys: Arc<Mutex<Vec<Value>>>,
    asked: Arc<AtomicUsize>,
    _tasks: JoinSet<()>,
}

impl Provider {
    async fn start() -> Self {
        let own = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let authority = params.self_signed(&own).unwrap();
        let issuer = rcgen::Issuer::new(params, own);
        let key = rcgen::KeyPair::generate().unwrap();
        let leaf = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        let leaf = leaf.signed_by(&key, &issuer).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![leaf.der().clone()],
                rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
            )
            .unwrap();
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(tls));
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .unwrap();
        let url = format!("https://{}/tenant", listener.local_addr().unwrap());
        let keys = Arc::new(Mutex::new(Vec::new()));
        let asked = Arc::new(AtomicUsize::new(0));
        let mut tasks = JoinSet::new();
        let (place, published, count) = (url.clone(), keys.clone(), asked.clone());
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((socket, _)) = listener.accept().await {
                let (acceptor, place) = (acceptor.clone(), place.clone());
                let (published, count) = (published.clone(), count.clone());
                connections.spawn(async move {
                    let Ok(stream) = acceptor.accept(socket).await else {
                        return;
                    };
                    let service = hyper::service::service_fn(
                        move |asked: http::Request<hyper::body::Incoming>| {
                            let answer = match asked.uri().path() {
                                "/tenant/.well-known/openid-configuration" => {
                                    json!({"issuer": place, "jwks_uri": format!("{place}/keys")})
                                }
                                "/tenant/keys" => {
                                    count.fetch_add(1, Ordering::SeqCst);
                                    json!({"keys": *published.lock()})
                                }
                                other => json!({ "error": other }),
                            };
                            let body = Full::new(Bytes::from(answer.to_string()));
                            std::future::ready(Ok::<_, std::convert::Infallible>(Response::new(
                                body,
                            )))
                        },
                    );
                    let _ = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new())
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Self {
            url,
            authority: authority.pem(),
            keys,
            asked,
            _tasks: tasks,
        }
    }

    fn configuration(&self) -> String {
        let authority = self.authority.replace('\n', "\n      ");
        format!(
            "apiVersion: apiserver.config.k8s.io/v1
kind: AuthenticationConfiguration
jwt:
- issuer:
    url: {}
    audiences: [app]
    certificateAuthority: |
      {authority}
  claimValidationRules: [{{claim: team, requiredValue: blue}}]
  claimMappings:
    username: {{claim: sub, prefix: 'idp:'}}
    groups: {{claim: roles, prefix: 'idp:'}}
",
            self.url
        )
    }
}

fn claims(provider: &Provider) -> Value {
    let end = jiff::Timestamp::now().as_second() + 600;
    json!({"iss": provider.url, "aud": "app", "sub": "joe", "team": "blue", "roles": ["dev"],
        "exp": end})
}

#[tokio::test]
async fn a_providers_tokens_are_accepted_as_configured() {
    let provider = Provider::start().await;
    let first = Key::new("k1");
    provider.keys.lock().push(first.published());
    let read = config::parse(&provider.configuration(), "https://issuer.test").unwrap();
    let server = Server::start_with(|options| options.issuers = read.issuers).await;
    let ask = async |token: &str| {
        let path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
        let asked = request(Method::POST, path, "application/json", "{}");
        server.ask_by(asked, token).await
    };
    let good = claims(&provider);
    let answer = ask(&first.sign(&good)).await;
    assert_eq!(answer.code, 201, "{:?}", answer.bytes);
    let me = &answer.json()["status"]["userInfo"];
    assert_eq!(me["username"], "idp:joe");
    assert_eq!(me["groups"], json!(["idp:dev", "system:authenticated"]));
    for (claim, value) in [
        ("aud", json!("other")),
        ("team", json!("red")),
        ("exp", json!(1)),
        ("iss", json!("https://elsewhere.test")),
        ("sub", json!(7)),
    ] {
        let mut wrong = good.clone();
        wrong[claim] = value;
        assert_eq!(ask(&first.sign(&wrong)).await.code, 401, "{claim}");
    }
    // A key that was never published, under the name of one that was.
    let forged = Key::new("k1");
    assert_eq!(ask(&forged.sign(&good)).await.code, 401);
    let asked = provider.asked.load(Ordering::SeqCst);
    for _ in 0..20 {
        assert_eq!(ask(&Key::new("k9").sign(&good)).await.code, 401);
    }
    assert!(
        provider.asked.load(Ordering::SeqCst) <= asked + 1,
        "strangers do not make the server ask again and again"
    );
    let list = json!({"spec": {"token": first.sign(&good)}});
    let reviewed = server
        .post("/apis/authentication.k8s.io/v1/tokenreviews", &list)
        .await
        .json();
    assert_eq!(reviewed["status"]["user"]["username"], "idp:joe");
}

#[tokio::test]
async fn a_provider_that_is_away_refuses_its_tokens_only() {
    let mut issuer = config::Issuer::new("https://127.0.0.1:1", vec!["app".to_owned()]);
    issuer.authority = None;
    let server = Server::start_with(|options| options.issuers = vec![issuer]).await;
    let token = Key::new("k").sign(&json!({"iss": "https://127.0.0.1:1", "aud": "app",
        "sub": "joe", "exp": jiff::Timestamp::now().as_second() + 60}));
    let asked = request(Method::GET, "/version", "", "");
    assert_eq!(server.ask_by(asked, &token).await.code, 401);
    assert_eq!(server.get("/version").await.code, 200);
}
