//! Conditions of a score: what is so, why, since when.

pub(super) use consort_reconcile::State;

use super::object::Status;

/// Sets a condition; when it came to be so changes only if its state does.
pub(super) fn set(status: &mut Status, kind: &str, state: State, reason: &str, message: &str) {
    let generation = status.observed_generation;
    consort_reconcile::set_condition(
        &mut status.conditions,
        generation,
        kind,
        state,
        reason,
        message,
    );
}

/// Takes a condition away that no longer means anything.
pub(super) fn clear(status: &mut Status, kind: &str) {
    status
        .conditions
        .retain(|condition| condition.type_ != kind);
}
