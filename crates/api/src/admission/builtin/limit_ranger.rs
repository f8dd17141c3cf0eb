//! Limit ranges: defaults for containers, bounds for containers, pods and claims.

use super::{Operation, Request, forbidden, is, limits, values};
use crate::api::Inner;
use crate::error::Outcome;
use crate::values::{at, ensure, namespace, set};
use serde_json::Value;

const ANNOTATION: &str = "kubernetes.io/limit-ranger";

/// Give a new pod's containers what the namespace's limit ranges say they get.
pub(super) fn fill_in(inner: &Inner, pod: &mut Value) -> Outcome<()> {
    let ranges = values(inner, "", "limitranges", Some(namespace(pod)))?;
    for range in &ranges {
        let done = limits::fill_in(range, pod);
        if !done.is_empty() {
            let note = format!("LimitRanger plugin set: {}", done.join("; "));
            let meta = ensure(pod, "metadata");
            set(ensure(meta, "annotations"), ANNOTATION, note);
        }
    }
    Ok(())
}

/// Refuse what goes beyond the namespace's limit ranges: new pods, pods that are resized, claims.
pub(super) fn check(request: &Request<'_>, object: &Value, old: Option<&Value>) -> Outcome<()> {
    let updates = request.operation == Operation::Update;
    let faults: fn(&Value, &Value) -> Vec<String> = match request.subresource {
        "resize" if is(request.kind, "pods") && updates => limits::faults_of_pod,
        "" if is(request.kind, "pods") && !updates => limits::faults_of_pod,
        "" if is(request.kind, "persistentvolumeclaims") => limits::faults_of_claim,
        _ => return Ok(()),
    };
    let leaves = old.is_some_and(|old| at(old, &["metadata", "deletionTimestamp"]).is_some());
    if updates && leaves {
        return Ok(());
    }
    for range in values(request.inner, "", "limitranges", request.namespace)? {
        let mut all = faults(&range, object);
        // The same words for two containers are said once.
        let mut seen = std::collections::HashSet::new();
        all.retain(|fault| seen.insert(fault.clone()));
        match all.len() {
            0 => {}
            1 => return Err(forbidden(request, &all[0])),
            _ => return Err(forbidden(request, format!("[{}]", all.join(", ")))),
        }
    }
    Ok(())
}
