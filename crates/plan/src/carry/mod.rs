//! Carrying a blueprint out: the steps of all its parts as one walk.
//!
//! [`carry`] asks each part for its [`Carrier`], joins their graphs (`join`), and visits each step when all it depends
//! on is done (`step`). What happens to each resource goes into the ledger (`ledger`), from there to whoever listens,
//! and in groups into the [`Record`]; an operation that was cut off is carried on from its entries.

mod join;
mod ledger;
mod step;

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::address::Address;
use crate::blueprint::{Blueprint, PlannedPart};
use crate::graph::{Graph, NodeId};
use crate::operation::{Entry, Phase};
use crate::part::{Carrier, Intent, Order, Part, Problem};
use crate::planned::Planned;
use crate::record::Record;
use crate::walk::{Ended, WalkOptions, walk};
use join::Node;
use ledger::Ledger;

/// When a step is tried again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Retry {
    /// How many times after the first. Only problems that say they are transient are worth another try.
    pub retries: u32,
    /// How long to wait before the second try; twice as long before each further one ...
    pub first_wait: Duration,
    /// ... but never longer than this.
    pub longest_wait: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Retry {
            retries: 3,
            first_wait: Duration::from_secs(1),
            longest_wait: Duration::from_secs(30),
        }
    }
}

impl Retry {
    /// How long to wait after the attempt of this number, which counts from one.
    pub fn wait_after(&self, attempt: u32) -> Duration {
        let doubled = attempt.saturating_sub(1).min(30);
        self.first_wait
            .saturating_mul(1 << doubled)
            .min(self.longest_wait)
    }
}

/// How a blueprint is carried out.
#[derive(Clone, Debug)]
pub struct CarryOptions {
    /// How many steps are under way at once, over all parts. At least one.
    pub parallelism: usize,
    /// How long one step may take with all its attempts; past it the step's work is dropped and it counts as failed.
    /// None waits for ever. Steps of carriers that [keep deadlines of their own](Carrier::keeps_deadlines) are left
    /// to them.
    pub deadline: Option<Duration>,
    /// When a step is tried again.
    pub retry: Retry,
    /// When cancelled, no further step is started; those under way are waited for.
    pub cancel: CancellationToken,
}

impl Default for CarryOptions {
    fn default() -> Self {
        CarryOptions {
            parallelism: 10,
            deadline: Some(Duration::from_secs(600)),
            retry: Retry::default(),
            cancel: CancellationToken::new(),
        }
    }
}

/// Hears of everything while it happens; for eyes. It is called by the walk's own task and must not block. Changes are
/// named by their places in [`Blueprint::changes`].
pub trait Watcher: Send + Sync {
    /// Something happened. It may not be durable yet. There is no change where a step that only evaluates failed; the entry
    /// then has the name of the step.
    fn entry(&self, change: Option<u32>, entry: &Entry);
    /// Work on a resource goes on; what there is to say about it.
    fn note(&self, change: u32, text: &str);
    /// It failed, and is tried again after this time.
    fn retrying(&self, change: u32, problem: &Problem, after: Duration) {
        let _ = (change, problem, after);
    }
}

/// Nobody.
impl Watcher for () {
    fn entry(&self, _: Option<u32>, _: &Entry) {}
    fn note(&self, _: u32, _: &str) {}
}

/// What is carried out, and with what.
#[derive(Clone, Copy)]
pub struct Carry<'a> {
    /// The plan.
    pub blueprint: &'a Blueprint,
    /// The parts it was made of, in any order.
    pub parts: &'a [&'a dyn Part],
    /// What the record already holds, when an operation is resumed.
    pub entries: &'a [Entry],
    /// A directory for the parts' journals, each below its own name; the same when the operation is resumed.
    pub scratch: &'a Path,
    /// Where entries are kept.
    pub record: &'a dyn Record,
    /// Who watches.
    pub watcher: &'a dyn Watcher,
}

/// How it ended for one resource.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// It is done, or there was nothing to do.
    Done,
    /// It failed.
    Failed,
    /// It was not tried.
    Skipped,
}

/// How a blueprint was carried out.
#[derive(Clone, PartialEq, Debug)]
pub struct Carried {
    /// How it ended as a whole.
    pub phase: Phase,
    /// How many resources there were to do something to.
    pub total: u32,
    /// How many of them are done.
    pub done: u32,
    /// How many failed.
    pub failed: u32,
    /// How many were not tried.
    pub skipped: u32,
    /// How it ended for each resource, in the order of [`Blueprint::changes`].
    pub ends: Vec<End>,
    /// All that went wrong and was not made good by another attempt, in the order it happened.
    pub problems: Vec<Problem>,
    /// What is worth saying and stopped nothing.
    pub warnings: Vec<Problem>,
    /// By part, its outputs as they are now; what could not be told is left out.
    pub outputs: BTreeMap<String, BTreeMap<String, Planned>>,
}

/// A part that is ready to be carried out.
struct Ready<'a> {
    planned: &'a PlannedPart,
    intent: Intent,
    carrier: Box<dyn Carrier + 'a>,
    /// The inputs by name: the place of the part that gives it, and the name of the output there.
    inputs: HashMap<String, (usize, String)>,
    /// The places of the parts it comes after.
    after: Vec<usize>,
}

/// What keeps a step from being done.
#[derive(Clone)]
struct Blame {
    address: Address,
    problem: Problem,
}

/// A walk under way.
struct Run<'a> {
    blueprint: &'a Blueprint,
    parts: Vec<Ready<'a>>,
    graph: Graph<Node>,
    ledger: &'a Ledger<'a>,
    options: &'a CarryOptions,
    stop: &'a CancellationToken,
    /// By node: none while it is not ended or done, else what kept it from being done.
    ends: Mutex<Vec<Option<Arc<Blame>>>>,
}

/// Carries a blueprint out, or goes on where its record ends.
///
/// Nothing is decided here that the blueprint leaves open, and nothing is checked against the present: see
/// [`moved`](crate::moved) for that. Dependency is the only order. A step that fails keeps from being done only what depends
/// on it. Every part's carrier is ended, whatever happens. If a part cannot get ready, nothing is started at all.
///
/// All work is polled by the caller's task. Dropping the future is like a crash: the record then says how far it came, and
/// the operation can be resumed by calling this again with its entries.
///
/// Resources that are [left as they are](crate::Action::NoOp) are neither recorded nor counted unless something
/// goes wrong with them.
///
/// Cost beside the steps: one pass over steps and edges, and a few microseconds a step for its record.
pub async fn carry(work: Carry<'_>, options: &CarryOptions) -> Carried {
    let stop = options.cancel.child_token();
    let ledger = Ledger::new(work.blueprint, work.entries, work.watcher);
    let walked = async {
        let walked = prepare_and_walk(&work, options, &stop, &ledger).await;
        ledger.close();
        walked
    };
    let (walked, kept) = futures::join!(walked, ledger.keep(work.record, &stop));
    let mut carried = ledger.into_carried();
    carried.warnings = walked.warnings;
    carried.outputs = walked.outputs;
    carried.problems.extend(walked.problems);
    if let Err(error) = kept {
        let mut detail = String::new();
        let mut cause = std::error::Error::source(&error);
        while let Some(inner) = cause {
            detail = inner.to_string();
            cause = inner.source();
        }
        carried.problems.push(Problem {
            summary: error.to_string(),
            detail,
            hint: Some(
                "what was done since the record ends is done again when the operation is resumed"
                    .to_owned(),
            ),
            ..Problem::default()
        });
        carried.phase = Phase::Failed;
    } else if walked.cancelled {
        carried.phase = Phase::Cancelled;
    } else if !carried.problems.is_empty() || carried.failed > 0 || carried.skipped > 0 {
        carried.phase = Phase::Failed;
    }
    carried
}

#[derive(Default)]
struct Walked {
    cancelled: bool,
    problems: Vec<Problem>,
    warnings: Vec<Problem>,
    outputs: BTreeMap<String, BTreeMap<String, Planned>>,
}

async fn prepare_and_walk<'a>(
    work: &Carry<'a>,
    options: &'a CarryOptions,
    stop: &'a CancellationToken,
    ledger: &'a Ledger<'a>,
) -> Walked {
    let mut walked = Walked::default();
    let made = join_all(work.blueprint.parts.iter().map(|planned| async move {
        let Some(part) = work.parts.iter().find(|part| part.name() == planned.name) else {
            return Err(vec![Problem {
                part: planned.name.clone(),
                summary: format!(
                    "the blueprint has a part {:?} which is not in the score",
                    planned.name
                ),
                hint: Some("make the plan again".to_owned()),
                ..Problem::default()
            }]);
        };
        let (first, end) = (
            planned.first as usize,
            planned.first as usize + planned.count as usize,
        );
        let (Some(changes), Some(done)) = (
            work.blueprint.changes.get(first..end),
            ledger.already().get(first..end),
        ) else {
            return Err(vec![Problem {
                part: planned.name.clone(),
                summary: format!(
                    "the blueprint has no changes {first}..{end} for its part {:?}",
                    planned.name
                ),
                ..Problem::default()
            }]);
        };
        let order = Order {
            intent: intent_of(work.blueprint, planned),
            payload: &planned.payload,
            changes,
            inputs: &planned.inputs,
            done,
            scratch: work.scratch.join(&planned.name),
            cancel: stop,
        };
        let carrier = part.carrier(order).await?;
        Ok((*part, planned, carrier))
    }))
    .await;
    let mut ready = Vec::with_capacity(made.len());
    for made in made {
        match made {
            Ok(made) => ready.push(made),
            Err(problems) => walked.problems.extend(problems),
        }
    }
    let complete = walked.problems.is_empty();
    let place = |name: &str| {
        work.blueprint
            .parts
            .iter()
            .position(|part| part.name == name)
    };
    let parts: Vec<_> = ready
        .into_iter()
        .map(|(part, planned, carrier)| Ready {
            intent: intent_of(work.blueprint, planned),
            planned,
            carrier,
            inputs: part
                .inputs()
                .into_iter()
                .filter_map(|input| Some((input.name, (place(&input.part)?, input.output))))
                .collect(),
            after: planned
                .after
                .iter()
                .filter_map(|name| place(name))
                .collect(),
        })
        .collect();
    if !complete {
        return finish(parts, walked).await;
    }
    let graph = join::join(work.blueprint, &parts);
    ledger.expect(&graph, &parts);
    if let Err(cycles) = graph.check() {
        for cycle in &cycles.0 {
            let path: Vec<_> = graph
                .cycle(cycle)
                .into_iter()
                .map(|id| join::name(&graph[id], work.blueprint, &parts))
                .collect();
            walked.problems.push(Problem {
                summary: format!("steps wait for each other: {}", crate::graph::round(&path)),
                ..Problem::default()
            });
        }
        return finish(parts, walked).await;
    }
    let run = Run {
        blueprint: work.blueprint,
        ends: Mutex::new(vec![None; graph.len()]),
        parts,
        graph,
        ledger,
        options,
        stop,
    };
    let walk_options = WalkOptions {
        parallelism: options.parallelism,
        step_deadline: None,
        cancel: stop.clone(),
    };
    let report = walk(&run.graph, &walk_options, |id| step::visit(&run, id)).await;
    let left_out: Vec<NodeId> = run
        .graph
        .iter()
        .filter(|(id, _)| matches!(report.ended[id.index()], Ended::Cancelled))
        .map(|(id, _)| id)
        .collect();
    walked.cancelled = !left_out.is_empty();
    for id in left_out {
        step::left_out(&run, id);
    }
    for part in &run.parts {
        let outputs = part
            .planned
            .outputs
            .keys()
            .filter_map(|name| Some((name.clone(), part.carrier.output(name).ok()?)))
            .collect();
        walked.outputs.insert(part.planned.name.clone(), outputs);
    }
    let cancelled = walked.cancelled;
    let walked = finish(run.parts, walked).await;
    ledger.rest(cancelled || !walked.problems.is_empty());
    walked
}

fn intent_of(blueprint: &Blueprint, planned: &PlannedPart) -> Intent {
    match blueprint.mode.intent() {
        Intent::Destroy => Intent::Destroy,
        Intent::Apply => planned.intent,
    }
}

async fn finish(parts: Vec<Ready<'_>>, mut walked: Walked) -> Walked {
    let finished = join_all(parts.into_iter().map(|part| part.carrier.finish())).await;
    for finished in finished {
        match finished {
            Ok(warnings) => walked.warnings.extend(warnings),
            Err(problems) => walked.problems.extend(problems),
        }
    }
    walked
}
