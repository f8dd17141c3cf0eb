//! Custom kinds in the documents: their schemas as their definitions have them, and what every object has.

use serde_json::{Map, Value, json};

use super::Resource;
use super::schemas::Components;

const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1";

const METADATA: &str = "Standard object's metadata. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata";
const LIST_METADATA: &str = "Standard list metadata. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#types-kinds";
const API_VERSION: &str =
    "APIVersion defines the group and version of the schema that this object is written in.";
const KIND: &str = "The kind of this object. It cannot be changed.";

/// A kind that a definition brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Custom {
    /// The kind of its lists.
    pub list_kind: String,
    /// Its schema (`JSONSchemaProps`); null if there is none.
    pub schema: Value,
    /// The selectable fields, such as `spec.color`.
    pub selectable: Vec<String>,
}

impl Components<'_> {
    /// Take up the schemas of a custom kind and its lists: its own is taken out of the resource.
    pub(super) fn custom(&mut self, resource: &mut Resource, v2: bool) {
        let Some(custom) = &mut resource.custom else {
            return;
        };
        let gvk = &resource.gvk;
        let selectable: Vec<Value> = custom
            .selectable
            .iter()
            .map(|path| json!({"fieldPath": path}))
            .collect();
        let own = |kind: &str| json!({"group": gvk.group, "version": gvk.version, "kind": kind});
        let mut kind = self.published(std::mem::take(&mut custom.schema), v2);
        kind["x-kubernetes-group-version-kind"] = json!([own(&gvk.kind)]);
        let reference = self.reference(&gvk.group, &gvk.version, &gvk.kind);
        let metadata = self.described(&format!("{META}.ListMeta"), LIST_METADATA, v2);
        let mut list = json!({
            "description": format!("{} is a list of {}", custom.list_kind, gvk.kind),
            "type": "object",
            "required": ["items"],
            "properties": {
                "apiVersion": {"description": API_VERSION, "type": "string"},
                "items": {
                    "description": format!("List of {}. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md", resource.plural),
                    "type": "array",
                    "items": reference,
                },
                "kind": {"description": KIND, "type": "string"},
                "metadata": metadata,
            },
            "x-kubernetes-group-version-kind": [own(&custom.list_kind)],
        });
        if !selectable.is_empty() {
            kind["x-kubernetes-selectable-fields"] = selectable.clone().into();
            list["x-kubernetes-selectable-fields"] = selectable.into();
        }
        self.add(&gvk.group, &gvk.version, &gvk.kind, kind);
        self.add(&gvk.group, &gvk.version, &custom.list_kind, list);
    }

    /// A reference to a common message, with a description of its own.
    fn described(&mut self, name: &str, description: &str, v2: bool) -> Value {
        let mut reference = self.named(name);
        if v2 {
            reference["description"] = description.into();
            return reference;
        }
        json!({"description": description, "allOf": [reference]})
    }

    /// A schema with what every object has.
    fn published(&mut self, mut schema: Value, v2: bool) -> Value {
        let keeps = schema["x-kubernetes-preserve-unknown-fields"] == true;
        if !schema.is_object() || (v2 && keeps) {
            // Any property would make clients refuse the others.
            return json!({"type": "object"});
        }
        if v2 {
            simplify(&mut schema);
        }
        self.embedded(&mut schema, v2);
        self.whole(&mut schema, v2);
        schema
    }

    fn whole(&mut self, schema: &mut Value, v2: bool) {
        let metadata = self.described(&format!("{META}.ObjectMeta"), METADATA, v2);
        if !schema["properties"].is_object() {
            schema["properties"] = json!({});
        }
        let properties = &mut schema["properties"];
        properties["apiVersion"] = json!({"description": API_VERSION, "type": "string"});
        properties["kind"] = json!({"description": KIND, "type": "string"});
        properties["metadata"] = metadata;
        if let Some(map) = properties.as_object_mut() {
            map.sort_keys();
        }
    }

    /// Objects within objects have what every object has.
    fn embedded(&mut self, schema: &mut Value, v2: bool) {
        each_below(schema, &mut |below| self.embedded(below, v2));
        let keeps = schema["x-kubernetes-preserve-unknown-fields"] == true;
        if schema["x-kubernetes-embedded-resource"] != true || (v2 && keeps) {
            return;
        }
        self.whole(schema, v2);
        let mut required: Vec<Value> = schema["required"].as_array().cloned().unwrap_or_default();
        for name in ["kind", "apiVersion"] {
            if !required.iter().any(|own| own == name) {
                required.push(name.into());
            }
        }
        schema["required"] = required.into();
    }
}

fn each_below(schema: &mut Value, visit: &mut dyn FnMut(&mut Value)) {
    let Some(map) = schema.as_object_mut() else {
        return;
    };
    if let Some(Value::Object(properties)) = map.get_mut("properties") {
        properties.values_mut().for_each(&mut *visit);
    }
    for name in ["items", "additionalProperties"] {
        if let Some(below) = map.get_mut(name).filter(|below| below.is_object()) {
            visit(below);
        }
    }
}

/// Leave out what version 2 does not know, and what its clients stumble over.
fn simplify(schema: &mut Value) {
    let nullable = |schema: &Value| schema["nullable"] == true;
    let Some(map) = schema.as_object_mut() else {
        return;
    };
    for name in ["allOf", "oneOf", "anyOf", "not"] {
        map.shift_remove(name);
    }
    let keeps = map
        .get("x-kubernetes-preserve-unknown-fields")
        .is_some_and(|keeps| keeps == true);
    let nulls = map.get("nullable").is_some_and(|nulls| nulls == true);
    if nulls {
        map.shift_remove("type");
        map.shift_remove("nullable");
    }
    if nulls || keeps {
        map.shift_remove("items");
        map.shift_remove("properties");
    }
    let kind = map.get("type").and_then(Value::as_str).unwrap_or("");
    if (kind == "array" && !map.contains_key("items")) || (kind == "object" && keeps) {
        map.shift_remove("type");
    }
    let loose: Vec<String> = map
        .get("properties")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .filter(|(_, property)| nullable(property))
        .map(|(name, _)| name.clone())
        .collect();
    let all_loose = map.get("additionalProperties").is_some_and(nullable);
    retain_required(map, &loose, all_loose);
    each_below(schema, &mut simplify);
}

fn retain_required(map: &mut Map<String, Value>, loose: &[String], none: bool) {
    let Some(Value::Array(required)) = map.get_mut("required") else {
        return;
    };
    required.retain(|name| !none && !loose.iter().any(|loose| name == loose));
    if required.is_empty() {
        map.shift_remove("required");
    }
}
