//! What the server itself decides about writes.

use crate::support::{Answer, Server, config_map, deployment, pod, request};
use bytes::Bytes;
use consort_api::identity::User;
use http::Method;
use serde_json::{Value, json};
use std::sync::Arc;

const CORE: &str = "/api/v1/namespaces/default";
const PODS: &str = "/api/v1/namespaces/default/pods";
const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";
const NAMESPACE: &str = "/api/v1/namespaces/default";
const MERGE: &str = "application/merge-patch+json";

#[track_caller]
fn refused(answer: &Answer, code: u16, message: &str) {
    let body = answer.json();
    assert_eq!(answer.code.as_u16(), code, "{body}");
    assert_eq!(body["message"], message);
}

#[track_caller]
fn made(answer: &Answer) -> Value {
    assert_eq!(answer.code, 201, "{}", answer.json());
    answer.json()
}

fn warnings(answer: &Answer) -> Vec<&str> {
    let all = answer.headers.get_all("warning").into_iter();
    all.map(|own| own.to_str().unwrap()).collect()
}

fn sized(name: &str, resources: &Value) -> Value {
    let mut pod = pod(name);
    pod["spec"]["containers"][0]["resources"] = resources.clone();
    pod
}

/// A quota that has been counted.
async fn quota(server: &Server, name: &str, spec: Value) {
    let quotas = format!("{CORE}/resourcequotas");
    let zero = spec["hard"].as_object().unwrap().keys();
    let used: Value = zero
        .map(|name| (name.clone(), json!("0")))
        .collect::<serde_json::Map<_, _>>()
        .into();
    let hard = spec["hard"].clone();
    made(
        &server
            .post(&quotas, &json!({"metadata": {"name": name}, "spec": spec}))
            .await,
    );
    let status = json!({"status": {"hard": hard, "used": used}});
    let counted = server
        .patch(&format!("{quotas}/{name}/status"), MERGE, &status)
        .await;
    assert_eq!(counted.code, 200, "{}", counted.json());
}

async fn used(server: &Server, name: &str) -> Value {
    let quota = server.get(&format!("{CORE}/resourcequotas/{name}")).await;
    quota.json()["status"]["used"].clone()
}

#[tokio::test]
async fn limit_ranges_fill_in_what_is_left_open_and_bound_the_rest() {
    let server = Server::start().await;
    let range = json!({"metadata": {"name": "range"}, "spec": {"limits": [
        {"type": "Container", "default": {"memory": "1Gi"}, "max": {"memory": "2Gi"}},
        {"type": "PersistentVolumeClaim", "min": {"storage": "1Gi"}},
    ]}});
    made(&server.post(&format!("{CORE}/limitranges"), &range).await);
    let plain = made(&server.post(PODS, &pod("a")).await);
    assert_eq!(
        plain["spec"]["containers"][0]["resources"],
        json!({"requests": {"memory": "1Gi"}, "limits": {"memory": "1Gi"}})
    );
    assert_eq!(plain["status"]["qosClass"], "Burstable");
    assert_eq!(
        plain["metadata"]["annotations"]["kubernetes.io/limit-ranger"],
        "LimitRanger plugin set: memory request for container main; memory limit for container main"
    );
    refused(
        &server
            .post(PODS, &sized("b", &json!({"limits": {"memory": "3Gi"}})))
            .await,
        403,
        "pods \"b\" is forbidden: maximum memory usage per Container is 2Gi, but limit is 3Gi",
    );
    let claim = json!({"metadata": {"name": "c"}, "spec": {"accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "1Mi"}}}});
    refused(
        &server
            .post(&format!("{CORE}/persistentvolumeclaims"), &claim)
            .await,
        403,
        "persistentvolumeclaims \"c\" is forbidden: minimum storage usage per PersistentVolumeClaim is 1Gi, but request is 1Mi",
    );
}

#[tokio::test]
async fn concurrent_writes_never_take_more_than_a_quota_has() {
    let server = Arc::new(Server::start().await);
    quota(
        &server,
        "few",
        json!({"hard": {"pods": "10", "count/configmaps": "7"}}),
    )
    .await;
    let tasks: Vec<_> = (0..64)
        .map(|number| {
            let server = server.clone();
            tokio::spawn(async move {
                let pod = server.post(PODS, &pod(&format!("p{number}"))).await;
                let maps = format!("{CORE}/configmaps");
                let map = server
                    .post(&maps, &config_map(&format!("m{number}"), "1"))
                    .await;
                (pod.code.as_u16(), map.code.as_u16())
            })
        })
        .collect();
    let mut codes = Vec::new();
    for task in tasks {
        codes.push(task.await.unwrap());
    }
    let count = |wanted: u16, which: fn(&(u16, u16)) -> u16| {
        codes.iter().filter(|own| which(own) == wanted).count()
    };
    assert_eq!((count(201, |own| own.0), count(403, |own| own.0)), (10, 54));
    assert_eq!((count(201, |own| own.1), count(403, |own| own.1)), (7, 57));
    let now = used(&server, "few").await;
    assert_eq!(now, json!({"pods": "10", "count/configmaps": "7"}));
    refused(
        &server.post(PODS, &pod("more")).await,
        403,
        "pods \"more\" is forbidden: exceeded quota: few, requested: pods=1, used: pods=10, limited: pods=10",
    );
}

#[tokio::test]
async fn quotas_measure_what_objects_ask_for_when_they_are_made_and_when_they_grow() {
    let server = Server::start().await;
    let hard = json!({"requests.cpu": "1", "services.nodeports": "1", "requests.storage": "3Gi"});
    quota(&server, "q", json!({"hard": hard})).await;
    refused(
        &server.post(PODS, &pod("silent")).await,
        403,
        "pods \"silent\" is forbidden: failed quota: q: must specify requests.cpu for: main",
    );
    made(
        &server
            .post(PODS, &sized("a", &json!({"requests": {"cpu": "600m"}})))
            .await,
    );
    refused(
        &server
            .post(PODS, &sized("b", &json!({"requests": {"cpu": "500m"}})))
            .await,
        403,
        "pods \"b\" is forbidden: exceeded quota: q, requested: requests.cpu=500m, used: requests.cpu=600m, limited: requests.cpu=1",
    );
    // A dry run is held against the quota, and not charged.
    let dry = format!("{PODS}?dryRun=All");
    made(
        &server
            .post(&dry, &sized("c", &json!({"requests": {"cpu": "400m"}})))
            .await,
    );
    assert_eq!(used(&server, "q").await["requests.cpu"], "600m");

    let service = json!({"metadata": {"name": "s"}, "spec": {"ports": [{"name": "a", "port": 1}, {"name": "b", "port": 2}]}});
    let services = format!("{CORE}/services");
    made(&server.post(&services, &service).await);
    let open = json!({"spec": {"type": "NodePort"}});
    refused(
        &server.patch(&format!("{services}/s"), MERGE, &open).await,
        403,
        "services \"s\" is forbidden: exceeded quota: q, requested: services.nodeports=2, used: services.nodeports=0, limited: services.nodeports=1",
    );

    let scoped = json!({"hard": {"pods": "0"}, "scopes": ["BestEffort"]});
    server.delete(&format!("{CORE}/resourcequotas/q")).await;
    quota(&server, "best", scoped).await;
    made(
        &server
            .post(PODS, &sized("d", &json!({"requests": {"cpu": "1"}})))
            .await,
    );
    refused(
        &server.post(PODS, &pod("e")).await,
        403,
        "pods \"e\" is forbidden: exceeded quota: best, requested: pods=1, used: pods=0, limited: pods=0",
    );
}

#[tokio::test]
async fn a_namespaces_labels_set_how_secure_its_pods_must_be() {
    let server = Server::start().await;
    made(&server.post(PODS, &pod("old")).await);
    let label = |level: &str| json!({"metadata": {"labels": {"pod-security.kubernetes.io/enforce": level}}});
    refused(
        &server.patch(NAMESPACE, MERGE, &label("strict")).await,
        422,
        "Namespace \"default\" is invalid: metadata.labels[pod-security.kubernetes.io/enforce]: Invalid value: \"strict\": must be one of privileged, baseline, restricted",
    );
    let set = server.patch(NAMESPACE, MERGE, &label("restricted")).await;
    assert_eq!(set.code, 200);
    assert_eq!(
        warnings(&set),
        [
            r#"299 - "existing pods in namespace \"default\" violate the new PodSecurity enforce level \"restricted:latest\"""#,
            r#"299 - "old: allowPrivilegeEscalation != false, unrestricted capabilities, runAsNonRoot != true, seccompProfile""#,
        ]
    );
    let why = r#"violate PodSecurity "restricted:latest": allowPrivilegeEscalation != false (container "main" must set securityContext.allowPrivilegeEscalation=false), unrestricted capabilities (container "main" must set securityContext.capabilities.drop=["ALL"]), runAsNonRoot != true (pod or container "main" must set securityContext.runAsNonRoot=true), seccompProfile (pod or container "main" must set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost")"#;
    refused(
        &server.post(PODS, &pod("new")).await,
        403,
        &format!(
            "pods \"new\" is forbidden: {}",
            why.replacen("violate", "violates", 1)
        ),
    );
    // Templates are warned of, so that their pods do not come as a surprise.
    let template = server.post(DEPLOYMENTS, &deployment("web")).await;
    made(&template);
    let warning = format!("would {why}").replace('"', "\\\"");
    assert_eq!(warnings(&template), [format!("299 - \"{warning}\"")]);
    let mut good = pod("good");
    good["spec"]["securityContext"] =
        json!({"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}});
    good["spec"]["containers"][0]["securityContext"] =
        json!({"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}});
    made(&server.post(PODS, &good).await);
}

#[tokio::test]
async fn priorities_and_storage_classes_have_defaults() {
    let server = Server::start().await;
    let classes = "/apis/scheduling.k8s.io/v1/priorityclasses";
    let class = |name: &str, value: i64| json!({"metadata": {"name": name}, "value": value, "globalDefault": true, "preemptionPolicy": "Never"});
    made(&server.post(classes, &class("usual", 7)).await);
    refused(
        &server.post(classes, &class("other", 8)).await,
        403,
        "priorityclasses.scheduling.k8s.io \"other\" is forbidden: PriorityClass usual is already marked as default. Only one default can exist",
    );
    let spec = made(&server.post(PODS, &pod("a")).await)["spec"].clone();
    assert_eq!(spec["priorityClassName"], "usual");
    assert_eq!(
        (&spec["priority"], &spec["preemptionPolicy"]),
        (&json!(7), &json!("Never"))
    );
    let mut unknown = pod("b");
    unknown["spec"]["priorityClassName"] = "none".into();
    refused(
        &server.post(PODS, &unknown).await,
        403,
        "pods \"b\" is forbidden: no PriorityClass with name none was found",
    );

    let class = json!({"metadata": {"name": "disk", "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
        "provisioner": "example.com/disk"});
    made(
        &server
            .post("/apis/storage.k8s.io/v1/storageclasses", &class)
            .await,
    );
    let claims = format!("{CORE}/persistentvolumeclaims");
    let claim = |name: &str, class: Value| {
        json!({"metadata": {"name": name}, "spec": {"storageClassName": class, "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Gi"}}}})
    };
    let open = made(&server.post(&claims, &claim("a", Value::Null)).await);
    assert_eq!(open["spec"]["storageClassName"], "disk");
    let none = made(&server.post(&claims, &claim("b", "".into())).await);
    assert_eq!(none["spec"]["storageClassName"], "");
}

#[tokio::test]
async fn owners_whose_deletion_waits_need_the_right_to_their_finalizers() {
    let server = Server::start().await;
    let role = json!({"metadata": {"name": "maps"}, "rules": [
        {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["create", "get", "patch"]}]});
    let binding = json!({"metadata": {"name": "maps"}, "subjects": [{"kind": "User", "name": "jane"}],
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "maps"}});
    let rbac = "/apis/rbac.authorization.k8s.io/v1/namespaces/default";
    made(&server.post(&format!("{rbac}/roles"), &role).await);
    made(&server.post(&format!("{rbac}/rolebindings"), &binding).await);
    let jane = || User::new("jane", [] as [&str; 0]);
    let may = format!("{CORE}/configmaps");
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(10);
    while server.get_as(&format!("{may}/none"), jane()).await.code != 404 {
        assert!(
            tokio::time::Instant::now() < deadline,
            "the role never held"
        );
        tokio::task::yield_now().await;
    }
    let owned = |name: &str, blocks: bool| {
        let mut map = config_map(name, "1");
        map["metadata"]["ownerReferences"] = json!([{"apiVersion": "apps/v1", "kind": "Deployment",
            "name": "web", "uid": "u", "blockOwnerDeletion": blocks}]);
        map
    };
    made(&server.post_as(&may, &owned("a", false), jane()).await);
    let answer = server.post_as(&may, &owned("b", true), jane()).await;
    assert_eq!(answer.code, 403);
    let message = answer.json()["message"].as_str().unwrap().to_owned();
    let start = "configmaps \"b\" is forbidden: cannot set blockOwnerDeletion if an ownerReference refers to a resource you can't set finalizers on: ";
    assert!(message.starts_with(start), "{message}");
    let change = json!({"metadata": {"ownerReferences": null}}).to_string();
    let patch = request(Method::PATCH, &format!("{may}/a"), MERGE, change);
    let answer = server.ask_as(patch, jane()).await;
    assert_eq!(answer.code, 403);
    let message = answer.json()["message"].as_str().unwrap().to_owned();
    let start =
        "configmaps \"a\" is forbidden: cannot set an ownerRef on a resource you can't delete: ";
    assert!(message.starts_with(start), "{message}");
}

#[tokio::test]
async fn a_node_changes_only_what_is_its_own() {
    let server = Server::start().await;
    let nodes = "/api/v1/nodes";
    let node = |name: &str| json!({"metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}}});
    made(&server.post_as(nodes, &node("n1"), User::node("n1")).await);
    made(&server.post(nodes, &node("n2")).await);
    let patch = |path: &str, change: Value| request(Method::PATCH, path, MERGE, change.to_string());
    let refused_to = async |path: &str, change: Value, message: &str| {
        let answer = server.ask_as(patch(path, change), User::node("n1")).await;
        refused(&answer, 403, message);
    };
    refused_to(
        "/api/v1/nodes/n1",
        json!({"metadata": {"labels": {"node-role.kubernetes.io/master": ""}}}),
        "nodes \"n1\" is forbidden: is not allowed to modify labels: node-role.kubernetes.io/master",
    )
    .await;
    refused_to(
        "/api/v1/nodes/n1",
        json!({"spec": {"taints": [{"key": "a", "effect": "NoSchedule"}]}}),
        "nodes \"n1\" is forbidden: node \"n1\" is not allowed to modify taints",
    )
    .await;
    let own = json!({"metadata": {"labels": {"own": "1"}}});
    let answer = server
        .ask_as(patch("/api/v1/nodes/n1", own), User::node("n1"))
        .await;
    assert_eq!(answer.code, 200, "{}", answer.json());

    let mut there = pod("there");
    there["spec"]["nodeName"] = "n2".into();
    made(&server.post(PODS, &there).await);
    refused(
        &server.post_as(PODS, &pod("plain"), User::node("n1")).await,
        403,
        "pods \"plain\" is forbidden: pod does not have \"kubernetes.io/config.mirror\" annotation, node \"n1\" can only create mirror pods",
    );
    let delete = request(Method::DELETE, &format!("{PODS}/there"), "", Bytes::new());
    refused(
        &server.ask_as(delete, User::node("n1")).await,
        403,
        "pods \"there\" is forbidden: node \"n1\" can only delete pods with spec.nodeName set to itself",
    );
}
