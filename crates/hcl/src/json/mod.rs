//! Values and types as JSON: what state files, plans and `jsonencode` hold.

pub(crate) mod read;
mod types;
pub(crate) mod write;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::convert::convert;
use crate::number::Number;
use crate::path::{Path, Step};
use crate::types::{ObjectType, Type};
use crate::value::{Kind, Value};
use read::Node;

pub use types::{decode as type_decode, encode as type_encode};

/// Why something is not valid JSON, not of its type, or cannot be written as JSON.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct JsonError {
    /// Where in the value; the root for mistakes in the text.
    pub path: Path,
    /// What is wrong.
    pub message: String,
}

impl JsonError {
    fn new(path: &Path, message: impl Into<String>) -> JsonError {
        JsonError {
            path: path.clone(),
            message: message.into(),
        }
    }
}

/// `value` as JSON of type `ty`: where `ty` is dynamic, as an object of the value and its type.
///
/// # Errors
/// For unknown, marked and infinite values, and values that are not of the type.
pub fn encode(value: &Value, ty: &Type) -> Result<Vec<u8>, JsonError> {
    let mut out = Vec::new();
    encode_into(value, ty, &mut out)?;
    Ok(out)
}

/// As [`encode`], appended to `out`.
///
/// # Errors
/// As [`encode`].
pub fn encode_into(value: &Value, ty: &Type, out: &mut Vec<u8>) -> Result<(), JsonError> {
    let mut path = Path::root();
    if value.ty().conforms_to(ty) {
        return write_value(value, ty, &mut path, out);
    }
    let value = convert(value, ty).map_err(|e| JsonError {
        path: e.path,
        message: e.message,
    })?;
    write_value(&value, ty, &mut path, out)
}

/// `value` as plain JSON, without any types.
///
/// # Errors
/// For unknown, marked and infinite values.
pub fn encode_simple(value: &Value) -> Result<Vec<u8>, JsonError> {
    let mut out = Vec::new();
    write_value(value, value.ty(), &mut Path::root(), &mut out)?;
    Ok(out)
}

fn write_value(
    value: &Value,
    ty: &Type,
    path: &mut Path,
    out: &mut Vec<u8>,
) -> Result<(), JsonError> {
    if value.is_marked() {
        let message = "value has marks, so it cannot be serialized as JSON";
        return Err(JsonError::new(path, message));
    }
    if !value.is_known() {
        return Err(JsonError::new(path, "value is not known"));
    }
    if matches!(ty, Type::Dynamic) && !matches!(value.ty(), Type::Dynamic) {
        out.extend_from_slice(b"{\"value\":");
        write_value(value, value.ty(), path, out)?;
        out.extend_from_slice(b",\"type\":");
        out.extend_from_slice(types::encode(value.ty()).as_bytes());
        out.push(b'}');
        return Ok(());
    }
    match value.kind() {
        Kind::Null | Kind::Unknown(_) => out.extend_from_slice(b"null"),
        Kind::Bool(true) => out.extend_from_slice(b"true"),
        Kind::Bool(false) => out.extend_from_slice(b"false"),
        Kind::Number(number) if number.is_infinite() => {
            return Err(JsonError::new(path, "cannot serialize infinity as JSON"));
        }
        Kind::Number(number) => out.extend_from_slice(number.to_string().as_bytes()),
        Kind::String(text) => write::string(text, out),
        Kind::List(values) | Kind::Set(values) | Kind::Tuple(values) => {
            let set = matches!(value.ty(), Type::Set(_));
            out.push(b'[');
            for (i, element) in values.iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                let ty = match ty {
                    Type::Tuple(types) => &types[i],
                    other => other.element().unwrap_or(element.ty()),
                };
                let key = if set {
                    element.clone()
                } else {
                    Value::number(i)
                };
                path.0.push(Step::Index(key));
                write_value(element, ty, path, out)?;
                path.0.pop();
            }
            out.push(b']');
        }
        Kind::Map(values) => {
            let ty = ty.element().unwrap_or(&Type::Dynamic);
            write_keyed(
                values,
                |_| ty,
                |k| Step::Index(Value::shared_string(k)),
                path,
                out,
            )?;
        }
        Kind::Object(values) => {
            let object = ty.as_object();
            let attribute = |name: &str| {
                object
                    .and_then(|object| object.attributes.get(name))
                    .unwrap_or(&Type::Dynamic)
            };
            write_keyed(values, attribute, Step::Attribute, path, out)?;
        }
    }
    Ok(())
}

fn write_keyed<'t>(
    values: &BTreeMap<Arc<str>, Value>,
    ty: impl Fn(&str) -> &'t Type,
    step: impl Fn(Arc<str>) -> Step,
    path: &mut Path,
    out: &mut Vec<u8>,
) -> Result<(), JsonError> {
    out.push(b'{');
    for (i, (key, value)) in values.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        write::string(key, out);
        out.push(b':');
        path.0.push(step(key.clone()));
        write_value(value, ty(key), path, out)?;
        path.0.pop();
    }
    out.push(b'}');
    Ok(())
}

/// The value of type `ty` that `json` holds. Numbers, strings and truth values are taken for one another where their
/// text allows; attributes that are absent are null.
///
/// # Errors
/// For what is no JSON and for what is not of the type.
pub fn decode(json: &[u8], ty: &Type) -> Result<Value, JsonError> {
    let node = read::parse(json).map_err(|message| JsonError::new(&Path::root(), message))?;
    from_node(&node, ty, &mut Path::root())
}

/// The type that `json` implies: objects and tuples, never maps or lists; `Dynamic` for null.
///
/// # Errors
/// For what is no JSON.
pub fn implied_type(json: &[u8]) -> Result<Type, JsonError> {
    let fail = |message: String| JsonError::new(&Path::root(), message);
    let node = read::parse(json).map_err(fail)?;
    node_type(&node).map_err(fail)
}

/// The value that `json` holds, of the type it implies.
///
/// # Errors
/// As [`implied_type`].
pub fn decode_simple(json: &[u8]) -> Result<Value, JsonError> {
    let fail = |message: String| JsonError::new(&Path::root(), message);
    let node = read::parse(json).map_err(fail)?;
    simple(node).map_err(fail)
}

fn simple(node: Node<'_>) -> Result<Value, String> {
    Ok(match node {
        Node::Null => Value::null(Type::Dynamic),
        Node::Bool(value) => Value::bool(value),
        Node::Number(text) => Value::number(number(text)?),
        Node::String(text) => Value::string(text),
        Node::Array(nodes) => {
            Value::tuple(nodes.into_iter().map(simple).collect::<Result<_, _>>()?)
        }
        Node::Object(members) => {
            let mut values: BTreeMap<Arc<str>, Value> = BTreeMap::new();
            for (key, node) in members {
                let value = simple(node)?;
                values.insert(key.into(), value);
            }
            Value::object(values)
        }
    })
}

fn number(text: &str) -> Result<Number, String> {
    Number::parse(text).ok_or_else(|| "a number is required".to_owned())
}

fn node_type(node: &Node<'_>) -> Result<Type, String> {
    Ok(match node {
        Node::Null => Type::Dynamic,
        Node::Bool(_) => Type::Bool,
        Node::Number(_) => Type::Number,
        Node::String(_) => Type::String,
        Node::Array(nodes) => Type::Tuple(
            nodes
                .iter()
                .map(node_type)
                .collect::<Result<Arc<[Type]>, _>>()?,
        ),
        Node::Object(members) => {
            let mut types: BTreeMap<Arc<str>, Type> = BTreeMap::new();
            for (key, node) in members {
                let ty = node_type(node)?;
                types.insert((&**key).into(), ty);
            }
            Type::object(types)
        }
    })
}

fn from_node(node: &Node<'_>, ty: &Type, path: &mut Path) -> Result<Value, JsonError> {
    if matches!(node, Node::Null) {
        return Ok(Value::null(ty.clone()));
    }
    let fail = |message: &str| Err(JsonError::new(path, message));
    match (ty, node) {
        (Type::Dynamic, node) => dynamic(node, path),
        (Type::Bool, Node::Bool(value)) => Ok(Value::bool(*value)),
        (Type::Bool, Node::String(text)) => {
            convert(&Value::string(text), ty).map_err(|e| JsonError::new(path, e.message))
        }
        (Type::Bool, _) => fail("bool is required"),
        (Type::Number, Node::Number(text)) => number(text)
            .map(Value::number)
            .map_err(|message| JsonError::new(path, message)),
        (Type::Number, Node::String(text)) => number(text)
            .map(Value::number)
            .map_err(|message| JsonError::new(path, message)),
        (Type::Number, _) => fail("number is required"),
        (Type::String, Node::String(text)) => Ok(Value::string(text)),
        (Type::String, Node::Number(text)) => Ok(Value::string(text)),
        (Type::String, Node::Bool(value)) => Ok(Value::string(value.to_string())),
        (Type::String, _) => fail("string is required"),
        (Type::List(element), Node::Array(nodes)) => {
            let values = elements(nodes, path, |_| element)?;
            Ok(Value::list(Type::clone(element), values))
        }
        (Type::Set(element), Node::Array(nodes)) => {
            let values = elements(nodes, path, |_| element)?;
            Ok(Value::set(Type::clone(element), values))
        }
        (Type::Tuple(types), Node::Array(nodes)) => {
            if nodes.len() > types.len() {
                return fail(&format!("too many tuple elements (need {})", types.len()));
            }
            if nodes.len() < types.len() {
                return fail(&format!("not enough tuple elements (need {})", types.len()));
            }
            Ok(Value::tuple(elements(nodes, path, |i| &types[i])?))
        }
        (Type::List(_) | Type::Set(_) | Type::Tuple(_), _) => fail("missing expected ["),
        (Type::Map(element), Node::Object(members)) => {
            let mut values: BTreeMap<Arc<str>, Value> = BTreeMap::new();
            for (key, node) in members {
                let key: Arc<str> = (&**key).into();
                path.0.push(Step::Index(Value::string(&key)));
                let value = from_node(node, element, path)?;
                path.0.pop();
                values.insert(key, value);
            }
            Ok(Value::map(Type::clone(element), values))
        }
        (Type::Object(object), Node::Object(members)) => object_from(members, object, path),
        (Type::Map(_) | Type::Object(_), _) => fail("missing expected {"),
    }
}

fn elements<'t>(
    nodes: &[Node<'_>],
    path: &mut Path,
    ty: impl Fn(usize) -> &'t Type,
) -> Result<Vec<Value>, JsonError> {
    let mut out = Vec::with_capacity(nodes.len());
    for (i, node) in nodes.iter().enumerate() {
        path.0.push(Step::Index(Value::number(i)));
        out.push(from_node(node, ty(i), path)?);
        path.0.pop();
    }
    Ok(out)
}

fn object_from(
    members: &[(std::borrow::Cow<'_, str>, Node<'_>)],
    object: &ObjectType,
    path: &mut Path,
) -> Result<Value, JsonError> {
    let mut values: BTreeMap<Arc<str>, Value> = BTreeMap::new();
    for (key, node) in members {
        let Some((name, ty)) = object.attributes.get_key_value(&**key) else {
            let message = format!("unsupported attribute {}", crate::text::quote(key));
            return Err(JsonError::new(path, message));
        };
        path.0.push(Step::Attribute(name.clone()));
        let value = from_node(node, ty, path)?;
        path.0.pop();
        values.insert(name.clone(), value);
    }
    for (name, ty) in &object.attributes {
        if !values.contains_key(name) {
            values.insert(name.clone(), Value::null(ty.clone()));
        }
    }
    Ok(Value::object(values))
}

fn dynamic(node: &Node<'_>, path: &mut Path) -> Result<Value, JsonError> {
    let Node::Object(members) = node else {
        return Err(JsonError::new(path, "missing expected {"));
    };
    let (mut ty, mut value) = (None, None);
    for (key, node) in members {
        match &**key {
            "type" => ty = Some(node),
            "value" => value = Some(node),
            other => {
                let message = format!(
                    "invalid key {} in dynamically-typed value",
                    crate::text::quote(other)
                );
                return Err(JsonError::new(path, message));
            }
        }
    }
    let Some(ty) = ty else {
        let message = "missing type in dynamically-typed value";
        return Err(JsonError::new(path, message));
    };
    let Some(value) = value else {
        let message = "missing value in dynamically-typed value";
        return Err(JsonError::new(path, message));
    };
    let ty = types::from_node(ty).map_err(|e| {
        JsonError::new(
            path,
            format!("failed to decode type for dynamic value: {e}"),
        )
    })?;
    from_node(value, &ty, path)
}
