//! One attempt at a task (or an item of its loop) on one host: what its action works with.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use consort_jinja::{Dict, Str, Value, Variables as _, is_omit};
use consort_modules::Settings;
use indexmap::IndexMap;
use parking_lot::Mutex;

use super::arguments;
use super::effects::{Effects, Layer};
use super::foresight;
use super::held;
use super::reach::{Reach, Way};
use super::run::Run;
use crate::action::{self, Failure, Outcome};
use crate::connection::{Become, Connection};
use crate::inventory::Inventory;
use crate::language::{PlaybookLoader, Task};
use crate::output::Event;
use crate::settings::Settings as RunSettings;
use crate::source::{Located, Notice, Removal};
use crate::template::Templar;
use crate::variables::TaskVariables;

/// One attempt at a task (or an item of its loop) on one host.
pub struct Attempt<'a> {
    /// The full name of the task's action: `ansible.builtin.copy`.
    pub name: &'a str,
    /// The task.
    pub task: &'a Arc<Task>,
    /// The host's name in the inventory.
    pub host: &'a Arc<str>,
    /// The host it is delegated to.
    pub delegated: Option<&'a Arc<str>>,
    /// Say what would be done, and do nothing.
    pub check: bool,
    /// Tell the difference.
    pub diff: bool,
    /// Nothing of it may be shown.
    pub no_log: bool,
    /// How much is told: the number of `-v`.
    pub verbosity: u8,
    /// How long it may take.
    pub timeout: Option<Duration>,
    /// Run it in the background.
    pub background: Option<Background>,
    /// Where files are looked for, in order: the role's directory, that of the file the task stands in, ...
    pub search_path: &'a [PathBuf],
    /// The directory of the playbook: where files are looked for at last.
    pub directory: &'a Path,
    /// What modules are set to: check, diff, environment, temporary directory, shell, ...
    pub module_settings: &'a Settings,
    pub(super) run: &'a Arc<Run>,
    /// The groups of actions `module_defaults` may name, with their members.
    pub(super) groups: &'a HashMap<String, Vec<String>>,
    pub(super) reach: &'a Reach,
    pub(super) variables: &'a TaskVariables,
    pub(super) effects: &'a Mutex<Effects>,
}

/// `async` and `poll`.
#[derive(Clone, Copy, Debug)]
pub struct Background {
    /// For how many seconds it may run.
    pub limit: u64,
    /// After how many seconds each it is asked whether it is done; not at all if zero.
    pub poll: u64,
}

/// How a module is run beside what the task says.
#[derive(Clone, Copy, Debug, Default)]
pub struct ModuleCall {
    /// In the background, as the task says ([`Attempt::background`]).
    pub background: bool,
    /// As who logged in, whomever the task becomes.
    pub without_become: bool,
}

impl Attempt<'_> {
    /// The variables, as they were written: what is a template is rendered by [`Attempt::render`].
    pub fn variables(&self) -> &TaskVariables {
        self.variables
    }

    /// The variables of the machine the task is done on: of the host it is delegated to, or of the host.
    pub fn machine_variables(&self) -> &TaskVariables {
        self.reach.variables()
    }

    /// The value of a variable, rendered; none if there is no such variable.
    ///
    /// # Errors
    /// Its template fails.
    pub fn variable(&self, name: &str) -> Result<Option<Value>, Failure> {
        self.variables
            .get(name)
            .map(|value| self.render(&value))
            .transpose()
    }

    /// What renders and evaluates, for what is not among the methods here.
    pub fn templar(&self) -> &Templar {
        &self.run.templar
    }

    /// Renders every template in a value.
    ///
    /// # Errors
    /// A template fails, or something in it is undefined.
    pub fn render(&self, value: &Value) -> Result<Value, Failure> {
        Ok(self.run.templar.render(value, self.variables)?)
    }

    /// Evaluates an expression, as in `{{ }}` but without the braces.
    ///
    /// # Errors
    /// It fails, or gives something undefined.
    pub fn evaluate(&self, expression: &Str) -> Result<Value, Failure> {
        Ok(self.run.templar.evaluate(expression, self.variables)?)
    }

    /// Whether a condition holds.
    ///
    /// # Errors
    /// It fails, or is neither true nor false.
    pub fn conditional(&self, condition: &Value) -> Result<bool, Failure> {
        Ok(self.run.templar.conditional(condition, self.variables)?)
    }

    /// The settings of the run.
    pub fn settings(&self) -> &RunSettings {
        &self.run.settings
    }

    /// What the environment or the file of settings says for an option of a plugin, by its variables and keys.
    pub fn raw(&self, environment: &[&str], keys: &[(&str, &str)]) -> Option<String> {
        self.run.raw(environment, keys)
    }

    /// Reads files of playbooks: YAML, and what is encrypted.
    pub fn loader(&self) -> &PlaybookLoader {
        &self.run.loader
    }

    pub(super) fn way(&self) -> Result<&Way, Failure> {
        if let Some(foresight) = &self.run.options.foresight
            && let Some(why) = foresight.lost(self.delegated.unwrap_or(self.host))
        {
            return Err(foresight::unreachable(&why));
        }
        self.reach.way()
    }

    /// The way to the machine. Nothing is opened before it is used.
    ///
    /// # Errors
    /// There is no such plugin, or a variable it is made from fails.
    pub fn connection(&self) -> Result<&Arc<dyn Connection>, Failure> {
        Ok(&self.way()?.connection)
    }

    /// The name of the connection's plugin: `ssh`, `local`.
    ///
    /// # Errors
    /// As of [`Attempt::connection`].
    pub fn transport(&self) -> Result<&str, Failure> {
        Ok(&self.way()?.settings.plugin)
    }

    /// Whom to become on the machine.
    ///
    /// # Errors
    /// As of [`Attempt::connection`].
    pub fn user(&self) -> Result<Option<&Become>, Failure> {
        Ok(self.way()?.user.as_ref())
    }

    /// Where files of a kind (`files`, `templates`, `vars`) are: the first that exists in the directories of the role, of
    /// the file the task stands in, and of the playbook, each with that kind below it first.
    ///
    /// # Errors
    /// There is none.
    pub fn find_file(&self, kind: &str, name: &str) -> Result<PathBuf, Failure> {
        super::search::find(self.search_path, self.directory, kind, name)
    }

    /// Runs a module on the machine: a native one where there is one and it can run there, else the real one.
    ///
    /// # Errors
    /// The machine cannot be reached, or could not run it. A module that fails gives its result, with `failed`.
    pub async fn module(&self, name: &str, arguments: Dict) -> Outcome {
        self.module_with(name, arguments, ModuleCall::default())
            .await
    }

    /// Runs a module on the machine in a certain way.
    ///
    /// # Errors
    /// As for [`Attempt::module`].
    pub async fn module_with(&self, name: &str, arguments: Dict, call: ModuleCall) -> Outcome {
        self.run_module(name, &arguments, call).await
    }

    /// Runs another action with other arguments in the place of the task's own.
    ///
    /// # Errors
    /// As the action gives them.
    pub async fn action(&self, name: &str, arguments: Dict) -> Outcome {
        let leaf = name.rsplit('.').next().unwrap_or(name);
        match action::find(leaf) {
            Some(action) => action.run(self, arguments).await,
            None => self.module(name, arguments).await,
        }
    }

    /// The arguments for another module than the task names: with what `module_defaults` says for that one, or a group it
    /// is in, where they say nothing. Defaults are rendered, arguments left as they are.
    ///
    /// # Errors
    /// A template among the defaults fails.
    pub fn with_defaults(&self, module: &str, own: &Dict) -> Result<Dict, Failure> {
        let collections = &self.task.action.collections;
        let name = match self.run.loader.resolve_action(module, collections)? {
            Some(resolved) => resolved.name,
            None => Arc::from(module),
        };
        let defaults = arguments::module_defaults(
            self.reach.module_defaults(),
            self.groups,
            &self.run.templar,
            &name,
            self.variables,
        )?;
        let mut found = IndexMap::new();
        for (key, value) in defaults.read().iter() {
            if own.read().contains_key(key) {
                continue;
            }
            let value = self.render(value)?;
            if !is_omit(&value) {
                found.insert(key.clone(), value);
            }
        }
        found.extend(own.read().clone());
        Ok(Dict::new(found))
    }

    /// Sets variables of the host, once the action is done. A second call for the same layer replaces the first.
    pub fn register(&self, layer: Layer, variables: Dict) {
        self.effects.lock().variables.insert(layer, variables);
    }

    /// Adds a host to the inventory, or variables and groups to one; whether anything changed.
    ///
    /// # Errors
    /// A name is empty.
    pub fn add_host(
        &self,
        name: &str,
        variables: &Dict,
        groups: &[String],
    ) -> Result<bool, Failure> {
        let changed = self.change_inventory(|inventory| {
            inventory.add_dynamic_host(name, variables, groups, &self.run.notices)
        })?;
        if changed && let Some(play) = self.variables.play() {
            play.change_roster(|roster| {
                if !roster.all.iter().any(|known| **known == *name) {
                    roster.all.push(Arc::from(name));
                }
            });
        }
        Ok(changed)
    }

    /// Makes the host a member of a group, and the group one of its parents; whether anything changed.
    ///
    /// # Errors
    /// A name is empty.
    pub fn add_group(&self, name: &str, parents: &[String]) -> Result<bool, Failure> {
        self.change_inventory(|inventory| {
            inventory.add_dynamic_group(self.host, name, parents, &self.run.notices)
        })
    }

    fn change_inventory(
        &self,
        change: impl FnOnce(&mut Inventory) -> Result<bool, Located>,
    ) -> Result<bool, Failure> {
        Ok(self.run.store.change_inventory(change)?)
    }

    /// Tells something at a level of detail (the number of `-v`).
    pub fn detail(&self, level: u8, text: &str) {
        self.run.tell.event(&Event::Detail {
            level,
            host: Some(self.host),
            text,
        });
    }

    /// Tells a line, whatever the level of detail.
    pub fn say(&self, text: &str) {
        self.run.tell.event(&Event::Line(text));
    }

    /// Warns of something that has a place, with the result.
    pub fn warn_at(&self, what: &Located) {
        self.run.tell.warning(what);
    }

    /// Tells that something will go away with a version of ansible-core.
    pub fn deprecate(&self, what: Located, version: &str) {
        self.deprecates(what, Removal::of_core(version));
    }

    /// Tells that something will go away.
    pub(super) fn deprecates(&self, what: Located, removal: Removal) {
        let notice = Notice::Deprecated { what, removal };
        if let Some(notice) = held::hold(notice) {
            (self.run.notices)(notice);
        }
    }

    /// Warns of something, with the result.
    pub fn warn(&self, message: impl Into<String>) {
        self.effects.lock().warnings.push(message.into());
    }
}
