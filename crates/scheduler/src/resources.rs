//! Amounts of what nodes have and pods ask for.

use std::collections::BTreeMap;

use consort_object::quantity::Quantity as Amount;
use k8s_openapi::api::core::v1::{Container, PodSpec};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

/// Requests of a container that names none, for scoring only, as upstream assumes them: without
/// them all such pods would land on one node.
const ASSUMED_CPU_MILLI: i64 = 100;
const ASSUMED_MEMORY_BYTES: i64 = 200 << 20;

/// An amount of every resource.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resources {
    /// CPU in thousandths of a core.
    pub cpu_milli: i64,
    /// Memory in bytes.
    pub memory_bytes: i64,
    /// Local ephemeral storage in bytes.
    pub ephemeral_bytes: i64,
    /// Pods.
    pub pods: i64,
    /// Everything else, by resource name, in units.
    pub extended: BTreeMap<String, i64>,
}

impl Resources {
    /// Reads a resource list. A quantity that is not one counts as nothing: the API does not accept
    /// such objects.
    pub fn from_list(list: Option<&BTreeMap<String, Quantity>>) -> Self {
        let mut resources = Self::default();
        for (name, quantity) in list.into_iter().flatten() {
            let Ok(amount) = quantity.0.parse::<Amount>() else {
                continue;
            };
            match name.as_str() {
                "cpu" => resources.cpu_milli = amount.milli_value(),
                "memory" => resources.memory_bytes = amount.value(),
                "ephemeral-storage" => resources.ephemeral_bytes = amount.value(),
                "pods" => resources.pods = amount.value(),
                _ => {
                    resources.extended.insert(name.clone(), amount.value());
                }
            }
        }
        resources
    }

    /// Adds `other` to these.
    pub fn add(&mut self, other: &Self) {
        self.cpu_milli = self.cpu_milli.saturating_add(other.cpu_milli);
        self.memory_bytes = self.memory_bytes.saturating_add(other.memory_bytes);
        self.ephemeral_bytes = self.ephemeral_bytes.saturating_add(other.ephemeral_bytes);
        self.pods = self.pods.saturating_add(other.pods);
        for (name, amount) in &other.extended {
            let own = self.extended.entry(name.clone()).or_default();
            *own = own.saturating_add(*amount);
        }
    }

    /// Takes `other` from these.
    pub fn subtract(&mut self, other: &Self) {
        self.cpu_milli = self.cpu_milli.saturating_sub(other.cpu_milli);
        self.memory_bytes = self.memory_bytes.saturating_sub(other.memory_bytes);
        self.ephemeral_bytes = self.ephemeral_bytes.saturating_sub(other.ephemeral_bytes);
        self.pods = self.pods.saturating_sub(other.pods);
        for (name, amount) in &other.extended {
            if let Some(own) = self.extended.get_mut(name) {
                *own = own.saturating_sub(*amount);
                if *own == 0 {
                    self.extended.remove(name);
                }
            }
        }
    }

    fn at_least(&mut self, other: &Self) {
        self.cpu_milli = self.cpu_milli.max(other.cpu_milli);
        self.memory_bytes = self.memory_bytes.max(other.memory_bytes);
        self.ephemeral_bytes = self.ephemeral_bytes.max(other.ephemeral_bytes);
        for (name, amount) in &other.extended {
            let own = self.extended.entry(name.clone()).or_default();
            *own = (*own).max(*amount);
        }
    }
}

/// What a pod asks a node for, and what it counts as when nodes are compared.
///
/// Containers run together and add up; an init container runs alone but beside the sidecars (init
/// containers that restart always) started before it; the pod needs the larger of the two
/// (upstream's pod resource helpers). Pod-level requests replace the sum; overhead is added.
pub(crate) fn of_pod(spec: &PodSpec) -> (Resources, Resources) {
    let requests = |container: &Container| {
        let list = container
            .resources
            .as_ref()
            .and_then(|r| r.requests.as_ref());
        Resources::from_list(list)
    };
    let assumed = |container: &Container| {
        let mut own = requests(container);
        if own.cpu_milli == 0 {
            own.cpu_milli = ASSUMED_CPU_MILLI;
        }
        if own.memory_bytes == 0 {
            own.memory_bytes = ASSUMED_MEMORY_BYTES;
        }
        own
    };
    (total(spec, &requests), total(spec, &assumed))
}

fn total(spec: &PodSpec, of: &dyn Fn(&Container) -> Resources) -> Resources {
    let mut running = Resources::default();
    for container in &spec.containers {
        running.add(&of(container));
    }
    let mut sidecars = Resources::default();
    let mut starting = Resources::default();
    for container in spec.init_containers.iter().flatten() {
        let mut own = of(container);
        if container.restart_policy.as_deref() == Some("Always") {
            sidecars.add(&own);
            starting.at_least(&sidecars);
        } else {
            own.add(&sidecars);
            starting.at_least(&own);
        }
    }
    running.add(&sidecars);
    running.at_least(&starting);
    if let Some(pod_level) = spec.resources.as_ref().and_then(|r| r.requests.as_ref()) {
        let own = Resources::from_list(Some(pod_level));
        if pod_level.contains_key("cpu") {
            running.cpu_milli = own.cpu_milli;
        }
        if pod_level.contains_key("memory") {
            running.memory_bytes = own.memory_bytes;
        }
    }
    running.add(&Resources::from_list(spec.overhead.as_ref()));
    running.pods = 1;
    running
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn container(cpu: &str, sidecar: bool) -> serde_json::Value {
        let mut container = json!({"name": "c", "resources": {"requests": {"cpu": cpu}}});
        if sidecar {
            container["restartPolicy"] = json!("Always");
        }
        container
    }

    #[test]
    fn init_containers_count_beside_the_sidecars_started_before_them() {
        let spec: PodSpec = serde_json::from_value(json!({
            "containers": [container("100m", false), container("200m", false)],
            "initContainers": [
                container("50m", true), container("1", false), container("50m", true), container("10m", false)],
        }))
        .unwrap();
        // Running: 300 + 2 x 50; starting: 1000 beside the first sidecar.
        assert_eq!(of_pod(&spec).0.cpu_milli, 1050);
    }

    #[test]
    fn containers_without_requests_count_when_nodes_are_compared_only() {
        let spec: PodSpec = serde_json::from_value(json!({"containers": [{"name": "c"}]})).unwrap();
        let (asked, assumed) = of_pod(&spec);
        assert_eq!(asked.cpu_milli, 0);
        assert_eq!(assumed.cpu_milli, 100);
    }
}
