//! The protocol, request by request, over the in-process service.
#![allow(missing_docs)]

mod admission;
mod custom;
mod support;

use consort_api::identity::User;
use http::{Method, StatusCode};
use serde_json::{Value, json};
use support::{Lines, Server, config_map, deployment, pod, request};

const PODS: &str = "/api/v1/namespaces/default/pods";
const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";
const SERVICES: &str = "/api/v1/namespaces/default/services";
const MERGE: &str = "application/merge-patch+json";

#[tokio::test]
async fn failures_have_the_code_reason_and_words_clients_know() {
    let server = Server::start().await;
    server.post(MAPS, &config_map("a", "1")).await;
    let bad = json!({"metadata": {"name": "Bad_Name"}});
    let cases: Vec<(Method, &str, Value, u16, &str, &str)> = vec![
        (
            Method::GET,
            "/api/v1/namespaces/default/pods/x",
            Value::Null,
            404,
            "NotFound",
            "pods \"x\" not found",
        ),
        (
            Method::GET,
            "/apis/apps/v1/namespaces/default/deployments/x",
            Value::Null,
            404,
            "NotFound",
            "deployments.apps \"x\" not found",
        ),
        (
            Method::GET,
            "/apis/nope/v1/things",
            Value::Null,
            404,
            "NotFound",
            "the server could not find the requested resource",
        ),
        (
            Method::GET,
            "/nope",
            Value::Null,
            404,
            "NotFound",
            "the server could not find the requested resource",
        ),
        (
            Method::POST,
            MAPS,
            config_map("a", "1"),
            409,
            "AlreadyExists",
            "configmaps \"a\" already exists",
        ),
        (
            Method::POST,
            MAPS,
            bad,
            422,
            "Invalid",
            "ConfigMap \"Bad_Name\" is invalid: metadata.name: Invalid value: \"Bad_Name\"",
        ),
        (
            Method::POST,
            "/api/v1/namespaces/none/configmaps",
            config_map("a", "1"),
            404,
            "NotFound",
            "namespaces \"none\" not found",
        ),
        (
            Method::POST,
            "/version",
            Value::Null,
            405,
            "MethodNotAllowed",
            "the server does not allow this method",
        ),
        (
            Method::DELETE,
            "/api/v1/namespaces/default",
            Value::Null,
            403,
            "Forbidden",
            "this namespace may not be deleted",
        ),
        (
            Method::GET,
            "/api/v1/namespaces/default/pods?fieldSelector=spec.nope%3D1",
            Value::Null,
            400,
            "BadRequest",
            "field label not supported: spec.nope",
        ),
        (
            Method::POST,
            MAPS,
            json!({"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "b"}}),
            400,
            "BadRequest",
            "must be of type ConfigMap",
        ),
        (
            Method::POST,
            MAPS,
            json!({"metadata": {"name": "b", "namespace": "other"}}),
            400,
            "BadRequest",
            "does not match the namespace",
        ),
    ];
    for (method, path, body, code, reason, words) in cases {
        let text = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let answer = server
            .ask(request(method.clone(), path, "application/json", text))
            .await;
        let status = answer.json();
        assert!(answer.bytes.ends_with(b"}\n"), "as Go's encoder ends it");
        assert_eq!(answer.code.as_u16(), code, "{method} {path}: {status}");
        assert_eq!(status["reason"], reason, "{method} {path}");
        let message = status["message"].as_str().unwrap();
        assert!(message.contains(words), "{method} {path}: {message}");
        assert_eq!(status["kind"], "Status");
    }
    let answer = server
        .ask(request(Method::POST, MAPS, "text/plain", "x"))
        .await;
    assert_eq!(answer.code, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let mut unacceptable = request(Method::GET, MAPS, "", "");
    unacceptable
        .headers_mut()
        .insert("accept", "text/html".parse().unwrap());
    assert_eq!(
        server.ask(unacceptable).await.code,
        StatusCode::NOT_ACCEPTABLE
    );
    let large = json!({"metadata": {"name": "l"}, "data": {"k": "x".repeat(300 * 1024)}});
    let answer = server.post(MAPS, &large).await;
    assert_eq!(answer.code, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(answer.json()["reason"], "RequestEntityTooLarge");
    let deep = format!("{}{}", "[".repeat(20_000), "]".repeat(20_000));
    let answer = server
        .ask(request(Method::POST, MAPS, "application/json", deep))
        .await;
    assert_eq!(answer.code, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn unknown_fields_are_refused_told_or_ignored_as_the_client_wishes() {
    let server = Server::start().await;
    let mut value = pod("a");
    value["spec"]["nope"] = json!(1);
    let strict = server
        .post(&format!("{PODS}?fieldValidation=Strict"), &value)
        .await;
    assert_eq!(strict.code, StatusCode::BAD_REQUEST);
    assert!(
        strict.json()["message"]
            .as_str()
            .unwrap()
            .contains("unknown field \"spec.nope\"")
    );
    let warned = server.post(&format!("{PODS}?dryRun=All"), &value).await;
    assert_eq!(warned.code, StatusCode::CREATED);
    assert_eq!(
        warned.headers["warning"],
        "299 - \"unknown field \\\"spec.nope\\\"\""
    );
    let ignored = server
        .post(&format!("{PODS}?fieldValidation=Ignore&dryRun=All"), &value)
        .await;
    assert!(ignored.headers.get("warning").is_none());
    assert_eq!(
        server.get(&format!("{PODS}/a")).await.code,
        StatusCode::NOT_FOUND,
        "a dry run stores nothing"
    );
}

#[tokio::test]
async fn a_stale_write_conflicts_and_one_without_a_revision_does_not() {
    let server = Server::start().await;
    let first = server.post(MAPS, &config_map("a", "1")).await.json();
    let mut newer = first.clone();
    newer["data"]["key"] = "2".into();
    let path = format!("{MAPS}/a");
    assert_eq!(server.put(&path, &newer).await.code, StatusCode::OK);
    let stale = server.put(&path, &newer).await;
    assert_eq!(stale.code, StatusCode::CONFLICT);
    assert!(
        stale.json()["message"]
            .as_str()
            .unwrap()
            .contains("the object has been modified")
    );
    let blind = server.put(&path, &config_map("a", "3")).await.json();
    assert_eq!(blind["data"]["key"], "3");
    assert_eq!(blind["metadata"]["uid"], first["metadata"]["uid"]);
    let again = server.put(&path, &config_map("a", "3")).await.json();
    assert_eq!(
        again["metadata"]["resourceVersion"], blind["metadata"]["resourceVersion"],
        "nothing changed, nothing is written"
    );
}

#[tokio::test]
async fn every_kind_of_patch_does_what_it_says() {
    let server = Server::start().await;
    let made = server.post(DEPLOYMENTS, &deployment("web")).await;
    assert_eq!(made.code, StatusCode::CREATED, "{:?}", made.bytes);
    let path = format!("{DEPLOYMENTS}/web");
    let strategic =
        json!({"spec": {"template": {"spec": {"containers": [{"name": "side", "image": "s:1"}]}}}});
    let value = server
        .patch(&path, "application/strategic-merge-patch+json", &strategic)
        .await
        .json();
    let names: Vec<&str> = value["spec"]["template"]["spec"]["containers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| c["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["side", "main"], "keyed lists are merged");
    assert_eq!(value["metadata"]["generation"], 2);
    let json_patch = json!([{"op": "replace", "path": "/spec/replicas", "value": 4}]);
    let value = server
        .patch(&path, "application/json-patch+json", &json_patch)
        .await
        .json();
    assert_eq!(value["spec"]["replicas"], 4);
    let value = server
        .patch(
            &format!("{path}/scale"),
            MERGE,
            &json!({"spec": {"replicas": 7}}),
        )
        .await
        .json();
    assert_eq!(
        (value["kind"].as_str(), value["spec"]["replicas"].as_i64()),
        (Some("Scale"), Some(7))
    );
    let status = json!({"status": {"replicas": 3}, "spec": {"replicas": 1}});
    let value = server
        .patch(&format!("{path}/status"), MERGE, &status)
        .await
        .json();
    assert_eq!(
        (
            value["status"]["replicas"].as_i64(),
            value["spec"]["replicas"].as_i64()
        ),
        (Some(3), Some(7))
    );
    assert_eq!(
        value["metadata"]["generation"], 4,
        "the status is not the spec"
    );
    let selector = json!({"spec": {"selector": {"matchLabels": {"app": "x"}}}});
    let refused = server.patch(&path, MERGE, &selector).await.json();
    assert!(
        refused["message"]
            .as_str()
            .unwrap()
            .contains("field is immutable"),
        "{refused}"
    );
    let failed = server
        .patch(
            &path,
            "application/json-patch+json",
            &json!([{"op": "test", "path": "/spec/replicas", "value": 1}]),
        )
        .await;
    assert_eq!(failed.code, StatusCode::UNPROCESSABLE_ENTITY);
    let apply = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "new"}, "data": {"a": "b"}});
    let target = format!("{MAPS}/new?fieldManager=test");
    let made = server
        .patch(&target, "application/apply-patch+yaml", &apply)
        .await;
    assert_eq!(made.code, StatusCode::CREATED, "{:?}", made.bytes);
    assert_eq!(
        server
            .patch(&target, "application/apply-patch+yaml", &apply)
            .await
            .code,
        StatusCode::OK
    );
}

#[tokio::test]
async fn a_patch_that_makes_no_such_object_is_refused_with_what_it_would_make() {
    const STRATEGIC: &str = "application/strategic-merge-patch+json";
    const JSON: &str = "application/json-patch+json";
    let server = Server::start().await;
    server.post(DEPLOYMENTS, &deployment("web")).await;
    server.post(MAPS, &config_map("a", "b")).await;
    let path = format!("{DEPLOYMENTS}/web?fieldValidation=Strict");
    let of = "of type int32";
    for (path, media, patch, code, told) in [
        (
            &path,
            STRATEGIC,
            json!({"spec": {"replicas": "x"}}),
            422,
            r#" "" is invalid: patch: Invalid value: "map[spec:map[replicas:x]]": json: cannot unmarshal string"#,
        ),
        (
            &path,
            STRATEGIC,
            json!({"spec": {"replica": 1}}),
            422,
            r#"patch: Invalid value: "map[spec:map[replica:1]]": strict decoding error: unknown field "spec.replica""#,
        ),
        (&path, MERGE, json!({"spec": {"replicas": "x"}}), 422, of),
        (
            &path,
            MERGE,
            json!({"spec": {"replica": 1}}),
            422,
            r#": strict decoding error: unknown field "spec.replica""#,
        ),
        (
            &path,
            JSON,
            json!([{"op": "add", "path": "/spec/paused", "value": true, "from": "", "to": ""}]),
            422,
            r#"strict decoding error: json patch unknown field "[0].to""#,
        ),
        (
            &path,
            JSON,
            json!([{"op": "remove", "path": "/spec/none"}]),
            422,
            "the server rejected our request due to an error in our request: ",
        ),
        (
            &path,
            JSON,
            json!({"op": "remove"}),
            400,
            "error decoding patch: json: cannot unmarshal object into Go value of type []handlers.jsonPatchOp",
        ),
        (
            &format!("{DEPLOYMENTS}/web/scale"),
            MERGE,
            json!({"spec": {"replicas": "x"}}),
            422,
            of,
        ),
    ] {
        let answer = server.patch(path, media, &patch).await;
        let message = answer.json()["message"].as_str().unwrap().to_owned();
        assert_eq!(answer.code.as_u16(), code, "{message}");
        assert!(message.contains(told), "{message}");
    }
    let warned = server
        .patch(&format!("{MAPS}/a"), MERGE, &json!({"dat": {}}))
        .await;
    assert_eq!(warned.code, StatusCode::OK);
    assert_eq!(
        warned.headers["warning"],
        r#"299 - "unknown field \"dat\"""#
    );
}

#[tokio::test]
async fn pages_are_consistent_and_name_what_remains() {
    let server = Server::start().await;
    for name in ["a", "b", "c", "d", "e"] {
        server.post(MAPS, &config_map(name, "1")).await;
    }
    let first = server.get(&format!("{MAPS}?limit=2")).await.json();
    assert_eq!(first["items"].as_array().unwrap().len(), 2);
    assert_eq!(first["metadata"]["remainingItemCount"], 3);
    server.delete(&format!("{MAPS}/c")).await;
    let mut names = Vec::new();
    let mut token = first["metadata"]["continue"].as_str().map(str::to_owned);
    while let Some(next) = token {
        let page = server
            .get(&format!("{MAPS}?limit=2&continue={next}"))
            .await
            .json();
        assert_eq!(
            page["metadata"]["resourceVersion"],
            first["metadata"]["resourceVersion"]
        );
        names.extend(
            page["items"]
                .as_array()
                .unwrap()
                .iter()
                .map(|item| item["metadata"]["name"].as_str().unwrap().to_owned()),
        );
        token = page["metadata"]["continue"].as_str().map(str::to_owned);
    }
    assert_eq!(names, ["c", "d", "e"], "the list is of one moment");
    let store = server.api.store();
    store.compact(store.revision()).await.unwrap();
    let old = first["metadata"]["continue"].as_str().unwrap();
    let expired = server.get(&format!("{MAPS}?limit=2&continue={old}")).await;
    assert_eq!(
        (
            expired.code.as_u16(),
            expired.json()["reason"].as_str().unwrap()
        ),
        (410, "Expired")
    );
    let fresh = expired.json()["metadata"]["continue"]
        .as_str()
        .unwrap()
        .to_owned();
    let rest = server.get(&format!("{MAPS}?continue={fresh}")).await.json();
    assert_eq!(
        rest["items"].as_array().unwrap().len(),
        2,
        "d and e are left"
    );
}

#[tokio::test]
async fn a_watch_tells_of_objects_that_come_to_match_and_cease_to() {
    let server = Server::start().await;
    let revision = server.api.store().revision();
    let path = format!(
        "{MAPS}?watch=1&resourceVersion={revision}&labelSelector=app%3Dx&timeoutSeconds=60"
    );
    let mut lines = Lines::new(
        server
            .send(request(Method::GET, &path, "", ""), User::admin())
            .await,
    );
    server.post(MAPS, &config_map("a", "1")).await;
    let a = format!("{MAPS}/a");
    server
        .patch(&a, MERGE, &json!({"metadata": {"labels": {"app": "x"}}}))
        .await;
    server
        .patch(&a, MERGE, &json!({"data": {"key": "2"}}))
        .await;
    server
        .patch(&a, MERGE, &json!({"metadata": {"labels": null}}))
        .await;
    server
        .patch(&a, MERGE, &json!({"metadata": {"labels": {"app": "x"}}}))
        .await;
    server.delete(&a).await;
    for want in ["ADDED", "MODIFIED", "DELETED", "ADDED", "DELETED"] {
        let event = lines.next().await.unwrap();
        assert_eq!(event["type"], want, "{event}");
    }
}

#[tokio::test]
async fn a_streaming_list_ends_with_its_bookmark_and_an_old_watch_with_gone() {
    let server = Server::start().await;
    server.post(MAPS, &config_map("a", "1")).await;
    let path = format!(
        "{MAPS}?watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true&timeoutSeconds=60"
    );
    let mut lines = Lines::new(
        server
            .send(request(Method::GET, &path, "", ""), User::admin())
            .await,
    );
    assert_eq!(lines.next().await.unwrap()["type"], "ADDED");
    let bookmark = lines.next().await.unwrap();
    assert_eq!(bookmark["type"], "BOOKMARK");
    assert_eq!(
        bookmark["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"],
        "true"
    );
    server.post(MAPS, &config_map("b", "1")).await;
    let store = server.api.store();
    store.compact(store.revision()).await.unwrap();
    let path = format!("{MAPS}?watch=1&resourceVersion=1");
    let mut lines = Lines::new(
        server
            .send(request(Method::GET, &path, "", ""), User::admin())
            .await,
    );
    let event = lines.next().await.unwrap();
    assert_eq!(
        (event["type"].as_str(), event["object"]["code"].as_i64()),
        (Some("ERROR"), Some(410))
    );
    assert!(lines.next().await.is_none(), "the stream ends");
}

#[tokio::test]
async fn watches_end_by_their_time_with_a_last_bookmark_and_when_the_server_closes() {
    let server = Server::start().await;
    let revision = server.api.store().revision();
    let path = format!(
        "{MAPS}?watch=1&resourceVersion={revision}&allowWatchBookmarks=true&timeoutSeconds=3"
    );
    let mut lines = Lines::new(
        server
            .send(request(Method::GET, &path, "", ""), User::admin())
            .await,
    );
    assert_eq!(lines.next().await.unwrap()["type"], "BOOKMARK");
    assert!(lines.next().await.is_none());
    let path = format!("{MAPS}?watch=1&resourceVersion={revision}");
    let mut lines = Lines::new(
        server
            .send(request(Method::GET, &path, "", ""), User::admin())
            .await,
    );
    server.api.close().await;
    assert!(lines.next().await.is_none());
}

#[tokio::test]
async fn tables_have_the_columns_users_know() {
    let server = Server::start().await;
    server.post(DEPLOYMENTS, &deployment("web")).await;
    let mut ask = request(Method::GET, DEPLOYMENTS, "", "");
    let table = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
    ask.headers_mut().insert("accept", table.parse().unwrap());
    let value = server.ask(ask).await.json();
    assert_eq!(value["kind"], "Table");
    let names: Vec<&str> = value["columnDefinitions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|column| column["name"].as_str().unwrap())
        .collect();
    assert_eq!(
        names,
        [
            "Name",
            "Ready",
            "Up-to-date",
            "Available",
            "Age",
            "Containers",
            "Images",
            "Selector"
        ]
    );
    assert_eq!(value["rows"][0]["cells"][1], "0/1");
    assert_eq!(value["rows"][0]["object"]["kind"], "PartialObjectMetadata");
}

#[tokio::test]
async fn every_kind_prints_as_many_cells_as_it_has_columns() {
    let server = Server::start().await;
    let groups = server.get("/apis").await.json();
    let mut lists = vec!["/api/v1".to_owned()];
    for group in groups["groups"].as_array().unwrap() {
        lists.push(format!(
            "/apis/{}",
            group["versions"][0]["groupVersion"].as_str().unwrap()
        ));
    }
    server.post(PODS, &pod("a")).await;
    server.post(DEPLOYMENTS, &deployment("web")).await;
    server
        .post(
            SERVICES,
            &json!({"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}]}}),
        )
        .await;
    let event = json!({"metadata": {"name": "e"}, "involvedObject": {"kind": "Pod", "namespace": "default", "name": "a"}, "reason": "Test"});
    assert_eq!(
        server
            .post("/api/v1/namespaces/default/events", &event)
            .await
            .code,
        StatusCode::CREATED
    );
    for list in lists {
        for resource in server.get(&list).await.json()["resources"]
            .as_array()
            .unwrap()
        {
            let name = resource["name"].as_str().unwrap();
            if !resource["verbs"]
                .as_array()
                .unwrap()
                .contains(&json!("list"))
                || name.contains('/')
            {
                continue;
            }
            let mut ask = request(Method::GET, &format!("{list}/{name}"), "", "");
            ask.headers_mut().insert(
                "accept",
                "application/json;as=Table;v=v1;g=meta.k8s.io"
                    .parse()
                    .unwrap(),
            );
            let table = server.ask(ask).await.json();
            let columns = table["columnDefinitions"].as_array().unwrap().len();
            for row in table["rows"].as_array().unwrap() {
                assert_eq!(
                    row["cells"].as_array().unwrap().len(),
                    columns,
                    "{name}: {row}"
                );
            }
        }
    }
}

#[tokio::test]
async fn protobuf_goes_in_and_comes_out() {
    let server = Server::start().await;
    let schema = consort_object::Schema::builtin();
    let value = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "p"}, "data": {"a": "b"}});
    let bytes = consort_object::proto::encode(schema, &value).unwrap();
    let mut ask = request(
        Method::POST,
        MAPS,
        "application/vnd.kubernetes.protobuf",
        bytes,
    );
    ask.headers_mut().insert(
        "accept",
        "application/vnd.kubernetes.protobuf,application/json"
            .parse()
            .unwrap(),
    );
    let answer = server.ask(ask).await;
    assert_eq!(answer.code, StatusCode::CREATED, "{:?}", answer.bytes);
    let made = consort_object::proto::decode(schema, &answer.bytes, None).unwrap();
    assert_eq!(made["data"]["a"], "b");
    let mut ask = request(Method::GET, MAPS, "", "");
    ask.headers_mut().insert(
        "accept",
        "application/vnd.kubernetes.protobuf".parse().unwrap(),
    );
    let list = consort_object::proto::decode(schema, &server.ask(ask).await.bytes, None).unwrap();
    assert_eq!(list["items"][0]["metadata"]["name"], "p");
    assert_eq!(list["kind"], "ConfigMapList");
}

#[tokio::test]
async fn yaml_goes_in_and_comes_out() {
    let server = Server::start().await;
    let text = "metadata:\n  name: written\ndata:\n  mode: 'yes'\n";
    let mut ask = request(Method::POST, MAPS, "application/yaml", text);
    ask.headers_mut()
        .insert("accept", "application/yaml".parse().unwrap());
    let answer = server.ask(ask).await;
    assert_eq!(answer.code, StatusCode::CREATED, "{:?}", answer.bytes);
    assert_eq!(
        server.get(&format!("{MAPS}/written")).await.json()["data"]["mode"],
        "yes"
    );
    assert!(String::from_utf8_lossy(&answer.bytes).contains("kind: ConfigMap"));
}

#[tokio::test]
async fn a_placed_pod_ends_gracefully_and_goes_when_its_agent_says_so() {
    let server = Server::start().await;
    server.post(PODS, &pod("a")).await;
    let binding = json!({"metadata": {"name": "a"}, "target": {"kind": "Node", "name": "n1"}});
    let bound = server.post(&format!("{PODS}/a/binding"), &binding).await;
    assert_eq!(bound.code, StatusCode::CREATED, "{:?}", bound.bytes);
    let again = server.post(&format!("{PODS}/a/binding"), &binding).await;
    assert_eq!(again.code, StatusCode::CONFLICT);
    let on_node = server
        .get("/api/v1/pods?fieldSelector=spec.nodeName%3Dn1")
        .await
        .json();
    assert_eq!(on_node["items"].as_array().unwrap().len(), 1);
    let ending = server.delete(&format!("{PODS}/a")).await.json();
    assert_eq!(ending["metadata"]["deletionGracePeriodSeconds"], 30);
    assert_eq!(server.get(&format!("{PODS}/a")).await.code, StatusCode::OK);
    server
        .delete(&format!("{PODS}/a?gracePeriodSeconds=0"))
        .await;
    assert_eq!(
        server.get(&format!("{PODS}/a")).await.code,
        StatusCode::NOT_FOUND
    );
    let image = json!({"spec": {"containers": [{"name": "main", "image": "nginx:2"}]}});
    server.post(PODS, &pod("b")).await;
    let path = format!("{PODS}/b");
    assert_eq!(
        server
            .patch(&path, "application/strategic-merge-patch+json", &image)
            .await
            .code,
        StatusCode::OK
    );
    let refused = server
        .patch(&path, MERGE, &json!({"spec": {"restartPolicy": "Never"}}))
        .await
        .json();
    assert!(
        refused["message"]
            .as_str()
            .unwrap()
            .contains("pod updates may not change fields other than"),
        "{refused}"
    );
}

#[tokio::test]
async fn finalizers_hold_an_object_until_the_last_is_gone() {
    let server = Server::start().await;
    let mut value = config_map("held", "1");
    value["metadata"]["finalizers"] = json!(["example.com/hold"]);
    server.post(MAPS, &value).await;
    let path = format!("{MAPS}/held");
    assert!(server.delete(&path).await.json()["metadata"]["deletionTimestamp"].is_string());
    let more = server
        .patch(
            &path,
            MERGE,
            &json!({"metadata": {"finalizers": ["example.com/hold", "example.com/more"]}}),
        )
        .await;
    assert_eq!(more.code, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(
        server
            .patch(&path, MERGE, &json!({"metadata": {"finalizers": null}}))
            .await
            .code,
        StatusCode::OK
    );
    assert_eq!(server.get(&path).await.code, StatusCode::NOT_FOUND);
    server.post(DEPLOYMENTS, &deployment("web")).await;
    let owner = format!("{DEPLOYMENTS}/web?propagationPolicy=Foreground");
    let marked = server.delete(&owner).await.json();
    assert_eq!(
        marked["metadata"]["finalizers"],
        json!(["foregroundDeletion"])
    );
}

#[tokio::test]
async fn a_namespace_takes_nothing_new_while_it_ends_and_goes_when_it_is_finalized() {
    let server = Server::start().await;
    server
        .post("/api/v1/namespaces", &json!({"metadata": {"name": "gone"}}))
        .await;
    let marked = server.delete("/api/v1/namespaces/gone").await.json();
    assert_eq!(marked["status"]["phase"], "Terminating");
    let refused = server
        .post("/api/v1/namespaces/gone/configmaps", &config_map("a", "1"))
        .await;
    assert_eq!(refused.code, StatusCode::FORBIDDEN);
    assert_eq!(
        refused.json()["details"]["causes"][0]["reason"],
        "NamespaceTerminating"
    );
    let mut value = marked;
    value["spec"]["finalizers"] = json!([]);
    assert_eq!(
        server
            .put("/api/v1/namespaces/gone/finalize", &value)
            .await
            .code,
        StatusCode::OK
    );
    assert_eq!(
        server.get("/api/v1/namespaces/gone").await.code,
        StatusCode::NOT_FOUND
    );
}

#[tokio::test]
async fn service_addresses_are_unique_kept_and_known_after_a_restart() {
    let server = Server::start().await;
    let service = |name: &str| json!({"metadata": {"name": name}, "spec": {"type": "NodePort", "ports": [{"port": 80, "nodePort": 30080}]}});
    let made = server.post(SERVICES, &service("one")).await.json();
    let address = made["spec"]["clusterIP"].clone();
    assert_eq!(made["spec"]["clusterIPs"], json!([address]));
    let server = server.restart().await;
    let refused = server.post(SERVICES, &service("two")).await.json();
    assert!(
        refused["message"]
            .as_str()
            .unwrap()
            .contains("provided port is already allocated"),
        "{refused}"
    );
    let patched = server
        .patch(
            &format!("{SERVICES}/one"),
            MERGE,
            &json!({"spec": {"clusterIP": "10.96.7.7", "clusterIPs": ["10.96.7.7"]}}),
        )
        .await;
    assert_eq!(patched.code, StatusCode::UNPROCESSABLE_ENTITY);
    server.delete(&format!("{SERVICES}/one")).await;
    assert_eq!(
        server.post(SERVICES, &service("two")).await.code,
        StatusCode::CREATED
    );
}

#[tokio::test]
async fn an_event_is_one_object_in_two_groups() {
    let server = Server::start().await;
    let event = json!({"metadata": {"name": "e"}, "regarding": {"kind": "Pod", "namespace": "default", "name": "a"},
        "reason": "Tested", "note": "it was", "action": "Test", "type": "Normal",
        "reportingController": "test", "reportingInstance": "t", "eventTime": "2026-01-01T00:00:00.000000Z"});
    let made = server
        .post("/apis/events.k8s.io/v1/namespaces/default/events", &event)
        .await;
    assert_eq!(made.code, StatusCode::CREATED, "{:?}", made.bytes);
    let core = server
        .get("/api/v1/namespaces/default/events?fieldSelector=involvedObject.name%3Da")
        .await
        .json();
    assert_eq!(core["items"][0]["message"], "it was");
    let view = server
        .get("/apis/events.k8s.io/v1/namespaces/default/events?fieldSelector=regarding.name%3Da")
        .await
        .json();
    assert_eq!(
        (&view["items"][0]["note"], &view["items"][0]["apiVersion"]),
        (&json!("it was"), &json!("events.k8s.io/v1"))
    );
}

#[tokio::test]
async fn callers_do_what_their_roles_allow_and_no_more() {
    let server = Server::start().await;
    let bob = || User::new("bob", Vec::<String>::new());
    let denied = server
        .ask_as(request(Method::GET, PODS, "", ""), bob())
        .await;
    assert_eq!(denied.code, StatusCode::FORBIDDEN);
    assert_eq!(
        denied.json()["message"],
        "pods is forbidden: User \"bob\" cannot list resource \"pods\" in API group \"\" in the namespace \"default\""
    );
    let binding = json!({"metadata": {"name": "bob"}, "roleRef": {"kind": "ClusterRole", "name": "edit"}, "subjects": [{"kind": "User", "name": "bob"}]});
    let path = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings";
    assert_eq!(server.post(path, &binding).await.code, StatusCode::CREATED);
    let review = json!({"spec": {"user": "bob", "resourceAttributes": {"verb": "list", "resource": "pods", "namespace": "default"}}});
    for _ in 0..200 {
        let answer = server
            .post(
                "/apis/authorization.k8s.io/v1/subjectaccessreviews",
                &review,
            )
            .await
            .json();
        if answer["status"]["allowed"] == true {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert_eq!(
        server
            .ask_as(request(Method::GET, PODS, "", ""), bob())
            .await
            .code,
        StatusCode::OK
    );
    assert_eq!(
        server
            .ask_as(request(Method::GET, "/api/v1/nodes", "", ""), bob())
            .await
            .code,
        StatusCode::FORBIDDEN
    );
    let mut unauthenticated = request(Method::GET, PODS, "", "");
    unauthenticated
        .headers_mut()
        .insert("authorization", "Bearer nonsense".parse().unwrap());
    let answer = tower::ServiceExt::oneshot(server.api.service(), unauthenticated)
        .await
        .unwrap();
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_service_accounts_token_is_its_identity_until_the_account_goes() {
    let server = Server::start().await;
    let path = "/api/v1/namespaces/default/serviceaccounts/default/token";
    let answer = server.post(path, &json!({"spec": {"audiences": []}})).await;
    assert_eq!(answer.code, StatusCode::CREATED, "{:?}", answer.bytes);
    let token = answer.json()["status"]["token"]
        .as_str()
        .unwrap()
        .to_owned();
    let who = || {
        let mut ask = request(
            Method::POST,
            "/apis/authentication.k8s.io/v1/selfsubjectreviews",
            "application/json",
            "{}",
        );
        ask.headers_mut()
            .insert("authorization", format!("Bearer {token}").parse().unwrap());
        tower::ServiceExt::oneshot(server.api.service(), ask)
    };
    assert_eq!(who().await.unwrap().status(), StatusCode::CREATED);
    server
        .delete("/api/v1/namespaces/default/serviceaccounts/default")
        .await;
    assert_eq!(who().await.unwrap().status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn generated_names_differ_and_collections_are_deleted_by_selector() {
    let server = Server::start().await;
    let value = json!({"metadata": {"generateName": "g-", "labels": {"gen": "1"}}});
    let mut names = std::collections::HashSet::new();
    for _ in 0..20 {
        let made = server.post(MAPS, &value).await.json();
        assert!(names.insert(made["metadata"]["name"].as_str().unwrap().to_owned()));
    }
    server.post(MAPS, &config_map("other", "1")).await;
    let deleted = server
        .delete(&format!("{MAPS}?labelSelector=gen%3D1"))
        .await
        .json();
    assert_eq!(deleted["items"].as_array().unwrap().len(), 20);
    let left = server.get(MAPS).await.json();
    assert_eq!(left["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn openapi_documents_are_named_with_their_hash_and_cached_for_ever() {
    let server = Server::start().await;
    let index = server.get("/openapi/v3").await.json();
    let path = index["paths"]["apis/apps/v1"]["serverRelativeURL"]
        .as_str()
        .unwrap()
        .to_owned();
    let answer = server.get(&path).await;
    assert_eq!(answer.code, StatusCode::OK);
    assert!(
        answer.headers["cache-control"]
            .to_str()
            .unwrap()
            .contains("immutable")
    );
    assert!(answer.json()["components"]["schemas"]["io.k8s.api.apps.v1.Deployment"].is_object());
    let mut again = request(Method::GET, &path, "", "");
    again
        .headers_mut()
        .insert("if-none-match", answer.headers["etag"].clone());
    assert_eq!(server.ask(again).await.code, StatusCode::NOT_MODIFIED);
}
