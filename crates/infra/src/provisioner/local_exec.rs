//! `local-exec`: a command on this machine.

use std::collections::VecDeque;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{ExitStatus, Stdio};

use consort_hcl::{Diagnostic, Value, quote};
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe;
use tokio::process::Command;

use super::lines::{Lines, PATIENCE};
use super::{given, is_empty, placed, text};
use crate::engine::Provision;

/// How much of its output an error shows: the end of it.
const SHOWN: usize = 8 * 1024;

const EMPTY: &str = "The command must be a non-empty string.";

pub(super) fn check(config: &Value) -> Vec<Diagnostic> {
    if is_empty(config, "command") {
        vec![Diagnostic::error(
            "Invalid local-exec provisioner command",
            EMPTY,
        )]
    } else {
        Vec::new()
    }
}

fn strings(config: &Value, name: &str) -> Vec<String> {
    given(config, name)
        .and_then(|value| {
            let parts = value.as_sequence()?;
            Some(
                parts
                    .iter()
                    .filter_map(|part| part.as_str().map(str::to_owned))
                    .collect(),
            )
        })
        .unwrap_or_default()
}

pub(super) async fn run(provision: &Provision<'_>) -> Result<(), String> {
    let config = &provision.config;
    let command = text(config, "command").unwrap_or_default();
    if command.is_empty() {
        return Err(EMPTY.to_owned());
    }
    let mut words = strings(config, "interpreter");
    if words.is_empty() {
        words = vec!["/bin/sh".to_owned(), "-c".to_owned()];
    }
    words.push(command.clone());
    let quiet = given(config, "quiet").is_some_and(|value| value.as_bool() == Some(true));
    if quiet {
        (provision.output)("local-exec: Executing: Suppressed by quiet=true");
    } else {
        let shown: Vec<String> = words.iter().map(|word| quote(word)).collect();
        (provision.output)(&format!("Executing: [{}]", shown.join(" ")));
    }
    let mut process = Command::new(&words[0]);
    process
        .args(&words[1..])
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let directory = text(config, "working_dir").filter(|text| !text.is_empty());
    match (&directory, provision.directory) {
        (Some(directory), _) => {
            process.current_dir(placed(provision, directory));
        }
        (None, Some(base)) => {
            process.current_dir(base);
        }
        (None, None) => {}
    }
    if let Some(environment) = given(config, "environment")
        && let Some(entries) = environment.as_keyed()
    {
        for (name, value) in entries {
            if let Some(value) = value.as_str() {
                process.env(&**name, value);
            }
        }
    }
    let failed = |why: &str, said: &str| {
        if provision.hidden {
            format!(
                "Error running command '(sensitive)': {why}. Output: (output suppressed due to sensitive value \
                 in config)"
            )
        } else {
            format!("Error running command '{command}': {why}. Output: {said}")
        }
    };
    // One pipe for both streams, so that lines come in the order they were said.
    let mut reader = piped(&mut process).map_err(|error| {
        failed(
            &format!("Failed to initialize pipe for output: {error}"),
            "",
        )
    })?;
    let spawned = process.spawn();
    // Our end for writing must not keep the pipe open.
    drop(process);
    let mut child = spawned
        .map_err(|error| failed(&unstartable(&words[0], directory.as_deref(), &error), ""))?;
    let mut lines = Lines::default();
    let mut kept: VecDeque<u8> = VecDeque::new();
    let mut part = vec![0; 16 * 1024];
    let mut status = None;
    loop {
        tokio::select! {
            read = reader.read(&mut part) => match read {
                Ok(0) | Err(_) => break,
                Ok(count) => {
                    lines.add(&part[..count], |line| (provision.output)(line));
                    kept.extend(&part[..count]);
                    let over = kept.len().saturating_sub(SHOWN);
                    kept.drain(..over);
                }
            },
            () = tokio::time::sleep(PATIENCE), if lines.has_begun() => {
                lines.flush(|line| (provision.output)(line));
            }
            () = provision.cancel.cancelled(), if status.is_none() => {
                // Whoever else still holds the pipe is not waited for.
                let _ = child.start_kill();
                status = Some(child.wait().await);
                break;
            }
        }
    }
    lines.flush(|line| (provision.output)(line));
    let status = match status {
        Some(status) => status,
        None => tokio::select! {
            status = child.wait() => status,
            () = provision.cancel.cancelled() => {
                let _ = child.start_kill();
                child.wait().await
            }
        },
    };
    let said = String::from_utf8_lossy(kept.make_contiguous()).into_owned();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(failed(&ended(status), &said)),
        Err(error) => Err(failed(&error.to_string(), &said)),
    }
}

/// Lets a program write both of its streams to one pipe.
fn piped(process: &mut Command) -> std::io::Result<pipe::Receiver> {
    let (reader, writer) = std::io::pipe()?;
    process.stderr(writer.try_clone()?).stdout(writer);
    pipe::Receiver::from_owned_fd(reader.into())
}

/// Why a program could not be started, as Go says it.
fn unstartable(program: &str, directory: Option<&str>, error: &std::io::Error) -> String {
    let text = error.to_string();
    let why = text
        .split(" (os error")
        .next()
        .unwrap_or_default()
        .to_lowercase();
    if let Some(directory) = directory
        && !Path::new(directory).is_dir()
    {
        return format!("chdir {directory}: {why}");
    }
    if !program.contains('/') && error.kind() == std::io::ErrorKind::NotFound {
        return format!(
            "exec: {}: executable file not found in $PATH",
            quote(program)
        );
    }
    format!("fork/exec {program}: {why}")
}

/// How a program ended, as Go says it.
fn ended(status: ExitStatus) -> String {
    let Some(signal) = status.signal() else {
        return format!("exit status {}", status.code().unwrap_or(-1));
    };
    let name = match signal {
        1 => "hangup",
        2 => "interrupt",
        3 => "quit",
        4 => "illegal instruction",
        6 => "aborted",
        8 => "floating point exception",
        9 => "killed",
        10 => "user defined signal 1",
        11 => "segmentation fault",
        12 => "user defined signal 2",
        13 => "broken pipe",
        14 => "alarm clock",
        15 => "terminated",
        _ => return format!("signal: {signal}"),
    };
    let core = if status.core_dumped() {
        " (core dumped)"
    } else {
        ""
    };
    format!("signal: {name}{core}")
}
