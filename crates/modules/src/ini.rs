//! Entries in sections, as Python's `configparser` reads and writes them. Comments are not kept.

use std::collections::HashSet;
use std::sync::Arc;

use indexmap::IndexMap;

use crate::python::repr;

/// The entries of a section: their names, and their values as they are written; `None` where a name stands alone.
pub type Entries = IndexMap<String, Option<Arc<str>>>;

/// The name of the section whose entries all others have too.
const DEFAULT: &str = "DEFAULT";

/// The sections of one or several texts.
#[derive(Clone, Debug, Default)]
pub struct Ini {
    /// The entries that all sections have (`DEFAULT`).
    pub defaults: Entries,
    /// The other sections.
    pub sections: IndexMap<String, Entries>,
}

/// Why a text cannot be read, in the words of `configparser`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// An entry stands twice.
    Twice(String),
    /// A section stands twice, or a line is nothing.
    Syntax(String),
}

/// How a text is read.
#[derive(Clone, Copy, Debug)]
pub struct Reading<'a> {
    /// What the text is called where mistakes in it are told, as Python calls it: a path, `<string>`, `<???>`.
    pub name: &'a str,
    /// Whether the case of names counts.
    pub exact: bool,
    /// Whether names may stand alone.
    pub bare: bool,
    /// Whether a semicolon behind a blank begins a comment.
    pub comments: bool,
}

impl Default for Reading<'_> {
    fn default() -> Self {
        Reading {
            name: "<???>",
            exact: false,
            bare: false,
            comments: false,
        }
    }
}

/// The entry that was read last: its value may go on in the next lines.
struct Open {
    section: String,
    name: String,
    /// How far in the last line stood that was not of a value.
    indent: usize,
    /// The lines of its value; none where the name stands alone.
    lines: Option<Vec<String>>,
}

impl Wrong {
    /// In words.
    pub fn into_message(self) -> String {
        match self {
            Wrong::Twice(message) | Wrong::Syntax(message) => message,
        }
    }
}

impl Ini {
    /// Reads a text, in addition to what was read before.
    ///
    /// # Errors
    /// Lines that are nothing, or stand twice in the text.
    pub fn read(&mut self, text: &str, reading: &Reading<'_>) -> Result<(), Wrong> {
        let file = repr(reading.name);
        let mut section: Option<String> = None;
        let mut open: Option<Open> = None;
        let mut seen: HashSet<(String, String)> = HashSet::new();
        let mut sections: HashSet<String> = HashSet::new();
        let mut mistakes = String::new();
        for (at, line) in text.lines().enumerate() {
            let number = at + 1;
            if line.trim_start().starts_with(['#', ';']) {
                continue;
            }
            let kept = if reading.comments {
                without_comment(line)
            } else {
                line
            };
            let trimmed = kept.trim();
            if trimmed.is_empty() {
                if let Some(lines) = open.as_mut().and_then(|open| open.lines.as_mut()) {
                    lines.push(String::new());
                }
                continue;
            }
            let indent = kept.chars().take_while(|c| c.is_whitespace()).count();
            let written = || repr(&format!("{line}\n"));
            if let Some(open) = open
                .as_mut()
                .filter(|open| indent > open.indent && !open.name.is_empty())
            {
                let Some(lines) = &mut open.lines else {
                    return Err(Wrong::Syntax(format!(
                        "Key without value continued with an indented line.\nfile: {file}, line: {number}\n{}",
                        written()
                    )));
                };
                lines.push(trimmed.to_owned());
                continue;
            }
            if let Some(name) = trimmed
                .strip_prefix('[')
                .and_then(|rest| rest.rfind(']').map(|end| &rest[..end]))
                .filter(|name| !name.is_empty())
            {
                if name != DEFAULT {
                    if !sections.insert(name.to_owned()) {
                        return Err(Wrong::Syntax(format!(
                            "While reading from {file} [line {number:>2}]: section {} already exists",
                            repr(name)
                        )));
                    }
                    self.sections.entry(name.to_owned()).or_default();
                }
                self.close(open.take());
                section = Some(name.to_owned());
                continue;
            }
            let Some(current) = &section else {
                return Err(Wrong::Syntax(format!(
                    "File contains no section headers.\nfile: {file}, line: {number}\n{}",
                    written()
                )));
            };
            let split = match trimmed.split_once(['=', ':']) {
                Some((name, value)) => Some((name.trim_end(), Some(value.trim()))),
                None => reading.bare.then_some((trimmed, None)),
            };
            if split.is_none_or(|(name, _)| name.is_empty()) {
                mistakes.push_str(&format!("\n\t[line {number:>2}]: {}", written()));
            }
            let Some((name, value)) = split else {
                if let Some(open) = &mut open {
                    open.indent = indent;
                }
                continue;
            };
            let name = cased(name, reading.exact);
            if !seen.insert((current.clone(), name.clone())) {
                return Err(Wrong::Twice(format!(
                    "While reading from {file} [line {number:>2}]: option {} in section {} already exists",
                    repr(&name),
                    repr(current)
                )));
            }
            self.close(open.replace(Open {
                section: current.clone(),
                name,
                indent,
                lines: value.map(|value| vec![value.to_owned()]),
            }));
        }
        if !mistakes.is_empty() {
            return Err(Wrong::Syntax(format!(
                "Source contains parsing errors: {file}{mistakes}"
            )));
        }
        self.close(open);
        Ok(())
    }

    fn close(&mut self, open: Option<Open>) {
        if let Some(open) = open {
            let value = open
                .lines
                .map(|lines| Arc::from(lines.join("\n").trim_end()));
            self.put(&open.section, open.name, value);
        }
    }

    fn put(&mut self, section: &str, name: String, value: Option<Arc<str>>) {
        if section == DEFAULT {
            self.defaults.insert(name, value);
        } else {
            self.sections
                .entry(section.to_owned())
                .or_default()
                .insert(name, value);
        }
    }

    /// The value of an entry of a section, or else of all sections; none where the section is not there.
    pub fn value(&self, section: &str, name: &str) -> Option<&str> {
        self.sections
            .get(section)?
            .get(name)
            .or_else(|| self.defaults.get(name))?
            .as_deref()
    }

    /// As it is written.
    pub fn write(&self) -> String {
        let mut text = String::new();
        let defaults = (!self.defaults.is_empty()).then_some((DEFAULT, &self.defaults));
        let own = self
            .sections
            .iter()
            .map(|(name, entries)| (name.as_str(), entries));
        for (section, entries) in defaults.into_iter().chain(own) {
            text.push_str(&format!("[{section}]\n"));
            for (name, value) in entries {
                match value {
                    Some(value) => {
                        text.push_str(&format!("{name} = {}\n", value.replace('\n', "\n\t")));
                    }
                    None => text.push_str(&format!("{name}\n")),
                }
            }
            text.push('\n');
        }
        text
    }

    /// The entries of a section with those that all have: the latter come first, where the section has none of its own.
    pub fn defaults_and<'a>(
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

    /// The value of an entry with what `%(name)s` in it stands for.
    ///
    /// # Errors
    /// Nothing has the name, or values stand for each other.
    pub fn interpolated(
        &self,
        section: &str,
        name: &str,
        written: &str,
        exact: bool,
    ) -> Result<String, String> {
        self.interpolate(section, name, written, exact, 0)
    }

    fn interpolate(
        &self,
        section: &str,
        name: &str,
        written: &str,
        exact: bool,
        depth: u32,
    ) -> Result<String, String> {
        if depth > 10 {
            return Err(format!(
                "Recursion limit exceeded in value substitution: option {} in section {} contains an interpolation key which cannot be substituted in 10 steps. Raw value: {}",
                repr(name),
                repr(section),
                repr(written)
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
                return Err(if after.starts_with('(') {
                    format!("bad interpolation variable reference {}", repr(&rest[at..]))
                } else {
                    format!(
                        "'%' must be followed by '%' or '(', found: {}",
                        repr(&rest[at..])
                    )
                });
            };
            let wanted = cased(wanted, exact);
            let value = self
                .sections
                .get(section)
                .and_then(|entries| entries.get(&wanted))
                .or_else(|| self.defaults.get(&wanted));
            let Some(Some(value)) = value else {
                return Err(format!(
                    "Bad value substitution: option {} in section {} contains an interpolation key {} which is not a valid option name. Raw value: {}",
                    repr(name),
                    repr(section),
                    repr(&wanted),
                    repr(written)
                ));
            };
            out.push_str(&self.interpolate(section, name, value, exact, depth + 1)?);
            rest = left;
        }
        out.push_str(rest);
        Ok(out)
    }
}

/// A line up to a semicolon that stands at its beginning or behind a blank.
fn without_comment(line: &str) -> &str {
    line.match_indices(';')
        .map(|(at, _)| &line[..at])
        .find(|before| before.is_empty() || before.ends_with(char::is_whitespace))
        .unwrap_or(line)
}

fn cased(name: &str, exact: bool) -> String {
    if exact {
        name.to_owned()
    } else {
        name.to_lowercase()
    }
}
