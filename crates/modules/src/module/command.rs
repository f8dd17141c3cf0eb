//! `command`, and `shell` by `_uses_shell`: other programs.

use std::sync::LazyLock;

use serde_json::{Value, json};

use crate::arguments::{Kind, Spec, boolean, list, path, text};
use crate::context::Context;
use crate::glob;
use crate::invocation::{Failure, Invocation, Outcome, Report};
use crate::process::Command;
use crate::python;
use crate::registry::Module;

pub(crate) const MODULE: Module = Module {
    name: "command",
    act,
};

static SPEC: LazyLock<Spec> = LazyLock::new(|| {
    Spec::new()
        .with("_raw_params", text())
        .with("_uses_shell", boolean().default(false))
        .with("cmd", text())
        .with("argv", list(Kind::Text))
        .with("chdir", path())
        .with("executable", text())
        .with("expand_argument_vars", boolean().default(true))
        .with("creates", path())
        .with("removes", path())
        .with("stdin", text())
        .with("stdin_add_newline", boolean().default(true))
        .with("strip_empty_ends", boolean().default(true))
        .required_one_of(&["_raw_params", "cmd", "argv"])
        .mutually_exclusive(&["_raw_params", "cmd", "argv"])
        .supports_check_mode()
});

fn act(context: &mut Context<'_>, invocation: &Invocation) -> Outcome {
    let arguments = context.arguments(&SPEC, invocation)?;
    let shell = arguments.flag("_uses_shell");
    let mut executable = arguments.text("executable").map(str::to_owned);
    if !shell && let Some(unused) = executable.take_if(|executable| !executable.is_empty()) {
        context.warn(format!(
            "As of Ansible 2.4, the parameter 'executable' is no longer supported with the 'command' module. Not using '{unused}'."
        ));
    }
    let line = arguments
        .filled("_raw_params")
        .or_else(|| arguments.text("cmd"))
        .filter(|line| !line.is_empty());
    let line = match line {
        None => None,
        Some(line) if shell => Some(Line::Shell(line.to_owned())),
        // Nothing but white space is no command.
        Some(line) => Some(python::shell_split(line).map_err(Failure::unhandled)?)
            .filter(|words| !words.is_empty())
            .map(Line::Words),
    };
    let words = line.or_else(|| {
        arguments
            .has("argv")
            .then(|| Line::Words(arguments.texts("argv")))
    });
    let mut result = Told::new(match &words {
        None => Value::Null,
        Some(Line::Shell(line)) => line.as_str().into(),
        Some(Line::Words(words)) => words.clone().into(),
    });
    let directory = arguments.filled("chdir").map(str::to_owned);
    if let Some(directory) = &directory {
        let whole = context.path(directory);
        let entered = std::fs::metadata(&whole).and_then(|meta| {
            if meta.is_dir() {
                nix::unistd::access(whole.as_path(), nix::unistd::AccessFlags::X_OK)
                    .map_err(std::io::Error::from)
            } else {
                Err(std::io::Error::from_raw_os_error(libc::ENOTDIR))
            }
        });
        if let Err(error) = entered {
            "Unable to change directory before execution.".clone_into(&mut result.message);
            return Err(result
                .failure()
                .because(python::os_error_at(&error, directory)));
        }
    }
    let would = if context.settings.check {
        "Would"
    } else {
        "Did"
    };
    let base = directory
        .as_deref()
        .map_or_else(|| context.directory(), |directory| context.path(directory));
    if let Some(creates) = arguments.filled("creates")
        && glob::exists(&base, creates)
    {
        result.message = format!("{would} not run command since '{creates}' exists");
        result.stdout = format!("skipped, since {creates} exists");
    }
    if result.message.is_empty()
        && let Some(removes) = arguments.filled("removes")
        && !glob::exists(&base, removes)
    {
        result.message = format!("{would} not run command since '{removes}' does not exist");
        result.stdout = format!("skipped, since {removes} does not exist");
    }
    if !result.message.is_empty() {
        result.code = 0.into();
        return Ok(result.report());
    }
    result.changed = true;
    if context.settings.check {
        result.code = 0.into();
        "Command would have run if not in check mode".clone_into(&mut result.message);
        if !arguments.has("creates") && !arguments.has("removes") {
            result.changed = false;
            result.skipped = true;
        }
        return Ok(result.report());
    }
    let command = match words {
        None => {
            return Err(
                Failure::new("Argument 'args' to run_command must be list or string")
                    .with("rc", 257)
                    .with("cmd", Value::Null),
            );
        }
        Some(Line::Shell(line)) => Command::shell(line),
        Some(Line::Words(words)) if shell => {
            let quoted: Vec<String> = words.iter().map(|word| python::shell_quote(word)).collect();
            Command::shell(quoted.join(" "))
        }
        Some(Line::Words(words)) => Command::new(words),
    };
    let mut command = command.executable(executable.as_deref());
    if let Some(directory) = &directory {
        command = command.directory(directory.as_str());
    }
    if !arguments.flag("expand_argument_vars") {
        command = command.literal();
    }
    if let Some(stdin) = arguments.filled("stdin") {
        command = if arguments.flag("stdin_add_newline") {
            command.text(stdin)
        } else {
            command.data(stdin)
        };
    }
    let start = jiff::Zoned::now().datetime();
    let clock = std::time::Instant::now();
    let done = command.run(context)?;
    let passed = clock.elapsed();
    let end = start
        .checked_add(jiff::SignedDuration::try_from(passed).unwrap_or_default())
        .unwrap_or(start);
    result.code = done.code.into();
    result.stdout = done.out();
    result.stderr = done.err();
    result.start = moment(start).into();
    result.end = moment(end).into();
    result.delta = duration(passed).into();
    if arguments.flag("strip_empty_ends") {
        for text in [&mut result.stdout, &mut result.stderr] {
            let kept = text.trim_end_matches(['\r', '\n']).len();
            text.truncate(kept);
        }
    }
    if done.code != 0 {
        "The command exited with a non-zero return code.".clone_into(&mut result.message);
        return Err(result.failure());
    }
    Ok(result.report())
}

enum Line {
    Shell(String),
    Words(Vec<String>),
}

/// The result, which has all of its keys whatever comes of it.
struct Told {
    changed: bool,
    skipped: bool,
    stdout: String,
    stderr: String,
    code: Value,
    command: Value,
    start: Value,
    end: Value,
    delta: Value,
    message: String,
}

impl Told {
    fn new(command: Value) -> Self {
        Told {
            changed: false,
            skipped: false,
            stdout: String::new(),
            stderr: String::new(),
            code: Value::Null,
            command,
            start: Value::Null,
            end: Value::Null,
            delta: Value::Null,
            message: String::new(),
        }
    }

    fn report(self) -> Report {
        let mut report = Report::from_iter([
            ("changed".to_owned(), json!(self.changed)),
            ("stdout".to_owned(), self.stdout.into()),
            ("stderr".to_owned(), self.stderr.into()),
            ("rc".to_owned(), self.code),
            ("cmd".to_owned(), self.command),
            ("start".to_owned(), self.start),
            ("end".to_owned(), self.end),
            ("delta".to_owned(), self.delta),
            ("msg".to_owned(), self.message.into()),
        ]);
        if self.skipped {
            report.insert("skipped".to_owned(), true.into());
        }
        report
    }

    fn failure(self) -> Failure {
        Failure {
            message: self.message.clone(),
            more: Box::new(self.report()),
            ..Failure::default()
        }
    }
}

/// A time as Python's `str(datetime)`: without a fraction that is nothing.
fn moment(time: jiff::civil::DateTime) -> String {
    let micros = time.subsec_nanosecond() / 1000;
    let text = time.strftime("%Y-%m-%d %H:%M:%S").to_string();
    if micros == 0 {
        text
    } else {
        format!("{text}.{micros:06}")
    }
}

/// A duration as Python's `str(timedelta)`: `0:00:01.002003`.
fn duration(passed: std::time::Duration) -> String {
    let seconds = passed.as_secs();
    let micros = passed.subsec_micros();
    let days = match seconds / 86_400 {
        0 => String::new(),
        1 => "1 day, ".to_owned(),
        days => format!("{days} days, "),
    };
    let text = format!(
        "{days}{}:{:02}:{:02}",
        seconds % 86_400 / 3600,
        seconds % 3600 / 60,
        seconds % 60
    );
    if micros == 0 {
        text
    } else {
        format!("{text}.{micros:06}")
    }
}
