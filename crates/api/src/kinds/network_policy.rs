//! NetworkPolicies.

use crate::kind::Kind;
use crate::print;
use crate::strategy::{AGE, Column, NAME, Strategy, column};
use crate::validation::{self, Errors, Path};
use crate::values::{at, ensure, fill_text, items, items_mut, set};
use jiff::Timestamp;
use serde_json::{Value, json};

/// The kind `NetworkPolicy`.
pub(super) fn network_policy() -> Kind {
    let mut kind = Kind::new(
        "networking.k8s.io",
        "v1",
        "NetworkPolicy",
        "networkpolicies",
    )
    .short(&["netpol"])
    .strategy(NetworkPolicy);
    kind.generation = true;
    kind
}

struct NetworkPolicy;

impl Strategy for NetworkPolicy {
    fn default(&self, object: &mut Value) {
        let spec = ensure(object, "spec");
        ensure(spec, "podSelector");
        for rules in ["ingress", "egress"] {
            for rule in items_mut(spec, rules) {
                for port in items_mut(rule, "ports") {
                    fill_text(port, "protocol", "TCP");
                }
            }
        }
        if items(spec, &["policyTypes"]).is_empty() {
            let egress = !items(spec, &["egress"]).is_empty();
            let types = if egress {
                json!(["Ingress", "Egress"])
            } else {
                json!(["Ingress"])
            };
            set(spec, "policyTypes", types);
        }
    }

    fn validate(&self, object: &Value, here: &Path<'_>, errors: &mut Errors) {
        validation::network_policy(object, here, errors);
    }

    fn columns(&self) -> &'static [Column] {
        const COLUMNS: &[Column] = &[
            NAME,
            column("Pod-Selector", "string", "The pods it is about."),
            AGE,
        ];
        COLUMNS
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let pods = at(object, &["spec", "podSelector"]).unwrap_or(&Value::Null);
        vec![
            print::name(object),
            print::selector(pods).into(),
            print::age(object, now),
        ]
    }
}
