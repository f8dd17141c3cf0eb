//! Carries the plan of a part out: one step an object, each repeatable.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::time::Duration;

use consort_plan::{
    Call, Carrier, Change, Edge, Graph, Intent, Location, NodeId, Order, Planned, Problem,
    Progress, Step,
};
use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;

use crate::field::Field;
use crate::identity::{Key, text};
use crate::kinds::{Kind, Kinds};
use crate::objects::{self, PART, SCORE, Used, content_digest, joint_digest};
use crate::part::Manifests;
use crate::payload::{Given, Item, Payload, Work};
use crate::plan::read;
use crate::ready;
use crate::server::{Failure, Run, Server};
use crate::shared;
use crate::spec::Target;
use crate::target::{self, Reach};

/// The pauses between attempts at what has to come to be first.
const PAUSES: [Duration; 5] = [
    Duration::from_millis(100),
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
];

/// The steps of a part's plan.
pub(crate) struct Steps {
    part: String,
    score: String,
    directory: PathBuf,
    target: Option<Target>,
    /// The name of the input that tells of the cluster.
    target_input: Option<String>,
    intent: Intent,
    inputs: BTreeMap<String, Planned>,
    server: OnceCell<Server>,
    kinds: OnceCell<Kinds>,
    payload: Payload,
    /// Where each item is described.
    locations: Vec<Option<Location>>,
    addresses: Vec<consort_plan::Address>,
    done: Vec<bool>,
    graph: Graph<Step>,
    /// What is ready, by item: for outputs.
    ready: Mutex<HashMap<u32, Value>>,
    /// The digests of configuration that was applied, by its key.
    applied: Mutex<HashMap<Key, String>>,
    /// Ends what only waits.
    cancel: CancellationToken,
}

impl Steps {
    pub(crate) async fn new(part: &Manifests, order: Order<'_>) -> Result<Self, Vec<Problem>> {
        let payload = Payload::from_bytes(order.payload).map_err(|error| {
            vec![Problem {
                detail: error.to_string(),
                hint: Some("plan again".to_owned()),
                ..part.problem("what is to be carried out cannot be read".to_owned())
            }]
        })?;
        let mut graph = Graph::new();
        let target_input = target::input(part.spec.target.as_ref()).map(str::to_owned);
        let mut gives: HashMap<u32, Vec<String>> = HashMap::new();
        let mut known = Vec::new();
        for (name, given) in &payload.outputs {
            match given {
                Given::Read { item, .. } | Given::Digest { item, .. } => {
                    gives.entry(*item).or_default().push(name.clone());
                }
                Given::Known(_) => known.push(name.clone()),
            }
        }
        let mut ids = Vec::with_capacity(payload.items.len());
        let (mut locations, mut addresses) = (Vec::new(), Vec::new());
        let mut done = Vec::new();
        for (at, item) in payload.items.iter().enumerate() {
            let change: Option<&Change> = order.changes.get(item.change as usize);
            let label = item.key.local(&item.kind.version);
            addresses.push(consort_plan::Address::new(&part.name, &label));
            locations.push(change.and_then(|change| change.location.clone()));
            done.push(order.done.get(item.change as usize) == Some(&true));
            let mut takes = item.takes.clone();
            if order.intent == Intent::Apply {
                takes.extend(target_input.clone());
            }
            takes.sort();
            takes.dedup();
            ids.push(graph.add(Step {
                label,
                changes: vec![item.change],
                takes,
                gives: gives.remove(&(at as u32)).unwrap_or_default(),
            }));
        }
        for (dependent, dependency) in &payload.waits {
            if let (Some(dependent), Some(dependency)) =
                (ids.get(*dependent as usize), ids.get(*dependency as usize))
            {
                graph.connect(*dependent, *dependency, Edge::Value);
            }
        }
        if !known.is_empty() {
            // What is known waits for nothing.
            graph.add(Step {
                label: "outputs".to_owned(),
                changes: Vec::new(),
                takes: Vec::new(),
                gives: known,
            });
        }
        let server = OnceCell::new();
        let reach = target::reach(
            part.spec.target.as_ref(),
            part.client.as_ref(),
            order.inputs,
            &part.directory,
        )
        .await
        .map_err(|wrong| vec![part.problem(wrong)])?;
        if let Reach::There(there) = reach {
            let _ = server.set(there);
        }
        Ok(Steps {
            cancel: order.cancel.clone(),
            part: part.name.clone(),
            score: part.score.clone(),
            directory: part.directory.clone(),
            target: part.spec.target.clone(),
            target_input,
            intent: order.intent,
            inputs: order.inputs.clone(),
            server,
            kinds: OnceCell::new(),
            payload,
            locations,
            addresses,
            done,
            graph,
            ready: Mutex::default(),
            applied: Mutex::default(),
        })
    }

    fn problem(&self, at: usize, problem: Problem) -> Problem {
        Problem {
            part: self.part.clone(),
            address: Some(self.addresses[at].clone()),
            location: self.locations[at].clone(),
            ..problem
        }
    }

    fn failed(&self, at: usize, failure: &Failure, what: &str) -> Problem {
        let item = &self.payload.items[at];
        self.problem(
            at,
            failure.problem(&self.part, format!("{} {what}", item.key)),
        )
    }

    async fn server(&self, at: usize, progress: &dyn Progress) -> Result<&Server, Problem> {
        self.server
            .get_or_try_init(|| async {
                let mut inputs = self.inputs.clone();
                if let Some(name) = &self.target_input {
                    let value = progress.input(name).map_err(|problem| *problem)?;
                    inputs.insert(name.clone(), value);
                }
                let reached =
                    target::reach(self.target.as_ref(), None, &inputs, &self.directory).await;
                match reached {
                    Ok(Reach::There(server)) => Ok(server),
                    Ok(Reach::ToCome) => Err(Problem {
                        summary: "its cluster is still not known".to_owned(),
                        ..Problem::default()
                    }),
                    Err(wrong) => Err(Problem {
                        summary: wrong,
                        ..Problem::default()
                    }),
                }
            })
            .await
            .map_err(|problem| self.problem(at, problem))
    }

    /// The kind of an item as the server serves it, where the plan could only guess.
    async fn kind(&self, server: &Server, item: &Item) -> Result<Kind, Failure> {
        if !item.kind.plural.is_empty() {
            return Ok(item.kind.clone());
        }
        let (group, version, kind) = (&item.kind.group, &item.kind.version, &item.kind.kind);
        let known = self
            .kinds
            .get_or_try_init(|| Kinds::discover(server))
            .await?;
        if let Some(kind) = known.served(group, version, kind) {
            return Ok((**kind).clone());
        }
        // It may have been defined since.
        let now = Kinds::discover(server).await?;
        now.served(group, version, kind)
            .map(|kind| (**kind).clone())
            .ok_or_else(|| {
                Failure::Unanswered(format!("the server has no kind {}", item.kind.title()))
            })
    }

    async fn run(&self, at: usize, progress: &dyn Progress) -> Result<(), Problem> {
        let item = &self.payload.items[at];
        let server = self.server(at, progress).await?;
        let kind = self
            .kind(server, item)
            .await
            .map_err(|failure| self.failed(at, &failure, "cannot be applied"))?;
        let mut key = item.key.clone();
        if !kind.namespaced {
            key.namespace.clear();
        }
        let note = |text: &str| progress.note(item.change, text);
        if self.done[at] {
            // It was done before the crash; what outputs are read from is asked for again.
            if self.has_outputs(at)
                && let Ok(Some(live)) = server.get(&kind.path(&key.namespace, &key.name)).await
            {
                self.ready.lock().insert(at as u32, live);
            }
            if item.work != Work::Delete {
                let value = self.resolved(at, progress).map_err(|problem| *problem)?;
                self.note_configuration(item, &value);
            }
            return Ok(());
        }
        if item.work == Work::Delete {
            return self.delete(at, server, &kind, &key, &note).await;
        }
        let value = self.resolved(at, progress).map_err(|problem| *problem)?;
        if item.work == Work::Replace {
            self.remove(at, server, &kind, &key, item.uid.as_deref(), &note)
                .await?;
        }
        let applied = self.apply(at, server, &kind, &key, &value, &note).await?;
        self.note_configuration(item, &value);
        let ready = ready::ready(server, &kind, &key, &applied, &note);
        let ready = self
            .unless_ended(&key, ready)
            .await
            .flatten()
            .map_err(|problem| self.problem(at, problem))?;
        if self.has_outputs(at) {
            self.ready.lock().insert(at as u32, ready);
        }
        Ok(())
    }

    fn has_outputs(&self, at: usize) -> bool {
        self.payload
            .outputs
            .values()
            .any(|given| matches!(given, Given::Read { item, .. } if *item as usize == at))
    }

    fn note_configuration(&self, item: &Item, value: &Value) {
        if item.key.group.is_empty() && matches!(item.key.kind.as_str(), "ConfigMap" | "Secret") {
            let digest = content_digest(&item.key, value);
            self.applied.lock().insert(item.key.clone(), digest);
        }
    }

    /// What is applied, with all that is known by now.
    fn resolved(&self, at: usize, progress: &dyn Progress) -> Result<Value, Box<Problem>> {
        let item = &self.payload.items[at];
        let wrong = |summary: String| {
            let problem = Problem {
                summary,
                ..Problem::default()
            };
            Box::new(self.problem(at, problem))
        };
        let mut value = item.value.clone();
        for fill in &item.fills {
            let input = progress
                .input(&fill.input)
                .map_err(|problem| Box::new(self.problem(at, *problem)))?;
            if !input.is_wholly_known() {
                return Err(wrong(format!("{} is still not known", fill.input)));
            }
            objects::fill(&mut value, fill, &input.value).map_err(wrong)?;
        }
        if !item.configuration.is_empty() {
            let mut digests = Vec::with_capacity(item.configuration.len());
            for Used { key, input } in &item.configuration {
                let known = match input {
                    Some(input) => {
                        let given = progress
                            .input(input)
                            .map_err(|problem| Box::new(self.problem(at, *problem)))?;
                        shared::digest(&given).map(str::to_owned)
                    }
                    None => self
                        .applied
                        .lock()
                        .get(key)
                        .or_else(|| self.payload.digests.get(&key.local("v1")))
                        .cloned(),
                };
                match known {
                    Some(digest) => digests.push(digest),
                    None => return Err(wrong(format!("{key} was not applied"))),
                }
            }
            objects::annotate(&mut value, Some(joint_digest(&digests)));
        }
        Ok(value)
    }

    async fn apply(
        &self,
        at: usize,
        server: &Server,
        kind: &Kind,
        key: &Key,
        value: &Value,
        note: &(dyn Fn(&str) + Sync),
    ) -> Result<Value, Problem> {
        let path = kind.path(&key.namespace, &key.name);
        let mut pauses = PAUSES.iter();
        let mut pause = PAUSES[0];
        loop {
            match server.apply(&path, value, Run::Real).await {
                Ok((_, applied)) if applied["metadata"].get("deletionTimestamp").is_some() => {
                    note("the one that is there is being deleted");
                    let uid = text(&applied, &["metadata", "uid"]).to_owned();
                    self.unless_ended(key, ready::gone(server, kind, key, &uid, note))
                        .await
                        .map_err(|problem| self.problem(at, problem))?
                        .map_err(|failure| self.failed(at, &failure, "is not gone"))?;
                }
                Ok((_, applied)) => return Ok(applied),
                // What it waits for comes by itself, or the step's deadline does.
                Err(failure) if failure.is_not_yet() || is_ending(&failure) => {
                    note(&format!("waits: {failure}"));
                    pause = *pauses.next().unwrap_or(&pause);
                    self.unless_ended(key, tokio::time::sleep(pause))
                        .await
                        .map_err(|problem| self.problem(at, problem))?;
                }
                Err(failure) => return Err(self.failed(at, &failure, "cannot be applied")),
            }
        }
    }

    async fn delete(
        &self,
        at: usize,
        server: &Server,
        kind: &Kind,
        key: &Key,
        note: &(dyn Fn(&str) + Sync),
    ) -> Result<(), Problem> {
        let path = kind.path(&key.namespace, &key.name);
        let live = server
            .get(&path)
            .await
            .map_err(|failure| self.failed(at, &failure, "cannot be read"))?;
        let Some(live) = live else { return Ok(()) };
        let labels = &live["metadata"]["labels"];
        if labels[SCORE] != self.score.as_str() || labels[PART] != self.part.as_str() {
            note("stays: it belongs to another by now");
            return Ok(());
        }
        let uid = text(&live, &["metadata", "uid"]).to_owned();
        self.remove(at, server, kind, key, Some(&uid), note).await
    }

    async fn remove(
        &self,
        at: usize,
        server: &Server,
        kind: &Kind,
        key: &Key,
        uid: Option<&str>,
        note: &(dyn Fn(&str) + Sync),
    ) -> Result<(), Problem> {
        let path = kind.path(&key.namespace, &key.name);
        let there = server
            .delete(&path, uid)
            .await
            .map_err(|failure| self.failed(at, &failure, "cannot be deleted"))?;
        if !there {
            return Ok(());
        }
        let gone = ready::gone(server, kind, key, uid.unwrap_or_default(), note);
        self.unless_ended(key, gone)
            .await
            .map_err(|problem| self.problem(at, problem))?
            .map_err(|failure| self.failed(at, &failure, "is not gone"))
    }

    /// Waits for something that comes by itself, unless the walk is to end: it may never come, and what was written
    /// is written.
    async fn unless_ended<T>(
        &self,
        key: &Key,
        wait: impl Future<Output = T>,
    ) -> Result<T, Problem> {
        tokio::select! {
            biased;
            done = wait => Ok(done),
            () = self.cancel.cancelled() => Err(Problem {
                summary: format!("{key} was not waited for any longer: the operation is ended early"),
                ..Problem::default()
            }),
        }
    }
}

/// Whether something is refused because its namespace is on its way out.
fn is_ending(failure: &Failure) -> bool {
    failure.code() == 403
        && failure
            .to_string()
            .contains("because it is being terminated")
}

impl Carrier for Steps {
    fn steps(&self) -> &Graph<Step> {
        &self.graph
    }

    fn step<'a>(
        &'a self,
        id: NodeId,
        progress: &'a dyn Progress,
    ) -> Call<'a, Result<(), Vec<Problem>>> {
        Box::pin(async move {
            if id.index() >= self.payload.items.len() {
                return Ok(());
            }
            self.run(id.index(), progress)
                .await
                .map_err(|problem| vec![problem])
        })
    }

    fn skip(&self, _: NodeId, _: &Problem) {}

    fn output(&self, name: &str) -> Result<Planned, Box<Problem>> {
        let problem = |summary: String| {
            Box::new(Problem {
                part: self.part.clone(),
                summary,
                ..Problem::default()
            })
        };
        match self.payload.outputs.get(name) {
            None if self.intent == Intent::Destroy => {
                Err(problem(format!("{} is gone", self.part)))
            }
            None => Err(problem(format!("{} gives no {name}", self.part))),
            Some(Given::Known(value)) => Ok(value.clone()),
            Some(Given::Digest { item, changes }) => {
                let at = *item as usize;
                let applied = self.applied.lock();
                let digest = applied.get(&self.payload.items[at].key).map(String::as_str);
                Ok(shared::given(digest, *changes, &self.addresses[at]))
            }
            Some(Given::Read { item, field }) => {
                let at = *item as usize;
                let own = &self.payload.items[at];
                let ready = self.ready.lock();
                let Some(object) = ready.get(item) else {
                    return Err(Box::new(self.problem(
                        at,
                        Problem {
                            summary: format!("{} is not ready, which gives {name}", own.key),
                            ..Problem::default()
                        },
                    )));
                };
                Field::parse(field)
                    .ok()
                    .and_then(|field| read(&own.key, &field, object))
                    .ok_or_else(|| {
                        Box::new(self.problem(
                            at,
                            Problem {
                                summary: format!("{} has no {field}, which gives {name}", own.key),
                                ..Problem::default()
                            },
                        ))
                    })
            }
        }
    }

    fn finish<'a>(self: Box<Self>) -> Call<'a, Result<Vec<Problem>, Vec<Problem>>>
    where
        Self: 'a,
    {
        Box::pin(async { Ok(Vec::new()) })
    }
}
