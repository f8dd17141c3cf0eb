//! Roles and what binds them to users.

use crate::kind::{Kind, NameRule};
use crate::print;
use crate::strategy::{AGE, CREATED, Column, NAME, Strategy, column, wide};
use crate::validation::{Errors, Path, label_selector};
use crate::values::{at, field_mut, fill_text, items, items_mut, text};
use jiff::Timestamp;
use serde_json::Value;

const GROUP: &str = "rbac.authorization.k8s.io";

fn kind(kind: &str, plural: &str) -> Kind {
    let mut kind = Kind::new(GROUP, "v1", kind, plural);
    kind.name_rule = NameRule::PathSegment;
    kind.create_on_update = true;
    kind
}

/// The kind `Role`.
pub(super) fn role() -> Kind {
    kind("Role", "roles").strategy(Role { cluster: false })
}

/// The kind `ClusterRole`.
pub(super) fn cluster_role() -> Kind {
    kind("ClusterRole", "clusterroles")
        .cluster()
        .strategy(Role { cluster: true })
}

/// The kind `RoleBinding`.
pub(super) fn role_binding() -> Kind {
    kind("RoleBinding", "rolebindings").strategy(Binding { cluster: false })
}

/// The kind `ClusterRoleBinding`.
pub(super) fn cluster_role_binding() -> Kind {
    kind("ClusterRoleBinding", "clusterrolebindings")
        .cluster()
        .strategy(Binding { cluster: true })
}

struct Role {
    cluster: bool,
}

impl Strategy for Role {
    fn validate(&self, object: &Value, here: &Path<'_>, errors: &mut Errors) {
        let list = here.field("rules");
        for (index, rule) in items(object, &["rules"]).iter().enumerate() {
            let place = list.index(index);
            if items(rule, &["verbs"]).is_empty() {
                errors.required(
                    &place.field("verbs"),
                    "verbs must contain at least one value",
                );
            }
            let urls = items(rule, &["nonResourceURLs"]);
            if !urls.is_empty() {
                if !self.cluster {
                    errors.invalid(
                        &place.field("nonResourceURLs"),
                        Value::Array(urls.to_vec()),
                        "namespaced rules cannot apply to non-resource URLs",
                    );
                }
                if ["apiGroups", "resources", "resourceNames"]
                    .iter()
                    .any(|field| !items(rule, &[field]).is_empty())
                {
                    errors.invalid(
                        &place.field("nonResourceURLs"),
                        Value::Array(urls.to_vec()),
                        "rules cannot apply to both regular resources and non-resource URLs",
                    );
                }
                continue;
            }
            if items(rule, &["apiGroups"]).is_empty() {
                errors.required(
                    &place.field("apiGroups"),
                    "resource rules must supply at least one api group",
                );
            }
            if items(rule, &["resources"]).is_empty() {
                errors.required(
                    &place.field("resources"),
                    "resource rules must supply at least one resource",
                );
            }
        }
        let selectors = items(object, &["aggregationRule", "clusterRoleSelectors"]);
        let place = here.field("aggregationRule");
        let place = place.field("clusterRoleSelectors");
        if at(object, &["aggregationRule"]).is_some() && selectors.is_empty() {
            errors.required(
                &place,
                "at least one clusterRoleSelector required if aggregationRule is non-nil",
            );
        }
        for (index, selector) in selectors.iter().enumerate() {
            label_selector(selector, &place.index(index), errors);
        }
    }

    fn columns(&self) -> &'static [Column] {
        const COLUMNS: &[Column] = &[NAME, column("Created At", "date", CREATED)];
        COLUMNS
    }

    fn cells(&self, object: &Value, _now: Timestamp) -> Vec<Value> {
        vec![
            print::name(object),
            text(object, &["metadata", "creationTimestamp"]).into(),
        ]
    }
}

struct Binding {
    cluster: bool,
}

impl Strategy for Binding {
    fn default(&self, object: &mut Value) {
        if let Some(role) = field_mut(object, "roleRef") {
            fill_text(role, "apiGroup", GROUP);
        }
        for subject in items_mut(object, "subjects") {
            if matches!(text(subject, &["kind"]), "User" | "Group") {
                fill_text(subject, "apiGroup", GROUP);
            }
        }
    }

    fn validate(&self, object: &Value, here: &Path<'_>, errors: &mut Errors) {
        let role = here.field("roleRef");
        let group = text(object, &["roleRef", "apiGroup"]);
        if group != GROUP {
            errors.not_supported(&role.field("apiGroup"), group, &[GROUP]);
        }
        let kind = text(object, &["roleRef", "kind"]);
        let kinds: &[&str] = if self.cluster {
            &["ClusterRole"]
        } else {
            &["ClusterRole", "Role"]
        };
        if !kinds.contains(&kind) {
            errors.not_supported(&role.field("kind"), kind, kinds);
        }
        if text(object, &["roleRef", "name"]).is_empty() {
            errors.required(&role.field("name"), "");
        }
        let list = here.field("subjects");
        for (index, subject) in items(object, &["subjects"]).iter().enumerate() {
            let place = list.index(index);
            if text(subject, &["name"]).is_empty() {
                errors.required(&place.field("name"), "");
            }
            let group = text(subject, &["apiGroup"]);
            match text(subject, &["kind"]) {
                "ServiceAccount" => {
                    if !group.is_empty() {
                        errors.not_supported(&place.field("apiGroup"), group, &[""]);
                    }
                    if self.cluster && text(subject, &["namespace"]).is_empty() {
                        errors.required(&place.field("namespace"), "");
                    }
                }
                "User" | "Group" => {
                    if group != GROUP {
                        errors.not_supported(&place.field("apiGroup"), group, &[GROUP]);
                    }
                }
                other => errors.not_supported(
                    &place.field("kind"),
                    other,
                    &["Group", "ServiceAccount", "User"],
                ),
            }
        }
    }

    fn validate_update(&self, new: &Value, old: &Value, here: &Path<'_>, errors: &mut Errors) {
        self.validate(new, here, errors);
        if new.get("roleRef") != old.get("roleRef") {
            errors.invalid(
                &here.field("roleRef"),
                new["roleRef"].clone(),
                "cannot change roleRef",
            );
        }
    }

    fn columns(&self) -> &'static [Column] {
        const COLUMNS: &[Column] = &[
            NAME,
            column("Role", "string", "The role that is granted."),
            AGE,
            wide("Users", "string", "Users it is granted to."),
            wide("Groups", "string", "Groups it is granted to."),
            wide(
                "ServiceAccounts",
                "string",
                "Service accounts it is granted to.",
            ),
        ];
        COLUMNS
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let role = format!(
            "{}/{}",
            text(object, &["roleRef", "kind"]),
            text(object, &["roleRef", "name"])
        );
        let of = |kind: &str| -> Value {
            let all: Vec<String> = items(object, &["subjects"])
                .iter()
                .filter(|subject| text(subject, &["kind"]) == kind)
                .map(|subject| match text(subject, &["namespace"]) {
                    "" => text(subject, &["name"]).to_owned(),
                    namespace => format!("{namespace}/{}", text(subject, &["name"])),
                })
                .collect();
            all.join(", ").into()
        };
        vec![
            print::name(object),
            role.into(),
            print::age(object, now),
            of("User"),
            of("Group"),
            of("ServiceAccount"),
        ]
    }
}
