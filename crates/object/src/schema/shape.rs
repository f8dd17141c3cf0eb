//! What structured merge asks of a schema: is a value one leaf, a map merged key by key, a set, or a list
//! whose items have keys. Built-in kinds answer from the table of facts.
//!
//! The rules are those by which upstream turns its OpenAPI into merge types (kube-openapi's `schemaconv`):
//! a list without a list type is atomic, a map is granular unless told otherwise, and what has no type is a
//! granular map, an atomic list or a scalar, as its value shows.

use std::sync::OnceLock;

use crate::structural::{self, Structural};
use serde_json::{Map, Value};

use super::{Field, Form, ListType, Message, Schema, Shape as Many, Type};

/// How the values at one place of an object are merged. Cheap to copy.
#[derive(Debug, Clone, Copy)]
pub struct Shape<'s>(Of<'s>);

#[derive(Debug, Clone, Copy)]
enum Of<'s> {
    /// No schema: told by the value.
    Untyped,
    /// One value, whatever is in it.
    Opaque,
    /// A scalar.
    Scalar(Scalar),
    /// A message written as an object.
    Message {
        schema: &'s Schema,
        message: &'s Message,
        atomic: bool,
    },
    /// The list in a field.
    List {
        schema: &'s Schema,
        field: &'s Field,
    },
    /// The map from strings in a field.
    Map {
        schema: &'s Schema,
        field: &'s Field,
    },
    /// A place in the schema of a custom resource; `whole`: an object with its own metadata.
    Structural { schema: &'s Structural, whole: bool },
}

/// What a scalar may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scalar {
    /// A number.
    Numeric,
    /// A text.
    String,
    /// True or false.
    Boolean,
    /// Any of them.
    Any,
}

/// What a value is to a merge.
#[derive(Debug, Clone, Copy)]
pub enum Node<'s> {
    /// A scalar, or a map or list that is one value.
    Leaf,
    /// A map or struct, merged key by key.
    Map,
    /// A list of scalars, each its own key.
    Set,
    /// A list of maps told apart by these keys.
    ListMap(Keys<'s>),
}

/// The kinds of value a place takes, for checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// A scalar.
    Scalar(Scalar),
    /// A list.
    List,
    /// A map or struct.
    Map,
    /// Anything.
    Any,
}

/// The keys of a list's items, in the schema's order.
#[derive(Debug, Clone, Copy)]
pub struct Keys<'s>(KeysOf<'s>);

#[derive(Debug, Clone, Copy)]
enum KeysOf<'s> {
    Table {
        names: &'s [&'static str],
        items: Option<&'s Message>,
    },
    Structural {
        names: &'s [String],
        items: Option<&'s Structural>,
    },
}

/// One key of a list's items.
#[derive(Debug, Clone, Copy)]
pub struct Key<'s> {
    /// The field's name.
    pub name: &'s str,
    /// What an item has that leaves it out.
    pub default: Option<&'s Value>,
}

impl<'s> Keys<'s> {
    /// Each key.
    pub fn iter(self) -> impl Iterator<Item = Key<'s>> {
        let count = match self.0 {
            KeysOf::Table { names, .. } => names.len(),
            KeysOf::Structural { names, .. } => names.len(),
        };
        (0..count).map(move |at| match self.0 {
            KeysOf::Table { names, items } => Key {
                name: names[at],
                default: items
                    .and_then(|message| Some((message, message.member(names[at])?)))
                    .and_then(|(message, field)| key_default(message, field)),
            },
            KeysOf::Structural { names, items } => Key {
                name: &names[at],
                default: items
                    .and_then(|items| items.property(&names[at]))
                    .and_then(|key| key.default.as_ref()),
            },
        })
    }
}

/// What a key field has when it is left out: the declared default, or Go's zero where Go always writes it.
fn key_default(message: &Message, field: &Field) -> Option<&'static Value> {
    static VALUES: OnceLock<[Value; 4]> = OnceLock::new();
    let [tcp, empty, zero, no] =
        VALUES.get_or_init(|| ["TCP".into(), "".into(), 0.into(), false.into()]);
    match (message.short_name(), field.name) {
        ("ContainerPort" | "ServicePort", "protocol") => return Some(tcp),
        ("LocalObjectReference", "name") => return Some(empty),
        _ => {}
    }
    if field.omit_empty || field.pointer || field.shape != Many::One {
        return None;
    }
    match field.kind {
        Type::String => Some(empty),
        Type::Int32 | Type::Int64 | Type::Uint32 => Some(zero),
        Type::Bool => Some(no),
        Type::Double | Type::Bytes | Type::Message(_) => None,
    }
}

/// What Go writes for a field that was left out; none where it writes nothing.
fn implied(schema: &Schema, field: &Field) -> Option<&'static Value> {
    static VALUES: OnceLock<[Value; 5]> = OnceLock::new();
    let [map, null, empty, zero, no] = VALUES.get_or_init(|| {
        [
            Value::Object(Map::new()),
            Value::Null,
            "".into(),
            0.into(),
            false.into(),
        ]
    });
    if let (Many::One, false, Some(message)) =
        (field.shape, field.pointer, schema.message_of(field))
    {
        // `omitempty` leaves no struct out.
        return (message.form == Form::Object).then_some(map);
    }
    if field.omit_empty || field.tag == 0 {
        return None;
    }
    Some(match (field.shape, field.pointer, field.kind) {
        (Many::One, false, Type::String) => empty,
        (Many::One, false, Type::Int32 | Type::Int64 | Type::Uint32 | Type::Double) => zero,
        (Many::One, false, Type::Bool) => no,
        _ => null,
    })
}

impl<'s> Shape<'s> {
    /// Of what no schema is known of.
    pub const UNTYPED: Shape<'static> = Shape(Of::Untyped);

    /// Of the objects of a built-in kind.
    pub fn of_message(schema: &'s Schema, message: &'s Message) -> Self {
        Self::message(schema, message, false)
    }

    /// Of the objects of a custom kind.
    pub fn of_structural(schema: &'s Structural) -> Self {
        Self(Of::Structural {
            schema,
            whole: true,
        })
    }

    fn below(schema: &'s Structural) -> Self {
        Self(if schema.int_or_string {
            Of::Scalar(Scalar::Any)
        } else {
            match schema.kind {
                None => Of::Untyped,
                Some(structural::Type::String) => Of::Scalar(Scalar::String),
                Some(structural::Type::Integer | structural::Type::Number) => {
                    Of::Scalar(Scalar::Numeric)
                }
                Some(structural::Type::Boolean) => Of::Scalar(Scalar::Boolean),
                Some(structural::Type::Object | structural::Type::Array) => Of::Structural {
                    schema,
                    whole: schema.embedded,
                },
            }
        })
    }

    fn message(schema: &'s Schema, message: &'s Message, atomic: bool) -> Self {
        Self(match message.form {
            Form::Object => Of::Message {
                schema,
                message,
                atomic: atomic || message.atomic,
            },
            Form::List => match &message.fields[..] {
                [field] => Of::List { schema, field },
                _ => Of::Opaque,
            },
            Form::Time | Form::MicroTime | Form::Duration | Form::Quantity | Form::IntOrString => {
                Of::Scalar(Scalar::Any)
            }
            Form::Json if message.short_name() == "RawExtension" => Of::Opaque,
            Form::Json | Form::MessageOrBool | Form::MessageOrList | Form::MessageOrStrings => {
                Of::Untyped
            }
        })
    }

    fn of_field(schema: &'s Schema, field: &'s Field) -> Self {
        match field.shape {
            Many::One => Self::element(schema, field, field.atomic),
            Many::List => Self(Of::List { schema, field }),
            Many::Map => Self(Of::Map { schema, field }),
        }
    }

    fn element(schema: &'s Schema, field: &'s Field, atomic: bool) -> Self {
        Self(match field.kind {
            Type::String | Type::Bytes => Of::Scalar(Scalar::String),
            Type::Int32 | Type::Int64 | Type::Uint32 | Type::Double => Of::Scalar(Scalar::Numeric),
            Type::Bool => Of::Scalar(Scalar::Boolean),
            Type::Message(id) => return Self::message(schema, schema.get(id), atomic),
        })
    }

    /// What a value of this shape is to a merge.
    pub fn node(self, value: &Value) -> Node<'s> {
        match self.0 {
            Of::Untyped if value.is_object() || value.is_null() => Node::Map,
            Of::Untyped | Of::Opaque | Of::Scalar(_) | Of::Message { atomic: true, .. } => {
                Node::Leaf
            }
            Of::Structural { schema, .. } if schema.kind == Some(structural::Type::Array) => {
                match schema.list_type {
                    None | Some(structural::ListType::Atomic) => Node::Leaf,
                    Some(structural::ListType::Set) => Node::Set,
                    Some(structural::ListType::Map) => Node::ListMap(Keys(KeysOf::Structural {
                        names: &schema.list_keys,
                        items: schema.items.as_deref(),
                    })),
                }
            }
            Of::Structural { schema, .. } if schema.atomic_map => Node::Leaf,
            Of::Map { field, .. } if field.atomic => Node::Leaf,
            Of::Message { .. } | Of::Structural { .. } | Of::Map { .. } => Node::Map,
            Of::List { schema, field } => match field.list_type {
                None | Some(ListType::Atomic) => Node::Leaf,
                Some(ListType::Set) => Node::Set,
                Some(ListType::Map) => Node::ListMap(Keys(KeysOf::Table {
                    names: &field.list_map_keys,
                    items: schema.message_of(field),
                })),
            },
        }
    }

    /// What may stand here.
    pub fn expected(self) -> Expected {
        match self.0 {
            Of::Untyped | Of::Opaque => Expected::Any,
            Of::Scalar(scalar) => Expected::Scalar(scalar),
            Of::Structural { schema, .. } => match schema.kind {
                Some(structural::Type::Array) => Expected::List,
                _ => Expected::Map,
            },
            Of::Message { .. } | Of::Map { .. } => Expected::Map,
            Of::List { .. } => Expected::List,
        }
    }

    /// The shape of a member of a map or struct; none where the schema has no such member.
    pub fn member(self, name: &str) -> Option<Shape<'s>> {
        match self.0 {
            Of::Untyped | Of::Opaque => Some(self),
            Of::Message {
                schema, message, ..
            } => message
                .member(name)
                .map(|field| Self::of_field(schema, field)),
            Of::Map { schema, field } => Some(Self::element(schema, field, false)),
            Of::Structural { schema, whole } => {
                if whole {
                    match name {
                        "metadata" => return object_meta(),
                        "apiVersion" | "kind" => return Some(Self(Of::Scalar(Scalar::String))),
                        _ => {}
                    }
                }
                match (schema.member(name), &schema.additional) {
                    (Some(member), _) => Some(Self::below(member)),
                    (None, structural::Additional::Any(true)) => Some(Shape::UNTYPED),
                    (None, _) => schema.preserve.then_some(Shape::UNTYPED),
                }
            }
            Of::Scalar(_) | Of::List { .. } => None,
        }
    }

    /// Whether the schema names this member, as a struct does and a map does not.
    pub fn names(self, name: &str) -> bool {
        match self.0 {
            Of::Message { message, .. } => message.member(name).is_some(),
            Of::Structural { schema, whole } => {
                (whole && matches!(name, "metadata" | "apiVersion" | "kind"))
                    || schema.property(name).is_some()
            }
            _ => false,
        }
    }

    /// The shape of a list's items.
    #[must_use]
    pub fn item(self) -> Shape<'s> {
        match self.0 {
            Of::List { schema, field } => Self::element(schema, field, false),
            Of::Structural { schema, .. } => schema
                .items
                .as_deref()
                .map_or(Self(Of::Untyped), Self::below),
            _ => Shape(Of::Opaque),
        }
    }

    /// What a member is that was left out of an object that is there: upstream's Go types always write
    /// structs, and what is not marked to be left out when it is empty.
    pub fn implied(self, name: &str) -> Option<&'static Value> {
        match self.0 {
            Of::Message {
                schema, message, ..
            } => implied(schema, message.member(name)?),
            _ => None,
        }
    }

    /// The members that an object always has, named as by [`Shape::implied`].
    pub fn implied_members(self) -> impl Iterator<Item = &'s str> {
        let found = match self.0 {
            Of::Message {
                schema, message, ..
            } => Some((schema, message)),
            _ => None,
        };
        found.into_iter().flat_map(|(schema, message)| {
            message
                .members
                .iter()
                .filter(|field| implied(schema, field).is_some())
                .map(|field| field.name)
        })
    }
}

/// The metadata of every object.
fn object_meta<'s>() -> Option<Shape<'s>> {
    let schema = Schema::builtin();
    let message = schema.message("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta")?;
    Some(Shape::of_message(schema, message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Gvk;
    use serde_json::json;

    fn at<'s>(kind: &Gvk, path: &[&str]) -> Shape<'s> {
        let schema = Schema::builtin();
        let root = Shape::of_message(schema, schema.kind(kind).unwrap());
        path.iter().fold(root, |shape, step| match *step {
            "[]" => shape.item(),
            name => shape.member(name).unwrap(),
        })
    }

    #[test]
    fn lists_are_told_apart_by_their_type_and_keys() {
        let pod = Gvk::new("", "v1", "Pod");
        let list = json!([]);
        let Node::ListMap(keys) = at(&pod, &["spec", "containers", "[]", "ports"]).node(&list)
        else {
            panic!("ports have keys");
        };
        let keys: Vec<_> = keys.iter().map(|key| (key.name, key.default)).collect();
        assert_eq!(
            keys,
            [
                ("containerPort", Some(&json!(0))),
                ("protocol", Some(&json!("TCP")))
            ]
        );
        let leaf = at(&pod, &["spec", "containers", "[]", "args"]).node(&list);
        assert!(matches!(leaf, Node::Leaf));
        let set = at(&pod, &["metadata", "finalizers"]).node(&list);
        assert!(matches!(set, Node::Set));
    }

    #[test]
    fn custom_kinds_tell_how_their_lists_and_maps_are_merged() {
        let schema = Structural::parse(&json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {
            "list": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"],
                "items": {"type": "object", "properties": {"k": {"type": "string", "default": "d"}}}},
            "set": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
            "plain": {"type": "array", "items": {"type": "string"}},
            "one": {"type": "object", "x-kubernetes-map-type": "atomic", "properties": {"a": {"type": "string"}}},
            "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
        }}}}))
        .unwrap();
        let root = Shape::of_structural(&schema);
        let spec = root.member("spec").unwrap();
        let (list, map) = (json!([]), json!({}));
        let Node::ListMap(keys) = spec.member("list").unwrap().node(&list) else {
            panic!("the list has keys");
        };
        let keys: Vec<_> = keys.iter().map(|key| (key.name, key.default)).collect();
        assert_eq!(keys, [("k", Some(&json!("d")))]);
        assert!(matches!(spec.member("set").unwrap().node(&list), Node::Set));
        assert!(matches!(
            spec.member("plain").unwrap().node(&list),
            Node::Leaf
        ));
        assert!(matches!(spec.member("one").unwrap().node(&map), Node::Leaf));
        assert!(spec.member("absent").is_none());
        let free = spec.member("free").unwrap().member("any").unwrap();
        assert!(matches!(free.node(&map), Node::Map));
        let finalizers = root
            .member("metadata")
            .unwrap()
            .member("finalizers")
            .unwrap();
        assert!(matches!(finalizers.node(&list), Node::Set));
    }

    #[test]
    fn structs_are_granular_unless_they_are_told_to_be_one_value() {
        let pod = Gvk::new("", "v1", "Pod");
        let map = json!({});
        assert!(matches!(
            at(&pod, &["metadata", "labels"]).node(&map),
            Node::Map
        ));
        assert!(matches!(
            at(&pod, &["spec", "nodeSelector"]).node(&map),
            Node::Leaf
        ));
        let deployment = Gvk::new("apps", "v1", "Deployment");
        assert!(matches!(
            at(&deployment, &["spec", "selector"]).node(&map),
            Node::Leaf
        ));
        assert_eq!(
            at(&deployment, &["spec"]).implied("template"),
            Some(&json!({}))
        );
        assert_eq!(
            at(&pod, &["spec"]).implied("containers"),
            Some(&Value::Null)
        );
        assert!(at(&deployment, &["spec"]).implied("replicas").is_none());
    }
}
