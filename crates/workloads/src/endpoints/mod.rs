//! Tells where a Service's pods are: EndpointSlices, and the older Endpoints.

mod addresses;
mod legacy;
mod slices;

use crate::{
    error::{Error, if_found, text},
    options::Options,
    pods, write,
};
use consort_reconcile::{Action, Controller, Event, Expectations, Hub, Informer, Key};
use k8s_openapi::api::{
    core::v1::{Endpoints, Node, Pod, Service},
    discovery::v1::EndpointSlice,
};
use kube::{Api, Client};
use slices::Owned;
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;

/// When to look again if the cache has not shown the last writes; normally an event comes first.
const CATCH_UP: Duration = Duration::from_secs(1);
const SERVICE: &str = "service";
const SELECTING: &str = "selecting";
/// Slices made here; those of others are left alone.
const MANAGED: (&str, &str) = (
    "endpointslice.kubernetes.io/managed-by",
    "endpointslice-controller.k8s.io",
);
const SERVICE_NAME: &str = "kubernetes.io/service-name";

struct Shell {
    client: Client,
    options: Arc<Options>,
    services: Informer<Service>,
    pods: Informer<Pod>,
    nodes: Informer<Node>,
    slices: Informer<EndpointSlice>,
    endpoints: Informer<Endpoints>,
    slice_writes: Expectations<Key>,
}

pub(crate) async fn run(hub: Hub, options: Arc<Options>, shutdown: CancellationToken) {
    let services = hub.informer::<Service>();
    let pods = hub.informer::<Pod>();
    let slices =
        hub.informer_where::<EndpointSlice>(Some(&format!("{}={}", MANAGED.0, MANAGED.1)), None);
    let endpoints = hub.informer::<Endpoints>();
    let nodes = hub.informer::<Node>();
    slices.add_index(SERVICE, |slice| {
        service_of(slice)
            .map(|key| key.to_string())
            .into_iter()
            .collect()
    });
    // A selector's first pair finds most of the candidates; the rest of it is checked after.
    services.add_index(SELECTING, |service| {
        let namespace = service.metadata.namespace.as_deref().unwrap_or_default();
        first_pair(service)
            .map(|(key, value)| format!("{namespace}/{key}={value}"))
            .into_iter()
            .collect()
    });
    pods.add_index("label", |pod| {
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        let labels = pod.metadata.labels.iter().flatten();
        labels
            .map(|(key, value)| format!("{namespace}/{key}={value}"))
            .collect()
    });
    let by_label = services.clone();
    let controller = Controller::new("endpoints")
        .wait_for(&nodes)
        .queue_on(&services, Event::key)
        .queue_on(&slices, |event| {
            event.object().and_then(|slice| service_of(slice))
        })
        .queue_on(&endpoints, Event::key)
        .queue_on(&pods, move |event| {
            if matters(event) {
                selecting(event, &by_label)
            } else {
                Vec::new()
            }
        });
    let shell = Arc::new(Shell {
        client: hub.client(),
        options: options.clone(),
        services,
        pods,
        nodes,
        slices,
        endpoints,
        slice_writes: Expectations::default(),
    });
    let reconcile = move |key: Key| {
        let shell = shell.clone();
        async move { shell.reconcile(key).await.map_err(text) }
    };
    controller.run(options.workers, reconcile, shutdown).await;
}

fn service_of(slice: &EndpointSlice) -> Option<Key> {
    let name = slice.metadata.labels.as_ref()?.get(SERVICE_NAME)?;
    Some(Key::namespaced(
        slice.metadata.namespace.clone()?,
        name.clone(),
    ))
}

fn selector(service: &Service) -> Option<&BTreeMap<String, String>> {
    service
        .spec
        .as_ref()?
        .selector
        .as_ref()
        .filter(|selector| !selector.is_empty())
}

fn first_pair(service: &Service) -> Option<(&String, &String)> {
    selector(service)?.iter().next()
}

fn selects(service: &Service, pod: &Pod) -> bool {
    let labels = pod.metadata.labels.as_ref();
    selector(service).is_some_and(|selector| {
        selector
            .iter()
            .all(|(key, value)| labels.and_then(|labels| labels.get(key)) == Some(value))
    })
}

/// Whether a pod's change can change any endpoint. Most status updates cannot.
fn matters(event: &Event<Pod>) -> bool {
    let Event::Applied {
        old: Some(old),
        new,
    } = event
    else {
        return true;
    };
    let of_status = |pod: &Pod| {
        pod.status
            .as_ref()
            .map(|status| (status.pod_ips.clone(), status.pod_ip.clone()))
    };
    old.metadata.labels != new.metadata.labels
        || pods::is_ready(old) != pods::is_ready(new)
        || pods::is_terminal(old) != pods::is_terminal(new)
        || pods::is_terminating(old) != pods::is_terminating(new)
        || pods::node_name(old) != pods::node_name(new)
        || of_status(old) != of_status(new)
}

fn selecting(event: &Event<Pod>, services: &Informer<Service>) -> Vec<Key> {
    let mut keys = Vec::new();
    for pod in event.objects() {
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        for (key, value) in pod.metadata.labels.iter().flatten() {
            let candidates = services.by_index(SELECTING, &format!("{namespace}/{key}={value}"));
            keys.extend(
                candidates
                    .iter()
                    .filter(|service| selects(service, pod))
                    .map(|service| Key::of(&**service)),
            );
        }
    }
    keys
}

impl Shell {
    async fn reconcile(&self, key: Key) -> Result<Action, Error> {
        if !self.slice_writes.met(&key, &self.slices) {
            return Ok(Action::After(CATCH_UP));
        }
        let existing = self.slices.by_index(SERVICE, &key.to_string());
        let service = self.services.by_key(&key);
        // The slices of a service that is gone go by garbage collection, as they refer to it; its
        // Endpoints do not. A service that only lost its selector keeps what it has, as upstream
        // has it.
        let Some(service) = service.filter(|service| service.metadata.deletion_timestamp.is_none())
        else {
            self.slice_writes.forget(&key);
            if let Some(left) = self
                .endpoints
                .by_key(&key)
                .filter(|endpoints| legacy::is_ours(endpoints))
            {
                let api = Api::<Endpoints>::namespaced(self.client.clone(), key.namespace());
                write::delete(&api, &left.metadata, None, None).await?;
            }
            return Ok(Action::Done);
        };
        let kind = service.spec.as_ref().and_then(|spec| spec.type_.as_deref());
        if kind == Some("ExternalName") {
            let api = Api::<EndpointSlice>::namespaced(self.client.clone(), key.namespace());
            for slice in existing {
                write::delete(&api, &slice.metadata, None, None).await?;
            }
            return Ok(Action::Done);
        }
        let Some((label, value)) = first_pair(&service) else {
            return Ok(Action::Done);
        };
        let candidates = self
            .pods
            .by_index("label", &format!("{}/{label}={value}", key.namespace()));
        let chosen: Vec<_> = candidates
            .into_iter()
            .filter(|pod| selects(&service, pod))
            .collect();
        let zone = |node: &str| {
            self.nodes
                .get(None, node)?
                .metadata
                .labels
                .as_ref()?
                .get("topology.kubernetes.io/zone")
                .cloned()
        };
        self.write_slices(&key, &service, &chosen, &existing, &zone)
            .await?;
        self.write_endpoints(&key, &service, &chosen).await?;
        Ok(Action::Done)
    }

    async fn write_slices(
        &self,
        key: &Key,
        service: &Service,
        pods: &[Arc<Pod>],
        existing: &[Arc<EndpointSlice>],
        zone: &(dyn Fn(&str) -> Option<String> + Sync),
    ) -> Result<(), Error> {
        let api = Api::<EndpointSlice>::namespaced(self.client.clone(), key.namespace());
        let plan = slices::decide(
            service,
            pods,
            existing,
            self.options.endpoints_per_slice,
            zone,
        );
        // What is new first, what goes last: no endpoint is missing in between.
        for slice in &plan.create {
            let created = api.create(&write::post_params(), slice).await;
            let created =
                crate::error::Doing::doing(created, || format!("creating a slice of {key}"))?;
            self.slice_writes.applied(key.clone(), &created);
        }
        for Owned { from, to } in &plan.update {
            if let Some(updated) = write::update(&api, &**from, to).await? {
                self.slice_writes.applied(key.clone(), &updated);
            }
        }
        for slice in &plan.delete {
            if write::delete(&api, &slice.metadata, None, None).await? {
                self.slice_writes.deleted(key.clone(), &**slice);
            }
        }
        Ok(())
    }

    async fn write_endpoints(
        &self,
        key: &Key,
        service: &Service,
        pods: &[Arc<Pod>],
    ) -> Result<(), Error> {
        let api = Api::<Endpoints>::namespaced(self.client.clone(), key.namespace());
        let existing = self.endpoints.by_key(key);
        let wanted = legacy::endpoints(service, pods, existing.as_deref());
        if let Some(existing) = existing {
            if_found(write::update(&api, &*existing, &wanted).await)?;
        } else {
            let created = api.create(&write::post_params(), &wanted).await;
            match crate::error::Doing::doing(created, || format!("creating endpoints {key}")) {
                Ok(_) => {}
                // The cache is behind; its next event brings us back.
                Err(error) if error.is(409) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
