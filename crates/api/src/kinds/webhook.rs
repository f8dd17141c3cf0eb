//! Which webhooks are asked before something is written.

use crate::kind::Kind;
use crate::print;
use crate::strategy::{AGE, Column, NAME, Strategy, column};
use crate::validation::{self, Errors, Path};
use crate::values::{ensure, field_mut, fill, items, items_mut, same};
use jiff::Timestamp;
use serde_json::Value;

/// The kind `ValidatingWebhookConfiguration`.
pub(super) fn validating() -> Kind {
    kind(
        "ValidatingWebhookConfiguration",
        "validatingwebhookconfigurations",
        false,
    )
}

/// The kind `MutatingWebhookConfiguration`.
pub(super) fn mutating() -> Kind {
    kind(
        "MutatingWebhookConfiguration",
        "mutatingwebhookconfigurations",
        true,
    )
}

fn kind(kind: &str, plural: &str, mutating: bool) -> Kind {
    let mut kind = Kind::new("admissionregistration.k8s.io", "v1", kind, plural)
        .cluster()
        .categories(&["api-extensions"])
        .strategy(Webhooks { mutating });
    kind.generation = true;
    kind.unconditional_update = false;
    kind
}

struct Webhooks {
    mutating: bool,
}

impl Strategy for Webhooks {
    fn default(&self, object: &mut Value) {
        for webhook in items_mut(object, "webhooks") {
            fill(webhook, "failurePolicy", "Fail");
            fill(webhook, "matchPolicy", "Equivalent");
            ensure(webhook, "namespaceSelector");
            ensure(webhook, "objectSelector");
            fill(webhook, "timeoutSeconds", 10);
            if self.mutating {
                fill(webhook, "reinvocationPolicy", "Never");
            }
            if let Some(config) = field_mut(webhook, "clientConfig")
                && let Some(service) = field_mut(config, "service")
            {
                fill(service, "port", 443);
            }
            for rule in items_mut(webhook, "rules") {
                fill(rule, "scope", "*");
            }
        }
    }

    fn wants_more(&self, new: &Value, old: &Value) -> bool {
        !same(new, old, "webhooks")
    }

    fn validate(&self, object: &Value, here: &Path<'_>, errors: &mut Errors) {
        validation::webhooks(object, self.mutating, here, errors);
    }

    fn columns(&self) -> &'static [Column] {
        const COLUMNS: &[Column] = &[
            NAME,
            column(
                "Webhooks",
                "integer",
                "Webhooks indicates the number of webhooks registered in this configuration",
            ),
            AGE,
        ];
        COLUMNS
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        vec![
            print::name(object),
            items(object, &["webhooks"]).len().into(),
            print::age(object, now),
        ]
    }
}
