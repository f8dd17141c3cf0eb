//! Taking over what is there of a pod when its worker starts.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::PodSpec;

use super::Worker;
use crate::pod::adopt::{self, Adopted};
use crate::pod::operations::{self, Done};
use crate::pod::state::{End, Phase, Stage, containers};
use crate::pod::{chain, decide, state};

impl Worker {
    pub(super) async fn take_over(&mut self, adopted: Adopted, now: Timestamp) {
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
                            error = chain(&error),
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
    pub(super) fn rerun_init(&mut self) {
        self.situation.initialised = false;
        let Some(spec) = &self.pod.spec else { return };
        for container in spec.init_containers.iter().flatten() {
            let Some(known) = self.situation.containers.get_mut(&container.name) else {
                continue;
            };
            let failed_for_good = known.ended().is_some_and(|ended| {
                ended.code != 0
                    && !decide::restarts(spec, state::init_role(container), container, ended)
            });
            if failed_for_good {
                continue;
            }
            if let Phase::Ended(ended) = std::mem::take(&mut known.phase) {
                known.last = Some(ended);
            }
        }
    }
}
