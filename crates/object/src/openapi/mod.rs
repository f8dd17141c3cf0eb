//! OpenAPI documents for what a server serves.
//!
//! Version 3 has a document per group and version ([`document`]) and an index ([`index`]) in which each is named
//! with the hash of its bytes; version 2 has one document for everything ([`document_v2`]). Structure, keys
//! and merge strategies come from the table of facts, descriptions from `k8s-openapi`. The same input gives the
//! same bytes. Making a document takes milliseconds: make it on first request and keep it.

mod custom;
mod descriptions;
pub mod gnostic;
mod paths;
mod schemas;

use std::fmt::Write as _;

use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha512};

use crate::schema::{Gvk, Schema};
pub use custom::Custom;
use schemas::Components;

/// A resource that is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    /// The plural name in paths.
    pub plural: String,
    /// The kind of its objects.
    pub gvk: Gvk,
    /// Whether its objects live in namespaces.
    pub namespaced: bool,
    /// The verbs it serves, as discovery names them: `create`, `delete`, `deletecollection`, `get`, `list`,
    /// `patch`, `update`, `watch`.
    pub verbs: Vec<String>,
    /// Its subresources.
    pub subresources: Vec<Subresource>,
    /// What a definition says of it; none for a built-in kind.
    pub custom: Option<Custom>,
}

/// A subresource, such as `scale`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subresource {
    /// The name in paths.
    pub name: String,
    /// The kind of its body, which may be of another group.
    pub gvk: Gvk,
    /// The verbs it serves: `create`, `get`, `patch`, `update`.
    pub verbs: Vec<String>,
}

/// The OpenAPI 3 document of one group and version, as JSON.
///
/// Kinds that the schema does not know (custom resources) are described as free-form objects.
pub fn document(
    schema: &Schema,
    group: &str,
    version: &str,
    resources: impl IntoIterator<Item = Resource>,
) -> Vec<u8> {
    let mut components = Components::new(schema, "#/components/schemas/", group, version);
    let mut paths = Map::new();
    for mut resource in resources {
        components.custom(&mut resource, false);
        paths::add(
            &mut paths,
            &mut components,
            group,
            version,
            &resource,
            paths::Dialect::V3,
        );
    }
    sort(&mut paths);
    let mut document = json!({
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": "unversioned"},
        "paths": null,
        "components": {
            "schemas": null,
            "securitySchemes": {
                "BearerToken": {"type": "apiKey", "name": "authorization", "in": "header", "description": "Bearer Token authentication"},
            },
        },
    });
    // Put in whole: the macro would copy them.
    document["paths"] = paths.into();
    document["components"]["schemas"] = components.finish().into();
    // A value of maps with text keys always serialises.
    serde_json::to_vec(&document).unwrap_or_default()
}

/// The schema of one kind with those it refers to: the name of its own among them, and all by the names that
/// `$ref` has behind `#/components/schemas/`. None for a kind the schema does not know.
pub fn definitions(schema: &Schema, gvk: &Gvk) -> Option<(String, Map<String, Value>)> {
    schema.kind(gvk)?;
    let prefix = "#/components/schemas/";
    let mut components = Components::new(schema, prefix, &gvk.group, &gvk.version);
    let reference = components.kind(gvk);
    let found = reference.to_string();
    let all = components.finish();
    let name = all
        .keys()
        .find(|name| found.contains(&format!("{prefix}{name}\"")))?
        .clone();
    Some((name, all))
}

/// The OpenAPI 2 document of all that is served. [`gnostic::encode`] gives its protobuf. Tools older than version 3 ask for it.
///
/// The resources may be made one by one: at no time are the schemas of two of them held besides the document.
pub fn document_v2(schema: &Schema, resources: impl IntoIterator<Item = Resource>) -> Value {
    let mut components = Components::new(schema, "#/definitions/", "", "v1");
    let mut paths = Map::new();
    for mut resource in resources {
        let (group, version) = (resource.gvk.group.clone(), resource.gvk.version.clone());
        components.speak_for(&group, &version);
        components.custom(&mut resource, true);
        paths::add(
            &mut paths,
            &mut components,
            &group,
            &version,
            &resource,
            paths::Dialect::V2,
        );
    }
    sort(&mut paths);
    let mut document = json!({
        "swagger": "2.0",
        "info": {"title": "Kubernetes", "version": "unversioned"},
        "paths": null,
        "definitions": null,
        "securityDefinitions": {
            "BearerToken": {"type": "apiKey", "name": "authorization", "in": "header", "description": "Bearer Token authentication"},
        },
        "security": [{"BearerToken": []}],
    });
    // Put in whole: the macro would copy them.
    document["paths"] = paths.into();
    document["definitions"] = components.finish().into();
    document
}

/// The index of OpenAPI 3 documents: each with its path (`apis/apps/v1`, `api/v1`) and the [`hash`] of its bytes.
pub fn index<'a>(documents: impl IntoIterator<Item = (&'a str, &'a str)>) -> Value {
    let paths: Map<String, Value> = documents
        .into_iter()
        .map(|(path, hash)| {
            (
                path.to_owned(),
                json!({"serverRelativeURL": format!("/openapi/v3/{path}?hash={hash}")}),
            )
        })
        .collect();
    json!({"paths": paths})
}

/// Tells the schemas that this program knows from those of another version of it: whatever a document is
/// made of besides what is served.
pub fn fingerprint() -> &'static str {
    static TEXT: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    TEXT.get_or_init(|| {
        let mut hasher = Sha512::new();
        hasher.update(env!("CARGO_PKG_VERSION"));
        hasher.update(crate::schema::table_source());
        hex(&hasher.finalize())
    })
}

/// The hash of a document, for its address and its ETag: SHA-512 in upper-case hexadecimal.
pub fn hash(document: &[u8]) -> String {
    hex(&Sha512::digest(document))
}

fn hex(digest: &[u8]) -> String {
    digest
        .iter()
        .fold(String::with_capacity(128), |mut text, byte| {
            // Writing to a String cannot fail.
            let _ = write!(text, "{byte:02X}");
            text
        })
}

fn sort(map: &mut Map<String, Value>) {
    map.sort_keys();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deployments() -> Resource {
        let verbs = |verbs: &[&str]| verbs.iter().map(|verb| (*verb).to_owned()).collect();
        Resource {
            plural: "deployments".to_owned(),
            gvk: Gvk::new("apps", "v1", "Deployment"),
            namespaced: true,
            verbs: verbs(&[
                "create",
                "delete",
                "deletecollection",
                "get",
                "list",
                "patch",
                "update",
                "watch",
            ]),
            subresources: vec![Subresource {
                name: "scale".to_owned(),
                gvk: Gvk::new("autoscaling", "v1", "Scale"),
                verbs: verbs(&["get", "patch", "update"]),
            }],
            custom: None,
        }
    }

    fn apps() -> Value {
        serde_json::from_slice(&document(Schema::builtin(), "apps", "v1", [deployments()])).unwrap()
    }

    #[test]
    fn a_kind_is_found_from_its_path_and_described() {
        let document = apps();
        let operation =
            &document["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"];
        let gvk = json!({"group": "apps", "version": "v1", "kind": "Deployment"});
        assert_eq!(operation["x-kubernetes-group-version-kind"], gvk);
        assert_eq!(operation["x-kubernetes-action"], "patch");
        let parameters: Vec<&str> = operation["parameters"]
            .as_array()
            .unwrap()
            .iter()
            .map(|parameter| parameter["name"].as_str().unwrap())
            .collect();
        assert!(parameters.contains(&"fieldValidation") && parameters.contains(&"dryRun"));
        let schemas = &document["components"]["schemas"];
        let deployment = &schemas["io.k8s.api.apps.v1.Deployment"];
        assert_eq!(deployment["x-kubernetes-group-version-kind"], json!([gvk]));
        assert_eq!(
            deployment["properties"]["spec"]["allOf"][0]["$ref"],
            "#/components/schemas/io.k8s.api.apps.v1.DeploymentSpec"
        );
        assert!(
            deployment["description"]
                .as_str()
                .unwrap()
                .starts_with("Deployment enables")
        );
        let containers = &schemas["io.k8s.api.core.v1.PodSpec"]["properties"]["containers"];
        assert_eq!(containers["x-kubernetes-patch-merge-key"], "name");
        assert_eq!(containers["x-kubernetes-patch-strategy"], "merge");
        assert_eq!(containers["x-kubernetes-list-type"], "map");
        assert_eq!(containers["x-kubernetes-list-map-keys"], json!(["name"]));
        assert!(!containers["description"].as_str().unwrap().is_empty());
        assert_eq!(
            schemas["io.k8s.api.apps.v1.DeploymentSpec"]["required"],
            json!(["selector", "template"])
        );
    }

    #[test]
    fn every_reference_leads_somewhere() {
        fn references(value: &Value, found: &mut Vec<String>) {
            match value {
                Value::Object(map) => {
                    for (key, value) in map {
                        match value {
                            Value::String(target) if key == "$ref" => found.push(target.clone()),
                            value => references(value, found),
                        }
                    }
                }
                Value::Array(items) => items.iter().for_each(|item| references(item, found)),
                _ => {}
            }
        }
        let mut custom = deployments();
        custom.gvk = Gvk::new("example.com", "v1", "Thing");
        custom.custom = Some(Custom {
            list_kind: "Things".into(),
            schema: json!({"type": "object", "properties": {"spec": {"type": "object", "nullable": true,
                "properties": {"pod": {"type": "object", "x-kubernetes-embedded-resource": true}}}}}),
            selectable: vec!["spec.color".into()],
        });
        let v2 = document_v2(Schema::builtin(), [deployments(), custom.clone()]);
        assert!(v2["definitions"]["com.example.v1.Thing"]["properties"]["spec"]["type"].is_null());
        let v3: Value =
            serde_json::from_slice(&document(Schema::builtin(), "example.com", "v1", [custom]))
                .unwrap();
        let thing = &v3["components"]["schemas"]["com.example.v1.Thing"];
        assert_eq!(
            thing["x-kubernetes-selectable-fields"][0]["fieldPath"],
            "spec.color"
        );
        let pod = &thing["properties"]["spec"]["properties"]["pod"];
        assert_eq!(pod["required"], json!(["kind", "apiVersion"]));
        let list = &v3["components"]["schemas"]["com.example.v1.Things"];
        assert_eq!(
            list["properties"]["items"]["items"]["$ref"],
            "#/components/schemas/com.example.v1.Thing"
        );
        for document in [apps(), v2, v3] {
            let mut found = Vec::new();
            references(&document, &mut found);
            assert!(!found.is_empty());
            for target in found {
                assert!(
                    document.pointer(target.trim_start_matches('#')).is_some(),
                    "{target}"
                );
            }
        }
    }

    #[test]
    fn the_same_input_gives_the_same_bytes() {
        let once = document(Schema::builtin(), "apps", "v1", [deployments()]);
        assert_eq!(
            once,
            document(Schema::builtin(), "apps", "v1", [deployments()])
        );
        let hash = hash(&once);
        assert_eq!(hash.len(), 128);
        assert_eq!(
            index([("apis/apps/v1", hash.as_str())])["paths"]["apis/apps/v1"]["serverRelativeURL"],
            format!("/openapi/v3/apis/apps/v1?hash={hash}")
        );
    }

    #[test]
    fn an_unknown_kind_is_a_free_form_object() {
        let mut resource = deployments();
        resource.gvk = Gvk::new("example.com", "v1", "Thing");
        let document: Value = serde_json::from_slice(&document(
            Schema::builtin(),
            "example.com",
            "v1",
            [resource],
        ))
        .unwrap();
        let thing = &document["components"]["schemas"]["com.example.v1.Thing"];
        assert_eq!(thing["x-kubernetes-preserve-unknown-fields"], true);
    }
}
