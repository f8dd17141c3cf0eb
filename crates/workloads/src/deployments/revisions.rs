//! Revisions: numbering, annotations, finding the new set among the old, and history.

use super::{HASH_LABEL, decide::World, sizes};
use crate::{hash, write};
use consort_reconcile::owner_reference;
use k8s_openapi::{
    api::apps::v1::{Deployment, ReplicaSet, ReplicaSetSpec},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use std::{collections::BTreeMap, sync::Arc};

pub(crate) const REVISION: &str = "deployment.kubernetes.io/revision";
const HISTORY: &str = "deployment.kubernetes.io/revision-history";
pub(crate) const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
pub(crate) const MAXIMUM: &str = "deployment.kubernetes.io/max-replicas";
/// Annotations that belong to one object and are not handed down.
const OWN: [&str; 6] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    REVISION,
    HISTORY,
    DESIRED,
    MAXIMUM,
    "deprecated.deployment.rollback.to",
];
/// The list of past revision numbers is cut from its front beyond this length.
const HISTORY_LENGTH: usize = 2000;

pub(crate) fn annotation<'a>(meta: &'a ObjectMeta, name: &str) -> Option<&'a str> {
    meta.annotations.as_ref()?.get(name).map(String::as_str)
}

pub(crate) fn revision(meta: &ObjectMeta) -> i64 {
    annotation(meta, REVISION)
        .and_then(|value| value.parse().ok())
        .unwrap_or_default()
}

/// The set whose pods are those of the deployment's present template: the oldest, should there
/// be several.
pub(crate) fn newest(deployment: &Deployment, sets: &[ReplicaSet]) -> Option<usize> {
    let template = &deployment.spec.template;
    let same = |set: &ReplicaSet| {
        set.spec
            .template
            .as_ref()
            .is_some_and(|own| hash::same_template(own, template))
    };
    (0..sets.len())
        .filter(|at| same(&sets[*at]))
        .min_by(|a, b| older(&sets[*a], &sets[*b]))
}

/// Orders sets by age, then name.
pub(crate) fn older(a: &ReplicaSet, b: &ReplicaSet) -> std::cmp::Ordering {
    let age = |set: &ReplicaSet| set.metadata.creation_timestamp.as_ref().map(|time| time.0);
    age(a)
        .cmp(&age(b))
        .then_with(|| a.metadata.name.cmp(&b.metadata.name))
}

/// Brings the new set's annotations to the deployment's and to its revision number.
pub(crate) fn annotate(set: &mut ReplicaSet, deployment: &Deployment, number: i64) {
    let own = set.metadata.annotations.get_or_insert_default();
    for (key, value) in deployment.metadata.annotations.iter().flatten() {
        if !OWN.contains(&key.as_str()) {
            own.insert(key.clone(), value.clone());
        }
    }
    let before = own.get(REVISION).cloned();
    if before
        .as_ref()
        .and_then(|value| value.parse().ok())
        .unwrap_or(0_i64)
        < number
    {
        own.insert(REVISION.to_owned(), number.to_string());
        if let Some(before) = before {
            let history = own.entry(HISTORY.to_owned()).or_default();
            if !history.is_empty() {
                history.push(',');
            }
            history.push_str(&before);
            while history.len() > HISTORY_LENGTH {
                let cut = history.find(',').map_or(history.len(), |at| at + 1);
                history.drain(..cut);
            }
        }
    }
}

/// Notes on a set for what size of deployment its own size was chosen.
pub(crate) fn note_size(set: &mut ReplicaSet, deployment: &Deployment) {
    let wanted = sizes::wanted(deployment);
    let annotations = set.metadata.annotations.get_or_insert_default();
    annotations.insert(DESIRED.to_owned(), wanted.to_string());
    annotations.insert(
        MAXIMUM.to_owned(),
        (wanted + sizes::bounds(deployment).surge).to_string(),
    );
}

/// The set of the deployment's present template.
pub(crate) fn create(deployment: &Deployment, number: i64) -> ReplicaSet {
    let spec = deployment.spec.clone();
    let collisions = deployment
        .status
        .as_ref()
        .and_then(|status| status.collision_count)
        .unwrap_or_default();
    let hash = hash::template_hash(&spec.template, collisions);
    let mut template = spec.template;
    let template_meta = template.metadata.get_or_insert_default();
    template_meta
        .labels
        .get_or_insert_default()
        .insert(HASH_LABEL.to_owned(), hash.clone());
    let mut selector = spec.selector;
    selector
        .match_labels
        .get_or_insert_default()
        .insert(HASH_LABEL.to_owned(), hash.clone());
    let mut set = ReplicaSet {
        metadata: ObjectMeta {
            name: Some(format!("{}-{hash}", write::name_of(&deployment.metadata))),
            namespace: deployment.metadata.namespace.clone(),
            labels: template_meta.labels.clone(),
            annotations: Some(BTreeMap::new()),
            owner_references: Some(vec![owner_reference(deployment)]),
            ..ObjectMeta::default()
        },
        spec: ReplicaSetSpec {
            replicas: Some(0),
            min_ready_seconds: spec.min_ready_seconds,
            selector,
            template: Some(template),
        },
        status: None,
    };
    annotate(&mut set, deployment, number);
    note_size(&mut set, deployment);
    set
}

/// Old, empty sets beyond the history limit, the oldest revision first.
pub(crate) fn expired(world: &World<'_>, new: Option<&str>) -> Vec<Arc<ReplicaSet>> {
    let limit = world.deployment.spec.revision_history_limit;
    // Upstream takes the largest number for "keep all".
    let Some(limit) = limit.filter(|limit| *limit != i32::MAX) else {
        return Vec::new();
    };
    let mut old: Vec<_> = world
        .sets
        .iter()
        .filter(|set| {
            set.metadata.name.as_deref() != new && set.metadata.deletion_timestamp.is_none()
        })
        .collect();
    let surplus = old
        .len()
        .saturating_sub(usize::try_from(limit).unwrap_or_default());
    old.sort_by(|a, b| {
        revision(&a.metadata)
            .cmp(&revision(&b.metadata))
            .then_with(|| older(a, b))
    });
    old.into_iter()
        .take(surplus)
        .filter(|set| {
            let observed = set
                .status
                .as_ref()
                .and_then(|status| status.observed_generation);
            sizes::actual(set) == 0
                && sizes::replicas(set) == 0
                && set.metadata.generation <= observed
        })
        .cloned()
        .collect()
}
