//! Values as MessagePack, the way provider plugins exchange them: unknown values as extension 0, or 12 with what is
//! known of them; values of dynamic type beside the JSON of their type; numbers in the smallest exact form, as decimal
//! text where no machine number is exact.

mod read;
mod write;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::convert::convert;
use crate::json;
use crate::number::Number;
use crate::path::{Path, Step};
use crate::refine::{Refinement, safe_prefix};
use crate::types::Type;
use crate::value::{Kind, Value};
use read::{Head, Reader};

const REFINED_UNKNOWN: u8 = 12;
const REFINEMENT_LIMIT: usize = 1024;
const PREFIX_LIMIT: usize = 256;
const DEPTH_LIMIT: usize = 512;

const NOT_NULL: i64 = 1;
const PREFIX: i64 = 2;
const MINIMUM: i64 = 3;
const MAXIMUM: i64 = 4;
const SHORTEST: i64 = 5;
const LONGEST: i64 = 6;

/// Why a value cannot be written, or bytes are no value of their type.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct MsgpackError {
    /// Where in the value.
    pub path: Path,
    /// What is wrong.
    pub message: String,
}

impl MsgpackError {
    fn new(path: &Path, message: impl Into<String>) -> MsgpackError {
        MsgpackError {
            path: path.clone(),
            message: message.into(),
        }
    }
}

/// `value` as MessagePack of type `ty`, converted where it is of another type.
///
/// # Errors
/// For marked values and values that are not of the type.
pub fn encode(value: &Value, ty: &Type) -> Result<Vec<u8>, MsgpackError> {
    let mut out = Vec::new();
    if value.ty().conforms_to(ty) {
        write_value(value, ty, &mut Path::root(), &mut out)?;
        return Ok(out);
    }
    let value = convert(value, ty).map_err(|e| MsgpackError {
        path: e.path,
        message: e.message,
    })?;
    write_value(&value, ty, &mut Path::root(), &mut out)?;
    Ok(out)
}

fn write_value(
    value: &Value,
    ty: &Type,
    path: &mut Path,
    out: &mut Vec<u8>,
) -> Result<(), MsgpackError> {
    if value.is_marked() {
        return Err(MsgpackError::new(
            path,
            "value has marks, so it cannot be serialized",
        ));
    }
    if matches!(ty, Type::Dynamic) && !matches!(value.ty(), Type::Dynamic) {
        write::array(2, out);
        write::bytes(json::type_encode(value.ty()).as_bytes(), out);
        return write_value(value, value.ty(), path, out);
    }
    match value.kind() {
        Kind::Unknown(refinement) => write_unknown(value.ty(), refinement, out),
        Kind::Null => out.push(0xc0),
        Kind::Bool(value) => out.push(if value { 0xc3 } else { 0xc2 }),
        Kind::Number(number) => write_number(number, out),
        Kind::String(text) => write::string(text, out),
        Kind::List(values) | Kind::Set(values) | Kind::Tuple(values) => {
            write::array(values.len(), out);
            for (i, element) in values.iter().enumerate() {
                let ty = match ty {
                    Type::Tuple(types) => &types[i],
                    other => other.element().unwrap_or(element.ty()),
                };
                path.0.push(Step::Index(Value::number(i)));
                write_value(element, ty, path, out)?;
                path.0.pop();
            }
        }
        Kind::Map(values) => {
            let ty = ty.element().unwrap_or(&Type::Dynamic);
            write::map(values.len(), out);
            for (key, value) in values {
                write::string(key, out);
                path.0.push(Step::Index(Value::shared_string(key.clone())));
                write_value(value, ty, path, out)?;
                path.0.pop();
            }
        }
        Kind::Object(values) => {
            let object = ty.as_object();
            write::map(values.len(), out);
            for (name, value) in values {
                let ty = object
                    .and_then(|object| object.attributes.get(name))
                    .unwrap_or(&Type::Dynamic);
                write::string(name, out);
                path.0.push(Step::Attribute(name.clone()));
                write_value(value, ty, path, out)?;
                path.0.pop();
            }
        }
    }
    Ok(())
}

fn write_number(number: &Number, out: &mut Vec<u8>) {
    if let Some(value) = number.to_i64() {
        return write::integer(value, out);
    }
    let float = number.to_f64();
    if !number.is_integer() && Number::from(float) == *number {
        return write::float(float, out);
    }
    write::string(&number.to_string(), out);
}

fn write_unknown(ty: &Type, refinement: &Refinement, out: &mut Vec<u8>) {
    let mut body = Vec::new();
    let mut count = 0;
    let mut entry = |key: i64, write: &dyn Fn(&mut Vec<u8>)| {
        count += 1;
        write::integer(key, &mut body);
        write(&mut body);
    };
    if refinement.is_not_null() {
        entry(NOT_NULL, &|body| body.push(0xc2));
    }
    match ty {
        Type::Number => {
            let bounds = [
                (MINIMUM, refinement.minimum()),
                (MAXIMUM, refinement.maximum()),
            ];
            for (key, bound) in bounds {
                if let Some((number, inclusive)) = bound {
                    entry(key, &|body| {
                        write::array(2, body);
                        write_number(number, body);
                        body.push(if *inclusive { 0xc3 } else { 0xc2 });
                    });
                }
            }
        }
        Type::String if !refinement.prefix().is_empty() => {
            let prefix = refinement.prefix();
            let shortened = (prefix.len() > PREFIX_LIMIT).then(|| {
                let mut end = PREFIX_LIMIT - 1;
                while !prefix.is_char_boundary(end) {
                    end -= 1;
                }
                safe_prefix(&prefix[..end])
            });
            let prefix = shortened.as_deref().unwrap_or(prefix);
            entry(PREFIX, &|body| write::string(prefix, body));
        }
        ty if ty.is_collection() => {
            let length = |length: usize| i64::try_from(length).unwrap_or(i64::MAX);
            if refinement.shortest() > 0 {
                entry(SHORTEST, &|body| {
                    write::integer(length(refinement.shortest()), body);
                });
            }
            if let Some(longest) = refinement.longest() {
                entry(LONGEST, &|body| write::integer(length(longest), body));
            }
        }
        _ => {}
    }
    if count == 0 {
        out.extend_from_slice(&[0xd4, 0, 0]);
        return;
    }
    let mut head = Vec::new();
    write::map(count, &mut head);
    write::extension(REFINED_UNKNOWN, head.len() + body.len(), out);
    out.extend_from_slice(&head);
    out.extend_from_slice(&body);
}

/// The value of type `ty` that `bytes` hold. What follows it is ignored.
///
/// # Errors
/// For bytes that are no value of that type.
pub fn decode(bytes: &[u8], ty: &Type) -> Result<Value, MsgpackError> {
    let mut reader = Reader::new(bytes);
    read_value(&mut reader, ty, &mut Path::root(), 0)
}

fn read_value(
    reader: &mut Reader<'_>,
    ty: &Type,
    path: &mut Path,
    depth: usize,
) -> Result<Value, MsgpackError> {
    let fail = |path: &Path, message: &str| Err(MsgpackError::new(path, message));
    if depth > DEPTH_LIMIT {
        return fail(path, "values are nested too deeply");
    }
    let head = reader
        .head()
        .map_err(|message| MsgpackError::new(path, message))?;
    match (ty, head) {
        (_, Head::Extension(code, body)) => {
            read_unknown(code, body, ty).map_err(|message| MsgpackError::new(path, message))
        }
        (_, Head::Nil) => Ok(Value::null(ty.clone())),
        (Type::Dynamic, Head::Array(2)) => {
            let ty = match reader.head() {
                Ok(Head::Bytes(json)) => json::type_decode(json),
                Ok(Head::String(json)) => json::type_decode(json.as_bytes()),
                Ok(_) => Err("invalid type description".to_owned()),
                Err(e) => Err(e),
            };
            let ty = ty.map_err(|message| MsgpackError::new(path, message))?;
            read_value(reader, &ty, path, depth + 1)
        }
        (Type::Dynamic, _) => fail(path, "dynamic value array must have exactly two elements"),
        (Type::Bool, Head::Bool(value)) => Ok(Value::bool(value)),
        (Type::Bool, _) => fail(path, "bool is required"),
        (Type::Number, Head::Integer(value)) => Ok(Value::number(value)),
        (Type::Number, Head::Unsigned(value)) => Ok(Value::number(value)),
        (Type::Number, Head::Float(value)) if !value.is_nan() => Ok(Value::number(value)),
        (Type::Number, Head::String(text)) => match Number::parse(text) {
            Some(number) => Ok(Value::number(number)),
            None => fail(path, "number is required"),
        },
        (Type::Number, _) => fail(path, "number is required"),
        (Type::String, Head::String(text)) => Ok(Value::string(text)),
        (Type::String, Head::Bytes(bytes)) => Ok(Value::string(String::from_utf8_lossy(bytes))),
        (Type::String, _) => fail(path, "string is required"),
        (Type::List(element), Head::Array(length)) => {
            let values = read_elements(reader, length, |_| element, path, depth)?;
            Ok(Value::list(Type::clone(element), values))
        }
        (Type::List(_), _) => fail(path, "a list is required"),
        (Type::Set(element), Head::Array(length)) => {
            let values = read_elements(reader, length, |_| element, path, depth)?;
            Ok(Value::set(Type::clone(element), values))
        }
        (Type::Set(_), _) => fail(path, "a set is required"),
        (Type::Tuple(types), Head::Array(length)) => {
            if length != types.len() {
                let message = format!("a tuple of length {} is required", types.len());
                return fail(path, &message);
            }
            let values = read_elements(reader, length, |i| &types[i], path, depth)?;
            Ok(Value::tuple(values))
        }
        (Type::Tuple(_), _) => fail(path, "a tuple is required"),
        (Type::Map(element), Head::Map(length)) => {
            let mut values: BTreeMap<Arc<str>, Value> = BTreeMap::new();
            for _ in 0..length {
                let Ok(Head::String(key)) = reader.head() else {
                    return fail(path, "non-string key in map");
                };
                path.0.push(Step::Index(Value::string(key)));
                let value = read_value(reader, element, path, depth + 1)?;
                path.0.pop();
                values.insert(key.into(), value);
            }
            Ok(Value::map(Type::clone(element), values))
        }
        (Type::Map(_), _) => fail(path, "a map is required"),
        (Type::Object(object), Head::Map(length)) => {
            if length != object.attributes.len() {
                let message = format!(
                    "an object with {} attributes is required ({length} given)",
                    object.attributes.len()
                );
                return fail(path, &message);
            }
            let mut values: BTreeMap<Arc<str>, Value> = BTreeMap::new();
            for _ in 0..length {
                let Ok(Head::String(key)) = reader.head() else {
                    return fail(path, "all keys must be strings");
                };
                let found = object.attributes.get_key_value(key);
                path.0.push(Step::Attribute(key.into()));
                let Some((name, ty)) = found else {
                    return fail(path, "unsupported attribute");
                };
                let value = read_value(reader, ty, path, depth + 1)?;
                path.0.pop();
                values.insert(name.clone(), value);
            }
            if values.len() != length {
                return fail(path, "an attribute is given twice");
            }
            Ok(Value::object(values))
        }
        (Type::Object(_), _) => fail(path, "an object is required"),
    }
}

fn read_elements<'t>(
    reader: &mut Reader<'_>,
    length: usize,
    ty: impl Fn(usize) -> &'t Type,
    path: &mut Path,
    depth: usize,
) -> Result<Vec<Value>, MsgpackError> {
    // Each element takes a byte at least, so a hostile length reserves no more than was sent.
    let mut values = Vec::with_capacity(length.min(reader.remaining()));
    for i in 0..length {
        path.0.push(Step::Index(Value::number(i)));
        values.push(read_value(reader, ty(i), path, depth + 1)?);
        path.0.pop();
    }
    Ok(values)
}

fn read_unknown(code: u8, body: &[u8], ty: &Type) -> Result<Value, String> {
    if body.len() <= 1 {
        return Ok(Value::unknown(ty.clone()));
    }
    if code != REFINED_UNKNOWN {
        let length = body.len();
        return Err(format!(
            "unsupported extension type 0x{code:02x} with len {length}"
        ));
    }
    if body.len() > REFINEMENT_LIMIT {
        return Err("oversize unknown value refinement".to_owned());
    }
    let wrong = |what: &str| format!("failed to decode msgpack extension body: {what}");
    let mut reader = Reader::new(body);
    let Head::Map(count) = reader.head()? else {
        return Err(wrong("not a map"));
    };
    if matches!(ty, Type::Dynamic) {
        return Ok(Value::DYNAMIC);
    }
    let mut refinement = Refinement::NONE;
    for _ in 0..count {
        let Some(key) = reader.head()?.integer() else {
            return Err(wrong("non-integer key in map"));
        };
        match key {
            NOT_NULL => match reader.head()? {
                Head::Bool(false) => refinement = refinement.not_null(),
                Head::Bool(true) => return Ok(Value::null(ty.clone())),
                _ => return Err(wrong("null refinement is not boolean")),
            },
            PREFIX => {
                if !matches!(ty, Type::String) {
                    return Err(wrong("string prefix refinement for non-string type"));
                }
                let Head::String(prefix) = reader.head()? else {
                    return Err(wrong("string prefix refinement is not string"));
                };
                refinement = refinement.starting_with_exactly(&crate::value::normalize(prefix));
            }
            SHORTEST | LONGEST => {
                if !ty.is_collection() {
                    return Err(wrong("length bound refinement for non-collection type"));
                }
                let length = reader
                    .head()?
                    .integer()
                    .and_then(|n| usize::try_from(n).ok());
                let Some(length) = length else {
                    return Err(wrong("length bound refinement must be integer"));
                };
                refinement = if key == SHORTEST {
                    refinement.with_at_least(length)
                } else {
                    refinement.with_at_most(length)
                };
            }
            MINIMUM | MAXIMUM => {
                if !matches!(ty, Type::Number) {
                    return Err(wrong("numeric bound refinement for non-number type"));
                }
                let bound = Type::tuple([Type::Number, Type::Bool]);
                let bound = read_value(&mut reader, &bound, &mut Path::root(), 0)
                    .map_err(|e| wrong(&e.message))?;
                let parts = bound.as_sequence().unwrap_or_default();
                let (Some(number), Some(inclusive)) = (
                    parts.first().and_then(Value::as_number),
                    parts.get(1).and_then(Value::as_bool),
                ) else {
                    return Err(wrong(
                        "numeric bound refinement must be [number, bool] array",
                    ));
                };
                refinement = if key == MINIMUM {
                    refinement.at_least(number.clone(), inclusive)
                } else {
                    refinement.at_most(number.clone(), inclusive)
                };
            }
            // What a later protocol adds narrows what is known; leaving it out stays true.
            _ => reader.skip(0)?,
        }
    }
    Ok(Value::unknown_with(ty.clone(), refinement))
}

/// The type that `bytes` imply: objects and tuples, `Dynamic` for null and unknown.
///
/// # Errors
/// For bytes that are no MessagePack, or have something after the value.
pub fn implied_type(bytes: &[u8]) -> Result<Type, MsgpackError> {
    fn inner(reader: &mut Reader<'_>, depth: usize) -> Result<Type, String> {
        if depth > DEPTH_LIMIT {
            return Err("values are nested too deeply".to_owned());
        }
        Ok(match reader.head()? {
            Head::Nil | Head::Extension(..) => Type::Dynamic,
            Head::Bool(_) => Type::Bool,
            Head::Integer(_) | Head::Unsigned(_) | Head::Float(_) => Type::Number,
            Head::String(_) => Type::String,
            Head::Bytes(_) => return Err("unsupported msgpack code".to_owned()),
            Head::Array(length) => {
                let mut types = Vec::with_capacity(length.min(reader.remaining()));
                for _ in 0..length {
                    types.push(inner(reader, depth + 1)?);
                }
                Type::tuple(types)
            }
            Head::Map(length) => {
                let mut types: BTreeMap<Arc<str>, Type> = BTreeMap::new();
                for _ in 0..length {
                    let Head::String(key) = reader.head()? else {
                        return Err("all keys must be strings".to_owned());
                    };
                    types.insert(key.into(), inner(reader, depth + 1)?);
                }
                Type::object(types)
            }
        })
    }
    let fail = |message: String| MsgpackError::new(&Path::root(), message);
    let mut reader = Reader::new(bytes);
    let ty = inner(&mut reader, 0).map_err(fail)?;
    if reader.remaining() > 0 {
        return Err(fail("extra bytes after msgpack value".to_owned()));
    }
    Ok(ty)
}
