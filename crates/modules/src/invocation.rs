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
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
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
        }
    }
}

/// A module that could not do what it was asked.
#[derive(Clone, Debug, Default)]
pub struct Failure {
    /// What is said as `msg`.
    pub message: String,
    /// What else the result tells (`rc`, `stderr`, `path`).
    pub more: Report,
}

impl Failure {
    /// A failure that is only a message.
    pub fn new(message: impl Into<String>) -> Self {
        Failure {
            message: message.into(),
            more: Report::new(),
        }
    }

    /// The failure as a result: with `failed` and `msg`.
    pub fn into_report(self) -> Report {
        let mut report = self.more;
        report.insert("failed".to_owned(), true.into());
        report.insert("msg".to_owned(), self.message.into());
        report
    }
}

/// What comes of a module's work.
pub type Outcome = Result<Report, Failure>;
