//! Converting a value, where the types allow it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{ConvertError, mismatch, possible, structural_element, unify};
use crate::number::Number;
use crate::path::{Path, Step};
use crate::types::{ObjectType, Type};
use crate::value::{Kind, Value};

/// Converts `value`, whose type is known to have a conversion to `want`.
pub(super) fn run(
    value: &Value,
    want: &Type,
    lossy: bool,
    path: &mut Path,
) -> Result<Value, ConvertError> {
    if value.ty() == want || matches!(want, Type::Dynamic) {
        return Ok(value.clone());
    }
    let marks = value.marks();
    let result = match value.kind() {
        Kind::Unknown(_) => unknown(value, &replaced(value.ty(), &want.without_optional())),
        Kind::Null => Value::null(replaced(value.ty(), &want.without_optional())),
        _ => known(value, want, lossy, path)?,
    };
    Ok(result.with_marks(marks))
}

fn known(value: &Value, want: &Type, lossy: bool, path: &mut Path) -> Result<Value, ConvertError> {
    match (value.kind(), want) {
        (Kind::Number(number), Type::String) => Ok(Value::string(number.to_string())),
        (Kind::Bool(value), Type::String) => {
            Ok(Value::string(if value { "true" } else { "false" }))
        }
        (Kind::String(text), Type::Number) => Number::parse(text)
            .map(Value::number)
            .ok_or_else(|| ConvertError::new(path, "a number is required")),
        (Kind::String(text), Type::Bool) => match text {
            "true" | "1" => Ok(Value::TRUE),
            "false" | "0" => Ok(Value::FALSE),
            other => Err(ConvertError::new(path, no_bool(other))),
        },
        (Kind::Object(values), Type::Object(want)) => object(values, want, lossy, path),
        (Kind::Tuple(values), Type::Tuple(want)) => {
            let values = each(values, path, |i, value, path| {
                run(value, &want[i], lossy, path)
            })?;
            Ok(Value::tuple(values))
        }
        (Kind::List(values) | Kind::Set(values), Type::List(want)) => {
            let have = value.ty().element().cloned().unwrap_or(Type::Dynamic);
            if matches!(value.ty(), Type::Set(_)) && !value.length().is_known() {
                return Ok(Value::unknown(Type::list(have)));
            }
            let values = each(values, path, |_, value, path| run(value, want, lossy, path))?;
            sequence(values, want, &have, path, false)
        }
        (Kind::List(values) | Kind::Set(values), Type::Set(want)) => {
            let have = value.ty().element().cloned().unwrap_or(Type::Dynamic);
            let values = each(values, path, |_, value, path| run(value, want, lossy, path))?;
            sequence(values, want, &have, path, true)
        }
        (Kind::Tuple(values), Type::List(want)) => {
            let element = tuple_element(value.ty(), want, lossy);
            let values = each(values, path, |_, value, path| {
                run(value, &element, lossy, path)
            })?;
            let values = unified(values, path, lossy)?;
            sequence(values, &element, &Type::Dynamic, path, false)
        }
        (Kind::Tuple(values), Type::Set(want)) => {
            let element = tuple_element(value.ty(), want, lossy);
            let values = each(values, path, |_, value, path| {
                run(value, &element, lossy, path)
            })?;
            sequence(values, &element, &Type::Dynamic, path, true)
        }
        (Kind::Map(values), Type::Map(want)) => {
            let have = value.ty().element().cloned().unwrap_or(Type::Dynamic);
            let values = each_key(values, path, |value, path| run(value, want, lossy, path))?;
            map(values, want, &have, false, path, "element")
        }
        (Kind::Object(values), Type::Map(want)) => {
            let types = value.ty().as_object().cloned().unwrap_or_default();
            let element = structural_element(types.attributes.values(), want, lossy, false)
                .unwrap_or_else(|| Type::clone(want));
            let values = each_key(values, path, |value, path| {
                run(value, &element, lossy, path)
            })?;
            map(values, &element, &Type::Dynamic, lossy, path, "attribute")
        }
        (Kind::Map(values), Type::Object(want)) => map_to_object(value, values, want, lossy, path),
        _ => Err(ConvertError::new(path, mismatch(value.ty(), want))),
    }
}

fn no_bool(text: &str) -> &'static str {
    match text.to_lowercase().as_str() {
        "true" => "a bool is required; to convert from string, use lowercase \"true\"",
        "false" => "a bool is required; to convert from string, use lowercase \"false\"",
        _ => "a bool is required",
    }
}

fn tuple_element(ty: &Type, want: &Type, lossy: bool) -> Type {
    let Type::Tuple(types) = ty else {
        return want.clone();
    };
    structural_element(types.iter(), want, lossy, true).unwrap_or_else(|| want.clone())
}

fn each(
    values: &[Value],
    path: &mut Path,
    mut convert: impl FnMut(usize, &Value, &mut Path) -> Result<Value, ConvertError>,
) -> Result<Vec<Value>, ConvertError> {
    let mut out = Vec::with_capacity(values.len());
    for (i, value) in values.iter().enumerate() {
        path.0.push(Step::Index(Value::number(i)));
        let converted = convert(i, value, path);
        path.0.pop();
        out.push(converted?);
    }
    Ok(out)
}

fn each_key(
    values: &BTreeMap<Arc<str>, Value>,
    path: &mut Path,
    mut convert: impl FnMut(&Value, &mut Path) -> Result<Value, ConvertError>,
) -> Result<BTreeMap<Arc<str>, Value>, ConvertError> {
    let mut out = BTreeMap::new();
    for (key, value) in values {
        path.0.push(Step::Index(Value::shared_string(key.clone())));
        let converted = convert(value, path);
        path.0.pop();
        out.insert(key.clone(), converted?);
    }
    Ok(out)
}

/// True where all have one type, but for those without any.
fn one_type<'v>(values: impl Iterator<Item = &'v Value>) -> bool {
    let mut first: Option<&Type> = None;
    for value in values {
        match (first, value.ty()) {
            (_, Type::Dynamic) => {}
            (None, ty) => first = Some(ty),
            (Some(ty), other) if ty == other => {}
            _ => return false,
        }
    }
    true
}

fn sequence(
    values: Vec<Value>,
    want: &Type,
    have: &Type,
    path: &Path,
    set: bool,
) -> Result<Value, ConvertError> {
    if values.is_empty() {
        let element = if matches!(want, Type::Dynamic) {
            have
        } else {
            want
        }
        .without_optional();
        return Ok(if set {
            Value::set(element, values)
        } else {
            Value::list(element, values)
        });
    }
    if !one_type(values.iter()) {
        let kind = if set { "set" } else { "list" };
        let message = format!("element types must all match for conversion to {kind}");
        return Err(ConvertError::new(path, message));
    }
    Ok(if set {
        Value::set(Type::Dynamic, values)
    } else {
        Value::list(Type::Dynamic, values)
    })
}

fn map(
    values: BTreeMap<Arc<str>, Value>,
    want: &Type,
    have: &Type,
    lossy: bool,
    path: &mut Path,
    noun: &str,
) -> Result<Value, ConvertError> {
    if values.is_empty() {
        let element = if matches!(want, Type::Dynamic) {
            have
        } else {
            want
        };
        return Ok(Value::map(element.without_optional(), values));
    }
    let values = if want.is_collection() || matches!(want, Type::Object(_)) {
        let (keys, values): (Vec<_>, Vec<_>) = values.into_iter().unzip();
        let values = unified(values, path, lossy)?;
        keys.into_iter().zip(values).collect()
    } else {
        values
    };
    if !one_type(values.values()) {
        let message = format!("{noun} types must all match for conversion to map");
        return Err(ConvertError::new(path, message));
    }
    Ok(Value::map(Type::Dynamic, values))
}

/// The values converted to the one type they have in common.
fn unified(values: Vec<Value>, path: &mut Path, lossy: bool) -> Result<Vec<Value>, ConvertError> {
    if one_type(values.iter()) && !values.iter().any(|v| matches!(v.ty(), Type::Dynamic)) {
        return Ok(values);
    }
    let Some(common) = unify::unify_types(values.iter().map(Value::ty), lossy) else {
        let message = "cannot find a common base type for all elements";
        return Err(ConvertError::new(path, message));
    };
    each(&values, path, |_, value, path| {
        run(value, &common.ty, lossy, path)
    })
}

fn object(
    values: &BTreeMap<Arc<str>, Value>,
    want: &ObjectType,
    lossy: bool,
    path: &mut Path,
) -> Result<Value, ConvertError> {
    let mut out = BTreeMap::new();
    for (name, ty) in &want.attributes {
        let value = match values.get(name) {
            Some(value) => {
                path.0.push(Step::Attribute(name.clone()));
                let converted = run(value, ty, lossy, path);
                path.0.pop();
                converted?
            }
            None => Value::null(ty.without_optional()),
        };
        out.insert(name.clone(), value);
    }
    Ok(Value::object(out))
}

fn map_to_object(
    map: &Value,
    values: &BTreeMap<Arc<str>, Value>,
    want: &ObjectType,
    lossy: bool,
    path: &mut Path,
) -> Result<Value, ConvertError> {
    let have = map.ty().element().cloned().unwrap_or(Type::Dynamic);
    let mut out = BTreeMap::new();
    for (name, ty) in &want.attributes {
        let quoted = crate::text::quote(name);
        let value = match values.get(name) {
            Some(value) if possible(&have, ty, lossy) => {
                path.0.push(Step::Index(Value::shared_string(name.clone())));
                let converted = run(value, ty, lossy, path);
                path.0.pop();
                converted?
            }
            Some(value) => {
                let why = mismatch(value.ty(), ty);
                let message =
                    format!("map element type is incompatible with attribute {quoted}: {why}");
                return Err(ConvertError::new(path, message));
            }
            None if want.optional.contains(name) => Value::null(ty.without_optional()),
            None => {
                let message = format!("map has no element for required attribute {quoted}");
                return Err(ConvertError::new(path, message));
            }
        };
        out.insert(name.clone(), value);
    }
    Ok(Value::object(out))
}

/// An unknown value of type `to` that keeps what is known of `value` and holds for `to` as well.
fn unknown(value: &Value, to: &Type) -> Value {
    let refine = |v: Value| {
        if value.is_certainly_not_null() {
            v.refined_not_null()
        } else {
            v
        }
    };
    let result = refine(Value::unknown(to.clone()));
    match (value.ty(), to) {
        (Type::Object(from), Type::Map(_)) => {
            let length = from.attributes.len();
            result.refined(|r| r.with_at_least(length).with_at_most(length))
        }
        (Type::Tuple(from), Type::List(_)) => {
            result.refined(|r| r.with_at_least(from.len()).with_at_most(from.len()))
        }
        (Type::Tuple(from), Type::Set(_)) => {
            result.refined(|r| r.with_at_least(from.len().min(1)).with_at_most(from.len()))
        }
        (from, to) if from.is_collection() && to.is_collection() => {
            let (least, most) = value.length_range();
            let least = if matches!(to, Type::Set(_)) {
                least.min(1)
            } else {
                least
            };
            result.refined(|r| {
                let r = r.with_at_least(least);
                if most == usize::MAX {
                    r
                } else {
                    r.with_at_most(most)
                }
            })
        }
        _ => result,
    }
}

/// `want` with the types of `have` where it says `Dynamic`.
fn replaced(have: &Type, want: &Type) -> Type {
    let union = |types: &mut dyn Iterator<Item = &Type>, element: &Type| {
        let types: Vec<&Type> = types.collect();
        match unify::unify_types(types.iter().copied(), true) {
            Some(common) => replaced(&common.ty, element),
            None => element.clone(),
        }
    };
    if !want.has_dynamic() {
        return want.clone();
    }
    match (have, want) {
        (Type::Dynamic, _) => want.clone(),
        (_, Type::Dynamic) => have.clone(),
        (Type::Map(have), Type::Map(want)) => Type::map(replaced(have, want)),
        (Type::Object(have), Type::Map(want)) => {
            Type::map(union(&mut have.attributes.values(), want))
        }
        (Type::Set(have) | Type::List(have), Type::Set(want)) => Type::set(replaced(have, want)),
        (Type::Set(have) | Type::List(have), Type::List(want)) => Type::list(replaced(have, want)),
        (Type::Tuple(have), Type::Set(want)) => Type::set(union(&mut have.iter(), want)),
        (Type::Tuple(have), Type::List(want)) => Type::list(union(&mut have.iter(), want)),
        (Type::Map(have), Type::Object(want)) => Type::object(
            want.attributes
                .iter()
                .map(|(name, ty)| (name.clone(), replaced(have, ty))),
        ),
        (Type::Object(have), Type::Object(want)) => {
            Type::object(want.attributes.iter().map(|(name, ty)| {
                let ty = have
                    .attributes
                    .get(name)
                    .map_or_else(|| ty.clone(), |have| replaced(have, ty));
                (name.clone(), ty)
            }))
        }
        (Type::Tuple(have), Type::Tuple(want)) => Type::tuple(
            have.iter()
                .zip(want.iter())
                .map(|(have, want)| replaced(have, want)),
        ),
        _ => want.clone(),
    }
}
