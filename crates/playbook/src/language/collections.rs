//! Collections that are installed: where they are, and what their `meta/runtime.yml` says.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::source::{Node, Reader};

/// Where collections are looked for, and what was found.
pub(crate) struct Collections {
    roots: Mutex<Vec<PathBuf>>,
    found: Mutex<HashMap<String, Option<Arc<Collection>>>>,
    reader: Reader,
}

/// A collection that is installed.
pub(crate) struct Collection {
    /// `namespace.name`.
    pub(crate) name: String,
    /// Its directory.
    pub(crate) path: PathBuf,
    runtime: Option<Node>,
}

/// Where a plugin of a collection has gone.
pub(crate) enum Route {
    /// To another name.
    Redirect(String),
    /// Nowhere: it was removed.
    Gone {
        /// What is said of it.
        warning: String,
        /// When: a version or a date.
        removal: Option<(bool, String)>,
    },
}

impl Collections {
    /// Looks in these directories (those that hold `ansible_collections`, or are that).
    pub(crate) fn new(paths: &[String], scan_python: bool) -> Self {
        let mut roots: Vec<PathBuf> = paths.iter().map(PathBuf::from).collect();
        if scan_python {
            roots.extend(python_paths());
        }
        Collections {
            roots: Mutex::new(roots),
            found: Mutex::default(),
            reader: Reader::new(),
        }
    }

    /// Looks in the directory `collections` beside a playbook too, and first.
    pub(crate) fn beside(&self, directory: &Path) {
        let root = directory.join("collections");
        let mut roots = self.roots.lock();
        if !roots.contains(&root) {
            roots.insert(0, root);
            drop(roots);
            self.found.lock().clear();
        }
    }

    /// A collection by its name.
    pub(crate) fn get(&self, name: &str) -> Option<Arc<Collection>> {
        if let Some(found) = self.found.lock().get(name) {
            return found.clone();
        }
        let found = self.look(name).map(Arc::new);
        self.found.lock().insert(name.to_owned(), found.clone());
        found
    }

    fn look(&self, name: &str) -> Option<Collection> {
        let (namespace, leaf) = name.split_once('.')?;
        let plain = |part: &str| !part.is_empty() && !part.contains(['/', '.']);
        if !plain(namespace) || !plain(leaf) {
            return None;
        }
        let roots = self.roots.lock().clone();
        let path = roots.iter().find_map(|root| {
            let base = if root.ends_with("ansible_collections") {
                root.clone()
            } else {
                root.join("ansible_collections")
            };
            let path = base.join(namespace).join(leaf);
            path.is_dir().then_some(path)
        })?;
        let runtime = self
            .reader
            .load(&path.join("meta/runtime.yml"), false)
            .ok()
            .and_then(|(node, _)| node);
        Some(Collection {
            name: name.to_owned(),
            path,
            runtime,
        })
    }

    /// The collection a path lies in, if that is the one of its name.
    pub(crate) fn holding(&self, path: &str) -> Option<String> {
        let parts: Vec<&str> = path.split('/').collect();
        let at = parts
            .iter()
            .position(|part| *part == "ansible_collections")?;
        if parts
            .iter()
            .filter(|part| **part == "ansible_collections")
            .count()
            != 1
        {
            return None;
        }
        let (namespace, leaf) = (parts.get(at + 1)?, parts.get(at + 2)?);
        let name = format!("{namespace}.{leaf}");
        let collection = self.get(&name)?;
        let prefix = parts[..at + 3].join("/");
        (collection.path == Path::new(&prefix)).then_some(name)
    }
}

impl Collection {
    /// What its metadata say of a plugin of a kind (`modules`, `action`, `lookup`).
    pub(crate) fn route(&self, kind: &str, name: &str) -> Option<Route> {
        let entry = self
            .runtime
            .as_ref()?
            .get("plugin_routing")?
            .get(kind)?
            .get(name)?;
        if let Some(gone) = entry.get("tombstone") {
            let text = |key: &str| gone.get(key).map(super::python::shown);
            let removal = text("removal_date")
                .map(|date| (true, date))
                .or_else(|| text("removal_version").map(|version| (false, version)));
            return Some(Route::Gone {
                warning: text("warning_text").unwrap_or_default(),
                removal,
            });
        }
        let to = entry.get("redirect")?.as_str()?;
        Some(Route::Redirect(to.to_owned()))
    }

    /// The action its metadata name for a module.
    pub(crate) fn action_of(&self, module: &str) -> Option<String> {
        self.runtime
            .as_ref()?
            .get("plugin_routing")?
            .get("modules")?
            .get(module)?
            .get("action_plugin")?
            .as_str()
            .map(str::to_owned)
    }

    /// The members of a group of actions.
    pub(crate) fn group(&self, name: &str) -> Option<Node> {
        let groups = self.runtime.as_ref()?.get("action_groups")?;
        groups
            .get(&format!("{}.{name}", self.name))
            .or_else(|| groups.get(name))
            .cloned()
    }
}

/// The directories of packages of the Python programs that are installed.
fn python_paths() -> Vec<PathBuf> {
    let mut found = Vec::new();
    for base in ["/usr/local/lib", "/usr/lib"] {
        let Ok(entries) = std::fs::read_dir(base) else {
            continue;
        };
        let mut names: Vec<PathBuf> = entries
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| {
                path.file_name()
                    .and_then(|name| name.to_str())
                    .is_some_and(|name| name.starts_with("python3"))
            })
            .collect();
        names.sort();
        for path in names {
            for packages in ["site-packages", "dist-packages"] {
                let path = path.join(packages);
                // ansible-core brings one of its own.
                for path in [path.join("ansible/_internal"), path] {
                    if path.join("ansible_collections").is_dir() {
                        found.push(path);
                    }
                }
            }
        }
    }
    found
}
