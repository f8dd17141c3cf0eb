//! What was changed outside since the last apply, as far as the source has a say in it.

use std::collections::BTreeMap;

use consort_hcl::Value;
use consort_plan::{Drift, Owner, Planned, below};

use super::values;
use crate::engine::{Action, Change, Tied};

/// What of an object differs from the last apply. `wanted` is the planned change of the same object.
///
/// Only arguments that the configuration sets count, and not those whose changes it ignores: the rest is for the
/// provider to say, and no drift.
pub(super) fn drift(found: &Change, wanted: Option<&Change>, tied: Option<&Tied>) -> Vec<Drift> {
    let corrected = |at: &str, was: &Planned| -> bool {
        let Some(change) = wanted else { return false };
        if matches!(change.action, Action::NoOp | Action::Read | Action::Forget) {
            return false;
        }
        match at.strip_prefix('/') {
            None => matches!(
                change.action,
                Action::Create | Action::DeleteThenCreate | Action::CreateThenDelete
            ),
            Some(name) => attribute(&change.after, name)
                .is_some_and(|after| values::planned(&after, &|_| None).value == was.value),
        }
    };
    if found.after.is_null() {
        let was = values::planned(&found.before, &|_| None);
        return vec![Drift {
            at: String::new(),
            corrected: corrected("", &was),
            wanted: was,
            found: Planned::default(),
            owner: Owner::Outside,
        }];
    }
    let Some(tied) = tied else { return Vec::new() };
    if tied.ignores_all {
        return Vec::new();
    }
    let (Some(before), Some(after)) = (parts(&found.before), parts(&found.after)) else {
        return Vec::new();
    };
    before
        .iter()
        .filter(|(name, _)| tied.written.contains(**name) && !tied.ignored.contains(**name))
        .filter_map(|(name, was)| {
            let was = values::planned(was, &|_| None);
            let now = values::planned(after.get(name)?, &|_| None);
            (was.value != now.value).then(|| {
                let at = below("", name);
                Drift {
                    corrected: corrected(&at, &was),
                    at,
                    wanted: was,
                    found: now,
                    owner: Owner::Outside,
                }
            })
        })
        .collect()
}

fn parts(value: &Value) -> Option<BTreeMap<&str, &Value>> {
    Some(
        value
            .as_keyed()?
            .iter()
            .map(|(name, value)| (&**name, value))
            .collect(),
    )
}

fn attribute(value: &Value, name: &str) -> Option<Value> {
    value.as_keyed()?.get(name).cloned()
}
