//! Deployments.

use crate::defaults;
use crate::kind::{Kind, SCALE, STATUS};
use crate::print;
use crate::strategy::{AGE, CONTAINERS, Column, IMAGES, NAME, SELECTOR, Strategy, column};
use crate::validation::{self, Errors, Path};
use crate::values::{int, same, set};
use jiff::Timestamp;
use serde_json::{Value, json};

/// The kind `Deployment`.
pub(super) fn deployment() -> Kind {
    let mut kind = Kind::new("apps", "v1", "Deployment", "deployments")
        .short(&["deploy"])
        .categories(&["all"])
        .sub(SCALE)
        .sub(STATUS)
        .strategy(Deployment);
    kind.generation = true;
    kind
}

struct Deployment;

impl Strategy for Deployment {
    fn default(&self, object: &mut Value) {
        defaults::deployment(object);
    }

    fn prepare_create(&self, object: &mut Value) {
        set(object, "status", json!({}));
    }

    fn wants_more(&self, new: &Value, old: &Value) -> bool {
        !same(new, old, "spec") || !same(&new["metadata"], &old["metadata"], "annotations")
    }

    fn validate(&self, object: &Value, here: &Path<'_>, errors: &mut Errors) {
        validation::deployment(object, here, errors);
    }

    fn validate_update(&self, new: &Value, old: &Value, here: &Path<'_>, errors: &mut Errors) {
        validation::deployment_update(new, old, here, errors);
    }

    fn warnings(&self, object: &Value) -> Vec<String> {
        validation::pod_warnings(&object["spec"]["template"]["spec"], "spec.template.spec")
    }

    fn columns(&self) -> &'static [Column] {
        const COLUMNS: &[Column] = &[
            NAME,
            column("Ready", "string", "Number of the pod with ready state"),
            column(
                "Up-to-date",
                "integer",
                "Pods made from the present template.",
            ),
            column(
                "Available",
                "integer",
                "Pods that have been ready long enough.",
            ),
            AGE,
            CONTAINERS,
            IMAGES,
            SELECTOR,
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
            int(object, &["status", "updatedReplicas"]).into(),
            int(object, &["status", "availableReplicas"]).into(),
            print::age(object, now),
            names,
            images,
            print::selector(&object["spec"]["selector"]).into(),
        ]
    }
}
