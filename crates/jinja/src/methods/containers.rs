//! Methods of lists, tuples and dicts.

use indexmap::IndexMap;

use super::sorting::sort;
use crate::arguments::{Arguments, integer};
use crate::error::{Error, Result};
use crate::value::{Dict, Key, Value};

pub(super) fn sequence(value: &Value, name: &str, arguments: &Arguments) -> Result<Value> {
    match name {
        "count" => {
            let [wanted] = arguments.bind(name, ["value"])?;
            let wanted = wanted.unwrap_or_default();
            return Ok(Value::from(
                value
                    .iterate()?
                    .iter()
                    .filter(|item| item.equals(&wanted))
                    .count(),
            ));
        }
        "index" => {
            let [wanted, start, end] = arguments.bind(name, ["value", "start", "stop"])?;
            let wanted = wanted.unwrap_or_default();
            let items = value.iterate()?;
            let length = items.len() as i64;
            let place = |value: Option<Value>, default: i64| -> Result<usize> {
                let index = value.map_or(Ok(default), |value| integer(&value))?;
                Ok((if index < 0 { index + length } else { index }).clamp(0, length) as usize)
            };
            let (from, to) = (place(start, 0)?, place(end, length)?);
            return items[from..to.max(from)]
                .iter()
                .position(|item| item.equals(&wanted))
                .map(|at| Value::from(at + from))
                .ok_or_else(|| {
                    Error::failed(format!("{} is not in list", crate::repr::repr(&wanted)))
                });
        }
        _ => {}
    }
    let Value::List(list) = value else {
        return Err(Error::failed(format!(
            "'{}' object has no attribute '{name}'",
            value.type_name()
        )));
    };
    match name {
        "append" => {
            let [item] = arguments.bind(name, ["object"])?;
            list.push(item.unwrap_or_default());
            Ok(Value::None)
        }
        "extend" => {
            let [more] = arguments.bind(name, ["iterable"])?;
            let more = more.unwrap_or_default().iterate()?;
            list.change(|items| items.extend(more));
            Ok(Value::None)
        }
        "insert" => {
            let [at, item] = arguments.bind(name, ["index", "object"])?;
            let at = integer(&at.unwrap_or_default())?;
            list.change(|items| {
                let length = items.len() as i64;
                let at = (if at < 0 { at + length } else { at }).clamp(0, length);
                items.insert(at as usize, item.unwrap_or_default());
            });
            Ok(Value::None)
        }
        "pop" => {
            let [at] = arguments.bind(name, ["index"])?;
            let at = at.map_or(Ok(-1), |at| integer(&at))?;
            list.change(|items| {
                if items.is_empty() {
                    return Err(Error::failed("pop from empty list"));
                }
                let at = if at < 0 { at + items.len() as i64 } else { at };
                match usize::try_from(at).ok().filter(|at| *at < items.len()) {
                    Some(at) => Ok(items.remove(at)),
                    None => Err(Error::failed("pop index out of range")),
                }
            })
        }
        "remove" => {
            let [wanted] = arguments.bind(name, ["value"])?;
            let wanted = wanted.unwrap_or_default();
            let at = list.read().iter().position(|item| item.equals(&wanted));
            match at {
                Some(at) => {
                    list.change(|items| {
                        if at < items.len() {
                            items.remove(at);
                        }
                    });
                    Ok(Value::None)
                }
                None => Err(Error::failed("list.remove(x): x not in list")),
            }
        }
        "clear" => {
            list.change(Vec::clear);
            Ok(Value::None)
        }
        "copy" => Ok(Value::list(list.read().clone())),
        "reverse" => {
            list.change(|items| items.reverse());
            Ok(Value::None)
        }
        "sort" => {
            let [reverse] = arguments.bind(name, ["reverse"])?;
            let reverse = reverse.map_or(Ok(false), |reverse| reverse.truth())?;
            let mut items = list.read().clone();
            sort(&mut items, |item| Ok(item.clone()), reverse)?;
            list.change(|place| *place = items);
            Ok(Value::None)
        }
        _ => Err(Error::failed(format!(
            "'list' object has no attribute '{name}'"
        ))),
    }
}

pub(super) fn mapping(dict: &Dict, name: &str, arguments: &Arguments) -> Result<Value> {
    let key_of = |value: Option<Value>| Key::new(value.unwrap_or_default());
    match name {
        "keys" => Ok(Value::list(
            dict.read().keys().map(|key| key.value().clone()).collect(),
        )),
        "values" => Ok(Value::list(dict.read().values().cloned().collect())),
        "items" => Ok(Value::list(
            dict.read()
                .iter()
                .map(|(key, value)| Value::tuple(vec![key.value().clone(), value.clone()]))
                .collect(),
        )),
        "get" => {
            let [key, default] = arguments.bind(name, ["key", "default"])?;
            let key = key_of(key)?;
            Ok(dict
                .read()
                .get(&key)
                .cloned()
                .or(default)
                .unwrap_or_default())
        }
        "pop" => {
            let [key, default] = arguments.bind(name, ["key", "default"])?;
            let key = key_of(key)?;
            dict.change(|entries| entries.shift_remove(&key))
                .or(default)
                .ok_or_else(|| Error::failed(crate::repr::repr(key.value())))
        }
        "popitem" => dict
            .change(IndexMap::pop)
            .map(|(key, value)| Value::tuple(vec![key.value().clone(), value]))
            .ok_or_else(|| Error::failed("popitem(): dictionary is empty")),
        "setdefault" => {
            let [key, default] = arguments.bind(name, ["key", "default"])?;
            let key = key_of(key)?;
            Ok(dict.change(|entries| {
                entries
                    .entry(key)
                    .or_insert_with(|| default.unwrap_or_default())
                    .clone()
            }))
        }
        "update" => {
            let added = entries(arguments)?;
            dict.change(|entries| entries.extend(added));
            Ok(Value::None)
        }
        "clear" => {
            dict.change(IndexMap::clear);
            Ok(Value::None)
        }
        "copy" => Ok(Value::Dict(Dict::new(dict.read().clone()))),
        _ => Err(Error::failed(format!(
            "'dict' object has no attribute '{name}'"
        ))),
    }
}

/// The entries that arguments of `dict()` and `update()` give: of a dict, of pairs, and by name.
pub(crate) fn entries(arguments: &Arguments) -> Result<IndexMap<Key, Value>> {
    let mut entries = IndexMap::new();
    match arguments.positional.first() {
        None => {}
        Some(Value::Dict(dict)) => entries.extend(
            dict.read()
                .iter()
                .map(|(key, value)| (key.clone(), value.clone())),
        ),
        Some(pairs) => {
            for pair in pairs.iterate()? {
                let pair = pair.iterate()?;
                let [key, value] = pair.as_slice() else {
                    return Err(Error::failed(
                        "dictionary update sequence element has not length 2",
                    ));
                };
                entries.insert(Key::new(key.clone())?, value.clone());
            }
        }
    }
    for (name, value) in &arguments.named {
        entries.insert(Key::from(&**name), value.clone());
    }
    Ok(entries)
}
