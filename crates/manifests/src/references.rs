//! What an object stands on: the other objects it names, and those that have to be there for it to work.

use consort_plan::Edge;
use serde_json::Value;

use crate::identity::{Key, group_version, text};
use crate::kinds::items;

/// Something an object stands on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Reference {
    /// What.
    pub(crate) to: Key,
    /// Why.
    pub(crate) edge: Edge,
}

/// The annotation by which an object names what has to be there before it (of `cli-utils`):
/// `GROUP/namespaces/NAMESPACE/KIND/NAME` or `GROUP/KIND/NAME`, several by commas.
const DEPENDS_ON: &str = "config.kubernetes.io/depends-on";

const CORE: &str = "";
const RBAC: &str = "rbac.authorization.k8s.io";
const STORAGE: &str = "storage.k8s.io";
const ADMISSION: &str = "admissionregistration.k8s.io";

struct Found<'a> {
    namespace: &'a str,
    all: Vec<Reference>,
}

impl Found<'_> {
    fn add(&mut self, edge: Edge, group: &str, kind: &str, namespace: &str, name: &str) {
        if !name.is_empty() {
            self.all.push(Reference {
                to: Key::new(group, kind, namespace, name),
                edge,
            });
        }
    }

    fn value(&mut self, group: &str, kind: &str, name: &str) {
        let namespace = self.namespace.to_owned();
        self.add(Edge::Value, group, kind, &namespace, name);
    }

    fn cluster(&mut self, group: &str, kind: &str, name: &str) {
        self.add(Edge::Value, group, kind, "", name);
    }
}

/// All that an object names, whether it is in the part or not; the namespace it is in comes first.
pub(crate) fn references(key: &Key, object: &Value) -> Vec<Reference> {
    let mut found = Found {
        namespace: &key.namespace,
        all: Vec::new(),
    };
    if !key.namespace.is_empty() {
        found.add(Edge::Order, CORE, "Namespace", "", &key.namespace);
    }
    for named in depends_on(object) {
        found.all.push(Reference {
            to: named,
            edge: Edge::Order,
        });
    }
    for owner in items(&object["metadata"], "ownerReferences") {
        let (group, _) = group_version(text(owner, &["apiVersion"]));
        let (kind, name) = (text(owner, &["kind"]), text(owner, &["name"]));
        found.value(group, kind, name);
        found.cluster(group, kind, name);
    }
    if let Some(pod) = pod_spec(&key.kind, object) {
        pod_references(pod, &mut found);
    }
    let spec = &object["spec"];
    match (key.group.as_str(), key.kind.as_str()) {
        (CORE, "PersistentVolumeClaim") => claim(spec, &mut found),
        (CORE, "PersistentVolume") => {
            found.cluster(STORAGE, "StorageClass", text(spec, &["storageClassName"]));
            for secret in csi_secrets(&spec["csi"]) {
                let of = text(secret, &["namespace"]).to_owned();
                found.add(Edge::Value, CORE, "Secret", &of, text(secret, &["name"]));
            }
        }
        (CORE, "ServiceAccount") => {
            for secret in items(object, "imagePullSecrets") {
                found.value(CORE, "Secret", text(secret, &["name"]));
            }
        }
        (CORE, "Secret") => {
            // A token is made for an account that is there.
            let account = &object["metadata"]["annotations"]["kubernetes.io/service-account.name"];
            found.value(CORE, "ServiceAccount", account.as_str().unwrap_or_default());
        }
        (CORE, "Endpoints") => found.value(CORE, "Service", &key.name),
        ("discovery.k8s.io", "EndpointSlice") => {
            let service = &object["metadata"]["labels"]["kubernetes.io/service-name"];
            found.value(CORE, "Service", service.as_str().unwrap_or_default());
        }
        ("apps", "StatefulSet") => {
            found.value(CORE, "Service", text(spec, &["serviceName"]));
            for template in items(spec, "volumeClaimTemplates") {
                claim(&template["spec"], &mut found);
            }
        }
        ("autoscaling", "HorizontalPodAutoscaler") | ("keda.sh", "ScaledObject" | "ScaledJob") => {
            scaled(&spec["scaleTargetRef"], &mut found);
        }
        ("autoscaling.k8s.io", "VerticalPodAutoscaler") => scaled(&spec["targetRef"], &mut found),
        ("networking.k8s.io", "Ingress") => ingress(spec, &mut found),
        ("gateway.networking.k8s.io", _) => gateway(spec, &mut found),
        (RBAC, "RoleBinding" | "ClusterRoleBinding") => {
            let role = &object["roleRef"];
            let (kind, name) = (text(role, &["kind"]), text(role, &["name"]));
            if kind == "Role" {
                found.value(RBAC, "Role", name);
            } else {
                found.cluster(RBAC, kind, name);
            }
            for subject in items(object, "subjects") {
                if text(subject, &["kind"]) == "ServiceAccount" {
                    let of = match text(subject, &["namespace"]) {
                        "" => key.namespace.clone(),
                        namespace => namespace.to_owned(),
                    };
                    found.add(
                        Edge::Value,
                        CORE,
                        "ServiceAccount",
                        &of,
                        text(subject, &["name"]),
                    );
                }
            }
        }
        (ADMISSION, "ValidatingWebhookConfiguration" | "MutatingWebhookConfiguration") => {
            for webhook in items(object, "webhooks") {
                service(&webhook["clientConfig"]["service"], &mut found);
            }
        }
        (ADMISSION, "ValidatingAdmissionPolicyBinding" | "MutatingAdmissionPolicyBinding") => {
            let policy = key.kind.trim_end_matches("Binding");
            found.cluster(ADMISSION, policy, text(spec, &["policyName"]));
        }
        ("apiextensions.k8s.io", "CustomResourceDefinition") => {
            service(
                &spec["conversion"]["webhook"]["clientConfig"]["service"],
                &mut found,
            );
        }
        ("apiregistration.k8s.io", "APIService") => service(&spec["service"], &mut found),
        ("cert-manager.io", "Certificate" | "CertificateRequest") => {
            let issuer = &spec["issuerRef"];
            let kind = match text(issuer, &["kind"]) {
                "" => "Issuer",
                kind => kind,
            };
            let name = text(issuer, &["name"]);
            if kind == "ClusterIssuer" {
                found.cluster("cert-manager.io", kind, name);
            } else {
                found.value("cert-manager.io", kind, name);
            }
        }
        ("argoproj.io", "Application") => {
            let namespace = key.namespace.clone();
            let project = text(spec, &["project"]);
            found.add(
                Edge::Value,
                "argoproj.io",
                "AppProject",
                &namespace,
                project,
            );
        }
        _ => {}
    }
    found.all
}

fn depends_on(object: &Value) -> Vec<Key> {
    let Some(text) = object["metadata"]["annotations"][DEPENDS_ON].as_str() else {
        return Vec::new();
    };
    text.split(',')
        .filter_map(|one| match one.trim().split('/').collect::<Vec<_>>()[..] {
            [group, "namespaces", namespace, kind, name] => {
                Some(Key::new(group, kind, namespace, name))
            }
            [group, kind, name] => Some(Key::new(group, kind, "", name)),
            _ => None,
        })
        .collect()
}

/// The spec of the pods an object makes or is, by the shapes of the built-in kinds; custom kinds follow them.
pub(crate) fn pod_spec<'a>(kind: &str, object: &'a Value) -> Option<&'a Value> {
    let pointers: &[&str] = match kind {
        "Pod" => &["/spec"],
        "PodTemplate" => &["/template/spec"],
        "CronJob" => &["/spec/jobTemplate/spec/template/spec"],
        _ => &[
            "/spec/template/spec",
            "/spec/jobTemplate/spec/template/spec",
        ],
    };
    pointers
        .iter()
        .filter_map(|pointer| object.pointer(pointer))
        .find(|spec| spec["containers"].is_array())
}

/// The names of the `ConfigMap`s and `Secret`s whose contents the containers of a pod see: by environment and
/// volumes. The kind comes first.
pub(crate) fn configuration(pod: &Value) -> Vec<(&'static str, &str)> {
    let mut all = Vec::new();
    let containers = ["initContainers", "containers", "ephemeralContainers"]
        .into_iter()
        .flat_map(|field| items(pod, field));
    for container in containers {
        for from in items(container, "envFrom") {
            all.push(("ConfigMap", text(from, &["configMapRef", "name"])));
            all.push(("Secret", text(from, &["secretRef", "name"])));
        }
        for variable in items(container, "env") {
            let from = &variable["valueFrom"];
            all.push(("ConfigMap", text(from, &["configMapKeyRef", "name"])));
            all.push(("Secret", text(from, &["secretKeyRef", "name"])));
        }
    }
    for volume in items(pod, "volumes") {
        all.push(("ConfigMap", text(volume, &["configMap", "name"])));
        all.push(("Secret", text(volume, &["secret", "secretName"])));
        for source in items(&volume["projected"], "sources") {
            all.push(("ConfigMap", text(source, &["configMap", "name"])));
            all.push(("Secret", text(source, &["secret", "name"])));
        }
    }
    all.retain(|(_, name)| !name.is_empty());
    all.sort_unstable();
    all.dedup();
    all
}

fn pod_references(pod: &Value, found: &mut Found<'_>) {
    for (kind, name) in configuration(pod) {
        found.value(CORE, kind, name);
    }
    for secret in items(pod, "imagePullSecrets") {
        found.value(CORE, "Secret", text(secret, &["name"]));
    }
    let account = match text(pod, &["serviceAccountName"]) {
        "" => text(pod, &["serviceAccount"]),
        name => name,
    };
    found.value(CORE, "ServiceAccount", account);
    found.cluster(
        "scheduling.k8s.io",
        "PriorityClass",
        text(pod, &["priorityClassName"]),
    );
    found.cluster(
        "node.k8s.io",
        "RuntimeClass",
        text(pod, &["runtimeClassName"]),
    );
    for resource in items(pod, "resourceClaims") {
        let group = "resource.k8s.io";
        found.value(
            group,
            "ResourceClaim",
            text(resource, &["resourceClaimName"]),
        );
        found.value(
            group,
            "ResourceClaimTemplate",
            text(resource, &["resourceClaimTemplateName"]),
        );
    }
    for volume in items(pod, "volumes") {
        found.value(
            CORE,
            "PersistentVolumeClaim",
            text(volume, &["persistentVolumeClaim", "claimName"]),
        );
        claim(&volume["ephemeral"]["volumeClaimTemplate"]["spec"], found);
        found.value(CORE, "Secret", text(volume, &["azureFile", "secretName"]));
        for driver in [
            "cephfs",
            "iscsi",
            "rbd",
            "flexVolume",
            "scaleIO",
            "storageos",
        ] {
            found.value(CORE, "Secret", text(volume, &[driver, "secretRef", "name"]));
        }
        for secret in csi_secrets(&volume["csi"]) {
            found.value(CORE, "Secret", text(secret, &["name"]));
        }
    }
}

fn csi_secrets(csi: &Value) -> impl Iterator<Item = &Value> {
    [
        "nodePublishSecretRef",
        "nodeStageSecretRef",
        "nodeExpandSecretRef",
        "controllerPublishSecretRef",
        "controllerExpandSecretRef",
    ]
    .into_iter()
    .filter_map(|field| csi.get(field))
}

fn claim(spec: &Value, found: &mut Found<'_>) {
    found.cluster(STORAGE, "StorageClass", text(spec, &["storageClassName"]));
    found.cluster(CORE, "PersistentVolume", text(spec, &["volumeName"]));
    for source in [&spec["dataSource"], &spec["dataSourceRef"]] {
        let kind = text(source, &["kind"]);
        found.value(text(source, &["apiGroup"]), kind, text(source, &["name"]));
    }
}

fn scaled(target: &Value, found: &mut Found<'_>) {
    let (group, _) = group_version(text(target, &["apiVersion"]));
    found.value(group, text(target, &["kind"]), text(target, &["name"]));
}

fn service(reference: &Value, found: &mut Found<'_>) {
    let namespace = text(reference, &["namespace"]).to_owned();
    found.add(
        Edge::Value,
        CORE,
        "Service",
        &namespace,
        text(reference, &["name"]),
    );
}

fn ingress(spec: &Value, found: &mut Found<'_>) {
    found.cluster(
        "networking.k8s.io",
        "IngressClass",
        text(spec, &["ingressClassName"]),
    );
    found.value(
        CORE,
        "Service",
        text(spec, &["defaultBackend", "service", "name"]),
    );
    for rule in items(spec, "rules") {
        for path in items(&rule["http"], "paths") {
            found.value(CORE, "Service", text(path, &["backend", "service", "name"]));
        }
    }
    for tls in items(spec, "tls") {
        found.value(CORE, "Secret", text(tls, &["secretName"]));
    }
}

fn gateway(spec: &Value, found: &mut Found<'_>) {
    let group = "gateway.networking.k8s.io";
    found.cluster(group, "GatewayClass", text(spec, &["gatewayClassName"]));
    for parent in items(spec, "parentRefs") {
        if matches!(text(parent, &["kind"]), "" | "Gateway") {
            let namespace = match text(parent, &["namespace"]) {
                "" => found.namespace.to_owned(),
                other => other.to_owned(),
            };
            found.add(
                Edge::Value,
                group,
                "Gateway",
                &namespace,
                text(parent, &["name"]),
            );
        }
    }
    for rule in items(spec, "rules") {
        for backend in items(rule, "backendRefs") {
            if matches!(text(backend, &["kind"]), "" | "Service") {
                found.value(CORE, "Service", text(backend, &["name"]));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_workload_stands_on_what_its_pods_name() {
        let object = json!({"spec": {"template": {"spec": {
            "serviceAccountName": "web",
            "imagePullSecrets": [{"name": "pull"}],
            "containers": [{"name": "a", "envFrom": [{"configMapRef": {"name": "settings"}}],
                "env": [{"name": "P", "valueFrom": {"secretKeyRef": {"name": "db", "key": "p"}}}]}],
            "volumes": [{"name": "d", "persistentVolumeClaim": {"claimName": "data"}},
                {"name": "p", "projected": {"sources": [{"configMap": {"name": "more"}}]}}]}}}});
        let key = Key::new("apps", "Deployment", "shop", "web");
        let told: Vec<String> = references(&key, &object)
            .iter()
            .map(|reference| reference.to.to_string())
            .collect();
        assert_eq!(
            told,
            [
                "Namespace shop",
                "ConfigMap shop/more",
                "ConfigMap shop/settings",
                "Secret shop/db",
                "Secret shop/pull",
                "ServiceAccount shop/web",
                "PersistentVolumeClaim shop/data"
            ]
        );
        let pod = pod_spec("Deployment", &object).unwrap();
        assert_eq!(
            configuration(pod),
            [
                ("ConfigMap", "more"),
                ("ConfigMap", "settings"),
                ("Secret", "db")
            ]
        );
    }

    #[test]
    fn what_an_annotation_names_comes_first() {
        let object = json!({"metadata": {"annotations": {DEPENDS_ON: "apps/namespaces/a/Deployment/x,g.io/Widget/y"}}});
        let found = references(&Key::new("", "ConfigMap", "", "c"), &object);
        assert_eq!(found[0].to, Key::new("apps", "Deployment", "a", "x"));
        assert_eq!(found[1].to, Key::new("g.io", "Widget", "", "y"));
    }
}
