//! Which part of the graph a plan covers: `-target` and `-exclude`.

use consort_plan::{NodeId, Reach};

use super::PlanOptions;
use crate::address::{ConfigResource, ModulePath, ResourceInstance, Target};
use crate::engine::blocks::Block;
use crate::engine::change::Mode;
use crate::engine::index::ModuleIx;
use crate::engine::run::Run;

/// By node: whether the plan covers it.
pub(in crate::engine) fn select(run: &Run<'_>, options: &PlanOptions) -> Vec<bool> {
    let graph = &run.blocks.graph;
    let mut selected = vec![true; graph.len()];
    if !options.targets.is_empty() {
        let mut starts: Vec<NodeId> = graph
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
        if options.mode == Mode::Destroy {
            // What depends on something goes with it.
            starts = indices(graph, &graph.reach(starts, Reach::Dependents));
        }
        selected = graph.reach(starts, Reach::Dependencies);
        keep_outputs(run, &mut selected);
    }
    if !options.excluded.is_empty() && options.mode != Mode::Destroy {
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

fn indices(graph: &consort_plan::Graph<Block<'_>>, of: &[bool]) -> Vec<NodeId> {
    graph
        .iter()
        .map(|(id, _)| id)
        .filter(|id| of[id.index()])
        .collect()
}

/// What goes, when not everything does.
pub(super) struct Doom {
    /// By node: a target points at it or at a part of it.
    pointed_at: Vec<bool>,
    /// By node: everything of it goes because it depends on something that goes.
    dependents: Vec<bool>,
    /// By node: nothing of it goes because something depends on it that stays.
    spared: Vec<bool>,
}

/// What a destroy plan covers; none if it covers everything.
pub(super) fn doom(run: &Run<'_>, options: &PlanOptions) -> Option<Doom> {
    if options.mode != Mode::Destroy || options.targets.is_empty() && options.excluded.is_empty() {
        return None;
    }
    let graph = &run.blocks.graph;
    let pointed_at = |targets: &[Target], all: bool| -> Vec<NodeId> {
        graph
            .iter()
            .filter(|(_, block)| {
                matches!(block, Block::Resource(ix, resource) if targets.iter().any(|target| {
                    let path = &run.index.entry(*ix).path;
                    if all {
                        holds_all(target, path, &resource.address)
                    } else {
                        may_hold(target, path, &resource.address)
                    }
                }))
            })
            .map(|(id, _)| id)
            .collect()
    };
    let targeted = pointed_at(&options.targets, false);
    let around: Vec<NodeId> = targeted
        .iter()
        .flat_map(|id| graph.dependents(*id).to_vec())
        .collect();
    let mut marked = vec![false; graph.len()];
    for id in &targeted {
        marked[id.index()] = true;
    }
    let below: Vec<NodeId> = pointed_at(&options.excluded, true)
        .into_iter()
        .flat_map(|id| graph.dependencies(id).iter().map(|(id, _)| *id))
        .collect();
    Some(Doom {
        pointed_at: marked,
        dependents: graph.reach(around, Reach::Dependents),
        spared: graph.reach(below, Reach::Dependencies),
    })
}

impl super::Planning<'_> {
    /// Whether an instance goes only because something it depends on goes.
    pub(super) fn goes_along(&self, node: NodeId, instance: &ResourceInstance) -> bool {
        self.doom.as_ref().is_some_and(|doom| {
            doom.dependents[node.index()]
                && !doom.pointed_at[node.index()]
                && !self
                    .options
                    .excluded
                    .iter()
                    .any(|target| target.contains(instance))
        })
    }

    /// Whether a destroy plan deletes an instance of a block.
    pub(super) fn is_doomed(&self, node: NodeId, instance: &ResourceInstance) -> bool {
        let Some(doom) = &self.doom else { return true };
        let options = self.options;
        let excluded = options
            .excluded
            .iter()
            .any(|target| target.contains(instance));
        let targeted = if options.targets.is_empty() {
            true
        } else if doom.pointed_at[node.index()] {
            options
                .targets
                .iter()
                .any(|target| target.contains(instance))
        } else {
            doom.dependents[node.index()]
        };
        !excluded && !doom.spared[node.index()] && targeted
    }

    /// Whether an instance without a block goes because something it depended on goes.
    pub(super) fn orphan_goes_along(&self, instance: &crate::state::Instance) -> bool {
        let (Some(doom), Some(object)) = (&self.doom, &instance.current) else {
            return false;
        };
        object.dependencies.iter().any(|dependency| {
            let node = self
                .run
                .index
                .find(&dependency.module)
                .and_then(|ix| self.run.blocks.resource_node(ix, &dependency.resource));
            node.is_some_and(|node| doom.dependents[node.index()])
                || self
                    .options
                    .targets
                    .iter()
                    .any(|target| may_hold(target, &dependency.module, &dependency.resource))
        })
    }
}

/// Outputs of the root module of which all resources are covered are covered too.
fn keep_outputs(run: &Run<'_>, selected: &mut [bool]) {
    let graph = &run.blocks.graph;
    let outputs: Vec<NodeId> = graph
        .iter()
        .filter(|(_, block)| matches!(block, Block::Output(ModuleIx::ROOT, _)))
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

    /// Whether an instance that no block expands to any more is to be planned. If there still is a block, and no
    /// target points at it, it is covered because something else needs all of it.
    pub(super) fn covers_orphan(&self, instance: &ResourceInstance, has_block: bool) -> bool {
        if has_block && self.mode != Mode::Destroy {
            return self.covers(instance);
        }
        !self.excluded.iter().any(|target| target.contains(instance))
            && (self.targets.is_empty()
                || self.targets.iter().any(|target| target.contains(instance)))
    }
}
