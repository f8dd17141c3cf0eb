//! Checks of where a container mounts its volumes.

use super::container::{Role, Surroundings};
use super::{Errors, Path};
use crate::values::{at, flag, items, text};
use serde_json::Value;
use std::collections::HashSet;

/// Check the volumes that a container gets as raw devices.
pub(super) fn devices(
    container: &Value,
    around: &Surroundings<'_>,
    list: &Path<'_>,
    errors: &mut Errors,
) {
    let mounted: HashSet<&str> = items(container, &["volumeMounts"])
        .iter()
        .map(|mount| text(mount, &["name"]))
        .collect();
    let (mut names, mut paths) = (HashSet::new(), HashSet::new());
    for (index, device) in items(container, &["volumeDevices"]).iter().enumerate() {
        let here = list.index(index);
        let (name, path) = (text(device, &["name"]), text(device, &["devicePath"]));
        let place = here.field("name");
        if name.is_empty() {
            errors.required(&place, "");
        } else if !around.volumes.contains(name) {
            errors.not_found(&place, name);
        } else if !around.claims.contains(name) {
            errors.invalid(&place, name, "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode");
        }
        if !names.insert(name) {
            errors.invalid(&place, name, "must be unique");
        }
        let place = here.field("devicePath");
        if path.is_empty() {
            errors.required(&place, "");
        } else {
            if !paths.insert(path) {
                errors.invalid(&place, path, "must be unique");
            }
            if path.split('/').any(|part| part == "..") {
                errors.invalid(&place, path, "must not contain '..'");
            }
        }
        if mounted.contains(name) {
            errors.invalid(
                &here.field("name"),
                name,
                "must not already exist in volumeMounts",
            );
        }
    }
}

/// Check the volumes that a container gets as directories and files.
pub(super) fn mounts(
    container: &Value,
    role: Role,
    volumes: &HashSet<&str>,
    here: &Path<'_>,
    errors: &mut Errors,
) {
    let mut paths = HashSet::new();
    for (index, mount) in items(container, &["volumeMounts"]).iter().enumerate() {
        let here = here.index(index);
        let name = text(mount, &["name"]);
        if name.is_empty() {
            errors.required(&here.field("name"), "");
        } else if !volumes.contains(name) {
            errors.not_found(&here.field("name"), name);
        }
        let path = text(mount, &["mountPath"]);
        if path.is_empty() {
            errors.required(&here.field("mountPath"), "");
        } else if !paths.insert(path) {
            errors.invalid(&here.field("mountPath"), path, "must be unique");
        }
        for field in ["subPath", "subPathExpr"] {
            relative_path(text(mount, &[field]), &here.field(field), errors);
        }
        if !text(mount, &["subPath"]).is_empty() && !text(mount, &["subPathExpr"]).is_empty() {
            errors.invalid(
                &here.field("subPathExpr"),
                text(mount, &["subPathExpr"]),
                "subPathExpr and subPath are mutually exclusive",
            );
        }
        if role == Role::Ephemeral {
            for field in ["subPath", "subPathExpr"] {
                if !text(mount, &[field]).is_empty() {
                    errors.forbidden(
                        &here.field(field),
                        "cannot be set for an Ephemeral Container",
                    );
                }
            }
        }
        let propagation = text(mount, &["mountPropagation"]);
        let privileged = flag(container, &["securityContext", "privileged"]);
        if propagation == "Bidirectional" && !privileged {
            errors.forbidden(
                &here.field("mountPropagation"),
                "Bidirectional mount propagation is available only to privileged containers",
            );
        }
        recursive_read_only(mount, &here.field("recursiveReadOnly"), errors);
        let known = ["Bidirectional", "HostToContainer", "None"];
        if !propagation.is_empty() && !known.contains(&propagation) {
            errors.not_supported(&here.field("mountPropagation"), propagation, &known);
        }
    }
}

fn recursive_read_only(mount: &Value, here: &Path<'_>, errors: &mut Errors) {
    let Some(wish) = at(mount, &["recursiveReadOnly"]).and_then(Value::as_str) else {
        return;
    };
    errors.supported(here, wish, &["Disabled", "Enabled", "IfPossible"]);
    if !["Enabled", "IfPossible"].contains(&wish) {
        return;
    }
    if !flag(mount, &["readOnly"]) {
        errors.forbidden(here, "may only be specified when readOnly is true");
    }
    let propagation = text(mount, &["mountPropagation"]);
    if !matches!(propagation, "" | "None") {
        errors.forbidden(
            here,
            "may only be specified when mountPropagation is None or not specified",
        );
    }
}

/// A path that must stay below where it starts.
pub(super) fn relative_path(path: &str, here: &Path<'_>, errors: &mut Errors) {
    if path.starts_with('/') {
        errors.invalid(here, path, "must be a relative path");
    }
    if path.split('/').any(|part| part == "..") {
        errors.invalid(here, path, "must not contain '..'");
    }
}
