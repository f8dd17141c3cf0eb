//! RuntimeClasses.

use crate::kind::Kind;
use crate::print;
use crate::strategy::{AGE, Column, NAME, Strategy, column};
use crate::validation::{Errors, Path, labels, resource_list, tolerations};
use crate::values::{at, text};
use consort_object::names;
use jiff::Timestamp;
use serde_json::Value;

/// The kind `RuntimeClass`.
pub(super) fn runtime_class() -> Kind {
    let mut kind = Kind::new("node.k8s.io", "v1", "RuntimeClass", "runtimeclasses")
        .cluster()
        .strategy(RuntimeClass);
    kind.unconditional_update = false;
    kind
}

struct RuntimeClass;

impl Strategy for RuntimeClass {
    fn validate(&self, object: &Value, here: &Path<'_>, errors: &mut Errors) {
        let handler = text(object, &["handler"]);
        errors.check(
            &here.field("handler"),
            handler,
            names::dns1123_label(handler),
        );
        if let Some(fixed) = at(object, &["overhead", "podFixed"]) {
            resource_list(fixed, &here.field("overhead").field("podFixed"), errors);
        }
        let here = here.field("scheduling");
        if let Some(selector) = at(object, &["scheduling", "nodeSelector"]) {
            labels(selector, &here.field("nodeSelector"), errors);
        }
        tolerations(&object["scheduling"], &here.field("tolerations"), errors);
    }

    fn validate_update(&self, new: &Value, old: &Value, here: &Path<'_>, errors: &mut Errors) {
        self.validate(new, here, errors);
        errors.immutable(
            &here.field("handler"),
            new.get("handler"),
            old.get("handler"),
        );
    }

    fn columns(&self) -> &'static [Column] {
        const COLUMNS: &[Column] = &[
            NAME,
            column("Handler", "string", "What runs pods of the class."),
            AGE,
        ];
        COLUMNS
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        vec![
            print::name(object),
            text(object, &["handler"]).into(),
            print::age(object, now),
        ]
    }
}
