//! Checks of a pod's volumes.

use super::container::{field_ref, relative_path, resource_ref};
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
        match kind.as_str() {
            "hostPath" => {
                let path = text(source, &["path"]);
                if path.is_empty() {
                    errors.required(&here.field("path"), "");
                } else if path.split('/').any(|part| part == "..") {
                    errors.invalid(&here.field("path"), path, "must not contain '..'");
                }
                let kind = text(source, &["type"]);
                if !HOST_PATH_TYPES.contains(&kind) {
                    errors.not_supported(&here.field("type"), kind, HOST_PATH_TYPES);
                }
            }
            "emptyDir" => {
                let limit = text(source, &["sizeLimit"]);
                if limit.starts_with('-') {
                    errors.forbidden(
                        &here.field("sizeLimit"),
                        "SizeLimit field must be a valid resource quantity",
                    );
                }
            }
            "secret" => {
                if text(source, &["secretName"]).is_empty() {
                    errors.required(&here.field("secretName"), "");
                }
                mode_and_items(source, &here, errors);
            }
            "configMap" => {
                if text(source, &["name"]).is_empty() {
                    errors.required(&here.field("name"), "");
                }
                mode_and_items(source, &here, errors);
            }
            "persistentVolumeClaim" if text(source, &["claimName"]).is_empty() => {
                errors.required(&here.field("claimName"), "");
            }
            "downwardAPI" => {
                mode(source, "defaultMode", &here, errors);
                downward(source, &here, errors);
            }
            "projected" => projected(source, &here, errors),
            _ => {}
        }
    }
    if found == 0 {
        errors.required(here, "must specify a volume type");
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
