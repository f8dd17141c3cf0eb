//! PodDisruptionBudgets.

use crate::kind::{Kind, STATUS};
use crate::print;
use crate::strategy::{AGE, Column, NAME, Strategy, column};
use crate::validation::{Errors, Path, at_most_all, int_or_percent, label_selector};
use crate::values::{at, int, set, text};
use jiff::Timestamp;
use serde_json::{Value, json};

/// The kind `PodDisruptionBudget`.
pub(super) fn pod_disruption_budget() -> Kind {
    let mut kind = Kind::new(
        "policy",
        "v1",
        "PodDisruptionBudget",
        "poddisruptionbudgets",
    )
    .short(&["pdb"])
    .sub(STATUS)
    .strategy(PodDisruptionBudget);
    kind.generation = true;
    kind.unconditional_update = false;
    kind
}

struct PodDisruptionBudget;

const LIMITS: [&str; 2] = ["minAvailable", "maxUnavailable"];

impl Strategy for PodDisruptionBudget {
    fn prepare_create(&self, object: &mut Value) {
        let status = json!({
            "currentHealthy": 0, "desiredHealthy": 0, "disruptionsAllowed": 0, "expectedPods": 0,
        });
        set(object, "status", status);
    }

    fn validate(&self, object: &Value, here: &Path<'_>, errors: &mut Errors) {
        let here = here.field("spec");
        let spec = &object["spec"];
        if LIMITS.iter().all(|field| at(spec, &[field]).is_some()) {
            errors.invalid(
                &here,
                spec.clone(),
                "minAvailable and maxUnavailable cannot be both set",
            );
        }
        for field in LIMITS {
            if let Some(value) = at(spec, &[field]) {
                int_or_percent(value, &here.field(field), errors);
                at_most_all(value, &here.field(field), errors);
            }
        }
        if let Some(selector) = at(spec, &["selector"]) {
            label_selector(selector, &here.field("selector"), errors);
        }
        if let Some(policy) = at(spec, &["unhealthyPodEvictionPolicy"]).and_then(Value::as_str) {
            errors.supported(
                &here.field("unhealthyPodEvictionPolicy"),
                policy,
                &["AlwaysAllow", "IfHealthyBudget"],
            );
        }
    }

    fn validate_status(&self, new: &Value, _old: &Value, here: &Path<'_>, errors: &mut Errors) {
        let here = here.field("status");
        let status = &new["status"];
        for field in [
            "disruptionsAllowed",
            "currentHealthy",
            "desiredHealthy",
            "expectedPods",
        ] {
            errors.not_negative(&here.field(field), status.get(field));
        }
    }

    fn columns(&self) -> &'static [Column] {
        const COLUMNS: &[Column] = &[
            NAME,
            column(
                "Min Available",
                "string",
                "The minimum number of pods that must be available.",
            ),
            column(
                "Max Unavailable",
                "string",
                "The maximum number of pods that may be unavailable.",
            ),
            column(
                "Allowed Disruptions",
                "integer",
                "Calculated number of pods that may be disrupted at this time.",
            ),
            AGE,
        ];
        COLUMNS
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let limit = |field: &str| -> Value {
            match at(object, &["spec", field]) {
                None => "N/A".into(),
                Some(Value::Number(number)) => number.to_string().into(),
                Some(_) => text(object, &["spec", field]).into(),
            }
        };
        vec![
            print::name(object),
            limit("minAvailable"),
            limit("maxUnavailable"),
            int(object, &["status", "disruptionsAllowed"]).into(),
            print::age(object, now),
        ]
    }
}
