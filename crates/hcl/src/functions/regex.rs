//! `regex`, `regexall` and `replace`.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, LazyLock};

use parking_lot::Mutex;
use regex::{Captures, Regex};

use super::Table;
use super::arguments::{Result, of_text, parameter, text};
use super::pattern;
use crate::evaluate::{CallError, Function};
use crate::types::Type;
use crate::value::Value;

const CACHED: usize = 128;

pub(super) fn add(table: &mut Table) {
    let parameters = || {
        vec![
            parameter("pattern", Type::String),
            parameter("string", Type::String),
        ]
    };
    let regex = Function::new(
        parameters(),
        None,
        |args| match args[0].as_str() {
            None => Ok(Type::Dynamic),
            Some(pattern) => result_type(pattern),
        },
        |args, ty| {
            let regex = compile(text(args, 0)).map_err(bad_pattern)?;
            match regex.captures(text(args, 1)) {
                Some(captures) => Ok(result(&regex, &captures, ty)),
                None => Err(CallError::new(
                    "pattern did not match any part of the given string",
                )),
            }
        },
    );
    table.add("regex", regex.never_null());
    let all = Function::new(
        parameters(),
        None,
        |args| match args[0].as_str() {
            None => Ok(Type::list(Type::Dynamic)),
            Some(pattern) => result_type(pattern).map(Type::list),
        },
        |args, ty| {
            let element = ty.element().cloned().unwrap_or(Type::String);
            let regex = compile(text(args, 0)).map_err(bad_pattern)?;
            let found = regex
                .captures_iter(text(args, 1))
                .map(|captures| result(&regex, &captures, &element))
                .collect();
            Ok(Value::list(element, found))
        },
    );
    table.add("regexall", all.never_null());
    table.add("replace", of_text(["str", "substr", "replace"], replace));
}

fn replace([s, wanted, with]: [&str; 3]) -> Result<String> {
    let pattern = wanted
        .strip_prefix('/')
        .and_then(|rest| rest.strip_suffix('/'));
    let Some(pattern) = pattern else {
        return Ok(s.replace(wanted, with));
    };
    let regex = compile(pattern).map_err(|e| {
        CallError::new(format!(
            "error parsing regexp: {}",
            e.replacen(" in ", ": `", 1) + "`"
        ))
    })?;
    let template = Template::parse(with, &regex);
    Ok(regex
        .replace_all(s, |captures: &Captures<'_>| template.expand(captures))
        .into_owned())
}

/// The parts of a replacement: text and groups, which Go writes as `$1`, `$name` and `${name}`.
struct Template<'t>(Vec<Part<'t>>);

enum Part<'t> {
    Text(&'t str),
    Group(usize),
}

impl<'t> Template<'t> {
    fn parse(mut text: &'t str, regex: &Regex) -> Template<'t> {
        let mut parts = Vec::new();
        while let Some(at) = text.find('$') {
            parts.push(Part::Text(&text[..at]));
            let rest = &text[at + 1..];
            if let Some(after) = rest.strip_prefix('$') {
                parts.push(Part::Text("$"));
                text = after;
                continue;
            }
            let word = |s: &str| {
                s.find(|c: char| !c.is_alphanumeric() && c != '_')
                    .unwrap_or(s.len())
            };
            let (name, after) = match rest.strip_prefix('{') {
                Some(braced) => {
                    let end = word(braced);
                    match braced[end..].strip_prefix('}') {
                        Some(after) if end > 0 => (&braced[..end], after),
                        _ => ("", rest),
                    }
                }
                None => rest.split_at(word(rest)),
            };
            if name.is_empty() {
                parts.push(Part::Text("$"));
                text = rest;
                continue;
            }
            if name.bytes().all(|b| b.is_ascii_digit()) {
                parts.push(Part::Group(name.parse().unwrap_or(usize::MAX)));
            } else if let Some(i) = names(regex).iter().position(|n| *n == Some(name)) {
                parts.push(Part::Group(i + 1));
            }
            text = after;
        }
        parts.push(Part::Text(text));
        Template(parts)
    }

    fn expand(&self, captures: &Captures<'_>) -> String {
        self.0
            .iter()
            .map(|part| match part {
                Part::Text(text) => text,
                Part::Group(i) => captures.get(*i).map_or("", |m| m.as_str()),
            })
            .collect()
    }
}

/// The names of the groups as they are in the pattern.
fn names(regex: &Regex) -> Vec<Option<&str>> {
    regex
        .capture_names()
        .skip(1)
        .map(|name| name.and_then(|name| name.strip_prefix("g_")))
        .collect()
}

fn bad_pattern(message: impl std::fmt::Display) -> CallError {
    CallError::argument(0, format!("invalid regexp pattern: {message}"))
}

/// Patterns are few and used often; compiling one costs more than many searches.
fn compile(pattern: &str) -> std::result::Result<Arc<Regex>, String> {
    static CACHE: LazyLock<Mutex<HashMap<String, Arc<Regex>>>> = LazyLock::new(Mutex::default);
    if let Some(regex) = CACHE.lock().get(pattern) {
        return Ok(regex.clone());
    }
    let translated = pattern::translate(pattern)?;
    let regex = Regex::new(&translated).map_err(|e| {
        format!(
            "{} in {pattern}",
            e.to_string().lines().last().unwrap_or_default()
        )
    })?;
    let regex = Arc::new(regex);
    let mut cache = CACHE.lock();
    if cache.len() >= CACHED {
        cache.clear();
    }
    cache.insert(pattern.to_owned(), regex.clone());
    Ok(regex)
}

/// A string without groups, a tuple of unnamed ones, an object of named ones.
fn result_type(pattern: &str) -> Result<Type> {
    let regex = compile(pattern).map_err(bad_pattern)?;
    let names = names(&regex);
    let named: Vec<&str> = names.iter().flatten().copied().collect();
    match (names.len() - named.len(), named.len()) {
        (0, 0) => Ok(Type::String),
        (unnamed, 0) => Ok(Type::tuple(vec![Type::String; unnamed])),
        (0, _) => Ok(Type::object(
            named.into_iter().map(|name| (name, Type::String)),
        )),
        _ => Err(CallError::argument(
            0,
            "invalid regexp pattern: cannot mix both named and unnamed capture groups",
        )),
    }
}

fn result(regex: &Regex, captures: &Captures<'_>, ty: &Type) -> Value {
    let group = |i: usize| match captures.get(i) {
        Some(found) => Value::string(found.as_str()),
        None => Value::null(Type::String),
    };
    match ty {
        Type::Tuple(types) => Value::tuple((1..=types.len()).map(group).collect()),
        Type::Object(_) => {
            let mut values: BTreeMap<&str, Value> = BTreeMap::new();
            for (i, name) in names(regex).into_iter().enumerate() {
                if let Some(name) = name {
                    values.insert(name, group(i + 1));
                }
            }
            Value::object(values)
        }
        _ => group(0),
    }
}
