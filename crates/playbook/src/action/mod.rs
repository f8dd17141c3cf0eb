//! Actions: what a task does on the controller, be it all of it (`debug`, `set_fact`) or the controller's half of a module
//! (`copy`, `template`, `fetch`).

use consort_jinja::{Dict, Value};

use crate::connection::Call;
use crate::executor::Attempt;
use crate::source::Located;
use crate::template;

mod assemble;
mod background;
mod commands;
mod copy;
mod fact_modules;
mod fetch;
mod given;
mod include_vars;
mod inventory;
mod machine;
mod messages;
mod normal;
mod package;
mod pause;
mod rendered;
mod specification;
mod transfer;
mod variables;
mod waiting;
mod walk;

pub use normal::Normal;

/// What a task does on the controller.
///
/// One value serves all tasks and hosts at once: what belongs to a task is in the [`Attempt`].
pub trait Action: Send + Sync {
    /// Carries it out, with the task's arguments rendered and what is omitted left out. Gives the result, in which `failed`
    /// or `skipped` may be set.
    fn run<'a>(&'a self, attempt: &'a Attempt<'a>, arguments: Dict) -> Call<'a, Outcome>;

    /// What it is like.
    fn traits(&self) -> Traits {
        Traits::default()
    }
}

/// What comes of an action: the result, or why there is none.
pub type Outcome = Result<Dict, Failure>;

/// What an action is like.
#[derive(Clone, Copy, Debug)]
#[allow(clippy::struct_excessive_bools)]
pub struct Traits {
    /// It runs once for all hosts (`add_host`, `pause`).
    pub bypasses_host_loop: bool,
    /// It can be run in the background.
    pub background: bool,
    /// It knows what to do in check mode; if not, it is skipped there.
    pub check_mode: bool,
    /// Free text is an argument of its own to it (`_raw_params`).
    pub free_text: bool,
    /// Arguments that it is given as they were written: it renders them itself.
    pub unrendered: &'static [&'static str],
    /// All arguments it knows, if it knows no others.
    pub arguments: Option<&'static [&'static str]>,
}

impl Default for Traits {
    fn default() -> Self {
        Traits {
            bypasses_host_loop: false,
            background: false,
            check_mode: true,
            free_text: false,
            unrendered: &[],
            arguments: None,
        }
    }
}

/// Why an action gave no result.
#[derive(Clone, Debug)]
pub enum Failure {
    /// The task failed.
    Failed(Box<Failed>),
    /// The task is not done, for a reason: it counts as skipped.
    Skipped {
        /// The reason.
        message: String,
        /// What the result tells beside it.
        result: Dict,
    },
    /// The machine cannot be reached.
    Unreachable {
        /// What is said.
        message: String,
        /// What the result tells beside it.
        result: Dict,
    },
}

/// A failure and what led to it.
#[derive(Clone, Debug)]
pub struct Failed {
    /// What went wrong, where, why, and what could be done about it.
    pub error: Located,
    /// What the result tells beside the message (`rc`, `stdout`, ...).
    pub result: Dict,
    /// Whether the message is the result's `msg` as it is. That is made of the messages of all causes otherwise, beginning
    /// with `Task failed`.
    pub is_message: bool,
}

impl Failure {
    /// An action that refuses: what it says becomes `msg`.
    pub fn new(message: impl Into<String>) -> Self {
        Failure::with(message, Dict::default())
    }

    /// An action that refuses, with a result.
    pub fn with(message: impl Into<String>, result: Dict) -> Self {
        Failure::Failed(Box::new(Failed {
            error: Located::new(message),
            result,
            is_message: true,
        }))
    }

    /// Something that went wrong: `msg` tells all of it (`Task failed: ...`).
    pub fn error(message: impl Into<String>) -> Self {
        Located::new(message).into()
    }

    /// Something that went wrong with a value: told with the place it was written at.
    pub fn at(message: impl Into<String>, value: &Value) -> Self {
        Located::new(message).about(value).into()
    }

    /// Why a task is skipped.
    pub fn skipped(message: impl Into<String>) -> Self {
        Failure::Skipped {
            message: message.into(),
            result: Dict::default(),
        }
    }
}

impl From<Located> for Failure {
    fn from(error: Located) -> Self {
        Failure::Failed(Box::new(Failed {
            error,
            result: Dict::default(),
            is_message: false,
        }))
    }
}

impl From<template::Error> for Failure {
    fn from(error: template::Error) -> Self {
        Failure::from(Located::from(error))
    }
}

/// The actions of ansible.builtin that are written in Rust, in the order of their names.
static ACTIONS: &[(&str, &dyn Action)] = &[
    ("add_host", &inventory::AddHost),
    ("assemble", &assemble::Assemble),
    ("assert", &messages::Assert),
    ("async_status", &background::AsyncStatus),
    ("command", &commands::Command),
    ("copy", &copy::Copy),
    ("debug", &messages::Debug),
    ("dnf", &package::Dnf),
    ("fail", &messages::Fail),
    ("fetch", &fetch::Fetch),
    ("gather_facts", &package::GatherFacts),
    ("group_by", &inventory::GroupBy),
    ("include_vars", &include_vars::IncludeVars),
    ("package", &package::Package),
    ("pause", &pause::Pause),
    ("raw", &commands::Raw),
    ("reboot", &waiting::Reboot),
    ("script", &commands::Script),
    ("service", &package::Service),
    ("set_fact", &variables::SetFact),
    ("set_stats", &variables::SetStats),
    ("shell", &commands::Shell),
    ("template", &rendered::Template),
    ("unarchive", &transfer::Unarchive),
    ("uri", &transfer::Uri),
    (
        "validate_argument_spec",
        &specification::ValidateArgumentSpec,
    ),
    ("wait_for_connection", &waiting::WaitForConnection),
];

/// The action of a name without its collection (`copy`); none for what is a module only, which [`Normal`] runs.
pub fn find(name: &str) -> Option<&'static dyn Action> {
    ACTIONS
        .binary_search_by(|(known, _)| (*known).cmp(name))
        .ok()
        .map(|place| ACTIONS[place].1)
}
