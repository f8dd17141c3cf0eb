//! Files with a source of packages on each line (`sources.list`).

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use indexmap::IndexMap;

use crate::atomic::{self, Keep};
use crate::attributes;
use crate::context::Context;
use crate::invocation::Failure;
use crate::python;

const MAIN: &str = "/etc/apt/sources.list";
const PARTS: &str = "/etc/apt/sources.list.d";
const KINDS: [&str; 2] = ["deb", "deb-src"];

/// A line of such a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// Where it stood when it was read or added.
    number: usize,
    /// It is a source.
    pub(super) valid: bool,
    /// It is not commented out.
    pub(super) enabled: bool,
    pub(super) source: String,
    comment: String,
}

impl Line {
    fn parse(number: usize, line: &str) -> (Line, String) {
        let mut line = line.trim();
        let enabled = !line.starts_with('#');
        if !enabled {
            line = &line[1..];
        }
        let mut comment = "";
        if let Some(at) = line.find('#').filter(|at| *at > 0) {
            comment = line[at + 1..].trim();
            line = &line[..at];
        }
        let mut words = line.split_whitespace();
        let valid = words.next().is_some_and(|word| KINDS.contains(&word));
        let source = if valid {
            line.split_whitespace().collect::<Vec<_>>().join(" ")
        } else {
            line.trim().to_owned()
        };
        let parsed = Line {
            number,
            valid,
            enabled,
            source,
            comment: comment.to_owned(),
        };
        (parsed, line.to_owned())
    }

    fn write(&self, text: &mut String) {
        if !self.enabled {
            text.push_str("# ");
        }
        text.push_str(&self.source);
        if !self.comment.is_empty() {
            text.push_str(" # ");
            text.push_str(&self.comment);
        }
        text.push('\n');
    }
}

/// The source a text describes; what is wrong with it otherwise.
pub(super) fn source_of(text: &str) -> Result<String, Failure> {
    let (line, rest) = Line::parse(0, text);
    if line.valid && line.enabled {
        Ok(line.source)
    } else {
        Err(Failure::new(format!("Invalid repository string: {rest}")))
    }
}

/// All such files of the machine.
#[derive(Clone, Debug, Default)]
pub(super) struct Sources {
    files: IndexMap<String, Vec<Line>>,
    /// Where files that are links lead to.
    links: IndexMap<String, PathBuf>,
    /// Files a source was added to.
    added: BTreeSet<String>,
}

impl Sources {
    /// Reads them.
    pub(super) fn read(context: &Context<'_>) -> Result<Sources, Failure> {
        let mut sources = Sources::default();
        if context.path(MAIN).is_file() {
            sources.load(context, MAIN)?;
        }
        let mut names: Vec<String> = std::fs::read_dir(context.path(PARTS))
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .filter(|name| {
                Path::new(name).extension().is_some_and(|end| end == "list")
                    && !name.starts_with('.')
            })
            .collect();
        names.sort_unstable();
        for name in names {
            let file = python::join(PARTS, &name);
            if let Ok(target) = std::fs::read_link(context.path(&file)) {
                let target = context.path(PARTS).join(target);
                sources.links.insert(file.clone(), target);
            }
            sources.load(context, &file)?;
        }
        Ok(sources)
    }

    fn load(&mut self, context: &Context<'_>, file: &str) -> Result<(), Failure> {
        let path = context.path(file);
        let bytes = std::fs::read(&path)
            .map_err(|error| Failure::unhandled(python::os_error_at(&error, &path)))?;
        let lines = String::from_utf8_lossy(&bytes)
            .lines()
            .enumerate()
            .map(|(number, line)| Line::parse(number, line).0)
            .collect();
        self.files.insert(file.to_owned(), lines);
        Ok(())
    }

    /// What the files hold, those with nothing in them left out.
    pub(super) fn dump(&self) -> IndexMap<String, String> {
        self.files
            .iter()
            .filter(|(_, lines)| !lines.is_empty())
            .map(|(file, lines)| {
                let mut text = String::new();
                for line in lines {
                    line.write(&mut text);
                }
                (file.clone(), text)
            })
            .collect()
    }

    /// Whether a source is there and not commented out.
    pub(super) fn holds(&self, source: &str) -> bool {
        self.files
            .values()
            .flatten()
            .any(|line| line.valid && line.enabled && line.source == source)
    }

    /// Adds a source to a file, unless it is there; one that is commented out is taken up again.
    pub(super) fn add(&mut self, source: String, file: &str) {
        let mut found = false;
        for line in self.files.values_mut().flatten() {
            if line.valid && line.source == source {
                line.enabled = true;
                found = true;
            }
        }
        if found {
            return;
        }
        let file = if file.contains('/') {
            file.to_owned()
        } else {
            python::join(PARTS, file)
        };
        let lines = self.files.entry(file.clone()).or_default();
        lines.push(Line {
            number: lines.len(),
            valid: true,
            enabled: true,
            source,
            comment: String::new(),
        });
        self.added.insert(file);
    }

    /// Takes a source out of all files.
    pub(super) fn remove(&mut self, source: &str) -> Result<(), Failure> {
        for lines in self.files.values_mut() {
            let mut at = 0;
            while let Some(line) = lines.get(at) {
                at += 1;
                if !(line.valid && line.enabled && line.source == source) {
                    continue;
                }
                // By the place it had at first, as the real module counts.
                let number = line.number;
                if number >= lines.len() {
                    return Err(Failure::unhandled("pop index out of range"));
                }
                lines.remove(number);
            }
        }
        Ok(())
    }

    /// Writes them; files without anything go.
    pub(super) fn save(
        &self,
        context: &mut Context<'_>,
        mode: &serde_json::Value,
    ) -> Result<(), Failure> {
        let texts = self.dump();
        for file in self.files.keys() {
            let path = context.path(file);
            let Some(text) = texts.get(file) else {
                if path.exists() {
                    std::fs::remove_file(&path)
                        .map_err(|error| Failure::unhandled(python::os_error_at(&error, &path)))?;
                }
                continue;
            };
            let directory = context.path(python::dirname(file));
            std::fs::create_dir_all(&directory).map_err(|error| {
                Failure::new(format!(
                    "Failed to create directory {}: {}",
                    python::dirname(file),
                    python::os_error_at(&error, &directory)
                ))
            })?;
            let there = std::fs::read(&path).unwrap_or_default();
            if there != text.as_bytes() || !path.exists() {
                let target = self
                    .links
                    .get(file)
                    .map_or_else(|| file.clone(), |link| link.to_string_lossy().into_owned());
                let keep = Keep {
                    attributes: true,
                    unsafe_writes: false,
                };
                atomic::write(context, &target, text.as_bytes(), keep)?;
            }
            if self.added.contains(file) {
                attributes::set_mode(context, file, mode, false, None)?;
            }
        }
        Ok(())
    }
}

/// The name of the file for a source, if the arguments name none.
pub(super) fn file_name(line: &str, given: Option<&str>) -> Result<String, Failure> {
    if let Some(given) = given {
        return Ok(format!("{given}.list"));
    }
    let line = without_protocols(&without_options(line));
    let first = line
        .split_whitespace()
        .find(|word| !KINDS.contains(word))
        .ok_or_else(|| Failure::unhandled("list index out of range"))?;
    let first = first.split_once('@').map_or(first, |(_, after)| after);
    let words: Vec<&str> = first
        .split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty())
        .collect();
    Ok(format!("{}.list", words.join("_")))
}

/// Without `[arch=amd64 ...]`.
fn without_options(line: &str) -> String {
    let mut text = String::new();
    let mut rest = line;
    while let Some(open) = rest.find('[') {
        match rest[open + 1..].find(']') {
            Some(length) if length > 0 => {
                text.push_str(&rest[..open]);
                rest = &rest[open + length + 2..];
            }
            _ => {
                text.push_str(&rest[..=open]);
                rest = &rest[open + 1..];
            }
        }
    }
    text + rest
}

/// Without `https://`.
fn without_protocols(line: &str) -> String {
    let mut text = String::new();
    let mut rest = line;
    while let Some(at) = rest.find("://") {
        let before = &rest[..at];
        let kept = before.trim_end_matches(|c: char| c.is_alphanumeric() || c == '_');
        text.push_str(if kept.len() < before.len() {
            kept
        } else {
            &rest[..at + 3]
        });
        rest = &rest[at + 3..];
    }
    text + rest
}
