//! The `pod-template-hash` label.

use k8s_openapi::api::core::v1::PodTemplateSpec;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// No vowels and no characters that look alike, so that no words come up.
const ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";
const LENGTH: usize = 10;

/// A short, stable name for a pod template. `collisions` gives a different name to the same
/// template when the first was taken by another. The value need not equal upstream's: templates
/// are told apart by content, never by hash.
pub(crate) fn template_hash(template: &PodTemplateSpec, collisions: i32) -> String {
    let mut value = serde_json::to_value(template).unwrap_or_default();
    normalise(&mut value);
    let mut hasher = Sha256::new();
    hasher.update(value.to_string());
    hasher.update(collisions.to_be_bytes());
    let digest = hasher.finalize();
    let mut number = digest
        .iter()
        .take(8)
        .fold(0_u64, |n, byte| n << 8 | u64::from(*byte));
    (0..LENGTH)
        .map(|_| {
            let character = ALPHABET[(number % ALPHABET.len() as u64) as usize];
            number /= ALPHABET.len() as u64;
            char::from(character)
        })
        .collect()
}

/// Whether two templates ask for the same pods: equal but for `pod-template-hash` and for the
/// difference between an empty list and none.
pub(crate) fn same_template(a: &PodTemplateSpec, b: &PodTemplateSpec) -> bool {
    if a == b {
        return true;
    }
    let canonical = |template: &PodTemplateSpec| {
        let mut value = serde_json::to_value(template).unwrap_or_default();
        if let Some(labels) = value
            .pointer_mut("/metadata/labels")
            .and_then(Value::as_object_mut)
        {
            labels.remove(super::deployments::HASH_LABEL);
        }
        normalise(&mut value);
        value
    };
    canonical(a) == canonical(b)
}

/// Sorts keys and drops what means nothing: null, empty lists, empty label and annotation maps.
fn normalise(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.values_mut().for_each(normalise);
            map.retain(|key, value| match value {
                Value::Null => false,
                Value::Array(items) => !items.is_empty(),
                Value::Object(inner) if inner.is_empty() => !matches!(
                    key.as_str(),
                    "labels" | "annotations" | "nodeSelector" | "metadata"
                ),
                _ => true,
            });
            map.sort_keys();
        }
        Value::Array(items) => items.iter_mut().for_each(normalise),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn template(value: Value) -> PodTemplateSpec {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn the_hash_is_stable_and_depends_on_content_and_collisions_only() {
        let a = template(
            json!({"metadata": {"labels": {"app": "web", "b": "c"}}, "spec": {"containers": [{"name": "c", "image": "i:1"}]}}),
        );
        let b = template(
            json!({"spec": {"volumes": [], "containers": [{"image": "i:1", "name": "c"}]}, "metadata": {"labels": {"b": "c", "app": "web"}}}),
        );
        assert_eq!(template_hash(&a, 0), template_hash(&b, 0));
        assert_ne!(template_hash(&a, 0), template_hash(&a, 1));
        // Stored objects carry this value: it must not change between releases.
        assert_eq!(template_hash(&a, 0), "fn6rrnmlpb");
        assert!(
            template_hash(&a, 0)
                .bytes()
                .all(|byte| ALPHABET.contains(&byte))
        );
    }

    #[test]
    fn templates_are_compared_without_the_hash_label_and_with_empty_dirs() {
        let plain = template(
            json!({"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c"}]}}),
        );
        let labelled = template(
            json!({"metadata": {"labels": {"app": "web", "pod-template-hash": "x"}}, "spec": {"containers": [{"name": "c"}]}}),
        );
        assert!(same_template(&plain, &labelled));
        let dir = |extra: Value| template(json!({"spec": {"containers": [], "volumes": [extra]}}));
        assert!(!same_template(
            &dir(json!({"name": "v"})),
            &dir(json!({"name": "v", "emptyDir": {}}))
        ));
    }
}
