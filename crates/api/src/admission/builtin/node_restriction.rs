//! A node changes only what is its own: its node object (not its taints, nor labels others rely on), its
//! leases, the pods bound to it.

use super::{Operation, Request, forbidden, stored};
use crate::error::{Outcome, fail, internal};
use crate::identity::{User, node};
use crate::values::{at, flag, items, members, same, text};
use consort_object::status::Status;
use serde_json::Value;
use std::collections::BTreeSet;

const MIRROR: &str = "kubernetes.io/config.mirror";
const LEASES: &str = "kube-node-lease";

/// The labels of `kubernetes.io` and `k8s.io` that nodes may set on themselves.
const OWN_LABELS: [&str; 13] = [
    "kubernetes.io/hostname",
    "kubernetes.io/arch",
    "kubernetes.io/os",
    "beta.kubernetes.io/instance-type",
    "beta.kubernetes.io/os",
    "beta.kubernetes.io/arch",
    "node.kubernetes.io/instance-type",
    "failure-domain.beta.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region",
    "failure-domain.kubernetes.io/zone",
    "failure-domain.kubernetes.io/region",
    "topology.kubernetes.io/zone",
    "topology.kubernetes.io/region",
];
/// Whole families of such labels.
const OWN_FAMILIES: [&str; 2] = ["kubelet.kubernetes.io", "node.kubernetes.io"];
const RESTRICTED: &str = "node-restriction.kubernetes.io";

/// Is the caller a node?
pub(crate) fn is_node(user: &User) -> bool {
    node::name_of(user).is_some()
}

/// Refuse what a node may not do. Others are not looked at.
pub(super) fn check(
    request: &Request<'_>,
    object: Option<&Value>,
    old: Option<&Value>,
) -> Outcome<()> {
    let Some(node) = node::name_of(request.user) else {
        return Ok(());
    };
    if node.is_empty() {
        let why = format!("could not determine node from user {:?}", request.user.name);
        return Err(forbidden(request, why));
    }
    let refuse = |why: String| Err(forbidden(request, why));
    let only_own = |what: &str| {
        if request.name == node {
            Ok(())
        } else {
            refuse(format!(
                "can only access {what} with the same name as the requesting node"
            ))
        }
    };
    let kind = request.kind;
    match (
        kind.group.as_str(),
        kind.plural.as_str(),
        request.subresource,
    ) {
        ("", "pods", "") => match (request.operation, object) {
            (Operation::Create, Some(pod)) => mirror_pod(request, node, pod),
            (Operation::Delete, _) => on_this_node(request, node, old, "delete pods"),
            _ => refuse(format!(
                "unexpected operation {:?}, node {node:?} can only create and delete mirror pods",
                request.operation.name()
            )),
        },
        ("", "pods", "status") => pod_status(request, node, object, old),
        ("", "pods", "eviction") => {
            let pod = stored(request.inner, "pods", request.namespace, request.name)?;
            let Some(pod) = pod else {
                return fail(Status::not_found("", "pods", request.name));
            };
            let pod = pod.value().map_err(internal)?;
            if text(&pod, &["spec", "nodeName"]) == node {
                return Ok(());
            }
            refuse(format!(
                "node {node} can only evict pods with spec.nodeName set to itself"
            ))
        }
        ("", "pods", other) => refuse(format!(
            "unexpected pod subresource {other:?}, only 'status' and 'eviction' are allowed"
        )),
        ("", "nodes", _) => own_node(request, node, object, old),
        ("", "persistentvolumeclaims", "status") => match (object, old) {
            (Some(new), Some(old)) if only_capacity_differs(new, old) => Ok(()),
            _ => refuse(format!(
                "node {node:?} is not allowed to update fields other than status.capacity and status.conditions"
            )),
        },
        ("", "persistentvolumeclaims", _) => refuse("may only update PVC status".into()),
        ("coordination.k8s.io", "leases", _) => {
            if request.namespace != Some(LEASES) {
                return refuse(format!(
                    "can only access leases in the {LEASES:?} system namespace"
                ));
            }
            only_own("node lease")
        }
        ("storage.k8s.io", "csinodes", _) => only_own("CSINode"),
        ("", "serviceaccounts", "token") => match object {
            Some(asked) => token(request, node, asked),
            None => Ok(()),
        },
        _ => Ok(()),
    }
}

/// A node asks for tokens of the pods on it only.
fn token(request: &Request<'_>, node: &str, asked: &Value) -> Outcome<()> {
    let refuse = |why: &str| Err(forbidden(request, why));
    let bound = |field: &str| text(asked, &["spec", "boundObjectRef", field]);
    if bound("apiVersion") != "v1" || bound("kind") != "Pod" || bound("name").is_empty() {
        return refuse("node requested token not bound to a pod");
    }
    let uid = bound("uid");
    if uid.is_empty() {
        return refuse("node requested token with a pod binding without a uid");
    }
    let Some(pod) = stored(request.inner, "pods", request.namespace, bound("name"))? else {
        return fail(Status::not_found("", "pods", bound("name")));
    };
    if pod.head.uid != uid {
        return refuse(&format!(
            "the UID in the bound object reference ({uid}) does not match the UID in record. The object might have been deleted and then recreated"
        ));
    }
    let pod = pod.value().map_err(internal)?;
    if text(&pod, &["spec", "nodeName"]) != node {
        return refuse("node requested token bound to a pod scheduled on a different node");
    }
    Ok(())
}

fn on_this_node(request: &Request<'_>, node: &str, pod: Option<&Value>, what: &str) -> Outcome<()> {
    if pod.is_some_and(|pod| text(pod, &["spec", "nodeName"]) == node) {
        return Ok(());
    }
    Err(forbidden(
        request,
        format!("node {node:?} can only {what} with spec.nodeName set to itself"),
    ))
}

fn pod_status(
    request: &Request<'_>,
    node: &str,
    object: Option<&Value>,
    old: Option<&Value>,
) -> Outcome<()> {
    on_this_node(request, node, old, "update pod status for pods")?;
    let (Some(new), Some(old)) = (object, old) else {
        return Ok(());
    };
    if !same(&new["metadata"], &old["metadata"], "labels") {
        return Err(forbidden(
            request,
            format!("node {node:?} cannot update labels through pod status"),
        ));
    }
    if !same(&new["status"], &old["status"], "resourceClaimStatuses") {
        return Err(forbidden(
            request,
            format!("node {node:?} cannot update resource claim statues"),
        ));
    }
    Ok(())
}

/// A node makes no pods but those that mirror what it runs of itself: bound to it, owned by it, and
/// referring to nothing it could read by way of them.
fn mirror_pod(request: &Request<'_>, node: &str, pod: &Value) -> Outcome<()> {
    let refuse = |why: String| Err(forbidden(request, why));
    if at(pod, &["metadata", "annotations", MIRROR]).is_none() {
        return refuse(format!(
            "pod does not have {MIRROR:?} annotation, node {node:?} can only create mirror pods"
        ));
    }
    on_this_node(request, node, Some(pod), "create pods")?;
    let owner = match items(pod, &["metadata", "ownerReferences"]) {
        [owner] => owner,
        [] => {
            return refuse(format!(
                "node {node:?} can only create pods with an owner reference set to itself"
            ));
        }
        _ => {
            return refuse(format!(
                "node {node:?} can only create pods with a single owner reference set to itself"
            ));
        }
    };
    let field = |name: &str| text(owner, &[name]);
    if field("apiVersion") != "v1" || field("kind") != "Node" || field("name") != node {
        return refuse(format!(
            "node {node:?} can only create pods with an owner reference set to itself"
        ));
    }
    if !flag(owner, &["controller"]) {
        return refuse(format!(
            "node {node:?} can only create pods with a controller owner reference set to itself"
        ));
    }
    if flag(owner, &["blockOwnerDeletion"]) {
        return refuse(format!(
            "node {node:?} must not set blockOwnerDeletion on an owner reference"
        ));
    }
    let Some(own) = stored(request.inner, "nodes", None, node)? else {
        return fail(Status::not_found("", "nodes", node));
    };
    if own.head.uid != field("uid") {
        return refuse(format!(
            "node {node} UID mismatch: expected {} got {}",
            field("uid"),
            own.head.uid
        ));
    }
    match referred(pod) {
        Some(what) => refuse(format!(
            "node {node:?} can not create pods that reference {what}"
        )),
        None => Ok(()),
    }
}

/// What a pod refers to, in the order in which it is told of.
fn referred(pod: &Value) -> Option<&'static str> {
    let spec = &pod["spec"];
    if !text(spec, &["serviceAccountName"]).is_empty() {
        return Some("a service account");
    }
    let containers: Vec<&Value> = ["initContainers", "containers", "ephemeralContainers"]
        .into_iter()
        .flat_map(|list| items(spec, &[list]))
        .collect();
    let environment = |from: &str, key: &str| {
        containers.iter().any(|container| {
            let whole = items(container, &["envFrom"]);
            let single = items(container, &["env"]);
            whole.iter().any(|source| at(source, &[from]).is_some())
                || single
                    .iter()
                    .any(|own| at(own, &["valueFrom", key]).is_some())
        })
    };
    let volumes = items(spec, &["volumes"]);
    let volume = |path: &[&str]| volumes.iter().any(|volume| at(volume, path).is_some());
    let projected = |source: &str| {
        volumes
            .iter()
            .flat_map(|volume| items(volume, &["projected", "sources"]))
            .any(|own| at(own, &[source]).is_some())
    };
    let secret_of_driver = [
        "azureFile",
        "cephfs",
        "cinder",
        "flexVolume",
        "rbd",
        "scaleIO",
        "iscsi",
        "storageos",
    ]
    .iter()
    .any(|driver| volume(&[driver, "secretRef"]) || volume(&[driver, "secretName"]));
    let secrets = environment("secretRef", "secretKeyRef")
        || volume(&["secret"])
        || volume(&["csi", "nodePublishSecretRef"])
        || secret_of_driver
        || projected("secret")
        || !items(spec, &["imagePullSecrets"]).is_empty();
    if secrets {
        Some("secrets")
    } else if environment("configMapRef", "configMapKeyRef")
        || volume(&["configMap"])
        || projected("configMap")
    {
        Some("configmaps")
    } else if projected("clusterTrustBundle") {
        Some("clustertrustbundles")
    } else if volume(&["persistentVolumeClaim"]) {
        Some("persistentvolumeclaims")
    } else {
        None
    }
}

fn own_node(
    request: &Request<'_>,
    node: &str,
    object: Option<&Value>,
    old: Option<&Value>,
) -> Outcome<()> {
    let refuse = |why: String| Err(forbidden(request, why));
    if request.name != node {
        return refuse(format!(
            "node {node:?} is not allowed to modify node {:?}",
            request.name
        ));
    }
    let Some(new) = object else {
        return Ok(());
    };
    let source = at(new, &["spec", "configSource"]);
    let Some(old) = old else {
        if source.is_some() {
            return refuse(format!(
                "node {node:?} is not allowed to create pods with a non-nil configSource"
            ));
        }
        let labels = forbidden_labels(new, &Value::Null);
        if labels.is_empty() {
            return Ok(());
        }
        return refuse(format!(
            "node {node:?} is not allowed to set the following labels: {}",
            labels.join(", ")
        ));
    };
    if source.is_some() && source != at(old, &["spec", "configSource"]) {
        return refuse(format!(
            "node {node:?} is not allowed to update configSource to a new non-nil configSource"
        ));
    }
    if !same(&new["spec"], &old["spec"], "taints") {
        return refuse(format!("node {node:?} is not allowed to modify taints"));
    }
    if !same(&new["metadata"], &old["metadata"], "ownerReferences") {
        return refuse(format!(
            "node {node:?} is not allowed to modify ownerReferences"
        ));
    }
    let labels = forbidden_labels(new, old);
    if labels.is_empty() {
        return Ok(());
    }
    refuse(format!(
        "is not allowed to modify labels: {}",
        labels.join(", ")
    ))
}

/// The labels that differ and that a node may not set, in order.
fn forbidden_labels<'v>(new: &'v Value, old: &'v Value) -> Vec<&'v str> {
    let labels = |object: &'v Value| members(object, &["metadata", "labels"]);
    let changed: BTreeSet<&str> = labels(new)
        .chain(labels(old))
        .map(|(key, _)| key)
        .filter(|key| {
            let path = ["metadata", "labels", *key];
            at(new, &path) != at(old, &path)
        })
        .collect();
    changed.into_iter().filter(|key| !may_set(key)).collect()
}

fn may_set(label: &str) -> bool {
    let Some((family, _)) = label.split_once('/') else {
        return true;
    };
    let within = |parent: &str| {
        family
            .strip_suffix(parent)
            .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    };
    if within(RESTRICTED) {
        return false;
    }
    if !within("kubernetes.io") && !within("k8s.io") {
        return true;
    }
    OWN_LABELS.contains(&label) || OWN_FAMILIES.iter().any(|own| within(own))
}

fn only_capacity_differs(new: &Value, old: &Value) -> bool {
    let strip = |value: &Value| {
        let mut value = value.clone();
        let fields: [(&str, &[&str]); 2] = [
            ("metadata", &["resourceVersion", "managedFields"]),
            (
                "status",
                &[
                    "capacity",
                    "conditions",
                    "allocatedResources",
                    "allocatedResourceStatuses",
                ],
            ),
        ];
        for (part, fields) in fields {
            if let Some(map) = value.get_mut(part).and_then(Value::as_object_mut) {
                map.retain(|key, _| !fields.contains(&key.as_str()));
            }
        }
        value
    };
    strip(new) == strip(old)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn nodes_set_the_labels_they_know_of_themselves_and_nobody_elses() {
        for label in [
            "own",
            "example.com/x",
            "kubernetes.io/hostname",
            "topology.kubernetes.io/zone",
            "node.kubernetes.io/any",
            "x.kubelet.kubernetes.io/any",
        ] {
            assert!(may_set(label), "{label}");
        }
        for label in [
            "node-role.kubernetes.io/control-plane",
            "kubernetes.io/other",
            "foo.k8s.io/x",
            "node-restriction.kubernetes.io/a",
            "x.node-restriction.kubernetes.io/a",
        ] {
            assert!(!may_set(label), "{label}");
        }
        assert!(may_set("notkubernetes.io/x"));
        let labels = |labels: Value| json!({"metadata": {"labels": labels}});
        assert_eq!(
            forbidden_labels(
                &labels(json!({"a": "1", "k8s.io/b": "2", "k8s.io/c": "1"})),
                &labels(json!({"k8s.io/c": "1", "k8s.io/a": "1"})),
            ),
            ["k8s.io/a", "k8s.io/b"]
        );
    }

    #[test]
    fn a_mirror_pod_refers_to_nothing() {
        let cases = [
            (json!({}), None),
            (
                json!({"serviceAccountName": "x"}),
                Some("a service account"),
            ),
            (json!({"volumes": [{"secret": {}}]}), Some("secrets")),
            (
                json!({"imagePullSecrets": [{"name": "a"}]}),
                Some("secrets"),
            ),
            (
                json!({"containers": [{"envFrom": [{"configMapRef": {"name": "a"}}]}]}),
                Some("configmaps"),
            ),
            (
                json!({"volumes": [{"projected": {"sources": [{"clusterTrustBundle": {}}]}}]}),
                Some("clustertrustbundles"),
            ),
            (
                json!({"volumes": [{"persistentVolumeClaim": {"claimName": "a"}}]}),
                Some("persistentvolumeclaims"),
            ),
        ];
        for (spec, what) in cases {
            assert_eq!(referred(&json!({"spec": spec})), what);
        }
    }
}
