//! Checks of containers.

use super::mounts::{devices, mounts};
use super::resources::{amount, extended};
use super::{Errors, Path, probe, resource_list, security};
use crate::values::{at, int, items, members, text};
use consort_object::names;
use serde_json::Value;
use std::collections::HashSet;

const PULL_POLICIES: &[&str] = &["Always", "IfNotPresent", "Never"];
const PROTOCOLS: &[&str] = &["SCTP", "TCP", "UDP"];
const MESSAGE_POLICIES: &[&str] = &["FallbackToLogsOnError", "File"];
const FIELD_PATHS: &[&str] = &[
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];
const RESOURCE_FIELDS: &[&str] = &[
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
];

/// Which list of the pod a container is in: the rules differ.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// `containers`
    Main,
    /// `initContainers`
    Init,
    /// `ephemeralContainers`
    Ephemeral,
}

/// What a container may refer to in its pod, and what must be unique across containers.
pub(super) struct Surroundings<'a> {
    /// Names of the pod's volumes.
    pub volumes: HashSet<&'a str>,
    /// Names of those that claims give: they may be raw devices.
    pub claims: HashSet<&'a str>,
    /// Names of containers seen so far.
    pub names: HashSet<&'a str>,
    /// Host ports taken so far.
    pub host_ports: HashSet<String>,
}

/// Check one container.
pub(super) fn container<'a>(
    container: &'a Value,
    role: Role,
    around: &mut Surroundings<'a>,
    here: &Path<'_>,
    errors: &mut Errors,
) {
    let name = text(container, &["name"]);
    if name.is_empty() {
        errors.required(&here.field("name"), "");
    } else {
        errors.check(&here.field("name"), name, names::dns1123_label(name));
        if !around.names.insert(name) {
            errors.duplicate(&here.field("name"), name);
        }
    }
    let image = text(container, &["image"]);
    if image.is_empty() {
        errors.required(&here.field("image"), "");
    } else if image.trim() != image {
        errors.invalid(
            &here.field("image"),
            image,
            "must not have leading or trailing whitespace",
        );
    }
    errors.one_of(
        &here.field("imagePullPolicy"),
        text(container, &["imagePullPolicy"]),
        PULL_POLICIES,
    );
    let policy = text(container, &["terminationMessagePolicy"]);
    if !policy.is_empty() && !MESSAGE_POLICIES.contains(&policy) {
        errors.not_supported(
            &here.field("terminationMessagePolicy"),
            policy,
            MESSAGE_POLICIES,
        );
    }
    ports(container, role, around, &here.field("ports"), errors);
    environment(container, here, errors);
    mounts(
        container,
        role,
        &around.volumes,
        &here.field("volumeMounts"),
        errors,
    );
    devices(container, around, &here.field("volumeDevices"), errors);
    resize_policy(container, role, &here.field("resizePolicy"), errors);
    if let Some(resources) = at(container, &["resources"]) {
        let place = here.field("resources");
        let empty = resources.as_object().is_some_and(serde_json::Map::is_empty);
        if role == Role::Ephemeral && !empty {
            errors.forbidden(&place, "cannot be set for an Ephemeral Container");
        } else {
            self::resources(resources, &place, errors);
        }
    }
    if let Some(context) = at(container, &["securityContext"]) {
        security::container(context, &here.field("securityContext"), errors);
    }
    restart_and_probes(container, role, here, errors);
}

fn restart_and_probes(container: &Value, role: Role, here: &Path<'_>, errors: &mut Errors) {
    let restart = text(container, &["restartPolicy"]);
    let sidecar = role == Role::Init && restart == "Always";
    if !restart.is_empty() {
        match role {
            Role::Main | Role::Init => errors.supported(
                &here.field("restartPolicy"),
                restart,
                &["Always", "Never", "OnFailure"],
            ),
            Role::Ephemeral => errors.forbidden(
                &here.field("restartPolicy"),
                "may not be set for ephemeral containers",
            ),
        }
    }
    let allowed = role == Role::Main || sidecar;
    let refusal = if role == Role::Ephemeral {
        "cannot be set for an Ephemeral Container"
    } else {
        "may not be set for init containers without restartPolicy=Always"
    };
    for (field, liveness) in [
        ("livenessProbe", true),
        ("readinessProbe", false),
        ("startupProbe", true),
    ] {
        if let Some(value) = at(container, &[field]) {
            let place = here.field(field);
            if allowed {
                probe::probe(value, liveness, &place, errors);
            } else {
                errors.forbidden(&place, refusal);
            }
        }
    }
    if let Some(lifecycle) = at(container, &["lifecycle"]) {
        let place = here.field("lifecycle");
        if allowed {
            for hook in ["postStart", "preStop"] {
                if let Some(hook_value) = at(lifecycle, &[hook]) {
                    probe::handler(hook_value, true, &place.field(hook), errors);
                }
            }
        } else {
            errors.forbidden(&place, refusal);
        }
    }
}

fn ports(
    container: &Value,
    role: Role,
    around: &mut Surroundings<'_>,
    here: &Path<'_>,
    errors: &mut Errors,
) {
    let mut seen = HashSet::new();
    for (index, port) in items(container, &["ports"]).iter().enumerate() {
        let here = here.index(index);
        if role == Role::Ephemeral {
            errors.forbidden(&here, "cannot be set for an Ephemeral Container");
            continue;
        }
        let name = text(port, &["name"]);
        if !name.is_empty() {
            errors.check(&here.field("name"), name, names::port_name(name));
            if !seen.insert(name) {
                errors.duplicate(&here.field("name"), name);
            }
        }
        match int(port, &["containerPort"]) {
            0 => errors.required(&here.field("containerPort"), ""),
            number => errors.port(&here.field("containerPort"), number),
        }
        let host = int(port, &["hostPort"]);
        let protocol = text(port, &["protocol"]);
        if host != 0 {
            errors.port(&here.field("hostPort"), host);
            let taken = format!("{protocol}/{}/{host}", text(port, &["hostIP"]));
            if !around.host_ports.insert(taken.clone()) {
                errors.duplicate(&here.field("hostPort"), taken);
            }
        }
        errors.one_of(&here.field("protocol"), protocol, PROTOCOLS);
    }
}

fn environment(container: &Value, here: &Path<'_>, errors: &mut Errors) {
    let list = here.field("env");
    for (index, variable) in items(container, &["env"]).iter().enumerate() {
        let here = list.index(index);
        let name = text(variable, &["name"]);
        if name.is_empty() {
            errors.required(&here.field("name"), "");
        } else if let Err(detail) = names::env_var_name(name) {
            errors.invalid(&here.field("name"), name, detail);
        }
        if let Some(from) = at(variable, &["valueFrom"]) {
            value_from(variable, from, &here.field("valueFrom"), errors);
        }
    }
    let list = here.field("envFrom");
    for (index, source) in items(container, &["envFrom"]).iter().enumerate() {
        let here = list.index(index);
        let prefix = text(source, &["prefix"]);
        if !prefix.is_empty()
            && let Err(detail) = names::env_var_name(prefix)
        {
            errors.invalid(&here.field("prefix"), prefix, detail);
        }
        let mut sources = 0;
        for kind in ["configMapRef", "secretRef"] {
            if let Some(reference) = at(source, &[kind]) {
                sources += 1;
                if text(reference, &["name"]).is_empty() {
                    errors.required(&here.field(kind).field("name"), "");
                }
            }
        }
        match sources {
            0 => errors.invalid(
                &here,
                "",
                "must specify one of: `configMapRef` or `secretRef`",
            ),
            1 => {}
            _ => errors.invalid(
                &here,
                "",
                "may not have more than one field specified at a time",
            ),
        }
    }
}

fn value_from(variable: &Value, from: &Value, here: &Path<'_>, errors: &mut Errors) {
    let mut sources = 0;
    if let Some(field) = at(from, &["fieldRef"]) {
        sources += 1;
        field_ref(field, FIELD_PATHS, &here.field("fieldRef"), errors);
    }
    if let Some(resource) = at(from, &["resourceFieldRef"]) {
        sources += 1;
        resource_ref(resource, true, &here.field("resourceFieldRef"), errors);
    }
    for kind in ["configMapKeyRef", "secretKeyRef"] {
        if let Some(reference) = at(from, &[kind]) {
            sources += 1;
            let here = here.field(kind);
            if text(reference, &["name"]).is_empty() {
                errors.required(&here.field("name"), "");
            }
            let key = text(reference, &["key"]);
            if key.is_empty() {
                errors.required(&here.field("key"), "");
            } else {
                errors.check(&here.field("key"), key, names::config_map_key(key));
            }
        }
    }
    if at(from, &["fileKeyRef"]).is_some() {
        sources += 1;
    }
    if sources == 0 {
        errors.invalid(
            here,
            "",
            "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`",
        );
    } else if !text(variable, &["value"]).is_empty() {
        errors.invalid(here, "", "may not be specified when `value` is not empty");
    } else if sources > 1 {
        errors.invalid(
            here,
            "",
            "may not have more than one field specified at a time",
        );
    }
}

/// Check a reference to a field of the pod; `supported` are those the place can show.
pub(super) fn field_ref(field: &Value, supported: &[&str], here: &Path<'_>, errors: &mut Errors) {
    let version = text(field, &["apiVersion"]);
    if version.is_empty() {
        errors.required(&here.field("apiVersion"), "");
        return;
    }
    let path = text(field, &["fieldPath"]);
    if path.is_empty() {
        errors.required(&here.field("fieldPath"), "");
        return;
    }
    let subscript = path
        .strip_suffix("']")
        .and_then(|path| path.split_once("['"));
    match subscript {
        Some(("metadata.annotations" | "metadata.labels", key)) => {
            errors.check(
                &here.field("fieldPath"),
                path,
                names::qualified_name(&key.to_lowercase()),
            );
        }
        Some((base, _)) => {
            errors.invalid(&here.field("fieldPath"), base, "does not support subscript");
        }
        None if supported.contains(&path) => {}
        None => errors.not_supported(&here.field("fieldPath"), path, supported),
    }
}

/// Check a reference to a container's resource; in volumes the container must be named.
pub(super) fn resource_ref(
    reference: &Value,
    in_container: bool,
    here: &Path<'_>,
    errors: &mut Errors,
) {
    if !in_container && text(reference, &["containerName"]).is_empty() {
        errors.required(&here.field("containerName"), "");
    }
    let resource = text(reference, &["resource"]);
    if resource.is_empty() {
        errors.required(&here.field("resource"), "");
    } else if !RESOURCE_FIELDS.contains(&resource)
        && !resource.starts_with("limits.hugepages-")
        && !resource.starts_with("requests.hugepages-")
    {
        errors.not_supported(&here.field("resource"), resource, RESOURCE_FIELDS);
    }
}

fn resize_policy(container: &Value, role: Role, list: &Path<'_>, errors: &mut Errors) {
    let policies = items(container, &["resizePolicy"]);
    if role == Role::Ephemeral && !policies.is_empty() {
        errors.forbidden(list, "cannot be set for an Ephemeral Container");
        return;
    }
    let mut seen = HashSet::new();
    for (index, policy) in policies.iter().enumerate() {
        let here = list.index(index);
        let name = text(policy, &["resourceName"]);
        if !seen.insert(name) {
            errors.duplicate(&here, name);
        }
        errors.one_of(&here.field("resourceName"), name, &["cpu", "memory"]);
        errors.one_of(
            &here.field("restartPolicy"),
            text(policy, &["restartPolicy"]),
            &["NotRequired", "RestartContainer"],
        );
    }
}

/// Check requests and limits.
pub(super) fn resources(resources: &Value, here: &Path<'_>, errors: &mut Errors) {
    let mut huge = false;
    let mut plain = false;
    for list in ["limits", "requests"] {
        let place = here.field(list);
        if let Some(amounts) = at(resources, &[list]) {
            resource_list(amounts, &place, errors);
        }
        for (name, _) in members(resources, &[list]) {
            huge |= name.starts_with("hugepages-");
            plain |= matches!(name, "cpu" | "memory");
        }
    }
    let place = here.field("requests");
    for (name, request) in members(resources, &["requests"]) {
        let together = name.starts_with("hugepages-") || extended(name);
        let Some(limit) = at(resources, &["limits", name]) else {
            if together {
                errors.required(
                    &here.field("limits"),
                    "Limit must be set for non overcommitable resources",
                );
            }
            continue;
        };
        let (Some(wanted), Some(most)) = (amount(request), amount(limit)) else {
            continue;
        };
        let most_text = limit.as_str().unwrap_or_default();
        if wanted != most && together {
            errors.invalid(
                &place,
                request.clone(),
                format!("must be equal to {name} limit of {most_text}"),
            );
        } else if wanted > most {
            errors.invalid(
                &place,
                request.clone(),
                format!("must be less than or equal to {name} limit of {most_text}"),
            );
        }
    }
    if huge && !plain {
        errors.forbidden(here, "HugePages require cpu or memory");
    }
}

/// Take the image out of a container, to compare all else.
pub(super) fn without_image(container: &mut Value) {
    if let Value::Object(map) = container {
        map.shift_remove("image");
    }
}
