//! Subresources that the node answers: what reaches it, and that connections are handed over.
#![allow(missing_docs)]

mod support;

use bytes::Bytes;
use consort_api::{Body, ConnectError, NodeConnector};
use futures::FutureExt;
use futures::future::BoxFuture;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use serde_json::json;
use std::net::Ipv4Addr;
use std::sync::Arc;
use support::{Server, pod, request};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_util::sync::CancellationToken;

const PODS: &str = "/api/v1/namespaces/default/pods";

/// A node that says what it was asked, or sends back what it hears on an upgraded connection.
struct Echo;

impl NodeConnector for Echo {
    fn send(
        &self,
        node: &str,
        mut request: Request<Body>,
    ) -> BoxFuture<'static, Result<Response<Body>, ConnectError>> {
        let node = node.to_owned();
        async move {
            if node != "n1" {
                return Err(ConnectError::Unknown(node));
            }
            assert!(
                request.headers().get("authorization").is_none(),
                "credentials stay with the API"
            );
            let body = |text: String| {
                Full::new(Bytes::from(text))
                    .map_err(|never| match never {})
                    .boxed_unsync()
            };
            if !request.headers().contains_key("upgrade") {
                return Ok(Response::new(body(format!(
                    "{} {}",
                    request.method(),
                    request.uri()
                ))));
            }
            let upgrade = hyper::upgrade::on(&mut request);
            tokio::spawn(async move {
                let mut io = TokioIo::new(upgrade.await.unwrap());
                let mut heard = [0; 5];
                io.read_exact(&mut heard).await.unwrap();
                io.write_all(&heard).await.unwrap();
                io.shutdown().await.unwrap();
            });
            let response = Response::builder()
                .status(101)
                .header("connection", "upgrade")
                .header("upgrade", "echo");
            Ok(response.body(body(String::new())).unwrap())
        }
        .boxed()
    }
}

async fn with_pod(node: &str) -> Server {
    let server = Server::start().await;
    server.api.set_nodes(Arc::new(Echo));
    server.post(PODS, &pod("a")).await;
    let binding = json!({"metadata": {"name": "a"}, "target": {"name": node}});
    assert_eq!(
        server
            .post(&format!("{PODS}/a/binding"), &binding)
            .await
            .code,
        StatusCode::CREATED
    );
    server
}

#[tokio::test]
async fn the_node_is_asked_in_its_own_words() {
    let server = with_pod("n1").await;
    let log = server
        .get(&format!("{PODS}/a/log?follow=true&tailLines=3"))
        .await;
    assert_eq!(
        log.bytes,
        "GET /containerLogs/default/a/main?follow=true&tailLines=3"
    );
    let exec = server
        .ask(request(
            Method::POST,
            &format!("{PODS}/a/exec?command=ls&stdout=true"),
            "",
            "",
        ))
        .await;
    assert_eq!(exec.bytes, "POST /exec/default/a/main?output=1&command=ls");
    let wrong = server.get(&format!("{PODS}/a/log?container=none")).await;
    assert_eq!(
        wrong.json()["message"],
        "container none is not valid for pod a"
    );
}

#[tokio::test]
async fn a_node_out_of_reach_is_an_error_that_names_it() {
    let server = with_pod("n2").await;
    let answer = server.get(&format!("{PODS}/a/log")).await;
    assert_eq!(answer.code, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(answer.json()["message"].as_str().unwrap().contains("n2"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upgraded_connection_goes_through_to_the_node() {
    let server = with_pod("n1").await;
    let role = json!({"metadata": {"name": "robot"}, "roleRef": {"kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"kind": "ServiceAccount", "name": "default", "namespace": "default"}]});
    server
        .post(
            "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
            &role,
        )
        .await;
    let token = server
        .post(
            "/api/v1/namespaces/default/serviceaccounts/default/token",
            &json!({}),
        )
        .await;
    let token = token.json()["status"]["token"].as_str().unwrap().to_owned();
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .await
        .unwrap();
    let address = listener.local_addr().unwrap();
    let shutdown = CancellationToken::new();
    let (api, stop) = (server.api.clone(), shutdown.clone());
    let serving = tokio::spawn(async move { api.serve(listener, None, stop).await });
    let ask = format!(
        "GET {PODS}/a/exec?command=cat&stdin=true&stdout=true HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {token}\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n"
    );
    let mut answer = String::new();
    // The new binding holds a moment after it was written.
    for _ in 0..100 {
        let mut socket = tokio::net::TcpStream::connect(address).await.unwrap();
        socket.write_all(ask.as_bytes()).await.unwrap();
        let mut start = [0; 12];
        socket.read_exact(&mut start).await.unwrap();
        if start.ends_with(b"403") {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            continue;
        }
        assert_eq!(&start, b"HTTP/1.1 101");
        socket.write_all(b"hello").await.unwrap();
        socket.read_to_string(&mut answer).await.unwrap();
        break;
    }
    assert!(answer.ends_with("hello"), "{answer}");
    shutdown.cancel();
    serving.await.unwrap();
}
