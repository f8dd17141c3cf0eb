//! Merging an applied document over a live one.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::element::Element;
use super::fields::element;
use crate::schema::shape::{Node, Shape};

/// Merges what is applied over what is there: leaves are replaced, maps merged key by key, sets and lists
/// with keys item by item, in the order of what is applied with the items that only the live document has in
/// between. Neither document may hold items that cannot be told apart; see [`validate`](super::validate).
pub fn merge(shape: Shape<'_>, live: &Value, applied: &Value) -> Value {
    let node = shape.node(applied);
    match (node, live, applied) {
        (Node::Map, Value::Object(live), Value::Object(applied))
            if !(live.is_empty() && applied.is_empty()) =>
        {
            Value::Object(map(shape, live, applied))
        }
        // Null and empty are nothing to merge with what is there.
        (Node::Map, Value::Object(live), Value::Null) if !live.is_empty() => {
            Value::Object(live.clone())
        }
        (Node::Set | Node::ListMap(_), Value::Array(live), Value::Array(applied))
            if !(live.is_empty() && applied.is_empty()) =>
        {
            list(node, shape, live, applied)
        }
        (Node::Set | Node::ListMap(_), Value::Array(live), Value::Null) if !live.is_empty() => {
            Value::Array(live.clone())
        }
        _ => applied.clone(),
    }
}

fn map(
    shape: Shape<'_>,
    live: &Map<String, Value>,
    applied: &Map<String, Value>,
) -> Map<String, Value> {
    let mut out = Map::with_capacity(live.len().max(applied.len()));
    for (name, value) in live {
        let merged = match applied.get(name) {
            Some(wanted) => merge(shape.member(name).unwrap_or(Shape::UNTYPED), value, wanted),
            None => value.clone(),
        };
        out.insert(name.clone(), merged);
    }
    for (name, value) in applied {
        if !live.contains_key(name) {
            out.insert(name.clone(), value.clone());
        }
    }
    out
}

/// The place of each item, by element. `None`: the list has it several times.
type Places<'v> = BTreeMap<Element<'v>, Option<usize>>;

fn index<'v>(node: Node<'v>, list: &'v [Value]) -> (Vec<Option<Element<'v>>>, Places<'v>) {
    let mut places = Places::new();
    let elements: Vec<_> = list.iter().map(|item| element(node, item).ok()).collect();
    for (at, element) in elements.iter().enumerate() {
        if let Some(element) = element {
            places
                .entry(element.clone())
                .and_modify(|place| *place = None)
                .or_insert(Some(at));
        }
    }
    (elements, places)
}

/// Both lists are walked side by side; the items they share stand in the order of what is applied.
fn list(node: Node<'_>, shape: Shape<'_>, live: &[Value], applied: &[Value]) -> Value {
    let item = shape.item();
    let (live_at, live_by) = index(node, live);
    let (applied_at, applied_by) = index(node, applied);
    let shares = |element: &Option<Element<'_>>| {
        element
            .as_ref()
            .is_some_and(|element| live_by.contains_key(element))
    };
    let mut shared = applied_at.iter().filter(|element| shares(element));
    let mut next_shared = shared.next();
    let mut merged = vec![false; applied.len()];
    let mut out = Vec::with_capacity(live.len().max(applied.len()));
    let take = |at: usize, merged: &mut Vec<bool>| {
        merged[at] = true;
        // An item that is there several times is replaced, not merged with.
        let place = applied_at[at]
            .as_ref()
            .and_then(|element| live_by.get(element).copied().flatten());
        match place {
            Some(place) => merge(item, &live[place], &applied[at]),
            None => applied[at].clone(),
        }
    };
    let (mut l, mut r) = (0, 0);
    while l < live.len() || r < applied.len() {
        if l < live.len() && r < applied.len() {
            let own = &live_at[l];
            if own.is_some() && *own == applied_at[r] {
                out.push(take(r, &mut merged));
                l += 1;
                r += 1;
                next_shared = shared.next();
                continue;
            }
            let known = own.as_ref().is_some_and(|own| applied_by.contains_key(own));
            if known && next_shared.is_some_and(|next| next != own) {
                // Shared, but not the next one in the order of what is applied.
                l += 1;
                continue;
            }
        }
        if l < live.len() {
            let place = live_at[l]
                .as_ref()
                .and_then(|own| applied_by.get(own).copied());
            match place {
                None => {
                    out.push(live[l].clone());
                    l += 1;
                    continue;
                }
                // Already merged: not a second time.
                Some(Some(at)) if merged[at] => l += 1,
                Some(_) => {}
            }
        }
        if r < applied.len() {
            out.push(take(r, &mut merged));
            if next_shared.is_some_and(|next| *next == applied_at[r]) {
                next_shared = shared.next();
            }
            r += 1;
        } else if l < live.len()
            && live_at[l].as_ref().map(|own| applied_by.get(own)) == Some(Some(&None))
        {
            // What is applied names it several times, and all of that is merged.
            l += 1;
        }
    }
    Value::Array(out)
}
