//! All pods of the node: one worker each, started by the first news of a pod and ended by the last.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use consort_reconcile::{Event, Informer};
use consort_runtime::Sandbox;
use k8s_openapi::api::core::v1::Pod;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::options::OnShutdown;
use crate::pod::{Adopted, Finished, Update, Worker, chain, group, labels, volumes};
use crate::shared::Handle;

/// Grace of a pod of which nothing is known any more.
const ORPHAN_GRACE: Duration = Duration::from_secs(30);

/// Owns the workers.
pub(crate) struct Pods {
    shared: Handle,
    informer: Informer<Pod>,
    workers: HashMap<String, watch::Sender<Update>>,
    tasks: JoinSet<Ended>,
    /// Sandboxes of an earlier agent that no pod has claimed yet, by uid.
    adopted: HashMap<String, Adopted>,
    /// Networks of an earlier agent whose sandboxes are gone. Found before the first pod is started: later
    /// a network without a sandbox may be that of a sandbox being made.
    networks: Vec<String>,
    /// Pods that are done with but whose objects are still there (finalizers).
    done: HashSet<String>,
    leave: CancellationToken,
}

enum Ended {
    Worker(Finished),
    Orphan,
}

impl Pods {
    /// Reads what an earlier agent has left.
    ///
    /// # Errors
    /// When the runtime cannot say what there is: starting anyway would run pods twice.
    pub(crate) async fn open(shared: Handle) -> Result<Self, consort_runtime::Error> {
        let selector = format!("spec.nodeName={}", shared.options.name);
        let informer = shared.hub.informer_where(None, Some(&selector));
        let sandboxes = shared.runtime.adopt().await?;
        let mut networks: Vec<String> = shared
            .network
            .attachments()
            .into_iter()
            .map(|attachment| attachment.pod_id)
            .collect();
        networks.retain(|id| !sandboxes.iter().any(|sandbox| sandbox.id() == id));
        let adopted = group(sandboxes, &shared.network);
        Ok(Self {
            shared,
            informer,
            workers: HashMap::new(),
            tasks: JoinSet::new(),
            adopted,
            networks,
            done: HashSet::new(),
            leave: CancellationToken::new(),
        })
    }

    /// Works until `shutdown`; then leaves the pods or stops them.
    pub(crate) async fn run(mut self, shutdown: CancellationToken, on_shutdown: OnShutdown) {
        let mut events = self.informer.subscribe();
        loop {
            tokio::select! {
                () = shutdown.cancelled() => break,
                event = events.next() => match event {
                    Some(event) => self.event(event),
                    None => break,
                },
                Some(ended) = self.tasks.join_next(), if !self.tasks.is_empty() => self.ended(ended),
            }
        }
        match on_shutdown {
            OnShutdown::Leave => {
                self.leave.cancel();
                while self.tasks.join_next().await.is_some() {}
            }
            OnShutdown::StopPods => self.stop_all().await,
        }
    }

    fn event(&mut self, event: Event<Pod>) {
        match event {
            Event::Applied { new, .. } => self.apply(new),
            Event::Deleted(last) => {
                let uid = last.metadata.uid.clone().unwrap_or_default();
                self.done.remove(&uid);
                if let Some(worker) = self.workers.get(&uid) {
                    worker.send_modify(|update| {
                        update.pod = last;
                        update.gone = true;
                    });
                }
            }
            Event::Synced => {
                self.shared.found.close();
                self.remove_orphans();
            }
        }
    }

    fn apply(&mut self, pod: Arc<Pod>) {
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        if self.done.contains(&uid) {
            return;
        }
        if let Some(worker) = self.workers.get(&uid) {
            worker.send_modify(|update| update.pod = pod);
            return;
        }
        let (sender, receiver) = watch::channel(Update {
            pod: pod.clone(),
            gone: false,
            stop: None,
        });
        let adopted = self.adopted.remove(&uid);
        let (shared, leave) = (self.shared.clone(), self.leave.clone());
        // Pods that come later than the first look are news, not something that was found.
        let unsettled = (!self.shared.found.is_closed()).then(|| self.shared.found.token());
        self.workers.insert(uid, sender);
        self.tasks.spawn(async move {
            let worker = Worker::new(shared, pod, adopted, unsettled).await;
            Ended::Worker(worker.run(receiver, leave).await)
        });
    }

    fn ended(&mut self, ended: Result<Ended, tokio::task::JoinError>) {
        match ended {
            Ok(Ended::Worker(finished)) => {
                self.workers.remove(&finished.uid);
                if finished.deleted {
                    if self.still_there(&finished.uid) {
                        self.done.insert(finished.uid.clone());
                    }
                    let dir = self.shared.pod_dir(&finished.uid);
                    self.tasks.spawn(async move {
                        remove_dir(dir).await;
                        Ended::Orphan
                    });
                }
            }
            Ok(Ended::Orphan) => {}
            Err(error) => tracing::error!(%error, "a pod's worker failed unexpectedly"),
        }
    }

    /// Whether a deleted pod's object has not been seen to go yet.
    fn still_there(&self, uid: &str) -> bool {
        self.informer
            .list()
            .iter()
            .any(|pod| pod.metadata.uid.as_deref() == Some(uid))
    }

    /// Once all pods are known, what belongs to none of them goes.
    fn remove_orphans(&mut self) {
        for (uid, adopted) in self.adopted.drain() {
            let shared = self.shared.clone();
            tracing::info!(uid, "removing a pod that no longer exists");
            self.tasks.spawn(async move {
                let sandboxes = adopted.sandbox.into_iter().chain(adopted.rest);
                futures::future::join_all(
                    sandboxes.map(|sandbox| remove_sandbox(&shared, sandbox)),
                )
                .await;
                remove_dir(shared.pod_dir(&uid)).await;
                Ended::Orphan
            });
        }
        let known: HashSet<String> = self.workers.keys().cloned().collect();
        let pods = self.shared.pods_dir();
        self.tasks.spawn(async move {
            for dir in directories(&pods) {
                let uid = dir
                    .file_name()
                    .map(|n| n.to_string_lossy().into_owned())
                    .unwrap_or_default();
                if !known.contains(&uid) {
                    remove_dir(dir).await;
                }
            }
            Ended::Orphan
        });
        let (shared, networks) = (self.shared.clone(), std::mem::take(&mut self.networks));
        self.tasks.spawn(async move {
            for id in networks {
                if let Err(error) = shared.network.detach(&id).await {
                    tracing::warn!(
                        sandbox = id,
                        error = chain(&error),
                        "removing an orphaned network"
                    );
                }
            }
            Ended::Orphan
        });
    }

    /// Stops every pod within its grace period, all of them within the node's limit.
    async fn stop_all(&mut self) {
        let limit = self.shared.options.stop_timeout;
        let budget = i64::try_from(limit.as_secs())
            .unwrap_or(i64::MAX)
            .saturating_sub(5)
            .max(1);
        for worker in self.workers.values() {
            worker.send_modify(|update| update.stop = Some(budget));
        }
        let all = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(limit, all).await.is_err() {
            tracing::warn!(
                left = self.tasks.len(),
                "pods did not stop in time; removing them"
            );
            self.tasks.shutdown().await;
        }
        // Whatever is left, for whatever reason, must not outlive the node.
        match self.shared.runtime.adopt().await {
            Ok(left) => {
                for sandbox in left {
                    if let Err(error) = sandbox.remove().await {
                        tracing::error!(
                            sandbox = sandbox.id(),
                            error = chain(&error),
                            "removing a sandbox"
                        );
                    }
                }
            }
            Err(error) => {
                tracing::error!(error = chain(&error), "looking for sandboxes that are left");
            }
        }
        for attachment in self.shared.network.attachments() {
            if let Err(error) = self.shared.network.detach(&attachment.pod_id).await {
                tracing::error!(
                    sandbox = attachment.pod_id,
                    error = chain(&error),
                    "removing a network"
                );
            }
        }
        let pods = self.shared.pods_dir();
        for dir in directories(&pods) {
            let volumes = dir.join("volumes");
            remove_mounts(volumes).await;
        }
    }
}

/// Ends and removes a sandbox that belongs to no pod.
async fn remove_sandbox(shared: &Handle, sandbox: Sandbox) {
    let grace = sandbox
        .labels()
        .get(labels::GRACE)
        .and_then(|g| g.parse().ok())
        .map_or(ORPHAN_GRACE, Duration::from_secs);
    if sandbox.alive()
        && let Err(error) = sandbox.stop(grace.min(ORPHAN_GRACE)).await
    {
        tracing::warn!(
            sandbox = sandbox.id(),
            error = chain(&error),
            "stopping an orphaned sandbox"
        );
    }
    let id = sandbox.id().to_owned();
    if let Err(error) = sandbox.remove().await {
        tracing::warn!(
            sandbox = id,
            error = chain(&error),
            "removing an orphaned sandbox"
        );
    }
    if let Err(error) = shared.network.detach(&id).await {
        tracing::warn!(
            sandbox = id,
            error = chain(&error),
            "removing an orphaned network"
        );
    }
}

fn directories(of: &std::path::Path) -> Vec<PathBuf> {
    std::fs::read_dir(of)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|p| p.is_dir())
        .collect()
}

async fn remove_dir(dir: PathBuf) {
    let shown = dir.display().to_string();
    match tokio::task::spawn_blocking(move || volumes::remove_tree(&dir)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(dir = shown, %error, "removing a pod's directory"),
        Err(error) => tracing::error!(dir = shown, %error, "removing a pod's directory"),
    }
}

/// Unmounts what a pod's volumes still hold; the directories go with the next start.
async fn remove_mounts(dir: PathBuf) {
    let has = volumes::mounts_below(&dir).is_ok_and(|mounts| !mounts.is_empty());
    if has {
        remove_dir(dir).await;
    }
}
