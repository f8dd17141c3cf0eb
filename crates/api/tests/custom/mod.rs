//! Custom resources, from outside: definitions, their instances, versions, rules, documents.

use crate::support::{Answer, Lines, Server, request};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use consort_api::identity::User;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const WIDGETS: &str = "/apis/example.com/v1/namespaces/default/widgets";

/// A definition of widgets; the schema is that of their spec.
#[allow(clippy::needless_pass_by_value)] // it is written where it is used
fn widgets(spec: Value) -> Value {
    json!({
        "metadata": {"name": "widgets.example.com"},
        "spec": {
            "group": "example.com", "scope": "Namespaced",
            "names": {"plural": "widgets", "kind": "Widget", "shortNames": ["wd"], "categories": ["all"]},
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "subresources": {"status": {}, "scale": {"specReplicasPath": ".spec.replicas",
                    "statusReplicasPath": ".status.replicas", "labelSelectorPath": ".status.selector"}},
                "selectableFields": [{"jsonPath": ".spec.color"}],
                "additionalPrinterColumns": [
                    {"name": "Ready", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Ready\")].status"},
                    {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
                ],
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {
                    "spec": spec,
                    "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
                }}},
            }],
        },
    })
}

fn colours() -> Value {
    json!({"type": "object", "required": ["color"], "properties": {
        "color": {"type": "string", "enum": ["red", "blue"]},
        "replicas": {"type": "integer", "default": 1},
        "size": {"x-kubernetes-int-or-string": true},
        "parts": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
            "items": {"type": "object", "required": ["name"], "properties": {
                "name": {"type": "string"}, "count": {"type": "integer"}}}},
    }})
}

fn widget(name: &str, color: &str) -> Value {
    json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": name}, "spec": {"color": color}})
}

/// Ask until an answer is as wanted.
async fn until(what: &str, mut ask: impl AsyncFnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(10);
    while !ask().await {
        assert!(Instant::now() < end, "{what} did not come");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Create a definition and wait until it is established.
async fn define(server: &Server, definition: &Value) {
    let made = server.post(DEFINITIONS, definition).await;
    assert_eq!(made.code, StatusCode::CREATED, "{}", made.json());
    established(server, definition["metadata"]["name"].as_str().unwrap()).await;
}

async fn established(server: &Server, name: &str) {
    until("an established definition", async || {
        condition(server, name, "Established").await.0 == "True"
    })
    .await;
}

/// Status and reason of a condition.
async fn condition(server: &Server, name: &str, kind: &str) -> (String, String) {
    let definition = server.get(&format!("{DEFINITIONS}/{name}")).await.json();
    let conditions = definition["status"]["conditions"].as_array().cloned();
    let found = conditions
        .unwrap_or_default()
        .into_iter()
        .find(|condition| condition["type"] == kind)
        .unwrap_or_default();
    let text = |field: &str| found[field].as_str().unwrap_or_default().to_owned();
    (text("status"), text("reason"))
}

/// Change a definition, whatever its status writer does meanwhile.
async fn redefine(server: &Server, change: impl Fn(&mut Value)) -> Answer {
    let path = format!("{DEFINITIONS}/widgets.example.com");
    loop {
        let mut definition = server.get(&path).await.json();
        change(&mut definition);
        let answer = server.put(&path, &definition).await;
        if answer.code != StatusCode::CONFLICT {
            return answer;
        }
    }
}

async fn watch(server: &Server, path: &str) -> Lines {
    let request = request(Method::GET, path, "", Bytes::new());
    Lines::new(server.send(request, User::admin()).await)
}

async fn with_accept(server: &Server, path: &str, accept: &str) -> Answer {
    let mut request = request(Method::GET, path, "", Bytes::new());
    request
        .headers_mut()
        .insert("accept", accept.parse().unwrap());
    server.ask(request).await
}

#[tokio::test]
async fn instances_are_checked_defaulted_pruned_selected_and_shown_by_their_definition() {
    let server = Server::start().await;
    define(&server, &widgets(colours())).await;

    let mut one = widget("one", "red");
    one["spec"]["unknown"] = 1.into();
    one["status"] = json!({"replicas": 9});
    let made = server.post(WIDGETS, &one).await;
    assert_eq!(made.code, StatusCode::CREATED, "{}", made.json());
    assert_eq!(
        made.headers["warning"],
        "299 - \"unknown field \\\"spec.unknown\\\"\""
    );
    let made = made.json();
    assert_eq!(made["spec"], json!({"color": "red", "replicas": 1}));
    assert!(made["status"].is_null());
    let strict = server
        .post(&format!("{WIDGETS}?fieldValidation=Strict"), &one)
        .await;
    assert_eq!(strict.code, StatusCode::BAD_REQUEST);
    assert_eq!(
        strict.json()["message"],
        "Widget in version \"v1\" cannot be handled as a Widget: strict decoding error: unknown field \"spec.unknown\""
    );
    let wrong = server.post(WIDGETS, &widget("two", "green")).await;
    assert_eq!(wrong.code, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(
        wrong.json()["message"],
        "Widget.example.com \"two\" is invalid: spec.color: Unsupported value: \"green\": supported values: \"red\", \"blue\""
    );

    server.post(WIDGETS, &widget("two", "blue")).await;
    let red = server
        .get(&format!("{WIDGETS}?fieldSelector=spec.color%3Dred"))
        .await
        .json();
    assert_eq!(red["kind"], "WidgetList");
    assert_eq!(red["items"].as_array().unwrap().len(), 1);
    let other = server
        .get(&format!("{WIDGETS}?fieldSelector=spec.size%3D1"))
        .await;
    assert_eq!(other.code, StatusCode::BAD_REQUEST);

    let status =
        json!({"status": {"conditions": [{"type": "Ready", "status": "True"}], "replicas": 1}});
    let path = format!("{WIDGETS}/one");
    let merge = "application/merge-patch+json";
    let patched = server
        .patch(&format!("{path}/status"), merge, &status)
        .await
        .json();
    assert_eq!(patched["metadata"]["generation"], 1);
    let table = with_accept(
        &server,
        &path,
        "application/json;as=Table;g=meta.k8s.io;v=v1",
    )
    .await
    .json();
    assert_eq!(table["columnDefinitions"][1]["name"], "Ready");
    assert_eq!(table["rows"][0]["cells"][1], "True");

    let scaled = server
        .patch(
            &format!("{path}/scale"),
            merge,
            &json!({"spec": {"replicas": 4}}),
        )
        .await
        .json();
    assert_eq!(scaled["spec"]["replicas"], 4, "{scaled}");
    let scaled = server.get(&path).await.json();
    assert_eq!(
        (
            &scaled["spec"]["replicas"],
            &scaled["metadata"]["generation"]
        ),
        (&json!(4), &json!(2))
    );

    let strategic = server
        .patch(&path, "application/strategic-merge-patch+json", &json!({}))
        .await;
    assert_eq!(strategic.code, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let protobuf = with_accept(&server, &path, "application/vnd.kubernetes.protobuf").await;
    assert_eq!(protobuf.code, StatusCode::NOT_ACCEPTABLE);
    let metadata = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
    let list = with_accept(&server, WIDGETS, metadata).await.json();
    assert_eq!(list["kind"], "PartialObjectMetadataList");
    assert!(list["items"][0]["spec"].is_null());
}

#[tokio::test]
async fn a_changed_definition_holds_for_what_is_stored_and_watched_already() {
    let server = Server::start().await;
    define(&server, &widgets(colours())).await;
    let mut maps = watch(&server, "/api/v1/configmaps?watch=1").await;
    let mut watched = watch(&server, &format!("{WIDGETS}?watch=1")).await;
    server.post(WIDGETS, &widget("one", "red")).await;
    assert_eq!(watched.next().await.unwrap()["type"], "ADDED");
    let before = server.get("/openapi/v3").await.json();

    let changed = redefine(&server, |definition| {
        let spec = &mut definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]
            ["spec"];
        spec["properties"]["added"] = json!({"type": "string", "default": "new"});
        spec["properties"]["color"] = json!({"type": "string", "enum": ["blue"]});
    })
    .await;
    assert_eq!(changed.code, StatusCode::OK, "{}", changed.json());
    until("the new default", async || {
        server.get(&format!("{WIDGETS}/one")).await.json()["spec"]["added"] == "new"
    })
    .await;
    let list = server.get(WIDGETS).await.json();
    assert_eq!(list["items"][0]["spec"]["added"], "new");

    // What was right when it was written and has not changed is let through.
    let path = format!("{WIDGETS}/one");
    let merge = "application/merge-patch+json";
    let labels = json!({"metadata": {"labels": {"a": "b"}}});
    let patched = server.patch(&path, merge, &labels).await;
    assert_eq!(patched.code, StatusCode::OK, "{}", patched.json());
    let event = watched.next().await.unwrap();
    assert_eq!(
        (&event["type"], &event["object"]["spec"]["added"]),
        (&json!("MODIFIED"), &json!("new"))
    );
    let wrong = server
        .patch(&path, merge, &json!({"spec": {"color": "green"}}))
        .await;
    assert_eq!(wrong.code, StatusCode::UNPROCESSABLE_ENTITY);

    let after = server.get("/openapi/v3").await.json();
    let address = |index: &Value, path: &str| {
        index["paths"][path]["serverRelativeURL"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let ours = "apis/example.com/v1";
    assert_ne!(address(&before, ours), address(&after, ours));
    assert_eq!(
        address(&before, "apis/apps/v1"),
        address(&after, "apis/apps/v1")
    );
    let document = server.get(&address(&after, ours)).await;
    let schema = &document.json()["components"]["schemas"]["com.example.v1.Widget"];
    assert_eq!(
        schema["properties"]["spec"]["properties"]["added"]["default"],
        "new"
    );

    let map = json!({"metadata": {"name": "still"}, "data": {}});
    server
        .post("/api/v1/namespaces/default/configmaps", &map)
        .await;
    let mut seen = maps.next().await.unwrap();
    while seen["object"]["metadata"]["name"] != "still" {
        seen = maps.next().await.unwrap();
    }

    let server = server.restart().await;
    assert_eq!(
        server.get("/openapi/v3").await.json(),
        after,
        "the documents keep their names"
    );
    assert_eq!(server.get(&path).await.json()["spec"]["added"], "new");
}

#[tokio::test]
async fn a_definition_takes_its_instances_with_it_and_can_come_again() {
    let server = Server::start().await;
    let definition = widgets(colours());
    define(&server, &definition).await;
    let mut held = widget("held", "red");
    held["metadata"]["finalizers"] = json!(["example.com/hold"]);
    server.post(WIDGETS, &held).await;
    server.post(WIDGETS, &widget("free", "red")).await;
    let mut watched = watch(&server, &format!("{WIDGETS}?watch=1&resourceVersion=0")).await;

    let path = format!("{DEFINITIONS}/widgets.example.com");
    let marked = server.delete(&path).await.json();
    assert_eq!(
        marked["metadata"]["finalizers"],
        json!(["customresourcecleanup.apiextensions.k8s.io"])
    );
    until("the end of what nothing holds", async || {
        server.get(&format!("{WIDGETS}/free")).await.code == StatusCode::NOT_FOUND
    })
    .await;
    let refused = server.post(WIDGETS, &widget("late", "red")).await;
    assert_eq!(refused.code, StatusCode::METHOD_NOT_ALLOWED);
    let freed = server
        .patch(
            &format!("{WIDGETS}/held"),
            "application/merge-patch+json",
            &json!({"metadata": {"finalizers": null}}),
        )
        .await;
    assert_eq!(freed.code, StatusCode::OK, "{}", freed.json());
    until("the end of the definition", async || {
        server.get(&path).await.code == StatusCode::NOT_FOUND
    })
    .await;
    until("the end of its kind", async || {
        server.get(WIDGETS).await.code == StatusCode::NOT_FOUND
    })
    .await;
    let mut deleted = 0;
    while let Some(event) = watched.next().await {
        deleted += usize::from(event["type"] == "DELETED");
    }
    assert_eq!(deleted, 2, "the watch told of both and ended");

    define(&server, &definition).await;
    let list = server.get(WIDGETS).await.json();
    assert_eq!(list["items"], json!([]));
}

#[tokio::test]
async fn names_that_are_taken_are_not_given_again_until_they_are_free() {
    let server = Server::start().await;
    define(&server, &widgets(colours())).await;
    let mut rival = widgets(colours());
    rival["metadata"]["name"] = "gadgets.example.com".into();
    rival["spec"]["names"] = json!({"plural": "gadgets", "kind": "Gadget", "shortNames": ["wd"]});
    server.post(DEFINITIONS, &rival).await;
    until("the conflict", async || {
        condition(&server, "gadgets.example.com", "NamesAccepted")
            .await
            .1
            == "ShortNamesConflict"
    })
    .await;
    assert_eq!(
        condition(&server, "gadgets.example.com", "Established")
            .await
            .0,
        "False"
    );
    server
        .delete(&format!("{DEFINITIONS}/widgets.example.com"))
        .await;
    established(&server, "gadgets.example.com").await;
}

#[tokio::test]
async fn rules_are_kept_and_configurations_are_merged_by_keys() {
    let server = Server::start().await;
    let mut spec = colours();
    spec["x-kubernetes-validations"] = json!([
        {"rule": "self.replicas <= 3", "messageExpression": "'at most 3, not %d'.format([self.replicas])", "fieldPath": ".replicas"},
        {"rule": "self.color == oldSelf.color", "message": "the colour stays"},
    ]);
    define(&server, &widgets(spec)).await;
    let mut many = widget("one", "red");
    many["spec"]["replicas"] = 5.into();
    let refused = server.post(WIDGETS, &many).await.json();
    assert_eq!(
        refused["message"],
        "Widget.example.com \"one\" is invalid: spec.replicas: Invalid value: at most 3, not 5"
    );
    server.post(WIDGETS, &widget("one", "red")).await;
    let path = format!("{WIDGETS}/one");
    let refused = server
        .patch(
            &path,
            "application/merge-patch+json",
            &json!({"spec": {"color": "blue"}}),
        )
        .await;
    assert_eq!(
        refused.json()["message"],
        "Widget.example.com \"one\" is invalid: spec: Invalid value: the colour stays"
    );

    for (manager, part) in [("a", "x"), ("b", "y")] {
        let mut applied = widget("one", "red");
        applied["spec"] = json!({"parts": [{"name": part, "count": 1}]});
        let address = format!("{path}?fieldManager={manager}");
        let answer = server
            .patch(&address, "application/apply-patch+yaml", &applied)
            .await;
        assert_eq!(answer.code, StatusCode::OK, "{}", answer.json());
    }
    let both = server.get(&path).await.json();
    assert_eq!(both["spec"]["parts"].as_array().unwrap().len(), 2, "{both}");

    let mut bad =
        widgets(json!({"type": "object", "x-kubernetes-validations": [{"rule": "self.absent"}]}));
    bad["metadata"]["name"] = "bads.example.com".into();
    bad["spec"]["names"] = json!({"plural": "bads", "kind": "Bad"});
    bad["spec"]["versions"][0]["selectableFields"] = json!([]);
    let refused = server.post(DEFINITIONS, &bad).await;
    assert_eq!(refused.code, StatusCode::UNPROCESSABLE_ENTITY);
    let message = refused.json()["message"].as_str().unwrap().to_owned();
    assert!(message.contains("spec.validation.openAPIV3Schema.properties[spec].x-kubernetes-validations[0].rule: Invalid value"), "{message}");
}

/// A webhook that moves a colour between `spec.color` (v1) and `spec.paint` (v2).
async fn converter() -> (String, String) {
    let pair = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let bundle = STANDARD.encode(pair.cert.pem());
    let key = rustls::pki_types::PrivateKeyDer::try_from(pair.signing_key.serialize_der());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![pair.cert.der().clone()], key.unwrap())
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(socket).await else {
                    return;
                };
                let service = hyper::service::service_fn(|request: Request<Incoming>| async move {
                    let body = request.into_body().collect().await.unwrap().to_bytes();
                    let review: Value = serde_json::from_slice(&body).unwrap();
                    let reply = converted(&review).to_string();
                    Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(reply))))
                });
                let _ = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    });
    (format!("https://localhost:{port}/convert"), bundle)
}

fn converted(review: &Value) -> Value {
    let wanted = &review["request"]["desiredAPIVersion"];
    let objects: Vec<Value> = review["request"]["objects"]
        .as_array()
        .unwrap()
        .iter()
        .map(|object| {
            let mut object = object.clone();
            let spec = object["spec"].as_object_mut().unwrap();
            let (from, to) = if wanted == "example.com/v2" {
                ("color", "paint")
            } else {
                ("paint", "color")
            };
            if let Some(value) = spec.remove(from) {
                spec.insert(to.into(), value);
            }
            object["apiVersion"] = wanted.clone();
            object
        })
        .collect();
    json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "ConversionReview", "response": {
        "uid": review["request"]["uid"], "result": {"status": "Success"}, "convertedObjects": objects}})
}

#[tokio::test]
async fn a_webhook_converts_what_is_read_written_listed_and_watched() {
    let server = Server::start().await;
    let (url, bundle) = converter().await;
    let version = |name: &str, storage: bool, field: &str| {
        json!({"name": name, "served": true, "storage": storage, "schema": {"openAPIV3Schema": {
            "type": "object", "properties": {"spec": {"type": "object", "properties": {
                field: {"type": "string"}}}}}},
            "selectableFields": [{"jsonPath": format!(".spec.{field}")}]})
    };
    let mut definition = widgets(json!({}));
    definition["spec"]["versions"] =
        json!([version("v1", false, "color"), version("v2", true, "paint")]);
    definition["spec"]["conversion"] = json!({"strategy": "Webhook", "webhook": {
        "conversionReviewVersions": ["v1"], "clientConfig": {"url": url, "caBundle": bundle}}});
    define(&server, &definition).await;
    let newer = WIDGETS.replace("/v1/", "/v2/");
    let mut watched = watch(&server, &format!("{newer}?watch=1")).await;
    let mut older = watch(&server, &format!("{WIDGETS}?watch=1")).await;

    let made = server.post(WIDGETS, &widget("one", "red")).await;
    assert_eq!(made.code, StatusCode::CREATED, "{}", made.json());
    assert_eq!(made.json()["spec"], json!({"color": "red"}));
    let shown = server.get(&format!("{newer}/one")).await.json();
    assert_eq!(
        (&shown["apiVersion"], &shown["spec"]),
        (&json!("example.com/v2"), &json!({"paint": "red"}))
    );
    assert_eq!(
        watched.next().await.unwrap()["object"]["spec"]["paint"],
        "red"
    );
    assert_eq!(
        older.next().await.unwrap()["object"]["spec"]["color"],
        "red"
    );
    let list = server
        .get(&format!("{WIDGETS}?fieldSelector=spec.color%3Dred"))
        .await
        .json();
    assert_eq!(list["items"][0]["spec"]["color"], "red");
    let none = server
        .get(&format!("{WIDGETS}?fieldSelector=spec.color%3Dblue"))
        .await
        .json();
    assert_eq!(none["items"], json!([]));
    let patched = server
        .patch(
            &format!("{WIDGETS}/one"),
            "application/merge-patch+json",
            &json!({"spec": {"color": "blue"}}),
        )
        .await
        .json();
    assert_eq!(patched["spec"]["color"], "blue", "{patched}");
    assert_eq!(
        server.get(&format!("{newer}/one")).await.json()["spec"]["paint"],
        "blue"
    );

    // A webhook that cannot be reached is a failure that says so.
    redefine(&server, |definition| {
        definition["spec"]["conversion"]["webhook"]["clientConfig"]["url"] =
            "https://localhost:1/convert".into();
    })
    .await;
    until("the failure", async || {
        server.get(&format!("{WIDGETS}/one")).await.code == StatusCode::INTERNAL_SERVER_ERROR
    })
    .await;
    let failed = server.get(&format!("{WIDGETS}/one")).await.json();
    let message = failed["message"].as_str().unwrap();
    assert!(
        message.contains("conversion webhook for example.com/v2, Kind=Widget failed: Post"),
        "{message}"
    );
}

#[tokio::test]
async fn version_2_documents_come_as_json_and_as_go_clients_ask_for_them() {
    let server = Server::start().await;
    define(&server, &widgets(colours())).await;
    let json = server.get("/openapi/v2").await;
    let document = json.json();
    let definition = &document["definitions"]["com.example.v1.Widget"];
    assert_eq!(
        definition["properties"]["spec"]["required"],
        json!(["color"])
    );
    let accept = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";
    let protobuf = with_accept(&server, "/openapi/v2", accept).await;
    assert_eq!(
        protobuf.headers["content-type"],
        "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
    );
    assert_eq!(&protobuf.bytes[..5], b"\x0a\x032.0");
    let mut again = request(Method::GET, "/openapi/v2", "", Bytes::new());
    let tag = json.headers["etag"].clone();
    again.headers_mut().insert("if-none-match", tag);
    assert_eq!(server.ask(again).await.code, StatusCode::NOT_MODIFIED);
}
