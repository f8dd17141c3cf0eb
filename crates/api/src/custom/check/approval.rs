//! Definitions in groups of upstream's community: they say who approved them.

use crate::custom::names::set_condition;
use crate::values::text;
use consort_object::FieldError;
use serde_json::Value;

const APPROVED: &str = "api-approved.kubernetes.io";

/// Groups whose APIs are reviewed by upstream's community.
fn is_protected(group: &str) -> bool {
    group == "k8s.io"
        || group.ends_with(".k8s.io")
        || group == "kubernetes.io"
        || group.ends_with(".kubernetes.io")
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Approval {
    Missing,
    Bypassed,
    Approved,
    Invalid,
}

fn approval_of(object: &Value) -> (Approval, String) {
    const SEE: &str = "see https://github.com/kubernetes/enhancements/pull/1111";
    let own = text(object, &["metadata", "annotations", APPROVED]);
    if own.is_empty() {
        return (
            Approval::Missing,
            format!("protected groups must have approval annotation {APPROVED:?}, {SEE}"),
        );
    }
    if own.starts_with("unapproved") {
        return (Approval::Bypassed, format!("not approved: {own:?}"));
    }
    let is_url = own.split_once("://").is_some_and(|(scheme, rest)| {
        !scheme.is_empty() && !rest.split('/').next().unwrap_or_default().is_empty()
    });
    if is_url {
        return (Approval::Approved, format!("approved in {own}"));
    }
    (
        Approval::Invalid,
        format!(
            "protected groups must have approval annotation {APPROVED:?} with either a URL or a reason starting with \"unapproved\", {SEE}"
        ),
    )
}

pub(super) fn approval(new: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
    if !is_protected(text(new, &["spec", "group"])) {
        return;
    }
    let (state, reason) = approval_of(new);
    if old.is_some_and(|old| approval_of(old).0 == state) {
        return;
    }
    let place = format!("metadata.annotations[{APPROVED}]");
    match state {
        Approval::Missing => errors.push(FieldError::required(place, reason)),
        Approval::Invalid => {
            let own = text(new, &["metadata", "annotations", APPROVED]);
            errors.push(FieldError::invalid(place, own, reason));
        }
        Approval::Approved | Approval::Bypassed => {}
    }
}

/// Keep the condition that tells whether a protected group's definition was approved.
pub(in crate::custom) fn approval_condition(object: &mut Value) {
    const KIND: &str = "KubernetesAPIApprovalPolicyConformant";
    if !is_protected(text(object, &["spec", "group"])) {
        return;
    }
    let (state, message) = approval_of(object);
    let (status, reason) = match state {
        Approval::Missing => ("False", "MissingAnnotation"),
        Approval::Bypassed => ("False", "UnapprovedAnnotation"),
        Approval::Approved => ("True", "ApprovedAnnotation"),
        Approval::Invalid => ("False", "InvalidAnnotation"),
    };
    set_condition(object, KIND, status, reason, &message);
}
