//! A helper started as another user, by a program that becomes one.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::becoming::{Becoming, Line, NotBecome};
use super::files;
use super::program::Program;
use super::terminal::Terminal;

/// How much may be written before the other user is there.
const MOST: usize = 1 << 20;

/// A file beside all others that is removed when this is dropped.
#[derive(Debug)]
pub(super) struct Copied {
    directory: PathBuf,
}

impl Drop for Copied {
    fn drop(&mut self) {
        // the directory is this user's own; what cannot be removed stays in the system's directory for such files
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// A helper as another user.
pub(super) struct Opened {
    pub(super) child: Child,
    pub(super) input: ChildStdin,
    pub(super) output: ChildStdout,
    pub(super) copied: Option<Copied>,
}

/// The program as the other user can run it.
pub(super) struct Reachable {
    program: Program,
    copied: Option<Copied>,
}

/// The program where the other user can run it: where it is, or as a copy in a directory that everybody may look into.
pub(super) fn reachable(program: &Program, becoming: &Becoming) -> io::Result<Reachable> {
    if becoming.user == "root" || becoming.user.is_empty() || files::runs_for_all(&program.path) {
        return Ok(Reachable {
            program: program.clone(),
            copied: None,
        });
    }
    let mut refused = None;
    for base in ["/var/tmp", "/tmp", "/run", "/dev/shm"] {
        let directory = Path::new(base).join(format!("consort-{}", files::random(16)));
        if let Err(error) = DirBuilder::new().mode(0o711).create(&directory) {
            refused = Some(error);
            continue;
        }
        let copied = Copied {
            directory: directory.clone(),
        };
        let path = directory.join("consort-play-helper");
        let done = fs::set_permissions(&directory, Permissions::from_mode(0o711))
            .and_then(|()| fs::copy(&program.path, &path))
            .and_then(|_| fs::set_permissions(&path, Permissions::from_mode(0o755)))
            // a file system from which nothing is run says so now
            .and_then(|()| {
                let mut check = Command::new(&path);
                check
                    .args(&program.arguments)
                    .arg("check")
                    .stdin(Stdio::null());
                check.output()
            });
        match done {
            Ok(_) => {
                return Ok(Reachable {
                    program: Program {
                        path,
                        arguments: program.arguments.clone(),
                    },
                    copied: Some(copied),
                });
            }
            Err(error) => refused = Some(error),
        }
    }
    Err(refused.unwrap_or_else(|| io::Error::from_raw_os_error(libc::EACCES)))
}

/// Starts a helper as another user and waits until it is that user.
pub(super) fn open(
    reachable: Reachable,
    own: &Program,
    becoming: &Becoming,
) -> Result<Result<Opened, NotBecome>, String> {
    let key = files::random(32);
    let serve = format!("exec {}", reachable.program.line("serve"));
    let line = becoming.line(&serve, &key)?;
    let begun =
        begin(&line, own, becoming).map_err(|error| format!("{}: {error}", becoming.method))?;
    Ok(begun.map(|mut opened| {
        opened.copied = reachable.copied;
        opened
    }))
}

/// The other user's helper while it is not yet there.
struct Beginning {
    child: Child,
    input: ChildStdin,
    output: ChildStdout,
    complaints: File,
    terminal: Option<Terminal>,
    written: Vec<u8>,
    complained: Vec<u8>,
    asked: Vec<u8>,
}

fn begin(line: &Line, own: &Program, becoming: &Becoming) -> io::Result<Result<Opened, NotBecome>> {
    let mut terminal = None;
    let mut command = if line.terminal && becoming.password.is_some() {
        let at = Terminal::open()?;
        let command = at.command(own, [&becoming.shell]);
        terminal = Some(at);
        command
    } else {
        Command::new(&becoming.shell)
    };
    if terminal.is_none() {
        // at a terminal it leads a session, which nobody can who leads a group
        command.process_group(0);
    }
    let mut child = command
        .arg("-c")
        .arg(&line.line)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let (Some(input), Some(output), Some(complaints)) =
        (child.stdin.take(), child.stdout.take(), child.stderr.take())
    else {
        return Err(io::Error::other("no pipes"));
    };
    let mut beginning = Beginning {
        child,
        input,
        output,
        complaints: File::from(OwnedFd::from(complaints)),
        terminal,
        written: Vec::new(),
        complained: Vec::new(),
        asked: Vec::new(),
    };
    match beginning.wait(line, becoming)? {
        None => {
            let Beginning {
                child,
                input,
                output,
                complaints,
                terminal,
                ..
            } = beginning;
            // what is complained from now on is nobody's; the terminal stays for as long as the lane does
            std::thread::Builder::new()
                .name("complaints".to_owned())
                .spawn(move || {
                    let _terminal = terminal;
                    let mut complaints = complaints;
                    let mut nowhere = OpenOptions::new().write(true).open("/dev/null")?;
                    io::copy(&mut complaints, &mut nowhere)
                })?;
            Ok(Ok(Opened {
                child,
                input,
                output,
                copied: None,
            }))
        }
        Some(refused) => {
            let group = super::processes::pid(&beginning.child);
            let _ = nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGKILL);
            let _ = beginning.child.wait();
            Ok(Err(refused))
        }
    }
}

impl Beginning {
    /// Waits for the word that says that the other user is there, and gives the password when it is asked for. None if it
    /// went well.
    fn wait(&mut self, line: &Line, becoming: &Becoming) -> io::Result<Option<NotBecome>> {
        let deadline = Instant::now() + Duration::from_secs(becoming.timeout.clamp(1, 3600));
        let mut given = false;
        let mut seen = (0, 0, 0);
        let (mut output_open, mut complaints_open) = (true, true);
        let success = line.success.as_bytes();
        loop {
            if let Some(at) = find(&self.written, success)
                && let Some(end) = self.written[at..].iter().position(|byte| *byte == b'\n')
            {
                // the helper says nothing before its first frame, which was not read: the word was read byte by byte
                self.written.truncate(at + end);
                return Ok(None);
            }
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            let refused = |reason: &str, this: &Beginning, given: bool| {
                let everything = format!(
                    "{}{}{}",
                    text(&this.written),
                    text(&this.complained),
                    text(&this.asked)
                );
                NotBecome {
                    reason: reason.to_owned(),
                    stdout: line.prompt.without(&text(&this.written)),
                    stderr: line.prompt.without(&text(&this.complained)),
                    password_expected: becoming.password.is_some() && !given,
                    incorrect: line.incorrect.iter().any(|said| everything.contains(said)),
                    missing: line.missing.iter().any(|said| everything.contains(said)),
                }
            };
            if let Some(password) = &becoming.password {
                let at_terminal = line.prompt.found(&text(&self.asked[seen.2..]));
                if at_terminal
                    || line.prompt.found(&text(&self.written[seen.0..]))
                    || line.prompt.found(&text(&self.complained[seen.1..]))
                {
                    if given {
                        let mut refused =
                            refused("Duplicate become password prompt encountered", self, given);
                        refused.incorrect = true;
                        return Ok(Some(refused));
                    }
                    seen = (self.written.len(), self.complained.len(), self.asked.len());
                    given = true;
                    let answer = format!("{password}\n");
                    match &self.terminal {
                        Some(terminal) if at_terminal => {
                            (&terminal.master).write_all(answer.as_bytes())?;
                        }
                        // it may be gone already; that is seen when its output ends
                        _ => drop(self.input.write_all(answer.as_bytes())),
                    }
                }
            }
            if !output_open && !complaints_open {
                return Ok(Some(refused("Premature end of stream", self, given)));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(Some(refused("Timed out", self, given)));
            }
            let mut watched = Vec::new();
            let mut who = Vec::new();
            if output_open {
                watched.push(PollFd::new(self.output.as_fd(), PollFlags::POLLIN));
                who.push(0);
            }
            if complaints_open {
                watched.push(PollFd::new(self.complaints.as_fd(), PollFlags::POLLIN));
                who.push(1);
            }
            if let Some(terminal) = &self.terminal {
                watched.push(PollFd::new(terminal.master.as_fd(), PollFlags::POLLIN));
                who.push(2);
            }
            let wait = PollTimeout::try_from(left.min(Duration::from_secs(10)))
                .unwrap_or(PollTimeout::from(100_u16));
            match poll(&mut watched, wait) {
                Ok(_) | Err(nix::errno::Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
            let ready: Vec<i32> = who
                .iter()
                .zip(&watched)
                .filter(|(_, fd)| fd.any().unwrap_or(false))
                .map(|(who, _)| *who)
                .collect();
            for who in ready {
                match who {
                    0 => {
                        // byte by byte: what follows the word is frames
                        let mut byte = [0];
                        match self.output.read(&mut byte) {
                            Ok(1) => self.written.push(byte[0]),
                            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                            Ok(_) | Err(_) => output_open = false,
                        }
                    }
                    1 => complaints_open = take(&mut self.complaints, &mut self.complained),
                    _ => {
                        if let Some(terminal) = &self.terminal {
                            take(&mut &terminal.master, &mut self.asked);
                        }
                    }
                }
            }
            if self.written.len() + self.complained.len() + self.asked.len() > MOST {
                return Ok(Some(refused("Too much was written", self, given)));
            }
        }
    }
}

/// Takes what there is; false at the end.
fn take(mut from: impl Read, to: &mut Vec<u8>) -> bool {
    let mut chunk = [0; 4096];
    match from.read(&mut chunk) {
        Ok(0) => false,
        Ok(length) => {
            to.extend_from_slice(&chunk[..length]);
            true
        }
        Err(error) => error.kind() == io::ErrorKind::Interrupted,
    }
}

/// Where one text stands in another.
fn find(within: &[u8], what: &[u8]) -> Option<usize> {
    within.windows(what.len()).position(|part| part == what)
}
