//! Which of the tasks of a play a host comes to at all.

use std::collections::HashMap;
use std::sync::Arc;

use indexmap::IndexSet;

use super::meta_of;
use crate::executor::iterator::{Choice, Iteration};
use crate::language::{Role, Task};
use crate::variables::PlayVariables;

/// What roles did on which hosts.
#[derive(Default)]
pub(in crate::executor) struct RoleRuns {
    pub(super) began: HashMap<String, IndexSet<Arc<str>>>,
    pub(super) completed: HashMap<String, IndexSet<Arc<str>>>,
}

impl RoleRuns {
    pub(super) fn begin(&mut self, role: &Role, host: &Arc<str>) {
        self.began
            .entry(role.identity.clone())
            .or_default()
            .insert(Arc::clone(host));
    }

    /// Notes that a role is complete on a host, if it did anything there.
    pub(in crate::executor) fn complete(&mut self, role: &Role, host: &Arc<str>) -> bool {
        let began = self
            .began
            .get(&role.identity)
            .is_some_and(|hosts| hosts.contains(host));
        if began {
            self.completed
                .entry(role.identity.clone())
                .or_default()
                .insert(Arc::clone(host));
        }
        began
    }

    fn is_complete(&self, role: &Role, host: &str) -> bool {
        self.completed
            .get(&role.identity)
            .is_some_and(|hosts| hosts.contains(host))
    }
}

/// When facts are gathered at the beginning of a play.
pub(in crate::executor) struct Gathering {
    /// Whether the play has tasks to set up at all.
    pub(in crate::executor) is_there: bool,
    /// `implicit`, `explicit` or `smart`.
    pub(in crate::executor) policy: String,
    /// `gather_facts`.
    pub(in crate::executor) asked: Option<bool>,
    pub(in crate::executor) variables: Arc<PlayVariables>,
}

pub(super) struct Chooser<'a> {
    pub(super) gathering: &'a Gathering,
    pub(super) roles: &'a RoleRuns,
    /// The flush after `pre_tasks`.
    pub(super) early_flush: Option<u64>,
}

impl Choice for Chooser<'_> {
    fn gathers(&self, host: &str) -> bool {
        let gathering = self.gathering;
        let implied = gathering.asked.unwrap_or(true);
        gathering.is_there
            && match gathering.policy.as_str() {
                "explicit" => gathering.asked == Some(true),
                "smart" => implied && !gathering.variables.store().has_facts(host),
                _ => implied,
            }
    }

    fn passes_over(&self, host: &str, task: &Task, iteration: &Iteration) -> bool {
        if task.implicit
            && meta_of(task).as_deref() == Some("flush_handlers")
            && !iteration.has_notifications(host)
            && (self.early_flush == Some(task.id) || !iteration.has_earlier(host))
        {
            return true;
        }
        task.role()
            .is_some_and(|role| !role.allow_duplicates && self.roles.is_complete(role, host))
    }
}
