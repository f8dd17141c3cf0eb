//! Methods of texts.

use super::pieces::{lines, split, trim, window};
use crate::arguments::{Arguments, integer, text};
use crate::error::{Error, Result};
use crate::value::Value;
use crate::{format, operators};

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

fn title(value: &str) -> String {
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

pub(super) fn string(value: &str, name: &str, arguments: &Arguments) -> Result<Value> {
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
            let padded = pad(
                digits,
                width.saturating_sub(sign.len() as i64),
                '0',
                true,
                false,
            )?;
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
            let inner = rest.strip_prefix('[').ok_or_else(|| {
                Error::failed("Only '.' or '[' may follow ']' in format field specifier")
            })?;
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
