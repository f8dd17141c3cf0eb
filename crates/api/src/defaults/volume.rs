//! Defaults of volumes: the sources pods and persistent volumes name, and claims.

use crate::values::{ensure, field_mut, fill, fill_text, text};
use serde_json::Value;

/// Fill in what a volume source leaves out, wherever it stands: in a pod or in a persistent volume.
pub(super) fn source(volume: &mut Value) {
    if let Some(path) = field_mut(volume, "hostPath") {
        fill(path, "type", "");
    }
    if let Some(source) = field_mut(volume, "iscsi") {
        fill_text(source, "iscsiInterface", "default");
    }
    if let Some(source) = field_mut(volume, "rbd") {
        fill_text(source, "pool", "rbd");
        fill_text(source, "user", "admin");
        fill_text(source, "keyring", "/etc/ceph/keyring");
    }
    if let Some(source) = field_mut(volume, "azureDisk") {
        fill(source, "cachingMode", "ReadWrite");
        fill(source, "kind", "Shared");
        fill(source, "fsType", "ext4");
        fill(source, "readOnly", false);
    }
    if let Some(source) = field_mut(volume, "scaleIO") {
        fill_text(source, "storageMode", "ThinProvisioned");
        fill_text(source, "fsType", "xfs");
    }
}

/// Fill in a persistent volume.
pub(crate) fn persistent_volume(object: &mut Value) {
    let spec = ensure(object, "spec");
    fill_text(spec, "persistentVolumeReclaimPolicy", "Retain");
    fill(spec, "volumeMode", "Filesystem");
    source(spec);
    fill_text(ensure(object, "status"), "phase", "Pending");
}

/// Fill in a claim (or the template of one).
pub(crate) fn persistent_volume_claim(object: &mut Value) {
    let spec = ensure(object, "spec");
    fill(spec, "volumeMode", "Filesystem");
    data_source(spec);
    fill_text(ensure(object, "status"), "phase", "Pending");
}

/// The two fields that name what a volume starts from are kept equal, as far as the older can say it.
fn data_source(spec: &mut Value) {
    let known = |source: &Value| {
        matches!(
            (text(source, &["apiGroup"]), text(source, &["kind"])),
            ("", "PersistentVolumeClaim") | ("snapshot.storage.k8s.io", "VolumeSnapshot")
        )
    };
    let (old, new) = (
        spec.get("dataSource").filter(|source| source.is_object()),
        spec.get("dataSourceRef")
            .filter(|source| source.is_object()),
    );
    match (old.cloned(), new.cloned()) {
        (Some(old), None) => crate::values::set(spec, "dataSourceRef", old),
        (None, Some(new)) if text(&new, &["namespace"]).is_empty() && known(&new) => {
            crate::values::set(spec, "dataSource", new);
        }
        _ => {}
    }
}
