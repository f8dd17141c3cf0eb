//! Callbacks that are written in Python.

use consort_jinja::{Dict, Value};
use serde_json::{Map, Value as Json, json};

use super::wire::Handles;
use super::{Bridge, Error, nothing, told};
use crate::language::{Directive, Item, Play, Task};
use crate::output::display::Display;
use crate::output::{Callback, Counts, Event, Stats, Status, TaskKind, TaskResult};

/// Callbacks in Python: told what happens, the one that prints among them or not.
pub struct Events {
    bridge: Bridge,
    /// Prints what is no result, if one of the callbacks is the one that prints.
    display: Option<Display>,
    lost: bool,
}

/// What is wanted of callbacks.
#[derive(Debug)]
pub struct Wanted<'a> {
    /// The one that prints, if it is written in Python.
    pub printing: Option<&'a str>,
    /// Those that settings name.
    pub enabled: &'a [String],
    /// The names of those that are written in Rust.
    pub native: &'a [&'a str],
    /// Whether any are told beside the one that prints.
    pub additional: bool,
    /// The variables of the command line, which options may come from.
    pub extra: &'a Dict,
}

impl Events {
    /// Loads callbacks; none if there are none. Tells also which were not found.
    ///
    /// # Errors
    /// The process cannot be started, or the callback that prints not be loaded.
    pub fn begin(
        bridge: &Bridge,
        wanted: &Wanted<'_>,
        display: Option<Display>,
    ) -> Result<(Option<Events>, Vec<String>), Error> {
        let mut handles = Handles::default();
        let request = json!({
            "stdout": wanted.printing,
            "enabled": wanted.enabled,
            "native": wanted.native,
            "additional": wanted.additional,
            "extra": handles.entries(wanted.extra),
        });
        let done = bridge.call("callbacks", request, &mut nothing)?;
        let missing = done["missing"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|name| name.as_str().map(str::to_owned))
            .collect();
        let events = (done["loaded"].as_u64().unwrap_or(0) > 0).then(|| Events {
            bridge: bridge.clone(),
            display,
            lost: false,
        });
        Ok((events, missing))
    }

    fn send(&mut self, kind: &str, more: Json, mut handles: Handles) {
        if self.lost {
            return;
        }
        let Json::Object(mut message) = more else {
            return;
        };
        message.insert("event".to_owned(), kind.into());
        let none = Dict::default();
        let sent = self
            .bridge
            .ask_with("event", Json::Object(message), &mut handles, &none);
        if let Err(error) = sent {
            self.lost = matches!(error, Error::Lost(_) | Error::Absent(_));
            let message = error.to_string();
            match &mut self.display {
                Some(display) => display.error(&message, true),
                None => Display::standard(0, None, None).error(&message, true),
            }
        }
    }

    fn send_result(&mut self, kind: &str, result: &TaskResult) {
        let mut handles = Handles::default();
        let mut told = told::task(&mut handles, &result.task, None);
        told::settle(
            &mut told,
            [
                ("check_mode", result.check.into()),
                ("diff", result.diff.into()),
                ("no_log", result.no_log.into()),
                ("name", name_of(&result.task, &result.name).into()),
                ("ignore_errors", result.ignored.into()),
                (
                    "delegate_to",
                    result.delegated.as_deref().map_or(Json::Null, Json::from),
                ),
                ("connection", json!(result.connection.as_deref())),
            ],
        );
        let status = match result.status {
            Status::Ok => "ok",
            Status::Failed => "failed",
            Status::Skipped => "skipped",
            Status::Unreachable => "unreachable",
        };
        let message = json!({
            "task": told,
            "host": &*result.host,
            "status": status,
            "ignored": result.ignored,
            "no_log": result.no_log,
            "diff": result.diff,
            "result": handles.entries(&result.result),
            "error": result.error.as_deref(),
        });
        self.send(kind, message, handles);
    }
}

/// The name of a task without its role, which plugins put before it themselves.
fn name_of<'n>(task: &Task, name: &'n str) -> &'n str {
    if task.name().is_none() {
        return "";
    }
    match task.role() {
        Some(role) => name
            .strip_prefix(&*role.name)
            .and_then(|rest| rest.strip_prefix(" : "))
            .unwrap_or(name),
        None => name,
    }
}

/// How many tasks stand before the first block of a play: what Ansible keeps as its first list of tasks.
fn leading(play: &Play) -> usize {
    let lists = [&play.pre_tasks, &play.tasks, &play.post_tasks];
    let Some(first) = lists.into_iter().find(|items| !items.is_empty()) else {
        return 0;
    };
    match first.first() {
        Some(Item::Block(block)) => block.tasks.len() + block.rescue.len() + block.always.len(),
        _ => first
            .iter()
            .take_while(|item| matches!(item, Item::Task(_)))
            .count(),
    }
}

fn counts(counts: &Counts) -> Json {
    json!({
        "ok": counts.ok,
        "changed": counts.changed,
        "dark": counts.unreachable,
        "failures": counts.failures,
        "skipped": counts.skipped,
        "rescued": counts.rescued,
        "ignored": counts.ignored,
    })
}

fn stats(stats: &Stats, handles: &mut Handles) -> Json {
    let hosts: Map<String, Json> = stats
        .hosts
        .iter()
        .map(|(name, of)| (name.to_string(), counts(of)))
        .collect();
    let custom: Map<String, Json> = stats
        .custom
        .iter()
        .map(|(name, of)| (name.clone(), handles.entries(of)))
        .collect();
    json!({"hosts": hosts, "custom": custom})
}

impl Callback for Events {
    fn event(&mut self, event: &Event<'_>) {
        let mut handles = Handles::default();
        match event {
            Event::Started { banner } => {
                if let Some(display) = &mut self.display
                    && display.verbosity > 0
                {
                    for line in *banner {
                        display.line(line, None);
                    }
                }
            }
            Event::Playbook(playbook) => {
                let message = json!({"path": playbook.named.to_string_lossy()});
                self.send("playbook", message, handles);
            }
            Event::Play {
                play,
                name,
                check,
                free,
                hosts,
                all,
            } => {
                let directive = |directive| play.scope.directives.get(directive).cloned();
                let pattern = directive(Directive::Hosts).unwrap_or_default();
                let origin = &play.origin;
                let vars = directive(Directive::Vars).unwrap_or_default();
                let vars = if matches!(vars, Value::Dict(_)) {
                    handles.write(&vars)
                } else {
                    json!({})
                };
                let message = json!({
                    "name": name,
                    "check": check,
                    "strategy": if *free { "free" } else { "linear" },
                    "hosts": handles.write(&pattern),
                    "path": format!("{}:{}", origin.file, origin.line.max(1)),
                    "batch": hosts.iter().map(AsRef::as_ref).collect::<Vec<&str>>(),
                    "all": all.iter().map(AsRef::as_ref).collect::<Vec<&str>>(),
                    "first": leading(play),
                    "vars": vars,
                    "uuid": told::uuid_of(std::sync::Arc::as_ptr(play) as u64),
                });
                self.send("play", message, handles);
            }
            Event::Prompt { name, prompt } => {
                let message = json!({"name": name, "prompt": handles.entries(prompt)});
                self.send("prompt", message, handles);
            }
            Event::NoHostsMatched => self.send("no_hosts_matched", json!({}), handles),
            Event::NoHostsRemaining => self.send("no_hosts_remaining", json!({}), handles),
            Event::Task {
                task,
                name,
                kind,
                check,
                ..
            } => {
                let mut told = told::task(&mut handles, task, None);
                told::settle(
                    &mut told,
                    [
                        ("check_mode", (*check).into()),
                        ("name", name_of(task, name).into()),
                    ],
                );
                let message = json!({"task": told, "handler": *kind == TaskKind::Handler});
                self.send("task", message, handles);
            }
            Event::HostStarted { host, task } => {
                let told = told::task(&mut handles, task, None);
                self.send("host_started", json!({"task": told, "host": host}), handles);
            }
            Event::Result(result) => self.send_result("result", result),
            Event::Item(result) => self.send_result("item", result),
            Event::Retry { result, .. } => self.send_result("retry", result),
            Event::AsyncPoll(result) => self.send_result("async_poll", result),
            Event::AsyncEnded(result) => self.send_result("async_ended", result),
            Event::Included {
                task,
                path,
                hosts,
                item,
            } => {
                let hosts: Vec<&str> = hosts.iter().map(AsRef::as_ref).collect();
                let told = told::task(&mut handles, task, None);
                let message = json!({"task": told, "path": path, "hosts": hosts, "item": item});
                self.send("included", message, handles);
            }
            Event::Notified { handler, host } => {
                let message = json!({"handler": handler, "host": host});
                self.send("notified", message, handles);
            }
            Event::Stats(of) => {
                let message = stats(of, &mut handles);
                self.send("stats", message, handles);
            }
            Event::Warning(text) => {
                if let Some(display) = &mut self.display {
                    display.warning(text);
                }
            }
            Event::Deprecation { message } => {
                if let Some(display) = &mut self.display {
                    display.deprecation(message);
                }
            }
            Event::Error(text) => {
                if let Some(display) = &mut self.display {
                    display.error(text, true);
                }
            }
            Event::Line(text) => {
                if let Some(display) = &mut self.display {
                    display.line(text, None);
                }
            }
            Event::Detail { level, host, text } => {
                if let Some(display) = &mut self.display {
                    display.detail(*level, *host, text);
                }
            }
        }
    }
}
