//! Objects to measure with.

use bytes::Bytes;
use serde_json::json;

/// A ConfigMap of about this many bytes.
pub(crate) fn config_map(name: &str, size: usize) -> Bytes {
    let mut object = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": name, "labels": {"app": "bench"}},
        "data": {"fill": ""},
    });
    let fill = size.saturating_sub(object.to_string().len());
    object["data"]["fill"] = "x".repeat(fill).into();
    object.to_string().into()
}

/// A pod that runs `sleep` from the built-in image.
pub(crate) fn sleeper(name: &str) -> Bytes {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": "bench"}},
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "containers": [{
                "name": "main", "image": "consort.dev/toolbox", "imagePullPolicy": "IfNotPresent",
                "command": ["sleep", "3600"],
            }],
        },
    })
    .to_string()
    .into()
}

/// A pod as applications have them, which no scheduler looks at. As stored it is about 2.9 kB.
pub(crate) fn unplaced(name: &str) -> Bytes {
    let variables: Vec<_> = (0..8)
        .map(|n| json!({"name": format!("SETTING_NUMBER_{n}"), "value": format!("value-of-the-setting-{n}")}))
        .collect();
    let probe = |path: &str| json!({"httpGet": {"path": path, "port": "http"}, "periodSeconds": 5, "timeoutSeconds": 2, "failureThreshold": 4});
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": name,
            "labels": {"app.kubernetes.io/name": "shop", "app.kubernetes.io/instance": "shop-eu", "pod-template-hash": "6d4cf56db6"},
            "annotations": {"example.com/checksum": "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"},
        },
        "spec": {
            "schedulerName": "nobody",
            "containers": [{
                "name": "shop", "image": "registry.example.com/shop/frontend:1.24.3",
                "args": ["--listen=:8080", "--log-format=json", "--upstream=http://catalogue.shop.svc.cluster.local"],
                "ports": [{"name": "http", "containerPort": 8080}, {"name": "metrics", "containerPort": 9090}],
                "env": variables,
                "readinessProbe": probe("/readyz"), "livenessProbe": probe("/healthz"),
                "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "256Mi"}},
                "volumeMounts": [{"name": "settings", "mountPath": "/etc/shop", "readOnly": true}, {"name": "scratch", "mountPath": "/tmp"}],
                "securityContext": {"allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "runAsNonRoot": true, "runAsUser": 10001},
            }],
            "volumes": [{"name": "settings", "configMap": {"name": "shop"}}, {"name": "scratch", "emptyDir": {}}],
        },
    })
    .to_string()
    .into()
}
