//! Checks of changes of pods: through the pod itself, `ephemeralcontainers` and `resize`.

use super::container::without_image;
use super::pod::pod_spec;
use super::{Errors, Path, tolerations};
use crate::values::{at, int, items, items_mut, members, take, text};
use serde_json::Value;

const CHANGEABLE: &str = "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

/// Check a change of a pod: only a few fields of its spec may change.
pub(crate) fn pod_update(new: &Value, old: &Value, here: &Path<'_>, errors: &mut Errors) {
    let here = here.field("spec");
    let (mut new_spec, mut old_spec) = (new["spec"].clone(), old["spec"].clone());
    for list in ["containers", "initContainers"] {
        let place = here.field(list);
        if items(&new_spec, &[list]).len() != items(&old_spec, &[list]).len() {
            errors.forbidden(&place, "pod updates may not add or remove containers");
            return;
        }
        for (index, container) in items(&new_spec, &[list]).iter().enumerate() {
            if text(container, &["image"]).is_empty() {
                errors.required(&place.index(index).field("image"), "");
            }
        }
    }
    deadline(&new_spec, &old_spec, &here, errors);
    let gated = !items(&old_spec, &["schedulingGates"]).is_empty();
    if gated {
        selection_only_narrows(&new_spec, &old_spec, &here, errors);
    }
    tolerations_only_grow(&new_spec, &old_spec, &here.field("tolerations"), errors);
    gates_only_shrink(&new_spec, &old_spec, &here.field("schedulingGates"), errors);
    if !errors.is_empty() {
        return;
    }
    for spec in [&mut new_spec, &mut old_spec] {
        for list in ["containers", "initContainers"] {
            items_mut(spec, list).for_each(without_image);
        }
        for field in ["activeDeadlineSeconds", "tolerations", "schedulingGates"] {
            take(spec, field);
        }
        if gated {
            // A gated pod may still be told more closely where it can run.
            take(spec, "nodeSelector");
            if let Some(affinity) = spec.get_mut("affinity") {
                take(affinity, "nodeAffinity");
                if affinity.as_object().is_some_and(serde_json::Map::is_empty) {
                    take(spec, "affinity");
                }
            }
        }
    }
    if int(&old_spec, &["terminationGracePeriodSeconds"]) < 0
        && int(&new_spec, &["terminationGracePeriodSeconds"]) == 1
    {
        take(&mut new_spec, "terminationGracePeriodSeconds");
        take(&mut old_spec, "terminationGracePeriodSeconds");
    }
    if new_spec != old_spec {
        errors.forbidden(&here, CHANGEABLE);
    }
}

/// What a gated pod's node must have may be added to, not taken back.
fn selection_only_narrows(new: &Value, old: &Value, here: &Path<'_>, errors: &mut Errors) {
    let lost = members(old, &["nodeSelector"])
        .any(|(key, value)| at(new, &["nodeSelector", key]) != Some(value));
    if lost {
        errors.invalid(
            &here.field("nodeSelector"),
            new["nodeSelector"].clone(),
            "only additions are allowed (no mutations or deletions)",
        );
    }
    let path = [
        "affinity",
        "nodeAffinity",
        "requiredDuringSchedulingIgnoredDuringExecution",
        "nodeSelectorTerms",
    ];
    let (after, before) = (items(new, &path), items(old, &path));
    if before.is_empty() {
        return;
    }
    let narrowed = after.len() == before.len()
        && after.iter().zip(before).all(|(after, before)| {
            ["matchExpressions", "matchFields"].iter().all(|list| {
                let kept = items(after, &[list]);
                items(before, &[list]).iter().all(|one| kept.contains(one))
            })
        });
    if !narrowed {
        let place = here.field("affinity");
        let place = place.field("nodeAffinity");
        let place = place.field("requiredDuringSchedulingIgnoredDuringExecution");
        errors.invalid(
            &place.field("nodeSelectorTerms"),
            after.to_vec(),
            "no additions/deletions to non-empty NodeSelectorTerms list are allowed",
        );
    }
}

fn deadline(new: &Value, old: &Value, here: &Path<'_>, errors: &mut Errors) {
    let seconds = |spec| at(spec, &["activeDeadlineSeconds"]).and_then(Value::as_i64);
    let place = here.field("activeDeadlineSeconds");
    match (seconds(new), seconds(old)) {
        (Some(new), _) if new < 0 || new > i64::from(i32::MAX) => {
            errors.between(&place, new, 0, i64::from(i32::MAX));
        }
        (Some(new), Some(old)) if new > old => {
            errors.invalid(&place, new, "must be less than or equal to previous value");
        }
        (None, Some(_)) => errors.invalid(
            &place,
            Value::Null,
            "must not update from a positive integer to nil value",
        ),
        _ => {}
    }
}

fn tolerations_only_grow(new: &Value, old: &Value, here: &Path<'_>, errors: &mut Errors) {
    let key = |toleration: &Value| {
        let mut rest = toleration.clone();
        take(&mut rest, "tolerationSeconds");
        rest
    };
    let have: Vec<Value> = items(new, &["tolerations"]).iter().map(key).collect();
    for toleration in items(old, &["tolerations"]) {
        if !have.contains(&key(toleration)) {
            errors.forbidden(
                here,
                "existing toleration can not be modified except its tolerationSeconds",
            );
            return;
        }
    }
    tolerations(new, here, errors);
}

fn gates_only_shrink(new: &Value, old: &Value, here: &Path<'_>, errors: &mut Errors) {
    let before = items(old, &["schedulingGates"]);
    for gate in items(new, &["schedulingGates"]) {
        if !before.contains(gate) {
            errors.forbidden(
                here,
                "only deletion is allowed, but found new scheduling gate",
            );
            return;
        }
    }
}

/// Check a change through the `ephemeralcontainers` subresource: they may only be added.
pub(crate) fn ephemeral_containers_update(
    new: &Value,
    old: &Value,
    here: &Path<'_>,
    errors: &mut Errors,
) {
    let here = here.field("spec");
    pod_spec(&new["spec"], &here, errors);
    let place = here.field("ephemeralContainers");
    let have = items(new, &["spec", "ephemeralContainers"]);
    for container in items(old, &["spec", "ephemeralContainers"]) {
        let name = text(container, &["name"]);
        match have.iter().find(|other| text(other, &["name"]) == name) {
            None => errors.forbidden(
                &place,
                format!("existing ephemeral containers \"{name}\" may not be removed\n"),
            ),
            Some(other) if other != container => errors.forbidden(
                &place,
                format!("existing ephemeral containers \"{name}\" may not be changed\n"),
            ),
            Some(_) => {}
        }
    }
}

/// Check a change through the `resize` subresource: only what containers ask for and may use.
pub(crate) fn resize(new: &Value, old: &Value, here: &Path<'_>, errors: &mut Errors) {
    let here = here.field("spec");
    pod_spec(&new["spec"], &here, errors);
    if crate::defaults::qos_class(new) != text(old, &["status", "qosClass"]) {
        errors.invalid(
            &here,
            crate::defaults::qos_class(new),
            "Pod QOS Class may not change as a result of resizing",
        );
    }
    for list in ["containers", "initContainers"] {
        let place = here.field(list);
        let before = items(old, &["spec", list]);
        for (index, (after, before)) in items(new, &["spec", list]).iter().zip(before).enumerate() {
            let place = place.index(index);
            let restartable = list == "containers" || text(after, &["restartPolicy"]) == "Always";
            let changed = at(after, &["resources"]) != at(before, &["resources"]);
            if changed && !restartable {
                errors.forbidden(
                    &place.field("resources"),
                    "only cpu and memory resources of containers and sidecars are mutable",
                );
            }
            resized(after, before, &place.field("resources"), errors);
        }
    }
}

/// Only processor and memory may change, and what is there may not be taken away.
fn resized(after: &Value, before: &Value, here: &Path<'_>, errors: &mut Errors) {
    for list in ["limits", "requests"] {
        let place = here.field(list);
        for (name, amount) in members(before, &["resources", list]) {
            let now = at(after, &["resources", list, name]);
            let fixed = !matches!(name, "cpu" | "memory");
            if now.is_none() {
                errors.forbidden(&place, format!("resource {list} cannot be removed"));
            } else if fixed && now != Some(amount) {
                errors.forbidden(&place, "only cpu and memory resources are mutable");
            }
        }
        for (name, _) in members(after, &["resources", list]) {
            if !matches!(name, "cpu" | "memory") && at(before, &["resources", list, name]).is_none()
            {
                errors.forbidden(&place, "only cpu and memory resources are mutable");
            }
        }
    }
}
