//! What happened to each resource, and the queue of entries on their way into the record.

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::join::Node;
use super::{Blame, Carried, End, Ready, Watcher};
use crate::address::Address;
use crate::blueprint::Blueprint;
use crate::change::Action;
use crate::graph::{Graph, NodeId};
use crate::operation::{Entry, Event, Phase};
use crate::part::Problem;
use crate::record::{Record, Unrecorded};

/// So many entries may wait for the record; then steps wait before they begin.
const LONGEST_QUEUE: usize = 4096;

/// So many are committed without waiting for more to come together.
const LARGE_GROUP: usize = 1024;

pub(super) struct Ledger<'a> {
    blueprint: &'a Blueprint,
    watcher: &'a dyn Watcher,
    already: Vec<bool>,
    state: Mutex<State>,
    /// Something is in the queue, or it is closed.
    filled: Notify,
    /// The queue is long, or closed.
    hurry: Notify,
    /// The queue was emptied.
    emptied: Notify,
}

struct State {
    entries: Vec<Entry>,
    changes: Vec<ChangeState>,
    /// Problems of steps; those of resources by their places, so that another attempt can take them back.
    problems: Vec<(Option<u32>, Problem)>,
    closed: bool,
    lost: bool,
}

#[derive(Clone)]
struct ChangeState {
    /// How many steps that work on it are not done.
    left: u32,
    /// The last attempt that is in the record.
    attempt: u32,
    /// The node that last told something about it (one more than its index; zero: none), and what.
    by: u32,
    told: Told,
    end: Option<End>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Told {
    Nothing,
    Done,
    Failed,
    Skipped,
}

impl<'a> Ledger<'a> {
    pub(super) fn new(
        blueprint: &'a Blueprint,
        entries: &[Entry],
        watcher: &'a dyn Watcher,
    ) -> Self {
        let mut already = vec![false; blueprint.changes.len()];
        if !entries.is_empty() {
            // Whether what was last told of an address is that it is done.
            let mut last: HashMap<&Address, bool> = HashMap::with_capacity(entries.len());
            for entry in entries {
                last.insert(&entry.address, matches!(entry.event, Event::Done));
            }
            let mut times: HashMap<&Address, u32> = HashMap::with_capacity(last.len());
            for change in &blueprint.changes {
                *times.entry(&change.address).or_default() += 1;
            }
            for (already, change) in already.iter_mut().zip(&blueprint.changes) {
                // An address that comes twice is done again: the record does not tell which of the two it was.
                *already = last.get(&change.address) == Some(&true)
                    && times.get(&change.address) == Some(&1);
            }
        }
        let change = ChangeState {
            left: 0,
            attempt: 0,
            by: 0,
            told: Told::Nothing,
            end: None,
        };
        Ledger {
            state: Mutex::new(State {
                entries: Vec::new(),
                changes: vec![change; blueprint.changes.len()],
                problems: Vec::new(),
                closed: false,
                lost: false,
            }),
            blueprint,
            watcher,
            already,
            filled: Notify::new(),
            hurry: Notify::new(),
            emptied: Notify::new(),
        }
    }

    /// Which resources the record says are done.
    pub(super) fn already(&self) -> &[bool] {
        &self.already
    }

    /// Counts the steps that work on each resource: it is done when all of them are.
    pub(super) fn expect(&self, graph: &Graph<Node>, parts: &[Ready<'_>]) {
        let state = &mut *self.state.lock();
        for (_, node) in graph.iter() {
            if let Node::Step { part, step } = node {
                let ready = &parts[*part as usize];
                for change in &ready.carrier.steps()[*step].changes {
                    if let Some(change) = state
                        .changes
                        .get_mut((ready.planned.first + change) as usize)
                    {
                        change.left += 1;
                    }
                }
            }
        }
    }

    /// What a resource is that nobody works on: what an earlier walk did stays done.
    fn untouched(&self, change: u32) -> End {
        if self.already[change as usize] {
            End::Done
        } else {
            End::Skipped
        }
    }

    fn is_recorded(&self, change: u32) -> bool {
        self.blueprint.changes[change as usize].action != Action::NoOp
            && !self.already[change as usize]
    }

    fn push(&self, state: &mut State, change: u32, event: Event) {
        let of = &self.blueprint.changes[change as usize];
        self.write(state, Some(change), of.address.clone(), of.action, event);
    }

    fn write(
        &self,
        state: &mut State,
        change: Option<u32>,
        address: Address,
        action: Action,
        event: Event,
    ) {
        let entry = Entry {
            time: Timestamp::now(),
            address,
            action,
            event,
        };
        self.watcher.entry(change, &entry);
        if state.lost {
            return;
        }
        state.entries.push(entry);
        match state.entries.len() {
            1 => self.filled.notify_one(),
            LARGE_GROUP => self.hurry.notify_one(),
            _ => {}
        }
    }

    /// Work on a resource begins. Places out of range are no resources and are passed over, here and below.
    pub(super) fn began(&self, change: u32, node: NodeId, attempt: u32) {
        let state = &mut *self.state.lock();
        self.begin(state, change, node, attempt);
    }

    fn begin(&self, state: &mut State, change: u32, node: NodeId, attempt: u32) {
        let Some(of) = state.changes.get_mut(change as usize) else {
            return;
        };
        let by = mark(node);
        if of.by == by && of.told == Told::Done {
            return;
        }
        if of.by == by && of.told != Told::Nothing {
            // Another attempt of the same step takes back what became of the one before.
            of.end = None;
            state.problems.retain(|(about, _)| *about != Some(change));
        }
        of.by = by;
        of.told = Told::Nothing;
        if attempt > of.attempt {
            of.attempt = attempt;
            if self.is_recorded(change) {
                self.push(state, change, Event::Began { attempt });
            }
        }
    }

    pub(super) fn done(&self, change: u32, node: NodeId) {
        let state = &mut *self.state.lock();
        self.settle_done(state, change, node);
    }

    fn settle_done(&self, state: &mut State, change: u32, node: NodeId) {
        let Some(of) = state.changes.get(change as usize) else {
            return;
        };
        if of.by == mark(node) && of.told == Told::Done {
            return;
        }
        self.begin(state, change, node, of.attempt.max(1));
        let of = &mut state.changes[change as usize];
        of.told = Told::Done;
        of.left = of.left.saturating_sub(1);
        if of.left == 0 && of.end.is_none() {
            of.end = Some(End::Done);
            if self.is_recorded(change) {
                self.push(state, change, Event::Done);
            }
        }
    }

    pub(super) fn failed(&self, change: u32, node: NodeId, problem: &Problem) {
        let state = &mut *self.state.lock();
        self.settle_failed(state, change, node, problem);
    }

    fn settle_failed(&self, state: &mut State, change: u32, node: NodeId, problem: &Problem) {
        let Some(of) = state.changes.get_mut(change as usize) else {
            return;
        };
        of.by = mark(node);
        of.told = Told::Failed;
        of.end = Some(End::Failed);
        let mut problem = problem.clone();
        if problem.address.is_none() {
            problem.address = Some(self.blueprint.changes[change as usize].address.clone());
        }
        state.problems.push((Some(change), problem.clone()));
        self.push(state, change, Event::Failed { problem });
    }

    pub(super) fn skipped(&self, change: u32, node: NodeId, because: Option<&Address>) {
        let state = &mut *self.state.lock();
        self.settle_skipped(state, change, node, because);
    }

    fn settle_skipped(
        &self,
        state: &mut State,
        change: u32,
        node: NodeId,
        because: Option<&Address>,
    ) {
        let Some(of) = state.changes.get_mut(change as usize) else {
            return;
        };
        of.by = mark(node);
        of.told = Told::Skipped;
        if of.end.is_none() {
            of.end = Some(self.untouched(change));
            if self.is_recorded(change) {
                let because = because.cloned();
                self.push(state, change, Event::Skipped { because });
            }
        }
    }

    /// A step's attempt ended well: what it did not tell of is done. Gives what kept some resource from being done.
    pub(super) fn step_done(
        &self,
        changes: impl Iterator<Item = u32>,
        node: NodeId,
    ) -> Option<Blame> {
        let state = &mut *self.state.lock();
        let mut blame = None;
        for change in changes {
            let Some(of) = state.changes.get(change as usize) else {
                continue;
            };
            if of.by == mark(node) && matches!(of.told, Told::Failed | Told::Skipped) {
                if blame.is_none() {
                    let address = self.blueprint.changes[change as usize].address.clone();
                    let problem = state
                        .problems
                        .iter()
                        .rfind(|(about, _)| *about == Some(change))
                        .map_or_else(
                            || Problem {
                                part: address.part().to_owned(),
                                address: Some(address.clone()),
                                summary: format!("{address} was not done"),
                                ..Problem::default()
                            },
                            |(_, problem)| problem.clone(),
                        );
                    blame = Some(Blame { address, problem });
                }
            } else {
                self.settle_done(state, change, node);
            }
        }
        blame
    }

    /// A step's attempt failed: what it did not tell of failed with it. A step without resources is recorded by its
    /// own name. The first `told` of the problems are known here already, through [`Ledger::failed`].
    pub(super) fn step_failed(
        &self,
        step: &Address,
        changes: &(impl Iterator<Item = u32> + Clone),
        node: NodeId,
        problems: &[Problem],
        told: usize,
        last: bool,
    ) {
        let state = &mut *self.state.lock();
        let Some(first) = problems.first() else {
            return;
        };
        let address = |change: u32| {
            self.blueprint
                .changes
                .get(change as usize)
                .map(|it| &it.address)
        };
        let mut any = false;
        for change in changes.clone() {
            any = true;
            let Some(of) = state.changes.get(change as usize) else {
                continue;
            };
            if of.by != mark(node) || of.told == Told::Nothing {
                let own = problems.iter().find(|problem| {
                    problem.address.is_some() && problem.address.as_ref() == address(change)
                });
                self.settle_failed(state, change, node, own.unwrap_or(first));
            }
        }
        if !last {
            return;
        }
        if !any {
            let problem = first.clone();
            self.write(
                state,
                None,
                step.clone(),
                Action::Read,
                Event::Failed { problem },
            );
        }
        for (place, problem) in problems.iter().enumerate().skip(told) {
            let of_a_resource = any && place == 0
                || problem.address.is_some()
                    && changes
                        .clone()
                        .any(|change| address(change) == problem.address.as_ref());
            if !of_a_resource {
                state.problems.push((None, problem.clone()));
            }
        }
    }

    /// Whether what a step told of this resource is that it failed.
    pub(super) fn is_failed(&self, change: u32, node: NodeId) -> bool {
        let state = self.state.lock();
        state
            .changes
            .get(change as usize)
            .is_some_and(|of| of.by == mark(node) && of.told == Told::Failed)
    }

    pub(super) fn note(&self, change: u32, text: &str) {
        if (change as usize) < self.blueprint.changes.len() {
            self.watcher.note(change, text);
        }
    }

    pub(super) fn retrying(&self, change: u32, problem: &Problem, after: Duration) {
        if (change as usize) < self.blueprint.changes.len() {
            self.watcher.retrying(change, problem, after);
        }
    }

    /// What no step works on is done by the end of the carriers, if that went well.
    pub(super) fn rest(&self, unwell: bool) {
        let state = &mut *self.state.lock();
        for change in 0..state.changes.len() as u32 {
            let of = &mut state.changes[change as usize];
            if of.end.is_some() {
                continue;
            }
            of.end = Some(if unwell {
                self.untouched(change)
            } else {
                End::Done
            });
            if self.is_recorded(change) {
                let event = if unwell {
                    Event::Skipped { because: None }
                } else {
                    Event::Done
                };
                self.push(state, change, event);
            }
        }
    }

    /// Waits while the queue is too long.
    pub(super) async fn room(&self) {
        loop {
            let emptied = self.emptied.notified();
            {
                let state = self.state.lock();
                if state.lost || state.entries.len() < LONGEST_QUEUE {
                    return;
                }
            }
            self.hurry.notify_one();
            emptied.await;
        }
    }

    /// Nothing more comes.
    pub(super) fn close(&self) {
        self.state.lock().closed = true;
        self.filled.notify_one();
        self.hurry.notify_one();
    }

    /// Brings entries into the record until the ledger is closed. When that fails, `stop` is cancelled.
    pub(super) async fn keep(
        &self,
        record: &dyn Record,
        stop: &CancellationToken,
    ) -> Result<(), Unrecorded> {
        let pace = record.pace();
        loop {
            let (group, closed) = {
                let mut state = self.state.lock();
                (std::mem::take(&mut state.entries), state.closed)
            };
            if group.is_empty() {
                if closed {
                    return Ok(());
                }
                self.filled.notified().await;
                continue;
            }
            self.emptied.notify_waiters();
            if let Err(error) = record.commit(group).await {
                let mut state = self.state.lock();
                state.lost = true;
                state.entries.clear();
                drop(state);
                stop.cancel();
                self.emptied.notify_waiters();
                return Err(error);
            }
            if !pace.is_zero() && !closed {
                tokio::select! {
                    () = tokio::time::sleep(pace) => {}
                    () = self.hurry.notified() => {}
                }
            }
        }
    }

    pub(super) fn into_carried(self) -> Carried {
        let state = self.state.into_inner();
        let mut carried = Carried {
            phase: Phase::Succeeded,
            total: 0,
            done: 0,
            failed: 0,
            skipped: 0,
            ends: Vec::with_capacity(state.changes.len()),
            problems: state
                .problems
                .into_iter()
                .map(|(_, problem)| problem)
                .collect(),
            warnings: Vec::new(),
            outputs: std::collections::BTreeMap::new(),
        };
        for (place, (of, change)) in (0..).zip(state.changes.iter().zip(&self.blueprint.changes)) {
            let nothing_to_do = change.action == Action::NoOp;
            let end = match of.end {
                Some(end) => end,
                None if nothing_to_do || self.already[place] => End::Done,
                None => End::Skipped,
            };
            carried.ends.push(end);
            if nothing_to_do && end != End::Failed {
                continue;
            }
            carried.total += 1;
            match end {
                End::Done => carried.done += 1,
                End::Failed => carried.failed += 1,
                End::Skipped => carried.skipped += 1,
            }
        }
        carried
    }
}

fn mark(node: NodeId) -> u32 {
    node.index() as u32 + 1
}
