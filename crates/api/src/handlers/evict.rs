//! `eviction`: a delete of a pod that a disruption budget may refuse.

use super::bind::decode;
use super::delete::{self, remove};
use super::read::{self, store_failure};
use super::update::{Change, Part};
use crate::admission::{self, Operation};
use crate::body::Body;
use crate::call::Call;
use crate::error::{Outcome, bad_request, fail, internal};
use crate::kind::Kind;
use crate::request::DeleteOptions;
use crate::respond;
use crate::values::{at, ensure, int, items, items_mut, name, set, text};
use bytes::Bytes;
use consort_object::schema::Gvk;
use consort_object::selector::LabelSelector;
use consort_object::status::{Cause, Status};
use http::Response;
use serde_json::{Value, json};

/// How many evictions a budget may have that its controller has not seen.
const MOST_UNSEEN: usize = 2000;

const REFUSED: &str = "Cannot evict pod as it would violate the pod's disruption budget.";

/// `POST` of an `Eviction`.
pub(crate) async fn evict(
    call: &Call,
    pods: &Kind,
    namespace: Option<&str>,
    target: &str,
    body: Bytes,
) -> Outcome<Response<Body>> {
    let (mut eviction, mut options) = decode(call, &body, &Gvk::new("policy", "v1", "Eviction"))?;
    let own = name(&eviction);
    if !own.is_empty() && own != target {
        return Err(bad_request(
            "name in URL does not match name in Eviction object",
        ));
    }
    let mut delete =
        DeleteOptions::parse(&call.query, eviction.get("deleteOptions")).map_err(bad_request)?;
    delete.dry_run |= options.dry_run;
    options.dry_run = delete.dry_run;
    let pod = read::find(&call.inner.store, pods, namespace, target)?
        .value()
        .map_err(internal)?;
    let mut change = Change::of(call, pods, namespace, target, Part::Status, &options);
    change.subresource = "eviction";
    let request = change.request(Operation::Create, target);
    admission::mutate(&request, &mut eviction, None).await?;
    admission::validate(&request, Some(&eviction), None).await?;
    if !needs_no_budget(&pod) {
        if let Some((kind, budget)) = budget(call, namespace, &pod)?
            && !unhealthy_may_go(&pod, &budget)
        {
            let change = Change::of(
                call,
                &kind,
                namespace,
                name(&budget),
                Part::Status,
                &options,
            );
            change.run_raw(|budget| spend(budget, target)).await?;
        }
        let change = Change::of(call, pods, namespace, target, Part::Status, &options);
        change.run_raw(|pod| Ok(marked(pod))).await?;
    }
    delete::admitted(call, pods, namespace, target, &delete).await?;
    let _: delete::Deleted = remove(&call.inner, pods, namespace, target, &delete).await?;
    let mut status = Status::success(None);
    status.code = 201;
    let encoding = call.accept()?.encoding;
    Ok(respond::status(&status, encoding))
}

/// Pods that serve nobody (yet, or any more) are not protected.
fn needs_no_budget(pod: &Value) -> bool {
    matches!(
        text(pod, &["status", "phase"]),
        "Succeeded" | "Failed" | "Pending"
    ) || at(pod, &["metadata", "deletionTimestamp"]).is_some()
}

/// The one budget that speaks of a pod, if there is one.
fn budget(
    call: &Call,
    namespace: Option<&str>,
    pod: &Value,
) -> Outcome<Option<(std::sync::Arc<Kind>, Value)>> {
    let Some(kind) = call
        .registry
        .resource("policy", "v1", "poddisruptionbudgets")
        .cloned()
    else {
        return Ok(None);
    };
    let labels = &pod["metadata"]["labels"];
    let prefix = read::prefix(&kind, namespace);
    let page = call
        .inner
        .store
        .range(&prefix, None, None, None, |_| true)
        .map_err(store_failure)?;
    let mut found = None;
    for object in page.objects {
        let budget = object.value().map_err(internal)?;
        // A budget without a selector speaks of no pod, one with an empty one of all.
        let matches = at(&budget, &["spec", "selector"])
            .and_then(|selector| LabelSelector::from_json(selector).ok())
            .is_some_and(|selector| selector.matches_labels(|key| labels.get(key)?.as_str()));
        if !matches || !labels.is_object() {
            continue;
        }
        if found.is_some() {
            return fail(Status::failure(
                500,
                "",
                "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.",
            ));
        }
        found = Some(budget);
    }
    Ok(found.map(|budget| (kind, budget)))
}

/// A pod that is not ready does not count as available: it may go where the budget says so, or where
/// enough others are ready.
fn unhealthy_may_go(pod: &Value, budget: &Value) -> bool {
    let ready = items(pod, &["status", "conditions"])
        .iter()
        .any(|condition| {
            text(condition, &["type"]) == "Ready" && text(condition, &["status"]) == "True"
        });
    if ready {
        return false;
    }
    let wanted = int(budget, &["status", "desiredHealthy"]);
    text(budget, &["spec", "unhealthyPodEvictionPolicy"]) == "AlwaysAllow"
        || (wanted > 0 && int(budget, &["status", "currentHealthy"]) >= wanted)
}

/// Take one disruption out of a budget, and note for whom.
fn spend(budget: &Value, pod: &str) -> Outcome<Value> {
    let own = name(budget);
    let refuse = |message: String, seconds: u32| {
        fail(
            Status::too_many_requests(REFUSED, seconds).with_cause(Cause {
                reason: "DisruptionBudget".into(),
                message,
                field: String::new(),
            }),
        )
    };
    let forbid = |why: &str| fail(Status::forbidden("policy", "poddisruptionbudget", own, why));
    let status = &budget["status"];
    if int(status, &["observedGeneration"]) < int(budget, &["metadata", "generation"]) {
        return refuse(
            format!("The disruption budget {own} is still being processed by the server."),
            10,
        );
    }
    let allowed = int(status, &["disruptionsAllowed"]);
    if allowed < 0 {
        return forbid("pdb disruptions allowed is negative");
    }
    let unseen = crate::values::members(status, &["disruptedPods"]).count();
    if unseen > MOST_UNSEEN {
        return forbid(
            "DisruptedPods map too big - too many evictions not confirmed by PDB controller",
        );
    }
    if allowed == 0 {
        return refuse(
            format!(
                "The disruption budget {own} needs {} healthy pods and has {} currently",
                int(status, &["desiredHealthy"]),
                int(status, &["currentHealthy"])
            ),
            0,
        );
    }
    let mut budget = budget.clone();
    let status = ensure(&mut budget, "status");
    set(status, "disruptionsAllowed", allowed - 1);
    let now = consort_object::time::now();
    set(ensure(status, "disruptedPods"), pod, now.as_str());
    if allowed == 1 {
        for condition in items_mut(status, "conditions") {
            if text(condition, &["type"]) == "DisruptionAllowed" {
                set(condition, "status", "False");
                set(condition, "reason", "InsufficientPods");
                set(condition, "lastTransitionTime", now.as_str());
            }
        }
    }
    Ok(budget)
}

/// A pod that notes why it is about to end.
fn marked(pod: &Value) -> Value {
    let mut pod = pod.clone();
    let status = ensure(&mut pod, "status");
    let condition = json!({
        "type": "DisruptionTarget", "status": "True",
        "reason": "EvictionByEvictionAPI", "message": "Eviction API: evicting",
        "lastTransitionTime": consort_object::time::now(),
    });
    let present = items_mut(status, "conditions")
        .find(|condition| text(condition, &["type"]) == "DisruptionTarget");
    match present {
        Some(present) => *present = condition,
        None => match status.get_mut("conditions").and_then(Value::as_array_mut) {
            Some(conditions) => conditions.push(condition),
            None => set(status, "conditions", json!([condition])),
        },
    }
    pod
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget(allowed: i64) -> Value {
        json!({
            "metadata": {"name": "b", "generation": 1},
            "status": {"observedGeneration": 1, "disruptionsAllowed": allowed,
                "desiredHealthy": 2, "currentHealthy": 2 + allowed},
        })
    }

    #[test]
    fn a_budget_is_spent_one_pod_at_a_time_and_then_refuses_with_its_numbers() {
        let left = spend(&budget(1), "web-0").unwrap();
        assert_eq!(left["status"]["disruptionsAllowed"], 0);
        assert!(left["status"]["disruptedPods"]["web-0"].is_string());
        let status = spend(&left, "web-1").unwrap_err();
        assert_eq!(status.code, 429);
        let cause = &status.details.as_ref().unwrap().causes[0];
        assert_eq!(cause.reason, "DisruptionBudget");
        assert_eq!(
            cause.message,
            "The disruption budget b needs 2 healthy pods and has 3 currently"
        );
        let mut unseen = budget(1);
        unseen["metadata"]["generation"] = json!(2);
        assert_eq!(spend(&unseen, "x").unwrap_err().code, 429);
    }

    #[test]
    fn pods_that_are_not_ready_go_when_enough_others_are() {
        let pod = json!({"status": {"phase": "Running"}});
        assert!(unhealthy_may_go(&pod, &budget(0)));
        let mut short = budget(0);
        short["status"]["currentHealthy"] = json!(1);
        assert!(!unhealthy_may_go(&pod, &short));
        short["spec"]["unhealthyPodEvictionPolicy"] = json!("AlwaysAllow");
        assert!(unhealthy_may_go(&pod, &short));
    }
}
