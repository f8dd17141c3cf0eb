//! A container in the words of the OCI runtime specification, as far as libcontainer carries it out.
//!
//! Users, capabilities, limits of the process and the filter are not in it: see [`crate::entry`].

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::cgroup::{Access, Rule, default_rules};
use crate::spec::{ContainerSpec, MountKind, Propagation};

/// Under these a container could see or change the host; the lists are those of Docker and containerd.
const MASKED: [&str; 12] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];
const READ_ONLY: [&str; 5] = [
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
];

/// What the sandbox gives its containers.
pub(super) struct Shared<'a> {
    /// Namespaces to join, by the specification's type names.
    pub(super) namespaces: BTreeMap<&'static str, PathBuf>,
    /// The PID namespace is the host's.
    pub(super) host_pid: bool,
    pub(super) shm: &'a Path,
    pub(super) v2: bool,
}

/// The configuration. `held` are the directories of the container's cgroup by controller, `sources` the mount sources
/// to use. The cgroup itself is not in it: the process that makes the container is already there.
pub(super) fn config(
    spec: &ContainerSpec,
    shared: &Shared<'_>,
    rootfs: &Path,
    cgroup: &str,
    held: &[(&'static str, PathBuf)],
    sources: &[PathBuf],
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
    let masked: &[&str] = if spec.unmasked || spec.privileged {
        &[]
    } else {
        &MASKED
    };
    let read_only: &[&str] = if spec.unmasked || spec.privileged {
        &[]
    } else {
        &READ_ONLY
    };
    json!({
        "ociVersion": "1.0.2",
        "process": {
            "terminal": false,
            "user": { "uid": 0, "gid": 0 },
            "args": ["container"],
            "env": ["PATH=/bin"],
            "cwd": "/",
        },
        "root": { "path": rootfs, "readonly": spec.read_only_root },
        "mounts": mounts(spec, shared, held, sources),
        "linux": {
            "namespaces": namespaces,
            // Where the process is already. Needed only if a mount of all of /sys shows libcontainer cgroups after all.
            "cgroupsPath": format!("/{cgroup}"),
            "rootfsPropagation": if both_ways { "shared" } else { "slave" },
            "maskedPaths": masked,
            "readonlyPaths": read_only,
            "devices": nodes(spec),
        },
    })
}

fn mounts(
    spec: &ContainerSpec,
    shared: &Shared<'_>,
    held: &[(&'static str, PathBuf)],
    sources: &[PathBuf],
) -> Vec<Value> {
    let mount = |target: &str, kind: &str, options: &[&str]| json!({ "destination": target, "type": kind, "source": kind, "options": options });
    let sys: &[&str] = if spec.privileged {
        &["nosuid", "noexec", "nodev"]
    } else {
        &["nosuid", "noexec", "nodev", "ro"]
    };
    let mut mounts = vec![
        mount("/proc", "proc", &["nosuid", "noexec", "nodev"]),
        mount(
            "/dev",
            "tmpfs",
            &["nosuid", "strictatime", "mode=755", "size=65536k"],
        ),
        mount(
            "/dev/pts",
            "devpts",
            &[
                "nosuid",
                "noexec",
                "newinstance",
                "ptmxmode=0666",
                "mode=0620",
                "gid=5",
            ],
        ),
        mount("/dev/mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
        mount("/sys", "sysfs", sys),
        json!({ "destination": "/dev/shm", "type": "bind", "source": shared.shm, "options": ["rbind", "nosuid", "noexec", "nodev"] }),
    ];
    let access = if spec.privileged { "rw" } else { "ro" };
    if shared.v2 {
        // Seen from the cgroup namespace, its own part.
        mounts.push(mount(
            "/sys/fs/cgroup",
            "cgroup2",
            &["nosuid", "noexec", "nodev", "relatime", access],
        ));
    } else {
        // Its own part of each hierarchy, so that programs find their limits; libcontainer's own way would
        // leave them writable.
        mounts.push(mount(
            "/sys/fs/cgroup",
            "tmpfs",
            &["nosuid", "noexec", "nodev", "mode=755", "size=64k"],
        ));
        for (controller, source) in held {
            mounts.push(json!({
                "destination": format!("/sys/fs/cgroup/{controller}"), "type": "bind", "source": source,
                "options": ["bind", "nosuid", "noexec", "nodev", access],
            }));
        }
    }
    for (wanted, source) in spec.mounts.iter().zip(sources) {
        let mut options: Vec<&str> = wanted.options.iter().map(String::as_str).collect();
        mounts.push(match wanted.kind {
            MountKind::Bind => {
                options.push("rbind");
                if wanted.read_only {
                    options.push("rro");
                }
                json!({ "destination": wanted.target, "type": "bind", "source": source, "options": options })
            }
            MountKind::Tmpfs => {
                options.extend(["nosuid", "nodev"]);
                if wanted.read_only {
                    options.push("ro");
                }
                json!({ "destination": wanted.target, "type": "tmpfs", "source": "tmpfs", "options": options })
            }
        });
    }
    mounts
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
