//! PriorityClasses, and the two that the system's own pods have.

use crate::kind::Kind;
use crate::print;
use crate::strategy::{AGE, Column, NAME, Strategy, column};
use crate::validation::{Errors, Path};
use crate::values::{fill, flag, int, text};
use jiff::Timestamp;
use serde_json::{Value, json};

/// The highest value a user's class may have.
const HIGHEST: i64 = 1_000_000_000;

/// Name, value and description of the classes every cluster has.
const SYSTEM: [(&str, i64, &str); 2] = [
    (
        "system-node-critical",
        2 * HIGHEST + 1000,
        "Used for system critical pods that must not be moved from their current node.",
    ),
    (
        "system-cluster-critical",
        2 * HIGHEST,
        "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary.",
    ),
];

/// The kind `PriorityClass`.
pub(super) fn priority_class() -> Kind {
    Kind::new(
        "scheduling.k8s.io",
        "v1",
        "PriorityClass",
        "priorityclasses",
    )
    .cluster()
    .short(&["pc"])
    .strategy(PriorityClass)
}

/// The classes that are made at the first start.
pub(crate) fn system_classes() -> impl Iterator<Item = Value> {
    SYSTEM.iter().map(|(name, value, description)| {
        json!({
            "apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass",
            "metadata": {"name": name}, "value": value, "description": description,
        })
    })
}

struct PriorityClass;

impl Strategy for PriorityClass {
    fn default(&self, object: &mut Value) {
        fill(object, "preemptionPolicy", "PreemptLowerPriority");
    }

    fn validate(&self, object: &Value, here: &Path<'_>, errors: &mut Errors) {
        let name = text(object, &["metadata", "name"]);
        let value = int(object, &["value"]);
        if name.starts_with("system-") {
            let system = SYSTEM.iter().find(|class| class.0 == name);
            let problem = match system {
                None => Some(format!("{name} is not a known system priority class")),
                Some(class) if class.1 != value => {
                    Some(format!("value of {name} PriorityClass must be {}", class.1))
                }
                Some(_) if flag(object, &["globalDefault"]) => Some(format!(
                    "globalDefault of {name} PriorityClass must be false"
                )),
                Some(_) => None,
            };
            if let Some(problem) = problem {
                errors.forbidden(
                    &here.field("metadata").field("name"),
                    format!("priority class names with 'system-' prefix are reserved for system use only. error: {problem}"),
                );
            }
        } else if value > HIGHEST {
            errors.forbidden(
                &here.field("value"),
                format!("maximum allowed value of a user defined priority is {HIGHEST}"),
            );
        }
        let policy = text(object, &["preemptionPolicy"]);
        errors.one_of(
            &here.field("preemptionPolicy"),
            policy,
            &["Never", "PreemptLowerPriority"],
        );
    }

    fn validate_update(&self, new: &Value, old: &Value, here: &Path<'_>, errors: &mut Errors) {
        if int(new, &["value"]) != int(old, &["value"]) {
            errors.forbidden(&here.field("value"), "may not be changed in an update.");
        }
        errors.immutable(
            &here.field("preemptionPolicy"),
            new.get("preemptionPolicy"),
            old.get("preemptionPolicy"),
        );
    }

    fn undeletable(&self, name: &str) -> Option<&'static str> {
        SYSTEM
            .iter()
            .any(|class| class.0 == name)
            .then_some("this is a system priority class and cannot be deleted")
    }

    fn columns(&self) -> &'static [Column] {
        const COLUMNS: &[Column] = &[
            NAME,
            column("Value", "integer", "The priority: the higher, the earlier."),
            column(
                "Global-Default",
                "boolean",
                "Pods that name no class are of this one.",
            ),
            AGE,
            column(
                "PreemptionPolicy",
                "string",
                "Whether others are ended for its pods.",
            ),
        ];
        COLUMNS
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        vec![
            print::name(object),
            int(object, &["value"]).into(),
            flag(object, &["globalDefault"]).into(),
            print::age(object, now),
            print::or(text(object, &["preemptionPolicy"]), "PreemptLowerPriority").into(),
        ]
    }
}
