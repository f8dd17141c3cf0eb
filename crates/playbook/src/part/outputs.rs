//! What a part gives to others: what `set_stats` set, and its hosts.

use std::collections::{BTreeMap, BTreeSet};

use consort_jinja::{Dict, Key, Value};
use serde_json::{Map, Value as Json};

use crate::language::{Directive, Item, Play, Playbook, Task};
use crate::output::Stats;
use crate::values;

/// The output with the hosts.
pub(super) const HOSTS: &str = "hosts";

/// What `set_stats` gives in tasks that are known before the run, by name: its value where it stands there as it is.
#[derive(Clone, Debug, Default)]
pub(super) struct Declared(pub(super) BTreeMap<String, Option<Json>>);

/// Reads playbooks for it.
pub(super) fn declared(playbooks: &[Playbook]) -> Declared {
    let mut declared = Declared::default();
    for play in playbooks.iter().flat_map(|playbook| &playbook.plays) {
        tasks(play, &mut |task| {
            if task.action.builtin() != Some("set_stats") {
                return;
            }
            let arguments = &task.action.arguments;
            let Some(Value::Dict(data)) = arguments.get("data") else {
                return;
            };
            // One by host, or added up, is not what stands there.
            let plain = arguments.get("per_host").is_none()
                && arguments.get("aggregate").is_none()
                && task.looped.is_none()
                && task.directive(Directive::When).is_none();
            for (key, value) in data.read().iter() {
                let Some(name) = key.as_str().filter(|name| !name.contains("{{")) else {
                    continue;
                };
                let literal = (plain && !says_template(value)).then(|| values::to_json(value));
                declared
                    .0
                    .entry(name.to_owned())
                    .and_modify(|known| {
                        if *known != literal {
                            *known = None;
                        }
                    })
                    .or_insert(literal);
            }
        });
    }
    declared
}

fn says_template(value: &Value) -> bool {
    match value {
        Value::Str(text) => text.contains("{{") || text.contains("{%"),
        Value::List(list) => list.read().iter().any(says_template),
        Value::Dict(dict) => dict.read().values().any(says_template),
        _ => false,
    }
}

/// Every task of a play that is known before it runs, handlers too.
pub(super) fn tasks(play: &Play, tell: &mut dyn FnMut(&Task)) {
    fn items_of(items: &[Item], tell: &mut dyn FnMut(&Task)) {
        for item in items {
            match item {
                Item::Task(task) => tell(task),
                Item::Block(block) => {
                    items_of(&block.tasks, tell);
                    items_of(&block.rescue, tell);
                    items_of(&block.always, tell);
                }
            }
        }
    }
    items_of(&play.compile(false), tell);
    items_of(&play.handlers, tell);
}

/// What was set, by name: for the run, or by host.
pub(super) fn told(stats: &Stats) -> BTreeMap<String, Json> {
    let mut told: BTreeMap<String, Json> = BTreeMap::new();
    let entries = |of: &Dict| -> Vec<(String, Json)> {
        of.read()
            .iter()
            .filter_map(|(key, value)| Some((Key::as_str(key)?.to_owned(), values::to_json(value))))
            .collect()
    };
    for (host, of) in stats.custom.iter().filter(|(host, _)| *host != "_run") {
        for (name, value) in entries(of) {
            let by_host = told.entry(name).or_insert_with(|| Json::Object(Map::new()));
            if let Some(by_host) = by_host.as_object_mut() {
                by_host.insert(host.clone(), value);
            }
        }
    }
    if let Some(of) = stats.custom.get("_run") {
        told.extend(entries(of));
    }
    told
}

/// The names of all outputs beside the hosts.
pub(super) fn names(
    declared: &Declared,
    described: &BTreeMap<String, String>,
    seen: &BTreeMap<String, Json>,
) -> BTreeSet<String> {
    declared
        .0
        .keys()
        .chain(described.keys())
        .chain(seen.keys())
        .cloned()
        .collect()
}
