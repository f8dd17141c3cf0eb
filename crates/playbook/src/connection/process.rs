//! Processes of the controller: each with a group of its own, so that all it started ends with it.

use std::io;
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::Output;

/// How a process ended.
pub(super) enum Ended {
    /// By itself, whatever it says.
    Well(Output),
    /// It was ended, with all it had started, because its time was over.
    TimedOut(Duration),
    /// It never began.
    NotStarted(io::Error),
}

/// The process group of a child, which is ended when this is dropped before [`Group::done`].
pub(crate) struct Group {
    leader: Option<Pid>,
}

/// A command that leads a group of its own, so that it ends with all it starts, and has no terminal: `ssh` would ask there for phrases of
/// keys and whether to trust a host, and as Ansible has it nobody is asked in the middle of a run.
pub(super) fn apart(program: &str) -> tokio::process::Command {
    let has_terminal = std::fs::File::open("/dev/tty").is_ok();
    // what is not there is better told by who was to start it
    if has_terminal
        && is_there(program)
        && let Ok(here) = super::helper::here()
    {
        let mut command = tokio::process::Command::new(&here.program.path);
        command
            .args(&here.program.arguments)
            .args(["apart", program]);
        return command;
    }
    let mut command = tokio::process::Command::new(program);
    command.process_group(0);
    command
}

/// Whether a program would be found.
fn is_there(program: &str) -> bool {
    if program.contains('/') {
        return std::path::Path::new(program).is_file();
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join(program).is_file())
}

impl Group {
    /// The group that a child leads.
    pub(crate) fn of(child: &tokio::process::Child) -> Self {
        Group {
            leader: child
                .id()
                .and_then(|id| i32::try_from(id).ok())
                .map(Pid::from_raw),
        }
    }

    /// The child has ended by itself.
    pub(crate) fn done(&mut self) {
        self.leader = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(leader) = self.leader {
            // it may have ended already, or not lead its group yet
            if killpg(leader, Signal::SIGKILL).is_err() {
                let _ = kill(leader, Signal::SIGKILL);
            }
        }
    }
}

/// Runs a process, which leads a group of its own, with an input to its end, or to the end of its time. Dropped, it
/// ends the process.
pub(super) async fn run(
    mut process: tokio::process::Command,
    input: &[u8],
    timeout: Option<Duration>,
) -> Ended {
    process
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let mut child = match process.spawn() {
        Ok(child) => child,
        Err(error) => return Ended::NotStarted(error),
    };
    let mut group = Group::of(&child);
    let stdin = child.stdin.take();
    let stdout = child.stdout.take();
    let stderr = child.stderr.take();
    let work = async {
        let write = async {
            if let Some(mut stdin) = stdin {
                // who does not read its input says so by its status
                let _ = stdin.write_all(input).await;
            }
        };
        let ((), stdout, stderr) = tokio::join!(write, read_all(stdout), read_all(stderr));
        let status = child.wait().await;
        Output {
            status: status.map_or(-1, status_code),
            stdout,
            stderr,
        }
    };
    let ended = match timeout {
        None => Ended::Well(work.await),
        Some(limit) => match tokio::time::timeout(limit, work).await {
            Ok(output) => Ended::Well(output),
            Err(_) => Ended::TimedOut(limit),
        },
    };
    if matches!(ended, Ended::Well(_)) {
        group.done();
    }
    ended
}

/// All that a pipe gives until it is closed.
async fn read_all(pipe: Option<impl tokio::io::AsyncRead + Unpin>) -> Vec<u8> {
    let mut read = Vec::new();
    if let Some(mut pipe) = pipe {
        // what was read before an error is what there is
        let _ = pipe.read_to_end(&mut read).await;
    }
    read
}

/// The status of a process as Python gives it: negative for a signal.
pub(super) fn status_code(status: std::process::ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt;
    status
        .code()
        .unwrap_or_else(|| -status.signal().unwrap_or(1))
}

/// The permissions that a new file of this process would get.
pub(super) fn usual_mode() -> u32 {
    // the mask of a process can only be read by setting it, or from here
    let umask = std::fs::read_to_string("/proc/self/status")
        .ok()
        .and_then(|status| {
            let line = status
                .lines()
                .find_map(|line| line.strip_prefix("Umask:"))?;
            u32::from_str_radix(line.trim(), 8).ok()
        })
        .unwrap_or(0o022);
    0o666 & !umask
}
