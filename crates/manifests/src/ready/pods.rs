//! What keeps pods from working, in a line each.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::identity::text;
use crate::kinds::items;

/// The pods of a workload that are in trouble.
#[derive(Default)]
pub(super) struct Troubles(BTreeMap<String, String>);

impl Troubles {
    /// Takes note of how a pod is.
    pub(super) fn see(&mut self, pod: &Value) {
        let name = text(pod, &["metadata", "name"]);
        match trouble(pod) {
            Some(trouble) if pod["metadata"].get("deletionTimestamp").is_none() => {
                self.0.insert(name.to_owned(), trouble);
            }
            _ => {
                self.0.remove(name);
            }
        }
    }

    /// Forgets a pod.
    pub(super) fn forget(&mut self, pod: &Value) {
        self.0.remove(text(pod, &["metadata", "name"]));
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// All of it in a line: pods with the same trouble are told once.
    pub(super) fn told(&self) -> Option<String> {
        let mut by_trouble: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (name, trouble) in &self.0 {
            by_trouble.entry(trouble).or_default().push(name);
        }
        if by_trouble.is_empty() {
            return None;
        }
        let told: Vec<String> = by_trouble
            .iter()
            .take(3)
            .map(|(trouble, names)| match names[..] {
                [one] => format!("pod {one}: {trouble}"),
                _ => format!("{} pods: {trouble}", names.len()),
            })
            .collect();
        Some(told.join("; "))
    }
}

/// What keeps one pod from being ready; none if it is on its way.
pub(super) fn trouble(pod: &Value) -> Option<String> {
    let status = &pod["status"];
    for condition in items(status, "conditions") {
        if condition["type"] == "PodScheduled" && condition["status"] == "False" {
            return Some(format!("not placed: {}", text(condition, &["message"])));
        }
    }
    let containers = ["initContainerStatuses", "containerStatuses"]
        .into_iter()
        .flat_map(|field| items(status, field));
    for container in containers {
        let name = text(container, &["name"]);
        let waiting = &container["state"]["waiting"];
        let reason = text(waiting, &["reason"]);
        if !matches!(reason, "" | "ContainerCreating" | "PodInitializing") {
            let message = text(waiting, &["message"]);
            let ended = &container["lastState"]["terminated"];
            let code = match ended["exitCode"].as_i64() {
                Some(code) => format!(", ended with {code}"),
                None => String::new(),
            };
            let colon = if message.is_empty() { "" } else { ": " };
            return Some(format!("container {name}: {reason}{code}{colon}{message}"));
        }
        let ended = &container["state"]["terminated"];
        if let Some(code) = ended["exitCode"].as_i64()
            && code != 0
        {
            return Some(format!(
                "container {name} ended with {code} ({})",
                text(ended, &["reason"])
            ));
        }
    }
    match text(status, &["phase"]) {
        "Failed" => Some(format!(
            "failed: {} {}",
            text(status, &["reason"]),
            text(status, &["message"])
        )),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn pods_with_the_same_trouble_are_told_once() {
        let mut troubles = Troubles::default();
        for name in ["a", "b"] {
            troubles.see(&json!({"metadata": {"name": name}, "status": {"containerStatuses": [
                {"name": "web", "state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}}]}}));
        }
        troubles.see(
            &json!({"metadata": {"name": "c"}, "status": {"conditions": [
            {"type": "PodScheduled", "status": "False", "message": "0/1 nodes"}]}}),
        );
        assert_eq!(
            troubles.told().as_deref(),
            Some(
                "2 pods: container web: ImagePullBackOff: no such image; pod c: not placed: 0/1 nodes"
            )
        );
        troubles.clear();
        assert_eq!(troubles.told(), None);
    }
}
