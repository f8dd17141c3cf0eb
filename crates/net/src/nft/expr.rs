//! Expressions: the small machine code that rules are made of.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use crate::netlink::Body;

/// Verdicts of a map or an immediate.
pub(crate) const GOTO: i32 = -4;
const JUMP: i32 = -3;
const DROP: i32 = 0;
/// The register that holds the verdict.
const VERDICT: u32 = 0;
/// Loopback's interface index in every namespace.
const LOOPBACK: u32 = 1;
/// `IPS_DST_NAT` of a connection's status.
const DESTINATION_NAT: u32 = 0x20;
/// States of a connection.
const ESTABLISHED: u32 = 2;
const RELATED: u32 = 4;
/// `RTN_LOCAL`.
const LOCAL: u32 = 2;

/// A 32-bit register, `r(0)` to `r(15)`.
pub(crate) fn r(number: u32) -> u32 {
    8 + number
}

/// One rule. Its methods append expressions; a match that fails ends the rule.
#[derive(Debug, Default, Clone)]
pub(crate) struct Rule {
    expressions: Vec<Vec<u8>>,
}

/// Which interface of a packet.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Interface {
    In,
    Out,
}

/// Which address of a packet.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Address {
    Source,
    Destination,
}

impl Rule {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    fn push(mut self, name: &str, fill: impl FnOnce(&mut Body<'_>)) -> Self {
        let mut bytes = Vec::new();
        let mut body = Body::over(&mut bytes);
        body.text(1, name);
        body.nest(2, fill);
        self.expressions.push(bytes);
        self
    }

    pub(crate) fn write(&self, list: &mut Body<'_>) {
        for expression in &self.expressions {
            list.nest(1, |element| {
                element.raw(expression);
            });
        }
    }

    /// Loads an address into a register.
    pub(crate) fn load(self, address: Address, register: u32) -> Self {
        let offset = match address {
            Address::Source => 12,
            Address::Destination => 16,
        };
        self.payload(1, offset, 4, register)
    }

    /// Loads protocol and destination port into two registers.
    pub(crate) fn load_service(self, register: u32) -> Self {
        self.meta(16, register).payload(2, 2, 2, register + 1)
    }

    fn payload(self, base: u32, offset: u32, len: u32, register: u32) -> Self {
        self.push("payload", |e| {
            e.be32(1, register)
                .be32(2, base)
                .be32(3, offset)
                .be32(4, len);
        })
    }

    fn meta(self, key: u32, register: u32) -> Self {
        self.push("meta", |e| {
            e.be32(1, register).be32(2, key);
        })
    }

    fn compare(self, register: u32, equal: bool, value: &[u8]) -> Self {
        self.push("cmp", |e| {
            e.be32(1, register).be32(2, u32::from(!equal));
            e.nest(3, |data| {
                data.attr(1, value);
            });
        })
    }

    /// Puts an address into a register.
    pub(crate) fn constant(self, address: Ipv4Addr, register: u32) -> Self {
        self.push("immediate", |e| {
            e.be32(1, register);
            e.nest(2, |data| {
                data.attr(1, &address.octets());
            });
        })
    }

    /// Puts a port into a register.
    pub(crate) fn constant_port(self, port: u16, register: u32) -> Self {
        self.push("immediate", |e| {
            e.be32(1, register);
            e.nest(2, |data| {
                data.attr(1, &port.to_be_bytes());
            });
        })
    }

    /// Goes on once in so many times, by chance.
    pub(crate) fn one_in(self, times: u32) -> Self {
        self.random(times, r(0))
            .compare(r(0), true, &0u32.to_ne_bytes())
    }

    /// Goes on when the address lies (or does not lie) in the network.
    pub(crate) fn within(self, address: Address, net: Ipv4Net, inside: bool) -> Self {
        let mask = net.netmask().octets();
        self.load(address, r(0))
            .push("bitwise", |e| {
                e.be32(1, r(0)).be32(2, r(0)).be32(3, 4);
                e.nest(4, |data| {
                    data.attr(1, &mask);
                });
                e.nest(5, |data| {
                    data.attr(1, &[0; 4]);
                });
            })
            .compare(r(0), inside, &net.network().octets())
    }

    /// Goes on when the interface's name begins (or does not begin) with `prefix`.
    pub(crate) fn interface(self, interface: Interface, prefix: &str, equal: bool) -> Self {
        let key = match interface {
            Interface::In => 6,
            Interface::Out => 7,
        };
        // Names take the four 32-bit registers from 12 on, where no rule keeps anything else.
        self.meta(key, r(12))
            .compare(r(12), equal, prefix.as_bytes())
    }

    /// Goes on when the interface is not the loopback.
    pub(crate) fn not_loopback(self, interface: Interface) -> Self {
        let key = match interface {
            Interface::In => 4,
            Interface::Out => 5,
        };
        self.meta(key, r(0))
            .compare(r(0), false, &LOOPBACK.to_ne_bytes())
    }

    /// Goes on when the destination is an address of this host.
    pub(crate) fn local_destination(self) -> Self {
        // Result: address type; input: destination address.
        self.push("fib", |e| {
            e.be32(1, r(0)).be32(2, 3).be32(3, 2);
        })
        .compare(r(0), true, &LOCAL.to_ne_bytes())
    }

    /// Goes on when the transport protocol is TCP.
    pub(crate) fn tcp(self) -> Self {
        self.meta(16, r(0)).compare(r(0), true, &[6])
    }

    /// Goes on when the packet is for this port.
    pub(crate) fn port(self, protocol: u8, port: u16) -> Self {
        self.meta(16, r(0))
            .compare(r(0), true, &[protocol])
            .payload(2, 2, 2, r(0))
            .compare(r(0), true, &port.to_be_bytes())
    }

    /// Goes on when the connection's destination was not rewritten.
    pub(crate) fn not_redirected(self) -> Self {
        self.connection(2, DESTINATION_NAT, false)
    }

    /// Goes on when the connection's destination was rewritten.
    pub(crate) fn redirected(self) -> Self {
        self.connection(2, DESTINATION_NAT, true)
    }

    /// Goes on when the packet does not belong to a connection that is known already.
    pub(crate) fn unknown_connection(self) -> Self {
        self.connection(0, ESTABLISHED | RELATED, false)
    }

    /// Goes on when any (or none) of the bits of a connection's property are set.
    fn connection(self, key: u32, bits: u32, any: bool) -> Self {
        self.push("ct", |e| {
            e.be32(1, r(0)).be32(2, key);
        })
        .push("bitwise", |e| {
            e.be32(1, r(0)).be32(2, r(0)).be32(3, 4);
            e.nest(4, |data| {
                data.attr(1, &bits.to_ne_bytes());
            });
            e.nest(5, |data| {
                data.attr(1, &[0; 4]);
            });
        })
        .compare(r(0), !any, &[0; 4])
    }

    /// Goes on when the key in the registers is in the set.
    pub(crate) fn member(self, set: &str, key: u32) -> Self {
        self.push("lookup", |e| {
            e.text(1, set).be32(2, key);
        })
    }

    /// Looks the key up in a map; goes on when it is there.
    pub(crate) fn map(self, set: &str, key: u32, into: u32) -> Self {
        self.push("lookup", |e| {
            e.text(1, set).be32(2, key).be32(3, into);
        })
    }

    /// Goes where the verdict map says.
    pub(crate) fn dispatch(self, set: &str, key: u32) -> Self {
        self.map(set, key, VERDICT)
    }

    /// A random number below `modulus`, in host order.
    pub(crate) fn random(self, modulus: u32, register: u32) -> Self {
        self.push("numgen", |e| {
            e.be32(1, register).be32(2, modulus).be32(3, 1).be32(4, 0);
        })
    }

    /// Remembers the key for `seconds`, or for as long again when it is remembered already.
    pub(crate) fn remember(self, set: &str, key: u32, seconds: u32) -> Self {
        self.push("dynset", |e| {
            e.text(1, set).be32(3, 1).be32(4, key);
            e.be64(6, u64::from(seconds) * 1000);
        })
    }

    /// Rewrites the destination.
    pub(crate) fn destination_nat(self, address: u32, port: u32) -> Self {
        self.push("nat", |e| {
            e.be32(1, 1).be32(2, 2).be32(3, address).be32(5, port);
        })
    }

    /// Rewrites the source.
    pub(crate) fn source_nat(self, address: Ipv4Addr) -> Self {
        self.constant(address, r(0)).push("nat", |e| {
            e.be32(1, 0).be32(2, 2).be32(3, r(0));
        })
    }

    /// Rewrites the source to the address of the interface it leaves by.
    pub(crate) fn masquerade(self) -> Self {
        self.push("masq", |_| {})
    }

    /// Answers with a TCP reset.
    pub(crate) fn reset(self) -> Self {
        self.push("reject", |e| {
            e.be32(1, 1);
        })
    }

    /// Answers with ICMP port unreachable.
    pub(crate) fn unreachable(self) -> Self {
        self.push("reject", |e| {
            e.be32(1, 0).attr(2, &[3]);
        })
    }

    /// Drops the packet.
    pub(crate) fn drop(self) -> Self {
        self.verdict(DROP, None)
    }

    /// Goes to a chain and does not come back.
    pub(crate) fn goto(self, chain: &str) -> Self {
        self.verdict(GOTO, Some(chain))
    }

    /// Goes to a chain and comes back after it.
    pub(crate) fn jump(self, chain: &str) -> Self {
        self.verdict(JUMP, Some(chain))
    }

    fn verdict(self, code: i32, chain: Option<&str>) -> Self {
        self.push("immediate", |e| {
            e.be32(1, VERDICT);
            e.nest(2, |data| {
                data.nest(2, |inner| verdict(inner, code, chain));
            });
        })
    }
}

/// The inside of a verdict attribute.
pub(crate) fn verdict(body: &mut Body<'_>, code: i32, chain: Option<&str>) {
    body.be32(1, code as u32);
    if let Some(chain) = chain {
        body.text(2, chain);
    }
}
