//! Runs pods to completion.
//!
//! Follows the Job documentation. No finished pod is lost from the count: each pod carries the
//! finalizer `batch.kubernetes.io/job-tracking`; a finished one is first noted by uid in the
//! status (`uncountedTerminatedPods`), then loses its finalizer, and only then moves from the note
//! into the count. Each of these writes is a compare-and-swap on the job, so repeating any of them
//! after a crash or on a stale cache counts nothing twice.

mod count;
mod decide;
mod failure;
mod indexes;

#[cfg(test)]
mod tests;

use crate::{
    error::{Doing, Error, if_found, message, text},
    options::Options,
    write,
};
use consort_reconcile::{
    Action, Controller, Event, Expectations, Hub, Informer, Key, ObjectRef, Recorder,
    controller_of, owner_reference,
};
use decide::{Plan, World};
use futures::future::join_all;
use k8s_openapi::{
    api::{batch::v1::Job, core::v1::Pod},
    jiff::Timestamp,
};
use kube::{Api, Client, api::PropagationPolicy};
use serde_json::json;
use std::{sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;

pub(crate) const TRACKING: &str = "batch.kubernetes.io/job-tracking";
const CATCH_UP: Duration = Duration::from_secs(1);
/// Pods by the name of the job that controls them.
const BY_JOB: &str = "job";
const BURST: usize = 500;

struct Shell {
    client: Client,
    jobs: Informer<Job>,
    pods: Informer<Pod>,
    recorder: Recorder,
    pod_writes: Expectations<Key>,
}

pub(crate) async fn run(hub: Hub, options: Arc<Options>, shutdown: CancellationToken) {
    let (jobs, pods) = (hub.informer::<Job>(), hub.informer::<Pod>());
    pods.add_index(BY_JOB, |pod| {
        job_of(pod).map(|key| key.to_string()).into_iter().collect()
    });
    let controller = Controller::new("job")
        .queue_on(&jobs, Event::key)
        .queue_on(&pods, |event| {
            event
                .objects()
                .filter_map(|pod| job_of(pod))
                .collect::<Vec<_>>()
        });
    let shell = Arc::new(Shell {
        client: hub.client(),
        jobs,
        pods,
        recorder: hub.recorder("job-controller"),
        pod_writes: Expectations::default(),
    });
    let reconcile = move |key: Key| {
        let shell = shell.clone();
        async move { shell.reconcile(key).await.map_err(text) }
    };
    controller.run(options.workers, reconcile, shutdown).await;
}

fn job_of(pod: &Pod) -> Option<Key> {
    let owner = controller_of(pod).filter(|owner| owner.kind == "Job")?;
    Some(Key::namespaced(
        pod.metadata.namespace.clone()?,
        owner.name.clone(),
    ))
}

fn is_tracked(pod: &Pod) -> bool {
    pod.metadata
        .finalizers
        .iter()
        .flatten()
        .any(|finalizer| finalizer == TRACKING)
}

impl Shell {
    async fn reconcile(&self, key: Key) -> Result<Action, Error> {
        if !self.pod_writes.met(&key, &self.pods) {
            return Ok(Action::After(CATCH_UP));
        }
        let job = self.jobs.by_key(&key);
        let uid = job.as_ref().and_then(|job| job.metadata.uid.clone());
        let named = self.pods.by_index(BY_JOB, &key.to_string());
        let (own, strange): (Vec<_>, Vec<_>) = named
            .into_iter()
            .partition(|pod| controller_of(&**pod).map(|owner| &owner.uid) == uid.as_ref());
        self.release_strange(&key, &strange).await?;
        let Some(job) = job else {
            self.pod_writes.forget(&key);
            return Ok(Action::Done);
        };
        // Some other controller has this one (`spec.managedBy`).
        let manager = job
            .spec
            .as_ref()
            .and_then(|spec| spec.managed_by.as_deref());
        if manager.is_some_and(|manager| manager != "kubernetes.io/job-controller") {
            return Ok(Action::Done);
        }
        let world = World {
            job: &job,
            pods: &own,
            now: Timestamp::now(),
        };
        let plan = decide::decide(&world);
        self.carry_out(&key, &job, plan).await
    }

    /// Pods whose job is gone, or was replaced by one of the same name, are nobody's to count.
    async fn release_strange(&self, key: &Key, strange: &[Arc<Pod>]) -> Result<(), Error> {
        let tracked: Vec<_> = strange.iter().filter(|pod| is_tracked(pod)).collect();
        if tracked.is_empty() {
            return Ok(());
        }
        let jobs = Api::<Job>::namespaced(self.client.clone(), key.namespace());
        let live = jobs
            .get_metadata_opt(&key.name)
            .await
            .doing(|| format!("looking for job {key}"))?;
        let live = live.and_then(|job| job.metadata.uid);
        for pod in tracked {
            if controller_of(&**pod).map(|owner| &owner.uid) != live.as_ref() {
                self.untrack(key, pod).await?;
            }
        }
        Ok(())
    }

    async fn untrack(&self, key: &Key, pod: &Pod) -> Result<(), Error> {
        let api = Api::<Pod>::namespaced(self.client.clone(), key.namespace());
        let kept: Vec<_> = pod
            .metadata
            .finalizers
            .iter()
            .flatten()
            .filter(|own| *own != TRACKING)
            .collect();
        let change = json!({ "finalizers": kept });
        match write::update_metadata(&api, &pod.metadata, change).await {
            Ok(updated) => {
                self.pod_writes.applied(key.clone(), &updated);
                Ok(())
            }
            Err(error) if error.is(404) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn carry_out(&self, key: &Key, job: &Job, plan: Plan) -> Result<Action, Error> {
        let jobs = Api::<Job>::namespaced(self.client.clone(), key.namespace());
        let api = Api::<Pod>::namespaced(self.client.clone(), key.namespace());
        let about = ObjectRef::of(job);
        if plan.expired {
            let removed = write::delete(
                &jobs,
                &job.metadata,
                Some(PropagationPolicy::Foreground),
                None,
            );
            removed.await?;
            return Ok(Action::Done);
        }
        // The status first: it is what makes the rest safe, and it fails if the job has moved on.
        // A job that is gone by now is none of our business: what remains is for its deletion.
        let status = write::update_status(&jobs, &job.metadata, job.status.as_ref(), &plan.status);
        if if_found(status.await)?.is_none() {
            return Ok(Action::Done);
        }
        for (reason, text) in &plan.events {
            match *reason {
                "Completed" | "Suspended" | "Resumed" => {
                    self.recorder.normal(&about, reason, text.clone());
                }
                _ => self.recorder.warning(&about, reason, text.clone()),
            }
        }
        for pod in &plan.untrack {
            self.untrack(key, pod).await?;
        }
        for chunk in plan.delete.chunks(BURST) {
            for pod in chunk {
                if write::delete(&api, &pod.metadata, None, None).await? {
                    let name = write::name_of(&pod.metadata);
                    self.recorder.normal(
                        &about,
                        "SuccessfulDelete",
                        format!("Deleted pod: {name}"),
                    );
                }
                self.pod_writes.deleted(key.clone(), &**pod);
            }
        }
        self.create(key, job, &api, &about, &plan).await?;
        Ok(plan.look_again.map_or(Action::Done, Action::After))
    }

    /// Creates the missing pods in batches that double in size, so that a failure all would meet
    /// costs few calls.
    async fn create(
        &self,
        key: &Key,
        job: &Job,
        api: &Api<Pod>,
        about: &ObjectRef,
        plan: &Plan,
    ) -> Result<(), Error> {
        let wanted: Vec<Pod> = plan
            .create
            .iter()
            .take(BURST)
            .map(|index| {
                decide::new_pod(
                    job,
                    owner_reference(job),
                    *index,
                    index.map_or(0, |index| plan.failures_of(index)),
                )
            })
            .collect();
        let parameters = write::post_params();
        let mut batch = 1;
        let mut rest = wanted.as_slice();
        while !rest.is_empty() {
            let (now, later) = rest.split_at(batch.min(rest.len()));
            let results = join_all(now.iter().map(|pod| api.create(&parameters, pod))).await;
            let mut failed = None;
            for result in results {
                match result.doing(|| format!("creating a pod of job {key}")) {
                    Ok(pod) => {
                        let name = write::name_of(&pod.metadata);
                        self.recorder.normal(
                            about,
                            "SuccessfulCreate",
                            format!("Created pod: {name}"),
                        );
                        self.pod_writes.applied(key.clone(), &pod);
                    }
                    Err(error) => {
                        self.recorder.warning(
                            about,
                            "FailedCreate",
                            format!("Error creating: {}", message(&error)),
                        );
                        failed = Some(error);
                    }
                }
            }
            if let Some(error) = failed {
                return Err(error);
            }
            rest = later;
            batch *= 2;
        }
        Ok(())
    }
}
