//! The lookups of `ansible.builtin`: values from files, programs, the network, and lists in other shapes.

mod commands;
mod configuration;
mod csv;
mod files;
mod ini;
mod lists;
mod password;
mod search;
mod sequence;
mod subelements;
mod templates;
mod variables;
mod web;

use std::sync::Arc;

use consort_jinja::{
    Arguments, Dict, Environment, Error, Native, Result, State, Str, Takes, Value, repr,
};

use super::context::{Context, Shared, refused};
use super::templar::Warned;
use super::tests::to_bool;

pub(crate) use templates::formatted;
pub use templates::template_variables;

/// A lookup under way: what it was given, and what it works with.
struct Call<'a, 's, 'e, 'v> {
    context: &'a Shared,
    state: &'s mut State<'e, 'v>,
    terms: Vec<Value>,
    named: Vec<(Arc<str>, Value)>,
    /// It stands in `with_NAME`.
    as_with: bool,
}

type Run = fn(&mut Call<'_, '_, '_, '_>) -> Result<Vec<Value>>;

/// A lookup that is known.
struct Known {
    run: Run,
    /// What is undefined is given to it, too.
    takes_undefined: bool,
    /// It renders what is within its terms itself, or leaves that as it is.
    lazy: bool,
}

fn find(name: &str) -> Option<Known> {
    let leaf = name
        .strip_prefix("ansible.builtin.")
        .or_else(|| name.strip_prefix("ansible.legacy."))
        .unwrap_or(name);
    let run: Run = match leaf {
        "config" => configuration::config,
        "csvfile" => csv::csvfile,
        "dict" => lists::dict,
        "env" => variables::env,
        "file" => files::file,
        "fileglob" => files::fileglob,
        "first_found" => files::first_found,
        "indexed_items" => lists::indexed_items,
        "ini" => ini::ini,
        "inventory_hostnames" => variables::inventory_hostnames,
        "items" => lists::items,
        "lines" => commands::lines,
        "list" => |call| Ok(call.terms.clone()),
        "nested" => lists::nested,
        "password" => password::password,
        "pipe" => commands::pipe,
        "random_choice" => |call| Ok(lists::random_choice(call)),
        "sequence" => sequence::sequence,
        "subelements" => subelements::subelements,
        "template" => templates::template,
        "together" => lists::together,
        "unvault" => files::unvault,
        "url" => web::url,
        "varnames" => variables::varnames,
        "vars" => variables::vars,
        _ => return None,
    };
    Some(Known {
        run,
        takes_undefined: matches!(leaf, "env" | "first_found"),
        lazy: matches!(leaf, "first_found" | "list"),
    })
}

/// Adds `lookup`, `query` and `q`.
pub(super) fn add(environment: &mut Environment, shared: &Shared) {
    for (name, list) in [("lookup", false), ("query", true), ("q", true)] {
        let context = Arc::clone(shared);
        let function = Native::function(name, Takes::Anything, move |state, arguments| {
            let mut arguments = arguments.clone();
            if arguments.positional.is_empty() {
                return refused(format!(
                    "_{} missing 1 required positional argument: 'plugin_name'",
                    if list { "query()" } else { "lookup()" }
                ));
            }
            let plugin = arguments.positional.remove(0);
            if plugin.is_undefined() {
                return plugin.defined();
            }
            let plugin = plugin.text()?;
            if list {
                arguments.take("wantlist");
                arguments.named.push(("wantlist".into(), Value::Bool(true)));
            }
            invoke(&context, state, &plugin, arguments, false)
        });
        environment.add_global(name, function);
    }
}

/// Runs a lookup, and gives what it found in the form that was asked for.
pub(super) fn invoke(
    context: &Shared,
    state: &mut State<'_, '_>,
    plugin: &str,
    mut arguments: Arguments,
    as_with: bool,
) -> Result<Value> {
    let plugins = context.options.plugins.as_ref();
    let known = find(plugin)
        .filter(|_| !plugins.is_some_and(|plugins| plugins.overrides("lookup", plugin)));
    let foreign = match &known {
        Some(_) => None,
        None => plugins.and_then(|plugins| plugins.lookup(plugin)),
    };
    if known.is_none() && foreign.is_none() {
        return Err(Error::Explained(Arc::new(consort_jinja::Explained {
            message: format!("The lookup plugin {} was not found.", repr::string(plugin)),
            template: state.current().cloned(),
            ..consort_jinja::Explained::default()
        })));
    }
    let takes_undefined = match (&known, &foreign) {
        (Some(known), _) => known.takes_undefined,
        (None, Some(foreign)) => foreign.takes_undefined,
        (None, None) => false,
    };
    if !takes_undefined && let Some(undefined) = arguments.first_undefined() {
        return Ok(undefined.clone());
    }
    let list = arguments
        .take("wantlist")
        .map_or(Ok(false), |list| list.truth())?;
    let errors = arguments.take("errors");
    // What it gives may be another the next time.
    state.changes_from_call_to_call();
    let found = match (known, foreign) {
        (Some(known), _) => run(context, state, &known, arguments, as_with),
        (None, Some(lookup)) => handed_on(state, lookup.takes_undefined, arguments)
            .and_then(|arguments| (lookup.run)(state, &arguments, as_with)),
        (None, None) => Ok(Vec::new()),
    };
    let found = match found {
        Ok(found) => found,
        Err(Error::Recursion) => return Err(Error::Recursion),
        Err(Error::Undefined(undefined)) => return Ok(Value::Undefined(undefined)),
        Err(error) => {
            match errors.as_ref().and_then(Value::as_str) {
                Some("warn") => (context.options.warn)(Warned::Warning {
                    message: format!(
                        "An error occurred while running the lookup plugin {}: {error}",
                        repr::string(plugin)
                    ),
                    about: None,
                    help: None,
                }),
                Some("ignore") => {}
                _ => return Ok(state.plugin_failed("lookup", plugin, error)),
            }
            return Ok(if list {
                Value::list(Vec::new())
            } else {
                Value::None
            });
        }
    };
    if list {
        return Ok(Value::list(found));
    }
    Ok(match found.as_slice() {
        [] => Value::list(found),
        [one] => state.access(one.clone()),
        many if many.iter().all(|item| matches!(item, Value::Str(_))) => Value::from(
            many.iter()
                .filter_map(Value::as_str)
                .collect::<Vec<_>>()
                .join(","),
        ),
        _ => Value::list(found),
    })
}

/// The arguments with every template in them rendered, and what is undefined left in them if it may be there.
fn ready(
    state: &mut State<'_, '_>,
    takes_undefined: bool,
    arguments: Arguments,
) -> Result<Arguments> {
    let mut each = |value: Value| {
        if takes_undefined && value.is_undefined() {
            Ok(value)
        } else {
            state.ready(value)
        }
    };
    let mut found = Arguments::default();
    for value in arguments.positional {
        found.positional.push(each(value)?);
    }
    for (name, value) in arguments.named {
        found.named.push((name, each(value)?));
    }
    Ok(found)
}

/// The arguments of a lookup in Python: what is undefined within them is left to it, and only fails where it is used.
fn handed_on(
    state: &mut State<'_, '_>,
    takes_undefined: bool,
    arguments: Arguments,
) -> Result<Arguments> {
    let mut each = |value: Value| {
        let value = rendered(state, value, 0);
        if takes_undefined {
            Ok(value)
        } else {
            value.defined()
        }
    };
    let mut found = Arguments::default();
    for value in arguments.positional {
        found.positional.push(each(value)?);
    }
    for (name, value) in arguments.named {
        found.named.push((name, each(value)?));
    }
    Ok(found)
}

/// How deep values are rendered; deeper ones hold themselves.
const DEEPEST: u32 = 90;

/// A value with every template in it rendered, and what is undefined left in its place.
fn rendered(state: &mut State<'_, '_>, value: Value, depth: u32) -> Value {
    let value = state.access(value);
    if depth > DEEPEST || !value.may_hold_templates() {
        return value;
    }
    match &value {
        Value::List(list) => {
            let items = list.read().clone();
            Value::list(
                items
                    .into_iter()
                    .map(|item| rendered(state, item, depth + 1))
                    .collect(),
            )
        }
        Value::Dict(dict) => {
            let entries = dict.read().clone();
            Value::Dict(Dict::new(
                entries
                    .into_iter()
                    .map(|(key, item)| (key, rendered(state, item, depth + 1)))
                    .collect(),
            ))
        }
        _ => value,
    }
}

fn run(
    context: &Shared,
    state: &mut State<'_, '_>,
    known: &Known,
    arguments: Arguments,
    as_with: bool,
) -> Result<Vec<Value>> {
    let arguments = if known.lazy {
        arguments
    } else {
        ready(state, known.takes_undefined, arguments)?
    };
    (known.run)(&mut Call {
        context,
        state,
        terms: arguments.positional,
        named: arguments.named,
        as_with,
    })
}

impl Call<'_, '_, '_, '_> {
    /// An option, unless it is not there or none.
    fn option(&self, name: &str) -> Option<Value> {
        self.named
            .iter()
            .find(|(known, _)| **known == *name)
            .map(|(_, value)| value.clone())
            .filter(|value| !matches!(value, Value::None))
    }

    /// Sets an option.
    fn set(&mut self, name: &str, value: Value) {
        self.named.retain(|(known, _)| **known != *name);
        self.named.push((name.into(), value));
    }

    fn text(&self, name: &str, otherwise: &str) -> Result<String> {
        match self.option(name) {
            None => Ok(otherwise.to_owned()),
            Some(value) => Ok(value.text()?.to_string()),
        }
    }

    /// An option of which only some words are known.
    fn choice(&self, lookup: &str, name: &str, words: &[&'static str]) -> Result<&'static str> {
        let Some(given) = self.option(name) else {
            return words
                .first()
                .copied()
                .ok_or_else(|| Error::failed("there is no choice"));
        };
        let text = given.clone().defined()?.text()?;
        words
            .iter()
            .find(|word| **word == &*text)
            .copied()
            .ok_or_else(|| {
                Error::Explained(Arc::new(consort_jinja::Explained {
                    message: format!(
                        "Invalid value {} for config {} for {} lookup plugin.",
                        repr::repr(&given),
                        repr::string(name),
                        repr::string(lookup)
                    ),
                    help: Some(format!("Valid values are: {}", words.join(", "))),
                    ..consort_jinja::Explained::default()
                }))
            })
    }

    fn flag(&self, name: &str, otherwise: bool) -> Result<bool> {
        match self.option(name) {
            None => Ok(otherwise),
            Some(value) => {
                value.clone().defined()?;
                // Words that mean nothing mean no.
                Ok(to_bool(&value).unwrap_or(false))
            }
        }
    }

    /// The terms as texts.
    fn texts(&self) -> Result<Vec<Str>> {
        self.terms.iter().map(Value::text).collect()
    }

    fn context(&self) -> &Context {
        self.context
    }
}

/// A whole number as options are read.
fn read_number(text: &str) -> Option<i64> {
    let text = text.trim();
    text.strip_prefix('+').unwrap_or(text).parse().ok()
}
