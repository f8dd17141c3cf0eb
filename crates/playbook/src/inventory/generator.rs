//! Hosts made of every combination of words (`plugin: generator`).

use consort_jinja::{Dict, Key, Value};

use super::constructed::{config, yes};
use super::read::Reading;
use crate::source::Located;

/// More hosts than anybody has.
const MOST: usize = 1_000_000;

/// Reads one.
pub(super) fn parse(reading: &mut Reading<'_>, path: &str) -> Result<(), Located> {
    let config = config(reading, path, &["generator", "ansible.builtin.generator"])?;
    let (Some(Value::Dict(layers)), Some(Value::Dict(hosts))) =
        (config.get("layers"), config.get("hosts"))
    else {
        let missing = if matches!(config.get("layers"), Some(Value::Dict(_))) {
            "hosts"
        } else {
            "layers"
        };
        return Err(Located::parser(consort_jinja::repr::string(missing)));
    };
    let extra = if yes(
        config.get("use_extra_vars").as_ref(),
        reading.settings().use_extra_variables,
    ) {
        reading.settings().extra_variables.read().clone()
    } else {
        indexmap::IndexMap::new()
    };
    let layers: Vec<(Key, Vec<Value>)> = layers
        .read()
        .iter()
        .map(|(name, items)| {
            let items = match items {
                Value::List(items) => items.read().clone(),
                Value::Dict(entries) => entries
                    .read()
                    .keys()
                    .map(|key| key.value().clone())
                    .collect(),
                other => vec![other.clone()],
            };
            (name.clone(), items)
        })
        .collect();
    let combinations = layers
        .iter()
        .try_fold(1_usize, |count, (_, items)| count.checked_mul(items.len()))
        .filter(|count| *count <= MOST)
        .ok_or_else(|| Located::parser(format!("more than {MOST} hosts in one file")))?;
    for combination in 0..combinations {
        let mut variables = extra.clone();
        let mut rest = combination;
        let mut stride = combinations;
        for (name, items) in &layers {
            stride /= items.len();
            variables.insert(name.clone(), items[rest / stride].clone());
            rest %= stride;
        }
        let variables = Dict::new(variables);
        let name = render(reading, &hosts.get("name").unwrap_or_default(), &variables)?;
        let name = consort_jinja::repr::text(&name);
        reading.add_hosts(std::slice::from_ref(&name), None, None, &[])?;
        parents(reading, &name, hosts.get("parents"), &variables, 0)?;
    }
    Ok(())
}

fn render(reading: &Reading<'_>, value: &Value, variables: &Dict) -> Result<Value, Located> {
    match value {
        Value::Str(_) => reading
            .settings()
            .templar
            .render(value, variables)
            .map_err(Located::from),
        other => Ok(other.clone()),
    }
}

fn parents(
    reading: &mut Reading<'_>,
    child: &str,
    written: Option<Value>,
    variables: &Dict,
    depth: usize,
) -> Result<(), Located> {
    let Some(Value::List(written)) = written else {
        return Ok(());
    };
    if depth > 100 {
        return Err(Located::parser("parents are nested too deep"));
    }
    let written = written.read().clone();
    for parent in written {
        let Value::Dict(parent) = parent else {
            return Err(Located::parser(format!(
                "Element {child} has a parent that is not a dictionary."
            )));
        };
        let name = render(reading, &parent.get("name").unwrap_or_default(), variables)?;
        if !name.truth().unwrap_or(false) {
            return Err(Located::parser(format!(
                "Element {child} has a parent with no name."
            )));
        }
        let group = reading.add_group(&consort_jinja::repr::text(&name))?;
        if let Some(Value::Dict(entries)) = parent.get("vars") {
            let entries = entries.read().clone();
            for (key, value) in entries {
                let value = render(reading, &value, variables)?;
                reading.set_variable(&group, &key, value)?;
            }
        }
        reading.inventory.add_child(&group, child)?;
        parents(reading, &group, parent.get("parents"), variables, depth + 1)?;
    }
    Ok(())
}
