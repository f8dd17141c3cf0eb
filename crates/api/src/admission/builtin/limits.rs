//! What a limit range says of containers, pods and claims: defaults and bounds. Pure.

use crate::values::{ensure, fill, items, items_mut, members, set, text};
use consort_object::quantity::Quantity;
use consort_object::quota::{Amounts, amounts, pod_resources};
use serde_json::{Value, json};
use std::fmt::Write as _;

/// Upstream compares in thousandths up to here, in whole amounts beyond.
const MAX_MILLI: i64 = i64::MAX / 1000;

/// Give containers the defaults they leave open. Answers what was done, as the pod's annotation says it.
pub(super) fn fill_in(range: &Value, pod: &mut Value) -> Vec<String> {
    let mut defaults = (Vec::new(), Vec::new());
    for limit in items(range, &["spec", "limits"]) {
        if text(limit, &["type"]) == "Container" {
            defaults.0.extend(members(&limit["defaultRequest"], &[]));
            defaults.1.extend(members(&limit["default"], &[]));
        }
    }
    let mut done = Vec::new();
    if defaults.0.is_empty() && defaults.1.is_empty() {
        return done;
    }
    let Some(spec) = pod.get_mut("spec") else {
        return done;
    };
    for (list, what) in [
        ("containers", "container"),
        ("initContainers", "init container"),
    ] {
        for container in items_mut(spec, list) {
            let own = text(container, &["name"]).to_owned();
            for (field, word, defaults) in [
                ("requests", "request", &defaults.0),
                ("limits", "limit", &defaults.1),
            ] {
                let mut names = Vec::new();
                for (name, value) in defaults {
                    let resources = ensure(container, "resources");
                    fill(resources, field, json!({}));
                    if resources[field].get(*name).is_none() {
                        set(&mut resources[field], name, (*value).clone());
                        names.push(*name);
                    }
                }
                if !names.is_empty() {
                    names.sort_unstable();
                    done.push(format!("{} {word} for {what} {own}", names.join(", ")));
                }
            }
        }
    }
    done
}

/// What a pod does that a limit range does not allow.
pub(super) fn faults_of_pod(range: &Value, pod: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    for limit in items(range, &["spec", "limits"]) {
        match text(limit, &["type"]) {
            "Container" => {
                let containers = items(pod, &["spec", "containers"]).iter();
                for container in containers.chain(items(pod, &["spec", "initContainers"])) {
                    let resources = &container["resources"];
                    let requests = amounts(&resources["requests"]);
                    let limits = amounts(&resources["limits"]);
                    bounds(limit, &requests, Some(&limits), &mut faults);
                }
            }
            "Pod" => {
                let (requests, limits) = (pod_resources(pod, true), pod_resources(pod, false));
                bounds(limit, &requests, Some(&limits), &mut faults);
            }
            _ => {}
        }
    }
    faults
}

/// What a claim does that a limit range does not allow.
pub(super) fn faults_of_claim(range: &Value, claim: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    let requests = amounts(&claim["spec"]["resources"]["requests"]);
    for limit in items(range, &["spec", "limits"]) {
        if text(limit, &["type"]) == "PersistentVolumeClaim" {
            bounds(limit, &requests, None, &mut faults);
        }
    }
    faults
}

/// Claims have no limits: they are held to the bounds by what they request.
fn bounds(limit: &Value, requests: &Amounts, limits: Option<&Amounts>, faults: &mut Vec<String>) {
    let kind = text(limit, &["type"]);
    for (name, bound) in amounts(&limit["min"]) {
        let request = requests.get(&name);
        let own = limits.and_then(|limits| limits.get(&name));
        let said = format!("minimum {name} usage per {kind} is {bound}");
        match (request, own) {
            (None, _) => faults.push(format!("{said}.  No request is specified")),
            (Some(request), _) if less(request, &bound) => {
                faults.push(format!("{said}, but request is {request}"));
            }
            (_, Some(own)) if less(own, &bound) => {
                faults.push(format!("{said}, but limit is {own}"));
            }
            _ => {}
        }
    }
    for (name, bound) in amounts(&limit["max"]) {
        let request = requests.get(&name);
        let said = format!("maximum {name} usage per {kind} is {bound}");
        if let Some(limits) = limits {
            match limits.get(&name) {
                None => {
                    faults.push(format!("{said}.  No limit is specified"));
                    continue;
                }
                Some(own) if less(&bound, own) => {
                    faults.push(format!("{said}, but limit is {own}"));
                    continue;
                }
                Some(_) => {}
            }
        } else if request.is_none() {
            faults.push(format!("{said}.  No request is specified"));
        }
        if let Some(request) = request.filter(|request| less(&bound, request)) {
            faults.push(format!("{said}, but request is {request}"));
        }
    }
    let Some(limits) = limits else {
        return;
    };
    for (name, bound) in amounts(&limit["maxLimitRequestRatio"]) {
        let some = |amounts: &Amounts| amounts.get(&name).filter(|own| !own.is_zero()).copied();
        let mut said = format!("{name} max limit to request ratio per {kind} is {bound}, but ");
        match (some(requests), some(limits)) {
            (None, _) => said.push_str("no request is specified or request is 0"),
            (_, None) => said.push_str("no limit is specified or limit is 0"),
            (Some(request), Some(own)) => {
                let ratio = ratio(&own, &request);
                #[expect(clippy::cast_precision_loss, reason = "as upstream compares them")]
                let most = bound.milli_value() as f64;
                if ratio * 1000.0 <= most {
                    continue;
                }
                // Writing to a string does not fail.
                let _ = write!(said, "provided ratio is {ratio:.6}");
            }
        }
        faults.push(said);
    }
}

#[expect(clippy::cast_precision_loss, reason = "as upstream computes it")]
fn ratio(limit: &Quantity, request: &Quantity) -> f64 {
    if limit.value() <= MAX_MILLI && request.value() <= MAX_MILLI {
        limit.milli_value() as f64 / request.milli_value() as f64
    } else {
        limit.value() as f64 / request.value() as f64
    }
}

fn less(left: &Quantity, right: &Quantity) -> bool {
    left < right
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(resources: &Value) -> Value {
        json!({"spec": {"containers": [{"name": "a", "resources": resources}]}})
    }

    #[test]
    fn bounds_are_told_in_upstreams_words() {
        let range = |limit: Value| json!({"spec": {"limits": [limit]}});
        let cases = [
            (
                json!({"type": "Container", "min": {"cpu": "100m"}}),
                json!({"requests": {"cpu": "50m"}}),
                "minimum cpu usage per Container is 100m, but request is 50m",
            ),
            (
                json!({"type": "Container", "min": {"memory": "6Mi"}}),
                json!({}),
                "minimum memory usage per Container is 6Mi.  No request is specified",
            ),
            (
                json!({"type": "Container", "min": {"cpu": "100m"}}),
                json!({"requests": {"cpu": "100m"}, "limits": {"cpu": "90m"}}),
                "minimum cpu usage per Container is 100m, but limit is 90m",
            ),
            (
                json!({"type": "Container", "max": {"cpu": "1"}}),
                json!({}),
                "maximum cpu usage per Container is 1.  No limit is specified",
            ),
            (
                json!({"type": "Pod", "max": {"cpu": "500m"}}),
                json!({"limits": {"cpu": "600m"}}),
                "maximum cpu usage per Pod is 500m, but limit is 600m",
            ),
            (
                json!({"type": "Container", "max": {"cpu": "500m"}}),
                json!({"requests": {"cpu": "600m"}, "limits": {"cpu": "400m"}}),
                "maximum cpu usage per Container is 500m, but request is 600m",
            ),
            (
                json!({"type": "Container", "maxLimitRequestRatio": {"cpu": "2"}}),
                json!({"requests": {"cpu": "100m"}, "limits": {"cpu": "250m"}}),
                "cpu max limit to request ratio per Container is 2, but provided ratio is 2.500000",
            ),
            (
                json!({"type": "Container", "maxLimitRequestRatio": {"cpu": "2"}}),
                json!({"limits": {"cpu": "250m"}}),
                "cpu max limit to request ratio per Container is 2, but no request is specified or request is 0",
            ),
        ];
        for (limit, resources, fault) in cases {
            assert_eq!(faults_of_pod(&range(limit), &pod(&resources)), [fault]);
        }
        let claim = json!({"spec": {"resources": {"requests": {"storage": "2Gi"}}}});
        let limit = json!({"type": "PersistentVolumeClaim", "max": {"storage": "1Gi"}});
        assert_eq!(
            faults_of_claim(&range(limit), &claim),
            ["maximum storage usage per PersistentVolumeClaim is 1Gi, but request is 2Gi"]
        );
    }

    #[test]
    fn what_a_container_leaves_open_is_filled_in_and_noted() {
        let range = json!({"spec": {"limits": [{"type": "Container",
            "default": {"cpu": "1", "memory": "1Gi"}, "defaultRequest": {"cpu": "500m"}}]}});
        let mut own = pod(&json!({"limits": {"cpu": "2"}}));
        own["spec"]["initContainers"] = json!([{"name": "i"}]);
        assert_eq!(
            fill_in(&range, &mut own),
            [
                "cpu request for container a",
                "memory limit for container a",
                "cpu request for init container i",
                "cpu, memory limit for init container i",
            ]
        );
        assert_eq!(
            own["spec"]["containers"][0]["resources"],
            json!({"limits": {"cpu": "2", "memory": "1Gi"}, "requests": {"cpu": "500m"}})
        );
        assert_eq!(fill_in(&range, &mut own), Vec::<String>::new());
    }
}
