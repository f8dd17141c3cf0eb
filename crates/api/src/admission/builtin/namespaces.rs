//! Objects live in namespaces that are there and stay.

use super::stored;
use crate::api::Inner;
use crate::error::{Outcome, fail};
use crate::kind::Kind;
use crate::values::{name, namespace};
use consort_object::status::{Cause, Status};
use serde_json::Value;

/// The namespace must be there and not be on its way out.
pub(super) fn takes(inner: &Inner, kind: &Kind, value: &Value) -> Outcome<()> {
    let wanted = namespace(value);
    let Some(found) = stored(inner, "namespaces", None, wanted)? else {
        return fail(Status::not_found("", "namespaces", wanted));
    };
    if found.head.deletion.is_none() {
        return Ok(());
    }
    let status = Status::forbidden(
        &kind.group,
        &kind.plural,
        name(value),
        format!(
            "unable to create new content in namespace {wanted} because it is being terminated"
        ),
    );
    fail(status.with_cause(Cause {
        reason: "NamespaceTerminating".into(),
        message: format!("namespace {wanted} is being terminated"),
        field: "metadata.namespace".into(),
    }))
}
