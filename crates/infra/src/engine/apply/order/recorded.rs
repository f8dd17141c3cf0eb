//! What the state recorded of the dependencies of the objects to be deleted, without what follows from the
//! rest.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Group, stored};
use crate::address::ConfigResource;
use crate::engine::change::Plan;
use crate::state::pointers::{ByPointer, place};

/// A resource block that something depended on.
pub(super) struct Name {
    pub(super) block: ConfigResource,
    /// The groups of its objects.
    pub(super) groups: Vec<usize>,
}

/// The recorded dependencies of all groups. Names are numbers: the lists of a long chain hold millions.
pub(super) struct Recorded {
    pub(super) names: Vec<Name>,
    ids: HashMap<ConfigResource, u32>,
    by_pointer: ByPointer<u32>,
    /// By group: what its objects depended on.
    lists: Vec<Vec<u32>>,
    /// By name: the number of the mark that it was given last.
    marks: Vec<u32>,
    mark: u32,
}

impl Recorded {
    pub(super) fn new(plan: &Plan, groups: &[Group<'_>]) -> Self {
        let mut recorded = Recorded {
            names: Vec::new(),
            ids: HashMap::new(),
            by_pointer: ByPointer::default(),
            lists: Vec::with_capacity(groups.len()),
            marks: Vec::new(),
            mark: 0,
        };
        for (at, group) in groups.iter().enumerate() {
            let id = recorded.id_of(&group.block);
            recorded.names[id as usize].groups.push(at);
        }
        for group in groups {
            let mut last = 0;
            let mut all = Vec::new();
            recorded.mark += 1;
            for object in group
                .changes
                .iter()
                .filter_map(|change| stored(plan, change))
            {
                // The instances of a block share their list, most times.
                if std::mem::replace(&mut last, place(&object.dependencies))
                    == place(&object.dependencies)
                {
                    continue;
                }
                for dependency in object.dependencies.iter() {
                    let id = recorded.id(dependency);
                    if !recorded.is_marked(id) {
                        recorded.marks[id as usize] = recorded.mark;
                        all.push(id);
                    }
                }
            }
            recorded.lists.push(all);
        }
        recorded
    }

    /// The number of a block that lists share. The plan, which outlives this, holds them.
    pub(super) fn id(&mut self, block: &Arc<ConfigResource>) -> u32 {
        if let Some(id) = self.by_pointer.get(&place(block)) {
            return *id;
        }
        let id = self.id_of(block);
        self.by_pointer.insert(place(block), id);
        id
    }

    fn id_of(&mut self, block: &ConfigResource) -> u32 {
        if let Some(id) = self.ids.get(block) {
            return *id;
        }
        let id = self.names.len() as u32;
        self.ids.insert(block.clone(), id);
        self.names.push(Name {
            block: block.clone(),
            groups: Vec::new(),
        });
        self.marks.push(0);
        id
    }

    /// Marks what is in a list, and nothing else.
    pub(super) fn mark(&mut self, list: &[Arc<ConfigResource>]) {
        self.mark += 1;
        for block in list {
            let id = self.id(block);
            self.marks[id as usize] = self.mark;
        }
    }

    pub(super) fn is_marked(&self, id: u32) -> bool {
        self.marks[id as usize] == self.mark
    }

    /// What the objects of a group depended on, but for what another of its dependencies depended on: where
    /// that goes too, by the same provider, its own edges say the rest.
    pub(super) fn needed(&mut self, at: usize, groups: &[Group<'_>]) -> Vec<u32> {
        let list = &self.lists[at];
        let group = &groups[at];
        // Where old objects go after new ones, edges between them do not follow from each other.
        if group.after || list.len() < 2 {
            return list.clone();
        }
        let speaks = |name: u32| -> Option<usize> {
            self.names[name as usize]
                .groups
                .iter()
                .copied()
                .filter(|other| {
                    let found = &groups[*other];
                    *other != at && !found.after && found.provider == group.provider
                })
                .max_by_key(|other| self.lists[*other].len())
        };
        let mut others: Vec<usize> = list.iter().filter_map(|name| speaks(*name)).collect();
        // Those with the longest lists first: what a chain depended on is all in one.
        if let Some(longest) = (0..others.len()).max_by_key(|at| self.lists[others[*at]].len()) {
            others.swap(0, longest);
        }
        self.mark += 1;
        let mark = self.mark;
        let mut sorted = false;
        let mut next = 0;
        while next < others.len() {
            let other = others[next];
            next += 1;
            let own = self.ids[&groups[other].block];
            if self.marks[own as usize] == mark {
                continue;
            }
            for name in &self.lists[other] {
                self.marks[*name as usize] = mark;
            }
            if !sorted {
                sorted = true;
                let marks = &self.marks;
                let ids = &self.ids;
                let mut rest: Vec<usize> = others
                    .drain(next..)
                    .filter(|other| marks[ids[&groups[*other].block] as usize] != mark)
                    .collect();
                rest.sort_unstable_by_key(|other| std::cmp::Reverse(self.lists[*other].len()));
                others.extend(rest);
            }
        }
        list.iter()
            .copied()
            .filter(|name| self.marks[*name as usize] != mark)
            .collect()
    }
}
