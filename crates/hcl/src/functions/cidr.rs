//! Address ranges.

use std::net::{Ipv4Addr, Ipv6Addr};

use num_bigint::BigInt;
use num_traits::{One, Signed, ToPrimitive, Zero};

use super::Table;
use super::arguments::{Result, integer, number, parameter, plain, text};
use crate::evaluate::{CallError, Function};
use crate::types::Type;
use crate::value::Value;

pub(super) fn add(table: &mut Table) {
    let host = [("prefix", Type::String), ("hostnum", Type::Number)];
    table.add("cidrhost", plain(Type::String, &host, cidr_host));
    let mask = [("prefix", Type::String)];
    table.add("cidrnetmask", plain(Type::String, &mask, cidr_netmask));
    let subnet = [
        ("prefix", Type::String),
        ("newbits", Type::Number),
        ("netnum", Type::Number),
    ];
    table.add("cidrsubnet", plain(Type::String, &subnet, cidr_subnet));
    let subnets = Function::returning(
        Type::list(Type::String),
        vec![parameter("prefix", Type::String)],
        Some(parameter("newbits", Type::Number)),
        cidr_subnets,
    );
    table.add("cidrsubnets", subnets.never_null());
}

/// An address range. Addresses of version 4 are in the low 32 bits.
#[derive(Clone, Copy)]
struct Network {
    address: u128,
    prefix: i64,
    /// 32 or 128.
    bits: i64,
}

impl Network {
    fn parse(text: &str) -> std::result::Result<Network, String> {
        let invalid = || format!("invalid CIDR expression: invalid CIDR address: {text}");
        let (address, prefix) = text.split_once('/').ok_or_else(invalid)?;
        let (address, bits) = parse_address(address).ok_or_else(invalid)?;
        let digits = !prefix.is_empty() && prefix.bytes().all(|b| b.is_ascii_digit());
        let prefix: i64 = prefix
            .parse()
            .ok()
            .filter(|p| digits && *p <= bits)
            .ok_or_else(invalid)?;
        let network = Network {
            address,
            prefix,
            bits,
        };
        Ok(network.masked())
    }

    /// As many ones as there are bits for hosts.
    fn host_mask(self) -> u128 {
        let hosts = self.bits - self.prefix;
        if hosts >= 128 {
            u128::MAX
        } else {
            (1 << hosts) - 1
        }
    }

    fn masked(mut self) -> Network {
        self.address &= !self.host_mask();
        self
    }

    fn show(self, address: u128) -> String {
        if self.bits == 32 {
            Ipv4Addr::from(address as u32).to_string()
        } else {
            let address = Ipv6Addr::from(address);
            // Go shows mapped addresses as those of version 4.
            match address.to_ipv4_mapped() {
                Some(mapped) => mapped.to_string(),
                None => address.to_string(),
            }
        }
    }
}

impl std::fmt::Display for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.show(self.address), self.prefix)
    }
}

/// Decimal numbers may start with zeros, as they could when Terraform was young.
fn parse_address(text: &str) -> Option<(u128, i64)> {
    if text.contains(':') {
        let address: Ipv6Addr = text.parse().ok()?;
        return Some((u128::from(address), 128));
    }
    let mut address: u128 = 0;
    let mut count = 0;
    for part in text.split('.') {
        if part.is_empty() || part.len() > 10 || !part.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let byte: u8 = part.parse().ok()?;
        address = address << 8 | u128::from(byte);
        count += 1;
    }
    (count == 4).then_some((address, 32))
}

fn network(args: &[Value]) -> Result<Network> {
    Network::parse(text(args, 0)).map_err(CallError::new)
}

fn big(args: &[Value], index: usize) -> Result<BigInt> {
    number(args, index)
        .to_big()
        .ok_or_else(|| CallError::new("value must be a whole number"))
}

fn cidr_host(args: &[Value]) -> Result {
    let given = big(args, 1)?;
    let network = network(args)?;
    let most = BigInt::from(network.host_mask());
    let (number, wanted) = if given.is_negative() {
        let from_end = -&given - BigInt::one();
        (&most - &from_end, from_end)
    } else {
        (given.clone(), given)
    };
    if wanted > most {
        return Err(CallError::new(format!(
            "prefix of {} does not accommodate a host numbered {number}",
            network.prefix
        )));
    }
    let host = number.to_u128().unwrap_or_default();
    Ok(Value::string(network.show(network.address | host)))
}

fn cidr_netmask(args: &[Value]) -> Result {
    let network = network(args)?;
    if network.bits != 32 {
        let message = format!("IPv6 addresses cannot have a netmask: {}", text(args, 0));
        return Err(CallError::new(message));
    }
    Ok(Value::string(
        network.show(!network.host_mask() & 0xffff_ffff),
    ))
}

fn cidr_subnet(args: &[Value]) -> Result {
    let (new_bits, number) = (integer(args, 1)?, big(args, 2)?);
    let network = network(args)?;
    let prefix = network.prefix.saturating_add(new_bits);
    if prefix > network.bits {
        return Err(CallError::new(format!(
            "insufficient address space to extend prefix of {} by {new_bits}",
            network.prefix
        )));
    }
    let most = BigInt::one() << new_bits.clamp(0, 128);
    let fits = number >= BigInt::zero() && (number < most || new_bits < 0);
    if !fits || prefix < 0 {
        return Err(CallError::new(format!(
            "prefix extension of {new_bits} does not accommodate a subnet numbered {number}"
        )));
    }
    let shift = network.bits - prefix;
    let number = number.to_u128().unwrap_or_default();
    let offset = if shift >= 128 { 0 } else { number << shift };
    let subnet = Network {
        address: network.address | offset,
        prefix,
        bits: network.bits,
    };
    Ok(Value::string(subnet.masked().to_string()))
}

fn cidr_subnets(args: &[Value]) -> Result {
    let network = Network::parse(text(args, 0)).map_err(|e| CallError::argument(0, e))?;
    let last = network.address | network.host_mask();
    let mut subnets = Vec::with_capacity(args.len() - 1);
    let mut current: Option<Network> = None;
    for i in 1..args.len() {
        let fail = |message: String| Err(CallError::argument(i, message));
        let new_bits = integer(args, i).map_err(|e| CallError::argument(i, e.message))?;
        if new_bits < 1 {
            return fail("must extend prefix by at least one bit".to_owned());
        }
        if new_bits > 32 {
            return fail("may not extend prefix by more than 32 bits".to_owned());
        }
        let prefix = network.prefix.saturating_add(new_bits);
        if prefix > network.bits {
            let protocol = if network.bits == 32 { "IPv4" } else { "IPv6" };
            return fail(format!(
                "would extend prefix to {prefix} bits, which is too long for an {protocol} address"
            ));
        }
        let mut subnet = Network { prefix, ..network };
        if let Some(current) = current {
            // The first range of this size after the one that holds the last address in use.
            let end = current.address | current.host_mask();
            let next = (end | subnet.host_mask())
                .checked_add(1)
                .filter(|next| *next <= last);
            let Some(next) = next else {
                return fail(format!(
                    "not enough remaining address space for a subnet with a prefix of {prefix} bits after {current}"
                ));
            };
            subnet.address = next;
        }
        subnets.push(Value::string(subnet.to_string()));
        current = Some(subnet);
    }
    Ok(Value::list(Type::String, subnets))
}
