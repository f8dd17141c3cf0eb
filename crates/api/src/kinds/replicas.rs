//! What replica sets and replication controllers show alike.

use crate::print;
use crate::strategy::{AGE, CONTAINERS, Column, IMAGES, NAME, SELECTOR, column};
use crate::values::int;
use jiff::Timestamp;
use serde_json::Value;

/// The fields a field selector can ask for.
pub(super) const SELECTABLE: &[&str] = &["status.replicas"];

/// Their values.
pub(super) fn fields(object: &Value) -> Vec<(String, String)> {
    let replicas = int(object, &["status", "replicas"]);
    vec![("status.replicas".into(), replicas.to_string())]
}

/// The columns.
pub(super) const COLUMNS: &[Column] = &[
    NAME,
    column("Desired", "integer", "How many pods are wanted."),
    column("Current", "integer", "How many pods there are."),
    column("Ready", "integer", "How many pods are ready."),
    AGE,
    CONTAINERS,
    IMAGES,
    SELECTOR,
];

/// The cells of a row.
pub(super) fn cells(object: &Value, now: Timestamp) -> Vec<Value> {
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
