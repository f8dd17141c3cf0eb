//! Providers and modules from a registry that speaks TLS with a certificate of an authority of its own.
//!
//! Which authorities are trusted is read from the environment, which a test cannot change for itself: this one runs
//! itself once more, as a program with that environment.

use std::collections::HashMap;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use bytes::Bytes;
use consort_infra::config::{Requirements, parse_provider_source};
use consort_infra::install::cli_config::{Location, Method};
use consort_infra::install::{CliConfig, Installer, Locks, Mode, Platform};
use http_body_util::Full;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

const ZIP: &[u8] = include_bytes!("testdata/provider-demo.zip");
const SUMS: &str = include_str!("testdata/provider-demo_SHA256SUMS");
const SIGNATURE: &[u8] = include_bytes!("testdata/provider-demo_SHA256SUMS.sig");
const KEY: &str = include_str!("testdata/provider-demo.asc");

/// Where the child finds the registry, and which token it is to use.
const HOST: &str = "CONSORT_TEST_REGISTRY";
const TOKEN: &str = "CONSORT_TEST_TOKEN";

fn answer(path: &str, authorized: bool) -> (u16, Vec<u8>) {
    let platform = Platform::current();
    let name = format!("terraform-provider-demo_1.2.0_{platform}.zip");
    let json = |value: serde_json::Value| (200, value.to_string().into_bytes());
    if path == "/.well-known/terraform.json" {
        return json(serde_json::json!({"providers.v1": "/providers/"}));
    }
    if path.starts_with("/providers/") && !authorized {
        return (401, Vec::new());
    }
    match path {
        "/providers/acme/demo/versions" => {
            json(serde_json::json!({"versions": [{"version": "1.2.0"}]}))
        }
        "/files/zip" => (200, ZIP.to_vec()),
        "/files/SUMS" => (200, SUMS.into()),
        "/files/SUMS.sig" => (200, SIGNATURE.to_vec()),
        path if path.starts_with("/providers/acme/demo/1.2.0/download/") => {
            json(serde_json::json!({
                "protocols": ["5.0"], "os": platform.os, "arch": platform.arch, "filename": name,
                "download_url": "/files/zip", "shasum": SUMS.split_whitespace().next(),
                "shasums_url": "/files/SUMS", "shasums_signature_url": "/files/SUMS.sig",
                "signing_keys": { "gpg_public_keys": [{ "key_id": "x", "ascii_armor": KEY }] },
            }))
        }
        _ => (404, Vec::new()),
    }
}

/// A server at `localhost`, whose authority's certificate goes to `authority`. Gives its port.
async fn serve(authority: &Path) -> (u16, tokio::task::JoinSet<()>) {
    let ca_key = rcgen::KeyPair::generate().unwrap();
    let mut ca = rcgen::CertificateParams::new(Vec::new()).unwrap();
    ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    std::fs::write(authority, ca.self_signed(&ca_key).unwrap().pem()).unwrap();
    let issuer = rcgen::Issuer::new(ca, ca_key);
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(vec!["localhost".to_owned()])
        .and_then(|params| params.signed_by(&key, &issuer))
        .unwrap();
    let _ = rustls::crypto::ring::default_provider().install_default();
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::Pkcs8(key.serialize_der().into()),
        )
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(async move {
        let mut connections = tokio::task::JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            connections.spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else {
                    return;
                };
                let service = service_fn(|request: Request<hyper::body::Incoming>| async move {
                    let authorized = request
                        .headers()
                        .get("authorization")
                        .is_some_and(|value| value == "Bearer sesame");
                    let (status, body) = answer(request.uri().path(), authorized);
                    Response::builder()
                        .status(status)
                        .header("content-type", "application/json")
                        .body(Full::new(Bytes::from(body)))
                });
                let _ = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    });
    (port, tasks)
}

/// What the child does: installs, and says what came of it.
async fn install(host: &str) -> Result<String, String> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("cli.tfrc");
    let token = std::env::var(TOKEN).unwrap();
    std::fs::write(
        &path,
        format!("credentials \"{host}\" {{\n  token = \"{token}\"\n}}\n"),
    )
    .unwrap();
    let mut config = CliConfig::default();
    config.add_file(&path, &HashMap::new()).unwrap();
    let provider = parse_provider_source(&format!("{host}/acme/demo")).unwrap();
    let installer = Installer::new(&Arc::new(config), &HashMap::new())
        .unwrap()
        .with_methods(vec![Method::for_all(Location::Direct)]);
    let (locks, failures) = installer
        .install(
            &Requirements::from([(provider, "~> 1.1".parse().unwrap())]),
            &Locks::default(),
            Mode::Locked,
            &directory.path().join("providers"),
            &mut |_| {},
        )
        .await;
    match failures.first() {
        Some(failure) => Err(failure.error.to_string()),
        None => Ok(locks.text()),
    }
}

#[tokio::test]
async fn a_registry_is_trusted_by_its_authority_and_asks_for_credentials() {
    if let Ok(host) = std::env::var(HOST) {
        println!("outcome: {:?}", install(&host).await);
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let authority = directory.path().join("authority.pem");
    let (port, _server) = serve(&authority).await;
    let nobody = directory.path().join("nobody.pem");
    let other = rcgen::generate_simple_self_signed(vec!["other.test".to_owned()]).unwrap();
    std::fs::write(&nobody, other.cert.pem()).unwrap();
    for (authority, token, expected) in [
        (&authority, "sesame", "outcome: Ok("),
        (
            &authority,
            "wrong",
            "rejected the given authentication credentials",
        ),
        (&nobody, "sesame", "certificate"),
    ] {
        let mut child = Command::new(std::env::current_exe().unwrap());
        child
            .args([
                "--exact",
                "--nocapture",
                "a_registry_is_trusted_by_its_authority_and_asks_for_credentials",
            ])
            .env(HOST, format!("localhost:{port}"))
            .env(TOKEN, token)
            .env("SSL_CERT_FILE", authority)
            .env_remove("SSL_CERT_DIR");
        let output = tokio::task::spawn_blocking(move || child.output().unwrap())
            .await
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(said.contains(expected), "{said}");
        assert!(!expected.contains("Ok(") || said.contains("h1:"), "{said}");
    }
}
