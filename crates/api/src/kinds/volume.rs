//! PersistentVolumes and the claims to them.

use crate::defaults;
use crate::kind::{Kind, STATUS};
use crate::print;
use crate::strategy::{AGE, Column, NAME, Strategy, column, wide};
use crate::validation::{self, Errors, Path};
use crate::values::{at, copy, ensure, items, set, text};
use jiff::Timestamp;
use serde_json::{Value, json};

/// The kind `PersistentVolume`.
pub(super) fn persistent_volume() -> Kind {
    let mut kind = Kind::new("", "v1", "PersistentVolume", "persistentvolumes")
        .cluster()
        .short(&["pv"])
        .sub(STATUS)
        .strategy(Volume);
    kind.returns_deleted = true;
    kind
}

/// The kind `PersistentVolumeClaim`.
pub(super) fn persistent_volume_claim() -> Kind {
    let mut kind = Kind::new("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims")
        .short(&["pvc"])
        .sub(STATUS)
        .strategy(Claim);
    kind.returns_deleted = true;
    kind
}

/// Access modes in their short form, each once, in the order users know.
fn modes(list: &[Value]) -> String {
    let known = [
        ("ReadWriteOnce", "RWO"),
        ("ReadOnlyMany", "ROX"),
        ("ReadWriteMany", "RWX"),
        ("ReadWriteOncePod", "RWOP"),
    ];
    let short: Vec<&str> = known
        .iter()
        .filter(|(mode, _)| list.iter().any(|one| one == mode))
        .map(|(_, short)| *short)
        .collect();
    short.join(",")
}

/// The class, which objects of old have in an annotation.
fn class(object: &Value) -> &str {
    let old = text(
        object,
        &[
            "metadata",
            "annotations",
            "volume.beta.kubernetes.io/storage-class",
        ],
    );
    print::or(old, text(object, &["spec", "storageClassName"]))
}

fn phase(object: &Value) -> &str {
    if at(object, &["metadata", "deletionTimestamp"]).is_some() {
        "Terminating"
    } else {
        text(object, &["status", "phase"])
    }
}

fn mode(object: &Value) -> &str {
    print::or(text(object, &["spec", "volumeMode"]), "<unset>")
}

struct Volume;

impl Strategy for Volume {
    fn default(&self, object: &mut Value) {
        defaults::persistent_volume(object);
    }

    fn prepare_create(&self, object: &mut Value) {
        let now = consort_object::time::now();
        set(
            object,
            "status",
            json!({"phase": "Pending", "lastPhaseTransitionTime": now}),
        );
    }

    fn prepare_status(&self, new: &mut Value, old: &Value) {
        let (before, status) = (&old["status"], ensure(new, "status"));
        let moved = text(status, &["phase"]) != text(before, &["phase"]);
        let told = at(status, &["lastPhaseTransitionTime"]).is_some()
            && status.get("lastPhaseTransitionTime") != before.get("lastPhaseTransitionTime");
        if moved && !told {
            set(
                status,
                "lastPhaseTransitionTime",
                consort_object::time::now(),
            );
        } else if !moved && !told {
            copy(status, before, "lastPhaseTransitionTime");
        }
    }

    fn validate(&self, object: &Value, here: &Path<'_>, errors: &mut Errors) {
        validation::persistent_volume(object, here, errors);
    }

    fn validate_update(&self, new: &Value, old: &Value, here: &Path<'_>, errors: &mut Errors) {
        validation::persistent_volume_update(new, old, here, errors);
    }

    fn columns(&self) -> &'static [Column] {
        const COLUMNS: &[Column] = &[
            NAME,
            column("Capacity", "string", "How much fits in."),
            column("Access Modes", "string", "How it can be mounted."),
            column(
                "Reclaim Policy",
                "string",
                "What becomes of it when its claim is gone.",
            ),
            column("Status", "string", "Whether it is bound."),
            column("Claim", "string", "The claim it is bound to."),
            column("StorageClass", "string", "The class it is of."),
            column(
                "VolumeAttributesClass",
                "string",
                "The class of its changeable attributes.",
            ),
            column("Reason", "string", "Why it is in this status."),
            AGE,
            wide("VolumeMode", "string", "A file system or a raw device."),
        ];
        COLUMNS
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let spec = &object["spec"];
        let claim = match at(spec, &["claimRef"]) {
            None => String::new(),
            Some(claim) => format!("{}/{}", text(claim, &["namespace"]), text(claim, &["name"])),
        };
        vec![
            print::name(object),
            text(spec, &["capacity", "storage"]).into(),
            modes(items(spec, &["accessModes"])).into(),
            text(spec, &["persistentVolumeReclaimPolicy"]).into(),
            phase(object).into(),
            claim.into(),
            class(object).into(),
            print::or(text(spec, &["volumeAttributesClassName"]), "<unset>").into(),
            text(object, &["status", "reason"]).into(),
            print::age(object, now),
            mode(object).into(),
        ]
    }
}

struct Claim;

impl Strategy for Claim {
    fn default(&self, object: &mut Value) {
        defaults::persistent_volume_claim(object);
    }

    fn prepare_create(&self, object: &mut Value) {
        set(object, "status", json!({"phase": "Pending"}));
    }

    fn validate(&self, object: &Value, here: &Path<'_>, errors: &mut Errors) {
        validation::claim_spec(&object["spec"], &here.field("spec"), errors);
    }

    fn validate_update(&self, new: &Value, old: &Value, here: &Path<'_>, errors: &mut Errors) {
        validation::claim_update(new, old, here, errors);
    }

    fn validate_status(&self, new: &Value, _old: &Value, here: &Path<'_>, errors: &mut Errors) {
        let place = here.field("status");
        let place = place.field("capacity");
        for (name, amount) in crate::values::members(new, &["status", "capacity"]) {
            if amount.as_str().is_some_and(|text| text.starts_with('-')) {
                errors.invalid(
                    &place.key(name),
                    amount.clone(),
                    "must be greater than or equal to 0",
                );
            }
        }
    }

    fn columns(&self) -> &'static [Column] {
        const COLUMNS: &[Column] = &[
            NAME,
            column("Status", "string", "Whether it is bound."),
            column("Volume", "string", "The volume it is bound to."),
            column("Capacity", "string", "How much the volume holds."),
            column("Access Modes", "string", "How it can be mounted."),
            column("StorageClass", "string", "The class that was asked for."),
            column(
                "VolumeAttributesClass",
                "string",
                "The class of its changeable attributes.",
            ),
            AGE,
            wide("VolumeMode", "string", "A file system or a raw device."),
        ];
        COLUMNS
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let (spec, status) = (&object["spec"], &object["status"]);
        let volume = text(spec, &["volumeName"]);
        let (capacity, access) = if volume.is_empty() {
            ("", String::new())
        } else {
            (
                text(status, &["capacity", "storage"]),
                modes(items(status, &["accessModes"])),
            )
        };
        vec![
            print::name(object),
            phase(object).into(),
            volume.into(),
            capacity.into(),
            access.into(),
            class(object).into(),
            print::or(text(spec, &["volumeAttributesClassName"]), "<unset>").into(),
            print::age(object, now),
            mode(object).into(),
        ]
    }
}
