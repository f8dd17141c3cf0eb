//! Roles and bindings in the form decisions need: bindings by the subject they name.

use super::rule::Rule;
use super::user::{User, service_account_name};
use serde_json::Value;
use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum RoleKind {
    Role,
    ClusterRole,
}

/// A binding or role by namespace (empty for cluster-wide) and name.
pub(super) type Address = (String, String);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Subject {
    User(String),
    Group(String),
}

#[derive(Debug)]
pub(super) struct Binding {
    subjects: Vec<Subject>,
    role: (RoleKind, String),
}

#[derive(Default)]
pub(super) struct Policy {
    pub(super) roles: HashMap<Address, Vec<Rule>>,
    bindings: HashMap<Address, Binding>,
    /// Bindings that name a subject, by namespace (empty for cluster-wide) and subject.
    pub(super) by_subject: HashMap<String, HashMap<Subject, HashSet<String>>>,
}

impl Policy {
    pub(super) fn remove_binding(&mut self, address: &Address) {
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

    pub(super) fn put_binding(&mut self, address: Address, binding: Binding) {
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
    pub(super) fn visit_all<'a>(
        &'a self,
        user: &User,
        namespace: &str,
        visit: &mut dyn FnMut(Grant<'a>) -> bool,
    ) -> bool {
        self.visit(user, "", visit) || (!namespace.is_empty() && self.visit(user, namespace, visit))
    }
}

/// A binding that names the caller, and the rules it gives.
pub(super) struct Grant<'a> {
    namespace: &'a str,
    binding: &'a str,
    kind: RoleKind,
    role: &'a str,
    subject: &'a Subject,
    pub(super) rules: Option<&'a [Rule]>,
}

impl Grant<'_> {
    /// That the role the binding names does not exist.
    pub(super) fn missing(&self) -> String {
        let resource = match self.kind {
            RoleKind::Role => "role",
            RoleKind::ClusterRole => "clusterrole",
        };
        format!(
            "{resource}.rbac.authorization.k8s.io {:?} not found",
            self.role
        )
    }

    pub(super) fn reason(&self) -> String {
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

pub(super) fn address(object: &Value) -> Option<Address> {
    let metadata = object.get("metadata")?;
    let namespace = metadata.get("namespace").and_then(Value::as_str);
    let name = metadata.get("name").and_then(Value::as_str)?;
    Some((namespace.unwrap_or_default().to_owned(), name.to_owned()))
}

pub(super) fn binding(object: &Value) -> Option<Binding> {
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
