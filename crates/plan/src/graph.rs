//! Nodes, typed edges, and the cycles among them.

use std::collections::{HashMap, HashSet, VecDeque};
use std::fmt;
use std::ops::{Index, IndexMut};

use serde::{Deserialize, Serialize};

/// The place of a node in its graph. Ids are dense: they count from zero in the order of adding.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct NodeId(u32);

impl NodeId {
    pub(crate) fn new(index: usize) -> Self {
        NodeId(u32::try_from(index).unwrap_or(u32::MAX))
    }

    /// The id as an index into tables that run beside the graph.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// Why one node waits for another.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Edge {
    /// The dependent uses a value of the dependency.
    Value,
    /// The user said so (`depends_on` and its like).
    Order,
    /// The dependency has to be gone, or be there, before the dependent can be changed.
    Lifecycle,
    /// The dependent is carried out by the dependency (a resource by its provider).
    Provider,
}

/// A directed graph whose edges point from a node to what it depends on.
///
/// The graph keeps what it is told and nothing derived from it: no transitive closure, no reduction.
#[derive(Clone, Debug)]
pub struct Graph<N> {
    nodes: Vec<N>,
    dependencies: Vec<Vec<(NodeId, Edge)>>,
    dependents: Vec<Vec<NodeId>>,
}

impl<N> Default for Graph<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<N> Index<NodeId> for Graph<N> {
    type Output = N;
    fn index(&self, id: NodeId) -> &N {
        &self.nodes[id.index()]
    }
}

impl<N> IndexMut<NodeId> for Graph<N> {
    fn index_mut(&mut self, id: NodeId) -> &mut N {
        &mut self.nodes[id.index()]
    }
}

/// Every cycle of a graph, each as the nodes of one strongly connected part in the order their edges run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cycles(pub Vec<Vec<NodeId>>);

impl Cycles {
    /// The cycles as one sentence each, with the nodes named by `name`.
    pub fn describe(&self, mut name: impl FnMut(NodeId) -> String) -> Vec<String> {
        self.0
            .iter()
            .map(|cycle| {
                let names: Vec<_> = cycle.iter().map(|id| name(*id)).collect();
                names.join(", ")
            })
            .collect()
    }
}

impl fmt::Display for Cycles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} cycle(s) in the graph", self.0.len())
    }
}

impl std::error::Error for Cycles {}

/// Which way [`Graph::reach`] follows the edges.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reach {
    /// To what the start depends on.
    Dependencies,
    /// To what depends on the start.
    Dependents,
}

impl<N> Graph<N> {
    /// A graph without nodes.
    pub fn new() -> Self {
        Graph {
            nodes: Vec::new(),
            dependencies: Vec::new(),
            dependents: Vec::new(),
        }
    }

    /// Adds a node and gives its id.
    pub fn add(&mut self, node: N) -> NodeId {
        let id = NodeId::new(self.nodes.len());
        self.nodes.push(node);
        self.dependencies.push(Vec::new());
        self.dependents.push(Vec::new());
        id
    }

    /// Says that `dependent` waits for `dependency`. An edge from a node to itself is kept, and is a cycle.
    ///
    /// The same edge told twice in a row is kept once; others may be kept twice, which costs a little and
    /// changes nothing.
    pub fn connect(&mut self, dependent: NodeId, dependency: NodeId, edge: Edge) {
        let known = &mut self.dependencies[dependent.index()];
        if known.last() == Some(&(dependency, edge)) {
            return;
        }
        known.push((dependency, edge));
        self.dependents[dependency.index()].push(dependent);
    }

    /// How many nodes there are.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there is no node.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// All nodes in the order they were added.
    pub fn iter(&self) -> impl Iterator<Item = (NodeId, &N)> {
        self.nodes
            .iter()
            .enumerate()
            .map(|(index, node)| (NodeId(index as u32), node))
    }

    /// What `id` depends on, directly.
    pub fn dependencies(&self, id: NodeId) -> &[(NodeId, Edge)] {
        &self.dependencies[id.index()]
    }

    /// What depends on `id`, directly. A dependent may come twice when it is joined by two edges.
    pub fn dependents(&self, id: NodeId) -> &[NodeId] {
        &self.dependents[id.index()]
    }

    /// Marks all nodes that can be reached from `starts`, the starts included.
    pub fn reach(&self, starts: impl IntoIterator<Item = NodeId>, which: Reach) -> Vec<bool> {
        let mut reached = vec![false; self.len()];
        let mut open: Vec<NodeId> = Vec::new();
        for start in starts {
            if !std::mem::replace(&mut reached[start.index()], true) {
                open.push(start);
            }
        }
        while let Some(id) = open.pop() {
            let mut visit = |next: NodeId| {
                if !std::mem::replace(&mut reached[next.index()], true) {
                    open.push(next);
                }
            };
            match which {
                Reach::Dependencies => self.dependencies[id.index()]
                    .iter()
                    .for_each(|(next, _)| visit(*next)),
                Reach::Dependents => self.dependents[id.index()]
                    .iter()
                    .for_each(|next| visit(*next)),
            }
        }
        reached
    }

    /// A shortest way around within a strongly connected part, as [`Graph::check`] gives them, from its first node: each
    /// node depends on the next, the last on the first.
    pub fn cycle(&self, part: &[NodeId]) -> Vec<NodeId> {
        let Some(start) = part.first().copied() else {
            return Vec::new();
        };
        let members: HashSet<NodeId> = part.iter().copied().collect();
        let mut came_from: HashMap<NodeId, NodeId> = HashMap::new();
        let mut open = VecDeque::from([start]);
        while let Some(id) = open.pop_front() {
            for (next, _) in self.dependencies(id) {
                if *next == start {
                    let mut path = vec![id];
                    while let Some(before) = came_from.get(path.last().unwrap_or(&start)) {
                        path.push(*before);
                    }
                    path.reverse();
                    return path;
                }
                if members.contains(next) && !came_from.contains_key(next) {
                    came_from.insert(*next, id);
                    open.push_back(*next);
                }
            }
        }
        part.to_vec()
    }

    /// An order in which each node comes after all it depends on; among free nodes the one added first goes
    /// first.
    ///
    /// # Errors
    /// The cycles, if there are any. The cost is one pass over nodes and edges (Tarjan's algorithm, with a
    /// stack of its own so that a chain of any length is fine).
    pub fn check(&self) -> Result<Vec<NodeId>, Cycles> {
        const NEW: u32 = u32::MAX;
        let count = self.len();
        let mut number = vec![NEW; count];
        let mut low = vec![0_u32; count];
        let mut on_stack = vec![false; count];
        let mut stack: Vec<NodeId> = Vec::new();
        let mut order = Vec::with_capacity(count);
        let mut cycles = Vec::new();
        let mut next_number = 0;
        let mut calls: Vec<(NodeId, usize)> = Vec::new();
        for start in 0..count {
            if number[start] != NEW {
                continue;
            }
            calls.push((NodeId(start as u32), 0));
            while let Some((id, step)) = calls.pop() {
                let at = id.index();
                if step == 0 {
                    number[at] = next_number;
                    low[at] = next_number;
                    next_number += 1;
                    stack.push(id);
                    on_stack[at] = true;
                }
                if let Some((next, _)) = self.dependencies[at].get(step) {
                    calls.push((id, step + 1));
                    if number[next.index()] == NEW {
                        calls.push((*next, 0));
                    } else if on_stack[next.index()] {
                        low[at] = low[at].min(number[next.index()]);
                    }
                    continue;
                }
                if low[at] == number[at] {
                    let mut part = Vec::new();
                    while let Some(member) = stack.pop() {
                        on_stack[member.index()] = false;
                        part.push(member);
                        if member == id {
                            break;
                        }
                    }
                    if part.len() > 1 || self.dependencies[at].iter().any(|(next, _)| *next == id) {
                        part.reverse();
                        cycles.push(part);
                    } else {
                        order.push(id);
                    }
                }
                if let Some((parent, _)) = calls.last() {
                    let parent = parent.index();
                    low[parent] = low[parent].min(low[at]);
                }
            }
        }
        if cycles.is_empty() {
            Ok(order)
        } else {
            Err(Cycles(cycles))
        }
    }
}

/// A way around in words: `a -> b -> a`.
pub(crate) fn round<T: fmt::Display>(path: &[T]) -> String {
    let mut text = String::new();
    for name in path.iter().chain(path.first()) {
        if !text.is_empty() {
            text.push_str(" -> ");
        }
        text.push_str(&name.to_string());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cycle_is_named_by_its_nodes_and_the_rest_is_not_blamed() {
        let mut graph = Graph::new();
        let ids: Vec<_> = ["a", "b", "c", "d", "e"]
            .into_iter()
            .map(|n| graph.add(n))
            .collect();
        graph.connect(ids[0], ids[1], Edge::Value);
        graph.connect(ids[1], ids[2], Edge::Value);
        graph.connect(ids[2], ids[0], Edge::Order);
        graph.connect(ids[3], ids[0], Edge::Value);
        graph.connect(ids[4], ids[4], Edge::Value);
        let cycles = graph.check().unwrap_err();
        let mut told = cycles.describe(|id| graph[id].to_owned());
        told.sort();
        assert_eq!(told, ["a, b, c", "e"]);
        graph.connect(ids[1], ids[0], Edge::Value);
        let cycles = graph.check().unwrap_err();
        let longest = cycles.0.iter().max_by_key(|part| part.len()).unwrap();
        let path: Vec<_> = graph
            .cycle(longest)
            .into_iter()
            .map(|id| graph[id])
            .collect();
        assert_eq!(round(&path), "a -> b -> a");
    }

    #[test]
    fn a_chain_of_a_million_is_ordered_without_a_deep_stack() {
        let mut graph = Graph::new();
        let ids: Vec<_> = (0..1_000_000).map(|n| graph.add(n)).collect();
        for pair in ids.windows(2) {
            graph.connect(pair[0], pair[1], Edge::Value);
        }
        let order = graph.check().unwrap();
        assert_eq!(order.first(), ids.last());
        assert_eq!(order.last(), ids.first());
    }

    #[test]
    fn reach_follows_both_directions() {
        let mut graph = Graph::new();
        let (a, b, c) = (graph.add("a"), graph.add("b"), graph.add("c"));
        graph.connect(b, a, Edge::Value);
        graph.connect(c, b, Edge::Value);
        assert_eq!(graph.reach([b], Reach::Dependencies), [true, true, false]);
        assert_eq!(graph.reach([b], Reach::Dependents), [false, true, true]);
    }
}
