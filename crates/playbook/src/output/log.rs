//! The callbacks `json` and `tree`: results for programs.

use std::path::PathBuf;
use std::sync::Arc;

use consort_jinja::json::{self, Style};
use consort_jinja::{Dict, Key, Value};
use indexmap::IndexMap;

use super::display::Display;
use super::shown::Shown;
use super::{Callback, Event, Stats, TaskResult};

/// A task: its number, what is told of it, and its hosts.
type Told = (u64, Dict, IndexMap<Key, Value>);

/// The callback `json`: one document about the whole run, at its end.
pub struct Json {
    display: Display,
    plays: Vec<Dict>,
    tasks: Vec<Vec<Told>>,
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
    pub fn new(display: Display) -> Self {
        Json {
            display,
            plays: Vec::new(),
            tasks: Vec::new(),
        }
    }

    fn result(&mut self, result: &TaskResult) {
        let Some(tasks) = self.tasks.last_mut() else {
            return;
        };
        let Some((_, task, hosts)) = tasks
            .iter_mut()
            .rev()
            .find(|(id, _, _)| *id == result.task.id)
        else {
            return;
        };
        let shown = Shown {
            verbosity: 3,
            ..Shown::default()
        };
        let of = shown.abridged(&result.result);
        set(&of, "action", result.task.action.written.as_ref());
        hosts.insert(Key::from(&*result.host), of.into());
        end(task);
        if let Some(play) = self.plays.last() {
            end(play);
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
                    .map(|(_, task, hosts)| {
                        Value::Dict(
                            [
                                ("hosts", Value::Dict(Dict::new(hosts.clone()))),
                                ("task", task.clone().into()),
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
            .filter(|(host, _)| *host != "_run")
            .map(|(host, of)| (host.as_str(), of.clone()))
            .collect();
        let all = stats.custom.get("_run").cloned().unwrap_or_default();
        let whole: Dict = [
            ("plays", Value::from(plays)),
            ("stats", hosts.into()),
            ("custom_stats", own.into()),
            ("global_custom_stats", all.into()),
        ]
        .into_iter()
        .collect();
        let style = Style {
            indent: Some("    ".to_owned()),
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
            Event::Play { name, .. } => {
                self.plays.push(
                    [
                        ("name", Value::from(name.trim())),
                        ("id", uuid::Uuid::new_v4().to_string().into()),
                        ("duration", begun().into()),
                    ]
                    .into_iter()
                    .collect(),
                );
                self.tasks.push(Vec::new());
            }
            Event::Task { task, name, .. } => {
                let told: Dict = [
                    ("name", Value::from(name.trim())),
                    ("id", uuid::Uuid::new_v4().to_string().into()),
                    ("path", task.place().into()),
                    ("duration", begun().into()),
                ]
                .into_iter()
                .collect();
                if let Some(tasks) = self.tasks.last_mut() {
                    tasks.push((task.id, told, IndexMap::new()));
                }
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
