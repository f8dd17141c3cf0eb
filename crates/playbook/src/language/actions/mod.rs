//! What the names of actions, modules and lookups stand for.

mod builtin;

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

pub(crate) use builtin::{BUILTIN, LOOKUPS, has_moved};
use builtin::{TABLE, builtin, removed};

use super::collections::{Collections, Leaving, Route};
use crate::bridge::Bridge;
use crate::source::{Located, Node, Removal};

/// What carries an action out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ActionKind {
    /// `ansible.builtin` has it.
    Builtin,
    /// A module in a file: of a collection, or of a directory `library`.
    Module(PathBuf),
    /// A plugin in Python that runs on the controller, with the module of the same name if there is one.
    Plugin {
        /// The plugin's file.
        plugin: PathBuf,
        /// The module's file.
        module: Option<PathBuf>,
    },
    /// Its name is a template: what it is, is known when it is rendered ([`super::PlaybookLoader::resolve_action`]).
    Template,
}

/// What the name of an action stands for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Resolved {
    /// Its full name. That of a file in a directory `library` has no collection.
    pub name: Arc<str>,
    /// What carries it out.
    pub kind: ActionKind,
    /// What was met on the way to it that will go away.
    pub departures: Vec<Departure>,
}

/// A name of a plugin that will go away.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Departure {
    /// The name: the one that was written, or one that it led to.
    pub name: String,
    /// What is said of it.
    pub warning: String,
    /// When.
    pub removal: Removal,
}

impl Departure {
    fn of(name: &str, leaving: Leaving) -> Self {
        Departure {
            name: name.to_owned(),
            warning: leaving.warning,
            removal: leaving.removal,
        }
    }

    /// What is said of it.
    pub fn told(&self) -> String {
        format!("{} has been deprecated. {}", self.name, self.warning)
            .trim_end()
            .to_owned()
    }
}

/// Whether a name is one of a collection: `namespace.collection.name`.
pub(crate) fn is_full(name: &str) -> bool {
    let mut parts = 0;
    for part in name.split('.') {
        parts += 1;
        let mut bytes = part.bytes();
        if !bytes
            .next()
            .is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
            || !bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_')
        {
            return false;
        }
    }
    parts >= 3
}

/// Names of `ansible.builtin`, whichever way they are written.
pub(crate) fn builtin_leaf(name: &str) -> &str {
    name.strip_prefix("ansible.builtin.")
        .or_else(|| name.strip_prefix("ansible.legacy."))
        .unwrap_or(name)
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Sort {
    Module,
    Action,
    Lookup,
}

impl Sort {
    /// The word of the routing table.
    fn word(self) -> &'static str {
        match self {
            Sort::Module => "module",
            Sort::Action => "action",
            Sort::Lookup => "lookup",
        }
    }

    /// The directory in collections, and the word of `meta/runtime.yml`.
    fn directory(self) -> &'static str {
        match self {
            Sort::Module => "modules",
            Sort::Action => "action",
            Sort::Lookup => "lookup",
        }
    }
}

enum Found {
    Builtin(String),
    File(String, PathBuf),
}

/// What a name was found to stand for, or why not.
type Answer = Result<Option<Resolved>, Located>;

/// Finds what names stand for.
pub(crate) struct Actions {
    pub(crate) collections: Collections,
    /// The names of modules and actions that are not to be had.
    rejected: Result<HashSet<String>, Located>,
    /// Plugins of other kinds, which are looked for in the same directories.
    bridge: Option<Bridge>,
    /// Files with these endings are no plugins (`MODULE_IGNORE_EXTS`).
    ignored: Vec<String>,
    /// Directories of modules, actions and lookups, the first first.
    paths: Mutex<HashMap<Sort, Vec<PathBuf>>>,
    added: Mutex<HashSet<PathBuf>>,
    /// How many of the directories of each sort were added later.
    extra: Mutex<HashMap<Sort, usize>>,
    known: Mutex<HashMap<(String, Vec<String>), Answer>>,
    /// What a directory holds: names without endings.
    listed: Mutex<HashMap<PathBuf, Arc<HashMap<String, PathBuf>>>>,
}

impl Actions {
    pub(crate) fn new(
        collections: Collections,
        rejected: Result<HashSet<String>, Located>,
        modules: &[String],
        actions: &[String],
        lookups: &[String],
        ignored: &[String],
        bridge: Option<Bridge>,
    ) -> Self {
        let of = |paths: &[String]| paths.iter().map(PathBuf::from).collect::<Vec<_>>();
        Actions {
            collections,
            rejected,
            bridge,
            ignored: ignored.to_vec(),
            paths: Mutex::new(HashMap::from([
                (Sort::Module, of(modules)),
                (Sort::Action, of(actions)),
                (Sort::Lookup, of(lookups)),
            ])),
            added: Mutex::default(),
            extra: Mutex::default(),
            known: Mutex::default(),
            listed: Mutex::default(),
        }
    }

    /// Looks for plugins in a playbook's or role's directory too.
    pub(crate) fn add_directory(&self, directory: &Path) {
        if !self.added.lock().insert(directory.to_path_buf()) {
            return;
        }
        if let Some(bridge) = &self.bridge {
            bridge.look_in(directory);
        }
        let mut changed = false;
        for (sort, name) in [
            (Sort::Module, "library"),
            (Sort::Action, "action_plugins"),
            (Sort::Lookup, "lookup_plugins"),
        ] {
            let path = directory.join(name);
            if path.is_dir() {
                // whoever came first goes first, and all of them before what the settings name
                let mut extra = self.extra.lock();
                let place = extra.entry(sort).or_default();
                let mut paths = self.paths.lock();
                let paths = paths.entry(sort).or_default();
                paths.insert((*place).min(paths.len()), path);
                *place += 1;
                changed = true;
            }
        }
        if changed {
            self.known.lock().clear();
        }
    }

    /// What the name of an action or module stands for; none if there is no such.
    ///
    /// # Errors
    /// It was removed, or its redirections go in a circle.
    pub(crate) fn resolve(
        &self,
        name: &str,
        collections: &[String],
    ) -> Result<Option<Resolved>, Located> {
        let key = (name.to_owned(), collections.to_vec());
        if let Some(known) = self.known.lock().get(&key) {
            return known.clone();
        }
        let resolved = self.resolve_anew(name, collections);
        self.known.lock().insert(key, resolved.clone());
        resolved
    }

    fn resolve_anew(
        &self,
        name: &str,
        collections: &[String],
    ) -> Result<Option<Resolved>, Located> {
        let mut departures = Vec::new();
        let module = self.find(Sort::Module, name, collections, &mut departures)?;
        let mut action_name = name.to_owned();
        let mut acts = false;
        if let Some(Found::File(full, _)) = &module
            && let Some((collection, leaf)) = split_collection(full)
            && let Some(collection) = self.collections.get(collection)
            && let Some(action) = collection.action_of(leaf)
        {
            action_name = action;
            acts = true;
        }
        let action = self.find(Sort::Action, &action_name, collections, &mut departures)?;
        let (name, kind) = match (action, module) {
            (Some(Found::File(name, plugin)), module) => {
                match module {
                    // a module whose collection names another action for it keeps its name
                    Some(Found::File(full, path)) if acts => (
                        full,
                        ActionKind::Plugin {
                            plugin,
                            module: Some(path),
                        },
                    ),
                    Some(Found::File(_, path)) => (
                        name,
                        ActionKind::Plugin {
                            plugin,
                            module: Some(path),
                        },
                    ),
                    _ => (
                        name,
                        ActionKind::Plugin {
                            plugin,
                            module: None,
                        },
                    ),
                }
            }
            (Some(Found::Builtin(name)), _) | (None, Some(Found::Builtin(name))) => {
                (name, ActionKind::Builtin)
            }
            (None, Some(Found::File(name, path))) => (name, ActionKind::Module(path)),
            (None, None) => return Ok(None),
        };
        Ok(Some(Resolved {
            name: name.into(),
            kind,
            departures,
        }))
    }

    /// The file of a module of a directory `library`.
    pub(crate) fn own_module(&self, leaf: &str) -> Result<Option<PathBuf>, Located> {
        Ok(match self.find(Sort::Module, leaf, &[], &mut Vec::new())? {
            Some(Found::File(name, path)) if !name.contains('.') => Some(path),
            _ => None,
        })
    }

    /// Whether there is a lookup of a name.
    pub(crate) fn has_lookup(&self, name: &str, collections: &[String]) -> bool {
        let found = self.find(Sort::Lookup, name, collections, &mut Vec::new());
        matches!(found, Ok(Some(_)))
    }

    fn find(
        &self,
        sort: Sort,
        name: &str,
        collections: &[String],
        departures: &mut Vec<Departure>,
    ) -> Result<Option<Found>, Located> {
        let mut name = name.to_owned();
        let mut seen: Vec<String> = Vec::new();
        let mut collections = collections;
        loop {
            if seen.contains(&name) {
                return Err(Located::new(format!(
                    "plugin redirect loop resolving {} (path: {})",
                    seen[0],
                    super::python::repr(&consort_jinja::Value::list(
                        seen.iter()
                            .map(|name| name.as_str().into())
                            .collect::<Vec<_>>()
                    ))
                )));
            }
            seen.push(name.clone());
            match self.step(sort, &name, collections, departures)? {
                Step::Found(found) => return Ok(Some(found)),
                Step::None => return Ok(None),
                Step::Redirect(next) => {
                    name = next;
                    collections = &[];
                }
            }
        }
    }

    fn step(
        &self,
        sort: Sort,
        name: &str,
        collections: &[String],
        departures: &mut Vec<Departure>,
    ) -> Result<Step, Located> {
        let rejected = self.rejected.as_ref().map_err(Clone::clone)?;
        if sort != Sort::Lookup && rejected.contains(name) {
            return Ok(Step::None);
        }
        let candidates: Vec<String> =
            if is_full(name) || (name.contains('.') && !collections.is_empty()) {
                vec![name.to_owned()]
            } else if collections.is_empty() {
                return self.legacy(sort, name, departures);
            } else {
                collections
                    .iter()
                    .map(|collection| format!("{collection}.{name}"))
                    .collect()
            };
        for candidate in candidates {
            let step = match candidate.strip_prefix("ansible.legacy.") {
                Some(leaf) => self.legacy(sort, leaf, departures)?,
                None => self.of_collection(sort, &candidate, &candidate, departures)?,
            };
            if !matches!(step, Step::None) {
                return Ok(step);
            }
        }
        Ok(Step::None)
    }

    /// `library` and its like, then `ansible.builtin`.
    fn legacy(
        &self,
        sort: Sort,
        name: &str,
        departures: &mut Vec<Departure>,
    ) -> Result<Step, Located> {
        let paths = self.paths.lock().get(&sort).cloned().unwrap_or_default();
        for name in [name.to_owned(), format!("_{name}")] {
            for path in &paths {
                if let Some(file) = self.list(path, sort).get(&name) {
                    return Ok(Step::Found(Found::File(name, file.clone())));
                }
            }
        }
        if name.contains('.') {
            return Ok(Step::None);
        }
        self.of_collection(sort, &format!("ansible.builtin.{name}"), name, departures)
    }

    /// Looks for a full name. `called` is the name it is told by, should it go away.
    fn of_collection(
        &self,
        sort: Sort,
        name: &str,
        called: &str,
        departures: &mut Vec<Departure>,
    ) -> Result<Step, Located> {
        let mut note = |leaving: Leaving| {
            let departure = Departure::of(called, leaving);
            if !departures.contains(&departure) {
                departures.push(departure);
            }
        };
        if let Some(leaf) = name.strip_prefix("ansible.builtin.") {
            if let Some((version, text)) = TABLE.deprecated.get(&(sort.word(), leaf)) {
                note(Leaving {
                    warning: (*text).to_owned(),
                    removal: Removal::of_core(*version),
                });
            }
            return builtin(sort, leaf);
        }
        let Some((collection_name, leaf)) = split_collection(name) else {
            return Ok(Step::None);
        };
        let Some(collection) = self.collections.get(collection_name) else {
            let native =
                sort == Sort::Module && consort_modules::find_of_collection(name).is_some();
            return Ok(if native {
                Step::Found(Found::Builtin(name.to_owned()))
            } else {
                Step::None
            });
        };
        collection.allowed()?;
        if let Some(leaving) = collection.deprecation(sort.directory(), leaf) {
            note(leaving);
        }
        match collection.route(sort.directory(), leaf) {
            Some(Route::Redirect(to)) => return Ok(Step::Redirect(to)),
            Some(Route::Gone { warning, removal }) => {
                return Err(removed(sort, name, &warning, &removal));
            }
            None => {}
        }
        let mut directory = collection.path.join("plugins").join(sort.directory());
        let mut leaf = leaf;
        while let Some((subdirectory, rest)) = leaf.split_once('.') {
            directory.push(subdirectory);
            leaf = rest;
        }
        Ok(match self.list(&directory, sort).get(leaf) {
            Some(file) => Step::Found(Found::File(name.to_owned(), file.clone())),
            None => Step::None,
        })
    }

    fn list(&self, directory: &Path, sort: Sort) -> Arc<HashMap<String, PathBuf>> {
        if let Some(listed) = self.listed.lock().get(directory) {
            return Arc::clone(listed);
        }
        let mut files: Vec<PathBuf> = std::fs::read_dir(directory)
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| path.is_file())
            .collect();
        files.sort();
        let mut listed = HashMap::new();
        for path in files {
            let Some(file) = path.file_name().and_then(|name| name.to_str()) else {
                continue;
            };
            if file == "__init__.py" || self.ignored.iter().any(|end| file.ends_with(end.as_str()))
            {
                continue;
            }
            let (stem, extension) = crate::source::splits_extension(file);
            if sort != Sort::Module && extension != ".py" {
                continue;
            }
            // A Python module stands before one for PowerShell.
            if extension == ".py" || !listed.contains_key(stem) {
                listed.insert(stem.to_owned(), path.clone());
            }
            if sort == Sort::Module {
                listed
                    .entry(file.to_owned())
                    .or_insert_with(|| path.clone());
            }
        }
        let listed = Arc::new(listed);
        self.listed
            .lock()
            .insert(directory.to_path_buf(), Arc::clone(&listed));
        listed
    }

    /// The members of a group of actions by full name; none if there is no such group. What is wrong with what is said of
    /// it, and those it extends, is added to `wrong`.
    pub(crate) fn group(&self, name: &str, wrong: &mut Vec<String>) -> Option<Vec<String>> {
        let mut members = Vec::new();
        let mut seen = HashSet::new();
        self.group_into(name, &mut members, &mut seen, wrong)
            .then_some(members)
    }

    fn group_into(
        &self,
        name: &str,
        members: &mut Vec<String>,
        seen: &mut HashSet<String>,
        wrong: &mut Vec<String>,
    ) -> bool {
        if !seen.insert(name.to_owned()) {
            return true;
        }
        let Some((collection_name, leaf)) = split_collection(name) else {
            return false;
        };
        let mut names: Vec<String> = Vec::new();
        let mut extends: Vec<String> = Vec::new();
        if collection_name == "ansible.builtin" {
            let Some(group) = TABLE.groups.get(leaf) else {
                return false;
            };
            for member in group {
                match member.strip_prefix('@') {
                    Some(other) => extends.push(other.to_owned()),
                    None => names.push((*member).to_owned()),
                }
            }
        } else {
            let Some(group) = self
                .collections
                .get(collection_name)
                .and_then(|collection| collection.group(leaf))
            else {
                return false;
            };
            let mut described = false;
            for member in group.sequence().unwrap_or_default() {
                if let Some(member) = member.as_str() {
                    names.push(member.to_owned());
                    continue;
                }
                wrong.extend(wrong_metadata(member, described, name));
                let metadata = member.get("metadata");
                described |= metadata.is_some_and(|metadata| metadata.mapping().is_some());
                if let Some(more) = metadata.and_then(|metadata| metadata.get("extend_group")) {
                    // only what was said last is heard
                    extends.clear();
                    extends.extend(more.as_str().map(str::to_owned));
                    extends.extend(
                        more.sequence()
                            .unwrap_or_default()
                            .iter()
                            .filter_map(|name| name.as_str().map(str::to_owned)),
                    );
                }
            }
        }
        let full = |member: String| {
            if is_full(&member) {
                member
            } else {
                format!("{collection_name}.{member}")
            }
        };
        for member in names {
            if let Ok(Some(resolved)) = self.resolve(&full(member), &[]) {
                members.push(resolved.name.to_string());
            }
        }
        for other in extends {
            self.group_into(&full(other), members, seen, wrong);
        }
        true
    }
}

/// What is wrong with an entry of a group of actions that is no action's name.
fn wrong_metadata(entry: &Node, described: bool, group: &str) -> Option<String> {
    let mut keys: Vec<String> = match entry.mapping() {
        Some(entries) => entries
            .iter()
            .map(|(key, _)| super::python::shown(key))
            .collect(),
        None => vec![super::python::shown(entry)],
    };
    keys.sort();
    let mut found = Vec::new();
    match entry.get("metadata") {
        Some(metadata) if keys.len() == 1 => {
            if described {
                found.push("The group contains multiple metadata entries.".to_owned());
            }
            if let Some(entries) = metadata.mapping() {
                let unexpected: Vec<String> = entries
                    .iter()
                    .map(|(key, _)| super::python::shown(key))
                    .filter(|key| key != "extend_group")
                    .collect();
                if !unexpected.is_empty() {
                    found.push(format!(
                        "The metadata contains unexpected keys: {}",
                        unexpected.join(", ")
                    ));
                }
                if let Some(value) = metadata.get("extend_group")
                    && value.as_str().is_none()
                    && value.sequence().is_none()
                {
                    found.push(format!(
                        "The metadata contains unexpected key types: extend_group is {} (expected type list)",
                        super::python::shown(value)
                    ));
                }
            } else {
                found.push(format!(
                    "The metadata is not a dictionary. Got {}",
                    super::python::shown(metadata)
                ));
            }
        }
        _ => found.push(format!(
            "The only expected key is metadata, but got keys: {}",
            keys.join(", ")
        )),
    }
    (!found.is_empty()).then(|| {
        format!(
            "Invalid metadata was found for action_group {group} while loading module_defaults. {}",
            found.join(" ")
        )
    })
}

enum Step {
    Found(Found),
    Redirect(String),
    None,
}

fn split_collection(name: &str) -> Option<(&str, &str)> {
    let dot = name.find('.')?;
    let second = dot + 1 + name[dot + 1..].find('.')?;
    Some((&name[..second], &name[second + 1..]))
}
