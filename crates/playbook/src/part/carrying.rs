//! Carries the plan of a part out: its playbooks run, as one step of the walk.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;

use consort_plan::{
    Address, Call, Carrier, Change, Graph, Intent, NodeId, Order, Planned, Problem, Progress, Step,
};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::Playbooks;
use super::hosts;
use super::outputs::{self, HOSTS};
use super::planning::{Payload, shown};
use super::told::{Deed, Heard, Listener};
use super::values::Hidden;
use crate::output::{Stats, Status};

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
        let places = |which: &dyn Fn(&Change) -> bool| -> Vec<u32> {
            (0_u32..)
                .zip(order.changes)
                .filter(|(_, change)| which(change))
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
                changes: places(&|_| true),
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
        Ok(Box::new(Carrying {
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
    /// Those that were told of.
    told: HashSet<u32>,
    /// By host, the task it failed at.
    failed: HashMap<String, Address>,
    problems: Vec<Problem>,
    /// What changed although the plan did not have it.
    beside: Vec<String>,
    hidden: Hidden,
    stats: Stats,
}

impl Walk<'_> {
    fn hear(&mut self, heard: Heard) {
        match heard {
            Heard::Began { local, host, task } => {
                if let Some(place) = self.place(&local, &host) {
                    self.progress.began(place);
                    if !self.places.contains_key(&local) {
                        self.progress.note(place, &task);
                    }
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

    /// The change that a task on a host is, or that stands for it: of a host that was not known, the play of its group.
    fn place(&self, local: &str, _host: &str) -> Option<u32> {
        self.places.get(local).copied()
    }

    fn did(&mut self, deed: &Deed) {
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
            if self.told.contains(&place) {
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
    async fn run(&self, progress: &dyn Progress) -> Result<(), Vec<Problem>> {
        let mut inputs = self.inputs.clone();
        for (name, value) in &mut inputs {
            *value = progress.input(name).map_err(|problem| vec![*problem])?;
        }
        let opened = self
            .part
            .open_aside(&inputs, Some(&self.scratch), false)
            .await?;
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
        let hosts_output = hosts::output(&opened.resolved, opened.ready.inventory());
        let (listener, mut heard) = Listener::new(&self.part.root);
        let mut walk = Walk {
            carrying: self,
            progress,
            places: (0_u32..)
                .zip(&self.changes)
                .map(|(place, change)| (change.address.local().to_owned(), place))
                .collect(),
            told: HashSet::new(),
            failed: HashMap::new(),
            problems: Vec::new(),
            beside: Vec::new(),
            hidden: opened.secrets.hidden(),
            stats: Stats::default(),
        };
        let secrets = opened.secrets;
        let kept = opened.kept;
        let running = opened
            .ready
            .run_aside(None, vec![Box::new(listener)], self.cancel);
        tokio::pin!(running);
        let ended = loop {
            tokio::select! {
                biased;
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
            self.run(progress).await
        })
    }

    fn skip(&self, _: NodeId, _: &Problem) {}

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
