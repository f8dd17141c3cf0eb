//! Between `autoscaling/v1` and `v2`. What `v1` has no field for goes into annotations and comes back
//! from there, in upstream's form.

use crate::values::{at, ensure, field_mut, items, set, take, text};
use serde_json::{Map, Value, json};

const METRICS: &str = "autoscaling.alpha.kubernetes.io/metrics";
const CURRENT: &str = "autoscaling.alpha.kubernetes.io/current-metrics";
const CONDITIONS: &str = "autoscaling.alpha.kubernetes.io/conditions";
const BEHAVIOR: &str = "autoscaling.alpha.kubernetes.io/behavior";

/// From the stored form to `v1`.
pub(super) fn to_v1(mut object: Value) -> Value {
    set(&mut object, "apiVersion", "autoscaling/v1");
    let mut notes: Vec<(&str, String)> = Vec::new();
    let spec = ensure(&mut object, "spec");
    let metrics = take(spec, "metrics");
    let (cpu, others) = split(metrics.as_ref(), "target");
    if let Some(percent) = cpu {
        set(spec, "targetCPUUtilizationPercentage", percent);
    }
    if !others.is_empty() {
        let old: Vec<Value> = others.iter().map(|one| metric_to_v1(one)).collect();
        notes.push((METRICS, Value::Array(old).to_string()));
    }
    if let Some(behavior) = take(spec, "behavior").filter(Value::is_object) {
        notes.push((BEHAVIOR, behavior_to_note(&behavior).to_string()));
    }
    if let Some(status) = field_mut(&mut object, "status") {
        let (cpu, _) = split(status.get("currentMetrics"), "current");
        let measured = take(status, "currentMetrics");
        if let Some(percent) = cpu {
            set(status, "currentCPUUtilizationPercentage", percent);
        }
        // The annotation has all that was measured, processor use included.
        let measured = measured.as_ref().and_then(Value::as_array);
        if let Some(measured) = measured.filter(|list| !list.is_empty()) {
            let old: Vec<Value> = measured.iter().map(measured_to_v1).collect();
            notes.push((CURRENT, Value::Array(old).to_string()));
        }
        if let Some(conditions) = take(status, "conditions")
            && conditions.as_array().is_some_and(|list| !list.is_empty())
        {
            notes.push((CONDITIONS, conditions.to_string()));
        }
        for field in ["currentReplicas", "desiredReplicas"] {
            crate::values::fill(status, field, 0);
        }
    }
    if !notes.is_empty() {
        let annotations = ensure(ensure(&mut object, "metadata"), "annotations");
        for (key, text) in notes {
            set(annotations, key, text);
        }
    }
    object
}

/// From `v1` to the stored form.
pub(super) fn to_v2(mut object: Value) -> Value {
    set(&mut object, "apiVersion", "autoscaling/v2");
    let mut note = |key: &str| -> Option<Value> {
        let meta = field_mut(&mut object, "metadata")?;
        let annotations = field_mut(meta, "annotations")?;
        let text = take(annotations, key)?;
        if annotations.as_object().is_some_and(Map::is_empty) {
            take(meta, "annotations");
        }
        // What is no JSON was not written by a server; nothing can be made of it.
        serde_json::from_str(text.as_str()?).ok()
    };
    let metrics = note(METRICS);
    let measured = note(CURRENT);
    let conditions = note(CONDITIONS);
    let behavior = note(BEHAVIOR);
    let spec = ensure(&mut object, "spec");
    let mut all: Vec<Value> = Vec::new();
    if let Some(Value::Array(list)) = metrics {
        all.extend(list.iter().map(metric_to_v2));
    }
    if let Some(percent) = take(spec, "targetCPUUtilizationPercentage").filter(Value::is_number) {
        all.push(json!({
            "type": "Resource",
            "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": percent}},
        }));
    }
    if !all.is_empty() {
        set(spec, "metrics", all);
    }
    if let Some(behavior) = behavior.filter(Value::is_object) {
        set(spec, "behavior", behavior_from_note(&behavior));
    }
    if let Some(status) = field_mut(&mut object, "status") {
        let percent = take(status, "currentCPUUtilizationPercentage").filter(Value::is_number);
        let measured: Option<Vec<Value>> = match (measured, percent) {
            (Some(Value::Array(list)), _) => Some(list.iter().map(measured_to_v2).collect()),
            (_, Some(percent)) => Some(vec![json!({
                "type": "Resource",
                "resource": {"name": "cpu", "current": {"averageUtilization": percent}},
            })]),
            _ => None,
        };
        if let Some(measured) = measured {
            set(status, "currentMetrics", measured);
        }
        if let Some(conditions @ Value::Array(_)) = conditions {
            set(status, "conditions", conditions);
        }
    }
    object
}

/// The percentage of processor use, which `v1` has a field for, and the other metrics.
fn split<'a>(metrics: Option<&'a Value>, side: &str) -> (Option<Value>, Vec<&'a Value>) {
    let mut cpu = None;
    let mut others = Vec::new();
    for metric in metrics.and_then(Value::as_array).into_iter().flatten() {
        let percent = at(metric, &["resource", side, "averageUtilization"]);
        match percent {
            Some(percent) if text(metric, &["resource", "name"]) == "cpu" && cpu.is_none() => {
                cpu = Some(percent.clone());
            }
            _ => others.push(metric),
        }
    }
    (cpu, others)
}

/// Field of `v1`, path in `v2` below the metric's source.
type Pairs = &'static [(&'static str, &'static [&'static str])];

/// How the fields of each source are called, and below which name its targets stand.
fn pairs(kind: &str) -> (&'static str, Pairs) {
    match kind {
        "Object" => (
            "object",
            &[
                ("target", &["describedObject"]),
                ("metricName", &["metric", "name"]),
                ("selector", &["metric", "selector"]),
                ("targetValue", &["target", "value"]),
                ("averageValue", &["target", "averageValue"]),
            ],
        ),
        "Pods" => (
            "pods",
            &[
                ("metricName", &["metric", "name"]),
                ("selector", &["metric", "selector"]),
                ("targetAverageValue", &["target", "averageValue"]),
            ],
        ),
        "External" => (
            "external",
            &[
                ("metricName", &["metric", "name"]),
                ("metricSelector", &["metric", "selector"]),
                ("targetValue", &["target", "value"]),
                ("targetAverageValue", &["target", "averageValue"]),
            ],
        ),
        "ContainerResource" => (
            "containerResource",
            &[
                ("name", &["name"]),
                ("container", &["container"]),
                (
                    "targetAverageUtilization",
                    &["target", "averageUtilization"],
                ),
                ("targetAverageValue", &["target", "averageValue"]),
            ],
        ),
        _ => (
            "resource",
            &[
                ("name", &["name"]),
                (
                    "targetAverageUtilization",
                    &["target", "averageUtilization"],
                ),
                ("targetAverageValue", &["target", "averageValue"]),
            ],
        ),
    }
}

/// `v1` calls what is measured `current...` where it calls what is wanted `target...`.
fn measured_name(kind: &str, field: &'static str) -> &'static str {
    match (kind, field) {
        (_, "targetValue") => "currentValue",
        (_, "targetAverageValue") => "currentAverageValue",
        (_, "targetAverageUtilization") => "currentAverageUtilization",
        (_, other) => other,
    }
}

fn flatten(metric: &Value, side: &'static str) -> Value {
    let kind = text(metric, &["type"]);
    let (field, pairs) = pairs(kind);
    let source = &metric[field];
    let mut old = json!({});
    for (name, path) in pairs {
        let (name, path) = sided(kind, name, path, side);
        if let Some(value) = at(source, &path) {
            set(&mut old, name, value.clone());
        }
    }
    if kind == "Object" && side == "target" {
        crate::values::fill(&mut old, "targetValue", "0");
    }
    json!({"type": kind, field: old})
}

fn sided(
    kind: &str,
    name: &'static str,
    path: &'static [&'static str],
    side: &'static str,
) -> (&'static str, Vec<&'static str>) {
    let moved = path.first() == Some(&"target");
    let mut path = path.to_vec();
    if moved {
        path[0] = side;
    }
    let name = if side == "current" && moved {
        measured_name(kind, name)
    } else {
        name
    };
    (name, path)
}

fn unfold(old: &Value, side: &'static str) -> Value {
    let kind = text(old, &["type"]);
    let (field, pairs) = pairs(kind);
    let mut source = json!({});
    for (name, path) in pairs {
        let (name, path) = sided(kind, name, path, side);
        let Some(value) = at(&old[field], &[name]) else {
            continue;
        };
        // A per-pod target of an object's metric leaves the whole one at zero.
        if kind == "Object"
            && name == "targetValue"
            && value == "0"
            && at(&old[field], &["averageValue"]).is_some()
        {
            continue;
        }
        let (last, parents) = path.split_last().unwrap_or((&"", &[]));
        let place = parents
            .iter()
            .fold(&mut source, |place, parent| ensure(place, parent));
        set(place, last, value.clone());
    }
    if side == "target" {
        let target = ensure(&mut source, "target");
        let kind = if at(target, &["averageUtilization"]).is_some() {
            "Utilization"
        } else if at(target, &["averageValue"]).is_some() {
            "AverageValue"
        } else {
            "Value"
        };
        set(target, "type", kind);
    }
    json!({"type": kind, field: source})
}

fn metric_to_v1(metric: &Value) -> Value {
    flatten(metric, "target")
}

fn metric_to_v2(old: &Value) -> Value {
    unfold(old, "target")
}

fn measured_to_v1(metric: &Value) -> Value {
    flatten(metric, "current")
}

fn measured_to_v2(old: &Value) -> Value {
    unfold(old, "current")
}

/// The annotation's field names are those of upstream's internal form: each begins upper case.
fn behavior_to_note(behavior: &Value) -> Value {
    let rules = |field: &str| {
        let rules = at(behavior, &[field])?;
        let policies: Vec<Value> = items(rules, &["policies"])
            .iter()
            .map(|policy| {
                json!({
                    "Type": policy["type"], "Value": policy["value"],
                    "PeriodSeconds": policy["periodSeconds"],
                })
            })
            .collect();
        Some(json!({
            "StabilizationWindowSeconds": rules["stabilizationWindowSeconds"],
            "SelectPolicy": rules["selectPolicy"],
            "Policies": policies,
            "Tolerance": rules["tolerance"],
        }))
    };
    json!({"ScaleUp": rules("scaleUp"), "ScaleDown": rules("scaleDown")})
}

fn behavior_from_note(note: &Value) -> Value {
    let rules = |field: &str| {
        let rules = at(note, &[field])?;
        let mut new = json!({});
        for (from, to) in [
            ("StabilizationWindowSeconds", "stabilizationWindowSeconds"),
            ("SelectPolicy", "selectPolicy"),
            ("Tolerance", "tolerance"),
        ] {
            if let Some(value) = at(rules, &[from]) {
                set(&mut new, to, value.clone());
            }
        }
        let policies: Vec<Value> = items(rules, &["Policies"])
            .iter()
            .map(|policy| {
                json!({
                    "type": policy["Type"], "value": policy["Value"],
                    "periodSeconds": policy["PeriodSeconds"],
                })
            })
            .collect();
        set(&mut new, "policies", policies);
        Some(new)
    };
    let mut behavior = json!({});
    for (from, to) in [("ScaleUp", "scaleUp"), ("ScaleDown", "scaleDown")] {
        if let Some(rules) = rules(from) {
            set(&mut behavior, to, rules);
        }
    }
    behavior
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_old_version_has_no_field_for_survives_the_way_there_and_back() {
        let stored = json!({
            "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": "a"},
            "spec": {
                "maxReplicas": 3,
                "metrics": [
                    {"type": "Pods", "pods": {"metric": {"name": "requests"}, "target": {"averageValue": "1k", "type": "AverageValue"}}},
                    {"type": "Object", "object": {"describedObject": {"kind": "Ingress", "name": "i"},
                        "metric": {"name": "rate"}, "target": {"averageValue": "5", "type": "AverageValue"}}},
                    {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}},
                ],
                "behavior": {"scaleDown": {"selectPolicy": "Max", "policies": [{"type": "Percent", "value": 10, "periodSeconds": 60}]}},
            },
            "status": {"desiredReplicas": 1, "currentReplicas": 1,
                "currentMetrics": [{"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": 7, "averageValue": "10m"}}}],
                "conditions": [{"type": "AbleToScale", "status": "True"}]},
        });
        let old = to_v1(stored.clone());
        assert_eq!(old["spec"]["targetCPUUtilizationPercentage"], 50);
        assert_eq!(old["status"]["currentCPUUtilizationPercentage"], 7);
        assert!(old["spec"].get("metrics").is_none());
        assert_eq!(to_v2(old), stored);
    }
}
