//! `consort policy`: work on policies in Rego, with the options and exit codes that `opa` has.

mod eval;
mod format;
mod options;
mod test;

use std::io::IsTerminal as _;

use consort_policy::load::{Loaded, Manner};
use consort_policy::{Error, Version};

pub(crate) use self::options::Policy;
use crate::error::{Failure, Kind, Result};

/// What fails once policies are evaluated (and what `opa` means by 2).
const FAILED: u8 = 2;

pub(super) fn run(command: Policy) -> Result<()> {
    // Policies and their data may be nested deeply: the evaluator gets a stack of its own size.
    let worker = std::thread::Builder::new()
        .name("policy".to_owned())
        .stack_size(256 * 1024 * 1024)
        .spawn(move || match command {
            Policy::Test(args) => test::run(&args),
            Policy::Eval(args) => eval::run(&args),
            Policy::Fmt(args) => format::run(&args, false),
            Policy::FmtCheck(args) => format::run(&args, true),
        })?;
    worker.join().unwrap_or_else(|_| {
        Err(Failure::new(
            Kind::Failed,
            "the evaluation of policies failed in itself",
        ))
    })
}

fn version(v0: bool) -> Version {
    if v0 { Version::V0 } else { Version::V1 }
}

/// Reads modules and data.
fn load(data: &[String], bundles: &[String]) -> std::result::Result<Loaded, Error> {
    let mut loaded = Loaded::default();
    for path in data {
        loaded.read(path, Manner::All)?;
    }
    for path in bundles {
        loaded.read(path, Manner::Bundle)?;
    }
    Ok(loaded)
}

/// An error with the line it is in and what might help.
fn shown(error: &Error, loaded: &Loaded) -> String {
    use std::fmt::Write as _;
    let red = |text: &str| {
        if crate::output::coloured() && std::io::stderr().is_terminal() {
            crate::output::red(text)
        } else {
            text.to_owned()
        }
    };
    let mut text = match &error.file {
        Some(file) if error.line > 0 => format!("{file}:{}:{}: ", error.line, error.column.max(1)),
        Some(file) => format!("{file}: "),
        None => String::new(),
    };
    let _ = writeln!(text, "{}: {}", red(error.kind.code()), error.message);
    let line = error.file.as_ref().and_then(|file| {
        let (_, source) = loaded.modules.iter().find(|(name, _)| name == file)?;
        source
            .lines()
            .nth(usize::try_from(error.line).ok()?.checked_sub(1)?)
    });
    if let Some(line) = line {
        let before: String = line
            .chars()
            .take(usize::try_from(error.column.saturating_sub(1)).unwrap_or(0))
            .map(|char| if char == '\t' { '\t' } else { ' ' })
            .collect();
        let _ = writeln!(text, "\t{line}\n\t{before}^");
    }
    if let Some(hint) = &error.hint {
        let _ = writeln!(text, "hint: {hint}");
    }
    text
}

/// A length of time as Go writes it: `1.234ms`.
fn duration(time: std::time::Duration) -> String {
    let nanoseconds = time.as_nanos();
    let (unit, scale, digits) = match nanoseconds {
        0..1_000 => return format!("{nanoseconds}ns"),
        1_000..1_000_000 => ("\u{b5}s", 1_000, 3),
        1_000_000..1_000_000_000 => ("ms", 1_000_000, 6),
        _ => ("s", 1_000_000_000, 9),
    };
    let fraction = format!("{:0digits$}", nanoseconds % scale);
    let fraction = fraction.trim_end_matches('0');
    let point = if fraction.is_empty() { "" } else { "." };
    format!("{}{point}{fraction}{unit}", nanoseconds / scale)
}

/// The lines of a trace.
fn trace(trace: &consort_policy::engine::Trace, failures: bool, notes_only: bool) -> String {
    use std::fmt::Write as _;

    use consort_policy::engine::Event;
    let mut text = String::new();
    let mut rule_before = String::new();
    for event in &trace.events {
        match event {
            Event::Note(note) => {
                let _ = writeln!(text, "Note \"{note}\"");
            }
            Event::Statement { .. } if notes_only => {}
            Event::Statement {
                file,
                line,
                rule,
                text: statement,
                held,
            } => {
                if failures && !held.is_empty() {
                    continue;
                }
                if *rule != rule_before {
                    let _ = writeln!(text, "{file}:{line}\tEnter {rule}");
                    rule_before.clone_from(rule);
                }
                let verb = if held.is_empty() { "Fail" } else { "Eval" };
                let _ = writeln!(text, "{file}:{line}\t| {verb} {statement}");
                for values in held.iter().filter(|values| !values.is_empty()) {
                    let values: Vec<String> = values
                        .iter()
                        .map(|(name, value)| format!("{name}: {}", value.json()))
                        .collect();
                    let _ = writeln!(text, "{file}:{line}\t| | {{{}}}", values.join(", "));
                }
            }
        }
    }
    if trace.dropped > 0 {
        let _ = writeln!(text, "({} further events were dropped)", trace.dropped);
    }
    text
}

/// Coverage in the JSON form that `opa` gives.
fn coverage_json(coverage: &consort_policy::engine::Coverage) -> serde_json::Value {
    use serde_json::json;
    let ranges = |lines: &std::collections::BTreeSet<u32>| -> Vec<serde_json::Value> {
        let mut ranges: Vec<(u32, u32)> = Vec::new();
        for line in lines {
            match ranges.last_mut() {
                Some((_, end)) if *end + 1 == *line => *end = *line,
                _ => ranges.push((*line, *line)),
            }
        }
        ranges
            .into_iter()
            .map(|(start, end)| json!({"start": {"row": start}, "end": {"row": end}}))
            .collect()
    };
    let round = |share: f64| (share * 100.0).round() / 100.0;
    let files: serde_json::Map<String, serde_json::Value> = coverage
        .files
        .iter()
        .map(|file| {
            let mut entry = serde_json::Map::new();
            if !file.covered.is_empty() {
                entry.insert("covered".to_owned(), ranges(&file.covered).into());
                entry.insert("covered_lines".to_owned(), file.covered.len().into());
            }
            if !file.not_covered.is_empty() {
                entry.insert("not_covered".to_owned(), ranges(&file.not_covered).into());
                entry.insert(
                    "not_covered_lines".to_owned(),
                    file.not_covered.len().into(),
                );
            }
            entry.insert("coverage".to_owned(), round(file.percent()).into());
            (file.file.clone(), entry.into())
        })
        .collect();
    let (covered, not_covered) = coverage.lines();
    json!({"files": files, "covered_lines": covered, "not_covered_lines": not_covered, "coverage": round(coverage.percent())})
}
