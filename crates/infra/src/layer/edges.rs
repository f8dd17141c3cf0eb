//! The edges between the instances of a part.
//!
//! The engine knows which *blocks* use which. A block stands for as many instances as `count` and `for_each` make of
//! it, and which instance of the one uses which of the other is not known unless the reference names a key
//! (`a.b["x"]`): all of them wait for all. Told as pairs that would be their product; told as a [`Joint`], once for what
//! is used with all that use it, it is their sum. Pairs are used where one side has a single member.

use std::collections::HashMap;
use std::sync::Arc;

use consort_plan::{Edge, Joint, PartEdge};

use crate::address::{ConfigResource, Key, ResourceInstance};
use crate::engine::{Change, Plan, Ties, Use};
use crate::state::Object;

/// How many places all joints may hold before each is cut to [`FEW`]: chains of locals that each add to the one before
/// would otherwise list everything again and again.
const MOST: usize = 4_000_000;
const FEW: usize = 64;
/// How many recorded dependencies of an object without a block are told.
const MOST_RECORDED: usize = 32;

/// The edges of a part.
#[derive(Default)]
pub(super) struct Edges {
    pub(super) pairs: Vec<PartEdge>,
    pub(super) joints: Vec<Joint>,
}

/// The places of the instances of each block.
pub(super) struct Places<'p> {
    /// By block of [`Ties::blocks`].
    pub(super) by_block: Vec<Vec<(u32, &'p Key)>>,
}

impl Places<'_> {
    /// The places of what a hub is made of.
    pub(super) fn members(&self, ties: &Ties, using: &Use) -> Vec<u32> {
        let mut all = Vec::new();
        for block in ties.hubs[using.hub as usize].members.iter() {
            let instances = &self.by_block[*block as usize];
            match &using.keys {
                Some(keys) => all.extend(
                    instances
                        .iter()
                        .filter(|(_, key)| keys.contains(key))
                        .map(|(place, _)| *place),
                ),
                None => all.extend(instances.iter().map(|(place, _)| *place)),
            }
        }
        all
    }
}

/// The edges that the configuration makes.
pub(super) fn of_blocks(ties: &Ties, places: &Places<'_>, part: &str) -> Edges {
    let mut edges = Edges::default();
    // By hub and kind of edge: who uses all of it.
    let mut users: HashMap<(u32, Edge), Vec<u32>> = HashMap::new();
    for (block, tied) in ties.blocks.iter().enumerate() {
        let own = &places.by_block[block];
        for using in &tied.uses {
            if using.keys.is_some() {
                // By name these are few.
                for dependency in places.members(ties, using) {
                    edges
                        .pairs
                        .extend(own.iter().map(|(dependent, _)| PartEdge {
                            dependent: *dependent,
                            dependency,
                            edge: using.edge,
                        }));
                }
            } else {
                users
                    .entry((using.hub, using.edge))
                    .or_default()
                    .extend(own.iter().map(|(place, _)| *place));
            }
        }
    }
    let mut users: Vec<_> = users.into_iter().collect();
    users.sort_unstable_by_key(|((hub, edge), _)| (*hub, *edge as u8));
    let mut held = 0;
    for ((hub, edge), dependents) in users {
        let using = Use {
            hub,
            keys: None,
            edge,
        };
        let mut dependencies = places.members(ties, &using);
        if held > MOST {
            dependencies.truncate(FEW);
        }
        held += dependencies.len();
        if dependents.len() == 1 || dependencies.len() == 1 {
            for dependent in &dependents {
                edges
                    .pairs
                    .extend(dependencies.iter().map(|dependency| PartEdge {
                        dependent: *dependent,
                        dependency: *dependency,
                        edge,
                    }));
            }
        } else if !dependents.is_empty() && !dependencies.is_empty() {
            edges.joints.push(Joint {
                label: format!("{part}.{}", ties.hubs[hub as usize].label),
                dependents,
                dependencies,
                edge,
            });
        }
    }
    edges.pairs.retain(|pair| pair.dependent != pair.dependency);
    edges
}

/// The edges of objects whose block is gone, as the state recorded them.
pub(super) fn of_orphans(
    plan: &Plan,
    orphans: &[(u32, &Change)],
    by_config: &HashMap<ConfigResource, Vec<u32>>,
    edges: &mut Edges,
) {
    for (place, change) in orphans {
        let Some(object) = recorded(plan, change) else {
            continue;
        };
        let mut told = 0;
        for block in object.dependencies.iter() {
            for dependency in by_config.get(&**block).into_iter().flatten() {
                if dependency == place || told == MOST_RECORDED {
                    continue;
                }
                told += 1;
                edges.pairs.push(PartEdge {
                    dependent: *place,
                    dependency: *dependency,
                    edge: Edge::Value,
                });
            }
        }
    }
}

/// What the state holds of a change's object.
pub(super) fn recorded<'p>(plan: &'p Plan, change: &Change) -> Option<&'p Arc<Object>> {
    let address: &ResourceInstance = &change.address;
    let instance = plan.prior_state.instance(address)?;
    match &change.deposed {
        Some(key) => instance.deposed.get(key),
        None => instance.current.as_ref(),
    }
}
