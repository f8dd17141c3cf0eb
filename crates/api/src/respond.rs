//! Answers: objects, values, failures, turned into what the client accepts.

use crate::body::{self, Body};
use crate::call::Call;
use crate::encoding;
use crate::error::{Outcome, internal};
use crate::kind::Kind;
use crate::negotiate::{Accept, Encoding, Shape};
use crate::table;
use bytes::Bytes;
use consort_object::Object;
use consort_object::status::Status;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderValue, RETRY_AFTER, VARY};
use http::{Response, StatusCode};
use serde_json::{Value, json};

/// Answers larger than this are compressed for clients that take it.
const GZIP_FROM: usize = 128 * 1024;

/// An answer of bytes in a known encoding.
pub(crate) fn bytes(code: StatusCode, encoding: Encoding, bytes: Bytes) -> Response<Body> {
    typed(code, encoding.media_type(), bytes)
}

/// An answer of bytes of a media type.
pub(crate) fn typed(code: StatusCode, media: &'static str, bytes: Bytes) -> Response<Body> {
    let mut response = Response::new(body::full(bytes));
    *response.status_mut() = code;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(media));
    response
}

/// A JSON answer, whatever the client accepts.
pub(crate) fn json(code: StatusCode, value: &Value) -> Response<Body> {
    typed(code, "application/json", value.to_string().into())
}

/// A plain text.
pub(crate) fn text(code: StatusCode, text: impl Into<Bytes>) -> Response<Body> {
    typed(code, "text/plain; charset=utf-8", text.into())
}

/// Answer with a value in the encoding the client accepts; shapes other than the whole are left out.
pub(crate) fn value(call: &Call, code: StatusCode, value: &Value) -> Outcome<Response<Body>> {
    let encoding = call.accept()?.encoding;
    Ok(bytes(code, encoding, encoding::document(value, encoding)?))
}

/// Answer with a stored object.
pub(crate) fn object(
    call: &Call,
    kind: &Kind,
    code: StatusCode,
    object: &Object,
) -> Outcome<Response<Body>> {
    let accept = call.accept()?;
    if accept.shape == Shape::Whole && kind.view.is_none() {
        let encoded = encoding::encode(object.json.clone(), accept.encoding)?;
        let mut response = bytes(code, accept.encoding, encoded);
        if accept.encoding == Encoding::Json && call.connected() {
            // As Go's encoder ends documents. Within the process, two pieces would be joined by a copy.
            *response.body_mut() = body::line(object.json.clone());
        }
        return Ok(response);
    }
    shaped(call, kind, code, object.value().map_err(internal)?, accept)
}

/// Answer with an object that is not stored (a dry run).
pub(crate) fn unstored(
    call: &Call,
    kind: &Kind,
    code: StatusCode,
    value: Value,
) -> Outcome<Response<Body>> {
    shaped(call, kind, code, value, call.accept()?)
}

fn shaped(
    call: &Call,
    kind: &Kind,
    code: StatusCode,
    stored: Value,
    accept: Accept,
) -> Outcome<Response<Body>> {
    let value = match accept.shape {
        Shape::Whole => show(kind, stored),
        Shape::Table(version) => {
            let include = table::Include::parse(call.query.text("includeObject"))?;
            let revision = stored["metadata"]["resourceVersion"].clone();
            let row = table::row(kind, stored, include, jiff::Timestamp::now());
            table::table(
                kind,
                version,
                &json!({"resourceVersion": revision}),
                &[row],
                true,
            )
        }
        Shape::Metadata | Shape::MetadataList => table::metadata_only(&stored),
    };
    let encoded = encoding::document(&value, accept.encoding)?;
    Ok(bytes(code, accept.encoding, encoded))
}

/// The form of a stored object that its kind shows.
pub(crate) fn show(kind: &Kind, stored: Value) -> Value {
    match kind.view {
        Some(view) => (view.show)(stored),
        None => stored,
    }
}

/// Answer with a status in the encoding the client accepts, or JSON if it accepts none.
pub(crate) fn status(status: &Status, encoding: Encoding) -> Response<Body> {
    let code = StatusCode::from_u16(status.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    // With the line feed that Go's encoder ends documents with: clients' own tests compare it.
    let mut json = status.to_json();
    json.push(b'\n');
    let json = Bytes::from(json);
    let (encoding, encoded) = match encoding::encode(json.clone(), encoding) {
        Ok(encoded) => (encoding, encoded),
        Err(_) => (Encoding::Json, json),
    };
    let mut response = bytes(code, encoding, encoded);
    if let Some(seconds) = status.retry_after_seconds() {
        response.headers_mut().insert(RETRY_AFTER, seconds.into());
    }
    response
}

/// Characters that all warnings of an answer may have, and each of them when all together have more (as upstream).
const WARNED: usize = 4 * 1024;
const WARNED_EACH: usize = 256;

/// Add warnings to an answer (RFC 7234, code 299). Text that cannot stand in a header is left out; where there is too
/// much, each is cut, and the last ones are left out.
pub(crate) fn warn(response: &mut Response<Body>, warnings: &[String]) {
    let length = |warning: &String| warning.chars().take(WARNED + 1).count();
    let cut = warnings.iter().map(length).sum::<usize>() > WARNED;
    let mut told = 0;
    for warning in warnings {
        let warning: String = if cut && length(warning) > WARNED_EACH {
            warning
                .chars()
                .take(WARNED_EACH - 3)
                .chain("...".chars())
                .collect()
        } else {
            warning.clone()
        };
        told += length(&warning);
        if told > WARNED {
            return;
        }
        let quoted = warning
            .replace('\n', " ")
            .replace('\\', "\\\\")
            .replace('"', "\\\"");
        if let Ok(value) = HeaderValue::from_str(&format!("299 - \"{quoted}\"")) {
            response.headers_mut().append("warning", value);
        }
    }
}

/// Compress a large answer for a client that takes gzip. It costs CPU, so it is done off the reactor.
pub(crate) async fn compressed(
    call: &Call,
    code: StatusCode,
    encoding: Encoding,
    whole: Bytes,
) -> Outcome<Response<Body>> {
    if whole.len() < GZIP_FROM || !call.gzip() {
        return Ok(bytes(code, encoding, whole));
    }
    let packed = tokio::task::spawn_blocking(move || {
        use std::io::Write;
        let mut encoder = flate2::write::GzEncoder::new(
            Vec::with_capacity(whole.len() / 6),
            flate2::Compression::fast(),
        );
        encoder.write_all(&whole)?;
        encoder.finish()
    })
    .await
    .map_err(internal)?
    .map_err(internal)?;
    let mut response = bytes(code, encoding, packed.into());
    let headers = response.headers_mut();
    headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    headers.insert(VARY, HeaderValue::from_static("Accept-Encoding"));
    Ok(response)
}
