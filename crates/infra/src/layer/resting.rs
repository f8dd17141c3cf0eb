//! Carrying out a plan that changes nothing: no provider is started, no lock taken, no state written.

use std::collections::BTreeMap;

use consort_plan::{Call, Carrier, Graph, NodeId, Planned, Problem, Progress, Step};

use super::problems::Teller;
use super::values;
use crate::engine::Plan;

/// What a part gives that stays as it is.
pub(super) struct Resting {
    graph: Graph<Step>,
    outputs: BTreeMap<String, Planned>,
    teller: Teller,
}

impl Resting {
    /// Of a plan without changes; none where there is something to do or to find out.
    pub(super) fn of(plan: &Plan, teller: &Teller) -> Option<Resting> {
        let known = plan
            .outputs
            .values()
            .all(|change| change.after.is_wholly_known());
        if plan.has_changes() || !known {
            return None;
        }
        let outputs = plan
            .outputs
            .iter()
            .map(|(name, change)| {
                let value = values::planned(&change.after, &|_| None);
                let value = if change.sensitive {
                    value.into_sensitive()
                } else {
                    value
                };
                (name.to_string(), value)
            })
            .collect();
        Some(Resting {
            graph: Graph::new(),
            outputs,
            teller: teller.clone(),
        })
    }
}

impl Carrier for Resting {
    fn steps(&self) -> &Graph<Step> {
        &self.graph
    }

    fn step<'a>(&'a self, _: NodeId, _: &'a dyn Progress) -> Call<'a, Result<(), Vec<Problem>>> {
        // There is none.
        Box::pin(std::future::ready(Ok(())))
    }

    fn skip(&self, _: NodeId, _: &Problem) {}

    fn output(&self, name: &str) -> Result<Planned, Box<Problem>> {
        self.outputs.get(name).cloned().ok_or_else(|| {
            Box::new(self.teller.of(
                self.teller.otherwise.clone(),
                format!("there is no output {name}"),
                "",
            ))
        })
    }

    fn finish<'a>(self: Box<Self>) -> Call<'a, Result<Vec<Problem>, Vec<Problem>>>
    where
        Self: 'a,
    {
        Box::pin(std::future::ready(Ok(Vec::new())))
    }
}
