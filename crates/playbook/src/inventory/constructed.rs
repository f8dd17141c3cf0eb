//! Groups and variables made of the variables of hosts (`plugin: constructed`).

use std::path::Path;
use std::sync::Arc;

use consort_jinja::{Dict, Key, Str, Value};
use indexmap::IndexMap;

use super::files::VariableFiles;
use super::names::forced_name;
use super::read::Reading;
use crate::source::Located;

/// What such a file says, but for its expressions.
struct Options {
    strict: bool,
    use_extra_variables: bool,
    use_variable_files: bool,
    leading_separator: bool,
}

/// Reads one.
pub(super) fn parse(reading: &mut Reading<'_>, path: &str) -> Result<(), Located> {
    let config = config(
        reading,
        path,
        &["constructed", "ansible.builtin.constructed"],
    )?;
    construct(reading, &config)
        .map_err(|cause| Located::parser(format!("Failed to parse '{path}'.")).because(cause))
}

/// A file that configures a plugin.
pub(super) fn config(reading: &Reading<'_>, path: &str, names: &[&str]) -> Result<Dict, Located> {
    match reading.load(path)? {
        Value::Dict(entries) if !entries.is_empty() => {
            let plugin = entries.get("plugin");
            if plugin
                .as_ref()
                .and_then(Value::as_str)
                .is_some_and(|name| names.contains(&name))
            {
                Ok(entries)
            } else {
                Err(Located::parser(format!(
                    "Incorrect plugin name in file: {}",
                    plugin.map_or_else(
                        || "none found".to_owned(),
                        |name| consort_jinja::repr::text(&name)
                    )
                )))
            }
        }
        value if !value.truth().unwrap_or(false) => {
            Err(Located::parser(format!("{path} is empty")))
        }
        other => Err(Located::parser(format!(
            "inventory source has invalid structure, it should be a dictionary, got: {}",
            super::structured::class(&other)
        ))),
    }
}

/// An option that is true or false.
pub(super) fn yes(value: Option<&Value>, default: bool) -> bool {
    match value {
        None | Some(Value::None) => default,
        Some(Value::Bool(yes)) => *yes,
        Some(Value::Str(text)) => matches!(
            text.to_lowercase().as_str(),
            "y" | "yes" | "on" | "1" | "true" | "t" | "1.0"
        ),
        Some(other) => other.as_int() == Some(1),
    }
}

fn entries_of(config: &Dict, name: &str) -> Vec<(Key, Value)> {
    match config.get(name) {
        Some(Value::Dict(entries)) => entries
            .read()
            .iter()
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect(),
        _ => Vec::new(),
    }
}

fn construct(reading: &mut Reading<'_>, config: &Dict) -> Result<(), Located> {
    let settings = Arc::clone(reading.settings());
    let options = Options {
        strict: yes(config.get("strict").as_ref(), false),
        use_extra_variables: yes(
            config.get("use_extra_vars").as_ref(),
            settings.use_extra_variables,
        ),
        use_variable_files: yes(config.get("use_vars_plugins").as_ref(), false),
        leading_separator: yes(config.get("leading_separator").as_ref(), true),
    };
    let compose = entries_of(config, "compose");
    let groups = entries_of(config, "groups");
    let keyed: Vec<Value> = match config.get("keyed_groups") {
        Some(Value::List(items)) => items.read().clone(),
        _ => Vec::new(),
    };
    let files = options
        .use_variable_files
        .then(|| VariableFiles::new(&reading.processed, Arc::clone(&settings)));
    reading.inventory.set_depths();
    let hosts: Vec<Arc<str>> = reading.inventory.hosts.keys().cloned().collect();
    for host in hosts {
        let facts = facts(settings.facts.as_deref(), &host);
        let variables = variables(reading, &host, files.as_ref(), facts.as_ref())?;
        for (name, expression) in &compose {
            let value = match evaluate(reading, expression, &variables, &options) {
                Ok(value) => value,
                Err(error) if options.strict => {
                    return Err(Located::new(format!(
                        "Could not set {} for host {host}: {}",
                        consort_jinja::repr::text(name.value()),
                        error.brief()
                    )));
                }
                Err(_) => continue,
            };
            reading.set_variable(&host, name, value)?;
        }
        let variables = self::variables(reading, &host, files.as_ref(), facts.as_ref())?;
        for (name, condition) in &groups {
            let group = forced_name(&consort_jinja::repr::text(name.value()));
            match settings.templar.conditional(condition, &variables) {
                Ok(true) => {
                    let group = reading.add_group(&group)?;
                    reading.inventory.add_child(&group, &host)?;
                }
                Err(error) if options.strict => {
                    return Err(Located::parser(format!(
                        "Could not add host {host} to group {group}: {error}"
                    )));
                }
                Ok(false) | Err(_) => {}
            }
        }
        for entry in &keyed {
            let Value::Dict(entry) = entry else {
                return Err(Located::parser(format!(
                    "Invalid keyed group entry, it must be a dictionary: {} ",
                    consort_jinja::repr::text(entry)
                )));
            };
            keyed_group(reading, entry, &variables, &host, &options)?;
        }
    }
    Ok(())
}

/// The facts that earlier runs have kept of a host.
fn facts(directory: Option<&Path>, host: &str) -> Option<Dict> {
    let text = std::fs::read_to_string(directory?.join(host)).ok()?;
    let json: serde_json::Value = serde_json::from_str(&text).ok()?;
    let json = match json {
        // Newer files hold their format beside the facts.
        serde_json::Value::Object(mut entries) if entries.contains_key("__payload__") => {
            match entries.remove("__payload__") {
                Some(serde_json::Value::String(inner)) => serde_json::from_str(&inner).ok()?,
                other => other?,
            }
        }
        json => json,
    };
    match crate::values::from_json(json) {
        Value::Dict(facts) => Some(facts),
        _ => None,
    }
}

/// All that is known of a host while it is constructed.
fn variables(
    reading: &Reading<'_>,
    host: &str,
    files: Option<&VariableFiles>,
    facts: Option<&Dict>,
) -> Result<Dict, Located> {
    let inventory = &*reading.inventory;
    let Some(host) = inventory.hosts.get(host) else {
        return Ok(Dict::default());
    };
    let mut layers: Vec<Dict> = Vec::new();
    let mut groups = inventory.ordered_groups(host);
    let all = inventory
        .groups_of(host)
        .contains(&Arc::<str>::from("all"))
        .then(|| inventory.groups.get("all"))
        .flatten();
    if let Some(all) = all {
        groups.insert(0, all);
    }
    layers.extend(groups.iter().map(|group| group.variables.clone()));
    if let Some(files) = files {
        for group in &groups {
            layers.extend(files.of_group(&group.name, reading.notices())?);
        }
    }
    layers.push(host.variables.clone());
    let names = inventory
        .group_names(host)
        .iter()
        .map(|name| Value::from(&**name))
        .collect();
    layers.push(
        [
            ("inventory_hostname", Value::from(&*host.name)),
            (
                "inventory_hostname_short",
                Value::from(super::Inventory::short_name(&host.name)),
            ),
            ("group_names", Value::list(names)),
        ]
        .into_iter()
        .collect(),
    );
    if let Some(files) = files {
        layers.extend(files.of_host(&host.name, reading.notices())?);
    }
    layers.extend(facts.cloned());
    let merge = reading.settings().merge;
    let mut whole = Dict::default();
    for layer in layers {
        if merge {
            whole = super::data::merged(&whole, &layer);
        } else {
            let entries: IndexMap<Key, Value> = layer.read().clone();
            whole.change(|whole| whole.extend(entries));
        }
    }
    Ok(whole)
}

fn evaluate(
    reading: &Reading<'_>,
    expression: &Value,
    variables: &Dict,
    options: &Options,
) -> Result<Value, Located> {
    let expression = match expression {
        Value::Str(text) => text.clone(),
        other => Str::template(consort_jinja::repr::text(other)),
    };
    let settings = reading.settings();
    let result = if options.use_extra_variables {
        let extra = settings.extra_variables.read().clone();
        let whole = Dict::new(variables.read().clone());
        whole.change(|entries| entries.extend(extra));
        settings.templar.evaluate(&expression, &whole)
    } else {
        settings.templar.evaluate(&expression, variables)
    };
    result.map_err(Located::from)
}

fn keyed_group(
    reading: &mut Reading<'_>,
    entry: &Dict,
    variables: &Dict,
    host: &str,
    options: &Options,
) -> Result<(), Located> {
    let expression = entry.get("key").unwrap_or_default();
    let shown = consort_jinja::repr::text(&expression);
    let key = match evaluate(reading, &expression, variables, options) {
        Ok(key) => key,
        Err(error) if options.strict => {
            return Err(Located::parser(format!(
                "Could not generate group for host {host} from {shown} entry: {}",
                error.brief()
            )));
        }
        Err(_) => return Ok(()),
    };
    let text = |value: &Value| consort_jinja::repr::text(value);
    let default = entry
        .get("default_value")
        .filter(|value| !matches!(value, Value::None));
    let trailing = entry
        .get("trailing_separator")
        .filter(|value| !matches!(value, Value::None));
    if default.is_some() && trailing.is_some() {
        return Err(Located::parser(
            "parameters are mutually exclusive for keyed groups: default_value|trailing_separator",
        ));
    }
    let is_empty =
        |value: &Value| matches!(value, Value::None) || value.as_str().is_some_and(str::is_empty);
    let use_default = is_empty(&key) && default.is_some();
    if !key.truth().unwrap_or(false) && !use_default {
        let nothing = matches!(key, Value::List(_) | Value::Dict(_));
        if options.strict && !nothing {
            return Err(Located::parser(format!(
                "No key or key resulted empty for {shown} in host {host}, invalid entry"
            )));
        }
        return Ok(());
    }
    let prefix = entry
        .get("prefix")
        .map_or_else(String::new, |prefix| text(&prefix));
    let separator = entry
        .get("separator")
        .map_or_else(|| "_".to_owned(), |separator| text(&separator));
    let parent = match entry.get("parent_group") {
        None => None,
        Some(parent) => match reading.settings().templar.render(&parent, variables) {
            Ok(parent) if consort_jinja::is_omit(&parent) => None,
            Ok(parent) => parent.truth().unwrap_or(false).then(|| text(&parent)),
            Err(error) if options.strict => {
                return Err(Located::parser(format!(
                    "Could not generate parent group {} for group {}: {error}",
                    consort_jinja::repr::repr(&parent),
                    consort_jinja::repr::repr(&key)
                )));
            }
            Err(_) => return Ok(()),
        },
    };
    let mut names = Vec::new();
    match &key {
        _ if use_default => names.extend(default.as_ref().map(text)),
        Value::Str(name) => names.push(name.to_string()),
        Value::List(items) => {
            for item in items.read().iter() {
                names.push(match &default {
                    Some(default) if is_empty(item) => text(default),
                    _ => text(item),
                });
            }
        }
        Value::Dict(entries) => {
            for (name, value) in entries.read().iter() {
                let name = text(name.value());
                names.push(match &default {
                    _ if !is_empty(value) => format!("{name}{separator}{}", text(value)),
                    Some(default) => format!("{name}{separator}{}", text(default)),
                    None if matches!(trailing, Some(Value::Bool(false))) => name,
                    None => format!("{name}{separator}{}", text(value)),
                });
            }
        }
        other => {
            return Err(Located::parser(format!(
                "Invalid group name format, expected a string or a list of them or dictionary, got: <class '{}'>",
                other.type_name()
            )));
        }
    }
    let separator = if prefix.is_empty() && !options.leading_separator {
        ""
    } else {
        &separator
    };
    for name in names {
        let group = reading.add_group(&forced_name(&format!("{prefix}{separator}{name}")))?;
        reading.inventory.add_child(&group, host)?;
        if let Some(parent) = &parent {
            let parent = reading.add_group(&forced_name(parent))?;
            reading.inventory.add_child(&parent, &group)?;
        }
    }
    Ok(())
}
