//! The order of sets: known before unknown before null; strings by their bytes, numbers by value, false before true;
//! compound elements by a text made of what is in them, the way cty does, since plans show sets in this order.

use std::cmp::Ordering;

use super::{Data, Kind, Value};
use crate::marks::Marks;
use crate::types::Type;

/// `values` in the order of a set of `element`, each once.
pub(super) fn ordered(element: &Type, values: Vec<Value>) -> Vec<Value> {
    if element.is_primitive() {
        let mut values = values;
        values.sort_by(compare_primitives);
        values.dedup_by(|b, a| a.is_known() && a.data_equals(b));
        return values;
    }
    let mut keyed: Vec<(Rank, Vec<u8>, Value)> = values
        .into_iter()
        .map(|v| {
            let mut key = Vec::new();
            append_key(&v, &mut key);
            (rank(&v), key, v)
        })
        .collect();
    keyed.sort_by(|a, b| a.0.cmp(&b.0).then_with(|| a.1.cmp(&b.1)));
    // Equal elements have equal keys, but equal keys may be of elements that differ.
    let mut out: Vec<Value> = Vec::with_capacity(keyed.len());
    let mut group = 0;
    let mut last: Option<Vec<u8>> = None;
    for (_, key, value) in keyed {
        if last.as_ref() != Some(&key) {
            group = out.len();
            last = Some(key);
        }
        let known = out[group..]
            .iter()
            .any(|other| other.equals(&value).as_bool() == Some(true));
        if !known {
            out.push(value);
        }
    }
    out
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Known,
    Unknown,
    Null,
}

fn rank(value: &Value) -> Rank {
    match value.data {
        Data::Null => Rank::Null,
        Data::Unknown(_) => Rank::Unknown,
        _ => Rank::Known,
    }
}

fn compare_primitives(a: &Value, b: &Value) -> Ordering {
    match (&a.data, &b.data) {
        (Data::String(a), Data::String(b)) => a.cmp(b),
        (Data::Number(a), Data::Number(b)) => a.cmp(b),
        (Data::Bool(a), Data::Bool(b)) => a.cmp(b),
        _ => rank(a).cmp(&rank(b)),
    }
}

/// Where `value` stands or would stand in the ordered `values`.
fn search(values: &[Value], value: &Value) -> std::ops::Range<usize> {
    if value.ty().is_primitive() {
        let start = values.partition_point(|v| compare_primitives(v, value) == Ordering::Less);
        let end = start
            + values[start..].partition_point(|v| compare_primitives(v, value) == Ordering::Equal);
        return start..end;
    }
    let mut wanted = Vec::new();
    append_key(value, &mut wanted);
    let wanted = (rank(value), wanted);
    let compare = |v: &Value| {
        let mut key = Vec::new();
        append_key(v, &mut key);
        (rank(v), key).cmp(&wanted)
    };
    let start = values.partition_point(|v| compare(v) == Ordering::Less);
    let end = start + values[start..].partition_point(|v| compare(v) == Ordering::Equal);
    start..end
}

impl Value {
    /// Whether a set has `element`, with the marks of both: unknown where something unknown in it could be that.
    #[must_use]
    pub fn has_element(&self, element: &Value) -> Value {
        let marks = self.marks | element.deep;
        let unknown = Value::unknown_not_null(Type::Bool).with_marks(marks);
        let Kind::Set(values) = self.kind() else {
            return if self.is_known() {
                Value::FALSE.with_marks(marks)
            } else {
                unknown
            };
        };
        let of_type = self.ty.element().is_some_and(|ty| *ty == element.ty);
        if !of_type && !matches!(element.ty, Type::Dynamic) {
            return Value::FALSE.with_marks(marks);
        }
        if !element.is_known() {
            return unknown;
        }
        if !of_type {
            return Value::FALSE.with_marks(marks);
        }
        let (element, _) = element.clone().unmark_deep();
        if has(values, &element) {
            return Value::TRUE.with_marks(marks);
        }
        if self.unknown {
            return unknown;
        }
        Value::FALSE.with_marks(marks)
    }
}

/// Whether the elements of a set, in their order, have one that certainly equals `element`.
pub(super) fn has(values: &[Value], element: &Value) -> bool {
    values[search(values, element)]
        .iter()
        .any(|v| v.equals(element).unmark().0.as_bool() == Some(true))
}

/// The text that orders compound elements.
fn append_key(value: &Value, out: &mut Vec<u8>) {
    debug_assert!(value.deep_marks() == Marks::NONE || value.marks.is_empty());
    match value.kind() {
        Kind::Unknown(_) => out.push(b'?'),
        Kind::Null => out.push(b'~'),
        Kind::Number(number) => out.extend_from_slice(number.ten_digits().as_bytes()),
        Kind::Bool(value) => out.push(if value { b'T' } else { b'F' }),
        Kind::String(text) => out.extend_from_slice(crate::text::quote(text).as_bytes()),
        Kind::Map(values) => {
            out.push(b'{');
            for (key, value) in values {
                out.extend_from_slice(crate::text::quote(key).as_bytes());
                out.push(b':');
                append_key(value, out);
                out.push(b';');
            }
            out.push(b'}');
        }
        Kind::List(values) | Kind::Set(values) => append_all(b'[', values.iter(), b']', out),
        Kind::Tuple(values) => append_all(b'<', values.iter(), b'>', out),
        Kind::Object(values) => append_all(b'<', values.values(), b'>', out),
    }
}

fn append_all<'v>(open: u8, values: impl Iterator<Item = &'v Value>, close: u8, out: &mut Vec<u8>) {
    out.push(open);
    for value in values {
        append_key(value, out);
        out.push(b';');
    }
    out.push(close);
}
