//! What a server does before it answers: read the policy and the taken addresses, and create the
//! objects that every cluster has where they are absent.

use crate::api::{Inner, StartError};
use crate::handlers::update::{Change, Part, Wanted};
use crate::identity::bootstrap::{self, Reconciled};
use crate::identity::{Authorizer, User, node};
use crate::kinds::priority_class;
use crate::managed::Listed;
use crate::values::{name, namespace, text};
use consort_object::{Object, Revision};
use consort_store::{Error, Event, Expect, Key, Store, Write};
use serde_json::{Value, json};
use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
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
/// What could not be read is tried again after this.
const RETRY: Duration = Duration::from_millis(200);
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

/// What the authorizer is told of from the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Following {
    /// Roles and bindings.
    Policy,
    /// What nodes are related to.
    Nodes,
}

impl Following {
    /// The collections: group and plural.
    fn collections(self) -> Vec<(&'static str, &'static str)> {
        match self {
            Self::Policy => POLICY.iter().map(|plural| (GROUP, *plural)).collect(),
            Self::Nodes => node::SOURCES.to_vec(),
        }
    }

    /// Take in what is stored now in place of all that was known; the answer is the revision it was
    /// read at.
    fn load(self, store: &Store, authorizer: &Authorizer) -> Result<Revision, StartError> {
        let mut objects = Vec::new();
        let mut oldest = store.revision();
        for (group, plural) in self.collections() {
            let prefix = Key::prefix(group, plural, None);
            let page = store.range(&prefix, None, None, None, |_| true)?;
            oldest = oldest.min(page.revision);
            objects.extend(page.objects.into_iter().map(|object| (plural, object)));
        }
        // Read one by one: the collection of pods may be large.
        let mut broken = None;
        let values = objects.into_iter().map_while(|(plural, object)| {
            match parse(&object.head.name, &object.json) {
                Ok(value) => Some((plural, value)),
                Err(error) => {
                    broken = Some(error);
                    None
                }
            }
        });
        match self {
            Self::Policy => authorizer.replace(values),
            Self::Nodes => authorizer.nodes().replace(values),
        }
        broken.map_or(Ok(oldest), Err)
    }

    fn take_in(self, authorizer: &Authorizer, event: &Event) {
        let plural = event.key.plural();
        let head = &event.object.head;
        if event.kind == consort_store::Change::Deleted {
            let namespace = head.namespace.as_deref().unwrap_or_default();
            match self {
                Self::Policy => authorizer.remove(plural, namespace, &head.name),
                Self::Nodes => authorizer.nodes().remove(plural, namespace, &head.name),
            }
            return;
        }
        // A pod that has no node yet is nobody's business.
        if self == Self::Nodes && plural == "pods" {
            let node = |object: &Object| object.head.field("spec.nodeName").map(str::to_owned);
            if node(&event.object).is_none_or(|node| node.is_empty()) {
                return;
            }
        }
        let Ok(value) = event.object.value() else {
            return;
        };
        match self {
            Self::Policy => authorizer.put(plural, &value),
            Self::Nodes => authorizer.nodes().put(plural, &value),
        }
    }
}

/// Read all roles and bindings, and what nodes are related to; the answers are the revisions they were
/// read at.
pub(crate) fn load_policy(inner: &Inner) -> Result<(Revision, Revision), StartError> {
    let load = |following: Following| following.load(&inner.store, &inner.authorizer);
    Ok((load(Following::Policy)?, load(Following::Nodes)?))
}

/// Keep what the authorizer knows as it is stored, until stopped.
pub(crate) async fn follow(
    following: Following,
    store: Store,
    authorizer: Arc<Authorizer>,
    after: Revision,
    stop: CancellationToken,
) {
    let groups: HashSet<&str> = following
        .collections()
        .into_iter()
        .map(|(group, _)| group)
        .collect();
    let all: Vec<Collection> = match following {
        // The four collections have the group as their common prefix.
        Following::Policy => vec![Collection {
            prefix: format!("/{}/", groups.into_iter().next().unwrap_or_default()),
            after,
        }],
        Following::Nodes => following
            .collections()
            .into_iter()
            .map(|(group, plural)| Collection {
                prefix: Key::prefix(group, plural, None),
                after,
            })
            .collect(),
    };
    let each = all
        .into_iter()
        .map(|one| one.follow(following, &store, &authorizer, &stop));
    futures::future::join_all(each).await;
}

/// Collections with a common prefix, followed from a revision.
struct Collection {
    prefix: String,
    after: Revision,
}

impl Collection {
    async fn follow(
        mut self,
        following: Following,
        store: &Store,
        authorizer: &Authorizer,
        stop: &CancellationToken,
    ) {
        while !stop.is_cancelled() {
            let mut watch = match store.watch(&self.prefix, self.after) {
                Ok(watch) => watch,
                Err(Error::Compacted { .. }) => {
                    self.after = self.reload(following, store, authorizer, stop).await;
                    continue;
                }
                Err(error) => {
                    tracing::error!(%error, prefix = self.prefix, "watching for authorization");
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
                        // Events were missed: what is there now counts, and nothing else.
                        self.after = self.reload(following, store, authorizer, stop).await;
                        break;
                    }
                    Err(error) => {
                        tracing::error!(%error, prefix = self.prefix, "following for authorization");
                        tokio::time::sleep(RETRY).await;
                        continue;
                    }
                };
                for event in &batch.events {
                    following.take_in(authorizer, event);
                }
                self.after = batch.upto;
            }
        }
    }

    async fn reload(
        &self,
        following: Following,
        store: &Store,
        authorizer: &Authorizer,
        stop: &CancellationToken,
    ) -> Revision {
        tracing::warn!(
            prefix = self.prefix,
            "read anew for authorization: the watch fell behind"
        );
        loop {
            match following.load(store, authorizer) {
                Ok(revision) => return revision,
                Err(error) => tracing::error!(%error, "reading what authorization depends on"),
            }
            if stop.is_cancelled() {
                return self.after;
            }
            tokio::time::sleep(RETRY).await;
        }
    }
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
