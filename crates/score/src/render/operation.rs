//! How an operation went, as text.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use consort_plan::{Action, Address, Entry, Event, Operation, Phase};

use super::style::{Style, elapsed, escaped};
use super::{mark, problem};

/// How an operation stands, in a word of its own colour.
pub fn status(phase: Phase, style: &Style) -> String {
    match phase {
        Phase::Running => style.cyan("running"),
        Phase::Succeeded => style.green("succeeded"),
        Phase::Failed => style.red("FAILED"),
        Phase::Cancelled => style.yellow("cancelled"),
    }
    .into_owned()
}

/// An operation as text: what failed and why, what was not tried because of it, and how it went as a whole in the last
/// line. With [`Style::full`] also every resource with the time it took.
pub fn operation(operation: &Operation, entries: &[Entry], style: &Style) -> String {
    let mut out = String::new();
    let states = states(entries);
    if style.full {
        for (address, state) in &states {
            let took = match (state.began, state.ended) {
                (Some(began), Some(ended)) => span(began, ended),
                _ => String::new(),
            };
            let (word, code) = match &state.event {
                Event::Began { .. } => ("under way", "36"),
                Event::Done => ("done", "32"),
                Event::Failed { .. } => ("FAILED", "1;31"),
                Event::Skipped { .. } => ("not tried", "33"),
            };
            let _ = writeln!(
                out,
                "  {:3} {}  {} {}",
                mark(state.action),
                escaped(address.as_str()),
                style.paint(code, word),
                style.dim(&took)
            );
        }
        if !states.is_empty() {
            out.push('\n');
        }
    }
    let mut skipped: BTreeMap<Option<&Address>, Vec<&Address>> = BTreeMap::new();
    for (address, state) in &states {
        match &state.event {
            Event::Failed { problem } => {
                out.push_str(&problem::problem(problem, style));
                if problem.address.is_none() {
                    let _ = writeln!(out, "  {}", style.cyan(&escaped(address.as_str())));
                }
                out.push('\n');
            }
            Event::Skipped { because } => {
                skipped.entry(because.as_ref()).or_default().push(address);
            }
            Event::Began { .. } | Event::Done => {}
        }
    }
    for (because, addresses) in &skipped {
        const SHOWN: usize = 12;
        let _ = match because {
            Some(because) => writeln!(
                out,
                "Not tried, because {} did not get done:",
                escaped(because.as_str())
            ),
            None => writeln!(out, "Not tried, because the operation was ended:"),
        };
        let most = if style.full { usize::MAX } else { SHOWN };
        for address in addresses.iter().take(most) {
            let _ = writeln!(out, "  {}", escaped(address.as_str()));
        }
        if addresses.len() > most {
            let _ = writeln!(out, "  ... and {} more", addresses.len() - most);
        }
        out.push('\n');
    }
    let mut parts = vec![format!("{} of {} done", operation.done, operation.total)];
    if operation.failed > 0 {
        parts.push(format!("{} failed", operation.failed));
    }
    if operation.skipped > 0 {
        parts.push(format!("{} not tried", operation.skipped));
    }
    let name = format!("{}-{}", operation.score, operation.revision);
    let took = operation
        .ended
        .map(|ended| format!(" after {}", span(operation.started, ended)))
        .unwrap_or_default();
    let _ = writeln!(
        out,
        "Operation {} {}{took}: {}",
        style.bold(&escaped(&name)),
        status(operation.phase, style),
        parts.join(", ")
    );
    out
}

/// The span between two times, for eyes.
pub(super) fn span(from: jiff::Timestamp, to: jiff::Timestamp) -> String {
    let time = to.duration_since(from);
    elapsed(time.try_into().unwrap_or_default())
}

/// The last that is known of a resource in an operation.
struct State<'e> {
    action: Action,
    began: Option<jiff::Timestamp>,
    ended: Option<jiff::Timestamp>,
    event: &'e Event,
}

/// By resource, in the order they first came up.
fn states(entries: &[Entry]) -> indexmap::IndexMap<&Address, State<'_>> {
    let mut states: indexmap::IndexMap<&Address, State<'_>> = indexmap::IndexMap::new();
    for entry in entries {
        let state = states.entry(&entry.address).or_insert(State {
            action: entry.action,
            began: None,
            ended: None,
            event: &entry.event,
        });
        state.event = &entry.event;
        match entry.event {
            Event::Began { .. } => {
                state.began.get_or_insert(entry.time);
                state.ended = None;
            }
            Event::Done | Event::Failed { .. } | Event::Skipped { .. } => {
                state.ended = Some(entry.time);
            }
        }
    }
    states
}
