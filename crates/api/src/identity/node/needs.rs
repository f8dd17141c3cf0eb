//! What objects need of the kinds that are divided by node.

use serde_json::Value;

use super::relations::{Kind, Place, Target};

pub(super) fn text<'a>(value: &'a Value, path: &str) -> &'a str {
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
pub(super) fn needs(pod: &Value, namespace: &str, name: &str) -> Vec<Target> {
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

/// The ConfigMaps and Secrets a playbook names.
pub(super) fn playbook_needs(playbook: &Value, namespace: &str) -> Vec<Target> {
    let mut found: Vec<Target> = Vec::new();
    let mut need = |kind: Kind, what: &str| {
        let target = (kind, namespace.to_owned(), what.to_owned());
        if !what.is_empty() && !found.contains(&target) {
            found.push(target);
        }
    };
    need(
        Kind::ConfigMap,
        text(playbook, "/spec/source/configMap/name"),
    );
    need(Kind::Secret, text(playbook, "/spec/source/git/credentials"));
    need(Kind::Secret, text(playbook, "/spec/vault/secret"));
    for from in list(playbook, "/spec/variablesFrom") {
        need(Kind::ConfigMap, text(from, "/configMap/name"));
        need(Kind::Secret, text(from, "/secret/name"));
    }
    found
}

/// The secrets a volume names; those without a namespace are in the claim's.
pub(super) fn volume_secrets(volume: &Value, claim_namespace: &str) -> Vec<Place> {
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
