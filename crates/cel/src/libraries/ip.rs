//! IP addresses and networks. Addresses with a zone and IPv4 addresses inside IPv6 ones are refused, as upstream does.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use super::address::explain;
use crate::EvalError;
use crate::functions::Library;
use crate::libraries::{Answer, failed, no_overload};
use crate::value::{Opaque, Value};

/// An address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ip(IpAddr);

/// A network: an address and the length of the prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr {
    address: Ip,
    length: u8,
}

impl fmt::Display for Ip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

fn mapped(text: &str, address: Ipv6Addr) -> Result<IpAddr, String> {
    if address.to_ipv4_mapped().is_some() {
        return Err(format!("IPv4-mapped IPv6 address {text:?} is not allowed"));
    }
    Ok(IpAddr::V6(address))
}

impl Ip {
    fn parse(text: &str) -> Result<Self, String> {
        if let Some((address, zone)) = text.split_once('%')
            && address.parse::<Ipv6Addr>().is_ok()
            && !zone.is_empty()
        {
            return Err(format!(
                "IP address {text:?} with zone value is not allowed"
            ));
        }
        match text.parse::<IpAddr>() {
            Ok(IpAddr::V6(address)) => mapped(text, address).map(Ip),
            Ok(address) => Ok(Ip(address)),
            Err(_) => Err(format!(
                "IP Address {text:?} parse error during conversion from string: {}",
                explain(text)
            )),
        }
    }

    fn bits(self) -> u8 {
        if self.0.is_ipv4() { 32 } else { 128 }
    }

    pub(crate) fn byte_length(self) -> u64 {
        u64::from(self.bits()) / 8
    }

    /// The address as a number, its first bit the highest of 128.
    fn number(self) -> u128 {
        match self.0 {
            IpAddr::V4(address) => u128::from(address.to_bits()) << 96,
            IpAddr::V6(address) => address.to_bits(),
        }
    }

    fn is_link_local_unicast(self) -> bool {
        match self.0 {
            IpAddr::V4(address) => address.is_link_local(),
            IpAddr::V6(address) => address.is_unicast_link_local(),
        }
    }

    fn is_link_local_multicast(self) -> bool {
        match self.0 {
            IpAddr::V4(address) => address.octets()[..3] == [224, 0, 0],
            IpAddr::V6(address) => address.segments()[0] & 0xff0f == 0xff02,
        }
    }

    fn is_global_unicast(self) -> bool {
        let broadcast = matches!(self.0, IpAddr::V4(address) if address.is_broadcast());
        !(broadcast
            || self.0.is_unspecified()
            || self.0.is_loopback()
            || self.0.is_multicast()
            || self.is_link_local_unicast())
    }
}

impl Cidr {
    fn parse(text: &str) -> Result<Self, String> {
        let wrong = |why: &str| {
            format!(
                "network address parse error during conversion from string: netip.ParsePrefix({text:?}): {why}"
            )
        };
        let Some((address, length)) = text.rsplit_once('/') else {
            return Err(wrong("no '/'"));
        };
        let address: IpAddr = address.parse().map_err(|_| wrong(&explain(address)))?;
        let plain = !length.is_empty()
            && length.len() <= 3
            && length.bytes().all(|byte| byte.is_ascii_digit())
            && (length == "0" || !length.starts_with('0'));
        let length: u8 = if plain { length.parse().ok() } else { None }
            .ok_or_else(|| wrong(&format!("bad bits after slash: {length:?}")))?;
        let address = match address {
            IpAddr::V6(address) => Ip(mapped(text, address)?),
            address @ IpAddr::V4(_) => Ip(address),
        };
        if length > address.bits() {
            return Err(wrong("prefix length out of range"));
        }
        Ok(Cidr { address, length })
    }

    pub(crate) fn byte_length(self) -> u64 {
        u64::from(self.length.div_ceil(8))
    }

    fn mask(self) -> u128 {
        if self.length == 0 {
            0
        } else {
            u128::MAX << (128 - u32::from(self.length))
        }
    }

    fn has(self, ip: Ip) -> bool {
        self.address.bits() == ip.bits() && (self.address.number() ^ ip.number()) & self.mask() == 0
    }

    fn masked(self) -> Self {
        let number = self.address.number() & self.mask();
        let address = match self.address.0 {
            IpAddr::V4(_) => IpAddr::V4(((number >> 96) as u32).into()),
            IpAddr::V6(_) => IpAddr::V6(number.into()),
        };
        Cidr {
            address: Ip(address),
            length: self.length,
        }
    }
}

fn address<'a>(ip: Ip) -> Value<'a> {
    Value::Opaque(Opaque::Ip(ip))
}

fn network<'a>(cidr: Cidr) -> Value<'a> {
    Value::Opaque(Opaque::Cidr(cidr))
}

/// Addresses.
pub(crate) const LIBRARY: Library = Library {
    declarations: "
        string_to_ip: ip(string) -> IP
        ip_family: IP::family() -> int
        ip_is_canonical: ip.isCanonical(string) -> bool
        ip_is_unspecified: IP::isUnspecified() -> bool
        ip_is_loopback: IP::isLoopback() -> bool
        ip_is_link_local_multicast: IP::isLinkLocalMulticast() -> bool
        ip_is_link_local_unicast: IP::isLinkLocalUnicast() -> bool
        ip_is_global_unicast: IP::isGlobalUnicast() -> bool
        is_ip: isIP(string) -> bool
        ip_to_string: string(IP) -> string
    ",
    functions: &[
        ("ip", to_ip),
        ("family", |_, args| {
            of_ip(args, |ip| Value::Int(if ip.0.is_ipv4() { 4 } else { 6 }))
        }),
        ("ip.isCanonical", |_, args| match args {
            [Value::String(text)] => {
                let ip = Ip::parse(text).map_err(failed)?;
                Ok(Value::Bool(ip.to_string() == **text))
            }
            _ => no_overload(),
        }),
        ("isUnspecified", |_, args| {
            of_ip(args, |ip| Value::Bool(ip.0.is_unspecified()))
        }),
        ("isLoopback", |_, args| {
            of_ip(args, |ip| Value::Bool(ip.0.is_loopback()))
        }),
        ("isLinkLocalMulticast", |_, args| {
            of_ip(args, |ip| Value::Bool(ip.is_link_local_multicast()))
        }),
        ("isLinkLocalUnicast", |_, args| {
            of_ip(args, |ip| Value::Bool(ip.is_link_local_unicast()))
        }),
        ("isGlobalUnicast", |_, args| {
            of_ip(args, |ip| Value::Bool(ip.is_global_unicast()))
        }),
        ("isIP", |_, args| match args {
            [Value::String(text)] => Ok(Value::Bool(Ip::parse(text).is_ok())),
            _ => no_overload(),
        }),
        ("string", super::standard::TO_STRING),
    ],
};

/// Networks.
pub(crate) const CIDR: Library = Library {
    declarations: "
        string_to_cidr: cidr(string) -> CIDR
        cidr_contains_ip_string: CIDR::containsIP(string) -> bool
        cidr_contains_ip_ip: CIDR::containsIP(IP) -> bool
        cidr_contains_cidr_string: CIDR::containsCIDR(string) -> bool
        cidr_contains_cidr: CIDR::containsCIDR(CIDR) -> bool
        cidr_ip: CIDR::ip() -> IP
        cidr_prefix_length: CIDR::prefixLength() -> int
        cidr_masked: CIDR::masked() -> CIDR
        is_cidr: isCIDR(string) -> bool
        cidr_to_string: string(CIDR) -> string
    ",
    functions: &[
        ("cidr", |_, args| match args {
            [Value::String(text)] => Ok(network(parse_cidr(text)?)),
            _ => no_overload(),
        }),
        ("containsIP", |_, args| {
            let (cidr, ip) = match args {
                [Value::Opaque(Opaque::Cidr(cidr)), Value::String(text)] => {
                    (cidr, Ip::parse(text).map_err(failed)?)
                }
                [
                    Value::Opaque(Opaque::Cidr(cidr)),
                    Value::Opaque(Opaque::Ip(ip)),
                ] => (cidr, *ip),
                _ => return no_overload(),
            };
            Ok(Value::Bool(cidr.has(ip)))
        }),
        ("containsCIDR", |_, args| {
            let (cidr, other) = match args {
                [Value::Opaque(Opaque::Cidr(cidr)), Value::String(text)] => {
                    (cidr, parse_cidr(text)?)
                }
                [
                    Value::Opaque(Opaque::Cidr(cidr)),
                    Value::Opaque(Opaque::Cidr(other)),
                ] => (cidr, *other),
                _ => return no_overload(),
            };
            Ok(Value::Bool(
                cidr.length <= other.length && cidr.has(other.address),
            ))
        }),
        ("ip", to_ip),
        ("prefixLength", |_, args| {
            of_cidr(args, |cidr| Value::Int(cidr.length.into()))
        }),
        ("masked", |_, args| {
            of_cidr(args, |cidr| network(cidr.masked()))
        }),
        ("isCIDR", |_, args| match args {
            [Value::String(text)] => Ok(Value::Bool(Cidr::parse(text).is_ok())),
            _ => no_overload(),
        }),
        ("string", super::standard::TO_STRING),
    ],
};

fn parse_cidr(text: &str) -> Result<Cidr, EvalError> {
    Cidr::parse(text).map_err(|why| {
        failed(format!(
            "network address parse error during conversion from string: {why}"
        ))
    })
}

/// `ip(text)` and `cidr.ip()`.
fn to_ip<'a>(_: &mut crate::functions::Context<'_>, args: &[Value<'a>]) -> Answer<'a> {
    match args {
        [Value::String(text)] => Ip::parse(text).map(address).map_err(failed),
        [Value::Opaque(Opaque::Cidr(cidr))] => Ok(address(cidr.address)),
        _ => no_overload(),
    }
}

fn of_ip<'a>(args: &[Value<'a>], answer: fn(Ip) -> Value<'a>) -> Answer<'a> {
    match args {
        [Value::Opaque(Opaque::Ip(ip))] => Ok(answer(*ip)),
        _ => no_overload(),
    }
}

fn of_cidr<'a>(args: &[Value<'a>], answer: fn(Cidr) -> Value<'a>) -> Answer<'a> {
    match args {
        [Value::Opaque(Opaque::Cidr(cidr))] => Ok(answer(*cidr)),
        _ => no_overload(),
    }
}
