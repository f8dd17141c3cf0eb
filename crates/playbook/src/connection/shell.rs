//! A machine of which only the shell is to be had: each thing is a login and a command of its own.

use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use consort_modules::protocol::PYTHON;
use consort_modules::protocol::becoming::quoted;
use consort_modules::protocol::files::Beside;
use consort_modules::protocol::message::{PackedCall, PackedProgram};
use serde_json::json;

use super::becoming;
use super::helper::shell_path;
use super::process::{self, Ended};
use super::reached::Way;
use super::{Become, Command, ConnectionSettings, Content, Error, Output, Packed};

/// A command as it is told that it is carried out, with the command another user is become by before it.
pub(crate) fn told(settings: &ConnectionSettings, command: &str, user: Option<&Become>) -> String {
    let Some(user) = user else {
        return command.to_owned();
    };
    let ours = becoming::becoming(&Way::Here, settings, user);
    match ours.line(command, "consort") {
        Ok(made) => made.line,
        Err(_) => format!("{} {} {command}", user.method, user.user),
    }
}

/// How a line is run.
#[derive(Clone, Copy, Default)]
struct How<'a> {
    user: Option<&'a Become>,
    /// By the shell of who logs in, where nobody else is become.
    login_shell: bool,
    terminal: bool,
}

/// Runs a line of the shell.
async fn line(
    way: &Way,
    settings: &ConnectionSettings,
    line: &str,
    input: &[u8],
    how: How<'_>,
    timeout: Option<Duration>,
) -> Result<Output, Error> {
    way.prepare(settings).await?;
    let user = how.user;
    let terminal = how.terminal && input.is_empty() && way.has_terminal();
    // whatever shell somebody logs in with, lines are those of the settings' one
    let within = |line: &str| match way {
        Way::Ssh(_) => format!("{} -c {}", settings.shell, quoted(line)),
        Way::Here | Way::Container(_) => line.to_owned(),
    };
    let ended = match user {
        None => {
            let line = if how.login_shell {
                line.to_owned()
            } else {
                within(line)
            };
            let command = way.command(settings, &line, terminal)?;
            match process::run(command, input, timeout).await {
                Ended::Well(output) if output.status == 255 => becoming::Ended::Lost(output),
                Ended::Well(output) => becoming::Ended::Well(output),
                Ended::TimedOut(limit) => becoming::Ended::TimedOut(limit),
                Ended::NotStarted(error) => becoming::Ended::NotStarted(error),
            }
        }
        Some(user) => {
            let key = uuid::Uuid::new_v4().simple().to_string();
            let ours = becoming::becoming(way, settings, user);
            let made = ours.line(line, &key).map_err(Error::failed)?;
            if made.terminal && ours.password.is_some() && !terminal {
                return Err(Error::failed(format!(
                    "No helper can run on {}, and without one no password can be given to {}, which asks at a terminal.",
                    settings.host, user.method
                )));
            }
            let command = way.command(settings, &within(&made.line), terminal)?;
            becoming::run(command, &made, &ours, input, timeout).await
        }
    };
    match (ended, way) {
        (becoming::Ended::Well(mut output), _) => {
            if terminal {
                output.stderr = way.closed().into_bytes();
            }
            Ok(output)
        }
        (becoming::Ended::Lost(output), Way::Ssh(ssh)) => {
            let said = String::from_utf8_lossy(&output.stderr);
            Err(ssh.lost(Some(output.status), &said))
        }
        (becoming::Ended::Lost(output), _) => Ok(output),
        (becoming::Ended::TimedOut(limit), _) => Err(Error::TimedOut(limit)),
        (becoming::Ended::NotStarted(error), Way::Ssh(ssh)) => Err(ssh.not_started(&error)),
        (becoming::Ended::NotStarted(error), _) => Err(Error::Unreachable(error.to_string())),
        (becoming::Ended::NotBecome(refused), _) => Err(match user {
            Some(user) => becoming::refused(way, settings, user, &refused),
            None => Error::failed(refused.message()),
        }),
    }
}

/// The same, where a status that is not zero is a failure.
async fn done(
    way: &Way,
    settings: &ConnectionSettings,
    text: &str,
    input: &[u8],
    user: Option<&Become>,
) -> Result<Output, Error> {
    let how = How {
        user,
        ..How::default()
    };
    let output = line(way, settings, text, input, how, None).await?;
    if output.status == 0 {
        return Ok(output);
    }
    Err(Error::failed(format!(
        "{} (status {})",
        String::from_utf8_lossy(&output.stderr).trim(),
        output.status
    )))
}

/// Runs a command.
pub(super) async fn command(
    way: &Way,
    settings: &ConnectionSettings,
    command: &Command,
    user: Option<&Become>,
    timeout: Option<Duration>,
) -> Result<Output, Error> {
    let mut text = String::new();
    if let Some(directory) = &command.directory {
        text.push_str(&format!("cd {} && ", shell_path(directory)));
    }
    for (name, value) in &command.environment {
        text.push_str(&format!("export {name}={}; ", quoted(value)));
    }
    text.push_str(&command.line);
    let how = How {
        user,
        login_shell: command.login_shell,
        terminal: command.terminal,
    };
    line(way, settings, &text, &command.input, how, timeout).await
}

/// Writes a file, whole or not at all.
pub(super) async fn put(
    way: &Way,
    settings: &ConnectionSettings,
    content: Content<'_>,
    path: &str,
    mode: u32,
    user: Option<&Become>,
) -> Result<(), Error> {
    let read;
    let bytes = match content {
        Content::Bytes(bytes) => bytes,
        Content::File(from) => {
            read = tokio::fs::read(from).await.map_err(|error| {
                Error::failed(format!("cannot read {}: {error}", from.display()))
            })?;
            &read
        }
    };
    let to = shell_path(path);
    let text = format!(
        "umask 077; F={to}; T=\"$F.ansible-$$\"; cat >\"$T\" && [ $(wc -c <\"$T\") = {} ] && chmod {mode:o} \"$T\" && mv -f \"$T\" \"$F\" || {{ R=$?; rm -f \"$T\"; exit $R; }}",
        bytes.len()
    );
    match done(way, settings, &text, bytes, user).await {
        Ok(_) => Ok(()),
        Err(Error::Failed { message, more }) => Err(Error::Failed {
            message: format!("Failed to transfer file to {path}: {message}"),
            more,
        }),
        Err(other) => Err(other),
    }
}

/// Reads a file.
pub(super) async fn fetch(
    way: &Way,
    settings: &ConnectionSettings,
    path: &str,
    to: &Path,
    user: Option<&Become>,
) -> Result<(), Error> {
    let output = done(
        way,
        settings,
        &format!("cat <{}", shell_path(path)),
        b"",
        user,
    )
    .await?;
    let target = to.to_owned();
    let written = tokio::task::spawn_blocking(move || {
        use std::io::Write;
        let mut beside = Beside::begin(&target)?;
        beside.write_all(&output.stdout)?;
        beside.keep(process::usual_mode())
    })
    .await
    .map_err(|error| Error::failed(error.to_string()))?;
    written.map_err(|error| Error::not_transferred(to, &error))
}

/// Makes a directory for a task's files.
pub(super) async fn temporary(
    way: &Way,
    settings: &ConnectionSettings,
    user: Option<&Become>,
) -> Result<String, Error> {
    let name = format!("ansible-tmp-{}", uuid::Uuid::new_v4().simple());
    let text = format!(
        "umask 077; for D in {} /var/tmp /tmp; do mkdir -p \"$D\" 2>/dev/null && mkdir \"$D/{name}\" && cd \"$D/{name}\" && pwd && exit 0; done; exit 1",
        shell_path(&settings.remote_tmp)
    );
    let how = How {
        user,
        ..How::default()
    };
    let output = line(way, settings, &text, b"", how, None).await?;
    let said = String::from_utf8_lossy(&output.stdout);
    match said.lines().last().map(str::trim) {
        Some(path) if path.ends_with(&name) && output.status == 0 => Ok(path.to_owned()),
        _ => {
            let mut why = format!("exited with result {}", output.status);
            let complained = String::from_utf8_lossy(&output.stderr);
            for (what, said) in [("stdout", said), ("stderr", complained)] {
                if !said.trim().is_empty() {
                    why.push_str(&format!(", {what} output: {}", said.trim_end()));
                }
            }
            Err(Error::no_temporary(&settings.remote_tmp, &why))
        }
    }
}

/// Removes a file or a directory.
pub(super) async fn remove(
    way: &Way,
    settings: &ConnectionSettings,
    path: &str,
    user: Option<&Become>,
) -> Result<(), Error> {
    let text = format!("rm -rf {}", shell_path(path));
    done(way, settings, &text, b"", user).await.map(drop)
}

/// Runs a packed module.
pub(super) async fn packed(
    way: &Way,
    settings: &ConnectionSettings,
    module: &Packed,
    call: &PackedCall,
    user: Option<&Become>,
    timeout: Option<Duration>,
) -> Result<Output, Error> {
    let task = temporary(way, settings, user).await?;
    let run = async {
        let package = format!("{task}/{}", module.digest);
        put(
            way,
            settings,
            Content::Bytes(&module.content),
            &package,
            0o700,
            user,
        )
        .await?;
        let mut text = String::new();
        for (name, value) in &call.environment {
            text.push_str(&format!("export {name}={}; ", quoted(value)));
        }
        let mut input: &[u8] = b"";
        match &call.kind {
            PackedProgram::Python {
                module,
                interpreter,
                open_files,
                ..
            } => {
                let order = json!({
                    "name": call.name,
                    "module": module,
                    "package": package,
                    "directory": (!call.directory.is_empty()).then_some(&call.directory),
                    "open_files": open_files,
                });
                let words: Vec<String> = interpreter.iter().map(|word| quoted(word)).collect();
                text.push_str(&format!(
                    "{} -c {} once {}",
                    words.join(" "),
                    quoted(&one_line(PYTHON)),
                    quoted(&order.to_string())
                ));
                input = call.arguments.as_bytes();
            }
            PackedProgram::Program { interpreter, file } => {
                let mut words: Vec<String> = interpreter.iter().map(|word| quoted(word)).collect();
                words.push(quoted(&package));
                if *file {
                    let arguments = format!("{task}/args");
                    let content = Content::Bytes(call.arguments.as_bytes());
                    put(way, settings, content, &arguments, 0o600, user).await?;
                    words.push(quoted(&arguments));
                }
                if !call.directory.is_empty() {
                    text.push_str(&format!("cd {} && ", shell_path(&call.directory)));
                }
                text.push_str(&words.join(" "));
            }
        }
        let how = How {
            user,
            ..How::default()
        };
        line(way, settings, &text, input, how, timeout).await
    };
    let output = run.await;
    // what is left behind there is only a package
    let _ = remove(way, settings, &task, user).await;
    output
}

/// A script of Python as one line, which any shell takes as it is.
fn one_line(script: &str) -> String {
    let packed = base64::engine::general_purpose::STANDARD.encode(script);
    format!("import base64;exec(compile(base64.b64decode(\"{packed}\"),\"<once>\",\"exec\"))")
}
