//! `.terraform/modules/modules.json`: which module call was installed where. Read and written as Terraform does.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::error::Error;
use crate::address::ModulePath;
use crate::config::ModuleSource;
use crate::version::Version;

/// The file's name in the directory of modules.
const FILE: &str = "modules.json";

/// One installed module.
#[derive(Clone, Debug)]
pub struct Record {
    /// Its source in full; empty for the root.
    pub source: String,
    /// Its version, when it came from a registry.
    pub version: Option<Version>,
    /// Where it is, relative to the working directory.
    pub directory: PathBuf,
}

/// The installed modules by the names of the calls that lead to them, joined by dots; the root has the empty key.
#[derive(Clone, Debug, Default)]
pub struct Manifest {
    records: BTreeMap<String, Record>,
}

// The order of the fields is the order in the file.
#[derive(Serialize, Deserialize)]
struct Line {
    #[serde(rename = "Key")]
    key: String,
    #[serde(rename = "Source")]
    source: String,
    #[serde(rename = "Version", default, skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    #[serde(rename = "Dir")]
    directory: String,
}

#[derive(Serialize, Deserialize)]
struct File {
    #[serde(rename = "Modules")]
    modules: Option<Vec<Line>>,
}

fn key_of(path: &ModulePath) -> String {
    path.names()
        .iter()
        .map(|name| &**name)
        .collect::<Vec<_>>()
        .join(".")
}

impl Manifest {
    /// Reads the manifest of a directory of modules; no file is an empty manifest.
    ///
    /// # Errors
    /// When it cannot be read or is damaged.
    pub fn read(modules: &Path) -> Result<Self, Error> {
        let path = modules.join(FILE);
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Self::default());
            }
            Err(error) => return Err(Error::io("reading", &path)(error)),
        };
        if text.is_empty() {
            return Ok(Self::default());
        }
        Self::parse(&text, &path)
    }

    /// Reads the text of a manifest; `path` is where it is said to be.
    ///
    /// # Errors
    /// When it is damaged.
    pub fn parse(text: &[u8], path: &Path) -> Result<Self, Error> {
        let damaged =
            |why: String| Error::other(format!("error unmarshalling {}: {why}", path.display()));
        let file: File =
            serde_json::from_slice(text).map_err(|error| damaged(error.to_string()))?;
        let mut manifest = Self::default();
        for line in file.modules.unwrap_or_default() {
            let version = match line.version.filter(|version| !version.is_empty()) {
                Some(text) => {
                    let version = text.parse();
                    Some(version.map_err(|_| {
                        damaged(format!("invalid version {text:?} for {}", line.key))
                    })?)
                }
                None => None,
            };
            // Older manifests hold sources as they were written.
            let source =
                ModuleSource::parse(&line.source).map_or(line.source, |source| source.to_string());
            let record = Record {
                source,
                version,
                directory: PathBuf::from(line.directory),
            };
            if manifest.records.insert(line.key.clone(), record).is_some() {
                return Err(damaged(format!("two records for path {}", line.key)));
            }
        }
        Ok(manifest)
    }

    /// Says otherwise where each module is.
    pub(crate) fn change_directories(&mut self, change: impl Fn(&Path) -> PathBuf) {
        for record in self.records.values_mut() {
            record.directory = change(&record.directory);
        }
    }

    /// Whether any module lies below a directory.
    pub(crate) fn has_below(&self, directory: &Path) -> bool {
        self.records
            .values()
            .any(|record| record.directory.starts_with(directory))
    }

    /// Writes the manifest into a directory of modules, whole or not at all.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, modules: &Path) -> Result<(), Error> {
        super::write_atomically(&modules.join(FILE), self.text()?.as_bytes())
    }

    /// The manifest's text.
    ///
    /// # Errors
    /// When a name in it cannot be written as JSON.
    pub fn text(&self) -> Result<String, Error> {
        let lines = self.records.iter().map(|(key, record)| Line {
            key: key.clone(),
            source: record.source.clone(),
            version: record.version.as_ref().map(Version::to_string),
            directory: record.directory.to_string_lossy().into_owned(),
        });
        let file = File {
            modules: Some(lines.collect()),
        };
        let text = serde_json::to_string(&file).map_err(|error| Error::other(error.to_string()))?;
        // As Go's encoder has it.
        Ok(text
            .replace('&', "\\u0026")
            .replace('<', "\\u003c")
            .replace('>', "\\u003e"))
    }

    /// The record of a module.
    pub fn get(&self, path: &ModulePath) -> Option<&Record> {
        self.records.get(&key_of(path))
    }

    /// Sets the record of a module.
    pub fn insert(&mut self, path: &ModulePath, record: Record) {
        self.records.insert(key_of(path), record);
    }

    /// Forgets all modules but some.
    pub fn keep(&mut self, paths: &std::collections::BTreeSet<ModulePath>) {
        let keys: std::collections::BTreeSet<String> = paths.iter().map(key_of).collect();
        self.records.retain(|key, _| keys.contains(key));
    }

    /// Forgets a module and all that it calls.
    pub fn remove(&mut self, path: &ModulePath) {
        let key = key_of(path);
        let below = format!("{key}.");
        self.records
            .retain(|existing, _| *existing != key && !existing.starts_with(&below));
    }
}
