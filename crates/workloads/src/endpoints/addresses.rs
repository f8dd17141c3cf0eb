//! Where a pod is reached for a service: addresses, ports and conditions.

use crate::pods;
use k8s_openapi::{
    api::{
        core::v1::{ObjectReference, Pod, Service},
        discovery::v1::{Endpoint, EndpointConditions, EndpointPort},
    },
    apimachinery::pkg::util::intstr::IntOrString,
};
use std::net::IpAddr;

/// The address families of a service: its own list, else what its cluster addresses are.
pub(crate) fn families(service: &Service) -> Vec<&'static str> {
    let spec = service.spec.as_ref();
    let named: Vec<_> = spec
        .and_then(|spec| spec.ip_families.as_ref())
        .into_iter()
        .flatten()
        .filter_map(|family| match family.as_str() {
            "IPv4" => Some("IPv4"),
            "IPv6" => Some("IPv6"),
            _ => None,
        })
        .collect();
    if !named.is_empty() {
        return named;
    }
    let address = spec
        .and_then(|spec| spec.cluster_ip.as_deref())
        .and_then(|address| address.parse().ok());
    match address {
        Some(IpAddr::V6(_)) => vec!["IPv6"],
        _ => vec!["IPv4"],
    }
}

/// The pod's address of a family.
pub(crate) fn address(pod: &Pod, family: &str) -> Option<String> {
    let status = pod.status.as_ref()?;
    let listed = status
        .pod_ips
        .iter()
        .flatten()
        .map(|entry| entry.ip.as_str());
    listed
        .chain(status.pod_ip.as_deref())
        .find(|address| match address.parse() {
            Ok(IpAddr::V4(_)) => family == "IPv4",
            Ok(IpAddr::V6(_)) => family == "IPv6",
            Err(_) => false,
        })
        .map(str::to_owned)
}

pub(crate) fn is_headless(service: &Service) -> bool {
    service
        .spec
        .as_ref()
        .and_then(|spec| spec.cluster_ip.as_deref())
        == Some("None")
}

pub(crate) fn publishes_unready(service: &Service) -> bool {
    service
        .spec
        .as_ref()
        .and_then(|spec| spec.publish_not_ready_addresses)
        == Some(true)
}

/// The pod's ports for a service; a named target port that the pod does not have is left out.
pub(crate) fn ports(service: &Service, pod: &Pod) -> Vec<EndpointPort> {
    let ports = service.spec.as_ref().and_then(|spec| spec.ports.as_ref());
    let mut all: Vec<_> = ports
        .into_iter()
        .flatten()
        .filter_map(|port| {
            let protocol = port.protocol.as_deref().unwrap_or("TCP");
            let number = match &port.target_port {
                Some(IntOrString::Int(number)) if *number > 0 => *number,
                None | Some(IntOrString::Int(_)) => port.port,
                Some(IntOrString::String(name)) => named_port(pod, name, protocol)?,
            };
            Some(EndpointPort {
                name: Some(port.name.clone().unwrap_or_default()),
                port: Some(number),
                protocol: Some(protocol.to_owned()),
                app_protocol: port.app_protocol.clone(),
            })
        })
        .collect();
    all.sort_by(|a, b| a.name.cmp(&b.name).then_with(|| a.port.cmp(&b.port)));
    all
}

fn named_port(pod: &Pod, name: &str, protocol: &str) -> Option<i32> {
    let spec = pod.spec.as_ref()?;
    // Sidecars are init containers that keep running.
    let sidecars = spec
        .init_containers
        .iter()
        .flatten()
        .filter(|container| container.restart_policy.as_deref() == Some("Always"));
    let number = spec
        .containers
        .iter()
        .chain(sidecars)
        .flat_map(|container| container.ports.iter().flatten())
        .find(|port| {
            port.name.as_deref() == Some(name)
                && port.protocol.as_deref().unwrap_or("TCP") == protocol
        });
    number.map(|port| port.container_port)
}

/// The host name under which a pod of a headless service is found.
pub(crate) fn hostname(service: &Service, pod: &Pod) -> Option<String> {
    let spec = pod.spec.as_ref()?;
    let same = spec.subdomain.as_ref() == service.metadata.name.as_ref();
    spec.hostname
        .clone()
        .filter(|hostname| same && !hostname.is_empty())
}

pub(crate) fn target(pod: &Pod) -> ObjectReference {
    ObjectReference {
        kind: Some("Pod".to_owned()),
        namespace: pod.metadata.namespace.clone(),
        name: pod.metadata.name.clone(),
        uid: pod.metadata.uid.clone(),
        ..ObjectReference::default()
    }
}

/// The endpoint of a pod; `None` if it has no address or has finished.
pub(crate) fn endpoint(
    service: &Service,
    pod: &Pod,
    family: &str,
    zone: &dyn Fn(&str) -> Option<String>,
) -> Option<Endpoint> {
    if pods::is_terminal(pod) {
        return None;
    }
    let address = address(pod, family)?;
    let (serving, terminating) = (pods::is_ready(pod), pods::is_terminating(pod));
    let ready = publishes_unready(service) || (serving && !terminating);
    let node = pods::node_name(pod);
    Some(Endpoint {
        addresses: vec![address],
        conditions: Some(EndpointConditions {
            ready: Some(ready),
            serving: Some(serving),
            terminating: Some(terminating),
        }),
        hostname: hostname(service, pod),
        node_name: node.map(str::to_owned),
        zone: node.and_then(zone),
        target_ref: Some(target(pod)),
        ..Endpoint::default()
    })
}
