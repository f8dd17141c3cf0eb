//! StorageClasses and VolumeAttributesClasses.

use crate::kind::Kind;
use crate::print;
use crate::strategy::{AGE, Column, NAME, Strategy, column};
use crate::validation::{Errors, Path, csi_driver_name};
use crate::values::{at, fill, flag, items, members, same, text};
use consort_object::names;
use jiff::Timestamp;
use serde_json::Value;
use std::collections::HashSet;

/// How many parameters a class may have, and how many bytes together.
const MOST_PARAMETERS: usize = 512;
const MOST_BYTES: usize = 256 * 1024;

/// The kind `StorageClass`.
pub(super) fn storage_class() -> Kind {
    Kind::new("storage.k8s.io", "v1", "StorageClass", "storageclasses")
        .cluster()
        .short(&["sc"])
        .strategy(StorageClass)
}

/// The kind `VolumeAttributesClass`.
pub(super) fn volume_attributes_class() -> Kind {
    Kind::new(
        "storage.k8s.io",
        "v1",
        "VolumeAttributesClass",
        "volumeattributesclasses",
    )
    .cluster()
    .short(&["vac"])
    .strategy(AttributesClass)
}

fn is_default(object: &Value, notes: &[&str]) -> bool {
    notes
        .iter()
        .any(|note| text(object, &["metadata", "annotations", note]) == "true")
}

fn marked_name(object: &Value, notes: &[&str]) -> Value {
    let name = text(object, &["metadata", "name"]);
    if is_default(object, notes) {
        format!("{name} (default)").into()
    } else {
        name.into()
    }
}

fn parameters(object: &Value, here: &Path<'_>, errors: &mut Errors) {
    let place = here.field("parameters");
    let mut bytes = 0;
    let mut count = 0;
    for (key, value) in members(object, &["parameters"]) {
        count += 1;
        if key.is_empty() {
            errors.invalid(&place, key, "field can not be empty.");
        }
        bytes += key.len() + value.as_str().map_or(0, str::len);
    }
    if count > MOST_PARAMETERS {
        errors.too_long(&place, MOST_PARAMETERS);
    }
    if bytes > MOST_BYTES {
        errors.too_long(&place, MOST_BYTES);
    }
}

struct StorageClass;

const DEFAULT_CLASS: &[&str] = &[
    "storageclass.kubernetes.io/is-default-class",
    "storageclass.beta.kubernetes.io/is-default-class",
];

impl Strategy for StorageClass {
    fn default(&self, object: &mut Value) {
        fill(object, "reclaimPolicy", "Delete");
        fill(object, "volumeBindingMode", "Immediate");
    }

    fn validate(&self, object: &Value, here: &Path<'_>, errors: &mut Errors) {
        let provisioner = text(object, &["provisioner"]);
        let place = here.field("provisioner");
        if provisioner.is_empty() {
            errors.required(&place, "");
        } else {
            let lower = provisioner.to_lowercase();
            errors.check(&place, provisioner, names::qualified_name(&lower));
        }
        parameters(object, here, errors);
        let policy = text(object, &["reclaimPolicy"]);
        if !policy.is_empty() {
            errors.supported(&here.field("reclaimPolicy"), policy, &["Delete", "Retain"]);
        }
        let mode = text(object, &["volumeBindingMode"]);
        if mode.is_empty() {
            errors.required(&here.field("volumeBindingMode"), "");
        } else {
            errors.supported(
                &here.field("volumeBindingMode"),
                mode,
                &["Immediate", "WaitForFirstConsumer"],
            );
        }
        topologies(object, &here.field("allowedTopologies"), errors);
    }

    fn validate_update(&self, new: &Value, old: &Value, here: &Path<'_>, errors: &mut Errors) {
        self.validate(new, here, errors);
        for field in ["parameters", "provisioner", "reclaimPolicy"] {
            if !same(new, old, field) {
                errors.forbidden(
                    &here.field(field),
                    format!("updates to {field} are forbidden."),
                );
            }
        }
        errors.immutable(
            &here.field("volumeBindingMode"),
            new.get("volumeBindingMode"),
            old.get("volumeBindingMode"),
        );
    }

    fn columns(&self) -> &'static [Column] {
        const COLUMNS: &[Column] = &[
            NAME,
            column("Provisioner", "string", "Who makes volumes of the class."),
            column(
                "ReclaimPolicy",
                "string",
                "What becomes of a volume when its claim is gone.",
            ),
            column(
                "VolumeBindingMode",
                "string",
                "When a claim gets its volume.",
            ),
            column(
                "AllowVolumeExpansion",
                "string",
                "Whether volumes can grow.",
            ),
            AGE,
        ];
        COLUMNS
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        vec![
            marked_name(object, DEFAULT_CLASS),
            text(object, &["provisioner"]).into(),
            print::or(text(object, &["reclaimPolicy"]), "Delete").into(),
            print::or(text(object, &["volumeBindingMode"]), "Immediate").into(),
            flag(object, &["allowVolumeExpansion"]).into(),
            print::age(object, now),
        ]
    }
}

fn topologies(object: &Value, list: &Path<'_>, errors: &mut Errors) {
    let mut terms: Vec<&Value> = Vec::new();
    for (index, term) in items(object, &["allowedTopologies"]).iter().enumerate() {
        let place = list.index(index);
        let expressions = place.field("matchLabelExpressions");
        let mut keys = HashSet::new();
        for (index, expression) in items(term, &["matchLabelExpressions"]).iter().enumerate() {
            let place = expressions.index(index);
            let key = text(expression, &["key"]);
            errors.check(&place.field("key"), key, names::qualified_name(key));
            if !keys.insert(key) {
                errors.duplicate(&place.field("key"), key);
            }
            let values = items(expression, &["values"]);
            let place = place.field("values");
            if values.is_empty() {
                errors.required(&place, "");
            }
            let mut seen = HashSet::new();
            for (index, value) in values.iter().enumerate() {
                if !seen.insert(value.as_str()) {
                    errors.duplicate(&place.index(index), value.clone());
                }
            }
        }
        if terms.contains(&term) {
            errors.duplicate(&expressions, "");
        }
        terms.push(term);
    }
}

struct AttributesClass;

const DEFAULT_ATTRIBUTES: &[&str] = &["storageclass.kubernetes.io/is-default-class"];

impl Strategy for AttributesClass {
    fn validate(&self, object: &Value, here: &Path<'_>, errors: &mut Errors) {
        csi_driver_name(
            text(object, &["driverName"]),
            &here.field("driverName"),
            errors,
        );
        if at(object, &["parameters"]).is_none_or(|value| value == &serde_json::json!({})) {
            errors.required(
                &here.field("parameters"),
                "must contain at least one key/value pair",
            );
        }
        parameters(object, here, errors);
    }

    fn validate_update(&self, new: &Value, old: &Value, here: &Path<'_>, errors: &mut Errors) {
        self.validate(new, here, errors);
        for field in ["driverName", "parameters"] {
            if !same(new, old, field) {
                errors.forbidden(
                    &here.field(field),
                    format!("updates to {field} are forbidden."),
                );
            }
        }
    }

    fn columns(&self) -> &'static [Column] {
        const COLUMNS: &[Column] = &[
            NAME,
            column("DriverName", "string", "The driver the attributes are for."),
            AGE,
        ];
        COLUMNS
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        vec![
            marked_name(object, DEFAULT_ATTRIBUTES),
            text(object, &["driverName"]).into(),
            print::age(object, now),
        ]
    }
}
