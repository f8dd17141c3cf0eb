//! Carrying out one request.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::mpsc::Receiver;

use super::files::{self, Beside};
use super::frame::{BODY, Kind};
use super::message::{Answer, PackedCall, Request};
use super::processes::{self, Cancel};
use super::program::Program;
use super::serve::{LARGEST, Piece, Shared, close, open};
use super::terminal::Terminal;
use super::{cache, job, packed, place};
use crate::invocation::{Failure, Invocation, Report};

/// Carries out one request.
pub(super) fn work(
    shared: &Arc<Shared>,
    request: u32,
    asked: Request,
    pieces: &Receiver<Piece>,
    cancel: &Cancel,
) -> Answer {
    let result = match asked {
        Request::Module {
            invocation,
            apart: false,
        } => {
            let mut report = module(&invocation, Some(&cancel.module));
            place::warn(&invocation.settings, &mut report);
            Ok(Answer::Report(report))
        }
        Request::Module {
            invocation,
            apart: true,
        } => apart(&shared.program, &invocation, cancel).map(|mut report| {
            place::warn(&invocation.settings, &mut report);
            Answer::Report(report)
        }),
        Request::Packed(call) => run_packed(shared, request, &call, cancel),
        Request::Start { job, work } => {
            job::start(&shared.program, &job, &work).map(Answer::Report)
        }
        Request::Keeps { digest, remote_tmp } => Ok(match cache::find(&digest, &remote_tmp) {
            Some(path) => Answer::Path(path.to_string_lossy().into_owned()),
            None => Answer::Missing,
        }),
        Request::Keep {
            digest,
            remote_tmp,
            program,
        } => keep(&digest, &remote_tmp, program, pieces).map_err(|error| error.to_string()),
        Request::Command {
            arguments,
            environment,
            directory,
            terminal,
        } => given(pieces).and_then(|input| {
            let line = Line {
                arguments,
                environment,
                directory,
                terminal,
                input,
            };
            command(shared, request, &line, cancel)
        }),
        Request::Put { path, mode } => receive(Beside::begin(&files::expand(&path)), mode, pieces)
            .map_err(|error| error.to_string()),
        Request::Fetch { path } => {
            fetch(shared, request, &files::expand(&path), cancel).map_err(|error| error.to_string())
        }
        Request::Temporary { base } => files::temporary(&base)
            .map(|path| Answer::Path(path.to_string_lossy().into_owned()))
            .map_err(|error| error.to_string()),
        Request::Remove { path } => files::remove(&files::expand(&path))
            .map(|()| Answer::Done)
            .map_err(|error| error.to_string()),
        Request::Close { lane } => {
            close(shared, lane);
            Ok(Answer::Done)
        }
        Request::Open { lane, becoming } => open(shared, lane, &becoming),
    };
    result.unwrap_or_else(Answer::Failed)
}

/// Runs a native module in this process.
pub(super) fn module(invocation: &Invocation, cancel: Option<&crate::Cancel>) -> Report {
    match crate::registry::find(&invocation.module) {
        Some(module) => module.run_until(invocation, cancel.cloned()),
        None => Failure::new(format!(
            "There is no native module `{}`.",
            invocation.module
        ))
        .into_report(),
    }
}

/// Runs a native module in a process of its own.
fn apart(program: &Program, invocation: &Invocation, cancel: &Cancel) -> Result<Report, String> {
    let input = serde_json::to_vec(invocation).map_err(|error| error.to_string())?;
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let status = processes::run(
        &mut program.command("one"),
        &input,
        cancel,
        |bytes| out.extend_from_slice(bytes),
        |bytes| err.extend_from_slice(bytes),
    )
    .map_err(|error| format!("{}: {error}", program.path.display()))?;
    serde_json::from_slice(&out).map_err(|_| {
        format!(
            "The module broke off (status {status}): {}",
            String::from_utf8_lossy(&err).trim()
        )
    })
}

/// Runs a packed module.
fn run_packed(
    shared: &Shared,
    request: u32,
    call: &PackedCall,
    cancel: &Cancel,
) -> Result<Answer, String> {
    let Some(path) = cache::find(&call.digest, &call.remote_tmp) else {
        return Ok(Answer::Missing);
    };
    let status = packed::run(
        Some(&shared.servers),
        call,
        &path,
        cancel,
        |bytes| shared.stream(request, Kind::Stdout, bytes),
        |bytes| shared.stream(request, Kind::Stderr, bytes),
    )
    .map_err(|error| error.to_string())?;
    Ok(Answer::Ended { status })
}

/// Takes what a file is to hold, and puts it in its place.
fn receive(beside: io::Result<Beside>, mode: u32, pieces: &Receiver<Piece>) -> io::Result<Answer> {
    // what cannot be written is still read, so that the controller can go on
    let mut beside = beside;
    let mut complete = false;
    for piece in pieces {
        let Some(piece) = piece else {
            complete = true;
            break;
        };
        if let Ok(file) = &mut beside
            && let Err(error) = file.write_all(&piece)
        {
            beside = Err(error);
        }
    }
    if !complete {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    beside?.keep(mode)?;
    Ok(Answer::Done)
}

/// Takes a package and keeps it.
fn keep(
    digest: &str,
    remote_tmp: &str,
    program: bool,
    pieces: &Receiver<Piece>,
) -> io::Result<Answer> {
    let path = cache::place(digest, remote_tmp);
    let beside = path.as_deref().map_or_else(
        |error| Err(io::Error::new(error.kind(), error.to_string())),
        Beside::begin,
    );
    receive(beside, if program { 0o700 } else { 0o600 }, pieces)?;
    Ok(Answer::Path(path?.to_string_lossy().into_owned()))
}

/// Sends what a file holds.
fn fetch(shared: &Shared, request: u32, path: &Path, cancel: &Cancel) -> io::Result<Answer> {
    let mut file = File::open(path)?;
    if file.metadata()?.is_dir() {
        return Err(io::Error::from_raw_os_error(libc::EISDIR));
    }
    let mut chunk = vec![0; BODY];
    loop {
        let length = file.read(&mut chunk)?;
        if length == 0 || cancel.cancelled() {
            shared.stream(request, Kind::DataEnd, &[]);
            return Ok(Answer::Done);
        }
        shared.stream(request, Kind::Data, &chunk[..length]);
    }
}

/// A command.
struct Line {
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    directory: Option<String>,
    terminal: bool,
    input: Vec<u8>,
}

/// All that a command is given to read.
fn given(pieces: &Receiver<Piece>) -> Result<Vec<u8>, String> {
    let mut input = Vec::new();
    for piece in pieces {
        let Some(piece) = piece else { break };
        if input.len() + piece.len() > LARGEST {
            return Err("the command is given too much to read".to_owned());
        }
        input.extend_from_slice(&piece);
    }
    Ok(input)
}

/// Runs a command.
fn command(shared: &Shared, request: u32, line: &Line, cancel: &Cancel) -> Result<Answer, String> {
    let (program, rest) = line.arguments.split_first().ok_or("no command")?;
    let directory = line.directory.as_deref().map(files::expand);
    let begin = |command: &mut Command| {
        command.envs(line.environment.iter().map(|(name, value)| (name, value)));
        if let Some(directory) = &directory {
            command.current_dir(directory);
        }
    };
    // a machine that has no terminals runs it without one
    if line.terminal
        && let Ok(mut at) = Terminal::open()
    {
        let mut command = at.command(&shared.program, &line.arguments);
        begin(&mut command);
        let status = at
            .run(command, cancel, |bytes| {
                shared.stream(request, Kind::Stdout, bytes);
            })
            .map_err(|error| format!("{program}: {error}"))?;
        return Ok(Answer::Ended { status });
    }
    let mut command = Command::new(program);
    command.args(rest);
    begin(&mut command);
    let status = processes::run(
        &mut command,
        &line.input,
        cancel,
        |bytes| shared.stream(request, Kind::Stdout, bytes),
        |bytes| shared.stream(request, Kind::Stderr, bytes),
    )
    .map_err(|error| format!("{program}: {error}"))?;
    Ok(Answer::Ended { status })
}
