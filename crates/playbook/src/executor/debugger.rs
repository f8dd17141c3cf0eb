//! The task debugger: asks the user what to do about a result before the play goes on.

use std::io::{BufRead as _, Write as _};
use std::sync::Arc;

use consort_jinja::{Dict, Key, Str, Value, repr};

use super::plan::Plan;
use super::result::Outcome;
use super::run::Run;
use crate::language::{Action, Directive, Task};
use crate::variables::TaskVariables;

/// How wide values are shown.
const WIDTH: usize = 80;

/// What the user wants.
pub(super) enum Decision {
    /// The play goes on.
    Continue,
    /// The task is done again, as it is now.
    Redo(Arc<Task>),
    /// The run ends.
    Quit,
}

/// Whether the user is asked about a result. `active` says that failures are asked about where no keyword says otherwise.
pub(super) fn wanted(plan: &Plan, outcome: &Outcome, run: &Run, active: bool) -> bool {
    let ignored = run.settings.task_debugger_ignore_errors && outcome.ignore_errors;
    let failed = outcome.failed() && !ignored;
    match plan.keyword(Directive::Debugger).and_then(Value::as_str) {
        Some("always") => true,
        Some("never") => false,
        Some("on_failed") if failed => true,
        Some("on_unreachable") if outcome.unreachable() => true,
        Some("on_skipped") if outcome.skipped() => true,
        _ => active && (failed || outcome.unreachable()),
    }
}

/// What the debugger shows and changes.
struct Session<'a> {
    run: &'a Run,
    task: &'a Arc<Task>,
    variables: &'a TaskVariables,
    /// The arguments as they are shown, and whether the user changed them.
    arguments: Dict,
    changed: bool,
    scope: Dict,
}

/// Asks until it is known how to go on.
pub(super) async fn ask(
    run: &Run,
    plan: &Plan,
    host: &str,
    name: &str,
    outcome: &Outcome,
    variables: &TaskVariables,
) -> Decision {
    let task = &plan.task;
    let mut session = Session {
        run,
        task,
        variables,
        arguments: Dict::default(),
        changed: false,
        scope: [
            ("host", Value::from(host)),
            ("task_vars", variables.as_value()),
            (
                "result",
                Value::Dict(
                    [
                        ("_result", Value::Dict(outcome.as_dict(false))),
                        ("result", Value::Dict(outcome.as_dict(false))),
                    ]
                    .into_iter()
                    .collect(),
                ),
            ),
        ]
        .into_iter()
        .collect(),
    };
    session.reset(name);
    let kind = if task.handler { "HANDLER" } else { "TASK" };
    let prompt = format!("[{host}] {kind}: {name} (debug)> ");
    let mut last = String::new();
    loop {
        let Some(line) = read(prompt.clone()).await else {
            session.say("User interrupted execution");
            return Decision::Quit;
        };
        // An empty line says the last one again.
        let line = match line.trim() {
            "" if last.is_empty() => continue,
            "" => last.clone(),
            line => line.to_owned(),
        };
        last.clone_from(&line);
        let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((&line, ""));
        match word {
            "c" | "continue" => return Decision::Continue,
            "q" | "quit" | "EOF" => {
                session.say("User interrupted execution");
                return Decision::Quit;
            }
            "r" | "redo" => return Decision::Redo(session.task()),
            "u" | "update_task" => session.reset(name),
            "h" | "help" | "?" => session.help(rest.trim()),
            "p" | "pprint" => match session.value(rest.trim()) {
                Ok(value) => session.say(&pretty(&value, 0)),
                Err(error) => session.say(&error),
            },
            _ => {
                if let Err(error) = session.statement(&line) {
                    session.say(&error);
                }
            }
        }
    }
}

impl Session<'_> {
    fn say(&self, text: &str) {
        self.run.tell.detail(0, None, text);
    }

    /// Makes the task again of what was written, with the variables as they are now.
    fn reset(&mut self, name: &str) {
        let arguments = Dict::default();
        for (key, value) in self.task.action.arguments.read().iter() {
            let value = match self.run.templar.render(value, self.variables) {
                Ok(value) => value,
                // What cannot be rendered is shown as it was written, and not taken for a template again.
                Err(_) => Value::from(repr::text(value)),
            };
            arguments.insert(key.clone(), value);
        }
        self.arguments = arguments.clone();
        self.changed = false;
        let shown: Dict = [
            ("name", Value::from(name)),
            ("action", Value::from(&*self.task.action.written)),
            ("args", Value::Dict(arguments)),
        ]
        .into_iter()
        .collect();
        self.scope
            .change(|scope| scope.insert(Key::from("task"), Value::Dict(shown)));
    }

    /// The task as it is now.
    fn task(&self) -> Arc<Task> {
        let task = self.task;
        if !self.changed {
            return Arc::clone(task);
        }
        Arc::new(Task {
            id: task.id,
            origin: Arc::clone(&task.origin),
            parent: Arc::clone(&task.parent),
            directives: task.directives.clone(),
            action: Action {
                arguments: self.arguments.clone(),
                ..task.action.clone()
            },
            looped: task.looped.clone(),
            handler: task.handler,
            implicit: task.implicit,
        })
    }

    fn value(&self, expression: &str) -> Result<Value, String> {
        self.run
            .templar
            .evaluate(&Str::template(expression), &self.scope)
            .map_err(|error| {
                let kind = if error.undefined {
                    "NameError"
                } else {
                    "Exception"
                };
                format!("***{kind}:{kind}({})", repr::string(&error.to_string()))
            })
    }

    /// Carries out `PLACE[KEY] = VALUE`, `del PLACE[KEY]`, or shows the value of an expression.
    fn statement(&mut self, line: &str) -> Result<(), String> {
        if let Some(place) = line.strip_prefix("del ") {
            let (container, key) = self.place(place)?;
            match container {
                Some(dict) => {
                    dict.change(|entries| entries.shift_remove(&key));
                    self.changed = true;
                }
                None => {
                    return Err("***TypeError:TypeError('variables cannot be deleted')".to_owned());
                }
            }
            return Ok(());
        }
        let Some(at) = assignment(line) else {
            let value = self.value(line)?;
            if !matches!(value, Value::None) {
                self.say(&repr::repr(&value));
            }
            return Ok(());
        };
        let value = self.value(line[at + 1..].trim())?;
        let (container, key) = self.place(&line[..at])?;
        match container {
            Some(dict) => {
                dict.change(|entries| entries.insert(key, value));
                self.changed = true;
            }
            None => {
                let name = key.as_str().unwrap_or_default().to_owned();
                self.variables.set_local(&name, value);
            }
        }
        Ok(())
    }

    /// What `CONTAINER[KEY]` stands for; without a container where that is the variables of the task.
    fn place(&self, text: &str) -> Result<(Option<Dict>, Key), String> {
        let text = text.trim();
        let refused = || "***SyntaxError:SyntaxError('cannot assign to expression')".to_owned();
        let inner = text.strip_suffix(']').ok_or_else(refused)?;
        let mut depth = 0_usize;
        let mut opens = None;
        for (index, c) in inner.char_indices() {
            match c {
                '[' | '(' | '{' => {
                    if depth == 0 && c == '[' {
                        opens = Some(index);
                    }
                    depth += 1;
                }
                ']' | ')' | '}' => depth = depth.saturating_sub(1),
                _ => {}
            }
        }
        let opens = opens.ok_or_else(refused)?;
        let key = Key::new(self.value(&inner[opens + 1..])?).map_err(|_| refused())?;
        let container = inner[..opens].trim();
        if container == "task_vars" {
            return Ok((None, key));
        }
        // The arguments themselves, and not what evaluating them makes of them.
        let mut parts = container.split('.');
        let mut dict = match (parts.next(), parts.next()) {
            (Some("task"), Some("args")) => self.arguments.clone(),
            _ => return Err(refused()),
        };
        for part in parts {
            dict = match dict.get(part) {
                Some(Value::Dict(inner)) => inner,
                _ => return Err(refused()),
            };
        }
        Ok((Some(dict), key))
    }

    fn help(&self, command: &str) {
        let text = match command {
            "" => {
                "\nDocumented commands (type help <topic>):\n========================================\n\
                 EOF  c  continue  h  help  p  pprint  q  quit  r  redo  u  update_task\n"
            }
            "c" | "continue" => "Continue to next result",
            "EOF" | "q" | "quit" => "Quit",
            "r" | "redo" => {
                "Schedule task for re-execution. The re-execution may not be the next result"
            }
            "u" | "update_task" => {
                "Recreate the task from ``task._ds``, and template with updated ``task_vars``"
            }
            "p" | "pprint" => "Pretty Print",
            "h" | "help" => {
                "List available commands with \"help\" or detailed help with \"help cmd\"."
            }
            other => return self.say(&format!("*** No help on {other}")),
        };
        self.say(text);
    }
}

/// Where a line assigns: the first `=` outside of brackets and texts that is no part of another operator.
fn assignment(line: &str) -> Option<usize> {
    let bytes = line.as_bytes();
    let mut depth = 0_usize;
    let mut quote = None;
    for (index, byte) in bytes.iter().enumerate() {
        match (quote, byte) {
            (Some(open), _) if open == byte && bytes.get(index.wrapping_sub(1)) != Some(&b'\\') => {
                quote = None;
            }
            (None, b'"' | b'\'') => quote = Some(byte),
            (None, b'[' | b'(' | b'{') => depth += 1,
            (None, b']' | b')' | b'}') => depth = depth.saturating_sub(1),
            (None, b'=') if depth == 0 => {
                let before = index.checked_sub(1).and_then(|at| bytes.get(at));
                let after = bytes.get(index + 1);
                if after == Some(&b'=') || matches!(before, Some(b'=' | b'!' | b'<' | b'>')) {
                    return None;
                }
                return Some(index);
            }
            _ => {}
        }
    }
    None
}

/// A value as Python's `pprint` shows it: in a line if it fits, else an entry a line, mappings by their keys.
fn pretty(value: &Value, indent: usize) -> String {
    let whole = repr::repr(value);
    if indent + whole.len() <= WIDTH {
        return whole;
    }
    let within = format!(",\n{}", " ".repeat(indent + 1));
    match value {
        Value::Dict(entries) => {
            let mut entries: Vec<(String, Value)> = entries
                .read()
                .iter()
                .map(|(key, value)| (repr::repr(key.value()), value.clone()))
                .collect();
            entries.sort_by(|one, two| one.0.cmp(&two.0));
            let entries: Vec<String> = entries
                .iter()
                .map(|(key, value)| {
                    format!("{key}: {}", pretty(value, indent + key.chars().count() + 3))
                })
                .collect();
            format!("{{{}}}", entries.join(&within))
        }
        Value::List(items) => {
            let items: Vec<String> = items
                .read()
                .iter()
                .map(|item| pretty(item, indent + 1))
                .collect();
            format!("[{}]", items.join(&within))
        }
        _ => whole,
    }
}

/// Reads a line; none where there are no more.
async fn read(prompt: String) -> Option<String> {
    tokio::task::spawn_blocking(move || {
        let mut out = std::io::stdout();
        // Who sees no question still may answer.
        let _ = write!(out, "{prompt}").and_then(|()| out.flush());
        let mut line = String::new();
        match std::io::stdin().lock().read_line(&mut line) {
            Ok(0) | Err(_) => None,
            Ok(_) => Some(line),
        }
    })
    .await
    .ok()
    .flatten()
}
