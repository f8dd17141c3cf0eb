//! The side of the machine: reads requests, carries them out, several at a time, and answers.
//!
//! When its input ends while something is still being done, whoever asked is gone: all that was started is ended, and
//! files that were being written are taken away.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::panic::AssertUnwindSafe;
use std::process::{Child, ChildStdin};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use nix::unistd::geteuid;

use super::becoming::Becoming;
use super::frame::{Frame, Kind};
use super::message::{Answer, Hello, Request, VERSION};
use super::processes::{self, Cancel};
use super::program::Program;
use super::python::Servers;
use super::{switch, work::work};
use crate::names;

/// How many requests may be worked on at a time.
const AT_ONCE: usize = 256;

/// How much a request, or what a command reads, may be.
pub(super) const LARGEST: usize = 512 * 1024 * 1024;

/// How long helpers of other users may take to end what they do.
const GRACE: Duration = Duration::from_secs(2);

/// Pieces of data on their way to who works on a request; none at the end.
pub(super) type Piece = Option<Vec<u8>>;

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

    pub(super) fn stream(&self, request: u32, kind: Kind, bytes: &[u8]) {
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
    let user = names::user_of(uid);
    Hello {
        version: VERSION,
        process: std::process::id(),
        uid: uid.as_raw(),
        home: user
            .as_ref()
            .map(|user| user.dir.to_string_lossy().into_owned())
            .unwrap_or_default(),
        shell: user
            .as_ref()
            .map(|user| user.shell.to_string_lossy().into_owned())
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

/// Closes a lane: its helper ends what it does, and itself.
pub(super) fn close(shared: &Shared, number: u32) {
    let lane = shared
        .lanes
        .lock()
        .ok()
        .and_then(|mut lanes| lanes.remove(&number));
    let Some(Lane {
        mut child,
        input,
        copied: _copied,
    }) = lane
    else {
        return;
    };
    drop(input);
    let deadline = Instant::now() + GRACE;
    while matches!(child.try_wait(), Ok(None)) && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(5));
    }
}

/// Opens a lane to a helper that is another user.
pub(super) fn open(
    shared: &Arc<Shared>,
    number: u32,
    becoming: &Becoming,
) -> Result<Answer, String> {
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
