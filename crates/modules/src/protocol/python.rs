//! Servers of Python: interpreters that have loaded what all modules need, and fork for each module.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, IoSlice, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, recv, sendmsg, socketpair,
};
use nix::unistd::Pid;
use serde::Deserialize;

use super::processes::{self, Cancel};

/// What interpreters run: `serve PACKAGE` forks for each order, `once ORDER` runs a single module.
pub const SCRIPT: &str = include_str!("server.py");

/// How long a server may take to load.
const LOADING: Duration = Duration::from_secs(60);

/// The servers of a helper, by interpreter.
#[derive(Default)]
pub(super) struct Servers {
    running: Mutex<HashMap<Vec<String>, Option<Arc<Server>>>>,
}

impl Servers {
    /// The server of an interpreter, started with a package if there is none yet; none if it cannot be one.
    pub(super) fn server(&self, interpreter: &[String], package: &Path) -> Option<Arc<Server>> {
        let mut running = self.running.lock().ok()?;
        if let Some(known) = running.get(interpreter) {
            match known {
                Some(server) if server.lost() => {}
                known => return known.clone(),
            }
        }
        let server = Server::start(interpreter, package).ok().map(Arc::new);
        running.insert(interpreter.to_vec(), server.clone());
        server
    }

    /// Ends them.
    pub(super) fn end(&self) {
        if let Ok(mut running) = self.running.lock() {
            running.clear();
        }
    }
}

/// What is known of a module that a server runs.
enum Event {
    Began(i32),
    Ended(i32),
}

/// What a server says.
#[derive(Deserialize)]
struct Said {
    number: u64,
    process: Option<i32>,
    status: Option<i32>,
}

#[derive(Default)]
struct Waiting {
    lost: bool,
    last: u64,
    events: HashMap<u64, Sender<Event>>,
}

/// A server.
pub(super) struct Server {
    child: Mutex<Child>,
    socket: Arc<OwnedFd>,
    waiting: Arc<Mutex<Waiting>>,
}

impl Drop for Server {
    fn drop(&mut self) {
        // it ends when it reads nothing more; what it runs is ended by who asked for it
        let _ =
            nix::sys::socket::shutdown(self.socket.as_raw_fd(), nix::sys::socket::Shutdown::Both);
        if let Ok(mut child) = self.child.lock() {
            let _ = kill(processes::pid(&child), Signal::SIGTERM);
            let _ = child.wait();
        }
    }
}

impl Server {
    /// Starts one, and waits until it has loaded what it can from a package.
    fn start(interpreter: &[String], package: &Path) -> io::Result<Self> {
        let (program, rest) = interpreter
            .split_first()
            .ok_or(io::ErrorKind::InvalidInput)?;
        let (ours, theirs) = socketpair(
            AddressFamily::Unix,
            SockType::SeqPacket,
            None,
            SockFlag::SOCK_CLOEXEC,
        )?;
        let mut child = Command::new(program)
            .args(rest)
            .args(["-c", SCRIPT, "serve"])
            .arg(package)
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let limit = nix::sys::time::TimeVal::new(LOADING.as_secs() as i64, 0);
        nix::sys::socket::setsockopt(&ours, nix::sys::socket::sockopt::ReceiveTimeout, &limit)?;
        let mut word = [0; 16];
        let ready = recv(ours.as_raw_fd(), &mut word, MsgFlags::empty());
        if !matches!(ready, Ok(length) if &word[..length] == b"ready") {
            let _ = child.kill();
            let _ = child.wait();
            return Err(io::Error::other("the interpreter is no server"));
        }
        let forever = nix::sys::time::TimeVal::new(0, 0);
        nix::sys::socket::setsockopt(&ours, nix::sys::socket::sockopt::ReceiveTimeout, &forever)?;
        let socket = Arc::new(ours);
        let waiting = Arc::new(Mutex::new(Waiting::default()));
        let (reader, told) = (Arc::clone(&socket), Arc::clone(&waiting));
        thread::Builder::new()
            .name("python".to_owned())
            .spawn(move || listen(&reader, &told))?;
        Ok(Server {
            child: Mutex::new(child),
            socket,
            waiting,
        })
    }

    /// Whether it has ended.
    fn lost(&self) -> bool {
        self.waiting.lock().map_or(true, |waiting| waiting.lost)
    }

    /// Runs a module to its end, and gives its exit status.
    ///
    /// # Errors
    /// The server has ended.
    pub(super) fn run(
        &self,
        order: &str,
        arguments: &[u8],
        cancel: &Cancel,
        mut stdout: impl FnMut(&[u8]) + Send,
        mut stderr: impl FnMut(&[u8]) + Send,
    ) -> io::Result<i32> {
        let (events, from) = channel();
        let number = {
            let mut waiting = self.waiting.lock().map_err(|_| gone())?;
            if waiting.lost {
                return Err(gone());
            }
            waiting.last += 1;
            let number = waiting.last;
            waiting.events.insert(number, events);
            number
        };
        let (read_arguments, write_arguments) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC)?;
        let (read_out, write_out) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC)?;
        let (read_err, write_err) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC)?;
        let message = format!("{number} {order}");
        let handed = [
            read_arguments.as_raw_fd(),
            write_out.as_raw_fd(),
            write_err.as_raw_fd(),
        ];
        sendmsg::<()>(
            self.socket.as_raw_fd(),
            &[IoSlice::new(message.as_bytes())],
            &[ControlMessage::ScmRights(&handed)],
            MsgFlags::MSG_NOSIGNAL,
            None,
        )?;
        drop((read_arguments, write_out, write_err));
        thread::scope(|scope| {
            scope.spawn(move || {
                // a module that does not read its arguments fails by itself
                let _ = File::from(write_arguments).write_all(arguments);
            });
            let (out, err) = (File::from(read_out), File::from(read_err));
            let (finish_out, finished_out) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC)?;
            let finish_err = finish_out.try_clone()?;
            scope.spawn(move || pour_until(out, &finish_out, &mut stdout));
            scope.spawn(move || pour_until(err, &finish_err, &mut stderr));
            let status = wait(&from, cancel);
            // what it left running may keep its output open: only what is there already is read
            drop(finished_out);
            status
        })
    }
}

/// Waits for a module to end.
fn wait(events: &Receiver<Event>, cancel: &Cancel) -> io::Result<i32> {
    let mut group = None;
    let ended = loop {
        match events.recv() {
            Ok(Event::Began(process)) => {
                group = Some(Pid::from_raw(process));
                cancel.add(Pid::from_raw(process));
            }
            Ok(Event::Ended(status)) => break Ok(status),
            Err(_) => break Err(gone()),
        }
    };
    if let Some(group) = group {
        cancel.remove(group);
    }
    ended
}

/// Passes on what a pipe gives, until it is closed, or is empty after `finish` was closed.
fn pour_until(mut from: File, finish: &OwnedFd, to: &mut (impl FnMut(&[u8]) + Send)) {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    let mut chunk = vec![0; 64 * 1024];
    loop {
        let (readable, finished) = {
            let mut watched = [
                PollFd::new(from.as_fd(), PollFlags::POLLIN),
                PollFd::new(finish.as_fd(), PollFlags::POLLIN),
            ];
            match poll(&mut watched, PollTimeout::NONE) {
                Ok(_) => {}
                Err(nix::errno::Errno::EINTR) => continue,
                Err(_) => return,
            }
            (
                watched[0].any().unwrap_or(false),
                watched[1].any().unwrap_or(false),
            )
        };
        if readable {
            match from.read(&mut chunk) {
                Ok(0) => return,
                Ok(length) => to(&chunk[..length]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        } else if finished {
            return;
        }
    }
}

/// The server has ended.
fn gone() -> io::Error {
    io::Error::other("the server of Python modules has ended")
}

/// Hands on what a server says.
fn listen(socket: &OwnedFd, waiting: &Mutex<Waiting>) {
    let mut message = vec![0; 4096];
    while let Ok(length @ 1..) = recv_again(socket, &mut message) {
        let Ok(said) = serde_json::from_slice::<Said>(&message[..length]) else {
            break;
        };
        let Ok(mut waiting) = waiting.lock() else {
            break;
        };
        if let Some(process) = said.process
            && let Some(events) = waiting.events.get(&said.number)
        {
            let _ = events.send(Event::Began(process));
        }
        if let Some(status) = said.status
            && let Some(events) = waiting.events.remove(&said.number)
        {
            let _ = events.send(Event::Ended(status));
        }
    }
    if let Ok(mut waiting) = waiting.lock() {
        waiting.lost = true;
        waiting.events.clear();
    }
}

/// Receives, however often it is interrupted.
fn recv_again(socket: &OwnedFd, message: &mut [u8]) -> nix::Result<usize> {
    loop {
        match recv(socket.as_raw_fd(), message, MsgFlags::empty()) {
            Err(nix::errno::Errno::EINTR) => {}
            done => return done,
        }
    }
}
