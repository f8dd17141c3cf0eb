//! Which finished pods are counted, noted, and still to be noted.

use super::is_tracked;
use crate::pods;
use k8s_openapi::{
    api::{
        batch::v1::{JobStatus, UncountedTerminatedPods},
        core::v1::Pod,
    },
    jiff::Timestamp,
};
use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

/// So many finished pods are noted at a time, to keep the status small.
const NOTES: usize = 500;

/// Where a finished pod belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Succeeded,
    Failed,
    /// Failed in a way that the pod failure policy does not count.
    Ignored,
}

/// The state of counting.
#[derive(Debug, Default)]
pub(crate) struct Count {
    /// Counted and noted together: what decisions are made on.
    pub(crate) succeeded: i32,
    pub(crate) failed: i32,
    /// For the status.
    pub(crate) counted_succeeded: i32,
    pub(crate) counted_failed: i32,
    pub(crate) notes: Option<UncountedTerminatedPods>,
    /// Noted pods that still have the finalizer: it may be taken off once the note is written.
    pub(crate) untrack: Vec<Arc<Pod>>,
    /// There were more finished pods than can be noted at once.
    pub(crate) more: bool,
}

/// Advances the count: notes whose pods have lost the finalizer are counted, finished pods with the
/// finalizer are noted.
pub(crate) fn advance(
    status: &JobStatus,
    pods: &[Arc<Pod>],
    outcome: &dyn Fn(&Pod) -> Option<Outcome>,
) -> Count {
    let mut count = Count {
        counted_succeeded: status.succeeded.unwrap_or_default(),
        counted_failed: status.failed.unwrap_or_default(),
        ..Count::default()
    };
    let tracked: HashMap<&str, &Arc<Pod>> = pods
        .iter()
        .filter(|pod| is_tracked(pod))
        .filter_map(|pod| Some((pod.metadata.uid.as_deref()?, pod)))
        .collect();
    let old = status.uncounted_terminated_pods.clone().unwrap_or_default();
    let mut noted = BTreeSet::new();
    let mut keep = |uids: Option<Vec<String>>, counted: &mut i32| {
        let mut kept = Vec::new();
        for uid in uids.into_iter().flatten() {
            match tracked.get(uid.as_str()) {
                Some(pod) => {
                    count.untrack.push((*pod).clone());
                    noted.insert(uid.clone());
                    kept.push(uid);
                }
                None => *counted += 1,
            }
        }
        kept
    };
    let mut succeeded = keep(old.succeeded, &mut count.counted_succeeded);
    let mut failed = keep(old.failed, &mut count.counted_failed);
    for pod in pods.iter().filter(|pod| is_tracked(pod)) {
        let Some(uid) = pod.metadata.uid.clone() else {
            continue;
        };
        if noted.contains(&uid) {
            continue;
        }
        let Some(outcome) = outcome(pod) else {
            continue;
        };
        if outcome != Outcome::Ignored && succeeded.len() + failed.len() >= NOTES {
            count.more = true;
            continue;
        }
        match outcome {
            Outcome::Succeeded => succeeded.push(uid),
            Outcome::Failed => failed.push(uid),
            Outcome::Ignored => {}
        }
        count.untrack.push(pod.clone());
    }
    count.succeeded = count.counted_succeeded + succeeded.len() as i32;
    count.failed = count.counted_failed + failed.len() as i32;
    let list = |uids: Vec<String>| (!uids.is_empty()).then_some(uids);
    // An empty note, not none: it says that pods are counted this way.
    count.notes = Some(UncountedTerminatedPods {
        succeeded: list(succeeded),
        failed: list(failed),
    });
    count
}

/// When a pod finished: the last of its containers, else when it was last known to change.
pub(crate) fn finished_at(pod: &Pod) -> Option<Timestamp> {
    let statuses = pod
        .status
        .as_ref()
        .and_then(|status| status.container_statuses.as_ref());
    let ends = statuses
        .into_iter()
        .flatten()
        .filter_map(|status| {
            status
                .state
                .as_ref()?
                .terminated
                .as_ref()?
                .finished_at
                .as_ref()
        })
        .map(|time| time.0);
    let deleted = pod.metadata.deletion_timestamp.as_ref().map(|time| time.0);
    let ready = pods::condition(pod, "Ready")
        .and_then(|ready| ready.last_transition_time.as_ref())
        .map(|time| time.0);
    let created = pod.metadata.creation_timestamp.as_ref().map(|time| time.0);
    ends.max().or(deleted).or(ready).or(created)
}
