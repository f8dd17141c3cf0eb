//! Values written as Python's literals, as inventories in INI may have them.
//!
//! What is no literal is a text; callers keep it as it stands.

use std::sync::Arc;

use consort_jinja::{Dict, Key, Origin, Str, Value};
use indexmap::IndexMap;
use num_bigint::BigInt;
use num_traits::Num as _;

/// Brackets in brackets, at most.
const DEEPEST: usize = 90;

/// The value of a literal, its texts trusted and at a place; nothing if it is none.
pub(super) fn parse(text: &str, origin: &Arc<Origin>) -> Option<Value> {
    let mut parser = Parser {
        rest: text.trim_start_matches([' ', '\t']),
        origin,
    };
    let value = parser.expression(0)?;
    parser.blanks(false);
    parser.rest.is_empty().then_some(value)
}

/// A text that may be a template, at a place.
pub(super) fn text(text: &str, origin: &Arc<Origin>) -> Value {
    crate::blocking::heed(text);
    Value::Str(Str::template(text).written_at(Arc::clone(origin)))
}

struct Parser<'t> {
    rest: &'t str,
    origin: &'t Arc<Origin>,
}

impl Parser<'_> {
    fn blanks(&mut self, lines: bool) {
        loop {
            self.rest = if lines {
                self.rest.trim_start()
            } else {
                self.rest.trim_start_matches([' ', '\t', '\x0c'])
            };
            match self.rest.strip_prefix('#') {
                Some(comment) => {
                    let end = comment.find('\n').unwrap_or(comment.len());
                    self.rest = &comment[end..];
                    if !lines {
                        return;
                    }
                }
                None => return,
            }
        }
    }

    fn take(&mut self, token: &str) -> bool {
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn text(&self, text: &str) -> Value {
        self::text(text, self.origin)
    }

    /// An expression that may be a tuple without brackets.
    fn expression(&mut self, depth: usize) -> Option<Value> {
        let first = self.value(depth)?;
        self.blanks(depth > 0);
        if !self.rest.starts_with(',') {
            return Some(first);
        }
        let mut items = vec![first];
        while self.take(",") {
            self.blanks(depth > 0);
            if self.rest.is_empty() || self.rest.starts_with(')') {
                break;
            }
            items.push(self.value(depth)?);
            self.blanks(depth > 0);
        }
        Some(Value::list(items))
    }

    fn value(&mut self, depth: usize) -> Option<Value> {
        if depth > DEEPEST {
            return None;
        }
        self.blanks(depth > 0);
        let value = match self.rest.chars().next()? {
            '[' => {
                self.take("[");
                Value::list(self.items("]", depth)?)
            }
            '(' => {
                self.take("(");
                self.blanks(true);
                if self.take(")") {
                    Value::list(Vec::new())
                } else {
                    let value = self.expression(depth + 1)?;
                    self.blanks(true);
                    if !self.take(")") {
                        return None;
                    }
                    value
                }
            }
            '{' => {
                self.take("{");
                self.braces(depth)?
            }
            '\'' | '"' => self.texts(depth)?,
            first if first.is_alphabetic() || first == '_' => self.word(depth)?,
            _ => self.number()?,
        };
        Some(value)
    }

    fn items(&mut self, close: &str, depth: usize) -> Option<Vec<Value>> {
        let mut items = Vec::new();
        loop {
            self.blanks(true);
            if self.take(close) {
                return Some(items);
            }
            items.push(self.value(depth + 1)?);
            self.blanks(true);
            if !self.take(",") && !self.rest.starts_with(close) {
                return None;
            }
        }
    }

    fn braces(&mut self, depth: usize) -> Option<Value> {
        self.blanks(true);
        if self.take("}") {
            return Some(Value::Dict(Dict::default()));
        }
        let first = self.value(depth + 1)?;
        self.blanks(true);
        if !self.take(":") {
            // A set, which becomes a list.
            let mut items: Vec<Value> = vec![first];
            if !self.take(",") && !self.rest.starts_with('}') {
                return None;
            }
            for item in self.items("}", depth)? {
                if !items.iter().any(|known| known.equals(&item)) {
                    items.push(item);
                }
            }
            return Some(Value::list(items));
        }
        let mut entries = IndexMap::new();
        let mut key = first;
        loop {
            let value = self.value(depth + 1)?;
            entries.insert(self.key(key)?, value);
            self.blanks(true);
            let more = self.take(",");
            self.blanks(true);
            if self.take("}") {
                return Some(Value::Dict(Dict::new(entries)));
            }
            if !more {
                return None;
            }
            key = self.value(depth + 1)?;
            self.blanks(true);
            if !self.take(":") {
                return None;
            }
        }
    }

    fn key(&self, value: Value) -> Option<Key> {
        Key::new(match value {
            Value::Str(text) => {
                Value::Str(Str::new(Arc::clone(text.shared())).written_at(Arc::clone(self.origin)))
            }
            value => value,
        })
        .ok()
    }

    fn word(&mut self, depth: usize) -> Option<Value> {
        let end = self
            .rest
            .find(|character: char| !character.is_alphanumeric() && character != '_')
            .unwrap_or(self.rest.len());
        let word = &self.rest[..end];
        let value = match word {
            "True" => Value::Bool(true),
            "False" => Value::Bool(false),
            "None" => Value::None,
            "set" => {
                self.rest = &self.rest[end..];
                self.blanks(depth > 0);
                if !self.take("(") {
                    return None;
                }
                self.blanks(true);
                return self.take(")").then(|| Value::list(Vec::new()));
            }
            _ if self.rest[end..].starts_with(['\'', '"']) => return self.texts(depth),
            _ => return None,
        };
        self.rest = &self.rest[end..];
        Some(value)
    }

    /// Texts next to each other are one.
    fn texts(&mut self, depth: usize) -> Option<Value> {
        let mut whole = String::new();
        let mut bytes = None;
        loop {
            let prefix_end = self.rest.find(['\'', '"']);
            let Some(prefix) = prefix_end.map(|end| &self.rest[..end]) else {
                break;
            };
            let lower = prefix.to_ascii_lowercase();
            if !matches!(lower.as_str(), "" | "r" | "u" | "b" | "br" | "rb") {
                break;
            }
            let is_bytes = lower.contains('b');
            // Texts and bytes do not go together.
            if bytes.is_some_and(|bytes| bytes != is_bytes) {
                return None;
            }
            bytes = Some(is_bytes);
            self.rest = &self.rest[prefix.len()..];
            self.quoted(lower.contains('r'), is_bytes, &mut whole)?;
            self.blanks(depth > 0);
        }
        bytes.map(|is_bytes| {
            if is_bytes {
                // Bytes become a text that is no template.
                Value::Str(Str::new(whole.as_str()).written_at(Arc::clone(self.origin)))
            } else {
                self.text(&whole)
            }
        })
    }

    fn quoted(&mut self, raw: bool, bytes: bool, whole: &mut String) -> Option<()> {
        let quote = ["\"\"\"", "'''", "\"", "'"]
            .into_iter()
            .find(|quote| self.rest.starts_with(quote))?;
        self.rest = &self.rest[quote.len()..];
        loop {
            if self.take(quote) {
                return Some(());
            }
            let mut characters = self.rest.chars();
            match characters.next()? {
                '\n' if quote.len() == 1 => return None,
                '\\' if raw => {
                    whole.push('\\');
                    whole.push(characters.next()?);
                    self.rest = characters.as_str();
                }
                '\\' => {
                    self.rest = characters.as_str();
                    self.escape(bytes, whole)?;
                }
                character if bytes && !character.is_ascii() => return None,
                character => {
                    whole.push(character);
                    self.rest = characters.as_str();
                }
            }
        }
    }

    fn escape(&mut self, bytes: bool, whole: &mut String) -> Option<()> {
        let mut characters = self.rest.chars();
        let escaped = characters.next()?;
        self.rest = characters.as_str();
        let digits = |parser: &mut Self, count: usize| {
            let digits = parser.rest.get(..count)?;
            let code = u32::from_str_radix(digits, 16).ok()?;
            parser.rest = &parser.rest[count..];
            char::from_u32(code)
        };
        let character = match escaped {
            '\n' => return Some(()),
            '\\' | '\'' | '"' => escaped,
            'a' => '\x07',
            'b' => '\x08',
            'f' => '\x0c',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'v' => '\x0b',
            'x' => digits(self, 2)?,
            'u' if !bytes => digits(self, 4)?,
            'U' if !bytes => digits(self, 8)?,
            '0'..='7' => {
                let mut code = escaped.to_digit(8)?;
                for _ in 0..2 {
                    let Some(digit) = self.rest.chars().next().and_then(|next| next.to_digit(8))
                    else {
                        break;
                    };
                    code = code * 8 + digit;
                    self.rest = &self.rest[1..];
                }
                char::from_u32(code)?
            }
            other => {
                whole.push('\\');
                whole.push(other);
                return Some(());
            }
        };
        whole.push(character);
        Some(())
    }

    fn number(&mut self) -> Option<Value> {
        if self.take("...") {
            return Some(self.text("..."));
        }
        let mut negative = false;
        loop {
            if self.take("-") {
                negative = !negative;
            } else if !self.take("+") {
                break;
            }
            self.blanks(false);
        }
        let end = self
            .rest
            .char_indices()
            .find(|&(at, character)| {
                let exponent = at > 0
                    && matches!(character, '+' | '-')
                    && matches!(self.rest.as_bytes()[at - 1], b'e' | b'E')
                    && !self.rest.starts_with("0x")
                    && !self.rest.starts_with("0X");
                !(character.is_ascii_alphanumeric() || matches!(character, '.' | '_') || exponent)
            })
            .map_or(self.rest.len(), |(at, _)| at);
        let (written, rest) = self.rest.split_at(end);
        self.rest = rest;
        let value = match imaginary(written) {
            // Complex numbers are kept as Python shows them.
            Some(part) => {
                let sign = if negative { "-" } else { "" };
                let part = format!("{sign}{part}j");
                return Some(self.text(&if negative {
                    format!("(-0{part})")
                } else {
                    part
                }));
            }
            None => number(written)?,
        };
        let value = match value {
            Value::Int(value) if negative => Value::Int(-value),
            Value::Big(value) if negative => Value::integer(-(*value).clone()),
            Value::Float(value) if negative => Value::Float(-value),
            value => value,
        };
        self.complex(value)
    }

    /// A real part with an imaginary one behind it; or the number alone.
    fn complex(&mut self, real: Value) -> Option<Value> {
        let before = self.rest;
        self.blanks(false);
        let Some(sign @ ('+' | '-')) = self.rest.chars().next() else {
            self.rest = before;
            return Some(real);
        };
        self.rest = self.rest[1..].trim_start_matches([' ', '\t']);
        let end = self
            .rest
            .find(|character: char| !character.is_ascii_alphanumeric() && character != '.')
            .unwrap_or(self.rest.len());
        let (written, rest) = self.rest.split_at(end);
        self.rest = rest;
        let part = imaginary(written)?;
        let real = match real {
            Value::Float(real) => shown(real),
            real => consort_jinja::repr::text(&real),
        };
        Some(self.text(&format!("({real}{sign}{part}j)")))
    }
}

/// The imaginary part of a number, as Python shows it without its `j`.
fn imaginary(written: &str) -> Option<String> {
    let digits = written.strip_suffix(['j', 'J'])?;
    let digits = digits.replace('_', "");
    if digits.is_empty()
        || !digits.starts_with(|first: char| first.is_ascii_digit() || first == '.')
    {
        return None;
    }
    digits.parse::<f64>().ok().map(shown)
}

/// A part of a complex number: whole numbers have no point.
fn shown(part: f64) -> String {
    let text = consort_jinja::repr::float(part);
    text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
}

fn number(written: &str) -> Option<Value> {
    if !written.starts_with(|first: char| first.is_ascii_digit() || first == '.') {
        return None;
    }
    // Underscores stand between digits.
    if written.ends_with('_')
        || written.contains("__")
        || written.contains("_.")
        || written.contains("._")
    {
        return None;
    }
    let digits = written.replace('_', "");
    let lower = digits.to_ascii_lowercase();
    for (prefix, base) in [("0x", 16), ("0o", 8), ("0b", 2)] {
        if let Some(digits) = lower.strip_prefix(prefix) {
            return BigInt::from_str_radix(digits, base)
                .ok()
                .filter(|_| !digits.starts_with(['+', '-']))
                .map(Value::integer);
        }
    }
    if digits.bytes().all(|byte| byte.is_ascii_digit()) {
        let zeros = digits.bytes().all(|byte| byte == b'0');
        // Python refuses more digits than these, and numbers that begin with a zero.
        if (digits.starts_with('0') && !zeros) || digits.len() > 4300 {
            return None;
        }
        return digits.parse::<BigInt>().ok().map(Value::integer);
    }
    let is_float = lower
        .bytes()
        .all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'+' | b'-'))
        && lower != "."
        && !lower.starts_with(".e");
    is_float
        .then(|| lower.parse::<f64>().ok().map(Value::Float))
        .flatten()
}
