//! How results and differences are written out, by all callbacks alike.

use std::fmt::Write as _;
use std::sync::Arc;

use consort_jinja::json::{self, Style};
use consort_jinja::{Dict, Key, Value, repr};

use super::TaskResult;
use super::difference;
use super::display::{Display, Tone};
use crate::executor::held::TEXT;
use crate::language::{Directive, Task};
use crate::source::Removal;
use crate::template;

/// How results are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Format {
    /// As JSON.
    #[default]
    Json,
    /// As YAML, texts of several lines as blocks.
    Yaml,
}

/// How results and differences are written out: the options all callbacks share.
#[derive(Clone, Debug)]
pub struct Shown {
    /// How results are written (`result_format`).
    pub format: Format,
    /// Results over several lines; by the format and `-v` if it is not said (`pretty_results`).
    pub pretty: Option<bool>,
    /// Blanks for each level of a result over several lines (`result_indentation`).
    pub indentation: usize,
    /// Where lines of YAML are broken.
    pub width: usize,
    /// Lines of context in differences (`DIFF_CONTEXT`).
    pub context: usize,
    /// The number of `-v`.
    pub verbosity: u8,
}

impl Default for Shown {
    fn default() -> Self {
        Shown {
            format: Format::Json,
            pretty: None,
            indentation: 4,
            width: 80,
            context: 3,
            verbosity: 0,
        }
    }
}

impl Shown {
    /// A result: with `indent` blanks a level, or by the options and what the result itself wants.
    pub fn result(&self, result: &Dict, indent: Option<usize>) -> String {
        let always = matches!(
            result.get("_ansible_verbose_always"),
            Some(Value::Bool(true))
        );
        let several = always
            || (self.pretty.is_none() && self.format != Format::Json)
            || self.pretty == Some(true)
            || self.verbosity > 2;
        let mut indent = indent
            .filter(|indent| *indent > 0)
            .or(several.then_some(self.indentation))
            .or(indent);
        if self.pretty == Some(false) {
            indent = None;
        }
        let shown = self.abridged(result);
        match self.format {
            Format::Json => {
                let style = Style {
                    indent: indent.map(|indent| " ".repeat(indent)),
                    sort_keys: true,
                    ascii: false,
                    separators: None,
                };
                json::write(&Value::Dict(shown), &style).unwrap_or_else(|error| error.to_string())
            }
            Format::Yaml => {
                if self.pretty != Some(false) {
                    for (text, lines) in [("stdout", "stdout_lines"), ("stderr", "stderr_lines")] {
                        if shown.get(text).is_some() && shown.get(lines).is_some() {
                            shown
                                .change(|entries| entries.insert(lines.into(), "<omitted>".into()));
                        }
                    }
                }
                let text = self.yaml(&Value::Dict(shown), indent);
                format!("\n{}", indented(&text, indent.unwrap_or(4)))
            }
        }
    }

    /// A result without what is shown elsewhere, or to those who want to know more.
    pub fn abridged(&self, result: &Dict) -> Dict {
        let mut hidden = vec!["exception", "warnings", "deprecations"];
        if self.verbosity < 3 {
            hidden.extend(["invocation", "diff"]);
        }
        public(&without(result, &hidden))
    }

    fn yaml(&self, value: &Value, indent: Option<usize>) -> String {
        template::yaml_for_people(value, indent, self.width, self.pretty != Some(false))
            .unwrap_or_else(|error| error.to_string())
    }

    /// A `diff` of a module as text, in colours.
    pub fn difference(&self, diff: &Value, display: &Display) -> String {
        let all = match diff {
            Value::List(list) => list.read().clone(),
            one => vec![one.clone()],
        };
        let mut out = String::new();
        for diff in all {
            let Value::Dict(diff) = diff else { continue };
            for (key, which) in [("dst_binary", "destination"), ("src_binary", "source")] {
                if diff.get(key).is_some() {
                    let _ = writeln!(out, "diff skipped: {which} file appears to be binary");
                }
            }
            for (key, which) in [("dst_larger", "destination"), ("src_larger", "source")] {
                if let Some(size) = diff.get(key) {
                    let _ = writeln!(
                        out,
                        "diff skipped: {which} file size is greater than {}",
                        repr::text(&size)
                    );
                }
            }
            if let (Some(before), Some(after)) = (diff.get("before"), diff.get("after")) {
                let header = |key: &str, word: &str| match diff.get(key) {
                    Some(header) => format!("{word}: {}", repr::text(&header)),
                    None => word.to_owned(),
                };
                let lines = difference::unified(
                    &self.lines(&before),
                    &self.lines(&after),
                    &header("before_header", "before"),
                    &header("after_header", "after"),
                    self.context,
                );
                for line in &lines {
                    let tone = match line.as_bytes().first() {
                        Some(b'+') => Some(Tone::DiffAdd),
                        Some(b'-') => Some(Tone::DiffRemove),
                        Some(b'@') if line.starts_with("@@") => Some(Tone::DiffLines),
                        _ => None,
                    };
                    match tone {
                        Some(tone) => out.push_str(&display.toned(line, tone)),
                        None => out.push_str(line),
                    }
                }
                if !lines.is_empty() {
                    out.push('\n');
                }
            }
            if let Some(prepared) = diff.get("prepared") {
                out.push_str(&repr::text(&prepared));
            }
        }
        out
    }

    /// One side of a difference: a text, or something with a structure, written out.
    fn lines(&self, side: &Value) -> Vec<String> {
        let text = match side {
            Value::None => String::new(),
            Value::Dict(_) => match self.format {
                Format::Json => {
                    let style = Style {
                        indent: Some(" ".repeat(self.indentation)),
                        sort_keys: true,
                        ascii: true,
                        separators: Some((",".to_owned(), ": ".to_owned())),
                    };
                    json::write(side, &style).unwrap_or_else(|error| error.to_string()) + "\n"
                }
                Format::Yaml => indented(&self.yaml(side, Some(self.indentation)), 4) + "\n",
            },
            other => repr::text(other),
        };
        let mut lines = difference::lines(&text);
        if let Some(last) = lines.last_mut()
            && !last.ends_with('\n')
        {
            last.push_str("\n\\ No newline at end of file\n");
        }
        lines
    }
}

/// A result without what callbacks alone see, in the results of its items neither.
fn public(result: &Dict) -> Dict {
    let entries = result
        .read()
        .iter()
        .filter(|(key, _)| !is_internal(key))
        .map(|(key, value)| {
            let value = match (key.as_str(), value) {
                (Some("results"), Value::List(items)) => Value::list(
                    items
                        .read()
                        .iter()
                        .map(|item| match item {
                            Value::Dict(item) => Value::Dict(public(item)),
                            other => other.clone(),
                        })
                        .collect(),
                ),
                _ => value.clone(),
            };
            (key.clone(), value)
        })
        .collect();
    Dict::new(entries)
}

fn is_internal(key: &Key) -> bool {
    key.as_str().is_some_and(|key| key.starts_with("_ansible_"))
}

/// The warnings and the error of a result.
pub fn complaints(result: &TaskResult, display: &mut Display, to_error: bool) {
    for warning in texts(&result.result, "warnings", false) {
        display.warning(&warning);
    }
    if !display.deprecations {
        return complain(result, display, to_error);
    }
    for deprecation in texts(&result.result, "deprecations", true) {
        display.deprecation(&deprecation);
    }
    complain(result, display, to_error);
}

fn complain(result: &TaskResult, display: &mut Display, to_error: bool) {
    if let Some(error) = &result.error {
        display.error(error, to_error);
    }
}

fn texts(result: &Dict, name: &str, goes: bool) -> Vec<String> {
    let entries = result
        .get(name)
        .and_then(|entries| entries.iterate().ok())
        .unwrap_or_default();
    entries
        .iter()
        .map(|entry| match entry {
            Value::Dict(entry) => {
                let text = |key: &str| {
                    entry
                        .get(key)
                        .filter(|value| !matches!(value, Value::None))
                        .map(|value| repr::text(&value))
                };
                let message = text("msg").unwrap_or_default();
                if let Some(whole) = text(TEXT) {
                    whole
                } else if goes {
                    Removal {
                        collection: text("collection_name"),
                        version: text("version"),
                        date: text("date"),
                        plugin: plugin(entry),
                    }
                    .announced(&message)
                } else {
                    message
                }
            }
            entry => repr::text(entry),
        })
        .collect()
}

/// The kind and the name of the plugin that says something goes, where that is known.
fn plugin(entry: &Dict) -> Option<(String, String)> {
    let told = entry.get(consort_modules::DEPRECATOR)?.iterate().ok()?;
    match told.as_slice() {
        [kind, name] if kind.truth().unwrap_or(false) => Some((repr::text(kind), repr::text(name))),
        _ => None,
    }
}

/// The host as it is shown: with the one a task was delegated to.
pub fn label(result: &TaskResult) -> String {
    match &result.delegated {
        Some(delegated) if **delegated != *result.host => {
            let address = match result.result.get("_ansible_delegated_vars") {
                Some(Value::Dict(variables)) => variables.get("ansible_host"),
                _ => None,
            }
            .map(|address| repr::text(&address))
            .filter(|address| **address != **delegated);
            match address {
                Some(address) => format!("{} -> {delegated}({address})", result.host),
                None => format!("{} -> {delegated}", result.host),
            }
        }
        _ => result.host.to_string(),
    }
}

/// How an item of a loop is called.
pub fn item_label(result: &TaskResult) -> String {
    if result.no_log {
        return "(censored due to no_log)".to_owned();
    }
    result
        .item
        .as_ref()
        .map_or_else(|| "None".to_owned(), repr::text)
}

/// Whether a result is to be shown where so many `-v` are needed.
pub fn is_verbose(result: &Dict, verbosity: u8, needed: u8) -> bool {
    let flag = |name| matches!(result.get(name), Some(Value::Bool(true)));
    (verbosity > needed || flag("_ansible_verbose_always")) && !flag("_ansible_verbose_override")
}

/// The entries of a result without some.
pub fn without(result: &Dict, keys: &[&str]) -> Dict {
    let entries = result
        .read()
        .iter()
        .filter(|(key, _)| !key.as_str().is_some_and(|key| keys.contains(&key)))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    Dict::new(entries)
}

/// A result as it is shown: that of `debug` has only what was asked for.
pub fn cleaned(result: &Dict, task: &Arc<Task>) -> Dict {
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

/// Whether a result is that of a loop, all of whose items were told.
pub fn is_loop(result: &TaskResult) -> bool {
    result.task.looped.is_some() && result.result.get("results").is_some()
}

/// The differences of a result that are worth showing. Those of a loop are told with its items.
pub fn differences(result: &TaskResult) -> Option<Value> {
    (result.diff && result.changed)
        .then(|| result.result.get("diff"))
        .flatten()
        .filter(|diff| diff.truth().unwrap_or(false))
}

/// Whether the module of a task gives commands' output, which some callbacks write as it is.
pub fn is_command(task: &Task) -> bool {
    matches!(
        task.action.builtin(),
        Some("command" | "shell" | "raw" | "script" | "win_command" | "win_shell")
    )
}

/// Whether nothing of a task may be shown, as far as that is known before it is done.
pub fn hides(task: &Task) -> bool {
    !matches!(
        task.directive(Directive::NoLog),
        None | Some(Value::None | Value::Bool(false))
    )
}

/// The word and the colour for a result that did not fail.
pub fn word(result: &TaskResult) -> (&'static str, Tone) {
    if result.changed {
        ("changed", Tone::Changed)
    } else {
        ("ok", Tone::Ok)
    }
}

/// Blanks before each line that is not empty.
pub fn indented(text: &str, by: usize) -> String {
    let blanks = " ".repeat(by);
    text.split_inclusive('\n')
        .map(|line| {
            if line.trim().is_empty() {
                line.to_owned()
            } else {
                format!("{blanks}{line}")
            }
        })
        .collect()
}
