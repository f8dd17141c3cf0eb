//! The typed client over the server in this process, as every reconciler uses it.
#![allow(missing_docs)]

mod support;

use consort_api::identity::User;
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::api::{
    DeleteParams, ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams,
};
use kube::runtime::watcher::{Config, Event, watcher};
use kube::{Api, ResourceExt};
use serde_json::json;
use support::{Server, config_map, deployment, pod};

#[tokio::test]
async fn objects_are_made_changed_found_and_deleted() {
    let server = Server::start().await;
    let client = server.api.client(User::admin());
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), "default");
    let wanted: Deployment = serde_json::from_value(deployment("web")).unwrap();
    let made = deployments
        .create(&PostParams::default(), &wanted)
        .await
        .unwrap();
    assert_eq!(made.metadata.generation, Some(1));
    let scale = deployments.get_scale("web").await.unwrap();
    assert_eq!(scale.spec.unwrap().replicas, Some(1));
    let patch = json!({"status": {"readyReplicas": 1, "replicas": 1}});
    let changed = deployments
        .patch_status("web", &PatchParams::default(), &Patch::Merge(&patch))
        .await
        .unwrap();
    assert_eq!(changed.status.unwrap().ready_replicas, Some(1));
    let pods: Api<Pod> = Api::namespaced(client, "default");
    let wanted: Pod = serde_json::from_value(pod("a")).unwrap();
    pods.create(&PostParams::default(), &wanted).await.unwrap();
    let found = pods
        .list(&ListParams::default().labels("app in (a,b)"))
        .await
        .unwrap();
    assert_eq!(found.items.len(), 1);
    deployments
        .delete("web", &DeleteParams::background())
        .await
        .unwrap();
    assert!(deployments.get_opt("web").await.unwrap().is_none());
}

#[tokio::test]
async fn a_watch_hears_of_writes_and_of_the_present_through_a_streaming_list() {
    let server = Server::start().await;
    let maps: Api<ConfigMap> = Api::namespaced(server.api.client(User::admin()), "default");
    let value =
        |name: &str| -> ConfigMap { serde_json::from_value(config_map(name, "1")).unwrap() };
    maps.create(&PostParams::default(), &value("first"))
        .await
        .unwrap();
    let mut events = watcher(maps.clone(), Config::default().streaming_lists()).boxed();
    let mut names = Vec::new();
    loop {
        match events.try_next().await.unwrap().unwrap() {
            Event::InitApply(map) => names.push(map.name_any()),
            Event::InitDone => break,
            _ => {}
        }
    }
    assert_eq!(names, ["first"]);
    maps.create(&PostParams::default(), &value("second"))
        .await
        .unwrap();
    match events.try_next().await.unwrap().unwrap() {
        Event::Apply(map) => assert_eq!(map.name_any(), "second"),
        other => panic!("{other:?}"),
    }
    let revision = maps
        .list(&ListParams::default())
        .await
        .unwrap()
        .metadata
        .resource_version
        .unwrap();
    let mut stream = maps
        .watch(&WatchParams::default(), &revision)
        .await
        .unwrap()
        .boxed();
    maps.delete("first", &DeleteParams::default())
        .await
        .unwrap();
    assert!(matches!(
        stream.try_next().await.unwrap().unwrap(),
        WatchEvent::Deleted(_)
    ));
}

#[tokio::test]
async fn failures_are_the_status_the_client_library_understands() {
    let server = Server::start().await;
    let maps: Api<ConfigMap> = Api::namespaced(server.api.client(User::anonymous()), "default");
    match maps.list(&ListParams::default()).await.unwrap_err() {
        kube::Error::Api(status) => {
            assert_eq!((status.code, status.reason.as_str()), (403, "Forbidden"));
        }
        other => panic!("{other:?}"),
    }
}
