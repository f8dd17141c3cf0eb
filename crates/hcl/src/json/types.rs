//! Types as JSON: `"string"`, `["list","number"]`, `["object",{"a":"bool"},["a"]]`.

use super::read::{Node, parse};
use crate::types::Type;

/// The JSON of a type.
pub fn encode(ty: &Type) -> String {
    let mut out = Vec::new();
    write(ty, &mut out);
    String::from_utf8(out).unwrap_or_default()
}

fn write(ty: &Type, out: &mut Vec<u8>) {
    let mut collection = |name: &str, element: &Type| {
        out.extend_from_slice(format!("[\"{name}\",").as_bytes());
        write(element, out);
        out.push(b']');
    };
    match ty {
        Type::Dynamic => out.extend_from_slice(b"\"dynamic\""),
        Type::Bool => out.extend_from_slice(b"\"bool\""),
        Type::Number => out.extend_from_slice(b"\"number\""),
        Type::String => out.extend_from_slice(b"\"string\""),
        Type::List(element) => collection("list", element),
        Type::Set(element) => collection("set", element),
        Type::Map(element) => collection("map", element),
        Type::Tuple(elements) => {
            out.extend_from_slice(b"[\"tuple\",[");
            for (i, element) in elements.iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                write(element, out);
            }
            out.extend_from_slice(b"]]");
        }
        Type::Object(object) => {
            out.extend_from_slice(b"[\"object\",{");
            for (i, (name, ty)) in object.attributes.iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                super::write::string(name, out);
                out.push(b':');
                write(ty, out);
            }
            out.push(b'}');
            if !object.optional.is_empty() {
                out.extend_from_slice(b",[");
                for (i, name) in object.optional.iter().enumerate() {
                    if i > 0 {
                        out.push(b',');
                    }
                    super::write::string(name, out);
                }
                out.push(b']');
            }
            out.push(b']');
        }
    }
}

/// The type that `json` describes.
///
/// # Errors
/// For what describes no type, in words.
pub fn decode(json: &[u8]) -> Result<Type, String> {
    from_node(&parse(json)?)
}

pub(super) fn from_node(node: &Node<'_>) -> Result<Type, String> {
    let parts = match node {
        Node::String(name) => {
            return match &**name {
                "bool" => Ok(Type::Bool),
                "number" => Ok(Type::Number),
                "string" => Ok(Type::String),
                "dynamic" => Ok(Type::Dynamic),
                other => Err(format!(
                    "invalid primitive type name {}",
                    crate::text::quote(other)
                )),
            };
        }
        Node::Array(parts) => parts,
        Node::Object(_) => return Err("invalid complex type description".to_owned()),
        _ => return Err("invalid type description".to_owned()),
    };
    let extra = || Err("unexpected extra data in type description".to_owned());
    let mut parts = parts.iter();
    let Some(Node::String(kind)) = parts.next() else {
        return Err("invalid complex type kind name".to_owned());
    };
    let body = parts.next();
    let ty = match (&**kind, body) {
        ("list", Some(element)) => Type::list(from_node(element)?),
        ("set", Some(element)) => Type::set(from_node(element)?),
        ("map", Some(element)) => Type::map(from_node(element)?),
        ("tuple", Some(Node::Array(elements))) => {
            Type::Tuple(elements.iter().map(from_node).collect::<Result<_, _>>()?)
        }
        ("object", Some(Node::Object(members))) => {
            let mut attributes = Vec::with_capacity(members.len());
            for (name, ty) in members {
                attributes.push((&**name, from_node(ty)?));
            }
            let mut optional = Vec::new();
            if let Some(names) = parts.next() {
                let Node::Array(names) = names else {
                    return extra();
                };
                for name in names {
                    let Node::String(name) = name else {
                        return extra();
                    };
                    optional.push(&**name);
                }
            }
            Type::object_with_optional(attributes, optional)
        }
        _ => return Err("invalid complex type kind name".to_owned()),
    };
    if parts.next().is_some() {
        return extra();
    }
    Ok(ty)
}
