//! Keeps one cache equal to the server's collection: list, watch, and list again when it must.
//!
//! Follows the Kubernetes API concepts, "Efficient detection of changes". Objects are decoded one
//! by one, so that one that does not decode is reported and skipped instead of blocking its kind.

use crate::{Backoff, Key, cache::Cache};
use futures::{AsyncBufReadExt, AsyncReadExt};
use kube::{
    Client, Resource,
    api::{ListParams, WatchParams},
    core::{Request, Status},
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::value::RawValue;
use std::{collections::HashSet, sync::Arc, time::Duration};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

const PAGE: u32 = 500;
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(30));
/// A watch that lived this long was healthy: what ends it is answered without delay.
const HEALTHY: Duration = Duration::from_secs(5);
/// How long the server may stay silent beyond the watch's own time limit.
const SILENCE: Duration = Duration::from_secs(5);
/// A list page must arrive within this time.
const LIST_LIMIT: Duration = Duration::from_secs(60);

/// Which collection to follow.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Source {
    pub(crate) path: String,
    pub(crate) labels: Option<String>,
    pub(crate) fields: Option<String>,
    pub(crate) form: Form,
}

/// Whether whole objects are fetched, or their metadata only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Form {
    Whole,
    Metadata,
}

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("requesting {path}")]
    Request { path: String, source: kube::Error },
    #[error("reading the answer of {path}")]
    Read {
        path: String,
        source: std::io::Error,
    },
    #[error("decoding the list of {path}")]
    List {
        path: String,
        source: serde_json::Error,
    },
    #[error("decoding a watch event of {path}")]
    Event {
        path: String,
        source: serde_json::Error,
    },
    #[error("{path}: the server did not answer within {limit:?}")]
    Silent { path: String, limit: Duration },
    #[error("{path}: the watch failed: {message} ({reason})")]
    Watch {
        path: String,
        message: String,
        reason: String,
    },
    #[error("{path}: the resource version is too old")]
    Expired { path: String },
}

impl Error {
    /// Whether only a new list can help.
    fn expired(&self) -> bool {
        match self {
            Self::Expired { .. } => true,
            Self::Request {
                source: kube::Error::Api(status),
                ..
            } => status.code == 410,
            _ => false,
        }
    }
}

#[derive(Deserialize)]
struct Page<'a> {
    #[serde(default)]
    metadata: PageMeta,
    #[serde(borrow)]
    items: Option<Vec<&'a RawValue>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PageMeta {
    #[serde(default)]
    resource_version: String,
    #[serde(default, rename = "continue")]
    token: Option<String>,
}

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(rename = "type", borrow)]
    kind: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    object: &'a RawValue,
}

#[derive(Deserialize)]
struct Named {
    metadata: NamedMeta,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct NamedMeta {
    namespace: Option<String>,
    name: Option<String>,
    resource_version: Option<String>,
}

pub(crate) struct Reflector<K> {
    client: Client,
    source: Source,
    cache: Arc<Cache<K>>,
}

impl<K: Resource + DeserializeOwned> Reflector<K> {
    pub(crate) fn new(client: Client, source: Source, cache: Arc<Cache<K>>) -> Self {
        Self {
            client,
            source,
            cache,
        }
    }

    /// Follows the collection until `stop` is cancelled.
    pub(crate) async fn run(self, stop: CancellationToken) {
        stop.run_until_cancelled(self.follow()).await;
        self.cache.close();
    }

    async fn follow(&self) {
        let mut failures = 0;
        loop {
            let mut revision = match self.list().await {
                Ok(revision) => revision,
                Err(error) => {
                    self.pause(&error, &mut failures).await;
                    continue;
                }
            };
            loop {
                let started = Instant::now();
                let before = revision.clone();
                let outcome = self.watch(&mut revision).await;
                if started.elapsed() >= HEALTHY || revision != before {
                    failures = 0;
                }
                match outcome {
                    Ok(()) if failures == 0 && started.elapsed() >= HEALTHY => {}
                    Ok(()) => {
                        // Ended at once: do not spin on a server that closes every watch.
                        tokio::time::sleep(BACKOFF.delay(failures)).await;
                        failures += 1;
                    }
                    Err(error) if error.expired() => {
                        debug!(
                            path = self.source.path,
                            "the watch has expired; listing again"
                        );
                        break;
                    }
                    Err(error) => self.pause(&error, &mut failures).await,
                }
            }
        }
    }

    async fn pause(&self, error: &Error, failures: &mut u32) {
        let delay = BACKOFF.delay(*failures);
        *failures += 1;
        let cause = std::error::Error::source(error)
            .map(ToString::to_string)
            .unwrap_or_default();
        if *failures > 3 {
            warn!(%error, cause, ?delay, "following a collection failed; trying again");
        } else {
            debug!(%error, cause, ?delay, "following a collection failed; trying again");
        }
        tokio::time::sleep(delay).await;
    }

    /// Brings the cache to the present state and returns its resource version.
    async fn list(&self) -> Result<String, Error> {
        let mut listed = HashSet::new();
        let mut token: Option<String> = None;
        loop {
            let params = ListParams {
                label_selector: self.source.labels.clone(),
                field_selector: self.source.fields.clone(),
                limit: Some(PAGE),
                continue_token: token.take(),
                ..ListParams::default()
            };
            let request = Request::new(self.source.path.as_str());
            let request = match self.source.form {
                Form::Whole => request.list(&params),
                Form::Metadata => request.list_metadata(&params),
            };
            let request =
                request.map_err(|error| self.request_error(kube::Error::BuildRequest(error)))?;
            let page = tokio::time::timeout(LIST_LIMIT, self.fetch(request))
                .await
                .map_err(|_| Error::Silent {
                    path: self.source.path.clone(),
                    limit: LIST_LIMIT,
                })??;
            let page: Page<'_> = serde_json::from_slice(&page).map_err(|source| Error::List {
                path: self.source.path.clone(),
                source,
            })?;
            for item in page.items.unwrap_or_default() {
                match self.decode(item) {
                    Decoded::Object(object) => {
                        listed.insert(Key::of(&object));
                        self.cache.apply(object);
                    }
                    // What the cache holds of it, if anything, is better than nothing.
                    Decoded::Broken(key, _) => {
                        listed.extend(key);
                    }
                }
            }
            token = page.metadata.token.filter(|token| !token.is_empty());
            if token.is_none() {
                self.cache.advance(&page.metadata.resource_version);
                self.cache.retain(&listed);
                return Ok(page.metadata.resource_version);
            }
        }
    }

    async fn fetch(&self, request: http::Request<Vec<u8>>) -> Result<Vec<u8>, Error> {
        let mut body = std::pin::pin!(
            self.client
                .request_stream(request)
                .await
                .map_err(|source| self.request_error(source))?
        );
        let mut bytes = Vec::new();
        body.read_to_end(&mut bytes)
            .await
            .map_err(|source| Error::Read {
                path: self.source.path.clone(),
                source,
            })?;
        Ok(bytes)
    }

    /// Follows changes after `revision`, which it moves along, until the server ends the watch.
    async fn watch(&self, revision: &mut String) -> Result<(), Error> {
        // Spread, so that the watches of a process do not all end at the same moment.
        let seconds = 240 + rand::random::<u32>() % 50;
        let params = WatchParams {
            label_selector: self.source.labels.clone(),
            field_selector: self.source.fields.clone(),
            timeout: Some(seconds),
            bookmarks: true,
            send_initial_events: false,
        };
        let limit = Duration::from_secs(u64::from(seconds)) + SILENCE;
        let silent = |_| Error::Silent {
            path: self.source.path.clone(),
            limit,
        };
        let request = Request::new(self.source.path.as_str());
        let request = match self.source.form {
            Form::Whole => request.watch(&params, revision),
            Form::Metadata => request.watch_metadata(&params, revision),
        };
        let request =
            request.map_err(|error| self.request_error(kube::Error::BuildRequest(error)))?;
        let body = tokio::time::timeout(LIST_LIMIT, self.client.request_stream(request))
            .await
            .map_err(silent)?
            .map_err(|source| self.request_error(source))?;
        let mut body = std::pin::pin!(body);
        let mut line = Vec::new();
        loop {
            line.clear();
            let read = tokio::time::timeout(limit, body.read_until(b'\n', &mut line))
                .await
                .map_err(silent)?
                .map_err(|source| Error::Read {
                    path: self.source.path.clone(),
                    source,
                })?;
            if read == 0 {
                return Ok(());
            }
            if line.last() != Some(&b'\n') {
                debug!(path = self.source.path, "the watch ended within an event");
                return Ok(());
            }
            self.handle(&line, revision)?;
        }
    }

    fn handle(&self, line: &[u8], revision: &mut String) -> Result<(), Error> {
        let bad = |source| Error::Event {
            path: self.source.path.clone(),
            source,
        };
        if line.iter().all(u8::is_ascii_whitespace) {
            return Ok(());
        }
        let event: Line<'_> = serde_json::from_slice(line).map_err(bad)?;
        match &*event.kind {
            "ADDED" | "MODIFIED" | "DELETED" => {
                let seen = match self.decode(event.object) {
                    Decoded::Object(object) => {
                        let seen = object.meta().resource_version.clone();
                        if event.kind == "DELETED" {
                            self.cache.delete(&Key::of(&object), Some(object));
                        } else {
                            self.cache.apply(object);
                        }
                        seen
                    }
                    Decoded::Broken(key, seen) => {
                        if let (Some(key), "DELETED") = (&key, &*event.kind) {
                            self.cache.delete(key, None);
                        }
                        seen
                    }
                };
                if let Some(seen) = seen.filter(|seen| !seen.is_empty()) {
                    *revision = seen;
                }
            }
            "BOOKMARK" => {
                let object: Named = serde_json::from_str(event.object.get()).map_err(bad)?;
                if let Some(seen) = object
                    .metadata
                    .resource_version
                    .filter(|seen| !seen.is_empty())
                {
                    self.cache.advance(&seen);
                    *revision = seen;
                }
            }
            "ERROR" => {
                let status: Status = serde_json::from_str(event.object.get()).map_err(bad)?;
                return Err(if status.code == 410 {
                    Error::Expired {
                        path: self.source.path.clone(),
                    }
                } else {
                    Error::Watch {
                        path: self.source.path.clone(),
                        message: status.message,
                        reason: status.reason,
                    }
                });
            }
            other => debug!(
                path = self.source.path,
                other, "a watch event of unknown type"
            ),
        }
        Ok(())
    }

    fn decode(&self, raw: &RawValue) -> Decoded<K> {
        match serde_json::from_str::<K>(raw.get()) {
            Ok(mut object) => {
                let meta = object.meta_mut();
                meta.managed_fields = None;
                if self.source.form == Form::Metadata {
                    meta.labels = None;
                    meta.annotations = None;
                }
                Decoded::Object(object)
            }
            Err(error) => {
                let (key, revision) = match serde_json::from_str::<Named>(raw.get()) {
                    Ok(Named { metadata }) => (
                        metadata.name.map(|name| Key {
                            namespace: metadata.namespace,
                            name,
                        }),
                        metadata.resource_version,
                    ),
                    Err(_) => (None, None),
                };
                let name = key.as_ref().map(ToString::to_string).unwrap_or_default();
                warn!(path = self.source.path, name, %error, "an object does not decode and is skipped");
                Decoded::Broken(key, revision)
            }
        }
    }

    fn request_error(&self, source: kube::Error) -> Error {
        Error::Request {
            path: self.source.path.clone(),
            source,
        }
    }
}

enum Decoded<K> {
    Object(K),
    /// What could still be read: the key and the resource version.
    Broken(Option<Key>, Option<String>),
}
