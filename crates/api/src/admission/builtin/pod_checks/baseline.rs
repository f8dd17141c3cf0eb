//! What `baseline` forbids.

use super::Fault;
use super::pod::{Pod, containers, plural, quoted, setters, sorted};
use crate::values::{at, flag, int, items, text};
use serde_json::Value;
use std::collections::BTreeSet;

pub(super) fn app_armor(pod: &Pod<'_>, _: u32) -> Option<Fault> {
    const PREFIX: &str = "container.apparmor.security.beta.kubernetes.io/";
    let mut values = BTreeSet::new();
    let mut wrong = |owner| {
        let profile = at(owner, &["securityContext", "appArmorProfile"]);
        let kind = profile.map(|profile| text(profile, &["type"]));
        match kind {
            None | Some("RuntimeDefault" | "Localhost") => false,
            Some(other) => {
                values.insert(other);
                true
            }
        }
    };
    let own = wrong(pod.spec);
    let names = pod.having(wrong);
    let mut setters = setters(own, &names);
    let mut values: Vec<String> = values.into_iter().map(str::to_owned).collect();
    let mut annotations: Vec<String> = pod
        .annotations()
        .filter(|(key, value)| {
            key.starts_with(PREFIX)
                && !value.is_empty()
                && *value != "runtime/default"
                && !value.starts_with("localhost/")
        })
        .map(|(key, value)| format!("{key}={value:?}"))
        .collect();
    if !annotations.is_empty() {
        annotations.sort_unstable();
        setters.push(plural(annotations.len(), "annotation", "annotations").to_owned());
        values.extend(annotations);
    }
    if setters.is_empty() {
        return None;
    }
    Some((
        plural(
            values.len(),
            "forbidden AppArmor profile",
            "forbidden AppArmor profiles",
        ),
        format!(
            "{} must not set AppArmor profile type to {}",
            setters.join(" and "),
            quoted(&values)
        ),
    ))
}

pub(super) fn added_capabilities(pod: &Pod<'_>, _: u32) -> Option<Fault> {
    const ALLOWED: [&str; 13] = [
        "AUDIT_WRITE",
        "CHOWN",
        "DAC_OVERRIDE",
        "FOWNER",
        "FSETID",
        "KILL",
        "MKNOD",
        "NET_BIND_SERVICE",
        "SETFCAP",
        "SETGID",
        "SETPCAP",
        "SETUID",
        "SYS_CHROOT",
    ];
    let (names, added) = adding(pod, &ALLOWED);
    (!names.is_empty()).then(|| {
        let detail = format!(
            "{} must not include {} in securityContext.capabilities.add",
            containers(&names),
            sorted(&added)
        );
        ("non-default capabilities", detail)
    })
}

/// The containers that add other capabilities than these, and those capabilities.
pub(super) fn adding<'p>(pod: &Pod<'p>, allowed: &[&str]) -> (Vec<&'p str>, BTreeSet<&'p str>) {
    let mut added = BTreeSet::new();
    let names = pod.having(|container| {
        let mut wrong = false;
        for own in capabilities(container, "add").filter(|own| !allowed.contains(own)) {
            added.insert(own);
            wrong = true;
        }
        wrong
    });
    (names, added)
}

pub(super) fn capabilities<'p>(container: &'p Value, list: &str) -> impl Iterator<Item = &'p str> {
    items(container, &["securityContext", "capabilities", list])
        .iter()
        .filter_map(Value::as_str)
}

pub(super) fn host_namespaces(pod: &Pod<'_>, _: u32) -> Option<Fault> {
    let used: Vec<String> = ["hostNetwork", "hostPID", "hostIPC"]
        .into_iter()
        .filter(|field| flag(pod.spec, &[field]))
        .map(|field| format!("{field}=true"))
        .collect();
    (!used.is_empty()).then(|| ("host namespaces", used.join(", ")))
}

pub(super) fn host_paths(pod: &Pod<'_>, _: u32) -> Option<Fault> {
    let names: Vec<&str> = items(pod.spec, &["volumes"])
        .iter()
        .filter(|volume| at(volume, &["hostPath"]).is_some())
        .map(|volume| text(volume, &["name"]))
        .collect();
    let word = plural(names.len(), "volume", "volumes");
    (!names.is_empty()).then(|| ("hostPath volumes", format!("{word} {}", quoted(&names))))
}

pub(super) fn host_ports(pod: &Pod<'_>, _: u32) -> Option<Fault> {
    let mut ports = BTreeSet::new();
    let names = pod.having(|container| {
        let own = items(container, &["ports"]).iter();
        let own: Vec<i64> = own
            .map(|port| int(port, &["hostPort"]))
            .filter(|port| *port != 0)
            .collect();
        ports.extend(own.iter().map(ToString::to_string));
        !own.is_empty()
    });
    (!names.is_empty()).then(|| {
        let all: Vec<String> = ports.into_iter().collect();
        let detail = format!(
            "{} {} {} {}",
            containers(&names),
            plural(names.len(), "uses", "use"),
            plural(all.len(), "hostPort", "hostPorts"),
            all.join(", ")
        );
        ("hostPort", detail)
    })
}

pub(super) fn host_probes(pod: &Pod<'_>, _: u32) -> Option<Fault> {
    const HANDLERS: [&[&str]; 5] = [
        &["livenessProbe"],
        &["readinessProbe"],
        &["startupProbe"],
        &["lifecycle", "postStart"],
        &["lifecycle", "preStop"],
    ];
    let (mut hosts, mut names) = (BTreeSet::new(), BTreeSet::new());
    for container in &pod.containers {
        for handler in HANDLERS.iter().filter_map(|path| at(container, path)) {
            for action in ["httpGet", "tcpSocket"] {
                let host = text(handler, &[action, "host"]);
                if !host.is_empty() {
                    hosts.insert(host);
                    names.insert(text(container, &["name"]));
                }
            }
        }
    }
    let names: Vec<&str> = names.into_iter().collect();
    (!names.is_empty()).then(|| {
        let detail = format!(
            "{} {} {} {}",
            containers(&names),
            plural(names.len(), "uses", "use"),
            plural(
                hosts.len(),
                "probe or lifecycle host",
                "probe or lifecycle hosts"
            ),
            sorted(&hosts)
        );
        ("probe or lifecycle host", detail)
    })
}

pub(super) fn privileged(pod: &Pod<'_>, _: u32) -> Option<Fault> {
    let names = pod.having(|container| flag(container, &["securityContext", "privileged"]));
    (!names.is_empty()).then(|| {
        let detail = format!(
            "{} must not set securityContext.privileged=true",
            containers(&names)
        );
        ("privileged", detail)
    })
}

pub(super) fn proc_mount(pod: &Pod<'_>, _: u32) -> Option<Fault> {
    let mut values = BTreeSet::new();
    let names = pod.having(|container| {
        let own = text(container, &["securityContext", "procMount"]);
        let wrong = !matches!(own, "" | "Default");
        if wrong {
            values.insert(own);
        }
        wrong
    });
    (!names.is_empty()).then(|| {
        let detail = format!(
            "{} must not set securityContext.procMount to {}",
            containers(&names),
            sorted(&values)
        );
        ("procMount", detail)
    })
}

pub(super) fn se_linux(pod: &Pod<'_>, minor: u32) -> Option<Fault> {
    let (mut types, mut user, mut role) = (BTreeSet::new(), false, false);
    let mut wrong = |owner| {
        let Some(own) = at(owner, &["securityContext", "seLinuxOptions"]) else {
            return false;
        };
        let kind = text(own, &["type"]);
        let allowed = match kind {
            "" | "container_t" | "container_init_t" | "container_kvm_t" => true,
            "container_engine_t" => minor >= 31,
            _ => false,
        };
        if !allowed {
            types.insert(kind);
        }
        let (has_user, has_role) = (
            !text(own, &["user"]).is_empty(),
            !text(own, &["role"]).is_empty(),
        );
        user |= has_user;
        role |= has_role;
        !allowed || has_user || has_role
    };
    let own = wrong(pod.spec);
    let names = pod.having(wrong);
    let setters = setters(own, &names);
    if setters.is_empty() {
        return None;
    }
    let mut what = Vec::new();
    if !types.is_empty() {
        let word = plural(types.len(), "type", "types");
        what.push(format!("{word} {}", sorted(&types)));
    }
    if user {
        what.push("user may not be set".to_owned());
    }
    if role {
        what.push("role may not be set".to_owned());
    }
    Some((
        "seLinuxOptions",
        format!(
            "{} set forbidden securityContext.seLinuxOptions: {}",
            setters.join(" and "),
            what.join("; ")
        ),
    ))
}

pub(super) fn sysctls(pod: &Pod<'_>, minor: u32) -> Option<Fault> {
    // Each with the version since which it is allowed.
    const ALLOWED: [(&str, u32); 14] = [
        ("kernel.shm_rmid_forced", 0),
        ("net.ipv4.ip_local_port_range", 0),
        ("net.ipv4.tcp_syncookies", 0),
        ("net.ipv4.ping_group_range", 0),
        ("net.ipv4.ip_unprivileged_port_start", 0),
        ("net.ipv4.ip_local_reserved_ports", 27),
        ("net.ipv4.tcp_keepalive_time", 29),
        ("net.ipv4.tcp_fin_timeout", 29),
        ("net.ipv4.tcp_keepalive_intvl", 29),
        ("net.ipv4.tcp_keepalive_probes", 29),
        ("net.ipv4.tcp_rmem", 32),
        ("net.ipv4.tcp_wmem", 32),
        ("net.ipv4.tcp_slow_start_after_idle", 37),
        ("net.ipv4.tcp_notsent_lowat", 37),
    ];
    let wrong: Vec<&str> = items(pod.spec, &["securityContext", "sysctls"])
        .iter()
        .map(|sysctl| text(sysctl, &["name"]))
        .filter(|name| {
            !ALLOWED
                .iter()
                .any(|(own, since)| own == name && minor >= *since)
        })
        .collect();
    (!wrong.is_empty()).then(|| ("forbidden sysctls", wrong.join(", ")))
}

pub(super) fn host_process(pod: &Pod<'_>, _: u32) -> Option<Fault> {
    let wrong = |owner: &Value| flag(owner, &["securityContext", "windowsOptions", "hostProcess"]);
    let setters = setters(wrong(pod.spec), &pod.having(wrong));
    (!setters.is_empty()).then(|| {
        let detail = format!(
            "{} must not set securityContext.windowsOptions.hostProcess=true",
            setters.join(" and ")
        );
        ("hostProcess", detail)
    })
}
