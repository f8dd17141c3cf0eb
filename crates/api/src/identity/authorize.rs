//! Role-based access control, as `rbac.authorization.k8s.io/v1` defines it.
//!
//! The authorizer keeps every role and binding in the form decisions need: bindings by the subject
//! they name, so that a decision looks at the caller's own bindings and no others. It is told of
//! each change of a role or binding and never reads the store itself.

use super::attributes::Attributes;
use super::node;
use super::node::Graph;
use super::policy::{Policy, address, binding};
use super::rule::Rule;
use super::user::{MASTERS, User};
use parking_lot::RwLock;
use serde::Deserialize;
use serde_json::Value;
use std::time::Duration;

/// How long a node's relations may take to be known.
const CATCH_UP: Duration = Duration::from_millis(200);

/// The answer to "may this caller do this?".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Whether the request may go on.
    pub allowed: bool,
    /// By which binding it is allowed, or what went wrong on the way to a refusal; may be empty.
    pub reason: String,
}

/// Decides what callers may do: `system:masters` anything, nodes what the node authorizer grants, and
/// everyone what roles grant. Cheap to share behind an `Arc`; reads never wait for each other.
#[derive(Default)]
pub struct Authorizer {
    policy: RwLock<Policy>,
    nodes: Graph,
}

impl Authorizer {
    /// An authorizer that knows no role yet and so allows `system:masters` only.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes in a role or binding that was created or changed. `plural` is `roles`, `clusterroles`,
    /// `rolebindings` or `clusterrolebindings`; other objects are ignored.
    pub fn put(&self, plural: &str, object: &Value) {
        let Some(address) = address(object) else {
            return;
        };
        match plural {
            "roles" | "clusterroles" => {
                let rules = object
                    .get("rules")
                    .and_then(|rules| Vec::<Rule>::deserialize(rules).ok())
                    .unwrap_or_default();
                self.policy.write().roles.insert(address, rules);
            }
            "rolebindings" | "clusterrolebindings" => {
                let Some(binding) = binding(object) else {
                    return;
                };
                self.policy.write().put_binding(address, binding);
            }
            _ => {}
        }
    }

    /// Puts these roles and bindings, each with its plural name, in place of all that are known.
    pub fn replace<'a>(&self, objects: impl IntoIterator<Item = (&'a str, Value)>) {
        let fresh = Self::new();
        for (plural, object) in objects {
            fresh.put(plural, &object);
        }
        *self.policy.write() = fresh.policy.into_inner();
    }

    /// What nodes are related to, for the node authorizer; to be told of changes.
    pub fn nodes(&self) -> &Graph {
        &self.nodes
    }

    /// Forgets a role or binding that was deleted; `namespace` is empty for cluster-wide ones.
    pub fn remove(&self, plural: &str, namespace: &str, name: &str) {
        let address = (namespace.to_owned(), name.to_owned());
        match plural {
            "roles" | "clusterroles" => {
                self.policy.write().roles.remove(&address);
            }
            "rolebindings" | "clusterrolebindings" => self.policy.write().remove_binding(&address),
            _ => {}
        }
    }

    /// Whether `user` may do what `wanted` says.
    pub fn authorize(&self, user: &User, wanted: &Attributes<'_>) -> Decision {
        if user.is_in(MASTERS) {
            return Decision {
                allowed: true,
                reason: String::new(),
            };
        }
        let node = self.nodes.authorize(user, wanted);
        if let node::Opinion::Allowed = node {
            return Decision {
                allowed: true,
                reason: String::new(),
            };
        }
        let mut decision = self.by_roles(user, wanted);
        if let (false, node::Opinion::None(Some(why))) = (decision.allowed, node) {
            decision.reason = if decision.reason.is_empty() {
                why
            } else {
                format!("{why}\n{}", decision.reason)
            };
        }
        decision
    }

    /// As [`authorize`](Self::authorize), but a node that is refused is asked for again while what it is
    /// related to changes, for a moment: it may have been told of its pod before this authorizer was.
    pub async fn authorize_soon(&self, user: &User, wanted: &Attributes<'_>) -> Decision {
        let mut changes = self.nodes.changes();
        let mut decision = self.authorize(user, wanted);
        if decision.allowed || node::name_of(user).is_none() {
            return decision;
        }
        let end = tokio::time::Instant::now() + CATCH_UP;
        while !decision.allowed
            && matches!(
                tokio::time::timeout_at(end, changes.changed()).await,
                Ok(Ok(()))
            )
        {
            decision = self.authorize(user, wanted);
        }
        decision
    }

    fn by_roles(&self, user: &User, wanted: &Attributes<'_>) -> Decision {
        let mut decision = Decision {
            allowed: false,
            reason: String::new(),
        };
        let mut missing: Vec<String> = Vec::new();
        let policy = self.policy.read();
        policy.visit_all(user, wanted.namespace, &mut |grant| match grant.rules {
            Some(rules) if rules.iter().any(|rule| rule.allows(wanted)) => {
                decision.allowed = true;
                decision.reason = grant.reason();
                true
            }
            Some(_) => false,
            None => {
                let what = grant.missing();
                if !missing.contains(&what) {
                    missing.push(what);
                }
                false
            }
        });
        if !decision.allowed && !missing.is_empty() {
            missing.sort();
            decision.reason = match missing.as_slice() {
                [one] => format!("RBAC: {one}"),
                many => format!("RBAC: [{}]", many.join(", ")),
            };
        }
        decision
    }

    /// All rules that hold for the caller in a namespace (cluster-wide ones included), as
    /// `SelfSubjectRulesReview` lists them, and what could not be found out: with anything there, the
    /// list is incomplete.
    pub fn rules_and_gaps(&self, user: &User, namespace: &str) -> (Vec<Rule>, Vec<String>) {
        let mut gaps = Vec::new();
        if node::name_of(user).is_some() {
            gaps.push("node authorizer does not support user rule resolution".to_owned());
        }
        self.policy.read().visit_all(user, namespace, &mut |grant| {
            if grant.rules.is_none() {
                let what = grant.missing();
                if !gaps.contains(&what) {
                    gaps.push(what);
                }
            }
            false
        });
        (self.granted(user, namespace), gaps)
    }

    /// The rules that bindings give the caller.
    fn granted(&self, user: &User, namespace: &str) -> Vec<Rule> {
        let mut all = Vec::new();
        self.policy.read().visit_all(user, namespace, &mut |grant| {
            all.extend_from_slice(grant.rules.unwrap_or_default());
            false
        });
        all
    }

    /// All rules that hold for the caller in a namespace, cluster-wide ones included.
    pub fn rules(&self, user: &User, namespace: &str) -> Vec<Rule> {
        let mut all = self.granted(user, namespace);
        if user.is_in(MASTERS) {
            let any = || vec!["*".to_owned()];
            all.push(Rule {
                verbs: any(),
                api_groups: any(),
                resources: any(),
                ..Rule::default()
            });
            all.push(Rule {
                verbs: any(),
                non_resource_urls: any(),
                ..Rule::default()
            });
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::identity::uncovered;

    fn authorizer() -> Authorizer {
        let authorizer = Authorizer::new();
        authorizer.put(
            "clusterroles",
            &json!({"metadata": {"name": "reader"}, "rules": [
                {"verbs": ["get", "list"], "apiGroups": [""], "resources": ["pods", "pods/log"]},
                {"verbs": ["get"], "nonResourceURLs": ["/healthz", "/apis/*"]},
            ]}),
        );
        authorizer.put(
            "roles",
            &json!({"metadata": {"name": "one", "namespace": "shop"}, "rules": [
                {"verbs": ["*"], "apiGroups": ["apps"], "resources": ["*/scale"]},
                {"verbs": ["update"], "apiGroups": [""], "resources": ["configmaps"],
                 "resourceNames": ["settings"]},
            ]}),
        );
        authorizer.put(
            "rolebindings",
            &json!({"metadata": {"name": "b", "namespace": "shop"},
                "roleRef": {"kind": "Role", "name": "one"},
                "subjects": [{"kind": "ServiceAccount", "name": "cart"}]}),
        );
        authorizer.put(
            "clusterrolebindings",
            &json!({"metadata": {"name": "readers"},
                "roleRef": {"kind": "ClusterRole", "name": "reader"},
                "subjects": [{"kind": "Group", "name": "dev"}]}),
        );
        authorizer
    }

    fn pods<'a>(verb: &'a str, subresource: &'a str) -> Attributes<'a> {
        Attributes {
            verb,
            resource: "pods",
            subresource,
            namespace: "shop",
            ..Attributes::default()
        }
    }

    #[test]
    fn what_no_rule_allows_is_refused() {
        let authorizer = authorizer();
        let dev = User::new("jane", ["dev"]);
        assert!(authorizer.authorize(&dev, &pods("get", "")).allowed);
        assert!(authorizer.authorize(&dev, &pods("list", "log")).allowed);
        assert!(!authorizer.authorize(&dev, &pods("list", "exec")).allowed);
        assert!(!authorizer.authorize(&dev, &pods("delete", "")).allowed);
        let nobody = User::anonymous();
        assert!(!authorizer.authorize(&nobody, &pods("get", "")).allowed);
        let admin = User::admin();
        assert!(authorizer.authorize(&admin, &pods("delete", "")).allowed);
    }

    #[test]
    fn a_decision_names_the_binding_that_allows_it() {
        let dev = User::new("jane", ["dev"]);
        assert_eq!(
            authorizer().authorize(&dev, &pods("get", "")).reason,
            r#"RBAC: allowed by ClusterRoleBinding "readers" of ClusterRole "reader" to Group "dev""#
        );
    }

    #[test]
    fn paths_match_whole_or_by_prefix() {
        let authorizer = authorizer();
        let dev = User::new("jane", ["dev"]);
        let get = |path| {
            let wanted = Attributes {
                verb: "get",
                path,
                ..Attributes::default()
            };
            authorizer.authorize(&dev, &wanted).allowed
        };
        assert!(get("/healthz") && get("/apis/apps/v1"));
        assert!(!get("/healthz/ping") && !get("/metrics"));
    }

    #[test]
    fn a_role_holds_in_its_namespace_and_for_its_names_only() {
        let authorizer = authorizer();
        let cart = User::service_account("shop", "cart", "u");
        let update = |namespace, name| {
            let wanted = Attributes {
                verb: "update",
                resource: "configmaps",
                namespace,
                name,
                ..Attributes::default()
            };
            authorizer.authorize(&cart, &wanted).allowed
        };
        assert!(update("shop", "settings"));
        assert!(!update("shop", "other"));
        assert!(!update("bank", "settings"));
        let scale = Attributes {
            verb: "patch",
            group: "apps",
            resource: "deployments",
            subresource: "scale",
            namespace: "shop",
            ..Attributes::default()
        };
        assert!(authorizer.authorize(&cart, &scale).allowed);
    }

    #[test]
    fn a_removed_binding_gives_nothing_any_more() {
        let authorizer = authorizer();
        let dev = User::new("jane", ["dev"]);
        authorizer.remove("clusterrolebindings", "", "readers");
        assert!(!authorizer.authorize(&dev, &pods("get", "")).allowed);
        assert!(!authorizer.policy.read().by_subject.contains_key(""));
    }

    #[test]
    fn a_binding_to_a_missing_role_says_so() {
        let authorizer = authorizer();
        authorizer.remove("clusterroles", "", "reader");
        let decision = authorizer.authorize(&User::new("jane", ["dev"]), &pods("get", ""));
        assert!(!decision.allowed);
        assert_eq!(
            decision.reason,
            r#"RBAC: clusterrole.rbac.authorization.k8s.io "reader" not found"#
        );
    }

    #[test]
    fn nobody_covers_more_than_it_holds() {
        let rule = |verbs: &[&str], resources: &[&str], names: &[&str]| Rule {
            verbs: verbs.iter().map(ToString::to_string).collect(),
            api_groups: vec![String::new()],
            resources: resources.iter().map(ToString::to_string).collect(),
            resource_names: names.iter().map(ToString::to_string).collect(),
            ..Rule::default()
        };
        let held = [
            rule(&["get", "list"], &["pods"], &[]),
            rule(&["*"], &["secrets"], &["a"]),
        ];
        assert!(uncovered(&held, &[rule(&["get"], &["pods"], &["x"])]).is_empty());
        assert!(uncovered(&held, &[rule(&["delete"], &["secrets"], &["a"])]).is_empty());
        assert_eq!(
            uncovered(&held, &[rule(&["get"], &["secrets"], &[])]).len(),
            1
        );
        assert_eq!(uncovered(&held, &[rule(&["*"], &["pods"], &[])]).len(), 1);
        let missing = uncovered(&held, &[rule(&["get", "watch"], &["pods", "nodes"], &[])]);
        assert_eq!(missing.len(), 3);
    }

    #[test]
    fn what_is_read_anew_takes_the_place_of_all_that_was_known() {
        let authorizer = authorizer();
        let dev = User::new("jane", ["dev"]);
        assert!(authorizer.authorize(&dev, &pods("get", "")).allowed);
        // The binding went while nobody watched; the role is still there.
        let role = json!({"metadata": {"name": "reader"}, "rules": []});
        authorizer.replace([("clusterroles", role)]);
        assert!(!authorizer.authorize(&dev, &pods("get", "")).allowed);
        assert_eq!(authorizer.rules(&dev, ""), []);
    }

    #[test]
    fn roles_that_are_missing_are_told_once_each() {
        let authorizer = Authorizer::new();
        for (name, role) in [("a", "gone"), ("b", "gone"), ("c", "lost")] {
            authorizer.put(
                "clusterrolebindings",
                &json!({"metadata": {"name": name},
                    "roleRef": {"kind": "ClusterRole", "name": role},
                    "subjects": [{"kind": "User", "name": "jane"}]}),
            );
        }
        let jane = User::new("jane", [""; 0]);
        assert_eq!(
            authorizer.authorize(&jane, &pods("get", "")).reason,
            "RBAC: [clusterrole.rbac.authorization.k8s.io \"gone\" not found, clusterrole.rbac.authorization.k8s.io \"lost\" not found]"
        );
    }
}
