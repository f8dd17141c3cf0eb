//! ReplicaSets, and their elders, the ReplicationControllers: they differ in how they select pods.

use crate::defaults;
use crate::kind::{Kind, SCALE, STATUS};
use crate::print;
use crate::strategy::{AGE, CONTAINERS, Column, IMAGES, NAME, SELECTOR, Strategy, column};
use crate::validation::{self, Errors, Path};
use crate::values::{int, set};
use jiff::Timestamp;
use serde_json::{Value, json};

/// The kind `ReplicaSet`.
pub(super) fn replica_set() -> Kind {
    let set = Replicas {
        default: defaults::replica_set,
        check: validation::replica_set,
        check_update: validation::replica_set_update,
    };
    kind(
        Kind::new("apps", "v1", "ReplicaSet", "replicasets"),
        "rs",
        set,
    )
}

/// The kind `ReplicationController`.
pub(super) fn replication_controller() -> Kind {
    let controller = Replicas {
        default: defaults::replication_controller,
        check: validation::replication_controller,
        check_update: |new, _, here, errors| validation::replication_controller(new, here, errors),
    };
    let base = Kind::new("", "v1", "ReplicationController", "replicationcontrollers");
    let mut kind = kind(base, "rc", controller);
    kind.orphans = true;
    kind
}

fn kind(base: Kind, short: &str, strategy: Replicas) -> Kind {
    let mut kind = base
        .short(&[short])
        .categories(&["all"])
        .sub(SCALE)
        .sub(STATUS)
        .strategy(strategy);
    kind.generation = true;
    kind
}

struct Replicas {
    default: fn(&mut Value),
    check: fn(&Value, &Path<'_>, &mut Errors),
    check_update: fn(&Value, &Value, &Path<'_>, &mut Errors),
}

impl Strategy for Replicas {
    fn default(&self, object: &mut Value) {
        (self.default)(object);
    }

    fn prepare_create(&self, object: &mut Value) {
        set(object, "status", json!({"replicas": 0}));
    }

    fn validate(&self, object: &Value, here: &Path<'_>, errors: &mut Errors) {
        (self.check)(object, here, errors);
    }

    fn validate_update(&self, new: &Value, old: &Value, here: &Path<'_>, errors: &mut Errors) {
        (self.check_update)(new, old, here, errors);
    }

    fn warnings(&self, object: &Value) -> Vec<String> {
        validation::pod_warnings(&object["spec"]["template"]["spec"], "spec.template.spec")
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
            CONTAINERS,
            IMAGES,
            SELECTOR,
        ];
        COLUMNS
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let (names, images) = print::containers(&object["spec"]["template"]["spec"]);
        let selector = &object["spec"]["selector"];
        vec![
            print::name(object),
            int(object, &["spec", "replicas"]).into(),
            int(object, &["status", "replicas"]).into(),
            int(object, &["status", "readyReplicas"]).into(),
            print::age(object, now),
            names,
            images,
            print::any_selector(object, selector).into(),
        ]
    }
}
