//! Ways to a machine: how modules and commands get there, and how files do.

mod about;
mod agent;
mod becoming;
mod build_id;
mod container;
mod helper;
mod kept;
mod local;
mod pool;
pub(crate) mod process;
mod reached;
mod session;
pub(crate) mod shell;
mod ssh;

use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

pub use consort_modules::protocol::message::Job;
use consort_modules::{Invocation, Report};

pub use pool::Pool;
pub(crate) use pool::is_known;

/// Work that is under way, in a box.
pub type Call<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Why a machine did not do what it was sent.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be reached, or was lost: the host counts as unreachable. The message is what Ansible would say.
    #[error("{0}")]
    Unreachable(String),
    /// It was reached, and what was asked cannot be done there: the task fails.
    #[error("{message}")]
    Failed {
        /// What is said.
        message: String,
        /// What the machine said, if it did (`rc`, `module_stdout`, `module_stderr`).
        more: Report,
    },
    /// The task's own timeout ran out; what it had begun was ended.
    #[error("Timed out after {0:?}")]
    TimedOut(Duration),
}

impl Error {
    /// A task that fails with a message alone.
    pub fn failed(message: impl Into<String>) -> Self {
        Error::Failed {
            message: message.into(),
            more: Report::new(),
        }
    }

    /// A file that could not be written on the machine.
    fn not_transferred(to: &Path, error: &std::io::Error) -> Self {
        Error::failed(format!(
            "Failed to transfer file to {}: {error}",
            to.display()
        ))
    }

    /// No directory for a task's files.
    fn no_temporary(base: &str, why: &(impl std::fmt::Display + ?Sized)) -> Self {
        Error::Unreachable(format!(
            "Failed to create temporary directory. In some cases, you may have been able to authenticate and did not have \
             permissions on the target directory. Consider changing the remote tmp path in ansible.cfg to a path rooted in \
             \"/tmp\", for more error information use -vvv. Failed path was: {base}, {why}"
        ))
    }
}

/// Becoming another user on the machine, for one task.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Become {
    /// How: `sudo`, `su`, or the full name of a plugin.
    pub method: String,
    /// Whom.
    pub user: String,
    /// The program, if it is not the usual one.
    pub exe: Option<String>,
    /// Its flags, if they are not the usual ones.
    pub flags: Option<String>,
    /// The password.
    pub password: Option<String>,
}

/// How to get to a machine: what connections are told apart by. Two tasks with the same settings share a connection.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct ConnectionSettings {
    /// The plugin: `local`, `ssh`, `docker`, `podman`, `machine`, ...
    pub plugin: String,
    /// The host's name in the inventory.
    pub host: String,
    /// The address: `ansible_host`, or the name.
    pub address: String,
    /// The port, if one is given.
    pub port: Option<u16>,
    /// The user, if one is given.
    pub user: Option<String>,
    /// The password.
    pub password: Option<String>,
    /// All other variables and settings of the plugin by the names its documentation gives them (`ssh_args`,
    /// `ssh_common_args`, `private_key_file`, `host_key_checking`, `timeout`, ...), rendered, in order.
    pub options: Vec<(String, String)>,
    /// The directory of the playbook: where commands of the controller begin.
    pub directory: String,
    /// Where temporary files go on the machine.
    pub remote_tmp: String,
    /// The shell of the machine.
    pub shell: String,
}

impl ConnectionSettings {
    /// The value of an option, if it is set.
    pub fn option(&self, name: &str) -> Option<&str> {
        self.options
            .iter()
            .rev()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }
}

/// A command on the machine.
#[derive(Clone, Debug, Default)]
pub struct Command {
    /// What the shell is given.
    pub line: String,
    /// What it reads.
    pub input: Vec<u8>,
    /// Variables beside those of the login.
    pub environment: Vec<(String, String)>,
    /// Where it begins.
    pub directory: Option<String>,
    /// Whether the shell of who logs in runs it, where somebody logs in, and not that of the settings.
    pub login_shell: bool,
    /// Whether it runs at a terminal, where the connection gives it one: what it writes and what it complains then come as one.
    pub terminal: bool,
}

/// What came of a command.
#[derive(Clone, Debug, Default)]
pub struct Output {
    /// Its exit status; the negative number of a signal that ended it.
    pub status: i32,
    /// What it wrote.
    pub stdout: Vec<u8>,
    /// What it complained.
    pub stderr: Vec<u8>,
}

/// A module that is not native, packed.
#[derive(Clone, Debug)]
pub struct Packed {
    /// The full name: `ansible.builtin.expect`.
    pub name: String,
    /// The name its package is kept by on the machine: a digest of it.
    pub digest: String,
    /// The package: for Python a zip archive of the module and all it imports; for others the program itself.
    pub content: Arc<[u8]>,
    /// What it is.
    pub kind: PackedKind,
}

/// Kinds of modules that are not native.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PackedKind {
    /// A Python module on `ansible.module_utils`: run by the machine's Python through the contract of ansible-core.
    Python {
        /// The module's name inside the archive: `ansible.modules.expect`.
        module: String,
        /// The interpreter, with its arguments: `/usr/bin/python3`.
        interpreter: String,
        /// Whether it overrides parts of ansible-core's `module_utils`, and so shares nothing with other modules.
        alone: bool,
        /// How many files it may have open, if that is to be set (`python_module_rlimit_nofile`).
        open_files: Option<u64>,
    },
    /// A program that reads a file of JSON named by its argument (`WANT_JSON`).
    WantsJson {
        /// The interpreter, if it is a script.
        interpreter: Option<String>,
    },
    /// A program that reads a file of `key=value` named by its argument.
    OldStyle {
        /// The interpreter, if it is a script.
        interpreter: Option<String>,
    },
    /// A compiled program that reads a file of JSON named by its argument.
    Binary,
    /// A program that has its arguments in itself.
    Complete {
        /// The interpreter, if it is a script.
        interpreter: Option<String>,
    },
}

/// A module that is to be run in the background.
#[derive(Debug)]
pub enum Work<'a> {
    /// A native one.
    Native(Invocation),
    /// Any other, with its arguments.
    Packed(&'a Packed, Invocation),
}

/// A machine that can be worked on.
///
/// It is opened when it is first used, and may be used for several tasks at once. Whatever is lost is told as
/// [`Error::Unreachable`], and the next use connects anew.
pub trait Connection: Send + Sync {
    /// Whether native modules can run there: they cannot where only the shell can be had.
    fn runs_native<'a>(&'a self, user: Option<&'a Become>) -> Call<'a, Result<bool, Error>>;

    /// Runs a native module.
    fn module<'a>(
        &'a self,
        invocation: Invocation,
        user: Option<&'a Become>,
        timeout: Option<Duration>,
    ) -> Call<'a, Result<Report, Error>>;

    /// Runs any other module with its arguments; `_ansible_*` settings are made from the invocation's.
    fn packed<'a>(
        &'a self,
        module: &'a Packed,
        invocation: Invocation,
        user: Option<&'a Become>,
        timeout: Option<Duration>,
    ) -> Call<'a, Result<Report, Error>>;

    /// Begins a module in the background. It goes on when the controller has left, for as long as the job may run, and the
    /// file that is named in the report (`results_file`) tells of it, as `async_status` reads it.
    fn start<'a>(
        &'a self,
        work: Work<'a>,
        job: Job,
        user: Option<&'a Become>,
    ) -> Call<'a, Result<Report, Error>>;

    /// Runs a command line in the machine's shell.
    fn command<'a>(
        &'a self,
        command: Command,
        user: Option<&'a Become>,
        timeout: Option<Duration>,
    ) -> Call<'a, Result<Output, Error>>;

    /// Writes a file there, whole or not at all.
    fn put<'a>(
        &'a self,
        content: Content<'a>,
        path: &'a str,
        mode: u32,
        user: Option<&'a Become>,
    ) -> Call<'a, Result<(), Error>>;

    /// Reads a file there into one here, whole or not at all.
    fn fetch<'a>(
        &'a self,
        path: &'a str,
        to: &'a Path,
        user: Option<&'a Become>,
    ) -> Call<'a, Result<(), Error>>;

    /// Makes a directory for one task's files, which only `user` (and who logged in) can look into.
    fn temporary<'a>(&'a self, user: Option<&'a Become>) -> Call<'a, Result<String, Error>>;

    /// Removes what [`Connection::temporary`] made.
    fn remove<'a>(&'a self, path: &'a str, user: Option<&'a Become>)
    -> Call<'a, Result<(), Error>>;

    /// Ends what is open, so that the next use logs in anew (`meta: reset_connection`).
    fn reset(&self) -> Call<'_, ()>;

    /// Ends what is open for good. What the user's own programs keep for a next run stays.
    fn close(&self) -> Call<'_, ()>;
}

/// What a file is to hold.
#[derive(Clone, Copy, Debug)]
pub enum Content<'a> {
    /// These bytes.
    Bytes(&'a [u8]),
    /// What a file of the controller holds.
    File(&'a Path),
}

/// Gives connections: the same one for the same settings.
pub trait Connections: Send + Sync {
    /// The connection for some settings. Nothing is opened yet.
    ///
    /// # Errors
    /// There is no such plugin, or an option is wrong: a message.
    fn connection(&self, settings: &ConnectionSettings) -> Result<Arc<dyn Connection>, String>;
}
