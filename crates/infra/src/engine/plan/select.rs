//! Which part of the graph a plan covers: `-target` and `-exclude`.

use consort_plan::{NodeId, Reach};

use super::PlanOptions;
use crate::address::{ConfigResource, ModulePath, ResourceInstance, Target};
use crate::engine::blocks::Block;
use crate::engine::run::Run;

/// By node: whether the plan covers it.
pub(in crate::engine) fn select(run: &Run<'_>, options: &PlanOptions) -> Vec<bool> {
    let graph = &run.blocks.graph;
    let mut selected = vec![true; graph.len()];
    if !options.targets.is_empty() {
        let starts: Vec<NodeId> = graph
            .iter()
            .filter(|(_, block)| match block {
                Block::Resource(ix, resource) => {
                    let path = &run.index.entry(*ix).path;
                    options
                        .targets
                        .iter()
                        .any(|target| may_hold(target, path, &resource.address))
                }
                Block::Orphans(_) => true,
                _ => false,
            })
            .map(|(id, _)| id)
            .collect();
        selected = graph.reach(starts, Reach::Dependencies);
        keep_outputs(run, &mut selected);
    }
    if !options.excluded.is_empty() {
        let starts: Vec<NodeId> = graph
            .iter()
            .filter(|(_, block)| {
                matches!(block, Block::Resource(ix, resource)
                    if options.excluded.iter().any(|target| holds_all(target, &run.index.entry(*ix).path, &resource.address)))
            })
            .map(|(id, _)| id)
            .collect();
        let dropped = graph.reach(starts, Reach::Dependents);
        for (id, block) in graph.iter() {
            if dropped[id.index()] && !matches!(block, Block::End(_)) {
                selected[id.index()] = false;
            }
        }
    }
    selected
}

/// Outputs of which all resources are covered are covered too.
fn keep_outputs(run: &Run<'_>, selected: &mut [bool]) {
    let graph = &run.blocks.graph;
    let outputs: Vec<NodeId> = graph
        .iter()
        .filter(|(_, block)| matches!(block, Block::Output(..)))
        .map(|(id, _)| id)
        .collect();
    for output in outputs {
        let needed = graph.reach([output], Reach::Dependencies);
        let mut resources = graph
            .iter()
            .filter(|(id, block)| needed[id.index()] && matches!(block, Block::Resource(..)))
            .peekable();
        if resources.peek().is_some() && resources.all(|(id, _)| selected[id.index()]) {
            for (index, needed) in needed.into_iter().enumerate() {
                selected[index] |= needed;
            }
        }
    }
}

fn path_of(target: &Target) -> ModulePath {
    target.module().path()
}

/// Whether a target points at a block or at something it may expand to.
fn may_hold(target: &Target, path: &ModulePath, resource: &crate::address::Resource) -> bool {
    match target {
        Target::Module(_) => path_of(target).contains(path),
        Target::Resource(wanted) => {
            wanted.config()
                == ConfigResource {
                    module: path.clone(),
                    resource: resource.clone(),
                }
        }
        Target::Instance(wanted) => {
            wanted.config()
                == ConfigResource {
                    module: path.clone(),
                    resource: resource.clone(),
                }
        }
    }
}

/// Whether a target points at all that a block may expand to.
fn holds_all(target: &Target, path: &ModulePath, resource: &crate::address::Resource) -> bool {
    let keyless = target
        .module()
        .steps()
        .iter()
        .all(|step| step.key.is_none());
    keyless && !matches!(target, Target::Instance(_)) && may_hold(target, path, resource)
}

impl PlanOptions {
    /// Whether an instance of a block is to be planned. `block_is_target` says that a target points at its
    /// block; otherwise it is covered because something else needs it.
    pub(super) fn covers(&self, instance: &ResourceInstance) -> bool {
        if self.excluded.iter().any(|target| target.contains(instance)) {
            return false;
        }
        if self.targets.is_empty() {
            return true;
        }
        let config = instance.config();
        let mut pointed_at = false;
        for target in &self.targets {
            if target.contains(instance) {
                return true;
            }
            pointed_at |= may_hold(target, &config.module, &config.resource);
        }
        // A block no target points at is there because something else needs all of it.
        !pointed_at
    }

    /// Whether an instance without a block is to be planned.
    pub(super) fn covers_orphan(&self, instance: &ResourceInstance) -> bool {
        !self.excluded.iter().any(|target| target.contains(instance))
            && (self.targets.is_empty()
                || self.targets.iter().any(|target| target.contains(instance)))
    }
}
