//! What upstream's conformance tests look at and nothing else here does, over the in-process service.
#![allow(missing_docs)]

mod support;

use http::Method;
use serde_json::{Value, json};
use support::{Server, request};

const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";
const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io";

fn message(answer: &Value) -> &str {
    answer["message"].as_str().unwrap_or_default()
}

#[tokio::test]
async fn strict_errors_stand_in_the_order_of_the_document_and_yaml_ones_name_their_line() {
    let server = Server::start().await;
    let body = r#"{"metadata": {"name": "d"}, "spec": {"unknownField": "foo", "replicas": 2, "replicas": 3,
        "selector": {"matchLabels": {"a": "b"}}, "template": {"metadata": {"labels": {"a": "b"}},
        "spec": {"containers": [{"name": "c", "image": "i"}]}}}}"#;
    let path = format!("{DEPLOYMENTS}?fieldValidation=Strict");
    let answer = server
        .ask(request(Method::POST, &path, "application/json", body))
        .await
        .json();
    assert!(
        message(&answer).ends_with(
            r#"strict decoding error: unknown field "spec.unknownField", duplicate field "spec.replicas""#
        ),
        "{answer}"
    );
    let twice =
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: m\ndata:\n  a: one\n  a: two\n";
    let path = format!("{MAPS}/m?fieldManager=t&fieldValidation=Strict");
    let answer = server
        .ask(request(
            Method::PATCH,
            &path,
            "application/apply-patch+yaml",
            twice,
        ))
        .await
        .json();
    assert!(
        message(&answer).contains(r#"line 7: key "a" already set in map"#),
        "{answer}"
    );
    // Created, it is told of, and the last value holds.
    let answer = server
        .ask(request(Method::POST, MAPS, "application/yaml", twice))
        .await;
    assert_eq!(answer.json()["data"]["a"], "two");
}

#[tokio::test]
async fn reviews_and_streamed_lists_have_no_table_form() {
    let server = Server::start().await;
    let review = json!({"spec": {"resourceAttributes": {"verb": "get", "resource": "pods"}}});
    let mut asked = request(
        Method::POST,
        "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
        "application/json",
        review.to_string(),
    );
    asked.headers_mut().insert("accept", TABLE.parse().unwrap());
    assert_eq!(server.ask(asked).await.json()["reason"], "NotAcceptable");
    let path = format!(
        "{MAPS}?watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
    );
    let mut asked = request(Method::GET, &path, "", "");
    asked.headers_mut().insert("accept", TABLE.parse().unwrap());
    assert_eq!(server.ask(asked).await.json()["code"], 406);
}

#[tokio::test]
async fn a_runtime_class_must_exist_and_says_what_its_pods_cost_and_where_they_run() {
    let server = Server::start().await;
    let pods = "/api/v1/namespaces/default/pods";
    let pod = |name: &str| json!({"metadata": {"name": name}, "spec": {"runtimeClassName": "small", "containers": [{"name": "c", "image": "i"}]}});
    let refused = server.post(pods, &pod("a")).await.json();
    assert_eq!(refused["code"], 403);
    let class = json!({
        "metadata": {"name": "small"}, "handler": "runc",
        "overhead": {"podFixed": {"cpu": "10m"}}, "scheduling": {"nodeSelector": {"disk": "fast"}},
    });
    server
        .post("/apis/node.k8s.io/v1/runtimeclasses", &class)
        .await;
    let made = server.post(pods, &pod("b")).await.json();
    assert_eq!(made["spec"]["overhead"], json!({"cpu": "10m"}));
    assert_eq!(made["spec"]["nodeSelector"], json!({"disk": "fast"}));
    let mut own = pod("c");
    own["spec"]["runtimeClassName"] = Value::Null;
    own["spec"]["overhead"] = json!({"cpu": "1"});
    assert_eq!(server.post(pods, &own).await.json()["code"], 403);
}

#[tokio::test]
async fn a_service_that_becomes_an_external_name_drops_its_node_ports() {
    let server = Server::start().await;
    let services = "/api/v1/namespaces/default/services";
    let service =
        json!({"metadata": {"name": "s"}, "spec": {"type": "NodePort", "ports": [{"port": 80}]}});
    let mut made = server.post(services, &service).await.json();
    assert!(made["spec"]["ports"][0]["nodePort"].is_i64());
    made["spec"]["type"] = "ExternalName".into();
    made["spec"]["externalName"] = "example.com".into();
    let changed = server.put(&format!("{services}/s"), &made).await.json();
    assert_eq!(changed["spec"]["type"], "ExternalName", "{changed}");
    assert_eq!(changed["spec"]["ports"][0].get("nodePort"), None);
    assert_eq!(changed["spec"].get("clusterIP"), None);
}
