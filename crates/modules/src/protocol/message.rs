//! What is asked of a helper, and what it answers: the bodies of frames, as JSON.

use serde::{Deserialize, Serialize};

use super::becoming::Becoming;
use crate::invocation::{Invocation, Report};

/// The version of all of it. Both sides are of one build in almost all cases; where they are not, they do not talk.
pub const VERSION: u32 = 1;

/// Who is there.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Hello {
    /// [`VERSION`].
    pub version: u32,
    /// Its process.
    pub process: u32,
    /// The user's name.
    pub user: String,
    /// The user's number.
    pub uid: u32,
    /// The user's home.
    pub home: String,
    /// The user's login shell.
    pub shell: String,
}

/// What is asked.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Request {
    /// Run a native module.
    Module {
        /// It.
        invocation: Invocation,
        /// In a process of its own, so that it can be ended.
        apart: bool,
    },
    /// Run a module that is packed.
    Packed(PackedCall),
    /// Begin a module in the background.
    Start {
        /// The job.
        job: Job,
        /// What is to be done.
        work: Work,
    },
    /// Whether a package is kept here.
    Keeps {
        /// Its digest.
        digest: String,
        /// The directory for temporary files.
        remote_tmp: String,
    },
    /// Keep a package; its content follows as data.
    Keep {
        /// Its digest.
        digest: String,
        /// The directory for temporary files.
        remote_tmp: String,
        /// Whether it will be run as a program.
        program: bool,
    },
    /// Run a command; what it reads follows as data.
    Command {
        /// The program and its arguments.
        arguments: Vec<String>,
        /// Variables beside those of the login.
        environment: Vec<(String, String)>,
        /// Where it begins.
        directory: Option<String>,
        /// Whether it runs at a terminal: what it writes and what it complains then come as one, and it is given nothing to read.
        terminal: bool,
    },
    /// Write a file; its content follows as data.
    Put {
        /// Where.
        path: String,
        /// Its permissions.
        mode: u32,
    },
    /// Read a file; its content comes as data.
    Fetch {
        /// Where.
        path: String,
    },
    /// Make a directory for a task's files.
    Temporary {
        /// Below which.
        base: String,
    },
    /// Remove a file or a directory.
    Remove {
        /// Which.
        path: String,
    },
    /// Open a lane to another helper, which is another user.
    Open {
        /// Its number.
        lane: u32,
        /// Whom, and how.
        becoming: Becoming,
    },
    /// Close a lane: no process of that user's is left of it.
    Close {
        /// Its number.
        lane: u32,
    },
}

/// A module that is packed, to be run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PackedCall {
    /// Its name, for messages.
    pub name: String,
    /// The digest its package is kept by.
    pub digest: String,
    /// What it is.
    pub kind: PackedProgram,
    /// The arguments as the module reads them: JSON for Python, the file's content for others.
    pub arguments: String,
    /// The directory for temporary files.
    pub remote_tmp: String,
    /// Variables beside those of the login.
    pub environment: Vec<(String, String)>,
    /// Where it begins; the login's directory if empty.
    pub directory: String,
}

/// What a package is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum PackedProgram {
    /// A zip archive with a Python module on `ansible.module_utils`.
    Python {
        /// The module's name in it.
        module: String,
        /// The interpreter, with its arguments.
        interpreter: Vec<String>,
        /// Whether it overrides parts of `ansible.module_utils`: then nothing that is loaded already serves it.
        alone: bool,
        /// How many files it may have open, if that is to be set.
        open_files: Option<u64>,
    },
    /// A program that is given a file with its arguments.
    Program {
        /// The interpreter with its arguments, if it is a script.
        interpreter: Vec<String>,
        /// Whether it is given a file: else it reads what is asked from inside itself.
        file: bool,
    },
}

/// A job in the background.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Job {
    /// Its name: `j123456789012.4711`.
    pub id: String,
    /// For how many seconds it may run.
    pub limit: u64,
    /// Where its state is kept: `~/.ansible_async`.
    pub directory: String,
}

/// What a job does.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Work {
    /// A native module.
    Module(Invocation),
    /// One that is packed.
    Packed(PackedCall),
}

/// What is answered.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Answer {
    /// What a module reports.
    Report(Report),
    /// A program ended; what it wrote came before.
    Ended {
        /// Its exit status, or the negative number of a signal.
        status: i32,
    },
    /// It is done.
    Done,
    /// A path, or that there is one.
    Path(String),
    /// A package is not kept here.
    Missing,
    /// It could not be done.
    Failed(String),
    /// It was ended because that was asked.
    Cancelled,
    /// Another user could not be become.
    NotBecome(super::becoming::NotBecome),
}
