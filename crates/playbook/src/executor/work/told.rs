//! A result as it is told.

use std::sync::Arc;
use std::time::Duration;

use super::{Shown, Work};
use crate::executor::result::Outcome;
use crate::language::Task;
use crate::output::{Status, TaskResult};

impl Work {
    pub(in crate::executor) fn result(
        &self,
        outcome: &Outcome,
        shown: &Shown,
        elapsed: Duration,
    ) -> TaskResult {
        task_result(self.task(), &self.host, &self.name, outcome, shown, elapsed)
    }
}

/// A result as it is told.
pub(in crate::executor) fn task_result(
    task: &Arc<Task>,
    host: &Arc<str>,
    name: &Arc<str>,
    outcome: &Outcome,
    shown: &Shown,
    elapsed: Duration,
) -> TaskResult {
    let status = if outcome.failed() {
        Status::Failed
    } else if outcome.unreachable() {
        Status::Unreachable
    } else if outcome.skipped() {
        Status::Skipped
    } else {
        Status::Ok
    };
    TaskResult {
        host: Arc::clone(host),
        delegated: outcome
            .delegated
            .clone()
            .filter(|delegated| delegated != host),
        task: Arc::clone(task),
        name: Arc::clone(name),
        status,
        changed: outcome.changed(),
        ignored: match status {
            Status::Failed => outcome.ignores_errors(),
            Status::Unreachable => outcome.ignores_unreachable(),
            _ => false,
        },
        rescued: false,
        no_log: outcome.no_log,
        check: shown.check,
        diff: shown.diff,
        result: outcome.as_dict(true),
        error: outcome.error.as_ref().map(|error| error.text().into()),
        helps: outcome.helps.as_deref().map(Arc::from),
        connection: shown.connection.clone(),
        item: outcome.item.as_ref().map(|item| item.label.clone()),
        attempts: outcome.attempts.unwrap_or(1),
        elapsed,
        arguments: outcome.arguments.clone(),
        notify: outcome.notified(),
        unforeseen: outcome.unforeseen().map(Arc::from),
    }
}
