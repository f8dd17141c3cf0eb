//! ServiceAccounts.

use crate::kind::{Kind, Subresource};
use crate::print;
use crate::strategy::{AGE, Column, NAME, Strategy, column};
use crate::values::items;
use jiff::Timestamp;
use serde_json::Value;

/// The kind `ServiceAccount`.
pub(super) fn service_account() -> Kind {
    let mut kind = Kind::new("", "v1", "ServiceAccount", "serviceaccounts")
        .short(&["sa"])
        .sub(Subresource {
            name: "token",
            kind: ("authentication.k8s.io", "v1", "TokenRequest"),
            verbs: &["create"],
        })
        .strategy(ServiceAccount);
    kind.returns_deleted = true;
    kind
}

struct ServiceAccount;

impl Strategy for ServiceAccount {
    fn columns(&self) -> &'static [Column] {
        const COLUMNS: &[Column] = &[
            NAME,
            column(
                "Secrets",
                "string",
                "The number of secrets pods of this account may use.",
            ),
            AGE,
        ];
        COLUMNS
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        vec![
            print::name(object),
            items(object, &["secrets"]).len().to_string().into(),
            print::age(object, now),
        ]
    }
}
