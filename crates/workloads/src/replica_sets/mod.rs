//! Keeps as many pods as a ReplicaSet, or the older ReplicationController, asks for.

mod decide;
mod kinds;

pub(crate) use kinds::Set;

use crate::{
    error::{Doing, Error, message, text},
    options::Options,
    ownership, pods, write,
};
use consort_reconcile::{
    Action, Controller, Event, Expectations, Hub, Informer, Key, ObjectRef, Recorder,
    controller_of, owner_reference,
};
use futures::future::join_all;
use k8s_openapi::{
    api::{
        apps::v1::ReplicaSet,
        core::v1::{Pod, PodTemplateSpec},
    },
    jiff::Timestamp,
};
use kube::{Api, Client};
use std::{collections::HashMap, sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;

/// So many pods at most are created or deleted in one go.
const BURST: usize = 500;
/// When to look again if the cache has not shown the last writes; normally an event comes first.
const CATCH_UP: Duration = Duration::from_secs(1);

struct Shell<S: Set> {
    client: Client,
    sets: Informer<S>,
    pods: Informer<Pod>,
    recorder: Recorder,
    expectations: Expectations<Key>,
}

pub(crate) async fn run(hub: Hub, options: Arc<Options>, shutdown: CancellationToken) {
    keep::<ReplicaSet>(hub, options, shutdown).await;
}

/// The reconciler of one kind of set.
pub(crate) async fn keep<S: Set>(hub: Hub, options: Arc<Options>, shutdown: CancellationToken) {
    let (sets, pods) = (hub.informer::<S>(), hub.informer::<Pod>());
    sets.index_by_controller();
    ownership::index(&pods);
    let of_orphan = sets.clone();
    let controller = Controller::new(S::QUEUE)
        .queue_on(&sets, Event::key)
        .queue_on(&pods, move |event| owners_of(event, &of_orphan));
    let shell = Arc::new(Shell {
        client: hub.client(),
        sets,
        pods,
        recorder: hub.recorder(S::RECORDER),
        expectations: Expectations::default(),
    });
    let reconcile = move |key: Key| {
        let shell = shell.clone();
        async move { shell.reconcile(key).await.map_err(text) }
    };
    controller.run(options.workers, reconcile, shutdown).await;
}

/// The sets a pod event concerns: its controllers, before and now; for an orphan, all sets of its
/// namespace that would adopt it.
fn owners_of<S: Set>(event: &Event<Pod>, sets: &Informer<S>) -> Vec<Key> {
    let mut keys = Vec::new();
    for pod in event.objects() {
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        match controller_of(&**pod) {
            Some(owner) if owner.kind == S::kind(&()) => {
                keys.push(Key::namespaced(namespace, &owner.name));
            }
            Some(_) => {}
            None if pod.metadata.deletion_timestamp.is_some() => {}
            None => keys.extend(
                sets.list_in(namespace)
                    .iter()
                    .filter(|set| set.labels().is_ok_and(|labels| labels.matches(&**pod)))
                    .map(|set| Key::of(&**set)),
            ),
        }
    }
    keys
}

impl<S: Set> Shell<S> {
    async fn reconcile(&self, key: Key) -> Result<Action, Error> {
        let Some(set) = self.sets.by_key(&key) else {
            self.expectations.forget(&key);
            return Ok(Action::Done);
        };
        if !self.expectations.met(&key, &self.pods) {
            return Ok(Action::After(CATCH_UP));
        }
        let labels = set.labels()?;
        let reference = owner_reference(&*set);
        let claims = ownership::sort(&*set, &labels, &self.pods);
        let owned = ownership::settle(&self.client, &*set, &reference, claims).await?;
        let on_node = self.related_on_nodes(&set, &owned);
        let now = Timestamp::now();
        let decision = decide::decide(&*set, &owned, &on_node, now);

        let api = Api::<Pod>::namespaced(self.client.clone(), key.namespace());
        let about = ObjectRef::of(&*set);
        let mut failure = None;
        if decision.create > 0
            && let Err(error) = self
                .create(&api, &set, &key, &about, decision.create.min(BURST))
                .await
        {
            failure = Some((decide::FAILED_CREATE, error));
        }
        for pod in decision.delete.iter().take(BURST) {
            match write::delete(&api, &pod.metadata, None, None).await {
                Ok(accepted) => {
                    self.expectations.deleted(key.clone(), &**pod);
                    if accepted {
                        let name = write::name_of(&pod.metadata);
                        self.recorder.normal(
                            &about,
                            "SuccessfulDelete",
                            format!("Deleted pod: {name}"),
                        );
                    }
                }
                Err(error) => {
                    let why = format!("Error deleting: {}", message(&error));
                    self.recorder.warning(&about, decide::FAILED_DELETE, why);
                    failure = Some((decide::FAILED_DELETE, error));
                }
            }
        }
        let told = failure
            .as_ref()
            .map(|(reason, error)| (*reason, message(error)));
        let status = S::told(decide::with_failure(decision.status, told, now));
        let sets = Api::<S>::namespaced(self.client.clone(), key.namespace());
        write::update_status(&sets, set.meta(), set.status(), &status).await?;
        match failure {
            Some((_, error)) => Err(error),
            None => Ok(decision.look_again.map_or(Action::Done, Action::After)),
        }
    }

    /// Creates pods in batches that double in size, so that a failure all pods would meet (a quota,
    /// a bad template) costs few calls.
    async fn create(
        &self,
        api: &Api<Pod>,
        set: &S,
        key: &Key,
        about: &ObjectRef,
        count: usize,
    ) -> Result<(), Error> {
        let nothing = PodTemplateSpec::default();
        let template = set.template().unwrap_or(&nothing);
        let prefix = format!("{}-", key.name);
        let pod = pods::from_template(template, owner_reference(set), &prefix);
        let parameters = write::post_params();
        let (mut left, mut batch) = (count, 1);
        while left > 0 {
            let now = batch.min(left);
            let results = join_all((0..now).map(|_| api.create(&parameters, &pod))).await;
            let mut failed = None;
            for result in results {
                match result.doing(|| format!("creating a pod of {key}")) {
                    Ok(pod) => {
                        let name = write::name_of(&pod.metadata);
                        self.recorder.normal(
                            about,
                            "SuccessfulCreate",
                            format!("Created pod: {name}"),
                        );
                        self.expectations.applied(key.clone(), &pod);
                    }
                    Err(error) => {
                        let why = format!("Error creating: {}", message(&error));
                        self.recorder.warning(about, decide::FAILED_CREATE, why);
                        failed = Some(error);
                    }
                }
            }
            if let Some(error) = failed {
                return Err(error);
            }
            left -= now;
            batch *= 2;
        }
        Ok(())
    }

    /// How many active pods each node has, of this set and of those with the same controller.
    fn related_on_nodes(&self, set: &S, owned: &[Arc<Pod>]) -> HashMap<String, usize> {
        let mut on_node = HashMap::new();
        let mut count = |pods: &[Arc<Pod>]| {
            for pod in pods.iter().filter(|pod| pods::is_active(pod)) {
                if let Some(node) = pods::node_name(pod) {
                    *on_node.entry(node.to_owned()).or_default() += 1;
                }
            }
        };
        count(owned);
        if let Some(controller) = controller_of(set) {
            for sibling in self.sets.controlled_by(&controller.uid) {
                let uid = sibling.meta().uid.as_deref().unwrap_or_default();
                if set.meta().uid.as_deref() != Some(uid) {
                    count(&self.pods.controlled_by(uid));
                }
            }
        }
        on_node
    }
}
