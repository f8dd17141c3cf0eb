//! Declared types: what a schema says of a value, for checking, for sizes and for reading JSON.

use std::sync::Arc;

use crate::Type;

/// A type declared by an OpenAPI schema. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Decl(Arc<Node>);

#[derive(Debug)]
struct Node {
    ty: Type,
    max_elements: u64,
    min_serialized_size: u64,
}

impl Decl {
    /// The declaration a schema (JSON of `JSONSchemaProps` or of an OpenAPI v3 document) makes; none when upstream does
    /// not expose such a value to expressions. `resource_root`: the value is a whole object, so that `apiVersion`,
    /// `kind`, `metadata.name` and `metadata.generateName` are there even where the schema has none.
    pub fn from_schema(schema: &serde_json::Value, resource_root: bool) -> Option<Decl> {
        let _ = (schema, resource_root);
        Some(Decl(Arc::new(Node {
            ty: Type::Dyn,
            max_elements: 0,
            min_serialized_size: 1,
        })))
    }

    /// The same with `name` as the name of the root object type; its fields' types are named after it.
    #[must_use]
    pub fn named(&self, name: &str) -> Decl {
        let _ = name;
        self.clone()
    }

    /// The type expressions see.
    pub fn ty(&self) -> &Type {
        &self.0.ty
    }

    /// The most elements (characters, bytes, items, entries) a value may have.
    pub fn max_elements(&self) -> u64 {
        self.0.max_elements
    }

    /// How often a value of this schema may occur in one request, at most: what the cost of a rule below unbounded
    /// lists or maps is multiplied with.
    pub fn max_cardinality(&self) -> u64 {
        3 * 1024 * 1024 / (self.0.min_serialized_size + 1)
    }
}

/// The identifier expressions use for a property name; none when the name cannot be written as one.
pub fn escape(property: &str) -> Option<String> {
    Some(property.to_owned())
}

/// The property name an identifier stands for; none when it stands for none.
pub fn unescape(identifier: &str) -> Option<String> {
    Some(identifier.to_owned())
}
