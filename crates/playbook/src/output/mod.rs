//! What is told of a run: events, and the callbacks that print them.

pub mod default;
pub mod difference;
pub mod display;
pub mod hints;
pub mod junit;
pub mod log;
pub mod plain;
pub mod shown;
pub mod timing;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use consort_jinja::{Dict, Value};

use crate::language::{Play, Playbook, Task};

/// Something that happened in a run. Events come in the order things happened, one at a time.
#[derive(Debug)]
pub enum Event<'a> {
    /// A run begins; with the settings that callbacks show.
    Started {
        /// The version and the file of settings, for `-v`.
        banner: &'a [String],
    },
    /// A playbook begins.
    Playbook(&'a Playbook),
    /// A play begins.
    Play {
        /// The play.
        play: &'a Arc<Play>,
        /// Its name, rendered; that of its pattern if it has none.
        name: &'a str,
        /// Whether it is run in check mode.
        check: bool,
        /// Whether hosts do not wait for each other (strategies `free` and `host_pinned`).
        free: bool,
        /// The hosts it is run on, or those of its batch.
        hosts: &'a [Arc<str>],
        /// The hosts of all its batches.
        all: &'a [Arc<str>],
    },
    /// The user is asked for a variable of `vars_prompt`.
    Prompt {
        /// The variable.
        name: &'a str,
        /// What `vars_prompt` says of it, rendered.
        prompt: &'a Dict,
    },
    /// The pattern of the play matches no hosts.
    NoHostsMatched,
    /// All hosts of the play have failed.
    NoHostsRemaining,
    /// A task begins for at least one host.
    Task {
        /// The task.
        task: &'a Arc<Task>,
        /// Its name, rendered, with the role before it: `ROLE : NAME`.
        name: &'a str,
        /// A handler, or a task to clean up.
        kind: TaskKind,
        /// Whether it is run in check mode.
        check: bool,
        /// The arguments as far as they can be shown without a host.
        arguments: &'a Dict,
    },
    /// A task begins on one host.
    HostStarted {
        /// The host.
        host: &'a str,
        /// The task.
        task: &'a Arc<Task>,
    },
    /// A task ended on a host; for a loop, after all its items.
    Result(&'a TaskResult),
    /// One item of a loop ended on a host.
    Item(&'a TaskResult),
    /// A task is tried again.
    Retry {
        /// What the last attempt gave.
        result: &'a TaskResult,
        /// How many attempts remain.
        remaining: u64,
    },
    /// A task that runs in the background is not done yet.
    AsyncPoll(&'a TaskResult),
    /// A task that ran in the background has ended, or its time is over.
    AsyncEnded(&'a TaskResult),
    /// A file of tasks or a role was included.
    Included {
        /// The task that includes.
        task: &'a Arc<Task>,
        /// What is included, as it is shown.
        path: &'a str,
        /// For which hosts.
        hosts: &'a [Arc<str>],
        /// The label of the item, if the include repeats.
        item: Option<&'a str>,
    },
    /// A handler was notified.
    Notified {
        /// The name it is known by.
        handler: &'a str,
        /// By which host.
        host: &'a str,
    },
    /// Something to warn of, once.
    Warning(&'a str),
    /// Something that will go away.
    Deprecation {
        /// What.
        message: &'a str,
    },
    /// An error of the whole run, with its places.
    Error(&'a str),
    /// A line an action tells, whatever the level of detail.
    Line(&'a str),
    /// Something to tell at a level of detail (`-v` to `-vvvvvv`).
    Detail {
        /// From which level on.
        level: u8,
        /// The host it concerns.
        host: Option<&'a str>,
        /// What.
        text: &'a str,
    },
    /// The end.
    Stats(&'a Stats),
}

/// What kind of task begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TaskKind {
    /// An ordinary one.
    Task,
    /// A handler.
    Handler,
}

/// How a task ended on a host.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Status {
    /// Well, whether or not something changed.
    Ok,
    /// Not well.
    Failed,
    /// Its condition did not hold.
    Skipped,
    /// The machine could not be reached.
    Unreachable,
}

/// What came of a task on a host.
#[derive(Clone, Debug)]
pub struct TaskResult {
    /// The host's name in the inventory.
    pub host: Arc<str>,
    /// The host it was delegated to, as that is shown (`a -> b`), or nothing.
    pub delegated: Option<Arc<str>>,
    /// The task.
    pub task: Arc<Task>,
    /// Its name, rendered.
    pub name: Arc<str>,
    /// How it ended.
    pub status: Status,
    /// Whether it changed something.
    pub changed: bool,
    /// Whether a failure is ignored.
    pub ignored: bool,
    /// Whether a failure is dealt with by the `rescue` of a block.
    pub rescued: bool,
    /// Whether its result may not be shown.
    pub no_log: bool,
    /// Whether it was run in check mode.
    pub check: bool,
    /// Whether differences are shown.
    pub diff: bool,
    /// The whole result, as it is registered; with what callbacks alone see (`_ansible_verbose_always`, `diff`, `exception`).
    pub result: Dict,
    /// The error as it is shown, with its places and causes.
    pub error: Option<Arc<str>>,
    /// What helps with the error: the expression, the values of its variables, what could be done.
    pub helps: Option<Arc<str>>,
    /// The full name of the connection's plugin (`ansible.builtin.ssh`); none where it did not come to that.
    pub connection: Option<Arc<str>>,
    /// The label of the item, for an item of a loop.
    pub item: Option<Value>,
    /// How many attempts it took.
    pub attempts: u64,
    /// How long it took.
    pub elapsed: Duration,
    /// What the action was given, rendered; none for a loop as a whole, and where it did not come to that.
    pub arguments: Option<Dict>,
    /// The handlers it notifies, as the task names them, if it changed something.
    pub notify: Vec<Arc<str>>,
    /// In a run with [foresight](crate::executor::Foresight): why the result cannot be known before the task is done.
    pub unforeseen: Option<Arc<str>>,
}

/// The recap: what came of each host.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    /// The counts by host, in the order of their names.
    pub hosts: BTreeMap<Arc<str>, Counts>,
    /// What `set_stats` gave, for the run and for hosts.
    pub custom: BTreeMap<String, Dict>,
}

/// The counts of a host.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[allow(missing_docs)]
pub struct Counts {
    pub ok: u64,
    pub changed: u64,
    pub unreachable: u64,
    pub failures: u64,
    pub skipped: u64,
    pub rescued: u64,
    pub ignored: u64,
}

/// Is told what happens.
pub trait Callback: Send {
    /// Something happened.
    fn event(&mut self, event: &Event<'_>);
}
