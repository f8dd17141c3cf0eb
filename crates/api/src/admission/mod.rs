//! What every write passes between its defaults and its checks, and once more after them.
//!
//! First what the server itself does to new objects ([`builtin`]), then mutating policies and webhooks
//! ([`mutate`]); the object is then checked against its schema and its kind's rules; last come the
//! validating policies and webhooks ([`validate`]), which see what will be stored.

mod builtin;
mod chain;
mod connect;
mod expressions;
mod hooks;
mod params;
mod plan;
mod policies;
mod request;
mod reviewer;
mod rules;
mod typing;

pub(crate) use builtin::{commit, create, try_out, update};
pub(crate) use chain::{Notes, mutate, nobody_asks, validate};
pub(crate) use connect::connect;
pub(crate) use expressions::condition_fault;
pub(crate) use plan::Admission;
pub(crate) use policies::faults;
pub(crate) use request::{Operation, Request};
pub use reviewer::{Asked, Review, Reviewer};

use crate::custom;
use crate::encoding;
use crate::error::Outcome;
use crate::kind::Kind;
use crate::respond::show;
use crate::values::copy;
use serde_json::Value;

/// An object as `kind` shows it. What a subresource takes has one form only.
async fn shown(
    request: &Request<'_>,
    kind: &Kind,
    value: Option<&Value>,
) -> Outcome<Option<Value>> {
    let Some(value) = value.cloned() else {
        return Ok(None);
    };
    if request.other_kind() {
        return Ok(Some(value));
    }
    let value = custom::converted(request.inner, request.kind, kind, value).await?;
    Ok(Some(show(kind, value)))
}

/// Take what a webhook or a policy made of an object in the form of `kind`.
async fn adopt(
    request: &Request<'_>,
    kind: &Kind,
    object: &mut Value,
    mut changed: Value,
) -> Outcome<()> {
    if request.other_kind() {
        *object = changed;
        return Ok(());
    }
    let gvk = encoding::gvk(kind);
    kind.schema
        .canonical(&mut changed, &gvk)
        .map_err(|misfit| misfit.sent(&gvk))?;
    let mut changed = match kind.view {
        Some(view) => (view.store)(changed),
        None => custom::converted(request.inner, kind, request.kind, changed).await?,
    };
    // Who owns what, and which object it is, is the server's business.
    for field in [
        "managedFields",
        "uid",
        "name",
        "namespace",
        "creationTimestamp",
    ] {
        copy(&mut changed["metadata"], &object["metadata"], field);
    }
    for field in ["apiVersion", "kind"] {
        copy(&mut changed, object, field);
    }
    request.kind.strategy.default(&mut changed);
    *object = changed;
    Ok(())
}
