//! A container in the words of the OCI runtime specification, as far as libcontainer carries it out.
//!
//! Users, capabilities, limits of the process and the filter are not in it: see [`crate::entry`].

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::cgroup::{Access, Rule, default_rules};
use crate::spec::{ContainerSpec, Propagation};

/// What the sandbox gives its containers.
pub(super) struct Shared<'a> {
    /// Namespaces to join, by the specification's type names.
    pub(super) namespaces: BTreeMap<&'static str, PathBuf>,
    /// The PID namespace is the host's.
    pub(super) host_pid: bool,
    pub(super) shm: &'a Path,
}

/// The configuration. Mounts are not its matter, save that of `/proc` (see [`super::mounts`]), and neither is the
/// cgroup: the process that makes the container is already there.
pub(super) fn config(
    spec: &ContainerSpec,
    shared: &Shared<'_>,
    rootfs: &Path,
    cgroup: &str,
) -> Value {
    let both_ways = spec
        .mounts
        .iter()
        .any(|mount| mount.propagation == Propagation::Bidirectional);
    let mut namespaces = vec![json!({ "type": "mount" }), json!({ "type": "cgroup" })];
    if !shared.host_pid && !shared.namespaces.contains_key("pid") {
        namespaces.push(json!({ "type": "pid" }));
    }
    namespaces.extend(
        shared
            .namespaces
            .iter()
            .map(|(kind, path)| json!({ "type": kind, "path": path })),
    );
    json!({
        "ociVersion": "1.0.2",
        "process": {
            "terminal": false,
            "user": { "uid": 0, "gid": 0 },
            "args": ["container"],
            "env": ["PATH=/bin"],
            "cwd": "/",
        },
        "root": { "path": rootfs, "readonly": false },
        "mounts": [{ "destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid", "noexec", "nodev"] }],
        "linux": {
            "namespaces": namespaces,
            // Where the process is already.
            "cgroupsPath": format!("/{cgroup}"),
            "rootfsPropagation": if both_ways { "shared" } else { "slave" },
            "devices": nodes(spec),
        },
    })
}

/// Devices to be made in `/dev` beside the default ones: those asked for, and for a privileged container
/// all of the host.
fn nodes(spec: &ContainerSpec) -> Vec<Value> {
    let mut nodes = Vec::new();
    if spec.privileged {
        collect(Path::new("/dev"), &mut nodes);
    }
    for device in &spec.devices {
        nodes.extend(node(&device.host_path, &device.container_path));
    }
    nodes
}

fn node(host: &Path, container: &Path) -> Option<Value> {
    let metadata = fs::metadata(host).ok()?;
    let kind = if metadata.file_type().is_char_device() {
        "c"
    } else if metadata.file_type().is_block_device() {
        "b"
    } else {
        return None;
    };
    Some(json!({
        "path": container, "type": kind,
        "major": nix::sys::stat::major(metadata.rdev()), "minor": nix::sys::stat::minor(metadata.rdev()),
        "fileMode": metadata.mode() & 0o7777, "uid": metadata.uid(), "gid": metadata.gid(),
    }))
}

fn collect(dir: &Path, nodes: &mut Vec<Value>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let (path, Ok(kind)) = (entry.path(), entry.file_type()) else {
            continue;
        };
        // These are the container's own.
        let own = [
            "/dev/pts",
            "/dev/shm",
            "/dev/mqueue",
            "/dev/console",
            "/dev/ptmx",
        ];
        if own.iter().any(|name| path == Path::new(name)) {
            continue;
        }
        if kind.is_dir() {
            collect(&path, nodes);
        } else if kind.is_char_device() || kind.is_block_device() {
            nodes.extend(node(&path, &path));
        }
    }
}

/// What the container's cgroup lets it do with devices.
pub(super) fn device_rules(spec: &ContainerSpec) -> Vec<Rule> {
    if spec.privileged {
        return vec![Rule {
            kind: 'a',
            major: None,
            minor: None,
            access: Access::parse("rwm"),
        }];
    }
    let mut rules = default_rules();
    for device in &spec.devices {
        if let Ok(metadata) = fs::metadata(&device.host_path) {
            rules.push(Rule {
                kind: if metadata.file_type().is_block_device() {
                    'b'
                } else {
                    'c'
                },
                major: Some(nix::sys::stat::major(metadata.rdev()) as u32),
                minor: Some(nix::sys::stat::minor(metadata.rdev()) as u32),
                access: Access::parse(&device.permissions),
            });
        }
    }
    rules
}
