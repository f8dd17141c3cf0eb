//! Variables, of the play and of the environment.

use std::sync::Arc;

use consort_jinja::{Dict, Error, Origin, Result, Str, Value, repr};

use super::Call;
use crate::inventory::{Inventory, Limits, ReadSettings};
use crate::template::context::refused;
use crate::template::pattern::{self, compile};

pub(super) fn vars(call: &mut Call<'_, '_, '_, '_>) -> Result<Vec<Value>> {
    let default = call.option("default");
    let mut found = Vec::new();
    for term in call.terms.clone() {
        let Value::Str(name) = &term else {
            return refused(format!(
                "Variable name must be 'str' not {}.",
                repr::string(term.type_name())
            ));
        };
        let value = match call.state.variables().get(name) {
            Some(value) => value,
            None => match &default {
                Some(default) => default.clone(),
                None => {
                    return Err(call
                        .state
                        .missing(
                            format!("No variable named {} was found.", repr::string(name)),
                            name,
                        )
                        .defined()
                        .err()
                        .unwrap_or(Error::Recursion));
                }
            },
        };
        // What stands in it is rendered by whoever looks at that.
        found.push(call.state.access(value).defined()?);
    }
    Ok(found)
}

pub(super) fn varnames(call: &mut Call<'_, '_, '_, '_>) -> Result<Vec<Value>> {
    let names = call.state.variables().names();
    let mut found = Vec::new();
    for term in &call.terms {
        let Value::Str(written) = term else {
            return refused(format!(
                "Invalid setting identifier, \"{}\" is not a string, it is a <class '{}'>",
                repr::text(term),
                term.type_name()
            ));
        };
        let compiled = compile(written, false, false).map_err(|error| {
            Error::failed(format!(
                "Unable to use \"{}\" as a search parameter: {error}",
                &**written
            ))
        })?;
        for name in &names {
            if compiled
                .search(name, 0)
                .map_err(pattern::refused)?
                .is_some()
            {
                found.push(Value::from(&**name));
            }
        }
    }
    Ok(found)
}

pub(super) fn env(call: &mut Call<'_, '_, '_, '_>) -> Result<Vec<Value>> {
    let default = call
        .named
        .iter()
        .find(|(name, _)| &**name == "default")
        .map(|(_, value)| value.clone());
    let mut found = Vec::new();
    for term in call.terms.clone() {
        let term = term.text()?;
        let Some(name) = term.split_whitespace().next() else {
            return refused("list index out of range");
        };
        let surroundings = &call.context().options.surroundings;
        found.push(match (surroundings.variables.get(name), &default) {
            (Some(value), _) => Value::Str(Str::new(value.as_str()).written_at(Arc::new(Origin {
                file: format!("<environment variable {}>", repr::string(name)).into(),
                line: 0,
                column: 0,
            }))),
            (None, None) => Value::from(""),
            (None, Some(Value::Undefined(undefined))) if undefined.error.is_none() => {
                call.state.missing(
                    format!(
                        "The environment variable {} is not set.",
                        repr::string(name)
                    ),
                    name,
                )
            }
            (None, Some(default)) => default.clone(),
        });
    }
    Ok(found)
}

pub(super) fn inventory_hostnames(call: &mut Call<'_, '_, '_, '_>) -> Result<Vec<Value>> {
    let groups = call.state.name("groups");
    let groups = call.state.ready(groups)?;
    let mut inventory = Inventory::new(Arc::new(ReadSettings::default()));
    let none = Dict::default();
    let quiet: crate::source::Notices = Arc::new(|_| {});
    for (group, hosts) in groups.entries().unwrap_or_default() {
        let group = group.value().text()?.to_string();
        for host in hosts.iterate()? {
            let host = host.text()?;
            inventory
                .add_dynamic_host(&host, &none, std::slice::from_ref(&group), &quiet)
                .map_err(|error| Error::failed(error.brief()))?;
        }
    }
    let patterns: Vec<String> = call
        .texts()?
        .iter()
        .map(|text| (**text).to_owned())
        .collect();
    // Patterns that match nothing give nothing.
    Ok(inventory
        .matching_all(&patterns, Limits::Ignored, &quiet)
        .unwrap_or_default()
        .iter()
        .map(|name| Value::from(&**name))
        .collect())
}
