//! What a virtual machine's cloud-init reads: a file system labelled `CIDATA` (its data source `NoCloud`).

use std::fs;
use std::io;
use std::path::Path;

use crate::records::{MachineRecord, NetworkRecord};

/// Text as a YAML scalar: JSON's strings are YAML's.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Writes the files that QEMU shows as a disk.
pub(crate) fn write(
    dir: &Path,
    record: &MachineRecord,
    network: &NetworkRecord,
    resolver: &str,
) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    fs::write(dir.join("meta-data"), meta_data(record))?;
    fs::write(dir.join("user-data"), user_data(record))?;
    fs::write(
        dir.join("network-config"),
        network_config(record, network, resolver),
    )
}

fn meta_data(record: &MachineRecord) -> String {
    let name = quoted(record.spec.hostname());
    let id = quoted(&format!(
        "{}-{}",
        record.spec.name,
        record.created.as_second()
    ));
    let keys: Vec<String> = record.spec.ssh_keys.iter().map(|key| quoted(key)).collect();
    format!(
        "instance-id: {id}\nlocal-hostname: {name}\npublic-keys: [{}]\n",
        keys.join(", ")
    )
}

fn user_data(record: &MachineRecord) -> String {
    if let Some(own) = &record.spec.user_data {
        return own.clone();
    }
    let keys: Vec<String> = record.spec.ssh_keys.iter().map(|key| quoted(key)).collect();
    format!(
        "#cloud-config\ndisable_root: false\nusers:\n  - name: root\n    ssh_authorized_keys: [{}]\n",
        keys.join(", ")
    )
}

fn network_config(record: &MachineRecord, network: &NetworkRecord, resolver: &str) -> String {
    let servers: Vec<&str> = resolver
        .lines()
        .filter_map(|line| line.strip_prefix("nameserver "))
        .collect();
    format!(
        "version: 2\nethernets:\n  eth0:\n    match: {{macaddress: {}}}\n    set-name: eth0\n    addresses: [{}/{}]\n    \
         routes: [{{to: 0.0.0.0/0, via: {}}}]\n    nameservers: {{addresses: [{}], search: [{}]}}\n",
        quoted(&record.mac),
        record.address,
        network.spec.cidr.prefix_len(),
        network.spec.gateway(),
        servers.join(", "),
        network.spec.domain,
    )
}
