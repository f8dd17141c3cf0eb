//! What storage drivers say of themselves: CSIDrivers, CSINodes, CSIStorageCapacities, and
//! VolumeAttachments, by which they are asked to act.

use crate::kind::{Kind, STATUS};
use crate::print;
use crate::strategy::{AGE, Column, NAME, Strategy, column};
use crate::validation::{Errors, Path, csi_driver_name, label_selector};
use crate::values::{at, ensure, fill, flag, items, same, set, text};
use consort_object::names;
use jiff::Timestamp;
use serde_json::{Value, json};
use std::collections::HashSet;

const GROUP: &str = "storage.k8s.io";

/// The kind `CSIDriver`.
pub(super) fn driver() -> Kind {
    let mut kind = Kind::new(GROUP, "v1", "CSIDriver", "csidrivers")
        .cluster()
        .strategy(Driver);
    kind.generation = true;
    kind.unconditional_update = false;
    kind
}

/// The kind `CSINode`.
pub(super) fn node() -> Kind {
    let mut kind = Kind::new(GROUP, "v1", "CSINode", "csinodes")
        .cluster()
        .strategy(Node);
    kind.unconditional_update = false;
    kind
}

/// The kind `CSIStorageCapacity`.
pub(super) fn storage_capacity() -> Kind {
    let mut kind =
        Kind::new(GROUP, "v1", "CSIStorageCapacity", "csistoragecapacities").strategy(Capacity);
    kind.unconditional_update = false;
    kind
}

/// The kind `VolumeAttachment`.
pub(super) fn attachment() -> Kind {
    let mut kind = Kind::new(GROUP, "v1", "VolumeAttachment", "volumeattachments")
        .cluster()
        .sub(STATUS)
        .strategy(Attachment);
    kind.unconditional_update = false;
    kind
}

struct Driver;

impl Strategy for Driver {
    fn default(&self, object: &mut Value) {
        let spec = ensure(object, "spec");
        fill(spec, "attachRequired", true);
        fill(spec, "podInfoOnMount", false);
        fill(spec, "storageCapacity", false);
        fill(spec, "fsGroupPolicy", "ReadWriteOnceWithFSType");
        if items(spec, &["volumeLifecycleModes"]).is_empty() {
            set(spec, "volumeLifecycleModes", json!(["Persistent"]));
        }
        fill(spec, "requiresRepublish", false);
        fill(spec, "seLinuxMount", false);
    }

    fn validate(&self, object: &Value, here: &Path<'_>, errors: &mut Errors) {
        csi_driver_name(
            text(object, &["metadata", "name"]),
            &here.field("name"),
            errors,
        );
        let here = here.field("spec");
        let spec = &object["spec"];
        let policy = text(spec, &["fsGroupPolicy"]);
        errors.supported(
            &here.field("fsGroupPolicy"),
            policy,
            &["File", "None", "ReadWriteOnceWithFSType"],
        );
        let list = here.field("tokenRequests");
        let mut audiences = HashSet::new();
        for (index, request) in items(spec, &["tokenRequests"]).iter().enumerate() {
            let place = list.index(index);
            let audience = text(request, &["audience"]);
            if !audiences.insert(audience) {
                errors.duplicate(&place.field("audience"), audience);
            }
            let Some(seconds) = at(request, &["expirationSeconds"]).and_then(Value::as_i64) else {
                continue;
            };
            let place = place.field("expirationSeconds");
            if seconds < 600 {
                errors.invalid(
                    &place,
                    seconds,
                    "may not specify a duration less than 10 minutes",
                );
            }
            if seconds > 1 << 32 {
                errors.invalid(
                    &place,
                    seconds,
                    "may not specify a duration larger than 2^32 seconds",
                );
            }
        }
        let list = here.field("volumeLifecycleModes");
        for mode in items(spec, &["volumeLifecycleModes"]) {
            let mode = mode.as_str().unwrap_or_default();
            errors.supported(&list, mode, &["Ephemeral", "Persistent"]);
        }
    }

    fn validate_update(&self, new: &Value, old: &Value, here: &Path<'_>, errors: &mut Errors) {
        self.validate(new, here, errors);
        let here = here.field("spec");
        for field in ["attachRequired", "volumeLifecycleModes"] {
            if !same(&new["spec"], &old["spec"], field) {
                errors.invalid(
                    &here.field(field),
                    new["spec"][field].clone(),
                    "field is immutable",
                );
            }
        }
    }

    fn columns(&self) -> &'static [Column] {
        const COLUMNS: &[Column] = &[
            NAME,
            column(
                "AttachRequired",
                "boolean",
                "Volumes must be attached first.",
            ),
            column(
                "PodInfoOnMount",
                "boolean",
                "The driver is told of the pod.",
            ),
            column(
                "StorageCapacity",
                "boolean",
                "The driver reports free space.",
            ),
            column(
                "TokenRequests",
                "string",
                "Audiences of the tokens it gets.",
            ),
            column(
                "RequiresRepublish",
                "boolean",
                "It is called again and again.",
            ),
            column("Modes", "string", "Which volumes it can serve."),
            AGE,
        ];
        COLUMNS
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let spec = &object["spec"];
        let join = |list: &str, field: &str, none: &'static str| -> Value {
            let all: Vec<&str> = items(spec, &[list])
                .iter()
                .map(|item| item.as_str().unwrap_or_else(|| text(item, &[field])))
                .collect();
            print::or(&all.join(","), none).into()
        };
        vec![
            print::name(object),
            flag(spec, &["attachRequired"]).into(),
            flag(spec, &["podInfoOnMount"]).into(),
            flag(spec, &["storageCapacity"]).into(),
            join("tokenRequests", "audience", "<unset>"),
            flag(spec, &["requiresRepublish"]).into(),
            join("volumeLifecycleModes", "", "<none>"),
            print::age(object, now),
        ]
    }
}

struct Node;

impl Strategy for Node {
    fn validate(&self, object: &Value, here: &Path<'_>, errors: &mut Errors) {
        let list = here.field("spec");
        let list = list.field("drivers");
        let mut seen = HashSet::new();
        for (index, driver) in items(object, &["spec", "drivers"]).iter().enumerate() {
            let place = list.index(index);
            let name = text(driver, &["name"]);
            csi_driver_name(name, &place.field("name"), errors);
            if !seen.insert(name) {
                errors.duplicate(&place.field("name"), name);
            }
            let id = text(driver, &["nodeID"]);
            if id.is_empty() {
                errors.required(&place.field("nodeID"), "");
            } else if id.len() > 256 {
                errors.invalid(&place.field("nodeID"), id, "must be 256 characters or less");
            }
            errors.not_negative(
                &place.field("allocatable").field("count"),
                at(driver, &["allocatable", "count"]),
            );
            let keys = place.field("topologyKeys");
            let mut own = HashSet::new();
            for (index, key) in items(driver, &["topologyKeys"]).iter().enumerate() {
                let key = key.as_str().unwrap_or_default();
                if !own.insert(key) {
                    errors.duplicate(&keys, key);
                }
                errors.check(&keys.index(index), key, names::qualified_name(key));
            }
        }
    }

    fn validate_update(&self, new: &Value, old: &Value, here: &Path<'_>, errors: &mut Errors) {
        self.validate(new, here, errors);
        let list = here.field("spec");
        let list = list.field("drivers");
        for before in items(old, &["spec", "drivers"]) {
            let after = items(new, &["spec", "drivers"])
                .iter()
                .find(|one| text(one, &["name"]) == text(before, &["name"]));
            let changed = after.is_some_and(|after| {
                ["nodeID", "topologyKeys"]
                    .iter()
                    .any(|field| !same(after, before, field))
            });
            if changed {
                errors.invalid(
                    &list,
                    after.cloned().unwrap_or(Value::Null),
                    "field is immutable",
                );
            }
        }
    }

    fn columns(&self) -> &'static [Column] {
        const COLUMNS: &[Column] = &[
            NAME,
            column("Drivers", "integer", "How many drivers the node has."),
            AGE,
        ];
        COLUMNS
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        vec![
            print::name(object),
            items(object, &["spec", "drivers"]).len().into(),
            print::age(object, now),
        ]
    }
}

struct Capacity;

impl Strategy for Capacity {
    fn validate(&self, object: &Value, here: &Path<'_>, errors: &mut Errors) {
        if let Some(selector) = at(object, &["nodeTopology"]) {
            label_selector(selector, &here.field("nodeTopology"), errors);
        }
        errors.named(
            &here.field("storageClassName"),
            text(object, &["storageClassName"]),
            names::dns1123_subdomain,
        );
        for field in ["capacity", "maximumVolumeSize"] {
            let amount = text(object, &[field]);
            if amount.starts_with('-') {
                errors.invalid(
                    &here.field(field),
                    amount,
                    "must be greater than or equal to 0",
                );
            }
        }
    }

    fn validate_update(&self, new: &Value, old: &Value, here: &Path<'_>, errors: &mut Errors) {
        self.validate(new, here, errors);
        for field in ["nodeTopology", "storageClassName"] {
            errors.immutable(&here.field(field), new.get(field), old.get(field));
        }
    }

    fn columns(&self) -> &'static [Column] {
        const COLUMNS: &[Column] = &[
            NAME,
            column("StorageClassName", "string", "The class it is about."),
            column("Capacity", "string", "How much is free."),
        ];
        COLUMNS
    }

    fn cells(&self, object: &Value, _now: Timestamp) -> Vec<Value> {
        vec![
            print::name(object),
            text(object, &["storageClassName"]).into(),
            print::or(text(object, &["capacity"]), "<unset>").into(),
        ]
    }
}

struct Attachment;

impl Strategy for Attachment {
    fn prepare_create(&self, object: &mut Value) {
        set(object, "status", json!({"attached": false}));
    }

    fn validate(&self, object: &Value, here: &Path<'_>, errors: &mut Errors) {
        let here = here.field("spec");
        let spec = &object["spec"];
        let attacher = text(spec, &["attacher"]);
        if attacher.is_empty() {
            errors.required(&here.field("attacher"), "");
        } else {
            csi_driver_name(attacher, &here.field("attacher"), errors);
        }
        let place = here.field("source");
        let name = at(spec, &["source", "persistentVolumeName"]);
        let inline = at(spec, &["source", "inlineVolumeSpec"]);
        match (name, inline) {
            (None, None) => errors.required(
                &place,
                "must specify exactly one of inlineVolumeSpec and persistentVolumeName",
            ),
            (Some(_), Some(_)) => errors.forbidden(
                &place,
                "must specify exactly one of inlineVolumeSpec and persistentVolumeName",
            ),
            (Some(name), None) => {
                let name = name.as_str().unwrap_or_default();
                errors.named(
                    &place.field("persistentVolumeName"),
                    name,
                    names::dns1123_subdomain,
                );
            }
            (None, Some(_)) => {}
        }
        errors.named(
            &here.field("nodeName"),
            text(spec, &["nodeName"]),
            names::dns1123_subdomain,
        );
    }

    fn validate_update(&self, new: &Value, old: &Value, here: &Path<'_>, errors: &mut Errors) {
        self.validate(new, here, errors);
        if !same(new, old, "spec") {
            errors.invalid(
                &here.field("spec"),
                new["spec"].clone(),
                "field is immutable",
            );
        }
    }

    fn validate_status(&self, new: &Value, _old: &Value, here: &Path<'_>, errors: &mut Errors) {
        let here = here.field("status");
        for field in ["attachError", "detachError"] {
            let message = text(new, &["status", field, "message"]);
            if message.len() > 1024 * 1024 {
                errors.too_long(&here.field(field).field("message"), 1024 * 1024);
            }
        }
    }

    fn columns(&self) -> &'static [Column] {
        const COLUMNS: &[Column] = &[
            NAME,
            column("Attacher", "string", "The driver that is asked."),
            column("PV", "string", "The volume."),
            column("Node", "string", "The node it is to be attached to."),
            column("Attached", "boolean", "Whether it is."),
            AGE,
        ];
        COLUMNS
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let spec = &object["spec"];
        vec![
            print::name(object),
            text(spec, &["attacher"]).into(),
            text(spec, &["source", "persistentVolumeName"]).into(),
            text(spec, &["nodeName"]).into(),
            flag(object, &["status", "attached"]).into(),
            print::age(object, now),
        ]
    }
}
