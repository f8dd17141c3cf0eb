//! What is made of what a run tells while a plan is carried out.

use std::collections::{HashMap, HashSet};

use consort_plan::{Address, Problem, Progress};

use super::carrying::Carrying;
use super::remembered::Remembered;
use super::told::{Deed, Heard};
use super::values::Hidden;
use crate::output::{Stats, Status};

/// What a walk over the tasks of one run keeps.
pub(super) struct Walk<'w> {
    pub(super) carrying: &'w Carrying<'w>,
    pub(super) progress: &'w dyn Progress,
    /// The places of changes by their names.
    pub(super) places: HashMap<String, u32>,
    /// By host that was not known when it was planned, the change that stands for all that is done on it.
    pub(super) standing: HashMap<String, u32>,
    /// Those that were told of.
    pub(super) told: HashSet<u32>,
    /// Those that belong to other steps.
    pub(super) left: HashSet<u32>,
    /// By host, the task it failed at.
    pub(super) failed: HashMap<String, Address>,
    pub(super) problems: Vec<Problem>,
    /// What changed although the plan did not have it.
    pub(super) beside: Vec<String>,
    pub(super) hidden: Hidden,
    pub(super) stats: Stats,
    pub(super) remembered: Remembered<'w>,
}

impl Walk<'_> {
    /// Takes in what the run tells.
    pub(super) fn hear(&mut self, heard: Heard) {
        match heard {
            Heard::Began { local, host, task } => {
                if let Some(place) = self.places.get(&local) {
                    self.progress.began(*place);
                } else if let Some(place) = self.standing.get(&*host) {
                    self.progress.note(*place, &task);
                }
            }
            Heard::Again { local, text } => {
                if let Some(place) = self.places.get(&local) {
                    self.progress.note(*place, &text);
                }
            }
            Heard::Did(deed) => self.did(&deed),
            Heard::Warning(text) => {
                let text = self.hidden.taken_out(&text);
                let problem = self.carrying.part.problem(text);
                let mut warnings = self.carrying.warnings.lock();
                if warnings.len() < 100 && !warnings.contains(&problem) {
                    warnings.push(problem);
                }
            }
            Heard::Ended(stats) => self.stats = *stats,
        }
    }

    fn did(&mut self, deed: &Deed) {
        self.remembered.take_in(deed);
        let place = self.places.get(&deed.local).copied();
        if deed.fails() {
            let mut problem = self.carrying.part.failure(deed, &self.hidden);
            problem.transient = deed.status == Status::Unreachable;
            // What only looks has no place in the plan: the first thing it keeps from being done fails.
            if let Some(place) = place.or_else(|| self.next_of(&deed.host)) {
                self.told.insert(place);
                self.failed
                    .insert(deed.host.to_string(), self.address(place));
                self.progress.failed(place, problem.clone());
            } else {
                self.failed.insert(
                    deed.host.to_string(),
                    Address::new(&self.carrying.part.name, &deed.local),
                );
            }
            self.problems.push(problem);
            return;
        }
        match place {
            Some(place) => {
                self.told.insert(place);
                if deed.rescued {
                    self.progress
                        .note(place, "it failed, and the block deals with that");
                }
                self.progress.done(place);
            }
            None if deed.changed && deed.counts() => self.beside.push(deed.local.clone()),
            None => {}
        }
    }

    /// The first change on a host of which nothing was told yet.
    fn next_of(&self, host: &str) -> Option<u32> {
        (0_u32..)
            .zip(&self.carrying.changes)
            .filter(|(place, _)| !self.told.contains(place) && !self.left.contains(place))
            .find(|(_, change)| change.action.changes() && change.address.before_key() == host)
            .map(|(place, _)| place)
    }

    fn address(&self, place: u32) -> Address {
        self.carrying.changes[place as usize].address.clone()
    }

    /// What was not told of: it was not done on hosts that failed before, and there was nothing to do on others.
    pub(super) fn rest(&mut self, ended: bool) {
        let carrying = self.carrying;
        for (place, change) in (0_u32..).zip(&carrying.changes) {
            if self.told.contains(&place) || self.left.contains(&place) {
                continue;
            }
            let host = change.address.before_key();
            match self.failed.get(host) {
                Some(address) => self.progress.skipped(place, Some(address)),
                None if ended => self.progress.done(place),
                None => self.progress.skipped(place, None),
            }
        }
    }
}
