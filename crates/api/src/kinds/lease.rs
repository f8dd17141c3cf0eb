//! Leases.

use crate::kind::Kind;
use crate::print;
use crate::strategy::{AGE, Column, NAME, Strategy, column};
use crate::validation::{Errors, Path};
use crate::values::{at, int, text};
use jiff::Timestamp;
use serde_json::Value;

/// The kind `Lease`.
pub(super) fn lease() -> Kind {
    let mut kind = Kind::new("coordination.k8s.io", "v1", "Lease", "leases").strategy(Lease);
    kind.create_on_update = true;
    kind.unconditional_update = false;
    kind
}

struct Lease;

impl Strategy for Lease {
    fn validate(&self, object: &Value, here: &Path<'_>, errors: &mut Errors) {
        let here = here.field("spec");
        let spec = &object["spec"];
        if at(spec, &["leaseDurationSeconds"]).is_some()
            && int(spec, &["leaseDurationSeconds"]) <= 0
        {
            errors.invalid(
                &here.field("leaseDurationSeconds"),
                int(spec, &["leaseDurationSeconds"]),
                "must be greater than 0",
            );
        }
        errors.not_negative(
            &here.field("leaseTransitions"),
            spec.get("leaseTransitions"),
        );
    }

    fn columns(&self) -> &'static [Column] {
        const COLUMNS: &[Column] = &[
            NAME,
            column("Holder", "string", "Who holds the lease."),
            AGE,
        ];
        COLUMNS
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        vec![
            print::name(object),
            text(object, &["spec", "holderIdentity"]).into(),
            print::age(object, now),
        ]
    }
}
