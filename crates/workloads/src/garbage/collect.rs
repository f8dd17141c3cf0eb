//! Looks at one object and does what its owners, or its own deletion, ask for.

use super::{
    Shared,
    graph::{self, FOREGROUND, Life, ORPHAN, Place, Uid},
};
use crate::{
    error::{Doing, Error, if_found},
    write,
};
use consort_reconcile::{Action, Queue};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::{
    Api, Client,
    api::{DeleteParams, Preconditions, PropagationPolicy},
    core::DynamicObject,
};
use serde_json::json;
use tracing::debug;

pub(super) struct Collector {
    pub(super) client: Client,
    pub(super) shared: Shared,
    pub(super) queue: Queue<Uid>,
}

/// What an owner reference is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Worth {
    /// The owner exists.
    Solid,
    /// There is no such owner (any more).
    Dangling,
    /// The owner waits for this dependent to be deleted.
    Waiting,
}

/// What to do about an object, by what its owner references are worth.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// Nothing.
    Keep,
    /// Keep it, without the references to these uids.
    Drop(Vec<String>),
    /// Delete it; in the foreground if it has dependents an owner must wait for as well.
    Delete { foreground: bool },
}

fn decide(worths: &[(&OwnerReference, Worth)], has_dependents: bool) -> Verdict {
    let of = |worth: Worth| worths.iter().filter(move |(_, own)| *own == worth);
    if worths.is_empty() {
        return Verdict::Keep;
    }
    if of(Worth::Solid).next().is_some() {
        let useless: Vec<_> = worths
            .iter()
            .filter(|(_, worth)| *worth != Worth::Solid)
            .map(|(owner, _)| owner.uid.clone())
            .collect();
        return if useless.is_empty() {
            Verdict::Keep
        } else {
            Verdict::Drop(useless)
        };
    }
    Verdict::Delete {
        foreground: of(Worth::Waiting).next().is_some() && has_dependents,
    }
}

impl Collector {
    fn api(&self, place: &Place) -> Api<DynamicObject> {
        match &place.namespace {
            Some(namespace) => {
                Api::namespaced_with(self.client.clone(), namespace, &place.served.resource)
            }
            None => Api::all_with(self.client.clone(), &place.served.resource),
        }
    }

    async fn live(&self, place: &Place) -> Result<Option<ObjectMeta>, Error> {
        let what = || format!("reading {} {}", place.served.resource.kind, place.name);
        let found = self
            .api(place)
            .get_metadata_opt(&place.name)
            .await
            .doing(what)?;
        Ok(found.map(|object| object.metadata))
    }

    pub(super) async fn look_at(&self, uid: &Uid) -> Result<Action, Error> {
        let Some(node) = self.shared.lock().graph.get(uid).cloned() else {
            return Ok(Action::Done);
        };
        let place = node.place;
        let live = self
            .live(&place)
            .await?
            .filter(|meta| meta.uid.as_deref() == Some(&**uid));
        let Some(meta) = live else {
            let look = self.shared.lock().graph.remove(uid);
            for uid in look {
                self.queue.add(uid);
            }
            return Ok(Action::Done);
        };
        match Life::of(&meta) {
            Life::Leaves => {}
            Life::Orphans => self.orphan(uid, &place, &meta).await?,
            Life::AwaitsDependents => self.await_dependents(uid, &place, &meta).await?,
            Life::Lives => self.weigh(uid, &place, &meta).await?,
        }
        Ok(Action::Done)
    }

    /// Judges a living object by its owners.
    async fn weigh(&self, uid: &Uid, place: &Place, meta: &ObjectMeta) -> Result<(), Error> {
        let owners = meta.owner_references.as_deref().unwrap_or_default();
        let mut worths = Vec::with_capacity(owners.len());
        for owner in owners {
            worths.push((owner, self.worth(owner, uid, place).await?));
        }
        let has_dependents = !self.shared.lock().graph.dependents(uid).is_empty();
        match decide(&worths, has_dependents) {
            Verdict::Keep => Ok(()),
            Verdict::Drop(useless) => self.drop_owners(place, meta, &useless).await,
            Verdict::Delete { foreground } => {
                let has =
                    |finalizer: &str| meta.finalizers.iter().flatten().any(|own| own == finalizer);
                let policy = if has(ORPHAN) {
                    PropagationPolicy::Orphan
                } else if has(FOREGROUND) || foreground {
                    PropagationPolicy::Foreground
                } else {
                    PropagationPolicy::Background
                };
                if foreground && self.closes_a_circle(uid) {
                    let Some(free) = self.unblock_owners(place, meta).await? else {
                        return Ok(());
                    };
                    return self.delete(place, &free, policy).await;
                }
                self.delete(place, meta, policy).await
            }
        }
    }

    /// Whether one of the object's dependents already waits for its own dependents, of which the object
    /// may be one.
    fn closes_a_circle(&self, uid: &Uid) -> bool {
        let world = self.shared.lock();
        world.graph.dependents(uid).iter().any(|dependent| {
            let node = world.graph.get(dependent);
            node.is_some_and(|node| node.life == Life::AwaitsDependents)
        })
    }

    /// Lets the object's owners go before it does: in a circle, each would wait for the next for ever.
    /// `None` if the object is gone.
    async fn unblock_owners(
        &self,
        place: &Place,
        meta: &ObjectMeta,
    ) -> Result<Option<ObjectMeta>, Error> {
        let mut owners = meta.owner_references.clone().unwrap_or_default();
        if owners
            .iter()
            .all(|owner| owner.block_owner_deletion != Some(true))
        {
            return Ok(Some(meta.clone()));
        }
        for owner in &mut owners {
            if owner.block_owner_deletion == Some(true) {
                owner.block_owner_deletion = Some(false);
            }
        }
        let change = json!({ "ownerReferences": owners });
        let updated = if_found(write::update_metadata(&self.api(place), meta, change).await)?;
        Ok(updated.map(|object| object.metadata))
    }

    async fn worth(
        &self,
        owner: &OwnerReference,
        uid: &Uid,
        dependent: &Place,
    ) -> Result<Worth, Error> {
        let kind = {
            let world = self.shared.lock();
            if world.graph.is_gone(&owner.uid) {
                return Ok(Worth::Dangling);
            }
            if let (Some(found), Some(own)) = (world.graph.get(&owner.uid), world.graph.get(uid)) {
                if !graph::is_owner(found, owner, own) {
                    return Ok(Worth::Dangling);
                }
                return Ok(if found.life == Life::AwaitsDependents {
                    Worth::Waiting
                } else {
                    Worth::Solid
                });
            }
            let group = owner
                .api_version
                .split_once('/')
                .map_or("", |(group, _)| group);
            let fits = |served: &&std::sync::Arc<crate::discovery::Served>| {
                served.resource.kind == owner.kind && served.resource.group == group
            };
            world.kinds.iter().find(fits).cloned()
        };
        // In doubt, an object is kept: its owner's kind may be one that is only not served now, and
        // a cluster-scoped object cannot say in which namespace its owner would be.
        let Some(served) = kind else {
            return Ok(Worth::Solid);
        };
        if served.namespaced && dependent.namespace.is_none() {
            debug!(
                object = dependent.name,
                owner = owner.name,
                "a cluster-scoped object refers to a namespaced owner"
            );
            return Ok(Worth::Solid);
        }
        let namespace = dependent.namespace.clone().filter(|_| served.namespaced);
        let place = Place {
            served,
            namespace,
            name: owner.name.clone(),
        };
        match self
            .live(&place)
            .await?
            .filter(|meta| meta.uid.as_deref() == Some(&owner.uid))
        {
            None => {
                self.shared.lock().graph.note_gone(&owner.uid);
                Ok(Worth::Dangling)
            }
            Some(meta) if Life::of(&meta) == Life::AwaitsDependents => Ok(Worth::Waiting),
            Some(_) => Ok(Worth::Solid),
        }
    }

    async fn delete(
        &self,
        place: &Place,
        meta: &ObjectMeta,
        policy: PropagationPolicy,
    ) -> Result<(), Error> {
        let params = DeleteParams {
            propagation_policy: Some(policy),
            // The version too: owners may be added while we judge.
            preconditions: Some(Preconditions {
                uid: meta.uid.clone(),
                resource_version: meta.resource_version.clone(),
            }),
            ..DeleteParams::default()
        };
        let kind = &place.served.resource.kind;
        debug!(
            kind,
            name = place.name,
            namespace = place.namespace,
            "deleting an object whose owners are gone"
        );
        let deleted = self.api(place).delete(&place.name, &params).await;
        if_found(
            deleted
                .map(|_| ())
                .doing(|| format!("deleting {kind} {}", place.name)),
        )?;
        Ok(())
    }

    async fn drop_owners(
        &self,
        place: &Place,
        meta: &ObjectMeta,
        useless: &[String],
    ) -> Result<(), Error> {
        let owners = meta.owner_references.iter().flatten();
        let kept: Vec<_> = owners
            .filter(|owner| !useless.contains(&owner.uid))
            .collect();
        let change = json!({ "ownerReferences": kept });
        if_found(write::update_metadata(&self.api(place), meta, change).await)?;
        Ok(())
    }

    async fn drop_finalizer(
        &self,
        place: &Place,
        meta: &ObjectMeta,
        finalizer: &str,
    ) -> Result<(), Error> {
        let kept: Vec<_> = meta
            .finalizers
            .iter()
            .flatten()
            .filter(|own| *own != finalizer)
            .collect();
        let change = json!({ "finalizers": kept });
        if_found(write::update_metadata(&self.api(place), meta, change).await)?;
        Ok(())
    }

    /// Lets go of all dependents, then of the object.
    async fn orphan(&self, uid: &Uid, place: &Place, meta: &ObjectMeta) -> Result<(), Error> {
        let dependents = self.shared.lock().graph.dependents(uid);
        for dependent in dependents {
            let Some(node) = self.shared.lock().graph.get(&dependent).cloned() else {
                continue;
            };
            let Some(live) = self.live(&node.place).await? else {
                continue;
            };
            let same = live.uid.as_deref() == Some(&*dependent);
            if same
                && live
                    .owner_references
                    .iter()
                    .flatten()
                    .any(|owner| owner.uid == **uid)
            {
                self.drop_owners(&node.place, &live, &[uid.to_string()])
                    .await?;
            }
        }
        self.drop_finalizer(place, meta, ORPHAN).await
    }

    /// Deletes what keeps the object, or lets it go if nothing does.
    async fn await_dependents(
        &self,
        uid: &Uid,
        place: &Place,
        meta: &ObjectMeta,
    ) -> Result<(), Error> {
        let blocking = self.shared.lock().graph.blocking(uid);
        if blocking.is_empty() {
            return self.drop_finalizer(place, meta, FOREGROUND).await;
        }
        for dependent in blocking {
            let lives = self
                .shared
                .lock()
                .graph
                .get(&dependent)
                .is_some_and(|node| node.life == Life::Lives);
            if lives {
                self.queue.add(dependent);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_goes_when_its_last_owner_does_and_not_before() {
        let owner = |uid: &str| OwnerReference {
            uid: uid.to_owned(),
            ..OwnerReference::default()
        };
        let (a, b) = (owner("a"), owner("b"));
        assert_eq!(decide(&[], false), Verdict::Keep);
        assert_eq!(decide(&[(&a, Worth::Solid)], true), Verdict::Keep);
        assert_eq!(
            decide(&[(&a, Worth::Solid), (&b, Worth::Dangling)], true),
            Verdict::Drop(vec!["b".into()])
        );
        assert_eq!(
            decide(&[(&a, Worth::Solid), (&b, Worth::Waiting)], true),
            Verdict::Drop(vec!["b".into()])
        );
        assert_eq!(
            decide(&[(&a, Worth::Dangling)], true),
            Verdict::Delete { foreground: false }
        );
        assert_eq!(
            decide(&[(&a, Worth::Waiting)], true),
            Verdict::Delete { foreground: true }
        );
        assert_eq!(
            decide(&[(&a, Worth::Waiting)], false),
            Verdict::Delete { foreground: false }
        );
    }
}
