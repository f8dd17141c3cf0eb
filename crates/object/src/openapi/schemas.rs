use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::descriptions;
use crate::schema::{Field, Form, Gvk, ListType, Message, Schema, Shape, Type};

/// The schemas a document refers to, collected while its paths are made.
pub(super) struct Components<'s> {
    schema: &'s Schema,
    prefix: &'static str,
    group: String,
    version: String,
    found: BTreeMap<String, Value>,
}

impl<'s> Components<'s> {
    /// Schemas for a document of this group and version, that are referred to under `prefix`.
    pub(super) fn new(
        schema: &'s Schema,
        prefix: &'static str,
        group: &str,
        version: &str,
    ) -> Self {
        Self {
            schema,
            prefix,
            group: group.to_owned(),
            version: version.to_owned(),
            found: BTreeMap::new(),
        }
    }

    /// The group and version that common kinds belong to from here on.
    pub(super) fn speak_for(&mut self, group: &str, version: &str) {
        group.clone_into(&mut self.group);
        version.clone_into(&mut self.version);
    }

    /// All schemas by name.
    pub(super) fn finish(self) -> Map<String, Value> {
        self.found.into_iter().collect()
    }

    /// A reference to the schema of a kind.
    pub(super) fn kind(&mut self, gvk: &Gvk) -> Value {
        if let Some(message) = self.schema.kind(gvk) {
            return self.message(message);
        }
        let name = model_name(&gvk.group, &gvk.version, &gvk.kind);
        self.found.entry(name.clone()).or_insert_with(|| {
            json!({
                "type": "object",
                "x-kubernetes-preserve-unknown-fields": true,
                "x-kubernetes-group-version-kind": [{"group": gvk.group, "version": gvk.version, "kind": gvk.kind}],
            })
        });
        json!({"$ref": format!("{}{name}", self.prefix)})
    }

    /// Take up the schema of a kind that the table does not know.
    pub(super) fn add(&mut self, group: &str, version: &str, kind: &str, schema: Value) {
        self.found.insert(model_name(group, version, kind), schema);
    }

    /// A reference to the schema of such a kind.
    pub(super) fn reference(&self, group: &str, version: &str, kind: &str) -> Value {
        json!({"$ref": format!("{}{}", self.prefix, model_name(group, version, kind))})
    }

    /// A reference to the schema of a message, by the name of a common one.
    pub(super) fn named(&mut self, name: &str) -> Value {
        match self.schema.message(name) {
            Some(message) => self.message(message),
            None => json!({"type": "object"}),
        }
    }

    fn message(&mut self, message: &Message) -> Value {
        if message.form == Form::List {
            // A wrapper that has no schema of its own.
            return match message.fields.first() {
                Some(items) => self.shaped(items),
                None => json!({"type": "array"}),
            };
        }
        if !self.found.contains_key(message.name) {
            // Messages may hold themselves: the name is taken before the schema is made.
            self.found.insert(message.name.to_owned(), Value::Null);
            let schema = self.schema_of(message);
            self.found.insert(message.name.to_owned(), schema);
        }
        json!({"$ref": format!("{}{}", self.prefix, message.name)})
    }

    fn schema_of(&mut self, message: &Message) -> Value {
        let known = descriptions::of(message.name);
        let mut schema = Map::new();
        let described = known
            .and_then(|known| known.get("description"))
            .and_then(Value::as_str);
        if let Some(text) = described
            .map(str::to_owned)
            .or_else(|| of_a_list(self.schema, message))
        {
            schema.insert("description".to_owned(), text.into());
        }
        let v3 = self.prefix.starts_with("#/components");
        let simple = match message.form {
            Form::Object => None,
            Form::Time | Form::MicroTime => Some(json!({"type": "string", "format": "date-time"})),
            Form::Quantity if v3 => {
                Some(json!({"oneOf": [{"type": "string"}, {"type": "number"}]}))
            }
            Form::Quantity | Form::Duration => Some(json!({"type": "string"})),
            Form::IntOrString if v3 => Some(
                json!({"format": "int-or-string", "oneOf": [{"type": "integer"}, {"type": "string"}]}),
            ),
            Form::IntOrString => Some(json!({"type": "string", "format": "int-or-string"})),
            Form::Json if message.short_name() == "JSON" => Some(json!({})),
            Form::Json => Some(json!({"type": "object"})),
            Form::List | Form::MessageOrBool | Form::MessageOrList | Form::MessageOrStrings => {
                Some(json!({}))
            }
        };
        if let Some(Value::Object(simple)) = simple {
            schema.extend(simple);
            return Value::Object(schema);
        }
        schema.insert("type".to_owned(), "object".into());
        let mut required: Vec<&str> = message
            .members
            .iter()
            .filter(|field| field.required)
            .map(|field| field.name)
            .collect();
        required.sort_unstable();
        if !required.is_empty() {
            schema.insert("required".to_owned(), required.into());
        }
        let fields = known.and_then(|known| known.get("properties"));
        let mut properties = Map::new();
        for field in &message.members {
            let text = if field.tag == 0 {
                type_meta(field.name)
            } else {
                None
            }
            .or_else(|| descriptions::text(fields.and_then(|fields| fields.get(field.name))));
            properties.insert(field.name.to_owned(), self.property(field, text));
        }
        properties.sort_keys();
        schema.insert("properties".to_owned(), Value::Object(properties));
        if message.atomic {
            schema.insert("x-kubernetes-map-type".to_owned(), "atomic".into());
        }
        if let Some(kind) = &message.kind {
            let gvk = |group: &str, version: &str| json!({"group": group, "version": version, "kind": kind.kind});
            let kinds = if kind.group != "meta.k8s.io" {
                vec![gvk(&kind.group, &kind.version)]
            } else if self.group.is_empty() {
                vec![gvk("", "v1")]
            } else {
                vec![gvk("", "v1"), gvk(&self.group, &self.version)]
            };
            schema.insert("x-kubernetes-group-version-kind".to_owned(), kinds.into());
        }
        Value::Object(schema)
    }

    fn property(&mut self, field: &Field, description: Option<&str>) -> Value {
        let mut property = Map::new();
        if let Some(text) = description {
            property.insert("description".to_owned(), text.into());
        }
        match self.shaped(field) {
            // A reference may have no siblings in version 3.0.
            reference
                if reference.get("$ref").is_some() && self.prefix.starts_with("#/components") =>
            {
                property.insert("allOf".to_owned(), vec![reference].into());
            }
            Value::Object(shape) => property.extend(shape),
            _ => {}
        }
        let mut extension =
            |key: &str, value: Value| property.insert(format!("x-kubernetes-{key}"), value);
        if field.shape == Shape::List
            && let Some(kind) = field.list_type
        {
            extension(
                "list-type",
                match kind {
                    ListType::Atomic => "atomic".into(),
                    ListType::Set => "set".into(),
                    ListType::Map => "map".into(),
                },
            );
        }
        if !field.list_map_keys.is_empty() {
            extension("list-map-keys", field.list_map_keys.to_vec().into());
        }
        if field.atomic {
            extension("map-type", "atomic".into());
        }
        if !field.patch_strategy.is_empty() {
            extension("patch-strategy", field.patch_strategy.into());
        }
        if !field.patch_merge_key.is_empty() {
            extension("patch-merge-key", field.patch_merge_key.into());
        }
        Value::Object(property)
    }

    fn shaped(&mut self, field: &Field) -> Value {
        let element = match field.kind {
            Type::String => json!({"type": "string"}),
            Type::Int32 => json!({"type": "integer", "format": "int32"}),
            Type::Int64 | Type::Uint32 => json!({"type": "integer", "format": "int64"}),
            Type::Bool => json!({"type": "boolean"}),
            Type::Double => json!({"type": "number", "format": "double"}),
            Type::Bytes => json!({"type": "string", "format": "byte"}),
            Type::Message(id) => {
                let schema = self.schema;
                self.message(schema.get(id))
            }
        };
        match field.shape {
            Shape::One => element,
            Shape::List => json!({"type": "array", "items": element}),
            Shape::Map => json!({"type": "object", "additionalProperties": element}),
        }
    }
}

/// The name of the schema of a kind: `com.example.v1.Thing`.
fn model_name(group: &str, version: &str, kind: &str) -> String {
    let mut name: Vec<&str> = group.rsplit('.').collect();
    name.extend([version, kind]);
    name.join(".")
}

/// Lists are no messages of `k8s-openapi`; what they are is said here.
fn of_a_list(schema: &Schema, message: &Message) -> Option<String> {
    let item = schema.message_of(message.member("items")?)?;
    message.kind.as_ref()?;
    Some(format!(
        "{} is a list of {} objects.",
        message.short_name(),
        item.short_name()
    ))
}

fn type_meta(name: &str) -> Option<&'static str> {
    match name {
        "apiVersion" => Some(
            "APIVersion defines the group and version of the schema that this object is written in.",
        ),
        "kind" => Some("The kind of this object. It cannot be changed."),
        _ => None,
    }
}
