//! Pod namespaces, interfaces, addresses and routes.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use crate::balancer::{Balancer, Protocol};

mod error;

pub use error::Error;

/// What a [`Network`] is made from.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Options {
    /// Tells instances on one host apart: 1 to 6 characters of `a-z0-9`. The link is named
    /// `cs-NAME`, the nftables table `consort-NAME`.
    pub name: String,
    /// Addresses for the pods of this node. The first host address is the gateway.
    pub pod_cidr: Ipv4Net,
    /// Addresses of all pods of the cluster: traffic to them is never masqueraded.
    pub cluster_cidr: Ipv4Net,
    /// Addresses of services; the host gets a route so that its processes reach them too.
    pub service_cidr: Ipv4Net,
    /// MTU of pod interfaces in bytes; by default that of the host's default route, else 1500.
    pub mtu: Option<u32>,
    /// Directory for leases and pinned network namespaces. Created when absent.
    pub state_dir: PathBuf,
    /// Host addresses that answer on node ports; empty means all of them.
    pub node_port_addresses: Vec<Ipv4Net>,
    /// Whether pods reach the outside under the host's address.
    pub masquerade: bool,
}

/// A port of the host that leads to a port of the pod.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct HostPort {
    /// Transport protocol.
    pub protocol: Protocol,
    /// Only this address of the host; `None` (or 0.0.0.0) means all.
    pub host_ip: Option<Ipv4Addr>,
    /// Port on the host.
    pub host_port: u16,
    /// Port in the pod.
    pub container_port: u16,
}

/// The place of one pod in the network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    /// The pod it was made for.
    pub pod_id: String,
    /// Pinned network namespace, to be entered with `setns`.
    pub netns: PathBuf,
    /// The pod's address.
    pub ip: Ipv4Addr,
    /// The pod's default gateway: an address of the host.
    pub gateway: Ipv4Addr,
    /// Hardware address of `eth0`, as `02:xx:xx:xx:xx:xx`.
    pub mac: String,
    /// Host ports that lead here.
    pub host_ports: Vec<HostPort>,
}

/// The pod network of one node. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Network {}

impl Network {
    /// Checks `options`, reads the leases of an earlier run from disk. Changes nothing in the kernel.
    pub async fn open(options: Options) -> Result<Self, Error> {
        let _ = options;
        unimplemented!()
    }

    /// Makes the link, routes, sysctls and nftables table, adopts what is still there from an
    /// earlier run and clears what is half there. Safe to repeat.
    pub async fn up(&self) -> Result<(), Error> {
        unimplemented!()
    }

    /// Removes every namespace, link, table and changed sysctl of this instance.
    pub async fn down(&self) -> Result<(), Error> {
        unimplemented!()
    }

    /// Gives the pod a namespace and an address. Repeating it returns (and if need be repairs) the
    /// same attachment.
    pub async fn attach(&self, pod_id: &str, host_ports: &[HostPort]) -> Result<Attachment, Error> {
        let _ = (pod_id, host_ports);
        unimplemented!()
    }

    /// Removes the pod's namespace and frees its address. Unknown pods are no error.
    pub async fn detach(&self, pod_id: &str) -> Result<(), Error> {
        let _ = pod_id;
        unimplemented!()
    }

    /// All attachments, adopted ones included, in the order of their addresses.
    pub fn attachments(&self) -> Vec<Attachment> {
        unimplemented!()
    }

    /// The services' side of this network.
    pub fn balancer(&self) -> Balancer {
        unimplemented!()
    }

    /// The host's address in the pod network; reachable from pods and the host only.
    pub fn gateway(&self) -> Ipv4Addr {
        unimplemented!()
    }
}
