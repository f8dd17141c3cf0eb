//! ReplicationControllers, the replica sets' elders.

use super::replicas;
use crate::defaults;
use crate::kind::{Kind, SCALE, STATUS};
use crate::strategy::{Column, Strategy};
use crate::validation::{self, Errors, Path};
use crate::values::set;
use jiff::Timestamp;
use serde_json::{Value, json};

/// The kind `ReplicationController`.
pub(super) fn replication_controller() -> Kind {
    let mut kind = Kind::new("", "v1", "ReplicationController", "replicationcontrollers")
        .short(&["rc"])
        .categories(&["all"])
        .sub(SCALE)
        .sub(STATUS)
        .strategy(ReplicationController);
    kind.generation = true;
    kind.orphans = true;
    kind
}

struct ReplicationController;

impl Strategy for ReplicationController {
    fn default(&self, object: &mut Value) {
        defaults::replication_controller(object);
    }

    fn prepare_create(&self, object: &mut Value) {
        set(object, "status", json!({"replicas": 0}));
    }

    fn validate(&self, object: &Value, here: &Path<'_>, errors: &mut Errors) {
        validation::replication_controller(object, here, errors);
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
