//! Facts that are kept from run to run.

use std::path::Path;

use consort_jinja::{Dict, Str, Value, repr};
use consort_playbook::source::Reader;
use consort_playbook::variables::{FactCache, JsonFiles};

fn cache(directory: &Path) -> JsonFiles {
    JsonFiles::new(directory, "", None, Reader::new()).unwrap()
}

/// A file as ansible-core writes it: all facts in one text.
fn written(directory: &Path, host: &str, payload: &str) {
    let text = serde_json::json!({"__payload__": payload}).to_string();
    std::fs::write(directory.join(format!("s1_{host}")), text).unwrap();
}

fn text(facts: &Dict, name: &str) -> Str {
    match facts.get(name) {
        Some(Value::Str(text)) => text,
        other => panic!("{name} is {other:?}"),
    }
}

#[test]
fn facts_that_ansible_core_kept_are_read() {
    let directory = tempfile::tempdir().unwrap();
    let payload = r#"{
        "plain": "a",
        "told": {"__ansible_type": "_AnsibleTaggedStr", "value": "{{ b }}", "tags": [
            {"__ansible_type": "Origin", "path": "/srv/site.yml", "line_num": 4, "col_num": 26},
            {"__ansible_type": "TrustedAsTemplate"}]},
        "number": {"__ansible_type": "_AnsibleTaggedInt", "value": 7, "tags": []},
        "all": {"__ansible_type": "_AnsibleTaggedDict", "value": {"k": [1, "x"]}, "tags": []},
        "day": {"__ansible_type": "_AnsibleTaggedDate", "tags": [],
                "value": {"__ansible_type": "AnsibleSerializableDate", "iso8601": "2024-01-02"}},
        "unheard": {"__ansible_type": "Later", "x": 1}
    }"#;
    written(directory.path(), "h1", payload);
    let facts = cache(directory.path()).load("h1").unwrap().unwrap();
    assert!(!text(&facts, "plain").is_template());
    let told = text(&facts, "told");
    assert!(told.is_template());
    let origin = told.origin().unwrap();
    assert_eq!(
        (&*origin.file, origin.line, origin.column),
        ("/srv/site.yml", 4, 26)
    );
    let shown = |name: &str| repr::repr(&facts.get(name).unwrap());
    assert_eq!(shown("number"), "7");
    assert_eq!(shown("all"), "{'k': [1, 'x']}");
    assert_eq!(shown("day"), "datetime.date(2024, 1, 2)");
    assert_eq!(shown("unheard"), "{'x': 1}");
}

#[test]
fn what_is_kept_is_the_same_when_it_is_read_again() {
    let directory = tempfile::tempdir().unwrap();
    let facts: Dict = [
        ("trusted", Value::Str(Str::template("{{ a }}"))),
        ("given", Value::from("{{ a }}")),
        ("list", Value::list(vec![Value::Int(1), Value::Float(1.5)])),
        ("none", Value::None),
    ]
    .into_iter()
    .collect();
    let cache = cache(directory.path());
    cache.store("a/b", &facts).unwrap();
    let again = cache.load("a/b").unwrap().unwrap();
    assert_eq!(repr::repr(&again.into()), repr::repr(&facts.into()));
    let again = cache.load("a/b").unwrap().unwrap();
    assert!(text(&again, "trusted").is_template());
    assert!(!text(&again, "given").is_template());
    cache.forget("a/b");
    assert!(cache.load("a/b").unwrap().is_none());
    // the names of hosts do not lead out of the directory
    assert!(
        std::fs::read_dir(directory.path())
            .unwrap()
            .next()
            .is_none()
    );
}

#[test]
fn a_file_that_is_no_cache_is_told_and_taken_away() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("s1_h1"), "xx").unwrap();
    let cache = cache(directory.path());
    let why = cache.load("h1").unwrap_err();
    assert!(why.contains("was corrupt"), "{why}");
    assert!(cache.load("h1").unwrap().is_none());
}
