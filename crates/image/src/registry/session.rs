//! One pull's conversation with one host.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use http::{StatusCode, header};
use parking_lot::Mutex;

use super::auth::{Authorization, Challenge, answer};
use super::host::Endpoint;
use crate::error::chain;
use crate::{Credential, Digest, Error, Reference, manifest};

/// Tries of a request that fails for reasons that pass.
const TRIES: u32 = 3;

/// A repository at a host, with the permission to read it.
pub(crate) struct Session<'a> {
    endpoint: &'a Endpoint,
    /// For messages.
    image: &'a Reference,
    permission: Mutex<Permission>,
    /// Held while a permission is being got, so that transfers side by side get one.
    credentials: tokio::sync::Mutex<Credentials<'a>>,
}

/// The permission in use.
#[derive(Default)]
struct Permission {
    /// Grows with every new one.
    generation: u64,
    authorization: Option<Authorization>,
    /// The registry took it at least once: when it is refused later, it has expired.
    proven: bool,
}

struct Credentials<'a> {
    /// Not tried yet, best first; `None` stands for going without.
    left: VecDeque<Option<&'a Credential>>,
    current: Option<&'a Credential>,
}

/// The start of a blob's content.
pub(crate) struct BlobStream {
    response: reqwest::Response,
    /// True when it starts at the offset that was asked for, false when at the beginning.
    pub(crate) partial: bool,
}

impl BlobStream {
    /// The next piece; `None` at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, String> {
        self.response.chunk().await.map_err(|error| chain(&error))
    }
}

impl<'a> Session<'a> {
    pub(crate) fn new(
        endpoint: &'a Endpoint,
        image: &'a Reference,
        credentials: impl IntoIterator<Item = &'a Credential>,
    ) -> Self {
        Self {
            endpoint,
            image,
            permission: Mutex::default(),
            credentials: tokio::sync::Mutex::new(Credentials {
                left: credentials.into_iter().map(Some).chain([None]).collect(),
                current: None,
            }),
        }
    }

    /// Fetches a manifest or index by tag or digest.
    pub(crate) async fn manifest(&self, name: &str, limit: u64) -> Result<Vec<u8>, Error> {
        let path = self.path(&format!("manifests/{name}"));
        let what = format!("manifest {name}");
        let mut last = None;
        for attempt in 0..TRIES {
            if attempt > 0 {
                tokio::time::sleep(pause(attempt)).await;
            }
            let prepare =
                |request: reqwest::RequestBuilder| request.header(header::ACCEPT, manifest::ACCEPT);
            let response = match self.get(&path, &what, prepare).await {
                Err(error) if is_passing(&error) => {
                    last = Some(error);
                    continue;
                }
                other => other?,
            };
            match bounded_body(response, limit).await {
                Ok(body) => return Ok(body),
                Err(Body::TooLarge) => {
                    return Err(Error::TooLarge {
                        what,
                        limit,
                        unit: "bytes",
                    });
                }
                Err(Body::Broken(reason)) => last = Some(self.unreachable(reason)),
            }
        }
        Err(last.unwrap_or_else(|| self.unreachable("no answer".into())))
    }

    /// Starts reading a blob from `offset`.
    pub(crate) async fn blob(&self, digest: Digest, offset: u64) -> Result<BlobStream, Error> {
        let path = self.path(&format!("blobs/{digest}"));
        let what = format!("blob {digest}");
        let prepare = |request: reqwest::RequestBuilder| match offset {
            0 => request,
            offset => request.header(header::RANGE, format!("bytes={offset}-")),
        };
        let response = self.get(&path, &what, prepare).await?;
        let starts_there = response
            .headers()
            .get(header::CONTENT_RANGE)
            .and_then(|range| range.to_str().ok())
            .is_some_and(|range| range.starts_with(&format!("bytes {offset}-")));
        if response.status() == StatusCode::PARTIAL_CONTENT && !starts_there {
            return Err(self.unreachable(format!("{what}: it sent another range than asked for")));
        }
        Ok(BlobStream {
            partial: response.status() == StatusCode::PARTIAL_CONTENT,
            response,
        })
    }

    pub(crate) fn unreachable(&self, reason: String) -> Error {
        Error::Unreachable {
            registry: self.endpoint.host().to_owned(),
            reason,
        }
    }

    fn path(&self, rest: &str) -> String {
        let repository = &self.endpoint.repository;
        match &self.endpoint.stands_for {
            // Some caches serve several registries and tell them apart by this parameter.
            Some(registry) => format!("/v2/{repository}/{rest}?ns={registry}"),
            None => format!("/v2/{repository}/{rest}"),
        }
    }

    /// Sends a request; when the registry wants permission, gets it with one credential after the
    /// other.
    async fn get(
        &self,
        path: &str,
        what: &str,
        prepare: impl Fn(reqwest::RequestBuilder) -> reqwest::RequestBuilder,
    ) -> Result<reqwest::Response, Error> {
        loop {
            let (generation, authorization) = {
                let permission = self.permission.lock();
                (permission.generation, permission.authorization.clone())
            };
            let send = |request: reqwest::RequestBuilder| {
                let request = prepare(request);
                match &authorization {
                    Some(authorization) => authorization.apply(request),
                    None => request,
                }
            };
            let response = self
                .endpoint
                .host
                .get(path, send)
                .await
                .map_err(|error| self.unreachable(chain(&error.without_url())))?;
            let status = response.status();
            let wants_permission =
                matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
            if !wants_permission {
                let mut permission = self.permission.lock();
                permission.proven |= permission.generation == generation;
            }
            if status.is_success() {
                return Ok(response);
            }
            let challenge = Challenge::best(response.headers());
            let refusal = self.refusal(status, what, response).await;
            match challenge {
                Some(challenge) if wants_permission => {
                    self.renew(&challenge, generation, refusal).await?;
                }
                _ => return Err(refusal),
            }
        }
    }

    /// Gets a permission with the next credential that yields one, or with the present one again
    /// when it had worked before. When none is left, `refusal` is what the registry said last.
    async fn renew(
        &self,
        challenge: &Challenge,
        generation: u64,
        refusal: Error,
    ) -> Result<(), Error> {
        let mut credentials = self.credentials.lock().await;
        let proven = {
            let permission = self.permission.lock();
            if permission.generation != generation {
                // Another transfer of this pull got a new one meanwhile.
                return Ok(());
            }
            permission.proven && permission.authorization.is_some()
        };
        if proven {
            let current = credentials.current;
            credentials.left.push_front(current);
        }
        let mut why = None;
        while let Some(credential) = credentials.left.pop_front() {
            match answer(challenge, credential, self.endpoint).await {
                Ok(authorization) => {
                    credentials.current = credential;
                    *self.permission.lock() = Permission {
                        generation: generation + 1,
                        authorization: Some(authorization),
                        proven: false,
                    };
                    return Ok(());
                }
                Err(reason) => {
                    why.get_or_insert(reason);
                }
            }
        }
        Err(match (refusal, why) {
            (Error::Unauthorized { image, reason }, Some(why)) => Error::Unauthorized {
                image,
                reason: format!("{reason}; {why}"),
            },
            (refusal, _) => refusal,
        })
    }

    async fn refusal(&self, status: StatusCode, what: &str, response: reqwest::Response) -> Error {
        let body = bounded_body(response, 64 << 10).await.unwrap_or_default();
        let host = self.endpoint.host();
        let said = words(&body);
        let reason = match said.as_str() {
            "" => format!("registry {host} answered {status}"),
            said => format!("registry {host} answered {status}: {said}"),
        };
        let image = self.image.to_string();
        match status {
            StatusCode::NOT_FOUND => Error::NotFound { image, reason },
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Error::Unauthorized {
                image,
                reason: format!("{reason} (it may not exist, or need other credentials)"),
            },
            _ => Error::Registry {
                registry: host.to_owned(),
                status: status.as_u16(),
                what: what.to_owned(),
                reason: said,
            },
        }
    }
}

/// Whether the same request may well succeed a moment later.
pub(crate) fn is_passing(error: &Error) -> bool {
    match error {
        Error::Unreachable { .. } => true,
        Error::Registry { status, .. } => *status == 429 || *status >= 500,
        _ => false,
    }
}

/// How long to wait before the try of this number.
pub(crate) fn pause(attempt: u32) -> Duration {
    Duration::from_millis(200) * 4u32.saturating_pow(attempt.saturating_sub(1)).min(25)
}

/// Why a body could not be read.
pub(super) enum Body {
    TooLarge,
    Broken(String),
}

/// Reads a body that must not be larger than `limit`.
pub(super) async fn bounded_body(
    mut response: reqwest::Response,
    limit: u64,
) -> Result<Vec<u8>, Body> {
    let mut body = Vec::new();
    while let Some(piece) = response
        .chunk()
        .await
        .map_err(|error| Body::Broken(chain(&error.without_url())))?
    {
        if body.len() as u64 + piece.len() as u64 > limit {
            return Err(Body::TooLarge);
        }
        body.extend_from_slice(&piece);
    }
    Ok(body)
}

/// The registry's own words: the messages of its error document, or the start of its text.
fn words(body: &[u8]) -> String {
    #[derive(serde::Deserialize)]
    struct Document {
        errors: Vec<Entry>,
    }
    #[derive(serde::Deserialize)]
    struct Entry {
        #[serde(default)]
        code: String,
        #[serde(default)]
        message: String,
    }
    if let Ok(document) = serde_json::from_slice::<Document>(body) {
        let lines = document
            .errors
            .into_iter()
            .map(|entry| match entry.message {
                message if message.is_empty() => entry.code.to_lowercase(),
                message => message,
            });
        return lines.collect::<Vec<_>>().join("; ");
    }
    let text = String::from_utf8_lossy(body);
    let line = text.lines().next().unwrap_or_default().trim();
    if line.starts_with('<') {
        return String::new();
    }
    line.chars().filter(|c| !c.is_control()).take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_registrys_words_are_shown_and_web_pages_are_not() {
        let json = br#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"},{"code":"DENIED"}]}"#;
        assert_eq!(words(json), "manifest unknown; denied");
        assert_eq!(words(b"<html><body>502</body>"), "");
        assert_eq!(words(b"slow down\nplease"), "slow down");
    }
}
