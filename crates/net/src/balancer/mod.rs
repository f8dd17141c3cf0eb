//! Services in nftables.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Transport protocol of a service port. Displayed as in the API: `TCP`, `UDP`, `SCTP`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
            Self::Sctp => "SCTP",
        })
    }
}

/// Names a service to the balancer, usually `namespace/name`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServiceKey(pub String);

/// One port of a service and where it leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frontend {
    /// The service's cluster IP.
    pub vip: Ipv4Addr,
    /// Further addresses that lead to the same backends: external and load balancer ingress IPs.
    pub external: Vec<Ipv4Addr>,
    /// Port on the addresses above.
    pub port: u16,
    /// Transport protocol.
    pub protocol: Protocol,
    /// Port on every address of the node.
    pub node_port: Option<u16>,
    /// A client stays with its backend until this long after its last new connection
    /// (`sessionAffinity: ClientIP`; at most a day).
    pub affinity: Option<Duration>,
    /// Where connections go, each with the same probability; empty: connections are refused.
    pub backends: Vec<SocketAddrV4>,
}

/// An error of [`Balancer`].
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel refused a transaction; nothing of it was done.
    #[error("{action}")]
    Kernel {
        /// What was being done to what.
        action: String,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// A frontend cannot be programmed.
    #[error("service {service}: {reason}")]
    Frontend {
        /// Whose frontend.
        service: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The worker thread is gone: the runtime is shutting down.
    #[error("the runtime is shutting down")]
    Closed,
}

/// Handle to the services of one node. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Balancer {}

impl Balancer {
    /// Makes the service have exactly these frontends, in one transaction.
    pub async fn set(&self, service: ServiceKey, frontends: Vec<Frontend>) -> Result<(), Error> {
        let _ = (service, frontends);
        unimplemented!()
    }

    /// Removes the service.
    pub async fn remove(&self, service: ServiceKey) -> Result<(), Error> {
        let _ = service;
        unimplemented!()
    }

    /// Makes these all the services there are; what the kernel already has stays untouched.
    pub async fn sync(&self, services: Vec<(ServiceKey, Vec<Frontend>)>) -> Result<(), Error> {
        let _ = services;
        unimplemented!()
    }

    /// Compares the kernel's table with what should be there and repairs what others changed.
    /// Returns how many differences were repaired. Costs one small message when nobody touched
    /// nftables.
    pub async fn verify(&self) -> Result<usize, Error> {
        unimplemented!()
    }
}
