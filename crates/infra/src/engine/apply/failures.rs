//! What failed while applying, and what must not be done because of that.
//!
//! A block that refers to one instance by a constant key, `a.b[0]`, goes on when another instance failed; one
//! that refers to the whole block does not. That is how Terraform's graph of instances decides it.

use std::collections::{HashMap, HashSet};

use consort_plan::NodeId;

use super::Applying;
use super::order::Step;
use crate::address::ResourceInstance;

/// What a step did not do.
pub(super) enum Lost {
    /// Nothing of it can be relied on.
    All,
    /// These instances failed.
    Instances(HashSet<ResourceInstance>),
}

/// What failed, by step.
#[derive(Default)]
pub(super) struct Failures(HashMap<NodeId, Lost>);

impl Failures {
    /// Notes that nothing came of a step.
    pub(super) fn all(&mut self, id: NodeId) {
        self.0.insert(id, Lost::All);
    }

    /// Notes that one instance of a step failed.
    pub(super) fn instance(&mut self, id: NodeId, address: ResourceInstance) {
        match self
            .0
            .entry(id)
            .or_insert_with(|| Lost::Instances(HashSet::new()))
        {
            Lost::All => {}
            Lost::Instances(instances) => {
                instances.insert(address);
            }
        }
    }

    /// Whether nothing failed so far.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn of(&self, id: NodeId) -> Option<&Lost> {
        self.0.get(&id)
    }
}

impl Applying<'_> {
    /// Whether a step must not be taken because something it waits for failed.
    pub(super) fn is_stopped(&self, id: NodeId) -> bool {
        let failures = self.failures.lock();
        if failures.is_empty() {
            return false;
        }
        self.graph
            .dependencies(id)
            .iter()
            .any(|(dependency, _)| match failures.of(*dependency) {
                None => false,
                // The instances that are replaced look at their own object.
                Some(_) if self.is_own(id, *dependency) => false,
                Some(Lost::All) => true,
                Some(Lost::Instances(lost)) => {
                    match self.run.blocks.keys_of_edge(id, *dependency) {
                        None => true,
                        Some(keys) => lost.iter().any(|instance| keys.contains(&instance.key)),
                    }
                }
            })
    }

    /// Whether two steps are the deletion and the creation of what one block expands to.
    fn is_own(&self, one: NodeId, other: NodeId) -> bool {
        let (group, node) = match (self.graph[one], self.graph[other]) {
            (Step::Destroy(group), Step::Block(_)) => (group, other),
            (Step::Block(_), Step::Destroy(group)) => (group, one),
            _ => return false,
        };
        self.groups[group].own == Some(node)
    }
}
