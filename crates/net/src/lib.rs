//! The network of one node: pod interfaces and addresses, service load balancing, cluster DNS.
//!
//! Data passes through four parts that share nothing but addresses:
//!
//! - [`Network`] gives every pod a network namespace, an address and routes ([`Network::attach`]),
//!   all over netlink. Pods are reached over routed veth pairs: every packet crosses the host's
//!   routing, so one set of hooks sees it and no bridge filtering has to be switched on.
//! - [`Balancer`] holds services in one nftables table and changes it element by element, in one
//!   transaction for each change.
//! - [`Dns`] answers the cluster's names from memory and forwards the rest.
//! - [`bridge`] holds networks of machines: bridges with ports, and what may pass between them.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use consort_net::{Network, network};
//!
//! let network = Network::open(network::Options {
//!     name: "ab12cd".into(),
//!     pod_cidr: "10.244.0.0/24".parse()?,
//!     cluster_cidr: "10.244.0.0/16".parse()?,
//!     service_cidr: "10.96.0.0/12".parse()?,
//!     mtu: None,
//!     state_dir: "/var/lib/consort/net".into(),
//!     node_port_addresses: Vec::new(),
//!     masquerade: true,
//! })
//! .await?;
//! network.up().await?;
//! let pod = network.attach("5f0c", &[]).await?;
//! println!("{} is at {}", pod.netns.display(), pod.ip);
//! network.detach("5f0c").await?;
//! network.down().await?;
//! # Ok(()) }
//! ```

pub mod balancer;
pub mod bridge;
mod conntrack;
pub mod dns;
mod netlink;
pub mod network;
mod nft;

pub use balancer::{Balancer, Frontend, Protocol, ServiceKey};
pub use dns::{Dns, Records};
pub use network::{Attachment, HostPort, Network};
