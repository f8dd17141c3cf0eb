//! The callback `default`: what `ansible-playbook` prints.

use std::collections::HashMap;

use consort_jinja::{Dict, Value};

use super::display::{Display, Tone};
use super::shown::{
    Shown, cleaned, complaints, differences, hides, is_loop, is_verbose, item_label, label,
    without, word,
};
use super::{Callback, Counts, Event, Stats, Status, TaskKind, TaskResult};
use crate::language::Task;

/// What is shown and what not: the options of Ansible's callback.
#[derive(Clone, Debug)]
pub struct Options {
    /// Hosts that had nothing to do (`display_skipped_hosts`).
    pub skipped: bool,
    /// Hosts where all was well (`display_ok_hosts`).
    pub ok: bool,
    /// Failures go to the standard error (`display_failed_stderr`).
    pub failed_to_error: bool,
    /// Results of `set_stats` with the recap (`show_custom_stats`).
    pub custom_stats: bool,
    /// A line when a task begins on a host (`show_per_host_start`).
    pub starts: bool,
    /// Marks for what runs in check mode (`check_mode_markers`).
    pub check_marks: bool,
    /// Whether the whole run is in check mode.
    pub check: bool,
    /// The place of a task that failed (`show_task_path_on_failure`).
    pub path_on_failure: bool,
    /// The arguments with the names of tasks (`DISPLAY_ARGS_TO_STDOUT`).
    pub arguments: bool,
    /// Includes (`display_included_hosts`).
    pub included: bool,
    /// How results and differences are written out.
    pub shown: Shown,
}

impl std::default::Default for Options {
    fn default() -> Self {
        Options {
            skipped: true,
            ok: true,
            failed_to_error: false,
            custom_stats: false,
            starts: false,
            check_marks: false,
            check: false,
            path_on_failure: false,
            arguments: false,
            included: true,
            shown: Shown::default(),
        }
    }
}

/// The callback.
pub struct Default {
    display: Display,
    options: Options,
    /// The banners of tasks that have begun in this play.
    begun: HashMap<u64, Begun>,
    /// The task whose banner stands there.
    banner: Option<u64>,
    /// Whether hosts do not wait for each other, so that a task is announced with its results only.
    free: bool,
}

struct Begun {
    banner: String,
    place: String,
}

impl Default {
    /// Prints to a display.
    pub fn new(display: Display, options: Options) -> Self {
        Default {
            display,
            options,
            begun: HashMap::new(),
            banner: None,
            free: false,
        }
    }

    fn begin(&mut self, task: &Task, name: &str, kind: TaskKind, check: bool, arguments: &Dict) {
        let word = match kind {
            TaskKind::Task => "TASK",
            TaskKind::Handler => "RUNNING HANDLER",
        };
        let mut shown = String::new();
        if self.options.arguments && !hides(task) {
            let pairs: Vec<String> = arguments
                .read()
                .iter()
                .map(|(key, value)| {
                    format!(
                        "{}={}",
                        consort_jinja::repr::text(key.value()),
                        consort_jinja::repr::text(value)
                    )
                })
                .collect();
            shown = format!(" {}", pairs.join(", "));
        }
        let mark = if check && self.options.check_marks {
            " [CHECK MODE]"
        } else {
            ""
        };
        let begun = Begun {
            banner: format!("{word} [{}{shown}]{mark}", name.trim()),
            place: task.place(),
        };
        self.begun.insert(task.id, begun);
        if !self.free && self.options.skipped && self.options.ok {
            // It is said again where a task begins again, as `meta` does for each host.
            self.banner = None;
            self.announce(task);
        }
    }

    /// The banner of a task, if it does not stand there already.
    fn announce(&mut self, task: &Task) {
        if self.banner == Some(task.id) {
            return;
        }
        let Some(begun) = self.begun.get(&task.id) else {
            return;
        };
        self.display.banner(&begun.banner);
        if self.display.verbosity >= 2 {
            let line = format!("task path: {}", begun.place);
            self.display.line(&line, Some(Tone::Debug));
        }
        self.banner = Some(task.id);
    }

    fn result(&mut self, result: &TaskResult) {
        let looped = is_loop(result);
        match result.status {
            Status::Ok => self.ok(result, looped),
            Status::Failed => self.failed(result, looped),
            Status::Skipped => self.skipped(result),
            Status::Unreachable => {
                self.announce(&result.task);
                complaints(result, &mut self.display, self.options.failed_to_error);
                let line = format!(
                    "fatal: [{}]: UNREACHABLE! => {}",
                    label(result),
                    self.options.shown.result(&result.result, None)
                );
                self.display
                    .print(&line, Some(Tone::Unreachable), self.options.failed_to_error);
                if result.ignored {
                    self.display.line("...ignoring", Some(Tone::Skip));
                }
            }
        }
    }

    fn ok(&mut self, result: &TaskResult, looped: bool) {
        self.differences(result);
        if result.task.action.includes() {
            self.announce(&result.task);
            return;
        }
        if !result.changed && !self.options.ok {
            return;
        }
        self.announce(&result.task);
        complaints(result, &mut self.display, self.options.failed_to_error);
        // The items have been told one by one.
        if looped {
            return;
        }
        let (word, tone) = word(result);
        let mut line = format!("{word}: [{}]", label(result));
        if is_verbose(&result.result, self.display.verbosity, 0) {
            let shown = cleaned(&result.result, &result.task);
            line.push_str(" => ");
            line.push_str(&self.options.shown.result(&shown, None));
        }
        self.display.line(&line, Some(tone));
    }

    fn failed(&mut self, result: &TaskResult, looped: bool) {
        self.announce(&result.task);
        complaints(result, &mut self.display, self.options.failed_to_error);
        let shown = cleaned(&result.result, &result.task);
        // What `debug` shows of a loop has lost its items.
        let looped = looped && shown.get("results").is_some();
        if !looped {
            if self.display.verbosity < 2 && self.options.path_on_failure {
                let line = format!("task path: {}", result.task.place());
                self.display.line(&line, Some(Tone::Debug));
            }
            let line = format!(
                "fatal: [{}]: FAILED! => {}",
                label(result),
                self.options.shown.result(&shown, None)
            );
            self.display
                .print(&line, Some(Tone::Error), self.options.failed_to_error);
        }
        if result.ignored {
            self.display.line("...ignoring", Some(Tone::Skip));
        }
    }

    fn skipped(&mut self, result: &TaskResult) {
        if !self.options.skipped {
            return;
        }
        self.announce(&result.task);
        complaints(result, &mut self.display, self.options.failed_to_error);
        let mut line = format!("skipping: [{}]", result.host);
        if is_verbose(&result.result, self.display.verbosity, 0) {
            let shown = without(&cleaned(&result.result, &result.task), &["results"]);
            line.push_str(" => ");
            line.push_str(&self.options.shown.result(&shown, None));
        }
        self.display.line(&line, Some(Tone::Skip));
    }

    fn item(&mut self, result: &TaskResult) {
        let item = item_label(result);
        match result.status {
            Status::Ok => {
                self.differences(result);
                if result.task.action.includes() || (!result.changed && !self.options.ok) {
                    return;
                }
                self.announce(&result.task);
                complaints(result, &mut self.display, self.options.failed_to_error);
                let (word, tone) = word(result);
                let mut line = format!("{word}: [{}] => (item={item})", label(result));
                self.add_verbose(&mut line, result);
                self.display.line(&line, Some(tone));
            }
            Status::Failed | Status::Unreachable => {
                self.announce(&result.task);
                complaints(result, &mut self.display, self.options.failed_to_error);
                let shown = cleaned(&result.result, &result.task);
                let dumped = self.options.shown.result(&shown, None);
                let (line, tone) = if result.status == Status::Failed {
                    (
                        format!("failed: [{}] (item={item}) => {dumped}", label(result)),
                        Tone::Error,
                    )
                } else {
                    (
                        format!("fatal: [{}]: UNREACHABLE! => {dumped}", label(result)),
                        Tone::Unreachable,
                    )
                };
                self.display
                    .print(&line, Some(tone), self.options.failed_to_error);
            }
            Status::Skipped => {
                if !self.options.skipped {
                    return;
                }
                self.announce(&result.task);
                complaints(result, &mut self.display, self.options.failed_to_error);
                let mut line = format!("skipping: [{}] => (item={item}) ", result.host);
                self.add_verbose(&mut line, result);
                self.display.line(&line, Some(Tone::Skip));
            }
        }
    }

    fn add_verbose(&self, line: &mut String, result: &TaskResult) {
        if is_verbose(&result.result, self.display.verbosity, 0) {
            line.push_str(" => ");
            line.push_str(
                &self
                    .options
                    .shown
                    .result(&cleaned(&result.result, &result.task), None),
            );
        }
    }

    fn differences(&mut self, result: &TaskResult) {
        if let Some(diff) = differences(result) {
            let text = self.options.shown.difference(&diff, &self.display);
            if !text.is_empty() {
                self.announce(&result.task);
                self.display.line(&text, None);
            }
        }
    }

    fn dry_run(&mut self) {
        if self.options.check && self.options.check_marks {
            self.display.banner("DRY RUN");
        }
    }

    fn recap(&mut self, stats: &Stats) {
        self.display.banner("PLAY RECAP");
        for (host, counts) in &stats.hosts {
            let plain = Self::counts(counts, |text, _, _| text);
            let log = format!("{host:<26} : {plain}");
            let colours = self.display.palette.is_some();
            let screen = if colours {
                let tone = if counts.failures != 0 || counts.unreachable != 0 {
                    Tone::Error
                } else if counts.changed != 0 {
                    Tone::Changed
                } else {
                    Tone::Ok
                };
                let toned = Self::counts(counts, |text, count, tone| {
                    if count == 0 {
                        text
                    } else {
                        self.display.toned(&text, tone)
                    }
                });
                format!("{:<37} : {toned}", self.display.toned(host, tone))
            } else {
                log.clone()
            };
            self.display.both(&screen, &log);
        }
        self.display.line("", None);
        if self.options.custom_stats && !stats.custom.is_empty() {
            self.custom(stats);
        }
    }

    fn counts(counts: &Counts, tone: impl Fn(String, u64, Tone) -> String) -> String {
        [
            ("ok", counts.ok, Tone::Ok),
            ("changed", counts.changed, Tone::Changed),
            ("unreachable", counts.unreachable, Tone::Unreachable),
            ("failed", counts.failures, Tone::Error),
            ("skipped", counts.skipped, Tone::Skip),
            ("rescued", counts.rescued, Tone::Ok),
            ("ignored", counts.ignored, Tone::Warn),
        ]
        .map(|(word, count, colour)| tone(format!("{word}={count:<4}"), count, colour))
        .join(" ")
    }

    fn custom(&mut self, stats: &Stats) {
        self.display.banner("CUSTOM STATS: ");
        let dump = |of: &Dict| self.options.shown.result(of, Some(1)).replace('\n', "");
        let lines: Vec<String> = stats
            .custom
            .iter()
            .filter(|(host, _)| *host != "_run")
            .map(|(host, of)| format!("\t{host}: {}", dump(of)))
            .collect();
        let run = stats.custom.get("_run").map(dump);
        for line in lines {
            self.display.line(&line, None);
        }
        if let Some(run) = run {
            self.display.line("", None);
            self.display.line(&format!("\tRUN: {run}"), None);
        }
        self.display.line("", None);
    }
}

impl Callback for Default {
    fn event(&mut self, event: &Event<'_>) {
        match event {
            Event::Started { banner } => {
                if self.display.verbosity > 0 {
                    for line in *banner {
                        self.display.line(line, None);
                    }
                }
            }
            Event::Playbook(playbook) => {
                if self.display.verbosity > 1 {
                    let name = playbook
                        .path
                        .file_name()
                        .map_or_else(String::new, |name| name.to_string_lossy().into_owned());
                    self.display.banner(&format!("PLAYBOOK: {name}"));
                    self.display.line(
                        &format!(
                            "{} plays in {}",
                            playbook.plays.len(),
                            playbook.named.display()
                        ),
                        None,
                    );
                }
                self.dry_run();
            }
            Event::Play {
                name, check, free, ..
            } => {
                self.begun.clear();
                self.banner = None;
                self.free = *free;
                let mark = if *check && self.options.check_marks {
                    " [CHECK MODE]"
                } else {
                    ""
                };
                match name.trim() {
                    "" => self.display.banner(&format!("PLAY{mark}")),
                    name => self.display.banner(&format!("PLAY [{name}]{mark}")),
                }
            }
            Event::Line(text) => self.display.line(text, None),
            // who asks writes the question
            Event::Prompt { .. } => {}
            Event::NoHostsMatched => self
                .display
                .line("skipping: no hosts matched", Some(Tone::Skip)),
            Event::NoHostsRemaining => self.display.banner("NO MORE HOSTS LEFT"),
            Event::Task {
                task,
                name,
                kind,
                check,
                arguments,
            } => self.begin(task, name, *kind, *check, arguments),
            Event::HostStarted { host, task } => {
                if self.options.starts {
                    let name = self.begun.get(&task.id).map_or("", |begun| &begun.banner);
                    let line = format!(" [started {} on {host}]", unbannered(name));
                    self.display.line(&line, Some(Tone::Ok));
                }
            }
            Event::Result(result) => self.result(result),
            Event::Item(result) => self.item(result),
            Event::Retry { result, remaining } => {
                let mut line = format!(
                    "FAILED - RETRYING: [{}]: {} ({remaining} retries left).",
                    label(result),
                    result.name
                );
                if is_verbose(&result.result, self.display.verbosity, 2) {
                    line.push_str("Result was: ");
                    line.push_str(&self.options.shown.result(&result.result, None));
                }
                self.display.line(&line, Some(Tone::Debug));
            }
            Event::AsyncPoll(result) => {
                let text = |name| {
                    result
                        .result
                        .get(name)
                        .map(|value| consort_jinja::repr::text(&value))
                        .unwrap_or_default()
                };
                let line = format!(
                    "ASYNC POLL on {}: jid={} started={} finished={}",
                    result.host,
                    text("ansible_job_id"),
                    text("started"),
                    text("finished")
                );
                self.display.line(&line, Some(Tone::Debug));
            }
            Event::AsyncEnded(result) => {
                let of = match result.result.get("async_result") {
                    Some(Value::Dict(inner)) if result.result.get("ansible_job_id").is_none() => {
                        inner
                    }
                    _ => result.result.clone(),
                };
                let job = of
                    .get("ansible_job_id")
                    .map_or_else(|| "None".to_owned(), |job| consort_jinja::repr::text(&job));
                let word = if result.status == Status::Failed {
                    "FAILED"
                } else {
                    "OK"
                };
                let line = format!("ASYNC {word} on {}: jid={job}", result.host);
                self.display.line(&line, Some(Tone::Debug));
            }
            Event::Included {
                path, hosts, item, ..
            } => {
                if self.options.included {
                    let hosts: Vec<&str> = hosts.iter().map(AsRef::as_ref).collect();
                    let mut line = format!("included: {path} for {}", hosts.join(", "));
                    if let Some(item) = item {
                        line.push_str(&format!(" => (item={item})"));
                    }
                    self.display.line(&line, Some(Tone::Included));
                }
            }
            Event::Notified { handler, host } => {
                if self.display.verbosity > 1 {
                    self.display.line(
                        &format!("NOTIFIED HANDLER {handler} for {host}"),
                        Some(Tone::Verbose),
                    );
                }
            }
            Event::Warning(text) => self.display.warning(text),
            Event::Deprecation { message } => self.display.deprecation(message),
            Event::Error(text) => self.display.error(text, true),
            Event::Detail { level, host, text } => self.display.detail(*level, *host, text),
            Event::Stats(stats) => {
                self.recap(stats);
                self.dry_run();
            }
        }
    }
}

/// `TASK: name` of `TASK [name]`.
fn unbannered(banner: &str) -> String {
    let plain = banner.strip_prefix("RUNNING ").unwrap_or(banner);
    match plain
        .split_once(" [")
        .and_then(|(kind, rest)| Some((kind, rest.strip_suffix(']')?)))
    {
        Some((kind, name)) => format!("{kind}: {name}"),
        None => plain.to_owned(),
    }
}
