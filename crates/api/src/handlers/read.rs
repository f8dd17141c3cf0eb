//! Get and list.

use super::selection::Selection;
use crate::body::{self, Body};
use crate::call::Call;
use crate::encoding;
use crate::error::{Failure, Outcome, bad_request, fail, internal};
use crate::kind::Kind;
use crate::negotiate::{Accept, Encoding, Shape};
use crate::request::{ListOptions, VersionMatch};
use crate::respond::{self, show};
use crate::table;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::{BufMut, Bytes, BytesMut};
use consort_object::status::{Cause, Status};
use consort_object::{Object, Revision};
use consort_store::{Key, Page, Store};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Lists are sent in pieces of about this many bytes.
const PIECE: usize = 256 * 1024;

/// The key of an object of a kind.
pub(crate) fn key(kind: &Kind, namespace: Option<&str>, name: &str) -> Outcome<Key> {
    let (group, plural) = &kind.storage;
    let namespace = namespace.filter(|_| kind.namespaced);
    Key::new(group, plural, namespace, name).map_err(|error| bad_request(error.to_string()))
}

/// The stored object, or a 404.
pub(crate) fn find(
    store: &Store,
    kind: &Kind,
    namespace: Option<&str>,
    name: &str,
) -> Outcome<Object> {
    let missing = || Box::new(Status::not_found(&kind.group, &kind.plural, name));
    // A name that no key can have names nothing.
    let key = key(kind, namespace, name).map_err(|_| missing())?;
    store.get(&key).map_err(store_failure)?.ok_or_else(missing)
}

/// What a failure of the store means to a client.
pub(crate) fn store_failure(error: consort_store::Error) -> Failure {
    use consort_store::Error;
    Box::new(match error {
        Error::Compacted { asked, oldest } => Status::too_old(asked.0, oldest.0),
        Error::Full { .. } => Status::failure(507, "InsufficientStorage", error.to_string()),
        Error::TooLarge { size, limit } => Status::request_entity_too_large(format!(
            "the object has {size} bytes, the store takes {limit}"
        )),
        Error::Closed | Error::Failed { .. } => Status::service_unavailable(error.to_string()),
        Error::Future { asked, now } => too_new(asked, now),
        other => Status::internal_error(chain(&other)),
    })
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

/// A revision was asked for that has not come yet.
fn too_new(asked: Revision, now: Revision) -> Status {
    Status::timeout(
        format!("Too large resource version: {asked}, current: {now}"),
        1,
    )
    .with_cause(Cause {
        reason: "ResourceVersionTooLarge".into(),
        message: "Too large resource version".into(),
        field: String::new(),
    })
}

/// `GET` of one object.
pub(crate) fn get(
    call: &Call,
    kind: &Kind,
    namespace: Option<&str>,
    name: &str,
) -> Outcome<Response<Body>> {
    let object = find(&call.inner.store, kind, namespace, name)?;
    respond::object(call, kind, StatusCode::OK, &object)
}

/// Where the next page begins. Opaque to clients, in upstream's form.
#[derive(Serialize, Deserialize)]
struct Token {
    v: String,
    rv: i64,
    start: String,
}

impl Token {
    fn encode(revision: i64, start: &str) -> String {
        let token = Self {
            v: "meta.k8s.io/v1".into(),
            rv: revision,
            start: start.into(),
        };
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(&token).unwrap_or_default())
    }

    fn decode(text: &str) -> Outcome<Self> {
        let invalid = |why: &str| bad_request(format!("continue key is not valid: {why}"));
        let bytes = URL_SAFE_NO_PAD
            .decode(text.trim_end_matches('='))
            .map_err(|_| invalid("illegal base64 data"))?;
        let token: Self = serde_json::from_slice(&bytes)
            .map_err(|_| invalid("it was not made by this server"))?;
        if token.v != "meta.k8s.io/v1" {
            return Err(invalid("server does not recognize this encoded version"));
        }
        Ok(token)
    }
}

/// The range of keys a list covers.
pub(crate) fn prefix(kind: &Kind, namespace: Option<&str>) -> String {
    let (group, plural) = &kind.storage;
    Key::prefix(group, plural, namespace.filter(|_| kind.namespaced))
}

/// Read one page, consistent at one revision.
pub(crate) fn page(
    call: &Call,
    kind: &Kind,
    namespace: Option<&str>,
    options: &ListOptions,
    selection: &Selection,
) -> Outcome<(Page, Option<String>)> {
    let store = &call.inner.store;
    let prefix = prefix(kind, namespace.or(selection.namespace.as_deref()));
    let mut after = None;
    let mut at = None;
    if let Some(text) = &options.page {
        if options.revision.is_some_and(|revision| revision != 0) {
            return Err(bad_request(
                "specifying resource version is not allowed when using continue",
            ));
        }
        let token = Token::decode(text)?;
        let start = format!("{prefix}{}", token.start);
        after = Some(Key::parse(&start).map_err(|_| {
            bad_request("continue key is not valid: it does not fit this collection")
        })?);
        at = u64::try_from(token.rv).ok().map(Revision);
    } else if let Some(revision) = options.revision.filter(|revision| *revision != 0) {
        let now = store.revision();
        if revision > now.0 {
            return fail(too_new(Revision(revision), now));
        }
        let exact = match options.version_match {
            Some(VersionMatch::Exact) => true,
            Some(VersionMatch::NotOlderThan) => false,
            // Without a match a limited list is exact, as it always was.
            None => options.limit.is_some(),
        };
        at = exact.then_some(Revision(revision));
    }
    let paged = options.page.is_some();
    let page = store
        .range(&prefix, after.as_ref(), options.limit, at, |head| {
            selection.matches(head)
        })
        .map_err(|error| match error {
            consort_store::Error::Compacted { .. } if paged => {
                let start = after
                    .as_ref()
                    .map_or("", |key| &key.as_str()[prefix.len()..]);
                expired_page(start)
            }
            consort_store::Error::Compacted { asked, .. } => Box::new(Status::expired(format!(
                "The resourceVersion for the provided list is too old: {asked}"
            ))),
            other => store_failure(other),
        })?;
    let next = page.next.as_ref().map(|key| {
        let revision = i64::try_from(page.revision.0).unwrap_or(-1);
        Token::encode(revision, &key.as_str()[prefix.len()..])
    });
    Ok((page, next))
}

/// A page was asked for at a revision that is no longer kept; the token in the answer goes on at the
/// present one.
fn expired_page(start: &str) -> Failure {
    let mut status = Status::expired(
        "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter, or use the continue token in this response to retrieve the remainder of the results. Continuing with the provided token results in an inconsistent list - objects that were created, modified, or deleted between the time the first chunk was returned and now may show up in the list.",
    );
    status.metadata.continue_token = Token::encode(-1, start);
    Box::new(status)
}

/// `GET` of a collection.
pub(crate) async fn list(
    call: &Call,
    kind: &Kind,
    namespace: Option<&str>,
    options: &ListOptions,
    name: Option<&str>,
) -> Outcome<Response<Body>> {
    let accept = call.accept()?;
    let selection = Selection::parse(kind, options, name)?;
    let (page, next) = page(call, kind, namespace, options, &selection)?;
    let mut metadata = json!({"resourceVersion": page.revision.to_string()});
    if let Some(next) = next {
        metadata["continue"] = next.into();
        if let Some(remaining) = page.remaining.filter(|_| selection.all()) {
            metadata["remainingItemCount"] = remaining.into();
        }
    }
    if accept.shape == Shape::Whole && kind.view.is_none() && accept.encoding == Encoding::Json {
        return raw(call, kind, &metadata, page.objects).await;
    }
    let whole = if accept.shape.is_metadata() && accept.encoding == Encoding::Json {
        metadata_list(&metadata, &page.objects)?
    } else {
        render(call, kind, accept, &metadata, &page.objects)?
    };
    respond::compressed(call, StatusCode::OK, accept.encoding, whole).await
}

/// A list of metadata in JSON, cut out of what is stored.
fn metadata_list(metadata: &Value, objects: &[Object]) -> Outcome<Bytes> {
    let head = format!(
        r#"{{"kind":"PartialObjectMetadataList","apiVersion":"meta.k8s.io/v1","metadata":{metadata},"items":["#
    );
    let mut out = BytesMut::from(head.as_bytes());
    for (place, object) in objects.iter().enumerate() {
        if place > 0 {
            out.put_u8(b',');
        }
        out.put_slice(&table::metadata_json(&object.json).map_err(internal)?);
    }
    out.put_slice(b"]}");
    Ok(out.freeze())
}

/// A list in another shape or encoding than it is stored in.
fn render(
    call: &Call,
    kind: &Kind,
    accept: Accept,
    metadata: &Value,
    objects: &[Object],
) -> Outcome<Bytes> {
    let values = objects
        .iter()
        .map(|object| object.value().map_err(internal));
    let list = match accept.shape {
        Shape::Whole => {
            let items = values
                .map(|value| value.map(|value| show(kind, value)))
                .collect::<Outcome<Vec<Value>>>()?;
            json!({
                "kind": format!("{}List", kind.kind),
                "apiVersion": kind.api_version(),
                "metadata": metadata,
                "items": items,
            })
        }
        Shape::Table(version) => {
            let include = table::Include::parse(call.query.text("includeObject"))?;
            let now = jiff::Timestamp::now();
            let rows = values
                .map(|value| Ok(table::row(kind, value?, include, now)))
                .collect::<Outcome<Vec<Value>>>()?;
            table::table(kind, version, metadata, &rows, true)
        }
        Shape::Metadata | Shape::MetadataList => {
            let items = values
                .map(|value| value.map(|value| table::metadata_only(&value)))
                .collect::<Outcome<Vec<Value>>>()?;
            json!({
                "kind": "PartialObjectMetadataList",
                "apiVersion": "meta.k8s.io/v1",
                "metadata": metadata,
                "items": items,
            })
        }
    };
    encoding::encode_value(&list, accept.encoding)
}

/// A list made of the stored bytes.
async fn raw(
    call: &Call,
    kind: &Kind,
    metadata: &Value,
    objects: Vec<Object>,
) -> Outcome<Response<Body>> {
    let head = format!(
        "{{\"kind\":\"{}List\",\"apiVersion\":\"{}\",\"metadata\":{metadata},\"items\":[",
        kind.kind,
        kind.api_version()
    );
    let commas = objects.len().saturating_sub(1);
    let length = head.len() + objects.iter().map(|one| one.json.len()).sum::<usize>() + commas + 3;
    if length <= PIECE || call.gzip() {
        let mut whole = BytesMut::with_capacity(length);
        whole.put_slice(head.as_bytes());
        join(&mut whole, &objects, true);
        whole.put_slice(b"]}\n");
        return respond::compressed(call, StatusCode::OK, Encoding::Json, whole.freeze()).await;
    }
    let pieces = Pieces {
        next: Some(head),
        objects: objects.into_iter(),
        first: true,
        done: false,
    };
    let mut response = Response::new(body::stream(futures::stream::iter(pieces.map(Ok))));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CONTENT_LENGTH, length.into());
    Ok(response)
}

fn join(out: &mut BytesMut, objects: &[Object], mut first: bool) {
    for object in objects {
        if !std::mem::take(&mut first) {
            out.put_u8(b',');
        }
        out.put_slice(&object.json);
    }
}

/// A long list, joined piece by piece while it is sent.
struct Pieces {
    next: Option<String>,
    objects: std::vec::IntoIter<Object>,
    first: bool,
    done: bool,
}

impl Iterator for Pieces {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        if self.done {
            return None;
        }
        let mut out = BytesMut::with_capacity(PIECE + 16 * 1024);
        if let Some(head) = self.next.take() {
            out.put_slice(head.as_bytes());
        }
        while out.len() < PIECE {
            let Some(object) = self.objects.next() else {
                out.put_slice(b"]}\n");
                self.done = true;
                break;
            };
            join(&mut out, std::slice::from_ref(&object), self.first);
            self.first = false;
        }
        Some(out.freeze())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_token_comes_back_as_it_was_and_nonsense_is_refused() {
        let token = Token::decode(&Token::encode(7, "default/web")).unwrap();
        assert_eq!((token.rv, token.start.as_str()), (7, "default/web"));
        for text in ["", "abc", "e30", "!!"] {
            assert_eq!(Token::decode(text).err().unwrap().code, 400, "{text}");
        }
    }
}
