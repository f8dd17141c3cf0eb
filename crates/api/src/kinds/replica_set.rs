//! ReplicaSets.

use crate::defaults;
use crate::kind::{Kind, SCALE, STATUS};
use crate::print;
use crate::strategy::{AGE, Column, NAME, Strategy, column, wide};
use crate::validation::{self, Errors, Path};
use crate::values::{int, set};
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
        &["status.replicas"]
    }

    fn fields(&self, object: &Value) -> Vec<(String, String)> {
        let replicas = int(object, &["status", "replicas"]);
        vec![("status.replicas".into(), replicas.to_string())]
    }

    fn columns(&self) -> &'static [Column] {
        const COLUMNS: &[Column] = &[
            NAME,
            column("Desired", "integer", "How many pods are wanted."),
            column("Current", "integer", "How many pods there are."),
            column("Ready", "integer", "How many pods are ready."),
            AGE,
            wide(
                "Containers",
                "string",
                "Names of each container in the template.",
            ),
            wide(
                "Images",
                "string",
                "Images referenced by each container in the template.",
            ),
            wide("Selector", "string", "The labels of the pods it owns."),
        ];
        COLUMNS
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let (names, images) = print::containers(&object["spec"]["template"]["spec"]);
        vec![
            print::name(object),
            int(object, &["spec", "replicas"]).into(),
            int(object, &["status", "replicas"]).into(),
            int(object, &["status", "readyReplicas"]).into(),
            print::age(object, now),
            names,
            images,
            print::selector(&object["spec"]["selector"]).into(),
        ]
    }
}
