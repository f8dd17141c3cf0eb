use serde_json::{Map, Value, json};

use super::schemas::Components;
use super::{Resource, Subresource};
use crate::schema::Gvk;

/// The version of OpenAPI that is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    V2,
    V3,
}

/// The media types of answers.
const MEDIA_TYPES: [&str; 3] = [
    "application/json",
    "application/yaml",
    "application/vnd.kubernetes.protobuf",
];

/// The media types of patches.
const PATCH_TYPES: [&str; 4] = [
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
];

/// Those of kinds without merge strategies.
const CUSTOM_PATCH_TYPES: [&str; 3] = [
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/apply-patch+yaml",
];

const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1";

/// One operation, before it is put into words.
struct Operation<'a> {
    /// As discovery names it.
    verb: &'a str,
    gvk: &'a Gvk,
    /// What it is done to, for the description: `Deployment`, `scale of the Deployment`.
    target: String,
    /// The unique end of its id: `AppsV1NamespacedDeployment`.
    id: String,
    tag: String,
}

/// Adds the paths of a resource to a document of this group and version.
pub(super) fn add(
    paths: &mut Map<String, Value>,
    components: &mut Components<'_>,
    group: &str,
    version: &str,
    resource: &Resource,
    dialect: Dialect,
) {
    let root = if group.is_empty() {
        format!("/api/{version}")
    } else {
        format!("/apis/{group}/{version}")
    };
    let scope = if resource.namespaced {
        "/namespaces/{namespace}"
    } else {
        ""
    };
    let collection = format!("{root}{scope}/{}", resource.plural);
    let object = format!("{collection}/{{name}}");
    let kind = &resource.gvk.kind;
    let first = group
        .split('.')
        .next()
        .filter(|part| !part.is_empty())
        .unwrap_or("core");
    let tag = if group.is_empty() {
        format!("core_{version}")
    } else {
        format!("{first}_{version}")
    };
    let stem = format!("{}{}", capital(first), capital(version));
    let middle = if resource.namespaced {
        "Namespaced"
    } else {
        ""
    };
    let list_kind = match &resource.custom {
        Some(custom) => custom.list_kind.clone(),
        None => format!("{kind}List"),
    };
    let mut maker = Maker {
        components,
        dialect,
        list_kind,
        custom: resource.custom.is_some(),
    };
    let operation = |verb, gvk, target: &str, id: String| Operation {
        verb,
        gvk,
        target: target.to_owned(),
        id,
        tag: tag.clone(),
    };
    let has = |verb: &str| resource.verbs.iter().any(|served| served == verb);

    let mut on_collection = Map::new();
    for (method, verb) in [
        ("get", "list"),
        ("post", "create"),
        ("delete", "deletecollection"),
    ] {
        if has(verb) {
            let operation = operation(verb, &resource.gvk, kind, format!("{stem}{middle}{kind}"));
            on_collection.insert(method.to_owned(), maker.operation(&operation));
        }
    }
    maker.put(paths, collection, on_collection, resource.namespaced, false);
    if resource.namespaced && has("list") {
        let operation = operation(
            "list",
            &resource.gvk,
            kind,
            format!("{stem}{kind}ForAllNamespaces"),
        );
        let all = Map::from_iter([("get".to_owned(), maker.operation(&operation))]);
        maker.put(
            paths,
            format!("{root}/{}", resource.plural),
            all,
            false,
            false,
        );
    }
    let mut on_object = Map::new();
    for (method, verb) in [
        ("get", "get"),
        ("put", "update"),
        ("patch", "patch"),
        ("delete", "delete"),
    ] {
        if has(verb) {
            let operation = operation(verb, &resource.gvk, kind, format!("{stem}{middle}{kind}"));
            on_object.insert(method.to_owned(), maker.operation(&operation));
        }
    }
    maker.put(paths, object.clone(), on_object, resource.namespaced, true);
    for Subresource { name, gvk, verbs } in &resource.subresources {
        let mut methods = Map::new();
        for (method, verb) in [
            ("get", "get"),
            ("post", "create"),
            ("put", "update"),
            ("patch", "patch"),
        ] {
            if verbs.iter().any(|served| served == verb) {
                let id = format!("{stem}{middle}{kind}{}", capital(name));
                methods.insert(
                    method.to_owned(),
                    maker.operation(&operation(verb, gvk, &format!("{name} of the {kind}"), id)),
                );
            }
        }
        maker.put(
            paths,
            format!("{object}/{name}"),
            methods,
            resource.namespaced,
            true,
        );
    }
}

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(letters).collect()
    })
}

struct Maker<'c, 's> {
    components: &'c mut Components<'s>,
    dialect: Dialect,
    list_kind: String,
    /// A custom kind has no protobuf form and no strategic merge patch.
    custom: bool,
}

impl Maker<'_, '_> {
    fn put(
        &self,
        paths: &mut Map<String, Value>,
        path: String,
        mut methods: Map<String, Value>,
        namespaced: bool,
        named: bool,
    ) {
        if methods.is_empty() {
            return;
        }
        let mut parameters = Vec::new();
        if named {
            parameters.push(self.parameter("name", "path", "string", "The object's name."));
        }
        if namespaced {
            parameters.push(self.parameter(
                "namespace",
                "path",
                "string",
                "The namespace the object lives in.",
            ));
        }
        parameters.push(self.parameter(
            "pretty",
            "query",
            "string",
            "If \"true\", the answer is indented.",
        ));
        methods.insert("parameters".to_owned(), parameters.into());
        paths.insert(path, Value::Object(methods));
    }

    fn parameter(&self, name: &str, place: &str, kind: &str, description: &str) -> Value {
        let mut parameter = json!({"name": name, "in": place, "description": description});
        if let Value::Object(parameter) = &mut parameter {
            if place == "path" {
                parameter.insert("required".to_owned(), true.into());
            }
            match self.dialect {
                Dialect::V2 => parameter.insert("type".to_owned(), kind.into()),
                Dialect::V3 => parameter.insert(
                    "schema".to_owned(),
                    json!({"type": kind, "uniqueItems": true}),
                ),
            };
            parameter.insert("uniqueItems".to_owned(), true.into());
            if self.dialect == Dialect::V3 {
                parameter.shift_remove("uniqueItems");
            }
        }
        parameter
    }

    fn media_types(&self) -> &'static [&'static str] {
        if self.custom {
            &MEDIA_TYPES[..2]
        } else {
            &MEDIA_TYPES
        }
    }

    fn operation(&mut self, operation: &Operation<'_>) -> Value {
        let Operation {
            verb,
            gvk,
            target,
            id,
            tag,
        } = operation;
        let query = |name, kind, text| (name, kind, text);
        let dry_run = query(
            "dryRun",
            "string",
            "\"All\": everything is done except that nothing is persisted.",
        );
        let manager = query(
            "fieldManager",
            "string",
            "The name of the actor that makes the change.",
        );
        let validation = query(
            "fieldValidation",
            "string",
            "What happens to unknown and duplicate fields: \"Ignore\", \"Warn\" (the default) or \"Strict\".",
        );
        let selection = [
            query(
                "continue",
                "string",
                "Where an earlier, limited list left off.",
            ),
            query(
                "fieldSelector",
                "string",
                "Selects objects by their fields.",
            ),
            query(
                "labelSelector",
                "string",
                "Selects objects by their labels.",
            ),
            query(
                "limit",
                "integer",
                "The largest number of objects to answer with.",
            ),
            query(
                "resourceVersion",
                "string",
                "The revision to read at, or to begin after.",
            ),
            query(
                "resourceVersionMatch",
                "string",
                "How resourceVersion is meant: \"Exact\" or \"NotOlderThan\".",
            ),
            query(
                "sendInitialEvents",
                "boolean",
                "Whether a watch begins with the objects that are there.",
            ),
            query(
                "timeoutSeconds",
                "integer",
                "The time after which the call ends.",
            ),
        ];
        let deletion = [
            query(
                "gracePeriodSeconds",
                "integer",
                "The time the object has to end.",
            ),
            query(
                "orphanDependents",
                "boolean",
                "Superseded by propagationPolicy.",
            ),
            query(
                "propagationPolicy",
                "string",
                "What happens to dependents: \"Orphan\", \"Background\" or \"Foreground\".",
            ),
        ];
        let (id_verb, action, text): (&str, &str, String) = match *verb {
            "list" => (
                "list",
                "list",
                format!("List or watch objects of kind {target}."),
            ),
            "create" => ("create", "post", format!("Create a {target}.")),
            "deletecollection" => (
                "deleteCollection",
                "deletecollection",
                format!("Delete a collection of {target}."),
            ),
            "get" => ("read", "get", format!("Read the {target}.")),
            "update" => ("replace", "put", format!("Replace the {target}.")),
            "patch" => ("patch", "patch", format!("Change parts of the {target}.")),
            _ => ("delete", "delete", format!("Delete a {target}.")),
        };
        let mut parameters = Vec::new();
        match *verb {
            "list" => {
                parameters.push(query(
                    "allowWatchBookmarks",
                    "boolean",
                    "Whether a watch sends bookmarks.",
                ));
                parameters.extend(selection);
                parameters.push(query(
                    "watch",
                    "boolean",
                    "Watch for changes instead of listing.",
                ));
            }
            "create" | "update" => parameters.extend([dry_run, manager, validation]),
            "patch" => {
                parameters.extend([dry_run, manager, validation]);
                parameters.push(query(
                    "force",
                    "boolean",
                    "Whether an apply takes fields from other managers.",
                ));
            }
            "deletecollection" => {
                parameters.push(dry_run);
                parameters.extend(selection);
                parameters.extend(deletion);
            }
            "delete" => {
                parameters.push(dry_run);
                parameters.extend(deletion);
            }
            _ => {}
        }
        let mut parameters: Vec<Value> = parameters
            .into_iter()
            .map(|(name, kind, text)| self.parameter(name, "query", kind, text))
            .collect();
        let body = match *verb {
            "create" | "update" => Some((self.components.kind(gvk), true)),
            "patch" => Some((self.components.named(&format!("{META}.Patch")), true)),
            "delete" | "deletecollection" => Some((
                self.components.named(&format!("{META}.DeleteOptions")),
                false,
            )),
            _ => None,
        };
        let answer = match *verb {
            "list" => {
                let list = Gvk::new(
                    gvk.group.as_str(),
                    gvk.version.as_str(),
                    self.list_kind.as_str(),
                );
                self.components.kind(&list)
            }
            "delete" | "deletecollection" => self.components.named(&format!("{META}.Status")),
            _ => self.components.kind(gvk),
        };
        let codes: &[(&str, &str)] = match *verb {
            "create" => &[("200", "OK"), ("201", "Created"), ("202", "Accepted")],
            "update" | "patch" => &[("200", "OK"), ("201", "Created")],
            "delete" => &[("200", "OK"), ("202", "Accepted")],
            _ => &[("200", "OK")],
        };
        let mut responses = Map::new();
        for (code, text) in codes {
            let response = match self.dialect {
                Dialect::V2 => json!({"description": text, "schema": answer}),
                Dialect::V3 => {
                    let content: Map<String, Value> = self
                        .media_types()
                        .iter()
                        .map(|kind| ((*kind).to_owned(), json!({"schema": answer})))
                        .collect();
                    json!({"description": text, "content": content})
                }
            };
            responses.insert((*code).to_owned(), response);
        }
        responses.insert("401".to_owned(), json!({"description": "Unauthorized"}));
        let consumes: &[&str] = if *verb == "patch" {
            if self.custom {
                &CUSTOM_PATCH_TYPES
            } else {
                &PATCH_TYPES
            }
        } else {
            &["*/*"]
        };
        let mut made = json!({
            "description": text,
            "operationId": format!("{id_verb}{id}"),
            "tags": [tag],
            "responses": responses,
            "x-kubernetes-action": action,
            "x-kubernetes-group-version-kind": {"group": gvk.group, "version": gvk.version, "kind": gvk.kind},
        });
        let Value::Object(members) = &mut made else {
            return made;
        };
        if self.dialect == Dialect::V2 {
            members.insert("consumes".to_owned(), consumes.into());
            members.insert("produces".to_owned(), self.media_types().into());
            members.insert("schemes".to_owned(), json!(["https"]));
        }
        if let Some((schema, required)) = body {
            match self.dialect {
                Dialect::V2 => {
                    let mut parameter = json!({"name": "body", "in": "body", "schema": schema});
                    if required {
                        parameter["required"] = true.into();
                    }
                    parameters.push(parameter);
                }
                Dialect::V3 => {
                    let content: Map<String, Value> = consumes
                        .iter()
                        .map(|kind| ((*kind).to_owned(), json!({"schema": schema})))
                        .collect();
                    let mut request = json!({"content": content});
                    if required {
                        request["required"] = true.into();
                    }
                    members.insert("requestBody".to_owned(), request);
                }
            }
        }
        if !parameters.is_empty() {
            members.insert("parameters".to_owned(), parameters.into());
        }
        made
    }
}
