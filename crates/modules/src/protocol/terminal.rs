//! Commands at a terminal of their own.

use std::ffi::{OsStr, OsString};
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::thread;

use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::pty::{PtyMaster, grantpt, posix_openpt, ptsname_r, unlockpt};

use super::processes::{self, Cancel};
use super::program::Program;

/// A terminal: what is read and written there, and the name it is opened by.
#[derive(Debug)]
pub(super) struct Terminal {
    /// The side of who sits at it.
    pub(super) master: File,
    name: OsString,
    /// Held until a command has it, for a terminal that nobody has open is as good as ended.
    slave: Option<File>,
}

impl Terminal {
    /// A new one.
    pub(super) fn open() -> io::Result<Self> {
        let master = posix_openpt(OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC)?;
        grantpt(&master)?;
        unlockpt(&master)?;
        let name = OsString::from(ptsname_r(&master)?);
        let slave = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(libc::O_NOCTTY)
            .open(&name)?;
        Ok(Terminal {
            master: file(&master)?,
            name,
            slave: Some(slave),
        })
    }

    /// What runs a program so that this is its terminal.
    pub(super) fn command(
        &self,
        own: &Program,
        arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
    ) -> Command {
        let mut command = own.command("terminal");
        command.arg(&self.name).args(arguments);
        command
    }

    /// Runs what [`Terminal::command`] gave to its end; what it leaves behind in the background loses the terminal.
    ///
    /// # Errors
    /// It cannot be started.
    pub(super) fn run(
        &mut self,
        mut command: Command,
        cancel: &Cancel,
        mut written: impl FnMut(&[u8]),
    ) -> io::Result<i32> {
        let slave = self
            .slave
            .take()
            .ok_or_else(|| io::Error::from_raw_os_error(libc::EIO))?;
        let mut child = command
            .stdin(slave.try_clone()?)
            .stdout(slave.try_clone()?)
            .stderr(slave)
            .spawn()?;
        // the command would hold the terminal open
        drop(command);
        let group = processes::pid(&child);
        cancel.add(group);
        let (ended, end) = io::pipe()?;
        let status = thread::scope(|scope| {
            let waiting = scope.spawn(move || {
                let status = child.wait();
                drop(end);
                status
            });
            let mut chunk = vec![0; 64 * 1024];
            let mut last = false;
            loop {
                let mut watched = [
                    PollFd::new(self.master.as_fd(), PollFlags::POLLIN),
                    PollFd::new(ended.as_fd(), PollFlags::POLLIN),
                ];
                let asked = if last {
                    poll(&mut watched[..1], PollTimeout::ZERO)
                } else {
                    poll(&mut watched, PollTimeout::NONE)
                };
                match asked {
                    Ok(0) => break,
                    Ok(_) => {}
                    Err(nix::errno::Errno::EINTR) => continue,
                    Err(_) => break,
                }
                let [there, gone] = watched.map(|fd| fd.any().unwrap_or(false));
                if there {
                    match self.master.read(&mut chunk) {
                        Ok(0) => break,
                        Ok(length) => written(&chunk[..length]),
                        Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                        // nobody has it open any more
                        Err(_) => break,
                    }
                } else if gone {
                    // what it wrote last is taken, and no more is waited for
                    last = true;
                }
            }
            waiting
                .join()
                .unwrap_or_else(|_| Err(io::Error::other("who waited for it broke off")))
        });
        cancel.remove(group);
        status.map(processes::status_code)
    }
}

fn file(master: &PtyMaster) -> io::Result<File> {
    Ok(File::from(master.as_fd().try_clone_to_owned()?))
}

/// Leaves the terminal of who started this process and becomes the program that follows: it cannot ask anybody there.
///
/// # Errors
/// The program is not there. Otherwise it does not come back.
pub(super) fn leave(command: &[OsString]) -> io::Error {
    let Some((program, arguments)) = command.split_first() else {
        return io::Error::from_raw_os_error(libc::EINVAL);
    };
    // who leads a group already cannot, and has none to leave
    let _ = nix::unistd::setsid();
    Command::new(program).args(arguments).exec()
}

/// Takes the terminal of a name as its own and becomes the program that follows: what is started so is asked there for
/// passwords.
///
/// # Errors
/// The terminal cannot be had, or the program is not there. Otherwise it does not come back.
pub(super) fn become_at(name: &OsStr, command: &[OsString]) -> io::Error {
    let Some((program, arguments)) = command.split_first() else {
        return io::Error::from_raw_os_error(libc::EINVAL);
    };
    if let Err(error) = nix::unistd::setsid() {
        return error.into();
    }
    // who leads a session without a terminal has the first one it opens
    let terminal = match OpenOptions::new().read(true).write(true).open(name) {
        Ok(terminal) => terminal,
        Err(error) => return error,
    };
    let _kept = terminal;
    Command::new(program).args(arguments).exec()
}
