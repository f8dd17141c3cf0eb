//! The callback that puts an outcome together.

use std::path::Path;
use std::sync::Arc;

use consort_jinja::{Dict, Value, repr};
use parking_lot::Mutex;

use super::outcome::{Counts, Deed, Fault, MOST_DEEDS, MOST_FAULTS, Outcome, short};
use crate::output::{Callback, Event, Stats, Status, TaskResult};
use crate::source::Located;

/// The entries of a result that say what was changed, the most telling first.
const TELLING: &[&str] = &["path", "dest", "name", "unit", "repo", "url", "cmd"];

/// Puts together what came of a run.
#[derive(Clone)]
pub struct Report {
    /// The source's directory, with a slash behind it: places are told without.
    root: Arc<str>,
    outcome: Arc<Mutex<Outcome>>,
}

impl Report {
    /// Of a run in a directory.
    pub fn new(root: &Path) -> Self {
        let root = root.to_string_lossy();
        Report {
            root: format!("{}/", root.trim_end_matches('/')).into(),
            outcome: Arc::default(),
        }
    }

    /// What there is to tell in the end.
    pub fn ended(&self, ended: Result<i32, Located>) -> Outcome {
        let mut outcome = std::mem::take(&mut *self.outcome.lock());
        match ended {
            Ok(status) => outcome.status = status,
            Err(error) => {
                outcome.status = error.exit();
                outcome.faults.push(self.error(&error));
            }
        }
        if outcome.status == 0 {
            // What was rescued has failed only for a while.
            outcome.faults.clear();
        }
        outcome
    }

    fn place(&self, place: &str) -> String {
        place.strip_prefix(&*self.root).unwrap_or(place).to_owned()
    }

    /// A message, with the files of the source named as they are in it.
    fn message(&self, message: &str) -> String {
        short(&message.replace(&*self.root, ""))
    }

    /// An error of the run as a whole, with the place that is nearest to what is wrong.
    fn error(&self, error: &Located) -> Fault {
        let mut place = String::new();
        let mut at = Some(error);
        while let Some(error) = at {
            if let Some(origin) = error.origin() {
                place = match (origin.line, origin.column) {
                    (0, _) => origin.file.to_string(),
                    (line, 0) => format!("{}:{line}", origin.file),
                    (line, column) => format!("{}:{line}:{column}", origin.file),
                };
            }
            at = error.cause();
        }
        Fault {
            task: String::new(),
            place: self.place(&place),
            message: self.message(&error.brief()),
        }
    }

    fn result(&self, result: &TaskResult) {
        match result.status {
            Status::Ok if result.changed => self.changed(result),
            Status::Failed | Status::Unreachable if !result.ignored => {
                let mut outcome = self.outcome.lock();
                if outcome.faults.len() < MOST_FAULTS {
                    outcome.faults.push(Fault {
                        task: short(&result.name),
                        place: self.place(&result.task.place()),
                        message: self.message(&message(result)),
                    });
                }
            }
            _ => {}
        }
    }

    fn changed(&self, result: &TaskResult) {
        let mut outcome = self.outcome.lock();
        outcome.changed += 1;
        if outcome.changes.len() < MOST_DEEDS {
            outcome.changes.push(Deed {
                task: short(&result.name),
                place: self.place(&result.task.place()),
                module: result
                    .task
                    .action
                    .name
                    .trim_start_matches("ansible.builtin.")
                    .to_owned(),
                what: if result.no_log {
                    String::new()
                } else {
                    short(&what(&result.result))
                },
            });
        }
    }

    fn recap(&self, stats: &Stats) {
        let mut counts = Counts::default();
        for host in stats.hosts.values() {
            counts.ok += host.ok;
            counts.changed += host.changed;
            counts.unreachable += host.unreachable;
            counts.failed += host.failures;
            counts.skipped += host.skipped;
            counts.rescued += host.rescued;
            counts.ignored += host.ignored;
        }
        self.outcome.lock().counts = counts;
    }
}

impl Callback for Report {
    fn event(&mut self, event: &Event<'_>) {
        match event {
            Event::Play { .. } => self.outcome.lock().plays += 1,
            Event::NoHostsMatched => {
                let mut outcome = self.outcome.lock();
                outcome.plays = outcome.plays.saturating_sub(1);
            }
            Event::Result(result) => self.result(result),
            Event::Stats(stats) => self.recap(stats),
            _ => {}
        }
    }
}

/// Why a task failed.
fn message(result: &TaskResult) -> String {
    if result.no_log {
        return "the output has been hidden due to the fact that 'no_log: true' was specified for this result"
            .to_owned();
    }
    let text = |dict: &Dict, name: &str| {
        dict.get(name)
            .filter(|value| !matches!(value, Value::None))
            .map(|value| repr::text(&value))
            .filter(|text| !text.trim().is_empty())
    };
    // Of a loop, the first item that failed says more than that some did.
    let failed = |item: &Value| match item {
        Value::Dict(item) => matches!(item.get("failed"), Some(Value::Bool(true)))
            .then(|| text(item, "msg"))
            .flatten(),
        _ => None,
    };
    if result.task.looped.is_some()
        && let Some(items) = result.result.get("results")
        && let Ok(items) = items.iterate()
        && let Some(said) = items.iter().find_map(failed)
    {
        return said;
    }
    let said = text(&result.result, "msg")
        .or_else(|| result.error.as_deref().map(str::to_owned))
        .unwrap_or_else(|| "the task failed".to_owned());
    // Of a command that failed, what it complained of.
    match text(&result.result, "stderr") {
        Some(stderr) if result.result.get("rc").is_some() => format!("{said}: {stderr}"),
        _ => said,
    }
}

/// What a result says was changed; of a loop, of its items.
fn what(result: &Dict) -> String {
    if let Some(items) = result.get("results")
        && let Ok(items) = items.iterate()
    {
        let told: Vec<String> = items
            .iter()
            .filter_map(|item| match item {
                Value::Dict(item) if matches!(item.get("changed"), Some(Value::Bool(true))) => {
                    Some(what(item))
                }
                _ => None,
            })
            .filter(|told| !told.is_empty())
            .collect();
        return told.join(", ");
    }
    TELLING
        .iter()
        .find_map(|name| match result.get(name)? {
            Value::Str(text) => Some(text.to_string()),
            list @ Value::List(_) => Some(
                list.iterate()
                    .ok()?
                    .iter()
                    .map(repr::text)
                    .collect::<Vec<_>>()
                    .join(" "),
            ),
            _ => None,
        })
        .unwrap_or_default()
}
