//! The published keys of an issuer: fetched when they are first needed, again when a token names one
//! that is not known, and every now and then so that keys that were withdrawn stop counting.

use std::sync::Arc;
use std::time::Duration;

use http::Request;
use http_body_util::{BodyExt as _, Limited};
use parking_lot::RwLock;
use serde_json::Value;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::Refused;
use super::config::Issuer;
use super::jwt::{Key, Token};

/// Keys older than this are fetched again.
const FRESH: Duration = Duration::from_secs(10 * 60);
/// Tokens with unknown keys make us ask the issuer no more often than this.
const PAUSE: Duration = Duration::from_secs(10);
/// How long an issuer may take for an answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Most bytes of an answer.
const LIMIT: usize = 1024 * 1024;

#[derive(Clone)]
struct Fetched {
    keys: Arc<Vec<Key>>,
    at: Instant,
}

pub(super) struct Keys {
    url: String,
    discovery: String,
    authority: Option<Vec<Vec<u8>>>,
    fetched: RwLock<Option<Fetched>>,
    /// When the issuer was last asked, and what went wrong then. Held while asking, so that many
    /// tokens at once ask once.
    asked: Mutex<Option<(Instant, Option<String>)>>,
}

impl Keys {
    pub(super) fn new(issuer: &Issuer) -> Self {
        Self {
            url: issuer.url.clone(),
            discovery: issuer.discovery_url(),
            authority: issuer.authority.clone(),
            fetched: RwLock::new(None),
            asked: Mutex::new(None),
        }
    }

    /// The claims of a token, its signature verified.
    pub(super) async fn verify(&self, token: &Token<'_>) -> Result<Value, Refused> {
        let now = Instant::now();
        let known = self.fetched.read().clone();
        if let Some(known) = &known
            && now.duration_since(known.at) < FRESH
            && known.keys.iter().any(|key| key.verifies(token))
        {
            return token.claims();
        }
        let problem = self.refresh(now).await;
        let known = self.fetched.read().clone();
        match (known, problem) {
            // Keys that could not be renewed go on counting: the issuer may be away for a while.
            (Some(known), _) if known.keys.iter().any(|key| key.verifies(token)) => token.claims(),
            (None, Some(problem)) => Err(Refused::Keys(problem)),
            _ => Err(Refused::Signature),
        }
    }

    /// Asks the issuer for its keys, unless that was done since `since` or a moment ago.
    async fn refresh(&self, since: Instant) -> Option<String> {
        let mut asked = self.asked.lock().await;
        if let Some((at, problem)) = &*asked
            && (*at > since || at.elapsed() < PAUSE)
        {
            return problem.clone();
        }
        let answer = tokio::time::timeout(PATIENCE, self.fetch()).await;
        let answer = answer.unwrap_or_else(|_| Err("the issuer did not answer in time".to_owned()));
        let problem = match answer {
            Ok(keys) => {
                *self.fetched.write() = Some(Fetched {
                    keys: Arc::new(keys),
                    at: Instant::now(),
                });
                None
            }
            Err(problem) => {
                tracing::warn!(issuer = self.url, problem, "fetching an issuer's keys");
                Some(problem)
            }
        };
        *asked = Some((Instant::now(), problem.clone()));
        problem
    }

    async fn fetch(&self) -> Result<Vec<Key>, String> {
        let document = self.get(&self.discovery).await?;
        let issuer = document.get("issuer").and_then(Value::as_str);
        if issuer != Some(self.url.as_str()) {
            return Err(format!(
                "issuer did not match the issuer returned by provider, expected {:?} got {:?}",
                self.url,
                issuer.unwrap_or_default()
            ));
        }
        let place = document
            .get("jwks_uri")
            .and_then(Value::as_str)
            .ok_or("the discovery document has no jwks_uri")?;
        let keys = Key::set(&self.get(place).await?);
        if keys.is_empty() {
            return Err("the issuer publishes no key that can be used".to_owned());
        }
        Ok(keys)
    }

    /// Gets a JSON document over HTTPS.
    async fn get(&self, url: &str) -> Result<Value, String> {
        let at = |what: &dyn std::fmt::Display| format!("getting {url}: {what}");
        let uri: http::Uri = url.parse().map_err(|e| at(&e))?;
        if uri.scheme_str() != Some("https") {
            return Err(at(&"only https is spoken with issuers"));
        }
        let host = uri.authority().ok_or_else(|| at(&"it names no host"))?;
        let base: http::Uri = format!("https://{host}").parse().map_err(|e| at(&e))?;
        let mut config = kube::Config::new(base);
        config.root_cert.clone_from(&self.authority);
        config.connect_timeout = Some(PATIENCE);
        config.read_timeout = Some(PATIENCE);
        let client = kube::Client::try_from(config).map_err(|e| at(&e))?;
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let request = Request::get(path)
            .header(http::header::ACCEPT, "application/json")
            .body(kube::client::Body::empty())
            .map_err(|e| at(&e))?;
        let response = client.send(request).await.map_err(|e| at(&chain(&e)))?;
        if !response.status().is_success() {
            return Err(at(&response.status()));
        }
        let body = Limited::new(response.into_body(), LIMIT).collect();
        let body = body.await.map_err(|e| at(&e))?.to_bytes();
        serde_json::from_slice(&body).map_err(|e| at(&e))
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        next = cause.source();
    }
    text
}
