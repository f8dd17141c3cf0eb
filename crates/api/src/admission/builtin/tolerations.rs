//! Pods wait a while for a node that does not answer.

use crate::values::{ensure, fill, items, text};
use serde_json::{Value, json};

/// A pod stays five minutes on a node that does not answer, unless it says otherwise.
pub(super) fn fill_in(pod: &mut Value) {
    let spec = ensure(pod, "spec");
    for key in [
        "node.kubernetes.io/not-ready",
        "node.kubernetes.io/unreachable",
    ] {
        let tolerated = items(spec, &["tolerations"]).iter().any(|toleration| {
            let own = text(toleration, &["key"]);
            (own == key || own.is_empty())
                && matches!(text(toleration, &["effect"]), "" | "NoExecute")
        });
        if tolerated {
            continue;
        }
        fill(spec, "tolerations", json!([]));
        if let Some(list) = spec["tolerations"].as_array_mut() {
            list.push(json!({
                "key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300,
            }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unreachable_nodes_are_tolerated_for_five_minutes_by_default() {
        let mut pod = json!({"spec": {"tolerations": [{"key": "node.kubernetes.io/not-ready", "operator": "Exists"}]}});
        fill_in(&mut pod);
        let list = pod["spec"]["tolerations"].as_array().unwrap();
        assert_eq!(list.len(), 2);
        assert_eq!(list[1]["key"], "node.kubernetes.io/unreachable");
        assert_eq!(list[1]["tolerationSeconds"], 300);
    }
}
