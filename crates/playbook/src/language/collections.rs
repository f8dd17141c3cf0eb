//! Collections that are installed: where they are, and what their `meta/runtime.yml` says.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::settings::ANSIBLE_VERSION;
use crate::source::{Located, Node, Notice, Reader, Removal};
use crate::template::meets;

/// Where collections are looked for, and what was found.
pub(crate) struct Collections {
    roots: Mutex<Vec<PathBuf>>,
    found: Mutex<HashMap<String, Option<Arc<Collection>>>>,
    /// Is told what is to be said of them.
    listener: Reader,
    mismatch: Mismatch,
}

/// What to do about a collection that is not made for this version of Ansible.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Mismatch {
    Warn,
    Fail,
    Ignore,
}

impl Mismatch {
    /// By the setting's word.
    pub(crate) fn of(word: &str) -> Self {
        match word {
            "error" => Mismatch::Fail,
            "ignore" => Mismatch::Ignore,
            _ => Mismatch::Warn,
        }
    }
}

/// A collection that is installed.
pub(crate) struct Collection {
    /// `namespace.name`.
    pub(crate) name: String,
    /// Its directory.
    pub(crate) path: PathBuf,
    runtime: Option<Node>,
    /// Why it may not be used, if it may not.
    refused: Option<Located>,
}

/// That a plugin will go away.
pub(crate) struct Leaving {
    /// What is said of it.
    pub(crate) warning: String,
    /// When.
    pub(crate) removal: Removal,
}

/// Where a plugin of a collection has gone.
pub(crate) enum Route {
    /// To another name.
    Redirect(String),
    /// Nowhere: it was removed.
    Gone {
        /// What is said of it.
        warning: String,
        /// When.
        removal: Removal,
    },
}

impl Collections {
    /// Looks in these directories (those that hold `ansible_collections`, or are that), then in those of Python's packages.
    pub(crate) fn new(
        paths: &[String],
        packages: Vec<PathBuf>,
        listener: Reader,
        mismatch: Mismatch,
    ) -> Self {
        let mut roots: Vec<PathBuf> = paths.iter().map(PathBuf::from).collect();
        for path in packages {
            // ansible-core brings one of its own
            for path in [path.join("ansible/_internal"), path] {
                if path.join("ansible_collections").is_dir() {
                    roots.push(path);
                }
            }
        }
        Collections {
            roots: Mutex::new(roots),
            found: Mutex::default(),
            listener,
            mismatch,
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
        let runtime = Reader::new()
            .load(&path.join("meta/runtime.yml"), false)
            .ok()
            .and_then(|(node, _)| node);
        self.listener.notice(Notice::Detail {
            level: 4,
            text: format!("Loading collection {name} from {}", path.display()),
        });
        let refused = self.judged(name, runtime.as_ref());
        Some(Collection {
            name: name.to_owned(),
            path,
            runtime,
            refused,
        })
    }

    /// Whether a collection is made for this version: warns, or says why it may not be used.
    fn judged(&self, name: &str, runtime: Option<&Node>) -> Option<Located> {
        let wanted = super::python::shown(runtime?.get("requires_ansible")?);
        if wanted.is_empty() {
            return None;
        }
        let told = match meets(ANSIBLE_VERSION, &wanted) {
            Ok(true) => return None,
            Ok(false) if self.mismatch == Mismatch::Ignore => return None,
            Ok(false) => Located::new(format!(
                "Collection {name} does not support Ansible version {ANSIBLE_VERSION}"
            )),
            Err(error) => {
                self.listener.notice(Notice::Warning(Located::new(format!(
                    "Error parsing collection metadata requires_ansible value from collection {name}: {error}"
                ))));
                return None;
            }
        };
        if self.mismatch == Mismatch::Fail {
            return Some(told);
        }
        self.listener.notice(Notice::Warning(told));
        None
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
            let Leaving { warning, removal } = self.leaving(gone);
            return Some(Route::Gone { warning, removal });
        }
        let to = entry.get("redirect")?.as_str()?;
        Some(Route::Redirect(to.to_owned()))
    }

    /// Whether a plugin of a kind will go away.
    pub(crate) fn deprecation(&self, kind: &str, name: &str) -> Option<Leaving> {
        let entry = self
            .runtime
            .as_ref()?
            .get("plugin_routing")?
            .get(kind)?
            .get(name)?
            .get("deprecation")?;
        (!entry.is_none()).then(|| self.leaving(entry))
    }

    fn leaving(&self, entry: &Node) -> Leaving {
        let text = |key: &str| {
            entry
                .get(key)
                .filter(|value| !value.is_none())
                .map(super::python::shown)
        };
        Leaving {
            warning: text("warning_text").unwrap_or_default(),
            removal: Removal {
                collection: Some(self.name.clone()),
                version: text("removal_version"),
                date: text("removal_date"),
                plugin: None,
            },
        }
    }

    /// # Errors
    /// It is not made for this version, and the settings want no others.
    pub(crate) fn allowed(&self) -> Result<(), Located> {
        self.refused.clone().map_or(Ok(()), Err)
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
