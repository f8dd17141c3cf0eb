//! Sizes of the sets: during a rolling update, and when the deployment itself is scaled.

use super::{decide::Draft, revisions, sizes};
use std::cmp::Ordering;

/// The size the new set should have now, given all others.
pub(crate) fn new_size(draft: &Draft<'_>, current: i32) -> i32 {
    let wanted = draft.wanted();
    if sizes::is_recreate(draft.deployment) || current > wanted {
        return wanted;
    }
    let room = wanted + draft.bounds.surge - draft.total();
    if room <= 0 {
        current
    } else {
        current + room.min(wanted - current)
    }
}

/// Takes down old sets as far as availability allows: first what is not available anyway, then
/// available pods beyond the minimum. Returns whether anything changed.
pub(crate) fn shrink_old(draft: &mut Draft<'_>) -> bool {
    let old = draft.old_by_age();
    if old.iter().all(|at| sizes::replicas(&draft.sets[*at]) == 0) {
        return false;
    }
    let minimum = draft.wanted() - draft.bounds.unavailable;
    let new_unavailable = draft.new.map_or(0, |at| {
        let set = &draft.sets[at];
        sizes::replicas(set) - sizes::available(set)
    });
    let mut allowed = draft.total() - minimum - new_unavailable;
    if allowed <= 0 {
        return false;
    }
    let mut changed = false;
    for at in &old {
        let (size, available) = (
            sizes::replicas(&draft.sets[*at]),
            sizes::available(&draft.sets[*at]),
        );
        let cut = (size - available).clamp(0, allowed.max(0));
        if cut > 0 {
            allowed -= cut;
            draft.resize(*at, size - cut);
            changed = true;
        }
    }
    // What a set was told to give up counts as gone already, even though its status still shows
    // it: two steps on one status would take away twice.
    let available: i32 = draft
        .sets
        .iter()
        .map(|set| sizes::available(set).min(sizes::replicas(set)))
        .sum();
    let mut surplus = (available - minimum).min(allowed);
    for at in &old {
        if surplus <= 0 {
            break;
        }
        let size = sizes::replicas(&draft.sets[*at]);
        let cut = size.min(surplus);
        if cut > 0 {
            surplus -= cut;
            draft.resize(*at, size - cut);
            changed = true;
        }
    }
    changed
}

/// Follows a change of the deployment's size: one active set simply takes it; in the middle of a
/// rolling update it is spread over all sets in proportion.
pub(crate) fn follow(draft: &mut Draft<'_>) {
    let wanted = draft.wanted();
    let active: Vec<usize> = (0..draft.sets.len())
        .filter(|at| sizes::replicas(&draft.sets[*at]) > 0)
        .collect();
    let single = match active.as_slice() {
        [] => draft.new.or_else(|| draft.old_by_age().last().copied()),
        [one] => Some(*one),
        _ => None,
    };
    if let Some(at) = single {
        let desired = revisions::annotation(&draft.sets[at].metadata, revisions::DESIRED);
        if sizes::replicas(&draft.sets[at]) != wanted || desired != Some(&wanted.to_string()) {
            draft.resize(at, wanted);
        }
        return;
    }
    if active.is_empty() {
        return;
    }
    if draft.new.is_some_and(|at| saturated(draft, at)) {
        for at in draft.old_by_age() {
            if sizes::replicas(&draft.sets[at]) > 0 {
                draft.resize(at, 0);
            }
        }
        return;
    }
    if sizes::is_recreate(draft.deployment) {
        // The old sets are about to go; noting the size is all there is to follow.
        for at in active {
            revisions::note_size(&mut draft.sets[at], draft.deployment);
        }
    } else {
        in_proportion(draft, active);
    }
}

/// Whether the new set alone serves the deployment.
fn saturated(draft: &Draft<'_>, at: usize) -> bool {
    let (set, wanted) = (&draft.sets[at], draft.wanted());
    let desired = revisions::annotation(&set.metadata, revisions::DESIRED);
    sizes::replicas(set) == wanted
        && desired == Some(&wanted.to_string())
        && sizes::available(set) == wanted
}

fn in_proportion(draft: &mut Draft<'_>, mut active: Vec<usize>) {
    let wanted = draft.wanted();
    let allowed = if wanted > 0 {
        wanted + draft.bounds.surge
    } else {
        0
    };
    let change = allowed - draft.total();
    // Growth goes to the largest and newest first, shrinking takes from the largest and oldest.
    active.sort_by(|a, b| {
        let (a, b) = (&draft.sets[*a], &draft.sets[*b]);
        let by_size = sizes::replicas(b).cmp(&sizes::replicas(a));
        let by_age = match change.cmp(&0) {
            Ordering::Greater => revisions::older(b, a),
            _ => revisions::older(a, b),
        };
        by_size.then(by_age)
    });
    let mut added = 0;
    let mut targets = Vec::with_capacity(active.len());
    for at in active {
        let size = sizes::replicas(&draft.sets[at]);
        let mut share = 0;
        if change != 0 && change != added {
            let fraction = fraction(draft, at);
            let left = change - added;
            share = if change > 0 {
                fraction.min(left)
            } else {
                fraction.max(left)
            };
        }
        added += share;
        targets.push((at, size + share));
    }
    if let Some(first) = targets.first_mut() {
        first.1 = (first.1 + change - added).max(0);
    }
    for (at, size) in targets {
        draft.resize(at, size);
    }
}

/// By how much a set should grow or shrink to keep its share of the deployment.
fn fraction(draft: &Draft<'_>, at: usize) -> i32 {
    let (set, wanted) = (&draft.sets[at], draft.wanted());
    let size = sizes::replicas(set);
    if wanted == 0 {
        return -size;
    }
    let maximum = f64::from(wanted + draft.bounds.surge);
    let noted = revisions::annotation(&set.metadata, revisions::MAXIMUM)
        .and_then(|value| value.parse::<i32>().ok());
    let before = noted.filter(|before| *before > 0).unwrap_or_else(|| {
        draft
            .deployment
            .status
            .as_ref()
            .and_then(|status| status.replicas)
            .unwrap_or_default()
    });
    if before <= 0 {
        return 0;
    }
    (f64::from(size) * maximum / f64::from(before)).round() as i32 - size
}
