//! Quotas, counted by their controller and charged by admission, against the real API.

use crate::cluster::{Cluster, NS, eventually};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Pod, ResourceQuota},
};
use kube::{
    Api,
    api::{DeleteParams, ListParams, PostParams},
};
use serde_json::{Value, json};

async fn used(quotas: &Api<ResourceQuota>) -> Value {
    let quota = quotas.get("q").await.unwrap();
    json!(quota.status.and_then(|status| status.used))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_used_rises_with_what_is_made_and_falls_with_what_goes() {
    let cluster = Cluster::start().await;
    let quotas = Api::<ResourceQuota>::namespaced(cluster.client.clone(), NS);
    let maps = Api::<ConfigMap>::namespaced(cluster.client.clone(), NS);
    let pods = Api::<Pod>::namespaced(cluster.client.clone(), NS);
    let map = |name: &str| serde_json::from_value(json!({"metadata": {"name": name}})).unwrap();
    let create = PostParams::default();
    eventually("the namespace is furnished", async || {
        maps.get_opt("kube-root-ca.crt").await.unwrap().is_some()
    })
    .await;
    maps.create(&create, &map("before")).await.unwrap();
    let others = maps.list(&ListParams::default()).await.unwrap().items.len();
    let hard = json!({"pods": "2", "count/configmaps": (others + 1).to_string(),
        "count/deployments.apps": "5", "count/widgets.example.com": "1"});
    let quota: ResourceQuota =
        serde_json::from_value(json!({"metadata": {"name": "q"}, "spec": {"hard": hard}})).unwrap();
    quotas.create(&create, &quota).await.unwrap();
    // The first write waits for the count; what was there before counts.
    maps.create(&create, &map("a")).await.unwrap();
    let full = maps.create(&create, &map("b")).await.unwrap_err();
    assert!(full.to_string().contains("exceeded quota: q"), "{full}");
    maps.delete("a", &DeleteParams::default()).await.unwrap();
    eventually("a map that is gone is given back", async || {
        used(&quotas).await["count/configmaps"] == json!(others.to_string())
    })
    .await;
    maps.create(&create, &map("b")).await.unwrap();

    // A deployment gets as many pods as there is room for, and more when there is more.
    let deployment: Deployment =
        serde_json::from_value(json!({"metadata": {"name": "web"}, "spec": {"replicas": 3,
        "selector": {"matchLabels": {"app": "web"}},
        "template": {"metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "main", "image": "x"}]}}}}))
        .unwrap();
    let deployments = Api::<Deployment>::namespaced(cluster.client.clone(), NS);
    deployments.create(&create, &deployment).await.unwrap();
    eventually("two pods are made", async || {
        let now = used(&quotas).await;
        now["pods"] == "2" && now["count/deployments.apps"] == "1"
    })
    .await;
    assert_eq!(
        pods.list(&ListParams::default()).await.unwrap().items.len(),
        2
    );
    deployments
        .delete("web", &DeleteParams::foreground())
        .await
        .unwrap();
    eventually("pods that are gone are given back", async || {
        let now = used(&quotas).await;
        now["pods"] == "0" && now["count/deployments.apps"] == "0"
    })
    .await;
    cluster.end().await;
}
