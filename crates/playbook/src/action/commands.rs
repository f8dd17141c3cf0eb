//! Actions that run commands: `command`, `shell`, `raw`, `script`.

use consort_jinja::{Dict, repr};
use consort_modules::arguments::{Spec, raw, text};
use consort_modules::python::{shell_quote, shell_split};

use super::given::{Given, checked, copied, dict, set};
use super::machine::{Source, Temporary, exists, shell, told};
use super::{Action, Failed, Failure, Outcome, Traits};
use crate::connection::{Call, Command as Line};
use crate::executor::{Attempt, ModuleCall};
use crate::source::Located;

/// `command`: a program, without a shell.
pub(super) struct Command;

impl Action for Command {
    fn run<'a>(&'a self, attempt: &'a Attempt<'a>, arguments: Dict) -> Call<'a, Outcome> {
        Box::pin(command(attempt, arguments))
    }

    fn traits(&self) -> Traits {
        Traits {
            background: true,
            free_text: true,
            ..Traits::default()
        }
    }
}

async fn command(attempt: &Attempt<'_>, arguments: Dict) -> Outcome {
    let call = ModuleCall {
        background: attempt.background.is_some(),
        ..ModuleCall::default()
    };
    attempt
        .module_with("ansible.legacy.command", arguments, call)
        .await
}

/// `shell`: a line in a shell.
pub(super) struct Shell;

impl Action for Shell {
    fn run<'a>(&'a self, attempt: &'a Attempt<'a>, arguments: Dict) -> Call<'a, Outcome> {
        Box::pin(async move {
            if arguments.get("expand_argument_vars").is_some() {
                return Err(Failure::new(
                    "Unsupported parameters for (shell) module: expand_argument_vars",
                ));
            }
            let arguments = copied(&arguments);
            set(&arguments, "_uses_shell", true);
            command(attempt, arguments).await
        })
    }

    fn traits(&self) -> Traits {
        Command.traits()
    }
}

/// `raw`: a line for the machine's shell, without any module.
pub(super) struct Raw;

impl Action for Raw {
    fn run<'a>(&'a self, attempt: &'a Attempt<'a>, arguments: Dict) -> Call<'a, Outcome> {
        Box::pin(run_raw(attempt, arguments))
    }

    fn traits(&self) -> Traits {
        Traits {
            free_text: true,
            ..Traits::default()
        }
    }
}

async fn run_raw(attempt: &Attempt<'_>, arguments: Dict) -> Outcome {
    if !attempt.module_settings.environment.is_empty() {
        attempt.warn("raw module does not support the environment keyword");
    }
    if attempt.check {
        return Ok(dict([("skipped", true.into())]));
    }
    let given = Given(&arguments);
    let line = given.text("_raw_params").unwrap_or_default();
    let executable = given.text("executable").filter(|text| !text.is_empty());
    let command = Line {
        line: match &executable {
            Some(executable) => format!("{executable} -c {}", shell_quote(&line)),
            None => line,
        },
        login_shell: executable.is_none(),
        terminal: true,
        ..Line::default()
    };
    let user = attempt.user()?;
    let output = shell(attempt, command, user).await?;
    let result = told(&output);
    set(&result, "changed", true);
    refuse(&result, output.status);
    Ok(result)
}

/// Says that a command failed, if it did.
fn refuse(result: &Dict, status: i32) {
    if status != 0 {
        set(result, "failed", true);
        set(result, "msg", "non-zero return code");
    }
}

/// `script`: a program of the controller, run on the machine.
pub(super) struct Script;

impl Action for Script {
    fn run<'a>(&'a self, attempt: &'a Attempt<'a>, arguments: Dict) -> Call<'a, Outcome> {
        Box::pin(async move {
            let temporary = Temporary::of(attempt);
            let outcome = script(attempt, &temporary, &arguments).await;
            temporary.remove().await;
            outcome
        })
    }

    fn traits(&self) -> Traits {
        Traits {
            free_text: true,
            ..Traits::default()
        }
    }
}

async fn script(attempt: &Attempt<'_>, temporary: &Temporary<'_>, arguments: &Dict) -> Outcome {
    let spec = Spec::new()
        .with("_raw_params", raw())
        .with("cmd", text())
        .with("creates", text())
        .with("removes", text())
        .with("chdir", text())
        .with("executable", text())
        .required_one_of(&["_raw_params", "cmd"])
        .mutually_exclusive(&["_raw_params", "cmd"]);
    let given = checked(attempt.name, &spec, arguments)?;
    let creates = given.filled("creates");
    if let Some(path) = creates
        && exists(attempt, path).await?
    {
        return Err(Failure::skipped(format!(
            "{path} exists, matching creates option"
        )));
    }
    let removes = given.filled("removes");
    if let Some(path) = removes
        && !exists(attempt, path).await?
    {
        return Err(Failure::skipped(format!(
            "{path} does not exist, matching removes option"
        )));
    }
    let directory = given.filled("chdir");
    if let Some(directory) = directory
        && !directory.starts_with('/')
    {
        return Err(Failure::new(format!(
            "chdir {directory} must be an absolute path for a Unix-aware remote node"
        )));
    }
    let line = arguments
        .get("_raw_params")
        .filter(|value| value.truth().unwrap_or(false))
        .or_else(|| arguments.get("cmd"))
        .map(|value| repr::text(&value))
        .unwrap_or_default();
    let line = line.trim();
    let parts = shell_split(line).map_err(Failure::error)?;
    let Some(first) = parts.first() else {
        return Err(Failure::error("list index out of range"));
    };
    let source = match attempt.find_file("files", first) {
        Ok(path) => Source::file(attempt, &path, true).await,
        Err(error) => Err(error),
    }
    .map_err(reworded)?;
    if attempt.check {
        if creates.is_some() || removes.is_some() {
            return Ok(dict([("changed", true.into())]));
        }
        return Err(Failure::Skipped {
            message: "Check mode is not supported for this task.".to_owned(),
            result: dict([("changed", false.into())]),
        });
    }
    let name = source
        .path
        .file_name()
        .map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let path = temporary.put(source.content(), &name, 0o700).await?;
    let target = line.replace(first.as_str(), &path);
    let line = match given.filled("executable") {
        Some(executable) => format!("{executable} {target}"),
        None => target,
    };
    let command = Line {
        line,
        environment: attempt.module_settings.environment.clone(),
        directory: directory.map(str::to_owned),
        terminal: true,
        ..Line::default()
    };
    let user = attempt.user()?;
    let output = shell(attempt, command, user).await?;
    let result = told(&output);
    set(&result, "changed", true);
    refuse(&result, output.status);
    Ok(result)
}

/// A file that was not found, told as the action's own refusal.
pub(super) fn reworded(failure: Failure) -> Failure {
    match failure {
        Failure::Failed(failed) if !failed.is_message => Failure::Failed(Box::new(Failed {
            error: Located::new(failed.error.brief()).handling(),
            result: failed.result,
            is_message: true,
        })),
        other => other,
    }
}
