//! Modules and data from files, as the options `-d` and `-b` of OPA mean them.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::engine::{Document, Engine, Error, Kind, Options, Version};

/// What a file may have.
const MOST_BYTES: u64 = 256 * 1024 * 1024;
/// How deep directories may nest.
const DEEPEST: usize = 64;

/// Modules and data that were read from files.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The modules: their paths, and their texts.
    pub modules: Vec<(String, String)>,
    /// All data, merged.
    pub data: Value,
}

/// Which files of a directory count.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Manner {
    /// All: `*.rego`, `*.json`, `*.yaml` and `*.yml`. Data lies below the names of the directories it is in.
    All,
    /// As in a bundle: of the data only files with the name `data`.
    Bundle,
    /// Modules alone.
    Modules,
}

impl Default for Loaded {
    fn default() -> Self {
        Self {
            modules: Vec::new(),
            data: Value::Object(Map::new()),
        }
    }
}

impl Loaded {
    /// Reads a file, or a directory and all below it. `PREFIX:PATH` puts data below a place: `app.settings:x.json`.
    pub fn read(&mut self, path: &str, manner: Manner) -> Result<(), Error> {
        let (prefix, path) = match path.split_once(':') {
            Some((prefix, rest)) if !prefix.contains(['/', '\\']) && !Path::new(path).exists() => {
                (prefix, rest)
            }
            _ => ("", path),
        };
        let place: Vec<String> = prefix
            .split('.')
            .filter(|name| !name.is_empty())
            .map(str::to_owned)
            .collect();
        let meta = fs::metadata(path).map_err(|error| unreadable(Path::new(path), &error))?;
        if meta.is_dir() {
            self.directory(Path::new(path), &place, manner, 0)
        } else {
            self.file(Path::new(path), &place, manner, true)
        }
    }

    fn directory(
        &mut self,
        path: &Path,
        place: &[String],
        manner: Manner,
        depth: usize,
    ) -> Result<(), Error> {
        if depth > DEEPEST {
            return Err(Error::new(
                Kind::Data,
                format!("{}: directories are nested too deeply", path.display()),
            ));
        }
        let mut entries: Vec<PathBuf> = fs::read_dir(path)
            .and_then(|entries| {
                entries
                    .map(|entry| entry.map(|entry| entry.path()))
                    .collect()
            })
            .map_err(|error| unreadable(path, &error))?;
        entries.sort();
        for entry in entries {
            let name = entry
                .file_name()
                .map(|name| name.to_string_lossy().into_owned())
                .unwrap_or_default();
            if fs::metadata(&entry)
                .map_err(|error| unreadable(&entry, &error))?
                .is_dir()
            {
                if name == ".git" {
                    continue;
                }
                let mut below = place.to_vec();
                below.push(name);
                self.directory(&entry, &below, manner, depth + 1)?;
            } else {
                self.file(&entry, place, manner, false)?;
            }
        }
        Ok(())
    }

    fn file(
        &mut self,
        path: &Path,
        place: &[String],
        manner: Manner,
        named: bool,
    ) -> Result<(), Error> {
        let extension = path
            .extension()
            .and_then(|extension| extension.to_str())
            .unwrap_or_default();
        let stem = path
            .file_stem()
            .and_then(|stem| stem.to_str())
            .unwrap_or_default();
        let data = matches!(extension, "json" | "yaml" | "yml");
        let wanted = named
            || extension == "rego"
            || (data && (manner == Manner::All || (manner == Manner::Bundle && stem == "data")));
        if !wanted {
            return Ok(());
        }
        let size = fs::metadata(path)
            .map_err(|error| unreadable(path, &error))?
            .len();
        if size > MOST_BYTES {
            return Err(Error::new(
                Kind::Data,
                format!(
                    "{}: the file has more than {MOST_BYTES} bytes",
                    path.display()
                ),
            ));
        }
        let text = fs::read_to_string(path).map_err(|error| unreadable(path, &error))?;
        let name = path.display().to_string();
        if extension == "rego" || !data {
            self.modules.push((name, text));
            return Ok(());
        }
        let mut value = parse(&name, &text)?;
        if place.is_empty() && !value.is_object() {
            return Err(
                Error::new(Kind::Data, "the data document must be an object").at(&name, 0, 0),
            );
        }
        for key in place.iter().rev() {
            value = Value::Object(Map::from_iter([(key.clone(), value)]));
        }
        merge(&mut self.data, value, &mut Vec::new()).map_err(|at| {
            Error::new(Kind::Data, format!("merge error: {at} is in two files")).at(&name, 0, 0)
        })
    }

    /// An engine with all of it.
    pub fn engine(&self, options: Options) -> Result<Engine, Error> {
        let mut engine = Engine::new(options);
        for (file, text) in &self.modules {
            engine.add(file, text)?;
        }
        engine.set_data(&Document::from(self.data.clone()))?;
        Ok(engine)
    }
}

/// A document of JSON or YAML.
pub fn parse(file: &str, text: &str) -> Result<Value, Error> {
    match serde_json::from_str(text) {
        Ok(value) => Ok(value),
        Err(error)
            if Path::new(file)
                .extension()
                .is_some_and(|extension| extension == "json") =>
        {
            let (line, column) = (
                u32::try_from(error.line()).unwrap_or(0),
                u32::try_from(error.column()).unwrap_or(0),
            );
            Err(Error::new(Kind::Data, format!("no JSON: {error}")).at(file, line, column))
        }
        Err(_) => serde_saphyr::from_str(text).map_err(|error| {
            let text = error.to_string();
            let place = error
                .location()
                .map_or((0, 0), |location| (location.line(), location.column()));
            let message = format!("no YAML: {}", text.lines().next().unwrap_or_default());
            Error::new(Kind::Data, message).at(
                file,
                u32::try_from(place.0).unwrap_or(0),
                u32::try_from(place.1).unwrap_or(0),
            )
        }),
    }
}

fn unreadable(path: &Path, error: &std::io::Error) -> Error {
    Error::new(Kind::Data, format!("{}: {error}", path.display()))
}

/// Merges objects; anything else may be at one place once. The error is that place.
fn merge(into: &mut Value, from: Value, path: &mut Vec<String>) -> Result<(), String> {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                match into.get_mut(&key) {
                    Some(known) => {
                        path.push(key);
                        merge(known, value, path)?;
                        path.pop();
                    }
                    None => {
                        into.insert(key, value);
                    }
                }
            }
            Ok(())
        }
        _ => Err(path.join(".")),
    }
}

/// What modules are written in that do not say it.
pub fn version(v0: bool) -> Version {
    if v0 { Version::V0 } else { Version::V1 }
}
