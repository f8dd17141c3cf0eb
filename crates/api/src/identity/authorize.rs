//! Role-based access control, as `rbac.authorization.k8s.io/v1` defines it.
//!
//! The authorizer keeps every role and binding in the form decisions need: bindings by the subject
//! they name, so that a decision looks at the caller's own bindings and no others. It is told of
//! each change of a role or binding and never reads the store itself.

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::time::Duration;

use parking_lot::RwLock;
use serde::Deserialize;
use serde_json::Value;

use super::attributes::Attributes;
use super::node::{self, Graph};
use super::user::{MASTERS, User, service_account_name};

/// How long a node's relations may take to be known.
const CATCH_UP: Duration = Duration::from_millis(200);

/// One rule of a role: what may be done to what.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Rule {
    /// The verbs allowed, `*` for all.
    #[serde(deserialize_with = "null_is_empty")]
    pub verbs: Vec<String>,
    /// The groups of the resources, `*` for all, empty text for the core group.
    #[serde(deserialize_with = "null_is_empty")]
    pub api_groups: Vec<String>,
    /// Plural names, `name/subresource`, `*/subresource` or `*`.
    #[serde(deserialize_with = "null_is_empty")]
    pub resources: Vec<String>,
    /// The only object names allowed; empty for all.
    #[serde(deserialize_with = "null_is_empty")]
    pub resource_names: Vec<String>,
    /// Paths allowed, with `*` at the end for all below.
    #[serde(rename = "nonResourceURLs", deserialize_with = "null_is_empty")]
    pub non_resource_urls: Vec<String>,
}

fn null_is_empty<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

impl Rule {
    /// The rule that gives everything there is.
    pub fn all() -> Self {
        let any = || vec!["*".to_owned()];
        Self {
            verbs: any(),
            api_groups: any(),
            resources: any(),
            resource_names: Vec::new(),
            non_resource_urls: any(),
        }
    }

    /// Whether the rule allows the request.
    pub fn allows(&self, wanted: &Attributes<'_>) -> bool {
        if !matches_any(&self.verbs, wanted.verb) {
            return false;
        }
        if !wanted.is_resource() {
            return self.non_resource_urls.iter().any(|url| {
                url == "*"
                    || url == wanted.path
                    || url
                        .strip_suffix('*')
                        .is_some_and(|prefix| wanted.path.starts_with(prefix))
            });
        }
        matches_any(&self.api_groups, wanted.group)
            && self.has_resource(wanted.resource, wanted.subresource)
            && (self.resource_names.is_empty()
                || self.resource_names.iter().any(|name| name == wanted.name))
    }

    fn has_resource(&self, resource: &str, subresource: &str) -> bool {
        self.resources.iter().any(|own| {
            if own == "*" {
                return true;
            }
            match own.split_once('/') {
                None => subresource.is_empty() && own == resource,
                Some((parent, sub)) => {
                    sub == subresource
                        && !subresource.is_empty()
                        && (parent == "*" || parent == resource)
                }
            }
        })
    }
}

fn matches_any(own: &[String], wanted: &str) -> bool {
    own.iter().any(|one| one == "*" || one == wanted)
}

/// The answer to "may this caller do this?".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Whether the request may go on.
    pub allowed: bool,
    /// By which binding it is allowed, or what went wrong on the way to a refusal; may be empty.
    pub reason: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum RoleKind {
    Role,
    ClusterRole,
}

/// A binding or role by namespace (empty for cluster-wide) and name.
type Address = (String, String);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Subject {
    User(String),
    Group(String),
}

#[derive(Debug)]
struct Binding {
    subjects: Vec<Subject>,
    role: (RoleKind, String),
}

#[derive(Default)]
struct Policy {
    roles: HashMap<Address, Vec<Rule>>,
    bindings: HashMap<Address, Binding>,
    /// Bindings that name a subject, by namespace (empty for cluster-wide) and subject.
    by_subject: HashMap<String, HashMap<Subject, HashSet<String>>>,
}

impl Policy {
    fn remove_binding(&mut self, address: &Address) {
        let Some(old) = self.bindings.remove(address) else {
            return;
        };
        let Some(subjects) = self.by_subject.get_mut(&address.0) else {
            return;
        };
        for subject in old.subjects {
            if let Some(names) = subjects.get_mut(&subject) {
                names.remove(&address.1);
                if names.is_empty() {
                    subjects.remove(&subject);
                }
            }
        }
        if subjects.is_empty() {
            self.by_subject.remove(&address.0);
        }
    }

    fn put_binding(&mut self, address: Address, binding: Binding) {
        self.remove_binding(&address);
        let subjects = self.by_subject.entry(address.0.clone()).or_default();
        for subject in &binding.subjects {
            subjects
                .entry(subject.clone())
                .or_default()
                .insert(address.1.clone());
        }
        self.bindings.insert(address, binding);
    }

    /// Calls `visit` for every binding of `namespace` that names the caller, until it says stop.
    fn visit<'a>(
        &'a self,
        user: &User,
        namespace: &str,
        visit: &mut dyn FnMut(Grant<'a>) -> bool,
    ) -> bool {
        let Some((namespace, subjects)) = self.by_subject.get_key_value(namespace) else {
            return false;
        };
        let name = Subject::User(user.name.clone());
        let groups = user
            .groups
            .iter()
            .map(|group| Subject::Group(group.clone()));
        for subject in std::iter::once(name).chain(groups) {
            let Some((subject, names)) = subjects.get_key_value(&subject) else {
                continue;
            };
            for name in names {
                let Some(binding) = self.bindings.get(&(namespace.clone(), name.clone())) else {
                    continue;
                };
                let (kind, role) = &binding.role;
                let home = match kind {
                    RoleKind::ClusterRole => String::new(),
                    RoleKind::Role => namespace.clone(),
                };
                let rules = self.roles.get(&(home, role.clone())).map(Vec::as_slice);
                let grant = Grant {
                    namespace,
                    binding: name,
                    kind: *kind,
                    role,
                    subject,
                    rules,
                };
                if visit(grant) {
                    return true;
                }
            }
        }
        false
    }

    /// Visits the cluster-wide bindings, then those of the namespace, as upstream does.
    fn visit_all<'a>(
        &'a self,
        user: &User,
        namespace: &str,
        visit: &mut dyn FnMut(Grant<'a>) -> bool,
    ) -> bool {
        self.visit(user, "", visit) || (!namespace.is_empty() && self.visit(user, namespace, visit))
    }
}

/// A binding that names the caller, and the rules it gives.
struct Grant<'a> {
    namespace: &'a str,
    binding: &'a str,
    kind: RoleKind,
    role: &'a str,
    subject: &'a Subject,
    rules: Option<&'a [Rule]>,
}

impl Grant<'_> {
    /// That the role the binding names does not exist.
    fn missing(&self) -> String {
        let resource = match self.kind {
            RoleKind::Role => "role",
            RoleKind::ClusterRole => "clusterrole",
        };
        format!(
            "{resource}.rbac.authorization.k8s.io {:?} not found",
            self.role
        )
    }

    fn reason(&self) -> String {
        let mut reason = String::from("RBAC: allowed by ");
        let _ = if self.namespace.is_empty() {
            write!(reason, "ClusterRoleBinding {:?}", self.binding)
        } else {
            write!(
                reason,
                "RoleBinding \"{}/{}\"",
                self.binding, self.namespace
            )
        };
        let kind = match self.kind {
            RoleKind::Role => "Role",
            RoleKind::ClusterRole => "ClusterRole",
        };
        let _ = write!(reason, " of {kind} {:?} to ", self.role);
        let _ = match self.subject {
            Subject::User(name) => write!(reason, "User {name:?}"),
            Subject::Group(name) => write!(reason, "Group {name:?}"),
        };
        reason
    }
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
        (self.rules(user, namespace), gaps)
    }

    /// All rules that hold for the caller in a namespace, cluster-wide ones included.
    pub fn rules(&self, user: &User, namespace: &str) -> Vec<Rule> {
        let mut all = Vec::new();
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
        self.policy.read().visit_all(user, namespace, &mut |grant| {
            all.extend_from_slice(grant.rules.unwrap_or_default());
            false
        });
        all
    }
}

/// The rules as upstream's escalation message words them: those that differ in their verb only are
/// drawn together, sorted.
pub fn describe(rules: &[Rule]) -> String {
    let mut drawn: Vec<Rule> = Vec::new();
    for rule in rules {
        let same = drawn.iter_mut().find(|other| {
            rule.non_resource_urls.is_empty()
                && other.non_resource_urls.is_empty()
                && (&other.api_groups, &other.resources, &other.resource_names)
                    == (&rule.api_groups, &rule.resources, &rule.resource_names)
        });
        match same {
            Some(other) => other.verbs.extend(rule.verbs.iter().cloned()),
            None => drawn.push(rule.clone()),
        }
    }
    let mut lines: Vec<String> = drawn.iter().map(compact).collect();
    lines.sort();
    lines.dedup();
    lines.join("\n")
}

fn compact(rule: &Rule) -> String {
    let parts = [
        ("APIGroups", &rule.api_groups),
        ("Resources", &rule.resources),
        ("NonResourceURLs", &rule.non_resource_urls),
        ("ResourceNames", &rule.resource_names),
        ("Verbs", &rule.verbs),
    ];
    let parts: Vec<String> = parts
        .into_iter()
        .filter(|(_, list)| !list.is_empty())
        .map(|(name, list)| format!("{name}:{}", quoted(list)))
        .collect();
    format!("{{{}}}", parts.join(", "))
}

/// A list as Go prints one of strings: `["a" "b"]`.
pub fn quoted(list: &[String]) -> String {
    let each: Vec<String> = list.iter().map(|text| format!("{text:?}")).collect();
    format!("[{}]", each.join(" "))
}

/// What of `wanted` the rules in `held` do not cover: nobody may hand out more than it has (the
/// escalation check of upstream's RBAC). Each is broken down to one verb on one resource.
pub fn uncovered(held: &[Rule], wanted: &[Rule]) -> Vec<Rule> {
    let mut missing = Vec::new();
    for atom in wanted.iter().flat_map(atoms) {
        if !held.iter().any(|rule| covers(rule, &atom)) {
            missing.push(atom);
        }
    }
    missing
}

/// Splits a rule into rules of one verb and one resource (or one path) each.
fn atoms(rule: &Rule) -> Vec<Rule> {
    let mut atoms = Vec::new();
    for verb in &rule.verbs {
        let verbs = vec![verb.clone()];
        for url in &rule.non_resource_urls {
            atoms.push(Rule {
                verbs: verbs.clone(),
                non_resource_urls: vec![url.clone()],
                ..Rule::default()
            });
        }
        for group in &rule.api_groups {
            for resource in &rule.resources {
                let names: Vec<Vec<String>> = if rule.resource_names.is_empty() {
                    vec![vec![]]
                } else {
                    let each = rule.resource_names.iter();
                    each.map(|name| vec![name.clone()]).collect()
                };
                atoms.extend(names.into_iter().map(|resource_names| Rule {
                    verbs: verbs.clone(),
                    api_groups: vec![group.clone()],
                    resources: vec![resource.clone()],
                    resource_names,
                    ..Rule::default()
                }));
            }
        }
    }
    atoms
}

/// Whether `rule` gives all that the atom wants; wildcards are covered by wildcards only.
fn covers(rule: &Rule, atom: &Rule) -> bool {
    let has = |own: &[String], wanted: &[String]| {
        wanted
            .iter()
            .all(|wanted| own.iter().any(|own| own == "*" || own == wanted))
    };
    if !has(&rule.verbs, &atom.verbs) {
        return false;
    }
    if let [url] = atom.non_resource_urls.as_slice() {
        return rule.non_resource_urls.iter().any(|own| {
            own == "*"
                || own == url
                || own
                    .strip_suffix('*')
                    .is_some_and(|prefix| url.starts_with(prefix))
        });
    }
    let [resource] = atom.resources.as_slice() else {
        return false;
    };
    let resources = rule.resources.iter().any(|own| {
        own == "*"
            || own == resource
            || own
                .strip_prefix("*/")
                .is_some_and(|sub| resource.split_once('/').is_some_and(|(_, own)| own == sub))
    });
    let names = rule.resource_names.is_empty()
        || (!atom.resource_names.is_empty() && has(&rule.resource_names, &atom.resource_names));
    resources && has(&rule.api_groups, &atom.api_groups) && names
}

fn address(object: &Value) -> Option<Address> {
    let metadata = object.get("metadata")?;
    let namespace = metadata.get("namespace").and_then(Value::as_str);
    let name = metadata.get("name").and_then(Value::as_str)?;
    Some((namespace.unwrap_or_default().to_owned(), name.to_owned()))
}

fn binding(object: &Value) -> Option<Binding> {
    let role = object.get("roleRef")?;
    let name = role.get("name").and_then(Value::as_str)?.to_owned();
    let kind = match role.get("kind").and_then(Value::as_str)? {
        "ClusterRole" => RoleKind::ClusterRole,
        "Role" => RoleKind::Role,
        _ => return None,
    };
    let home = address(object)?.0;
    let subjects = object.get("subjects").and_then(Value::as_array);
    let subjects = subjects.into_iter().flatten().filter_map(|subject| {
        let text = |field: &str| subject.get(field).and_then(Value::as_str);
        let name = text("name")?;
        match text("kind")? {
            "User" => Some(Subject::User(name.to_owned())),
            "Group" => Some(Subject::Group(name.to_owned())),
            "ServiceAccount" => {
                let namespace = text("namespace").filter(|ns| !ns.is_empty());
                let namespace = namespace.unwrap_or(home.as_str());
                Some(Subject::User(service_account_name(namespace, name)))
            }
            _ => None,
        }
    });
    Some(Binding {
        subjects: subjects.collect(),
        role: (kind, name),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

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
