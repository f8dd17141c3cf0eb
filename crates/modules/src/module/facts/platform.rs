//! The system, its kernel and its names.

use serde_json::json;

use super::{Facts, Gathering, fqdn, python};

pub(super) fn collect(gathering: &mut Gathering<'_, '_>) -> Facts {
    let system = Uname::of(gathering);
    let mut facts = Facts::new();
    let mut set = |name: &str, value: &str| {
        facts.insert(name.to_owned(), json!(value));
    };
    set("system", &system.system);
    set("kernel", &system.release);
    set("kernel_version", &system.version);
    set("machine", &system.machine);
    let full = fqdn::of(gathering, &system.node);
    set("fqdn", &full);
    set("hostname", first_label(&system.node));
    set("nodename", &system.node);
    set(
        "domain",
        full.split_once('.').map_or("", |(_, domain)| domain),
    );
    let bits = if gathering.elf("/bin/sh").is_some_and(|(bits, _)| bits == 32) {
        "32"
    } else {
        "64"
    };
    set("userspace_bits", bits);
    if system.machine == "x86_64" || is_small_intel(&system.machine) {
        let architecture = if system.machine == "x86_64" {
            "x86_64"
        } else {
            "i386"
        };
        set("architecture", architecture);
        set(
            "userspace_architecture",
            if bits == "64" { "x86_64" } else { "i386" },
        );
    } else {
        set("architecture", &system.machine);
    }
    let id = gathering
        .content("/var/lib/dbus/machine-id")
        .or_else(|| gathering.content("/etc/machine-id"));
    if let Some(id) = id.as_deref().and_then(|id| id.lines().next()) {
        set("machine_id", id);
    }
    if let Some(interpreter) = python::interpreter(gathering) {
        set("python_version", &interpreter.version());
    }
    facts
}

fn first_label(name: &str) -> &str {
    name.split('.').next().unwrap_or(name)
}

/// `i386`, `i486`, `i586`, `i686`, `i86pc` anywhere in it.
fn is_small_intel(machine: &str) -> bool {
    ["i386", "i486", "i586", "i686", "i86pc"]
        .iter()
        .any(|name| machine.contains(name))
}

/// What `uname` tells.
pub(super) struct Uname {
    pub system: String,
    pub node: String,
    pub release: String,
    pub version: String,
    pub machine: String,
}

impl Uname {
    /// Of the machine; of a tree what its `/proc` and its programs tell.
    pub(super) fn of(gathering: &Gathering<'_, '_>) -> Self {
        if gathering.live
            && let Ok(told) = nix::sys::utsname::uname()
        {
            let text = |text: &std::ffi::OsStr| text.to_string_lossy().into_owned();
            return Uname {
                system: text(told.sysname()),
                node: text(told.nodename()),
                release: text(told.release()),
                version: text(told.version()),
                machine: text(told.machine()),
            };
        }
        let told = |name: &str| {
            gathering
                .content(&format!("/proc/sys/kernel/{name}"))
                .unwrap_or_default()
        };
        let node = told("hostname");
        Uname {
            system: "Linux".to_owned(),
            node: if node.is_empty() {
                gathering.content("/etc/hostname").unwrap_or_default()
            } else {
                node
            },
            release: told("osrelease"),
            version: told("version"),
            machine: gathering
                .elf("/bin/sh")
                .map_or("", |(_, machine)| machine)
                .to_owned(),
        }
    }
}

impl Gathering<'_, '_> {
    /// How many bits a program has, and for what it is made.
    fn elf(&self, path: &str) -> Option<(u8, &'static str)> {
        use std::io::Read as _;
        let mut head = [0; 20];
        std::fs::File::open(self.path(path))
            .ok()?
            .read_exact(&mut head)
            .ok()?;
        if &head[..4] != b"\x7fELF" {
            return None;
        }
        let little = head[5] == 1;
        let machine = if little {
            u16::from_le_bytes([head[18], head[19]])
        } else {
            u16::from_be_bytes([head[18], head[19]])
        };
        let name = match (machine, little) {
            (3, _) => "i686",
            (62, _) => "x86_64",
            (183, _) => "aarch64",
            (40, _) => "armv7l",
            (243, _) => "riscv64",
            (22, _) => "s390x",
            (21, true) => "ppc64le",
            (21, false) => "ppc64",
            (258, _) => "loongarch64",
            _ => "",
        };
        Some((if head[4] == 1 { 32 } else { 64 }, name))
    }
}
