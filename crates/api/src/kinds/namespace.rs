//! Namespaces.

use crate::kind::{Kind, NameRule, STATUS, Subresource};
use crate::print;
use crate::strategy::{AGE, Column, NAME, Strategy, column};
use crate::validation::{Errors, Path};
use crate::values::{copy, ensure, items, set, text};
use jiff::Timestamp;
use serde_json::{Value, json};

/// The kind `Namespace`.
pub(super) fn namespace() -> Kind {
    let mut kind = Kind::new("", "v1", "Namespace", "namespaces")
        .cluster()
        .short(&["ns"])
        .sub(Subresource {
            name: "finalize",
            kind: ("", "v1", "Namespace"),
            verbs: &["update"],
        })
        .sub(STATUS)
        .strategy(Namespace);
    kind.name_rule = NameRule::Label;
    // A namespace's contents must go first, one collection at a time.
    kind.verbs.retain(|verb| *verb != "deletecollection");
    kind
}

/// Namespaces the system cannot be without.
const PROTECTED: &[&str] = &["default", "kube-system", "kube-public"];

struct Namespace;

impl Strategy for Namespace {
    fn default(&self, object: &mut Value) {
        let name = text(object, &["metadata", "name"]).to_owned();
        if !name.is_empty() {
            let labels = ensure(ensure(object, "metadata"), "labels");
            set(labels, "kubernetes.io/metadata.name", name);
        }
    }

    fn prepare_create(&self, object: &mut Value) {
        let spec = ensure(object, "spec");
        let mut finalizers = items(spec, &["finalizers"]).to_vec();
        if !finalizers.iter().any(|finalizer| finalizer == "kubernetes") {
            finalizers.push("kubernetes".into());
        }
        set(spec, "finalizers", finalizers);
        set(object, "status", json!({"phase": "Active"}));
    }

    fn prepare_update(&self, new: &mut Value, old: &Value) {
        // Its finalizers change through the `finalize` subresource alone.
        copy(ensure(new, "spec"), &old["spec"], "finalizers");
    }

    fn validate(&self, object: &Value, here: &Path<'_>, errors: &mut Errors) {
        let place = here.field("spec");
        let place = place.field("finalizers");
        for (index, finalizer) in items(object, &["spec", "finalizers"]).iter().enumerate() {
            let finalizer = finalizer.as_str().unwrap_or_default();
            errors.check(
                &place.index(index),
                finalizer,
                consort_object::names::qualified_name(finalizer),
            );
        }
    }

    fn undeletable(&self, name: &str) -> Option<&'static str> {
        PROTECTED
            .contains(&name)
            .then_some("this namespace may not be deleted")
    }

    fn selectable(&self) -> &'static [&'static str] {
        &["name", "status.phase"]
    }

    fn fields(&self, object: &Value) -> Vec<(String, String)> {
        vec![
            ("name".into(), text(object, &["metadata", "name"]).into()),
            (
                "status.phase".into(),
                text(object, &["status", "phase"]).into(),
            ),
        ]
    }

    fn columns(&self) -> &'static [Column] {
        const COLUMNS: &[Column] = &[
            NAME,
            column("Status", "string", "The status of the namespace"),
            AGE,
        ];
        COLUMNS
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        vec![
            print::name(object),
            text(object, &["status", "phase"]).into(),
            print::age(object, now),
        ]
    }
}
