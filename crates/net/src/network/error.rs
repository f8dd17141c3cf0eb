//! What can go wrong with the pod network.

use std::io;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use ipnet::Ipv4Net;

use crate::network::HostPort;

/// An error of [`crate::Network`]. None leaves anything half made: the call can be repeated.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The options contradict themselves or a limit of the kernel.
    #[error("network options: {0}")]
    Options(String),
    /// Another interface already uses (part of) the addresses.
    #[error("{cidr} is already in use: {used} on interface {interface}")]
    CidrInUse {
        /// What was asked for.
        cidr: Ipv4Net,
        /// What is there.
        used: Ipv4Net,
        /// On which interface.
        interface: String,
    },
    /// All addresses of the pod CIDR are leased.
    #[error("no free address left in {0}")]
    Exhausted(Ipv4Net),
    /// The host port leads to another pod.
    #[error("host port {}/{} is taken by pod {holder}", port.host_port, port.protocol)]
    HostPortTaken {
        /// The port asked for.
        port: HostPort,
        /// Who has it.
        holder: String,
    },
    /// The pod identifier cannot be a file name.
    #[error("pod id {0:?} is not usable: 1 to 200 characters of a-z, A-Z, 0-9, '-', '_' and '.'")]
    PodId(String),
    /// The kernel refused a change.
    #[error("{action}")]
    Kernel {
        /// What was being done to what.
        action: String,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// Reading or writing the state directory failed.
    #[error("{action} {path}")]
    State {
        /// What was being done.
        action: &'static str,
        /// To which file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A lease on disk cannot be understood.
    #[error("lease {path}: {reason}")]
    Lease {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The address is leased to another pod; only a damaged state directory can cause this.
    #[error("address {0} is leased twice")]
    LeasedTwice(Ipv4Addr),
    /// Programming nftables failed.
    #[error(transparent)]
    Balancer(#[from] crate::balancer::Error),
    /// The worker thread is gone: the runtime is shutting down.
    #[error("the runtime is shutting down")]
    Closed,
}
