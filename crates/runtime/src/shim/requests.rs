//! What clients ask for.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::Pid;

use super::attach::Attachment;
use super::child::{self, Creation, chain};
use super::container::{Container, Phase, set_nonblocking};
use super::oci::{self, Shared};
use super::progress::ended;
use super::server::{Exec, Shim};
use crate::entry::Entry;
use crate::layout::{CONTAINERS, SCRATCH};
use crate::spec::{ContainerSpec, ExecSpec};
use crate::state::State;
use crate::sys;
use crate::wire::{Failure, Reply, Request};

impl Shim {
    pub(super) fn request(&mut self, client: u64, request: Request, fds: Vec<OwnedFd>) {
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

    pub(super) fn known(&mut self, id: &str) -> Result<&mut Container, Failure> {
        self.containers.get_mut(id).ok_or(Failure::NotFound)
    }

    pub(super) fn create(
        &mut self,
        client: u64,
        spec: ContainerSpec,
        start: bool,
    ) -> Result<(), Failure> {
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
        let scratch = self.dir.join(SCRATCH).join(&id);
        let mut container =
            Container::prepare(spec, dir, scratch, cgroup).map_err(Failure::Other)?;
        match self.begin(&mut container, entry) {
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

    pub(super) fn begin(
        &self,
        container: &mut Container,
        entry: Entry,
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
        } else if let Some(id) = &container.spec.pid_of
            && !self.spec.host_pid
        {
            let target = self
                .containers
                .get(id)
                .filter(|other| other.pidfd.is_some());
            let target = target.ok_or_else(|| {
                io::Error::other(format!(
                    "container {id}, whose processes are to be seen, does not run"
                ))
            })?;
            namespaces.insert("pid", PathBuf::from(format!("/proc/{}/ns/pid", target.pid)));
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
        };
        let prepared = container.cgroup.create(&container.spec.resources);
        prepared
            .and_then(|()| {
                container
                    .cgroup
                    .restrict_devices(&oci::device_rules(&container.spec))
            })
            .map_err(|error| io::Error::other(chain(&error)))?;
        let creation = Creation {
            dir: &container.dir,
            scratch: &container.scratch,
            spec: &container.spec,
            entry,
            shared,
            cgroup: &container.cgroup,
            host: &self.host,
        };
        let (child, channel) = child::create(&creation, &streams)?;
        set_nonblocking(&channel)?;
        Ok((child.as_raw(), channel))
    }

    pub(super) fn start(&mut self, client: u64, id: &str) -> Result<(), Failure> {
        let container = self.known(id)?;
        if !matches!(container.phase, Phase::Created) {
            return Err(wrong_state(container, "start"));
        }
        child::notify(&container.scratch)
            .map_err(|error| Failure::Start(format!("starting container {id}: {error}")))?;
        container.phase = Phase::Starting { client };
        Ok(())
    }

    pub(super) fn wait(&mut self, client: u64, id: String) -> Result<Option<Reply>, Failure> {
        if let State::Exited(exit) = self.known(&id)?.state() {
            return Ok(Some(Reply::Exited(exit)));
        }
        if let Some(client) = self.clients.get_mut(&client) {
            client.waits_for = Some(id);
        }
        Ok(None)
    }

    pub(super) fn kill(&mut self, id: &str, signal: i32) -> Result<(), Failure> {
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

    pub(super) fn remove(&mut self, id: &str) -> Result<(), Failure> {
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

    pub(super) fn exec(
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

    pub(super) fn attach(
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

    pub(super) fn resize(&mut self, id: &str, columns: u16, rows: u16) -> Result<(), Failure> {
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

    pub(super) fn reopen_log(&mut self, id: &str) -> Result<(), Failure> {
        let container = self.known(id)?;
        if matches!(container.phase, Phase::Exited(_)) {
            return Ok(());
        }
        container
            .log
            .reopen()
            .map_err(|error| Failure::Other(format!("opening the log of container {id}: {error}")))
    }
}

fn wrong_state(container: &Container, operation: &str) -> Failure {
    Failure::WrongState {
        state: container.state_name().to_owned(),
        operation: operation.to_owned(),
    }
}
