//! What a node is told when it is made.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use consort_image::Images;
use consort_net::Network;
use consort_reconcile::Hub;
use consort_runtime::Runtime;
use ipnet::Ipv4Net;
use k8s_openapi::api::core::v1::Taint;
use tokio::sync::watch;

/// Everything a node needs; nothing is read from the environment.
#[derive(Clone)]
pub struct Options {
    /// Name of the Node object, a DNS-1123 subdomain.
    pub name: String,
    /// Directory for pods: volumes, logs, files. Made if it is missing.
    pub data_dir: PathBuf,
    /// Client and informers, with the node's identity.
    pub hub: Hub,
    /// Runs containers.
    pub runtime: Runtime,
    /// Holds images.
    pub images: Images,
    /// Gives pods addresses.
    pub network: Network,
    /// The pods' addresses, for `spec.podCIDR`.
    pub pod_cidr: Option<Ipv4Net>,
    /// Address of the cluster's DNS; without it pods use the machine's resolver.
    pub dns: Option<IpAddr>,
    /// Says when services are known on this node; no pod that has a network of its own starts before. Without it
    /// nothing is waited for.
    pub services: Option<watch::Receiver<bool>>,
    /// Domain of the cluster's names, such as `cluster.local`.
    pub cluster_domain: String,
    /// Addresses of this machine, the primary one first; empty asks the machine.
    pub addresses: Vec<IpAddr>,
    /// Port at which the API reaches this node's agent; 0 when it is in the same process.
    pub agent_port: u16,
    /// Most pods at a time.
    pub max_pods: u32,
    /// Most tasks in a pod; `None` for no limit of our own.
    pub pod_pids_limit: Option<i64>,
    /// Labels beyond the usual ones.
    pub labels: BTreeMap<String, String>,
    /// Taints to register with.
    pub taints: Vec<Taint>,
    /// Thousandths of a CPU kept back from pods.
    pub reserved_cpu_milli: u64,
    /// Bytes of memory kept back from pods.
    pub reserved_memory_bytes: u64,
    /// Longest that all pods together may take to stop when the node stops.
    pub stop_timeout: Duration,
    /// How full the disk may be, in percent, before unused images are removed.
    pub image_gc_high_percent: u8,
}

impl Options {
    /// The usual values around what cannot be guessed.
    pub fn new(
        name: impl Into<String>,
        data_dir: impl Into<PathBuf>,
        hub: Hub,
        runtime: Runtime,
        images: Images,
        network: Network,
    ) -> Self {
        Self {
            name: name.into(),
            data_dir: data_dir.into(),
            hub,
            runtime,
            images,
            network,
            pod_cidr: None,
            dns: None,
            services: None,
            cluster_domain: "cluster.local".to_owned(),
            addresses: Vec::new(),
            agent_port: 0,
            max_pods: 110,
            pod_pids_limit: None,
            labels: BTreeMap::new(),
            taints: Vec::new(),
            reserved_cpu_milli: 0,
            reserved_memory_bytes: 0,
            stop_timeout: Duration::from_secs(60),
            image_gc_high_percent: 85,
        }
    }
}

/// What happens to the pods when the node's agent ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnShutdown {
    /// Containers go on; the next agent takes them over.
    Leave,
    /// All pods are stopped within their grace periods and nothing of them is left on the machine.
    /// Their objects stay, so that the next start runs them again.
    StopPods,
}
