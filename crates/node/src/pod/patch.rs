//! The difference between two statuses of a pod as a strategic merge patch.
//!
//! Only what changed is sent, so that conditions of others (readiness gates) are never overwritten.

use k8s_openapi::api::core::v1::PodStatus;
use serde_json::{Map, Value, json};

use super::status::{DISRUPTION_TARGET, OWN_CONDITIONS};

/// Lists of a status that upstream merges by key: they are replaced as a whole.
const MERGED_LISTS: [&str; 3] = ["podIPs", "hostIPs", "resourceClaimStatuses"];

/// The patch that turns `from` into `to`; `None` when they are equal.
pub(crate) fn between(uid: &str, from: &PodStatus, to: &PodStatus) -> Option<Value> {
    let object = |status: &PodStatus| match serde_json::to_value(status) {
        Ok(Value::Object(map)) => map,
        _ => Map::new(),
    };
    let (from, to) = (object(from), object(to));
    let mut changes = Map::new();
    for (key, value) in &to {
        if from.get(key) == Some(value) {
            continue;
        }
        let change = match value {
            Value::Array(list) if key == "conditions" => {
                let before = from.get(key).and_then(Value::as_array);
                let own: Vec<Value> = list
                    .iter()
                    .filter(|c| {
                        c["type"]
                            .as_str()
                            .is_some_and(|t| OWN_CONDITIONS.contains(&t) || t == DISRUPTION_TARGET)
                    })
                    .filter(|c| !before.is_some_and(|before| before.contains(c)))
                    .map(|c| {
                        let old = before.and_then(|b| b.iter().find(|o| o["type"] == c["type"]));
                        with_removals(old, c)
                    })
                    .collect();
                if own.is_empty() {
                    continue;
                }
                Value::Array(own)
            }
            Value::Array(list) if MERGED_LISTS.contains(&key.as_str()) => {
                let mut list = list.clone();
                list.insert(0, json!({"$patch": "replace"}));
                Value::Array(list)
            }
            other => other.clone(),
        };
        changes.insert(key.clone(), change);
    }
    for key in from.keys().filter(|key| !to.contains_key(*key)) {
        changes.insert(key.clone(), Value::Null);
    }
    (!changes.is_empty()).then(|| json!({"metadata": {"uid": uid}, "status": changes}))
}

/// A condition in which what it no longer says is taken away.
fn with_removals(old: Option<&Value>, new: &Value) -> Value {
    let mut out = new.clone();
    if let (Some(Value::Object(old)), Some(out)) = (old, out.as_object_mut()) {
        for key in old.keys() {
            if !out.contains_key(key) {
                out.insert(key.clone(), Value::Null);
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(value: Value) -> PodStatus {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn only_what_changed_is_sent() {
        let from = status(
            json!({"phase": "Pending", "reason": "X", "podIPs": [{"ip": "1.1.1.1"}], "conditions": [
            {"type": "Ready", "status": "False", "reason": "ContainersNotReady", "message": "m"},
            {"type": "Initialized", "status": "True"}, {"type": "example.com/gate", "status": "True"}]}),
        );
        let to = status(
            json!({"phase": "Running", "podIPs": [{"ip": "2.2.2.2"}], "conditions": [
            {"type": "Ready", "status": "True"}, {"type": "Initialized", "status": "True"},
            {"type": "example.com/gate", "status": "False"}]}),
        );
        assert_eq!(between("u", &from, &from), None);
        let patch = between("u", &from, &to).unwrap();
        assert_eq!(
            patch,
            json!({"metadata": {"uid": "u"}, "status": {"phase": "Running", "reason": null,
                "podIPs": [{"$patch": "replace"}, {"ip": "2.2.2.2"}],
                "conditions": [{"type": "Ready", "status": "True", "reason": null, "message": null}]}})
        );
    }
}
