//! How machines of a network know each other by name: a part of their `/etc/hosts`.

use std::fmt::Write as _;
use std::path::Path;

use crate::records::{MachineRecord, NetworkRecord};

/// Where the names are written.
pub(crate) const HOSTS: &str = "/etc/hosts";
/// What a root without such a file gets.
pub(crate) const HOSTS_DEFAULT: &str =
    "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n";

/// One line for each machine of the network.
pub(crate) fn hosts(network: &NetworkRecord, machines: &[MachineRecord]) -> String {
    let mut text = String::new();
    let domain = &network.spec.domain;
    for machine in machines
        .iter()
        .filter(|machine| machine.spec.network == network.spec.name)
    {
        let name = &machine.spec.name;
        let _ = write!(text, "{} {name}.{domain} {name}", machine.address);
        let hostname = machine.spec.hostname();
        if hostname != name {
            let _ = write!(text, " {hostname}");
        }
        text.push('\n');
    }
    text
}

/// The resolver configuration of machines: that of the host, without what only the host itself can reach.
pub(crate) fn resolv_conf(domain: &str) -> String {
    // What stands behind a resolver of systemd on the host's loopback.
    let sources = ["/run/systemd/resolve/resolv.conf", "/etc/resolv.conf"];
    let text = sources
        .iter()
        .filter(|path| {
            **path == "/etc/resolv.conf"
                || std::fs::read_to_string("/etc/resolv.conf")
                    .is_ok_and(|text| only_loopback(&text))
        })
        .find_map(|path| std::fs::read_to_string(Path::new(path)).ok())
        .unwrap_or_default();
    machine_resolver(&text, domain)
}

fn servers(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        (words.next() == Some("nameserver")).then(|| words.next())?
    })
}

fn is_loopback(server: &str) -> bool {
    server
        .parse::<std::net::IpAddr>()
        .is_ok_and(|address| address.is_loopback())
}

fn only_loopback(text: &str) -> bool {
    servers(text).all(is_loopback)
}

fn machine_resolver(text: &str, domain: &str) -> String {
    let mut own = String::new();
    for server in servers(text).filter(|server| !is_loopback(server)) {
        let _ = writeln!(own, "nameserver {server}");
    }
    let _ = writeln!(own, "search {domain}");
    own
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resolver_on_the_hosts_loopback_is_of_no_use_to_a_machine() {
        let text = "# x\nnameserver 127.0.0.53\nnameserver 192.0.2.1\noptions edns0\nsearch corp\n";
        assert_eq!(
            machine_resolver(text, "lan.internal"),
            "nameserver 192.0.2.1\nsearch lan.internal\n"
        );
        assert!(only_loopback("nameserver 127.0.0.53\n") && !only_loopback(text));
    }
}
