//! YAML to values, with the scalars of YAML 1.1 that Terraform knows.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, LazyLock};

use base64::Engine as _;
use granit_parser::{Event, Parser, ScalarStyle, Span, StrInput, Tag};
use regex::Regex;

use crate::functions::date;
use crate::number::Number;
use crate::text::quote;
use crate::types::Type;
use crate::value::{Kind, Value};

/// A bound on nesting, and on how much aliases may multiply.
const DEPTH_LIMIT: usize = 512;
const NODE_LIMIT: usize = 1_000_000;

const PREFIX: &str = "tag:yaml.org,2002:";

/// The value of a document.
///
/// # Errors
/// For what is no YAML, and for what has no value in Terraform's language; with the place.
pub(super) fn document(text: &str) -> Result<Value, String> {
    let mut reader = Reader {
        parser: Parser::new_from_str(text),
        anchors: HashMap::new(),
        nodes: 0,
        ended: false,
    };
    reader.next()?;
    let (first, span) = reader.next()?;
    if !matches!(first, Event::DocumentStart(..)) {
        return Err(at(&span, "missing start of document"));
    }
    let (event, span) = reader.next()?;
    let value = reader.node(event, &span, 0)?;
    let (event, span) = reader.next()?;
    if !matches!(event, Event::DocumentEnd) {
        return Err(at(&span, "unexpected extra content after value"));
    }
    let (event, span) = reader.next()?;
    if matches!(event, Event::StreamEnd) {
        return Ok(value);
    }
    Err(at(&span, "unexpected extra content after value"))
}

fn at(span: &Span, message: &str) -> String {
    let place = span.start;
    format!(
        "on line {}, column {}: {message}",
        place.line(),
        place.col() + 1
    )
}

struct Reader<'t> {
    parser: Parser<'t, StrInput<'t>>,
    /// The value and the number of nodes of what each anchor names.
    anchors: HashMap<usize, (Value, usize)>,
    nodes: usize,
    ended: bool,
}

impl<'t> Reader<'t> {
    fn next(&mut self) -> Result<(Event<'t>, Span), String> {
        loop {
            if self.ended {
                return Err("unexpected end of document".to_owned());
            }
            let Some(next) = self.parser.next() else {
                self.ended = true;
                continue;
            };
            let (event, span) = next.map_err(|e| {
                let place = e.marker();
                format!(
                    "on line {}, column {}: {}",
                    place.line(),
                    place.col() + 1,
                    e.info()
                )
            })?;
            match event {
                Event::Comment(..) | Event::Anchor(..) => {}
                event => return Ok((event, span)),
            }
        }
    }

    fn node(&mut self, event: Event<'t>, span: &Span, depth: usize) -> Result<Value, String> {
        if depth > DEPTH_LIMIT {
            return Err(at(span, "values are nested too deeply"));
        }
        let before = self.nodes;
        self.count(1, span)?;
        let (anchor, value) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                let value = scalar(&text, style, tag.as_deref()).map_err(|e| at(span, &e))?;
                (anchor, value)
            }
            Event::Alias(anchor) => {
                let Some((value, nodes)) = self.anchors.get(&anchor).cloned() else {
                    return Err(at(
                        span,
                        "cannot refer to an anchor from inside its own definition",
                    ));
                };
                self.count(nodes, span)?;
                return Ok(value);
            }
            Event::SequenceStart(_, anchor, tag) => {
                check_tag(tag.as_deref(), "seq", "sequence").map_err(|e| at(span, &e))?;
                let mut values = Vec::new();
                loop {
                    let (event, span) = self.next()?;
                    if matches!(event, Event::SequenceEnd) {
                        break;
                    }
                    values.push(self.node(event, &span, depth + 1)?);
                }
                (anchor, Value::tuple(values))
            }
            Event::MappingStart(_, anchor, tag) => {
                check_tag(tag.as_deref(), "map", "mapping").map_err(|e| at(span, &e))?;
                (anchor, self.mapping(depth)?)
            }
            _ => return Err(at(span, "expecting value but found something else")),
        };
        if anchor != 0 {
            self.anchors
                .insert(anchor, (value.clone(), self.nodes - before));
        }
        Ok(value)
    }

    fn count(&mut self, nodes: usize, span: &Span) -> Result<(), String> {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes > NODE_LIMIT {
            return Err(at(span, "aliases make the document too large"));
        }
        Ok(())
    }

    fn mapping(&mut self, depth: usize) -> Result<Value, String> {
        let mut values: BTreeMap<Arc<str>, Value> = BTreeMap::new();
        loop {
            let (event, span) = self.next()?;
            let (text, style, tag) = match event {
                Event::MappingEnd => return Ok(Value::object(values)),
                Event::Scalar(text, style, _, tag) => (text, style, tag),
                _ => return Err("only strings are allowed as mapping keys".to_owned()),
            };
            let tag = tag.as_deref();
            let plain = style == ScalarStyle::Plain;
            if (tag.is_none() && plain && text == "<<") || tag.is_some_and(|t| short(t) == "merge")
            {
                let (event, inner) = self.next()?;
                let merged = self.node(event, &inner, depth + 1)?;
                merge(&merged, &mut values).map_err(|e| at(&span, &e))?;
                continue;
            }
            let key = scalar(&text, style, tag).map_err(|e| at(&span, &e))?;
            let key = match key.kind() {
                Kind::Null => return Err(at(&span, "mapping key cannot be null")),
                Kind::String(text) => text.to_owned(),
                Kind::Number(number) => number.to_string(),
                Kind::Bool(value) => value.to_string(),
                _ => return Err(at(&span, "only strings are allowed as mapping keys")),
            };
            let (event, span) = self.next()?;
            let value = self.node(event, &span, depth + 1)?;
            values.insert(key.into(), value);
        }
    }
}

fn merge(merged: &Value, into: &mut BTreeMap<Arc<str>, Value>) -> Result<(), String> {
    let mut one = |map: &Value, of: &str| match map.kind() {
        Kind::Object(map) => {
            into.extend(map.iter().map(|(k, v)| (k.clone(), v.clone())));
            Ok(())
        }
        _ => {
            let name = map.ty().friendly_name();
            Err(format!("cannot merge {name}{of} into mapping"))
        }
    };
    match merged.kind() {
        Kind::Tuple(maps) => maps.iter().try_for_each(|map| one(map, " (from sequence)")),
        _ => one(merged, ""),
    }
}

fn short(tag: &Tag) -> String {
    let whole = format!("{}{}", tag.handle(), tag.suffix());
    whole
        .strip_prefix(PREFIX)
        .map_or_else(|| whole.clone(), str::to_owned)
}

fn check_tag(tag: Option<&Tag>, allowed: &str, what: &str) -> Result<(), String> {
    match tag.map(short) {
        Some(tag) if tag != allowed && tag != "!" => {
            Err(format!("can't interpret {what} as {}", shown(&tag)))
        }
        _ => Ok(()),
    }
}

fn shown(tag: &str) -> String {
    if tag.starts_with('!') || tag.contains(':') {
        tag.to_owned()
    } else {
        format!("{PREFIX}{tag}")
    }
}

fn scalar(text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Result<Value, String> {
    let quoted = matches!(style, ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted);
    let tag = tag.map(short).unwrap_or_default();
    let cannot = |tag: &str| Err(format!("cannot parse {} as {}", quote(text), shown(tag)));
    // What looks as if it could be more than text is text in quotes, whatever its tag says.
    let starts = |c: char| c.is_ascii_digit() || "+-.~yYnNtTfFoO".contains(c);
    if quoted
        && !matches!(tag.as_str(), "" | "!" | "str" | "binary")
        && (text.is_empty() || text.starts_with(starts))
    {
        return Ok(Value::string(text));
    }
    match tag.as_str() {
        "" => resolve(text, quoted),
        "!" | "str" => Ok(Value::string(text)),
        "binary" => match base64::engine::general_purpose::STANDARD.decode(text) {
            Ok(_) => Ok(Value::string(text)),
            Err(_) => Err(format!(
                "cannot parse {} as {}: not valid base64",
                quote(text),
                shown(&tag)
            )),
        },
        "bool" => constant(text)
            .filter(|v| v.as_bool().is_some())
            .map_or_else(|| cannot(&tag), Ok),
        "null" => Ok(Value::null(Type::Dynamic)),
        "int" | "float" => number(text)
            .map(Value::number)
            .map_or_else(|| cannot(&tag), Ok),
        "timestamp" => date::yaml_timestamp(text)
            .map(Value::string)
            .map_or_else(|| cannot(&tag), Ok),
        other => Err(format!("unsupported tag {}", quote(&shown(other)))),
    }
}

/// The value of a scalar without a tag.
fn resolve(text: &str, quoted: bool) -> Result<Value, String> {
    static INTEGER: LazyLock<Option<Regex>> =
        LazyLock::new(|| Regex::new(r"^(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)$").ok());
    static FLOAT: LazyLock<Option<Regex>> = LazyLock::new(|| {
        Regex::new(r"^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$").ok()
    });
    let matches =
        |regex: &LazyLock<Option<Regex>>| regex.as_ref().is_some_and(|r| r.is_match(text));
    if quoted {
        return Ok(Value::string(text));
    }
    if let Some(value) = constant(text) {
        return Ok(value);
    }
    if matches!(text, ".nan" | ".NaN" | ".NAN") {
        return Err("floating point NaN is not supported".to_owned());
    }
    let found = match text.bytes().next() {
        Some(b'.') => Number::parse(text),
        Some(b'0'..=b'9' | b'+' | b'-') => {
            if let Some(time) = date::yaml_timestamp(text) {
                return Ok(Value::string(time));
            }
            if matches(&INTEGER) || matches(&FLOAT) {
                let Some(number) = number(text) else {
                    let tag = if matches(&INTEGER) { "int" } else { "float" };
                    return Err(format!("cannot parse {} as {}", quote(text), shown(tag)));
                };
                Some(number)
            } else {
                None
            }
        }
        _ => None,
    };
    Ok(found.map_or_else(|| Value::string(text), Value::number))
}

fn constant(text: &str) -> Option<Value> {
    Some(match text {
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            Value::TRUE
        }
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            Value::FALSE
        }
        "" | "~" | "null" | "Null" | "NULL" => Value::null(Type::Dynamic),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => Value::number(Number::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => Value::number(Number::NEGATIVE_INFINITY),
        _ => return None,
    })
}

/// Decimal numbers, and integers with the prefixes `0x`, `0o` and `0b`.
fn number(text: &str) -> Option<Number> {
    let plain = text.replace('_', "");
    if let Some(number) = Number::parse(&plain) {
        return Some(number);
    }
    let (negative, digits) = match plain.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, plain.strip_prefix('+').unwrap_or(&plain)),
    };
    let (base, digits) = match digits.get(..2)? {
        "0x" | "0X" => (16, &digits[2..]),
        "0o" | "0O" => (8, &digits[2..]),
        "0b" | "0B" => (2, &digits[2..]),
        _ => return None,
    };
    let value = u64::from_str_radix(digits, base).ok()?;
    let number = Number::from(value);
    Some(if negative { number.negate() } else { number })
}
