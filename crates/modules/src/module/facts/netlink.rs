//! The kernel's addresses and routes, asked over netlink: what the program `ip` would tell.

use std::io::{Error, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd as _, OwnedFd};

use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, send,
    setsockopt, socket, sockopt,
};
use nix::sys::time::TimeVal;

const GET_ADDRESS: u16 = libc::RTM_GETADDR;
const GET_ROUTE: u16 = libc::RTM_GETROUTE;

/// An address of an interface.
#[derive(Debug, Clone)]
pub(crate) struct Address {
    /// The number of the interface.
    pub interface: u32,
    /// The address on this side.
    pub local: IpAddr,
    /// The one on the other side, where there is one.
    pub peer: Option<IpAddr>,
    /// The bits of the network.
    pub prefix: u8,
    pub broadcast: Option<IpAddr>,
    /// `global`, `link`, `host`, `site`, or a number.
    pub scope: String,
    /// The name the address has, which begins with that of the interface.
    pub label: Option<String>,
    /// It is not the first of its network; with IPv6, a temporary one.
    pub secondary: bool,
    /// It has a metric of its own.
    pub has_metric: bool,
}

/// A way to somewhere.
#[derive(Debug, Clone, Default)]
pub(crate) struct Route {
    /// The kind of way, a number of `RTN_…`.
    pub kind: u8,
    pub table: u32,
    /// Where to; `None` for everywhere.
    pub destination: Option<IpAddr>,
    pub prefix: u8,
    pub interface: Option<u32>,
    pub source: Option<IpAddr>,
    pub gateway: Option<IpAddr>,
    /// One of the kernel's cache.
    pub cloned: bool,
}

/// The addresses of all interfaces, those of IPv4 first, in the kernel's order.
pub(crate) fn addresses() -> Result<Vec<Address>, Error> {
    let mut found = Vec::new();
    ask(GET_ADDRESS, libc::NLM_F_DUMP, &[0; 8], &mut |kind, body| {
        if kind == libc::RTM_NEWADDR
            && let Some(address) = address(body)
        {
            found.push(address);
        }
    })?;
    found.sort_by_key(|address| address.local.is_ipv6());
    Ok(found)
}

/// The way to an address.
pub(crate) fn route_to(to: IpAddr) -> Result<Option<Route>, Error> {
    let bytes = octets(to);
    let mut body = vec![0; 12];
    body[0] = family(to);
    body[1] = u8::try_from(bytes.len() * 8).unwrap_or(0);
    body.extend(u16::try_from(bytes.len() + 4).unwrap_or(0).to_ne_bytes());
    body.extend(libc::RTA_DST.to_ne_bytes());
    body.extend(&bytes);
    let mut found = None;
    ask(GET_ROUTE, 0, &body, &mut |kind, body| {
        if kind == libc::RTM_NEWROUTE {
            found = route(body);
        }
    })?;
    Ok(found)
}

/// All ways of one family.
pub(crate) fn routes(v6: bool) -> Result<Vec<Route>, Error> {
    let mut body = [0; 12];
    body[0] = if v6 { libc::AF_INET6 } else { libc::AF_INET } as u8;
    let mut found = Vec::new();
    ask(GET_ROUTE, libc::NLM_F_DUMP, &body, &mut |kind, body| {
        if kind == libc::RTM_NEWROUTE {
            found.extend(route(body));
        }
    })?;
    Ok(found)
}

fn family(address: IpAddr) -> u8 {
    (if address.is_ipv6() {
        libc::AF_INET6
    } else {
        libc::AF_INET
    }) as u8
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// Asks the kernel, and shows each message of the answer: its kind and what is in it.
fn ask(kind: u16, flags: i32, body: &[u8], each: &mut dyn FnMut(u16, &[u8])) -> Result<(), Error> {
    let line = open()?;
    let length = 16 + body.len();
    let mut message = Vec::with_capacity(length);
    message.extend(u32::try_from(length).unwrap_or(0).to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    let flags = u16::try_from(libc::NLM_F_REQUEST | flags).unwrap_or(0);
    message.extend(flags.to_ne_bytes());
    message.extend(1_u32.to_ne_bytes());
    message.extend(0_u32.to_ne_bytes());
    message.extend(body);
    send(line.as_raw_fd(), &message, MsgFlags::empty())?;
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let length = recv(line.as_raw_fd(), &mut buffer, MsgFlags::empty())?;
        let mut rest = &buffer[..length];
        while let (Some(size), Some(kind), Some(flags)) =
            (number(rest, 0), short(rest, 4), short(rest, 6))
        {
            let size = size as usize;
            let Some(body) = rest.get(16..size) else {
                return Err(ErrorKind::InvalidData.into());
            };
            match i32::from(kind) {
                libc::NLMSG_DONE => return Ok(()),
                libc::NLMSG_ERROR => {
                    let code = number(body, 0).unwrap_or(0).cast_signed();
                    return if code == 0 {
                        Ok(())
                    } else {
                        Err(Error::from_raw_os_error(-code))
                    };
                }
                _ => each(kind, body),
            }
            if i32::from(flags) & libc::NLM_F_MULTI == 0 {
                return Ok(());
            }
            rest = rest.get(aligned(size)..).unwrap_or(&[]);
        }
        if length == 0 {
            return Ok(());
        }
    }
}

fn open() -> Result<OwnedFd, Error> {
    let line = socket(
        AddressFamily::Netlink,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::NetlinkRoute,
    )?;
    bind(line.as_raw_fd(), &NetlinkAddr::new(0, 0))?;
    setsockopt(&line, sockopt::ReceiveTimeout, &TimeVal::new(5, 0))?;
    Ok(line)
}

fn aligned(size: usize) -> usize {
    (size + 3) & !3
}

fn short(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// The attributes behind the head of a message.
fn attributes(mut rest: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let size = usize::from(short(rest, 0)?);
        let kind = short(rest, 2)? & 0x3fff;
        let value = rest.get(4..size)?;
        rest = rest.get(aligned(size)..).unwrap_or(&[]);
        Some((kind, value))
    })
}

fn address_of(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(bytes) = <[u8; 4]>::try_from(bytes) {
        return Some(Ipv4Addr::from(bytes).into());
    }
    Some(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).into())
}

fn address(body: &[u8]) -> Option<Address> {
    /// `IFA_RT_PRIORITY`, a metric.
    const METRIC: u16 = 9;
    let head = body.get(..8)?;
    let (mut local, mut other, mut broadcast, mut label) = (None, None, None, None);
    let mut flags = u32::from(head[2]);
    let mut has_metric = false;
    for (kind, value) in attributes(&body[8..]) {
        match kind {
            libc::IFA_LOCAL => local = address_of(value),
            libc::IFA_ADDRESS => other = address_of(value),
            libc::IFA_BROADCAST => broadcast = address_of(value),
            libc::IFA_LABEL => {
                let text = value.split(|byte| *byte == 0).next().unwrap_or(value);
                label = Some(String::from_utf8_lossy(text).into_owned());
            }
            8 => flags = number(value, 0).unwrap_or(flags),
            METRIC => has_metric = number(value, 0).unwrap_or(0) != 0,
            _ => {}
        }
    }
    Some(Address {
        interface: number(body, 4)?,
        local: local.or(other)?,
        peer: other.filter(|other| local.is_some_and(|local| local != *other)),
        prefix: head[1],
        broadcast,
        scope: match head[3] {
            0 => "global".to_owned(),
            200 => "site".to_owned(),
            253 => "link".to_owned(),
            254 => "host".to_owned(),
            255 => "nowhere".to_owned(),
            scope => scope.to_string(),
        },
        label,
        secondary: flags & libc::IFA_F_SECONDARY != 0,
        has_metric,
    })
}

fn route(body: &[u8]) -> Option<Route> {
    /// `RTM_F_CLONED`.
    const CLONED: u32 = 0x200;
    let head = body.get(..12)?;
    let mut route = Route {
        kind: head[7],
        table: head[4].into(),
        prefix: head[1],
        cloned: number(head, 8)? & CLONED != 0,
        ..Route::default()
    };
    for (kind, value) in attributes(&body[12..]) {
        match kind {
            libc::RTA_DST => route.destination = address_of(value),
            libc::RTA_OIF => route.interface = number(value, 0),
            libc::RTA_PREFSRC => route.source = address_of(value),
            libc::RTA_GATEWAY => route.gateway = address_of(value),
            // A gateway of another family: its family stands before it.
            libc::RTA_VIA => route.gateway = value.get(2..).and_then(address_of),
            libc::RTA_TABLE => route.table = number(value, 0)?,
            _ => {}
        }
    }
    Some(route)
}
