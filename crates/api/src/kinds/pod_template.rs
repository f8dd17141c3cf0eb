//! PodTemplates.

use crate::defaults;
use crate::kind::Kind;
use crate::print;
use crate::strategy::{Column, NAME, Strategy, column};
use crate::validation::{self, Errors, Path};
use crate::values::{ensure, same};
use jiff::Timestamp;
use serde_json::Value;

/// The kind `PodTemplate`.
pub(super) fn pod_template() -> Kind {
    let mut kind = Kind::new("", "v1", "PodTemplate", "podtemplates").strategy(PodTemplate);
    kind.generation = true;
    kind.returns_deleted = true;
    kind.create_on_update = true;
    kind
}

struct PodTemplate;

impl Strategy for PodTemplate {
    fn default(&self, object: &mut Value) {
        defaults::pod_template(ensure(object, "template"));
    }

    fn wants_more(&self, new: &Value, old: &Value) -> bool {
        !same(new, old, "template")
    }

    fn validate(&self, object: &Value, here: &Path<'_>, errors: &mut Errors) {
        validation::pod_template(&object["template"], &here.field("template"), errors);
    }

    fn columns(&self) -> &'static [Column] {
        const COLUMNS: &[Column] = &[
            NAME,
            column(
                "Containers",
                "string",
                "Names of each container in the template.",
            ),
            column(
                "Images",
                "string",
                "Images referenced by each container in the template.",
            ),
            column("Pod Labels", "string", "The labels for the pod template."),
        ];
        COLUMNS
    }

    fn cells(&self, object: &Value, _now: Timestamp) -> Vec<Value> {
        let template = &object["template"];
        let (names, images) = print::containers(&template["spec"]);
        vec![
            print::name(object),
            names,
            images,
            print::label_map(&template["metadata"]["labels"]).into(),
        ]
    }
}
