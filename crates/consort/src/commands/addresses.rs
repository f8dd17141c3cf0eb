//! Where the services of a score answer.

use consort_plan::Action;
use k8s_openapi::api::core::v1::Service;
use kube::{Api, Client};

use crate::error::Result;

/// Where a service answers from this host.
pub(super) struct Address {
    /// `service/web`.
    pub(super) service: String,
    /// A URL.
    pub(super) url: String,
}

/// The addresses of the services among objects (by their addresses within their parts); of those meant for the outside,
/// or if there is none, of all.
pub(super) async fn addresses(client: &Client, objects: &[(&str, Action)]) -> Result<Vec<Address>> {
    let mut outside = Vec::new();
    let mut inside = Vec::new();
    let services = objects
        .iter()
        .filter_map(|(local, _)| local.strip_prefix("v1/Service/")?.split_once('/'));
    for (namespace, name) in services {
        let api: Api<Service> = Api::namespaced(client.clone(), namespace);
        let Some(spec) = api.get(name).await?.spec else {
            continue;
        };
        for port in spec.ports.iter().flatten() {
            if port.protocol.as_deref().unwrap_or("TCP") != "TCP" {
                continue;
            }
            let address = |url: String| Address {
                service: format!("service/{name}"),
                url,
            };
            let scheme = if port.port == 443 { "https" } else { "http" };
            if let Some(node_port) = port.node_port {
                outside.push(address(format!("{scheme}://127.0.0.1:{node_port}")));
            } else if let Some(ip) = spec.cluster_ip.as_deref().filter(|ip| *ip != "None") {
                inside.push(address(format!("{scheme}://{ip}:{}", port.port)));
            }
        }
    }
    Ok(if outside.is_empty() { inside } else { outside })
}
