//! A helper that is being talked to: requests over frames, several at a time.

use std::collections::HashMap;
use std::io;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use consort_modules::protocol::frame::{BODY, Frame, HEAD, Kind};
use consort_modules::protocol::message::{Answer, Hello, Request, VERSION};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::process::Child;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use super::process::Group;

/// How many frames wait to be written, and of each request to be read.
const WAITING: usize = 32;

/// How long a helper may take to say that it has ended what it was told to end.
const GRACE: Duration = Duration::from_secs(2);

/// How much a helper's complaints may be.
const COMPLAINTS: usize = 64 * 1024;

/// The helper is lost, or never was there: what it complained last.
#[derive(Clone, Debug, Default)]
pub(super) struct Lost {
    /// What was written to the error output.
    pub(super) complaints: String,
    /// The exit status of the process that led to it, if it has ended.
    pub(super) status: Option<i32>,
}

/// What comes for a request.
enum Piece {
    Data(Vec<u8>),
    Stdout(Vec<u8>),
    Stderr(Vec<u8>),
    Answer(Vec<u8>),
}

type Pending = HashMap<(u32, u32), mpsc::Sender<Piece>>;

/// What is shared with the tasks that read and write.
#[derive(Default)]
struct Shared {
    pending: Mutex<Option<Pending>>,
    complaints: Arc<Mutex<Vec<u8>>>,
    ended: Mutex<Option<i32>>,
}

/// A helper that is being talked to. Dropped, it ends, and with it all that it is doing.
pub(super) struct Session {
    /// Who is there.
    pub(super) hello: Hello,
    frames: mpsc::Sender<Vec<u8>>,
    shared: Arc<Shared>,
    last: AtomicU32,
    tasks: Mutex<JoinSet<()>>,
    stop: Mutex<Option<oneshot::Sender<()>>>,
}

/// What a helper answered.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) answer: Answer,
    pub(super) stdout: Vec<u8>,
    pub(super) stderr: Vec<u8>,
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum NoAnswer {
    Lost(Lost),
    TimedOut(Duration),
    /// What was to be sent cannot be read here.
    Unreadable(io::Error),
    Wrong(String),
}

/// What follows a request.
pub(super) enum Input<'a> {
    None,
    Bytes(&'a [u8]),
    File(tokio::fs::File),
}

/// The pipes to a process that is to become a helper, read byte by byte until it is one.
pub(super) struct Pipes {
    pub(super) child: Child,
    pub(super) input: tokio::process::ChildStdin,
    pub(super) output: tokio::process::ChildStdout,
    pub(super) complaints: Arc<Mutex<Vec<u8>>>,
    pub(super) tasks: JoinSet<()>,
}

impl Pipes {
    /// Starts a process, which leads a group of its own.
    pub(super) fn start(mut command: tokio::process::Command) -> io::Result<Self> {
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let mut child = command.spawn()?;
        let (Some(input), Some(output), Some(mut errors)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(io::Error::other("no pipes"));
        };
        let complaints = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = JoinSet::new();
        let kept = Arc::clone(&complaints);
        tasks.spawn(async move {
            let mut chunk = [0; 4096];
            while let Ok(length @ 1..) = errors.read(&mut chunk).await {
                let mut kept = kept.lock();
                kept.extend_from_slice(&chunk[..length]);
                if kept.len() > COMPLAINTS {
                    let more = kept.len() - COMPLAINTS;
                    kept.drain(..more);
                }
            }
        });
        Ok(Pipes {
            child,
            input,
            output,
            complaints,
            tasks,
        })
    }

    /// Reads up to the end of a line, byte by byte: what follows may be frames. None at the end of the output.
    pub(super) async fn line(&mut self) -> io::Result<Option<String>> {
        let mut line = Vec::new();
        let mut byte = [0];
        loop {
            if self.output.read(&mut byte).await? == 0 {
                return Ok((!line.is_empty()).then(|| String::from_utf8_lossy(&line).into_owned()));
            }
            if byte[0] == b'\n' {
                return Ok(Some(String::from_utf8_lossy(&line).into_owned()));
            }
            if line.len() < 64 * 1024 {
                line.push(byte[0]);
            }
        }
    }

    /// Waits until the process has ended, and says what became of it.
    pub(super) async fn lost(mut self) -> Lost {
        drop(self.input);
        let mut group = Group::of(&self.child);
        let status = tokio::time::timeout(GRACE, self.child.wait()).await;
        if let Ok(Ok(_)) = status {
            group.done();
            // what it complained last may still be on its way; who stays behind may keep the pipe open
            let _ = tokio::time::timeout(Duration::from_millis(200), async {
                while self.tasks.join_next().await.is_some() {}
            })
            .await;
        }
        let complaints = String::from_utf8_lossy(&self.complaints.lock()).into_owned();
        Lost {
            complaints,
            status: match status {
                Ok(Ok(status)) => Some(super::process::status_code(status)),
                _ => None,
            },
        }
    }
}

impl Session {
    /// Begins to talk to a helper that has been started.
    ///
    /// # Errors
    /// It ends before it says who it is, or says something else.
    pub(super) async fn begin(mut pipes: Pipes) -> Result<Self, NoAnswer> {
        let hello = match read(&mut pipes.output).await {
            Ok(Some(frame)) if frame.kind == Kind::Hello => frame.body,
            Ok(Some(_)) => return Err(NoAnswer::Wrong("it is no helper".to_owned())),
            Ok(None) | Err(_) => return Err(NoAnswer::Lost(pipes.lost().await)),
        };
        let hello: Hello = serde_json::from_slice(&hello)
            .map_err(|error| NoAnswer::Wrong(format!("it is no helper: {error}")))?;
        if hello.version != VERSION {
            return Err(NoAnswer::Wrong(format!(
                "the helper there speaks version {}, not {VERSION}",
                hello.version
            )));
        }
        let Pipes {
            child,
            input,
            output,
            complaints,
            mut tasks,
        } = pipes;
        let shared = Arc::new(Shared {
            pending: Mutex::new(Some(HashMap::new())),
            complaints,
            ended: Mutex::new(None),
        });
        let (frames, to_write) = mpsc::channel(WAITING);
        let (stop, stopped) = oneshot::channel();
        tasks.spawn(write_frames(input, to_write, stopped));
        tasks.spawn(read_frames(output, child, Arc::clone(&shared)));
        Ok(Session {
            hello,
            frames,
            shared,
            last: AtomicU32::new(0),
            tasks: Mutex::new(tasks),
            stop: Mutex::new(Some(stop)),
        })
    }

    /// Whether it has ended.
    pub(super) fn is_lost(&self) -> bool {
        self.shared.pending.lock().is_none()
    }

    /// Whether nothing is under way on a lane.
    pub(super) fn is_idle(&self, lane: u32) -> bool {
        match &*self.shared.pending.lock() {
            Some(pending) => !pending.keys().any(|(known, _)| *known == lane),
            None => true,
        }
    }

    /// A number that was not used yet, for a request or a lane.
    pub(super) fn number(&self) -> u32 {
        self.last.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// What became of it.
    fn lost(&self) -> Lost {
        Lost {
            complaints: String::from_utf8_lossy(&self.shared.complaints.lock()).into_owned(),
            status: *self.shared.ended.lock(),
        }
    }

    /// Asks for something and waits for the answer. What is sent as data goes to `data` as it comes.
    pub(super) async fn ask(
        &self,
        lane: u32,
        request: &Request,
        input: Input<'_>,
        data: Option<mpsc::Sender<Vec<u8>>>,
        timeout: Option<Duration>,
    ) -> Result<Reply, NoAnswer> {
        let number = self.number();
        let (to, mut from) = mpsc::channel(WAITING);
        match &mut *self.shared.pending.lock() {
            Some(pending) => pending.insert((lane, number), to),
            None => return Err(NoAnswer::Lost(self.lost())),
        };
        let mut asking = Asking {
            session: self,
            lane,
            number,
            answered: false,
        };
        let body =
            serde_json::to_vec(request).map_err(|error| NoAnswer::Wrong(error.to_string()))?;
        let work = async {
            let send = async {
                self.send(lane, number, (Kind::AskPart, Kind::Ask), &body)
                    .await?;
                self.send_input(lane, number, input).await
            };
            let receive = receive(&mut from, data);
            tokio::pin!(send, receive);
            // an answer may come before everything was sent, where it is not wanted any more
            let mut sent = false;
            loop {
                tokio::select! {
                    done = &mut send, if !sent => {
                        done?;
                        sent = true;
                    }
                    reply = &mut receive => return Ok(reply),
                }
            }
        };
        let reply = match timeout {
            None => work.await?,
            Some(limit) => match tokio::time::timeout(limit, work).await {
                Ok(reply) => reply?,
                Err(_) => {
                    self.cancel(lane, number);
                    let _ = tokio::time::timeout(GRACE, receive(&mut from, None)).await;
                    return Err(NoAnswer::TimedOut(limit));
                }
            },
        };
        asking.answered = true;
        match reply {
            Some(reply) => reply,
            None => {
                // the process that led to it says why, in a moment
                let deadline = tokio::time::Instant::now() + GRACE;
                while self.shared.ended.lock().is_none() && tokio::time::Instant::now() < deadline {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                Err(NoAnswer::Lost(self.lost()))
            }
        }
    }

    /// Sends a body in as many frames as it takes.
    async fn send(
        &self,
        lane: u32,
        number: u32,
        (part, last): (Kind, Kind),
        mut body: &[u8],
    ) -> Result<(), NoAnswer> {
        loop {
            let (now, rest) = body.split_at(body.len().min(BODY));
            let kind = if rest.is_empty() { last } else { part };
            let mut frame = Frame::head(lane, number, kind, now.len()).to_vec();
            frame.extend_from_slice(now);
            if self.frames.send(frame).await.is_err() {
                return Err(NoAnswer::Lost(self.lost()));
            }
            if rest.is_empty() {
                return Ok(());
            }
            body = rest;
        }
    }

    async fn send_input(&self, lane: u32, number: u32, input: Input<'_>) -> Result<(), NoAnswer> {
        match input {
            Input::None => return Ok(()),
            Input::Bytes(bytes) => {
                if !bytes.is_empty() {
                    self.send(lane, number, (Kind::Data, Kind::Data), bytes)
                        .await?;
                }
            }
            Input::File(mut file) => {
                let mut chunk = vec![0; BODY];
                loop {
                    let length = file.read(&mut chunk).await.map_err(NoAnswer::Unreadable)?;
                    if length == 0 {
                        break;
                    }
                    self.send(lane, number, (Kind::Data, Kind::Data), &chunk[..length])
                        .await?;
                }
            }
        }
        self.send(lane, number, (Kind::DataEnd, Kind::DataEnd), &[])
            .await
    }

    /// Tells the helper to end a request.
    fn cancel(&self, lane: u32, number: u32) {
        // where so much waits to be written, the helper does not read; it is ended with the session
        let _ = self
            .frames
            .try_send(Frame::head(lane, number, Kind::Cancel, 0).to_vec());
    }

    /// Ends the helper and waits until it is gone, for a short time.
    pub(super) async fn close(&self) {
        drop(self.stop.lock().take());
        let mut tasks = std::mem::take(&mut *self.tasks.lock());
        let _ = tokio::time::timeout(GRACE, async {
            while !self.is_lost() || self.shared.ended.lock().is_none() {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        })
        .await;
        tasks.shutdown().await;
    }
}

/// A request that is under way: given up before its answer, it is cancelled.
struct Asking<'a> {
    session: &'a Session,
    lane: u32,
    number: u32,
    answered: bool,
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        if let Some(pending) = &mut *self.session.shared.pending.lock() {
            pending.remove(&(self.lane, self.number));
        }
        if !self.answered {
            self.session.cancel(self.lane, self.number);
        }
    }
}

/// Takes what comes for a request until its answer; none if the helper is lost.
async fn receive(
    from: &mut mpsc::Receiver<Piece>,
    data: Option<mpsc::Sender<Vec<u8>>>,
) -> Option<Result<Reply, NoAnswer>> {
    let (mut stdout, mut stderr, mut answer) = (Vec::new(), Vec::new(), Vec::new());
    loop {
        match from.recv().await? {
            Piece::Stdout(bytes) => stdout.extend_from_slice(&bytes),
            Piece::Stderr(bytes) => stderr.extend_from_slice(&bytes),
            Piece::Data(bytes) => {
                if let Some(data) = &data {
                    // who writes it down may have failed; that is told by him
                    let _ = data.send(bytes).await;
                }
            }
            Piece::Answer(last) => {
                answer.extend_from_slice(&last);
                return Some(match serde_json::from_slice(&answer) {
                    Ok(answer) => Ok(Reply {
                        answer,
                        stdout,
                        stderr,
                    }),
                    Err(error) => Err(NoAnswer::Wrong(format!("not an answer: {error}"))),
                });
            }
        }
    }
}

/// Reads one frame; none at the end.
async fn read(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Frame>> {
    let mut head = [0; HEAD];
    match from.read_exact(&mut head).await {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    }
    let (mut frame, length) = Frame::parse(&head)?;
    frame.body.resize(length, 0);
    from.read_exact(&mut frame.body).await?;
    Ok(Some(frame))
}

/// Hands on what the helper says until it says nothing more, and then sees its process end.
async fn read_frames(output: impl AsyncRead + Unpin, mut child: Child, shared: Arc<Shared>) {
    let mut group = Group::of(&child);
    let mut output = tokio::io::BufReader::with_capacity(8 * 1024, output);
    let mut parts: HashMap<(u32, u32), Vec<u8>> = HashMap::new();
    while let Ok(Some(frame)) = read(&mut output).await {
        let key = (frame.lane, frame.request);
        if frame.kind == Kind::Closed {
            // who waits for it finds nothing coming
            if let Some(pending) = &mut *shared.pending.lock() {
                pending.retain(|(lane, _), _| *lane != frame.lane);
            }
            continue;
        }
        let to = match &*shared.pending.lock() {
            Some(pending) => pending.get(&key).cloned(),
            None => None,
        };
        let Some(to) = to else { continue };
        let piece = match frame.kind {
            Kind::Data => Piece::Data(frame.body),
            Kind::Stdout => Piece::Stdout(frame.body),
            Kind::Stderr => Piece::Stderr(frame.body),
            Kind::AnswerPart => {
                parts.entry(key).or_default().extend_from_slice(&frame.body);
                continue;
            }
            Kind::Answer => {
                let mut answer = parts.remove(&key).unwrap_or_default();
                answer.extend_from_slice(&frame.body);
                Piece::Answer(answer)
            }
            _ => continue,
        };
        // who has given up does not wait for it
        let _ = to.send(piece).await;
    }
    *shared.pending.lock() = None;
    let status = match tokio::time::timeout(GRACE, child.wait()).await {
        Ok(Ok(status)) => {
            group.done();
            super::process::status_code(status)
        }
        _ => -libc::SIGKILL,
    };
    *shared.ended.lock() = Some(status);
}

/// Writes what is to be said, several frames at once where several wait, until nobody says anything more.
async fn write_frames(
    mut input: impl AsyncWrite + Unpin,
    mut frames: mpsc::Receiver<Vec<u8>>,
    mut stopped: oneshot::Receiver<()>,
) {
    loop {
        let frame = tokio::select! {
            frame = frames.recv() => frame,
            _ = &mut stopped => None,
        };
        let Some(mut frame) = frame else { return };
        while frame.len() < BODY
            && let Ok(more) = frames.try_recv()
        {
            frame.extend_from_slice(&more);
        }
        if input.write_all(&frame).await.is_err() {
            return;
        }
    }
}
