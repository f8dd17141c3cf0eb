//! What pods use.

use super::{Amounts, add, amounts, items, one, text};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use std::collections::BTreeMap;

const NAMES: [&str; 10] = [
    "pods",
    "cpu",
    "memory",
    "ephemeral-storage",
    "requests.cpu",
    "requests.memory",
    "requests.ephemeral-storage",
    "limits.cpu",
    "limits.memory",
    "limits.ephemeral-storage",
];

/// A quota of these wants every container to say its share. Upstream calls it a mistake that stays.
const DEMANDED: [&str; 6] = [
    "cpu",
    "memory",
    "requests.cpu",
    "requests.memory",
    "limits.cpu",
    "limits.memory",
];

pub(super) fn measures(name: &str) -> bool {
    NAMES.contains(&name)
        || name.starts_with("hugepages-")
        || name
            .strip_prefix("requests.")
            .is_some_and(|own| own.starts_with("hugepages-") || !native(name))
}

/// Resources of Kubernetes itself, as opposed to extended ones (`example.com/gpu`).
fn native(name: &str) -> bool {
    !name.contains('/') || name.contains("kubernetes.io/")
}

pub(super) fn usage(pod: &Value, now: Timestamp, used: &mut Amounts) {
    if !runs(pod, now) {
        return;
    }
    used.insert("pods".into(), one());
    add(used, &named(&resources(pod, true), &resources(pod, false)));
}

/// Requests and limits by the names quotas have for them.
fn named(requests: &Amounts, limits: &Amounts) -> Amounts {
    let mut used = Amounts::new();
    for (name, amount) in requests {
        let plain = matches!(name.as_str(), "cpu" | "memory" | "ephemeral-storage");
        if plain || name.starts_with("hugepages-") {
            used.insert(name.clone(), *amount);
        }
        if plain || name.starts_with("hugepages-") || !native(name) {
            used.insert(format!("requests.{name}"), *amount);
        }
    }
    for name in ["cpu", "memory", "ephemeral-storage"] {
        if let Some(amount) = limits.get(name) {
            used.insert(format!("limits.{name}"), *amount);
        }
    }
    used
}

/// Is the pod neither finished nor past its time to end?
fn runs(pod: &Value, now: Timestamp) -> bool {
    if matches!(text(&pod["status"]["phase"]), "Succeeded" | "Failed") {
        return false;
    }
    let meta = &pod["metadata"];
    let ends: Option<Timestamp> = text(&meta["deletionTimestamp"]).parse().ok();
    let grace = meta["deletionGracePeriodSeconds"].as_i64();
    let (Some(ends), Some(grace)) = (ends, grace) else {
        return true;
    };
    let last = ends.checked_add(SignedDuration::from_secs(grace));
    last.is_ok_and(|last| now <= last)
}

/// What a pod as a whole requests, or is limited to: its containers and sidecars together, or what its
/// greediest init container needs with the sidecars started before it; what it says for itself as a
/// whole instead; and its overhead.
pub fn resources(pod: &Value, requests: bool) -> Amounts {
    let spec = &pod["spec"];
    let field = if requests { "requests" } else { "limits" };
    let own = |container: &Value| {
        let mut own = amounts(&container["resources"][field]);
        if requests {
            // What was granted counts until it is taken back.
            let granted = ["containerStatuses", "initContainerStatuses"]
                .into_iter()
                .flat_map(|list| items(&pod["status"][list]))
                .find(|status| status["name"] == container["name"])
                .map(|status| amounts(&status["allocatedResources"]));
            largest(&mut own, &granted.unwrap_or_default());
        }
        own
    };
    let mut sum = Amounts::new();
    for container in items(&spec["containers"]) {
        add(&mut sum, &own(container));
    }
    let (mut sidecars, mut starting) = (Amounts::new(), Amounts::new());
    for container in items(&spec["initContainers"]) {
        let mut need = own(container);
        if container["restartPolicy"] == "Always" {
            add(&mut sum, &need);
            add(&mut sidecars, &need);
            need = sidecars.clone();
        } else {
            add(&mut need, &sidecars);
        }
        largest(&mut starting, &need);
    }
    largest(&mut sum, &starting);
    for (name, amount) in amounts(&spec["resources"][field]) {
        if matches!(name.as_str(), "cpu" | "memory") || name.starts_with("hugepages-") {
            sum.insert(name, amount);
        }
    }
    let mut overhead = amounts(&spec["overhead"]);
    if !requests {
        overhead.retain(|name, _| sum.get(name).is_some_and(|own| !own.is_zero()));
    }
    add(&mut sum, &overhead);
    sum
}

fn largest(to: &mut Amounts, other: &Amounts) {
    for (name, amount) in other {
        let own = to.entry(name.clone()).or_insert(*amount);
        *own = (*own).max(*amount);
    }
}

/// The names among `names` that some containers of a pod must say and don't, with those containers:
/// `must specify limits.cpu for: a,b; requests.memory for: b`. None if nothing is missing.
pub fn unspecified(names: &[&str], pod: &Value) -> Option<String> {
    let mut missing: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let spec = &pod["spec"];
    let containers = items(&spec["containers"]).iter();
    for container in containers.chain(items(&spec["initContainers"])) {
        let resources = &container["resources"];
        let said = named(
            &amounts(&resources["requests"]),
            &amounts(&resources["limits"]),
        );
        for name in names.iter().filter(|name| DEMANDED.contains(name)) {
            if !said.contains_key(*name) {
                missing
                    .entry(name)
                    .or_default()
                    .push(text(&container["name"]));
            }
        }
    }
    if missing.is_empty() {
        return None;
    }
    let parts: Vec<String> = missing
        .into_iter()
        .map(|(name, mut containers)| {
            containers.sort_unstable();
            containers.dedup();
            format!("{name} for: {}", containers.join(","))
        })
        .collect();
    Some(format!("must specify {}", parts.join("; ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn shown(amounts: &Amounts) -> Vec<String> {
        amounts
            .iter()
            .map(|(name, own)| format!("{name}={own}"))
            .collect()
    }

    #[test]
    fn a_pod_needs_its_containers_or_its_greediest_start_and_its_overhead() {
        let asks = |cpu: &str| json!({"requests": {"cpu": cpu}});
        let mut pod = json!({"spec": {
            "containers": [{"name": "a", "resources": asks("1")}, {"name": "b", "resources": asks("500m")}],
            "initContainers": [
                {"name": "side", "restartPolicy": "Always", "resources": asks("250m")},
                {"name": "first", "resources": asks("2")},
            ],
        }});
        assert_eq!(shown(&resources(&pod, true)), ["cpu=2250m"]);
        pod["spec"]["initContainers"][1]["resources"] = asks("100m");
        assert_eq!(shown(&resources(&pod, true)), ["cpu=1750m"]);
        pod["spec"]["overhead"] = json!({"cpu": "50m"});
        assert_eq!(shown(&resources(&pod, true)), ["cpu=1800m"]);
        assert_eq!(shown(&resources(&pod, false)), Vec::<String>::new());
        pod["spec"]["resources"] = asks("4");
        assert_eq!(shown(&resources(&pod, true)), ["cpu=4050m"]);
    }

    #[test]
    fn a_finished_pod_uses_only_its_place_among_the_stored_ones() {
        let mut pod = json!({"spec": {"containers": [{"name": "a", "resources": {
            "requests": {"cpu": "1", "example.com/gpu": "2"}, "limits": {"memory": "1Gi"}}}]}});
        let used = |pod: &Value| {
            let now = "2026-01-01T00:01:00Z".parse().unwrap();
            shown(&super::super::usage("", "pods", pod, now))
        };
        assert_eq!(
            used(&pod),
            [
                "count/pods=1",
                "cpu=1",
                "limits.memory=1Gi",
                "pods=1",
                "requests.cpu=1",
                "requests.example.com/gpu=2"
            ]
        );
        pod["status"]["phase"] = "Failed".into();
        assert_eq!(used(&pod), ["count/pods=1"]);
        pod["status"]["phase"] = "Running".into();
        pod["metadata"] = json!({"deletionTimestamp": "2026-01-01T00:00:00Z",
            "deletionGracePeriodSeconds": 30});
        assert_eq!(used(&pod), ["count/pods=1"]);
    }

    #[test]
    fn a_quota_of_compute_wants_every_container_to_say_its_share() {
        let pod = json!({"spec": {
            "containers": [{"name": "b"}, {"name": "a", "resources": {"requests": {"cpu": "1"}}}],
            "initContainers": [{"name": "i", "resources": {"limits": {"memory": "1"}}}],
        }});
        assert_eq!(
            unspecified(&["requests.cpu", "limits.memory", "pods"], &pod).unwrap(),
            "must specify limits.memory for: a,b; requests.cpu for: b,i"
        );
        assert_eq!(
            unspecified(&["pods", "requests.ephemeral-storage"], &pod),
            None
        );
    }
}
