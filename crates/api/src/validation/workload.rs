//! Checks of what keeps pods of one template: deployments, replica sets, daemon sets, stateful sets,
//! replication controllers.

use super::{Errors, Path, label_selector, pod_template};
use crate::values::{at, int, items, members, take, text};
use consort_object::selector::LabelSelector;
use serde_json::{Value, json};

/// How users call an owner of pods, as it stands in messages.
#[derive(Clone, Copy)]
struct Owner {
    /// In lower case.
    word: &'static str,
    /// As in `kind:`; a deployment's template is checked as its replica set's.
    kind: &'static str,
}

const DEPLOYMENT: Owner = Owner {
    word: "deployment",
    kind: "ReplicaSet",
};
const REPLICA_SET: Owner = Owner {
    word: "replicaset",
    kind: "ReplicaSet",
};
const DAEMON_SET: Owner = Owner {
    word: "daemonset",
    kind: "DaemonSet",
};
const STATEFUL_SET: Owner = Owner {
    word: "statefulset",
    kind: "StatefulSet",
};

/// Check a deployment.
pub(crate) fn deployment(object: &Value, here: &Path<'_>, errors: &mut Errors) {
    let here = here.field("spec");
    let spec = &object["spec"];
    errors.not_negative(&here.field("replicas"), spec.get("replicas"));
    selector_and_template(spec, DEPLOYMENT, &here, errors);
    strategy(&spec["strategy"], &here.field("strategy"), errors);
    errors.not_negative(&here.field("minReadySeconds"), spec.get("minReadySeconds"));
    errors.not_negative(
        &here.field("revisionHistoryLimit"),
        spec.get("revisionHistoryLimit"),
    );
    if let Some(deadline) = at(spec, &["progressDeadlineSeconds"]).and_then(Value::as_i64) {
        let place = here.field("progressDeadlineSeconds");
        errors.not_negative(&place, Some(&deadline.into()));
        if deadline <= int(spec, &["minReadySeconds"]) {
            errors.invalid(&place, deadline, "must be greater than minReadySeconds");
        }
    }
}

/// Check a change of a deployment.
pub(crate) fn deployment_update(new: &Value, old: &Value, here: &Path<'_>, errors: &mut Errors) {
    deployment(new, here, errors);
    selector_immutable(new, old, here, errors);
}

/// Check a replica set.
pub(crate) fn replica_set(object: &Value, here: &Path<'_>, errors: &mut Errors) {
    let here = here.field("spec");
    let spec = &object["spec"];
    errors.not_negative(&here.field("replicas"), spec.get("replicas"));
    errors.not_negative(&here.field("minReadySeconds"), spec.get("minReadySeconds"));
    selector_and_template(spec, REPLICA_SET, &here, errors);
}

/// Check a change of a replica set.
pub(crate) fn replica_set_update(new: &Value, old: &Value, here: &Path<'_>, errors: &mut Errors) {
    replica_set(new, here, errors);
    selector_immutable(new, old, here, errors);
}

/// Check a replication controller, the replica set's elder.
pub(crate) fn replication_controller(object: &Value, here: &Path<'_>, errors: &mut Errors) {
    let here = here.field("spec");
    let spec = &object["spec"];
    errors.not_negative(&here.field("minReadySeconds"), spec.get("minReadySeconds"));
    let place = here.field("selector");
    if members(spec, &["selector"]).next().is_none() {
        errors.required(&place, "");
    } else {
        super::labels(&spec["selector"], &place, errors);
    }
    errors.not_negative(&here.field("replicas"), spec.get("replicas"));
    let place = here.field("template");
    let Some(template) = at(spec, &["template"]) else {
        errors.required(&place, "");
        return;
    };
    let labels = &template["metadata"]["labels"];
    let unmatched = members(spec, &["selector"]).any(|(key, value)| labels.get(key) != Some(value));
    if unmatched {
        errors.invalid(
            &place.field("metadata").field("labels"),
            labels.clone(),
            "`selector` does not match template `labels`",
        );
    }
    pod_template(template, &place, errors);
    always_running(template, "ReplicationController", &place, errors);
}

/// Check a daemon set.
pub(crate) fn daemon_set(object: &Value, here: &Path<'_>, errors: &mut Errors) {
    let here = here.field("spec");
    let spec = &object["spec"];
    selector_and_template(spec, DAEMON_SET, &here, errors);
    errors.not_negative(&here.field("minReadySeconds"), spec.get("minReadySeconds"));
    let strategy = &spec["updateStrategy"];
    let place = here.field("updateStrategy");
    match text(strategy, &["type"]) {
        "OnDelete" => {}
        "RollingUpdate" => match at(strategy, &["rollingUpdate"]) {
            None => errors.required(&place.field("rollingUpdate"), ""),
            Some(rolling) => daemon_rolling(rolling, &place.field("rollingUpdate"), errors),
        },
        _ => errors.not_supported(&place, strategy.clone(), &["RollingUpdate", "OnDelete"]),
    }
    errors.not_negative(
        &here.field("revisionHistoryLimit"),
        spec.get("revisionHistoryLimit"),
    );
}

fn daemon_rolling(rolling: &Value, here: &Path<'_>, errors: &mut Errors) {
    let nothing = json!(0);
    let [unavailable, surge] = ["maxUnavailable", "maxSurge"].map(|field| {
        let value = at(rolling, &[field]).unwrap_or(&nothing);
        int_or_percent(value, &here.field(field), errors);
        at_most_all(value, &here.field(field), errors);
        value
    });
    if !zero(unavailable) && !zero(surge) {
        errors.invalid(
            &here.field("maxSurge"),
            surge.clone(),
            "may not be set when maxUnavailable is non-zero",
        );
    } else if zero(unavailable) && zero(surge) {
        errors.required(
            &here.field("maxUnavailable"),
            "cannot be 0 when maxSurge is 0",
        );
    }
}

/// Check a change of a daemon set.
pub(crate) fn daemon_set_update(new: &Value, old: &Value, here: &Path<'_>, errors: &mut Errors) {
    daemon_set(new, here, errors);
    selector_immutable(new, old, here, errors);
}

/// Check a stateful set.
pub(crate) fn stateful_set(object: &Value, here: &Path<'_>, errors: &mut Errors) {
    let here = here.field("spec");
    let spec = &object["spec"];
    let policy = text(spec, &["podManagementPolicy"]);
    let place = here.field("podManagementPolicy");
    if policy.is_empty() {
        errors.required(&place, "");
    } else if !["OrderedReady", "Parallel"].contains(&policy) {
        errors.invalid(&place, policy, "must be 'OrderedReady' or 'Parallel'");
    }
    stateful_strategy(
        &spec["updateStrategy"],
        &here.field("updateStrategy"),
        errors,
    );
    let place = here.field("persistentVolumeClaimRetentionPolicy");
    if let Some(retention) = at(spec, &["persistentVolumeClaimRetentionPolicy"]) {
        for field in ["whenDeleted", "whenScaled"] {
            errors.supported(
                &place.field(field),
                text(retention, &[field]),
                &["Delete", "Retain"],
            );
        }
    }
    for field in ["replicas", "minReadySeconds", "revisionHistoryLimit"] {
        errors.not_negative(&here.field(field), spec.get(field));
    }
    errors.not_negative(
        &here.field("ordinals").field("start"),
        at(spec, &["ordinals", "start"]),
    );
    selector(spec, STATEFUL_SET, &here, errors);
    // The pod itself is checked when it is made: only then are the volumes of its claims known.
    let place = here.field("template");
    template_selected(spec, &place, errors);
    super::metadata::template(&spec["template"], &place, errors);
    always_running(&spec["template"], STATEFUL_SET.kind, &place, errors);
}

fn stateful_strategy(strategy: &Value, here: &Path<'_>, errors: &mut Errors) {
    let rolling = at(strategy, &["rollingUpdate"]);
    match text(strategy, &["type"]) {
        "" => errors.required(&here.field("type"), ""),
        "OnDelete" => {
            if let Some(rolling) = rolling {
                errors.invalid(
                    &here.field("rollingUpdate"),
                    rolling.clone(),
                    "only allowed for updateStrategy 'RollingUpdate'",
                );
            }
        }
        "RollingUpdate" => {
            let place = here.field("rollingUpdate");
            let rolling = rolling.unwrap_or(&Value::Null);
            errors.not_negative(&place.field("partition"), rolling.get("partition"));
            if let Some(unavailable) = at(rolling, &["maxUnavailable"]) {
                let place = place.field("maxUnavailable");
                int_or_percent(unavailable, &place, errors);
                if zero(unavailable) {
                    errors.invalid(&place, unavailable.clone(), "cannot be 0");
                }
                at_most_all(unavailable, &place, errors);
            }
        }
        _ => errors.invalid(
            here,
            strategy.clone(),
            "must be 'RollingUpdate' or 'OnDelete'",
        ),
    }
}

/// What may change in the spec of a stateful set.
const STATEFUL_CHANGEABLE: [&str; 7] = [
    "replicas",
    "ordinals",
    "template",
    "updateStrategy",
    "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy",
    "minReadySeconds",
];

/// Check a change of a stateful set.
pub(crate) fn stateful_set_update(new: &Value, old: &Value, here: &Path<'_>, errors: &mut Errors) {
    stateful_set(new, here, errors);
    let fixed = |object: &Value| {
        let mut spec = object["spec"].clone();
        for field in STATEFUL_CHANGEABLE {
            take(&mut spec, field);
        }
        for template in crate::values::items_mut(&mut spec, "volumeClaimTemplates") {
            take(template, "status");
        }
        spec
    };
    if fixed(new) != fixed(old) {
        errors.forbidden(
            &here.field("spec"),
            "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden",
        );
    }
}

fn selector_immutable(new: &Value, old: &Value, here: &Path<'_>, errors: &mut Errors) {
    errors.immutable(
        &here.field("spec").field("selector"),
        at(new, &["spec", "selector"]),
        at(old, &["spec", "selector"]),
    );
}

/// The selector must be there and select something.
fn selector(spec: &Value, owner: Owner, here: &Path<'_>, errors: &mut Errors) {
    let place = here.field("selector");
    let Some(selector) = at(spec, &["selector"]) else {
        errors.required(&place, "");
        return;
    };
    label_selector(selector, &place, errors);
    let empty = members(selector, &["matchLabels"]).next().is_none()
        && items(selector, &["matchExpressions"]).is_empty();
    if empty {
        errors.invalid(
            &place,
            selector.clone(),
            format!("empty selector is invalid for {}", owner.word),
        );
    }
}

/// The selector must select what the template makes.
fn selector_and_template(spec: &Value, owner: Owner, here: &Path<'_>, errors: &mut Errors) {
    selector(spec, owner, here, errors);
    let place = here.field("template");
    let template = &spec["template"];
    template_selected(spec, &place, errors);
    pod_template(template, &place, errors);
    always_running(template, owner.kind, &place, errors);
}

/// The labels of `spec.template` must be selected by `spec.selector`.
pub(super) fn template_selected(spec: &Value, here: &Path<'_>, errors: &mut Errors) {
    let selector =
        at(spec, &["selector"]).and_then(|selector| LabelSelector::from_json(selector).ok());
    let labels = at(spec, &["template", "metadata", "labels"]);
    if let Some(selector) = selector
        && !selector.is_empty()
        && !selector.matches_labels(|key| labels?.get(key)?.as_str())
    {
        errors.invalid(
            &here.field("metadata").field("labels"),
            labels.cloned().unwrap_or(Value::Null),
            "`selector` does not match template `labels`",
        );
    }
}

/// Pods that are replaced when they end must not end by themselves.
fn always_running(template: &Value, kind: &str, here: &Path<'_>, errors: &mut Errors) {
    let pod = here.field("spec");
    let policy = text(template, &["spec", "restartPolicy"]);
    if policy != "Always" {
        errors.not_supported(&pod.field("restartPolicy"), policy, &["Always"]);
    }
    if at(template, &["spec", "activeDeadlineSeconds"]).is_some() {
        errors.forbidden(
            &pod.field("activeDeadlineSeconds"),
            format!("activeDeadlineSeconds in {kind} is not Supported"),
        );
    }
}

fn strategy(strategy: &Value, here: &Path<'_>, errors: &mut Errors) {
    match text(strategy, &["type"]) {
        "Recreate" => {
            if at(strategy, &["rollingUpdate"]).is_some() {
                errors.forbidden(
                    &here.field("rollingUpdate"),
                    "may not be specified when strategy `type` is 'Recreate'",
                );
            }
        }
        "RollingUpdate" => {
            let place = here.field("rollingUpdate");
            let rolling = &strategy["rollingUpdate"];
            let unavailable = &rolling["maxUnavailable"];
            let surge = &rolling["maxSurge"];
            for (field, value) in [("maxUnavailable", unavailable), ("maxSurge", surge)] {
                int_or_percent(value, &place.field(field), errors);
            }
            if zero(unavailable) && zero(surge) {
                errors.invalid(
                    &place.field("maxUnavailable"),
                    unavailable.clone(),
                    "may not be 0 when `maxSurge` is 0",
                );
            }
            at_most_all(unavailable, &place.field("maxUnavailable"), errors);
        }
        "" => errors.required(&here.field("type"), ""),
        other => errors.not_supported(&here.field("type"), other, &["Recreate", "RollingUpdate"]),
    }
}

fn percent(value: &Value) -> Option<i64> {
    value.as_str()?.strip_suffix('%')?.parse().ok()
}

fn zero(value: &Value) -> bool {
    value.as_i64() == Some(0) || percent(value) == Some(0)
}

/// A percentage of at most a hundred.
pub(crate) fn at_most_all(value: &Value, here: &Path<'_>, errors: &mut Errors) {
    if percent(value).is_some_and(|percent| percent > 100) {
        errors.invalid(here, value.clone(), "must not be greater than 100%");
    }
}

/// A number that is not negative, or a percentage.
pub(crate) fn int_or_percent(value: &Value, here: &Path<'_>, errors: &mut Errors) {
    match value {
        Value::String(text) if percent(value).is_none_or(|percent| percent < 0) => errors.invalid(
            here,
            text.as_str(),
            "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')",
        ),
        Value::Number(_) => errors.not_negative(here, Some(value)),
        _ => {}
    }
}
