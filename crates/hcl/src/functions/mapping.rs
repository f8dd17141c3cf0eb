//! Functions of maps and objects.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Table;
use super::arguments::{elements, parameter, plain, shown, text};
use crate::convert::{can_convert_lossy, convert};
use crate::evaluate::{CallError, Function};
use crate::marks::Marks;
use crate::text::quote;
use crate::types::Type;
use crate::value::Value;

pub(super) fn add(table: &mut Table) {
    table.add("keys", keys());
    table.add("values", values());
    table.add("lookup", lookup());
    table.add("merge", merge());
    table.add("zipmap", zip_map());
    table.add("transpose", transpose());
}

fn keys() -> Function {
    let map = parameter("inputMap", Type::Dynamic).unknown().marked();
    let ty = |args: &[Value]| match args[0].ty() {
        Type::Map(_) => Ok(Type::list(Type::String)),
        Type::Object(object) => Ok(Type::tuple(vec![Type::String; object.attributes.len()])),
        _ => Err(CallError::argument(0, "must have map or object type")),
    };
    Function::new(vec![map], None, ty, |args, ty| {
        let map = &args[0];
        let name = |name: &Arc<str>| Value::shared_string(name.clone());
        let keys = match (map.ty(), map.as_keyed()) {
            (Type::Object(object), _) => Value::tuple(object.attributes.keys().map(name).collect()),
            (_, Some(map)) => Value::list(Type::String, map.keys().map(name).collect()),
            _ => Value::unknown(ty.clone()),
        };
        Ok(keys.with_marks(map.marks()))
    })
    .never_null()
}

fn values() -> Function {
    let map = parameter("mapping", Type::Dynamic).marked();
    let ty = |args: &[Value]| match args[0].ty() {
        Type::Map(element) => Ok(Type::List(element.clone())),
        Type::Object(object) => Ok(Type::tuple(object.attributes.values().cloned())),
        _ => Err(CallError::new(
            "values() requires a map as the first argument",
        )),
    };
    Function::new(vec![map], None, ty, |args, ty| {
        let values: Vec<Value> = args[0]
            .as_keyed()
            .map(|map| map.values().cloned().collect())
            .unwrap_or_default();
        let values = match ty {
            Type::List(element) => Value::list(Type::clone(element), values),
            _ => Value::tuple(values),
        };
        Ok(values.with_marks(args[0].marks()))
    })
    .never_null()
}

fn lookup() -> Function {
    let parameters = vec![
        parameter("inputMap", Type::Dynamic).marked(),
        parameter("key", Type::String).marked(),
    ];
    let default = parameter("default", Type::Dynamic);
    let default = default.unknown().dynamic().null().marked();
    let ty = |args: &[Value]| {
        if args.len() > 3 {
            let message = format!("lookup() takes two or three arguments, got {}", args.len());
            return Err(CallError::new(message));
        }
        match args[0].ty() {
            Type::Object(object) => {
                let Some(key) = args[1].as_str() else {
                    return Ok(Type::Dynamic);
                };
                if let Some(ty) = object.attributes.get(key) {
                    return Ok(ty.clone());
                }
                if let Some(default) = args.get(2) {
                    return Ok(default.ty().clone());
                }
                let message = format!("the given object has no attribute {}", quote(key));
                Err(CallError::argument(0, message))
            }
            Type::Map(element) => {
                if let Some(default) = args.get(2)
                    && (!can_convert_lossy(default.ty(), element)
                        || convert(default, element).is_err())
                {
                    return Err(CallError::argument(
                        2,
                        "the default value must have the same type as the map elements",
                    ));
                }
                Ok(Type::clone(element))
            }
            _ => Err(CallError::argument(
                0,
                "lookup() requires a map as the first argument",
            )),
        }
    };
    Function::new(parameters, Some(default), ty, |args, ty| {
        let marks = args[0].marks() | args[1].marks();
        let key = text(args, 1);
        let Some(map) = args[0].as_keyed() else {
            return Ok(Value::unknown(ty.clone()).with_marks(marks));
        };
        if let Some(found) = map.get(key) {
            return Ok(found.clone().with_marks(marks));
        }
        if let Some(default) = args.get(2) {
            return convert(default, ty)
                .map(|default| default.with_marks(marks))
                .map_err(|e| CallError::new(e.message));
        }
        let key = shown(key, args[1].marks());
        Err(CallError::new(format!("lookup failed to find key {key}")))
    })
}

fn merge() -> Function {
    let maps = parameter("maps", Type::Dynamic).dynamic().null().marked();
    let ty = |args: &[Value]| {
        let mut attributes: BTreeMap<Arc<str>, Type> = BTreeMap::new();
        let mut first: Option<Type> = None;
        let (mut same, mut known) = (true, true);
        for map in args {
            let mut ty = map.ty().clone();
            match &ty {
                Type::Dynamic => return Ok(Type::Dynamic),
                Type::Object(_) if map.is_null() => ty = Type::object::<&str>([]),
                Type::Object(object) => {
                    let types = object.attributes.iter();
                    attributes.extend(types.map(|(name, ty)| (name.clone(), ty.clone())));
                }
                Type::Map(element) => match map.as_keyed() {
                    Some(map) => {
                        let types = map.keys().map(|key| (key.clone(), Type::clone(element)));
                        attributes.extend(types);
                    }
                    None => known &= map.is_null(),
                },
                other => {
                    let name = quote(&other.friendly_name());
                    let message = format!("arguments must be maps or objects, got {name}");
                    return Err(CallError::new(message));
                }
            }
            match &first {
                None => first = Some(ty),
                Some(first) => same &= *first == ty,
            }
        }
        Ok(match first {
            None => Type::object::<&str>([]),
            Some(first) if same => first,
            Some(_) if !known => Type::Dynamic,
            Some(_) => Type::object(attributes),
        })
    };
    Function::new(Vec::new(), Some(maps), ty, |args, ty| {
        let mut marks = Marks::NONE;
        let mut merged: BTreeMap<Arc<str>, Value> = BTreeMap::new();
        for map in args {
            if map.is_null() {
                continue;
            }
            marks |= map.marks();
            if let Some(map) = map.as_keyed() {
                merged.extend(map.iter().map(|(k, v)| (k.clone(), v.clone())));
            }
        }
        let merged = match ty {
            Type::Map(element) => Value::map(Type::clone(element), merged),
            _ => Value::object(merged),
        };
        Ok(merged.with_marks(marks))
    })
    .never_null()
}

fn counts_differ(keys: usize, values: usize) -> CallError {
    let message = format!("number of keys ({keys}) does not match number of values ({values})");
    CallError::new(message)
}

fn zip_map() -> Function {
    let parameters = vec![
        parameter("keys", Type::list(Type::String)).marked(),
        parameter("values", Type::Dynamic).marked(),
    ];
    let ty = |args: &[Value]| match args[1].ty() {
        Type::List(element) => Ok(Type::Map(element.clone())),
        Type::Tuple(types) => {
            if !args[0].is_wholly_known() {
                return Ok(Type::Dynamic);
            }
            let keys = elements(&args[0]);
            if keys.len() != types.len() {
                return Err(counts_differ(keys.len(), types.len()));
            }
            let mut attributes: BTreeMap<Arc<str>, Type> = BTreeMap::new();
            for (i, (key, ty)) in keys.iter().zip(types.iter()).enumerate() {
                let Some(key) = key.as_shared_str() else {
                    let message = format!("keys list has null value at index {i}");
                    return Err(CallError::new(message));
                };
                attributes.insert(key, ty.clone());
            }
            Ok(Type::object(attributes))
        }
        _ => Err(CallError::new(
            "values argument must be a list or tuple value",
        )),
    };
    Function::new(parameters, None, ty, |args, ty| {
        let mut marks = args[0].marks() | args[1].marks();
        if !args[0].is_wholly_known() {
            return Ok(Value::unknown(ty.clone()).with_marks(marks));
        }
        let (keys, values) = (elements(&args[0]), elements(&args[1]));
        if keys.len() != values.len() {
            return Err(counts_differ(keys.len(), values.len()));
        }
        let mut zipped: BTreeMap<Arc<str>, Value> = BTreeMap::new();
        for (i, (key, value)) in keys.iter().zip(values).enumerate() {
            marks |= key.marks();
            let Some(key) = key.as_shared_str() else {
                let message = format!("keys list has null value at index {i}");
                return Err(CallError::new(message));
            };
            zipped.insert(key, value.clone());
        }
        let zipped = match ty {
            Type::Map(element) => Value::map(Type::clone(element), zipped),
            _ => Value::object(zipped),
        };
        Ok(zipped.with_marks(marks))
    })
    .never_null()
}

fn transpose() -> Function {
    let strings = Type::list(Type::String);
    let ty = Type::map(strings.clone());
    plain(ty.clone(), &[("values", ty.clone())], move |args| {
        if !args[0].is_wholly_known() {
            return Ok(Value::unknown(ty.clone()));
        }
        let mut turned: BTreeMap<Arc<str>, Vec<Value>> = BTreeMap::new();
        for (key, list) in args[0].as_keyed().into_iter().flatten() {
            if list.is_null() {
                return Err(CallError::new("input must not contain null list"));
            }
            for item in elements(list) {
                let Some(item) = item.as_shared_str() else {
                    return Err(CallError::new("input list must not contain null string"));
                };
                // Keys come in order, so that each list is in order too.
                let keys = turned.entry(item).or_default();
                keys.push(Value::shared_string(key.clone()));
            }
        }
        let turned = turned
            .into_iter()
            .map(|(key, values)| (key, Value::list(Type::String, values)));
        Ok(Value::map(strings.clone(), turned))
    })
}
