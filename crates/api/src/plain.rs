//! Paths that are no resources: discovery, version, health, documents, metrics.

use crate::body::Body;
use crate::call::{Call, MEDIA_TYPES};
use crate::discovery;
use crate::documents::{Document, Documents, V2};
use crate::error::{Outcome, fail, internal};
use crate::negotiate::{self, DiscoveryForm};
use crate::respond;
use bytes::Bytes;
use consort_object::status::Status;
use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderValue, IF_NONE_MATCH, VARY};
use http::{Method, Response, StatusCode};
use serde_json::{Value, json};
use sha2::{Digest, Sha512};
use std::fmt::Write;

/// Answer a path.
pub(crate) async fn serve(call: &Call) -> Outcome<Response<Body>> {
    let path = call.parts.uri.path();
    if call.parts.method != Method::GET && call.parts.method != Method::HEAD {
        return fail(Status::method_not_allowed());
    }
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    match parts.as_slice() {
        [""] => Ok(respond::json(StatusCode::OK, &roots(call))),
        ["api"] => discover(call, true),
        ["apis"] => discover(call, false),
        ["api", version] => found(call, &discovery::resources(&call.registry, "", version)),
        ["apis", group] => found(call, &discovery::group(&call.registry, group)),
        ["apis", group, version] => {
            found(call, &discovery::resources(&call.registry, group, version))
        }
        ["version"] => Ok(respond::json(StatusCode::OK, &discovery::version())),
        ["healthz" | "livez" | "readyz", check @ ..] => health(call, parts[0], check),
        ["openapi", "v2"] => openapi_v2(call).await,
        ["openapi", "v3"] => openapi_index(call),
        ["openapi", "v3", rest @ ..] => openapi_document(call, &rest.join("/")).await,
        ["metrics"] => {
            let text = call.inner.metrics.text(call.inner.store.revision().0);
            Ok(respond::typed(
                StatusCode::OK,
                "text/plain; version=0.0.4; charset=utf-8",
                text.into(),
            ))
        }
        [".well-known", "openid-configuration"] => {
            let value = call.inner.authenticator.signer().discovery();
            Ok(respond::json(StatusCode::OK, &value))
        }
        ["openid", "v1", "jwks"] => {
            let value = call.inner.authenticator.signer().key_set();
            Ok(respond::typed(
                StatusCode::OK,
                "application/jwk-set+json",
                value.to_string().into(),
            ))
        }
        _ => fail(Status::unknown_resource()),
    }
}

fn found(call: &Call, value: &Value) -> Outcome<Response<Body>> {
    if value.is_null() {
        return fail(Status::unknown_resource());
    }
    respond::value(call, StatusCode::OK, value)
}

fn roots(call: &Call) -> Value {
    let mut paths = vec![
        "/.well-known/openid-configuration".to_owned(),
        "/api".into(),
        "/api/v1".into(),
        "/apis".into(),
    ];
    for (group, version) in call.registry.groups() {
        if !group.is_empty() {
            paths.push(format!("/apis/{group}"));
            paths.push(format!("/apis/{group}/{version}"));
        }
    }
    for path in [
        "/healthz",
        "/livez",
        "/metrics",
        "/openapi/v2",
        "/openapi/v3",
        "/openid/v1/jwks",
        "/readyz",
        "/version",
    ] {
        paths.push(path.into());
    }
    paths.sort();
    paths.dedup();
    json!({"paths": paths})
}

fn discover(call: &Call, core: bool) -> Outcome<Response<Body>> {
    let Some((form, encoding)) = negotiate::accept_discovery(call.header(ACCEPT)) else {
        return fail(Status::not_acceptable(MEDIA_TYPES));
    };
    let registry = &call.registry;
    let version = match form {
        DiscoveryForm::Aggregated(version) => version,
        DiscoveryForm::Plain => {
            let value = if core {
                discovery::core_versions()
            } else {
                discovery::group_list(registry)
            };
            let encoded = crate::encoding::document(&value, encoding)?;
            let mut response = respond::bytes(StatusCode::OK, encoding, encoded);
            response
                .headers_mut()
                .insert(VARY, HeaderValue::from_static("Accept"));
            return Ok(response);
        }
    };
    let bytes = Bytes::from(discovery::aggregated(registry, core, version).to_string());
    let tag = etag(&bytes);
    let media = if version == "v2" {
        "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    } else {
        "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList"
    };
    let mut response = tagged(call, &tag, bytes)?;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media));
    headers.insert(VARY, HeaderValue::from_static("Accept"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("public"));
    Ok(response)
}

fn etag(bytes: &[u8]) -> String {
    Sha512::digest(bytes)
        .iter()
        .fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02X}");
            text
        })
}

/// Does the client have what has this tag?
fn known(call: &Call, tag: &str) -> bool {
    call.header(IF_NONE_MATCH).is_some_and(|header| {
        header
            .split(',')
            .any(|one| one.trim().trim_start_matches("W/").trim_matches('"') == tag)
    })
}

/// An answer with an ETag, or 304 for a client that has it.
fn tagged(call: &Call, tag: &str, bytes: Bytes) -> Outcome<Response<Body>> {
    let quoted = format!("\"{tag}\"");
    let mut response = if known(call, tag) {
        let mut response = Response::new(crate::body::empty());
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response
    } else {
        respond::typed(StatusCode::OK, "application/json", bytes)
    };
    let value = HeaderValue::from_str(&quoted).map_err(internal)?;
    response.headers_mut().insert(ETAG, value);
    Ok(response)
}

const CHECKS: [&str; 2] = ["ping", "store"];

/// One way to ask for all parts' health: by name or all together, `verbose` or not.
fn health(call: &Call, which: &str, check: &[&str]) -> Outcome<Response<Body>> {
    let stopping = call.inner.stop.is_cancelled();
    let readiness = which == "readyz";
    let passes = |name: &str| match name {
        "shutdown" => !stopping,
        "store" => !call.inner.broken.load(std::sync::atomic::Ordering::Relaxed),
        "ping" => true,
        name => {
            let probe = call.inner.probes.iter().find(|probe| probe.name == name);
            let failure = probe.and_then(|probe| (probe.failure)());
            if let Some(why) = &failure {
                tracing::warn!(name, why, "a part of the server fails");
            }
            failure.is_none()
        }
    };
    let mut checks: Vec<&str> = CHECKS.to_vec();
    checks.extend(call.inner.probes.iter().map(|probe| probe.name.as_str()));
    if readiness {
        checks.push("shutdown");
    }
    if let [name] = check {
        if !checks.contains(name) {
            return fail(Status::unknown_resource());
        }
        checks = vec![name];
    }
    let excluded: Vec<&str> = call.query.all("exclude").collect();
    checks.retain(|name| !excluded.contains(name));
    let healthy = checks.iter().all(|name| passes(name));
    let code = if healthy {
        StatusCode::OK
    } else {
        StatusCode::INTERNAL_SERVER_ERROR
    };
    if healthy && !call.query.has("verbose") {
        return Ok(respond::text(code, "ok"));
    }
    let mut text = String::new();
    for name in &checks {
        let _ = if passes(name) {
            writeln!(text, "[+]{name} ok")
        } else {
            writeln!(text, "[-]{name} failed: reason withheld")
        };
    }
    let verdict = if healthy { "passed" } else { "failed" };
    let _ = writeln!(text, "{which} check {verdict}");
    Ok(respond::text(code, text))
}

fn openapi_index(call: &Call) -> Outcome<Response<Body>> {
    let index = Documents::index(&call.registry);
    tagged(call, &etag(&index), index)
}

async fn openapi_document(call: &Call, path: &str) -> Outcome<Response<Body>> {
    let Some(hash) = Documents::hash_of(&call.registry, path) else {
        return fail(Status::unknown_resource());
    };
    let wanted = call.query.text("hash");
    if let Some(wanted) = wanted
        && wanted != hash
    {
        // An old address leads to the present document.
        let mut response = Response::new(crate::body::empty());
        *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
        let place = format!("/openapi/v3/{path}?hash={hash}");
        let value = HeaderValue::from_str(&place).map_err(internal)?;
        response.headers_mut().insert(http::header::LOCATION, value);
        return Ok(response);
    }
    let mut response = if known(call, &hash) {
        // Whoever has it needs no document to be made.
        tagged(call, &hash, Bytes::new())?
    } else {
        let (inner, registry) = (call.inner.clone(), call.registry.clone());
        let path = path.to_owned();
        let document = tokio::task::spawn_blocking(move || inner.documents.v3(&registry, &path))
            .await
            .map_err(internal)?;
        let Some(document) = document else {
            return fail(Status::unknown_resource());
        };
        serve_document(call, &document, "application/json").await?
    };
    let cache = if wanted.is_some() {
        // Its address has its hash in it: it never changes.
        "public, immutable, max-age=31536000"
    } else {
        "no-cache, private"
    };
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static(cache));
    Ok(response)
}

/// The media types of the version 2 document, as Go clients ask for its protobuf form.
const V2_PROTOBUF: [&str; 2] = [
    "application/com.github.proto-openapi.spec.v2.v1.0+protobuf",
    "application/com.github.proto-openapi.spec.v2@v1.0+protobuf",
];

async fn openapi_v2(call: &Call) -> Outcome<Response<Body>> {
    let header = call
        .header(ACCEPT)
        .filter(|header| !header.trim().is_empty())
        .unwrap_or("*/*");
    let chosen = header.split(',').find_map(|clause| {
        let media = clause.split(';').next().unwrap_or_default().trim();
        if matches!(media, "*/*" | "application/*" | "application/json") {
            return Some((V2::Json, "application/json"));
        }
        // Go's parser refuses the older name where it reads it in an answer.
        V2_PROTOBUF
            .contains(&media)
            .then_some((V2::Protobuf, V2_PROTOBUF[0]))
    });
    let Some((form, media)) = chosen else {
        return fail(Status::not_acceptable(&[
            "application/json",
            V2_PROTOBUF[0],
            V2_PROTOBUF[1],
        ]));
    };
    let (inner, registry) = (call.inner.clone(), call.registry.clone());
    let document = tokio::task::spawn_blocking(move || inner.documents.v2(&registry, form))
        .await
        .map_err(internal)?;
    serve_document(call, &document, media).await
}

async fn serve_document(
    call: &Call,
    document: &Document,
    media: &'static str,
) -> Outcome<Response<Body>> {
    let plain = tagged(call, &document.hash, document.bytes.clone())?;
    if plain.status() == StatusCode::NOT_MODIFIED {
        return Ok(plain);
    }
    let mut response = respond::compressed(
        call,
        StatusCode::OK,
        negotiate::Encoding::Json,
        document.bytes.clone(),
    )
    .await?;
    if let Some(tag) = plain.headers().get(ETAG) {
        response.headers_mut().insert(ETAG, tag.clone());
    }
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media));
    headers.insert(VARY, HeaderValue::from_static("Accept-Encoding, Accept"));
    Ok(response)
}
