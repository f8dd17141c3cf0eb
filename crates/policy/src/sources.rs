//! The policies of a score, as they are read.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use consort_plan::{Location, Problem};

use crate::engine::Version;

/// The most bytes one file of policies or their data may have.
const MOST_BYTES: u64 = 64 * 1024 * 1024;
/// How deep directories of policies may nest.
const DEEPEST: usize = 32;

/// A part of a score that holds policies.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PolicyPart {
    /// Its name in the score.
    pub name: String,
    /// What its modules are written in.
    pub version: Version,
    /// Its modules: the file's path relative to the score, and its text.
    pub modules: Vec<(String, String)>,
    /// Its data: what `data` is beside the rules.
    pub data: serde_json::Value,
    /// What a `policies.hcl` says is to be asked, in place of the rules' names.
    pub queries: Vec<Query>,
}

/// A rule that is to be asked, as `policies.hcl` of HCP Terraform says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// Its name.
    pub name: String,
    /// The rule: `data.terraform.policies.public_ingress.deny`.
    pub rule: String,
    /// Whether what it gives stops the plan.
    pub mandatory: bool,
    /// Where this is said.
    pub location: Location,
}

impl PolicyPart {
    /// Reads the policies at `path` below `root`: a file, or a directory with all below it. Modules are the files
    /// `*.rego` but for their tests (`*_test.rego`), data the files `data.json`, `data.yaml` and `data.yml`, put at the
    /// place that their directory names, as OPA does with bundles.
    ///
    /// # Errors
    /// What cannot be read. Whether the modules are Rego shows when they are used.
    pub fn read(
        name: &str,
        root: &Path,
        path: &str,
        version: Version,
    ) -> Result<Self, Vec<Problem>> {
        let mut reading = Reading {
            part: PolicyPart {
                name: name.to_owned(),
                version,
                data: serde_json::json!({}),
                ..PolicyPart::default()
            },
            root: root.to_owned(),
            problems: Vec::new(),
        };
        let top = root.join(path);
        match std::fs::metadata(&top) {
            Err(error) => reading.problem(&top, 0, format!("the policies cannot be read: {error}")),
            Ok(about) if about.is_dir() => reading.directory(&top, &[]),
            Ok(_) => reading.file(&top, &[]),
        }
        if reading.part.modules.is_empty() && reading.problems.is_empty() {
            reading.problem(
                &top,
                0,
                "there is no policy here: no file *.rego".to_owned(),
            );
        }
        if reading.problems.is_empty() {
            Ok(reading.part)
        } else {
            Err(reading.problems)
        }
    }
}

struct Reading {
    part: PolicyPart,
    root: PathBuf,
    problems: Vec<Problem>,
}

impl Reading {
    fn relative(&self, path: &Path) -> String {
        let path = path.strip_prefix(&self.root).unwrap_or(path);
        path.to_string_lossy().trim_start_matches("./").to_owned()
    }

    fn problem(&mut self, path: &Path, line: u32, summary: String) {
        self.problems.push(Problem {
            part: self.part.name.clone(),
            address: None,
            location: Some(Location {
                file: self.relative(path),
                line,
            }),
            summary,
            detail: String::new(),
            hint: None,
            transient: false,
        });
    }

    fn directory(&mut self, path: &Path, place: &[String]) {
        if place.len() > DEEPEST {
            return self.problem(
                path,
                0,
                format!("directories nest more than {DEEPEST} deep"),
            );
        }
        let entries = std::fs::read_dir(path).and_then(|entries| {
            entries
                .map(|entry| Ok(entry?.path()))
                .collect::<std::io::Result<Vec<_>>>()
        });
        let mut entries = match entries {
            Ok(entries) => entries,
            Err(error) => return self.problem(path, 0, format!("cannot be read: {error}")),
        };
        entries.sort();
        for entry in entries {
            let Some(name) = entry.file_name().and_then(|name| name.to_str()) else {
                continue;
            };
            if name.starts_with('.') {
                continue;
            }
            if entry.is_dir() {
                let mut place = place.to_vec();
                place.push(name.to_owned());
                self.directory(&entry, &place);
            } else {
                self.file(&entry, place);
            }
        }
    }

    fn file(&mut self, path: &Path, place: &[String]) {
        let name = path.file_name().and_then(|name| name.to_str());
        let name = name.unwrap_or_default().to_owned();
        let wanted = matches!(
            name.as_str(),
            "data.json" | "data.yaml" | "data.yml" | "policies.hcl"
        ) || is_rego(&name);
        if !wanted || name.ends_with("_test.rego") {
            return;
        }
        let size = std::fs::metadata(path).map_or(0, |about| about.len());
        if size > MOST_BYTES {
            return self.problem(
                path,
                0,
                format!("the file is larger than {MOST_BYTES} bytes"),
            );
        }
        let text = match std::fs::read(path).map(String::from_utf8) {
            Ok(Ok(text)) => text,
            Ok(Err(_)) => return self.problem(path, 0, "the file is no UTF-8".to_owned()),
            Err(error) => return self.problem(path, 0, format!("cannot be read: {error}")),
        };
        if is_rego(&name) {
            let file = self.relative(path);
            self.part.modules.push((file, text));
            return;
        }
        if name == "policies.hcl" {
            return self.queries(path, &text);
        }
        let data = if name == "data.json" {
            serde_json::from_str(&text).map_err(|error| (error.line() as u32, error.to_string()))
        } else {
            serde_saphyr::from_str(&text).map_err(|error| {
                let line = error.location().map_or(0, |place| place.line() as u32);
                (line, error.to_string())
            })
        };
        match data {
            Ok(data) => {
                let nested = place
                    .iter()
                    .rev()
                    .fold(data, |inner: serde_json::Value, step| {
                        serde_json::Value::Object(std::iter::once((step.clone(), inner)).collect())
                    });
                if !nested.is_object() {
                    return self.problem(path, 1, "the data is no object".to_owned());
                }
                merge(&mut self.part.data, nested);
            }
            Err((line, why)) => self.problem(path, line, why),
        }
    }

    /// `policy "NAME" { query = "data..." enforcement_level = "mandatory" }`, one after the other.
    fn queries(&mut self, path: &Path, text: &str) {
        let file = self.relative(path);
        let mut open: Option<(String, u32, BTreeMap<String, String>)> = None;
        for (line, text) in (1_u32..).zip(text.lines()) {
            let text = text.trim();
            let words: Vec<&str> = text.split('"').collect();
            if text.is_empty() || text.starts_with('#') || text.starts_with("//") {
                continue;
            }
            if let ["policy ", name, rest] = words[..]
                && rest.trim() == "{"
                && open.is_none()
            {
                open = Some((name.to_owned(), line, BTreeMap::new()));
            } else if text == "}"
                && let Some((name, line, fields)) = open.take()
            {
                let Some(rule) = fields.get("query") else {
                    self.problem(path, line, format!("policy {name:?} has no query"));
                    continue;
                };
                self.part.queries.push(Query {
                    name,
                    rule: rule.clone(),
                    mandatory: fields
                        .get("enforcement_level")
                        .is_some_and(|it| it == "mandatory"),
                    location: Location {
                        file: file.clone(),
                        line,
                    },
                });
            } else if let [key, value, _] = words[..]
                && let Some(key) = key.trim().strip_suffix('=')
                && let Some((_, _, fields)) = &mut open
            {
                fields.insert(key.trim().to_owned(), value.to_owned());
            } else {
                self.problem(
                    path,
                    line,
                    "expected policy \"NAME\" {, query = \"data...\", enforcement_level = \"mandatory\" or }".to_owned(),
                );
                return;
            }
        }
        if let Some((name, line, _)) = open {
            self.problem(path, line, format!("policy {name:?} is not closed"));
        }
    }
}

fn merge(into: &mut serde_json::Value, from: serde_json::Value) {
    match (into, from) {
        (serde_json::Value::Object(into), serde_json::Value::Object(from)) => {
            for (key, value) in from {
                match into.get_mut(&key) {
                    Some(there) => merge(there, value),
                    None => {
                        into.insert(key, value);
                    }
                }
            }
        }
        (into, from) => *into = from,
    }
}

/// Whether a file holds Rego, by its name: as OPA, by the letters as they are.
pub(crate) fn is_rego(name: &str) -> bool {
    std::path::Path::new(name)
        .extension()
        .is_some_and(|extension| extension == "rego")
}
