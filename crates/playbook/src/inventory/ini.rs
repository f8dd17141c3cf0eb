//! Inventories in INI.

use std::sync::{Arc, LazyLock};

use consort_jinja::{Key, Origin, Str, Value};
use indexmap::IndexMap;
use regex::Regex;

use super::read::Reading;
use super::{address, literal, shlex};
use crate::source::Located;

static SECTION: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"^\[([^:\]\s]+)(?::(\w+))?\]\s*(?:#.*)?$").expect("it is one"));
static GROUP: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"^([^:\]\s]+)\s*(?:#.*)?$").expect("it is one"));

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Hosts,
    Children,
    Variables,
}

/// A group that was spoken of before it was declared.
struct Pending {
    kind: Kind,
    parents: Vec<Arc<str>>,
}

/// Reads one.
pub(super) fn parse(reading: &mut Reading<'_>, path: &str) -> Result<(), Located> {
    let file: Arc<str> = path.into();
    let place = |line: u32| {
        Arc::new(Origin {
            file: Arc::clone(&file),
            line,
            column: 0,
        })
    };
    // What cannot be read at all has no place in a file.
    let content = reading
        .content(path)
        .and_then(|content| text(&content))
        .map_err(|cause| Located::parser("Failed to parse inventory.").because(cause))?;
    let result = Ok(content).and_then(|text| {
        let mut parser = Parser {
            reading,
            pending: IndexMap::new(),
            group: "ungrouped".into(),
            kind: Kind::Hosts,
        };
        for (written, line) in lines(&text).zip(1..) {
            parser.line(written.trim(), &place(line))?;
        }
        parser.end()
    });
    result.map_err(|cause| {
        Located::parser("Failed to parse inventory.")
            .at(&place(0))
            .because(cause)
    })
}

/// The text of a file. Comments may be in any encoding.
fn text(content: &[u8]) -> Result<String, Located> {
    if let Ok(text) = std::str::from_utf8(content) {
        return Ok(text.to_owned());
    }
    let mut whole = String::with_capacity(content.len());
    for line in content.split(|byte| *byte == b'\n') {
        if !matches!(line.first(), Some(b'#' | b';')) {
            whole.push_str(
                std::str::from_utf8(line).map_err(|error| Located::new(error.to_string()))?,
            );
        }
        whole.push('\n');
    }
    Ok(whole)
}

/// Lines as Python tells them apart.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.split_inclusive([
        '\n', '\r', '\x0b', '\x0c', '\x1c', '\x1d', '\x1e', '\u{85}', '\u{2028}', '\u{2029}',
    ])
    .scan(false, |carriage, line| {
        // A line feed right behind a carriage return ends no line of its own.
        let skipped = *carriage && line == "\n";
        *carriage = line.ends_with('\r');
        Some((!skipped).then_some(line))
    })
    .flatten()
}

struct Parser<'r, 'i> {
    reading: &'r mut Reading<'i>,
    pending: IndexMap<Arc<str>, Pending>,
    group: Arc<str>,
    kind: Kind,
}

impl Parser<'_, '_> {
    fn line(&mut self, line: &str, place: &Arc<Origin>) -> Result<(), Located> {
        if line.is_empty() || line.starts_with(['#', ';']) {
            return Ok(());
        }
        if let Some(section) = SECTION.captures(line) {
            let name = section.get(1).map_or("", |name| name.as_str());
            return self.section(name, section.get(2).map(|kind| kind.as_str()));
        }
        if line.starts_with('[') && line.ends_with(']') {
            return Err(Located::new(format!(
                "Invalid section entry: '{line}'. Please make sure that there are no spaces in the section entry, and that \
                 there are no other invalid characters"
            )));
        }
        match self.kind {
            Kind::Hosts => self.host(line, place),
            Kind::Variables => {
                let (name, value) = line
                    .split_once('=')
                    .ok_or_else(|| Located::new(format!("Expected key=value, got: {line}")))?;
                let group = Arc::clone(&self.group);
                self.reading.set_variable(
                    &group,
                    &key(name.trim(), place),
                    value_of(value.trim(), place),
                )
            }
            Kind::Children => {
                let name = GROUP
                    .captures(line)
                    .and_then(|parts| parts.get(1))
                    .ok_or_else(|| Located::new(format!("Expected group name, got: {line}")))?
                    .as_str();
                if self.reading.inventory.groups.contains_key(name) {
                    let group = Arc::clone(&self.group);
                    self.reading.inventory.add_child(&group, name)?;
                } else {
                    self.pending
                        .entry(name.into())
                        .or_insert_with(|| Pending {
                            kind: Kind::Children,
                            parents: Vec::new(),
                        })
                        .parents
                        .push(Arc::clone(&self.group));
                }
                Ok(())
            }
        }
    }

    fn section(&mut self, name: &str, kind: Option<&str>) -> Result<(), Located> {
        let name: Arc<str> = self.reading.safe_group_name(name).into();
        self.kind = match kind {
            None | Some("hosts") => Kind::Hosts,
            Some("children") => Kind::Children,
            Some("vars") => Kind::Variables,
            Some(other) => {
                return Err(Located::new(format!(
                    "Section [{name}:{other}] has unknown type: {other}"
                )));
            }
        };
        if !self.reading.inventory.groups.contains_key(&name) {
            if self.kind == Kind::Variables && !self.pending.contains_key(&name) {
                self.pending.insert(
                    Arc::clone(&name),
                    Pending {
                        kind: Kind::Variables,
                        parents: Vec::new(),
                    },
                );
            }
            self.reading.add_group(&name)?;
        }
        if self.kind != Kind::Variables {
            self.declared(&name)?;
        }
        self.group = name;
        Ok(())
    }

    /// Puts a group that is declared now below those that wait for it.
    fn declared(&mut self, name: &str) -> Result<(), Located> {
        let Some(pending) = self.pending.shift_remove(name) else {
            return Ok(());
        };
        if pending.kind == Kind::Children {
            for parent in pending.parents {
                self.reading.inventory.add_child(&parent, name)?;
                if self
                    .pending
                    .get(&parent)
                    .is_some_and(|pending| pending.kind == Kind::Children)
                {
                    self.declared(&parent)?;
                }
            }
        }
        Ok(())
    }

    fn host(&mut self, line: &str, place: &Arc<Origin>) -> Result<(), Located> {
        let words = shlex::split(line, true).map_err(|error| {
            Located::new(format!("Error parsing host definition '{line}': {error}"))
        })?;
        let Some((pattern, assignments)) = words.split_first() else {
            return Err(Located::new("list index out of range"));
        };
        let (names, port) = address::expand(pattern)?;
        if pattern.trim().ends_with(':') && port.is_none() {
            return Err(Located::parser(format!(
                "Invalid host pattern '{pattern}' supplied, ending in ':' is not allowed, this character is reserved to provide \
                 a port."
            )));
        }
        if names.iter().any(|name| name.trim() == "---") {
            return Err(Located::parser(format!(
                "Invalid host pattern '{pattern}' supplied, '---' is normally a sign this is a YAML file."
            )));
        }
        let mut variables = Vec::with_capacity(assignments.len());
        for assignment in assignments {
            let (name, value) = assignment.split_once('=').ok_or_else(|| {
                Located::new(format!(
                    "Expected key=value host variable assignment, got: {assignment}"
                ))
            })?;
            variables.push((key(name, place), value_of(value, place)));
        }
        let group = Arc::clone(&self.group);
        self.reading
            .add_hosts(&names, Some(&group), port, &variables)
    }

    fn end(&self) -> Result<(), Located> {
        let Some((name, pending)) = self.pending.first() else {
            return Ok(());
        };
        Err(Located::new(match pending.kind {
            Kind::Children => format!(
                "Section [{}:children] includes undefined group '{name}'.",
                pending.parents.last().map_or("", |parent| parent)
            ),
            _ => format!("Section [{name}:vars] not valid for undefined group '{name}'."),
        }))
    }
}

fn key(name: &str, place: &Arc<Origin>) -> Key {
    Key::new(Value::Str(Str::new(name).written_at(Arc::clone(place))))
        .unwrap_or_else(|_| Key::from(name))
}

/// What is written as a literal is one; all else is a text.
pub(super) fn value_of(written: &str, place: &Arc<Origin>) -> Value {
    literal::parse(written, place).unwrap_or_else(|| literal::text(written, place))
}
