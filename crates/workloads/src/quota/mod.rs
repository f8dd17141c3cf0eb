//! Counts what the objects of a namespace use of its quotas.
//!
//! Admission charges what is made; this counts anew when something goes, ends or changes, when a quota
//! is new or asks for something else, and every few minutes. The quota is read from the server before
//! its objects are counted, and its status is written only if nobody has changed it since: what was
//! charged meanwhile is never forgotten.

use crate::{
    discovery::{self, Served},
    error::{Doing, Error, text},
    options::Options,
    pods, write,
};
use consort_object::{
    Quantity,
    quota::{Amounts, add, counted_kind, in_scope, measures, usage},
};
use consort_reconcile::{Action, Controller, Event, Hub, Informer, Key, Queue};
use k8s_openapi::{
    api::core::v1::{Pod, ResourceQuota, ResourceQuotaStatus},
    apimachinery::pkg::api::resource::Quantity as Text,
    jiff::Timestamp,
};
use kube::{
    Api, Client,
    api::ListParams,
    core::{DynamicObject, PartialObjectMeta},
};
use serde_json::Value;
use std::{
    collections::{BTreeSet, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Even without a reason everything is counted anew after this time, as upstream does.
const RESYNC: Duration = Duration::from_mins(5);
/// The status was charged while it was counted.
const AGAIN: Duration = Duration::from_millis(20);
/// A kind that cannot be watched is counted all the same.
const SYNC_LIMIT: Duration = Duration::from_secs(10);
const PAGE: u32 = 500;

/// The kinds that quotas have names for besides `count/...`.
const NAMED: [&str; 7] = [
    "pods",
    "services",
    "persistentvolumeclaims",
    "configmaps",
    "replicationcontrollers",
    "resourcequotas",
    "secrets",
];

/// Group and plural.
type Kind = (String, String);

#[derive(Default)]
struct Watches {
    running: HashSet<Kind>,
    tasks: JoinSet<()>,
}

struct Shell {
    hub: Hub,
    client: Client,
    quotas: Informer<ResourceQuota>,
    queue: Queue<Key>,
    /// What the server was last seen to offer.
    served: Mutex<Vec<Served>>,
    /// One watch for each kind that some quota measures.
    watches: Mutex<Watches>,
}

pub(crate) async fn run(hub: Hub, options: Arc<Options>, shutdown: CancellationToken) {
    let quotas = hub.informer::<ResourceQuota>();
    let controller = Controller::new("resource-quota").queue_on(&quotas, |event| match event {
        Event::Applied { old, new } if old.is_none() || !is_counted(new) => {
            vec![Key::of(&**new)]
        }
        _ => Vec::new(),
    });
    let shell = Arc::new(Shell {
        client: hub.client(),
        queue: controller.queue(),
        hub,
        quotas,
        served: Mutex::default(),
        watches: Mutex::default(),
    });
    let reconcile = move |key: Key| {
        let shell = shell.clone();
        async move { shell.count(&key).await.map_err(text) }
    };
    controller.run(options.workers, reconcile, shutdown).await;
}

/// Does the status say something of all that the quota limits?
fn is_counted(quota: &ResourceQuota) -> bool {
    let hard = quota.spec.as_ref().and_then(|spec| spec.hard.as_ref());
    let Some(status) = &quota.status else {
        return false;
    };
    let used = |name| {
        status
            .used
            .as_ref()
            .is_some_and(|used| used.contains_key(name))
    };
    status.hard.as_ref() == hard && hard.is_none_or(|hard| hard.keys().all(used))
}

/// The kinds whose objects use what these names stand for.
fn kinds_of<'n>(names: impl Iterator<Item = &'n String>) -> BTreeSet<Kind> {
    let mut kinds = BTreeSet::new();
    for name in names {
        if let Some((group, plural)) = counted_kind(name) {
            kinds.insert((group.to_owned(), plural.to_owned()));
        }
        for plural in NAMED {
            if measures(name, "", plural) {
                kinds.insert((String::new(), plural.to_owned()));
            }
        }
    }
    kinds
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shell {
    async fn count(&self, key: &Key) -> Result<Action, Error> {
        if self.quotas.by_key(key).is_none() {
            return Ok(Action::Done);
        }
        let api = Api::<ResourceQuota>::namespaced(self.client.clone(), key.namespace());
        let only = ListParams::default().fields(&format!("metadata.name={}", key.name));
        let found = api.list(&only).await;
        let found = found.doing(|| format!("reading the quota {}", key.name))?;
        let Some(quota) = found.items.into_iter().next() else {
            return Ok(Action::Done);
        };
        let hard = quota.spec.as_ref().and_then(|spec| spec.hard.clone());
        let hard = hard.unwrap_or_default();
        let spec = serde_json::to_value(&quota.spec).map_err(|source| Error::Encode {
            what: "a quota",
            source,
        })?;
        let mut used: Amounts = hard
            .keys()
            .map(|name| (name.clone(), Quantity::ZERO))
            .collect();
        for kind in kinds_of(hard.keys()) {
            // A kind that is not served has no objects.
            let Some(served) = self.served(&kind).await? else {
                continue;
            };
            self.watch(&kind, &served).await;
            self.add_up(key.namespace(), &kind, &served, &spec, &mut used)
                .await?;
        }
        let used = used
            .into_iter()
            .map(|(name, own)| (name, Text(own.to_string())));
        let status = ResourceQuotaStatus {
            hard: Some(hard),
            used: Some(used.collect()),
        };
        let old = quota.status.as_ref();
        match write::update_status(&api, &quota.metadata, old, &status).await {
            Ok(_) => Ok(Action::After(RESYNC)),
            Err(error) if error.is(409) => Ok(Action::After(AGAIN)),
            Err(error) if error.is(404) => Ok(Action::Done),
            Err(error) => Err(error),
        }
    }

    /// How a kind is served; looked up again if it was not known.
    async fn served(&self, kind: &Kind) -> Result<Option<Served>, Error> {
        let find = || {
            let known = lock(&self.served);
            let fits = |served: &&Served| {
                let resource = &served.resource;
                served.namespaced && resource.group == kind.0 && resource.plural == kind.1
            };
            known.iter().find(fits).cloned()
        };
        if let Some(served) = find() {
            return Ok(Some(served));
        }
        let all = discovery::served(&self.client).await?;
        *lock(&self.served) = all;
        Ok(find())
    }

    /// Add what the objects of a kind use.
    async fn add_up(
        &self,
        namespace: &str,
        (group, plural): &Kind,
        served: &Served,
        spec: &Value,
        used: &mut Amounts,
    ) -> Result<(), Error> {
        let whole = group.is_empty()
            && matches!(
                plural.as_str(),
                "pods" | "services" | "persistentvolumeclaims"
            );
        let client = self.client.clone();
        let api = Api::<DynamicObject>::namespaced_with(client, namespace, &served.resource);
        let now = Timestamp::now();
        let mut page = ListParams::default().limit(PAGE);
        loop {
            let doing = || format!("listing {plural} to count them");
            let (objects, meta) = if whole {
                let list = api.list(&page).await.doing(doing)?;
                (values(&list.items)?, list.metadata)
            } else {
                let list = api.list_metadata(&page).await.doing(doing)?;
                (values::<PartialObjectMeta<_>>(&list.items)?, list.metadata)
            };
            for object in &objects {
                if in_scope(spec, group, plural, object) {
                    let mut own = usage(group, plural, object, now);
                    own.retain(|name, _| used.contains_key(name));
                    add(used, &own);
                }
            }
            match meta.continue_.filter(|token| !token.is_empty()) {
                Some(token) => page = page.continue_token(&token),
                None => return Ok(()),
            }
        }
    }

    /// Count anew when objects of a kind go or change. Returns when they are known, so that nothing
    /// happens unseen between the count and the watch.
    async fn watch(&self, kind: &Kind, served: &Served) {
        if !served.watchable || !lock(&self.watches).running.insert(kind.clone()) {
            return;
        }
        let (quotas, queue, kind) = (self.quotas.clone(), self.queue.clone(), kind.clone());
        let recount = move |namespace: Option<&str>| {
            for quota in quotas.list_in(namespace.unwrap_or_default()) {
                let hard = quota.spec.as_ref().and_then(|spec| spec.hard.as_ref());
                let mut names = hard.into_iter().flatten().map(|(name, _)| name);
                if names.any(|name| measures(name, &kind.0, &kind.1)) {
                    queue.add(Key::of(&*quota));
                }
            }
        };
        let resource = &served.resource;
        let known = if resource.group.is_empty() && resource.plural == "pods" {
            let pods = self.hub.informer::<Pod>();
            let known = pods.clone();
            lock(&self.watches).tasks.spawn(follow_pods(pods, recount));
            tokio::time::timeout(SYNC_LIMIT, known.synced()).await
        } else {
            let informer = self.hub.metadata(resource);
            let known = informer.clone();
            // Of other kinds what an object uses stays.
            let changes = resource.group.is_empty()
                && matches!(
                    resource.plural.as_str(),
                    "services" | "persistentvolumeclaims"
                );
            let follow = async move {
                let mut events = informer.subscribe();
                while let Some(event) = events.next().await {
                    match event {
                        Event::Deleted(last) => recount(last.metadata.namespace.as_deref()),
                        Event::Applied { old: Some(_), new } if changes => {
                            recount(new.metadata.namespace.as_deref());
                        }
                        _ => {}
                    }
                }
            };
            lock(&self.watches).tasks.spawn(follow);
            tokio::time::timeout(SYNC_LIMIT, known.synced()).await
        };
        if known.is_err() {
            tracing::warn!(
                kind = resource.plural,
                "objects cannot be watched yet; what they use of quotas is counted now and then"
            );
        }
    }
}

async fn follow_pods(informer: Informer<Pod>, recount: impl Fn(Option<&str>) + Send) {
    let mut events = informer.subscribe();
    while let Some(event) = events.next().await {
        match event {
            Event::Deleted(last) => recount(last.metadata.namespace.as_deref()),
            Event::Applied {
                old: Some(old),
                new,
            } if pods::is_terminal(&old) != pods::is_terminal(&new) || old.spec != new.spec => {
                recount(new.metadata.namespace.as_deref());
            }
            _ => {}
        }
    }
}

fn values<K: serde::Serialize>(objects: &[K]) -> Result<Vec<Value>, Error> {
    let values = objects.iter().map(serde_json::to_value);
    values
        .collect::<Result<_, _>>()
        .map_err(|source| Error::Encode {
            what: "an object",
            source,
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_quota_is_counted_when_its_status_speaks_of_all_it_limits() {
        let quota = |status: Value| -> ResourceQuota {
            let spec = json!({"hard": {"pods": "1", "requests.cpu": "1"}});
            serde_json::from_value(json!({"spec": spec, "status": status})).unwrap()
        };
        let hard = json!({"pods": "1", "requests.cpu": "1"});
        assert!(!is_counted(&quota(json!({}))));
        assert!(!is_counted(&quota(
            json!({"hard": hard, "used": {"pods": "0"}})
        )));
        let used = json!({"pods": "0", "requests.cpu": "0"});
        assert!(!is_counted(&quota(
            json!({"hard": {"pods": "2"}, "used": used})
        )));
        assert!(is_counted(&quota(json!({"hard": hard, "used": used}))));
    }

    #[test]
    fn names_lead_to_the_kinds_they_measure() {
        let names = [
            "limits.cpu",
            "count/deployments.apps",
            "services.nodeports",
            "secrets",
        ];
        let names: Vec<String> = names.into_iter().map(str::to_owned).collect();
        let kinds: Vec<String> = kinds_of(names.iter())
            .into_iter()
            .map(|(group, plural)| format!("{group}/{plural}"))
            .collect();
        assert_eq!(
            kinds,
            ["/pods", "/secrets", "/services", "apps/deployments"]
        );
    }
}
