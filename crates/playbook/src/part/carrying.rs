//! Carries the plan of a part out: its playbooks run, as one step of the walk.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use consort_jinja::{Dict, Value};
use consort_plan::{
    Address, Call, Carrier, Change, Edge, Graph, Intent, NodeId, Order, Planned, Problem, Progress,
    Step,
};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::Playbooks;
use super::hosts;
use super::opening;
use super::outputs::{self, HOSTS};
use super::planning::{Payload, shown};
use super::remembered::Remembered;
use super::told::{Deed, Heard, Listener};
use super::values::Hidden;
use crate::output::{Stats, Status};

/// How long a machine that is being made may take until it can be reached, unless the part says otherwise.
const PATIENCE: Duration = Duration::from_secs(300);

/// How often what was done is kept while a run goes on.
const KEPT_EVERY: Duration = Duration::from_secs(1);

/// The steps of a part's plan.
pub(super) struct Carrying<'a> {
    part: &'a Playbooks,
    payload: Payload,
    graph: Graph<Step>,
    changes: Vec<Change>,
    inputs: BTreeMap<String, Planned>,
    scratch: PathBuf,
    cancel: &'a CancellationToken,
    outputs: Mutex<BTreeMap<String, Planned>>,
    warnings: Mutex<Vec<Problem>>,
    /// The steps that undo what a host has no task for any more, with the host.
    undoing: BTreeMap<NodeId, String>,
    /// Whether the playbooks were carried out well.
    ran_well: AtomicBool,
}

impl Playbooks {
    /// Gets ready to carry a plan out.
    pub(super) fn carrying<'a>(
        &'a self,
        order: &Order<'a>,
    ) -> Result<Box<dyn Carrier + 'a>, Vec<Problem>> {
        let payload: Payload = if order.payload.is_empty() {
            Payload::default()
        } else {
            serde_json::from_slice(order.payload).map_err(|error| {
                vec![Problem {
                    detail: error.to_string(),
                    hint: Some("plan again".to_owned()),
                    ..self.problem("what is to be carried out cannot be read")
                }]
            })?
        };
        let mut graph = Graph::new();
        let is_left: HashSet<u32> = payload
            .undo
            .iter()
            .map(|undo| undo.change)
            .chain(payload.forgotten.iter().map(|forgotten| forgotten.change))
            .collect();
        let places = |which: &dyn Fn(u32, &Change) -> bool| -> Vec<u32> {
            (0_u32..)
                .zip(order.changes)
                .filter(|(place, change)| which(*place, change))
                .map(|(place, _)| place)
                .collect()
        };
        if payload.runs && order.intent == Intent::Apply {
            let mut gives: Vec<String> = Vec::new();
            let mut takes: Vec<String> = self
                .spec
                .feeds()
                .into_iter()
                .map(|(feed, _)| feed)
                .collect();
            takes.sort();
            takes.dedup();
            gives.extend(payload.gives.iter().cloned());
            gives.push(HOSTS.to_owned());
            graph.add(Step {
                label: self.spec.path.iter().collect::<Vec<_>>().join(", "),
                changes: places(&|place, _| !is_left.contains(&place)),
                takes,
                gives,
            });
        } else {
            graph.add(Step {
                label: "outputs".to_owned(),
                changes: Vec::new(),
                takes: Vec::new(),
                gives: payload.outputs.keys().cloned().collect(),
            });
        }
        let run = graph.iter().next().map(|(id, _)| id);
        // What is undone comes after what is done, host by host; then what is remembered goes.
        let mut by_host: BTreeMap<String, Vec<u32>> = BTreeMap::new();
        for undo in &payload.undo {
            by_host
                .entry(undo.host.clone())
                .or_default()
                .push(undo.change);
        }
        for forgotten in &payload.forgotten {
            by_host
                .entry(forgotten.host.clone())
                .or_default()
                .push(forgotten.change);
        }
        let mut undoing = BTreeMap::new();
        for (host, changes) in by_host {
            let id = graph.add(Step {
                label: host.clone(),
                changes,
                takes: Vec::new(),
                gives: Vec::new(),
            });
            if let Some(run) = run {
                graph.connect(id, run, Edge::Order);
            }
            undoing.insert(id, host);
        }
        Ok(Box::new(Carrying {
            undoing,
            ran_well: AtomicBool::new(true),
            part: self,
            outputs: Mutex::new(payload.outputs.clone()),
            payload,
            graph,
            changes: order.changes.to_vec(),
            inputs: order.inputs.clone(),
            scratch: order.scratch.clone(),
            cancel: order.cancel,
            warnings: Mutex::default(),
        }))
    }
}

/// What a walk over the tasks of one run keeps.
struct Walk<'w> {
    carrying: &'w Carrying<'w>,
    progress: &'w dyn Progress,
    /// The places of changes by their names.
    places: HashMap<String, u32>,
    /// By host that was not known when it was planned, the change that stands for all that is done on it.
    standing: HashMap<String, u32>,
    /// Those that were told of.
    told: HashSet<u32>,
    /// Those that belong to other steps.
    left: HashSet<u32>,
    /// By host, the task it failed at.
    failed: HashMap<String, Address>,
    problems: Vec<Problem>,
    /// What changed although the plan did not have it.
    beside: Vec<String>,
    hidden: Hidden,
    stats: Stats,
    remembered: Remembered<'w>,
}

impl Walk<'_> {
    fn hear(&mut self, heard: Heard) {
        match heard {
            Heard::Began { local, host, task } => {
                if let Some(place) = self.places.get(&local) {
                    self.progress.began(*place);
                } else if let Some(place) = self.standing.get(&*host) {
                    self.progress.note(*place, &task);
                }
            }
            Heard::Again { local, text } => {
                if let Some(place) = self.places.get(&local) {
                    self.progress.note(*place, &text);
                }
            }
            Heard::Did(deed) => self.did(&deed),
            Heard::Warning(text) => {
                let text = self.hidden.taken_out(&text);
                let problem = self.carrying.part.problem(text);
                let mut warnings = self.carrying.warnings.lock();
                if warnings.len() < 100 && !warnings.contains(&problem) {
                    warnings.push(problem);
                }
            }
            Heard::Ended(stats) => self.stats = *stats,
        }
    }

    fn did(&mut self, deed: &Deed) {
        self.remembered.take_in(deed);
        let place = self.places.get(&deed.local).copied();
        let failed = matches!(deed.status, Status::Failed | Status::Unreachable) && !deed.ignored;
        if failed {
            let mut problem = self.carrying.part.failure(deed, &self.hidden);
            problem.transient = deed.status == Status::Unreachable;
            if let Some(place) = place {
                self.told.insert(place);
                self.failed
                    .insert(deed.host.to_string(), self.address(place));
                self.progress.failed(place, problem.clone());
            } else {
                self.failed.insert(
                    deed.host.to_string(),
                    Address::new(&self.carrying.part.name, &deed.local),
                );
            }
            self.problems.push(problem);
            return;
        }
        match place {
            Some(place) => {
                self.told.insert(place);
                self.progress.done(place);
            }
            None if deed.changed && deed.counts() => self.beside.push(deed.local.clone()),
            None => {}
        }
    }

    fn address(&self, place: u32) -> Address {
        self.carrying.changes[place as usize].address.clone()
    }

    /// What was not told of: it was not done on hosts that failed before, and there was nothing to do on others.
    fn rest(&mut self, ended: bool) {
        let carrying = self.carrying;
        for (place, change) in (0_u32..).zip(&carrying.changes) {
            if self.told.contains(&place) || self.left.contains(&place) {
                continue;
            }
            let host = host_of(change.address.local());
            match self.failed.get(host) {
                Some(address) => self.progress.skipped(place, Some(address)),
                None if ended => self.progress.done(place),
                None => self.progress.skipped(place, None),
            }
        }
    }
}

/// The host of a name within the part.
pub(super) fn host_of(local: &str) -> &str {
    local.split_once("[\"").map_or(local, |(host, _)| host)
}

impl Carrying<'_> {
    /// The changes that are not of the run itself.
    fn left(&self) -> HashSet<u32> {
        self.undoing
            .keys()
            .flat_map(|id| self.graph[*id].changes.iter().copied())
            .collect()
    }

    pub(super) fn payload(&self) -> &Payload {
        &self.payload
    }

    pub(super) fn part(&self) -> &Playbooks {
        self.part
    }

    pub(super) fn inputs(&self) -> &BTreeMap<String, Planned> {
        &self.inputs
    }

    pub(super) fn scratch(&self) -> &std::path::Path {
        &self.scratch
    }

    pub(super) fn stop(&self) -> &CancellationToken {
        self.cancel
    }

    /// Whether what came before went well: what is not declared any more may still be needed by what is to replace it.
    pub(super) fn may_undo(&self) -> bool {
        self.ran_well.load(Ordering::Relaxed)
    }

    /// By host of a group that was not known when it was planned, the first change that stands for it.
    fn standing(&self, resolved: &hosts::Resolved) -> HashMap<String, u32> {
        let mut standing = HashMap::new();
        for host in &resolved.hosts {
            for group in &host.given.groups {
                let prefix = format!("{{{group}}}[");
                let place = self
                    .changes
                    .iter()
                    .position(|change| change.address.local().starts_with(&prefix));
                if let Some(place) = place {
                    standing.insert(host.given.name.to_string(), place as u32);
                }
            }
        }
        standing
    }

    /// Waits for machines that could not be asked when it was planned: what has just been made takes a while to answer.
    async fn wait(
        &self,
        inputs: &BTreeMap<String, Planned>,
        resolved: &hosts::Resolved,
        progress: &dyn Progress,
    ) -> Result<(), Vec<Problem>> {
        let known: HashSet<&str> = self
            .changes
            .iter()
            .map(|change| host_of(change.address.local()))
            .collect();
        let new: Vec<String> = resolved
            .hosts
            .iter()
            .map(|host| host.given.name.to_string())
            .filter(|host| self.payload.waits_for.contains(host) || !known.contains(host.as_str()))
            .collect();
        if new.is_empty() {
            return Ok(());
        }
        for (place, change) in (0_u32..).zip(&self.changes) {
            let host = host_of(change.address.local());
            if new.iter().any(|new| new == host) {
                progress.began(place);
                progress.note(place, &format!("waiting until {host} can be reached"));
                break;
            }
        }
        let limit = self.part.spec.wait.as_deref().and_then(opening::duration);
        let limit = limit.unwrap_or(PATIENCE).as_secs();
        let opened = self.part.open_aside(inputs, Some(&self.scratch), false)?;
        let data = waiting(&new, limit);
        let told = |error| vec![self.part.told(&error, &opened.secrets.hidden())];
        let play = opened.ready.play(&data).map_err(told)?;
        let (listener, _heard) = Listener::new(&self.part.root);
        // Who does not answer in time is told by the run itself.
        let _ = opened
            .ready
            .run_aside(Some(Arc::new(play)), vec![Box::new(listener)], self.cancel)
            .await;
        drop(opened.kept);
        Ok(())
    }

    async fn run(&self, progress: &dyn Progress) -> Result<(), Vec<Problem>> {
        let mut inputs = self.inputs.clone();
        for (name, value) in &mut inputs {
            *value = progress.input(name).map_err(|problem| vec![*problem])?;
        }
        let opened = self.part.open_aside(&inputs, Some(&self.scratch), false)?;
        self.wait(&inputs, &opened.resolved, progress).await?;
        let lacking: Vec<String> = opened
            .resolved
            .hosts
            .iter()
            .filter_map(|host| {
                let lacks = host.lacks.as_ref()?;
                Some(format!("{}: {lacks} is still not known", host.given.name))
            })
            .collect();
        if !lacking.is_empty() {
            return Err(vec![self.part.problem(lacking.join("; "))]);
        }
        let standing = self.standing(&opened.resolved);
        let hosts_output = hosts::output(&opened.resolved, opened.ready.inventory());
        let (listener, mut heard) = Listener::new(&self.part.root);
        let mut walk = Walk {
            carrying: self,
            progress,
            places: (0_u32..)
                .zip(&self.changes)
                .map(|(place, change)| (change.address.local().to_owned(), place))
                .collect(),
            standing,
            left: self.left(),
            told: HashSet::new(),
            failed: HashMap::new(),
            problems: Vec::new(),
            beside: Vec::new(),
            hidden: opened.secrets.hidden(),
            stats: Stats::default(),
            remembered: Remembered::of(self.part).await?,
        };
        let secrets = opened.secrets;
        let kept = opened.kept;
        let running = opened
            .ready
            .run_aside(None, vec![Box::new(listener)], self.cancel);
        tokio::pin!(running);
        let mut rest = tokio::time::interval(KEPT_EVERY);
        let ended = loop {
            tokio::select! {
                biased;
                _ = rest.tick() => walk.remembered.keep().await,
                Some(heard) = heard.recv() => {
                    walk.hidden.join(&secrets.hidden());
                    walk.hear(heard);
                }
                ended = &mut running => break ended,
            }
        };
        walk.hidden.join(&secrets.hidden());
        while let Ok(heard) = heard.try_recv() {
            walk.hear(heard);
        }
        drop(kept);
        if let Err(error) = &ended {
            let mut problem = self.part.told(error, &walk.hidden);
            if self.cancel.is_cancelled() {
                problem.detail = String::new();
            }
            walk.problems.push(problem);
        }
        walk.rest(ended.is_ok());
        let sources = self.part.made_of(&inputs);
        for host in walk.remembered.hosts() {
            // A host that failed, or was not worked on, is not known to be as the files say.
            let done = walk
                .stats
                .hosts
                .get(host.as_str())
                .is_some_and(|counts| counts.failures == 0 && counts.unreachable == 0);
            if ended.is_ok() && done {
                walk.remembered.complete(&host, &sources);
            }
        }
        walk.remembered.keep().await;
        if let Some(error) = walk.remembered.error.take() {
            walk.problems.push(self.part.problem(error));
        }
        let mut told = outputs::told(&walk.stats);
        {
            let mut outputs = self.outputs.lock();
            for name in &self.payload.gives {
                if let Some(value) = told.remove(name) {
                    outputs.insert(name.clone(), shown(value, &walk.hidden));
                }
            }
            outputs.insert(HOSTS.to_owned(), hosts_output);
        }
        if !walk.beside.is_empty() && self.payload.open.is_empty() {
            let count = walk.beside.len();
            let shown: Vec<String> = walk.beside.iter().take(10).cloned().collect();
            self.warnings.lock().push(Problem {
                detail: shown.join("\n"),
                ..self.part.problem(format!(
                    "{count} {} changed something that the plan did not foresee",
                    if count == 1 { "task" } else { "tasks" }
                ))
            });
        }
        if walk.problems.is_empty() {
            Ok(())
        } else {
            Err(walk.problems)
        }
    }
}

/// The play that waits until machines can be reached.
fn waiting(hosts: &[String], limit: u64) -> Value {
    let dict = |entries: Vec<(&str, Value)>| -> Value {
        Value::Dict(entries.into_iter().collect::<Dict>())
    };
    let hosts = hosts
        .iter()
        .map(|host| Value::from(host.as_str()))
        .collect();
    let limit = Value::Int(i64::try_from(limit).unwrap_or(i64::MAX));
    let wait = dict(vec![
        ("timeout", limit),
        ("sleep", Value::Int(1)),
        ("connect_timeout", Value::Int(5)),
    ]);
    let task = dict(vec![("wait_for_connection", wait)]);
    dict(vec![
        ("name", Value::from("Wait")),
        ("hosts", Value::list(hosts)),
        ("gather_facts", Value::Bool(false)),
        ("tasks", Value::list(vec![task])),
    ])
}

impl Carrier for Carrying<'_> {
    fn steps(&self) -> &Graph<Step> {
        &self.graph
    }

    fn step<'s>(
        &'s self,
        id: NodeId,
        progress: &'s dyn Progress,
    ) -> Call<'s, Result<(), Vec<Problem>>> {
        Box::pin(async move {
            if self.graph[id].changes.is_empty() {
                return Ok(());
            }
            if let Some(host) = self.undoing.get(&id) {
                return self.undo(host, progress).await;
            }
            let ran = self.run(progress).await;
            self.ran_well.store(ran.is_ok(), Ordering::Relaxed);
            ran
        })
    }

    fn skip(&self, id: NodeId, _: &Problem) {
        if !self.undoing.contains_key(&id) {
            self.ran_well.store(false, Ordering::Relaxed);
        }
    }

    fn accounts_for_failures(&self) -> bool {
        true
    }

    fn keeps_deadlines(&self) -> bool {
        true
    }

    fn output(&self, name: &str) -> Result<Planned, Box<Problem>> {
        self.outputs.lock().get(name).cloned().ok_or_else(|| {
            Box::new(
                self.part
                    .problem(format!("no task has set {name} (set_stats)")),
            )
        })
    }

    fn finish<'s>(self: Box<Self>) -> Call<'s, Result<Vec<Problem>, Vec<Problem>>>
    where
        Self: 's,
    {
        let warnings = std::mem::take(&mut *self.warnings.lock());
        Box::pin(std::future::ready(Ok(warnings)))
    }
}
