//! What tasks set and no task names any more: shown, and undone where that is asked for.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::Path;

use consort_plan::{Action, Address, Change, Planned, Problem, Reversal};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use super::Playbooks;
use super::described::reversal;
use super::identity::{self, family, named};
use super::outputs;
use super::record::{HostRecord, Thing};
use super::told::Deed;
use crate::language::Playbook;
use crate::output::Status;

/// Something that is to be undone.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Undo {
    /// The place of its change.
    pub(super) change: u32,
    pub(super) host: String,
    pub(super) module: String,
    pub(super) arguments: Map<String, Json>,
    pub(super) becomes: Option<String>,
    /// What is remembered of it.
    pub(super) address: String,
    pub(super) item: Option<String>,
}

/// A host that is to be forgotten.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Forgotten {
    pub(super) change: u32,
    pub(super) host: String,
}

/// What is to be done about what is no longer declared.
#[derive(Debug, Default)]
pub(super) struct Leftovers {
    pub(super) changes: Vec<Change>,
    /// Their places count from the first of `changes`.
    pub(super) undo: Vec<Undo>,
    pub(super) forgotten: Vec<Forgotten>,
    pub(super) warnings: Vec<Problem>,
}

impl Leftovers {
    /// Plans that a thing is undone, by the module and the arguments that do so.
    fn undo(
        &mut self,
        host: &str,
        thing: &Thing,
        (module, arguments): (String, Map<String, Json>),
        change: Change,
    ) {
        self.undo.push(Undo {
            change: self.changes.len() as u32,
            host: host.to_owned(),
            module,
            arguments,
            becomes: thing.becomes.clone(),
            address: thing.address.clone(),
            item: thing.item.clone(),
        });
        self.changes.push(change);
    }
}

/// The tasks that are known before a run: by file, the names that are written there; none for a name that is a template.
struct Written(BTreeMap<String, HashSet<Option<String>>>);

impl Written {
    fn of(playbooks: &[Playbook], root: &Path) -> Self {
        let mut written: BTreeMap<String, HashSet<Option<String>>> = BTreeMap::new();
        for play in playbooks.iter().flat_map(|playbook| &playbook.plays) {
            outputs::tasks(play, &mut |task| {
                let Some(location) = super::told::location(task, root) else {
                    return;
                };
                let name = match task.name() {
                    Some(name) => consort_jinja::repr::text(name),
                    None => task.action.written.to_string(),
                };
                let name = (!name.contains("{{")).then_some(name);
                written.entry(location.file).or_default().insert(name);
            });
        }
        Written(written)
    }

    /// Whether a task may still be there.
    fn has(&self, thing: &Thing) -> bool {
        let Some(location) = &thing.location else {
            return false;
        };
        let Some(names) = self.0.get(&location.file) else {
            return false;
        };
        names.iter().any(|name| match name {
            None => true,
            Some(name) => {
                thing.task == *name
                    || thing
                        .task
                        .strip_suffix(name.as_str())
                        .is_some_and(|role| role.ends_with(" : "))
            }
        })
    }
}

impl Playbooks {
    /// What is remembered and no task of the plan names. `hosts` are those of the inventory, `lost` those that could not be
    /// asked.
    pub(super) fn leftovers(
        &self,
        records: &[HostRecord],
        deeds: &[Deed],
        playbooks: &[Playbook],
        hosts: &dyn Fn(&str) -> bool,
        lost: &dyn Fn(&str) -> bool,
    ) -> Leftovers {
        let written = Written::of(playbooks, &self.root);
        let mut leftovers = Leftovers::default();
        let mut names: HashSet<String> = deeds.iter().map(|deed| deed.local.clone()).collect();
        let mut stay = Vec::new();
        for record in records {
            if !hosts(&record.host) {
                let place = leftovers.changes.len() as u32;
                leftovers.changes.push(self.forgetting(&record.host));
                leftovers.forgotten.push(Forgotten {
                    change: place,
                    host: record.host.clone(),
                });
                continue;
            }
            if lost(&record.host) {
                continue;
            }
            for thing in self.undeclared(record, deeds, &written) {
                match identity::inverse(thing).filter(|_| self.spec.prune) {
                    Some(inverse) => {
                        let change = self.undoing(&record.host, thing, &mut names);
                        leftovers.undo(&record.host, thing, inverse, change);
                    }
                    None => stay.push((record.host.as_str(), thing)),
                }
            }
        }
        if !stay.is_empty() {
            leftovers.warnings.push(self.staying(&stay));
        }
        leftovers
    }

    /// What is remembered of a host and no longer declared.
    fn undeclared<'r>(
        &self,
        record: &'r HostRecord,
        deeds: &[Deed],
        written: &Written,
    ) -> Vec<&'r Thing> {
        let own: Vec<&Deed> = deeds
            .iter()
            .filter(|deed| *deed.host == *record.host)
            .collect();
        let mut declared: BTreeSet<(String, String)> = BTreeSet::new();
        for deed in &own {
            for piece in deed.pieces.iter().filter(|piece| !piece.skipped) {
                let identity = identity::of(deed.leaf(), &piece.arguments);
                declared.insert(key(&deed.action, &identity));
            }
        }
        let open = own.iter().any(|deed| {
            deed.includes && deed.status == Status::Skipped || deed.unforeseen.is_some()
        });
        let files: HashSet<&str> = own
            .iter()
            .filter_map(|deed| deed.location.as_ref())
            .map(|location| location.file.as_str())
            .collect();
        record
            .things
            .iter()
            .filter(|thing| !thing.identity.is_empty() && thing.made)
            .filter(|thing| !declared.contains(&key(&thing.module, &thing.identity)))
            .filter(|thing| {
                let address = thing.address.trim_end_matches(" (before)");
                let task = own.iter().find(|deed| deed.local == address);
                match task {
                    // It is there, and names something else now, unless it was left out, or is not known yet.
                    Some(deed) => deed.status == Status::Ok && deed.unforeseen.is_none(),
                    None if written.has(thing) => false,
                    None => {
                        let file = thing.location.as_ref().map(|location| &*location.file);
                        // It may stand in what was not included this time.
                        let hidden = open
                            && file.is_some_and(|file| {
                                !files.contains(file) && self.root.join(file).exists()
                            });
                        !hidden
                    }
                }
            })
            .collect()
    }

    fn forgetting(&self, host: &str) -> Change {
        Change {
            address: Address::new(
                &self.name,
                &super::told::local(host, "all that is remembered", 1),
            ),
            kind: "host".to_owned(),
            action: Action::Forget,
            before: Some(Planned::known(serde_json::json!({"host": host}))),
            after: None,
            replaces: Vec::new(),
            reasons: vec!["the host is not in the inventory any more".to_owned()],
            moved_from: None,
            drift: Vec::new(),
            reversal: Reversal::Reversible,
            location: None,
        }
    }

    fn undoing(&self, host: &str, thing: &Thing, names: &mut HashSet<String>) -> Change {
        let mut local = thing.address.clone();
        if let Some(item) = &thing.item {
            local = format!("{local}[{}]", Json::from(item.as_str()));
        }
        while !names.insert(local.clone()) {
            local.push_str(" (before)");
        }
        let mut fields: Map<String, Json> = thing
            .identity
            .iter()
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        fields.insert("host".to_owned(), Json::from(host));
        let leaf = family(&thing.module);
        Change {
            address: Address::new(&self.name, &local),
            kind: thing.module.clone(),
            action: Action::Delete,
            before: Some(Planned::known(Json::Object(fields))),
            after: None,
            replaces: Vec::new(),
            reasons: vec![format!("no longer declared: {}", named(thing))],
            moved_from: None,
            drift: Vec::new(),
            reversal: reversal(leaf, Action::Delete),
            location: thing.location.clone(),
        }
    }

    /// What stays although no task names it any more.
    fn staying(&self, stay: &[(&str, &Thing)]) -> Problem {
        const SHOWN: usize = 20;
        let mut lines: Vec<String> = stay
            .iter()
            .take(SHOWN)
            .map(|(host, thing)| {
                let why = if self.spec.prune {
                    ", which nothing undoes"
                } else {
                    ""
                };
                format!("{host}: {}, set by {}{why}", named(thing), thing.task)
            })
            .collect();
        if stay.len() > SHOWN {
            lines.push(format!("and {} more", stay.len() - SHOWN));
        }
        let (things, are) = if stay.len() == 1 {
            ("thing that a task made is", "it stays")
        } else {
            ("things that tasks made are", "they stay")
        };
        Problem {
            detail: lines.join("\n"),
            hint: (!self.spec.prune)
                .then(|| "prune: true in the part undoes what can be undone".to_owned()),
            ..self.problem(format!("{} {things} no longer declared; {are}", stay.len()))
        }
    }

    /// The plan of a part that is to go: what tasks made is undone where that is asked for, and all is forgotten.
    pub(super) fn going(&self, records: &[HostRecord]) -> Leftovers {
        let mut leftovers = Leftovers::default();
        let mut names = HashSet::new();
        for record in records {
            if self.spec.prune {
                for thing in record.things.iter().rev() {
                    let Some(inverse) = identity::inverse(thing) else {
                        continue;
                    };
                    let change = self.undoing(&record.host, thing, &mut names);
                    leftovers.undo(&record.host, thing, inverse, change);
                }
            }
            let place = leftovers.changes.len() as u32;
            let mut change = self.forgetting(&record.host);
            change.reasons =
                vec!["what tasks set there stays, and is not looked after any more".to_owned()];
            leftovers.changes.push(change);
            leftovers.forgotten.push(Forgotten {
                change: place,
                host: record.host.clone(),
            });
        }
        leftovers
    }
}

fn key(module: &str, identity: &BTreeMap<String, Json>) -> (String, String) {
    // What a path is to be is no part of which path it is: a directory in the place of a file is the same thing.
    let known: BTreeMap<&String, &Json> = identity
        .iter()
        .filter(|(name, _)| *name != "state")
        .collect();
    let text = serde_json::to_string(&known).unwrap_or_default();
    (family(module).to_owned(), text)
}
