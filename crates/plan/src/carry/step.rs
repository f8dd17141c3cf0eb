//! The visit of one step: what keeps it from being done, its inputs, its attempts and its deadline.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::join::Node;
use super::{Blame, Run};
use crate::address::Address;
use crate::graph::NodeId;
use crate::part::{Intent, Problem, Progress, Step};
use crate::planned::Planned;
use crate::walk::Outcome;

/// Visits a node of the joined graph. The walk itself never stops at a failure: what a failure means to the nodes
/// behind it is decided here, because carriers may keep account of their own.
pub(super) async fn visit(run: &Run<'_>, id: NodeId) -> Outcome<()> {
    let blame = match run.graph[id] {
        Node::Gate { .. } | Node::Standing | Node::Joint { .. } => blocked(run, id, false),
        Node::Step { part, step } => visit_step(run, id, part as usize, step).await,
    };
    run.ends.lock()[id.index()] = blame;
    Outcome::Done
}

/// Tells the record of a step that the walk did not come to.
pub(super) fn left_out(run: &Run<'_>, id: NodeId) {
    if let Node::Step { part, step } = run.graph[id] {
        let ready = &run.parts[part as usize];
        for change in &ready.carrier.steps()[step].changes {
            run.ledger.skipped(ready.planned.first + change, id, None);
        }
    }
}

/// What kept one of those it depends on from being done.
fn blocked(run: &Run<'_>, id: NodeId, own_failures_count_not: bool) -> Option<Arc<Blame>> {
    let part_of = |id: NodeId| match run.graph[id] {
        Node::Step { part, .. } => Some(part),
        Node::Gate { .. } | Node::Standing | Node::Joint { .. } => None,
    };
    let own = part_of(id);
    let ends = run.ends.lock();
    run.graph
        .dependencies(id)
        .iter()
        .filter(|(dependency, _)| !(own_failures_count_not && part_of(*dependency) == own))
        .find_map(|(dependency, _)| ends[dependency.index()].clone())
}

async fn visit_step(run: &Run<'_>, id: NodeId, part: usize, step: NodeId) -> Option<Arc<Blame>> {
    let ready = &run.parts[part];
    let what = &ready.carrier.steps()[step];
    let accounts = ready.carrier.accounts_for_failures();
    let blame = blocked(run, id, accounts).or_else(|| missing_input(run, part, what));
    if let Some(blame) = blame {
        let mut problem = blame.problem.clone();
        problem.address.get_or_insert_with(|| blame.address.clone());
        ready.carrier.skip(step, &problem);
        for change in &what.changes {
            run.ledger
                .skipped(ready.planned.first + change, id, Some(&blame.address));
        }
        return Some(blame);
    }
    run.ledger.room().await;
    let told = Told {
        run,
        part,
        node: id,
        state: Mutex::new(State {
            attempt: 1,
            problems: Vec::new(),
            note: None,
        }),
    };
    let Some(deadline) = run
        .options
        .deadline
        .filter(|_| !ready.carrier.keeps_deadlines())
    else {
        return attempts(&told, step, what).await;
    };
    match tokio::time::timeout(deadline, attempts(&told, step, what)).await {
        Ok(blame) => blame,
        Err(_) => {
            let note = told.state.lock().note.take();
            let problem = Problem {
                part: ready.planned.name.clone(),
                summary: format!("not done within {}", spoken(deadline)),
                detail: note.map_or_else(String::new, |note| format!("last heard: {note}")),
                hint: Some("it may still go well by itself: plan again, or give its steps more time (steps.timeout)".to_owned()),
                ..Problem::default()
            };
            Some(told.failed_step(what, &[problem], 0, true))
        }
    }
}

fn missing_input(run: &Run<'_>, part: usize, what: &Step) -> Option<Arc<Blame>> {
    if run.parts[part].intent == Intent::Destroy {
        return None;
    }
    for name in &what.takes {
        let (giver, output) = run.parts[part].inputs.get(name)?;
        if let Err(problem) = output_of(run, *giver, output) {
            let address = problem.address.clone().unwrap_or_else(|| {
                Address::new(&run.parts[*giver].planned.name, &format!("output.{output}"))
            });
            return Some(Arc::new(Blame {
                address,
                problem: *problem,
            }));
        }
    }
    None
}

fn output_of(run: &Run<'_>, giver: usize, output: &str) -> Result<Planned, Box<Problem>> {
    let value = run.parts[giver].carrier.output(output)?;
    if value.is_wholly_known() {
        return Ok(value);
    }
    let part = &run.parts[giver].planned.name;
    Err(Box::new(Problem {
        part: part.clone(),
        summary: format!("{part}.{output} is still not known after its step is done"),
        ..Problem::default()
    }))
}

async fn attempts(told: &Told<'_, '_>, step: NodeId, what: &Step) -> Option<Arc<Blame>> {
    let run = told.run;
    let ready = &run.parts[told.part];
    let retry = &run.options.retry;
    let mut attempt = 1;
    loop {
        told.start(what, attempt);
        let result = ready.carrier.step(step, told).await;
        let mut problems = std::mem::take(&mut told.state.lock().problems);
        let well = result.is_ok();
        let singly = problems.len();
        if let Err(told_at_end) = result {
            for problem in told_at_end {
                if !problems.contains(&problem) {
                    problems.push(problem);
                }
            }
            if problems.is_empty() {
                problems.push(Problem {
                    part: ready.planned.name.clone(),
                    summary: format!("{} failed without saying why", what.label),
                    ..Problem::default()
                });
            }
        }
        let again = !problems.is_empty()
            && attempt <= retry.retries
            && problems.iter().all(|problem| problem.transient)
            && !run.stop.is_cancelled();
        if !again {
            return if well {
                let first = ready.planned.first;
                let changes = what.changes.iter().map(|change| first + change);
                let blame = run.ledger.step_done(changes, told.node);
                blame
                    .or_else(|| {
                        // It concerned resources that the step did not say were its own.
                        problems.into_iter().next().map(|problem| Blame {
                            address: problem
                                .address
                                .clone()
                                .unwrap_or_else(|| told.address(what)),
                            problem,
                        })
                    })
                    .map(Arc::new)
            } else {
                Some(told.failed_step(what, &problems, singly, true))
            };
        }
        if !well {
            told.failed_step(what, &problems, singly, false);
        }
        let wait = retry.wait_after(attempt);
        for change in &what.changes {
            run.ledger
                .retrying(ready.planned.first + change, &problems[0], wait);
        }
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = run.stop.cancelled() => {
                return Some(told.failed_step(what, &problems, singly, true));
            }
        }
        attempt += 1;
    }
}

/// A duration in words short enough for a line.
fn spoken(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match (seconds / 60, seconds % 60) {
        (0, 0) => format!("{}ms", duration.as_millis()),
        (0, seconds) => format!("{seconds}s"),
        (minutes, 0) => format!("{minutes}m"),
        (minutes, seconds) => format!("{minutes}m{seconds}s"),
    }
}

/// Hears from a carrier about one step.
struct Told<'a, 'r> {
    run: &'a Run<'r>,
    part: usize,
    node: NodeId,
    state: Mutex<State>,
}

struct State {
    attempt: u32,
    /// What was told of single resources in this attempt.
    problems: Vec<Problem>,
    note: Option<String>,
}

impl Told<'_, '_> {
    fn first(&self) -> u32 {
        self.run.parts[self.part].planned.first
    }

    fn address(&self, what: &Step) -> Address {
        match what.changes.first() {
            Some(change) => self
                .run
                .blueprint
                .changes
                .get((self.first() + change) as usize)
                .map(|change| change.address.clone()),
            None => None,
        }
        .unwrap_or_else(|| Address::new(&self.run.parts[self.part].planned.name, &what.label))
    }

    fn start(&self, what: &Step, attempt: u32) {
        self.state.lock().attempt = attempt;
        let ledger = self.run.ledger;
        if attempt > 1 {
            for change in &what.changes {
                let change = self.first() + change;
                if ledger.is_failed(change, self.node) {
                    ledger.began(change, self.node, attempt);
                }
            }
        } else if let [change] = what.changes[..]
            && !self.run.parts[self.part].carrier.accounts_for_failures()
        {
            ledger.began(self.first() + change, self.node, attempt);
        }
    }

    /// The step as a whole failed, for good if it is the last attempt.
    fn failed_step(
        &self,
        what: &Step,
        problems: &[Problem],
        told: usize,
        last: bool,
    ) -> Arc<Blame> {
        let first = self.first();
        let address = self.address(what);
        let changes = what.changes.iter().map(|change| first + change);
        self.run
            .ledger
            .step_failed(&address, &changes, self.node, problems, told, last);
        let problem = problems.first().cloned().unwrap_or_default();
        Arc::new(Blame {
            address: problem.address.clone().unwrap_or(address),
            problem,
        })
    }
}

impl Progress for Told<'_, '_> {
    fn began(&self, change: u32) {
        let attempt = self.state.lock().attempt;
        self.run
            .ledger
            .began(self.first() + change, self.node, attempt);
    }

    fn note(&self, change: u32, text: &str) {
        self.state.lock().note = Some(text.to_owned());
        self.run.ledger.note(self.first() + change, text);
    }

    fn done(&self, change: u32) {
        self.run.ledger.done(self.first() + change, self.node);
    }

    fn failed(&self, change: u32, problem: Problem) {
        self.run
            .ledger
            .failed(self.first() + change, self.node, &problem);
        self.state.lock().problems.push(problem);
    }

    fn skipped(&self, change: u32, because: Option<&Address>) {
        self.run
            .ledger
            .skipped(self.first() + change, self.node, because);
    }

    fn input(&self, name: &str) -> Result<Planned, Box<Problem>> {
        let ready = &self.run.parts[self.part];
        let planned = || ready.planned.inputs.get(name).cloned();
        match ready.inputs.get(name) {
            // What is to go was made with the values there were; the part that gives them outlives this one.
            Some((giver, output)) if ready.intent == Intent::Apply => {
                output_of(self.run, *giver, output)
            }
            Some(_) | None => planned().ok_or_else(|| {
                Box::new(Problem {
                    part: ready.planned.name.clone(),
                    summary: format!("{} takes no input {name:?}", ready.planned.name),
                    ..Problem::default()
                })
            }),
        }
    }
}
