//! What a run tells, as the plan and the walk need it: who did what, under the name it has in both.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use consort_jinja::{Dict, Origin, repr};
use consort_plan::Location;
use serde_json::{Map, Value as Json};
use tokio::sync::mpsc;

use crate::executor::foresight::never_changes;
use crate::executor::keyword::listed;
use crate::language::{Directive, Task};
use crate::output::{Callback, Event, Stats, Status, TaskResult};
use crate::values;

/// Something a run told.
#[derive(Debug)]
pub(super) enum Heard {
    /// Work on a task began on a host.
    Began {
        /// The name of both together.
        local: String,
        host: Arc<str>,
        task: Arc<str>,
    },
    /// A task ended on a host.
    Did(Box<Deed>),
    /// It is tried again.
    Again { local: String, text: String },
    /// Something to warn of.
    Warning(String),
    /// The end, with what `set_stats` gave.
    Ended(Box<Stats>),
}

/// What a task did on a host, or would do.
#[derive(Clone, Debug)]
pub(super) struct Deed {
    /// `HOST["TASK"]`, with a number where a host does several tasks of the same name.
    pub(super) local: String,
    pub(super) host: Arc<str>,
    /// The machine it was done on, if that is another.
    pub(super) machine: Option<Arc<str>>,
    /// The task's name with its role.
    pub(super) task: Arc<str>,
    /// The full name of its action.
    pub(super) action: String,
    pub(super) location: Option<Location>,
    pub(super) status: Status,
    pub(super) changed: bool,
    pub(super) ignored: bool,
    /// Whether a failure is dealt with by a block.
    pub(super) rescued: bool,
    pub(super) no_log: bool,
    pub(super) unforeseen: Option<Arc<str>>,
    /// Whether that is because of a value that nothing can know yet.
    pub(super) unknown: bool,
    /// Whether it stands for what it includes.
    pub(super) includes: bool,
    /// The handlers it notifies, as the task names them.
    pub(super) notify: Vec<Arc<str>>,
    /// Of a handler: by what it is notified.
    pub(super) topics: Vec<String>,
    /// Whom it becomes, where the files say that plainly.
    pub(super) becomes: Option<String>,
    /// What it said.
    pub(super) message: String,
    /// The error with all its places.
    pub(super) error: Option<Arc<str>>,
    /// One for each item of its loop, else one.
    pub(super) pieces: Vec<Piece>,
}

/// What was done for a task without a loop, or for one item.
#[derive(Clone, Debug, Default)]
pub(super) struct Piece {
    /// The label of the item.
    pub(super) item: Option<String>,
    /// What the action was given, secrets of modules taken out.
    pub(super) arguments: Map<String, Json>,
    /// Those of the arguments that are secrets.
    pub(super) secret: Vec<String>,
    /// What differs, as modules tell it.
    pub(super) diff: Json,
    /// The digest of the content of a file, where the task has one.
    pub(super) content: Option<String>,
    pub(super) changed: bool,
    pub(super) skipped: bool,
    /// Whether the module said that it made a user.
    pub(super) created: bool,
}

impl Deed {
    /// Whether it failed, and nothing deals with that.
    pub(super) fn fails(&self) -> bool {
        matches!(self.status, Status::Failed | Status::Unreachable)
            && !self.ignored
            && !self.rescued
    }

    /// Whether it has a place in a plan: what only looks, decides or sets variables has none.
    pub(super) fn counts(&self) -> bool {
        if self.unforeseen.is_some() {
            return self.changed || !never_changes(&self.action);
        }
        !self.includes && !never_changes(&self.action) && self.status != Status::Skipped
    }

    /// The action without `ansible.builtin`.
    pub(super) fn leaf(&self) -> &str {
        self.action
            .strip_prefix("ansible.builtin.")
            .or_else(|| self.action.strip_prefix("ansible.legacy."))
            .unwrap_or(&self.action)
    }
}

/// Listens to a run.
pub(super) struct Listener {
    root: PathBuf,
    /// By host and task name, how many there were.
    count: HashMap<(Arc<str>, Arc<str>), u32>,
    /// By task, its name.
    names: HashMap<u64, Arc<str>>,
    /// By task and host, the name of both.
    open: HashMap<(u64, Arc<str>), String>,
    /// By task and host, what came of items.
    items: HashMap<(u64, Arc<str>), Vec<Piece>>,
    /// One message for each result, which the run holds anyway: the queue is never longer than that.
    sink: mpsc::UnboundedSender<Heard>,
}

impl Listener {
    /// Of a score whose directory is `root`.
    pub(super) fn new(root: &Path) -> (Self, mpsc::UnboundedReceiver<Heard>) {
        let (sink, heard) = mpsc::unbounded_channel();
        let listener = Listener {
            root: root.to_owned(),
            count: HashMap::new(),
            names: HashMap::new(),
            open: HashMap::new(),
            items: HashMap::new(),
            sink,
        };
        (listener, heard)
    }

    fn tell(&self, heard: Heard) {
        // Whoever listens may have left.
        let _ = self.sink.send(heard);
    }

    fn local(&mut self, host: &str, task: &Task, name: &Arc<str>) -> String {
        let key = (task.id, Arc::from(host));
        if let Some(known) = self.open.get(&key) {
            return known.clone();
        }
        let count = self
            .count
            .entry((Arc::from(host), Arc::clone(name)))
            .or_default();
        *count += 1;
        let local = local(host, name, *count);
        self.open.insert(key, local.clone());
        local
    }

    fn result(&mut self, result: &TaskResult) {
        let key = (result.task.id, Arc::clone(&result.host));
        let local = self.local(&result.host, &result.task, &result.name);
        self.open.remove(&key);
        let items = self.items.remove(&key);
        let action = result.task.action.name.to_string();
        let deed = Deed {
            local,
            host: Arc::clone(&result.host),
            machine: result.delegated.clone(),
            task: Arc::clone(&result.name),
            location: location(&result.task, &self.root),
            status: result.status,
            changed: result.changed,
            ignored: result.ignored,
            rescued: result.rescued,
            no_log: result.no_log,
            unknown: result
                .unforeseen
                .as_ref()
                .is_some_and(|why| why.contains(crate::template::KNOWN_LATER)),
            unforeseen: result.unforeseen.clone(),
            includes: result.task.action.includes(),
            notify: result.notify.clone(),
            topics: topics(&result.task, &result.name),
            becomes: becomes(&result.task),
            message: message(&result.result),
            error: result.error.clone(),
            pieces: match items {
                Some(items) => items,
                None => vec![piece(result)],
            },
            action,
        };
        self.tell(Heard::Did(Box::new(deed)));
    }
}

impl Callback for Listener {
    fn event(&mut self, event: &Event<'_>) {
        match event {
            Event::Task { task, name, .. } => {
                self.names.insert(task.id, Arc::from(*name));
            }
            Event::HostStarted { host, task } => {
                let Some(name) = self.names.get(&task.id).cloned() else {
                    return;
                };
                let local = self.local(host, task, &name);
                self.tell(Heard::Began {
                    local,
                    host: Arc::from(*host),
                    task: name,
                });
            }
            Event::Item(result) => {
                let key = (result.task.id, Arc::clone(&result.host));
                self.items.entry(key).or_default().push(piece(result));
            }
            Event::Result(result) => self.result(result),
            Event::Retry { result, remaining } => {
                let local = self.local(&result.host, &result.task, &result.name);
                self.tell(Heard::Again {
                    local,
                    text: format!("tried again, {remaining} more times"),
                });
            }
            Event::Warning(text) => self.tell(Heard::Warning((*text).to_owned())),
            Event::Stats(stats) => self.tell(Heard::Ended(Box::new((*stats).clone()))),
            _ => {}
        }
    }
}

/// The name of a task on a host within its part.
pub(super) fn local(host: &str, task: &str, count: u32) -> String {
    let task = Json::from(task).to_string();
    if count > 1 {
        format!("{host}[{task}][{count}]")
    } else {
        format!("{host}[{task}]")
    }
}

/// Where a task stands, relative to the score.
pub(super) fn location(task: &Task, root: &Path) -> Option<Location> {
    place(&task.origin, root)
}

/// Where something stands, relative to the score.
pub(super) fn place(origin: &Origin, root: &Path) -> Option<Location> {
    if origin.line == 0 {
        return None;
    }
    let file = Path::new(&*origin.file);
    let file = file.strip_prefix(root).unwrap_or(file);
    Some(Location {
        file: file.to_string_lossy().into_owned(),
        line: origin.line,
    })
}

fn becomes(task: &Task) -> Option<String> {
    let says = task.directive(Directive::Become)?;
    if !says.truth().unwrap_or(false) || says.may_hold_templates() && says.as_str().is_some() {
        return None;
    }
    let user = task
        .directive(Directive::BecomeUser)
        .and_then(|user| user.as_str().map(str::to_owned))
        .filter(|user| !user.contains('{'));
    Some(user.unwrap_or_else(|| "root".to_owned()))
}

/// By what a handler is notified: its name and what it listens to.
fn topics(task: &Task, name: &str) -> Vec<String> {
    if !task.handler {
        return Vec::new();
    }
    let listens = listed(task.directives.get(Directive::Listen).cloned());
    std::iter::once(name.to_owned())
        .chain(
            listens
                .iter()
                .filter_map(|topic| topic.as_str().map(str::to_owned)),
        )
        .collect()
}

fn message(result: &Dict) -> String {
    let text = |name: &str| {
        result
            .get(name)
            .map(|value| repr::text(&value))
            .filter(|text| !text.trim().is_empty())
    };
    let mut said = text("msg").unwrap_or_default();
    for stream in ["stderr", "module_stderr"] {
        if let Some(more) = text(stream)
            && !said.contains(more.trim())
        {
            said.push_str(if said.is_empty() { "" } else { "\n" });
            said.push_str(more.trim_end());
        }
    }
    said
}

/// What modules put in the place of a secret.
const MASKS: [&str; 2] = [
    "VALUE_SPECIFIED_IN_NO_LOG_PARAMETER",
    "CENSORED: content is a no_log parameter",
];

fn piece(result: &TaskResult) -> Piece {
    let json = |name: &str| result.result.get(name).map(|value| values::to_json(&value));
    let told = json("invocation").unwrap_or_default();
    let told = told.get("module_args").cloned().unwrap_or_default();
    let mut piece = Piece {
        item: result.item.as_ref().map(repr::text),
        diff: json("diff").unwrap_or_default(),
        content: json("checksum").and_then(|sum| sum.as_str().map(str::to_owned)),
        changed: result.changed,
        skipped: result.status == Status::Skipped,
        created: result.changed && result.result.get("create_home").is_some(),
        ..Piece::default()
    };
    if let Some(arguments) = &result.arguments {
        for (name, value) in values::to_arguments(arguments) {
            if name == "_uses_shell" {
                continue;
            }
            let masked = told.get(&name).and_then(Json::as_str);
            // The content of a file is secret where the task says so (`no_log`), as differences show it otherwise.
            if name != "content" && masked.is_some_and(|text| MASKS.contains(&text)) {
                piece.secret.push(name.clone());
            }
            let name = if name == "_raw_params" {
                "cmd".to_owned()
            } else {
                name
            };
            piece.arguments.insert(name, value);
        }
    }
    piece
}
