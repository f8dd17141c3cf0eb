//! `metadata`, the same for every kind.

use super::{Errors, Path, labels};
use crate::kind::{Kind, NameRule};
use crate::values::{items, members, same, text};
use consort_object::names;
use serde_json::Value;

/// How many bytes all annotations of an object may have together.
const ANNOTATION_BYTES: usize = 256 * 1024;

/// Check a name by a kind's rule. `prefix`: the text is a `generateName`, so it may end in `-`.
pub(super) fn name(rule: NameRule, name: &str, prefix: bool) -> Result<(), String> {
    let masked;
    let name = if prefix && name.len() > 1 && name.ends_with('-') {
        // What follows the dash is the server's and always fits.
        masked = format!("{}a", &name[..name.len() - 1]);
        masked.as_str()
    } else {
        name
    };
    match rule {
        NameRule::Subdomain => names::dns1123_subdomain(name),
        NameRule::Label => names::dns1123_label(name),
        NameRule::Label1035 => names::dns1035_label(name),
        NameRule::PathSegment => names::path_segment(name),
        NameRule::Address => super::canonical_ip(name),
        // The part before the colon is held against the signer by the kind.
        NameRule::TrustBundle => names::dns1123_subdomain(name.rsplit(':').next().unwrap_or(name)),
    }
}

/// Check the metadata of a new object.
pub(crate) fn metadata(kind: &Kind, object: &Value, errors: &mut Errors) {
    let root = Path::Root;
    let at = root.field("metadata");
    let meta = &object["metadata"];
    let generate = text(meta, &["generateName"]);
    if !generate.is_empty() {
        errors.check(
            &at.field("generateName"),
            generate,
            name(kind.name_rule, generate, true),
        );
    }
    let own = text(meta, &["name"]);
    if own.is_empty() {
        errors.required(&at.field("name"), "name or generateName is required");
    } else {
        errors.check(&at.field("name"), own, name(kind.name_rule, own, false));
    }
    let namespace = text(meta, &["namespace"]);
    let field = at.field("namespace");
    if kind.namespaced {
        if namespace.is_empty() {
            errors.required(&field, "");
        } else {
            errors.check(&field, namespace, names::dns1123_label(namespace));
        }
    } else if !namespace.is_empty() {
        errors.forbidden(&field, "not allowed on this type");
    }
    common(meta, &at, errors);
}

/// Check the metadata of an object within an object. Its name may be anything that a path can hold.
pub(crate) fn embedded_metadata(meta: &Value, errors: &mut Errors) {
    let root = Path::Root;
    let at = root.field("metadata");
    for field in ["name", "generateName"] {
        let own = text(meta, &[field]);
        if !own.is_empty() {
            errors.check(&at.field(field), own, names::path_segment(own));
        }
    }
    let namespace = text(meta, &["namespace"]);
    if !namespace.is_empty() {
        errors.check(
            &at.field("namespace"),
            namespace,
            names::dns1123_label(namespace),
        );
    }
    common(meta, &at, errors);
}

/// Labels, annotations, owners and finalizers.
fn common(meta: &Value, at: &Path<'_>, errors: &mut Errors) {
    if let Some(value) = meta.get("labels") {
        labels(value, &at.field("labels"), errors);
    }
    annotations(meta, &at.field("annotations"), errors);
    owners(meta, &at.field("ownerReferences"), errors);
    let finalizers = at.field("finalizers");
    for (index, finalizer) in items(meta, &["finalizers"]).iter().enumerate() {
        let finalizer = finalizer.as_str().unwrap_or_default();
        let at = finalizers.index(index);
        if let Err(detail) = names::qualified_name(finalizer) {
            errors.invalid(&at, finalizer, detail);
        }
    }
    let has = |name: &str| items(meta, &["finalizers"]).iter().any(|one| one == name);
    if has("orphan") && has("foregroundDeletion") {
        errors.invalid(
            &finalizers,
            meta["finalizers"].clone(),
            "finalizer orphan and foregroundDeletion cannot be both set",
        );
    }
}

/// Check the labels and annotations of a template; `here` is what they are told to be members of. Upstream
/// leaves `metadata` out of it for templates of pods.
pub(super) fn template(template: &Value, here: &Path<'_>, errors: &mut Errors) {
    let meta = &template["metadata"];
    if let Some(value) = meta.get("labels") {
        labels(value, &here.field("labels"), errors);
    }
    annotations(meta, &here.field("annotations"), errors);
}

fn annotations(meta: &Value, at: &Path<'_>, errors: &mut Errors) {
    let mut bytes = 0;
    for (key, value) in members(meta, &["annotations"]) {
        bytes += key.len() + value.as_str().map_or(0, str::len);
        errors.check(at, key, names::qualified_name(&key.to_lowercase()));
    }
    if bytes > ANNOTATION_BYTES {
        errors.too_long(at, ANNOTATION_BYTES);
    }
}

fn owners(meta: &Value, at: &Path<'_>, errors: &mut Errors) {
    let mut controller: Option<String> = None;
    for (index, owner) in items(meta, &["ownerReferences"]).iter().enumerate() {
        let at = at.index(index);
        let version = text(owner, &["apiVersion"]);
        if version.is_empty() {
            errors.invalid(&at.field("apiVersion"), "", "version must not be empty");
        }
        for field in ["kind", "name", "uid"] {
            if text(owner, &[field]).is_empty() {
                errors.invalid(&at.field(field), "", format!("{field} must not be empty"));
            }
        }
        if owner.get("controller").and_then(Value::as_bool) == Some(true) {
            let name = text(owner, &["name"]).to_owned();
            if let Some(first) = &controller {
                errors.invalid(
                    &at,
                    owner.clone(),
                    format!("Only one reference can have Controller set to true. Found \"true\" in references for {first} and {name}"),
                );
            } else {
                controller = Some(name);
            }
        }
    }
}

/// Check a change of the metadata.
pub(crate) fn metadata_update(new: &Value, old: &Value, errors: &mut Errors) {
    let root = Path::Root;
    let at = root.field("metadata");
    let (new, old) = (&new["metadata"], &old["metadata"]);
    for field in ["name", "namespace", "uid", "creationTimestamp"] {
        errors.immutable(&at.field(field), new.get(field), old.get(field));
    }
    if !text(old, &["deletionTimestamp"]).is_empty() && !same(new, old, "finalizers") {
        let before = items(old, &["finalizers"]);
        let added: Vec<&str> = items(new, &["finalizers"])
            .iter()
            .filter(|finalizer| !before.contains(finalizer))
            .filter_map(Value::as_str)
            .collect();
        if !added.is_empty() {
            let quoted: Vec<String> = added.iter().map(|one| format!("{one:?}")).collect();
            errors.forbidden(
                &at.field("finalizers"),
                format!(
                    "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
                    quoted.join(", ")
                ),
            );
        }
    }
    common(new, &at, errors);
}
