//! Checks of security contexts, of pods and of containers.

use super::{Errors, Path};
use crate::values::{at, flag, items, text};
use serde_json::Value;
use std::collections::HashSet;

/// Check a container's security context.
pub(super) fn container(context: &Value, here: &Path<'_>, errors: &mut Errors) {
    identity(context, here, errors);
    profiles(context, here, errors);
    let mount = text(context, &["procMount"]);
    if !mount.is_empty() {
        errors.supported(&here.field("procMount"), mount, &["Default", "Unmasked"]);
    }
    let escalation = at(context, &["allowPrivilegeEscalation"]).and_then(Value::as_bool);
    if escalation == Some(false) {
        if flag(context, &["privileged"]) {
            errors.invalid(
                here,
                context.clone(),
                "cannot set `allowPrivilegeEscalation` to false and `privileged` to true",
            );
        }
        let added = items(context, &["capabilities", "add"]);
        if added.iter().any(|name| name == "CAP_SYS_ADMIN") {
            errors.invalid(
                here,
                context.clone(),
                "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN",
            );
        }
    }
}

/// Check a pod's security context; `spec` is what it stands in.
pub(super) fn pod(context: &Value, spec: &Value, here: &Path<'_>, errors: &mut Errors) {
    identity(context, here, errors);
    profiles(context, here, errors);
    let list = here.field("supplementalGroups");
    for (index, group) in items(context, &["supplementalGroups"]).iter().enumerate() {
        number(group, &list.index(index), errors);
    }
    for (field, words) in [
        ("fsGroupChangePolicy", &["Always", "OnRootMismatch"][..]),
        ("supplementalGroupsPolicy", &["Merge", "Strict"]),
        ("seLinuxChangePolicy", &["MountOption", "Recursive"]),
    ] {
        if let Some(policy) = at(context, &[field]).and_then(Value::as_str) {
            errors.supported(&here.field(field), policy, words);
        }
    }
    sysctls(context, spec, &here.field("sysctls"), errors);
}

fn sysctls(context: &Value, spec: &Value, list: &Path<'_>, errors: &mut Errors) {
    let mut seen = HashSet::new();
    for (index, sysctl) in items(context, &["sysctls"]).iter().enumerate() {
        let place = list.index(index);
        let place = place.field("name");
        let name = text(sysctl, &["name"]);
        if name.is_empty() {
            errors.required(&place, "");
        } else if !sysctl_name(name) {
            errors.invalid(
                &place,
                name,
                "must have at most 253 characters and match regex ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$",
            );
        } else if !seen.insert(name) {
            errors.duplicate(&place, name);
        }
        let dotted = name.replace('/', ".");
        if flag(spec, &["hostNetwork"]) && dotted.starts_with("net.") {
            errors.invalid(
                &place,
                name,
                "may not be specified when 'hostNetwork' is true",
            );
        }
        let shared = ["kernel.shm", "kernel.msg", "kernel.sem", "fs.mqueue."]
            .iter()
            .any(|start| dotted.starts_with(start));
        if flag(spec, &["hostIPC"]) && shared {
            errors.invalid(&place, name, "may not be specified when 'hostIPC' is true");
        }
    }
}

fn sysctl_name(name: &str) -> bool {
    name.len() <= 253
        && name.split(['.', '/']).all(|part| {
            let inside = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
            part.starts_with(inside)
                && part.ends_with(inside)
                && part.chars().all(|c| inside(c) || c == '-' || c == '_')
        })
}

/// Check the profiles that confine a process.
fn profiles(context: &Value, here: &Path<'_>, errors: &mut Errors) {
    for (field, name) in [
        ("seccompProfile", "seccomp"),
        ("appArmorProfile", "AppArmor"),
    ] {
        let Some(profile) = at(context, &[field]) else {
            continue;
        };
        let here = here.field(field);
        let kind = text(profile, &["type"]);
        let local = at(profile, &["localhostProfile"]).and_then(Value::as_str);
        let place = here.field("localhostProfile");
        match kind {
            "" => errors.required(
                &here.field("type"),
                &format!("type is required when {field} is set"),
            ),
            "Localhost" => match local {
                None | Some("") => errors.required(
                    &place,
                    &format!("must be set when {name} type is Localhost"),
                ),
                Some(path) if name == "seccomp" => {
                    super::mounts::relative_path(path, &place, errors);
                }
                Some(profile) => {
                    if profile.trim() != profile {
                        errors.invalid(&place, profile, "must not be padded with whitespace");
                    } else if profile.len() > 4095 {
                        errors.too_long(&place, 4095);
                    }
                }
            },
            "RuntimeDefault" | "Unconfined" => {
                if let Some(local) = local {
                    errors.invalid(
                        &place,
                        local,
                        format!("can only be set when {name} type is Localhost"),
                    );
                }
            }
            other => errors.not_supported(
                &here.field("type"),
                other,
                &["Localhost", "RuntimeDefault", "Unconfined"],
            ),
        }
    }
}

/// Check user and group numbers.
fn identity(context: &Value, here: &Path<'_>, errors: &mut Errors) {
    for field in ["runAsUser", "runAsGroup", "fsGroup"] {
        if let Some(value) = at(context, &[field]) {
            number(value, &here.field(field), errors);
        }
    }
}

fn number(value: &Value, here: &Path<'_>, errors: &mut Errors) {
    if let Some(number) = value.as_i64()
        && !(0..=i64::from(i32::MAX)).contains(&number)
    {
        errors.invalid(here, number, "must be between 0 and 2147483647, inclusive");
    }
}
