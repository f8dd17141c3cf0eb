//! Going on with a plan where a walk of it was interrupted.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::address::ResourceInstance;
use crate::engine::change::{Action, Change, Plan};
use crate::state::{Instance, Object, State, Status};

/// What an interrupted walk had done.
#[derive(Clone, Debug)]
pub struct Resumed {
    /// The state the plan was made from with all that the walk had done since.
    pub state: State,
    /// By change of the plan: whether the walk had told that it is done.
    pub done: Vec<bool>,
}

/// The instances that are as planned, and the keys of replaced objects that wait to be deleted.
type Standing = (
    HashSet<ResourceInstance>,
    HashMap<ResourceInstance, Arc<str>>,
);

impl Resumed {
    /// What of a plan need not be done again: where the state holds another finished object than the plan began with,
    /// or the same and the walk had told that it is as planned. Deletions are looked at when their turn comes.
    pub(super) fn standing(&self, plan: &Plan) -> Standing {
        let mut made = HashSet::new();
        let mut deposed = HashMap::new();
        for (at, change) in plan.changes.iter().enumerate() {
            if change.deposed.is_some() {
                continue;
            }
            let prior = plan.prior_state.instance(&change.address);
            let before = prior.and_then(|instance| instance.current.as_ref());
            let instance = self.state.instance(&change.address);
            let now = instance.and_then(|instance| instance.current.as_ref());
            let told = self.done.get(at) == Some(&true);
            if is_made(change, before, now, told) {
                made.insert(change.address.clone());
            }
            if change.action == Action::CreateThenDelete
                && let (Some(before), Some(instance)) = (before, instance)
                && let Some(key) = replaced(before, prior, instance)
            {
                deposed.insert(change.address.clone(), key);
            }
        }
        (made, deposed)
    }
}

fn is_made(
    change: &Change,
    before: Option<&Arc<Object>>,
    now: Option<&Arc<Object>>,
    told: bool,
) -> bool {
    let Some(now) = now.filter(|now| now.status == Status::Ready) else {
        return false;
    };
    let differs = before.is_none_or(|before| **before != **now);
    match change.action {
        Action::Create | Action::DeleteThenCreate | Action::CreateThenDelete => differs,
        Action::Update | Action::Read => differs || told,
        Action::NoOp | Action::Delete | Action::Forget => false,
    }
}

/// The key under which a replaced object waits.
fn replaced(before: &Object, prior: Option<&Instance>, now: &Instance) -> Option<Arc<str>> {
    now.deposed
        .iter()
        .find(|(key, object)| {
            ***object == *before && prior.is_none_or(|prior| !prior.deposed.contains_key(&**key))
        })
        .map(|(key, _)| key.clone())
}
