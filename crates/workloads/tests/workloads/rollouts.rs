//! Deployments and ReplicaSets against the real API.

use crate::cluster::{Cluster, eventually};
use consort_reconcile::Event;
use futures::StreamExt;
use k8s_openapi::api::{
    apps::v1::{Deployment, ReplicaSet},
    core::v1::{Pod, Service},
    discovery::v1::EndpointSlice,
};
use kube::api::{DeleteParams, ListParams, WatchEvent, WatchParams};
use serde_json::{Value, json};
use std::collections::HashMap;

fn deployment(replicas: i32, image: &str, strategy: Value) -> Value {
    json!({
        "metadata": {"name": "web", "annotations": {"kubernetes.io/change-cause": "first"}},
        "spec": {
            "replicas": replicas, "strategy": strategy,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "c", "image": image}]},
            },
        },
    })
}

fn image(image: &str) -> Value {
    json!({"spec": {"template": {"spec": {"containers": [{"name": "c", "image": image}]}}}})
}

/// What `kubectl rollout status` waits for.
fn is_done(deployment: &Deployment) -> bool {
    let Some(status) = &deployment.status else {
        return false;
    };
    let wanted = deployment.spec.replicas.unwrap_or(1);
    status.observed_generation == deployment.metadata.generation
        && status.updated_replicas.unwrap_or_default() == wanted
        && status.replicas.unwrap_or_default() == wanted
        && status.available_replicas.unwrap_or_default() == wanted
}

fn reason(deployment: &Deployment, kind: &str) -> String {
    let conditions = deployment
        .status
        .iter()
        .flat_map(|status| status.conditions.iter().flatten());
    let mut reasons = conditions.filter(|condition| condition.type_.as_deref() == Some(kind));
    reasons
        .next()
        .and_then(|condition| condition.reason.clone())
        .unwrap_or_default()
}

fn revision(annotations: Option<&std::collections::BTreeMap<String, String>>) -> &str {
    annotations
        .and_then(|all| all.get("deployment.kubernetes.io/revision"))
        .map_or("", String::as_str)
}

async fn sets(cluster: &Cluster) -> Vec<ReplicaSet> {
    let mut sets = cluster
        .api::<ReplicaSet>()
        .list(&ListParams::default())
        .await
        .unwrap()
        .items;
    sets.sort_by_key(|set| revision(set.metadata.annotations.as_ref()).to_owned());
    sets
}

/// The least number of ready pods and the most pods there ever are, until a pod `end` appears.
/// Pods that are being deleted do not count.
async fn extremes(api: kube::Api<Pod>) -> (i32, i32) {
    let list = api.list(&ListParams::default()).await.unwrap();
    let is_ready = |pod: &Pod| {
        let mut conditions = pod
            .status
            .iter()
            .flat_map(|status| status.conditions.iter().flatten());
        conditions.any(|condition| condition.type_ == "Ready" && condition.status == "True")
    };
    let mut pods: HashMap<String, bool> = HashMap::new();
    for pod in list
        .items
        .iter()
        .filter(|pod| pod.metadata.deletion_timestamp.is_none())
    {
        pods.insert(pod.metadata.uid.clone().unwrap(), is_ready(pod));
    }
    let version = list.metadata.resource_version.unwrap();
    let mut watch = std::pin::pin!(api.watch(&WatchParams::default(), &version).await.unwrap());
    let (mut least, mut most) = (i32::MAX, 0);
    while let Some(event) = watch.next().await {
        match event.unwrap() {
            WatchEvent::Added(pod) if pod.metadata.name.as_deref() == Some("end") => break,
            WatchEvent::Added(pod) | WatchEvent::Modified(pod)
                if pod.metadata.deletion_timestamp.is_none() =>
            {
                pods.insert(pod.metadata.uid.clone().unwrap(), is_ready(&pod));
            }
            WatchEvent::Added(pod) | WatchEvent::Modified(pod) | WatchEvent::Deleted(pod) => {
                pods.remove(pod.metadata.uid.as_deref().unwrap());
            }
            _ => {}
        }
        most = most.max(pods.len() as i32);
        least = least.min(pods.values().filter(|ready| **ready).count() as i32);
    }
    (least, most)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deployment_rolls_out_updates_within_bounds_and_undoes() {
    let cluster = Cluster::start().await;
    let strategy =
        json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 2, "maxUnavailable": 1}});
    cluster
        .apply::<Deployment>(deployment(6, "ok", strategy))
        .await;
    let done: Deployment = cluster.until("web", "the rollout is done", is_done).await;
    let done = if reason(&done, "Progressing") == "NewReplicaSetAvailable" {
        done
    } else {
        cluster
            .until("web", "complete", |d| {
                reason(d, "Progressing") == "NewReplicaSetAvailable"
            })
            .await
    };
    assert_eq!(reason(&done, "Available"), "MinimumReplicasAvailable");
    assert_eq!(revision(done.metadata.annotations.as_ref()), "1");
    let before = sets(&cluster).await;
    assert_eq!(before.len(), 1);
    let hash = before[0].metadata.labels.as_ref().unwrap()["pod-template-hash"].clone();
    assert_eq!(
        before[0].metadata.name.as_deref(),
        Some(&*format!("web-{hash}"))
    );
    assert_eq!(
        before[0].metadata.annotations.as_ref().unwrap()["kubernetes.io/change-cause"],
        "first"
    );

    // Every state the pods go through is looked at: a plain watch leaves none out.
    let watch = tokio::spawn(extremes(cluster.api::<Pod>()));
    let mut second = image("ok");
    second["spec"]["template"]["spec"]["containers"][0]["env"] =
        json!([{"name": "V", "value": "2"}]);
    cluster.patch::<Deployment>("web", second).await;
    let done: Deployment = cluster
        .until("web", "the update is done", |d| {
            is_done(d) && revision(d.metadata.annotations.as_ref()) == "2"
        })
        .await;
    assert_eq!(done.status.unwrap().collision_count, None);
    let after = sets(&cluster).await;
    assert_eq!(
        after
            .iter()
            .map(|set| set.spec.replicas.unwrap())
            .collect::<Vec<_>>(),
        [0, 6]
    );

    // Undo puts the old template back: the old set is the new one again, as revision 3.
    cluster.patch::<Deployment>("web", image("ok")).await;
    cluster
        .until::<Deployment>("web", "the undo is done", |d| {
            is_done(d) && revision(d.metadata.annotations.as_ref()) == "3"
        })
        .await;
    let after = sets(&cluster).await;
    assert_eq!(after.len(), 2);
    assert_eq!(
        after[1].metadata.labels.as_ref().unwrap()["pod-template-hash"],
        hash
    );
    assert_eq!(
        after[1].metadata.annotations.as_ref().unwrap()["deployment.kubernetes.io/revision-history"],
        "1"
    );
    cluster.apply::<Pod>(json!({"metadata": {"name": "end"}, "spec": {"containers": [{"name": "c", "image": "stuck"}]}})).await;
    let (least, most) = watch.await.unwrap();
    cluster.end().await;
    assert!(least >= 5, "{least} were ready at the lowest point");
    assert!(most <= 8, "{most} existed at the highest point");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_deployment_scales_but_does_not_roll_out_until_resumed() {
    let cluster = Cluster::start().await;
    cluster
        .apply::<Deployment>(deployment(2, "ok", json!({"type": "RollingUpdate"})))
        .await;
    cluster.until::<Deployment>("web", "done", is_done).await;
    let change = json!({"spec": {
        "paused": true, "replicas": 4, "template": {"metadata": {"annotations": {"changed": "yes"}}},
    }});
    cluster.patch::<Deployment>("web", change).await;
    let paused: Deployment = cluster
        .until("web", "it is paused and has grown", |d| {
            reason(d, "Progressing") == "DeploymentPaused"
                && d.status.as_ref().unwrap().available_replicas == Some(4)
                && d.status.as_ref().unwrap().observed_generation == d.metadata.generation
        })
        .await;
    assert_eq!(paused.status.unwrap().updated_replicas, None);
    assert_eq!(sets(&cluster).await.len(), 1);
    cluster
        .patch::<Deployment>("web", json!({"spec": {"paused": false}}))
        .await;
    cluster
        .until::<Deployment>("web", "done after resuming", is_done)
        .await;
    assert_eq!(sets(&cluster).await.len(), 2);
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollout_that_cannot_finish_keeps_the_old_pods_and_misses_its_deadline() {
    let cluster = Cluster::start().await;
    let strategy =
        json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}});
    cluster
        .apply::<Deployment>(deployment(3, "ok", strategy))
        .await;
    cluster.until::<Deployment>("web", "done", is_done).await;
    let mut bad = image("stuck");
    bad["spec"]["progressDeadlineSeconds"] = json!(2);
    cluster.patch::<Deployment>("web", bad).await;
    let failed: Deployment = cluster
        .until("web", "the deadline is missed", |d| {
            reason(d, "Progressing") == "ProgressDeadlineExceeded"
        })
        .await;
    assert_eq!(failed.status.unwrap().available_replicas, Some(3));
    assert_eq!(
        reason(
            &cluster.api::<Deployment>().get("web").await.unwrap(),
            "Available"
        ),
        "MinimumReplicasAvailable"
    );
    cluster.patch::<Deployment>("web", image("ok")).await;
    cluster
        .until::<Deployment>("web", "it recovers", |d| {
            is_done(d) && reason(d, "Progressing") == "NewReplicaSetAvailable"
        })
        .await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn recreate_never_runs_two_versions_and_history_is_kept_to_its_limit() {
    let cluster = Cluster::start().await;
    let mut wanted = deployment(2, "ok", json!({"type": "Recreate"}));
    wanted["spec"]["revisionHistoryLimit"] = json!(1);
    cluster.apply::<Deployment>(wanted).await;
    cluster.until::<Deployment>("web", "done", is_done).await;
    let mut changes = cluster.pods.subscribe();
    let watch = tokio::spawn(async move {
        let mut versions: HashMap<String, String> = HashMap::new();
        let mut mixed = false;
        while let Some(event) = changes.next().await {
            match event {
                Event::Synced => {}
                Event::Deleted(pod) => {
                    versions.remove(pod.metadata.uid.as_deref().unwrap());
                }
                Event::Applied { new, .. } => {
                    let hash = new.metadata.labels.as_ref().unwrap()["pod-template-hash"].clone();
                    let finished = matches!(
                        new.status.as_ref().and_then(|s| s.phase.as_deref()),
                        Some("Failed" | "Succeeded")
                    );
                    if finished {
                        versions.remove(new.metadata.uid.as_deref().unwrap());
                    } else {
                        versions.insert(new.metadata.uid.clone().unwrap(), hash);
                    }
                }
            }
            let mut different: Vec<_> = versions.values().collect();
            different.sort();
            different.dedup();
            mixed |= different.len() > 1;
        }
        mixed
    });
    for version in ["2", "3", "4"] {
        let change =
            json!({"spec": {"template": {"metadata": {"annotations": {"version": version}}}}});
        cluster.patch::<Deployment>("web", change).await;
        cluster
            .until::<Deployment>("web", "done", |d| {
                is_done(d) && revision(d.metadata.annotations.as_ref()) == version
            })
            .await;
    }
    eventually("old sets are cleaned up", async || {
        sets(&cluster).await.len() == 2
    })
    .await;
    assert_eq!(
        revision(sets(&cluster).await[0].metadata.annotations.as_ref()),
        "3"
    );
    cluster.end().await;
    assert!(!watch.await.unwrap(), "pods of two versions ran at once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_set_replaces_lost_pods_adopts_orphans_and_releases_strangers() {
    let cluster = Cluster::start().await;
    let orphan = json!({"metadata": {"name": "orphan", "labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "ok"}]}});
    cluster.apply::<Pod>(orphan).await;
    let set = json!({
        "metadata": {"name": "web"},
        "spec": {
            "replicas": 3, "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "ok"}]}},
        },
    });
    let set = cluster.apply::<ReplicaSet>(set).await;
    let full = |set: &ReplicaSet| {
        set.status
            .as_ref()
            .is_some_and(|status| status.available_replicas == Some(3) && status.replicas == 3)
    };
    cluster
        .until::<ReplicaSet>("web", "three pods run", full)
        .await;
    assert_eq!(cluster.living_pods().await.len(), 3);
    let adopted = cluster.api::<Pod>().get("orphan").await.unwrap();
    assert_eq!(
        adopted.metadata.owner_references.unwrap()[0].uid,
        set.metadata.uid.unwrap()
    );

    cluster
        .api::<Pod>()
        .delete("orphan", &DeleteParams::default())
        .await
        .unwrap();
    cluster.gone::<Pod>("orphan").await;
    cluster
        .until::<ReplicaSet>("web", "three pods run again", full)
        .await;

    let stranger = cluster.living_pods().await.remove(0).metadata.name.unwrap();
    cluster
        .patch::<Pod>(&stranger, json!({"metadata": {"labels": {"app": "debug"}}}))
        .await;
    eventually("a fourth pod exists", async || {
        cluster.living_pods().await.len() == 4
    })
    .await;
    let released = cluster
        .until::<Pod>(&stranger, "it is released", |pod| {
            pod.metadata.owner_references.is_none()
        })
        .await;
    assert!(released.metadata.deletion_timestamp.is_none());

    cluster
        .patch::<ReplicaSet>("web", json!({"spec": {"replicas": 0}}))
        .await;
    eventually("only the stranger is left", async || {
        cluster.living_pods().await.len() == 1
    })
    .await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endpoints_follow_the_readiness_of_pods() {
    let cluster = Cluster::start().await;
    let service = json!({
        "metadata": {"name": "web"},
        "spec": {"selector": {"app": "web"}, "ports": [{"name": "http", "port": 80, "targetPort": 8080}]},
    });
    cluster.apply::<Service>(service).await;
    cluster
        .apply::<Deployment>(deployment(3, "ok", json!({"type": "RollingUpdate"})))
        .await;
    let label = ListParams::default().labels("kubernetes.io/service-name=web");
    let ready = async || {
        let slices = cluster
            .api::<EndpointSlice>()
            .list(&label)
            .await
            .unwrap()
            .items;
        let endpoints = slices
            .iter()
            .flat_map(|slice| slice.endpoints.iter().flatten());
        endpoints
            .filter(|endpoint| endpoint.conditions.as_ref().and_then(|c| c.ready) == Some(true))
            .count()
    };
    eventually("three endpoints are ready", async || ready().await == 3).await;
    cluster
        .until::<k8s_openapi::api::core::v1::Endpoints>(
            "web",
            "the old form has them as well",
            |endpoints| {
                endpoints
                    .subsets
                    .iter()
                    .flatten()
                    .any(|subset| subset.addresses.as_ref().is_some_and(|a| a.len() == 3))
            },
        )
        .await;
    let unready = json!({"status": {"conditions": [{"type": "Ready", "status": "False"}]}});
    let pod = cluster.living_pods().await.remove(0).metadata.name.unwrap();
    let api = cluster.api::<Pod>();
    let parameters = kube::api::PatchParams::default();
    api.patch_status(&pod, &parameters, &kube::api::Patch::Merge(&unready))
        .await
        .unwrap();
    eventually("two endpoints are ready", async || ready().await == 2).await;
    cluster
        .api::<Service>()
        .delete("web", &DeleteParams::default())
        .await
        .unwrap();
    eventually("its slices are collected", async || {
        cluster
            .api::<EndpointSlice>()
            .list(&label)
            .await
            .unwrap()
            .items
            .is_empty()
    })
    .await;
    cluster
        .gone::<k8s_openapi::api::core::v1::Endpoints>("web")
        .await;
    cluster.end().await;
}
