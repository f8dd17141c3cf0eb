//! Watches the objects of scores, and says which score something was changed of.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use consort_reconcile::{Event, Hub, Informer, Key};
use kube::core::{DynamicObject, GroupVersionKind};
use kube::discovery::ApiResource;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::deeds::{PART, SCORE};

/// A kind's name: group and version, and the kind.
pub(super) type Kind = (String, String);

/// What most scores are made of: watched from the start.
const USUAL: &[(&str, &str)] = &[
    ("v1", "ConfigMap"),
    ("v1", "Namespace"),
    ("v1", "Secret"),
    ("v1", "Service"),
    ("v1", "ServiceAccount"),
    ("apps/v1", "DaemonSet"),
    ("apps/v1", "Deployment"),
    ("apps/v1", "StatefulSet"),
    ("batch/v1", "Job"),
    ("rbac.authorization.k8s.io/v1", "Role"),
    ("rbac.authorization.k8s.io/v1", "RoleBinding"),
];

/// Objects of scores; what is recorded of a score has its label as well, and no part's.
const OBJECTS: &str = "consort.dev/score,consort.dev/part";
/// The index of objects by their score.
const BY_SCORE: &str = "score";
/// How long the first list of a kind may take.
const SYNC: Duration = Duration::from_secs(20);

/// Something happened to an object of a score.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Touched {
    pub(super) score: String,
    pub(super) part: Option<String>,
    pub(super) how: How,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    /// The object is gone.
    Gone,
    /// Something was changed that a source could describe.
    Changed,
    /// It says something else about itself.
    Status,
}

/// How the objects of a score do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Health {
    pub(super) objects: usize,
    /// Those that will not work by waiting, and why.
    pub(super) failed: Vec<String>,
    /// Those that do not work yet.
    pub(super) waiting: Vec<String>,
}

/// Is told.
pub(super) type Tell = Arc<dyn Fn(Touched) + Send + Sync>;

/// The kinds that are watched. Each is watched once, for all scores, and only as far as it is labelled.
pub(super) struct Watches {
    hub: Hub,
    tell: Tell,
    kinds: Mutex<HashMap<Kind, Option<Informer<DynamicObject>>>>,
    tasks: TaskTracker,
    shutdown: CancellationToken,
}

impl Watches {
    pub(super) fn new(hub: Hub, tell: Tell, shutdown: CancellationToken) -> Self {
        Self {
            hub,
            tell,
            kinds: Mutex::default(),
            tasks: TaskTracker::new(),
            shutdown,
        }
    }

    /// Watches what most scores are made of.
    pub(super) async fn usual(&self) {
        let kinds = USUAL
            .iter()
            .map(|(version, kind)| ((*version).to_owned(), (*kind).to_owned()))
            .collect();
        self.cover(&kinds).await;
    }

    /// Watches these kinds from now on. Whether all of them were watched before: then nothing was missed since.
    pub(super) async fn cover(&self, kinds: &BTreeSet<Kind>) -> bool {
        let mut covered = true;
        for kind in kinds {
            if matches!(self.kinds.lock().get(kind), Some(Some(_))) {
                continue;
            }
            // A kind nobody serves has no objects.
            let Some(resource) = self.resource(kind).await else {
                continue;
            };
            covered = false;
            let informer = self.hub.dynamic_where(&resource, Some(OBJECTS));
            informer.add_index(BY_SCORE, |object| {
                label(object, SCORE).into_iter().collect()
            });
            let known = self
                .kinds
                .lock()
                .insert(kind.clone(), Some(informer.clone()));
            if !matches!(known, Some(Some(_))) {
                self.spawn(&informer);
            }
            let _ = tokio::time::timeout(SYNC, informer.synced()).await;
        }
        covered
    }

    /// How the objects of a score do.
    pub(super) fn health(&self, score: &str) -> Health {
        let informers: Vec<_> = self.kinds.lock().values().flatten().cloned().collect();
        let mut health = Health::default();
        for informer in informers {
            for object in informer.by_index(BY_SCORE, score) {
                health.objects += 1;
                let Ok(value) = serde_json::to_value(&*object) else {
                    continue;
                };
                let name = || {
                    let kind = value["kind"].as_str().unwrap_or_default();
                    format!("{kind} {}", Key::of(&*object))
                };
                match consort_manifests::health(&value) {
                    consort_manifests::Health::Well => {}
                    consort_manifests::Health::Waiting(why) => {
                        health.waiting.push(format!("{}: {why}", name()));
                    }
                    consort_manifests::Health::Failed(why) => {
                        health.failed.push(format!("{}: {why}", name()));
                    }
                }
            }
        }
        health
    }

    /// Ends with the watches, once they are told to.
    pub(super) async fn closed(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    async fn resource(&self, (version, kind): &Kind) -> Option<ApiResource> {
        let (group, version) = version.split_once('/').unwrap_or(("", version.as_str()));
        let wanted = GroupVersionKind::gvk(group, version, kind);
        let found = kube::discovery::pinned_kind(&self.hub.client(), &wanted).await;
        found.ok().map(|(resource, _)| resource)
    }

    fn spawn(&self, informer: &Informer<DynamicObject>) {
        let mut changes = informer.subscribe();
        let (tell, shutdown) = (self.tell.clone(), self.shutdown.clone());
        self.tasks.spawn(async move {
            while let Some(Some(event)) = shutdown.run_until_cancelled(changes.next()).await {
                if let Some(touched) = touched(&event) {
                    tell(touched);
                }
            }
        });
    }
}

fn label(object: &DynamicObject, key: &str) -> Option<String> {
    object.metadata.labels.as_ref()?.get(key).cloned()
}

/// What an event means to a score; none if it means nothing to it.
fn touched(event: &Event<DynamicObject>) -> Option<Touched> {
    let of = |object: &DynamicObject, how: How| {
        Some(Touched {
            score: label(object, SCORE)?,
            part: label(object, PART),
            how,
        })
    };
    match event {
        Event::Deleted(last) => of(last, How::Gone),
        Event::Applied {
            old: Some(old),
            new,
        } if differs(old, new) => of(old, How::Changed),
        Event::Applied {
            old: Some(old),
            new,
        } if old.data.get("status") != new.data.get("status") => of(new, How::Status),
        // What is new is what the score itself has made, or is none of its own.
        Event::Applied { .. } | Event::Synced => None,
    }
}

/// Whether an object was changed in more than its status.
fn differs(old: &DynamicObject, new: &DynamicObject) -> bool {
    let (before, after) = (&old.metadata, &new.metadata);
    if before.labels != after.labels
        || before.annotations != after.annotations
        || before.deletion_timestamp != after.deletion_timestamp
        || before.uid != after.uid
        || before.owner_references != after.owner_references
    {
        return true;
    }
    let (Some(before), Some(after)) = (old.data.as_object(), new.data.as_object()) else {
        return old.data != new.data;
    };
    let rest = |map: &'_ serde_json::Map<String, serde_json::Value>| {
        map.len() - usize::from(map.contains_key("status"))
    };
    rest(before) != rest(after)
        || before
            .iter()
            .filter(|(key, _)| *key != "status")
            .any(|(key, value)| after.get(key) != Some(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(value: serde_json::Value) -> Arc<DynamicObject> {
        Arc::new(serde_json::from_value(value).unwrap())
    }

    #[test]
    fn only_what_a_source_could_describe_touches_a_score() {
        let base = json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {
                "name": "web", "resourceVersion": "1", "generation": 1,
                "labels": {"consort.dev/score": "shop", "consort.dev/part": "app"},
            },
            "spec": {"replicas": 1}, "status": {"replicas": 1},
        });
        let with = |change: &dyn Fn(&mut serde_json::Value)| {
            let mut value = base.clone();
            value["metadata"]["resourceVersion"] = "2".into();
            change(&mut value);
            touched(&Event::Applied {
                old: Some(object(base.clone())),
                new: object(value),
            })
        };
        assert_eq!(with(&|_| {}), None);
        let expected = |how| {
            Some(Touched {
                score: "shop".to_owned(),
                part: Some("app".to_owned()),
                how,
            })
        };
        let status = with(&|it| it["status"]["replicas"] = 2.into());
        assert_eq!(status, expected(How::Status));
        let expected = expected(How::Changed);
        assert_eq!(with(&|it| it["spec"]["replicas"] = 2.into()), expected);
        assert_eq!(with(&|it| it["metadata"]["labels"] = json!({})), expected);
        let deleted = touched(&Event::Deleted(object(base.clone())));
        assert!(deleted.is_some_and(|touched| touched.how == How::Gone));
        let made = touched(&Event::Applied {
            old: None,
            new: object(base),
        });
        assert_eq!(made, None);
    }
}
