//! The processes that the shim forks: one to make a container, and two for an exec.

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use libcontainer::container::builder::ContainerBuilder;
use libcontainer::oci_spec::runtime::Spec;
use libcontainer::syscall::syscall::SyscallType;
use libcontainer::workload::{
    Executor, ExecutorError, ExecutorSetEnvsError, ExecutorValidationError,
};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use nix::unistd::Pid;

use super::oci::{self, Shared};
use super::{mounts, rootfs};
use crate::cgroup::Cgroup;
use crate::entry::{Entry, Failed};
use crate::spec::{ContainerSpec, Propagation};
use crate::sys;
use crate::wire::{Progress, report};

/// The end of the progress channel in every forked process.
const CHANNEL: i32 = 3;

/// The host's mount namespace, in a process that makes a container which needs it.
const HOST: i32 = 4;

/// The three standard streams of a new process; `None` is `/dev/null`.
pub(super) type Streams = [Option<OwnedFd>; 3];

/// Everything needed to make a container.
pub(super) struct Creation<'a> {
    pub(super) dir: &'a Path,
    pub(super) scratch: &'a Path,
    pub(super) spec: &'a ContainerSpec,
    pub(super) entry: Entry,
    pub(super) shared: Shared<'a>,
    pub(super) cgroup: &'a Cgroup,
    pub(super) host: &'a OwnedFd,
}

/// Forks a process that gets the streams and a channel; gives its id and the channel's other end.
fn spawn(
    cgroup: &Cgroup,
    streams: &Streams,
    host: Option<&OwnedFd>,
    run: impl FnOnce(BorrowedFd<'_>),
) -> io::Result<(Pid, OwnedFd)> {
    let (ours, theirs) = socketpair(
        AddressFamily::Unix,
        SockType::SeqPacket,
        None,
        SockFlag::SOCK_CLOEXEC,
    )?;
    if let Some(pid) = cgroup.fork()? {
        return Ok((pid, ours));
    }
    let result = (|| -> io::Result<()> {
        let null = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .open("/dev/null")?;
        let mut chosen = Vec::with_capacity(4);
        for stream in streams {
            chosen.push(sys::dup_above(
                stream.as_ref().map_or(null.as_raw_fd(), AsRawFd::as_raw_fd),
                10,
            )?);
        }
        chosen.push(sys::dup_above(theirs.as_raw_fd(), 10)?);
        if let Some(host) = host {
            chosen.push(sys::dup_above(host.as_raw_fd(), 10)?);
        }
        for (target, fd) in chosen.into_iter().enumerate() {
            sys::dup_onto(fd, target as i32)?;
        }
        Ok(())
    })();
    if result.is_err() {
        sys::exit_now(1);
    }
    // Nothing of the shim's may be held open by what is started here.
    sys::close_from(if host.is_some() { HOST + 1 } else { HOST });
    run(sys::borrow_fd(CHANNEL));
    sys::exit_now(0);
}

fn fail(channel: BorrowedFd<'_>, failed: Failed) -> ! {
    let Failed { mut message, code } = failed;
    let end = (0..=message.len().min(8000))
        .rev()
        .find(|end| message.is_char_boundary(*end))
        .unwrap_or(0);
    message.truncate(end);
    report(channel, &Progress::Failed { message, code }, &[]);
    sys::exit_now(code);
}

/// Starts making a container.
pub(super) fn create(creation: &Creation<'_>, streams: &Streams) -> io::Result<(Pid, OwnedFd)> {
    let both_ways = creation
        .spec
        .mounts
        .iter()
        .any(|mount| mount.propagation == Propagation::Bidirectional);
    spawn(
        creation.cgroup,
        streams,
        both_ways.then_some(creation.host),
        |channel| match build(creation) {
            Ok(pid) => report(channel, &Progress::Created { pid }, &[]),
            Err(message) => fail(channel, Failed { message, code: 128 }),
        },
    )
}

fn build(creation: &Creation<'_>) -> Result<i32, String> {
    let Creation {
        dir,
        scratch,
        spec,
        entry,
        shared,
        cgroup,
        ..
    } = creation;
    unshare(CloneFlags::CLONE_NEWNS)
        .map_err(|error| format!("making a mount namespace: {error}"))?;
    rootfs::mount_overlay(dir, scratch, &spec.lower_dirs, spec.writes.as_deref())?;
    // What some file systems show depends on who mounts them.
    if let Some(path) = shared.namespaces.get("network") {
        let what = || format!("joining network namespace {}", path.display());
        let file = fs::File::open(path).map_err(|error| format!("{}: {error}", what()))?;
        setns(file, CloneFlags::CLONE_NEWNET).map_err(|error| format!("{}: {error}", what()))?;
    }
    let root = scratch.join("rootfs");
    let later = mounts::assemble(&root, spec, shared.shm, cgroup, sys::borrow_fd(HOST))?;
    rootfs::hide_cgroups()?;
    let config = oci::config(spec, shared, &root, cgroup.path());
    let what = |error: io::Error| format!("writing the configuration of the container: {error}");
    fs::write(scratch.join("config.json"), config.to_string()).map_err(what)?;
    fs::create_dir_all(scratch.join("oci")).map_err(what)?;
    let container = ContainerBuilder::new("c".to_owned(), SyscallType::default())
        .with_executor(Program(Rc::new((entry.clone(), later))))
        .with_root_path(scratch.join("oci"))
        .map_err(|error| chain(&error))?
        .as_init(*scratch)
        .with_systemd(false)
        .as_sibling(true)
        .with_detach(true)
        .build()
        .map_err(|error| format!("creating the container: {}", chain(&error)))?;
    container
        .pid()
        .map(i32::from)
        .ok_or_else(|| "creating the container: it has no process".to_owned())
}

/// Lets a created container's first process go on. Through a descriptor, because socket paths are short.
pub(super) fn notify(scratch: &Path) -> io::Result<()> {
    let open = fs::File::open(scratch.join("oci/c"))?;
    let path = PathBuf::from(format!("/proc/self/fd/{}/notify.sock", open.as_raw_fd()));
    UnixStream::connect(path).map(drop)
}

pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        let more = source.to_string();
        // Transparent wrappers repeat what they wrap.
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        next = source.source();
    }
    text
}

/// Runs [`Entry`] where libcontainer would execute a program.
#[derive(Clone)]
struct Program(Rc<(Entry, mounts::Later)>);

impl Executor for Program {
    fn exec(&self, _: &Spec) -> Result<(), ExecutorError> {
        let channel = sys::borrow_fd(CHANNEL);
        let Err(failed) = self.0.0.execute(channel);
        fail(channel, failed)
    }

    fn validate(&self, _: &Spec) -> Result<(), ExecutorValidationError> {
        // Called once, in the process that is to be the container's first, when its root is its own.
        let attached = self
            .0
            .1
            .attach()
            .map_err(|message| Failed { message, code: 128 });
        attached
            .and_then(|()| self.0.0.validate())
            .map_err(|failed| {
                // First, and in plain words: what libcontainer makes of the error comes after it.
                report(
                    sys::borrow_fd(CHANNEL),
                    &Progress::Failed {
                        message: failed.message.clone(),
                        code: failed.code,
                    },
                    &[],
                );
                ExecutorValidationError::ArgValidationError(failed.message)
            })
    }

    fn setup_envs(
        &self,
        _: std::collections::HashMap<String, String>,
    ) -> Result<(), ExecutorSetEnvsError> {
        // The environment is given to execve.
        Ok(())
    }
}

/// Starts one more process in a container. The first child joins the cgroup and the namespaces, the second
/// is born into the PID namespace, with the shim as its parent.
pub(super) fn exec(
    entry: &Entry,
    init: &OwnedFd,
    cgroup: &Cgroup,
    streams: &Streams,
) -> io::Result<(Pid, OwnedFd)> {
    // Above the standard streams and the channel, so that it is there after those are set up.
    let init = sys::dup_above(init.as_raw_fd(), 0).map(sys::adopt_fd)?;
    let (ours, theirs) = socketpair(
        AddressFamily::Unix,
        SockType::SeqPacket,
        None,
        SockFlag::SOCK_CLOEXEC,
    )?;
    if let Some(pid) = cgroup.fork()? {
        return Ok((pid, ours));
    }
    let channel = theirs.as_fd();
    let kinds = CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWUTS
        | CloneFlags::CLONE_NEWNET
        | CloneFlags::CLONE_NEWCGROUP;
    if let Err(error) = setns(&init, kinds) {
        let message = format!("joining the container's namespaces: {error}");
        fail(channel, Failed { message, code: 128 });
    }
    match sys::fork_as(libc::CLONE_PARENT as u64) {
        Ok(Some(pid)) => {
            report(channel, &Progress::Created { pid: pid.as_raw() }, &[]);
            sys::exit_now(0);
        }
        Ok(None) => {}
        Err(error) => fail(
            channel,
            Failed {
                message: format!("forking: {error}"),
                code: 128,
            },
        ),
    }
    let set_up = (|| -> io::Result<()> {
        let null = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .open("/dev/null")?;
        let mut chosen = Vec::with_capacity(4);
        for stream in streams {
            chosen.push(sys::dup_above(
                stream.as_ref().map_or(null.as_raw_fd(), AsRawFd::as_raw_fd),
                10,
            )?);
        }
        chosen.push(sys::dup_above(theirs.as_raw_fd(), 10)?);
        for (target, fd) in chosen.into_iter().enumerate() {
            sys::dup_onto(fd, target as i32)?;
        }
        // Closed below with everything else.
        std::mem::forget(null);
        sys::close_from(CHANNEL + 1);
        sys::cloexec_from(CHANNEL);
        nix::unistd::setsid()?;
        Ok(())
    })();
    let channel = sys::borrow_fd(CHANNEL);
    if let Err(error) = set_up {
        fail(
            channel,
            Failed {
                message: format!("setting up standard streams: {error}"),
                code: 128,
            },
        );
    }
    let Err(failed) = entry.execute(channel);
    fail(channel, failed)
}
