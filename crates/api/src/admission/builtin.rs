//! What every write passes after its defaults: namespaces, and what pods need.

use crate::api::Inner;
use crate::error::{Failure, Outcome, fail, internal};
use crate::handlers::{read, write};
use crate::identity::Rule;
use crate::identity::{Attributes, User, describe, quoted, uncovered};
use crate::kind::Kind;
use crate::values::{at, ensure, fill, items, items_mut, name, namespace, set, text};
use consort_object::Object;
use consort_object::status::{Cause, Status};
use consort_store::Key;
use serde::Deserialize;
use serde_json::{Value, json};
use std::time::Duration;

/// Where a pod finds its service account's token.
const TOKEN_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// How long the token of a pod lives: an hour and a little, by which upstream tells these tokens.
const TOKEN_SECONDS: i64 = 3607;

/// A new namespace's service account may be a moment away.
const ACCOUNT_ATTEMPTS: usize = 10;
const ACCOUNT_PAUSE: Duration = Duration::from_millis(100);

/// Admit a new object, filling in what depends on others.
pub(crate) async fn create(
    inner: &Inner,
    user: &User,
    kind: &Kind,
    value: &mut Value,
) -> Outcome<()> {
    if kind.namespaced {
        namespace_takes(inner, kind, value)?;
    }
    if kind.group.is_empty() && kind.kind == "Pod" {
        service_account(inner, value).await?;
        tolerations(value);
        priority(value)?;
    }
    crate::certificates::create(kind, value)?;
    escalation(inner, user, kind, value)
}

/// Admit a change.
pub(crate) fn update(
    inner: &Inner,
    user: &User,
    kind: &Kind,
    new: &Value,
    old: &Value,
) -> Outcome<()> {
    if kind.group == "rbac.authorization.k8s.io" && only_ownership_differs(new, old) {
        return Ok(());
    }
    escalation(inner, user, kind, new)
}

/// Whether a change is one the garbage collector makes: of owners and finalizers.
fn only_ownership_differs(new: &Value, old: &Value) -> bool {
    let strip = |value: &Value| {
        let mut value = value.clone();
        if let Some(meta) = value.get_mut("metadata").and_then(Value::as_object_mut) {
            for field in [
                "ownerReferences",
                "finalizers",
                "managedFields",
                "resourceVersion",
                "generation",
            ] {
                meta.remove(field);
            }
        }
        value
    };
    strip(new) == strip(old)
}

fn stored(
    inner: &Inner,
    plural: &str,
    namespace: Option<&str>,
    name: &str,
) -> Outcome<Option<Object>> {
    // A name that no key can have names nothing.
    let Ok(key) = Key::new("", plural, namespace, name) else {
        return Ok(None);
    };
    inner.store.get(&key).map_err(read::store_failure)
}

/// The namespace must be there and not be on its way out.
fn namespace_takes(inner: &Inner, kind: &Kind, value: &Value) -> Outcome<()> {
    let wanted = namespace(value);
    let Some(found) = stored(inner, "namespaces", None, wanted)? else {
        return fail(Status::not_found("", "namespaces", wanted));
    };
    if found.head.deletion.is_none() {
        return Ok(());
    }
    let status = Status::forbidden(
        &kind.group,
        &kind.plural,
        name(value),
        format!(
            "unable to create new content in namespace {wanted} because it is being terminated"
        ),
    );
    fail(status.with_cause(Cause {
        reason: "NamespaceTerminating".into(),
        message: format!("namespace {wanted} is being terminated"),
        field: "metadata.namespace".into(),
    }))
}

fn forbidden_pod(value: &Value, why: impl std::fmt::Display) -> Failure {
    Box::new(Status::forbidden("", "pods", name(value), why))
}

/// Give a pod its service account, the account's pull secrets, and a token.
async fn service_account(inner: &Inner, pod: &mut Value) -> Outcome<()> {
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

/// A pod stays five minutes on a node that does not answer, unless it says otherwise.
fn tolerations(pod: &mut Value) {
    let spec = ensure(pod, "spec");
    for key in [
        "node.kubernetes.io/not-ready",
        "node.kubernetes.io/unreachable",
    ] {
        let tolerated = items(spec, &["tolerations"]).iter().any(|toleration| {
            let own = text(toleration, &["key"]);
            (own == key || own.is_empty())
                && matches!(text(toleration, &["effect"]), "" | "NoExecute")
        });
        if tolerated {
            continue;
        }
        fill(spec, "tolerations", json!([]));
        if let Some(list) = spec["tolerations"].as_array_mut() {
            list.push(json!({
                "key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300,
            }));
        }
    }
}

/// A pod's priority comes from its class.
fn priority(pod: &mut Value) -> Outcome<()> {
    let class = text(pod, &["spec", "priorityClassName"]).to_owned();
    let number: i64 = match class.as_str() {
        "" => 0,
        "system-cluster-critical" => 2_000_000_000,
        "system-node-critical" => 2_000_001_000,
        other => {
            return Err(forbidden_pod(
                pod,
                format!("no PriorityClass with name {other} was found"),
            ));
        }
    };
    let given = at(pod, &["spec", "priority"]).and_then(Value::as_i64);
    if let Some(given) = given
        && given != number
    {
        return Err(forbidden_pod(
            pod,
            format!(
                "the integer value of priority ({given}) must not be provided in pod spec; priority admission controller computed {number} from the given PriorityClass name"
            ),
        ));
    }
    let spec = ensure(pod, "spec");
    set(spec, "priority", number);
    fill(spec, "preemptionPolicy", "PreemptLowerPriority");
    Ok(())
}

/// Nobody may hand out rights it does not have, unless it may `escalate` (or `bind`) roles.
fn escalation(inner: &Inner, user: &User, kind: &Kind, value: &Value) -> Outcome<()> {
    if kind.group != "rbac.authorization.k8s.io" {
        return Ok(());
    }
    let space = if kind.namespaced {
        namespace(value)
    } else {
        ""
    };
    let may = |verb: &str, resource: &str, role: &str| {
        let wanted = Attributes {
            verb,
            group: &kind.group,
            version: &kind.version,
            resource,
            namespace: space,
            name: role,
            ..Attributes::default()
        };
        inner.authorizer.authorize(user, &wanted).allowed
    };
    let refuse = |why: &str| {
        fail(Status::forbidden(
            &kind.group,
            &kind.plural,
            name(value),
            why,
        ))
    };
    let held = || inner.authorizer.rules(user, space);
    let wanted = if kind.kind.ends_with("Binding") {
        let role = text(value, &["roleRef", "name"]);
        let cluster = text(value, &["roleRef", "kind"]) == "ClusterRole";
        let plural = if cluster { "clusterroles" } else { "roles" };
        if may("bind", plural, role) {
            return Ok(());
        }
        let at = if cluster { "" } else { space };
        let Some(rules) = inner.authorizer.role(at, role) else {
            return fail(Status::not_found(&kind.group, plural, role));
        };
        rules
    } else {
        if may("escalate", &kind.plural, name(value)) {
            return Ok(());
        }
        Vec::<Rule>::deserialize(value.get("rules").unwrap_or(&Value::Null)).unwrap_or_default()
    };
    let missing = uncovered(&held(), &wanted);
    if !missing.is_empty() {
        return refuse(&format!(
            "user {:?} (groups={}) is attempting to grant RBAC permissions not currently held:\n{}",
            user.name,
            quoted(&user.groups),
            describe(&missing)
        ));
    }
    // What an aggregate will gather is not known: only who may do all may make it.
    if at(value, &["aggregationRule"]).is_some() && !uncovered(&held(), &[Rule::all()]).is_empty() {
        return refuse("must have cluster-admin privileges to use the aggregationRule");
    }
    Ok(())
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

    #[test]
    fn unreachable_nodes_are_tolerated_for_five_minutes_by_default() {
        let mut pod = json!({"spec": {"tolerations": [{"key": "node.kubernetes.io/not-ready", "operator": "Exists"}]}});
        tolerations(&mut pod);
        let list = pod["spec"]["tolerations"].as_array().unwrap();
        assert_eq!(list.len(), 2);
        assert_eq!(list[1]["key"], "node.kubernetes.io/unreachable");
        assert_eq!(list[1]["tolerationSeconds"], 300);
    }
}
