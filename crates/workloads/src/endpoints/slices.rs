//! Which slices to write so that they hold the wanted endpoints, touching as few as possible:
//! every write goes to every watcher.

use super::{MANAGED, SERVICE_NAME, addresses};
use consort_reconcile::owner_reference;
use k8s_openapi::{
    api::{
        core::v1::{Pod, Service},
        discovery::v1::{Endpoint, EndpointPort, EndpointSlice},
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

const HEADLESS: &str = "service.kubernetes.io/headless";

/// A slice as it is and as it should be.
pub(crate) struct Owned {
    pub(crate) from: Arc<EndpointSlice>,
    pub(crate) to: EndpointSlice,
}

/// The writes.
#[derive(Default)]
pub(crate) struct Plan {
    pub(crate) create: Vec<EndpointSlice>,
    pub(crate) update: Vec<Owned>,
    pub(crate) delete: Vec<Arc<EndpointSlice>>,
}

/// Slices of one family and one set of ports belong together.
type Group = (String, String);

fn group_of(family: &str, ports: &[EndpointPort]) -> Group {
    let ports: Vec<_> = ports
        .iter()
        .map(|port| {
            let app = port.app_protocol.as_deref().unwrap_or_default();
            let (name, protocol) = (
                port.name.as_deref().unwrap_or_default(),
                port.protocol.as_deref().unwrap_or("TCP"),
            );
            format!("{name}/{}/{protocol}/{app}", port.port.unwrap_or_default())
        })
        .collect();
    (family.to_owned(), ports.join(","))
}

/// Decides on the slices of a service; at most `limit` endpoints in each.
pub(crate) fn decide(
    service: &Service,
    pods: &[Arc<Pod>],
    existing: &[Arc<EndpointSlice>],
    limit: usize,
    zone: &dyn Fn(&str) -> Option<String>,
) -> Plan {
    let limit = limit.clamp(1, 1000);
    let mut wanted: BTreeMap<Group, (Vec<EndpointPort>, Vec<Endpoint>)> = BTreeMap::new();
    let families = addresses::families(service);
    for pod in pods {
        let ports = addresses::ports(service, pod);
        for family in &families {
            if let Some(endpoint) = addresses::endpoint(service, pod, family, zone) {
                let group = wanted
                    .entry(group_of(family, &ports))
                    .or_insert_with(|| (ports.clone(), Vec::new()));
                group.1.push(endpoint);
            }
        }
    }
    let mut present: HashMap<Group, Vec<&Arc<EndpointSlice>>> = HashMap::new();
    for slice in existing
        .iter()
        .filter(|slice| slice.metadata.deletion_timestamp.is_none())
    {
        let mut ports = slice.ports.clone().unwrap_or_default();
        ports.sort_by(|a, b| a.name.cmp(&b.name).then_with(|| a.port.cmp(&b.port)));
        present
            .entry(group_of(&slice.address_type, &ports))
            .or_default()
            .push(slice);
    }
    let mut plan = Plan::default();
    for (group, (ports, endpoints)) in wanted {
        let slices = present.remove(&group).unwrap_or_default();
        fill(
            service, &group.0, &ports, endpoints, slices, limit, &mut plan,
        );
    }
    // One empty slice stays per family, so that watchers know the service has no endpoints.
    for family in &families {
        let kept = plan
            .create
            .iter()
            .chain(plan.update.iter().map(|owned| &owned.to));
        let mut used = kept.map(|slice| slice.address_type.as_str()).chain(
            existing
                .iter()
                .filter(|slice| {
                    !present
                        .values()
                        .flatten()
                        .any(|left| Arc::ptr_eq(left, slice))
                })
                .filter(|slice| !plan.delete.iter().any(|gone| Arc::ptr_eq(gone, slice)))
                .map(|slice| slice.address_type.as_str()),
        );
        if used.any(|used| used == *family) {
            continue;
        }
        let spare = group_of(family, &[]);
        match present.get_mut(&spare).and_then(Vec::pop) {
            Some(slice) => fill(
                service,
                family,
                &[],
                Vec::new(),
                vec![slice],
                limit,
                &mut plan,
            ),
            None => plan
                .create
                .push(new_slice(service, family, &[], Vec::new())),
        }
    }
    plan.delete.extend(present.into_values().flatten().cloned());
    plan
}

/// Distributes the endpoints of one group over its slices.
fn fill(
    service: &Service,
    family: &str,
    ports: &[EndpointPort],
    endpoints: Vec<Endpoint>,
    slices: Vec<&Arc<EndpointSlice>>,
    limit: usize,
    plan: &mut Plan,
) {
    let mut missing: HashMap<String, Endpoint> = endpoints
        .into_iter()
        .map(|endpoint| (identity(&endpoint), endpoint))
        .collect();
    let keep_empty = missing.is_empty();
    let mut drafts: Vec<(&Arc<EndpointSlice>, Vec<Endpoint>, bool)> = Vec::new();
    for slice in slices {
        let mut kept = Vec::new();
        let mut changed = false;
        for endpoint in slice.endpoints.iter().flatten() {
            match missing.remove(&identity(endpoint)) {
                Some(wanted) => {
                    changed |= wanted != *endpoint;
                    kept.push(wanted);
                }
                None => changed = true,
            }
        }
        drafts.push((slice, kept, changed));
    }
    let mut rest: Vec<_> = missing.into_values().collect();
    rest.sort_by_key(identity);
    rest.reverse();
    // Slices that are written anyway take new endpoints first; then the fullest with room.
    drafts.sort_by_key(|(slice, kept, changed)| {
        (
            !changed,
            usize::MAX - kept.len(),
            slice.metadata.name.clone(),
        )
    });
    for (_, kept, changed) in &mut drafts {
        while kept.len() < limit
            && let Some(endpoint) = rest.pop()
        {
            kept.push(endpoint);
            *changed = true;
        }
    }
    let mut any = false;
    for (slice, kept, changed) in drafts {
        if kept.is_empty() && (any || !keep_empty) {
            plan.delete.push(slice.clone());
            continue;
        }
        any = true;
        let mut to = (**slice).clone();
        to.metadata.labels = Some(labels(service));
        if changed {
            to.endpoints = Some(kept);
        }
        if to != **slice {
            plan.update.push(Owned {
                from: slice.clone(),
                to,
            });
        }
    }
    rest.reverse();
    for chunk in rest.chunks(limit) {
        plan.create
            .push(new_slice(service, family, ports, chunk.to_vec()));
    }
}

/// What stays the same when an endpoint's state changes: its pod, else its address.
fn identity(endpoint: &Endpoint) -> String {
    let uid = endpoint
        .target_ref
        .as_ref()
        .and_then(|target| target.uid.clone());
    let address = endpoint.addresses.first().cloned().unwrap_or_default();
    format!("{address} {}", uid.unwrap_or_default())
}

/// The service's labels, and those that make a slice the service's.
fn labels(service: &Service) -> BTreeMap<String, String> {
    let own = service.metadata.labels.clone().unwrap_or_default();
    let mut labels: BTreeMap<_, _> = own
        .into_iter()
        .filter(|(key, _)| key != SERVICE_NAME && key != MANAGED.0 && key != HEADLESS)
        .collect();
    labels.insert(
        SERVICE_NAME.to_owned(),
        service.metadata.name.clone().unwrap_or_default(),
    );
    labels.insert(MANAGED.0.to_owned(), MANAGED.1.to_owned());
    if addresses::is_headless(service) {
        labels.insert(HEADLESS.to_owned(), String::new());
    }
    labels
}

fn new_slice(
    service: &Service,
    family: &str,
    ports: &[EndpointPort],
    endpoints: Vec<Endpoint>,
) -> EndpointSlice {
    EndpointSlice {
        metadata: ObjectMeta {
            generate_name: Some(format!(
                "{}-",
                service.metadata.name.as_deref().unwrap_or_default()
            )),
            namespace: service.metadata.namespace.clone(),
            labels: Some(labels(service)),
            owner_references: Some(vec![owner_reference(service)]),
            ..ObjectMeta::default()
        },
        address_type: family.to_owned(),
        endpoints: Some(endpoints),
        ports: Some(ports.to_vec()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pods::tests::{at, running};
    use serde_json::{Value, json};

    fn service(spec: &Value) -> Service {
        let meta =
            json!({"name": "web", "namespace": "shop", "uid": "s", "labels": {"app": "web"}});
        serde_json::from_value(json!({"metadata": meta, "spec": spec})).unwrap()
    }

    fn web() -> Service {
        service(
            &json!({"clusterIP": "10.0.0.1", "ports": [{"name": "http", "port": 80, "targetPort": "web"}]}),
        )
    }

    fn pod(number: usize, ready: bool) -> Arc<Pod> {
        let mut pod = running(&format!("web-{number}"), "n1", ready.then_some(0));
        let value = json!({"containers": [{"name": "c", "ports": [{"name": "web", "containerPort": 8080}]}], "nodeName": "n1"});
        pod.spec = Some(serde_json::from_value(value).unwrap());
        pod.status.as_mut().unwrap().pod_ip =
            Some(format!("10.1.{}.{}", number / 250, number % 250));
        Arc::new(pod)
    }

    /// Gives created slices names and applies updates, as a server would.
    fn carry_out(plan: Plan, existing: Vec<Arc<EndpointSlice>>) -> Vec<Arc<EndpointSlice>> {
        let mut after: BTreeMap<String, Arc<EndpointSlice>> = existing
            .into_iter()
            .map(|slice| (slice.metadata.name.clone().unwrap(), slice))
            .collect();
        for slice in plan.delete {
            after.remove(slice.metadata.name.as_deref().unwrap());
        }
        for owned in plan.update {
            after.insert(owned.to.metadata.name.clone().unwrap(), Arc::new(owned.to));
        }
        for mut slice in plan.create {
            let name = format!("web-{:03}", after.len() + 100);
            slice.metadata.name = Some(name.clone());
            after.insert(name, Arc::new(slice));
        }
        after.into_values().collect()
    }

    fn decided(service: &Service, pods: &[Arc<Pod>], existing: &[Arc<EndpointSlice>]) -> Plan {
        decide(service, pods, existing, 100, &|_| Some("z1".to_owned()))
    }

    fn writes(plan: &Plan) -> (usize, usize, usize) {
        (plan.create.len(), plan.update.len(), plan.delete.len())
    }

    #[test]
    fn one_change_among_thousands_writes_one_slice() {
        let service = web();
        let mut pods: Vec<_> = (0..1_000).map(|number| pod(number, true)).collect();
        let slices = carry_out(decided(&service, &pods, &[]), Vec::new());
        assert_eq!(slices.len(), 10);
        assert_eq!(writes(&decided(&service, &pods, &slices)), (0, 0, 0));

        pods[517] = pod(517, false);
        let plan = decided(&service, &pods, &slices);
        assert_eq!(writes(&plan), (0, 1, 0));
        let slices = carry_out(plan, slices);

        pods.remove(3);
        pods.push(pod(2_000, true));
        let plan = decided(&service, &pods, &slices);
        assert_eq!(
            writes(&plan),
            (0, 1, 0),
            "the new endpoint takes the place of the old"
        );
        let slices = carry_out(plan, slices);
        let mut held: Vec<_> = slices
            .iter()
            .flat_map(|slice| slice.endpoints.clone().unwrap())
            .map(|e| e.addresses[0].clone())
            .collect();
        held.sort();
        held.dedup();
        assert_eq!(held.len(), 1_000);
    }

    #[test]
    fn ports_conditions_topology_and_owner_are_filled_in() {
        let plan = decided(&web(), &[pod(1, true)], &[]);
        let slice = serde_json::to_value(&plan.create[0]).unwrap();
        assert_eq!(
            slice["ports"],
            json!([{"name": "http", "port": 8080, "protocol": "TCP"}])
        );
        assert_eq!(slice["metadata"]["labels"][SERVICE_NAME], "web");
        assert_eq!(slice["metadata"]["ownerReferences"][0]["kind"], "Service");
        assert_eq!(
            slice["endpoints"],
            json!([{
                "addresses": ["10.1.0.1"],
                "conditions": {"ready": true, "serving": true, "terminating": false},
                "nodeName": "n1",
                "targetRef": {"kind": "Pod", "name": "web-1", "uid": "uid-web-1"},
                "zone": "z1",
            }])
        );
    }

    #[test]
    fn a_terminating_pod_serves_but_is_not_ready_and_a_finished_one_is_left_out() {
        let mut going = (*pod(1, true)).clone();
        going.metadata.deletion_timestamp =
            Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(at(0)));
        let mut finished = (*pod(2, false)).clone();
        finished.status.as_mut().unwrap().phase = Some("Succeeded".into());
        let plan = decided(&web(), &[Arc::new(going), Arc::new(finished)], &[]);
        let endpoints = plan.create[0].endpoints.as_ref().unwrap();
        assert_eq!(endpoints.len(), 1);
        let conditions = endpoints[0].conditions.as_ref().unwrap();
        assert_eq!(
            (conditions.ready, conditions.serving, conditions.terminating),
            (Some(false), Some(true), Some(true))
        );
    }

    #[test]
    fn publishing_unready_addresses_calls_them_ready() {
        let service = service(
            &json!({"clusterIP": "None", "publishNotReadyAddresses": true, "ports": [{"port": 80}]}),
        );
        let plan = decided(&service, &[pod(1, false)], &[]);
        let slice = &plan.create[0];
        assert_eq!(
            slice.endpoints.as_ref().unwrap()[0]
                .conditions
                .as_ref()
                .unwrap()
                .ready,
            Some(true)
        );
        assert!(
            slice
                .metadata
                .labels
                .as_ref()
                .unwrap()
                .contains_key(HEADLESS)
        );
    }

    #[test]
    fn a_service_without_endpoints_keeps_one_empty_slice() {
        let service = web();
        let slices = carry_out(decided(&service, &[], &[]), Vec::new());
        assert_eq!(slices.len(), 1);
        assert_eq!(writes(&decided(&service, &[], &slices)), (0, 0, 0));
        let slices = carry_out(decided(&service, &[pod(1, true)], &slices), slices);
        assert_eq!(
            (slices.len(), slices[0].endpoints.as_ref().unwrap().len()),
            (1, 1)
        );
        let slices = carry_out(decided(&service, &[], &slices), slices);
        assert_eq!(
            (slices.len(), slices[0].endpoints.as_ref().unwrap().len()),
            (1, 0)
        );
    }

    #[test]
    fn pods_with_different_numbers_for_a_named_port_are_in_different_slices() {
        let mut other = (*pod(2, true)).clone();
        other.spec.as_mut().unwrap().containers[0]
            .ports
            .as_mut()
            .unwrap()[0]
            .container_port = 9090;
        let plan = decided(&web(), &[pod(1, true), Arc::new(other)], &[]);
        let mut ports: Vec<_> = plan
            .create
            .iter()
            .map(|slice| slice.ports.as_ref().unwrap()[0].port.unwrap())
            .collect();
        ports.sort_unstable();
        assert_eq!(ports, [8080, 9090]);
    }
}
