//! The checks of arguments, in the order in which Ansible makes them.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::convert::{boolean_of, convert};
use super::{Argument, Kind, Spec};
use crate::context::Context;
use crate::python;

/// What came of checking arguments.
#[derive(Clone, Debug, Default)]
pub struct Checked {
    /// The arguments, converted, with their defaults.
    pub values: Map<String, Value>,
    /// What is wrong with them, in the order it was found; Ansible tells the first.
    pub errors: Vec<String>,
    /// The first error is that there are arguments nobody knows.
    pub unsupported: bool,
    /// The values that may not be told.
    pub secrets: BTreeSet<String>,
    /// What is to be warned of.
    pub warnings: Vec<String>,
    /// Names that go: the message and the version.
    pub deprecations: Vec<(String, String)>,
    /// The names by which arguments of the outermost level were given that are aliases: alias and name.
    pub aliases: Vec<(String, String)>,
}

/// Checks arguments against a specification.
pub fn validate(context: &Context<'_>, spec: &Spec, given: Map<String, Value>) -> Checked {
    let mut check = Check {
        context,
        found: Checked::default(),
        unsupported: Vec::new(),
    };
    let mut values = given;
    check.level(spec, &mut values, &mut Vec::new(), "", 0);
    check.refuse_unsupported();
    check.found.values = values;
    check.found
}

struct Check<'c> {
    context: &'c Context<'c>,
    found: Checked,
    /// Names nobody knows, with what would have been known there: arguments and aliases.
    unsupported: Vec<(String, Vec<String>, Vec<String>)>,
}

impl Check<'_> {
    fn error(&mut self, message: String, at: &[String]) {
        self.found.errors.push(if at.is_empty() {
            message
        } else {
            format!("{message} found in {}", at.join(" -> "))
        });
    }

    /// One level of arguments: those of the module, or those inside of one.
    fn level(
        &mut self,
        spec: &Spec,
        values: &mut Map<String, Value>,
        at: &mut Vec<String>,
        prefix: &str,
        depth: usize,
    ) {
        self.fallbacks(spec, values);
        let aliases = self.aliases(spec, values, prefix);
        self.secrets(spec, values);
        if depth == 0 {
            self.removed(spec, values, "");
        }
        self.unknown(spec, values, &aliases, at);
        let excluded: Vec<String> = spec
            .mutually_exclusive
            .iter()
            .filter(|group| count(group, values) > 1)
            .map(|group| group.join("|"))
            .collect();
        if !excluded.is_empty() {
            self.error(
                format!("parameters are mutually exclusive: {}", excluded.join(", ")),
                at,
            );
        }
        for (name, argument) in &spec.options {
            if !argument.default.is_null() && !values.contains_key(name) {
                self.default_of(name, argument, values);
            }
        }
        let mut missing: Vec<&str> = spec
            .options
            .iter()
            .filter(|(name, argument)| argument.required && !values.contains_key(*name))
            .map(|(name, _)| name.as_str())
            .collect();
        if !missing.is_empty() {
            missing.sort_unstable();
            self.error(
                format!("missing required arguments: {}", missing.join(", ")),
                at,
            );
        }
        self.types(spec, values, at);
        self.choices(spec, values, at);
        self.rules(spec, values, at);
        for name in spec.options.keys() {
            if !values.contains_key(name) {
                values.insert(name.clone(), Value::Null);
            }
        }
        self.inner(spec, values, at, prefix, depth);
        if depth == 0 {
            self.found.aliases = aliases;
        }
    }

    fn default_of(&mut self, name: &str, argument: &Argument, values: &mut Map<String, Value>) {
        if argument.no_log == Some(true) {
            collect_secrets(&argument.default, &mut self.found.secrets);
        }
        values.insert(name.to_owned(), argument.default.clone());
    }

    fn fallbacks(&mut self, spec: &Spec, values: &mut Map<String, Value>) {
        for (name, argument) in &spec.options {
            if argument.fallback.is_empty() || values.contains_key(name) {
                continue;
            }
            let found = argument
                .fallback
                .iter()
                .find_map(|variable| self.context.variable(variable));
            if let Some(value) = found {
                if argument.no_log == Some(true) && !value.is_empty() {
                    self.found.secrets.insert(value.clone());
                }
                values.insert(name.clone(), value.into());
            }
        }
    }

    fn aliases(
        &mut self,
        spec: &Spec,
        values: &mut Map<String, Value>,
        prefix: &str,
    ) -> Vec<(String, String)> {
        let mut known = Vec::new();
        for (name, argument) in &spec.options {
            for (alias, version) in &argument.deprecated_aliases {
                if values.contains_key(alias) {
                    self.found.deprecations.push((
                        format!(
                            "Alias '{prefix}{alias}' is deprecated. See the module docs for more information"
                        ),
                        version.clone(),
                    ));
                }
            }
            for alias in &argument.aliases {
                known.push((alias.clone(), name.clone()));
                if let Some(value) = values.get(alias).cloned() {
                    if values.contains_key(name) {
                        self.found.warnings.push(format!(
                            "Both option {prefix}{name} and its alias {prefix}{alias} are set."
                        ));
                    }
                    values.insert(name.clone(), value);
                }
            }
        }
        known
    }

    fn secrets(&mut self, spec: &Spec, values: &Map<String, Value>) {
        for (name, argument) in &spec.options {
            if argument.no_log == Some(true)
                && let Some(value) = values.get(name)
            {
                collect_secrets(value, &mut self.found.secrets);
            }
        }
    }

    fn removed(&mut self, spec: &Spec, values: &Map<String, Value>, prefix: &str) {
        for (name, argument) in &spec.options {
            let Some(value) = values.get(name) else {
                continue;
            };
            let place = if prefix.is_empty() {
                name.clone()
            } else {
                format!("{prefix}[\"{name}\"]")
            };
            if let Some(version) = &argument.removed_in_version {
                self.found.deprecations.push((
                    format!(
                        "Param '{place}' is deprecated. See the module docs for more information"
                    ),
                    version.clone(),
                ));
            }
            if let Some(inner) = &argument.options {
                match value {
                    Value::Object(value) => self.removed(inner, value, &place),
                    Value::Array(items) => {
                        for item in items {
                            if let Value::Object(item) = item {
                                self.removed(inner, item, &place);
                            }
                        }
                    }
                    _ => {}
                }
            }
        }
    }

    fn unknown(
        &mut self,
        spec: &Spec,
        values: &Map<String, Value>,
        aliases: &[(String, String)],
        at: &[String],
    ) {
        for name in values.keys() {
            if spec.options.contains_key(name) || aliases.iter().any(|(alias, _)| alias == name) {
                continue;
            }
            let mut place = at.to_vec();
            place.push(name.clone());
            self.unsupported.push((
                place.join("."),
                spec.options.keys().cloned().collect(),
                aliases.iter().map(|(alias, _)| alias.clone()).collect(),
            ));
        }
    }

    fn refuse_unsupported(&mut self) {
        let Some((_, mut names, mut aliases)) = self.unsupported.last().cloned() else {
            return;
        };
        let mut unknown: Vec<&str> = self
            .unsupported
            .iter()
            .map(|(place, _, _)| place.as_str())
            .collect();
        unknown.sort_unstable();
        unknown.dedup();
        names.sort_unstable();
        aliases.sort_unstable();
        let mut supported = names.join(", ");
        if !aliases.is_empty() {
            supported.push_str(&format!(" ({})", aliases.join(", ")));
        }
        let message = format!(
            "{}. Supported parameters include: {supported}.",
            unknown.join(", ")
        );
        self.found.unsupported = self.found.errors.is_empty();
        self.found.errors.push(message);
    }

    fn types(&mut self, spec: &Spec, values: &mut Map<String, Value>, at: &[String]) {
        for (name, argument) in &spec.options {
            let Some(slot) = values.get_mut(name) else {
                continue;
            };
            if slot.is_null() && !argument.required && argument.default.is_null() {
                continue;
            }
            let value = slot.take();
            let type_name = python::type_name(&value);
            // What is told of the call has what could not be converted as it was given.
            let given = self
                .context
                .settings
                .inject_invocation
                .then(|| value.clone());
            match convert(self.context, argument.kind, value) {
                Ok(value) => *slot = value,
                Err(reason) => {
                    *slot = given.unwrap_or_default();
                    let inside = if at.is_empty() {
                        String::new()
                    } else {
                        format!(" found in '{}'.", at.join(" -> "))
                    };
                    self.found.errors.push(format!(
                        "argument '{name}' is of type {type_name}{inside} and we were unable to convert to {}: {reason}",
                        argument.kind.name()
                    ));
                    continue;
                }
            }
            let Some(kind) = argument.elements else {
                continue;
            };
            if let Value::Array(items) = slot {
                let mut converted = Vec::with_capacity(items.len());
                for item in std::mem::take(items) {
                    let type_name = python::type_name(&item);
                    match convert(self.context, kind, item) {
                        Ok(item) => converted.push(item),
                        Err(reason) => {
                            let inside = if at.is_empty() {
                                String::new()
                            } else {
                                format!(" found in '{}'", at.join(" -> "))
                            };
                            self.found.errors.push(format!(
                                "Elements value for option '{name}'{inside} is of type {type_name} and we were unable to \
                                 convert to {}: {reason}",
                                kind.name()
                            ));
                        }
                    }
                }
                *slot = Value::Array(converted);
            }
        }
    }

    fn choices(&mut self, spec: &Spec, values: &mut Map<String, Value>, at: &[String]) {
        for (name, argument) in &spec.options {
            let (Some(choices), Some(value)) = (&argument.choices, values.get_mut(name)) else {
                continue;
            };
            let written = |items: &[&Value]| {
                let items: Vec<_> = items.iter().map(|item| python::str_value(item)).collect();
                items.join(", ")
            };
            let all: Vec<&Value> = choices.iter().collect();
            if let Value::Array(items) = value {
                let wrong: Vec<&Value> =
                    items.iter().filter(|item| !among(item, choices)).collect();
                if !wrong.is_empty() {
                    let message = format!(
                        "value of {name} must be one or more of: {}. Got no match for: {}",
                        written(&all),
                        written(&wrong)
                    );
                    self.error(message, at);
                }
                continue;
            }
            if among(value, choices) {
                continue;
            }
            // YAML reads some words as booleans; what can only mean one choice is that choice.
            for (text, meant) in [("False", false), ("True", true)] {
                if value.as_str() == Some(text) {
                    let mut fitting = choices
                        .iter()
                        .filter(|choice| boolean_of(choice) == Ok(meant) && !is_capital(choice));
                    if let (Some(only), None) = (fitting.next(), fitting.next()) {
                        *value = only.clone();
                    }
                }
            }
            if !among(value, choices) {
                let message = format!(
                    "value of {name} must be one of: {}, got: {}",
                    written(&all),
                    python::str_value(value)
                );
                self.error(message, at);
            }
        }
    }

    fn rules(&mut self, spec: &Spec, values: &Map<String, Value>, at: &[String]) {
        // Of each kind of rule only the first that is broken is told.
        if let Some(group) = spec.required_together.iter().find(|group| {
            let given = count(group, values);
            given > 0 && given < group.len()
        }) {
            self.error(
                format!("parameters are required together: {}", group.join(", ")),
                at,
            );
        }
        if let Some(group) = spec
            .required_one_of
            .iter()
            .find(|group| count(group, values) == 0)
        {
            self.error(
                format!("one of the following is required: {}", group.join(", ")),
                at,
            );
        }
        for rule in &spec.required_if {
            if !values
                .get(&rule.key)
                .is_some_and(|value| equal(value, &rule.value))
            {
                continue;
            }
            let missing: Vec<&str> = rule
                .needed
                .iter()
                .filter(|name| !values.contains_key(*name))
                .map(String::as_str)
                .collect();
            let bearable = if rule.any { rule.needed.len() } else { 0 };
            if !missing.is_empty() && missing.len() >= bearable {
                self.error(
                    format!(
                        "{} is {} but {} of the following are missing: {}",
                        rule.key,
                        python::str_value(&rule.value),
                        if rule.any { "any" } else { "all" },
                        missing.join(", ")
                    ),
                    at,
                );
                break;
            }
        }
        for (key, needed) in &spec.required_by {
            if values.get(key).is_none_or(Value::is_null) {
                continue;
            }
            let missing: Vec<&str> = needed
                .iter()
                .filter(|name| values.get(*name).is_none_or(Value::is_null))
                .map(String::as_str)
                .collect();
            if !missing.is_empty() {
                self.error(
                    format!(
                        "missing parameter(s) required by '{key}': {}",
                        missing.join(", ")
                    ),
                    at,
                );
                break;
            }
        }
    }

    /// The arguments inside of arguments.
    fn inner(
        &mut self,
        spec: &Spec,
        values: &mut Map<String, Value>,
        at: &mut Vec<String>,
        prefix: &str,
        depth: usize,
    ) {
        for (name, argument) in &spec.options {
            let is_list = argument.kind == Kind::List && argument.elements == Some(Kind::Dict);
            if !is_list && argument.kind != Kind::Dict {
                continue;
            }
            let Some(inner) = &argument.options else {
                continue;
            };
            let Some(value) = values.get_mut(name) else {
                continue;
            };
            if value.is_null() {
                if !argument.apply_defaults {
                    continue;
                }
                *value = Value::Object(Map::new());
            }
            at.push(name.clone());
            let elements: Vec<&mut Value> = match value {
                Value::Array(items) => items.iter_mut().collect(),
                other => vec![other],
            };
            for (place, element) in elements.into_iter().enumerate() {
                let Value::Object(entries) = element else {
                    self.found.errors.push(format!(
                        "value of '{name}' must be of type dict or list of dicts"
                    ));
                    continue;
                };
                let inner_prefix = if argument.kind == Kind::List {
                    format!("{prefix}{name}[{place}].")
                } else {
                    format!("{prefix}{name}.")
                };
                self.level(inner, entries, at, &inner_prefix, depth + 1);
            }
            at.pop();
        }
    }
}

/// How many of a group were given.
fn count(group: &[String], values: &Map<String, Value>) -> usize {
    group
        .iter()
        .filter(|name| values.contains_key(*name))
        .count()
}

fn among(value: &Value, choices: &[Value]) -> bool {
    choices.iter().any(|choice| equal(value, choice))
}

/// Equality as in Python: `1`, `1.0` and `True` are one.
fn equal(one: &Value, other: &Value) -> bool {
    fn number(value: &Value) -> Option<f64> {
        match value {
            Value::Bool(flag) => Some(f64::from(u8::from(*flag))),
            Value::Number(number) => number.as_f64(),
            _ => None,
        }
    }
    match (number(one), number(other)) {
        (Some(one), Some(other)) => (one - other).abs() < f64::EPSILON,
        _ => one == other,
    }
}

fn is_capital(value: &Value) -> bool {
    value
        .as_str()
        .is_some_and(|text| text.chars().any(char::is_uppercase))
}

fn collect_secrets(value: &Value, secrets: &mut BTreeSet<String>) {
    match value {
        Value::String(text) if !text.is_empty() => {
            secrets.insert(text.clone());
        }
        Value::Number(_) => {
            secrets.insert(python::repr_value(value));
        }
        Value::Array(items) => items.iter().for_each(|item| collect_secrets(item, secrets)),
        Value::Object(entries) => entries
            .values()
            .for_each(|value| collect_secrets(value, secrets)),
        _ => {}
    }
}
