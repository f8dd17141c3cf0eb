//! The older Endpoints object: one per service, for those who still read it.

use super::addresses;
use crate::pods;
use k8s_openapi::{
    api::core::v1::{EndpointAddress, EndpointPort, EndpointSubset, Endpoints, Pod, Service},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use std::{collections::BTreeMap, sync::Arc};

/// So many addresses at most; the object says so if it was cut.
const CAPACITY: usize = 1000;
const OVER_CAPACITY: &str = "endpoints.kubernetes.io/over-capacity";
const MANAGED: (&str, &str) = ("endpoints.kubernetes.io/managed-by", "endpoint-controller");
const HEADLESS: &str = "service.kubernetes.io/headless";

/// Whether these Endpoints were made here, not by a user.
pub(crate) fn is_ours(endpoints: &Endpoints) -> bool {
    let labels = endpoints.metadata.labels.as_ref();
    labels
        .and_then(|labels| labels.get(MANAGED.0))
        .map(String::as_str)
        == Some(MANAGED.1)
}

/// The Endpoints a service should have, based on those it has.
pub(crate) fn endpoints(
    service: &Service,
    pods: &[Arc<Pod>],
    existing: Option<&Endpoints>,
) -> Endpoints {
    let family = addresses::families(service)
        .first()
        .copied()
        .unwrap_or("IPv4");
    let unready_too = addresses::publishes_unready(service);
    let mut by_ports: BTreeMap<String, (Vec<EndpointPort>, EndpointSubset)> = BTreeMap::new();
    let mut chosen: Vec<(&Pod, bool, String)> = pods
        .iter()
        .filter(|pod| !pods::is_terminal(pod) && (unready_too || !pods::is_terminating(pod)))
        .filter_map(|pod| {
            Some((
                &**pod,
                unready_too || pods::is_ready(pod),
                addresses::address(pod, family)?,
            ))
        })
        .collect();
    // Ready ones first, so that they are not what is cut.
    chosen.sort_by(|a, b| {
        b.1.cmp(&a.1)
            .then_with(|| a.2.cmp(&b.2))
            .then_with(|| a.0.metadata.uid.cmp(&b.0.metadata.uid))
    });
    let truncated = chosen.len() > CAPACITY;
    chosen.truncate(CAPACITY);
    for (pod, ready, ip) in chosen {
        let ports: Vec<_> = addresses::ports(service, pod)
            .into_iter()
            .map(|port| EndpointPort {
                name: port.name.filter(|name| !name.is_empty()),
                port: port.port.unwrap_or_default(),
                protocol: port.protocol,
                app_protocol: port.app_protocol,
            })
            .collect();
        if ports.is_empty() && !addresses::is_headless(service) {
            continue;
        }
        let address = EndpointAddress {
            ip,
            hostname: addresses::hostname(service, pod),
            node_name: pods::node_name(pod).map(str::to_owned),
            target_ref: Some(addresses::target(pod)),
        };
        let key = serde_json::to_string(&ports).unwrap_or_default();
        let (_, subset) = by_ports
            .entry(key)
            .or_insert_with(|| (ports, EndpointSubset::default()));
        let list = if ready {
            &mut subset.addresses
        } else {
            &mut subset.not_ready_addresses
        };
        list.get_or_insert_default().push(address);
    }
    let subsets: Vec<_> = by_ports
        .into_values()
        .map(|(ports, mut subset)| {
            subset.ports = (!ports.is_empty()).then_some(ports);
            subset
        })
        .collect();
    let mut wanted = existing.cloned().unwrap_or_else(|| Endpoints {
        metadata: ObjectMeta {
            name: service.metadata.name.clone(),
            namespace: service.metadata.namespace.clone(),
            ..ObjectMeta::default()
        },
        subsets: None,
    });
    let mut labels = service.metadata.labels.clone().unwrap_or_default();
    labels.insert(MANAGED.0.to_owned(), MANAGED.1.to_owned());
    if addresses::is_headless(service) {
        labels.insert(HEADLESS.to_owned(), String::new());
    } else {
        labels.remove(HEADLESS);
    }
    wanted.metadata.labels = Some(labels);
    if truncated {
        let annotations = wanted.metadata.annotations.get_or_insert_default();
        annotations.insert(OVER_CAPACITY.to_owned(), "truncated".to_owned());
    } else if let Some(annotations) = &mut wanted.metadata.annotations {
        annotations.remove(OVER_CAPACITY);
        if annotations.is_empty() {
            wanted.metadata.annotations = None;
        }
    }
    wanted.subsets = (!subsets.is_empty()).then_some(subsets);
    wanted
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pods::tests::running;
    use serde_json::json;

    #[test]
    fn ready_and_unready_addresses_are_kept_apart() {
        let service: Service = serde_json::from_value(json!({
            "metadata": {"name": "web", "namespace": "shop"},
            "spec": {"clusterIP": "10.0.0.1", "ports": [{"port": 80, "targetPort": 8080}]},
        }))
        .unwrap();
        let pod = |name: &str, ip: &str, ready: Option<i64>| {
            let mut pod = running(name, "n1", ready);
            pod.status.as_mut().unwrap().pod_ip = Some(ip.to_owned());
            Arc::new(pod)
        };
        let pods = [pod("a", "10.1.0.1", Some(0)), pod("b", "10.1.0.2", None)];
        let made = endpoints(&service, &pods, None);
        let subset = &made.subsets.as_ref().unwrap()[0];
        assert_eq!(subset.addresses.as_ref().unwrap()[0].ip, "10.1.0.1");
        assert_eq!(
            subset.not_ready_addresses.as_ref().unwrap()[0].ip,
            "10.1.0.2"
        );
        assert_eq!(subset.ports.as_ref().unwrap()[0].port, 8080);
        assert_eq!(endpoints(&service, &pods, Some(&made)), made);
        assert_eq!(endpoints(&service, &[], Some(&made)).subsets, None);
    }
}
