//! Claims that name no storage class get the default one.

use super::values;
use crate::api::Inner;
use crate::error::Outcome;
use crate::values::{at, ensure, name, set, text};
use serde_json::Value;

const DEFAULT: [&str; 2] = [
    "storageclass.kubernetes.io/is-default-class",
    "storageclass.beta.kubernetes.io/is-default-class",
];

/// Give a claim that says nothing of its class (an empty name says: none) the default class: the newest
/// of those that are marked so.
pub(super) fn fill_in(inner: &Inner, claim: &mut Value) -> Outcome<()> {
    const BETA: &str = "volume.beta.kubernetes.io/storage-class";
    if at(claim, &["spec", "storageClassName"]).is_some()
        || at(claim, &["metadata", "annotations", BETA]).is_some()
    {
        return Ok(());
    }
    let classes = values(inner, "storage.k8s.io", "storageclasses", None)?;
    if let Some(class) = chosen(&classes) {
        set(ensure(claim, "spec"), "storageClassName", class);
    }
    Ok(())
}

/// `classes` are in the order of their names, which decides between equally old ones.
fn chosen(classes: &[Value]) -> Option<&str> {
    let marked = classes.iter().filter(|class| {
        let says = |key: &&str| text(class, &["metadata", "annotations", key]) == "true";
        DEFAULT.iter().any(says)
    });
    let born = |class: &Value| text(class, &["metadata", "creationTimestamp"]).to_owned();
    let newest = marked.reduce(|best, other| {
        if born(other) > born(best) {
            other
        } else {
            best
        }
    });
    newest.map(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_newest_marked_class_is_the_default_one() {
        let class = |name: &str, born: &str, marked: &str| {
            json!({"metadata": {"name": name, "creationTimestamp": born,
                "annotations": {DEFAULT[0]: marked}}})
        };
        let classes = [
            class("a", "2026-01-01T00:00:00Z", "true"),
            class("b", "2026-01-02T00:00:00Z", "true"),
            class("c", "2026-01-02T00:00:00Z", "true"),
            class("d", "2026-01-03T00:00:00Z", "false"),
        ];
        assert_eq!(chosen(&classes), Some("b"));
        assert_eq!(chosen(&classes[3..]), None);
    }
}
