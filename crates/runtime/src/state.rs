//! What is known about a container: its state, its exit, its use of resources.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Where a container is in its life.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    /// Its root and namespaces are there; its program has not been started.
    Created,
    /// Its program runs.
    Running {
        /// Process id of its first process, as the host sees it.
        pid: i32,
        /// When its program was started.
        started_at: Timestamp,
    },
    /// Its first process has ended.
    Exited(Exit),
}

/// How a container ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// The exit code; 128 + n for signal n.
    pub code: i32,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// The kernel killed something in it for want of memory.
    pub oom: bool,
    /// When its program was started; `None` if it never was.
    pub started_at: Option<Timestamp>,
    /// When it was seen to be gone.
    pub finished_at: Timestamp,
    /// Why, where more is known than the code says: a start that failed, a shim that was killed.
    #[serde(default)]
    pub message: String,
}

/// Use of resources, read from the container's cgroup.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    /// CPU time used, in nanoseconds.
    pub cpu_ns: u64,
    /// Working set: memory in use less inactive file pages, in bytes.
    pub memory_bytes: u64,
    /// Number of tasks.
    pub pids: u64,
}
