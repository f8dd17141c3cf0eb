//! What each resource depends on, directly or not, as instances record it in the state.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, OnceLock};

use consort_plan::{Graph, NodeId};
use parking_lot::Mutex;

use super::blocks::Block;
use super::index::Index;
use crate::address::{ConfigResource, Mode};

/// How many names the lists of all blocks together may hold before each is cut to its share.
///
/// Terraform has no bound, and its state grows with the square of a chain's length: one of 10,000 blocks would
/// take 1.8 GB. Below this bound (a chain of 2,000) the lists are Terraform's; above it what is dropped from a
/// list is what is farthest away, which is still ordered by what lies between.
const MOST_NAMES: usize = 2_000_000;

/// The resource blocks of a configuration by their names, and what is needed to walk from one to those it
/// depends on.
pub(super) struct Dependencies {
    /// The blocks that can be depended on, in the order of their names: that of the lists.
    names: Vec<Arc<ConfigResource>>,
    /// By node: the place in `names`, or [`NOT_NAMED`].
    places: Vec<u32>,
    /// How many names a list holds at most.
    limit: OnceLock<usize>,
    search: Mutex<Search>,
    /// By node, where it was asked for and all lists are whole: the places of what it depends on, sorted.
    known: Mutex<HashMap<NodeId, Arc<[u32]>>>,
}

const NOT_NAMED: u32 = u32::MAX;

/// What one search leaves to the next, so that none has to clear or grow its tables.
#[derive(Default)]
struct Search {
    /// By node: the number of the search that came by last.
    seen: Vec<u32>,
    number: u32,
    open: VecDeque<NodeId>,
    found: Vec<u32>,
}

impl Dependencies {
    pub(super) fn new(graph: &Graph<Block<'_>>, index: &Index<'_>) -> Self {
        let mut named: Vec<(String, NodeId, ConfigResource)> = graph
            .iter()
            .filter_map(|(id, block)| match block {
                Block::Resource(ix, resource) if resource.address.mode != Mode::Ephemeral => {
                    let address = ConfigResource {
                        module: index.entry(*ix).path.clone(),
                        resource: resource.address.clone(),
                    };
                    Some((address.to_string(), id, address))
                }
                _ => None,
            })
            .collect();
        named.sort_unstable_by(|(one, ..), (other, ..)| one.cmp(other));
        let mut places = vec![NOT_NAMED; graph.len()];
        let names = named
            .into_iter()
            .enumerate()
            .map(|(place, (_, id, address))| {
                places[id.index()] = place as u32;
                Arc::new(address)
            })
            .collect();
        Dependencies {
            names,
            places,
            limit: OnceLock::new(),
            search: Mutex::default(),
            known: Mutex::default(),
        }
    }

    /// What a node depends on, sorted by name: all of it, or the nearest where that would be too much (see
    /// [`MOST_NAMES`]).
    pub(super) fn of(&self, graph: &Graph<Block<'_>>, start: NodeId) -> Arc<[Arc<ConfigResource>]> {
        let limit = *self.limit.get_or_init(|| self.limit(graph));
        let name = |place: &u32| self.names[*place as usize].clone();
        if limit == usize::MAX {
            return self.whole(graph, start).iter().map(name).collect();
        }
        let mut search = self.search.lock();
        self.search(graph, start, limit, &mut search);
        search.found.sort_unstable();
        search.found.iter().map(name).collect()
    }

    /// All that a node depends on. A link of a chain depends on what the one before does, and on that one.
    fn whole(&self, graph: &Graph<Block<'_>>, start: NodeId) -> Arc<[u32]> {
        if let Some(known) = self.known.lock().get(&start) {
            return known.clone();
        }
        let mut counts = graph
            .dependencies(start)
            .iter()
            .map(|(id, _)| *id)
            .filter(|id| {
                self.places[id.index()] != NOT_NAMED || !graph.dependencies(*id).is_empty()
            });
        let first = counts.next();
        let only = first.filter(|first| *first != start && counts.all(|other| other == *first));
        let before = only.and_then(|only| Some((only, self.known.lock().get(&only)?.clone())));
        let list: Arc<[u32]> = if let Some((only, before)) = before {
            let place = self.places[only.index()];
            match before.binary_search(&place) {
                Err(at) if place != NOT_NAMED => before[..at]
                    .iter()
                    .copied()
                    .chain([place])
                    .chain(before[at..].iter().copied())
                    .collect::<Vec<_>>()
                    .into(),
                _ => before,
            }
        } else {
            let mut search = self.search.lock();
            self.search(graph, start, usize::MAX, &mut search);
            search.found.sort_unstable();
            search.found.as_slice().into()
        };
        self.known.lock().insert(start, list.clone());
        list
    }

    /// Whether something that a node depends on, at any distance, is such a one.
    pub(super) fn any(
        &self,
        graph: &Graph<Block<'_>>,
        start: NodeId,
        is: impl Fn(&ConfigResource) -> bool,
    ) -> bool {
        let mut search = self.search.lock();
        self.search(graph, start, usize::MAX, &mut search);
        search
            .found
            .iter()
            .any(|place| is(&self.names[*place as usize]))
    }

    fn limit(&self, graph: &Graph<Block<'_>>) -> usize {
        let mut search = self.search.lock();
        let mut names = 0;
        for (id, block) in graph.iter() {
            if matches!(block, Block::Resource(_, resource) if resource.address.mode == Mode::Managed)
            {
                self.search(graph, id, usize::MAX, &mut search);
                names += search.found.len();
                if names > MOST_NAMES {
                    return (MOST_NAMES / self.names.len()).max(1);
                }
            }
        }
        usize::MAX
    }

    /// Leaves in `search` the places of what `start` depends on, nearest first, `limit` of them at most.
    fn search(&self, graph: &Graph<Block<'_>>, start: NodeId, limit: usize, search: &mut Search) {
        let Search {
            seen,
            number,
            open,
            found,
        } = search;
        seen.resize(graph.len(), 0);
        *number += 1;
        found.clear();
        open.clear();
        open.push_back(start);
        seen[start.index()] = *number;
        while let Some(id) = open.pop_front() {
            if id != start && self.places[id.index()] != NOT_NAMED {
                if found.len() == limit {
                    return;
                }
                found.push(self.places[id.index()]);
            }
            for (next, _) in graph.dependencies(id) {
                let seen = &mut seen[next.index()];
                if *seen != *number {
                    *seen = *number;
                    open.push_back(*next);
                }
            }
        }
    }
}
