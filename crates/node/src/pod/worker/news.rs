//! News for a pod: a changed object, the node's end, a changed ConfigMap or Secret.

use std::sync::Arc;
use std::time::Duration;

use consort_runtime::Container as Run;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Container, PodSpec};

use super::{Update, Worker, revision};
use crate::pod::decide::{Outcome, outcome};
use crate::pod::state::{End, Stage, Unhealthy, containers};
use crate::pod::{labels, operations};
use crate::probes::Kind;

impl Worker {
    /// Takes in what the API says.
    pub(super) fn update(&mut self, update: Update) {
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
            let empty = PodSpec::default();
            let spec = self.pod.spec.as_ref().unwrap_or(&empty);
            self.situation.cut_short = end == End::NodeStops
                && self.situation.end.is_none()
                && outcome(spec, &self.situation) == Outcome::Open;
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
    pub(super) fn deadline(&self) -> Option<Timestamp> {
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
    pub(super) fn check_definition(&mut self, container: &Container) {
        let Some(run) = self.runs.get(&container.name) else {
            return;
        };
        let made_from = run.spec().labels.get(labels::SPEC_IMAGE);
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

    /// A ConfigMap or Secret has changed: what waited for it need not wait longer.
    pub(super) fn sources_changed(&mut self) {
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
}
