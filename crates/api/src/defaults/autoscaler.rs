//! Defaults of horizontal pod autoscalers.

use crate::values::{at, copy, ensure, field_mut, fill, items};
use serde_json::{Value, json};

/// Fill in an autoscaler in its stored form, `autoscaling/v2`.
pub(crate) fn autoscaler(object: &mut Value) {
    let spec = ensure(object, "spec");
    fill(spec, "minReplicas", 1);
    if items(spec, &["metrics"]).is_empty() {
        let cpu = json!([{
            "type": "Resource",
            "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}},
        }]);
        crate::values::set(spec, "metrics", cpu);
    }
    let Some(behavior) = field_mut(spec, "behavior") else {
        return;
    };
    let percent = json!({"type": "Percent", "value": 100, "periodSeconds": 15});
    let pods = json!({"type": "Pods", "value": 4, "periodSeconds": 15});
    let up = json!({"stabilizationWindowSeconds": 0, "selectPolicy": "Max", "policies": [pods, percent]});
    let down = json!({"selectPolicy": "Max", "policies": [percent]});
    for (field, defaults) in [("scaleUp", up), ("scaleDown", down)] {
        let rules = ensure(behavior, field);
        for field in ["stabilizationWindowSeconds", "selectPolicy", "policies"] {
            if at(rules, &[field]).is_none() {
                copy(rules, &defaults, field);
            }
        }
    }
}
