//! Checks of pods and pod templates.

use super::container::{Role, Surroundings, container, resources};
use super::scheduling::scheduling;
use super::{Errors, Path, resource_list, security};
use crate::values::{at, flag, int, items, text};
use consort_object::names;
use serde_json::Value;
use std::collections::HashSet;

const RESTART_POLICIES: &[&str] = &["Always", "OnFailure", "Never"];
const DNS_POLICIES: &[&str] = &["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"];

/// Check a new pod.
pub(crate) fn pod(pod: &Value, here: &Path<'_>, errors: &mut Errors) {
    let here = here.field("spec");
    let spec = &pod["spec"];
    pod_spec(spec, &here, errors);
    if !items(spec, &["ephemeralContainers"]).is_empty() {
        errors.forbidden(
            &here.field("ephemeralContainers"),
            "cannot be set on create",
        );
    }
    let gated = !items(spec, &["schedulingGates"]).is_empty();
    if gated && !text(spec, &["nodeName"]).is_empty() {
        errors.forbidden(
            &here.field("nodeName"),
            "cannot be set until all schedulingGates have been cleared",
        );
    }
}

/// Check a pod template.
pub(crate) fn pod_template(template: &Value, here: &Path<'_>, errors: &mut Errors) {
    super::metadata::template(template, here, errors);
    let spec = here.field("spec");
    pod_spec(&template["spec"], &spec, errors);
    if !items(template, &["spec", "ephemeralContainers"]).is_empty() {
        errors.forbidden(
            &spec.field("ephemeralContainers"),
            "ephemeral containers not allowed in pod template",
        );
    }
}

/// Check a pod's spec.
pub(super) fn pod_spec(spec: &Value, here: &Path<'_>, errors: &mut Errors) {
    let volumes = super::volume::volumes(spec, &here.field("volumes"), errors);
    let mut around = Surroundings {
        volumes,
        claims: claims(spec),
        names: HashSet::new(),
        host_ports: HashSet::new(),
    };
    if items(spec, &["containers"]).is_empty() {
        errors.required(&here.field("containers"), "");
    }
    for (list, role) in [
        ("containers", Role::Main),
        ("initContainers", Role::Init),
        ("ephemeralContainers", Role::Ephemeral),
    ] {
        let place = here.field(list);
        if role == Role::Init {
            // Init containers run one after the other: they may use the ports of later ones.
            around.host_ports.clear();
        }
        for (index, value) in items(spec, &[list]).iter().enumerate() {
            container(value, role, &mut around, &place.index(index), errors);
        }
    }
    targets(spec, &here.field("ephemeralContainers"), errors);
    host_network_ports(spec, here, errors);
    let policy = text(spec, &["restartPolicy"]);
    errors.one_of(&here.field("restartPolicy"), policy, RESTART_POLICIES);
    dns(spec, here, errors);
    shared_with_host(spec, here, errors);
    if let Some(context) = at(spec, &["securityContext"]) {
        security::pod(context, spec, &here.field("securityContext"), errors);
    }
    if let Some(value) = at(spec, &["resources"]) {
        resources(value, &here.field("resources"), errors);
    }
    simple_fields(spec, here, errors);
    lists(spec, here, errors);
    scheduling(spec, here, errors);
    operating_system(spec, here, errors);
}

/// The volumes that may be raw devices: those that claims give.
fn claims(spec: &Value) -> HashSet<&str> {
    items(spec, &["volumes"])
        .iter()
        .filter(|volume| {
            at(volume, &["persistentVolumeClaim"]).is_some() || at(volume, &["ephemeral"]).is_some()
        })
        .map(|volume| text(volume, &["name"]))
        .collect()
}

/// An ephemeral container may be pointed at one of the others.
fn targets(spec: &Value, list: &Path<'_>, errors: &mut Errors) {
    let others: HashSet<&str> = ["containers", "initContainers"]
        .iter()
        .flat_map(|list| items(spec, &[list]))
        .map(|container| text(container, &["name"]))
        .collect();
    for (index, container) in items(spec, &["ephemeralContainers"]).iter().enumerate() {
        let target = text(container, &["targetContainerName"]);
        if !target.is_empty() && !others.contains(target) {
            errors.not_found(&list.index(index).field("targetContainerName"), target);
        }
    }
}

fn host_network_ports(spec: &Value, here: &Path<'_>, errors: &mut Errors) {
    if !flag(spec, &["hostNetwork"]) {
        return;
    }
    let list = here.field("containers");
    for (index, container) in items(spec, &["containers"]).iter().enumerate() {
        let place = list.index(index);
        let place = place.field("ports");
        for (index, port) in items(container, &["ports"]).iter().enumerate() {
            let (host, own) = (int(port, &["hostPort"]), int(port, &["containerPort"]));
            if host != 0 && host != own {
                errors.invalid(
                    &place.index(index).field("containerPort"),
                    own,
                    "must match `hostPort` when `hostNetwork` is true",
                );
            }
        }
    }
}

fn dns(spec: &Value, here: &Path<'_>, errors: &mut Errors) {
    let policy = text(spec, &["dnsPolicy"]);
    errors.one_of(&here.field("dnsPolicy"), policy, DNS_POLICIES);
    let config = here.field("dnsConfig");
    let list = config.field("nameservers");
    let servers = items(spec, &["dnsConfig", "nameservers"]);
    if policy == "None" {
        if at(spec, &["dnsConfig"]).is_none() {
            errors.required(&config, "must provide `dnsConfig` when `dnsPolicy` is None");
            return;
        }
        if servers.is_empty() {
            errors.required(
                &list,
                "must provide at least one DNS nameserver when `dnsPolicy` is None",
            );
        }
    }
    if servers.len() > 3 {
        errors.invalid(
            &list,
            servers.to_vec(),
            "must not have more than 3 nameservers",
        );
    }
    for (index, server) in servers.iter().enumerate() {
        errors.ip(&list.index(index), server.as_str().unwrap_or_default());
    }
    let list = config.field("searches");
    let searches = items(spec, &["dnsConfig", "searches"]);
    if searches.len() > 32 {
        errors.invalid(
            &list,
            searches.to_vec(),
            "must not have more than 32 search paths",
        );
    }
    let texts: Vec<&str> = searches.iter().filter_map(Value::as_str).collect();
    if texts.join(" ").len() > 2048 {
        errors.invalid(
            &list,
            searches.to_vec(),
            "must not have more than 2048 characters (including spaces) in the search list",
        );
    }
    for (index, search) in texts.iter().enumerate() {
        let plain = search.strip_suffix('.').unwrap_or(search);
        if *search == "." {
            continue;
        }
        // Underscores are not allowed in names of this cluster's objects, but elsewhere they are.
        let relaxed: String = plain.replace('_', "-");
        let relaxed = relaxed.trim_matches('-');
        errors.check(
            &list.index(index),
            search,
            names::dns1123_subdomain(relaxed),
        );
    }
    let list = config.field("options");
    for (index, option) in items(spec, &["dnsConfig", "options"]).iter().enumerate() {
        if text(option, &["name"]).is_empty() {
            errors.required(&list.index(index), "must not be empty");
        }
    }
}

/// What a pod shares with its host, and what contradicts that.
fn shared_with_host(spec: &Value, here: &Path<'_>, errors: &mut Errors) {
    if flag(spec, &["shareProcessNamespace"]) && flag(spec, &["hostPID"]) {
        errors.invalid(
            &here.field("shareProcessNamespace"),
            true,
            "ShareProcessNamespace and HostPID cannot both be enabled",
        );
    }
    if at(spec, &["hostUsers"]).and_then(Value::as_bool) == Some(false) {
        for field in ["hostNetwork", "hostPID", "hostIPC"] {
            if flag(spec, &[field]) {
                errors.forbidden(&here.field(field), "when `hostUsers` is false");
            }
        }
    }
}

fn simple_fields(spec: &Value, here: &Path<'_>, errors: &mut Errors) {
    for field in [
        "serviceAccountName",
        "nodeName",
        "priorityClassName",
        "runtimeClassName",
    ] {
        errors.optional(
            &here.field(field),
            text(spec, &[field]),
            names::dns1123_subdomain,
        );
    }
    for field in ["hostname", "subdomain"] {
        errors.optional(
            &here.field(field),
            text(spec, &[field]),
            names::dns1123_label,
        );
    }
    if let Some(name) = at(spec, &["hostnameOverride"]).and_then(Value::as_str) {
        let place = here.field("hostnameOverride");
        errors.check(&place, name, names::dns1123_subdomain(name));
        if name.len() > 64 {
            errors.too_long(&place, 64);
        }
        if flag(spec, &["setHostnameAsFQDN"]) {
            errors.forbidden(&place, "cannot be set when setHostnameAsFQDN is true");
        }
        if flag(spec, &["hostNetwork"]) {
            errors.forbidden(&place, "cannot be set when hostNetwork is true");
        }
    }
    if let Some(seconds) = at(spec, &["activeDeadlineSeconds"]).and_then(Value::as_i64) {
        errors.between(
            &here.field("activeDeadlineSeconds"),
            seconds,
            1,
            i64::from(i32::MAX),
        );
    }
    if let Some(policy) = at(spec, &["preemptionPolicy"]).and_then(Value::as_str) {
        errors.supported(
            &here.field("preemptionPolicy"),
            policy,
            &["Never", "PreemptLowerPriority"],
        );
    }
    if let Some(overhead) = at(spec, &["overhead"]) {
        resource_list(overhead, &here.field("overhead"), errors);
    }
}

fn lists(spec: &Value, here: &Path<'_>, errors: &mut Errors) {
    let list = here.field("readinessGates");
    for (index, gate) in items(spec, &["readinessGates"]).iter().enumerate() {
        let kind = text(gate, &["conditionType"]);
        errors.check(
            &list.index(index).field("conditionType"),
            kind,
            names::qualified_name(kind),
        );
    }
    let list = here.field("hostAliases");
    for (index, alias) in items(spec, &["hostAliases"]).iter().enumerate() {
        let place = list.index(index);
        errors.ip(&place.field("ip"), text(alias, &["ip"]));
        let hosts = place.field("hostnames");
        for (index, name) in items(alias, &["hostnames"]).iter().enumerate() {
            let name = name.as_str().unwrap_or_default();
            errors.check(&hosts.index(index), name, names::dns1123_subdomain(name));
        }
    }
    let list = here.field("resourceClaims");
    let mut seen = HashSet::new();
    for (index, claim) in items(spec, &["resourceClaims"]).iter().enumerate() {
        let place = list.index(index);
        let name = text(claim, &["name"]);
        errors.named(&place.field("name"), name, names::dns1123_label);
        if !name.is_empty() && !seen.insert(name) {
            errors.duplicate(&place.field("name"), name);
        }
        let sources = ["resourceClaimName", "resourceClaimTemplateName"]
            .iter()
            .filter(|field| at(claim, &[field]).is_some())
            .count();
        match sources {
            0 => errors.invalid(
                &place,
                claim.clone(),
                "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`",
            ),
            1 => {}
            _ => errors.invalid(
                &place,
                claim.clone(),
                "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified",
            ),
        }
    }
}

/// Fields of a pod's spec that mean something on Linux alone.
const LINUX_ONLY: [&str; 4] = ["hostPID", "hostIPC", "hostUsers", "shareProcessNamespace"];
const LINUX_CONTEXT: [&str; 10] = [
    "appArmorProfile",
    "seLinuxOptions",
    "seccompProfile",
    "fsGroup",
    "fsGroupChangePolicy",
    "sysctls",
    "runAsUser",
    "runAsGroup",
    "supplementalGroups",
    "supplementalGroupsPolicy",
];
const LINUX_CONTAINER: [&str; 9] = [
    "appArmorProfile",
    "seLinuxOptions",
    "seccompProfile",
    "capabilities",
    "readOnlyRootFilesystem",
    "privileged",
    "allowPrivilegeEscalation",
    "procMount",
    "runAsUser",
];

fn operating_system(spec: &Value, here: &Path<'_>, errors: &mut Errors) {
    let Some(system) = at(spec, &["os"]) else {
        return;
    };
    let name = text(system, &["name"]);
    let place = here.field("os");
    if name.is_empty() {
        errors.required(&place.field("name"), "cannot be empty");
        return;
    }
    errors.supported(&place.field("name"), name, &["linux", "windows"]);
    let context = here.field("securityContext");
    if name == "linux" {
        let unset = "windows options cannot be set for a linux pod";
        if at(spec, &["securityContext", "windowsOptions"]).is_some() {
            errors.forbidden(&context.field("windowsOptions"), unset);
        }
        each_context(spec, here, errors, |own, place, errors| {
            if at(own, &["windowsOptions"]).is_some() {
                errors.forbidden(&place.field("windowsOptions"), unset);
            }
        });
    }
    if name == "windows" {
        let unset = "cannot be set for a windows pod";
        for field in LINUX_ONLY {
            if at(spec, &[field]).is_some_and(|value| value != &Value::Bool(false)) {
                errors.forbidden(&here.field(field), unset);
            }
        }
        for field in LINUX_CONTEXT {
            if at(spec, &["securityContext", field]).is_some() {
                errors.forbidden(&context.field(field), unset);
            }
        }
        each_context(spec, here, errors, |own, place, errors| {
            for field in LINUX_CONTAINER.iter().chain(&["runAsGroup"]) {
                if at(own, &[field]).is_some() {
                    errors.forbidden(&place.field(field), unset);
                }
            }
        });
    }
}

fn each_context(
    spec: &Value,
    here: &Path<'_>,
    errors: &mut Errors,
    check: impl Fn(&Value, &Path<'_>, &mut Errors),
) {
    for field in ["containers", "initContainers", "ephemeralContainers"] {
        let list = here.field(field);
        for (index, container) in items(spec, &[field]).iter().enumerate() {
            if let Some(context) = at(container, &["securityContext"]) {
                let place = list.index(index);
                check(context, &place.field("securityContext"), errors);
            }
        }
    }
}

/// What upstream warns of in a pod (or, below `at`, in a template) that it takes all the same.
pub(crate) fn pod_warnings(spec: &Value, at_spec: &str) -> Vec<String> {
    let mut all = Vec::new();
    for field in ["containers", "initContainers"] {
        for (index, container) in items(spec, &[field]).iter().enumerate() {
            let place = format!("{at_spec}.{field}[{index}]");
            let mut seen = HashSet::new();
            for (index, variable) in items(container, &["env"]).iter().enumerate() {
                let name = text(variable, &["name"]);
                if !seen.insert(name) {
                    all.push(format!("{place}.env[{index}]: hides previous definition of {name:?}, which may be dropped when using apply"));
                }
            }
            for list in ["limits", "requests"] {
                for (name, amount) in crate::values::members(container, &["resources", list]) {
                    let fraction = amount.as_str().is_some_and(|amount| {
                        (name == "memory" || name == "ephemeral-storage") && amount.ends_with('m')
                    });
                    if fraction {
                        all.push(format!(
                            "{place}.resources.{list}[{name}]: fractional byte value {:?} is invalid, must be an integer",
                            amount.as_str().unwrap_or_default()
                        ));
                    }
                }
            }
        }
    }
    for (index, secret) in items(spec, &["imagePullSecrets"]).iter().enumerate() {
        if text(secret, &["name"]).is_empty() {
            all.push(format!(
                "{at_spec}.imagePullSecrets[{index}]: invalid empty name \"\""
            ));
        }
    }
    for (index, alias) in items(spec, &["hostAliases"]).iter().enumerate() {
        if text(alias, &["ip"]).is_empty() {
            all.push(format!("{at_spec}.hostAliases[{index}].ip: required"));
        }
    }
    let seconds = int(spec, &["terminationGracePeriodSeconds"]);
    if seconds < 0 {
        all.push(format!("{at_spec}.terminationGracePeriodSeconds: must be >= 0; negative values are invalid and will be treated as 1"));
    }
    all
}
