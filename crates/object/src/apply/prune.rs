//! Removing what a manager applied once and does not any more.

use serde_json::Value;

use super::fields::fields_of;
use super::managed::{Entry, ManagedFields};
use super::owners::Write;
use super::remove::without;
use super::set::FieldSet;
use crate::schema::shape::Shape;

/// A document, its version and how it merges.
#[derive(Clone)]
struct Versioned<'w> {
    value: Value,
    version: String,
    shape: Shape<'w>,
}

impl<'w> Versioned<'w> {
    /// The document in another version; none where that is not served.
    fn to(&self, write: &Write<'w>, version: &str) -> Result<Option<Self>, String> {
        if self.version == version {
            return Ok(Some(self.clone()));
        }
        if version == write.api_version && !self.value.is_object() {
            return Ok(None);
        }
        Ok(write
            .versions
            .convert(&self.value, version)?
            .map(|(value, shape)| Self {
                value,
                version: version.to_owned(),
                shape,
            }))
    }

    fn fields(&self) -> FieldSet<'_> {
        fields_of(self.shape, &self.value).with_named_fields(self.shape)
    }
}

/// Removes what a manager applied before and does not any more, where nobody else owns it.
pub(super) fn prune(
    write: &Write<'_>,
    merged: Value,
    managed: &ManagedFields<'_>,
    last: &Entry<'_>,
) -> Result<Value, String> {
    let merged = Versioned {
        value: merged,
        version: write.api_version.to_owned(),
        shape: write.shape,
    };
    let version = last.owner.api_version.as_ref();
    let Some(merged) = merged.to(write, version)? else {
        return Ok(merged.value);
    };
    let last = last.fields.with_named_fields(merged.shape);
    let mut left = Versioned {
        value: without(merged.shape, &merged.value, &last),
        ..merged.clone()
    };
    // First what others own, in the version of what is pruned, then in all others.
    let mut versions: Vec<&str> = vec![version];
    for entry in &managed.0 {
        let other = entry.owner.api_version.as_ref();
        if !versions.contains(&other) {
            versions.push(other);
        }
    }
    let mut whole = merged.clone();
    for version in versions {
        let mut owned = FieldSet::default();
        for entry in &managed.0 {
            if entry.owner.api_version == version {
                owned = owned.union(&entry.fields);
            }
        }
        if owned.is_empty() {
            continue;
        }
        let (Some(all), Some(some)) = (whole.to(write, version)?, left.to(write, version)?) else {
            continue;
        };
        let keep = some.fields().union(&owned.with_named_fields(all.shape));
        let value = without(all.shape, &all.value, &all.fields().difference(&keep));
        left = Versioned {
            value,
            ..all.clone()
        };
        whole = all;
    }
    // Then what the manager did not own: items of nobody, or of those who only update.
    let Some(left) = left.to(write, version)? else {
        return Ok(whole.value);
    };
    let removed = merged
        .fields()
        .difference(&left.fields())
        .intersection(&last);
    let value = without(merged.shape, &merged.value, &removed);
    let result = Versioned { value, ..merged };
    result
        .to(write, write.api_version)?
        .map(|result| result.value)
        .ok_or_else(|| format!("{} is not served", write.api_version))
}
