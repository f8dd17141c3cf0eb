//! What could be done about an error, by what its message says.

mod machines;
mod templates;
mod written;

use super::expression::Named;
use super::names::{between, quoted_before};
use super::values::Scene;
use crate::language::Task;

/// How many hints are told.
const MOST: usize = 3;

/// The variable that is undefined.
fn undefined(message: &str) -> Option<&str> {
    quoted_before(message, "' is undefined")
        .or_else(|| between(message, "Mandatory variable '", "' not defined"))
}

/// The word of a template that a message is about, if it is about one.
pub(super) fn word(message: &str) -> Option<String> {
    let found = undefined(message)
        .or_else(|| between(message, "hostvars['", "']"))
        .or_else(|| between(message, "has no attribute '", "'"))
        .or_else(|| between(message, "No filter named '", "'"))
        .or_else(|| between(message, "No test named '", "'"))
        .or_else(|| between(message, "filter plugin '", "'"))
        .or_else(|| between(message, "test plugin '", "'"))
        .or_else(|| between(message, "lookup plugin '", "'"))?;
    Some(found.rsplit('.').next().unwrap_or(found).to_owned())
}

/// The part of a template that something is wrong with.
struct Written<'w> {
    expression: &'w str,
    /// The variables it names.
    variables: &'w [Named],
}

/// What could be done about the failure of a task.
pub(super) fn of_task(
    message: &str,
    expression: &str,
    variables: &[Named],
    task: &Task,
    scene: &Scene<'_>,
) -> Vec<String> {
    let written = Written {
        expression,
        variables,
    };
    let mut hints = templates::of(message, &written, task, scene);
    if hints.is_empty() {
        hints = machines::of(message, task);
    }
    if hints.is_empty() {
        hints = written::of(message);
    }
    hints.truncate(MOST);
    hints
}

/// What could be done about an error of which no more than its text is known.
pub(super) fn of_message(message: &str) -> Vec<String> {
    let mut hints = written::of(message);
    if hints.is_empty() {
        hints = templates::of_syntax(message);
    }
    hints.truncate(MOST);
    hints
}

/// `did you mean X?`
fn meant(name: &str) -> String {
    format!("did you mean '{name}'?")
}

/// Names between commas, no more than fit.
pub(super) fn listed<T: AsRef<str>>(names: &[T]) -> String {
    const WIDEST: usize = 120;
    let mut text = String::new();
    for (at, name) in names.iter().enumerate() {
        if !text.is_empty() {
            text.push_str(", ");
        }
        if text.len() + name.as_ref().len() > WIDEST {
            text.push_str(&format!("... ({} more)", names.len() - at));
            break;
        }
        text.push_str(name.as_ref());
    }
    text
}
