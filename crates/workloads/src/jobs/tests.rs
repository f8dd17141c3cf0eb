//! Decisions as tables: a job and its pods in, what happens next out.
#![allow(clippy::needless_pass_by_value)] // json! literals read best as arguments

use super::decide::{Plan, World, decide, new_pod};
use crate::pods::tests::{at, pod};
use k8s_openapi::api::{batch::v1::Job, core::v1::Pod};
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};

fn job(spec: Value, status: Value) -> Job {
    let mut value = json!({
        "metadata": {"name": "work", "namespace": "shop", "uid": "j"},
        "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}},
        "status": status,
    });
    for (key, part) in spec.as_object().unwrap() {
        value["spec"][key] = part.clone();
    }
    serde_json::from_value(value).unwrap()
}

/// A pod of the job; `tracked` says whether it still has the finalizer.
fn worker(uid: &str, phase: &str, tracked: bool, ended: i64) -> Pod {
    let mut value = json!({
        "metadata": {"name": uid, "uid": uid, "creationTimestamp": at(0).to_string()},
        "spec": {"nodeName": "n", "containers": []},
        "status": {"phase": phase},
    });
    if tracked {
        value["metadata"]["finalizers"] = json!([super::TRACKING]);
    }
    if matches!(phase, "Succeeded" | "Failed") {
        let code = i32::from(phase == "Failed");
        value["status"]["containerStatuses"] = json!([{
            "name": "c", "image": "i", "imageID": "", "ready": false, "restartCount": 0,
            "state": {"terminated": {"exitCode": code, "finishedAt": at(ended).to_string()}},
        }]);
    }
    pod(value)
}

fn indexed(mut pod: Pod, index: i32, failures: i32) -> Pod {
    pod.metadata.annotations = Some(
        [
            (
                "batch.kubernetes.io/job-completion-index".to_owned(),
                index.to_string(),
            ),
            (
                "batch.kubernetes.io/job-index-failure-count".to_owned(),
                failures.to_string(),
            ),
        ]
        .into(),
    );
    pod
}

fn planned(job: &Job, pods: &[Pod], now: i64) -> Plan {
    let pods: Vec<_> = pods.iter().cloned().map(Arc::new).collect();
    decide(&World {
        job,
        pods: &pods,
        now: at(now),
    })
}

fn reasons(plan: &Plan) -> Vec<String> {
    let conditions = plan
        .status
        .conditions
        .iter()
        .flatten()
        .filter(|condition| condition.status == "True");
    conditions
        .map(|condition| {
            format!(
                "{}:{}",
                condition.type_,
                condition.reason.as_deref().unwrap_or_default()
            )
        })
        .collect()
}

fn names(pods: &[Arc<Pod>]) -> Vec<&str> {
    pods.iter()
        .filter_map(|pod| pod.metadata.name.as_deref())
        .collect()
}

#[test]
fn pods_are_made_up_to_parallelism_and_never_more_than_are_left_to_do() {
    // spec, succeeded so far, running now, to create
    let table = [
        (json!({}), 0, 0, 1),
        (json!({"parallelism": 4, "completions": 10}), 0, 1, 3),
        (json!({"parallelism": 4, "completions": 10}), 8, 1, 1),
        (json!({"parallelism": 4}), 0, 1, 3),
        (json!({"parallelism": 0, "completions": 3}), 0, 0, 0),
    ];
    for (mut spec, succeeded, running, create) in table {
        if spec.as_object().unwrap().is_empty() {
            spec = json!({"parallelism": 1, "completions": 1});
        }
        let pods: Vec<_> = (0..running)
            .map(|n| worker(&format!("r{n}"), "Running", true, 0))
            .collect();
        let plan = planned(
            &job(spec.clone(), json!({"succeeded": succeeded})),
            &pods,
            10,
        );
        assert_eq!(
            (plan.create.len(), plan.delete.len()),
            (create, 0),
            "{spec}"
        );
        assert_eq!(plan.status.active, (running > 0).then_some(running));
    }
    let shrunk = job(json!({"parallelism": 1, "completions": 10}), json!({}));
    let pods: Vec<_> = (0..3)
        .map(|n| worker(&format!("r{n}"), "Running", true, 0))
        .collect();
    assert_eq!(planned(&shrunk, &pods, 10).delete.len(), 2);
}

#[test]
fn a_finished_pod_is_noted_then_freed_then_counted() {
    let spec = json!({"parallelism": 1, "completions": 2});
    // Finished, with its finalizer: noted, and to be freed.
    let first = planned(
        &job(spec.clone(), json!({})),
        &[worker("a", "Succeeded", true, 5)],
        10,
    );
    assert_eq!(first.status.succeeded, None);
    let notes = first.status.uncounted_terminated_pods.clone().unwrap();
    assert_eq!(notes.succeeded, Some(vec!["a".to_owned()]));
    assert_eq!(names(&first.untrack), ["a"]);

    // The note is written but the finalizer still there: nothing is counted, it is freed again.
    let noted = serde_json::to_value(&first.status).unwrap();
    let again = planned(
        &job(spec.clone(), noted.clone()),
        &[worker("a", "Succeeded", true, 5)],
        11,
    );
    assert_eq!(
        (again.status.succeeded, names(&again.untrack)),
        (None, vec!["a"])
    );

    // Freed, or even gone: counted, once.
    for pods in [vec![worker("a", "Succeeded", false, 5)], vec![]] {
        let counted = planned(&job(spec.clone(), noted.clone()), &pods, 12);
        assert_eq!(counted.status.succeeded, Some(1));
        assert_eq!(
            counted
                .status
                .uncounted_terminated_pods
                .as_ref()
                .unwrap()
                .succeeded,
            None
        );
        let after = serde_json::to_value(&counted.status).unwrap();
        assert_eq!(
            planned(&job(spec.clone(), after), &pods, 13)
                .status
                .succeeded,
            Some(1)
        );
    }
}

#[test]
fn the_end_is_told_only_when_all_is_counted_and_nothing_runs() {
    let spec = json!({"parallelism": 2, "completions": 1});
    let noted = json!({"uncountedTerminatedPods": {"succeeded": ["a"]}});
    let done = worker("a", "Succeeded", false, 5);
    let plan = planned(
        &job(spec.clone(), noted.clone()),
        &[done.clone(), worker("b", "Running", true, 0)],
        10,
    );
    assert_eq!(reasons(&plan), ["SuccessCriteriaMet:CompletionsReached"]);
    assert_eq!(names(&plan.delete), ["b"]);
    let plan = planned(&job(spec, noted), &[done], 10);
    assert_eq!(
        reasons(&plan),
        [
            "SuccessCriteriaMet:CompletionsReached",
            "Complete:CompletionsReached"
        ]
    );
    assert!(plan.status.completion_time.is_some());
}

#[test]
fn failures_wait_longer_each_time_until_the_limit_is_passed() {
    let spec = json!({"parallelism": 1, "completions": 1, "backoffLimit": 2});
    let status = |failed: i32| json!({"failed": failed});
    let failed = |count: i32| {
        (0..count)
            .map(|n| worker(&format!("f{n}"), "Failed", false, 100))
            .collect::<Vec<_>>()
    };
    let plan = planned(&job(spec.clone(), status(1)), &failed(1), 104);
    assert_eq!(
        (plan.create.len(), plan.look_again),
        (0, Some(Duration::from_secs(6)))
    );
    assert_eq!(
        planned(&job(spec.clone(), status(1)), &failed(1), 110)
            .create
            .len(),
        1
    );
    let plan = planned(&job(spec.clone(), status(2)), &failed(2), 110);
    assert_eq!(
        (plan.create.len(), plan.look_again),
        (0, Some(Duration::from_secs(10)))
    );
    let plan = planned(&job(spec, status(3)), &failed(3), 110);
    assert_eq!(
        reasons(&plan),
        [
            "FailureTarget:BackoffLimitExceeded",
            "Failed:BackoffLimitExceeded"
        ]
    );
}

#[test]
fn a_pod_that_ended_with_its_node_does_not_count_unless_a_rule_says_so() {
    let spec = json!({"parallelism": 1, "completions": 1, "backoffLimit": 0});
    let mut pod = worker("a", "Failed", true, 5);
    let status = pod.status.as_mut().unwrap();
    status.reason = Some("Terminated".to_owned());
    status.conditions = serde_json::from_value(json!([
        {"type": "DisruptionTarget", "status": "True", "reason": "TerminationByKubelet"}]))
    .unwrap();
    let plan = planned(
        &job(spec.clone(), json!({})),
        std::slice::from_ref(&pod),
        100,
    );
    assert!(reasons(&plan).is_empty());
    assert_eq!(
        (names(&plan.untrack), plan.status.failed, plan.create.len()),
        (vec!["a"], None, 1)
    );
    let mut strict = spec;
    strict["podFailurePolicy"] = json!({"rules": [{"action": "Count", "onPodConditions":
        [{"type": "DisruptionTarget", "status": "True"}]}]});
    let plan = planned(&job(strict, json!({})), &[pod], 100);
    assert_eq!(reasons(&plan), ["FailureTarget:BackoffLimitExceeded"]);
}

#[test]
fn the_failure_policy_ignores_counts_or_ends() {
    let spec = |action: &str| {
        json!({"parallelism": 1, "completions": 1, "backoffLimit": 0, "podFailurePolicy": {"rules": [
            {"action": action, "onExitCodes": {"operator": "In", "values": [1]}},
        ]}})
    };
    let pods = [worker("a", "Failed", true, 5)];
    let ignored = planned(&job(spec("Ignore"), json!({})), &pods, 100);
    assert!(reasons(&ignored).is_empty());
    assert_eq!(
        (names(&ignored.untrack), ignored.status.failed),
        (vec!["a"], None)
    );
    let counted = planned(&job(spec("Count"), json!({})), &pods, 100);
    assert_eq!(reasons(&counted), ["FailureTarget:BackoffLimitExceeded"]);
    let ended = planned(&job(spec("FailJob"), json!({})), &pods, 100);
    assert_eq!(reasons(&ended), ["FailureTarget:PodFailurePolicy"]);
    let why = ended.status.conditions.as_ref().unwrap()[0]
        .message
        .clone()
        .unwrap();
    assert_eq!(
        why,
        "Container c for pod /a failed with exit code 1 matching FailJob rule at index 0"
    );
}

#[test]
fn indexes_run_once_each_and_fail_by_themselves_if_they_have_their_own_limit() {
    let base = json!({"completionMode": "Indexed", "parallelism": 3, "completions": 4});
    let plan = planned(
        &job(base.clone(), json!({"completedIndexes": "1"})),
        &[indexed(worker("a", "Running", true, 0), 0, 0)],
        10,
    );
    assert_eq!(plan.create, [Some(2), Some(3)]);
    // Two pods of one index: the younger by name goes.
    let twins = [
        indexed(worker("a", "Running", true, 0), 0, 0),
        indexed(worker("b", "Running", true, 0), 0, 0),
    ];
    assert_eq!(
        names(&planned(&job(base.clone(), json!({})), &twins, 10).delete),
        ["b"]
    );

    let mut own = base;
    own["backoffLimitPerIndex"] = json!(0);
    let pods = [indexed(worker("a", "Failed", true, 5), 0, 0)];
    let plan = planned(
        &job(
            own.clone(),
            json!({"completedIndexes": "1-3", "succeeded": 3}),
        ),
        &pods,
        100,
    );
    assert_eq!(plan.status.failed_indexes.as_deref(), Some("0"));
    assert_eq!(reasons(&plan), ["FailureTarget:FailedIndexes"]);
    assert!(plan.create.is_empty());
}

#[test]
fn an_index_that_failed_is_tried_again_with_its_count_carried_on() {
    let spec = json!({"completionMode": "Indexed", "parallelism": 1, "completions": 1, "backoffLimitPerIndex": 2});
    let pods = [indexed(worker("a", "Failed", false, 5), 0, 0)];
    let job = job(spec, json!({"failed": 1}));
    assert!(planned(&job, &pods, 10).create.is_empty(), "it waits first");
    let plan = planned(&job, &pods, 15);
    assert_eq!(plan.create, [Some(0)]);
    let owner = consort_reconcile::owner_reference(&job);
    let made = new_pod(&job, owner, Some(0), plan.failures_of(0));
    let annotations = made.metadata.annotations.unwrap();
    assert_eq!(
        annotations["batch.kubernetes.io/job-index-failure-count"],
        "1"
    );
}

#[test]
fn a_success_policy_ends_the_job_early() {
    let spec = json!({"completionMode": "Indexed", "parallelism": 3, "completions": 9,
        "successPolicy": {"rules": [{"succeededIndexes": "0-2", "succeededCount": 2}]}});
    let plan = planned(
        &job(
            spec.clone(),
            json!({"completedIndexes": "1", "succeeded": 1}),
        ),
        &[],
        10,
    );
    assert!(reasons(&plan).is_empty());
    let plan = planned(
        &job(spec, json!({"completedIndexes": "0,1", "succeeded": 2})),
        &[],
        10,
    );
    assert_eq!(
        reasons(&plan),
        ["SuccessCriteriaMet:SuccessPolicy", "Complete:SuccessPolicy"]
    );
}

#[test]
fn a_replacement_waits_for_the_end_of_a_terminating_pod_if_told_to() {
    let mut going = worker("a", "Running", true, 0);
    going.metadata.deletion_timestamp =
        Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(at(0)));
    let spec =
        |policy: &str| json!({"parallelism": 1, "completions": 1, "podReplacementPolicy": policy});
    assert_eq!(
        planned(
            &job(spec("Failed"), json!({})),
            std::slice::from_ref(&going),
            100
        )
        .create
        .len(),
        0
    );
    let plan = planned(&job(spec("TerminatingOrFailed"), json!({})), &[going], 100);
    assert_eq!((plan.create.len(), plan.status.terminating), (1, Some(1)));
}

#[test]
fn a_job_that_has_outlived_its_time_goes_and_one_that_is_deleted_frees_its_pods() {
    let ended = json!({"conditions": [{"type": "Complete", "status": "True", "lastTransitionTime": at(0).to_string()}]});
    let job = job(json!({"ttlSecondsAfterFinished": 30}), ended);
    let plan = planned(&job, &[], 20);
    assert_eq!(
        (plan.expired, plan.look_again),
        (false, Some(Duration::from_secs(10)))
    );
    assert!(planned(&job, &[], 30).expired);
    let mut leaving = job;
    leaving.metadata.deletion_timestamp =
        Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(at(0)));
    let plan = planned(&leaving, &[worker("a", "Running", true, 0)], 30);
    assert_eq!((plan.expired, names(&plan.untrack)), (false, vec!["a"]));
}
