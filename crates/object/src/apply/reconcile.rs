//! Bringing a manager's fields in line with a schema that has changed since they were written.

use super::element::Element;
use super::set::{FieldSet, Marks};
use crate::schema::shape::{Node, Shape};
use serde_json::Value;

/// The set as it is when what has become one value is owned whole. `None`: nothing has changed.
///
/// What became granular is left: upstream treats it as if it always had been.
pub(super) fn reconcile<'a>(shape: Shape<'_>, set: &FieldSet<'a>) -> Option<FieldSet<'a>> {
    if !differs(shape, set) {
        return None;
    }
    Some(rebuild(shape, set))
}

/// Whether a place is one value by its schema, whatever stands there.
fn atomic(shape: Shape<'_>) -> bool {
    use crate::schema::shape::Expected;
    match shape.expected() {
        Expected::Map => matches!(
            shape.node(&Value::Object(serde_json::Map::new())),
            Node::Leaf
        ),
        Expected::List => matches!(shape.node(&Value::Array(Vec::new())), Node::Leaf),
        Expected::Scalar(_) | Expected::Any => false,
    }
}

fn child<'s>(shape: Shape<'s>, at: &Element<'_>) -> Option<Shape<'s>> {
    match at {
        Element::Field(name) => shape.member(name),
        _ => Some(shape.item()),
    }
}

fn differs(shape: Shape<'_>, set: &FieldSet<'_>) -> bool {
    set.children().any(|(at, _, below)| {
        !below.is_empty()
            && child(shape, at).is_some_and(|inner| atomic(inner) || differs(inner, below))
    })
}

fn rebuild<'a>(shape: Shape<'_>, set: &FieldSet<'a>) -> FieldSet<'a> {
    let mut out = FieldSet::default();
    for (at, member, below) in set.children() {
        let marks = match child(shape, at) {
            Some(inner) if !below.is_empty() && atomic(inner) => Marks::MEMBER,
            Some(inner) => Marks {
                member,
                below: rebuild(inner, below),
            },
            None => Marks {
                member,
                below: below.clone(),
            },
        };
        out.push(at.clone(), marks);
    }
    out
}
