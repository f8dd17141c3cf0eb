//! Policies that judge or change what is written, and what binds them to where they hold.

use crate::kind::{Kind, STATUS};
use crate::print;
use crate::strategy::{AGE, Column, NAME, Strategy, column};
use crate::validation::{self, Errors, Path};
use crate::values::{at, ensure, field_mut, fill, items, items_mut, set, text};
use jiff::Timestamp;
use serde_json::{Value, json};

/// The kind `ValidatingAdmissionPolicy`.
pub(super) fn validating() -> Kind {
    kind("ValidatingAdmissionPolicy", "validatingadmissionpolicies")
        .sub(STATUS)
        .strategy(Policy { mutating: false })
}

/// The kind `MutatingAdmissionPolicy`.
pub(super) fn mutating() -> Kind {
    kind("MutatingAdmissionPolicy", "mutatingadmissionpolicies").strategy(Policy { mutating: true })
}

/// The kind `ValidatingAdmissionPolicyBinding`.
pub(super) fn validating_binding() -> Kind {
    kind(
        "ValidatingAdmissionPolicyBinding",
        "validatingadmissionpolicybindings",
    )
    .strategy(Binding { mutating: false })
}

/// The kind `MutatingAdmissionPolicyBinding`.
pub(super) fn mutating_binding() -> Kind {
    kind(
        "MutatingAdmissionPolicyBinding",
        "mutatingadmissionpolicybindings",
    )
    .strategy(Binding { mutating: true })
}

fn kind(kind: &str, plural: &str) -> Kind {
    let mut kind = Kind::new("admissionregistration.k8s.io", "v1", kind, plural)
        .cluster()
        .categories(&["api-extensions"]);
    kind.generation = true;
    kind.unconditional_update = false;
    kind
}

/// Fill in which requests are meant.
fn match_resources(object: &mut Value) {
    fill(object, "matchPolicy", "Equivalent");
    ensure(object, "namespaceSelector");
    ensure(object, "objectSelector");
    for rules in ["resourceRules", "excludeResourceRules"] {
        for rule in items_mut(object, rules) {
            fill(rule, "scope", "*");
        }
    }
}

struct Policy {
    mutating: bool,
}

impl Strategy for Policy {
    fn default(&self, object: &mut Value) {
        let spec = ensure(object, "spec");
        fill(spec, "failurePolicy", "Fail");
        if self.mutating {
            fill(spec, "reinvocationPolicy", "Never");
        }
        if let Some(constraints) = field_mut(spec, "matchConstraints") {
            match_resources(constraints);
        }
    }

    fn prepare_create(&self, object: &mut Value) {
        if !self.mutating {
            set(object, "status", json!({}));
        }
    }

    fn validate(&self, object: &Value, here: &Path<'_>, errors: &mut Errors) {
        validation::admission_policy(object, self.mutating, here, errors);
    }

    fn columns(&self) -> &'static [Column] {
        const COLUMNS: [&[Column]; 2] = [
            &[
                NAME,
                column(
                    "Validations",
                    "integer",
                    "Validations indicates the number of validation rules defined in this configuration",
                ),
                column(
                    "ParamKind",
                    "string",
                    "ParamKind specifies the kind of resources used to parameterize this policy",
                ),
                AGE,
            ],
            &[
                NAME,
                column(
                    "Mutations",
                    "integer",
                    "Mutation indicates the number of mutations rules defined in this configuration",
                ),
                column(
                    "ParamKind",
                    "string",
                    "ParamKind specifies the kind of resources used to parameterize this policy",
                ),
                AGE,
            ],
        ];
        COLUMNS[usize::from(self.mutating)]
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let spec = &object["spec"];
        let list = if self.mutating {
            "mutations"
        } else {
            "validations"
        };
        let kind = match at(spec, &["paramKind"]) {
            None => "<unset>".to_owned(),
            Some(kind) => format!("{}/{}", text(kind, &["apiVersion"]), text(kind, &["kind"])),
        };
        vec![
            print::name(object),
            items(spec, &[list]).len().into(),
            kind.into(),
            print::age(object, now),
        ]
    }
}

struct Binding {
    mutating: bool,
}

impl Strategy for Binding {
    fn default(&self, object: &mut Value) {
        let spec = ensure(object, "spec");
        if let Some(resources) = field_mut(spec, "matchResources") {
            match_resources(resources);
        }
    }

    fn validate(&self, object: &Value, here: &Path<'_>, errors: &mut Errors) {
        validation::policy_binding(object, self.mutating, here, errors);
    }

    fn columns(&self) -> &'static [Column] {
        const COLUMNS: &[Column] = &[
            NAME,
            column(
                "PolicyName",
                "string",
                "PolicyName indicates the policy definition which the policy binding binded to",
            ),
            column(
                "ParamRef",
                "string",
                "ParamRef indicates the param resource which sets the configration param",
            ),
            AGE,
        ];
        COLUMNS
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let spec = &object["spec"];
        let parameters = match at(spec, &["paramRef"]) {
            None => "<unset>".to_owned(),
            Some(reference) if !text(reference, &["name"]).is_empty() => {
                let (space, name) = (text(reference, &["namespace"]), text(reference, &["name"]));
                if space.is_empty() {
                    name.to_owned()
                } else {
                    format!("{space}/{name}")
                }
            }
            Some(reference) => print::selector(&reference["selector"]),
        };
        vec![
            print::name(object),
            text(spec, &["policyName"]).into(),
            parameters.into(),
            print::age(object, now),
        ]
    }
}
