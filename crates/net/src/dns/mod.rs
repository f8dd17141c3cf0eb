//! Cluster DNS.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use hickory_server::Server;
use tokio::net::{TcpListener, UdpSocket};
use tokio_util::sync::CancellationToken;

use crate::balancer::Protocol;

mod forward;
mod handler;
mod records;

use self::forward::Forwarder;
use self::handler::Handler;
pub use self::records::Records;

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

/// Answers of a TCP connection that may wait to be read by the client.
const TCP_BUFFER: usize = 32;
/// A TCP connection that asks nothing for this long is closed.
const TCP_IDLE: Duration = Duration::from_secs(10);
/// How often a free port is looked for that both UDP and TCP can have.
const PORT_TRIES: usize = 16;

/// The server: bound, not yet answering.
#[derive(Debug)]
pub struct Dns {
    sockets: Vec<(UdpSocket, TcpListener)>,
    addrs: Vec<SocketAddr>,
    records: Records,
    upstream: Option<Vec<SocketAddr>>,
}

impl Dns {
    /// Binds all addresses.
    pub async fn bind(options: Options) -> Result<Self, Error> {
        let records = Records::new(&options.domain, options.ttl)?;
        let mut sockets = Vec::new();
        let mut addrs = Vec::new();
        for addr in options.addrs {
            let (udp, tcp, bound) = bind_both(addr)
                .await
                .map_err(|source| Error::Bind { addr, source })?;
            sockets.push((udp, tcp));
            addrs.push(bound);
        }
        Ok(Self {
            sockets,
            addrs,
            records,
            upstream: options.upstream,
        })
    }

    /// The addresses bound, with real ports.
    pub fn addrs(&self) -> &[SocketAddr] {
        &self.addrs
    }

    /// The handle to its records.
    pub fn records(&self) -> Records {
        self.records.clone()
    }

    /// Answers until `shutdown`.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), Error> {
        let forwarder = Forwarder::new(self.upstream, self.addrs);
        let mut server = Server::new(Handler {
            records: self.records,
            forwarder,
        });
        for (udp, tcp) in self.sockets {
            server.register_socket(udp);
            server.register_listener(tcp, TCP_IDLE, TCP_BUFFER);
        }
        let failed = |error: hickory_server::net::NetError| Error::Serve(io::Error::other(error));
        tokio::select! {
            ended = server.block_until_done() => ended.map_err(failed),
            () = shutdown.cancelled() => server.shutdown_gracefully().await.map_err(failed),
        }
    }
}

/// UDP and TCP on the same port.
async fn bind_both(addr: SocketAddr) -> io::Result<(UdpSocket, TcpListener, SocketAddr)> {
    let mut tries = if addr.port() == 0 { PORT_TRIES } else { 1 };
    loop {
        tries -= 1;
        let udp = UdpSocket::bind(addr).await?;
        let bound = udp.local_addr()?;
        match TcpListener::bind(bound).await {
            Ok(tcp) => return Ok((udp, tcp, bound)),
            Err(error) if tries == 0 => return Err(error),
            Err(_) => {}
        }
    }
}
