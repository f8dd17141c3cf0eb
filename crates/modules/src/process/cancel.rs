//! Ending a run from outside.

use std::sync::{Arc, Mutex, PoisonError};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

/// Ends a run from outside: the programs it has started are killed with their whole process groups, and it starts no more.
#[derive(Clone, Debug, Default)]
pub struct Cancel {
    inner: Arc<Mutex<Running>>,
}

#[derive(Debug, Default)]
struct Running {
    cancelled: bool,
    groups: Vec<i32>,
}

impl Cancel {
    /// For one run.
    pub fn new() -> Self {
        Cancel::default()
    }

    /// Ends it. The module still gives a report, which nobody needs to read.
    pub fn cancel(&self) {
        let mut running = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        running.cancelled = true;
        for group in running.groups.drain(..) {
            // A group that has ended by itself is as good.
            let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
        }
    }

    /// Whether it was ended. Modules that wait ask for it between their looks.
    pub fn is_cancelled(&self) -> bool {
        self.inner
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .cancelled
    }

    /// A program with a process group of its own was started.
    pub fn started(&self, group: i32) {
        let mut running = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if running.cancelled {
            let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
        } else {
            running.groups.push(group);
        }
    }

    /// It has ended.
    pub fn ended(&self, group: i32) {
        self.inner
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .groups
            .retain(|known| *known != group);
    }
}
