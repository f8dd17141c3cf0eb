//! What both levels say of seccomp profiles.

use super::Fault;
use super::pod::{Pod, containers, plural, setters, sorted};
use crate::values::{at, text};
use serde_json::Value;
use std::collections::BTreeSet;

/// Before there were fields for it, profiles were annotations.
fn seccomp_annotations(pod: &Pod<'_>) -> Option<Fault> {
    const POD: &str = "seccomp.security.alpha.kubernetes.io/pod";
    const CONTAINER: &str = "container.seccomp.security.alpha.kubernetes.io/";
    let known = |name: &str| {
        pod.containers
            .iter()
            .any(|own| text(own, &["name"]) == name)
    };
    let wrong: BTreeSet<String> = pod
        .annotations()
        .filter(|(key, _)| *key == POD || key.strip_prefix(CONTAINER).is_some_and(known))
        .filter(|(_, value)| {
            !matches!(*value, "runtime/default" | "docker/default")
                && !value.starts_with("localhost/")
        })
        .map(|(key, value)| format!("{key}={value:?}"))
        .collect();
    (!wrong.is_empty()).then(|| {
        let word = plural(wrong.len(), "annotation", "annotations");
        let all: Vec<String> = wrong.into_iter().collect();
        (
            "seccompProfile",
            format!("forbidden {word} {}", all.join(", ")),
        )
    })
}

/// The profile of a pod or a container, if it says one.
pub(super) fn seccomp(owner: &Value) -> Option<&str> {
    at(owner, &["securityContext", "seccompProfile"]).map(|own| text(own, &["type"]))
}

fn seccomp_allowed(kind: &str) -> bool {
    matches!(kind, "RuntimeDefault" | "Localhost")
}

fn seccomp_wrong(pod: &Pod<'_>) -> Option<Fault> {
    let mut values = BTreeSet::new();
    let mut wrong = |owner| match seccomp(owner) {
        Some(kind) if !seccomp_allowed(kind) => {
            values.insert(kind);
            true
        }
        _ => false,
    };
    let own = wrong(pod.spec);
    let names = pod.having(wrong);
    let setters = setters(own, &names);
    (!setters.is_empty()).then(|| {
        let detail = format!(
            "{} must not set securityContext.seccompProfile.type to {}",
            setters.join(" and "),
            sorted(&values)
        );
        ("seccompProfile", detail)
    })
}

pub(super) fn seccomp_baseline(pod: &Pod<'_>, minor: u32) -> Option<Fault> {
    if minor < 19 {
        seccomp_annotations(pod)
    } else {
        seccomp_wrong(pod)
    }
}

pub(super) fn seccomp_restricted(pod: &Pod<'_>, _: u32) -> Option<Fault> {
    if let Some(fault) = seccomp_wrong(pod) {
        return Some(fault);
    }
    if seccomp(pod.spec).is_some() {
        return None;
    }
    let names = pod.having(|container| seccomp(container).is_none());
    (!names.is_empty()).then(|| {
        let detail = format!(
            "pod or {} must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\"",
            containers(&names)
        );
        ("seccompProfile", detail)
    })
}
