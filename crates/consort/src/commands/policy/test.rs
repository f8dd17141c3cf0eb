//! `consort policy test`.

use consort_policy::suite::{self, Tested, Verdict};
use consort_policy::{Options, engine::Event};
use regex::Regex;
use serde_json::json;

use super::options::{Explain, PolicyTest, TestFormat};
use super::{FAILED, coverage_json, duration, load, shown, trace, version};
use crate::error::{Failure, Kind, Result};
use crate::output::print;

#[derive(Default)]
struct Counts {
    passed: usize,
    failed: usize,
    skipped: usize,
    broken: usize,
}

pub(super) fn run(args: &PolicyTest) -> Result<()> {
    let wanted = args
        .run
        .as_deref()
        .map(Regex::new)
        .transpose()
        .map_err(|error| {
            Failure::new(
                Kind::Usage,
                format!("--run is no regular expression: {error}"),
            )
        })?;
    let loaded = load(&args.paths, &args.bundle)
        .map_err(|error| Failure::printed(Kind::Failed, format!("{error}\n")))?;
    let options = Options {
        version: version(args.v0_compatible),
        strict: false,
        coverage: args.coverage || args.threshold.is_some(),
        trace: matches!(args.explain, Some(Explain::Full | Explain::Fails)),
        deadline: (args.timeout.as_secs() > 0).then_some(args.timeout),
    };
    let mut counts = Counts::default();
    let mut entries = Vec::new();
    let mut last_file = String::new();
    let mut said = false;
    let pretty = args.format == TestFormat::Pretty && !options.coverage;
    let mut failures = Vec::new();
    let engine = suite::run(
        &loaded,
        &options,
        &|name| wanted.as_ref().is_none_or(|wanted| wanted.is_match(name)),
        &mut |tested| {
            count(&tested, &mut counts);
            if pretty && (args.verbose || tested.verdict != Verdict::Passed) {
                said = true;
                tell(&tested, args, &mut last_file, &loaded);
            }
            entries.push(entry(&tested));
            if tested.verdict == Verdict::Failed {
                failures.push(tested);
            }
        },
    )
    .map_err(|error| Failure::printed(Kind::Failed, shown(&error, &loaded)))?;

    let bad = counts.failed + counts.broken > 0;
    if options.coverage && !bad {
        let coverage = engine.coverage();
        print(&format!(
            "{}\n",
            serde_json::to_string_pretty(&coverage_json(&coverage)).unwrap_or_default()
        ));
        if let Some(threshold) = args.threshold
            && coverage.percent() < threshold
        {
            eprintln!(
                "Code coverage threshold not met: got {:.2} instead of {threshold:.2}",
                coverage.percent()
            );
            return Err(Failure::code(FAILED));
        }
    } else if args.format == TestFormat::Json && !options.coverage {
        print(&format!(
            "{}\n",
            serde_json::to_string_pretty(&entries).unwrap_or_default()
        ));
    } else {
        if !pretty {
            for tested in &failures {
                said = true;
                tell(tested, args, &mut last_file, &loaded);
            }
        }
        summary(&counts, said);
    }
    if bad {
        return Err(Failure::code(FAILED));
    }
    if counts.skipped > 0 && !args.exit_zero_on_skipped {
        return Err(Failure::code(FAILED));
    }
    Ok(())
}

fn count(tested: &Tested, counts: &mut Counts) {
    match &tested.verdict {
        Verdict::Skipped => counts.skipped += 1,
        Verdict::Broken(_) => counts.broken += 1,
        Verdict::Passed | Verdict::Failed if !tested.cases.is_empty() => {
            for (_, passed) in &tested.cases {
                if *passed {
                    counts.passed += 1;
                } else {
                    counts.failed += 1;
                }
            }
        }
        Verdict::Passed => counts.passed += 1,
        Verdict::Failed => counts.failed += 1,
    }
}

fn outcome(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Passed => "PASS",
        Verdict::Failed => "FAIL",
        Verdict::Skipped => "SKIPPED",
        Verdict::Broken(_) => "ERROR",
    }
}

fn tell(
    tested: &Tested,
    args: &PolicyTest,
    last_file: &mut String,
    loaded: &consort_policy::load::Loaded,
) {
    use std::fmt::Write as _;
    let mut text = String::new();
    let file = &tested.rule.file;
    if !last_file.is_empty() && last_file != file {
        text.push('\n');
    }
    last_file.clone_from(file);
    let _ = writeln!(text, "{file}:{}:", tested.rule.line);
    let _ = match &tested.verdict {
        Verdict::Skipped => writeln!(text, "{}: SKIPPED", tested.rule.path()),
        verdict => writeln!(
            text,
            "{}: {} ({})",
            tested.rule.path(),
            outcome(verdict),
            duration(tested.duration)
        ),
    };
    for (name, passed) in &tested.cases {
        if args.verbose || !passed {
            let _ = writeln!(text, "  {name}: {}", if *passed { "PASS" } else { "FAIL" });
        }
    }
    if !tested.prints.is_empty() {
        text.push('\n');
        for line in &tested.prints {
            let _ = writeln!(text, "  {line}");
        }
        text.push('\n');
    }
    if let Verdict::Broken(error) = &tested.verdict {
        for line in shown(error, loaded).lines() {
            let _ = writeln!(text, "  {line}");
        }
    }
    if let Some(explain) = args.explain
        && tested.verdict != Verdict::Passed
        && explain != Explain::Off
    {
        let lines = trace(
            &tested.trace,
            explain == Explain::Fails,
            explain == Explain::Notes,
        );
        for line in lines.lines() {
            let _ = writeln!(text, "    {line}");
        }
    }
    print(&text);
}

fn entry(tested: &Tested) -> serde_json::Value {
    let mut entry = json!({
        "location": {"file": tested.rule.file, "row": tested.rule.line, "col": 1},
        "package": format!("data.{}", tested.rule.package),
        "name": tested.rule.name,
        "duration": u64::try_from(tested.duration.as_nanos()).unwrap_or(u64::MAX),
    });
    match &tested.verdict {
        Verdict::Passed => {}
        Verdict::Failed => entry["fail"] = true.into(),
        Verdict::Skipped => entry["skip"] = true.into(),
        Verdict::Broken(error) => entry["error"] = error_json(error),
    }
    if !tested.prints.is_empty() {
        entry["output"] = (tested.prints.join("\n") + "\n").into();
    }
    if !tested.cases.is_empty() {
        let cases: serde_json::Map<String, serde_json::Value> = tested
            .cases
            .iter()
            .map(|(name, passed)| {
                let case = if *passed {
                    json!({"name": name})
                } else {
                    json!({"name": name, "fail": true})
                };
                (name.clone(), case)
            })
            .collect();
        entry["sub_results"] = cases.into();
    }
    let notes: Vec<&String> = tested
        .trace
        .events
        .iter()
        .filter_map(|event| match event {
            Event::Note(text) => Some(text),
            Event::Statement { .. } => None,
        })
        .collect();
    if !notes.is_empty() {
        entry["notes"] = json!(notes);
    }
    entry
}

/// An error as `opa` writes it in JSON.
pub(super) fn error_json(error: &consort_policy::Error) -> serde_json::Value {
    let mut entry = json!({"code": error.kind.code(), "message": error.message});
    if let Some(file) = &error.file {
        entry["location"] = json!({"file": file, "row": error.line, "col": error.column});
    }
    if let Some(hint) = &error.hint {
        entry["hint"] = hint.as_str().into();
    }
    entry
}

fn summary(counts: &Counts, said: bool) {
    use std::fmt::Write as _;
    let mut text = String::new();
    if said {
        let _ = writeln!(text, "{}", "-".repeat(80));
    }
    let total = counts.passed + counts.failed + counts.skipped + counts.broken;
    for (name, count) in [
        ("PASS", counts.passed),
        ("FAIL", counts.failed),
        ("SKIPPED", counts.skipped),
        ("ERROR", counts.broken),
    ] {
        if count > 0 {
            let _ = writeln!(text, "{name}: {count}/{total}");
        }
    }
    print(&text);
}
