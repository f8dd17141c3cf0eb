//! What two documents of one shape differ in.

use std::cmp::Ordering;

use serde_json::{Map, Value};

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
        for set in [&mut self.removed, &mut self.modified, &mut self.added] {
            set.subtract_below(fields);
        }
    }
}

/// Compares two documents. Structs that upstream's types always write count as empty where they are absent.
pub fn compare<'a>(shape: Shape<'a>, one: &'a Value, other: &'a Value) -> Comparison<'a> {
    sets(walk(shape, one, other, Typed(true)))
}

/// Compares a document with what an apply has made of it, in which nothing is that was not there or applied.
pub(super) fn compare_merged<'a>(
    shape: Shape<'a>,
    live: &'a Value,
    merged: &'a Value,
) -> Comparison<'a> {
    sets(walk(shape, live, merged, Typed(false)))
}

/// Whether a document has the structs that upstream's types always write.
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
    fn push(&mut self, at: &Element<'a>, child: Found<'a>) {
        for (own, marks) in [
            (&mut self.removed, child.removed),
            (&mut self.modified, child.modified),
            (&mut self.added, child.added),
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

    fn leaf(one: &Value, other: &Value) -> Self {
        let mut found = Self::default();
        found.modified.member = !same(one, other);
        found
    }
}

/// What comes or goes with a whole value: its place, and all that is in it.
fn whole<'a>(shape: Shape<'a>, value: &'a Value, typed: Typed) -> Marks<'a> {
    let mut marks = Marks::MEMBER;
    let node = shape.node(value);
    match (node, value) {
        (Node::Map, Value::Object(map)) if !map.is_empty() => {
            marks.below = members(shape, map, typed);
        }
        (Node::Set | Node::ListMap(_), Value::Array(list)) if !list.is_empty() => {
            for (at, values) in items(node, list) {
                let child = match values[..] {
                    [one] => whole(shape.item(), one, typed),
                    _ => Marks::MEMBER,
                };
                marks.below.push(at, child);
            }
        }
        _ => {}
    }
    marks
}

/// All members of a map that comes or goes, with the structs that it always has.
fn members<'a>(shape: Shape<'a>, map: &'a Map<String, Value>, typed: Typed) -> FieldSet<'a> {
    let mut set = FieldSet::with_capacity(map.len());
    for (name, value) in map {
        let inner = shape.member(name).unwrap_or(Shape::UNTYPED);
        set.push(Element::field(name), whole(inner, value, typed));
    }
    if typed.0 {
        for name in shape.implied_members() {
            if !map.contains_key(name) {
                set.push(Element::field(name), Marks::MEMBER);
            }
        }
    }
    set.sort();
    set
}

fn walk<'a>(shape: Shape<'a>, one: &'a Value, other: &'a Value, typed: Typed) -> Found<'a> {
    let node = shape.node(one);
    match (node, shape.node(other)) {
        // Without a schema a value can turn from a map into something else and back.
        (Node::Map, Node::Leaf) => {
            let mut found = Found::leaf(&Value::Null, &Value::Bool(true));
            found.removed.below = whole(shape, one, Typed(true)).below;
            found
        }
        (Node::Leaf, Node::Map) => {
            let mut found = Found::leaf(&Value::Null, &Value::Bool(true));
            found.added.below = whole(shape, other, typed).below;
            found
        }
        (Node::Leaf, _) => Found::leaf(one, other),
        (Node::Map, _) => map(shape, one, other, typed),
        (Node::Set | Node::ListMap(_), _) => list(node, shape, one, other, typed),
    }
}

fn map<'a>(shape: Shape<'a>, one: &'a Value, other: &'a Value, typed: Typed) -> Found<'a> {
    let filled = |value: &'a Value| value.as_object().filter(|map| !map.is_empty());
    let mut found = Found::default();
    let (left, right) = (one.as_object(), other.as_object());
    if filled(one).is_none() && filled(other).is_none() {
        return Found::leaf(one, other);
    }
    // Null has nothing, not even what an object always has.
    let Some(left) = left else {
        found.added.below = right.map_or_else(FieldSet::default, |map| members(shape, map, typed));
        return found;
    };
    let Some(right) = right else {
        found.removed.below = members(shape, left, Typed(true));
        return found;
    };
    let inner = |name: &str| shape.member(name).unwrap_or(Shape::UNTYPED);
    for (name, value) in left {
        let implied = || shape.implied(name).filter(|_| typed.0);
        match right.get(name).or_else(implied) {
            Some(now) if now == value => {}
            Some(now) => {
                found.push(&Element::field(name), walk(inner(name), value, now, typed));
            }
            None => {
                let gone = whole(inner(name), value, Typed(true));
                found.removed.below.push(Element::field(name), gone);
            }
        }
    }
    for (name, value) in right {
        if left.contains_key(name) {
            continue;
        }
        match shape.implied(name) {
            Some(before) => {
                found.push(
                    &Element::field(name),
                    walk(inner(name), before, value, typed),
                );
            }
            None => {
                let new = whole(inner(name), value, typed);
                found.added.below.push(Element::field(name), new);
            }
        }
    }
    found.sort();
    found
}

fn list<'a>(
    node: Node<'a>,
    shape: Shape<'a>,
    one: &'a Value,
    other: &'a Value,
    typed: Typed,
) -> Found<'a> {
    let slice = |value: &'a Value| value.as_array().map_or(&[][..], Vec::as_slice);
    let (left, right) = (slice(one), slice(other));
    if left.is_empty() && right.is_empty() {
        return Found::leaf(one, other);
    }
    let mut found = Found::default();
    if left == right {
        return found;
    }
    let item = shape.item();
    let mut left = items(node, left).into_iter().peekable();
    let mut right = items(node, right).into_iter().peekable();
    loop {
        let order = match (left.peek(), right.peek()) {
            (None, None) => break,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
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
            ([before], [now]) => walk(item, before, now, typed),
            ([], []) => Found::default(),
            // Items of one key are one value, all together.
            ([_, _, ..], [_, _, ..]) => {
                let mut found = Found::default();
                found.modified.member = before.len() != now.len()
                    || !before.iter().zip(&now).all(|(one, other)| same(one, other));
                found
            }
            (before, now) => {
                let comes = |values: &[&'a Value], typed| match values {
                    [] => Marks::NONE,
                    [one] => whole(item, one, typed),
                    _ => Marks::MEMBER,
                };
                Found {
                    removed: comes(before, Typed(true)),
                    modified: Marks::NONE,
                    added: if before.len() > 1 {
                        // Of several that become one, or none, the one is new.
                        now.first()
                            .map_or(Marks::NONE, |one| whole(item, one, typed))
                    } else {
                        comes(now, typed)
                    },
                }
            }
        };
        found.push(&at, child);
    }
    found
}
