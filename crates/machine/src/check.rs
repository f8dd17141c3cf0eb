//! What can be wrong with a specification by itself.

use std::collections::HashSet;
use std::net::Ipv4Addr;
use std::path::{Component, Path};

use consort_net::bridge::MacAddress;

use crate::error::Error;
use crate::spec::{Base, MachineSpec, NetworkSpec};

/// Largest content of one file.
const FILE_MAX: usize = 4 << 20;
/// Largest first-boot script.
const USER_DATA_MAX: usize = 1 << 20;

fn invalid(text: impl Into<String>) -> Error {
    Error::Invalid(text.into())
}

fn label(what: &str, name: &str) -> Result<(), Error> {
    let fine = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if name.is_empty()
        || name.len() > 63
        || name.starts_with('-')
        || name.ends_with('-')
        || !name.bytes().all(fine)
    {
        return Err(invalid(format!(
            "{what} {name:?}: expected 1 to 63 characters of a-z, 0-9 and '-', not at the ends"
        )));
    }
    Ok(())
}

pub(crate) fn network(spec: &NetworkSpec) -> Result<(), Error> {
    label("network name", &spec.name)?;
    let length = spec.cidr.prefix_len();
    if !(8..=30).contains(&length) {
        return Err(invalid(format!(
            "cidr {}: expected a prefix length of 8 to 30",
            spec.cidr
        )));
    }
    if spec.cidr.addr() != spec.cidr.network() {
        return Err(invalid(format!(
            "cidr {} has bits beyond its prefix; the network is {}",
            spec.cidr,
            spec.cidr.trunc()
        )));
    }
    inside(spec, "gateway", spec.gateway())?;
    if let Some(mtu) = spec.mtu.filter(|mtu| !(576..=65535).contains(mtu)) {
        return Err(invalid(format!("mtu {mtu}: expected 576 to 65535")));
    }
    for part in spec.domain.split('.') {
        label("domain", part)?;
    }
    Ok(())
}

/// An address that an interface can have there.
pub(crate) fn inside(network: &NetworkSpec, what: &str, address: Ipv4Addr) -> Result<(), Error> {
    let cidr = network.cidr;
    if !cidr.contains(&address) || address == cidr.network() || address == cidr.broadcast() {
        return Err(invalid(format!(
            "{what} {address} is not an address of a machine in network \"{}\" ({cidr})",
            network.name
        )));
    }
    Ok(())
}

fn absolute(what: &str, path: &Path) -> Result<(), Error> {
    let plain = path
        .components()
        .all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
    if !path.is_absolute() || !plain {
        return Err(invalid(format!(
            "{what} {}: expected an absolute path without \"..\"",
            path.display()
        )));
    }
    Ok(())
}

pub(crate) fn machine(spec: &MachineSpec) -> Result<(), Error> {
    label("machine name", &spec.name)?;
    if let Some(name) = &spec.hostname {
        for part in name.split('.') {
            label("hostname", part)?;
        }
        if name.len() > 64 {
            return Err(invalid(format!(
                "hostname {name:?}: longer than 64 characters"
            )));
        }
    }
    if let Some(mac) = &spec.mac
        && !mac
            .parse::<MacAddress>()
            .map_err(|wrong| invalid(format!("mac {wrong}")))?
            .is_usable()
    {
        return Err(invalid(format!("mac {mac} is not that of one interface")));
    }
    if spec.cpu_milli == Some(0) {
        return Err(invalid("cpus: expected more than 0"));
    }
    if spec.memory_mib.is_some_and(|memory| memory < 4) {
        return Err(invalid("memory: expected at least 4 MiB"));
    }
    if let Base::Root(path) = &spec.base
        && !path.is_absolute()
    {
        return Err(invalid(format!(
            "root {}: expected an absolute path",
            path.display()
        )));
    }
    if let Base::Vm(vm) = &spec.base {
        if vm.kernel.is_none() && vm.disk.is_none() {
            return Err(invalid("vm: a virtual machine needs a kernel or a disk"));
        }
        if vm.initrd.is_some() && vm.kernel.is_none() {
            return Err(invalid("vm: an initrd needs a kernel"));
        }
        if !spec.mounts.is_empty() || !spec.files.is_empty() {
            return Err(invalid(
                "vm: mounts and files are for system containers, not for virtual machines",
            ));
        }
        if spec.command.is_some()
            || !spec.env.is_empty()
            || spec.privileged
            || spec.user.is_some()
            || spec.working_dir.is_some()
        {
            return Err(invalid(
                "vm: command, environment, user, working_dir and privileged are for system containers, not for virtual machines",
            ));
        }
    } else {
        if let Some(script) = &spec.user_data
            && !script.starts_with("#!")
        {
            return Err(invalid(
                "user_data of a system container is a script: it begins with \"#!\"",
            ));
        }
        if let Some(command) = &spec.command
            && command.first().is_some_and(String::is_empty)
        {
            return Err(invalid("command: the program's name is empty"));
        }
    }
    if spec
        .user_data
        .as_ref()
        .is_some_and(|data| data.len() > USER_DATA_MAX)
    {
        return Err(invalid("user_data: more than 1 MiB"));
    }
    for (name, value) in &spec.env {
        if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
            return Err(invalid(format!(
                "environment variable {name:?} cannot be set"
            )));
        }
    }
    for mount in &spec.mounts {
        absolute("mount target", &mount.target)?;
    }
    for file in &spec.files {
        absolute("file", &file.path)?;
        if file.content.len() > FILE_MAX {
            return Err(invalid(format!(
                "file {}: more than 4 MiB",
                file.path.display()
            )));
        }
        if file.mode > 0o7777 {
            return Err(invalid(format!(
                "file {}: mode {:o} is not a mode",
                file.path.display(),
                file.mode
            )));
        }
    }
    for key in &spec.ssh_keys {
        if key.contains(['\n', '\r']) || key.split_whitespace().count() < 2 {
            return Err(invalid(format!(
                "ssh key {key:?}: expected one line, such as \"ssh-ed25519 AAAA...\""
            )));
        }
    }
    let mut ports = HashSet::new();
    for port in &spec.ports {
        if port.port == 0 || port.host_port == 0 {
            return Err(invalid("port 0 cannot be published"));
        }
        if !ports.insert((port.protocol, port.host_port, port.host_address)) {
            return Err(invalid(format!(
                "host port {}/{} is published twice",
                port.host_port, port.protocol
            )));
        }
    }
    Ok(())
}

/// What of the host a machine needs and is not there. Looked at when it is made: something else of the same plan may
/// make it.
pub(crate) fn present(spec: &MachineSpec) -> Result<(), Error> {
    match &spec.base {
        Base::Image(_) => {}
        Base::Root(path) if path.is_dir() => {}
        Base::Root(path) => {
            return Err(invalid(format!(
                "root {} is not a directory",
                path.display()
            )));
        }
        Base::Vm(vm) => {
            for (what, path) in [
                ("kernel", &vm.kernel),
                ("initrd", &vm.initrd),
                ("disk", &vm.disk),
            ] {
                if let Some(path) = path.as_ref().filter(|path| !path.is_file()) {
                    return Err(invalid(format!(
                        "vm: {what} {} is not a file",
                        path.display()
                    )));
                }
            }
        }
    }
    for source in spec.mounts.iter().filter_map(|mount| mount.source.as_ref()) {
        if !source.exists() {
            return Err(invalid(format!(
                "mount source {} does not exist",
                source.display()
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{FileSpec, VmSpec};

    fn refused(change: impl FnOnce(&mut MachineSpec)) -> String {
        let mut spec = MachineSpec::new("web", Base::Image("a".to_owned()), "lan");
        machine(&spec).unwrap();
        change(&mut spec);
        machine(&spec).unwrap_err().to_string()
    }

    #[test]
    fn what_is_wrong_with_a_machine_is_said() {
        assert!(refused(|m| m.name = "Web".to_owned()).contains("a-z"));
        assert!(refused(|m| m.mac = Some("x".to_owned())).contains("hardware address"));
        assert!(refused(|m| m.base = Base::Root("here".into())).contains("absolute"));
        let root = MachineSpec::new("web", Base::Root("/nowhere/at/all".into()), "lan");
        assert!(
            present(&root)
                .unwrap_err()
                .to_string()
                .contains("not a directory")
        );
        assert!(refused(|m| m.base = Base::Vm(VmSpec::default())).contains("kernel or a disk"));
        assert!(refused(|m| m.user_data = Some("echo".to_owned())).contains("#!"));
        assert!(refused(|m| m.ssh_keys = vec!["a\nb c".to_owned()]).contains("one line"));
        let file = |path: &str| FileSpec {
            path: path.into(),
            content: Vec::new(),
            mode: 0o644,
        };
        assert!(refused(|m| m.files = vec![file("etc/x")]).contains("absolute"));
        assert!(refused(|m| m.files = vec![file("/etc/../x")]).contains("absolute"));
    }

    #[test]
    fn what_is_wrong_with_a_network_is_said() {
        let lan = NetworkSpec::new("lan", "10.0.0.0/24".parse().unwrap());
        network(&lan).unwrap();
        let refused = |change: fn(&mut NetworkSpec)| {
            let mut spec = lan.clone();
            change(&mut spec);
            network(&spec).unwrap_err().to_string()
        };
        assert!(refused(|n| n.cidr = "10.0.0.1/24".parse().unwrap()).contains("10.0.0.0/24"));
        assert!(refused(|n| n.cidr = "10.0.0.0/31".parse().unwrap()).contains("8 to 30"));
        assert!(refused(|n| n.gateway = Some(Ipv4Addr::new(10, 0, 1, 1))).contains("gateway"));
        assert!(refused(|n| n.mtu = Some(1)).contains("mtu"));
        assert!(refused(|n| n.domain = "a..b".to_owned()).contains("domain"));
    }
}
