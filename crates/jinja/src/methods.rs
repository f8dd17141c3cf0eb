//! The methods of Python's texts, lists, dicts and numbers that templates use.

mod containers;
mod pieces;
mod sorting;
mod texts;

use std::sync::Arc;

use crate::arguments::Arguments;
use crate::error::{Error, Result};
use crate::eval::State;
use crate::value::{Object, Value};

pub(crate) use containers::entries;
pub(crate) use pieces::lines;
pub(crate) use sorting::sort;
pub(crate) use texts::{capitalize, pad};

use containers::{mapping, sequence};
use texts::string;

const STRING: &[&str] = &[
    "capitalize",
    "casefold",
    "center",
    "count",
    "encode",
    "endswith",
    "expandtabs",
    "find",
    "format",
    "format_map",
    "index",
    "isalnum",
    "isalpha",
    "isascii",
    "isdecimal",
    "isdigit",
    "isidentifier",
    "islower",
    "isnumeric",
    "isprintable",
    "isspace",
    "istitle",
    "isupper",
    "join",
    "ljust",
    "lower",
    "lstrip",
    "partition",
    "removeprefix",
    "removesuffix",
    "replace",
    "rfind",
    "rindex",
    "rjust",
    "rpartition",
    "rsplit",
    "rstrip",
    "split",
    "splitlines",
    "startswith",
    "strip",
    "swapcase",
    "title",
    "upper",
    "zfill",
];
const LIST: &[&str] = &[
    "append", "clear", "copy", "count", "extend", "index", "insert", "pop", "remove", "reverse",
    "sort",
];
const TUPLE: &[&str] = &["count", "index"];
const DICT: &[&str] = &[
    "clear",
    "copy",
    "get",
    "items",
    "keys",
    "pop",
    "popitem",
    "setdefault",
    "update",
    "values",
];
const NUMBER: &[&str] = &["bit_length", "is_integer", "as_integer_ratio", "conjugate"];
const BYTES: &[&str] = &["decode", "hex"];

/// Whether a value has a method of this name.
pub(crate) fn has(value: &Value, name: &str) -> bool {
    let names = match value {
        Value::Str(_) => STRING,
        Value::List(_) => LIST,
        Value::Tuple(_) => TUPLE,
        Value::Dict(_) => DICT,
        Value::Int(_) | Value::Big(_) | Value::Float(_) | Value::Bool(_) => NUMBER,
        Value::Bytes(_) => BYTES,
        _ => return false,
    };
    names.contains(&name)
}

/// Whether dicts have a method of this name.
pub(crate) fn is_of_dict(name: &str) -> bool {
    DICT.contains(&name)
}

/// A method as a value.
pub(crate) fn bound(value: &Value, name: &str) -> Value {
    Value::Object(Arc::new(Bound {
        value: value.clone(),
        name: name.into(),
    }))
}

struct Bound {
    value: Value,
    name: Arc<str>,
}

impl Object for Bound {
    fn type_name(&self) -> &'static str {
        "builtin_function_or_method"
    }

    fn is_callable(&self) -> bool {
        true
    }

    fn call(&self, _state: &mut State<'_, '_>, arguments: Arguments) -> Result<Value> {
        call(&self.value, &self.name, &arguments)
    }

    fn repr(&self) -> String {
        format!(
            "<built-in method {} of {} object>",
            self.name,
            self.value.type_name()
        )
    }

    fn any(&self) -> &dyn std::any::Any {
        self
    }
}

/// Calls a method.
pub(crate) fn call(value: &Value, name: &str, arguments: &Arguments) -> Result<Value> {
    match value {
        Value::Str(text) => string(text, name, arguments),
        Value::List(_) | Value::Tuple(_) => sequence(value, name, arguments),
        Value::Dict(dict) => mapping(dict, name, arguments),
        Value::Bytes(bytes) => match name {
            "decode" => {
                let [_, errors] = arguments.bind("decode", ["encoding", "errors"])?;
                match (std::str::from_utf8(bytes), errors) {
                    (Ok(text), _) => Ok(Value::from(text)),
                    (Err(_), Some(_)) => {
                        Ok(Value::from(String::from_utf8_lossy(bytes).into_owned()))
                    }
                    (Err(error), None) => Err(Error::failed(format!(
                        "'utf-8' codec can't decode byte at position {}",
                        error.valid_up_to()
                    ))),
                }
            }
            _ => Ok(Value::from(
                bytes
                    .iter()
                    .map(|byte| format!("{byte:02x}"))
                    .collect::<String>(),
            )),
        },
        _ => number(value, name),
    }
}

fn number(value: &Value, name: &str) -> Result<Value> {
    match (name, value) {
        ("bit_length", Value::Int(value)) => Ok(Value::Int(i64::from(
            64 - value.unsigned_abs().leading_zeros(),
        ))),
        ("bit_length", Value::Big(value)) => Ok(Value::Int(value.bits() as i64)),
        ("is_integer", Value::Float(value)) => Ok(Value::Bool(value.fract() == 0.0)),
        ("is_integer", _) => Ok(Value::Bool(true)),
        ("conjugate", value) => Ok(value.clone()),
        (name, value) => Err(Error::failed(format!(
            "'{}' object has no attribute '{name}'",
            value.type_name()
        ))),
    }
}
