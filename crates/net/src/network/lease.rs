//! Which pod has which address: in memory, and on disk for the next run.
//!
//! A lease is written before anything is made in the kernel and removed after everything is gone, so
//! after a crash whatever exists has a lease. Files are renamed into place but not synced: what they
//! describe does not survive the machine either.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use ipnet::Ipv4Net;

use super::{Attachment, Error, HostPort};
use crate::balancer::Protocol;

/// All leases of a node.
#[derive(Debug)]
pub(super) struct Leases {
    dir: PathBuf,
    cidr: Ipv4Net,
    by_pod: BTreeMap<String, Attachment>,
    used: HashSet<Ipv4Addr>,
    host_ports: HashMap<(Protocol, u16), Vec<(Ipv4Addr, String)>>,
    /// Offset of the next address to try: an address rests as long as possible before it comes back.
    next: u32,
}

fn state(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::State {
        action,
        path,
        source,
    }
}

/// The gateway: the first host address.
pub(super) fn gateway(cidr: Ipv4Net) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(cidr.network()) + 1)
}

impl Leases {
    /// Reads the leases of an earlier run, if any.
    pub(super) fn load(dir: PathBuf, cidr: Ipv4Net) -> Result<Self, Error> {
        let mut leases = Self {
            dir,
            cidr,
            by_pod: BTreeMap::new(),
            used: HashSet::from([gateway(cidr)]),
            host_ports: HashMap::new(),
            next: 2,
        };
        let entries = match fs::read_dir(&leases.dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(leases),
            outcome => outcome.map_err(state("reading directory", &leases.dir))?,
        };
        for entry in entries {
            let path = entry
                .map_err(state("reading directory", &leases.dir))?
                .path();
            if path.extension().is_some_and(|e| e == "json") {
                let bytes = fs::read(&path).map_err(state("reading", &path))?;
                let lease: Attachment =
                    serde_json::from_slice(&bytes).map_err(|error| Error::Lease {
                        path: path.clone(),
                        reason: error.to_string(),
                    })?;
                if !cidr.contains(&lease.ip) {
                    let reason = format!("address {} is not in {cidr}", lease.ip);
                    return Err(Error::Lease { path, reason });
                }
                if !leases.used.insert(lease.ip) {
                    return Err(Error::LeasedTwice(lease.ip));
                }
                leases.next = leases
                    .next
                    .max(u32::from(lease.ip) - u32::from(cidr.network()) + 1);
                leases.keep(lease);
            } else {
                // Left by a crash while a lease was being written.
                fs::remove_file(&path).map_err(state("removing", &path))?;
            }
        }
        Ok(leases)
    }

    fn keep(&mut self, lease: Attachment) {
        for port in &lease.host_ports {
            let ip = port.host_ip.unwrap_or(Ipv4Addr::UNSPECIFIED);
            let key = (port.protocol, port.host_port);
            self.host_ports
                .entry(key)
                .or_default()
                .push((ip, lease.pod_id.clone()));
        }
        self.by_pod.insert(lease.pod_id.clone(), lease);
    }

    pub(super) fn get(&self, pod: &str) -> Option<&Attachment> {
        self.by_pod.get(pod)
    }

    pub(super) fn all(&self) -> Vec<Attachment> {
        let mut all: Vec<_> = self.by_pod.values().cloned().collect();
        all.sort_by_key(|lease| lease.ip);
        all
    }

    /// Refuses host ports that lead to another pod.
    fn check_ports(&self, pod: &str, ports: &[HostPort]) -> Result<(), Error> {
        for port in ports {
            let ip = port.host_ip.unwrap_or(Ipv4Addr::UNSPECIFIED);
            let holders = self
                .host_ports
                .get(&(port.protocol, port.host_port))
                .into_iter()
                .flatten();
            for (other, holder) in holders {
                let meets = *other == ip || other.is_unspecified() || ip.is_unspecified();
                if holder != pod && meets {
                    return Err(Error::HostPortTaken {
                        port: port.clone(),
                        holder: holder.clone(),
                    });
                }
            }
        }
        Ok(())
    }

    /// Leases an address, or gives the lease the pod already has, with these host ports. Costs a step
    /// for each address in use behind the last one leased.
    pub(super) fn take(
        &mut self,
        pod: &str,
        netns: PathBuf,
        ports: &[HostPort],
    ) -> Result<Attachment, Error> {
        self.check_ports(pod, ports)?;
        let lease = match self.by_pod.get(pod) {
            Some(lease) if lease.host_ports == ports => return Ok(lease.clone()),
            Some(lease) => Attachment {
                host_ports: ports.to_vec(),
                ..lease.clone()
            },
            None => {
                let ip = self.free().ok_or(Error::Exhausted(self.cidr))?;
                Attachment {
                    pod_id: pod.to_owned(),
                    netns,
                    ip,
                    gateway: gateway(self.cidr),
                    mac: super::mac_text(super::pod_mac(ip)),
                    host_ports: ports.to_vec(),
                }
            }
        };
        self.write(&lease)?;
        self.drop_ports(pod);
        self.next = u32::from(lease.ip) - u32::from(self.cidr.network()) + 1;
        self.used.insert(lease.ip);
        self.keep(lease.clone());
        Ok(lease)
    }

    /// The next free address, not the network's, the gateway's or the broadcast.
    fn free(&self) -> Option<Ipv4Addr> {
        let network = u32::from(self.cidr.network());
        let hosts = u32::from(self.cidr.broadcast()) - network;
        let start = self.next.clamp(2, hosts.max(2));
        (start..hosts)
            .chain(2..start.min(hosts))
            .map(|n| Ipv4Addr::from(network + n))
            .find(|ip| !self.used.contains(ip))
    }

    fn write(&self, lease: &Attachment) -> Result<(), Error> {
        let path = self.path(&lease.pod_id);
        let draft = self.dir.join(format!("{}.new", lease.pod_id));
        let bytes =
            serde_json::to_vec(lease).map_err(|error| state("writing", &path)(error.into()))?;
        fs::write(&draft, bytes).map_err(state("writing", &draft))?;
        fs::rename(&draft, &path).map_err(state("writing", &path))
    }

    /// Forgets the lease; the address is free again.
    pub(super) fn release(&mut self, pod: &str) -> Result<(), Error> {
        let path = self.path(pod);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(state("removing", &path)(error));
            }
            _ => {}
        }
        self.drop_ports(pod);
        if let Some(lease) = self.by_pod.remove(pod) {
            self.used.remove(&lease.ip);
        }
        Ok(())
    }

    fn drop_ports(&mut self, pod: &str) {
        let Some(lease) = self.by_pod.get(pod) else {
            return;
        };
        for port in &lease.host_ports {
            let key = (port.protocol, port.host_port);
            if let Some(holders) = self.host_ports.get_mut(&key) {
                holders.retain(|(_, holder)| holder != pod);
                if holders.is_empty() {
                    self.host_ports.remove(&key);
                }
            }
        }
    }

    fn path(&self, pod: &str) -> PathBuf {
        // Not `with_extension`: pod ids may contain dots.
        self.dir.join(format!("{pod}.json"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(host_ip: Option<Ipv4Addr>, host_port: u16) -> HostPort {
        HostPort {
            protocol: Protocol::Tcp,
            host_ip,
            host_port,
            container_port: 80,
        }
    }

    fn leases(dir: &Path, cidr: &str) -> Leases {
        Leases::load(dir.to_owned(), cidr.parse().unwrap()).unwrap()
    }

    #[test]
    fn every_address_is_used_once_and_an_exhausted_network_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let mut leases = leases(dir.path(), "10.0.0.0/29");
        let ips: HashSet<_> = (0..5)
            .map(|n| leases.take(&n.to_string(), PathBuf::new(), &[]).unwrap().ip)
            .collect();
        assert_eq!(ips, (2..7).map(|n| Ipv4Addr::new(10, 0, 0, n)).collect());
        assert!(matches!(
            leases.take("5", PathBuf::new(), &[]),
            Err(Error::Exhausted(_))
        ));
        leases.release("3").unwrap();
        assert_eq!(
            leases.take("6", PathBuf::new(), &[]).unwrap().ip,
            Ipv4Addr::new(10, 0, 0, 5)
        );
    }

    #[test]
    fn a_freed_address_rests_before_it_comes_back() {
        let dir = tempfile::tempdir().unwrap();
        let mut leases = leases(dir.path(), "10.0.0.0/24");
        let first = leases.take("a", PathBuf::new(), &[]).unwrap().ip;
        leases.release("a").unwrap();
        assert_ne!(leases.take("b", PathBuf::new(), &[]).unwrap().ip, first);
    }

    #[test]
    fn leases_survive_a_restart_and_half_written_ones_do_not() {
        let dir = tempfile::tempdir().unwrap();
        let taken = leases(dir.path(), "10.0.0.0/24")
            .take("a.b", PathBuf::new(), &[port(None, 80)])
            .unwrap();
        fs::write(dir.path().join("c.new"), "{\"pod").unwrap();
        let mut again = leases(dir.path(), "10.0.0.0/24");
        assert_eq!(again.all(), std::slice::from_ref(&taken));
        assert!(!dir.path().join("c.new").exists());
        assert_ne!(again.take("d", PathBuf::new(), &[]).unwrap().ip, taken.ip);
        assert!(matches!(
            again.take("e", PathBuf::new(), &[port(None, 80)]),
            Err(Error::HostPortTaken { .. })
        ));
    }

    #[test]
    fn a_damaged_lease_is_reported_with_its_file() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a.json"), "{\"pod").unwrap();
        let error =
            Leases::load(dir.path().to_owned(), "10.0.0.0/24".parse().unwrap()).unwrap_err();
        assert!(error.to_string().contains("a.json"), "{error}");
    }

    #[test]
    fn the_same_host_port_goes_to_two_pods_only_on_different_addresses() {
        let dir = tempfile::tempdir().unwrap();
        let mut leases = leases(dir.path(), "10.0.0.0/24");
        let (one, two) = (Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(192, 0, 2, 2));
        leases
            .take("a", PathBuf::new(), &[port(Some(one), 80)])
            .unwrap();
        leases
            .take("b", PathBuf::new(), &[port(Some(two), 80)])
            .unwrap();
        let refused = leases.take("c", PathBuf::new(), &[port(None, 80)]);
        assert!(matches!(refused, Err(Error::HostPortTaken { .. })));
        leases.release("a").unwrap();
        leases.release("b").unwrap();
        leases.take("c", PathBuf::new(), &[port(None, 80)]).unwrap();
    }
}
