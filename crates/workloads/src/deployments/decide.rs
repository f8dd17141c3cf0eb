//! What a deployment needs next.

use super::{
    progress, revisions, scaling,
    sizes::{self, Bounds},
};
use crate::{conditions, write};
use k8s_openapi::{
    api::apps::v1::{Deployment, DeploymentStatus, ReplicaSet},
    jiff::Timestamp,
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// What the decision is made on.
pub(crate) struct World<'a> {
    pub(crate) deployment: &'a Deployment,
    /// All sets the deployment owns.
    pub(crate) sets: &'a [Arc<ReplicaSet>],
    /// Whether the set of this uid has pods that are not finished.
    pub(crate) has_pods: &'a dyn Fn(&str) -> bool,
    pub(crate) now: Timestamp,
}

/// A set as it is and as it should be.
#[derive(Debug)]
pub(crate) struct Change {
    pub(crate) from: Arc<ReplicaSet>,
    pub(crate) to: ReplicaSet,
}

/// What to do, in this order.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub(crate) create: Option<ReplicaSet>,
    pub(crate) change: Vec<Change>,
    pub(crate) delete: Vec<Arc<ReplicaSet>>,
    /// Annotations to set on the deployment.
    pub(crate) annotations: Option<BTreeMap<String, String>>,
    pub(crate) status: DeploymentStatus,
    /// When the progress deadline needs a look.
    pub(crate) look_again: Option<Duration>,
}

impl Plan {
    /// The name for the new set is taken: count the collision, which gives another name.
    pub(crate) fn after_collision(deployment: &Deployment) -> Self {
        let mut status = deployment.status.clone().unwrap_or_default();
        status.collision_count = Some(status.collision_count.unwrap_or_default() + 1);
        Self {
            status,
            ..Self::default()
        }
    }

    /// The new set could not be created: say so, and do nothing else.
    pub(crate) fn after_failed_creation(
        deployment: &Deployment,
        why: &str,
        now: Timestamp,
    ) -> Self {
        let mut status = deployment.status.clone().unwrap_or_default();
        if progress::deadline(deployment).is_some() {
            let failed = progress::condition(
                progress::PROGRESSING,
                "False",
                "ReplicaSetCreateError",
                why,
                now,
            );
            progress::set(&mut status, failed);
        }
        Self {
            status,
            ..Self::default()
        }
    }
}

/// The sets as they are being decided on.
pub(crate) struct Draft<'a> {
    pub(crate) deployment: &'a Deployment,
    pub(crate) sets: Vec<ReplicaSet>,
    /// Which of them is of the present template.
    pub(crate) new: Option<usize>,
    pub(crate) bounds: Bounds,
    pub(crate) now: Timestamp,
}

impl Draft<'_> {
    pub(crate) fn wanted(&self) -> i32 {
        sizes::wanted(self.deployment)
    }

    /// Desired replicas of all sets together.
    pub(crate) fn total(&self) -> i32 {
        self.sets.iter().map(sizes::replicas).sum()
    }

    /// All sets but the new one, oldest first.
    pub(crate) fn old_by_age(&self) -> Vec<usize> {
        let mut old: Vec<_> = (0..self.sets.len())
            .filter(|at| Some(*at) != self.new)
            .collect();
        old.sort_by(|a, b| revisions::older(&self.sets[*a], &self.sets[*b]));
        old
    }

    pub(crate) fn resize(&mut self, at: usize, size: i32) {
        let set = &mut self.sets[at];
        set.spec.replicas = Some(size);
        revisions::note_size(set, self.deployment);
    }
}

/// Decides what to do about a deployment.
pub(crate) fn decide(world: &World<'_>) -> Plan {
    let deployment = world.deployment;
    let mut draft = Draft {
        deployment,
        sets: world.sets.iter().map(|set| (**set).clone()).collect(),
        new: None,
        bounds: sizes::bounds(deployment),
        now: world.now,
    };
    draft.new = revisions::newest(deployment, &draft.sets);
    let mut plan = Plan::default();
    if deployment.metadata.deletion_timestamp.is_some() {
        plan.status = progress::counted(&draft);
        return plan;
    }
    let paused = deployment.spec.paused == Some(true);
    let mut started = None;
    number(&mut draft, &mut plan);
    if paused || was_scaled(&draft) {
        scaling::follow(&mut draft);
    } else if sizes::is_recreate(deployment) {
        started = recreate(world, &mut draft);
    } else {
        started = roll(&mut draft);
    }

    plan.status = progress::counted(&draft);
    if let Some(condition) = started
        && progress::deadline(deployment).is_some()
    {
        conditions::remove(&mut plan.status.conditions, progress::PROGRESSING);
        progress::set(&mut plan.status, condition);
    }
    pause_condition(deployment, paused, &mut plan.status, world.now);
    if !paused {
        progress::judge(&draft, &mut plan.status);
    }
    if paused || progress::is_complete(deployment, &plan.status) {
        let new = draft
            .new
            .map(|at| write::name_of(&draft.sets[at].metadata).to_owned());
        plan.delete = revisions::expired(world, new.as_deref());
    }
    plan.look_again = progress::next_look(deployment, &plan.status, world.now);
    let mut wanted = draft.sets.into_iter();
    plan.change = world
        .sets
        .iter()
        .zip(wanted.by_ref())
        .filter(|(from, to)| ***from != *to)
        .map(|(from, to)| Change {
            from: from.clone(),
            to,
        })
        .collect();
    plan.create = wanted.next();
    if plan.create.is_some() || plan.annotations.is_some() {
        note_revision(deployment, plan.create.as_ref(), &mut plan.annotations);
    }
    plan
}

/// Gives the new set the highest revision number and the deployment's annotations.
fn number(draft: &mut Draft<'_>, plan: &mut Plan) {
    let Some(at) = draft.new else { return };
    let number = next_number(draft);
    let deployment = draft.deployment;
    let set = &mut draft.sets[at];
    revisions::annotate(set, deployment, number);
    set.spec.min_ready_seconds = deployment.spec.min_ready_seconds;
    let own = revisions::annotation(&set.metadata, revisions::REVISION)
        .unwrap_or_default()
        .to_owned();
    if revisions::annotation(&deployment.metadata, revisions::REVISION) != Some(&own) {
        plan.annotations = Some([(revisions::REVISION.to_owned(), own)].into());
    }
}

fn next_number(draft: &Draft<'_>) -> i64 {
    let old = (0..draft.sets.len()).filter(|at| Some(*at) != draft.new);
    old.map(|at| revisions::revision(&draft.sets[at].metadata))
        .max()
        .unwrap_or_default()
        + 1
}

fn note_revision(
    deployment: &Deployment,
    created: Option<&ReplicaSet>,
    annotations: &mut Option<BTreeMap<String, String>>,
) {
    let Some(number) =
        created.and_then(|set| revisions::annotation(&set.metadata, revisions::REVISION))
    else {
        return;
    };
    if revisions::annotation(&deployment.metadata, revisions::REVISION) != Some(number) {
        *annotations = Some([(revisions::REVISION.to_owned(), number.to_owned())].into());
    }
}

/// Whether an active set was sized for another size of the deployment.
fn was_scaled(draft: &Draft<'_>) -> bool {
    let wanted = draft.wanted().to_string();
    draft
        .sets
        .iter()
        .filter(|set| sizes::replicas(set) > 0)
        .any(|set| {
            revisions::annotation(&set.metadata, revisions::DESIRED)
                .is_some_and(|desired| desired != wanted)
        })
}

/// Adds the set of the present template if there is none; says which condition that leads to.
fn ensure_new(
    draft: &mut Draft<'_>,
) -> (
    usize,
    Option<k8s_openapi::api::apps::v1::DeploymentCondition>,
) {
    let (at, verb, reason) = if let Some(at) = draft.new {
        let conditions = draft
            .deployment
            .status
            .as_ref()
            .and_then(|status| status.conditions.as_ref());
        if conditions::find(conditions, progress::PROGRESSING).is_some() {
            return (at, None);
        }
        (at, "Found", "FoundNewReplicaSet")
    } else {
        let mut set = revisions::create(draft.deployment, next_number(draft));
        let size = scaling::new_size(draft, 0);
        set.spec.replicas = Some(size);
        draft.sets.push(set);
        draft.new = Some(draft.sets.len() - 1);
        (draft.sets.len() - 1, "Created", "NewReplicaSetCreated")
    };
    let name = write::name_of(&draft.sets[at].metadata);
    let text = format!("{verb} new replica set \"{name}\"");
    (
        at,
        Some(progress::condition(
            progress::PROGRESSING,
            "True",
            reason,
            text,
            draft.now,
        )),
    )
}

type Started = Option<k8s_openapi::api::apps::v1::DeploymentCondition>;

fn roll(draft: &mut Draft<'_>) -> Started {
    let (at, started) = ensure_new(draft);
    let current = sizes::replicas(&draft.sets[at]);
    let target = scaling::new_size(draft, current);
    if target == current {
        scaling::shrink_old(draft);
    } else {
        draft.resize(at, target);
    }
    started
}

fn recreate(world: &World<'_>, draft: &mut Draft<'_>) -> Started {
    let mut busy = false;
    for at in draft.old_by_age() {
        let set = &draft.sets[at];
        let uid = set.metadata.uid.as_deref().unwrap_or_default();
        busy |= sizes::actual(set) > 0 || (world.has_pods)(uid);
        if sizes::replicas(set) > 0 {
            draft.resize(at, 0);
            busy = true;
        }
    }
    if busy {
        return None;
    }
    let (at, started) = ensure_new(draft);
    if sizes::replicas(&draft.sets[at]) != draft.wanted() {
        draft.resize(at, draft.wanted());
    }
    started
}

/// A paused deployment cannot miss its deadline; the condition says so.
fn pause_condition(
    deployment: &Deployment,
    paused: bool,
    status: &mut DeploymentStatus,
    now: Timestamp,
) {
    if progress::deadline(deployment).is_none() {
        return;
    }
    let current = conditions::find(status.conditions.as_ref(), progress::PROGRESSING);
    let reason = current
        .and_then(|current| current.reason.clone())
        .unwrap_or_default();
    if reason == "ProgressDeadlineExceeded" {
        return;
    }
    let is_paused = reason == "DeploymentPaused";
    let (reason, text) = match (paused, is_paused) {
        (true, false) => ("DeploymentPaused", "Deployment is paused"),
        (false, true) => ("DeploymentResumed", "Deployment is resumed"),
        _ => return,
    };
    progress::set(
        status,
        progress::condition(progress::PROGRESSING, "Unknown", reason, text, now),
    );
}
