//! The audit log: who asked for what, when, and what came of it, in `audit.k8s.io/v1` form.
//!
//! A request that the [`Policy`] wants recorded gets a [`Trail`], which collects what the request's way
//! through the server brings to light and puts an event into a bounded queue at each stage. Events are
//! made into JSON, written and sent off the reactor. When the queue is full, requests wait for it
//! ([`Mode::Blocking`]) or events are dropped, counted and told ([`Mode::Batch`]). Without a policy
//! nothing of this exists and nothing is paid for it.

mod body;
mod event;
mod log;
mod policy;
mod webhook;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use consort_object::status::Status;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, USER_AGENT};
use http::request::Parts;
use http::{HeaderMap, Response, StatusCode};
use http_body_util::BodyExt as _;
use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::body::Body;
use crate::identity::{Attributes, User};
use event::{Course, Entry, ObjectRef, Subject};
use log::Log;
use webhook::Webhook;

pub(crate) use event::Sent;
pub use log::LogOptions;
pub use policy::{Error as PolicyError, Level, Policy, Stage};
pub use webhook::WebhookOptions;

/// Events that wait to be written.
const QUEUE: usize = 10_000;
/// Kilobytes of bodies that wait to be written.
const WAITING: usize = 64 * 1024;
/// How long events may take to be delivered at the end.
const GRACE: Duration = Duration::from_secs(8);
/// Events written in one go.
const CHUNK: usize = 256;

static LOST: AtomicU64 = AtomicU64::new(0);

/// Events that could not be recorded since the process began.
pub(crate) fn lost_events() -> u64 {
    LOST.load(Ordering::Relaxed)
}

fn lost(count: usize) {
    LOST.fetch_add(count as u64, Ordering::Relaxed);
}

/// What happens to requests when events come faster than they are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// They wait.
    #[default]
    Blocking,
    /// They go on; events are dropped and counted.
    Batch,
}

/// How requests are recorded.
#[derive(Clone, Debug)]
pub struct Options {
    /// What is recorded.
    pub policy: Policy,
    /// Written to this log.
    pub log: Option<LogOptions>,
    /// Sent to this server.
    pub webhook: Option<WebhookOptions>,
    /// What happens when events come faster than they are written.
    pub mode: Mode,
}

/// Where a connection comes from, put into each of its requests by whoever accepted it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Source(pub(crate) IpAddr);

/// Records requests.
pub(crate) struct Audit {
    policy: Policy,
    mode: Mode,
    queue: mpsc::Sender<Entry>,
    weight: Arc<Semaphore>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Audit {
    /// Opens the log and begins to write.
    pub(crate) async fn open(options: Options) -> Result<Arc<Self>, String> {
        let log = match options.log {
            None => None,
            Some(log) => {
                let path = log.path.clone();
                let opened = tokio::task::spawn_blocking(move || Log::open(log)).await;
                let opened = opened.map_err(|e| e.to_string())?;
                Some(opened.map_err(|e| format!("opening the audit log {}: {e}", path.display()))?)
            }
        };
        let tasks = TaskTracker::new();
        let mut sink = Sink { log, webhook: None };
        if let Some(webhook) = options.webhook {
            let webhook = Webhook::open(webhook).await?;
            let (events, queue) = mpsc::channel(webhook::QUEUE);
            sink.webhook = Some(events);
            tasks.spawn(webhook.run(queue));
        }
        let (queue, entries) = mpsc::channel(QUEUE);
        let stop = CancellationToken::new();
        tasks.spawn(write(entries, sink, stop.clone()));
        Ok(Arc::new(Self {
            policy: options.policy,
            mode: options.mode,
            queue,
            weight: Arc::new(Semaphore::new(WAITING)),
            tasks,
            stop,
        }))
    }

    /// Writes what waits, and ends.
    pub(crate) async fn close(&self) {
        self.stop.cancel();
        self.tasks.close();
        if tokio::time::timeout(GRACE, self.tasks.wait())
            .await
            .is_err()
        {
            tracing::error!("audit events were not delivered before the end");
        }
    }

    /// Begins to record a request, if the policy wants it; `user` is none if it is not known.
    pub(crate) fn begin(
        self: &Arc<Self>,
        id: &str,
        parts: &Parts,
        user: Option<&Arc<User>>,
        wanted: &Attributes<'_>,
        received: Timestamp,
    ) -> Option<Arc<Trail>> {
        let nobody = User::default();
        let verdict = self.policy.judge(user.map_or(&nobody, |user| user), wanted);
        if verdict.level == Level::None {
            return None;
        }
        let subject = Subject {
            id: id.to_owned(),
            uri: parts
                .uri
                .path_and_query()
                .map_or_else(|| parts.uri.path().to_owned(), ToString::to_string),
            verb: wanted.verb.to_owned(),
            user: user.cloned(),
            sources: sources(parts),
            agent: header(&parts.headers, &USER_AGENT),
            received,
            level: verdict.level,
            omit_managed_fields: verdict.omit_managed_fields,
            object: wanted.is_resource().then(|| ObjectRef {
                group: wanted.group.to_owned(),
                version: wanted.version.to_owned(),
                resource: wanted.resource.to_owned(),
                subresource: wanted.subresource.to_owned(),
                namespace: wanted.namespace.to_owned(),
                name: wanted.name.to_owned(),
            }),
        };
        Some(Arc::new(Trail {
            audit: self.clone(),
            verdict,
            subject: Arc::new(subject),
            course: Mutex::default(),
            complete: AtomicBool::new(false),
        }))
    }
}

fn header(headers: &HeaderMap, name: &http::HeaderName) -> String {
    let value = headers.get(name).and_then(|value| value.to_str().ok());
    value.unwrap_or_default().to_owned()
}

/// Whom the request passed through, the first sender first, as far as it says.
fn sources(parts: &Parts) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let mut add = |text: &str| {
        if let Ok(address) = text.trim().parse::<IpAddr>() {
            let text = address.to_string();
            if !found.contains(&text) {
                found.push(text);
            }
        }
    };
    for name in ["x-forwarded-for", "x-real-ip"] {
        for value in parts.headers.get_all(name) {
            value
                .to_str()
                .unwrap_or_default()
                .split(',')
                .for_each(&mut add);
        }
    }
    if let Some(Source(address)) = parts.extensions.get::<Source>() {
        add(&address.to_string());
    }
    found
}

/// What is recorded of one request on its way.
pub(crate) struct Trail {
    audit: Arc<Audit>,
    verdict: policy::Verdict,
    subject: Arc<Subject>,
    course: Mutex<Course>,
    complete: AtomicBool,
}

impl Trail {
    /// Notes something about the request; the first note of a key stays.
    pub(crate) fn annotate(&self, key: &str, value: &str) {
        let mut course = self.course.lock();
        let annotations: &mut BTreeMap<String, String> = &mut course.annotations;
        annotations
            .entry(key.to_owned())
            .or_insert_with(|| value.to_owned());
    }

    /// Notes as whom the caller acts, and by which kind of right if that is a narrow one.
    pub(crate) fn impersonated(&self, user: &Arc<User>, constraint: &str) {
        let mut course = self.course.lock();
        course.impersonated = Some(user.clone());
        constraint.clone_into(&mut course.constraint);
    }

    /// Notes the request's body.
    pub(crate) fn request(&self, bytes: &bytes::Bytes, media: &str) {
        let nameless = self
            .subject
            .object
            .as_ref()
            .is_some_and(|object| object.name.is_empty());
        if self.verdict.level >= Level::Request || nameless {
            self.course.lock().request = Some(Sent {
                bytes: bytes.clone(),
                media: media.to_owned(),
                gzip: false,
            });
        }
    }

    /// Is there nothing more to record?
    pub(crate) fn is_complete(&self) -> bool {
        self.complete.load(Ordering::Relaxed)
    }

    /// The request was received.
    pub(crate) async fn received(&self) {
        self.record(Stage::RequestReceived).await;
    }

    /// The server failed in the midst of the request.
    pub(crate) async fn panicked(&self, text: &str) {
        let status = Status::failure(500, "InternalError", format!("APIServer panic'd: {text}"));
        self.course.lock().outcome = Some((500, Some(Box::new(status))));
        self.complete.store(true, Ordering::Relaxed);
        self.record(Stage::Panic).await;
    }

    /// The answer is there. Bodies that take long are followed to their end; others are recorded now.
    pub(crate) async fn answered(
        self: Arc<Self>,
        response: Response<Body>,
        failure: Option<Box<Status>>,
        streams: bool,
    ) -> Response<Body> {
        let code = response.status();
        self.course.lock().outcome = Some((code.as_u16(), failure));
        if streams && (code.is_success() || code == StatusCode::SWITCHING_PROTOCOLS) {
            self.record(Stage::ResponseStarted).await;
            return response.map(|body| body::Followed::new(body, self).boxed_unsync());
        }
        let response = if self.verdict.level >= Level::RequestResponse {
            self.collect(response).await
        } else {
            response
        };
        self.complete.store(true, Ordering::Relaxed);
        self.record(Stage::ResponseComplete).await;
        response
    }

    /// Keeps a copy of the answer's body.
    async fn collect(&self, response: Response<Body>) -> Response<Body> {
        let (parts, body) = response.into_parts();
        let bytes = match body.collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) => {
                // The client gets what it would have got: an answer that breaks off.
                let broken = futures::stream::once(std::future::ready(Err(error)));
                return Response::from_parts(parts, crate::body::stream(broken));
            }
        };
        self.course.lock().response = Some(Sent {
            bytes: bytes.clone(),
            media: header(&parts.headers, &CONTENT_TYPE),
            gzip: header(&parts.headers, &CONTENT_ENCODING) == "gzip",
        });
        Response::from_parts(parts, crate::body::full(bytes))
    }

    fn entry(&self, stage: Stage) -> Entry {
        let mut course = self.course.lock().clone();
        if stage == Stage::RequestReceived {
            course.outcome = None;
        }
        Entry {
            subject: self.subject.clone(),
            course,
            stage,
            at: Timestamp::now(),
            weight: None,
        }
    }

    async fn record(&self, stage: Stage) {
        if !self.verdict.records(stage) {
            return;
        }
        let mut entry = self.entry(stage);
        let body = |sent: &Option<Sent>| sent.as_ref().map_or(0, |sent| sent.bytes.len());
        let weight = (body(&entry.course.request) + body(&entry.course.response)) / 1024;
        let weight = u32::try_from(weight.min(WAITING)).unwrap_or(u32::MAX);
        match self.audit.mode {
            Mode::Blocking => {
                if weight > 0 {
                    entry.weight = self
                        .audit
                        .weight
                        .clone()
                        .acquire_many_owned(weight)
                        .await
                        .ok();
                }
                if self.audit.queue.send(entry).await.is_err() {
                    lost(1);
                }
            }
            Mode::Batch => {
                if weight > 0 {
                    match self.audit.weight.clone().try_acquire_many_owned(weight) {
                        Ok(permit) => entry.weight = Some(permit),
                        Err(_) => return lost(1),
                    }
                }
                if self.audit.queue.try_send(entry).is_err() {
                    lost(1);
                }
            }
        }
    }

    /// The end of an answer that takes long: by itself, or because the client left.
    fn ended(self: &Arc<Self>) {
        if self.complete.swap(true, Ordering::Relaxed)
            || !self.verdict.records(Stage::ResponseComplete)
        {
            return;
        }
        let entry = self.entry(Stage::ResponseComplete);
        match self.audit.queue.try_send(entry) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full(entry)) if self.audit.mode == Mode::Blocking => {
                // There is nobody left to wait for the queue.
                let queue = self.audit.queue.clone();
                self.audit.tasks.spawn(async move {
                    if queue.send(entry).await.is_err() {
                        lost(1);
                    }
                });
            }
            Err(_) => lost(1),
        }
    }
}

/// Where events go.
struct Sink {
    log: Option<Log>,
    webhook: Option<mpsc::Sender<serde_json::Value>>,
}

impl Sink {
    fn write(&mut self, entries: Vec<Entry>) {
        let mut failed = 0;
        let mut problem = None;
        for entry in entries {
            let event = entry.render();
            if let Some(log) = &mut self.log
                && let Err(error) = log.write(event.to_string().as_bytes())
            {
                failed += 1;
                problem = Some(error);
            }
            if let Some(webhook) = &self.webhook
                && webhook.try_send(event).is_err()
            {
                tracing::warn!("an audit event was dropped: the webhook takes them too slowly");
                lost(1);
            }
        }
        if let Some(log) = &mut self.log
            && let Err(error) = log.flush()
        {
            problem = Some(error);
        }
        if let Some(error) = problem {
            lost(failed);
            tracing::error!(%error, events = failed, "writing the audit log");
        }
    }
}

/// Writes events as they come, until stopped and none is left.
async fn write(mut entries: mpsc::Receiver<Entry>, sink: Sink, stop: CancellationToken) {
    let mut sink = sink;
    loop {
        let mut chunk = Vec::new();
        let count = tokio::select! {
            biased;
            () = stop.cancelled(), if !entries.is_closed() => {
                entries.close();
                continue;
            }
            count = entries.recv_many(&mut chunk, CHUNK) => count,
        };
        if count == 0 {
            return;
        }
        let written = tokio::task::spawn_blocking(move || {
            sink.write(chunk);
            sink
        });
        match written.await {
            Ok(back) => sink = back,
            Err(error) => {
                tracing::error!(%error, "the audit log ended");
                return;
            }
        }
    }
}
