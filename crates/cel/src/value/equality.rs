//! Equality, and what follows from it: lists declared as sets or maps of Kubernetes, which compare without regard to
//! order and merge when added.

use std::cmp::Ordering;
use std::sync::Arc;

use indexmap::{IndexMap, IndexSet};

use super::{Key, List, Map, Value, Work, compare, json};
use crate::EvalError;
use crate::decl::ListKind;

/// Whether two values are equal. Values of different types are not, except numbers.
pub(crate) fn equal(a: &Value<'_>, b: &Value<'_>, work: &mut Work) -> Result<bool, EvalError> {
    if let Some(order) = compare::numbers(a, b) {
        return Ok(order == Some(Ordering::Equal));
    }
    Ok(match (a, b) {
        (Value::Null, Value::Null) => true,
        (Value::Null, _) | (_, Value::Null) => false,
        (Value::Bool(a), Value::Bool(b)) => a == b,
        (Value::String(a), Value::String(b)) => {
            work.spend(a.len() / 64)?;
            a == b
        }
        (Value::Bytes(a), Value::Bytes(b)) => {
            work.spend(a.len() / 64)?;
            a == b
        }
        (Value::Timestamp(a), Value::Timestamp(b)) => a == b,
        (Value::Duration(a), Value::Duration(b)) => a == b,
        (Value::List(a), Value::List(b)) => return lists(a, b, work),
        // A typed value of a schema cannot be compared with one of another type.
        (Value::List(List::Json(_, Some(_))) | Value::Map(Map::Json(_, Some(_))), _)
            if !matches!(b, Value::Map(_)) || matches!(a, Value::List(_)) =>
        {
            return Err(EvalError::no_overload());
        }
        (Value::Map(a), Value::Map(b)) => return maps(a, b, work),
        (Value::Object(a), Value::Object(b)) => {
            if a.name != b.name || a.fields.len() != b.fields.len() {
                return Ok(false);
            }
            for (name, value) in &a.fields {
                let Some(other) = b.fields.get(name) else {
                    return Ok(false);
                };
                work.spend(1)?;
                if !equal(value, other, work)? {
                    return Ok(false);
                }
            }
            true
        }
        (Value::Optional(a), Value::Optional(b)) => match (a, b) {
            (Some(a), Some(b)) => {
                work.spend(1)?;
                return equal(a, b, work);
            }
            (a, b) => a.is_none() && b.is_none(),
        },
        (Value::Type(a), Value::Type(b)) => a == b,
        (Value::Opaque(a), Value::Opaque(b)) => a.same(b),
        (Value::Preserved(a), Value::Preserved(b)) => a == b,
        _ => false,
    })
}

fn lists(a: &List<'_>, b: &List<'_>, work: &mut Work) -> Result<bool, EvalError> {
    if a.len() != b.len() {
        return Ok(false);
    }
    if let (List::Json(items, _), List::Json(others, _)) = (a, b)
        && same_items(items, others, work)?
    {
        return Ok(true);
    }
    match a.kind() {
        ListKind::Atomic => {}
        ListKind::Set => {
            let mine = set_of(a, work)?;
            let mut seen = IndexSet::new();
            for item in b.iter() {
                let key = set_key(&item?)?;
                if !mine.contains_key(&key) {
                    return Ok(false);
                }
                seen.insert(key);
            }
            return Ok(seen.len() == mine.len());
        }
        ListKind::Map(keys) => {
            let mine = by_keys(a, keys, work)?;
            let mut seen = IndexSet::new();
            for item in b.iter() {
                let item = item?;
                let key = map_key(&item, keys)?;
                let Some(same) = mine.get(&key) else {
                    return Ok(false);
                };
                if !equal(same, &item, work)? {
                    return Ok(false);
                }
                seen.insert(key);
            }
            return Ok(seen.len() == mine.len());
        }
    }
    work.spend(a.len())?;
    for (one, other) in a.iter().zip(b.iter()) {
        if !equal(&one?, &other?, work)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn maps<'a>(a: &Map<'a>, b: &Map<'a>, work: &mut Work) -> Result<bool, EvalError> {
    if a.len() != b.len() {
        return Ok(false);
    }
    if let (Map::Json(entries, _), Map::Json(others, _)) = (a, b)
        && same_entries(entries, others, work)?
    {
        return Ok(true);
    }
    work.spend(a.len())?;
    if let (Map::Json(entries, Some(decl)), Map::Json(others, other_decl)) = (a, b)
        && decl.values().is_none()
    {
        for (name, value) in *entries {
            let Some(field) = decl.property(name) else {
                // Fields without a declaration are compared as they are.
                if others.get(name).is_some_and(|other| other != value) {
                    return Ok(false);
                }
                continue;
            };
            let other_field = other_decl
                .and_then(|decl| decl.property(name))
                .unwrap_or(field);
            let other = others.get(name).filter(|other| !other.is_null());
            let same = match (Some(value).filter(|value| !value.is_null()), other) {
                (Some(value), Some(other)) => equal(
                    &json::read(value, field)?,
                    &json::read(other, other_field)?,
                    work,
                )?,
                (None, None) => true,
                _ => false,
            };
            if !same {
                return Ok(false);
            }
        }
        return Ok(true);
    }
    for key in a.keys() {
        match (a.find(&key)?, b.find(&key)?) {
            (Some(one), Some(other)) => {
                if !equal(&one, &other, work)? {
                    return Ok(false);
                }
            }
            (None, None) => {}
            _ => return Ok(false),
        }
    }
    Ok(true)
}

/// Whether two pieces of JSON are written the same, which settles most comparisons without reading them by their schema.
fn same(a: &serde_json::Value, b: &serde_json::Value, work: &mut Work) -> Result<bool, EvalError> {
    match (a, b) {
        (serde_json::Value::Array(a), serde_json::Value::Array(b)) => {
            Ok(a.len() == b.len() && same_items(a, b, work)?)
        }
        (serde_json::Value::Object(a), serde_json::Value::Object(b)) => {
            Ok(a.len() == b.len() && same_entries(a, b, work)?)
        }
        (serde_json::Value::String(a), serde_json::Value::String(b)) => {
            work.spend(a.len() / 64)?;
            Ok(a == b)
        }
        (a, b) => Ok(a == b),
    }
}

fn same_items(
    a: &[serde_json::Value],
    b: &[serde_json::Value],
    work: &mut Work,
) -> Result<bool, EvalError> {
    for (a, b) in a.iter().zip(b) {
        work.spend(1)?;
        if !same(a, b, work)? {
            return Ok(false);
        }
    }
    Ok(true)
}

type Entries = serde_json::Map<String, serde_json::Value>;

fn same_entries(a: &Entries, b: &Entries, work: &mut Work) -> Result<bool, EvalError> {
    for (name, a) in a {
        work.spend(1)?;
        match b.get(name) {
            Some(b) if same(a, b, work)? => {}
            _ => return Ok(false),
        }
    }
    Ok(true)
}

type Identity = Vec<Option<String>>;

fn set_key(value: &Value<'_>) -> Result<String, EvalError> {
    match value {
        Value::List(_) | Value::Map(_) => Err(EvalError::Failed(
            "listSet operations are only supported on lists of scalar values".to_owned(),
        )),
        value => Ok(identity(value)),
    }
}

fn identity(value: &Value<'_>) -> String {
    match Key::of(value) {
        Some(Key::String(text)) => format!("s{}", &*text),
        Some(Key::Bool(value)) => format!("b{value}"),
        Some(Key::Int(value)) => format!("i{value}"),
        Some(Key::Uint(value)) => format!("i{value}"),
        None => format!("{}{}", value.type_name(), super::display(value)),
    }
}

fn set_of<'a>(list: &List<'a>, work: &mut Work) -> Result<IndexMap<String, Value<'a>>, EvalError> {
    work.spend(list.len())?;
    let mut items = IndexMap::with_capacity(list.len());
    for item in list.iter() {
        let item = item?;
        items.entry(set_key(&item)?).or_insert(item);
    }
    Ok(items)
}

fn map_key(item: &Value<'_>, keys: &[String]) -> Result<Identity, EvalError> {
    let Value::Map(map) = item else {
        return Err(EvalError::Failed(
            "unexpected data format for element of array with x-kubernetes-list-type=map"
                .to_owned(),
        ));
    };
    keys.iter()
        .map(|key| {
            let found = match map {
                Map::Json(entries, _) => entries.get(key).map(Value::json),
                Map::Owned(_) => map.field(key)?,
            };
            Ok(found.map(|value| identity(&value)))
        })
        .collect()
}

fn by_keys<'a>(
    list: &List<'a>,
    keys: &[String],
    work: &mut Work,
) -> Result<IndexMap<Identity, Value<'a>>, EvalError> {
    work.spend(list.len())?;
    let mut items = IndexMap::with_capacity(list.len());
    for item in list.iter() {
        let item = item?;
        items.insert(map_key(&item, keys)?, item);
    }
    Ok(items)
}

/// The union of two sets: those of `a` in their places, then those only `b` has.
pub(super) fn join_sets<'a>(
    a: &List<'a>,
    b: &List<'a>,
    work: &mut Work,
) -> Result<List<'a>, EvalError> {
    work.spend(a.len() + b.len())?;
    let mut seen: IndexSet<String> = IndexSet::new();
    let mut items = Vec::with_capacity(a.len() + b.len());
    for item in a.iter() {
        let item = item?;
        seen.insert(set_key(&item)?);
        items.push(item);
    }
    for item in b.iter() {
        let item = item?;
        if seen.insert(set_key(&item)?) {
            items.push(item);
        }
    }
    Ok(List::Merged(Arc::new(items), a.kind()))
}

/// The merge of two lists with keys: items of `b` replace those of `a` with the same keys, others follow.
pub(super) fn join_map_lists<'a>(
    a: &List<'a>,
    b: &List<'a>,
    keys: &[String],
    work: &mut Work,
) -> Result<List<'a>, EvalError> {
    work.spend(a.len() + b.len())?;
    let mut items: IndexMap<Identity, Value<'a>> = IndexMap::with_capacity(a.len() + b.len());
    for item in a.iter().chain(b.iter()) {
        let item = item?;
        items.insert(map_key(&item, keys)?, item);
    }
    Ok(List::Merged(
        Arc::new(items.into_values().collect()),
        a.kind(),
    ))
}
