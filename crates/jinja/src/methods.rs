//! The methods of Python's texts, lists, dicts and numbers that templates use.

use std::sync::Arc;

use indexmap::IndexMap;

use crate::arguments::{Arguments, integer, text};
use crate::error::{Error, Result};
use crate::eval::State;
use crate::value::{Dict, Key, Object, Value};
use crate::{format, operators};

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

/// `[start:end]` of a text, as methods that search take it.
fn window<'t>(
    text: &'t str,
    start: Option<&Value>,
    end: Option<&Value>,
) -> Result<(&'t str, usize)> {
    let bound = |value: Option<&Value>| -> Result<Option<i64>> {
        match value {
            None | Some(Value::None) => Ok(None),
            Some(value) => integer(value).map(Some),
        }
    };
    let (start, end) = (bound(start)?, bound(end)?);
    if start.is_none() && end.is_none() {
        return Ok((text, 0));
    }
    let length = text.chars().count() as i64;
    let place = |index: i64| {
        let index = if index < 0 { index + length } else { index };
        index.clamp(0, length) as usize
    };
    let from = place(start.unwrap_or(0));
    let to = place(end.unwrap_or(length)).max(from);
    let byte = |at: usize| text.char_indices().nth(at).map_or(text.len(), |(at, _)| at);
    Ok((&text[byte(from)..byte(to)], from))
}

/// One text, or any of a tuple of texts.
fn any_of(value: &Value, method: &str, test: impl Fn(&str) -> bool) -> Result<bool> {
    match value {
        Value::Str(text) => Ok(test(text)),
        Value::Tuple(items) => {
            for item in items.iter() {
                if test(&text(method, "prefix", item)?) {
                    return Ok(true);
                }
            }
            Ok(false)
        }
        other => Err(Error::failed(format!(
            "{method} first arg must be str or a tuple of str, not {}",
            other.type_name()
        ))),
    }
}

fn trim<'t>(value: &'t str, characters: Option<&Value>, start: bool, end: bool) -> Result<&'t str> {
    let set: Option<Vec<char>> = match characters {
        None | Some(Value::None) => None,
        Some(value) => Some(text("strip", "chars", value)?.chars().collect()),
    };
    let matches = |c: char| match &set {
        None => c.is_whitespace(),
        Some(set) => set.contains(&c),
    };
    let mut value = value;
    if start {
        value = value.trim_start_matches(matches);
    }
    if end {
        value = value.trim_end_matches(matches);
    }
    Ok(value)
}

pub(crate) fn title(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    let mut in_word = false;
    for c in value.chars() {
        if c.is_alphabetic() {
            if in_word {
                out.extend(c.to_lowercase());
            } else {
                out.extend(c.to_uppercase());
            }
            in_word = true;
        } else {
            out.push(c);
            in_word = false;
        }
    }
    out
}

pub(crate) fn capitalize(value: &str) -> String {
    let mut chars = value.chars();
    match chars.next() {
        Some(first) => first
            .to_uppercase()
            .chain(chars.flat_map(char::to_lowercase))
            .collect(),
        None => String::new(),
    }
}

pub(crate) fn pad(value: &str, width: i64, fill: char, left: bool, right: bool) -> Result<String> {
    let length = value.chars().count();
    let width = usize::try_from(width.max(0)).unwrap_or(0);
    if width > 10_000_000 {
        return Err(Error::failed("width too big"));
    }
    let missing = width.saturating_sub(length);
    let (before, after) = match (left, right) {
        // As Python does: the odd one goes left when the width is odd.
        (true, true) => {
            let before = missing / 2 + (missing & width & 1);
            (before, missing - before)
        }
        (true, false) => (missing, 0),
        _ => (0, missing),
    };
    let blank = |count| std::iter::repeat_n(fill, count);
    Ok(blank(before)
        .chain(value.chars())
        .chain(blank(after))
        .collect())
}

fn split(
    value: &str,
    separator: Option<&Value>,
    limit: Option<&Value>,
    right: bool,
) -> Result<Value> {
    let limit = match limit {
        None => usize::MAX,
        Some(limit) => usize::try_from(integer(limit)?).unwrap_or(usize::MAX),
    };
    let mut parts: Vec<&str> = Vec::new();
    match separator {
        None | Some(Value::None) => {
            let mut rest = value;
            if right {
                rest = rest.trim_end();
                while !rest.is_empty() {
                    if parts.len() == limit {
                        parts.push(rest);
                        break;
                    }
                    match rest.rfind(char::is_whitespace) {
                        Some(at) => {
                            let width = rest[at..].chars().next().map_or(1, char::len_utf8);
                            parts.push(&rest[at + width..]);
                            rest = rest[..at].trim_end();
                        }
                        None => {
                            parts.push(rest);
                            break;
                        }
                    }
                }
                parts.reverse();
            } else {
                rest = rest.trim_start();
                while !rest.is_empty() {
                    if parts.len() == limit {
                        parts.push(rest);
                        break;
                    }
                    match rest.find(char::is_whitespace) {
                        Some(at) => {
                            parts.push(&rest[..at]);
                            rest = rest[at..].trim_start();
                        }
                        None => {
                            parts.push(rest);
                            break;
                        }
                    }
                }
            }
        }
        Some(separator) => {
            let separator = text("split", "sep", separator)?;
            if separator.is_empty() {
                return Err(Error::failed("empty separator"));
            }
            let count = limit.saturating_add(1);
            if right {
                parts = value.rsplitn(count, &*separator).collect();
                parts.reverse();
            } else {
                parts = value.splitn(count, &*separator).collect();
            }
        }
    }
    Ok(Value::list(parts.into_iter().map(Value::from).collect()))
}

pub(crate) fn lines(value: &str, keep_ends: bool) -> Vec<&str> {
    let mut lines = Vec::new();
    let mut rest = value;
    while !rest.is_empty() {
        let end = rest.find(|c: char| {
            matches!(
                c,
                '\n' | '\r'
                    | '\u{b}'
                    | '\u{c}'
                    | '\u{1c}'
                    | '\u{1d}'
                    | '\u{1e}'
                    | '\u{85}'
                    | '\u{2028}'
                    | '\u{2029}'
            )
        });
        match end {
            Some(at) => {
                let width = if rest[at..].starts_with("\r\n") {
                    2
                } else {
                    rest[at..].chars().next().map_or(1, char::len_utf8)
                };
                lines.push(if keep_ends {
                    &rest[..at + width]
                } else {
                    &rest[..at]
                });
                rest = &rest[at + width..];
            }
            None => {
                lines.push(rest);
                break;
            }
        }
    }
    lines
}

fn string(value: &str, name: &str, arguments: &Arguments) -> Result<Value> {
    let none = || arguments.bind::<0>(name, []).map(|_| ());
    let all =
        |test: fn(char) -> bool| Ok(Value::Bool(!value.is_empty() && value.chars().all(test)));
    match name {
        "upper" => none().map(|()| Value::from(value.to_uppercase())),
        "lower" | "casefold" => none().map(|()| Value::from(value.to_lowercase())),
        "capitalize" => none().map(|()| Value::from(capitalize(value))),
        "title" => none().map(|()| Value::from(title(value))),
        "swapcase" => none().map(|()| {
            let mut out = String::with_capacity(value.len());
            for c in value.chars() {
                if c.is_uppercase() {
                    out.extend(c.to_lowercase());
                } else {
                    out.extend(c.to_uppercase());
                }
            }
            Value::from(out)
        }),
        "strip" | "lstrip" | "rstrip" => {
            let [characters] = arguments.bind(name, ["chars"])?;
            Ok(Value::from(trim(
                value,
                characters.as_ref(),
                name != "rstrip",
                name != "lstrip",
            )?))
        }
        "split" | "rsplit" => {
            let [separator, limit] = arguments.bind(name, ["sep", "maxsplit"])?;
            split(value, separator.as_ref(), limit.as_ref(), name == "rsplit")
        }
        "splitlines" => {
            let [keep] = arguments.bind(name, ["keepends"])?;
            let keep = keep.map_or(Ok(false), |keep| keep.truth())?;
            Ok(Value::list(
                lines(value, keep).into_iter().map(Value::from).collect(),
            ))
        }
        "join" => {
            let [items] = arguments.bind(name, ["iterable"])?;
            let items = items
                .ok_or_else(|| Error::failed("join() takes exactly one argument (0 given)"))?
                .iterate()?;
            let mut out = String::new();
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push_str(value);
                }
                match item {
                    Value::Str(text) => out.push_str(text),
                    other => {
                        return Err(Error::failed(format!(
                            "sequence item {at}: expected str instance, {} found",
                            other.type_name()
                        )));
                    }
                }
            }
            Ok(Value::from(out))
        }
        "replace" => {
            let [old, new, count] = arguments.bind(name, ["old", "new", "count"])?;
            let (Some(old), Some(new)) = (old, new) else {
                return Err(Error::failed("replace expected at least 2 arguments"));
            };
            let (old, new) = (text(name, "old", &old)?, text(name, "new", &new)?);
            Ok(Value::from(match count {
                Some(count) => match usize::try_from(integer(&count)?) {
                    Ok(count) => value.replacen(&*old, &new, count),
                    Err(_) => value.replace(&*old, &new),
                },
                None => value.replace(&*old, &new),
            }))
        }
        "startswith" | "endswith" => {
            let [prefix, start, end] = arguments.bind(name, ["prefix", "start", "end"])?;
            let (part, _) = window(value, start.as_ref(), end.as_ref())?;
            let prefix = prefix.unwrap_or_default();
            Ok(Value::Bool(any_of(&prefix, name, |prefix| {
                if name == "startswith" {
                    part.starts_with(prefix)
                } else {
                    part.ends_with(prefix)
                }
            })?))
        }
        "find" | "rfind" | "index" | "rindex" | "count" => {
            let [sub, start, end] = arguments.bind(name, ["sub", "start", "end"])?;
            let sub = text(name, "sub", &sub.unwrap_or_default())?;
            let (part, offset) = window(value, start.as_ref(), end.as_ref())?;
            if name == "count" {
                return Ok(Value::from(if sub.is_empty() {
                    part.chars().count() + 1
                } else {
                    part.matches(&*sub).count()
                }));
            }
            let found = if name.starts_with('r') {
                part.rfind(&*sub)
            } else {
                part.find(&*sub)
            };
            match found {
                Some(at) => Ok(Value::from(part[..at].chars().count() + offset)),
                None if name.ends_with("find") => Ok(Value::Int(-1)),
                None => Err(Error::failed("substring not found")),
            }
        }
        "partition" | "rpartition" => {
            let [separator] = arguments.bind(name, ["sep"])?;
            let separator = text(name, "sep", &separator.unwrap_or_default())?;
            if separator.is_empty() {
                return Err(Error::failed("empty separator"));
            }
            let parts = if name == "partition" {
                value.split_once(&*separator)
            } else {
                value.rsplit_once(&*separator)
            };
            let parts = match parts {
                Some((before, after)) => [before, &*separator, after],
                None if name == "partition" => [value, "", ""],
                None => ["", "", value],
            };
            Ok(Value::tuple(parts.into_iter().map(Value::from).collect()))
        }
        "removeprefix" | "removesuffix" => {
            let [part] = arguments.bind(name, ["part"])?;
            let part = text(name, "part", &part.unwrap_or_default())?;
            let cut = if name == "removeprefix" {
                value.strip_prefix(&*part)
            } else {
                value.strip_suffix(&*part)
            };
            Ok(Value::from(cut.unwrap_or(value)))
        }
        "center" | "ljust" | "rjust" => {
            let [width, fill] = arguments.bind(name, ["width", "fillchar"])?;
            let width = integer(&width.unwrap_or_default())?;
            let fill = match fill {
                Some(fill) => {
                    let fill = text(name, "fillchar", &fill)?;
                    let mut chars = fill.chars();
                    match (chars.next(), chars.next()) {
                        (Some(fill), None) => fill,
                        _ => {
                            return Err(Error::failed(
                                "The fill character must be exactly one character long",
                            ));
                        }
                    }
                }
                None => ' ',
            };
            pad(value, width, fill, name != "ljust", name != "rjust").map(Value::from)
        }
        "zfill" => {
            let [width] = arguments.bind(name, ["width"])?;
            let width = integer(&width.unwrap_or_default())?;
            let (sign, digits) = match value.chars().next() {
                Some('+' | '-') => value.split_at(1),
                _ => ("", value),
            };
            let padded = pad(digits, width - sign.len() as i64, '0', true, false)?;
            Ok(Value::from(format!("{sign}{padded}")))
        }
        "expandtabs" => {
            let [size] = arguments.bind(name, ["tabsize"])?;
            let size = size.map_or(Ok(8), |size| integer(&size))?.clamp(0, 1000) as usize;
            let mut out = String::new();
            let mut column = 0;
            for c in value.chars() {
                match c {
                    '\t' if size > 0 => {
                        let blank = size - column % size;
                        out.extend(std::iter::repeat_n(' ', blank));
                        column += blank;
                    }
                    '\t' => {}
                    '\n' | '\r' => {
                        out.push(c);
                        column = 0;
                    }
                    c => {
                        out.push(c);
                        column += 1;
                    }
                }
            }
            Ok(Value::from(out))
        }
        "encode" => {
            let [encoding, _] = arguments.bind(name, ["encoding", "errors"])?;
            let encoding = match encoding {
                Some(encoding) => text(name, "encoding", &encoding)?.to_lowercase(),
                None => "utf-8".into(),
            };
            match encoding.replace('_', "-").as_str() {
                "utf-8" | "utf8" => Ok(Value::Bytes(value.as_bytes().into())),
                "ascii" | "us-ascii" if value.is_ascii() => {
                    Ok(Value::Bytes(value.as_bytes().into()))
                }
                "utf-16-le" | "utf-16le" => Ok(Value::Bytes(
                    value
                        .encode_utf16()
                        .flat_map(u16::to_le_bytes)
                        .collect::<Vec<u8>>()
                        .into(),
                )),
                "latin-1" | "latin1" | "iso-8859-1" if value.chars().all(|c| (c as u32) < 256) => {
                    Ok(Value::Bytes(
                        value.chars().map(|c| c as u8).collect::<Vec<u8>>().into(),
                    ))
                }
                other => Err(Error::failed(format!("unknown encoding: {other}"))),
            }
        }
        "format" => {
            let mut lookup = |field: &str| field_value(field, arguments);
            format::braces(value, &mut lookup, 0).map(Value::from)
        }
        "format_map" => {
            let [mapping] = arguments.bind(name, ["mapping"])?;
            let arguments = match mapping {
                Some(Value::Dict(dict)) => Arguments {
                    positional: Vec::new(),
                    named: dict
                        .read()
                        .iter()
                        .filter_map(|(key, value)| Some((key.as_str()?.into(), value.clone())))
                        .collect(),
                },
                _ => return Err(Error::failed("format_map() takes a mapping")),
            };
            let mut lookup = |field: &str| field_value(field, &arguments);
            format::braces(value, &mut lookup, 0).map(Value::from)
        }
        "isalnum" => all(char::is_alphanumeric),
        "isalpha" => all(char::is_alphabetic),
        "isdigit" | "isdecimal" | "isnumeric" => all(char::is_numeric),
        "isspace" => all(char::is_whitespace),
        "isprintable" => Ok(Value::Bool(!value.chars().any(char::is_control))),
        "isascii" => Ok(Value::Bool(value.is_ascii())),
        "islower" => Ok(Value::Bool(
            value.chars().any(char::is_lowercase) && !value.chars().any(char::is_uppercase),
        )),
        "isupper" => Ok(Value::Bool(
            value.chars().any(char::is_uppercase) && !value.chars().any(char::is_lowercase),
        )),
        "istitle" => Ok(Value::Bool(
            value.chars().any(char::is_alphabetic) && title(value) == value,
        )),
        "isidentifier" => Ok(Value::Bool(
            value
                .chars()
                .next()
                .is_some_and(|c| c.is_alphabetic() || c == '_')
                && value.chars().all(|c| c.is_alphanumeric() || c == '_'),
        )),
        _ => Err(Error::failed(format!(
            "'str' object has no attribute '{name}'"
        ))),
    }
}

/// The value of a field of `str.format`.
fn field_value(field: &str, arguments: &Arguments) -> Result<Value> {
    let end = field.find(['.', '[']).unwrap_or(field.len());
    let (first, mut rest) = field.split_at(end);
    let mut value = match first.parse::<usize>() {
        Ok(index) => arguments.positional.get(index).cloned().ok_or_else(|| {
            Error::failed(format!(
                "Replacement index {index} out of range for positional args tuple"
            ))
        })?,
        Err(_) => arguments
            .named(first)
            .cloned()
            .ok_or_else(|| Error::failed(crate::repr::string(first)))?,
    };
    while !rest.is_empty() {
        let (key, after) = if let Some(name) = rest.strip_prefix('.') {
            let end = name.find(['.', '[']).unwrap_or(name.len());
            (Value::from(&name[..end]), &name[end..])
        } else {
            let inner = &rest[1..];
            let end = inner
                .find(']')
                .ok_or_else(|| Error::failed("Missing ']' in format string"))?;
            let key = &inner[..end];
            let key = key
                .parse::<i64>()
                .map_or_else(|_| Value::from(key), Value::Int);
            (key, &inner[end + 1..])
        };
        value =
            operators::item(&value, &key).ok_or_else(|| Error::failed(crate::repr::repr(&key)))?;
        rest = after;
    }
    Ok(value)
}

fn sequence(value: &Value, name: &str, arguments: &Arguments) -> Result<Value> {
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
            list.change(|items| items.push(item.unwrap_or_default()));
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

/// Sorts by a key, stably, with the first refusal to compare as an error.
pub(crate) fn sort(
    items: &mut Vec<Value>,
    mut key: impl FnMut(&Value) -> Result<Value>,
    reverse: bool,
) -> Result<()> {
    let mut keyed = Vec::with_capacity(items.len());
    for item in items.iter() {
        keyed.push((key(item)?, item.clone()));
    }
    let mut refused = None;
    keyed.sort_by(|(one, _), (two, _)| {
        let order = if reverse {
            two.order(one, "<")
        } else {
            one.order(two, "<")
        };
        order.unwrap_or_else(|error| {
            refused.get_or_insert(error);
            std::cmp::Ordering::Equal
        })
    });
    if let Some(error) = refused {
        return Err(error);
    }
    *items = keyed.into_iter().map(|(_, item)| item).collect();
    Ok(())
}

fn mapping(dict: &Dict, name: &str, arguments: &Arguments) -> Result<Value> {
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
