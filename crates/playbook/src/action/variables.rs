//! Actions that set variables and statistics: `set_fact`, `set_stats`.

use consort_jinja::{Dict, Key, Value, repr};
use indexmap::IndexMap;

use super::given::{Given, dict, is_yes};
use super::{Action, Failure, Outcome, Traits};
use crate::connection::Call;
use crate::executor::{Attempt, Layer};
use crate::source::Located;
use crate::values;
use crate::variables::{is_name, no_name};

/// `set_fact`: sets variables of the host.
pub(super) struct SetFact;

impl Action for SetFact {
    fn run<'a>(&'a self, attempt: &'a Attempt<'a>, arguments: Dict) -> Call<'a, Outcome> {
        Box::pin(async move { set_fact(attempt, &arguments) })
    }

    fn traits(&self) -> Traits {
        Traits {
            free_text: true,
            ..Traits::default()
        }
    }
}

/// A key, rendered: the rare place where names may be templates.
fn name_of(attempt: &Attempt<'_>, key: &Key) -> Result<Key, Failure> {
    let name = match key.value() {
        value @ Value::Str(text) if text.is_template() => attempt.render(value)?,
        value => value.clone(),
    };
    match &name {
        Value::Str(text) if is_name(text) => Ok(Key::from(&**text)),
        other => Err(no_name(other).into()),
    }
}

fn set_fact(attempt: &Attempt<'_>, arguments: &Dict) -> Outcome {
    let mut cacheable = false;
    let mut facts = IndexMap::new();
    let entries = arguments.read().clone();
    for (key, value) in entries {
        if key.as_str() == Some("cacheable") {
            cacheable = strict(&value)?;
            continue;
        }
        if key.as_str() == Some("_raw_params")
            && let Value::Dict(entries) = &value
        {
            let entries = entries.read().clone();
            for (key, value) in entries {
                facts.insert(name_of(attempt, &key)?, value);
            }
            continue;
        }
        facts.insert(name_of(attempt, &key)?, value);
    }
    if facts.is_empty() {
        return Err(Failure::new(
            "No key/value pairs provided, at least one is required for this action to succeed",
        ));
    }
    let facts = Dict::new(facts);
    attempt.register(
        Layer::Fact,
        if cacheable {
            facts.clone()
        } else {
            Dict::default()
        },
    );
    attempt.register(Layer::SetFact, facts.clone());
    Ok(dict([("ansible_facts", facts.into())]))
}

/// Yes or no, and nothing else.
fn strict(value: &Value) -> Result<bool, Failure> {
    consort_modules::arguments::boolean_of(&values::to_json(value)).map_err(|_| {
        Located::new(format!(
            "The value {} is not a valid boolean.  Valid booleans include: '0', '1', 'f', 'false', 'n', 'no', 'off', 'on', \
             't', 'true', 'y', 'yes', 0, 1",
            repr::repr(value)
        ))
        .into()
    })
}

/// `set_stats`: figures for the end of the run.
pub(super) struct SetStats;

impl Action for SetStats {
    fn run<'a>(&'a self, attempt: &'a Attempt<'a>, arguments: Dict) -> Call<'a, Outcome> {
        Box::pin(async move { set_stats(attempt, &arguments) })
    }

    fn traits(&self) -> Traits {
        Traits {
            arguments: Some(&["aggregate", "data", "per_host"]),
            ..Traits::default()
        }
    }
}

fn set_stats(attempt: &Attempt<'_>, arguments: &Dict) -> Outcome {
    let given = Given(arguments);
    let data = match given.0.get("data") {
        None => Dict::default(),
        Some(Value::Dict(data)) => data,
        Some(_) => {
            return Ok(dict([
                ("failed", true.into()),
                (
                    "msg",
                    "The 'data' option needs to be a dictionary/hash".into(),
                ),
            ]));
        }
    };
    let flag = |name: &str, default: bool| given.get(name).map_or(default, |value| is_yes(&value));
    let mut stats = IndexMap::new();
    let entries = data.read().clone();
    for (key, value) in entries {
        stats.insert(name_of(attempt, &key)?, attempt.render(&value)?);
    }
    let told = dict([
        ("data", Dict::new(stats).into()),
        ("per_host", flag("per_host", false).into()),
        ("aggregate", flag("aggregate", true).into()),
    ]);
    Ok(dict([
        ("changed", false.into()),
        ("ansible_stats", told.into()),
    ]))
}
