//! Judges objects by their status: the built-in kinds by the rules of `kubectl rollout status` and `kubectl wait`, all
//! others by those of `kstatus` (generations and conditions).

use serde_json::Value;

use crate::identity::{Key, text};
use crate::kinds::items;

/// How far an object has come.
#[derive(Debug, PartialEq, Eq, Clone)]
pub(crate) enum Readiness {
    /// It works; how it says so.
    Ready(String),
    /// Not yet; what is missing.
    Waiting(String),
    /// Nobody has looked at it; perhaps nobody will.
    Unattended(String),
    /// It will not work by waiting; why.
    Failed(String),
}

use Readiness::{Failed, Ready, Unattended, Waiting};

/// Judges one object.
pub(crate) fn judge(key: &Key, object: &Value) -> Readiness {
    match (key.group.as_str(), key.kind.as_str()) {
        ("apps", "Deployment") => deployment(object),
        ("apps", "StatefulSet") => stateful_set(object),
        ("apps", "DaemonSet") => daemon_set(object),
        ("apps", "ReplicaSet") | ("", "ReplicationController") => replica_set(object),
        ("batch", "Job") => job(object),
        ("", "Pod") => pod(object),
        ("", "PersistentVolumeClaim") => claim(object),
        ("", "Service") => service(object),
        ("", "Namespace") => namespace(object),
        ("autoscaling", "HorizontalPodAutoscaler") => autoscaler(object),
        ("apiextensions.k8s.io", "CustomResourceDefinition") => definition(object),
        ("apiregistration.k8s.io", "APIService") => by_condition(object, "Available"),
        (group, _) if !group.contains('.') || group.ends_with(".k8s.io") => {
            // The other built-in kinds do nothing by themselves; some tell conditions all the same.
            match generic(object) {
                Unattended(_) => Ready(String::new()),
                other => other,
            }
        }
        _ => generic(object),
    }
}

fn number(value: &Value, field: &str) -> i64 {
    value[field].as_i64().unwrap_or_default()
}

fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    items(&object["status"], "conditions").find(|condition| condition["type"] == kind)
}

fn holds(object: &Value, kind: &str) -> bool {
    condition(object, kind).is_some_and(|condition| condition["status"] == "True")
}

/// What a condition says: its message, or its reason.
fn said(condition: &Value) -> String {
    match (text(condition, &["message"]), text(condition, &["reason"])) {
        ("", reason) => reason.to_owned(),
        (message, _) => message.to_owned(),
    }
}

fn is_seen(object: &Value) -> bool {
    number(&object["status"], "observedGeneration") >= number(&object["metadata"], "generation")
}

const UNSEEN: &str = "not yet looked at by its controller";

fn deployment(object: &Value) -> Readiness {
    let status = &object["status"];
    if !is_seen(object) {
        return Waiting(UNSEEN.to_owned());
    }
    if let Some(progressing) = condition(object, "Progressing")
        && progressing["reason"] == "ProgressDeadlineExceeded"
    {
        return Failed(format!("does not progress: {}", said(progressing)));
    }
    if object["spec"]["paused"] == true {
        return Ready("paused".to_owned());
    }
    let wanted = object["spec"]["replicas"].as_i64().unwrap_or(1);
    let updated = number(status, "updatedReplicas");
    let available = number(status, "availableReplicas");
    // A quota, a policy, a webhook: what keeps pods from being made may also go away.
    let refused = condition(object, "ReplicaFailure")
        .filter(|condition| condition["status"] == "True")
        .map(|condition| format!(": {}", said(condition)))
        .unwrap_or_default();
    if updated < wanted {
        return Waiting(format!("{updated} of {wanted} replicas updated{refused}"));
    }
    if number(status, "replicas") > updated {
        return Waiting(format!(
            "{} old replicas are ending",
            number(status, "replicas") - updated
        ));
    }
    if available < updated {
        return Waiting(format!(
            "{available} of {wanted} replicas available{refused}"
        ));
    }
    Ready(format!("{available} of {wanted} available"))
}

fn stateful_set(object: &Value) -> Readiness {
    let (spec, status) = (&object["spec"], &object["status"]);
    if !is_seen(object) {
        return Waiting(UNSEEN.to_owned());
    }
    let wanted = spec["replicas"].as_i64().unwrap_or(1);
    let ready = number(status, "readyReplicas");
    if ready < wanted {
        return Waiting(format!("{ready} of {wanted} replicas ready"));
    }
    if text(spec, &["updateStrategy", "type"]) == "OnDelete" {
        return Ready(format!("{ready} of {wanted} ready"));
    }
    let kept = spec["updateStrategy"]["rollingUpdate"]["partition"]
        .as_i64()
        .unwrap_or(0);
    let updated = number(status, "updatedReplicas");
    if kept > 0 && updated < wanted - kept {
        return Waiting(format!("{updated} of {} replicas updated", wanted - kept));
    }
    if kept == 0 && status["updateRevision"] != status["currentRevision"] && updated < wanted {
        return Waiting(format!("{updated} of {wanted} replicas updated"));
    }
    Ready(format!("{ready} of {wanted} ready"))
}

fn daemon_set(object: &Value) -> Readiness {
    let status = &object["status"];
    if !is_seen(object) {
        return Waiting(UNSEEN.to_owned());
    }
    let wanted = number(status, "desiredNumberScheduled");
    let updated = number(status, "updatedNumberScheduled");
    let available = number(status, "numberAvailable");
    let rolls = text(&object["spec"], &["updateStrategy", "type"]) != "OnDelete";
    if rolls && updated < wanted {
        return Waiting(format!("{updated} of {wanted} pods updated"));
    }
    if available < wanted {
        return Waiting(format!("{available} of {wanted} pods available"));
    }
    Ready(format!("{available} of {wanted} available"))
}

fn replica_set(object: &Value) -> Readiness {
    let status = &object["status"];
    if !is_seen(object) {
        return Waiting(UNSEEN.to_owned());
    }
    let wanted = object["spec"]["replicas"].as_i64().unwrap_or(1);
    let available = number(status, "availableReplicas");
    if available < wanted {
        let refused = condition(object, "ReplicaFailure")
            .filter(|condition| condition["status"] == "True")
            .map(|condition| format!(": {}", said(condition)))
            .unwrap_or_default();
        return Waiting(format!(
            "{available} of {wanted} replicas available{refused}"
        ));
    }
    Ready(format!("{available} of {wanted} available"))
}

fn job(object: &Value) -> Readiness {
    if holds(object, "Complete") || holds(object, "SuccessCriteriaMet") {
        return Ready("complete".to_owned());
    }
    for kind in ["Failed", "FailureTarget"] {
        if let Some(failed) = condition(object, kind).filter(|one| one["status"] == "True") {
            return Failed(format!("failed: {}", said(failed)));
        }
    }
    if object["spec"]["suspend"] == true {
        return Ready("suspended".to_owned());
    }
    let status = &object["status"];
    let failed = number(status, "failed");
    let failures = if failed > 0 {
        format!(", {failed} failed")
    } else {
        String::new()
    };
    Waiting(format!(
        "{} of {} completions{failures}",
        number(status, "succeeded"),
        object["spec"]["completions"].as_i64().unwrap_or(1)
    ))
}

fn pod(object: &Value) -> Readiness {
    match text(object, &["status", "phase"]) {
        "Succeeded" => Ready("succeeded".to_owned()),
        "Failed" => Failed(match text(object, &["status", "message"]) {
            "" => "failed".to_owned(),
            message => format!("failed: {message}"),
        }),
        phase => {
            if holds(object, "Ready") {
                Ready("ready".to_owned())
            } else if phase.is_empty() {
                Waiting("pending".to_owned())
            } else {
                Waiting(phase.to_lowercase())
            }
        }
    }
}

fn claim(object: &Value) -> Readiness {
    match text(object, &["status", "phase"]) {
        "Bound" => Ready("bound".to_owned()),
        "Lost" => Failed("its volume is lost".to_owned()),
        _ => Waiting("not bound to a volume".to_owned()),
    }
}

fn service(object: &Value) -> Readiness {
    if text(object, &["spec", "type"]) != "LoadBalancer" {
        return Ready(String::new());
    }
    let addresses: Vec<&str> = items(&object["status"]["loadBalancer"], "ingress")
        .map(|ingress| match text(ingress, &["ip"]) {
            "" => text(ingress, &["hostname"]),
            ip => ip,
        })
        .collect();
    if !addresses.is_empty() {
        return Ready(addresses.join(", "));
    }
    // Who makes load balancers says so first, because it has to take them away again.
    let attended = items(&object["metadata"], "finalizers")
        .filter_map(Value::as_str)
        .any(|finalizer| finalizer.contains("load-balancer") || finalizer.contains("loadbalancer"));
    if attended {
        Waiting("no address of a load balancer".to_owned())
    } else {
        Unattended("nobody makes load balancers here".to_owned())
    }
}

fn namespace(object: &Value) -> Readiness {
    match text(object, &["status", "phase"]) {
        "Terminating" => Failed("it is being deleted".to_owned()),
        _ => Ready(String::new()),
    }
}

fn autoscaler(object: &Value) -> Readiness {
    match condition(object, "AbleToScale") {
        None => Unattended("nobody scales here".to_owned()),
        Some(able) if able["status"] == "True" => Ready(String::new()),
        Some(able) => Waiting(said(able)),
    }
}

fn definition(object: &Value) -> Readiness {
    if let Some(names) = condition(object, "NamesAccepted")
        && names["status"] == "False"
    {
        return Failed(format!("its names are not accepted: {}", said(names)));
    }
    by_condition(object, "Established")
}

fn by_condition(object: &Value, kind: &str) -> Readiness {
    match condition(object, kind) {
        Some(condition) if condition["status"] == "True" => Ready(kind.to_lowercase()),
        Some(condition) => Waiting(format!("not {}: {}", kind.to_lowercase(), said(condition))),
        None => Waiting(format!("not {}", kind.to_lowercase())),
    }
}

/// The conditions by which objects say that they work, in the order of trust.
const GOOD: [&str; 9] = [
    "Ready",
    "Available",
    "Healthy",
    "Established",
    "Programmed",
    "Accepted",
    "Succeeded",
    "Completed",
    "Complete",
];

/// `kstatus`: the generation must have been seen, nothing be reconciling or stalled, and what says that it works hold.
fn generic(object: &Value) -> Readiness {
    let status = &object["status"];
    let observed = status["observedGeneration"].as_i64();
    if let Some(observed) = observed
        && observed < number(&object["metadata"], "generation")
    {
        return Waiting(UNSEEN.to_owned());
    }
    if let Some(stalled) = condition(object, "Stalled").filter(|one| one["status"] == "True") {
        return Failed(format!("stalled: {}", said(stalled)));
    }
    if let Some(failed) = condition(object, "Failed").filter(|one| one["status"] == "True") {
        return Failed(format!("failed: {}", said(failed)));
    }
    if let Some(busy) = condition(object, "Reconciling").filter(|one| one["status"] == "True") {
        return Waiting(said(busy));
    }
    for kind in GOOD {
        if let Some(found) = condition(object, kind) {
            let stale = found["observedGeneration"]
                .as_i64()
                .is_some_and(|seen| seen < number(&object["metadata"], "generation"));
            if stale {
                return Waiting(UNSEEN.to_owned());
            }
            if found["status"] == "True" {
                return Ready(kind.to_lowercase());
            }
            let told = match said(found).as_str() {
                "" => String::new(),
                told => format!(": {told}"),
            };
            return Waiting(format!("not {}{told}", kind.to_lowercase()));
        }
    }
    if status.is_object() {
        return Ready(String::new());
    }
    Unattended("nobody has told its status".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn of(group: &str, kind: &str, object: &Value) -> Readiness {
        judge(&Key::new(group, kind, "shop", "x"), object)
    }

    #[test]
    fn a_deployment_is_ready_when_every_wanted_replica_is_new_and_available() {
        let object = |status: &Value| json!({"metadata": {"generation": 2}, "spec": {"replicas": 2}, "status": status});
        let judged = |status: Value| of("apps", "Deployment", &object(&status));
        assert_eq!(judged(json!({})), Waiting(UNSEEN.into()));
        assert_eq!(
            judged(
                json!({"observedGeneration": 2, "replicas": 3, "updatedReplicas": 2, "availableReplicas": 3})
            ),
            Waiting("1 old replicas are ending".into())
        );
        assert_eq!(
            judged(json!({"observedGeneration": 2, "conditions": [
                {"type": "ReplicaFailure", "status": "True", "message": "exceeded quota: q"}]})),
            Waiting("0 of 2 replicas updated: exceeded quota: q".into())
        );
        assert_eq!(
            judged(
                json!({"observedGeneration": 2, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2})
            ),
            Ready("2 of 2 available".into())
        );
        assert!(matches!(
            judged(json!({"observedGeneration": 2, "conditions": [
                {"type": "Progressing", "reason": "ProgressDeadlineExceeded", "message": "m"}]})),
            Failed(_)
        ));
    }

    #[test]
    fn sets_are_ready_when_their_update_is_through() {
        let set = json!({"metadata": {"generation": 1}, "spec": {"replicas": 3, "updateStrategy": {"rollingUpdate": {"partition": 2}}},
            "status": {"observedGeneration": 1, "readyReplicas": 3, "updatedReplicas": 1, "updateRevision": "b", "currentRevision": "a"}});
        assert!(matches!(of("apps", "StatefulSet", &set), Ready(_)));
        let mut whole = set.clone();
        whole["spec"]["updateStrategy"] = json!({});
        assert!(matches!(of("apps", "StatefulSet", &whole), Waiting(_)));
        let daemons = json!({"metadata": {"generation": 1}, "status": {"observedGeneration": 1,
            "desiredNumberScheduled": 2, "updatedNumberScheduled": 2, "numberAvailable": 1}});
        assert_eq!(
            of("apps", "DaemonSet", &daemons),
            Waiting("1 of 2 pods available".into())
        );
    }

    #[test]
    fn a_failed_job_is_not_waited_for() {
        let job = json!({"spec": {}, "status": {"conditions": [
            {"type": "Failed", "status": "True", "message": "BackoffLimitExceeded"}]}});
        assert_eq!(
            of("batch", "Job", &job),
            Failed("failed: BackoffLimitExceeded".into())
        );
    }

    #[test]
    fn custom_objects_are_judged_by_their_conditions_and_generations() {
        let object = |status: Value| json!({"metadata": {"generation": 3}, "status": status});
        let judged = |status: Value| of("cert-manager.io", "Certificate", &object(status));
        assert_eq!(
            judged(
                json!({"conditions": [{"type": "Ready", "status": "False", "message": "issuing"}]})
            ),
            Waiting("not ready: issuing".into())
        );
        assert_eq!(
            judged(
                json!({"conditions": [{"type": "Ready", "status": "True", "observedGeneration": 2}]})
            ),
            Waiting(UNSEEN.into())
        );
        assert_eq!(
            judged(
                json!({"observedGeneration": 3, "conditions": [{"type": "Ready", "status": "True"}]})
            ),
            Ready("ready".into())
        );
        assert_eq!(
            judged(
                json!({"conditions": [{"type": "Stalled", "status": "True", "reason": "NoSource"}]})
            ),
            Failed("stalled: NoSource".into())
        );
        assert!(matches!(
            of("cert-manager.io", "Certificate", &json!({"metadata": {}})),
            Unattended(_)
        ));
        assert_eq!(of("", "ConfigMap", &json!({})), Ready(String::new()));
    }

    #[test]
    fn a_load_balancer_is_waited_for_while_someone_makes_it() {
        let object = json!({"metadata": {"finalizers": ["service.kubernetes.io/load-balancer-cleanup"]}, "spec": {"type": "LoadBalancer"}});
        assert!(matches!(of("", "Service", &object), Waiting(_)));
        let mut alone = object.clone();
        alone["metadata"] = json!({});
        assert!(matches!(of("", "Service", &alone), Unattended(_)));
        alone["status"] = json!({"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}});
        assert_eq!(of("", "Service", &alone), Ready("192.0.2.1".into()));
    }
}
