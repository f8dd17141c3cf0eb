//! A small API server in memory: lists and watches ConfigMaps, and fails on demand.

use bytes::Bytes;
use futures::{StreamExt, future::BoxFuture, stream};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use kube::client::Body;
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, HashMap},
    convert::Infallible,
    sync::{Arc, Mutex, MutexGuard},
    task::{Context, Poll},
};
use tokio::sync::watch;

/// A cloneable handle to one server.
#[derive(Clone)]
pub(crate) struct Fake(Arc<Shared>);

struct Shared {
    world: Mutex<World>,
    changed: watch::Sender<u64>,
}

#[derive(Default)]
struct World {
    objects: BTreeMap<(String, String), Value>,
    log: Vec<(u64, &'static str, Value)>,
    revision: u64,
    compacted: u64,
    /// Watches of an older era are cut off.
    era: u64,
    /// While set, watches are refused with 503.
    refuse: bool,
    lists: usize,
    watches: usize,
    pages: usize,
}

impl Fake {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Shared {
            world: Mutex::new(World {
                revision: 1,
                ..World::default()
            }),
            changed: watch::Sender::new(0),
        }))
    }

    pub(crate) fn client(&self) -> kube::Client {
        kube::Client::new(self.clone(), "default")
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.0.world.lock().unwrap()
    }

    fn tell(&self) {
        self.0.changed.send_modify(|n| *n += 1);
    }

    pub(crate) fn put(&self, namespace: &str, name: &str, value: &str) -> u64 {
        self.put_raw(
            namespace,
            name,
            json!({
                "apiVersion": "v1", "kind": "ConfigMap",
                "metadata": {"labels": {"value": value}, "managedFields": [{"manager": "test"}]},
                "data": {"value": value},
            }),
        )
    }

    pub(crate) fn put_raw(&self, namespace: &str, name: &str, mut object: Value) -> u64 {
        let mut world = self.world();
        world.revision += 1;
        let revision = world.revision;
        let key = (namespace.to_owned(), name.to_owned());
        let uid = match world.objects.get(&key) {
            Some(existing) => existing["metadata"]["uid"].clone(),
            None => json!(format!("uid-{revision}")),
        };
        object["metadata"]["name"] = json!(name);
        object["metadata"]["namespace"] = json!(namespace);
        object["metadata"]["uid"] = uid;
        object["metadata"]["resourceVersion"] = json!(revision.to_string());
        let kind = if world.objects.insert(key, object.clone()).is_some() {
            "MODIFIED"
        } else {
            "ADDED"
        };
        world.log.push((revision, kind, object));
        drop(world);
        self.tell();
        revision
    }

    pub(crate) fn delete(&self, namespace: &str, name: &str) {
        let mut world = self.world();
        world.revision += 1;
        let revision = world.revision;
        let mut last = world
            .objects
            .remove(&(namespace.to_owned(), name.to_owned()))
            .expect("it exists");
        last["metadata"]["resourceVersion"] = json!(revision.to_string());
        world.log.push((revision, "DELETED", last));
        drop(world);
        self.tell();
    }

    /// Cuts off all watches.
    pub(crate) fn disconnect(&self) {
        self.world().era += 1;
        self.tell();
    }

    /// Refuses new watches, or stops doing so.
    pub(crate) fn refuse_watches(&self, refuse: bool) {
        self.world().refuse = refuse;
    }

    /// Forgets all history: watches from before now are answered with 410.
    pub(crate) fn compact(&self) {
        let mut world = self.world();
        world.compacted = world.revision;
        world.log.clear();
    }

    pub(crate) fn lists(&self) -> usize {
        self.world().lists
    }

    pub(crate) fn pages(&self) -> usize {
        self.world().pages
    }

    pub(crate) fn watches(&self) -> usize {
        self.world().watches
    }

    fn list(&self, query: &HashMap<String, String>) -> Response<Answer> {
        let mut world = self.world();
        let limit: usize = query
            .get("limit")
            .map_or(usize::MAX, |l| l.parse().unwrap());
        let skip: usize = query.get("continue").map_or(0, |c| c.parse().unwrap());
        if skip == 0 {
            world.lists += 1;
        }
        world.pages += 1;
        let items: Vec<&Value> = world.objects.values().skip(skip).take(limit).collect();
        let next = skip + items.len();
        let mut metadata = json!({"resourceVersion": world.revision.to_string()});
        if next < world.objects.len() {
            metadata["continue"] = json!(next.to_string());
        }
        respond(
            200,
            &json!({"apiVersion": "v1", "kind": "ConfigMapList", "metadata": metadata, "items": items}),
        )
    }

    fn watch(&self, query: &HashMap<String, String>) -> Response<Answer> {
        let from: u64 = query["resourceVersion"].parse().unwrap();
        let mut world = self.world();
        if world.refuse {
            return respond(503, &status(503, "ServiceUnavailable"));
        }
        world.watches += 1;
        let era = world.era;
        if from < world.compacted {
            // As the real server does: the status is 200, the error is the first event.
            let mut line =
                serde_json::to_vec(&json!({"type": "ERROR", "object": status(410, "Expired")}))
                    .unwrap();
            line.push(b'\n');
            return Response::new(
                Full::new(line.into())
                    .map_err(|never| match never {})
                    .boxed_unsync(),
            );
        }
        drop(world);
        let changed = self.0.changed.subscribe();
        let lines = stream::unfold(
            (self.clone(), changed, from),
            move |(fake, mut changed, seen)| async move {
                loop {
                    changed.borrow_and_update();
                    let (lines, upto) = {
                        let world = fake.world();
                        if world.era != era {
                            return None;
                        }
                        let start = world.log.partition_point(|entry| entry.0 <= seen);
                        let mut lines = Vec::new();
                        for (_, kind, object) in &world.log[start..] {
                            serde_json::to_writer(
                                &mut lines,
                                &json!({"type": kind, "object": object}),
                            )
                            .unwrap();
                            lines.push(b'\n');
                        }
                        (
                            lines,
                            world.log.last().map_or(seen, |entry| entry.0.max(seen)),
                        )
                    };
                    if !lines.is_empty() {
                        return Some((Bytes::from(lines), (fake, changed, upto)));
                    }
                    changed.changed().await.ok()?;
                }
            },
        );
        let frames = lines.map(|line| Ok::<_, Infallible>(http_body::Frame::data(line)));
        Response::new(
            StreamBody::new(frames)
                .map_err(|never| match never {})
                .boxed_unsync(),
        )
    }
}

type Answer = UnsyncBoxBody<Bytes, std::io::Error>;

fn status(code: u16, reason: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Failure", "message": reason, "reason": reason, "code": code})
}

fn respond(code: u16, value: &Value) -> Response<Answer> {
    let body = Full::new(Bytes::from(serde_json::to_vec(value).unwrap()));
    let mut response = Response::new(body.map_err(|never| match never {}).boxed_unsync());
    *response.status_mut() = StatusCode::from_u16(code).unwrap();
    response
}

impl tower::Service<Request<Body>> for Fake {
    type Response = Response<Answer>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let fake = self.clone();
        Box::pin(async move {
            assert_eq!(request.uri().path(), "/api/v1/configmaps");
            let query: HashMap<String, String> = request
                .uri()
                .query()
                .unwrap_or_default()
                .split('&')
                .filter_map(|pair| pair.split_once('='))
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .collect();
            Ok(if query.contains_key("watch") {
                fake.watch(&query)
            } else {
                fake.list(&query)
            })
        })
    }
}
