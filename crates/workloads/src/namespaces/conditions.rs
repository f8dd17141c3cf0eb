//! What keeps a namespace from going, as conditions.

use crate::conditions;
use k8s_openapi::{
    api::core::v1::{Namespace, NamespaceCondition, NamespaceStatus},
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time},
    jiff::Timestamp,
};
use kube::discovery::ApiResource;
use std::collections::BTreeMap;

/// What was found while emptying a namespace.
#[derive(Default)]
pub(crate) struct Findings {
    /// Why the kinds could not be discovered.
    pub(crate) discovery: Option<String>,
    /// What could not be deleted or listed.
    pub(crate) failures: Vec<String>,
    /// How many objects are left, by kind.
    pub(crate) remaining: BTreeMap<String, usize>,
    /// How many of them have which finalizer.
    pub(crate) finalizers: BTreeMap<String, usize>,
}

impl Findings {
    pub(crate) fn is_empty(&self) -> bool {
        self.discovery.is_none() && self.failures.is_empty() && self.remaining.is_empty()
    }

    pub(crate) fn remain(&mut self, kind: &str, meta: &ObjectMeta) {
        *self.remaining.entry(kind.to_owned()).or_default() += 1;
        for finalizer in meta.finalizers.iter().flatten() {
            *self.finalizers.entry(finalizer.clone()).or_default() += 1;
        }
    }
}

/// `deployments.apps`, as upstream writes kinds in these conditions.
pub(crate) fn qualified(resource: &ApiResource) -> String {
    if resource.group.is_empty() {
        format!("{}.", resource.plural)
    } else {
        format!("{}.{}", resource.plural, resource.group)
    }
}

/// The status that says what was found.
pub(crate) fn status(
    namespace: &Namespace,
    findings: &Findings,
    now: Timestamp,
) -> NamespaceStatus {
    let mut status = namespace.status.clone().unwrap_or_default();
    status.phase = Some("Terminating".to_owned());
    let counted = |counts: &BTreeMap<String, usize>, noun: &str| {
        let parts: Vec<_> = counts
            .iter()
            .map(|(what, count)| format!("{what} {noun} {count} resource instances"))
            .collect();
        parts.join(", ")
    };
    let discovery = findings.discovery.as_ref().map(|why| {
        (
            "DiscoveryFailed",
            format!("Discovery failed for some groups: {why}"),
        )
    });
    let failed = (!findings.failures.is_empty()).then(|| {
        (
            "ContentDeletionFailed",
            format!(
                "Failed to delete all resource types, {} remaining: {}",
                findings.failures.len(),
                findings.failures.join("; ")
            ),
        )
    });
    let remaining = (!findings.remaining.is_empty()).then(|| {
        (
            "SomeResourcesRemain",
            format!(
                "Some resources are remaining: {}",
                counted(&findings.remaining, "has")
            ),
        )
    });
    let finalizers = (!findings.finalizers.is_empty()).then(|| {
        (
            "SomeFinalizersRemain",
            format!(
                "Some content in the namespace has finalizers remaining: {}",
                counted(&findings.finalizers, "in")
            ),
        )
    });
    let all = [
        (
            "NamespaceDeletionDiscoveryFailure",
            discovery,
            "ResourcesDiscovered",
            "All resources successfully discovered",
        ),
        (
            "NamespaceDeletionGroupVersionParsingFailure",
            None,
            "ParsedGroupVersions",
            "All legacy kube types successfully parsed",
        ),
        (
            "NamespaceDeletionContentFailure",
            failed,
            "ContentDeleted",
            "All content successfully deleted, may be waiting on finalization",
        ),
        (
            "NamespaceContentRemaining",
            remaining,
            "ContentRemoved",
            "All content successfully removed",
        ),
        (
            "NamespaceFinalizersRemaining",
            finalizers,
            "ContentHasNoFinalizers",
            "All content-preserving finalizers finished",
        ),
    ];
    for (kind, problem, good_reason, good_message) in all {
        let (value, reason, message) = match problem {
            Some((reason, message)) => ("True", reason, message),
            None => ("False", good_reason, good_message.to_owned()),
        };
        let condition = NamespaceCondition {
            type_: kind.to_owned(),
            status: value.to_owned(),
            reason: Some(reason.to_owned()),
            message: Some(message),
            last_transition_time: Some(Time(now)),
        };
        conditions::set(&mut status.conditions, condition);
    }
    status
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pods::tests::at;

    #[test]
    fn what_remains_and_why_is_said_in_upstreams_words() {
        let mut findings = Findings::default();
        let meta = ObjectMeta {
            finalizers: Some(vec!["example.com/hold".into()]),
            ..ObjectMeta::default()
        };
        findings.remain("pods.", &meta);
        findings.remain("pods.", &ObjectMeta::default());
        findings.remain("deployments.apps", &ObjectMeta::default());
        let status = status(&Namespace::default(), &findings, at(0));
        let message = |kind: &str| {
            conditions::find(status.conditions.as_ref(), kind)
                .unwrap()
                .message
                .clone()
                .unwrap()
        };
        assert_eq!(
            message("NamespaceContentRemaining"),
            "Some resources are remaining: deployments.apps has 1 resource instances, pods. has 2 resource instances"
        );
        assert_eq!(
            message("NamespaceFinalizersRemaining"),
            "Some content in the namespace has finalizers remaining: example.com/hold in 1 resource instances"
        );
        assert!(!conditions::is_true(
            status.conditions.as_ref(),
            "NamespaceDeletionContentFailure"
        ));
        assert_eq!(status.phase.as_deref(), Some("Terminating"));
    }
}
