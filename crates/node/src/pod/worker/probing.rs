//! Probes of running containers: started with them, and what their reports change.

use super::Worker;
use crate::pod::state::{Role, Unhealthy, containers};
use crate::probes::{self, Answer, Kind, Report, Target};

impl Worker {
    pub(super) fn start_probes(&mut self, name: &str, adopted: bool) {
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

    pub(super) fn report(&mut self, report: &Report) {
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
}
