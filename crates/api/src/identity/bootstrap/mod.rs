//! The roles and bindings that exist from the first start.
//!
//! Names and rights are those of upstream's default policy, so that bindings users already have to
//! `admin`, `edit`, `view` or `system:*` mean the same here, and each reconciler runs under the service
//! account and role upstream gives it. At every start what a role or binding lacks is added again
//! ([`reconcile`]), unless its annotation [`AUTOUPDATE`] says `false`.

mod controllers;
mod reconcile;
mod roles;

pub use controllers::NAMES as CONTROLLERS;
pub use reconcile::{Reconciled, reconcile};
pub use roles::node_rules;

use serde_json::{Map, Value, json};

/// Whether the server keeps a role or binding of the default policy up to date.
pub const AUTOUPDATE: &str = "rbac.authorization.kubernetes.io/autoupdate";

const GROUP: &str = "rbac.authorization.k8s.io";
const AGGREGATE_LABEL: &str = "rbac.authorization.k8s.io/aggregate-to-";

/// The objects of the default policy: cluster roles, their bindings, then those in namespaces.
pub fn objects() -> Vec<Value> {
    let mut objects = roles::cluster_roles();
    objects.extend(controllers::cluster_roles());
    objects.extend(roles::cluster_role_bindings());
    objects.extend(controllers::cluster_role_bindings());
    objects.extend(roles::in_namespaces());
    objects
}

/// The plural name of a kind of the policy.
pub fn plural(kind: &str) -> &'static str {
    match kind {
        "ClusterRole" => "clusterroles",
        "ClusterRoleBinding" => "clusterrolebindings",
        "Role" => "roles",
        _ => "rolebindings",
    }
}

fn words(list: &str) -> Vec<&str> {
    list.split(',').map(str::trim).collect()
}

/// A rule; each argument is a list with commas. The core group is the empty word.
fn rule(verbs: &str, groups: &str, resources: &str) -> Value {
    let (mut verbs, mut resources) = (words(verbs), words(resources));
    verbs.sort_unstable();
    resources.sort_unstable();
    json!({"apiGroups": words(groups), "resources": resources, "verbs": verbs})
}

/// A rule for objects of certain names.
fn named(verbs: &str, groups: &str, resources: &str, names: &str) -> Value {
    let mut rule = rule(verbs, groups, resources);
    rule["resourceNames"] = json!(words(names));
    rule
}

/// A rule for paths.
fn paths(verbs: &str, urls: &str) -> Value {
    json!({"nonResourceURLs": words(urls), "verbs": words(verbs)})
}

fn events() -> Value {
    rule("create,patch,update", ",events.k8s.io", "events")
}

fn metadata(name: &str) -> Value {
    json!({
        "name": name,
        "labels": {"kubernetes.io/bootstrapping": "rbac-defaults"},
        "annotations": {AUTOUPDATE: "true"},
    })
}

fn role(name: &str, rules: &[Value]) -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
        "metadata": metadata(name), "rules": rules,
    })
}

fn role_in(namespace: &str, name: &str, rules: &[Value]) -> Value {
    let mut role = role(name, rules);
    role["kind"] = json!("Role");
    role["metadata"]["namespace"] = json!(namespace);
    role
}

/// A role whose rules are added to each role that selects `aggregate-to-{target}`.
fn part(target: &str, rules: &[Value]) -> Value {
    let mut role = role(&format!("system:aggregate-to-{target}"), rules);
    role["metadata"]["labels"][format!("{AGGREGATE_LABEL}{target}")] = json!("true");
    role
}

/// A role whose rules are those of all roles labelled `aggregate-to-{name}`; `part_of` says which
/// larger role it is part of in turn. It has `rules` until the reconciler fills it.
fn whole(name: &str, part_of: Option<&str>, rules: &[Value]) -> Value {
    let mut role = role(name, rules);
    let mut select = Map::new();
    select.insert(format!("{AGGREGATE_LABEL}{name}"), json!("true"));
    role["aggregationRule"] = json!({"clusterRoleSelectors": [{"matchLabels": select}]});
    if let Some(larger) = part_of {
        role["metadata"]["labels"][format!("{AGGREGATE_LABEL}{larger}")] = json!("true");
    }
    role
}

fn group(name: &str) -> Value {
    json!({"apiGroup": GROUP, "kind": "Group", "name": name})
}

fn user(name: &str) -> Value {
    json!({"apiGroup": GROUP, "kind": "User", "name": name})
}

fn account(name: &str) -> Value {
    json!({"kind": "ServiceAccount", "name": name, "namespace": "kube-system"})
}

/// A binding of a cluster role to subjects.
fn bind_as(name: &str, role: &str, subjects: &[Value]) -> Value {
    let mut binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
        "metadata": metadata(name),
        "roleRef": {"apiGroup": GROUP, "kind": "ClusterRole", "name": role},
    });
    if !subjects.is_empty() {
        binding["subjects"] = json!(subjects);
    }
    binding
}

fn bind(name: &str, subjects: &[Value]) -> Value {
    bind_as(name, name, subjects)
}

fn bind_in(namespace: &str, name: &str, role: &str, subjects: &[Value]) -> Value {
    let mut binding = bind_as(name, role, subjects);
    binding["kind"] = json!("RoleBinding");
    binding["roleRef"]["kind"] = json!("Role");
    binding["metadata"]["namespace"] = json!(namespace);
    binding
}

#[cfg(test)]
mod tests {
    use super::super::{Attributes, Authorizer, User};
    use super::*;

    fn authorizer() -> Authorizer {
        let authorizer = Authorizer::new();
        for object in objects() {
            authorizer.put(plural(object["kind"].as_str().unwrap()), &object);
        }
        authorizer
    }

    #[test]
    fn every_binding_names_a_role_that_is_there_and_no_name_comes_twice() {
        let objects = objects();
        let mut seen = std::collections::HashSet::new();
        for object in &objects {
            let meta = &object["metadata"];
            assert!(
                seen.insert(format!(
                    "{}{}{}",
                    object["kind"], meta["namespace"], meta["name"]
                )),
                "{meta}"
            );
            if let Some(role) = object.get("roleRef") {
                assert!(
                    objects.iter().any(|other| other["kind"] == role["kind"]
                        && other["metadata"]["name"] == role["name"]
                        && (role["kind"] == "ClusterRole"
                            || other["metadata"]["namespace"] == meta["namespace"])),
                    "{object}"
                );
            }
        }
    }

    #[test]
    fn anonymous_callers_see_health_and_version_and_nothing_else() {
        let authorizer = authorizer();
        let nobody = User::anonymous();
        let path = |path| Attributes {
            verb: "get",
            path,
            ..Attributes::default()
        };
        assert!(authorizer.authorize(&nobody, &path("/readyz")).allowed);
        assert!(authorizer.authorize(&nobody, &path("/version")).allowed);
        assert!(!authorizer.authorize(&nobody, &path("/api")).allowed);
        assert!(!authorizer.authorize(&nobody, &path("/metrics")).allowed);
    }

    #[test]
    fn viewers_read_pods_but_no_secret() {
        let authorizer = authorizer();
        authorizer.put(
            "rolebindings",
            &json!({"metadata": {"name": "v", "namespace": "shop"},
                "roleRef": {"kind": "ClusterRole", "name": "view"},
                "subjects": [{"kind": "User", "name": "jane"}]}),
        );
        let jane = User::new("jane", Vec::<String>::new());
        let get = |resource, namespace| Attributes {
            verb: "get",
            resource,
            namespace,
            ..Attributes::default()
        };
        assert!(authorizer.authorize(&jane, &get("pods", "shop")).allowed);
        assert!(!authorizer.authorize(&jane, &get("secrets", "shop")).allowed);
        assert!(!authorizer.authorize(&jane, &get("pods", "bank")).allowed);
    }
}
