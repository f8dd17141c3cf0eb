//! Networks of machines.

use std::collections::HashSet;
use std::net::{Ipv4Addr, SocketAddrV4};

use consort_net::bridge::{self, Bridge, Firewall, Guarded, Published};
use ipnet::Ipv4Net;

use crate::check;
use crate::error::Error;
use crate::machines::{Inner, Machines, blocking, check_root};
use crate::records::{MachineRecord, NetworkRecord};
use crate::spec::{MachineSpec, NetworkSpec};

/// A network as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    /// What was asked for.
    pub spec: NetworkSpec,
    /// The host's address in it.
    pub gateway: Ipv4Addr,
    /// Name of its bridge.
    pub link: String,
    /// Whether the bridge is there; after a restart of the host it is not.
    pub active: bool,
    /// MTU of the bridge while it is there, else what was asked for.
    pub mtu: Option<u32>,
}

impl Machines {
    /// Makes a network.
    ///
    /// # Errors
    /// When the name is taken, or the addresses are in use.
    pub async fn create_network(&self, spec: NetworkSpec) -> Result<Network, Error> {
        let inner = self.inner();
        blocking(move || inner.create_network(spec)).await
    }

    /// Gives an existing network these properties, and makes its bridge if it is not there. Addresses, gateway and
    /// MTU cannot change.
    ///
    /// # Errors
    /// When there is no such network, or it would have to be another one.
    pub async fn update_network(&self, spec: NetworkSpec) -> Result<Network, Error> {
        let inner = self.inner();
        let name = spec.name.clone();
        let network = blocking(move || inner.update_network(spec)).await?;
        self.refresh_names(&name).await?;
        Ok(network)
    }

    /// Removes a network that has no machines. One that is not there is no error.
    ///
    /// # Errors
    /// [`Error::InUse`] while it has machines.
    pub async fn remove_network(&self, name: &str) -> Result<(), Error> {
        let (inner, name) = (self.inner(), name.to_owned());
        blocking(move || inner.remove_network(&name)).await
    }

    /// A network by name.
    ///
    /// # Errors
    /// When its record cannot be read.
    pub async fn network(&self, name: &str) -> Result<Option<Network>, Error> {
        let (inner, name) = (self.inner(), name.to_owned());
        blocking(move || {
            let record = inner.records.network(&name)?;
            record.map(|record| inner.network_shown(record)).transpose()
        })
        .await
    }

    /// All networks, by name.
    ///
    /// # Errors
    /// When a record cannot be read.
    pub async fn networks(&self) -> Result<Vec<Network>, Error> {
        let inner = self.inner();
        blocking(move || {
            let records = inner.records.networks()?;
            records
                .into_iter()
                .map(|record| inner.network_shown(record))
                .collect()
        })
        .await
    }
}

impl Inner {
    fn network_shown(&self, record: NetworkRecord) -> Result<Network, Error> {
        let link = bridge::bridge_name(&self.options.instance, record.number);
        let mtu = bridge::mtu_of(&link)?;
        Ok(Network {
            gateway: record.spec.gateway(),
            active: mtu.is_some(),
            mtu: mtu.or(record.spec.mtu),
            link,
            spec: record.spec,
        })
    }

    fn create_network(&self, spec: NetworkSpec) -> Result<Network, Error> {
        check::network(&spec)?;
        check_root()?;
        self.records.prepare()?;
        let _lock = self.records.lock()?;
        let others = self.records.networks()?;
        if others.iter().any(|other| other.spec.name == spec.name) {
            return Err(Error::Exists {
                what: "network",
                name: spec.name,
            });
        }
        if let Some(other) = others
            .iter()
            .find(|other| overlap(other.spec.cidr, spec.cidr))
        {
            return Err(Error::Invalid(format!(
                "{} overlaps with network \"{}\" ({})",
                spec.cidr, other.spec.name, other.spec.cidr
            )));
        }
        let taken: HashSet<u32> = others.iter().map(|other| other.number).collect();
        let number = (0..=u32::MAX)
            .find(|number| !taken.contains(number))
            .unwrap_or_default();
        let record = NetworkRecord { spec, number };
        // Before anything is made: what exists has a record.
        self.records.write_network(&record)?;
        let made = bridge::up(&self.bridge(&record))
            .map_err(Error::from)
            .and_then(|()| self.write_firewall());
        if let Err(error) = made {
            let undone = bridge::down(&self.bridge(&record).link)
                .map_err(Error::from)
                .and_then(|()| self.records.remove_network(&record.spec.name))
                .and_then(|()| self.write_firewall());
            if let Err(second) = undone {
                tracing::warn!(network = record.spec.name, error = %second, "removing a network that could not be made");
            }
            return Err(error);
        }
        self.network_shown(record)
    }

    fn update_network(&self, spec: NetworkSpec) -> Result<Network, Error> {
        check::network(&spec)?;
        check_root()?;
        let _lock = self.records.lock()?;
        let Some(before) = self.records.network(&spec.name)? else {
            return Err(Error::no_network(&spec.name));
        };
        let fixed = |spec: &NetworkSpec| (spec.cidr, spec.gateway(), spec.mtu);
        if fixed(&before.spec) != fixed(&spec) {
            return Err(Error::Invalid(format!(
                "network \"{}\" cannot change its addresses, its gateway or its MTU",
                spec.name
            )));
        }
        let record = NetworkRecord {
            spec,
            number: before.number,
        };
        self.records.write_network(&record)?;
        let done = self.network_up(&record);
        if let Err(error) = done {
            self.records.write_network(&before)?;
            return Err(error);
        }
        self.network_shown(record)
    }

    /// Makes what is missing of a network, as after a restart of the host. With the lock.
    pub(crate) fn network_up(&self, record: &NetworkRecord) -> Result<(), Error> {
        bridge::up(&self.bridge(record))?;
        self.write_firewall()
    }

    fn remove_network(&self, name: &str) -> Result<(), Error> {
        if !self.records.dir().exists() {
            return Ok(());
        }
        check_root()?;
        let _lock = self.records.lock()?;
        let Some(record) = self.records.network(name)? else {
            return Ok(());
        };
        let machines: Vec<String> = self
            .records
            .machines()?
            .into_iter()
            .filter(|machine| machine.spec.network == name)
            .map(|machine| machine.spec.name)
            .collect();
        if !machines.is_empty() {
            return Err(Error::InUse {
                network: name.to_owned(),
                machines,
            });
        }
        bridge::down(&self.bridge(&record).link)?;
        self.records.remove_network(name)?;
        self.write_firewall()
    }

    pub(crate) fn bridge(&self, record: &NetworkRecord) -> Bridge {
        let length = record.spec.cidr.prefix_len();
        Bridge {
            link: bridge::bridge_name(&self.options.instance, record.number),
            gateway: Ipv4Net::new(record.spec.gateway(), length).unwrap_or(record.spec.cidr),
            mtu: record.spec.mtu,
        }
    }

    /// Writes the rules for all that is recorded. With the lock.
    pub(crate) fn write_firewall(&self) -> Result<(), Error> {
        let networks = self.records.networks()?;
        let machines = self.records.machines()?;
        let firewall = Firewall {
            instance: self.options.instance.clone(),
            networks: networks
                .iter()
                .map(|network| Guarded {
                    link: bridge::bridge_name(&self.options.instance, network.number),
                    cidr: network.spec.cidr,
                    gateway: network.spec.gateway(),
                    masquerade: network.spec.nat,
                    isolated: network.spec.isolated,
                    internal: network.spec.internal,
                })
                .collect(),
            published: machines.iter().flat_map(published).collect(),
        };
        Ok(firewall.write()?)
    }
}

fn published(machine: &MachineRecord) -> impl Iterator<Item = Published> {
    machine.spec.ports.iter().map(|port| Published {
        protocol: port.protocol,
        host_address: port.host_address,
        host_port: port.host_port,
        to: SocketAddrV4::new(machine.address, port.port),
    })
}

fn overlap(a: Ipv4Net, b: Ipv4Net) -> bool {
    a.contains(&b.network()) || b.contains(&a.network())
}

/// The machine's address: the one asked for, or a free one.
pub(crate) fn allocate(
    network: &NetworkSpec,
    spec: &MachineSpec,
    machines: &[MachineRecord],
) -> Result<Ipv4Addr, Error> {
    let taken: HashSet<Ipv4Addr> = machines
        .iter()
        .filter(|machine| machine.spec.network == network.name)
        .map(|machine| machine.address)
        .collect();
    if let Some(address) = spec.address {
        check::inside(network, "address", address)?;
        if address == network.gateway() {
            return Err(Error::Invalid(format!(
                "address {address} is the gateway of network \"{}\"",
                network.name
            )));
        }
        if let Some(holder) = machines
            .iter()
            .find(|machine| machine.spec.network == network.name && machine.address == address)
        {
            return Err(Error::Invalid(format!(
                "address {address} is taken by machine \"{}\"",
                holder.spec.name
            )));
        }
        return Ok(address);
    }
    network
        .cidr
        .hosts()
        .find(|address| *address != network.gateway() && !taken.contains(address))
        .ok_or_else(|| Error::Exhausted {
            network: network.name.clone(),
            cidr: network.cidr,
        })
}

/// Refuses host ports that lead to another machine.
pub(crate) fn check_ports(spec: &MachineSpec, machines: &[MachineRecord]) -> Result<(), Error> {
    for machine in machines
        .iter()
        .filter(|machine| machine.spec.name != spec.name)
    {
        for port in &spec.ports {
            let taken = machine.spec.ports.iter().any(|other| {
                other.protocol == port.protocol
                    && other.host_port == port.host_port
                    && (other.host_address == port.host_address
                        || other.host_address.is_none()
                        || port.host_address.is_none())
            });
            if taken {
                return Err(Error::Invalid(format!(
                    "host port {}/{} is taken by machine \"{}\"",
                    port.host_port, port.protocol, machine.spec.name
                )));
            }
        }
    }
    Ok(())
}
