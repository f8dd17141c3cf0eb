//! One attempt at a task (or an item of its loop) on one host: what its action works with.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use consort_jinja::{Dict, Environment, Value, Variables};
use consort_modules::{Invocation, Settings};
use parking_lot::Mutex;

use super::effects::{Effects, Layer};
use crate::action::{self, Failure, Outcome};
use crate::connection::{self, Become, Connection};
use crate::language::Task;
use crate::values;

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
    /// The way to the machine.
    pub connection: &'a Arc<dyn Connection>,
    /// The name of the plugin of that: `ssh`, `local`.
    pub transport: &'a str,
    /// Whom to become there.
    pub user: Option<&'a Become>,
    /// What modules are set to: check, diff, environment, temporary directory, shell, ...
    pub module_settings: &'a Settings,
    pub(super) templar: &'a Environment,
    pub(super) variables: &'a (dyn Variables + Sync),
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
    pub fn variables(&self) -> &dyn Variables {
        self.variables
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

    /// Renders every template in a value.
    ///
    /// # Errors
    /// A template fails, or something in it is undefined.
    pub fn render(&self, value: &Value) -> Result<Value, Failure> {
        self.templar
            .render_value(value, self.variables)
            .and_then(Value::defined)
            .map_err(|error| Failure::at(error.to_string(), value))
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
        let leaf = name.rsplit('.').next().unwrap_or(name);
        let user = self.user.filter(|_| !call.without_become);
        if consort_modules::find(leaf).is_none() {
            return Err(Failure::new(format!("there is no module {name}")));
        }
        let invocation = Invocation {
            module: leaf.to_owned(),
            arguments: values::to_arguments(&arguments),
            settings: self.module_settings.clone(),
        };
        let report = self
            .connection
            .module(invocation, user, self.timeout)
            .await
            .map_err(refused)?;
        Ok(values::from_report(report))
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

    /// Sets variables of the host, once the action is done. A second call for the same layer replaces the first.
    pub fn register(&self, layer: Layer, variables: Dict) {
        self.effects.lock().variables.insert(layer, variables);
    }

    /// Warns of something, with the result.
    pub fn warn(&self, message: impl Into<String>) {
        self.effects.lock().warnings.push(message.into());
    }
}

fn refused(error: connection::Error) -> Failure {
    match error {
        connection::Error::Unreachable(message) => Failure::Unreachable {
            message,
            result: Dict::default(),
        },
        connection::Error::Failed { message, more } => {
            Failure::with(message, values::from_report(more))
        }
        error @ connection::Error::TimedOut(_) => Failure::new(error.to_string()),
    }
}
