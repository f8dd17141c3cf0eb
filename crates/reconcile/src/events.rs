//! Kubernetes Events: what a reconciler tells the people who look at an object.
//!
//! Recording never blocks: events go through a bounded channel to one writer per process, which
//! folds repetitions into a count and messages that differ in detail into one event, as client-go's
//! correlator does, and keeps within a rate per object.

use crate::ObjectRef;
use k8s_openapi::{
    api::core::v1::{Event, EventSource},
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time},
    jiff::Timestamp,
};
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::json;
use std::{
    collections::{HashMap, HashSet},
    hash::Hash,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::debug;

/// Events waiting to be written; further ones are dropped and counted.
const WAITING: usize = 1024;
/// Series that are remembered for counting; the least recently used are forgotten.
const REMEMBERED: usize = 4096;
/// So many different messages of one object and reason within `SIMILAR_FOR` become one event.
const SIMILAR: usize = 10;
const SIMILAR_FOR: Duration = Duration::from_mins(10);
/// Events of one source about one object: a burst, then one per period.
const BURST: f64 = 25.0;
const PERIOD: Duration = Duration::from_mins(5);
const WRITE_LIMIT: Duration = Duration::from_secs(10);

/// Whether an event is business as usual.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// Expected.
    Normal,
    /// Something someone should look at.
    Warning,
}

impl EventKind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
    }
}

/// Records Events for one component. Cheap to clone.
#[derive(Clone)]
pub struct Recorder {
    component: Arc<str>,
    host: Option<Arc<str>>,
    sender: mpsc::Sender<Note>,
    dropped: Arc<AtomicU64>,
}

impl Recorder {
    /// The same recorder, naming `host` (a node) as the place events come from.
    #[must_use]
    pub fn on_host(mut self, host: &str) -> Self {
        self.host = Some(host.into());
        self
    }

    /// Records that `reason` (one CamelCase word) happened to `object`. Returns at once.
    pub fn event(
        &self,
        object: &ObjectRef,
        kind: EventKind,
        reason: &str,
        message: impl Into<String>,
    ) {
        let note = Note {
            component: self.component.clone(),
            host: self.host.clone(),
            object: object.clone(),
            kind,
            reason: reason.to_owned(),
            message: message.into(),
            at: Timestamp::now(),
        };
        if self.sender.try_send(note).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A `Normal` event.
    pub fn normal(&self, object: &ObjectRef, reason: &str, message: impl Into<String>) {
        self.event(object, EventKind::Normal, reason, message);
    }

    /// A `Warning` event.
    pub fn warning(&self, object: &ObjectRef, reason: &str, message: impl Into<String>) {
        self.event(object, EventKind::Warning, reason, message);
    }

    /// How many events were dropped because the writer could not keep up.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

struct Note {
    component: Arc<str>,
    host: Option<Arc<str>>,
    object: ObjectRef,
    kind: EventKind,
    reason: String,
    message: String,
    at: Timestamp,
}

/// The sending end all recorders of a hub share.
pub(crate) struct Writer {
    sender: mpsc::Sender<Note>,
    dropped: Arc<AtomicU64>,
}

impl Writer {
    pub(crate) fn new(client: Client) -> (Self, Task) {
        let (sender, receiver) = mpsc::channel(WAITING);
        let task = Task {
            client,
            receiver,
            correlator: Correlator {
                similar: Recent::new(),
                series: Recent::new(),
                budgets: Recent::new(),
            },
        };
        (
            Self {
                sender,
                dropped: Arc::default(),
            },
            task,
        )
    }

    pub(crate) fn recorder(&self, component: String) -> Recorder {
        Recorder {
            component: component.into(),
            host: None,
            sender: self.sender.clone(),
            dropped: self.dropped.clone(),
        }
    }
}

/// The writing end.
pub(crate) struct Task {
    client: Client,
    receiver: mpsc::Receiver<Note>,
    correlator: Correlator,
}

impl Task {
    pub(crate) async fn run(mut self, shutdown: CancellationToken) {
        shutdown
            .run_until_cancelled(async {
                while let Some(note) = self.receiver.recv().await {
                    if let Some((key, note)) = self.correlator.admit(note, Instant::now()) {
                        match tokio::time::timeout(WRITE_LIMIT, self.write(key, note)).await {
                            Ok(Ok(())) => {}
                            Ok(Err(error)) => debug!(%error, "an event could not be written"),
                            Err(_) => debug!("writing an event took too long"),
                        }
                    }
                }
            })
            .await;
    }

    async fn write(&mut self, key: SeriesKey, note: Note) -> Result<(), kube::Error> {
        let namespace = note
            .object
            .namespace
            .clone()
            .unwrap_or_else(|| "default".to_owned());
        let api = Api::<Event>::namespaced(self.client.clone(), &namespace);
        if let Some(series) = self.correlator.series.get(&key) {
            series.count += 1;
            let patch = json!({
                "count": series.count,
                "lastTimestamp": Time(note.at),
                "message": note.message,
            });
            let (name, count) = (series.name.clone(), series.count);
            match api
                .patch(&name, &PatchParams::default(), &Patch::Merge(&patch))
                .await
            {
                Ok(_) => return Ok(()),
                // Events expire on the server: then the series starts anew, keeping its count.
                Err(kube::Error::Api(status)) if status.code == 404 => {
                    let name = self.create(&api, &namespace, note, count).await?;
                    self.correlator.series.put(key, Series { name, count });
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
        let name = self.create(&api, &namespace, note, 1).await?;
        self.correlator.series.put(key, Series { name, count: 1 });
        Ok(())
    }

    async fn create(
        &self,
        api: &Api<Event>,
        namespace: &str,
        note: Note,
        count: i32,
    ) -> Result<String, kube::Error> {
        let suffix = rand::random::<u64>();
        let mut prefix = note.object.name.clone();
        prefix.truncate(230);
        let name = format!("{prefix}.{suffix:016x}");
        let event = Event {
            metadata: ObjectMeta {
                name: Some(name.clone()),
                namespace: Some(namespace.to_owned()),
                ..ObjectMeta::default()
            },
            involved_object: note.object.to_wire(),
            type_: Some(note.kind.as_str().to_owned()),
            reason: Some(note.reason),
            message: Some(note.message),
            source: Some(EventSource {
                component: Some(note.component.to_string()),
                host: note.host.as_ref().map(ToString::to_string),
            }),
            reporting_component: Some(note.component.to_string()),
            reporting_instance: note.host.as_ref().map(ToString::to_string),
            first_timestamp: Some(Time(note.at)),
            last_timestamp: Some(Time(note.at)),
            count: Some(count),
            ..Event::default()
        };
        api.create(&PostParams::default(), &event).await?;
        Ok(name)
    }
}

/// What makes two events the same series.
#[derive(Clone, PartialEq, Eq, Hash)]
struct SeriesKey {
    group: GroupKey,
    message: String,
}

/// What makes two events similar: all but the message.
#[derive(Clone, PartialEq, Eq, Hash)]
struct GroupKey {
    component: Arc<str>,
    object: ObjectRef,
    kind: EventKind,
    reason: String,
}

struct Series {
    name: String,
    count: i32,
}

struct Similar {
    messages: HashSet<String>,
    last: Instant,
}

struct Budget {
    tokens: f64,
    at: Instant,
}

struct Correlator {
    similar: Recent<GroupKey, Similar>,
    series: Recent<SeriesKey, Series>,
    budgets: Recent<(Arc<str>, ObjectRef), Budget>,
}

impl Correlator {
    /// The series this event belongs to, or `None` if its object has used up its budget.
    fn admit(&mut self, mut note: Note, now: Instant) -> Option<(SeriesKey, Note)> {
        let source = (note.component.clone(), note.object.clone());
        let budget = self.budgets.get_or_insert(source, || Budget {
            tokens: BURST,
            at: now,
        });
        let earned = now.duration_since(budget.at).as_secs_f64() / PERIOD.as_secs_f64();
        budget.tokens = (budget.tokens + earned).min(BURST);
        budget.at = now;
        if budget.tokens < 1.0 {
            return None;
        }
        budget.tokens -= 1.0;

        let group = GroupKey {
            component: note.component.clone(),
            object: note.object.clone(),
            kind: note.kind,
            reason: note.reason.clone(),
        };
        let similar = self.similar.get_or_insert(group.clone(), || Similar {
            messages: HashSet::new(),
            last: now,
        });
        if now.duration_since(similar.last) > SIMILAR_FOR {
            similar.messages.clear();
        }
        similar.last = now;
        let known = similar.messages.contains(&note.message);
        let message = if !known && similar.messages.len() >= SIMILAR {
            note.message = format!("(combined from similar events): {}", note.message);
            String::new()
        } else {
            similar.messages.insert(note.message.clone());
            note.message.clone()
        };
        Some((SeriesKey { group, message }, note))
    }
}

/// A map that forgets what was not used for long, in two generations.
struct Recent<K, V> {
    young: HashMap<K, V>,
    aged: HashMap<K, V>,
}

impl<K: Hash + Eq + Clone, V> Recent<K, V> {
    fn new() -> Self {
        Self {
            young: HashMap::new(),
            aged: HashMap::new(),
        }
    }

    fn put(&mut self, key: K, value: V) {
        if self.young.len() >= REMEMBERED / 2 {
            self.aged = std::mem::take(&mut self.young);
        }
        self.young.insert(key, value);
    }

    fn get(&mut self, key: &K) -> Option<&mut V> {
        if !self.young.contains_key(key) {
            let value = self.aged.remove(key)?;
            self.put(key.clone(), value);
        }
        self.young.get_mut(key)
    }

    fn get_or_insert(&mut self, key: K, make: impl FnOnce() -> V) -> &mut V {
        let aged = self.aged.remove(&key);
        if self.young.len() >= REMEMBERED / 2 && !self.young.contains_key(&key) {
            self.aged = std::mem::take(&mut self.young);
        }
        self.young
            .entry(key)
            .or_insert_with(|| aged.unwrap_or_else(make))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(message: &str) -> Note {
        Note {
            component: "test".into(),
            host: None,
            object: ObjectRef {
                name: "x".into(),
                ..ObjectRef::default()
            },
            kind: EventKind::Normal,
            reason: "Tested".into(),
            message: message.into(),
            at: Timestamp::now(),
        }
    }

    fn correlator() -> Correlator {
        Correlator {
            similar: Recent::new(),
            series: Recent::new(),
            budgets: Recent::new(),
        }
    }

    #[test]
    fn the_same_event_again_is_one_series() {
        let (mut correlator, now) = (correlator(), Instant::now());
        let (first, _) = correlator.admit(note("a"), now).unwrap();
        let (second, _) = correlator.admit(note("a"), now).unwrap();
        assert!(first == second);
        let (other, _) = correlator.admit(note("b"), now).unwrap();
        assert!(first != other);
    }

    #[test]
    fn many_different_messages_fold_into_one_series() {
        let (mut correlator, now) = (correlator(), Instant::now());
        let mut keys = HashSet::new();
        let mut last = String::new();
        for round in 0..20 {
            let (key, note) = correlator
                .admit(note(&format!("message {round}")), now)
                .unwrap();
            keys.insert(key);
            last = note.message;
        }
        assert_eq!(keys.len(), SIMILAR + 1);
        assert_eq!(last, "(combined from similar events): message 19");
    }

    #[test]
    fn one_object_cannot_flood_the_store() {
        let (mut correlator, now) = (correlator(), Instant::now());
        let admitted = (0..1_000)
            .filter(|_| correlator.admit(note("a"), now).is_some())
            .count();
        assert_eq!(admitted, 25);
        assert!(correlator.admit(note("a"), now + PERIOD).is_some());
        assert!(correlator.admit(note("a"), now + PERIOD).is_none());
    }

    #[test]
    fn memory_of_series_is_bounded() {
        let mut recent = Recent::new();
        for key in 0..100_000 {
            recent.put(key, key);
        }
        assert!(recent.young.len() + recent.aged.len() <= REMEMBERED);
        assert_eq!(recent.get(&99_999), Some(&mut 99_999));
        assert_eq!(recent.get(&0), None);
    }
}
