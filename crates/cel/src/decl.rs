//! Declared types: what a schema says of a value, for checking, for sizes and for reading JSON.

use std::sync::{Arc, LazyLock};

use indexmap::IndexMap;
use serde_json::Value as Json;

pub(crate) use crate::escape::unescape_borrowed;
pub use crate::escape::{escape, unescape};
use crate::{ObjectType, Type};

/// The largest request upstream's sizes assume, in bytes.
const MAX_REQUEST: u64 = 3 * 1024 * 1024;

/// The longest name an object can have.
const MAX_NAME: u64 = 253;

/// How deep schemas are read; what lies deeper is not exposed.
const MAX_DEPTH: usize = 200;

/// A type declared by an OpenAPI schema. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Decl(Arc<Node>);

/// How JSON of a declaration is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    IntOrString,
    Object,
    List,
    Text(TextFormat),
    Double,
    Int,
    Bool,
    /// No type, and unknown fields are kept: may only be compared.
    Preserved,
}

/// What a text stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TextFormat {
    Plain,
    Bytes,
    Duration,
    Date,
    DateTime,
}

/// What kind of list Kubernetes takes an array for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListKind {
    /// A list whose order counts.
    Atomic,
    /// A set of scalars.
    Set,
    /// Objects told apart by these keys.
    Map(Vec<String>),
}

#[derive(Clone, Debug)]
struct Property {
    decl: Decl,
    /// Its identifier; none when it has none or is not exposed.
    escaped: Option<String>,
}

#[derive(Clone, Debug)]
struct Node {
    /// None when expressions may not see the value.
    ty: Option<Type>,
    reading: Reading,
    nullable: bool,
    max_elements: u64,
    min_serialized_size: u64,
    list: ListKind,
    items: Option<Decl>,
    values: Option<Decl>,
    properties: IndexMap<String, Property>,
}

/// Finds the schema a `$ref` names.
pub type Resolve<'s> = dyn Fn(&str) -> Option<&'s Json> + 's;

impl Decl {
    /// The declaration a schema (JSON of `JSONSchemaProps`) makes; none when upstream does not expose such a value to
    /// expressions. `resource_root`: the value is a whole object, so that `apiVersion`, `kind`, `metadata.name` and
    /// `metadata.generateName` are there even where the schema has none.
    pub fn from_schema(schema: &Json, resource_root: bool) -> Option<Decl> {
        Self::from_schema_with(schema, resource_root, &|_| None)
    }

    /// The same for schemas that refer to others (`$ref`, alone or in `allOf`). What refers to itself is not exposed.
    pub fn from_schema_with<'s>(
        schema: &'s Json,
        resource_root: bool,
        resolve: &Resolve<'s>,
    ) -> Option<Decl> {
        let mut reader = Reader {
            resolve,
            open: Vec::new(),
        };
        let decl = reader.read(schema, resource_root);
        decl.0.ty.is_some().then_some(decl)
    }

    /// The same with `name` as the name of the root object type; its fields' types are named after it, as upstream
    /// names them (`name.field`, `name.list.@idx`, `name.map.@elem`).
    #[must_use]
    pub fn named(&self, name: &str) -> Decl {
        let mut node = (*self.0).clone();
        if let Some(items) = &node.items {
            node.items = Some(items.named(&format!("{name}.@idx")));
        } else if let Some(values) = &node.values {
            node.values = Some(values.named(&format!("{name}.@elem")));
        } else if node.reading == Reading::Object {
            for property in node.properties.values_mut() {
                if let Some(escaped) = &property.escaped {
                    property.decl = property.decl.named(&format!("{name}.{escaped}"));
                }
            }
        } else {
            return self.clone();
        }
        node.assign_type(name);
        Decl(Arc::new(node))
    }

    /// The type expressions see.
    pub fn ty(&self) -> &Type {
        self.0.ty.as_ref().unwrap_or(&Type::Dyn)
    }

    /// The most elements (characters, bytes, items, entries) a value may have.
    pub fn max_elements(&self) -> u64 {
        self.0.max_elements
    }

    /// How often a value of this schema may occur in one request, at most: what the cost of a rule below unbounded
    /// lists or maps is multiplied with.
    pub fn max_cardinality(&self) -> u64 {
        MAX_REQUEST / (self.0.min_serialized_size + 1)
    }

    /// The declaration of a list's items, if it is a list.
    pub fn items(&self) -> Option<&Decl> {
        self.0.items.as_ref()
    }

    /// The declaration of a map's values, if it is a map.
    pub fn values(&self) -> Option<&Decl> {
        self.0.values.as_ref()
    }

    /// The declaration of an object's property by its JSON name, if there is one.
    pub fn property(&self, name: &str) -> Option<&Decl> {
        let properties = &self.0.properties;
        if properties.len() > 8 {
            return properties.get(name).map(|property| &property.decl);
        }
        // Quicker than hashing for the few that most objects have.
        properties
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, property)| &property.decl)
    }

    /// Whether `null` is a value of it.
    pub fn nullable(&self) -> bool {
        self.0.nullable
    }

    pub(crate) fn reading(&self) -> Reading {
        self.0.reading
    }

    pub(crate) fn list_kind(&self) -> &ListKind {
        &self.0.list
    }

    /// The identifier of a property, if expressions may see it.
    pub(crate) fn field_name(&self, property: &str) -> Option<&str> {
        self.0.properties.get(property)?.escaped.as_deref()
    }

    /// The declaration of a property by its identifier.
    pub(crate) fn field(&self, identifier: &str) -> Option<&Decl> {
        let name = unescape_borrowed(identifier)?;
        let property = self.0.properties.get(&*name)?;
        property.escaped.as_ref().map(|_| &property.decl)
    }

    /// The declaration of the keys of maps: texts, of whose length upstream's sizes say nothing (that is: zero).
    pub(crate) fn key() -> &'static Decl {
        static KEY: LazyLock<Decl> = LazyLock::new(|| {
            Decl(Arc::new(Node::scalar(
                Type::String,
                Reading::Text(TextFormat::Plain),
                0,
                2,
            )))
        });
        &KEY
    }

    fn exposed(&self) -> bool {
        self.0.ty.is_some()
    }
}

impl Node {
    fn scalar(ty: Type, reading: Reading, max_elements: u64, min_serialized_size: u64) -> Self {
        Node {
            ty: Some(ty),
            reading,
            nullable: false,
            max_elements,
            min_serialized_size,
            list: ListKind::Atomic,
            items: None,
            values: None,
            properties: IndexMap::new(),
        }
    }

    /// Sets the type from the parts'.
    fn assign_type(&mut self, name: &str) {
        if let Some(items) = &self.items {
            self.ty = items.0.ty.clone().map(Type::list);
        } else if let Some(values) = &self.values {
            self.ty = values.0.ty.clone().map(|ty| Type::map(Type::String, ty));
        } else if self.reading == Reading::Object {
            let fields = self.properties.values().filter_map(|property| {
                Some((property.escaped.clone()?, property.decl.0.ty.clone()?))
            });
            self.ty = Some(Type::Object(ObjectType::new(name, fields)));
        }
    }
}

struct Reader<'r, 's> {
    resolve: &'r Resolve<'s>,
    /// The schemas being read, outermost first.
    open: Vec<*const Json>,
}

impl<'s> Reader<'_, 's> {
    fn read(&mut self, schema: &'s Json, root: bool) -> Decl {
        let schema = self.followed(schema);
        let here: *const Json = schema;
        let hidden = Node {
            ty: None,
            ..Node::scalar(Type::Dyn, Reading::Preserved, 0, 1)
        };
        if self.open.len() > MAX_DEPTH || self.open.contains(&here) {
            return Decl(Arc::new(hidden));
        }
        self.open.push(here);
        let mut node = self.node(schema, root).unwrap_or(hidden);
        self.open.pop();
        node.nullable = schema["nullable"] == true;
        Decl(Arc::new(node))
    }

    /// The schema a reference leads to.
    fn followed(&self, mut schema: &'s Json) -> &'s Json {
        for _ in 0..16 {
            let alone = match schema["allOf"].as_array().map(Vec::as_slice) {
                Some([only]) if schema.get("type").is_none() => Some(only),
                _ => None,
            };
            let name = schema
                .get("$ref")
                .or_else(|| alone?.get("$ref"))
                .and_then(Json::as_str);
            match name.and_then(|name| (self.resolve)(name)) {
                Some(found) => schema = found,
                None => return schema,
            }
        }
        schema
    }

    fn node(&mut self, schema: &'s Json, root: bool) -> Option<Node> {
        let number = |name: &str| schema[name].as_i64().map(|value| value.max(0) as u64);
        if schema["x-kubernetes-int-or-string"] == true || schema["format"] == "int-or-string" {
            let max = number("maxLength").map_or(MAX_REQUEST - 2, |max| max.saturating_mul(4));
            return Some(Node::scalar(Type::Dyn, Reading::IntOrString, max, 1));
        }
        let ty = match &schema["type"] {
            Json::Array(types) => types.first().and_then(Json::as_str).unwrap_or_default(),
            ty => ty.as_str().unwrap_or_default(),
        };
        match ty {
            "array" => self.list(schema),
            "object" => Some(self.object(
                schema,
                root || schema["x-kubernetes-embedded-resource"] == true,
            )),
            "string" => Some(text(schema)),
            "boolean" => Some(Node::scalar(Type::Bool, Reading::Bool, 0, 4)),
            "number" => Some(Node::scalar(Type::Double, Reading::Double, 0, 1)),
            "integer" => Some(Node::scalar(Type::Int, Reading::Int, 0, 1)),
            _ if root => Some(self.object(schema, true)),
            _ => None,
        }
    }

    fn list(&mut self, schema: &'s Json) -> Option<Node> {
        let item_schema = schema.get("items")?;
        let items = self.read(
            item_schema,
            item_schema["x-kubernetes-embedded-resource"] == true,
        );
        let max = schema["maxItems"].as_i64().map_or_else(
            || (MAX_REQUEST - 2) / (items.0.min_serialized_size + 1),
            |max| max.max(0) as u64,
        );
        let exposed = items.exposed();
        let mut node = Node::scalar(Type::Dyn, Reading::List, max, 2);
        node.list = match schema["x-kubernetes-list-type"].as_str() {
            Some("set") => ListKind::Set,
            Some("map") => ListKind::Map(
                schema["x-kubernetes-list-map-keys"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .filter_map(|key| key.as_str().map(str::to_owned))
                    .collect(),
            ),
            _ => ListKind::Atomic,
        };
        node.items = Some(items);
        node.ty = None;
        if exposed {
            node.assign_type("");
        }
        Some(node)
    }

    fn object(&mut self, schema: &'s Json, root: bool) -> Node {
        let mut node = Node::scalar(Type::Dyn, Reading::Object, 0, 2);
        if let Some(additional) = schema
            .get("additionalProperties")
            .filter(|schema| schema.is_object())
        {
            let values = self.read(
                additional,
                additional["x-kubernetes-embedded-resource"] == true,
            );
            node.max_elements = schema["maxProperties"].as_i64().map_or_else(
                || (MAX_REQUEST - 2) / (values.0.min_serialized_size + 6),
                |max| max.max(0) as u64,
            );
            node.ty = None;
            let exposed = values.exposed();
            node.values = Some(values);
            if exposed {
                node.assign_type("");
            }
            return node;
        }
        let required: Vec<&str> = schema["required"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Json::as_str)
            .collect();
        let mut size = 2;
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            let decl = self.read(property, false);
            if decl.exposed()
                && required.contains(&name.as_str())
                && property.get("default").is_none()
            {
                size += name.len() as u64 + decl.0.min_serialized_size + 4;
            }
            let escaped = if decl.exposed() { escape(name) } else { None };
            node.properties
                .insert(name.clone(), Property { decl, escaped });
        }
        if root {
            with_identity(&mut node);
        }
        node.min_serialized_size = size;
        node.assign_type("object");
        node
    }
}

/// Adds what every whole object has.
fn with_identity(node: &mut Node) {
    let text = |max| {
        Decl(Arc::new(Node::scalar(
            Type::String,
            Reading::Text(TextFormat::Plain),
            max,
            2,
        )))
    };
    let is_text = |node: &Node, name: &str| {
        node.properties
            .get(name)
            .is_some_and(|p| *p.decl.ty() == Type::String)
    };
    let metadata = node
        .properties
        .get("metadata")
        .map(|property| &property.decl);
    let complete = is_text(node, "kind")
        && is_text(node, "apiVersion")
        && metadata.is_some_and(|metadata| {
            is_text(&metadata.0, "name") && is_text(&metadata.0, "generateName")
        });
    if complete {
        return;
    }
    let capped = |name: &str, cap: u64| {
        let given = metadata
            .and_then(|metadata| metadata.property(name))
            .map(Decl::max_elements);
        text(given.unwrap_or(u64::MAX).min(cap * 4))
    };
    let mut meta = Node::scalar(Type::Dyn, Reading::Object, 0, 2);
    for (name, cap) in [("name", MAX_NAME), ("generateName", MAX_NAME - 1)] {
        let decl = capped(name, cap);
        meta.properties.insert(
            name.to_owned(),
            Property {
                decl,
                escaped: Some(name.to_owned()),
            },
        );
    }
    meta.assign_type("object");
    let meta = Decl(Arc::new(meta));
    for (name, decl) in [
        ("kind", text(MAX_REQUEST - 2)),
        ("apiVersion", text(MAX_REQUEST - 2)),
        ("metadata", meta),
    ] {
        node.properties.insert(
            name.to_owned(),
            Property {
                decl,
                escaped: Some(name.to_owned()),
            },
        );
    }
}

fn text(schema: &Json) -> Node {
    let max_length = schema["maxLength"].as_i64().map(|max| max.max(0) as u64);
    let of = |format, ty, max, min| Node::scalar(ty, Reading::Text(format), max, min);
    match schema["format"].as_str() {
        Some("byte") => of(
            TextFormat::Bytes,
            Type::Bytes,
            max_length.unwrap_or(MAX_REQUEST - 2),
            2,
        ),
        Some("duration") => of(TextFormat::Duration, Type::Duration, 32, 3),
        Some("date") => of(TextFormat::Date, Type::Timestamp, 12, 12),
        Some("date-time") => of(TextFormat::DateTime, Type::Timestamp, 32, 21),
        _ => {
            let longest = schema["enum"]
                .as_array()
                .filter(|values| !values.is_empty())
                .map(|values| {
                    values
                        .iter()
                        .filter_map(Json::as_str)
                        .map(|value| value.len() as u64)
                        .max()
                        .unwrap_or(0)
                });
            let max = max_length
                .map(|max| max.saturating_mul(4))
                .or(longest)
                .unwrap_or(MAX_REQUEST - 2);
            of(TextFormat::Plain, Type::String, max, 2)
        }
    }
}
