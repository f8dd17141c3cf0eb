//! The provider's side: a gRPC server with the handshake and TLS of real plugins, and bad habits by request.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use base64::Engine;
use bytes::{BufMut, Bytes, BytesMut};
use consort_hcl::{Type, Value, msgpack};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use tokio_util::sync::CancellationToken;

use super::super::wire;

/// What this process was asked to be.
struct Fixture {
    behaviour: String,
    directory: PathBuf,
    stopped: CancellationToken,
    ended: CancellationToken,
}

/// Serves until told to shut down. Not a test: it is run as a process of its own by the tests.
#[test]
#[ignore = "the plugin process of the other tests"]
fn serve() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(run());
}

fn say(line: &str) {
    let mut out = std::fs::OpenOptions::new()
        .write(true)
        .open("/proc/self/fd/3")
        .unwrap();
    writeln!(out, "{line}").unwrap();
}

fn note(path: PathBuf) {
    let mut file = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .unwrap();
    file.write_all(b"x").unwrap();
}

async fn run() {
    let behaviour = std::env::var("FIXTURE_BEHAVIOUR").unwrap();
    let directory = PathBuf::from(std::env::var("FIXTURE_DIRECTORY").unwrap());
    match behaviour.as_str() {
        "not a plugin" => {
            say("This binary is a plugin. These are not meant to be executed directly.");
            return;
        }
        "exits" => {
            eprintln!("[ERROR] the fixture cannot find its settings");
            std::process::exit(3);
        }
        "silent" => loop {
            tokio::time::sleep(std::time::Duration::from_secs(3600)).await;
        },
        "plain tcp" => {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            say(&format!("1|6|tcp|{}|grpc", listener.local_addr().unwrap()));
            let _ = listener.accept().await;
            return;
        }
        _ => {}
    }
    let (certificate, key) = certificate();
    let announced = if behaviour == "other certificate" {
        self::certificate().0
    } else {
        certificate.clone()
    };
    let client =
        CertificateDer::from_pem_slice(std::env::var("PLUGIN_CLIENT_CERT").unwrap().as_bytes())
            .unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(Arc::new(OnlyThis { client, provider }))
        .with_single_cert(vec![certificate], key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let socket = directory.join(format!("{}.sock", std::process::id()));
    let listener = tokio::net::UnixListener::bind(&socket).unwrap();
    let protocol = if behaviour == "v5" { 5 } else { 6 };
    let encoded = base64::engine::general_purpose::STANDARD_NO_PAD.encode(&announced);
    say(&format!(
        "1|{protocol}|unix|{}|grpc|{encoded}",
        socket.display()
    ));
    if behaviour == "large" {
        // More than a pipe holds.
        for _ in 0..5000 {
            say("noise that nobody asked for, and that must not stop anything from working");
        }
    }
    let fixture = Arc::new(Fixture {
        behaviour,
        directory,
        stopped: CancellationToken::new(),
        ended: CancellationToken::new(),
    });
    let (stream, _) = listener.accept().await.unwrap();
    let Ok(stream) = acceptor.accept(stream).await else {
        return;
    };
    let ended = fixture.ended.clone();
    let service = hyper::service::service_fn(move |request| answer(Arc::clone(&fixture), request));
    let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
        .serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        _ = connection => {}
        () = ended.cancelled() => {}
    }
    let _ = std::fs::remove_file(socket);
}

fn certificate() -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    (
        params.self_signed(&key).unwrap().der().clone(),
        PrivateKeyDer::Pkcs8(key.serialize_der().into()),
    )
}

/// Takes the one client it was started by.
#[derive(Debug)]
struct OnlyThis {
    client: CertificateDer<'static>,
    provider: Arc<rustls::crypto::CryptoProvider>,
}

impl ClientCertVerifier for OnlyThis {
    fn root_hint_subjects(&self) -> &[rustls::DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: rustls::pki_types::UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        assert_eq!(end_entity.as_ref(), self.client.as_ref());
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

type Body = StreamBody<
    futures::stream::Iter<std::vec::IntoIter<Result<Frame<Bytes>, std::convert::Infallible>>>,
>;

async fn answer(
    fixture: Arc<Fixture>,
    request: http::Request<Incoming>,
) -> Result<http::Response<Body>, std::convert::Infallible> {
    let method = request
        .uri()
        .path()
        .rsplit('/')
        .next()
        .unwrap_or_default()
        .to_owned();
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let outcome = fixture.handle(&method, body.slice(5..)).await;
    let mut frames = Vec::new();
    let mut trailers = http::HeaderMap::new();
    match outcome {
        Some(message) => {
            let mut head = BytesMut::with_capacity(5);
            head.put_u8(0);
            head.put_u32(message.len() as u32);
            frames.push(Ok(Frame::data(head.freeze())));
            frames.push(Ok(Frame::data(message)));
            trailers.insert("grpc-status", "0".parse().unwrap());
        }
        None => {
            trailers.insert("grpc-status", "12".parse().unwrap());
            trailers.insert("grpc-message", "no such%20method".parse().unwrap());
        }
    }
    frames.push(Ok(Frame::trailers(trailers)));
    let body = StreamBody::new(futures::stream::iter(frames));
    Ok(http::Response::builder()
        .header("content-type", "application/grpc")
        .body(body)
        .unwrap())
}

fn ty() -> Type {
    Type::object([
        ("id", Type::String),
        ("name", Type::String),
        ("token", Type::String),
    ])
}

fn read(value: Option<wire::DynamicValue>, ty: &Type) -> Value {
    msgpack::decode(&value.unwrap().msgpack, ty).unwrap()
}

fn written(value: &Value, ty: &Type) -> wire::DynamicValue {
    wire::DynamicValue {
        msgpack: msgpack::encode(value, ty).unwrap().into(),
        json: Bytes::new(),
    }
}

fn object(id: Value, name: Value, token: Value) -> Value {
    Value::object([("id", id), ("name", name), ("token", token)])
}

fn error(summary: &str) -> wire::Diagnostic {
    wire::Diagnostic {
        severity: 1,
        summary: summary.to_owned(),
        detail: String::new(),
        attribute: None,
    }
}

impl Fixture {
    async fn handle(&self, method: &str, body: Bytes) -> Option<Bytes> {
        let message = match method {
            "GetSchema" => {
                note(self.directory.join("schema-requests"));
                schema_v5().encode_to_vec()
            }
            "GetProviderSchema" => {
                note(self.directory.join("schema-requests"));
                schema_v6().encode_to_vec()
            }
            "GetResourceIdentitySchemas" => identities().encode_to_vec(),
            "PrepareProviderConfig"
            | "ValidateProviderConfig"
            | "Configure"
            | "ConfigureProvider" => {
                let config = if method.starts_with("Configure") {
                    let request = wire::ConfigureRequest::decode(body).unwrap();
                    assert_eq!(request.terraform_version, "1.11.4");
                    request.config
                } else {
                    wire::ConfigRequest::decode(body).unwrap().config
                };
                let config = read(config, &Type::object([("region", Type::String)]));
                assert_eq!(config.attribute("region").unwrap().as_str(), Some("here"));
                Vec::new()
            }
            "ValidateResourceTypeConfig" | "ValidateResourceConfig" => {
                let steps = vec![wire::Step {
                    selector: Some(wire::Selector::AttributeName("name".to_owned())),
                }];
                let said = wire::Diagnostic {
                    attribute: Some(wire::AttributePath { steps }),
                    ..error("that is a bad name")
                };
                wire::DiagnosticsResponse {
                    diagnostics: vec![said],
                }
                .encode_to_vec()
            }
            "PlanResourceChange" => {
                let request = wire::PlanRequest::decode(body).unwrap();
                let proposed = read(request.proposed, &ty());
                let name = proposed.attribute("name").unwrap();
                let planned = object(
                    Value::unknown_not_null(Type::String),
                    name,
                    Value::null(Type::String),
                );
                wire::PlanResponse {
                    state: Some(written(&planned, &ty())),
                    ..wire::PlanResponse::default()
                }
                .encode_to_vec()
            }
            "ApplyResourceChange" => self
                .apply(wire::ApplyRequest::decode(body).unwrap())
                .await
                .encode_to_vec(),
            "ReadResource" => {
                let request = wire::ReadRequest::decode(body).unwrap();
                wire::ReadResponse {
                    state: request.current,
                    private: request.private,
                    ..wire::ReadResponse::default()
                }
                .encode_to_vec()
            }
            "CallFunction" => {
                function(&wire::CallFunctionRequest::decode(body).unwrap()).encode_to_vec()
            }
            "Stop" | "StopProvider" => {
                self.stopped.cancel();
                wire::StopResponse::default().encode_to_vec()
            }
            "Shutdown" => {
                if self.behaviour != "hangs for good" {
                    self.ended.cancel();
                }
                Vec::new()
            }
            _ => return None,
        };
        Some(message.into())
    }

    async fn apply(&self, request: wire::ApplyRequest) -> wire::ApplyResponse {
        let config = read(request.config, &ty());
        assert_eq!(config.attribute("token").unwrap().as_str(), Some("secret"));
        let planned = read(request.planned, &ty());
        let name = planned.attribute("name").unwrap();
        let id = Value::string(format!("thing-{}", name.as_str().unwrap()));
        let null = Value::null(Type::String);
        let mut response = wire::ApplyResponse {
            private: "private".into(),
            ..wire::ApplyResponse::default()
        };
        let state = match self.behaviour.as_str() {
            "dies" => {
                eprintln!("panic: the fixture gives up");
                std::process::abort();
            }
            "hangs" => {
                note(self.directory.join("applying"));
                self.stopped.cancelled().await;
                response.diagnostics.push(error("stopped"));
                object(id, name, null)
            }
            "hangs for good" => {
                note(self.directory.join("applying"));
                std::future::pending().await
            }
            "inconsistent" => object(id, Value::string("another"), Value::string("leaked")),
            _ => object(id, name, null),
        };
        response.state = Some(written(&state, &ty()));
        response
    }
}

fn function(request: &wire::CallFunctionRequest) -> wire::CallFunctionResponse {
    let numbers: Vec<Value> = request
        .arguments
        .iter()
        .map(|a| msgpack::decode(&a.msgpack, &Type::Number).unwrap())
        .collect();
    if numbers.iter().any(|n| {
        n.as_number()
            .is_some_and(|n| n.to_string().starts_with('-'))
    }) {
        let error = wire::FunctionError {
            text: "no negative numbers".to_owned(),
            argument: Some(1),
        };
        return wire::CallFunctionResponse {
            result: None,
            error: Some(error),
        };
    }
    let result = if request.name == "large" {
        let length = numbers[0]
            .as_number()
            .and_then(consort_hcl::Number::to_usize)
            .unwrap();
        written(&Value::string("x".repeat(length)), &Type::String)
    } else {
        written(&numbers[0].add(&numbers[1]), &Type::Number)
    };
    wire::CallFunctionResponse {
        result: Some(result),
        error: None,
    }
}

fn functions() -> std::collections::HashMap<String, wire::Function> {
    let parameter = |name: &str| wire::Parameter {
        name: name.to_owned(),
        ty: "\"number\"".into(),
        ..wire::Parameter::default()
    };
    let add = wire::Function {
        parameters: vec![parameter("a"), parameter("b")],
        returns: Some(wire::Return {
            ty: "\"number\"".into(),
        }),
        ..wire::Function::default()
    };
    let large = wire::Function {
        parameters: vec![parameter("length")],
        returns: Some(wire::Return {
            ty: "\"string\"".into(),
        }),
        ..wire::Function::default()
    };
    [("add".to_owned(), add), ("large".to_owned(), large)].into()
}

fn identities() -> wire::IdentitySchemas {
    let attribute = wire::IdentityAttribute {
        name: "id".to_owned(),
        ty: "\"string\"".into(),
        required_for_import: true,
        ..wire::IdentityAttribute::default()
    };
    let schema = wire::IdentitySchema {
        version: 1,
        attributes: vec![attribute],
    };
    wire::IdentitySchemas {
        schemas: [("fixture_thing".to_owned(), schema)].into(),
        diagnostics: Vec::new(),
    }
}

fn answer_of(provider: Vec<u8>, thing: Vec<u8>) -> wire::ProviderSchema {
    wire::ProviderSchema {
        provider: Some(provider.into()),
        resources: vec![wire::Entry {
            name: "fixture_thing".to_owned(),
            schema: thing.into(),
        }],
        functions: functions(),
        capabilities: Some(wire::ServerCapabilities {
            get_provider_schema_optional: true,
            ..wire::ServerCapabilities::default()
        }),
        ..wire::ProviderSchema::default()
    }
}

fn schema_v6() -> wire::ProviderSchema {
    let string = |name: &str| wire::Attribute {
        name: name.to_owned(),
        ty: "\"string\"".into(),
        ..wire::Attribute::default()
    };
    let schema = |attributes| wire::Schema {
        version: 0,
        block: Some(wire::Block {
            attributes,
            ..wire::Block::default()
        }),
    };
    let region = wire::Attribute {
        optional: true,
        ..string("region")
    };
    let thing = vec![
        wire::Attribute {
            computed: true,
            ..string("id")
        },
        wire::Attribute {
            required: true,
            ..string("name")
        },
        wire::Attribute {
            optional: true,
            write_only: true,
            ..string("token")
        },
    ];
    answer_of(
        schema(vec![region]).encode_to_vec(),
        schema(thing).encode_to_vec(),
    )
}

fn schema_v5() -> wire::ProviderSchema {
    use wire::v5::{Attribute, Block, Schema};
    let string = |name: &str| Attribute {
        name: name.to_owned(),
        ty: "\"string\"".into(),
        ..Attribute::default()
    };
    let schema = |attributes| Schema {
        version: 0,
        block: Some(Block {
            attributes,
            ..Block::default()
        }),
    };
    let region = Attribute {
        optional: true,
        ..string("region")
    };
    let thing = vec![
        Attribute {
            computed: true,
            ..string("id")
        },
        Attribute {
            required: true,
            ..string("name")
        },
        Attribute {
            optional: true,
            write_only: true,
            ..string("token")
        },
    ];
    answer_of(
        schema(vec![region]).encode_to_vec(),
        schema(thing).encode_to_vec(),
    )
}
