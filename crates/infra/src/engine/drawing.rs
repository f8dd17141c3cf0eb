//! The graph of a configuration as something to draw, with the names Terraform gives its nodes.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use consort_hcl::Diagnostics;
use consort_hcl::diagnostic::Diagnostic;

use super::blocks::{Block, Blocks};
use super::change::{Action, Plan};
use super::index::{Index, ModuleIx};
use super::run::Input;
use crate::address::{ConfigResource, Mode, ModulePath, ProviderConfig, ProviderSource};
use crate::state::State;

/// A graph to draw. Edges lead from what depends to what it depends on, by places in `nodes`.
#[derive(Clone, Debug, Default)]
pub struct Drawing {
    /// The nodes.
    pub nodes: Vec<Drawn>,
    /// The edges, each once; those that follow from others are left out unless there are cycles.
    pub edges: BTreeSet<(usize, usize)>,
    /// What is wrong with the graph: its cycles, by the names of their nodes.
    pub cycles: Vec<Vec<usize>>,
}

/// A node to draw.
#[derive(Clone, Debug)]
pub struct Drawn {
    /// Its name, such as `module.a.null_resource.b (expand)`.
    pub name: String,
    /// What it is.
    pub shape: Shape,
}

/// What a node is.
#[derive(Clone, Debug)]
pub enum Shape {
    /// A resource.
    Resource(ConfigResource),
    /// The configuration of a provider.
    Provider,
    /// A variable of the root module.
    Variable,
    /// Anything else, which only edges show.
    Other,
}

/// What a graph is drawn of.
pub enum DrawingKind<'p> {
    /// Planning or applying the configuration.
    Configuration,
    /// Planning, where checks report for themselves.
    Planning,
    /// Applying a plan, with the instances that it changes.
    Plan(&'p Plan),
    /// Destroying all that a state holds.
    Destroy(&'p State),
}

impl Drawing {
    fn add(&mut self, name: String, shape: Shape) -> usize {
        self.nodes.push(Drawn { name, shape });
        self.nodes.len() - 1
    }

    /// The graph of a configuration.
    ///
    /// # Errors
    /// When the schema of a provider cannot be had.
    pub async fn new(input: &Input<'_>, kind: &DrawingKind<'_>) -> Result<Drawing, Diagnostics> {
        let index = Index::new(input.tree);
        let mut used: BTreeSet<ProviderConfig> = BTreeSet::new();
        if let DrawingKind::Destroy(state) = kind {
            used.extend(
                state
                    .resources
                    .values()
                    .map(|resource| resource.provider.clone()),
            );
        }
        let mut sources: BTreeSet<ProviderSource> =
            used.iter().map(|config| config.provider.clone()).collect();
        for entry in &index.modules {
            sources.extend(
                entry
                    .module
                    .resources
                    .values()
                    .map(|resource| resource.provider.clone()),
            );
        }
        let mut schemas = BTreeMap::new();
        let mut diagnostics = Diagnostics::new();
        for source in sources {
            match input.providers.schemas(&source).await {
                Ok(found) => {
                    schemas.insert(source, found);
                }
                Err(problems) => diagnostics.append(problems),
            }
        }
        if diagnostics.has_errors() {
            return Err(diagnostics);
        }
        let blocks = Blocks::new(&index, &schemas, &used);
        let mut drawing = match kind {
            DrawingKind::Destroy(state) => of_state(&index, state),
            DrawingKind::Configuration => of_blocks(&index, &blocks, false, None),
            DrawingKind::Planning => of_blocks(&index, &blocks, true, None),
            DrawingKind::Plan(plan) => of_blocks(&index, &blocks, false, Some(plan)),
        };
        drawing.find_cycles();
        if drawing.cycles.is_empty() {
            drawing.edges = reduced(&drawing.edges, drawing.nodes.len());
        }
        drawing.root();
        Ok(drawing)
    }

    /// The cycles as errors.
    pub fn problems(&self) -> Diagnostics {
        let mut diagnostics = Diagnostics::new();
        for cycle in &self.cycles {
            let names: Vec<&str> = cycle
                .iter()
                .map(|node| self.nodes[*node].name.as_str())
                .collect();
            diagnostics.push(Diagnostic::error(
                format!("Cycle: {}", names.join(", ")),
                "",
            ));
        }
        diagnostics
    }

    /// The resources alone, with an edge wherever one depends on another through what is left out.
    #[must_use]
    pub fn resources(&self) -> Drawing {
        let mut next: Vec<Vec<usize>> = vec![Vec::new(); self.nodes.len()];
        for (from, to) in &self.edges {
            next[*from].push(*to);
        }
        let mut kept: Vec<(ConfigResource, usize)> = self
            .nodes
            .iter()
            .enumerate()
            .filter_map(|(at, node)| match &node.shape {
                Shape::Resource(address) => Some((address.clone(), at)),
                _ => None,
            })
            .collect();
        kept.sort_by_cached_key(|(address, _)| {
            let path: Vec<Arc<str>> = address.module.names().to_vec();
            let mode = match address.resource.mode {
                Mode::Data => 0,
                Mode::Managed => 1,
                Mode::Ephemeral => 2,
            };
            (
                path,
                mode,
                address.resource.kind.clone(),
                address.resource.name.clone(),
            )
        });
        let place: HashMap<usize, usize> = kept
            .iter()
            .enumerate()
            .map(|(new, (_, old))| (*old, new))
            .collect();
        let mut drawing = Drawing::default();
        for (address, old) in &kept {
            drawing.add(address.to_string(), Shape::Resource(address.clone()));
            let mut seen: HashSet<usize> = HashSet::from([*old]);
            let mut open = next[*old].clone();
            while let Some(at) = open.pop() {
                if !seen.insert(at) {
                    continue;
                }
                match place.get(&at) {
                    Some(new) => {
                        drawing.edges.insert((place[old], *new));
                    }
                    None => open.extend(&next[at]),
                }
            }
        }
        if self.cycles.is_empty() {
            drawing.edges = reduced(&drawing.edges, drawing.nodes.len());
        }
        drawing
    }

    /// The node on top of all that nothing depends on.
    fn root(&mut self) {
        let below: HashSet<usize> = self.edges.iter().map(|(_, to)| *to).collect();
        let tops: Vec<usize> = (0..self.nodes.len())
            .filter(|node| !below.contains(node))
            .collect();
        let root = self.add("root".to_owned(), Shape::Other);
        self.edges.extend(tops.into_iter().map(|top| (root, top)));
    }

    /// Groups of nodes that depend on each other, found by Tarjan's algorithm without recursion.
    fn find_cycles(&mut self) {
        let count = self.nodes.len();
        let mut next: Vec<Vec<usize>> = vec![Vec::new(); count];
        for (from, to) in &self.edges {
            next[*from].push(*to);
        }
        let (mut number, mut low) = (vec![usize::MAX; count], vec![0; count]);
        let mut on_stack = vec![false; count];
        let (mut stack, mut counter) = (Vec::new(), 0);
        for start in 0..count {
            if number[start] != usize::MAX {
                continue;
            }
            let mut calls = vec![(start, 0)];
            while let Some((node, at)) = calls.pop() {
                if at == 0 {
                    number[node] = counter;
                    low[node] = counter;
                    counter += 1;
                    stack.push(node);
                    on_stack[node] = true;
                }
                if let Some(child) = next[node].get(at).copied() {
                    calls.push((node, at + 1));
                    if number[child] == usize::MAX {
                        calls.push((child, 0));
                    } else if on_stack[child] {
                        low[node] = low[node].min(number[child]);
                    }
                    continue;
                }
                if low[node] == number[node] {
                    let mut group = Vec::new();
                    while let Some(member) = stack.pop() {
                        on_stack[member] = false;
                        group.push(member);
                        if member == node {
                            break;
                        }
                    }
                    if group.len() > 1 || self.edges.contains(&(node, node)) {
                        group.sort_by(|a, b| self.nodes[*a].name.cmp(&self.nodes[*b].name));
                        self.cycles.push(group);
                    }
                }
                if let Some((parent, _)) = calls.last() {
                    low[*parent] = low[*parent].min(low[node]);
                }
            }
        }
    }
}

/// The edges of a graph without cycles that do not follow from others.
fn reduced(edges: &BTreeSet<(usize, usize)>, count: usize) -> BTreeSet<(usize, usize)> {
    let mut next: Vec<Vec<usize>> = vec![Vec::new(); count];
    let mut waiting = vec![0_usize; count];
    let mut dependents: Vec<Vec<usize>> = vec![Vec::new(); count];
    for (from, to) in edges {
        next[*from].push(*to);
        waiting[*from] += 1;
        dependents[*to].push(*from);
    }
    // What is depended on gets the lower rank.
    let mut rank = vec![0_usize; count];
    let mut ready: Vec<usize> = (0..count).filter(|node| waiting[*node] == 0).collect();
    let mut counter = 0;
    let mut order = Vec::with_capacity(count);
    while let Some(node) = ready.pop() {
        rank[node] = counter;
        counter += 1;
        order.push(node);
        for dependent in &dependents[node] {
            waiting[*dependent] -= 1;
            if waiting[*dependent] == 0 {
                ready.push(*dependent);
            }
        }
    }
    let mut kept: Vec<Vec<usize>> = vec![Vec::new(); count];
    let mut mark = vec![usize::MAX; count];
    for node in order {
        let mut wanted = std::mem::take(&mut next[node]);
        wanted.sort_by_key(|other| std::cmp::Reverse(rank[*other]));
        let Some(lowest) = wanted.last().map(|other| rank[*other]) else {
            continue;
        };
        for other in wanted {
            if mark[other] == node {
                continue;
            }
            kept[node].push(other);
            // Nothing below the lowest wanted one has to be looked at.
            let mut open = vec![other];
            while let Some(at) = open.pop() {
                if mark[at] == node || rank[at] < lowest {
                    continue;
                }
                mark[at] = node;
                open.extend(&kept[at]);
            }
        }
    }
    kept.into_iter()
        .enumerate()
        .flat_map(|(from, to)| to.into_iter().map(move |to| (from, to)))
        .collect()
}

fn within(path: &ModulePath, name: &str) -> String {
    if path.is_root() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}

fn of_blocks(
    index: &Index<'_>,
    blocks: &Blocks<'_>,
    reports: bool,
    plan: Option<&Plan>,
) -> Drawing {
    let mut drawing = Drawing::default();
    let mut places = HashMap::new();
    let mut by_resource: HashMap<ConfigResource, usize> = HashMap::new();
    let path = |ix: ModuleIx| &index.entry(ix).path;
    for (id, block) in blocks.graph.iter() {
        let (name, shape) = match *block {
            Block::Call(ix) => (format!("{} (expand)", path(ix)), Shape::Other),
            Block::End(ix) => (format!("{} (close)", path(ix)), Shape::Other),
            Block::Variable(ModuleIx::ROOT, variable) => {
                (format!("var.{}", variable.name), Shape::Variable)
            }
            Block::Variable(ix, variable) => (
                within(path(ix), &format!("var.{} (expand)", variable.name)),
                Shape::Other,
            ),
            Block::Local(ix, local) => (
                within(path(ix), &format!("local.{} (expand)", local.name)),
                Shape::Other,
            ),
            Block::Output(ix, output) => (
                within(path(ix), &format!("output.{} (expand)", output.name)),
                Shape::Other,
            ),
            Block::Check(ix, check) => (
                within(path(ix), &format!("check.{} (expand)", check.name)),
                Shape::Other,
            ),
            Block::Resource(ix, resource) => {
                let address = ConfigResource {
                    module: path(ix).clone(),
                    resource: resource.address.clone(),
                };
                (format!("{address} (expand)"), Shape::Resource(address))
            }
            Block::Provider(ix) => (blocks.providers[ix.0].address.to_string(), Shape::Provider),
            Block::Orphans(_) => continue,
        };
        let at = drawing.add(name, shape.clone());
        if let Shape::Resource(address) = shape {
            by_resource.insert(address, at);
        }
        places.insert(id, at);
    }
    for (id, at) in &places {
        for (other, _) in blocks.graph.dependencies(*id) {
            if let Some(other) = places.get(other) {
                drawing.edges.insert((*at, *other));
            }
        }
    }
    let mut closing: HashMap<usize, usize> = HashMap::new();
    for (id, block) in blocks.graph.iter() {
        let Block::Resource(ix, resource) = *block else {
            continue;
        };
        let Some((_, provider)) = blocks.provider_for(index, ix, resource) else {
            continue;
        };
        let (resource_at, provider_at) = (places[&id], places[&provider]);
        let close = *closing.entry(provider_at).or_insert_with(|| {
            let name = format!("{} (close)", drawing.nodes[provider_at].name);
            drawing.add(name, Shape::Other)
        });
        drawing.edges.insert((close, resource_at));
        drawing.edges.insert((close, provider_at));
    }
    if reports {
        for (id, block) in blocks.graph.iter() {
            let Block::Check(ix, check) = *block else {
                continue;
            };
            let report = drawing.add(
                within(path(ix), &format!("check.{} (report)", check.name)),
                Shape::Other,
            );
            drawing.edges.insert((places[&id], report));
            let nested = check
                .data
                .as_ref()
                .and_then(|data| blocks.resource_node(ix, data));
            if let Some(nested) = nested {
                drawing.edges.insert((places[&nested], report));
            }
        }
    }
    if let Some(plan) = plan {
        instances(&mut drawing, plan, &by_resource);
    }
    drawing
}

/// Adds the instances that a plan changes: what depends on their resource depends on them.
fn instances(drawing: &mut Drawing, plan: &Plan, by_resource: &HashMap<ConfigResource, usize>) {
    let mut dependents: HashMap<usize, Vec<usize>> = HashMap::new();
    for (from, to) in &drawing.edges {
        dependents.entry(*to).or_default().push(*from);
    }
    for change in &plan.changes {
        let address = change.address.config();
        let Some(expand) = by_resource.get(&address).copied() else {
            continue;
        };
        let mut add = |name: String, before: Option<usize>| {
            let at = drawing.add(name, Shape::Resource(address.clone()));
            drawing.edges.insert((at, expand));
            drawing.edges.extend(before.map(|before| (at, before)));
            for from in dependents.get(&expand).into_iter().flatten() {
                drawing.edges.insert((*from, at));
            }
            at
        };
        let name = change.address.to_string();
        match change.action {
            Action::NoOp | Action::Forget => {}
            Action::Delete => {
                add(format!("{name} (destroy)"), None);
            }
            Action::DeleteThenCreate => {
                let gone = add(format!("{name} (destroy)"), None);
                add(name, Some(gone));
            }
            Action::CreateThenDelete => {
                let made = add(name.clone(), None);
                add(format!("{name} (destroy deposed)"), Some(made));
            }
            _ => {
                add(name, None);
            }
        }
    }
}

/// What a state holds, each thing destroyed after what depends on it.
fn of_state(index: &Index<'_>, state: &State) -> Drawing {
    let mut drawing = Drawing::default();
    let mut resources: BTreeMap<ConfigResource, usize> = BTreeMap::new();
    let mut providers: BTreeMap<&ProviderConfig, (usize, usize)> = BTreeMap::new();
    for (address, resource) in &state.resources {
        let address = address.config();
        let at = match resources.get(&address) {
            Some(at) => *at,
            None => {
                let at = drawing.add(
                    format!("{address} (destroy)"),
                    Shape::Resource(address.clone()),
                );
                resources.insert(address, at);
                at
            }
        };
        let (provider, close) = match providers.get(&resource.provider) {
            Some(found) => *found,
            None => {
                let provider = drawing.add(resource.provider.to_string(), Shape::Provider);
                let close = drawing.add(format!("{} (close)", resource.provider), Shape::Other);
                drawing.edges.insert((close, provider));
                providers.insert(&resource.provider, (provider, close));
                (provider, close)
            }
        };
        drawing.edges.insert((at, provider));
        drawing.edges.insert((close, at));
    }
    for (address, resource) in &state.resources {
        let dependent = resources[&address.config()];
        for object in resource
            .instances
            .values()
            .filter_map(|instance| instance.current.as_ref())
        {
            for dependency in object.dependencies.iter() {
                if let Some(at) = resources.get(&**dependency)
                    && *at != dependent
                {
                    drawing.edges.insert((*at, dependent));
                }
            }
        }
    }
    for output in index.module(ModuleIx::ROOT).outputs.keys() {
        drawing.add(format!("output.{output} (expand)"), Shape::Other);
    }
    drawing
}
