//! What the pod security levels `baseline` and `restricted` forbid, version by version. Pure.

use crate::values::{at, flag, int, items, members, text};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fmt;

/// How much a pod may do; a greater one allows less.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    /// Everything.
    #[default]
    Privileged,
    /// Nothing by which privileges are known to be gained.
    Baseline,
    /// What a hardened pod needs.
    Restricted,
}

impl Level {
    pub(super) fn parse(text: &str) -> Option<Self> {
        match text {
            "privileged" => Some(Self::Privileged),
            "baseline" => Some(Self::Baseline),
            "restricted" => Some(Self::Restricted),
            _ => None,
        }
    }
}

/// The version whose rules hold: of Kubernetes 1.x, or the latest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Version {
    #[default]
    Latest,
    Minor(u32),
}

impl Version {
    pub(super) fn parse(text: &str) -> Option<Self> {
        if text == "latest" {
            return Some(Self::Latest);
        }
        let minor = text.strip_prefix("v1.")?;
        let digits = minor.bytes().all(|byte| byte.is_ascii_digit());
        let plain = digits && (minor == "0" || !minor.starts_with('0'));
        plain.then(|| minor.parse().ok().map(Self::Minor))?
    }

    fn minor(self) -> u32 {
        match self {
            Self::Latest => u32::MAX,
            Self::Minor(minor) => minor,
        }
    }
}

/// A level in a version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Limits {
    pub(super) level: Level,
    pub(super) version: Version,
}

impl fmt::Display for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.level {
            Level::Privileged => "privileged:",
            Level::Baseline => "baseline:",
            Level::Restricted => "restricted:",
        })?;
        match self.version {
            Version::Latest => f.write_str("latest"),
            Version::Minor(minor) => write!(f, "v1.{minor}"),
        }
    }
}

/// What is wrong with a pod: a reason, and where.
type Fault = (&'static str, String);

/// All that is wrong with a pod.
#[derive(Debug)]
pub(super) struct Verdict(Vec<Fault>);

impl Verdict {
    pub(super) fn allowed(&self) -> bool {
        self.0.is_empty()
    }

    /// The reasons alone.
    pub(super) fn reasons(&self) -> String {
        let reasons: Vec<&str> = self.0.iter().map(|(reason, _)| *reason).collect();
        reasons.join(", ")
    }

    /// The reasons with their places.
    pub(super) fn details(&self) -> String {
        let all: Vec<String> = self
            .0
            .iter()
            .map(|(reason, detail)| format!("{reason} ({detail})"))
            .collect();
        all.join(", ")
    }
}

/// Hold a pod, or a template of pods, against a level.
pub(super) fn evaluate(limits: &Limits, pod: &Value) -> Verdict {
    let mut faults = Vec::new();
    if limits.level == Level::Privileged {
        return Verdict(faults);
    }
    let pod = Pod::new(pod);
    let minor = limits.version.minor();
    let restricted = limits.level == Level::Restricted;
    let windows = text(pod.spec, &["os", "name"]) == "windows" && minor >= 25;
    // A pod with users of its own is root only in name.
    let own_users = at(pod.spec, &["hostUsers"]) == Some(&Value::Bool(false)) && minor >= 35;
    let mut hold = |applies: bool, check: fn(&Pod<'_>, u32) -> Option<Fault>| {
        if applies {
            faults.extend(check(&pod, minor));
        }
    };
    // In the order in which upstream tells of them: by name, those of baseline first.
    hold(true, app_armor);
    hold(!(restricted && minor >= 22), added_capabilities);
    hold(true, host_namespaces);
    hold(!restricted, host_paths);
    hold(true, host_ports);
    hold(minor >= 34, host_probes);
    hold(true, privileged);
    hold(!own_users && (!restricted || minor < 35), proc_mount);
    hold(true, se_linux);
    hold(!(restricted && minor >= 19), seccomp_baseline);
    hold(true, sysctls);
    hold(true, host_process);
    if restricted {
        hold(minor >= 8 && !windows, privilege_escalation);
        hold(minor >= 22 && !windows, dropped_capabilities);
        hold(minor >= 35, proc_mount);
        hold(true, volume_types);
        hold(!own_users, non_root);
        hold(minor >= 23 && !own_users, root_user);
        hold(minor >= 19 && !windows, seccomp_restricted);
    }
    Verdict(faults)
}

struct Pod<'p> {
    meta: &'p Value,
    spec: &'p Value,
    /// Init containers, containers, ephemeral ones.
    containers: Vec<&'p Value>,
}

impl<'p> Pod<'p> {
    fn new(pod: &'p Value) -> Self {
        let spec = &pod["spec"];
        let lists = ["initContainers", "containers", "ephemeralContainers"];
        Self {
            meta: &pod["metadata"],
            spec,
            containers: lists.iter().flat_map(|list| items(spec, &[list])).collect(),
        }
    }

    /// The names of the containers of which `wrong` holds.
    fn having(&self, mut wrong: impl FnMut(&'p Value) -> bool) -> Vec<&'p str> {
        let bad = self.containers.iter().filter(|container| wrong(container));
        bad.map(|container| text(container, &["name"])).collect()
    }

    fn annotations(&self) -> impl Iterator<Item = (&'p str, &'p str)> {
        members(self.meta, &["annotations"])
            .map(|(key, value)| (key, value.as_str().unwrap_or_default()))
    }
}

fn quoted<S: AsRef<str>>(list: &[S]) -> String {
    let all: Vec<String> = list
        .iter()
        .map(|own| format!("\"{}\"", own.as_ref()))
        .collect();
    all.join(", ")
}

fn sorted(set: &BTreeSet<&str>) -> String {
    quoted(&set.iter().collect::<Vec<_>>())
}

fn plural(count: usize, one: &'static str, more: &'static str) -> &'static str {
    if count == 1 { one } else { more }
}

fn containers(names: &[&str]) -> String {
    let word = plural(names.len(), "container", "containers");
    format!("{word} {}", quoted(names))
}

/// `pod`, `container "a"`, or both.
fn setters(pod: bool, names: &[&str]) -> Vec<String> {
    let mut setters = Vec::new();
    if pod {
        setters.push("pod".to_owned());
    }
    if !names.is_empty() {
        setters.push(containers(names));
    }
    setters
}

fn app_armor(pod: &Pod<'_>, _: u32) -> Option<Fault> {
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

fn added_capabilities(pod: &Pod<'_>, _: u32) -> Option<Fault> {
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
fn adding<'p>(pod: &Pod<'p>, allowed: &[&str]) -> (Vec<&'p str>, BTreeSet<&'p str>) {
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

fn capabilities<'p>(container: &'p Value, list: &str) -> impl Iterator<Item = &'p str> {
    items(container, &["securityContext", "capabilities", list])
        .iter()
        .filter_map(Value::as_str)
}

fn host_namespaces(pod: &Pod<'_>, _: u32) -> Option<Fault> {
    let used: Vec<String> = ["hostNetwork", "hostPID", "hostIPC"]
        .into_iter()
        .filter(|field| flag(pod.spec, &[field]))
        .map(|field| format!("{field}=true"))
        .collect();
    (!used.is_empty()).then(|| ("host namespaces", used.join(", ")))
}

fn host_paths(pod: &Pod<'_>, _: u32) -> Option<Fault> {
    let names: Vec<&str> = items(pod.spec, &["volumes"])
        .iter()
        .filter(|volume| at(volume, &["hostPath"]).is_some())
        .map(|volume| text(volume, &["name"]))
        .collect();
    let word = plural(names.len(), "volume", "volumes");
    (!names.is_empty()).then(|| ("hostPath volumes", format!("{word} {}", quoted(&names))))
}

fn host_ports(pod: &Pod<'_>, _: u32) -> Option<Fault> {
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

fn host_probes(pod: &Pod<'_>, _: u32) -> Option<Fault> {
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

fn privileged(pod: &Pod<'_>, _: u32) -> Option<Fault> {
    let names = pod.having(|container| flag(container, &["securityContext", "privileged"]));
    (!names.is_empty()).then(|| {
        let detail = format!(
            "{} must not set securityContext.privileged=true",
            containers(&names)
        );
        ("privileged", detail)
    })
}

fn proc_mount(pod: &Pod<'_>, _: u32) -> Option<Fault> {
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

fn se_linux(pod: &Pod<'_>, minor: u32) -> Option<Fault> {
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

/// Before there were fields for it, profiles were annotations.
fn seccomp_annotations(pod: &Pod<'_>) -> Option<Fault> {
    const POD: &str = "seccomp.security.alpha.kubernetes.io/pod";
    const CONTAINER: &str = "container.seccomp.security.alpha.kubernetes.io/";
    let known = |name: &str| {
        pod.containers
            .iter()
            .any(|own| text(own, &["name"]) == name)
    };
    let wrong: BTreeSet<String> = pod
        .annotations()
        .filter(|(key, _)| *key == POD || key.strip_prefix(CONTAINER).is_some_and(known))
        .filter(|(_, value)| {
            !matches!(*value, "runtime/default" | "docker/default")
                && !value.starts_with("localhost/")
        })
        .map(|(key, value)| format!("{key}={value:?}"))
        .collect();
    (!wrong.is_empty()).then(|| {
        let word = plural(wrong.len(), "annotation", "annotations");
        let all: Vec<String> = wrong.into_iter().collect();
        (
            "seccompProfile",
            format!("forbidden {word} {}", all.join(", ")),
        )
    })
}

/// The profile of a pod or a container, if it says one.
fn seccomp(owner: &Value) -> Option<&str> {
    at(owner, &["securityContext", "seccompProfile"]).map(|own| text(own, &["type"]))
}

fn seccomp_allowed(kind: &str) -> bool {
    matches!(kind, "RuntimeDefault" | "Localhost")
}

fn seccomp_wrong(pod: &Pod<'_>) -> Option<Fault> {
    let mut values = BTreeSet::new();
    let mut wrong = |owner| match seccomp(owner) {
        Some(kind) if !seccomp_allowed(kind) => {
            values.insert(kind);
            true
        }
        _ => false,
    };
    let own = wrong(pod.spec);
    let names = pod.having(wrong);
    let setters = setters(own, &names);
    (!setters.is_empty()).then(|| {
        let detail = format!(
            "{} must not set securityContext.seccompProfile.type to {}",
            setters.join(" and "),
            sorted(&values)
        );
        ("seccompProfile", detail)
    })
}

fn seccomp_baseline(pod: &Pod<'_>, minor: u32) -> Option<Fault> {
    if minor < 19 {
        seccomp_annotations(pod)
    } else {
        seccomp_wrong(pod)
    }
}

fn seccomp_restricted(pod: &Pod<'_>, _: u32) -> Option<Fault> {
    if let Some(fault) = seccomp_wrong(pod) {
        return Some(fault);
    }
    if seccomp(pod.spec).is_some() {
        return None;
    }
    let names = pod.having(|container| seccomp(container).is_none());
    (!names.is_empty()).then(|| {
        let detail = format!(
            "pod or {} must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\"",
            containers(&names)
        );
        ("seccompProfile", detail)
    })
}

fn sysctls(pod: &Pod<'_>, minor: u32) -> Option<Fault> {
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

fn host_process(pod: &Pod<'_>, _: u32) -> Option<Fault> {
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

fn privilege_escalation(pod: &Pod<'_>, _: u32) -> Option<Fault> {
    let path = ["securityContext", "allowPrivilegeEscalation"];
    let names = pod.having(|container| at(container, &path) != Some(&Value::Bool(false)));
    (!names.is_empty()).then(|| {
        let detail = format!(
            "{} must set securityContext.allowPrivilegeEscalation=false",
            containers(&names)
        );
        ("allowPrivilegeEscalation != false", detail)
    })
}

fn dropped_capabilities(pod: &Pod<'_>, _: u32) -> Option<Fault> {
    let keeping = pod.having(|container| !capabilities(container, "drop").any(|own| own == "ALL"));
    let (names, added) = adding(pod, &["NET_BIND_SERVICE"]);
    let mut details = Vec::new();
    if !keeping.is_empty() {
        details.push(format!(
            "{} must set securityContext.capabilities.drop=[\"ALL\"]",
            containers(&keeping)
        ));
    }
    if !names.is_empty() {
        details.push(format!(
            "{} must not include {} in securityContext.capabilities.add",
            containers(&names),
            sorted(&added)
        ));
    }
    (!details.is_empty()).then(|| ("unrestricted capabilities", details.join("; ")))
}

fn volume_types(pod: &Pod<'_>, _: u32) -> Option<Fault> {
    const ALLOWED: [&str; 9] = [
        "configMap",
        "csi",
        "downwardAPI",
        "emptyDir",
        "ephemeral",
        "image",
        "persistentVolumeClaim",
        "projected",
        "secret",
    ];
    let (mut names, mut types) = (Vec::new(), BTreeSet::new());
    for volume in items(pod.spec, &["volumes"]) {
        let kinds = || {
            members(volume, &[])
                .filter(|(key, value)| *key != "name" && !value.is_null())
                .map(|(key, _)| key)
        };
        if kinds().any(|kind| ALLOWED.contains(&kind)) {
            continue;
        }
        names.push(text(volume, &["name"]));
        types.insert(kinds().next().unwrap_or("unknown"));
    }
    (!names.is_empty()).then(|| {
        let detail = format!(
            "{} {} {} {} {}",
            plural(names.len(), "volume", "volumes"),
            quoted(&names),
            plural(names.len(), "uses", "use"),
            plural(
                types.len(),
                "restricted volume type",
                "restricted volume types"
            ),
            sorted(&types)
        );
        ("restricted volume types", detail)
    })
}

fn non_root(pod: &Pod<'_>, _: u32) -> Option<Fault> {
    let said =
        |owner: &Value| at(owner, &["securityContext", "runAsNonRoot"]).and_then(Value::as_bool);
    let own = said(pod.spec);
    let wrong = setters(
        own == Some(false),
        &pod.having(|container| said(container) == Some(false)),
    );
    if !wrong.is_empty() {
        let detail = format!(
            "{} must not set securityContext.runAsNonRoot=false",
            wrong.join(" and ")
        );
        return Some(("runAsNonRoot != true", detail));
    }
    let silent = pod.having(|container| own != Some(true) && said(container).is_none());
    (!silent.is_empty()).then(|| {
        let detail = format!(
            "pod or {} must set securityContext.runAsNonRoot=true",
            containers(&silent)
        );
        ("runAsNonRoot != true", detail)
    })
}

fn root_user(pod: &Pod<'_>, _: u32) -> Option<Fault> {
    let root = |owner: &Value| {
        at(owner, &["securityContext", "runAsUser"]).and_then(Value::as_i64) == Some(0)
    };
    let setters = setters(root(pod.spec), &pod.having(root));
    (!setters.is_empty()).then(|| {
        let detail = format!("{} must not set runAsUser=0", setters.join(" and "));
        ("runAsUser=0", detail)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// What is wrong with a pod at a level such as `baseline` or `restricted:v1.22`.
    fn faults(level: &str, pod: &Value) -> String {
        let (level, version) = level.split_once(':').unwrap_or((level, "latest"));
        let limits = Limits {
            level: Level::parse(level).unwrap(),
            version: Version::parse(version).unwrap(),
        };
        evaluate(&limits, pod).details()
    }

    #[test]
    fn baseline_forbids_known_ways_to_privileges() {
        let spec = |spec: Value| json!({"spec": spec});
        let one = |context: Value| json!({"spec": {"containers": [{"name": "a", "securityContext": context}]}});
        let container = |fields: Value| json!({"spec": {"containers": [fields]}});
        let cases = [
            (
                "baseline",
                spec(json!({"hostNetwork": true, "hostIPC": true})),
                "host namespaces (hostNetwork=true, hostIPC=true)",
            ),
            (
                "baseline",
                spec(
                    json!({"volumes": [{"name": "v", "hostPath": {}}, {"name": "w", "hostPath": {}}]}),
                ),
                "hostPath volumes (volumes \"v\", \"w\")",
            ),
            (
                "baseline",
                container(json!({"name": "a", "ports": [{"hostPort": 80}, {"hostPort": 8080}]})),
                "hostPort (container \"a\" uses hostPorts 80, 8080)",
            ),
            (
                "baseline",
                one(json!({"privileged": true})),
                "privileged (container \"a\" must not set securityContext.privileged=true)",
            ),
            (
                "baseline",
                one(json!({"capabilities": {"add": ["NET_RAW", "CHOWN"]}})),
                "non-default capabilities (container \"a\" must not include \"NET_RAW\" in securityContext.capabilities.add)",
            ),
            (
                "baseline",
                one(json!({"procMount": "Unmasked"})),
                "procMount (container \"a\" must not set securityContext.procMount to \"Unmasked\")",
            ),
            (
                "baseline",
                one(json!({"seLinuxOptions": {"type": "foo_t", "user": "u"}})),
                "seLinuxOptions (container \"a\" set forbidden securityContext.seLinuxOptions: type \"foo_t\"; user may not be set)",
            ),
            (
                "baseline",
                one(json!({"seccompProfile": {"type": "Unconfined"}})),
                "seccompProfile (container \"a\" must not set securityContext.seccompProfile.type to \"Unconfined\")",
            ),
            (
                "baseline",
                one(json!({"windowsOptions": {"hostProcess": true}})),
                "hostProcess (container \"a\" must not set securityContext.windowsOptions.hostProcess=true)",
            ),
            (
                "baseline",
                one(json!({"appArmorProfile": {"type": "Unconfined"}})),
                "forbidden AppArmor profile (container \"a\" must not set AppArmor profile type to \"Unconfined\")",
            ),
            (
                "baseline",
                spec(
                    json!({"securityContext": {"sysctls": [{"name": "kernel.msgmax"}, {"name": "net.ipv4.tcp_rmem"}]}}),
                ),
                "forbidden sysctls (kernel.msgmax)",
            ),
            (
                "baseline:v1.31",
                spec(json!({"securityContext": {"sysctls": [{"name": "net.ipv4.tcp_rmem"}]}})),
                "forbidden sysctls (net.ipv4.tcp_rmem)",
            ),
            (
                "baseline",
                container(json!({"name": "a", "livenessProbe": {"httpGet": {"host": "1.2.3.4"}}})),
                "probe or lifecycle host (container \"a\" uses probe or lifecycle host \"1.2.3.4\")",
            ),
            (
                "baseline:v1.33",
                container(json!({"name": "a", "livenessProbe": {"httpGet": {"host": "1.2.3.4"}}})),
                "",
            ),
            (
                "baseline:v1.18",
                json!({"metadata": {"annotations": {"seccomp.security.alpha.kubernetes.io/pod": "unconfined"}},
                    "spec": {"containers": [{"name": "a"}]}}),
                "seccompProfile (forbidden annotation seccomp.security.alpha.kubernetes.io/pod=\"unconfined\")",
            ),
            ("baseline", one(json!({})), ""),
        ];
        for (level, pod, expected) in cases {
            assert_eq!(faults(level, &pod), expected, "{pod}");
            assert_eq!(faults("privileged", &pod), "");
        }
    }

    #[test]
    fn restricted_wants_a_hardened_pod() {
        let hardened = json!({
            "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{"name": "a", "securityContext":
                {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}}}],
        });
        let with = |path: &str, value: Value| {
            let mut spec = hardened.clone();
            *spec.pointer_mut(path).unwrap() = value;
            json!({"spec": spec})
        };
        let context = "/containers/0/securityContext";
        let cases = [
            ("restricted", with("/containers/0/name", "b".into()), ""),
            (
                "restricted",
                with(
                    context,
                    json!({"allowPrivilegeEscalation": false,
                    "capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE", "CHOWN"]}}),
                ),
                "unrestricted capabilities (container \"a\" must not include \"CHOWN\" in securityContext.capabilities.add)",
            ),
            // What is only said since 1.22 is not asked of a pod before.
            (
                "restricted:v1.21",
                with(context, json!({"allowPrivilegeEscalation": false})),
                "",
            ),
            (
                "restricted",
                with("/securityContext/runAsNonRoot", false.into()),
                "runAsNonRoot != true (pod must not set securityContext.runAsNonRoot=false)",
            ),
            (
                "restricted",
                with(
                    "/securityContext",
                    json!({"runAsNonRoot": true, "runAsUser": 0, "seccompProfile": {"type": "Localhost"}}),
                ),
                "runAsUser=0 (pod must not set runAsUser=0)",
            ),
            (
                "restricted",
                with("/securityContext", json!({"runAsNonRoot": true})),
                "seccompProfile (pod or container \"a\" must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\")",
            ),
        ];
        for (level, pod, expected) in cases {
            assert_eq!(faults(level, &pod), expected, "{pod}");
        }
        let mut volumes = json!({"spec": hardened.clone()});
        volumes["spec"]["volumes"] = json!([{"name": "a", "emptyDir": {}}, {"name": "b", "hostPath": {}}, {"name": "c", "nfs": {}}]);
        assert_eq!(
            faults("restricted", &volumes),
            "restricted volume types (volumes \"b\", \"c\" use restricted volume types \"hostPath\", \"nfs\")"
        );
        let mut windows = json!({"spec": {"os": {"name": "windows"}, "containers": [{"name": "a"}],
            "securityContext": {"runAsNonRoot": true}}});
        assert_eq!(faults("restricted", &windows), "");
        assert_ne!(faults("restricted:v1.24", &windows), "");
        windows["spec"]["hostUsers"] = false.into();
        windows["spec"]["securityContext"] = Value::Null;
        assert_eq!(faults("restricted", &windows), "");
    }

    #[test]
    fn versions_are_latest_or_of_one() {
        assert_eq!(Version::parse("latest"), Some(Version::Latest));
        assert_eq!(Version::parse("v1.0"), Some(Version::Minor(0)));
        assert_eq!(Version::parse("v1.99"), Some(Version::Minor(99)));
        for wrong in [
            "",
            "1.1",
            "v1",
            "v1.",
            "v1.01",
            "v2.1",
            "v1.x",
            "v1.-1",
            "v1.99999999999",
        ] {
            assert_eq!(Version::parse(wrong), None, "{wrong}");
        }
    }
}
