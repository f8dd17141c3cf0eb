//! Explanations as a tree for terminals and as JSON.

use std::fmt::Write as _;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::cause::{Cause, Standing};
use crate::render::{Style, columns, elapsed, escaped};

/// An explanation as a tree: what is asked about, below it what led to that. `now` is what times are told against.
pub fn text(cause: &Cause, now: Timestamp, style: &Style) -> String {
    let mut out = String::new();
    write(cause, now, style, "", "", &mut out);
    let mut next: Vec<&str> = Vec::new();
    collect(cause, &mut next);
    if !next.is_empty() {
        const SHOWN: usize = 6;
        let _ = writeln!(out, "\n{}", style.bold("Where to look next"));
        for command in next.iter().take(SHOWN) {
            let _ = writeln!(out, "  {}", style.cyan(&escaped(command)));
        }
    }
    out
}

/// Commands of the tree, those nearest to the subject first, none twice.
fn collect<'c>(cause: &'c Cause, out: &mut Vec<&'c str>) {
    let mut level = vec![cause];
    while !level.is_empty() {
        let mut below = Vec::new();
        for cause in level {
            for command in &cause.next {
                if !out.contains(&command.as_str()) {
                    out.push(command);
                }
            }
            below.extend(&cause.causes);
        }
        level = below;
    }
}

/// When something happened, and how long ago that is.
fn moment(time: Timestamp, now: Timestamp) -> String {
    let ago = now.duration_since(time);
    let at = time.strftime("%Y-%m-%d %H:%M:%SZ");
    match std::time::Duration::try_from(ago) {
        Ok(ago) => format!("{at}, {} ago", elapsed(ago)),
        Err(_) => at.to_string(),
    }
}

fn write(cause: &Cause, now: Timestamp, style: &Style, first: &str, rest: &str, out: &mut String) {
    let what = escaped(&cause.what);
    let what = match cause.standing {
        Standing::Bad => style.red(&what),
        Standing::Waiting => style.paint("1;33", &what),
        Standing::Good => style.paint("1;32", &what),
        Standing::Fact => style.bold(&what),
    };
    let says: Vec<&str> = cause.says.lines().collect();
    let head = escaped(says.first().copied().unwrap_or_default());
    let when = cause
        .time
        .map(|time| format!("({})", moment(time, now)))
        .unwrap_or_default();
    // The time stands beside what happened, where there is room.
    let width = columns(first) + columns(&escaped(&cause.what)) + columns(&head) + 2;
    let beside = !when.is_empty() && width + columns(&when) <= style.width;
    let _ = write!(out, "{}{what} {head}", style.dim(first));
    if beside {
        let _ = write!(out, " {}", style.dim(&when));
    }
    out.push('\n');
    // Below a cause that has causes of its own the branch goes on.
    let bar = if cause.causes.is_empty() {
        "    "
    } else {
        "|   "
    };
    let indent = format!("{rest}{bar}");
    let mut line = |text: &str, code: &str| {
        let _ = writeln!(out, "{}{}", style.dim(&indent), style.paint(code, text));
    };
    for more in says.iter().skip(1) {
        line(&escaped(more), "0");
    }
    for detail in &cause.details {
        for part in detail.lines() {
            line(&escaped(part), "0");
        }
    }
    let mut place = Vec::new();
    if let Some(time) = cause.time.filter(|_| !beside) {
        place.push(moment(time, now));
    }
    if let Some(location) = &cause.location {
        place.push(format!("described at {}", escaped(&location.to_string())));
    }
    if !place.is_empty() {
        line(&place.join("; "), "2");
    }
    for (index, below) in cause.causes.iter().enumerate() {
        let last = index + 1 == cause.causes.len();
        let (branch, bar) = if last {
            ("`-- ", "    ")
        } else {
            ("|-- ", "|   ")
        };
        write(
            below,
            now,
            style,
            &format!("{rest}{branch}"),
            &format!("{rest}{bar}"),
            out,
        );
    }
}

/// An explanation as JSON; its keys are written down in `docs/json.md`.
pub fn json(cause: &Cause) -> Value {
    let mut object = Map::new();
    object.insert("what".to_owned(), json!(cause.what));
    object.insert("standing".to_owned(), json!(cause.standing.word()));
    object.insert("says".to_owned(), json!(cause.says));
    if let Some(time) = cause.time {
        object.insert("time".to_owned(), json!(time));
    }
    if !cause.details.is_empty() {
        object.insert("details".to_owned(), json!(cause.details));
    }
    if let Some(location) = &cause.location {
        object.insert("location".to_owned(), json!(location));
    }
    if !cause.next.is_empty() {
        object.insert("next".to_owned(), json!(cause.next));
    }
    if !cause.causes.is_empty() {
        let causes: Vec<Value> = cause.causes.iter().map(json).collect();
        object.insert("causes".to_owned(), Value::Array(causes));
    }
    Value::Object(object)
}
