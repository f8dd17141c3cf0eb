//! Networks of machines: a bridge each, whose ports share one broadcast domain.
//!
//! Machines speak ARP and are reached by their own hardware addresses, as on any switch; the host is their
//! gateway. What may pass between networks, to the outside and in from it is one nftables table ([`Firewall`])
//! that is written anew as a whole.
//!
//! Nothing is kept here: callers keep what they made and give it again. All functions block on the kernel and are
//! to be called where that is fine. All are safe to repeat.

mod firewall;

use std::fs::File;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::path::Path;

use ipnet::Ipv4Net;

pub use self::firewall::{Firewall, Guarded, Published};
use crate::network::Error;
use crate::network::link::{Links, Mac};
use crate::network::{host, kernel, mac_text, namespace};

/// How the names of an instance's bridges begin: the name of the instance, 1 to 6 characters, stands between.
pub fn bridge_prefix(instance: &str) -> String {
    format!("cs{instance}n")
}

/// The name of an instance's bridge by its number.
pub fn bridge_name(instance: &str, number: u32) -> String {
    format!("{}{number:x}", bridge_prefix(instance))
}

/// The name of the host's end of a machine's link, by the machine's number.
pub fn port_name(instance: &str, number: u32) -> String {
    format!("cs{instance}m{number:x}")
}

/// One network's bridge on this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bridge {
    /// Name of the link; at most 15 characters.
    pub link: String,
    /// The host's address in the network, with its prefix length.
    pub gateway: Ipv4Net,
    /// MTU in bytes; `None` is that of the host's default route, else 1500.
    pub mtu: Option<u32>,
}

/// A machine's place at a bridge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// Name of the host's end.
    pub link: String,
    /// The machine's address, with the network's prefix length.
    pub address: Ipv4Net,
    /// The machine's hardware address.
    pub mac: MacAddress,
}

/// A hardware address, written as `02:63:0a:00:00:02`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct MacAddress(Mac);

impl MacAddress {
    /// The one that belongs to an address: the same whenever the machine is made, and unique on the host.
    pub fn of(address: Ipv4Addr) -> Self {
        let [a, b, c, d] = address.octets();
        Self([0x02, 0x63, a, b, c, d])
    }

    /// Whether it is that of one interface: neither a group's nor nobody's.
    pub fn is_usable(self) -> bool {
        self.0[0] & 1 == 0 && self.0 != [0; 6]
    }
}

impl std::fmt::Display for MacAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&mac_text(self.0))
    }
}

impl std::str::FromStr for MacAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not a hardware address such as 02:63:0a:00:00:02");
        let mut mac = [0; 6];
        let mut parts = text.split(':');
        for byte in &mut mac {
            let part = parts.next().filter(|part| part.len() == 2);
            let part = part.ok_or_else(wrong)?;
            *byte = u8::from_str_radix(part, 16).map_err(|_| wrong())?;
        }
        if parts.next().is_some() {
            return Err(wrong());
        }
        Ok(Self(mac))
    }
}

fn open_links() -> Result<Links, Error> {
    Links::open().map_err(kernel("opening an rtnetlink socket"))
}

fn present(links: &mut Links, name: &str) -> Result<crate::network::link::Link, Error> {
    links
        .find(name)
        .map_err(kernel(format!("looking for link {name}")))?
        .ok_or_else(|| kernel(format!("looking for link {name}"))(io::ErrorKind::NotFound.into()))
}

/// Makes the bridge with the gateway's address, and switches forwarding on.
///
/// # Errors
/// [`Error::CidrInUse`] when another interface has the addresses.
pub fn up(bridge: &Bridge) -> Result<(), Error> {
    let mut links = open_links()?;
    let name = bridge.link.as_str();
    let network = bridge.gateway.trunc();
    host::check_free(&mut links, |other| other == name, &[network])?;
    let mtu = match bridge.mtu {
        Some(mtu) => mtu,
        None => host::default_mtu(&mut links)?,
    };
    let [_, a, b, c] = bridge.gateway.addr().octets();
    let mac = [0x06, 0x63, 0x6d, a, b, c];
    let link = host::up_with(&mut links, name, |links, alias| {
        links.add_switch(name, mac, mtu, alias)
    })?;
    links
        .add_network_address(link.index, bridge.gateway)
        .map_err(kernel(format!("giving {} to {name}", bridge.gateway)))?;
    host::route_loopback(name)
}

/// Removes a bridge; one that is not there is no error.
pub fn down(link: &str) -> Result<(), Error> {
    host::down(&mut open_links()?, link)
}

/// Whether there is a link of this name, and its MTU.
pub fn mtu_of(link: &str) -> Result<Option<u32>, Error> {
    let found = open_links()?
        .find(link)
        .map_err(kernel(format!("looking for link {link}")))?;
    Ok(found.map(|link| link.mtu))
}

/// Makes a network namespace at `path` (or takes the one that is there) whose `eth0` is a port of the bridge, with
/// address and default route.
pub fn attach(bridge: &Bridge, port: &Port, path: &Path) -> Result<(), Error> {
    let mut links = open_links()?;
    let name = port.link.as_str();
    let switch = present(&mut links, &bridge.link)?;
    let action = || kernel(format!("making network namespace {}", path.display()));
    let mut inner = if namespace::is_pinned(path) {
        namespace::enter(path)
    } else {
        namespace::create(path)
    }
    .map_err(action())?;
    let handle = File::open(path).map_err(action())?;
    // What an earlier attempt has left: both ends go.
    links
        .delete(name)
        .map_err(kernel(format!("removing link {name}")))?;
    let MacAddress(mac) = port.mac;
    let mut outer = mac;
    // The host's end is another interface, and of no account.
    outer[0] = 0x06;
    outer[1] ^= 0x80;
    links
        .add_veth(name, outer, handle.as_fd(), mac, switch.mtu)
        .map_err(kernel(format!("making link {name}")))?;
    let host_end = present(&mut links, name)?;
    links
        .set_master(host_end.index, switch.index)
        .map_err(kernel(format!("joining {name} to {}", bridge.link)))?;
    let inside = || kernel("setting up eth0");
    let eth0 = inner
        .find("eth0")
        .and_then(|found| found.ok_or_else(|| io::ErrorKind::NotFound.into()))
        .map_err(inside())?
        .index;
    inner
        .set_up(eth0)
        .and_then(|()| inner.add_network_address(eth0, port.address))
        .and_then(|()| inner.add_default_route(eth0, bridge.gateway.addr()))
        .map_err(inside())
}

/// Makes a link that somebody else has made, such as a virtual machine's tap, a port of the bridge.
pub fn join(bridge: &Bridge, link: &str) -> Result<(), Error> {
    let mut links = open_links()?;
    let switch = present(&mut links, &bridge.link)?;
    let port = present(&mut links, link)?;
    links
        .set_master(port.index, switch.index)
        .map_err(kernel(format!("joining {link} to {}", bridge.link)))
}

/// Removes a machine's link and lets its namespace go. What is not there is no error.
pub fn detach(link: &str, path: &Path) -> Result<(), Error> {
    open_links()?
        .delete(link)
        .map_err(kernel(format!("removing link {link}")))?;
    namespace::remove(path).map_err(kernel(format!(
        "removing network namespace {}",
        path.display()
    )))
}

/// Routes a network to a machine of the bridge.
pub fn route(bridge: &Bridge, to: Ipv4Net, machine: Ipv4Addr) -> Result<(), Error> {
    let mut links = open_links()?;
    let switch = present(&mut links, &bridge.link)?;
    links
        .add_route(switch.index, to, machine)
        .map_err(kernel(format!("routing {to} to {machine}")))
}

/// Takes [`route`] back.
pub fn unroute(to: Ipv4Net) -> Result<(), Error> {
    open_links()?
        .delete_route(to)
        .map_err(kernel(format!("removing the route to {to}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hardware_addresses_are_read_as_they_are_written() {
        let mac = MacAddress::of(Ipv4Addr::new(10, 0, 0, 2));
        assert_eq!(mac.to_string(), "02:63:0a:00:00:02");
        assert_eq!("02:63:0a:00:00:02".parse(), Ok(mac));
        for wrong in [
            "",
            "02:63:0a:00:00",
            "02:63:0a:00:00:02:03",
            "0:0:0:0:0:0",
            "zz:63:0a:00:00:02",
        ] {
            assert!(wrong.parse::<MacAddress>().is_err(), "{wrong}");
        }
        assert!(
            !"01:00:5e:00:00:01"
                .parse::<MacAddress>()
                .unwrap()
                .is_usable()
        );
    }

    #[test]
    fn names_fit_the_kernel() {
        assert!(bridge_name("abcdef", u32::from(u16::MAX)).len() <= 15);
        assert!(port_name("abcdef", u32::from(u16::MAX)).len() <= 15);
    }
}
