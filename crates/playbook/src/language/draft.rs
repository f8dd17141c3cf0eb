//! A play while it is read, and afterwards for what is included: what its parts have in common.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use consort_jinja::{Dict, Origin, Value};
use indexmap::IndexMap;
use parking_lot::Mutex;

use super::loader::Inner;
use super::variables::Known;
use super::{Item, Role, Scope};
use crate::paths;
use crate::source::{Located, Notice};

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
    pub(crate) vars_files: Vec<Value>,
    /// The collection the playbook belongs to.
    pub(crate) collection: Option<String>,
    /// The roles that were brought here so far.
    pub(crate) roles: Mutex<Vec<Arc<Role>>>,
    /// Handlers of roles that were imported.
    pub(crate) handlers: Mutex<Vec<Item>>,
    pub(crate) groups: Mutex<IndexMap<String, Vec<String>>>,
    files: OnceLock<Vec<Dict>>,
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
        vars_files: Vec<Value>,
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
        self.files.get_or_init(|| {
            let known = Known {
                draft: self,
                scope: None,
                own: None,
                without_files: true,
            };
            let mut layers = Vec::new();
            for item in &self.vars_files {
                let alternatives = match item {
                    Value::List(items) => items.read().clone(),
                    one => vec![one.clone()],
                };
                for alternative in alternatives {
                    let Ok(Value::Str(name)) = known.render(&alternative) else {
                        self.loader.notice(Notice::Warning(
                            Located::new("skipping vars_files item due to an undefined variable")
                                .about(item),
                        ));
                        break;
                    };
                    let found = self.find("vars", &name);
                    let Some(found) = found else { continue };
                    // What is wrong with it is told when the play runs.
                    if let Ok(Some(node)) = self.loader.reader.file(Path::new(&found)) {
                        match node.sequence() {
                            Some(items) => layers.extend(items.iter().map(|item| item.dict())),
                            None => layers.push(node.dict()),
                        }
                    }
                    break;
                }
            }
            layers
        })
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
