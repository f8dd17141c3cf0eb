//! Every kind that upstream serves by default: taken, filled in, shown, changed, refused.
#![allow(missing_docs, clippy::too_many_lines)] // tables of cases

mod support;

use consort_api::identity::User;
use http::{Method, StatusCode};
use serde_json::{Value, json};
use support::{Server, deployment, pod, request};

const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io";

fn template() -> Value {
    deployment("x")["spec"]["template"].clone()
}

fn spec(fields: &Value) -> Value {
    json!({"metadata": {"name": "x"}, "spec": fields})
}

/// The collection of each kind, a valid object of it, and a field that the server fills in.
fn valid() -> Vec<(&'static str, Value, &'static str, Value)> {
    let selector = json!({"matchLabels": {"app": "x"}});
    let mut job = template();
    job["spec"]["restartPolicy"] = json!("Never");
    let claim =
        json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}});
    let rules = json!([{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}]);
    let client = json!({"service": {"namespace": "a", "name": "b"}});
    let hook = json!({"name": "a.example.com", "clientConfig": client, "rules": rules,
        "sideEffects": "None", "admissionReviewVersions": ["v1"]});
    let policy = json!({"matchConstraints": {"resourceRules": rules}});
    let mut judging = policy.clone();
    judging["validations"] = json!([{"expression": "object.spec.replicas < 5"}]);
    let mut changing = policy;
    changing["reinvocationPolicy"] = json!("Never");
    changing["mutations"] = json!([{"patchType": "JSONPatch", "jsonPatch": {"expression": "[JSONPatch{op: \"remove\", path: \"/spec/x\"}]"}}]);
    vec![
        (
            "/api/v1/namespaces/default/limitranges",
            spec(&json!({"limits": [{"type": "Container", "max": {"cpu": "1"}}]})),
            "/spec/limits/0/defaultRequest/cpu",
            json!("1"),
        ),
        (
            "/api/v1/namespaces/default/resourcequotas",
            spec(&json!({"hard": {"pods": "3", "requests.cpu": "1", "count/jobs.batch": "4"}})),
            "/spec/hard/pods",
            json!("3"),
        ),
        (
            "/api/v1/namespaces/default/persistentvolumeclaims",
            spec(&claim),
            "/status/phase",
            json!("Pending"),
        ),
        (
            "/api/v1/persistentvolumes",
            spec(
                &json!({"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/x"}}),
            ),
            "/spec/persistentVolumeReclaimPolicy",
            json!("Retain"),
        ),
        (
            "/api/v1/namespaces/default/podtemplates",
            json!({"metadata": {"name": "x"}, "template": template()}),
            "/template/spec/restartPolicy",
            json!("Always"),
        ),
        (
            "/api/v1/namespaces/default/replicationcontrollers",
            spec(&json!({"template": template()})),
            "/spec/selector/app",
            json!("x"),
        ),
        (
            "/apis/apps/v1/namespaces/default/daemonsets",
            spec(&json!({"selector": selector, "template": template()})),
            "/metadata/annotations/deprecated.daemonset.template.generation",
            json!("1"),
        ),
        (
            "/apis/apps/v1/namespaces/default/statefulsets",
            spec(
                &json!({"serviceName": "x", "selector": selector, "template": template(), "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": claim}]}),
            ),
            "/spec/volumeClaimTemplates/0/kind",
            json!("PersistentVolumeClaim"),
        ),
        (
            "/apis/batch/v1/namespaces/default/cronjobs",
            spec(&json!({"schedule": "*/5 * * * *", "jobTemplate": {"spec": {"template": job}}})),
            "/spec/concurrencyPolicy",
            json!("Allow"),
        ),
        (
            "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers",
            spec(&json!({"maxReplicas": 3, "scaleTargetRef": {"kind": "Deployment", "name": "x"}})),
            "/spec/metrics/0/resource/target/averageUtilization",
            json!(80),
        ),
        (
            "/apis/policy/v1/namespaces/default/poddisruptionbudgets",
            spec(&json!({"minAvailable": 1, "selector": selector})),
            "/status/disruptionsAllowed",
            json!(0),
        ),
        (
            "/apis/networking.k8s.io/v1/namespaces/default/ingresses",
            spec(
                &json!({"rules": [{"host": "a.example.com", "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": {"service": {"name": "x", "port": {"number": 80}}}}]}}]}),
            ),
            "/metadata/generation",
            json!(1),
        ),
        (
            "/apis/networking.k8s.io/v1/ingressclasses",
            spec(&json!({"controller": "example.com/c", "parameters": {"kind": "K", "name": "n"}})),
            "/spec/parameters/scope",
            json!("Cluster"),
        ),
        (
            "/apis/networking.k8s.io/v1/namespaces/default/networkpolicies",
            spec(&json!({"podSelector": {}, "egress": [{"ports": [{"port": 80}]}]})),
            "/spec/policyTypes",
            json!(["Ingress", "Egress"]),
        ),
        (
            "/apis/networking.k8s.io/v1/ipaddresses",
            json!({"metadata": {"name": "10.96.0.9"}, "spec": {"parentRef": {"resource": "services", "namespace": "a", "name": "b"}}}),
            "/spec/parentRef/name",
            json!("b"),
        ),
        (
            "/apis/networking.k8s.io/v1/servicecidrs",
            spec(&json!({"cidrs": ["10.5.0.0/16"]})),
            "/spec/cidrs/0",
            json!("10.5.0.0/16"),
        ),
        (
            "/apis/storage.k8s.io/v1/storageclasses",
            json!({"metadata": {"name": "x"}, "provisioner": "example.com/p"}),
            "/volumeBindingMode",
            json!("Immediate"),
        ),
        (
            "/apis/storage.k8s.io/v1/volumeattributesclasses",
            json!({"metadata": {"name": "x"}, "driverName": "d.example.com", "parameters": {"a": "b"}}),
            "/parameters/a",
            json!("b"),
        ),
        (
            "/apis/storage.k8s.io/v1/csidrivers",
            spec(&json!({})),
            "/spec/attachRequired",
            json!(true),
        ),
        (
            "/apis/storage.k8s.io/v1/csinodes",
            spec(&json!({"drivers": [{"name": "d.example.com", "nodeID": "n"}]})),
            "/spec/drivers/0/nodeID",
            json!("n"),
        ),
        (
            "/apis/storage.k8s.io/v1/namespaces/default/csistoragecapacities",
            json!({"metadata": {"name": "x"}, "storageClassName": "fast", "capacity": "1Gi"}),
            "/capacity",
            json!("1Gi"),
        ),
        (
            "/apis/storage.k8s.io/v1/volumeattachments",
            spec(
                &json!({"attacher": "d.example.com", "nodeName": "n", "source": {"persistentVolumeName": "v"}}),
            ),
            "/status/attached",
            json!(false),
        ),
        (
            "/apis/node.k8s.io/v1/runtimeclasses",
            json!({"metadata": {"name": "x"}, "handler": "runc"}),
            "/handler",
            json!("runc"),
        ),
        (
            "/apis/scheduling.k8s.io/v1/priorityclasses",
            json!({"metadata": {"name": "x"}, "value": 7}),
            "/preemptionPolicy",
            json!("PreemptLowerPriority"),
        ),
        (
            "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations",
            json!({"metadata": {"name": "x"}, "webhooks": [hook]}),
            "/webhooks/0/timeoutSeconds",
            json!(10),
        ),
        (
            "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations",
            json!({"metadata": {"name": "x"}, "webhooks": [hook]}),
            "/webhooks/0/reinvocationPolicy",
            json!("Never"),
        ),
        (
            "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies",
            spec(&judging),
            "/spec/failurePolicy",
            json!("Fail"),
        ),
        (
            "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings",
            spec(&json!({"policyName": "x", "validationActions": ["Deny"]})),
            "/metadata/generation",
            json!(1),
        ),
        (
            "/apis/admissionregistration.k8s.io/v1/mutatingadmissionpolicies",
            spec(&changing),
            "/spec/matchConstraints/matchPolicy",
            json!("Equivalent"),
        ),
        (
            "/apis/admissionregistration.k8s.io/v1/mutatingadmissionpolicybindings",
            spec(&json!({"policyName": "x"})),
            "/spec/policyName",
            json!("x"),
        ),
    ]
}

#[tokio::test]
async fn every_kind_is_taken_filled_in_shown_and_changed() {
    let server = Server::start().await;
    for (collection, object, field, filled) in valid() {
        let dry = server
            .post(&format!("{collection}?dryRun=All"), &object)
            .await;
        assert_eq!(dry.code, 201, "{collection}: {:?}", dry.bytes);
        let made = server.post(collection, &object).await;
        assert_eq!(made.code, 201, "{collection}: {:?}", made.bytes);
        let made = made.json();
        assert_eq!(made.pointer(field), Some(&filled), "{collection}{field}");
        let name = made["metadata"]["name"].as_str().unwrap();
        let one = format!("{collection}/{name}");
        let mut ask = request(Method::GET, &one, "", "");
        let accept = ask.headers_mut();
        accept.insert("accept", TABLE.parse().unwrap());
        let table = server.ask(ask).await.json();
        let columns = table["columnDefinitions"].as_array().unwrap().len();
        let cells = table["rows"][0]["cells"].as_array().unwrap();
        assert_eq!(cells.len(), columns, "{collection}");
        assert_eq!(cells[0], name, "{collection}");
        // The server itself may write a status meanwhile: then the object is read again.
        let mut attempts = 0;
        let (before, same) = loop {
            let before = server.get(&one).await.json();
            let same = server.put(&one, &before).await;
            attempts += 1;
            if same.code != 409 || attempts == 20 {
                break (before, same);
            }
        };
        assert_eq!(same.code, 200, "{collection}: {:?}", same.bytes);
        assert_eq!(
            same.json()["metadata"]["resourceVersion"],
            before["metadata"]["resourceVersion"],
            "{collection}: nothing was changed"
        );
        let proto = "application/vnd.kubernetes.protobuf";
        let mut ask = request(Method::GET, &one, "", "");
        ask.headers_mut().insert("accept", proto.parse().unwrap());
        assert_eq!(server.ask(ask).await.code, 200, "{collection} as protobuf");
        assert_eq!(server.delete(&one).await.code, 200, "{collection}");
    }
}

#[tokio::test]
async fn what_is_wrong_is_refused_with_the_words_users_know() {
    let server = Server::start().await;
    let of = |collection: &str| {
        let found = valid().into_iter().find(|row| row.0.ends_with(collection));
        let row = found.unwrap_or_else(|| panic!("{collection}"));
        (row.0, row.1)
    };
    let cases = [
        (
            "/daemonsets",
            "/spec/template/metadata/labels",
            json!({"app": "x", "bad key": "y"}),
            "spec.template.labels: Invalid value: \"bad key\"",
        ),
        (
            "/persistentvolumeclaims",
            "/spec/accessModes",
            json!([]),
            "spec.accessModes: Required value: at least 1 access mode is required",
        ),
        (
            "/persistentvolumes",
            "/spec/capacity",
            json!({"cpu": "1"}),
            "spec.capacity: Unsupported value: ",
        ),
        (
            "/persistentvolumes",
            "/spec/accessModes",
            json!(["ReadWriteOncePod", "ReadOnlyMany"]),
            "spec.accessModes: Forbidden: may not use ReadWriteOncePod with other access modes",
        ),
        (
            "/limitranges",
            "/spec/limits/0/min",
            json!({"cpu": "2"}),
            "min value 2 is greater than max value 1",
        ),
        (
            "/resourcequotas",
            "/spec/hard",
            json!({"apples": "1"}),
            "must be a standard resource for quota",
        ),
        (
            "/replicationcontrollers",
            "/spec/selector",
            json!({"a": "b"}),
            "`selector` does not match template `labels`",
        ),
        (
            "/daemonsets",
            "/spec/updateStrategy",
            json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0}}),
            "spec.updateStrategy.rollingUpdate.maxUnavailable: Required value: cannot be 0 when maxSurge is 0",
        ),
        (
            "/statefulsets",
            "/spec/podManagementPolicy",
            json!("Never"),
            "must be 'OrderedReady' or 'Parallel'",
        ),
        (
            "/cronjobs",
            "/spec/schedule",
            json!("* * *"),
            "spec.schedule: Invalid value: \"* * *\": expected exactly 5 fields, found 3: [* * *]",
        ),
        (
            "/cronjobs",
            "/spec/timeZone",
            json!("Nowhere/City"),
            "unknown time zone Nowhere/City",
        ),
        (
            "/horizontalpodautoscalers",
            "/spec/minReplicas",
            json!(9),
            "must be greater than or equal to `minReplicas`",
        ),
        (
            "/poddisruptionbudgets",
            "/spec/maxUnavailable",
            json!("20%"),
            "minAvailable and maxUnavailable cannot be both set",
        ),
        (
            "/ingresses",
            "/spec/rules/0/http/paths/0/path",
            json!("a"),
            "must be an absolute path",
        ),
        (
            "/ingresses",
            "/spec/rules/0/host",
            json!("1.2.3.4"),
            "must be a DNS name, not an IP address",
        ),
        (
            "/networkpolicies",
            "/spec/egress",
            json!([{"to": [{}]}]),
            "spec.egress[0].to[0]: Required value: must specify a peer",
        ),
        (
            "/ipaddresses",
            "/metadata/name",
            json!("10.96.0.09"),
            "metadata.name",
        ),
        (
            "/servicecidrs",
            "/spec/cidrs",
            json!(["10.0.0.1/8"]),
            "must be in canonical form",
        ),
        (
            "/storageclasses",
            "/reclaimPolicy",
            json!("Keep"),
            "supported values: \"Delete\", \"Retain\"",
        ),
        (
            "/csidrivers",
            "/spec/fsGroupPolicy",
            json!("x"),
            "spec.fsGroupPolicy: Unsupported value: \"x\"",
        ),
        (
            "/volumeattachments",
            "/spec/source",
            json!({}),
            "must specify exactly one of inlineVolumeSpec and persistentVolumeName",
        ),
        (
            "/priorityclasses",
            "/value",
            json!(2_000_000_000),
            "maximum allowed value of a user defined priority is 1000000000",
        ),
        (
            "/validatingwebhookconfigurations",
            "/webhooks/0/name",
            json!("a"),
            "should be a domain with at least three segments separated by dots",
        ),
        (
            "/validatingadmissionpolicies",
            "/spec/validations",
            json!([]),
            "validations or auditAnnotations must contain at least one item",
        ),
        (
            "/validatingadmissionpolicybindings",
            "/spec/validationActions",
            json!(["Deny", "Warn"]),
            "must not contain both Deny and Warn",
        ),
        (
            "/mutatingadmissionpolicies",
            "/spec/mutations",
            json!([]),
            "mutations must contain at least one item",
        ),
    ];
    for (collection, field, value, words) in cases {
        let (path, mut object) = of(collection);
        let (parent, leaf) = field.rsplit_once('/').unwrap();
        object.pointer_mut(parent).unwrap()[leaf] = value;
        let answer = server.post(path, &object).await;
        let message = answer.json()["message"].as_str().unwrap().to_owned();
        assert_eq!(answer.code, 422, "{path}{field}: {message}");
        assert!(message.contains(words), "{path}{field}: {message}");
    }
}

#[tokio::test]
async fn services_get_the_address_families_that_the_network_has() {
    let server = Server::start().await;
    let services = "/api/v1/namespaces/default/services";
    let made = async |name: &str, mut spec: Value| {
        spec["ports"] = json!([{"port": 80}]);
        let object = json!({"metadata": {"name": name}, "spec": spec});
        server.post(services, &object).await
    };
    for (spec, told) in [
        (
            json!({"ipFamilyPolicy": "RequireDualStack"}),
            "spec.ipFamilyPolicy: Invalid value: \"RequireDualStack\": this cluster is not configured for dual-stack services",
        ),
        (
            json!({"ipFamilies": ["IPv6"]}),
            "spec.ipFamilies[0]: Invalid value: \"IPv6\": not configured on this cluster",
        ),
        (
            json!({"ipFamilies": ["IPv4", "IPv6"]}),
            "spec.ipFamilyPolicy: Invalid value: \"SingleStack\": must be RequireDualStack or PreferDualStack when multiple ipFamilies are specified",
        ),
        (
            json!({"clusterIP": "2001:db8::1"}),
            "spec.clusterIPs[0]: Invalid value: [\"2001:db8::1\"]: IPv6 is not configured on this cluster",
        ),
    ] {
        let answer = made("x", spec).await;
        let message = answer.json()["message"].as_str().unwrap().to_owned();
        assert_eq!(answer.code, 422, "{message}");
        assert!(message.contains(told), "{message}");
    }
    let prefers = json!({"ipFamilyPolicy": "PreferDualStack"});
    let one = made("one", prefers.clone()).await.json();
    assert_eq!(one["spec"]["ipFamilies"], json!(["IPv4"]));
    let mut free = prefers;
    free["clusterIP"] = json!("None");
    let free = made("free", free).await.json();
    assert_eq!(free["spec"]["ipFamilies"], json!(["IPv4", "IPv6"]));
}

#[tokio::test]
async fn fields_that_must_stay_stay() {
    let server = Server::start().await;
    let cases = [
        (
            "/storageclasses",
            "provisioner",
            json!("other.example.com/p"),
            "updates to provisioner are forbidden.",
        ),
        (
            "/priorityclasses",
            "value",
            json!(8),
            "may not be changed in an update.",
        ),
        (
            "/runtimeclasses",
            "handler",
            json!("other"),
            "field is immutable",
        ),
        (
            "/statefulsets",
            "spec",
            json!({"serviceName": "other"}),
            "updates to statefulset spec for fields other than",
        ),
        (
            "/persistentvolumeclaims",
            "spec",
            json!({"accessModes": ["ReadWriteMany"]}),
            "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims",
        ),
        (
            "/persistentvolumes",
            "spec",
            json!({"hostPath": {"path": "/y"}}),
            "spec.persistentvolumesource is immutable after creation",
        ),
        (
            "/ipaddresses",
            "spec",
            json!({"parentRef": {"name": "c"}}),
            "field is immutable",
        ),
    ];
    for (collection, field, value, words) in cases {
        let row = valid().into_iter().find(|row| row.0.ends_with(collection));
        let (path, object, ..) = row.unwrap();
        let made = server.post(path, &object).await.json();
        let one = format!("{path}/{}", made["metadata"]["name"].as_str().unwrap());
        let change = json!({ field: value });
        let answer = server
            .patch(&one, "application/merge-patch+json", &change)
            .await;
        let message = answer.json()["message"].as_str().unwrap().to_owned();
        assert_eq!(answer.code, 422, "{one}: {message}");
        assert!(message.contains(words), "{one}: {message}");
    }
    let refused = server
        .delete("/apis/scheduling.k8s.io/v1/priorityclasses/system-node-critical")
        .await;
    assert_eq!(refused.code, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn an_autoscaler_is_one_object_in_both_of_its_versions() {
    let server = Server::start().await;
    let group = |version: &str| {
        format!("/apis/autoscaling/{version}/namespaces/default/horizontalpodautoscalers")
    };
    let old = spec(
        &json!({"maxReplicas": 4, "targetCPUUtilizationPercentage": 60,
        "scaleTargetRef": {"kind": "Deployment", "name": "x"}}),
    );
    assert_eq!(server.post(&group("v1"), &old).await.code, 201);
    let new = server.get(&format!("{}/x", group("v2"))).await.json();
    let target = &new["spec"]["metrics"][0]["resource"]["target"];
    assert_eq!(target["averageUtilization"], 60);
    let metric = json!([{"type": "Pods", "pods": {"metric": {"name": "rate"},
        "target": {"type": "AverageValue", "averageValue": "5"}}}]);
    server
        .patch(
            &format!("{}/x", group("v2")),
            "application/merge-patch+json",
            &json!({"spec": {"metrics": metric}}),
        )
        .await;
    let old = server.get(&format!("{}/x", group("v1"))).await.json();
    let note = "autoscaling.alpha.kubernetes.io/metrics";
    assert!(
        old["metadata"]["annotations"][note]
            .as_str()
            .unwrap()
            .contains("\"metricName\":\"rate\"")
    );
    assert_eq!(
        server.put(&format!("{}/x", group("v1")), &old).await.code,
        200
    );
    let new = server.get(&format!("{}/x", group("v2"))).await.json();
    assert_eq!(new["spec"]["metrics"], metric, "nothing is lost on the way");
    assert!(new["metadata"].get("annotations").is_none());
}

#[tokio::test]
async fn a_disruption_budget_holds_back_evictions_and_is_spent_by_them() {
    let server = Server::start().await;
    let pods = "/api/v1/namespaces/default/pods";
    let budgets = "/apis/policy/v1/namespaces/default/poddisruptionbudgets";
    server.post(pods, &pod("a")).await;
    let ready = json!({"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}});
    let merge = "application/merge-patch+json";
    server
        .patch(&format!("{pods}/a/status"), merge, &ready)
        .await;
    let budget = spec(&json!({"minAvailable": 1, "selector": {"matchLabels": {"app": "a"}}}));
    server.post(budgets, &budget).await;
    let eviction =
        json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "a"}});
    let held = server.post(&format!("{pods}/a/eviction"), &eviction).await;
    assert_eq!(held.code, 429);
    let told = held.json();
    assert_eq!(
        told["message"],
        "Cannot evict pod as it would violate the pod's disruption budget."
    );
    assert_eq!(told["details"]["causes"][0]["reason"], "DisruptionBudget");
    let status = |allowed: i64| {
        json!({"status": {"observedGeneration": 1, "disruptionsAllowed": allowed,
        "currentHealthy": 1, "desiredHealthy": 1, "expectedPods": 1}})
    };
    let one = format!("{budgets}/x/status");
    server.patch(&one, merge, &status(0)).await;
    let held = server.post(&format!("{pods}/a/eviction"), &eviction).await;
    assert_eq!(
        held.json()["details"]["causes"][0]["message"],
        "The disruption budget x needs 1 healthy pods and has 1 currently"
    );
    server.patch(&one, merge, &status(1)).await;
    let gone = server.post(&format!("{pods}/a/eviction"), &eviction).await;
    assert_eq!(gone.code, 201, "{:?}", gone.bytes);
    let spent = server.get(&format!("{budgets}/x")).await.json();
    assert_eq!(spent["status"]["disruptionsAllowed"], 0);
    assert!(spent["status"]["disruptedPods"]["a"].is_string());
    assert_eq!(server.get(&format!("{pods}/a")).await.code, 404);
}

#[tokio::test]
async fn the_proxy_says_why_nothing_is_behind_it() {
    let server = Server::start().await;
    let pods = "/api/v1/namespaces/default/pods";
    let services = "/api/v1/namespaces/default/services";
    server.post(pods, &pod("a")).await;
    let service = spec(&json!({"selector": {"app": "a"}, "ports": [{"port": 80}]}));
    server.post(services, &service).await;
    let moved = server.get(&format!("{pods}/a/proxy?x=1")).await;
    assert_eq!(moved.code, StatusCode::MOVED_PERMANENTLY);
    assert_eq!(moved.headers["location"], format!("{pods}/a/proxy/?x=1"));
    let answer = server.get(&format!("{pods}/a:80/proxy/")).await;
    assert_eq!(answer.json()["message"], "address not allowed");
    let answer = server.get(&format!("{services}/x/proxy/")).await;
    assert_eq!(answer.code, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(
        answer.json()["message"],
        "no endpoints available for service \"x\""
    );
    let answer = server.get(&format!("{services}/x:81/proxy/")).await;
    assert_eq!(
        answer.json()["message"],
        "no service port 81 found for service \"x\""
    );
    let bob = User::new("bob", Vec::<String>::new());
    let denied = server.get_as(&format!("{pods}/a/proxy/"), bob).await;
    assert_eq!(denied.code, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn a_pods_fields_change_only_where_upstream_lets_them() {
    let server = Server::start().await;
    let pods = "/api/v1/namespaces/default/pods";
    let merge = "application/strategic-merge-patch+json";
    let mut one = pod("a");
    one["spec"]["containers"][0]["resources"] =
        json!({"requests": {"cpu": "100m"}, "limits": {"cpu": "200m"}});
    server.post(pods, &one).await;
    let resize = json!({"spec": {"containers": [{"name": "main", "image": "other",
        "resources": {"requests": {"cpu": "150m"}}}]}});
    let path = format!("{pods}/a");
    let refused = server
        .patch(&path, merge, &json!({"spec": {"hostname": "b"}}))
        .await;
    assert!(
        refused.json()["message"]
            .as_str()
            .unwrap()
            .contains("pod updates may not change fields other than")
    );
    let resized = server
        .patch(&format!("{path}/resize"), merge, &resize)
        .await;
    assert_eq!(resized.code, 200, "{:?}", resized.bytes);
    let container = &resized.json()["spec"]["containers"][0];
    assert_eq!(container["resources"]["requests"]["cpu"], "150m");
    assert_eq!(container["image"], "nginx:1", "only resources are taken");
    let away = json!({"spec": {"containers": [{"name": "main", "resources": {"requests": null, "limits": null}}]}});
    let refused = server.patch(&format!("{path}/resize"), merge, &away).await;
    assert_eq!(refused.code, 422, "{:?}", refused.bytes);
}
