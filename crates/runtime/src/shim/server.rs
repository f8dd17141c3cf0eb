//! The shim's loop: one `poll(2)` over everything that can happen.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::sys::signalfd::SignalFd;
use nix::unistd::Pid;

use super::attach::Attachment;
use super::container::Container;
use crate::cgroup::Cgroup;
use crate::spec::SandboxSpec;
use crate::sys;
use crate::wire::{self, Failure, Frames, Reply, Request};

/// A process executed for a client.
#[derive(Debug)]
pub(super) struct Exec {
    pub(super) container: String,
    /// The first child, until it has told the id of the second.
    pub(super) child: i32,
    pub(super) pid: Option<i32>,
    pub(super) channel: Option<OwnedFd>,
    pub(super) console: Option<OwnedFd>,
    pub(super) started: bool,
    pub(super) code: Option<i32>,
    pub(super) failure: Option<String>,
}

#[derive(Debug)]
pub(super) struct Client {
    pub(super) socket: OwnedFd,
    pub(super) frames: Frames,
    pub(super) fds: Vec<OwnedFd>,
    pub(super) out: Vec<u8>,
    /// Goes with the next byte that is sent.
    pub(super) out_fd: Option<OwnedFd>,
    /// Waits for the end of this container.
    pub(super) waits_for: Option<String>,
    /// To be closed when everything is sent.
    pub(super) done: bool,
}

#[derive(Clone, Debug)]
enum Token {
    Signal,
    Listener,
    Client(u64),
    Output(String, usize),
    Input(String),
    Channel(String),
    Sink(u64),
    AttachInput(u64),
    ExecChannel(u64),
}

#[derive(Debug)]
pub(super) struct Shim {
    pub(super) dir: PathBuf,
    pub(super) spec: SandboxSpec,
    pub(super) pod: Cgroup,
    pub(super) host: OwnedFd,
    /// Closing any descriptor of the file would give up the lock.
    pub(super) _lock: std::fs::File,
    pub(super) listener: OwnedFd,
    pub(super) signals: SignalFd,
    pub(super) pause: Option<Pid>,
    pub(super) containers: BTreeMap<String, Container>,
    pub(super) clients: BTreeMap<u64, Client>,
    pub(super) execs: BTreeMap<u64, Exec>,
    pub(super) attachments: BTreeMap<u64, Attachment>,
    /// Ends of processes that nobody has told us about yet.
    pub(super) strays: HashMap<i32, (i32, Option<i32>)>,
    pub(super) next_client: u64,
    pub(super) stopping: Option<u64>,
}

impl Shim {
    #[allow(clippy::too_many_arguments)]
    pub(super) fn new(
        dir: PathBuf,
        spec: SandboxSpec,
        pod: Cgroup,
        host: OwnedFd,
        lock: std::fs::File,
        listener: OwnedFd,
        signals: SignalFd,
        pause: Option<Pid>,
    ) -> Self {
        Self {
            dir,
            spec,
            pod,
            host,
            _lock: lock,
            listener,
            signals,
            pause,
            containers: BTreeMap::new(),
            clients: BTreeMap::new(),
            execs: BTreeMap::new(),
            attachments: BTreeMap::new(),
            strays: HashMap::new(),
            next_client: 0,
            stopping: None,
        }
    }

    /// Serves until the sandbox is shut down.
    pub(super) fn serve(mut self) -> Result<(), String> {
        let mut buffer = Vec::new();
        loop {
            for token in self.ready().map_err(|error| format!("polling: {error}"))? {
                self.handle(&token, &mut buffer);
            }
            self.close_finished();
            if let Some(client) = self.stopping
                && !self.clients.contains_key(&client)
            {
                return Ok(());
            }
        }
    }

    /// Waits, and says what is ready.
    fn ready(&self) -> io::Result<Vec<Token>> {
        let mut tokens = vec![Token::Listener];
        let mut fds = vec![PollFd::new(self.listener.as_fd(), PollFlags::POLLIN)];
        let mut watch = |token, fd, events| {
            tokens.push(token);
            fds.push(PollFd::new(fd, events));
        };
        for (id, container) in &self.containers {
            if let Some(channel) = &container.channel {
                watch(
                    Token::Channel(id.clone()),
                    channel.as_fd(),
                    PollFlags::POLLIN,
                );
            }
            for (number, output) in container.outputs.iter().enumerate() {
                // A terminal nobody has open would report a hang-up without end.
                if let Some(fd) = output {
                    watch(
                        Token::Output(id.clone(), number),
                        fd.as_fd(),
                        PollFlags::POLLIN,
                    );
                }
            }
            let input = if container.spec.tty {
                &container.outputs[0]
            } else {
                &container.input
            };
            if let (Some(fd), false) = (input, container.pending_input.is_empty()) {
                watch(Token::Input(id.clone()), fd.as_fd(), PollFlags::POLLOUT);
            }
        }
        for (client, exec) in &self.execs {
            if let Some(channel) = &exec.channel {
                watch(
                    Token::ExecChannel(*client),
                    channel.as_fd(),
                    PollFlags::POLLIN,
                );
            }
        }
        for (client, attachment) in &self.attachments {
            for sink in attachment.sinks.iter().flatten() {
                // Without anything to send, still tells when the reader is gone.
                let events = if sink.pending.is_empty() {
                    PollFlags::empty()
                } else {
                    PollFlags::POLLOUT
                };
                watch(Token::Sink(*client), sink.fd.as_fd(), events);
            }
            let taken = self
                .containers
                .get(&attachment.container)
                .is_none_or(|container| container.pending_input.is_empty());
            if let (Some(input), true) = (&attachment.input, taken) {
                watch(
                    Token::AttachInput(*client),
                    input.as_fd(),
                    PollFlags::POLLIN,
                );
            }
        }
        for (id, client) in &self.clients {
            let mut events = PollFlags::POLLIN;
            if !client.out.is_empty() {
                events |= PollFlags::POLLOUT;
            }
            watch(Token::Client(*id), client.socket.as_fd(), events);
        }
        // Last: what a process has said is heard before its end is.
        watch(Token::Signal, self.signals.as_fd(), PollFlags::POLLIN);
        loop {
            match poll(&mut fds, PollTimeout::NONE) {
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
                Ok(_) => break,
            }
        }
        let ready = fds.iter().map(|fd| fd.any().unwrap_or(true));
        Ok(tokens
            .into_iter()
            .zip(ready)
            .filter(|(_, ready)| *ready)
            .map(|(token, _)| token)
            .collect())
    }

    fn handle(&mut self, token: &Token, buffer: &mut Vec<u8>) {
        match token {
            Token::Signal => {
                while matches!(self.signals.read_signal(), Ok(Some(_))) {}
                self.reap();
            }
            Token::Listener => self.accept(),
            Token::Client(client) => self.client_ready(*client),
            Token::Output(id, number) => self.output(id, *number, buffer),
            Token::Input(id) => {
                if let Some(container) = self.containers.get_mut(id) {
                    container.feed();
                }
            }
            Token::Channel(id) => self.container_progress(id),
            Token::ExecChannel(client) => self.exec_progress(*client),
            Token::Sink(client) => {
                if let Some(attachment) = self.attachments.get_mut(client) {
                    let fine = attachment.sinks.iter_mut().flatten().all(|sink| {
                        let gone = is_gone(sink.fd.as_fd());
                        !gone && sink.flush()
                    });
                    if !fine {
                        self.detach(*client);
                    }
                }
            }
            Token::AttachInput(client) => self.attach_input(*client),
        }
    }

    fn accept(&mut self) {
        use nix::sys::socket::{SockFlag, accept4};
        while let Ok(fd) = accept4(
            self.listener.as_raw_fd(),
            SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
        ) {
            self.next_client += 1;
            let client = Client {
                socket: sys::adopt_fd(fd),
                frames: Frames::default(),
                fds: Vec::new(),
                out: Vec::new(),
                out_fd: None,
                waits_for: None,
                done: false,
            };
            self.clients.insert(self.next_client, client);
        }
    }

    fn client_ready(&mut self, id: u64) {
        let Some(client) = self.clients.get_mut(&id) else {
            return;
        };
        if client.flush().is_err() {
            return self.drop_client(id);
        }
        let mut bytes = [0; 16 * 1024];
        loop {
            let Some(client) = self.clients.get_mut(&id) else {
                return;
            };
            match wire::receive(client.socket.as_fd(), &mut bytes, &mut client.fds) {
                Ok(0) => return self.drop_client(id),
                Ok(length) => client.frames.push(&bytes[..length]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => return self.drop_client(id),
            }
        }
        loop {
            let Some(client) = self.clients.get_mut(&id) else {
                return;
            };
            match client.frames.next::<Request>() {
                Ok(Some(request)) => {
                    let fds = std::mem::take(&mut client.fds);
                    self.request(id, request, fds);
                }
                Ok(None) => return,
                Err(error) => {
                    self.reply(
                        id,
                        &Reply::Failed(Failure::Other(format!(
                            "a request that cannot be read: {error}"
                        ))),
                    );
                    return;
                }
            }
        }
    }

    /// The client is gone: what it had running ends with it.
    fn drop_client(&mut self, id: u64) {
        self.clients.remove(&id);
        self.detach(id);
        if let Some(exec) = self.execs.get(&id) {
            // The record stays until the process is reaped.
            if let (Some(pid), None) = (exec.pid, exec.code) {
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
        }
    }

    fn close_finished(&mut self) {
        let delivered: Vec<_> = self
            .attachments
            .iter()
            .filter(|(_, attachment)| attachment.ending && attachment.delivered())
            .map(|(client, _)| *client)
            .collect();
        for client in delivered {
            self.detach(client);
        }
        self.clients
            .retain(|_, client| !(client.done && client.out.is_empty()));
        let clients = &self.clients;
        self.execs.retain(|client, exec| {
            let over = exec.code.is_some() && exec.channel.is_none();
            !(over && (exec.failure.is_some() || exec.started || !clients.contains_key(client)))
        });
    }

    pub(super) fn reply(&mut self, client: u64, reply: &Reply) {
        self.reply_with(client, reply, None);
    }

    pub(super) fn reply_with(&mut self, client: u64, reply: &Reply, fd: Option<OwnedFd>) {
        let Some(known) = self.clients.get_mut(&client) else {
            return;
        };
        if let Ok(frame) = wire::encode(reply) {
            known.out.extend_from_slice(&frame);
            known.out_fd = fd.or(known.out_fd.take());
            if known.flush().is_err() {
                self.drop_client(client);
            }
        }
    }

    fn output(&mut self, id: &str, number: usize, buffer: &mut Vec<u8>) {
        let Some(container) = self.containers.get_mut(id) else {
            return;
        };
        if container.read(number, buffer) {
            self.pass_on(id, number, buffer);
        } else if self
            .containers
            .get(id)
            .is_some_and(|container| container.spec.tty && container.outputs[0].is_some())
        {
            // Hung up for now: without a pause this would spin until someone opens the terminal again.
            self.rest_terminal(id);
        }
    }

    /// A terminal with no one on the other side polls as hung up all the time. Its container ends as a rule
    /// at the same moment; till then it is looked at a few times a second.
    fn rest_terminal(&mut self, id: &str) {
        if let Some(container) = self.containers.get(id)
            && let Some(fd) = &container.outputs[0]
            && is_gone(fd.as_fd())
        {
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub(super) fn pass_on(&mut self, id: &str, number: usize, data: &[u8]) {
        let slow: Vec<_> = self
            .attachments
            .iter_mut()
            .filter(|(_, attachment)| attachment.container == id)
            .filter_map(|(client, attachment)| (!attachment.push(number, data)).then_some(*client))
            .collect();
        for client in slow {
            self.detach(client);
        }
    }

    fn attach_input(&mut self, client: u64) {
        let Some(attachment) = self.attachments.get_mut(&client) else {
            return;
        };
        let Some(container) = self.containers.get_mut(&attachment.container) else {
            return;
        };
        let Some(input) = &attachment.input else {
            return;
        };
        let mut bytes = [0; 16 * 1024];
        match nix::unistd::read(input, &mut bytes) {
            Ok(0) => {
                attachment.input = None;
                self.input_ended(client);
            }
            Ok(length) => {
                container.pending_input.extend_from_slice(&bytes[..length]);
                container.feed();
            }
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            Err(_) => attachment.input = None,
        }
    }

    fn input_ended(&mut self, client: u64) {
        let Some(attachment) = self.attachments.get(&client) else {
            return;
        };
        if let Some(container) = self.containers.get_mut(&attachment.container)
            && container.spec.stdin_once
        {
            container.close_input_when_fed();
        }
    }

    /// Ends an attachment. Its connection's end tells the client.
    fn detach(&mut self, client: u64) {
        if self
            .attachments
            .get(&client)
            .is_some_and(|attachment| attachment.input.is_some() && !attachment.ending)
        {
            self.input_ended(client);
        }
        if self.attachments.remove(&client).is_some()
            && let Some(client) = self.clients.get_mut(&client)
        {
            client.done = true;
        }
    }
}

impl Client {
    fn flush(&mut self) -> io::Result<()> {
        while !self.out.is_empty() {
            let fds: Vec<BorrowedFd<'_>> = self.out_fd.iter().map(AsFd::as_fd).collect();
            match wire::send(self.socket.as_fd(), &self.out, &fds) {
                Ok(length) => {
                    self.out_fd = None;
                    self.out.drain(..length);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Whether the other side of a pipe or terminal is closed.
fn is_gone(fd: BorrowedFd<'_>) -> bool {
    let mut fds = [PollFd::new(fd, PollFlags::empty())];
    poll(&mut fds, PollTimeout::ZERO).is_ok()
        && fds[0]
            .revents()
            .is_some_and(|events| events.intersects(PollFlags::POLLERR | PollFlags::POLLHUP))
}
