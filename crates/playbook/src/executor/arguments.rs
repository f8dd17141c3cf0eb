//! The arguments a task's action is given: defaults of modules, what is written, templates for all of them, rendered.

use std::collections::HashMap;

use consort_jinja::{Dict, Key, Value, is_omit, repr};
use indexmap::IndexMap;

use super::foreign;
use super::keyword::listed;
use super::work::Work;
use crate::action::Failure;
use crate::language::Directive;
use crate::source::Located;
use crate::template::Templar;
use crate::variables::TaskVariables;

/// Modules that take free text themselves.
const TAKE_FREE_TEXT: &[&str] = &[
    "include_vars",
    "include_tasks",
    "include_role",
    "import_tasks",
    "import_role",
    "add_host",
    "group_by",
    "set_fact",
    "meta",
    "command",
    "raw",
    "script",
    "shell",
];

/// The full name of the action, and its arguments, rendered.
pub(super) fn of(work: &Work, variables: &TaskVariables) -> Result<(String, Dict), Failure> {
    let action = &work.plan.task.action;
    let templar = &work.run.templar;
    let name = work.action_name(variables)?;
    let (_, traits) = foreign::action(&work.run, &work.kind(&name)?, &name);
    let leaf = name.rsplit('.').next().unwrap_or(&name);
    let takes_text = traits.free_text || TAKE_FREE_TEXT.contains(&leaf);
    let within = |error: Located| {
        let message = format!(
            "Finalization of task args for {} failed.",
            repr::string(&name)
        );
        action.located(message).because(error)
    };
    let mut layers: Vec<Dict> = Vec::new();
    let defaults = module_defaults(
        work.plan.keyword(Directive::ModuleDefaults).cloned(),
        &work.groups,
        templar,
        &name,
        variables,
    )
    .map_err(within)?;
    layers.push(defaults);
    if let Some(whole) = &action.variable_arguments {
        layers.push(container(templar, whole, variables).map_err(within)?);
    }
    let mut own = action.arguments.clone();
    if !takes_text && let Some(text) = own.get("_raw_params") {
        if !is_all_template(&text) {
            let message = format!(
                "Action {} does not support raw params.",
                repr::string(&name)
            );
            return Err(action.located(message).into());
        }
        layers.push(container(templar, &text, variables).map_err(within)?);
        let entries: IndexMap<Key, Value> = own
            .read()
            .iter()
            .filter(|(key, _)| key.as_str() != Some("_raw_params"))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        own = Dict::new(entries);
    }
    if layers.iter().all(Dict::is_empty) && !own.may_hold_templates() && !holds_omit(&own) {
        // Nothing to render, and nobody changes it.
        return Ok((name, Dict::new(own.read().clone())));
    }
    layers.push(own);
    let mut entries: IndexMap<Key, Value> = IndexMap::new();
    for layer in &layers {
        for (key, value) in layer.read().iter() {
            entries.insert(key.clone(), value.clone());
        }
    }
    let mut rendered = IndexMap::with_capacity(entries.len());
    for (key, value) in entries {
        let argument = key.as_str().unwrap_or_default();
        if traits.unrendered.contains(&argument) {
            rendered.insert(key, value);
            continue;
        }
        let result = templar.render(&value, variables).map_err(|error| {
            within(
                Located::new(format!(
                    "Error while resolving value for {}.",
                    repr::repr(key.value())
                ))
                .about(&value)
                .because(Located::from(&error)),
            )
        })?;
        if !is_omit(&result) {
            rendered.insert(key, result);
        }
    }
    Ok((name, Dict::new(rendered)))
}

/// Whether a text is nothing but a template.
fn is_all_template(value: &Value) -> bool {
    value.as_str().is_some_and(|text| {
        let text = text.trim();
        (text.starts_with("{{") && text.ends_with("}}"))
            || (text.starts_with("{%") && text.ends_with("%}"))
    })
}

fn holds_omit(dict: &Dict) -> bool {
    dict.read().values().any(is_omit)
}

/// A mapping that is given by a template, its own values left as they are.
fn container(templar: &Templar, value: &Value, variables: &TaskVariables) -> Result<Dict, Located> {
    match templar
        .render(value, variables)
        .map_err(|error| Located::from(&error))?
    {
        Value::Dict(dict) => Ok(dict),
        omitted if is_omit(&omitted) => Ok(Dict::default()),
        other => Err(Located::new(format!(
            "Task args must resolve to a 'dict' not {}.",
            repr::string(other.type_name())
        ))
        .about(value)),
    }
}

/// What `module_defaults` says for an action by its full name: `written` is the keyword, one mapping a level; `groups` the
/// members of the groups it names.
pub(super) fn module_defaults(
    written: Option<Value>,
    groups: &HashMap<String, Vec<String>>,
    templar: &Templar,
    name: &str,
    variables: &TaskVariables,
) -> Result<Dict, Located> {
    let written = listed(written);
    if written.is_empty() {
        return Ok(Dict::default());
    }
    let mut latest: IndexMap<String, Value> = IndexMap::new();
    for layer in &written {
        let Value::Dict(layer) = layer else { continue };
        for (key, value) in layer.read().iter() {
            if let Some(name) = key.as_str() {
                latest.insert(name.to_owned(), value.clone());
            }
        }
    }
    let mut found: IndexMap<Key, Value> = IndexMap::new();
    let mut add = |value: &Value| -> Result<(), Located> {
        let dict = match value {
            Value::Dict(dict) => dict.clone(),
            value => container(templar, value, variables)?,
        };
        found.extend(
            dict.read()
                .iter()
                .map(|(key, value)| (key.clone(), value.clone())),
        );
        Ok(())
    };
    for (key, value) in &latest {
        if let Some(group) = key.strip_prefix("group/")
            && groups
                .get(group)
                .is_some_and(|members| members.iter().any(|member| member == name))
        {
            add(value)?;
        }
    }
    if let Some(value) = latest.get(name) {
        add(value)?;
    }
    Ok(Dict::new(found))
}
