//! Modules of a run: native ones, and all others packed for the machine they run on.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use consort_jinja::{Dict, Value, Variables as _, is_omit};
use consort_modules::{Invocation, Report};
use parking_lot::Mutex;
use tokio::sync::OnceCell;

use super::attempt::{Attempt, ModuleCall};
use super::reach::Way;
use super::result::OF_MODULE;
use crate::action::{Failure, Outcome};
use crate::connection::{self, Job, Packed, Work, shell};
use crate::language::{ActionKind, PlaybookLoader};
use crate::python::core::Core;
use crate::python::interpreter::{self, Discovered};
use crate::python::pack::{Found, Interpreters, Packer};
use crate::settings::Settings;
use crate::source::Located;
use crate::values;

/// The task that looked, and what it found.
type Looked = (u64, Arc<OnceCell<Discovered>>);

/// What is known of modules in a run.
pub(super) struct Modules {
    packer: Arc<Packer>,
    looked: Mutex<HashSet<PathBuf>>,
    /// By host, the task that looked last, and what it found: as a fact it is known to later tasks, until it is forgotten.
    interpreters: Mutex<HashMap<Arc<str>, Looked>>,
}

/// The interpreters of a machine.
struct Chosen<'a> {
    python: String,
    attempt: &'a Attempt<'a>,
    /// Why what is said of another interpreter could not be rendered.
    wrong: Mutex<Option<crate::template::Error>>,
}

impl Interpreters for Chosen<'_> {
    fn python(&self) -> String {
        self.python.clone()
    }

    fn other(&self, name: &str) -> Option<String> {
        let variables = self.attempt.machine_variables();
        let value = variables.get(&format!("ansible_{name}_interpreter"))?;
        let value = match self.attempt.templar().render(&value, variables) {
            Ok(value) if is_omit(&value) => return None,
            Ok(value) => value,
            Err(error) => {
                *self.wrong.lock() = Some(error);
                return None;
            }
        };
        let text = value.text().ok()?.trim().to_owned();
        (!text.is_empty()).then_some(text)
    }
}

impl Modules {
    pub(super) fn new(settings: &Settings, loader: &PlaybookLoader) -> Self {
        let overrides = settings.module_utils_path.iter().map(PathBuf::from);
        let loader = loader.clone();
        let mut packer = Packer::new(
            overrides.collect(),
            Box::new(move |name| loader.collection(name)),
        );
        packer.open_files = u64::try_from(settings.python_module_rlimit_nofile)
            .ok()
            .filter(|limit| *limit > 0);
        Modules {
            packer: Arc::new(packer),
            looked: Mutex::default(),
            interpreters: Mutex::default(),
        }
    }

    /// Looks for `module_utils` in a playbook's or role's directory too.
    fn look_in(&self, directory: &Path) {
        if !self.looked.lock().contains(directory) {
            self.looked.lock().insert(directory.to_owned());
            let below = directory.join("module_utils");
            if below.is_dir() {
                self.packer.add_override(below);
            }
        }
    }
}

/// Native modules that want to know the Python interpreter of the machine.
const USE_PYTHON: [&str; 2] = ["pip", "setup"];

impl Attempt<'_> {
    /// What a module's name stands for: a native one, or the file of another. Both where it is one of ansible.builtin.
    fn module_of(&self, name: &str) -> Result<(Option<String>, Option<PathBuf>), Failure> {
        let mut kind = self.task.action.kind.clone();
        if let Some(leaf) = name.strip_prefix("ansible.legacy.")
            && let Some(path) = self.run.loader.own_module(leaf)?
        {
            // What a directory `library` has stands before what is built in.
            return Ok((None, Some(path)));
        }
        if name != self.name || matches!(kind, ActionKind::Template) {
            let full = if name.contains('.') {
                name.to_owned()
            } else {
                format!("ansible.legacy.{name}")
            };
            kind = match self.run.loader.resolve_action(&full, &[])? {
                Some(resolved) => resolved.kind,
                None => {
                    return Err(Failure::error(format!(
                        "The module {name} was not found in configured module paths"
                    )));
                }
            };
        }
        let leaf = name.rsplit('.').next().unwrap_or(name).to_owned();
        Ok(match kind {
            ActionKind::Module(path) if consort_modules::find_of_collection(name).is_some() => {
                (Some(leaf), Some(path))
            }
            ActionKind::Module(path)
            | ActionKind::Plugin {
                module: Some(path), ..
            } => (None, Some(path)),
            _ => (Some(leaf), None),
        })
    }

    /// Runs a module on the machine.
    pub(super) async fn run_module(
        &self,
        name: &str,
        arguments: &Dict,
        call: ModuleCall,
    ) -> Outcome {
        let way = self.way()?;
        let user = way.user.as_ref().filter(|_| !call.without_become);
        let mut settings = self.module_settings.clone();
        settings.remote_tmp.clone_from(&way.settings.remote_tmp);
        settings.shell.clone_from(&way.settings.shell);
        if way.settings.plugin == "local" {
            settings.directory.clone_from(&way.settings.directory);
        }
        // Messages name a module as the task or the action does.
        settings.called = if name == self.name {
            self.task.action.written.to_string()
        } else {
            name.to_owned()
        };
        let (leaf, file) = self.module_of(name)?;
        let mut invocation = Invocation {
            module: leaf.clone().unwrap_or_else(|| name.to_owned()),
            arguments: values::to_arguments(arguments),
            settings,
        };
        if leaf.as_deref() == Some("async_status")
            && !invocation.arguments.contains_key("_async_dir")
        {
            let directory = self.async_directory()?;
            invocation
                .arguments
                .insert("_async_dir".to_owned(), directory.into());
        }
        let background = self.background.filter(|_| call.background);
        let native = match &leaf {
            // What a native module does not take is done by the real one, if that is there.
            Some(leaf)
                if consort_modules::find(leaf).is_some_and(|module| {
                    module.takes(&invocation.arguments) || builtin(leaf).is_err()
                }) =>
            {
                way.connection.runs_native(user).await.map_err(refused)?
            }
            _ => false,
        };
        let told_early = match &leaf {
            // These tell of the interpreter, or work with it: it is looked for before they run.
            Some(leaf) if native && USE_PYTHON.contains(&leaf.as_str()) => {
                self.python(way).await.ok()
            }
            _ => None,
        };
        if let Some((interpreter, _)) = &told_early {
            invocation.settings.python.clone_from(interpreter);
        }
        self.detail_of(way, 3, || {
            let kind = if native { "native" } else { "Python" };
            shell::told(&way.settings, &format!("{kind} module {name}"), user)
        });
        let report = if native {
            let done = async {
                match background {
                    None => way.connection.module(invocation, user, self.timeout).await,
                    Some(background) => {
                        let job = match self.job(background.limit) {
                            Ok(job) => job,
                            Err(failure) => return Err(failure),
                        };
                        let work = Work::Native(invocation);
                        way.connection.start(work, job, user).await
                    }
                }
                .map_err(refused)
            };
            // playbooks use the interpreter as a fact also where nothing here needs one; it is looked for meanwhile
            let (done, python) = tokio::join!(done, async {
                match told_early {
                    Some(told) => Some(told),
                    None => self.python(way).await.ok(),
                }
            });
            let mut report = done?;
            own_facts(&mut report);
            if let Some((_, Some(interpreter))) = python {
                discovered_fact(&mut report, interpreter);
            }
            report
        } else {
            let found = Found {
                name: match (&leaf, &file) {
                    (Some(leaf), None) => format!("ansible.builtin.{leaf}"),
                    _ => name.to_owned(),
                },
                path: match (file, leaf) {
                    (Some(file), _) => file,
                    (None, leaf) => builtin(leaf.as_deref().unwrap_or(name))?,
                },
            };
            let (packed, discovered) = self.pack(way, found, &invocation).await?;
            let done = match background {
                None => {
                    way.connection
                        .packed(&packed, invocation, user, self.timeout)
                        .await
                }
                Some(background) => {
                    let job = self.job(background.limit)?;
                    let work = Work::Packed(&packed, invocation);
                    way.connection.start(work, job, user).await
                }
            };
            let mut report = match done {
                // a module that gave no result is one that failed
                Err(connection::Error::Failed { message, mut more })
                    if more.contains_key("module_stdout") =>
                {
                    more.insert("failed".to_owned(), true.into());
                    more.insert("msg".to_owned(), message.into());
                    more
                }
                done => done.map_err(refused)?,
            };
            own_facts(&mut report);
            if let Some(interpreter) = discovered {
                discovered_fact(&mut report, interpreter);
            }
            report
        };
        Ok(told(report, background.is_some()))
    }

    /// Tells of a command that is carried out on the machine.
    fn detail_of(&self, way: &Way, level: u8, command: impl FnOnce() -> String) {
        let logged = self
            .run
            .settings
            .log_verbosity
            .is_some_and(|most| most >= i64::from(level));
        if self.verbosity >= level || logged {
            let text = format!("EXEC {}", command());
            self.run
                .tell
                .detail(level, Some(&way.settings.address), &text);
        }
    }

    /// Where jobs in the background keep their state.
    fn async_directory(&self) -> Result<String, Failure> {
        let told = self
            .module_settings
            .environment
            .iter()
            .rev()
            .find(|(name, _)| name == "ANSIBLE_ASYNC_DIR")
            .map(|(_, directory)| directory.clone());
        let variables = self.machine_variables();
        Ok(match (told, variables.get("ansible_async_dir")) {
            (Some(told), _) => told,
            (None, Some(value)) => {
                let value = self.templar().render(&value, variables)?;
                value
                    .text()
                    .map(|text| text.to_string())
                    .unwrap_or_default()
            }
            (None, None) => self
                .run
                .raw(&["ANSIBLE_ASYNC_DIR"], &[("defaults", "async_dir")])
                .unwrap_or_else(|| "~/.ansible_async".to_owned()),
        })
    }

    /// A job for a module that goes to the background.
    fn job(&self, limit: u64) -> Result<Job, Failure> {
        let number = rand::random_range(0..999_999_999_999_u64);
        Ok(Job {
            id: format!("j{number}.{}", rand::random_range(1000..4_194_304_u32)),
            limit,
            directory: self.async_directory()?,
        })
    }

    /// Packs a module for the machine; with the interpreter that was looked for there and found, if this task was the first
    /// to need one.
    async fn pack(
        &self,
        way: &Way,
        found: Found,
        invocation: &Invocation,
    ) -> Result<(Packed, Option<String>), Failure> {
        let modules = &self.run.modules;
        modules.look_in(self.directory);
        if let Some(role) = self.task.role() {
            modules.look_in(&role.path);
        }
        let packer = Arc::clone(&modules.packer);
        let look = found.clone();
        // files are read and compressed away from the reactor; afterwards it is there
        let wants_python = tokio::task::spawn_blocking(move || packer.wants_python(&look))
            .await
            .map_err(|error| Failure::error(error.to_string()))?
            .map_err(|error| Failure::error(explained(&error)))?;
        let (python, discovered) = if wants_python {
            self.python(way).await?
        } else {
            (String::new(), None)
        };
        let chosen = Chosen {
            python,
            attempt: self,
            wrong: Mutex::new(None),
        };
        let packed = modules
            .packer
            .pack(&found, invocation, &chosen)
            .map_err(|error| Failure::error(explained(&error)));
        if let Some(error) = chosen.wrong.into_inner() {
            return Err(error.into());
        }
        Ok((packed?, discovered))
    }

    /// The Python interpreter of the machine.
    async fn python(&self, way: &Way) -> Result<(String, Option<String>), Failure> {
        let variables = self.machine_variables();
        let usual = || self.run.settings.interpreter_python.clone();
        let told = match variables.get("ansible_python_interpreter") {
            Some(value) => match self.templar().render(&value, variables)? {
                // What is left out is not what the settings say either.
                value if is_omit(&value) => "auto".to_owned(),
                value => value
                    .text()
                    .map(|text| text.trim().to_owned())
                    .unwrap_or_default(),
            },
            None => usual(),
        };
        let silent = match told.as_str() {
            "" | "auto" | "auto_legacy" => false,
            "auto_silent" | "auto_legacy_silent" => true,
            _ => return Ok((told, None)),
        };
        let known = variables
            .get("ansible_facts")
            .and_then(|facts| match facts {
                Value::Dict(facts) => facts.get("discovered_interpreter_python"),
                _ => None,
            });
        if let Some(known) = known.and_then(|known| known.text().ok().map(|text| text.to_string()))
        {
            return Ok((known, None));
        }
        let host: Arc<str> = Arc::from(way.settings.host.as_str());
        let cell = {
            let mut interpreters = self.run.modules.interpreters.lock();
            let entry = interpreters.entry(Arc::clone(&host)).or_default();
            if entry.0 != self.task.id {
                *entry = (self.task.id, Arc::default());
            }
            Arc::clone(&entry.1)
        };
        let candidates = match variables.get("ansible_interpreter_python_fallback") {
            Some(value) => listed(&self.templar().render(&value, variables)?),
            None => self.run.settings.interpreter_python_fallback.clone(),
        };
        let mut first = false;
        let discovered = cell
            .get_or_try_init(|| {
                first = true;
                interpreter::discover(&*way.connection, &host, &candidates)
            })
            .await
            .map_err(refused)?;
        if first && !silent {
            for (warning, hint) in &discovered.warnings {
                let what = Located::new(warning);
                self.warn_at(&match hint {
                    Some(hint) => what.hint(hint),
                    None => what,
                });
            }
        }
        let interpreter = discovered.interpreter.clone();
        Ok((interpreter.clone(), Some(interpreter)))
    }
}

/// The texts of a list, or of one with commas.
fn listed(value: &Value) -> Vec<String> {
    let text = |value: &Value| value.text().map(|text| text.trim().to_owned()).ok();
    match value {
        Value::List(items) => items.read().iter().filter_map(text).collect(),
        other => text(other)
            .map(|all| all.split(',').map(|name| name.trim().to_owned()).collect())
            .unwrap_or_default(),
    }
}

/// The file of a module of ansible.builtin that is not native.
fn builtin(leaf: &str) -> Result<PathBuf, Failure> {
    let core = Core::installed().map_err(|why| {
        Failure::error(format!(
            "The module {leaf} is not native, and is real Python only where ansible-core is installed: {why}"
        ))
    })?;
    core.module(leaf).ok_or_else(|| {
        Failure::error(format!(
            "The module {leaf} was not found in configured module paths"
        ))
    })
}

/// An error with all its causes.
fn explained(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// Leaves only those facts of a module that it may tell: what interpreters were found is not its affair.
fn own_facts(report: &mut Report) {
    if let Some(facts) = report
        .get_mut("ansible_facts")
        .and_then(serde_json::Value::as_object_mut)
    {
        facts.retain(|name, _| {
            let name = name.strip_prefix("ansible_").unwrap_or(name);
            !name.starts_with("discovered_interpreter_")
        });
    }
}

/// The interpreter that was found, as a fact of a result.
fn discovered_fact(report: &mut Report, interpreter: String) {
    let facts = report
        .entry("ansible_facts")
        .or_insert_with(|| serde_json::json!({}));
    if let Some(facts) = facts.as_object_mut() {
        facts.insert(
            "discovered_interpreter_python".to_owned(),
            interpreter.into(),
        );
    }
}

/// A report as a result.
fn told(mut report: Report, background: bool) -> Dict {
    report.remove("_ansible_suppress_tmpdir_delete");
    if background {
        report.insert("changed".to_owned(), true.into());
    }
    report.insert(OF_MODULE.to_owned(), true.into());
    values::from_report(report)
}

/// A machine that did not do what it was sent, as a failure of the task.
pub(super) fn refused(error: connection::Error) -> Failure {
    match error {
        connection::Error::Unreachable(message) => Failure::Unreachable {
            message,
            result: Dict::default(),
        },
        connection::Error::Failed { message, more } if more.is_empty() => Failure::error(message),
        connection::Error::Failed { message, more } => {
            Failure::with(message, values::from_report(more))
        }
        connection::Error::TimedOut(limit) => {
            Failure::error(format!("Timed out after {} second(s).", limit.as_secs()))
        }
    }
}
