//! Plugins that are written in Python, asked through the process that runs them. Where no ansible-core is installed, their use
//! must say so.

use std::path::Path;
use std::sync::Arc;

use consort_jinja::{Dict, Str, Value};
use consort_playbook::bridge::{Bridge, BridgeOptions};
use consort_playbook::python::core::Core;
use consort_playbook::template::{Plugins, Templar, TemplarOptions};

const FILTERS: &str = r#"
class FilterModule:
    def filters(self):
        return {"shout": lambda text, times=1: text.upper() + "!" * times, "refuse": self.refuse, "unique_of": set}

    def refuse(self, value):
        raise ValueError("not %s" % value)
"#;

const LOOKUP: &str = r#"
from ansible.plugins.lookup import LookupBase

class LookupModule(LookupBase):
    def run(self, terms, variables=None, **named):
        return [self._templar.template(variables[term]) for term in terms] + [named.get("more")]
"#;

fn templar(directory: &Path) -> Templar {
    for (below, name, source) in [
        ("filter_plugins", "ours.py", FILTERS),
        ("lookup_plugins", "looked.py", LOOKUP),
    ] {
        let below = directory.join(below);
        std::fs::create_dir_all(&below).unwrap();
        std::fs::write(below.join(name), source).unwrap();
    }
    let bridge = Bridge::new(BridgeOptions {
        directory: directory.to_owned(),
        ..BridgeOptions::default()
    });
    bridge.look_in(directory);
    Templar::new(&TemplarOptions {
        basedir: directory.to_owned(),
        plugins: Some(Arc::new(bridge) as Arc<dyn Plugins>),
        ..TemplarOptions::default()
    })
}

/// What a template gives; where there is no ansible-core, that it says so.
fn rendered(template: &str) -> Option<Result<String, String>> {
    let directory = tempfile::tempdir().unwrap();
    let templar = templar(directory.path());
    let variables: Dict = [
        ("who", Value::from("world")),
        ("greeting", Value::Str(Str::template("hello {{ who }}"))),
    ]
    .into_iter()
    .collect();
    let given = templar
        .render(&Value::Str(Str::template(template)), &variables)
        .map(|value| consort_jinja::repr::text(&value))
        .map_err(|error| error.to_string());
    if Core::installed().is_err() {
        let said = given.unwrap_err();
        assert!(said.contains("Plugins in Python cannot be run"), "{said}");
        return None;
    }
    Some(given)
}

#[test]
fn a_filter_beside_the_playbook_is_run_with_its_arguments() {
    if let Some(given) = rendered("{{ 'abc' | shout(times=2) }}") {
        assert_eq!(given.unwrap(), "ABC!!");
    }
}

#[test]
fn what_a_filter_refuses_is_told_with_its_name() {
    if let Some(given) = rendered("{{ 'this' | refuse }}") {
        let said = given.unwrap_err();
        assert!(
            said.contains("The filter plugin 'refuse' failed: not this"),
            "{said}"
        );
    }
}

#[test]
fn a_value_that_only_python_has_can_be_handed_on_to_other_filters() {
    if let Some(given) = rendered("{{ [2, 1, 2] | unique_of | list | sort }}") {
        assert_eq!(given.unwrap(), "[1, 2]");
    }
}

#[test]
fn a_lookup_sees_variables_and_renders_what_may_be_rendered() {
    if let Some(given) = rendered("{{ query('looked', 'greeting', more=who) }}") {
        assert_eq!(given.unwrap(), "['hello world', 'world']");
    }
}
