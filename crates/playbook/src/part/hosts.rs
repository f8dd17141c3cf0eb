//! The hosts a stanza names, as far as they are known.

use std::collections::BTreeMap;
use std::sync::Arc;

use consort_jinja::{Dict, Key, Origin, Value};
use consort_plan::{Feed, From, Planned};
use indexmap::IndexMap;
use serde_json::Value as Json;

use super::spec::{Described, Group, Host, Hosts};
use super::values::{self, Inputs};
use crate::unattended::Given;

/// A host of the stanza.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) given: Given,
    /// What of it is known only after the apply, if it cannot be reached without: `its address`.
    pub(super) lacks: Option<String>,
    /// The inputs it is made of.
    pub(super) from: Vec<String>,
    /// Its address as far as it is known, for outputs.
    pub(super) address: Planned,
}

/// A group of which not even the names of its hosts are known.
#[derive(Clone, Debug)]
pub(super) struct Unnamed {
    pub(super) group: String,
    /// The input that will tell them.
    pub(super) from: String,
}

/// The hosts of a stanza.
#[derive(Clone, Debug, Default)]
pub(super) struct Resolved {
    pub(super) hosts: Vec<Known>,
    pub(super) unnamed: Vec<Unnamed>,
    /// What is wrong with what other parts gave: the pointer in the stanza, and what was expected.
    pub(super) wrong: Vec<(String, String)>,
}

/// The hosts of a stanza with the inputs as they are known.
pub(super) fn resolve(hosts: Option<&Hosts>, inputs: &Inputs, origin: &Arc<Origin>) -> Resolved {
    let mut resolving = Resolving {
        inputs,
        origin,
        found: IndexMap::new(),
        resolved: Resolved::default(),
    };
    match hosts {
        None => {}
        Some(Hosts::Listed(all)) => {
            for host in all {
                resolving.host(host, None);
            }
        }
        Some(Hosts::Grouped(groups)) => {
            for (name, group) in groups {
                match group {
                    Group::Listed(all) => {
                        for host in all {
                            resolving.host(host, Some(name));
                        }
                    }
                    Group::Fed(From { from }) => resolving.fed(name, from),
                }
            }
        }
    }
    resolving.resolved.hosts = resolving.found.into_values().collect();
    resolving.resolved
}

struct Resolving<'a> {
    inputs: &'a Inputs,
    origin: &'a Arc<Origin>,
    /// By name: a host may be in several groups.
    found: IndexMap<String, Known>,
    resolved: Resolved,
}

impl Resolving<'_> {
    fn host(&mut self, host: &Host, group: Option<&str>) {
        match host {
            Host::Name(name) => {
                let address = Planned::known(Json::from(name.as_str()));
                self.add(name, group, Vec::new(), &address, None, Vec::new());
            }
            Host::Described(host) => self.described(host, group),
        }
    }

    fn described(&mut self, host: &Described, group: Option<&str>) {
        let mut variables = Vec::new();
        let mut lacks = None;
        let mut from = Vec::new();
        let mut address = Planned::known(Json::from(host.name.as_str()));
        for (field, feed) in host.fields() {
            let known = values::of_feed(feed, self.inputs);
            if !known.is_wholly_known() {
                lacks.get_or_insert_with(|| format!("its {field}"));
            }
            if let Feed::From(one) = feed {
                from.push(one.from.clone());
            }
            let name = variable_of(field);
            variables.push((
                name.to_owned(),
                values::value(name, feed, self.inputs, self.origin),
            ));
            if field == "address" {
                address = known;
            }
        }
        if let Some(feed) = &host.exec {
            let known = values::of_feed(feed, self.inputs);
            if !known.is_wholly_known() {
                lacks.get_or_insert_with(|| "the way into it".to_owned());
            }
            if let Feed::From(one) = feed {
                from.push(one.from.clone());
            }
            variables.extend(through(&known));
        }
        for (name, feed) in &host.variables {
            if let Feed::From(one) = feed {
                from.push(one.from.clone());
            }
            variables.push((
                name.clone(),
                values::value(name, feed, self.inputs, self.origin),
            ));
        }
        self.add(&host.name, group, variables, &address, lacks, from);
    }

    /// The hosts an output gives.
    fn fed(&mut self, group: &str, from: &str) {
        let planned = values::of_input(from, self.inputs);
        if planned.unknown.iter().any(|unknown| unknown.at.is_empty()) {
            self.resolved.unnamed.push(Unnamed {
                group: group.to_owned(),
                from: from.to_owned(),
            });
            return;
        }
        match &planned.value {
            Json::Array(items) => {
                for (place, item) in items.iter().enumerate() {
                    let at = format!("/{place}");
                    // A list of addresses names its hosts by them, and where those are not known by their places.
                    let name = match (item, is_unknown(&planned, &at)) {
                        (Json::String(address), false) => address.clone(),
                        (Json::Object(fields), false)
                            if fields.get("name").is_some_and(Json::is_string) =>
                        {
                            text(&fields["name"])
                        }
                        _ => format!("{group}-{}", place + 1),
                    };
                    self.given(group, from, &name, item, &at, &planned);
                }
            }
            Json::Object(fields) => {
                for (name, item) in fields {
                    let at = consort_plan::below("", name);
                    self.given(group, from, name, item, &at, &planned);
                }
            }
            Json::String(address) => {
                self.given(
                    group,
                    from,
                    address,
                    &Json::from(address.as_str()),
                    "",
                    &planned,
                );
            }
            Json::Null => {}
            other => {
                let what = format!(
                    "{from} gives no hosts: expected addresses, or objects with a name and an address, and not {other}"
                );
                self.wrong(group, what);
            }
        }
    }

    fn wrong(&mut self, group: &str, what: String) {
        let at = format!("{}/from", consort_plan::below("/hosts", group));
        self.resolved.wrong.push((at, what));
    }

    /// A host of an output: its address, or an object that has one.
    fn given(
        &mut self,
        group: &str,
        from: &str,
        name: &str,
        item: &Json,
        at: &str,
        planned: &Planned,
    ) {
        let from_this = vec![from.to_owned()];
        let inner = |at: &str, value: &Json| below(planned, at, value);
        if is_unknown(planned, at) || item.is_string() {
            let address = inner(at, item);
            let lacks = (!address.is_wholly_known()).then(|| "its address".to_owned());
            let variables = vec![(
                "ansible_host".to_owned(),
                values::given("ansible_host", &address),
            )];
            self.add(name, Some(group), variables, &address, lacks, from_this);
            return;
        }
        let Json::Object(fields) = item else {
            let what = format!("{from} gives {item} for a host: expected an address, or an object");
            self.wrong(group, what);
            return;
        };
        let mut variables = Vec::new();
        let mut lacks = None;
        let mut address = Planned::known(Json::from(name));
        for (field, value) in fields {
            let at = consort_plan::below(at, field);
            let known = inner(&at, value);
            match field.as_str() {
                "name" => {}
                "variables" | "vars" => {
                    if let Value::Dict(own) = values::given(field, &known) {
                        for (key, value) in own.read().iter() {
                            if let Some(name) = key.as_str() {
                                variables.push((name.to_owned(), value.clone()));
                            }
                        }
                    }
                }
                "address" | "port" | "user" | "connection" => {
                    if !known.is_wholly_known() {
                        lacks.get_or_insert_with(|| format!("its {field}"));
                    }
                    let variable = variable_of(field);
                    variables.push((variable.to_owned(), values::given(variable, &known)));
                    if field == "address" {
                        address = known;
                    }
                }
                "exec" => {
                    if !known.is_wholly_known() {
                        lacks.get_or_insert_with(|| "the way into it".to_owned());
                    }
                    variables.extend(through(&known));
                }
                // Whatever else a part tells of its machines is theirs to use.
                other => variables.push((other.to_owned(), values::given(other, &known))),
            }
        }
        self.add(name, Some(group), variables, &address, lacks, from_this);
    }

    fn add(
        &mut self,
        name: &str,
        group: Option<&str>,
        variables: Vec<(String, Value)>,
        address: &Planned,
        lacks: Option<String>,
        from: Vec<String>,
    ) {
        let known = self.found.entry(name.to_owned()).or_insert_with(|| Known {
            given: Given {
                name: Arc::from(name),
                variables: Dict::default(),
                groups: Vec::new(),
            },
            lacks: None,
            from: Vec::new(),
            address: address.clone(),
        });
        if !variables.is_empty() {
            known.address = address.clone();
        }
        known.given.variables.change(|entries| {
            for (name, value) in variables {
                entries.insert(Key::from(name.as_str()), value);
            }
        });
        if let Some(group) = group {
            known.given.groups.push(group.to_owned());
        }
        known.lacks = known.lacks.take().or(lacks);
        known.from.extend(from);
        known.from.sort();
        known.from.dedup();
    }
}

/// The connection through words of a command that runs what follows them in the machine.
fn through(exec: &Planned) -> Vec<(String, Value)> {
    let words = if exec.is_wholly_known() {
        let words: Vec<&str> = match &exec.value {
            Json::Array(words) => words.iter().filter_map(Json::as_str).collect(),
            Json::String(words) => words.split_whitespace().collect(),
            _ => Vec::new(),
        };
        let words = shlex::try_join(words).unwrap_or_default();
        Value::from(words)
    } else {
        crate::template::unknown("ansible_machine_exec")
    };
    vec![
        ("ansible_connection".to_owned(), Value::from("machine")),
        ("ansible_machine_exec".to_owned(), words),
    ]
}

fn variable_of(field: &str) -> &'static str {
    match field {
        "address" => "ansible_host",
        "port" => "ansible_port",
        "user" => "ansible_user",
        _ => "ansible_connection",
    }
}

fn is_unknown(planned: &Planned, at: &str) -> bool {
    planned.unknown.iter().any(|unknown| unknown.at == at)
}

fn text(value: &Json) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// A value within another, with what is unknown and sensitive there.
fn below(planned: &Planned, at: &str, value: &Json) -> Planned {
    let within = |place: &str| {
        place
            .strip_prefix(at)
            .filter(|rest| rest.is_empty() || rest.starts_with('/'))
            .map(str::to_owned)
    };
    Planned {
        value: value.clone(),
        unknown: planned
            .unknown
            .iter()
            .filter_map(|unknown| {
                let mut unknown = unknown.clone();
                unknown.at = within(&unknown.at)?;
                Some(unknown)
            })
            .collect(),
        sensitive: planned
            .sensitive
            .iter()
            .filter_map(|place| {
                if at.starts_with(place.as_str()) && !place.is_empty() && place != at {
                    return Some(String::new());
                }
                within(place).or_else(|| place.is_empty().then(String::new))
            })
            .collect(),
    }
}

/// The hosts as an output of the part: what others can use of them.
pub(super) fn output(resolved: &Resolved, inventory: &crate::inventory::Inventory) -> Planned {
    let mut whole = Planned::default();
    let mut all: BTreeMap<String, Json> = BTreeMap::new();
    let known: BTreeMap<&str, &Known> = resolved
        .hosts
        .iter()
        .map(|host| (&*host.given.name, host))
        .collect();
    for (name, host) in &inventory.hosts {
        let groups: Vec<String> = inventory
            .group_names(host)
            .iter()
            .map(ToString::to_string)
            .collect();
        let at = format!("{}/address", consort_plan::below("", name));
        let address = match known.get(&**name) {
            Some(known) => {
                whole
                    .unknown
                    .extend(known.address.unknown.iter().map(|one| {
                        let mut one = one.clone();
                        one.at = format!("{at}{}", one.at);
                        one
                    }));
                whole.sensitive.extend(
                    known
                        .address
                        .sensitive
                        .iter()
                        .map(|one| format!("{at}{one}")),
                );
                known.address.value.clone()
            }
            None => match host.variables.get("ansible_host") {
                Some(Value::Str(text)) if !text.is_template() || !text.contains('{') => {
                    Json::from(&*text.to_string())
                }
                _ => Json::from(&**name),
            },
        };
        all.insert(
            name.to_string(),
            serde_json::json!({"address": address, "groups": groups}),
        );
    }
    whole.value = Json::Object(all.into_iter().collect());
    if !resolved.unnamed.is_empty() {
        return Planned::unknown("map(object({address=string,groups=list(string)}))", None);
    }
    whole.unknown.sort();
    whole.sensitive.sort();
    whole
}
