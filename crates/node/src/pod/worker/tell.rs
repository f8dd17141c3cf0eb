//! Telling others of a pod: its status, its events, and what the node itself looks up.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, PodSpec, PodStatus};
use kube::Api;
use tokio::time::Instant;

use super::{Worker, revision};
use crate::agent::PodView;
use crate::pod::decide::{self, Outcome};
use crate::pod::operations::{self, WriteError};
use crate::pod::patch;
use crate::pod::state::{End, containers, full_name};
use crate::pod::status::{self, Inputs};

/// How long a status that matters little may wait for company.
const STATUS_DELAY: Duration = Duration::from_millis(100);
/// Retries of writes to the API.
const WRITE_RETRY_LIMIT: Duration = Duration::from_secs(10);
/// Attempts to write the last status of a pod that ends with the node.
const LAST_WRITES: u32 = 4;

impl Worker {
    /// Events for back-offs, once for each.
    pub(super) fn tell_backoffs(&mut self, spec: &PodSpec, now: Timestamp) {
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

    /// Writes the status if it has changed: at once when it matters to others, else in company.
    pub(super) fn write_status(&mut self, now: Timestamp) {
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

    pub(super) fn status_written(&mut self, result: Result<Box<Pod>, WriteError>) {
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

    pub(super) fn api(&self) -> Api<Pod> {
        Api::namespaced(
            self.shared.client.clone(),
            self.pod.metadata.namespace.as_deref().unwrap_or_default(),
        )
    }

    pub(super) fn publish(&self) {
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

pub(super) fn retry_delay(failures: u32) -> Duration {
    if failures == 0 {
        return Duration::ZERO;
    }
    Duration::from_millis(100)
        .saturating_mul(1 << (failures - 1).min(16))
        .min(WRITE_RETRY_LIMIT)
}
