//! One step of a path: a field, an item by its keys, a member of a set, a place in a list.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;

use serde_json::{Map, Number, Value};

use crate::schema::shape::{Keys, Scalar as Kind};
use crate::text::{go_quote, go_value};

/// One step of a path. The order is upstream's: fields, keys, values, indices.
#[derive(Debug, Clone)]
pub enum Element<'a> {
    /// A field of a map or struct.
    Field(Cow<'a, str>),
    /// The item of a list that has these fields; sorted by name.
    Key(Vec<(Cow<'a, str>, Scalar<'a>)>),
    /// The member of a set.
    Value(Scalar<'a>),
    /// A place in a list.
    Index(i64),
}

/// A value that tells items apart.
#[derive(Debug, Clone)]
pub enum Scalar<'a> {
    /// A number.
    Number(Number),
    /// A text.
    Text(Cow<'a, str>),
    /// True or false.
    Bool(bool),
    /// Nothing, or what cannot tell items apart and was sent all the same.
    Other(Cow<'a, Value>),
}

/// Why an item of a list cannot be told apart from others.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unkeyed {
    /// A null among items with keys.
    #[error("associative list with keys may not have a null element")]
    NullItem,
    /// A scalar or list among items with keys.
    #[error("associative list with keys may not have non-map elements")]
    NoMap,
    /// An item without any of the keys.
    #[error(
        "associative list with keys has an element that omits all key fields [{}] (and doesn't have default values for any key fields)",
        .0.iter().map(|key| go_quote(key)).collect::<Vec<_>>().join(" ")
    )]
    NoKey(Vec<String>),
    /// A map in a set.
    #[error("associative list without keys has an element that's a map type")]
    MapInSet,
    /// A list in a set.
    #[error("not supported: associative list with lists as elements")]
    ListInSet,
    /// A null in a set.
    #[error("associative list without keys has an element that's an explicit null")]
    NullInSet,
}

impl<'a> Element<'a> {
    /// A field.
    pub fn field(name: &'a str) -> Self {
        Self::Field(Cow::Borrowed(name))
    }

    /// The element of an item in a set.
    pub fn of_set_item(item: &'a Value) -> Result<Self, Unkeyed> {
        match item {
            Value::Object(_) => Err(Unkeyed::MapInSet),
            Value::Array(_) => Err(Unkeyed::ListInSet),
            Value::Null => Err(Unkeyed::NullInSet),
            scalar => Ok(Self::Value(Scalar::of(scalar))),
        }
    }

    /// The element of an item in a list with keys. A key that is left out has its default, if there is one.
    pub fn of_keyed_item<'s: 'a>(keys: Keys<'s>, item: &'a Value) -> Result<Self, Unkeyed> {
        let map = match item {
            Value::Object(map) => map,
            Value::Null => return Err(Unkeyed::NullItem),
            _ => return Err(Unkeyed::NoMap),
        };
        let mut found: Vec<(Cow<'a, str>, Scalar<'a>)> = Vec::with_capacity(2);
        for key in keys.iter() {
            if let Some(value) = map.get(key.name).or(key.default) {
                found.push((Cow::Borrowed(key.name), Scalar::of(value)));
            }
        }
        if found.is_empty() {
            let names = keys.iter().map(|key| key.name.to_owned()).collect();
            return Err(Unkeyed::NoKey(names));
        }
        found.sort_by(|(one, _), (other, _)| one.cmp(other));
        Ok(Self::Key(found))
    }

    /// Reads the form that `FieldsV1` has as a key: `f:name`, `k:{"name":"a"}`, `v:"a"`, `i:0`.
    /// `Ok(None)`: a form that a later version may know.
    pub fn parse(text: &'a str) -> Result<Option<Self>, String> {
        let Some(rest) = text.get(2..).filter(|_| text.as_bytes()[1] == b':') else {
            return Err(match text.len() {
                0 | 1 => "key must be 2 characters long:".to_owned(),
                _ => format!("missing colon: {text}"),
            });
        };
        Ok(Some(match text.as_bytes()[0] {
            b'f' => Self::field(rest),
            b'v' => {
                let value: Value = serde_json::from_str(rest).map_err(|error| error.to_string())?;
                Self::Value(Scalar::owned(value))
            }
            b'k' => {
                let map: Map<String, Value> =
                    serde_json::from_str(rest).map_err(|error| error.to_string())?;
                let mut fields: Vec<(Cow<'a, str>, Scalar<'a>)> = map
                    .into_iter()
                    .map(|(name, value)| (Cow::Owned(name), Scalar::owned(value)))
                    .collect();
                fields.sort_by(|(one, _), (other, _)| one.cmp(other));
                Self::Key(fields)
            }
            b'i' => Self::Index(rest.parse().map_err(|_| {
                format!("strconv.Atoi: parsing {}: invalid syntax", go_quote(rest))
            })?),
            _ => return Ok(None),
        }))
    }

    /// The form that [`Element::parse`] reads.
    pub fn write(&self) -> String {
        match self {
            Self::Field(name) => {
                let mut text = String::with_capacity(name.len() + 2);
                text.push_str("f:");
                text.push_str(name);
                text
            }
            Self::Key(fields) => {
                let mut text = String::with_capacity(32);
                text.push_str("k:{");
                for (at, (name, value)) in fields.iter().enumerate() {
                    if at > 0 {
                        text.push(',');
                    }
                    write_text(&mut text, name);
                    text.push(':');
                    value.write(&mut text);
                }
                text.push('}');
                text
            }
            Self::Value(value) => {
                let mut text = String::from("v:");
                value.write(&mut text);
                text
            }
            Self::Index(index) => format!("i:{index}"),
        }
    }

    /// The same without borrowing.
    pub fn into_owned(self) -> Element<'static> {
        match self {
            Self::Field(name) => Element::Field(Cow::Owned(name.into_owned())),
            Self::Key(fields) => Element::Key(
                fields
                    .into_iter()
                    .map(|(name, value)| (Cow::Owned(name.into_owned()), value.into_owned()))
                    .collect(),
            ),
            Self::Value(value) => Element::Value(value.into_owned()),
            Self::Index(index) => Element::Index(index),
        }
    }

    fn rank(&self) -> u8 {
        match self {
            Self::Field(_) => 0,
            Self::Key(_) => 1,
            Self::Value(_) => 2,
            Self::Index(_) => 3,
        }
    }
}

/// As upstream's JSON writer does, which escapes what HTML gives a meaning to.
fn write_text(out: &mut String, text: &str) {
    let quoted = Value::from(text).to_string();
    if !quoted.contains(['<', '>', '&', '\u{2028}', '\u{2029}']) {
        out.push_str(&quoted);
        return;
    }
    for letter in quoted.chars() {
        match letter {
            '<' => out.push_str("\\u003c"),
            '>' => out.push_str("\\u003e"),
            '&' => out.push_str("\\u0026"),
            '\u{2028}' => out.push_str("\\u2028"),
            '\u{2029}' => out.push_str("\\u2029"),
            other => out.push(other),
        }
    }
}

impl<'a> Scalar<'a> {
    /// Borrows from a value.
    pub fn of(value: &'a Value) -> Self {
        match value {
            Value::Number(number) => Self::Number(number.clone()),
            Value::String(text) => Self::Text(Cow::Borrowed(text)),
            Value::Bool(flag) => Self::Bool(*flag),
            other => Self::Other(Cow::Borrowed(other)),
        }
    }

    fn owned(value: Value) -> Self {
        match value {
            Value::Number(number) => Self::Number(number),
            Value::String(text) => Self::Text(Cow::Owned(text)),
            Value::Bool(flag) => Self::Bool(flag),
            other => Self::Other(Cow::Owned(other)),
        }
    }

    fn into_owned(self) -> Scalar<'static> {
        match self {
            Self::Number(number) => Scalar::Number(number),
            Self::Text(text) => Scalar::Text(Cow::Owned(text.into_owned())),
            Self::Bool(flag) => Scalar::Bool(flag),
            Self::Other(value) => Scalar::Other(Cow::Owned(value.into_owned())),
        }
    }

    fn write(&self, out: &mut String) {
        match self {
            Self::Number(number) => out.push_str(&number.to_string()),
            Self::Text(text) => write_text(out, text),
            Self::Bool(flag) => out.push_str(if *flag { "true" } else { "false" }),
            Self::Other(value) => out.push_str(&value.to_string()),
        }
    }

    fn rank(&self) -> u8 {
        match self {
            Self::Number(_) => 0,
            Self::Text(_) => 1,
            Self::Bool(_) => 2,
            Self::Other(_) => 3,
        }
    }
}

/// Numbers are compared by what they stand for: `1` and `1.0` are the same.
pub(super) fn compare_numbers(one: &Number, other: &Number) -> Ordering {
    match (one.as_i64(), other.as_i64()) {
        (Some(one), Some(other)) => one.cmp(&other),
        _ => one
            .as_f64()
            .unwrap_or_default()
            .total_cmp(&other.as_f64().unwrap_or_default()),
    }
}

/// Whether two values are the same to a merge.
pub(super) fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => compare_numbers(one, other).is_eq(),
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len()
                && one
                    .iter()
                    .all(|(key, value)| other.get(key).is_some_and(|other| same(value, other)))
        }
        _ => one == other,
    }
}

impl Ord for Scalar<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Number(one), Self::Number(other)) => compare_numbers(one, other),
            (Self::Text(one), Self::Text(other)) => one.cmp(other),
            (Self::Bool(one), Self::Bool(other)) => one.cmp(other),
            (Self::Other(one), Self::Other(other)) => one.to_string().cmp(&other.to_string()),
            _ => self.rank().cmp(&other.rank()),
        }
    }
}

impl Ord for Element<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Field(one), Self::Field(other)) => one.cmp(other),
            (Self::Key(one), Self::Key(other)) => one.cmp(other),
            (Self::Value(one), Self::Value(other)) => one.cmp(other),
            (Self::Index(one), Self::Index(other)) => one.cmp(other),
            _ => self.rank().cmp(&other.rank()),
        }
    }
}

impl PartialOrd for Scalar<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialOrd for Element<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Scalar<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl PartialEq for Element<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Scalar<'_> {}
impl Eq for Element<'_> {}

/// As conflicts show it: `.spec`, `[name="a"]`, `[="a"]`, `[0]`.
impl fmt::Display for Element<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field(name) => write!(f, ".{name}"),
            Self::Key(fields) => {
                f.write_str("[")?;
                for (at, (name, value)) in fields.iter().enumerate() {
                    let comma = if at > 0 { "," } else { "" };
                    write!(f, "{comma}{name}={value}")?;
                }
                f.write_str("]")
            }
            Self::Value(value) => write!(f, "[={value}]"),
            Self::Index(index) => write!(f, "[{index}]"),
        }
    }
}

impl fmt::Display for Scalar<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Text(text) => f.write_str(&go_quote(text)),
            Self::Bool(flag) => flag.fmt(f),
            Self::Other(value) => value.fmt(f),
        }
    }
}

/// A value in the words of Go's `%#v`.
fn go_syntax(value: &Value) -> String {
    match value {
        Value::Null => "interface {}(nil)".to_owned(),
        Value::String(text) => go_quote(text),
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(go_syntax).collect();
            format!("[]interface {{}}{{{}}}", items.join(", "))
        }
        Value::Object(map) => {
            let mut members: Vec<_> = map
                .iter()
                .map(|(key, value)| format!("{}:{}", go_quote(key), go_syntax(value)))
                .collect();
            members.sort();
            format!("map[string]interface {{}}{{{}}}", members.join(", "))
        }
        other => other.to_string(),
    }
}

/// What is wrong with a value where the schema wants a scalar; none if it is one (or null).
pub(super) fn wrong_scalar(kind: Kind, value: &Value) -> Option<String> {
    let go_type = |value: &Value| match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float64",
        Value::Number(_) => "int64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    };
    if value.is_null() {
        return None;
    }
    match kind {
        Kind::Numeric if !value.is_number() => Some(format!(
            "expected numeric (int or float), got {}",
            go_type(value)
        )),
        Kind::String if !value.is_string() => Some(format!(
            "expected string, got &value.valueUnstructured{{Value:{}}}",
            go_syntax(value)
        )),
        Kind::Boolean if !value.is_boolean() => {
            Some(format!("expected boolean, got &{{{}}}", go_value(value)))
        }
        Kind::Any if value.is_object() || value.is_array() => {
            Some(format!("expected any scalar, got &{{{}}}", go_value(value)))
        }
        _ => None,
    }
}
