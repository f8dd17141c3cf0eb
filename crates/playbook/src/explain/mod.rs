//! What helps with an error beyond the error itself: the expression that something is wrong with, where it stands, the
//! values of its variables, and what could be done.
//!
//! Errors themselves are told as Ansible tells them. What is here is told beside them, on the standard error, to those who
//! call these commands by their own names (`consort play`) or set `CONSORT_HINTS`.

mod expression;
mod files;
mod hints;
mod known;
mod names;
mod nearest;
mod values;

use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufRead as _, BufReader};

use consort_jinja::{Str, Value};

pub(crate) use values::Scene;

use crate::language::Task;
use crate::source::{Located, shorten};

/// How many variables are told.
const MOST: usize = 6;

/// What helps with the failure of a task; none if nothing does.
///
/// `assertion` is what `assert` says did not hold, `more` what the result says beside the error.
pub(crate) fn of_task(
    error: &Located,
    assertion: Option<&Value>,
    more: Option<&Value>,
    task: &Task,
    scene: &Scene<'_>,
) -> Option<String> {
    let mut told = String::new();
    let mut message = error.brief();
    if let Some(Value::Str(more)) = more {
        message.push(' ');
        message.push_str(more);
    }
    let word = hints::word(&message);
    let mut variables = Vec::new();
    let template = match assertion {
        Some(Value::Str(assertion)) => Some(assertion.clone()),
        _ => deepest_template(error),
    };
    let mut expression = "";
    if let Some(template) = template
        .as_ref()
        .filter(|text| !text.starts_with("$ANSIBLE_VAULT"))
    {
        let block = expression::naming(template, word.as_deref());
        if let Some((at, block)) = block {
            let place = place(template, at, block);
            let _ = write!(told, "{place}{}", shorten(block, 200));
            variables = expression::variables(block);
            expression = block;
        }
    }
    for named in variables.iter().take(MOST) {
        if let Some((path, value)) = scene.shown(named) {
            let _ = write!(told, "\n  {path} = {value}");
        }
    }
    for hint in hints::of_task(&message, expression, &variables, task, scene) {
        let _ = write!(told, "\n  {hint}");
    }
    (!told.is_empty()).then(|| told.trim_start().to_owned())
}

/// What helps with an error that ends a run before its tasks, or between them; none if nothing does.
pub(crate) fn of_error(error: &Located) -> Option<String> {
    of_text(&error.text())
}

/// What helps with an error of which no more than its text is known.
pub(crate) fn of_text(text: &str) -> Option<String> {
    let hints = hints::of_message(text);
    (!hints.is_empty()).then(|| hints.join("\n  "))
}

fn deepest_template(error: &Located) -> Option<Str> {
    let mut found = None;
    let mut error = Some(error);
    while let Some(one) = error {
        if let Some(template) = one.template() {
            found = Some(template.clone());
        }
        error = one.cause();
    }
    found
}

/// The place of a block in the file it was written in: its line is looked for from that of the template on.
fn place(template: &Str, at: usize, block: &str) -> String {
    let Some(origin) = template.origin() else {
        return String::new();
    };
    let before = template[..at].matches('\n').count();
    let line = origin.line as usize;
    let first = block.lines().next().unwrap_or_default();
    // A text may be folded, or begin on the line after its key.
    let from = if line == 0 { before } else { line - 1 };
    let found = origin
        .file
        .starts_with('/')
        .then(|| found(&origin.file, from, first))
        .flatten();
    match found {
        Some((line, column)) => format!("{}:{line}:{column}: ", origin.file),
        None if line > 0 => format!("{}:{line}: ", origin.file),
        None => format!("{}: ", origin.file),
    }
}

/// How far a block is looked for.
const LINES: usize = 400;

/// The line and column where a text stands in a file, from a line on.
fn found(file: &str, from: usize, text: &str) -> Option<(usize, usize)> {
    let lines = BufReader::new(File::open(file).ok()?).lines();
    for (number, line) in lines.enumerate().skip(from).take(LINES) {
        if let Some(at) = line.ok()?.find(text) {
            return Some((number + 1, at + 1));
        }
    }
    None
}
