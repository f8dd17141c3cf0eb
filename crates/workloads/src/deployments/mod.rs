//! Rolls Deployments out over ReplicaSets.
//!
//! Follows the Deployment documentation and the published behaviour of upstream's controller. The
//! decision is made on a copy of the deployment's ReplicaSets: [`decide`] changes the copy as it
//! wants the sets to be, and the shell writes the differences.

mod decide;
mod progress;
mod revisions;
mod scaling;
mod sizes;

#[cfg(test)]
mod tests;

use crate::{
    error::{Doing, Error, message, text},
    hash,
    options::Options,
    ownership, pods,
    selectors::Labels,
    write,
};
use consort_reconcile::{
    Action, Controller, Event, Expectations, Hub, Informer, Key, ObjectRef, Recorder,
    controller_of, is_controlled_by, owner_reference,
};
use decide::{Plan, World};
use k8s_openapi::{
    api::{
        apps::v1::{Deployment, ReplicaSet},
        core::v1::Pod,
    },
    jiff::Timestamp,
};
use kube::{Api, Client, api::PropagationPolicy};
use std::{sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;

/// The label that tells the pods and sets of one revision from those of another.
pub(crate) const HASH_LABEL: &str = "pod-template-hash";
/// When to look again if the cache has not shown the last writes; normally an event comes first.
const CATCH_UP: Duration = Duration::from_secs(1);

struct Shell {
    client: Client,
    deployments: Informer<Deployment>,
    sets: Informer<ReplicaSet>,
    pods: Informer<Pod>,
    recorder: Recorder,
    set_writes: Expectations<Key>,
}

pub(crate) async fn run(hub: Hub, options: Arc<Options>, shutdown: CancellationToken) {
    let (deployments, sets, pods) = (
        hub.informer::<Deployment>(),
        hub.informer::<ReplicaSet>(),
        hub.informer::<Pod>(),
    );
    ownership::index(&sets);
    pods.index_by_controller();
    let (of_orphan, of_pod) = (deployments.clone(), sets.clone());
    let all = deployments.clone();
    let controller = Controller::new("deployment")
        .queue_on(&deployments, Event::key)
        .queue_on(&sets, move |event| owners_of(event, &of_orphan))
        .queue_on(&pods, move |event| recreating_owner(event, &of_pod, &all));
    let shell = Arc::new(Shell {
        client: hub.client(),
        deployments,
        sets,
        pods,
        recorder: hub.recorder("deployment-controller"),
        set_writes: Expectations::default(),
    });
    let reconcile = move |key: Key| {
        let shell = shell.clone();
        async move { shell.reconcile(key).await.map_err(text) }
    };
    controller.run(options.workers, reconcile, shutdown).await;
}

fn selector(deployment: &Deployment) -> Result<Labels, Error> {
    Labels::parse(&deployment.spec.selector, deployment)
}

fn owners_of(event: &Event<ReplicaSet>, deployments: &Informer<Deployment>) -> Vec<Key> {
    let mut keys = Vec::new();
    for set in event.objects() {
        let namespace = set.metadata.namespace.as_deref().unwrap_or_default();
        match controller_of(&**set) {
            Some(owner) if owner.kind == "Deployment" => {
                keys.push(Key::namespaced(namespace, &owner.name));
            }
            Some(_) => {}
            None if set.metadata.deletion_timestamp.is_some() => {}
            None => keys.extend(
                deployments
                    .list_in(namespace)
                    .iter()
                    .filter(|deployment| {
                        selector(deployment).is_ok_and(|labels| labels.matches(&**set))
                    })
                    .map(|deployment| Key::of(&**deployment)),
            ),
        }
    }
    keys
}

/// A Recreate deployment waits for the last old pod to be gone, which no ReplicaSet tells.
fn recreating_owner(
    event: &Event<Pod>,
    sets: &Informer<ReplicaSet>,
    deployments: &Informer<Deployment>,
) -> Option<Key> {
    let gone = match event {
        Event::Deleted(pod) => pod,
        Event::Applied { new, .. } if pods::is_terminal(new) => new,
        _ => return None,
    };
    let namespace = gone.metadata.namespace.as_deref()?;
    let set = sets.get(
        Some(namespace),
        &controller_of(&**gone)
            .filter(|owner| owner.kind == "ReplicaSet")?
            .name,
    )?;
    let deployment = deployments.get(Some(namespace), &controller_of(&*set)?.name)?;
    sizes::is_recreate(&deployment).then(|| Key::of(&*deployment))
}

impl Shell {
    async fn reconcile(&self, key: Key) -> Result<Action, Error> {
        let Some(deployment) = self.deployments.by_key(&key) else {
            self.set_writes.forget(&key);
            return Ok(Action::Done);
        };
        if !self.set_writes.met(&key, &self.sets) {
            return Ok(Action::After(CATCH_UP));
        }
        let about = ObjectRef::of(&*deployment);
        let labels = selector(&deployment)?;
        let reference = owner_reference(&*deployment);
        let claims = ownership::sort(&*deployment, &labels, &self.sets);
        let sets = ownership::settle(&self.client, &*deployment, &reference, claims).await?;
        let plan = {
            let running = |uid: &str| {
                self.pods
                    .controlled_by(uid)
                    .iter()
                    .any(|pod| !pods::is_terminal(pod))
            };
            decide::decide(&World {
                deployment: &deployment,
                sets: &sets,
                has_pods: &running,
                now: Timestamp::now(),
            })
        };
        self.carry_out(&key, &deployment, &about, plan).await
    }

    async fn carry_out(
        &self,
        key: &Key,
        deployment: &Deployment,
        about: &ObjectRef,
        mut plan: Plan,
    ) -> Result<Action, Error> {
        let deployments = Api::<Deployment>::namespaced(self.client.clone(), key.namespace());
        let sets = Api::<ReplicaSet>::namespaced(self.client.clone(), key.namespace());
        let mut failure = None;
        if let Some(set) = plan.create.take() {
            match self.create(&sets, deployment, &set).await {
                Ok(Created::New(created)) => {
                    self.set_writes.applied(key.clone(), &*created);
                    let (name, replicas) =
                        (write::name_of(&created.metadata), sizes::replicas(&created));
                    if replicas > 0 {
                        let text = format!("Scaled up replica set {name} from 0 to {replicas}");
                        self.recorder.normal(about, "ScalingReplicaSet", text);
                    }
                }
                // It is ours already and the cache has not shown it yet.
                Ok(Created::Known) => return Ok(Action::After(CATCH_UP)),
                Ok(Created::Collision) => {
                    plan = Plan::after_collision(deployment);
                }
                Err(error) => {
                    plan =
                        Plan::after_failed_creation(deployment, &message(&error), Timestamp::now());
                    failure = Some(error);
                }
            }
        }
        for change in &plan.change {
            match write::update(&sets, &change.from, &change.to).await {
                Ok(Some(updated)) => {
                    self.set_writes.applied(key.clone(), &updated);
                    let (from, to) = (sizes::replicas(&change.from), sizes::replicas(&change.to));
                    if from != to {
                        let direction = if to > from { "up" } else { "down" };
                        let name = write::name_of(&updated.metadata);
                        let text =
                            format!("Scaled {direction} replica set {name} from {from} to {to}");
                        self.recorder.normal(about, "ScalingReplicaSet", text);
                    }
                }
                Ok(None) => {}
                Err(error) => {
                    failure = Some(error);
                    break;
                }
            }
        }
        if failure.is_none() {
            for set in &plan.delete {
                if write::delete(
                    &sets,
                    &set.metadata,
                    Some(PropagationPolicy::Background),
                    None,
                )
                .await?
                {
                    self.set_writes.deleted(key.clone(), &**set);
                }
            }
        }
        let mut meta = deployment.metadata.clone();
        if let Some(annotations) = &plan.annotations {
            let updated = write::annotate(&deployments, &meta, annotations).await?;
            meta = updated.metadata;
        }
        write::update_status(
            &deployments,
            &meta,
            deployment.status.as_ref(),
            &plan.status,
        )
        .await?;
        match failure {
            Some(error) => Err(error),
            None => Ok(plan.look_again.map_or(Action::Done, Action::After)),
        }
    }

    async fn create(
        &self,
        sets: &Api<ReplicaSet>,
        deployment: &Deployment,
        set: &ReplicaSet,
    ) -> Result<Created, Error> {
        let name = write::name_of(&set.metadata);
        match sets
            .create(&write::post_params(), set)
            .await
            .doing(|| format!("creating replica set {name}"))
        {
            Ok(created) => Ok(Created::New(Box::new(created))),
            Err(error) if error.is(409) => {
                let existing = sets
                    .get(name)
                    .await
                    .doing(|| format!("reading replica set {name}"))?;
                let uid = deployment.metadata.uid.as_deref().unwrap_or_default();
                let same = match (&existing.spec.template, &set.spec.template) {
                    (Some(a), Some(b)) => hash::same_template(a, b),
                    _ => false,
                };
                if is_controlled_by(&existing, uid) && same {
                    Ok(Created::Known)
                } else {
                    Ok(Created::Collision)
                }
            }
            Err(error) => Err(error),
        }
    }
}

enum Created {
    New(Box<ReplicaSet>),
    /// It existed and is this deployment's.
    Known,
    /// The name is taken by something else.
    Collision,
}
