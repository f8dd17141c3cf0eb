//! Deletion, namespaces, service accounts, roles and nodes against the real API.

use crate::cluster::{Cluster, NS, eventually};
use consort_workloads::Options;
use k8s_openapi::api::{
    apps::v1::{Deployment, ReplicaSet},
    batch::v1::Job,
    core::v1::{ConfigMap, Namespace, Node, Pod, Secret, ServiceAccount},
    rbac::v1::ClusterRole,
};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PropagationPolicy};
use serde_json::json;
use std::time::Duration;

async fn web(cluster: &Cluster) {
    let web = json!({
        "metadata": {"name": "web"},
        "spec": {
            "replicas": 3, "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "ok"}]}},
        },
    });
    cluster.apply::<Deployment>(web).await;
    cluster
        .until::<Deployment>("web", "it runs", |web| {
            web.status
                .as_ref()
                .is_some_and(|status| status.available_replicas == Some(3))
        })
        .await;
}

async fn sets(cluster: &Cluster) -> Vec<ReplicaSet> {
    cluster
        .api::<ReplicaSet>()
        .list(&ListParams::default())
        .await
        .unwrap()
        .items
}

async fn delete(cluster: &Cluster, policy: PropagationPolicy) {
    let params = DeleteParams {
        propagation_policy: Some(policy),
        ..DeleteParams::default()
    };
    cluster
        .api::<Deployment>()
        .delete("web", &params)
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn background_deletion_takes_the_owner_at_once_and_the_rest_after() {
    let cluster = Cluster::start().await;
    web(&cluster).await;
    delete(&cluster, PropagationPolicy::Background).await;
    assert!(
        cluster
            .api::<Deployment>()
            .get_opt("web")
            .await
            .unwrap()
            .is_none()
    );
    eventually("sets and pods are gone", async || {
        sets(&cluster).await.is_empty() && cluster.living_pods().await.is_empty()
    })
    .await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn foreground_deletion_keeps_the_owner_until_all_else_is_gone() {
    let cluster = Cluster::start().await;
    web(&cluster).await;
    // One pod that cannot go yet holds up the whole chain.
    let held = cluster.living_pods().await.remove(0).metadata.name.unwrap();
    cluster
        .patch::<Pod>(
            &held,
            json!({"metadata": {"finalizers": ["example.com/hold"]}}),
        )
        .await;
    delete(&cluster, PropagationPolicy::Foreground).await;
    eventually("all pods are on their way", async || {
        cluster.living_pods().await.is_empty()
    })
    .await;
    eventually("the other pods are gone", async || {
        cluster
            .api::<Pod>()
            .list(&ListParams::default())
            .await
            .unwrap()
            .items
            .len()
            == 1
    })
    .await;
    let waiting = cluster.api::<Deployment>().get("web").await.unwrap();
    assert_eq!(
        waiting.metadata.finalizers,
        Some(vec!["foregroundDeletion".to_owned()])
    );
    assert_eq!(sets(&cluster).await.len(), 1);
    cluster
        .patch::<Pod>(&held, json!({"metadata": {"finalizers": null}}))
        .await;
    cluster.gone::<Deployment>("web").await;
    assert!(sets(&cluster).await.is_empty());
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orphaning_deletion_leaves_the_rest_running_without_an_owner() {
    let cluster = Cluster::start().await;
    web(&cluster).await;
    delete(&cluster, PropagationPolicy::Orphan).await;
    cluster.gone::<Deployment>("web").await;
    let sets = sets(&cluster).await;
    assert_eq!(sets.len(), 1);
    assert!(sets[0].metadata.owner_references.is_none());
    assert_eq!(cluster.living_pods().await.len(), 3);
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn objects_whose_owner_never_was_go_and_those_with_another_owner_stay() {
    let cluster = Cluster::start().await;
    let real = cluster
        .apply::<ConfigMap>(json!({"metadata": {"name": "real"}}))
        .await;
    let real =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "real", "uid": real.metadata.uid});
    let ghost = json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "ghost", "uid": "6b1a2f0e-0000-4000-8000-000000000000"});
    let wrong_uid = json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "real", "uid": "6b1a2f0e-0000-4000-8000-000000000001"});
    cluster
        .apply::<ConfigMap>(json!({"metadata": {"name": "lost", "ownerReferences": [ghost]}}))
        .await;
    cluster
        .apply::<ConfigMap>(
            json!({"metadata": {"name": "mistaken", "ownerReferences": [wrong_uid]}}),
        )
        .await;
    cluster
        .apply::<ConfigMap>(json!({"metadata": {"name": "kept", "ownerReferences": [real, ghost]}}))
        .await;
    cluster.gone::<ConfigMap>("lost").await;
    cluster.gone::<ConfigMap>("mistaken").await;
    cluster
        .until::<ConfigMap>("kept", "it lost the useless reference", |map| {
            map.metadata
                .owner_references
                .as_ref()
                .is_some_and(|owners| owners.len() == 1)
        })
        .await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_namespace_is_emptied_and_goes() {
    let cluster = Cluster::start().await;
    web(&cluster).await;
    let job = json!({"metadata": {"name": "work"}, "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "ok"}]}}}});
    cluster.apply::<Job>(job).await;
    cluster
        .apply::<Secret>(json!({"metadata": {"name": "key"}}))
        .await;
    let held = json!({"metadata": {"name": "held", "finalizers": ["example.com/hold"]}});
    cluster.apply::<ConfigMap>(held).await;
    let namespaces = cluster.all::<Namespace>();
    namespaces
        .delete(NS, &DeleteParams::default())
        .await
        .unwrap();
    eventually("what holds it up is told", async || {
        let namespace = namespaces.get(NS).await.unwrap();
        let conditions = namespace
            .status
            .iter()
            .flat_map(|status| status.conditions.iter().flatten());
        let mut conditions =
            conditions.filter(|condition| condition.type_ == "NamespaceFinalizersRemaining");
        conditions.next().is_some_and(|condition| {
            condition.status == "True"
                && condition
                    .message
                    .as_ref()
                    .unwrap()
                    .contains("example.com/hold")
        })
    })
    .await;
    assert!(cluster.living_pods().await.is_empty());
    cluster
        .patch::<ConfigMap>("held", json!({"metadata": {"finalizers": null}}))
        .await;
    eventually("the namespace is gone", async || {
        namespaces.get_opt(NS).await.unwrap().is_none()
    })
    .await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn namespaces_get_their_account_and_certificate_back_if_they_lose_them() {
    let cluster = Cluster::start().await;
    cluster
        .until::<ServiceAccount>("default", "it exists", |_| true)
        .await;
    let right = |map: &ConfigMap| {
        map.data
            .as_ref()
            .is_some_and(|data| data["ca.crt"] == "-- the CA --")
    };
    cluster
        .until::<ConfigMap>("kube-root-ca.crt", "it holds the certificate", right)
        .await;
    let first = cluster
        .api::<ServiceAccount>()
        .get("default")
        .await
        .unwrap()
        .metadata
        .uid;
    cluster
        .api::<ServiceAccount>()
        .delete("default", &DeleteParams::default())
        .await
        .unwrap();
    cluster
        .until::<ServiceAccount>("default", "it is made again", |account| {
            account.metadata.uid != first
        })
        .await;
    cluster
        .patch::<ConfigMap>("kube-root-ca.crt", json!({"data": {"ca.crt": "forged"}}))
        .await;
    cluster
        .until::<ConfigMap>("kube-root-ca.crt", "it is put right", right)
        .await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_role_that_joins_an_aggregate_adds_its_rules() {
    let cluster = Cluster::start().await;
    let rule = json!({"apiGroups": ["example.com"], "resources": ["things"], "verbs": ["get"]});
    let role = json!({"metadata": {"name": "things", "labels": {"rbac.authorization.k8s.io/aggregate-to-view": "true"}}, "rules": [rule]});
    cluster
        .create::<ClusterRole>(&serde_json::from_value(role).unwrap())
        .await;
    eventually("view has the rule", async || {
        let view = cluster.all::<ClusterRole>().get("view").await.unwrap();
        view.rules
            .iter()
            .flatten()
            .any(|rule| rule.api_groups.as_deref() == Some(&["example.com".to_owned()]))
    })
    .await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_node_is_given_up_and_its_pods_are_evicted() {
    let grace = Duration::from_secs(2);
    let cluster = Cluster::start_with(Options {
        node_grace: grace,
        ..Options::default()
    })
    .await;
    cluster.node("n2").await;
    let nodes = cluster.all::<Node>();
    // n1 goes on posting its status; n2 does not.
    let beating = {
        let nodes = nodes.clone();
        tokio::spawn(async move {
            loop {
                let now = k8s_openapi::jiff::Timestamp::now().to_string();
                let beat = json!({"status": {"conditions": [{"type": "Ready", "status": "True", "lastHeartbeatTime": now}]}});
                let _ = nodes
                    .patch_status("n1", &PatchParams::default(), &Patch::Merge(&beat))
                    .await;
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        })
    };
    let pod = json!({"metadata": {"name": "stranded", "finalizers": ["example.com/look"]}, "spec": {
        "nodeName": "n2", "containers": [{"name": "c", "image": "ok"}],
        "tolerations": [{"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 1}],
    }});
    cluster.apply::<Pod>(pod).await;
    eventually("n2 is unreachable", async || {
        let node = nodes.get("n2").await.unwrap();
        let taints = node
            .spec
            .iter()
            .flat_map(|spec| spec.taints.iter().flatten());
        let mut evicting = taints.filter(|taint| {
            taint.key == "node.kubernetes.io/unreachable" && taint.effect == "NoExecute"
        });
        evicting.next().is_some()
    })
    .await;
    cluster
        .until::<Pod>("stranded", "not ready any more", |pod| {
            pod.status
                .iter()
                .flat_map(|status| status.conditions.iter().flatten())
                .any(|c| c.reason.as_deref() == Some("NodeNotReady"))
        })
        .await;
    let evicted = cluster
        .until::<Pod>("stranded", "evicted", |pod| {
            pod.metadata.deletion_timestamp.is_some()
        })
        .await;
    let conditions = evicted.status.unwrap().conditions.unwrap();
    assert!(
        conditions
            .iter()
            .any(|condition| condition.type_ == "DisruptionTarget")
    );
    let well = nodes.get("n1").await.unwrap();
    assert!(
        well.spec
            .unwrap_or_default()
            .taints
            .is_none_or(|taints| taints.is_empty())
    );
    beating.abort();
    cluster.end().await;
}
