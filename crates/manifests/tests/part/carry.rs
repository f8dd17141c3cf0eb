//! What is carried out.

use std::collections::BTreeMap;

use consort_plan::Intent;
use serde_json::{Value, json};

use crate::cluster::{Cluster, apply, carry, known, plan, told, try_plan};

#[tokio::test(flavor = "multi_thread")]
async fn all_of_a_part_goes_in_reverse_and_nothing_else() {
    let cluster = Cluster::start().await;
    cluster.file(
        "a.yaml",
        "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: web}\n---\napiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {name: web}\nroleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: web}\nsubjects: [{kind: ServiceAccount, name: web}]\n---\napiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {name: web}\nrules: []\n",
    );
    let part = cluster.part(json!({}));
    let carried = apply(&cluster, &part).await;
    assert_eq!(
        carried.steps.last().unwrap().0,
        "rbac.authorization.k8s.io/v1/RoleBinding/shop/web"
    );
    assert_eq!(told(&plan(&part).await), [""; 0]);
    let gone = try_plan(&part, Intent::Destroy, &known(&[])).await.unwrap();
    assert_eq!(told(&gone).len(), 3);
    let carried = carry(&cluster, &part, &gone, Intent::Destroy, &BTreeMap::new()).await;
    assert_eq!(
        carried.steps[0].0,
        "rbac.authorization.k8s.io/v1/RoleBinding/shop/web"
    );
    assert!(
        carried
            .steps
            .iter()
            .all(|(_, problems)| problems.is_empty())
    );
    assert!(
        cluster
            .get("/api/v1/namespaces/shop/serviceaccounts/web")
            .await
            .is_none()
    );
    assert!(cluster.get("/api/v1/namespaces/shop").await.is_some());
    let again = try_plan(&part, Intent::Destroy, &known(&[])).await.unwrap();
    assert!(again.changes.is_empty());
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_step_may_be_repeated() {
    let cluster = Cluster::start().await;
    cluster.file(
        "a.yaml",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {x: z}\n",
    );
    let part = cluster.part(json!({}));
    let first = plan(&part).await;
    for _ in 0..2 {
        let carried = carry(&cluster, &part, &first, Intent::Apply, &BTreeMap::new()).await;
        assert!(
            carried
                .steps
                .iter()
                .all(|(_, problems)| problems.is_empty())
        );
    }
    let gone = try_plan(&part, Intent::Destroy, &known(&[])).await.unwrap();
    for _ in 0..2 {
        let carried = carry(&cluster, &part, &gone, Intent::Destroy, &BTreeMap::new()).await;
        assert!(
            carried
                .steps
                .iter()
                .all(|(_, problems)| problems.is_empty())
        );
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_finalizer_that_keeps_an_object_is_named() {
    let cluster = Cluster::start().await;
    cluster.file(
        "a.yaml",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, finalizers: [example.com/hold]}\n",
    );
    let part = cluster.part(json!({}));
    apply(&cluster, &part).await;
    let gone = try_plan(&part, Intent::Destroy, &known(&[])).await.unwrap();
    let release = async {
        let path = "/api/v1/namespaces/shop/configmaps/a";
        cluster.noted("example.com/hold").await;
        cluster
            .patch(path, "holder", &json!({"metadata": {"finalizers": null}}))
            .await;
    };
    let none = BTreeMap::new();
    let (carried, ()) = tokio::join!(
        carry(&cluster, &part, &gone, Intent::Destroy, &none),
        release
    );
    assert!(carried.steps[0].1.is_empty(), "{:?}", carried.steps);
    assert_eq!(carried.notes, ["waits for the finalizers example.com/hold"]);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workload_is_waited_for_and_its_pods_trouble_is_told() {
    let cluster = Cluster::start().await;
    cluster.file(
        "job.yaml",
        "apiVersion: batch/v1\nkind: Job\nmetadata: {name: j}\nspec:\n  template:\n    spec:\n      restartPolicy: Never\n      containers: [{name: c, image: i}]\n",
    );
    let part = cluster.part(json!({}));
    let first = plan(&part).await;
    let controller = async {
        let path = "/apis/batch/v1/namespaces/shop/jobs/j";
        let live = cluster.until(path, |_| true).await;
        let labels = live["spec"]["selector"]["matchLabels"].clone();
        let pod: Value = json!({"metadata": {"name": "p", "labels": labels}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
        cluster
            .send(
                "POST",
                "/api/v1/namespaces/shop/pods",
                &pod,
                "application/json",
            )
            .await
            .unwrap();
        cluster
            .patch(
                "/api/v1/namespaces/shop/pods/p/status",
                "kubelet",
                &json!({"status": {"containerStatuses": [{"name": "c", "image": "i", "imageID": "", "ready": false, "restartCount": 0,
                    "state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}}]}}),
            )
            .await;
        cluster.noted("ImagePullBackOff").await;
        cluster
            .patch(
                &format!("{path}/status"),
                "job-controller",
                &json!({"status": {"startTime": "2026-01-01T00:00:00Z", "conditions": [
                    {"type": "FailureTarget", "status": "True", "message": "it has reached its deadline"}]}}),
            )
            .await;
    };
    let none = BTreeMap::new();
    let (carried, ()) = tokio::join!(
        carry(&cluster, &part, &first, Intent::Apply, &none),
        controller
    );
    let problem = &carried.steps[0].1[0];
    assert_eq!(
        problem.summary,
        "Job shop/j failed: it has reached its deadline"
    );
    assert_eq!(
        problem.detail,
        "pod p: container c: ImagePullBackOff: no such image"
    );
    assert!(
        carried
            .notes
            .iter()
            .any(|note| note.contains("ImagePullBackOff")),
        "{:?}",
        carried.notes
    );
    cluster.stop().await;
}
