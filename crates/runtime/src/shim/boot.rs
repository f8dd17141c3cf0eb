//! From a started executable to a sandbox.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::signal::{SigHandler, SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::waitpid;
use nix::unistd::{Pid, sethostname, setsid};

use super::server::Shim;
use crate::cgroup::{self, Cgroup, Layout};
use crate::layout::{BOOT, Boot, CONTAINERS, DEAD, LOCK, SCRATCH, SOCKET};
use crate::spec::SandboxSpec;
use crate::sys;

/// Leaves the agent's session and parentage.
pub(super) fn daemonize() {
    // Fails only for a group leader, which the agent's child is not; then there is nothing to leave.
    let _ = setsid();
    match sys::fork() {
        Ok(None) => {}
        Ok(Some(_)) => sys::exit_now(0),
        Err(error) => {
            println!("error: forking: {error}");
            sys::exit_now(1);
        }
    }
}

fn doing<E: std::fmt::Display>(what: impl std::fmt::Display) -> impl FnOnce(E) -> String {
    move |error| format!("{what}: {error}")
}

pub(super) fn boot(dir: &Path) -> Result<Shim, String> {
    std::env::set_current_dir(dir).map_err(doing(format_args!("chdir {}", dir.display())))?;
    let text = fs::read(BOOT).map_err(doing("reading boot.json"))?;
    let Boot {
        spec,
        cgroup_parent,
    } = serde_json::from_slice(&text).map_err(doing("reading boot.json"))?;

    let lock = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(LOCK)
        .map_err(doing("opening lock"))?;
    sys::lock(lock.as_fd()).map_err(doing("another shim holds the sandbox"))?;
    if Path::new(DEAD).exists() {
        return Err("the sandbox has been given up".to_owned());
    }
    sys::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0)
        .map_err(doing("becoming the reaper of orphans"))?;
    let signals = signals()?;
    let layout = Layout::detect().map_err(doing("looking for cgroups"))?;
    cgroup::join_shims(&layout, &cgroup_parent).map_err(|error| chain(&error))?;
    let pod = Cgroup::new(&layout, format!("{cgroup_parent}/{}", spec.id));

    let host = OwnedFd::from(
        File::open("/proc/self/ns/mnt").map_err(doing("opening the mount namespace"))?,
    );
    let mut flags = CloneFlags::CLONE_NEWNS;
    if !spec.host_ipc {
        flags |= CloneFlags::CLONE_NEWIPC;
    }
    if !spec.hostname.is_empty() {
        flags |= CloneFlags::CLONE_NEWUTS;
    }
    unshare(flags).map_err(doing("making namespaces"))?;
    // What the host mounts later is still seen; what is mounted here is not seen there.
    mount(
        None::<&str>,
        "/",
        None::<&str>,
        MsFlags::MS_SLAVE | MsFlags::MS_REC,
        None::<&str>,
    )
    .map_err(doing("detaching from the host's mounts"))?;
    if !spec.hostname.is_empty() {
        sethostname(&spec.hostname).map_err(doing("setting the hostname"))?;
        if let Some(name) = &spec.domainname {
            sys::set_domain_name(name).map_err(doing("setting the domain name"))?;
        }
    }
    fs::create_dir_all(CONTAINERS).map_err(doing("mkdir c"))?;
    fs::create_dir_all(SCRATCH).map_err(doing("mkdir t"))?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(
        Some("scratch"),
        SCRATCH,
        Some("tmpfs"),
        flags,
        Some("mode=711,size=64m"),
    )
    .map_err(doing("mounting scratch space"))?;
    if !spec.host_ipc {
        fs::create_dir_all("shm").map_err(doing("mkdir shm"))?;
        let options = format!("mode=1777,size={}", spec.shm_size.unwrap_or(64 << 20));
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
        mount(
            Some("shm"),
            "shm",
            Some("tmpfs"),
            flags,
            Some(options.as_str()),
        )
        .map_err(doing("mounting /dev/shm"))?;
    }
    set_sysctls(&spec)?;
    let pause = if spec.share_pid && !spec.host_pid {
        Some(start_pause(&pod)?)
    } else {
        None
    };

    let socket = {
        use nix::sys::socket::{
            AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, listen, socket,
        };
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket = socket(AddressFamily::Unix, SockType::Stream, flags, None)
            .map_err(doing("making a socket"))?;
        let _ = fs::remove_file(SOCKET);
        let address = UnixAddr::new(SOCKET).map_err(doing("naming the socket"))?;
        bind(socket.as_raw_fd(), &address).map_err(doing("binding shim.sock"))?;
        fs::set_permissions(SOCKET, std::os::unix::fs::PermissionsExt::from_mode(0o600))
            .map_err(doing("protecting shim.sock"))?;
        listen(&socket, Backlog::new(128).map_err(doing("listening"))?)
            .map_err(doing("listening"))?;
        socket
    };
    announce().map_err(doing("telling the agent"))?;
    Ok(Shim::new(
        dir.to_path_buf(),
        spec,
        pod,
        host,
        lock,
        socket,
        signals,
        pause,
    ))
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text = format!("{text}: {source}");
        next = source.source();
    }
    text
}

fn signals() -> Result<SignalFd, String> {
    let mut mask = SigSet::empty();
    mask.add(Signal::SIGCHLD);
    sigprocmask(SigmaskHow::SIG_BLOCK, Some(&mask), None).map_err(doing("blocking signals"))?;
    for signal in [
        Signal::SIGHUP,
        Signal::SIGINT,
        Signal::SIGTERM,
        Signal::SIGPIPE,
        Signal::SIGQUIT,
    ] {
        sys::ignore(signal, SigHandler::SigIgn).map_err(doing("ignoring signals"))?;
    }
    SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
        .map_err(doing("making a signal descriptor"))
}

/// IPC parameters belong to the shim's own namespace, network ones to the pod's.
fn set_sysctls(spec: &SandboxSpec) -> Result<(), String> {
    let (net, ipc): (Vec<_>, Vec<_>) = spec
        .sysctls
        .iter()
        .partition(|(name, _)| name.starts_with("net."));
    let write = |(name, value): (&String, &String)| -> Result<(), String> {
        let path = Path::new("/proc/sys").join(name.replace('.', "/"));
        fs::write(&path, value).map_err(doing(format_args!("setting sysctl {name}={value}")))
    };
    for (name, value) in ipc {
        let namespaced = name.starts_with("kernel.shm")
            || name.starts_with("kernel.msg")
            || name == "kernel.sem"
            || name.starts_with("fs.mqueue.");
        if !namespaced || spec.host_ipc {
            return Err(format!("sysctl {name:?} is not separate for each sandbox"));
        }
        write((name, value))?;
    }
    if net.is_empty() {
        return Ok(());
    }
    let Some(path) = &spec.netns else {
        return Err(format!(
            "sysctl {:?} cannot be set with the host's network",
            net[0].0
        ));
    };
    // In a child, so that the shim stays in the host's network namespace.
    let (mut read, write_end) = io::pipe().map_err(doing("making a pipe"))?;
    let Some(child) = sys::fork().map_err(doing("forking"))? else {
        let result = File::open(path)
            .map_err(doing(format_args!("opening {}", path.display())))
            .and_then(|file| {
                setns(file, CloneFlags::CLONE_NEWNET)
                    .map_err(doing(format_args!("joining {}", path.display())))
            })
            .and_then(|()| net.into_iter().try_for_each(write));
        if let Err(error) = result {
            let _ = (&write_end).write_all(error.as_bytes());
        }
        sys::exit_now(0);
    };
    drop(write_end);
    let mut error = String::new();
    io::Read::read_to_string(&mut read, &mut error).map_err(doing("setting sysctls"))?;
    waitpid(child, None).map_err(doing("setting sysctls"))?;
    if error.is_empty() { Ok(()) } else { Err(error) }
}

/// Starts the first process of a PID namespace that all containers share: it only reaps.
fn start_pause(pod: &Cgroup) -> Result<Pid, String> {
    let place = pod.child("pause");
    place
        .create(&crate::spec::Resources::default())
        .map_err(|error| chain(&error))?;
    let (read, write) = io::pipe().map_err(doing("making a pipe"))?;
    // The first child joins the cgroup, the second is born in the namespace, and the shim is the parent of both.
    let Some(first) = place.fork().map_err(doing("forking"))? else {
        drop(read);
        match sys::fork_as(libc::CLONE_NEWPID as u64 | libc::CLONE_PARENT as u64) {
            Ok(None) => pause(),
            Ok(Some(pid)) => {
                let _ = (&write).write_all(&pid.as_raw().to_le_bytes());
            }
            Err(error) => eprintln!("making a PID namespace: {error}"),
        }
        sys::exit_now(0);
    };
    drop(write);
    let mut pid = [0; 4];
    let told = io::Read::read_exact(&mut &read, &mut pid);
    waitpid(first, None).map_err(doing("making a PID namespace"))?;
    told.map_err(doing("making a PID namespace"))?;
    Ok(Pid::from_raw(i32::from_le_bytes(pid)))
}

/// Reaps for ever, and dies with the shim.
fn pause() -> ! {
    sys::close_from(0);
    let _ = sys::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as u64, 0);
    let _ = sys::prctl(libc::PR_SET_NAME, c"pause".as_ptr() as u64, 0);
    let mask = SigSet::from(Signal::SIGCHLD);
    loop {
        while waitpid(None, Some(nix::sys::wait::WaitPidFlag::WNOHANG))
            .is_ok_and(|status| status != nix::sys::wait::WaitStatus::StillAlive)
        {}
        let _ = mask.wait();
    }
}

/// The agent waits for this line and for the end of the pipe.
fn announce() -> io::Result<()> {
    io::stdout().write_all(b"ok\n")?;
    io::stdout().flush()?;
    let null = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/null")?;
    let log = OpenOptions::new()
        .create(true)
        .append(true)
        .open("shim.log")?;
    sys::dup_onto(null.as_raw_fd(), 0)?;
    sys::dup_onto(null.as_raw_fd(), 1)?;
    sys::dup_onto(log.as_raw_fd(), 2)
}
