//! Filters over dicts and lists.

use std::sync::Arc;

use consort_jinja::{
    Arguments, Dict, Environment, Error, Key, Result, State, Takes, Value, integer, repr,
};
use indexmap::{IndexMap, IndexSet};

use super::{add_all, add_of_items, flag, given, needed};
use crate::source::Encrypted;
use crate::template::context::{Shared, class, lazy_name, refused};
use crate::template::sets::{Operation, numbers};

pub(super) fn add(environment: &mut Environment, shared: &Shared) {
    add_of_items(
        environment,
        &[
            ("combine", combine),
            ("dict2items", dict_to_items),
            ("items2dict", items_to_dict),
            ("subelements", subelements),
            ("unique", unique),
            ("rekey_on_member", rekey),
        ],
    );
    add_all(
        environment,
        &[
            ("flatten", |_, value, arguments| {
                let [levels, skip] = arguments.bind("flatten", ["levels", "skip_nulls"])?;
                let items = value.iterate()?;
                // What is wrong with it matters only where something is to be flattened.
                let levels = match given(levels) {
                    Some(Value::Str(_)) if !items.iter().any(is_sequence) => None,
                    levels => levels.map(|levels| integer(&levels)).transpose()?,
                };
                let skip = skip.map_or(Ok(true), |skip| skip.truth())?;
                let mut flat = Vec::new();
                flatten(&items, levels, skip, &mut flat, 0)?;
                Ok(Value::list(flat))
            }),
            ("intersect", |_, one, arguments| {
                let two = other(arguments, "intersect")?;
                sets(&one, &two, Operation::Intersect)
            }),
            ("difference", |_, one, arguments| {
                let two = other(arguments, "difference")?;
                sets(&one, &two, Operation::Subtract)
            }),
            ("symmetric_difference", |_, one, arguments| {
                let two = other(arguments, "symmetric_difference")?;
                sets(&one, &two, Operation::Either)
            }),
            ("union", |_, one, arguments| {
                let two = other(arguments, "union")?;
                sets(&one, &two, Operation::Unite)
            }),
        ],
    );
    environment.add_filter("extract", Takes::Anything, extract);
    environment.add_filter("ternary", Takes::Anything, |_, value, arguments| {
        let [yes, no, none] = arguments.bind("ternary", ["true_val", "false_val", "none_val"])?;
        let yes = needed("ternary", "true_val", yes)?;
        let no = needed("ternary", "false_val", no)?;
        match (&value, given(none)) {
            (Value::None, Some(none)) => Ok(none),
            _ => Ok(if value.truth()? { yes } else { no }),
        }
    });
    environment.add_filter("mandatory", Takes::Anything, |_, value, arguments| {
        let [message] = arguments.bind("mandatory", ["msg"])?;
        match &value {
            Value::Undefined(undefined) if undefined.error.is_none() => {
                if let Some(message) = given(message) {
                    return refused(&*message.text()?);
                }
                refused(match &undefined.name {
                    Some(name) => {
                        format!("Mandatory variable {} not defined.", repr::string(name))
                    }
                    None => "Mandatory variable not defined.".to_owned(),
                })
            }
            _ => Ok(value),
        }
    });
    environment.add_filter("type_debug", Takes::Anything, |_, value, _| {
        Ok(Value::from(match &value {
            Value::Undefined(undefined) if undefined.error.is_some() => "CapturedExceptionMarker",
            Value::Undefined(_) => "UndefinedMarker",
            Value::Object(object) if object.any().is::<Encrypted>() => "VaultExceptionMarker",
            value => value.type_name(),
        }))
    });
    for name in ["default", "d"] {
        environment.add_filter(name, Takes::Anything, |_, value, arguments| {
            let [default, boolean] =
                arguments.bind("ansible_default", ["default_value", "boolean"])?;
            let default = default.unwrap_or_else(|| Value::from(""));
            let boolean = match boolean {
                None => false,
                Some(Value::Bool(boolean)) => boolean,
                Some(other) => {
                    return refused(format!(
                        "The 'boolean' argument must be of type 'bool', not {}.",
                        repr::string(other.type_name())
                    ));
                }
            };
            match &value {
                Value::Undefined(undefined) if undefined.error.is_none() => Ok(default),
                _ if boolean && !value.truth()? => Ok(default),
                _ => Ok(value),
            }
        });
    }
    let told = Arc::clone(shared);
    environment.add_filter("bool", Takes::Defined, move |_, value, _| {
        let word = match &value {
            Value::Str(text) => text.to_lowercase(),
            Value::Bool(_) | Value::Int(_) | Value::Big(_) => repr::text(&value).to_lowercase(),
            _ => String::new(),
        };
        let answer = match word.as_str() {
            "yes" | "on" | "true" | "1" => return Ok(Value::Bool(true)),
            "no" | "off" | "false" | "0" => return Ok(Value::Bool(false)),
            _ => matches!(value, Value::Float(number) if (number - 1.0).abs() < f64::EPSILON),
        };
        told.deprecated(
            format!(
                "The `bool` filter coerced invalid value {} ({}) to {}.",
                repr::repr(&value),
                value.type_name(),
                if answer { "True" } else { "False" }
            ),
            None,
        );
        Ok(Value::Bool(answer))
    });
}

fn other(arguments: &Arguments, function: &str) -> Result<Value> {
    let [other] = arguments.bind(function, ["b"])?;
    needed(function, "b", other)
}

fn is_sequence(value: &Value) -> bool {
    match value {
        Value::List(_) | Value::Tuple(_) => true,
        Value::Object(object) => !object.is_mapping() && object.items().is_some(),
        _ => false,
    }
}

fn flatten(
    items: &[Value],
    levels: Option<i64>,
    skip: bool,
    flat: &mut Vec<Value>,
    depth: u32,
) -> Result<()> {
    if depth > 500 {
        return Err(Error::Recursion);
    }
    for item in items {
        if skip && (matches!(item, Value::None) || matches!(item.as_str(), Some("None" | "null"))) {
            continue;
        }
        if is_sequence(item) && levels.is_none_or(|levels| levels >= 1) {
            flatten(
                &item.iterate()?,
                levels.map(|levels| levels - 1),
                skip,
                flat,
                depth + 1,
            )?;
        } else {
            flat.push(item.clone());
        }
    }
    Ok(())
}

/// How two lists become one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Merge {
    Replace,
    Keep,
    Append,
    Prepend,
    AppendNew,
    PrependNew,
}

fn combine(state: &mut State<'_, '_>, value: Value, arguments: &Arguments) -> Result<Value> {
    let mut arguments = arguments.clone();
    let recursive = flag(arguments.take("recursive"))?;
    let merge = arguments.take("list_merge");
    if !arguments.named.is_empty() {
        return refused("'recursive' and 'list_merge' are the only valid keyword arguments");
    }
    let mut terms = vec![value];
    terms.append(&mut arguments.positional);
    let mut dicts = Vec::new();
    flatten(&terms, Some(1), true, &mut dicts, 0)?;
    let Some(mut result) = dicts.pop() else {
        return Ok(Value::Dict(Dict::default()));
    };
    if dicts.is_empty() {
        return Ok(result);
    }
    let merge = match merge.map(|merge| merge.text()).transpose()?.as_deref() {
        None | Some("replace") => Merge::Replace,
        Some("keep") => Merge::Keep,
        Some("append") => Merge::Append,
        Some("prepend") => Merge::Prepend,
        Some("append_rp") => Merge::AppendNew,
        Some("prepend_rp") => Merge::PrependNew,
        Some(_) => {
            return refused(
                "merge_hash: 'list_merge' argument can only be equal to 'replace', 'keep', 'append', 'prepend', \
                 'append_rp' or 'prepend_rp'",
            );
        }
    };
    while let Some(under) = dicts.pop() {
        result = merge_dicts(state, &under, &result, recursive, merge, 0)?;
    }
    Ok(result)
}

fn merge_dicts(
    state: &mut State<'_, '_>,
    under: &Value,
    over: &Value,
    recursive: bool,
    merge: Merge,
    depth: u32,
) -> Result<Value> {
    if depth > 200 {
        return Err(Error::Recursion);
    }
    let (Some(below), Some(above)) = (under.entries(), over.entries()) else {
        return refused(format!(
            "failed to combine variables, expected dicts but got a '{}' and a '{}'.",
            lazy_name(under),
            lazy_name(over)
        ));
    };
    let mut merged: IndexMap<Key, Value> = below.into_iter().collect();
    for (key, value) in above {
        let Some(old) = merged.get(&key) else {
            merged.insert(key, value);
            continue;
        };
        let old = state.access(old.clone()).defined()?;
        let value = state.access(value).defined()?;
        let value = match (&old, &value) {
            (Value::Dict(_), Value::Dict(_)) if recursive => {
                merge_dicts(state, &old, &value, recursive, merge, depth + 1)?
            }
            (Value::List(_), Value::List(_)) => {
                let (old, new) = match merge {
                    // These compare what stands in them.
                    Merge::AppendNew | Merge::PrependNew => {
                        (state.ready(old)?.iterate()?, state.ready(value)?.iterate()?)
                    }
                    _ => (old.iterate()?, value.iterate()?),
                };
                let without = |items: &[Value], of: &[Value]| -> Vec<Value> {
                    items
                        .iter()
                        .filter(|item| !of.iter().any(|other| other.equals(item)))
                        .cloned()
                        .collect()
                };
                Value::list(match merge {
                    Merge::Replace => new,
                    Merge::Keep => old,
                    Merge::Append => [old, new].concat(),
                    Merge::Prepend => [new, old].concat(),
                    Merge::AppendNew => [without(&old, &new), new].concat(),
                    Merge::PrependNew => [new.clone(), without(&old, &new)].concat(),
                })
            }
            _ => value,
        };
        merged.insert(key, value);
    }
    Ok(Value::Dict(Dict::new(merged)))
}

/// `unique` of Jinja; of what has no hash by comparing each with each, unless options ask for more.
fn unique(state: &mut State<'_, '_>, value: Value, arguments: &Arguments) -> Result<Value> {
    let [exact, attribute] = arguments.bind("unique", ["case_sensitive", "attribute"])?;
    let attribute = given(attribute);
    let special = matches!(exact, Some(Value::Bool(false))) || attribute.is_some();
    let exact = given(exact).map_or(Ok(false), |exact| exact.truth())?;
    let value = if attribute.is_none() {
        state.ready(value)?
    } else {
        value
    };
    let fold = |key: Value| match &key {
        Value::Str(text) if !exact => Value::from(text.to_lowercase()),
        _ => key,
    };
    let items = value.iterate()?;
    let mut seen: IndexSet<Key> = IndexSet::new();
    let mut kept = Vec::new();
    for item in &items {
        let key = match &attribute {
            None => item.clone(),
            Some(path) => {
                let mut found = item.clone();
                match path {
                    Value::Str(path) => {
                        for step in path.split('.') {
                            let step = step.parse().map_or_else(|_| Value::from(step), Value::Int);
                            found = state.item(&found, &step)?;
                        }
                    }
                    other => found = state.item(&found, other)?,
                }
                found
            }
        };
        match Key::new(fold(key)) {
            Ok(key) => {
                if seen.insert(key) {
                    kept.push(item.clone());
                }
            }
            Err(error) if special => {
                return Err(Error::caused(
                    "Jinja2's unique filter failed and we cannot fall back to Ansible's version as it does not support \
                     the parameters supplied.",
                    error,
                ));
            }
            Err(_) => return Ok(Value::list(compared(&items, &[], Operation::Unite))),
        }
    }
    Ok(Value::list(kept))
}

fn extract(state: &mut State<'_, '_>, value: Value, arguments: &Arguments) -> Result<Value> {
    let [container, more] = arguments.bind("extract", ["container", "morekeys"])?;
    let mut found = needed("extract", "container", container)?;
    let mut keys = vec![value];
    match given(more) {
        None => {}
        Some(Value::List(more)) => keys.extend(more.read().iter().cloned()),
        Some(other) => keys.push(other),
    }
    for key in keys {
        let key = state.access(key);
        found = state.item(&found, &key)?;
    }
    Ok(found)
}

fn dict_to_items(_: &mut State<'_, '_>, value: Value, arguments: &Arguments) -> Result<Value> {
    let [key, name] = arguments.bind("dict2items", ["key_name", "value_name"])?;
    let key = Key::new(key.unwrap_or_else(|| Value::from("key")))?;
    let name = Key::new(name.unwrap_or_else(|| Value::from("value")))?;
    let Some(entries) = value.entries() else {
        return refused(format!(
            "dict2items requires a dictionary, got {} instead.",
            class(&value)
        ));
    };
    Ok(Value::list(
        entries
            .into_iter()
            .map(|(known, value)| {
                let mut entry = IndexMap::with_capacity(2);
                entry.insert(key.clone(), known.value().clone());
                entry.insert(name.clone(), value);
                Value::Dict(Dict::new(entry))
            })
            .collect(),
    ))
}

fn items_to_dict(state: &mut State<'_, '_>, value: Value, arguments: &Arguments) -> Result<Value> {
    let [key, name] = arguments.bind("items2dict", ["key_name", "value_name"])?;
    let key = key.unwrap_or_else(|| Value::from("key"));
    let name = name.unwrap_or_else(|| Value::from("value"));
    if !is_sequence(&value) {
        return refused(format!(
            "items2dict requires a list, got {} instead.",
            class(&value)
        ));
    }
    let mut made = IndexMap::new();
    for item in value.iterate()? {
        if item.entries().is_none() {
            return refused(format!(
                "items2dict requires a list of dictionaries, got {} instead.",
                repr::repr(&value)
            ));
        }
        let (known, found) = (state.item(&item, &key)?, state.item(&item, &name)?);
        if known.is_undefined() || found.is_undefined() {
            return refused(format!(
                "items2dict requires each dictionary in the list to contain the keys '{}' and '{}', got {} instead.",
                repr::text(&key),
                repr::text(&name),
                repr::repr(&value)
            ));
        }
        made.insert(Key::new(known)?, found);
    }
    Ok(Value::Dict(Dict::new(made)))
}

fn subelements(state: &mut State<'_, '_>, value: Value, arguments: &Arguments) -> Result<Value> {
    let [path, skip] = arguments.bind("subelements", ["subelements", "skip_missing"])?;
    let path = needed("subelements", "subelements", path)?;
    let skip = flag(skip)?;
    let elements = match &value {
        Value::List(list) => list.read().clone(),
        other => match other.entries() {
            Some(entries) => entries.into_iter().map(|(_, value)| value).collect(),
            None => return refused("obj must be a list of dicts or a nested dict"),
        },
    };
    let steps: Vec<Value> = match &path {
        Value::List(steps) => steps.read().clone(),
        Value::Str(text) => text.split('.').map(Value::from).collect(),
        _ => return refused("subelements must be a list or a string"),
    };
    let mut rows = Vec::new();
    for element in elements {
        let mut values = element.clone();
        for step in &steps {
            if values.entries().is_none() {
                return refused(format!(
                    "the key {} should point to a dictionary, got '{}'",
                    repr::text(step),
                    repr::text(&values)
                ));
            }
            let found = state.item(&values, step)?;
            if found.is_undefined() {
                if skip {
                    values = Value::list(Vec::new());
                    break;
                }
                return refused(format!(
                    "could not find {} key in iterated item {}",
                    repr::repr(step),
                    repr::repr(&values)
                ));
            }
            values = found;
        }
        let Value::List(items) = &values else {
            return refused(format!(
                "the key {} should point to a list, got {}",
                steps.last().map(repr::repr).unwrap_or_default(),
                repr::repr(&values)
            ));
        };
        for item in items.read().iter() {
            rows.push(Value::tuple(vec![element.clone(), item.clone()]));
        }
    }
    Ok(Value::list(rows))
}

fn rekey(state: &mut State<'_, '_>, value: Value, arguments: &Arguments) -> Result<Value> {
    let [key, duplicates] = arguments.bind("rekey_on_member", ["key", "duplicates"])?;
    let key = needed("rekey_on_member", "key", key)?;
    let duplicates = duplicates.unwrap_or_else(|| Value::from("error"));
    let overwrite = match duplicates.as_str() {
        Some("error") => false,
        Some("overwrite") => true,
        _ => {
            return refused(format!(
                "duplicates parameter to rekey_on_member has unknown value {}",
                repr::repr(&duplicates)
            ));
        }
    };
    let items = match (value.entries(), &value) {
        (Some(entries), _) => entries.into_iter().map(|(_, value)| value).collect(),
        (None, Value::Str(_) | Value::Bytes(_)) => {
            return refused("Type is not a valid list, set, or dict");
        }
        (None, other) => other
            .iterate()
            .map_err(|_| Error::failed("Type is not a valid list, set, or dict"))?,
    };
    let mut made: IndexMap<Key, Value> = IndexMap::new();
    for item in items {
        if item.entries().is_none() {
            return refused("List item is not a valid dict");
        }
        let found = state.item(&item, &key)?;
        if found.is_undefined() {
            return refused(format!("Key {} was not found.", repr::repr(&key)));
        }
        let known = Key::new(found.clone())?;
        if !overwrite && made.contains_key(&known) {
            return refused(format!(
                "Key {} is not unique, cannot convert to dict.",
                repr::repr(&found)
            ));
        }
        made.insert(known, item);
    }
    Ok(Value::Dict(Dict::new(made)))
}

fn sets(one: &Value, two: &Value, operation: Operation) -> Result<Value> {
    let (first, second) = (one.iterate()?, two.iterate()?);
    if let Some(numbers) = numbers(&first, &second, operation) {
        return Ok(Value::list(numbers));
    }
    // Keys cannot be lists or dicts: what can change is never a part of one.
    #[allow(clippy::mutable_key_type)]
    let keyed = |items: &[Value]| -> Option<IndexSet<Key>> {
        items
            .iter()
            .map(|item| Key::new(item.clone()).ok())
            .collect()
    };
    let (Some(a), Some(b)) = (keyed(&first), keyed(&second)) else {
        return Ok(Value::list(compared(&first, &second, operation)));
    };
    let kept: Vec<Value> = match operation {
        Operation::Intersect => a.intersection(&b).map(|key| key.value().clone()).collect(),
        Operation::Subtract => a.difference(&b).map(|key| key.value().clone()).collect(),
        Operation::Either => a
            .symmetric_difference(&b)
            .map(|key| key.value().clone())
            .collect(),
        Operation::Unite => a.union(&b).map(|key| key.value().clone()).collect(),
    };
    Ok(Value::list(kept))
}

/// The same of items that have no hash: each is compared with each.
fn compared(first: &[Value], second: &[Value], operation: Operation) -> Vec<Value> {
    let holds = |items: &[Value], item: &Value| items.iter().any(|other| other.equals(item));
    let unique = |items: Vec<Value>| {
        let mut kept: Vec<Value> = Vec::new();
        for item in items {
            if !holds(&kept, &item) {
                kept.push(item);
            }
        }
        kept
    };
    let both = |wanted: bool| -> Vec<Value> {
        unique(
            first
                .iter()
                .filter(|item| holds(second, item) == wanted)
                .cloned()
                .collect(),
        )
    };
    match operation {
        Operation::Intersect => both(true),
        Operation::Subtract => both(false),
        Operation::Unite => unique([first, second].concat()),
        Operation::Either => {
            let common = both(true);
            unique([first, second].concat())
                .into_iter()
                .filter(|item| !holds(&common, item))
                .collect()
        }
    }
}
