//! Parts made for tests, over a world that is a map.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use consort_plan::carry::{Carried, Carry, CarryOptions, End, Retry, carry};
use consort_plan::{
    Action, Address, BlastRadius, Blueprint, BlueprintEdge, Call, Carrier, Change, Edge, Entry,
    Graph, Input, Intent, Location, Mode, Moved, NodeId, Order, Parent, Part, PartPlan, Planned,
    PlannedPart, Problem, Progress, Record, Request, Reversal, Seen, Source, Step,
};
use serde_json::{Value, json};

/// What is there, and all that was done.
#[derive(Default)]
pub(crate) struct World {
    pub(crate) things: Mutex<BTreeMap<String, Value>>,
    /// In order: `+name` begun, `name` done.
    pub(crate) log: Mutex<Vec<String>>,
    /// How often a thing was really made or deleted.
    pub(crate) deeds: Mutex<HashMap<String, u32>>,
    /// What a step does besides.
    pub(crate) tricks: Mutex<HashMap<String, Trick>>,
    /// What the carriers were told is done already.
    pub(crate) told_done: Mutex<BTreeSet<String>>,
    pub(crate) skipped: Mutex<Vec<String>>,
    pub(crate) finished: Mutex<Vec<String>>,
}

#[derive(Clone)]
pub(crate) enum Trick {
    Fail,
    /// Fails so often in a way worth another try.
    Flaky(u32),
    /// Says this, and never comes to an end.
    Hang(&'static str),
    /// Waits for a time.
    Slow(Duration),
    /// Cancels the walk, and is done.
    Cancel(tokio_util::sync::CancellationToken),
}

impl World {
    pub(crate) fn trick(&self, name: &str, trick: Trick) {
        self.tricks.lock().unwrap().insert(name.to_owned(), trick);
    }

    pub(crate) fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.things.lock().unwrap().keys().cloned().collect()
    }

    /// Whether the first was done before the second began.
    pub(crate) fn before(&self, first: &str, second: &str) -> bool {
        let log = self.log();
        let done = log.iter().position(|line| line == first);
        let begun = log.iter().position(|line| *line == format!("+{second}"));
        matches!((done, begun), (Some(done), Some(begun)) if done < begun)
    }
}

/// A resource of a test: one step each.
#[derive(Clone, Default)]
pub(crate) struct Thing {
    name: &'static str,
    action: Option<Action>,
    needs: Vec<&'static str>,
    takes: Vec<&'static str>,
    gives: Option<&'static str>,
    /// No resource of its own.
    evaluates: bool,
}

pub(crate) fn thing(name: &'static str) -> Thing {
    Thing {
        name,
        ..Thing::default()
    }
}

impl Thing {
    pub(crate) fn needs(mut self, name: &'static str) -> Self {
        self.needs.push(name);
        self
    }
    /// `PART.OUTPUT`.
    pub(crate) fn takes(mut self, input: &'static str) -> Self {
        self.takes.push(input);
        self
    }
    pub(crate) fn gives(mut self, output: &'static str) -> Self {
        self.gives = Some(output);
        self
    }
    pub(crate) fn action(mut self, action: Action) -> Self {
        self.action = Some(action);
        self
    }
    pub(crate) fn evaluates(mut self) -> Self {
        self.evaluates = true;
        self
    }
}

pub(crate) struct TestPart {
    pub(crate) name: &'static str,
    pub(crate) things: Vec<Thing>,
    pub(crate) after: Vec<&'static str>,
    pub(crate) accounts: bool,
    pub(crate) intent: Intent,
    pub(crate) unready: bool,
    pub(crate) world: Arc<World>,
}

pub(crate) fn part(world: &Arc<World>, name: &'static str, things: &[Thing]) -> TestPart {
    TestPart {
        name,
        things: things.to_vec(),
        after: Vec::new(),
        accounts: false,
        intent: Intent::Apply,
        unready: false,
        world: world.clone(),
    }
}

impl TestPart {
    fn resources(&self) -> Vec<&Thing> {
        self.things.iter().filter(|it| !it.evaluates).collect()
    }

    fn action(&self, thing: &Thing) -> Action {
        match self.intent {
            Intent::Destroy => Action::Delete,
            Intent::Apply => thing.action.unwrap_or(Action::Create),
        }
    }
}

/// What the planner would make of the parts.
pub(crate) fn blueprint(parts: &[&TestPart]) -> Blueprint {
    let mut changes = Vec::new();
    let mut planned = Vec::new();
    let mut edges = Vec::new();
    let mut places: HashMap<String, u32> = HashMap::new();
    for part in parts {
        let first = changes.len() as u32;
        for thing in part.resources() {
            places.insert(
                format!("{}/{}", part.name, thing.name),
                changes.len() as u32,
            );
            changes.push(Change {
                address: Address::new(part.name, thing.name),
                kind: "thing".to_owned(),
                action: part.action(thing),
                before: None,
                after: None,
                replaces: Vec::new(),
                reasons: Vec::new(),
                moved_from: None,
                drift: Vec::new(),
                reversal: Reversal::Reversible,
                location: None,
            });
        }
        planned.push(PlannedPart {
            name: part.name.to_owned(),
            layer: "test".to_owned(),
            intent: part.intent,
            after: part.after.iter().map(|&name| name.to_owned()).collect(),
            first,
            count: changes.len() as u32 - first,
            outputs: part
                .things
                .iter()
                .filter_map(|it| Some((it.gives?.to_owned(), Planned::unknown("string", None))))
                .collect(),
            inputs: part
                .things
                .iter()
                .flat_map(|it| &it.takes)
                .map(|&name| {
                    (
                        name.to_owned(),
                        Planned::known(json!(format!("old {name}"))),
                    )
                })
                .collect(),
            payload: Vec::new(),
        });
    }
    for part in parts {
        for thing in &part.things {
            for input in &thing.takes {
                let (giver, output) = input.split_once('.').unwrap();
                let giver = parts.iter().find(|part| part.name == giver).unwrap();
                let gives = giver.things.iter().find(|it| it.gives == Some(output));
                let dependent = places.get(&format!("{}/{}", part.name, thing.name));
                let dependency =
                    gives.and_then(|it| places.get(&format!("{}/{}", giver.name, it.name)));
                if let (Some(dependent), Some(dependency)) = (dependent, dependency) {
                    edges.push(BlueprintEdge {
                        dependent: *dependent,
                        dependency: *dependency,
                        edge: Edge::Value,
                    });
                }
            }
        }
    }
    let goes = parts.iter().all(|part| part.intent == Intent::Destroy);
    Blueprint {
        format: Blueprint::FORMAT,
        score: "test".to_owned(),
        mode: if goes { Mode::Destroy } else { Mode::Apply },
        author: "ada".to_owned(),
        time: jiff::Timestamp::UNIX_EPOCH,
        source: Source::Revision { revision: 1 },
        parent: Parent {
            revision: 0,
            seen: BTreeMap::new(),
        },
        parts: planned,
        changes,
        edges,
        joints: Vec::new(),
        verdicts: Vec::new(),
        blast: BlastRadius::default(),
        warnings: Vec::new(),
    }
}

impl Part for TestPart {
    fn name(&self) -> &str {
        self.name
    }

    fn layer(&self) -> &'static str {
        "test"
    }

    fn inputs(&self) -> Vec<Input> {
        let takes: BTreeSet<_> = self.things.iter().flat_map(|it| &it.takes).collect();
        takes
            .into_iter()
            .map(|input| {
                let (part, output) = input.split_once('.').unwrap();
                Input {
                    name: (*input).to_owned(),
                    part: part.to_owned(),
                    output: output.to_owned(),
                    location: Location {
                        file: "consort.yaml".to_owned(),
                        line: 1,
                    },
                }
            })
            .collect()
    }

    fn plan<'a>(&'a self, _: Request<'a>) -> Call<'a, Result<PartPlan, Vec<Problem>>> {
        Box::pin(std::future::ready(Err(vec![Problem {
            summary: "the tests make their blueprints themselves".to_owned(),
            ..Problem::default()
        }])))
    }

    fn moved<'a>(&'a self, seen: &'a [Seen]) -> Call<'a, Result<Vec<Moved>, Vec<Problem>>> {
        let things = self.world.things.lock().unwrap();
        let moved = seen
            .iter()
            .filter(|seen| !things.contains_key(&seen.what))
            .map(|seen| Moved {
                what: seen.what.clone(),
                how: "deleted".to_owned(),
                by: Some("bob".to_owned()),
            })
            .collect();
        Box::pin(std::future::ready(Ok(moved)))
    }

    fn carrier<'a>(
        &'a self,
        order: Order<'a>,
    ) -> Call<'a, Result<Box<dyn Carrier + 'a>, Vec<Problem>>> {
        Box::pin(async move {
            if self.unready {
                return Err(vec![Problem {
                    part: self.name.to_owned(),
                    summary: "the state is locked".to_owned(),
                    ..Problem::default()
                }]);
            }
            let mut steps = Graph::new();
            let mut nodes: HashMap<&str, NodeId> = HashMap::new();
            let mut change = 0;
            for thing in &self.things {
                let mut changes = Vec::new();
                if !thing.evaluates {
                    if order.done[change as usize] {
                        let mut told = self.world.told_done.lock().unwrap();
                        told.insert(thing.name.to_owned());
                    }
                    changes.push(change);
                    change += 1;
                }
                let step = steps.add(Step {
                    label: thing.name.to_owned(),
                    changes,
                    takes: thing.takes.iter().map(|&it| it.to_owned()).collect(),
                    gives: thing.gives.iter().map(|&it| it.to_owned()).collect(),
                });
                nodes.insert(thing.name, step);
            }
            for thing in &self.things {
                for need in &thing.needs {
                    let (dependent, dependency) = match order.intent {
                        Intent::Apply => (nodes[thing.name], nodes[need]),
                        Intent::Destroy => (nodes[need], nodes[thing.name]),
                    };
                    steps.connect(dependent, dependency, Edge::Order);
                }
            }
            Ok(Box::new(TestCarrier {
                part: self,
                steps,
                intent: order.intent,
                not_done: Mutex::default(),
            }) as Box<dyn Carrier + 'a>)
        })
    }
}

struct TestCarrier<'a> {
    part: &'a TestPart,
    steps: Graph<Step>,
    intent: Intent,
    /// What failed or was skipped, for carriers that keep account.
    not_done: Mutex<BTreeSet<NodeId>>,
}

impl TestCarrier<'_> {
    fn problem(&self, name: &str, text: &str, transient: bool) -> Problem {
        Problem {
            part: self.part.name.to_owned(),
            address: Some(Address::new(self.part.name, name)),
            summary: format!("{name}: {text}"),
            transient,
            ..Problem::default()
        }
    }
}

impl Carrier for TestCarrier<'_> {
    fn steps(&self) -> &Graph<Step> {
        &self.steps
    }

    fn step<'a>(
        &'a self,
        id: NodeId,
        progress: &'a dyn Progress,
    ) -> Call<'a, Result<(), Vec<Problem>>> {
        Box::pin(async move {
            let step = &self.steps[id];
            let thing = &self.part.things[id.index()];
            let world = &self.part.world;
            if self.part.accounts {
                let blocked = {
                    let not_done = self.not_done.lock().unwrap();
                    let mut dependencies = self.steps.dependencies(id).iter();
                    dependencies.any(|(dependency, _)| not_done.contains(dependency))
                };
                if blocked {
                    self.not_done.lock().unwrap().insert(id);
                    for change in &step.changes {
                        progress.skipped(*change, None);
                    }
                    return Ok(());
                }
            }
            world.log.lock().unwrap().push(format!("+{}", thing.name));
            let mut inputs = Vec::new();
            for input in &step.takes {
                let value = progress.input(input).map_err(|problem| vec![*problem])?;
                inputs.push(value.value);
            }
            let trick = world.tricks.lock().unwrap().get(thing.name).cloned();
            match trick {
                Some(Trick::Fail) => {
                    let problem = self.problem(thing.name, "broken", false);
                    if self.part.accounts {
                        self.not_done.lock().unwrap().insert(id);
                        for change in &step.changes {
                            progress.failed(*change, problem.clone());
                        }
                        return Ok(());
                    }
                    return Err(vec![problem]);
                }
                Some(Trick::Flaky(times)) => {
                    let next = match times {
                        1 => None,
                        times => Some(Trick::Flaky(times - 1)),
                    };
                    let mut tricks = world.tricks.lock().unwrap();
                    match next {
                        Some(next) => tricks.insert(thing.name.to_owned(), next),
                        None => tricks.remove(thing.name),
                    };
                    return Err(vec![self.problem(thing.name, "too many requests", true)]);
                }
                Some(Trick::Hang(text)) => {
                    for change in &step.changes {
                        progress.note(*change, text);
                    }
                    std::future::pending::<()>().await;
                }
                Some(Trick::Slow(time)) => tokio::time::sleep(time).await,
                Some(Trick::Cancel(cancel)) => {
                    cancel.cancel();
                    tokio::task::yield_now().await;
                }
                None => tokio::task::yield_now().await,
            }
            let goes = self.intent == Intent::Destroy || thing.action == Some(Action::Delete);
            if !thing.evaluates {
                let mut things = world.things.lock().unwrap();
                let new = if goes {
                    things.remove(thing.name).is_some()
                } else {
                    things
                        .insert(thing.name.to_owned(), json!(inputs))
                        .is_none()
                };
                if new {
                    let mut deeds = world.deeds.lock().unwrap();
                    *deeds.entry(thing.name.to_owned()).or_default() += 1;
                }
            }
            world.log.lock().unwrap().push(thing.name.to_owned());
            Ok(())
        })
    }

    fn skip(&self, id: NodeId, _: &Problem) {
        self.not_done.lock().unwrap().insert(id);
        let name = self.part.things[id.index()].name;
        self.part
            .world
            .skipped
            .lock()
            .unwrap()
            .push(name.to_owned());
    }

    fn accounts_for_failures(&self) -> bool {
        self.part.accounts
    }

    fn output(&self, name: &str) -> Result<Planned, Box<Problem>> {
        let giver = self
            .part
            .things
            .iter()
            .position(|it| it.gives == Some(name));
        let thing = &self.part.things[giver.unwrap()];
        let done = self.part.world.log().iter().any(|line| line == thing.name);
        if done {
            Ok(Planned::known(json!(format!("{name} of {}", thing.name))))
        } else {
            Err(Box::new(self.problem(
                thing.name,
                "its output is not known",
                false,
            )))
        }
    }

    fn finish<'a>(self: Box<Self>) -> Call<'a, Result<Vec<Problem>, Vec<Problem>>>
    where
        Self: 'a,
    {
        self.part
            .world
            .finished
            .lock()
            .unwrap()
            .push(self.part.name.to_owned());
        Box::pin(std::future::ready(Ok(Vec::new())))
    }
}

pub(crate) fn quick() -> CarryOptions {
    CarryOptions {
        retry: Retry {
            retries: 3,
            first_wait: Duration::from_millis(1),
            longest_wait: Duration::from_millis(2),
        },
        ..CarryOptions::default()
    }
}

/// Keeps entries in memory.
#[derive(Default)]
pub(crate) struct Memory(pub(crate) Mutex<Vec<Entry>>);

impl Record for Memory {
    fn commit(&self, entries: Vec<Entry>) -> Call<'_, Result<(), consort_plan::Unrecorded>> {
        self.0.lock().unwrap().extend(entries);
        Box::pin(std::future::ready(Ok(())))
    }
}

pub(crate) async fn run(
    parts: &[&TestPart],
    record: &dyn Record,
    options: &CarryOptions,
) -> Carried {
    go_on(parts, &[], record, options).await
}

/// As [`run`], after a walk that left these entries.
pub(crate) async fn go_on(
    parts: &[&TestPart],
    entries: &[Entry],
    record: &dyn Record,
    options: &CarryOptions,
) -> Carried {
    let blueprint = blueprint(parts);
    let dynamic: Vec<&dyn Part> = parts.iter().map(|part| *part as &dyn Part).collect();
    let work = Carry {
        blueprint: &blueprint,
        parts: &dynamic,
        entries,
        scratch: std::path::Path::new("/nonexistent"),
        record,
        watcher: &(),
    };
    carry(work, options).await
}

/// How it ended by name.
pub(crate) fn ends(parts: &[&TestPart], carried: &Carried) -> BTreeMap<&'static str, End> {
    let names = parts.iter().flat_map(|part| part.resources());
    names
        .map(|it| it.name)
        .zip(carried.ends.iter().copied())
        .collect()
}
