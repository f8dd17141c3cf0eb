//! What processes report on their way to a program, and how they end.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use jiff::Timestamp;
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::child;
use super::container::{Phase, set_nonblocking};
use super::server::Shim;
use crate::sys;
use crate::wire::{self, Failure, Progress, Reply};

impl Shim {
    pub(super) fn container_progress(&mut self, id: &str) {
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
                    let limited = container
                        .cgroup
                        .limit_pids(container.spec.resources.pids_limit);
                    let ready = limited
                        .map_err(|error| child::chain(&error))
                        .and_then(|()| {
                            if start {
                                child::notify(&container.scratch).map_err(|error| error.to_string())
                            } else {
                                Ok(())
                            }
                        });
                    match ready {
                        Ok(()) if start => container.phase = Phase::Starting { client },
                        Ok(()) => {
                            container.phase = Phase::Created;
                            self.reply(client, &Reply::Done);
                        }
                        // Its end is answered like any other failure to make it.
                        Err(message) => {
                            container.failure.get_or_insert((message, 128));
                            let _ = sys::kill(pid, libc::SIGKILL);
                        }
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

    pub(super) fn channel_ended(&mut self, id: &str) {
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

    pub(super) fn exec_progress(&mut self, client: u64) {
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
                    eprintln!("{} exec: {text}", Timestamp::now());
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
    pub(super) fn reap(&mut self) {
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

    pub(super) fn ended(&mut self, pid: i32, code: i32, signal: Option<i32>) {
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

    pub(super) fn container_ended(&mut self, id: &str, code: i32, signal: Option<i32>) {
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
                self.pass_on(id, number, &buffer);
            }
        }
        let Some(container) = self.containers.get_mut(id) else {
            return;
        };
        let mut starter = None;
        if let Phase::Starting { client } = container.phase {
            // It is over before the end of the channel was seen, which the one-shot child may still hold.
            let reply = if let Some((message, _)) = &container.failure {
                Reply::Failed(Failure::Start(message.clone()))
            } else {
                container.phase = Phase::Running {
                    started_at: Timestamp::now(),
                };
                Reply::Done
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
    pub(super) fn shutdown(&mut self) {
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

pub(super) fn ended(status: WaitStatus) -> Option<(i32, i32, Option<i32>)> {
    match status {
        WaitStatus::Exited(pid, code) => Some((pid.as_raw(), code, None)),
        WaitStatus::Signaled(pid, signal, _) => {
            Some((pid.as_raw(), 128 + signal as i32, Some(signal as i32)))
        }
        _ => None,
    }
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
