//! Actions: what a task does on the controller, be it all of it (`debug`, `set_fact`) or the controller's half of a module
//! (`copy`, `template`, `fetch`).

use std::sync::Arc;

use consort_jinja::{Dict, Origin, Value};

use crate::connection::Call;
use crate::executor::Attempt;

mod normal;

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
#[derive(Clone, Debug, Default)]
pub struct Failed {
    /// What is said, and becomes `msg` of the result if that has none.
    pub message: String,
    /// Where in the playbook the reason stands.
    pub origin: Option<Arc<Origin>>,
    /// What could be done about it.
    pub hint: Option<String>,
    /// What led to it.
    pub cause: Option<Box<Failed>>,
    /// What the result tells beside the message (`rc`, `stdout`, ...).
    pub result: Dict,
}

impl Failure {
    /// A failure that is only a message.
    pub fn new(message: impl Into<String>) -> Self {
        Failure::Failed(Box::new(Failed {
            message: message.into(),
            ..Failed::default()
        }))
    }

    /// A failure with a result.
    pub fn with(message: impl Into<String>, result: Dict) -> Self {
        Failure::Failed(Box::new(Failed {
            message: message.into(),
            result,
            ..Failed::default()
        }))
    }

    /// A failure at the place a value was written at.
    pub fn at(message: impl Into<String>, value: &Value) -> Self {
        Failure::Failed(Box::new(Failed {
            message: message.into(),
            origin: match value {
                Value::Str(text) => text.origin().cloned(),
                _ => None,
            },
            ..Failed::default()
        }))
    }

    /// Why a task is skipped.
    pub fn skipped(message: impl Into<String>) -> Self {
        Failure::Skipped {
            message: message.into(),
            result: Dict::default(),
        }
    }
}

/// The actions of ansible.builtin that are written in Rust, in the order of their names.
static ACTIONS: &[(&str, &dyn Action)] = &[];

/// The action of a name without its collection (`copy`); none for what is a module only, which [`Normal`] runs.
pub fn find(name: &str) -> Option<&'static dyn Action> {
    ACTIONS
        .binary_search_by(|(known, _)| (*known).cmp(name))
        .ok()
        .map(|place| ACTIONS[place].1)
}
