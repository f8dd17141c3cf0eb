//! The scopes of quotas.

use super::{Amounts, amounts, items, text};
use serde_json::Value;

/// Is a pod in a scope?
pub(super) fn takes_pod(scope: &str, operator: &str, values: &[Value], pod: &Value) -> bool {
    match scope {
        "Terminating" => terminating(pod),
        "NotTerminating" => !terminating(pod),
        "BestEffort" => best_effort(pod),
        "NotBestEffort" => !best_effort(pod),
        "PriorityClass" => {
            let class = text(&pod["spec"]["priorityClassName"]);
            let class: &[&str] = if class.is_empty() { &[] } else { &[class] };
            selects(operator, values, class)
        }
        "CrossNamespacePodAffinity" => crosses_namespaces(pod),
        _ => false,
    }
}

/// Is a claim in a scope?
pub(super) fn takes_claim(scope: &str, operator: &str, values: &[Value], claim: &Value) -> bool {
    if scope != "VolumeAttributesClass" {
        return false;
    }
    let status = &claim["status"];
    let names: Vec<&str> = [
        &claim["spec"]["volumeAttributesClassName"],
        &status["currentVolumeAttributesClassName"],
        &status["modifyVolumeStatus"]["targetVolumeAttributesClassName"],
    ]
    .into_iter()
    .map(text)
    .filter(|name| !name.is_empty())
    .collect();
    selects(operator, values, &names)
}

fn selects(operator: &str, values: &[Value], names: &[&str]) -> bool {
    let listed = |name: &&str| values.iter().any(|value| value == *name);
    match operator {
        "Exists" => !names.is_empty(),
        "DoesNotExist" => names.is_empty(),
        "In" => names.iter().any(listed),
        "NotIn" => names.is_empty() || names.iter().any(|name| !listed(name)),
        _ => false,
    }
}

fn terminating(pod: &Value) -> bool {
    pod["spec"]["activeDeadlineSeconds"]
        .as_i64()
        .is_some_and(|seconds| seconds >= 0)
}

/// A pod without any request or limit of CPU or memory.
fn best_effort(pod: &Value) -> bool {
    if let Some(class) = pod["status"]["qosClass"]
        .as_str()
        .filter(|own| !own.is_empty())
    {
        return class == "BestEffort";
    }
    let spec = &pod["spec"];
    let sized = |amounts: &Amounts| {
        let some = |name: &str| amounts.get(name).is_some_and(|own| own.signum() > 0);
        some("cpu") || some("memory")
    };
    let asks = |resources: &Value| {
        sized(&amounts(&resources["requests"])) || sized(&amounts(&resources["limits"]))
    };
    let containers = items(&spec["containers"]).iter();
    let mut all = containers.chain(items(&spec["initContainers"]));
    !asks(&spec["resources"]) && !all.any(|container| asks(&container["resources"]))
}

fn crosses_namespaces(pod: &Value) -> bool {
    let crosses = |term: &Value| {
        !items(&term["namespaces"]).is_empty() || !term["namespaceSelector"].is_null()
    };
    let affinity = &pod["spec"]["affinity"];
    ["podAffinity", "podAntiAffinity"].into_iter().any(|kind| {
        let kind = &affinity[kind];
        let required = items(&kind["requiredDuringSchedulingIgnoredDuringExecution"]);
        let preferred = items(&kind["preferredDuringSchedulingIgnoredDuringExecution"]);
        required.iter().any(crosses) || preferred.iter().any(|own| crosses(&own["podAffinityTerm"]))
    })
}
