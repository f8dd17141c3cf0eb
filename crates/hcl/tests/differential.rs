//! What real Terraform says to the expressions in `expressions/cases.txt` is recorded in `expressions/expected.txt`;
//! here our answers are held against it: each value by its exact JSON, each error by its summary and detail.
//!
//! `cargo test -p consort-hcl --test differential -- --ignored` asks the `terraform` on the path again and compares;
//! with `RECORD=1` it writes the file anew.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use consort_hcl::functions::{Options, core};
use consort_hcl::{Kind, Number, Sources, Tables, Type, Value, json, parse_expression};
use serde_json::Value as Json;

const CASES: &str = include_str!("expressions/cases.txt");
const EXPECTED: &str = include_str!("expressions/expected.txt");

/// What the expressions may refer to; the same in Terraform's words.
const FIXTURE: &str = r#"
resource "terraform_data" "u" {}
locals {
  template       = "hi $${name}"
  broken         = "hi $${"
  object         = { name = "n" }
  list           = [{ id = 1 }, { id = 2 }]
  number         = 41
  unknown        = terraform_data.u.id
  unknown_number = tonumber(terraform_data.u.id)
  unknown_list   = tolist(jsondecode(terraform_data.u.id))
}
"#;

fn fixture() -> Value {
    let id = |i: i64| Value::object([("id", Value::number(i))]);
    Value::object([
        ("template", Value::string("hi ${name}")),
        ("broken", Value::string("hi ${")),
        ("object", Value::object([("name", Value::string("n"))])),
        ("list", Value::tuple(vec![id(1), id(2)])),
        ("number", Value::number(Number::parse("41").unwrap())),
        ("unknown", Value::unknown_not_null(Type::String)),
        ("unknown_number", Value::unknown_not_null(Type::Number)),
        ("unknown_list", Value::unknown(Type::list(Type::Dynamic))),
    ])
}

/// Where we differ from what is recorded, and why.
const DIFFERENCES: [(&str, &str); 5] = [
    (
        "format(\"%v %v %v %v\", \"a\", 1.5, true, null)",
        NULL_ARGUMENT,
    ),
    ("format(\"%s\", null)", NULL_ARGUMENT),
    (
        "element([\"a\", \"b\", \"c\"], -1)",
        "terraform 1.11 panics; later ones count from the end, as we do",
    ),
    (
        "try(1 + \"x\")",
        "the message names the file, which is another one here",
    ),
    (
        "false && local.unknown == \"a\"",
        "later ones know that this is false, as we do",
    ),
];

const NULL_ARGUMENT: &str = "terraform 1.11 takes an untyped null for unknown, even when applying; later ones format it, as we do";

/// The expressions, each with whether it may have unknown parts.
fn cases() -> Vec<(&'static str, bool)> {
    let mut unknown = false;
    let mut cases = Vec::new();
    for line in CASES.lines() {
        if let Some(section) = line.strip_prefix("# ") {
            unknown = section == "unknown";
        } else if !line.is_empty() {
            cases.push((line, unknown));
        }
    }
    cases
}

/// An expression's line, then its answer indented.
fn answers() -> BTreeMap<&'static str, &'static str> {
    let lines: Vec<&str> = EXPECTED.lines().collect();
    lines
        .chunks_exact(2)
        .map(|pair| (pair[0], pair[1].trim_start()))
        .collect()
}

/// Line ends are shown, so that each answer is one line.
fn one_line(text: &str) -> String {
    text.replace('\n', "\\n")
}

fn ours(expression: &str, unknown: bool, scope: &Tables<'_>) -> String {
    let mut sources = Sources::new();
    let (expr, diagnostics) = parse_expression(&mut sources, "case", expression);
    let (value, diagnostics) = if diagnostics.has_errors() {
        (Value::DYNAMIC, diagnostics)
    } else {
        expr.evaluate(scope)
    };
    if let Some(first) = diagnostics.iter().next() {
        return one_line(&format!("! {}: {}", first.summary, first.detail));
    }
    if unknown {
        return format!("= {}", with_unknowns(&value));
    }
    match json::encode_simple(&value) {
        Ok(bytes) => format!("= {}", String::from_utf8(bytes).unwrap()),
        Err(e) => format!("! not JSON: {e}"),
    }
}

fn with_unknowns(value: &Value) -> Json {
    match value.kind() {
        Kind::Null => Json::Null,
        Kind::Unknown(_) => Json::from("(unknown)"),
        Kind::Bool(value) => Json::from(value),
        Kind::Number(number) => serde_json::from_str(&number.to_string()).unwrap(),
        Kind::String(text) => Json::from(text),
        Kind::List(values) | Kind::Set(values) | Kind::Tuple(values) => {
            values.iter().map(with_unknowns).collect()
        }
        Kind::Map(values) | Kind::Object(values) => values
            .iter()
            .map(|(key, value)| (key.to_string(), with_unknowns(value)))
            .collect(),
    }
}

#[test]
fn expressions_have_the_values_and_the_errors_of_terraform() {
    let answers = answers();
    let scope = Tables::new(Arc::new(core(&Options::default()))).with("local", fixture());
    let mut wrong = String::new();
    let mut count = 0;
    for (expression, unknown) in cases() {
        let Some(expected) = answers.get(expression) else {
            let _ = writeln!(wrong, "{expression}\n  no answer recorded");
            continue;
        };
        count += 1;
        let ours = ours(expression, unknown, &scope);
        let excused = DIFFERENCES.iter().any(|(other, _)| *other == expression);
        if ours != *expected && !excused {
            let _ = writeln!(
                wrong,
                "{expression}\n  terraform {expected}\n  ours      {ours}"
            );
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
    assert!(count >= 400, "only {count} expressions");
}

#[test]
#[ignore = "asks the terraform on the path, which takes a minute"]
fn terraform_still_says_what_is_recorded() {
    if Command::new("terraform").arg("version").output().is_err() {
        println!("skipped: there is no terraform on the path");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let asked = ask(dir.path());
    let mut text = String::new();
    for (expression, _) in cases() {
        let answer = asked.get(expression).expect("an answer to each");
        let _ = writeln!(text, "{expression}\n  {answer}");
    }
    if std::env::var_os("RECORD").is_some() {
        let file = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/expressions/expected.txt"
        );
        std::fs::write(file, text).unwrap();
        return;
    }
    assert_eq!(text, EXPECTED);
}

fn terraform(dir: &Path, args: &[&str]) -> String {
    let output = Command::new("terraform")
        .args(args)
        .current_dir(dir)
        .env("TF_CLI_CONFIG_FILE", "/dev/null")
        .env("CHECKPOINT_DISABLE", "1")
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// Each expression is an output in a file of its own. Those with errors are taken away until a plan succeeds.
fn ask(dir: &Path) -> BTreeMap<&'static str, String> {
    let cases = cases();
    let name = |i: usize| format!("o{i:04}");
    std::fs::write(dir.join("main.tf"), FIXTURE).unwrap();
    let write = |i: usize, expression: &str| {
        let output = format!("output \"{}\" {{\nvalue = {expression}\n}}\n", name(i));
        std::fs::write(dir.join(format!("{}.tf", name(i))), output).unwrap();
    };
    for (i, (expression, _)) in cases.iter().enumerate() {
        write(i, expression);
    }
    terraform(dir, &["init", "-no-color"]);
    let mut answers = BTreeMap::new();
    for round in 0.. {
        assert!(round < 10, "errors do not end");
        let log = terraform(dir, &["plan", "-json", "-out=plan"]);
        let mut found = false;
        for line in log.lines() {
            let Ok(event) = serde_json::from_str::<Json>(line) else {
                continue;
            };
            let diagnostic = &event["diagnostic"];
            if diagnostic["severity"] != "error" {
                continue;
            }
            let file = diagnostic["range"]["filename"].as_str().expect("a place");
            let i: usize = file[1..5].parse().expect("the file of an expression");
            let text = |key: &str| diagnostic[key].as_str().unwrap_or_default().to_owned();
            answers
                .entry(cases[i].0)
                .or_insert_with(|| one_line(&format!("! {}: {}", text("summary"), text("detail"))));
            let _ = std::fs::remove_file(dir.join(file));
            found = true;
        }
        if !found {
            break;
        }
    }
    // Exact values of what is known are in its JSON; numbers of the plan's own JSON are read as machine floats.
    for (i, (expression, unknown)) in cases.iter().enumerate() {
        if !unknown && !answers.contains_key(expression) {
            write(i, &format!("jsonencode({expression})"));
        }
    }
    terraform(dir, &["plan", "-json", "-out=plan"]);
    let plan: Json = serde_json::from_str(&terraform(dir, &["show", "-json", "plan"])).unwrap();
    for (i, (expression, unknown)) in cases.iter().enumerate() {
        let change = &plan["output_changes"][name(i)];
        if change.is_null() {
            continue;
        }
        let value = merged(&change["after"], &change["after_unknown"]);
        let answer = match value.as_str() {
            Some(text) if !unknown => format!("= {text}"),
            _ => format!("= {value}"),
        };
        answers.insert(expression, answer);
    }
    answers
}

fn merged(known: &Json, unknown: &Json) -> Json {
    match unknown {
        Json::Bool(true) => Json::from("(unknown)"),
        Json::Object(parts) => {
            let mut keys: Vec<&String> = parts.keys().collect();
            keys.extend(known.as_object().into_iter().flat_map(|map| map.keys()));
            keys.sort();
            keys.dedup();
            keys.into_iter()
                .map(|key| {
                    (
                        key.clone(),
                        merged(&known[key], parts.get(key).unwrap_or(&Json::Null)),
                    )
                })
                .collect()
        }
        Json::Array(parts) => parts
            .iter()
            .enumerate()
            .map(|(i, part)| merged(&known[i], part))
            .collect(),
        _ => known.clone(),
    }
}
