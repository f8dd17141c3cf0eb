//! Variables of groups and hosts in files beside the inventory and the playbook: `group_vars/web.yml`, `host_vars/web1/*`.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use consort_jinja::{Dict, Value};
use indexmap::IndexMap;
use parking_lot::Mutex;

use super::data::merged;
use super::notice::warn;
use super::{Inventory, ReadSettings};
use crate::source::{Located, Notice, Notices};

/// The variables in files of some directories. Each file is read once, when it is first asked for.
pub struct VariableFiles {
    directories: Vec<PathBuf>,
    settings: Arc<ReadSettings>,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    canonical: HashMap<PathBuf, PathBuf>,
    /// The names in a directory of variables; none if there is no such directory.
    listings: HashMap<PathBuf, Option<Arc<HashSet<String>>>>,
    /// The variables of a path without its extension.
    variables: HashMap<PathBuf, Option<Dict>>,
}

impl VariableFiles {
    /// Those beside sources of an inventory, lists of hosts left out.
    pub fn new(sources: &[String], settings: Arc<ReadSettings>) -> Self {
        let mut directories = Vec::new();
        for source in sources {
            let path = Path::new(source);
            if source.contains(',') && !path.exists() {
                continue;
            }
            let directory = if path.is_dir() {
                path
            } else {
                path.parent().unwrap_or(Path::new("."))
            };
            directories.push(canonical(directory));
        }
        VariableFiles {
            directories,
            settings,
            known: Mutex::default(),
        }
    }

    /// What is said of a group: the variables of each directory, later ones count.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn of_group(&self, group: &str, notices: &Notices) -> Result<Vec<Dict>, Located> {
        self.of("group_vars", group, notices)
    }

    /// What is said of a host.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn of_host(&self, host: &str, notices: &Notices) -> Result<Vec<Dict>, Located> {
        self.of("host_vars", host, notices)
    }

    fn of(&self, kind: &str, name: &str, notices: &Notices) -> Result<Vec<Dict>, Located> {
        let mut found = Vec::new();
        for directory in &self.directories {
            found.extend(self.in_directory(directory, kind, name, notices)?);
        }
        Ok(found)
    }

    /// What another directory, such as that of a playbook, says of a group (`group_vars`) or host (`host_vars`).
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn beside(
        &self,
        directory: &Path,
        kind: &str,
        name: &str,
        notices: &Notices,
    ) -> Result<Option<Dict>, Located> {
        self.in_directory(&self.canonical(directory), kind, name, notices)
    }

    /// What a directory says of a group or host.
    fn in_directory(
        &self,
        directory: &Path,
        kind: &str,
        name: &str,
        notices: &Notices,
    ) -> Result<Option<Dict>, Located> {
        let plugins = self.of_plugins(directory, kind, name, notices)?;
        let files = self.of_files(directory, kind, name, notices)?;
        Ok(match (files, plugins) {
            (Some(files), Some(plugins)) => Some(merged(&files, &plugins)),
            (files, plugins) => files.or(plugins),
        })
    }

    /// What vars plugins in Python say of it.
    fn of_plugins(
        &self,
        directory: &Path,
        kind: &str,
        name: &str,
        notices: &Notices,
    ) -> Result<Option<Dict>, Located> {
        if !self.settings.foreign_variables {
            return Ok(None);
        }
        let Some(bridge) = self.settings.templar.bridge() else {
            return Ok(None);
        };
        if !bridge.has_variable_plugins()? {
            return Ok(None);
        }
        let (found, warnings) = bridge.variables(&directory.to_string_lossy(), kind, name)?;
        for warning in warnings {
            notices(Notice::Warning(warning));
        }
        Ok(Some(found).filter(|found| !found.is_empty()))
    }

    fn of_files(
        &self,
        directory: &Path,
        kind: &str,
        name: &str,
        notices: &Notices,
    ) -> Result<Option<Dict>, Located> {
        // Such hosts are directories themselves.
        if name.starts_with('/') || name.is_empty() || !self.settings.variable_files {
            return Ok(None);
        }
        self.at(&directory.join(kind), name, notices)
    }

    fn canonical(&self, directory: &Path) -> PathBuf {
        if let Some(known) = self.known.lock().canonical.get(directory) {
            return known.clone();
        }
        let path = canonical(directory);
        self.known
            .lock()
            .canonical
            .insert(directory.to_owned(), path.clone());
        path
    }

    fn at(&self, directory: &Path, name: &str, notices: &Notices) -> Result<Option<Dict>, Located> {
        let Some(listing) = self.listing(directory, notices) else {
            return Ok(None);
        };
        let path = directory.join(name);
        if let Some(known) = self.known.lock().variables.get(&path) {
            return Ok(known.clone());
        }
        let mut files = Vec::new();
        let first = name.split('/').next().unwrap_or(name);
        for extension in
            std::iter::once("").chain(self.settings.yaml_extensions.iter().map(String::as_str))
        {
            let extension = match extension {
                "" => String::new(),
                dotted if dotted.contains('.') => dotted.to_owned(),
                bare => format!(".{bare}"),
            };
            let full = format!("{name}{extension}");
            // The listing spares a look for most hosts; names with slashes lie below it.
            if first == name && !listing.contains(&full) {
                continue;
            }
            let full = directory.join(full);
            if full.is_dir() {
                self.within(&full, &mut files, 0);
                break;
            } else if full.exists() {
                files.push(full);
                break;
            }
        }
        let mut variables: Option<Dict> = None;
        for file in files {
            let Some(read) = self.read(&file)? else {
                continue;
            };
            variables = Some(match variables {
                None => read,
                Some(before) if self.settings.merge => merged(&before, &read),
                Some(before) => {
                    let mut entries: IndexMap<_, _> = before.read().clone();
                    entries.extend(read.read().clone());
                    Dict::new(entries)
                }
            });
        }
        self.known.lock().variables.insert(path, variables.clone());
        Ok(variables)
    }

    fn listing(&self, directory: &Path, notices: &Notices) -> Option<Arc<HashSet<String>>> {
        if let Some(known) = self.known.lock().listings.get(directory) {
            return known.clone();
        }
        let names = match std::fs::read_dir(directory) {
            Ok(entries) => Some(Arc::new(
                entries
                    .filter_map(|entry| {
                        Some(entry.ok()?.file_name().to_string_lossy().into_owned())
                    })
                    .collect(),
            )),
            Err(_) => {
                if directory.exists() {
                    let kind = directory.file_name().unwrap_or_default().to_string_lossy();
                    warn(
                        notices,
                        format!(
                            "Found {kind} that is not a directory, skipping: {}",
                            directory.display()
                        ),
                    );
                }
                None
            }
        };
        self.known
            .lock()
            .listings
            .insert(directory.to_owned(), names.clone());
        names
    }

    /// The files of variables in a directory and those below it, by name.
    fn within(&self, directory: &Path, files: &mut Vec<PathBuf>, depth: usize) {
        let Ok(entries) = std::fs::read_dir(directory) else {
            return;
        };
        let mut names: Vec<String> = entries
            .filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned()))
            .filter(|name| !name.starts_with('.') && !name.ends_with('~'))
            .collect();
        names.sort();
        for name in names {
            let path = directory.join(&name);
            let extension = Path::new(&name)
                .extension()
                .map(|extension| format!(".{}", extension.to_string_lossy()));
            match extension {
                None if path.is_dir() => {
                    if depth < 64 {
                        self.within(&path, files, depth + 1);
                    }
                }
                extension => {
                    let wanted = extension
                        .is_none_or(|extension| self.settings.yaml_extensions.contains(&extension));
                    if wanted && path.is_file() {
                        files.push(path);
                    }
                }
            }
        }
    }

    fn read(&self, file: &Path) -> Result<Option<Dict>, Located> {
        let node = self
            .settings
            .reader
            .file(file)
            .map_err(|error| error.exiting(4))?;
        let Some(node) = node else {
            return Ok(None);
        };
        match node.value() {
            Value::Dict(entries) if entries.is_empty() => Ok(None),
            Value::Dict(entries) => Ok(Some(entries)),
            value if !value.truth().unwrap_or(true) => Ok(None),
            other => Err(Located::parser(format!(
                "Could not process {}.",
                consort_jinja::repr::string(&file.to_string_lossy())
            ))
            .because(Located::new(format!(
                "failed to combine variables, expected dicts but got a 'dict' and a '{}'.",
                match &other {
                    Value::Str(_) => "_AnsibleTaggedStr",
                    Value::List(_) => "_AnsibleTaggedList",
                    Value::Int(_) => "_AnsibleTaggedInt",
                    other => other.type_name(),
                }
            )))),
        }
    }
}

fn canonical(directory: &Path) -> PathBuf {
    let directory = if directory.as_os_str().is_empty() {
        Path::new(".")
    } else {
        directory
    };
    directory
        .canonicalize()
        .unwrap_or_else(|_| directory.to_owned())
}

impl std::fmt::Debug for VariableFiles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VariableFiles")
            .field("directories", &self.directories)
            .finish_non_exhaustive()
    }
}

impl Inventory {
    /// The variables in files beside its sources.
    pub fn files(&self) -> &VariableFiles {
        &self.files
    }

    /// The variables of a host as the inventory and the files beside it and the playbook have them, lowest first: each dict
    /// may say otherwise than those before it. They are shared, not copies: what is said of a group is the same dict for
    /// all its hosts.
    ///
    /// # Errors
    /// There is no such host, or a file cannot be read.
    pub fn layers(
        &self,
        host: &str,
        playbook_directories: &[&Path],
        notices: &Notices,
    ) -> Result<Vec<Dict>, Located> {
        let host = self
            .host(host)
            .ok_or_else(|| Located::new(format!("{host} cannot be matched in inventory")))?;
        let files = &*self.files;
        let play: Vec<PathBuf> = playbook_directories
            .iter()
            .map(|directory| files.canonical(directory))
            .collect();
        let mut layers = Vec::new();
        let groups: Vec<&str> = self
            .ordered_groups(host)
            .into_iter()
            .map(|group| &*group.name)
            .collect();
        for step in &self.settings().precedence {
            let (directories, names) = match step.as_str() {
                "all_inventory" => {
                    layers.extend(self.groups.get("all").map(|all| all.variables.clone()));
                    continue;
                }
                "groups_inventory" => {
                    layers.extend(
                        groups
                            .iter()
                            .filter_map(|group| Some(self.groups.get(*group)?.variables.clone())),
                    );
                    continue;
                }
                "all_plugins_inventory" => (&files.directories, &["all"][..]),
                "all_plugins_play" => (&play, &["all"][..]),
                "groups_plugins_inventory" => (&files.directories, &groups[..]),
                "groups_plugins_play" => (&play, &groups[..]),
                other => {
                    warn(
                        notices,
                        format!("Ignoring unknown variable precedence entry: {other}"),
                    );
                    continue;
                }
            };
            // All of a directory come before those of the next.
            for directory in directories {
                for name in names {
                    layers.extend(files.in_directory(directory, "group_vars", name, notices)?);
                }
            }
        }
        layers.push(host.variables.clone());
        for directory in files.directories.iter().chain(&play) {
            layers.extend(files.in_directory(directory, "host_vars", &host.name, notices)?);
        }
        layers.retain(|layer| !layer.is_empty());
        Ok(layers)
    }
}
