//! What networks and machines are asked to be. Plain values, recorded as they are.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

pub use consort_net::Protocol;

/// A network on this host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkSpec {
    /// Unique among the networks of the instance: a DNS label.
    pub name: String,
    /// Its addresses; prefix lengths from 8 to 30.
    pub cidr: Ipv4Net,
    /// The host's address in it; `None` is the first.
    pub gateway: Option<Ipv4Addr>,
    /// Machines are also known as `NAME.DOMAIN`.
    pub domain: String,
    /// Machines reach the outside under the host's address.
    pub nat: bool,
    /// Machines of other networks cannot connect to this one's, nor they to those.
    pub isolated: bool,
    /// Nothing passes beyond the host.
    pub internal: bool,
    /// MTU in bytes; `None` is the host's.
    pub mtu: Option<u32>,
    /// Kept and given back, never interpreted.
    pub labels: BTreeMap<String, String>,
}

impl NetworkSpec {
    /// A network that reaches the outside and is apart from others.
    pub fn new(name: impl Into<String>, cidr: Ipv4Net) -> Self {
        let name = name.into();
        Self {
            domain: format!("{name}.internal"),
            name,
            cidr,
            gateway: None,
            nat: true,
            isolated: true,
            internal: false,
            mtu: None,
            labels: BTreeMap::new(),
        }
    }

    /// The host's address in it.
    pub fn gateway(&self) -> Ipv4Addr {
        self.gateway
            .unwrap_or_else(|| Ipv4Addr::from(u32::from(self.cidr.network()).saturating_add(1)))
    }
}

/// What a machine is made from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Base {
    /// An OCI image by its name.
    Image(String),
    /// A directory with a root file system. It stays as it is: what the machine writes is kept apart, so that several
    /// machines can share it. It must not change while machines use it.
    Root(PathBuf),
    /// A virtual machine.
    Vm(VmSpec),
}

/// The hardware of a virtual machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct VmSpec {
    /// A kernel to boot directly: an image as distributions have it, or an uncompressed one with a PVH entry.
    pub kernel: Option<PathBuf>,
    /// Initial RAM disk for it.
    pub initrd: Option<PathBuf>,
    /// Words for its command line, after `console=ttyS0`.
    pub cmdline: String,
    /// A disk image, raw or qcow2. The machine gets a copy.
    pub disk: Option<PathBuf>,
    /// Whether the processor's own virtualisation is used.
    pub accel: Accel,
}

/// How a virtual machine's instructions are run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Accel {
    /// By the processor where `/dev/kvm` works, else by QEMU.
    #[default]
    Auto,
    /// By the processor.
    Kvm,
    /// By QEMU.
    Tcg,
}

/// Something of the host in a machine (system containers only).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountSpec {
    /// A file or directory of the host; `None` is a directory of the machine's own, on the host's file system, that
    /// lives as long as the machine.
    pub source: Option<PathBuf>,
    /// Absolute path in the machine.
    pub target: PathBuf,
    /// The machine cannot write there.
    pub read_only: bool,
}

/// A port of the host that leads to one of the machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortSpec {
    /// Transport protocol.
    pub protocol: Protocol,
    /// Only this address of the host; `None` is all.
    pub host_address: Option<Ipv4Addr>,
    /// Port on the host.
    pub host_port: u16,
    /// Port of the machine.
    pub port: u16,
}

/// A file written into the machine before its first start, and again when it changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileSpec {
    /// Absolute path in the machine.
    pub path: PathBuf,
    /// Its content.
    pub content: Vec<u8>,
    /// Its mode.
    pub mode: u32,
}

/// What happens when a machine ends by itself, and when the host has been started again. Who was told to stop stays
/// stopped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Restart {
    /// Nothing.
    No,
    /// It is started again where it ended with a code other than 0, or with its host.
    OnFailure,
    /// It is started again.
    #[default]
    Always,
}

/// A machine on this host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineSpec {
    /// Unique among the machines of the instance: a DNS label.
    pub name: String,
    /// What it is made from.
    pub base: Base,
    /// Name of its network.
    pub network: String,
    /// Its address there; `None` takes a free one.
    pub address: Option<Ipv4Addr>,
    /// Its hardware address; `None` makes one from the address.
    pub mac: Option<String>,
    /// Its host name; `None` is its name.
    pub hostname: Option<String>,
    /// Its program. `None` is the image's, or `/sbin/init` of a directory that has one; empty is none: the machine is
    /// there for what is executed in it.
    pub command: Option<Vec<String>>,
    /// Environment of its program and of what is executed in it.
    pub env: BTreeMap<String, String>,
    /// Working directory; `None` is the image's.
    pub working_dir: Option<PathBuf>,
    /// Who its program runs as; `None` is the image's user.
    pub user: Option<String>,
    /// Thousandths of a CPU it may use; of a virtual machine whole CPUs, rounded up.
    pub cpu_milli: Option<u64>,
    /// Memory in MiB.
    pub memory_mib: Option<u64>,
    /// Parts of the host in it.
    pub mounts: Vec<MountSpec>,
    /// Ports of the host that lead to it.
    pub ports: Vec<PortSpec>,
    /// Networks that the host reaches through it.
    pub routes: Vec<Ipv4Net>,
    /// Files in it.
    pub files: Vec<FileSpec>,
    /// Keys that may log in as root.
    pub ssh_keys: Vec<String>,
    /// A script run at the first start (`#!...`), or for a virtual machine what cloud-init reads.
    pub user_data: Option<String>,
    /// All capabilities and devices of the host.
    pub privileged: bool,
    /// What happens when it ends.
    pub restart: Restart,
    /// Whether it is to run.
    pub running: bool,
    /// Kept and given back, never interpreted.
    pub labels: BTreeMap<String, String>,
}

impl MachineSpec {
    /// The usual values around what cannot be guessed.
    pub fn new(name: impl Into<String>, base: Base, network: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            base,
            network: network.into(),
            address: None,
            mac: None,
            hostname: None,
            command: None,
            env: BTreeMap::new(),
            working_dir: None,
            user: None,
            cpu_milli: None,
            memory_mib: None,
            mounts: Vec::new(),
            ports: Vec::new(),
            routes: Vec::new(),
            files: Vec::new(),
            ssh_keys: Vec::new(),
            user_data: None,
            privileged: false,
            restart: Restart::default(),
            running: true,
            labels: BTreeMap::new(),
        }
    }

    /// Its host name.
    pub fn hostname(&self) -> &str {
        self.hostname.as_deref().unwrap_or(&self.name)
    }

    /// Whether a change from one to the other takes effect only when the machine starts anew.
    pub(crate) fn needs_restart(&self, other: &Self) -> bool {
        let what = |spec: &Self| {
            let mut spec = spec.clone();
            spec.ports.clear();
            spec.routes.clear();
            spec.files.clear();
            spec.ssh_keys.clear();
            spec.labels.clear();
            spec.restart = Restart::default();
            spec.running = true;
            spec.address = None;
            spec.mac = None;
            spec
        };
        what(self) != what(other)
    }

    /// Whether one can become the other at all.
    pub(crate) fn same_machine(&self, other: &Self) -> bool {
        self.name == other.name
            && self.base == other.base
            && self.network == other.network
            && self.user_data == other.user_data
    }
}
