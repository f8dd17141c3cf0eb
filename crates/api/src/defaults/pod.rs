//! Defaults of pods and pod templates.

use crate::values::{
    at, ensure, field_mut, fill, fill_number, fill_text, flag, items, items_mut, members, set, text,
};
use serde_json::{Value, json};

/// Fill in a pod.
pub(crate) fn pod(pod: &mut Value) {
    let spec = ensure(pod, "spec");
    pod_spec(spec);
    // Only pods take requests from limits; in a template they stay as written.
    for list in ["containers", "initContainers"] {
        for container in items_mut(spec, list) {
            requests_from_limits(container);
        }
    }
}

/// Fill in a pod template.
pub(crate) fn pod_template(template: &mut Value) {
    ensure(template, "metadata");
    pod_spec(ensure(template, "spec"));
}

fn pod_spec(spec: &mut Value) {
    service_account_alias(spec);
    for volume in items_mut(spec, "volumes") {
        self::volume(volume);
    }
    let host_network = flag(spec, &["hostNetwork"]);
    for list in ["initContainers", "containers", "ephemeralContainers"] {
        for container in items_mut(spec, list) {
            self::container(container);
            if host_network {
                for port in items_mut(container, "ports") {
                    if let Some(number) = port.get("containerPort").and_then(Value::as_i64) {
                        fill_number(port, "hostPort", number);
                    }
                }
            }
        }
    }
    fill_text(spec, "restartPolicy", "Always");
    fill(spec, "terminationGracePeriodSeconds", 30);
    fill_text(spec, "dnsPolicy", "ClusterFirst");
    ensure(spec, "securityContext");
    fill_text(spec, "schedulerName", "default-scheduler");
    fill(spec, "enableServiceLinks", true);
}

/// The old name of the service account's field is kept equal to the new one.
fn service_account_alias(spec: &mut Value) {
    let current = text(spec, &["serviceAccountName"]);
    let name = if current.is_empty() {
        text(spec, &["serviceAccount"])
    } else {
        current
    }
    .to_owned();
    if !name.is_empty() {
        set(spec, "serviceAccountName", name.as_str());
        set(spec, "serviceAccount", name.as_str());
    }
}

fn container(container: &mut Value) {
    let policy = if moving_tag(text(container, &["image"])) {
        "Always"
    } else {
        "IfNotPresent"
    };
    for port in items_mut(container, "ports") {
        fill_text(port, "protocol", "TCP");
    }
    for variable in items_mut(container, "env") {
        if let Some(from) = field_mut(variable, "valueFrom")
            && let Some(field) = field_mut(from, "fieldRef")
        {
            fill_text(field, "apiVersion", "v1");
        }
    }
    ensure(container, "resources");
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(probe) = field_mut(container, name) {
            self::probe(probe);
        }
    }
    if let Some(lifecycle) = field_mut(container, "lifecycle") {
        for hook in ["postStart", "preStop"] {
            if let Some(hook) = field_mut(lifecycle, hook) {
                http_get(hook);
            }
        }
    }
    fill_text(container, "terminationMessagePath", "/dev/termination-log");
    fill_text(container, "terminationMessagePolicy", "File");
    fill_text(container, "imagePullPolicy", policy);
}

/// Does a reference name no fixed version? No tag and no digest, or the tag `latest`.
fn moving_tag(image: &str) -> bool {
    if image.contains('@') {
        return false;
    }
    let last = image.rsplit('/').next().unwrap_or(image);
    last.split_once(':').is_none_or(|(_, tag)| tag == "latest")
}

fn probe(probe: &mut Value) {
    http_get(probe);
    if let Some(grpc) = field_mut(probe, "grpc") {
        fill(grpc, "service", "");
    }
    fill_number(probe, "timeoutSeconds", 1);
    fill_number(probe, "periodSeconds", 10);
    fill_number(probe, "successThreshold", 1);
    fill_number(probe, "failureThreshold", 3);
}

fn http_get(handler: &mut Value) {
    if let Some(get) = field_mut(handler, "httpGet") {
        fill_text(get, "path", "/");
        fill_text(get, "scheme", "HTTP");
    }
}

fn volume(volume: &mut Value) {
    if let Some(map) = volume.as_object()
        && map
            .iter()
            .all(|(key, value)| key == "name" || value.is_null())
    {
        set(volume, "emptyDir", json!({}));
    }
    for source in ["secret", "configMap"] {
        if let Some(source) = field_mut(volume, source) {
            fill(source, "defaultMode", 0o644);
        }
    }
    super::volume::source(volume);
    if let Some(source) = field_mut(volume, "downwardAPI") {
        fill(source, "defaultMode", 0o644);
        downward_items(source);
    }
    if let Some(source) = field_mut(volume, "projected") {
        fill(source, "defaultMode", 0o644);
        for source in items_mut(source, "sources") {
            if let Some(token) = field_mut(source, "serviceAccountToken") {
                fill(token, "expirationSeconds", 3600);
            }
            if let Some(source) = field_mut(source, "downwardAPI") {
                downward_items(source);
            }
        }
    }
    if let Some(source) = field_mut(volume, "ephemeral")
        && let Some(template) = field_mut(source, "volumeClaimTemplate")
        && let Some(spec) = field_mut(template, "spec")
    {
        fill_text(spec, "volumeMode", "Filesystem");
    }
}

fn downward_items(source: &mut Value) {
    for item in items_mut(source, "items") {
        if let Some(field) = field_mut(item, "fieldRef") {
            fill_text(field, "apiVersion", "v1");
        }
    }
}

/// What is limited and not requested is requested at its limit.
fn requests_from_limits(container: &mut Value) {
    let Some(resources) = field_mut(container, "resources") else {
        return;
    };
    let limits: Vec<(String, Value)> = members(resources, &["limits"])
        .map(|(name, value)| (name.to_owned(), value.clone()))
        .collect();
    if limits.is_empty() {
        return;
    }
    let requests = ensure(resources, "requests");
    for (name, value) in limits {
        fill(requests, &name, value);
    }
}

/// The quality-of-service class of a pod: by its containers' cpu and memory.
pub(crate) fn qos_class(pod: &Value) -> &'static str {
    let mut any = false;
    let mut guaranteed = true;
    let containers = items(pod, &["spec", "containers"]).iter();
    for container in containers.chain(items(pod, &["spec", "initContainers"])) {
        for resource in ["cpu", "memory"] {
            let amount = |kind: &str| {
                at(container, &["resources", kind, resource]).filter(|amount| *amount != "0")
            };
            let (request, limit) = (amount("requests"), amount("limits"));
            any |= request.is_some() || limit.is_some();
            guaranteed &= limit.is_some() && (request.is_none() || request == limit);
        }
    }
    match (any, guaranteed) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minimal_pod_gets_what_upstream_gives_it() {
        let mut value = json!({"spec": {"containers": [{
            "name": "a", "image": "nginx",
            "ports": [{"containerPort": 80}],
            "resources": {"limits": {"cpu": "1"}},
            "readinessProbe": {"httpGet": {"port": 80}},
        }], "volumes": [{"name": "v"}, {"name": "s", "secret": {"secretName": "x"}}]}});
        pod(&mut value);
        let once = value.clone();
        pod(&mut value);
        assert_eq!(once, value, "defaulting is idempotent");
        let spec = &value["spec"];
        assert_eq!(spec["restartPolicy"], "Always");
        assert_eq!(spec["dnsPolicy"], "ClusterFirst");
        assert_eq!(spec["terminationGracePeriodSeconds"], 30);
        assert_eq!(spec["securityContext"], json!({}));
        assert_eq!(spec["volumes"][0]["emptyDir"], json!({}));
        assert_eq!(spec["volumes"][1]["secret"]["defaultMode"], 420);
        let container = &spec["containers"][0];
        assert_eq!(container["imagePullPolicy"], "Always");
        assert_eq!(container["ports"][0]["protocol"], "TCP");
        assert_eq!(container["resources"]["requests"]["cpu"], "1");
        assert_eq!(
            container["readinessProbe"],
            json!({"httpGet": {"port": 80, "path": "/", "scheme": "HTTP"},
                   "timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3})
        );
    }

    #[test]
    fn only_moving_tags_are_always_pulled() {
        for (image, moving) in [
            ("nginx", true),
            ("nginx:latest", true),
            ("nginx:1.25", false),
            ("localhost:5000/a", true),
            ("localhost:5000/a:1", false),
            ("nginx@sha256:00", false),
        ] {
            assert_eq!(moving_tag(image), moving, "{image}");
        }
    }

    #[test]
    fn the_service_class_follows_requests_and_limits() {
        let pod = |resources: Value| json!({"spec": {"containers": [{"resources": resources}]}});
        assert_eq!(qos_class(&pod(json!({}))), "BestEffort");
        assert_eq!(
            qos_class(&pod(json!({"requests": {"cpu": "1"}}))),
            "Burstable"
        );
        let both = json!({"cpu": "1", "memory": "1Gi"});
        assert_eq!(
            qos_class(&pod(json!({"requests": both, "limits": both}))),
            "Guaranteed"
        );
    }
}
