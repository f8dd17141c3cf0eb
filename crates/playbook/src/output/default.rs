//! The callback `default`: what `ansible-playbook` prints.

use std::collections::HashMap;
use std::sync::Arc;

use consort_jinja::json::{self, Style};
use consort_jinja::{Dict, Value};

use super::difference;
use super::display::{Display, Tone};
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
    /// The place of a task that failed (`show_task_path_on_failure`).
    pub path_on_failure: bool,
    /// The arguments with the names of tasks (`DISPLAY_ARGS_TO_STDOUT`).
    pub arguments: bool,
    /// Includes (`display_included_hosts`).
    pub included: bool,
    /// How results are written.
    pub format: Format,
    /// Results over several lines; by the format and `-v` if it is not said (`pretty_results`).
    pub pretty: Option<bool>,
    /// Blanks for each level of a result over several lines (`result_indentation`).
    pub indentation: usize,
    /// Lines of context in differences (`DIFF_CONTEXT`).
    pub context: usize,
}

/// How results are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// As JSON.
    Json,
    /// As YAML; the function writes a value with so many blanks for a level.
    Yaml(fn(&Value, usize, bool) -> String),
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
            path_on_failure: false,
            arguments: false,
            included: true,
            format: Format::Json,
            pretty: None,
            indentation: 4,
            context: 3,
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
        if self.options.arguments {
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
        let looped = result.task.looped.is_some() && result.result.get("results").is_some();
        match result.status {
            Status::Ok => self.ok(result, looped),
            Status::Failed => self.failed(result, looped),
            Status::Skipped => self.skipped(result),
            Status::Unreachable => {
                self.announce(&result.task);
                self.complaints(result);
                let line = format!(
                    "fatal: [{}]: UNREACHABLE! => {}",
                    label(result),
                    self.dump(&result.result, result)
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
        self.differences(result, looped);
        if result.task.action.includes() {
            self.announce(&result.task);
            return;
        }
        if !result.changed && !self.options.ok {
            return;
        }
        self.announce(&result.task);
        self.complaints(result);
        // The items have been told one by one.
        if looped {
            return;
        }
        let (word, tone) = if result.changed {
            ("changed", Tone::Changed)
        } else {
            ("ok", Tone::Ok)
        };
        let mut line = format!("{word}: [{}]", label(result));
        if self.is_verbose(&result.result) {
            let shown = cleaned(&result.result, &result.task);
            line.push_str(" => ");
            line.push_str(&self.dump(&shown, result));
        }
        self.display.line(&line, Some(tone));
    }

    fn failed(&mut self, result: &TaskResult, looped: bool) {
        self.announce(&result.task);
        self.complaints(result);
        if !looped {
            if self.display.verbosity < 2 && self.options.path_on_failure {
                let line = format!("task path: {}", result.task.place());
                self.display.line(&line, Some(Tone::Debug));
            }
            let shown = cleaned(&result.result, &result.task);
            let line = format!(
                "fatal: [{}]: FAILED! => {}",
                label(result),
                self.dump(&shown, result)
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
        self.complaints(result);
        let mut line = format!("skipping: [{}]", result.host);
        if self.is_verbose(&result.result) {
            let shown = without(&cleaned(&result.result, &result.task), &["results"]);
            line.push_str(" => ");
            line.push_str(&self.dump(&shown, result));
        }
        self.display.line(&line, Some(Tone::Skip));
    }

    fn item(&mut self, result: &TaskResult) {
        let item = item_label(result);
        match result.status {
            Status::Ok => {
                if result.task.action.includes() || (!result.changed && !self.options.ok) {
                    return;
                }
                self.announce(&result.task);
                self.complaints(result);
                let (word, tone) = if result.changed {
                    ("changed", Tone::Changed)
                } else {
                    ("ok", Tone::Ok)
                };
                let mut line = format!("{word}: [{}] => (item={item})", label(result));
                self.add_verbose(&mut line, result);
                self.display.line(&line, Some(tone));
            }
            Status::Failed | Status::Unreachable => {
                self.announce(&result.task);
                self.complaints(result);
                let shown = cleaned(&result.result, &result.task);
                let dumped = self.dump(&shown, result);
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
                self.complaints(result);
                let mut line = format!("skipping: [{}] => (item={item}) ", result.host);
                self.add_verbose(&mut line, result);
                self.display.line(&line, Some(Tone::Skip));
            }
        }
    }

    fn add_verbose(&self, line: &mut String, result: &TaskResult) {
        if self.is_verbose(&result.result) {
            line.push_str(" => ");
            line.push_str(&self.dump(&cleaned(&result.result, &result.task), result));
        }
    }

    fn is_verbose(&self, result: &Dict) -> bool {
        let flag = |name| matches!(result.get(name), Some(Value::Bool(true)));
        (self.display.verbosity > 0 || flag("_ansible_verbose_always"))
            && !flag("_ansible_verbose_override")
    }

    /// The warnings and the error of a result.
    fn complaints(&mut self, result: &TaskResult) {
        for warning in texts(&result.result, "warnings") {
            self.display.warning(&warning);
        }
        for deprecation in texts(&result.result, "deprecations") {
            self.display.deprecation(&deprecation);
        }
        if let Some(error) = &result.error {
            self.display.error(error, self.options.failed_to_error);
        }
    }

    fn dump(&self, result: &Dict, of: &TaskResult) -> String {
        if of.no_log {
            // What is left of such a result has been made for showing.
            return self.write(result, false);
        }
        let always = matches!(
            result.get("_ansible_verbose_always"),
            Some(Value::Bool(true))
        );
        self.write(result, always)
    }

    fn write(&self, result: &Dict, always: bool) -> String {
        let pretty = match self.options.pretty {
            Some(pretty) => pretty,
            None => always || self.display.verbosity > 2 || self.options.format != Format::Json,
        };
        let shown: Dict = {
            let mut hidden = vec!["exception", "warnings", "deprecations"];
            if self.display.verbosity < 3 {
                hidden.extend(["invocation", "diff"]);
            }
            let kept = without(result, &hidden);
            kept.change(|entries| {
                entries
                    .retain(|key, _| !key.as_str().is_some_and(|key| key.starts_with("_ansible_")));
            });
            kept
        };
        match self.options.format {
            Format::Json => {
                let style = Style {
                    indent: pretty.then(|| " ".repeat(self.options.indentation)),
                    sort_keys: true,
                    ascii: false,
                    separators: None,
                };
                json::write(&Value::Dict(shown), &style).unwrap_or_else(|error| error.to_string())
            }
            Format::Yaml(write) => {
                if self.options.pretty != Some(false) {
                    for (text, lines) in [("stdout", "stdout_lines"), ("stderr", "stderr_lines")] {
                        if shown.get(text).is_some() && shown.get(lines).is_some() {
                            shown
                                .change(|entries| entries.insert(lines.into(), "<omitted>".into()));
                        }
                    }
                }
                let text = write(
                    &Value::Dict(shown),
                    self.options.indentation,
                    self.options.pretty != Some(false),
                );
                format!("\n{}", indented(&text, self.options.indentation))
            }
        }
    }

    fn differences(&mut self, result: &TaskResult, looped: bool) {
        if !result.diff {
            return;
        }
        let mut told = Vec::new();
        if looped {
            for item in result
                .result
                .get("results")
                .and_then(|items| items.iterate().ok())
                .unwrap_or_default()
            {
                if let Value::Dict(item) = item
                    && matches!(item.get("changed"), Some(Value::Bool(true)))
                {
                    told.extend(item.get("diff"));
                }
            }
        } else if result.changed {
            told.extend(result.result.get("diff"));
        }
        for diff in told {
            let text = self.difference(&diff);
            if !text.is_empty() {
                self.announce(&result.task);
                self.display.line(&text, None);
            }
        }
    }

    /// A `diff` of a module as text.
    fn difference(&self, diff: &Value) -> String {
        let all = match diff {
            Value::List(list) => list.read().clone(),
            one => vec![one.clone()],
        };
        let mut out = String::new();
        for diff in all {
            let Value::Dict(diff) = diff else { continue };
            for (key, which) in [("dst_binary", "destination"), ("src_binary", "source")] {
                if diff.get(key).is_some() {
                    out.push_str(&format!(
                        "diff skipped: {which} file appears to be binary\n"
                    ));
                }
            }
            for (key, which) in [("dst_larger", "destination"), ("src_larger", "source")] {
                if let Some(size) = diff.get(key) {
                    let size = consort_jinja::repr::text(&size);
                    out.push_str(&format!(
                        "diff skipped: {which} file size is greater than {size}\n"
                    ));
                }
            }
            if let (Some(before), Some(after)) = (diff.get("before"), diff.get("after")) {
                let header = |key: &str, word: &str| match diff.get(key) {
                    Some(header) => format!("{word}: {}", consort_jinja::repr::text(&header)),
                    None => word.to_owned(),
                };
                let lines = difference::unified(
                    &self.lines(&before),
                    &self.lines(&after),
                    &header("before_header", "before"),
                    &header("after_header", "after"),
                    self.options.context,
                );
                for line in &lines {
                    let tone = match line.as_bytes().first() {
                        Some(b'+') => Some(Tone::DiffAdd),
                        Some(b'-') => Some(Tone::DiffRemove),
                        Some(b'@') => Some(Tone::DiffLines),
                        _ => None,
                    };
                    match tone {
                        Some(tone) => out.push_str(&self.display.toned(line, tone)),
                        None => out.push_str(line),
                    }
                }
                if !lines.is_empty() {
                    out.push('\n');
                }
            }
            if let Some(prepared) = diff.get("prepared") {
                out.push_str(&consort_jinja::repr::text(&prepared));
            }
        }
        out
    }

    /// One side of a difference: a text, or something with a structure, written out.
    fn lines(&self, side: &Value) -> Vec<String> {
        let text = match side {
            Value::None => String::new(),
            Value::Dict(_) => {
                let style = Style {
                    indent: Some(" ".repeat(self.options.indentation)),
                    sort_keys: true,
                    ascii: true,
                    separators: Some((",".to_owned(), ": ".to_owned())),
                };
                match self.options.format {
                    Format::Json => {
                        json::write(side, &style).unwrap_or_else(|error| error.to_string()) + "\n"
                    }
                    Format::Yaml(write) => {
                        let text = write(
                            side,
                            self.options.indentation,
                            self.options.pretty != Some(false),
                        );
                        indented(&text, 4) + "\n"
                    }
                }
            }
            other => consort_jinja::repr::text(other),
        };
        let mut lines = difference::lines(&text);
        if let Some(last) = lines.last_mut()
            && !last.ends_with('\n')
        {
            last.push_str("\n\\ No newline at end of file\n");
        }
        lines
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
        let dump = |of: &Dict| {
            let style = Style {
                sort_keys: true,
                ascii: false,
                ..Style::default()
            };
            json::write(&Value::Dict(of.clone()), &style).unwrap_or_else(|error| error.to_string())
        };
        for (host, of) in stats.custom.iter().filter(|(host, _)| *host != "_run") {
            self.display.line(&format!("\t{host}: {}", dump(of)), None);
        }
        if let Some(of) = stats.custom.get("_run") {
            self.display.line("", None);
            self.display.line(&format!("\tRUN: {}", dump(of)), None);
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
                            playbook.path.display()
                        ),
                        None,
                    );
                }
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
                    let line = format!(" [started {name} on {host}]");
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
                if self.display.verbosity > 2 {
                    line.push_str("Result was: ");
                    line.push_str(&self.dump(&result.result, result));
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
            Event::Stats(stats) => self.recap(stats),
        }
    }
}

/// The host as it is shown: with the one a task was delegated to.
fn label(result: &TaskResult) -> String {
    match &result.delegated {
        Some(delegated) => format!("{} -> {delegated}", result.host),
        None => result.host.to_string(),
    }
}

fn item_label(result: &TaskResult) -> String {
    if result.no_log {
        return "(censored due to no_log)".to_owned();
    }
    result
        .item
        .as_ref()
        .map_or_else(|| "None".to_owned(), consort_jinja::repr::text)
}

/// The entries of a result without some.
fn without(result: &Dict, keys: &[&str]) -> Dict {
    let entries = result
        .read()
        .iter()
        .filter(|(key, _)| !key.as_str().is_some_and(|key| keys.contains(&key)))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    Dict::new(entries)
}

/// A result as it is shown: that of `debug` has only what was asked for.
fn cleaned(result: &Dict, task: &Arc<Task>) -> Dict {
    if task.action.builtin() != Some("debug") {
        return result.clone();
    }
    if result.get("msg").is_none() {
        return without(
            result,
            &[
                "changed",
                "failed",
                "skipped",
                "invocation",
                "skip_reason",
                "ansible_loop_var",
                "ansible_index_var",
                "ansible_loop",
            ],
        );
    }
    let kept = Dict::new(result.read().clone());
    kept.change(|entries| {
        entries.retain(|key, _| {
            key.as_str().is_some_and(|key| {
                ["msg", "exception", "warnings", "deprecations"].contains(&key)
                    || key.starts_with("_ansible_")
            })
        });
    });
    kept
}

fn texts(result: &Dict, name: &str) -> Vec<String> {
    let entries = result
        .get(name)
        .and_then(|entries| entries.iterate().ok())
        .unwrap_or_default();
    entries
        .iter()
        .map(|entry| match entry {
            Value::Dict(entry) => entry
                .get("msg")
                .map(|text| consort_jinja::repr::text(&text))
                .unwrap_or_default(),
            entry => consort_jinja::repr::text(entry),
        })
        .collect()
}

fn indented(text: &str, by: usize) -> String {
    let blanks = " ".repeat(by);
    let lines: Vec<String> = text
        .lines()
        .map(|line| {
            if line.trim().is_empty() {
                line.to_owned()
            } else {
                format!("{blanks}{line}")
            }
        })
        .collect();
    let mut out = lines.join("\n");
    if text.ends_with('\n') {
        out.push('\n');
    }
    out
}
