//! The filters of `ansible.builtin`.

// All filters have the same signature.
#![allow(clippy::needless_pass_by_value)]

mod codings;
mod combinatorics;
mod data;
mod encryption;
mod json;
mod numbers;
mod paths;
mod randoms;
mod regexes;
mod texts;
mod times;
mod urls;
mod yaml;

use consort_jinja::{Arguments, Environment, Result, State, Takes, Value};

use super::context::Shared;

type Run = fn(&mut State<'_, '_>, Value, &Arguments) -> Result<Value>;

/// Adds all.
pub(super) fn add(environment: &mut Environment, shared: &Shared) {
    codings::add(environment);
    combinatorics::add(environment);
    data::add(environment, shared);
    encryption::add(environment, shared);
    json::add(environment, shared);
    numbers::add(environment);
    paths::add(environment);
    randoms::add(environment);
    regexes::add(environment);
    texts::add(environment, shared);
    times::add(environment);
    urls::add(environment);
    yaml::add(environment, shared);
}

pub(super) use codings::{hex, text as decoded};
pub(super) use encryption::is_secret;
pub(super) use paths::glob;

/// Scheme and host of an address, if it can be split.
pub(super) fn split_address(address: &str) -> Option<(String, String)> {
    urls::split(address)
        .ok()
        .map(|parts| (parts.scheme, parts.netloc))
}

/// Adds filters that look at the items of what they take, and not at what stands within these.
fn add_of_items(environment: &mut Environment, filters: &[(&str, Run)]) {
    for (name, run) in filters {
        environment.add_filter(name, Takes::Items, *run);
    }
}

/// Adds filters that take what is defined.
fn add_all(environment: &mut Environment, filters: &[(&str, Run)]) {
    for (name, run) in filters {
        environment.add_filter(name, Takes::Defined, *run);
    }
}

/// An argument that must be there.
fn needed(function: &str, name: &str, value: Option<Value>) -> Result<Value> {
    value.ok_or_else(|| {
        consort_jinja::Error::failed(format!(
            "{function}() missing 1 required positional argument: '{name}'"
        ))
    })
}

/// An argument that is true or false, and false if it is not there.
fn flag(value: Option<Value>) -> Result<bool> {
    value.map_or(Ok(false), |value| value.truth())
}

/// An argument that is not there, or none.
fn given(value: Option<Value>) -> Option<Value> {
    value.filter(|value| !matches!(value, Value::None))
}
