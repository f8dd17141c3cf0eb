//! What every write passes between its defaults and its checks, and once more after them.
//!
//! First what the server itself does to new objects ([`builtin`]), then mutating policies and webhooks
//! ([`mutate`]); the object is then checked against its schema and its kind's rules; last come the
//! validating policies and webhooks ([`validate`]), which see what will be stored.

mod builtin;
mod chain;
mod expressions;
mod hooks;
mod params;
mod plan;
mod policies;
mod request;
mod rules;

pub(crate) use builtin::{create, update};
pub(crate) use chain::{Notes, mutate, validate};
pub(crate) use expressions::condition_fault;
pub(crate) use plan::Admission;
pub(crate) use policies::{faults, type_faults};
pub(crate) use request::{Operation, Request};

use crate::encoding;
use crate::error::Outcome;
use crate::kind::Kind;
use crate::respond::show;
use crate::values::copy;
use serde_json::Value;

/// A stored form as `kind` shows it.
fn shown(_request: &Request<'_>, kind: &Kind, value: &Value) -> Outcome<Value> {
    Ok(show(kind, value.clone()))
}

/// Take what a webhook or a policy made of an object in the form of `kind`.
fn adopt(request: &Request<'_>, kind: &Kind, object: &mut Value, changed: Value) -> Outcome<()> {
    let mut changed = changed;
    kind.schema.canonical(&mut changed, &encoding::gvk(kind))?;
    let mut changed = match kind.view {
        Some(view) => (view.store)(changed),
        None => changed,
    };
    // Who owns what is the server's business.
    copy(
        &mut changed["metadata"],
        &object["metadata"],
        "managedFields",
    );
    for field in ["apiVersion", "kind"] {
        copy(&mut changed, object, field);
    }
    request.kind.strategy.default(&mut changed);
    *object = changed;
    Ok(())
}
