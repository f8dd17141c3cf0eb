//! Values without blocks: primitives, collections, text.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use consort_hcl::{Kind, Type, Value};
use similar::{Algorithm, DiffOp};

use super::schema::nested;
use super::{Action, Keys, Node, Paths, Shape, hidden, plain, present, same, together};
use crate::provider::schema::Attribute;

/// What is known of a value's type.
#[derive(Clone, Copy)]
pub(super) enum Typing<'s> {
    /// It is that of an attribute.
    Attribute(&'s Attribute),
    /// The value carries it: nulls in objects are absent attributes.
    Typed,
    /// It was any: the value is told as the JSON that it is kept as, in which nulls are values.
    Json,
}

impl Typing<'_> {
    fn is_json(self) -> bool {
        match self {
            Typing::Attribute(attribute) => attribute.ty == Type::Dynamic,
            Typing::Typed => false,
            Typing::Json => true,
        }
    }

    /// That of the parts of a value.
    fn of_parts(self) -> Typing<'static> {
        if self.is_json() {
            Typing::Json
        } else {
            Typing::Typed
        }
    }
}

pub(super) fn elements(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_sequence).unwrap_or_default()
}

/// The elements of two sets: each of the first beside its equal in the second, then those only in the second.
pub(super) fn set_pairs<'v>(
    before: &'v [Value],
    after: &'v [Value],
) -> Vec<(Option<&'v Value>, Option<&'v Value>)> {
    // Values hash by their printed form here; equality decides.
    let key = |value: &Value| format!("{:?}", value.clone().unmark_deep().0);
    let mut theirs = HashMap::<String, Vec<(usize, &Value)>>::new();
    for (at, value) in after.iter().enumerate() {
        theirs.entry(key(value)).or_default().push((at, value));
    }
    let mut met = vec![false; after.len()];
    let mut pairs = Vec::with_capacity(before.len().max(after.len()));
    for value in before {
        let twin = theirs
            .get(&key(value))
            .into_iter()
            .flatten()
            .find(|(at, other)| !met[*at] && same(value, other));
        if let Some((at, _)) = twin {
            met[*at] = true;
        }
        pairs.push((Some(value), twin.map(|(_, other)| *other)));
    }
    let come = after.iter().zip(met).filter(|(_, met)| !met);
    pairs.extend(come.map(|(value, _)| (None, Some(value))));
    pairs
}

/// An attribute as it is told: an empty string is as good as null, since the older SDK of providers cannot tell
/// them apart.
pub(super) fn said(value: Option<&Value>) -> Option<&Value> {
    value.filter(|value| value.as_str() != Some(""))
}

/// The change of a value; absent where it does not exist.
pub(super) fn value(
    before: Option<&Value>,
    after: Option<&Value>,
    typing: Typing<'_>,
    paths: &Paths<'_>,
) -> Node {
    if let Some(node) = hidden(before, after, paths) {
        return node;
    }
    if let Some(new) = after
        && !new.is_known()
    {
        let was = present(before)
            .map(|before| Box::new(value(Some(before), None, typing, &Paths::default())));
        let action = if was.is_some() {
            Action::Update
        } else {
            Action::Create
        };
        return Node::new(action, paths, Shape::Unknown(was));
    }
    if let Typing::Attribute(Attribute {
        nested: Some(object),
        ..
    }) = typing
    {
        return nested(present(before), present(after), object, paths);
    }
    match (present(before), present(after)) {
        (Some(old), Some(new)) => changed(old, new, typing, paths),
        (None, Some(new)) if before.is_none() || !typing.is_json() => {
            whole(new, Action::Create, typing, paths)
        }
        (Some(old), None) if after.is_none() || !typing.is_json() => {
            whole(old, Action::Delete, typing, paths)
        }
        (old, new) => {
            let leaf = |side: Option<&Value>| {
                side.is_none_or(|side| is_primitive(side) && side.as_str().and_then(json).is_none())
            };
            // A null that was written down is a value, which another can take the place of.
            if let (Some(was), Some(becomes)) = (before, after)
                && !(leaf(old) && leaf(new))
            {
                return exchanged(was, becomes, typing, paths);
            }
            let shape = Shape::Leaf {
                before: before.cloned(),
                after: after.cloned(),
            };
            Node::new(plain(before, after), paths, shape)
        }
    }
}

/// The parts of maps and objects, in the order of their keys.
pub(super) fn entries(
    before: Option<&Value>,
    after: Option<&Value>,
    mut each: impl FnMut(&Arc<str>, Option<&Value>, Option<&Value>) -> Node,
) -> Vec<(Arc<str>, Node)> {
    let empty = std::collections::BTreeMap::new();
    let old = before.and_then(Value::as_keyed).unwrap_or(&empty);
    let new = after.and_then(Value::as_keyed).unwrap_or(&empty);
    old.keys()
        .chain(new.keys())
        .collect::<BTreeSet<_>>()
        .into_iter()
        .map(|key| (Arc::clone(key), each(key, old.get(key), new.get(key))))
        .collect()
}

fn keys(value: &Value, typing: Typing<'_>) -> Keys {
    match value.ty() {
        Type::Map(_) if !typing.is_json() => Keys::Map,
        _ => Keys::Object,
    }
}

fn is_set(value: &Value, typing: Typing<'_>) -> bool {
    matches!(value.ty(), Type::Set(_)) && !typing.is_json()
}

/// Whether an attribute that is null is as good as absent.
fn leaves_nulls_out(keys: Keys, typing: Typing<'_>) -> bool {
    keys == Keys::Object && !typing.is_json()
}

/// A value that comes ([`Action::Create`]) or goes.
fn whole(one: &Value, action: Action, typing: Typing<'_>, paths: &Paths<'_>) -> Node {
    let comes = action == Action::Create;
    let part = |part, paths: &Paths<'_>| {
        let (before, after) = if comes { (None, part) } else { (part, None) };
        value(before, after, typing.of_parts(), paths)
    };
    let shape = match one.kind() {
        Kind::String(text) => text_of(text, one, comes),
        Kind::Map(parts) | Kind::Object(parts) => {
            let keys = keys(one, typing);
            let entries = parts
                .iter()
                .filter(|(_, value)| !(leaves_nulls_out(keys, typing) && value.is_null()))
                .map(|(key, value)| {
                    let told = if leaves_nulls_out(keys, typing) {
                        said(Some(value))
                    } else {
                        Some(value)
                    };
                    (Arc::clone(key), part(told, &paths.attribute(key)))
                })
                .collect();
            Shape::Keyed { keys, entries }
        }
        Kind::List(parts) | Kind::Set(parts) | Kind::Tuple(parts) => Shape::Sequence {
            set: is_set(one, typing),
            elements: parts
                .iter()
                .enumerate()
                .map(|(at, value)| part(Some(value), &paths.element(at)))
                .collect(),
        },
        _ => Shape::Leaf {
            before: (!comes).then(|| one.clone()),
            after: comes.then(|| one.clone()),
        },
    };
    Node::new(action, paths, shape)
}

fn changed(old: &Value, new: &Value, typing: Typing<'_>, paths: &Paths<'_>) -> Node {
    let parts = typing.of_parts();
    let shape = match (old.kind(), new.kind()) {
        (Kind::String(before), Kind::String(after)) => {
            return texts(before, after, old, new, paths);
        }
        (Kind::Map(_) | Kind::Object(_), Kind::Map(_) | Kind::Object(_)) => {
            let keys = keys(new, typing);
            let mut entries = entries(Some(old), Some(new), |key, old, new| {
                let (old, new) = if leaves_nulls_out(keys, typing) {
                    (said(old), said(new))
                } else {
                    (old, new)
                };
                value(old, new, parts, &paths.attribute(key))
            });
            if leaves_nulls_out(keys, typing) {
                let null = |of: &Value, key: &str| {
                    of.as_keyed()
                        .and_then(|of| of.get(key))
                        .is_none_or(Value::is_null)
                };
                entries.retain(|(key, _)| !(null(old, key) && null(new, key)));
            }
            Shape::Keyed { keys, entries }
        }
        (Kind::Set(before), Kind::Set(after)) if !typing.is_json() => {
            let elements = set_pairs(before, after)
                .into_iter()
                .map(|(old, new)| {
                    let below = match (old, new) {
                        (Some(one), None) | (None, Some(one)) => paths.member(one),
                        _ => Paths::default(),
                    };
                    value(old, new, parts, &below)
                })
                .collect();
            let set = true;
            Shape::Sequence { set, elements }
        }
        (
            Kind::List(before) | Kind::Tuple(before) | Kind::Set(before),
            Kind::List(after) | Kind::Tuple(after) | Kind::Set(after),
        ) => {
            let elements = sequence(before, after, typing, paths);
            let set = false;
            Shape::Sequence { set, elements }
        }
        _ if is_primitive(old) && is_primitive(new) => Shape::Leaf {
            before: Some(old.clone()),
            after: Some(new.clone()),
        },
        _ => return exchanged(old, new, typing, paths),
    };
    let action = match &shape {
        _ if same(old, new) => Action::Keep,
        Shape::Keyed { entries, .. } => {
            together(Some(old), Some(new), entries.iter().map(|(_, node)| node))
        }
        Shape::Sequence { elements, .. } => together(Some(old), Some(new), elements.iter()),
        _ => Action::Update,
    };
    Node::new(action, paths, shape)
}

/// A value in whose place one of another kind comes.
fn exchanged(old: &Value, new: &Value, typing: Typing<'_>, paths: &Paths<'_>) -> Node {
    let none = Paths::default();
    let was = value(Some(old), None, typing.of_parts(), &none);
    let becomes = value(None, Some(new), typing.of_parts(), &none);
    let shape = Shape::Exchanged(Box::new(was), Box::new(becomes));
    Node::new(Action::Update, paths, shape)
}

fn is_primitive(value: &Value) -> bool {
    matches!(
        value.kind(),
        Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::String(_)
    )
}

/// Elements beside each other where as many stand as stood and one of the old is found no more; else matched by
/// what they are, an object that stands where another stood told as a change of it.
fn sequence(before: &[Value], after: &[Value], typing: Typing<'_>, paths: &Paths<'_>) -> Vec<Node> {
    let parts = typing.of_parts();
    let key = |values: &[Value]| -> Vec<String> {
        values
            .iter()
            .map(|value| format!("{:?}", value.clone().unmark_deep().0))
            .collect()
    };
    let (old, new) = (key(before), key(after));
    let found: HashSet<&str> = new.iter().map(String::as_str).collect();
    if old.len() == new.len() && old.iter().any(|value| !found.contains(value.as_str())) {
        let pairs = before.iter().zip(after).enumerate();
        return pairs
            .map(|(at, (old, new))| value(Some(old), Some(new), parts, &paths.element(at)))
            .collect();
    }
    // A long list that changed much is not worth more than this.
    let deadline = std::time::Instant::now() + std::time::Duration::from_millis(200);
    let steps = similar::capture_diff_slices_deadline(Algorithm::Myers, &old, &new, Some(deadline));
    let structured = |value: &Value| match value.ty() {
        Type::Object(_) => true,
        Type::Map(_) => typing.is_json(),
        _ => false,
    };
    let mut nodes = Vec::new();
    for step in steps {
        let (old, new) = (step.old_range(), step.new_range());
        let mut at = (old.start, new.start);
        while at.0 < old.end || at.1 < new.end {
            let was = (at.0 < old.end).then(|| &before[at.0]);
            let becomes = (at.1 < new.end).then(|| &after[at.1]);
            let matched = matches!(step, DiffOp::Equal { .. });
            match (was, becomes) {
                (Some(was), Some(becomes)) if matched || structured(was) && structured(becomes) => {
                    nodes.push(value(Some(was), Some(becomes), parts, &paths.element(at.1)));
                    at = (at.0 + 1, at.1 + 1);
                }
                (Some(was), _) => {
                    nodes.push(value(Some(was), None, parts, &paths.element(at.0)));
                    at.0 += 1;
                }
                (None, Some(becomes)) => {
                    nodes.push(value(None, Some(becomes), parts, &paths.element(at.1)));
                    at.1 += 1;
                }
                (None, None) => break,
            }
        }
    }
    nodes
}

/// Text that comes or goes: JSON where it is JSON, lines where it has several, else as it is.
fn text_of(text: &str, whole: &Value, comes: bool) -> Shape {
    let sides = |value: Value| {
        if comes {
            (None, Some(value))
        } else {
            (Some(value), None)
        }
    };
    if let Some(parsed) = json(text) {
        let (before, after) = sides(parsed);
        let node = value(
            before.as_ref(),
            after.as_ref(),
            Typing::Json,
            &Paths::default(),
        );
        return Shape::Json(Box::new(node));
    }
    if text.contains('\n') {
        let text = text.trim().to_owned();
        let (before, after) = if comes {
            (String::new(), text)
        } else {
            (text, String::new())
        };
        return Shape::Lines { before, after };
    }
    let (before, after) = sides(whole.clone());
    Shape::Leaf { before, after }
}

/// Text that was and text that is.
fn texts(before: &str, after: &str, old: &Value, new: &Value, paths: &Paths<'_>) -> Node {
    let action = if before == after {
        Action::Keep
    } else {
        Action::Update
    };
    let shape = match (json(before), json(after)) {
        (Some(was), Some(becomes)) => {
            let none = Paths::default();
            let node = value(Some(&was), Some(&becomes), Typing::Json, &none);
            Shape::Json(Box::new(node))
        }
        (None, None) if before.contains('\n') || after.contains('\n') => Shape::Lines {
            before: before.trim().to_owned(),
            after: after.trim().to_owned(),
        },
        (None, None) => Shape::Leaf {
            before: Some(old.clone()),
            after: Some(new.clone()),
        },
        _ => {
            let none = Paths::default();
            let was = Node::new(Action::Delete, &none, text_of(before, old, false));
            let becomes = Node::new(Action::Create, &none, text_of(after, new, true));
            Shape::Exchanged(Box::new(was), Box::new(becomes))
        }
    };
    Node::new(action, paths, shape)
}

/// A JSON object or list in text; other JSON reads better as text.
fn json(text: &str) -> Option<Value> {
    if !text.starts_with(['{', '[']) || text.len() > 1 << 20 {
        return None;
    }
    let parsed: serde_json::Value = serde_json::from_str(text).ok()?;
    Some(from_json(&parsed))
}

fn from_json(value: &serde_json::Value) -> Value {
    use serde_json::Value as Json;
    match value {
        Json::Null => Value::null(Type::Dynamic),
        Json::Bool(value) => Value::bool(*value),
        Json::Number(number) => match consort_hcl::Number::parse(&number.to_string()) {
            Some(number) => Value::number(number),
            None => Value::string(number.to_string()),
        },
        Json::String(text) => Value::string(text),
        Json::Array(parts) => Value::tuple(parts.iter().map(from_json).collect()),
        Json::Object(parts) => Value::object(
            parts
                .iter()
                .map(|(key, part)| (key.as_str(), from_json(part))),
        ),
    }
}
