//! Mirrors the Endpoints of services without a selector, which their users write, into EndpointSlices.
//!
//! Follows upstream's EndpointSlice mirroring: Endpoints that ask not to be mirrored, belong to an
//! election, or whose service has a selector (or is not there) have no mirrored slices.

use crate::{
    error::{Doing, Error, if_found, text},
    options::Options,
    write,
};
use consort_reconcile::{
    Action, Controller, Event, Expectations, Hub, Informer, Key, owner_reference,
};
use k8s_openapi::api::{
    core::v1::{EndpointAddress, EndpointSubset, Endpoints, Service},
    discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice},
};
use kube::{Api, Client};
use std::{collections::BTreeMap, net::IpAddr, sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;

/// When to look again if the cache has not shown the last writes; normally an event comes first.
const CATCH_UP: Duration = Duration::from_secs(1);
const SERVICE: &str = "service";
const MANAGED: (&str, &str) = (
    "endpointslice.kubernetes.io/managed-by",
    "endpointslicemirroring-controller.k8s.io",
);
const SERVICE_NAME: &str = "kubernetes.io/service-name";
const SKIP: &str = "endpointslice.kubernetes.io/skip-mirror";
const ELECTION: &str = "control-plane.alpha.kubernetes.io/leader";
/// Notes on the Endpoints that say nothing of their mirror.
const OWN_NOTES: [&str; 2] = [
    "endpoints.kubernetes.io/last-change-trigger-time",
    "kubectl.kubernetes.io/last-applied-configuration",
];
/// So many endpoints are mirrored of a subset, and held by a slice.
const LIMIT: usize = 1000;

struct Shell {
    client: Client,
    services: Informer<Service>,
    endpoints: Informer<Endpoints>,
    slices: Informer<EndpointSlice>,
    writes: Expectations<Key>,
}

pub(crate) async fn run(hub: Hub, options: Arc<Options>, shutdown: CancellationToken) {
    let services = hub.informer::<Service>();
    let endpoints = hub.informer::<Endpoints>();
    let slices =
        hub.informer_where::<EndpointSlice>(Some(&format!("{}={}", MANAGED.0, MANAGED.1)), None);
    slices.add_index(SERVICE, |slice| {
        let key = service_of(slice).map(|key| key.to_string());
        key.into_iter().collect()
    });
    let controller = Controller::new("endpoint-slice-mirroring")
        .queue_on(&services, Event::key)
        .queue_on(&endpoints, Event::key)
        .queue_on(&slices, |event| {
            event.object().and_then(|slice| service_of(slice))
        });
    let shell = Arc::new(Shell {
        client: hub.client(),
        services,
        endpoints,
        slices,
        writes: Expectations::default(),
    });
    let reconcile = move |key: Key| {
        let shell = shell.clone();
        async move { shell.reconcile(key).await.map_err(text) }
    };
    controller.run(options.workers, reconcile, shutdown).await;
}

fn service_of(slice: &EndpointSlice) -> Option<Key> {
    let name = slice.metadata.labels.as_ref()?.get(SERVICE_NAME)?;
    let namespace = slice.metadata.namespace.clone()?;
    Some(Key::namespaced(namespace, name.clone()))
}

/// Whether these Endpoints are mirrored, by what they say themselves.
fn wants_mirror(endpoints: &Endpoints) -> bool {
    let meta = &endpoints.metadata;
    let skipped = meta.labels.as_ref().and_then(|labels| labels.get(SKIP));
    let elects = meta
        .annotations
        .as_ref()
        .is_some_and(|notes| notes.contains_key(ELECTION));
    meta.deletion_timestamp.is_none() && skipped.map(String::as_str) != Some("true") && !elects
}

impl Shell {
    async fn reconcile(&self, key: Key) -> Result<Action, Error> {
        if !self.writes.met(&key, &self.slices) {
            return Ok(Action::After(CATCH_UP));
        }
        let existing = self.slices.by_index(SERVICE, &key.to_string());
        let unselecting = self.services.by_key(&key).is_some_and(|service| {
            let spec = service.spec.as_ref();
            spec.is_some_and(|spec| spec.selector.is_none())
        });
        let source = self
            .endpoints
            .by_key(&key)
            .filter(|endpoints| unselecting && wants_mirror(endpoints));
        let wanted = source.as_deref().map(mirror).unwrap_or_default();
        if wanted.is_empty() && existing.is_empty() {
            self.writes.forget(&key);
            return Ok(Action::Done);
        }
        let plan = pair(wanted, existing);
        let api = Api::<EndpointSlice>::namespaced(self.client.clone(), key.namespace());
        for slice in &plan.create {
            let created = api.create(&write::post_params(), slice).await;
            let created = created.doing(|| format!("mirroring the endpoints {key}"))?;
            self.writes.applied(key.clone(), &created);
        }
        for (from, to) in &plan.update {
            let updated = if_found(write::update(&api, &**from, to).await)?;
            if let Some(updated) = updated.flatten() {
                self.writes.applied(key.clone(), &updated);
            }
        }
        for slice in &plan.delete {
            if write::delete(&api, &slice.metadata, None, None).await? {
                self.writes.deleted(key.clone(), &**slice);
            }
        }
        Ok(Action::Done)
    }
}

/// The writes.
struct Plan {
    create: Vec<EndpointSlice>,
    update: Vec<(Arc<EndpointSlice>, EndpointSlice)>,
    delete: Vec<Arc<EndpointSlice>>,
}

/// Gives each wanted slice an existing one of its family and ports, if there is one left.
fn pair(wanted: Vec<EndpointSlice>, mut existing: Vec<Arc<EndpointSlice>>) -> Plan {
    existing.sort_by(|a, b| a.metadata.name.cmp(&b.metadata.name));
    let (mut create, mut update) = (Vec::new(), Vec::new());
    for slice in wanted {
        let fits = |own: &Arc<EndpointSlice>| {
            own.metadata.deletion_timestamp.is_none()
                && own.address_type == slice.address_type
                && own.ports.as_deref().unwrap_or_default()
                    == slice.ports.as_deref().unwrap_or_default()
        };
        let Some(at) = existing.iter().position(fits) else {
            create.push(slice);
            continue;
        };
        let from = existing.remove(at);
        let mut to = (*from).clone();
        to.metadata.labels = slice.metadata.labels;
        to.metadata.annotations = slice.metadata.annotations;
        to.endpoints = slice.endpoints;
        update.push((from, to));
    }
    Plan {
        create,
        update,
        delete: existing,
    }
}

/// The slices that say what these Endpoints say.
fn mirror(endpoints: &Endpoints) -> Vec<EndpointSlice> {
    let mut slices = Vec::new();
    for subset in endpoints.subsets.iter().flatten() {
        let mut families: BTreeMap<&str, Vec<Endpoint>> = BTreeMap::new();
        let ready = subset.addresses.iter().flatten().map(|own| (own, true));
        let unready = subset.not_ready_addresses.iter().flatten();
        let all = ready.chain(unready.map(|own| (own, false)));
        for (address, ready) in all.take(LIMIT) {
            let family = match address.ip.parse() {
                Ok(IpAddr::V4(_)) => "IPv4",
                Ok(IpAddr::V6(_)) => "IPv6",
                Err(_) => continue,
            };
            families
                .entry(family)
                .or_default()
                .push(endpoint(address, ready));
        }
        for (family, held) in families {
            slices.push(slice(endpoints, subset, family, held));
        }
    }
    slices
}

fn endpoint(address: &EndpointAddress, ready: bool) -> Endpoint {
    Endpoint {
        addresses: vec![address.ip.clone()],
        conditions: Some(EndpointConditions {
            ready: Some(ready),
            ..EndpointConditions::default()
        }),
        hostname: address.hostname.clone(),
        node_name: address.node_name.clone(),
        target_ref: address.target_ref.clone(),
        ..Endpoint::default()
    }
}

fn slice(
    endpoints: &Endpoints,
    subset: &EndpointSubset,
    family: &str,
    held: Vec<Endpoint>,
) -> EndpointSlice {
    let meta = &endpoints.metadata;
    let name = write::name_of(meta);
    let mut labels = meta.labels.clone().unwrap_or_default();
    labels.insert(SERVICE_NAME.to_owned(), name.to_owned());
    labels.insert(MANAGED.0.to_owned(), MANAGED.1.to_owned());
    let mut notes = meta.annotations.clone().unwrap_or_default();
    notes.retain(|key, _| !OWN_NOTES.contains(&key.as_str()));
    let ports = subset.ports.iter().flatten().map(|port| EndpointPort {
        name: Some(port.name.clone().unwrap_or_default()),
        port: Some(port.port),
        protocol: Some(port.protocol.clone().unwrap_or_else(|| "TCP".to_owned())),
        app_protocol: port.app_protocol.clone(),
    });
    EndpointSlice {
        metadata: k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta {
            generate_name: Some(format!("{name}-")),
            namespace: meta.namespace.clone(),
            labels: Some(labels),
            annotations: (!notes.is_empty()).then_some(notes),
            owner_references: Some(vec![owner_reference(endpoints)]),
            ..Default::default()
        },
        address_type: family.to_owned(),
        endpoints: Some(held),
        ports: Some(ports.collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn endpoints(subsets: &Value) -> Endpoints {
        serde_json::from_value(json!({
            "metadata": {"name": "db", "namespace": "ns", "uid": "u", "labels": {"a": "b"},
                "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}"}},
            "subsets": subsets,
        }))
        .unwrap()
    }

    #[test]
    fn subsets_become_slices_by_family_with_what_their_addresses_say() {
        let slices = mirror(&endpoints(&json!([{
            "ports": [{"port": 80}],
            "addresses": [{"ip": "10.1.2.3", "hostname": "h"}, {"ip": "fd00::1"}],
            "notReadyAddresses": [{"ip": "10.1.2.4"}],
        }])));
        let told: Vec<_> = slices
            .iter()
            .map(|slice| serde_json::to_value(slice).unwrap())
            .collect();
        assert_eq!(told.len(), 2);
        assert_eq!(
            told[0]["endpoints"],
            json!([
                {"addresses": ["10.1.2.3"], "conditions": {"ready": true}, "hostname": "h"},
                {"addresses": ["10.1.2.4"], "conditions": {"ready": false}},
            ])
        );
        assert_eq!(
            told[0]["ports"],
            json!([{"name": "", "port": 80, "protocol": "TCP"}])
        );
        assert_eq!(told[1]["addressType"], "IPv6");
        let meta = &told[0]["metadata"];
        assert_eq!(
            meta["labels"],
            json!({"a": "b", MANAGED.0: MANAGED.1, SERVICE_NAME: "db"})
        );
        assert_eq!(meta["ownerReferences"][0]["kind"], "Endpoints");
        assert_eq!(meta.get("annotations"), None);
    }

    #[test]
    fn a_changed_address_changes_the_slice_there_is_and_new_ports_make_another() {
        let at = |ip: &str, port: i32| {
            mirror(&endpoints(
                &json!([{"ports": [{"port": port}], "addresses": [{"ip": ip}]}]),
            ))
        };
        let mut stored = at("10.0.0.1", 80).remove(0);
        stored.metadata.name = Some("db-x".into());
        let stored = vec![Arc::new(stored)];
        let plan = pair(at("10.0.0.2", 80), stored.clone());
        assert!(plan.create.is_empty() && plan.delete.is_empty());
        let (_, to) = &plan.update[0];
        assert_eq!(to.metadata.name.as_deref(), Some("db-x"));
        assert_eq!(to.endpoints.as_ref().unwrap()[0].addresses, ["10.0.0.2"]);
        let plan = pair(at("10.0.0.2", 81), stored);
        assert_eq!(
            (plan.create.len(), plan.update.len(), plan.delete.len()),
            (1, 0, 1)
        );
    }

    #[test]
    fn endpoints_that_ask_not_to_be_mirrored_are_not() {
        let plain = endpoints(&json!([]));
        assert!(wants_mirror(&plain));
        let mut skipped = plain.clone();
        skipped.metadata.labels = Some([(SKIP.to_owned(), "true".to_owned())].into());
        assert!(!wants_mirror(&skipped));
        let mut elected = plain;
        elected.metadata.annotations = Some([(ELECTION.to_owned(), String::new())].into());
        assert!(!wants_mirror(&elected));
    }
}
