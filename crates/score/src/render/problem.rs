//! What is wrong, as text.

use std::fmt::Write as _;

use consort_plan::{Problem, Stale};

use super::style::{Style, escaped, wrapped};

/// Problems as text, one block each: what is wrong, of what part and resource, where in the sources, what more is known,
/// and what can be done.
pub fn problems(problems: &[Problem], style: &Style) -> String {
    let mut out = String::new();
    for (index, each) in problems.iter().enumerate() {
        if index > 0 {
            out.push('\n');
        }
        out.push_str(&problem(each, style));
    }
    out
}

/// One problem as text.
pub fn problem(problem: &Problem, style: &Style) -> String {
    let mut out = String::new();
    write(problem, "Error", "1;31", style, &mut out);
    out
}

pub(super) fn write(problem: &Problem, word: &str, code: &str, style: &Style, out: &mut String) {
    let mut place = Vec::new();
    match &problem.address {
        Some(address) => place.push(escaped(address.as_str()).into_owned()),
        None if problem.part.is_empty() => {}
        None => place.push(format!("part {}", escaped(&problem.part))),
    }
    if let Some(location) = &problem.location {
        place.push(format!("at {}", escaped(&location.to_string())));
    }
    let _ = writeln!(
        out,
        "{}: {}",
        style.paint(code, word),
        style.bold(&escaped(&problem.summary))
    );
    if !place.is_empty() {
        let _ = writeln!(out, "  {}", style.cyan(&place.join(", ")));
    }
    for line in problem.detail.lines() {
        if line.trim().is_empty() {
            out.push('\n');
        } else if line.starts_with([' ', '\t']) || line.contains('|') {
            // Lines of a source, drawn as they are.
            let _ = writeln!(out, "  {}", escaped(&line.replace('\t', "    ")));
        } else {
            wrapped(&escaped(line), "  ", style.width, out);
        }
    }
    if let Some(hint) = &problem.hint {
        let mut lines = String::new();
        wrapped(&escaped(hint), "        ", style.width, &mut lines);
        let _ = write!(
            out,
            "  {} {}",
            style.cyan("hint:"),
            lines.get(8..).unwrap_or_default()
        );
    }
}

/// Why a blueprint no longer fits.
pub fn stale(stale: &Stale, style: &Style) -> String {
    let mut out = format!(
        "{}: {}\n",
        style.red("Error"),
        style.bold("the world has moved since the plan was made")
    );
    if let Some((planned, present)) = stale.revisions {
        let _ = writeln!(
            out,
            "  it was made for revision {planned}, the score is at revision {present} now"
        );
    }
    for moved in &stale.moved {
        let mut line = format!("{}: {}", escaped(&moved.what), escaped(&moved.how));
        if let Some(by) = &moved.by {
            let _ = write!(line, ", by {}", escaped(by));
        }
        wrapped(&line, "  ", style.width, &mut out);
    }
    let _ = writeln!(out, "  {} plan again", style.cyan("hint:"));
    out
}
