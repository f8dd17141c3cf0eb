//! Carries the plan of a part out: its playbooks run, as one step of the walk.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use consort_plan::{
    Call, Carrier, Change, Edge, Graph, Intent, NodeId, Order, Planned, Problem, Progress, Step,
};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::Playbooks;
use super::hosts;
use super::outputs::{self, HOSTS};
use super::planning::{Payload, shown};
use super::remembered::Remembered;
use super::told::Listener;
use super::walk::Walk;
use crate::output::Stats;

/// How often what was done is kept while a run goes on.
const KEPT_EVERY: Duration = Duration::from_secs(1);

/// The steps of a part's plan.
pub(super) struct Carrying<'a> {
    pub(super) part: &'a Playbooks,
    pub(super) payload: Payload,
    graph: Graph<Step>,
    pub(super) changes: Vec<Change>,
    pub(super) inputs: BTreeMap<String, Planned>,
    pub(super) scratch: PathBuf,
    pub(super) cancel: &'a CancellationToken,
    outputs: Mutex<BTreeMap<String, Planned>>,
    pub(super) warnings: Mutex<Vec<Problem>>,
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

impl Carrying<'_> {
    /// The changes that are not of the run itself.
    fn left(&self) -> HashSet<u32> {
        self.undoing
            .keys()
            .flat_map(|id| self.graph[*id].changes.iter().copied())
            .collect()
    }

    /// Whether what came before went well: what is not declared any more may still be needed by what is to replace it.
    pub(super) fn may_undo(&self) -> bool {
        self.ran_well.load(Ordering::Relaxed)
    }

    /// By host of a group that was not known when it was planned, the first change that stands for it.
    pub(super) fn standing(&self, resolved: &hosts::Resolved) -> HashMap<String, u32> {
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

    async fn run(&self, progress: &dyn Progress) -> Result<(), Vec<Problem>> {
        let mut inputs = self.inputs.clone();
        for (name, value) in &mut inputs {
            *value = progress.input(name).map_err(|problem| vec![*problem])?;
        }
        let mut remembered = Remembered::of(self.part).await?;
        let mut opened = self.part.open_aside(&inputs, Some(&self.scratch), false)?;
        opened.ready = opened.ready.notifying(remembered.pending());
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
        // If this is cut off between a change and the handlers it notifies, the next run knows of them.
        remembered.expect(&self.payload.handlers);
        remembered.keep().await;
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
            remembered,
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
        if !self.cancel.is_cancelled() {
            walk.remembered.settle();
        }
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
