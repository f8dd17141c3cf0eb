//! LimitRanges.

use crate::kind::Kind;
use crate::strategy::Strategy;
use crate::validation::{self, Errors, Path};
use crate::values::{ensure, fill, items_mut, members, text};
use serde_json::Value;

/// The kind `LimitRange`.
pub(super) fn limit_range() -> Kind {
    let mut kind = Kind::new("", "v1", "LimitRange", "limitranges")
        .short(&["limits"])
        .strategy(LimitRange);
    kind.create_on_update = true;
    kind
}

struct LimitRange;

impl Strategy for LimitRange {
    /// What a container may use at most it gets, what it gets it asks for, and at least the least.
    fn default(&self, object: &mut Value) {
        let spec = ensure(object, "spec");
        for limit in items_mut(spec, "limits") {
            if text(limit, &["type"]) != "Container" {
                continue;
            }
            for (from, to) in [
                ("max", "default"),
                ("default", "defaultRequest"),
                ("min", "defaultRequest"),
            ] {
                let amounts: Vec<(String, Value)> = members(limit, &[from])
                    .map(|(name, amount)| (name.to_owned(), amount.clone()))
                    .collect();
                for (name, amount) in amounts {
                    fill(ensure(limit, to), &name, amount);
                }
            }
        }
    }

    fn validate(&self, object: &Value, here: &Path<'_>, errors: &mut Errors) {
        validation::limit_range(object, here, errors);
    }
}
