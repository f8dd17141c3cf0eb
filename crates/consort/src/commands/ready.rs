//! When something that was applied can be said to work.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::{Node, Pod, Service};
use kube::api::{ListParams, WatchParams};
use kube::{Api, Client};
use serde_json::Value;
use tokio::time::Instant;

use crate::apply::Applied;
use crate::error::{Failure, Kind, Result};

/// How far an object has come.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Readiness {
    /// It works; how it says so.
    Ready(String),
    /// Not yet; what is missing.
    Waiting(String),
    /// It will not work by waiting; why.
    Failed(String),
}

/// Whether `up` waits for objects of this kind.
pub(super) fn is_awaited(applied: &Applied) -> bool {
    matches!(
        applied.resource.api.kind.as_str(),
        "Deployment" | "Job" | "Pod"
    )
}

/// Judges an object by its status, by the rules `kubectl rollout status` and `kubectl wait` use.
fn judge(kind: &str, object: &Value) -> Readiness {
    match kind {
        "Deployment" => deployment(object),
        "Job" => job(object),
        _ => pod(object),
    }
}

fn number(value: &Value, field: &str) -> i64 {
    value[field].as_i64().unwrap_or_default()
}

fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    let conditions = object["status"]["conditions"].as_array()?;
    conditions
        .iter()
        .find(|condition| condition["type"] == kind)
}

fn message(condition: &Value) -> String {
    condition["message"].as_str().unwrap_or_default().to_owned()
}

fn deployment(object: &Value) -> Readiness {
    let status = &object["status"];
    if number(status, "observedGeneration") < number(&object["metadata"], "generation") {
        return Readiness::Waiting("not yet looked at".to_owned());
    }
    if let Some(progressing) = condition(object, "Progressing")
        && progressing["reason"] == "ProgressDeadlineExceeded"
    {
        return Readiness::Failed(format!("does not progress: {}", message(progressing)));
    }
    let wanted = object["spec"]["replicas"].as_i64().unwrap_or(1);
    let updated = number(status, "updatedReplicas");
    let available = number(status, "availableReplicas");
    if updated < wanted {
        return Readiness::Waiting(format!("{updated} of {wanted} replicas updated"));
    }
    if number(status, "replicas") > updated {
        return Readiness::Waiting("old replicas are ending".to_owned());
    }
    if available < updated {
        return Readiness::Waiting(format!("{available} of {wanted} replicas available"));
    }
    Readiness::Ready(format!("{available}/{wanted} available"))
}

fn job(object: &Value) -> Readiness {
    let holds = |kind| condition(object, kind).filter(|condition| condition["status"] == "True");
    if holds("Complete").is_some() {
        return Readiness::Ready("complete".to_owned());
    }
    if let Some(failed) = holds("Failed") {
        return Readiness::Failed(format!("failed: {}", message(failed)));
    }
    if object["spec"]["suspend"] == true {
        return Readiness::Ready("suspended".to_owned());
    }
    let status = &object["status"];
    Readiness::Waiting(format!(
        "{} of {} completions",
        number(status, "succeeded"),
        object["spec"]["completions"].as_i64().unwrap_or(1)
    ))
}

fn pod(object: &Value) -> Readiness {
    match object["status"]["phase"].as_str().unwrap_or("Pending") {
        "Succeeded" => Readiness::Ready("succeeded".to_owned()),
        "Failed" => Readiness::Failed("failed".to_owned()),
        phase => match condition(object, "Ready") {
            Some(ready) if ready["status"] == "True" => Readiness::Ready("ready".to_owned()),
            _ => Readiness::Waiting(phase.to_lowercase()),
        },
    }
}

/// Waits until every object works, or one cannot, or the time is up; `tell` hears of each change.
pub(super) async fn wait(
    client: &Client,
    objects: &[&Applied],
    deadline: Instant,
    tell: &mut dyn FnMut(&Applied, &Readiness),
) -> Result<()> {
    for object in objects {
        let resource = &object.resource;
        let collection = resource.path(object.namespace.as_deref());
        let path = format!("{collection}/{}", object.name);
        let mut last = None;
        let mut pause = Duration::from_millis(20);
        loop {
            let request = http::Request::get(&path)
                .body(Vec::new())
                .map_err(anyhow::Error::from)?;
            let present: Value = client.request(request).await?;
            let readiness = judge(&resource.api.kind, &present);
            if last.as_ref() != Some(&readiness) {
                tell(object, &readiness);
            }
            match &readiness {
                Readiness::Ready(_) => break,
                Readiness::Failed(text) => {
                    let text = format!("{} {text}", object.title());
                    return Err(because(client, object, &present, text).await);
                }
                Readiness::Waiting(text) => {
                    if Instant::now() > deadline {
                        let text = format!("{} is not ready in time: {text}", object.title());
                        return Err(because(client, object, &present, text).await);
                    }
                }
            }
            last = Some(readiness);
            tokio::time::sleep(pause).await;
            pause = (pause * 3 / 2).min(Duration::from_millis(250));
        }
    }
    Ok(())
}

/// A failure that names what the object's pods are stuck on.
async fn because(client: &Client, object: &Applied, present: &Value, text: String) -> Failure {
    let mut reasons = Vec::new();
    if let Ok(pods) = pods_of(client, object, present).await {
        for pod in &pods {
            reasons.extend(trouble(pod));
        }
    }
    reasons.sort();
    reasons.dedup();
    let mut text = text;
    for reason in reasons.iter().take(5) {
        text.push_str("\n  ");
        text.push_str(reason);
    }
    let namespace = object.namespace.as_deref().unwrap_or("default");
    Failure::new(Kind::Failed, text).hint(format!(
        "`consort describe -n {namespace} {}` shows its events",
        object.title()
    ))
}

async fn pods_of(client: &Client, object: &Applied, present: &Value) -> Result<Vec<Pod>> {
    let namespace = object.namespace.as_deref().unwrap_or("default");
    let api: Api<Pod> = Api::namespaced(client.clone(), namespace);
    if object.resource.api.kind == "Pod" {
        return Ok(vec![api.get(&object.name).await?]);
    }
    let labels: BTreeMap<String, String> =
        serde_json::from_value(present["spec"]["selector"]["matchLabels"].clone())
            .unwrap_or_default();
    let selector: Vec<String> = labels
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    Ok(api
        .list(&ListParams::default().labels(&selector.join(",")))
        .await?
        .items)
}

/// What keeps a pod from being ready, a line each.
fn trouble(pod: &Pod) -> Vec<String> {
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let Some(status) = &pod.status else {
        return vec![];
    };
    let mut lines = Vec::new();
    for condition in status.conditions.iter().flatten() {
        if condition.type_ == "PodScheduled" && condition.status == "False" {
            let message = condition.message.as_deref().unwrap_or_default();
            lines.push(format!("pod {name} is not placed: {message}"));
        }
    }
    let statuses = status
        .init_container_statuses
        .iter()
        .chain(&status.container_statuses);
    for container in statuses.flatten() {
        let Some(state) = &container.state else {
            continue;
        };
        if let Some(waiting) = &state.waiting {
            let reason = waiting.reason.as_deref().unwrap_or_default();
            let message = waiting.message.as_deref().unwrap_or_default();
            if reason != "ContainerCreating" && reason != "PodInitializing" {
                lines.push(format!(
                    "container {} of pod {name}: {reason}: {message}",
                    container.name
                ));
            }
        }
        if let Some(ended) = &state.terminated
            && ended.exit_code != 0
        {
            lines.push(format!(
                "container {} of pod {name} ended with {}",
                container.name, ended.exit_code
            ));
        }
    }
    lines
}

/// Waits until a node says it is ready.
pub(super) async fn node(client: &Client, name: &str, timeout: Duration) -> Result<()> {
    let api: Api<Node> = Api::all(client.clone());
    let watched = async {
        let params = WatchParams::default().fields(&format!("metadata.name={name}"));
        let mut events = Box::pin(api.watch(&params, "0").await?);
        while let Some(event) = events.next().await {
            use kube::core::WatchEvent::{Added, Modified};
            if let Added(node) | Modified(node) = event? {
                let conditions = node.status.and_then(|status| status.conditions);
                let is_ready = |condition: &k8s_openapi::api::core::v1::NodeCondition| {
                    condition.type_ == "Ready" && condition.status == "True"
                };
                if conditions.unwrap_or_default().iter().any(is_ready) {
                    return Ok(true);
                }
            }
        }
        Ok::<_, kube::Error>(false)
    };
    match tokio::time::timeout(timeout, watched).await {
        Ok(Ok(true)) => Ok(()),
        Ok(Err(error)) => Err(error.into()),
        Ok(Ok(false)) | Err(_) => Err(Failure::new(
            Kind::Failed,
            format!("node {name} is not ready in time"),
        )),
    }
}

/// Where a service answers from this host.
pub(super) struct Address {
    /// `service/web`.
    pub(super) service: String,
    /// A URL.
    pub(super) url: String,
}

/// The addresses of the services that were applied; those meant for the outside, or if there is
/// none, all.
pub(super) async fn addresses(client: &Client, applied: &[Applied]) -> Result<Vec<Address>> {
    let mut outside = Vec::new();
    let mut inside = Vec::new();
    for one in applied
        .iter()
        .filter(|one| one.resource.api.kind == "Service")
    {
        let namespace = one.namespace.as_deref().unwrap_or("default");
        let api: Api<Service> = Api::namespaced(client.clone(), namespace);
        let Some(spec) = api.get(&one.name).await?.spec else {
            continue;
        };
        for port in spec.ports.iter().flatten() {
            if port.protocol.as_deref().unwrap_or("TCP") != "TCP" {
                continue;
            }
            let address = |url: String| Address {
                service: one.title(),
                url,
            };
            let scheme = if port.port == 443 { "https" } else { "http" };
            if let Some(node_port) = port.node_port {
                outside.push(address(format!("{scheme}://127.0.0.1:{node_port}")));
            } else if let Some(ip) = spec.cluster_ip.as_deref().filter(|ip| *ip != "None") {
                inside.push(address(format!("{scheme}://{ip}:{}", port.port)));
            }
        }
    }
    Ok(if outside.is_empty() { inside } else { outside })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_deployment_is_ready_when_every_wanted_replica_is_new_and_available() {
        let object = |status| json!({"metadata": {"generation": 2}, "spec": {"replicas": 2}, "status": status});
        assert!(matches!(
            judge("Deployment", &object(json!({}))),
            Readiness::Waiting(_)
        ));
        let old = json!({"observedGeneration": 2, "replicas": 3, "updatedReplicas": 2, "availableReplicas": 3});
        assert_eq!(
            judge("Deployment", &object(old)),
            Readiness::Waiting("old replicas are ending".into())
        );
        let done = json!({"observedGeneration": 2, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2});
        assert_eq!(
            judge("Deployment", &object(done)),
            Readiness::Ready("2/2 available".into())
        );
        let stuck = json!({"observedGeneration": 2, "conditions": [
            {"type": "Progressing", "reason": "ProgressDeadlineExceeded", "message": "m"}]});
        assert!(matches!(
            judge("Deployment", &object(stuck)),
            Readiness::Failed(_)
        ));
    }

    #[test]
    fn a_failed_job_is_not_waited_for() {
        let job = json!({"spec": {}, "status": {"conditions": [
            {"type": "Failed", "status": "True", "message": "BackoffLimitExceeded"}]}});
        assert!(matches!(judge("Job", &job), Readiness::Failed(_)));
    }
}
