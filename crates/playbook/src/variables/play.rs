//! What the hosts of a play have in common: its variables, its roles, who takes part.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;

use consort_jinja::{Dict, Value, is_omit};
use parking_lot::{Mutex, RwLock};

use super::chain::TaskVariables;
use super::store::Store;
use super::task::{TaskLayers, all_dependencies};
use crate::language::{Role, Task};
use crate::source::Located;

/// Reads a file of variables: a dict, or a list of dicts.
pub(super) type ReadVariables =
    dyn Fn(&std::path::Path) -> Result<Option<Vec<Dict>>, Located> + Send + Sync;

/// The variables of a play.
pub struct PlayVariables {
    pub(super) store: Arc<Store>,
    /// Its name.
    pub name: Arc<str>,
    /// `vars`, and what was asked of the user.
    pub variables: Dict,
    /// Its files of variables.
    pub(super) files: Vec<FileEntry>,
    /// The directory of the playbook.
    pub directory: PathBuf,
    /// Finds and reads files of variables.
    pub(super) read: Arc<ReadVariables>,
    /// The roles whose variables the whole play sees.
    roles: RwLock<Roles>,
    pub(super) roster: RwLock<Roster>,
    layers: Mutex<HashMap<u64, Arc<TaskLayers>>>,
    loaded: Mutex<HashMap<PathBuf, Option<Vec<Dict>>>>,
}

/// An entry of `vars_files`: of several the first that exists counts.
#[derive(Clone, Debug)]
pub(super) struct FileEntry {
    pub written: Value,
    pub choices: Vec<Value>,
}

#[derive(Default)]
struct Roles {
    all: Vec<Arc<Role>>,
    defaults: Arc<Vec<Dict>>,
    variables: Arc<Vec<Dict>>,
}

/// Who takes part in a play.
#[derive(Clone, Debug, Default)]
pub struct Roster {
    /// The hosts of the pattern.
    pub all: Vec<Arc<str>>,
    /// Those of the batch that is being worked on.
    pub batch: Vec<Arc<str>>,
    /// Those that take part no longer.
    pub removed: HashSet<Arc<str>>,
    /// Those that failed.
    pub failed: HashSet<Arc<str>>,
    /// Those that were lost.
    pub unreachable: HashSet<Arc<str>>,
}

/// What [`PlayVariables`] are made of.
pub struct PlayOptions {
    /// The variables of the run.
    pub store: Arc<Store>,
    /// The play's name.
    pub name: Arc<str>,
    /// `vars`, and what was asked of the user.
    pub variables: Dict,
    /// `vars_files`.
    pub files: Vec<Value>,
    /// The directory of the playbook.
    pub directory: PathBuf,
    /// Finds and reads files of variables.
    pub read: Arc<ReadVariables>,
    /// The roles of `roles:`.
    pub roles: Vec<Arc<Role>>,
}

impl PlayVariables {
    /// Of a play, with nobody taking part yet.
    pub fn new(options: PlayOptions) -> Arc<Self> {
        let files = options
            .files
            .into_iter()
            .map(|written| FileEntry {
                choices: match &written {
                    Value::List(list) => list.read().clone(),
                    one => vec![one.clone()],
                },
                written,
            })
            .collect();
        options.store.examine(&options.store.extra);
        options.store.examine(&options.variables);
        let play = PlayVariables {
            store: options.store,
            name: options.name,
            variables: options.variables,
            files,
            directory: options.directory,
            read: options.read,
            roles: RwLock::default(),
            roster: RwLock::default(),
            layers: Mutex::default(),
            loaded: Mutex::default(),
        };
        for role in options.roles {
            play.add_role(role);
        }
        Arc::new(play)
    }

    /// The variables of the run.
    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// Lets the play see the variables of a role, if that is public.
    pub fn add_role(&self, role: Arc<Role>) {
        let mut roles = self.roles.write();
        if roles.all.iter().any(|known| Arc::ptr_eq(known, &role)) {
            return;
        }
        if role.public {
            for each in all_dependencies(&role).into_iter().chain([&role]) {
                self.store.examine(&each.defaults);
                self.store.examine(&each.variables);
            }
        }
        roles.all.push(role);
        let public = || roles.all.iter().filter(|role| role.public);
        let mut defaults = Vec::new();
        let mut variables = Vec::new();
        for role in public() {
            for each in all_dependencies(role).into_iter().chain([role]) {
                if !each.defaults.is_empty() {
                    defaults.push(each.defaults.clone());
                }
                if !each.variables.is_empty() {
                    variables.push(each.variables.clone());
                }
            }
        }
        roles.defaults = Arc::new(defaults);
        roles.variables = Arc::new(variables);
    }

    /// The roles of the play, with those that were included.
    pub fn roles(&self) -> Vec<Arc<Role>> {
        self.roles.read().all.clone()
    }

    pub(super) fn role_defaults(&self) -> Arc<Vec<Dict>> {
        Arc::clone(&self.roles.read().defaults)
    }

    pub(super) fn role_variables(&self) -> Arc<Vec<Dict>> {
        Arc::clone(&self.roles.read().variables)
    }

    /// Looks at who takes part.
    pub fn roster<T>(&self, look: impl FnOnce(&Roster) -> T) -> T {
        look(&self.roster.read())
    }

    /// Changes who takes part.
    pub fn change_roster<T>(&self, change: impl FnOnce(&mut Roster) -> T) -> T {
        change(&mut self.roster.write())
    }

    /// The variables a task brings along.
    pub(crate) fn layers(&self, task: &Task) -> Arc<TaskLayers> {
        if let Some(known) = self.layers.lock().get(&task.id) {
            return Arc::clone(known);
        }
        let layers = Arc::new(TaskLayers::of(task));
        for variables in layers.all() {
            self.store.examine(variables);
        }
        self.layers.lock().insert(task.id, Arc::clone(&layers));
        layers
    }

    /// The variables of `vars_files` for a host: lowest first. `seen` are the variables that stand below and above them.
    ///
    /// # Errors
    /// A file cannot be read, or is none of variables: a message.
    pub(super) fn of_files(&self, seen: &TaskVariables) -> Result<Vec<Dict>, Located> {
        let mut found = Vec::new();
        for entry in &self.files {
            for choice in &entry.choices {
                let path = match self.store.templar.render(choice, seen) {
                    Ok(path) if is_omit(&path) => continue,
                    Ok(path) => path,
                    Err(error) if error.undefined => {
                        if seen.has_facts() && seen.has_task() {
                            return Err(Located::new(format!(
                                "an undefined variable was found when attempting to template the vars_files item '{}'",
                                super::magic::shown(&entry.written)
                            ))
                            .about(&entry.written)
                            .because(Located::from(&error)));
                        }
                        self.store
                            .warn("skipping vars_files item due to an undefined variable");
                        break;
                    }
                    Err(error) => return Err(Located::from(&error)),
                };
                let Some(name) = path.as_str() else {
                    return Err(Located::parser(format!(
                        "Invalid `vars_files` value of type {}.",
                        consort_jinja::repr::string(path.type_name())
                    ))
                    .about(&path)
                    .hint("A `vars_files` value should either be a string or list of strings."));
                };
                if let Some(dicts) = self.read_file(std::path::Path::new(name))? {
                    found.extend(dicts);
                    break;
                }
            }
        }
        Ok(found)
    }

    fn read_file(&self, path: &std::path::Path) -> Result<Option<Vec<Dict>>, Located> {
        if let Some(known) = self.loaded.lock().get(path) {
            return Ok(known.clone());
        }
        let read = (self.read)(path)?;
        for variables in read.iter().flatten() {
            self.store.examine(variables);
        }
        self.loaded.lock().insert(path.to_owned(), read.clone());
        Ok(read)
    }

    /// Whether a variable of a name is given on the command line.
    pub fn is_extra(&self, name: &str) -> bool {
        self.store.extra.get(name).is_some()
    }
}
