//! Pods run as a service account, and carry a token of it.

use super::stored;
use crate::api::Inner;
use crate::error::{Failure, Outcome, internal};
use crate::handlers::write;
use crate::values::{at, ensure, fill, items, items_mut, name, namespace, set, text};
use consort_object::status::Status;
use serde_json::{Value, json};
use std::time::Duration;

/// Where a pod finds its service account's token.
const TOKEN_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// How long the token of a pod lives: an hour and a little, by which upstream tells these tokens.
const TOKEN_SECONDS: i64 = 3607;

/// A new namespace's service account may be a moment away.
const ACCOUNT_ATTEMPTS: usize = 10;
const ACCOUNT_PAUSE: Duration = Duration::from_millis(100);

fn forbidden_pod(value: &Value, why: impl std::fmt::Display) -> Failure {
    Box::new(Status::forbidden("", "pods", name(value), why))
}

/// Give a pod its service account, the account's pull secrets, and a token.
pub(super) async fn give(inner: &Inner, pod: &mut Value) -> Outcome<()> {
    if at(
        pod,
        &["metadata", "annotations", "kubernetes.io/config.mirror"],
    )
    .is_some()
    {
        return Ok(());
    }
    let spec = ensure(pod, "spec");
    if text(spec, &["serviceAccountName"]).is_empty() {
        set(spec, "serviceAccountName", "default");
        set(spec, "serviceAccount", "default");
    }
    let wanted = text(spec, &["serviceAccountName"]).to_owned();
    let space = namespace(pod).to_owned();
    let mut found = None;
    for attempt in 0..ACCOUNT_ATTEMPTS {
        found = stored(inner, "serviceaccounts", Some(&space), &wanted)?;
        if found.is_some() {
            break;
        }
        if attempt + 1 < ACCOUNT_ATTEMPTS {
            tokio::time::sleep(ACCOUNT_PAUSE).await;
        }
    }
    let Some(found) = found else {
        return Err(forbidden_pod(
            pod,
            format!(
                "error looking up service account {space}/{wanted}: serviceaccount {wanted:?} not found"
            ),
        ));
    };
    let account = found.value().map_err(internal)?;
    let spec = ensure(pod, "spec");
    if items(spec, &["imagePullSecrets"]).is_empty()
        && let Some(secrets) = at(&account, &["imagePullSecrets"])
    {
        set(spec, "imagePullSecrets", secrets.clone());
    }
    let mounts = at(spec, &["automountServiceAccountToken"])
        .or_else(|| at(&account, &["automountServiceAccountToken"]))
        .and_then(Value::as_bool)
        .unwrap_or(true);
    if mounts {
        mount_token(spec);
    }
    Ok(())
}

/// Mount a token, the authority's certificate and the namespace into every container that has
/// nothing at that place.
fn mount_token(spec: &mut Value) {
    let present = items(spec, &["volumes"])
        .iter()
        .map(|volume| text(volume, &["name"]))
        .find(|name| name.starts_with("kube-api-access-"))
        .map(str::to_owned);
    let exists = present.is_some();
    let volume = present.unwrap_or_else(|| format!("kube-api-access-{}", write::random_suffix()));
    let mut used = false;
    for list in ["initContainers", "containers"] {
        for container in items_mut(spec, list) {
            let taken = items(container, &["volumeMounts"])
                .iter()
                .any(|mount| text(mount, &["mountPath"]).trim_end_matches('/') == TOKEN_PATH);
            if taken {
                continue;
            }
            used = true;
            let mount = json!({"name": volume, "readOnly": true, "mountPath": TOKEN_PATH});
            fill(container, "volumeMounts", json!([]));
            if let Some(mounts) = container["volumeMounts"].as_array_mut() {
                mounts.push(mount);
            }
        }
    }
    if !used || exists {
        return;
    }
    let source = json!({
        "name": volume,
        "projected": {
            "sources": [
                {"serviceAccountToken": {"expirationSeconds": TOKEN_SECONDS, "path": "token"}},
                {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
                {"downwardAPI": {"items": [{"path": "namespace",
                    "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}]}},
            ],
            "defaultMode": 0o644,
        },
    });
    fill(spec, "volumes", json!([]));
    if let Some(volumes) = spec["volumes"].as_array_mut() {
        volumes.push(source);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_mounted_once_and_not_over_the_users_own_mount() {
        let mut spec = json!({"containers": [
            {"name": "a"},
            {"name": "b", "volumeMounts": [{"name": "own", "mountPath": TOKEN_PATH}]},
        ]});
        mount_token(&mut spec);
        let volumes = spec["volumes"].as_array().unwrap();
        assert_eq!(volumes.len(), 1);
        assert!(
            volumes[0]["name"]
                .as_str()
                .unwrap()
                .starts_with("kube-api-access-")
        );
        assert_eq!(
            spec["containers"][0]["volumeMounts"][0]["mountPath"],
            TOKEN_PATH
        );
        assert_eq!(
            spec["containers"][1]["volumeMounts"]
                .as_array()
                .unwrap()
                .len(),
            1
        );
    }
}
