//! The native modules, called as a playbook calls them.

use consort_modules::{Invocation, Settings, find};
use serde_json::{Value, json};

/// Runs a module here and gives its result.
fn run(module: &str, arguments: Value) -> Value {
    let Value::Object(arguments) = arguments else {
        panic!("arguments are an object")
    };
    let invocation = Invocation {
        module: module.to_owned(),
        arguments,
        settings: Settings::default(),
    };
    Value::Object(find(module).expect("a native module").run(&invocation))
}

#[test]
fn ping_answers_what_it_is_told() {
    assert_eq!(run("ping", json!({})), json!({"ping": "pong"}));
    assert_eq!(run("ping", json!({"data": "crash"}))["failed"], true);
}

mod apt;
mod facts;
mod ini;
mod inquiries;
mod python_re;
mod recorded;
mod services;
mod web;
