//! Where the services of a score answer.

use std::net::Ipv4Addr;
use std::time::Duration;

use consort_plan::Action;
use k8s_openapi::api::core::v1::Service;
use kube::{Api, Client};

use tokio::net::TcpStream;

use crate::error::Result;

/// How long a service whose pods are ready may take to answer.
const PATIENCE: Duration = Duration::from_secs(3);
/// Between two tries.
const AGAIN: Duration = Duration::from_millis(10);

/// Where a service answers from this host.
pub(super) struct Address {
    /// `service/web`.
    pub(super) service: String,
    /// A URL.
    pub(super) url: String,
    at: (Ipv4Addr, u16),
}

impl Address {
    /// Waits until something takes connections there: what is ready is told to all nodes only after that. Whether it does.
    pub(super) async fn answers(&self) -> bool {
        let connected = async {
            while TcpStream::connect(self.at).await.is_err() {
                tokio::time::sleep(AGAIN).await;
            }
        };
        tokio::time::timeout(PATIENCE, connected).await.is_ok()
    }
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
            let scheme = if port.port == 443 { "https" } else { "http" };
            let address = |ip: Ipv4Addr, port: i32| {
                Some(Address {
                    service: format!("service/{name}"),
                    url: format!("{scheme}://{ip}:{port}"),
                    at: (ip, u16::try_from(port).ok()?),
                })
            };
            if let Some(node_port) = port.node_port {
                outside.extend(address(Ipv4Addr::LOCALHOST, node_port));
            } else if let Some(ip) = spec.cluster_ip.as_deref().and_then(|ip| ip.parse().ok()) {
                inside.extend(address(ip, port.port));
            }
        }
    }
    Ok(if outside.is_empty() { inside } else { outside })
}
