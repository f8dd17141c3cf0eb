//! Entries in sections, as Python's `configparser` reads them from a text.

use std::collections::HashSet;
use std::sync::Arc;

use indexmap::IndexMap;

use crate::python::repr;

/// The entries of a section: their names, and their values as they are written; `None` where a name stands alone.
pub type Entries = IndexMap<String, Option<Arc<str>>>;

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

impl Ini {
    /// Reads a text, in addition to what was read before. With `exact` the case of names counts; with `bare` names may
    /// stand alone.
    ///
    /// # Errors
    /// Lines that are nothing, or stand twice in the text.
    pub fn read(&mut self, text: &str, exact: bool, bare: bool) -> Result<(), Wrong> {
        let mut section: Option<String> = None;
        let mut open: Option<(String, usize, Vec<String>)> = None;
        let mut seen: HashSet<(String, String)> = HashSet::new();
        let mut sections: HashSet<String> = HashSet::new();
        for (at, line) in text.lines().enumerate() {
            let number = at + 1;
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
                    if !sections.insert(name.to_owned()) {
                        return Err(Wrong::Syntax(format!(
                            "While reading from '<???>' [line {number:>2}]: section {} already exists",
                            repr(name)
                        )));
                    }
                    self.sections.entry(name.to_owned()).or_default();
                }
                section = Some(name.to_owned());
                continue;
            }
            let Some(current) = &section else {
                return Err(Wrong::Syntax(format!(
                    "File contains no section headers.\nfile: '<???>', line: {number}\n{}",
                    repr(&format!("{line}\n"))
                )));
            };
            let (name, value) = match trimmed.split_once(['=', ':']) {
                Some((name, value)) => (name.trim_end(), Some(value.trim())),
                None if bare => (trimmed, None),
                None => {
                    return Err(Wrong::Syntax(format!(
                        "Source contains parsing errors: '<???>'\n\t[line {number:>2}]: {}",
                        repr(&format!("{line}\n"))
                    )));
                }
            };
            let name = cased(name, exact);
            if !seen.insert((current.clone(), name.clone())) {
                return Err(Wrong::Twice(format!(
                    "While reading from '<???>' [line {number:>2}]: option {} in section {} already exists",
                    repr(&name),
                    repr(current)
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

fn cased(name: &str, exact: bool) -> String {
    if exact {
        name.to_owned()
    } else {
        name.to_lowercase()
    }
}
