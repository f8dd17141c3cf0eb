//! Probes: asking a container whether it has started, lives, and is ready.
//!
//! Each probe of a running container is one task that asks, waits out the period and asks again; an
//! answer that takes long delays the next question and never piles up. The task ends with its
//! container. What follows from the answers is decided elsewhere; here they are only counted.

mod exec;
mod grpc;
mod http;
mod tally;
mod tcp;

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Probe};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use tokio::sync::mpsc;

pub(crate) use exec::run as run_command;
pub(crate) use http::{get, request_of};
use tally::Tally;

/// What is being asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Startup,
    Liveness,
    Readiness,
}

impl Kind {
    /// The word that events begin with.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Startup => "Startup",
            Self::Liveness => "Liveness",
            Self::Readiness => "Readiness",
        }
    }

    /// The probe of this kind in a container's spec.
    pub(crate) fn of(self, container: &Container) -> Option<&Probe> {
        match self {
            Self::Startup => container.startup_probe.as_ref(),
            Self::Liveness => container.liveness_probe.as_ref(),
            Self::Readiness => container.readiness_probe.as_ref(),
        }
    }
}

/// One answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// All is well.
    Success,
    /// The container says, by whatever means, that it is not well.
    Failure(String),
    /// The question could not be asked: nothing is known, and nothing follows.
    Error(String),
}

/// What a probe has to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Report {
    pub(crate) container: String,
    /// Id of the run it speaks of: reports of an earlier run are void.
    pub(crate) id: String,
    pub(crate) kind: Kind,
    pub(crate) answer: Answer,
    /// Set when the thresholds were crossed just now: the new verdict.
    pub(crate) verdict: Option<bool>,
}

/// Whom to ask.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) spec: Container,
    pub(crate) container: consort_runtime::Container,
    pub(crate) pod_ip: String,
    pub(crate) started_at: Timestamp,
    /// The container was running before this agent was: spread the first questions.
    pub(crate) adopted: bool,
}

/// The number of a port that is given by number or by name.
///
/// # Errors
/// When the container has no port of that name.
pub(crate) fn port(port: &IntOrString, container: &Container) -> Result<u16, String> {
    let number = match port {
        IntOrString::Int(number) => *number,
        IntOrString::String(text) => match text.parse() {
            Ok(number) => number,
            Err(_) => container
                .ports
                .iter()
                .flatten()
                .find(|p| p.name.as_deref() == Some(text))
                .map(|p| p.container_port)
                .ok_or_else(|| format!("couldn't find port: {text}"))?,
        },
    };
    u16::try_from(number)
        .ok()
        .filter(|p| *p > 0)
        .ok_or_else(|| format!("invalid port number: {number}"))
}

fn seconds(value: Option<i32>, default: u64) -> Duration {
    Duration::from_secs(
        value
            .and_then(|v| u64::try_from(v).ok())
            .filter(|v| *v > 0)
            .unwrap_or(default),
    )
}

/// Asks until the container is gone (the task is aborted then), a startup probe has passed, or a
/// startup or liveness probe has failed for good.
pub(crate) async fn run(kind: Kind, probe: Probe, target: Target, reports: mpsc::Sender<Report>) {
    let period = seconds(probe.period_seconds, 10);
    let timeout = seconds(probe.timeout_seconds, 1);
    let mut tally = Tally::new(&probe, kind);
    let delay = Duration::from_secs(
        probe
            .initial_delay_seconds
            .and_then(|v| u64::try_from(v).ok())
            .unwrap_or(0),
    );
    let running =
        Duration::try_from(Timestamp::now().duration_since(target.started_at)).unwrap_or_default();
    let mut first = delay.saturating_sub(running);
    if target.adopted {
        // An agent that comes back does not ask all containers at the same moment.
        first += period.mul_f64(rand::random::<f64>() * 0.5);
    }
    tokio::time::sleep(first).await;
    let mut ticks = tokio::time::interval(period);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let answer = ask(&probe, &target, timeout).await;
        let verdict = tally.note(&answer);
        let over = matches!(
            (kind, verdict),
            (Kind::Startup, Some(_)) | (Kind::Liveness, Some(false))
        );
        if answer != Answer::Success || verdict.is_some() {
            let report = Report {
                container: target.spec.name.clone(),
                id: target.container.id().to_owned(),
                kind,
                answer,
                verdict,
            };
            if reports.send(report).await.is_err() {
                return;
            }
        }
        if over {
            return;
        }
    }
}

async fn ask(probe: &Probe, target: &Target, timeout: Duration) -> Answer {
    if let Some(action) = &probe.exec {
        return exec::ask(
            &target.container,
            action.command.as_deref().unwrap_or_default(),
            timeout,
        )
        .await;
    }
    if let Some(action) = &probe.http_get {
        return match request_of(action, &target.spec, &target.pod_ip) {
            Ok(request) => http::ask(&request, timeout).await,
            Err(message) => Answer::Error(message),
        };
    }
    if let Some(action) = &probe.tcp_socket {
        let host = action
            .host
            .as_deref()
            .filter(|h| !h.is_empty())
            .unwrap_or(&target.pod_ip);
        return match port(&action.port, &target.spec) {
            Ok(port) => tcp::ask(host, port, timeout).await,
            Err(message) => Answer::Error(message),
        };
    }
    if let Some(action) = &probe.grpc {
        let service = action.service.as_deref().unwrap_or_default();
        return match u16::try_from(action.port) {
            Ok(port) => grpc::ask(&target.pod_ip, port, service, timeout).await,
            Err(_) => Answer::Error(format!("invalid port number: {}", action.port)),
        };
    }
    Answer::Error("missing probe handler".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn ports_are_found_by_number_and_by_name() {
        let container: Container = serde_json::from_value(
            json!({"name": "c", "ports": [{"name": "web", "containerPort": 8080}]}),
        )
        .unwrap();
        let of =
            |value: serde_json::Value| port(&serde_json::from_value(value).unwrap(), &container);
        assert_eq!(of(json!(80)), Ok(80));
        assert_eq!(of(json!("81")), Ok(81));
        assert_eq!(of(json!("web")), Ok(8080));
        assert!(of(json!("none")).is_err());
        assert!(of(json!(0)).is_err());
        assert!(of(json!(70000)).is_err());
    }
}
