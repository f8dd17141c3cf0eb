//! Events sent to another server, in batches of `audit.k8s.io/v1` `EventList`.

use std::path::PathBuf;
use std::time::Duration;

use http::{Request, StatusCode, header};
use http_body_util::{BodyExt as _, Limited};
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

/// Where and how events are sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookOptions {
    /// A kubeconfig that names the server and how to speak to it.
    pub config: PathBuf,
    /// Most events of a batch.
    pub batch: usize,
    /// A batch is sent after this time though it is not full.
    pub wait: Duration,
}

/// Events that wait to be sent; more are dropped, and counted.
pub(super) const QUEUE: usize = 10_000;
/// How often a batch is tried.
const ATTEMPTS: u32 = 5;
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const PATIENCE: Duration = Duration::from_secs(30);
/// Answers say little; more is not read.
const ANSWER: usize = 64 * 1024;

/// Sends batches to one server.
pub(super) struct Webhook {
    client: kube::Client,
    path: String,
    options: WebhookOptions,
}

impl Webhook {
    /// Reads the configuration; nothing is sent yet.
    pub(super) async fn open(options: WebhookOptions) -> Result<Self, String> {
        let at = |why: &dyn std::fmt::Display| {
            format!(
                "the audit webhook's configuration {}: {why}",
                options.config.display()
            )
        };
        let file = options.config.clone();
        let kubeconfig = tokio::task::spawn_blocking(move || Kubeconfig::read_from(file))
            .await
            .map_err(|e| at(&e))?
            .map_err(|e| at(&e))?;
        let mut config =
            kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
                .await
                .map_err(|e| at(&e))?;
        config.connect_timeout = Some(PATIENCE);
        config.read_timeout = Some(PATIENCE);
        // The whole URL is the endpoint: its path is not a base.
        let url = std::mem::take(&mut config.cluster_url).into_parts();
        let path = url
            .path_and_query
            .map_or("/".to_owned(), |path| path.to_string());
        let (scheme, host) = (url.scheme, url.authority);
        let (Some(scheme), Some(host)) = (scheme, host) else {
            return Err(at(&"its server is no URL"));
        };
        config.cluster_url = format!("{scheme}://{host}").parse().map_err(|e| at(&e))?;
        let client = kube::Client::try_from(config).map_err(|e| at(&e))?;
        Ok(Self {
            client,
            path,
            options,
        })
    }

    /// Sends what comes until the other end is closed and all is sent, or given up.
    pub(super) async fn run(self, mut events: mpsc::Receiver<Value>) {
        let mut batch = Vec::new();
        loop {
            let Some(first) = events.recv().await else {
                return;
            };
            batch.push(first);
            let deadline = Instant::now() + self.options.wait;
            while batch.len() < self.options.batch {
                match timeout_at(deadline, events.recv()).await {
                    Ok(Some(event)) => batch.push(event),
                    Ok(None) | Err(_) => break,
                }
            }
            self.deliver(std::mem::take(&mut batch)).await;
        }
    }

    async fn deliver(&self, batch: Vec<Value>) {
        let count = batch.len();
        let list = json!({
            "kind": "EventList", "apiVersion": "audit.k8s.io/v1", "metadata": {}, "items": batch,
        });
        let body = list.to_string();
        let mut pause = FIRST_PAUSE;
        for attempt in 1..=ATTEMPTS {
            let sent = tokio::time::timeout(PATIENCE, self.post(body.clone())).await;
            match sent.unwrap_or_else(|_| Err(("no answer in time".to_owned(), true))) {
                Ok(()) => return,
                Err((why, again)) if !again || attempt == ATTEMPTS => {
                    tracing::error!(why, events = count, "audit events were not delivered");
                    super::lost(count);
                    return;
                }
                Err((why, _)) => tracing::debug!(why, attempt, "sending audit events"),
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
    }

    /// Sends once; a failure says whether it makes sense to try again.
    async fn post(&self, body: String) -> Result<(), (String, bool)> {
        let request = Request::post(&self.path)
            .header(header::CONTENT_TYPE, "application/json")
            .body(kube::client::Body::from(body.into_bytes()))
            .map_err(|e| (e.to_string(), false))?;
        let response = self
            .client
            .send(request)
            .await
            .map_err(|e| (e.to_string(), true))?;
        let code = response.status();
        // Read to its end, so that the connection can be used again.
        let _ = Limited::new(response.into_body(), ANSWER).collect().await;
        if code.is_success() {
            return Ok(());
        }
        let again = code.is_server_error() || code == StatusCode::TOO_MANY_REQUESTS;
        Err((format!("the server answered {code}"), again))
    }
}
