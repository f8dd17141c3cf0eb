//! The roles and bindings that exist from the first start.
//!
//! Names and rights are those of upstream's default policy, as far as the resources are served, so
//! that bindings users already have to `admin`, `edit`, `view` or `system:*` mean the same here.
//! Differences: all reconcilers of one binary share the identity `system:kube-controller-manager`,
//! whose role therefore unites those that upstream splits by controller.

use serde_json::{Map, Value, json};

const READ: &[&str] = &["get", "list", "watch"];
const WRITE: &[&str] = &["create", "delete", "deletecollection", "patch", "update"];
const ALL: &[&str] = &["*"];
const AGGREGATE_LABEL: &str = "rbac.authorization.k8s.io/aggregate-to-";

/// What a namespace's user may see in the core group: everything but secrets.
const CORE_VIEW: &[&str] = &[
    "configmaps",
    "endpoints",
    "persistentvolumeclaims",
    "persistentvolumeclaims/status",
    "pods",
    "replicationcontrollers",
    "replicationcontrollers/scale",
    "serviceaccounts",
    "services",
    "services/status",
    "bindings",
    "events",
    "limitranges",
    "namespaces/status",
    "pods/log",
    "pods/status",
    "replicationcontrollers/status",
    "resourcequotas",
    "resourcequotas/status",
    "namespaces",
];
const CORE_EDIT: &[&str] = &[
    "configmaps",
    "events",
    "persistentvolumeclaims",
    "replicationcontrollers",
    "replicationcontrollers/scale",
    "secrets",
    "serviceaccounts",
    "services",
    "services/proxy",
    "pods",
    "pods/attach",
    "pods/exec",
    "pods/portforward",
    "pods/proxy",
];
const APPS: &[&str] = &[
    "daemonsets",
    "deployments",
    "deployments/rollback",
    "deployments/scale",
    "replicasets",
    "replicasets/scale",
    "statefulsets",
    "statefulsets/scale",
];
const APPS_STATUS: &[&str] = &[
    "controllerrevisions",
    "daemonsets/status",
    "deployments/status",
    "replicasets/status",
    "statefulsets/status",
];
const RBAC: &str = "rbac.authorization.k8s.io";

/// The objects of the default policy, cluster roles first; each is created where it is absent.
pub fn objects() -> Vec<Value> {
    let mut objects = roles();
    objects.extend(bindings());
    objects
}

fn rule(verbs: &[&str], groups: &[&str], resources: &[&str]) -> Value {
    json!({"verbs": verbs, "apiGroups": groups, "resources": resources})
}

fn paths(verbs: &[&str], urls: &[&str]) -> Value {
    json!({"verbs": verbs, "nonResourceURLs": urls})
}

fn metadata(name: &str) -> Value {
    json!({
        "name": name,
        "labels": {"kubernetes.io/bootstrapping": "rbac-defaults"},
        "annotations": {"rbac.authorization.kubernetes.io/autoupdate": "true"},
    })
}

fn role(name: &str, rules: &[Value]) -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
        "metadata": metadata(name), "rules": rules,
    })
}

/// A role whose rules are added to each role that selects `aggregate-to-{target}`.
fn part(target: &str, rules: &[Value]) -> Value {
    let mut role = role(&format!("system:aggregate-to-{target}"), rules);
    role["metadata"]["labels"][format!("{AGGREGATE_LABEL}{target}")] = json!("true");
    role
}

/// A role whose rules are those of all roles labelled `aggregate-to-{name}`; `labels` say which
/// larger roles it is part of in turn.
fn whole(name: &str, part_of: Option<&str>, rules: &[Value]) -> Value {
    let mut role = role(name, rules);
    let mut select = Map::new();
    select.insert(format!("{AGGREGATE_LABEL}{name}"), json!("true"));
    role["aggregationRule"] = json!({"clusterRoleSelectors": [{"matchLabels": select}]});
    if let Some(larger) = part_of {
        role["metadata"]["labels"][format!("{AGGREGATE_LABEL}{larger}")] = json!("true");
    }
    role
}

fn view() -> Vec<Value> {
    vec![
        rule(READ, &[""], CORE_VIEW),
        rule(READ, &["discovery.k8s.io"], &["endpointslices"]),
        rule(READ, &["apps"], APPS),
        rule(READ, &["apps"], APPS_STATUS),
        rule(
            READ,
            &["autoscaling"],
            &[
                "horizontalpodautoscalers",
                "horizontalpodautoscalers/status",
            ],
        ),
        rule(
            READ,
            &["batch"],
            &["cronjobs", "cronjobs/status", "jobs", "jobs/status"],
        ),
        rule(
            READ,
            &["policy"],
            &["poddisruptionbudgets", "poddisruptionbudgets/status"],
        ),
        rule(
            READ,
            &["networking.k8s.io"],
            &["ingresses", "ingresses/status", "networkpolicies"],
        ),
    ]
}

fn edit() -> Vec<Value> {
    vec![
        rule(
            READ,
            &[""],
            &[
                "pods/attach",
                "pods/exec",
                "pods/portforward",
                "pods/proxy",
                "secrets",
                "services/proxy",
            ],
        ),
        rule(&["impersonate"], &[""], &["serviceaccounts"]),
        rule(WRITE, &[""], CORE_EDIT),
        rule(
            &["create"],
            &[""],
            &["pods/eviction", "serviceaccounts/token"],
        ),
        rule(WRITE, &["apps"], APPS),
        rule(WRITE, &["autoscaling"], &["horizontalpodautoscalers"]),
        rule(WRITE, &["batch"], &["cronjobs", "jobs"]),
        rule(WRITE, &["policy"], &["poddisruptionbudgets"]),
        rule(
            WRITE,
            &["networking.k8s.io"],
            &["ingresses", "networkpolicies"],
        ),
        rule(
            &[
                "create",
                "delete",
                "deletecollection",
                "get",
                "list",
                "patch",
                "update",
                "watch",
            ],
            &["coordination.k8s.io"],
            &["leases"],
        ),
    ]
}

fn admin() -> Vec<Value> {
    vec![
        rule(
            &["create"],
            &["authorization.k8s.io"],
            &["localsubjectaccessreviews"],
        ),
        rule(
            &[
                "create",
                "delete",
                "deletecollection",
                "get",
                "list",
                "patch",
                "update",
                "watch",
            ],
            &[RBAC],
            &["rolebindings", "roles"],
        ),
    ]
}

fn roles() -> Vec<Value> {
    let edit_rules = [edit(), view()].concat();
    let admin_rules = [admin(), edit_rules.clone()].concat();
    let discovery = [
        "/api",
        "/api/*",
        "/apis",
        "/apis/*",
        "/healthz",
        "/livez",
        "/openapi",
        "/openapi/*",
        "/readyz",
        "/version",
        "/version/",
    ];
    let public = ["/healthz", "/livez", "/readyz", "/version", "/version/"];
    let monitoring = [
        "/healthz",
        "/healthz/*",
        "/livez",
        "/livez/*",
        "/metrics",
        "/metrics/slis",
        "/readyz",
        "/readyz/*",
    ];
    vec![
        role("cluster-admin", &[rule(ALL, ALL, ALL), paths(ALL, ALL)]),
        whole("admin", None, &admin_rules),
        whole("edit", Some("admin"), &edit_rules),
        whole("view", Some("edit"), &view()),
        part("admin", &admin()),
        part("edit", &edit()),
        part("view", &view()),
        role("system:discovery", &[paths(&["get"], &discovery)]),
        role("system:public-info-viewer", &[paths(&["get"], &public)]),
        role("system:monitoring", &[paths(&["get"], &monitoring)]),
        role(
            "system:basic-user",
            &[
                rule(
                    &["create"],
                    &["authorization.k8s.io"],
                    &["selfsubjectaccessreviews", "selfsubjectrulesreviews"],
                ),
                rule(
                    &["create"],
                    &["authentication.k8s.io"],
                    &["selfsubjectreviews"],
                ),
            ],
        ),
        role(
            "system:auth-delegator",
            &[
                rule(&["create"], &["authentication.k8s.io"], &["tokenreviews"]),
                rule(
                    &["create"],
                    &["authorization.k8s.io"],
                    &["subjectaccessreviews"],
                ),
            ],
        ),
        role(
            "system:service-account-issuer-discovery",
            &[paths(
                &["get"],
                &[
                    "/.well-known/openid-configuration",
                    "/.well-known/openid-configuration/",
                    "/openid/v1/jwks",
                    "/openid/v1/jwks/",
                ],
            )],
        ),
        role("system:kube-scheduler", &scheduler()),
        role("system:kube-controller-manager", &controllers()),
        role("system:node", &node()),
        role(
            "system:node-proxier",
            &[
                rule(&["list", "watch"], &[""], &["endpoints", "services"]),
                rule(READ, &[""], &["nodes"]),
                rule(
                    &["create", "patch", "update"],
                    &["", "events.k8s.io"],
                    &["events"],
                ),
                rule(
                    &["list", "watch"],
                    &["discovery.k8s.io"],
                    &["endpointslices"],
                ),
            ],
        ),
        role(
            "system:kube-dns",
            &[rule(&["list", "watch"], &[""], &["endpoints", "services"])],
        ),
    ]
}

fn scheduler() -> Vec<Value> {
    vec![
        rule(
            &["create", "patch", "update"],
            &["", "events.k8s.io"],
            &["events"],
        ),
        rule(
            &["create", "get", "update", "patch", "list", "watch"],
            &["coordination.k8s.io"],
            &["leases"],
        ),
        rule(READ, &[""], &["nodes", "namespaces"]),
        rule(&["delete", "get", "list", "watch"], &[""], &["pods"]),
        rule(&["create"], &[""], &["bindings", "pods/binding"]),
        rule(&["patch", "update"], &[""], &["pods/status"]),
        rule(
            READ,
            &[""],
            &[
                "replicationcontrollers",
                "services",
                "persistentvolumeclaims",
                "persistentvolumes",
            ],
        ),
        rule(READ, &["apps"], &["replicasets", "statefulsets"]),
        rule(READ, &["policy"], &["poddisruptionbudgets"]),
        rule(READ, &["storage.k8s.io"], ALL),
        rule(READ, &["scheduling.k8s.io"], &["priorityclasses"]),
    ]
}

fn controllers() -> Vec<Value> {
    vec![
        // Garbage collection and the end of a namespace reach every kind there is.
        rule(
            &[
                "delete",
                "deletecollection",
                "get",
                "list",
                "patch",
                "update",
                "watch",
            ],
            ALL,
            ALL,
        ),
        rule(&["create"], &["", "events.k8s.io"], &["events"]),
        rule(
            &["create"],
            &[""],
            &[
                "pods",
                "pods/eviction",
                "configmaps",
                "secrets",
                "endpoints",
                "serviceaccounts",
                "serviceaccounts/token",
                "persistentvolumes",
                "persistentvolumeclaims",
            ],
        ),
        rule(
            &["create"],
            &["apps"],
            &["controllerrevisions", "replicasets"],
        ),
        rule(&["create"], &["batch"], &["jobs"]),
        rule(&["create"], &["discovery.k8s.io"], &["endpointslices"]),
        rule(&["create"], &["coordination.k8s.io"], &["leases"]),
        rule(&["create"], &["authentication.k8s.io"], &["tokenreviews"]),
        rule(
            &["create"],
            &["authorization.k8s.io"],
            &["subjectaccessreviews"],
        ),
        // Filling an aggregated role's rules gives rights the reconciler does not hold itself.
        rule(&["escalate"], &[RBAC], &["clusterroles"]),
        paths(&["get"], ALL),
    ]
}

fn node() -> Vec<Value> {
    vec![
        rule(&["create"], &["authentication.k8s.io"], &["tokenreviews"]),
        rule(
            &["create"],
            &["authorization.k8s.io"],
            &["localsubjectaccessreviews", "subjectaccessreviews"],
        ),
        rule(READ, &[""], &["services"]),
        rule(READ, &["discovery.k8s.io"], &["endpointslices"]),
        // Cluster DNS is part of the agent, so it keeps the `kube-dns` Service and its endpoints.
        rule(&["create", "patch", "update"], &[""], &["services"]),
        rule(
            &["create", "patch", "update"],
            &["discovery.k8s.io"],
            &["endpointslices"],
        ),
        rule(
            &["create", "get", "list", "watch", "patch", "update"],
            &[""],
            &["nodes"],
        ),
        rule(&["patch", "update"], &[""], &["nodes/status"]),
        rule(
            &["create", "patch", "update"],
            &["", "events.k8s.io"],
            &["events"],
        ),
        rule(
            &["create", "delete", "get", "list", "watch"],
            &[""],
            &["pods"],
        ),
        rule(&["patch", "update"], &[""], &["pods/status"]),
        rule(
            &["create"],
            &[""],
            &["pods/eviction", "serviceaccounts/token"],
        ),
        rule(READ, &[""], &["configmaps", "secrets"]),
        rule(
            &["get"],
            &[""],
            &[
                "persistentvolumeclaims",
                "persistentvolumes",
                "serviceaccounts",
            ],
        ),
        rule(
            &["create", "delete", "get", "patch", "update"],
            &["coordination.k8s.io"],
            &["leases"],
        ),
        rule(READ, &["node.k8s.io"], &["runtimeclasses"]),
    ]
}

fn bindings() -> Vec<Value> {
    let bind = |name: &str, role: &str, subjects: &[(&str, &str)]| {
        let subjects: Vec<Value> = subjects
            .iter()
            .map(|(kind, name)| json!({"apiGroup": RBAC, "kind": kind, "name": name}))
            .collect();
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
            "metadata": metadata(name),
            "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": role},
            "subjects": subjects,
        })
    };
    let authenticated = ("Group", "system:authenticated");
    let unauthenticated = ("Group", "system:unauthenticated");
    vec![
        bind(
            "cluster-admin",
            "cluster-admin",
            &[("Group", "system:masters")],
        ),
        bind(
            "system:monitoring",
            "system:monitoring",
            &[("Group", "system:monitoring")],
        ),
        bind("system:discovery", "system:discovery", &[authenticated]),
        bind("system:basic-user", "system:basic-user", &[authenticated]),
        bind(
            "system:public-info-viewer",
            "system:public-info-viewer",
            &[authenticated, unauthenticated],
        ),
        bind("system:node", "system:node", &[("Group", "system:nodes")]),
        bind(
            "system:node-proxier",
            "system:node-proxier",
            &[("User", "system:kube-proxy")],
        ),
        bind(
            "system:kube-controller-manager",
            "system:kube-controller-manager",
            &[("User", "system:kube-controller-manager")],
        ),
        bind(
            "system:kube-scheduler",
            "system:kube-scheduler",
            &[("User", "system:kube-scheduler")],
        ),
        bind(
            "system:service-account-issuer-discovery",
            "system:service-account-issuer-discovery",
            &[("Group", "system:serviceaccounts")],
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::super::{Attributes, Authorizer, User};
    use super::*;

    fn authorizer() -> Authorizer {
        let authorizer = Authorizer::new();
        for object in objects() {
            let plural = match object["kind"].as_str().unwrap() {
                "ClusterRole" => "clusterroles",
                _ => "clusterrolebindings",
            };
            authorizer.put(plural, &object);
        }
        authorizer
    }

    #[test]
    fn every_binding_names_a_role_that_is_there() {
        let objects = objects();
        let names: Vec<&Value> = objects
            .iter()
            .filter(|object| object["kind"] == "ClusterRole")
            .map(|object| &object["metadata"]["name"])
            .collect();
        for object in &objects {
            if object["kind"] == "ClusterRoleBinding" {
                assert!(names.contains(&&object["roleRef"]["name"]), "{object}");
            }
        }
    }

    #[test]
    fn anonymous_callers_see_health_and_version_and_nothing_else() {
        let authorizer = authorizer();
        let nobody = User::anonymous();
        let path = |path| Attributes {
            verb: "get",
            path,
            ..Attributes::default()
        };
        assert!(authorizer.authorize(&nobody, &path("/readyz")).allowed);
        assert!(authorizer.authorize(&nobody, &path("/version")).allowed);
        assert!(!authorizer.authorize(&nobody, &path("/api")).allowed);
        assert!(!authorizer.authorize(&nobody, &path("/metrics")).allowed);
    }

    #[test]
    fn viewers_read_pods_but_no_secret() {
        let authorizer = authorizer();
        authorizer.put(
            "rolebindings",
            &json!({"metadata": {"name": "v", "namespace": "shop"},
                "roleRef": {"kind": "ClusterRole", "name": "view"},
                "subjects": [{"kind": "User", "name": "jane"}]}),
        );
        let jane = User::new("jane", Vec::<String>::new());
        let get = |resource, namespace| Attributes {
            verb: "get",
            resource,
            namespace,
            ..Attributes::default()
        };
        assert!(authorizer.authorize(&jane, &get("pods", "shop")).allowed);
        assert!(!authorizer.authorize(&jane, &get("secrets", "shop")).allowed);
        assert!(!authorizer.authorize(&jane, &get("pods", "bank")).allowed);
    }
}
