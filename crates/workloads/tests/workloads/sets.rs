//! What upstream's conformance tests demand of replication controllers, circles of owners and mirrored
//! endpoints, against the real API.

use crate::cluster::{Cluster, eventually};
use k8s_openapi::api::{
    core::v1::{Endpoints, Pod, ReplicationController, Service},
    discovery::v1::EndpointSlice,
};
use kube::{
    ResourceExt,
    api::{DeleteParams, ListParams, PropagationPolicy},
};
use serde_json::{Value, json};

fn controller(replicas: i32) -> Value {
    json!({
        "metadata": {"name": "old"},
        "spec": {
            "replicas": replicas, "selector": {"app": "old"},
            "template": {"metadata": {"labels": {"app": "old"}}, "spec": {"containers": [{"name": "c", "image": "ok"}]}},
        },
    })
}

fn foreground() -> DeleteParams {
    DeleteParams {
        propagation_policy: Some(PropagationPolicy::Foreground),
        ..DeleteParams::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replication_controller_adopts_scales_releases_and_goes_with_its_pods() {
    let cluster = Cluster::start().await;
    let orphan = json!({"metadata": {"name": "orphan", "labels": {"app": "old"}}, "spec": {"containers": [{"name": "c", "image": "ok"}]}});
    cluster.apply::<Pod>(orphan).await;
    cluster.apply::<ReplicationController>(controller(2)).await;
    cluster
        .until::<ReplicationController>("old", "two pods are ready", |own| {
            let status = own.status.as_ref();
            status.is_some_and(|status| status.ready_replicas == Some(2) && status.replicas == 2)
        })
        .await;
    let adopted = cluster.api::<Pod>().get("orphan").await.unwrap();
    assert_eq!(adopted.owner_references()[0].kind, "ReplicationController");
    assert_eq!(cluster.living_pods().await.len(), 2);

    cluster
        .patch::<Pod>("orphan", json!({"metadata": {"labels": {"app": "other"}}}))
        .await;
    cluster
        .until::<Pod>("orphan", "it is released", |pod| {
            pod.owner_references().is_empty()
        })
        .await;
    eventually("another takes its place", async || {
        cluster.living_pods().await.len() == 3
    })
    .await;
    let old = cluster.api::<ReplicationController>();
    old.delete("old", &foreground()).await.unwrap();
    cluster.gone::<ReplicationController>("old").await;
    let left = cluster.living_pods().await;
    assert_eq!(left.len(), 1, "only the released pod is left");
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn owners_in_a_circle_do_not_wait_for_each_other_for_ever() {
    let cluster = Cluster::start().await;
    let mut pods = Vec::new();
    for name in ["a", "b", "c"] {
        let pod = json!({"metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": "ok"}]}});
        pods.push(cluster.apply::<Pod>(pod).await);
    }
    for (at, pod) in pods.iter().enumerate() {
        let owner = &pods[(at + 2) % 3];
        let reference = json!({
            "apiVersion": "v1", "kind": "Pod", "name": owner.name_any(), "uid": owner.uid(),
            "controller": true, "blockOwnerDeletion": true,
        });
        let patch = json!({"metadata": {"ownerReferences": [reference]}});
        cluster.patch::<Pod>(&pod.name_any(), patch).await;
    }
    let api = cluster.api::<Pod>();
    api.delete("a", &foreground()).await.unwrap();
    eventually("all of them are gone", async || {
        let all = api.list(&ListParams::default()).await.unwrap();
        all.items.is_empty()
    })
    .await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endpoints_of_a_service_without_selector_are_mirrored_while_they_last() {
    let cluster = Cluster::start().await;
    let service =
        json!({"metadata": {"name": "db"}, "spec": {"ports": [{"name": "sql", "port": 5432}]}});
    cluster.apply::<Service>(service).await;
    let at = |ip: &str| {
        json!({
            "metadata": {"name": "db"},
            "subsets": [{"addresses": [{"ip": ip}], "ports": [{"name": "sql", "port": 5432}]}],
        })
    };
    let slices = cluster.api::<EndpointSlice>();
    let of_service = ListParams::default().labels("kubernetes.io/service-name=db");
    for (round, ip) in ["10.1.2.3", "10.1.2.4"].into_iter().enumerate() {
        if round == 0 {
            cluster.apply::<Endpoints>(at(ip)).await;
        } else {
            cluster.patch::<Endpoints>("db", at(ip)).await;
        }
        eventually("the slice says so", async || {
            let found = slices.list(&of_service).await.unwrap().items;
            let [slice] = &found[..] else { return false };
            let held = slice.endpoints.as_deref().unwrap_or_default();
            held.len() == 1 && held[0].addresses == [ip]
        })
        .await;
    }
    let endpoints = cluster.api::<Endpoints>();
    endpoints
        .delete("db", &DeleteParams::default())
        .await
        .unwrap();
    eventually("the slice is gone", async || {
        slices.list(&of_service).await.unwrap().items.is_empty()
    })
    .await;
    cluster.end().await;
}
