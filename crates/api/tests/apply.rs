//! Server-side apply and managed fields over HTTP, in process.
#![allow(missing_docs, clippy::needless_pass_by_value)] // literals are made where they are passed

mod support;

use http::Method;
use serde_json::{Value, json};
use support::{Answer, Server, config_map, deployment, pod, request};

const APPLY: &str = "application/apply-patch+yaml";
const MERGE: &str = "application/merge-patch+json";

async fn apply(server: &Server, path: &str, options: &str, value: &Value) -> Answer {
    server
        .patch(&format!("{path}?{options}"), APPLY, value)
        .await
}

/// Manager, operation and subresource of each entry, and its fields.
fn entries(object: &Value) -> Vec<(String, Value)> {
    let list = object["metadata"]["managedFields"].as_array();
    list.into_iter()
        .flatten()
        .map(|entry| {
            let text = |name: &str| entry[name].as_str().unwrap_or_default();
            let title = format!(
                "{} {} {}",
                text("manager"),
                text("operation"),
                text("subresource")
            );
            (title.trim_end().to_owned(), entry["fieldsV1"].clone())
        })
        .collect()
}

#[allow(clippy::needless_pass_by_value)] // reads better at its calls
fn named(kind: &str, version: &str, name: &str, rest: Value) -> Value {
    let mut object = json!({"apiVersion": version, "kind": kind, "metadata": {"name": name}});
    for (key, value) in rest.as_object().unwrap() {
        object[key] = value.clone();
    }
    object
}

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const MAP: &str = "/api/v1/namespaces/default/configmaps/m";
const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";

#[tokio::test]
async fn every_write_has_a_manager() {
    let server = Server::start().await;
    let ask = |method, path: &str, media: &str, body: &Value| {
        let mut request = request(method, path, media, body.to_string());
        let agent = "tool/1.0 (linux)".parse().unwrap();
        request.headers_mut().insert("user-agent", agent);
        request
    };
    let map = config_map("m", "1");
    let made = server
        .ask(ask(Method::POST, MAPS, "application/json", &map))
        .await
        .json();
    assert_eq!(
        entries(&made),
        [(
            "tool Update".into(),
            json!({"f:data": {".": {}, "f:key": {}}})
        )]
    );
    let put = server
        .ask(ask(
            Method::PUT,
            &format!("{MAP}?fieldManager=zebra"),
            "application/json",
            &config_map("m", "2"),
        ))
        .await
        .json();
    assert_eq!(
        entries(&put),
        [
            ("tool Update".to_owned(), json!({"f:data": {}})),
            ("zebra Update".to_owned(), json!({"f:data": {"f:key": {}}}))
        ]
    );
    let patched = server
        .ask(ask(
            Method::PATCH,
            MAP,
            MERGE,
            &json!({"metadata": {"labels": {"a": "b"}}}),
        ))
        .await
        .json();
    let tool = entries(&patched)
        .into_iter()
        .find(|(title, _)| title == "tool Update")
        .unwrap();
    assert_eq!(
        tool.1,
        json!({"f:data": {}, "f:metadata": {"f:labels": {".": {}, "f:a": {}}}})
    );

    let anonymous = server.post(MAPS, &config_map("n", "1")).await.json();
    assert_eq!(entries(&anonymous)[0].0, "unknown Update");
    server
        .post("/api/v1/namespaces/default/pods", &pod("p"))
        .await;
    let path = "/api/v1/namespaces/default/pods/p/status?fieldManager=agent";
    let status = server.patch(path, MERGE, &json!({"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}})).await.json();
    let (_, fields) = entries(&status)
        .into_iter()
        .find(|(title, _)| title == "agent Update status")
        .expect("an entry of the status");
    assert_eq!(fields["f:status"]["f:phase"], json!({}));
    assert_eq!(
        fields["f:status"]["f:conditions"]["k:{\"type\":\"Ready\"}"]["."],
        json!({})
    );
}

#[tokio::test]
async fn defaults_belong_to_the_creator_and_what_the_server_sets_to_nobody() {
    let server = Server::start().await;
    let made = server
        .post(
            &format!("{DEPLOYMENTS}?fieldManager=me"),
            &deployment("web"),
        )
        .await
        .json();
    let (_, fields) = &entries(&made)[0];
    let spec = &fields["f:spec"];
    assert_eq!(spec["f:replicas"], json!({}));
    assert!(
        spec.get(".").is_none(),
        "the spec is always there: {fields}"
    );
    assert_eq!(
        spec["f:strategy"]["f:rollingUpdate"],
        json!({".": {}, "f:maxSurge": {}, "f:maxUnavailable": {}})
    );
    assert_eq!(spec["f:selector"], json!({}));
    let container = &spec["f:template"]["f:spec"]["f:containers"]["k:{\"name\":\"main\"}"];
    assert_eq!(container["f:imagePullPolicy"], json!({}));
    assert!(fields.get("f:metadata").is_none(), "{fields}");
}

#[tokio::test]
async fn apply_creates_merges_removes_and_refuses() {
    let server = Server::start().await;
    let map = |data: Value| named("ConfigMap", "v1", "m", json!({"data": data}));
    let made = apply(
        &server,
        MAP,
        "fieldManager=a",
        &map(json!({"x": "1", "y": "1"})),
    )
    .await;
    assert_eq!(made.code, 201);
    assert_eq!(
        entries(&made.json()),
        [("a Apply".into(), json!({"f:data": {"f:x": {}, "f:y": {}}}))]
    );
    let again = apply(
        &server,
        MAP,
        "fieldManager=a",
        &map(json!({"x": "1", "y": "1"})),
    )
    .await;
    assert_eq!(
        (again.code.as_u16(), again.json()),
        (200, made.json()),
        "not even the revision changed"
    );

    let other = apply(&server, MAP, "fieldManager=b", &map(json!({"x": "2"}))).await;
    assert_eq!(other.code, 409);
    let status = other.json();
    assert_eq!(
        status["message"],
        "Apply failed with 1 conflict: conflict with \"a\": .data.x"
    );
    assert_eq!(
        status["details"]["causes"],
        json!([{"reason": "FieldManagerConflict", "message": "conflict with \"a\"", "field": ".data.x"}])
    );
    let dry = apply(
        &server,
        MAP,
        "fieldManager=b&force=true&dryRun=All",
        &map(json!({"x": "2"})),
    )
    .await;
    assert_eq!(
        (dry.code.as_u16(), &dry.json()["data"]),
        (200, &json!({"x": "2", "y": "1"}))
    );
    assert_eq!(
        server.get(MAP).await.json(),
        made.json(),
        "a dry run stores nothing"
    );
    let forced = apply(
        &server,
        MAP,
        "fieldManager=b&force=true",
        &map(json!({"x": "2"})),
    )
    .await
    .json();
    assert_eq!(forced["data"], json!({"x": "2", "y": "1"}));
    let removed = apply(&server, MAP, "fieldManager=a", &map(json!({})))
        .await
        .json();
    assert_eq!(
        removed["data"],
        json!({"x": "2"}),
        "only what nobody else owns goes"
    );
}

#[tokio::test]
async fn an_apply_that_makes_no_sense_is_refused() {
    let server = Server::start().await;
    let map = named("ConfigMap", "v1", "m", json!({"data": {"x": "1"}}));
    let refused = apply(&server, MAP, "", &map).await;
    assert_eq!(refused.code, 422);
    assert_eq!(
        refused.json()["message"],
        "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch"
    );
    let forced = server
        .patch(&format!("{MAP}?force=true"), MERGE, &json!({}))
        .await;
    assert_eq!(
        forced.json()["message"],
        "PatchOptions.meta.k8s.io \"\" is invalid: force: Forbidden: may not be specified for non-apply patch"
    );
    let long = apply(
        &server,
        MAP,
        &format!("fieldManager={}", "m".repeat(129)),
        &map,
    )
    .await;
    assert_eq!(
        long.json()["message"],
        "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Too long: may not be more than 128 bytes"
    );

    let code = |options: &'static str, value: Value| {
        let server = &server;
        async move {
            let answer = apply(server, MAP, options, &value).await;
            (
                answer.code.as_u16(),
                answer.json()["message"]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned(),
            )
        }
    };
    let with = |key: &str, value: Value| {
        let mut map = map.clone();
        map["metadata"][key] = value;
        map
    };
    assert_eq!(
        code("fieldManager=a", with("managedFields", json!([]))).await,
        (400, "metadata.managedFields must be nil".into())
    );
    let (status, why) = code("fieldManager=a", with("uid", json!("u"))).await;
    assert!(status == 409 && why.contains("uid mismatch: the provided object specified uid u, and no existing object was found"), "{why}");
    let (status, why) = code("fieldManager=a", with("name", json!("other"))).await;
    assert!(
        status == 400 && why.contains("does not match the name on the URL"),
        "{why}"
    );
    assert_eq!(
        code("fieldManager=a", named("Secret", "v1", "m", json!({}))).await,
        (400, "invalid object type: /v1, Kind=Secret".into())
    );
    assert_eq!(
        code("fieldManager=a", named("ConfigMap", "v1", "m", json!({"nonsense": 1}))).await,
        (500, "failed to create typed patch object (/m; /v1, Kind=ConfigMap): .nonsense: field not declared in schema".into())
    );
    let made = apply(&server, MAP, "fieldManager=a", &map).await.json();
    let (status, why) = code("fieldManager=a", with("resourceVersion", json!("1"))).await;
    assert!(
        status == 409 && why.contains("the object has been modified"),
        "{why}"
    );
    let exact = apply(
        &server,
        MAP,
        "fieldManager=a",
        &with(
            "resourceVersion",
            made["metadata"]["resourceVersion"].clone(),
        ),
    )
    .await;
    assert_eq!(exact.code, 200);
    let (status, why) = code("fieldManager=a", with("uid", json!("u"))).await;
    assert!(
        status == 409 && why.contains("Precondition failed: UID in precondition: u"),
        "{why}"
    );

    let twice = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: m}\ndata:\n  x: '1'\n  x: '2'\n";
    let send = |options: &str| {
        request(
            Method::PATCH,
            &format!("{MAP}?fieldManager=a{options}"),
            APPLY,
            twice,
        )
    };
    assert_eq!(server.ask(send("&fieldValidation=Strict")).await.code, 400);
    let warned = server.ask(send("")).await;
    assert!(warned.headers.contains_key("warning"));
    assert_eq!(warned.json()["data"]["x"], "2", "the last holds");
    let quiet = server.ask(send("&fieldValidation=Ignore")).await;
    assert!(!quiet.headers.contains_key("warning"));
    let cbor = server
        .patch(
            &format!("{MAP}?fieldManager=a"),
            "application/apply-patch+cbor",
            &map,
        )
        .await;
    assert_eq!(cbor.code, 415);
}

#[tokio::test]
async fn the_status_is_applied_through_its_subresource_alone() {
    let server = Server::start().await;
    server
        .post(
            &format!("{DEPLOYMENTS}?fieldManager=me"),
            &deployment("web"),
        )
        .await;
    let path = format!("{DEPLOYMENTS}/web");
    let both = named(
        "Deployment",
        "apps/v1",
        "web",
        json!({"spec": {"paused": true}, "status": {"observedGeneration": 7}}),
    );
    let main = apply(&server, &path, "fieldManager=a", &both).await.json();
    assert_eq!(
        (
            &main["spec"]["paused"],
            &main["status"]["observedGeneration"]
        ),
        (&json!(true), &Value::Null)
    );
    let own = |object: &Value, title: &str| {
        entries(object)
            .into_iter()
            .find(|(own, _)| own == title)
            .map(|(_, fields)| fields)
    };
    assert_eq!(
        own(&main, "a Apply"),
        Some(json!({"f:spec": {"f:paused": {}}}))
    );
    let status = apply(
        &server,
        &format!("{path}/status"),
        "fieldManager=a",
        &named(
            "Deployment",
            "apps/v1",
            "web",
            json!({"spec": {"paused": false}, "status": {"observedGeneration": 7}}),
        ),
    )
    .await
    .json();
    assert_eq!(
        (
            &status["spec"]["paused"],
            &status["status"]["observedGeneration"]
        ),
        (&json!(true), &json!(7))
    );
    assert_eq!(
        own(&status, "a Apply status"),
        Some(json!({"f:status": {"f:observedGeneration": {}}}))
    );
    assert_eq!(
        own(&status, "a Apply"),
        Some(json!({"f:spec": {"f:paused": {}}})),
        "it is another owner"
    );
    let absent = apply(
        &server,
        &format!("{DEPLOYMENTS}/none/status"),
        "fieldManager=a",
        &named("Deployment", "apps/v1", "none", json!({})),
    )
    .await;
    assert_eq!(absent.code, 404);
}

#[tokio::test]
async fn the_scale_owns_the_replicas_of_its_object() {
    let server = Server::start().await;
    let path = format!("{DEPLOYMENTS}/web");
    let mut web = deployment("web");
    web["apiVersion"] = "apps/v1".into();
    web["kind"] = "Deployment".into();
    web["spec"]["replicas"] = 1.into();
    assert_eq!(
        apply(&server, &path, "fieldManager=a", &web).await.code,
        201
    );
    let scale = |replicas: i64| {
        named(
            "Scale",
            "autoscaling/v1",
            "web",
            json!({"spec": {"replicas": replicas}}),
        )
    };
    let scaled = format!("{path}/scale");
    let refused = apply(&server, &scaled, "fieldManager=hpa", &scale(3)).await;
    assert_eq!(
        (refused.code.as_u16(), &refused.json()["message"]),
        (
            409,
            &json!("Apply failed with 1 conflict: conflict with \"a\": .spec.replicas")
        )
    );
    let forced = apply(&server, &scaled, "fieldManager=hpa&force=true", &scale(3)).await;
    assert_eq!(
        (forced.code.as_u16(), &forced.json()["spec"]["replicas"]),
        (200, &json!(3))
    );
    let object = server.get(&path).await.json();
    let (_, fields) = entries(&object)
        .into_iter()
        .find(|(title, _)| title == "hpa Apply scale")
        .expect("its entry");
    assert_eq!(fields, json!({"f:spec": {"f:replicas": {}}}));
    let conflict = apply(&server, &path, "fieldManager=a", &web).await.json();
    assert_eq!(
        conflict["message"],
        "Apply failed with 1 conflict: conflict with \"hpa\" with subresource \"scale\": .spec.replicas"
    );
    web["spec"]
        .as_object_mut()
        .unwrap()
        .shift_remove("replicas");
    let given = apply(&server, &path, "fieldManager=a", &web).await.json();
    assert_eq!(given["spec"]["replicas"], 3);
}

#[tokio::test]
async fn managed_fields_can_be_forgotten_and_what_changes_nothing_is_not_written() {
    let server = Server::start().await;
    let made = server
        .post(&format!("{MAPS}?fieldManager=a"), &config_map("m", "1"))
        .await
        .json();
    let same = server
        .put(&format!("{MAP}?fieldManager=b"), &config_map("m", "1"))
        .await
        .json();
    assert_eq!(same, made, "who changes nothing owns nothing");
    for reset in [json!([{}]), json!([])] {
        server
            .patch(
                &format!("{MAP}?fieldManager=a"),
                MERGE,
                &json!({"data": {"key": reset.to_string()}}),
            )
            .await;
        let forgotten = server
            .patch(
                &format!("{MAP}?fieldManager=b"),
                MERGE,
                &json!({"metadata": {"managedFields": reset}}),
            )
            .await
            .json();
        assert!(
            forgotten["metadata"].get("managedFields").is_none(),
            "{forgotten}"
        );
    }
    let first = apply(
        &server,
        MAP,
        "fieldManager=a",
        &named("ConfigMap", "v1", "m", json!({"data": {"other": "1"}})),
    )
    .await
    .json();
    let titles: Vec<_> = entries(&first)
        .into_iter()
        .map(|(title, _)| title)
        .collect();
    assert_eq!(titles, ["a Apply", "before-first-apply Update"]);
}

#[tokio::test]
async fn one_stored_object_is_owned_in_the_version_each_manager_speaks() {
    let server = Server::start().await;
    let event = json!({"metadata": {"name": "e", "namespace": "default"}, "regarding": {"kind": "Pod", "name": "p", "namespace": "default"},
        "reason": "R", "note": "n", "type": "Normal", "action": "A", "eventTime": "2024-01-01T00:00:00.000000Z",
        "reportingController": "c", "reportingInstance": "i"});
    let made = server
        .post(
            "/apis/events.k8s.io/v1/namespaces/default/events?fieldManager=new",
            &event,
        )
        .await;
    assert_eq!(made.code, 201, "{:?}", made.json());
    let old = "/api/v1/namespaces/default/events/e";
    let conflict = apply(&server, old, "fieldManager=old", &named("Event", "v1", "e", json!({"message": "m", "involvedObject": {"name": "p", "namespace": "default", "kind": "Pod"}}))).await;
    assert_eq!(
        conflict.json()["message"],
        "Apply failed with 1 conflict: conflict with \"new\" using events.k8s.io/v1: .note"
    );
}

#[tokio::test]
async fn custom_resources_merge_by_their_schema_and_in_each_version() {
    let server = Server::start().await;
    let schema = json!({"openAPIV3Schema": {"type": "object", "properties": {"spec": {"type": "object", "properties": {
        "size": {"type": "integer"},
        "mode": {"type": "string", "default": "fast"},
        "parts": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
            "items": {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}, "value": {"type": "string"}}}},
        "tags": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
        "whole": {"type": "object", "x-kubernetes-map-type": "atomic", "additionalProperties": {"type": "string"}},
        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}},
        "status": {"type": "object", "properties": {"ready": {"type": "boolean"}}}}}});
    let version = |name: &str, storage: bool| json!({"name": name, "served": true, "storage": storage, "schema": schema, "subresources": {"status": {}}});
    let definition = json!({"metadata": {"name": "things.example.test"}, "spec": {"group": "example.test", "scope": "Namespaced",
        "names": {"plural": "things", "kind": "Thing"}, "versions": [version("v1", true), version("v2", false)]}});
    let made = server
        .post(
            "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
            &definition,
        )
        .await;
    assert_eq!(made.code, 201, "{}", made.json());
    let base = "/apis/example.test/v1/namespaces/default/things";
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while server.get(base).await.code != 200 {
        assert!(std::time::Instant::now() < deadline, "never served");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    let path = format!("{base}/a");
    let thing = |version: &str, spec: Value| {
        named(
            "Thing",
            &format!("example.test/{version}"),
            "a",
            json!({"spec": spec}),
        )
    };
    let first = thing(
        "v1",
        json!({"size": 1, "parts": [{"name": "x", "value": "1"}], "tags": ["t"], "whole": {"k": "v"}, "free": {"f": {"g": 1}}}),
    );
    let made = apply(&server, &path, "fieldManager=a", &first).await;
    assert_eq!(made.code, 201, "{}", made.json());
    assert_eq!(
        entries(&made.json()),
        [(
            "a Apply".to_owned(),
            json!({"f:spec": {"f:free": {"f:f": {".": {}, "f:g": {}}},
            "f:parts": {"k:{\"name\":\"x\"}": {".": {}, "f:name": {}, "f:value": {}}},
            "f:size": {}, "f:tags": {"v:\"t\"": {}}, "f:whole": {}}})
        )],
        "a default belongs to nobody"
    );
    // Another manager speaks another version.
    let other = "/apis/example.test/v2/namespaces/default/things/a";
    let merged = apply(
        &server,
        other,
        "fieldManager=b",
        &thing("v2", json!({"parts": [{"name": "y"}], "tags": ["u"]})),
    )
    .await;
    assert_eq!(merged.code, 200, "{}", merged.json());
    let merged = merged.json();
    assert_eq!(
        merged["spec"]["parts"],
        json!([{"name": "x", "value": "1"}, {"name": "y"}])
    );
    assert_eq!(
        (&merged["spec"]["tags"], &merged["spec"]["mode"]),
        (&json!(["t", "u"]), &json!("fast"))
    );
    let refused = apply(
        &server,
        other,
        "fieldManager=b",
        &thing("v2", json!({"size": 2, "whole": {"l": "v"}})),
    )
    .await;
    assert_eq!(
        refused.json()["message"],
        "Apply failed with 2 conflicts: conflicts with \"a\":\n- .spec.size\n- .spec.whole"
    );
    let unknown = apply(
        &server,
        &path,
        "fieldManager=a",
        &thing("v1", json!({"nonsense": 1})),
    )
    .await;
    assert_eq!(unknown.code, 500);
    assert!(
        unknown.json()["message"]
            .as_str()
            .unwrap()
            .ends_with(".spec.nonsense: field not declared in schema")
    );
    let less = apply(
        &server,
        &path,
        "fieldManager=a",
        &thing("v1", json!({"size": 1})),
    )
    .await
    .json();
    assert_eq!(
        less["spec"],
        json!({"size": 1, "mode": "fast", "parts": [{"name": "y"}], "tags": ["u"]})
    );
    let status = apply(
        &server,
        &format!("{path}/status"),
        "fieldManager=c",
        &named(
            "Thing",
            "example.test/v1",
            "a",
            json!({"spec": {"size": 9}, "status": {"ready": true}}),
        ),
    )
    .await
    .json();
    assert_eq!(
        (&status["spec"]["size"], &status["status"]["ready"]),
        (&json!(1), &json!(true))
    );
    let (_, fields) = entries(&status)
        .into_iter()
        .find(|(title, _)| title == "c Apply status")
        .unwrap();
    assert_eq!(fields, json!({"f:status": {"f:ready": {}}}));
}
