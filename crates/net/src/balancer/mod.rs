//! Services in nftables.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

mod elements;
mod engine;
mod state;
mod table;

pub(crate) use elements::Door;
use engine::Engine;
pub(crate) use table::Surroundings;

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

impl Protocol {
    /// Its IP protocol number.
    pub(crate) fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
            Self::Sctp => 132,
        }
    }

    pub(crate) fn from_number(number: u8) -> Option<Self> {
        match number {
            6 => Some(Self::Tcp),
            17 => Some(Self::Udp),
            132 => Some(Self::Sctp),
            _ => None,
        }
    }
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
///
/// Every change is one nftables transaction: it happens as a whole or not at all, and services that
/// are not part of it never notice. Calls return when the kernel has acknowledged.
#[derive(Debug, Clone)]
pub struct Balancer {
    engine: Arc<Mutex<Engine>>,
}

impl Balancer {
    pub(crate) fn new(around: Surroundings) -> Self {
        Self {
            engine: Arc::new(Mutex::new(Engine::new(around))),
        }
    }

    /// Makes the service have exactly these frontends.
    pub async fn set(&self, service: ServiceKey, frontends: Vec<Frontend>) -> Result<(), Error> {
        self.apply(vec![(service, Some(frontends))]).await
    }

    /// Removes the service.
    pub async fn remove(&self, service: ServiceKey) -> Result<(), Error> {
        self.apply(vec![(service, None)]).await
    }

    /// Changes several services together; `None` removes one.
    pub async fn apply(
        &self,
        changes: Vec<(ServiceKey, Option<Vec<Frontend>>)>,
    ) -> Result<(), Error> {
        self.work(move |engine| engine.apply(changes)).await
    }

    /// Makes these all the services there are; what the kernel already has stays untouched.
    pub async fn sync(&self, services: Vec<(ServiceKey, Vec<Frontend>)>) -> Result<(), Error> {
        self.work(move |engine| engine.sync(services)).await
    }

    /// Compares the kernel's table with what should be there and repairs what others changed.
    /// Returns how many differences were repaired. Costs one small message when nobody else touched
    /// nftables since the last call.
    pub async fn verify(&self) -> Result<usize, Error> {
        self.work(Engine::verify).await
    }

    pub(crate) async fn up(&self, host_ports: Vec<(Door, SocketAddrV4)>) -> Result<(), Error> {
        self.work(move |engine| engine.up(&host_ports)).await
    }

    pub(crate) async fn down(&self) -> Result<(), Error> {
        self.work(Engine::down).await
    }

    pub(crate) async fn set_host_ports(
        &self,
        ports: Vec<(Door, SocketAddrV4)>,
    ) -> Result<(), Error> {
        self.work(move |engine| engine.set_host_ports(&ports)).await
    }

    pub(crate) async fn remove_host_ports(&self, doors: Vec<Door>) -> Result<(), Error> {
        self.work(move |engine| engine.remove_host_ports(&doors))
            .await
    }

    /// Netlink calls block, so they run on a worker thread, one at a time.
    async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Engine) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let engine = Arc::clone(&self.engine);
        tokio::task::spawn_blocking(move || work(&mut engine.lock()))
            .await
            .map_err(|_| Error::Closed)?
    }
}
