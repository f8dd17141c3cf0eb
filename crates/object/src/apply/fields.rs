//! The fields a document mentions.

use serde_json::Value;

use super::element::{Element, Unkeyed};
use super::set::{FieldSet, Marks};
use crate::schema::shape::{Node, Shape};

/// Every field that a document of this shape mentions: leaves, items of keyed lists and sets, keys of maps.
/// Items that cannot be told apart are left out.
pub fn fields_of<'a>(shape: Shape<'a>, value: &'a Value) -> FieldSet<'a> {
    walk(shape, value).below
}

fn walk<'a>(shape: Shape<'a>, value: &'a Value) -> Marks<'a> {
    let node = shape.node(value);
    match node {
        Node::Leaf => Marks::MEMBER,
        Node::Map => {
            let mut marks = Marks::NONE;
            for (name, value) in value.as_object().into_iter().flatten() {
                let mut child = walk(shape.member(name).unwrap_or(Shape::UNTYPED), value);
                let empty =
                    value.is_null() || value.as_object().is_some_and(serde_json::Map::is_empty);
                child.member |= empty || !shape.names(name);
                marks.below.push(Element::field(name), child);
            }
            marks.below.sort();
            marks
        }
        Node::Set | Node::ListMap(_) => {
            let mut marks = Marks::NONE;
            let item = shape.item();
            for (element, values) in items(node, value.as_array().map_or(&[], Vec::as_slice)) {
                let mut child = match values[..] {
                    [one] => walk(item, one),
                    // Of several items with one key only the key itself can be owned.
                    _ => Marks::NONE,
                };
                child.member = true;
                marks.below.push(element, child);
            }
            marks
        }
    }
}

/// The element of an item in a list that is a set or has keys.
pub(super) fn element<'a>(node: Node<'a>, item: &'a Value) -> Result<Element<'a>, Unkeyed> {
    match node {
        Node::ListMap(keys) => Element::of_keyed_item(keys, item),
        _ => Element::of_set_item(item),
    }
}

/// The items of a list by their element, in the order of the elements; items that have none are left out.
pub(super) fn items<'a>(node: Node<'a>, list: &'a [Value]) -> Vec<(Element<'a>, Vec<&'a Value>)> {
    let mut found: Vec<(Element<'a>, Vec<&'a Value>)> = list
        .iter()
        .filter_map(|item| Some((element(node, item).ok()?, vec![item])))
        .collect();
    found.sort_by(|(one, _), (other, _)| one.cmp(other));
    found.dedup_by(|(next, values), (kept, all)| {
        let double = next == kept;
        if double {
            all.append(values);
        }
        double
    });
    found
}
