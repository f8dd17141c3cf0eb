//! Running other programs, as `AnsibleModule.run_command` does it.
//!
//! ```ignore
//! let git = process::required(context, "git", &[])?;
//! let done = Command::new([&git, "status"]).directory("/srv").run(context)?;   // Err is the result of the module
//! if done.code != 0 { return Err(Failure::new(done.err())) }
//! let done = Command::shell("ls | wc -l").check().run(context)?;                // fails as check_rc=True does
//! ```

mod cancel;
mod pipes;
mod search;
mod terminal;

use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Stdio};

pub use cancel::Cancel;
pub use search::{find, required};
pub use terminal::session_program;

use pipes::read_until_end;
use search::look_up;

use crate::context::Context;
use crate::invocation::Failure;
use crate::python;
use crate::python_re;
use crate::secrets;

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
            Words::Shell(line) if self.executable.is_some() => self
                .executable
                .iter()
                .map(String::as_str)
                .chain(["-c", line])
                .map(str::to_owned)
                .collect(),
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
                look_up(&program, &environment, &self.base(context))
                    .map_err(|error| self.not_started(context, &error, &program))?;
                let mut command = std::process::Command::new("/bin/sh");
                command
                    .arg("-c")
                    .arg(format!("umask {umask:04o} && exec \"$@\""))
                    .arg("sh")
                    .args(self.session(context))
                    // By the name it was called: programs look at it.
                    .arg(&program);
                command
            }
            None => match self.session(context) {
                Some(session) => {
                    let found = look_up(&program, &environment, &self.base(context))
                        .map_err(|error| self.not_started(context, &error, &program))?;
                    let mut command = std::process::Command::new(session);
                    command.arg(found);
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
        } else if context.settings.shares_terminal {
            None
        } else {
            session_program().map(|program| program.to_string_lossy().into_owned())
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

/// `pass`, `-pass`, `--password`, `--passwd` at the start of a word.
fn names_password(word: &str) -> bool {
    let bare = word
        .strip_prefix("--")
        .or_else(|| word.strip_prefix('-'))
        .unwrap_or(word);
    bare.starts_with("pass")
}
