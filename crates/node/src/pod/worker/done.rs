//! What the end of an operation changes in the situation of a pod.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Container, Pod};

use super::Worker;
use crate::pod::backoff;
use crate::pod::operations::{self, Done, Made};
use crate::pod::start::{NotStarted, Started};
use crate::pod::state::{
    Ended, Failure, Phase, Role, Running, Stage, Unhealthy, containers, full_name,
};
use crate::pod::volumes::{self, Mounted};
use crate::probes::Kind;

/// Retries of whole-pod operations start here and double up to the limit.
const RETRY_FIRST: SignedDuration = SignedDuration::from_millis(500);
const RETRY_LIMIT: SignedDuration = SignedDuration::from_secs(60);

impl Worker {
    /// Takes in the end of an operation.
    pub(super) fn done(&mut self, done: Result<Done, tokio::task::JoinError>) {
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
                self.situation.mounting = false;
                self.situation.volumes = Stage::Ready;
                self.volume_failures = 0;
                self.mounted = Arc::new(mounted);
            }
            Done::Volumes(Err(failed)) => {
                self.situation.mounting = false;
                self.volumes_failed(&failed, now);
            }
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
                known.pull_backoff = backoff::Backoff::default();
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
                self.prune(name, attempt);
            }
            Err(NotStarted {
                ended: Some(ended), ..
            }) => {
                if previous.is_some() {
                    known.last = previous;
                }
                known.restarts = attempt;
                known.attempted = true;
                known.failure = None;
                known.phase = Phase::Ended(ended);
                self.prune(name, attempt);
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
                    backoff::FIRST
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

    /// Removes what nobody can ask for any more now that there is this attempt.
    fn prune(&mut self, name: &str, attempt: u32) {
        if let Some(sandbox) = self.sandbox.clone().filter(|_| attempt > 1) {
            self.operations.spawn(operations::prune(
                sandbox,
                name.to_owned(),
                attempt,
                self.dir.clone(),
            ));
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

    fn exited(&mut self, name: &str, id: &str, ended: Ended) {
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
}

/// A stage that has failed so many times in a row.
fn failed_stage(failures: u32, now: Timestamp) -> Stage {
    let delay = (RETRY_FIRST * 2_i32.pow(failures.clamp(1, 10) - 1)).min(RETRY_LIMIT);
    Stage::Failed {
        retry_at: now + delay,
    }
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
