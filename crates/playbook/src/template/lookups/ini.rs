//! Entries of INI files and Java's properties, as Python's `configparser` reads them.

use std::sync::Arc;

use consort_jinja::{Error, Result, Value, repr};
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
    let mut parsed = Parsed::default();
    for term in call.texts()? {
        let mut key = term.to_string();
        if term.contains('=') || term.trim().contains(' ') {
            key = within(call, &term)?;
        }
        let file = call.text("file", "ansible.ini")?;
        let properties = call.text("type", "ini")? == "properties";
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
            .read(&text, exact, bare)
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
                    .interpolated(&section, name, value, exact, 0)
                    .map(Value::from),
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

type Entries = IndexMap<String, Option<Arc<str>>>;

#[derive(Default)]
struct Parsed {
    defaults: Entries,
    sections: IndexMap<String, Entries>,
}

enum Wrong {
    Twice(String),
    Syntax(String),
}

impl Parsed {
    fn read(&mut self, text: &str, exact: bool, bare: bool) -> std::result::Result<(), Wrong> {
        let mut section: Option<String> = None;
        let mut open: Option<(String, usize, Vec<String>)> = None;
        let mut seen: std::collections::HashSet<(String, String)> =
            std::collections::HashSet::new();
        for (at, line) in text.lines().enumerate() {
            let trimmed = line.trim();
            if trimmed.starts_with(['#', ';']) {
                continue;
            }
            let indent = line.len() - line.trim_start().len();
            if let Some((_, depth, lines)) = &mut open {
                if trimmed.is_empty() {
                    lines.push(String::new());
                    continue;
                }
                if indent > *depth {
                    lines.push(trimmed.to_owned());
                    continue;
                }
            }
            if trimmed.is_empty() {
                continue;
            }
            self.close(section.as_deref(), &mut open);
            if let Some(name) = trimmed
                .strip_prefix('[')
                .and_then(|rest| rest.rfind(']').map(|end| &rest[..end]))
                .filter(|name| !name.is_empty())
            {
                if name != "DEFAULT" {
                    self.sections.entry(name.to_owned()).or_default();
                }
                section = Some(name.to_owned());
                continue;
            }
            let Some(current) = &section else {
                return Err(Wrong::Syntax(format!(
                    "File contains no section headers.\nfile: '<???>', line: {}\n{}",
                    at + 1,
                    repr::string(&format!("{line}\n"))
                )));
            };
            let (name, value) = match trimmed.split_once(['=', ':']) {
                Some((name, value)) => (name.trim_end(), Some(value.trim())),
                None if bare => (trimmed, None),
                None => {
                    return Err(Wrong::Syntax(format!(
                        "Source contains parsing errors: '<???>'\n\t[line {:>2}]: {}",
                        at + 1,
                        repr::string(&format!("{line}\n"))
                    )));
                }
            };
            let name = if exact {
                name.to_owned()
            } else {
                name.to_lowercase()
            };
            if !seen.insert((current.clone(), name.clone())) {
                return Err(Wrong::Twice(format!(
                    "While reading from '<???>' [line {:>2}]: option {} in section {} already exists",
                    at + 1,
                    repr::string(&name),
                    repr::string(current)
                )));
            }
            match value {
                Some(value) => open = Some((name, indent, vec![value.to_owned()])),
                None => {
                    self.put(current, name, None);
                }
            }
        }
        self.close(section.as_deref(), &mut open);
        Ok(())
    }

    fn close(&mut self, section: Option<&str>, open: &mut Option<(String, usize, Vec<String>)>) {
        if let (Some(section), Some((name, _, mut lines))) = (section, open.take()) {
            while lines.len() > 1 && lines.last().is_some_and(String::is_empty) {
                lines.pop();
            }
            let value = lines.join("\n");
            self.put(section, name, Some(value.trim_end().into()));
        }
    }

    fn put(&mut self, section: &str, name: String, value: Option<Arc<str>>) {
        if section == "DEFAULT" {
            self.defaults.insert(name, value);
        } else {
            self.sections
                .entry(section.to_owned())
                .or_default()
                .insert(name, value);
        }
    }

    /// The entries of a section with those that all have: the latter come first, where the section has none of its own.
    fn defaults_and<'a>(
        &'a self,
        entries: &'a Entries,
    ) -> impl Iterator<Item = (&'a String, &'a Option<Arc<str>>)> {
        self.defaults
            .iter()
            .map(|(name, value)| (name, entries.get(name).unwrap_or(value)))
            .chain(
                entries
                    .iter()
                    .filter(|(name, _)| !self.defaults.contains_key(*name)),
            )
    }

    /// Puts in what `%(name)s` stands for.
    fn interpolated(
        &self,
        section: &str,
        name: &str,
        written: &str,
        exact: bool,
        depth: u32,
    ) -> Result<String> {
        if depth > 10 {
            return refused(format!(
                "Recursion limit exceeded in value substitution: option {} in section {} contains an interpolation key which cannot be substituted in 10 steps. Raw value: {}",
                repr::string(name),
                repr::string(section),
                repr::string(written)
            ));
        }
        let mut out = String::new();
        let mut rest = written;
        while let Some(at) = rest.find('%') {
            out.push_str(&rest[..at]);
            let after = &rest[at + 1..];
            if let Some(left) = after.strip_prefix('%') {
                out.push('%');
                rest = left;
                continue;
            }
            let inner = after
                .strip_prefix('(')
                .and_then(|inner| inner.split_once(")s"));
            let Some((wanted, left)) = inner else {
                return refused(if after.starts_with('(') {
                    format!(
                        "bad interpolation variable reference {}",
                        repr::string(&rest[at..])
                    )
                } else {
                    format!(
                        "'%' must be followed by '%' or '(', found: {}",
                        repr::string(&rest[at..])
                    )
                });
            };
            let wanted = if exact {
                wanted.to_owned()
            } else {
                wanted.to_lowercase()
            };
            let value = self
                .sections
                .get(section)
                .and_then(|entries| entries.get(&wanted))
                .or_else(|| self.defaults.get(&wanted));
            let Some(Some(value)) = value else {
                return refused(format!(
                    "Bad value substitution: option {} in section {} contains an interpolation key {} which is not a valid option name. Raw value: {}",
                    repr::string(name),
                    repr::string(section),
                    repr::string(&wanted),
                    repr::string(written)
                ));
            };
            out.push_str(&self.interpolated(section, name, value, exact, depth + 1)?);
            rest = left;
        }
        out.push_str(rest);
        Ok(out)
    }
}
