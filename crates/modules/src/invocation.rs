//! What a module is asked, and what it answers.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// What a module gives back: `changed`, `msg`, and whatever else it tells. The keys are those of the module of the same
/// name in ansible-core.
pub type Report = Map<String, Value>;

/// One module, asked to do one thing.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Invocation {
    /// The name of the module without its collection: `copy`.
    pub module: String,
    /// Its arguments, rendered. A raw text where a number or a boolean is wanted is converted by the module's own argument
    /// specification, as Ansible does it.
    pub arguments: Map<String, Value>,
    /// How the run is set.
    pub settings: Settings,
}

/// How a run is set: what Ansible passes to modules as `_ansible_*`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// What messages call the module, if that is not its name: `ansible.legacy.copy`.
    pub called: String,
    /// Say what would be done, and do nothing.
    pub check: bool,
    /// Tell the difference as `diff`.
    pub diff: bool,
    /// Nothing of it may be logged.
    pub no_log: bool,
    /// How much is to be told, 0 to 6.
    pub verbosity: u8,
    /// Variables set for the task beside those of the process (`environment`).
    pub environment: Vec<(String, String)>,
    /// The directory that relative paths are relative to; that of the process if empty.
    pub directory: String,
    /// Where temporary files go on the machine (`~` is expanded there); made if it is missing.
    pub remote_tmp: String,
    /// The shell commands run in, where one is wanted.
    pub shell: String,
    /// File systems that have no ordinary SELinux contexts.
    pub selinux_special_fs: Vec<String>,
    /// The facility for the log of the system.
    pub syslog_facility: String,
    /// A text to put into that log with each call.
    pub target_log_info: Option<String>,
    /// The permission bits that new files do not get, if they are not those of the process.
    pub umask: Option<u32>,
    /// Tell the checked arguments as `invocation` of the result.
    pub inject_invocation: bool,
    /// Arguments nobody knows are no error.
    pub ignore_unknown_opts: bool,
    /// Temporary files stay.
    pub keep_remote_files: bool,
    /// Programs may find the terminal of who runs the module (`worker_session_isolation` is off).
    pub shares_terminal: bool,
    /// The Python interpreter of the machine, for modules that tell of it or work with it; empty if none was told.
    pub python: String,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            called: String::new(),
            check: false,
            diff: false,
            no_log: false,
            verbosity: 0,
            environment: Vec::new(),
            directory: String::new(),
            remote_tmp: "~/.ansible/tmp".to_owned(),
            shell: "/bin/sh".to_owned(),
            selinux_special_fs: ["fuse", "nfs", "vboxsf", "ramfs", "9p", "vfat"]
                .map(str::to_owned)
                .to_vec(),
            syslog_facility: "LOG_USER".to_owned(),
            target_log_info: None,
            umask: None,
            inject_invocation: false,
            ignore_unknown_opts: false,
            keep_remote_files: false,
            shares_terminal: false,
            python: String::new(),
        }
    }
}

/// A module that could not do what it was asked.
///
/// As a result it has `failed`, `msg`, and what else it tells. What caused it (the error of the system behind it) is under
/// [`CAUSES`], a list of texts; whoever shows the failure joins `msg` and the causes with `: ` (without the full stop at the
/// end of what precedes it). A failure nobody foresaw ([`Failure::unhandled`]) has no `msg`, only causes.
#[derive(Clone, Debug, Default)]
pub struct Failure {
    /// What is said as `msg`.
    pub message: String,
    /// What else the result tells (`rc`, `stderr`, `path`).
    pub more: Box<Report>,
    /// What caused it, the outermost first.
    pub causes: Vec<String>,
    /// How it ends the module.
    pub kind: FailureKind,
}

/// How a failure ends a module.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FailureKind {
    /// `fail_json`: with a message of the module's own.
    #[default]
    Told,
    /// An exception nobody caught.
    Unhandled,
    /// No failure at all: an early end with `skipped`.
    Skipped,
}

/// The key of a failed result that holds what caused it.
pub const CAUSES: &str = "_ansible_causes";

/// The key of an entry of `deprecations` that holds the kind and the full name of the plugin that said so.
pub const DEPRECATOR: &str = "_deprecator";

impl Failure {
    /// A failure that is only a message.
    pub fn new(message: impl Into<String>) -> Self {
        Failure {
            message: message.into(),
            ..Failure::default()
        }
    }

    /// A failure nobody foresaw, as an exception in a Python module that is not caught.
    pub fn unhandled(message: impl Into<String>) -> Self {
        Failure {
            kind: FailureKind::Unhandled,
            ..Failure::new(message)
        }
    }

    /// No failure: an early end with `skipped`.
    pub fn skipped(message: impl Into<String>) -> Self {
        Failure {
            kind: FailureKind::Skipped,
            ..Failure::new(message)
        }
    }

    /// With something more in the result.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.more.insert(key.to_owned(), value.into());
        self
    }

    /// With what caused it (`exception=ex` of `fail_json`).
    #[must_use]
    pub fn because(mut self, cause: impl Into<String>) -> Self {
        self.causes.push(cause.into());
        self
    }

    /// The failure as a result: with `failed` and `msg`.
    pub fn into_report(self) -> Report {
        let mut report = *self.more;
        let mut causes = self.causes;
        match self.kind {
            FailureKind::Told => {
                report.insert("failed".to_owned(), true.into());
                report.insert("msg".to_owned(), self.message.into());
            }
            FailureKind::Unhandled => {
                report.insert("failed".to_owned(), true.into());
                causes.insert(0, self.message);
            }
            FailureKind::Skipped => {
                report.insert("skipped".to_owned(), true.into());
                report.insert("msg".to_owned(), self.message.into());
            }
        }
        if !causes.is_empty() {
            report.insert(CAUSES.to_owned(), causes.into());
        }
        report
    }
}

/// What comes of a module's work.
pub type Outcome = Result<Report, Failure>;
