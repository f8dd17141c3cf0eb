//! One container as the shim sees it.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use nix::fcntl::{FcntlArg, OFlag, fcntl};

use super::log::{Log, Stream};
use crate::cgroup::Cgroup;
use crate::layout::{write_exit, write_whole};
use crate::spec::ContainerSpec;
use crate::state::{Exit, State};

/// How much is read at once from one stream, so that none starves the others.
const READ: usize = 32 * 1024;

/// Where it is in its life. The numbers are clients that wait for an answer.
#[derive(Debug)]
pub(super) enum Phase {
    /// The one-shot child is at work.
    Creating {
        client: u64,
        child: i32,
        start: bool,
    },
    Created,
    /// Told to go on; the channel ends when the program runs.
    Starting {
        client: u64,
    },
    Running {
        started_at: Timestamp,
    },
    Exited(Exit),
}

#[derive(Debug)]
pub(super) struct Container {
    pub(super) spec: ContainerSpec,
    /// What stays: the specification, the exit and what it has written.
    pub(super) dir: PathBuf,
    /// In memory: what is only needed while the shim lives.
    pub(super) scratch: PathBuf,
    pub(super) cgroup: Cgroup,
    pub(super) phase: Phase,
    pub(super) pid: i32,
    /// Of its first process: safe to signal and to join, whatever the number is used for later.
    pub(super) pidfd: Option<OwnedFd>,
    pub(super) channel: Option<OwnedFd>,
    /// Output, and with a terminal the terminal as the first.
    pub(super) outputs: [Option<OwnedFd>; 2],
    pub(super) input: Option<OwnedFd>,
    /// Bytes from an attacher that the container has not taken yet.
    pub(super) pending_input: Vec<u8>,
    /// The attacher whose input was the only one has left.
    input_over: bool,
    pub(super) log: Log,
    /// Why its program could not run.
    pub(super) failure: Option<(String, i32)>,
}

pub(super) fn set_nonblocking(fd: &OwnedFd) -> io::Result<()> {
    let flags = OFlag::from_bits_retain(fcntl(fd, FcntlArg::F_GETFL)?);
    fcntl(fd, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    Ok(())
}

impl Container {
    /// Makes its directory and files.
    pub(super) fn prepare(
        spec: ContainerSpec,
        dir: PathBuf,
        scratch: PathBuf,
        cgroup: Cgroup,
    ) -> Result<Self, String> {
        let log = Log::open(
            spec.log_path.as_deref(),
            spec.log_max_bytes,
            spec.log_max_files,
        )
        .map_err(|error| {
            format!(
                "opening log {}: {error}",
                spec.log_path.as_deref().unwrap_or("".as_ref()).display()
            )
        })?;
        fs::create_dir_all(&dir).map_err(|error| format!("mkdir {}: {error}", dir.display()))?;
        let bytes = serde_json::to_vec(&spec).map_err(|error| error.to_string())?;
        write_whole(&dir.join("spec.json"), &bytes, false)
            .map_err(|error| format!("writing spec.json: {error}"))?;
        Ok(Self {
            spec,
            dir,
            scratch,
            cgroup,
            phase: Phase::Created,
            pid: 0,
            pidfd: None,
            channel: None,
            outputs: [None, None],
            input: None,
            pending_input: Vec::new(),
            input_over: false,
            log,
            failure: None,
        })
    }

    pub(super) fn state(&self) -> State {
        match &self.phase {
            Phase::Creating { .. } | Phase::Created | Phase::Starting { .. } => State::Created,
            Phase::Running { started_at } => State::Running {
                pid: self.pid,
                started_at: *started_at,
            },
            Phase::Exited(exit) => State::Exited(exit.clone()),
        }
    }

    pub(super) fn state_name(&self) -> &'static str {
        match &self.phase {
            Phase::Creating { .. } => "being created",
            Phase::Created => "created",
            Phase::Starting { .. } => "starting",
            Phase::Running { .. } => "running",
            Phase::Exited(_) => "exited",
        }
    }

    /// Reads once from an output. What was read goes to the log and comes back for the attachers; `None`
    /// if there is nothing now.
    pub(super) fn read(&mut self, number: usize, buffer: &mut Vec<u8>) -> bool {
        let Some(fd) = &self.outputs[number] else {
            return false;
        };
        buffer.resize(READ, 0);
        match nix::unistd::read(fd, buffer) {
            Ok(0) => {}
            Ok(length) => {
                buffer.truncate(length);
                let stream = if number == 0 {
                    Stream::Stdout
                } else {
                    Stream::Stderr
                };
                self.log.push(stream, buffer);
                return true;
            }
            Err(nix::errno::Errno::EAGAIN | nix::errno::Errno::EINTR) => return false,
            // A terminal whose other side is closed gives EIO.
            Err(_) => {}
        }
        buffer.clear();
        // A terminal may be opened again by another process of the container; it goes when the container goes.
        if !self.spec.tty {
            self.outputs[number] = None;
        }
        false
    }

    /// Ends its input once it has taken what is pending.
    pub(super) fn close_input_when_fed(&mut self) {
        self.input_over = true;
        if self.pending_input.is_empty() {
            self.input = None;
        }
    }

    /// Writes as much of the pending input as the container takes.
    pub(super) fn feed(&mut self) {
        let fd = if self.spec.tty {
            &self.outputs[0]
        } else {
            &self.input
        };
        let Some(fd) = fd else {
            self.pending_input.clear();
            return;
        };
        match nix::unistd::write(fd, &self.pending_input) {
            Ok(length) => {
                self.pending_input.drain(..length);
                if self.input_over && self.pending_input.is_empty() {
                    self.input = None;
                }
            }
            Err(nix::errno::Errno::EAGAIN | nix::errno::Errno::EINTR) => {}
            Err(_) => {
                // Nobody reads any more.
                self.pending_input.clear();
                self.input = None;
            }
        }
    }

    /// Its first process is gone: ends what is left of it, and writes down how it ended.
    pub(super) fn finish(&mut self, code: i32, signal: Option<i32>) -> Exit {
        // With a PID namespace of its own everything else is dead by now; in a shared one it is not.
        let killed = self.cgroup.kill_all(Duration::from_secs(10));
        let oom = self.cgroup.oom_kills() > 0 && code != 0;
        let (code, message) = match self.failure.take() {
            Some((message, code)) => (code, message),
            None if oom => (code, "out of memory: killed by the kernel".to_owned()),
            None => (code, String::new()),
        };
        let started_at = match &self.phase {
            Phase::Running { started_at } => Some(*started_at),
            _ => None,
        };
        self.log.finish();
        self.outputs = [None, None];
        self.input = None;
        self.channel = None;
        self.pidfd = None;
        let _ = fs::remove_dir_all(&self.scratch);
        let exit = Exit {
            code,
            signal,
            oom,
            started_at,
            finished_at: Timestamp::now(),
            message,
        };
        if let Err(error) = write_exit(&self.dir, &exit) {
            eprintln!(
                "{} writing exit of container {}: {error}",
                Timestamp::now(),
                self.spec.id
            );
        }
        self.phase = Phase::Exited(exit.clone());
        if let Err(error) = killed.and_then(|()| self.cgroup.remove()) {
            eprintln!("{} container {}: {error}", Timestamp::now(), self.spec.id);
        }
        exit
    }

    /// Removes what is on disk; it must not run any more.
    pub(super) fn discard(&self) -> io::Result<()> {
        if let Err(error) = self
            .cgroup
            .kill_all(Duration::from_secs(10))
            .and_then(|()| self.cgroup.remove())
        {
            return Err(io::Error::other(error));
        }
        let _ = fs::remove_dir_all(&self.scratch);
        match fs::remove_dir_all(&self.dir) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

/// Writes as much as a non-blocking descriptor takes.
pub(super) fn write_some(fd: &OwnedFd, mut bytes: &[u8]) -> io::Result<usize> {
    let mut done = 0;
    while !bytes.is_empty() {
        match nix::unistd::write(fd, bytes) {
            Ok(0) | Err(nix::errno::Errno::EAGAIN) => break,
            Ok(length) => {
                done += length;
                bytes = &bytes[length..];
            }
            Err(nix::errno::Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(done)
}
