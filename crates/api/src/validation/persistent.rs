//! Checks of persistent volumes and of claims to them.

use super::scheduling::node_selector;
use super::{Errors, Path, label_selector};
use crate::values::{at, items, members, same, set, take, text};
use consort_object::names;
use consort_object::quantity::Quantity;
use serde_json::Value;

const MODES: &[&str] = &[
    "ReadOnlyMany",
    "ReadWriteMany",
    "ReadWriteOnce",
    "ReadWriteOncePod",
];
const VOLUME_MODES: &[&str] = &["Block", "Filesystem"];

/// The fields of a volume's spec that are not what it is kept on.
const PLAIN: &[&str] = &[
    "accessModes",
    "capacity",
    "claimRef",
    "mountOptions",
    "nodeAffinity",
    "persistentVolumeReclaimPolicy",
    "storageClassName",
    "volumeAttributesClassName",
    "volumeMode",
];

fn amount(value: &Value) -> Option<Quantity> {
    value.as_str()?.parse().ok()
}

fn access_modes(spec: &Value, here: &Path<'_>, errors: &mut Errors) {
    let modes = items(spec, &["accessModes"]);
    let mut alone = false;
    for (index, mode) in modes.iter().enumerate() {
        let mode = mode.as_str().unwrap_or_default();
        errors.supported(&here.index(index), mode, MODES);
        alone |= mode == "ReadWriteOncePod";
    }
    if alone && modes.len() > 1 {
        errors.forbidden(here, "may not use ReadWriteOncePod with other access modes");
    }
}

/// What a volume is kept on.
fn sources(spec: &Value) -> impl Iterator<Item = (&str, &Value)> {
    members(spec, &[]).filter(|(field, value)| !PLAIN.contains(field) && !value.is_null())
}

/// Check a persistent volume.
pub(crate) fn persistent_volume(object: &Value, here: &Path<'_>, errors: &mut Errors) {
    let here = here.field("spec");
    let spec = &object["spec"];
    let place = here.field("accessModes");
    if items(spec, &["accessModes"]).is_empty() {
        errors.required(&place, "");
    }
    access_modes(spec, &place, errors);
    let place = here.field("capacity");
    let capacity = spec.get("capacity").cloned().unwrap_or(Value::Null);
    let named: Vec<(&str, &Value)> = members(spec, &["capacity"]).collect();
    if named.is_empty() {
        errors.required(&place, "");
    } else if named.len() > 1 || named[0].0 != "storage" {
        errors.not_supported(&place, capacity, &["storage"]);
    }
    for (name, value) in named {
        if amount(value).is_none_or(|amount| amount.signum() <= 0) {
            errors.invalid(&place.key(name), value.clone(), "must be greater than zero");
        }
    }
    let policy = text(spec, &["persistentVolumeReclaimPolicy"]);
    if !policy.is_empty() {
        errors.supported(
            &here.field("persistentVolumeReclaimPolicy"),
            policy,
            &["Delete", "Recycle", "Retain"],
        );
    }
    if let Some(affinity) = at(spec, &["nodeAffinity"]) {
        let place = here.field("nodeAffinity");
        let place = place.field("required");
        match at(affinity, &["required"]) {
            None => errors.required(&place, "must specify required node constraints"),
            Some(selector) => node_selector(selector, &place, errors),
        }
    }
    volume_source(spec, &here, errors);
    errors.optional(
        &here.field("storageClassName"),
        text(spec, &["storageClassName"]),
        names::dns1123_subdomain,
    );
    if let Some(mode) = at(spec, &["volumeMode"]).and_then(Value::as_str) {
        errors.supported(&here.field("volumeMode"), mode, VOLUME_MODES);
    }
    if let Some(class) = at(spec, &["volumeAttributesClassName"]).and_then(Value::as_str) {
        let place = here.field("volumeAttributesClassName");
        errors.named(&place, class, names::dns1123_subdomain);
        if at(spec, &["csi"]).is_none() {
            errors.required(
                &here.field("csi"),
                "has to be specified when using volumeAttributesClassName",
            );
        }
    }
}

fn volume_source(spec: &Value, here: &Path<'_>, errors: &mut Errors) {
    let mut found = 0;
    for (kind, source) in sources(spec) {
        found += 1;
        let place = here.field(kind);
        if found > 1 {
            errors.forbidden(&place, "may not specify more than 1 volume type");
            continue;
        }
        if kind == "local" {
            let path = text(source, &["path"]);
            if path.is_empty() {
                errors.required(&place.field("path"), "");
            } else {
                super::volume::no_way_back(path, &place.field("path"), errors);
            }
            if at(spec, &["nodeAffinity"]).is_none() {
                errors.required(
                    &here.field("nodeAffinity"),
                    "Local volume requires node affinity",
                );
            }
            continue;
        }
        super::volume::one_source(kind, source, true, &place, errors);
    }
    if found == 0 {
        errors.required(here, "must specify a volume type");
    }
    let recycled = text(spec, &["persistentVolumeReclaimPolicy"]) == "Recycle";
    if recycled && text(spec, &["hostPath", "path"]) == "/" {
        errors.forbidden(
            &here.field("persistentVolumeReclaimPolicy"),
            "may not be 'recycle' for a hostPath mount of '/'",
        );
    }
}

/// Check a change of a persistent volume: what it is kept on stays.
pub(crate) fn persistent_volume_update(
    new: &Value,
    old: &Value,
    here: &Path<'_>,
    errors: &mut Errors,
) {
    persistent_volume(new, here, errors);
    let here = here.field("spec");
    let (new, old) = (&new["spec"], &old["spec"]);
    let kept = |spec: &Value| -> Value {
        let mut kept: serde_json::Map<String, Value> = sources(spec)
            .map(|(field, value)| (field.to_owned(), value.clone()))
            .collect();
        if let Some(csi) = kept.get_mut("csi") {
            // The secrets of later stages may be set when there are none yet.
            for field in ["controllerExpandSecretRef", "nodeExpandSecretRef"] {
                if at(&old["csi"], &[field]).is_none() {
                    take(csi, field);
                }
            }
        }
        Value::Object(kept)
    };
    if kept(new) != kept(old) {
        errors.forbidden(
            &here,
            "spec.persistentvolumesource is immutable after creation",
        );
    }
    errors.immutable(
        &here.field("volumeMode"),
        new.get("volumeMode"),
        old.get("volumeMode"),
    );
    if at(old, &["nodeAffinity"]).is_some() && !same(new, old, "nodeAffinity") {
        errors.invalid(
            &here.field("nodeAffinity"),
            new["nodeAffinity"].clone(),
            "field is immutable",
        );
    }
}

/// Check the spec of a claim.
pub(crate) fn claim_spec(spec: &Value, here: &Path<'_>, errors: &mut Errors) {
    let place = here.field("accessModes");
    if items(spec, &["accessModes"]).is_empty() {
        errors.required(&place, "at least 1 access mode is required");
    }
    if let Some(selector) = at(spec, &["selector"]) {
        label_selector(selector, &here.field("selector"), errors);
    }
    access_modes(spec, &place, errors);
    let place = here.field("resources");
    let place = place.field("requests");
    let place = place.field("storage");
    match at(spec, &["resources", "requests", "storage"]) {
        None => errors.required(&place, ""),
        Some(value) => {
            if amount(value).is_none_or(|amount| amount.signum() <= 0) {
                errors.invalid(&place, value.clone(), "must be greater than zero");
            }
        }
    }
    errors.optional(
        &here.field("storageClassName"),
        text(spec, &["storageClassName"]),
        names::dns1123_subdomain,
    );
    if let Some(mode) = at(spec, &["volumeMode"]).and_then(Value::as_str) {
        errors.supported(&here.field("volumeMode"), mode, VOLUME_MODES);
    }
    errors.optional(
        &here.field("volumeAttributesClassName"),
        text(spec, &["volumeAttributesClassName"]),
        names::dns1123_subdomain,
    );
    for field in ["dataSource", "dataSourceRef"] {
        if let Some(source) = at(spec, &[field]) {
            data_source(source, &here.field(field), errors);
        }
    }
    let (old, new) = (at(spec, &["dataSource"]), at(spec, &["dataSourceRef"]));
    if let (Some(old), Some(new)) = (old, new) {
        if !text(new, &["namespace"]).is_empty() {
            errors.invalid(
                here,
                here.field("dataSource").to_string(),
                "may not be specified when dataSourceRef.namespace is specified",
            );
        } else if ["apiGroup", "kind", "name"]
            .iter()
            .any(|field| text(old, &[field]) != text(new, &[field]))
        {
            errors.invalid(
                here,
                here.field("dataSource").to_string(),
                "must match dataSourceRef",
            );
        }
    }
}

fn data_source(source: &Value, here: &Path<'_>, errors: &mut Errors) {
    for field in ["name", "kind"] {
        if text(source, &[field]).is_empty() {
            errors.required(&here.field(field), "");
        }
    }
    let group = text(source, &["apiGroup"]);
    if group.is_empty() && text(source, &["kind"]) != "PersistentVolumeClaim" {
        errors.invalid(
            here,
            text(source, &["kind"]),
            "must be 'PersistentVolumeClaim' when referencing the default apiGroup",
        );
    }
    errors.optional(&here.field("apiGroup"), group, names::dns1123_subdomain);
}

/// Check a change of a claim: only what can be grown or changed on a bound volume may change.
pub(crate) fn claim_update(new: &Value, old: &Value, here: &Path<'_>, errors: &mut Errors) {
    let here = here.field("spec");
    claim_spec(&new["spec"], &here, errors);
    let bound = text(new, &["status", "phase"]) == "Bound";
    let (mut after, mut before) = (new["spec"].clone(), old["spec"].clone());
    if text(&before, &["volumeName"]).is_empty() {
        take(&mut after, "volumeName");
        take(&mut before, "volumeName");
        // The class may be filled in later, once.
        if at(&before, &["storageClassName"]).is_none() {
            take(&mut after, "storageClassName");
        }
    }
    if bound {
        for spec in [&mut after, &mut before] {
            take(spec, "resources");
            take(spec, "volumeAttributesClassName");
        }
        let limits = |object: &Value| object["spec"]["resources"]["limits"].clone();
        set(&mut after, "limits", limits(new));
        set(&mut before, "limits", limits(old));
    }
    if after != before {
        errors.forbidden(
            &here,
            "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims",
        );
        return;
    }
    let wanted = at(new, &["spec", "resources", "requests", "storage"]).and_then(amount);
    let asked = at(old, &["spec", "resources", "requests", "storage"]).and_then(amount);
    let present = at(old, &["status", "capacity", "storage"]).and_then(amount);
    let place = here.field("resources");
    let place = place.field("requests");
    let place = place.field("storage");
    if let (Some(wanted), Some(asked)) = (wanted, asked)
        && wanted < asked
        && present.is_none_or(|present| wanted < present)
    {
        errors.forbidden(&place, "field can not be less than status.capacity");
    }
    let class = |object: &Value| text(object, &["spec", "volumeAttributesClassName"]).to_owned();
    if !class(old).is_empty() && class(new).is_empty() {
        errors.forbidden(
            &here.field("volumeAttributesClassName"),
            "update from non-nil value to nil is forbidden",
        );
    }
}
