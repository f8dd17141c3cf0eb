//! What a sandbox, a container and an exec are asked to be.
//!
//! These are plain values: they are written to disk beside the sandbox, so that whoever comes back
//! after a crash knows what was asked for, and sent to the shim as they are.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Limits on a cgroup. `None` means "no limit of our own".
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Resources {
    /// Relative weight on the v1 scale (2..=262144, 1024 is one CPU's worth); converted for cgroup v2.
    pub cpu_shares: Option<u64>,
    /// CPU time in microseconds that may be used in each period.
    pub cpu_quota_us: Option<i64>,
    /// Length of the period in microseconds; the kernel's default is 100,000.
    pub cpu_period_us: Option<u64>,
    /// Memory in bytes beyond which the kernel kills.
    pub memory_limit_bytes: Option<i64>,
    /// Number of tasks (processes and threads).
    pub pids_limit: Option<i64>,
}

/// The shared part of a pod: its namespaces, hostname and limits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SandboxSpec {
    /// Unique on this runtime root. Letters, digits, `_`, `-` and `.`; at most 128 bytes.
    pub id: String,
    /// Hostname in the sandbox's UTS namespace; empty keeps the host's UTS namespace.
    pub hostname: String,
    /// NIS domain name in the UTS namespace.
    pub domainname: Option<String>,
    /// Path of the network namespace to join; `None` is the host's network.
    pub netns: Option<PathBuf>,
    /// Containers see the host's processes.
    pub host_pid: bool,
    /// Containers use the host's IPC namespace and `/dev/shm`.
    pub host_ipc: bool,
    /// All containers share one PID namespace (ignored with `host_pid`).
    pub share_pid: bool,
    /// Namespaced kernel parameters, such as `net.ipv4.ip_local_port_range`.
    pub sysctls: BTreeMap<String, String>,
    /// Size of `/dev/shm` in bytes; `None` is 64 MiB.
    pub shm_size: Option<u64>,
    /// Limits of the whole pod.
    pub resources: Resources,
    /// Kept and given back, never interpreted.
    pub labels: BTreeMap<String, String>,
}

/// Who a process runs as. Names are looked up in the container's own `/etc/passwd` and `/etc/group`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct UserSpec {
    /// `user`, `uid`, `user:group` or `uid:gid` as in an image's configuration; empty is root.
    pub image_user: String,
    /// Overrides the user part.
    pub run_as_user: Option<u32>,
    /// Overrides the group part.
    pub run_as_group: Option<u32>,
    /// Refuse to start as uid 0, or as a user that is only known by name.
    pub run_as_non_root: bool,
    /// Added to the groups that `/etc/group` gives the user.
    pub supplemental_groups: Vec<u32>,
    /// Group that owns the pod's volumes; one more supplementary group.
    pub fs_group: Option<u32>,
}

/// How a mount takes part in the propagation of mounts made below it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Propagation {
    /// Mounts made later on either side stay there.
    #[default]
    Private,
    /// Mounts the host makes later appear in the container.
    HostToContainer,
    /// Both ways; needs a shared mount on the host.
    Bidirectional,
}

/// What is mounted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum MountKind {
    /// A file or directory of the host, with everything mounted below it.
    #[default]
    Bind,
    /// Memory; `options` may hold `size=...` and `mode=...`.
    Tmpfs,
}

/// One mount in a container. They are made in the order given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Mount {
    /// Path on the host (bind); ignored for tmpfs.
    pub source: PathBuf,
    /// Absolute path in the container; made if it is missing.
    pub target: PathBuf,
    /// What is mounted.
    pub kind: MountKind,
    /// Nothing below can be written.
    pub read_only: bool,
    /// Propagation of mounts made later.
    pub propagation: Propagation,
    /// Further options in `mount(8)`'s words, such as `noexec` or `size=1m`.
    pub options: Vec<String>,
    /// A path inside `source` to mount instead of it, resolved without leaving `source`.
    pub sub_path: Option<PathBuf>,
}

/// The system-call filter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Seccomp {
    /// No filter.
    Unconfined,
    /// The built-in allow-list, comparable to the one of containerd and Docker.
    #[default]
    Default,
    /// A profile in the JSON form that Docker and the kubelet read.
    Path(PathBuf),
}

/// A device node of the host to be made available.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// Path on the host.
    pub host_path: PathBuf,
    /// Path in the container.
    pub container_path: PathBuf,
    /// Any of `r`, `w` and `m`.
    pub permissions: String,
}

/// A resource limit of the process, as for `setrlimit(2)`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rlimit {
    /// Upper-case name, such as `RLIMIT_NOFILE`.
    pub name: String,
    /// Soft limit.
    pub soft: u64,
    /// Hard limit.
    pub hard: u64,
}

/// One container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ContainerSpec {
    /// Unique in its sandbox. Letters, digits, `_`, `-` and `.`; at most 128 bytes.
    pub id: String,
    /// Unpacked image layers, topmost first.
    pub lower_dirs: Vec<PathBuf>,
    /// Directory that keeps what is written to the root, also when the container is gone: it belongs to the
    /// caller, and a container made with it again goes on from there. `None` keeps it as long as the container.
    pub writes: Option<PathBuf>,
    /// The first process is one of our own, which reaps what nobody waits for, passes signals on and ends as its
    /// program does; without `args` it does that alone, until it is asked to end. Not with `tty`.
    pub init: bool,
    /// Program and arguments.
    pub args: Vec<String>,
    /// `NAME=value`; `PATH`, `HOME` and `HOSTNAME` are added when missing.
    pub env: Vec<String>,
    /// Working directory, made when missing; empty is `/`.
    pub cwd: PathBuf,
    /// A running container of the sandbox whose PID namespace this one joins, by its id: for looking
    /// at its processes. Ignored where the namespace is the host's or shared already.
    pub pid_of: Option<String>,
    /// Who it runs as.
    pub user: UserSpec,
    /// Mounts in order, after the standard ones (`/proc`, `/sys`, `/dev`, ...).
    pub mounts: Vec<Mount>,
    /// The root file system cannot be written.
    pub read_only_root: bool,
    /// All capabilities and devices, nothing masked, no filter.
    pub privileged: bool,
    /// Capabilities added to the default set; with or without `CAP_`, `ALL` for all.
    pub add_capabilities: Vec<String>,
    /// Capabilities taken away; `ALL` for all (what is added by name stays).
    pub drop_capabilities: Vec<String>,
    /// Set-user-id programs give no privileges.
    pub no_new_privs: bool,
    /// System-call filter.
    pub seccomp: Seccomp,
    /// Leave the usual masked and read-only paths under `/proc` and `/sys` as they are.
    pub unmasked: bool,
    /// Devices beside the default set.
    pub devices: Vec<Device>,
    /// Limits of this container.
    pub resources: Resources,
    /// `oom_score_adj` of the process.
    pub oom_score_adj: Option<i32>,
    /// Limits of the process.
    pub rlimits: Vec<Rlimit>,
    /// A terminal instead of three pipes.
    pub tty: bool,
    /// Keep standard input open for attachers; else it is `/dev/null`.
    pub stdin: bool,
    /// Close standard input when the first attacher leaves.
    pub stdin_once: bool,
    /// Log file in the CRI format; its directory must exist. `None` drops the output.
    pub log_path: Option<PathBuf>,
    /// Size in bytes at which the log is rotated; `None` is 10 MiB.
    pub log_max_bytes: Option<u64>,
    /// Number of log files kept, the current one included; `None` is 5.
    pub log_max_files: Option<u32>,
    /// Signal that asks it to stop, by name or number; empty is `SIGTERM`.
    pub stop_signal: String,
    /// Kept and given back, never interpreted.
    pub labels: BTreeMap<String, String>,
}

/// One more process in a running container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ExecSpec {
    /// Program and arguments.
    pub args: Vec<String>,
    /// Added to the container's own environment.
    pub env: Vec<String>,
    /// Working directory; `None` is the container's.
    pub cwd: Option<PathBuf>,
    /// Who it runs as; `None` is the container's user.
    pub user: Option<UserSpec>,
    /// A terminal of its own.
    pub tty: bool,
    /// Standard input is connected; else it is `/dev/null`.
    pub stdin: bool,
}
