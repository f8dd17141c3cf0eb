//! The audit log, from outside.
#![allow(missing_docs)]

mod support;

use consort_api::audit::{LogOptions, Mode, Options, Policy};
use consort_api::identity::User;
use http::Method;
use serde_json::{Value, json};
use std::path::Path;
use support::{Lines, Server, config_map, request};

fn recording(path: &Path, rules: &str) -> Options {
    Options {
        policy: Policy::parse(&format!(
            "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n{rules}"
        ))
        .unwrap(),
        log: Some(LogOptions {
            path: path.to_owned(),
            max_bytes: 1 << 30,
            max_backups: 0,
            max_age: None,
        }),
        webhook: None,
        mode: Mode::Blocking,
    }
}

fn events(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[tokio::test]
async fn every_request_leaves_its_trail_and_no_secret_does() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit.log");
    let rules = "- {level: None, users: ['system:robot']}\n- {level: RequestResponse}\n";
    let server = Server::start_with(|options| options.audit = Some(recording(&path, rules))).await;
    let space = "/api/v1/namespaces/default";
    let robot = User::new("system:robot", [""; 0]);
    server.get_as("/version", robot).await;
    server
        .post(&format!("{space}/configmaps"), &config_map("c", "plain"))
        .await;
    let secret = json!({"metadata": {"name": "s",
        "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{\"hunter2\":1}"}},
        "stringData": {"password": "hunter2"}});
    let made = server.post(&format!("{space}/secrets"), &secret).await;
    assert_eq!(made.code, 201);
    server.get(&format!("{space}/secrets")).await;
    let strategic = "application/strategic-merge-patch+json";
    let patch = json!({"stringData": {"password": "hunter2"}});
    server
        .patch(&format!("{space}/secrets/s"), strategic, &patch)
        .await;
    let token = server
        .post(
            &format!("{space}/serviceaccounts/default/token"),
            &json!({"spec": {}}),
        )
        .await
        .json()["status"]["token"]
        .as_str()
        .unwrap()
        .to_owned();
    let reviewed = json!({"spec": {"token": token}});
    server
        .post("/apis/authentication.k8s.io/v1/tokenreviews", &reviewed)
        .await;
    let refused = server
        .get_as("/api/v1/nodes", User::new("jane", ["dev"]))
        .await;
    assert_eq!(refused.code, 403);
    let mut acting = request(Method::GET, "/version", "", "");
    acting
        .headers_mut()
        .insert("impersonate-user", "joe".parse().unwrap());
    acting
        .headers_mut()
        .insert("audit-id", "my-own-id".parse().unwrap());
    let answer = server.ask(acting).await;
    assert_eq!(answer.headers["audit-id"], "my-own-id");
    let bad = request(Method::GET, "/version", "", "");
    assert_eq!(server.ask_by(bad, "nonsense").await.code, 401);
    let watch = request(Method::GET, &format!("{space}/configmaps?watch=1"), "", "");
    let mut lines = Lines::new(server.send(watch, User::admin()).await);
    assert_eq!(lines.next().await.unwrap()["type"], "ADDED");
    drop(lines);
    server.api.close().await;

    let text = std::fs::read_to_string(&path).unwrap();
    assert!(!text.contains("hunter2"), "a password is in the log");
    assert!(
        !text.contains("aHVudGVyMg"),
        "an encoded password is in the log"
    );
    assert!(!text.contains(&token), "a token is in the log");
    assert!(!text.contains("system:robot"));
    let all = events(&path);
    let of = |uri: &str, verb: &str| -> Vec<&Value> {
        let fits = |event: &&Value| event["requestURI"] == uri && event["verb"] == verb;
        all.iter().filter(fits).collect()
    };
    let made = of(&format!("{space}/configmaps"), "create");
    assert_eq!(made.len(), 2);
    assert_eq!(made[0]["stage"], "RequestReceived");
    let done = made[1];
    assert_eq!(done["stage"], "ResponseComplete");
    assert_eq!(done["auditID"], made[0]["auditID"]);
    assert_eq!(done["requestObject"]["data"]["key"], "plain");
    assert_eq!(done["responseObject"]["kind"], "ConfigMap");
    assert_eq!(done["responseStatus"]["code"], 201);
    assert_eq!(done["objectRef"]["name"], "c");
    assert_eq!(done["user"]["username"], "consort:admin");
    assert_eq!(
        done["annotations"]["authorization.k8s.io/decision"],
        "allow"
    );
    let forbidden = of("/api/v1/nodes", "list")[1];
    assert_eq!(
        forbidden["annotations"]["authorization.k8s.io/decision"],
        "forbid"
    );
    assert_eq!(forbidden["responseStatus"]["reason"], "Forbidden");
    let acted = all
        .iter()
        .find(|event| event["auditID"] == "my-own-id" && event["stage"] == "ResponseComplete");
    assert_eq!(acted.unwrap()["impersonatedUser"]["username"], "joe");
    let stranger = all
        .iter()
        .find(|event| event["responseStatus"]["code"] == 401)
        .unwrap();
    assert_eq!(stranger["user"], json!({}));
    let watched: Vec<&Value> = of(&format!("{space}/configmaps?watch=1"), "watch");
    let stages: Vec<&Value> = watched.iter().map(|event| &event["stage"]).collect();
    assert_eq!(
        stages,
        ["RequestReceived", "ResponseStarted", "ResponseComplete"]
    );
    assert!(watched[2].get("responseObject").is_none());
    let secrets = of(&format!("{space}/secrets"), "create")[1];
    assert_eq!(secrets["objectRef"]["name"], "s");
    assert_eq!(secrets["responseObject"]["metadata"]["name"], "s");
}

#[tokio::test]
async fn omitted_stages_and_lower_levels_leave_less() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit.log");
    let rules = "- {level: Metadata, omitStages: [RequestReceived]}\n";
    let server = Server::start_with(|options| options.audit = Some(recording(&path, rules))).await;
    let generated = json!({"metadata": {"name": "c"}, "data": {"a": "private"}});
    server
        .post("/api/v1/namespaces/default/configmaps", &generated)
        .await;
    server.api.close().await;
    let all = events(&path);
    let made: Vec<&Value> = all
        .iter()
        .filter(|event| event["objectRef"]["resource"] == "configmaps")
        .collect();
    assert_eq!(made.len(), 1);
    assert_eq!(made[0]["objectRef"]["name"], "c", "named by its body");
    assert!(made[0].get("requestObject").is_none());
    assert!(!made[0].to_string().contains("private"));
}

#[tokio::test]
async fn events_are_sent_in_batches_and_again_after_a_failure() {
    use http_body_util::BodyExt as _;
    use std::sync::Arc;
    let dir = tempfile::tempdir().unwrap();
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0))
        .await
        .unwrap();
    let place = listener.local_addr().unwrap();
    let config = dir.path().join("webhook.kubeconfig");
    let text = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: a\n\
         clusters: [{{name: a, cluster: {{server: 'http://{place}/events'}}}}]\n\
         contexts: [{{name: a, context: {{cluster: a, user: a}}}}]\n\
         users: [{{name: a, user: {{token: sesame}}}}]\n"
    );
    std::fs::write(&config, text).unwrap();
    let got = Arc::new(parking_lot::Mutex::new(Vec::<Value>::new()));
    let tries = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let (taken, tried) = (got.clone(), tries.clone());
    let serving = tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let (taken, tried) = (taken.clone(), tried.clone());
            let service =
                hyper::service::service_fn(move |asked: http::Request<hyper::body::Incoming>| {
                    let (taken, tried) = (taken.clone(), tried.clone());
                    async move {
                        assert_eq!(asked.uri().path(), "/events");
                        assert_eq!(asked.headers()["authorization"], "Bearer sesame");
                        let body = asked.into_body().collect().await?.to_bytes();
                        let first = tried.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 0;
                        let mut answer =
                            http::Response::new(http_body_util::Empty::<bytes::Bytes>::new());
                        if first {
                            *answer.status_mut() = http::StatusCode::SERVICE_UNAVAILABLE;
                        } else {
                            taken.lock().push(serde_json::from_slice(&body).unwrap());
                        }
                        Ok::<_, hyper::Error>(answer)
                    }
                });
            let io = hyper_util::rt::TokioIo::new(socket);
            let serving = hyper::server::conn::http1::Builder::new().serve_connection(io, service);
            tokio::spawn(serving);
        }
    });
    let rules = "- {level: Metadata, users: [jane], omitStages: [RequestReceived]}\n";
    let mut options = recording(&dir.path().join("audit.log"), rules);
    options.log = None;
    options.webhook = Some(consort_api::audit::WebhookOptions {
        config,
        batch: 3,
        wait: std::time::Duration::from_millis(200),
    });
    let server = Server::start_with(|own| own.audit = Some(options)).await;
    for _ in 0..4 {
        server.get_as("/version", User::new("jane", ["dev"])).await;
    }
    server.api.close().await;
    serving.abort();
    let lists = got.lock();
    let sizes: Vec<usize> = lists
        .iter()
        .map(|list| list["items"].as_array().unwrap().len())
        .collect();
    assert_eq!(sizes, [3, 1], "none is lost by the first refusal");
    assert_eq!(lists[0]["kind"], "EventList");
    assert_eq!(lists[0]["items"][0]["user"]["username"], "jane");
}
