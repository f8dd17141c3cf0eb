//! Whether the machine is virtual, or has virtual ones.

use std::collections::BTreeSet;

use serde_json::json;

use super::{Facts, Gathering};

/// What was found. The first find says what the machine is; all are told as techniques.
#[derive(Default)]
struct Finds {
    kind: Option<String>,
    role: Option<&'static str>,
    found: bool,
    guest: BTreeSet<String>,
    host: BTreeSet<String>,
}

impl Finds {
    fn guest(&mut self, technique: &str) {
        self.guest_of(technique, technique);
    }

    fn guest_of(&mut self, technique: &str, kind: &str) {
        self.guest.insert(technique.to_owned());
        self.is(kind, "guest");
    }

    fn host(&mut self, technique: &str) {
        self.host.insert(technique.to_owned());
        self.is(technique, "host");
    }

    fn is(&mut self, kind: &str, role: &'static str) {
        if !self.found {
            self.kind = Some(kind.to_owned());
            self.role = Some(role);
            self.found = true;
        }
    }
}

pub(super) fn collect(gathering: &mut Gathering<'_, '_>) -> Facts {
    let mut finds = Finds::default();
    containers(gathering, &mut finds);
    xen(gathering, &mut finds);
    firmware(gathering, &mut finds);
    vserver(gathering, &mut finds);
    processors(gathering, &mut finds);
    modules(gathering, &mut finds);
    // Where the kernel does not tell what the firmware says, a program may.
    if !gathering.exists("/sys/devices/virtual/dmi/id/product_name")
        && let Some(dmidecode) = gathering.program("dmidecode")
        && let Some(said) = gathering.output(&[&dmidecode, "-s", "system-product-name"])
    {
        let name: String = said
            .lines()
            .filter(|line| !line.starts_with('#'))
            .map(str::trim)
            .collect();
        if name.starts_with("VMware") {
            finds.guest("VMware");
        }
        if said.contains("BHYVE") {
            finds.guest("bhyve");
        }
    }
    if gathering.exists("/dev/kvm") {
        finds.host("kvm");
    }
    finds.is("NA", "NA");
    let mut facts = Facts::new();
    if let Some(kind) = finds.kind {
        facts.insert("virtualization_type".to_owned(), json!(kind));
    }
    if let Some(role) = finds.role {
        facts.insert("virtualization_role".to_owned(), json!(role));
    }
    facts.insert("virtualization_tech_guest".to_owned(), json!(finds.guest));
    facts.insert("virtualization_tech_host".to_owned(), json!(finds.host));
    facts
}

fn containers(gathering: &Gathering<'_, '_>, finds: &mut Finds) {
    for line in gathering.lines("/proc/1/cgroup") {
        if is_of_docker(&line) {
            finds.guest("docker");
        }
        if line.contains("/lxc/") || has(&line, "/machine", "slice/machine-lxc") {
            finds.guest("lxc");
        }
        if has(&line, "/system", "slice/containerd") && line.contains("service") {
            finds.guest("containerd");
        }
    }
    let environment = gathering.content("/proc/1/environ").unwrap_or_default();
    for variable in environment.trim_end_matches('\0').split('\0') {
        if variable.contains("container=lxc") {
            finds.guest("lxc");
        }
        if variable.contains("container=podman") {
            finds.guest("podman");
        }
        if variable
            .strip_prefix("container=")
            .is_some_and(|name| !name.is_empty())
        {
            finds.guest("container");
        }
    }
    if gathering.exists("/proc/vz") && !gathering.exists("/proc/lve") {
        let role = if gathering.exists("/proc/bc") {
            finds.host.insert("openvz".to_owned());
            "host"
        } else {
            finds.guest.insert("openvz".to_owned());
            "guest"
        };
        // This name wins over what was found before.
        finds.is("openvz", role);
        finds.kind = Some("openvz".to_owned());
    }
    let container = gathering.content("/run/systemd/container");
    if let Some(name) = &container {
        finds.guest(name);
    }
    if gathering.exists("/.dockerenv") || gathering.exists("/.dockerinit") {
        finds.guest("docker");
    }
    if container.is_some()
        || ["docker", "lxc", "podman", "openvz", "containerd"]
            .iter()
            .any(|name| finds.guest.contains(*name))
    {
        finds.guest.insert("container".to_owned());
    }
}

/// Two texts with any one character between them.
fn has(line: &str, first: &str, second: &str) -> bool {
    line.match_indices(first).any(|(at, _)| {
        let mut rest = line[at + first.len()..].chars();
        rest.next().is_some() && rest.as_str().starts_with(second)
    })
}

/// `/docker/…` or `/docker-0123abc.scope`.
fn is_of_docker(line: &str) -> bool {
    line.match_indices("/docker").any(|(at, word)| {
        let rest = &line[at + word.len()..];
        rest.starts_with('/')
            || rest.strip_prefix('-').is_some_and(|rest| {
                let id = rest.find(|c: char| !matches!(c, '0'..='9' | 'a'..='f'));
                id.is_some_and(|end| end > 0 && rest[end..].starts_with(".scope"))
            })
    })
}

fn xen(gathering: &Gathering<'_, '_>, finds: &mut Finds) {
    if !gathering.exists("/proc/xen") {
        return;
    }
    if gathering
        .lines("/proc/xen/capabilities")
        .iter()
        .any(|line| line.contains("control_d"))
    {
        finds.host("xen");
    } else {
        finds.is("xen", "guest");
    }
}

fn firmware(gathering: &Gathering<'_, '_>, finds: &mut Finds) {
    let told = |name: &str| {
        gathering
            .content(&format!("/sys/devices/virtual/dmi/id/{name}"))
            .unwrap_or_default()
    };
    let (product, vendor, family) = (
        told("product_name"),
        told("sys_vendor"),
        told("product_family"),
    );
    if matches!(
        product.as_str(),
        "KVM" | "KVM Server" | "Bochs" | "AHV" | "CloudStack KVM Hypervisor"
    ) {
        finds.guest("kvm");
    }
    if vendor == "oVirt" {
        finds.guest("oVirt");
    }
    if vendor == "Red Hat" {
        if family == "RHV" {
            finds.guest("RHV");
        } else if product == "RHEV Hypervisor" {
            finds.guest("RHEV");
        }
    }
    if product.starts_with("VMware") {
        finds.guest("VMware");
    }
    if matches!(product.as_str(), "OpenStack Compute" | "OpenStack Nova") {
        finds.guest("openstack");
    }
    if product == "BHYVE" {
        finds.guest("bhyve");
    }
    match told("bios_vendor").as_str() {
        "Xen" => finds.guest("xen"),
        "innotek GmbH" => finds.guest("virtualbox"),
        "Amazon EC2" | "DigitalOcean" | "Hetzner" | "Linode" => finds.guest("kvm"),
        _ => {}
    }
    match vendor.as_str() {
        "QEMU" | "Amazon EC2" | "DigitalOcean" | "Google" | "Scaleway" | "Nutanix" => {
            finds.guest("kvm");
        }
        "KubeVirt" => finds.guest("KubeVirt"),
        "Microsoft Corporation" => finds.guest("VirtualPC"),
        "Parallels Software International Inc." => finds.guest("parallels"),
        "OpenStack Foundation" => finds.guest("openstack"),
        _ => {}
    }
}

fn vserver(gathering: &Gathering<'_, '_>, finds: &mut Finds) {
    for line in gathering.lines("/proc/self/status") {
        let Some(number) = line
            .strip_prefix("VxID:")
            .filter(|rest| rest.starts_with(char::is_whitespace))
            .map(str::trim_start)
            .filter(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
        else {
            continue;
        };
        if number.starts_with('0') {
            finds.host("linux_vserver");
        } else {
            finds.guest("linux_vserver");
        }
    }
}

fn processors(gathering: &mut Gathering<'_, '_>, finds: &mut Finds) {
    let Some(text) = gathering.cpuinfo() else {
        return;
    };
    for line in text.lines() {
        let names = |start: &str, what: &str| line.starts_with(start) && line.contains(what);
        if names("model name", "QEMU Virtual CPU") {
            finds.guest("kvm");
        } else if names("vendor_id", "User Mode Linux") || names("model name", "UML") {
            finds.guest("uml");
        } else if line.starts_with("machine")
            && line.contains("CHRP IBM pSeries (emulated by qemu)")
        {
            finds.guest("kvm");
        } else if names("vendor_id", "PowerVM Lx86") {
            finds.guest("powervm_lx86");
        } else if names("vendor_id", "IBM/S390") {
            main_frame(gathering, finds);
        }
    }
}

/// A partition of an IBM Z, or a guest in one.
fn main_frame(gathering: &Gathering<'_, '_>, finds: &mut Finds) {
    finds.guest.insert("PR/SM".to_owned());
    let mut kind = "PR/SM".to_owned();
    if gathering.program("lscpu").is_some() {
        for line in gathering.output(&["lscpu"]).unwrap_or_default().lines() {
            if let Some((name, value)) = line.split_once(':')
                && name.trim() == "Hypervisor"
            {
                value.trim().clone_into(&mut kind);
                finds.guest.insert(kind.clone());
            }
        }
    } else {
        "ibm_systemz".clone_into(&mut kind);
        finds.guest.insert(kind.clone());
    }
    let role = if kind == "PR/SM" { "LPAR" } else { "guest" };
    finds.is(&kind, role);
}

fn modules(gathering: &Gathering<'_, '_>, finds: &mut Finds) {
    let lines = gathering.lines("/proc/modules");
    let loaded = |name: &str| {
        lines
            .iter()
            .any(|line| line.split(' ').next() == Some(name))
    };
    if loaded("kvm") {
        let first = !finds.found;
        finds.host("kvm");
        if gathering.is_directory("/rhev/") {
            let runs = gathering
                .names("/proc")
                .unwrap_or_default()
                .iter()
                .filter(|name| name.starts_with(|c: char| c.is_ascii_digit()))
                .filter_map(|name| gathering.content(&format!("/proc/{name}/comm")))
                .any(|name| name == "vdsm" || name == "vdsmd");
            if runs {
                finds.host.insert("RHEV".to_owned());
                if first {
                    finds.kind = Some("RHEV".to_owned());
                }
            }
        }
    }
    if loaded("vboxdrv") {
        finds.host("virtualbox");
    }
    if loaded("virtio") {
        finds.host.insert("kvm".to_owned());
        finds.is("kvm", "guest");
    }
}
