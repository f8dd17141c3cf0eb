//! The pod failure policy: what a failed pod means.

use crate::write;
use k8s_openapi::api::{
    batch::v1::{Job, PodFailurePolicyOnExitCodesRequirement, PodFailurePolicyRule},
    core::v1::{ContainerStatus, Pod},
};

/// What the policy says about a failed pod.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ruling {
    /// The whole job has failed, with this message.
    FailJob(String),
    /// The pod's index has failed for good.
    FailIndex,
    /// It is not counted.
    Ignore,
    /// It counts towards the limit.
    Count,
}

/// Applies the first rule that fits; without one, failures count.
///
/// Save for pods that ended because their node was stopped in an orderly way. Upstream counts them: there
/// such a node is one of many and a rare event. Here stopping the only node with its pods is how one goes
/// home, and what was at work then is to go on when it starts again.
pub(crate) fn rule(job: &Job, pod: &Pod) -> Ruling {
    let policy = job
        .spec
        .as_ref()
        .and_then(|spec| spec.pod_failure_policy.as_ref());
    for (number, rule) in policy
        .into_iter()
        .flat_map(|policy| &policy.rules)
        .enumerate()
    {
        let Some(why) = fits(rule, pod) else { continue };
        return match rule.action.as_str() {
            "FailJob" => Ruling::FailJob(format!("{why} matching FailJob rule at index {number}")),
            "FailIndex" => Ruling::FailIndex,
            "Ignore" => Ruling::Ignore,
            _ => Ruling::Count,
        };
    }
    if ended_with_its_node(pod) {
        Ruling::Ignore
    } else {
        Ruling::Count
    }
}

/// Whether the node says that it has stopped and the pod with it.
fn ended_with_its_node(pod: &Pod) -> bool {
    pod.status.as_ref().is_some_and(|status| {
        status.reason.as_deref() == Some("Terminated")
            && status.conditions.iter().flatten().any(|condition| {
                condition.type_ == "DisruptionTarget"
                    && condition.status == "True"
                    && condition.reason.as_deref() == Some("TerminationByKubelet")
            })
    })
}

fn fits(rule: &PodFailurePolicyRule, pod: &Pod) -> Option<String> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let name = write::name_of(&pod.metadata);
    let status = pod.status.as_ref()?;
    if let Some(codes) = &rule.on_exit_codes {
        let containers = status
            .init_container_statuses
            .iter()
            .flatten()
            .chain(status.container_statuses.iter().flatten());
        let (container, code) = containers
            .filter_map(|container| Some((container, exit_code(container)?)))
            .find(|(container, code)| {
                codes
                    .container_name
                    .as_ref()
                    .is_none_or(|name| *name == container.name)
                    && in_range(codes, *code)
            })?;
        return Some(format!(
            "Container {} for pod {namespace}/{name} failed with exit code {code}",
            container.name
        ));
    }
    let patterns = rule.on_pod_conditions.as_ref()?;
    let conditions = status.conditions.as_deref().unwrap_or_default();
    let condition = patterns.iter().find_map(|pattern| {
        let wanted = pattern.status.as_deref().unwrap_or("True");
        conditions
            .iter()
            .find(|condition| condition.type_ == pattern.type_ && condition.status == wanted)
    })?;
    Some(format!(
        "Pod {namespace}/{name} has condition {}",
        condition.type_
    ))
}

/// The code of a container that failed; success is no failure of any kind.
fn exit_code(container: &ContainerStatus) -> Option<i32> {
    let code = container.state.as_ref()?.terminated.as_ref()?.exit_code;
    (code != 0).then_some(code)
}

fn in_range(codes: &PodFailurePolicyOnExitCodesRequirement, code: i32) -> bool {
    match codes.operator.as_str() {
        "In" => codes.values.contains(&code),
        "NotIn" => !codes.values.contains(&code),
        _ => false,
    }
}
