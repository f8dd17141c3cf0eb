//! In which order creations and deletions go.
//!
//! A deletion waits for the deletions of what depends on it; a creation waits for the deletion of the object
//! it replaces, and of those it depended on. Where the new object is made first, these turn around. The
//! rules are those of OpenTofu's destroy edges.

mod recorded;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use consort_hcl::diagnostic::{Diagnostic, Diagnostics};
use consort_plan::{Edge, Graph, NodeId};

use crate::address::{ConfigResource, Mode, ModuleInstance, ProviderConfig, Resource};
use crate::engine::blocks::Block;
use crate::engine::change::{Action, Change, Plan};
use crate::engine::run::Run;
use crate::state::pointers::place;
use recorded::Recorded;

/// What a node of an apply's graph does.
#[derive(Clone, Copy)]
pub(super) enum Step<'a> {
    /// Visits a block: evaluates it, and makes and changes what it expands to.
    Block(Block<'a>),
    /// Deletes the objects of a group.
    Destroy(usize),
}

/// Objects of one block that are deleted at the same time.
pub(in crate::engine) struct Group<'a> {
    pub(in crate::engine) changes: Vec<&'a Change>,
    block: ConfigResource,
    provider: ProviderConfig,
    /// The node of the block itself, if there is one.
    pub(in crate::engine) own: Option<NodeId>,
    /// Deleted after their replacements and what depends on those.
    after: bool,
}

impl Group<'_> {
    fn is_replaced(&self) -> bool {
        self.changes.iter().any(|change| change.action.is_replace())
    }
}

pub(super) struct Order<'a> {
    pub(super) graph: Graph<Step<'a>>,
    pub(super) groups: Vec<Group<'a>>,
}

pub(super) fn creates(action: Action) -> bool {
    matches!(
        action,
        Action::Create | Action::Update | Action::DeleteThenCreate | Action::CreateThenDelete
    )
}

pub(super) fn order<'a>(run: &Run<'a>, plan: &'a Plan) -> Result<Order<'a>, Diagnostics> {
    let mut groups: Vec<Group<'a>> = Vec::new();
    let mut by_key: HashMap<(ConfigResource, bool), usize> = HashMap::new();
    let mut creators: BTreeSet<ConfigResource> = BTreeSet::new();
    for change in &plan.changes {
        if change.address.resource.mode != Mode::Managed {
            continue;
        }
        let block = change.address.config();
        if creates(change.action) {
            creators.insert(block.clone());
        }
        let after = match change.action {
            Action::CreateThenDelete => true,
            Action::DeleteThenCreate => false,
            Action::Delete => {
                // What is deposed has its replacement already, or what took its place has.
                change.deposed.is_some()
                    || plan.create_before_destroy.contains(&block)
                    || stored(plan, change).is_some_and(|found| found.create_before_destroy)
            }
            _ => continue,
        };
        let group = *by_key.entry((block.clone(), after)).or_insert_with(|| {
            groups.push(Group {
                changes: Vec::new(),
                own: run
                    .index
                    .find(&block.module)
                    .and_then(|ix| run.blocks.resource_node(ix, &block.resource)),
                block,
                provider: change.provider.clone(),
                after,
            });
            groups.len() - 1
        });
        groups[group].changes.push(change);
    }
    // First with every edge; if that makes a cycle, without those between providers, which can.
    for across in [true, false] {
        let graph = build(run, plan, &groups, &creators, across);
        match graph.check() {
            Ok(_) => return Ok(Order { graph, groups }),
            Err(cycles) if !across => {
                let mut diagnostics = Diagnostics::new();
                for names in cycles.describe(|id| name(run, &groups, &graph, id)) {
                    diagnostics.push(Diagnostic::error(format!("Cycle: {names}"), ""));
                }
                return Err(diagnostics);
            }
            Err(_) => {}
        }
    }
    Err(Diagnostics::new())
}

pub(super) fn name(
    run: &Run<'_>,
    groups: &[Group<'_>],
    graph: &Graph<Step<'_>>,
    id: NodeId,
) -> String {
    match graph[id] {
        Step::Block(_) => run.blocks.name(&run.index, id),
        Step::Destroy(group) => format!("{} (destroy)", groups[group].block),
    }
}

fn stored<'p>(plan: &'p Plan, change: &Change) -> Option<&'p Arc<crate::state::Object>> {
    let instance = plan.prior_state.instance(&change.address)?;
    match &change.deposed {
        Some(key) => instance.deposed.get(key),
        None => instance.current.as_ref(),
    }
}

fn build<'a>(
    run: &Run<'a>,
    plan: &Plan,
    groups: &[Group<'a>],
    creators: &BTreeSet<ConfigResource>,
    across: bool,
) -> Graph<Step<'a>> {
    let mut graph = Graph::new();
    let blocks = &run.blocks.graph;
    for (_, block) in blocks.iter() {
        graph.add(Step::Block(*block));
    }
    for (id, _) in blocks.iter() {
        for (dependency, edge) in blocks.dependencies(id) {
            graph.connect(id, *dependency, *edge);
        }
    }
    let nodes: Vec<NodeId> = (0..groups.len())
        .map(|group| graph.add(Step::Destroy(group)))
        .collect();
    if groups.is_empty() {
        return graph;
    }
    let mut recorded = Recorded::new(plan, groups);
    let creator = |block: &ConfigResource| -> Option<NodeId> {
        creators.get(block)?;
        run.blocks
            .resource_node(run.index.find(&block.module)?, &block.resource)
    };
    for (at, group) in groups.iter().enumerate() {
        let node = nodes[at];
        if let Some((_, provider)) = run.blocks.provider_of.get(&group.provider) {
            graph.connect(node, *provider, Edge::Provider);
        }
        if group.is_replaced()
            && let Some(own) = creator(&group.block)
        {
            let (later, first) = if group.after {
                (node, own)
            } else {
                (own, node)
            };
            graph.connect(later, first, Edge::Lifecycle);
        }
        for name in recorded.needed(at, groups) {
            for other in &recorded.names[name as usize].groups {
                if across || groups[*other].provider == group.provider {
                    graph.connect(nodes[*other], node, Edge::Lifecycle);
                }
            }
            let dependency = &recorded.names[name as usize].block;
            if let Some(maker) = creator(dependency)
                && (across || plan_provider(run, dependency) == Some(&group.provider))
            {
                let (later, first) = if group.after {
                    (node, maker)
                } else {
                    (maker, node)
                };
                graph.connect(later, first, Edge::Lifecycle);
            }
        }
    }
    // What is changed and depended on something deleted.
    let mut seen: HashSet<(&Resource, &ModuleInstance, usize)> = HashSet::new();
    for change in plan.changes.iter().filter(|change| creates(change.action)) {
        let Some(object) = stored(plan, change) else {
            continue;
        };
        let list = place(&object.dependencies);
        if object.dependencies.is_empty()
            || !seen.insert((&change.address.resource, &change.address.module, list))
        {
            continue;
        }
        let block = change.address.config();
        let Some(node) = creator(&block) else {
            continue;
        };
        recorded.mark(&run.blocks.dependencies(&run.index, node));
        for dependency in object.dependencies.iter() {
            let name = recorded.id(dependency);
            for other in &recorded.names[name as usize].groups {
                // What is made again is waited for anyway, and itself waits for its old object's end.
                if recorded.is_marked(name) && groups[*other].is_replaced() {
                    continue;
                }
                let (later, first) = if groups[*other].after {
                    (nodes[*other], node)
                } else {
                    (node, nodes[*other])
                };
                graph.connect(later, first, Edge::Lifecycle);
            }
        }
    }
    graph
}

fn plan_provider<'r>(run: &'r Run<'_>, block: &ConfigResource) -> Option<&'r ProviderConfig> {
    let ix = run.index.find(&block.module)?;
    let (provider, _) = run
        .blocks
        .provider_for(&run.index, ix, run.index.resource(block)?)?;
    Some(&run.blocks.providers[provider.0].address)
}
