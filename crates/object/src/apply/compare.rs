//! What two documents of one shape differ in.

use serde_json::Value;

use super::element::{Element, same};
use super::fields::items;
use super::set::{FieldSet, Marks};
use crate::schema::shape::{Node, Shape};

/// What differs between two documents. No field is in more than one of the sets.
#[derive(Debug, Clone, Default)]
pub struct Comparison<'a> {
    /// What only the first has.
    pub removed: FieldSet<'a>,
    /// What both have and the values differ.
    pub modified: FieldSet<'a>,
    /// What only the second has.
    pub added: FieldSet<'a>,
}

impl Comparison<'_> {
    /// Whether nothing differs.
    pub fn is_empty(&self) -> bool {
        self.removed.is_empty() && self.modified.is_empty() && self.added.is_empty()
    }

    /// Takes these fields and all below them out of the comparison.
    pub fn ignore(&mut self, fields: &FieldSet<'_>) {
        if fields.is_empty() {
            return;
        }
        for set in [&mut self.removed, &mut self.modified, &mut self.added] {
            *set = set.recursive_difference(fields);
        }
    }
}

/// Compares two documents. Structs that upstream's types always write count as empty where they are absent.
pub fn compare<'a>(shape: Shape<'a>, one: &'a Value, other: &'a Value) -> Comparison<'a> {
    sets(walk(shape, Some(one), Some(other), Typed(true)))
}

/// Compares a document with what an apply has made of it, in which nothing is that was not there or applied.
pub(super) fn compare_merged<'a>(
    shape: Shape<'a>,
    live: &'a Value,
    merged: &'a Value,
) -> Comparison<'a> {
    sets(walk(shape, Some(live), Some(merged), Typed(false)))
}

/// Whether the second document has the structs that upstream's types always write.
#[derive(Clone, Copy)]
struct Typed(bool);

fn sets(found: Found<'_>) -> Comparison<'_> {
    Comparison {
        removed: found.removed.below,
        modified: found.modified.below,
        added: found.added.below,
    }
}

#[derive(Default)]
struct Found<'a> {
    removed: Marks<'a>,
    modified: Marks<'a>,
    added: Marks<'a>,
}

impl<'a> Found<'a> {
    fn push(&mut self, at: Element<'a>, child: Found<'a>) {
        let Found {
            removed,
            modified,
            added,
        } = child;
        for (own, marks) in [
            (&mut self.removed, removed),
            (&mut self.modified, modified),
            (&mut self.added, added),
        ] {
            if marks.member || !marks.below.is_empty() {
                own.below.push(at.clone(), marks);
            }
        }
    }

    fn sort(&mut self) {
        for marks in [&mut self.removed, &mut self.modified, &mut self.added] {
            marks.below.sort();
        }
    }

    fn leaf(one: Option<&Value>, other: Option<&Value>) -> Self {
        let mut found = Self::default();
        if let (Some(one), Some(other)) = (one, other)
            && !same(one, other)
        {
            found.modified.member = true;
        }
        found
    }
}

fn walk<'a>(
    shape: Shape<'a>,
    one: Option<&'a Value>,
    other: Option<&'a Value>,
    typed: Typed,
) -> Found<'a> {
    let mut found = match (one, other) {
        (Some(left), Some(right)) => {
            let (node, now) = (shape.node(left), shape.node(right));
            match (node, now) {
                // Without a schema a value can turn from a map into something else and back.
                (Node::Map, Node::Leaf) => {
                    let mut found = inner(node, shape, one, None, typed);
                    found.modified.member = true;
                    found
                }
                (Node::Leaf, Node::Map) => {
                    let mut found = inner(now, shape, None, other, typed);
                    found.modified.member = true;
                    found
                }
                _ => inner(node, shape, one, other, typed),
            }
        }
        (Some(value), None) | (None, Some(value)) => {
            inner(shape.node(value), shape, one, other, typed)
        }
        (None, None) => return Found::default(),
    };
    found.added.member |= one.is_none();
    found.removed.member |= other.is_none();
    found
}

fn inner<'a>(
    node: Node<'a>,
    shape: Shape<'a>,
    one: Option<&'a Value>,
    other: Option<&'a Value>,
    typed: Typed,
) -> Found<'a> {
    match node {
        Node::Leaf => Found::leaf(one, other),
        Node::Map => map(shape, one, other, typed),
        Node::Set | Node::ListMap(_) => list(node, shape, one, other, typed),
    }
}

fn map<'a>(
    shape: Shape<'a>,
    one: Option<&'a Value>,
    other: Option<&'a Value>,
    typed: Typed,
) -> Found<'a> {
    let (left, right) = (
        one.and_then(Value::as_object),
        other.and_then(Value::as_object),
    );
    let empty = |map: Option<&serde_json::Map<String, Value>>| map.is_none_or(|map| map.is_empty());
    let mut found = Found::default();
    if empty(left) && empty(right) {
        return Found::leaf(one, other);
    }
    let mut visit = |name: &'a str, one: Option<&'a Value>, other: Option<&'a Value>| {
        let child = walk(
            shape.member(name).unwrap_or(Shape::UNTYPED),
            one,
            other,
            typed,
        );
        found.push(Element::field(name), child);
    };
    for (name, value) in left.into_iter().flatten() {
        let now = right.and_then(|right| right.get(name));
        let now = now.or_else(|| right.filter(|_| typed.0).and_then(|_| shape.implied(name)));
        visit(name, Some(value), now);
    }
    for (name, value) in right.into_iter().flatten() {
        if left.is_none_or(|left| !left.contains_key(name)) {
            let before = left.and_then(|_| shape.implied(name));
            visit(name, before, Some(value));
        }
    }
    // An object that comes or goes does so with the structs it always has.
    match (left, right) {
        (None, Some(present)) if typed.0 => {
            for name in shape.implied_members() {
                if !present.contains_key(name) {
                    visit(name, None, shape.implied(name));
                }
            }
        }
        (Some(present), None) => {
            for name in shape.implied_members() {
                if !present.contains_key(name) {
                    visit(name, shape.implied(name), None);
                }
            }
        }
        _ => {}
    }
    found.sort();
    found
}

fn list<'a>(
    node: Node<'a>,
    shape: Shape<'a>,
    one: Option<&'a Value>,
    other: Option<&'a Value>,
    typed: Typed,
) -> Found<'a> {
    let slice = |value: Option<&'a Value>| {
        value
            .and_then(Value::as_array)
            .map_or(&[][..], Vec::as_slice)
    };
    let (left, right) = (slice(one), slice(other));
    if left.is_empty() && right.is_empty() {
        return Found::leaf(one, other);
    }
    if left == right {
        return Found::default();
    }
    let mut found = Found::default();
    let item = shape.item();
    let mut left = items(node, left).into_iter().peekable();
    let mut right = items(node, right).into_iter().peekable();
    loop {
        let order = match (left.peek(), right.peek()) {
            (None, None) => break,
            (Some(_), None) => std::cmp::Ordering::Less,
            (None, Some(_)) => std::cmp::Ordering::Greater,
            (Some((one, _)), Some((other, _))) => one.cmp(other),
        };
        let one = if order.is_le() { left.next() } else { None };
        let other = if order.is_ge() { right.next() } else { None };
        let (at, before, now) = match (one, other) {
            (Some((at, before)), Some((_, now))) => (at, before, now),
            (Some((at, before)), None) => (at, before, Vec::new()),
            (None, Some((at, now))) => (at, Vec::new(), now),
            (None, None) => break,
        };
        let child = match (&before[..], &now[..]) {
            ([], [] | [_]) | ([_], [] | [_]) => {
                walk(item, before.first().copied(), now.first().copied(), typed)
            }
            // Items of one key are one value, all together.
            ([_, _, ..], [_, _, ..]) => {
                let mut found = Found::default();
                found.modified.member = before.len() != now.len()
                    || !before.iter().zip(&now).all(|(one, other)| same(one, other));
                found
            }
            ([_, _, ..], _) => {
                let mut found = match now.first() {
                    Some(now) => walk(item, None, Some(now), typed),
                    None => Found::default(),
                };
                found.removed.member = true;
                found
            }
            (_, [_, _, ..]) => {
                let mut found = match before.first() {
                    Some(before) => walk(item, Some(before), None, typed),
                    None => Found::default(),
                };
                found.added.member = true;
                found
            }
        };
        found.push(at, child);
    }
    found
}
