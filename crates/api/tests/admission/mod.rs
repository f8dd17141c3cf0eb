//! Admission: policies of expressions, and webhooks on a real TLS socket.

mod builtin;

use crate::support::{Answer, Server, config_map, pod, request};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const PODS: &str = "/api/v1/namespaces/default/pods";
const GROUP: &str = "/apis/admissionregistration.k8s.io/v1";

type Answers = Arc<dyn Fn(&Value) -> Value + Send + Sync>;

/// A webhook: what it was sent, and how it is configured.
struct Hook {
    seen: Arc<Mutex<Vec<Value>>>,
    url: String,
    bundle: String,
}

impl Hook {
    /// `answer` makes a review's `response` (its uid is filled in) of the review's `request`.
    async fn start(answer: impl Fn(&Value) -> Value + Send + Sync + 'static) -> Self {
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
        let url = format!(
            "https://localhost:{}/hook",
            listener.local_addr().unwrap().port()
        );
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (answer, noted): (Answers, _) = (Arc::new(answer), seen.clone());
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (acceptor, answer, noted) = (acceptor.clone(), answer.clone(), noted.clone());
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(socket).await else {
                        return;
                    };
                    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
                        let (answer, noted) = (answer.clone(), noted.clone());
                        async move {
                            let body = request.into_body().collect().await.unwrap().to_bytes();
                            let review: Value = serde_json::from_slice(&body).unwrap();
                            let mut response = answer(&review["request"]);
                            response["uid"] = review["request"]["uid"].clone();
                            noted.lock().push(review["request"].clone());
                            let reply = json!({"apiVersion": "admission.k8s.io/v1",
                                "kind": "AdmissionReview", "response": response});
                            Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(
                                reply.to_string(),
                            ))))
                        }
                    });
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Self { seen, url, bundle }
    }

    fn configuration(&self, kind: &str, name: &str, change: Value) -> Value {
        let mut webhook = json!({
            "name": format!("{name}.example.com"),
            "clientConfig": {"url": self.url, "caBundle": self.bundle},
            "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"],
                "resources": ["configmaps"]}],
            "admissionReviewVersions": ["v1"],
            "sideEffects": "None",
        });
        if let (Value::Object(to), Value::Object(from)) = (&mut webhook, change) {
            to.extend(from);
        }
        json!({"metadata": {"name": name}, "kind": kind,
            "apiVersion": "admissionregistration.k8s.io/v1", "webhooks": [webhook]})
    }
}

/// Configurations hold a moment after they are acknowledged: ask until the answer is the one.
async fn until(what: &str, mut ask: impl AsyncFnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(10);
    while !ask().await {
        assert!(Instant::now() < end, "{what} did not come");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn made(server: &Server, path: &str, value: &Value) -> Value {
    let answer = server.post(path, value).await;
    assert_eq!(answer.code, StatusCode::CREATED, "{}", answer.json());
    answer.json()
}

fn message(answer: &Answer) -> String {
    answer.json()["message"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

#[tokio::test]
async fn a_policy_denies_what_its_expressions_refuse_with_the_parameters_of_its_binding() {
    let server = Server::start().await;
    made(&server, MAPS, &config_map("limits", "3")).await;
    made(
        &server,
        &format!("{GROUP}/validatingadmissionpolicies"),
        &json!({"metadata": {"name": "names"}, "spec": {
            "paramKind": {"apiVersion": "v1", "kind": "ConfigMap"},
            "matchConstraints": {"resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"],
                "operations": ["CREATE", "UPDATE"], "resources": ["pods"]}]},
            "matchConditions": [{"name": "marked", "expression": "has(object.metadata.labels) && 'app' in object.metadata.labels"}],
            "variables": [{"name": "most", "expression": "int(params.data.key)"}],
            "validations": [
                {"expression": "size(object.metadata.name) <= variables.most",
                 "messageExpression": "'the name has ' + string(size(object.metadata.name)) + ' letters, at most ' + string(variables.most) + ' are allowed'",
                 "reason": "Forbidden"},
            ]}}),
    )
    .await;
    made(
        &server,
        &format!("{GROUP}/validatingadmissionpolicybindings"),
        &json!({"metadata": {"name": "names-default"}, "spec": {"policyName": "names",
            "paramRef": {"name": "limits", "namespace": "default", "parameterNotFoundAction": "Deny"},
            "validationActions": ["Deny"]}}),
    )
    .await;
    let path = format!("{PODS}?dryRun=All");
    until("the policy", async || {
        server.post(&path, &pod("four")).await.code == 403
    })
    .await;
    let answer = server.post(&path, &pod("four")).await;
    assert_eq!(
        message(&answer),
        "pods \"four\" is forbidden: ValidatingAdmissionPolicy 'names' with binding 'names-default' denied request: the name has 4 letters, at most 3 are allowed"
    );
    assert_eq!(server.post(&path, &pod("two")).await.code, 201);
    // Its condition does not hold for a pod without labels.
    let mut plain = pod("five5");
    plain["metadata"]["labels"] = json!({});
    assert_eq!(server.post(&path, &plain).await.code, 201);
    // Nothing to be found: the binding says deny.
    server.delete(&format!("{MAPS}/limits")).await;
    let answer = server.post(&path, &pod("one")).await;
    assert_eq!(answer.code, 422, "{}", answer.json());
    assert!(
        message(&answer).contains("no params found"),
        "{}",
        message(&answer)
    );
}

#[tokio::test]
async fn a_policy_that_only_warns_lets_the_object_pass_and_a_wrong_one_is_refused() {
    let server = Server::start().await;
    let policy = |expression: &str| {
        json!({"metadata": {"name": "warner"}, "spec": {
            "matchConstraints": {"resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"],
                "operations": ["CREATE"], "resources": ["configmaps"]}]},
            "validations": [{"expression": expression}]}})
    };
    let path = format!("{GROUP}/validatingadmissionpolicies");
    let answer = server.post(&path, &policy("object.data.key == ")).await;
    assert_eq!(answer.code, 422);
    assert!(
        message(&answer).contains("spec.validations[0].expression: Invalid value"),
        "{}",
        message(&answer)
    );
    made(&server, &path, &policy("object.data.key != 'bad'")).await;
    // What it says of the kinds it names is checked against their schemas, for its author to see.
    let typed = json!({"metadata": {"name": "typed"}, "spec": {
        "matchConstraints": {"resourceRules": [{"apiGroups": ["apps"], "apiVersions": ["v1"],
            "operations": ["CREATE"], "resources": ["deployments"]}]},
        "validations": [{"expression": "object.spec.replicsa > 1"}, {"expression": "object.spec.replicas > 1"}]}});
    made(&server, &path, &typed).await;
    let status = async || server.get(&format!("{path}/typed")).await.json()["status"].clone();
    until("the type check", async || {
        status().await["observedGeneration"] == 1
    })
    .await;
    let told = status().await["typeChecking"]["expressionWarnings"].clone();
    assert_eq!(told.as_array().map(Vec::len), Some(1), "{told}");
    assert_eq!(told[0]["fieldRef"], "spec.validations[0].expression");
    let warning = told[0]["warning"].as_str().unwrap();
    assert!(
        warning.starts_with(
            "apps/v1, Kind=Deployment: ERROR: <input>:1:12: undefined field 'replicsa'"
        ),
        "{warning}"
    );
    made(
        &server,
        &format!("{GROUP}/validatingadmissionpolicybindings"),
        &json!({"metadata": {"name": "warns"}, "spec": {"policyName": "warner", "validationActions": ["Warn", "Audit"]}}),
    )
    .await;
    let dry = format!("{MAPS}?dryRun=All");
    let warned = |answer: &Answer| {
        answer
            .headers
            .get("warning")
            .map(|value| value.to_str().unwrap().to_owned())
    };
    until("the warning", async || {
        warned(&server.post(&dry, &config_map("a", "bad")).await).is_some()
    })
    .await;
    let answer = server.post(MAPS, &config_map("a", "bad")).await;
    assert_eq!(answer.code, 201);
    assert_eq!(
        warned(&answer).unwrap(),
        "299 - \"Validation failed for ValidatingAdmissionPolicy 'warner' with binding 'warns': failed expression: object.data.key != 'bad'\""
    );
    assert_eq!(
        warned(&server.post(MAPS, &config_map("b", "good")).await),
        None
    );
}

#[tokio::test]
async fn mutating_policies_merge_configurations_and_apply_patches() {
    let server = Server::start().await;
    made(
        &server,
        &format!("{GROUP}/mutatingadmissionpolicies"),
        &json!({"metadata": {"name": "sidecars"}, "spec": {
            "matchConstraints": {"resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"],
                "operations": ["CREATE"], "resources": ["pods"]}]},
            "matchConditions": [{"name": "once", "expression": "!object.spec.containers.exists(c, c.name == 'sidecar')"}],
            "failurePolicy": "Fail", "reinvocationPolicy": "Never",
            "mutations": [
                {"patchType": "ApplyConfiguration", "applyConfiguration": {"expression":
                    "Object{spec: Object.spec{containers: [Object.spec.containers{name: 'sidecar', image: 'sidecar:1'}]}}"}},
                {"patchType": "JSONPatch", "jsonPatch": {"expression":
                    "[JSONPatch{op: 'add', path: '/metadata/labels/' + jsonpatch.escapeKey('example.com/side'), value: 'car'}]"}},
            ]}}),
    )
    .await;
    made(
        &server,
        &format!("{GROUP}/mutatingadmissionpolicybindings"),
        &json!({"metadata": {"name": "sidecars"}, "spec": {"policyName": "sidecars"}}),
    )
    .await;
    let dry = format!("{PODS}?dryRun=All");
    let containers = |answer: &Answer| {
        answer.json()["spec"]["containers"]
            .as_array()
            .map_or(0, Vec::len)
    };
    until("the sidecar", async || {
        containers(&server.post(&dry, &pod("a")).await) == 2
    })
    .await;
    let made = made(&server, PODS, &pod("a")).await;
    assert_eq!(made["spec"]["containers"][0]["name"], "main");
    assert_eq!(made["spec"]["containers"][1]["image"], "sidecar:1");
    assert_eq!(
        made["metadata"]["labels"],
        json!({"app": "a", "example.com/side": "car"})
    );
    // It has the defaults of any container, though it came after them.
    assert_eq!(
        made["spec"]["containers"][1]["imagePullPolicy"],
        "IfNotPresent"
    );
}

#[tokio::test]
async fn webhooks_change_and_refuse_objects_and_are_told_all_about_the_request() {
    let server = Server::start().await;
    let mutating = Hook::start(|request| {
        let patch = json!([{"op": "add", "path": "/data/hook", "value": "was here"}]).to_string();
        // Some clients write bytes as a list of numbers, which Go's decoder takes.
        let patch = if request["name"] == "free" {
            json!(patch.into_bytes())
        } else {
            json!(STANDARD.encode(patch))
        };
        json!({"allowed": true, "patchType": "JSONPatch", "patch": patch, "warnings": ["mind the hook"]})
    })
    .await;
    let validating = Hook::start(|request| {
        if request["object"]["data"]["key"] == "bad" {
            json!({"allowed": false, "status": {"code": 409, "message": "bad is bad", "reason": "Conflict"}})
        } else {
            json!({"allowed": true})
        }
    })
    .await;
    let configuration =
        mutating.configuration("MutatingWebhookConfiguration", "changer", json!({}));
    made(
        &server,
        &format!("{GROUP}/mutatingwebhookconfigurations"),
        &configuration,
    )
    .await;
    let selector = json!({"objectSelector": {"matchExpressions": [{"key": "free", "operator": "DoesNotExist"}]}});
    let configuration =
        validating.configuration("ValidatingWebhookConfiguration", "refuser", selector);
    made(
        &server,
        &format!("{GROUP}/validatingwebhookconfigurations"),
        &configuration,
    )
    .await;

    let dry = format!("{MAPS}?dryRun=All");
    until("the refusal", async || {
        server.post(&dry, &config_map("a", "bad")).await.code == 409
    })
    .await;
    let answer = server.post(MAPS, &config_map("a", "bad")).await;
    assert_eq!(answer.code, 409);
    assert_eq!(
        message(&answer),
        "admission webhook \"refuser.example.com\" denied the request: bad is bad"
    );
    assert_eq!(answer.json()["reason"], "Conflict");
    let mut free = config_map("free", "bad");
    free["metadata"]["labels"] = json!({"free": "yes"});
    let made = made(&server, MAPS, &free).await;
    assert_eq!(made["data"], json!({"key": "bad", "hook": "was here"}));

    let answer = server
        .post(&format!("{MAPS}?fieldManager=me"), &config_map("b", "good"))
        .await;
    assert_eq!(answer.code, 201);
    assert_eq!(answer.headers["warning"], "299 - \"mind the hook\"");
    let told = validating.seen.lock().last().unwrap().clone();
    // What is validated is what will be stored.
    assert_eq!(told["object"]["data"]["hook"], "was here");
    assert_eq!(told["oldObject"], Value::Null);
    assert_eq!(
        told["kind"],
        json!({"group": "", "version": "v1", "kind": "ConfigMap"})
    );
    assert_eq!(
        told["resource"],
        json!({"group": "", "version": "v1", "resource": "configmaps"})
    );
    assert_eq!(
        (&told["operation"], &told["namespace"], &told["name"]),
        (&json!("CREATE"), &json!("default"), &json!("b"))
    );
    assert_eq!(told["userInfo"]["username"], "consort:admin");
    assert_eq!(told["dryRun"], false);
    assert_eq!(told["options"]["kind"], "CreateOptions");
    assert_eq!(told["options"]["fieldManager"], "me");

    // Updates are told with what was there; the status of a refusal without a code is still one.
    let merge = "application/merge-patch+json";
    let change = json!({"data": {"key": "better"}});
    assert_eq!(
        server
            .patch(&format!("{MAPS}/b"), merge, &change)
            .await
            .code,
        200
    );
    let told = validating.seen.lock().last().unwrap().clone();
    assert_eq!(told["operation"], "UPDATE");
    assert_eq!(
        (
            &told["oldObject"]["data"]["key"],
            &told["object"]["data"]["key"]
        ),
        (&json!("good"), &json!("better"))
    );
}

#[tokio::test]
async fn a_webhook_that_does_not_answer_is_passed_over_or_not_as_its_policy_says() {
    let server = Server::start().await;
    let hook = Hook::start(|_| json!({"allowed": true})).await;
    let path = format!("{GROUP}/validatingwebhookconfigurations");
    // Nobody listens on port 1.
    let gone = json!({"clientConfig": {"url": "https://localhost:1/x", "caBundle": hook.bundle}});
    let configuration = hook.configuration("ValidatingWebhookConfiguration", "gone", gone);
    let mut configuration = made(&server, &path, &configuration).await;
    until("the failure", async || {
        server
            .post(&format!("{MAPS}?dryRun=All"), &config_map("a", "1"))
            .await
            .code
            == 500
    })
    .await;
    let text = message(&server.post(MAPS, &config_map("a", "1")).await);
    let begins = "Internal error occurred: failed calling webhook \"gone.example.com\": failed to call webhook: Post \"https://localhost:1/x?timeout=10s\"";
    assert!(text.starts_with(begins), "{text}");
    // Other kinds do not care.
    assert_eq!(
        server
            .post(&format!("{PODS}?dryRun=All"), &pod("p"))
            .await
            .code,
        201
    );
    configuration["webhooks"][0]["failurePolicy"] = json!("Ignore");
    let answer = server.put(&format!("{path}/gone"), &configuration).await;
    assert_eq!(answer.code, 200, "{}", answer.json());
    until("the creation", async || {
        server.post(MAPS, &config_map("a", "1")).await.code == 201
    })
    .await;
}

#[tokio::test]
async fn deletes_connects_and_status_writes_are_admitted_too_and_side_effects_forbid_dry_runs() {
    let server = Server::start().await;
    let hook = Hook::start(|request| {
        let name = request["name"].as_str().unwrap_or_default();
        json!({"allowed": !name.starts_with("kept"), "status": {"message": "it stays"}})
    })
    .await;
    let change = json!({"rules": [
        {"apiGroups": [""], "apiVersions": ["*"], "operations": ["DELETE"], "resources": ["configmaps", "pods"]},
        {"apiGroups": [""], "apiVersions": ["*"], "operations": ["CONNECT"], "resources": ["pods/exec"]},
        {"apiGroups": [""], "apiVersions": ["*"], "operations": ["UPDATE"], "resources": ["pods/status"]},
        {"apiGroups": [""], "apiVersions": ["*"], "operations": ["CREATE"], "resources": ["pods/eviction", "pods/binding"]},
    ]});
    let configuration = hook.configuration("ValidatingWebhookConfiguration", "keeper", change);
    made(
        &server,
        &format!("{GROUP}/validatingwebhookconfigurations"),
        &configuration,
    )
    .await;
    made(&server, MAPS, &config_map("kept", "1")).await;
    made(&server, PODS, &pod("kept-pod")).await;
    until("the refusal", async || {
        server.delete(&format!("{MAPS}/kept?dryRun=All")).await.code == 400
    })
    .await;
    let answer = server.delete(&format!("{MAPS}/kept")).await;
    assert_eq!(
        message(&answer),
        "admission webhook \"keeper.example.com\" denied the request: it stays"
    );
    let told = hook.seen.lock().last().unwrap().clone();
    assert_eq!(
        (&told["object"], &told["oldObject"]["data"]["key"]),
        (&Value::Null, &json!("1"))
    );
    // Of a collection only what may go goes; the first refusal is told.
    let answer = server.delete(MAPS).await;
    assert_eq!(answer.code, 400, "{}", answer.json());
    assert_eq!(server.get(&format!("{MAPS}/kept")).await.code, 200);

    let exec = request(
        Method::POST,
        &format!("{PODS}/kept-pod/exec?command=id&stdout=true"),
        "",
        Bytes::new(),
    );
    let answer = server.ask(exec).await;
    assert_eq!(
        message(&answer),
        "admission webhook \"keeper.example.com\" denied the request: it stays"
    );
    let told = hook.seen.lock().last().unwrap().clone();
    assert_eq!(
        (&told["operation"], &told["subResource"]),
        (&json!("CONNECT"), &json!("exec"))
    );
    assert_eq!(told["object"]["command"], json!(["id"]));
    assert_eq!(told["kind"]["kind"], "PodExecOptions");

    let merge = "application/merge-patch+json";
    let status = json!({"status": {"message": "hi"}});
    let answer = server
        .patch(&format!("{PODS}/kept-pod/status"), merge, &status)
        .await;
    assert_eq!(answer.code, 400, "{}", answer.json());
    let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "kept-pod", "namespace": "default"}});
    let answer = server
        .post(&format!("{PODS}/kept-pod/eviction"), &eviction)
        .await;
    assert_eq!(answer.code, 400, "{}", answer.json());

    // A webhook with side effects is not asked about what will not be.
    let mut configuration = configuration;
    configuration["webhooks"][0]["sideEffects"] = json!("Some");
    configuration["webhooks"][0]["admissionReviewVersions"] = json!(["v1"]);
    let answer = server
        .put(
            &format!("{GROUP}/validatingwebhookconfigurations/keeper"),
            &configuration,
        )
        .await;
    assert_eq!(
        answer.code,
        422,
        "v1 knows only webhooks that can be asked: {}",
        answer.json()
    );
}
