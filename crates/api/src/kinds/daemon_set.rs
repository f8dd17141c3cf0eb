//! DaemonSets.

use crate::defaults;
use crate::kind::{Kind, STATUS};
use crate::print;
use crate::strategy::{AGE, CONTAINERS, Column, IMAGES, NAME, SELECTOR, Strategy, column};
use crate::validation::{self, Errors, Path};
use crate::values::{ensure, fill, int, same, set, text};
use jiff::Timestamp;
use serde_json::{Value, json};

/// The kind `DaemonSet`.
pub(super) fn daemon_set() -> Kind {
    let mut kind = Kind::new("apps", "v1", "DaemonSet", "daemonsets")
        .short(&["ds"])
        .categories(&["all"])
        .sub(STATUS)
        .strategy(DaemonSet);
    kind.generation = true;
    kind
}

struct DaemonSet;

/// Counts changes of the template; clients of old rely on it.
const TEMPLATE_GENERATION: &str = "deprecated.daemonset.template.generation";

impl Strategy for DaemonSet {
    fn default(&self, object: &mut Value) {
        defaults::daemon_set(object);
    }

    fn prepare_create(&self, object: &mut Value) {
        set(
            object,
            "status",
            json!({
                "currentNumberScheduled": 0,
                "numberMisscheduled": 0,
                "desiredNumberScheduled": 0,
                "numberReady": 0,
            }),
        );
        let annotations = ensure(ensure(object, "metadata"), "annotations");
        fill(annotations, TEMPLATE_GENERATION, "1");
    }

    fn prepare_update(&self, new: &mut Value, old: &Value) {
        let before = text(old, &["metadata", "annotations", TEMPLATE_GENERATION]);
        let number: i64 = before.parse().unwrap_or(1);
        let changed = !same(&new["spec"], &old["spec"], "template");
        let number = number.saturating_add(changed.into());
        let annotations = ensure(ensure(new, "metadata"), "annotations");
        set(annotations, TEMPLATE_GENERATION, number.to_string());
    }

    fn validate(&self, object: &Value, here: &Path<'_>, errors: &mut Errors) {
        validation::daemon_set(object, here, errors);
    }

    fn validate_update(&self, new: &Value, old: &Value, here: &Path<'_>, errors: &mut Errors) {
        validation::daemon_set_update(new, old, here, errors);
    }

    fn warnings(&self, object: &Value) -> Vec<String> {
        validation::pod_warnings(&object["spec"]["template"]["spec"], "spec.template.spec")
    }

    fn columns(&self) -> &'static [Column] {
        const COLUMNS: &[Column] = &[
            NAME,
            column("Desired", "integer", "How many nodes should run a pod."),
            column("Current", "integer", "How many of them have one."),
            column("Ready", "integer", "How many of these pods are ready."),
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
            column("Node Selector", "string", "The labels of the nodes meant."),
            AGE,
            CONTAINERS,
            IMAGES,
            SELECTOR,
        ];
        COLUMNS
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let pod = &object["spec"]["template"]["spec"];
        let (names, images) = print::containers(pod);
        let number = |field: &str| Value::from(int(object, &["status", field]));
        vec![
            print::name(object),
            number("desiredNumberScheduled"),
            number("currentNumberScheduled"),
            number("numberReady"),
            number("updatedNumberScheduled"),
            number("numberAvailable"),
            print::label_map(&pod["nodeSelector"]).into(),
            print::age(object, now),
            names,
            images,
            print::selector(&object["spec"]["selector"]).into(),
        ]
    }
}
