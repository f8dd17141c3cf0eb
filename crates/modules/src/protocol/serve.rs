//! The side of the machine: reads requests, carries them out, several at a time, and answers.
//!
//! When its input ends while something is still being done, whoever asked is gone: all that was started is ended, and
//! files that were being written are taken away.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::process::{Child, ChildStdin, Command};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use nix::unistd::{User, geteuid};

use super::becoming::Becoming;
use super::files::{self, Beside};
use super::frame::{BODY, Frame, Kind};
use super::message::{Answer, Hello, PackedCall, Request, VERSION};
use super::processes::{self, Cancel};
use super::program::Program;
use super::python::Servers;
use super::{cache, job, packed, switch};
use crate::invocation::{Failure, Invocation, Report};

/// How many requests may be worked on at a time.
const AT_ONCE: usize = 256;

/// How much a request, or what a command reads, may be.
const LARGEST: usize = 512 * 1024 * 1024;

/// How long helpers of other users may take to end what they do.
const GRACE: Duration = Duration::from_secs(2);

/// Pieces of data on their way to who works on a request; none at the end.
type Piece = Option<Vec<u8>>;

/// What the helper knows of a request.
struct Work {
    pieces: Option<SyncSender<Piece>>,
    cancel: Arc<Cancel>,
}

/// A helper that is another user.
struct Lane {
    child: Child,
    input: ChildStdin,
    copied: Option<switch::Copied>,
}

/// What all requests share.
pub(super) struct Shared {
    output: Mutex<Box<dyn Write + Send>>,
    works: Mutex<HashMap<u32, Work>>,
    lanes: Mutex<HashMap<u32, Lane>>,
    pub(super) servers: Servers,
    pub(super) program: Program,
}

impl Shared {
    fn send(&self, lane: u32, request: u32, kinds: (Kind, Kind), body: &[u8]) -> io::Result<()> {
        let mut output = self
            .output
            .lock()
            .map_err(|_| io::Error::other("the output is lost"))?;
        Frame::write_all(&mut *output, lane, request, kinds, body)
    }

    fn stream(&self, request: u32, kind: Kind, bytes: &[u8]) {
        // nobody reads any more: the input ends too, and all with it
        let _ = self.send(0, request, (kind, kind), bytes);
    }

    fn answer(&self, request: u32, answer: &Answer) {
        let body = serde_json::to_vec(answer).unwrap_or_else(|_| b"\"Done\"".to_vec());
        let _ = self.send(0, request, (Kind::AnswerPart, Kind::Answer), &body);
    }
}

/// Works until the input ends.
///
/// # Errors
/// What comes is not what a controller says.
pub fn serve(
    mut input: impl Read,
    output: impl Write + Send + 'static,
    program: Program,
) -> io::Result<()> {
    let shared = Arc::new(Shared {
        output: Mutex::new(Box::new(output)),
        works: Mutex::default(),
        lanes: Mutex::default(),
        servers: Servers::default(),
        program,
    });
    let hello = serde_json::to_vec(&hello())?;
    shared.send(0, 0, (Kind::Hello, Kind::Hello), &hello)?;
    let ended = read(&mut input, &shared);
    end(&shared);
    ended
}

/// Who this is.
fn hello() -> Hello {
    let uid = geteuid();
    let user = User::from_uid(uid).ok().flatten();
    Hello {
        version: VERSION,
        process: std::process::id(),
        uid: uid.as_raw(),
        home: user
            .as_ref()
            .map(|user| user.dir.to_string_lossy().into_owned())
            .unwrap_or_default(),
        user: user.map_or_else(|| uid.to_string(), |user| user.name),
    }
}

/// Reads frames and hands them on until there are no more.
fn read(input: &mut impl Read, shared: &Arc<Shared>) -> io::Result<()> {
    let mut begun: HashMap<u32, Vec<u8>> = HashMap::new();
    while let Some(frame) = Frame::read(input)? {
        if frame.lane != 0 {
            pass_on(shared, &frame);
            continue;
        }
        match frame.kind {
            Kind::AskPart => {
                let part = begun.entry(frame.request).or_default();
                if part.len() + frame.body.len() > LARGEST {
                    return Err(io::Error::new(
                        io::ErrorKind::InvalidData,
                        "too much is asked",
                    ));
                }
                part.extend_from_slice(&frame.body);
            }
            Kind::Ask => {
                let body = match begun.remove(&frame.request) {
                    Some(mut part) => {
                        part.extend_from_slice(&frame.body);
                        part
                    }
                    None => frame.body,
                };
                begin(shared, frame.request, &body);
            }
            Kind::Data | Kind::DataEnd => {
                let to = shared
                    .works
                    .lock()
                    .ok()
                    .and_then(|works| works.get(&frame.request)?.pieces.clone());
                if let Some(to) = to {
                    // who has given up does not read the rest
                    let _ = to.send((frame.kind == Kind::Data).then_some(frame.body));
                }
            }
            Kind::Cancel => {
                let cancel = shared
                    .works
                    .lock()
                    .ok()
                    .and_then(|works| Some(Arc::clone(&works.get(&frame.request)?.cancel)));
                if let Some(cancel) = cancel {
                    cancel.cancel();
                }
            }
            _ => {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "not for a helper",
                ));
            }
        }
    }
    Ok(())
}

/// Gives a frame to the helper behind this one that it is for.
fn pass_on(shared: &Arc<Shared>, frame: &Frame) {
    let Ok(mut lanes) = shared.lanes.lock() else {
        return;
    };
    if let Some(lane) = lanes.get_mut(&frame.lane) {
        // a helper that is gone is told of by who reads its output
        let _ = Frame::write_all(
            &mut lane.input,
            0,
            frame.request,
            (frame.kind, frame.kind),
            &frame.body,
        );
    }
}

/// Begins the work on a request, on a thread of its own.
fn begin(shared: &Arc<Shared>, request: u32, body: &[u8]) {
    let asked: Request = match serde_json::from_slice(body) {
        Ok(asked) => asked,
        Err(error) => {
            shared.answer(request, &Answer::Failed(format!("not understood: {error}")));
            return;
        }
    };
    let reads = matches!(
        asked,
        Request::Command { .. } | Request::Put { .. } | Request::Keep { .. }
    );
    let (to, from) = sync_channel(8);
    let cancel = Arc::new(Cancel::default());
    if let Ok(mut works) = shared.works.lock() {
        if works.len() >= AT_ONCE {
            drop(works);
            shared.answer(request, &Answer::Failed("too much at once".to_owned()));
            return;
        }
        works.insert(
            request,
            Work {
                pieces: reads.then_some(to),
                cancel: Arc::clone(&cancel),
            },
        );
    }
    let worker = Arc::clone(shared);
    let started = thread::Builder::new()
        .name("request".to_owned())
        .spawn(move || {
            let done = std::panic::catch_unwind(AssertUnwindSafe(|| {
                work(&worker, request, asked, &from, &cancel)
            }));
            let answer = match done {
                Ok(_) if cancel.cancelled() => Answer::Cancelled,
                Ok(answer) => answer,
                Err(panic) => Answer::Failed(format!("The module broke off: {}", said(&*panic))),
            };
            if let Ok(mut works) = worker.works.lock() {
                works.remove(&request);
            }
            worker.answer(request, &answer);
        });
    if let Err(error) = started {
        if let Ok(mut works) = shared.works.lock() {
            works.remove(&request);
        }
        shared.answer(request, &Answer::Failed(format!("no thread: {error}")));
    }
}

/// What a panic says.
pub(super) fn said(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("it gave no reason")
}

/// Carries out one request.
fn work(
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
        } => Ok(Answer::Report(module(&invocation, Some(&cancel.module)))),
        Request::Module {
            invocation,
            apart: true,
        } => apart(&shared.program, &invocation, cancel).map(Answer::Report),
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
        } => command(
            shared,
            request,
            &arguments,
            environment,
            directory,
            pieces,
            cancel,
        ),
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

/// Runs a command.
fn command(
    shared: &Shared,
    request: u32,
    arguments: &[String],
    environment: Vec<(String, String)>,
    directory: Option<String>,
    pieces: &Receiver<Piece>,
    cancel: &Cancel,
) -> Result<Answer, String> {
    let mut input = Vec::new();
    for piece in pieces {
        let Some(piece) = piece else { break };
        if input.len() + piece.len() > LARGEST {
            return Err("the command is given too much to read".to_owned());
        }
        input.extend_from_slice(&piece);
    }
    let (program, rest) = arguments.split_first().ok_or("no command")?;
    let mut command = Command::new(program);
    command.args(rest).envs(environment);
    if let Some(directory) = directory {
        command.current_dir(files::expand(&directory));
    }
    let status = processes::run(
        &mut command,
        &input,
        cancel,
        |bytes| shared.stream(request, Kind::Stdout, bytes),
        |bytes| shared.stream(request, Kind::Stderr, bytes),
    )
    .map_err(|error| format!("{program}: {error}"))?;
    Ok(Answer::Ended { status })
}

/// Opens a lane to a helper that is another user.
fn open(shared: &Arc<Shared>, number: u32, becoming: &Becoming) -> Result<Answer, String> {
    let program =
        switch::reachable(&shared.program, becoming).map_err(|error| error.to_string())?;
    let opened = match switch::open(program, &shared.program, becoming)? {
        Ok(opened) => opened,
        Err(refused) => return Ok(Answer::NotBecome(refused)),
    };
    let reader = Arc::clone(shared);
    let mut output = opened.output;
    if let Ok(mut lanes) = shared.lanes.lock() {
        lanes.insert(
            number,
            Lane {
                child: opened.child,
                input: opened.input,
                copied: opened.copied,
            },
        );
    }
    let started = thread::Builder::new()
        .name("lane".to_owned())
        .spawn(move || {
            while let Ok(Some(frame)) = Frame::read(&mut output) {
                if reader
                    .send(number, frame.request, (frame.kind, frame.kind), &frame.body)
                    .is_err()
                {
                    return;
                }
            }
            let _ = reader.send(number, 0, (Kind::Closed, Kind::Closed), &[]);
            let lane = reader
                .lanes
                .lock()
                .ok()
                .and_then(|mut lanes| lanes.remove(&number));
            if let Some(Lane {
                mut child,
                input,
                copied: _copied,
            }) = lane
            {
                drop(input);
                let _ = child.wait();
            }
        });
    match started {
        Ok(_) => Ok(Answer::Done),
        Err(error) => Err(format!("no thread: {error}")),
    }
}

/// Ends all that is under way.
fn end(shared: &Shared) {
    if let Ok(mut works) = shared.works.lock() {
        for work in works.values_mut() {
            work.cancel.cancel();
            // who writes a file sees that no more of it comes
            work.pieces = None;
        }
    }
    // helpers of other users see their input end, and end what they do; this one may not be allowed to
    let lanes = shared
        .lanes
        .lock()
        .map(|mut lanes| std::mem::take(&mut *lanes));
    let (mut children, _copied): (Vec<Child>, Vec<_>) = lanes
        .unwrap_or_default()
        .into_values()
        .map(|lane| (lane.child, lane.copied))
        .unzip();
    let deadline = Instant::now() + GRACE;
    loop {
        children.retain_mut(|child| matches!(child.try_wait(), Ok(None)));
        // what is being done here takes away what it has begun, or is done
        let idle = shared.works.lock().map_or(true, |works| works.is_empty());
        if children.is_empty() && idle || Instant::now() >= deadline {
            break;
        }
        thread::sleep(Duration::from_millis(5));
    }
    shared.servers.end();
    processes::end_descendants();
}
