//! JSON, written and read.

use std::sync::Arc;

use consort_jinja::json::{Style, write};
use consort_jinja::{
    Arguments, Dict, Environment, Error, Explained, Key, Result, State, Takes, Value, integer,
};
use indexmap::IndexMap;

use super::{add_all, given};
use crate::template::context::{Context, Shared, refused};

pub(super) fn add(environment: &mut Environment, shared: &Shared) {
    let context = Arc::clone(shared);
    environment.add_filter("from_json", Takes::Defined, move |_, value, _| {
        from_json(&context, &value)
    });
    add_all(
        environment,
        &[
            ("to_json", |_, value, arguments| {
                to_json(&value, arguments, Style::default())
            }),
            ("to_nice_json", to_nice_json),
        ],
    );
}

fn to_nice_json(_: &mut State<'_, '_>, value: Value, arguments: &Arguments) -> Result<Value> {
    let mut arguments = arguments.clone();
    let mut positional = std::mem::take(&mut arguments.positional).into_iter();
    let mut style = Style {
        indent: Some("    ".to_owned()),
        sort_keys: true,
        separators: Some((",".to_owned(), ": ".to_owned())),
        ..Style::default()
    };
    if let Some(indent) = positional.next() {
        style.indent = read_indent(indent)?;
    }
    if let Some(sort) = positional.next() {
        style.sort_keys = sort.truth()?;
    }
    arguments.take("separators");
    to_json(&value, &arguments, style)
}

fn read_indent(value: Value) -> Result<Option<String>> {
    Ok(match value {
        Value::None => None,
        Value::Str(text) => Some(text.to_string()),
        value => Some(" ".repeat(integer(&value)?.clamp(0, 1000) as usize)),
    })
}

fn to_json(value: &Value, arguments: &Arguments, mut style: Style) -> Result<Value> {
    for (name, value) in &arguments.named {
        match &**name {
            "indent" => style.indent = read_indent(value.clone())?,
            "sort_keys" => style.sort_keys = value.truth()?,
            "ensure_ascii" => style.ascii = value.truth()?,
            "separators" => {
                style.separators = match given(Some(value.clone())) {
                    None => None,
                    Some(pair) => {
                        let pair = pair.iterate()?;
                        let [between, colon] = pair.as_slice() else {
                            return refused(format!(
                                "too many values to unpack (expected 2, got {})",
                                pair.len()
                            ));
                        };
                        Some((between.text()?.to_string(), colon.text()?.to_string()))
                    }
                };
            }
            // They change nothing about what is written here.
            "vault_to_text" | "preprocess_unsafe" | "profile" | "skipkeys" | "allow_nan"
            | "check_circular" | "default" => {}
            _ => {
                return refused(format!(
                    "JSONEncoder.__init__() got an unexpected keyword argument '{name}'"
                ));
            }
        }
    }
    match refusal(value, 0) {
        Some(error) => Err(error),
        None => write(value, &style).map(Value::from),
    }
}

/// Why something in a value cannot be written: a secret that nobody could open.
fn refusal(value: &Value, depth: u32) -> Option<Error> {
    // What is deeper is refused when it is written.
    if depth > DEPTH {
        return None;
    }
    match value {
        Value::Object(object) => object.refusal(),
        Value::List(list) => {
            let items = list.read();
            items.iter().find_map(|item| refusal(item, depth + 1))
        }
        Value::Dict(dict) => {
            let entries = dict.read();
            entries.values().find_map(|item| refusal(item, depth + 1))
        }
        _ => None,
    }
}

fn from_json(context: &Context, value: &Value) -> Result<Value> {
    let text = match value {
        Value::Str(text) => text.to_string(),
        Value::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        other => {
            return refused(format!(
                "the JSON object must be str, bytes or bytearray, not {}",
                other.type_name()
            ));
        }
    };
    let read = parse(&text).map_err(Error::failed)?;
    match read.lone {
        Some((unit, at)) if strict(context) => Err(Error::Explained(Arc::new(Explained {
            message: "Refusing to deserialize an invalid UTF8 string value.".to_owned(),
            help: Some(format!(
                "This check can be disabled with the `{STRICT}` setting."
            )),
            cause: Some(Error::failed(format!(
                "'utf-8' codec can't encode character '\\u{unit:04x}' in position {at}: surrogates not allowed"
            ))),
            ..Explained::default()
        }))),
        _ => Ok(read.value),
    }
}

const STRICT: &str = "MODULE_STRICT_UTF8_RESPONSE";

/// Whether half of a pair of surrogates is refused.
fn strict(context: &Context) -> bool {
    let setting = context.options.sources.value(STRICT);
    !matches!(setting, Some(Ok((Value::Bool(false), _))))
}

/// What was read of a text.
struct Read {
    value: Value,
    /// The first half of a pair of surrogates that stands alone, and its place in its text. No text can hold it: `?` stands in
    /// its place, as where Python prints it.
    lone: Option<(u16, usize)>,
}

/// Deeper values are refused.
const DEPTH: u32 = 500;

/// Reads JSON as Python does: with `NaN` and `Infinity`, numbers of any size, and its messages.
fn parse(text: &str) -> Result<Read, String> {
    let mut reader = Reader {
        text,
        bytes: text.as_bytes(),
        at: 0,
        lone: None,
    };
    if text.starts_with('\u{feff}') {
        return Err(
            "Unexpected UTF-8 BOM (decode using utf-8-sig): line 1 column 1 (char 0)".to_owned(),
        );
    }
    reader.blanks();
    let value = reader.value(0)?;
    reader.blanks();
    if reader.at < text.len() {
        return reader.wrong("Extra data", reader.at);
    }
    Ok(Read {
        value,
        lone: reader.lone,
    })
}

struct Reader<'t> {
    text: &'t str,
    bytes: &'t [u8],
    at: usize,
    lone: Option<(u16, usize)>,
}

impl Reader<'_> {
    fn wrong<T>(&self, what: &str, at: usize) -> Result<T, String> {
        let before = &self.text[..at.min(self.text.len())];
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
        Err(format!(
            "{what}: line {line} column {column} (char {})",
            before.chars().count()
        ))
    }

    fn blanks(&mut self) {
        while matches!(self.bytes.get(self.at), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn value(&mut self, depth: u32) -> Result<Value, String> {
        if depth > DEPTH {
            return Err(
                "maximum recursion depth exceeded while decoding a JSON document".to_owned(),
            );
        }
        let rest = &self.text[self.at..];
        match self.bytes.get(self.at) {
            Some(b'"') => {
                self.at += 1;
                self.string().map(Value::from)
            }
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => {
                for (word, value) in [
                    ("null", Value::None),
                    ("true", Value::Bool(true)),
                    ("false", Value::Bool(false)),
                    ("NaN", Value::Float(f64::NAN)),
                    ("Infinity", Value::Float(f64::INFINITY)),
                ] {
                    if rest.starts_with(word) {
                        self.at += word.len();
                        return Ok(value);
                    }
                }
                self.wrong("Expecting value", self.at)
            }
        }
    }

    fn number(&mut self) -> Result<Value, String> {
        let start = self.at;
        let rest = &self.text[start..];
        if rest.starts_with("-Infinity") {
            self.at += "-Infinity".len();
            return Ok(Value::Float(f64::NEG_INFINITY));
        }
        let digits = |at: usize| {
            self.bytes[at.min(self.bytes.len())..]
                .iter()
                .take_while(|byte| byte.is_ascii_digit())
                .count()
        };
        let mut at = start + usize::from(rest.starts_with('-'));
        let whole = digits(at);
        if whole == 0 {
            return self.wrong("Expecting value", start);
        }
        at += if self.bytes[at] == b'0' { 1 } else { whole };
        let mut float = false;
        if self.bytes.get(at) == Some(&b'.') && digits(at + 1) > 0 {
            float = true;
            at += 1 + digits(at + 1);
        }
        if matches!(self.bytes.get(at), Some(b'e' | b'E')) {
            let signed = usize::from(matches!(self.bytes.get(at + 1), Some(b'+' | b'-')));
            let count = digits(at + 1 + signed);
            if count > 0 {
                float = true;
                at += 1 + signed + count;
            }
        }
        self.at = at;
        let written = &self.text[start..at];
        if float {
            return written
                .parse()
                .map(Value::Float)
                .map_err(|_| "could not convert string to float".to_owned());
        }
        match written.parse::<i64>() {
            Ok(number) => Ok(Value::Int(number)),
            Err(_) => written
                .parse()
                .map(Value::integer)
                .map_err(|_| "invalid literal for int()".to_owned()),
        }
    }

    fn string(&mut self) -> Result<String, String> {
        let start = self.at - 1;
        let mut out = String::new();
        loop {
            let rest = &self.bytes[self.at..];
            let length = rest
                .iter()
                .position(|byte| *byte == b'"' || *byte == b'\\' || *byte < 0x20);
            let Some(length) = length else {
                return self.wrong("Unterminated string starting at", start);
            };
            out.push_str(&self.text[self.at..self.at + length]);
            self.at += length;
            match self.bytes[self.at] {
                b'"' => {
                    self.at += 1;
                    return Ok(out);
                }
                b'\\' => self.escape(start, &mut out)?,
                _ => return self.wrong("Invalid control character at", self.at),
            }
        }
    }

    fn escape(&mut self, start: usize, out: &mut String) -> Result<(), String> {
        let here = self.at;
        self.at += 2;
        out.push(match self.bytes.get(here + 1) {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                let unit = self.unit(here)?;
                let mut code = u32::from(unit);
                if (0xd800..0xdc00).contains(&code)
                    && self.bytes.get(self.at..self.at + 2) == Some(b"\\u")
                {
                    let back = self.at;
                    self.at += 2;
                    let low = u32::from(self.unit(back)?);
                    if (0xdc00..0xe000).contains(&low) {
                        code = 0x1_0000 + ((code - 0xd800) << 10 | (low - 0xdc00));
                    } else {
                        self.at = back;
                    }
                }
                char::from_u32(code).unwrap_or_else(|| {
                    self.lone.get_or_insert((unit, out.chars().count()));
                    '?'
                })
            }
            Some(_) => return self.wrong("Invalid \\escape", here),
            None => return self.wrong("Unterminated string starting at", start),
        });
        Ok(())
    }

    fn unit(&mut self, here: usize) -> Result<u16, String> {
        let digits = self
            .text
            .get(self.at..self.at + 4)
            .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
        match digits.and_then(|digits| u16::from_str_radix(digits, 16).ok()) {
            Some(unit) => {
                self.at += 4;
                Ok(unit)
            }
            None => self.wrong("Invalid \\uXXXX escape", here + 1),
        }
    }

    fn array(&mut self, depth: u32) -> Result<Value, String> {
        self.at += 1;
        let mut items = Vec::new();
        self.blanks();
        if self.bytes.get(self.at) == Some(&b']') {
            self.at += 1;
            return Ok(Value::list(items));
        }
        loop {
            items.push(self.value(depth + 1)?);
            self.blanks();
            match self.bytes.get(self.at) {
                Some(b']') => {
                    self.at += 1;
                    return Ok(Value::list(items));
                }
                Some(b',') => {
                    let comma = self.at;
                    self.at += 1;
                    self.blanks();
                    if self.bytes.get(self.at) == Some(&b']') {
                        return self.wrong("Illegal trailing comma before end of array", comma);
                    }
                }
                _ => return self.wrong("Expecting ',' delimiter", self.at),
            }
        }
    }

    fn object(&mut self, depth: u32) -> Result<Value, String> {
        self.at += 1;
        let mut entries = IndexMap::new();
        self.blanks();
        if self.bytes.get(self.at) == Some(&b'}') {
            self.at += 1;
            return Ok(Value::Dict(Dict::new(entries)));
        }
        loop {
            if self.bytes.get(self.at) != Some(&b'"') {
                return self.wrong("Expecting property name enclosed in double quotes", self.at);
            }
            self.at += 1;
            let name = self.string()?;
            self.blanks();
            if self.bytes.get(self.at) != Some(&b':') {
                return self.wrong("Expecting ':' delimiter", self.at);
            }
            self.at += 1;
            self.blanks();
            let value = self.value(depth + 1)?;
            entries.insert(Key::from(name.as_str()), value);
            self.blanks();
            match self.bytes.get(self.at) {
                Some(b'}') => {
                    self.at += 1;
                    return Ok(Value::Dict(Dict::new(entries)));
                }
                Some(b',') => {
                    let comma = self.at;
                    self.at += 1;
                    self.blanks();
                    if self.bytes.get(self.at) == Some(&b'}') {
                        return self.wrong("Illegal trailing comma before end of object", comma);
                    }
                }
                _ => return self.wrong("Expecting ',' delimiter", self.at),
            }
        }
    }
}
