//! The shared ranges that services draw from: cluster addresses and node ports.
//!
//! What is taken is known in memory and rebuilt from the stored services at start. A service that is
//! being written holds a claim; the claim is given back unless the write succeeds.

use crate::error::{Failure, Outcome, fail, internal};
use crate::strategy::Claim;
use crate::values::{at, ensure, int, items, items_mut, name, set, text};
use consort_object::field_error::FieldError;
use consort_object::status::Status;
use ipnet::Ipv4Net;
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;
use std::sync::Arc;

/// The ranges and what is taken from them.
pub(crate) struct Addresses {
    network: Ipv4Net,
    ports: RangeInclusive<u16>,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    addresses: HashSet<Ipv4Addr>,
    /// How many port entries of the owning services use a node port: one port serves TCP and UDP.
    ports: HashMap<(String, u16), usize>,
    next_address: u32,
    next_port: u16,
}

impl Addresses {
    /// Ranges of which nothing is taken.
    pub(crate) fn new(network: Ipv4Net, ports: RangeInclusive<u16>) -> Arc<Self> {
        Arc::new(Self {
            network,
            ports,
            taken: Mutex::default(),
        })
    }

    /// The range of cluster addresses.
    pub(crate) fn network(&self) -> Ipv4Net {
        self.network
    }

    /// The first address of the range: the API server's own service.
    pub(crate) fn first(&self) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.network.network()) + 1)
    }

    /// Note what a stored service holds.
    pub(crate) fn adopt(&self, service: &Value) {
        let mut taken = self.taken.lock();
        if let Some(address) = address(service) {
            taken.addresses.insert(address);
        }
        for key in node_ports(service) {
            *taken.ports.entry(key).or_default() += 1;
        }
    }

    /// Take what a service needs: the addresses and ports it names, and fresh ones where it names
    /// none. `before` is the stored service when it is changed.
    pub(crate) fn claim(
        self: &Arc<Self>,
        service: &mut Value,
        before: Option<&Value>,
    ) -> Outcome<Option<Box<dyn Claim>>> {
        let mut held = Held {
            ranges: self.clone(),
            address: None,
            ports: Vec::new(),
        };
        let kind = text(service, &["spec", "type"]).to_owned();
        if kind == "ExternalName" {
            return Ok(None);
        }
        let wanted = text(service, &["spec", "clusterIP"]).to_owned();
        let before_address = before.and_then(address);
        if wanted.is_empty() {
            let address = self.free_address()?;
            held.address = Some(address);
            let spec = ensure(service, "spec");
            set(spec, "clusterIP", address.to_string());
            set(spec, "clusterIPs", json!([address.to_string()]));
        } else if let Ok(address) = wanted.parse::<Ipv4Addr>()
            && Some(address) != before_address
        {
            self.take_address(service, address)?;
            held.address = Some(address);
        }
        let needs_ports = kind == "NodePort"
            || (kind == "LoadBalancer"
                && at(service, &["spec", "allocateLoadBalancerNodePorts"]) != Some(&json!(false)));
        if needs_ports {
            self.claim_ports(service, before, &mut held)?;
        }
        Ok(Some(Box::new(held)))
    }

    fn claim_ports(
        &self,
        service: &mut Value,
        before: Option<&Value>,
        held: &mut Held,
    ) -> Outcome<()> {
        let kept: HashSet<(String, u16)> = before.map(node_ports).into_iter().flatten().collect();
        for (index, port) in items(service, &["spec", "ports"]).iter().enumerate() {
            let Ok(number @ 1..) = u16::try_from(int(port, &["nodePort"])) else {
                continue;
            };
            let key = (text(port, &["protocol"]).to_owned(), number);
            if kept.contains(&key) {
                continue;
            }
            let field = format!("spec.ports[{index}].nodePort");
            if !self.ports.contains(&number) {
                let (low, high) = (self.ports.start(), self.ports.end());
                return Self::refuse(
                    service,
                    FieldError::invalid(
                        field,
                        number,
                        format!(
                            "provided port is not in the valid range. The range of valid ports is {low}-{high}"
                        ),
                    ),
                );
            }
            if self.taken.lock().ports.contains_key(&key) {
                return Self::refuse(
                    service,
                    FieldError::invalid(field, number, "provided port is already allocated"),
                );
            }
            *self.taken.lock().ports.entry(key.clone()).or_default() += 1;
            held.ports.push(key);
        }
        let mut given: HashMap<i64, u16> = HashMap::new();
        for port in items_mut(ensure(service, "spec"), "ports") {
            if int(port, &["nodePort"]) != 0 {
                continue;
            }
            // TCP and UDP of one service port share a node port.
            let number = match given.get(&int(port, &["port"])) {
                Some(number) => *number,
                None => self.free_port()?,
            };
            given.insert(int(port, &["port"]), number);
            let key = (text(port, &["protocol"]).to_owned(), number);
            *self.taken.lock().ports.entry(key.clone()).or_default() += 1;
            held.ports.push(key);
            set(port, "nodePort", number);
        }
        Ok(())
    }

    /// A service was changed or deleted: give back what only its former state held.
    pub(crate) fn settled(&self, before: &Value, after: Option<&Value>) {
        let mut taken = self.taken.lock();
        if let Some(old) = address(before)
            && after.and_then(address) != Some(old)
        {
            taken.addresses.remove(&old);
        }
        let kept: HashSet<(String, u16)> = after.map(node_ports).into_iter().flatten().collect();
        for key in node_ports(before) {
            if !kept.contains(&key) {
                release(&mut taken.ports, &key);
            }
        }
    }

    fn free_address(&self) -> Outcome<Ipv4Addr> {
        let mut taken = self.taken.lock();
        let first = u32::from(self.network.network());
        let size = u32::from(self.network.broadcast()) - first;
        // The first sixteenth (at most 256) stays for addresses asked for by number, as upstream does.
        let reserved = (size / 16).min(256);
        let usable = size.saturating_sub(1 + reserved);
        for _ in 0..usable {
            let offset = taken.next_address % usable;
            taken.next_address = taken.next_address.wrapping_add(1);
            let address = Ipv4Addr::from(first + 1 + reserved + offset);
            if taken.addresses.insert(address) {
                return Ok(address);
            }
        }
        for offset in 1..=reserved {
            let address = Ipv4Addr::from(first + offset);
            if taken.addresses.insert(address) {
                return Ok(address);
            }
        }
        Err(internal("failed to allocate a serviceIP: range is full"))
    }

    fn take_address(&self, service: &Value, address: Ipv4Addr) -> Outcome<()> {
        let problem = if !self.network.contains(&address) {
            format!(
                "failed to allocate IP {address}: the provided IP ({address}) is not in the valid range. The range of valid IPs is {}",
                self.network
            )
        } else if self.taken.lock().addresses.insert(address) {
            return Ok(());
        } else {
            format!("failed to allocate IP {address}: provided IP is already allocated")
        };
        Self::refuse(
            service,
            FieldError::invalid("spec.clusterIPs", json!([address.to_string()]), problem),
        )
    }

    fn refuse(service: &Value, error: FieldError) -> Outcome<()> {
        fail(Status::invalid("", "Service", name(service), &[error]))
    }

    fn free_port(&self) -> Outcome<u16> {
        let mut taken = self.taken.lock();
        let (low, high) = (*self.ports.start(), *self.ports.end());
        let size = high - low + 1;
        for _ in 0..size {
            let number = low + taken.next_port % size;
            taken.next_port = taken.next_port.wrapping_add(1) % size;
            let used = ["TCP", "UDP", "SCTP"]
                .iter()
                .any(|protocol| taken.ports.contains_key(&((*protocol).to_owned(), number)));
            if !used {
                return Ok(number);
            }
        }
        let error: Failure = internal("failed to allocate a nodePort: range is full");
        Err(error)
    }
}

fn release(ports: &mut HashMap<(String, u16), usize>, key: &(String, u16)) {
    if let Some(count) = ports.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            ports.remove(key);
        }
    }
}

fn address(service: &Value) -> Option<Ipv4Addr> {
    text(service, &["spec", "clusterIP"]).parse().ok()
}

fn node_ports(service: &Value) -> Vec<(String, u16)> {
    items(service, &["spec", "ports"])
        .iter()
        .filter_map(|port| {
            let number = u16::try_from(int(port, &["nodePort"]))
                .ok()
                .filter(|port| *port != 0)?;
            Some((text(port, &["protocol"]).to_owned(), number))
        })
        .collect()
}

/// What a service took that is being written.
struct Held {
    ranges: Arc<Addresses>,
    address: Option<Ipv4Addr>,
    ports: Vec<(String, u16)>,
}

impl Claim for Held {
    fn keep(mut self: Box<Self>) {
        self.address = None;
        self.ports.clear();
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut taken = self.ranges.taken.lock();
        if let Some(address) = self.address {
            taken.addresses.remove(&address);
        }
        for key in &self.ports {
            release(&mut taken.ports, key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges() -> Arc<Addresses> {
        Addresses::new("10.96.0.0/24".parse().unwrap(), 30000..=30002)
    }

    fn service(spec: impl Into<Value>) -> Value {
        let spec: Value = spec.into();
        json!({"metadata": {"name": "s"}, "spec": spec})
    }

    #[test]
    fn a_claim_that_is_not_kept_gives_everything_back() {
        let ranges = ranges();
        let ask = || {
            service(
                json!({"type": "NodePort", "ports": [{"port": 1, "protocol": "TCP", "nodePort": 30001}]}),
            )
        };
        let mut first = ask();
        let claim = ranges.claim(&mut first, None).unwrap();
        assert!(ranges.claim(&mut ask(), None).is_err(), "the port is taken");
        drop(claim);
        let claim = ranges.claim(&mut ask(), None).unwrap().unwrap();
        claim.keep();
        assert!(ranges.claim(&mut ask(), None).is_err());
        ranges.settled(&first, None);
        assert!(ranges.claim(&mut ask(), None).is_ok());
    }

    #[test]
    fn every_service_gets_its_own_address_and_ports() {
        let ranges = ranges();
        let mut seen = HashSet::new();
        for _ in 0..3 {
            let mut one = service(json!({"type": "NodePort", "ports": [
                {"port": 53, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}]}));
            ranges.claim(&mut one, None).unwrap().unwrap().keep();
            assert!(seen.insert(text(&one, &["spec", "clusterIP"]).to_owned()));
            let ports = items(&one, &["spec", "ports"]);
            assert_eq!(
                ports[0]["nodePort"], ports[1]["nodePort"],
                "one number for both protocols"
            );
        }
        let mut one =
            service(json!({"type": "NodePort", "ports": [{"port": 1, "protocol": "TCP"}]}));
        assert!(ranges.claim(&mut one, None).is_err(), "all ports are taken");
    }

    #[test]
    fn an_address_outside_the_range_is_refused_with_its_field() {
        let mut one = service(json!({"type": "ClusterIP", "clusterIP": "10.1.1.1"}));
        let status = ranges().claim(&mut one, None).err().unwrap();
        assert_eq!(status.code, 422);
        assert!(
            status.message.contains("spec.clusterIPs"),
            "{}",
            status.message
        );
    }
}
