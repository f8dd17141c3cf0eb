//! StatefulSets.

use crate::defaults;
use crate::kind::{Kind, NameRule, SCALE, STATUS};
use crate::print;
use crate::strategy::{AGE, CONTAINERS, Column, IMAGES, NAME, Strategy, column};
use crate::validation::{self, Errors, Path};
use crate::values::{int, set};
use jiff::Timestamp;
use serde_json::{Value, json};

/// The kind `StatefulSet`.
pub(super) fn stateful_set() -> Kind {
    let mut kind = Kind::new("apps", "v1", "StatefulSet", "statefulsets")
        .short(&["sts"])
        .categories(&["all"])
        .sub(SCALE)
        .sub(STATUS)
        .strategy(StatefulSet);
    // Its pods' names are labels, and begin with this one.
    kind.name_rule = NameRule::Label;
    kind.generation = true;
    kind
}

struct StatefulSet;

impl Strategy for StatefulSet {
    fn default(&self, object: &mut Value) {
        defaults::stateful_set(object);
    }

    fn prepare_create(&self, object: &mut Value) {
        set(
            object,
            "status",
            json!({"replicas": 0, "availableReplicas": 0}),
        );
    }

    fn validate(&self, object: &Value, here: &Path<'_>, errors: &mut Errors) {
        validation::stateful_set(object, here, errors);
    }

    fn validate_update(&self, new: &Value, old: &Value, here: &Path<'_>, errors: &mut Errors) {
        validation::stateful_set_update(new, old, here, errors);
    }

    fn warnings(&self, object: &Value) -> Vec<String> {
        validation::pod_warnings(&object["spec"]["template"]["spec"], "spec.template.spec")
    }

    fn columns(&self) -> &'static [Column] {
        const COLUMNS: &[Column] = &[
            NAME,
            column("Ready", "string", "Number of the pod with ready state"),
            AGE,
            CONTAINERS,
            IMAGES,
        ];
        COLUMNS
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let (names, images) = print::containers(&object["spec"]["template"]["spec"]);
        let ready = int(object, &["status", "readyReplicas"]);
        let wanted = int(object, &["spec", "replicas"]);
        vec![
            print::name(object),
            format!("{ready}/{wanted}").into(),
            print::age(object, now),
            names,
            images,
        ]
    }
}
