//! What comes of a task on a host, or of an item of its loop, while it is being carried out.

mod shown;

use std::collections::BTreeMap;
use std::sync::Arc;

use consort_jinja::{Dict, Key, Str, Value};
use indexmap::IndexMap;

use super::effects::Layer;
use crate::action::Failure;
use crate::language::Task;
use crate::source::Located;

/// What comes of a task on a host, or of an item of its loop.
#[derive(Clone, Default)]
pub(super) struct Outcome {
    changed: Option<bool>,
    failed: Option<bool>,
    unreachable: Option<bool>,
    skipped: Option<bool>,
    pub(super) ignore_errors: bool,
    pub(super) ignore_unreachable: bool,
    pub(super) warnings: Vec<Value>,
    pub(super) deprecations: Vec<Value>,
    pub(super) facts: Option<Dict>,
    /// What failed, with its causes.
    pub(super) error: Option<Located>,
    /// What helps with it.
    pub(super) helps: Option<String>,
    pub(super) finished: Option<bool>,
    pub(super) msg: Option<Value>,
    pub(super) no_log: bool,
    pub(super) verbose_always: Option<bool>,
    pub(super) verbose_override: Option<bool>,
    pub(super) rc: Option<i64>,
    pub(super) diff: Option<Value>,
    pub(super) stats: Option<Dict>,
    pub(super) job: Option<String>,
    pub(super) attempts: Option<u64>,
    pub(super) retries: Option<u64>,
    pub(super) notify: Vec<Arc<str>>,
    pub(super) delegated: Option<Arc<str>>,
    pub(super) delegated_variables: Option<Dict>,
    pub(super) skip_reason: Option<String>,
    /// The reason is also told under its old name.
    pub(super) skipped_reason: bool,
    pub(super) false_condition: Option<Value>,
    pub(super) changed_when: Option<Value>,
    pub(super) failed_when: Option<Value>,
    pub(super) break_when: Option<Value>,
    /// Errors that `changed_when`, `failed_when` and `break_when` took the place of.
    pub(super) suppressed: Vec<&'static str>,
    pub(super) item: Option<LoopItem>,
    /// The outcomes of the items, for a loop.
    pub(super) items: Option<Vec<Outcome>>,
    /// What variables the action sets.
    pub(super) variables: BTreeMap<Layer, Dict>,
    /// For an include that is to be carried out: what it was given.
    pub(super) include: Option<Dict>,
    /// What else the result tells.
    pub(super) data: IndexMap<Key, Value>,
    /// What `register` keeps.
    pub(super) registered: Vec<(Str, Value)>,
    /// A module said so, and not an action.
    pub(super) is_module: bool,
    /// The causes a module gives for its failure.
    causes: Vec<String>,
    /// It tells of an exception.
    broke: bool,
    /// Why it cannot be known before it is done.
    pub(super) unforeseen: Option<String>,
    /// What the action was given.
    pub(super) arguments: Option<Dict>,
}

/// An item of a loop.
#[derive(Clone, Debug)]
pub(super) struct LoopItem {
    pub(super) variable: Arc<str>,
    pub(super) value: Value,
    pub(super) label: Value,
    pub(super) index_variable: Option<Arc<str>>,
    pub(super) index: i64,
    pub(super) extended: Option<Dict>,
}

/// The key by which a module's result is told from an action's; no result keeps it.
pub(super) const OF_MODULE: &str = "_ansible_of_module";

impl Outcome {
    /// The handlers it notifies: those of all items of a loop, if anything changed.
    pub(super) fn notified(&self) -> Vec<Arc<str>> {
        if !self.changed() || self.failed() || self.unreachable() || self.skipped() {
            return Vec::new();
        }
        let each = self.items.as_deref().unwrap_or(std::slice::from_ref(self));
        let mut names: Vec<Arc<str>> = Vec::new();
        for name in each.iter().flat_map(|one| &one.notify) {
            if !names.contains(name) {
                names.push(Arc::clone(name));
            }
        }
        names
    }

    /// Of the dict an action gave.
    pub(super) fn of_result(result: &Dict) -> Self {
        let mut outcome = Outcome::default();
        for (key, value) in result.read().iter() {
            if !outcome.take(key.as_str().unwrap_or_default(), value) {
                outcome.data.insert(key.clone(), value.clone());
            }
        }
        outcome.settle();
        outcome
    }

    /// Takes what has a meaning of its own. Tells whether it had.
    fn take(&mut self, key: &str, value: &Value) -> bool {
        let truth = || Some(is_true(value));
        match key {
            "changed" => self.changed = truth(),
            "failed" => self.failed = truth(),
            "unreachable" => self.unreachable = truth(),
            "skipped" => self.skipped = truth(),
            "warnings" => self.warnings = value.iterate().unwrap_or_default(),
            "deprecations" => self.deprecations = value.iterate().unwrap_or_default(),
            "ansible_facts" => match value {
                Value::Dict(facts) => self.facts = Some(facts.clone()),
                Value::None => {}
                _ => return false,
            },
            "exception" => {
                // A traceback is not shown; that there was one says that it failed.
                self.broke = is_true(value);
            }
            "finished" => self.finished = truth(),
            "msg" => match value {
                Value::None => {}
                value => self.msg = Some(value.clone()),
            },
            "_ansible_no_log" => {
                self.no_log = !matches!(value, Value::Bool(false) | Value::None);
            }
            "_ansible_verbose_always" => self.verbose_always = truth(),
            "_ansible_verbose_override" => self.verbose_override = truth(),
            "rc" => match value {
                Value::None => {}
                value => match integer(value) {
                    Some(number) => self.rc = Some(number),
                    None => return false,
                },
            },
            "diff" => match value {
                Value::None => {}
                value => self.diff = Some(value.clone()),
            },
            "ansible_stats" => match value {
                Value::Dict(stats) => self.stats = Some(stats.clone()),
                _ => return false,
            },
            "ansible_job_id" => self.job = value.text().ok().map(|text| text.to_string()),
            OF_MODULE => self.is_module = true,
            consort_modules::CAUSES => {
                self.causes = value
                    .iterate()
                    .unwrap_or_default()
                    .iter()
                    .filter_map(|cause| Some(cause.text().ok()?.to_string()))
                    .collect();
            }
            "_ansible_suppress_tmpdir_delete" | "_ansible_parsed" => {}
            _ => return false,
        }
        true
    }

    /// Gives a result that says it failed an error that says so.
    fn settle(&mut self) {
        if !self.broke && !self.failed() {
            // Who judges a result that is well is the task, not its module.
            self.is_module = false;
            return;
        }
        let mut messages: Vec<String> = match &self.msg {
            Some(value) => value
                .text()
                .map(|text| text.to_string())
                .into_iter()
                .collect(),
            None => Vec::new(),
        };
        messages.append(&mut self.causes);
        messages.retain(|message| !message.is_empty());
        if messages.is_empty() {
            messages.push("Unknown error.".to_owned());
        }
        let mut error: Option<Located> = None;
        for message in messages.into_iter().rev() {
            let this = Located::new(message).verbatim();
            error = Some(match error {
                Some(cause) => this.because(cause),
                None => this,
            });
        }
        let whole = Located::new(self.kind_of_failure());
        self.error = Some(match error {
            Some(cause) => whole.because(cause),
            None => whole,
        });
    }

    fn within(&self, cause: Located) -> Located {
        Located::new(self.kind_of_failure()).because(cause)
    }

    fn kind_of_failure(&self) -> &'static str {
        if self.is_module {
            "Module failed."
        } else {
            "Action failed."
        }
    }

    /// Of an action that gave no result.
    pub(super) fn of_failure(failure: Failure) -> Self {
        match failure {
            Failure::Failed(failed) => {
                let mut outcome = Outcome::of_result(&failed.result);
                outcome.failed = Some(true);
                if failed.is_message {
                    outcome.msg = Some(Value::from(failed.error.brief()));
                }
                outcome.error = Some(failed.error);
                outcome
            }
            Failure::Skipped { message, result } => {
                let mut outcome = Outcome::of_result(&result);
                outcome.skipped = Some(true);
                outcome.changed = outcome.changed.or(Some(false));
                outcome.msg = Some(Value::from(message));
                outcome
            }
            Failure::Unreachable { message, result } => {
                let mut outcome = Outcome::of_result(&result);
                outcome.unreachable = Some(true);
                outcome.failed = None;
                outcome.changed = Some(false);
                outcome.msg = None;
                outcome.error = Some(Located::new(message));
                outcome
            }
        }
    }

    /// Of a task whose condition does not hold.
    pub(super) fn condition_false(condition: Value) -> Self {
        let mut outcome = Outcome {
            false_condition: Some(condition),
            ..Outcome::default()
        };
        outcome.skip(Some("Conditional result was False"));
        outcome
    }

    /// Of a loop.
    pub(super) fn of_items(items: Vec<Outcome>) -> Self {
        let mut outcome = Outcome {
            no_log: items.iter().any(|item| item.no_log),
            ..Outcome::default()
        };
        for item in &items {
            outcome.warnings.extend(item.warnings.iter().cloned());
            outcome
                .deprecations
                .extend(item.deprecations.iter().cloned());
        }
        let all_skipped = items.iter().all(Outcome::skipped);
        outcome.items = Some(items);
        if all_skipped {
            outcome.skip(None);
            outcome.msg = Some("All items skipped".into());
        } else if outcome.failed() {
            outcome.msg = Some("One or more items failed".into());
        } else {
            outcome.msg = Some("All items completed".into());
        }
        outcome
    }

    /// Of a loop without items.
    pub(super) fn no_items() -> Self {
        let mut outcome = Outcome {
            items: Some(Vec::new()),
            skipped_reason: true,
            ..Outcome::default()
        };
        outcome.skip(Some("No items in the list"));
        outcome
    }

    /// Says that it was left out.
    pub(super) fn skip(&mut self, reason: Option<&str>) {
        self.changed = Some(false);
        self.skipped = Some(true);
        if let Some(reason) = reason {
            self.skip_reason = Some(reason.to_owned());
        }
    }

    /// Whether something changed.
    pub(super) fn changed(&self) -> bool {
        match (self.changed, &self.items) {
            (None, Some(items)) => items.iter().any(Outcome::changed),
            (changed, _) => changed.unwrap_or(false),
        }
    }

    /// Whether it failed.
    pub(super) fn failed(&self) -> bool {
        if self.failed.is_none() && self.rc.is_some_and(|rc| rc != 0) {
            return true;
        }
        if let Some(result) = &self.failed_when {
            return is_true(result);
        }
        if let Some(items) = &self.items
            && items.iter().any(|item| item.failed_when.is_some())
        {
            return items
                .iter()
                .any(|item| item.failed_when.as_ref().is_some_and(is_true));
        }
        match (self.failed, &self.items) {
            (None, Some(items)) => items.iter().any(Outcome::failed),
            (failed, _) => failed.unwrap_or(false),
        }
    }

    /// Whether the machine could not be reached.
    pub(super) fn unreachable(&self) -> bool {
        match (self.unreachable, &self.items) {
            (None, Some(items)) => items.iter().any(Outcome::unreachable),
            (unreachable, _) => unreachable.unwrap_or(false),
        }
    }

    /// Whether it was left out; a loop was if all its items were.
    pub(super) fn skipped(&self) -> bool {
        match (self.skipped, &self.items) {
            (None, Some(items)) => items.iter().all(Outcome::skipped),
            (skipped, _) => skipped.unwrap_or(false),
        }
    }

    /// Whether a failure does not count; of a loop, whether it does not for some item.
    pub(super) fn ignores_errors(&self) -> bool {
        match &self.items {
            Some(items) => items.iter().any(|item| item.ignore_errors),
            None => self.ignore_errors,
        }
    }

    /// Whether a lost machine does not count.
    pub(super) fn ignores_unreachable(&self) -> bool {
        match &self.items {
            Some(items) => items.iter().any(|item| item.ignore_unreachable),
            None => self.ignore_unreachable,
        }
    }

    /// Says whether something changed.
    pub(super) fn set_changed(&mut self, changed: bool) {
        self.changed = Some(changed);
    }

    /// Why it, or an item of it, cannot be known before it is done.
    pub(super) fn unforeseen(&self) -> Option<&str> {
        match (&self.unforeseen, &self.items) {
            (None, Some(items)) => items.iter().find_map(Outcome::unforeseen),
            (own, _) => own.as_deref(),
        }
    }

    /// Says whether it failed.
    pub(super) fn set_failed(&mut self, failed: bool) {
        self.failed = Some(failed);
    }

    /// What `changed_when` gave.
    pub(super) fn changed_when(&mut self, given: Result<bool, Located>) {
        match given {
            Ok(changed) => {
                self.changed = Some(changed);
                self.changed_when = Some(Value::Bool(changed));
            }
            Err(error) => {
                if self.error.is_some() {
                    self.suppressed.push("changed_when_suppressed_exception");
                }
                self.changed_when = Some(Value::from(error.brief()));
                self.failed = Some(true);
                self.error = Some(self.within(in_expression("changed_when", error)));
            }
        }
    }

    /// What `failed_when` gave: it takes the place of any error there was.
    pub(super) fn failed_when(&mut self, given: Result<bool, Located>) {
        if self.error.take().is_some() {
            self.suppressed.push("failed_when_suppressed_exception");
        }
        match given {
            Ok(failed) => {
                self.failed = Some(failed);
                if failed {
                    self.error = Some(self.within(Located::new(
                        "A 'failed_when' expression evaluated to 'True'.",
                    )));
                }
                self.failed_when = Some(Value::Bool(failed));
            }
            Err(error) => {
                self.failed = Some(true);
                self.failed_when = Some(Value::from(error.brief()));
                self.error = Some(self.within(in_expression("failed_when", error)));
            }
        }
    }

    /// What `break_when` gave. Tells whether the loop ends.
    pub(super) fn break_when(&mut self, given: Result<bool, Located>) -> bool {
        match given {
            Ok(ends) => {
                self.break_when = Some(Value::Bool(ends));
                ends
            }
            Err(error) => {
                if self.error.is_some() {
                    self.suppressed.push("break_when_suppressed_exception");
                }
                self.break_when = Some(Value::from(error.brief()));
                self.failed = Some(true);
                self.error = Some(in_expression("break_when", error));
                true
            }
        }
    }

    /// Puts what failed under the task: as it is told, and as `msg` where there is none.
    pub(super) fn raise(&mut self, task: &Task) {
        if !self.failed() && !self.unreachable() {
            return;
        }
        if let Some(error) = self.error.take() {
            let error = task.located("Task failed.").because(error);
            let silent = match &self.msg {
                None => true,
                Some(Value::Str(text)) => text.is_empty(),
                Some(_) => false,
            };
            if silent {
                self.msg = Some(Value::from(error.brief()));
            }
            self.error = Some(error);
        }
    }
}

fn in_expression(name: &str, error: Located) -> Located {
    Located::new(format!("A '{name}' expression failed."))
        .at_maybe(error.origin())
        .because(error)
}

/// Whether a value counts as true; what is undefined does not.
pub(super) fn is_true(value: &Value) -> bool {
    value.truth().unwrap_or(false)
}

fn integer(value: &Value) -> Option<i64> {
    match value {
        Value::Float(number) => Some(*number as i64),
        Value::Str(text) => text.trim().parse().ok(),
        value => value.as_int(),
    }
}
