//! Writes that change only what differs.
//!
//! Objects are decoded into typed structs that may not know every field of a newer server, so they
//! are never sent back whole: a write is the JSON merge patch (RFC 7386) between what was read and
//! what is wanted, under the precondition that the object has not changed since it was read.

use crate::error::{Doing, Error};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{
    Api, Resource,
    api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions, PropagationPolicy},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::fmt::Debug;

/// The field manager of all writes.
pub(crate) const MANAGER: &str = "consort-workloads";

pub(crate) fn patch_params() -> PatchParams {
    PatchParams {
        field_manager: Some(MANAGER.to_owned()),
        ..PatchParams::default()
    }
}

pub(crate) fn post_params() -> PostParams {
    PostParams {
        field_manager: Some(MANAGER.to_owned()),
        ..PostParams::default()
    }
}

/// The merge patch that turns `old` into `new`; `None` if they are equal.
pub(crate) fn merge_diff(old: &Value, new: &Value) -> Option<Value> {
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => {
            let mut patch = Map::new();
            for (key, value) in new {
                match old.get(key) {
                    Some(before) => {
                        if let Some(change) = merge_diff(before, value) {
                            patch.insert(key.clone(), change);
                        }
                    }
                    None => {
                        patch.insert(key.clone(), value.clone());
                    }
                }
            }
            for key in old.keys().filter(|key| !new.contains_key(*key)) {
                patch.insert(key.clone(), Value::Null);
            }
            (!patch.is_empty()).then_some(Value::Object(patch))
        }
        _ => (old != new).then(|| new.clone()),
    }
}

fn encode(what: &'static str, value: &impl Serialize) -> Result<Value, Error> {
    serde_json::to_value(value).map_err(|source| Error::Encode { what, source })
}

fn precondition(patch: &mut Value, meta: &ObjectMeta) {
    patch["metadata"]["resourceVersion"] = json!(meta.resource_version);
    patch["metadata"]["uid"] = json!(meta.uid);
}

pub(crate) fn name_of(meta: &ObjectMeta) -> &str {
    meta.name.as_deref().unwrap_or_default()
}

/// Changes `old` into `new` (all but the status). `None` if there is nothing to change.
pub(crate) async fn update<K>(api: &Api<K>, old: &K, new: &K) -> Result<Option<K>, Error>
where
    K: Resource + Serialize + DeserializeOwned + Clone + Debug,
{
    let (before, mut after) = (encode("an object", old)?, encode("an object", new)?);
    if let (Some(status), Some(object)) = (before.get("status"), after.as_object_mut()) {
        object.insert("status".to_owned(), status.clone());
    }
    let Some(mut patch) = merge_diff(&before, &after) else {
        return Ok(None);
    };
    precondition(&mut patch, old.meta());
    let name = name_of(old.meta());
    let updated = api
        .patch(name, &patch_params(), &Patch::Merge(&patch))
        .await
        .doing(|| format!("updating {name}"))?;
    Ok(Some(updated))
}

/// Changes the status of the object with this metadata from `old` to `new`, if they differ.
pub(crate) async fn update_status<K, S>(
    api: &Api<K>,
    meta: &ObjectMeta,
    old: Option<&S>,
    new: &S,
) -> Result<Option<K>, Error>
where
    K: DeserializeOwned,
    S: Serialize + PartialEq,
{
    if old == Some(new) {
        return Ok(None);
    }
    let before = match old {
        Some(old) => encode("a status", old)?,
        None => json!({}),
    };
    let Some(change) = merge_diff(&before, &encode("a status", new)?) else {
        return Ok(None);
    };
    let mut patch = json!({ "status": change });
    precondition(&mut patch, meta);
    let name = name_of(meta);
    let updated = api
        .patch_status(name, &patch_params(), &Patch::Merge(&patch))
        .await
        .doing(|| format!("updating the status of {name}"))?;
    Ok(Some(updated))
}

/// Merge-patches the metadata of an object under the precondition that it has not changed.
pub(crate) async fn update_metadata<K>(
    api: &Api<K>,
    meta: &ObjectMeta,
    change: Value,
) -> Result<K, Error>
where
    K: Clone + DeserializeOwned + Debug,
{
    let mut patch = json!({ "metadata": change });
    precondition(&mut patch, meta);
    let name = name_of(meta);
    api.patch(name, &patch_params(), &Patch::Merge(&patch))
        .await
        .doing(|| format!("updating the metadata of {name}"))
}

/// Sets annotations by way of the status, under the precondition that the object has not changed: some kinds count
/// a change of annotations as one of what is wanted, and what a controller notes down is none.
pub(crate) async fn annotate<K>(
    api: &Api<K>,
    meta: &ObjectMeta,
    annotations: &BTreeMap<String, String>,
) -> Result<K, Error>
where
    K: DeserializeOwned,
{
    let mut patch = json!({ "metadata": { "annotations": annotations } });
    precondition(&mut patch, meta);
    let name = name_of(meta);
    api.patch_status(name, &patch_params(), &Patch::Merge(&patch))
        .await
        .doing(|| format!("annotating {name}"))
}

/// Deletes exactly this object: not one of the same name that came after it. True if the server
/// accepted the deletion, false if the object was gone already.
pub(crate) async fn delete<K>(
    api: &Api<K>,
    meta: &ObjectMeta,
    propagation: Option<PropagationPolicy>,
    grace: Option<u32>,
) -> Result<bool, Error>
where
    K: Clone + DeserializeOwned + Debug,
{
    let params = DeleteParams {
        preconditions: Some(Preconditions {
            uid: meta.uid.clone(),
            resource_version: None,
        }),
        propagation_policy: propagation,
        grace_period_seconds: grace,
        ..DeleteParams::default()
    };
    let name = name_of(meta);
    match api
        .delete(name, &params)
        .await
        .doing(|| format!("deleting {name}"))
    {
        Ok(_) => Ok(true),
        // Gone, or replaced by another object of the same name.
        Err(error) if error.is(404) || error.is(409) => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_diff_holds_changes_additions_and_removals_only() {
        let old = json!({"a": 1, "b": {"c": 1, "d": 2}, "e": [1], "gone": true});
        let new = json!({"a": 1, "b": {"c": 1, "d": 3}, "e": [1, 2], "new": {}});
        let expected = json!({"b": {"d": 3}, "e": [1, 2], "new": {}, "gone": null});
        assert_eq!(merge_diff(&old, &new), Some(expected));
        assert_eq!(merge_diff(&old, &old), None);
    }
}
