//! The worker of one pod: looks, decides, acts, tells, and waits for the next news.
//!
//! All state is in the worker; operations run beside it and end in messages. Nothing is done twice at
//! once for the same pod, and nothing waits for a tick: every change leads to the next look.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use consort_runtime::{Container as Run, Sandbox};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec, PodStatus};
use kube::Api;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::adopt::{self, Adopted};
use super::decide::{self, Action, Outcome, decide};
use super::operations::{self, Done, Made, WriteError};
use super::patch;
use super::sources::Sources;
use super::start::{NotStarted, Start, Started};
use super::state::{
    End, Failure, Phase, Role, Running, Situation, Stage, Unhealthy, containers, full_name,
};
use super::status::{self, Inputs};
use super::volumes::{self, Mounted, Tokens};
use crate::agent::PodView;
use crate::probes::{self, Answer, Kind, Report, Target};
use crate::shared::Handle;

/// How long a status that matters little may wait for company.
const STATUS_DELAY: Duration = Duration::from_millis(100);
/// Retries of whole-pod operations start here and double up to the limit.
const RETRY_FIRST: SignedDuration = SignedDuration::from_millis(500);
const RETRY_LIMIT: SignedDuration = SignedDuration::from_secs(60);
/// Retries of writes to the API.
const WRITE_RETRY_LIMIT: Duration = Duration::from_secs(10);
/// Attempts to write the last status of a pod that ends with the node.
const LAST_WRITES: u32 = 4;
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

    async fn take_over(&mut self, adopted: Adopted, now: Timestamp) {
        let pod = self.pod.clone();
        let empty = PodSpec::default();
        let spec = pod.spec.as_ref().unwrap_or(&empty);
        let status = pod.status.clone().unwrap_or_default();
        for old in adopted.rest {
            let shared = self.shared.clone();
            self.operations.spawn(async move {
                let id = old.id().to_owned();
                if let Err(error) = operations::remove(&shared, Some(&old), Some(&id), None).await {
                    tracing::warn!(sandbox = id, error, "removing an old sandbox");
                }
                Done::Nothing
            });
        }
        let mut still_running = Vec::new();
        if let Some(sandbox) = adopted.sandbox {
            let statuses = status
                .init_container_statuses
                .iter()
                .chain(&status.container_statuses)
                .flatten();
            let ready = statuses.map(|s| (s.name.clone(), s.ready)).collect();
            let (known, running, useless) = adopt::read(&sandbox, spec, &self.dir, &ready).await;
            self.situation.containers = known;
            for container in useless {
                self.operations.spawn(async move {
                    if let Err(error) = container.remove().await {
                        tracing::warn!(
                            container = container.id(),
                            error = super::chain(&error),
                            "removing a container"
                        );
                    }
                    Done::Nothing
                });
            }
            self.situation.sandbox = Stage::Ready;
            self.situation.sandbox_dead = !sandbox.alive();
            self.sandbox_id = Some(sandbox.id().to_owned());
            self.ips = if spec.host_network == Some(true) {
                self.shared.host_ips.clone()
            } else {
                adopted.ips
            };
            self.netns = adopted.netns;
            self.sandbox = Some(sandbox);
            still_running = running;
        }
        adopt::from_api(&mut self.situation.containers, &status, now);
        let phase = status.phase.as_deref().unwrap_or_default();
        if matches!(phase, "Succeeded" | "Failed") {
            self.mute = true;
            self.situation.end = Some(End::Settled);
            self.situation.final_status_stored = true;
            self.situation.torn_down = self.sandbox.is_none() && !self.dir.join("volumes").exists();
        } else {
            let already =
                self.situation.containers.values().any(|k| k.attempted) || self.sandbox.is_some();
            if let Err(refusal) = self.shared.admit(&self.uid, spec, already) {
                self.shared
                    .event(&pod, None, true, &refusal.reason, refusal.message.clone());
                self.situation.end = Some(End::Failed {
                    reason: refusal.reason,
                    message: refusal.message,
                });
                self.situation.torn_down = true;
            }
        }
        if self.sandbox.is_none() || self.situation.sandbox_dead {
            self.rerun_init();
        } else {
            let any_main = spec
                .containers
                .iter()
                .any(|c| self.situation.container(&c.name).attempted);
            self.situation.initialised = any_main;
        }
        for run in still_running {
            self.runs.insert(run.name.clone(), run.container.clone());
            self.watch_run(&run.name, run.container, run.attempt);
            self.start_probes(&run.name, true);
            if let Some((_, container)) = containers(spec)
                .into_iter()
                .find(|(_, c)| c.name == run.name)
            {
                self.check_definition(&container);
            }
        }
    }

    /// In a new sandbox init containers run again.
    fn rerun_init(&mut self) {
        self.situation.initialised = false;
        let Some(spec) = &self.pod.spec else { return };
        for container in spec.init_containers.iter().flatten() {
            let Some(known) = self.situation.containers.get_mut(&container.name) else {
                continue;
            };
            let failed_for_good = known.ended().is_some_and(|ended| {
                ended.code != 0
                    && !decide::restarts(spec, super::state::init_role(container), container, ended)
            });
            if failed_for_good {
                continue;
            }
            if let Phase::Ended(ended) = std::mem::take(&mut known.phase) {
                known.last = Some(ended);
            }
        }
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

    /// Takes in what the API says.
    fn update(&mut self, update: Update) {
        let newer = revision(&update.pod) >= revision(&self.pod);
        if newer && !Arc::ptr_eq(&update.pod, &self.pod) {
            let (old, new) = (&self.pod, &update.pod);
            if old.metadata.labels != new.metadata.labels
                || old.metadata.annotations != new.metadata.annotations
            {
                self.stale_volumes = true;
            }
            let spec_changed = old.spec != new.spec;
            self.pod = update.pod;
            if spec_changed {
                let all: Vec<_> = self.pod.spec.iter().flat_map(containers).collect();
                for (_, container) in all {
                    self.check_definition(&container);
                }
            }
        }
        let spec_grace = self
            .pod
            .spec
            .as_ref()
            .and_then(|s| s.termination_grace_period_seconds)
            .unwrap_or(30);
        let meta = &self.pod.metadata;
        let asked = meta
            .deletion_grace_period_seconds
            .unwrap_or(spec_grace)
            .max(1);
        let budget = update.stop.unwrap_or(i64::MAX);
        // What is gone stays gone when the node stops: there is no object to write a status to.
        let (end, grace) = if update.gone {
            self.mute = true;
            self.deleted = true;
            let grace = if meta.deletion_timestamp.is_some() {
                asked
            } else {
                spec_grace.max(1)
            };
            (Some(End::Gone), grace.min(budget))
        } else if update.stop.is_some() {
            (Some(End::NodeStops), spec_grace.min(budget))
        } else if meta.deletion_timestamp.is_some() {
            (Some(End::Deleted), asked)
        } else if self.situation.end.is_none()
            && let Some(at) = self.deadline()
            && at <= Timestamp::now()
        {
            let message =
                "Pod was active on the node longer than the specified deadline".to_owned();
            self.shared
                .event(&self.pod, None, false, "DeadlineExceeded", message.clone());
            (
                Some(End::Failed {
                    reason: "DeadlineExceeded".to_owned(),
                    message,
                }),
                spec_grace,
            )
        } else {
            (None, spec_grace)
        };
        if let Some(end) = end
            && self.situation.end.as_ref() != Some(&end)
        {
            // What ran its course before it was deleted keeps the status it has.
            let keeps = match self.situation.end {
                Some(End::Settled) => true,
                Some(End::Failed { .. }) => self.situation.final_status_stored,
                _ => false,
            };
            self.mute |= keeps;
            self.situation.final_status_stored = keeps;
            self.situation.end = Some(end);
            self.situation.grace_seconds = grace;
            for ((_, kind), probe) in &self.probes {
                if *kind != Kind::Readiness {
                    probe.abort();
                }
            }
        } else if self.situation.end.is_some() && grace < self.situation.grace_seconds {
            self.situation.grace_seconds = grace;
            let stopping: Vec<Run> = self
                .runs
                .iter()
                .filter(|(name, _)| {
                    self.situation
                        .container(name)
                        .running()
                        .is_some_and(|r| r.stopping)
                })
                .map(|(_, run)| run.clone())
                .collect();
            let grace = Duration::from_secs(u64::try_from(grace).unwrap_or(0));
            self.operations
                .spawn(operations::kill_after(stopping, grace));
        }
    }

    /// When the pod has to have ended by its own wish.
    fn deadline(&self) -> Option<Timestamp> {
        let seconds = self.pod.spec.as_ref()?.active_deadline_seconds?;
        let since = self
            .pod
            .status
            .as_ref()
            .and_then(|s| s.start_time.as_ref())
            .map_or(self.started_at, |t| t.0);
        Some(since + SignedDuration::from_secs(seconds))
    }

    /// A running container whose image has changed in the spec is started anew.
    fn check_definition(&mut self, container: &Container) {
        let Some(run) = self.runs.get(&container.name) else {
            return;
        };
        let made_from = run.spec().labels.get(super::labels::SPEC_IMAGE);
        if made_from.is_some()
            && made_from != container.image.as_ref()
            && let Some(running) = self
                .situation
                .containers
                .get_mut(&container.name)
                .and_then(|k| k.running_mut())
        {
            running.unhealthy.get_or_insert(Unhealthy {
                message: format!(
                    "Container {} definition changed, will be restarted",
                    container.name
                ),
                grace: None,
            });
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

    fn act(&mut self, spec: &PodSpec, action: Action, now: Timestamp) {
        match action {
            Action::DiscardSandbox => self.discard_sandbox(),
            Action::CreateSandbox => {
                self.situation.sandbox = Stage::Busy;
                let id = uuid::Uuid::new_v4().as_simple().to_string();
                self.sandbox_id = Some(id.clone());
                let (shared, pod, dir) = (self.shared.clone(), self.pod.clone(), self.dir.clone());
                self.operations.spawn(async move {
                    Done::Sandbox(operations::make_sandbox(&shared, &pod, &dir, &id).await)
                });
            }
            Action::MountVolumes => self.mount_volumes(),
            Action::Start { container, role } => {
                if let Some((_, definition)) = containers(spec)
                    .into_iter()
                    .find(|(_, c)| c.name == container)
                {
                    self.start(definition, role, now);
                }
            }
            Action::PostStart { container } => self.post_start(spec, &container),
            Action::Stop {
                container,
                grace,
                message,
            } => self.stop(spec, &container, grace, message),
            Action::CancelStart { container } => {
                if let Some(token) = self.starts.get(&container) {
                    token.cancel();
                }
            }
            Action::TearDown => {
                self.situation.tearing_down = true;
                self.probes.clear();
                self.probing.abort_all();
                let volumes = self.dir.join("volumes");
                let (sandbox, id) = (self.sandbox.clone(), self.sandbox_id.clone());
                self.operations.spawn(operations::tear_down(
                    self.shared.clone(),
                    sandbox,
                    id,
                    volumes,
                ));
            }
            Action::DeleteObject => {
                if !self.deleting && !self.deleted {
                    self.deleting = true;
                    let name = self.pod.metadata.name.clone().unwrap_or_default();
                    let delay = retry_delay(self.delete_failures);
                    self.operations.spawn(operations::delete_object(
                        self.api(),
                        name,
                        self.uid.clone(),
                        delay,
                    ));
                }
            }
            Action::Finish => {}
        }
    }

    fn discard_sandbox(&mut self) {
        self.shared.event(
            &self.pod,
            None,
            false,
            "SandboxChanged",
            "Pod sandbox changed, it will be killed and re-created.",
        );
        self.situation.sandbox = Stage::Busy;
        self.situation.sandbox_dead = false;
        self.probes.clear();
        self.probing.abort_all();
        let (shared, sandbox, id) = (
            self.shared.clone(),
            self.sandbox.take(),
            self.sandbox_id.take(),
        );
        self.ips.clear();
        self.netns = None;
        self.runs.clear();
        self.operations.spawn(async move {
            Done::Discarded(
                operations::remove(&shared, sandbox.as_ref(), id.as_deref(), None).await,
            )
        });
    }

    fn mount_volumes(&mut self) {
        self.situation.volumes = Stage::Busy;
        let mount = self.volumes_operation();
        self.operations.spawn(mount);
    }

    fn volumes_operation(&mut self) -> impl Future<Output = Done> + use<> {
        self.stale_volumes = false;
        let (pod, dir, sources, tokens) = (
            self.pod.clone(),
            self.dir.clone(),
            self.sources.clone(),
            self.tokens.clone(),
        );
        let facts = self.shared.facts(&self.ips);
        async move {
            let context = volumes::Context {
                pod: &pod,
                dir: &dir,
                facts: &facts,
                sources: &sources,
                tokens: &tokens,
            };
            Done::Volumes(volumes::mount(&context).await)
        }
    }

    /// Brings volumes up to date when something in them has changed or is about to expire.
    fn refresh_volumes(&mut self, now: Timestamp) -> Option<Timestamp> {
        if self.situation.volumes != Stage::Ready {
            return None;
        }
        let due = self.mounted.refresh_at.is_some_and(|at| at <= now);
        if due || self.stale_volumes {
            self.mounted = Arc::new(Mounted {
                refresh_at: None,
                ..(*self.mounted).clone()
            });
            let mount = self.volumes_operation();
            self.operations.spawn(mount);
        }
        self.mounted.refresh_at
    }

    fn start(&mut self, container: Container, role: Role, now: Timestamp) {
        let (Some(sandbox), name) = (self.sandbox.clone(), container.name.clone()) else {
            return;
        };
        let known = self.situation.containers.entry(name.clone()).or_default();
        let previous = match std::mem::take(&mut known.phase) {
            Phase::Ended(ended) => {
                if known.failure.is_none() {
                    known.backoff.next(ended.finished_at, now);
                }
                Some(ended)
            }
            _ => None,
        };
        known.phase = Phase::Starting(previous);
        let attempt = if known.attempted {
            known.restarts + 1
        } else {
            known.restarts
        };
        let cancel = CancellationToken::new();
        self.starts.insert(name.clone(), cancel.clone());
        let start = Start {
            shared: self.shared.clone(),
            pod: self.pod.clone(),
            container,
            role,
            attempt,
            sandbox,
            mounted: self.mounted.clone(),
            facts: self.shared.facts(&self.ips),
            sources: self.sources.clone(),
            dir: self.dir.clone(),
            cancel,
        };
        self.operations.spawn(async move {
            Done::Started {
                container: name,
                attempt,
                result: start.run().await,
            }
        });
    }

    fn started(&mut self, name: &str, attempt: u32, result: Result<Started, NotStarted>) {
        self.starts.remove(name);
        let now = Timestamp::now();
        let Some(known) = self.situation.containers.get_mut(name) else {
            return;
        };
        let previous = match std::mem::take(&mut known.phase) {
            Phase::Starting(previous) => previous,
            other => {
                known.phase = other;
                return;
            }
        };
        match result {
            Ok(started) => {
                if previous.is_some() {
                    known.last = previous;
                }
                known.restarts = attempt;
                known.attempted = true;
                known.failure = None;
                known.pull_backoff = super::backoff::Backoff::default();
                known.image = started.image;
                known.image_id = started.image_id;
                let definition = self
                    .pod
                    .spec
                    .iter()
                    .flat_map(containers)
                    .find(|(_, c)| c.name == name)
                    .map(|(_, c)| c);
                let has = |f: fn(&Container) -> bool| definition.as_ref().is_some_and(f);
                known.phase = Phase::Running(Running {
                    id: started.container.id().to_owned(),
                    started_at: started.at,
                    post_started: !has(|c| {
                        c.lifecycle.as_ref().is_some_and(|l| l.post_start.is_some())
                    }),
                    started: !has(|c| c.startup_probe.is_some()),
                    ready: !has(|c| c.readiness_probe.is_some()),
                    stopping: false,
                    unhealthy: None,
                });
                let post_started = known.running().is_some_and(|r| r.post_started);
                self.runs.insert(name.to_owned(), started.container.clone());
                self.watch_run(name, started.container, attempt);
                if post_started {
                    self.start_probes(name, false);
                }
                if let Some(sandbox) = self.sandbox.clone().filter(|_| attempt > 1) {
                    self.operations.spawn(operations::prune(
                        sandbox,
                        name.to_owned(),
                        attempt,
                        self.dir.clone(),
                    ));
                }
            }
            Err(not) => {
                known.phase = previous.map_or(Phase::Waiting, Phase::Ended);
                if not.cancelled {
                    return;
                }
                let pulling = not.reason == "ErrImagePull";
                let backoff = if pulling {
                    &mut known.pull_backoff
                } else {
                    &mut known.backoff
                };
                backoff.next(now, now);
                let delay = if not.until_sources_change {
                    super::backoff::FIRST
                } else {
                    backoff.delay()
                };
                known.failure = Some(Failure {
                    reason: not.reason.to_owned(),
                    message: not.message,
                    at: now,
                    retry_at: now + delay,
                    until_sources_change: not.until_sources_change,
                });
            }
        }
    }

    /// Waits for a run to end.
    fn watch_run(&mut self, name: &str, run: Run, attempt: u32) {
        if let Some((_, definition)) = self
            .pod
            .spec
            .iter()
            .flat_map(containers)
            .find(|(_, c)| c.name == name)
        {
            self.operations
                .spawn(operations::wait(run, definition, self.dir.clone(), attempt));
        }
    }

    fn post_start(&mut self, spec: &PodSpec, name: &str) {
        let Some((_, definition)) = containers(spec).into_iter().find(|(_, c)| c.name == name)
        else {
            return;
        };
        let (Some(run), true) = (
            self.runs.get(name).cloned(),
            self.starts
                .insert(name.to_owned(), CancellationToken::new())
                .is_none(),
        ) else {
            return;
        };
        let ip = self.ips.first().cloned().unwrap_or_default();
        let name = name.to_owned();
        self.operations.spawn(async move {
            let id = run.id().to_owned();
            let result = match definition
                .lifecycle
                .as_ref()
                .and_then(|l| l.post_start.as_ref())
            {
                // A container that ends has no more use for its hook.
                Some(handler) => tokio::select! {
                    result = super::hooks::run(handler, &definition, &run, &ip) => result,
                    _ = run.wait() => Ok(()),
                },
                None => Ok(()),
            };
            Done::PostStarted {
                container: name,
                id,
                result,
            }
        });
    }

    fn stop(&mut self, spec: &PodSpec, name: &str, grace: Option<i64>, message: String) {
        let Some((role, definition)) = containers(spec).into_iter().find(|(_, c)| c.name == name)
        else {
            return;
        };
        let Some(run) = self.runs.get(name).cloned() else {
            return;
        };
        if let Some(running) = self
            .situation
            .containers
            .get_mut(name)
            .and_then(|k| k.running_mut())
        {
            running.stopping = true;
        }
        for (key, probe) in &self.probes {
            if key.0 == name && key.1 != Kind::Readiness {
                probe.abort();
            }
        }
        let field_path = role.field_path(name);
        self.shared
            .event(&self.pod, Some(&field_path), false, "Killing", message);
        let seconds = grace
            .or(spec.termination_grace_period_seconds)
            .unwrap_or(30)
            .max(0);
        self.operations.spawn(operations::stop(operations::Stop {
            shared: self.shared.clone(),
            pod: self.pod.clone(),
            spec: definition,
            field_path,
            container: run,
            pod_ip: self.ips.first().cloned().unwrap_or_default(),
            grace: Duration::from_secs(u64::try_from(seconds).unwrap_or(0)),
        }));
    }

    /// Takes in the end of an operation.
    fn done(&mut self, done: Result<Done, tokio::task::JoinError>) {
        let now = Timestamp::now();
        let done = match done {
            Ok(done) => done,
            Err(error) => {
                tracing::error!(pod = full_name(&self.pod), %error, "an operation failed unexpectedly");
                return;
            }
        };
        match done {
            Done::Sandbox(Ok(Made {
                sandbox,
                ips,
                netns,
            })) => {
                self.situation.sandbox = Stage::Ready;
                self.situation.sandbox_dead = false;
                self.sandbox_failures = 0;
                self.sandbox = Some(sandbox);
                let had_volumes = matches!(self.situation.volumes, Stage::Ready | Stage::Busy);
                self.ips = ips;
                self.netns = netns;
                // The downward API may tell of an address that was not there before.
                self.stale_volumes |= had_volumes && tells_address(&self.pod);
            }
            Done::Sandbox(Err(message)) => {
                self.shared.event(
                    &self.pod,
                    None,
                    true,
                    "FailedCreatePodSandBox",
                    format!("Failed to create pod sandbox: {message}"),
                );
                self.sandbox_failures += 1;
                self.situation.sandbox = failed_stage(self.sandbox_failures, now);
            }
            Done::Discarded(result) => {
                if let Err(error) = result {
                    tracing::warn!(pod = full_name(&self.pod), error, "removing a dead sandbox");
                }
                self.situation.sandbox = Stage::Pending;
                self.rerun_init();
            }
            Done::Volumes(Ok(mounted)) => {
                self.situation.volumes = Stage::Ready;
                self.volume_failures = 0;
                self.mounted = Arc::new(mounted);
            }
            Done::Volumes(Err(failed)) => self.volumes_failed(&failed, now),
            Done::Started {
                container,
                attempt,
                result,
            } => self.started(&container, attempt, result),
            Done::PostStarted {
                container,
                id,
                result,
            } => self.post_started(&container, &id, result),
            Done::Exited {
                container,
                id,
                ended,
            } => self.exited(&container, &id, ended),
            Done::TornDown => {
                self.situation.tearing_down = false;
                self.situation.torn_down = true;
                self.sandbox = None;
                self.netns = None;
                self.runs.clear();
                self.shared.release(&self.uid);
            }
            Done::StatusWritten(result) => self.status_written(result),
            Done::ObjectDeleted(result) => {
                self.deleting = false;
                match result {
                    Ok(()) => {
                        self.deleted = true;
                        self.mute = true;
                    }
                    Err(error) => {
                        tracing::warn!(
                            pod = full_name(&self.pod),
                            error,
                            "deleting a pod that has ended"
                        );
                        self.delete_failures += 1;
                    }
                }
            }
            Done::Nothing => {}
        }
    }

    fn volumes_failed(&mut self, failed: &[volumes::Failed], now: Timestamp) {
        for one in failed {
            let message = format!(
                "MountVolume.SetUp failed for volume \"{}\" : {}",
                one.volume, one.message
            );
            self.shared
                .event(&self.pod, None, true, "FailedMount", message);
        }
        if self.situation.volumes == Stage::Ready {
            // They are mounted and stay as they are; the update is tried again.
            let again = now + RETRY_LIMIT;
            self.mounted = Arc::new(Mounted {
                refresh_at: Some(again),
                ..(*self.mounted).clone()
            });
        } else {
            self.volume_failures += 1;
            self.situation.volumes = failed_stage(self.volume_failures, now);
        }
    }

    fn post_started(&mut self, name: &str, id: &str, result: Result<(), String>) {
        self.starts.remove(name);
        let Some(running) = self
            .situation
            .containers
            .get_mut(name)
            .and_then(|k| k.running_mut())
        else {
            return;
        };
        if running.id != id {
            return;
        }
        running.post_started = true;
        match result {
            Ok(()) => self.start_probes(name, false),
            Err(message) => {
                running.unhealthy = Some(Unhealthy {
                    message: "FailedPostStartHook".to_owned(),
                    grace: None,
                });
                let role = self
                    .pod
                    .spec
                    .iter()
                    .flat_map(containers)
                    .find(|(_, c)| c.name == name)
                    .map(|(r, _)| r);
                let path = role.unwrap_or(Role::Main).field_path(name);
                let message = format!("PostStartHook failed: {message}");
                self.shared
                    .event(&self.pod, Some(&path), true, "FailedPostStartHook", message);
            }
        }
    }

    fn exited(&mut self, name: &str, id: &str, ended: super::state::Ended) {
        for kind in [Kind::Startup, Kind::Liveness, Kind::Readiness] {
            if let Some(probe) = self.probes.remove(&(name.to_owned(), kind)) {
                probe.abort();
            }
        }
        let Some(known) = self.situation.containers.get_mut(name) else {
            return;
        };
        if known.running().is_some_and(|running| running.id == id) {
            known.phase = Phase::Ended(ended);
            self.runs.remove(name);
        }
        if self
            .sandbox
            .as_ref()
            .is_some_and(|sandbox| !sandbox.alive())
        {
            self.situation.sandbox_dead = true;
        }
    }

    fn start_probes(&mut self, name: &str, adopted: bool) {
        let Some((role, spec)) = self
            .pod
            .spec
            .iter()
            .flat_map(containers)
            .find(|(_, c)| c.name == name)
        else {
            return;
        };
        let (Some(run), Some(running)) = (
            self.runs.get(name).cloned(),
            self.situation
                .containers
                .get(name)
                .and_then(|k| k.running()),
        ) else {
            return;
        };
        if matches!(role, Role::Init | Role::Ephemeral) {
            return;
        }
        let kinds: &[Kind] = if running.started {
            &[Kind::Liveness, Kind::Readiness]
        } else {
            &[Kind::Startup]
        };
        let target = Target {
            container: run,
            pod_ip: self.ips.first().cloned().unwrap_or_default(),
            started_at: running.started_at,
            adopted,
            spec,
        };
        for kind in kinds {
            let Some(probe) = kind.of(&target.spec).cloned() else {
                continue;
            };
            let probing = self.probing.spawn(probes::run(
                *kind,
                probe,
                target.clone(),
                self.reports.0.clone(),
            ));
            if let Some(old) = self.probes.insert((name.to_owned(), *kind), probing) {
                old.abort();
            }
        }
        while self.probing.try_join_next().is_some() {}
    }

    fn report(&mut self, report: &Report) {
        let Some((role, spec)) = self
            .pod
            .spec
            .iter()
            .flat_map(containers)
            .find(|(_, c)| c.name == report.container)
        else {
            return;
        };
        let ending = self.situation.end.is_some();
        let Some(running) = self
            .situation
            .containers
            .get_mut(&report.container)
            .and_then(|k| k.running_mut())
        else {
            return;
        };
        if running.id != report.id {
            return;
        }
        let title = report.kind.title();
        let text = match &report.answer {
            Answer::Success => None,
            Answer::Failure(output) => Some(format!("{title} probe failed: {output}")),
            Answer::Error(message) => Some(format!(
                "{title} probe errored and resulted in unknown state: {message}"
            )),
        };
        match (report.kind, report.verdict) {
            (Kind::Readiness, Some(ready)) => running.ready = ready,
            (Kind::Startup, Some(true)) => running.started = true,
            (Kind::Startup | Kind::Liveness, Some(false)) if !ending => {
                let word = if report.kind == Kind::Startup {
                    "startup"
                } else {
                    "liveness"
                };
                let grace = report
                    .kind
                    .of(&spec)
                    .and_then(|p| p.termination_grace_period_seconds);
                running.unhealthy = Some(Unhealthy {
                    message: format!(
                        "Container {} failed {word} probe, will be restarted",
                        report.container
                    ),
                    grace,
                });
            }
            _ => {}
        }
        if let Some(text) = text {
            let path = role.field_path(&report.container);
            self.shared
                .event(&self.pod, Some(&path), true, "Unhealthy", text);
        }
        if report.kind == Kind::Startup && report.verdict == Some(true) {
            self.start_probes(&report.container, false);
        }
    }

    /// A ConfigMap or Secret has changed: what waited for it need not wait longer.
    fn sources_changed(&mut self) {
        let now = Timestamp::now();
        self.stale_volumes = true;
        if let Stage::Failed { retry_at, .. } = &mut self.situation.volumes {
            *retry_at = now;
        }
        for known in self.situation.containers.values_mut() {
            if let Some(failure) = known.failure.as_mut().filter(|f| f.until_sources_change) {
                failure.retry_at = now;
            }
        }
    }

    /// Events for back-offs, once for each.
    fn tell_backoffs(&mut self, spec: &PodSpec, now: Timestamp) {
        if self.situation.end.is_some() || decide::outcome(spec, &self.situation) != Outcome::Open {
            return;
        }
        for (role, container) in containers(spec) {
            let Some(known) = self.situation.containers.get(&container.name) else {
                continue;
            };
            let (since, message, failed) = if let Some(failure) = known
                .failure
                .as_ref()
                .filter(|f| status::shows_pull_backoff(f, now))
            {
                let image = container.image.as_deref().unwrap_or_default();
                (
                    failure.at,
                    format!("Back-off pulling image \"{image}\""),
                    Some("Error: ImagePullBackOff"),
                )
            } else if let Some(ended) = known.ended().filter(|ended| {
                known.backoff.ready_at(ended.finished_at) > now
                    && decide::restarts(spec, role, &container, ended)
            }) {
                let pod = full_name(&self.pod);
                (
                    ended.finished_at,
                    format!(
                        "Back-off restarting failed container {} in pod {pod}",
                        container.name
                    ),
                    None,
                )
            } else {
                continue;
            };
            if self.told.get(&container.name) == Some(&since) {
                continue;
            }
            self.told.insert(container.name.clone(), since);
            let path = role.field_path(&container.name);
            let kind = failed.is_none();
            self.shared
                .event(&self.pod, Some(&path), kind, "BackOff", message);
            if let Some(text) = failed {
                self.shared
                    .event(&self.pod, Some(&path), true, "Failed", text);
            }
        }
    }

    fn api(&self) -> Api<Pod> {
        Api::namespaced(
            self.shared.client.clone(),
            self.pod.metadata.namespace.as_deref().unwrap_or_default(),
        )
    }

    /// Writes the status if it has changed: at once when it matters to others, else in company.
    fn write_status(&mut self, now: Timestamp) {
        if self.mute {
            self.unsettled = None;
        }
        if self.mute || self.writing {
            return;
        }
        let wanted = status::status(&Inputs {
            pod: &self.pod,
            situation: &self.situation,
            host_ips: &self.shared.host_ips,
            pod_ips: &self.ips,
            started_at: self.started_at,
            now,
        });
        let empty = PodStatus::default();
        let before = self.pod.status.as_ref().unwrap_or(&empty);
        let Some(patch) = patch::between(&self.uid, before, &wanted) else {
            self.status_due = None;
            self.unsettled = None;
            if status::still(&self.situation) {
                self.situation.final_status_stored = true;
            }
            return;
        };
        self.situation.final_status_stored = false;
        let at = Instant::now();
        let due = *self.status_due.get_or_insert(at + STATUS_DELAY);
        if !matters(before, &wanted) && due > at {
            return;
        }
        self.status_due = None;
        self.writing = true;
        let name = self.pod.metadata.name.clone().unwrap_or_default();
        let delay = retry_delay(self.write_failures);
        self.operations
            .spawn(operations::write_status(self.api(), name, patch, delay));
    }

    fn status_written(&mut self, result: Result<Box<Pod>, WriteError>) {
        self.writing = false;
        match result {
            Ok(pod) => {
                self.write_failures = 0;
                self.unsettled = None;
                if revision(&pod) >= revision(&self.pod) {
                    self.pod = Arc::from(pod);
                }
            }
            Err(WriteError::Gone) => {
                // The informer will say so too; until then nothing more is written.
                self.mute = true;
                self.situation.final_status_stored = true;
            }
            Err(WriteError::Retry(error)) => {
                self.write_failures += 1;
                tracing::warn!(pod = full_name(&self.pod), error, "writing a pod's status");
                if self.situation.end == Some(End::NodeStops) && self.write_failures >= LAST_WRITES
                {
                    // The next start finds out for itself; the node is not held up for it.
                    self.mute = true;
                    self.situation.final_status_stored = true;
                    self.unsettled = None;
                }
            }
        }
    }

    fn publish(&self) {
        self.shared.views.set(PodView {
            pod: self.pod.clone(),
            sandbox: self.sandbox.clone(),
            netns: self.netns.clone(),
            ips: self.ips.clone(),
            running: self.runs.clone(),
            dir: self.dir.clone(),
        });
    }
}

/// A stage that has failed so many times in a row.
fn failed_stage(failures: u32, now: Timestamp) -> Stage {
    let delay = (RETRY_FIRST * 2_i32.pow(failures.clamp(1, 10) - 1)).min(RETRY_LIMIT);
    Stage::Failed {
        retry_at: now + delay,
    }
}

/// Whether all init containers have done their part.
fn init_is_done(spec: &PodSpec, situation: &Situation) -> bool {
    spec.init_containers.iter().flatten().all(|container| {
        let known = situation.container(&container.name);
        match super::state::init_role(container) {
            Role::Sidecar => known.running().is_some_and(|r| r.started && r.post_started),
            _ => known.ended().is_some_and(|e| e.code == 0),
        }
    })
}

/// Whether a volume tells of the pod's address.
fn tells_address(pod: &Pod) -> bool {
    let volumes = pod.spec.iter().flat_map(|s| s.volumes.iter().flatten());
    let mut items = volumes.flat_map(|v| {
        let own = v.downward_api.iter().flat_map(|d| d.items.iter().flatten());
        let projected = v
            .projected
            .iter()
            .flat_map(|p| p.sources.iter().flatten())
            .filter_map(|s| s.downward_api.as_ref())
            .flat_map(|d| d.items.iter().flatten());
        own.chain(projected)
    });
    items.any(|item| {
        item.field_ref
            .as_ref()
            .is_some_and(|f| f.field_path.starts_with("status.podIP"))
    })
}

/// Whether others wait for this change: phase, readiness, restarts.
fn matters(before: &PodStatus, wanted: &PodStatus) -> bool {
    let ready = |status: &PodStatus| {
        let found = status
            .conditions
            .iter()
            .flatten()
            .find(|c| c.type_ == "Ready");
        found.is_some_and(|c| c.status == "True")
    };
    let restarts = |status: &PodStatus| -> i32 {
        status
            .container_statuses
            .iter()
            .flatten()
            .map(|c| c.restart_count)
            .sum()
    };
    let phase = |status: &PodStatus| status.phase.clone().unwrap_or_else(|| "Pending".to_owned());
    phase(before) != phase(wanted)
        || ready(before) != ready(wanted)
        || restarts(before) != restarts(wanted)
}

fn revision(pod: &Pod) -> u64 {
    pod.metadata
        .resource_version
        .as_deref()
        .and_then(|v| v.parse().ok())
        .unwrap_or(0)
}

fn retry_delay(failures: u32) -> Duration {
    if failures == 0 {
        return Duration::ZERO;
    }
    Duration::from_millis(100)
        .saturating_mul(1 << (failures - 1).min(16))
        .min(WRITE_RETRY_LIMIT)
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
