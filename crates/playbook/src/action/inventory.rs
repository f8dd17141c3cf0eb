//! Actions that change the inventory while a playbook runs: `add_host`, `group_by`.

use consort_jinja::{Dict, Key, Value, repr};
use indexmap::IndexMap;

use super::given::{Given, copied, dict, set, take, update};
use super::{Action, Failure, Outcome, Traits};
use crate::connection::Call;
use crate::executor::Attempt;
use crate::source::Located;

/// `add_host`: a host, and groups it is in.
pub(super) struct AddHost;

impl Action for AddHost {
    fn run<'a>(&'a self, attempt: &'a Attempt<'a>, arguments: Dict) -> Call<'a, Outcome> {
        Box::pin(async move { add_host(attempt, &arguments) })
    }

    fn traits(&self) -> Traits {
        Traits {
            bypasses_host_loop: true,
            free_text: true,
            ..Traits::default()
        }
    }
}

fn add_host(attempt: &Attempt<'_>, arguments: &Dict) -> Outcome {
    let arguments = copied(arguments);
    match take(&arguments, "_raw_params") {
        None => {}
        Some(Value::Dict(raw)) => {
            let own = copied(&arguments);
            arguments.change(IndexMap::clear);
            update(&arguments, &raw);
            update(&arguments, &own);
        }
        Some(other) => {
            return Err(Failure::new(format!(
                "Invalid raw parameters passed, requires a dictionary/mapping got a  <class '{}'>",
                other.type_name()
            )));
        }
    }
    let given = Given(&arguments);
    let Some(written) = given
        .get("name")
        .or_else(|| given.get("hostname"))
        .or_else(|| given.get("host"))
    else {
        return Err(Failure::new("name, host or hostname needs to be provided"));
    };
    let written = repr::text(&written);
    attempt.detail(
        2,
        &format!("creating host via 'add_host': hostname={written}"),
    );
    let (name, port) = split_port(&written);
    if let Some(port) = port {
        set(&arguments, "ansible_ssh_port", Value::Int(port));
    }
    let groups = ["groupname", "groups", "group"]
        .iter()
        .find_map(|name| arguments.get(name))
        .unwrap_or_else(|| "".into());
    let mut names: Vec<String> = Vec::new();
    let mut add = |name: &str| {
        let name = name.trim();
        if !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
    };
    match &groups {
        Value::List(items) => items.read().iter().for_each(|item| add(&repr::text(item))),
        Value::Str(text) => {
            if !text.is_empty() {
                text.split(',').for_each(add);
            }
        }
        Value::None => {}
        other => {
            if other.truth().unwrap_or(false) {
                return Err(Failure::Failed(Box::new(super::Failed {
                    error: Located::new("Groups must be specified as a list.").about(other),
                    result: Dict::default(),
                    is_message: true,
                })));
            }
        }
    }
    let variables: IndexMap<Key, Value> = arguments
        .read()
        .iter()
        .filter(|(key, _)| {
            !matches!(
                key.as_str(),
                Some("name" | "hostname" | "groupname" | "groups")
            )
        })
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    let variables = Dict::new(variables);
    let changed = attempt.add_host(&name, &variables, &names)?;
    let told = dict([
        ("host_name", name.into()),
        (
            "groups",
            Value::list(names.iter().map(|name| name.as_str().into()).collect()),
        ),
        ("host_vars", variables.into()),
    ]);
    Ok(dict([
        ("add_host", told.into()),
        ("changed", changed.into()),
    ]))
}

/// A port behind the name of a host: `HOST:PORT`, `[IPV6]:PORT`.
fn split_port(written: &str) -> (String, Option<i64>) {
    let whole = || (written.to_owned(), None);
    let port = |text: &str| text.parse::<i64>().ok();
    if let Some(rest) = written.strip_prefix('[') {
        let Some((inside, after)) = rest.split_once(']') else {
            return whole();
        };
        return match after.strip_prefix(':') {
            Some(digits) => match port(digits) {
                Some(port) => (inside.to_owned(), Some(port)),
                None => whole(),
            },
            None if after.is_empty() => (inside.to_owned(), None),
            None => whole(),
        };
    }
    match written.split_once(':') {
        Some((name, digits)) if !digits.contains(':') && !name.is_empty() => match port(digits) {
            Some(port) => (name.to_owned(), Some(port)),
            None => whole(),
        },
        _ => whole(),
    }
}

/// `group_by`: makes the host a member of a group.
pub(super) struct GroupBy;

impl Action for GroupBy {
    fn run<'a>(&'a self, attempt: &'a Attempt<'a>, arguments: Dict) -> Call<'a, Outcome> {
        Box::pin(async move { group_by(attempt, &arguments) })
    }

    fn traits(&self) -> Traits {
        Traits {
            arguments: Some(&["key", "parents"]),
            ..Traits::default()
        }
    }
}

fn group_by(attempt: &Attempt<'_>, arguments: &Dict) -> Outcome {
    let Some(key) = arguments.get("key") else {
        return Ok(dict([
            ("failed", true.into()),
            (
                "msg",
                "the 'key' param is required when using group_by".into(),
            ),
        ]));
    };
    let dashed = |value: &Value| repr::text(value).replace(' ', "-");
    let parents: Vec<String> = match arguments.get("parents") {
        None => vec!["all".to_owned()],
        Some(one @ Value::Str(_)) => vec![dashed(&one)],
        Some(all) => all
            .iterate()
            .map_err(|error| Failure::error(error.to_string()))?
            .iter()
            .map(dashed)
            .collect(),
    };
    let group = dashed(&key);
    let changed = attempt.add_group(&group, &parents)?;
    Ok(dict([
        ("add_group", group.into()),
        (
            "parent_groups",
            Value::list(parents.into_iter().map(Value::from).collect()),
        ),
        ("changed", changed.into()),
    ]))
}
