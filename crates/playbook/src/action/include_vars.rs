//! `include_vars`: variables from a file, or from the files of a directory.

use std::path::{Path, PathBuf};

use consort_jinja::{Dict, Key, Value, repr};
use consort_modules::python_re::Pattern;
use indexmap::IndexMap;

use super::given::{Given, dict, set};
use super::machine::blocking;
use super::{Action, Failure, Outcome, Traits};
use crate::connection::Call;
use crate::executor::{Attempt, Layer};
use crate::language::Role;
use crate::paths;
use crate::source::{Located, Reader};

/// `include_vars`.
pub(super) struct IncludeVars;

impl Action for IncludeVars {
    fn run<'a>(&'a self, attempt: &'a Attempt<'a>, arguments: Dict) -> Call<'a, Outcome> {
        Box::pin(include_vars(attempt, arguments))
    }

    fn traits(&self) -> Traits {
        Traits {
            free_text: true,
            ..Traits::default()
        }
    }
}

const OF_DIRECTORIES: &[&str] = &[
    "dir",
    "depth",
    "files_matching",
    "ignore_files",
    "extensions",
    "ignore_unknown_extensions",
];
const OF_FILES: &[&str] = &["file", "_raw_params"];
const OF_BOTH: &[&str] = &["name", "hash_behaviour"];

/// What was found so far.
#[derive(Default)]
struct Found {
    variables: IndexMap<Key, Value>,
    files: Vec<String>,
    /// Some file was encrypted as a whole.
    encrypted: bool,
    /// Why there is no more.
    failure: Option<String>,
}

async fn include_vars(attempt: &Attempt<'_>, arguments: Dict) -> Outcome {
    let (mut directories, mut files) = (false, false);
    for key in arguments.read().keys() {
        match key.as_str().unwrap_or_default() {
            name if OF_DIRECTORIES.contains(&name) => directories = true,
            name if OF_FILES.contains(&name) => files = true,
            name if OF_BOTH.contains(&name) => {}
            name => {
                return Err(Failure::at(
                    format!("{name} is not a valid option in include_vars"),
                    key.value(),
                ));
            }
        }
    }
    if directories && files {
        return Err(Failure::error(
            "You are mixing file only and dir only arguments, these are incompatible",
        ));
    }
    let given = Given(&arguments);
    let extensions: Vec<String> = match given.0.get("extensions") {
        None => ["yaml", "yml", "json"].map(str::to_owned).to_vec(),
        Some(Value::List(items)) => items.read().iter().map(repr::text).collect(),
        Some(other) => {
            return Err(Failure::at(
                "The 'extensions' option must be a list.",
                &other,
            ));
        }
    };
    let reader = attempt.loader().reader().clone();
    let truthy = |name: &str| given.text(name).filter(|text| !text.is_empty());
    let found = if let Some(directory) = truthy("dir") {
        let search = Search::of(attempt, &given, &directory, extensions)?;
        blocking(move || search.run(&reader)).await?
    } else {
        let file = truthy("file")
            .or_else(|| truthy("_raw_params"))
            .map(|file| file.trim_end_matches('\n').to_owned());
        let Some(file) = file else {
            attempt.warn("Invalid request to find a file that matches a \"null\" value");
            return Ok(tell(
                attempt,
                &given,
                Found {
                    failure: Some("Could not find file on the Ansible Controller.".to_owned()),
                    ..Found::default()
                },
            ));
        };
        match attempt.find_file("vars", &file) {
            Ok(path) => {
                blocking(move || {
                    let mut found = Found::default();
                    if let Err(error) = found.load(&reader, &path) {
                        found.failure = Some(error.brief());
                    }
                    Ok(found)
                })
                .await?
            }
            Err(Failure::Failed(failed)) => Found {
                failure: Some(failed.error.brief()),
                ..Found::default()
            },
            Err(other) => return Err(other),
        }
    };
    Ok(tell(attempt, &given, found))
}

/// The result, with the variables set.
fn tell(attempt: &Attempt<'_>, given: &Given<'_>, found: Found) -> Dict {
    let truthy = |name: &str| given.text(name).filter(|text| !text.is_empty());
    let mut variables = Dict::new(found.variables);
    if let Some(name) = truthy("name") {
        variables = dict([(&name, variables.into())]);
    }
    let result = Dict::default();
    if let Some(message) = found.failure {
        set(&result, "failed", true);
        set(&result, "message", message);
    } else if let Some(wanted) = given.text("hash_behaviour")
        && wanted != attempt.settings().hash_behaviour
        && wanted == "merge"
    {
        let entries = variables.read().clone();
        let merged = entries
            .into_iter()
            .map(|(key, value)| {
                let known = key
                    .as_str()
                    .and_then(|name| consort_jinja::Variables::get(attempt.variables(), name));
                let value = match known {
                    Some(known) => merge(&known, value),
                    None => value,
                };
                (key, value)
            })
            .collect();
        variables = Dict::new(merged);
    }
    set(
        &result,
        "ansible_included_var_files",
        Value::list(found.files.into_iter().map(Value::from).collect()),
    );
    attempt.register(Layer::Include, variables.clone());
    attempt.register(Layer::Fact, Dict::default());
    set(&result, "ansible_facts", variables);
    set(&result, "_ansible_no_log", found.encrypted);
    result
}

/// One value laid over another: dicts entry by entry, all others as a whole.
fn merge(under: &Value, over: Value) -> Value {
    match (under, over) {
        (Value::Dict(under), Value::Dict(over)) => {
            let mut entries = under.read().clone();
            let over = over.read().clone();
            for (key, value) in over {
                let value = match entries.get(&key) {
                    Some(known) => merge(known, value),
                    None => value,
                };
                entries.insert(key, value);
            }
            Value::Dict(Dict::new(entries))
        }
        (_, over) => over,
    }
}

impl Found {
    fn load(&mut self, reader: &Reader, path: &Path) -> Result<(), Located> {
        let shown = path.to_string_lossy().into_owned();
        let (node, encrypted) = reader.load(path, true)?;
        self.encrypted |= encrypted;
        match node.map(|node| node.value()) {
            None | Some(Value::None) => self.files.push(shown),
            Some(Value::Dict(entries)) => {
                self.files.push(shown);
                let entries = entries.read().clone();
                self.variables.extend(entries);
            }
            Some(_) => {
                self.failure = Some(format!(
                    "{} must be stored as a dictionary/hash",
                    repr::string(&shown)
                ));
            }
        }
        Ok(())
    }
}

/// The files of a directory that are read.
struct Search {
    directory: String,
    depth: i64,
    matching: Option<Pattern>,
    ignored: Vec<Pattern>,
    skips_unknown: bool,
    extensions: Vec<String>,
    /// A file that is never read: the role's own variables, which are there already.
    own: Option<String>,
}

impl Search {
    fn of(
        attempt: &Attempt<'_>,
        given: &Given<'_>,
        directory: &str,
        extensions: Vec<String>,
    ) -> Result<Self, Failure> {
        let role = attempt.task.role();
        let invalid = |expression: &str| {
            Failure::error(format!(
                "Invalid regular expression: {}",
                repr::string(expression)
            ))
        };
        let ignored: Vec<String> = match given.get("ignore_files") {
            None => Vec::new(),
            Some(Value::List(items)) => items.read().iter().map(repr::text).collect(),
            Some(Value::Str(text)) => {
                attempt.deprecate(
                    Located::new("Specifying 'ignore_files' as a string is deprecated.")
                        .about(&Value::Str(text.clone()))
                        .hint("Use a list of strings instead."),
                    "2.24",
                );
                text.split_whitespace().map(str::to_owned).collect()
            }
            Some(other) => {
                return Err(Failure::at(
                    "The 'ignore_files' option must be a list.",
                    &other,
                ));
            }
        };
        Ok(Search {
            directory: root(attempt, role.map(|role| &**role), directory),
            depth: given
                .get("depth")
                .and_then(|depth| super::given::whole_number(&depth).ok())
                .unwrap_or(0),
            matching: given
                .text("files_matching")
                .filter(|text| !text.is_empty())
                .map(|text| Pattern::new(&text).map_err(|_| invalid(&text)))
                .transpose()?,
            ignored: ignored
                .iter()
                .map(|text| Pattern::new(&format!("{text}$")).map_err(|_| invalid(text)))
                .collect::<Result<_, _>>()?,
            skips_unknown: given.flag("ignore_unknown_extensions", false),
            extensions,
            own: role.map(|role| format!("{}/vars/main.yml", role.path.display())),
        })
    }

    fn run(&self, reader: &Reader) -> Result<Found, Failure> {
        let mut found = Found::default();
        let root = Path::new(&self.directory);
        if !root.exists() {
            found.failure = Some(format!("{} directory does not exist", self.directory));
            return Ok(found);
        }
        if !root.is_dir() {
            found.failure = Some(format!("{} is not a directory", self.directory));
            return Ok(found);
        }
        let mut directories = Vec::new();
        walk(root, 1, &mut directories);
        directories.sort_by(|a, b| a.0.cmp(&b.0));
        for (directory, depth, names) in directories {
            if self.depth != 0 && depth > self.depth {
                continue;
            }
            for name in names {
                let path = directory.join(&name);
                if !self.wants(&path, &name)? {
                    continue;
                }
                let shown = path.to_string_lossy();
                let (_, extension) = crate::source::splits_extension(&shown);
                let extension = extension.strip_prefix('.').unwrap_or(extension);
                let known = self.extensions.iter().any(|known| known == extension);
                if !known {
                    if self.skips_unknown {
                        continue;
                    }
                    found.failure = Some(format!(
                        "{} does not have a valid extension: {}",
                        repr::string(&shown),
                        self.extensions.join(", ")
                    ));
                    return Ok(found);
                }
                found.load(reader, &path)?;
                if found.failure.is_some() {
                    return Ok(found);
                }
            }
        }
        Ok(found)
    }

    fn wants(&self, path: &Path, name: &str) -> Result<bool, Failure> {
        let failed = |error: consort_modules::python_re::Error| Failure::error(error.to_string());
        if self
            .own
            .as_deref()
            .is_some_and(|own| Path::new(own) == path)
            || !path.exists()
        {
            return Ok(false);
        }
        if let Some(matching) = &self.matching
            && matching.search(name, 0).map_err(failed)?.is_none()
        {
            return Ok(false);
        }
        for ignored in &self.ignored {
            if ignored.search(name, 0).map_err(failed)?.is_some() {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// The directories below one and the files in each, in order; links are followed, at most so deep that a circle ends.
fn walk(directory: &Path, depth: i64, into: &mut Vec<(PathBuf, i64, Vec<String>)>) {
    if depth > 40 {
        return;
    }
    let mut names = Vec::new();
    let mut below = Vec::new();
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            below.push(path);
        } else {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    names.sort_unstable();
    below.sort_unstable();
    into.push((directory.to_owned(), depth, names));
    for directory in below {
        walk(&directory, depth + 1, into);
    }
}

fn root(attempt: &Attempt<'_>, role: Option<&Role>, directory: &str) -> String {
    match role {
        Some(role) => {
            let base = role.path.to_string_lossy();
            if directory.split('/').next() == Some("vars") {
                let path = paths::join(&base, directory);
                if Path::new(&path).exists() {
                    return path;
                }
                return directory.to_owned();
            }
            paths::join(&paths::join(&base, "vars"), directory)
        }
        None if attempt.task.origin.file.is_empty() => directory.to_owned(),
        None => paths::join(paths::dirname(&attempt.task.origin.file), directory),
    }
}
