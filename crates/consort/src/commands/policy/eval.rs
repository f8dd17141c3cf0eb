//! `consort policy eval`.

use std::io::Read as _;

use consort_policy::engine::{Kind as Wrong, Solution};
use consort_policy::{Document, Error, Options, load as files};
use serde_json::{Value, json};

use super::options::{EvalFormat, Explain, PolicyEval};
use super::test::error_json;
use super::{FAILED, coverage_json, load, shown, trace, version};
use crate::error::{Failure, Kind, Result};
use crate::output::print;

pub(super) fn run(args: &PolicyEval) -> Result<()> {
    if args.fail && args.fail_defined {
        return Err(Failure::new(
            Kind::Usage,
            "specify --fail or --fail-defined but not both",
        ));
    }
    let query = match (&args.query, args.stdin) {
        (Some(query), _) => query.clone(),
        (None, true) => std::io::read_to_string(std::io::stdin())?,
        (None, false) => {
            return Err(Failure::new(
                Kind::Usage,
                "specify a query, or --stdin to read one",
            ));
        }
    };
    let loaded = match load(&args.data, &args.bundle) {
        Ok(loaded) => loaded,
        Err(error) => return wrong(args, &error, &files::Loaded::default()),
    };
    let input = match input(args) {
        Ok(input) => input,
        Err(error) => return wrong(args, &error, &loaded),
    };
    let options = Options {
        version: version(args.v0_compatible),
        strict: args.strict_builtin_errors,
        coverage: args.coverage,
        trace: matches!(args.explain, Some(Explain::Full | Explain::Fails)),
        deadline: (args.timeout.as_secs() > 0).then_some(args.timeout),
    };
    let answered = loaded.engine(options).and_then(|mut engine| {
        let solutions = engine.query(&query, input.as_ref())?;
        let prints = engine.take_prints();
        let noted = engine.take_trace();
        let coverage = args.coverage.then(|| engine.coverage());
        Ok((solutions, prints, noted, coverage))
    });
    let (solutions, prints, noted, coverage) = match answered {
        Ok(answered) => answered,
        Err(error) => return wrong(args, &error, &loaded),
    };
    for line in prints {
        eprintln!("{line}");
    }
    let explained = args
        .explain
        .filter(|explain| *explain != Explain::Off)
        .map(|explain| trace(&noted, explain == Explain::Fails, explain == Explain::Notes));
    show(args, &solutions, explained, coverage.as_ref());
    let undefined = solutions.is_empty();
    if (args.fail && undefined) || (args.fail_defined && !undefined) {
        return Err(Failure::code(1));
    }
    Ok(())
}

fn input(args: &PolicyEval) -> std::result::Result<Option<Document>, Error> {
    let (name, text) = match (&args.input, args.stdin_input) {
        (Some(path), _) => {
            let text = std::fs::read_to_string(path)
                .map_err(|error| Error::new(Wrong::Data, format!("{path}: {error}")))?;
            (path.as_str(), text)
        }
        (None, true) => {
            let mut text = String::new();
            std::io::stdin()
                .read_to_string(&mut text)
                .map_err(|error| Error::new(Wrong::Data, format!("standard input: {error}")))?;
            ("stdin", text)
        }
        (None, false) => return Ok(None),
    };
    files::parse(name, &text).map(|value| Some(Document::from(value)))
}

/// Tells what is wrong as the format asks, and ends with `opa`'s exit code for it.
fn wrong(args: &PolicyEval, error: &Error, loaded: &files::Loaded) -> Result<()> {
    if args.format == EvalFormat::Json {
        print(&format!(
            "{}\n",
            serde_json::to_string_pretty(&json!({"errors": [error_json(error)]}))
                .unwrap_or_default()
        ));
    } else {
        eprint!("{}", shown(error, loaded));
    }
    Err(Failure::code(FAILED))
}

fn bindings(solution: &Solution) -> serde_json::Map<String, Value> {
    solution
        .bindings
        .iter()
        .filter(|(name, _)| !name.starts_with("__"))
        .map(|(name, value)| (name.clone(), value.json()))
        .collect()
}

fn show(
    args: &PolicyEval,
    solutions: &[Solution],
    explained: Option<String>,
    coverage: Option<&consort_policy::engine::Coverage>,
) {
    let pretty = |value: &Value| serde_json::to_string_pretty(value).unwrap_or_default();
    match args.format {
        EvalFormat::Json => {
            let mut out = serde_json::Map::new();
            if !solutions.is_empty() {
                let result: Vec<Value> = solutions
                    .iter()
                    .map(|solution| {
                        let expressions: Vec<Value> = solution
                            .expressions
                            .iter()
                            .map(|(text, value)| json!({"value": value.json(), "text": text, "location": {"row": 1, "col": 1}}))
                            .collect();
                        let mut entry = json!({"expressions": expressions});
                        let bindings = bindings(solution);
                        if !bindings.is_empty() {
                            entry["bindings"] = bindings.into();
                        }
                        entry
                    })
                    .collect();
                out.insert("result".to_owned(), result.into());
            }
            if let Some(text) = explained {
                out.insert(
                    "explanation".to_owned(),
                    text.lines().map(Value::from).collect(),
                );
            }
            if let Some(coverage) = coverage {
                out.insert("coverage".to_owned(), coverage_json(coverage));
            }
            print(&format!("{}\n", pretty(&out.into())));
            return;
        }
        EvalFormat::Values => {
            let values: Vec<Value> = solutions
                .iter()
                .map(|solution| {
                    solution
                        .expressions
                        .iter()
                        .map(|(_, value)| value.json())
                        .collect()
                })
                .collect();
            print(&if values.is_empty() {
                "undefined\n".to_owned()
            } else {
                values
                    .iter()
                    .map(|value| format!("{}\n", pretty(value)))
                    .collect()
            });
        }
        EvalFormat::Bindings => {
            let all: Vec<Value> = solutions
                .iter()
                .map(|solution| bindings(solution).into())
                .collect();
            print(&if all.is_empty() {
                "undefined\n".to_owned()
            } else {
                all.iter()
                    .map(|value| format!("{}\n", pretty(value)))
                    .collect()
            });
        }
        EvalFormat::Raw => {
            for solution in solutions {
                let values: Vec<String> = solution
                    .expressions
                    .iter()
                    .map(|(_, value)| {
                        value
                            .as_str()
                            .map_or_else(|| value.json().to_string(), str::to_owned)
                    })
                    .collect();
                print(&format!("{}\n", values.join(" ")));
            }
        }
        EvalFormat::Discard => {}
        EvalFormat::Pretty => table(solutions),
    }
    if let Some(text) = explained {
        print(&text);
    }
    if let Some(coverage) = coverage {
        print(&format!("{}\n", pretty(&coverage_json(coverage))));
    }
}

/// One value as it is; several, or variables, as a table.
fn table(solutions: &[Solution]) {
    use std::fmt::Write as _;
    let Some(first) = solutions.first() else {
        print("undefined\n");
        return;
    };
    let variables: Vec<String> = bindings(first).keys().cloned().collect();
    if variables.is_empty() && solutions.len() == 1 && first.expressions.len() == 1 {
        let value = first
            .expressions
            .first()
            .map(|(_, value)| value.json())
            .unwrap_or_default();
        print(&format!(
            "{}\n",
            serde_json::to_string_pretty(&value).unwrap_or_default()
        ));
        return;
    }
    // An expression that is only true because its variables are is no column.
    let shown: Vec<usize> = (0..first.expressions.len())
        .filter(|at| {
            variables.is_empty()
                || solutions
                    .iter()
                    .any(|solution| !solution.expressions[*at].1.is_true())
        })
        .collect();
    let mut header = variables.clone();
    header.extend(shown.iter().map(|at| first.expressions[*at].0.clone()));
    let rows: Vec<Vec<String>> = solutions
        .iter()
        .map(|solution| {
            let bound = bindings(solution);
            let mut row: Vec<String> = variables
                .iter()
                .map(|name| bound.get(name).map(Value::to_string).unwrap_or_default())
                .collect();
            row.extend(
                shown
                    .iter()
                    .filter_map(|at| solution.expressions.get(*at))
                    .map(|(_, value)| value.json().to_string()),
            );
            row
        })
        .collect();
    let widths: Vec<usize> = (0..header.len())
        .map(|at| {
            rows.iter()
                .map(|row| row[at].chars().count())
                .chain([header[at].chars().count()])
                .max()
                .unwrap_or(0)
        })
        .collect();
    let rule: String = widths
        .iter()
        .map(|width| format!("+{}", "-".repeat(width + 2)))
        .collect::<String>()
        + "+\n";
    let line = |cells: &[String]| {
        let mut text = String::new();
        for (cell, width) in cells.iter().zip(&widths) {
            let _ = write!(text, "| {cell:width$} ");
        }
        text + "|\n"
    };
    let mut text = rule.clone() + &line(&header) + &rule;
    for row in &rows {
        text.push_str(&line(row));
    }
    text.push_str(&rule);
    print(&text);
}
