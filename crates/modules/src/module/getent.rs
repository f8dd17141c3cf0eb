//! `getent`: an entry of one of the machine's databases, or all of them, as a fact.

use std::sync::LazyLock;

use indexmap::IndexMap;
use serde_json::{Map, Value, json};

use crate::arguments::{Spec, boolean, text};
use crate::context::Context;
use crate::invocation::{Failure, Invocation, Outcome, Report};
use crate::process::{self, Command};
use crate::registry::Module;

pub(crate) const MODULE: Module = Module {
    name: "getent",
    act,
};

static SPEC: LazyLock<Spec> = LazyLock::new(|| {
    Spec::new()
        .with("database", text().required())
        .with("key", text().no_log(false))
        .with("service", text())
        .with("split", text())
        .with("fail_key", boolean().default(true))
        .supports_check_mode()
});

fn act(context: &mut Context<'_>, invocation: &Invocation) -> Outcome {
    let arguments = context.arguments(&SPEC, invocation)?;
    let database = arguments.required("database");
    let getent = process::required(context, "getent", &[])?;
    let mut words = vec![getent.as_str(), database];
    words.extend(arguments.text("key"));
    if let Some(service) = arguments.text("service") {
        words.extend(["-s", service]);
    }
    let split = match arguments.text("split") {
        Some("") => {
            return Err(Failure::new(
                "Invalid split value. The value must be a non-empty string",
            ));
        }
        None if ["passwd", "shadow", "group", "gshadow"].contains(&database) => Some(":"),
        split => split,
    };
    let done = Command::new(words).run(context)?;
    let told = |entries: Map<String, Value>| {
        let facts = Map::from_iter([(format!("getent_{database}"), entries.into())]);
        Report::from_iter([("ansible_facts".to_owned(), facts.into())])
    };
    let wrong = match done.code {
        0 => return Ok(told(entries(&done.out(), split))),
        1 => "Missing arguments, or database unknown.",
        2 => {
            let wrong = "One or more supplied key could not be found in the database.";
            if !arguments.flag("fail_key") {
                // Without a key, Python has its None as the name of the entry, which is `null` in JSON.
                let key = arguments.text("key").unwrap_or("null");
                let mut report = told(Map::from_iter([(key.to_owned(), Value::Null)]));
                report.insert("msg".to_owned(), json!(wrong));
                return Ok(report);
            }
            wrong
        }
        3 => "Enumeration not supported on this database.",
        _ => "Unexpected failure!",
    };
    Err(Failure::new(wrong))
}

/// The entries of what `getent` prints: the first field, and the others. Where the first is there several times, there are
/// several lists of others.
fn entries(said: &str, split: Option<&str>) -> Map<String, Value> {
    let mut all: IndexMap<String, Vec<Value>> = IndexMap::new();
    for line in said.lines() {
        let mut fields: Vec<&str> = match split {
            Some(split) => line.split(split).collect(),
            None => line.split_whitespace().collect(),
        };
        if fields.is_empty() {
            continue;
        }
        let first = fields.remove(0);
        all.entry(first.to_owned()).or_default().push(json!(fields));
    }
    all.into_iter()
        .map(|(key, mut records)| {
            let value = if records.len() == 1 {
                records.remove(0)
            } else {
                records.into()
            };
            (key, value)
        })
        .collect()
}
