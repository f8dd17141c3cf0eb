//! The full name of a machine, as Python's `socket.getfqdn()` has it.

use std::net::IpAddr;

use super::Gathering;

/// The full name of who is called `node`: looked for in `/etc/hosts`, and where that does not know it, asked of `getent`.
pub(super) fn of(gathering: &Gathering<'_, '_>, node: &str) -> String {
    let node = if node.is_empty() { "localhost" } else { node };
    let hosts = gathering.text("/etc/hosts").unwrap_or_default();
    let names = match address_in(&hosts, node) {
        Some(address) => names_in(&hosts, address),
        None => ask(gathering, node),
    };
    let Some(canonical) = names.first() else {
        return node.to_owned();
    };
    names
        .iter()
        .find(|name| name.contains('.'))
        .unwrap_or(canonical)
        .clone()
}

/// The lines of the file: an address and its names.
fn entries(hosts: &str) -> impl Iterator<Item = (IpAddr, Vec<&str>)> {
    hosts.lines().filter_map(|line| {
        let line = line.split('#').next().unwrap_or("");
        let mut words = line.split_whitespace();
        let address = words.next()?.parse().ok()?;
        Some((address, words.collect()))
    })
}

/// The address the system would take for a name: those of IPv6 come first, as long as they are those of this machine.
fn address_in(hosts: &str, name: &str) -> Option<IpAddr> {
    let all: Vec<IpAddr> = entries(hosts)
        .filter(|(_, names)| names.iter().any(|known| known.eq_ignore_ascii_case(name)))
        .map(|(address, _)| address)
        .collect();
    all.iter()
        .find(|address| address.is_ipv6() && address.is_loopback())
        .or_else(|| all.iter().find(|address| address.is_ipv4()))
        .or_else(|| all.first())
        .copied()
}

/// The names of an address: of the first line that has it.
fn names_in(hosts: &str, address: IpAddr) -> Vec<String> {
    entries(hosts)
        .find(|(known, _)| *known == address)
        .map(|(_, names)| names.into_iter().map(str::to_owned).collect())
        .unwrap_or_default()
}

/// The names of a machine the file does not know.
fn ask(gathering: &Gathering<'_, '_>, node: &str) -> Vec<String> {
    let Some(getent) = gathering.program("getent") else {
        return Vec::new();
    };
    let first = |words: &[&str]| -> Option<Vec<String>> {
        let said = gathering.output(words)?;
        let line = said.lines().next()?;
        Some(line.split_whitespace().map(str::to_owned).collect())
    };
    let Some(address) =
        first(&[&getent, "ahosts", node]).and_then(|words| words.into_iter().next())
    else {
        return Vec::new();
    };
    first(&[&getent, "hosts", &address])
        .map(|words| words.into_iter().skip(1).collect())
        .unwrap_or_default()
}
