//! What a server does before it answers: note the taken addresses, and create the objects
//! that every cluster has where they are absent.

use crate::api::{Inner, StartError};
use crate::handlers::update::{Change, Part, Wanted};
use crate::identity::User;
use crate::identity::bootstrap::{self, Reconciled};
use crate::kinds::priority_class;
use crate::managed::Listed;
use crate::values::{name, namespace, text};
use consort_store::{Error, Expect, Key, Write};
use serde_json::{Value, json};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// The manager of what the server makes of itself.
const MANAGER: &str = "consort";
const GROUP: &str = "rbac.authorization.k8s.io";
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

/// Create what every cluster has: namespaces, the default policy, the service `kubernetes`.
pub(crate) async fn create_basics(
    inner: &Arc<Inner>,
    advertise: Option<SocketAddr>,
) -> Result<(), StartError> {
    for name in NAMESPACES {
        let value = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        ensure_object(inner, "namespaces", value).await?;
    }
    let range = json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "ServiceCIDR",
        "metadata": {"name": "kubernetes"},
        "spec": {"cidrs": [inner.addresses.network().to_string()]},
    });
    ensure_object(inner, "servicecidrs", range).await?;
    for class in priority_class::system_classes() {
        ensure_object(inner, "priorityclasses", class).await?;
    }
    let policy = bootstrap::objects().into_iter().map(|object| async move {
        let plural = bootstrap::plural(text(&object, &["kind"]));
        reconcile_object(inner, plural, object).await
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
        named: None,
        client: None,
        trail: None,
        subresource: "",
    };
    match change.insert(value, Listed::Sent).await {
        Ok(_) => Ok(()),
        Err(failure) if failure.code == 409 => Ok(()),
        Err(failure) => Err(failed(failure.message)),
    }
}

/// Create an object of the default policy, or give it what it lacks.
async fn reconcile_object(
    inner: &Arc<Inner>,
    plural: &str,
    wanted: Value,
) -> Result<(), StartError> {
    let space = Some(namespace(&wanted).to_owned()).filter(|space| !space.is_empty());
    let key = Key::new(GROUP, plural, space.as_deref(), name(&wanted))?;
    let Some(stored) = inner.store.get(&key)? else {
        // It holds from now on, not from when the watch has seen it.
        inner.authorizer.put(plural, &wanted);
        return ensure_object(inner, plural, wanted).await;
    };
    match bootstrap::reconcile(&parse(&key, &stored.json)?, &wanted) {
        Reconciled::Right => Ok(()),
        Reconciled::Update(mut value) => {
            inner.authorizer.put(plural, &value);
            crate::values::take(&mut value["metadata"], "resourceVersion");
            replace_object(inner, GROUP, plural, value).await
        }
        Reconciled::Replace => {
            inner.authorizer.put(plural, &wanted);
            let delete = Write::Delete {
                key,
                expect: Expect::At(stored.revision),
            };
            match inner.commit(vec![delete]).await {
                Ok(_) | Err(Error::Conflict { .. }) => {}
                Err(error) => return Err(error.into()),
            }
            ensure_object(inner, plural, wanted).await
        }
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
        named: None,
        client: None,
        trail: None,
        subresource: "",
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
