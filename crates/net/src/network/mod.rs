//! Pod namespaces, interfaces, addresses and routes.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ipnet::Ipv4Net;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use self::lease::Leases;
use self::link::{Links, Mac};
use crate::balancer::{Balancer, Door, Protocol, Surroundings};

mod error;
pub(crate) mod host;
mod lease;
pub(crate) mod link;
pub(crate) mod namespace;

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

/// The names of an instance's links.
#[derive(Debug, Clone)]
struct Names {
    link: String,
    pods: String,
}

impl Names {
    fn new(name: &str) -> Self {
        Self {
            link: format!("cs-{name}"),
            pods: format!("cs{name}_"),
        }
    }

    /// The host's end of the pod with this address. The offset in the CIDR is unique among the leases
    /// and keeps the name within the kernel's 15 characters.
    fn pod(&self, cidr: Ipv4Net, ip: Ipv4Addr) -> String {
        format!(
            "{}{:x}",
            self.pods,
            u32::from(ip) - u32::from(cidr.network())
        )
    }

    fn is_ours(&self, link: &str) -> bool {
        link == self.link || link.starts_with(&self.pods)
    }
}

pub(crate) fn kernel(action: impl Into<String>) -> impl FnOnce(io::Error) -> Error {
    let action = action.into();
    move |source| Error::Kernel { action, source }
}

/// Hardware address of a pod: made from its address, so that neighbours need not ask for it.
fn pod_mac(ip: Ipv4Addr) -> Mac {
    let [a, b, c, d] = ip.octets();
    [0x02, 0x63, a, b, c, d]
}

/// Hardware address of the host's end of the pod's link.
fn host_mac(ip: Ipv4Addr) -> Mac {
    let [a, b, c, d] = ip.octets();
    [0x06, 0x63, a, b, c, d]
}

pub(crate) fn mac_text(mac: Mac) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

fn doors(lease: &Attachment) -> Vec<(Door, SocketAddrV4)> {
    let target = |port: &HostPort| SocketAddrV4::new(lease.ip, port.container_port);
    let door = |port: &HostPort| Door {
        ip: port.host_ip.unwrap_or(Ipv4Addr::UNSPECIFIED),
        protocol: port.protocol,
        port: port.host_port,
    };
    lease
        .host_ports
        .iter()
        .map(|port| (door(port), target(port)))
        .collect()
}

/// The pod network of one node. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Network {
    shared: Arc<Shared>,
    balancer: Balancer,
}

#[derive(Debug)]
struct Shared {
    options: Options,
    names: Names,
    leases: Mutex<Leases>,
    /// One lock for each pod being worked on: pods do not wait for each other.
    busy: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
}

impl Network {
    /// Checks `options`, reads the leases of an earlier run from disk. Changes nothing in the kernel.
    pub async fn open(options: Options) -> Result<Self, Error> {
        check(&options)?;
        let balancer = Balancer::new(Surroundings {
            table: format!("consort-{}", options.name),
            interfaces: Names::new(&options.name).pods,
            gateway: lease::gateway(options.pod_cidr),
            pod_cidr: options.pod_cidr,
            cluster_cidr: options.cluster_cidr,
            service_cidr: options.service_cidr,
            node_port_addresses: options.node_port_addresses.clone(),
            masquerade: options.masquerade,
        });
        let (dir, cidr) = (options.state_dir.join("leases"), options.pod_cidr);
        let leases = blocking(move || Leases::load(dir, cidr)).await?;
        let names = Names::new(&options.name);
        let shared = Shared {
            options,
            names,
            leases: Mutex::new(leases),
            busy: Mutex::new(HashMap::new()),
        };
        Ok(Self {
            shared: Arc::new(shared),
            balancer,
        })
    }

    /// Makes the link, routes, sysctls and nftables table, adopts what is still there from an
    /// earlier run and clears what is half there. Safe to repeat.
    ///
    /// # Errors
    /// [`Error::CidrInUse`] when another interface (such as another instance's) has the addresses.
    pub async fn up(&self) -> Result<(), Error> {
        let shared = Arc::clone(&self.shared);
        blocking(move || shared.up()).await?;
        let ports = self.attachments().iter().flat_map(doors).collect();
        Ok(self.balancer.up(ports).await?)
    }

    /// Removes every namespace, link, table and changed sysctl of this instance.
    pub async fn down(&self) -> Result<(), Error> {
        self.balancer.down().await?;
        let shared = Arc::clone(&self.shared);
        blocking(move || shared.down()).await
    }

    /// Gives the pod a namespace and an address. Repeating it returns (and if need be repairs) the
    /// same attachment.
    pub async fn attach(&self, pod_id: &str, host_ports: &[HostPort]) -> Result<Attachment, Error> {
        check_pod_id(pod_id)?;
        let lock = self.shared.lock(pod_id);
        let _busy = lock.lock().await;
        let before = self.shared.leases.lock().get(pod_id).cloned();
        let (shared, pod, ports) = (
            Arc::clone(&self.shared),
            pod_id.to_owned(),
            host_ports.to_vec(),
        );
        let lease = blocking(move || shared.attach(&pod, &ports)).await?;
        let opened = doors(&lease);
        let closed = before.iter().flat_map(doors).map(|(door, _)| door);
        let closed: Vec<_> = closed
            .filter(|door| !opened.iter().any(|(other, _)| other == door))
            .collect();
        if !closed.is_empty() {
            self.balancer.remove_host_ports(closed).await?;
        }
        if !opened.is_empty() {
            self.balancer.set_host_ports(opened).await?;
        }
        Ok(lease)
    }

    /// Removes the pod's namespace and frees its address. Unknown pods are no error.
    pub async fn detach(&self, pod_id: &str) -> Result<(), Error> {
        check_pod_id(pod_id)?;
        let lock = self.shared.lock(pod_id);
        let _busy = lock.lock().await;
        let lease = self.shared.leases.lock().get(pod_id).cloned();
        let closed: Vec<_> = lease.iter().flat_map(doors).map(|(door, _)| door).collect();
        if !closed.is_empty() {
            self.balancer.remove_host_ports(closed).await?;
        }
        let (shared, pod) = (Arc::clone(&self.shared), pod_id.to_owned());
        blocking(move || shared.detach(&pod)).await?;
        self.shared.unlock(pod_id, &lock);
        Ok(())
    }

    /// All attachments, adopted ones included, in the order of their addresses.
    pub fn attachments(&self) -> Vec<Attachment> {
        self.shared.leases.lock().all()
    }

    /// The services' side of this network.
    pub fn balancer(&self) -> Balancer {
        self.balancer.clone()
    }

    /// The host's address in the pod network; reachable from pods and the host only.
    pub fn gateway(&self) -> Ipv4Addr {
        lease::gateway(self.shared.options.pod_cidr)
    }
}

/// Runs blocking work off the reactor.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| Error::Closed)?
}

fn check(options: &Options) -> Result<(), Error> {
    let refuse = |text: String| Err(Error::Options(text));
    let name = &options.name;
    if name.is_empty()
        || name.len() > 6
        || !name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
    {
        return refuse(format!(
            "name {name:?}: expected 1 to 6 characters of a-z and 0-9"
        ));
    }
    if !(8..=29).contains(&options.pod_cidr.prefix_len()) {
        return refuse(format!(
            "pod CIDR {}: expected a prefix length of 8 to 29",
            options.pod_cidr
        ));
    }
    if !options.cluster_cidr.contains(&options.pod_cidr) {
        return refuse(format!(
            "pod CIDR {} is not part of cluster CIDR {}",
            options.pod_cidr, options.cluster_cidr
        ));
    }
    let (cluster, service) = (options.cluster_cidr, options.service_cidr);
    if cluster.contains(&service.network()) || service.contains(&cluster.network()) {
        return refuse(format!(
            "cluster CIDR {cluster} and service CIDR {service} overlap"
        ));
    }
    if let Some(mtu) = options.mtu.filter(|mtu| !(576..=65535).contains(mtu)) {
        return refuse(format!("MTU {mtu}: expected 576 to 65535"));
    }
    if !options.state_dir.is_absolute() {
        return refuse(format!(
            "state directory {}: expected an absolute path",
            options.state_dir.display()
        ));
    }
    Ok(())
}

fn check_pod_id(pod: &str) -> Result<(), Error> {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    if pod.is_empty() || pod.len() > 200 || pod.starts_with('.') || !pod.bytes().all(fits) {
        return Err(Error::PodId(pod.to_owned()));
    }
    Ok(())
}

impl Shared {
    fn lock(&self, pod: &str) -> Arc<tokio::sync::Mutex<()>> {
        Arc::clone(self.busy.lock().entry(pod.to_owned()).or_default())
    }

    /// Forgets the lock of a pod that is gone, unless somebody waits for it.
    fn unlock(&self, pod: &str, lock: &Arc<tokio::sync::Mutex<()>>) {
        let mut busy = self.busy.lock();
        // One count is the map's, the other the caller's.
        if Arc::strong_count(lock) <= 2 {
            busy.remove(pod);
        }
    }

    fn namespaces(&self) -> PathBuf {
        self.options.state_dir.join("netns")
    }

    fn open_links() -> Result<Links, Error> {
        Links::open().map_err(kernel("opening an rtnetlink socket"))
    }

    fn up(&self) -> Result<(), Error> {
        for dir in [self.namespaces(), self.options.state_dir.join("leases")] {
            fs::create_dir_all(&dir).map_err(|source| Error::State {
                action: "making directory",
                path: dir,
                source,
            })?;
        }
        let mut links = Self::open_links()?;
        let (pods, services) = (self.options.pod_cidr, self.options.service_cidr);
        host::check_free(
            &mut links,
            |name| self.names.is_ours(name),
            &[pods, services],
        )?;
        let mtu = self.mtu(&mut links)?;
        let link = host::up(&mut links, &self.names.link, mtu)?;
        let gateway = lease::gateway(pods);
        links
            .add_address(link.index, gateway)
            .map_err(kernel(format!("giving {gateway} to {}", link.name)))?;
        links
            .add_link_route(link.index, services, gateway)
            .map_err(kernel(format!("routing {services} to {}", link.name)))?;
        links
            .add_unreachable(pods)
            .map_err(kernel(format!("routing {pods}")))?;
        self.adopt(&mut links)
    }

    /// Keeps the pods of an earlier run that are still whole, mends those that lost their link, and
    /// clears away the rest.
    fn adopt(&self, links: &mut Links) -> Result<(), Error> {
        let leases = self.leases.lock().all();
        let mut kept = HashSet::new();
        let present = links.list().map_err(kernel("listing links"))?;
        let present: HashSet<String> = present.into_iter().map(|link| link.name).collect();
        for lease in leases {
            let name = self.names.pod(self.options.pod_cidr, lease.ip);
            if !namespace::is_pinned(&lease.netns) {
                // The machine was restarted: nobody is in there any more.
                self.leases.lock().release(&lease.pod_id)?;
                continue;
            }
            if !present.contains(&name) {
                self.connect(links, &lease, &name)?;
            }
            kept.insert(name);
            kept.insert(lease.pod_id);
        }
        for name in present
            .iter()
            .filter(|name| name.starts_with(&self.names.pods) && !kept.contains(*name))
        {
            links
                .delete(name)
                .map_err(kernel(format!("removing link {name}")))?;
        }
        self.clear_namespaces(&kept)
    }

    /// Removes namespaces whose pod is not in `kept`.
    fn clear_namespaces(&self, kept: &HashSet<String>) -> Result<(), Error> {
        let dir = self.namespaces();
        let entries = match fs::read_dir(&dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            outcome => outcome.map_err(|source| Error::State {
                action: "reading directory",
                path: dir,
                source,
            })?,
        };
        for entry in entries.flatten() {
            if !entry
                .file_name()
                .to_str()
                .is_some_and(|name| kept.contains(name))
            {
                remove_namespace(&entry.path())?;
            }
        }
        Ok(())
    }

    fn mtu(&self, links: &mut Links) -> Result<u32, Error> {
        match self.options.mtu {
            Some(mtu) => Ok(mtu),
            None => host::default_mtu(links),
        }
    }

    fn attach(&self, pod: &str, ports: &[HostPort]) -> Result<Attachment, Error> {
        let path = self.namespaces().join(pod);
        let known = self.leases.lock().get(pod).is_some();
        let lease = self.leases.lock().take(pod, path, ports)?;
        let outcome = self.ensure(&lease);
        if outcome.is_err() && !known {
            // The first error says more than one of clearing up; what is left goes with the next `up`.
            let cleared = self.detach(pod);
            tracing::debug!(pod, ?cleared, "cleared a failed attachment");
        }
        outcome.map(|()| lease)
    }

    /// Makes what is missing of the attachment.
    fn ensure(&self, lease: &Attachment) -> Result<(), Error> {
        let mut links = Self::open_links()?;
        let name = self.names.pod(self.options.pod_cidr, lease.ip);
        if namespace::is_pinned(&lease.netns)
            && links
                .find(&name)
                .map_err(kernel(format!("looking for link {name}")))?
                .is_some()
        {
            return Ok(());
        }
        self.connect(&mut links, lease, &name)
    }

    /// Makes namespace, link, addresses and routes of a pod.
    fn connect(&self, links: &mut Links, lease: &Attachment, name: &str) -> Result<(), Error> {
        let pod = &lease.pod_id;
        let path = &lease.netns;
        let action = || kernel(format!("making network namespace {}", path.display()));
        let mut inner = if namespace::is_pinned(path) {
            namespace::enter(path)
        } else {
            namespace::create(path)
        }
        .map_err(action())?;
        let handle = File::open(path).map_err(action())?;
        let mtu = self.mtu(links)?;
        let (ip, gateway) = (lease.ip, lease.gateway);
        // A namespace can have lost the host's end only together with its own.
        links
            .delete(name)
            .map_err(kernel(format!("removing link {name}")))?;
        links
            .add_veth(name, host_mac(ip), handle.as_fd(), pod_mac(ip), mtu)
            .map_err(kernel(format!("making link {name} of pod {pod}")))?;
        host::route_loopback(name)?;
        let found =
            |link: Option<link::Link>| link.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound));
        let inside = || kernel(format!("setting up eth0 of pod {pod}"));
        let eth0 = inner.find("eth0").and_then(found).map_err(inside())?.index;
        let gateway_net = Ipv4Net::from(gateway);
        inner
            .set_up(eth0)
            .and_then(|()| inner.add_address(eth0, ip))
            .and_then(|()| inner.add_neighbour(eth0, gateway, host_mac(ip)))
            .and_then(|()| inner.add_link_route(eth0, gateway_net, ip))
            .and_then(|()| inner.add_default_route(eth0, gateway))
            .map_err(inside())?;
        let host = links
            .find(name)
            .and_then(found)
            .map_err(kernel(format!("looking for link {name}")))?
            .index;
        links
            .add_neighbour(host, ip, pod_mac(ip))
            .and_then(|()| links.add_link_route(host, Ipv4Net::from(ip), gateway))
            .map_err(kernel(format!("routing {ip} to pod {pod}")))
    }

    fn detach(&self, pod: &str) -> Result<(), Error> {
        let lease = self.leases.lock().get(pod).cloned();
        if let Some(lease) = &lease {
            let name = self.names.pod(self.options.pod_cidr, lease.ip);
            Self::open_links()?
                .delete(&name)
                .map_err(kernel(format!("removing link {name}")))?;
        }
        remove_namespace(&self.namespaces().join(pod))?;
        self.leases.lock().release(pod)
    }

    fn down(&self) -> Result<(), Error> {
        let mut links = Self::open_links()?;
        let leases = self.leases.lock().all();
        for lease in leases {
            self.detach(&lease.pod_id)?;
        }
        for link in links.list().map_err(kernel("listing links"))? {
            if link.name.starts_with(&self.names.pods) {
                links
                    .delete(&link.name)
                    .map_err(kernel(format!("removing link {}", link.name)))?;
            }
        }
        self.clear_namespaces(&HashSet::new())?;
        let pods = self.options.pod_cidr;
        links
            .delete_unreachable(pods)
            .map_err(kernel(format!("removing the route to {pods}")))?;
        host::down(&mut links, &self.names.link)?;
        self.busy.lock().clear();
        for dir in [
            self.namespaces(),
            self.options.state_dir.join("leases"),
            self.options.state_dir.clone(),
        ] {
            match fs::remove_dir(&dir) {
                Err(error)
                    if error.kind() != io::ErrorKind::NotFound
                        && error.kind() != io::ErrorKind::DirectoryNotEmpty =>
                {
                    return Err(Error::State {
                        action: "removing directory",
                        path: dir,
                        source: error,
                    });
                }
                _ => {}
            }
        }
        Ok(())
    }
}

fn remove_namespace(path: &Path) -> Result<(), Error> {
    namespace::remove(path).map_err(kernel(format!(
        "removing network namespace {}",
        path.display()
    )))
}
