//! What the server itself decides about writes: upstream's built-in admission plug-ins.
//!
//! [`create`] and [`update`] fill in what depends on other objects, before webhooks see a request and
//! again if they changed it; [`validate`] refuses, once nothing changes the object any more; [`commit`]
//! charges quotas, last of all, in the same commit as the object.
//!
//! A namespace without limit ranges, quotas and labels pays for a look into the index that finds
//! nothing.

mod escalation;
mod limit_ranger;
mod limits;
mod namespaces;
mod node_restriction;
mod owner_references;
mod pod_checks;
mod pod_security;
mod priority;
mod quota;
mod runtime_class;
mod service_account;
mod storage_class;
mod tolerations;

pub(crate) use node_restriction::is_node;
pub(crate) use quota::{Turns, commit, try_out};

use super::{Notes, Operation, Request};
use crate::api::Inner;
use crate::defaults;
use crate::error::{Failure, Outcome, internal};
use crate::handlers::read;
use crate::identity::User;
use crate::kind::Kind;
use crate::values::{ensure, name, set};
use consort_object::Object;
use consort_object::status::Status;
use consort_store::Key;
use serde_json::Value;

/// Admit a new object, filling in what depends on others.
pub(crate) async fn create(
    inner: &Inner,
    user: &User,
    kind: &Kind,
    value: &mut Value,
) -> Outcome<()> {
    if kind.namespaced {
        namespaces::takes(inner, kind, value)?;
    }
    if is(kind, "pods") {
        service_account::give(inner, value).await?;
        tolerations::fill_in(value);
        priority::give(inner, value)?;
        runtime_class::give(inner, value)?;
        limit_ranger::fill_in(inner, value)?;
        // What was filled in, here or by a webhook, may be what its class depends on.
        let class = defaults::qos_class(value);
        set(ensure(value, "status"), "qosClass", class);
    }
    if is(kind, "persistentvolumeclaims") {
        storage_class::fill_in(inner, value)?;
    }
    crate::certificates::create(kind, value)?;
    escalation::check(inner, user, kind, value)
}

/// Admit a change.
pub(crate) fn update(
    inner: &Inner,
    user: &User,
    kind: &Kind,
    new: &mut Value,
    old: &Value,
) -> Outcome<()> {
    if is(kind, "pods") {
        priority::keep(new, old);
    }
    if kind.group == "rbac.authorization.k8s.io" && escalation::only_ownership_differs(new, old) {
        return Ok(());
    }
    escalation::check(inner, user, kind, new)
}

/// Refuse what may not be stored (or deleted: then there is no `object`).
pub(super) fn validate(
    request: &Request<'_>,
    object: Option<&Value>,
    old: Option<&Value>,
    notes: &mut Notes,
) -> Outcome<()> {
    if request.operation == Operation::Connect {
        return Ok(());
    }
    node_restriction::check(request, object, old)?;
    let Some(object) = object else {
        return Ok(());
    };
    limit_ranger::check(request, object, old)?;
    priority::check(request, object)?;
    runtime_class::check(request, object)?;
    owner_references::check(request, object, old)?;
    pod_security::check(request, object, old, notes)
}

/// Is this the kind with that plural in the core group?
fn is(kind: &Kind, plural: &str) -> bool {
    kind.group.is_empty() && kind.plural == plural
}

/// 403, with the reason.
fn forbidden(request: &Request<'_>, why: impl std::fmt::Display) -> Failure {
    let kind = request.kind;
    Box::new(Status::forbidden(
        &kind.group,
        &kind.plural,
        request.name,
        why,
    ))
}

/// 403 on an object that is being made.
fn forbidden_object(plural: &str, value: &Value, why: impl std::fmt::Display) -> Failure {
    Box::new(Status::forbidden("", plural, name(value), why))
}

fn stored(
    inner: &Inner,
    plural: &str,
    namespace: Option<&str>,
    name: &str,
) -> Outcome<Option<Object>> {
    stored_in(inner, "", plural, namespace, name)
}

fn stored_in(
    inner: &Inner,
    group: &str,
    plural: &str,
    namespace: Option<&str>,
    name: &str,
) -> Outcome<Option<Object>> {
    // A name that no key can have names nothing.
    let Ok(key) = Key::new(group, plural, namespace, name) else {
        return Ok(None);
    };
    inner.store.get(&key).map_err(read::store_failure)
}

/// All objects of a kind, or those in a namespace, by name. Nothing is read where there are none.
fn all(inner: &Inner, group: &str, plural: &str, namespace: Option<&str>) -> Outcome<Vec<Object>> {
    if inner.store.count(&Key::prefix(group, plural, None)) == 0 {
        return Ok(Vec::new());
    }
    let prefix = Key::prefix(group, plural, namespace);
    let page = inner.store.range(&prefix, None, None, None, |_| true);
    Ok(page.map_err(read::store_failure)?.objects)
}

fn values(
    inner: &Inner,
    group: &str,
    plural: &str,
    namespace: Option<&str>,
) -> Outcome<Vec<Value>> {
    let objects = all(inner, group, plural, namespace)?;
    let values = objects
        .iter()
        .map(|object| object.value().map_err(internal));
    values.collect()
}
