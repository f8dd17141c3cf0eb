//! A server in a temporary directory, and short ways to ask it.
#![allow(dead_code, missing_docs, unreachable_pub)] // each test binary uses its part

use bytes::Bytes;
use consort_api::identity::{User, pki::Pki, tokens::Signer};
use consort_api::{Api, Body, Options};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use tempfile::TempDir;
use tower::ServiceExt;

pub struct Server {
    pub api: Api,
    pub pki: Pki,
    pub dir: TempDir,
}

/// An answer read whole.
pub struct Answer {
    pub code: StatusCode,
    pub headers: http::HeaderMap,
    pub bytes: Bytes,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes)
            .unwrap_or_else(|error| panic!("{error}: {:?}", self.bytes))
    }
}

impl Server {
    pub async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self::open(dir).await
    }

    /// Start with other options than the usual.
    pub async fn start_with(configure: impl FnOnce(&mut Options)) -> Self {
        Self::open_with(tempfile::tempdir().unwrap(), configure).await
    }

    /// Start on what is in a directory.
    pub async fn open(dir: TempDir) -> Self {
        Self::open_with(dir, |_| {}).await
    }

    /// Start on what is in a directory, with other options than the usual.
    pub async fn open_with(dir: TempDir, configure: impl FnOnce(&mut Options)) -> Self {
        let store =
            consort_store::Store::open(consort_store::Options::new(dir.path().join("store")));
        let loopback = IpAddr::from(Ipv4Addr::LOCALHOST);
        let pki = Pki::open(&dir.path().join("pki"), &["localhost".into()], &[loopback]).unwrap();
        let signer = Signer::new(pki.service_account_key(), "https://issuer.test").unwrap();
        let mut options = Options::new(store.unwrap(), Arc::new(signer));
        options.limits.body_bytes = 256 * 1024;
        configure(&mut options);
        let api = Api::new(options).await.unwrap();
        let server = Self { api, pki, dir };
        let account = json!({"metadata": {"name": "default"}});
        server
            .post("/api/v1/namespaces/default/serviceaccounts", &account)
            .await;
        server
    }

    /// Stop and start again on the same directory.
    pub async fn restart(self) -> Self {
        let store = self.api.store().clone();
        self.api.close().await;
        store.close().await;
        let Self { api, dir, .. } = self;
        drop(api);
        Self::open(dir).await
    }

    pub async fn send(&self, request: Request<Full<Bytes>>, user: User) -> http::Response<Body> {
        let mut request = request;
        request.extensions_mut().insert(Arc::new(user));
        self.api.service().oneshot(request).await.unwrap()
    }

    pub async fn ask(&self, request: Request<Full<Bytes>>) -> Answer {
        self.ask_as(request, User::admin()).await
    }

    pub async fn ask_as(&self, request: Request<Full<Bytes>>, user: User) -> Answer {
        let response = self.send(request, user).await;
        let (parts, body) = response.into_parts();
        Answer {
            code: parts.status,
            headers: parts.headers,
            bytes: body.collect().await.unwrap().to_bytes(),
        }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.ask(request(Method::GET, path, "", Bytes::new())).await
    }

    /// Asks as a user, or as whoever a token stands for.
    pub async fn ask_by(&self, request: Request<Full<Bytes>>, token: &str) -> Answer {
        let mut request = request;
        let header = format!("Bearer {token}").parse().unwrap();
        request.headers_mut().insert("authorization", header);
        let response = self.api.service().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        Answer {
            code: parts.status,
            headers: parts.headers,
            bytes: body.collect().await.unwrap().to_bytes(),
        }
    }

    pub async fn post_as(&self, path: &str, value: &Value, user: User) -> Answer {
        let request = request(Method::POST, path, "application/json", value.to_string());
        self.ask_as(request, user).await
    }

    pub async fn get_as(&self, path: &str, user: User) -> Answer {
        self.ask_as(request(Method::GET, path, "", Bytes::new()), user)
            .await
    }

    pub async fn post(&self, path: &str, value: &Value) -> Answer {
        self.ask(request(
            Method::POST,
            path,
            "application/json",
            value.to_string(),
        ))
        .await
    }

    pub async fn put(&self, path: &str, value: &Value) -> Answer {
        self.ask(request(
            Method::PUT,
            path,
            "application/json",
            value.to_string(),
        ))
        .await
    }

    pub async fn patch(&self, path: &str, media: &str, value: &Value) -> Answer {
        self.ask(request(Method::PATCH, path, media, value.to_string()))
            .await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.ask(request(Method::DELETE, path, "", Bytes::new()))
            .await
    }
}

pub fn request(
    method: Method,
    path: &str,
    media: &str,
    body: impl Into<Bytes>,
) -> Request<Full<Bytes>> {
    let mut builder = Request::builder().method(method).uri(path);
    if !media.is_empty() {
        builder = builder.header("content-type", media);
    }
    builder.body(Full::new(body.into())).unwrap()
}

/// A pod of one container.
pub fn pod(name: &str) -> Value {
    json!({"metadata": {"name": name, "labels": {"app": name}},
        "spec": {"containers": [{"name": "main", "image": "nginx:1"}]}})
}

/// A deployment of one container.
pub fn deployment(name: &str) -> Value {
    json!({"metadata": {"name": name}, "spec": {
        "selector": {"matchLabels": {"app": name}},
        "template": {"metadata": {"labels": {"app": name}},
            "spec": {"containers": [{"name": "main", "image": "nginx:1"}]}}}})
}

/// A config map.
pub fn config_map(name: &str, value: &str) -> Value {
    json!({"metadata": {"name": name}, "data": {"key": value}})
}

/// A watch, read line by line.
pub struct Lines {
    body: Body,
    rest: Vec<u8>,
}

impl Lines {
    pub fn new(response: http::Response<Body>) -> Self {
        assert_eq!(response.status(), StatusCode::OK);
        Self {
            body: response.into_body(),
            rest: Vec::new(),
        }
    }

    /// The next event; none at the end of the stream.
    pub async fn next(&mut self) -> Option<Value> {
        let deadline = std::time::Duration::from_secs(10);
        tokio::time::timeout(deadline, self.read())
            .await
            .expect("no event in time")
    }

    async fn read(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                return Some(serde_json::from_slice(&line).unwrap());
            }
            let frame = self.body.frame().await?.unwrap();
            self.rest.extend_from_slice(&frame.into_data().unwrap());
        }
    }
}
