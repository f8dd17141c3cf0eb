//! Finds the pod a word on the command line means.

use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::ListParams;
use serde_json::Value;

use crate::connect::Connection;
use crate::error::{Failure, Kind, Result};
use crate::resources::Resources;

/// The pod `what` names: `NAME`, `pod/NAME`, or `KIND/NAME` of something that selects pods, of which
/// the first ready one is taken.
pub(super) async fn find(connection: &Connection, what: &str) -> Result<Pod> {
    let pods: Api<Pod> = Api::namespaced(connection.client.clone(), &connection.namespace);
    let (kind, name) = what.split_once('/').unwrap_or(("pods", what));
    if matches!(kind, "po" | "pod" | "pods") {
        return Ok(pods.get(name).await?);
    }
    let resources = Resources::discover(&connection.client).await?;
    let resource = *resources.named(kind)?.first().ok_or_else(|| {
        Failure::new(
            Kind::Usage,
            format!("the server doesn't have a resource type {kind:?}"),
        )
    })?;
    let path = format!("{}/{name}", resource.path(Some(&connection.namespace)));
    let request = http::Request::get(path)
        .body(Vec::new())
        .map_err(anyhow::Error::from)?;
    let object: Value = connection.client.request(request).await?;
    let selector = &object["spec"]["selector"];
    let labels = selector.get("matchLabels").unwrap_or(selector);
    let labels: Vec<String> = labels
        .as_object()
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| Some(format!("{key}={}", value.as_str()?)))
        .collect();
    if labels.is_empty() {
        return Err(Failure::new(Kind::Usage, format!("{what} selects no pods")));
    }
    let list = pods
        .list(&ListParams::default().labels(&labels.join(",")))
        .await?;
    let ready = |pod: &Pod| {
        let status = pod.status.as_ref();
        let conditions = status.and_then(|status| status.conditions.as_deref());
        conditions
            .unwrap_or_default()
            .iter()
            .any(|condition| condition.type_ == "Ready" && condition.status == "True")
    };
    list.items
        .into_iter()
        .max_by_key(ready)
        .ok_or_else(|| Failure::new(Kind::Failed, format!("{what} has no pods")))
}

/// The container to work on: the one named, the pod's default one, or its first.
pub(super) fn container(pod: &Pod, named: Option<String>) -> Option<String> {
    let default = || {
        let annotations = pod.metadata.annotations.as_ref()?;
        annotations
            .get("kubectl.kubernetes.io/default-container")
            .cloned()
    };
    let first = || Some(pod.spec.as_ref()?.containers.first()?.name.clone());
    named.or_else(default).or_else(first)
}
