//! What a node may do: only what the pods bound to it need.
//!
//! A node's agent reads the secrets, config maps, claims and volumes that pods on its node refer to, and
//! asks for tokens of their service accounts; nothing else of these kinds. The relations are counted
//! as pods, volumes and attachments come and go, so that a change costs what it refers to and a decision
//! is a look-up. What is not divided by node is granted to all nodes alike, by fixed rules.
//!
//! Rules and messages are those of upstream's node authorizer, selectors for nodes and pods included.

use std::collections::HashMap;
use std::sync::LazyLock;

use parking_lot::RwLock;
use serde_json::Value;

use super::attributes::Attributes;
use super::bootstrap;
use super::rule::Rule;
use super::user::User;

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

/// The kinds that are divided by node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    Secret,
    ConfigMap,
    Claim,
    ServiceAccount,
    Pod,
    ResourceClaim,
    Attachment,
    Slice,
}

/// An object of such a kind: kind, namespace (empty for none), name.
type Target = (Kind, String, String);

/// A place in the cluster: namespace and name.
type Place = (String, String);

#[derive(Default)]
struct Relations {
    /// How many times a node's pods refer to an object.
    related: HashMap<String, HashMap<Target, usize>>,
    /// What each source (pod, attachment, slice) added, to be taken back when it changes.
    sources: HashMap<(Kind, Place), (String, Vec<Target>)>,
    /// The claim each volume is bound to.
    volumes: HashMap<String, Place>,
    /// The secrets each volume refers to, and back.
    volume_secrets: HashMap<String, Vec<Place>>,
    secret_volumes: HashMap<Place, Vec<String>>,
}

impl Relations {
    fn take_back(&mut self, source: &(Kind, Place)) {
        let Some((node, targets)) = self.sources.remove(source) else {
            return;
        };
        let Some(related) = self.related.get_mut(&node) else {
            return;
        };
        for target in targets {
            if let Some(count) = related.get_mut(&target) {
                *count -= 1;
                if *count == 0 {
                    related.remove(&target);
                }
            }
        }
        if related.is_empty() {
            self.related.remove(&node);
        }
    }

    fn relate(&mut self, source: (Kind, Place), node: &str, targets: Vec<Target>) {
        self.take_back(&source);
        if node.is_empty() {
            return;
        }
        let related = self.related.entry(node.to_owned()).or_default();
        for target in &targets {
            *related.entry(target.clone()).or_default() += 1;
        }
        self.sources.insert(source, (node.to_owned(), targets));
    }

    fn has(&self, node: &str, kind: Kind, namespace: &str, name: &str) -> bool {
        let Some(related) = self.related.get(node) else {
            return false;
        };
        let target = (kind, namespace.to_owned(), name.to_owned());
        if related.contains_key(&target) {
            return true;
        }
        // A claim's volume may name secrets of its own.
        kind == Kind::Secret
            && self
                .secret_volumes
                .get(&(target.1, target.2))
                .is_some_and(|volumes| volumes.iter().any(|volume| self.has_volume(node, volume)))
    }

    fn has_volume(&self, node: &str, volume: &str) -> bool {
        self.volumes.get(volume).is_some_and(|(namespace, name)| {
            self.related.get(node).is_some_and(|related| {
                related.contains_key(&(Kind::Claim, namespace.clone(), name.clone()))
            })
        })
    }

    fn drop_volume(&mut self, name: &str) {
        self.volumes.remove(name);
        for secret in self.volume_secrets.remove(name).unwrap_or_default() {
            if let Some(volumes) = self.secret_volumes.get_mut(&secret) {
                volumes.retain(|volume| volume != name);
                if volumes.is_empty() {
                    self.secret_volumes.remove(&secret);
                }
            }
        }
    }
}

/// What nodes are related to. To be told of every pod, volume, attachment and resource slice.
#[derive(Default)]
pub struct Graph {
    relations: RwLock<Relations>,
    changed: tokio::sync::watch::Sender<()>,
}

/// The collections the graph is made of: group and plural.
pub const SOURCES: [(&str, &str); 4] = [
    ("", "pods"),
    ("", "persistentvolumes"),
    ("storage.k8s.io", "volumeattachments"),
    ("resource.k8s.io", "resourceslices"),
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

fn text<'a>(value: &'a Value, path: &str) -> &'a str {
    value
        .pointer(path)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

fn list<'a>(value: &'a Value, path: &str) -> impl Iterator<Item = &'a Value> {
    value
        .pointer(path)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}

/// What a pod on a node needs of the kinds that are divided.
fn needs(pod: &Value, namespace: &str, name: &str) -> Vec<Target> {
    let mut found: Vec<Target> = Vec::new();
    let mut need = |kind: Kind, what: &str| {
        if what.is_empty() {
            return;
        }
        let target = (kind, namespace.to_owned(), what.to_owned());
        if !found.contains(&target) {
            found.push(target);
        }
    };
    need(Kind::ServiceAccount, text(pod, "/spec/serviceAccountName"));
    for secret in list(pod, "/spec/imagePullSecrets") {
        need(Kind::Secret, text(secret, "/name"));
    }
    for containers in ["initContainers", "containers", "ephemeralContainers"] {
        for container in list(pod, &format!("/spec/{containers}")) {
            for source in list(container, "/envFrom") {
                need(Kind::Secret, text(source, "/secretRef/name"));
                need(Kind::ConfigMap, text(source, "/configMapRef/name"));
            }
            for variable in list(container, "/env") {
                need(Kind::Secret, text(variable, "/valueFrom/secretKeyRef/name"));
                need(
                    Kind::ConfigMap,
                    text(variable, "/valueFrom/configMapKeyRef/name"),
                );
            }
        }
    }
    for volume in list(pod, "/spec/volumes") {
        need(Kind::Secret, text(volume, "/secret/secretName"));
        need(Kind::ConfigMap, text(volume, "/configMap/name"));
        need(
            Kind::Claim,
            text(volume, "/persistentVolumeClaim/claimName"),
        );
        if volume.get("ephemeral").is_some() {
            need(Kind::Claim, &format!("{name}-{}", text(volume, "/name")));
        }
        need(Kind::Secret, text(volume, "/azureFile/secretName"));
        for plugin in [
            "cephfs",
            "cinder",
            "flexVolume",
            "rbd",
            "scaleIO",
            "iscsi",
            "storageos",
        ] {
            need(
                Kind::Secret,
                text(volume, &format!("/{plugin}/secretRef/name")),
            );
        }
        need(Kind::Secret, text(volume, "/csi/nodePublishSecretRef/name"));
        for source in list(volume, "/projected/sources") {
            need(Kind::Secret, text(source, "/secret/name"));
            need(Kind::ConfigMap, text(source, "/configMap/name"));
        }
    }
    for claim in list(pod, "/spec/resourceClaims") {
        need(Kind::ResourceClaim, text(claim, "/resourceClaimName"));
    }
    for claim in list(pod, "/status/resourceClaimStatuses") {
        need(Kind::ResourceClaim, text(claim, "/resourceClaimName"));
    }
    found
}

/// The secrets a volume names; those without a namespace are in the claim's.
fn volume_secrets(volume: &Value, claim_namespace: &str) -> Vec<Place> {
    let mut found = Vec::new();
    let mut add = |secret: Option<&Value>| {
        let Some(secret) = secret else { return };
        let name = [text(secret, "/name"), text(secret, "/secretName")].join("");
        let namespace = [text(secret, "/namespace"), text(secret, "/secretNamespace")].join("");
        if !name.is_empty() {
            let namespace = if namespace.is_empty() {
                claim_namespace.to_owned()
            } else {
                namespace
            };
            found.push((namespace, name));
        }
    };
    for field in [
        "nodePublishSecretRef",
        "nodeStageSecretRef",
        "nodeExpandSecretRef",
        "controllerPublishSecretRef",
        "controllerExpandSecretRef",
    ] {
        add(volume.pointer(&format!("/spec/csi/{field}")));
    }
    for plugin in [
        "cephfs",
        "cinder",
        "flexVolume",
        "rbd",
        "scaleIO",
        "iscsi",
        "storageos",
    ] {
        add(volume.pointer(&format!("/spec/{plugin}/secretRef")));
    }
    add(volume.pointer("/spec/azureFile"));
    found
}

#[cfg(test)]
mod tests {
    use consort_object::FieldSelector;
    use serde_json::json;

    use super::*;

    fn secret<'a>(verb: &'a str, namespace: &'a str, name: &'a str) -> Attributes<'a> {
        Attributes {
            verb,
            resource: "secrets",
            namespace,
            name,
            ..Attributes::default()
        }
    }

    #[test]
    fn a_node_reads_what_its_pods_need_and_no_longer_when_they_are_gone() {
        let graph = Graph::default();
        let pod = |name: &str, node: &str| {
            json!({"metadata": {"name": name, "namespace": "shop"}, "spec": {
                "nodeName": node, "serviceAccountName": "cart",
                "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}],
                "containers": [{"env": [{"valueFrom": {"secretKeyRef": {"name": "db", "key": "k"}}}]}]}})
        };
        let (n1, n2) = (User::node("n1"), User::node("n2"));
        let wanted = secret("get", "shop", "db");
        assert_ne!(graph.authorize(&n1, &wanted), Opinion::Allowed);
        graph.put("pods", &pod("a", "n1"));
        graph.put("pods", &pod("b", "n1"));
        assert_eq!(graph.authorize(&n1, &wanted), Opinion::Allowed);
        assert_eq!(
            graph.authorize(&n2, &wanted),
            none("no relationship found between node 'n2' and this object")
        );
        for (verb, name) in [("get", "other"), ("update", "db"), ("list", "")] {
            assert_ne!(
                graph.authorize(&n1, &secret(verb, "shop", name)),
                Opinion::Allowed,
                "{verb} {name}"
            );
        }
        graph.put(
            "persistentvolumes",
            &json!({"metadata": {"name": "pv"}, "spec": {
                "claimRef": {"namespace": "shop", "name": "data"},
                "csi": {"nodeStageSecretRef": {"namespace": "vault", "name": "key"}}}}),
        );
        let key = secret("get", "vault", "key");
        assert_eq!(graph.authorize(&n1, &key), Opinion::Allowed);
        assert_ne!(graph.authorize(&n2, &key), Opinion::Allowed);
        graph.remove("pods", "shop", "a");
        assert_eq!(graph.authorize(&n1, &wanted), Opinion::Allowed);
        graph.put("pods", &pod("b", "n2"));
        assert_ne!(graph.authorize(&n1, &wanted), Opinion::Allowed);
        assert_ne!(graph.authorize(&n1, &key), Opinion::Allowed);
        assert_eq!(graph.authorize(&n2, &key), Opinion::Allowed);
    }

    #[test]
    fn a_node_sees_itself_and_the_pods_on_it() {
        let graph = Graph::default();
        let n1 = User::node("n1");
        let mut wanted = Attributes {
            verb: "list",
            resource: "pods",
            ..Attributes::default()
        };
        assert_ne!(graph.authorize(&n1, &wanted), Opinion::Allowed);
        let own = FieldSelector::parse("spec.nodeName=n1").unwrap();
        wanted.field_selector = Some(&own);
        assert_eq!(graph.authorize(&n1, &wanted), Opinion::Allowed);
        let other = FieldSelector::parse("spec.nodeName=n2").unwrap();
        wanted.field_selector = Some(&other);
        assert_ne!(graph.authorize(&n1, &wanted), Opinion::Allowed);
        let node = |name| Attributes {
            verb: "get",
            resource: "nodes",
            name,
            ..Attributes::default()
        };
        assert_eq!(graph.authorize(&n1, &node("n1")), Opinion::Allowed);
        assert_ne!(graph.authorize(&n1, &node("n2")), Opinion::Allowed);
        let services = Attributes {
            verb: "watch",
            resource: "services",
            ..Attributes::default()
        };
        assert_eq!(graph.authorize(&n1, &services), Opinion::Allowed);
        assert_eq!(
            graph.authorize(&User::new("jane", ["dev"]), &services),
            Opinion::None(None)
        );
    }
}
