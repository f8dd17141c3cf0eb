//! Running other programs, as `AnsibleModule.run_command` does it.
//!
//! ```ignore
//! let git = process::required(context, "git", &[])?;
//! let done = Command::new([&git, "status"]).directory("/srv").run(context)?;   // Err is the result of the module
//! if done.code != 0 { return Err(Failure::new(done.err())) }
//! let done = Command::shell("ls | wc -l").check().run(context)?;                // fails as check_rc=True does
//! ```

use std::io::Write as _;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::context::Context;
use crate::invocation::Failure;
use crate::python;
use crate::python_re;
use crate::secrets;

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

    fn started(&self, group: i32) {
        let mut running = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if running.cancelled {
            let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
        } else {
            running.groups.push(group);
        }
    }

    fn ended(&self, group: i32) {
        self.inner
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .groups
            .retain(|known| *known != group);
    }
}

/// What a program gave.
#[derive(Clone, Debug, Default)]
pub struct Finished {
    /// Its exit code; the negative number of the signal that ended it; 257 if it asked something and nobody answered.
    pub code: i32,
    /// What it wrote to its standard output.
    pub stdout: Vec<u8>,
    /// What it wrote to its standard error.
    pub stderr: Vec<u8>,
}

impl Finished {
    /// The standard output as text.
    pub fn out(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// The standard error as text.
    pub fn err(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }

    /// Whether it ended with 0.
    pub fn success(&self) -> bool {
        self.code == 0
    }
}

#[derive(Clone, Debug)]
enum Words {
    /// A program and its arguments.
    List(Vec<String>),
    /// A text to be split.
    Line(String),
    /// A text for a shell.
    Shell(String),
}

/// A program to be run.
#[derive(Clone, Debug)]
pub struct Command {
    words: Words,
    executable: Option<String>,
    directory: Option<String>,
    directory_must_exist: bool,
    environment: Vec<(String, String)>,
    data: Option<Vec<u8>>,
    path_prefix: Option<String>,
    umask: Option<u32>,
    expand: bool,
    check: bool,
    prompt: Option<String>,
    bare: bool,
    detached: bool,
}

impl Command {
    fn of(words: Words) -> Self {
        Command {
            words,
            executable: None,
            directory: None,
            directory_must_exist: false,
            environment: Vec::new(),
            data: None,
            path_prefix: None,
            umask: None,
            expand: true,
            check: false,
            prompt: None,
            bare: false,
            detached: false,
        }
    }

    /// A program and its arguments. `~` and `$NAME` in them are expanded (see [`Command::literal`]).
    pub fn new<S: Into<String>>(words: impl IntoIterator<Item = S>) -> Self {
        Command::of(Words::List(words.into_iter().map(Into::into).collect()))
    }

    /// A text that is split into a program and its arguments as `shlex.split` does it.
    pub fn line(line: impl Into<String>) -> Self {
        Command::of(Words::Line(line.into()))
    }

    /// A text for the shell.
    pub fn shell(line: impl Into<String>) -> Self {
        Command::of(Words::Shell(line.into()))
    }

    /// The shell, or the program that is run under the name of the first word.
    #[must_use]
    pub fn executable(mut self, executable: Option<&str>) -> Self {
        self.executable = executable.map(str::to_owned);
        self
    }

    /// The directory it is run in. One that does not exist is ignored (see [`Command::directory_must_exist`]).
    #[must_use]
    pub fn directory(mut self, directory: impl Into<String>) -> Self {
        self.directory = Some(directory.into());
        self
    }

    /// A directory that does not exist is an error.
    #[must_use]
    pub fn directory_must_exist(mut self) -> Self {
        self.directory_must_exist = true;
        self
    }

    /// A variable of its environment, beside those of the task.
    #[must_use]
    pub fn variable(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// The words of messages in the C locale: `LANG`, `LC_ALL`, `LC_MESSAGES`, `LC_CTYPE` as many modules set them.
    #[must_use]
    pub fn plain_messages(self) -> Self {
        self.variable("LANG", "C")
            .variable("LC_ALL", "C")
            .variable("LC_MESSAGES", "C")
            .variable("LC_CTYPE", "C")
    }

    /// What it reads from its standard input, as it is.
    #[must_use]
    pub fn data(mut self, data: impl Into<Vec<u8>>) -> Self {
        self.data = Some(data.into()).filter(|data: &Vec<u8>| !data.is_empty());
        self
    }

    /// What it reads from its standard input, with a newline after it.
    #[must_use]
    pub fn text(mut self, text: &str) -> Self {
        if !text.is_empty() {
            self.data = Some(format!("{text}\n").into_bytes());
        }
        self
    }

    /// A directory searched for programs before all others.
    #[must_use]
    pub fn path_prefix(mut self, directory: impl Into<String>) -> Self {
        self.path_prefix = Some(directory.into());
        self
    }

    /// The permission bits files it makes do not get.
    #[must_use]
    pub fn umask(mut self, umask: u32) -> Self {
        self.umask = Some(umask);
        self
    }

    /// `~` and `$NAME` in its words are left as they are.
    #[must_use]
    pub fn literal(mut self) -> Self {
        self.expand = false;
        self
    }

    /// An exit code other than 0 is a failure.
    #[must_use]
    pub fn check(mut self) -> Self {
        self.check = true;
        self
    }

    /// An expression (of Python's `re`, multi-line) that, found in its output, means that it waits for an answer: it is
    /// not waited for any longer, and the code is 257.
    #[must_use]
    pub fn prompt(mut self, expression: impl Into<String>) -> Self {
        self.prompt = Some(expression.into());
        self
    }

    /// Its environment is only what was set with [`Command::variable`].
    #[must_use]
    pub fn bare(mut self) -> Self {
        self.bare = true;
        self
    }

    /// It runs in a session of its own, in the top directory: what it leaves running outlives whoever started it.
    #[must_use]
    pub fn detached(mut self) -> Self {
        self.detached = true;
        self.directory = Some("/".to_owned());
        self
    }

    /// The command as it may be shown: quoted, without what looks like passwords.
    pub fn shown(&self, context: &Context<'_>) -> String {
        let words = match &self.words {
            Words::List(words) => words.clone(),
            Words::Line(line) | Words::Shell(line) => {
                python::shell_split(line).unwrap_or_else(|_| vec![line.clone()])
            }
        };
        let mut shown = Vec::with_capacity(words.len());
        let mut secret_follows = false;
        for word in words {
            if secret_follows {
                secret_follows = false;
                shown.push("'********'".to_owned());
                continue;
            }
            if names_password(&word) {
                if let Some((name, _)) = word.split_once('=') {
                    shown.push(python::shell_quote(&format!("{name}=********")));
                    continue;
                }
                secret_follows = true;
            }
            let word = secrets::remove_from_text(&secrets::hide_passwords(&word), &context.secrets);
            shown.push(python::shell_quote(&word));
        }
        shown.join(" ")
    }

    /// Runs it. The error is the result of a module whose program could not be started, or that failed with
    /// [`Command::check`].
    pub fn run(&self, context: &Context<'_>) -> Result<Finished, Failure> {
        let prepared = self.prepare(context)?;
        let name = prepared.1.clone();
        let done = self
            .start(context, prepared)
            .map_err(|error| self.not_started(context, &error, &name))?;
        if self.check && done.code != 0 {
            let stderr = done.err();
            return Err(Failure::new(secrets::remove_from_text(
                &secrets::hide_passwords(stderr.trim_end()),
                &context.secrets,
            ))
            .with("cmd", self.shown(context))
            .with("rc", done.code)
            .with("stdout", done.out())
            .with("stderr", stderr));
        }
        Ok(done)
    }

    /// Runs it; the error is that of the system (`handle_exceptions=False`).
    pub fn try_run(&self, context: &Context<'_>) -> std::io::Result<Finished> {
        let prepared = self
            .prepare(context)
            .map_err(|failure| std::io::Error::other(failure.message))?;
        self.start(context, prepared)
    }

    /// The result of a module whose program could not be started.
    fn not_started(&self, context: &Context<'_>, error: &std::io::Error, name: &str) -> Failure {
        let (code, cause) = match error.raw_os_error() {
            Some(number) => (
                number,
                format!(
                    "{}: {}",
                    python::os_error(error),
                    python::repr_bytes(name.as_bytes())
                ),
            ),
            None if error.kind() == std::io::ErrorKind::InvalidInput => {
                (257, "embedded null byte".to_owned())
            }
            None => (257, error.to_string()),
        };
        Failure::new("Error executing command.")
            .with("rc", code)
            .with("stdout", "")
            .with("stderr", "")
            .with("cmd", self.shown(context))
            .because(cause)
    }

    /// The directory it is run in.
    fn base(&self, context: &Context<'_>) -> std::path::PathBuf {
        self.directory.as_ref().map_or_else(
            || context.path("."),
            |directory| context.path(python::expand_user(context, directory)),
        )
    }

    /// The command for the system, and the name its errors are told with.
    fn prepare(&self, context: &Context<'_>) -> Result<(std::process::Command, String), Failure> {
        let mut words = match &self.words {
            Words::List(words) => words.clone(),
            Words::Line(line) => python::shell_split(line).map_err(|error| {
                Failure::new("Invalid command syntax in run_command").because(error)
            })?,
            Words::Shell(line) => {
                let shell = match &self.executable {
                    Some(shell) => shell.clone(),
                    None if context.settings.shell.is_empty() => "/bin/sh".to_owned(),
                    None => context.settings.shell.clone(),
                };
                vec![shell, "-c".to_owned(), line.clone()]
            }
        };
        let is_shell = matches!(self.words, Words::Shell(_));
        if self.expand && !is_shell {
            for word in &mut words {
                if word.contains('$') || word.starts_with('~') {
                    *word = python::expand_path(context, word);
                }
            }
        }
        if words.is_empty() {
            let nothing = std::io::Error::other("list index out of range");
            return Err(self.not_started(context, &nothing, ""));
        }
        let mut environment: Vec<(String, String)> = if self.bare {
            Vec::new()
        } else {
            context.settings.environment.clone()
        };
        environment.extend(self.environment.iter().cloned());
        if let Some(prefix) = &self.path_prefix {
            let path = environment
                .iter()
                .rev()
                .find(|(name, _)| name == "PATH")
                .map(|(_, value)| value.clone())
                .or_else(|| std::env::var("PATH").ok())
                .unwrap_or_default();
            let path = if path.is_empty() {
                prefix.clone()
            } else {
                format!("{prefix}:{path}")
            };
            environment.push(("PATH".to_owned(), path));
        }
        let program = match &self.executable {
            Some(executable) if !is_shell => executable.clone(),
            _ => words[0].clone(),
        };
        let mut command = match self.umask.or(context.settings.umask) {
            Some(umask) => {
                // The umask of a child can only be set in it; a shell does that without unsafe code here.
                let found = look_up(&program, &environment, &self.base(context))
                    .map_err(|error| self.not_started(context, &error, &program))?;
                let mut command = std::process::Command::new("/bin/sh");
                command
                    .arg("-c")
                    .arg(format!("umask {umask:04o} && exec \"$@\""))
                    .arg("sh")
                    .args(self.session(context))
                    .arg(found);
                command
            }
            None => match self.session(context) {
                Some(session) => {
                    let mut command = std::process::Command::new(session);
                    command.arg(&program);
                    command
                }
                None => {
                    // What is relative is relative to the directory it is run in.
                    let mut command = std::process::Command::new(&program);
                    command.arg0(&words[0]);
                    command
                }
            },
        };
        if self.bare {
            command.env_clear();
        }
        command.args(&words[1..]).envs(environment);
        self.enter_directory(context, &mut command)?;
        command
            .stdin(if self.data.is_some() {
                Stdio::piped()
            } else {
                Stdio::null()
            })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if context.cancel.is_some() && self.session(context).is_none() {
            command.process_group(0);
        }
        Ok((command, program))
    }

    /// The program that gives it a session of its own, if it is to have one: started as the leader of no group, it becomes
    /// the leader of the session under the id it has.
    fn session(&self, context: &Context<'_>) -> Option<String> {
        if self.detached {
            find(context, "setsid", &[])
        } else {
            None
        }
    }

    fn enter_directory(
        &self,
        context: &Context<'_>,
        command: &mut std::process::Command,
    ) -> Result<(), Failure> {
        if let Some(directory) = &self.directory {
            let expanded = context.path(python::expand_user(context, directory));
            if expanded.is_dir() {
                command.current_dir(expanded);
                return Ok(());
            }
            if self.directory_must_exist {
                return Err(Failure::new(format!(
                    "Provided cwd is not a valid directory: {}",
                    expanded.display()
                )));
            }
        }
        if !context.settings.directory.is_empty() {
            let directory = context.path(".");
            if directory.is_dir() {
                command.current_dir(directory);
            }
        }
        Ok(())
    }

    fn start(
        &self,
        context: &Context<'_>,
        (mut command, _): (std::process::Command, String),
    ) -> std::io::Result<Finished> {
        let prompt = match &self.prompt {
            Some(expression) => Some(
                python_re::Pattern::with(
                    expression,
                    python_re::Flags {
                        multi_line: true,
                        ..python_re::Flags::default()
                    },
                )
                .map_err(|_| {
                    std::io::Error::other("invalid prompt regular expression given to run_command")
                })?,
            ),
            None => None,
        };
        if let Some(cancel) = &context.cancel
            && cancel.is_cancelled()
        {
            return Err(std::io::Error::other("cancelled"));
        }
        let mut child = command.spawn()?;
        let group = child.id() as i32;
        if let Some(cancel) = &context.cancel {
            cancel.started(group);
        }
        let done = self.converse(&mut child, prompt.as_ref());
        if let Some(cancel) = &context.cancel {
            cancel.ended(group);
        }
        done
    }

    /// Writes what the program is told and reads what it says, until it has ended and its output with it.
    fn converse(
        &self,
        child: &mut Child,
        prompt: Option<&python_re::Pattern>,
    ) -> std::io::Result<Finished> {
        let stdin = child.stdin.take();
        std::thread::scope(|scope| {
            if let (Some(mut stdin), Some(data)) = (stdin, &self.data) {
                // A program that does not read all of it is no error.
                scope.spawn(move || {
                    let _ = stdin.write_all(data);
                });
            }
            read_until_end(child, prompt.filter(|_| self.data.is_none()))
        })
    }
}

fn read_until_end(
    child: &mut Child,
    prompt: Option<&python_re::Pattern>,
) -> std::io::Result<Finished> {
    let mut stdout = child.stdout.take();
    let mut stderr = child.stderr.take();
    for pipe in [
        stdout.as_ref().map(|pipe| pipe.as_fd()),
        stderr.as_ref().map(|pipe| pipe.as_fd()),
    ]
    .into_iter()
    .flatten()
    {
        let flags = OFlag::from_bits_truncate(fcntl(pipe, FcntlArg::F_GETFL)?);
        fcntl(pipe, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    }
    let mut finished = Finished::default();
    while stdout.is_some() || stderr.is_some() {
        let ready = wait_for_output([
            stdout.as_ref().map(|pipe| pipe.as_fd()),
            stderr.as_ref().map(|pipe| pipe.as_fd()),
        ])?;
        let mut said_more = false;
        if ready[0]
            && let Some(pipe) = &mut stdout
        {
            let before = finished.stdout.len();
            if take(pipe, &mut finished.stdout)? {
                stdout = None;
            }
            said_more = finished.stdout.len() > before;
        }
        if ready[1]
            && let Some(pipe) = &mut stderr
            && take(pipe, &mut finished.stderr)?
        {
            stderr = None;
        }
        if said_more
            && let Some(prompt) = prompt
            && prompt
                .search(&finished.out(), 0)
                .is_ok_and(|found| found.is_some())
        {
            let _ = child.kill();
            let _ = child.wait();
            finished.code = 257;
            finished.stderr =
                b"A prompt was encountered while running a command, but no input data was specified"
                    .to_vec();
            return Ok(finished);
        }
        // Something that still runs in the background may hold the pipes; what it says later is not waited for.
        if ready == [false, false]
            && let Some(status) = child.try_wait()?
        {
            finished.code = code_of(status);
            return Ok(finished);
        }
    }
    finished.code = code_of(child.wait()?);
    Ok(finished)
}

fn code_of(status: std::process::ExitStatus) -> i32 {
    status
        .code()
        .or_else(|| status.signal().map(|signal| -signal))
        .unwrap_or(-1)
}

/// Waits at most a second for output of either pipe.
fn wait_for_output(pipes: [Option<BorrowedFd<'_>>; 2]) -> std::io::Result<[bool; 2]> {
    let mut waiting = Vec::with_capacity(2);
    let mut places = Vec::with_capacity(2);
    for (place, pipe) in pipes.into_iter().enumerate() {
        if let Some(pipe) = pipe {
            waiting.push(PollFd::new(pipe, PollFlags::POLLIN));
            places.push(place);
        }
    }
    match poll(&mut waiting, PollTimeout::from(1000_u16)) {
        Ok(_) | Err(nix::errno::Errno::EINTR) => {}
        Err(error) => return Err(error.into()),
    }
    let mut ready = [false, false];
    for (place, polled) in places.into_iter().zip(&waiting) {
        ready[place] = polled.any().unwrap_or(false);
    }
    Ok(ready)
}

/// Takes what is there. True at the end.
fn take(pipe: &mut impl std::io::Read, into: &mut Vec<u8>) -> std::io::Result<bool> {
    let mut chunk = vec![0; 32 * 1024];
    loop {
        match pipe.read(&mut chunk) {
            Ok(0) => return Ok(true),
            Ok(length) => into.extend_from_slice(&chunk[..length]),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(false),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// `pass`, `-pass`, `--password`, `--passwd` at the start of a word.
fn names_password(word: &str) -> bool {
    let bare = word
        .strip_prefix("--")
        .or_else(|| word.strip_prefix('-'))
        .unwrap_or(word);
    bare.starts_with("pass")
}

/// The path of a program: as it is with a slash in it, or found in `PATH` of an environment. The error is what the system
/// would say.
fn look_up(
    program: &str,
    environment: &[(String, String)],
    base: &std::path::Path,
) -> std::io::Result<String> {
    let missing = || std::io::Error::from_raw_os_error(libc::ENOENT);
    let may_run = |path: &std::path::Path| {
        nix::unistd::access(path, nix::unistd::AccessFlags::X_OK).map_err(std::io::Error::from)
    };
    if program.contains('/') {
        may_run(&base.join(program))?;
        return Ok(program.to_owned());
    }
    let path = environment
        .iter()
        .rev()
        .find(|(name, _)| name == "PATH")
        .map(|(_, value)| value.clone())
        .or_else(|| std::env::var("PATH").ok())
        .ok_or_else(missing)?;
    path.split(':')
        .filter(|directory| !directory.is_empty())
        .map(|directory| format!("{directory}/{program}"))
        .find(|path| {
            let path = base.join(path);
            !path.is_dir() && may_run(&path).is_ok()
        })
        .ok_or_else(missing)
}

fn is_program(context: &Context<'_>, path: &str) -> bool {
    std::fs::metadata(context.path(path))
        .is_ok_and(|meta| !meta.is_dir() && meta.permissions().mode() & 0o111 != 0)
}

/// The directories programs are searched in: first the ones given that exist, then `PATH`, then those of `sbin`.
fn search_path(context: &Context<'_>, first: &[&str]) -> Vec<String> {
    let mut directories: Vec<String> = first
        .iter()
        .filter(|directory| context.path(directory).exists())
        .map(|directory| (*directory).to_owned())
        .collect();
    directories.extend(
        context
            .variable("PATH")
            .unwrap_or_default()
            .split(':')
            .map(str::to_owned),
    );
    for directory in ["/sbin", "/usr/sbin", "/usr/local/sbin"] {
        if !directories.iter().any(|known| known == directory)
            && std::path::Path::new(directory).exists()
        {
            directories.push(directory.to_owned());
        }
    }
    directories
}

/// The path of a program (`get_bin_path`), searched in directories of the module's own first.
pub fn find(context: &Context<'_>, program: &str, first: &[&str]) -> Option<String> {
    search_path(context, first)
        .into_iter()
        .filter(|directory| !directory.is_empty())
        .map(|directory| python::join(&directory, program))
        .find(|path| is_program(context, path))
}

/// The path of a program without which the module cannot work (`get_bin_path(required=True)`).
pub fn required(context: &Context<'_>, program: &str, first: &[&str]) -> Result<String, Failure> {
    find(context, program, first).ok_or_else(|| {
        Failure::new(format!(
            "Failed to find required executable \"{program}\" in paths: {}",
            search_path(context, first).join(":")
        ))
    })
}
