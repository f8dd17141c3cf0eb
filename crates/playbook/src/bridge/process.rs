//! The process: started, asked in frames, ended.

use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde_json::{Map, Value as Json, json};
use tokio::sync::mpsc;

use super::Error;
use crate::python::core::Core;

const BOOT: &str = include_str!("../../data/bridge/boot.py");

/// The files the process is made of, by the names it imports them by.
const SOURCES: &[(&str, &str)] = &[
    ("", ""),
    ("display", include_str!("../../data/bridge/display.py")),
    ("errors", include_str!("../../data/bridge/errors.py")),
    ("events", include_str!("../../data/bridge/events.py")),
    ("prepare", include_str!("../../data/bridge/prepare.py")),
    ("sources", include_str!("../../data/bridge/sources.py")),
    ("tasks", include_str!("../../data/bridge/tasks.py")),
    ("templates", include_str!("../../data/bridge/templates.py")),
    ("values", include_str!("../../data/bridge/values.py")),
    ("wire", include_str!("../../data/bridge/wire.py")),
];

/// The largest frame that is read.
const LARGEST: usize = 512 << 20;
/// How many messages of one request may wait to be read.
const WAITING: usize = 64;
/// How long the process may take to end when it is told to.
const GRACE: Duration = Duration::from_secs(10);

/// A process that runs plugins.
pub(super) struct Process {
    shared: Arc<Shared>,
    child: Mutex<Option<Child>>,
    reading: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    socket: UnixStream,
    writing: Mutex<()>,
    next: AtomicU64,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    requests: HashMap<u64, mpsc::Sender<Json>>,
    /// Why there will be no more answers.
    lost: Option<String>,
}

/// What comes back for a request.
pub(crate) enum Answer {
    /// The end of it.
    Done(Result<Json, Error>),
    /// A question meanwhile.
    Asked {
        /// Its number.
        number: u64,
        /// What is asked for.
        op: String,
        /// With what.
        payload: Map<String, Json>,
    },
}

/// A request that is being carried out.
pub(crate) struct Conversation {
    shared: Arc<Shared>,
    id: u64,
    inbox: mpsc::Receiver<Json>,
    /// The question that was not answered yet.
    asked: Option<u64>,
}

impl Process {
    /// Starts one, and waits until it is ready.
    pub(super) fn start(options: &Json) -> Result<Self, Error> {
        let core = Core::installed().map_err(Error::Absent)?;
        let python = core.python.clone().unwrap_or_else(|| "python3".into());
        let mut command = Command::new(&python);
        command.arg("-c").arg(BOOT);
        if core.python.is_none()
            && let Some(directory) = core.path.parent()
        {
            let mut path = directory.as_os_str().to_owned();
            if let Some(known) = std::env::var_os("PYTHONPATH").filter(|path| !path.is_empty()) {
                path.push(":");
                path.push(known);
            }
            command.env("PYTHONPATH", path);
        }
        let failed = |error: std::io::Error| {
            Error::Absent(format!("starting {}: {error}", python.display()))
        };
        let (ours, theirs) = UnixStream::pair().map_err(failed)?;
        let child = command
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .spawn()
            .map_err(failed)?;
        drop(command);
        let shared = Arc::new(Shared {
            socket: ours,
            writing: Mutex::default(),
            next: AtomicU64::new(1),
            waiting: Mutex::default(),
        });
        let (ready, mut inbox) = mpsc::channel(WAITING);
        shared.waiting.lock().requests.insert(0, ready);
        let reader = Arc::clone(&shared);
        let reading = std::thread::Builder::new()
            .name("plugins".to_owned())
            .spawn(move || reader.read())
            .map_err(failed)?;
        let process = Process {
            shared,
            child: Mutex::new(Some(child)),
            reading: Mutex::new(Some(reading)),
        };
        let sources: Map<String, Json> = SOURCES
            .iter()
            .map(|(name, source)| ((*name).to_owned(), Json::from(*source)))
            .collect();
        process
            .shared
            .send(&json!({"sources": sources, "options": options}))?;
        let said = super::blocking(|| futures::executor::block_on(inbox.recv()));
        match said {
            Some(said) if said.get("ok").is_some() => Ok(process),
            Some(said) => {
                process.end();
                Err(Error::Absent(format!(
                    "{}: {}",
                    python.display(),
                    said["err"]["message"].as_str().unwrap_or("it is not ready")
                )))
            }
            None => {
                process.end();
                Err(Error::Absent(format!("{} ended at once", python.display())))
            }
        }
    }

    /// Begins a request.
    pub(super) fn begin(&self, op: &str, payload: Json) -> Result<Conversation, Error> {
        let id = self.shared.next.fetch_add(1, Ordering::Relaxed);
        let (sender, inbox) = mpsc::channel(WAITING);
        {
            let mut waiting = self.shared.waiting.lock();
            if let Some(why) = &waiting.lost {
                return Err(Error::Lost(why.clone()));
            }
            waiting.requests.insert(id, sender);
        }
        let conversation = Conversation {
            shared: Arc::clone(&self.shared),
            id,
            inbox,
            asked: None,
        };
        let mut message = match payload {
            Json::Object(message) => message,
            _ => Map::new(),
        };
        message.insert("id".to_owned(), id.into());
        message.insert("op".to_owned(), op.into());
        self.shared.send(&Json::Object(message))?;
        Ok(conversation)
    }

    /// Ends it: what was registered for the end of the process is done, for a while.
    pub(super) fn end(&self) {
        let Some(mut child) = self.child.lock().take() else {
            return;
        };
        let asked = self.begin("end", json!({}));
        let deadline = Instant::now() + GRACE;
        while asked.is_ok() && Instant::now() < deadline {
            match child.try_wait() {
                Ok(None) => std::thread::sleep(Duration::from_millis(2)),
                _ => break,
            }
        }
        let _ = self.shared.socket.shutdown(Shutdown::Both);
        if matches!(child.try_wait(), Ok(None)) {
            let _ = child.kill();
        }
        let _ = child.wait();
        drop(asked);
        if let Some(reading) = self.reading.lock().take() {
            let _ = reading.join();
        }
    }
}

impl Shared {
    fn send(&self, message: &Json) -> Result<(), Error> {
        let lost = |error: &dyn std::fmt::Display| Error::Lost(error.to_string());
        let data = serde_json::to_vec(message).map_err(|error| lost(&error))?;
        let length = u32::try_from(data.len()).map_err(|_| lost(&"the request is too large"))?;
        let mut frame = Vec::with_capacity(data.len() + 4);
        frame.extend_from_slice(&length.to_be_bytes());
        frame.extend_from_slice(&data);
        let _one_at_a_time = self.writing.lock();
        (&self.socket).write_all(&frame).map_err(|error| {
            let known = self.waiting.lock().lost.clone();
            Error::Lost(known.unwrap_or_else(|| error.to_string()))
        })
    }

    /// Answers a question of a request that nobody waits for any more: its thread would wait for ever.
    fn no_longer(&self, id: u64, number: u64) {
        let error = json!({"message": "the task that this belongs to has ended"});
        let _ = self.send(&json!({"id": id, "reply": number, "err": error}));
    }

    /// Hands what comes to those who wait for it, until there is no more.
    fn read(&self) {
        let why = loop {
            match self.frame() {
                Ok(Some(message)) => {
                    let id = message["id"].as_u64().unwrap_or_default();
                    let ends = message.get("ask").is_none();
                    let waiting = {
                        let mut waiting = self.waiting.lock();
                        if ends {
                            waiting.requests.remove(&id)
                        } else {
                            waiting.requests.get(&id).cloned()
                        }
                    };
                    let unheard = match waiting {
                        Some(waiting) => waiting.blocking_send(message).err().map(|lost| lost.0),
                        None => Some(message),
                    };
                    if let Some(number) = unheard.as_ref().and_then(|lost| lost["ask"].as_u64()) {
                        self.no_longer(id, number);
                    }
                }
                Ok(None) => break "it closed its end".to_owned(),
                Err(error) => break error.to_string(),
            }
        };
        let mut waiting = self.waiting.lock();
        waiting.lost = Some(why);
        waiting.requests.clear();
    }

    fn frame(&self) -> std::io::Result<Option<Json>> {
        let mut length = [0; 4];
        let mut socket = &self.socket;
        match socket.read_exact(&mut length) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(None),
            Err(error) => return Err(error),
        }
        let length = u32::from_be_bytes(length) as usize;
        if length > LARGEST {
            return Err(std::io::Error::other("a frame is too large"));
        }
        let mut data = vec![0; length];
        socket.read_exact(&mut data)?;
        serde_json::from_slice(&data)
            .map(Some)
            .map_err(std::io::Error::other)
    }
}

impl Conversation {
    /// What comes next.
    pub(crate) async fn next(&mut self) -> Answer {
        let Some(message) = self.inbox.recv().await else {
            let why = self.shared.waiting.lock().lost.clone();
            return Answer::Done(Err(Error::Lost(why.unwrap_or_default())));
        };
        let Json::Object(mut message) = message else {
            return Answer::Done(Err(Error::Lost("it spoke nonsense".to_owned())));
        };
        if let Some(number) = message.get("ask").and_then(Json::as_u64) {
            let op = message["op"].as_str().unwrap_or_default().to_owned();
            self.asked = Some(number);
            return Answer::Asked {
                number,
                op,
                payload: message,
            };
        }
        Answer::Done(match message.remove("err") {
            Some(error) => Err(Error::refused(&error)),
            None => Ok(message.remove("ok").unwrap_or(Json::Null)),
        })
    }

    /// Answers a question.
    pub(crate) fn reply(&mut self, number: u64, answer: Result<Json, String>) -> Result<(), Error> {
        self.asked = None;
        let message = match answer {
            Ok(value) => json!({"id": self.id, "reply": number, "ok": value}),
            Err(message) => {
                json!({"id": self.id, "reply": number, "err": {"message": message}})
            }
        };
        self.shared.send(&message)
    }
}

impl Drop for Conversation {
    fn drop(&mut self) {
        self.shared.waiting.lock().requests.remove(&self.id);
        let unread = std::iter::from_fn(|| self.inbox.try_recv().ok())
            .filter_map(|message| message["ask"].as_u64());
        for number in self.asked.take().into_iter().chain(unread) {
            self.shared.no_longer(self.id, number);
        }
    }
}
