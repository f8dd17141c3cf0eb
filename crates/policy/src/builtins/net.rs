//! Networks and addresses.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;
use regorus::Value;

use super::{Failure, Function, Outcome, array, operand, string, text_at, wrong};

pub(super) const FUNCTIONS: &[Function] = &[
    ("net.cidr_contains", 2, contains),
    ("net.cidr_overlap", 2, contains),
    ("net.cidr_intersects", 2, intersects),
    ("net.cidr_contains_matches", 2, contains_matches),
    ("net.cidr_merge", 1, merge),
    ("net.lookup_ip_addr", 1, lookup),
    ("http.send", 1, |_| {
        Err(Failure::Unsupported(
            "policies are evaluated without requests to others; give what they need as data or input",
        ))
    }),
];

/// A network; the bits of the host are dropped.
fn network(text: &str) -> Result<IpNet, Failure> {
    text.parse::<IpNet>()
        .map(|network| network.trunc())
        .map_err(|_| Failure::Other(format!("invalid CIDR address: {text}")))
}

/// The network of the class that an address is in: what an address without a length is merged as.
fn class_of(address: Ipv4Addr) -> Result<IpNet, Failure> {
    let bits = match address.octets()[0] {
        0..=127 => 8,
        128..=191 => 16,
        192..=223 => 24,
        _ => 32,
    };
    network(&format!("{address}/{bits}"))
}

/// A network, or an address as the smallest network around it.
fn network_or_address(text: &str) -> Result<IpNet, Failure> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(IpNet::from(address));
    }
    network(text)
}

fn contains(operands: &[Value]) -> Outcome {
    let (outer, inner) = (
        network(text_at(operands, 0)?)?,
        network_or_address(text_at(operands, 1)?)?,
    );
    Ok(Value::from(outer.contains(&inner)))
}

fn intersects(operands: &[Value]) -> Outcome {
    let (left, right) = (
        network(text_at(operands, 0)?)?,
        network(text_at(operands, 1)?)?,
    );
    Ok(Value::from(left.contains(&right) || right.contains(&left)))
}

/// Each network of an operand with what names it in the result: an index, a key, or itself.
fn named(operands: &[Value], at: usize) -> Result<Vec<(Value, IpNet)>, Failure> {
    let read = |value: &Value| -> Result<IpNet, Failure> {
        let text = match value {
            Value::String(text) => text,
            Value::Array(items) => match items.first() {
                Some(Value::String(text)) => text,
                _ => return Err("element must be string or non-empty array".into()),
            },
            _ => return Err("element must be string or non-empty array".into()),
        };
        network_or_address(text)
    };
    match operand(operands, at) {
        text @ Value::String(_) => Ok(vec![(text.clone(), read(text)?)]),
        Value::Array(items) => items
            .iter()
            .enumerate()
            .map(|(index, item)| Ok((Value::from(index as u64), read(item)?)))
            .collect(),
        Value::Set(items) => items
            .iter_sorted()
            .map(|item| Ok((item.clone(), read(item)?)))
            .collect(),
        Value::Object(fields) => fields
            .iter_sorted()
            .map(|(key, value)| Ok((key.clone(), read(value)?)))
            .collect(),
        _ => Err(wrong(operands, at, "one of {string, array, set, object}")),
    }
}

fn contains_matches(operands: &[Value]) -> Outcome {
    let (outer, inner) = (named(operands, 0)?, named(operands, 1)?);
    let mut matches = BTreeSet::new();
    for (outer_name, outer) in &outer {
        for (inner_name, inner) in &inner {
            if outer.contains(inner) {
                matches.insert(array([outer_name.clone(), inner_name.clone()]));
            }
        }
    }
    Ok(Value::from(matches))
}

fn merge(operands: &[Value]) -> Outcome {
    let items = match operand(operands, 0) {
        Value::Array(items) => items.to_vec(),
        Value::Set(items) => items.iter_sorted().cloned().collect(),
        _ => return Err(wrong(operands, 0, "one of {array, set}")),
    };
    let mut networks = Vec::with_capacity(items.len());
    for item in &items {
        let Value::String(text) = item else {
            return Err("element must be string".into());
        };
        // An address of version 6 without a length is refused, as upstream does: it has no class to take one from.
        networks.push(match text.parse::<IpAddr>() {
            Ok(IpAddr::V6(_)) => return Err("IPv6 invalid: needs prefix length".into()),
            Ok(IpAddr::V4(address)) => class_of(address)?,
            Err(_) => network(text)?,
        });
    }
    Ok(Value::from(
        IpNet::aggregate(&networks)
            .into_iter()
            .map(|network| string(network.to_string()))
            .collect::<BTreeSet<_>>(),
    ))
}

fn lookup(operands: &[Value]) -> Outcome {
    use std::net::ToSocketAddrs as _;
    let name = text_at(operands, 0)?;
    let found = (name, 0)
        .to_socket_addrs()
        .map_err(|error| Failure::Other(format!("lookup {name}: {error}")))?;
    Ok(Value::from(
        found
            .map(|address| string(address.ip().to_string()))
            .collect::<BTreeSet<_>>(),
    ))
}
