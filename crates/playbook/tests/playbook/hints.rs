//! What helps with errors: the expression, the values of its variables, what could be done.

use std::sync::Arc;

use consort_jinja::Dict;
use consort_playbook::output::{Callback, Event};
use parking_lot::Mutex;

use crate::executor::play_telling;

struct Helps(Arc<Mutex<Vec<String>>>);

impl Callback for Helps {
    fn event(&mut self, event: &Event<'_>) {
        if let Event::Result(result) | Event::Item(result) = event {
            self.0
                .lock()
                .extend(result.helps.as_deref().map(str::to_owned));
        }
    }
}

/// What helps with the failure of a task.
fn helps(task: &str) -> String {
    let directory = tempfile::tempdir().unwrap();
    let kept = Arc::new(Mutex::new(Vec::new()));
    let text = format!(
        "- hosts: all\n  gather_facts: false\n  vars:\n    port: 80\n    user: {{name: bob, groups: [a, b]}}\n    db_password: hush\n  tasks:\n    - {task}\n"
    );
    let callbacks: Vec<Box<dyn Callback>> = vec![Box::new(Helps(Arc::clone(&kept)))];
    play_telling(
        directory.path(),
        &text,
        &["one"],
        Dict::default(),
        callbacks,
    );
    let told = kept.lock().join("\n");
    told.replace(&format!("{}/", directory.path().display()), "")
}

#[test]
fn a_misspelt_variable_is_told_with_its_place_and_the_one_that_was_meant() {
    assert_eq!(
        helps("debug: {msg: \"see {{ prot }}\"}"),
        "site.yml:8:25: {{ prot }}\n  did you mean 'port'? It is 80"
    );
}

#[test]
fn what_an_expression_names_is_told_with_its_values() {
    assert_eq!(
        helps("debug: {msg: \"{{ user.nmae }}\"}"),
        "site.yml:8:21: {{ user.nmae }}\n  user = {'name': 'bob', 'groups': ['a', 'b']}\n  did you mean 'name'?\n  'user' has: name, groups"
    );
}

#[test]
fn values_of_secrets_and_of_what_is_not_to_be_seen_are_not_told() {
    let told = helps("debug: {msg: \"{{ db_password + 1 }}\"}");
    assert!(
        told.contains("db_password = (not shown: a secret)"),
        "{told}"
    );
    assert!(!told.contains("hush"), "{told}");
    assert_eq!(helps("{debug: {msg: \"{{ prot }}\"}, no_log: true}"), "");
}

#[test]
fn an_assertion_that_fails_is_told_with_what_it_looked_at() {
    assert_eq!(
        helps("assert: {that: [port == 80, port == 81]}"),
        "site.yml:8:35: port == 81\n  port = 80"
    );
}

#[test]
fn arguments_that_a_module_does_not_know_are_told_with_those_that_were_meant() {
    assert_eq!(
        helps("file: {pth: /, state: directory}"),
        "'pth' stands there: did you mean 'path'?"
    );
}
