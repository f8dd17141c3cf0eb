//! Makes objects as manifests say: create what is absent, change what differs.
//!
//! Changes are three-way merges as `kubectl apply` makes them: what the last applied manifest had
//! and the new one lacks is removed, what differs is set, what others added stays. The last applied
//! manifest is kept in the annotation `kubectl` uses, so both tools can be mixed.

use http::{Method, Request};
use kube::Client;
use kube::core::Status;
use serde_json::{Map, Value, json};

use crate::error::{Failure, Kind, Result};
use crate::manifests::Manifest;
use crate::resources::{Resource, Resources};

const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
const MANAGER: &str = "consort-apply";

/// What applying a manifest did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The object was not there.
    Created,
    /// The object was changed.
    Configured,
    /// The object already was as the manifest says.
    Unchanged,
}

impl Outcome {
    /// The word users of `kubectl apply` know.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Configured => "configured",
            Self::Unchanged => "unchanged",
        }
    }
}

/// An object that was applied.
pub(crate) struct Applied {
    /// The object's resource.
    pub(crate) resource: Resource,
    /// Its namespace, if it has one.
    pub(crate) namespace: Option<String>,
    /// Its name.
    pub(crate) name: String,
    /// What was done.
    pub(crate) outcome: Outcome,
}

impl Applied {
    /// `deployment.apps/web`.
    pub(crate) fn title(&self) -> String {
        format!("{}/{}", self.resource.singular(), self.name)
    }
}

/// Sorts manifests so that what others refer to comes first; within a rank the order stays.
pub(crate) fn sort(manifests: &mut [Manifest]) {
    manifests.sort_by_key(|manifest| match manifest.kind() {
        "Namespace" => 0,
        "CustomResourceDefinition" | "PriorityClass" | "StorageClass" => 1,
        "ServiceAccount" | "ClusterRole" | "Role" | "LimitRange" | "ResourceQuota" => 2,
        "ClusterRoleBinding" | "RoleBinding" => 3,
        "ConfigMap" | "Secret" | "PersistentVolume" | "PersistentVolumeClaim" => 4,
        "Service" | "NetworkPolicy" => 5,
        _ => 6,
    });
}

/// Applies manifests through one client.
pub(crate) struct Applier<'a> {
    /// Speaks to the server.
    pub(crate) client: &'a Client,
    /// What the server serves.
    pub(crate) resources: &'a Resources,
    /// Where objects go that name no namespace.
    pub(crate) namespace: &'a str,
    /// Whether the server is only asked what it would do.
    pub(crate) dry_run: bool,
}

impl Applier<'_> {
    /// Applies one manifest.
    pub(crate) async fn apply(&self, manifest: &Manifest) -> Result<Applied> {
        let resource = self
            .resources
            .of_kind(manifest.api_version(), manifest.kind())
            .ok_or_else(|| {
                let message = format!(
                    "no matches for kind {:?} in version {:?}",
                    manifest.kind(),
                    manifest.api_version()
                );
                manifest.failure(message, Some("kind"), None)
            })?;
        let namespace = resource
            .namespaced
            .then(|| manifest.namespace().unwrap_or(self.namespace));
        let collection = resource.path(namespace);
        let mut wanted = manifest.value.clone();
        if let (Some(namespace), Some(metadata)) = (namespace, metadata(&mut wanted)) {
            metadata.insert("namespace".to_owned(), json!(namespace));
        }
        let applied = |name: &str, outcome| Applied {
            resource: resource.clone(),
            namespace: namespace.map(str::to_owned),
            name: name.to_owned(),
            outcome,
        };
        let failed = |error: kube::Error| located(manifest, error);

        if manifest.name().is_empty() {
            let made = self.create(&collection, &wanted).await.map_err(failed)?;
            let name = made["metadata"]["name"].as_str().unwrap_or_default();
            return Ok(applied(name, Outcome::Created));
        }
        let path = format!("{collection}/{}", manifest.name());
        let last = annotate(&mut wanted);
        loop {
            let present = match self.send(Method::GET, &path, None, "").await {
                Ok(present) => present,
                Err(kube::Error::Api(status)) if status.code == 404 => {
                    match self.create(&collection, &wanted).await {
                        Ok(_) => return Ok(applied(manifest.name(), Outcome::Created)),
                        // Somebody else was faster; what is there now is changed instead.
                        Err(kube::Error::Api(status)) if status.reason == "AlreadyExists" => {
                            continue;
                        }
                        Err(error) => return Err(failed(error)),
                    }
                }
                Err(error) => return Err(failed(error)),
            };
            let original = present["metadata"]["annotations"][LAST_APPLIED]
                .as_str()
                .and_then(|text| serde_json::from_str(text).ok())
                .unwrap_or(Value::Null);
            let patch = three_way(&original, &last, &wanted, &present);
            if patch.as_object().is_some_and(Map::is_empty) {
                return Ok(applied(manifest.name(), Outcome::Unchanged));
            }
            let changed = self
                .send(
                    Method::PATCH,
                    &self.write(&path),
                    Some(&patch),
                    "application/merge-patch+json",
                )
                .await
                .map_err(failed)?;
            let version = |object: &Value| object["metadata"]["resourceVersion"].clone();
            let outcome = if !self.dry_run && version(&changed) == version(&present) {
                Outcome::Unchanged
            } else {
                Outcome::Configured
            };
            return Ok(applied(manifest.name(), outcome));
        }
    }

    fn write(&self, path: &str) -> String {
        let dry_run = if self.dry_run { "&dryRun=All" } else { "" };
        format!("{path}?fieldManager={MANAGER}&fieldValidation=Strict{dry_run}")
    }

    async fn create(&self, collection: &str, object: &Value) -> kube::Result<Value> {
        let path = self.write(collection);
        self.send(Method::POST, &path, Some(object), "application/json")
            .await
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        content_type: &str,
    ) -> kube::Result<Value> {
        let mut request = Request::builder().method(method).uri(path);
        if body.is_some() {
            request = request.header(http::header::CONTENT_TYPE, content_type);
        }
        let body = body.map(serde_json::to_vec).transpose();
        let body = body.map_err(kube::Error::SerdeError)?.unwrap_or_default();
        let request = request.body(body).map_err(|error| {
            kube::Error::BuildRequest(kube::core::request::Error::BuildRequest(error))
        })?;
        self.client.request(request).await
    }
}

/// The server's refusal, shown at the field it is about.
fn located(manifest: &Manifest, error: kube::Error) -> Failure {
    let kube::Error::Api(status) = error else {
        return error.into();
    };
    let field = field_of(&status);
    let message = format!("{} is refused: {}", manifest.title(), status.message);
    if matches!(status.code, 400 | 422) {
        return manifest.failure(message, field.as_deref(), None);
    }
    let kind = if status.code == 401 {
        Kind::Unreachable
    } else {
        Kind::Failed
    };
    Failure::new(kind, message)
}

fn field_of(status: &Status) -> Option<String> {
    let causes = status
        .details
        .as_ref()
        .map(|details| details.causes.as_slice());
    if let Some(cause) = causes
        .unwrap_or_default()
        .iter()
        .find(|cause| !cause.field.is_empty())
    {
        return Some(cause.field.clone());
    }
    // Decoding names the field in its sentence only: `unknown field "spec.foo"`, or `cannot unmarshal
    // string into Go struct field DeploymentSpec.spec.replicas of type int32`.
    if let Some((_, rest)) = status.message.split_once("Go struct field ") {
        let (_, field) = rest.split(' ').next()?.split_once('.')?;
        return Some(field.to_owned());
    }
    let (_, rest) = status.message.split_once("field \"")?;
    let (field, _) = rest.split_once('"')?;
    Some(field.to_owned())
}

fn metadata(object: &mut Value) -> Option<&mut Map<String, Value>> {
    object.get_mut("metadata").and_then(Value::as_object_mut)
}

/// Adds the annotation that remembers the manifest; gives the manifest without it.
fn annotate(wanted: &mut Value) -> Value {
    if let Some(annotations) = metadata(wanted)
        .and_then(|metadata| metadata.get_mut("annotations"))
        .and_then(Value::as_object_mut)
    {
        annotations.remove(LAST_APPLIED);
    }
    let plain = wanted.clone();
    let text = format!("{plain}\n");
    if let Some(metadata) = metadata(wanted) {
        let annotations = metadata.entry("annotations").or_insert_with(|| json!({}));
        if annotations.is_null() {
            *annotations = json!({});
        }
        if let Some(annotations) = annotations.as_object_mut() {
            annotations.insert(LAST_APPLIED.to_owned(), Value::String(text));
        }
    }
    plain
}

/// The merge patch (RFC 7386) that brings `present` to `wanted` and takes away what `original` had
/// and `plain` (the new manifest) has no more. The annotation counts as a change only beside others.
fn three_way(original: &Value, plain: &Value, wanted: &Value, present: &Value) -> Value {
    let mut patch = changes(original, present, wanted);
    remove(original, plain, present, &mut patch);
    let only_memory = patch.as_object().is_some_and(|patch| {
        patch.len() == 1
            && patch
                .get("metadata")
                .and_then(Value::as_object)
                .is_some_and(|metadata| {
                    metadata.len() == 1
                        && metadata
                            .get("annotations")
                            .and_then(Value::as_object)
                            .is_some_and(|a| a.len() == 1 && a.contains_key(LAST_APPLIED))
                })
    });
    if only_memory && original == plain {
        return json!({});
    }
    patch
}

fn changes(original: &Value, present: &Value, wanted: &Value) -> Value {
    let mut patch = Map::new();
    let (Some(present), Some(wanted)) = (present.as_object(), wanted.as_object()) else {
        return Value::Object(patch);
    };
    for (key, value) in wanted {
        match present.get(key) {
            Some(own) if own.is_object() && value.is_object() => {
                let inner = changes(&original[key], own, value);
                if inner.as_object().is_some_and(|inner| !inner.is_empty()) {
                    patch.insert(key.clone(), inner);
                }
            }
            Some(own) if own == value => {}
            // A list that is wanted as before stands, with what the server has added to its items.
            Some(own) if value.is_array() && original[key] == *value && covers(own, value) => {}
            None if value.is_null() => {}
            _ => {
                patch.insert(key.clone(), value.clone());
            }
        }
    }
    Value::Object(patch)
}

/// Whether everything in `wanted` is in `own`, which may have more.
fn covers(own: &Value, wanted: &Value) -> bool {
    match (own, wanted) {
        (Value::Object(own), Value::Object(wanted)) => wanted.iter().all(|(key, value)| {
            own.get(key)
                .map_or(value.is_null(), |own| covers(own, value))
        }),
        (Value::Array(own), Value::Array(wanted)) => {
            wanted.iter().enumerate().all(|(at, value)| {
                own.get(at).is_some_and(|own| covers(own, value))
                    || own.iter().any(|own| covers(own, value))
            })
        }
        _ => own == wanted,
    }
}

fn remove(original: &Value, plain: &Value, present: &Value, patch: &mut Value) {
    let (Some(original), Some(patch)) = (original.as_object(), patch.as_object_mut()) else {
        return;
    };
    for (key, value) in original {
        let Some(own) = present.get(key) else {
            continue;
        };
        match plain.get(key) {
            None => {
                patch.insert(key.clone(), Value::Null);
            }
            Some(kept) if value.is_object() && kept.is_object() => {
                let mut inner = patch.remove(key).unwrap_or_else(|| json!({}));
                remove(value, kept, own, &mut inner);
                if inner.as_object().is_none_or(|inner| !inner.is_empty()) {
                    patch.insert(key.clone(), inner);
                }
            }
            Some(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patch_of(original: &Value, manifest: &Value, present: &Value) -> Value {
        three_way(original, manifest, manifest, present)
    }

    #[test]
    fn what_others_added_stays_and_what_the_manifest_dropped_goes() {
        let original = json!({"data": {"a": "1", "b": "2"}});
        let manifest = json!({"data": {"a": "1", "c": "3"}});
        let present =
            json!({"data": {"a": "changed", "b": "2", "other": "x"}, "kind": "ConfigMap"});
        assert_eq!(
            patch_of(&original, &manifest, &present),
            json!({"data": {"a": "1", "c": "3", "b": null}})
        );
    }

    #[test]
    fn what_is_as_it_should_be_needs_no_patch() {
        let manifest = json!({"spec": {"replicas": 2}});
        let present = json!({"spec": {"replicas": 2, "strategy": {}}, "status": {}});
        assert_eq!(patch_of(&manifest, &manifest, &present), json!({}));
    }

    #[test]
    fn what_the_server_added_to_the_items_of_a_list_is_no_difference() {
        let manifest = json!({"spec": {"containers": [{"name": "a", "image": "x"}]}});
        let present = json!({"spec": {"containers": [
            {"name": "a", "image": "x", "volumeMounts": [{"name": "token"}]}
        ]}});
        assert_eq!(patch_of(&manifest, &manifest, &present), json!({}));
        let other = json!({"spec": {"containers": [{"name": "a", "image": "y"}]}});
        assert_eq!(patch_of(&manifest, &other, &present), other);
        assert_eq!(patch_of(&manifest, &manifest, &other), manifest);
    }

    #[test]
    fn the_manifest_is_remembered_without_the_memory_itself() {
        let mut wanted =
            json!({"metadata": {"name": "a", "annotations": {LAST_APPLIED: "old", "x": "y"}}});
        let plain = annotate(&mut wanted);
        assert_eq!(
            plain,
            json!({"metadata": {"name": "a", "annotations": {"x": "y"}}})
        );
        let kept = wanted["metadata"]["annotations"][LAST_APPLIED]
            .as_str()
            .unwrap();
        assert_eq!(serde_json::from_str::<Value>(kept).unwrap(), plain);
    }

    #[test]
    fn a_refusals_field_is_found_in_causes_and_in_words() {
        let status = |value| serde_json::from_value::<Status>(value).unwrap();
        let words = status(json!({"message": "strict decoding error: unknown field \"spec.foo\""}));
        assert_eq!(field_of(&words).as_deref(), Some("spec.foo"));
        let kind = status(
            json!({"message": "cannot unmarshal string into Go struct field \
            DeploymentSpec.spec.replicas of type int32"}),
        );
        assert_eq!(field_of(&kind).as_deref(), Some("spec.replicas"));
        let causes = status(json!({"message": "m", "details": {"causes": [
            {"reason": "FieldValueInvalid", "message": "x", "field": "spec.replicas"}]}}));
        assert_eq!(field_of(&causes).as_deref(), Some("spec.replicas"));
    }
}
