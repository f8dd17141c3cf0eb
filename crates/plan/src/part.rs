//! What a layer is to the plan of a whole system: parts that are planned one by one, and carried out together.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::address::Address;
use crate::blueprint::Joint;
use crate::change::{Change, Location};
use crate::graph::{Edge, Graph, NodeId};
use crate::planned::Planned;

/// Work that is under way, in a box.
pub type Call<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Something that is wrong with a part, or went wrong in it.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Problem {
    /// The part.
    pub part: String,
    /// The resource it concerns, if it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<Address>,
    /// Where in the sources.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<Location>,
    /// What is wrong, in a sentence without a full stop.
    pub summary: String,
    /// More about it: what was expected, what the server or provider said. May have several lines, may be empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// What can be done about it, where that is honest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Whether the same step may go well when it is done again (a connection lost, a conflict, a throttle).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub transient: bool,
}

/// What is asked of a part's plan.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Intent {
    /// That all be as the source says.
    #[default]
    Apply,
    /// That all of it be gone.
    Destroy,
}

/// What a part is planned with.
pub struct Request<'a> {
    /// That all be there, or gone.
    pub intent: Intent,
    /// The inputs by the name the part knows them under (see [`Part::inputs`]); what another part tells only while
    /// being carried out is unknown.
    pub inputs: &'a BTreeMap<String, Planned>,
    /// Whether anybody will read [`PartPlan::document`]: a large one costs more than the plan itself.
    pub documented: bool,
    /// Whether only what has drifted is to be put back: what nobody can tell before it is done (a command of a playbook) counts
    /// as being as it was left.
    pub healing: bool,
    /// Ends the work early.
    pub cancel: &'a CancellationToken,
}

/// An edge between two changes of a part, by their places in [`PartPlan::changes`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PartEdge {
    /// What waits.
    pub dependent: u32,
    /// What it waits for.
    pub dependency: u32,
    /// Why.
    pub edge: Edge,
}

/// A value a part gives to others.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Output {
    /// The value, as far as it is known.
    pub value: Planned,
    /// The changes it is made of, by their places in [`PartPlan::changes`].
    pub from: Vec<u32>,
}

/// What was seen of the world when a part was planned: if it is another when the plan is carried out, the plan
/// no longer fits.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Seen {
    /// What: an address, or `state of infra`.
    pub what: String,
    /// How it was: a digest, a serial. Empty if it was not there.
    pub version: String,
}

/// Something seen that is another now.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Moved {
    /// What.
    pub what: String,
    /// How, for people: `deleted`, `spec.replicas 2 -> 5`, `serial 7 -> 9`.
    pub how: String,
    /// By whom, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

/// The plan of one part.
#[derive(Debug, Default)]
pub struct PartPlan {
    /// All resources of the part, also those that stay as they are, and those that go.
    pub changes: Vec<Change>,
    /// The edges between them, but for those told by `joints`.
    pub edges: Vec<PartEdge>,
    /// Edges between many and many, by places in `changes`.
    pub joints: Vec<Joint>,
    /// Which changes use which input: the edges to other parts.
    pub takes: Vec<(u32, String)>,
    /// What the part gives.
    pub outputs: BTreeMap<String, Output>,
    /// What was seen of the world.
    pub seen: Vec<Seen>,
    /// What the part needs to carry the plan out, in a form of its own. May hold secrets.
    pub payload: Vec<u8>,
    /// The plan in the layer's own form for policies, if it was asked for: for Terraform its plan as JSON.
    pub document: Option<serde_json::Value>,
    /// What is worth saying and stops nothing.
    pub warnings: Vec<Problem>,
}

/// One part of a score, read, and ready to be planned and carried out.
pub trait Part: Send + Sync {
    /// Its name in the score.
    fn name(&self) -> &str;

    /// Its language: `terraform`, `manifests`.
    fn layer(&self) -> &'static str;

    /// The names under which it takes values of other parts, each with the part and the output.
    fn inputs(&self) -> Vec<Input>;

    /// Plans it; changes nothing.
    fn plan<'a>(&'a self, request: Request<'a>) -> Call<'a, Result<PartPlan, Vec<Problem>>>;

    /// What has moved since a plan was made. Called once before it is carried out.
    fn moved<'a>(&'a self, seen: &'a [Seen]) -> Call<'a, Result<Vec<Moved>, Vec<Problem>>>;

    /// Gets ready to carry a plan out.
    fn carrier<'a>(
        &'a self,
        order: Order<'a>,
    ) -> Call<'a, Result<Box<dyn Carrier + 'a>, Vec<Problem>>>;
}

/// A value of another part that a part uses.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Input {
    /// The name the part knows it under.
    pub name: String,
    /// The part that gives it.
    pub part: String,
    /// The output of that part.
    pub output: String,
    /// Where in the score this is said.
    pub location: Location,
}

/// A value in the description of a part: written there, or given by another part (`{from: infra.address}`).
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Feed {
    /// What another part gives.
    From(From),
    /// A value.
    Literal(serde_json::Value),
}

/// An output of another part.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct From {
    /// `PART.OUTPUT`.
    pub from: String,
}

/// What is to be carried out.
pub struct Order<'a> {
    /// That all be there, or gone.
    pub intent: Intent,
    /// What [`PartPlan::payload`] was.
    pub payload: &'a [u8],
    /// The changes of the part in the order of [`PartPlan::changes`].
    pub changes: &'a [Change],
    /// The inputs as they were planned.
    pub inputs: &'a BTreeMap<String, Planned>,
    /// The resources that an operation being resumed had done already, by their places in `changes`.
    pub done: &'a [bool],
    /// A directory for files that must outlive a crash (journals); the same when the operation is resumed.
    pub scratch: PathBuf,
    /// Ends the walk early: what is under way is finished.
    pub cancel: &'a CancellationToken,
}

/// A step of a part's own graph.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Step {
    /// What it is, for people: an address or a name of the layer's own (`local.name`).
    pub label: String,
    /// The changes it carries out, by their places in [`Order::changes`]; none for steps that only evaluate.
    pub changes: Vec<u32>,
    /// The inputs it needs: it waits for the steps of the other part that give them.
    pub takes: Vec<String>,
    /// The outputs that can be asked for when it is done.
    pub gives: Vec<String>,
}

/// Is told by a carrier what happens to the resources of a step. Resources are named by their places in
/// [`Order::changes`].
pub trait Progress: Send + Sync {
    /// Work on a resource begins.
    fn began(&self, change: u32);
    /// It goes on; what to say about it (`2/3 available`).
    fn note(&self, change: u32, text: &str);
    /// It is done.
    fn done(&self, change: u32);
    /// It failed.
    fn failed(&self, change: u32, problem: Problem);
    /// It is not tried, because of what happened to another resource of the same part; told by carriers that
    /// [keep account of failures](Carrier::accounts_for_failures).
    fn skipped(&self, change: u32, because: Option<&Address>) {
        let _ = (change, because);
    }
    /// The present value of an input; an error names what kept it from being told.
    fn input(&self, name: &str) -> Result<Planned, Box<Problem>>;
}

/// Carries the plan of one part out, step by step, as the walk says.
///
/// Each step may be repeated: after a crash (then [`Order::done`] tells what was recorded) and by the retry policy.
pub trait Carrier: Send + Sync {
    /// The steps, with the edges between them.
    fn steps(&self) -> &Graph<Step>;

    /// Does one; all it depends on is done. An error is about the step as a whole; what concerns single resources is
    /// told through `progress` and counts as well. Resources of the step of which nothing was told are done when the
    /// step ends well, and failed when it does not. A resource that several steps work on is done when all of them are.
    fn step<'a>(
        &'a self,
        id: NodeId,
        progress: &'a dyn Progress,
    ) -> Call<'a, Result<(), Vec<Problem>>>;

    /// Is told that a step is not done because of something in another part. A carrier that
    /// [keeps account of failures](Carrier::accounts_for_failures) passes it on to its own dependents.
    fn skip(&self, id: NodeId, because: &Problem);

    /// Whether the carrier itself keeps what depends on a failed step of its own from being done. Then its steps are
    /// called also after such failures.
    fn accounts_for_failures(&self) -> bool {
        false
    }

    /// Whether its steps end by deadlines of their own, and must not be dropped halfway. Then the walk's deadline for a
    /// step is not for them.
    fn keeps_deadlines(&self) -> bool {
        false
    }

    /// An output, once the step that gives it is done.
    fn output(&self, name: &str) -> Result<Planned, Box<Problem>>;

    /// Ends the work: saves what there is to save. Called once, also after failures and cancellation.
    fn finish<'a>(self: Box<Self>) -> Call<'a, Result<Vec<Problem>, Vec<Problem>>>
    where
        Self: 'a;
}
