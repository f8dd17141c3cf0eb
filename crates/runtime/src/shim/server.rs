//! The shim's loop: one `poll(2)` over everything that can happen.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::sys::signalfd::SignalFd;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::attach::Attachment;
use super::child::{self, Creation};
use super::container::{Container, Phase, set_nonblocking};
use super::oci::Shared;
use crate::cgroup::Cgroup;
use crate::entry::Entry;
use crate::layout::CONTAINERS;
use crate::spec::{ContainerSpec, ExecSpec, SandboxSpec};
use crate::state::State;
use crate::sys;
use crate::wire::{self, Failure, Frames, Progress, Reply, Request};

/// A process executed for a client.
#[derive(Debug)]
struct Exec {
    container: String,
    /// The first child, until it has told the id of the second.
    child: i32,
    pid: Option<i32>,
    channel: Option<OwnedFd>,
    console: Option<OwnedFd>,
    started: bool,
    code: Option<i32>,
    failure: Option<String>,
}

#[derive(Debug)]
struct Client {
    socket: OwnedFd,
    frames: Frames,
    fds: Vec<OwnedFd>,
    out: Vec<u8>,
    /// Goes with the next byte that is sent.
    out_fd: Option<OwnedFd>,
    /// Waits for the end of this container.
    waits_for: Option<String>,
    /// To be closed when everything is sent.
    done: bool,
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
    dir: PathBuf,
    spec: SandboxSpec,
    pod: Cgroup,
    host: OwnedFd,
    /// Closing any descriptor of the file would give up the lock.
    _lock: std::fs::File,
    listener: OwnedFd,
    signals: SignalFd,
    pause: Option<Pid>,
    containers: BTreeMap<String, Container>,
    clients: BTreeMap<u64, Client>,
    execs: BTreeMap<u64, Exec>,
    attachments: BTreeMap<u64, Attachment>,
    /// Ends of processes that nobody has told us about yet.
    strays: HashMap<i32, (i32, Option<i32>)>,
    next_client: u64,
    stopping: Option<u64>,
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

    fn reply(&mut self, client: u64, reply: &Reply) {
        self.reply_with(client, reply, None);
    }

    fn reply_with(&mut self, client: u64, reply: &Reply, fd: Option<OwnedFd>) {
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

    fn request(&mut self, client: u64, request: Request, fds: Vec<OwnedFd>) {
        let answered = match request {
            Request::Create { spec, start } => self.create(client, *spec, start).map(|()| None),
            Request::Start { id } => self.start(client, &id).map(|()| None),
            Request::State { id } => self
                .known(&id)
                .map(|container| Some(Reply::State(container.state()))),
            Request::Wait { id } => self.wait(client, id),
            Request::Kill { id, signal } => self.kill(&id, signal).map(|()| Some(Reply::Done)),
            Request::Remove { id } => self.remove(&id).map(|()| Some(Reply::Done)),
            Request::Exec { id, spec } => self.exec(client, id, &spec, fds).map(|()| None),
            Request::Attach { id, stdin } => self.attach(client, id, stdin, fds).map(Some),
            Request::Resize { id, columns, rows } => {
                self.resize(&id, columns, rows).map(|()| Some(Reply::Done))
            }
            Request::ReopenLog { id } => self.reopen_log(&id).map(|()| Some(Reply::Done)),
            Request::KillExec { signal } => {
                if let Some(Exec {
                    pid: Some(pid),
                    code: None,
                    ..
                }) = self.execs.get(&client)
                {
                    let _ = sys::kill(*pid, signal);
                }
                Ok(None)
            }
            Request::Shutdown => {
                self.shutdown();
                self.stopping = Some(client);
                if let Some(client) = self.clients.get_mut(&client) {
                    client.done = true;
                }
                Ok(Some(Reply::Done))
            }
        };
        match answered {
            Ok(Some(reply)) => self.reply(client, &reply),
            Ok(None) => {}
            Err(failure) => self.reply(client, &Reply::Failed(failure)),
        }
    }

    fn known(&mut self, id: &str) -> Result<&mut Container, Failure> {
        self.containers.get_mut(id).ok_or(Failure::NotFound)
    }

    fn create(&mut self, client: u64, spec: ContainerSpec, start: bool) -> Result<(), Failure> {
        if self.stopping.is_some() {
            return Err(Failure::Other("the sandbox is being removed".to_owned()));
        }
        if self.containers.contains_key(&spec.id) {
            return Err(Failure::AlreadyExists);
        }
        let entry = Entry::of_container(&spec, &self.spec.hostname)
            .map_err(|failed| Failure::Start(failed.message))?;
        let id = spec.id.clone();
        let dir = self.dir.join(CONTAINERS).join(&id);
        let cgroup = self.pod.child(&id);
        let mut container = Container::prepare(spec, dir, cgroup).map_err(Failure::Other)?;
        match self.begin(&mut container, entry, start) {
            Ok((child, channel)) => {
                container.channel = Some(channel);
                container.phase = Phase::Creating {
                    client,
                    child,
                    start,
                };
                self.containers.insert(id, container);
                Ok(())
            }
            Err(error) => {
                let _ = container.discard();
                Err(Failure::Other(format!(
                    "starting to create container {id}: {error}"
                )))
            }
        }
    }

    fn begin(
        &self,
        container: &mut Container,
        entry: Entry,
        start: bool,
    ) -> io::Result<(i32, OwnedFd)> {
        use nix::fcntl::OFlag;
        use nix::unistd::pipe2;
        let mut streams = [None, None, None];
        if !container.spec.tty {
            if container.spec.stdin {
                let (theirs, ours) = pipe2(OFlag::O_CLOEXEC)?;
                set_nonblocking(&ours)?;
                streams[0] = Some(theirs);
                container.input = Some(ours);
            }
            for number in 0..2 {
                let (ours, theirs) = pipe2(OFlag::O_CLOEXEC)?;
                set_nonblocking(&ours)?;
                container.outputs[number] = Some(ours);
                streams[number + 1] = Some(theirs);
            }
        }
        let me = std::process::id();
        let mut namespaces = BTreeMap::new();
        if let Some(path) = &self.spec.netns {
            namespaces.insert("network", path.clone());
        }
        if !self.spec.host_ipc {
            namespaces.insert("ipc", PathBuf::from(format!("/proc/{me}/ns/ipc")));
        }
        if !self.spec.hostname.is_empty() {
            namespaces.insert("uts", PathBuf::from(format!("/proc/{me}/ns/uts")));
        }
        if let Some(pause) = self.pause {
            namespaces.insert("pid", PathBuf::from(format!("/proc/{pause}/ns/pid")));
        }
        let own_shm = self.dir.join("shm");
        let shared = Shared {
            namespaces,
            host_pid: self.spec.host_pid,
            shm: if self.spec.host_ipc {
                Path::new("/dev/shm")
            } else {
                &own_shm
            },
            v2: self.pod.is_v2(),
        };
        let creation = Creation {
            dir: &container.dir,
            spec: &container.spec,
            entry,
            shared,
            cgroup: &container.cgroup,
            host: &self.host,
            start,
        };
        let (child, channel) = child::create(&creation, &streams)?;
        set_nonblocking(&channel)?;
        Ok((child.as_raw(), channel))
    }

    fn start(&mut self, client: u64, id: &str) -> Result<(), Failure> {
        let container = self.known(id)?;
        if !matches!(container.phase, Phase::Created) {
            return Err(wrong_state(container, "start"));
        }
        child::notify(&container.dir)
            .map_err(|error| Failure::Start(format!("starting container {id}: {error}")))?;
        container.phase = Phase::Starting { client };
        Ok(())
    }

    fn wait(&mut self, client: u64, id: String) -> Result<Option<Reply>, Failure> {
        if let State::Exited(exit) = self.known(&id)?.state() {
            return Ok(Some(Reply::Exited(exit)));
        }
        if let Some(client) = self.clients.get_mut(&client) {
            client.waits_for = Some(id);
        }
        Ok(None)
    }

    fn kill(&mut self, id: &str, signal: i32) -> Result<(), Failure> {
        let container = self.known(id)?;
        match container.phase {
            Phase::Created | Phase::Starting { .. } | Phase::Running { .. } => {
                // Not reaped yet, so the number is still its own.
                match sys::kill(container.pid, signal) {
                    Ok(()) => Ok(()),
                    Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(()),
                    Err(error) => Err(Failure::Other(format!(
                        "sending signal {signal} to container {id}: {error}"
                    ))),
                }
            }
            Phase::Creating { .. } | Phase::Exited(_) => Err(wrong_state(container, "kill")),
        }
    }

    fn remove(&mut self, id: &str) -> Result<(), Failure> {
        let container = self.known(id)?;
        match container.phase {
            Phase::Exited(_) => {}
            Phase::Creating { .. } => return Err(wrong_state(container, "remove")),
            _ => {
                let pid = Pid::from_raw(container.pid);
                let _ = kill(pid, Signal::SIGKILL);
                // Without a loop turn between, so that nobody sees a half-removed container.
                let status = loop {
                    match waitpid(pid, None) {
                        Err(Errno::EINTR) => {}
                        status => break status,
                    }
                };
                if let Ok(Some((pid, code, signal))) = status.map(ended) {
                    self.ended(pid, code, signal);
                }
            }
        }
        if let Some(container) = self.containers.get(id) {
            container
                .discard()
                .map_err(|error| Failure::Other(format!("removing container {id}: {error}")))?;
        }
        self.containers.remove(id);
        Ok(())
    }

    fn exec(
        &mut self,
        client: u64,
        id: String,
        spec: &ExecSpec,
        fds: Vec<OwnedFd>,
    ) -> Result<(), Failure> {
        let hostname = self.spec.hostname.clone();
        let container = self.known(&id)?;
        if !matches!(container.phase, Phase::Running { .. }) {
            return Err(wrong_state(container, "exec in"));
        }
        let Some(init) = &container.pidfd else {
            return Err(wrong_state(container, "exec in"));
        };
        let entry = Entry::of_exec(&container.spec, &hostname, spec)
            .map_err(|failed| Failure::Start(failed.message))?;
        let mut fds = fds.into_iter();
        let mut streams = [None, None, None];
        if !spec.tty {
            if spec.stdin {
                streams[0] = fds.next();
            }
            streams[1] = fds.next();
            streams[2] = fds.next();
        }
        let (child, channel) =
            child::exec(&entry, init, &container.cgroup, &streams).map_err(|error| {
                Failure::Other(format!("starting an exec in container {id}: {error}"))
            })?;
        set_nonblocking(&channel).map_err(|error| Failure::Other(error.to_string()))?;
        let exec = Exec {
            container: id,
            child: child.as_raw(),
            pid: None,
            channel: Some(channel),
            console: None,
            started: false,
            code: None,
            failure: None,
        };
        self.execs.insert(client, exec);
        Ok(())
    }

    fn attach(
        &mut self,
        client: u64,
        id: String,
        stdin: bool,
        fds: Vec<OwnedFd>,
    ) -> Result<Reply, Failure> {
        let container = self.known(&id)?;
        if matches!(container.phase, Phase::Creating { .. } | Phase::Exited(_)) {
            return Err(wrong_state(container, "attach to"));
        }
        let tty = container.spec.tty;
        let attachment = Attachment::new(id, stdin, fds)
            .map_err(|error| Failure::Other(format!("attaching: {error}")))?;
        let takes = stdin && (tty || container.input.is_some());
        let mut attachment = attachment;
        if !takes {
            attachment.input = None;
        }
        self.attachments.insert(client, attachment);
        Ok(Reply::Attached { tty, stdin: takes })
    }

    fn resize(&mut self, id: &str, columns: u16, rows: u16) -> Result<(), Failure> {
        let container = self.known(id)?;
        match &container.outputs[0] {
            Some(terminal) if container.spec.tty => {
                sys::set_window(terminal.as_fd(), columns, rows).map_err(|error| {
                    Failure::Other(format!("resizing the terminal of container {id}: {error}"))
                })
            }
            _ => Ok(()),
        }
    }

    fn reopen_log(&mut self, id: &str) -> Result<(), Failure> {
        let container = self.known(id)?;
        if matches!(container.phase, Phase::Exited(_)) {
            return Ok(());
        }
        container
            .log
            .reopen()
            .map_err(|error| Failure::Other(format!("opening the log of container {id}: {error}")))
    }

    fn output(&mut self, id: &str, number: usize, buffer: &mut Vec<u8>) {
        let Some(container) = self.containers.get_mut(id) else {
            return;
        };
        if container.read(number, buffer) {
            self.to_attachers(id, number, buffer);
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

    fn to_attachers(&mut self, id: &str, number: usize, data: &[u8]) {
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

    fn container_progress(&mut self, id: &str) {
        loop {
            let Some(container) = self.containers.get_mut(id) else {
                return;
            };
            let Some(channel) = &container.channel else {
                return;
            };
            let (progress, mut fds) = match next_progress(channel) {
                Ok(Some(found)) => found,
                Ok(None) => return,
                // The end: every holder is gone or has executed its program.
                Err(()) => {
                    container.channel = None;
                    return self.channel_ended(id);
                }
            };
            match progress {
                Progress::Created { pid } => {
                    container.pid = pid;
                    container.pidfd = sys::pidfd_open(pid).ok();
                    let Phase::Creating { client, start, .. } = container.phase else {
                        continue;
                    };
                    if start {
                        container.phase = Phase::Starting { client };
                    } else {
                        container.phase = Phase::Created;
                        self.reply(client, &Reply::Done);
                    }
                    if let Some((code, signal)) = self.strays.remove(&pid) {
                        self.ended(pid, code, signal);
                    }
                }
                Progress::Console => {
                    if let Some(terminal) = fds.pop()
                        && set_nonblocking(&terminal).is_ok()
                    {
                        container.outputs[0] = Some(terminal);
                    }
                }
                Progress::Failed { message, code } => {
                    container.failure.get_or_insert((message, code));
                }
                Progress::Note(text) => eprintln!("{} container {id}: {text}", Timestamp::now()),
            }
        }
    }

    fn channel_ended(&mut self, id: &str) {
        let Some(container) = self.containers.get_mut(id) else {
            return;
        };
        match container.phase {
            Phase::Creating { client, .. } => {
                // Nothing came of it, and nothing is to stay of it.
                let (message, _) = container.failure.take().unwrap_or_else(|| {
                    (
                        "creating the container: the process that made it ended without a word"
                            .to_owned(),
                        128,
                    )
                });
                if let Some(container) = self.containers.remove(id)
                    && let Err(error) = container.discard()
                {
                    eprintln!("{} container {id}: {error}", Timestamp::now());
                }
                self.reply(client, &Reply::Failed(Failure::Start(message)));
            }
            Phase::Starting { client } => {
                if let Some((message, _)) = &container.failure {
                    // Its end is recorded when it is reaped.
                    let failure = Failure::Start(message.clone());
                    container.phase = Phase::Created;
                    self.reply(client, &Reply::Failed(failure));
                } else {
                    container.phase = Phase::Running {
                        started_at: Timestamp::now(),
                    };
                    self.reply(client, &Reply::Done);
                }
            }
            _ => {}
        }
    }

    fn exec_progress(&mut self, client: u64) {
        loop {
            let Some(exec) = self.execs.get_mut(&client) else {
                return;
            };
            let Some(channel) = &exec.channel else { return };
            match next_progress(channel) {
                Ok(Some((Progress::Created { pid }, _))) => {
                    exec.pid = Some(pid);
                    let orphaned = !self.clients.contains_key(&client);
                    if let Some((code, signal)) = self.strays.remove(&pid) {
                        self.ended(pid, code, signal);
                    } else if orphaned {
                        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
                    }
                }
                Ok(Some((Progress::Console, mut fds))) => exec.console = fds.pop(),
                Ok(Some((Progress::Failed { message, .. }, _))) => {
                    exec.failure.get_or_insert(message);
                }
                Ok(Some((Progress::Note(text), _))) => {
                    eprintln!("{} exec: {text}", Timestamp::now())
                }
                Ok(None) => return,
                Err(()) => {
                    exec.channel = None;
                    if let Some(message) = exec.failure.clone() {
                        exec.code.get_or_insert(128);
                        return self.reply(client, &Reply::Failed(Failure::Start(message)));
                    }
                    if exec.pid.is_none() {
                        exec.code.get_or_insert(128);
                        let message = format!(
                            "exec in container {}: the process ended without a word",
                            exec.container
                        );
                        exec.failure = Some(message.clone());
                        return self.reply(client, &Reply::Failed(Failure::Start(message)));
                    }
                    exec.started = true;
                    let (console, code) = (exec.console.take(), exec.code);
                    self.reply_with(client, &Reply::ExecStarted, console);
                    if let Some(code) = code {
                        self.reply(client, &Reply::ExecExited(code));
                    }
                    return;
                }
            }
        }
    }

    /// Collects every process that has ended.
    fn reap(&mut self) {
        loop {
            match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return,
                Err(Errno::EINTR) => {}
                Err(error) => {
                    eprintln!("{} waiting for processes: {error}", Timestamp::now());
                    return;
                }
                Ok(status) => {
                    if let Some((pid, code, signal)) = ended(status) {
                        self.ended(pid, code, signal);
                    }
                }
            }
        }
    }

    fn ended(&mut self, pid: i32, code: i32, signal: Option<i32>) {
        // What it said last may still be unread.
        let container = self.containers.iter().find(|(_, container)| {
            container.pid == pid && !matches!(container.phase, Phase::Exited(_))
        });
        if let Some(id) = container.map(|(id, _)| id.clone()) {
            self.container_progress(&id);
            self.container_ended(&id, code, signal);
            return;
        }
        let exec = self
            .execs
            .iter()
            .find(|(_, exec)| exec.pid == Some(pid) && exec.code.is_none());
        if let Some(client) = exec.map(|(client, _)| *client) {
            if let Some(exec) = self.execs.get_mut(&client) {
                exec.code = Some(code);
                if exec.started {
                    self.reply(client, &Reply::ExecExited(code));
                }
            }
            self.exec_progress(client);
            return;
        }
        // A first child, an orphan of a container, or someone we shall hear of in a moment.
        let expected = self.containers.values().any(
            |container| matches!(container.phase, Phase::Creating { child, .. } if child != pid),
        ) || self
            .execs
            .values()
            .any(|exec| exec.pid.is_none() && exec.child != pid && exec.channel.is_some());
        if expected {
            self.strays.insert(pid, (code, signal));
        } else {
            self.strays.clear();
        }
    }

    fn container_ended(&mut self, id: &str, code: i32, signal: Option<i32>) {
        // Everything it has written is in the pipes now; more will not come, even if someone else still
        // holds the other ends.
        let mut buffer = Vec::new();
        for number in 0..2 {
            let mut left = 64 << 20;
            while left > 0
                && let Some(container) = self.containers.get_mut(id)
                && container.read(number, &mut buffer)
            {
                left -= buffer.len().min(left);
                self.to_attachers(id, number, &buffer);
            }
        }
        let Some(container) = self.containers.get_mut(id) else {
            return;
        };
        let mut starter = None;
        if let Phase::Starting { client } = container.phase {
            // It is over before the end of the channel was seen, which the one-shot child may still hold.
            let reply = match &container.failure {
                Some((message, _)) => Reply::Failed(Failure::Start(message.clone())),
                None => {
                    container.phase = Phase::Running {
                        started_at: Timestamp::now(),
                    };
                    Reply::Done
                }
            };
            starter = Some((client, reply));
        }
        let exit = container.finish(code, signal);
        if let Some((client, reply)) = starter {
            self.reply(client, &reply);
        }
        for attachment in self
            .attachments
            .values_mut()
            .filter(|attachment| attachment.container == id)
        {
            attachment.ending = true;
            attachment.input = None;
        }
        let waiting: Vec<_> = self
            .clients
            .iter()
            .filter(|(_, client)| client.waits_for.as_deref() == Some(id))
            .map(|(client, _)| *client)
            .collect();
        for client in waiting {
            self.reply(client, &Reply::Exited(exit.clone()));
        }
    }

    /// Ends everything of the pod and writes down how.
    fn shutdown(&mut self) {
        if let Err(error) = self.pod.kill_all(Duration::from_secs(10)) {
            eprintln!("{} {error}", Timestamp::now());
        }
        self.reap();
        let left: Vec<_> = self
            .containers
            .iter()
            .filter(|(_, container)| !matches!(container.phase, Phase::Exited(_)))
            .map(|(id, _)| id.clone())
            .collect();
        for id in left {
            self.container_ended(&id, 137, Some(9));
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

fn wrong_state(container: &Container, operation: &str) -> Failure {
    Failure::WrongState {
        state: container.state_name().to_owned(),
        operation: operation.to_owned(),
    }
}

fn ended(status: WaitStatus) -> Option<(i32, i32, Option<i32>)> {
    match status {
        WaitStatus::Exited(pid, code) => Some((pid.as_raw(), code, None)),
        WaitStatus::Signaled(pid, signal, _) => {
            Some((pid.as_raw(), 128 + signal as i32, Some(signal as i32)))
        }
        _ => None,
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

/// The next packet; `Ok(None)` if there is none yet, `Err` at the end.
fn next_progress(channel: &OwnedFd) -> Result<Option<(Progress, Vec<OwnedFd>)>, ()> {
    let mut bytes = [0; 16 * 1024];
    let mut fds = Vec::new();
    match wire::receive(channel.as_fd(), &mut bytes, &mut fds) {
        Ok(0) => Err(()),
        Ok(length) => match serde_json::from_slice(&bytes[..length]) {
            Ok(progress) => Ok(Some((progress, fds))),
            Err(error) => Ok(Some((
                Progress::Note(format!("an unreadable report: {error}")),
                fds,
            ))),
        },
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(_) => Err(()),
    }
}
