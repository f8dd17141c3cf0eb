//! What a server does before it answers: read the policy and the taken addresses, and create the
//! objects that every cluster has where they are absent.

use crate::api::{Inner, StartError};
use crate::handlers::update::{Change, Part, Wanted};
use crate::identity::{Authorizer, User, bootstrap};
use crate::kinds::priority_class;
use crate::managed::Listed;
use crate::values::{name, namespace, text};
use consort_object::Revision;
use consort_store::{Error, Key, Store};
use serde_json::{Value, json};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// The manager of what the server makes of itself.
const MANAGER: &str = "consort";
const GROUP: &str = "rbac.authorization.k8s.io";
const POLICY: [&str; 4] = [
    "roles",
    "clusterroles",
    "rolebindings",
    "clusterrolebindings",
];
const NAMESPACES: [&str; 4] = ["default", "kube-system", "kube-public", "kube-node-lease"];

fn parse(key: impl std::fmt::Display, json: &[u8]) -> Result<Value, StartError> {
    serde_json::from_slice(json).map_err(|source| StartError::Damaged {
        key: key.to_string(),
        source,
    })
}

/// Note the addresses and ports that stored services have.
pub(crate) fn adopt_services(inner: &Inner) -> Result<(), StartError> {
    let prefix = Key::prefix("", "services", None);
    let page = inner.store.range(&prefix, None, None, None, |_| true)?;
    for object in page.objects {
        inner
            .addresses
            .adopt(&parse(&object.head.name, &object.json)?);
    }
    Ok(())
}

/// Read all roles and bindings; the answer is the revision they were read at.
pub(crate) fn load_policy(inner: &Inner) -> Result<Revision, StartError> {
    let mut oldest = inner.store.revision();
    for plural in POLICY {
        let prefix = Key::prefix(GROUP, plural, None);
        let page = inner.store.range(&prefix, None, None, None, |_| true)?;
        for object in page.objects {
            inner
                .authorizer
                .put(plural, &parse(&object.head.name, &object.json)?);
        }
        oldest = oldest.min(page.revision);
    }
    Ok(oldest)
}

/// Keep the authorizer's roles and bindings as they are stored, until stopped.
pub(crate) async fn follow_policy(
    store: Store,
    authorizer: Arc<Authorizer>,
    mut after: Revision,
    stop: CancellationToken,
) {
    // All four collections have the group as their common prefix.
    let prefix = format!("/{GROUP}/");
    while !stop.is_cancelled() {
        let mut watch = match store.watch(&prefix, after) {
            Ok(watch) => watch,
            Err(error) => {
                tracing::error!(%error, "watching roles and bindings");
                return;
            }
        };
        loop {
            let batch = tokio::select! {
                () = stop.cancelled() => return,
                batch = watch.next() => batch,
            };
            let batch = match batch {
                Ok(batch) => batch,
                Err(Error::Closed) => return,
                Err(Error::Lagged { .. }) => {
                    // Events were missed: what is there now counts.
                    tracing::warn!("the policy is read anew: its watch fell behind");
                    after = reload(&store, &authorizer).unwrap_or(after);
                    break;
                }
                Err(error) => {
                    tracing::error!(%error, "following roles and bindings");
                    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
                    continue;
                }
            };
            for event in &batch.events {
                let plural = event.key.plural();
                let head = &event.object.head;
                if event.kind == consort_store::Change::Deleted {
                    let namespace = head.namespace.as_deref().unwrap_or_default();
                    authorizer.remove(plural, namespace, &head.name);
                } else if let Ok(value) = event.object.value() {
                    authorizer.put(plural, &value);
                }
            }
            after = batch.upto;
        }
    }
}

fn reload(store: &Store, authorizer: &Authorizer) -> Option<Revision> {
    let mut oldest = store.revision();
    for plural in POLICY {
        let page = store
            .range(&Key::prefix(GROUP, plural, None), None, None, None, |_| {
                true
            })
            .ok()?;
        for object in &page.objects {
            if let Ok(value) = object.value() {
                authorizer.put(plural, &value);
            }
        }
        oldest = oldest.min(page.revision);
    }
    Some(oldest)
}

/// Create what every cluster has: namespaces, the default policy, the service `kubernetes`.
pub(crate) async fn create_basics(
    inner: &Arc<Inner>,
    advertise: Option<SocketAddr>,
) -> Result<(), StartError> {
    for name in NAMESPACES {
        let value = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        ensure_object(inner, "namespaces", value).await?;
    }
    for class in priority_class::system_classes() {
        ensure_object(inner, "priorityclasses", class).await?;
    }
    let policy = bootstrap::objects().into_iter().map(|object| async move {
        let plural = match text(&object, &["kind"]) {
            "ClusterRole" => "clusterroles",
            "ClusterRoleBinding" => "clusterrolebindings",
            "Role" => "roles",
            _ => "rolebindings",
        };
        // It holds from now on, not from when the watch has seen it.
        inner.authorizer.put(plural, &object);
        ensure_object(inner, plural, object).await
    });
    // All at once, so that they share the disk's syncs.
    futures::future::try_join_all(policy).await?;
    kubernetes_service(inner, advertise).await
}

async fn kubernetes_service(
    inner: &Arc<Inner>,
    advertise: Option<SocketAddr>,
) -> Result<(), StartError> {
    let port = advertise.map_or(6443, |address| address.port());
    let labels = json!({"component": "apiserver", "provider": "kubernetes"});
    let service = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "kubernetes", "namespace": "default", "labels": labels},
        "spec": {
            "type": "ClusterIP",
            "clusterIP": inner.addresses.first().to_string(),
            "ports": [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": port}],
        },
    });
    ensure_object(inner, "services", service).await?;
    let Some(SocketAddr::V4(address)) = advertise else {
        return Ok(());
    };
    if IpAddr::from(*address.ip()).is_unspecified() || address.ip().is_loopback() {
        // Endpoints have to be reachable from pods; these never are.
        return Ok(());
    }
    let ip = address.ip().to_string();
    let endpoints = json!({
        "apiVersion": "v1",
        "kind": "Endpoints",
        "metadata": {"name": "kubernetes", "namespace": "default",
            "labels": {"endpointslice.kubernetes.io/skip-mirror": "true"}},
        "subsets": [{"addresses": [{"ip": ip}], "ports": [{"name": "https", "port": port, "protocol": "TCP"}]}],
    });
    replace_object(inner, "", "endpoints", endpoints).await?;
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": "kubernetes", "namespace": "default",
            "labels": {"kubernetes.io/service-name": "kubernetes"}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [ip], "conditions": {"ready": true}}],
        "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
    });
    replace_object(inner, "discovery.k8s.io", "endpointslices", slice).await
}

fn group_of(value: &Value) -> &str {
    text(value, &["apiVersion"])
        .split_once('/')
        .map_or("", |(group, _)| group)
}

/// Create an object unless it is there.
async fn ensure_object(inner: &Arc<Inner>, plural: &str, value: Value) -> Result<(), StartError> {
    let what = format!("{plural} {:?}", name(&value));
    let failed = |why: String| StartError::Object {
        what: what.clone(),
        why,
    };
    let registry = inner.registry();
    let kind = registry
        .resource(group_of(&value), "v1", plural)
        .ok_or_else(|| failed("its kind is not served".into()))?
        .clone();
    let space = Some(namespace(&value).to_owned()).filter(|space| !space.is_empty());
    let key = Key::new(&kind.storage.0, plural, space.as_deref(), name(&value))?;
    if inner.store.get(&key)?.is_some() {
        return Ok(());
    }
    let user = User::admin();
    let change = Change {
        inner,
        registry: &registry,
        user: &user,
        kind: &kind,
        namespace: space.as_deref(),
        name: "",
        part: Part::Main,
        dry_run: false,
        manager: MANAGER.into(),
    };
    match change.insert(value, Listed::Sent).await {
        Ok(_) => Ok(()),
        Err(failure) if failure.code == 409 => Ok(()),
        Err(failure) => Err(failed(failure.message)),
    }
}

/// Create an object, or bring it into this state: where the server is reached may have changed.
async fn replace_object(
    inner: &Arc<Inner>,
    group: &str,
    plural: &str,
    value: Value,
) -> Result<(), StartError> {
    let what = format!("{plural} {:?}", name(&value));
    let failed = |why: String| StartError::Object {
        what: what.clone(),
        why,
    };
    let registry = inner.registry();
    let kind = registry
        .resource(group, "v1", plural)
        .ok_or_else(|| failed("its kind is not served".into()))?
        .clone();
    let user = User::admin();
    let change = Change {
        inner,
        registry: &registry,
        user: &user,
        kind: &kind,
        namespace: Some(namespace(&value)),
        name: name(&value),
        part: Part::Main,
        dry_run: false,
        manager: MANAGER.into(),
    };
    let result = change
        .run(|_| {
            Ok(Wanted {
                value: value.clone(),
                warnings: Vec::new(),
                listed: Listed::Sent,
            })
        })
        .await;
    match result {
        Ok(_) => Ok(()),
        Err(failure) if failure.code == 404 => ensure_object(inner, plural, value).await,
        Err(failure) => Err(failed(failure.message)),
    }
}
