//! Cluster DNS.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::balancer::Protocol;

/// What a [`Dns`] is made from.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where to listen, UDP and TCP each; port 0 takes any free port (the same for both).
    pub addrs: Vec<SocketAddr>,
    /// The cluster's domain, usually `cluster.local`.
    pub domain: String,
    /// Resolvers for all other names; `None` reads `/etc/resolv.conf` (and follows its changes).
    pub upstream: Option<Vec<SocketAddr>>,
    /// Time to live of cluster records.
    pub ttl: Duration,
}

/// A named or unnamed port of a service, for SRV records.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Port {
    /// Name, when it has one.
    pub name: Option<String>,
    /// Number the client connects to.
    pub port: u16,
    /// Transport protocol.
    pub protocol: Protocol,
}

/// A pod behind a headless service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Its address.
    pub ip: Ipv4Addr,
    /// Its name under the service, when it has one (`spec.hostname`).
    pub hostname: Option<String>,
    /// Its ports, for SRV.
    pub ports: Vec<Port>,
}

/// What DNS says about one service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServiceRecord {
    /// A service with an address of its own.
    ClusterIp {
        /// The address.
        ip: Ipv4Addr,
        /// Its ports.
        ports: Vec<Port>,
    },
    /// A headless service: the name leads to the pods.
    Headless {
        /// The pods to be published.
        endpoints: Vec<Endpoint>,
    },
    /// `type: ExternalName`: a CNAME.
    ExternalName(String),
}

/// An error of [`Dns`].
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address cannot be listened on.
    #[error("listening for DNS on {addr}")]
    Bind {
        /// Which address.
        addr: SocketAddr,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The domain is not a domain name.
    #[error("cluster domain {0:?} is not a domain name")]
    Domain(String),
    /// The server ended by itself.
    #[error("serving DNS")]
    Serve(#[source] io::Error),
}

/// Writes records. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Records {}

impl Records {
    /// Makes this the record of the service.
    pub fn set_service(&self, namespace: &str, name: &str, record: ServiceRecord) {
        let _ = (namespace, name, record);
    }

    /// Removes the service's record.
    pub fn remove_service(&self, namespace: &str, name: &str) {
        let _ = (namespace, name);
    }

    /// Makes these all the services there are.
    pub fn sync(&self, services: BTreeMap<(String, String), ServiceRecord>) {
        let _ = services;
    }
}

/// The server: bound, not yet answering.
#[derive(Debug)]
pub struct Dns {}

impl Dns {
    /// Binds all addresses.
    pub async fn bind(options: Options) -> Result<Self, Error> {
        let _ = options;
        unimplemented!()
    }

    /// The addresses bound, with real ports.
    pub fn addrs(&self) -> &[SocketAddr] {
        unimplemented!()
    }

    /// The handle to its records.
    pub fn records(&self) -> Records {
        unimplemented!()
    }

    /// Answers until `shutdown`.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), Error> {
        let _ = shutdown;
        unimplemented!()
    }
}
