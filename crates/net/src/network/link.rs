//! Links, addresses, routes and neighbours over rtnetlink.

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, BorrowedFd};

use ipnet::Ipv4Net;

use crate::netlink::{
    Messages, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE, Socket, attribute, attributes, ne32, text,
};

const NETLINK_ROUTE: isize = 0;
const NEWLINK: u16 = 16;
const DELLINK: u16 = 17;
const GETLINK: u16 = 18;
const NEWADDR: u16 = 20;
const NEWROUTE: u16 = 24;
const DELROUTE: u16 = 25;
const GETROUTE: u16 = 26;
const NEWNEIGH: u16 = 28;

const INET: u8 = libc::AF_INET as u8;
const UP: u32 = libc::IFF_UP as u32;
const MAIN_TABLE: u8 = 254;
const LINK_SCOPE: u8 = 253;
/// Marks routes as ours, beside the numbers of known routing daemons.
const PROTOCOL: u8 = 197;
const UNICAST: u8 = 1;
const UNREACHABLE: u8 = 7;
const BROADCAST: u8 = 3;
const PERMANENT: u16 = 0x80;

/// A hardware address.
pub(crate) type Mac = [u8; 6];

/// A link as found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) index: u32,
    pub(crate) name: String,
    pub(crate) mtu: u32,
    pub(crate) alias: String,
}

/// A route as found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Route {
    pub(crate) to: Ipv4Net,
    /// Index of the interface; unreachable routes have none.
    pub(crate) by: Option<u32>,
    /// Made by an instance of this program.
    pub(crate) ours: bool,
}

/// rtnetlink in the network namespace of the thread that opened it.
#[derive(Debug)]
pub(crate) struct Links(Socket);

impl Links {
    pub(crate) fn open() -> io::Result<Self> {
        Socket::open(NETLINK_ROUTE).map(Self)
    }

    /// All links of the namespace.
    pub(crate) fn list(&mut self) -> io::Result<Vec<Link>> {
        let request = Messages::dump(GETLINK, |body| {
            body.raw(&link_header(0, 0));
        });
        Ok(self
            .0
            .dump_consistent(&request)?
            .iter()
            .filter_map(|(_, payload)| parse_link(payload))
            .collect())
    }

    /// The link of this name.
    pub(crate) fn find(&mut self, name: &str) -> io::Result<Option<Link>> {
        let request = Messages::request(GETLINK, 0, |body| {
            body.raw(&link_header(0, 0)).text(3, name);
        });
        match self.0.ask(&request) {
            Ok(answer) => Ok(answer.iter().find_map(|(_, payload)| parse_link(payload))),
            Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// All IPv4 routes of the main and local tables.
    pub(crate) fn routes(&mut self) -> io::Result<Vec<Route>> {
        let request = Messages::dump(GETROUTE, |body| {
            body.raw(&route_header(0, 0, 0, 0));
        });
        Ok(self
            .0
            .dump_consistent(&request)?
            .iter()
            .filter_map(|(_, payload)| parse_route(payload))
            .collect())
    }

    /// Makes a bridge without ports: a place for addresses and routes. It is up.
    pub(crate) fn add_bridge(&mut self, name: &str, mtu: u32, alias: &str) -> io::Result<()> {
        self.0.transact(&Messages::request(
            NEWLINK,
            NLM_F_CREATE | NLM_F_EXCL,
            |body| {
                body.raw(&link_header(0, UP)).text(3, name).ne32(4, mtu);
                body.nest(18, |info| {
                    info.text(1, "bridge");
                });
            },
        ))?;
        // An alias given on creation is ignored.
        self.0.transact(&Messages::request(NEWLINK, 0, |body| {
            body.raw(&link_header(0, UP))
                .text(3, name)
                .attr(20, alias.as_bytes());
        }))
    }

    /// Makes a bridge for ports, with a hardware address that stays whatever ports come. It is up.
    pub(crate) fn add_switch(
        &mut self,
        name: &str,
        mac: Mac,
        mtu: u32,
        alias: &str,
    ) -> io::Result<()> {
        self.0.transact(&Messages::request(
            NEWLINK,
            NLM_F_CREATE | NLM_F_EXCL,
            |body| {
                body.raw(&link_header(0, UP))
                    .text(3, name)
                    .attr(1, &mac)
                    .ne32(4, mtu);
                body.nest(18, |info| {
                    info.text(1, "bridge");
                });
            },
        ))?;
        self.0.transact(&Messages::request(NEWLINK, 0, |body| {
            body.raw(&link_header(0, UP))
                .text(3, name)
                .attr(20, alias.as_bytes());
        }))
    }

    /// Makes a link a port of a bridge, and sets it up.
    pub(crate) fn set_master(&mut self, index: u32, bridge: u32) -> io::Result<()> {
        self.0.transact(&Messages::request(NEWLINK, 0, |body| {
            body.raw(&link_header(index, UP)).ne32(10, bridge);
        }))
    }

    /// Gives a link an address in a network that it reaches directly.
    pub(crate) fn add_network_address(&mut self, index: u32, address: Ipv4Net) -> io::Result<()> {
        self.0.transact(&Messages::request(
            NEWADDR,
            NLM_F_CREATE | NLM_F_REPLACE,
            |body| {
                let mut header = [INET, address.prefix_len(), 0, 0, 0, 0, 0, 0];
                header[4..].copy_from_slice(&index.to_ne_bytes());
                body.raw(&header)
                    .attr(2, &address.addr().octets())
                    .attr(1, &address.addr().octets())
                    .attr(4, &address.broadcast().octets());
            },
        ))
    }

    /// A network that is reached over a neighbour.
    pub(crate) fn add_route(
        &mut self,
        index: u32,
        to: Ipv4Net,
        gateway: Ipv4Addr,
    ) -> io::Result<()> {
        self.0.transact(&Messages::request(
            NEWROUTE,
            NLM_F_CREATE | NLM_F_REPLACE,
            |body| {
                body.raw(&route_header(to.prefix_len(), PROTOCOL, 0, UNICAST));
                body.attr(1, &to.network().octets())
                    .attr(5, &gateway.octets())
                    .ne32(4, index);
            },
        ))
    }

    /// Takes a route to a network back; one that is not there is no error.
    pub(crate) fn delete_route(&mut self, to: Ipv4Net) -> io::Result<()> {
        tolerate(
            libc::ESRCH,
            self.0.transact(&Messages::request(DELROUTE, 0, |body| {
                body.raw(&route_header(to.prefix_len(), PROTOCOL, 0, UNICAST));
                body.attr(1, &to.network().octets());
            })),
        )
    }

    /// Makes a veth pair, this end up, the peer in another namespace under the name `eth0`. The peer
    /// comes into being first, and cannot be up before this end exists.
    pub(crate) fn add_veth(
        &mut self,
        name: &str,
        mac: Mac,
        namespace: BorrowedFd<'_>,
        peer_mac: Mac,
        mtu: u32,
    ) -> io::Result<()> {
        self.0.transact(&Messages::request(
            NEWLINK,
            NLM_F_CREATE | NLM_F_EXCL,
            |body| {
                body.raw(&link_header(0, UP))
                    .text(3, name)
                    .attr(1, &mac)
                    .ne32(4, mtu);
                body.nest(18, |info| {
                    info.text(1, "veth");
                    info.nest(2, |data| {
                        data.nest(1, |peer| {
                            peer.raw(&link_header(0, 0))
                                .text(3, "eth0")
                                .attr(1, &peer_mac)
                                .ne32(4, mtu);
                            peer.ne32(28, namespace.as_raw_fd() as u32);
                        });
                    });
                });
            },
        ))
    }

    /// Sets a link up.
    pub(crate) fn set_up(&mut self, index: u32) -> io::Result<()> {
        self.0.transact(&Messages::request(NEWLINK, 0, |body| {
            body.raw(&link_header(index, UP));
        }))
    }

    /// Removes a link; one that is not there is no error.
    pub(crate) fn delete(&mut self, name: &str) -> io::Result<()> {
        tolerate(
            libc::ENODEV,
            self.0.transact(&Messages::request(DELLINK, 0, |body| {
                body.raw(&link_header(0, 0)).text(3, name);
            })),
        )
    }

    /// Gives a link a single address, without a network around it.
    pub(crate) fn add_address(&mut self, index: u32, address: Ipv4Addr) -> io::Result<()> {
        self.0.transact(&Messages::request(
            NEWADDR,
            NLM_F_CREATE | NLM_F_REPLACE,
            |body| {
                let mut header = [INET, 32, 0, 0, 0, 0, 0, 0];
                header[4..].copy_from_slice(&index.to_ne_bytes());
                body.raw(&header)
                    .attr(2, &address.octets())
                    .attr(1, &address.octets());
            },
        ))
    }

    /// A directly connected network, reached from `source`.
    pub(crate) fn add_link_route(
        &mut self,
        index: u32,
        to: Ipv4Net,
        source: Ipv4Addr,
    ) -> io::Result<()> {
        self.0.transact(&Messages::request(
            NEWROUTE,
            NLM_F_CREATE | NLM_F_REPLACE,
            |body| {
                body.raw(&route_header(
                    to.prefix_len(),
                    PROTOCOL,
                    LINK_SCOPE,
                    UNICAST,
                ));
                body.attr(1, &to.network().octets())
                    .ne32(4, index)
                    .attr(7, &source.octets());
            },
        ))
    }

    /// The default route.
    pub(crate) fn add_default_route(&mut self, index: u32, gateway: Ipv4Addr) -> io::Result<()> {
        self.0.transact(&Messages::request(
            NEWROUTE,
            NLM_F_CREATE | NLM_F_REPLACE,
            |body| {
                body.raw(&route_header(0, PROTOCOL, 0, UNICAST));
                body.attr(5, &gateway.octets()).ne32(4, index);
            },
        ))
    }

    /// Refuses traffic to addresses of the network that no longer prefix covers.
    pub(crate) fn add_unreachable(&mut self, to: Ipv4Net) -> io::Result<()> {
        self.0.transact(&Messages::request(
            NEWROUTE,
            NLM_F_CREATE | NLM_F_REPLACE,
            |body| {
                body.raw(&route_header(to.prefix_len(), PROTOCOL, 0, UNREACHABLE));
                body.attr(1, &to.network().octets());
            },
        ))
    }

    /// Takes back [`Links::add_unreachable`].
    pub(crate) fn delete_unreachable(&mut self, to: Ipv4Net) -> io::Result<()> {
        tolerate(
            libc::ESRCH,
            self.0.transact(&Messages::request(DELROUTE, 0, |body| {
                body.raw(&route_header(to.prefix_len(), PROTOCOL, 0, UNREACHABLE));
                body.attr(1, &to.network().octets());
            })),
        )
    }

    /// Fixes the hardware address of a neighbour, which saves asking for it.
    pub(crate) fn add_neighbour(
        &mut self,
        index: u32,
        address: Ipv4Addr,
        mac: Mac,
    ) -> io::Result<()> {
        self.0.transact(&Messages::request(
            NEWNEIGH,
            NLM_F_CREATE | NLM_F_REPLACE,
            |body| {
                let mut header = [0; 12];
                header[0] = INET;
                header[4..8].copy_from_slice(&index.to_ne_bytes());
                header[8..10].copy_from_slice(&PERMANENT.to_ne_bytes());
                body.raw(&header).attr(1, &address.octets()).attr(2, &mac);
            },
        ))
    }
}

fn tolerate(errno: i32, outcome: io::Result<()>) -> io::Result<()> {
    match outcome {
        Err(error) if error.raw_os_error() == Some(errno) => Ok(()),
        outcome => outcome,
    }
}

/// `struct ifinfomsg`.
fn link_header(index: u32, flags: u32) -> [u8; 16] {
    let mut header = [0; 16];
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    header[8..12].copy_from_slice(&flags.to_ne_bytes());
    header[12..].copy_from_slice(&flags.to_ne_bytes());
    header
}

/// `struct rtmsg`.
fn route_header(prefix: u8, protocol: u8, scope: u8, kind: u8) -> [u8; 12] {
    [
        INET, prefix, 0, 0, MAIN_TABLE, protocol, scope, kind, 0, 0, 0, 0,
    ]
}

fn parse_link(payload: &[u8]) -> Option<Link> {
    let index = ne32(payload.get(4..8)?)?;
    let mut link = Link {
        index,
        name: String::new(),
        mtu: 0,
        alias: String::new(),
    };
    for (kind, value) in attributes(payload.get(16..)?) {
        match kind {
            3 => link.name = text(value),
            4 => link.mtu = ne32(value)?,
            20 => link.alias = text(value),
            _ => {}
        }
    }
    Some(link)
}

fn parse_route(payload: &[u8]) -> Option<Route> {
    let header = payload.get(..12)?;
    // Broadcast and multicast routes come with an address; the others say enough.
    if header[0] != INET || header[7] >= BROADCAST && header[7] != UNREACHABLE {
        return None;
    }
    let attributes = payload.get(12..)?;
    let to = match attribute(attributes, 1) {
        Some(value) => Ipv4Addr::from(<[u8; 4]>::try_from(value).ok()?),
        None => Ipv4Addr::UNSPECIFIED,
    };
    Some(Route {
        to: Ipv4Net::new(to, header[1]).ok()?,
        by: attribute(attributes, 4).and_then(ne32),
        ours: header[5] == PROTOCOL,
    })
}
