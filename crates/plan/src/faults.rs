//! Parts that fail, are repeated or cut off where a test says so.
//!
//! A walk is only worth something if any step of it may fail, be done twice, or be the last before a crash. [`Faults`]
//! stands around the parts of a test, counts the steps that work on resources, and makes the one chosen go wrong; so the
//! same test runs over every step of a real score:
//!
//! ```text
//! for step in 0..steps {
//!     let faults = Faults::new(step, Fault::Fail);
//!     let parts: Vec<_> = parts.into_iter().map(|part| faults.around(part)).collect();
//!     ... carry the parts out, and look at what is left
//! }
//! ```

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio_util::sync::CancellationToken;

use crate::address::Address;
use crate::change::Change;
use crate::graph::{Graph, NodeId};
use crate::part::{
    Call, Carrier, Input, Moved, Order, Part, PartPlan, Problem, Progress, Request, Seen, Step,
};
use crate::planned::Planned;

/// What goes wrong with a step.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// It fails before it does anything.
    Fail,
    /// It is done, and then fails in a way that is worth another try: it is done again.
    Repeat,
    /// Everything stops before it does anything.
    CutBefore,
    /// Everything stops when it is done and nobody has heard of it.
    CutAfter,
    /// Everything stops when it has said that it is done.
    CutTold,
}

impl Fault {
    /// All of them.
    pub const ALL: [Fault; 5] = [
        Fault::Fail,
        Fault::Repeat,
        Fault::CutBefore,
        Fault::CutAfter,
        Fault::CutTold,
    ];

    /// Whether everything stops.
    pub fn is_cut(self) -> bool {
        matches!(self, Fault::CutBefore | Fault::CutAfter | Fault::CutTold)
    }
}

/// One thing that goes wrong in a walk.
#[derive(Debug)]
pub struct Faults {
    at: usize,
    fault: Fault,
    seen: AtomicUsize,
    cut: CancellationToken,
}

impl Faults {
    /// The step of this number goes wrong. Only steps that work on resources are counted, from zero, in the order they begin.
    pub fn new(at: usize, fault: Fault) -> Arc<Self> {
        Arc::new(Faults {
            at,
            fault,
            seen: AtomicUsize::new(0),
            cut: CancellationToken::new(),
        })
    }

    /// Nothing goes wrong; the steps are counted.
    pub fn none() -> Arc<Self> {
        Self::new(usize::MAX, Fault::Fail)
    }

    /// How many steps have begun.
    pub fn steps(&self) -> usize {
        self.seen.load(Ordering::SeqCst)
    }

    /// Is cancelled when everything is to stop: drop the walk then.
    pub fn cut(&self) -> &CancellationToken {
        &self.cut
    }

    /// A part whose steps go wrong: one that is borrowed, or in a box.
    pub fn around<P: Deref<Target: Part> + Send + Sync>(
        self: &Arc<Self>,
        part: P,
    ) -> FaultyPart<P> {
        let faults = self.clone();
        FaultyPart { part, faults }
    }
}

/// A part of which a step goes wrong.
pub struct FaultyPart<P> {
    part: P,
    faults: Arc<Faults>,
}

impl<P: Deref<Target: Part> + Send + Sync> Part for FaultyPart<P> {
    fn name(&self) -> &str {
        self.part.name()
    }

    fn layer(&self) -> &'static str {
        self.part.layer()
    }

    fn inputs(&self) -> Vec<Input> {
        self.part.inputs()
    }

    fn plan<'a>(&'a self, request: Request<'a>) -> Call<'a, Result<PartPlan, Vec<Problem>>> {
        self.part.plan(request)
    }

    fn moved<'a>(&'a self, seen: &'a [Seen]) -> Call<'a, Result<Vec<Moved>, Vec<Problem>>> {
        self.part.moved(seen)
    }

    fn carrier<'a>(
        &'a self,
        order: Order<'a>,
    ) -> Call<'a, Result<Box<dyn Carrier + 'a>, Vec<Problem>>> {
        Box::pin(async move {
            let changes = order.changes;
            let carrier = self.part.carrier(order).await?;
            Ok(Box::new(FaultyCarrier {
                part: self.part.name(),
                changes,
                carrier,
                faults: &self.faults,
            }) as Box<dyn Carrier + 'a>)
        })
    }
}

struct FaultyCarrier<'a> {
    part: &'a str,
    changes: &'a [Change],
    carrier: Box<dyn Carrier + 'a>,
    faults: &'a Faults,
}

impl FaultyCarrier<'_> {
    fn problem(&self, id: NodeId, transient: bool) -> Problem {
        let step = &self.carrier.steps()[id];
        let change = step.changes.first();
        let change = change.and_then(|change| self.changes.get(*change as usize));
        Problem {
            part: self.part.to_owned(),
            address: change.map(|change| change.address.clone()),
            summary: format!("{} went wrong because a test wanted it", step.label),
            transient,
            ..Problem::default()
        }
    }
}

impl Carrier for FaultyCarrier<'_> {
    fn steps(&self) -> &Graph<Step> {
        self.carrier.steps()
    }

    fn step<'a>(
        &'a self,
        id: NodeId,
        progress: &'a dyn Progress,
    ) -> Call<'a, Result<(), Vec<Problem>>> {
        if self.carrier.steps()[id].changes.is_empty() {
            return self.carrier.step(id, progress);
        }
        if self.faults.seen.fetch_add(1, Ordering::SeqCst) != self.faults.at {
            return self.carrier.step(id, progress);
        }
        Box::pin(async move {
            let muted = Muted(progress);
            match self.faults.fault {
                Fault::Fail => {
                    let problem = self.problem(id, false);
                    if self.carrier.accounts_for_failures() {
                        self.carrier.skip(id, &problem);
                    }
                    return Err(vec![problem]);
                }
                Fault::Repeat => {
                    self.carrier.step(id, &muted).await?;
                    return Err(vec![self.problem(id, true)]);
                }
                Fault::CutBefore => {}
                Fault::CutAfter => self.carrier.step(id, &muted).await?,
                Fault::CutTold => self.carrier.step(id, progress).await?,
            }
            self.faults.cut.cancel();
            std::future::pending().await
        })
    }

    fn skip(&self, id: NodeId, because: &Problem) {
        self.carrier.skip(id, because);
    }

    fn accounts_for_failures(&self) -> bool {
        self.carrier.accounts_for_failures()
    }

    fn keeps_deadlines(&self) -> bool {
        self.carrier.keeps_deadlines()
    }

    fn output(&self, name: &str) -> Result<Planned, Box<Problem>> {
        self.carrier.output(name)
    }

    fn finish<'a>(self: Box<Self>) -> Call<'a, Result<Vec<Problem>, Vec<Problem>>>
    where
        Self: 'a,
    {
        self.carrier.finish()
    }
}

/// Passes on what is asked, and nothing that is told but failures.
struct Muted<'a>(&'a dyn Progress);

impl Progress for Muted<'_> {
    fn began(&self, _: u32) {}
    fn note(&self, _: u32, _: &str) {}
    fn done(&self, _: u32) {}
    fn failed(&self, change: u32, problem: Problem) {
        self.0.failed(change, problem);
    }
    fn skipped(&self, change: u32, because: Option<&Address>) {
        self.0.skipped(change, because);
    }
    fn input(&self, name: &str) -> Result<Planned, Box<Problem>> {
        self.0.input(name)
    }
}
