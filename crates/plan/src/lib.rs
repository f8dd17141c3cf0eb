//! The dependency graph of every layer, and the walk that carries a plan out.
//!
//! A [`Graph`] holds nodes of any kind and typed edges from a node to what it depends on. It is checked
//! once: [`Graph::check`] gives every cycle by the nodes it runs through. [`walk()`] then visits each node
//! when all it depends on are done, in parallel up to a limit, with dependency the only order: a node that
//! fails stops its dependents and nothing else.
//!
//! ```
//! use consort_plan::{Edge, Graph, Outcome, WalkOptions, walk};
//! use std::sync::Mutex;
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! let mut graph = Graph::new();
//! let network = graph.add("network");
//! let machine = graph.add("machine");
//! graph.connect(machine, network, Edge::Value);
//! graph.check().unwrap();
//!
//! let seen = Mutex::new(Vec::new());
//! let report = walk(&graph, &WalkOptions::default(), |id| {
//!     seen.lock().unwrap().push(graph[id]);
//!     async { Outcome::<String>::Done }
//! })
//! .await;
//! assert!(report.is_complete());
//! assert_eq!(*seen.lock().unwrap(), ["network", "machine"]);
//! # }
//! ```

mod address;
mod blueprint;
pub mod carry;
mod change;
pub mod faults;
mod graph;
mod operation;
mod part;
mod planned;
pub mod record;
mod stale;
mod walk;

pub use address::{Address, NoAddress};
pub use blueprint::{
    BlastRadius, Blueprint, BlueprintEdge, Commit, Joint, Mode, NoBlueprint, Parent, PlannedPart,
    Points, RulePoints, Source, Verdict, VerdictKind,
};
pub use change::{Action, Change, Drift, Lines, Location, Owner, Reversal};
pub use graph::{Cycles, Edge, Graph, NodeId, Reach};
pub use operation::{Entry, Event, Operation, Phase};
pub use part::{
    Call, Carrier, Feed, From, Input, Intent, Moved, Order, Output, Part, PartEdge, PartPlan,
    Problem, Progress, Request, Seen, Step,
};
pub use planned::{Planned, Pointer, Unknown, below};
pub use record::{FileRecord, Record, Unrecorded};
pub use stale::{Stale, moved};
pub use walk::{Ended, Outcome, Report, WalkOptions, walk};
