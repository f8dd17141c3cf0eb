//! What ansible-core 2.21.5 made of templates (`recorded/filters.json`), and what is made of them here.

use std::path::PathBuf;
use std::sync::Arc;

use consort_jinja::{Dict, Key, Str, Value, is_omit, repr};
use consort_playbook::template::{Templar, TemplarOptions};
use serde_json::Value as Json;

/// A value from JSON, with every text trusted to be a template.
fn trusted(json: &Json) -> Value {
    match json {
        Json::Null => Value::None,
        Json::Bool(value) => Value::Bool(*value),
        Json::Number(number) => match number.as_i64() {
            Some(number) => Value::Int(number),
            None => Value::Float(number.as_f64().unwrap()),
        },
        Json::String(text) => Value::Str(Str::template(text.as_str())),
        Json::Array(items) => Value::list(items.iter().map(trusted).collect()),
        Json::Object(entries) => Value::Dict(Dict::new(
            entries
                .iter()
                .map(|(key, value)| (Key::from(key.as_str()), trusted(value)))
                .collect(),
        )),
    }
}

/// What comes of each template, where it is not what was recorded.
fn differing(recorded: &str, prepare: impl Fn(&str) -> String) -> Vec<String> {
    let recorded: Json = serde_json::from_str(recorded).unwrap();
    let Value::Dict(variables) = trusted(&recorded["variables"]) else {
        panic!("variables");
    };
    let templar = Templar::new(&TemplarOptions::default());
    let mut wrong = Vec::new();
    for case in recorded["cases"].as_array().unwrap() {
        let template = case["template"].as_str().unwrap();
        let text = Value::Str(Str::template(prepare(template)));
        let got = match templar.render(&text, &variables) {
            Ok(value) if is_omit(&value) => {
                Err("A template was resolved to an Omit scalar.".to_owned())
            }
            Ok(value) => Ok(repr::repr(&value)),
            Err(error) => Err(error.to_string()),
        };
        let expected = match case.get("repr") {
            Some(repr) => Ok(prepare(repr.as_str().unwrap())),
            None => Err(prepare(case["error"].as_str().unwrap())),
        };
        if got != expected {
            wrong.push(format!(
                "{template}\n  expected {expected:?}\n  got      {got:?}"
            ));
        }
    }
    wrong
}

#[test]
fn filters_tests_and_lookups_give_what_ansible_gives() {
    let files = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/playbook/recorded/files");
    let files = files.to_string_lossy();
    let wrong = differing(include_str!("recorded/filters.json"), |text| {
        text.replace("/rec/templar/files", &files)
    });
    assert!(
        wrong.is_empty(),
        "{} differ:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[test]
fn only_what_is_looked_at_is_rendered() {
    let wrong = differing(include_str!("recorded/lazy.json"), str::to_owned);
    assert!(
        wrong.is_empty(),
        "{} differ:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[test]
fn a_templar_can_be_shared_by_threads() {
    fn shared<T: Send + Sync + Clone>(_: &T) {}
    shared(&Arc::new(Templar::new(&TemplarOptions::default())));
}
