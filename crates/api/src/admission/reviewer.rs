//! Policies that the program brings along: asked about a write after everything else that validates.

use super::{Operation, Request, shown};
use crate::error::{Outcome, fail};
use crate::values::set;
use consort_object::status::Status;
use futures::future::BoxFuture;
use serde_json::Value;

/// What a write is, before more is put together about it.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// `CREATE`, `UPDATE`, `DELETE` or `CONNECT`.
    pub operation: &'a str,
    /// The group of the kind; empty for the core group.
    pub group: &'a str,
    /// The kind's plural name.
    pub resource: &'a str,
    /// The subresource; empty for none.
    pub subresource: &'a str,
    /// The namespace; of a namespace itself, its name.
    pub namespace: Option<&'a str>,
}

/// What a reviewer says of a write.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Review {
    /// Why it is refused; none if it is not.
    pub denied: Option<String>,
    /// What the client is told besides.
    pub warnings: Vec<String>,
}

/// Is asked about writes, as a validating webhook is, but in this process. It decides on its own what happens when it
/// cannot tell: its answer counts.
pub trait Reviewer: Send + Sync {
    /// Whether it has anything to say about such writes. Asked about each write: cheap.
    fn wants(&self, asked: &Asked<'_>) -> bool;

    /// What it says. `request` is an `AdmissionRequest` of `admission.k8s.io/v1` with both objects. Must not block the
    /// reactor for long.
    fn review(&self, request: Value) -> BoxFuture<'_, Review>;
}

/// Whether a reviewer would be asked about writes of a kind.
pub(super) fn asks(request: &Request<'_>) -> bool {
    request
        .inner
        .reviewer
        .as_ref()
        .is_some_and(|reviewer| reviewer.wants(&asked(request)))
}

fn asked<'a>(request: &Request<'a>) -> Asked<'a> {
    let is_namespace = request.kind.group.is_empty() && request.kind.plural == "namespaces";
    Asked {
        operation: request.operation.name(),
        group: &request.kind.group,
        resource: &request.kind.plural,
        subresource: request.subresource,
        namespace: if is_namespace {
            Some(request.name)
        } else {
            request.namespace
        },
    }
}

/// Asks the reviewer; the warnings are what it tells besides.
///
/// # Errors
/// If it refuses.
pub(super) async fn ask(
    request: &Request<'_>,
    object: Option<&Value>,
    old: Option<&Value>,
) -> Outcome<Vec<String>> {
    let Some(reviewer) = &request.inner.reviewer else {
        return Ok(Vec::new());
    };
    if !reviewer.wants(&asked(request)) {
        return Ok(Vec::new());
    }
    let mut review = request.describe(request.kind);
    for (field, value) in [("object", object), ("oldObject", old)] {
        let value = shown(request, request.kind, value).await?;
        set(&mut review, field, value.unwrap_or(Value::Null));
    }
    if request.operation != Operation::Connect {
        set(&mut review, "uid", uuid::Uuid::new_v4().to_string());
    }
    let answer = reviewer.review(review).await;
    match answer.denied {
        Some(why) => fail(Status::forbidden(
            &request.kind.group,
            &request.kind.plural,
            request.name,
            why,
        )),
        None => Ok(answer.warnings),
    }
}
