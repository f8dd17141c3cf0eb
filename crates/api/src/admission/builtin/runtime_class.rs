//! A pod's runtime class must exist; it says what the pod costs on top of its containers, and where it can run.

use super::{Operation, Request, forbidden, forbidden_object, stored_in};
use crate::api::Inner;
use crate::error::{Outcome, internal};
use crate::values::{at, ensure, fill, items, set, text};
use serde_json::{Value, json};

const GROUP: &str = "node.k8s.io";
const PLURAL: &str = "runtimeclasses";

fn class_of(inner: &Inner, pod: &Value) -> Outcome<Option<Value>> {
    let wanted = text(pod, &["spec", "runtimeClassName"]);
    if wanted.is_empty() {
        return Ok(None);
    }
    match stored_in(inner, GROUP, PLURAL, None, wanted)? {
        Some(found) => found.value().map(Some).map_err(internal),
        None => Err(forbidden_object(
            "pods",
            pod,
            format!("pod rejected: RuntimeClass {wanted:?} not found"),
        )),
    }
}

/// Give a new pod its class's overhead, node selector and tolerations.
pub(super) fn give(inner: &Inner, pod: &mut Value) -> Outcome<()> {
    let Some(class) = class_of(inner, pod)? else {
        return Ok(());
    };
    apply(pod, &class).map_err(|why| forbidden_object("pods", pod, why))
}

fn apply(pod: &mut Value, class: &Value) -> Result<(), String> {
    let spec = ensure(pod, "spec");
    if let Some(fixed) = at(class, &["overhead", "podFixed"]) {
        match at(spec, &["overhead"]) {
            Some(own) if own != fixed => return Err(differs()),
            Some(_) => {}
            None => set(spec, "overhead", fixed.clone()),
        }
    }
    let selector = at(class, &["scheduling", "nodeSelector"]).and_then(Value::as_object);
    for (key, value) in selector.into_iter().flatten() {
        fill(spec, "nodeSelector", json!({}));
        let own = ensure(spec, "nodeSelector");
        match own.get(key) {
            Some(other) if other != value => {
                return Err(format!(
                    "conflict: runtimeClass.scheduling.nodeSelector[{key}] = {}; pod.spec.nodeSelector[{key}] = {}",
                    value.as_str().unwrap_or_default(),
                    other.as_str().unwrap_or_default()
                ));
            }
            Some(_) => {}
            None => set(own, key, value.clone()),
        }
    }
    for toleration in items(class, &["scheduling", "tolerations"]) {
        fill(spec, "tolerations", json!([]));
        if let Some(list) = spec["tolerations"].as_array_mut()
            && !list.contains(toleration)
        {
            list.push(toleration.clone());
        }
    }
    Ok(())
}

fn differs() -> String {
    "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead".to_owned()
}

/// Nobody but a runtime class says what a pod costs on top.
pub(super) fn check(request: &Request<'_>, pod: &Value) -> Outcome<()> {
    if !super::is(request.kind, "pods")
        || request.operation != Operation::Create
        || !request.subresource.is_empty()
    {
        return Ok(());
    }
    let own = at(pod, &["spec", "overhead"]);
    let class = class_of(request.inner, pod)?;
    let fixed = class
        .as_ref()
        .and_then(|class| at(class, &["overhead", "podFixed"]));
    match (own, fixed) {
        (Some(_), None) => Err(forbidden(
            request,
            "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead",
        )),
        (own, Some(fixed)) if own != Some(fixed) => Err(forbidden(request, differs())),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_gets_what_its_runtime_class_says_and_may_not_contradict_it() {
        let class = json!({
            "handler": "runc",
            "overhead": {"podFixed": {"cpu": "10m"}},
            "scheduling": {"nodeSelector": {"a": "b"}, "tolerations": [{"key": "k", "operator": "Exists"}]},
        });
        let mut pod =
            json!({"spec": {"nodeSelector": {"c": "d"}, "tolerations": [{"key": "own"}]}});
        apply(&mut pod, &class).unwrap();
        let whole = json!({
            "overhead": {"cpu": "10m"},
            "nodeSelector": {"a": "b", "c": "d"},
            "tolerations": [{"key": "own"}, {"key": "k", "operator": "Exists"}],
        });
        assert_eq!(pod["spec"], whole);
        apply(&mut pod, &class).unwrap();
        assert_eq!(pod["spec"], whole, "once more changes nothing");
        let mut other = json!({"spec": {"nodeSelector": {"a": "x"}}});
        assert!(
            apply(&mut other, &class)
                .unwrap_err()
                .starts_with("conflict: ")
        );
        let mut other = json!({"spec": {"overhead": {"cpu": "1"}}});
        assert_eq!(apply(&mut other, &class).unwrap_err(), differs());
    }
}
