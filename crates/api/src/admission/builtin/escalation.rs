//! Nobody hands out rights it does not have.

use crate::api::Inner;
use crate::error::{Outcome, fail, internal};
use crate::handlers::read;
use crate::identity::{Attributes, Rule, User, describe, quoted, uncovered};
use crate::kind::Kind;
use crate::values::{at, name, namespace, text};
use consort_object::status::Status;
use consort_store::Key;
use serde::Deserialize;
use serde_json::Value;

/// The rules of a role.
fn rules_of(role: &Value) -> Vec<Rule> {
    Vec::<Rule>::deserialize(role.get("rules").unwrap_or(&Value::Null)).unwrap_or_default()
}

/// Nobody may hand out rights it does not have, unless it may `escalate` (or `bind`) roles.
pub(super) fn check(inner: &Inner, user: &User, kind: &Kind, value: &Value) -> Outcome<()> {
    if kind.group != "rbac.authorization.k8s.io" {
        return Ok(());
    }
    let space = if kind.namespaced {
        namespace(value)
    } else {
        ""
    };
    let may = |verb: &str, resource: &str, role: &str| {
        let wanted = Attributes {
            verb,
            group: &kind.group,
            version: &kind.version,
            resource,
            namespace: space,
            name: role,
            ..Attributes::default()
        };
        inner.authorizer.authorize(user, &wanted).allowed
    };
    let refuse = |why: &str| {
        fail(Status::forbidden(
            &kind.group,
            &kind.plural,
            name(value),
            why,
        ))
    };
    let held = || inner.authorizer.rules(user, space);
    let wanted = if kind.kind.ends_with("Binding") {
        let role = text(value, &["roleRef", "name"]);
        let cluster = text(value, &["roleRef", "kind"]) == "ClusterRole";
        let plural = if cluster { "clusterroles" } else { "roles" };
        if may("bind", plural, role) {
            return Ok(());
        }
        let at = (!cluster).then_some(space);
        // Read from the store: the authorizer hears of a role a moment after it was made.
        let stored = Key::new(&kind.group, plural, at, role)
            .ok()
            .map(|key| inner.store.get(&key).map_err(read::store_failure))
            .transpose()?
            .flatten();
        let Some(stored) = stored else {
            return fail(Status::not_found(&kind.group, plural, role));
        };
        rules_of(&stored.value().map_err(internal)?)
    } else {
        if may("escalate", &kind.plural, name(value)) {
            return Ok(());
        }
        rules_of(value)
    };
    let missing = uncovered(&held(), &wanted);
    if !missing.is_empty() {
        return refuse(&format!(
            "user {:?} (groups={}) is attempting to grant RBAC permissions not currently held:\n{}",
            user.name,
            quoted(&user.groups),
            describe(&missing)
        ));
    }
    // What an aggregate will gather is not known: only who may do all may make it.
    if at(value, &["aggregationRule"]).is_some() && !uncovered(&held(), &[Rule::all()]).is_empty() {
        return refuse("must have cluster-admin privileges to use the aggregationRule");
    }
    Ok(())
}

/// Whether a change is one the garbage collector makes: of owners and finalizers.
pub(super) fn only_ownership_differs(new: &Value, old: &Value) -> bool {
    let strip = |value: &Value| {
        let mut value = value.clone();
        if let Some(meta) = value.get_mut("metadata").and_then(Value::as_object_mut) {
            for field in [
                "ownerReferences",
                "finalizers",
                "managedFields",
                "resourceVersion",
                "generation",
            ] {
                meta.remove(field);
            }
        }
        value
    };
    strip(new) == strip(old)
}
