//! Taking fields out of a document, and taking out all others.

use serde_json::{Map, Value};

use super::element::Element;
use super::fields::element;
use super::set::FieldSet;
use crate::schema::shape::{Node, Shape};

/// The document without these fields. A map or list that loses its last member becomes null: it still counts as
/// mentioned, and what does not take null drops it.
pub(super) fn without(shape: Shape<'_>, value: &Value, fields: &FieldSet<'_>) -> Value {
    walk(shape, value, fields, false)
}

/// Only these fields of the document, as the applied configuration of who owns them.
pub fn only(shape: Shape<'_>, value: &Value, fields: &FieldSet<'_>) -> Value {
    walk(shape, value, fields, true)
}

fn walk(shape: Shape<'_>, value: &Value, fields: &FieldSet<'_>, keep: bool) -> Value {
    let node = shape.node(value);
    match (node, value) {
        (Node::Map, Value::Object(map)) if !map.is_empty() => {
            let mut out = Map::with_capacity(map.len());
            for (name, value) in map {
                let at = Element::field(name);
                let inner = shape.member(name).unwrap_or(Shape::UNTYPED);
                let below = fields.below(&at);
                let left = match (fields.has_child(&at), below, keep) {
                    (true, _, false) | (false, None, true) => continue,
                    (true, None, true) => match (inner.node(value), value) {
                        // A granular parent is owned, and none of what is in it.
                        (Node::Map, Value::Object(_)) => Value::Object(Map::new()),
                        _ => value.clone(),
                    },
                    (_, Some(below), _) => walk(inner, value, below, keep),
                    (false, None, false) => value.clone(),
                };
                out.insert(name.clone(), left);
            }
            if out.is_empty() {
                Value::Null
            } else {
                Value::Object(out)
            }
        }
        (Node::Set | Node::ListMap(_), Value::Array(list)) if !list.is_empty() => {
            let mut out = Vec::with_capacity(list.len());
            for item in list {
                let Ok(at) = element(node, item) else {
                    if !keep {
                        out.push(item.clone());
                    }
                    continue;
                };
                let below = fields.below(&at);
                match (fields.has_child(&at), below, keep) {
                    (true, _, false) | (false, None, true) => {}
                    (_, Some(below), _) => out.push(walk(shape.item(), item, below, keep)),
                    (_, None, _) => out.push(item.clone()),
                }
            }
            if out.is_empty() {
                Value::Null
            } else {
                Value::Array(out)
            }
        }
        (Node::Leaf, Value::Object(_) | Value::Array(_))
        | (Node::Map | Node::Set | Node::ListMap(_), _)
            if !keep =>
        {
            Value::Null
        }
        _ => value.clone(),
    }
}
