//! What may pass between networks of machines, to the outside and in from it.

use std::net::{Ipv4Addr, SocketAddrV4};

use ipnet::Ipv4Net;

use super::bridge_prefix;
use crate::balancer::Protocol;
use crate::network::{Error, kernel};
use crate::nft::expr::{Address, Interface, Rule, r};
use crate::nft::{self, Hook, Transaction};

const PREROUTING: u32 = 0;
const FORWARD: u32 = 2;
const OUTPUT: u32 = 3;
const POSTROUTING: u32 = 4;

/// One network as the rules see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guarded {
    /// Its bridge.
    pub link: String,
    /// Its addresses.
    pub cidr: Ipv4Net,
    /// The host's address in it.
    pub gateway: Ipv4Addr,
    /// Its machines reach the outside under the host's address.
    pub masquerade: bool,
    /// Machines of other networks of this instance cannot connect to its machines, nor they to those.
    pub isolated: bool,
    /// Nothing passes beyond the host.
    pub internal: bool,
}

/// A port of the host that leads to one of a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// Transport protocol.
    pub protocol: Protocol,
    /// Only this address of the host; `None` means all.
    pub host_address: Option<Ipv4Addr>,
    /// Port on the host.
    pub host_port: u16,
    /// Where it leads.
    pub to: SocketAddrV4,
}

/// All rules for the machines of an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Firewall {
    /// Name of the instance, 1 to 6 characters. The table is `consort-NAME-machines`.
    pub instance: String,
    /// Its networks.
    pub networks: Vec<Guarded>,
    /// Ports that lead to machines.
    pub published: Vec<Published>,
}

impl Firewall {
    fn table(&self) -> String {
        format!("consort-{}-machines", self.instance)
    }

    /// Puts the rules in place of those there are, at once; without networks there is no table.
    pub fn write(&self) -> Result<(), Error> {
        let table = self.table();
        let failed = || kernel(format!("writing the nftables table {table}"));
        let mut socket = nft::socket().map_err(failed())?;
        let mut transaction = Transaction::new(&table);
        if nft::table_mark(&mut socket, &table)
            .map_err(failed())?
            .is_some()
        {
            transaction.delete_table();
        }
        if !self.networks.is_empty() {
            transaction.add_table(b"consort machines 1");
            for (name, kind, number, priority, rules) in [
                ("guard", "filter", PREROUTING, -300, self.guard()),
                ("arriving", "nat", PREROUTING, -100, self.redirect()),
                ("sent", "nat", OUTPUT, -100, self.redirect()),
                ("forwarded", "filter", FORWARD, 0, self.forward()),
                ("source", "nat", POSTROUTING, 100, self.source()),
            ] {
                let hook = Hook {
                    kind,
                    number,
                    priority,
                };
                transaction.add_chain(name, Some(hook));
                for rule in &rules {
                    transaction.add_rule(name, rule);
                }
            }
        }
        transaction.commit(&mut socket).map_err(failed())
    }

    /// The links route 127.0.0.0/8, so that published ports work from the host's loopback. Nothing that arrives may
    /// use that.
    fn guard(&self) -> Vec<Rule> {
        let loopback = loopback();
        let links = bridge_prefix(&self.instance);
        [Address::Destination, Address::Source]
            .map(|address| {
                Rule::new()
                    .interface(Interface::In, &links, true)
                    .within(address, loopback, true)
                    .drop()
            })
            .into()
    }

    fn redirect(&self) -> Vec<Rule> {
        self.published
            .iter()
            .map(|port| {
                let rule = match port.host_address {
                    Some(address) => {
                        Rule::new().within(Address::Destination, Ipv4Net::from(address), true)
                    }
                    None => Rule::new().local_destination(),
                };
                rule.port(port.protocol.number(), port.host_port)
                    .constant(*port.to.ip(), r(1))
                    .constant_port(port.to.port(), r(2))
                    .destination_nat(r(1), r(2))
            })
            .collect()
    }

    fn forward(&self) -> Vec<Rule> {
        let all = bridge_prefix(&self.instance);
        let own = format!("cs{}", self.instance);
        let mut rules = Vec::new();
        for network in &self.networks {
            let link = exact(&network.link);
            if network.internal {
                rules.push(
                    Rule::new()
                        .interface(Interface::In, &link, true)
                        .interface(Interface::Out, &own, false)
                        .drop(),
                );
            }
            if network.isolated {
                for (here, there) in [
                    (Interface::In, Interface::Out),
                    (Interface::Out, Interface::In),
                ] {
                    rules.push(
                        Rule::new()
                            .unknown_connection()
                            .interface(here, &link, true)
                            .interface(there, &all, true)
                            .interface(there, &link, false)
                            .drop(),
                    );
                }
            }
            // From beyond the host only to what is published.
            rules.push(
                Rule::new()
                    .unknown_connection()
                    .not_redirected()
                    .interface(Interface::Out, &link, true)
                    .interface(Interface::In, &own, false)
                    .drop(),
            );
        }
        rules
    }

    fn source(&self) -> Vec<Rule> {
        let own = format!("cs{}", self.instance);
        let mut rules = Vec::new();
        for network in &self.networks {
            let link = exact(&network.link);
            // The host's loopback means something else in the machine, and a machine that comes back to its own
            // network by a port of the host must be answered through here.
            for source in [loopback(), network.cidr] {
                rules.push(
                    Rule::new()
                        .interface(Interface::Out, &link, true)
                        .redirected()
                        .within(Address::Source, source, true)
                        .source_nat(network.gateway),
                );
            }
            if network.masquerade {
                rules.push(
                    Rule::new()
                        .within(Address::Source, network.cidr, true)
                        .not_loopback(Interface::Out)
                        .interface(Interface::Out, &own, false)
                        .masquerade(),
                );
            }
        }
        rules
    }
}

fn loopback() -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8)
}

/// The kernel pads names with zeros: with one at its end, a name is the beginning of no other.
fn exact(link: &str) -> String {
    format!("{link}\0")
}
