//! The worker of one pod: looks, decides, acts, tells, and waits for the next news.
//!
//! All state is in the worker; operations run beside it and end in messages. Nothing is done twice at
//! once for the same pod, and nothing waits for a tick: every change leads to the next look.

mod act;
mod done;
mod news;
mod probing;
mod take_over;
mod tell;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use consort_runtime::{Container as Run, Sandbox};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, PodSpec};
use tokio::sync::{Notify, OnceCell, mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::adopt::Adopted;
use super::decide::{Action, decide};
use super::operations::Done;
use super::state::{self, Role, Situation, Stage};
use super::volumes::{Mounted, Tokens};
use crate::probes::{Kind, Report};
use crate::shared::Handle;
use consort_reconcile::Sources;

/// Reports of probes that may wait; more make the probes wait.
const REPORTS: usize = 16;

/// What is asked of a worker from outside.
#[derive(Clone, Debug)]
pub(crate) struct Update {
    /// The newest object.
    pub(crate) pod: Arc<Pod>,
    /// The object has been deleted from the API.
    pub(crate) gone: bool,
    /// The node stops, and the pod with it, within this many seconds.
    pub(crate) stop: Option<i64>,
}

/// How a worker ended.
pub(crate) struct Finished {
    pub(crate) uid: String,
    /// The pod's object was deleted: its directory is of no more use.
    pub(crate) deleted: bool,
}

/// What comes after a look.
enum Step {
    /// The next news, or at the latest this moment.
    Wait(Option<Timestamp>),
    /// Nothing is left to do.
    Over,
}

/// See the module.
pub(crate) struct Worker {
    shared: Handle,
    pod: Arc<Pod>,
    uid: String,
    dir: PathBuf,
    situation: Situation,
    sandbox: Option<Sandbox>,
    sandbox_id: Option<String>,
    ips: Vec<String>,
    netns: Option<PathBuf>,
    runs: HashMap<String, Run>,
    mounted: Arc<Mounted>,
    /// Done once memory for volumes is mounted; a sandbox made earlier might not see it.
    prepared: Arc<OnceCell<()>>,
    sources: Arc<Sources>,
    tokens: Arc<Tokens>,
    changed: Arc<Notify>,
    operations: JoinSet<Done>,
    starts: HashMap<String, CancellationToken>,
    probing: JoinSet<()>,
    probes: HashMap<(String, Kind), AbortHandle>,
    reports: (mpsc::Sender<Report>, mpsc::Receiver<Report>),
    started_at: Timestamp,
    /// A status write is under way.
    writing: bool,
    write_failures: u32,
    /// The pod is gone from the API or settled: nothing is written.
    mute: bool,
    /// When a status of little weight is due.
    status_due: Option<Instant>,
    /// Volumes have to be looked at again.
    stale_volumes: bool,
    deleting: bool,
    delete_failures: u32,
    deleted: bool,
    /// Pull back-offs that have been told as events, by container.
    told: HashMap<String, Timestamp>,
    sandbox_failures: u32,
    volume_failures: u32,
    /// Held until the API knows how the pod was found.
    unsettled: Option<TaskTrackerToken>,
}

impl Worker {
    /// Looks at what is there of the pod and takes it over.
    ///
    /// `unsettled` is let go of as soon as the pod's status in the API tells what was found.
    pub(crate) async fn new(
        shared: Handle,
        pod: Arc<Pod>,
        adopted: Option<Adopted>,
        unsettled: Option<TaskTrackerToken>,
    ) -> Self {
        let now = Timestamp::now();
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        let dir = shared.pod_dir(&uid);
        let changed = Arc::new(Notify::new());
        let namespace = pod.metadata.namespace.clone().unwrap_or_default();
        let sources = Arc::new(Sources::new(
            shared.hub.clone(),
            &namespace,
            changed.clone(),
        ));
        let tokens = Arc::new(Tokens::new(shared.client.clone()));
        let mut worker = Self {
            uid,
            dir,
            situation: Situation::default(),
            sandbox: None,
            sandbox_id: None,
            ips: Vec::new(),
            netns: None,
            runs: HashMap::new(),
            mounted: Arc::default(),
            prepared: Arc::default(),
            sources,
            tokens,
            changed,
            operations: JoinSet::new(),
            starts: HashMap::new(),
            probing: JoinSet::new(),
            probes: HashMap::new(),
            reports: mpsc::channel(REPORTS),
            started_at: now,
            writing: false,
            write_failures: 0,
            mute: false,
            status_due: None,
            stale_volumes: false,
            deleting: false,
            delete_failures: 0,
            deleted: false,
            told: HashMap::new(),
            sandbox_failures: 0,
            volume_failures: 0,
            unsettled,
            shared,
            pod,
        };
        worker.take_over(adopted.unwrap_or_default(), now).await;
        worker
    }

    /// Works until nothing is left to do, or `leave` asks to leave everything as it is.
    pub(crate) async fn run(
        mut self,
        mut updates: watch::Receiver<Update>,
        leave: CancellationToken,
    ) -> Finished {
        loop {
            let update = updates.borrow_and_update().clone();
            self.update(update);
            let Step::Wait(wake_at) = self.step() else {
                break;
            };
            self.publish();
            let wake = wake_at.map(until);
            let wake = [wake, self.status_due].into_iter().flatten().min();
            tokio::select! {
                biased;
                () = leave.cancelled() => {
                    return Finished { uid: self.uid.clone(), deleted: false };
                }
                Some(done) = self.operations.join_next(), if !self.operations.is_empty() => {
                    self.done(done);
                    while let Some(done) = self.operations.try_join_next() {
                        self.done(done);
                    }
                }
                changed = updates.changed() => {
                    if changed.is_err() {
                        return Finished { uid: self.uid.clone(), deleted: false };
                    }
                }
                Some(report) = self.reports.1.recv() => self.report(&report),
                () = self.changed.notified() => self.sources_changed(),
                () = sleep_until(wake) => {}
            }
        }
        self.shared.views.remove(&self.pod);
        self.shared.release(&self.uid);
        Finished {
            uid: self.uid.clone(),
            deleted: self.deleted,
        }
    }

    /// Decides, acts, and tells.
    fn step(&mut self) -> Step {
        let pod = self.pod.clone();
        let empty = PodSpec::default();
        let spec = pod.spec.as_ref().unwrap_or(&empty);
        let mut wake_at: Option<Timestamp> = None;
        let mut wake = |at: Timestamp| wake_at = Some(wake_at.map_or(at, |now| now.min(at)));
        let now = Timestamp::now();
        if !self.situation.initialised
            && self.situation.sandbox == Stage::Ready
            && !self.situation.sandbox_dead
            && init_is_done(spec, &self.situation)
        {
            self.situation.initialised = true;
        }
        self.write_status(now);
        let decision = decide(spec, &self.situation, now);
        for action in decision.actions {
            if action == Action::Finish {
                return Step::Over;
            }
            self.act(spec, action, now);
        }
        if let Some(at) = decision.wake_at {
            wake(at);
        }
        if self.situation.end.is_none() {
            if let Some(at) = self.deadline() {
                wake(at);
            }
            if let Some(at) = self.refresh_volumes(now) {
                wake(at);
            }
        }
        self.tell_backoffs(spec, now);
        // Acting may have changed what there is to tell.
        self.write_status(now);
        if self.deleted && self.situation.torn_down && self.operations.is_empty() {
            return Step::Over;
        }
        Step::Wait(wake_at)
    }
}

/// Whether all init containers have done their part.
fn init_is_done(spec: &PodSpec, situation: &Situation) -> bool {
    spec.init_containers.iter().flatten().all(|container| {
        let known = situation.container(&container.name);
        match state::init_role(container) {
            Role::Sidecar => known.running().is_some_and(|r| r.started && r.post_started),
            _ => known.ended().is_some_and(|e| e.code == 0),
        }
    })
}

fn revision(pod: &Pod) -> u64 {
    pod.metadata
        .resource_version
        .as_deref()
        .and_then(|v| v.parse().ok())
        .unwrap_or(0)
}

/// The clock's time as the timer's.
fn until(at: Timestamp) -> Instant {
    let left = Duration::try_from(at.duration_since(Timestamp::now())).unwrap_or_default();
    // A timer that fires a little early would find nothing to do and be set again.
    Instant::now() + left + Duration::from_millis(1)
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
