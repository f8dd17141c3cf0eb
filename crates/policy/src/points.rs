//! How far changes reach: what is lost of each resource, and of what stands on it.
//!
//! All numbers are thousandths of a point, and shares are thousandths, so that nothing drifts. The graph is passed
//! over once, from what nothing stands on towards what everything stands on: what a resource passes on to those it
//! stands on is the larger of what could still be lost of itself and what its own dependents pass on, a little less
//! with each step. Members of one pool add up, never to more than the pool is worth as a whole; of everything else the
//! largest counts, not the sum, so that a thousand small things on a network do not make a large one.

use consort_plan::{Action, Blueprint, Edge};

/// No node, no pool.
const NONE: u32 = u32::MAX;

/// What of a resource counts, in thousandths of a point.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Load {
    /// What of it is lost by what is done to it.
    pub lost: u32,
    /// What could be lost of it besides, by what is done to others.
    pub left: u32,
    /// What all members of its pool are worth together; without a pool of no meaning.
    pub whole: u32,
    /// Its pool, as any number its members share and nobody else; none if it has no pool.
    pub pool: Option<u32>,
    /// How much of what stands on it is lost with it, in thousandths.
    pub down: u32,
}

impl Load {
    /// What is not there yet, and what nothing is lost of.
    pub const NOTHING: Load = Load {
        lost: 0,
        left: 0,
        whole: 0,
        pool: None,
        down: 0,
    };

    /// Of a resource that is worth so many thousandths of a point, of which and of what stands on which an action takes
    /// so many thousandths. What is not `there` yet cannot be lost by what is done to others.
    pub fn new(worth: u32, own: u32, down: u32, there: bool) -> Self {
        Load {
            lost: share(worth, own),
            left: if there {
                share(worth, 1_000_u32.saturating_sub(own))
            } else {
                0
            },
            whole: worth,
            pool: None,
            down,
        }
    }

    /// The same as a member of a pool that is worth `whole` thousandths of a point.
    #[must_use]
    pub fn in_pool(self, pool: u32, whole: u32) -> Self {
        Load {
            pool: Some(pool),
            whole,
            ..self
        }
    }
}

fn share(of: u32, thousandths: u32) -> u32 {
    u32::try_from(u64::from(of) * u64::from(thousandths) / 1_000).unwrap_or(u32::MAX)
}

/// How much of what is lost reaches over each kind of edge, in thousandths.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Passing {
    /// Over [`Edge::Value`].
    pub value: u32,
    /// Over [`Edge::Order`].
    pub order: u32,
    /// Over [`Edge::Lifecycle`].
    pub lifecycle: u32,
    /// Over [`Edge::Provider`].
    pub provider: u32,
}

impl Passing {
    fn over(&self, edge: Edge) -> u32 {
        match edge {
            Edge::Value => self.value,
            Edge::Order => self.order,
            Edge::Lifecycle => self.lifecycle,
            Edge::Provider => self.provider,
        }
    }
}

/// What stands on what: the edges of a blueprint by what they lead to.
#[derive(Clone, Debug)]
pub struct Standing {
    /// Where the dependents of a node begin in `dependents`; one more at the end.
    first: Vec<u32>,
    /// The dependents, each with what passes over the edge.
    dependents: Vec<(u32, u16)>,
}

impl Standing {
    /// Of a blueprint: a node for each change, and one for each joint after them.
    ///
    /// Left out are the edges that only say that something must be gone first.
    pub fn of(blueprint: &Blueprint, passing: &Passing) -> Self {
        let count = blueprint.changes.len() as u32;
        let gone_first = |edge: &consort_plan::BlueprintEdge| {
            edge.edge == Edge::Lifecycle
                && blueprint
                    .changes
                    .get(edge.dependency as usize)
                    .is_some_and(|change| change.action == Action::Delete)
        };
        let plain = blueprint
            .edges
            .iter()
            .filter(|edge| !gone_first(edge))
            .map(|edge| (edge.dependent, edge.dependency, passing.over(edge.edge)));
        let joints = (count..).zip(&blueprint.joints).flat_map(|(node, joint)| {
            let into = joint.dependents.iter().map(move |it| (*it, node, 1_000));
            let over = passing.over(joint.edge);
            let from = joint.dependencies.iter().map(move |it| (node, *it, over));
            into.chain(from)
        });
        let edges: Vec<_> = plain.chain(joints).collect();
        Self::new(count as usize + blueprint.joints.len(), &edges)
    }

    /// Of `nodes` nodes with edges as (dependent, dependency, what passes over it in thousandths). Edges to nodes
    /// that are not there are left out.
    pub fn new(nodes: usize, edges: &[(u32, u32, u32)]) -> Self {
        let known =
            |(a, b, _): &&(u32, u32, u32)| (*a as usize) < nodes && (*b as usize) < nodes && a != b;
        let mut first = vec![0_u32; nodes + 1];
        for (_, dependency, _) in edges.iter().filter(known) {
            first[*dependency as usize + 1] += 1;
        }
        for node in 0..nodes {
            first[node + 1] += first[node];
        }
        let mut next = first.clone();
        let mut dependents = vec![(0, 0); first[nodes] as usize];
        for (dependent, dependency, passes) in edges.iter().filter(known) {
            let place = &mut next[*dependency as usize];
            dependents[*place as usize] = (*dependent, (*passes).min(1_000) as u16);
            *place += 1;
        }
        Standing { first, dependents }
    }

    /// How many nodes there are.
    pub fn len(&self) -> usize {
        self.first.len() - 1
    }

    /// Whether there is no node.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn dependents(&self, node: u32) -> &[(u32, u16)] {
        let (from, to) = (self.first[node as usize], self.first[node as usize + 1]);
        &self.dependents[from as usize..to as usize]
    }

    /// The nodes that stand on `starts`, directly or not, and the starts themselves: each after all that stand on it.
    ///
    /// In a cycle, which no blueprint has, some order is taken. Cost: what is reached.
    pub fn reached(&self, starts: impl IntoIterator<Item = u32>) -> Vec<u32> {
        let mut seen = vec![false; self.len()];
        let mut order = Vec::new();
        let mut open: Vec<(u32, u32)> = Vec::new();
        for start in starts {
            if (start as usize) >= seen.len() || std::mem::replace(&mut seen[start as usize], true)
            {
                continue;
            }
            open.push((start, self.first[start as usize]));
            while let Some((node, at)) = open.last_mut() {
                if *at == self.first[*node as usize + 1] {
                    order.push(*node);
                    open.pop();
                    continue;
                }
                let (dependent, _) = self.dependents[*at as usize];
                *at += 1;
                if !std::mem::replace(&mut seen[dependent as usize], true) {
                    open.push((dependent, self.first[dependent as usize]));
                }
            }
        }
        order
    }

    /// What stands on each node of `order` (as [`Standing::reached`] gives it) and is not counted already: the most
    /// that is passed on to it, in thousandths of a point, and whose worth that is. `loads` are those of all nodes.
    pub fn downstream(&self, order: &[u32], loads: &[Load]) -> Downstream {
        let mut most = vec![Passed::NOTHING; self.len()];
        let mut passed = vec![Passed::NOTHING; self.len()];
        let pools = loads
            .iter()
            .filter_map(|load| load.pool)
            .max()
            .map_or(0, |last| last as usize + 1);
        let mut sums = vec![0_u32; pools];
        let mut touched: Vec<(u32, Passed)> = Vec::new();
        for node in order {
            let mut best = Passed::NOTHING;
            for (dependent, passes) in self.dependents(*node) {
                let mut from = passed[*dependent as usize];
                from.points = share(from.points, u32::from(*passes));
                if from.points == 0 {
                    continue;
                }
                match loads.get(from.witness as usize).and_then(|load| load.pool) {
                    Some(pool) => {
                        let sum = &mut sums[pool as usize];
                        if *sum == 0 {
                            touched.push((pool, from));
                        }
                        *sum = sum.saturating_add(from.points);
                    }
                    None => best = best.max(from),
                }
            }
            for (pool, mut from) in touched.drain(..) {
                let whole = loads[from.witness as usize].whole;
                from.points = std::mem::take(&mut sums[pool as usize]).min(whole);
                best = best.max(from);
            }
            most[*node as usize] = best;
            let left = loads.get(*node as usize).map_or(0, |load| load.left);
            passed[*node as usize] = best.max(Passed {
                points: left,
                witness: *node,
            });
        }
        Downstream(most)
    }
}

/// What reaches a node from what stands on it.
#[derive(Clone, Copy, Debug)]
struct Passed {
    points: u32,
    witness: u32,
}

impl Passed {
    const NOTHING: Passed = Passed {
        points: 0,
        witness: NONE,
    };

    fn max(self, other: Passed) -> Passed {
        if other.points > self.points {
            other
        } else {
            self
        }
    }
}

/// What stands on each node.
#[derive(Clone, Debug)]
pub struct Downstream(Vec<Passed>);

impl Downstream {
    /// The most that stands on a node, in thousandths of a point, and the node whose worth it is.
    pub fn of(&self, node: u32) -> Option<(u32, u32)> {
        let passed = self.0.get(node as usize)?;
        (passed.points > 0).then_some((passed.points, passed.witness))
    }
}

/// Whole points of thousandths: rounded up, but what is less than a tenth of a point is none. A change has at most 100.
pub fn whole(thousandths: u32) -> u32 {
    if thousandths < 100 {
        0
    } else {
        thousandths.div_ceil(1_000).min(100)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stands(worth: u32) -> Load {
        Load::new(worth * 1_000, 0, 0, true)
    }

    #[test]
    fn what_goes_takes_the_worthiest_of_what_stands_on_it_with_it_and_names_it() {
        // 0 network <- 1 subnet <- 2 database, 3 worker
        let standing = Standing::new(4, &[(1, 0, 900), (2, 1, 900), (3, 1, 900)]);
        let order = standing.reached([0]);
        assert_eq!(order.last(), Some(&0));
        let mut loads = [stands(5), stands(5), stands(100), stands(10)];
        let down = standing.downstream(&order, &loads);
        assert_eq!(down.of(0), Some((81_000, 2)));
        assert_eq!(down.of(2), None);
        // What is lost by a change of its own is counted there, and not once more below.
        loads[2] = Load::new(100_000, 1_000, 1_000, true);
        assert_eq!(standing.downstream(&order, &loads).of(0), Some((8_100, 3)));
    }

    #[test]
    fn members_of_a_pool_add_up_to_the_pool_and_not_beyond() {
        let member = Load::new(10_000, 0, 0, true).in_pool(0, 30_000);
        // Two ways from 0 to each of three members.
        let edges: Vec<_> = (0..3)
            .flat_map(|m| [(1, 0), (2, 0), (3 + m, 1), (3 + m, 2)])
            .map(|(a, b)| (a, b, 1_000))
            .collect();
        let standing = Standing::new(6, &edges);
        let loads = [stands(1), stands(1), stands(1), member, member, member];
        let down = standing.downstream(&standing.reached([0]), &loads);
        assert_eq!(down.of(1), Some((30_000, 3)));
        assert_eq!(down.of(0), Some((30_000, 3)));
    }

    #[test]
    fn a_cycle_and_edges_to_nowhere_end() {
        let standing = Standing::new(3, &[(0, 1, 900), (1, 0, 900), (9, 1, 900), (2, 2, 900)]);
        let order = standing.reached([0, 7]);
        assert_eq!(order.len(), 2);
        let loads = [stands(1), stands(2), stands(3)];
        assert!(standing.downstream(&order, &loads).of(0).is_some());
    }

    #[test]
    fn parts_of_points_are_rounded_up_and_traces_are_none() {
        assert_eq!(
            [0, 99, 100, 1_000, 1_001, 150_000].map(whole),
            [0, 0, 1, 1, 2, 100]
        );
    }
}
