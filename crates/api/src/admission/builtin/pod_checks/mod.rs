//! What the pod security levels `baseline` and `restricted` forbid, version by version. Pure.

mod baseline;
mod pod;
mod restricted;
mod seccomp;

use self::baseline::{
    added_capabilities, app_armor, host_namespaces, host_paths, host_ports, host_probes,
    host_process, privileged, proc_mount, se_linux, sysctls,
};
use self::pod::Pod;
use self::restricted::{
    dropped_capabilities, non_root, privilege_escalation, root_user, volume_types,
};
use self::seccomp::{seccomp_baseline, seccomp_restricted};
use crate::values::{at, text};
use serde_json::Value;
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
