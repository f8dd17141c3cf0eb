//! The last steps before a program runs, for a container's first process and for every exec.
//!
//! This runs inside the container's namespaces and root, in a process of its own, as root with all
//! capabilities. libcontainer has changed the root; who the process is, what it may do and what
//! it executes is decided here, so that both kinds of process get the same treatment.

pub(crate) mod capabilities;
mod hidden;
mod init;
pub(crate) mod seccomp;
pub(crate) mod user;

use std::collections::HashSet;
use std::convert::Infallible;
use std::ffi::CString;
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use nix::mount::{MsFlags, mount};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{Gid, Uid};

use crate::spec::{ContainerSpec, ExecSpec, MountKind, Propagation, Rlimit, Seccomp, UserSpec};
use crate::sys;
use crate::wire::{Progress, report};

const DEFAULT_PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Why a program could not be executed, and the exit code that a shell would give.
#[derive(Clone, Debug)]
pub(crate) struct Failed {
    pub(crate) message: String,
    pub(crate) code: i32,
}

impl Failed {
    fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            code: 128,
        }
    }
}

/// How to become and run a process.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    args: Vec<String>,
    env: Vec<String>,
    cwd: PathBuf,
    user: UserSpec,
    capabilities: u64,
    no_new_privs: bool,
    filter: seccomp::Filters,
    rlimits: Vec<Rlimit>,
    oom_score_adj: Option<i32>,
    tty: bool,
    propagations: Vec<(PathBuf, Propagation)>,
    /// The usual paths of `/proc` and `/sys` are still to be hidden.
    hide: bool,
    /// The container's first process dies with the shim, its parent.
    first: bool,
    /// The first process stays ours, and the program is its child.
    init: bool,
}

impl Entry {
    pub(crate) fn of_container(spec: &ContainerSpec, hostname: &str) -> Result<Self, Failed> {
        user::check_non_root(&spec.user).map_err(Failed::new)?;
        if spec.args.is_empty() && !spec.init {
            return Err(Failed::new("no command specified"));
        }
        if spec.init && spec.tty {
            return Err(Failed::new("an init of our own has no terminal"));
        }
        let capabilities = capabilities::compute(
            spec.privileged,
            &spec.add_capabilities,
            &spec.drop_capabilities,
        )
        .map_err(Failed::new)?;
        let profile = if spec.privileged {
            &Seccomp::Unconfined
        } else {
            &spec.seccomp
        };
        let mut env = spec.env.clone();
        if !hostname.is_empty() && !env.iter().any(|entry| entry.starts_with("HOSTNAME=")) {
            env.push(format!("HOSTNAME={hostname}"));
        }
        let shared = spec
            .mounts
            .iter()
            .any(|mount| mount.propagation == Propagation::Bidirectional);
        let propagations = spec
            .mounts
            .iter()
            .filter(|mount| mount.kind == MountKind::Bind)
            .filter(|mount| shared || mount.propagation == Propagation::HostToContainer)
            .map(|mount| (mount.target.clone(), mount.propagation))
            .collect();
        Ok(Self {
            args: spec.args.clone(),
            env,
            cwd: spec.cwd.clone(),
            user: spec.user.clone(),
            capabilities,
            no_new_privs: spec.no_new_privs,
            filter: seccomp::Filters::load(profile, capabilities).map_err(Failed::new)?,
            rlimits: spec.rlimits.clone(),
            oom_score_adj: spec.oom_score_adj,
            tty: spec.tty,
            propagations,
            hide: !spec.unmasked && !spec.privileged,
            first: true,
            init: spec.init,
        })
    }

    pub(crate) fn of_exec(
        container: &ContainerSpec,
        hostname: &str,
        spec: &ExecSpec,
    ) -> Result<Self, Failed> {
        if spec.args.is_empty() {
            return Err(Failed::new("no command specified"));
        }
        let own = Self::of_container(container, hostname)?;
        let named = |entry: &String| entry.split('=').next().unwrap_or_default().to_owned();
        let overridden: HashSet<_> = spec.env.iter().map(named).collect();
        let mut env = own.env;
        env.retain(|entry| !overridden.contains(&named(entry)));
        env.extend(spec.env.iter().cloned());
        Ok(Self {
            args: spec.args.clone(),
            env,
            cwd: spec.cwd.clone().unwrap_or(own.cwd),
            user: spec.user.clone().unwrap_or(own.user),
            tty: spec.tty,
            propagations: Vec::new(),
            hide: false,
            first: false,
            init: false,
            ..own
        })
    }

    /// Finds everything that can be wrong before the program is started.
    pub(crate) fn validate(&self) -> Result<(), Failed> {
        self.identity()?;
        if self.args.is_empty() {
            return Ok(());
        }
        self.program().map(|_| ())
    }

    fn identity(&self) -> Result<user::Identity, Failed> {
        let read = |path: &str| crate::cgroup::read_small(Path::new(path)).unwrap_or_default();
        user::resolve(&self.user, &read("/etc/passwd"), &read("/etc/group"))
            .map_err(|error| Failed::new(format!("unable to start container process: {error}")))
    }

    fn path_variable(&self) -> &str {
        let path = self
            .env
            .iter()
            .rev()
            .find(|entry| entry.starts_with("PATH="))
            .map_or(DEFAULT_PATH, String::as_str);
        &path["PATH=".len()..]
    }

    /// The file to execute, found as `execvp` finds it.
    fn program(&self) -> Result<PathBuf, Failed> {
        let name = &self.args[0];
        let failed = |message: String, code| {
            Err(Failed {
                message: format!("unable to start container process: exec: {name:?}: {message}"),
                code,
            })
        };
        let executable = |path: &Path| -> io::Result<bool> {
            let metadata = fs::metadata(path)?;
            Ok(!metadata.is_dir() && metadata.permissions().mode() & 0o111 != 0)
        };
        if name.is_empty() {
            return failed("executable file not found in $PATH".to_owned(), 127);
        }
        if name.contains('/') {
            let path = if name.starts_with('/') {
                PathBuf::from(name)
            } else {
                self.cwd().join(name)
            };
            return match executable(&path) {
                Ok(true) => Ok(path),
                Ok(false) if path.is_dir() => failed("is a directory".to_owned(), 126),
                Ok(false) => failed("permission denied".to_owned(), 126),
                Err(error) if error.kind() == io::ErrorKind::NotFound => failed(
                    format!("stat {}: no such file or directory", path.display()),
                    127,
                ),
                Err(error) => failed(format!("stat {}: {error}", path.display()), 126),
            };
        }
        for dir in self.path_variable().split(':') {
            let path = Path::new(if dir.is_empty() { "." } else { dir }).join(name);
            if executable(&path).unwrap_or(false) {
                return Ok(path);
            }
        }
        failed("executable file not found in $PATH".to_owned(), 127)
    }

    fn cwd(&self) -> &Path {
        if self.cwd.as_os_str().is_empty() {
            Path::new("/")
        } else {
            &self.cwd
        }
    }

    /// Becomes the program. Returns only if that fails.
    pub(crate) fn execute(&self, channel: BorrowedFd<'_>) -> Result<Infallible, Failed> {
        let doing = |what: &str| {
            let what = what.to_owned();
            move |error: io::Error| {
                Failed::new(format!(
                    "unable to start container process: {what}: {error}"
                ))
            }
        };
        let identity = self.identity()?;
        let program = if self.args.is_empty() {
            PathBuf::new()
        } else {
            self.program()?
        };
        if self.tty {
            open_console(channel, self.first).map_err(doing("opening the terminal"))?;
        }
        for fd in 0..3 {
            // `/dev/stdout` and its kin are opened anew by programs that do not run as root.
            if let Ok(stat) = nix::sys::stat::fstat(sys::borrow_fd(fd))
                // Not the host's /dev/null; a terminal of its own is fine.
                && (self.tty || stat.st_mode & libc::S_IFMT != libc::S_IFCHR)
            {
                let _ = nix::unistd::fchown(
                    sys::borrow_fd(fd),
                    Some(Uid::from_raw(identity.uid)),
                    None,
                );
            }
        }
        for (target, propagation) in &self.propagations {
            let flags = match propagation {
                Propagation::Private => MsFlags::MS_PRIVATE,
                Propagation::HostToContainer => MsFlags::MS_SLAVE,
                Propagation::Bidirectional => MsFlags::MS_SHARED,
            };
            mount(
                None::<&str>,
                target,
                None::<&str>,
                flags | MsFlags::MS_REC,
                None::<&str>,
            )
            .map_err(|error| {
                doing(&format!("setting propagation of {}", target.display()))(error.into())
            })?;
        }
        if self.hide {
            hidden::hide().map_err(doing("hiding paths of the host"))?;
        }
        self.limit(channel)?;

        umask(Mode::from_bits_truncate(0o022));
        fs::create_dir_all(self.cwd())
            .map_err(doing(&format!("mkdir {}", self.cwd().display())))?;
        std::env::set_current_dir(self.cwd()).map_err(doing(&format!(
            "chdir to cwd ({}) failed",
            self.cwd().display()
        )))?;

        self.drop_privileges(&identity)?;

        let c_string = |text: &str| {
            CString::new(text).map_err(|_| {
                Failed::new(format!("a nul byte in an argument or variable: {text:?}"))
            })
        };
        let mut env = self
            .env
            .iter()
            .map(|entry| c_string(entry))
            .collect::<Result<Vec<_>, _>>()?;
        let mut default = |name: &str, value: &str| -> Result<(), Failed> {
            if !self
                .env
                .iter()
                .any(|entry| entry.split('=').next() == Some(name))
            {
                env.push(c_string(&format!("{name}={value}"))?);
            }
            Ok(())
        };
        default("PATH", &DEFAULT_PATH["PATH=".len()..])?;
        default("HOME", &identity.home)?;
        if self.tty {
            default("TERM", "xterm")?;
        }
        let args = self
            .args
            .iter()
            .map(|arg| c_string(arg))
            .collect::<Result<Vec<_>, _>>()?;
        let path = sys::c_path(&program).map_err(doing("exec"))?;
        if self.init {
            // Comes back in the child that is to be the program.
            init::split(!self.args.is_empty()).map_err(doing("starting the program"))?;
        }
        sys::reset_signals();
        let Err(error) = nix::unistd::execve(&path, &args, &env);
        let message = match error {
            nix::errno::Errno::ENOEXEC => "exec format error".to_owned(),
            nix::errno::Errno::EACCES => "permission denied".to_owned(),
            nix::errno::Errno::ENOENT => "no such file or directory".to_owned(),
            other => other.desc().to_lowercase(),
        };
        let code = if error == nix::errno::Errno::ENOENT {
            127
        } else {
            126
        };
        Err(Failed {
            message: format!("exec {}: {message}", program.display()),
            code,
        })
    }

    fn limit(&self, channel: BorrowedFd<'_>) -> Result<(), Failed> {
        for limit in &self.rlimits {
            let number = rlimit_number(&limit.name)
                .ok_or_else(|| Failed::new(format!("unknown resource limit {:?}", limit.name)))?;
            sys::set_rlimit(number, limit.soft, limit.hard).map_err(|error| {
                Failed::new(format!("setting {} to {}: {error}", limit.name, limit.hard))
            })?;
        }
        if let Some(score) = self.oom_score_adj
            && let Err(error) = fs::write("/proc/self/oom_score_adj", score.to_string())
        {
            // Lowering it needs CAP_SYS_RESOURCE, which root itself may lack in a nested setup.
            report(
                channel,
                &Progress::Note(format!("setting oom_score_adj to {score}: {error}")),
                &[],
            );
        }
        Ok(())
    }

    fn drop_privileges(&self, identity: &user::Identity) -> Result<(), Failed> {
        let doing = |what: &'static str| {
            move |error: io::Error| {
                Failed::new(format!(
                    "unable to start container process: {what}: {error}"
                ))
            }
        };
        // What we do not have ourselves cannot be given on.
        let held = (0..capabilities::COUNT)
            .filter(|number| {
                sys::prctl(libc::PR_CAPBSET_READ, u64::from(*number), 0).is_ok_and(|set| set == 1)
            })
            .fold(0_u64, |set, number| set | 1 << number);
        let set = self.capabilities & held;
        if !self.no_new_privs {
            // Needs CAP_SYS_ADMIN, which is about to go.
            self.filter
                .install()
                .map_err(doing("installing the system-call filter"))?;
        }
        for number in 0..capabilities::COUNT {
            if held & !set & (1 << number) != 0 {
                sys::prctl(libc::PR_CAPBSET_DROP, u64::from(number), 0)
                    .map_err(doing("dropping capabilities"))?;
            }
        }
        let groups: Vec<_> = identity
            .groups
            .iter()
            .map(|gid| Gid::from_raw(*gid))
            .collect();
        nix::unistd::setgroups(&groups)
            .map_err(|error| doing("setting supplementary groups")(error.into()))?;
        let (uid, gid) = (Uid::from_raw(identity.uid), Gid::from_raw(identity.gid));
        nix::unistd::setresgid(gid, gid, gid)
            .map_err(|error| doing("setting the group")(error.into()))?;
        nix::unistd::setresuid(uid, uid, uid)
            .map_err(|error| doing("setting the user")(error.into()))?;
        if identity.uid == 0 {
            sys::capset(set, set, 0).map_err(doing("setting capabilities"))?;
        }
        if self.first {
            sys::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as u64, 0)
                .map_err(doing("binding to the shim"))?;
        }
        if self.no_new_privs {
            sys::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0).map_err(doing("setting no_new_privs"))?;
            self.filter
                .install()
                .map_err(doing("installing the system-call filter"))?;
        }
        Ok(())
    }
}

/// Opens a terminal in the container's own devpts, makes it the standard streams and hands the other
/// side to the shim.
fn open_console(channel: BorrowedFd<'_>, first: bool) -> io::Result<()> {
    let master = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/ptmx")
        .or_else(|_| {
            fs::OpenOptions::new()
                .read(true)
                .write(true)
                .open("/dev/pts/ptmx")
        })?;
    let slave = sys::open_peer(master.as_fd())?;
    if first {
        fs::write("/dev/console", "").or_else(|_| fs::File::create("/dev/console").map(drop))?;
        let source = format!("/proc/self/fd/{}", slave.as_raw_fd());
        mount(
            Some(source.as_str()),
            "/dev/console",
            None::<&str>,
            MsFlags::MS_BIND,
            None::<&str>,
        )?;
    } else {
        // libcontainer has made a session for the first process.
        nix::unistd::setsid().map(drop).or_else(|error| {
            if error == nix::errno::Errno::EPERM {
                Ok(())
            } else {
                Err(error)
            }
        })?;
    }
    sys::set_controlling_terminal(slave.as_fd())?;
    for fd in 0..3 {
        sys::dup_onto(slave.as_raw_fd(), fd)?;
    }
    report(channel, &Progress::Console, &[master.as_fd()]);
    Ok(())
}

fn rlimit_number(name: &str) -> Option<i32> {
    Some(match name {
        "RLIMIT_CPU" => libc::RLIMIT_CPU,
        "RLIMIT_FSIZE" => libc::RLIMIT_FSIZE,
        "RLIMIT_DATA" => libc::RLIMIT_DATA,
        "RLIMIT_STACK" => libc::RLIMIT_STACK,
        "RLIMIT_CORE" => libc::RLIMIT_CORE,
        "RLIMIT_RSS" => libc::RLIMIT_RSS,
        "RLIMIT_NPROC" => libc::RLIMIT_NPROC,
        "RLIMIT_NOFILE" => libc::RLIMIT_NOFILE,
        "RLIMIT_MEMLOCK" => libc::RLIMIT_MEMLOCK,
        "RLIMIT_AS" => libc::RLIMIT_AS,
        "RLIMIT_LOCKS" => libc::RLIMIT_LOCKS,
        "RLIMIT_SIGPENDING" => libc::RLIMIT_SIGPENDING,
        "RLIMIT_MSGQUEUE" => libc::RLIMIT_MSGQUEUE,
        "RLIMIT_NICE" => libc::RLIMIT_NICE,
        "RLIMIT_RTPRIO" => libc::RLIMIT_RTPRIO,
        "RLIMIT_RTTIME" => libc::RLIMIT_RTTIME,
        _ => return None,
    } as i32)
}
