//! Processes that a helper starts: each can be ended with all it started.

use std::io::{self, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::thread;

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

/// What is to be ended when a request is cancelled.
#[derive(Debug, Default)]
pub(crate) struct Cancel {
    state: Mutex<State>,
    /// Ends the programs of a module that runs in this process.
    pub(crate) module: crate::Cancel,
}

#[derive(Debug, Default)]
struct State {
    cancelled: bool,
    groups: Vec<Pid>,
}

impl Cancel {
    /// Ends what was started, and whatever will be.
    pub(crate) fn cancel(&self) {
        self.module.cancel();
        if let Ok(mut state) = self.state.lock() {
            state.cancelled = true;
            for group in &state.groups {
                let _ = killpg(*group, Signal::SIGKILL);
            }
        }
    }

    /// Whether that was asked for.
    pub(crate) fn cancelled(&self) -> bool {
        self.state.lock().is_ok_and(|state| state.cancelled)
    }

    /// A process group is to be ended with the request.
    pub(crate) fn add(&self, group: Pid) {
        if let Ok(mut state) = self.state.lock() {
            if state.cancelled {
                let _ = killpg(group, Signal::SIGKILL);
            }
            state.groups.push(group);
        }
    }

    /// A process group has ended: its number may come to mean another.
    pub(crate) fn remove(&self, group: Pid) {
        if let Ok(mut state) = self.state.lock() {
            state.groups.retain(|known| *known != group);
        }
    }
}

/// The process of a child.
pub(crate) fn pid(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id()).unwrap_or(i32::MAX))
}

/// The status of a process as Python gives it.
pub(crate) fn status_code(status: ExitStatus) -> i32 {
    status
        .code()
        .unwrap_or_else(|| -status.signal().unwrap_or(1))
}

/// Runs a process to its end. What it writes goes to `stdout` and `stderr` as it comes.
///
/// # Errors
/// It cannot be started.
pub(crate) fn run(
    command: &mut Command,
    input: &[u8],
    cancel: &Cancel,
    stdout: impl FnMut(&[u8]) + Send,
    stderr: impl FnMut(&[u8]) + Send,
) -> io::Result<i32> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()?;
    let group = pid(&child);
    cancel.add(group);
    let (to, out, err) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    thread::scope(|scope| {
        scope.spawn(move || {
            if let Some(mut to) = to {
                // who does not read its input says so by its status
                let _ = to.write_all(input);
            }
        });
        scope.spawn(move || pour(err, stderr));
        pour(out, stdout);
    });
    let status = child.wait();
    cancel.remove(group);
    status.map(status_code)
}

/// Passes on all that a pipe gives until it is closed.
fn pour(from: Option<impl Read>, mut to: impl FnMut(&[u8])) {
    let Some(mut from) = from else { return };
    let mut chunk = vec![0; 64 * 1024];
    loop {
        match from.read(&mut chunk) {
            Ok(0) => return,
            Ok(length) => to(&chunk[..length]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}

/// Ends every process that descends from this one.
pub(crate) fn end_descendants() {
    let mut parents: Vec<(i32, i32)> = Vec::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(process) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        let parent = std::fs::read_to_string(entry.path().join("stat"))
            .ok()
            .and_then(|stat| {
                let after = stat.rsplit_once(')')?.1.to_owned();
                after.split_whitespace().nth(1)?.parse().ok()
            });
        if let Some(parent) = parent {
            parents.push((process, parent));
        }
    }
    let mut family = vec![i32::try_from(std::process::id()).unwrap_or(-1)];
    let mut at = 0;
    while at < family.len() {
        let parent = family[at];
        family.extend(
            parents
                .iter()
                .filter(|(_, of)| *of == parent)
                .map(|(process, _)| *process),
        );
        at += 1;
    }
    for process in &family[1..] {
        let _ = kill(Pid::from_raw(*process), Signal::SIGKILL);
    }
}
