//! Makes objects as manifests say: create what is absent, change what differs.
//!
//! Every manifest is a server-side apply of the manager `consort`: what the manifest says is owned by it, what
//! an earlier one said and this one does not goes, what others set stays. Where a manifest says otherwise than
//! someone else has set, it is refused with the names of both the field and its owner, unless it is forced.

use http::{Method, Request};
use kube::Client;
use kube::core::Status;
use serde_json::{Map, Value, json};

use crate::error::{Failure, Kind, Result};
use crate::manifests::Manifest;
use crate::resources::{Resource, Resources};

const MANAGER: &str = "consort";

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
    /// Whether fields that others own are taken from them.
    pub(crate) force: bool,
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
        let present = match self.send(Method::GET, &path, None, "").await {
            Ok(present) => Some(present),
            Err(kube::Error::Api(status)) if status.code == 404 => None,
            Err(error) => return Err(failed(error)),
        };
        let force = if self.force { "&force=true" } else { "" };
        let changed = self
            .send(
                Method::PATCH,
                &format!("{}{force}", self.write(&path)),
                Some(&wanted),
                "application/apply-patch+yaml",
            )
            .await
            .map_err(failed)?;
        let outcome = match present {
            None => Outcome::Created,
            Some(present) if present == changed => Outcome::Unchanged,
            Some(_) => Outcome::Configured,
        };
        Ok(applied(manifest.name(), outcome))
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
    let conflicts = conflicts(&status);
    if let Some((field, _)) = conflicts.first() {
        let mut message = format!(
            "{} is refused: others own what the manifest changes",
            manifest.title()
        );
        for (field, owner) in &conflicts {
            message.push_str(&format!("\n  {field} belongs to {owner}"));
        }
        let hint =
            "leave these fields out of the manifest, or take them over with --force-conflicts";
        return manifest
            .failure(message, Some(field), Some(hint.to_owned()))
            .of_kind(Kind::Failed);
    }
    let field = field_of(&status);
    let message = format!("{} is refused: {}", manifest.title(), status.message);
    // A manifest that does not fit its kind's schema cannot be merged: that is told with a 500.
    if matches!(status.code, 400 | 422) || status.message.starts_with(UNMERGEABLE) {
        return manifest.failure(message, field.as_deref(), None);
    }
    let kind = if status.code == 401 {
        Kind::Unreachable
    } else {
        Kind::Failed
    };
    Failure::new(kind, message)
}

const UNMERGEABLE: &str = "failed to create typed patch object";

/// The fields that others own, each with its owner as the server names it.
fn conflicts(status: &Status) -> Vec<(String, String)> {
    let causes = status.details.iter().flat_map(|details| &details.causes);
    causes
        .filter(|cause| cause.reason == "FieldManagerConflict")
        .map(|cause| {
            let owner = cause.message.strip_prefix("conflict with ");
            (
                cause.field.trim_start_matches('.').to_owned(),
                owner.unwrap_or(&cause.message).to_owned(),
            )
        })
        .collect()
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
    if status.message.starts_with(UNMERGEABLE) {
        // `failed to create typed patch object (ns/name; v1, Kind=X): .spec.foo: field not declared in schema`,
        // or such lines below `errors:`.
        let (_, faults) = status.message.split_once("): ")?;
        let fault = faults
            .strip_prefix("errors:")
            .unwrap_or(faults)
            .trim_start();
        let (field, _) = fault.split_once(": ")?;
        return Some(field.trim_start_matches('.').to_owned());
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

#[cfg(test)]
mod tests {
    use super::*;

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
        let one = status(
            json!({"message": "failed to create typed patch object (n/a; apps/v1, Kind=Deployment): .spec.foo: field not declared in schema"}),
        );
        assert_eq!(field_of(&one).as_deref(), Some("spec.foo"));
        let more = status(
            json!({"message": "failed to create typed patch object (n/a; /v1, Kind=Pod): errors:\n  .spec.a: x\n  .spec.b: y"}),
        );
        assert_eq!(field_of(&more).as_deref(), Some("spec.a"));
    }

    #[test]
    fn conflicts_are_told_with_field_and_owner() {
        let status = serde_json::from_value::<Status>(
            json!({"message": "Apply failed", "details": {"causes": [
            {"reason": "FieldManagerConflict", "message": "conflict with \"kubectl\" using apps/v1", "field": ".spec.replicas"}]}}),
        );
        assert_eq!(
            conflicts(&status.unwrap()),
            [(
                "spec.replicas".to_owned(),
                "\"kubectl\" using apps/v1".to_owned()
            )]
        );
    }
}
