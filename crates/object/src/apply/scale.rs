//! The managed fields of a scale: those of its object that are about the number of replicas.

use serde_json::Value;

use super::element::Element;
use super::managed::{Entry, ManagedFields, Operation, Owner};
use super::set::FieldSet;

/// The version of `Scale`.
const SCALE: &str = "autoscaling/v1";

fn replicas() -> FieldSet<'static> {
    FieldSet::of_fields(&[&["spec", "replicas"]])
}

fn path<'p>(fields: &[&'p str]) -> Vec<Element<'p>> {
    fields.iter().map(|name| Element::field(name)).collect()
}

/// Whether two owners are one, whatever the version.
fn matches(one: &Owner<'_>, other: &Owner<'_>) -> bool {
    one.manager == other.manager
        && one.operation == other.operation
        && one.subresource == other.subresource
}

/// The managed fields that an object's scale shows: one entry for each owner of the replicas, which stand at
/// `path_of(apiVersion)` of the object (none where that version has no scale).
///
/// # Errors
///
/// In words, why the list cannot be read.
pub fn to_scale<'p>(
    list: Option<&Value>,
    path_of: impl Fn(&str) -> Option<Vec<&'p str>>,
) -> Result<Option<Value>, String> {
    let managed = ManagedFields::parse(list)?;
    let mut shown = ManagedFields::default();
    for entry in managed.0 {
        let Some(at) = path_of(&entry.owner.api_version) else {
            continue;
        };
        if entry.fields.has(&path(&at)) {
            let owner = Owner {
                api_version: SCALE.into(),
                ..entry.owner
            };
            shown.0.push(Entry::new(owner, entry.time, replicas()));
        }
    }
    Ok(shown.write())
}

/// The managed fields of an object after a write to its scale, which left `scale` as the scale's own.
///
/// # Errors
///
/// In words, why a list cannot be read.
pub fn from_scale<'p>(
    list: Option<&Value>,
    scale: Option<&Value>,
    api_version: &str,
    path_of: impl Fn(&str) -> Option<Vec<&'p str>>,
) -> Result<Option<Value>, String> {
    let mut managed = ManagedFields::parse(list)?;
    let mut scaled = ManagedFields::parse(scale)?;
    let own = replicas();
    scaled
        .0
        .retain(|entry| !entry.fields.intersection(&own).is_empty());
    for entry in &mut managed.0 {
        let Some(at) = path_of(&entry.owner.api_version) else {
            continue;
        };
        if !entry.fields.has(&path(&at)) {
            continue;
        }
        let kept = scaled
            .0
            .iter()
            .position(|scaled| matches(&scaled.owner, &entry.owner));
        match kept {
            Some(kept) => {
                let kept = scaled.0.remove(kept);
                entry.time = kept.time;
            }
            None => {
                let mut taken = FieldSet::default();
                taken.insert(path(&at));
                entry.set(entry.fields.difference(&taken));
            }
        }
    }
    managed.drop_empty();
    if let Some(at) = path_of(api_version) {
        for entry in scaled.0 {
            let owner = Owner {
                api_version: api_version.into(),
                ..entry.owner
            };
            let mut fields = FieldSet::default();
            fields.insert(path(&at));
            match managed.position(&owner) {
                Some(place) => {
                    let present = &mut managed.0[place];
                    present.set(present.fields.union(&fields));
                    if owner.operation == Operation::Apply || entry.time.is_some() {
                        present.time = entry.time;
                    }
                }
                None => managed.0.push(Entry::new(owner, entry.time, fields)),
            }
        }
    }
    Ok(managed.write())
}
