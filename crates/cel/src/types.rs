//! Types, as the checker sees them.

use std::fmt;
use std::sync::Arc;

use indexmap::IndexMap;

/// The type of an expression.
#[derive(Clone, Debug)]
pub enum Type {
    /// Anything; checked when it runs.
    Dyn,
    /// `null_type`.
    Null,
    /// `bool`.
    Bool,
    /// `int`, 64 bits, signed.
    Int,
    /// `uint`, 64 bits, unsigned.
    Uint,
    /// `double`.
    Double,
    /// `string`.
    String,
    /// `bytes`.
    Bytes,
    /// `google.protobuf.Timestamp`.
    Timestamp,
    /// `google.protobuf.Duration`.
    Duration,
    /// `list(T)`.
    List(Arc<Type>),
    /// `map(K, V)`.
    Map(Arc<(Type, Type)>),
    /// `optional_type(T)`.
    Optional(Arc<Type>),
    /// The type of types: `type(T)`, or `type` without a parameter.
    Type(Option<Arc<Type>>),
    /// A declared object.
    Object(Arc<ObjectType>),
    /// A type of a library known by its name only (`kubernetes.Quantity`, `net.IP`, ...).
    Opaque(&'static str),
    /// A type parameter of a function's declaration.
    Param(&'static str),
    /// A type the checker has yet to find out.
    Var(u32),
    /// The type of what has a fault already reported.
    Error,
}

/// A type with named fields.
pub struct ObjectType {
    /// Its full name.
    pub name: String,
    /// Its fields by the name expressions use (escaped).
    pub fields: IndexMap<String, Type>,
    /// Whether a field that is not declared exists all the same, and of which type it is. The `Object` family of
    /// mutating policies is made of such types.
    pub open: bool,
}

impl ObjectType {
    /// An object type of these fields.
    pub fn new(
        name: impl Into<String>,
        fields: impl IntoIterator<Item = (String, Type)>,
    ) -> Arc<Self> {
        Arc::new(ObjectType {
            name: name.into(),
            fields: fields.into_iter().collect(),
            open: false,
        })
    }
}

impl fmt::Debug for ObjectType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl Type {
    /// The type of the `authorizer` variable.
    pub const AUTHORIZER: Type = Type::Opaque("kubernetes.authorization.Authorizer");
    /// The type of the `authorizer.requestResource` variable.
    pub const RESOURCE_CHECK: Type = Type::Opaque("kubernetes.authorization.ResourceCheck");

    /// The result of a mutating policy's apply configuration: `Object`.
    pub fn mutation_object() -> Self {
        Type::Object(Arc::new(ObjectType {
            name: "Object".to_owned(),
            fields: IndexMap::new(),
            open: true,
        }))
    }

    /// The result of a mutating policy's JSON patch: `list(JSONPatch)`.
    pub fn mutation_patches() -> Self {
        Type::list(Type::Object(ObjectType::new("JSONPatch", [])))
    }

    /// The name a type is declared by, which differs from how messages of the checker show some.
    pub(crate) fn declared(&self) -> String {
        match self {
            Type::Timestamp => "google.protobuf.Timestamp".to_owned(),
            Type::Duration => "google.protobuf.Duration".to_owned(),
            Type::Null => "null_type".to_owned(),
            other => other.to_string(),
        }
    }

    /// `list(item)`.
    pub fn list(item: Type) -> Self {
        Type::List(Arc::new(item))
    }

    /// `map(key, value)`.
    pub fn map(key: Type, value: Type) -> Self {
        Type::Map(Arc::new((key, value)))
    }

    /// `optional_type(inner)`.
    pub fn optional(inner: Type) -> Self {
        Type::Optional(Arc::new(inner))
    }
}

impl PartialEq for Type {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Type::List(a), Type::List(b)) | (Type::Optional(a), Type::Optional(b)) => a == b,
            (Type::Map(a), Type::Map(b)) => a == b,
            (Type::Type(a), Type::Type(b)) => a == b,
            (Type::Object(a), Type::Object(b)) => a.name == b.name,
            (Type::Opaque(a), Type::Opaque(b)) | (Type::Param(a), Type::Param(b)) => a == b,
            (Type::Var(a), Type::Var(b)) => a == b,
            _ => std::mem::discriminant(self) == std::mem::discriminant(other),
        }
    }
}

impl Eq for Type {}

/// As cel-go prints types in messages: `list(int)`, `map(string, dyn)`.
impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Type::Dyn | Type::Var(_) => f.write_str("dyn"),
            Type::Null => f.write_str("null"),
            Type::Bool => f.write_str("bool"),
            Type::Int => f.write_str("int"),
            Type::Uint => f.write_str("uint"),
            Type::Double => f.write_str("double"),
            Type::String => f.write_str("string"),
            Type::Bytes => f.write_str("bytes"),
            Type::Timestamp => f.write_str("timestamp"),
            Type::Duration => f.write_str("duration"),
            Type::List(item) => write!(f, "list({item})"),
            Type::Map(entry) => write!(f, "map({}, {})", entry.0, entry.1),
            Type::Optional(inner) => write!(f, "optional_type({inner})"),
            Type::Type(None) => f.write_str("type"),
            Type::Type(Some(inner)) => write!(f, "type({inner})"),
            Type::Object(object) => f.write_str(&object.name),
            Type::Opaque(name) | Type::Param(name) => f.write_str(name),
            Type::Error => f.write_str("!error!"),
        }
    }
}
