//! Reading one object, and what failures of the store mean to clients.

use crate::body::Body;
use crate::call::Call;
use crate::custom;
use crate::error::{Failure, Outcome, bad_request};
use crate::kind::Kind;
use crate::request;
use crate::respond;
use consort_object::status::{Cause, Status};
use consort_object::{Object, Revision};
use consort_store::{Key, Store};
use http::{Response, StatusCode};
use std::time::Duration;

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

/// How long a request waits for a revision that has not come yet.
const SOON: Duration = Duration::from_secs(3);

/// Wait until the store has reached a revision that a client saw, maybe elsewhere.
pub(crate) async fn reached(store: &Store, revision: Option<u64>) -> Outcome<()> {
    let Some(revision) = revision.map(Revision) else {
        return Ok(());
    };
    match tokio::time::timeout(SOON, store.reached(revision)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(store_failure(error)),
        Err(_) => Err(Box::new(too_new(revision, store.revision()))),
    }
}

/// `GET` of one object: the present state, which is not older than any the client can know.
pub(crate) async fn get(
    call: &Call,
    kind: &Kind,
    namespace: Option<&str>,
    name: &str,
) -> Outcome<Response<Body>> {
    let revision = request::revision(&call.query)?;
    reached(&call.inner.store, revision).await?;
    let object = find(&call.inner.store, kind, namespace, name)?;
    let object = custom::shown(&call.inner, kind, object).await?;
    respond::object(call, kind, StatusCode::OK, &object)
}

/// The range of keys a list covers.
pub(crate) fn prefix(kind: &Kind, namespace: Option<&str>) -> String {
    let (group, plural) = &kind.storage;
    Key::prefix(group, plural, namespace.filter(|_| kind.namespaced))
}
