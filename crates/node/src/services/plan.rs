//! What a service and its slices amount to. Pure.

use std::collections::HashSet;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

use consort_net::dns::{Endpoint as DnsEndpoint, Port, ServiceRecord};
use consort_net::{Frontend, Protocol};
use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointPort, EndpointSlice};

/// Services with this label are somebody else's to balance.
const OTHER_PROXY: &str = "service.kubernetes.io/service-proxy-name";
/// `sessionAffinityConfig.clientIP.timeoutSeconds` when it is not given.
const AFFINITY: Duration = Duration::from_secs(10_800);
/// Its greatest value.
const LONGEST_AFFINITY: Duration = Duration::from_secs(86_400);

/// The load balancing of a service; empty for headless and external ones.
pub(super) fn frontends(service: &Service, slices: &[Arc<EndpointSlice>]) -> Vec<Frontend> {
    let Some(spec) = &service.spec else {
        return Vec::new();
    };
    let foreign = service
        .metadata
        .labels
        .as_ref()
        .is_some_and(|labels| labels.contains_key(OTHER_PROXY));
    let Some(vip) = cluster_ip(spec).filter(|_| !foreign) else {
        return Vec::new();
    };
    let external = external(service, spec);
    let affinity = affinity(spec);
    let mut seen = HashSet::new();
    let ports = spec.ports.iter().flatten();
    ports
        .filter_map(|port| {
            let protocol = protocol(port.protocol.as_deref())?;
            let number = number(port.port)?;
            seen.insert((protocol, number)).then(|| Frontend {
                vip,
                external: external.clone(),
                port: number,
                protocol,
                node_port: port
                    .node_port
                    .and_then(self::number)
                    .filter(|_| has_node_ports(spec)),
                affinity,
                backends: backends(port, protocol, slices),
            })
        })
        .collect()
}

/// The names of a service.
pub(super) fn record(service: &Service, slices: &[Arc<EndpointSlice>]) -> Option<ServiceRecord> {
    let spec = service.spec.as_ref()?;
    if spec.type_.as_deref() == Some("ExternalName") {
        return spec.external_name.clone().map(ServiceRecord::ExternalName);
    }
    if spec.cluster_ip.as_deref() == Some("None") {
        let endpoints = slices
            .iter()
            .flat_map(|slice| slice_endpoints(slice))
            .collect();
        return Some(ServiceRecord::Headless { endpoints });
    }
    let ip = cluster_ip(spec)?;
    let port = |port: &ServicePort| {
        let protocol = protocol(port.protocol.as_deref())?;
        Some(Port {
            name: named(port.name.as_deref()),
            port: number(port.port)?,
            protocol,
        })
    };
    Some(ServiceRecord::ClusterIp {
        ip,
        ports: spec.ports.iter().flatten().filter_map(port).collect(),
    })
}

fn cluster_ip(spec: &ServiceSpec) -> Option<Ipv4Addr> {
    let all = spec.cluster_ips.iter().flatten().chain(&spec.cluster_ip);
    all.filter_map(|ip| ip.parse().ok())
        .find(|ip: &Ipv4Addr| !ip.is_unspecified())
}

/// Further addresses: external ones and those a load balancer gave.
fn external(service: &Service, spec: &ServiceSpec) -> Vec<Ipv4Addr> {
    let balancer = service
        .status
        .as_ref()
        .and_then(|status| status.load_balancer.as_ref());
    let ingress = balancer
        .and_then(|balancer| balancer.ingress.as_ref())
        .into_iter()
        .flatten();
    // `Proxy`: the load balancer wants traffic to its address to really go through it.
    let ingress = ingress
        .filter(|i| i.ip_mode.as_deref() != Some("Proxy"))
        .filter_map(|i| i.ip.as_ref());
    let all = spec.external_ips.iter().flatten().chain(ingress);
    let mut ips: Vec<Ipv4Addr> = all.filter_map(|ip| ip.parse().ok()).collect();
    ips.sort_unstable();
    ips.dedup();
    ips
}

fn has_node_ports(spec: &ServiceSpec) -> bool {
    matches!(spec.type_.as_deref(), Some("NodePort" | "LoadBalancer"))
}

fn affinity(spec: &ServiceSpec) -> Option<Duration> {
    (spec.session_affinity.as_deref() == Some("ClientIP")).then(|| {
        let config = spec
            .session_affinity_config
            .as_ref()
            .and_then(|config| config.client_ip.as_ref());
        let seconds = config
            .and_then(|config| config.timeout_seconds)
            .and_then(|s| u64::try_from(s).ok());
        seconds
            .map_or(AFFINITY, Duration::from_secs)
            .min(LONGEST_AFFINITY)
    })
}

/// Where connections to a port go: to what is ready, or else to what still serves while it ends
/// (as kube-proxy does since 1.28).
fn backends(
    port: &ServicePort,
    protocol: Protocol,
    slices: &[Arc<EndpointSlice>],
) -> Vec<SocketAddrV4> {
    let name = port.name.as_deref().unwrap_or_default();
    let mut ready = Vec::new();
    let mut ending = Vec::new();
    for slice in slices.iter().filter(|slice| slice.address_type == "IPv4") {
        let fits = |p: &&EndpointPort| {
            p.name.as_deref().unwrap_or_default() == name
                && self::protocol(p.protocol.as_deref()) == Some(protocol)
        };
        let Some(number) = slice
            .ports
            .iter()
            .flatten()
            .find(fits)
            .and_then(|p| p.port)
            .and_then(number)
        else {
            continue;
        };
        for endpoint in slice.endpoints.iter().flatten() {
            let into = match (is_ready(endpoint), is_ending(endpoint)) {
                (true, _) => &mut ready,
                (false, true) => &mut ending,
                (false, false) => continue,
            };
            into.extend(address(endpoint).map(|ip| SocketAddrV4::new(ip, number)));
        }
    }
    let mut chosen = if ready.is_empty() { ending } else { ready };
    chosen.sort_unstable();
    chosen.dedup();
    chosen
}

/// Unknown counts as ready (EndpointConditions, discovery.k8s.io/v1).
fn is_ready(endpoint: &Endpoint) -> bool {
    endpoint
        .conditions
        .as_ref()
        .and_then(|conditions| conditions.ready)
        .unwrap_or(true)
}

fn is_ending(endpoint: &Endpoint) -> bool {
    endpoint
        .conditions
        .as_ref()
        .is_some_and(|c| c.serving == Some(true) && c.terminating == Some(true))
}

/// All addresses of an endpoint are the same host; the first one counts.
fn address(endpoint: &Endpoint) -> Option<Ipv4Addr> {
    endpoint.addresses.first()?.parse().ok()
}

fn slice_endpoints(slice: &EndpointSlice) -> Vec<DnsEndpoint> {
    if slice.address_type != "IPv4" {
        return Vec::new();
    }
    let port = |port: &EndpointPort| {
        let protocol = protocol(port.protocol.as_deref())?;
        Some(Port {
            name: named(port.name.as_deref()),
            port: number(port.port?)?,
            protocol,
        })
    };
    let ports: Vec<Port> = slice.ports.iter().flatten().filter_map(port).collect();
    let ready = slice
        .endpoints
        .iter()
        .flatten()
        .filter(|endpoint| is_ready(endpoint));
    ready
        .filter_map(|endpoint| {
            Some(DnsEndpoint {
                ip: address(endpoint)?,
                hostname: endpoint.hostname.clone(),
                ports: ports.clone(),
            })
        })
        .collect()
}

fn named(name: Option<&str>) -> Option<String> {
    name.filter(|name| !name.is_empty()).map(str::to_owned)
}

fn number(port: i32) -> Option<u16> {
    u16::try_from(port).ok().filter(|port| *port != 0)
}

/// TCP when nothing is said.
fn protocol(name: Option<&str>) -> Option<Protocol> {
    match name.unwrap_or("TCP") {
        "TCP" => Some(Protocol::Tcp),
        "UDP" => Some(Protocol::Udp),
        "SCTP" => Some(Protocol::Sctp),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn service(spec: &Value) -> Service {
        serde_json::from_value(
            json!({"metadata": {"name": "web", "namespace": "shop"}, "spec": spec}),
        )
        .unwrap()
    }

    fn slice(ports: &Value, endpoints: &Value) -> Arc<EndpointSlice> {
        let value =
            json!({"metadata": {}, "addressType": "IPv4", "ports": ports, "endpoints": endpoints});
        Arc::new(serde_json::from_value(value).unwrap())
    }

    fn at(text: &str) -> SocketAddrV4 {
        text.parse().unwrap()
    }

    #[test]
    fn each_port_leads_to_the_slice_port_of_its_name() {
        let service = service(&json!({
        "type": "NodePort", "clusterIP": "10.96.0.1", "externalIPs": ["192.0.2.7"],
        "sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 60}},
        "ports": [
            {"name": "http", "port": 80, "nodePort": 30080},
            {"name": "dns", "port": 53, "protocol": "UDP"},
        ]}));
        let slices = [
            slice(
                &json!([{"name": "http", "port": 8080, "protocol": "TCP"}, {"name": "dns", "port": 5353, "protocol": "UDP"}]),
                &json!([{"addresses": ["10.244.0.2"]}, {"addresses": ["10.244.0.3"], "conditions": {"ready": false}}]),
            ),
            slice(
                &json!([{"name": "http", "port": 9090}]),
                &json!([{"addresses": ["10.244.0.4"], "conditions": {"ready": true}}]),
            ),
        ];
        let found = frontends(&service, &slices);
        assert_eq!(found.len(), 2);
        assert_eq!(
            found[0].backends,
            [at("10.244.0.2:8080"), at("10.244.0.4:9090")]
        );
        assert_eq!(found[0].node_port, Some(30080));
        assert_eq!(found[0].external, [Ipv4Addr::new(192, 0, 2, 7)]);
        assert_eq!(found[0].affinity, Some(Duration::from_secs(60)));
        assert_eq!(
            (found[1].protocol, &found[1].backends[..]),
            (Protocol::Udp, &[at("10.244.0.2:5353")][..])
        );
    }

    #[test]
    fn ending_pods_serve_only_while_nothing_is_ready() {
        let service = service(&json!({"clusterIP": "10.96.0.1", "ports": [{"port": 80}]}));
        let ending = json!({"addresses": ["10.244.0.2"], "conditions": {"ready": false, "serving": true, "terminating": true}});
        let ready = json!({"addresses": ["10.244.0.3"], "conditions": {"ready": true}});
        let ports = json!([{"port": 8080}]);
        let only = |endpoints| {
            frontends(&service, &[slice(&ports, &endpoints)])[0]
                .backends
                .clone()
        };
        assert_eq!(only(json!([ending])), [at("10.244.0.2:8080")]);
        assert_eq!(only(json!([ending, ready])), [at("10.244.0.3:8080")]);
    }

    #[test]
    fn headless_and_external_services_have_names_but_no_balancing() {
        let headless =
            service(&json!({"clusterIP": "None", "ports": [{"name": "db", "port": 5432}]}));
        let slices = [slice(
            &json!([{"name": "db", "port": 5432}]),
            &json!([{"addresses": ["10.244.0.2"], "hostname": "db-0"}, {"addresses": ["10.244.0.3"], "conditions": {"ready": false}}]),
        )];
        assert_eq!(frontends(&headless, &slices), []);
        let port = Port {
            name: Some("db".into()),
            port: 5432,
            protocol: Protocol::Tcp,
        };
        let endpoint = DnsEndpoint {
            ip: Ipv4Addr::new(10, 244, 0, 2),
            hostname: Some("db-0".into()),
            ports: vec![port],
        };
        assert_eq!(
            record(&headless, &slices),
            Some(ServiceRecord::Headless {
                endpoints: vec![endpoint]
            })
        );
        let external = service(&json!({"type": "ExternalName", "externalName": "example.com"}));
        assert_eq!(frontends(&external, &[]), []);
        assert_eq!(
            record(&external, &[]),
            Some(ServiceRecord::ExternalName("example.com".into()))
        );
    }
}
