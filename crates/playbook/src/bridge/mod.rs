//! Plugins that are written in Python: one process that imports ansible-core, and is asked.
//!
//! ```text
//! process    starts `python3` when the first plugin is needed; frames of JSON on a socket; ended with the run
//! wire       values <-> JSON with marks: trust, places, bytes, dates, what stays on the other side
//! templates  filters, tests and lookups
//! told       a task, as plugins know it
//! events     callbacks
//! sources    inventory plugins, vars plugins, caches of facts
//! ```
//!
//! What runs there is `data/bridge/*.py`. A plugin that wants something of the run (a variable, a module on the machine, a
//! command) asks back while it is being waited for.

mod events;
pub(crate) mod located;
mod options;
mod process;
mod sources;
mod templates;
pub(crate) mod told;
mod wire;

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use consort_jinja::Value;
use parking_lot::Mutex;
use serde_json::{Map, Value as Json, json};

use crate::action::Traits;

pub use events::{Events, Wanted};
pub use options::BridgeOptions;
pub(crate) use sources::{ForeignCache, Machinery, Machines};

pub(crate) use process::{Answer, Conversation};
pub(crate) use told::uuid_of;
pub(crate) use wire::Handles;

use process::Process;

/// Why a plugin gave nothing.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// There is no ansible-core, or the process could not be started.
    #[error("Plugins in Python cannot be run: {0}")]
    Absent(String),
    /// The process has ended.
    #[error("The process that runs plugins in Python has ended: {0}")]
    Lost(String),
    /// The plugin refused.
    #[error("{}", .0.message)]
    Refused(Box<Refusal>),
}

/// What a plugin said when it refused.
#[derive(Clone, Debug, Default)]
pub struct Refusal {
    /// The message with those of all causes.
    pub message: String,
    /// The messages, outermost first, each with what may help and where it concerns.
    pub chain: Vec<Json>,
    /// Whether something was not defined.
    pub undefined: bool,
    /// The name of its class.
    pub class: String,
    /// What it had warned of before.
    pub warned: Vec<Json>,
}

impl Error {
    fn refused(error: &Json) -> Self {
        let text = |name: &str| error[name].as_str().unwrap_or_default().to_owned();
        Error::Refused(Box::new(Refusal {
            message: text("message"),
            chain: error["chain"].as_array().cloned().unwrap_or_default(),
            undefined: error["undefined"] == Json::Bool(true),
            class: text("class"),
            warned: error["warned"].as_array().cloned().unwrap_or_default(),
        }))
    }
}

/// The way to plugins in Python. Clones are the same way; nothing is started before it is needed.
#[derive(Clone)]
pub struct Bridge(Arc<Inner>);

struct Inner {
    options: BridgeOptions,
    process: Mutex<Option<Result<Arc<Process>, Error>>>,
    /// Where plugins are looked for beside playbooks and in roles.
    directories: Mutex<Vec<PathBuf>>,
    /// The names of the directories of plugins (`filter_plugins`, ...) that were found there.
    beside: Mutex<BTreeSet<String>>,
    /// What was found of plugins of templates, by kind and name.
    found: Mutex<HashMap<(&'static str, String), templates::Looked>>,
    known: Mutex<HashMap<(&'static str, String), bool>>,
    traits: Mutex<HashMap<String, Traits>>,
    /// Whether there are vars plugins beside the one for files.
    variable_plugins: std::sync::OnceLock<bool>,
    /// Who is told of what plugins of templates warn of.
    warn: std::sync::OnceLock<Arc<dyn Fn(crate::template::Warned) + Send + Sync>>,
}

impl Bridge {
    /// One that is not started yet.
    pub fn new(options: BridgeOptions) -> Self {
        Bridge(Arc::new(Inner {
            options,
            process: Mutex::default(),
            directories: Mutex::default(),
            beside: Mutex::default(),
            found: Mutex::default(),
            known: Mutex::default(),
            traits: Mutex::default(),
            variable_plugins: std::sync::OnceLock::new(),
            warn: std::sync::OnceLock::new(),
        }))
    }

    /// Looks for plugins in a playbook's or role's directory too.
    pub fn look_in(&self, directory: &Path) {
        {
            let mut directories = self.0.directories.lock();
            if directories.iter().any(|known| known == directory) {
                return;
            }
            directories.push(directory.to_owned());
        }
        let Ok(entries) = std::fs::read_dir(directory) else {
            return;
        };
        let held: Vec<_> = entries
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok())
            .filter(|name| name.ends_with("_plugins") && directory.join(name).is_dir())
            .collect();
        if held.is_empty() {
            return;
        }
        self.0.beside.lock().extend(held);
        // what was not there may be there now
        self.0
            .found
            .lock()
            .retain(|_, found| matches!(found, Ok(Some(_))));
        self.0.known.lock().retain(|_, known| *known);
        let started = self.0.process.lock().clone();
        if let Some(Ok(process)) = started {
            let directory = directory.to_string_lossy().into_owned();
            let _ = call(
                &process,
                "look_in",
                json!({"directory": directory}),
                &mut nothing,
            );
        }
    }

    /// Whether a directory of this name is beside a playbook, or in a role.
    pub(crate) fn has_beside(&self, name: &str) -> bool {
        self.0.beside.lock().contains(name)
    }

    /// The process, started when it was not.
    fn process(&self) -> Result<Arc<Process>, Error> {
        let mut process = self.0.process.lock();
        if let Some(known) = &*process {
            return known.clone();
        }
        let directories = self.0.directories.lock().clone();
        let started = Process::start(&self.0.options.as_json(&directories)).map(Arc::new);
        *process = Some(started.clone());
        started
    }

    /// Asks for something, and waits without keeping others from their work. Whatever is asked back is answered by
    /// `answer`.
    fn call(&self, op: &str, payload: Json, answer: &mut Answering<'_>) -> Result<Json, Error> {
        let process = self.process()?;
        call(&process, op, payload, answer)
    }

    /// Asks for something that may want to know of variables.
    pub(crate) fn ask_with(
        &self,
        op: &str,
        payload: Json,
        handles: &mut Handles,
        variables: &dyn consort_jinja::Variables,
    ) -> Result<Json, Error> {
        self.call(op, payload, &mut |op, payload| {
            handles
                .answer(variables, op, payload)
                .unwrap_or_else(|| nothing(op, payload))
        })
    }

    /// Begins a request whose questions are answered by who waits for it.
    pub(crate) fn begin(&self, op: &str, payload: Json) -> Result<Conversation, Error> {
        self.process()?.begin(op, payload)
    }

    /// A value the process gave.
    pub(crate) fn read(&self, json: Json) -> Result<Value, Error> {
        Ok(wire::read(&self.process()?, json))
    }

    /// What an action plugin is like; as others are, if that cannot be found.
    pub(crate) fn traits(&self, name: &str) -> Traits {
        if let Some(known) = self.0.traits.lock().get(name) {
            return *known;
        }
        let found = self
            .call("traits", json!({"name": name}), &mut nothing)
            .unwrap_or_default();
        let traits = Traits {
            bypasses_host_loop: found["bypasses_host_loop"] == Json::Bool(true),
            free_text: found["raw"] == Json::Bool(true),
            background: true,
            ..Traits::default()
        };
        self.0.traits.lock().insert(name.to_owned(), traits);
        traits
    }

    /// What a strategy is made of: the name of the one of ansible-core whose way of running hosts it has (empty if it has one
    /// of its own). None if there is no such strategy.
    pub(crate) fn strategy(&self, name: &str) -> Result<Option<String>, Error> {
        let found = self.call("strategy", json!({"name": name}), &mut nothing)?;
        Ok(found.as_str().map(str::to_owned))
    }

    /// Whether there is a plugin of a kind that is not written in Rust.
    pub(crate) fn knows(&self, kind: &'static str, name: &str) -> Result<bool, Error> {
        let key = (kind, name.to_owned());
        if let Some(known) = self.0.known.lock().get(&key) {
            return Ok(*known);
        }
        let known = self.call("knows", json!({"kind": kind, "name": name}), &mut nothing)?;
        let known = known == Json::Bool(true);
        self.0.known.lock().insert(key, known);
        Ok(known)
    }

    /// Ends the process, if it was started: callbacks and others may have something left to do.
    pub fn close(&self) {
        let process = self.0.process.lock().take();
        if let Some(Ok(process)) = process {
            process.end();
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(Ok(process)) = self.process.get_mut().take() {
            process.end();
        }
    }
}

/// Answers what is asked back: the operation and what comes with it.
type Answering<'a> = dyn FnMut(&str, &Map<String, Json>) -> Result<Json, String> + 'a;

/// Answers nothing.
fn nothing(op: &str, _: &Map<String, Json>) -> Result<Json, String> {
    Err(format!("{op} is not to be had here"))
}

fn call(
    process: &Arc<Process>,
    op: &str,
    payload: Json,
    answer: &mut Answering<'_>,
) -> Result<Json, Error> {
    let mut conversation = process.begin(op, payload)?;
    blocking(|| {
        futures::executor::block_on(async {
            loop {
                match conversation.next().await {
                    Answer::Done(done) => return done,
                    Answer::Asked {
                        number,
                        op,
                        payload,
                    } => conversation.reply(number, answer(&op, &payload))?,
                }
            }
        })
    })
}

/// Runs what waits for another process, without keeping others from their work.
fn blocking<T>(run: impl FnOnce() -> T) -> T {
    use tokio::runtime::{Handle, RuntimeFlavor};
    match Handle::try_current() {
        Ok(handle) if handle.runtime_flavor() == RuntimeFlavor::MultiThread => {
            tokio::task::block_in_place(run)
        }
        _ => run(),
    }
}
