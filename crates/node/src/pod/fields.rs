//! The downward API: a pod's own fields and resources as text.
//!
//! Follows the Kubernetes API's `ObjectFieldSelector` and `ResourceFieldSelector`: the field paths
//! that environment variables and volumes may name, and the rounding of resource values (up, to a
//! whole number of divisors).

use std::collections::BTreeMap;
use std::fmt::Write as _;

use k8s_openapi::api::core::v1::{Container, ObjectFieldSelector, Pod, ResourceFieldSelector};

use super::resources::{self, Amounts};

/// What a pod's fields resolve to beyond what its object says by itself.
#[derive(Clone, Debug, Default)]
pub(crate) struct PodFacts {
    /// Addresses of the node, the first is the primary one.
    pub(crate) host_ips: Vec<String>,
    /// Addresses of the pod; empty until the sandbox has its network.
    pub(crate) pod_ips: Vec<String>,
    /// What the node can give, the value of an unset limit.
    pub(crate) allocatable: Amounts,
}

/// The text of one `fieldRef`.
///
/// # Errors
/// A message in the words of the API when the path is not one that can be read.
pub(crate) fn field(
    pod: &Pod,
    facts: &PodFacts,
    selector: &ObjectFieldSelector,
) -> Result<String, String> {
    let path = selector.field_path.as_str();
    let meta = &pod.metadata;
    if let Some((base, key)) = subscript(path) {
        let map = match base {
            "metadata.annotations" => meta.annotations.as_ref(),
            "metadata.labels" => meta.labels.as_ref(),
            _ => return Err(format!("unsupported pod field: {path}")),
        };
        return Ok(map.and_then(|m| m.get(key)).cloned().unwrap_or_default());
    }
    let spec = pod.spec.as_ref();
    Ok(match path {
        "metadata.name" => meta.name.clone().unwrap_or_default(),
        "metadata.namespace" => meta.namespace.clone().unwrap_or_default(),
        "metadata.uid" => meta.uid.clone().unwrap_or_default(),
        "metadata.labels" => format_map(meta.labels.as_ref()),
        "metadata.annotations" => format_map(meta.annotations.as_ref()),
        "spec.nodeName" => spec.and_then(|s| s.node_name.clone()).unwrap_or_default(),
        "spec.serviceAccountName" => spec
            .and_then(|s| s.service_account_name.clone())
            .unwrap_or_default(),
        "status.hostIP" => facts.host_ips.first().cloned().unwrap_or_default(),
        "status.hostIPs" => facts.host_ips.join(","),
        "status.podIP" => facts.pod_ips.first().cloned().unwrap_or_default(),
        "status.podIPs" => facts.pod_ips.join(","),
        _ => return Err(format!("unsupported pod field: {path}")),
    })
}

/// `metadata.labels['key']` into its two parts.
fn subscript(path: &str) -> Option<(&str, &str)> {
    let (base, rest) = path.split_once("['")?;
    Some((base, rest.strip_suffix("']")?))
}

/// Lines of `key="value"` sorted by key, the value quoted as Go's `%q` quotes it.
fn format_map(map: Option<&BTreeMap<String, String>>) -> String {
    let mut out = String::new();
    for (key, value) in map.into_iter().flatten() {
        if !out.is_empty() {
            out.push('\n');
        }
        let _ = write!(out, "{key}=\"");
        for c in value.chars() {
            match c {
                '"' => out.push_str("\\\""),
                '\\' => out.push_str("\\\\"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                c if (c as u32) < 0x20 || c == '\u{7f}' => {
                    let _ = write!(out, "\\x{:02x}", c as u32);
                }
                c => out.push(c),
            }
        }
        out.push('"');
    }
    out
}

/// The text of one `resourceFieldRef`; `own` is the container the reference stands in.
///
/// # Errors
/// A message when the container or the resource is not known, or the divisor is not a quantity.
pub(crate) fn resource(
    pod: &Pod,
    facts: &PodFacts,
    selector: &ResourceFieldSelector,
    own: Option<&Container>,
) -> Result<String, String> {
    let container = match selector
        .container_name
        .as_deref()
        .filter(|name| !name.is_empty())
    {
        None => own.ok_or_else(|| "containerName is required here".to_owned())?,
        Some(name) => pod
            .spec
            .iter()
            .flat_map(|s| {
                s.containers
                    .iter()
                    .chain(s.init_containers.iter().flatten())
            })
            .find(|c| c.name == name)
            .ok_or_else(|| format!("container {name} not found"))?,
    };
    let amounts = resources::amounts_of(container.resources.as_ref());
    let (side, name) = selector
        .resource
        .split_once('.')
        .ok_or_else(|| format!("unsupported resource: {}", selector.resource))?;
    let amounts = match side {
        "limits" => &amounts.limits,
        "requests" => &amounts.requests,
        _ => {
            return Err(format!(
                "unsupported container resource : {}",
                selector.resource
            ));
        }
    };
    // An unset limit reads as what the node has to give: more can never be used.
    let value = match amounts.get(name) {
        Some(value) => value,
        None if side == "limits" => facts.allocatable.get(name).unwrap_or(0),
        None => 0,
    };
    let divisor = match selector.divisor.as_ref().map(|q| q.0.as_str()) {
        None | Some("" | "0") => 1000,
        Some(text) => resources::parse_quantity(text)
            .filter(|v| *v > 0)
            .ok_or_else(|| format!("invalid divisor {text:?}"))?,
    };
    Ok(((value + divisor - 1) / divisor).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod() -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": "web-0", "namespace": "shop", "uid": "u1",
                "labels": {"app": "web", "tier": "a\"b"}, "annotations": {"note": "two\nlines"}},
            "spec": {"nodeName": "n1", "serviceAccountName": "sa", "containers": [
                {"name": "main", "resources": {"limits": {"cpu": "1500m", "memory": "100Mi"}, "requests": {"cpu": "250m"}}},
                {"name": "side"}]}
        }))
        .unwrap()
    }

    #[test]
    fn fields_read_as_the_api_names_them() {
        let facts = PodFacts {
            host_ips: vec!["10.0.0.1".into()],
            pod_ips: vec!["10.1.0.2".into()],
            ..PodFacts::default()
        };
        let read = |path: &str| {
            field(
                &pod(),
                &facts,
                &ObjectFieldSelector {
                    field_path: path.into(),
                    ..ObjectFieldSelector::default()
                },
            )
        };
        for (path, expected) in [
            ("metadata.name", "web-0"),
            ("metadata.namespace", "shop"),
            ("metadata.uid", "u1"),
            ("metadata.labels['app']", "web"),
            ("metadata.labels['none']", ""),
            ("metadata.labels", "app=\"web\"\ntier=\"a\\\"b\""),
            ("metadata.annotations", "note=\"two\\nlines\""),
            ("spec.nodeName", "n1"),
            ("spec.serviceAccountName", "sa"),
            ("status.hostIP", "10.0.0.1"),
            ("status.podIP", "10.1.0.2"),
            ("status.podIPs", "10.1.0.2"),
        ] {
            assert_eq!(read(path).as_deref(), Ok(expected), "{path}");
        }
        assert!(read("spec.containers").is_err());
        assert!(read("spec.x['y']").is_err());
    }

    #[test]
    fn resources_round_up_to_whole_divisors_and_fall_back_to_the_node() {
        let pod = pod();
        let facts = PodFacts {
            allocatable: Amounts::from_pairs([("cpu", "2"), ("memory", "1Gi")]),
            ..PodFacts::default()
        };
        let own = &pod.spec.as_ref().unwrap().containers[0];
        let read = |resource_name: &str, divisor: &str, container: &str| {
            resource(
                &pod,
                &facts,
                &serde_json::from_value(
                    json!({"resource": resource_name, "divisor": divisor, "containerName": container}),
                )
                .unwrap(),
                Some(own),
            )
        };
        assert_eq!(read("limits.cpu", "0", "").unwrap(), "2");
        assert_eq!(read("limits.cpu", "1m", "").unwrap(), "1500");
        assert_eq!(read("limits.memory", "1Mi", "").unwrap(), "100");
        assert_eq!(read("limits.memory", "", "").unwrap(), "104857600");
        assert_eq!(read("requests.cpu", "1m", "").unwrap(), "250");
        assert_eq!(
            read("requests.memory", "1Mi", "").unwrap(),
            "100",
            "a limit is also the request"
        );
        assert_eq!(read("requests.ephemeral-storage", "1Mi", "").unwrap(), "0");
        assert_eq!(read("limits.memory", "1Mi", "side").unwrap(), "1024");
        assert!(read("limits.cpu", "1", "nobody").is_err());
    }
}
