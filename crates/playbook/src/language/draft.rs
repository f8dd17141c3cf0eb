//! A play while it is read, and afterwards for what is included: what its parts have in common.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use consort_jinja::{Dict, Origin, Value};
use indexmap::IndexMap;
use parking_lot::Mutex;

use super::loader::Inner;
use super::variables::{Known, located};
use super::{Item, Role, Scope};
use crate::paths;
use crate::source::{Located, Node, Notice};

/// What the parts of a play have in common.
pub(crate) struct Draft {
    pub(crate) loader: Arc<Inner>,
    /// The directory that paths are relative to.
    pub(crate) directory: String,
    pub(crate) name: Option<Value>,
    pub(crate) origin: Arc<Origin>,
    /// The scope of the play.
    pub(crate) scope: Arc<Scope>,
    pub(crate) vars: Dict,
    pub(crate) vars_files: Vec<Node>,
    /// The collection the playbook belongs to.
    pub(crate) collection: Option<String>,
    /// The roles that were brought here so far.
    pub(crate) roles: Mutex<Vec<Arc<Role>>>,
    /// Handlers of roles that were imported.
    pub(crate) handlers: Mutex<Vec<Item>>,
    pub(crate) groups: Mutex<IndexMap<String, Vec<String>>>,
    files: OnceLock<Result<Vec<Dict>, Located>>,
}

impl std::fmt::Debug for Draft {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Draft")
            .field("directory", &self.directory)
            .finish_non_exhaustive()
    }
}

impl Draft {
    #[allow(clippy::too_many_arguments)]
    pub(crate) fn new(
        loader: Arc<Inner>,
        directory: String,
        name: Option<Value>,
        origin: Arc<Origin>,
        scope: Arc<Scope>,
        vars: Dict,
        vars_files: Vec<Node>,
        collection: Option<String>,
        groups: IndexMap<String, Vec<String>>,
    ) -> Self {
        Draft {
            loader,
            directory,
            name,
            origin,
            scope,
            vars,
            vars_files,
            collection,
            roles: Mutex::default(),
            handlers: Mutex::default(),
            groups: Mutex::new(groups),
            files: OnceLock::new(),
        }
    }

    pub(crate) fn known<'k>(&'k self, scope: Option<&'k Scope>) -> Known<'k> {
        Known {
            draft: self,
            scope,
            own: None,
            without_files: false,
        }
    }

    /// An absolute path, relative ones beginning at the playbook.
    pub(crate) fn path(&self, path: &str) -> String {
        paths::unfrack(
            paths::unquote(path),
            &self.loader.surroundings,
            Some(&self.directory),
        )
    }

    /// The variables of `vars_files`, as far as the files can be told without a host; the last counts most.
    pub(crate) fn file_variables(&self) -> &[Dict] {
        self.files()
            .as_ref()
            .map_or(&[], |layers| layers.as_slice())
    }

    /// The same.
    pub(crate) fn files(&self) -> &Result<Vec<Dict>, Located> {
        self.files.get_or_init(|| self.read_files())
    }

    /// What is wrong with files of variables, if something is.
    pub(crate) fn check_files(&self) -> Result<(), Located> {
        match self.files() {
            Ok(_) => Ok(()),
            Err(error) => Err(error.clone()),
        }
    }

    fn read_files(&self) -> Result<Vec<Dict>, Located> {
        let known = Known {
            draft: self,
            scope: None,
            own: None,
            without_files: true,
        };
        let mut layers = Vec::new();
        for item in &self.vars_files {
            let alternatives = match item.sequence() {
                Some(items) => items,
                None => std::slice::from_ref(item),
            };
            for alternative in alternatives {
                let name = match known.render(&alternative.value()) {
                    Ok(Value::Str(name)) => name,
                    Ok(other) => {
                        return Err(Located::parser(format!(
                            "Invalid `vars_files` value of type '{}'.",
                            other.type_name()
                        ))
                        .about_node(alternative)
                        .hint(
                            "A `vars_files` value should either be a string or list of strings.",
                        ));
                    }
                    Err(error) if error.undefined => {
                        self.loader.notice(Notice::Warning(
                            Located::new("skipping vars_files item due to an undefined variable")
                                .about_node(item),
                        ));
                        break;
                    }
                    Err(error) => return Err(located(&error)),
                };
                let Some(found) = self.find("vars", &name) else {
                    continue;
                };
                let node = self
                    .loader
                    .reader
                    .file(Path::new(&found))
                    .map_err(|error| {
                        if error.exit() == 4 {
                            error
                        } else {
                            Located::new(format!("Invalid vars_files file '{found}'."))
                                .because(error)
                        }
                    })?;
                if let Some(node) = node.filter(|node| !node.is_none()) {
                    let items = match node.sequence() {
                        Some(items) => items,
                        None => std::slice::from_ref(&node),
                    };
                    for item in items {
                        if item.mapping().is_none() {
                            return Err(Located::parser("Invalid variable file contents.")
                                .at(item.origin())
                                .hint("Variable files must contain either a dictionary of variables, or a list of dictionaries."));
                        }
                        layers.push(item.dict());
                    }
                }
                break;
            }
        }
        Ok(layers)
    }

    fn find(&self, directory: &str, name: &str) -> Option<String> {
        let mut candidates = Vec::new();
        if name.starts_with(['/', '~']) {
            candidates.push(self.path(name));
        } else {
            if name.split('/').next() != Some(directory) {
                candidates.push(paths::join(&paths::join(&self.directory, directory), name));
            }
            candidates.push(paths::join(&self.directory, name));
        }
        candidates
            .into_iter()
            .find(|path| PathBuf::from(path).exists())
    }
}
