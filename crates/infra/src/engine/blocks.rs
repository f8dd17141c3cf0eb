//! The graph of a configuration: one node for each block, whatever it expands to.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, OnceLock};

use consort_hcl::Traversal;
use consort_plan::{Edge, Graph, NodeId, Reach};

use super::adopt::{local_provider, without_block};
use super::dependencies::Dependencies;
use super::index::{Index, ModuleIx};
use crate::address::{self, ConfigResource, Key, Mode, ProviderConfig};
use crate::config::{self, CheckRule};
use crate::config::{Reference, Subject};
use crate::provider::schema::{Kind, Schemas};

/// The place of a provider configuration in [`Blocks::providers`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct ProviderIx(pub(super) usize);

/// What a node of the graph stands for.
#[derive(Clone, Copy)]
pub(super) enum Block<'a> {
    /// The expansion of a module call.
    Call(ModuleIx),
    /// Everything in a module being done.
    End(ModuleIx),
    Variable(ModuleIx, &'a config::Variable),
    Local(ModuleIx, &'a config::Local),
    Output(ModuleIx, &'a config::Output),
    Resource(ModuleIx, &'a config::Resource),
    Check(ModuleIx, &'a config::Check),
    Provider(ProviderIx),
    /// What the state holds of a provider's resources without a block of their own.
    Orphans(ProviderIx),
}

impl Block<'_> {
    /// The module it stands in; none for what is of no single module.
    pub(super) fn module(self) -> Option<ModuleIx> {
        match self {
            Block::Call(ix)
            | Block::End(ix)
            | Block::Variable(ix, _)
            | Block::Local(ix, _)
            | Block::Output(ix, _)
            | Block::Resource(ix, _)
            | Block::Check(ix, _) => Some(ix),
            Block::Provider(_) | Block::Orphans(_) => None,
        }
    }
}

/// A provider configuration that something uses.
pub(super) struct ProviderEntry<'a> {
    pub(super) address: ProviderConfig,
    pub(super) block: Option<(ModuleIx, &'a config::ProviderConfig)>,
    pub(super) schemas: Arc<Schemas>,
}

/// The graph of a configuration, with what is needed to find a block's node.
pub(super) struct Blocks<'a> {
    pub(super) graph: Graph<Block<'a>>,
    pub(super) providers: Vec<ProviderEntry<'a>>,
    pub(super) provider_of: HashMap<ProviderConfig, (ProviderIx, NodeId)>,
    names: Vec<Names>,
    dependencies: OnceLock<Dependencies>,
    /// By node: what the arguments of a resource refer to.
    arguments: Vec<Option<Arc<[Traversal]>>>,
    /// By node: whether replacements are made before the old object goes.
    create_before_destroy: Vec<bool>,
    /// The keys of edges all of whose references name one instance; other edges stand for all instances.
    keyed: HashMap<(NodeId, NodeId), Vec<Key>>,
    /// What the node in work refers to as a whole.
    whole: (Option<NodeId>, HashSet<NodeId>),
}

#[derive(Default)]
struct Names {
    call: Option<NodeId>,
    end: Option<NodeId>,
    variables: HashMap<Arc<str>, NodeId>,
    locals: HashMap<Arc<str>, NodeId>,
    outputs: HashMap<Arc<str>, NodeId>,
    resources: HashMap<address::Resource, NodeId>,
}

impl<'a> Blocks<'a> {
    /// Builds the graph. `used` are the provider configurations of the state.
    pub(super) fn new(
        index: &Index<'a>,
        schemas: &BTreeMap<address::ProviderSource, Arc<Schemas>>,
        used: &BTreeSet<ProviderConfig>,
    ) -> Self {
        let mut blocks = Blocks {
            graph: Graph::new(),
            dependencies: OnceLock::new(),
            arguments: Vec::new(),
            providers: Vec::new(),
            provider_of: HashMap::new(),
            names: Vec::new(),
            create_before_destroy: Vec::new(),
            keyed: HashMap::new(),
            whole: (None, HashSet::new()),
        };
        for (at, entry) in index.modules.iter().enumerate() {
            blocks.add_module(ModuleIx(at), entry.module, index, schemas);
        }
        for import in without_block(index) {
            let address = index.provider(ModuleIx::ROOT, &local_provider(import));
            blocks.add_provider(&address, index, schemas);
        }
        for address in used {
            blocks.add_provider(address, index, schemas);
        }
        let orphans: Vec<_> = (0..blocks.providers.len())
            .map(|at| {
                (
                    ProviderIx(at),
                    blocks.graph.add(Block::Orphans(ProviderIx(at))),
                )
            })
            .collect();
        for (ix, node) in orphans {
            let provider = blocks.provider_node(ix);
            blocks.graph.connect(node, provider, Edge::Provider);
        }
        blocks.arguments = vec![None; blocks.graph.len()];
        blocks.connect_all(index);
        blocks.force_create_before_destroy();
        blocks
    }

    fn add_module(
        &mut self,
        ix: ModuleIx,
        module: &'a config::Module,
        index: &Index<'a>,
        schemas: &BTreeMap<address::ProviderSource, Arc<Schemas>>,
    ) {
        let mut names = Names::default();
        if ix != ModuleIx::ROOT {
            names.call = Some(self.graph.add(Block::Call(ix)));
        }
        for (name, variable) in &module.variables {
            names
                .variables
                .insert(name.clone(), self.graph.add(Block::Variable(ix, variable)));
        }
        for (name, local) in &module.locals {
            names
                .locals
                .insert(name.clone(), self.graph.add(Block::Local(ix, local)));
        }
        for (address, resource) in &module.resources {
            names.resources.insert(
                address.clone(),
                self.graph.add(Block::Resource(ix, resource)),
            );
        }
        for (name, output) in &module.outputs {
            names
                .outputs
                .insert(name.clone(), self.graph.add(Block::Output(ix, output)));
        }
        for check in module.checks.values() {
            self.graph.add(Block::Check(ix, check));
        }
        if ix != ModuleIx::ROOT {
            names.end = Some(self.graph.add(Block::End(ix)));
        }
        self.names.push(names);
        for resource in module.resources.values() {
            self.add_provider(
                &index.provider(ix, &resource.local_provider()),
                index,
                schemas,
            );
        }
    }

    fn add_provider(
        &mut self,
        address: &ProviderConfig,
        index: &Index<'a>,
        schemas: &BTreeMap<address::ProviderSource, Arc<Schemas>>,
    ) {
        if self.provider_of.contains_key(address) {
            return;
        }
        let Some(schemas) = schemas.get(&address.provider) else {
            return;
        };
        let ix = ProviderIx(self.providers.len());
        self.providers.push(ProviderEntry {
            address: address.clone(),
            block: index.provider_block(address),
            schemas: schemas.clone(),
        });
        let node = self.graph.add(Block::Provider(ix));
        self.provider_of.insert(address.clone(), (ix, node));
    }

    fn provider_node(&self, ix: ProviderIx) -> NodeId {
        self.provider_of[&self.providers[ix.0].address].1
    }

    /// The provider that serves a block.
    pub(super) fn provider_for(
        &self,
        index: &Index<'a>,
        ix: ModuleIx,
        resource: &config::Resource,
    ) -> Option<(ProviderIx, NodeId)> {
        self.provider_of
            .get(&index.provider(ix, &resource.local_provider()))
            .copied()
    }

    pub(super) fn resource_node(
        &self,
        ix: ModuleIx,
        resource: &address::Resource,
    ) -> Option<NodeId> {
        self.names[ix.0].resources.get(resource).copied()
    }

    pub(super) fn is_create_before_destroy(&self, node: NodeId) -> bool {
        self.create_before_destroy[node.index()]
    }

    fn connect_all(&mut self, index: &Index<'a>) {
        let nodes: Vec<_> = self.graph.iter().map(|(id, block)| (id, *block)).collect();
        for (id, block) in nodes {
            let (ix, references) = match block {
                Block::Call(ix) => {
                    let Some((parent, call)) = index.entry(ix).call else {
                        continue;
                    };
                    if let Some(outer) = self.names[parent.0].call {
                        self.graph.connect(id, outer, Edge::Value);
                    }
                    let mut references = Vec::new();
                    expressions(&mut references, [&call.count, &call.for_each]);
                    self.connect(index, id, parent, &references, Edge::Value);
                    self.connect(index, id, parent, &call.depends_on, Edge::Order);
                    continue;
                }
                Block::End(ix) => {
                    let names = &self.names[ix.0];
                    let inside: Vec<_> = names
                        .call
                        .iter()
                        .chain(names.variables.values())
                        .chain(names.locals.values())
                        .chain(names.outputs.values())
                        .chain(names.resources.values())
                        .chain(
                            index
                                .entry(ix)
                                .children
                                .values()
                                .filter_map(|child| self.names[child.0].end.as_ref()),
                        )
                        .copied()
                        .collect();
                    for node in inside {
                        self.graph.connect(id, node, Edge::Order);
                    }
                    continue;
                }
                Block::Variable(ix, variable) => {
                    let mut references = Vec::new();
                    rules(&mut references, &variable.validations);
                    references.retain(|reference| {
                        &*reference.root != "var" || reference.attribute(0) != Some(&variable.name)
                    });
                    self.connect(index, id, ix, &references, Edge::Value);
                    if let Some((parent, call)) = index.entry(ix).call {
                        let references: Vec<_> = call
                            .config
                            .arguments()
                            .filter(|attribute| attribute.name == variable.name)
                            .flat_map(|attribute| attribute.expr.references())
                            .collect();
                        self.connect(index, id, parent, &references, Edge::Value);
                    }
                    (ix, Vec::new())
                }
                Block::Local(ix, local) => (ix, local.expr.references()),
                Block::Output(ix, output) => {
                    let mut references = Vec::new();
                    expressions(&mut references, [&output.value]);
                    rules(&mut references, &output.preconditions);
                    self.connect(index, id, ix, &output.depends_on, Edge::Order);
                    (ix, references)
                }
                Block::Check(ix, check) => {
                    let mut references = Vec::new();
                    rules(&mut references, &check.asserts);
                    if let Some(node) = check
                        .data
                        .as_ref()
                        .and_then(|data| self.resource_node(ix, data))
                    {
                        self.graph.connect(id, node, Edge::Order);
                    }
                    (ix, references)
                }
                Block::Resource(ix, resource) => {
                    if let Some((provider, node)) = self.provider_for(index, ix, resource) {
                        self.graph.connect(id, node, Edge::Provider);
                        let schemas = self.providers[provider.0].schemas.clone();
                        if let Ok(schema) =
                            schemas.resource(kind(resource.address.mode), &resource.address.kind)
                        {
                            let references: Arc<[Traversal]> =
                                schema.block.references(&resource.config).into();
                            self.arguments[id.index()] = Some(references.clone());
                            self.connect(index, id, ix, &references, Edge::Value);
                        }
                    }
                    self.connect(index, id, ix, &resource.depends_on, Edge::Order);
                    let path = &index.entry(ix).path;
                    for import in &index.module(ModuleIx::ROOT).imports {
                        if import.target.resource == resource.address
                            && import.target.module == *path
                        {
                            let mut references = Vec::new();
                            expressions(
                                &mut references,
                                [&import.id, &import.identity, &import.for_each],
                            );
                            self.connect(index, id, ModuleIx::ROOT, &references, Edge::Value);
                        }
                    }
                    (ix, resource_references(resource))
                }
                Block::Provider(provider) => {
                    let entry = &self.providers[provider.0];
                    let Some((ix, block)) = entry.block else {
                        continue;
                    };
                    let references = entry.schemas.provider.references(&block.config);
                    (ix, references)
                }
                Block::Orphans(_) => continue,
            };
            self.connect(index, id, ix, &references, Edge::Value);
            if let Some(call) = self.names[ix.0].call {
                self.graph.connect(id, call, Edge::Order);
            }
        }
    }

    fn connect(
        &mut self,
        index: &Index<'a>,
        from: NodeId,
        ix: ModuleIx,
        references: &[Traversal],
        edge: Edge,
    ) {
        if self.whole.0 != Some(from) {
            self.whole = (Some(from), HashSet::new());
        }
        for traversal in references {
            let key = match Reference::parse(traversal) {
                Ok(Reference {
                    subject: Subject::Resource(_, key),
                    ..
                }) if !key.is_none() => Some(key),
                _ => None,
            };
            for node in self.referred(index, ix, traversal) {
                match &key {
                    None => {
                        self.whole.1.insert(node);
                        if !self.keyed.is_empty() {
                            self.keyed.remove(&(from, node));
                        }
                    }
                    Some(key) if !self.whole.1.contains(&node) => {
                        let keys = self.keyed.entry((from, node)).or_default();
                        if !keys.contains(key) {
                            keys.push(key.clone());
                        }
                    }
                    Some(_) => {}
                }
                // A block may look at itself in conditions; a reference in its arguments is refused when
                // those are read.
                if node != from {
                    self.graph.connect(from, node, edge);
                }
            }
        }
    }

    /// The instances a node needs of another, if it names each of them; none if it needs all.
    pub(super) fn keys_of_edge(&self, from: NodeId, to: NodeId) -> Option<&[Key]> {
        self.keyed.get(&(from, to)).map(Vec::as_slice)
    }

    /// The nodes a reference made in a module leads to.
    pub(super) fn referred(
        &self,
        index: &Index<'a>,
        ix: ModuleIx,
        traversal: &Traversal,
    ) -> Vec<NodeId> {
        let Ok(reference) = Reference::parse(traversal) else {
            return Vec::new();
        };
        let names = &self.names[ix.0];
        let child = |name: &Arc<str>| {
            index
                .entry(ix)
                .children
                .get(name)
                .map(|child| &self.names[child.0])
        };
        let found = match &reference.subject {
            Subject::Variable(name) => names.variables.get(name).copied(),
            Subject::Local(name) => names.locals.get(name).copied(),
            Subject::Resource(resource, _) => names.resources.get(resource).copied(),
            Subject::ModuleOutput(name, _, output) => {
                let Some(child) = child(name) else {
                    return Vec::new();
                };
                match child.outputs.get(output) {
                    Some(node) => return child.call.iter().chain([node]).copied().collect(),
                    None => child.end,
                }
            }
            Subject::Module(name, _) => child(name).and_then(|child| child.end),
            _ => None,
        };
        found.into_iter().collect()
    }

    /// A resource that something made before its replacement's end depends on must be made before as well.
    fn force_create_before_destroy(&mut self) {
        self.create_before_destroy = vec![false; self.graph.len()];
        let starts: Vec<_> = self
            .graph
            .iter()
            .filter(|(_, block)| {
                matches!(block, Block::Resource(_, resource) if resource.managed.create_before_destroy == Some(true))
            })
            .map(|(id, _)| id)
            .collect();
        if !starts.is_empty() {
            self.create_before_destroy = self.graph.reach(starts, Reach::Dependencies);
        }
    }

    /// The resources a node depends on, directly or not, as its instances record them.
    pub(super) fn dependencies(
        &self,
        index: &Index<'a>,
        start: NodeId,
    ) -> Arc<[Arc<ConfigResource>]> {
        self.all_dependencies(index).of(&self.graph, start)
    }

    /// Whether something that a node depends on, directly or not, is such a resource.
    pub(super) fn depends_on(
        &self,
        index: &Index<'a>,
        start: NodeId,
        is: impl Fn(&ConfigResource) -> bool,
    ) -> bool {
        self.all_dependencies(index).any(&self.graph, start, is)
    }

    /// What the arguments of a resource refer to.
    pub(super) fn arguments(&self, node: NodeId) -> Arc<[Traversal]> {
        self.arguments[node.index()]
            .clone()
            .unwrap_or_else(|| Arc::new([]))
    }

    fn all_dependencies(&self, index: &Index<'a>) -> &Dependencies {
        self.dependencies
            .get_or_init(|| Dependencies::new(&self.graph, index))
    }

    /// The resources that a block's `depends_on`, and that of the module calls around it, name: those
    /// reached through something that is no resource included.
    pub(super) fn explicit_dependencies(
        &self,
        index: &Index<'a>,
        ix: ModuleIx,
        depends_on: &[Traversal],
    ) -> Vec<NodeId> {
        let mut starts: Vec<NodeId> = depends_on
            .iter()
            .flat_map(|traversal| self.referred(index, ix, traversal))
            .collect();
        let mut at = ix;
        while let Some((parent, call)) = index.entry(at).call {
            starts.extend(
                call.depends_on
                    .iter()
                    .flat_map(|traversal| self.referred(index, parent, traversal)),
            );
            at = parent;
        }
        let mut found: BTreeSet<NodeId> = BTreeSet::new();
        let (resources, others): (Vec<_>, Vec<_>) = starts
            .into_iter()
            .partition(|id| matches!(self.graph[*id], Block::Resource(..)));
        found.extend(resources);
        if !others.is_empty() {
            let reached = self.graph.reach(others, Reach::Dependencies);
            found.extend(
                self.graph
                    .iter()
                    .filter(|(id, block)| {
                        reached[id.index()] && matches!(block, Block::Resource(..))
                    })
                    .map(|(id, _)| id),
            );
        }
        found.into_iter().collect()
    }

    /// The node's name in messages.
    pub(super) fn name(&self, index: &Index<'a>, id: NodeId) -> String {
        let within = |ix: ModuleIx, name: String| {
            let path = &index.entry(ix).path;
            if path.is_root() {
                name
            } else {
                format!("{path}.{name}")
            }
        };
        match self.graph[id] {
            Block::Call(ix) => format!("{} (expand)", index.entry(ix).path),
            Block::End(ix) => format!("{} (close)", index.entry(ix).path),
            Block::Variable(ix, variable) => within(ix, format!("var.{} (expand)", variable.name)),
            Block::Local(ix, local) => within(ix, format!("local.{} (expand)", local.name)),
            Block::Output(ix, output) => within(ix, format!("output.{} (expand)", output.name)),
            Block::Resource(ix, resource) => within(ix, resource.address.to_string()),
            Block::Check(ix, check) => within(ix, format!("check.{}", check.name)),
            Block::Provider(ix) => self.providers[ix.0].address.to_string(),
            Block::Orphans(ix) => format!("{} (orphans)", self.providers[ix.0].address),
        }
    }
}

/// The schema's word for a mode.
pub(super) fn kind(mode: Mode) -> Kind {
    match mode {
        Mode::Managed => Kind::Managed,
        Mode::Data => Kind::Data,
        Mode::Ephemeral => Kind::Ephemeral,
    }
}

fn expressions<'e>(
    into: &mut Vec<Traversal>,
    exprs: impl IntoIterator<Item = &'e Option<consort_hcl::Expr>>,
) {
    into.extend(
        exprs
            .into_iter()
            .flatten()
            .flat_map(consort_hcl::Expr::references),
    );
}

fn rules(into: &mut Vec<Traversal>, rules: &[CheckRule]) {
    for rule in rules {
        expressions(into, [&rule.condition, &rule.error_message]);
    }
}

/// The references of a resource block outside its own arguments.
fn resource_references(resource: &config::Resource) -> Vec<Traversal> {
    let mut references = Vec::new();
    expressions(&mut references, [&resource.count, &resource.for_each]);
    rules(&mut references, &resource.preconditions);
    rules(&mut references, &resource.postconditions);
    for expr in &resource.replace_triggered_by {
        references.extend(expr.references());
    }
    for provisioner in &resource.managed.provisioners {
        references.extend(all_references(&provisioner.config));
        if let Some(connection) = &provisioner.connection {
            references.extend(all_references(&connection.config));
        }
    }
    if let Some(connection) = &resource.managed.connection {
        references.extend(all_references(&connection.config));
    }
    references
}

/// The references in all arguments of a body and of the blocks in it.
fn all_references(body: &consort_hcl::Body) -> Vec<Traversal> {
    let mut references: Vec<_> = body
        .arguments()
        .flat_map(|attribute| attribute.expr.references())
        .collect();
    for block in body.blocks() {
        references.extend(all_references(&block.body));
    }
    references
}
