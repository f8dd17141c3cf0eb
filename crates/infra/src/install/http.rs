//! Talking to registries, mirrors and other servers: discovery of services, credentials, retries, limits.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::{Client, Response, StatusCode, Url};
use serde_json::Value as Json;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::Mutex;

use super::cli_config::CliConfig;
use super::error::Error;
use crate::version::TERRAFORM_VERSION;

/// The largest answer that is read into memory.
const LARGEST_ANSWER: usize = 64 << 20;

/// How often a request is made again when a server fails or does not answer.
const RETRIES: u32 = 2;

/// The services of a host by their ids, such as `providers.v1`.
type Services = Arc<HashMap<String, Url>>;

/// A client for all that an installation fetches. Cheap to clone.
#[derive(Clone)]
pub struct Http {
    inner: Arc<Inner>,
}

struct Inner {
    client: Client,
    config: Arc<CliConfig>,
    services: Mutex<HashMap<String, Services>>,
}

/// The causes of an error, one after the other, each once.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
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

/// A URL without credentials, for messages.
pub(super) fn shown(url: &Url) -> String {
    let mut url = url.clone();
    if url.password().is_some() {
        let _ = url.set_password(Some("redacted"));
    }
    url.to_string()
}

impl Http {
    /// A client with the credentials and hosts of a command-line configuration.
    ///
    /// # Errors
    /// When the system's certificates cannot be used.
    pub fn new(config: Arc<CliConfig>) -> Result<Self, Error> {
        // Only the first to install one wins; all of them are ring.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let seconds = std::env::var("TF_REGISTRY_CLIENT_TIMEOUT")
            .ok()
            .and_then(|text| text.parse().ok())
            .unwrap_or(10);
        let mut headers = HeaderMap::new();
        headers.insert(
            "x-terraform-version",
            HeaderValue::from_static(TERRAFORM_VERSION),
        );
        let client = Client::builder()
            .user_agent(concat!("consort/", env!("CARGO_PKG_VERSION")))
            .default_headers(headers)
            .connect_timeout(Duration::from_secs(seconds))
            .read_timeout(Duration::from_secs(seconds.max(30)))
            .redirect(reqwest::redirect::Policy::limited(10))
            .build()
            .map_err(|error| Error::other(chain(&error)))?;
        Ok(Self {
            inner: Arc::new(Inner {
                client,
                config,
                services: Mutex::new(HashMap::new()),
            }),
        })
    }

    /// Whether there are credentials for a host.
    pub(super) fn has_token(&self, host: &str) -> bool {
        self.inner.config.token(host).is_some()
    }

    /// One request, made again while the server fails. Any status is an answer.
    async fn send(
        &self,
        url: &Url,
        host: Option<&str>,
        accept: Option<&'static str>,
    ) -> Result<Response, Error> {
        let mut attempt = 0;
        loop {
            let mut request = self.inner.client.get(url.clone());
            if let Some(token) = host.and_then(|host| self.inner.config.token(host)) {
                let mut value =
                    HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| {
                        Error::other(format!(
                            "the token for {} cannot be sent",
                            host.unwrap_or_default()
                        ))
                    })?;
                value.set_sensitive(true);
                request = request.header(AUTHORIZATION, value);
            }
            if let Some(accept) = accept {
                request = request.header(reqwest::header::ACCEPT, accept);
            }
            let failure = match request.send().await {
                Ok(response)
                    if response.status().is_server_error()
                        && response.status() != StatusCode::NOT_IMPLEMENTED =>
                {
                    if attempt >= RETRIES {
                        return Ok(response);
                    }
                    None
                }
                Ok(response) => return Ok(response),
                Err(error) => Some(Error::Http {
                    url: shown(url),
                    reason: chain(&error.without_url()),
                }),
            };
            if let Some(error) = failure.filter(|_| attempt >= RETRIES) {
                return Err(error);
            }
            tokio::time::sleep(Duration::from_millis(500 << attempt)).await;
            attempt += 1;
        }
    }

    /// The answer to a request as a whole, with the URL it came from in the end; other states than success are errors
    /// for the caller to tell apart.
    pub(super) async fn get(&self, url: &Url, host: Option<&str>) -> Result<Answer, Error> {
        let response = self.send(url, host, None).await?;
        let (status, from, headers) = (
            response.status(),
            response.url().clone(),
            response.headers().clone(),
        );
        let mut body = Vec::new();
        let mut stream = response.bytes_stream();
        while let Some(chunk) = stream.next().await {
            let chunk = chunk.map_err(|error| Error::Http {
                url: shown(url),
                reason: chain(&error.without_url()),
            })?;
            if body.len() + chunk.len() > LARGEST_ANSWER {
                return Err(Error::Http {
                    url: shown(url),
                    reason: "the answer is too large".to_string(),
                });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Answer {
            status,
            url: from,
            headers,
            body,
        })
    }

    /// Writes what a URL gives into a file. A broken transfer is started again.
    pub(super) async fn download(
        &self,
        url: &Url,
        host: Option<&str>,
        to: &Path,
    ) -> Result<(), Error> {
        let mut attempt = 0;
        loop {
            match self.download_once(url, host, to).await {
                Err(Error::Http { .. }) if attempt < RETRIES => attempt += 1,
                other => return other,
            }
        }
    }

    async fn download_once(&self, url: &Url, host: Option<&str>, to: &Path) -> Result<(), Error> {
        let response = self.send(url, host, None).await?;
        if !response.status().is_success() {
            return Err(Error::Status {
                url: shown(url),
                status: response.status(),
            });
        }
        let expected = response.content_length();
        let mut file = tokio::fs::File::create(to)
            .await
            .map_err(Error::io("creating", to))?;
        let mut written = 0;
        let mut stream = response.bytes_stream();
        while let Some(chunk) = stream.next().await {
            let chunk = chunk.map_err(|error| Error::Http {
                url: shown(url),
                reason: chain(&error.without_url()),
            })?;
            file.write_all(&chunk)
                .await
                .map_err(Error::io("writing", to))?;
            written += chunk.len() as u64;
        }
        file.flush().await.map_err(Error::io("writing", to))?;
        match expected {
            Some(expected) if expected != written => Err(Error::Http {
                url: shown(url),
                reason: format!("the server promised {expected} bytes and sent {written}"),
            }),
            _ => Ok(()),
        }
    }

    /// Where a host has a service; nothing when it has none.
    ///
    /// # Errors
    /// When the host's description of its services cannot be had or read.
    pub(super) async fn service(&self, host: &str, id: &str) -> Result<Option<Url>, Error> {
        let mut known = self.inner.services.lock().await;
        if let Some(services) = known.get(host) {
            return Ok(services.get(id).cloned());
        }
        let services = Arc::new(self.discover(host).await?);
        known.insert(host.to_string(), services.clone());
        Ok(services.get(id).cloned())
    }

    async fn discover(&self, host: &str) -> Result<HashMap<String, Url>, Error> {
        let failed =
            |why: String| Error::other(format!("failed to discover the services of {host}: {why}"));
        let base = format!("https://{host}/.well-known/terraform.json");
        let url: Url = base
            .parse()
            .map_err(|_| failed("the host has no valid name".to_string()))?;
        if let Some(services) = self.inner.config.host_services(host) {
            return Ok(resolve_services(services, &url));
        }
        let answer = self
            .get(&url, Some(host))
            .await
            .map_err(|error| failed(error.to_string()))?;
        match answer.status {
            StatusCode::OK => {}
            // A host without description has no services.
            StatusCode::NOT_FOUND => return Ok(HashMap::new()),
            status => return Err(failed(format!("{} returned {status}", shown(&url)))),
        }
        let kind = answer.header("content-type");
        if kind.split(';').next().map(str::trim) != Some("application/json") {
            return Err(failed(format!(
                "the discovery document has content type {kind:?} in place of application/json"
            )));
        }
        let Ok(Json::Object(services)) = serde_json::from_slice(&answer.body) else {
            return Err(failed(
                "the discovery document is no JSON object".to_string(),
            ));
        };
        Ok(resolve_services(&services, &answer.url))
    }
}

fn resolve_services(services: &serde_json::Map<String, Json>, base: &Url) -> HashMap<String, Url> {
    let url = |value: &Json| {
        let mut url = base
            .join(value.as_str()?)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https"))?;
        if !url.path().ends_with('/') {
            url.set_path(&format!("{}/", url.path()));
        }
        Some(url)
    };
    services
        .iter()
        .filter_map(|(id, value)| Some((id.clone(), url(value)?)))
        .collect()
}

/// An answer of a server.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    /// Where it came from after redirections.
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

impl Answer {
    /// A header's value; empty when there is none.
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }

    /// The answer as JSON of some shape.
    pub(super) fn json<T: serde::de::DeserializeOwned>(&self) -> Result<T, Error> {
        serde_json::from_slice(&self.body).map_err(|error| Error::Http {
            url: shown(&self.url),
            reason: format!("the answer is not understood: {error}"),
        })
    }

    /// An error for a status the caller has no meaning for.
    pub(super) fn unexpected(&self) -> Error {
        Error::Status {
            url: shown(&self.url),
            status: self.status,
        }
    }
}
