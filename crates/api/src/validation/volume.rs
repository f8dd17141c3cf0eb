//! Checks of a pod's volumes.

use super::container::{field_ref, resource_ref};
use super::mounts::relative_path;
use super::{Errors, Path};
use crate::values::{at, int, items, text};
use consort_object::names;
use serde_json::Value;
use std::collections::HashSet;

const DOWNWARD_FIELDS: &[&str] = &[
    "metadata.annotations",
    "metadata.labels",
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
];
const HOST_PATH_TYPES: &[&str] = &[
    "",
    "BlockDevice",
    "CharDevice",
    "Directory",
    "DirectoryOrCreate",
    "File",
    "FileOrCreate",
    "Socket",
];

/// Check the volumes; the answer is their names.
pub(super) fn volumes<'a>(
    spec: &'a Value,
    here: &Path<'_>,
    errors: &mut Errors,
) -> HashSet<&'a str> {
    let mut seen = HashSet::new();
    for (index, volume) in items(spec, &["volumes"]).iter().enumerate() {
        let here = here.index(index);
        let name = text(volume, &["name"]);
        if name.is_empty() {
            errors.required(&here.field("name"), "");
        } else {
            errors.check(&here.field("name"), name, names::dns1123_label(name));
            if !seen.insert(name) {
                errors.duplicate(&here.field("name"), name);
            }
        }
        source(volume, &here, errors);
    }
    seen
}

fn source(volume: &Value, here: &Path<'_>, errors: &mut Errors) {
    let Some(map) = volume.as_object() else {
        return;
    };
    let mut found = 0;
    for (kind, source) in map
        .iter()
        .filter(|(key, value)| *key != "name" && !value.is_null())
    {
        found += 1;
        let here = here.field(kind);
        if found > 1 {
            errors.forbidden(&here, "may not specify more than 1 volume type");
            continue;
        }
        one_source(kind, source, false, &here, errors);
    }
    if found == 0 {
        errors.required(here, "must specify a volume type");
    }
}

/// A path that must not lead out of where it is mounted.
pub(super) fn no_way_back(path: &str, here: &Path<'_>, errors: &mut Errors) {
    if path.split('/').any(|part| part == "..") {
        errors.invalid(here, path, "must not contain '..'");
    }
}

/// Fields that a source cannot be without, as texts.
fn required_texts(kind: &str, persistent: bool) -> &'static [&'static str] {
    match kind {
        "nfs" => &["server", "path"],
        "iscsi" => &["targetPortal", "iqn"],
        "glusterfs" => &["endpoints", "path"],
        "rbd" => &["image"],
        "awsElasticBlockStore" | "cinder" | "portworxVolume" => &["volumeID"],
        "azureFile" => &["secretName", "shareName"],
        "azureDisk" => &["diskName", "diskURI"],
        "gcePersistentDisk" => &["pdName"],
        "vsphereVolume" => &["volumePath"],
        "photonPersistentDisk" => &["pdID"],
        "quobyte" => &["registry", "volume"],
        "scaleIO" => &["gateway", "system", "volumeName"],
        "csi" if persistent => &["driver", "volumeHandle"],
        "csi" | "flexVolume" => &["driver"],
        "gitRepo" => &["repository"],
        "image" => &["reference"],
        _ => &[],
    }
}

/// Check what a volume is kept on; `persistent`: the source stands in a persistent volume.
pub(super) fn one_source(
    kind: &str,
    source: &Value,
    persistent: bool,
    here: &Path<'_>,
    errors: &mut Errors,
) {
    for field in required_texts(kind, persistent) {
        if text(source, &[field]).is_empty() {
            errors.required(&here.field(field), "");
        }
    }
    match kind {
        "hostPath" => host_path(source, here, errors),
        "emptyDir" if text(source, &["sizeLimit"]).starts_with('-') => {
            errors.forbidden(
                &here.field("sizeLimit"),
                "SizeLimit field must be a valid resource quantity",
            );
        }
        "secret" => {
            if text(source, &["secretName"]).is_empty() {
                errors.required(&here.field("secretName"), "");
            }
            mode_and_items(source, here, errors);
        }
        "configMap" => {
            if text(source, &["name"]).is_empty() {
                errors.required(&here.field("name"), "");
            }
            mode_and_items(source, here, errors);
        }
        "persistentVolumeClaim" if text(source, &["claimName"]).is_empty() => {
            errors.required(&here.field("claimName"), "");
        }
        "downwardAPI" => {
            mode(source, "defaultMode", here, errors);
            downward(source, here, errors);
        }
        "projected" => projected(source, here, errors),
        "nfs" => {
            let path = text(source, &["path"]);
            if !path.is_empty() && !path.starts_with('/') {
                errors.invalid(&here.field("path"), path, "must be an absolute path");
            }
        }
        "iscsi" => iscsi(source, here, errors),
        "fc" => fibre_channel(source, here, errors),
        "cephfs" | "rbd" if items(source, &["monitors"]).is_empty() => {
            errors.required(&here.field("monitors"), "");
        }
        "azureDisk" => azure_disk(source, here, errors),
        "csi" => {
            let driver = text(source, &["driver"]);
            if !driver.is_empty() {
                csi_driver_name(driver, &here.field("driver"), errors);
            }
        }
        "ephemeral" => ephemeral(source, here, errors),
        "image" => {
            let policy = text(source, &["pullPolicy"]);
            if !policy.is_empty() {
                errors.supported(
                    &here.field("pullPolicy"),
                    policy,
                    &["Always", "IfNotPresent", "Never"],
                );
            }
        }
        "flocker" => {
            let (name, id) = (
                text(source, &["datasetName"]),
                text(source, &["datasetUUID"]),
            );
            if name.is_empty() && id.is_empty() {
                errors.required(here, "one of datasetName and datasetUUID is required");
            } else if !name.is_empty() && !id.is_empty() {
                errors.invalid(
                    here,
                    "resource",
                    "datasetName and datasetUUID can not be specified simultaneously",
                );
            }
        }
        _ => {}
    }
}

/// Check the name of a storage driver.
pub(crate) fn csi_driver_name(name: &str, here: &Path<'_>, errors: &mut Errors) {
    if name.is_empty() {
        errors.required(here, "");
        return;
    }
    if name.len() > 63 {
        errors.too_long(here, 63);
    }
    let lower = name.to_lowercase();
    errors.check(here, name, names::dns1123_subdomain(&lower));
}

fn host_path(source: &Value, here: &Path<'_>, errors: &mut Errors) {
    let path = text(source, &["path"]);
    if path.is_empty() {
        errors.required(&here.field("path"), "");
    } else {
        no_way_back(path, &here.field("path"), errors);
    }
    errors.supported(
        &here.field("type"),
        text(source, &["type"]),
        HOST_PATH_TYPES,
    );
}

fn ephemeral(source: &Value, here: &Path<'_>, errors: &mut Errors) {
    let place = here.field("volumeClaimTemplate");
    match at(source, &["volumeClaimTemplate"]) {
        None => errors.required(&place, ""),
        Some(template) => {
            super::metadata::template(template, &place.field("metadata"), errors);
            super::claim_spec(&template["spec"], &place.field("spec"), errors);
        }
    }
}

fn iscsi(source: &Value, here: &Path<'_>, errors: &mut Errors) {
    let name = text(source, &["iqn"]);
    if !name.is_empty()
        && !["iqn", "eui", "naa"]
            .iter()
            .any(|start| name.starts_with(start))
    {
        errors.invalid(
            &here.field("iqn"),
            name,
            "must be valid format starting with iqn, eui, or naa",
        );
    }
    let unit = int(source, &["lun"]);
    if !(0..=255).contains(&unit) {
        errors.invalid(
            &here.field("lun"),
            unit,
            "must be between 0 and 255, inclusive",
        );
    }
    let secret = ["chapAuthDiscovery", "chapAuthSession"]
        .iter()
        .any(|field| crate::values::flag(source, &[field]));
    if secret && at(source, &["secretRef"]).is_none() {
        errors.required(&here.field("secretRef"), "");
    }
}

fn fibre_channel(source: &Value, here: &Path<'_>, errors: &mut Errors) {
    let names = items(source, &["targetWWNs"]);
    let ids = items(source, &["wwids"]);
    if names.is_empty() && ids.is_empty() {
        errors.required(
            &here.field("targetWWNs"),
            "must specify either targetWWNs or wwids, but not both",
        );
    }
    if !names.is_empty() && !ids.is_empty() {
        errors.invalid(
            &here.field("targetWWNs"),
            Value::Array(names.to_vec()),
            "targetWWNs and wwids can not be specified simultaneously",
        );
    }
    if !names.is_empty() {
        match at(source, &["lun"]).and_then(Value::as_i64) {
            None => errors.required(
                &here.field("lun"),
                "lun is required if targetWWNs is specified",
            ),
            Some(unit) if !(0..=255).contains(&unit) => errors.invalid(
                &here.field("lun"),
                unit,
                "must be between 0 and 255, inclusive",
            ),
            Some(_) => {}
        }
    }
}

fn azure_disk(source: &Value, here: &Path<'_>, errors: &mut Errors) {
    let caching = text(source, &["cachingMode"]);
    if !caching.is_empty() {
        errors.supported(
            &here.field("cachingMode"),
            caching,
            &["None", "ReadOnly", "ReadWrite"],
        );
    }
    let kind = text(source, &["kind"]);
    if !kind.is_empty() {
        errors.supported(
            &here.field("kind"),
            kind,
            &["Dedicated", "Managed", "Shared"],
        );
    }
}

fn mode(value: &Value, field: &str, here: &Path<'_>, errors: &mut Errors) {
    let number = int(value, &[field]);
    if !(0..=0o777).contains(&number) {
        errors.invalid(
            &here.field(field),
            number,
            "must be a number between 0 and 0777 (octal), both inclusive",
        );
    }
}

fn mode_and_items(source: &Value, here: &Path<'_>, errors: &mut Errors) {
    mode(source, "defaultMode", here, errors);
    key_items(source, here, errors);
}

fn key_items(source: &Value, here: &Path<'_>, errors: &mut Errors) {
    let list = here.field("items");
    for (index, item) in items(source, &["items"]).iter().enumerate() {
        let here = list.index(index);
        if text(item, &["key"]).is_empty() {
            errors.required(&here.field("key"), "");
        }
        file_path(text(item, &["path"]), &here.field("path"), errors);
        mode(item, "mode", &here, errors);
    }
}

fn file_path(path: &str, here: &Path<'_>, errors: &mut Errors) {
    if path.is_empty() {
        errors.required(here, "");
        return;
    }
    relative_path(path, here, errors);
    if path.starts_with("..") && !path.starts_with("../") && path != ".." {
        errors.invalid(here, path, "must not start with '..'");
    }
}

fn downward(source: &Value, here: &Path<'_>, errors: &mut Errors) {
    let list = here.field("items");
    for (index, item) in items(source, &["items"]).iter().enumerate() {
        let here = list.index(index);
        file_path(text(item, &["path"]), &here.field("path"), errors);
        mode(item, "mode", &here, errors);
        match (at(item, &["fieldRef"]), at(item, &["resourceFieldRef"])) {
            (Some(field), None) => {
                field_ref(field, DOWNWARD_FIELDS, &here.field("fieldRef"), errors);
            }
            (None, Some(reference)) => {
                resource_ref(reference, false, &here.field("resourceFieldRef"), errors);
            }
            (Some(_), Some(_)) => errors.invalid(
                &here,
                "resource",
                "fieldRef and resourceFieldRef can not be specified simultaneously",
            ),
            (None, None) => {
                errors.required(
                    &here.field("fieldRef"),
                    "one of fieldRef and resourceFieldRef is required",
                );
            }
        }
    }
}

fn projected(source: &Value, here: &Path<'_>, errors: &mut Errors) {
    mode(source, "defaultMode", here, errors);
    let list = here.field("sources");
    for (index, source) in items(source, &["sources"]).iter().enumerate() {
        let here = list.index(index);
        let mut found = 0;
        for kind in [
            "secret",
            "configMap",
            "downwardAPI",
            "serviceAccountToken",
            "clusterTrustBundle",
            "podCertificate",
        ] {
            let Some(value) = at(source, &[kind]) else {
                continue;
            };
            let here = here.field(kind);
            found += 1;
            if found > 1 {
                errors.forbidden(&here, "may not specify more than 1 volume type per source");
                continue;
            }
            match kind {
                "secret" | "configMap" => {
                    if text(value, &["name"]).is_empty() {
                        errors.required(&here.field("name"), "");
                    }
                    key_items(value, &here, errors);
                }
                "downwardAPI" => downward(value, &here, errors),
                "serviceAccountToken" => {
                    let seconds = int(value, &["expirationSeconds"]);
                    if seconds < 600 {
                        errors.invalid(
                            &here.field("expirationSeconds"),
                            seconds,
                            "may not specify a duration less than 10 minutes",
                        );
                    }
                    file_path(text(value, &["path"]), &here.field("path"), errors);
                }
                _ => {}
            }
        }
    }
}
