//! Forgetting tracked connections over ctnetlink.
//!
//! A UDP "connection" lives as long as its client sends. Its address translation is decided once, so
//! when a backend goes the flow has to be forgotten or it would lead nowhere for ever. TCP
//! connections are left alone: they end by themselves.

use std::collections::HashSet;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};

use crate::netlink::{Messages, Socket, attribute};

const SUBSYSTEM: u16 = 1;
const GET: u16 = (SUBSYSTEM << 8) | 1;
const DELETE: u16 = (SUBSYSTEM << 8) | 2;
const UDP: u8 = 17;

/// Which UDP flows no longer lead where they should.
#[derive(Debug, Default)]
pub(crate) struct Stale {
    /// Frontend addresses that now lead somewhere else; 0.0.0.0 stands for any address of the node.
    pub(crate) frontends: HashSet<SocketAddrV4>,
    /// Backends that are gone from these frontends.
    pub(crate) backends: HashSet<SocketAddrV4>,
}

impl Stale {
    pub(crate) fn is_empty(&self) -> bool {
        self.frontends.is_empty()
    }

    /// Whether a flow sent to `sent_to` and answered from `answered_by` is stale: it leads to a gone
    /// backend, or to nobody although the address is a service now.
    fn covers(&self, sent_to: SocketAddrV4, answered_by: SocketAddrV4) -> bool {
        let node = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, sent_to.port());
        (self.frontends.contains(&sent_to) || self.frontends.contains(&node))
            && (sent_to == answered_by || self.backends.contains(&answered_by))
    }
}

/// Removes stale UDP flows. Costs one dump of the connection table.
pub(crate) fn forget(socket: &mut Socket, stale: &Stale) -> io::Result<usize> {
    if stale.is_empty() {
        return Ok(0);
    }
    let request = Messages::dump(GET, |body| {
        body.raw(&header());
    });
    // A disturbed dump may miss entries that are just being made; those follow the new rules anyway.
    let entries = match socket.dump(&request) {
        Err(error) if error.kind() == io::ErrorKind::Interrupted => {
            socket.dump_consistent(&request)?
        }
        outcome => outcome?,
    };
    let mut forgotten = 0;
    for (_, entry) in &entries {
        let Some(original) = entry.get(4..).and_then(|e| attribute(e, 1)) else {
            continue;
        };
        let Some(reply) = entry.get(4..).and_then(|e| attribute(e, 2)) else {
            continue;
        };
        let (Some((UDP, _, sent_to)), Some((_, answered_by, _))) = (tuple(original), tuple(reply))
        else {
            continue;
        };
        if !stale.covers(sent_to, answered_by) {
            continue;
        }
        let delete = Messages::request(DELETE, 0, |body| {
            body.raw(&header());
            body.nest(1, |tuple| {
                tuple.raw(original);
            });
        });
        match socket.transact(&delete) {
            Ok(()) => forgotten += 1,
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(forgotten)
}

fn header() -> [u8; 4] {
    [libc::AF_INET as u8, 0, 0, 0]
}

/// Protocol, source and destination of a tuple attribute.
fn tuple(bytes: &[u8]) -> Option<(u8, SocketAddrV4, SocketAddrV4)> {
    let ip = attribute(bytes, 1)?;
    let proto = attribute(bytes, 2)?;
    let address = |kind| -> Option<Ipv4Addr> {
        let octets: [u8; 4] = attribute(ip, kind)?.get(..4)?.try_into().ok()?;
        Some(octets.into())
    };
    let port = |kind| -> Option<u16> {
        Some(u16::from_be_bytes(
            attribute(proto, kind)?.get(..2)?.try_into().ok()?,
        ))
    };
    let number = *attribute(proto, 1)?.first()?;
    Some((
        number,
        SocketAddrV4::new(address(1)?, port(2).unwrap_or(0)),
        SocketAddrV4::new(address(2)?, port(3).unwrap_or(0)),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_flows_to_gone_backends_or_to_nobody_are_stale() {
        let at = |text: &str| text.parse::<SocketAddrV4>().unwrap();
        let stale = Stale {
            frontends: [at("10.96.0.10:53"), at("0.0.0.0:30053")].into(),
            backends: [at("10.244.0.2:53")].into(),
        };
        assert!(stale.covers(at("10.96.0.10:53"), at("10.244.0.2:53")));
        assert!(stale.covers(at("10.96.0.10:53"), at("10.96.0.10:53")));
        assert!(stale.covers(at("192.0.2.1:30053"), at("10.244.0.2:53")));
        assert!(!stale.covers(at("10.96.0.10:53"), at("10.244.0.3:53")));
        assert!(!stale.covers(at("10.96.0.11:53"), at("10.244.0.2:53")));
    }
}
