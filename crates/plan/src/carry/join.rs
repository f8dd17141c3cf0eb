//! The steps of all parts as one graph.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::Ready;
use crate::blueprint::Blueprint;
use crate::change::Action;
use crate::graph::{Edge, Graph, NodeId, Reach};
use crate::part::{Intent, Step};

/// A node of the joined graph.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Node {
    /// A step of a part.
    Step {
        /// The place of the part.
        part: u32,
        /// Its step.
        step: NodeId,
    },
    /// Nothing to do: it is done when a part is, as far as others wait for all of it. It stands for as many edges as
    /// one part has steps times those of the other.
    Gate {
        /// The place of the part.
        part: u32,
        /// Whether it waits also for what the part deletes.
        all: bool,
    },
    /// Nothing to do either: it is done when all parts are that are to be there, but for what they delete.
    Standing,
    /// Nor here: the middle of edges from many to many.
    Joint {
        /// Its place in the blueprint.
        joint: u32,
    },
}

/// What a node is, for people.
pub(super) fn name(node: &Node, blueprint: &Blueprint, parts: &[Ready<'_>]) -> String {
    match node {
        Node::Step { part, step } => {
            let ready = &parts[*part as usize];
            format!(
                "{}/{}",
                ready.planned.name,
                ready.carrier.steps()[*step].label
            )
        }
        Node::Standing => "all that is to be there".to_owned(),
        Node::Joint { joint } => blueprint.joints[*joint as usize].label.clone(),
        Node::Gate { part, .. } => format!("all of {}", parts[*part as usize].planned.name),
    }
}

struct Join<'a, 'b> {
    blueprint: &'a Blueprint,
    parts: &'a [Ready<'b>],
    graph: Graph<Node>,
    /// By part, the node of its first step.
    first: Vec<usize>,
    gates: HashMap<(usize, bool), NodeId>,
}

/// Joins the graphs of all parts.
///
/// Where all is to be there, a step that takes an input waits for the steps that give it, a part that comes after another for
/// what that makes and changes; and what a part deletes waits for the parts that build on it, as far as they do not wait
/// for it (a service moves off its database before the database goes). Where all is to go, it is the other way round.
pub(super) fn join(blueprint: &Blueprint, parts: &[Ready<'_>]) -> Graph<Node> {
    let mut graph = Graph::new();
    let mut first = Vec::with_capacity(parts.len());
    for (place, ready) in parts.iter().enumerate() {
        let offset = graph.len();
        first.push(offset);
        let steps = ready.carrier.steps();
        for (step, _) in steps.iter() {
            graph.add(Node::Step {
                part: place as u32,
                step,
            });
        }
        for (step, _) in steps.iter() {
            for (dependency, edge) in steps.dependencies(step) {
                graph.connect(
                    NodeId::new(offset + step.index()),
                    NodeId::new(offset + dependency.index()),
                    *edge,
                );
            }
        }
    }
    let mut join = Join {
        blueprint,
        parts,
        graph,
        first,
        gates: HashMap::new(),
    };
    join.values();
    join.order();
    join.reverse();
    join.leaving();
    join.deletions();
    join.graph
}

impl Join<'_, '_> {
    fn node(&self, part: usize, step: NodeId) -> NodeId {
        NodeId::new(self.first[part] + step.index())
    }

    fn only_deletes(&self, part: usize, step: &Step) -> bool {
        let first = self.parts[part].planned.first;
        !step.changes.is_empty()
            && step.changes.iter().all(|change| {
                self.blueprint
                    .changes
                    .get((first + change) as usize)
                    .is_some_and(|change| change.action == Action::Delete)
            })
    }

    fn gate(&mut self, part: usize, all: bool) -> NodeId {
        if let Some(gate) = self.gates.get(&(part, all)) {
            return *gate;
        }
        let gate = self.graph.add(Node::Gate {
            part: part as u32,
            all,
        });
        self.gates.insert((part, all), gate);
        let parts = self.parts;
        for (step, what) in parts[part].carrier.steps().iter() {
            let counts = if all {
                !what.changes.is_empty()
            } else {
                (!what.changes.is_empty() || !what.gives.is_empty())
                    && !self.only_deletes(part, what)
            };
            if counts {
                let node = self.node(part, step);
                self.graph.connect(gate, node, Edge::Order);
            }
        }
        gate
    }

    fn roots_wait_for(&mut self, part: usize, gate: NodeId, edge: Edge) {
        let steps = self.parts[part].carrier.steps();
        for (step, _) in steps.iter() {
            if steps.dependencies(step).is_empty() {
                let node = self.node(part, step);
                self.graph.connect(node, gate, edge);
            }
        }
    }

    fn values(&mut self) {
        let parts = self.parts;
        let given: Vec<HashMap<&str, Vec<NodeId>>> = parts
            .iter()
            .map(|ready| {
                let mut given: HashMap<&str, Vec<NodeId>> = HashMap::new();
                for (step, what) in ready.carrier.steps().iter() {
                    for name in &what.gives {
                        given.entry(name).or_default().push(step);
                    }
                }
                given
            })
            .collect();
        for (place, ready) in parts.iter().enumerate() {
            if ready.intent == Intent::Destroy {
                // It goes with the values it was made with.
                continue;
            }
            for (step, what) in ready.carrier.steps().iter() {
                let node = self.node(place, step);
                for name in &what.takes {
                    let Some((giver, output)) = ready.inputs.get(name) else {
                        continue;
                    };
                    if let Some(steps) = given[*giver].get(output.as_str()) {
                        for step in steps {
                            let dependency = self.node(*giver, *step);
                            self.graph.connect(node, dependency, Edge::Value);
                        }
                    } else {
                        // No step says that it gives it: whoever is done last does.
                        let gate = self.gate(*giver, false);
                        self.graph.connect(node, gate, Edge::Value);
                    }
                }
            }
        }
    }

    fn order(&mut self) {
        let parts = self.parts;
        for (place, ready) in parts.iter().enumerate() {
            if ready.intent == Intent::Apply {
                for after in &ready.after {
                    let gate = self.gate(*after, false);
                    self.roots_wait_for(place, gate, Edge::Order);
                }
            }
        }
    }

    /// A part that is no longer described goes when all that is to be there is: what another part has taken over from it
    /// changes hands before it would be deleted.
    fn leaving(&mut self) {
        let parts = self.parts;
        let (stay, go): (Vec<usize>, Vec<usize>) =
            (0..parts.len()).partition(|place| parts[*place].intent == Intent::Apply);
        if stay.is_empty() || go.is_empty() {
            return;
        }
        let standing = self.graph.add(Node::Standing);
        for place in stay {
            let gate = self.gate(place, false);
            self.graph.connect(standing, gate, Edge::Order);
        }
        for place in go {
            self.roots_wait_for(place, standing, Edge::Lifecycle);
        }
    }

    /// The parts that build on others, each with one of those.
    fn pairs(&self) -> BTreeSet<(usize, usize)> {
        self.parts
            .iter()
            .enumerate()
            .flat_map(|(place, ready)| {
                let takes = ready.inputs.values().map(|(giver, _)| *giver);
                takes
                    .chain(ready.after.iter().copied())
                    .filter(move |on| *on != place)
                    .map(move |on| (place, on))
            })
            .collect()
    }

    fn both_go(&self, part: usize, on: usize) -> bool {
        self.parts[part].intent == Intent::Destroy && self.parts[on].intent == Intent::Destroy
    }

    fn deletions(&mut self) {
        let parts = self.parts;
        for (part, on) in self.pairs() {
            if self.both_go(part, on) {
                continue;
            }
            let deletes: Vec<NodeId> = parts[on]
                .carrier
                .steps()
                .iter()
                .filter(|(_, step)| self.only_deletes(on, step))
                .map(|(step, _)| self.node(on, step))
                .collect();
            if deletes.is_empty() {
                continue;
            }
            let gate = self.gate(part, true);
            let awaited = self.graph.reach([gate], Reach::Dependencies);
            for delete in deletes {
                if !awaited[delete.index()] {
                    self.graph.connect(delete, gate, Edge::Lifecycle);
                }
            }
        }
    }

    /// Where two parts go, what a resource of the one needs of the other goes after it.
    fn reverse(&mut self) {
        let parts = self.parts;
        let going = parts.iter().filter(|ready| ready.intent == Intent::Destroy);
        if going.count() < 2 {
            return;
        }
        let changes = self.blueprint.changes.len();
        let mut part_of = vec![usize::MAX; changes];
        let mut steps_of: Vec<Vec<NodeId>> = vec![Vec::new(); changes];
        for (place, ready) in parts.iter().enumerate() {
            let first = ready.planned.first as usize;
            let end = (first + ready.planned.count as usize).min(changes);
            part_of[first.min(end)..end].fill(place);
            for (step, what) in ready.carrier.steps().iter() {
                let node = self.node(place, step);
                for change in &what.changes {
                    if let Some(steps) = steps_of.get_mut(first + *change as usize) {
                        steps.push(node);
                    }
                }
            }
        }
        let pairs = self.pairs();
        let mut joined = HashSet::new();
        for edge in &self.blueprint.edges {
            let (dependent, dependency) = (edge.dependent as usize, edge.dependency as usize);
            let (Some(part), Some(on)) = (part_of.get(dependent), part_of.get(dependency)) else {
                continue;
            };
            if part == on || !self.both_go(*part, *on) {
                continue;
            }
            joined.insert((*part, *on));
            for waits in &steps_of[dependency] {
                for goes in &steps_of[dependent] {
                    self.graph.connect(*waits, *goes, Edge::Lifecycle);
                }
            }
        }
        for (place, joint) in self.blueprint.joints.iter().enumerate() {
            let by_part = |places: &[u32]| {
                let mut nodes: BTreeMap<usize, Vec<NodeId>> = BTreeMap::new();
                for change in places {
                    if let Some(part) = part_of.get(*change as usize)
                        && *part != usize::MAX
                    {
                        let steps = nodes.entry(*part).or_default();
                        steps.extend(&steps_of[*change as usize]);
                    }
                }
                nodes
            };
            let dependencies = by_part(&joint.dependencies);
            for (part, go) in by_part(&joint.dependents) {
                for (on, wait) in &dependencies {
                    if part == *on || !self.both_go(part, *on) {
                        continue;
                    }
                    joined.insert((part, *on));
                    let middle = self.graph.add(Node::Joint {
                        joint: place as u32,
                    });
                    for node in &go {
                        self.graph.connect(middle, *node, Edge::Lifecycle);
                    }
                    for node in wait {
                        self.graph.connect(*node, middle, Edge::Lifecycle);
                    }
                }
            }
        }
        for (part, on) in pairs {
            if self.both_go(part, on)
                && (!joined.contains(&(part, on)) || parts[part].after.contains(&on))
            {
                let gate = self.gate(part, true);
                self.roots_wait_for(on, gate, Edge::Lifecycle);
            }
        }
    }
}
