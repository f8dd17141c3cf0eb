//! ReplicaSets.

use super::replicas;
use crate::defaults;
use crate::kind::{Kind, SCALE, STATUS};
use crate::strategy::{Column, Strategy};
use crate::validation::{self, Errors, Path};
use crate::values::set;
use jiff::Timestamp;
use serde_json::{Value, json};

/// The kind `ReplicaSet`.
pub(super) fn replica_set() -> Kind {
    let mut kind = Kind::new("apps", "v1", "ReplicaSet", "replicasets")
        .short(&["rs"])
        .categories(&["all"])
        .sub(SCALE)
        .sub(STATUS)
        .strategy(ReplicaSet);
    kind.generation = true;
    kind
}

struct ReplicaSet;

impl Strategy for ReplicaSet {
    fn default(&self, object: &mut Value) {
        defaults::replica_set(object);
    }

    fn prepare_create(&self, object: &mut Value) {
        set(object, "status", json!({"replicas": 0}));
    }

    fn validate(&self, object: &Value, here: &Path<'_>, errors: &mut Errors) {
        validation::replica_set(object, here, errors);
    }

    fn validate_update(&self, new: &Value, old: &Value, here: &Path<'_>, errors: &mut Errors) {
        validation::replica_set_update(new, old, here, errors);
    }

    fn selectable(&self) -> &'static [&'static str] {
        replicas::SELECTABLE
    }

    fn fields(&self, object: &Value) -> Vec<(String, String)> {
        replicas::fields(object)
    }

    fn warnings(&self, object: &Value) -> Vec<String> {
        validation::pod_warnings(&object["spec"]["template"]["spec"], "spec.template.spec")
    }

    fn columns(&self) -> &'static [Column] {
        replicas::COLUMNS
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        replicas::cells(object, now)
    }
}
