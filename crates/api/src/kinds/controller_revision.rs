//! ControllerRevisions.

use crate::kind::Kind;
use crate::print;
use crate::strategy::{AGE, Column, NAME, Strategy, column};
use crate::validation::{Errors, Path};
use crate::values::{flag, int, items, text};
use jiff::Timestamp;
use serde_json::Value;

/// The kind `ControllerRevision`.
pub(super) fn controller_revision() -> Kind {
    Kind::new("apps", "v1", "ControllerRevision", "controllerrevisions")
        .strategy(ControllerRevision)
}

struct ControllerRevision;

impl Strategy for ControllerRevision {
    fn validate(&self, object: &Value, here: &Path<'_>, errors: &mut Errors) {
        errors.not_negative(&here.field("revision"), object.get("revision"));
    }

    fn validate_update(&self, new: &Value, old: &Value, here: &Path<'_>, errors: &mut Errors) {
        self.validate(new, here, errors);
        errors.immutable(&here.field("data"), new.get("data"), old.get("data"));
    }

    fn columns(&self) -> &'static [Column] {
        const COLUMNS: &[Column] = &[
            NAME,
            column("Controller", "string", "Controller of the object"),
            column("Revision", "string", "The revision number of the state"),
            AGE,
        ];
        COLUMNS
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let owner = items(object, &["metadata", "ownerReferences"])
            .iter()
            .find(|owner| flag(owner, &["controller"]));
        let owner = owner.map_or_else(
            || "<none>".to_owned(),
            |owner| {
                let (group, _) = text(owner, &["apiVersion"])
                    .split_once('/')
                    .unwrap_or_default();
                let kind = text(owner, &["kind"]).to_lowercase();
                let name = text(owner, &["name"]);
                if group.is_empty() {
                    format!("{kind}/{name}")
                } else {
                    format!("{kind}.{group}/{name}")
                }
            },
        );
        vec![
            print::name(object),
            owner.into(),
            int(object, &["revision"]).into(),
            print::age(object, now),
        ]
    }
}
