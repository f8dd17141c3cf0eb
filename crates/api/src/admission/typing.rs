//! `status` of validating policies: do their expressions fit the kinds they are about?
//!
//! A fault there is a warning only: the kinds a policy meets may differ from those its rules name.

use super::policies::type_faults;
use crate::api::Inner;
use crate::handlers::update::{Change, Part, Wanted};
use crate::identity::User;
use crate::kind::Kind;
use crate::managed::Listed;
use crate::registry::Registry;
use crate::values::{ensure, int, items, name, set};
use consort_cel::{Decl, Type};
use consort_object::openapi;
use consort_object::schema::{Gvk, Schema};
use consort_store::Key;
use serde_json::{Value, json};
use std::sync::Arc;

/// How many kinds a policy is checked against, at most; upstream's number.
const MOST_KINDS: usize = 10;

/// Who writes these statuses.
const MANAGER: &str = "consort";

/// Bring the statuses of all validating policies up to their specifications: what was written before a stop
/// or while this looked away has no event any more.
pub(super) async fn check_all(inner: &Arc<Inner>) {
    let prefix = Key::prefix(
        "admissionregistration.k8s.io",
        "validatingadmissionpolicies",
        None,
    );
    let page = match inner.store.range(&prefix, None, None, None, |_| true) {
        Ok(page) => page,
        Err(error) => {
            tracing::error!(%error, "reading validating policies");
            return;
        }
    };
    for policy in page.objects {
        if let Ok(policy) = policy.value() {
            check(inner, &policy).await;
        }
    }
}

/// Bring the status of a validating policy up to its specification.
pub(super) async fn check(inner: &Arc<Inner>, policy: &Value) {
    let generation = int(policy, &["metadata", "generation"]);
    if int(policy, &["status", "observedGeneration"]) >= generation {
        return;
    }
    let registry = inner.registry();
    let Some(kind) = registry
        .resource(
            "admissionregistration.k8s.io",
            "v1",
            "validatingadmissionpolicies",
        )
        .cloned()
    else {
        return;
    };
    let found = warnings(&registry, policy);
    let user = User::admin();
    let change = Change {
        inner,
        registry: &registry,
        user: &user,
        kind: &kind,
        namespace: None,
        name: name(policy),
        part: Part::Status,
        dry_run: false,
        manager: MANAGER.into(),
        named: None,
        client: None,
        subresource: Part::Status.subresource(),
        trail: None,
    };
    let result = change
        .run(|old| {
            let mut value = old.clone();
            if int(old, &["metadata", "generation"]) == generation {
                let mut typed = json!({});
                if !found.is_empty() {
                    set(&mut typed, "expressionWarnings", found.clone());
                }
                let status = ensure(&mut value, "status");
                set(status, "observedGeneration", generation);
                set(status, "typeChecking", typed);
            }
            Ok(Wanted {
                value,
                warnings: Vec::new(),
                listed: Listed::Sent,
            })
        })
        .await;
    if let Err(failure) = result
        && failure.code != 404
    {
        tracing::warn!(
            policy = name(policy),
            why = failure.message,
            "writing a policy's status"
        );
    }
}

fn warnings(registry: &Registry, policy: &Value) -> Vec<Value> {
    let mut by_field: Vec<(String, String)> = Vec::new();
    for kind in kinds(registry, policy) {
        let Some(object) = object_type(kind) else {
            continue;
        };
        let gvk = Gvk::new(&kind.group, &kind.version, &kind.kind);
        for (field, fault) in type_faults(policy, &object) {
            let told = format!("{gvk}: {fault}\n");
            match by_field.iter_mut().find(|(known, _)| *known == field) {
                Some((_, all)) => all.push_str(&told),
                None => by_field.push((field, told)),
            }
        }
    }
    by_field
        .into_iter()
        .map(|(field, warning)| json!({"fieldRef": field, "warning": warning}))
        .collect()
}

/// The kinds that rules without wildcards name.
fn kinds<'r>(registry: &'r Registry, policy: &Value) -> Vec<&'r Kind> {
    let mut found: Vec<&Kind> = Vec::new();
    for rule in items(policy, &["spec", "matchConstraints", "resourceRules"]) {
        let named = |field: &str| {
            items(rule, &[field])
                .iter()
                .filter_map(Value::as_str)
                .filter(|name| !name.contains('*'))
        };
        for group in named("apiGroups") {
            for version in named("apiVersions") {
                for resource in named("resources").filter(|name| !name.contains('/')) {
                    let Some(kind) = registry.resource(group, version, resource) else {
                        continue;
                    };
                    if found.len() < MOST_KINDS
                        && !found
                            .iter()
                            .any(|one| std::ptr::eq(*one, Arc::as_ptr(kind)))
                    {
                        found.push(kind);
                    }
                }
            }
        }
    }
    found
}

/// What expressions see of a kind's objects, if its schema is known.
fn object_type(kind: &Kind) -> Option<Type> {
    let gvk = Gvk::new(&kind.group, &kind.version, &kind.kind);
    // Not `object`: the variable `object` is not the type.
    let title = format!("{}.{}", kind.api_version().replace('/', "."), kind.kind);
    if let Some(version) = kind.custom() {
        let decl = Decl::from_schema(&version.props().ok()?, true)?;
        return Some(decl.named(&title).ty().clone());
    }
    let (own, all) = openapi::definitions(Schema::builtin(), &gvk)?;
    let resolve = |reference: &str| all.get(reference.rsplit('/').next()?);
    let decl = Decl::from_schema_with(all.get(&own)?, true, &resolve)?;
    Some(decl.named(&title).ty().clone())
}
