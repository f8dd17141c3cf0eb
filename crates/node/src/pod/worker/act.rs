//! Acting on a decision: each action becomes an operation beside the worker.

use std::sync::Arc;
use std::time::Duration;

use consort_runtime::Container as Run;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, PodSpec};
use tokio_util::sync::CancellationToken;

use super::Worker;
use super::tell::retry_delay;
use crate::pod::decide::Action;
use crate::pod::hooks;
use crate::pod::operations::{self, Done};
use crate::pod::start::Start;
use crate::pod::state::{Phase, Role, Stage, containers};
use crate::pod::volumes::{self, Mounted};
use crate::probes::Kind;

impl Worker {
    pub(super) fn act(&mut self, spec: &PodSpec, action: Action, now: Timestamp) {
        match action {
            Action::DiscardSandbox => self.discard_sandbox(),
            Action::CreateSandbox => {
                self.situation.sandbox = Stage::Busy;
                let id = uuid::Uuid::new_v4().as_simple().to_string();
                self.sandbox_id = Some(id.clone());
                let (shared, pod, dir) = (self.shared.clone(), self.pod.clone(), self.dir.clone());
                let prepared = self.prepared.clone();
                self.operations.spawn(async move {
                    let made = operations::make_sandbox(&shared, &pod, &dir, &id, &prepared);
                    Done::Sandbox(made.await)
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
        self.situation.mounting = true;
        let prepared = self.prepared.clone();
        let (pod, dir, sources, tokens) = (
            self.pod.clone(),
            self.dir.clone(),
            self.sources.clone(),
            self.tokens.clone(),
        );
        let facts = self.shared.facts(&self.ips);
        async move {
            // What stands in the way is found again, volume by volume, and told there.
            let _ = operations::prepare_volumes(&pod, &dir, &prepared).await;
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
    pub(super) fn refresh_volumes(&mut self, now: Timestamp) -> Option<Timestamp> {
        if self.situation.volumes != Stage::Ready {
            return None;
        }
        let due = self.mounted.refresh_at.is_some_and(|at| at <= now);
        if (due || self.stale_volumes) && !self.situation.mounting {
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

    /// Waits for a run to end.
    pub(super) fn watch_run(&mut self, name: &str, run: Run, attempt: u32) {
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
                    result = hooks::run(handler, &definition, &run, &ip) => result,
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
}
