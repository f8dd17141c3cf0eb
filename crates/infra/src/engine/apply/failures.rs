//! What failed while applying, and what must not be done because of that.
//!
//! A block that refers to one instance by a constant key, `a.b[0]`, goes on when another instance failed; one
//! that refers to the whole block does not. That is how Terraform's graph of instances decides it.

use std::collections::{HashMap, HashSet};

use consort_plan::NodeId;

use super::Applying;
use super::order::Step;
use crate::address::{ModuleInstance, ResourceInstance};
use crate::engine::run::related;

/// What a step did not do.
pub(super) enum Lost {
    /// Nothing of it can be relied on.
    All,
    /// These instances failed.
    Instances(HashSet<ResourceInstance>),
}

/// What failed, by step.
#[derive(Default)]
pub(super) struct Failures {
    lost: HashMap<NodeId, Lost>,
    /// The steps under way. What is still here when its dependents come was dropped midway.
    open: HashSet<NodeId>,
}

impl Failures {
    /// Begins a step, maybe once more: what failed of it before is tried again.
    pub(super) fn begin(&mut self, id: NodeId) {
        self.lost.remove(&id);
        self.open.insert(id);
    }

    /// Ends a step, however it went.
    pub(super) fn end(&mut self, id: NodeId) {
        self.open.remove(&id);
    }

    /// Notes that nothing came of a step.
    pub(super) fn all(&mut self, id: NodeId) {
        self.lost.insert(id, Lost::All);
    }

    /// Notes that one instance of a step failed.
    pub(super) fn instance(&mut self, id: NodeId, address: ResourceInstance) {
        match self
            .lost
            .entry(id)
            .or_insert_with(|| Lost::Instances(HashSet::new()))
        {
            Lost::All => {}
            Lost::Instances(instances) => {
                instances.insert(address);
            }
        }
    }

    /// Whether an instance, or all of a step, failed.
    pub(super) fn has(&self, id: NodeId, address: &ResourceInstance) -> bool {
        match self.of(id) {
            None => false,
            Some(Lost::All) => true,
            Some(Lost::Instances(instances)) => instances.contains(address),
        }
    }

    pub(super) fn of(&self, id: NodeId) -> Option<&Lost> {
        if self.open.contains(&id) {
            return Some(&Lost::All);
        }
        self.lost.get(&id)
    }
}

impl Applying<'_> {
    /// Whether a step must not be taken because something it waits for failed. Where that is so only in some
    /// instances of the step's module, it is kept out of those.
    pub(super) fn is_stopped(&self, id: NodeId, step: Step<'_>) -> bool {
        let failures = self.failures.lock();
        let mut places: Vec<ModuleInstance> = Vec::new();
        for (dependency, _) in self.graph.dependencies(id) {
            match failures.of(*dependency) {
                None => {}
                // The instances that are replaced look at their own object.
                Some(_) if self.is_own(id, *dependency) => {}
                Some(Lost::All) => return true,
                Some(Lost::Instances(lost)) => {
                    let keys = self.run.blocks.keys_of_edge(id, *dependency);
                    places.extend(
                        lost.iter()
                            .filter(|instance| {
                                keys.as_ref()
                                    .is_none_or(|keys| keys.contains(&instance.key))
                            })
                            .map(|instance| instance.module.clone()),
                    );
                }
            }
        }
        drop(failures);
        if places.is_empty() {
            return false;
        }
        let ix = match step {
            Step::Block(block) => block.module(),
            Step::Destroy(_) => None,
        };
        let all = ix.is_none_or(|ix| {
            let tables = self.run.world.instances(ix);
            !tables.is_empty()
                && tables
                    .iter()
                    .all(|table| places.iter().any(|place| related(place, &table.address)))
        });
        if !all {
            self.run.stop_in(id, places);
        }
        all
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
