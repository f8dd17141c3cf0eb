//! ResourceQuotas.

use crate::kind::{Kind, STATUS};
use crate::print;
use crate::strategy::{AGE, Column, NAME, Strategy, column};
use crate::validation::{self, Errors, Path};
use crate::values::{members, set, text};
use jiff::Timestamp;
use serde_json::{Value, json};

/// The kind `ResourceQuota`.
pub(super) fn resource_quota() -> Kind {
    let mut kind = Kind::new("", "v1", "ResourceQuota", "resourcequotas")
        .short(&["quota"])
        .sub(STATUS)
        .strategy(ResourceQuota);
    kind.returns_deleted = true;
    kind
}

struct ResourceQuota;

impl Strategy for ResourceQuota {
    fn prepare_create(&self, object: &mut Value) {
        set(object, "status", json!({}));
    }

    fn validate(&self, object: &Value, here: &Path<'_>, errors: &mut Errors) {
        validation::resource_quota(object, here, errors);
    }

    fn validate_update(&self, new: &Value, old: &Value, here: &Path<'_>, errors: &mut Errors) {
        validation::resource_quota_update(new, old, here, errors);
    }

    fn validate_status(&self, new: &Value, _old: &Value, here: &Path<'_>, errors: &mut Errors) {
        validation::resource_quota_status(new, here, errors);
    }

    fn columns(&self) -> &'static [Column] {
        const COLUMNS: &[Column] = &[
            NAME,
            column(
                "Request",
                "string",
                "What is asked for, of what may be asked for.",
            ),
            column(
                "Limit",
                "string",
                "What is granted, of what may be granted.",
            ),
            AGE,
        ];
        COLUMNS
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let mut names: Vec<(&str, &Value)> = members(object, &["status", "hard"]).collect();
        names.sort_by_key(|pair| pair.0);
        let (mut requests, mut limits) = (Vec::new(), Vec::new());
        for (name, hard) in names {
            let used = print::or(text(object, &["status", "used", name]), "0");
            let shown = format!("{name}: {used}/{}", hard.as_str().unwrap_or_default());
            if name.starts_with("limits.") {
                limits.push(shown);
            } else {
                requests.push(shown);
            }
        }
        vec![
            print::name(object),
            requests.join(", ").into(),
            limits.join(", ").into(),
            print::age(object, now),
        ]
    }
}
