//! Entries of INI files and Java's properties, as Python's `configparser` reads them.

use std::sync::Arc;

use consort_jinja::{Error, Result, Value, repr};
use consort_modules::ini::{Ini, Reading, Wrong};
use indexmap::IndexMap;

use super::Call;
use crate::template::context::refused;
use crate::template::pattern::{self, compile};

const OPTIONS: [&str; 10] = [
    "type",
    "file",
    "section",
    "re",
    "encoding",
    "default",
    "case_sensitive",
    "allow_no_value",
    "allow_none",
    "interpolation",
];

pub(super) fn ini(call: &mut Call<'_, '_, '_, '_>) -> Result<Vec<Value>> {
    let mut found = Vec::new();
    let mut parsed = Ini::default();
    for term in call.texts()? {
        let mut key = term.to_string();
        if term.contains('=') || term.trim().contains(' ') {
            key = within(call, &term)?;
        }
        let file = call.text("file", "ansible.ini")?;
        let properties = call.choice("ini", "type", &["ini", "properties"])? == "properties";
        let section = if properties {
            "java_properties".to_owned()
        } else {
            call.text("section", "global")?
        };
        let exact = call.flag("case_sensitive", false)?;
        let bare = call.flag("allow_no_value", false)? || call.flag("allow_none", false)?;
        let interpolated = call.flag("interpolation", true)?;
        let Some(path) = call.find_file_or_warn("files", &file)? else {
            return refused("Invalid filename None.");
        };
        let mut text = call.read_as(&path, &call.text("encoding", "utf-8")?)?;
        if properties {
            text.insert_str(0, "[java_properties]\n");
        }
        parsed
            .read(
                &text,
                &Reading {
                    exact,
                    bare,
                    ..Reading::default()
                },
            )
            .map_err(|error| match error {
                Wrong::Twice(message) => Error::caused(
                    format!("Duplicate option in {}.", repr::string(&file)),
                    Error::failed(message),
                ),
                Wrong::Syntax(message) => Error::failed(message),
            })?;
        let Some(entries) = parsed.sections.get(&section) else {
            return refused(format!(
                "No section {} in {}.",
                repr::string(&section),
                repr::string(&file)
            ));
        };
        let value = |name: &str, value: &Option<Arc<str>>| -> Result<Value> {
            match value {
                None => Ok(Value::None),
                Some(value) if interpolated => parsed
                    .interpolated(&section, name, value, exact)
                    .map(Value::from)
                    .map_err(Error::failed),
                Some(value) => Ok(Value::from(&**value)),
            }
        };
        if call.flag("re", false)? {
            let compiled = compile(&key, false, false)?;
            for (name, written) in parsed.defaults_and(entries) {
                if compiled
                    .match_at(name, 0)
                    .map_err(pattern::refused)?
                    .is_some()
                {
                    found.push(value(name, written)?);
                }
            }
            continue;
        }
        let name = if exact {
            key.clone()
        } else {
            key.to_lowercase()
        };
        let known = entries.get(&name).or_else(|| parsed.defaults.get(&name));
        let read = match known {
            Some(written) => value(&name, written)?,
            None => call.option("default").unwrap_or_else(|| Value::from("")),
        };
        match read {
            Value::None => {}
            Value::List(items) => found.extend(items.read().iter().cloned()),
            read => found.push(read),
        }
    }
    Ok(found)
}

/// Sets the options that stand in a term after its key, and gives the key.
fn within(call: &mut Call<'_, '_, '_, '_>, term: &str) -> Result<String> {
    let mut current = "key";
    let mut order: Vec<&str> = Vec::new();
    let mut phrases: IndexMap<&str, String> = IndexMap::new();
    for (at, phrase) in term.split_whitespace().enumerate() {
        if phrase.contains('=') {
            for name in OPTIONS {
                if phrase.contains(&format!("{name}=")) {
                    current = name;
                }
            }
        }
        let entry = phrases.entry(current).or_default();
        if at == 0 || entry.is_empty() {
            phrase.clone_into(entry);
            order.push(current);
        } else {
            entry.push(' ');
            entry.push_str(phrase);
        }
    }
    let mut key = None;
    for name in order {
        let phrase = phrases.get(name).cloned().unwrap_or_default();
        match phrase.split_once('=') {
            Some((name, value)) if !value.contains('=') => {
                if !OPTIONS.contains(&name) {
                    return refused(format!("{} is not a valid option.", repr::string(name)));
                }
                call.set(name, Value::from(value));
            }
            Some(_) => {
                return refused(format!(
                    "Could not use {} from {}.",
                    repr::string(&phrase),
                    repr::string(term)
                ));
            }
            None => key = key.or(Some(phrase)),
        }
    }
    key.ok_or_else(|| {
        Error::failed(format!(
            "No key to look up was provided as first term within string inline options: {term}"
        ))
    })
}
