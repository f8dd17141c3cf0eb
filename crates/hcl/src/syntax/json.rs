//! The JSON syntax: a parser that keeps places, and bodies that need a schema to tell arguments from blocks.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, OnceLock};

use indexmap::IndexMap;
use unicode_segmentation::UnicodeSegmentation as _;

use super::body::{Attribute, Block, Body, BodySchema, Content, Label, missing};
use super::expr::{Expr, JsonProperty, JsonString, Kind};
use super::parse::MAX_DEPTH;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::number::Number;
use crate::source::{Range, Source, Sources};
use crate::suggest::did_you_mean;
use crate::text::quote;
use crate::types::Type;
use crate::value::Value;

/// Parses a file of the JSON syntax. The body is usable in parts even if there are errors.
pub fn parse_json(
    sources: &mut Sources,
    name: impl Into<Arc<str>>,
    text: impl AsRef<[u8]>,
) -> (Body, Diagnostics) {
    let source = sources.add(name, text);
    parse_json_source(&source)
}

/// Parses a source that was added before as a file of the JSON syntax.
pub fn parse_json_source(source: &Arc<Source>) -> (Body, Diagnostics) {
    let (root, mut diagnostics) = parse_root(source);
    let root = if matches!(root.kind(), Kind::JsonObject { .. } | Kind::JsonArray(_)) {
        root
    } else {
        diagnostics.push(
            Diagnostic::error(
                "Root value must be object",
                "The root value in a JSON-based configuration must be either a JSON object or a JSON array of objects.",
            )
            .at(root.start_range()),
        );
        let at = Range {
            source: source.id(),
            start: 0,
            end: 0,
        };
        Expr::new(
            at,
            Kind::JsonObject {
                properties: Vec::new(),
                open: at,
                close: at,
            },
        )
    };
    (
        Body::json(JsonBody {
            source: source.clone(),
            value: root,
        }),
        diagnostics,
    )
}

/// Parses a text as one value of the JSON syntax.
pub fn parse_json_expression(
    sources: &mut Sources,
    name: impl Into<Arc<str>>,
    text: impl AsRef<[u8]>,
) -> (Expr, Diagnostics) {
    let source = sources.add(name, text);
    parse_root(&source)
}

fn parse_root(source: &Arc<Source>) -> (Expr, Diagnostics) {
    let mut parser = Parser {
        source,
        text: source.text(),
        at: 0,
        depth: 0,
        diagnostics: Diagnostics::new(),
    };
    if let Some(at) = source.invalid_utf8_at() {
        parser.error(
            "Invalid character encoding",
            "All input files must be UTF-8 encoded. Ensure that UTF-8 encoding is selected in your editor.",
            Range { source: source.id(), start: at, end: at + 1 },
        );
    }
    let first = parser.peek();
    let first = parser.range(first);
    let value = parser.value();
    if parser.diagnostics.is_empty() {
        let next = parser.peek();
        if next.kind != TokenKind::Eof {
            let range = parser.range(next);
            parser.error(
                "Extraneous data after value",
                "Extra characters appear after the JSON value.",
                range,
            );
        }
    }
    let root = value.unwrap_or_else(|| Expr::new(first, Kind::Invalid));
    (root, parser.diagnostics)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum TokenKind {
    OpenBrace,
    CloseBrace,
    OpenBracket,
    CloseBracket,
    Comma,
    Colon,
    Keyword,
    String,
    Number,
    Equals,
    Invalid,
    Eof,
}

#[derive(Clone, Copy)]
struct Token {
    kind: TokenKind,
    start: usize,
    end: usize,
}

struct Parser<'s> {
    source: &'s Arc<Source>,
    text: &'s str,
    at: usize,
    depth: usize,
    diagnostics: Diagnostics,
}

impl Parser<'_> {
    fn range(&self, token: Token) -> Range {
        Range {
            source: self.source.id(),
            start: token.start as u32,
            end: token.end as u32,
        }
    }

    fn error(&mut self, summary: &str, detail: impl Into<String>, at: Range) {
        self.diagnostics
            .push(Diagnostic::error(summary, detail).at(at));
    }

    fn peek(&mut self) -> Token {
        let bytes = self.text.as_bytes();
        while matches!(bytes.get(self.at), Some(b' ' | b'\t' | b'\r' | b'\n'))
            || (self.at == 0 && self.text.starts_with('\u{feff}'))
        {
            self.at += if self.at == 0 && self.text.starts_with('\u{feff}') {
                3
            } else {
                1
            };
        }
        let start = self.at;
        let run = |accept: fn(&u8) -> bool| {
            start
                + bytes[start..]
                    .iter()
                    .take_while(|byte| accept(byte))
                    .count()
        };
        let Some(first) = bytes.get(start) else {
            return Token {
                kind: TokenKind::Eof,
                start,
                end: start,
            };
        };
        let (kind, end) = match first {
            b'{' => (TokenKind::OpenBrace, start + 1),
            b'}' => (TokenKind::CloseBrace, start + 1),
            b'[' => (TokenKind::OpenBracket, start + 1),
            b']' => (TokenKind::CloseBracket, start + 1),
            b',' => (TokenKind::Comma, start + 1),
            b':' => (TokenKind::Colon, start + 1),
            b'=' => (TokenKind::Equals, start + 1),
            b'"' => (TokenKind::String, self.string_end(start)),
            b'-' | b'+' | b'.' | b'0'..=b'9' => (
                TokenKind::Number,
                run(|byte| matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9')),
            ),
            b'a'..=b'z' | b'A'..=b'Z' => (
                TokenKind::Keyword,
                run(|byte| byte.is_ascii_alphabetic() || *byte == b'_'),
            ),
            _ => (
                TokenKind::Invalid,
                start + self.text[start..].chars().next().map_or(1, char::len_utf8),
            ),
        };
        Token { kind, start, end }
    }

    /// Where the string that starts here ends; before a control character if it has none.
    fn string_end(&self, start: usize) -> usize {
        let bytes = self.text.as_bytes();
        let mut at = start + 1;
        while let Some(byte) = bytes.get(at) {
            match byte {
                b'\\' => {
                    at += if bytes.get(at + 1).is_some_and(|next| *next >= b' ') {
                        2
                    } else {
                        1
                    }
                }
                b'"' => return at + 1,
                0..=31 => return at,
                _ => at += 1,
            }
        }
        // An escape may have stepped into the middle of a character, or past the end.
        at = at.min(bytes.len());
        while !self.text.is_char_boundary(at) {
            at += 1;
        }
        at
    }

    fn read(&mut self) -> Token {
        let token = self.peek();
        self.at = token.end;
        token
    }

    /// A value. `None` if none could be read; a message then says why.
    fn value(&mut self) -> Option<Expr> {
        const START: &str =
            "A JSON value must start with a brace, a bracket, a number, a string, or a keyword.";
        let token = self.peek();
        let range = self.range(token);
        match token.kind {
            TokenKind::OpenBrace | TokenKind::OpenBracket => {
                if self.depth >= MAX_DEPTH {
                    let detail =
                        format!("JSON values may be nested at most {MAX_DEPTH} levels deep.");
                    self.error("Too deeply nested", detail, range);
                    self.at = self.text.len();
                    return None;
                }
                self.depth += 1;
                let value = if token.kind == TokenKind::OpenBrace {
                    self.object()
                } else {
                    self.array()
                };
                self.depth -= 1;
                return value;
            }
            TokenKind::Number => return self.number(),
            TokenKind::String => {
                return self
                    .string()
                    .map(|string| string_expr(self.source, string, range));
            }
            TokenKind::Keyword => return self.keyword(),
            TokenKind::CloseBrace => self.error("Missing JSON value", START, range),
            TokenKind::CloseBracket => self.error("Missing array element value", START, range),
            TokenKind::Eof => self.error("Missing value", "The JSON data ends prematurely.", range),
            TokenKind::Invalid => {
                self.error("Invalid start of value", START, range);
                self.at = self.text.len();
            }
            _ => self.error("Invalid start of value", START, range),
        }
        None
    }

    fn recover(&mut self, mut token: Token, open: TokenKind, close: TokenKind) {
        let mut depth = 1;
        loop {
            if token.kind == open {
                depth += 1;
            } else if token.kind == close {
                depth -= 1;
                if depth <= 1 {
                    return;
                }
            } else if matches!(token.kind, TokenKind::Eof | TokenKind::Invalid) {
                return;
            }
            token = self.read();
        }
    }

    fn object(&mut self) -> Option<Expr> {
        let open = self.read();
        let open_range = self.range(open);
        let mut properties = Vec::new();
        loop {
            if self.peek().kind == TokenKind::CloseBrace {
                break;
            }
            let name_token = self.peek();
            let name_range = self.range(name_token);
            if name_token.kind != TokenKind::String {
                // Whatever else is there is read for the sake of its own messages.
                let found = self.value()?;
                self.error(
                    "Invalid object property name",
                    "A JSON object property name must be a string",
                    found.start_range(),
                );
                return None;
            }
            let name = self.string()?;
            let colon = self.read();
            if colon.kind != TokenKind::Colon {
                let range = self.range(colon);
                self.recover(colon, TokenKind::OpenBrace, TokenKind::CloseBrace);
                let (summary, detail) = match colon.kind {
                    TokenKind::CloseBrace | TokenKind::Comma => (
                        "Missing object value",
                        "A JSON object attribute must have a value, introduced by a colon.",
                    ),
                    TokenKind::Equals => (
                        "Missing property value colon",
                        "JSON uses a colon as its name/value delimiter, not an equals sign.",
                    ),
                    _ => (
                        "Missing property value colon",
                        "A colon must appear between an object property's name and its value.",
                    ),
                };
                self.error(summary, detail, range);
                return None;
            }
            let value = self.value()?;
            let text = name.text.clone();
            let name_expr = string_expr(self.source, name, name_range);
            properties.push(JsonProperty {
                name: text,
                name_range,
                name_expr,
                value,
            });
            let next = self.peek();
            match next.kind {
                TokenKind::Comma => {
                    let comma = self.read();
                    if self.peek().kind == TokenKind::CloseBrace {
                        let range = self.range(comma);
                        self.error(
                            "Trailing comma in object",
                            "JSON does not permit a trailing comma after the final property in an object.",
                            range,
                        );
                        return None;
                    }
                }
                TokenKind::Eof => {
                    self.error(
                        "Unclosed object",
                        "No closing brace was found for this JSON object.",
                        open_range,
                    );
                    return None;
                }
                TokenKind::CloseBracket => {
                    self.read();
                    let after = self.peek();
                    let range = self.range(after);
                    self.error(
                        "Mismatched braces",
                        "A JSON object must be closed with a brace, not a bracket.",
                        range,
                    );
                    return None;
                }
                TokenKind::CloseBrace => break,
                _ => {
                    let token = self.read();
                    self.recover(token, TokenKind::OpenBrace, TokenKind::CloseBrace);
                    let after = self.peek();
                    let range = self.range(after);
                    self.error(
                        "Missing attribute seperator comma",
                        "A comma must appear between each property definition in an object.",
                        range,
                    );
                    return None;
                }
            }
        }
        let close = self.read();
        let close = self.range(close);
        Some(Expr::new(
            open_range.to(close),
            Kind::JsonObject {
                properties,
                open: open_range,
                close,
            },
        ))
    }

    fn array(&mut self) -> Option<Expr> {
        let open = self.read();
        let open_range = self.range(open);
        let mut values = Vec::new();
        loop {
            if self.peek().kind == TokenKind::CloseBracket {
                break;
            }
            values.push(self.value()?);
            let next = self.peek();
            let (summary, detail) = match next.kind {
                TokenKind::Comma => {
                    let comma = self.read();
                    if self.peek().kind == TokenKind::CloseBracket {
                        let range = self.range(comma);
                        self.error(
                            "Trailing comma in array",
                            "JSON does not permit a trailing comma after the final value in an array.",
                            range,
                        );
                        return None;
                    }
                    continue;
                }
                TokenKind::CloseBracket => break,
                TokenKind::Eof => {
                    self.error(
                        "Unclosed object",
                        "No closing bracket was found for this JSON array.",
                        open_range,
                    );
                    return None;
                }
                TokenKind::Colon => (
                    "Invalid array value",
                    "A colon is not used to introduce values in a JSON array.",
                ),
                TokenKind::CloseBrace => (
                    "Mismatched brackets",
                    "A JSON array must be closed with a bracket, not a brace.",
                ),
                _ => (
                    "Missing attribute seperator comma",
                    "A comma must appear between each value in an array.",
                ),
            };
            let token = self.read();
            self.recover(token, TokenKind::OpenBracket, TokenKind::CloseBracket);
            let after = self.peek();
            let range = self.range(after);
            self.error(summary, detail, range);
            return None;
        }
        let close = self.read();
        let range = open_range.to(self.range(close));
        Some(Expr::new(range, Kind::JsonArray(values)))
    }

    fn number(&mut self) -> Option<Expr> {
        let token = self.read();
        let range = self.range(token);
        let text = &self.text[token.start..token.end];
        match Number::parse(text).filter(|_| is_json_number(text)) {
            Some(number) => Some(Expr::literal(Value::number(number), range)),
            None => {
                self.error(
                    "Invalid JSON number",
                    "There is a syntax error in the given JSON number.",
                    range,
                );
                None
            }
        }
    }

    fn keyword(&mut self) -> Option<Expr> {
        let token = self.read();
        let range = self.range(token);
        let text = &self.text[token.start..token.end];
        let value = match text {
            "true" => Value::bool(true),
            "false" => Value::bool(false),
            "null" => Value::null(Type::Dynamic),
            "undefined" | "NaN" | "Infinity" => {
                let detail = format!(
                    "The JavaScript identifier {} cannot be used in JSON.",
                    quote(text)
                );
                self.error("Invalid JSON keyword", detail, range);
                return None;
            }
            _ => {
                let suggestion = did_you_mean(text, ["false", "true", "null"]);
                self.error(
                    "Invalid JSON keyword",
                    format!("{} is not a valid JSON keyword.{suggestion}", quote(text)),
                    range,
                );
                return None;
            }
        };
        Some(Expr::literal(value, range))
    }

    fn string(&mut self) -> Option<Unquoted> {
        let token = self.read();
        let inner = &self.text[token.start + 1..token.end];
        let base = token.start as u32 + 1;
        let Some(inner) = inner
            .strip_suffix('"')
            .filter(|inner| !inner.contains('\\'))
        else {
            return self.escaped_string(token);
        };
        Some(Unquoted {
            text: Arc::from(inner),
            offsets: Vec::new(),
            base,
            end: token.end as u32 - 1,
        })
    }

    fn escaped_string(&mut self, token: Token) -> Option<Unquoted> {
        let base = token.start as u32 + 1;
        let inner = &self.text[token.start + 1..token.end];
        let mut text = String::with_capacity(inner.len());
        let mut offsets = Vec::new();
        let mut at = 0;
        let mut closed = false;
        let mut wrong = None;
        while let Some(character) = inner[at..].chars().next() {
            match character {
                '"' => {
                    closed = true;
                    break;
                }
                '\\' => {
                    let Some((character, length)) = unescape(&inner[at..]) else {
                        wrong = Some(at);
                        break;
                    };
                    text.push(character);
                    at += length;
                    offsets.push((text.len() as u32, base + at as u32));
                }
                _ => {
                    text.push(character);
                    at += character.len_utf8();
                }
            }
        }
        if wrong.is_some() || !closed {
            let whole = self.range(token);
            let start = base + wrong.unwrap_or(inner.len()) as u32;
            let length = inner[(start - base) as usize..]
                .graphemes(true)
                .next()
                .map_or(0, str::len);
            let end = (start as usize + length).min(self.text.len()) as u32;
            let at = Range {
                source: self.source.id(),
                start: start.min(end),
                end,
            };
            self.diagnostics.push(
                Diagnostic::error(
                    "Invalid JSON string",
                    "There is a syntax error in the given JSON string.",
                )
                .at(at)
                .within(whole),
            );
            return None;
        }
        Some(Unquoted {
            text: Arc::from(text),
            offsets,
            base,
            end: base + at as u32,
        })
    }
}

/// The characters of a string, and where in the source they come from.
struct Unquoted {
    text: Arc<str>,
    offsets: Vec<(u32, u32)>,
    base: u32,
    end: u32,
}

fn string_expr(source: &Arc<Source>, text: Unquoted, range: Range) -> Expr {
    let mut offsets = text.offsets;
    if !offsets.is_empty() {
        offsets.insert(0, (0, text.base));
    }
    debug_assert!(text.end >= text.base);
    let string = JsonString {
        range,
        text: text.text,
        source: source.clone(),
        offsets,
        template: OnceLock::new(),
    };
    Expr::new(range, Kind::JsonString(string))
}

/// The character an escape at the start of a text stands for, and the escape's length. A half of a surrogate pair
/// on its own becomes U+FFFD.
fn unescape(text: &str) -> Option<(char, usize)> {
    let hex = |at: usize| {
        let digits = text.get(at..at + 4)?;
        digits
            .bytes()
            .all(|byte| byte.is_ascii_hexdigit())
            .then(|| u32::from_str_radix(digits, 16).ok())?
    };
    let character = match text.as_bytes().get(1)? {
        b'"' => '"',
        b'\\' => '\\',
        b'/' => '/',
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        b'u' => {
            let high = hex(2)?;
            if (0xd800..0xdc00).contains(&high)
                && text.get(6..8) == Some("\\u")
                && let Some(low @ 0xdc00..=0xdfff) = hex(8)
            {
                let code = 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
                return Some((
                    char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER),
                    12,
                ));
            }
            return Some((
                char::from_u32(high).unwrap_or(char::REPLACEMENT_CHARACTER),
                6,
            ));
        }
        _ => return None,
    };
    Some((character, 2))
}

/// The grammar of numbers in RFC 8259.
fn is_json_number(text: &str) -> bool {
    let text = text.strip_prefix('-').unwrap_or(text);
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (text, None),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (mantissa, None),
    };
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits(whole)
        && (whole == "0" || !whole.starts_with('0'))
        && fraction.is_none_or(digits)
        && exponent
            .is_none_or(|exponent| digits(exponent.strip_prefix(['+', '-']).unwrap_or(exponent)))
}

/// A body in the JSON syntax: an object, or an array of objects.
#[derive(Debug)]
pub(crate) struct JsonBody {
    pub(crate) source: Arc<Source>,
    pub(crate) value: Expr,
}

impl JsonBody {
    pub(crate) fn range(&self) -> Range {
        self.value.range()
    }

    pub(crate) fn missing_range(&self) -> Range {
        match self.value.kind() {
            Kind::JsonObject { close, .. } => *close,
            Kind::JsonArray(_) => array_open(&self.value),
            _ => self.value.start_range(),
        }
    }

    pub(crate) fn content(
        &self,
        schema: &BodySchema,
        hidden: &dyn Fn(&str) -> bool,
    ) -> (Content, Vec<Arc<str>>, Diagnostics) {
        let mut diagnostics = Diagnostics::new();
        let properties = deep_properties(&self.value, None, &mut diagnostics);
        let attribute_names: HashSet<&str> = schema
            .attributes
            .iter()
            .map(|attribute| &*attribute.name)
            .collect();
        let block_schemas: HashMap<&str, &super::body::BlockSchema> = schema
            .blocks
            .iter()
            .map(|block| (&*block.kind, block))
            .collect();
        let mut attributes: IndexMap<Arc<str>, Attribute> = IndexMap::new();
        let mut blocks = Vec::new();
        let mut used = Vec::new();
        for property in properties {
            let name = &property.name;
            if hidden(name) {
                continue;
            }
            if attribute_names.contains(&**name) {
                if let Some(existing) = attributes.get(name) {
                    let place = self.source.describe(existing.range);
                    diagnostics.push(
                        Diagnostic::error(
                            "Duplicate argument",
                            format!("The argument {} was already set at {place}.", quote(name)),
                        )
                        .at(property.name_range)
                        .within(property.range()),
                    );
                    continue;
                }
                attributes.insert(name.clone(), property.attribute());
                used.push(name.clone());
            } else if let Some(block) = block_schemas.get(&**name) {
                let unpack = Unpack {
                    source: &self.source,
                    kind: name,
                    kind_range: property.name_range,
                };
                unpack.run(
                    &property.value,
                    &block.labels,
                    &mut Vec::new(),
                    &mut blocks,
                    &mut diagnostics,
                );
                used.push(name.clone());
            }
        }
        let missing_range = self.missing_range();
        for wanted in schema.attributes.iter().filter(|wanted| wanted.required) {
            if !attributes.contains_key(&wanted.name) {
                diagnostics.push(missing(&wanted.name, missing_range));
            }
        }
        (
            Content {
                attributes,
                blocks,
                missing_range,
            },
            used,
            diagnostics,
        )
    }

    pub(crate) fn leftovers(
        &self,
        schema: &BodySchema,
        content: &Content,
        hidden: &dyn Fn(&str) -> bool,
        diagnostics: &mut Diagnostics,
    ) {
        let known: HashSet<&str> = schema
            .attributes
            .iter()
            .map(|attribute| &*attribute.name)
            .chain(schema.blocks.iter().map(|block| &*block.kind))
            .collect();
        // Messages about wrong types were given with the content.
        for property in deep_properties(&self.value, None, &mut Diagnostics::new()) {
            let name = &property.name;
            if &**name == "//" || known.contains(&**name) || hidden(name) {
                continue;
            }
            let names = schema
                .attributes
                .iter()
                .map(|attribute| &*attribute.name)
                .filter(|wanted| !content.attributes.contains_key(*wanted))
                .chain(schema.blocks.iter().map(|block| &*block.kind));
            let detail = format!(
                "No argument or block type is named {}.{}",
                quote(name),
                did_you_mean(name, names)
            );
            diagnostics.push(
                Diagnostic::error("Extraneous JSON object property", detail)
                    .at(property.name_range)
                    .within(property.range()),
            );
        }
    }

    pub(crate) fn just_attributes(
        &self,
        hidden: &dyn Fn(&str) -> bool,
    ) -> (IndexMap<Arc<str>, Attribute>, Diagnostics) {
        let mut attributes: IndexMap<Arc<str>, Attribute> = IndexMap::new();
        let Kind::JsonObject { properties, .. } = self.value.kind() else {
            let diagnostic = Diagnostic::error(
                "Incorrect JSON value type",
                "A JSON object is required here, setting the arguments for this block.",
            );
            return (attributes, diagnostic.at(self.value.start_range()).into());
        };
        let mut diagnostics = Diagnostics::new();
        for property in properties {
            let name = &property.name;
            if &**name == "//" || hidden(name) {
                continue;
            }
            match attributes.get(name) {
                Some(existing) => {
                    let place = self.source.describe(existing.range);
                    let detail =
                        format!("The argument {} was already set at {place}.", quote(name));
                    diagnostics.push(
                        Diagnostic::error("Duplicate attribute definition", detail)
                            .at(property.name_range),
                    );
                }
                None => {
                    attributes.insert(name.clone(), property.attribute());
                }
            }
        }
        (attributes, diagnostics)
    }
}

impl JsonProperty {
    fn range(&self) -> Range {
        self.name_range.to(self.value.range())
    }

    fn attribute(&self) -> Attribute {
        Attribute {
            name: self.name.clone(),
            expr: self.value.clone(),
            range: self.range(),
            name_range: self.name_range,
            equals_range: self.name_range,
        }
    }
}

fn array_open(value: &Expr) -> Range {
    let range = value.range();
    Range {
        end: (range.start + 1).min(range.end),
        ..range
    }
}

fn is_null(value: &Expr) -> bool {
    matches!(value.kind(), Kind::Literal(value) if value.is_null())
}

/// The properties of an object, or of all objects of an array, in order.
fn deep_properties<'v>(
    value: &'v Expr,
    label: Option<&str>,
    diagnostics: &mut Diagnostics,
) -> Vec<&'v JsonProperty> {
    const SUMMARY: &str = "Incorrect JSON value type";
    let mut found = Vec::new();
    match value.kind() {
        Kind::JsonObject { properties, .. } => found.extend(properties),
        Kind::JsonArray(values) => {
            for value in values {
                if let Kind::JsonObject { properties, .. } = value.kind() {
                    found.extend(properties);
                } else {
                    let detail = match label {
                        Some(label) => {
                            format!(
                                "A JSON object is required here, to specify {label} labels for this block."
                            )
                        }
                        None => {
                            "A JSON object is required here, to define arguments and child blocks."
                                .to_owned()
                        }
                    };
                    diagnostics.push(Diagnostic::error(SUMMARY, detail).at(value.start_range()));
                }
            }
        }
        _ if is_null(value) => {}
        _ => {
            let detail = match label {
                Some(label) => format!(
                    "Either a JSON object or JSON array of objects is required here, to specify {label} labels for this block."
                ),
                None => "Either a JSON object or JSON array of objects is required here, to define arguments and child blocks.".to_owned(),
            };
            diagnostics.push(Diagnostic::error(SUMMARY, detail).at(value.start_range()));
        }
    }
    found
}

/// Takes the labels of a block off the objects around it.
struct Unpack<'a> {
    source: &'a Arc<Source>,
    kind: &'a Arc<str>,
    kind_range: Range,
}

impl Unpack<'_> {
    fn run(
        &self,
        value: &Expr,
        labels_left: &[Arc<str>],
        labels: &mut Vec<Label>,
        blocks: &mut Vec<Block>,
        diagnostics: &mut Diagnostics,
    ) {
        if let Some((label, rest)) = labels_left.split_first() {
            let properties = deep_properties(value, Some(label), diagnostics);
            if properties.is_empty() {
                let detail = format!(
                    "At least one object property is required, whose name represents the {} block's {label}.",
                    self.kind
                );
                diagnostics
                    .push(Diagnostic::error("Missing block label", detail).at(value.start_range()));
                return;
            }
            for property in properties {
                labels.push(Label {
                    text: property.name.clone(),
                    range: property.name_range,
                });
                self.run(&property.value, rest, labels, blocks, diagnostics);
                labels.pop();
            }
            return;
        }
        match value.kind() {
            Kind::JsonObject { open, .. } => blocks.push(self.block(value, *open, labels)),
            Kind::JsonArray(values) => {
                let open = array_open(value);
                blocks.extend(values.iter().map(|value| self.block(value, open, labels)));
            }
            _ if is_null(value) => {}
            _ => {
                let detail = format!(
                    "Either a JSON object or a JSON array is required, representing the contents of one or more {} blocks.",
                    quote(self.kind)
                );
                diagnostics.push(
                    Diagnostic::error("Incorrect JSON value type", detail).at(value.start_range()),
                );
            }
        }
    }

    fn block(&self, value: &Expr, open_range: Range, labels: &[Label]) -> Block {
        let close_range = match value.kind() {
            Kind::JsonObject { close, .. } => *close,
            _ => value.range().at_end(),
        };
        Block {
            kind: self.kind.clone(),
            labels: labels.to_vec(),
            body: Body::json(JsonBody {
                source: self.source.clone(),
                value: value.clone(),
            }),
            kind_range: self.kind_range,
            open_range,
            close_range,
        }
    }
}
