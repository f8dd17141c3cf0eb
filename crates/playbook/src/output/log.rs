//! The callbacks `json` and `tree`: results for programs.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use consort_jinja::json::{self, Style};
use consort_jinja::{Dict, Key, Value};
use indexmap::IndexMap;

use super::display::Display;
use super::shown::{Shown, without};
use super::{Callback, Event, Stats, Status, TaskResult};
use crate::bridge::uuid_of;
use crate::executor::held;
use crate::language::Task;

/// A task, or one on a host where hosts do not wait for each other.
struct Told {
    id: u64,
    host: Option<String>,
    task: Dict,
    hosts: IndexMap<Key, Value>,
}

/// The callback `json`: one document about the whole run, at its end.
pub struct Json {
    display: Display,
    options: JsonOptions,
    plays: Vec<Dict>,
    tasks: Vec<Vec<Told>>,
    /// The names of tasks, for hosts that begin with them by and by.
    names: HashMap<u64, String>,
    free: bool,
}

/// The options of the callback `json`.
#[derive(Clone, Copy, Debug)]
pub struct JsonOptions {
    /// Blanks for each level; all on one line if there are none (`json_indent`).
    pub indent: usize,
    /// Whether what `set_stats` gave is told (`show_custom_stats`).
    pub custom_stats: bool,
}

fn now() -> Value {
    jiff::Timestamp::now()
        .strftime("%Y-%m-%dT%H:%M:%S%.6fZ")
        .to_string()
        .into()
}

fn begun() -> Dict {
    [("start", now())].into_iter().collect()
}

fn set(dict: &Dict, name: &str, value: impl Into<Value>) {
    let value = value.into();
    dict.change(|entries| entries.insert(Key::from(name), value));
}

fn end(of: &Dict) {
    if let Some(Value::Dict(duration)) = of.get("duration") {
        set(&duration, "end", now());
    }
}

impl Json {
    /// Prints to a display.
    pub fn new(display: Display, options: JsonOptions) -> Self {
        Json {
            display,
            options,
            plays: Vec::new(),
            tasks: Vec::new(),
            names: HashMap::new(),
            free: false,
        }
    }

    fn result(&mut self, result: &TaskResult) {
        let Some(tasks) = self.tasks.last_mut() else {
            return;
        };
        let Some(told) = tasks.iter_mut().rev().find(|told| {
            told.id == result.task.id
                && told
                    .host
                    .as_deref()
                    .is_none_or(|host| *host == *result.host)
        }) else {
            return;
        };
        let of = recorded(result);
        set(&of, "action", result.task.action.written.as_ref());
        told.hosts.insert(Key::from(&*result.host), of.into());
        end(&told.task);
        if let Some(play) = self.plays.last() {
            end(play);
        }
    }

    fn begin(&mut self, task: &Task, name: &str, host: Option<&str>) {
        let told: Dict = [
            ("name", Value::from(name.trim())),
            ("id", uuid_of(task.id).into()),
            ("path", task.place().into()),
            ("duration", begun().into()),
        ]
        .into_iter()
        .collect();
        if let Some(tasks) = self.tasks.last_mut() {
            tasks.push(Told {
                id: task.id,
                host: host.map(str::to_owned),
                task: told,
                hosts: IndexMap::new(),
            });
        }
    }

    fn print(&mut self, stats: &Stats) {
        let plays: Vec<Value> = self
            .plays
            .iter()
            .zip(&self.tasks)
            .map(|(play, tasks)| {
                let tasks: Vec<Value> = tasks
                    .iter()
                    .map(|told| {
                        Value::Dict(
                            [
                                ("hosts", Value::Dict(Dict::new(told.hosts.clone()))),
                                ("task", told.task.clone().into()),
                            ]
                            .into_iter()
                            .collect(),
                        )
                    })
                    .collect();
                Value::Dict(
                    [("play", Value::Dict(play.clone())), ("tasks", tasks.into())]
                        .into_iter()
                        .collect(),
                )
            })
            .collect();
        let count = |count: u64| Value::Int(i64::try_from(count).unwrap_or(i64::MAX));
        let hosts: Dict = stats
            .hosts
            .iter()
            .map(|(host, counts)| {
                let counts: Dict = [
                    ("ok", count(counts.ok)),
                    ("changed", count(counts.changed)),
                    ("unreachable", count(counts.unreachable)),
                    ("failures", count(counts.failures)),
                    ("skipped", count(counts.skipped)),
                    ("rescued", count(counts.rescued)),
                    ("ignored", count(counts.ignored)),
                ]
                .into_iter()
                .collect();
                (host, counts)
            })
            .collect();
        let own: Dict = stats
            .custom
            .iter()
            .filter(|(host, _)| self.options.custom_stats && *host != "_run")
            .map(|(host, of)| (host.as_str(), of.clone()))
            .collect();
        let all = stats
            .custom
            .get("_run")
            .filter(|_| self.options.custom_stats)
            .cloned()
            .unwrap_or_default();
        let whole: Dict = [
            ("plays", Value::from(plays)),
            ("stats", hosts.into()),
            ("custom_stats", own.into()),
            ("global_custom_stats", all.into()),
        ]
        .into_iter()
        .collect();
        let style = Style {
            indent: (self.options.indent > 0).then(|| " ".repeat(self.options.indent)),
            sort_keys: true,
            ascii: true,
            separators: None,
        };
        let text =
            json::write(&Value::Dict(whole), &style).unwrap_or_else(|error| error.to_string());
        self.display.line(&text, None);
    }
}

impl Callback for Json {
    fn event(&mut self, event: &Event<'_>) {
        match event {
            Event::Play {
                play, name, free, ..
            } => {
                self.free = *free;
                let origin = &play.origin;
                self.plays.push(
                    [
                        ("name", Value::from(name.trim())),
                        ("id", uuid_of(Arc::as_ptr(play) as u64).into()),
                        (
                            "path",
                            format!("{}:{}", origin.file, origin.line.max(1)).into(),
                        ),
                        ("duration", begun().into()),
                    ]
                    .into_iter()
                    .collect(),
                );
                self.tasks.push(Vec::new());
            }
            Event::Task { task, name, .. } => {
                self.names.insert(task.id, name.trim().to_owned());
                if !self.free {
                    self.begin(task, name, None);
                }
            }
            Event::HostStarted { host, task } if self.free => {
                let name = self.names.get(&task.id).cloned().unwrap_or_default();
                self.begin(task, &name, Some(host));
            }
            Event::Result(result) => self.result(result),
            Event::Stats(stats) => self.print(stats),
            // Nothing but the document goes to the standard output.
            Event::Warning(text) => self.display.warning(text),
            Event::Error(text) => self.display.error(text, true),
            _ => {}
        }
    }
}

/// A result with all that callbacks see of it.
fn recorded(result: &TaskResult) -> Dict {
    let of = without(&result.result, &["_ansible_of_module"]);
    of.change(|entries| {
        for (name, registered) in [
            (
                "warnings",
                held::registered_warnings as fn(&[Value]) -> Value,
            ),
            ("deprecations", held::registered_deprecations),
        ] {
            if let Some(Value::List(told)) = entries.get(&Key::from(name)) {
                let registered = registered(&told.read());
                entries.insert(Key::from(name), registered);
            }
        }
    });
    match result.status {
        Status::Failed => set(&of, "failed", true),
        Status::Skipped => set(&of, "skipped", true),
        Status::Ok | Status::Unreachable => {}
    }
    of
}

/// The callback `tree`: the last result of each host, in a file of its name.
pub struct Tree {
    directory: PathBuf,
    shown: Shown,
    display: Display,
}

impl Tree {
    /// Writes to a directory; what goes wrong with that is told on a display.
    pub fn new(directory: PathBuf, shown: Shown, display: Display) -> Self {
        Tree {
            directory,
            shown,
            display,
        }
    }

    fn write(&mut self, host: &Arc<str>, result: &Dict) {
        let text = self.shown.result(result, None);
        // A name is no path: it stays in the directory.
        let path = self.directory.join(host.replace('/', "_"));
        let written =
            std::fs::create_dir_all(&self.directory).and_then(|()| std::fs::write(&path, text));
        if let Err(error) = written {
            self.display
                .warning(&format!("Unable to write to {host}'s file: {error}"));
        }
    }
}

impl Callback for Tree {
    fn event(&mut self, event: &Event<'_>) {
        if let Event::Result(result) = event {
            self.write(&result.host, &result.result);
        }
    }
}
