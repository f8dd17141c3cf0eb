//! The first process of a container that has none of its own.
//!
//! It is what is left of the process that was to execute the program: nothing has to be there in the container for it.

use std::io;

use nix::errno::Errno;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, kill, sigprocmask};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::sys;

/// Asks systemd to shut the machine down, and so this init too.
const RTMIN_PLUS_3: i32 = 37;

/// Becomes the first process, for good; comes back in its child, which is to execute the program, if there is one.
pub(super) fn split(program: bool) -> io::Result<()> {
    // What is blocked waits for `sigwait`; what a first process does not handle would be lost otherwise.
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), None)?;
    let child = if program {
        match sys::fork()? {
            None => {
                // A session of its own, so that signals to its group do not meet the first process.
                nix::unistd::setsid()?;
                return Ok(());
            }
            Some(child) => Some(child),
        }
    } else {
        None
    };
    // The channel among them: that it ends tells the shim that the container runs.
    sys::close_from(0);
    let _ = sys::prctl(libc::PR_SET_NAME, c"init".as_ptr() as u64, 0);
    serve(child)
}

fn serve(child: Option<Pid>) -> ! {
    loop {
        let Some(signal) = sys::next_signal() else {
            continue;
        };
        if signal == Signal::SIGCHLD as i32 {
            reap(child);
        } else if let Some(child) = child {
            let _ = sys::kill(child.as_raw(), signal);
        } else if [
            Signal::SIGTERM as i32,
            Signal::SIGINT as i32,
            Signal::SIGQUIT as i32,
            Signal::SIGPWR as i32,
            RTMIN_PLUS_3,
        ]
        .contains(&signal)
        {
            end();
        }
    }
}

/// Everything else gets the signal to end before the first process goes, which kills what is left.
fn end() -> ! {
    let _ = kill(Pid::from_raw(-1), Signal::SIGTERM);
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(5);
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Err(Errno::ECHILD) => break,
            Ok(WaitStatus::StillAlive) => {
                if std::time::Instant::now() > deadline {
                    break;
                }
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
            _ => {}
        }
    }
    sys::exit_now(0)
}

fn reap(child: Option<Pid>) {
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, code)) if Some(pid) == child => sys::exit_now(code),
            Ok(WaitStatus::Signaled(pid, signal, _)) if Some(pid) == child => {
                sys::exit_now(128 + signal as i32)
            }
            Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return,
            _ => {}
        }
    }
}
