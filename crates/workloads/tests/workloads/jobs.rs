//! Jobs against the real API.

use crate::cluster::{Cluster, eventually};
use k8s_openapi::api::{batch::v1::Job, core::v1::Pod};
use kube::api::ListParams;
use serde_json::{Value, json};
use std::collections::BTreeSet;

fn job(image: &str, spec: Value) -> Value {
    let mut job = json!({
        "metadata": {"name": "work"},
        "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": image}]}}},
    });
    for (key, value) in spec.as_object().unwrap() {
        job["spec"][key] = value.clone();
    }
    job
}

fn condition(job: &Job, kind: &str) -> Option<String> {
    let conditions = job
        .status
        .iter()
        .flat_map(|status| status.conditions.iter().flatten());
    let mut found =
        conditions.filter(|condition| condition.type_ == kind && condition.status == "True");
    found.next().and_then(|condition| condition.reason.clone())
}

fn is_complete(job: &Job) -> bool {
    condition(job, "Complete").is_some()
}

fn is_failed(job: &Job) -> bool {
    condition(job, "Failed").is_some()
}

async fn pods(cluster: &Cluster) -> Vec<Pod> {
    cluster
        .api::<Pod>()
        .list(&ListParams::default())
        .await
        .unwrap()
        .items
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_runs_to_completion_and_counts_every_pod_once() {
    let cluster = Cluster::start().await;
    cluster
        .apply::<Job>(job("exit-0", json!({"completions": 25, "parallelism": 7})))
        .await;
    let done: Job = cluster.until("work", "complete", is_complete).await;
    let status = done.status.as_ref().unwrap();
    assert_eq!(
        (status.succeeded, status.failed, status.active),
        (Some(25), None, None)
    );
    assert_eq!(
        condition(&done, "SuccessCriteriaMet").as_deref(),
        Some("CompletionsReached")
    );
    assert!(status.start_time.is_some() && status.completion_time.is_some());
    let pods = pods(&cluster).await;
    assert_eq!(pods.len(), 25, "no pod too many was made");
    assert!(
        pods.iter().all(|pod| pod.metadata.finalizers.is_none()),
        "all finalizers came off"
    );
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failing_job_stops_at_its_limit_and_its_policy_can_end_it_at_once() {
    let cluster = Cluster::start().await;
    cluster
        .apply::<Job>(job("exit-3", json!({"backoffLimit": 0})))
        .await;
    let failed: Job = cluster.until("work", "failed", is_failed).await;
    assert_eq!(
        condition(&failed, "Failed").as_deref(),
        Some("BackoffLimitExceeded")
    );
    assert_eq!(
        condition(&failed, "FailureTarget").as_deref(),
        Some("BackoffLimitExceeded")
    );
    assert_eq!(failed.status.unwrap().failed, Some(1));

    let policy = json!({
        "backoffLimit": 100, "parallelism": 3, "completions": 3,
        "podFailurePolicy": {"rules": [{"action": "FailJob", "onExitCodes": {"operator": "In", "values": [42]}}]},
    });
    let mut second = job("exit-42", policy);
    second["metadata"]["name"] = json!("strict");
    cluster.apply::<Job>(second).await;
    let failed: Job = cluster.until("strict", "failed", is_failed).await;
    assert_eq!(
        condition(&failed, "Failed").as_deref(),
        Some("PodFailurePolicy")
    );
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_pod_is_tried_again_after_a_while() {
    let cluster = Cluster::start().await;
    cluster
        .apply::<Job>(job("exit-1", json!({"backoffLimit": 1})))
        .await;
    let started = std::time::Instant::now();
    let failed: Job = cluster.until("work", "failed", is_failed).await;
    assert_eq!(failed.status.unwrap().failed, Some(2));
    assert!(
        started.elapsed().as_secs() >= 8,
        "the second try waited for about ten seconds"
    );
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_indexed_job_runs_each_index_once() {
    let cluster = Cluster::start().await;
    let indexed = json!({"completionMode": "Indexed", "completions": 5, "parallelism": 2});
    cluster.apply::<Job>(job("exit-0", indexed)).await;
    let done: Job = cluster.until("work", "complete", is_complete).await;
    assert_eq!(
        done.status.unwrap().completed_indexes.as_deref(),
        Some("0-4")
    );
    let pods = pods(&cluster).await;
    let indexes: BTreeSet<_> = pods
        .iter()
        .map(|pod| {
            pod.metadata.annotations.as_ref().unwrap()["batch.kubernetes.io/job-completion-index"]
                .clone()
        })
        .collect();
    assert_eq!((pods.len(), indexes.len()), (5, 5));
    let spec = pods[0].spec.as_ref().unwrap();
    assert!(spec.hostname.as_ref().unwrap().starts_with("work-"));
    assert_eq!(
        spec.containers[0].env.as_ref().unwrap()[0].name,
        "JOB_COMPLETION_INDEX"
    );
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_can_be_suspended_resumed_and_goes_when_its_time_is_over() {
    let cluster = Cluster::start().await;
    let spec =
        json!({"suspend": true, "ttlSecondsAfterFinished": 1, "parallelism": 2, "completions": 2});
    cluster.apply::<Job>(job("ok", spec)).await;
    cluster
        .until::<Job>("work", "suspended", |job| {
            condition(job, "Suspended").is_some()
        })
        .await;
    assert!(pods(&cluster).await.is_empty());
    cluster
        .patch::<Job>("work", json!({"spec": {"suspend": false}}))
        .await;
    cluster
        .until::<Job>("work", "two pods run", |job| {
            job.status
                .as_ref()
                .is_some_and(|status| status.active == Some(2) && status.ready == Some(2))
        })
        .await;
    cluster
        .patch::<Job>("work", json!({"spec": {"suspend": true}}))
        .await;
    eventually("its pods are gone", async || {
        pods(&cluster).await.is_empty()
    })
    .await;
    let resumed = cluster
        .patch::<Job>(
            "work",
            json!({"spec": {"suspend": false, "activeDeadlineSeconds": 1}}),
        )
        .await;
    assert!(!is_failed(&resumed));
    let failed = cluster
        .until::<Job>("work", "its deadline passes", is_failed)
        .await;
    assert_eq!(
        condition(&failed, "Failed").as_deref(),
        Some("DeadlineExceeded")
    );
    cluster.gone::<Job>("work").await;
    cluster.end().await;
}
