//! A pod's priority, and whether it may push others out, come from its class.

use super::{Operation, Request, forbidden, forbidden_object, stored_in, values};
use crate::api::Inner;
use crate::error::{Outcome, internal};
use crate::values::{at, copy, ensure, flag, int, name, set, text};
use serde_json::{Value, json};

const GROUP: &str = "scheduling.k8s.io";
const PLURAL: &str = "priorityclasses";

/// Give a new pod what its class says, or the default class, or nothing in particular.
pub(super) fn give(inner: &Inner, pod: &mut Value) -> Outcome<()> {
    let wanted = text(pod, &["spec", "priorityClassName"]).to_owned();
    let class = if wanted.is_empty() {
        let all = values(inner, GROUP, PLURAL, None)?;
        default_of(&all).cloned()
    } else {
        let Some(found) = stored_in(inner, GROUP, PLURAL, None, &wanted)? else {
            return Err(forbidden_object(
                "pods",
                pod,
                format!("no PriorityClass with name {wanted} was found"),
            ));
        };
        Some(found.value().map_err(internal)?)
    };
    let class = class.unwrap_or_else(
        || json!({"metadata": {"name": ""}, "value": 0, "preemptionPolicy": "PreemptLowerPriority"}),
    );
    apply(pod, &class).map_err(|why| forbidden_object("pods", pod, why))
}

fn apply(pod: &mut Value, class: &Value) -> Result<(), String> {
    let number = int(class, &["value"]);
    let given = at(pod, &["spec", "priority"]).and_then(Value::as_i64);
    if let Some(given) = given.filter(|given| *given != number) {
        return Err(format!(
            "the integer value of priority ({given}) must not be provided in pod spec; priority admission controller computed {number} from the given PriorityClass name"
        ));
    }
    let policy = text(class, &["preemptionPolicy"]);
    let given = text(pod, &["spec", "preemptionPolicy"]);
    if !policy.is_empty() && !given.is_empty() && given != policy {
        return Err(format!(
            "the string value of PreemptionPolicy ({given}) must not be provided in pod spec; priority admission controller computed {policy} from the given PriorityClass name"
        ));
    }
    let spec = ensure(pod, "spec");
    if !name(class).is_empty() {
        set(spec, "priorityClassName", name(class));
    }
    set(spec, "priority", number);
    if !policy.is_empty() {
        set(spec, "preemptionPolicy", policy);
    }
    Ok(())
}

/// The class of pods that name none: if there are several by accident, the one of the lowest value.
fn default_of(classes: &[Value]) -> Option<&Value> {
    let marked = classes
        .iter()
        .filter(|class| flag(class, &["globalDefault"]));
    marked.min_by_key(|class| int(class, &["value"]))
}

/// What was given when the pod was made stays, if a change leaves it out.
pub(super) fn keep(new: &mut Value, old: &Value) {
    for field in ["priority", "preemptionPolicy"] {
        if at(new, &["spec", field]).is_none() && at(old, &["spec", field]).is_some() {
            copy(ensure(new, "spec"), &old["spec"], field);
        }
    }
}

/// There is one default class at most.
pub(super) fn check(request: &Request<'_>, class: &Value) -> Outcome<()> {
    let kind = request.kind;
    if kind.group != GROUP || kind.plural != PLURAL || !flag(class, &["globalDefault"]) {
        return Ok(());
    }
    let all = values(request.inner, GROUP, PLURAL, None)?;
    match default_of(&all) {
        Some(other) if request.operation == Operation::Create || name(other) != name(class) => {
            Err(forbidden(
                request,
                format!(
                    "PriorityClass {} is already marked as default. Only one default can exist",
                    name(other)
                ),
            ))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_gets_what_its_class_says_and_may_not_say_otherwise() {
        let class =
            json!({"metadata": {"name": "high"}, "value": 1000, "preemptionPolicy": "Never"});
        let given = |spec: Value| {
            let mut pod = json!({"spec": spec});
            apply(&mut pod, &class).map(|()| pod["spec"].clone())
        };
        let full =
            json!({"priorityClassName": "high", "priority": 1000, "preemptionPolicy": "Never"});
        assert_eq!(given(json!({})), Ok(full.clone()));
        assert_eq!(given(full.clone()), Ok(full));
        assert_eq!(
            given(json!({"priority": 7})).unwrap_err(),
            "the integer value of priority (7) must not be provided in pod spec; priority admission controller computed 1000 from the given PriorityClass name"
        );
        assert_eq!(
            given(json!({"preemptionPolicy": "PreemptLowerPriority"})).unwrap_err(),
            "the string value of PreemptionPolicy (PreemptLowerPriority) must not be provided in pod spec; priority admission controller computed Never from the given PriorityClass name"
        );
    }
}
