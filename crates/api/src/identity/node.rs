//! What a node may do: only what the pods bound to it need.
//!
//! A node's agent reads the secrets, config maps, claims and volumes that pods on its node refer to, and
//! asks for tokens of their service accounts; nothing else of these kinds. The relations are counted
//! as pods, volumes and attachments come and go, so that a change costs what it refers to and a decision
//! is a look-up. What is not divided by node is granted to all nodes alike, by fixed rules.
//!
//! What the Playbooks name that are for a node, by its labels, counts as what its pods refer to: their variables, sources
//! and credentials.
//!
//! Rules and messages are those of upstream's node authorizer, selectors for nodes and pods included.

mod needs;
mod relations;
#[cfg(test)]
mod tests;

use std::sync::LazyLock;

use consort_object::LabelSelector;
use parking_lot::RwLock;
use serde_json::Value;

use super::attributes::Attributes;
use super::bootstrap;
use super::rule::Rule;
use super::user::User;
use needs::{needs, playbook_needs, text, volume_secrets};
use relations::{Kind, Relations};

const PREFIX: &str = "system:node:";
const GROUP: &str = "system:nodes";
const LEASES: &str = "kube-node-lease";

/// What the node authorizer says to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opinion {
    /// It may go on.
    Allowed,
    /// Others may decide; perhaps with the reason why this one does not allow it.
    None(Option<String>),
}

/// The name of the node the caller is; `None` for everyone else, an empty name for a caller among the
/// nodes that names none.
pub fn name_of(user: &User) -> Option<&str> {
    if !user.is_in(GROUP) {
        return None;
    }
    user.name.strip_prefix(PREFIX)
}

/// What nodes are related to. To be told of every node, pod, volume, attachment, resource slice and playbook.
#[derive(Default)]
pub struct Graph {
    relations: RwLock<Relations>,
    changed: tokio::sync::watch::Sender<()>,
}

/// The collections the graph is made of: group and plural.
pub const SOURCES: [(&str, &str); 6] = [
    ("", "nodes"),
    ("", "pods"),
    ("", "persistentvolumes"),
    ("storage.k8s.io", "volumeattachments"),
    ("resource.k8s.io", "resourceslices"),
    ("consort.dev", "playbooks"),
];

impl Graph {
    /// Takes in an object that was created or changed. Kinds not among [`SOURCES`] are ignored.
    pub fn put(&self, plural: &str, object: &Value) {
        self.take_in(plural, object);
        self.changed.send_replace(());
    }

    /// Told whenever something has changed.
    pub fn changes(&self) -> tokio::sync::watch::Receiver<()> {
        self.changed.subscribe()
    }

    fn take_in(&self, plural: &str, object: &Value) {
        let text = |path: &str| text(object, path).to_owned();
        let (namespace, name) = (text("/metadata/namespace"), text("/metadata/name"));
        match plural {
            "pods" => {
                let node = text("/spec/nodeName");
                let mirror = object
                    .pointer("/metadata/annotations/kubernetes.io~1config.mirror")
                    .is_some();
                let mut targets = vec![(Kind::Pod, namespace.clone(), name.clone())];
                if !mirror {
                    targets.extend(needs(object, &namespace, &name));
                }
                self.relations
                    .write()
                    .relate((Kind::Pod, (namespace, name)), &node, targets);
            }
            "volumeattachments" | "resourceslices" => {
                let (kind, node) = if plural == "resourceslices" {
                    (Kind::Slice, text("/spec/nodeName"))
                } else {
                    (Kind::Attachment, text("/spec/nodeName"))
                };
                let target = (kind, String::new(), name.clone());
                self.relations
                    .write()
                    .relate((kind, (String::new(), name)), &node, vec![target]);
            }
            "persistentvolumes" => {
                let claim = (
                    text("/spec/claimRef/namespace"),
                    text("/spec/claimRef/name"),
                );
                let secrets = volume_secrets(object, &claim.0);
                let mut relations = self.relations.write();
                relations.drop_volume(&name);
                if claim.1.is_empty() {
                    return;
                }
                relations.volumes.insert(name.clone(), claim);
                for secret in &secrets {
                    relations
                        .secret_volumes
                        .entry(secret.clone())
                        .or_default()
                        .push(name.clone());
                }
                relations.volume_secrets.insert(name, secrets);
            }
            "nodes" => {
                let labels = object
                    .pointer("/metadata/labels")
                    .and_then(Value::as_object)
                    .into_iter()
                    .flatten()
                    .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
                    .collect();
                self.relations.write().labels.insert(name, labels);
            }
            "playbooks" => {
                let place = (namespace, name);
                // One that selects no nodes, or cannot be read, is for none.
                let selector = object
                    .pointer("/spec/selector")
                    .and_then(|selector| LabelSelector::from_json(selector).ok());
                let mut relations = self.relations.write();
                match selector {
                    Some(selector) => {
                        let targets = playbook_needs(object, &place.0);
                        relations.put_playbook(&place, selector, targets);
                    }
                    None => relations.drop_playbook(&place),
                }
            }
            _ => {}
        }
    }

    /// Forgets an object that was deleted.
    pub fn remove(&self, plural: &str, namespace: &str, name: &str) {
        let place = (namespace.to_owned(), name.to_owned());
        let mut relations = self.relations.write();
        match plural {
            "pods" => relations.take_back(&(Kind::Pod, place)),
            "volumeattachments" => relations.take_back(&(Kind::Attachment, place)),
            "resourceslices" => relations.take_back(&(Kind::Slice, place)),
            "persistentvolumes" => relations.drop_volume(name),
            "nodes" => {
                relations.labels.remove(name);
            }
            "playbooks" => relations.drop_playbook(&place),
            _ => {}
        }
    }

    /// Puts these objects, each with its plural name, in place of all that are known.
    pub fn replace<'a>(&self, objects: impl IntoIterator<Item = (&'a str, Value)>) {
        let fresh = Self::default();
        for (plural, object) in objects {
            fresh.put(plural, &object);
        }
        *self.relations.write() = fresh.relations.into_inner();
        self.changed.send_replace(());
    }

    /// Whether a node may do this; no opinion on callers that are none.
    pub fn authorize(&self, user: &User, wanted: &Attributes<'_>) -> Opinion {
        if !user.is_in(GROUP) {
            return Opinion::None(None);
        }
        let Some(node) = name_of(user).filter(|name| !name.is_empty()) else {
            return none(format!("unknown node for user {:?}", user.name));
        };
        if wanted.is_resource()
            && let Some(opinion) = self.divided(node, wanted)
        {
            return opinion;
        }
        if rules().iter().any(|rule| rule.allows(wanted)) {
            return Opinion::Allowed;
        }
        Opinion::None(None)
    }

    /// The opinion on kinds that are divided by node; `None` for others.
    fn divided(&self, node: &str, wanted: &Attributes<'_>) -> Option<Opinion> {
        Some(match (wanted.group, wanted.resource) {
            ("", "secrets") => self.read(node, Kind::Secret, wanted),
            ("", "configmaps") => self.read(node, Kind::ConfigMap, wanted),
            ("", "persistentvolumeclaims") if wanted.subresource == "status" => {
                if matches!(wanted.verb, "update" | "patch") {
                    self.related(node, Kind::Claim, wanted.namespace, wanted.name)
                } else {
                    none("can only get/update/patch this type")
                }
            }
            ("", "persistentvolumeclaims") => self.get(node, Kind::Claim, wanted),
            ("", "persistentvolumes") => {
                if let Some(refused) = only_get(wanted) {
                    refused
                } else if self.relations.read().has_volume(node, wanted.name) {
                    Opinion::Allowed
                } else {
                    unrelated(node)
                }
            }
            ("resource.k8s.io", "resourceclaims") => self.get(node, Kind::ResourceClaim, wanted),
            ("storage.k8s.io", "volumeattachments") => self.get(node, Kind::Attachment, wanted),
            ("", "serviceaccounts") => self.token(node, wanted),
            ("coordination.k8s.io", "leases") => lease(node, wanted),
            ("storage.k8s.io", "csinodes") => csi_node(node, wanted),
            ("resource.k8s.io", "resourceslices") => self.slice(node, wanted),
            ("", "nodes") => own_node(node, wanted),
            ("", "pods") => self.pod(node, wanted),
            _ => return None,
        })
    }

    fn related(&self, node: &str, kind: Kind, namespace: &str, name: &str) -> Opinion {
        if name.is_empty() {
            return none("No Object name found");
        }
        if self.relations.read().has(node, kind, namespace, name) {
            return Opinion::Allowed;
        }
        unrelated(node)
    }

    fn read(&self, node: &str, kind: Kind, wanted: &Attributes<'_>) -> Opinion {
        if !matches!(wanted.verb, "get" | "list" | "watch") {
            return none("can only read resources of this type");
        }
        if !wanted.subresource.is_empty() {
            return none("cannot read subresource");
        }
        // A list over all namespaces that selects one by field reads no more than one of it.
        let namespace = match wanted.namespace {
            "" => wanted
                .field_selector
                .and_then(|selector| selector.exact("metadata.namespace"))
                .unwrap_or_default(),
            namespace => namespace,
        };
        if namespace.is_empty() {
            return none("can only read namespaced object of this type");
        }
        self.related(node, kind, namespace, wanted.name)
    }

    fn get(&self, node: &str, kind: Kind, wanted: &Attributes<'_>) -> Opinion {
        match only_get(wanted) {
            Some(refused) => refused,
            None => self.related(node, kind, wanted.namespace, wanted.name),
        }
    }

    fn token(&self, node: &str, wanted: &Attributes<'_>) -> Opinion {
        if wanted.subresource.is_empty() && wanted.verb == "get" {
            return self.related(node, Kind::ServiceAccount, wanted.namespace, wanted.name);
        }
        if wanted.verb != "create" || wanted.name.is_empty() {
            return none("can only create tokens for individual service accounts");
        }
        if wanted.subresource != "token" {
            return none("can only create token subresource of serviceaccount");
        }
        self.related(node, Kind::ServiceAccount, wanted.namespace, wanted.name)
    }

    fn slice(&self, node: &str, wanted: &Attributes<'_>) -> Opinion {
        if !wanted.subresource.is_empty() {
            return none("cannot authorize ResourceSlice subresources");
        }
        match wanted.verb {
            // Whose it is, admission checks.
            "create" => Opinion::Allowed,
            "get" | "update" | "patch" | "delete" => {
                self.related(node, Kind::Slice, "", wanted.name)
            }
            "watch" | "list" | "deletecollection" => {
                if selects(wanted, "spec.nodeName", node) {
                    Opinion::Allowed
                } else {
                    none(
                        "can only list/watch/deletecollection resourceslices with nodeName field selector",
                    )
                }
            }
            _ => none(
                "only the following verbs are allowed for a ResourceSlice: get, watch, list, create, update, patch, delete, deletecollection",
            ),
        }
    }

    fn pod(&self, node: &str, wanted: &Attributes<'_>) -> Opinion {
        match (wanted.subresource, wanted.verb) {
            // Whose pod it is, admission checks.
            ("", "create" | "delete") | ("status", "update" | "patch") | ("eviction", "create") => {
                Opinion::Allowed
            }
            ("", "get") => self.related(node, Kind::Pod, wanted.namespace, wanted.name),
            ("", "list" | "watch") => {
                if selects(wanted, "spec.nodeName", node) {
                    return Opinion::Allowed;
                }
                if !wanted.name.is_empty() {
                    return self.related(node, Kind::Pod, wanted.namespace, wanted.name);
                }
                none("can only list/watch pods with spec.nodeName field selector")
            }
            ("" | "status" | "eviction", verb) => none(format!(
                "node {node:?} cannot {verb} pods{}{}",
                if wanted.subresource.is_empty() {
                    ""
                } else {
                    "/"
                },
                wanted.subresource
            )),
            (sub, _) => none(format!(
                "only the following subresources are allowed for a Pod: [eviction status], got {sub}"
            )),
        }
    }
}

fn none(why: impl Into<String>) -> Opinion {
    Opinion::None(Some(why.into()))
}

fn unrelated(node: &str) -> Opinion {
    none(format!(
        "no relationship found between node '{node}' and this object"
    ))
}

fn only_get(wanted: &Attributes<'_>) -> Option<Opinion> {
    if wanted.verb != "get" {
        return Some(none("can only get individual resources of this type"));
    }
    (!wanted.subresource.is_empty()).then(|| none("cannot get subresource"))
}

fn selects(wanted: &Attributes<'_>, field: &str, value: &str) -> bool {
    wanted
        .field_selector
        .and_then(|selector| selector.exact(field))
        == Some(value)
}

fn lease(node: &str, wanted: &Attributes<'_>) -> Opinion {
    if !matches!(
        wanted.verb,
        "get" | "create" | "update" | "patch" | "delete"
    ) {
        return none("can only get, create, update, patch, or delete a node lease");
    }
    if wanted.namespace != LEASES {
        return none(format!(
            "can only access leases in the {LEASES:?} system namespace"
        ));
    }
    if wanted.verb != "create" && wanted.name != node {
        return none("can only access node lease with the same name as the requesting node");
    }
    Opinion::Allowed
}

fn csi_node(node: &str, wanted: &Attributes<'_>) -> Opinion {
    if !matches!(
        wanted.verb,
        "get" | "create" | "update" | "patch" | "delete"
    ) {
        return none("can only get, create, update, patch, or delete a CSINode");
    }
    if !wanted.subresource.is_empty() {
        return none("cannot authorize CSINode subresources");
    }
    if wanted.verb != "create" && wanted.name != node {
        return none("can only access CSINode with the same name as the requesting node");
    }
    Opinion::Allowed
}

fn own_node(node: &str, wanted: &Attributes<'_>) -> Opinion {
    match (wanted.subresource, wanted.verb) {
        // Which node is written, admission checks.
        ("", "create" | "update" | "patch") | ("status", "update" | "patch") => Opinion::Allowed,
        ("", "get" | "list" | "watch") => {
            if wanted.name == node {
                Opinion::Allowed
            } else {
                none(format!(
                    "node '{node}' cannot read '{}', only its own Node object",
                    wanted.name
                ))
            }
        }
        ("", verb) => none(format!("node '{node}' cannot {verb} nodes")),
        ("status", verb) => none(format!("node '{node}' cannot {verb} nodes/status")),
        (sub, _) => none(format!(
            "only the following subresources are allowed for a Node: [status], got {sub}"
        )),
    }
}

/// The rules that hold for every node alike.
fn rules() -> &'static [Rule] {
    static RULES: LazyLock<Vec<Rule>> = LazyLock::new(|| {
        serde_json::from_value(Value::Array(bootstrap::node_rules())).unwrap_or_default()
    });
    &RULES
}
