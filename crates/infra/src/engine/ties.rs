//! What the blocks of a configuration use of each other, with all that is no resource left out: what lies between two
//! resources (locals, variables, outputs, module calls, providers) only hands values on.
//!
//! Listing every pair of a user and what it uses costs their product where many use one local made of many. What is
//! used by several is therefore told once, as a [`Hub`] with its members, and each user names the hub.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use consort_hcl::{Range, Traversal};
use consort_plan::{Edge, NodeId};

use super::blocks::Block;
use super::index::ModuleIx;
use super::run::Run;
use crate::address::{ConfigResource, Key};
use crate::config::IgnoreChanges;

/// How many members all hubs may have together before each is cut to [`FEW`].
const MOST: usize = 2_000_000;
const FEW: usize = 32;

/// What a block uses of another.
#[derive(Clone, Debug)]
pub struct Use {
    /// The hub whose members are used.
    pub hub: u32,
    /// The instances, if each is named by its key; otherwise all.
    pub keys: Option<Vec<Key>>,
    /// Why.
    pub edge: Edge,
}

/// Something that hands resources on: a resource block itself, or a local and the like made of several.
#[derive(Clone, Debug)]
pub struct Hub {
    /// What it is, for people: `local.addresses`.
    pub label: String,
    /// The blocks it is made of, by their places in [`Ties::blocks`].
    pub members: Arc<[u32]>,
}

/// A resource block and what it uses.
#[derive(Clone, Debug)]
pub struct Tied {
    /// Which block.
    pub address: ConfigResource,
    /// Where it begins.
    pub range: Range,
    /// What it uses.
    pub uses: Vec<Use>,
    /// The variables of the root module that it uses, among those asked for.
    pub variables: BTreeSet<Arc<str>>,
    /// Those that each of its arguments uses; where an argument is written as an object, also by its attributes
    /// (`input/name`), with nothing where an attribute uses none.
    pub arguments: BTreeMap<Arc<str>, BTreeSet<Arc<str>>>,
    /// The arguments and blocks that its body has: what of it the configuration decides.
    pub written: BTreeSet<Arc<str>>,
    /// The arguments of which changes are ignored.
    pub ignored: BTreeSet<Arc<str>>,
    /// Whether all changes are ignored.
    pub ignores_all: bool,
}

/// An output of the root module and what it is made of.
#[derive(Clone, Debug, Default)]
pub struct TiedOutput {
    /// What it uses.
    pub uses: Vec<Use>,
    /// The variables of the root module that it uses, among those asked for.
    pub variables: BTreeSet<Arc<str>>,
    /// Where it begins.
    pub range: Option<Range>,
}

/// What the blocks of a configuration use of each other.
#[derive(Clone, Debug, Default)]
pub struct Ties {
    /// The resource blocks, none before what it uses.
    pub blocks: Vec<Tied>,
    /// What is handed on.
    pub hubs: Vec<Hub>,
    /// The outputs of the root module.
    pub outputs: BTreeMap<Arc<str>, TiedOutput>,
}

/// What is known of a node once all below it is.
#[derive(Clone, Default)]
struct Reached {
    members: Arc<[u32]>,
    variables: Arc<BTreeSet<Arc<str>>>,
}

struct Gathering<'r, 'a> {
    run: &'r Run<'a>,
    is_there: &'r dyn Fn(&ConfigResource) -> bool,
    wanted: &'r BTreeSet<Arc<str>>,
    reached: Vec<Reached>,
    /// By node: the hub it is.
    hubs: HashMap<NodeId, u32>,
    ties: Ties,
    total: usize,
    most: usize,
}

/// Gathers the ties of a configuration. Blocks of which `is_there` says nothing is planned hand on what they use
/// themselves. `wanted` are the variables of the root module that are of interest.
pub(super) fn gather(
    run: &Run<'_>,
    is_there: &dyn Fn(&ConfigResource) -> bool,
    wanted: &BTreeSet<Arc<str>>,
) -> Ties {
    let Ok(order) = run.blocks.graph.check() else {
        return Ties::default();
    };
    let gathering = |most| {
        let mut gathering = Gathering {
            run,
            is_there,
            wanted,
            reached: vec![Reached::default(); run.blocks.graph.len()],
            hubs: HashMap::new(),
            ties: Ties::default(),
            total: 0,
            most,
        };
        for id in &order {
            gathering.visit(*id);
        }
        gathering
    };
    let whole = gathering(usize::MAX);
    if whole.total <= MOST {
        return whole.ties;
    }
    gathering(FEW).ties
}

impl Gathering<'_, '_> {
    fn visit(&mut self, id: NodeId) {
        let block = self.run.blocks.graph[id];
        if self.total > MOST && self.most == usize::MAX {
            // It will be done again with less.
            return;
        }
        match block {
            Block::Resource(ix, resource) => {
                let address = ConfigResource {
                    module: self.run.index.entry(ix).path.clone(),
                    resource: resource.address.clone(),
                };
                if (self.is_there)(&address) {
                    let uses = self.uses(id);
                    let place = self.ties.blocks.len() as u32;
                    let (ignored, ignores_all) = ignored(&resource.managed.ignore_changes);
                    self.ties.blocks.push(Tied {
                        address,
                        range: resource.range,
                        uses,
                        variables: self.variables(id),
                        arguments: self.arguments(ix, &resource.config),
                        written: written(&resource.config),
                        ignored,
                        ignores_all,
                    });
                    self.reached[id.index()] = Reached {
                        members: Arc::from([place]),
                        variables: Arc::default(),
                    };
                    return;
                }
            }
            Block::Output(ModuleIx::ROOT, output) => {
                let tied = TiedOutput {
                    uses: self.uses(id),
                    variables: self.variables(id),
                    range: Some(output.range),
                };
                self.ties.outputs.insert(output.name.clone(), tied);
            }
            _ => {}
        }
        let mut variables = self.variables(id);
        if let Block::Variable(ModuleIx::ROOT, variable) = block
            && self.wanted.contains(&variable.name)
        {
            variables.insert(variable.name.clone());
        }
        self.reached[id.index()] = Reached {
            members: self.members(id),
            variables: Arc::new(variables),
        };
    }

    /// The blocks below a node, through everything that is none.
    fn members(&mut self, id: NodeId) -> Arc<[u32]> {
        let below = self.run.blocks.graph.dependencies(id);
        let mut some = below
            .iter()
            .map(|(other, _)| &self.reached[other.index()].members)
            .filter(|members| !members.is_empty());
        let Some(first) = some.next() else {
            return Arc::default();
        };
        let first = first.clone();
        let mut all: BTreeSet<u32> = BTreeSet::new();
        for other in some {
            if !Arc::ptr_eq(other, &first) {
                all.extend(other.iter());
            }
        }
        if all.is_empty() {
            return first;
        }
        all.extend(first.iter());
        let all: Arc<[u32]> = all.into_iter().take(self.most).collect();
        self.total += all.len();
        all
    }

    /// The wanted variables below a node.
    fn variables(&self, id: NodeId) -> BTreeSet<Arc<str>> {
        if self.wanted.is_empty() {
            return BTreeSet::new();
        }
        self.run
            .blocks
            .graph
            .dependencies(id)
            .iter()
            .flat_map(|(other, _)| self.reached[other.index()].variables.iter().cloned())
            .collect()
    }

    fn uses(&mut self, id: NodeId) -> Vec<Use> {
        let below: Vec<(NodeId, Edge)> = self.run.blocks.graph.dependencies(id).to_vec();
        let mut seen: BTreeSet<NodeId> = BTreeSet::new();
        let mut uses = Vec::new();
        for (other, edge) in below {
            if !seen.insert(other) || self.reached[other.index()].members.is_empty() {
                continue;
            }
            let hub = self.hub(other);
            uses.push(Use {
                hub,
                keys: self.run.blocks.keys_of_edge(id, other).map(<[Key]>::to_vec),
                edge,
            });
        }
        uses
    }

    fn hub(&mut self, id: NodeId) -> u32 {
        if let Some(hub) = self.hubs.get(&id) {
            return *hub;
        }
        let place = self.ties.hubs.len() as u32;
        let name = self.run.blocks.name(&self.run.index, id);
        self.ties.hubs.push(Hub {
            label: name.trim_end_matches(" (expand)").to_owned(),
            members: self.reached[id.index()].members.clone(),
        });
        self.hubs.insert(id, place);
        place
    }

    /// The wanted variables that each argument of a body uses; those of a nested block count for all of it.
    fn arguments(
        &self,
        ix: ModuleIx,
        body: &consort_hcl::Body,
    ) -> BTreeMap<Arc<str>, BTreeSet<Arc<str>>> {
        let mut all = BTreeMap::new();
        if self.wanted.is_empty() {
            return all;
        }
        let mut add = |name: &Arc<str>, references: Vec<Traversal>| {
            let found: BTreeSet<Arc<str>> = references
                .iter()
                .flat_map(|traversal| self.run.blocks.referred(&self.run.index, ix, traversal))
                .flat_map(|node| self.reached[node.index()].variables.iter().cloned())
                .collect();
            all.entry(name.clone())
                .or_insert_with(BTreeSet::new)
                .extend(found);
        };
        for attribute in body.arguments() {
            let references = attribute.expr.references();
            if references.is_empty() {
                continue;
            }
            add(&attribute.name, references);
            for (key, value) in attribute.expr.as_map().unwrap_or_default() {
                let key = match key.as_keyword() {
                    Some(word) => Some(word),
                    None => key.evaluate_constant().0.as_shared_str(),
                };
                if let Some(key) = key {
                    let name = format!("{}/{key}", attribute.name).into();
                    add(&name, value.references());
                }
            }
        }
        for block in body.blocks() {
            add(&name_of(block), references(&block.body));
        }
        all
    }
}

/// The arguments of which changes are ignored, and whether all are.
fn ignored(changes: &IgnoreChanges) -> (BTreeSet<Arc<str>>, bool) {
    match changes {
        IgnoreChanges::None => (BTreeSet::new(), false),
        IgnoreChanges::All => (BTreeSet::new(), true),
        IgnoreChanges::Paths(paths) => {
            (paths.iter().map(|path| path.root.clone()).collect(), false)
        }
    }
}

/// The argument a nested block stands for; `dynamic "x"` makes blocks `x`.
fn name_of(block: &consort_hcl::Block) -> Arc<str> {
    if &*block.kind == "dynamic" && !block.labels.is_empty() {
        return block.label(0).into();
    }
    block.kind.clone()
}

fn references(body: &consort_hcl::Body) -> Vec<Traversal> {
    let mut all: Vec<_> = body
        .arguments()
        .flat_map(|attribute| attribute.expr.references())
        .collect();
    for block in body.blocks() {
        all.extend(references(&block.body));
    }
    all
}

fn written(body: &consort_hcl::Body) -> BTreeSet<Arc<str>> {
    body.arguments()
        .map(|attribute| attribute.name.clone())
        .chain(body.blocks().map(name_of))
        .collect()
}
