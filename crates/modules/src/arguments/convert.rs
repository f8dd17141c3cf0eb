//! Conversion of values to the types of arguments.

use serde_json::{Map, Value};

use super::Kind;
use crate::context::Context;
use crate::python;

/// Converts a value to a type, or says why it cannot be (the text that follows `we were unable to convert to x:`).
pub(super) fn convert(context: &Context<'_>, kind: Kind, value: Value) -> Result<Value, String> {
    match kind {
        Kind::Text => Ok(to_text(value)),
        Kind::Path => match to_text(value) {
            Value::String(text) => Ok(python::expand_path(context, &text).into()),
            other => Ok(other),
        },
        Kind::Boolean => match &value {
            Value::Null | Value::Array(_) | Value::Object(_) => Err(format!(
                "<class '{}'> cannot be converted to a bool",
                python::type_name(&value)
            )),
            _ => boolean_of(&value).map(Value::Bool),
        },
        Kind::Integer => to_integer(value),
        Kind::Float => match &value {
            Value::Number(number) => Ok(number.as_f64().map_or(Value::Null, Value::from)),
            Value::Bool(flag) => Ok(f64::from(u8::from(*flag)).into()),
            Value::String(text) => text
                .trim()
                .replace('_', "")
                .parse::<f64>()
                .map(Value::from)
                .map_err(|_| "<class 'str'> cannot be converted to a float".to_owned()),
            _ => Err(format!(
                "<class '{}'> cannot be converted to a float",
                python::type_name(&value)
            )),
        },
        Kind::List => match value {
            Value::Array(_) => Ok(value),
            Value::String(text) => Ok(text.split(',').map(Value::from).collect()),
            Value::Number(_) | Value::Bool(_) => {
                Ok(vec![Value::from(python::repr_value(&value))].into())
            }
            _ => Err(format!(
                "<class '{}'> cannot be converted to a list",
                python::type_name(&value)
            )),
        },
        Kind::Dict => to_dict(value),
        Kind::Raw => Ok(value),
        Kind::Json => match value {
            Value::String(text) => Ok(text.trim().into()),
            Value::Array(_) | Value::Object(_) => Ok(python_json(&value).into()),
            _ => Err(format!(
                "<class '{}'> cannot be converted to a json string",
                python::type_name(&value)
            )),
        },
        Kind::Bytes | Kind::Bits => {
            let text = python::str_value(&value);
            human_to_bytes(&text, kind == Kind::Bits)
                .map(Value::from)
                .ok_or_else(|| {
                    format!(
                        "<class '{}'> cannot be converted to a {} value",
                        python::type_name(&value),
                        if kind == Kind::Bits { "Bit" } else { "Byte" }
                    )
                })
        }
    }
}

fn to_text(value: Value) -> Value {
    match value {
        Value::String(_) => value,
        Value::Null => "".into(),
        other => python::repr_value(&other).into(),
    }
}

/// What a value means as yes or no: `yes`, `on`, `1`, `true`, `t`, `y` and their contraries in any case. The error is the
/// message of Ansible.
pub fn boolean_of(value: &Value) -> Result<bool, String> {
    let found = match value {
        Value::Bool(flag) => Some(*flag),
        Value::Number(number) => match number.as_f64() {
            Some(1.0) => Some(true),
            Some(0.0) => Some(false),
            _ => None,
        },
        Value::String(text) => match text.trim().to_lowercase().as_str() {
            "y" | "yes" | "on" | "1" | "true" | "t" => Some(true),
            "n" | "no" | "off" | "0" | "false" | "f" => Some(false),
            _ => None,
        },
        _ => None,
    };
    found.ok_or_else(|| {
        format!(
            "The value '{}' is not a valid boolean. Valid booleans include: 0, 1, 't', 'f', 'true', 'false', '1', '0', \
             'y', 'n', 'yes', 'no', 'on', 'off'",
            python::str_value(value)
        )
    })
}

fn to_integer(value: Value) -> Result<Value, String> {
    let refuse = |value: &Value| {
        format!(
            "\"{}\" cannot be converted to an int",
            python::repr_value(value)
        )
    };
    match &value {
        Value::Bool(flag) => Ok(i64::from(*flag).into()),
        Value::Number(number) if number.is_f64() => {
            let number = number.as_f64().unwrap_or(f64::NAN);
            if number.fract() == 0.0 && number.abs() < 9.2e18 {
                Ok((number as i64).into())
            } else {
                Err(refuse(&value))
            }
        }
        Value::Number(_) => Ok(value),
        Value::String(text) => {
            let plain = text.trim().replace('_', "");
            if let Ok(number) = plain.strip_prefix('+').unwrap_or(&plain).parse::<i64>() {
                return Ok(number.into());
            }
            match plain.parse::<f64>() {
                Ok(number) if number.fract() == 0.0 && number.abs() < 9.2e18 => {
                    Ok((number as i64).into())
                }
                _ => Err(refuse(&value)),
            }
        }
        _ => Err(refuse(&value)),
    }
}

fn to_dict(value: Value) -> Result<Value, String> {
    match value {
        Value::Object(_) => Ok(value),
        Value::String(text) => dict_of(&text).map(Value::Object),
        other => Err(format!(
            "<class '{}'> cannot be converted to a dict",
            python::type_name(&other)
        )),
    }
}

fn dict_of(text: &str) -> Result<Map<String, Value>, String> {
    if text.starts_with('{') {
        if let Ok(Value::Object(entries)) = serde_json::from_str(text) {
            return Ok(entries);
        }
        return match literal(text) {
            Some(Value::Object(entries)) => Ok(entries),
            _ => Err("unable to evaluate string as dictionary".to_owned()),
        };
    }
    if !text.contains('=') {
        return Err("dictionary requested, could not parse JSON or key=value".to_owned());
    }
    let mut fields = Vec::new();
    let mut field = String::new();
    let mut quote = None;
    let mut escaped = false;
    for character in text.trim().chars() {
        if escaped {
            field.push(character);
            escaped = false;
        } else if character == '\\' {
            escaped = true;
        } else if quote.is_none() && matches!(character, '\'' | '"') {
            quote = Some(character);
        } else if quote == Some(character) {
            quote = None;
        } else if quote.is_none() && matches!(character, ',' | ' ') {
            if !field.is_empty() {
                fields.push(std::mem::take(&mut field));
            }
        } else {
            field.push(character);
        }
    }
    if !field.is_empty() {
        fields.push(field);
    }
    let mut entries = Map::new();
    for field in fields {
        let Some((key, value)) = field.split_once('=') else {
            return Err(
                "unable to evaluate string in the \"key=value\" format as dictionary".to_owned(),
            );
        };
        entries.insert(key.to_owned(), value.into());
    }
    Ok(entries)
}

/// The value of a Python literal of dicts, lists, tuples, texts, numbers, booleans and `None`.
fn literal(text: &str) -> Option<Value> {
    let mut reader = Literal {
        rest: text.trim(),
        depth: 0,
    };
    let value = reader.value()?;
    reader.rest.trim().is_empty().then_some(value)
}

struct Literal<'t> {
    rest: &'t str,
    depth: usize,
}

impl Literal<'_> {
    fn take(&mut self, token: char) -> bool {
        self.rest = self.rest.trim_start();
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn value(&mut self) -> Option<Value> {
        self.depth += 1;
        if self.depth > 64 {
            return None;
        }
        self.rest = self.rest.trim_start();
        let value = match self.rest.chars().next()? {
            '{' => {
                self.take('{');
                let mut entries = Map::new();
                while !self.take('}') {
                    let key = self.value()?;
                    if !self.take(':') {
                        return None;
                    }
                    let value = self.value()?;
                    entries.insert(python::str_value(&key).into_owned(), value);
                    if !self.take(',') {
                        if !self.take('}') {
                            return None;
                        }
                        break;
                    }
                }
                Value::Object(entries)
            }
            open @ ('[' | '(') => {
                let close = if open == '[' { ']' } else { ')' };
                self.take(open);
                let mut items = Vec::new();
                while !self.take(close) {
                    items.push(self.value()?);
                    if !self.take(',') {
                        if !self.take(close) {
                            return None;
                        }
                        break;
                    }
                }
                Value::Array(items)
            }
            quote @ ('\'' | '"') => {
                let mut text = String::new();
                let mut characters = self.rest[1..].char_indices();
                loop {
                    let (at, character) = characters.next()?;
                    if character == quote {
                        self.rest = &self.rest[at + 2..];
                        break;
                    }
                    if character == '\\' {
                        match characters.next()?.1 {
                            'n' => text.push('\n'),
                            't' => text.push('\t'),
                            'r' => text.push('\r'),
                            other @ ('\\' | '\'' | '"') => text.push(other),
                            other => {
                                text.push('\\');
                                text.push(other);
                            }
                        }
                    } else {
                        text.push(character);
                    }
                }
                Value::String(text)
            }
            _ => {
                let end = self
                    .rest
                    .find(|c: char| matches!(c, ',' | ':' | '}' | ']' | ')') || c.is_whitespace())
                    .unwrap_or(self.rest.len());
                let (word, rest) = self.rest.split_at(end);
                self.rest = rest;
                match word {
                    "True" => Value::Bool(true),
                    "False" => Value::Bool(false),
                    "None" => Value::Null,
                    _ => match word.parse::<i64>() {
                        Ok(number) => number.into(),
                        Err(_) => word.parse::<f64>().ok()?.into(),
                    },
                }
            }
        };
        self.depth -= 1;
        Some(value)
    }
}

/// JSON as Python's `json.dumps` writes it: with its separators, and only ASCII.
pub fn python_json(value: &Value) -> String {
    fn text(value: &str) -> String {
        use std::fmt::Write as _;
        let plain = serde_json::to_string(value).unwrap_or_default();
        if plain.is_ascii() {
            return plain;
        }
        let mut escaped = String::with_capacity(plain.len() + 16);
        for character in plain.chars() {
            if character.is_ascii() {
                escaped.push(character);
            } else {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    let _ = write!(escaped, "\\u{unit:04x}");
                }
            }
        }
        escaped
    }
    match value {
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(python_json).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Object(entries) => {
            let entries: Vec<String> = entries
                .iter()
                .map(|(key, value)| format!("{}: {}", text(key), python_json(value)))
                .collect();
            format!("{{{}}}", entries.join(", "))
        }
        Value::String(value) => text(value),
        Value::Number(number) if number.is_f64() => {
            python::float_text(number.as_f64().unwrap_or(0.0))
        }
        other => other.to_string(),
    }
}

const SIZES: [(char, f64); 9] = [
    ('Y', 1_208_925_819_614_629_174_706_176.0),
    ('Z', 1_180_591_620_717_411_303_424.0),
    ('E', 1_152_921_504_606_846_976.0),
    ('P', 1_125_899_906_842_624.0),
    ('T', 1_099_511_627_776.0),
    ('G', 1_073_741_824.0),
    ('M', 1_048_576.0),
    ('K', 1024.0),
    ('B', 1.0),
];

/// An amount written for people as bytes (or bits): `2K` is 2048. `None` if it cannot be read.
pub fn human_to_bytes(text: &str, bits: bool) -> Option<i64> {
    let text = text.trim_end();
    let digits = text
        .find(|c: char| !(c.is_ascii_digit() || c == '.'))
        .unwrap_or(text.len());
    let (number, unit) = (&text[..digits], text[digits..].trim_start());
    if !number.ends_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let number: f64 = number.parse().ok()?;
    // Python rounds halves to the even neighbour.
    let whole = |amount: f64| amount.round_ties_even() as i64;
    let Some(first) = unit.chars().next() else {
        return Some(whole(number));
    };
    if !unit.chars().all(|c| c.is_ascii_alphabetic()) {
        return None;
    }
    let letter = first.to_ascii_uppercase();
    let (_, size) = SIZES.iter().find(|(known, _)| *known == letter)?;
    if unit.len() > 1 {
        let word = match letter {
            'B' => "",
            'K' => "kilo",
            'M' => "mega",
            'G' => "giga",
            'T' => "tera",
            'P' => "peta",
            'E' => "exa",
            'Z' => "zetta",
            _ => "yotta",
        };
        let (name, mark) = if bits { ("bit", 'b') } else { ("byte", 'B') };
        let short = if letter == 'B' {
            mark.to_string()
        } else {
            format!("{letter}{mark}")
        };
        if unit.to_lowercase() != format!("{word}{name}") && unit != short {
            return None;
        }
    }
    Some(whole(number * size))
}

/// An amount of bytes written for people: `1.50 MB`.
pub fn bytes_to_human(size: f64) -> String {
    for (letter, limit) in SIZES {
        if size >= limit && letter != 'B' {
            return format!("{:.2} {letter}B", size / limit);
        }
    }
    format!("{size:.2} Bytes")
}
