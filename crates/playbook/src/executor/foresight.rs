//! Check mode as a plan: what cannot be told before it is done is said to be so, and the run goes on.
//!
//! A run in check mode ends at the first thing that needs what an earlier task would have made, and passes over what has no
//! check mode. A plan has to show what comes after. So with a [`Foresight`] a task whose result cannot be known beforehand is
//! neither skipped nor failed but *unforeseen*: it counts as changing something (unless it is of a kind that never does), its
//! handlers are notified, and what it registers is an [unknown](crate::template::unknown) value. What uses that is unforeseen
//! in its turn. A failure counts as one only on a host that nothing was planned to change on before; but a name that nothing
//! sets is wrong wherever it stands.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use consort_jinja::{Dict, Key, Str, Value};
use parking_lot::Mutex;

use super::effects::Layer;
use super::keyword::Keywords;
use super::reach::Settled;
use super::result::Outcome;
use super::work::Work;
use crate::action::Failure;
use crate::language::{Directive, Task};
use crate::source::Located;
use crate::template;
use crate::variables::TaskVariables;

/// Actions that change nothing on any machine, whatever comes of them.
const NEVER_CHANGE: &[&str] = &[
    "add_host",
    "assert",
    "async_status",
    "debug",
    "fail",
    "fetch",
    "find",
    "gather_facts",
    "getent",
    "group_by",
    "include_vars",
    "package_facts",
    "pause",
    "ping",
    "service_facts",
    "set_fact",
    "set_stats",
    "setup",
    "slurp",
    "stat",
    "validate_argument_spec",
    "wait_for",
    "wait_for_connection",
];

/// Actions that set variables of which nobody knows the names before they are done.
const SET_NAMES: &[&str] = &[
    "add_host",
    "getent",
    "group_by",
    "include_vars",
    "mount_facts",
    "package_facts",
    "service_facts",
];

/// Actions that only wait: nothing is learnt by waiting for what has not been done.
const WAIT: &[&str] = &["pause", "wait_for", "wait_for_connection"];

/// What a run in check mode knows of what cannot be known yet.
#[derive(Debug, Default)]
pub struct Foresight {
    /// Machines that cannot be asked, and why.
    lost: Mutex<HashMap<Arc<str>, Arc<str>>>,
    /// Those of them that are not there yet.
    absent: HashSet<Arc<str>>,
    /// Names that tasks set.
    set: HashSet<String>,
    /// Hosts for which something sets names that cannot be known yet.
    open: Mutex<HashSet<Arc<str>>>,
    /// Hosts on which something is to be changed by what came before.
    changing: Mutex<HashSet<Arc<str>>>,
}

impl Foresight {
    /// With the machines that are not there yet, and why; and the names that tasks set (`register`, `set_fact`).
    pub fn new(
        not_there: impl IntoIterator<Item = (Arc<str>, Arc<str>)>,
        set: HashSet<String>,
    ) -> Self {
        let lost: HashMap<Arc<str>, Arc<str>> = not_there.into_iter().collect();
        Foresight {
            absent: lost.keys().cloned().collect(),
            lost: Mutex::new(lost),
            set,
            ..Foresight::default()
        }
    }

    /// Whether a machine is not there yet, as far as is known.
    pub fn is_absent(&self, host: &str) -> bool {
        self.absent.contains(host)
    }

    /// The machines that were to be asked and did not answer, with what was said.
    pub fn silent(&self) -> Vec<(Arc<str>, Arc<str>)> {
        let lost = self.lost.lock();
        let mut silent: Vec<_> = lost
            .iter()
            .filter(|(host, _)| !self.absent.contains(*host))
            .map(|(host, why)| (Arc::clone(host), Arc::clone(why)))
            .collect();
        silent.sort();
        silent
    }

    /// Whether a name that is not defined may be when the plan is carried out.
    fn may_come(&self, host: &str, name: &str) -> bool {
        self.set.contains(name)
            || self.absent.contains(host)
            || self.lost.lock().contains_key(host) && name.starts_with("ansible_")
            || self.open.lock().contains(host)
    }

    /// Why a machine cannot be asked; none if it can be, as far as is known.
    pub fn lost(&self, host: &str) -> Option<Arc<str>> {
        self.lost.lock().get(host).cloned()
    }

    fn is_changing(&self, host: &str) -> bool {
        self.changing.lock().contains(host) || self.lost.lock().contains_key(host)
    }

    fn change(&self, host: &Arc<str>) {
        self.changing.lock().insert(Arc::clone(host));
    }

    fn lose(&self, host: &Arc<str>, why: &str) {
        self.lost
            .lock()
            .entry(Arc::clone(host))
            .or_insert_with(|| Arc::from(why));
    }
}

/// Whether an action by its name changes nothing on any machine.
pub fn never_changes(action: &str) -> bool {
    NEVER_CHANGE.contains(&leaf(action))
}

fn leaf(action: &str) -> &str {
    action
        .strip_prefix("ansible.builtin.")
        .or_else(|| action.strip_prefix("ansible.legacy."))
        .unwrap_or(action)
}

/// The action of a task that waits, and is not waited for here.
pub(super) fn passes_over(action: &str) -> Option<Outcome> {
    WAIT.contains(&leaf(action)).then(|| {
        let mut outcome = Outcome::default();
        outcome.unforeseen = Some("it waits for what is not done yet".to_owned());
        outcome.set_changed(false);
        outcome
    })
}

/// Of a task that is tried until it goes well, and did not: nobody waits for that here.
pub(super) fn not_yet(outcome: &mut Outcome) {
    if outcome.failed() && outcome.unforeseen.is_none() {
        let changes = outcome.changed();
        *outcome = Outcome::default();
        outcome.unforeseen = Some("it is tried until it goes well".to_owned());
        outcome.set_changed(changes);
    }
}

impl Work {
    /// Finds out whether a result is one that cannot be known beforehand, and makes it such.
    pub(super) fn foresee(&self, outcome: &mut Outcome, variables: &TaskVariables) {
        let Some(foresight) = &self.run.options.foresight else {
            return;
        };
        if outcome.unforeseen.is_none() {
            let Some(reason) = self.reason(foresight, outcome) else {
                if outcome.changed() && !outcome.failed() && !outcome.unreachable() {
                    foresight.change(&self.host);
                    if let Some(delegated) = &outcome.delegated {
                        foresight.change(delegated);
                    }
                }
                return;
            };
            let item = outcome.item.take();
            let delegated = outcome.delegated.take();
            let arguments = outcome.arguments.take();
            let no_log = outcome.no_log;
            *outcome = Outcome::default();
            outcome.unforeseen = Some(reason);
            outcome.item = item;
            outcome.delegated = delegated;
            outcome.arguments = arguments;
            outcome.no_log = no_log;
            let task = &self.plan.task;
            self.open(foresight);
            let action = leaf(&task.action.name);
            if matches!(action, "setup" | "gather_facts") {
                let facts = template::unknown("ansible_facts");
                outcome.registered.push((Str::new("ansible_facts"), facts));
            }
            let changes = !never_changes(&task.action.name) && self.may_change(variables);
            outcome.set_changed(changes);
            if action == "set_fact" {
                let facts = unknown_facts(task);
                outcome.variables.insert(Layer::SetFact, facts);
            }
            if let Ok(settled) = Settled::of(self, variables) {
                outcome.notify = settled.notify;
            }
        }
        if outcome.changed() {
            foresight.change(&self.host);
        }
    }

    /// Notes that names may come that cannot be known yet.
    fn open(&self, foresight: &Foresight) {
        let action = &self.plan.task.action;
        let builtin = leaf(&action.name);
        let of_others = builtin.contains('.') && !action.includes();
        if !(action.includes() || of_others || SET_NAMES.contains(&builtin)) {
            return;
        }
        let mut open = foresight.open.lock();
        if matches!(builtin, "add_host" | "group_by")
            || self.plan.keyword(Directive::RunOnce).is_some()
        {
            open.extend(
                self.play.store().inventory(|inventory| {
                    inventory.hosts.keys().cloned().collect::<Vec<Arc<str>>>()
                }),
            );
        }
        open.insert(Arc::clone(&self.host));
    }

    /// Why a result cannot be known beforehand; none if it is one.
    fn reason(&self, foresight: &Foresight, outcome: &Outcome) -> Option<String> {
        let said = || match (&outcome.error, &outcome.msg) {
            (Some(error), _) => error.brief(),
            (None, Some(msg)) => consort_jinja::repr::text(msg),
            (None, None) => String::new(),
        };
        if outcome.unreachable() {
            let machine = outcome.delegated.as_ref().unwrap_or(&self.host);
            let said = said();
            let said = said
                .strip_prefix("Task failed: ")
                .unwrap_or(&said)
                .to_owned();
            foresight.lose(machine, &said);
            return Some(match foresight.lost(machine) {
                Some(why) => why.to_string(),
                None => said,
            });
        }
        if outcome.failed() {
            let unknown = outcome.error.as_ref().is_some_and(Located::is_of_unknown);
            if unknown {
                return outcome
                    .error
                    .as_ref()
                    .map(|error| deepest(error).to_owned());
            }
            if let Some(name) = outcome.error.as_ref().map(deepest).and_then(undefined) {
                let lost = foresight.lost(&self.host).is_some();
                let waits =
                    foresight.may_come(&self.host, name) && foresight.is_changing(&self.host);
                return waits.then(|| {
                    if lost {
                        format!("'{name}' is {}", template::KNOWN_LATER)
                    } else {
                        format!("'{name}' is undefined")
                    }
                });
            }
            return foresight
                .is_changing(&self.host)
                .then(|| match &outcome.error {
                    Some(error) => deepest(error).to_owned(),
                    None => said(),
                });
        }
        if outcome.skipped() && outcome.items.is_none() {
            let said = said();
            return said.contains("check mode").then_some(said);
        }
        None
    }

    /// Whether the task may change something, as far as `changed_when` says that whatever comes of it.
    fn may_change(&self, variables: &TaskVariables) -> bool {
        if self.plan.changed_when.is_empty() {
            return true;
        }
        for (name, _) in &self.plan.register {
            variables.set_local(name, template::unknown(name));
        }
        let keywords = Keywords {
            templar: &self.run.templar,
            variables,
            task: Some(&self.plan.task),
        };
        for condition in &self.plan.changed_when {
            match keywords.templar.conditional(condition, keywords.variables) {
                Ok(true) => {}
                Ok(false) => return false,
                Err(_) => return true,
            }
        }
        true
    }
}

/// The name that is not defined, if that is what is said.
fn undefined(said: &str) -> Option<&str> {
    let name = said.strip_prefix('\'')?.strip_suffix("' is undefined")?;
    let plain = name.chars().all(|c| c.is_alphanumeric() || c == '_');
    plain.then_some(name)
}

/// What an error comes from in the end.
fn deepest(error: &Located) -> &str {
    let mut error = error;
    while let Some(cause) = error.cause() {
        error = cause;
    }
    error.message()
}

/// The variables a task would have set.
fn unknown_facts(task: &Task) -> Dict {
    let entries = task
        .action
        .arguments
        .read()
        .keys()
        .filter_map(Key::as_str)
        .filter(|name| !matches!(*name, "cacheable" | "_raw_params"))
        .map(|name| (name.to_owned(), template::unknown(name)))
        .collect::<Vec<(String, Value)>>();
    entries.into_iter().collect()
}

/// A machine that cannot be asked, as the failure of what asks it.
pub(super) fn unreachable(why: &str) -> Failure {
    Failure::Unreachable {
        message: why.to_owned(),
        result: Dict::default(),
    }
}
