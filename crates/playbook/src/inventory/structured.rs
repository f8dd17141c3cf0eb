//! Inventories in YAML and TOML.

use std::sync::Arc;

use consort_jinja::{Dict, Key, Origin, Str, Value};
use indexmap::IndexMap;

use super::address;
use super::read::Reading;
use crate::source::Located;

/// Reads one in YAML.
pub(super) fn parse_yaml(reading: &mut Reading<'_>, path: &str) -> Result<(), Located> {
    // The plugin is the place: what it stumbled on is told in its words.
    let data = reading
        .load(path)
        .map_err(|error| Located::parser(error.brief()))?;
    let entries = match &data {
        Value::Dict(entries) if !entries.is_empty() => entries,
        value if !value.truth().unwrap_or(false) => {
            return Err(Located::parser("Parsed empty YAML file"));
        }
        other => {
            return Err(Located::parser(format!(
                "YAML inventory has invalid structure, it should be a dictionary, got: {}",
                class(other)
            )));
        }
    };
    if entries
        .get("plugin")
        .is_some_and(|plugin| plugin.truth().unwrap_or(false))
    {
        return Err(Located::parser(
            "Plugin configuration YAML file, not YAML inventory",
        ));
    }
    for (group, data) in entries.read().clone() {
        yaml_group(reading, &group, &data, 0)?;
    }
    Ok(())
}

/// The type of a value as Python shows it.
pub(super) fn class(value: &Value) -> String {
    let name = match value {
        Value::Str(_) => "ansible._internal._datatag._tags._AnsibleTaggedStr",
        Value::List(_) => "ansible.module_utils._internal._datatag._AnsibleTaggedList",
        Value::Dict(_) => "ansible.module_utils._internal._datatag._AnsibleTaggedDict",
        Value::Int(_) => "ansible.module_utils._internal._datatag._AnsibleTaggedInt",
        Value::Float(_) => "ansible.module_utils._internal._datatag._AnsibleTaggedFloat",
        other => other.type_name(),
    };
    let name = name.replace(
        "ansible._internal._datatag._tags.",
        "ansible.module_utils._internal._datatag.",
    );
    format!("<class '{name}'>")
}

fn name_of(key: &Key) -> String {
    consort_jinja::repr::text(key.value())
}

fn yaml_group(
    reading: &mut Reading<'_>,
    key: &Key,
    data: &Value,
    depth: usize,
) -> Result<Arc<str>, Located> {
    if depth > 200 {
        return Err(Located::parser("groups are nested too deep"));
    }
    let name = name_of(key);
    let entries = match data {
        Value::None => IndexMap::new(),
        Value::Dict(entries) => entries.read().clone(),
        _ => {
            reading.warn(format!(
                "Skipping '{name}' as this is not a valid group definition"
            ));
            return Ok(name.into());
        }
    };
    if key.as_str().is_none() {
        return Err(Located::parser(format!(
            "Unable to add group {name}: Invalid group name supplied, expected a string but got {} for {name}",
            class(key.value())
        )));
    }
    let group = reading.add_group(&name).map_err(|error| {
        Located::parser(format!("Unable to add group {name}: {}", error.message()))
    })?;
    let mut sections = Vec::with_capacity(entries.len());
    for (section, value) in entries {
        let section_name = name_of(&section);
        let value = match value {
            // A text stands for a dict with it as its only key.
            Value::Str(text) if matches!(section_name.as_str(), "vars" | "children" | "hosts") => {
                let only = IndexMap::from([(Key::from(&*text), Value::None)]);
                Value::Dict(Dict::new(only))
            }
            Value::Dict(_) | Value::None => value,
            other if matches!(section_name.as_str(), "vars" | "children" | "hosts") => {
                return Err(Located::parser(format!(
                    "Invalid \"{section_name}\" entry for \"{group}\" group, requires a dictionary, found \"{}\" instead.",
                    class(&other)
                )));
            }
            other => other,
        };
        sections.push((section_name, value));
    }
    for (section, value) in sections {
        let entries = match value {
            Value::Dict(entries) => entries.read().clone(),
            Value::None => {
                reading.detail(
                    3,
                    format!("Skipping empty key ({section}) in group ({group})"),
                );
                continue;
            }
            other => {
                reading.warn(format!(
                    "Skipping key ({section}) in group ({group}) as it is not a mapping, it is a {}",
                    class(&other)
                ));
                continue;
            }
        };
        match section.as_str() {
            "vars" => {
                for (name, value) in entries {
                    reading.set_variable(&group, &name, value)?;
                }
            }
            "children" => {
                for (child, data) in entries {
                    let child = yaml_group(reading, &child, &data, depth + 1)?;
                    reading.inventory.add_child(&group, &child)?;
                }
            }
            "hosts" => {
                for (pattern, variables) in entries {
                    let Some(written) = pattern.as_str() else {
                        return Err(Located::parser(format!(
                            "Host pattern {} must be a string. Enclose integers/floats in quotation marks.",
                            name_of(&pattern)
                        )));
                    };
                    let (names, port) = address::expand(written)?;
                    let variables = host_variables(&variables)?;
                    reading.add_hosts(&names, Some(&group), port, &variables)?;
                }
            }
            _ => reading.warn(format!(
                "Skipping unexpected key ({section}) in group ({group}), only \"vars\", \"children\" and \"hosts\" are valid"
            )),
        }
    }
    Ok(group)
}

fn host_variables(value: &Value) -> Result<Vec<(Key, Value)>, Located> {
    match value {
        Value::Dict(entries) => Ok(entries
            .read()
            .iter()
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect()),
        value if !value.truth().unwrap_or(true) => Ok(Vec::new()),
        other => Err(Located::parser(format!(
            "Invalid data from file, expected dictionary and got:\n\n{}",
            consort_jinja::repr::text(other)
        ))),
    }
}

/// Reads one in TOML.
pub(super) fn parse_toml(reading: &mut Reading<'_>, path: &str) -> Result<(), Located> {
    let content = reading.content(path)?;
    let text = String::from_utf8(content).map_err(|error| {
        Located::parser(format!(
            "An error occurred while parsing the file '{path}'."
        ))
        .because(Located::new(error.to_string()))
    })?;
    let document = text.parse::<toml_edit::DocumentMut>().map_err(|error| {
        Located::parser(format!("TOML file '{path}' is invalid."))
            .because(Located::new(error.message()))
    })?;
    let place = Arc::new(Origin {
        file: format!(
            "<inventory plugin 'toml' with source {}>",
            consort_jinja::repr::string(path)
        )
        .into(),
        line: 0,
        column: 0,
    });
    let table = document.as_table();
    if table.is_empty() {
        return Err(Located::parser("Parsed empty TOML file"));
    }
    if table.contains_key("plugin") {
        return Err(Located::parser(
            "Plugin configuration TOML file, not TOML inventory",
        ));
    }
    for (name, item) in table {
        toml_group(reading, name, item, &place)?;
    }
    Ok(())
}

fn toml_group(
    reading: &mut Reading<'_>,
    name: &str,
    item: &toml_edit::Item,
    place: &Arc<Origin>,
) -> Result<(), Located> {
    let Some(table) = item.as_table_like() else {
        reading.warn(format!(
            "Skipping '{name}' as this is not a valid group definition"
        ));
        return Ok(());
    };
    let group = reading.add_group(name)?;
    let wrong = |section: &str, wanted: &str, item: &toml_edit::Item| {
        Located::parser(format!(
            "Invalid \"{section}\" entry for \"{group}\" group, requires a {wanted}, found \"<class '{}'>\" instead.",
            toml_type(item)
        ))
    };
    for (section, item) in table.iter() {
        match section {
            "vars" => {
                let entries = item
                    .as_table_like()
                    .ok_or_else(|| wrong("vars", "dict", item))?;
                for (name, item) in entries.iter() {
                    reading.set_variable(&group, &Key::from(name), toml_value(item, place))?;
                }
            }
            "children" => {
                let children = item
                    .as_array()
                    .ok_or_else(|| wrong("children", "list", item))?;
                for child in children {
                    let Some(child) = child.as_str() else {
                        return Err(Located::parser(format!(
                            "Invalid group name supplied, expected a string but got {}",
                            child.type_name()
                        )));
                    };
                    let child = reading.add_group(child)?;
                    reading.inventory.add_child(&group, &child)?;
                }
            }
            "hosts" => {
                let entries = item
                    .as_table_like()
                    .ok_or_else(|| wrong("hosts", "dict", item))?;
                for (pattern, item) in entries.iter() {
                    let (names, port) = address::expand(pattern)?;
                    let variables = host_variables(&toml_value(item, place))?;
                    reading.add_hosts(&names, Some(&group), port, &variables)?;
                }
            }
            _ => reading.warn(format!(
                "Skipping unexpected key \"{section}\" in group \"{group}\", only \"vars\", \"children\" and \"hosts\" are valid"
            )),
        }
    }
    Ok(())
}

fn toml_type(item: &toml_edit::Item) -> &'static str {
    match item.type_name() {
        "string" => "str",
        "integer" => "int",
        "float" => "float",
        "boolean" => "bool",
        "datetime" => "datetime.datetime",
        "array" | "array of tables" => "list",
        _ => "dict",
    }
}

fn toml_value(item: &toml_edit::Item, place: &Arc<Origin>) -> Value {
    if let Some(table) = item.as_table_like() {
        return Value::Dict(Dict::new(
            table
                .iter()
                .map(|(key, item)| (Key::from(key), toml_value(item, place)))
                .collect(),
        ));
    }
    match item {
        toml_edit::Item::Value(value) => toml_scalar(value, place),
        toml_edit::Item::ArrayOfTables(tables) => Value::list(
            tables
                .iter()
                .map(|table| {
                    Value::Dict(Dict::new(
                        table
                            .iter()
                            .map(|(key, item)| (Key::from(key), toml_value(item, place)))
                            .collect(),
                    ))
                })
                .collect(),
        ),
        _ => Value::None,
    }
}

fn toml_scalar(value: &toml_edit::Value, place: &Arc<Origin>) -> Value {
    let text = |text: &str| {
        crate::blocking::heed(text);
        Value::Str(Str::template(text).written_at(Arc::clone(place)))
    };
    match value {
        toml_edit::Value::String(written) => text(written.value()),
        toml_edit::Value::Integer(number) => Value::Int(*number.value()),
        toml_edit::Value::Float(number) => Value::Float(*number.value()),
        toml_edit::Value::Boolean(yes) => Value::Bool(*yes.value()),
        toml_edit::Value::Datetime(moment) => text(&moment.value().to_string()),
        toml_edit::Value::Array(items) => {
            Value::list(items.iter().map(|item| toml_scalar(item, place)).collect())
        }
        toml_edit::Value::InlineTable(table) => Value::Dict(Dict::new(
            table
                .iter()
                .map(|(key, value)| (Key::from(key), toml_scalar(value, place)))
                .collect(),
        )),
    }
}
