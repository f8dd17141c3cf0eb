//! The callbacks `minimal` and `oneline`: a result each, without banners or recap.

use consort_jinja::{Dict, Value, repr};

use super::display::{Display, Tone};
use super::shown::{Shown, cleaned, complaints, differences, is_command};
use super::{Callback, Event, Status, TaskResult};

/// The callback `minimal`, which `ansible` prints with.
pub struct Minimal {
    display: Display,
    shown: Shown,
}

impl Minimal {
    /// Prints to a display.
    pub fn new(display: Display, shown: Shown) -> Self {
        Minimal { display, shown }
    }

    fn differences(&mut self, result: &TaskResult) {
        if let Some(diff) = differences(result) {
            let text = self.shown.difference(&diff, &self.display);
            self.display.line(&text, None);
        }
    }

    fn result(&mut self, result: &TaskResult) {
        self.differences(result);
        complaints(result, &mut self.display, false);
        let of = &result.result;
        let host = &result.host;
        let raw = is_command(&result.task);
        match result.status {
            Status::Ok => {
                let shown = cleaned(of, &result.task);
                let (state, tone) = if result.changed {
                    ("CHANGED", Tone::Changed)
                } else {
                    ("SUCCESS", Tone::Ok)
                };
                let line = if raw && of.get("ansible_job_id").is_none() {
                    output(host, of, state)
                } else {
                    format!("{host} | {state} => {}", self.shown.result(&shown, Some(4)))
                };
                self.display.line(&line, Some(tone));
            }
            Status::Failed => {
                let line = if raw && of.get("module_stderr").is_none() {
                    output(host, of, "FAILED")
                } else {
                    format!("{host} | FAILED! => {}", self.shown.result(of, Some(4)))
                };
                self.display.line(&line, Some(Tone::Error));
            }
            Status::Skipped => {
                self.display
                    .line(&format!("{host} | SKIPPED"), Some(Tone::Skip));
            }
            Status::Unreachable => {
                let line = format!(
                    "{host} | UNREACHABLE! => {}",
                    self.shown.result(of, Some(4))
                );
                self.display.line(&line, Some(Tone::Unreachable));
            }
        }
    }
}

fn text(of: &Dict, name: &str) -> String {
    match of.get(name) {
        None | Some(Value::None) => String::new(),
        Some(value) => repr::text(&value),
    }
}

fn status(of: &Dict) -> String {
    of.get("rc")
        .map_or_else(|| "-1".to_owned(), |rc| repr::text(&rc))
}

/// What a command wrote, as it is.
fn output(host: &str, of: &Dict, caption: &str) -> String {
    format!(
        "{host} | {caption} | rc={} >>\n{}{}{}\n",
        status(of),
        text(of, "stdout"),
        text(of, "stderr"),
        text(of, "msg")
    )
}

impl Callback for Minimal {
    fn event(&mut self, event: &Event<'_>) {
        match event {
            Event::Result(result) => self.result(result),
            Event::Item(result) if result.status == Status::Ok => self.differences(result),
            _ => general(event, &mut self.display),
        }
    }
}

/// What every callback that prints tells alike.
pub(super) fn general(event: &Event<'_>, display: &mut Display) {
    match event {
        Event::Started { banner } if display.verbosity > 0 => {
            for line in *banner {
                display.line(line, None);
            }
        }
        Event::Line(text) => display.line(text, None),
        Event::Warning(text) => display.warning(text),
        Event::Deprecation { message } => display.deprecation(message),
        Event::Error(text) => display.error(text, true),
        Event::Detail { level, host, text } => display.detail(*level, *host, text),
        _ => {}
    }
}

/// The callback `oneline`: each result on a line of its own.
pub struct Oneline {
    display: Display,
    shown: Shown,
}

impl Oneline {
    /// Prints to a display.
    pub fn new(display: Display, shown: Shown) -> Self {
        Oneline { display, shown }
    }

    fn result(&mut self, result: &TaskResult) {
        let of = &result.result;
        let host = &result.host;
        let raw = is_command(&result.task);
        let whole = |shown: &Shown| shown.result(of, Some(0)).replace('\n', "");
        match result.status {
            Status::Ok => {
                let (state, tone) = if result.changed {
                    ("CHANGED", Tone::Changed)
                } else {
                    ("SUCCESS", Tone::Ok)
                };
                let line = if raw && of.get("ansible_job_id").is_none() {
                    on_a_line(host, of, state)
                } else {
                    format!("{host} | {state} => {}", whole(&self.shown))
                };
                self.display.line(&line, Some(tone));
            }
            Status::Failed => {
                if of.get("exception").is_some() {
                    let line = if raw && of.get("module_stderr").is_none() {
                        on_a_line(host, of, "FAILED")
                    } else {
                        "An exception occurred during task execution. To see the full traceback, use -vvv. The error was: \
                         (traceback unavailable)"
                            .to_owned()
                    };
                    self.display.line(&line, Some(Tone::Error));
                }
                let line = format!("{host} | FAILED! => {}", whole(&self.shown));
                self.display.line(&line, Some(Tone::Error));
            }
            Status::Skipped => {
                self.display
                    .line(&format!("{host} | SKIPPED"), Some(Tone::Skip));
            }
            Status::Unreachable => {
                let line = format!("{host} | UNREACHABLE!: {}", text(of, "msg"));
                self.display.line(&line, Some(Tone::Unreachable));
            }
        }
    }
}

fn on_a_line(host: &str, of: &Dict, caption: &str) -> String {
    let escaped = |name: &str| text(of, name).replace('\n', "\\n").replace('\r', "\\r");
    let (stdout, stderr) = (escaped("stdout"), escaped("stderr"));
    let head = format!("{host} | {caption} | rc={} | (stdout) {stdout}", status(of));
    if stderr.is_empty() {
        head
    } else {
        format!("{head} (stderr) {stderr}")
    }
}

impl Callback for Oneline {
    fn event(&mut self, event: &Event<'_>) {
        if let Event::Result(result) = event {
            self.result(result);
        } else {
            general(event, &mut self.display);
        }
    }
}
