//! Bodies that are made to cost more than they are worth.
#![allow(missing_docs)]

mod support;

use http::Method;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use support::{Server, request};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const PODS: &str = "/api/v1/namespaces/default/pods";
const QUOTAS: &str = "/api/v1/namespaces/default/resourcequotas";

async fn roomy() -> Server {
    Server::start_with(|options| options.limits.body_bytes = 3 << 20).await
}

/// What is quadratic takes minutes and gigabytes here; what is not, a few seconds at worst.
fn in_time(started: Instant) {
    assert!(
        started.elapsed() < Duration::from_secs(60),
        "{:?}",
        started.elapsed()
    );
}

#[tokio::test]
async fn of_thousands_of_faults_the_first_are_told() {
    let server = roomy().await;
    let started = Instant::now();
    let pod = json!({"metadata": {"name": "a"}, "spec": {"containers": vec![json!({}); 20_000]}});
    let answer = server.post(PODS, &pod).await;
    assert_eq!(answer.code, 422);
    assert_eq!(
        answer.json()["details"]["causes"].as_array().unwrap().len(),
        2_000
    );
    assert!(answer.bytes.len() < 2 << 20, "{}", answer.bytes.len());
    // Each of these faults repeats all scopes.
    let scope = |at| json!({"scopeName": format!("n{at}"), "operator": "Exists"});
    let scopes: Vec<Value> = (0..12_000).map(scope).collect();
    let quota = json!({"metadata": {"name": "a"}, "spec": {"hard": {"pods": "1"}, "scopeSelector": {"matchExpressions": scopes}}});
    let answer = server.post(QUOTAS, &quota).await;
    assert_eq!(answer.code, 422);
    assert!(answer.bytes.len() < 32 << 20, "{}", answer.bytes.len());
    in_time(started);
}

#[tokio::test]
async fn a_body_of_a_million_items_is_refused_as_too_large() {
    let server = roomy().await;
    let items = vec!["{}"; 1_000_000].join(",");
    let body = format!("{{\"metadata\":{{\"name\":\"a\"}},\"spec\":{{\"containers\":[{items}]}}}}");
    let answer = server
        .ask(request(Method::POST, PODS, "application/json", body))
        .await;
    assert_eq!(answer.code, 413);
    let message = answer.json()["message"].as_str().unwrap().to_owned();
    assert_eq!(
        message,
        "Request entity too large: the object has more than 100000 items in its lists"
    );
}

#[tokio::test]
async fn a_body_said_to_be_too_large_is_refused_before_it_is_there() {
    let server = Server::start().await;
    let answer = server
        .ask(request(
            Method::POST,
            MAPS,
            "application/json",
            " ".repeat(257 * 1024),
        ))
        .await;
    assert_eq!(answer.code, 413);
}

#[tokio::test]
async fn yaml_that_nests_too_deep_or_grows_by_aliases_is_refused_and_a_long_one_is_not() {
    let server = roomy().await;
    let deep = |levels: usize| {
        format!(
            "metadata: {{name: a}}\nx: {}{}\n",
            "[".repeat(levels),
            "]".repeat(levels)
        )
    };
    let dry = format!("{MAPS}?dryRun=All");
    let answer = server
        .ask(request(Method::POST, &dry, "application/yaml", deep(60)))
        .await;
    assert_eq!(answer.code, 201, "{:?}", answer.bytes);
    for levels in [70, 100_000] {
        let answer = server
            .ask(request(
                Method::POST,
                &dry,
                "application/yaml",
                deep(levels),
            ))
            .await;
        assert_eq!(answer.code, 400);
    }
    let long = format!("metadata: {{name: a}}\nx: [{}1]\n", "1,".repeat(1_000_000));
    let answer = server
        .ask(request(Method::POST, &dry, "application/yaml", long))
        .await;
    assert_eq!(answer.code, 201, "{:?}", answer.bytes);
    let bomb: String = (1..10).fold("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned(), |text, at| {
        let again = vec![format!("*a{}", at - 1); 10].join(",");
        text + &format!("a{at}: &a{at} [{again}]\n")
    });
    let answer = server
        .ask(request(Method::POST, &dry, "application/yaml", bomb))
        .await;
    assert_eq!(answer.code, 400);
}

#[tokio::test]
async fn warnings_have_room_for_so_many_characters_and_no_more() {
    let server = roomy().await;
    let told = |object: Value| {
        let server = &server;
        async move {
            let answer = server.post(&format!("{MAPS}?dryRun=All"), &object).await;
            assert_eq!(answer.code, 201, "{:?}", answer.bytes);
            let all = answer.headers.get_all("warning").iter();
            all.map(|one| one.to_str().unwrap().to_owned())
                .collect::<Vec<_>>()
        }
    };
    let mut object = json!({"metadata": {"name": "a"}});
    object["x".repeat(300)] = 1.into();
    let one = told(object.clone()).await;
    assert!(one[0].len() > 300, "{one:?}");
    for at in 0..90 {
        object[format!("{at}{}", "y".repeat(300))] = 1.into();
    }
    let many = told(object).await;
    assert!(
        many.len() > 10 && many.iter().all(|one| one.len() < 300),
        "{many:?}"
    );
    assert!(many.iter().map(String::len).sum::<usize>() < 5_000);
}
